# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with a fabric: stopped with the right words, the hosts reachable and as they were."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from typing import Any, Iterator

import pytest

from .conftest import Lab, eventually
from .fabric_support import NETDEVS, differences, fabric_lab, networks, pinged, role, verified

pytestmark = pytest.mark.matrix
A0, B0, A1, B1 = NETDEVS
SYNC = "/etc/netplan/99-nvidia-sync-cluster.yaml"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two blank Sparks on one cable; every test leaves them so."""
    lab = fabric_lab(tmp_path_factory.mktemp("faults"))
    yield lab
    down = lab.play("lab/playbooks/down.yml")
    shutil.rmtree(lab.scratch)
    assert down.status == "successful", down.said


@pytest.fixture(scope="module")
def blank(pair: Lab) -> dict[str, Any]:
    return networks(pair, 2)


@contextlib.contextmanager
def spoilt(lab: Lab, spark: str, spoil: str, mend: str) -> Iterator[None]:
    """Run a command as root on a Spark, and another when done."""
    lab.host(spark).check_output(f"sudo sh -c {spoil!r}")
    try:
        yield
    finally:
        lab.host(spark).check_output(f"sudo sh -c {mend!r}")


def in_cables(lab: Lab, *words: str) -> None:
    subprocess.run(["docker", "exec", f"{lab.name}-cables", "ip", *words], check=True)


def stopped(lab: Lab, words: list[str], count: int = 2, **variables: Any) -> None:
    """The role fails with these words, and no host has changed."""
    before = networks(lab, count)
    run = role(lab, cx7_network_probe_seconds=3, **variables)
    assert run.status == "failed"
    assert [one for one in words if one not in run.words] == [], run.said
    assert differences(before, networks(lab, count)) == []


def gone(lab: Lab, blank: dict[str, Any]) -> None:
    undone = role(lab, "undo")
    assert undone.status == "successful", undone.said
    eventually(lambda: differences(blank, networks(lab, 2)), [], seconds=20)


def test_no_cable(pair: Lab, blank: dict[str, Any]) -> None:
    pair.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=False)
    try:
        stopped(pair, ["spark1 has no live QSFP cable", "spark2 has no live QSFP cable", "until it clicks"])
    finally:
        pair.play("lab/playbooks/cable.yml")


def test_one_half_without_a_signal(pair: Lab, blank: dict[str, Any]) -> None:
    in_cables(pair, "link", "set", "s1n2", "down")
    try:
        stopped(
            pair, ["spark1: one half of cage 0 (next to the RJ-45 socket) has a signal, but enP2p1s0f0np0 has none"]
        )
    finally:
        in_cables(pair, "link", "set", "s1n2", "up")


def test_another_tools_file(pair: Lab, blank: dict[str, Any]) -> None:
    text = f"network: {{version: 2, ethernets: {{{A0}: {{addresses: [10.7.7.7/24]}}}}}}"
    with spoilt(
        pair,
        "spark2",
        f"echo {text!r} > /etc/netplan/60-x.yaml; chmod 600 /etc/netplan/60-x.yaml",
        "rm /etc/netplan/60-x.yaml",
    ):
        stopped(pair, ["spark2: /etc/netplan/60-x.yaml configures enp1s0f0np0 too (address 10.7.7.7/24): move it out"])


def test_a_file_behind_ours_that_sets_the_mtu(pair: Lab, blank: dict[str, Any]) -> None:
    text = f"network: {{version: 2, ethernets: {{{B0}: {{mtu: 1500}}}}}}"
    with spoilt(
        pair,
        "spark2",
        f"echo {text!r} > /etc/netplan/60-x.yaml; chmod 600 /etc/netplan/60-x.yaml",
        "rm /etc/netplan/60-x.yaml",
    ):
        stopped(pair, ["spark2: /etc/netplan/60-x.yaml configures enP2p1s0f0np0 too (MTU 1500)"])


def test_broken_yaml_in_another_file(pair: Lab, blank: dict[str, Any]) -> None:
    with spoilt(pair, "spark1", "echo 'network: [' > /etc/netplan/70-x.yaml", "rm /etc/netplan/70-x.yaml"):
        words = ["spark1: netplan refuses the files of this host", "/etc/netplan/70-x.yaml"]
        stopped(pair, [*words, "mend the file it names", "Nothing was changed"])


def test_a_bond_of_both_halves(pair: Lab, blank: dict[str, Any]) -> None:
    """Made by hand, in no file. A bridge stands for the bond, which needs a module that not every machine has."""
    names = f"{A0} {B0}"
    bond = f"ip link add both type bridge; for one in {names}; do ip link set $one master both; done"
    loose = f"for one in {names}; do ip link set $one nomaster; done; ip link del both"
    with spoilt(pair, "spark1", bond, loose):
        stopped(pair, [f"spark1: {A0} and {B0} are in both: take them out", f"sudo ip link set {A0} nomaster"])
    eventually(lambda: differences(blank, networks(pair, 2)), [], seconds=20)


def test_the_management_link_named_by_mistake(pair: Lab, blank: dict[str, Any]) -> None:
    addresses = {"spark1": {"enP7s7": "10.1.1.1/24"}}
    stopped(pair, ["enP7s7 of spark1, which is no ConnectX-7 netdev"], cx7_network_addresses=addresses)


def test_an_address_of_the_management_network(pair: Lab, blank: dict[str, Any]) -> None:
    (address,) = blank["spark1"]["netdevs"]["enP7s7"]["addresses"]
    taken = address.rsplit(".", 1)[0] + ".200/24"
    stopped(pair, ["is in use already on enP7s7 of spark1"], cx7_network_addresses={"spark2": {A0: taken}})


def test_a_part_of_the_group(pair: Lab, blank: dict[str, Any]) -> None:
    members = ["spark1", "spark2", "spark3"]
    words = ["spark3 of cx7_network_members (spark1, spark2, spark3) is not in this play", "run without --limit"]
    stopped(pair, words, cx7_network_members=members)


def test_a_cable_that_carries_small_packets_only(pair: Lab, blank: dict[str, Any]) -> None:
    """Found by the proof, after the change: the hosts go back by themselves."""
    pair.play("lab/playbooks/cable.yml", virtual_spark_cable_mtu=1500)
    try:
        stopped(
            pair,
            [
                "small packets pass, but not those of 9000 bytes",
                "has a smaller MTU",
                "again what it was before this run",
            ],
            cx7_network_timeout=5,
        )
    finally:
        pair.play("lab/playbooks/cable.yml")


def test_rdma_that_no_program_can_reach(pair: Lab, blank: dict[str, Any]) -> None:
    fault = "/etc/virtual-spark/faults/rdma-devices-missing"
    with spoilt(pair, "spark1", f"mkdir -p {fault.rsplit('/', 1)[0]}; touch {fault}; sleep 3", f"rm {fault}; sleep 3"):
        stopped(pair, ["/dev/infiniband is not there", "NET/Socket"], cx7_network_timeout=5)


@pytest.mark.parametrize("plugged", [True, False])
def test_a_port_that_is_administratively_down(pair: Lab, blank: dict[str, Any], plugged: bool) -> None:
    """Unknown, not down: raised by the change alone, and put down again where that found nothing, or by undo."""
    down = "; ".join(f"ip link set {netdev} down" for netdev in NETDEVS)
    up = "; ".join(f"ip link set {netdev} up" for netdev in NETDEVS)
    if not plugged:
        pair.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=False)
    try:
        with spoilt(pair, "spark1", down, up), spoilt(pair, "spark2", down, up):
            before = networks(pair, 2)
            dry = role(pair, check=True)
            assert dry.status == "successful", dry.said
            assert networks(pair, 2) == before
            if plugged:
                done = role(pair)
                assert done.status == "successful", done.said
                assert role(pair).changed == {}
                gone(pair, before)
            else:
                stopped(pair, ["spark1 has no live QSFP cable", "again what it was before this run"])
    finally:
        pair.play("lab/playbooks/cable.yml")


def test_nvidia_sync_s_addresses_are_adopted(pair: Lab, blank: dict[str, Any]) -> None:
    def write(rank: int) -> str:
        halves = (
            f"{netdev}: {{addresses: [10.100.{net}.{rank}/24], mtu: 9000}}" for netdev, net in ((A0, 32), (B0, 33))
        )
        text = f"network: {{version: 2, ethernets: {{{', '.join(halves)}}}}}"
        return f"echo {text!r} > {SYNC}; chmod 600 {SYNC}"

    with spoilt(pair, "spark1", write(1), f"rm -f {SYNC}"), spoilt(pair, "spark2", write(2), f"rm -f {SYNC}"):
        done = role(pair)
        assert done.status == "successful", done.said
        plan = done.registered("cx7_network_plan")["spark1"]
        assert plan["hosts"]["spark2"]["control_address"] == "10.100.32.2"
        assert "addresses" not in pair.host("spark1").check_output("sudo cat /etc/netplan/40-cx7.yaml")
        assert role(pair).changed == {}
        pair.host("spark1").check_output(f"sudo rm {SYNC}")
        pair.host("spark2").check_output(f"sudo rm {SYNC}")
        gone(pair, blank)


def test_behind_the_role_s_back(pair: Lab, blank: dict[str, Any]) -> None:
    """A fabric that was right once: what is wrong now is named by the proof, and mended by the next run."""
    assert role(pair).status == "successful"
    spark = pair.host("spark2")

    spark.check_output(f"sudo ip link set {B0} mtu 1500")
    bad = verified(pair)
    assert bad.status == "failed"
    assert "spark2 is not as planned: Activate the network devices of the fabric. Run the playbook" in bad.words
    assert "packets of 9000 bytes do not leave, the MTU is 1500" in pinged(pair, timeout=3).words
    assert role(pair, check=True).changed
    assert role(pair).status == "successful"
    assert role(pair).changed == {}

    # The other half answers for this one: without the settings both halves hear the question.
    spark.check_output(f"sudo sysctl -q net.ipv4.conf.{A0}.arp_ignore=0 net.ipv4.conf.{B0}.arp_ignore=0")
    pair.host("spark1").check_output("sudo ip neigh flush all")
    assert role(pair, check=True).changed
    assert role(pair).status == "successful"

    slow = role(pair, cx7_network_min_gbps={"direct": 100000})
    assert slow.status == "failed"
    assert "The fabric is too slow" in slow.words
    assert "bad state" in slow.words
    assert role(pair).status == "successful"
    gone(pair, blank)


def test_the_firewall_lets_the_peers_in_and_nobody_else(pair: Lab, blank: dict[str, Any]) -> None:
    on = "ufw allow 22/tcp && ufw --force enable"
    off = "ufw --force disable; ufw delete allow 22/tcp"
    with spoilt(pair, "spark1", on, off), spoilt(pair, "spark2", on, off):
        before = networks(pair, 2)
        done = role(pair)
        assert done.status == "successful", done.said
        rules = pair.host("spark1").check_output("sudo ufw show added").splitlines()[1:]
        halves = ((A0, "192.168.100.0/24"), (B0, "192.168.101.0/24"))
        assert rules == [
            *(f"ufw allow in on {netdev} from {network} comment 'DGX Spark fabric'" for netdev, network in halves),
            *(f"ufw deny to {network} comment 'DGX Spark fabric'" for _netdev, network in halves),
            "ufw allow 22/tcp",
        ]
        assert role(pair).changed == {}
        gone(pair, before)


def test_a_profile_that_nmcli_changed(pair: Lab, blank: dict[str, Any]) -> None:
    """NetworkManager keeps a copy, whose address counts at once. The role sets its own again; undo leaves no copy."""
    before = networks(pair, 2)
    assert role(pair).status == "successful"
    modify = f"nmcli connection modify netplan-{A0} ipv4.addresses 10.77.0.1/24 && nmcli connection up netplan-{A0}"
    pair.host("spark1").check_output(f"sudo sh -c {modify!r}")
    assert verified(pair).status == "failed"
    assert role(pair).status == "successful"
    assert role(pair).changed == {}
    gone(pair, before)
    pair.host("spark1").check_output("sudo nmcli connection reload")
    assert "10.77.0.1" not in pair.host("spark1").check_output("ip -br -4 addr")


def test_the_management_link_is_cut_during_the_change(pair: Lab, blank: dict[str, Any]) -> None:
    """Nobody comes back in time, so both hosts do by themselves."""
    before = networks(pair, 2)
    unit = "dgx-spark-fabric-rollback.timer"
    inside = ["docker", "exec", f"{pair.name}-spark1"]
    cut: list[float] = []
    answered: list[float] = []

    def cutter() -> None:
        armed = [*inside, "systemctl", "is-active", "--quiet", unit]
        while subprocess.run(armed, check=False).returncode:
            time.sleep(0.2)
        subprocess.run([*inside, "ip", "link", "set", "enP7s7", "down"], check=True)
        cut.append(time.monotonic())
        ssh = ["ssh", "-F", pair.home / "ssh_config", "-o", "ConnectTimeout=2", "spark1", "true"]
        while subprocess.run(ssh, check=False, capture_output=True).returncode:
            time.sleep(0.5)
        answered.append(time.monotonic())

    thread = threading.Thread(target=cutter, daemon=True)
    thread.start()
    run = role(pair)
    thread.join(120)
    assert run.status == "failed"
    assert cut, "the link was cut"
    assert answered, "SSH answers again"
    assert answered[0] - cut[0] < 120
    # Where the management link comes back by itself, the rollback timer fires all the same.
    eventually(lambda: differences(before, networks(pair, 2)), [], seconds=150)


@pytest.mark.parametrize(
    ("cables", "words"),
    [
        ([["spark1:0", "spark2:1"], ["spark2:0", "spark3:1"]], ["three Sparks in a line", "join spark1 and spark3"]),
        (
            [["spark1:0", "spark1:1"], ["spark2:0", "spark3:0"]],
            ["cage 0 and cage 1 of spark1 are joined with one another"],
        ),
    ],
    ids=["a line", "a Spark with itself"],
)
def test_cables_that_make_no_fabric(
    tmp_path_factory: pytest.TempPathFactory, cables: list[list[str]], words: list[str]
) -> None:
    lab = fabric_lab(tmp_path_factory.mktemp("cables"), virtual_spark_count=3, virtual_spark_cables=cables)
    try:
        stopped(lab, words, count=3)
    finally:
        lab.play("lab/playbooks/down.yml")
        shutil.rmtree(lab.scratch)
