# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's networks, netplan file and pings: what is read, written and said."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric_netplan import NetplanError, render
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric_networks import (
    NetworksError,
    management_address,
    own_addresses,
    used_networks,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric_ping import explain, parse_rtt, ping_command

# ip -j -4 addr, and ip -j -4 route show table all, shortened, of a virtual Spark with a VPN (the last three routes).
ADDR = json.dumps(
    [
        {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
        {},
        {
            "ifname": "docker0",
            "addr_info": [{"family": "inet", "local": "172.17.0.1", "prefixlen": 16, "scope": "global"}],
        },
        {
            "ifname": "enP7s7",
            "addr_info": [{"family": "inet", "local": "10.203.44.11", "prefixlen": 24, "scope": "global"}],
        },
    ]
)
ROUTE = json.dumps(
    [
        {"dst": "default", "gateway": "10.9.9.1", "dev": "wlP9s9", "metric": 600},
        {"dst": "default", "gateway": "10.203.44.1", "dev": "enP7s7", "metric": 101},
        {"dst": "10.203.44.0/24", "dev": "enP7s7", "prefsrc": "10.203.44.11"},
        {"type": "local", "dst": "10.203.44.11", "dev": "enP7s7", "table": "local"},
        {"type": "broadcast", "dst": "10.203.44.255", "dev": "enP7s7", "table": "local"},
        {"dst": "0.0.0.0/1", "dev": "tun0"},
        {"dst": "100.64.0.7", "dev": "tailscale0", "table": "52"},
        {"type": "blackhole", "dst": "192.168.100.0/24"},
    ]
)


def test_networks_in_use() -> None:
    assert used_networks(ADDR, ROUTE) == [
        {"network": "10.203.44.0/24", "netdev": "enP7s7"},
        {"network": "100.64.0.7/32", "netdev": "tailscale0"},
        {"network": "172.17.0.0/16", "netdev": "docker0"},
        {"network": "192.168.100.0/24", "netdev": None},
    ]


def test_addresses() -> None:
    assert own_addresses(ADDR) == ["172.17.0.1", "10.203.44.11"]
    assert management_address(ADDR, ROUTE) == "10.203.44.11"
    assert management_address(ADDR, '[{"dst": "default", "dev": "eth0", "prefsrc": "10.0.0.9"}]') == "10.0.0.9"
    assert management_address("", "") is None
    assert management_address(ADDR, '[{"dst": "default", "dev": "gone"}]') is None


def test_garbage_is_refused() -> None:
    with pytest.raises(NetworksError, match="not JSON"):
        used_networks("Object", "[]")


LINK = {
    "netdev": "enp1s0f0np0",
    "physical_port": 0,
    "half": "A",
    "address": "192.168.100.10/24",
    "peer": "spark2",
    "peer_address": "192.168.100.11",
    "peer_physical_port": 1,
}
QUIET = {"dhcp4": False, "dhcp6": False, "link-local": [], "optional": True}


def test_the_netplan_file() -> None:
    text = render(["enp1s0f1np1", "enp1s0f0np0"], [LINK, {**LINK, "peer": "spark3"}], 9000)
    assert text == render(["enp1s0f0np0", "enp1s0f1np1"], [LINK], 9000)
    assert yaml.safe_load(text) == {
        "network": {
            "version": 2,
            "ethernets": {
                "enp1s0f0np0": {**QUIET, "mtu": 9000, "addresses": ["192.168.100.10/24"]},
                "enp1s0f1np1": QUIET,
            },
        }
    }


def test_the_netplan_file_on_the_way_out() -> None:
    ethernets = yaml.safe_load(render(["enp1s0f0np0"], [], 9000, other_mtu=1500))["network"]["ethernets"]
    assert ethernets == {"enp1s0f0np0": {**QUIET, "mtu": 1500}}


@pytest.mark.parametrize(
    ("netdevs", "links", "message"),
    [
        ([], [], "no netdevs"),
        (["a: b"], [], "'a: b' is no name"),
        ([], [{**LINK, "address": "192.168.100.10"}], "not like"),
    ],
)
def test_the_netplan_file_refuses(netdevs: list, links: list, message: str) -> None:
    with pytest.raises(NetplanError, match=message):
        render(netdevs, links, 9000)


def test_ping_leaves_by_the_planned_half() -> None:
    command = " ".join(ping_command("/bin/ping", LINK, 8972))
    assert "-M do -s 8972 -I enp1s0f0np0 -I 192.168.100.10 192.168.100.11" in command


def test_round_trip_times() -> None:
    said = "3 packets transmitted, 3 received\nrtt min/avg/max/mdev = 0.045/0.050/0.058/0.005 ms\n"
    assert parse_rtt(said) == {"min_ms": 0.045, "avg_ms": 0.05, "max_ms": 0.058}
    assert parse_rtt("3 packets transmitted, 0 received, 100% packet loss") is None


@pytest.mark.parametrize(
    ("output", "carrier", "small_passes", "mend"),
    [
        ("ping: local error: message too long, mtu=1500", True, True, "the MTU is 1500: look who else sets it"),
        ("ping: sendmsg: Message too long", True, True, "the MTU is smaller"),
        ("From 192.168.100.10 icmp_seq=1 Frag needed and DF set (mtu = 1500)", True, True, "the MTU is 1500"),
        ("ping: SO_BINDTODEVICE enp1s0f0np0: No such device", False, False, "no netdev enp1s0f0np0 any more"),
        ("ping: bind: Cannot assign requested address", True, False, "netplan apply"),
        ("100% packet loss", False, False, "reseat the QSFP cable in cage 0 of spark1 and in cage 1 of spark2"),
        ("100% packet loss", True, True, "smaller MTU"),
        ("Destination Host Unreachable", True, False, "cx7_network_cables"),
    ],
)
def test_silence_is_explained(output: str, carrier: bool, small_passes: bool, mend: str) -> None:
    said = explain("spark1", LINK, 9000, output, carrier, small_passes)
    assert said.startswith("spark1 enp1s0f0np0 (cage 0, half A) to spark2 (192.168.100.11, cage 1): ")
    assert mend in said
