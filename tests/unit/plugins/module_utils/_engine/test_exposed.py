# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where ufw is off, it is told what answers on which networks, and how to close it."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import exposed

OPEN = {
    "ufw_enabled": False,
    "firewall": {"installed": True, "enabled": False, "rules": []},
    "addresses": ["192.168.1.20/24 on wlP9s9"],
}


def cluster(*names: str, listen: str = "127.0.0.1") -> dict[str, Any]:
    nodes = [{"name": name, "address": f"10.0.0.{number}"} for number, name in enumerate(names, 1)]
    return {"nodes": nodes, "api_listen": f"{listen}:8355", "ssh_port": 2233}


def test_a_pair_without_ufw() -> None:
    said = exposed.sentences(cluster("spark1", "spark2", listen="0.0.0.0"), "swarm", {"spark1": OPEN, "spark2": OPEN})
    first = " ".join(said["spark1"])
    assert "ufw is off on spark1" in first
    assert "ssh (22), Open MPI's daemons (TCP ports that they choose), Docker Swarm (2377, 7946, 4789) and" in first
    assert "and the API (8355), without a key answer on 192.168.1.20/24 on wlP9s9" in first
    assert "spark_firewall: ufw" in first
    assert "sudo ufw allow OpenSSH && sudo ufw enable" in first
    second = " ".join(said["spark2"])
    assert "the workers' sshd (2233) on 10.0.0.2 alone" in second
    assert "the API" not in said["spark2"][0]


def test_by_systemd_there_are_no_ports_of_a_swarm_and_an_api_on_one_address_is_told_of_it() -> None:
    said = exposed.sentences(
        cluster("spark1", "spark2", listen="10.1.1.1"), "docker", dict.fromkeys(("spark1", "spark2"), OPEN)
    )
    assert "2377" not in str(said)
    assert "the API (8355), without a key, on 10.1.1.1 alone" in " ".join(said["spark1"])


def test_nothing_is_said_where_ufw_is_enabled_or_nothing_new_answers() -> None:
    closed = {**OPEN, "ufw_enabled": True}
    assert exposed.sentences(cluster("spark1", "spark2"), "swarm", {"spark1": closed, "spark2": OPEN}).keys() == {
        "spark2"
    }
    assert exposed.sentences(cluster("spark1"), "docker", {"spark1": OPEN}) == {"spark1": []}


def test_where_there_is_no_ufw_its_installation_is_part_of_the_mend() -> None:
    found = {**OPEN, "firewall": {"installed": False, "enabled": False, "rules": []}}
    said = exposed.sentences(cluster("spark1", listen="0.0.0.0"), "docker", {"spark1": found})["spark1"]
    assert "sudo apt-get install ufw; sudo ufw allow OpenSSH" in said[-1]


def test_addresses_that_come_from_outside() -> None:
    entries: list[dict[str, Any]] = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
        {"ifname": "docker0", "addr_info": [{"local": "172.17.0.1", "prefixlen": 16, "scope": "global"}]},
        {
            "ifname": "enP7s7",
            "addr_info": [
                {"local": "192.168.1.20", "prefixlen": 24, "scope": "global"},
                {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
            ],
        },
        {},
    ]
    assert exposed.addresses(json.dumps(entries)) == ["192.168.1.20/24 on enP7s7"]
    assert exposed.addresses("") == []
