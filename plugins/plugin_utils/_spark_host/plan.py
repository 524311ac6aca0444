# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan what each host is to have of the role spark_host. Pure functions of what was asked for and what the hosts have.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import asdict, dataclass
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import no_source
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import hosts_file, sshd
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host.host import replaced
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host.layout import (
    CHRONY_SOURCES,
    CLOCK_ENV,
    CLOCK_FILE,
    EARLYOOM,
    FILES,
    HELD,
    HOSTS,
    JAIL,
    JOURNAL,
    LOGIND,
    PARTS,
    REPLACEABLE,
    SSHD,
    Part,
    asked,
    banaction_of,
    packages_of,
)

# The names of the tasks that make the changes.
RESTORE = "Take back the parts that are not asked for"
INSTALL = "Install the packages of the host's parts"
WRITE = "Write the files of the host's parts"
RELOAD = "Have the programs follow the files of the host's parts"
NAME = "Configure the host's name and the names of the Sparks"
LOGINS = "Restrict logins by ssh to keys"
LOGINS_BACK = "Restore the logins by ssh"
CHANGES = (RESTORE, INSTALL, WRITE, RELOAD, NAME, LOGINS, LOGINS_BACK)

MIB = 1 << 20
LEAST_MHZ = 300
#: what a Spark that serves is not to get in the night, as unattended-upgrades matches it: from the start of a name
HELD_PACKAGES = (
    "docker",
    "containerd",
    "moby-",
    "runc$",
    "nvidia-",
    "libnvidia-",
    "cuda-",
    "libnccl",
    "linux-(image|modules|headers|nvidia|firmware)",
    "fwupd",
    "dgx-",
    "mlnx-",
    "doca-",
)
#: what earlyoom is not to end, though it were the largest: without these nobody can log in, or nothing starts again
_AVOID = "^(sshd|sshd-session|systemd|systemd-.*|dockerd|containerd|containerd-shim.*|NetworkManager|tmux.*)$"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class SparkHostError(ValueError):
    """A host cannot be as it was asked for; the message names host, value, cause and mend."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of one host, as the variables of the role say it. Empty, 0 or false is not asked for."""

    name: str = ""
    hosts: bool = False
    chrony: bool = False
    chrony_servers: Sequence[str] = ()
    sshd: bool = False
    sshd_root: str = "key"
    sshd_local: bool = False  # the play runs on the host itself, so that no new login shows anything
    fail2ban: bool = False
    fail2ban_ignore: Sequence[str] = ()
    tmux: bool = False
    journal_max_gb: int = 0
    earlyoom: bool = False
    earlyoom_mib: int = 4096
    memory_floor_mib: int = 8192
    keep_ipc: bool = False
    gpu_clock_mhz: int = 0
    hold_upgrades: bool = False
    allow_restart: bool = False

    @property
    def parts(self) -> list[Part]:
        """The parts that are asked for."""
        return asked(asdict(self))


@dataclass(frozen=True)
class Member:
    """A host, by its inventory name: what is asked of it, what it has, and its management address."""

    inventory_name: str
    wanted: Wanted
    found: Mapping[str, Any]  # as spark_host_settings_info returns it
    address: str = ""  # empty where it is not known

    @property
    def name(self) -> str:
        """The name that the host has, or will have."""
        return self.wanted.name or str(self.found["hostname"])


def address_of(reach: str, management: str | None) -> str:
    """The management address: where the inventory reaches a host, or else the address of its default route.

    >>> address_of("192.168.1.21", "10.0.0.1"), address_of("spark1.local", "10.0.0.1"), address_of("localhost", None)
    ('192.168.1.21', '10.0.0.1', '')
    """
    try:
        if not ipaddress.ip_address(reach).is_loopback:
            return reach
    except ValueError:
        pass
    return management or ""


# ---- what files say


def jail(banaction: str, ignore: Sequence[str]) -> str:
    """The jail of fail2ban for ssh. What it bans with stands in the jail alone: other jails may want another."""
    return text_of(
        [
            "# sparkops.dgx_spark writes this file.",
            "[sshd]",
            "enabled = true",
            "backend = systemd",
            "journalmatch = _SYSTEMD_UNIT=ssh.service + _COMM=sshd + _COMM=sshd-session",
            f"banaction = {banaction}",
            f"ignoreip = {' '.join(ignore)}",
            "maxretry = 5",
            "findtime = 10m",
            "bantime = 10m",
        ]
    )


def earlyoom_arguments(mib: int) -> str:
    """The arguments of earlyoom: at how little available memory it ends the largest program, and at half of that kills.

    Absolute, since a tenth of a Spark's memory is 12 GB; and whatever swap is free, without which it would wait for
    that to be full, too.
    """
    return f"-M {mib * 1024},{mib * 512} -s 100 -r 3600 --avoid {_AVOID}"


def earlyoom_file(before: str, mib: int) -> str:
    """The file of earlyoom's arguments, all other lines as they are.

    >>> earlyoom_file("# a\\nEARLYOOM_ARGS=\\"-r 3600\\"\\n", 1).splitlines()[0]
    '# a'
    """
    line = f'EARLYOOM_ARGS="{earlyoom_arguments(mib)}"'
    lines = before.splitlines()
    kept = [one for one in lines if not re.match(r"\s*EARLYOOM_ARGS=", one)]
    place = next((index for index, one in enumerate(lines) if re.match(r"\s*EARLYOOM_ARGS=", one)), len(kept))
    return text_of([*kept[:place], line, *kept[place:]])


def clock_unit() -> str:
    """The unit that caps the GPU's clock. nvidia-smi says in words, and not by its status, that a GPU cannot do it."""
    capped = 'said=$(nvidia-smi -lgc 0,$GPU_CLOCK_MHZ); echo "$said"; case "$said" in *gpuClkMax*) ;; *) exit 1 ;; esac'
    return text_of(
        [
            "# sparkops.dgx_spark writes this file.",
            "[Unit]",
            "Description=Cap on the clock of the GPU",
            "After=nvidia-persistenced.service",
            "",
            "[Service]",
            "Type=oneshot",
            "RemainAfterExit=yes",
            f"EnvironmentFile={CLOCK_ENV}",
            f"ExecStart=/bin/sh -c '{capped.replace('$', '$$')}'",
            "ExecStop=nvidia-smi -rgc",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
        ]
    )


def held() -> str:
    """The setting that keeps unattended-upgrades from packages whose upgrade would end what serves."""
    return text_of(
        [
            "// playbooks/update.yml brings these, one Spark after the other. sparkops.dgx_spark writes this file.",
            "Unattended-Upgrade::Package-Blacklist {",
            *(f'  "{pattern}";' for pattern in HELD_PACKAGES),
            "};",
        ]
    )


def ignored(members: Sequence[Member], more: Sequence[str]) -> list[str]:
    """The addresses that are never banned: the host's own, the other Sparks', and those that were named."""
    addresses = [member.address for member in members if member.address]
    return list(dict.fromkeys(["127.0.0.0/8", "::1", *addresses, *more]))


def files_of(member: Member, members: Sequence[Member]) -> dict[str, str]:
    """The files of the parts that are asked for, by their paths."""
    wanted, found = member.wanted, member.found
    marked = "# sparkops.dgx_spark writes this file."
    every = {
        CHRONY_SOURCES: text_of([marked, *(f"server {one} iburst" for one in wanted.chrony_servers)]),
        JAIL: jail(banaction_of(found["tools"]), ignored(members, wanted.fail2ban_ignore)),
        EARLYOOM: earlyoom_file(_text(found, EARLYOOM), wanted.earlyoom_mib),
        JOURNAL: text_of([marked, "[Journal]", f"SystemMaxUse={wanted.journal_max_gb}G"]),
        LOGIND: text_of([marked, "[Login]", "RemoveIPC=no"]),
        CLOCK_ENV: f"GPU_CLOCK_MHZ={wanted.gpu_clock_mhz}\n",
        CLOCK_FILE: clock_unit(),
        HELD: held(),
    }
    if not wanted.chrony_servers:
        del every[CHRONY_SOURCES]
    return {path: every[path] for part in wanted.parts for path in part.files if path in every}


def names_of(member: Member, members: Sequence[Member]) -> dict[str, str]:
    """The names that /etc/hosts is to give the other Sparks, by name the management address."""
    if not member.wanted.hosts:
        return {}
    return {one.name: one.address for one in members if one is not member and one.address}


# ---- what cannot be


def problems_of(member: Member, members: Sequence[Member]) -> Iterator[str]:
    """What of a host cannot be as it was asked for, in words, each with its mend."""
    wanted, found = member.wanted, member.found
    if wanted.name and not _LABEL.fullmatch(wanted.name):
        yield f"spark_host_name is {wanted.name!r}: give a name of letters a-z, digits and hyphens, without a domain"
    if wanted.hosts:
        lost = [one.inventory_name for one in members if not one.address]
        if lost:
            yield f"{' and '.join(lost)} has no management address to write into /etc/hosts: give it an ansible_host"
    for address in wanted.fail2ban_ignore:
        if not _is_network(address):
            yield f"spark_host_fail2ban_ignore has {address!r}: give addresses and networks such as 192.168.1.0/24"
    for server in wanted.chrony_servers:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.:-]*", server):
            yield f"spark_host_chrony_servers has {server!r}: give names or addresses of time servers"
    if wanted.journal_max_gb < 0:
        yield f"spark_host_journal_max_gb is {wanted.journal_max_gb}: give 1 or more, or 0 to leave it alone"
    yield from _memory_problems(wanted, found)
    yield from _clock_problems(wanted, found)
    if found["unavailable"]:
        yield no_source(found["unavailable"])
    gone = replaced(found, REPLACEABLE)
    if gone:
        yield f"apt would remove {' and '.join(gone)}, which you may need: remove it yourself, or do without this part"
    yield from _login_problems(wanted, found)
    try:
        _hosts_of(member, members)
    except hosts_file.HostsError as error:
        yield str(error)


def _memory_problems(wanted: Wanted, found: Mapping[str, Any]) -> Iterator[str]:
    if not wanted.earlyoom:
        return
    if not 256 <= wanted.earlyoom_mib < wanted.memory_floor_mib:
        yield (
            f"spark_host_earlyoom_mib is {wanted.earlyoom_mib}: give 256 or more, and less than "
            f"{wanted.memory_floor_mib} MiB, below which the supervisor ends the engine in an orderly way"
        )
    elif found["memory_bytes"] and wanted.earlyoom_mib * MIB * 2 > found["memory_bytes"]:
        yield (
            f"spark_host_earlyoom_mib is {wanted.earlyoom_mib}, and the host has {found['memory_bytes'] // MIB} MiB: "
            "give less than half of that"
        )


def _clock_problems(wanted: Wanted, found: Mapping[str, Any]) -> Iterator[str]:
    most = found["gpu_max_mhz"]
    if wanted.gpu_clock_mhz and (wanted.gpu_clock_mhz < LEAST_MHZ or (most and wanted.gpu_clock_mhz > most)):
        yield (
            f"spark_host_gpu_clock_mhz is {wanted.gpu_clock_mhz}: give {LEAST_MHZ} to {most or 'its highest clock'}, "
            "or 0 to leave it alone"
        )


def _login_problems(wanted: Wanted, found: Mapping[str, Any]) -> Iterator[str]:
    server = found["sshd"]
    if not wanted.sshd:
        return
    if wanted.sshd_root not in sshd.ROOT_VALUES:
        yield f"spark_host_sshd_root is {wanted.sshd_root!r}: give key or no"
    if server["problem"]:
        yield f"{server['problem']}: mend that, or set spark_host_sshd to false"
        return
    if wanted.sshd_local:
        yield (
            "the play runs on this host itself, so that no new login over ssh can show that one is left: run it from "
            "another computer, or set spark_host_sshd to false"
        )
    if not server["keys"]:
        yield (
            f"the user {server['user']} has no authorized key on it and logs in otherwise, which would end: bring "
            "one (ssh-copy-id, or playbooks/setup.yml) and use it"
        )
    root = server["effective"].get("permitrootlogin")
    if wanted.sshd_root == "key" and root in ("no", "forced-commands-only") and SSHD not in found["kept"]:
        yield (
            f"the ssh server lets root in by less than a key already (PermitRootLogin {root}), and "
            'spark_host_sshd_root: key would open that: set spark_host_sshd_root to "no", or remove that setting first'
        )
    if server["user"] == "root" and wanted.sshd_root == "no":
        yield "spark_host_sshd_root is no, and this play logs in as root: use another account, or say key"
    if not server["includes"]:
        yield (
            "/etc/ssh/sshd_config sets something before it includes /etc/ssh/sshd_config.d/*.conf, or does not include "
            "it: put that Include on top"
        )


def _is_network(text: str) -> bool:
    try:
        return bool(ipaddress.ip_network(text))
    except ValueError:
        return False


# ---- the changes


def _text(found: Mapping[str, Any], path: str) -> str:
    return str(found["files"].get(path, {}).get("content", ""))


def _hosts_of(member: Member, members: Sequence[Member]) -> str:
    names = names_of(member, members)
    before = _text(member.found, HOSTS)
    return hosts_file.planned(before, str(member.found["hostname"]), member.wanted.name, names)


def surplus_files(member: Member, members: Sequence[Member]) -> list[str]:
    """The files that the role has written and that no part has any more."""
    wanted = files_of(member, members)
    return [path for path in FILES if path in member.found["kept"] and path not in wanted]


def surplus_records(member: Member) -> list[str]:
    """The records of packages that the role has installed for parts that are not asked for any more."""
    recorded, parts = member.found["recorded"], member.wanted.parts
    return [part.ledger for part in PARTS if recorded.get(part.ledger) and part not in parts]


def due_of(member: Member, written: Sequence[str]) -> list[list[str]]:
    """The commands that have programs follow their files.

    :param written: the files that are written before.
    """
    return [list(argv) for part in member.wanted.parts if _is_due(member, part, written) for argv in part.reload]


def _is_due(member: Member, part: Part, written: Sequence[str]) -> bool:
    found = member.found
    if set(part.files) & set(written) or set(part.packages) - set(found["packages"]):
        return True
    if part.name == "ipc":
        return found["remove_ipc"] is True
    if not part.unit:
        return False
    unit = found["units"].get(part.unit, {})
    newest = max((found["files"][path]["mtime"] for path in part.files if path in found["files"]), default=0.0)
    if unit.get("barred"):
        return False
    return unit.get("active") != "active" or unit["started"] < newest


def restarts(changes: Sequence[Mapping[str, Any]], member: Member) -> bool:
    """Whether the changes have systemd read all its units again, or change the name that programs go by."""
    names = {one["name"] for one in changes}
    new = any(part.is_daemon and set(part.packages) - set(member.found["packages"]) for part in member.wanted.parts)
    gone = any(part.is_daemon and part.ledger in surplus_records(member) for part in PARTS)
    renamed = member.wanted.name not in ("", member.found["hostname"])
    return (INSTALL in names and new) or (RESTORE in names and gone) or (NAME in names and renamed)


def changes_of(member: Member, members: Sequence[Member]) -> list[dict[str, Any]]:
    """The changes on a host, in the order of the apply."""
    return list(_changes(member, members))


def _changes(member: Member, members: Sequence[Member]) -> Iterator[dict[str, Any]]:
    wanted, found = member.wanted, member.found
    surplus = surplus_files(member, members)
    gone = [name for record in surplus_records(member) for name in found["recorded"][record]]
    if surplus or gone:
        yield change(RESTORE, text_of([*surplus, *gone]), "", "files and packages")
    missing = [name for part in wanted.parts for name in _missing(part, found)]
    if missing:
        yield change(INSTALL, text_of(found["removes"]), text_of(missing), "packages")
    files = files_of(member, members)
    written = [path for path, text in files.items() if found["files"].get(path, {}).get("content") != text]
    if written:
        before = "".join(_text(found, path) for path in written)
        yield change(WRITE, before, "".join(files[path] for path in written), ", ".join(written))
    due = due_of(member, written)
    if due:
        yield change(RELOAD, "", text_of(" ".join(argv) for argv in due), "commands")
    hosts = _hosts_of(member, members)
    if hosts != _text(found, HOSTS) or wanted.name not in ("", found["hostname"]):
        before = text_of([str(found["hostname"])]) + _text(found, HOSTS)
        yield change(NAME, before, text_of([member.name]) + hosts, "/etc/hostname, /etc/hosts")
    yield from _logins(wanted, found)


def _logins(wanted: Wanted, found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    before = _text(found, SSHD)
    if wanted.sshd:
        after = sshd.drop_in(wanted.sshd_root)
        if before != after or sshd.differing(found["sshd"]["effective"], sshd.settings(wanted.sshd_root)):
            yield change(LOGINS, before, after, SSHD)
    elif SSHD in found["kept"] and before:
        yield change(LOGINS_BACK, before, "", SSHD)


def plan(members: Sequence[Member]) -> dict[str, Any]:
    """The plan of all members. :raises SparkHostError: for what cannot be."""
    problems = [f"{one.inventory_name}: {problem}" for one in members for problem in problems_of(one, members)]
    names = [one.name for one in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and any(one.wanted.name or one.wanted.hosts for one in members):
        problems.append(
            f"{' and '.join(twice)} would be the name of two Sparks: give each a spark_host_name of its own"
        )
    if problems:
        raise SparkHostError(f"{'; '.join(problems)}. Nothing was changed.")
    changes = {one.inventory_name: changes_of(one, members) for one in members}
    refuse_under_load(members, changes)
    return {"changes": changes, "hosts": {one.inventory_name: _own(one, members) for one in members}}


def refuse_under_load(members: Sequence[Member], changes: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Refuse what may take the GPU from running containers, or their host's name. :raises SparkHostError:"""
    for member in members:
        running, planned = member.found["containers"], changes[member.inventory_name]
        if running and not member.wanted.allow_restart and restarts(planned, member):
            raise SparkHostError(
                f"{member.inventory_name} runs {', '.join(running)}. A package's installation has systemd read all its "
                "units again, which may take the GPU from containers, and a new name would be another than they know. "
                "Nothing was changed. Stop the containers (playbooks/stop.yml), or say spark_allow_restart=true and "
                "restart the engine then"
            )


def _own(member: Member, members: Sequence[Member]) -> dict[str, Any]:
    """What is written, started and verified on one host."""
    wanted, found = member.wanted, member.found
    files = files_of(member, members)
    written = [path for path, text in files.items() if found["files"].get(path, {}).get("content") != text]
    return {
        "name": wanted.name,
        "before": str(found["hostname"]),
        "names": names_of(member, members),
        "packages": [
            {"part": part.name, "role": part.ledger, "packages": missing}
            for part in wanted.parts
            for missing in [_missing(part, found)]
            if missing
        ],
        "files": [{"path": path, "content": text} for path, text in files.items()],
        "surplus": surplus_files(member, members),
        "surplus_records": surplus_records(member),
        "reload": due_of(member, written),
        "parts": [part.name for part in wanted.parts],
        "sshd": sshd.settings(wanted.sshd_root) if wanted.sshd else {},
        "sshd_drop_in": sshd.drop_in(wanted.sshd_root) if wanted.sshd else "",
        "banaction": banaction_of(found["tools"]),
        "journal_max_gb": wanted.journal_max_gb,
        "gpu_clock_mhz": wanted.gpu_clock_mhz,
        "held": list(HELD_PACKAGES) if wanted.hold_upgrades else [],
        "earlyoom_arguments": earlyoom_arguments(wanted.earlyoom_mib) if wanted.earlyoom else "",
    }


def _missing(part: Part, found: Mapping[str, Any]) -> list[str]:
    return [name for name in packages_of(part, found["tools"]) if name not in found["packages"]]
