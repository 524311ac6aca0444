# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sysfs of the simulated ConnectX-7 ports: what it says for which state of the links."""

from __future__ import annotations

import importlib
import os
import socket
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

FILES = Path(__file__).parents[2] / "roles" / "virtual_spark" / "files"
sys.path.insert(0, str(FILES / "hardware/usr/lib/virtual-spark"))
boot, devices, follow, layout, netlink, roce, tree = (
    importlib.import_module(f"virtual_spark.{name}")
    for name in ("boot", "devices", "follow", "layout", "netlink", "roce", "tree")
)

MAC = "3c:6d:66:cc:b3:b7"
FIRST = roce.FUNCTIONS[0]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(roce, "GID_TABLE", 8)  # a thousand files less for every test
    found = layout.Layout(*(tmp_path / name for name in ("run", "etc", "sys", "dev", "proc")))
    (found.sys / "class/net").mkdir(parents=True)
    found.etc.mkdir()
    found.dev.mkdir()
    return found


def link(up: bool = True, carrier: bool = True, index: int = 7, **counters: int):
    return roce.Link(index, up, carrier, MAC, roce.Counters(**counters))


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "gid"),
    [
        ("192.168.100.10", "0000:0000:0000:0000:0000:ffff:c0a8:640a"),
        ("fe80::5054:ff:fe01:f002", "fe80:0000:0000:0000:5054:00ff:fe01:f002"),
        ("fd00::1", "fd00:0000:0000:0000:0000:0000:0000:0001"),
    ],
)
def test_addresses_are_written_as_gids(address: str, gid: str) -> None:
    assert roce.expand(address) == gid


def test_default_gid_and_guid_follow_from_the_mac() -> None:
    assert roce.default_gid("52:54:00:01:f0:02") == "fe80:0000:0000:0000:5054:00ff:fe01:f002"  # as captured
    assert roce.default_gid(MAC) == "fe80:0000:0000:0000:3e6d:66ff:fecc:b3b7"  # as NVIDIA prints it
    assert roce.guid(MAC) == "3c6d:6603:00cc:b3b7"


def test_gid_table_has_each_address_in_both_versions_and_once() -> None:
    default = roce.default_gid(MAC)
    table = roce.gid_table(MAC, ["192.168.100.10", "fe80::3e6d:66ff:fecc:b3b7"])
    assert [kind for _, kind in table] == ["IB/RoCE v1", "RoCE v2"] * 2
    assert [gid for gid, _ in table] == [default, default, *[roce.expand("192.168.100.10")] * 2]


@given(st.lists(st.ip_addresses().map(str), max_size=200))
def test_gid_table_never_outgrows_the_hardware(addresses: list[str]) -> None:
    table = roce.gid_table(MAC, addresses)
    assert 2 <= len(table) <= roce.GID_TABLE
    assert all(len(gid) == len(roce.EMPTY_GID) for gid, _ in table)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (link(), ("4: ACTIVE", "5: LinkUp", "200 Gb/sec (4X HDR)")),
        (link(carrier=False), ("1: DOWN", "3: Disabled", "40 Gb/sec (4X QDR)")),
        (link(up=False), ("1: DOWN", "3: Disabled", "40 Gb/sec (4X QDR)")),
        (None, ("1: DOWN", "3: Disabled", "40 Gb/sec (4X QDR)")),
    ],
)
def test_port_state(state, said: tuple[str, ...]) -> None:
    files = roce.port_files(FIRST, state, [])
    assert tuple(files[f"ports/1/{name}"] for name in ("state", "phys_state", "rate")) == said
    # The GID table stays while the cable is out, and is empty only when the netdev itself is gone.
    assert files.get("ports/1/gid_attrs/ndevs/0") == (FIRST.netdev if state else None)


def test_data_is_counted_in_words_of_four_bytes() -> None:
    files = roce.counter_files(roce.Counters(rx_bytes=4001, tx_bytes=800, rx_packets=9, tx_packets=3, multicast=4))
    assert files["ports/1/counters/port_rcv_data"] == "1000"
    assert files["ports/1/counters/port_xmit_data"] == "200"
    assert files["ports/1/counters/unicast_rcv_packets"] == "5"


def test_functions_are_those_of_a_spark() -> None:
    assert {f.netdev: f.pci for f in roce.FUNCTIONS} == {
        "enp1s0f0np0": "0000:01:00.0",
        "enp1s0f1np1": "0000:01:00.1",
        "enP2p1s0f0np0": "0002:01:00.0",
        "enP2p1s0f1np1": "0002:01:00.1",
    }
    assert all(f.device == f"roce{f.netdev[2:-3]}" for f in roce.FUNCTIONS)
    resources = {roce.pci_files(f)["resource"] for f in roce.FUNCTIONS}
    assert len(resources) == 4  # ibdev2netdev tells functions apart by them


# --- files ------------------------------------------------------------------------------------------------------------


def test_boot_builds_the_tree(place) -> None:
    boot.build(place)
    device = place.classes / "infiniband/roceP2p1s0f1"
    read = {name: (device / name).read_text() for name in ("fw_ver", "hca_type", "ports/1/link_layer", "ports/1/state")}
    assert read == {
        "fw_ver": "28.45.4028\n",
        "hca_type": "MT4129\n",
        "ports/1/link_layer": "Ethernet\n",
        "ports/1/state": "1: DOWN\n",
    }
    assert (device / "device").resolve().name == "0002:01:00.1"
    assert (device / "device/vendor").read_text() == "0x15b3\n"
    assert (device / "device/device").read_text() == "0x1021\n"
    assert (device / "device/vpd").stat().st_mode & 0o777 == 0o400
    assert len(list((device / "ports/1/gids").iterdir())) == roce.GID_TABLE
    assert list((device / "ports/1/gid_attrs").glob("*/*")) == []
    verbs = place.classes / "infiniband_verbs"
    assert (verbs / "uverbs2/ibdev").read_text() == "roceP2p1s0f0\n"
    assert (verbs / "uverbs2/dev").read_text() == "1:7\n"


def test_a_tree_writes_only_what_changed_and_takes_back_what_is_gone(place) -> None:
    boot.build(place)
    one = boot.rdma_trees(place)[FIRST.device]
    up = roce.port_files(FIRST, link(), ["192.168.100.10"])
    assert one.update(up) == len(up)
    inode = (one.root / "ports/1/state").stat().st_ino
    assert one.update(up) == 0
    assert (one.root / "ports/1/state").stat().st_ino == inode
    assert one.update(roce.port_files(FIRST, link(carrier=False), ["192.168.100.10"])) == 3
    one.update(roce.port_files(FIRST, None, []))
    assert (one.root / "ports/1/gids/2").read_text() == f"{roce.EMPTY_GID}\n"
    assert not (one.root / "ports/1/gid_attrs/ndevs/2").exists()


def test_a_new_process_takes_back_what_the_old_one_wrote(place) -> None:
    boot.build(place)
    boot.rdma_trees(place)[FIRST.device].update(roce.port_files(FIRST, link(), ["192.168.100.10"]))
    later = boot.rdma_trees(place)[FIRST.device]
    later.load()
    later.update(roce.port_files(FIRST, None, []))
    assert (later.root / "ports/1/state").read_text() == "1: DOWN\n"
    assert list((later.root / "ports/1/gid_attrs/ndevs").iterdir()) == []


def test_rewriting_in_place_keeps_the_inode_and_leaves_no_old_digits(tmp_path: Path) -> None:
    path = tmp_path / "speed"
    tree.rewrite_file(path, b"200000\n")
    inode = path.stat().st_ino
    tree.rewrite_file(path, b"-1\n")
    assert (path.stat().st_ino, path.read_bytes()) == (inode, b"-1\n")
    tree.rewrite_file(path, b"200000\n")
    assert (path.stat().st_ino, path.read_bytes()) == (inode, b"200000\n")


def test_the_follower_writes_guids_that_stay_when_the_netdev_goes(place) -> None:
    boot.build(place)
    follower = follow.Follower(place)
    assert follower.files(FIRST, link())["node_guid"] == "3c6d:6603:00cc:b3b7"
    assert follower.files(FIRST, None)["node_guid"] == "3c6d:6603:00cc:b3b7"
    assert follower.files(roce.FUNCTIONS[2], None)["sys_image_guid"] == "3c6d:6603:00cc:b3b7"


def test_counters_go_on_when_a_cable_is_made_anew() -> None:
    meter = follow.Odometer()
    assert meter.total(None) == roce.Counters()
    assert meter.total(link(tx_bytes=100)).tx_bytes == 100
    assert meter.total(link(tx_bytes=150)).tx_bytes == 150
    assert meter.total(None).tx_bytes == 150
    assert meter.total(link(index=9, tx_bytes=10)).tx_bytes == 160


# --- device nodes, GPUs, faults ---------------------------------------------------------------------------------------


def test_nodes_of_a_sound_spark() -> None:
    nodes = devices.wanted_nodes(1, frozenset())
    assert nodes["nvidia0"] == (195, 0)
    assert nodes["nvidiactl"] == (195, 255)
    assert nodes["infiniband/uverbs3"] == (1, 8)
    assert "infiniband/rdma_cm" in nodes
    assert "nvidia1" not in nodes


@pytest.mark.parametrize("fault", [layout.NO_RDMA, layout.RDMA_CLASS_EMPTY, layout.RDMA_DEVICES_MISSING])
def test_faults_that_take_the_rdma_nodes(fault: str) -> None:
    assert not any(name.startswith("infiniband") for name in devices.wanted_nodes(1, frozenset({fault})))


def test_a_card_that_is_gone_leaves_rdma_cm_alone() -> None:
    nodes = devices.wanted_nodes(1, frozenset({layout.RDMA_UVERBS_MISSING}))
    assert [name for name in nodes if name.startswith("infiniband")] == ["infiniband/rdma_cm"]


def test_device_numbers_change_in_sysfs_and_in_dev(place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are made by a stand-in here, since a test may not make real ones."""
    before = devices.wanted_nodes(1, frozenset())
    after = devices.wanted_nodes(1, frozenset({layout.RDMA_UVERBS_RENUMBERED}))
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {f"infiniband/uverbs{function.uverbs}" for function in roce.FUNCTIONS}
    (place.etc / "faults").mkdir(parents=True)
    follower = follow.Follower(place)
    monkeypatch.setattr(devices, "reconcile", lambda _place: [])
    for faults in ((), (layout.RDMA_UVERBS_RENUMBERED,)):
        for name in faults:
            (place.etc / "faults" / name).touch()
        follower._stamp = ()
        follower._devices()
        for function in roce.FUNCTIONS:
            major, minor = devices.wanted_nodes(1, frozenset(faults))[f"infiniband/uverbs{function.uverbs}"]
            told = (place.classes / "infiniband_verbs" / f"uverbs{function.uverbs}" / "dev").read_text()
            assert told == f"{major}:{minor}\n"


def test_counters_that_stand_still(place) -> None:
    boot.build(place)
    follower = follow.Follower(place)
    follower.files(FIRST, link(tx_bytes=400))
    follower._still = True
    assert follower.files(FIRST, link(tx_bytes=4000))["ports/1/counters/port_xmit_data"] == "100"
    follower._still = False
    assert follower.files(FIRST, link(tx_bytes=4000))["ports/1/counters/port_xmit_data"] == "1000"


def test_a_missing_driver_takes_the_gpu_nodes() -> None:
    assert not any(
        name.startswith("nvidia") for name in devices.wanted_nodes(1, frozenset({layout.GPU_DRIVER_MISSING}))
    )


def test_a_node_that_may_not_be_made_is_said_not_raised(place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "mknod", refuse)
    devices.seed_gpus(place.gpus, "GPU-1")
    problems = devices.reconcile(place)
    assert len(problems) == 9
    assert "nvidia0 (195:0): Operation not permitted; CAP_MKNOD" in problems[0]


def test_a_card_that_left_the_bus_takes_its_nodes_and_no_others() -> None:
    nodes = devices.wanted_nodes(1, frozenset(), layout.Card(present=False))
    assert [name for name in nodes if name.startswith("infiniband")] == ["infiniband/rdma_cm"]


def test_a_hot_added_card_has_new_nodes() -> None:
    nodes = devices.wanted_nodes(1, frozenset(), layout.Card(added=1))
    assert nodes["infiniband/uverbs4"] == roce.verbs_number(4)
    assert "infiniband/uverbs0" not in nodes
    assert set(devices.wanted_nodes(1, frozenset(), layout.Card(added=17))) <= set(devices.all_nodes())


def test_the_follower_takes_the_card_off_the_bus_and_puts_it_back(place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "links", dict)
    monkeypatch.setattr(netlink, "addresses", dict)
    monkeypatch.setattr(devices, "reconcile", lambda _place: [])
    boot.build(place)
    follower = follow.Follower(place)

    def seen(present: int, added: int) -> tuple[list[str], list[str], list[str]]:
        tree.write_file(place.hotplug / "present", f"{present}\n".encode())
        tree.write_file(place.hotplug / "added", f"{added}\n".encode())
        follower.look(changed=True)
        return tuple(
            sorted(path.name for path in found)
            for found in (
                (place.classes / "infiniband").iterdir(),
                (place.classes / "infiniband_verbs").iterdir(),
                place.devices.glob("*/*/*"),
            )
        )

    names = sorted(f.device for f in roce.FUNCTIONS)
    functions = sorted(f.pci for f in roce.FUNCTIONS)
    assert seen(1, 0) == (names, ["abi_version", "uverbs0", "uverbs1", "uverbs2", "uverbs3"], functions)
    assert seen(0, 0) == ([], ["abi_version"], [])
    assert seen(1, 1) == (names, ["abi_version", "uverbs4", "uverbs5", "uverbs6", "uverbs7"], functions)
    assert (place.classes / "infiniband_verbs/uverbs4/dev").read_text() == "1:9\n"


@pytest.mark.parametrize(("marker", "enabled"), [(True, "1\n"), (False, "0\n")])
def test_the_hot_plug_driver_is_armed_by_the_marker(place, tmp_path, monkeypatch, marker: bool, enabled: str) -> None:
    monkeypatch.setattr(boot.mounts, "overlay", lambda *_args: None)
    monkeypatch.setattr(boot.mounts, "bind", lambda *_args: None)
    place = layout.Layout(place.run, place.etc, place.sys, place.dev, place.proc, tmp_path / "nvidia")
    boot.arm_hotplug(place)
    assert not place.hotplug.exists(), "a Spark of a lab that was not asked for it has no such driver"
    place.hotplug_switch.touch()
    if marker:
        place.nvidia.mkdir()
        place.hotplug_marker.touch()
    boot.arm_hotplug(place)
    assert (place.hotplug / "hotplug_enabled").read_text() == enabled
    assert place.card() == layout.Card()


def test_the_gpu_is_given_once(place) -> None:
    devices.seed_gpus(place.gpus, "GPU-1")
    devices.seed_gpus(place.gpus, "GPU-2")
    assert devices.read_gpus(place.gpus) == ["GPU-1"]
    place.gpus.write_text("# two\nGPU-a\n\nGPU-b")
    assert devices.read_gpus(place.gpus) == ["GPU-a", "GPU-b"]
    place.gpus.unlink()
    devices.seed_gpus(place.gpus, None)
    assert devices.read_gpus(place.gpus)[0].startswith("GPU-")


def test_faults_are_file_names(place) -> None:
    assert place.faults() == frozenset()
    (place.etc / "faults").mkdir()
    (place.etc / "faults" / layout.NO_RDMA).touch()
    assert place.faults() == {layout.NO_RDMA}


# --- power-on ---------------------------------------------------------------------------------------------------------


def test_renaming_gives_back_gateway_and_ipv6() -> None:
    addresses = [
        {
            "addr_info": [
                {"family": "inet", "local": "10.203.7.11", "prefixlen": 24, "scope": "global"},
                {"family": "inet6", "local": "fd00::5", "prefixlen": 64, "scope": "global"},
                {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"},
            ]
        }
    ]
    routes = [
        {"dst": "default", "gateway": "10.203.7.1", "flags": []},
        {"dst": "10.203.7.0/24", "protocol": "kernel", "scope": "link", "prefsrc": "10.203.7.11"},
        {"dst": "10.9.0.0/16", "scope": "link", "metric": 50},
    ]
    assert boot.rename_plan(addresses, routes) == [
        ["link", "set", "eth0", "down"],
        ["link", "set", "eth0", "name", "enP7s7"],
        ["link", "set", "enP7s7", "up"],
        ["address", "replace", "fd00::5/64", "dev", "enP7s7", "nodad"],
        ["route", "replace", "10.9.0.0/16", "dev", "enP7s7", "metric", "50"],
        ["route", "replace", "default", "via", "10.203.7.1", "dev", "enP7s7"],
    ]


def test_one_failing_step_does_not_stop_the_others(place, capsys: pytest.CaptureFixture[str]) -> None:
    done = []

    def bad_step(_place: object) -> None:
        raise OSError("no")

    assert boot._attempt([bad_step, done.append], place) == 1
    assert done == [place]
    assert "bad step failed: OSError: no" in capsys.readouterr().err


# --- netlink ----------------------------------------------------------------------------------------------------------


def attribute(kind: int, value: bytes) -> bytes:
    data = struct.pack("=HH", 4 + len(value), kind) + value
    return data.ljust((len(data) + 3) & ~3, b"\0")


def test_a_link_message_is_read() -> None:
    head = struct.pack("=BxHiII", 0, 1, 12, 0x1 | 0x10000, 0)
    stats = struct.pack("=24Q", 1, 2, 300, 400, 5, 6, 7, 8, 9, *[0] * 15)
    body = attribute(3, b"enp1s0f0np0\0") + attribute(1, bytes.fromhex("3c6d66ccb3b7")) + attribute(23, stats)
    name, found = netlink.parse_link(head + body)
    assert name == "enp1s0f0np0"
    assert found == roce.Link(12, True, True, MAC, roce.Counters(1, 2, 300, 400, 5, 8, 9))


@pytest.mark.parametrize(
    ("family", "flags", "address", "found"),
    [
        (socket.AF_INET, 0x80, "192.168.100.10", (4, "192.168.100.10")),
        (socket.AF_INET6, 0x80, "fe80::1", (4, "fe80::1")),
        (socket.AF_INET6, 0x40, "fe80::1", None),  # tentative: no GID before duplicate detection is through
    ],
)
def test_an_address_message_is_read(family: int, flags: int, address: str, found: tuple[int, str] | None) -> None:
    body = attribute(1, socket.inet_pton(family, address)) + attribute(8, struct.pack("=I", flags))
    assert netlink.parse_address(struct.pack("=BBBBI", family, 64, flags, 0, 4) + body) == found


@given(st.binary(max_size=200))
def test_no_datagram_breaks_the_reader(data: bytes) -> None:
    for _, payload in netlink.messages(data):
        netlink.attributes(payload)


def test_the_kernel_tells_of_the_loopback() -> None:
    assert netlink.links()["lo"].index == 1
    assert isinstance(netlink.addresses(), dict)
