# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs of the monitoring are told, as text. Pure functions.

Options are those that Prometheus 2.42, Alertmanager 0.25 and the node exporter 1.5 know, which Debian 12 has, and later
ones too.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Sequence

import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.layout import (
    ALERTMANAGER,
    ALERTMANAGER_CONFIG,
    ETC,
    FIGURES,
    METRICS,
    NODE_EXPORTER,
    PROGRAM,
    PROMETHEUS,
    RULES,
    USER,
    Part,
)

MANAGED = "# Written by Ansible (sparkops.dgx_spark): changes here are lost.\n"
LOOPBACK = "127.0.0.1"
#: beside what the node exporter reads by itself: pause frames and discards, whose names depend on what is switched on
ETHTOOL = "(rx|tx)_(prio._|global_)?(pause|discards).*"
#: what a secret stands for in the text of Alertmanager's configuration until the task that writes it
PLACEHOLDER = '"@{name}@"'


@dataclass(frozen=True)
class Ports:
    """Where the parts listen."""

    prometheus: int = 9090
    alertmanager: int = 9093
    node_exporter: int = 9100

    @property
    def by_part(self) -> dict[str, int]:
        """The ports by the names of the parts that listen."""
        return {
            NODE_EXPORTER.name: self.node_exporter,
            ALERTMANAGER.name: self.alertmanager,
            PROMETHEUS.name: self.prometheus,
        }


@dataclass(frozen=True)
class Member:
    """A Spark, as Prometheus asks it."""

    name: str
    address: str  # where the leader reaches it; of the leader itself its own


@dataclass(frozen=True)
class Receivers:
    """To whom Alertmanager sends; secrets are not here, only whether there are some."""

    webhook: bool = False
    slack: bool = False
    slack_channel: str = ""
    email: Mapping[str, Any] = field(default_factory=dict)  # to, from, smarthost, username
    email_password: bool = False

    @property
    def names(self) -> list[str]:
        """By what ways messages go."""
        return [name for name in ("webhook", "slack", "email") if getattr(self, name)]


@dataclass(frozen=True)
class Settings:
    """The monitoring as it was asked for."""

    members: Sequence[Member]  # the leader first
    ports: Ports
    open: bool  # whether others than the Sparks may ask
    retention_gb: int
    scrape_seconds: int
    receivers: Receivers
    meminfo: str = "/proc/meminfo"  # the file that the supervisors read the memory from
    progress: Sequence[str] = ()  # directories in which downloads write how far they are
    dcgm: int = 0  # the port of DCGM's exporters, 0 where there are none

    @property
    def leader(self) -> Member:
        """The member that has Prometheus."""
        return self.members[0]

    @property
    def web_address(self) -> str:
        """Where Prometheus listens: the distributions' versions take one address."""
        return self.leader.address if self.open else LOOPBACK


def joined(address: str, port: int) -> str:
    """An address with a port.

    >>> joined("10.0.0.7", 9090), joined("fd00::7", 9090)
    ('10.0.0.7:9090', '[fd00::7]:9090')
    """
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def environment(arguments: Iterable[str]) -> str:
    """A file of systemd's that has the arguments of a program."""
    return f'{MANAGED}ARGS="{" ".join(arguments)}"\n'


def listens(settings: Settings, member: Member) -> list[str]:
    """The addresses on which the node exporter of a member listens: the leader's asks its own on loopback."""
    beyond = settings.open or member != settings.leader
    return list(dict.fromkeys([LOOPBACK, *([member.address] if beyond else [])]))


def arguments(settings: Settings, member: Member) -> dict[str, list[str]]:
    """The arguments of the distribution's programs on a member, by the part."""
    ports = settings.ports
    found = {
        METRICS.name: [FIGURES, settings.meminfo, *settings.progress],
        NODE_EXPORTER.name: [
            *(f"--web.listen-address={joined(one, ports.node_exporter)}" for one in listens(settings, member)),
            f"--collector.textfile.directory={FIGURES}",
            "--collector.ethtool",
            f"--collector.ethtool.metrics-include={ETHTOOL}",
        ],
    }
    if member == settings.leader:
        addresses = dict.fromkeys([LOOPBACK, settings.web_address])
        found[ALERTMANAGER.name] = [
            f"--storage.path={ALERTMANAGER.data}",
            *(f"--web.listen-address={joined(one, ports.alertmanager)}" for one in addresses),
            "--cluster.listen-address=",
        ]
        found[PROMETHEUS.name] = [
            f"--config.file={ETC}/prometheus.yml",
            f"--storage.tsdb.path={PROMETHEUS.data}",
            f"--storage.tsdb.retention.size={settings.retention_gb}GB",
            f"--web.listen-address={joined(settings.web_address, ports.prometheus)}",
        ]
    return found


def dcgm_address(settings: Settings, member: Member) -> str:
    """Where DCGM's exporter of a member listens: it takes one address, by which Prometheus asks it."""
    return LOOPBACK if member == settings.leader else member.address


def prometheus(settings: Settings) -> str:
    """The text of ``prometheus.yml``. Where engines are asked, the leader's own program tells, as they come and go."""
    ports, leader = settings.ports, settings.leader
    interval = f"{settings.scrape_seconds}s"
    sparks = [
        {
            "targets": [joined(LOOPBACK if one == leader else one.address, ports.node_exporter)],
            "labels": {"spark": one.name},
        }
        for one in settings.members
    ]
    own = {"labels": {"spark": leader.name}}
    exporters = [
        {"targets": [joined(dcgm_address(settings, one), settings.dcgm)], "labels": {"spark": one.name}}
        for one in settings.members
    ]
    config = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [f"{RULES}/*.yml"],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [joined(LOOPBACK, ports.alertmanager)]}]}],
        },
        "scrape_configs": [
            {"job_name": "spark", "static_configs": sparks},
            *([{"job_name": "dcgm", "static_configs": exporters}] if settings.dcgm else []),
            {
                "job_name": "engine",
                "file_sd_configs": [{"files": [f"{FIGURES}/engines.json"], "refresh_interval": "15s"}],
                "relabel_configs": [{"target_label": "spark", "replacement": leader.name}],
            },
            {
                "job_name": "prometheus",
                "static_configs": [{"targets": [joined(settings.web_address, ports.prometheus)], **own}],
            },
            {
                "job_name": "alertmanager",
                "static_configs": [{"targets": [joined(LOOPBACK, ports.alertmanager)], **own}],
            },
        ],
    }
    plain = json.loads(json.dumps(config))  # Ansible's own kind of string is none that YAML's writer knows
    return MANAGED + yaml.safe_dump(plain, sort_keys=False, width=120)


def alertmanager(receivers: Receivers) -> str:
    """The text of ``alertmanager.yml``, in JSON, which is YAML too, with a placeholder for each secret."""
    ways: dict[str, Any] = {"name": "people"}
    if receivers.webhook:
        ways["webhook_configs"] = [{"url": "@webhook_url@", "send_resolved": True}]
    if receivers.slack:
        channel = {"channel": receivers.slack_channel} if receivers.slack_channel else {}
        ways["slack_configs"] = [{"api_url": "@slack_url@", "send_resolved": True, **channel}]
    if receivers.email:
        password = {"auth_password": "@email_password@"} if receivers.email_password else {}
        given = {"auth_username" if name == "username" else name: one for name, one in receivers.email.items() if one}
        ways["email_configs"] = [{**given, **password, "send_resolved": True}]
    config = {
        "route": {
            "receiver": "people",
            "group_by": ["spark", "serving"],
            "group_wait": "10s",
            "group_interval": "1m",
            "repeat_interval": "12h",
        },
        "inhibit_rules": [  # where a Spark does not answer, what it does not tell is no news
            {"source_matchers": ["alertname=TargetDown"], "target_matchers": ["severity=warning"], "equal": ["spark"]}
        ],
        "receivers": [ways],
    }
    return json.dumps(config, indent=1) + "\n"


def with_secrets(text: str, secrets: Mapping[str, str]) -> str:
    """The text with its secrets, as the task that writes it puts them in.

    >>> with_secrets('{"url": "@webhook_url@"}', {"webhook_url": 'http://a/"'})
    '{"url": "http://a/\\\\""}'
    """
    for name, secret in secrets.items():
        text = text.replace(PLACEHOLDER.format(name=name), json.dumps(secret))
    return text


_CLOSED = "NoNewPrivileges=yes\nPrivateTmp=yes\nProtectHome=yes\nProtectSystem=strict\n"
#: downloads write how far they are in the homes of users
_HOMES = "NoNewPrivileges=yes\nPrivateTmp=yes\nProtectHome=read-only\nProtectSystem=strict\n"
#: what else the node exporter would tell of its own view of the disks
_OPEN = "NoNewPrivileges=yes\nPrivateTmp=yes\nProtectHome=read-only\n"
_SEES = {NODE_EXPORTER.name: _OPEN, METRICS.name: _HOMES}
_COMMANDS = {
    METRICS.name: "/usr/bin/python3 -E -s -B -m dgx_spark_metrics $ARGS",
    NODE_EXPORTER.name: "/usr/bin/prometheus-node-exporter $ARGS",
    ALERTMANAGER.name: "/usr/bin/prometheus-alertmanager --config.file=${CREDENTIALS_DIRECTORY}/alertmanager.yml $ARGS",
    PROMETHEUS.name: "/usr/bin/prometheus $ARGS",
}
_MORE = {
    # It reads the supervisors' notes, Docker, the kernel's log and HAProxy's socket.
    METRICS.name: f"""WorkingDirectory={PROGRAM}
EnvironmentFile={METRICS.environment}
Environment=LC_ALL=C
RuntimeDirectory={FIGURES.rpartition("/")[2]}
RuntimeDirectoryMode=0755
Nice=10
MemoryMax=256M
""",
    NODE_EXPORTER.name: f"User={USER}\nEnvironmentFile={NODE_EXPORTER.environment}\nNice=10\n",
    ALERTMANAGER.name: f"""User={USER}
EnvironmentFile={ALERTMANAGER.environment}
LoadCredential=alertmanager.yml:{ALERTMANAGER_CONFIG}
StateDirectory={ALERTMANAGER.data.rpartition("/")[2]}
StateDirectoryMode=0700
""",
    PROMETHEUS.name: f"""User={USER}
EnvironmentFile={PROMETHEUS.environment}
StateDirectory={PROMETHEUS.data.rpartition("/")[2]}
StateDirectoryMode=0700
LimitNOFILE=65536
TimeoutStopSec=60
""",
}
_TITLES = {
    METRICS.name: "Figures of the DGX Spark for its monitoring",
    NODE_EXPORTER.name: "Node exporter of the DGX Spark",
    ALERTMANAGER.name: "Alertmanager of the DGX Sparks",
    PROMETHEUS.name: "Prometheus of the DGX Sparks",
}


def unit(part: Part) -> str:
    """The unit of systemd of a part. It says nothing of the configuration, and so stays the same: to read a changed
    one, systemd would have to read its units again, which takes the GPUs from running containers."""
    return f"""{MANAGED}[Unit]
Description={_TITLES[part.name]}
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0
# Only while it is enabled: from the last boot on, systemd knows a unit whose file undo has removed.
ConditionPathExists={part.unit_link}

[Service]
ExecStart={_COMMANDS[part.name]}
Restart=always
RestartSec=5
{_MORE[part.name]}{_SEES.get(part.name, _CLOSED)}
[Install]
WantedBy=multi-user.target
"""
