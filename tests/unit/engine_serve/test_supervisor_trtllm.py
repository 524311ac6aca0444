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
from supervisor import paths
from supervisor.engines import trtllm


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
