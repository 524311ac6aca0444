# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every cabling of the fabric, by either renderer: planned, applied, idempotent, verified, undone, true to --check."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from .conftest import Lab
from .fabric_support import (
    NETDEVS,
    differences,
    fabric_lab,
    made_changes,
    networks,
    planned_changes,
    remote_calls,
    role,
    verified,
)

pytestmark = pytest.mark.matrix
A0, B0, A1, B1 = NETDEVS
MATRIX: dict[str, dict[str, Any]] = {
    "direct on port 0": {"ends": {"spark1": [A0, B0], "spark2": [A0, B0]}},
    "direct on port 1": {
        "virtual_spark_cabling": "direct_port1",
        "role": {"cx7_network_bandwidth_tool": "iperf3"},
        "ends": {"spark1": [A1, B1], "spark2": [A1, B1]},
    },
    "crossed ports": {"virtual_spark_cabling": "crossed", "ends": {"spark1": [A0, B0], "spark2": [A1, B1]}},
    "two cables": {"virtual_spark_cabling": "two_cables", "ends": {"spark1": [*NETDEVS], "spark2": [*NETDEVS]}},
    "two cables, crossed": {
        "virtual_spark_cables": [["spark1:0", "spark2:1"], ["spark1:1", "spark2:0"]],
        "ends": {"spark1": [*NETDEVS], "spark2": [A1, B1, A0, B0]},
    },
    "ring of 3": {"virtual_spark_count": 3, "virtual_spark_cabling": "ring", "ends": {}},
    "switch of 4": {"virtual_spark_count": 4, "virtual_spark_cabling": "switch", "ends": {}},
    "direct, link_local": {"role": {"cx7_network_addressing": "link_local"}, "ends": {"spark1": [A0], "spark2": [A0]}},
    "direct, networkd": {"virtual_spark_renderer": "networkd", "ends": {"spark1": [A0, B0], "spark2": [A0, B0]}},
    "switch of 3, networkd": {
        "virtual_spark_count": 3,
        "virtual_spark_cabling": "switch",
        "virtual_spark_renderer": "networkd",
        "ends": {},
    },
}


def verify(lab: Lab, plan: dict[str, Any]) -> None:
    """From outside: what the plan says is so, and two halves of a host are never in one subnet."""
    for name, host in plan["hosts"].items():
        spark = lab.host(name)
        assert len({link["network"] for link in host["links"]}) == len({link["netdev"] for link in host["links"]})
        for link in host["links"]:
            netdev = spark.interface(link["netdev"])
            assert link["address"].split("/")[0] in netdev.addresses
            assert spark.file(f"/sys/class/net/{link['netdev']}/mtu").content_string.strip() == str(plan["mtu"])
            ping = f"ping -c 1 -W 2 -M do -s {plan['mtu'] - 28} -I {link['netdev']} {link['peer_address']}"
            assert spark.run(ping).rc == 0, (name, link)
            neighbour = spark.check_output(f"ip neigh show to {link['peer_address']} dev {link['netdev']}")
            assert link["peer_mac"] in neighbour
        idle = set(NETDEVS) - {link["netdev"] for link in host["links"]}
        assert not [one for netdev in idle for one in spark.interface(netdev).addresses if one.startswith("169.254.")]
        own = spark.check_output(f"getent hosts {name}")
        assert host["control_address"] not in own, "the management name is not shadowed"
        for other in plan["hosts"].values():
            assert other["control_address"] in spark.check_output(f"getent hosts {other['fabric_name']}")
        with spark.sudo():
            file = spark.file("/etc/netplan/40-cx7.yaml")
            assert (file.mode, file.user) == (0o600, "root")
            assert [netdev for netdev in NETDEVS if f"    {netdev}:" not in file.content_string] == []


@pytest.mark.parametrize("cabling", MATRIX)
def test_a_cabling(cabling: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = {**MATRIX[cabling]}
    ends, asked = settings.pop("ends"), settings.pop("role", {})
    count = settings.get("virtual_spark_count", 2)
    lab = fabric_lab(tmp_path_factory.mktemp("fabric"), **settings)
    try:
        before = networks(lab, count)

        printed = lab.play("fabric_plan.yml")
        assert printed.status == "successful", printed.said
        assert printed.changed == {}, printed.made()
        assert "HOST" in printed.said
        assert '"control_address"' in printed.said

        dry = role(lab, check=True, **asked)
        assert dry.status == "successful", dry.said
        assert dry.changed
        assert differences(before, networks(lab, count)) == [], "check mode changed something"

        first = role(lab, **asked)
        assert first.status == "successful", first.said
        assert made_changes(first) == planned_changes(dry), "check mode shows exactly what the run changes"
        plan = first.registered("cx7_network_plan")["spark1"]
        if ends:
            found = {
                name: [link["netdev"] for link in sorted(host["links"], key=lambda link: link["network"])]
                for name, host in plan["hosts"].items()
            }
            assert found == ends
        assert plan["topology"] == cabling.split()[0].rstrip(",").replace("crossed", "direct").replace("two", "direct")
        measured = first.results("change | Measure the bandwidth")
        tool = asked.get("cx7_network_bandwidth_tool", "ib_write_bw")
        assert {result["tool"] for result in measured.values()} == {tool}
        assert all(found["gbps"] > 0 for result in measured.values() for found in result["measured"])
        verify(lab, plan)

        for check in (False, True):
            again = role(lab, check=check, **asked)
            assert again.status == "successful", again.said
            assert again.changed == {}, again.said
            assert set(remote_calls(again).values()) == {2}, "a converged fabric is read, and pinged"
        assert verified(lab, **asked).changed == {}

        forgone = role(lab, "undo", check=True)
        assert forgone.status == "successful", forgone.said
        gone = role(lab, "undo")
        assert made_changes(gone) == made_changes(forgone)
        assert gone.status == "successful", gone.said
        assert differences(before, networks(lab, count)) == []
        assert role(lab, "undo").changed == {}
    finally:
        down = lab.play("lab/playbooks/down.yml")
        shutil.rmtree(lab.scratch)
    assert down.status == "successful", down.said
