# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's networks, netplan file and pings: what is read, written and said."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan import (
    NetplanError,
    render,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ping import (
    explain,
    has_roce_v2,
    link_problems,
    neighbor_mac,
    parse_rtt,
    ping_command,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.routes import (
    RoutesError,
    management_address,
    own_addresses,
    permanent_macs,
    used_networks,
)

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


def test_addresses_that_cards_came_with() -> None:
    shown = [{"ifname": "bond0", "address": "3c:6d:66:00:00:10"}, {}]
    shown.append({"ifname": "enP2p1s0f0np0", "address": "3c:6d:66:00:00:10", "permaddr": "3c:6d:66:00:00:20"})
    assert permanent_macs(json.dumps(shown)) == {"enP2p1s0f0np0": "3c:6d:66:00:00:20"}
    assert permanent_macs("") == {}


def test_garbage_is_refused() -> None:
    with pytest.raises(RoutesError, match="not JSON"):
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


CABLED = {"addresses": ["192.168.100.10/24"], "mtu": 9000}


def test_the_netplan_file() -> None:
    text = render({"enp1s0f1np1": {"addresses": [], "mtu": None}, "enp1s0f0np0": CABLED})
    assert text == render({"enp1s0f0np0": CABLED, "enp1s0f1np1": {}})
    assert yaml.safe_load(text) == {
        "network": {
            "version": 2,
            "ethernets": {
                "enp1s0f0np0": {**QUIET, "mtu": 9000, "addresses": ["192.168.100.10/24"]},
                "enp1s0f1np1": QUIET,
            },
        }
    }


def test_the_netplan_file_leaves_to_others_what_is_theirs() -> None:
    def one(**wanted: object) -> dict:
        return yaml.safe_load(render({"enp1s0f0np0": wanted}))["network"]["ethernets"]["enp1s0f0np0"]

    assert one(**{**CABLED, "mtu": None}, adopted=True) == QUIET
    assert one(dynamic="dhcp", addresses=[]) == {**QUIET, "dhcp4": True}
    assert one(dynamic="link_local", addresses=[]) == {**QUIET, "link-local": ["ipv4"]}
    disabled = {"passthrough": {"ipv4.method": "disabled"}}
    assert one(quiet=True) == {**QUIET, "renderer": "NetworkManager", "networkmanager": disabled}


@pytest.mark.parametrize(
    ("netdevs", "message"),
    [
        ({}, "no netdevs"),
        ({"a: b": {}}, "'a: b' is no name"),
        ({"a": {"addresses": ["192.168.100.10"]}}, "not like"),
    ],
)
def test_the_netplan_file_refuses(netdevs: dict, message: str) -> None:
    with pytest.raises(NetplanError, match=message):
        render(netdevs)


def test_ping_leaves_by_the_planned_half() -> None:
    command = " ".join(ping_command("/bin/ping", LINK, 8972))
    assert "-M do -s 8972 -I enp1s0f0np0 -I 192.168.100.10 192.168.100.11" in command


def test_round_trip_times() -> None:
    said = "3 packets transmitted, 3 received\nrtt min/avg/max/mdev = 0.045/0.050/0.058/0.005 ms\n"
    assert parse_rtt(said) == {"min_ms": 0.045, "avg_ms": 0.05, "max_ms": 0.058}
    assert parse_rtt("3 packets transmitted, 0 received, 100% packet loss") is None
    assert parse_rtt("rtt min/avg/max/mdev = 0.1/0.2/0.0.0 ms") is None


@pytest.mark.parametrize(
    ("output", "carrier", "small_passes", "mend"),
    [
        ("ping: local error: message too long, mtu=1500", True, True, "the MTU is 1500: find what else sets it"),
        ("ping: sendmsg: Message too long", True, True, "the MTU is smaller"),
        ("From 192.168.100.10 icmp_seq=1 Frag needed and DF set (mtu = 1500)", True, True, "the MTU is 1500"),
        ("ping: SO_BINDTODEVICE enp1s0f0np0: No such device", False, False, "no netdev enp1s0f0np0 any more"),
        ("ping: bind: Cannot assign requested address", True, False, "for what took it away, and run again"),
        ("100% packet loss", False, False, "reseat the QSFP cable in cage 0 of spark1 and in cage 1 of spark2"),
        ("100% packet loss", True, True, "smaller MTU"),
        ("Destination Host Unreachable", True, False, "no firewall drops it"),
    ],
)
def test_silence_is_explained(output: str, carrier: bool, small_passes: bool, mend: str) -> None:
    said = explain("spark1", LINK, 9000, output, carrier, small_passes)
    assert said.startswith("spark1 enp1s0f0np0 (cage 0, half A) to spark2 (192.168.100.11, cage 1): ")
    assert mend in said


def test_a_netdev_whose_own_mtu_is_too_small_is_named_whatever_ping_says() -> None:
    said = explain("spark1", LINK, 9000, "100% packet loss", True, True, own_mtu=1500)
    assert "packets of 9000 bytes do not leave, the MTU is 1500" in said
    assert "smaller MTU" in explain("spark1", LINK, 9000, "100% packet loss", True, True, own_mtu=9000)


MAC = "3c:6d:66:00:00:02"
GIDS = [
    ("fe80:0000:0000:0000:3e6d:66ff:fe00:0001", "RoCE v2"),
    ("0000:0000:0000:0000:0000:ffff:c0a8:640a", "IB/RoCE v1"),
    ("0000:0000:0000:0000:0000:ffff:c0a8:640a", "RoCE v2"),
]
FULL = {**LINK, "peer_mac": MAC, "rdma_device": "rocep1s0f0"}


def test_a_link_that_is_as_planned_leaves_no_doubt() -> None:
    assert link_problems("spark1", FULL, MAC, 200000, 200000, GIDS) == []
    assert link_problems("spark1", FULL, MAC, 100000, 0, None, unusable="a reason") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mac": "3c:6d:66:00:00:03"}, ["3c:6d:66:00:00:03 answers for 192.168.100.11", "arp_ignore is 1"]),
        ({"mac": None}, ["no MAC address answers"]),
        ({"speed": 100000}, ["100000 Mb/s, and 200000 are wanted", "cx7_network_speed_mbps"]),
        ({"speed": None}, ["no known Mb/s"]),
        ({"gids": GIDS[:2]}, ["GID table of rocep1s0f0 has no RoCE v2 entry for 192.168.100.10"]),
        ({"unusable": "/dev/infiniband/uverbs0 is not there"}, ["uverbs0 is not", "NET/Socket", "modprobe"]),
    ],
)
def test_doubts_name_the_mend(change: dict, words: list[str]) -> None:
    (doubt,) = link_problems(
        **{"host": "spark1", "link": FULL, "mac": MAC, "speed": 200000, "wanted_speed": 200000, "gids": GIDS, **change}
    )
    assert doubt.startswith("spark1 enp1s0f0np0 (cage 0, half A) to spark2")
    assert [word for word in words if word not in doubt] == []


def test_gids_and_neighbours_are_read() -> None:
    assert has_roce_v2(GIDS, "192.168.100.10/24")
    assert not has_roce_v2(GIDS, "192.168.100.11/24")
    assert neighbor_mac('[{"dst": "192.168.100.11", "lladdr": "3C:6D:66:00:00:02", "state": ["REACHABLE"]}]') == MAC
    assert neighbor_mac('[{"dst": "192.168.100.11", "state": ["FAILED"]}]') is None
    assert neighbor_mac("") is None
