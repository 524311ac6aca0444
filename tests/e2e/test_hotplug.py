# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stock DGX OS has: a ConnectX-7 that leaves the PCI bus without a live cable, and an address by DHCP."""

from __future__ import annotations

import shutil
from typing import Any, Iterator

import pytest

from .conftest import Lab, Run, eventually
from .fabric_support import NETDEVS, fabric_lab, made_changes, planned_changes, role

pytestmark = pytest.mark.matrix
MARKER = "/etc/nvidia/cx7-hotplug-enabled"
ATTRIBUTES = "/sys/devices/platform/MTKP0001:00/pcie_hotplug"
OFF = "Move the hot-plug marker of the ConnectX-7 away"
REBOOT = "Reboot all members at the same time"
BOTH = ("spark1", "spark2")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two Sparks with the hot-plug driver, which booted with the cable in, and have a fabric."""
    lab = fabric_lab(tmp_path_factory.mktemp("hotplug"), virtual_spark_hotplug=True, virtual_spark_hotplug_seconds=20)
    for name in BOTH:
        lab.host(name).check_output(f"echo armed | sudo tee {MARKER}; sudo chmod 640 {MARKER}")
    yield lab
    down = lab.play("lab/playbooks/down.yml")
    shutil.rmtree(lab.scratch)
    assert down.status == "successful", down.said


def plug(lab: Lab, plugged: bool) -> None:
    lab.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=plugged)


def card(lab: Lab, name: str) -> dict[str, Any]:
    """What a Spark shows of its card: ports, indexes of the netdevs, device nodes, debug_state and hotplug_enabled."""
    netdevs = "".join(f"cat /sys/class/net/{netdev}/ifindex 2>/dev/null || true; " for netdev in NETDEVS)
    questions = f"ls /sys/class/infiniband; echo -; {netdevs} echo -; ls /dev/infiniband; echo -; cat {ATTRIBUTES}/*"
    ports, indexes, nodes, attributes = (part.split() for part in lab.host(name).check_output(questions).split("-\n"))
    return {
        "ports": len(ports),
        "indexes": indexes,
        "nodes": nodes,
        "state": attributes,
    }


def marker(lab: Lab, name: str) -> str:
    return lab.host(name).check_output(f"sudo stat -c '%a %U' {MARKER} && sudo cat {MARKER}")


def test_a_card_that_came_back_by_itself_is_measured_again(pair: Lab) -> None:
    """A card that was hot-added is slow until a boot with the cable in, though plan and boot are the same."""
    first = role(pair)
    assert first.status == "successful", first.said
    assert role(pair).changed == {}
    before = {name: card(pair, name) for name in BOTH}
    assert all(one["ports"] == 4 and one["state"] == ["1", "1"] for one in before.values()), before

    plug(pair, False)
    eventually(lambda: [card(pair, name)["ports"] for name in BOTH], [0, 0], seconds=30)
    gone = card(pair, "spark1")
    assert gone == {"ports": 0, "indexes": [], "nodes": ["rdma_cm"], "state": ["0", "1"]}
    refused = role(pair)
    assert refused.status == "failed"
    for name in BOTH:
        assert f"{name} shows no ConnectX-7 port: plug the QSFP cable in" in refused.words, refused.said
    assert "This DGX OS switches the card off without one" in refused.words

    plug(pair, True)
    eventually(lambda: [len(card(pair, name)["indexes"]) for name in BOTH], [4, 4], seconds=30)
    after = {name: card(pair, name) for name in BOTH}
    for name in BOTH:
        assert not set(before[name]["indexes"]) & set(after[name]["indexes"])
        assert set(before[name]["nodes"]) & set(after[name]["nodes"]) == {"rdma_cm"}
    slow = role(pair)
    assert slow.status == "failed", slow.said
    assert "The fabric is too slow" in slow.words
    assert "cx7_network_hotplug: off" in slow.words
    assert "power out" not in slow.words


def test_a_peer_s_reboot_takes_the_card_of_the_survivor(pair: Lab) -> None:
    before = card(pair, "spark1")
    pair.play([{"hosts": "spark2", "gather_facts": False, "tasks": [{"name": "Go", "ansible.builtin.reboot": {}}],
                "become": True}])  # fmt: skip
    eventually(lambda: [card(pair, name)["ports"] for name in BOTH], [4, 4], seconds=60)
    assert not set(before["indexes"]) & set(card(pair, "spark1")["indexes"])


def test_hot_plug_is_switched_off_where_asked_for_and_on_again_by_undo(pair: Lab) -> None:
    kept = {name: marker(pair, name) for name in BOTH}
    dry = role(pair, check=True, cx7_network_hotplug="off")
    assert dry.status == "successful", dry.said
    planned = planned_changes(dry)
    assert all({OFF, REBOOT, "Measure the bandwidth"} <= planned[name] for name in BOTH), planned
    assert {name: marker(pair, name) for name in BOTH} == kept
    done = role(pair, cx7_network_hotplug="off")
    assert done.status == "successful", done.said
    assert made_changes(done) == planned
    assert role(pair, cx7_network_hotplug="off").changed == {}
    assert role(pair).changed == {}
    for name in BOTH:
        assert not pair.host(name).file(MARKER).exists
    plug(pair, False)
    eventually(lambda: [card(pair, name)["state"] for name in BOTH], [["0", "0"], ["0", "0"]], seconds=30)
    assert [card(pair, name)["ports"] for name in BOTH] == [4, 4]
    assert "has no live QSFP cable" in role(pair).words
    plug(pair, True)
    undone = role(pair, "undo")
    assert undone.status == "successful", undone.said
    assert {name: marker(pair, name) for name in BOTH} == kept


def swarm_plan(lab: Lab, **variables: Any) -> Run:
    names = [f"sparkops.dgx_spark.{name}" for name in ("container_toolkit", "swarm_gpu")]
    tasks = [{"name": name, "ansible.builtin.include_role": {"name": name, "tasks_from": "plan"}} for name in names]
    play = {"hosts": "spark", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}
    return lab.play([play], **variables)


def test_a_swarm_on_an_address_by_dhcp_is_warned_of(pair: Lab) -> None:
    """A lease is a lifetime of the address, to ip and to the kernel."""
    host = pair.host("spark1")
    (address,) = host.check_output("ip -4 -o addr show enP7s7 | awk '{print $4}'").split()
    change = f"sudo ip addr change {address} dev enP7s7"
    assert "by DHCP" not in swarm_plan(pair).words
    host.check_output(f"{change} valid_lft 3600 preferred_lft 3600")
    try:
        warned = swarm_plan(pair)
    finally:
        host.check_output(f"{change} valid_lft forever preferred_lft forever")
    assert warned.status == "successful", warned.said
    own = address.split("/")[0]
    assert f"spark1 advertises {own} to the swarm, which enP7s7 has by DHCP" in warned.words
    assert "spark2 advertises" not in warned.words


def test_a_name_that_means_docker0_is_refused_for_the_swarm(pair: Lab) -> None:
    for name in BOTH:
        pair.host(name).check_output("echo '172.17.0.1 spark.test' | sudo tee -a /etc/hosts")
    try:
        refused = swarm_plan(pair, swarm_gpu_advertise_address="spark.test")
    finally:
        for name in BOTH:
            pair.host(name).check_output("sudo sed -i '/spark.test/d' /etc/hosts")
    assert refused.status == "failed"
    assert "On spark1: the name 'spark.test' means 172.17.0.1 there, on docker0" in refused.words, refused.said
