# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for nccl-tests: as the ranks find it, so are its figures, and in nccl-tests' own words."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._nccl import output
from engine_support import QueueLink, load

collectives, transport = load("simulation.collectives"), load("simulation.transport")
BOTH = ["127.0.0.1/8", "127.0.0.1/8"]
SIZES = ["-b", "8", "-e", "4G", "-f", "8", "-g", "1", "-c", "1", "-n", "20", "-w", "5"]


def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    operation: str = "all_gather",
    addresses: tuple[list[str], list[str]] = (BOTH, BOTH),
    mtu: int = 9000,
    sizes: list[str] | None = None,
) -> tuple[list[int], output.Output]:
    """Two ranks as threads; their exit statuses, and what they printed."""
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    wires = {(kind, a, b): queue.Queue() for kind in ("talk", "bulk") for a in range(2) for b in range(2)}
    seen = threading.local()

    def look() -> Any:
        hcas = tuple(
            transport.Hca(name, 1, True, True, address)
            for name, address in zip(("rocep1s0f0", "roceP2p1s0f0"), addresses[seen.rank])
        )
        return transport.Machine(hcas, interfaces={"eth0": "10.0.0.1"})

    monkeypatch.setattr(transport, "look", look)
    monkeypatch.setattr(collectives, "mtu_of", lambda _device: mtu)
    statuses = [-1, -1]

    def rank(number: int) -> None:
        seen.rank = number
        statuses[number] = collectives.main([operation, *(sizes or SIZES)], QueueLink(number, 2, wires))

    threads = [threading.Thread(target=rank, args=(number,), daemon=True) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return statuses, output.parse(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("addresses", "mtu", "busbw"),
    [
        ((BOTH, BOTH), 9000, 22.7),
        ((BOTH, BOTH), 1500, 20.5),
        ((BOTH[:1], BOTH), 9000, 11.35),
        (([], []), 9000, 1.5),
    ],
    ids=["both halves", "small MTU", "one half down", "TCP"],
)
def test_the_speed_follows_what_the_ranks_have(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    addresses: tuple[list[str], list[str]],
    mtu: int,
    busbw: float,
) -> None:
    statuses, found = run(monkeypatch, capsys, addresses=addresses, mtu=mtu)
    assert statuses == [0, 0]
    assert found.rows[-1].out_of_place.busbw == pytest.approx(busbw, rel=0.01)
    assert found.whole
    assert found.wrong == 0


@pytest.mark.parametrize("operation", ["all_reduce", "all_gather", "reduce_scatter", "alltoall", "sendrecv"])
def test_every_operation_has_a_table_that_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], operation: str
) -> None:
    statuses, found = run(monkeypatch, capsys, operation, sizes=["-b", "8", "-e", "1K", "-f", "2"])
    assert statuses == [0, 0]
    parted = operation not in ("all_reduce", "sendrecv")
    assert [row.size for row in found.rows] == [*((0, 0) if parted else (8, 16)), 32, 64, 128, 256, 512, 1024]
    assert (found.rows[0].in_place.wrong is None) == (operation == "sendrecv")
    assert found.version == "2.19.6"
    assert output.dotted(found.library) == "2.28.3"
    assert len(found.ranks) == 2


def test_wrong_values_are_printed_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VIRTUAL_SPARK_WRONG", "3")
    _statuses, found = run(monkeypatch, capsys, sizes=["-b", "8", "-e", "4M", "-f", "8"])
    assert found.out_of_bounds
    assert found.wrong


def test_a_rank_that_may_lock_too_little_ends_as_the_real_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_args: object) -> None:
        raise transport.NcclError("ncclSystemError: Call to ibv_reg_mr_iova2 failed with error Cannot allocate memory")

    monkeypatch.setattr(transport, "decide", refused)
    statuses, found = run(monkeypatch, capsys)
    assert statuses == [3, 3]
    assert not found.whole
    assert any("ibv_reg_mr" in line for line in found.errors)
