# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines may be Sparks, from what avahi, ip, zeroconf and NVIDIA Sync say."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import search
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.search import (
    HERE,
    MDNS,
    NEIGHBOUR,
    SYNC,
    Candidate,
    Sighting,
    candidates,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures"
PACKAGE = "ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup"
NVIDIA, OTHER, CONTAINER = "48:b0:2d:00:00:01", "b8:27:eb:00:00:01", "02:42:0a:00:00:01"


@pytest.mark.parametrize("name", ["search", "answers", "inventory", "known_hosts", "ssh_config", "keys"])
def test_examples_in_docstrings_are_true(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"{PACKAGE}.{name}"))
    assert tried
    assert not failed


def test_reads_what_avahi_browse_prints_of_two_machines() -> None:
    """Captured from avahi 0.8, with a space and semicolons in a service's name and in a TXT record."""
    found = search.of_avahi((FIXTURES / "avahi_browse" / "two_sparks.txt").read_text())
    assert [(one.name, one.address, one.port, one.device) for one in found] == [
        ("spark-1b32", "172.18.0.3", 22, "eth0"),
        ("spark-1b31", "172.18.0.2", 22, "eth0"),
    ], "the loopback's answer says nothing of another machine"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("=;eth0;IPv4;a;_ssh._tcp;local;Spark-1.local;192.168.1.5;2222;", [("spark-1", "192.168.1.5", 2222)]),
        ("=;eth0;IPv6;a;_ssh._tcp;local;spark-1.local;fd00::5;22;", [("spark-1", "fd00::5", 22)]),
        (r"=;eth0;IPv4;a\059b;_ssh._tcp;local;a\.b.local;192.168.1.5;22;a;b", [("a", "192.168.1.5", 22)]),
        ("=;eth0;IPv6;a;_ssh._tcp;local;spark-1.local;fe80::5;22;", []),
        ("=;eth0;IPv6;a;_ssh._tcp;local;spark-1.local;fd00::5%eth0;22;", []),
        ("=;eth0;IPv4;a;_ssh._tcp;local;spark-1.local;169.254.3.4;22;", []),
        ("=;eth0;IPv4;a;_ssh._tcp;local;-oProxyCommand=x.local;192.168.1.5;22;", [("", "192.168.1.5", 22)]),
        ("=;eth0;IPv4;a;_ssh._tcp;local;spark-1.local;-oProxyCommand=x;22;", []),
        ("=;eth0;IPv4;a;_ssh._tcp;local;spark-1.local;192.168.1.5;0;", []),
        ("=;eth0;IPv4;a;_ssh._tcp;local;spark-1.local;192.168.1.5;66000;", []),
        ("=;docker0;IPv4;a;_ssh._tcp;local;spark-1.local;172.17.0.1;22;", []),
        ("+;eth0;IPv4;spark-1;_ssh._tcp;local", []),
        ("=;eth0;IPv4;spark-1;_ssh._tcp;local", []),
    ],
)
def test_reads_a_line_of_avahi_browse(line: str, expected: list[Any]) -> None:
    assert [(one.name, one.address, one.port) for one in search.of_avahi(line)] == expected


def test_reads_what_ip_neigh_prints() -> None:
    """Captured from iproute2 6.15: one neighbour is there, and one does not answer."""
    text = (FIXTURES / "ip_neigh" / "neigh.json").read_text()
    assert {one["dst"] for one in json.loads(text)} > {"172.18.0.3", "172.18.0.77"}
    assert "172.18.0.3" in [one.address for one in search.of_neighbours(text)]
    assert "172.18.0.77" not in [one.address for one in search.of_neighbours(text)]


@pytest.mark.parametrize(
    ("changed", "seen"),
    [
        ({}, True),
        ({"state": ["PERMANENT"]}, True),
        ({"state": ["FAILED"]}, False),
        ({"state": "STALE"}, True),
        ({"state": None}, True),
        ({"dev": "docker0"}, False),
        ({"dev": "br-0123456789ab"}, False),
        ({"dst": "fe80::1"}, False),
        ({"dst": "fd00::1"}, False),
        ({"dst": "169.254.1.1"}, False),
        ({"lladdr": None}, False),
        ({"dst": 5}, False),
    ],
)
def test_a_neighbour_counts_if_it_may_be_a_machine_of_the_network(changed: dict[str, Any], seen: bool) -> None:
    one = {"dst": "192.168.1.5", "dev": "eth0", "lladdr": NVIDIA, "state": ["STALE"], **changed}
    assert [found.address for found in search.of_neighbours(json.dumps([one]))] == (["192.168.1.5"] if seen else [])


SYNC_FILE = """
Host spark-85e8.local
  Hostname spark-85e8.local
  User owner
  Port 22
  IdentityFile "/home/me/a b/nvsync.key"

# a comment
Host GX10 other
    HostName=192.168.178.67
    user dan
    user later
Match host x
  HostName 192.168.178.99
Host *
  User nobody
Host bad
  HostName %h.example
Host evil
  HostName -oProxyCommand=touch
"""


def test_reads_the_configuration_that_nvidia_sync_keeps() -> None:
    found = search.of_sync(SYNC_FILE)
    assert [(one.name, one.address, one.user, one.identity) for one in found] == [
        ("spark-85e8", "spark-85e8.local", "owner", "/home/me/a b/nvsync.key"),
        ("gx10", "192.168.178.67", "dan", ""),
    ]


DAMAGED = st.one_of(
    st.text(),
    st.text(alphabet="=;\\012. :-aIPv46\n"),
    st.text(alphabet='Host name="\t# \nUserPort%*'),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["dst", "dev", "lladdr", "state"]), inner),
    ).map(json.dumps),
)


@given(DAMAGED)
def test_damaged_answers_give_nothing_that_could_harm(text: str) -> None:
    for one in [*search.of_avahi(text), *search.of_neighbours(text), *search.of_sync(text)]:
        assert not one.address.startswith("-")
        assert not set(one.address) & set(" \t\n'\"$`;%")
        assert one.name == search.label(one.name)
        assert 0 < one.port < 65536
    assert all(isinstance(device, str) for device in search.of_own_addresses(text).values())


@given(st.text(alphabet="\\0123456789abc."))
def test_undoes_avahis_escapes_of_anything(text: str) -> None:
    search.unescaped(text)


@given(st.text())
def test_undoes_what_avahi_does_to_a_name(text: str) -> None:
    kept = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    escaped = "".join(chr(byte) if chr(byte) in kept else f"\\{byte:03}" for byte in text.encode())
    assert search.unescaped(escaped) == text


def seen(*sightings: Sighting, own: dict[str, str] | None = None, here: str = "") -> list[Candidate]:
    return candidates(sightings, own, here)[0]


def test_merges_what_is_told_of_one_machine() -> None:
    (one,) = seen(
        Sighting(NEIGHBOUR, "192.168.1.5", mac=NVIDIA),
        Sighting(MDNS, "192.168.1.5", "spark-1", device="wlan0"),
        Sighting(MDNS, "192.168.1.3", "spark-1", device="eth0"),
        Sighting(SYNC, "spark-1.local", "spark-1", user="me", identity="/k"),
    )
    assert one.name == "spark-1"
    assert (one.address, one.further) == ("192.168.1.3", ("192.168.1.5", "spark-1.local"))
    assert one.sources == (SYNC, MDNS, NEIGHBOUR)
    assert (one.user, one.identity, one.maker, one.likely) == ("me", "/k", "NVIDIA Corporation", True)
    assert search.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize("missing", [False, True])
def test_a_controller_without_netaddr_does_not_know_the_maker(monkeypatch: pytest.MonkeyPatch, missing: bool) -> None:
    monkeypatch.setattr(search, "NETADDR_MISSING", missing)
    assert search.maker(NVIDIA) == ("" if missing else "NVIDIA Corporation")
    assert len(seen(Sighting(NEIGHBOUR, "192.168.1.5", mac=NVIDIA))) == (not missing)


def test_two_groups_become_one_when_a_later_answer_joins_them() -> None:
    (one,) = seen(
        Sighting(SYNC, "192.168.1.5", "gx10"), Sighting(MDNS, "192.168.1.6", "b"), Sighting(MDNS, "192.168.1.5", "b")
    )
    assert set(one.further) | {one.address} == {"192.168.1.5", "192.168.1.6"}


def test_addresses_on_the_cable_come_last() -> None:
    (one,) = seen(
        Sighting(MDNS, "192.168.0.9", "spark-1", device="enp1s0f0np0"),
        Sighting(MDNS, "192.168.0.10", "spark-1", device="enP2p1s0f1np1"),
        Sighting(MDNS, "fd00::9", "spark-1", device="eth0"),
        Sighting(MDNS, "192.168.1.9", "spark-1", device="eth0"),
    )
    assert one.address == "192.168.1.9"


def test_likely_ones_come_first_and_mere_neighbours_are_counted() -> None:
    found, others = candidates(
        [
            Sighting(MDNS, "192.168.1.2", "anas"),
            Sighting(MDNS, "192.168.1.9", "spark-2"),
            Sighting(MDNS, "192.168.1.3", "spark-1"),
            Sighting(NEIGHBOUR, "192.168.1.20", mac=NVIDIA),
            Sighting(NEIGHBOUR, "192.168.1.21", mac=OTHER),
            Sighting(NEIGHBOUR, "192.168.1.22", mac=CONTAINER),
        ]
    )
    assert [one.address for one in found] == ["192.168.1.3", "192.168.1.9", "192.168.1.20", "192.168.1.2"]
    assert [one.likely for one in found] == [True, True, True, False]
    assert others == 2


def test_a_spark_finds_itself_and_no_other_machine_does() -> None:
    own = {"192.168.1.5": "eth0", "172.17.0.1": "docker0", "127.0.0.1": "lo", "192.168.100.10": "enp1s0f0np0"}
    answer = Sighting(MDNS, "192.168.1.5", "spark-1", device="eth0")
    inner = Sighting(MDNS, "172.17.0.1", "spark-1")  # as zeroconf tells, which names no device
    (one,) = seen(answer, inner, own=own, here="spark-1")
    assert (one.address, one.further, one.here) == ("192.168.1.5", ("192.168.100.10",), True)
    assert one.sources == (HERE,)
    assert seen(answer, inner, own=own) == []
    assert seen(own={"127.0.0.1": "lo"}, here="spark-1") == []


def test_shows_a_table() -> None:
    found = seen(Sighting(MDNS, "192.168.1.9", "spark-1"), Sighting(NEIGHBOUR, "192.168.1.120", mac=NVIDIA))
    assert search.table(found) == [
        "1  spark-1  192.168.1.9    mDNS",
        "2  ?        192.168.1.120  neighbour, NVIDIA Corporation",
    ]
    assert search.table([]) == []
