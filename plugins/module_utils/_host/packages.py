# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg and apt say of Docker and of the NVIDIA Container Toolkit.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Iterable

#: what ``dpkg-query -W -f`` is to print of each package, for :func:`installed`
FORMAT = "${Package}\t${db:Status-Abbrev}\t${Version}\n"
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
