# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's container ends when its sshd does, or when its device nodes are not the kernel's any more."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from supervisor import network, notice, rdma, ssh, state, verbs, worker
from supervisor_support import CLUSTER

GOOD, STALE = verbs.Condition("", False), verbs.Condition("old nodes", True)


@pytest.fixture
def own(tmp_path: Path) -> state.State:
    one = state.State()
    one.path, one.values = tmp_path / "state.json", {}
    return one


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LOOK", 0.01)


def test_it_ends_with_its_sshd(own: state.State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "condition", lambda *_arguments, **_options: GOOD)
    sshd = subprocess.Popen(["sleep", "0.1"])
    assert worker.watch(sshd.pid, ["rocep1s0f0"], own) == 1
    assert own.values == {}


def test_it_ends_when_its_device_nodes_are_old(own: state.State, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [GOOD, GOOD, STALE]
    monkeypatch.setattr(verbs, "condition", lambda *_arguments, **_options: looks.pop(0))
    sshd = subprocess.Popen(["sleep", "60"])
    try:
        assert worker.watch(sshd.pid, ["rocep1s0f0"], own) == 1
        assert sshd.poll() is None
    finally:
        sshd.kill()
        sshd.wait()
    assert own.values["phase"] == "waiting"
    assert own.values["reason"].startswith("in its container old nodes: it ends to be made anew")


def test_it_does_not_listen_with_old_device_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it start an sshd; the leader reads why at its port."""
    told = {**CLUSTER, "limits": {"require_rdma": True}}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        told["ssh_port"] = probe.getsockname()[1]
    node = {"name": "spark2", "address": "127.0.0.1", "rdma_devices": ["rocep1s0f0"]}
    monkeypatch.setattr(state, "cluster", lambda: told)
    monkeypatch.setattr(state, "node", lambda: node)
    monkeypatch.setattr(state.paths, "STATE", tmp_path)
    monkeypatch.setattr(worker.processes, "end_by_sigterm", lambda: None)
    monkeypatch.setattr(network, "await_address", lambda *_arguments: None)
    monkeypatch.setattr(verbs, "condition", lambda *_arguments, **_options: STALE)
    monkeypatch.setattr(rdma, "ANEW", 0.5)
    monkeypatch.setattr(os, "spawnv", lambda *_arguments: pytest.fail("an sshd was started"))
    heard: list[str | None] = []

    def call() -> None:
        while not heard:
            time.sleep(0.05)
            if words := notice.read("127.0.0.1", told["ssh_port"]):
                heard.append(words)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    assert worker.main() == 1
    caller.join(5)
    assert heard[0]
    assert heard[0].startswith("in its container old nodes: it ends to be made anew")


def test_a_worker_that_listens_says_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"name": "spark2", "address": "192.168.100.2", "rdma_devices": []}
    monkeypatch.setattr(state, "cluster", lambda: {**CLUSTER, "limits": {}})
    monkeypatch.setattr(state, "node", lambda: node)
    monkeypatch.setattr(state.paths, "STATE", tmp_path)
    monkeypatch.setattr(state.paths, "RUN", tmp_path)
    monkeypatch.setattr(worker.processes, "end_by_sigterm", lambda: None)
    asked: list[object] = []
    monkeypatch.setattr(network, "await_address", lambda address, _state, others: asked.append((address, others)))
    monkeypatch.setattr(network, "await_port", lambda *_arguments, **_options: None)
    monkeypatch.setattr(worker.Path, "mkdir", lambda *_arguments, **_options: None)
    monkeypatch.setattr(ssh, "write_server_config", lambda *_arguments: None)
    monkeypatch.setattr(os, "spawnv", lambda *_arguments: 0)
    monkeypatch.setattr(worker, "watch", lambda *_arguments: 1)
    assert worker.main() == 1
    assert asked == [("192.168.100.2", ["spark1"])]
    told = state.State().values
    assert (told["phase"], told["reason"]) == ("listening", "for spark1, which leads")


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ([], "this node has no address 192.0.2.1 yet"),
        (["spark2"], "yet: its cable is out, or spark2 at the other end of it off"),
        (["spark2", "spark3"], "yet: its cable is out, or spark2 and spark3 at the other end of it off"),
    ],
)
def test_a_node_without_its_address_says_who_may_be_off(
    own: state.State, monkeypatch: pytest.MonkeyPatch, others: list[str], says: str
) -> None:
    looks = [False, True]
    monkeypatch.setattr(network, "has_address", lambda _address: looks.pop(0))
    monkeypatch.setattr(network.time, "sleep", lambda _seconds: None)
    network.await_address("192.0.2.1", own, others)
    assert own.values["phase"] == "waiting"
    assert own.values["reason"].endswith(says)


def test_an_ssh_server_is_no_notice_and_silence_neither() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            caller = server.accept()[0]
            caller.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
            caller.close()

        threading.Thread(target=greet, daemon=True).start()
        assert notice.read("127.0.0.1", port) == ""
    assert notice.read("127.0.0.1", port) is None


def test_a_notice_at_a_port_that_another_has_is_only_a_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        notice.say("127.0.0.1", server.getsockname()[1], "words", 0.2)
        assert time.monotonic() - began >= 0.2


def test_the_leader_waits_with_the_workers_own_words(own: state.State, monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold while its container is made anew."""
    refusals = ["Connection closed", "Connection refused", "Connection refused", ""]
    told = ["old nodes", None, None]
    clock = iter([100.0, 110.0, 140.0])
    monkeypatch.setattr(ssh.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(ssh, "refusal", lambda _name: refusals.pop(0))
    monkeypatch.setattr(notice, "read", lambda *_arguments: told.pop(0))
    said = []
    monkeypatch.setattr(ssh.time, "sleep", lambda _seconds: said.append(own.values["reason"]))
    ssh.await_workers(CLUSTER, own)
    assert said == [
        "spark2: old nodes",
        "spark2: old nodes",
        "spark2 does not let MPI in at 192.168.100.2:2233 (Connection refused)",
    ]
