# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import ipaddress
import json

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.routes import netdev_of, parse_routes
from hypothesis import given
from hypothesis import strategies as st

# /proc/net/route of a virtual Spark.
ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
enP7s7\t00000000\t01CBCB0A\t0003\t0\t0\t102\t00000000\t0\t0\t0
enP7s7\t00CBCB0A\t00000000\t0001\t0\t0\t102\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


def test_routes_are_read_without_the_default() -> None:
    assert parse_routes(ROUTES) == [
        (ipaddress.ip_network("10.203.203.0/24"), "enP7s7"),
        (ipaddress.ip_network("172.17.0.0/16"), "docker0"),
    ]


@pytest.mark.parametrize("line", ["eth0", "eth0\t000000\t0\t0\t0\t0\t0\t00FFFFFF", "a\tb\tc\td\te\tf\tg\th"])
def test_a_line_that_cannot_be_read_is_shown(line: str) -> None:
    with pytest.raises(ValueError, match="has a line that cannot be read: '"):
        parse_routes(f"Iface\n{line}\n")


@given(st.text())
def test_no_text_raises_anything_but_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_routes(text)


def test_an_address_with_a_lease_is_dynamic() -> None:
    """As ip prints what NetworkManager got by DHCP, and what a file gives."""
    leased = {"family": "inet", "local": "192.168.1.21", "prefixlen": 24, "dynamic": True, "valid_life_time": 3599}
    given = {"family": "inet", "local": "10.0.0.1", "prefixlen": 24, "valid_life_time": 4294967295}
    addr = json.dumps([{}, {"ifname": "enP7s7", "addr_info": [leased]}, {"ifname": "eth1", "addr_info": [given]}])
    assert netdev_of(addr, "192.168.1.21") == ("enP7s7", True)
    assert netdev_of(addr, "10.0.0.1") == ("eth1", False)
    assert netdev_of(addr, "10.0.0.2") == (None, False)
