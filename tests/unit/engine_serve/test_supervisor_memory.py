# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that is short of memory is named, and its rank is ended in time."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Callable

import pytest
from supervisor import memory, paths, ssh
from supervisor.memory import Reading
from supervisor_support import program

LAB_ENGINE = Path(__file__).parents[3] / "lab" / "roles" / "virtual_spark" / "files" / "engine"
SPARK, HALF = 122880, 61440  # MiB of a Spark of 128 GB, and of one of 64 GB
NEED = {"memory_need_mib": 70000, "memory_reserve_mib": 24000}
FLOORS = {"memory_floor_mib": 8192, "memory_load_floor_mib": 16384}


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"spark1": (SPARK, 80000), "spark2": (SPARK, 80000)}, ""),
        (
            {"spark1": (SPARK, 80000), "spark2": (SPARK, 3000)},
            "spark2 has 3000 MiB available, and its rank needs 70000: end what else uses it",
        ),
        ({"spark1": (HALF, 58000)}, ""),
        ({"spark1": (HALF, 57999)}, "spark1 has 57999 MiB available, and its rank needs 58000: end what else uses it"),
        ({"spark1": (0, 69999)}, "spark1 has 69999 MiB available, and its rank needs 70000: end what else uses it"),
    ],
)
def test_a_node_that_is_short_of_memory_is_named(found: dict[str, tuple[int, int]], says: str) -> None:
    """The weights are as large everywhere; what is to be there beside them is scaled to the node."""
    readings = {name: Reading(0, total, left, left) for name, (total, left) in found.items()}
    assert memory.shortage(readings, NEED) == says


def fall(total: int, *available: int, free: int | None = None, every: float = 0.1) -> list[Reading]:
    return [Reading(index * every, total, left if free is None else free, left) for index, left in enumerate(available)]


@pytest.mark.parametrize(
    ("readings", "loading", "floor"),
    [
        (fall(SPARK, 20000, 20000, 20000), True, 0),
        (fall(SPARK, 16383), True, 16384),
        (fall(SPARK, 16383), False, 0),
        (fall(SPARK, 8191), False, 8192),
        (fall(SPARK, 8192, 8192), False, 0),
        # 7 GiB in half a second: what is left after the next three polls counts
        (fall(SPARK, 23000, 21566), True, 0),
        (fall(SPARK, 22000, 20566), True, 16384),
        (fall(SPARK, 15000, 13566), False, 0),
        (fall(SPARK, 13000, 11566), False, 8192),
        # a fall that has stopped is no fall
        (fall(SPARK, 40000, 17000, 17000, 17000), True, 0),
        # 7 GiB from one poll to the next
        (fall(SPARK, 34816, 27648), True, 16384),
        # slow, and not near
        (fall(SPARK, 40000, 39900, 39800), True, 0),
        # more is taken than is free: the rest has to be reclaimed first, and the higher floor holds
        (fall(SPARK, 20000, 18566, free=2048), False, 16384),
        (fall(SPARK, 20000, 20000, free=2048), False, 0),
        # the same on a Spark of 64 GB
        (fall(HALF, 8192, 8192), True, 0),
        (fall(HALF, 8191), True, 8192),
        (fall(HALF, 4095), False, 4096),
    ],
)
def test_which_floor_a_node_is_about_to_fall_below(readings: list[Reading], loading: bool, floor: int) -> None:
    assert memory.threatened(readings, FLOORS, loading) == floor


def test_no_floor_is_no_guard() -> None:
    assert memory.threatened(fall(SPARK, 1), {"memory_floor_mib": 0, "memory_load_floor_mib": 16384}, False) == 0
    assert memory.threatened(fall(SPARK, 9000, 1), {"memory_floor_mib": 0, "memory_load_floor_mib": 0}, True) == 0


@pytest.mark.parametrize(("floor", "option"), [(8192, "memory_floor_mib"), (16384, "memory_load_floor_mib")])
def test_a_guard_names_the_option_of_its_floor(floor: int, option: str) -> None:
    said = memory.last_words("spark2", fall(SPARK, 9000, 8000), floor, FLOORS)
    assert said.startswith("spark2 has 8000 MiB available, 8000 of them free, and loses 10000 MiB a second")
    assert said.endswith(f"or lower engine_serve_{option}")


def test_what_stands_in_meminfo() -> None:
    whole = "MemTotal:       125829120 kB\nMemFree:         1048576 kB\nMemAvailable:   2097152 kB\n"
    assert memory.reading(whole, 7.0) == Reading(7.0, 122880, 1024, 2048)
    assert memory.reading("MemAvailable: 2048 kB\n", 7.0) == Reading(7.0, 0, 2, 2)
    assert memory.reading("MemTotal: 1258", 7.0) is None


def write_node(folder: Path, meminfo: Path, **limits: int) -> None:
    (folder / "node.json").write_text(
        json.dumps({"name": "spark2", "environment": {"RANK_OF": "spark2"}, "meminfo": str(meminfo)})
    )
    (folder / "environment.json").write_text(json.dumps({"CUDA_HOME": "/cuda", "PATH": "/cuda/bin"}))
    limits = {**FLOORS, "memlock_bytes": -1, "require_rdma": True, **limits}
    (folder / "cluster.json").write_text(json.dumps({"engine": {"name": "trtllm"}, "limits": limits}))


@pytest.mark.parametrize(("left", "status"), [(16000, 0), (7000, -9)])
def test_a_rank_is_ended_while_its_node_still_answers(tmp_path: Path, left: int, status: int) -> None:
    """16000 MiB would be too few while it loads."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 125829120 kB\nMemAvailable: {17000 * 1024} kB\n")
    write_node(tmp_path, meminfo)
    # As the launcher: a shell, with the rank below it; and as MPI's worker of an only rank, in a session of its own.
    apart = f"setsid sleep {10 if status else 1} &"
    command = ["sh", "-c", f"echo $RANK_OF $CUDA_HOME ${{PATH%%:*}}; {apart} (sleep 2; echo loaded) & wait"]
    rank = program(tmp_path, "rank.run(sys.argv[1:])", *command)
    assert rank.stdout.readline() == "spark2 /cuda /cuda/bin\n"  # the guard looks by now, and an earlier note is gone
    (tmp_path / memory.LOADED).touch()
    time.sleep(0.3)
    meminfo.write_text(f"MemTotal: 125829120 kB\nMemAvailable: {left * 1024} kB\n")
    began = time.monotonic()
    out, err = rank.communicate(timeout=30)
    assert rank.returncode == status, err
    assert out == ("" if status else "loaded\n")
    if status:
        assert time.monotonic() - began < 8, "what held the pipe beside the rank, for 10 s, has gone with it"


@pytest.mark.parametrize("rate", [14336, 71680], ids=["7 GiB in half a second", "7 GiB in a tenth of a second"])
def test_a_rank_that_takes_memory_by_the_gibibyte_is_ended_above_the_floor(tmp_path: Path, rate: int) -> None:
    """The stand-in of the lab takes it; a Spark was seen to go from 34.0 to 12.7 GiB in 1.5 seconds."""
    meminfo = tmp_path / "meminfo"
    start = 34 + rate // 2048  # GiB
    meminfo.write_text("".join(f"{name}: {start << 20} kB\n" for name in ("MemFree", "MemAvailable")))
    write_node(tmp_path, meminfo)
    (tmp_path / "take-memory").write_text(f"{meminfo} {rate}")
    taking = (
        f"import sys, time; sys.path.insert(0, {str(LAB_ENGINE)!r}); from tensorrt_llm.simulation import faults; "
        "time.sleep(0.5); faults.take_memory(); time.sleep(20)"
    )
    rank = program(
        tmp_path,
        f"import os; os.environ['VIRTUAL_SPARK_ENGINE_FAULTS'] = {str(tmp_path)!r}; rank.run(sys.argv[1:])",
        sys.executable,
        "-c",
        taking,
    )
    _out, err = rank.communicate(timeout=20)
    assert rank.returncode == -9, err
    left = int(re.search(r"MemAvailable:\s*(\d+)", meminfo.read_text())[1]) // 1024
    assert left >= 16384, f"{left} MiB were left; {err}"
    assert re.search(r"spark2 has \d+ MiB available, \d+ of them free, and loses \d+ MiB a second", err), err
    assert "engine_serve_memory_load_floor_mib" in err


def test_caches_are_dropped_where_that_was_consented_to(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(paths, "DROP_CACHES", tmp_path / "drop_caches")
    memory.drop_caches()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "drop_caches").touch()
    memory.drop_caches()
    assert (tmp_path / "drop_caches").read_text() == "3\n"
    monkeypatch.setattr(paths, "DROP_CACHES", tmp_path)  # one that cannot be written
    memory.drop_caches()
    assert "the caches were not dropped" in capsys.readouterr().err


@pytest.mark.parametrize(("free", "loaded", "dropped"), [(1024, False, "3\n"), (1024, True, ""), (60000, False, "")])
def test_a_rank_that_loads_drops_caches_when_little_is_free(
    tmp_path: Path, free: int, loaded: bool, dropped: str
) -> None:
    """Where that was consented to: what is left of the page cache is lost to the KV cache."""
    meminfo, switch = tmp_path / "meminfo", tmp_path / "drop_caches"
    meminfo.write_text(f"MemTotal: 125829120 kB\nMemFree: {60000 * 1024} kB\nMemAvailable: {60000 * 1024} kB\n")
    switch.touch()
    write_node(tmp_path, meminfo)
    begun, end = tmp_path / "begun", tmp_path / "end"
    loading = ["sh", "-c", f"touch {begun}; until [ -e {end} ]; do sleep 0.05; done"]
    rank = program(tmp_path, f"paths.DROP_CACHES = pathlib.Path({str(switch)!r}); rank.run(sys.argv[1:])", *loading)
    assert seen(begun.exists)
    if loaded:
        (tmp_path / memory.LOADED).touch()
        time.sleep(0.3)
    assert switch.read_text() == ""
    meminfo.write_text(f"MemTotal: 125829120 kB\nMemFree: {free * 1024} kB\nMemAvailable: {60000 * 1024} kB\n")
    seen(lambda: switch.read_text() == "3\n", 10 if dropped else 0.7)
    end.touch()
    _out, err = rank.communicate(timeout=10)
    assert (rank.returncode, switch.read_text()) == (0, dropped), err


def seen(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether something comes true within some seconds."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def test_a_worker_says_what_it_has(tmp_path: Path, monkeypatch) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 62914560 kB\nMemFree: 1048576 kB\nMemAvailable: 2097152 kB\n")
    own = {"name": "spark1", "meminfo": str(meminfo)}
    cluster = {"nodes": [{"name": "spark1"}, {"name": "spark2"}], "limits": {**NEED, "memory_wait_s": 0}}
    monkeypatch.setattr(ssh, "on_worker", lambda _member, word, _timeout: "61440 512 900\n" if word == "memory" else "")
    found = memory.of_all(cluster, own)
    assert [one[1:] for one in found.values()] == [(HALF, 1024, 2048), (HALF, 512, 900)]
    with pytest.raises(RuntimeError, match="spark2 has 900 MiB available, and its rank needs 58000"):
        memory.await_enough(cluster, own)
