# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a fabric of DGX Sparks and the changes that it needs; the module of this name documents it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan import NetplanError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._fabric.cabling import FabricError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._fabric.changes import (
    CHANGES,
    Settings,
    add_contents,
    hotplug_is_on,
    plan_changes,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._fabric.plan import (
    ADDRESSINGS,
    POOL,
    TOPOLOGIES,
    describe,
    plan_fabric,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

__all__ = ["CHANGES", "ActionModule"]


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "names": {"type": "list", "elements": "str", "required": True},
        "members": {"type": "list", "elements": "dict", "required": True},
        "topology": {"type": "str", "choices": list(TOPOLOGIES), "default": "auto"},
        "cables": {"type": "list", "elements": "list", "default": []},
        "pool": {"type": "list", "elements": "str", "default": list(POOL)},
        "mtu": {"type": "int", "default": 0},
        "addressing": {"type": "str", "choices": list(ADDRESSINGS), "default": "static"},
        "addresses": {"type": "dict", "default": {}},
        "netplan": {"type": "path", "default": "/etc/netplan/40-cx7.yaml"},
        "sysctl": {"type": "path", "default": "/etc/sysctl.d/90-dgx-spark-fabric.conf"},
        "program": {"type": "str", "required": True},
        "firewall": {"type": "str", "choices": ["auto", "ufw", "none"], "default": "auto"},
        "bandwidth_tool": {"type": "str", "choices": ["auto", "ib_write_bw", "iperf3"], "default": "auto"},
        "min_gbps": {"type": "dict", "default": {}},
        "changing": {"type": "bool", "default": False},
        "hotplug": {"type": "str", "choices": ["leave", "off"], "default": "leave"},
        "allow_restart": {"type": "bool", "default": False},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan, which is the same for each host."""
        try:
            return make_plan({**asked, "local": _local(asked["names"], task_vars.get("hostvars") or {})})
        except (FabricError, NetplanError) as error:
            unchanged = "" if asked["changing"] else " Nothing was changed."
            raise PlanError(f"No fabric can be planned: {error}.{unchanged}") from error


def _local(names: list[str], hostvars: Mapping[str, Any]) -> list[str]:
    """Return the members that Ansible itself runs on."""
    return [name for name in names if name in hostvars and hostvars[name].get("ansible_connection") == "local"]


def _bandwidth_tool(fabric: dict[str, Any]) -> str:
    """Return the tool that measures RDMA where every planned link has an RDMA device."""
    rdma = all(link["rdma_device"] for host in fabric["hosts"].values() for link in host["links"])
    return "ib_write_bw" if rdma else "iperf3"


def _cards(fabric: Mapping[str, Any], members: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what tells a card that was switched on from the same card later: the boot, and its netdevs' indexes.

    A card that is hot-added to a running Spark is slow, and has other indexes.
    """
    planned = {name: sorted({link["netdev"] for link in host["links"]}) for name, host in dict(fabric["hosts"]).items()}
    return {
        member["name"]: [
            member.get("boot_id"),
            [(member.get("ifindex") or {}).get(netdev) for netdev in planned.get(member["name"], [])],
        ]
        for member in members
    }


def make_plan(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what the module documents, from its options.

    :raises FabricError: where no fabric can be planned.
    """
    names, members = asked["names"], asked["members"]
    options = {name: asked[name] for name in ("topology", "cables", "pool", "mtu", "addressing", "addresses")}
    fabric = plan_fabric(names, members, **options)
    tool = asked["bandwidth_tool"] if asked["bandwidth_tool"] != "auto" else _bandwidth_tool(fabric)
    settings = Settings(
        asked["netplan"],
        asked["sysctl"],
        asked["program"],
        asked["firewall"],
        tool,
        asked["min_gbps"],
        asked["changing"],
        asked["hotplug"],
        asked["allow_restart"],
        asked["local"],
    )
    lasting = {name: part for name, part in fabric.items() if name != "admin_down"}
    key = hashlib.sha256(json.dumps([lasting, _cards(fabric, members)], sort_keys=True).encode()).hexdigest()
    plan = add_contents(fabric, settings)
    changes, takes_part = plan_changes(plan, members, key, settings)
    hosts = {name: {**host, "changes_network": takes_part[name]} for name, host in plan["hosts"].items()}
    return {
        **plan,
        "hosts": hosts,
        "changes": changes,
        "key": key,
        "hotplug": [member["name"] for member in members if hotplug_is_on(member)],
        "table": describe(plan),
        "bandwidth_tool": tool,
    }
