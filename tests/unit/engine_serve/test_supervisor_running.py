# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that runs: its lines, and its server."""

from __future__ import annotations

import time
from types import SimpleNamespace

from supervisor import engines, keeper, nccl, running
from supervisor_support import CLUSTER


def unstarted() -> running.Running:
    """One of which no program was started."""
    one = running.Running.__new__(running.Running)
    one.engine, one.transports = engines.of(CLUSTER), nccl.Transports()
    one.progress = one.error = one.why = ""
    one.kv_tokens, one.heard = 0, 0.0
    return one


def test_the_launchers_key_does_not_get_into_the_log(capsys) -> None:
    one = unstarted()
    one._listen(SimpleNamespace(stdout=[f"+ TLLM_SPAWN_PROXY_PROCESS_IPC_HMAC_KEY={'5ace' * 16}\n"]))
    assert capsys.readouterr().out == "+ TLLM_SPAWN_PROXY_PROCESS_IPC_HMAC_KEY=***\n"


def test_the_last_line_about_the_kv_cache_counts() -> None:
    """As the engine of an owner's Spark said it: of the cache by which it measures, then of the one that serves."""
    one = unstarted()
    said = "[TensorRT-LLM][INFO] [MemUsageChange] Allocated {} GiB for max tokens in paged KV cache ({}).\n"
    lines = [said.format("0.56", 8224), "[TRT-LLM] [I] cache_transceiver is disabled\n", said.format("5.95", 86720)]
    one._listen(SimpleNamespace(stdout=[*lines, "[TensorRT-LLM][INFO] Number of tokens per block: 32.\n"]))
    assert one.kv_tokens == 86720
    assert one.heard > 0


def test_a_server_that_came_and_went_between_two_looks_is_gone(monkeypatch) -> None:
    one = unstarted()
    one._processes = [SimpleNamespace(poll=lambda: None)]  # a launcher that goes on without it
    one._seen, one._began = False, 0.0
    there: list[list[bytes]] = []
    clock = SimpleNamespace(now=1.0)
    monkeypatch.setattr(running.processes, "command_lines", lambda: there)
    monkeypatch.setattr(running.time, "monotonic", lambda: clock.now)
    assert one.alive(), "it is yet to appear"
    clock.now = 61.0
    assert not one.alive()
    there.append([b"python3", b"-m", b"tensorrt_llm.commands.serve"])
    assert one.alive()
    there.clear()
    assert not one.alive()


def test_what_a_keeper_says_is_no_cause() -> None:
    """As two real ranks said it whose arguments were wrong: the sshd of the other node cuts off what has ended."""
    one = unstarted()
    one._listen(SimpleNamespace(stdout=["dgx-spark: spark2 has 900 MiB available: its rank is ended\n"]))
    for words in (keeper.CUT, f"{keeper.LEFT}, and 1 processes that it left were ended"):
        one._listen(SimpleNamespace(stdout=[f"dgx-spark: {words}\n"]))
        assert one.why == "spark2 has 900 MiB available: its rank is ended"


def test_the_transports_are_read_from_every_line() -> None:
    one = unstarted()
    one.transports = nccl.Transports(["spark1"])
    one._listen(SimpleNamespace(stdout=["spark1:1:2 [0] NCCL INFO Using network Socket\n"]))
    assert one.transports.ranks["spark1"]["transport"] == "Socket"


class TwoCommands(engines.Engine):
    """SIMULATED: an engine without MPI, whose rank on every node is a command of its own."""

    def check_nodes(self) -> None:
        pass

    def environment(self) -> dict[str, str]:
        return {"NCCL_DEBUG": "INFO"}

    def commands(self) -> dict[str, list[str]]:
        return {"spark1": ["sh", "-c", "echo head $NCCL_DEBUG; exec sleep 60"], "spark2": ["serve", "--rank", "1 of 2"]}

    def is_server(self, command_line) -> bool:
        return True

    def progress(self, line: str) -> str:
        return ""

    def error(self, line: str) -> str:
        return ""

    def is_busy(self, address: str, timeout: float, pause: float) -> bool:
        return False


def test_an_engine_without_mpi_has_a_command_on_every_node(tmp_path, monkeypatch, capsys) -> None:
    """Those of other nodes go by ssh; when one ends, with status 0 too, the engine has ended."""
    (tmp_path / "ssh").write_text('#!/bin/sh\necho "$1 runs: $2"; sleep 2; exit 0\n')
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    one = running.Running(TwoCommands(CLUSTER))
    assert one.alive()
    end = time.monotonic() + 60
    while one.alive() and time.monotonic() < end:
        time.sleep(0.1)
    assert not one.alive()
    assert one.status() == 0
    one.end(5)
    assert [process.poll() for process in one._processes] == [-15, 0]
    one.causes()
    said = capsys.readouterr().out
    assert "head INFO" in said
    assert "spark2 runs: env DGX_SPARK_TETHER=1 NCCL_DEBUG=INFO serve --rank '1 of 2'" in said
