# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compute what must change on each host, so that its fabric is as planned.

Pure functions on the controller. Each change has the name of the task of the role cx7_network that makes it.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Dict, ItemsView, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.bandwidth import bandwidth_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.hotplug import MARKER as HOTPLUG_MARKER
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.hotplug import is_on
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan import HEADER, render
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ufw import (
    Line,
    UfwError,
    difference,
    spread,
    steps,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._fabric.cabling import FabricError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._fabric.plan import find_drift

HOTPLUG = "Move the hot-plug marker of the ConnectX-7 away"
REBOOT = "Reboot all members at the same time"
PROGRAM = "Install the rollback program"
RAISE = "Raise the network devices that are administratively down"
SYSCTL = "Write the ARP settings"
NETPLAN = "Write the netplan file"
ACTIVATE = "Activate the network devices of the fabric"
HOSTS = "Write the fabric names to the hosts file"
FIREWALL = "Write the firewall rules of the fabric"
PACKAGE = "Install the bandwidth tool"
BANDWIDTH = "Measure the bandwidth"
CHANGES = (HOTPLUG, REBOOT, PROGRAM, RAISE, SYSCTL, NETPLAN, ACTIVATE, HOSTS, FIREWALL, PACKAGE, BANDWIDTH)

HOSTS_FILE = "/etc/hosts"
COMMENT = "DGX Spark fabric"  # of the firewall rules
MARKER = "# {mark} fabric of DGX Sparks (Ansible, sparkops.dgx_spark.cx7_network)"  # around the block in the hosts file

Change = Dict[str, Any]  # ``name``, and ``diff`` where a text changes
Plan = Mapping[str, Any]
HostPlan = Mapping[str, Any]
Found = Mapping[str, Any]  # what ``fabric_member_info`` returned of a host


class Changes(NamedTuple):
    """What must change."""

    changes: dict[str, list[Change]]  # by host, in the order in which they are made; an empty list for none
    takes_part: dict[str, bool]  # by host, whether its network is changed, or planned again while another host's is


class Settings(NamedTuple):
    """What the role is asked for, beside the plan of the fabric."""

    netplan: str  # path of the fabric's netplan file
    sysctl: str  # path of the file with the ARP settings
    program: str  # SHA-256 of the rollback program
    firewall: str  # auto, ufw or none
    tool: str  # that measures the bandwidth
    min_gbps: Mapping[str, float]  # by topology
    changing: bool = False  # whether this run is changing the network now, with its own rollback timer
    hotplug: str = "leave"  # leave, or off: no card leaves the PCI bus any more
    allow_restart: bool = False  # whether running containers may be ended by a reboot
    local: Sequence[str] = ()  # the members that Ansible itself runs on, which it cannot reboot


def add_contents(plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the plan with all that is written on each host: ``files`` by path, ``names`` and ``firewall``."""
    hosts = {}
    for name, host in plan["hosts"].items():
        contents: dict[str, Any] = {"files": {}, "names": [], "firewall": []}
        if plan["topology"] != "single":
            contents = {
                "files": {settings.netplan: render(host["netdevs"]), settings.sysctl: arp_settings(host)},
                "names": [f"{other['control_address']} {other['fabric_name']}" for other in plan["hosts"].values()],
                "firewall": firewall_rules(host, plan["addressing"]),
            }
        hosts[name] = {**host, **contents}
    return {**plan, "hosts": hosts}


def arp_settings(host: HostPlan) -> str:
    """Return the text of the sysctl file.

    One cable joins both halves of both ends to one Ethernet segment, and Linux answers ARP requests for any of its
    addresses on any netdev. With these settings each netdev answers for its own addresses only.
    """
    cabled = sorted(netdev for netdev, wanted in host["netdevs"].items() if wanted["cabled"])
    lines = [
        f"net.ipv4.conf.{netdev}.{setting}\n" for netdev in cabled for setting in ("arp_ignore = 1", "arp_announce = 2")
    ]
    return HEADER + "".join(lines)


def firewall_rules(host: HostPlan, addressing: str) -> list[dict[str, Any]]:
    """Return the rules for ``ufw_rules``: packets of a link's network are let in on that link, and on no other.

    Of 169.254.0.0/16, which other netdevs may use too, only the host's own addresses are closed to others.
    """
    links = host["links"]
    if not links:
        return []
    rules: list[dict[str, Any]] = [
        {"rule": "allow", "interface_in": netdev, "from_ip": [network], "to_ip": ["any"]}
        for netdev, network in {link["netdev"]: link["network"] for link in links}.items()
    ]
    own = [link["address"].split("/")[0] if addressing == "link_local" else link["network"] for link in links]
    closed = {"rule": "deny", "from_ip": ["any"], "to_ip": list(dict.fromkeys(own))}
    return [*rules, closed]


def set_block(text: str, lines: Sequence[str], marker: str = MARKER) -> str:
    """Return the text with the marked block replaced, or added at its end, as ``ansible.builtin.blockinfile`` does.

    >>> set_block("a\\n", ["b"], "# {mark}")
    'a\\n# BEGIN\\nb\\n# END\\n'
    """
    begin, end = (marker.format(mark=mark) for mark in ("BEGIN", "END"))
    there = text.splitlines(keepends=True)
    bare = [line[:-1] if line.endswith("\n") else "" for line in there]
    block = [f"{line}\n" for line in (begin, *lines, end)]
    if begin not in bare or end not in bare:
        return (text if not text or text.endswith("\n") else f"{text}\n") + "".join(block)
    first, last = sorted((bare.index(begin), bare.index(end)))
    return "".join([*there[:first], *block, *there[last + 1 :]])


def plan_changes(plan: Plan, members: Iterable[Found], key: str, settings: Settings) -> Changes:
    """Return the changes of each host.

    :param plan: of :func:`add_contents`. :param members: what was read of each host. :param key: what a measurement of
        the bandwidth must hold for.
    :raises FabricError: where the firewall has no room for the rules, or the host is about to be rolled back.
    """
    if plan["topology"] == "single":
        return Changes({name: [] for name in plan["hosts"]}, dict.fromkeys(plan["hosts"], False))
    found = {member["name"]: member for member in members}
    drift = find_drift(plan, found.values())
    if not settings.changing:
        _refuse_pending_rollback(found)
    network = {name: _network_changes(host, found[name], drift[name], plan, settings) for name, host in _hosts(plan)}
    # A raised link or an address that comes from elsewhere changes the plan of all, so that all take part.
    together = bool(plan["admin_down"]) or (plan["addressing"] != "static" and any(network.values()))
    takes_part = {name: bool(own) or together for name, own in network.items()}
    hotplug = plan_hotplug(found, settings)
    # The bandwidth is measured again after a reboot.
    due = plan["topology"] in settings.min_gbps
    measured = not due or (not any(hotplug.values()) and _measured(plan, found, key, settings))
    changes: dict[str, list[Change]] = {}
    for name, host in _hosts(plan):
        changes[name] = [*network[name], *_other_changes(name, host, found[name], plan, settings)]
        if takes_part[name] and found[name]["program"] != settings.program:
            changes[name].insert(0, change(PROGRAM))
        if not measured:
            changes[name] += [change(PACKAGE)] if settings.tool not in found[name]["tools"] else []
            changes[name].append(change(BANDWIDTH))
        changes[name] = [*hotplug[name], *changes[name]]
    return Changes(changes, takes_part)


def _hosts(plan: Plan) -> ItemsView[str, HostPlan]:
    return plan["hosts"].items()


def _refuse_pending_rollback(found: Mapping[str, Found]) -> None:
    pending = [name for name, member in found.items() if member.get("rollback_pending")]
    if pending:
        raise FabricError(
            f"{', '.join(pending)} will go back to the network before an earlier change, because that run was "
            "interrupted: run again once that is done ('systemctl list-timers dgx-spark-fabric-rollback.timer')"
        )


def plan_hotplug(found: Mapping[str, Found], settings: Settings) -> dict[str, list[Change]]:
    """Return, by host, the changes that switch hot-plug off: the marker goes, and all members are rebooted together.

    Together, because a card whose peer is rebooted while its driver is still on leaves the bus.

    :raises FabricError: where a reboot would end containers without consent, or cannot be made by Ansible.
    """
    due = [name for name, member in found.items() if settings.hotplug == "off" and hotplug_is_on(member)]
    if not due:
        return {name: [] for name in found}
    asked = f"cx7_network_hotplug: off reboots all members, because hot-plug is on at {', '.join(due)}"
    running = [
        f"{name} {', '.join(member['hotplug']['containers'])}"
        for name, member in found.items()
        if member["hotplug"].get("containers")
    ]
    if running and not settings.allow_restart:
        raise FabricError(
            f"{asked}, and that would end the running containers of {'; '.join(running)}: stop them, or allow it "
            "(cx7_network_allow_restart: true)"
        )
    if settings.local:
        raise FabricError(
            f"{asked}, and Ansible itself runs on {', '.join(settings.local)}: run the play from another machine, or "
            f"move {HOTPLUG_MARKER} away on every member and reboot all of them at the same time by hand"
        )
    before, later = text_of(["hot-plug on"]), text_of(["hot-plug off: the card draws its power without a cable, too"])
    return {
        name: [
            *([change(HOTPLUG, before, later, HOTPLUG_MARKER)] if member["hotplug"]["marker"] else []),
            change(REBOOT),
        ]
        for name, member in found.items()
    }


def hotplug_is_on(member: Found) -> bool:
    """Whether the driver is on, or will be. After a boot without the marker what it still says counts for nothing."""
    hotplug = member.get("hotplug") or {}
    booted_without = hotplug.get("noted_boot") not in (None, member.get("boot_id"))
    return is_on(hotplug) and (bool(hotplug.get("marker")) or not booted_without)


def _network_changes(
    host: HostPlan, member: Found, drift: Sequence[str], plan: Plan, settings: Settings
) -> list[Change]:
    """Return the changes that are made with a rollback timer running."""
    changes: list[Change] = []
    down = plan["admin_down"].get(member["name"], [])
    if down:
        before, later = (text_of(f"{netdev}: {state}" for netdev in down) for state in ("administratively down", "up"))
        changes.append(change(RAISE, before, later))
    for name, path, mode in ((SYSCTL, settings.sysctl, "0644"), (NETPLAN, settings.netplan, "0600")):
        if not _same_file(member["files"].get(path), host["files"][path], mode):
            changes.append(change(name, _content(member["files"].get(path)), host["files"][path], path))
    if changes or drift:
        changes.append(change(ACTIVATE, *_states(host, member)))
    return changes


def _other_changes(name: str, host: HostPlan, member: Found, plan: Plan, settings: Settings) -> list[Change]:
    changes: list[Change] = []
    hosts_file = member["files"].get(HOSTS_FILE)
    before = _content(hosts_file)
    names = set_block(before, host["names"])
    if names != before:
        changes.append(change(HOSTS, before, names, HOSTS_FILE))
    rules = _firewall_change(name, host, member["firewall"], plan, settings)
    return changes + ([rules] if rules else [])


def _firewall_change(
    name: str, host: HostPlan, state: Mapping[str, Any], plan: Plan, settings: Settings
) -> Change | None:
    """Return the change of the firewall's rules, None where there is none."""
    if not (settings.firewall == "ufw" or (settings.firewall == "auto" and state["enabled"])):
        return None
    if not state["installed"]:
        raise FabricError(f"{name} has no ufw, and cx7_network_firewall says {settings.firewall}: install ufw first")
    if plan["addressing"] != "static" and not host["links"]:
        return change(FIREWALL)  # the addresses, and so the rules, are known once the links have them
    there = [Line(*line) for line in state["rules"]]
    try:
        todo = steps(there, [text for rule in host["firewall"] for text in spread(rule)], COMMENT, first=True)
    except UfwError as error:
        problem = str(error).replace(" Nothing was changed.", "")  # said once, by who raises this
        raise FabricError(f"{name}: {problem}") from error
    if not any(todo):
        return None
    return change(FIREWALL, *difference(there, todo, COMMENT, first=True))


def _measured(plan: Plan, found: Mapping[str, Found], key: str, settings: Settings) -> bool:
    """Whether every host measured this plan with this tool since it was started, and all figures are enough."""
    wanted = float(settings.min_gbps[plan["topology"]])
    for name in plan["hosts"]:
        figures = found[name].get("bandwidth")
        if not figures or (figures["key"], figures["tool"]) != (key, settings.tool):
            return False
        if any(bandwidth_problem(name, one, wanted, settings.tool) for one in figures["measured"]):
            return False
    return True


def _same_file(state: Mapping[str, Any] | None, content: str, mode: str) -> bool:
    return state is not None and (state["content"], state["mode"], state["uid"]) == (content, mode, 0)


def _content(state: Mapping[str, Any] | None) -> str:
    return state["content"] if state else ""


def _states(host: HostPlan, member: Found) -> tuple[str, str]:
    """Return the state of the cabled netdevs now and as planned, one a line."""
    now = {link["netdev"]: link for link in member["links"]}
    before, later = [], []
    for netdev, wanted in host["netdevs"].items():
        if not wanted["cabled"]:
            continue
        link, arp = now[netdev], member["arp"].get(netdev, [0, 0])
        up = "up" if link["admin_up"] else "down"
        before.append(_netdev_line(netdev, up, link["mtu"], link["ipv4"], arp))
        addresses = (
            wanted["addresses"] or link["ipv4"] or ([f"an address by {wanted['dynamic']}"] * bool(wanted["dynamic"]))
        )
        later.append(_netdev_line(netdev, "up", wanted["mtu"] or link["mtu"], addresses, [1, 2]))
    return text_of(before), text_of(later)


def _netdev_line(netdev: str, up: str, mtu: int, addresses: Sequence[str], arp: Sequence[int]) -> str:
    return f"{netdev}: {up}, MTU {mtu}, {' '.join(addresses) or 'no address'}, ARP settings {arp[0]} {arp[1]}"
