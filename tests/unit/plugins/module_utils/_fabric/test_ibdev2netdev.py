# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured output (one cable, in port 0), made-up trees for what could not be captured, and arbitrary text.

``fixtures/ibdev2netdev``: ``plain*`` and ``verbose*`` were printed by Mellanox's script over a sysfs dressed as a DGX
Spark's; ``sysfs.txt`` and ``ip_j_addr.json`` come from a machine with soft-RoCE on virtio NICs under a Spark's names.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ibdev2netdev import (
    Ibdev2netdevError,
    Mapping,
    describe_links,
    group_ports,
    parse_ibdev2netdev,
    parse_ip_addresses,
    physical_port,
    read_sysfs,
)
from hypothesis import example, given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "ibdev2netdev"

PORT0_UP = {
    Mapping("roceP2p1s0f0", 1, "enP2p1s0f0np0", "up"),
    Mapping("roceP2p1s0f1", 1, "enP2p1s0f1np1", "down"),
    Mapping("rocep1s0f0", 1, "enp1s0f0np0", "up"),
    Mapping("rocep1s0f1", 1, "enp1s0f1np1", "down"),
}
GB10 = {  # RDMA device -> network device, PCI address, cage, half
    "roceP2p1s0f0": ("enP2p1s0f0np0", "0002:01:00.0", 0, "B"),
    "roceP2p1s0f1": ("enP2p1s0f1np1", "0002:01:00.1", 1, "B"),
    "rocep1s0f0": ("enp1s0f0np0", "0000:01:00.0", 0, "A"),
    "rocep1s0f1": ("enp1s0f1np1", "0000:01:00.1", 1, "A"),
}


def plant(root: Path, tree: str) -> str:
    """Make a sysfs of lines ``path: value`` and ``path -> target``."""
    for line in tree.splitlines():
        if " -> " in line:
            path, target = line.split(" -> ")
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).symlink_to(target)
        else:
            path, value = line.split(": ", 1)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(f"{value}\n")
    return str(root)


def gb10(*, names: bool = True) -> str:
    """Return the tree of a DGX Spark, links as on the machine; without names, only PCI addresses tell what is what."""
    lines = []
    for number, (rdma_device, (netdev, pci, cage, _half)) in enumerate(GB10.items()):
        netdev = netdev if names else f"eth{number}"
        function = f"devices/pci{pci[:7]}/{pci[:4]}:00:00.0/{pci}"
        lines += [
            f"class/infiniband/{rdma_device} -> ../../{function}/infiniband/{rdma_device}",
            f"{function}/infiniband/{rdma_device}/device -> ../../../{pci}",
            f"{function}/infiniband/{rdma_device}/ports/1/state: 4: ACTIVE",
            f"class/net/{netdev} -> ../../{function}/net/{netdev}",
            f"{function}/net/{netdev}/device -> ../../../{pci}",
            f"{function}/net/{netdev}/carrier: 1",
            f"{function}/net/{netdev}/flags: 0x1003",
            f"{function}/net/{netdev}/speed: 200000",
        ]
        if names:
            lines.append(f"{function}/net/{netdev}/phys_port_name: p{cage}")
    return "\n".join(lines)


def described(root: str) -> dict[str, dict]:
    """Describe what is in a tree, by RDMA device."""
    return {link["rdma_device"]: link for link in describe_links(read_sysfs(root), root, {})}


# --- the tool's output


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.txt") if path.name != "sysfs.txt"))
@pytest.mark.parametrize("ends", ["\n", "\r\n", " \t\n"], ids=["LF", "CRLF", "blanks"])
def test_reads_captured_output(name: str, ends: str) -> None:
    text = (FIXTURES / name).read_text().replace("\n", ends)
    assert set(parse_ibdev2netdev(text)) == PORT0_UP
    assert set(parse_ibdev2netdev("\n".join(reversed(text.split("\n"))))) == PORT0_UP


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mlx5_0 port 1 ==> ib0 (Up)", ("mlx5_0", 1, "ib0", "up")),
        ("mlx5_0 port 1 ==>  ib0 (Down)", ("mlx5_0", 1, "ib0", "down")),
        ("mlx5_bond_0 port 1 ==> bond0 (Up)", ("mlx5_bond_0", 1, "bond0", "up")),
        ("rocep1s0f0 port 1 ==> enp1s0f0np0 ()", ("rocep1s0f0", 1, "enp1s0f0np0", "na")),
        ("rocep1s0f0 port 1 ==> enp1s0f0np0 (NA)", ("rocep1s0f0", 1, "enp1s0f0np0", "na")),
        ("mlx4_0 port 2 ==> enp3s0d1.42 (Up)", ("mlx4_0", 2, "enp3s0d1.42", "up")),
        (
            "0000:01:00.0 mlx5_0 (MT4129 - X) A (fw 1 port 2 (DOWN) ==> x (Up) fw 28 port 1 (ACTIVE) ==> eth0 (NA)",
            ("mlx5_0", 1, "eth0", "na"),
        ),
        (" mlx5_0 (NA - 9(0)) (A) fw  port 1 (NA) ==> eth0 (Up)", ("mlx5_0", 1, "eth0", "up")),
    ],
    ids=[
        "infiniband",
        "two-blanks",
        "bond",
        "empty-state",
        "no-carrier-file",
        "second-port",
        "spiteful-description",
        "spiteful-part",
    ],
)
def test_reads_a_line(line: str, expected: tuple) -> None:
    assert parse_ibdev2netdev(line) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mlx5_0 port 1 <===> eth0", r"line 1 .*<===>"),
        ("\nibdev2netdev <options>\n-h, --help   print help message", r"line 2 .*<options>"),
        ("mlx5_0 port 1 ==> eth0 (Sideways)", r"line 1 .*Sideways"),
        ("mlx5_0 port 1 ==> (Up)", r"line 1 "),
        ("mlx5_0 port one ==> eth0 (Up)", r"line 1 "),
        ("mlx5_0 port \u0661 ==> eth0 (Up)", r"line 1 "),
        ("mlx5_0 port 1 ==> eth0 (Up) and more", r"line 1 .*and more"),
        ("mlx5_0 port 1 (ACTIVE) ==> eth0 (Up)", r"line 1 "),
        ("mlx5_0 (MT4129 - X) fw 28 port 1 ==> eth0 (Up)", r"line 1 "),
        ("../x port 1 ==> eth0 (Up)", r"line 1 "),
        ("mlx5_0 port 1 ==> eth0 (Up)\nmlx5_0 port 1 ==> eth1 (Up)", r"line 2 .*'mlx5_0' port 1 a second time"),
    ],
    ids=[
        "old-style",
        "usage",
        "state",
        "no-netdev",
        "port",
        "port-not-ascii",
        "rest",
        "half-verbose",
        "no-ib-state",
        "path",
        "duplicate",
    ],
)
def test_refuses_a_line(text: str, message: str) -> None:
    with pytest.raises(Ibdev2netdevError, match=message):
        parse_ibdev2netdev(text)


names = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", fullmatch=True)
rows = st.lists(
    st.tuples(
        st.builds(Mapping, names, st.integers(1, 255), names, st.sampled_from(["up", "down", "na"])),
        st.none() | st.text("aw()f,:=> 19port", max_size=40),
    ),
    unique_by=lambda row: row[0][:2],
)


@given(rows, st.sampled_from(["", "0000:01:00.0"]))
def test_reads_back_what_the_tool_prints(table: list, pci: str) -> None:
    states = {"up": "Up", "down": "Down", "na": "NA"}
    text = ""
    for mapping, description in table:
        middle = f"port {mapping.port}"
        if description is None:
            text += f"{mapping.rdma_device} {middle}"
        else:
            text += f"{pci} {mapping.rdma_device} (MT4129 - X) {description} fw 28.45 {middle} (ACTIVE)"
        text += f" ==> {mapping.netdev} ({states[mapping.state]})\n"
    assert parse_ibdev2netdev(text) == [mapping for mapping, _description in table]


fragments = st.sampled_from(["mlx5_0", " ", "port", "1", "==>", "eth0", "(Up)", "()", "\n", "fw", "(", "0000:01:00.0"])


@given(st.text() | st.lists(fragments, max_size=20).map("".join))
@example("mlx5_0 port ² ==> eth0 (Up)")
@example("mlx5_0 port " + "9" * 5000 + " ==> eth0 (Up)")
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Ibdev2netdevError):
        parse_ibdev2netdev(text)


# --- addresses


def test_reads_addresses_of_ipv4_only() -> None:
    addresses = parse_ip_addresses((FIXTURES / "ip_j_addr.json").read_text())
    assert addresses["enp1s0f0np0"] == ["192.168.100.10/24"]
    assert addresses["enp1s0f1np1"] == []


@pytest.mark.parametrize("text", ["", "\n", "[]", "[{}]", "[{},{}]\n"])
def test_reads_no_addresses(text: str) -> None:
    assert parse_ip_addresses(text) == {}


json_values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["ifname", "addr_info", "family"]), inner),
)


@given(st.text() | json_values.map(json.dumps))
@example('[{"ifname": [], "addr_info": []}]')
@example("5")
@example("[" * 100_000)
def test_any_answer_of_ip_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Ibdev2netdevError):
        parse_ip_addresses(text)


# --- sysfs


def test_describes_captured_sysfs(tmp_path: Path) -> None:
    root = plant(tmp_path, (FIXTURES / "sysfs.txt").read_text())
    mappings = read_sysfs(root)
    assert set(mappings) == PORT0_UP
    links = describe_links(reversed(mappings), root, {"enp1s0f0np0": ["192.168.100.10/24"]})
    assert [link["rdma_device"] for link in links] == sorted(GB10)
    # That machine has one PCI domain and no phys_port_name, and its NICs sit below the PCI function (virtio).
    assert links[2] == {
        "rdma_device": "rocep1s0f0",
        "port": 1,
        "netdev": "enp1s0f0np0",
        "master": None,
        "state": "up",
        "admin_up": True,
        "carrier": True,
        "speed_mbps": 200000,
        "mtu": 9000,
        "mac": "52:54:00:01:f0:01",
        "ipv4": ["192.168.100.10/24"],
        "pci_address": "0000:01:00.0",
        "physical_port": 0,
        "half": None,
    }
    assert links[1] == {
        "rdma_device": "roceP2p1s0f1",
        "port": 1,
        "netdev": "enP2p1s0f1np1",
        "master": None,
        "state": "down",
        "admin_up": True,
        "carrier": False,
        "speed_mbps": None,
        "mtu": 1500,
        "mac": "52:54:00:01:f1:02",
        "ipv4": [],
        "pci_address": "0000:02:00.1",
        "physical_port": 1,
        "half": None,
    }
    assert group_ports(links) == [
        {
            "physical_port": 0,
            "state": "up",
            "rdma_devices": ["rocep1s0f0", "roceP2p1s0f0"],
            "netdevs": ["enp1s0f0np0", "enP2p1s0f0np0"],
        },
        {
            "physical_port": 1,
            "state": "down",
            "rdma_devices": ["rocep1s0f1", "roceP2p1s0f1"],
            "netdevs": ["enp1s0f1np1", "enP2p1s0f1np1"],
        },
    ]


@pytest.mark.parametrize("names", [True, False], ids=["named", "by-pci-function"])
def test_places_cages_and_halves_of_a_spark(tmp_path: Path, names: bool) -> None:
    links = described(plant(tmp_path, gb10(names=names)))
    assert {device: (link["pci_address"], link["physical_port"], link["half"]) for device, link in links.items()} == {
        device: expected[1:] for device, expected in GB10.items()
    }
    assert [port["rdma_devices"] for port in group_ports(links.values())] == [
        ["rocep1s0f0", "roceP2p1s0f0"],
        ["rocep1s0f1", "roceP2p1s0f1"],
    ]


def test_reads_what_cannot_be_read_as_null(tmp_path: Path) -> None:
    # Reading a directory fails, as reading these does while the device is administratively down.
    for attribute in ("carrier", "speed", "phys_port_name", "mtu", "address"):
        (tmp_path / "class/net/enp1s0f0np0" / attribute).mkdir(parents=True)
    tree = "class/infiniband/rocep1s0f0/parent: enp1s0f0np0\nclass/net/enp1s0f0np0/flags: 0x1002"
    root = plant(tmp_path, f"{tree}\nclass/infiniband/rocep1s0f0/ports/1/state: 1: DOWN")
    link = described(root)["rocep1s0f0"]
    assert (link["state"], link["admin_up"], link["carrier"]) == ("down", False, None)
    assert [link[key] for key in ("speed_mbps", "mtu", "mac", "pci_address", "half")] == [None] * 5
    assert link["physical_port"] == 0


@pytest.mark.parametrize(
    ("speed", "carrier", "expected"),
    [
        ("200000", "1", 200000),
        ("200000", "0", None),
        ("-1", "1", None),
        ("4294967295", "1", None),
        ("0", "1", None),
        ("fast", "1", None),
    ],
    ids=["known", "left-over", "unknown", "unknown-unsigned", "none", "garbled"],
)
def test_speed(tmp_path: Path, speed: str, carrier: str, expected: int | None) -> None:
    tree = f"class/net/eth0/speed: {speed}\nclass/net/eth0/carrier: {carrier}\nclass/infiniband/x/parent: eth0"
    root = plant(tmp_path, f"{tree}\nclass/infiniband/x/ports/1/state: x")
    assert described(root)["x"]["speed_mbps"] == expected


PCI = "devices/pci0000:00/0000:03:00.0"
TWO_PORTS = f"""\
class/infiniband/mlx4_0/device -> ../../../{PCI}
class/infiniband/mlx4_0/ports/1/state: x
class/infiniband/mlx4_0/ports/2/state: x
class/net/a1/device -> ../../../{PCI}
class/net/a1/dev_port: 1
class/net/b0/device -> ../../../{PCI}
class/net/b0/dev_port: 0
class/net/c/device -> ../../../devices/pci0000:00/0000:03:00.1
class/net/c/dev_port: 0"""
REPRESENTORS = f"""\
class/infiniband/mlx5_0/device -> ../../../{PCI}
class/infiniband/mlx5_0/ports/1/state: x
class/net/a/device -> ../../../{PCI}
class/net/a/phys_port_name: pf0vf0
class/net/b/device -> ../../../{PCI}/mlx5_core.eth.0
class/net/b/phys_port_name: p0"""
INFINIBAND = f"""\
class/infiniband/mlx5_0/device -> ../../../{PCI}
class/infiniband/mlx5_0/ports/1/link_layer: InfiniBand
class/net/lo/mtu: 65536"""


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (TWO_PORTS, [("mlx4_0", 1, "b0", "down"), ("mlx4_0", 2, "a1", "down")]),
        (REPRESENTORS, [("mlx5_0", 1, "b", "down")]),
        (INFINIBAND, [("mlx5_0", 1, None, "na")]),
        ("class/infiniband/x/ports/1/gid_attrs/ndevs/0: elsewhere", [("x", 1, "elsewhere", "na")]),
        ("class/infiniband/x/ports/junk/state: x", []),
        ("class/net/lo/mtu: 65536", []),
    ],
    ids=["two-ports", "representors", "no-netdev", "other-namespace", "no-port", "no-rdma"],
)
def test_finds_the_network_device(tmp_path: Path, tree: str, expected: list) -> None:
    assert read_sysfs(plant(tmp_path, tree)) == expected


def test_no_rdma_devices_at_all(tmp_path: Path) -> None:
    (tmp_path / "class/infiniband").mkdir(parents=True)  # there and empty once something has loaded ib_core
    assert describe_links(read_sysfs(str(tmp_path)), str(tmp_path), {}) == []
    assert group_ports([]) == []


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (INFINIBAND, ("mlx5_0", None, "0000:03:00.0", 0)),
        ("class/infiniband/ibp1s0f1/ports/1/state: x", ("ibp1s0f1", None, None, 1)),
    ],
    ids=["pci", "name"],
)
def test_a_port_without_network_device_has_a_cage(tmp_path: Path, tree: str, expected: tuple) -> None:
    root = plant(tmp_path, tree)
    (link,) = describe_links(read_sysfs(root), root, {})
    assert tuple(link[key] for key in ("rdma_device", "netdev", "pci_address", "physical_port")) == expected


def test_a_bond_is_in_no_cage(tmp_path: Path) -> None:
    tree = gb10().replace("class/infiniband/rocep1s0f0 ->", "class/infiniband/mlx5_bond_0 ->")
    root = plant(tmp_path, f"{tree}\nclass/net/bond0/carrier: 1")
    links = describe_links([Mapping("mlx5_bond_0", 1, "bond0", "up")], root, {})
    assert (links[0]["pci_address"], links[0]["physical_port"]) == ("0000:01:00.0", None)
    assert group_ports(links) == []


# elizabetht/spark, infiniband-tutorial/02_Multi_Rail_Tutorial.md: with both halves of cage 0 in a bond, RDMA's GIDs are
# the bond's. With the PCI functions as on a Spark, and without them, as in a virtual Spark.
LIVE_BOND = """\
class/infiniband/rocep1s0f0/ports/1/gid_attrs/ndevs/0: bond0
class/infiniband/roceP2p1s0f0/ports/1/gid_attrs/ndevs/0: bond0
class/infiniband/rocep1s0f1/ports/1/gid_attrs/ndevs/0: enp1s0f1np1
class/infiniband/roceP2p1s0f1/ports/1/gid_attrs/ndevs/0: enP2p1s0f1np1
class/net/enp1s0f0np0/master -> ../bond0
class/net/enP2p1s0f0np0/master -> ../bond0
class/net/bond0/carrier: 1"""
CARRIERS = """
class/net/enp1s0f0np0/carrier: 1
class/net/enP2p1s0f0np0/carrier: 1
class/net/enp1s0f1np1/carrier: 0
class/net/enP2p1s0f1np1/carrier: 0"""


@pytest.mark.parametrize("real", [True, False], ids=["pci", "names"])
def test_a_live_bond_is_told_by_its_ports(tmp_path: Path, real: bool) -> None:
    root = plant(tmp_path, f"{gb10()}\n{LIVE_BOND}" if real else LIVE_BOND + CARRIERS)
    links = described(root)
    assert {name: link["netdev"] for name, link in links.items()} == {name: one[0] for name, one in GB10.items()}
    assert [name for name, link in sorted(links.items()) if link["master"] == "bond0"] == ["roceP2p1s0f0", "rocep1s0f0"]
    assert [links[name]["physical_port"] for name in ("rocep1s0f0", "roceP2p1s0f0", "rocep1s0f1")] == [0, 0, 1]
    (link,) = describe_links([Mapping("mlx5_bond_0", 1, "bond0", "up")], root, {})
    assert (link["netdev"], link["master"]) == ("enP2p1s0f0np0", "bond0"), "any of its ports, so that a cage is known"


def test_a_port_in_a_bridge_keeps_its_gids(tmp_path: Path) -> None:
    root = plant(tmp_path, f"{gb10()}\nclass/net/enp1s0f0np0/master -> ../../../../virtual/net/br0")
    assert {name: link["master"] for name, link in described(root).items() if link["master"]} == {"rocep1s0f0": "br0"}


@pytest.mark.parametrize(
    ("reported", "name", "pci", "expected"),
    [
        ("p1", "enp1s0f0np0", "0000:01:00.0", 1),
        (None, "enp1s0f0np1", "0000:01:00.0", 1),
        (None, "enP2p1s0f1", "0002:01:00.0", 1),
        (None, "rocep1s0f1", None, 1),
        (None, "enp1s0f1v3", None, 1),
        ("pf0vf3", "eth7", "0000:01:00.1", 1),
        (None, "eth7", None, None),
        (None, "mlx5_1", None, None),
    ],
    ids=["reported", "np", "function", "roce", "virtual-function", "pci", "nothing", "mlx5"],
)
def test_physical_port(reported: str | None, name: str, pci: str | None, expected: int | None) -> None:
    assert physical_port(reported, name, pci) == expected


def test_halves_that_differ_make_a_cage_mixed(tmp_path: Path) -> None:
    root = plant(tmp_path, gb10())
    (tmp_path / "class/net/enP2p1s0f0np0/carrier").write_text("0\n")
    assert [port["state"] for port in group_ports(described(root).values())] == ["mixed", "up"]
