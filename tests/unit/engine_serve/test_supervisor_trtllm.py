# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular to TensorRT-LLM while it runs."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Iterator

import pytest
import yaml
from supervisor import paths
from supervisor.engines import trtllm
from supervisor.memory import Reading
from supervisor_support import ONE


@contextlib.contextmanager
def engine(answers: list[bytes], status: int = 200) -> Iterator[str]:
    """SIMULATED: an engine's /metrics, one answer after the other, the last one for ever."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answers.pop(0) if len(answers) > 1 else answers[0])

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("answers", "status", "flow"),
    [
        ([b"[]", b'[{"iter": 7}]'], 200, True),
        ([b'[{"iter": 7}]', b"[]"], 200, False),
        ([b"[]"], 200, False),
        ([b'[{"iter": 7}]'], 503, False),
        ([b"none"], 200, False),
    ],
    ids=["busy", "was busy long ago", "idle or not counted", "dead", "another server"],
)
def test_a_busy_engine_is_not_a_dead_one(answers: list[bytes], status: int, flow: bool) -> None:
    with engine(answers, status) as address:
        assert trtllm.makes_tokens(address, timeout=5, pause=0) == flow


@pytest.mark.parametrize("follows", [True, False])
def test_a_count_that_does_not_end_while_tokens_flow(follows: bool, monkeypatch) -> None:
    """SIMULATED, as up to TensorRT-LLM 1.2: its /metrics goes on as long as there is something to tell."""
    monkeypatch.setattr(trtllm, "QUIET", 0.15)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                time.sleep(1)
            with contextlib.suppress(OSError):
                self.send_response(200)
                self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            assert trtllm.makes_tokens(f"127.0.0.1:{server.server_port}", 0.3, 0, follows) == follows
        finally:
            server.shutdown()


@pytest.mark.parametrize("follows", [True, False])
def test_an_engine_that_accepts_and_never_answers_is_dead(follows: bool, monkeypatch) -> None:
    monkeypatch.setattr(trtllm, "QUIET", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert not trtllm.makes_tokens(address, timeout=0.2, pause=0, follows=follows)


def test_what_was_tuned_is_kept_and_ends_no_engine(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.setenv("DGX_SPARK_CONFIG", "0123-abcd")
    kept = tmp_path / "cache" / "abcd" / "autotuner" / "0123.json"
    assert trtllm.autotuner_cache() == {"TLLM_AUTOTUNER_CACHE_PATH": str(kept)}
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    ranks, others = kept.with_name("0123.rank0.json"), kept.with_name("4567.json")
    for path in (ranks, others):
        path.write_text('{"metadata": ')  # its writer was killed
    assert trtllm.autotuner_cache()
    assert sorted(path.name for path in kept.parent.iterdir()) == ["0123.json", "4567.json"]
    monkeypatch.setattr(trtllm.shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
    assert trtllm.autotuner_cache() == {}


SIZES = {
    "memory_need_mib": 58000 + 24576,
    "memory_reserve_mib": 24576,
    "memory_floor_mib": 8192,
    "memory_load_floor_mib": 16384,
}


@pytest.mark.parametrize(
    ("available", "total", "fit", "fraction"),
    [
        ([114000], 122880, True, "0.59"),  # 22.5 GB of 56 are kept
        ([114000, 90000], 122880, True, "0.29"),  # the node with the least
        ([400000], 500000, True, "0.8"),
        ([114000], 122880, False, "0.8"),  # somebody has said it
        ([90000], 61440, True, "0.64"),
    ],
)
def test_the_kv_cache_is_as_large_as_the_guards_floor_lets_it_be(
    available: list[int], total: int, fit: bool, fraction: str, tmp_path: Path, monkeypatch
) -> None:
    own, run = tmp_path / "etc", tmp_path / "run"
    for place in (own, run):
        place.mkdir()
    text = "kv_cache_config:\n    dtype: auto\n    free_gpu_memory_fraction: 0.8\nprint_iter_log: false\n"
    (own / "llm.yml").write_text(text)
    monkeypatch.setattr(paths, "CONFIG", own)
    monkeypatch.setattr(paths, "RUN", run)
    serve = ["trtllm-serve", "/models", "--extra_llm_api_options", "/etc/dgx-spark/engine/llm.yml"]
    settings = {"name": "trtllm", "fit_kv_cache": fit}
    engine = trtllm.TensorRTLLM({**ONE, "serve": serve, "engine": settings, "limits": SIZES})
    engine.memory = {f"spark{number}": Reading(0, total, 0, left) for number, left in enumerate(available)}
    asked = engine.commands()["spark1"][-1]
    if fraction == "0.8":
        assert asked == serve[-1]
    else:
        assert asked == str(run / "llm.yml")
        assert (run / "llm.yml").read_text() == text.replace("0.8", fraction)


@pytest.mark.parametrize(
    ("given", "fit", "budget", "written"),
    [
        # 80000 in all, less 58000 of weights and 6144 beside them
        ({}, True, 80000, {"max_gpu_total_bytes": 15856 << 20, "free_gpu_memory_fraction": 0.59}),
        ({}, True, 0, {"free_gpu_memory_fraction": 0.59}),
        ({}, False, 80000, {"max_gpu_total_bytes": 15856 << 20, "free_gpu_memory_fraction": 0.8}),
        ({"max_tokens": 4096}, True, 80000, {"max_tokens": 4096, "free_gpu_memory_fraction": 0.59}),
        (
            {"max_gpu_total_bytes": 1 << 30},
            True,
            80000,
            {"max_gpu_total_bytes": 1 << 30, "free_gpu_memory_fraction": 0.59},
        ),
        ({"max_gpu_total_bytes": 0}, False, 0, None),
        ({}, False, 0, None),
    ],
)
def test_a_budget_bounds_the_kv_cache_unless_somebody_has_said_its_size(
    given: dict, fit: bool, budget: int, written: dict | None, tmp_path: Path, monkeypatch
) -> None:
    own, run = tmp_path / "etc", tmp_path / "run"
    for place in (own, run):
        place.mkdir()
    kv_cache = {"dtype": "auto", "free_gpu_memory_fraction": 0.8, **given}
    options = {"kv_cache_config": kv_cache, "print_iter_log": False}
    (own / "llm.yml").write_text(yaml.safe_dump(options, indent=4, default_flow_style=False))
    monkeypatch.setattr(paths, "CONFIG", own)
    monkeypatch.setattr(paths, "RUN", run)
    serve = ["trtllm-serve", "/models", "--extra_llm_api_options", "/etc/dgx-spark/engine/llm.yml"]
    limits = {**SIZES, **({"memory_budget_mib": budget} if budget else {})}
    settings = {"name": "trtllm", "fit_kv_cache": fit}
    engine = trtllm.TensorRTLLM({**ONE, "serve": serve, "engine": settings, "limits": limits})
    engine.memory = {"spark1": Reading(0, 122880, 0, 114000)}
    asked = engine.commands()["spark1"][-1]
    if written is None:
        assert asked == serve[-1]
        return
    found = yaml.safe_load((run / "llm.yml").read_text())
    assert (asked, found["print_iter_log"]) == (str(run / "llm.yml"), False)
    assert found["kv_cache_config"] == {"dtype": "auto", **written}


@pytest.mark.parametrize(
    ("tokens", "least", "says"), [(86720, 0, ""), (86720, 86720, ""), (0, 100, ""), (86720, 100000, "86720 tokens fit")]
)
def test_fewer_tokens_than_asked_for_fail_a_start_with_the_mend(tokens: int, least: int, says: str, capsys) -> None:
    engine = trtllm.TensorRTLLM({**ONE, "engine": {"name": "trtllm", "min_kv_tokens": least}})
    found = engine.too_few(tokens)
    assert found.startswith(says)
    assert bool(found) == bool(says)
    assert not says or "engine_serve_drop_caches: true" in found
    assert ("does not tell how many tokens" in capsys.readouterr().err) == (not tokens)


def test_while_a_play_tries_other_options_a_start_goes_by_its_own(tmp_path: Path, monkeypatch) -> None:
    kept = tmp_path / "kept" / "aaaa-1111"
    kept.mkdir(parents=True)
    monkeypatch.setattr(paths, "CONFIG", tmp_path)
    serve = ["trtllm-serve", "/models", "--extra_llm_api_options", "/etc/dgx-spark/engine/llm.yml"]
    engine = trtllm.TensorRTLLM({**ONE, "serve": serve, "engine": {"name": "trtllm"}})
    monkeypatch.setenv("DGX_SPARK_CONFIG", "bbbb-2222")
    assert engine.commands()["spark1"][-1] == serve[-1]
    monkeypatch.setenv("DGX_SPARK_CONFIG", "aaaa-1111")
    assert engine.commands()["spark1"][-1] == str(kept / "llm.yml")
