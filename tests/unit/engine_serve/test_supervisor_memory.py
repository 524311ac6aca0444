# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that is short of memory is named, and its rank is ended in time."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from supervisor import memory, paths
from supervisor_support import program


@pytest.mark.parametrize(
    ("available", "says"),
    [
        ({"spark1": 80000, "spark2": 80000}, ""),
        (
            {"spark1": 80000, "spark2": 3000},
            "spark2 has 3000 MiB available, and a rank needs 70000: end what else uses it",
        ),
    ],
)
def test_a_node_that_is_short_of_memory_is_named(available: dict[str, int], says: str) -> None:
    assert memory.shortage(available, 70000) == says


@pytest.mark.parametrize(("left", "status"), [(4096, 0), (1024, -9)])
def test_a_rank_is_ended_before_its_node_freezes(tmp_path: Path, left: int, status: int) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 125829120 kB\nMemAvailable: {4096 * 1024} kB\n")
    (tmp_path / "node.json").write_text(
        json.dumps({"name": "spark2", "environment": {"RANK_OF": "spark2"}, "meminfo": str(meminfo)})
    )
    (tmp_path / "environment.json").write_text(json.dumps({"CUDA_HOME": "/cuda", "PATH": "/cuda/bin"}))
    (tmp_path / "cluster.json").write_text(
        json.dumps(
            {
                "engine": {"name": "trtllm"},
                "limits": {"memory_floor_mib": 2048, "memlock_bytes": -1, "require_rdma": True},
            }
        )
    )
    # As the launcher: a shell, with the rank below it; and as MPI's worker of an only rank, in a session of its own.
    apart = "setsid sleep 4 &"
    command = ["sh", "-c", f"echo $RANK_OF $CUDA_HOME ${{PATH%%:*}}; {apart} (sleep 2; echo loaded) & wait"]
    rank = program(tmp_path, "rank.run(sys.argv[1:])", *command)
    time.sleep(0.5)
    meminfo.write_text(f"MemTotal: 125829120 kB\nMemAvailable: {left * 1024} kB\n")
    began = time.monotonic()
    out, err = rank.communicate(timeout=10)
    assert rank.returncode == status, err
    assert out == "spark2 /cuda /cuda/bin\n" + ("" if status else "loaded\n")
    assert ("spark2 has 1024 MiB available, less than 2048" in err) == bool(status)
    if status:
        assert time.monotonic() - began < 2.5, "what held the pipe beside the rank has gone with it"


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
