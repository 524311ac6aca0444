# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the monitoring is on a host, and what its parts are called.

This module util is private to the collection.
"""

from __future__ import annotations

from typing import NamedTuple

UNITS = "/etc/systemd/system"
ETC = "/etc/dgx-spark/monitoring"
LIB = "/var/lib/dgx-spark/monitoring"
#: directories that the collection shares, and that go with the last of its files
SHARED = ("/etc/dgx-spark", "/var/lib/dgx-spark")
PROGRAM = f"{LIB}/program"
RULES = f"{ETC}/rules"
#: what lies there is nobody's but root's: Alertmanager's configuration has the secrets of its receivers
SECRETS = f"{ETC}/alertmanager"
ALERTMANAGER_CONFIG = f"{SECRETS}/alertmanager.yml"
#: what the program writes for the node exporter and for Prometheus, in memory: gone when the program is
FIGURES = "/run/dgx-spark-metrics"
#: by which the rules of the firewall are recognized
COMMENT = "DGX Spark monitoring"
#: a package's own user, which its packages create
USER = "prometheus"


class Part(NamedTuple):
    """One program of the monitoring."""

    name: str
    package: str  # of the distribution, empty for the collection's own program
    data: str  # where its data lies, empty for none
    files: tuple[str, ...]  # files, and directories of files, that it reads when it starts
    leader: bool  # whether only the leader has it

    @property
    def unit(self) -> str:
        """Its unit of systemd."""
        return f"dgx-spark-{self.name}.service"

    @property
    def unit_file(self) -> str:
        """Where that is described."""
        return f"{UNITS}/{self.unit}"

    @property
    def unit_link(self) -> str:
        """By which it is started at boot."""
        return f"{UNITS}/multi-user.target.wants/{self.unit}"

    @property
    def environment(self) -> str:
        """The file of its arguments, so that its unit stays the same whatever they are."""
        return f"{ETC}/{self.name}.env"


METRICS = Part("metrics", "", "", (f"{ETC}/metrics.env", PROGRAM), False)
NODE_EXPORTER = Part("node-exporter", "prometheus-node-exporter", "", (f"{ETC}/node-exporter.env",), False)
PROMETHEUS = Part(
    *("prometheus", "prometheus", "/var/lib/dgx-spark-prometheus"),
    (f"{ETC}/prometheus.env", f"{ETC}/prometheus.yml", RULES),
    True,
)
ALERTMANAGER = Part(
    *("alertmanager", "prometheus-alertmanager", "/var/lib/dgx-spark-alertmanager"),
    (f"{ETC}/alertmanager.env", ALERTMANAGER_CONFIG),
    True,
)
#: in the order in which they are started
PARTS = (METRICS, NODE_EXPORTER, ALERTMANAGER, PROMETHEUS)


def parts_of(leader: bool) -> tuple[Part, ...]:
    """What a member has.

    >>> [part.name for part in parts_of(False)]
    ['metrics', 'node-exporter']
    """
    return tuple(part for part in PARTS if leader or not part.leader)


def packages_of(leader: bool) -> list[str]:
    """The distribution's packages that a member needs.

    >>> packages_of(False)
    ['prometheus-node-exporter']
    """
    return [part.package for part in parts_of(leader) if part.package]


def packaged_service(package: str) -> str:
    """The service that comes with a package, and serves somebody else's configuration.

    >>> packaged_service("prometheus-alertmanager")
    'prometheus-alertmanager.service'
    """
    return f"{package}.service"
