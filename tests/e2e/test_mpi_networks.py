# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which network MPI's processes call each other on: the fabric's, whichever cage has the cable, under Open MPI 5 and 4.

With the cable in cage 1 a netdev without an address comes before those with one, and PRRTE 3.0.8, which Open MPI 5.0.7
brings, looks up a subnet in oob_tcp_if_include by a wrong index there, does not find it, and uses every network.
"""

from __future__ import annotations

from typing import Iterator

import pytest

from .conftest import SPARKS, Pair, stocked, taken_down
from .test_two_spark_faults import incarnations, state

pytestmark = pytest.mark.matrix
MANAGEMENT = "enP7s7"
#: a Spark that calls another on its management address gets no answer, and is counted
DROP = f"-i {MANAGEMENT} -p tcp --syn -m comment --comment mpi-networks -s %s -j DROP"


def addresses(lab: Pair) -> dict[str, str]:
    return {name: host["ansible_host"] for name, host in lab.hosts(*SPARKS)["spark"]["hosts"].items()}


def called(lab: Pair) -> dict[str, int]:
    """How often each Spark was called on its management address by the other."""
    said = {name: lab.host(name).check_output("sudo iptables -nvxL INPUT | grep mpi-networks") for name in SPARKS}
    return {name: sum(int(line.split()[0]) for line in text.splitlines()) for name, text in said.items()}


@pytest.fixture(scope="module", params=["5.0", "4.1"], ids=["mpi5", "mpi4"])
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair with its cable in cage 1 of both, whose management network lets no Spark call the other."""
    variables = {"virtual_spark_engine_openmpi": request.param, "virtual_spark_cabling": "direct_port1"}
    lab = stocked(tmp_path_factory.mktemp("mpi"), **variables)
    peers = dict(zip(SPARKS, reversed(addresses(lab).values())))
    for name in SPARKS:
        lab.host(name).check_output(f"sudo iptables -I INPUT {DROP % peers[name]}")
    yield lab
    taken_down(lab)


def test_only_the_fabric_is_used_with_the_cable_in_cage_1(behind: Pair) -> None:
    run = behind.serve(spark_launcher="docker")
    assert run.status == "successful", run.said
    control = run.registered("cx7_network_plan")["spark1"]["hosts"]["spark1"]["links"][0]["netdev"]
    assert control == "enp1s0f1np1"
    assert len(incarnations(behind)) == 2
    assert {about["transport"] for about in state(behind)["ranks"].values()} == {"IB"}
    assert called(behind) == dict.fromkeys(SPARKS, 0)
