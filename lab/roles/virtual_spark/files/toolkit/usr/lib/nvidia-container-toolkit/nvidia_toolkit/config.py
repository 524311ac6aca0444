# SIMULATED: the configuration file of a virtual Spark's container toolkit.
"""config.toml: its defaults, its schema, and how nvidia-ctk writes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tomllib

VERSION = "1.19.0"
VERSION_FILE = Path("/etc/virtual-spark/toolkit-version")  # a test plays another version by writing it here

Table = dict[str, Any]

# Dotted key -> type. "feature" is a boolean that may also be unset.
SCHEMA: dict[str, str] = {
    "disable-require": "bool",
    "swarm-resource": "string",
    "accept-nvidia-visible-devices-envvar-when-unprivileged": "bool",
    "accept-nvidia-visible-devices-as-volume-mounts": "bool",
    "supported-driver-capabilities": "string",
    "nvidia-container-cli.root": "string",
    "nvidia-container-cli.path": "string",
    "nvidia-container-cli.environment": "list",
    "nvidia-container-cli.debug": "string",
    "nvidia-container-cli.ldcache": "string",
    "nvidia-container-cli.load-kmods": "bool",
    "nvidia-container-cli.no-pivot": "bool",
    "nvidia-container-cli.no-cgroups": "bool",
    "nvidia-container-cli.user": "string",
    "nvidia-container-cli.ldconfig": "string",
    "nvidia-ctk.path": "string",
    "nvidia-container-runtime.debug": "string",
    "nvidia-container-runtime.log-level": "string",
    "nvidia-container-runtime.runtimes": "list",
    "nvidia-container-runtime.mode": "string",
    "nvidia-container-runtime.modes.csv.mount-spec-path": "string",
    "nvidia-container-runtime.modes.csv.compat-container-root": "string",
    "nvidia-container-runtime.modes.cdi.spec-dirs": "list",
    "nvidia-container-runtime.modes.cdi.default-kind": "string",
    "nvidia-container-runtime.modes.cdi.annotation-prefixes": "list",
    "nvidia-container-runtime.modes.jit-cdi.nvcdi-feature-flags": "list",
    "nvidia-container-runtime.modes.jit-cdi.nvcdi-disable-hooks": "list",
    "nvidia-container-runtime.modes.legacy.cuda-compat-mode": "string",
    "nvidia-container-runtime-hook.path": "string",
    "nvidia-container-runtime-hook.skip-mode-detection": "bool",
    "features.allow-cuda-compat-libs-from-container": "feature",
    "features.allow-ldconfig-from-container": "feature",
    "features.allow-unknown-oci-spec-fields": "feature",
    "features.disable-cuda-compat-lib-hook": "feature",
    "features.disable-imex-channel-creation": "feature",
    "features.ignore-imex-channel-requests": "feature",
    "features.no-additional-gids-for-device-nodes": "feature",
}

# What the tool writes where there is no file yet.
DEFAULTS: dict[str, Any] = {
    "disable-require": False,
    "supported-driver-capabilities": "compat32,compute,display,graphics,ngx,utility,video",
    "nvidia-container-cli.environment": [],
    "nvidia-container-cli.ldconfig": "@/sbin/ldconfig",
    "nvidia-container-cli.load-kmods": True,
    "nvidia-container-runtime.log-level": "info",
    "nvidia-container-runtime.mode": "auto",
    "nvidia-container-runtime.runtimes": ["runc", "crun"],
    "nvidia-container-runtime.modes.cdi.annotation-prefixes": ["cdi.k8s.io/"],
    "nvidia-container-runtime.modes.cdi.default-kind": "nvidia.com/gpu",
    "nvidia-container-runtime.modes.cdi.spec-dirs": ["/etc/cdi", "/var/run/cdi"],
    "nvidia-container-runtime.modes.csv.mount-spec-path": "/etc/nvidia-container-runtime/host-files-for-container.d",
    "nvidia-container-runtime.modes.legacy.cuda-compat-mode": "ldconfig",
    "nvidia-container-runtime-hook.path": "nvidia-container-runtime-hook",
    "nvidia-container-runtime-hook.skip-mode-detection": False,
    "nvidia-ctk.path": "nvidia-ctk",
}

# Shown as a comment wherever nobody set it.
COMMENTED: dict[str, Any] = {
    "accept-nvidia-visible-devices-as-volume-mounts": False,
    "accept-nvidia-visible-devices-envvar-when-unprivileged": True,
    "swarm-resource": "DOCKER_RESOURCE_GPU",
    "nvidia-container-cli.debug": "/var/log/nvidia-container-toolkit.log",
    "nvidia-container-cli.ldcache": "/etc/ld.so.cache",
    "nvidia-container-cli.no-cgroups": False,
    "nvidia-container-cli.path": "/usr/bin/nvidia-container-cli",
    "nvidia-container-cli.root": "/run/nvidia/driver",
    "nvidia-container-cli.user": "root:video",
    "nvidia-container-runtime.debug": "/var/log/nvidia-container-runtime.log",
}


class ConfigError(ValueError):
    """A value that the tool refuses."""


def default_path() -> Path:
    override = os.environ.get("NVIDIA_CTK_CONFIG_FILE_PATH")
    return Path(override or f"{os.environ.get('XDG_CONFIG_HOME') or '/etc'}/nvidia-container-runtime/config.toml")


def version() -> str:
    try:
        return VERSION_FILE.read_text().strip() or VERSION
    except OSError:
        return VERSION


def number(text: str) -> tuple[int, int]:
    """1.19.0-rc.2 -> (1, 19)"""
    major, minor = [*text.split("."), "0"][:2]
    return int(major), int(minor)


def put(table: Table, key: str, value: Any) -> None:
    """Set a dotted key."""
    *parents, last = key.split(".")
    for name in parents:
        table = table.setdefault(name, {})
    table[last] = value


def get(table: Table, key: str, fallback: Any = None) -> Any:
    """A dotted key. Only a table of that very place counts: a key in a later table is another key."""
    for name in key.split("."):
        if not isinstance(table, dict) or name not in table:
            return fallback
        table = table[name]
    return table


def default_table() -> Table:
    table: Table = {}
    for key, value in DEFAULTS.items():
        put(table, key, value)
    return table


def load(path: Path) -> Table:
    """The file, or the defaults where there is none."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return default_table()
    return tomllib.loads(text)


def parse_setting(setting: str) -> tuple[str, Any]:
    """``key[=value]`` of --set -> (dotted key, value); None is a feature to unset."""
    key, equals, text = setting.partition("=")
    kind = SCHEMA.get(key)
    if kind is None:
        missing = next((part for part, known in zip(key.split("."), _known(key)) if not known), key.split(".")[-1])
        raise ConfigError(f'invalid config option: undefined field: "{missing}"')
    if not equals:
        if kind in ("bool", "feature"):
            return key, True
        raise ConfigError(f"invalid format: expected key=value; got {setting}")
    if kind == "feature" and text == "nil":
        return key, None
    if kind in ("bool", "feature"):
        if text in ("1", "t", "T", "TRUE", "true", "True"):
            return key, True
        if text in ("0", "f", "F", "FALSE", "false", "False"):
            return key, False
        raise ConfigError(f'invalid format: strconv.ParseBool: parsing "{text}": invalid syntax')
    if kind == "list":
        separator = next((mark for mark in ":," if mark in text), None)
        return key, text.split(separator) if separator else [text]
    return key, text


def _known(key: str) -> list[bool]:
    """For each part of a dotted key, whether the schema has anything so far."""
    parts = key.split(".")
    heads = [".".join(parts[: count + 1]) for count in range(len(parts))]
    return [any(name == head or name.startswith(f"{head}.") for name in SCHEMA) for head in heads]


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _lines(table: Table, comments: dict[str, Any], prefix: str) -> list[str]:
    plain = {key: f"{key} = {_scalar(value)}" for key, value in table.items() if not isinstance(value, dict)}
    plain.update({key: f"#{key} = {_scalar(value)}" for key, value in comments.items() if "." not in key})
    lines = [plain[key] for key in sorted(plain)]
    inner = {key.split(".")[0] for key in comments if "." in key}
    for name in sorted({key for key, value in table.items() if isinstance(value, dict)} | inner):
        below = {key.split(".", 1)[1]: value for key, value in comments.items() if key.startswith(f"{name}.")}
        lines += ["", f"[{prefix}{name}]", *_lines(table.get(name, {}), below, f"{prefix}{name}.")]
    return lines


def render(table: Table) -> str:
    """As nvidia-ctk writes it: keys sorted, tables after them, unset defaults as comments, foreign comments lost."""
    comments = {key: value for key, value in COMMENTED.items() if get(table, key) is None}
    return "\n".join(_lines(table, comments, "")) + "\n"
