# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker daemon's program: what it was started with, and what it says of a configuration before that is written.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import (
    RESOURCES,
    DaemonJsonError,
    Settings,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

PROC, PID_FILE = "/proc", "/run/docker.pid"
#: flags by the key of daemon.json that they stand for, without the leading dashes; empty where it has none of its own
Flags = Mapping[str, Sequence[str]]

_PROGRAM = re.compile(r"dockerd(?:-current|-ce)?")
_SHORT = {
    "D": "debug",
    "G": "group",
    "H": "host",
    "b": "bridge",
    "g": "data-root",
    "l": "log-level",
    "p": "pidfile",
    "s": "storage-driver",
}
# Flags that may be given more than once have another name in daemon.json.
_KEYS = {
    "add-runtime": "runtimes",
    "allow-nondistributable-artifacts": "allow-nondistributable-artifacts",
    "authorization-plugin": "authorization-plugins",
    "cdi-spec-dir": "cdi-spec-dirs",
    "default-address-pool": "default-address-pools",
    "default-ulimit": "default-ulimits",
    "dns-opt": "dns-opts",
    "exec-opt": "exec-opts",
    "feature": "features",
    "host": "hosts",
    "insecure-registry": "insecure-registries",
    "label": "labels",
    "log-opt": "log-opts",
    "node-generic-resource": RESOURCES,
    "registry-mirror": "registry-mirrors",
    "storage-opt": "storage-opts",
}
# dockerd takes these from both places (26.1.5 was seen to); any other key in both keeps it from starting.
_MERGED = ("runtimes", "features")
# Runtimes that need no entry: runc's own, and containerd's shims by their full names.
_BUILT_IN = re.compile(r"runc|[a-z0-9]+(?:\.[A-Za-z0-9_-]+){2,}")
# Docker of a snap has its own unit, which starts it with these flags among others.
_SNAP = re.compile(r"/var/snap/|/run/snap\.")
_PATHS = ("config-file", "data-root", "exec-root", "pidfile")
_REMOVE = "Remove the flag, or give it that value"


def parse_flags(argv: Sequence[str]) -> dict[str, list[str]]:
    """Return the flags of a command line of dockerd by the keys that daemon.json has for them.

    dockerd takes no arguments but flags, so a word without a dash is the value of the flag before it.

    >>> parse_flags(["dockerd", "-H", "fd://", "--add-runtime=nvidia=/usr/bin/n", "--live-restore", "--label", "a=b"])
    {'hosts': ['fd://'], 'runtimes': ['nvidia=/usr/bin/n'], 'live-restore': ['true'], 'labels': ['a=b']}
    """
    found: dict[str, list[str]] = {}
    words = list(argv[1:])
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word.strip("-") == "":
            continue
        if word.startswith("--"):
            name, given, value = word[2:].partition("=")
        else:
            name, value = _SHORT.get(word[1], word[1]), word[2:].lstrip("=")
            given = value
        if not given:
            value = words.pop(0) if words and not words[0].startswith("-") else "true"
        found.setdefault(_KEYS.get(name, name), []).append(value)
    return found


def running(proc: str | None = None, pid_file: str | None = None) -> dict[str, Any]:
    """Return what dockerd was started with: ``flags``, and whether its file was ``replaced`` since.

    Both are None where no dockerd is seen, as from a container of its own.
    """
    root = Path(proc or PROC)
    for pid in _candidates(root, Path(pid_file or PID_FILE)):
        try:
            argv = (root / pid / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            if not _PROGRAM.fullmatch(Path(argv[0]).name):
                continue
            # Those of containers on this host have process IDs of their own.
            if os.readlink(root / pid / "ns" / "pid") != os.readlink(root / "self" / "ns" / "pid"):
                continue
            return {
                "flags": parse_flags(argv),
                "replaced": os.readlink(root / pid / "exe").endswith(" (deleted)"),
            }
        except OSError:  # it has just ended, or may not be looked at
            continue
    return {"flags": None, "replaced": None}


def _candidates(root: Path, pid_file: Path) -> list[str]:
    """Return process IDs, the one that dockerd wrote down itself first."""
    try:
        noted = pid_file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        noted = ""
    try:
        all_of_them = sorted((path.name for path in root.iterdir() if path.name.isdigit()), key=int)
    except OSError:
        all_of_them = []
    return [*([noted] if noted.isdigit() else []), *all_of_them]


def _of_a_snap(flags: Flags | None) -> bool:
    return any(_SNAP.match(value) for key in _PATHS for value in (flags or {}).get(key) or ())


def _source(flags: Flags | None) -> str:
    """Return in words how to find out where a flag comes from."""
    unit = "snap.docker.dockerd" if _of_a_snap(flags) else "docker"
    return f"see where it comes from with 'systemctl cat {unit}'"


def refuse_other_file(path: str, flags: Flags | None) -> None:
    """Refuse to configure a dockerd that reads another file.

    :raises DaemonJsonError: where ``--config-file`` names one, as in Docker of a snap.
    """
    other = ((flags or {}).get("config-file") or [path])[-1]
    if os.path.realpath(other) != os.path.realpath(path):
        mend = (
            "Install Docker Engine from a Debian package in the place of the snap (snap remove docker)"
            if _of_a_snap(flags)
            else "Install Docker Engine from a Debian package, or move its settings to this file and remove the flag"
        )
        raise DaemonJsonError(
            f"dockerd reads {other} instead of it (--config-file on its command line; {_source(flags)}). Nothing was "
            f"changed. {mend}"
        )


def beside_flags(settings: Settings, flags: Flags | None) -> Settings:
    """Return the part of some settings that is left to write, because flags of dockerd give the rest.

    dockerd does not start where a setting is both among its flags and in daemon.json, even with one value.

    :raises DaemonJsonError: where a flag gives another value.
    """
    given = flags or {}
    values = {key: value for key, value in settings.values.items() if not _is_given(given, key, value)}
    defaults = {key: value for key, value in settings.defaults.items() if key not in given or key in _MERGED}
    if isinstance(defaults.get("runtimes"), dict):
        registered = runtimes_of(given)
        defaults["runtimes"] = {name: what for name, what in defaults["runtimes"].items() if name not in registered}
        defaults = {key: value for key, value in defaults.items() if key != "runtimes" or value}
    kind = settings.kind
    if kind is not None and given.get(RESOURCES):
        _refuse_resources(given, kind, settings.resources)
        kind = None
    return Settings(values, defaults, kind, settings.resources if kind is not None else ())


def _is_given(flags: Flags, key: str, value: Any) -> bool:
    if not flags.get(key) or key in _MERGED:
        return False
    given = flags[key][-1]
    if given != (str(value).lower() if isinstance(value, bool) else value):
        _refuse_flag(flags, f"--{key} {given}", str(value))
    return True


def _refuse_resources(flags: Flags, kind: str, resources: Sequence[str]) -> None:
    """Refuse flags that advertise other resources of a kind. Those of other kinds stay, so all have to be flags."""
    there = sorted(flags[RESOURCES])
    wanted = sorted(f"{kind}={value}" for value in resources)
    ours = [entry for entry in there if entry.split("=")[0].strip() == kind]
    if ours == wanted:
        return
    also = [entry for entry in there if entry not in ours and entry.partition("=")[2].strip() in resources]
    wrong = [*(entry for entry in ours if entry not in wanted), *also]
    lacking = [entry for entry in wanted if entry not in ours]
    if not wrong:
        mend = f"Add {_as_flags(lacking)} beside it"
    elif not lacking:
        mend = f"Remove {_as_flags(wrong)}"
    elif len(wrong) < len(there):
        mend = f"Change {_as_flags(wrong)} to {' and '.join(lacking)}"
    else:
        mend = _REMOVE
    _refuse_flag(flags, _as_flags(there), " ".join(wanted) or "none", mend)


def _as_flags(entries: Sequence[str]) -> str:
    return " ".join(f"--node-generic-resource {entry}" for entry in entries)


def _refuse_flag(flags: Flags, given: str, wanted: str, mend: str = _REMOVE) -> None:
    raise DaemonJsonError(
        f"dockerd has {given} on its command line, and {wanted} is wanted. Docker does not start where a "
        f"setting is both there and in this file. Nothing was changed. {mend} ({_source(flags)})"
    )


def runtimes_of(flags: Flags | None) -> list[str]:
    """Return the names of the runtimes that flags register."""
    return [value.partition("=")[0] for value in (flags or {}).get("runtimes") or ()]


def is_on(flags: Flags | None, key: str) -> bool:
    """Whether flags switch something on."""
    return ((flags or {}).get(key) or ["false"])[-1].lower() in ("true", "1", "t")


def start_problems(config: Mapping[str, Any], flags: Flags | None, swarm: str | None) -> list[str]:
    """Return what keeps dockerd from starting that ``dockerd --validate`` passes, as seen with Docker 26.1.5.

    :param config: daemon.json. :param swarm: the engine's own word for its place in a swarm.
    """
    given = flags or {}
    problems = [
        f"{key!r} is in it and among dockerd's flags: remove one of the two ({_source(given)})"
        for key in config
        if key in given and key not in _MERGED
    ]
    runtimes = config.get("runtimes")
    listed = runtimes if isinstance(runtimes, dict) else {}
    default = given["default-runtime"][-1] if given.get("default-runtime") else config.get("default-runtime")
    known = [*listed, *runtimes_of(given)]
    if isinstance(default, str) and default and default not in known and not _BUILT_IN.fullmatch(default):
        problems.append(
            f"the default runtime {default!r} is not one of its runtimes ({', '.join(known) or 'none'}): register it "
            "under 'runtimes' (the role container_toolkit registers nvidia), or remove 'default-runtime'"
        )
    problems += [
        f"the runtime {name!r} has neither a path nor a runtimeType: give it its path, or remove it"
        for name, what in listed.items()
        if isinstance(what, dict) and not (what.get("path") or what.get("runtimeType"))
    ]
    if "runc" in listed:
        problems.append("a runtime is named 'runc', which is reserved: give it another name")
    mirrors = config.get("registry-mirrors")
    problems += [
        f"the registry mirror {mirror!r} does not begin with https://: correct it"
        for mirror in (mirrors if isinstance(mirrors, list) else [])
        if isinstance(mirror, str) and "://" not in mirror
    ]
    if swarm not in (None, "", "inactive") and (config.get("live-restore") is True or is_on(given, "live-restore")):
        problems.append(
            "live-restore is on, and Docker is in a swarm, which do not go together: remove it, or leave the swarm"
        )
    return problems


def refuse_start(config: Mapping[str, Any], flags: Flags | None, swarm: str | None) -> None:
    """Refuse to restart Docker with a configuration that it does not start with.

    :raises DaemonJsonError: with all that is wrong.
    """
    problems = start_problems(config, flags, swarm)
    if problems:
        raise DaemonJsonError(f"Docker would not start with it: {'; '.join(problems)}. Nothing was changed")


def live_restore(
    path: str, config: Mapping[str, Any], flags: Flags | None, running_with: Any, host: str = "", unread: str = ""
) -> tuple[str, str]:
    """Return what switches live-restore on, and how to take it out; empty texts where it is off.

    :param running_with: whether the engine says that it is on. A reload switches it on and never off.
    :param host: the host's name, where the module cannot leave that to Ansible.
    :param unread: why the file could not be read, where it could not.
    """
    source = _source(flags)
    by_file, by_flag = config.get("live-restore") is True, is_on(flags, "live-restore")
    if not (by_file or by_flag or running_with):
        return "", ""
    there = f" on {host}" if host else ""
    again = "restart Docker, and run this again"
    file, flag = f'{path}{there} sets "live-restore": true', f"dockerd{there} has --live-restore on its command line"
    if by_file and by_flag:
        return f"{file}, and {flag}", f"Remove both ({source}), {again}"
    if by_file:
        return file, f"Remove it, {again}"
    if by_flag:
        return flag, f"Remove it there ({source}), {again}"
    if unread:
        return (
            f"dockerd{there} runs with live-restore, and {path} cannot be read ({unread}), so that it is not known "
            "whether that sets it",
            f"Correct the file, remove 'live-restore' from it and from dockerd's flags ({source}), {again}",
        )
    # A reload takes live-restore up, and does not take it out again.
    return (
        f"dockerd{there} runs with live-restore, which {path} does not set: it has the flag --live-restore, or the "
        "file said 'live-restore: true' when Docker last started",
        f"Remove the flag if there is one ({source}), {again}",
    )


def validate(module: AnsibleModule, text: str, dockerd: str) -> bool:
    """Have the daemon validate a text for daemon.json; return whether there is one that can (``--validate``).

    :param dockerd: name or path of the daemon.
    :raises DaemonJsonError: with the daemon's reason.
    """
    tool = module.get_bin_path(dockerd, opt_dirs=["/usr/sbin"])
    if tool is None:
        return False
    with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, suffix=".json", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        rc, out, err = module.run_command([tool, "--validate", "--config-file", file.name])
        reason = (err.strip() or out.strip()).replace(file.name, "the result")
    if rc == 0:
        return True
    if "unknown flag: --validate" not in reason:
        raise DaemonJsonError(
            f"dockerd refuses the result: {reason}; correct the settings or the file, which is unchanged"
        )
    return False
