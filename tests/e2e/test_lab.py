# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual Sparks from outside: they are the machines that the roles above take them for."""

from __future__ import annotations

import re

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.bandwidth import parse

from .conftest import Lab, eventually

HALVES = {"rocep1s0f0": "enp1s0f0np0", "roceP2p1s0f0": "enP2p1s0f0np0"}  # of the cabled cage 0
OTHERS = {"rocep1s0f1": "enp1s0f1np1", "roceP2p1s0f1": "enP2p1s0f1np1"}
SPARKS = ("spark1", "spark2")


def states(lab: Lab) -> dict[str, dict[str, str]]:
    """The state of each RoCE device, by host."""
    found = lab.module("sparkops.dgx_spark.ibdev2netdev_info")
    return {host: {link["rdma_device"]: link["state"] for link in result["links"]} for host, result in found.items()}


def expected(cabled: str) -> dict[str, dict[str, str]]:
    return {host: {**dict.fromkeys(HALVES, cabled), **dict.fromkeys(OTHERS, "down")} for host in SPARKS}


@pytest.mark.parametrize("name", SPARKS)
def test_a_spark_is_a_machine(lab: Lab, name: str) -> None:
    spark = lab.host(name)
    assert spark.check_output("systemctl is-system-running") == "running"
    assert spark.check_output("hostname") == name
    assert spark.user().name == "nvidia"
    assert spark.check_output("sudo id -u") == "0"
    for service in ("ssh", "docker", "NetworkManager"):
        assert spark.service(service).is_running, service
    assert spark.package("ufw").is_installed
    assert "inactive" in spark.check_output("sudo ufw status")
    assert 'DGX_NAME="DGX Spark"' in spark.file("/etc/dgx-release").content_string
    assert spark.package("nvidia-container-toolkit").is_installed
    assert spark.check_output("sudo docker info --format '{{.Swarm.LocalNodeState}}'") == "inactive"


def test_sparks_have_machine_ids_of_their_own(lab: Lab) -> None:
    ids = [lab.host(name).check_output("cat /etc/machine-id") for name in SPARKS]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids), ids
    assert len(set(ids)) == len(SPARKS)


def test_etc_files_can_be_replaced_atomically(lab: Lab) -> None:
    """As on a machine: Docker mounts three files into a container, over which nothing can be renamed."""
    script = "sudo cp -a /etc/{0} /etc/{0}.new && sudo mv /etc/{0}.new /etc/{0}"
    for name in ("hosts", "hostname", "resolv.conf"):
        lab.host("spark1").check_output(script.format(name))


def test_networkmanager_owns_the_network(lab: Lab) -> None:
    devices = lab.host("spark1").check_output("nmcli -t -f DEVICE,STATE device")
    rows = dict(row.split(":") for row in devices.splitlines())
    assert rows["enP7s7"] == "connected"
    assert rows["enp1s0f0np0"] != "unmanaged"
    assert rows["enp1s0f1np1"] == "unavailable"


def test_the_modules_over_ssh(lab: Lab) -> None:
    gpus = lab.module("sparkops.dgx_spark.gpu_info")
    uuids = {host: result["gpus"][0]["uuid"] for host, result in gpus.items()}
    assert len(set(uuids.values())) == 2
    assert all(result["unified_memory"] and len(result["gpus"]) == 1 for result in gpus.values())
    assert gpus["spark1"]["gpus"][0]["name"] == "NVIDIA GB10"

    for source in ("tool", "sysfs"):
        links = lab.module("sparkops.dgx_spark.ibdev2netdev_info", source=source)["spark1"]["links"]
        by_device = {link["rdma_device"]: link for link in links}
        assert {name: link["netdev"] for name, link in by_device.items()} == {**HALVES, **OTHERS}
        near = by_device["rocep1s0f0"]
        assert near["speed_mbps"] == 200000
        assert (near["pci_address"], near["physical_port"], near["half"]) == ("0000:01:00.0", 0, "A")
        far = by_device["roceP2p1s0f1"]
        assert (far["pci_address"], far["physical_port"], far["half"]) == ("0002:01:00.1", 1, "B")

    nodes = [{"address": "10.0.0.1", "slots": 1}, {"address": "10.0.0.2", "slots": 1}]
    options = {"path": "/tmp/hostfile", "nodes": nodes}
    assert lab.module("sparkops.dgx_spark.mpi_hostfile", **options)["spark1"]["changed"]
    assert not lab.module("sparkops.dgx_spark.mpi_hostfile", **options)["spark1"]["changed"]


def test_an_unplugged_cable_is_seen_on_both_halves_of_both_ends(lab: Lab) -> None:
    assert states(lab) == expected("up")
    try:
        unplugged = lab.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=False)
        assert unplugged.stats["localhost"]["changed"] == 1
        eventually(lambda: states(lab), expected("down"))
        again = lab.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=False)
        assert "changed" not in again.stats["localhost"]
    finally:
        assert lab.play("lab/playbooks/cable.yml").status == "successful"
    eventually(lambda: states(lab), expected("up"))


def test_an_unknown_cable_is_refused(lab: Lab) -> None:
    run = lab.play("lab/playbooks/cable.yml", virtual_spark_cable="cable9")
    assert run.status == "failed"
    assert "there is no 'cable9' in this lab; it has cable1" in run.said


def test_a_cable_can_be_late_lossy_and_narrow(lab: Lab) -> None:
    near, far = lab.host("spark1"), lab.host("spark2")
    for spark, address in ((near, "192.168.240.1"), (far, "192.168.240.2")):
        spark.check_output("sudo nmcli device set enp1s0f0np0 managed no && sudo ip link set enp1s0f0np0 up mtu 9000")
        spark.check_output(f"sudo ip addr add {address}/30 dev enp1s0f0np0")
        # Both halves hear every ARP request: without this the other half, with its small MTU, may answer.
        spark.check_output(
            "sudo sysctl -q net.ipv4.conf.enp1s0f0np0.arp_ignore=1 net.ipv4.conf.enP2p1s0f0np0.arp_ignore=1"
        )

    def ping(count: int, size: int = 56) -> tuple[int, float]:
        """How many of ``count`` pings that may not fragment were answered, and the average in milliseconds."""
        said = near.run(f"ping -c {count} -i 0.05 -W 1 -M do -s {size} 192.168.240.2").stdout
        answered = int(said.split(" received")[0].split()[-1])
        average = float(said.rsplit("= ", 1)[1].split("/")[1]) if answered else 0.0
        return answered, average

    def gbps() -> float:
        """What ib_write_bw measures on the cable, read as the product reads it."""
        command = "ib_write_bw -d rocep1s0f0 -F --report_gbits -D 2"
        far.check_output(f"sudo systemd-run --quiet --collect {command}")
        eventually(lambda: ":18515 " in far.check_output("ss -ltn"), True)
        said = near.check_output(f"sudo {command} 192.168.240.2")
        assert "SIMULATED" in said
        return parse("ib_write_bw", said)

    try:
        eventually(lambda: ping(1)[0], 1)
        answered, average = ping(5, 8972)
        assert answered == 5
        assert average < 5
        sound = gbps()
        assert sound > 0.2
        lab.play("lab/playbooks/cable.yml", virtual_spark_cable_delay_ms=30)
        answered, average = ping(5)
        assert answered == 5
        assert 60 <= average < 80, "30 ms each way"
        assert gbps() < sound / 2
        lab.play("lab/playbooks/cable.yml", virtual_spark_cable_loss_percent=100)
        assert ping(3)[0] == 0
        lab.play("lab/playbooks/cable.yml", virtual_spark_cable_mtu=1500)
        assert ping(3, 1472)[0] == 3
        assert ping(3, 1473)[0] == 0
    finally:
        lab.play("lab/playbooks/cable.yml")
        for spark in (near, far):
            spark.run("sudo ip addr flush dev enp1s0f0np0; sudo ip link set enp1s0f0np0 mtu 1500")
            spark.run("sudo sysctl -q net.ipv4.conf.enp1s0f0np0.arp_ignore=0 net.ipv4.conf.enP2p1s0f0np0.arp_ignore=0")
            spark.run("sudo nmcli device set enp1s0f0np0 managed yes")


def test_reboot_brings_back_cables_keys_and_docker(lab: Lab) -> None:
    spark = lab.host("spark2")
    kept = (
        "sudo cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub /home/nvidia/.ssh/authorized_keys /etc/hosts"
        " /etc/netplan/01-network-manager-all.yaml /etc/netplan/50-management.yaml /etc/virtual-spark/gpus"
    )
    before = spark.check_output(kept)
    boot_id = spark.file("/proc/sys/kernel/random/boot_id").content_string
    reboot = {"hosts": "spark2", "become": True, "gather_facts": False, "tasks": [{"ansible.builtin.reboot": {}}]}
    run = lab.play([reboot])
    assert run.status == "successful", run.said
    assert spark.file("/proc/sys/kernel/random/boot_id").content_string != boot_id
    assert spark.check_output(kept) == before
    assert spark.check_output("systemctl is-system-running --wait") == "running"
    assert spark.check_output("sudo docker info --format '{{.ServerVersion}}'")
    eventually(lambda: states(lab), expected("up"))
