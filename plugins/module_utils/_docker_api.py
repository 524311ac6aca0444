# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""The Docker Engine API over its unix socket, with what Python has by itself."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

SOCKET = "/var/run/docker.sock"


class DockerError(ValueError):
    """The engine does not answer, or refuses."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Docker:
    """One engine. Bodies, which may hold secrets, are never part of a message."""

    def __init__(self, path: str = SOCKET, timeout: float = 60) -> None:
        self.path = path
        self.timeout = timeout

    def ask(self, method: str, target: str, body: Any = None) -> Any:
        """Return the engine's answer, as JSON if it is that."""
        connection = _UnixConnection(self.path, self.timeout)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, target, payload, {"Content-Type": "application/json"} if payload else {})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as exc:
            raise DockerError(
                f"Docker Engine does not answer at {self.path} ({exc or type(exc).__name__}): see that it is installed "
                "and runs (systemctl status docker), and that the task runs as root (become)"
            ) from None
        finally:
            connection.close()
        value = _read(text)
        if answer.status >= 400:
            said = value.get("message", text) if isinstance(value, dict) else text
            raise DockerError(str(said).strip() or f"HTTP status {answer.status}", answer.status)
        return value

    def info(self) -> dict[str, Any]:
        """Return what the engine says of itself."""
        return self.ask("GET", "/info")

    def running(self) -> list[dict[str, Any]]:
        """Return the containers that run."""
        return self.ask("GET", "/containers/json")


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
