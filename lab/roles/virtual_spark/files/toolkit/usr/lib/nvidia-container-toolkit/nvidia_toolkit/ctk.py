# SIMULATED: stands in for NVIDIA's nvidia-ctk in a virtual Spark.
"""``nvidia-ctk config`` and ``nvidia-ctk runtime configure --runtime=docker``, and nothing else of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nvidia_toolkit import config, gojson

USAGE = """NAME:
   NVIDIA Container Toolkit CLI - Tools to configure the NVIDIA Container Toolkit (SIMULATED: a virtual Spark)

USAGE:
   nvidia-ctk [--quiet] config [--config-file FILE] [--in-place | --output FILE] [--set KEY=VALUE]...
   nvidia-ctk [--quiet] runtime configure [--runtime=docker] [--config FILE] [--nvidia-set-as-default]
              [--nvidia-runtime-name NAME] [--nvidia-runtime-path PATH] [--cdi.enabled] [--dry-run]
   nvidia-ctk --version"""
DAEMON_JSON = "/etc/docker/daemon.json"


class CtkError(Exception):
    """What the tool logs as an error before it exits with 1."""


class Log:
    """logrus without a terminal. The real one puts time="..." first; the captures were made without."""

    def __init__(self) -> None:
        self.quiet = False

    def write(self, level: str, text: str) -> None:
        if level == "error" or not self.quiet:
            escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            print(f'level={level} msg="{escaped}"', file=sys.stderr)


def parse(arguments: list[str], flags: dict[str, bool], names: dict[str, str]) -> dict[str, list[str]]:
    """Go's command line: ``-x`` and ``--x`` alike, ``--x=v`` or ``--x v``. ``flags`` says which take a value."""
    found: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            raise CtkError(f"No help topic for '{word}'")
        name, equals, value = word.lstrip("-").partition("=")
        name = names.get(name, name)
        if name not in flags:
            raise CtkError(f"flag provided but not defined: -{name}")
        if flags[name] and not equals:
            if not rest:
                raise CtkError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        found.setdefault(name, []).append(value if flags[name] else value or "true")
    return found


def last(found: dict[str, list[str]], name: str, fallback: str = "") -> str:
    return found.get(name, [fallback])[-1]


def is_set(found: dict[str, list[str]], name: str) -> bool:
    return last(found, name) in ("true", "1", "t", "T", "TRUE", "True")


def run_config(arguments: list[str]) -> None:
    names = {"config": "config-file", "c": "config-file", "i": "in-place", "o": "output"}
    found = parse(arguments, {"config-file": True, "set": True, "in-place": False, "output": True}, names)
    path = Path(last(found, "config-file") or config.default_path())
    try:
        table = config.load(path)
    except (OSError, ValueError) as error:
        raise CtkError(f"unable to create config: failed to load specified config file: {error}") from None
    for setting in found.get("set", []):
        try:
            key, value = config.parse_setting(setting)
        except config.ConfigError as error:
            raise CtkError(f"invalid --set option {setting}: {error}") from None
        if value is not None:
            config.put(table, key, value)
        else:
            features = table.get("features", {})
            features.pop(key.split(".")[-1], None)
    text = config.render(table)
    output = str(path) if is_set(found, "in-place") else last(found, "output")
    if not output:
        sys.stdout.write(text)
        return
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).write_text(text)


def add_runtime(daemon: dict[str, Any], name: str, path: str, default: bool, cdi: bool) -> None:
    """The tool's merge into daemon.json, with its habits: ``args``, and foreign features lost when CDI is enabled."""
    daemon.setdefault("runtimes", {})[name] = {"path": path, "args": []}
    if default:
        daemon["default-runtime"] = name
    if cdi:
        daemon["features"] = {"cdi": True}


def load_daemon(path: Path, log: Log) -> dict[str, Any]:
    if not path.exists():
        log.write("info", "Config file does not exist; using empty config")
        return {}
    log.write("info", f"Loading config from {path}")
    try:
        daemon = gojson.decode(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise CtkError(f"unable to load config for runtime docker: unable to read config: {error.strerror}") from None
    except gojson.GoError as error:
        raise CtkError(f"unable to load config for runtime docker: {error}") from None
    if daemon is None:
        return {}
    if not isinstance(daemon, dict):
        wrong = f"json: cannot unmarshal {gojson.kind(daemon)} into Go value of type docker.Config"
        raise CtkError(f"unable to load config for runtime docker: {wrong}")
    return daemon


def run_configure(arguments: list[str], log: Log) -> None:
    names = {
        "set-as-default": "nvidia-set-as-default",
        "runtime-path": "nvidia-runtime-path",
        "cdi.enable": "cdi.enabled",
        "enable-cdi": "cdi.enabled",
    }
    flags = {
        "runtime": True,
        "config": True,
        "nvidia-runtime-name": True,
        "nvidia-runtime-path": True,
        "nvidia-set-as-default": False,
        "cdi.enabled": False,
        "dry-run": False,
        "drop-in-config": True,
    }
    found = parse(arguments, flags, names)
    engine = last(found, "runtime", "docker")
    if engine not in ("containerd", "crio", "docker"):
        raise CtkError(f"unrecognized runtime '{engine}'")
    if engine != "docker":
        raise CtkError(f"runtime {engine}: not simulated in a virtual Spark")
    if last(found, "drop-in-config"):
        raise CtkError("runtime docker does not support drop-in configs")
    path = Path(last(found, "config") or DAEMON_JSON)
    daemon = load_daemon(path, log)
    if not isinstance(daemon.get("runtimes", {}), dict):
        # The real one is a Go program that trusts its input: it panics, with exit code 2.
        print("panic: interface conversion: interface {} is not map[string]interface {}", file=sys.stderr)
        sys.exit(2)
    add_runtime(
        daemon,
        last(found, "nvidia-runtime-name", "nvidia"),
        last(found, "nvidia-runtime-path", "nvidia-container-runtime"),
        is_set(found, "nvidia-set-as-default"),
        is_set(found, "cdi.enabled"),
    )
    text = gojson.encode(daemon)
    if is_set(found, "dry-run"):
        print(text)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise CtkError(f"unable to flush config: unable to open {path} for writing: {error.strerror}") from None
    log.write("info", f"Wrote updated config to {path}")
    log.write("info", "It is recommended that docker daemon be restarted.")


def main(arguments: list[str]) -> int:
    log = Log()
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0).lstrip("-")
        if word in ("version", "v"):
            print(f"NVIDIA Container Toolkit CLI version {config.version()}\ncommit: simulated")
            return 0
        if word in ("quiet", "debug", "d"):
            log.quiet = log.quiet or word == "quiet"
        elif word in ("h", "help"):
            print(USAGE)
            return 0
        else:
            log.write("error", f"flag provided but not defined: -{word}")
            return 1
    try:
        if rest[:1] == ["config"]:
            run_config(rest[1:])
        elif rest[:2] == ["runtime", "configure"]:
            run_configure(rest[2:], log)
        elif not rest or rest == ["help"]:
            print(USAGE)
        else:
            raise CtkError(f"{' '.join(rest)}: not simulated in a virtual Spark")
    except CtkError as error:
        log.write("error", str(error))
        return 1
    return 0
