# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as the served command sees it: in this process where there is one rank, else behind the leader."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from tensorrt_llm.simulation.node import Alone, Node
from tensorrt_llm.simulation.proxy import GoneError, ProxyClient, ProxyServer


class Engine(Protocol):
    """What a server needs of it."""

    def load(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Load on all ranks; return their reports."""

    def step(self, request: str, new: bool) -> str:
        """Make one token of a request; for a new one, return the nonce that the last rank gave it."""

    @property
    def gone(self) -> bool:
        """Whether it will never answer again."""


class SoloEngine:
    """One rank, without MPI."""

    gone = False

    def __init__(self, node: Node | None = None) -> None:
        self._node = node or Node(Alone())
        self._lock = threading.Lock()

    def load(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        return self._node.load(job)

    def step(self, request: str, new: bool) -> str:
        with self._lock:
            return self._node.step([request] if new else []).get(request, "")


class RemoteEngine:
    """All ranks of MPI, by way of the leader."""

    def __init__(self, client: ProxyClient) -> None:
        self._client = client

    @property
    def gone(self) -> bool:
        return self._client.gone

    def load(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        return self._client.call({"do": "load", "job": job})["reports"]

    def step(self, request: str, new: bool) -> str:
        reply = self._client.call({"do": "step", "request": request, "new": new})
        if reply.get("error"):
            raise GoneError(reply["error"])
        return reply["nonce"]


def lead(node: Node, server: ProxyServer) -> None:
    """Rank 0: do what the served command asks, all steps that wait in one exchange, until it is told to stop."""
    while True:
        taken = server.take()
        steps = [(line, message) for line, message in taken if message["do"] == "step"]
        if steps:
            nonces = node.step([message["request"] for _line, message in steps if message["new"]])
            for line, message in steps:
                _reply(line, {"id": message["id"], "nonce": nonces.get(message["request"], "")})
        for line, message in taken:
            if message["do"] == "load":
                _reply(line, {"id": message["id"], "reports": node.load(message["job"])})
            elif message["do"] == "stop":
                node.stop()
                _reply(line, {"id": message["id"]})
                return


def _reply(line: Any, message: dict[str, Any]) -> None:
    try:
        line.send(message)
    except OSError:
        return  # whoever asked is gone; the leader waits on, as the real one does
