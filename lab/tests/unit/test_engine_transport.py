# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which network a rank of the engine's stand-in would use, and in which of NCCL's words."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from engine_support import load

transport = load("simulation.transport")
Hca, Machine = transport.Hca, transport.Machine

A, B, DOWN = Hca("rocep1s0f0", 1, True, True), Hca("roceP2p1s0f0", 1, True, True), Hca("rocep1s0f1", 1, False, True)
INTERFACES = {"lo": "127.0.0.1", "docker0": "172.17.0.1", "enP7s7": "10.0.0.5", "enp1s0f0np0": "192.168.100.10"}


@pytest.mark.parametrize(
    ("env", "devices"),
    [
        ({}, ("rocep1s0f0:1", "roceP2p1s0f0:1")),
        ({"NCCL_IB_HCA": "rocep1s0f0"}, ("rocep1s0f0:1",)),
        ({"NCCL_IB_HCA": "=rocep1s0f0,roceP2p1s0f0"}, ("rocep1s0f0:1", "roceP2p1s0f0:1")),
        ({"NCCL_IB_HCA": "=rocep1"}, ()),
        ({"NCCL_IB_HCA": "rocep1"}, ("rocep1s0f0:1",)),  # the beginning of a name will do
        ({"NCCL_IB_HCA": "^rocep1"}, ("roceP2p1s0f0:1",)),
        ({"NCCL_IB_HCA": "rocep1s0f0:1"}, ("rocep1s0f0:1",)),
        ({"NCCL_IB_HCA": "rocep1s0f0:2"}, ()),
        ({"NCCL_IB_HCA": "mlx5_0"}, ()),
        ({"NCCL_IB_DISABLE": "1"}, ()),
        ({"NCCL_IB_DISABLE": "0"}, ("rocep1s0f0:1", "roceP2p1s0f0:1")),
    ],
)
def test_the_devices_that_nccl_would_use(env: dict[str, str], devices: tuple[str, ...]) -> None:
    machine = Machine((A, B, DOWN), interfaces=INTERFACES)
    chosen = transport.decide({"NCCL_SOCKET_IFNAME": "enp1s0f0np0", **env}, machine)
    if devices:
        assert (chosen.kind, chosen.devices) == ("IB", devices)
        using = " ".join(f"[{index}]{name}/RoCE" for index, name in enumerate(devices))
        assert f"NET/IB : Using {using} [RO]; OOB enp1s0f0np0:192.168.100.10<0>" in chosen.lines
    else:
        assert (chosen.kind, chosen.devices) == ("Socket", ("enp1s0f0np0",))
        assert "NET/Socket : Using [0]enp1s0f0np0:192.168.100.10<0>" in chosen.lines
        assert ("NET/IB : No device found." in chosen.lines) == ("NCCL_IB_DISABLE" not in env)


def test_a_device_without_its_node_is_none() -> None:
    machine = Machine((Hca("rocep1s0f0", 1, True, False),), interfaces=INTERFACES)
    assert transport.decide({}, machine).kind == "Socket"
    with pytest.raises(transport.NcclError, match="Failed to initialize any NET plugin"):
        transport.decide({"NCCL_NET": "IB"}, machine)


@pytest.mark.parametrize("memlock", [65536, (8 << 20) - 1])
def test_rdma_without_lockable_memory_ends_the_rank(memlock: int) -> None:
    with pytest.raises(transport.NcclError, match="ibv_reg_mr_iova2 failed with error Cannot allocate memory"):
        transport.decide({}, Machine((A,), memlock, INTERFACES))
    assert transport.decide({"NCCL_IB_DISABLE": "1"}, Machine((A,), memlock, INTERFACES)).kind == "Socket"
    assert transport.decide({}, Machine((A,), 8 << 20, INTERFACES)).kind == "IB"
    assert transport.decide({}, Machine((A,), resource.RLIM_INFINITY, INTERFACES)).kind == "IB"


@pytest.mark.parametrize(
    ("wanted", "interface"),
    [("", "enP7s7"), ("enp1", "enp1s0f0np0"), ("^lo,docker,enP7", "enp1s0f0np0"), ("=lo", "lo")],
)
def test_the_interface_of_the_bootstrap(wanted: str, interface: str) -> None:
    env = {"NCCL_SOCKET_IFNAME": wanted} if wanted else {}
    assert transport.decide(env, Machine(interfaces=INTERFACES)).devices == (interface,)


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(transport.NcclError, match=r"no socket interface found .*eth9"):
        transport.decide({"NCCL_SOCKET_IFNAME": "eth9"}, Machine(interfaces=INTERFACES))
    with pytest.raises(transport.NcclError, match="no socket interface found"):
        transport.decide({}, Machine())


def test_the_machine_is_read_from_its_files(tmp_path: Path) -> None:
    sys, dev = tmp_path / "sys", tmp_path / "dev"
    for index, (name, state) in enumerate(
        [("rocep1s0f0", "4: ACTIVE"), ("rocep1s0f1", "1: DOWN"), ("roce9", "4: ACTIVE")]
    ):
        port = sys / "class/infiniband" / name / "ports" / "1"
        port.mkdir(parents=True)
        (port / "state").write_text(f"{state}\n")
        verbs = sys / "class/infiniband_verbs" / f"uverbs{index}"
        verbs.mkdir(parents=True)
        (verbs / "ibdev").write_text(f"{name}\n")
    (dev / "infiniband").mkdir(parents=True)
    for index in range(2):
        (dev / "infiniband" / f"uverbs{index}").touch()
    assert transport.look(sys, dev).hcas == (
        Hca("roce9", 1, True, False),
        Hca("rocep1s0f0", 1, True, True),
        Hca("rocep1s0f1", 1, False, True),
    )
    assert transport.look(sys, dev).interfaces["lo"] == "127.0.0.1"
    assert transport.look(tmp_path / "none", tmp_path / "none").hcas == ()


def test_a_node_with_the_numbers_of_a_card_that_is_gone_is_none(tmp_path: Path) -> None:
    """As libibverbs compares them; /dev/null stands for a node that can be opened."""
    port, verbs = tmp_path / "class/infiniband/rocep1s0f0/ports/1", tmp_path / "class/infiniband_verbs/uverbs0"
    for folder in (port, verbs, tmp_path / "dev/infiniband"):
        folder.mkdir(parents=True)
    (port / "state").write_text("4: ACTIVE\n")
    (verbs / "ibdev").write_text("rocep1s0f0\n")
    (tmp_path / "dev/infiniband/uverbs0").symlink_to("/dev/null")
    for numbers, usable in (("1:3", True), ("1:5", False)):
        (verbs / "dev").write_text(f"{numbers}\n")
        assert transport.look(tmp_path, tmp_path / "dev").hcas == (Hca("rocep1s0f0", 1, True, usable),)


def test_nccls_own_files_say_what_the_environment_leaves_open(tmp_path: Path) -> None:
    own, machine = tmp_path / "own", tmp_path / "machine"
    own.write_text("# NCCL_DEBUG=TRACE\nNCCL_DEBUG=INFO\n")
    machine.write_text("NCCL_DEBUG=WARN\nNCCL_IB_HCA=a\nNCCL_SOCKET_IFNAME=x\n")
    read = transport.with_files({"NCCL_SOCKET_IFNAME": "y"}, (own, machine, tmp_path / "none"))
    assert read == {"NCCL_DEBUG": "INFO", "NCCL_IB_HCA": "a", "NCCL_SOCKET_IFNAME": "y"}
