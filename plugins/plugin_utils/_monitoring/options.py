# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan what of the monitoring is optional: Grafana, DCGM's exporter, and the limit of the journal. Pure functions.

Sources: Grafana's configuration of its image (https://grafana.com/docs/grafana/latest/setup-grafana/configure-docker/),
dcgm-exporter's README, journald.conf(5).

This plugin util is private to the collection.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.containers import digest_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.layout import (
    CONFIG_LABEL,
    CONTAINERS,
    DATASOURCE,
    DCGM,
    DOCKER_PACKAGE,
    GRAFANA,
    GRAFANA_SECRETS,
    GRAFANA_USER,
    IMAGES,
    JOURNAL_UNIT,
    OWN_DIRECTORY,
    Container,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring.config import LOOPBACK, MANAGED, joined

# The names of the tasks that make the changes.
JOURNAL = "Limit the journal"
JOURNAL_FREE = "Remove the limit of the journal"
PULL = "Pull the images of the monitoring"
ADMIN = "Set the password of Grafana's admin"
START = "Start the monitoring's containers"
STOP = "Remove containers that the monitoring has no more"
CHANGES = (JOURNAL, JOURNAL_FREE, PULL, ADMIN, START, STOP)
#: characters of a password
SHORTEST, LONGEST = 8, 128
GB = 10**9
HOME = "dgx-spark-overview.json"
#: of what a GB10 tells DCGM: the rest stays 0, is not registered, or was never seen there
DCGM_FIELDS = {
    "DCGM_FI_DEV_GPU_UTIL": ("gauge", "The share of time in which the GPU computed, in percent."),
    "DCGM_FI_DEV_GPU_TEMP": ("gauge", "The GPU's temperature, in degrees Celsius."),
    "DCGM_FI_DEV_POWER_USAGE": ("gauge", "The power that the GPU draws, in watts."),
    "DCGM_FI_DEV_SM_CLOCK": ("gauge", "The clock of the GPU's processors, in MHz."),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": ("counter", "Energy since the driver was loaded, in millijoules."),
}
COUNTERS = "counters.csv"
NVIDIA = "nvidia"  # the runtime
TMP = f"{os.sep}tmp"


@dataclass(frozen=True)
class Options:
    """What was asked for beside the monitoring itself."""

    grafana: bool = False
    grafana_image: str = ""
    grafana_port: int = 3000
    grafana_password: str = ""  # empty: one is made on the leader
    dashboards: Mapping[str, str] = field(default_factory=dict)  # texts by their names
    dcgm: bool = False
    dcgm_image: str = ""
    dcgm_port: int = 9400
    journal_max_gb: int = 0  # 0: the journal is left alone

    def of(self, leader: bool) -> list[Container]:
        """The containers of a member."""
        asked = {GRAFANA: self.grafana and leader, DCGM: self.dcgm}
        return [one for one in CONTAINERS if asked[one]]

    def image(self, container: Container) -> str:
        """The image of a container."""
        return {GRAFANA: self.grafana_image, DCGM: self.dcgm_image}[container]

    def port(self, container: Container) -> int:
        """Where a container listens."""
        return {GRAFANA: self.grafana_port, DCGM: self.dcgm_port}[container]


@dataclass(frozen=True)
class Member:
    """What the options need to know of a member."""

    leader: bool
    listen: str  # the address on which DCGM's exporter listens
    prometheus: str  # the URL of Prometheus


def option_of(container: Container) -> str:
    """What the variables of a container begin with.

    >>> option_of(GRAFANA), option_of(DCGM)
    ('monitoring_grafana', 'monitoring_dcgm')
    """
    return {GRAFANA: "monitoring_grafana", DCGM: "monitoring_dcgm"}[container]


def problems(asked: Options, ports: Sequence[int]) -> list[str]:
    """What cannot be, by what was asked for alone. :param ports: those of the other parts."""
    found, taken = [], list(ports)
    for one in asked.of(True):
        image, port = asked.image(one), asked.port(one)
        if not re.fullmatch(r"[^\s@]+@sha256:[0-9a-f]{64}", image):
            found.append(f"{option_of(one)}_image is {image!r}: name the image by its digest, as name@sha256:...")
        if not 1 <= port <= 65535:
            found.append(f"{option_of(one)}_port is {port}: give one from 1 to 65535")
        elif port in taken:
            found.append(f"{option_of(one)}_port is {port}, which another part of the monitoring has: give another one")
        taken.append(port)
    word = asked.grafana_password
    if asked.grafana and word and (word == "admin" or not SHORTEST <= len(word) <= LONGEST or not word.isprintable()):
        found.append(
            f"monitoring_grafana_password is no password of {SHORTEST} to {LONGEST} printable characters: give another "
            "one, or none, for one that is made"
        )
    if asked.journal_max_gb < 0:
        found.append(f"monitoring_journal_max_gb is {asked.journal_max_gb}: give 1 or more, or 0 to leave it alone")
    return found


def problems_of(asked: Options, found: Mapping[str, Any], leader: bool) -> list[str]:
    """What a host does not allow."""
    docker, wanted = found["docker"], asked.of(leader)
    said = []
    if wanted and docker["problem"]:
        names = " and ".join(one.name for one in wanted)
        said.append(f"{names} cannot run in Docker: {docker['problem']}")
    elif DCGM in wanted and NVIDIA not in docker["runtimes"]:
        said.append(
            "Docker has no runtime nvidia, by which DCGM's exporter sees the GPU: run the playbook that serves, or the "
            "role container_toolkit, or leave monitoring_dcgm off"
        )
    for one in wanted:
        holders = docker["listen"].get(one.name, [])
        if holders:
            option = f"{option_of(one)}_port"
            said.append(
                f"port {asked.port(one)} is taken by {' and '.join(holders)}: end that, or give another {option}"
            )
    return said


def packages(asked: Options, leader: bool) -> list[str]:
    """What the containers need of the distribution."""
    return [DOCKER_PACKAGE] if asked.of(leader) else []


def files(asked: Options, member: Member) -> dict[str, str]:
    """What the containers of a member are told, by path; no secret is among it."""
    wanted, found = asked.of(member.leader), {}
    if GRAFANA in wanted:
        found[f"{GRAFANA.etc}/provisioning/datasources/dgx-spark.yml"] = datasource(member.prometheus)
        found[f"{GRAFANA.etc}/provisioning/dashboards/dgx-spark.yml"] = provider()
        found.update({f"{GRAFANA.etc}/dashboards/{name}": text for name, text in asked.dashboards.items()})
    if DCGM in wanted:
        found[f"{DCGM.etc}/{COUNTERS}"] = counters()
    return found


def directories(asked: Options, leader: bool) -> list[str]:
    """The directories of these files, a parent before what is in it."""
    wanted = asked.of(leader)
    below = ("", "/provisioning", "/provisioning/datasources", "/provisioning/dashboards", "/dashboards")
    return [
        *(f"{GRAFANA.etc}{one}" for one in below if GRAFANA in wanted),
        *([DCGM.etc] if DCGM in wanted else []),
    ]


def datasource(prometheus: str) -> str:
    """Where Grafana asks, as its provisioning takes it. JSON is YAML too."""
    one = {
        "name": "Prometheus of the DGX Sparks",
        "uid": DATASOURCE,
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus,
        "isDefault": True,
        "editable": False,
        "jsonData": {"httpMethod": "POST", "timeInterval": "5s"},
    }
    return MANAGED + json.dumps({"apiVersion": 1, "datasources": [one]}, indent=1) + "\n"


def provider() -> str:
    """Where Grafana finds the dashboards, as its provisioning takes it."""
    one = {
        "name": "DGX Spark",
        "folder": "DGX Spark",
        "type": "file",
        "disableDeletion": True,
        "allowUiUpdates": False,
        "options": {"path": f"{GRAFANA.etc}/dashboards"},
    }
    return MANAGED + json.dumps({"apiVersion": 1, "providers": [one]}, indent=1) + "\n"


def counters() -> str:
    """What DCGM's exporter asks DCGM for, as its CSV."""
    lines = [f"{name}, {kind}, {about}\n" for name, (kind, about) in DCGM_FIELDS.items()]
    return MANAGED + "".join(lines)


def containers(asked: Options, member: Member) -> list[dict[str, Any]]:
    """The containers of a member, as Ansible's module for Docker takes each; ``labels`` has what tells a change."""
    made = []
    for one in asked.of(member.leader):
        about = _grafana(asked) if one == GRAFANA else _dcgm(asked, member)
        spec = {
            "name": one.container,
            "image": asked.image(one),
            "security_opts": ["no-new-privileges"],
            "mounts": [{"source": one.etc, "target": one.etc, "type": "bind", "read_only": True}],
            "memory": "512M",
            "tmpfs": [],
            **about,
        }
        if one.data:
            spec["mounts"].append({"source": one.data, "target": "/var/lib/grafana", "type": "bind"})
        told = files(asked, member)
        read = {path: told[path] for path in told if path.startswith(f"{one.etc}/") and "/dashboards/" not in path}
        digest = hashlib.sha256(json.dumps([spec, read], sort_keys=True).encode()).hexdigest()
        made.append({**spec, "labels": {CONFIG_LABEL: digest[:16]}})
    return made


def _grafana(asked: Options) -> dict[str, Any]:
    """It asks nobody but Prometheus: no news, no updates, no pictures, no plugins are fetched."""
    return {
        "user": str(GRAFANA_USER),
        "read_only": True,
        "cap_drop": ["ALL"],
        "tmpfs": [TMP],
        "runtime": "runc",
        "env": {
            "GF_SERVER_HTTP_ADDR": LOOPBACK,
            "GF_SERVER_HTTP_PORT": str(asked.grafana_port),
            "GF_PATHS_PROVISIONING": f"{GRAFANA.etc}/provisioning",
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": f"{GRAFANA.etc}/dashboards/{HOME}",
            "GF_LOG_MODE": "console",
            "GF_SECURITY_ADMIN_PASSWORD__FILE": f"{GRAFANA_SECRETS}/admin_password",
            "GF_SECURITY_DISABLE_GRAVATAR": "true",
            "GF_USERS_ALLOW_SIGN_UP": "false",
            "GF_AUTH_ANONYMOUS_ENABLED": "false",
            "GF_ANALYTICS_ENABLED": "false",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_NEWS_NEWS_FEED_ENABLED": "false",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
            "GF_PLUGINS_PLUGIN_ADMIN_ENABLED": "false",
        },
    }


def _dcgm(asked: Options, member: Member) -> dict[str, Any]:
    """Without SYS_ADMIN, which only counters of profiling need; those are none that a GB10 tells."""
    return {
        "user": "root",
        "read_only": False,
        "cap_drop": [],
        "runtime": NVIDIA,
        "env": {
            "NVIDIA_VISIBLE_DEVICES": "all",
            "NVIDIA_DRIVER_CAPABILITIES": "utility,compute",
            "DCGM_EXPORTER_LISTEN": joined(member.listen, asked.dcgm_port),
            "DCGM_EXPORTER_COLLECTORS": f"{DCGM.etc}/{COUNTERS}",
            "DCGM_EXPORTER_INTERVAL": "5000",
            "DCGM_EXPORTER_KUBERNETES": "false",  # else each figure comes twice
        },
    }


def journal_text(most_gb: int, found: Mapping[str, Any]) -> str:
    """The limit of the journal. It says whether its directory came with it, so that undo can tell."""
    own = not found["directory"] or OWN_DIRECTORY in found["content"]
    return f"{MANAGED}{OWN_DIRECTORY if own else ''}[Journal]\nSystemMaxUse={most_gb * GB}\n"


def password_due(asked: Options, found: Mapping[str, Any], leader: bool) -> bool:
    """Whether Grafana's admin is to get a password, or another one."""
    if GRAFANA not in asked.of(leader):
        return False
    there = found["docker"]["password"]
    if not there["salt"] or there["pending"]:
        return True
    return bool(asked.grafana_password) and digest_of(asked.grafana_password, there["salt"]) != there["digest"]


def to_start(asked: Options, found: Mapping[str, Any], member: Member) -> list[dict[str, Any]]:
    """The containers that do not run, or were made from something else."""
    due = []
    for spec in containers(asked, member):
        there = found["docker"]["containers"].get(spec["name"], {})
        if not there.get("running") or there["config"] != spec["labels"][CONFIG_LABEL]:
            due.append(spec)
    return due


def to_stop(asked: Options, found: Mapping[str, Any], leader: bool) -> list[str]:
    """The containers that are there, and are to be no more."""
    wanted = [one.container for one in asked.of(leader)]
    return sorted(name for name in found["docker"]["containers"] if name not in wanted)


def changes(asked: Options, found: Mapping[str, Any], member: Member) -> Iterator[dict[str, Any]]:
    """The changes on a member, in the order of the apply."""
    limit = found["journal"]
    if asked.journal_max_gb:
        text = journal_text(asked.journal_max_gb, limit)
        started = found["units"].get(JOURNAL_UNIT, {}).get("started", 0.0)
        if limit["content"] != text or limit["mtime"] > started:
            yield change(JOURNAL, limit["content"], text, "the limit of the journal")
    elif limit["content"]:
        yield change(JOURNAL_FREE, limit["content"], "", "the limit of the journal")
    if found["docker"]["lacking"] and asked.of(member.leader):
        yield change(PULL, "", text_of(found["docker"]["lacking"]), "images")
    if password_due(asked, found, member.leader):
        yield change(ADMIN)
    due = [spec["name"] for spec in to_start(asked, found, member)]
    if due:
        yield change(START, "", text_of(due), "containers")
    gone = to_stop(asked, found, member.leader)
    if gone:
        yield change(STOP, text_of(gone), "", "containers")


def host(asked: Options, found: Mapping[str, Any], member: Member) -> dict[str, Any]:
    """What the tasks do on a member."""
    docker, limit = found["docker"], found["journal"]
    lacking = docker["lacking"] if asked.of(member.leader) else []
    return {
        "pull": lacking,
        "pulled": {
            "path": IMAGES,
            "content": json.dumps(sorted({*docker["pulled"], *lacking})) + "\n",
        },
        "containers": to_start(asked, found, member),
        "stop": to_stop(asked, found, member.leader),
        "grafana_data": docker["data"],
        "first_password": not docker["password"]["salt"],
        "journal": journal_text(asked.journal_max_gb, limit) if asked.journal_max_gb else "",
        "journal_directory": not limit["directory"],
        "journal_own_directory": OWN_DIRECTORY in limit["content"],
    }
