# SIMULATED: part of the lab's stand-in for the internet.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that are injected from outside, one by one: what they are, and which request each one hits.

A fault is a JSON object. Every kind takes `service`, `kind`, and optionally `match` (a regular expression searched in
the decoded path, without the query), `range` (one searched in the request's Range header, empty without one), `client`
(an address), `method`, and `times` (how often it applies, 1 by default, null for ever). On top of these:

    cut      after_bytes (0), how ("fin" or "rst")  the connection ends after so many bytes of the body
    status   status, retry_after                    this answer instead of the real one
    etag     etag                                   a wrong ETag (or Docker-Content-Digest), by default a spoilt one
    content  at_byte (0)                            one flipped byte, at this place of the response's body
    slow     bytes_per_second                       the body, no faster than this
    hang     after_bytes, seconds (60)              silence (from the start, or after so many bytes), then a reset

A fault is spent only by a response that it really changed: a cut after 1000 bytes waits for a body longer than that.
To one response the oldest matching fault of every kind applies (cut and hang count as one kind); `status`, and `hang`
without `after_bytes`, come first and alone.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICES = ("hub", "registry", "apt")
_COMMON = {"service", "kind", "match", "range", "client", "method", "times"}
_OWN: dict[str, set[str]] = {
    "cut": {"after_bytes", "how"},
    "status": {"status", "retry_after"},
    "etag": {"etag"},
    "content": {"at_byte"},
    "slow": {"bytes_per_second"},
    "hang": {"after_bytes", "seconds"},
}
_HISTORY = 1000


class FaultError(ValueError):
    """A fault that was asked for and makes no sense; the message says why."""


@dataclass(frozen=True)
class Request:
    """What a fault is matched against."""

    service: str
    method: str
    path: str
    client: str
    range: str = ""


@dataclass
class Fault:
    """One injected fault. Fields that its kind does not use are None."""

    service: str
    kind: str
    match: str = ""
    range: str = ""
    client: str | None = None
    method: str | None = None
    times: int | None = 1
    after_bytes: int | None = None
    how: str | None = None
    status: int | None = None
    retry_after: int | None = None
    etag: str | None = None
    at_byte: int | None = None
    bytes_per_second: int | None = None
    seconds: int | None = None
    id: int = 0
    applied: int = 0

    def matches(self, request: Request) -> bool:
        """Whether this fault is meant for this request and not yet spent."""
        return (
            self.service == request.service
            and (self.times is None or self.applied < self.times)
            and self.client in (None, request.client)
            and self.method in (None, request.method)
            and re.search(self.match, request.path) is not None
            and re.search(self.range, request.range) is not None
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fault as the control API shows it."""
        names = [
            "id",
            "service",
            "kind",
            "match",
            "range",
            "client",
            "method",
            "times",
            "applied",
            *sorted(_OWN[self.kind]),
        ]
        return {name: getattr(self, name) for name in names}


def parse_fault(data: object) -> Fault:
    """Return the fault that a JSON value describes. Raises FaultError."""
    if not isinstance(data, dict):
        raise FaultError("a fault is a JSON object")
    service, kind = data.get("service"), data.get("kind")
    if service not in SERVICES:
        raise FaultError(f"service must be one of {', '.join(SERVICES)}, not {service!r}")
    if not isinstance(kind, str) or kind not in _OWN:
        raise FaultError(f"kind must be one of {', '.join(_OWN)}, not {kind!r}")
    unknown = sorted(map(str, set(data) - _COMMON - _OWN[kind]))
    if unknown:
        raise FaultError(f"a fault of kind {kind} does not take {', '.join(unknown)}")

    fault = Fault(service, kind)
    fault.match, fault.range = _text(data, "match") or "", _text(data, "range") or ""
    for name, pattern in (("match", fault.match), ("range", fault.range)):
        try:
            re.compile(pattern)
        except re.error as error:
            raise FaultError(f"{name} is not a regular expression: {error}") from error
    fault.client = _text(data, "client")
    fault.method = _text(data, "method")
    fault.times = None if data.get("times", 1) is None else _number(data, "times", 1, 1)
    if kind == "cut":
        fault.after_bytes = _number(data, "after_bytes", 0, 0)
        fault.how = _text(data, "how") or "fin"
        if fault.how not in ("fin", "rst"):
            raise FaultError(f"how must be fin or rst, not {fault.how!r}")
    elif kind == "status":
        fault.status = _number(data, "status", None, 400, 599)
        fault.retry_after = None if data.get("retry_after") is None else _number(data, "retry_after", None, 0)
    elif kind == "etag":
        fault.etag = _text(data, "etag")
        if fault.etag is not None and not re.fullmatch(r"[\w:.+-]+", fault.etag, re.ASCII):
            raise FaultError(f"etag must be one word, without quotes, not {fault.etag!r}")
    elif kind == "content":
        fault.at_byte = _number(data, "at_byte", 0, 0)
    elif kind == "slow":
        fault.bytes_per_second = _number(data, "bytes_per_second", None, 1)
    else:
        fault.after_bytes = None if data.get("after_bytes") is None else _number(data, "after_bytes", None, 0)
        fault.seconds = _number(data, "seconds", 60, 0)
    return fault


def _text(data: dict[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise FaultError(f"{name} must be a string, not {value!r}")
    return value


def _number(data: dict[str, Any], name: str, default: int | None, low: int, high: int | None = None) -> int:
    value = data.get(name, default)
    span = f"{low} or more" if high is None else f"from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise FaultError(f"{name} must be a whole number, {span}, not {value!r}")
    return value


def changes_body(fault: Fault, length: int | None) -> bool:
    """Whether this fault shows in a body of this length (None: not known beforehand)."""
    if fault.kind in ("cut", "hang"):
        return fault.after_bytes is not None and (length is None or length > fault.after_bytes)
    if fault.kind == "content":
        return fault.at_byte is not None and (length is None or length > fault.at_byte)
    return fault.kind == "slow" and length != 0


class FaultBook:
    """The faults in force, and which requests they hit. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._history: deque[dict[str, Any]] = deque(maxlen=_HISTORY)
        self._last_id = 0

    def add(self, faults: list[Fault]) -> None:
        """Put faults in force, and number them."""
        with self._lock:
            for fault in faults:
                self._last_id += 1
                fault.id = self._last_id
                self._faults.append(fault)

    def remove(self, fault_id: int | None = None) -> int:
        """Take one fault away, or all of them and the history too; return how many there were."""
        with self._lock:
            keep = [] if fault_id is None else [fault for fault in self._faults if fault.id != fault_id]
            removed = len(self._faults) - len(keep)
            self._faults = keep
            if fault_id is None:
                self._history.clear()
            return removed

    def as_json(self) -> dict[str, Any]:
        """Return what is in force and what was applied, oldest first."""
        with self._lock:
            return {"active": [fault.as_json() for fault in self._faults], "applied": list(self._history)}

    def take_early(self, request: Request) -> Fault | None:
        """Spend and return the fault that replaces the whole answer to this request."""
        with self._lock:
            for fault in self._faults:
                early = fault.kind == "status" or (fault.kind == "hang" and fault.after_bytes is None)
                if early and fault.matches(request):
                    self._spend(fault, request)
                    return fault
            return None

    def take_etag(self, request: Request) -> Fault | None:
        """Spend and return the fault that spoils the tag of this response."""
        with self._lock:
            return self._take(("etag",), request, lambda _fault: True)

    def take_body(self, request: Request, length: int | None) -> dict[str, Fault]:
        """Spend and return, by kind, the faults that change a body of this length."""
        with self._lock:
            taken = [
                self._take(kinds, request, lambda fault: changes_body(fault, length))
                for kinds in (("cut", "hang"), ("content",), ("slow",))
            ]
            return {fault.kind: fault for fault in taken if fault is not None}

    def _take(self, kinds: tuple[str, ...], request: Request, fits: Callable[[Fault], bool]) -> Fault | None:
        for fault in self._faults:
            if fault.kind in kinds and fault.matches(request) and fits(fault):
                self._spend(fault, request)
                return fault
        return None

    def _spend(self, fault: Fault, request: Request) -> None:
        fault.applied += 1
        self._history.append(
            {
                "id": fault.id,
                "kind": fault.kind,
                "at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "service": request.service,
                "method": request.method,
                "path": request.path,
                "client": request.client,
            }
        )
        if fault.times is not None and fault.applied >= fault.times:
            self._faults.remove(fault)
