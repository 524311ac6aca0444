# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the served command, which must not know of MPI, and the leader, which is rank 0 of it.

A local TCP connection with JSON lines, as the real one uses a local ZeroMQ socket: its address and the key that
proves who asks come from the launcher's environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import queue
import secrets
import socket
import threading
import time
from typing import Any, Mapping
from urllib.parse import urlsplit

ADDRESS, KEY = "TLLM_SPAWN_PROXY_PROCESS_IPC_ADDR", "TLLM_SPAWN_PROXY_PROCESS_IPC_HMAC_KEY"


class GoneError(RuntimeError):
    """The other side is no more."""


def place(env: Mapping[str, str]) -> tuple[tuple[str, int], bytes]:
    """Address and key, as the launcher exported them."""
    where = urlsplit(env.get(ADDRESS, ""))
    if not where.hostname or not where.port or not env.get(KEY):
        raise GoneError(f"{ADDRESS} and {KEY} are not set: start this by trtllm-llmapi-launch")
    return (where.hostname, where.port), bytes.fromhex(env[KEY])


def _proof(key: bytes, challenge: str) -> str:
    return hmac.new(key, challenge.encode(), hashlib.sha256).hexdigest()


class Line:
    """One connection, line by line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """The next message; empty at the end."""
        try:
            text = self._file.readline()
        except OSError:
            return {}
        return json.loads(text) if text.endswith("\n") else {}

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


class ProxyServer:
    """The leader's end: what clients ask is taken from ``inbox`` by the one thread that may use MPI."""

    def __init__(self, address: tuple[str, int], key: bytes) -> None:
        self.inbox: queue.Queue[tuple[Line, dict[str, Any]]] = queue.Queue()
        self._key = key
        self._socket = socket.create_server(address)
        self.address: tuple[str, int] = self._socket.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _peer = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._listen, args=(Line(connection),), daemon=True).start()

    def _listen(self, line: Line) -> None:
        challenge = secrets.token_hex(16)
        line.send({"challenge": challenge})
        if not hmac.compare_digest(str(line.receive().get("proof")), _proof(self._key, challenge)):
            line.close()
            return
        while message := line.receive():
            self.inbox.put((line, message))

    def take(self) -> list[tuple[Line, dict[str, Any]]]:
        """Wait for something to do, and take all that is there."""
        taken = [self.inbox.get()]
        while True:
            try:
                taken.append(self.inbox.get_nowait())
            except queue.Empty:
                return taken

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        self._socket.close()


class Caller:
    """Asks over a line, and is answered. Any thread may call."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._count = 0
        self.gone = False
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while reply := self._line.receive():
            with self._lock:
                waiting = self._waiting.pop(reply["id"], None)
            if waiting:
                waiting.put(reply)
        with self._lock:
            self.gone = True
            for waiting in self._waiting.values():
                waiting.put({})

    def call(self, message: dict[str, Any]) -> dict[str, Any]:
        """Ask, and wait for the answer as long as the leader lives."""
        answer: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with self._lock:
            if self.gone:
                raise GoneError("the leader is gone")
            self._count += 1
            number = self._count
            self._waiting[number] = answer
        try:
            self._line.send({**message, "id": number})
        except OSError:
            raise GoneError("the leader is gone") from None
        reply = answer.get()
        if not reply:
            raise GoneError("the leader is gone")
        return reply

    def close(self) -> None:
        self._line.close()


class ProxyClient(Caller):
    """The served command's end."""

    def __init__(self, address: tuple[str, int], key: bytes, patience: float = 60) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                connection = socket.create_connection(address, timeout=5)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise GoneError(f"no leader answers at {address[0]}:{address[1]}: {error}") from None
                time.sleep(0.1)
        connection.settimeout(None)
        line = Line(connection)
        line.send({"proof": _proof(key, str(line.receive().get("challenge")))})
        super().__init__(line)
