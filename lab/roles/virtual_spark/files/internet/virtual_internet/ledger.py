# SIMULATED: part of the lab's stand-in for the internet.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account of what was sent to whom: bytes of bodies only, never of headers or of TLS.

`bytes_sent` counts every body, `content_bytes` only those that were (a part of) a file or a registry object. What is
counted was taken by the kernel; of a cut connection exactly what reached the other side (`http_server.py` sees to it),
of one that the client gave up at most a socket buffer more.
"""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import Any

from .faults import SERVICES


def _counters() -> dict[str, int]:
    return {"requests": 0, "bytes_sent": 0, "content_bytes": 0, "bytes_received": 0}


class Ledger:
    """Counters per service: in all, per client address, per path, per digest. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._account = _empty()

    def reset(self) -> dict[str, Any]:
        """Start anew; return what was counted until now."""
        with self._lock:
            before, self._account = self._account, _empty()
            return before

    def as_json(self) -> dict[str, Any]:
        """Return a copy of the whole account."""
        with self._lock:
            return _copy(self._account)

    def request(self, service: str, client: str, path: str, status: int) -> None:
        """Count one answered request; `status` 0 stands for no answer at all."""
        with self._lock:
            for counters in self._rows(service, client):
                counters["requests"] += 1
            row = self._path(service, path)
            row["requests"] += 1
            row["statuses"][str(status)] = row["statuses"].get(str(status), 0) + 1

    def received(self, service: str, client: str, count: int) -> None:
        """Count bytes of a request's body."""
        with self._lock:
            for counters in self._rows(service, client):
                counters["bytes_received"] += count

    def content(self, service: str, digest: str, name: str, size: int | None) -> None:
        """Count one response that carries (a part of) this object."""
        with self._lock:
            row = self._account["services"][service]["digests"].setdefault(
                digest, {"name": name, "size": size, "requests": 0, "bytes_sent": 0, "clients": {}}
            )
            row["requests"] += 1
            row["size"] = size if size is not None else row["size"]

    def sent(self, service: str, client: str, path: str, digest: str | None, count: int) -> None:
        """Count bytes of a response's body; `digest` names the object that they belong to."""
        with self._lock:
            for counters in self._rows(service, client):
                counters["bytes_sent"] += count
                counters["content_bytes"] += count if digest else 0
            self._path(service, path)["bytes_sent"] += count
            row = self._account["services"][service]["digests"].get(digest)
            if row is not None:  # None only after a reset in the middle of a body
                row["bytes_sent"] += count
                row["clients"][client] = row["clients"].get(client, 0) + count

    def _rows(self, service: str, client: str) -> tuple[dict[str, Any], dict[str, int]]:
        total = self._account["services"][service]
        return total, total["clients"].setdefault(client, _counters())

    def _path(self, service: str, path: str) -> dict[str, Any]:
        return self._account["services"][service]["paths"].setdefault(
            path, {"requests": 0, "bytes_sent": 0, "statuses": {}}
        )


def _empty() -> dict[str, Any]:
    since = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    services = {name: {**_counters(), "clients": {}, "paths": {}, "digests": {}} for name in SERVICES}
    return {"since": since, "services": services}


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value
