# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state file, its lock, and what the node waits for."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from supervisor import network, paths, processes, state
from supervisor.__main__ import main
from supervisor_support import program


def test_two_incarnations_never_meet_and_the_second_leaves_the_firsts_state_alone(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"phase": "serving"}')
    hold = "lock = state.lock(); print('mine', flush=True); input()"
    first = program(tmp_path, hold, stdin=subprocess.PIPE)
    assert first.stdout.readline() == "mine\n"
    second = program(tmp_path, "processes.end_by_sigterm(); " + hold)
    assert "another run holds the lock" in second.stderr.readline()
    assert (tmp_path / "state.json").read_text() == '{"phase": "serving"}'
    second.terminate()
    assert second.wait(60) == 143, "also one that waits ends at once"
    third = program(tmp_path, hold, stdin=subprocess.PIPE)
    assert "another run holds the lock" in third.stderr.readline()
    first.kill()
    assert third.stdout.readline() == "mine\n"
    for one in (first, second, third):
        one.communicate(timeout=60)


def test_a_full_disk_does_not_end_what_serves(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    own = state.State()
    (tmp_path / "state.new").mkdir()  # what is to be written cannot be
    own.set(phase="serving")
    told = capsys.readouterr().err
    assert "state.json cannot be written" in told
    assert "serving" in told
    (tmp_path / "state.new").rmdir()
    own.set(reason="")
    assert json.loads((tmp_path / "state.json").read_text())["phase"] == "serving"


def test_what_a_server_left_in_time_wait_holds_up_no_engine_that_binds_over_it(tmp_path: Path, monkeypatch) -> None:
    """A server that was ended under a client leaves its port so for a minute."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with socket.create_connection(server.getsockname()) as client:
            server.accept()[0].close()  # the one that ends first keeps the port
            assert client.recv(1) == b""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) > 1:
            raise TimeoutError

    monkeypatch.setattr(network.time, "sleep", sleep)
    own = state.State()
    network.await_port(address, own, reuse=True)
    assert (waited, own.values) == ([], {})
    with pytest.raises(TimeoutError):
        network.await_port(address, own)
    assert own.values["reason"].startswith(f"{address} cannot be bound yet")


def test_a_port_that_somebody_holds_is_told_and_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    stranger = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{stranger.getsockname()[1]}"
    monkeypatch.setattr(network.time, "sleep", lambda _seconds: stranger.close())
    own = state.State()
    network.await_port(address, own, reuse=True)
    assert (own.values["phase"], own.values["reason"]) == (
        "waiting",
        f"{address} cannot be bound yet (Address already in use; ss -ltnp tells who has it)",
    )


def test_what_killed_daemons_left_is_in_nobodys_way(tmp_path: Path, monkeypatch) -> None:
    for name in ("prterun.spark1.16.0/1", "prted.spark2.16.0/1", "ompi.spark1.0/pid.16", "model/weights"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(processes.tempfile, "gettempdir", lambda: str(tmp_path))
    processes.forget_jobs()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


OLD, NEW = "aaaaaaaaaaaa-111111111111", "bbbbbbbbbbbb-222222222222"


@pytest.mark.parametrize(
    ("own", "kept", "by_ssh", "reads"),
    [
        (OLD, OLD, False, "kept"),  # a play has put others in the place of its own
        (OLD, OLD, True, "kept"),
        (NEW, OLD, False, "new"),  # which is what that play starts
        (NEW, OLD, True, "new"),
        (OLD, "", False, "new"),  # no play is at work
        (None, OLD, False, "new"),
        ("", OLD, False, "new"),
    ],
)
def test_a_container_goes_by_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None, kept: str, by_ssh: bool, reads: str
) -> None:
    monkeypatch.setattr(paths, "CONFIG", tmp_path)
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "kept" / kept).mkdir(parents=True)
    for folder, word in ((tmp_path, "new"), (tmp_path / "kept" / kept, "kept")):
        for name in ("cluster.json", "node.json") if folder == tmp_path or kept else ():
            (folder / name).write_text(json.dumps({"of": word}))
    monkeypatch.delenv("DGX_SPARK_CONFIG", raising=False)
    if by_ssh:
        paths.environment().write_text(json.dumps({"DGX_SPARK_CONFIG": own}))
    elif own is not None:
        monkeypatch.setenv("DGX_SPARK_CONFIG", own)
    assert (state.cluster()["of"], state.node()["of"]) == (reads, reads)


def test_what_it_was_started_with_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(paths, "RUN", tmp_path)
    monkeypatch.setenv("DGX_SPARK_CONFIG", OLD)
    assert main(["config"]) == 0
    assert capsys.readouterr().out == f"{OLD}\n"


def test_the_netdev_of_an_address_is_found() -> None:
    assert network.netdev_of("127.0.0.1") == "lo"
    assert network.netdev_of("192.0.2.77") == ""


def test_a_port_that_something_has_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = taken.getsockname()[1]
        assert first < network.free_port(first) < first + network.PORTS
        monkeypatch.setattr(network, "PORTS", 1)
        with pytest.raises(RuntimeError, match=f"no port from {first} to {first} is free"):
            network.free_port(first)
