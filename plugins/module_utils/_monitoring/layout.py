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
#: what the journal may take of the disk, where that was asked for; only root writes there
JOURNAL_DIRECTORY = "/etc/systemd/journald.conf.d"
JOURNAL = f"{JOURNAL_DIRECTORY}/90-dgx-spark-monitoring.conf"
JOURNAL_UNIT = "systemd-journald.service"
#: the line in that file by which undo knows that its directory is to go with it
OWN_DIRECTORY = "# Its directory came with it.\n"
#: which images the role has pulled, so that undo removes those and no others
IMAGES = f"{LIB}/images.json"
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


class Container(NamedTuple):
    """A program of the monitoring that runs in a container, where it was asked for."""

    name: str
    etc: str  # what it is told, read-only in it
    data: str  # where its data lies, empty for none
    leader: bool  # whether only the leader has it

    @property
    def container(self) -> str:
        """What Docker calls it."""
        return f"dgx-spark-{self.name}"


GRAFANA = Container("grafana", f"{ETC}/grafana", "/var/lib/dgx-spark-grafana", True)
DCGM = Container("dcgm-exporter", f"{ETC}/dcgm-exporter", "", False)
CONTAINERS = (GRAFANA, DCGM)
#: the directory is Grafana's own, and root's: nobody else reads the password of its admin
GRAFANA_SECRETS = f"{GRAFANA.etc}/secrets"
GRAFANA_PASSWORD = f"{GRAFANA_SECRETS}/admin_password"
#: another password, until Grafana has taken it
GRAFANA_NEXT = f"{GRAFANA_SECRETS}/admin_password.next"
#: the user in Grafana's image
GRAFANA_USER = 472
#: by which the dashboards name Prometheus
DATASOURCE = "dgx-spark-prometheus"
#: by which a container tells what it was made from
CONFIG_LABEL = "dgx-spark.monitoring.config"
#: Ansible's modules for Docker need it on the host
DOCKER_PACKAGE = "python3-requests"


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
