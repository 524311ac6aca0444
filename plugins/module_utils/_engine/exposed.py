# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What answers on which networks while a model is served, where no ufw stands before it. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any, Mapping, Sequence

#: netdevs of containers, and loopback: nobody comes in by them from outside
_INSIDE = re.compile(r"lo|docker.*|br-.*|veth.*")


def addresses(ip_json: str) -> list[str]:
    """Return a host's global addresses with their netdevs.

    :param ip_json: what ``ip -j address`` prints.

    >>> addresses('[{"ifname": "wlP9s9", "addr_info": [{"local": "10.0.0.7", "prefixlen": 24, "scope": "global"}]}]')
    ['10.0.0.7/24 on wlP9s9']
    """
    try:
        entries = json.loads(ip_json or "[]")
    except (ValueError, RecursionError):
        entries = []
    return [
        f"{info['local']}/{info['prefixlen']} on {entry['ifname']}"
        for entry in _mappings(entries)
        if isinstance(entry.get("ifname"), str) and not _INSIDE.fullmatch(entry["ifname"])
        for info in _mappings(entry.get("addr_info"))
        if info.get("scope") == "global" and {"local", "prefixlen"} <= set(info)
    ]


def _mappings(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def sentences(
    cluster: Mapping[str, Any], launcher: str, found: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Return by member what answers there without a firewall, and how to close it; nothing where ufw is enabled.

    :param cluster: the configuration of all nodes. :param found: by member, as engine_host_info returns it.
    """
    nodes = cluster["nodes"]
    return {
        node["name"]: _of_host(cluster, launcher, rank, found[node["name"]])
        for rank, node in enumerate(nodes)
        if not found[node["name"]].get("ufw_enabled", True)
    }


def _of_host(cluster: Mapping[str, Any], launcher: str, rank: int, found: Mapping[str, Any]) -> list[str]:
    node, several = cluster["nodes"][rank], len(cluster["nodes"]) > 1
    listen, port = cluster["api_listen"].rsplit(":", 1)
    api = ipaddress.ip_address(listen)
    everywhere, somewhere = ["ssh (22)"], []
    if several:
        everywhere.append("Open MPI's daemons (TCP ports that they choose)")
    if several and launcher == "swarm":
        everywhere.append("Docker Swarm (2377, 7946, 4789)")
    if rank == 0 and api.is_unspecified:
        everywhere.append(f"the API ({port}), without a key")
    elif rank == 0 and not api.is_loopback:
        somewhere.append(f"the API ({port}), without a key, on {api} alone")
    if rank:
        somewhere.append(f"the workers' sshd ({cluster['ssh_port']}) on {node['address']} alone")
    if not several and not somewhere and len(everywhere) == 1:
        return []  # a Spark with ssh, as it was before
    networks = ", ".join(found.get("addresses", [])) or "its networks"
    lines = [f"ufw is off on {node['name']}: while the model is served, {_listed(everywhere)} answer on {networks}"]
    lines += [f"{node['name']}: {_listed(somewhere)}"] if somewhere else []
    return [*lines, _mend(node["name"], found)]


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _mend(name: str, found: Mapping[str, Any]) -> str:
    install = "" if found["firewall"]["installed"] else "sudo apt-get install ufw; "
    return (
        "To close them to all but the other Sparks, ssh and the API's clients: run the playbook with spark_firewall: "
        f"ufw, which writes the rules, then on {name}: {install}sudo ufw allow OpenSSH && sudo ufw enable"
    )
