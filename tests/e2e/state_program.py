# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a Spark as root: prints, as JSON, all of its state that a play could change; by subject, then by key.

It reads and changes nothing. What the words of a subject mean is said in state.py, which sends this program.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable


def told(*command: str) -> str:
    """What a program prints; nothing where it is not installed or does not work, which is state as well."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, text=True).stdout
    except FileNotFoundError:
        return ""


def lines(*command: str) -> list[str]:
    return told(*command).splitlines()


def owner(about: os.stat_result) -> str:
    """User and group by name; by number where nobody has that."""
    try:
        user = pwd.getpwuid(about.st_uid).pw_name
    except KeyError:
        user = str(about.st_uid)
    try:
        group = grp.getgrgid(about.st_gid).gr_name
    except KeyError:
        group = str(about.st_gid)
    return f"{user}:{group}"


def file_state(path: Path) -> str:
    """Kind, mode, owner, and what is in it."""
    about = path.lstat()
    kinds = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(about.st_mode), "special")
    words = [kind, f"{stat.S_IMODE(about.st_mode):04o}", owner(about)]
    if kind == "file":
        words.append(hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    if kind == "link":
        words.append(f"to {path.readlink()}" if hasattr(path, "readlink") else os.readlink(path))
    return " ".join(words)


def files(roots: list[str], closed: list[str]) -> dict[str, str]:
    """All below some directories; of those that are closed, only that they are there."""
    found = {}
    for root in roots:
        for folder, folders, names in os.walk(root):
            inside = [name for name in folders if str(Path(folder) / name) not in closed]
            for name in [*folders, *names]:
                path = Path(folder) / name
                try:
                    found[str(path)] = file_state(path)
                except FileNotFoundError:  # it went while this was looking
                    continue
            folders[:] = [name for name in inside if not (Path(folder) / name).is_symlink()]
    return found


def packages() -> dict[str, str]:
    """Versions by package; of a removed one whose configuration is still there, that."""
    rows = lines("dpkg-query", "--show", "--showformat", "${binary:Package}\\t${db:Status-Abbrev}\\t${Version}\\n")
    return {name: f"{status.strip()} {version}" for name, status, version in (row.split("\t") for row in rows)}


def accounts() -> dict[str, str]:
    """Users and groups with their members."""
    users = {f"user {one.pw_name}": f"{one.pw_uid} {one.pw_gid} {one.pw_dir} {one.pw_shell}" for one in pwd.getpwall()}
    groups = {f"group {one.gr_name}": f"{one.gr_gid} {' '.join(sorted(one.gr_mem))}".strip() for one in grp.getgrall()}
    return {**users, **groups}


def units() -> dict[str, str]:
    """Units of systemd: whether they are enabled, and whether they are active."""
    found: dict[str, str] = {}
    for row in lines("systemctl", "list-unit-files", "--no-legend", "--no-pager", "--full"):
        name, state = row.split()[:2]
        found[name] = state
    for row in lines("systemctl", "list-units", "--all", "--no-legend", "--no-pager", "--full", "--plain"):
        name, loaded, active = row.split()[:3]
        found[name] = f"{found.get(name, loaded)}, {active}"
    return found


def sysctls() -> dict[str, str]:
    """The kernel's settings by name."""
    rows = (line.partition(" = ") for line in lines("sysctl", "--all"))
    return {name: value.strip() for name, _equals, value in rows}


def firewall() -> dict[str, str]:
    """The rules in effect, by table and chain, without counters."""
    found: dict[str, list[str]] = {}
    for program in ("iptables-save", "ip6tables-save"):
        table = ""
        for line in lines(program):
            if "127.0.0.11" in line:  # of the name server that a virtual Spark gets anew at each start
                continue
            if line.startswith("*"):
                table = line[1:]
            elif chain := re.match(r"(?::|-A )(\S+)", line):
                found.setdefault(f"{program} {table} {chain[1]}", []).append(re.sub(r" \[\d+:\d+\]$", "", line))
    return {**{key: " ; ".join(rules) for key, rules in found.items()}, "ufw": told("ufw", "status", "verbose").strip()}


def network() -> dict[str, str]:
    """Links with MTU and flags, addresses, routes and rules; what only time changes is left out."""
    found = {}
    for link in json.loads(told("ip", "-json", "address") or "[]"):
        flags = " ".join(sorted(set(link["flags"]) & {"UP", "LOWER_UP"}))
        found[f"link {link['ifname']}"] = f"mtu {link['mtu']} {flags}"
        for one in link["addr_info"]:
            if "local" in one:
                found[f"address {one['local']}/{one['prefixlen']} on {link['ifname']}"] = one["scope"]
    for family in ("-4", "-6"):
        for route in json.loads(told("ip", "-json", family, "route") or "[]"):
            words = [str(route[key]) for key in ("dst", "gateway", "dev", "prefsrc") if key in route]
            found[f"route {' '.join(words)}"] = str(route.get("scope", ""))
        for row in lines("ip", family, "rule"):
            found[f"rule {family} {' '.join(row.split())}"] = ""
    return found


def docker() -> dict[str, str]:
    """The objects of Docker, and what its daemon says of itself."""
    asked: dict[str, tuple[list[str], str]] = {
        "container": (["ps", "--all"], "{{.Names}}\t{{.Image}} {{.State}}"),
        "image": (["image", "ls", "--all", "--no-trunc"], "{{.Repository}}:{{.Tag}} {{.ID}}\t"),
        "network": (["network", "ls"], "{{.Name}}\t{{.Driver}} {{.Scope}}"),
        "volume": (["volume", "ls"], "{{.Name}}\t{{.Driver}}"),
    }
    found = {}
    for kind, (words, template) in asked.items():
        for row in lines("docker", *words, "--format", template):
            name, _tab, value = row.partition("\t")
            found[f"{kind} {name}"] = value
    about = json.loads(told("docker", "info", "--format", "{{json .}}") or "{}")
    for key in ("DefaultRuntime", "GenericResources", "Labels", "LiveRestoreEnabled"):
        found[f"info {key}"] = json.dumps(about.get(key), sort_keys=True)
    for name, runtime in (about.get("Runtimes") or {}).items():
        found[f"info runtime {name}"] = " ".join([runtime.get("path", ""), *(runtime.get("runtimeArgs") or [])])
    found["info Swarm"] = about.get("Swarm", {}).get("LocalNodeState", "")
    return found


def main() -> None:
    asked: dict[str, Any] = json.loads(sys.argv[1])
    subjects: dict[str, Callable[[], dict[str, str]]] = {
        "files": lambda: files(asked["roots"], asked["closed"]),
        "packages": packages,
        "accounts": accounts,
        "units": units,
        "sysctl": sysctls,
        "firewall": firewall,
        "network": network,
        "docker": docker,
    }
    json.dump({subject: get() for subject, get in subjects.items()}, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main()
