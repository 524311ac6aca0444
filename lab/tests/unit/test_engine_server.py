# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP server of the engine's stand-in, on an engine of one rank."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from engine_support import ENGINE, a_node, load, write_model

answers, engine, faults, model, node, requests, server = (
    load(f"simulation.{name}") for name in ("answers", "engine", "faults", "model", "node", "requests", "server")
)
serve = load("commands.serve")

HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "hello there"}]}


class Dying:
    """An engine whose leader may vanish."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.gone = inner, False

    def step(self, request: str, new: bool) -> str:
        if self.gone:
            raise load("simulation.proxy").GoneError("the leader is gone")
        return self.inner.step(request, new)


class Client:
    """A server, and how to ask it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        solo = engine.SoloEngine(a_node(node.Alone()))
        ranks = solo.load({"model": str(folder), "tp": 1, "seconds": 0})
        self.engine = Dying(solo)
        settings = {"model": "tiny", "version": "1.3.0rc13", "token_seconds": 0, **settings}
        self.api = server.Api(self.engine, ranks, server.Settings(**settings))
        self.fatal: list[int] = []
        self.http = server.Server(server.bind("127.0.0.1", 0), self.api, fatal=lambda: self.fatal.append(1))
        self.port = self.http.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def ask(self, path: str, body: Any = None, method: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method or ("GET" if body is None else "POST"), path, data)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        return reply.status, json.loads(text) if text[:1] in ("{", "[") else text

    def end(self) -> None:
        self.http.end()
        self.thread.join(5)
        self.http.server_close()


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("VIRTUAL_SPARK_ENGINE_FAULTS", str(tmp_path))
    folder = write_model(tmp_path / "model")
    started: list[Client] = []

    def one(**settings: Any) -> Client:
        started.append(Client(folder, **settings))
        return started[-1]

    yield one
    for client in started:
        client.end()


def events(text: str) -> list[Any]:
    lines = [line[len("data: ") :] for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_what_it_is(start: Any) -> None:
    client = start()
    assert client.ask("/health") == (200, "")
    assert client.ask("/version") == (200, {"version": "1.3.0rc13"})
    assert client.ask("/health_generate") == (200, "Generation health check OK")
    status, models = client.ask("/v1/models")
    assert (status, models["data"][0]["id"], models["data"][0]["owned_by"]) == (200, "tiny", "tensorrt_llm")
    assert client.ask("/nowhere") == (404, {"detail": "Not Found"})
    assert client.ask("/v1/chat/completions") == (405, {"detail": "Method Not Allowed"})


def test_a_chat_says_who_wrote_it_and_holds_the_nonce(start: Any) -> None:
    status, said = start().ask("/v1/chat/completions", HELLO)
    content = said["choices"][0]["message"]["content"]
    assert status == 200
    assert "virtual Spark" in content
    assert "SIMULATED" in content
    assert said["virtual_spark"]["nonce"] in content
    assert said["virtual_spark"]["nonce"].startswith(said["virtual_spark"]["ranks"][-1]["incarnation"])
    assert said["choices"][0]["finish_reason"] == "stop"
    assert said["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": len(answers.tokens(content)),
        "total_tokens": 3 + len(answers.tokens(content)),
    }


PNG = (  # 1 pixel, red
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)


@pytest.mark.parametrize(("sees", "status"), [(True, 200), (False, 400)])
def test_a_picture_in_a_chat(start: Any, sees: bool, status: int) -> None:
    parts = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    body = {**HELLO, "messages": [{"role": "user", "content": parts}]}
    found, said = start(sees=sees).ask("/v1/chat/completions", body)
    assert found == status
    if sees:
        assert said["virtual_spark"]["pictures"] == ["1x1"]
        assert "1x1 pixels" in said["choices"][0]["message"]["content"]
        (last,) = events(start(sees=True).ask("/v1/chat/completions", {**body, "stream": True})[1])[-1:]
        assert last["virtual_spark"]["pictures"] == ["1x1"]
    else:
        assert (said["type"], said["message"]) == ("BadRequestError", "Unknown modality: image")


def test_a_model_without_a_chat_template_completes_and_does_not_chat(start: Any) -> None:
    client = start(no_chat="No chat template found")
    status, said = client.ask("/v1/chat/completions", HELLO)
    assert (status, said["message"]) == (400, "No chat template found")
    assert client.ask("/v1/completions", {"model": "m", "prompt": "x"})[0] == 200


def test_where_a_chat_template_is_looked_for(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    assert not model.no_chat(folder, {})
    (folder / "chat_template.jinja").unlink()
    assert "No chat template" in model.no_chat(folder, {})
    (folder / "tokenizer_config.json").write_text("{}")
    assert "No chat template" in model.no_chat(folder, {})
    (folder / "tokenizer_config.json").write_text('{"chat_template": ""}')
    assert not model.no_chat(folder, {})


def test_gpt_oss_chats_where_its_vocabulary_is(tmp_path: Path) -> None:
    folder, env = write_model(tmp_path, model_type="gpt_oss"), {"TIKTOKEN_ENCODINGS_BASE": str(tmp_path)}
    assert "failed to download or load vocab file" in model.no_chat(folder, {})
    assert "failed to download or load vocab file" in model.no_chat(folder, env)
    (tmp_path / "o200k_base.tiktoken").touch()
    assert not model.no_chat(folder, env)


@pytest.mark.parametrize(
    ("more", "made", "finish"),
    [
        ({"max_tokens": 1}, 1, "length"),
        ({"max_completion_tokens": 4}, 4, "length"),
        ({"max_tokens": 4000}, 31, "stop"),
        ({"max_tokens": 100, "ignore_eos": True}, 100, "length"),
        ({"min_tokens": 50}, 50, "stop"),
    ],
)
def test_the_length_of_an_answer(start: Any, more: dict[str, Any], made: int, finish: str) -> None:
    _status, said = start().ask("/v1/chat/completions", {**HELLO, **more})
    assert (said["usage"]["completion_tokens"], said["choices"][0]["finish_reason"]) == (made, finish)


def test_streams(start: Any) -> None:
    client = start()
    body = {**HELLO, "stream": True, "max_tokens": 5}
    chunks = events(client.ask("/v1/chat/completions", {**body, "stream_options": {"include_usage": True}})[1])
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(one["choices"][0]["delta"]["content"] for one in chunks[:-1]) == "This was written by a"
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 5
    assert len({one["id"] for one in chunks}) == 1
    assert "usage" not in events(client.ask("/v1/chat/completions", body)[1])[-1]
    body = {"model": "tiny", "prompt": ["a", "b"], "stream": True, "max_tokens": 2}
    chunks = events(client.ask("/v1/completions", body)[1])
    assert [
        "".join(one["choices"][0]["text"] for one in chunks if one["choices"][0]["index"] == i) for i in (0, 1)
    ] == ["This was"] * 2


@pytest.mark.parametrize(
    ("prompt", "choices", "words"), [("x y", 1, 2), (["x", "y z"], 2, 3), ([1, 2, 3], 1, 3), ([[1], [2, 3]], 2, 3)]
)
def test_completions(start: Any, prompt: Any, choices: int, words: int) -> None:
    status, said = start().ask("/v1/completions", {"model": "tiny", "prompt": prompt, "max_tokens": 2})
    assert (status, len(said["choices"]), said["usage"]["prompt_tokens"]) == (200, choices, words)
    assert said["choices"][-1]["text"] == "This was"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("chat/completions", {"model": "m", "prompt": "x"}, "'loc': ('body', 'messages'), 'msg': 'Field required'"),
        ("chat/completions", {"model": "m", "prompt": "x"}, "'type': 'extra_forbidden', 'loc': ('body', 'prompt')"),
        ("chat/completions", {"messages": []}, "('body', 'model')"),
        ("chat/completions", {**HELLO, "messages": "x"}, "'type': 'list_type'"),
        ("chat/completions", {**HELLO, "messages": [{}]}, "('body', 'messages', 'role')"),
        ("chat/completions", {**HELLO, "max_tokens": True}, "'type': 'int_type'"),
        ("chat/completions", {**HELLO, "stream_options": {"include_usage": True}}, "only be defined when stream"),
        ("chat/completions", [], "model_attributes_type"),
        ("chat/completions", b"{", "json_invalid"),
        ("completions", {"model": "m", "messages": []}, "2 validation errors:"),
    ],
)
def test_bad_requests_are_400(start: Any, path: str, body: Any, words: str) -> None:
    status, said = start().ask(f"/v1/{path}", body)
    assert status == 400
    assert words in said["error"]


def test_parts_of_a_message_are_counted(start: Any) -> None:
    parts = [{"type": "text", "text": "one two"}, {"type": "text", "text": "three"}]
    body = {**HELLO, "messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]}
    assert start().ask("/v1/chat/completions", body)[1]["usage"]["prompt_tokens"] == 5


def test_prompts_that_are_too_long(start: Any) -> None:
    status, said = start(max_num_tokens=2).ask("/v1/chat/completions", HELLO)
    assert (status, said["type"], said["code"]) == (400, "BadRequestError", 400)
    client = start(max_seq_len=10)
    assert client.ask("/v1/chat/completions", HELLO)[1]["usage"]["total_tokens"] == 10
    long = {**HELLO, "messages": [{"role": "user", "content": "x " * 9}]}
    assert client.ask("/v1/chat/completions", long)[0] == 400


def test_metrics_are_read_once(start: Any) -> None:
    client = start(enable_iter_perf_stats=True, return_perf_metrics=True, perf_metrics_max_requests=2)
    for _ in range(3):
        client.ask("/v1/chat/completions", {**HELLO, "max_tokens": 4})
    assert [one["iter"] for one in client.ask("/metrics")[1]] == list(range(1, 13))
    assert client.ask("/metrics") == (200, [])
    timing = client.ask("/perf_metrics")[1]
    assert [one["request_id"] for one in timing] == [2, 3]
    assert client.ask("/perf_metrics") == (200, [])
    status, text = client.ask("/prometheus/metrics")
    assert status == 200
    assert (
        'trtllm_request_success_total{engine_type="undefined",model_name="undefined",finished_reason="length"} 3.0'
        in text
    )
    assert "trtllm_time_per_output_token_seconds_count" in text
    assert 'trtllm_generation_tokens_total{engine_type="undefined",model_name="undefined"} 12.0' in text
    assert (
        'trtllm_time_to_first_token_seconds_bucket{engine_type="undefined",model_name="undefined",le="10.0"} 3.0'
        in text
    )


def test_metrics_end_before_1_3_when_nothing_new_comes(start: Any) -> None:
    client = start(era="1.2.0rc1", enable_iter_perf_stats=True)
    client.ask("/v1/chat/completions", {**HELLO, "max_tokens": 4})
    began = time.monotonic()
    assert [one["iter"] for one in client.ask("/metrics")[1]] == [1, 2, 3, 4]
    assert time.monotonic() - began >= 2


def test_metrics_that_nobody_asked_for(start: Any) -> None:
    client = start()
    client.ask("/v1/chat/completions", {**HELLO, "max_tokens": 1})
    assert client.ask("/metrics") == (200, [])
    assert client.ask("/perf_metrics") == (200, [])
    assert client.ask("/prometheus/metrics") == (404, {"detail": "Not Found"})


# --- faults and ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("era", "health"), [("1.2.0rc1", 200), ("1.3.0rc", 503), ("main", 503)])
def test_an_engine_that_is_dead_in_living_processes(start: Any, tmp_path: Path, era: str, health: int) -> None:
    client = start(era=era)
    (tmp_path / faults.ENGINE_DEAD).touch()
    for _ in range(2):
        assert client.ask("/health")[0] == health
        assert client.ask("/v1/chat/completions", HELLO)[0] == 500
        assert client.ask("/health_generate")[0] == 500
    assert client.fatal == []  # for ever: the server lives
    (tmp_path / faults.ENGINE_DEAD).unlink()
    assert client.ask("/v1/chat/completions", HELLO)[0] == 200
    assert client.api.statistics.active == 0


def test_an_engine_that_is_gone_takes_its_server_along(start: Any) -> None:
    client = start()
    client.engine.gone = True
    assert client.ask("/health") == (503, server.UNAVAILABLE)
    assert client.ask("/v1/chat/completions", HELLO)[0] == 500
    end = time.monotonic() + 60  # it answers first, and ends the server then
    while len(client.fatal) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert client.fatal == [1, 1]


def test_a_stream_is_cut_when_the_engine_dies(start: Any, tmp_path: Path) -> None:
    client = start(token_seconds=0.05)
    threading.Timer(0.12, (tmp_path / faults.ENGINE_DEAD).touch).start()
    with pytest.raises(http.client.IncompleteRead):
        client.ask("/v1/chat/completions", {**HELLO, "stream": True})
    assert client.api.statistics.active == 0


def test_slow_tokens(start: Any, tmp_path: Path) -> None:
    client = start()
    (tmp_path / faults.SLOW_TOKENS).write_text("0.1")
    before = time.monotonic()
    client.ask("/v1/chat/completions", {**HELLO, "max_tokens": 3})
    assert time.monotonic() - before >= 0.3


def test_accepted_and_never_answered(start: Any, tmp_path: Path) -> None:
    client = start()
    (tmp_path / faults.NO_ANSWER).touch()
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=0.3)
    connection.request("GET", "/health")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    (tmp_path / faults.NO_ANSWER).unlink()
    assert client.ask("/health")[0] == 200


def test_a_batch_is_never_larger_than_allowed(start: Any) -> None:
    client = start(max_batch_size=2, token_seconds=0.01)
    busiest: list[int] = []
    step = client.engine.step
    client.engine.step = lambda *what: (busiest.append(client.api.statistics.active), step(*what))[1]
    asking = [
        threading.Thread(target=client.ask, args=("/v1/chat/completions", {**HELLO, "max_tokens": 3})) for _ in range(5)
    ]
    for one in asking:
        one.start()
    for one in asking:
        one.join(5)
    assert max(busiest) == 2
    assert (client.api.statistics.active, client.api.statistics.queued) == (0, 0)


def test_its_end_waits_for_answers_but_not_for_idle_connections(start: Any) -> None:
    client = start(token_seconds=0.05)
    idle = http.client.HTTPConnection("127.0.0.1", client.port, timeout=5)
    idle.request("GET", "/health")
    idle.getresponse().read()
    said: list[Any] = []
    body = {**HELLO, "max_tokens": 6}
    asking = threading.Thread(target=lambda: said.append(client.ask("/v1/chat/completions", body)))
    asking.start()
    time.sleep(0.1)
    before = time.monotonic()
    client.end()
    asking.join(5)
    assert said[0][0] == 200
    assert time.monotonic() - before < 2
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", client.port), timeout=1)


def test_a_client_that_leaves_gives_its_place_back(start: Any) -> None:
    client = start(token_seconds=0.02)
    with socket.create_connection(("127.0.0.1", client.port)) as leaving:
        body = json.dumps({**HELLO, "stream": True, "max_tokens": 200, "ignore_eos": True}).encode()
        leaving.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        leaving.recv(100)
    deadline = time.monotonic() + 60
    while client.api.statistics.active and time.monotonic() < deadline:
        time.sleep(0.02)
    assert client.api.statistics.active == 0


def test_it_binds_before_it_listens() -> None:
    with server.bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
        with pytest.raises(RuntimeError, match=f"Failed to bind socket to 127.0.0.1:{port}: "):
            server.bind("127.0.0.1", port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_whole_program_alone(tmp_path: Path, number: int) -> None:
    """One rank, no MPI: from the command line to an answer, and to its end by a signal."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA GB10 (UUID: GPU-0)'\n")
    smi.chmod(0o755)
    folder = write_model(tmp_path / "model")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorrt_llm.commands.serve", folder, "--host", "127.0.0.1", "--port", str(port)],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PYTHONPATH": str(ENGINE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "VIRTUAL_SPARK_ENGINE_LOAD_SECONDS": "0.1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout
        said = ""
        while "Uvicorn running" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        assert "SIMULATED" in said
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", "/v1/chat/completions", json.dumps(HELLO).encode())
        assert json.load(connection.getresponse())["virtual_spark"]["nonce_rank"] == 0
        connection.close()
        process.send_signal(number)
        assert process.wait(5) == -number
        assert "Finished server process" in process.stdout.read()
    finally:
        process.kill()
        process.wait()
