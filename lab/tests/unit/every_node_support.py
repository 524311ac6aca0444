# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the stand-ins for SGLang and vLLM share: nodes of one engine, as processes of this machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Sequence

from engine_support import ENGINE, write_model

EVERY_NODE = ENGINE.parent / "every_node"
if str(EVERY_NODE) not in sys.path:
    sys.path.insert(0, str(EVERY_NODE))


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Cluster:
    """Nodes of one engine, each in a session of its own, and how to ask the first.

    :param command: the program with its arguments but for those that say where a node is.
    """

    def __init__(self, folder: Path, program: Sequence[str], **environment: str) -> None:
        self.folder, self.port, self.meeting = folder, free_port(), free_port()
        self.model = write_model(folder / "model", max_position_embeddings=4096, architectures=["LabForCausalLM"])
        bin_dir = folder / "bin"
        bin_dir.mkdir()
        (bin_dir / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: SIMULATED'\n")
        (bin_dir / "nvidia-smi").chmod(0o755)
        (folder / "faults").mkdir()
        self._program = program
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._environment = {
            "PATH": f"{bin_dir}:{os.environ['PATH']}",
            "PYTHONPATH": f"{EVERY_NODE}:{ENGINE}",
            "NCCL_DEBUG": "INFO",
            "NCCL_SOCKET_IFNAME": "lo",
            "GLOO_SOCKET_IFNAME": "lo",
            "VIRTUAL_SPARK_ENGINE_LOAD_SECONDS": "0.2",
            "VIRTUAL_SPARK_ENGINE_FAULTS": str(folder / "faults"),
            **environment,
        }

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start the next node."""
        log = self.folder / f"log{len(self.nodes)}"
        with log.open("wb") as out:
            node = subprocess.Popen(
                [sys.executable, *self._program, *words],
                env=self._environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.nodes.append(node)
        return node

    def said(self, node: int = 0) -> str:
        """What a node has written."""
        return (self.folder / f"log{node}").read_text(errors="replace")

    def ask(self, path: str, body: Any = None, timeout: float = 10) -> tuple[int, Any]:
        """Status and answer of the first node; 0 where it takes no connection or closes it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request("GET" if body is None else "POST", path, data)
            reply = connection.getresponse()
            text = reply.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()
        return reply.status, json.loads(text) if text[:1] in ("{", "[") else text

    def chat(self, **more: Any) -> tuple[int, Any]:
        """Ask a question."""
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 4, **more}
        return self.ask("/v1/chat/completions", body)

    def await_answer(self, path: str = "/health", seconds: float = 30) -> None:
        """Wait until it serves."""
        until(lambda: self.ask(path)[0] == 200, seconds, lambda: "\n".join(map(self.said, range(len(self.nodes)))))

    def pids(self, node: int, title: str) -> list[int]:
        """The processes of a node's session with this in their command lines."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                session = int((path / "stat").read_text().rpartition(")")[2].split()[3])
                state = (path / "stat").read_text().rpartition(")")[2].split()[0]
                line = (path / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if session == self.nodes[node].pid and state not in "ZX" and title in line:
                found.append(int(path.name))
        return found

    def signal(self, node: int, title: str, number: signal.Signals) -> None:
        """Send a signal to a process of a node."""
        (pid,) = self.pids(node, title)
        os.kill(pid, number)

    def end(self) -> None:
        """Kill all of it."""
        for number, node in enumerate(self.nodes):
            for pid in self.pids(number, ""):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            node.wait()


def until(wanted: Any, seconds: float = 15, said: Any = str) -> None:
    """Wait until this is so."""
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)
