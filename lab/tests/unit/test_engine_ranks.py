# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ranks of the engine's stand-in, with queues in the place of MPI, and the way from the served command to them."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from engine_support import ENGINE, a_node, load, ranks, write_model

engine, faults, node, proxy = (load(f"simulation.{name}") for name in ("engine", "faults", "node", "proxy"))
serve = load("commands.serve")


@pytest.fixture(autouse=True)
def fault_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("VIRTUAL_SPARK_ENGINE_FAULTS", str(folder))
    return folder


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    return {"model": str(write_model(tmp_path / "model")), "tp": 2, "seconds": 0, "exchange": 10 << 20}


# --- ranks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3])
def test_all_ranks_load_and_exchange_and_the_last_gives_nonces(size: int, job: dict[str, Any]) -> None:
    first, others, threads = ranks(size)
    reports = first.load(job)
    assert [(one["rank"], one["error"], one["exchanged"], one["transport"]) for one in reports] == [
        (rank, "", 10 << 20, "Socket") for rank in range(size)
    ]
    before = others[-1].link.shifted
    nonces = first.step(["a", "b"])
    assert {nonce.partition("-")[0] for nonce in nonces.values()} == {others[-1].incarnation}
    assert len(set(nonces.values())) == 2
    assert first.step([]) == {}
    assert first.step(["a"])["a"] != nonces["a"]
    first.stop()
    for thread in threads:
        thread.join(5)
    assert others[-1].link.shifted - before == 3 * node.STEP
    assert not any(thread.is_alive() for thread in threads)


#: of three ranks in a ring, each device in a network with another rank; loopback's, as every machine has them
RING = [["127.0.1.1/24", "127.0.3.1/24"], ["127.0.2.2/24", "127.0.1.2/24"], ["127.0.3.3/24", "127.0.2.3/24"]]
PAIR_OF_ONE = [["127.0.1.1/24"], ["127.0.1.2/24"]]
PAIR = [["127.0.1.1/24", "127.0.2.1/24"], ["127.0.1.2/24", "127.0.2.2/24"]]


@pytest.mark.parametrize(("addresses", "aware"), [(PAIR, ""), (PAIR, "1"), (RING, "1")], ids=["pair", "aware", "ring"])
def test_what_nccl_carries_goes_between_the_devices_addresses(
    addresses: list[list[str]], aware: str, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCCL_IB_SUBNET_AWARE_ROUTING", aware)
    first, others, threads = ranks(len(addresses), addresses)
    for _again in range(2):
        reports = first.load(job)
        assert [(one["error"], one["exchanged"], one["transport"]) for one in reports] == [
            ("", 10 << 20, "IB") for _rank in addresses
        ]
        assert first.step(["a"])
    assert [one.link.shifted for one in (first, *others)] == [0] * len(addresses), "MPI carries none of it"
    first.stop()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def test_a_ring_needs_nccl_to_mind_its_networks(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NCCL_IB_SUBNET_AWARE_ROUTING", raising=False)
    first, _others, _threads = ranks(3, RING)
    assert all("no RoCE device of rank" in one["error"] for one in first.load(job))
    first.stop()


def test_a_rank_without_rdma_keeps_the_others_from_it(job: dict[str, Any]) -> None:
    first, others, _threads = ranks(2, [PAIR[0], []])
    assert [one["transport"] for one in first.load(job)] == ["IB", "Socket"]
    assert others[0].link.shifted > 10 << 20
    first.stop()


def test_an_engine_of_one_rank_needs_no_mpi(job: dict[str, Any]) -> None:
    solo = engine.SoloEngine(a_node(node.Alone()))
    assert [one["error"] for one in solo.load(job)] == [""]
    assert solo.step("a", True)
    assert solo.step("a", False) == ""
    with pytest.raises(RuntimeError):
        node.Alone().send(1, b"")
    with pytest.raises(RuntimeError):
        node.Alone().receive(1)


def test_the_error_of_a_rank_names_it_and_nobody_waits_for_it(job: dict[str, Any], tmp_path: Path) -> None:
    first, others, _threads = ranks(2)
    others[0]._gpus = lambda: 0
    reports = first.load(job)
    assert [one["error"] for one in reports] == ["", "CUDA error: no CUDA-capable device is detected"]
    others[0]._gpus = lambda: -1
    assert "Found no NVIDIA driver" in first.load(job)[1]["error"]
    others[0]._gpus = lambda: 1
    (tmp_path / "model" / "model-00002-of-00002.safetensors").unlink()
    assert all("model-00002-of-00002.safetensors is missing" in one["error"] for one in first.load(job))
    first.stop()


def test_nccls_lines_behind_a_progress_bar_and_none_at_all(
    job: dict[str, Any], fault_files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    said = {}
    for fault in ("", faults.NCCL_BEHIND, faults.NCCL_SILENT):
        if fault:
            (fault_files / fault).touch()
        first, _others, _threads = ranks(2, PAIR_OF_ONE)
        assert [one["error"] for one in first.load(job)] == ["", ""]
        first.stop()
        said[fault] = [line for line in capsys.readouterr().out.split("\n") if "NET/IB : Using" in line]
        if fault:
            (fault_files / fault).unlink()
    assert [len(lines) for lines in said.values()] == [2, 2, 0]
    assert not any("it]" in line for line in said[""])
    assert all("1.13s/it]" + node.socket.gethostname() in line for line in said[faults.NCCL_BEHIND])


def test_what_arrives_changed_is_noticed(job: dict[str, Any]) -> None:
    first, others, _threads = ranks(2)
    shift = others[0].link.shift
    others[0].link.shift = lambda data: shift(data[:-1] + bytes([data[-1] ^ 1]))
    assert "rank 0: what rank 1 sent arrived changed" in first.load(job)[0]["error"]
    with pytest.raises(node.EngineError, match="arrived changed"):
        first.step([])
    first.stop()


@pytest.mark.parametrize(("debug", "lines"), [("INFO", 4), ("WARN", 0), ("", 0)])
def test_nccl_speaks_only_when_asked(
    debug: str, lines: int, job: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCCL_DEBUG", debug)
    monkeypatch.setattr(node, "NCCL_FILES", ())
    a_node(node.Alone()).load(job)
    said = capsys.readouterr().out
    assert sum(" [0] NCCL INFO " in line for line in said.splitlines()) == lines
    assert ("NCCL version" in said) == bool(debug)
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth9")
    assert "no socket interface found" in a_node(node.Alone()).load(job)[0]["error"]
    assert ("NCCL WARN Bootstrap : no socket" in capsys.readouterr().out) == bool(debug)


@pytest.mark.parametrize(("said", "status", "gpus"), [("GPU 0: NVIDIA GB10 (UUID: x)", 0, 1), ("No devices", 6, 0)])
def test_gpus_are_those_of_nvidia_smi(
    said: str, status: int, gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
    smi.chmod(0o755)
    assert node.visible_gpus() == gpus
    monkeypatch.setenv("PATH", "/nowhere")
    assert node.visible_gpus() == -1


def test_numbers_of_faults(fault_files: Path) -> None:
    assert faults.number(faults.SLOW_TOKENS, 1) is None
    (fault_files / faults.SLOW_TOKENS).write_text("\n")
    assert faults.number(faults.SLOW_TOKENS, 1) == 1
    (fault_files / faults.SLOW_TOKENS).write_text("2.5\n")
    assert faults.number(faults.SLOW_TOKENS, 1) == 2.5


def test_what_was_tuned_is_read_again_and_a_broken_file_is_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "autotuner" / "0123.json"
    monkeypatch.setenv("TLLM_AUTOTUNER_CACHE_PATH", str(kept))
    rank = node.Node(node.Alone())
    rank._autotune()
    assert "Loading cache" not in "".join(capsys.readouterr())
    rank._autotune()
    assert "Loading cache" in "".join(capsys.readouterr())
    kept.write_text('{"metadata": ')
    with pytest.raises(node.EngineError, match="Failed to load cache"):
        rank._autotune()


def test_memory_goes_away_in_a_file_while_a_rank_loads(fault_files: Path, tmp_path: Path, job: dict[str, Any]) -> None:
    meminfo = tmp_path / "meminfo"
    before = "MemTotal: 125829120 kB\nMemFree: 90000000 kB\nMemAvailable: 95000000 kB\n"
    meminfo.write_text(before)
    solo = engine.SoloEngine(a_node(node.Alone()))
    assert solo.load(job)[0]["error"] == ""
    assert meminfo.read_text() == before, "nobody asked for it"
    (fault_files / faults.TAKE_MEMORY).write_text(f"{meminfo} 14336\n")
    assert solo.load({**job, "seconds": 0.5})[0]["error"] == ""
    now = dict(line.split()[:2] for line in meminfo.read_text().splitlines())
    assert len(meminfo.read_text()) == len(before)
    assert now["MemTotal:"] == "125829120"
    for name, had in (("MemFree:", 90000000), ("MemAvailable:", 95000000)):
        assert 2 << 20 < had - int(now[name]) < 40 << 20
    (fault_files / faults.TAKE_MEMORY).unlink()
    time.sleep(0.3)
    ended = meminfo.read_text()
    time.sleep(0.2)
    assert meminfo.read_text() == ended, "it ends with the fault"
    assert faults._less("MemFree: 100 kB\n", 200) == "MemFree:   0 kB\n"


def test_a_load_may_stand_still(fault_files: Path, job: dict[str, Any]) -> None:
    (fault_files / faults.STAND_STILL).touch()
    solo = engine.SoloEngine(a_node(node.Alone()))
    loading = threading.Thread(target=solo.load, args=[job])
    loading.start()
    loading.join(0.5)
    assert loading.is_alive()
    (fault_files / faults.STAND_STILL).unlink()
    loading.join(5)
    assert not loading.is_alive()


@pytest.mark.parametrize(("fault", "tokens"), [("", [8224, 65536]), ("1024", [8224, 1024])])
def test_the_kv_cache_is_told_as_the_real_engine_tells_it(
    fault: str, tokens: list[int], fault_files: Path, job: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    if fault:
        (fault_files / faults.KV_TOKENS).write_text(fault)
    a_node(node.Alone()).load(job)
    said = [line for line in capsys.readouterr().out.splitlines() if "paged KV cache" in line]
    assert [int(line.partition("cache (")[2].partition(")")[0]) for line in said] == tokens
    assert said[0].startswith("[TensorRT-LLM][INFO] [MemUsageChange] Allocated 0.56 GiB for max tokens in paged KV")


def test_death_at_load(fault_files: Path, monkeypatch: pytest.MonkeyPatch, job: dict[str, Any]) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(faults.os, "kill", lambda *what: killed.append(what))
    (fault_files / faults.DIE_AT_LOAD).write_text("80")
    a_node(node.Alone()).load(job)
    assert len(killed) == 5  # at 80, 85 … 100 %: the first one is the last
    assert killed[0] == (os.getpid(), 9)


# --- from the served command to the leader ----------------------------------------------------------------------------

KEY = b"k" * 32


@pytest.fixture
def leader(job: dict[str, Any]) -> Iterator[tuple[Any, threading.Thread]]:
    server = proxy.ProxyServer(("127.0.0.1", 0), KEY)
    first, _others, _threads = ranks(2)
    thread = threading.Thread(target=engine.lead, args=(first, server), daemon=True)
    thread.start()
    yield server, thread
    server.close()


def test_many_ask_the_leader_at_once(leader: tuple[Any, threading.Thread], job: dict[str, Any]) -> None:
    server, thread = leader
    remote = engine.RemoteEngine(proxy.ProxyClient(server.address, KEY))
    assert len(serve.load(remote, job)) == 2
    nonces: dict[str, str] = {}

    def ask(name: str) -> None:
        nonces[name] = remote.step(name, True)
        assert remote.step(name, False) == ""

    asking = [threading.Thread(target=ask, args=(f"r{index}",)) for index in range(8)]
    for one in asking:
        one.start()
    for one in asking:
        one.join(5)
    assert len(set(nonces.values())) == 8
    assert not remote.gone
    proxy.ProxyClient(server.address, KEY).call({"do": "stop"})
    thread.join(5)
    assert not thread.is_alive()


def test_a_load_that_fails_names_ranks_and_files(leader: tuple[Any, threading.Thread], job: dict[str, Any]) -> None:
    remote = engine.RemoteEngine(proxy.ProxyClient(leader[0].address, KEY))
    Path(job["model"], "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(RuntimeError, match=r"Executor worker died .*rank 0 on .*00001.* is missing; rank 1 on .*00001"):
        serve.load(remote, job)


def test_a_leader_that_ends_is_noticed() -> None:
    server = proxy.ProxyServer(("127.0.0.1", 0), KEY)
    client = proxy.ProxyClient(server.address, KEY)
    failed: list[Exception] = []

    def ask() -> None:
        try:
            client.call({"do": "step"})
        except proxy.GoneError as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    line, _message = server.take()[0]
    line.close()
    asking.join(5)
    assert failed
    assert client.gone
    with pytest.raises(proxy.GoneError):
        client.call({"do": "step"})
    with pytest.raises(RuntimeError, match="died during initialization: the leader is gone"):
        serve.load(engine.RemoteEngine(client), {})
    server.close()


def test_only_who_has_the_key_may_ask() -> None:
    server = proxy.ProxyServer(("127.0.0.1", 0), KEY)
    with pytest.raises(proxy.GoneError):
        proxy.ProxyClient(server.address, b"other").call({"do": "stop"})
    assert server.inbox.empty()
    server.close()
    with pytest.raises(proxy.GoneError, match="no leader answers"):
        proxy.ProxyClient(server.address, KEY, patience=0)


@pytest.mark.parametrize("env", [{}, {proxy.ADDRESS: "tcp://127.0.0.1:10012"}, {proxy.ADDRESS: "x", proxy.KEY: "00"}])
def test_without_the_launchers_environment(env: dict[str, str]) -> None:
    with pytest.raises(proxy.GoneError, match="trtllm-llmapi-launch"):
        proxy.place(env)
    assert proxy.place({proxy.ADDRESS: "tcp://127.0.0.1:10012", proxy.KEY: "00ff"}) == (("127.0.0.1", 10012), b"\0\xff")


# --- the launcher -----------------------------------------------------------------------------------------------------


@pytest.fixture
def launch(tmp_path: Path):
    """The launcher with a Python that only notes how it was called; the leader waits to be stopped."""
    stubs, notes = tmp_path / "bin", tmp_path / "notes"
    stubs.mkdir()
    notes.mkdir()
    (stubs / "python3").write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '*stop) touch "$NOTES/stop" ;;\n'
        '*leader*) env > "$NOTES/leader"; i=0\n'
        'until [ -e "$NOTES/stop" ] || [ $i -gt 15 ]; do sleep 0.02; i=$((i+1)); done ;;\n'
        '*worker*) env > "$NOTES/worker" ;;\n'
        "*) echo 10012 ;;\n"
        "esac\n"
    )
    (stubs / "openssl").write_text("#!/bin/sh\necho 00ff\n")
    (stubs / "served").write_text('#!/bin/sh\nenv > "$NOTES/served"\necho "$#" > "$NOTES/count"\nexit "$STATUS"\n')
    for stub in stubs.iterdir():
        stub.chmod(0o755)

    def run(era: str, status: int = 0, **env: str) -> tuple[int, str, dict[str, dict[str, str]]]:
        done = subprocess.run(
            ["bash", ENGINE / "bin" / "trtllm-llmapi-launch", "served", "two words", "x"],
            env={
                "PATH": f"{stubs}:/usr/bin:/bin",
                "NOTES": str(notes),
                "STATUS": str(status),
                "VIRTUAL_SPARK_ENGINE_ERA": era,
                **env,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
        found = {
            path.name: dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
            for path in notes.iterdir()
        }
        assert not notes.joinpath("count").exists() or notes.joinpath("count").read_text() == "3\n"
        return done.returncode, done.stderr, found

    return run


MPI = {
    "OMPI_COMM_WORLD_RANK": "0",
    "OMPI_COMM_WORLD_SIZE": "2",
    "PMIX_RANK": "0",
    "UCX_TLS": "tcp",
    "NCCL_DEBUG": "INFO",
}


@pytest.mark.parametrize(
    ("era", "status", "stopped", "ended"),
    [
        ("1.2.0rc1", 0, False, 0),  # the leader is left waiting
        ("1.3.0rc", 0, True, 0),
        ("1.3.0rc", 1, False, 0),  # set -e ends the subshell before it can stop the leader
        ("main", 0, True, 0),
        ("main", 3, True, 3),
    ],
)
def test_the_leader_and_the_served_command(launch, era: str, status: int, stopped: bool, ended: int) -> None:
    code, said, found = launch(era, status, **MPI)
    assert ("stop" in found) == stopped
    assert code == ended
    assert not [name for name in found["served"] if name.startswith(("OMPI_", "PMIX_", "UCX_"))]
    assert found["leader"]["OMPI_COMM_WORLD_SIZE"] == "2"
    for process in ("served", "leader"):
        assert found[process]["NCCL_DEBUG"] == "INFO"
        assert found[process]["tllm_mpi_size"] == "2"
        assert found[process]["TLLM_SPAWN_PROXY_PROCESS"] == "1"
        assert found[process]["TLLM_SPAWN_PROXY_PROCESS_IPC_ADDR"] == "tcp://127.0.0.1:10012"
        assert found[process]["TLLM_SPAWN_PROXY_PROCESS_IPC_HMAC_KEY"] == "00ff"
    assert ("+ export TLLM_SPAWN_PROXY_PROCESS=1" in said) == (era != "1.2.0rc1")
    assert ("Task exit code: 3" in said) == (status == 3)


def test_a_worker_never_sees_the_command(launch) -> None:
    code, _said, found = launch("1.3.0rc", OMPI_COMM_WORLD_RANK="1", OMPI_COMM_WORLD_SIZE="2")
    assert (code, set(found)) == (0, {"worker"})


@pytest.mark.parametrize(
    ("env", "rank", "size"),
    [
        (
            {"SLURM_PROCID": "1", "SLURM_NTASKS": "4", "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"},
            "worker",
            "4",
        ),
        ({"PMI_RANK": "1"}, "worker", "1"),
        ({"WORLD_SIZE": "8", "PMI_ID": "1"}, "worker", "8"),
    ],
)
def test_strays_in_the_environment_mislead_it_as_the_real_one(
    launch, env: dict[str, str], rank: str, size: str
) -> None:
    assert launch("1.2.0rc1", **env)[2][rank]["tllm_mpi_size"] == size
