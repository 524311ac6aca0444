# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a host all that the role spark_host plans from. It changes nothing.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence, Tuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import running_containers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import Originals, read_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import is_text_list, read_note
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import (
    FORMAT,
    installed,
    removed_packages,
    unavailable,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.routes import management_address
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import sshd
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host.layout import (
    FILES,
    HOSTNAME,
    HOSTS,
    PARTS,
    SSHD,
    Part,
    packages_of,
)

#: runs a program; returns its exit status and output, 127 where it is missing
Run = Callable[[Sequence[str]], Tuple[int, str]]
RECORD = "/var/lib/dgx-spark/packages.json"
LOGIN1 = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
PROPERTIES = ("Id", "ActiveState", "ConditionResult", "ActiveEnterTimestampMonotonic")
CHECKED = (HOSTNAME, HOSTS, SSHD, *FILES)


def look(run: Run, parts: Sequence[Part], user: str, docker_socket: str) -> dict[str, Any]:
    """All facts. :param parts: those that are asked for. :param user: who logged in."""
    tools = [name for name in ("nft", "iptables") if run([name, "--version"])[0] == 0]
    every = sorted({"nftables", *(name for part in PARTS for name in part.packages)})
    there = installed(run(["dpkg-query", "-W", "-f", FORMAT, *every])[1])
    missing = [name for part in parts for name in packages_of(part, tools) if name not in there]
    originals = Originals()
    return {
        "hostname": os.uname().nodename,
        "files": files(CHECKED),
        "kept": [path for path in CHECKED if originals.record(path) is not None],
        "packages": there,
        "unavailable": unavailable(run, missing),
        "removes": removed_packages(run(["apt-get", "--simulate", "--no-install-recommends", "install", *missing])[1])
        if missing
        else [],
        "recorded": read_note(RECORD, {}, is_text_list),
        "units": units(run),
        "remove_ipc": logind_removes_ipc(run),
        "sshd": ssh_server(run, user),
        "tools": tools,
        "memory_bytes": memory_bytes(Path("/proc/meminfo").read_text(encoding="utf-8")),
        "gpu_max_mhz": gpu_max_mhz(run(["nvidia-smi", "--query-gpu=clocks.max.graphics", "--format=csv,noheader"])[1]),
        "containers": containers(docker_socket),
        "management": management_address(
            run(["ip", "-j", "-4", "address"])[1], run(["ip", "-j", "-4", "route", "show", "table", "all"])[1]
        ),
    }


def files(paths: Iterable[str]) -> dict[str, dict[str, Any]]:
    """By path the files that are there: ``content`` and ``mtime``, in seconds since the epoch. None is secret."""
    found = {}
    for path in paths:
        content = read_file(Path(path))
        if content is not None:
            found[path] = {"content": content.decode(errors="replace"), "mtime": Path(path).stat().st_mtime}
    return found


def units(run: Run) -> dict[str, dict[str, Any]]:
    """By unit its state, as :func:`read_units` returns it."""
    names = [part.unit for part in PARTS if part.unit]
    said = run(["systemctl", "show", f"--property={','.join(PROPERTIES)}", *names])[1]
    return read_units(said, time.time(), time.monotonic())


def read_units(said: str, now: float, up: float) -> dict[str, dict[str, Any]]:
    """Read what ``systemctl show`` prints. :param up: seconds on the clock that systemd counts by, at ``now``.

    Each unit has ``active``, its state; ``barred``, whether a condition of its own kept it from its last start; and
    ``started``, when it became active, in seconds since the epoch, 0 where that is not known.
    """
    found = {}
    for block in re.split(r"\n\s*\n", said.strip()):
        told = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        entered = told.get("ActiveEnterTimestampMonotonic", "")
        if told.get("Id"):
            known = re.fullmatch(r"[1-9][0-9]{0,17}", entered)
            found[told["Id"]] = {
                "active": told.get("ActiveState", ""),
                # What was never tried says no as well, and has no time of a start.
                "barred": told.get("ConditionResult") == "no" and told.get("ActiveState") == "inactive",
                "started": now - (up - int(entered) / 1e6) if known else 0.0,
            }
    return found


def logind_removes_ipc(run: Run) -> bool | None:
    """Whether logind removes a user's shared memory at the end of a session; None where it does not tell."""
    code, said = run(["busctl", "get-property", *LOGIN1, "RemoveIPC"])
    return said.split()[-1] == "true" if code == 0 and said.split() else None


def ssh_server(run: Run, user: str) -> dict[str, Any]:
    """What the ssh server goes by for a user, and how many keys that user has.

    ``problem`` is why it cannot be asked, empty where it can.
    """
    code, said = run(["sshd", "-T", "-C", f"user={user},host=localhost,addr=127.0.0.1"])
    if code:
        why = "it has no ssh server" if code == 127 else f"sshd does not take its configuration: {said.strip()[-300:]}"
        return {"problem": why, "user": user, "keys": 0, "includes": False, "effective": {}}
    told = sshd.effective(said)
    config = read_file(Path("/etc/ssh/sshd_config")) or b""
    names = {*sshd.settings("key"), "port"}
    return {
        "problem": "",
        "user": user,
        "keys": sshd.authorized_keys(user, told),
        "includes": sshd.includes_first(config.decode(errors="replace")),
        "effective": {name: value for name, value in told.items() if name in names},
    }


def memory_bytes(meminfo: str) -> int:
    """Return all memory of /proc/meminfo, 0 where it does not tell.

    >>> memory_bytes("MemTotal:       125412345 kB\\n")
    128422241280
    """
    match = re.search(r"^MemTotal:\s+([0-9]+) kB", meminfo, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def gpu_max_mhz(said: str) -> int:
    """Return the highest clock of the slowest GPU in MHz, 0 where none tells.

    >>> gpu_max_mhz("3003 MHz\\n"), gpu_max_mhz("[N/A]\\n"), gpu_max_mhz("No devices were found\\n")
    (3003, 0, 0)
    """
    return min((int(number) for number in re.findall(r"^([0-9]{2,5}) MHz$", said, re.MULTILINE)), default=0)


def containers(socket: str) -> list[str]:
    """The containers that run, in words; none where Docker does not answer."""
    try:
        return running_containers(Docker(socket).running())
    except DockerError:
        return []


def replaced(found: Mapping[str, Any], replaceable: str) -> list[str]:
    """Return the packages that an installation would remove beside the one that it may."""
    return [name for name in found["removes"] if name != replaceable]
