# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens where, as this machine's own kernel tells it, and as written-down tables do."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils import _tcp_port as tcp_port
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
    near = tcp_port.in_the_way(tcp_port.listeners(table), ipaddress.ip_address(wanted), 8355)
    assert [one.inode for one in near] == ([4711] if expected else [])


def process(proc: Path, pid: int, parent: int, *, title: str = "sh", environment: str = "", scope: str = "") -> Path:
    """Write down a process."""
    there = proc / str(pid)
    (there / "fd").mkdir(parents=True)
    (there / "status").write_text(f"Name:\t{title}\nPid:\t{pid}\nPPid:\t{parent}\n")
    (there / "comm").write_text(f"{title}\n")
    (there / "cgroup").write_text(f"0::/system.slice/{scope or 'a.service'}\n")
    (there / "environ").write_text(environment)
    return there


def test_names_the_container_and_knows_its_own_by_their_parents(tmp_path: Path) -> None:
    scope = f"docker-{ID}.scope"
    process(tmp_path, 1, 0, title="systemd")
    process(tmp_path, 40, 1, title="python3", environment="A=1\0DGX_SPARK_CONFIG=abc\0", scope=scope)
    sshd = process(tmp_path, 41, 40, title="sshd", environment="hd: listener\0\0", scope=scope)
    other = process(tmp_path, 5, 1, title="nginx", environment="NOT_DGX_SPARK_CONFIG=1\0")
    gone = process(tmp_path, 6, 1)
    for one in (sshd, other, gone):
        (one / "fd" / "3").symlink_to("socket:[4711]")
    (gone / "comm").unlink()
    found = tcp_port.holders(tmp_path, [4711], "DGX_SPARK_CONFIG")
    assert found == [
        tcp_port.Holder(5, "nginx"),
        tcp_port.Holder(41, "sshd", container=ID[:12], own=True),
    ]
    assert [str(one) for one in found] == ["nginx (process 5)", "sshd (process 41 in the container 0123456789ab)"]
    assert not any(one.own for one in tcp_port.holders(tmp_path, [4711], ""))


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of loopback's that this process listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_this_process_is_found_by_the_port_that_it_holds(listening: int) -> None:
    foreign, who = tcp_port.taken("127.0.0.1", listening, "NO_SUCH_VARIABLE")
    assert foreign
    assert [one.pid for one in who] == [os.getpid()]
    assert tcp_port.taken("0.0.0.0", listening)[0]
    assert tcp_port.taken("127.0.0.2", listening) == (False, [])


def test_a_process_of_our_own_may_have_it() -> None:
    program = (
        "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
        "print(s.getsockname()[1], flush=True); input()"
    )
    environment = {**os.environ, "DGX_SPARK_CONFIG": "abc"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes) as server:
        port = int(server.stdout.readline())
        assert tcp_port.taken("127.0.0.1", port, "DGX_SPARK_CONFIG")[0] is False
        assert tcp_port.taken("127.0.0.1", port, "SOMETHING_ELSE")[0] is True
        server.communicate("\n")


def test_an_address_that_is_still_to_come_is_free_unless_somebody_listens_on_all(listening: int) -> None:
    assert tcp_port.taken("198.51.100.7", listening) == (False, [])
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        assert tcp_port.taken("198.51.100.7", server.getsockname()[1])[0]
