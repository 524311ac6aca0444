# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's planner: what it promises for every lab, and each lab that it must refuse."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
import yaml
from ansible_collections.sparkops.virtual_spark.plugins.module_utils import _virtual_spark as lab
from hypothesis import given
from hypothesis import strategies as st

ROUTES = [(ipaddress.IPv4Network("172.17.0.0/16"), "docker0"), (ipaddress.IPv4Network("192.0.2.0/24"), "eth0")]
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,19}", fullmatch=True)


@pytest.mark.parametrize(
    ("cabling", "count", "cables"),
    [
        ("auto", 1, []),
        ("auto", 2, [("spark1:0", "spark2:0")]),
        ("direct_port1", 2, [("spark1:1", "spark2:1")]),
        ("crossed", 2, [("spark1:0", "spark2:1")]),
        ("two_cables", 2, [("spark1:0", "spark2:0"), ("spark1:1", "spark2:1")]),
        ("auto", 3, [("spark1:0", "spark2:1"), ("spark2:0", "spark3:1"), ("spark3:0", "spark1:1")]),
        ("auto", 4, [(f"spark{i}:0", "switch") for i in (1, 2, 3, 4)]),
    ],
)
def test_named_cablings(cabling: str, count: int, cables: list[tuple[str, str]]) -> None:
    assert lab.cables_for(cabling, count) == cables


@given(NAMES, st.integers(1, 8))
def test_a_lab_has_no_two_things_alike(name: str, count: int) -> None:
    plan = lab.plan(name, count)
    sparks = plan["sparks"]
    addresses = [plan["network"]["gateway"], plan["internet"]["address"], *(spark["address"] for spark in sparks)]
    macs = [nic["mac"] for spark in sparks for nic in spark["nics"]]
    assert len(sparks) == count
    assert len(set(addresses)) == len(addresses)
    assert len(set(macs)) == 4 * count
    assert len({spark["gpu_uuid"] for spark in sparks}) == count
    assert all(ipaddress.ip_address(a) in ipaddress.ip_network(plan["network"]["subnet"]) for a in addresses)
    assert len(plan["network"]["bridge"]) <= 15, "the kernel cuts longer interface names"


@given(NAMES, st.integers(2, 7))
def test_a_larger_lab_keeps_what_the_smaller_one_had(name: str, count: int) -> None:
    small, large = lab.plan(name, count), lab.plan(name, count + 1)
    assert large["sparks"][:count] == small["sparks"]
    assert large["network"] == small["network"]


def test_the_labs_own_bridge_is_no_obstacle() -> None:
    plan = lab.plan("lab", 2)
    own = (ipaddress.ip_network(plan["network"]["subnet"]), plan["network"]["bridge"])
    assert lab.plan("lab", 2, routes=[own]) == plan


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"count": 0}, "virtual_spark_count is 0: a lab holds 1 to 8"),
        ({"count": 9}, "virtual_spark_count is 9"),
        ({"lab": "my lab"}, "'my lab' is no usable name"),
        ({"lab": "Lab"}, "no usable name"),
        ({"lab": ""}, "no usable name"),
        ({"lab": "a" * 21}, "no usable name"),
        ({"subnet": "10.203.7.1/24"}, "'10.203.7.1/24' is not an IPv4 network"),
        ({"subnet": "nonsense"}, "is not an IPv4 network"),
        ({"subnet": "10.203.7.0/28"}, "/27 or larger"),
        ({"subnet": "8.8.8.0/24"}, "private"),
        ({"subnet": "fd00::/64"}, "private IPv4"),
        ({"subnet": "192.0.2.0/24"}, r"overlaps 192.0.2.0/24 \(eth0\).*for instance 10\.203\."),
        ({"subnet": "172.16.0.0/12"}, "overlaps 172.17.0.0/16"),
        ({"count": 3, "cabling": "direct"}, "joins exactly 2 Sparks, not 3"),
        ({"count": 2, "cabling": "ring"}, "needs 3 Sparks or more"),
        ({"cables": [["spark1:0", "spark3:0"]]}, "'spark3:0' is not .* N from 1 to 2"),
        ({"cables": [["spark1:0", "spark1:0"]]}, "already holds"),
        ({"cables": [["spark1:0", "spark2:0"], ["spark1:0", "spark2:1"]]}, "spark1:0 already holds cable 1"),
        ({"cables": [["spark1:0"]]}, "give two ends"),
        ({"cables": [["switch", "spark1:0"]]}, "give two ends"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict, says: str) -> None:
    with pytest.raises(lab.LabError, match=says):
        lab.plan(**{"lab": "lab", "count": 2, "routes": ROUTES, **options})


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("docker.io/library/debian:trixie-slim", ("registry-1.docker.io", 443)),
        ("debian", ("registry-1.docker.io", 443)),
        ("library/debian", ("registry-1.docker.io", 443)),
        ("registry.example.com:5000/debian", ("registry.example.com", 5000)),
        ("localhost/debian", ("localhost", 443)),
    ],
)
def test_registry_of(image: str, registry: tuple[str, int]) -> None:
    assert lab.registry_of(image) == registry


def test_container_needs_follow_the_machine() -> None:
    full, without = "CapBnd:\t000001ffffffffff\n", "CapBnd:\t000001fffeffffff\n"
    assert lab.container_needs(full, True) == {
        "cap_drop": ["SYS_TIME", "SYS_MODULE"],
        "cgroupns": "private",
        "cgroup_volumes": [],
        "systemd_cmdline": "",
    }
    assert "SYS_RESOURCE" in lab.container_needs(without, False)["cap_drop"]
    assert lab.container_needs(without, False)["cgroupns"] == "host"
    with pytest.raises(lab.LabError, match="CapBnd"):
        lab.container_needs("", True)


def test_tree_digest_sees_content_name_and_mode(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = lab.tree_digest([str(tmp_path)])
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_text("junk")
    assert lab.tree_digest([str(tmp_path)]) == first
    (tmp_path / "a").chmod(0o755)
    executable = lab.tree_digest([str(tmp_path)])
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, executable, lab.tree_digest([str(tmp_path)])}) == 3


def test_the_committed_inventory_is_that_of_the_default_lab() -> None:
    hosts = yaml.safe_load((Path(__file__).parents[2] / "inventory" / "lab.yml").read_text())["spark"]["hosts"]
    planned = {spark["name"]: {"ansible_host": spark["address"]} for spark in lab.plan("lab", 2)["sparks"]}
    assert hosts == planned
