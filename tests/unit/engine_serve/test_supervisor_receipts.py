# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A start that serves leaves a receipt; the last few are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from supervisor import contract, memory, paths, probe, processes, progress, receipts, ssh
from supervisor.rank import MARK
from test_supervisor_probe import READY, server

VALUES = {
    "config": "0123456789ab-fedcba987654",
    "model": "tiny",
    "load_s": 95.2,
    "kv_tokens": 646272,
    "phase": "starting",
}
RANKS: dict[str, contract.Transport] = {
    "spark1": {"transport": "IB", "devices": "rocep1s0f0", "why": ""},
    "spark2": {"transport": "Socket", "devices": "enp1", "why": "no card"},
}


def test_what_a_receipt_says() -> None:
    reached = {"port": 80.04, "health": 90.26}
    made = receipts.of_start(VALUES, 7.5, reached, {"spark1": 3 << 30, "spark2": 5 << 30}, "2.28.3+cuda13.0", RANKS)
    assert made == {
        "at": 7.5,
        "config": "0123456789ab",
        "image": "fedcba987654",
        "model": "tiny",
        "port_s": 80.0,
        "health_s": 90.3,
        "first_token_s": 95.2,
        "bytes_loaded": 8 << 30,
        "nccl": "2.28.3+cuda13.0",
        "transports": {"spark1": "IB", "spark2": "Socket"},
        "kv_tokens": 646272,
    }
    assert set(made) == set(contract.Receipt.__annotations__)


def test_what_was_not_seen_is_told_as_such() -> None:
    made = receipts.of_start({"load_s": 1.0}, 7.5, {}, {"spark1": 5, "spark2": None}, "", {})
    assert (made["port_s"], made["health_s"], made["bytes_loaded"], made["config"]) == (None, None, None, "")


def test_the_last_few_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    before = [receipts.keep({"at": number}) for number in range(25)]
    assert before[0] is None
    assert before[-1] == {"at": 23}
    assert receipts.kept_in(tmp_path / "receipts.json") == [{"at": number} for number in range(15, 25)]


@pytest.mark.parametrize("broken", ["", "{", "{}", "null", "7"])
def test_half_a_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    (tmp_path / "receipts.json").write_text(broken)
    assert receipts.keep({"at": 1}) is None
    assert receipts.keep({"at": 2}) == {"at": 1}


def test_a_full_disk_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    (tmp_path / "receipts.new").mkdir()
    assert receipts.keep({"at": 1}) is None
    assert "receipts.json cannot be written" in capsys.readouterr().err


def test_port_and_health_are_reached_in_this_order() -> None:
    for wrong, wanted in (({}, ["port", "health"]), ({"/health": (503, b"")}, ["port"])):
        reached: list[str] = []
        with server({**READY, **wrong}) as address:
            probe.token(address, 5, "", reached.append)
        assert reached == wanted
    reached = []
    probe.token("127.0.0.1:1", 5, "", reached.append)
    assert reached == []


@pytest.mark.parametrize(("answer", "bytes_of_it"), [("4096\n", 4096), ("", None), ("many", None)])
def test_each_node_is_told_that_it_has_loaded_and_tells_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, bytes_of_it: int | None
) -> None:
    asked = []
    monkeypatch.setattr(paths, "RUN", tmp_path)
    monkeypatch.setattr(processes, "PROC", tmp_path)
    monkeypatch.setattr(ssh, "on_worker", lambda member, word, _timeout: asked.append((member["name"], word)) or answer)
    found = progress.tell_loaded({"nodes": [{"name": "spark1"}, {"name": "spark2"}]})
    assert asked == [("spark2", "loaded")]
    assert (tmp_path / memory.LOADED).exists()
    assert found["spark2"] == bytes_of_it
    assert found["spark1"] == 0, "no process here is of a rank"


def test_a_node_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def lost(*_words: object) -> str:
        raise RuntimeError("it went")

    monkeypatch.setattr(paths, "RUN", tmp_path)
    monkeypatch.setattr(ssh, "on_worker", lost)
    assert progress.tell_loaded({"nodes": [{"name": "spark1"}, {"name": "spark2"}]})["spark2"] is None
    assert (
        "spark2 was not told that its rank has loaded, and keeps the floor of a load: it went"
        in capsys.readouterr().err
    )


def test_what_came_by_calls_and_from_the_disk_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def process(name: str, environment: bytes, counters: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "environ").write_bytes(environment)
        (tmp_path / name / "io").write_text(counters)

    mark = f"HOME=/\0{MARK}=41\0".encode()
    process("41", mark, "rchar: 5000\nread_bytes: 4096\n")
    process("42", mark, "rchar: 100\nread_bytes: 8192\n")  # mapped
    process("43", b"HOME=/\0", "rchar: 7\nread_bytes: 7\n")
    monkeypatch.setattr(processes, "PROC", tmp_path)
    monkeypatch.setattr(paths, "RUN", tmp_path)
    assert progress.tell_loaded({"nodes": [{"name": "spark1"}]}) == {"spark1": 13192}
