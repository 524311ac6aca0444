# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a host that the role spark_host cares for: packages, files, units, and what has programs follow them.

This module util is private to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Tuple

Argv = Tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One thing that may be asked for."""

    name: str
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    unit: str = ""  # that is to be active, and starts after the files were written
    reload: tuple[Argv, ...] = ()  # what has programs follow the files
    ending: tuple[Argv, ...] = ()  # what ends the part before its files are restored
    is_daemon: bool = False  # its packages have systemd read all its units again, and go with the part

    @property
    def ledger(self) -> str:
        """The name under which the packages of this part are on record."""
        return f"spark_host_{self.name}"


def _restarted(unit: str) -> tuple[Argv, ...]:
    return (("systemctl", "restart", unit),)


SSHD = "/etc/ssh/sshd_config.d/00-dgx-spark.conf"  # of several drop-ins sshd goes by the first
HOSTNAME, HOSTS = "/etc/hostname", "/etc/hosts"
CHRONY_SOURCES = "/etc/chrony/sources.d/dgx-spark.sources"
JAIL = "/etc/fail2ban/jail.d/dgx-spark.local"  # read after what ends in .conf
EARLYOOM = "/etc/default/earlyoom"
JOURNAL = "/etc/systemd/journald.conf.d/50-dgx-spark.conf"
LOGIND = "/etc/systemd/logind.conf.d/50-dgx-spark.conf"
HELD = "/etc/apt/apt.conf.d/52dgx-spark-held"
CLOCK_UNIT = "dgx-spark-gpu-clock.service"
CLOCK_ENV, CLOCK_FILE = "/etc/dgx-spark/host/gpu_clock.env", f"/etc/systemd/system/{CLOCK_UNIT}"
#: what the directories that a part alone made are noted in
DIRECTORIES_NOTE = "/var/lib/dgx-spark/host_directories.json"
#: the one package that a part may replace; whoever has another clock daemon has chosen it
REPLACEABLE = "systemd-timesyncd"

TMUX = Part("tmux", packages=("tmux",))
CHRONY = Part(
    "chrony",
    packages=("chrony",),
    files=(CHRONY_SOURCES,),
    unit="chrony.service",
    reload=_restarted("chrony.service"),
    is_daemon=True,
)
FAIL2BAN = Part(
    "fail2ban",
    packages=("fail2ban", "python3-systemd"),
    files=(JAIL,),
    unit="fail2ban.service",
    reload=_restarted("fail2ban.service"),
    is_daemon=True,
)
OOM = Part(
    "earlyoom",
    packages=("earlyoom",),
    files=(EARLYOOM,),
    unit="earlyoom.service",
    reload=_restarted("earlyoom.service"),
    is_daemon=True,
)
JOURNALD = Part(
    "journal", files=(JOURNAL,), unit="systemd-journald.service", reload=_restarted("systemd-journald.service")
)
# A restart would end no session, and yet a reload is enough.
IPC = Part("ipc", files=(LOGIND,), reload=(("systemctl", "kill", "--signal=HUP", "systemd-logind.service"),))
# Its unit file never changes, so that systemd need not be told to read its units again.
CLOCK = Part(
    "gpu_clock",
    files=(CLOCK_ENV, CLOCK_FILE),
    unit=CLOCK_UNIT,
    reload=(("systemctl", "enable", "--no-reload", CLOCK_UNIT), *_restarted(CLOCK_UNIT)),
    ending=(("systemctl", "disable", "--no-reload", CLOCK_UNIT), ("systemctl", "stop", CLOCK_UNIT)),
)
UPGRADES = Part("upgrades", files=(HELD,))

#: all but the host's name and the ssh server, which have modules of their own
PARTS = (TMUX, CHRONY, FAIL2BAN, OOM, JOURNALD, IPC, CLOCK, UPGRADES)
BY_NAME: Mapping[str, Part] = {part.name: part for part in PARTS}
FILES = tuple(path for part in PARTS for path in part.files)


def asked(wanted: Mapping[str, Any]) -> list[Part]:
    """Return the parts that are asked for.

    :param wanted: the options of ``spark_host_settings_info``'s ``wanted``; empty, 0 or false is not asked for.

    >>> [part.name for part in asked({"tmux": True, "journal_max_gb": 0, "keep_ipc": True})]
    ['tmux', 'ipc']
    """
    options = {
        "journal": "journal_max_gb",
        "ipc": "keep_ipc",
        "gpu_clock": "gpu_clock_mhz",
        "upgrades": "hold_upgrades",
    }
    return [part for part in PARTS if wanted.get(options.get(part.name, part.name))]


def banaction_of(tools: Iterable[str]) -> str:
    """Return what fail2ban can ban with on a host that has these tools.

    Beside Docker, which brings iptables, apt installs no nftables, and the distribution's default is nftables all the
    same: each ban fails then, and the status has it as banned.

    >>> banaction_of(["iptables"]), banaction_of(["nft", "iptables"]), banaction_of([])
    ('iptables-multiport', 'nftables', 'nftables')
    """
    return "iptables-multiport" if "iptables" in tools and "nft" not in tools else "nftables"


def packages_of(part: Part, tools: Iterable[str]) -> list[str]:
    """Return the packages that a part needs on a host that has these tools.

    >>> packages_of(FAIL2BAN, []), packages_of(FAIL2BAN, ["iptables"])
    (['fail2ban', 'python3-systemd', 'nftables'], ['fail2ban', 'python3-systemd'])
    """
    bans = ["nftables"] if part is FAIL2BAN and not {"nft", "iptables"} & set(tools) else []
    return [*part.packages, *bans]


def reloads(paths: Iterable[str]) -> list[list[str]]:
    """Return the commands that have programs follow these files, each once, in the order of the parts.

    >>> reloads([JOURNAL, HELD])
    [['systemctl', 'restart', 'systemd-journald.service']]
    """
    touched = set(paths)
    return [list(argv) for part in PARTS if touched & set(part.files) for argv in part.reload]


def endings(paths: Iterable[str]) -> list[list[str]]:
    """Return the commands that end the parts of these files.

    >>> endings([CLOCK_FILE])[1]
    ['systemctl', 'stop', 'dgx-spark-gpu-clock.service']
    """
    touched = set(paths)
    return [list(argv) for part in PARTS if touched & set(part.files) for argv in part.ending]
