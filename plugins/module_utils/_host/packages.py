# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg and apt say of Docker and of the NVIDIA Container Toolkit.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, Iterable, Sequence

#: what ``dpkg-query -W -f`` is to print of each package, for :func:`installed`
FORMAT = "${Package}\t${db:Status-Abbrev}\t${Version}\n"
#: how long an installation waits for another, such as unattended-upgrades after a boot; also in the roles' tasks
LOCK_TIMEOUT_S = 900
LISTS = "/var/lib/apt/lists"
#: touched after each update by Ubuntu's update-notifier, also where no list was new
UPDATED = "/var/lib/apt/periodic/update-success-stamp"
TOOLKIT = "nvidia-container-toolkit"
#: Docker Engine and what it starts containers with, in the packages of all distributors
DOCKER = (
    "docker-ce",
    "docker.io",
    "moby-engine",
    "containerd.io",
    "containerd",
    "moby-containerd",
    "runc",
    "moby-runc",
)
_ENGINES = ("docker-ce", "docker.io", "moby-engine")
_SETTING = re.compile(r'^(?P<key>\S+) "(?P<value>.*)";$')
_STEP = re.compile(r"^(?:Inst|Remv) (?P<package>[a-z0-9][a-z0-9+.-]*)")
# An upgrade names the old version before the new one.
_NEW = re.compile(r"^Inst (?P<package>[a-z0-9][a-z0-9+.-]*)(?::[a-z0-9]+)? \(")
_GONE = re.compile(r"^(?:Purg|Remv) (?P<package>[a-z0-9][a-z0-9+.-]*)")


def installed(listing: str) -> dict[str, str]:
    """Return versions by package.

    :param listing: what ``dpkg-query -W`` prints in :data:`FORMAT`. It fails where a package is unknown, and lists the
        others.
    """
    return {package: version for package, status, version in _rows(listing) if status[1:2] == "i"}


def held(listing: str) -> list[str]:
    """Return the packages that are held, as ``apt-mark showhold`` lists them.

    :param listing: what ``dpkg-query -W`` prints in :data:`FORMAT`.

    >>> held("docker-ce\\thi \\t5:29.1\\ncontainerd.io\\tii \\t2.2\\n")
    ['docker-ce']
    """
    return [package for package, status, _version in _rows(listing) if status.startswith("h")]


def _rows(listing: str) -> list[list[str]]:
    return [line.split("\t") for line in listing.splitlines() if line.count("\t") == 2]


def candidate(policy: str) -> str | None:
    """Return the version that ``apt-cache policy`` would install, None where no source has one."""
    match = re.search(r"^  Candidate: (\S+)$", policy, re.MULTILINE)
    return None if match is None or match[1] == "(none)" else match[1]


def has_lists(lists: str = LISTS) -> bool:
    """Tell whether apt has lists of any package source, as it has not on a host whose lists were removed."""
    return any(Path(lists).glob("*_Packages*"))


def unavailable(
    run: Callable[[Sequence[str]], tuple[int, str]], packages: Sequence[str], lists: str = LISTS
) -> list[str]:
    """Return the packages that no source of apt's lists has. A host without lists gets them before it installs.

    :param run: runs a program and returns its exit status and what it printed.
    """
    if not packages or not has_lists(lists):
        return []
    return without_candidate(run(["apt-cache", "policy", *packages])[1], packages)


def without_candidate(policy: str, packages: Sequence[str]) -> list[str]:
    """Return the packages that ``apt-cache policy`` does not name, or has no version of.

    >>> without_candidate("jq:\\n  Candidate: 1.7\\nyq:\\n  Candidate: (none)\\n", ["jq", "yq", "zq"])
    ['yq', 'zq']
    """
    blocks = {block.partition(":\n")[0]: block for block in re.split(r"^(?=\S)", policy, flags=re.MULTILINE) if block}
    return [name for name in packages if candidate(blocks.get(name, "")) is None]


def no_source(packages: Sequence[str]) -> str:
    """Return that no source has some packages, and the mend."""
    return (
        f"no package source has {' and '.join(packages)}: update the lists (sudo apt-get update), or enable the "
        "repository (on Ubuntu: universe)"
    )


def offered(policy: str) -> list[str]:
    """Return the versions in the table of ``apt-cache policy``, newest first."""
    return re.findall(r"^ (?:\*\*\*|   ) (\S+) -?\d+$", policy, re.MULTILINE)


def engine_of(packages: Iterable[str]) -> str | None:
    """Return the package that Docker Engine came with, None where it came without one."""
    there = set(packages)
    return next((package for package in _ENGINES if package in there), None)


def upgraded_unattended(config: str, packages: Iterable[str], held: Iterable[str]) -> list[str]:
    """Return the packages of Docker that unattended-upgrades may upgrade, which restarts Docker.

    ``config`` is what ``apt-config dump`` prints. Which archives count is not looked at: they change.
    """
    settings: dict[str, list[str]] = {}
    for match in filter(None, map(_SETTING.match, config.splitlines())):
        settings.setdefault(match["key"].rstrip(":"), []).append(match["value"])
    if settings.get("APT::Periodic::Unattended-Upgrade", ["0"])[-1] in ("0", ""):
        return []
    barred = settings.get("Unattended-Upgrade::Package-Blacklist", [])
    kept = {package for package in DOCKER if any(_matches(pattern, package) for pattern in barred if pattern)}
    return sorted(set(packages) & set(DOCKER) - set(held) - kept)


def docker_steps(simulation: str) -> list[str]:
    """Return the packages of Docker that ``apt-get --simulate`` would install, upgrade or remove."""
    steps = [match["package"] for match in map(_STEP.match, simulation.splitlines()) if match]
    return sorted(set(steps) & {*DOCKER, "docker-ce-cli", "docker-cli"})


def new_packages(simulation: str) -> list[str]:
    """Return the packages that ``apt-get --simulate install`` would install and that are not there in any version.

    >>> new_packages("Inst jq (1.7 Debian:13 [arm64])\\nInst curl [8.1] (8.2 Debian:13 [arm64])\\nConf jq (1.7)\\n")
    ['jq']
    """
    return sorted({match["package"] for match in map(_NEW.match, simulation.splitlines()) if match})


def removed_packages(simulation: str) -> list[str]:
    """Return the packages that ``apt-get --simulate purge`` would remove.

    >>> removed_packages("Purg jq [1.7]\\nRemv yq [3.4]\\n")
    ['jq', 'yq']
    """
    return sorted({match["package"] for match in map(_GONE.match, simulation.splitlines()) if match})


def _matches(pattern: str, package: str) -> bool:
    try:
        return re.match(pattern, package) is not None  # from the start, as unattended-upgrades does it
    except re.error:
        return False
