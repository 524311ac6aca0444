# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the monitoring: what is written, and what is started, on each member. Pure functions of what the hosts have.

This plugin util is private to the collection.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import ufw
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import no_source
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.layout import (
    ALERTMANAGER_CONFIG,
    COMMENT,
    ETC,
    LIB,
    PROGRAM,
    PROMETHEUS,
    RULES,
    SECRETS,
    Part,
    packages_of,
    parts_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring import config, options

# The names of the tasks that make the changes.
INSTALL = "Install the programs of the monitoring"
WRITE = "Write the monitoring's files"
WRITE_ALERTS = "Write Alertmanager's configuration"
REMOVE_FILES = "Remove files that the monitoring has no more"
WRITE_UNITS = "Write the monitoring's unit files"
ENABLE = "Enable the monitoring's units"
START = "Start the monitoring's units"
FIREWALL = "Configure the monitoring's firewall rules"
REMOVE = "Remove the monitoring"
CHANGES = (INSTALL, WRITE, WRITE_ALERTS, REMOVE_FILES, WRITE_UNITS, ENABLE, START, FIREWALL, *options.CHANGES, REMOVE)
GB = 10**9


class MonitoringError(ValueError):
    """The monitoring cannot be as it was asked for; the message names host, value, cause and mend."""


@dataclass(frozen=True)
class Request:
    """What was asked for, and what the hosts have."""

    members: Sequence[str]  # the leader first
    found: Mapping[str, Mapping[str, Any]]  # by member, as monitoring_info returns it
    reach: Mapping[str, str]  # by member, the name or address by which the inventory reaches it
    program: Mapping[str, str]  # texts of the collection's own program by their paths below PROGRAM
    rules: Mapping[str, str]  # texts of the rules by their names
    ports: config.Ports = field(default_factory=config.Ports)
    sources: Sequence[str] = ()  # addresses and networks, or any
    retention_gb: int = 10
    scrape_seconds: int = 5
    receivers: config.Receivers = field(default_factory=config.Receivers)
    secrets: Mapping[str, str] = field(default_factory=dict)
    firewall: str = "auto"
    meminfo: str = "/proc/meminfo"
    progress: Sequence[str] = ()
    optional: options.Options = field(default_factory=options.Options)


def refuse(asked: Request) -> None:
    """Refuse what cannot be, by what was asked for alone. :raises MonitoringError:"""
    problems = []
    for name, port in asked.ports.by_part.items():
        if not 1 <= port <= 65535:
            problems.append(f"the port of {name} is {port}: give one from 1 to 65535")
    if len(set(asked.ports.by_part.values())) < len(asked.ports.by_part):
        problems.append("two parts have the same port: give monitoring_prometheus_port and its like a number each")
    for name, value, least in (
        ("retention_gb", asked.retention_gb, 1),
        ("scrape_seconds", asked.scrape_seconds, 1),
    ):
        if value < least:
            problems.append(f"monitoring_{name} is {value}: give {least} or more")
    problems += [f"monitoring_sources has {one!r}: {_SOURCE}" for one in asked.sources if not is_source(one)]
    problems += [
        f"monitoring_progress_dirs has {one!r}: give the path of a directory, without blanks"
        for one in asked.progress
        if not re.fullmatch(r"/[^\s\"'\\$%]+", one)
    ]
    problems += options.problems(asked.optional, list(asked.ports.by_part.values()))
    email = asked.receivers.email
    lacking = [name for name in ("to", "from", "smarthost") if email and not email.get(name)]
    if lacking:
        problems.append(f"monitoring_alert_email has no {' and no '.join(lacking)}: give all of to, from and smarthost")
    if problems:
        raise MonitoringError(f"{asked.members[0]}: {'; '.join(problems)}. Nothing was changed.")


_SOURCE = "give addresses and networks such as 192.168.1.0/24, or any"


def is_source(text: str) -> bool:
    """Whether ufw takes it for addresses.

    >>> is_source("any"), is_source("192.168.1.0/24"), is_source("spark1"), is_source("10.0.0.1/8")
    (True, True, False, False)
    """
    try:
        return text == "any" or bool(ipaddress.ip_network(text))
    except ValueError:
        return False


def address_of(found: Mapping[str, Any], reach: str) -> str:
    """The management address of a host: that by which the inventory reaches it, or else that of its default route.

    Empty where it has none.
    """
    own = [one.partition("/")[0] for one in found["addresses"]]
    return reach if reach in own else str(found["management"] or "")


def settings_of(asked: Request) -> config.Settings:
    """The settings. :raises MonitoringError: where a member has no address that is needed."""
    members = [config.Member(name, address_of(asked.found[name], asked.reach.get(name, ""))) for name in asked.members]
    needed = members if asked.sources else members[1:]
    lost = [one.name for one in needed if not one.address]
    if lost:
        raise MonitoringError(
            f"{lost[0]} has no address on a management network: give it a default route, or set its ansible_host to "
            "one of its addresses. Nothing was changed."
        )
    return config.Settings(
        members=members,
        ports=asked.ports,
        open=bool(asked.sources),
        retention_gb=asked.retention_gb,
        scrape_seconds=asked.scrape_seconds,
        receivers=asked.receivers,
        meminfo=asked.meminfo,
        progress=asked.progress,
        dcgm=asked.optional.dcgm_port if asked.optional.dcgm else 0,
    )


def member_of(settings: config.Settings, member: config.Member) -> options.Member:
    """What the options need to know of a member."""
    return options.Member(member == settings.leader, config.dcgm_address(settings, member), prometheus_url(settings))


def prometheus_url(settings: config.Settings) -> str:
    """Where Prometheus is."""
    return f"http://{config.joined(settings.web_address, settings.ports.prometheus)}"


def refuse_found(asked: Request, settings: config.Settings) -> None:
    """Refuse what a host does not allow. :raises MonitoringError:"""
    problems = []
    for member in settings.members:
        found, leader = asked.found[member.name], member == settings.leader
        own = [no_source(found["unavailable"])] if found["unavailable"] else []
        for part in parts_of(leader):
            holders = found["listen"].get(part.name, [])
            if holders:
                option = f"monitoring_{part.name.replace('-', '_')}_port"
                port = settings.ports.by_part[part.name]
                own.append(f"port {port} is taken by {' and '.join(holders)}: end that, or give another {option}")
        new = found["units"].get(PROMETHEUS.unit, {}).get("active") != "active"
        if leader and new and found["free_bytes"] < (asked.retention_gb + 1) * GB:
            own.append(
                f"its disk has {found['free_bytes'] // GB} GB left, and Prometheus is to keep {asked.retention_gb} GB: "
                "give a smaller monitoring_retention_gb"
            )
        own += options.problems_of(asked.optional, found, leader)
        problems += [f"{member.name}: {one}" for one in own]
    if problems:
        raise MonitoringError(f"{'; '.join(problems)}. Nothing was changed.")


def files_of(asked: Request, settings: config.Settings, member: config.Member) -> dict[str, str]:
    """The files of a member that hold no secret, by their paths."""
    leader = member == settings.leader
    found = {f"{PROGRAM}/{path}": text for path, text in asked.program.items()}
    for part, arguments in config.arguments(settings, member).items():
        found[f"{ETC}/{part}.env"] = config.environment(arguments)
    if leader:
        found[f"{ETC}/prometheus.yml"] = config.prometheus(settings)
        found.update({f"{RULES}/{name}": text for name, text in asked.rules.items()})
    return {**found, **options.files(asked.optional, member_of(settings, member))}


def alerts_of(asked: Request) -> str:
    """The text of Alertmanager's configuration, with placeholders for its secrets."""
    return config.alertmanager(asked.receivers)


def changes(asked: Request, settings: config.Settings, member: config.Member) -> list[dict[str, Any]]:
    """The changes on a member, in the order of the apply."""
    return list(_changes(asked, settings, member))


def _changes(asked: Request, settings: config.Settings, member: config.Member) -> Iterator[dict[str, Any]]:
    found, leader = asked.found[member.name], member == settings.leader
    missing = missing_packages(asked, found, leader)
    if missing:
        yield change(INSTALL, "", text_of(missing), "packages")
    wanted = files_of(asked, settings, member)
    written = [path for path, text in wanted.items() if not is_file(found, path, text)]
    if written:
        before = "".join(str(found["files"].get(path, {}).get("content", "")) for path in written)
        yield change(WRITE, before, "".join(wanted[path] for path in written), ", ".join(written))
    if leader and not is_secret(found, config.with_secrets(alerts_of(asked), asked.secrets)):
        written.append(ALERTMANAGER_CONFIG)
        yield change(WRITE_ALERTS)
    surplus = surplus_files(found, [*wanted, ALERTMANAGER_CONFIG] if leader else list(wanted))
    if surplus:
        yield change(REMOVE_FILES, text_of(surplus), "", "files")
    parts = parts_of(leader)
    units = [part for part in parts if not is_file(found, part.unit_file, config.unit(part))]
    if units:
        before = "".join(str(found["files"].get(part.unit_file, {}).get("content", "")) for part in units)
        yield change(WRITE_UNITS, before, "".join(map(config.unit, units)), ", ".join(part.unit for part in units))
    disabled = [part.unit for part in parts if part.unit not in found["links"]]
    if disabled:
        yield change(ENABLE, "", text_of(disabled), "units")
    due = to_start(found, parts, [*written, *surplus])
    if due:
        yield change(START, "", text_of(due), "units")
    yield from _firewall(asked, settings, member)
    yield from options.changes(asked.optional, found, member_of(settings, member))


def missing_packages(asked: Request, found: Mapping[str, Any], leader: bool) -> list[str]:
    """The packages that are to be installed."""
    wanted = [*packages_of(leader), *options.packages(asked.optional, leader)]
    return [name for name in wanted if name not in found["packages"]]


def is_file(found: Mapping[str, Any], path: str, text: str) -> bool:
    """Whether a file is as it should be."""
    there = found["files"].get(path, {})
    return (there.get("content"), there.get("mode")) == (text, "0644")


def is_secret(found: Mapping[str, Any], text: str) -> bool:
    """Whether Alertmanager's configuration is as it should be, by its digest."""
    there = found["files"].get(ALERTMANAGER_CONFIG, {})
    return (there.get("digest"), there.get("mode")) == (hashlib.sha256(text.encode()).hexdigest(), "0600")


def surplus_files(found: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """Files in the monitoring's directories that an earlier version, or another configuration, has left."""
    return sorted(path for path in found["files"] if path.startswith((f"{ETC}/", f"{PROGRAM}/")) and path not in wanted)


def reads(part: Part, path: str) -> bool:
    """Whether a part reads a file when it starts."""
    return any(path == one or path.startswith(f"{one}/") for one in part.files)


def to_start(found: Mapping[str, Any], parts: Sequence[Part], touched: Sequence[str]) -> list[str]:
    """The units that do not run, or run with other files than there are, or will be, in the order of the start.

    :param touched: the files that are written or removed before.
    """
    due = []
    for part in parts:
        unit = found["units"].get(part.unit, {})
        newest = max((one["mtime"] for path, one in found["files"].items() if reads(part, path)), default=0.0)
        if unit.get("active") != "active" or unit["started"] < newest or any(reads(part, path) for path in touched):
            due.append(part.unit)
    return due


def firewall_rules(asked: Request, settings: config.Settings, member: config.Member) -> list[dict[str, Any]]:
    """The rules that let the leader, and the sources, ask a member, as the module ufw_rules takes them."""
    ports, leader = settings.ports, member == settings.leader
    rules = []
    asks = [*([] if "any" in asked.sources else [ports.node_exporter]), *([settings.dcgm] if settings.dcgm else [])]
    if not leader and asks:
        rules.append(_rule([settings.leader.address], asks))
    if asked.sources:
        own = [ports.prometheus, ports.alertmanager] if leader else []
        rules.append(_rule(list(asked.sources), [ports.node_exporter, *own]))
    return rules


def _rule(sources: list[str], ports: list[int]) -> dict[str, Any]:
    return {"rule": "allow", "from_ip": sources, "to_ip": ["any"], "to_port": ports, "proto": "tcp"}


def _firewall(asked: Request, settings: config.Settings, member: config.Member) -> Iterator[dict[str, Any]]:
    state = asked.found[member.name]["firewall"]
    wanted = [text for rule in firewall_rules(asked, settings, member) for text in ufw.spread(rule)]
    if asked.firewall == "none" or (asked.firewall == "auto" and not state["enabled"]):
        return
    if not state["installed"]:
        if wanted:
            raise MonitoringError(
                f"{member.name} has no ufw, and monitoring_firewall says ufw: install it, or say auto. Nothing was "
                "changed."
            )
        return
    there = [ufw.Line(one["rule"], one["comment"]) for one in state["rules"]]
    todo = ufw.steps(there, wanted, COMMENT)
    if any(todo):
        yield change(FIREWALL, *ufw.difference(there, todo, COMMENT))


def exposed(asked: Request, settings: config.Settings) -> list[str]:
    """Who reaches what, where no ufw stands before it."""
    said = []
    for member in settings.members:
        beyond = settings.open or member != settings.leader
        if beyond and not asked.found[member.name]["ufw_enabled"]:
            what = "Prometheus, Alertmanager and its figures" if member == settings.leader else "its figures"
            said.append(f"ufw is off on {member.name}: whoever reaches {member.address} may read {what}, without a key")
    return said


def plan(asked: Request) -> dict[str, Any]:
    """The plan of all members. :raises MonitoringError: and what else cannot be."""
    refuse(asked)
    settings = settings_of(asked)
    refuse_found(asked, settings)
    hosts = {}
    for member in settings.members:
        leader, found = member == settings.leader, asked.found[member.name]
        wanted = files_of(asked, settings, member)
        surplus = surplus_files(found, [*wanted, ALERTMANAGER_CONFIG] if leader else list(wanted))
        own = changes(asked, settings, member)
        hosts[member.name] = {
            "address": member.address,
            "packages": missing_packages(asked, found, leader),
            "directories": [
                *({"path": path, "mode": "0755"} for path in (ETC.rpartition("/")[0], ETC)),
                *({"path": path, "mode": "0755"} for path in (LIB.rpartition("/")[0], LIB)),
                *([{"path": RULES, "mode": "0755"}, {"path": SECRETS, "mode": "0700"}] if leader else []),
                *({"path": path, "mode": "0755"} for path in options.directories(asked.optional, leader)),
            ],
            "program": [{"path": path, "content": text} for path, text in asked.program.items()],
            "files": [
                {"path": path, "content": text} for path, text in wanted.items() if not path.startswith(f"{PROGRAM}/")
            ],
            "surplus": surplus,
            "units": [{"path": part.unit_file, "content": config.unit(part)} for part in parts_of(leader)],
            "enable": [part.unit for part in parts_of(leader) if part.unit not in found["links"]],
            "start": next((one["diff"]["after"].split() for one in own if one["name"] == START), []),
            "firewall_rules": firewall_rules(asked, settings, member),
            "options": options.host(asked.optional, found, member_of(settings, member)),
            "changes": own,
        }
    return {
        "changes": {name: about.pop("changes") for name, about in hosts.items()},
        "hosts": hosts,
        "alertmanager": alerts_of(asked),
        "receivers": asked.receivers.names,
        "prometheus": prometheus_url(settings),
        "grafana": f"http://{config.joined(config.LOOPBACK, asked.optional.grafana_port)}"
        if asked.optional.grafana
        else "",
        "dcgm": asked.optional.dcgm,
        "alerts": f"http://{config.joined(config.LOOPBACK, settings.ports.alertmanager)}",
        "exposed": exposed(asked, settings),
    }
