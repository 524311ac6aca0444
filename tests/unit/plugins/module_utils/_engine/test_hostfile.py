# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written, what is refused, and that nothing but a sound hostfile comes out of arbitrary nodes."""

from __future__ import annotations

import contextlib
import re

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.hostfile import (
    HostfileError,
    render,
    validate_nodes,
)
from hypothesis import example, given
from hypothesis import strategies as st


def read_back(text: str) -> list[tuple[str, int]]:
    """Read a hostfile in the way of Open MPI's own grammar, as far as ours go."""
    assert text.endswith("\n")  # its comments and lines end with a newline, or are not seen
    lines = [line for line in text.split("\n")[:-1] if not line.startswith("#")]
    matches = [re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9.-]*) slots=([1-9][0-9]*)", line) for line in lines]
    return [(match[1], int(match[2])) for match in matches]


def test_renders_in_the_order_given() -> None:
    nodes = validate_nodes([{"address": "192.168.100.11", "slots": 2}, {"address": "192.168.100.10"}])
    assert render(nodes) == (
        "# Ansible managed (sparkops.dgx_spark.mpi_hostfile): changes made here will be lost.\n"
        "192.168.100.11 slots=2\n"
        "192.168.100.10 slots=1\n"
    )


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "169.254.35.62",
        "223.255.255.254",
        "spark1",
        "Spark-1.lan",
        "spark1.lan.",
        "1spark",
        "3com.com",
        "10a.0.0.1a",
        "x10.lan",
        "0xg.lan",
        "1-2.lan",
        "a" * 63,
        "slots1",
        "Rank",
        "localhostess",
    ],
)
def test_accepts(address: str) -> None:
    assert read_back(render(validate_nodes([{"address": address}]))) == [(address, 1)]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("0.0.0.0", "wildcard"),
        ("::", "wildcard"),
        ("[::]", "wildcard"),
        ("*", "wildcard"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("localhost", "loopback"),
        ("LocalHost.", "loopback"),
        ("localhost.localdomain", "loopback"),
        ("localhost6", "loopback"),
        ("spark1.localhost", "loopback"),
        ("ip6-loopback", "loopback"),
        ("255.255.255.255", "broadcast"),
        ("0.0.0.1", "no host's"),
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("fe80::1%eth0", "IPv6, which is not supported"),
        ("2001:db8::1", "IPv6, which is not supported"),
        ("::ffff:10.0.0.1", "IPv6, which is not supported"),
        ("10.0.0", "four numbers"),
        ("10", "four numbers"),
        ("10.0.0.256", "four numbers"),
        ("10.0.0.1.5", "four numbers"),
        ("10.0.0.01", "leading zeros"),
        ("010.0.0.1", "leading zeros"),
        ("0x7f000001", "four numbers"),
        ("spark.0X1", "four numbers"),
        ("10.0.0.1.", "dot at its end"),
        ("10.0.0.1:22", "without a port"),
        ("spark1:22", "without a port"),
        ("a b", "without blanks"),
        ("10.0.0.1 ", "without blanks"),
        (" spark1", "without blanks"),
        ("spark1\n", "malformed"),
        ("spark1 slots=9", "malformed"),
        ("spark_1", "underscores"),
        ("-spark", "malformed"),
        ("spark-", "malformed"),
        ("spark..lan", "malformed"),
        (".", "malformed"),
        ("", "malformed"),
        ("a" * 64, "malformed"),
        (".".join(["a" * 60] * 5), "malformed"),
        ("nvidia@spark1", "malformed"),
        ("^spark1", "malformed"),
        ("#spark1", "malformed"),
        ("spärk", "malformed"),
        ("spar\u212a", "malformed"),
        ("\u0661\u0660.0.0.1", "malformed"),
        ("slots", "keyword"),
        ("rank", "keyword"),
        ("max-slots", "keyword"),
    ],
)
def test_refuses_an_address(address: str, message: str) -> None:
    with pytest.raises(HostfileError, match=rf"nodes\[1\]\.address {re.escape(repr(address))} .*{message}"):
        validate_nodes([{"address": "spark0"}, {"address": address}])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("spark1", "SPARK1"),
        ("spark1.lan", "spark1.lan."),
        ("Spark1.LAN.", "spark1.lan"),
    ],
)
def test_refuses_a_duplicate(first: str, second: str) -> None:
    with pytest.raises(HostfileError, match=rf"nodes\[2\]\.address {second!r} is that of nodes\[0\] again"):
        validate_nodes([{"address": first}, {"address": "between"}, {"address": second}])


@pytest.mark.parametrize(
    ("first", "second", "label"),
    [
        # open-mpi/ompi#4732, kubeflow/mpi-operator#733: the domain is dropped
        ("mpi-worker.1.foo.net", "mpi-worker.2.foo.net", "mpi-worker"),
        ("spark1", "spark1.lan", "spark1"),
        ("spark1.lan", "spark1", "spark1"),
        ("spark1.a", "SPARK1.b", "spark1"),
        ("spark1.a.", "spark1.b.", "spark1"),
        ("10a.foo.net", "10a.bar.net", "10a"),
        ("a192.foo", "a192.168.100.foo", "a192"),
    ],
)
def test_refuses_two_names_that_are_one_to_mpi(first: str, second: str, label: str) -> None:
    says = rf"nodes\[2\]\.address {re.escape(repr(second))} is the same host as nodes\[0\] to Open MPI, .*{label!r}"
    with pytest.raises(HostfileError, match=says):
        validate_nodes([{"address": first}, {"address": "between"}, {"address": second, "slots": 2}])


def test_addresses_that_begin_alike_are_two_nodes() -> None:
    nodes = ["192.168.100.10", "192.168.100.11", "a192.lan", "spark1.lan", "spark10.lan", "lan"]
    assert [node.address for node in validate_nodes([{"address": one} for one in nodes])] == nodes


@pytest.mark.parametrize("slots", [0, -1, True, None, "1", 1.5])
def test_refuses_slots(slots: object) -> None:
    with pytest.raises(HostfileError, match=rf"nodes\[0\]\.slots {re.escape(repr(slots))} .*\(spark1\)"):
        validate_nodes([{"address": "spark1", "slots": slots}])


def test_refuses_no_nodes() -> None:
    with pytest.raises(HostfileError, match="at least one node"):
        validate_nodes([])


addresses = st.ip_addresses().map(str) | st.from_regex(r"[a-z][a-z0-9-]{0,9}(\.[a-z]{1,5})?\.?") | st.text(max_size=12)
nodes = st.lists(st.fixed_dictionaries({"address": addresses, "slots": st.integers(-1, 9)}), max_size=4)


@given(nodes)
@example([{"address": "spark1\n", "slots": 1}])
def test_what_is_written_reads_back(unchecked: list) -> None:
    with contextlib.suppress(HostfileError):
        text = render(validate_nodes(unchecked))
        assert read_back(text) == [(node["address"], node["slots"]) for node in unchecked]
        assert len({address.lower().rstrip(".") for address, _slots in read_back(text)}) == len(unchecked)


@pytest.mark.parametrize(
    "address", ["1.spark.lan", "10.spark.lan.", "0x10.lan", "0X1f.home", "007.lan", "192.168.100.foo", "10.0.0.1a"]
)
def test_a_name_of_which_open_mpi_keeps_a_number_is_refused(address: str) -> None:
    with pytest.raises(HostfileError, match=r"drops the domain and .* for an address: .*begins with a letter"):
        validate_nodes([{"address": address}])
