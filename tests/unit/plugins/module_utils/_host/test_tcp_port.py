# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens where, as this machine's own kernel tells it, and as written-down tables do."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import tcp_port
from hypothesis import given
from hypothesis import strategies as st

HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   0: {}:{:04X} 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0 100 0 0 10 0\n"
ID = "0123456789ab" + "c" * 52


def printed(address: str) -> str:
    """An address as the kernel prints it on a little-endian processor."""
    packed = ipaddress.ip_address(address).packed
    return "".join(f"{word:08X}" for word in struct.unpack(f"<{len(packed) // 4}I", packed))


@given(st.ip_addresses())
def test_addresses_are_read_as_the_kernel_prints_them(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = getattr(address, "ipv4_mapped", None)
    assert tcp_port.address_of(printed(str(address))) == (mapped or address)


@given(st.text())
def test_what_is_no_table_lists_nobody(text: str) -> None:
    assert tcp_port.listeners(HEADING + text.replace("0A", "")) == []


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("192.168.100.10", "0.0.0.0", True),
        ("192.168.100.10", "127.0.0.1", False),
        ("::1", "127.0.0.1", False),
    ],
)
def test_who_leaves_no_room(there: str, wanted: str, expected: bool) -> None:
    table = HEADING + LINE.format(printed(there), 8355, "0A", 4711) + LINE.format(printed(there), 22, "0A", 4712)
    table += LINE.format(printed(there), 8355, "01", 4713)  # a connection, not a listener
    near = tcp_port.conflicting(tcp_port.listeners(table), ipaddress.ip_address(wanted), 8355)
    assert [one.inode for one in near] == ([4711] if expected else [])


def process(proc: Path, pid: int, title: str, scope: str = "a.service") -> Path:
    """Write down a process that has a socket open."""
    there = proc / str(pid)
    (there / "fd").mkdir(parents=True)
    (there / "fd" / "3").symlink_to("socket:[4711]")
    (there / "comm").write_text(f"{title}\n")
    (there / "cgroup").write_text(f"0::/system.slice/{scope}\n")
    return there


def test_names_the_container(tmp_path: Path) -> None:
    other = ID.replace("0", "f")
    process(tmp_path, 41, "sshd", f"docker-{other}.scope/system.slice/docker-{ID}.scope")
    process(tmp_path, 7, "python3", f"docker/{other}/system.slice/a.service")  # this host is in a container itself
    process(tmp_path, 5, "nginx")
    (process(tmp_path, 6, "gone") / "comm").unlink()
    found = tcp_port.holders(tmp_path, [4711], {ID: "dgx-spark-trtllm"})
    assert [str(one) for one in found] == [
        "nginx (process 5)",
        "python3 (process 7)",
        "sshd (process 41 in the container dgx-spark-trtllm)",
    ]
    assert tcp_port.holders(tmp_path, [4712], {}) == []


@pytest.mark.parametrize(("own", "foreign"), [("dgx-spark-trtllm", False), ("dgx-spark", True), ("", True)])
def test_a_container_of_our_own_may_have_it(tmp_path: Path, listening: int, own: str, foreign: bool) -> None:
    process(tmp_path, 41, "sshd", f"docker-{ID}.scope")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(HEADING + LINE.format(printed("127.0.0.1"), listening, "0A", 4711))
    names = {ID: "dgx-spark-trtllm_worker.1.x"}
    assert tcp_port.taken("127.0.0.1", listening, own, names, tmp_path)[0] is foreign


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of loopback's that this process listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_this_process_is_found_by_the_port_that_it_holds(listening: int) -> None:
    foreign, who = tcp_port.taken("127.0.0.1", listening, "dgx-spark-trtllm")
    assert foreign
    assert [one.pid for one in who] == [os.getpid()]
    assert tcp_port.taken("0.0.0.0", listening)[0]
    assert tcp_port.taken("127.0.0.2", listening) == (False, [])


def test_an_address_that_is_still_to_come_is_free_unless_somebody_listens_on_all(listening: int) -> None:
    assert tcp_port.taken("198.51.100.7", listening) == (False, [])
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        assert tcp_port.taken("198.51.100.7", server.getsockname()[1])[0]
