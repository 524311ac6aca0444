# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the serving containers' supervisor decides, and what it writes for mpirun, ssh and sshd."""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

PATH = Path(__file__).parents[2] / "roles" / "trtllm_serve" / "files" / "image" / "entrypoint.py"
CLUSTER = {
    "nodes": [{"name": "spark1", "address": "192.168.100.1"}, {"name": "spark2", "address": "192.168.100.2"}],
    "subnets": ["192.168.100.0/24"],
    "ssh_port": 2233,
}
NODE = {**CLUSTER, "address": "192.168.100.1", "limits": {}, "api_probe": ""}  # cluster.json and node.json in one
LIMITS = {"failures": 3, "load_timeout_s": 1800, "max_starts": 3}


@pytest.fixture(scope="module")
def entrypoint() -> ModuleType:
    spec = importlib.util.spec_from_file_location("entrypoint", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mpirun_places_one_rank_a_node_and_forwards_names_only(entrypoint: ModuleType) -> None:
    argv = entrypoint.mpirun(CLUSTER, ["serve"], {"HF_HUB_OFFLINE": "1", "SECRET": "hidden"})
    assert argv[argv.index("-np") + 1] == "2"
    assert argv[argv.index("--host") + 1] == "localhost:1,spark2:1"
    for layer in ("btl", "oob"):  # the ranks, and the daemons that start them
        assert argv[argv.index(f"{layer}_tcp_if_include") + 1] == "192.168.100.0/24"
    assert [argv[i + 1] for i, word in enumerate(argv) if word == "-x"] == ["HF_HUB_OFFLINE", "SECRET"]
    assert "hidden" not in " ".join(argv), "values travel in the environment"
    assert argv[argv.index("--bind-to") + 1] == "none", "two ranks would get a core each"
    assert argv[-3:] == ["rank", "--", "serve"]
    assert not [word for word in argv if "orte" in word], "Open MPI 5 has none"


def test_mpirun_of_a_single_spark_needs_no_network(entrypoint: ModuleType) -> None:
    one = {**CLUSTER, "nodes": CLUSTER["nodes"][:1], "subnets": []}
    assert "--mca" not in entrypoint.mpirun(one, ["serve"], {})


def test_ssh_trusts_only_what_is_pinned(entrypoint: ModuleType) -> None:
    config = entrypoint.ssh_config(CLUSTER)
    assert "StrictHostKeyChecking yes" in config
    assert "Host spark2\n  HostName 192.168.100.2\n  HostKeyAlias [192.168.100.2]:2233\n" in config
    assert "Port 2233" in config
    server = entrypoint.sshd_config(CLUSTER, CLUSTER["nodes"][1])
    assert "ListenAddress 192.168.100.2\n" in server
    assert "PasswordAuthentication no" in server


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "spark1:412:412 [0] NCCL INFO NET/IB : Using [0]rocep1s0f0:1/RoCE [RO]; OOB enp1s0f0np0:192.168.100.1<0>",
            ("spark1", "IB", "[0]rocep1s0f0:1/RoCE [RO]; OOB enp1s0f0np0:192.168.100.1<0>"),
        ),
        (
            "[1,1]<stdout>:spark2:87:90 [0] NCCL INFO NET/Socket : Using [0]enp1s0f0np0:192.168.100.2<0>",
            ("spark2", "Socket", "[0]enp1s0f0np0:192.168.100.2<0>"),
        ),
        ("spark1:412:412 [0] NCCL INFO NET/IB : No device found.", None),
        ("spark1:412:412 [0] NCCL INFO Bootstrap : Using enp1s0f0np0:192.168.100.1<0>", None),
        ("Using NET/IB : Using everything", None),
        ("", None),
    ],
)
def test_transport_is_read_from_ncclss_own_line(entrypoint: ModuleType, line: str, found: object) -> None:
    assert entrypoint.transport_of(line) == found


@given(st.text())
def test_no_line_of_output_stops_the_supervisor(entrypoint: ModuleType, line: str) -> None:
    entrypoint.transport_of(line)


@pytest.mark.parametrize(
    ("alive", "served", "failures", "waited", "decision"),
    [
        (True, False, 1, 10, "wait"),
        (True, False, 900, 1799, "wait"),
        (True, False, 901, 1800, "not loaded after 1800 s"),
        (True, True, 0, 5000, "serve"),
        (True, True, 2, 5000, "wait"),
        (True, True, 3, 5000, "no token in 3 probes"),
        (False, True, 0, 10, "the engine ended"),
        (False, False, 5, 10, "the engine ended"),
    ],
)
def test_verdict(
    entrypoint: ModuleType, alive: bool, served: bool, failures: int, waited: float, decision: str
) -> None:
    assert entrypoint.verdict(alive, served, failures, waited, LIMITS) == decision


@pytest.mark.parametrize(
    ("state", "start"),
    [({}, (1, True)), ({"starts": 2}, (3, True)), ({"starts": 3}, (4, False)), ({"starts": 0}, (1, True))],
)
def test_starts_are_bounded(entrypoint: ModuleType, state: dict, start: tuple[int, bool]) -> None:
    assert entrypoint.next_start(state, LIMITS) == start


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
def test_a_node_that_is_short_of_memory_is_named(entrypoint: ModuleType, available: dict[str, int], says: str) -> None:
    assert entrypoint.short_of_memory(available, 70000) == says


@pytest.mark.parametrize(("left", "status"), [(4096, 0), (1024, -9)])
def test_a_rank_is_ended_before_its_node_freezes(tmp_path: Path, left: int, status: int) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 125829120 kB\nMemAvailable: {4096 * 1024} kB\n")
    (tmp_path / "node.json").write_text(
        json.dumps({"name": "spark2", "environment": {"RANK_OF": "spark2"}, "meminfo": str(meminfo)})
    )
    (tmp_path / "environment.json").write_text(json.dumps({"CUDA_HOME": "/cuda", "PATH": "/cuda/bin"}))
    (tmp_path / "cluster.json").write_text(
        json.dumps({"limits": {"memory_floor_mib": 2048, "memlock_bytes": -1, "require_rdma": True}})
    )
    start = f"import importlib.util, pathlib, sys; spec = importlib.util.spec_from_file_location('e', {str(PATH)!r}); "
    start += "e = importlib.util.module_from_spec(spec); spec.loader.exec_module(e); "
    start += f"e.ETC = e.VAR = pathlib.Path({str(tmp_path)!r}); e.ENVIRONMENT = e.ETC / 'environment.json'; "
    start += "e.rank(sys.argv[1:])"
    # As the launcher: a shell, with the rank below it; and as MPI's worker of an only rank, in a session of its own.
    apart = "setsid sleep 4 &"
    command = ["sh", "-c", f"echo $RANK_OF $CUDA_HOME ${{PATH%%:*}}; {apart} (sleep 2; echo loaded) & wait"]
    rank = subprocess.Popen(
        [sys.executable, "-c", start, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(0.5)
    meminfo.write_text(f"MemTotal: 125829120 kB\nMemAvailable: {left * 1024} kB\n")
    began = time.monotonic()
    out, err = rank.communicate(timeout=10)
    assert rank.returncode == status, err
    assert out == "spark2 /cuda /cuda/bin\n" + ("" if status else "loaded\n")
    assert ("spark2 has 1024 MiB available, less than 2048" in err) == bool(status)
    if status:
        assert time.monotonic() - began < 2.5, "what held the pipe beside the rank has gone with it"


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
def test_a_busy_engine_is_not_a_dead_one(entrypoint: ModuleType, answers: list[bytes], status: int, flow: bool) -> None:
    with engine(answers, status) as address:
        assert entrypoint.tokens_flow(address, timeout=5, pause=0) == flow


@pytest.mark.parametrize("follows", [True, False])
def test_a_count_that_does_not_end_while_tokens_flow(entrypoint: ModuleType, follows: bool, monkeypatch) -> None:
    """SIMULATED, as up to TensorRT-LLM 1.2: its /metrics goes on as long as there is something to tell."""
    monkeypatch.setattr(entrypoint, "QUIET", 0.15)

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
            assert entrypoint.tokens_flow(f"127.0.0.1:{server.server_port}", 0.3, 0, follows) == follows
        finally:
            server.shutdown()


def test_a_worker_that_fails_is_quoted(entrypoint: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\necho $1 is ill >&2; exit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(RuntimeError, match="memory on spark2 failed: spark2 is ill"):
        entrypoint.memories(CLUSTER, {"name": "spark1", "meminfo": "/proc/meminfo"})


@pytest.mark.parametrize("follows", [True, False])
def test_an_engine_that_accepts_and_never_answers_is_dead(entrypoint: ModuleType, follows: bool, monkeypatch) -> None:
    monkeypatch.setattr(entrypoint, "QUIET", 0.1)
    with entrypoint.socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert not entrypoint.tokens_flow(address, timeout=0.2, pause=0, follows=follows)


def program(folder: Path, statement: str, **options: Any) -> subprocess.Popen[str]:
    """The entrypoint in a process of its own, that knows this folder alone, and runs a statement with it as ``e``."""
    load = f"import importlib.util, pathlib; spec = importlib.util.spec_from_file_location('e', {str(PATH)!r}); "
    load += "e = importlib.util.module_from_spec(spec); spec.loader.exec_module(e); "
    load += f"e.ETC = e.VAR = e.RUN = pathlib.Path({str(folder)!r}); "
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([sys.executable, "-c", load + statement], **pipes)


def test_two_incarnations_never_meet_and_the_second_leaves_the_firsts_state_alone(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"phase": "serving"}')
    hold = "lock = e.alone(); print('mine', flush=True); input()"
    first = program(tmp_path, hold, stdin=subprocess.PIPE)
    assert first.stdout.readline() == "mine\n"
    second = program(tmp_path, "e.end_by_sigterm(); " + hold)
    assert "another run holds the lock" in second.stderr.readline()
    assert (tmp_path / "state.json").read_text() == '{"phase": "serving"}'
    second.terminate()
    assert second.wait(5) == 143, "also one that waits ends at once"
    third = program(tmp_path, hold, stdin=subprocess.PIPE)
    assert "another run holds the lock" in third.stderr.readline()
    first.kill()
    assert third.stdout.readline() == "mine\n"
    for one in (first, second, third):
        one.communicate(timeout=5)


def test_a_leader_that_is_asked_to_end_says_so_whatever_it_waits_for(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"starts": 2, "phase": "serv')  # cut short by a power cut
    leader = program(tmp_path, "e.lead = lambda state: (print('waits', flush=True), e.time.sleep(60)); e.leader()")
    assert leader.stdout.readline() == "waits\n"
    leader.terminate()
    leader.communicate(timeout=5)
    assert leader.returncode == 143
    state = json.loads((tmp_path / "state.json").read_text())
    assert (state["phase"], state["reason"], state["starts"]) == ("stopped", "asked to end", 0)


@pytest.mark.parametrize(("config", "starts"), [("old", 4), ("new", 0)])
def test_starts_are_counted_for_one_configuration(
    entrypoint: ModuleType, tmp_path: Path, monkeypatch, config: str, starts: int
) -> None:
    (tmp_path / "state.json").write_text('{"starts": 4, "config": "old"}')
    monkeypatch.setattr(entrypoint, "VAR", tmp_path)
    monkeypatch.setattr(entrypoint, "read", lambda path: json.loads(path.read_text()) if path.exists() else NODE)
    monkeypatch.setenv("DGX_SPARK_CONFIG", config)
    monkeypatch.setattr(entrypoint, "await_address", lambda _address, _state: sys.exit(0))
    state = entrypoint.State()
    with pytest.raises(SystemExit):
        entrypoint.lead(state)
    assert state.values["starts"] == starts


class Engine:
    """SIMULATED: one that loads for 700 s, then makes tokens until it dies."""

    transports, progress, error = {}, "", ""

    def __init__(self, clock: list[float], dies: float) -> None:
        self.clock, self.dies = clock, dies

    def alive(self) -> bool:
        return self.clock[0] < self.dies

    def causes(self) -> str:
        return "it died"

    def status(self) -> int:
        return 1

    def end(self, _grace: float) -> None:
        pass


@pytest.mark.parametrize(("dies", "starts"), [(720, 3), (1400, 0)])
def test_what_wipes_the_slate_is_a_long_run_and_not_a_long_load(
    entrypoint: ModuleType, tmp_path: Path, monkeypatch, dies: float, starts: int
) -> None:
    clock = [0.0]
    limits = {**LIMITS, "timeout_s": 60, "interval_s": 15, "forget_s": 600, "grace_s": 1}
    cluster = {**NODE, "name": "spark1", "nodes": NODE["nodes"][:1], "limits": limits, "api_listen": ""}
    state = entrypoint.State()
    state.path, state.values = tmp_path / "state.json", {"starts": 2, "config": ""}
    fakes = {
        "read": lambda _path: cluster,
        "Engine": lambda _cluster: Engine(clock, dies),
        "token": lambda *_: entrypoint.Probe("m", CHAT, None if clock[0] >= 700 else "it loads"),
        **dict.fromkeys(["await_address", "await_workers", "await_port", "clear_workers", "await_memory"], print),
        "ssh_config": lambda _cluster: "",
        "forget_jobs": print,
        "drop_caches": print,
        "Path": lambda path: tmp_path / Path(path).name,
    }
    monkeypatch.setenv("PMIX_HOSTNAME", "")
    for name, fake in fakes.items():
        monkeypatch.setattr(entrypoint, name, fake)
    monkeypatch.setattr(entrypoint.signal, "signal", print)
    monkeypatch.setattr(entrypoint.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(entrypoint.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    assert entrypoint.lead(state) == 1
    assert (state.values["starts"], state.values["load_s"]) == (starts, 700)


def test_what_killed_daemons_left_is_in_nobodys_way(entrypoint: ModuleType, tmp_path: Path, monkeypatch) -> None:
    for name in ("prterun.spark1.16.0/1", "prted.spark2.16.0/1", "ompi.spark1.0/pid.16", "model/weights"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(entrypoint.tempfile, "gettempdir", lambda: str(tmp_path))
    entrypoint.forget_jobs()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_was_tuned_is_kept_and_ends_no_engine(entrypoint: ModuleType, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(entrypoint, "VAR", tmp_path)
    monkeypatch.setenv("DGX_SPARK_CONFIG", "0123-abcd")
    kept = tmp_path / "cache" / "abcd" / "autotuner" / "0123.json"
    assert entrypoint.tuned() == {"TLLM_AUTOTUNER_CACHE_PATH": str(kept)}
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    ranks, others = kept.with_name("0123.rank0.json"), kept.with_name("4567.json")
    for path in (ranks, others):
        path.write_text('{"metadata": ')  # its writer was killed
    assert entrypoint.tuned()
    assert sorted(path.name for path in kept.parent.iterdir()) == ["0123.json", "4567.json"]
    monkeypatch.setattr(entrypoint.shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
    assert entrypoint.tuned() == {}


def test_a_full_disk_does_not_end_what_serves(entrypoint: ModuleType, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(entrypoint, "VAR", tmp_path)
    state = entrypoint.State()
    (tmp_path / "state.new").mkdir()  # what is to be written cannot be
    state.set(phase="serving")
    told = capsys.readouterr().err
    assert "state.json cannot be written" in told
    assert "serving" in told
    (tmp_path / "state.new").rmdir()
    state.set(reason="")
    assert json.loads((tmp_path / "state.json").read_text())["phase"] == "serving"


def test_a_port_that_somebody_holds_is_told_and_waited_for(entrypoint: ModuleType, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(entrypoint, "VAR", tmp_path)
    stranger = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{stranger.getsockname()[1]}"
    monkeypatch.setattr(entrypoint.time, "sleep", lambda _seconds: stranger.close())
    state = entrypoint.State()
    entrypoint.await_port(address, state, reuse=True)
    assert (state.values["phase"], state.values["reason"]) == (
        "waiting",
        f"{address} cannot be bound yet (Address already in use; ss -ltnp tells who has it)",
    )


def test_caches_are_dropped_where_that_was_consented_to(
    entrypoint: ModuleType, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(entrypoint, "CACHES", tmp_path / "drop_caches")
    entrypoint.drop_caches()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "drop_caches").touch()
    entrypoint.drop_caches()
    assert (tmp_path / "drop_caches").read_text() == "3\n"
    monkeypatch.setattr(entrypoint, "CACHES", tmp_path)  # one that cannot be written
    entrypoint.drop_caches()
    assert "the caches were not dropped" in capsys.readouterr().err


@contextlib.contextmanager
def server(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    """SIMULATED: a server that has these answers, by path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, text = answers[self.path]
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"127.0.0.1:{one.server_port}"
        one.shutdown()


CHAT, NOTHING = "/v1/chat/completions", b'{"usage": {"completion_tokens": 0}}'
READY = {
    "/health": (200, b""),
    "/v1/models": (200, b'{"data": [{"id": "tiny-chat"}]}'),
    CHAT: (200, b'{"usage": {"completion_tokens": 1}}'),
    "/v1/completions": (200, b'{"usage": {"completion_tokens": 1}}'),
}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({}, ("tiny-chat", CHAT, None)),
        ({"/health": (503, b"")}, ("", CHAT, "OSError: /health answers 503 Service Unavailable")),
        ({"/v1/models": (200, b"{}")}, ("", CHAT, "KeyError: 'data'")),
        ({CHAT: (200, NOTHING)}, ("tiny-chat", CHAT, "an answer without a token")),
        ({CHAT: (400, b"No chat template found")}, ("tiny-chat", "/v1/completions", None)),
        ({CHAT: (400, b"no vocab")}, ("tiny-chat", CHAT, f"RefusedError: {CHAT} answers 400 Bad Request: no vocab")),
        ({CHAT: (500, b"")}, ("tiny-chat", CHAT, f"OSError: {CHAT} answers 500 Internal Server Error")),
        (
            {CHAT: (400, b"No chat template found"), "/v1/completions": (400, b"{}")},
            ("tiny-chat", "/v1/completions", "RefusedError: /v1/completions answers 400 Bad Request: {}"),
        ),
    ],
)
def test_ready_is_health_a_name_and_a_token(entrypoint: ModuleType, wrong: dict, told: tuple) -> None:
    with server({**READY, **wrong}) as address:
        assert entrypoint.token(address, timeout=5) == told


def test_a_model_that_does_not_chat_is_not_asked_to_again(entrypoint: ModuleType) -> None:
    with server({name: answer for name, answer in READY.items() if name != CHAT}) as address:
        assert entrypoint.token(address, 5, "/v1/completions").problem is None
    with server({**READY, CHAT: (400, b"No chat template found")}) as address:
        assert "No chat template" in entrypoint.token(address, 5, CHAT).problem, "nor does one that did stop"


@pytest.mark.parametrize(
    ("memlock", "least", "enough"),
    [
        (-1, -1, True),
        (-1, 65536, True),
        (65536, 65536, True),
        (65535, 65536, False),
        (1 << 40, -1, False),
        (0, 0, True),
    ],
)
def test_how_much_memory_may_be_locked(entrypoint: ModuleType, memlock: int, least: int, enough: bool) -> None:
    found = entrypoint.obstacles(True, {"rocep1s0f0"}, ["rocep1s0f0"], memlock, least)
    assert (found == []) == enough


def test_the_launchers_key_does_not_get_into_the_log(entrypoint: ModuleType, capsys) -> None:
    engine = entrypoint.Engine.__new__(entrypoint.Engine)
    engine._process = SimpleNamespace(stdout=[f"+ TLLM_SPAWN_PROXY_PROCESS_IPC_HMAC_KEY={'5ace' * 16}\n"])
    engine.progress = engine.error = ""
    engine._listen()
    assert capsys.readouterr().out == "+ TLLM_SPAWN_PROXY_PROCESS_IPC_HMAC_KEY=***\n"


def test_a_server_that_came_and_went_between_two_looks_is_gone(entrypoint: ModuleType, monkeypatch) -> None:
    engine = entrypoint.Engine.__new__(entrypoint.Engine)
    engine._process = SimpleNamespace(poll=lambda: None)  # a launcher that goes on without it
    engine._seen, engine._began = False, 0.0
    there: list[list[bytes]] = []
    clock = SimpleNamespace(now=1.0)
    monkeypatch.setattr(entrypoint, "processes", lambda: there)
    monkeypatch.setattr(entrypoint.time, "monotonic", lambda: clock.now)
    assert engine.alive(), "it is yet to appear"
    clock.now = 61.0
    assert not engine.alive()
    there.append([b"python3", b"-m", b"tensorrt_llm.commands.serve"])
    assert engine.alive()
    there.clear()
    assert not engine.alive()
