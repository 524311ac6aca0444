# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rank's transport is read from NCCL's own line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import nccl


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "spark1:412:412 [0] NCCL INFO NET/IB : Using [0]rocep1s0f0:1/RoCE [RO]; OOB enp1s0f0np0:192.168.100.1<0>",
            ("spark1", "IB", "[0]rocep1s0f0:1/RoCE [RO]; OOB enp1s0f0np0:192.168.100.1<0>"),
        ),
        (
            "[1,1]<stdout>:spark2:87:90 [0] NCCL INFO NET/Socket : Using [0]enp1s0f0np0:192.168.100.2<0>",
            ("spark2", "Socket", "[0]enp1s0f0np0:192.168.100.2<0>"),
        ),
        (
            "Loading weights:  45%|####5     | 9/20 [00:10<00:12, 40it/s]spark2:120:345 [0] NCCL INFO NET/IB : Using "
            "[0]rocep1s0f0:1/RoCE [RO]",
            ("spark2", "IB", "[0]rocep1s0f0:1/RoCE [RO]"),
        ),
        (
            " 45%|####5     | 9/20 [00:10<00:12]\x1b[0m spark1:120:345 [0] NCCL INFO NET/Socket : Using [0]lo:::1",
            ("spark1", "Socket", "[0]lo:::1"),
        ),
        ("spark1:412:412 [0] NCCL INFO Using network Socket", ("spark1", "Socket", "")),
        ("spark1:412:412 [0] NCCL INFO Using network Plugin", None),
        ("spark3:120:345 [0] NCCL INFO NET/IB : Using [0]rocep1s0f0:1/RoCE [RO]", None),
        ("spark1:412:412 [0] NCCL INFO NET/IB : No device found.", None),
        ("spark1:412:412 [0] NCCL INFO Bootstrap : Using enp1s0f0np0:192.168.100.1<0>", None),
        ("Using NET/IB : Using everything", None),
        ("", None),
    ],
)
def test_transport_is_read_from_nccls_own_line(line: str, found: object) -> None:
    assert nccl.transport_of(line, ["spark1", "spark2"]) == found


def test_lines_are_noted_by_the_nodes_names_whatever_their_hosts_are_called() -> None:
    seen = nccl.Transports(["spark1", "spark2"])
    assert seen.read("40it/s]dgx-spark: spark2 is spark-1b3b to NCCL\n")
    seen.read("40it/s]spark-1b3b:120:345 [0] NCCL INFO NET/IB : Using [0]rocep1s0f0:1/RoCE [RO]\n")
    seen.read("spark1:120:345 [0] NCCL INFO NET/IB : Using [0]rocep1s0f0:1/RoCE [RO]\n")
    assert {name: one["transport"] for name, one in seen.ranks.items()} == {"spark1": "IB", "spark2": "IB"}


@pytest.mark.parametrize(
    ("lines", "transport", "devices"),
    [
        (["Using network Socket"], "Socket", "devices not named"),
        (["NET/IB : Using [0]rocep1s0f0:1/RoCE [RO]", "Using network IB"], "IB", "[0]rocep1s0f0:1/RoCE [RO]"),
        (["NET/IB : Using [0]rocep1s0f0:1/RoCE [RO]", "Using network Socket"], "Socket", "devices not named"),
        (["Using network IB", "NET/IB : Using [0]rocep1s0f0:1/RoCE [RO]"], "IB", "[0]rocep1s0f0:1/RoCE [RO]"),
    ],
)
def test_a_build_that_names_no_devices_tells_its_network(lines: list[str], transport: str, devices: str) -> None:
    seen = nccl.Transports(["spark1"])
    for line in lines:
        seen.read(f"spark1:412:412 [0] NCCL INFO {line}\n")
    assert seen.ranks["spark1"] == {"transport": transport, "devices": devices, "why": ""}


@given(st.text())
def test_no_line_of_output_stops_the_supervisor(line: str) -> None:
    nccl.Transports(["spark1"]).read(line)


def test_the_first_rank_that_names_nccls_build_does() -> None:
    seen = nccl.Transports(["spark1", "spark2"])
    assert seen.build == ""
    for line in (
        "40it/sspark1:1:1 [0] NCCL INFO NCCL version 2.28.3+cuda13.0\n",
        "NCCL version 2.27.7 compiled with CUDA 12.9\n",
        "NCCL version is not known\n",
    ):
        seen.read(line)
    assert seen.build == "2.28.3+cuda13.0"
