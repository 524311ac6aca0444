# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a host what is neither its fabric nor its containers: system, clock, memory, GPU, packages, disks, log.

Everything is read, nothing is written, and no device is woken: neither lspci nor a read of PCI's configuration space.

This module util is private to the collection.
"""

from __future__ import annotations

import base64
import grp
import hashlib
import os
import pwd
import re
import socket
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import host as engine_host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import tcp_port, ufw
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError, run, tool
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import (
    QUERY,
    NvidiaSmiError,
    read_answer,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import FORMAT, installed
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import filesystem

#: Debian packages that a check asks about
PACKAGES = (
    "docker-ce",
    "docker.io",
    "earlyoom",
    "nvidia-container-toolkit",
    "nvidia-modprobe",
    "opensm",
    "nvidia-driver-580-open",
    "nvidia-driver-590-open",
    "nvidia-driver-610-open",
)
LIVE = "utilization.gpu,power.draw,temperature.gpu,clocks.sm,clocks.max.sm"
#: of the kernel's log: what a check reads, and no more
KERNEL = re.compile(
    r"NVRM: Xid|NV_ERR_|Out of memory: Killed|oom-kill|invoked oom-killer|AER:|soft lockup|mlx5_core|I/O error|"
    r"cx7-pcie-hotplug|EXT4-fs error|blocked for more than"
)
KERNEL_LINES = 200
NAMESERVER_S = 3.0


def text_of(path: str | os.PathLike[str]) -> str:
    """The text of a file, empty where there is none. :raises OSError: where it may not be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def is_root() -> bool:
    """Whether all may be read."""
    return os.geteuid() == 0


def login_user() -> str:
    """The user who logged in, also where the module runs as root by sudo."""
    named = os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER") or ""
    try:
        return named or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def home_of(user: str) -> str:
    """A user's home. :raises UnreadError: where the host knows no such user."""
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        raise UnreadError(f"the host knows no user {user}") from None


def identity(etc: Path = Path("/etc"), sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> dict[str, Any]:
    """Who this host is: names, IDs, versions, the user who logged in."""
    about, user = os.uname(), login_user()
    groups = [line.split(":")[0] for line in text_of(etc / "group").splitlines() if user in _members(line)]
    release = re.findall(r'^(\w+)=["\']?([^"\'\n]*)', text_of(etc / "dgx-release"), re.MULTILINE)
    return {
        "hostname": about.nodename,
        "kernel": about.release,
        "architecture": about.machine,
        "command_line": redact.text(text_of(proc / "cmdline")),
        "machine_id": text_of(etc / "machine-id"),
        "boot_id": text_of(proc / "sys/kernel/random/boot_id"),
        "uptime_s": float((text_of(proc / "uptime").split() or ["0"])[0]),
        "release": {name: value for name, value in release if name.startswith("DGX_") and "SERIAL" not in name},
        "product": text_of(sys / "class/dmi/id/product_name"),
        "bios": text_of(sys / "class/dmi/id/bios_version"),
        "user": user,
        "groups": sorted(groups),
        "root": is_root(),
        "reboot_required": Path("/run/reboot-required").exists(),
        "linger": Path("/var/lib/systemd/linger", user).exists(),
    }


def _members(line: str) -> list[str]:
    return line.strip().rpartition(":")[2].split(",")


def own_name() -> list[str]:
    """The IPv4 addresses that this host's name has on the host itself, none where it has none."""
    try:
        found = socket.getaddrinfo(os.uname().nodename, None, socket.AF_INET)
    except (OSError, ValueError):
        return []
    return sorted({str(one[4][0]) for one in found})


def clock() -> dict[str, Any]:
    """Whether the clock is ``synchronized``, and whether ``ntp`` is switched on.

    :raises UnreadError: where systemd does not tell.
    """
    code, said = run(["timedatectl", "show"])
    shown = dict(line.partition("=")[::2] for line in said.splitlines() if "=" in line)
    if code or "NTPSynchronized" not in shown:
        raise UnreadError(f"timedatectl does not tell ({' '.join(said.split())[:100] or f'exit status {code}'})")
    return {
        "synchronized": shown["NTPSynchronized"] == "yes",
        "ntp": shown.get("NTP") == "yes",
        "can_ntp": shown.get("CanNTP") == "yes",
    }


def ssh_keys(folder: Path = Path("/etc/ssh")) -> dict[str, str]:
    """The fingerprints of the host keys, by file."""
    found = {}
    for path in sorted(folder.glob("ssh_host_*_key.pub")):
        words = text_of(path).split()
        if len(words) > 1:
            digest = hashlib.sha256(base64.b64decode(words[1])).digest()
            found[path.name] = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
    return found


def remove_ipc() -> bool:
    """Whether logind removes a user's shared memory at logout. :raises UnreadError: where it does not tell."""
    login = "org.freedesktop.login1"
    code, said = run(["busctl", "get-property", login, "/org/freedesktop/login1", f"{login}.Manager", "RemoveIPC"])
    if code or not said.startswith("b "):
        raise UnreadError("logind does not tell (busctl)")
    return said.split()[1] == "true"


def memory(path: str) -> dict[str, int]:
    """The memory in MiB. :param path: of meminfo."""
    shown = {name: int(kib) // 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text_of(path), re.MULTILINE)}
    if "MemTotal" not in shown:
        raise UnreadError(f"{path} does not tell the memory")
    names = {
        "total_mib": "MemTotal",
        "free_mib": "MemFree",
        "available_mib": "MemAvailable",
        "swap_total_mib": "SwapTotal",
        "swap_free_mib": "SwapFree",
    }
    return {name: shown.get(key, 0) for name, key in names.items()}


def gpu(ask: Callable[[Sequence[str]], tuple[int, str]] = run) -> dict[str, Any]:
    """The GPUs, or the ``problem`` in words; what they do now; and which programs use them.

    Memory is not asked for: on a GB10 neither nvidia-smi nor DCGM tells it.
    """
    code, said = ask(["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"])
    if code == 127:
        return {"problem": "nvidia-smi is not installed", "gpus": [], "live": {}, "programs": []}
    try:
        gpus, warnings = read_answer(code, said, "")
    except NvidiaSmiError as error:
        return {"problem": str(error), "gpus": [], "live": {}, "programs": []}
    live = live_of(ask(["nvidia-smi", f"--query-gpu={LIVE}", "--format=csv,noheader,nounits"])[1])
    apps = ask(["nvidia-smi", "--query-compute-apps=pid,process_name", "--format=csv,noheader"])
    return {
        "problem": "",
        "gpus": gpus,
        "warnings": warnings,
        "live": live,
        "programs": programs_of(apps[1]) if not apps[0] else [],
    }


def live_of(row: str) -> dict[str, float | None]:
    """What a GPU does now; None for what it does not tell.

    >>> live_of("96, 21.35, 61, 2411, 3003")["power_w"], live_of("[N/A], 3.1, 40, 208, 3003")["utilization"]
    (21.35, None)
    """
    names = ("utilization", "power_w", "temperature_c", "clock_mhz", "max_clock_mhz")
    words = [word.strip() for word in (row.strip().splitlines() or [""])[0].split(",")]
    values = [float(word) if re.fullmatch(r"\d+(?:\.\d+)?", word) else None for word in words]
    return dict(zip(names, [*values, *[None] * len(names)]))


def programs_of(rows: str) -> list[dict[str, Any]]:
    """The programs that compute on the GPU. A name is the program alone, for its arguments may hold secrets.

    >>> programs_of("4711, /usr/bin/python3\\nNo running processes found\\n")
    [{'pid': 4711, 'name': 'python3'}]
    """
    found = []
    for row in rows.splitlines():
        pid, comma, name = row.partition(",")
        if comma and pid.strip().isdigit():
            found.append({"pid": int(pid), "name": Path((name.split() or ["?"])[0]).name})
    return found


def driver(sys: Path = Path("/sys")) -> dict[str, Any]:
    """The version of the NVIDIA driver that is ``loaded``, and the Debian ``packages`` that a check asks about."""
    code, said = run(["dpkg-query", "-W", "-f", FORMAT, *PACKAGES, "nvidia-driver-*-open"])
    return {"loaded": text_of(sys / "module/nvidia/version"), "packages": installed(said) if code in (0, 1) else {}}


def dpkg(root: Path = Path("/var/lib/dpkg"), locks: Path = Path("/proc/locks")) -> dict[str, bool]:
    """Whether another program installs just now (``locked``), and whether an installation was ``interrupted``."""
    inodes = set()
    for name in ("lock", "lock-frontend"):
        try:
            inodes.add((root / name).stat().st_ino)
        except OSError:
            continue
    held = {int(found) for found in re.findall(r":(\d+) \S+ \S+$", text_of(locks), re.MULTILINE)}
    updates = root / "updates"
    return {"locked": bool(inodes & held), "interrupted": updates.is_dir() and any(updates.iterdir())}


def disks(paths: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What is free where: ``mount``, ``free_bytes``, ``total_bytes`` and the share of inodes that is free."""
    found = {}
    for name, path in paths.items():
        about = filesystem(path)
        numbers = os.statvfs(about["mount"])
        inodes = numbers.f_favail / numbers.f_files if numbers.f_files else 1.0
        total = numbers.f_blocks * numbers.f_frsize
        found[name] = {"path": path, **about, "total_bytes": total, "free_inodes": round(inodes, 4)}
    return found


def ports(wanted: Iterable[int], names: dict[str, str]) -> list[dict[str, Any]]:
    """Who listens on each TCP port: the ``addresses``, and the ``holders`` by program and container.

    :param names: of containers, by their IDs. Only root sees the programs of other users.
    """
    proc = Path("/proc")
    tables = [proc / "net" / name for name in ("tcp", "tcp6")]
    heard = [one for table in tables if table.exists() for one in tcp_port.listeners(text_of(table))]
    found = []
    for port in sorted(set(wanted)):
        here = [one for one in heard if one.port == port]
        who = tcp_port.holders(proc, {one.inode for one in here}, names) if here else []
        holders = list({(one.name, one.container): one for one in who}.values())
        found.append(
            {
                "port": port,
                "addresses": sorted({str(one.address) for one in here}),
                "holders": [str(one) for one in holders],
                "containers": sorted({one.container for one in holders if one.container}),
            }
        )
    return found


def firewall() -> dict[str, Any]:
    """The state of ufw. ``rules`` is None where it is on and they may not be read."""
    enabled = ufw.is_enabled()
    if enabled and not is_root():
        return {"installed": True, "enabled": True, "rules": None}
    return engine_host.firewall(run, "auto")


def reach(targets: Sequence[str], seconds: float = NAMESERVER_S) -> dict[str, str]:
    """Whether a TCP connection to each ``host:port`` comes about: why not, empty where it does. No byte is sent.

    :raises UnreadError: where the host goes through a proxy, so that a direct way means nothing.
    """
    if any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")):
        raise UnreadError("this host goes through a proxy, and a direct way means nothing")
    found = {}
    for target in targets:
        name, _colon, port = target.rpartition(":")
        try:
            socket.create_connection((name, int(port)), timeout=seconds).close()
            found[target] = ""
        except (OSError, ValueError) as error:
            found[target] = str(error)
    return found


def kernel_log() -> list[str]:
    """The lines of the kernel since the boot that a check reads, the last ones, without secrets.

    :raises UnreadError: where this user may not read them.
    """
    readers = {"adm", "systemd-journal"}
    if not is_root() and not readers & set(_own_groups()):
        raise UnreadError("the kernel's log may be read by root and the group adm alone: run this with become")
    if tool("journalctl") is None:
        raise UnreadError("journalctl is not installed")
    _code, said = run(["journalctl", "--dmesg", "--boot", "--no-pager", "--output=short-iso", "--lines=20000"])
    return [redact.text(line)[:400] for line in said.splitlines() if KERNEL.search(line)][-KERNEL_LINES:]


def _own_groups() -> list[str]:
    found = []
    for number in os.getgroups():
        try:
            found.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return found
