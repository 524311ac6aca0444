# SIMULATED: part of the lab's stand-in for the internet.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all services share: a threaded HTTP/1.1 server whose every answer is counted and may be made to fail."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import socketserver
import ssl
import struct
import sys
import termios
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qs, unquote

from .faults import Fault, FaultBook, Request
from .ranges import spoil_hex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .ledger import Ledger

_PIECE = 8 << 20  # what is sent between two entries in the ledger
_IDLE_SECONDS = 60
_DRAIN_SECONDS = 5


class ConnectionCutError(Exception):
    """This connection ends now, in the middle of an answer."""

    def __init__(self, reset: bool) -> None:
        super().__init__("reset" if reset else "fin")
        self.reset = reset


class Server(ThreadingHTTPServer):
    """One listening port of one service."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[Handler],
        faults: FaultBook,
        ledger: Ledger,
        tls: ssl.SSLContext | None = None,
        quiet: bool = False,
    ) -> None:
        self.faults = faults
        self.ledger = ledger
        self.tls = tls
        self.quiet = quiet
        self.stopping = threading.Event()
        super().__init__(address, handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.server_address[1]

    def server_bind(self) -> None:
        """Bind without asking a name server for this host's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in its own thread; so a slow TLS handshake holds nobody up."""
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(_IDLE_SECONDS)
        try:
            wrapped = self.tls.wrap_socket(request, server_side=True)
        except OSError as error:
            self.log(f"{client_address[0]} TLS handshake failed: {error}")
            return
        try:
            super().finish_request(wrapped, client_address)
        finally:
            self.shutdown_request(wrapped)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong on a connection, but not that the client left."""
        if not isinstance(sys.exc_info()[1], OSError):
            self.log(traceback.format_exc())

    def log(self, text: str) -> None:
        """Write to standard error, which is the journal's."""
        if not self.quiet:
            sys.stderr.write(text + "\n")

    def stop(self) -> None:
        """End: no new connections; those in progress end with the process."""
        self.stopping.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection. A subclass names its service and answers in `respond`."""

    protocol_version = "HTTP/1.1"
    server_version = "virtual-internet"
    sys_version = ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    service: str | None = None  # None: neither counted nor made to fail
    server: Server

    def respond(self) -> None:
        """Answer the request that was read."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer a request of any method."""
        self.raw_path, _mark, query = self.path.partition("?")
        self.query = parse_qs(query)
        wanted = self.headers.get("Range", "")
        self.seen = Request(self.service or "", self.command, unquote(self.raw_path), self.client_address[0], wanted)
        self.status_sent = 0
        self.body_unread = self.headers.get("Transfer-Encoding") is not None or self._content_length() > 0
        started = time.monotonic()
        try:
            if not self._early_fault():
                self.respond()
            if self.body_unread:
                for _piece in self.request_body():
                    pass
        except ConnectionCutError as cut:
            self._cut(cut.reset)
        except OSError:  # the client left, or was silent for too long
            self.close_connection = True
        except Exception:
            self.server.log(traceback.format_exc())
            self._cut(True) if self.status_sent else self.send_json(500, {"error": "the stand-in itself failed"})
        finally:
            if not self.status_sent:
                self._count_request()
            if self.service:
                seconds = time.monotonic() - started
                self.server.log(f"{self.seen.client} {self.command} {self.raw_path} {self.status_sent} {seconds:.3f}s")

    def do_HEAD(self) -> None:
        """Answer HEAD."""
        self.do_GET()

    def do_POST(self) -> None:
        """Answer POST."""
        self.do_GET()

    def do_PUT(self) -> None:
        """Answer PUT."""
        self.do_GET()

    def do_PATCH(self) -> None:
        """Answer PATCH."""
        self.do_GET()

    def do_DELETE(self) -> None:
        """Answer DELETE."""
        self.do_GET()

    # Reading

    def request_body(self) -> Iterator[bytes]:
        """Yield the request's body in pieces, whichever way it is framed."""
        self.body_unread = False
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            yield from self._read(self._content_length())
            return
        while True:
            try:
                size = int(self.rfile.readline(100).split(b";")[0], 16)
            except ValueError:
                size = -1
            if size < 0:
                raise ConnectionCutError(reset=False)
            yield from self._read(size)
            if size:
                self.rfile.readline(3)
                continue
            while self.rfile.readline(65536).strip():  # trailers
                pass
            return

    def _content_length(self) -> int:
        text = self.headers.get("Content-Length", "0")
        return int(text) if text.isascii() and text.isdigit() else 0

    def _read(self, count: int) -> Iterator[bytes]:
        while count:
            piece = self.rfile.read1(min(count, 1 << 20))
            if not piece:
                raise ConnectionCutError(reset=True)
            count -= len(piece)
            if self.service:
                self.server.ledger.received(self.service, self.seen.client, len(piece))
            yield piece

    # Answering

    def send_head(self, status: int, headers: list[tuple[str, str]], reason: str | None = None) -> None:
        """Send the status line and all headers; an injected etag fault shows here."""
        names = {name.lower() for name, _value in headers}
        if self.service and status < 400 and names & {"etag", "x-linked-etag", "docker-content-digest"}:
            fault = self.server.faults.take_etag(self.seen)
            headers = [_spoilt(header, fault) for header in headers] if fault else headers
        self.status_sent = status
        self._count_request()  # before it is sent: who has the answer finds it in the ledger
        self.send_response_only(status, reason)
        if "date" not in names:
            self.send_header("Date", self.date_time_string())
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def send_json(self, status: int, value: object, headers: list[tuple[str, str]] | None = None) -> None:
        """Answer with JSON."""
        self.send_payload(status, json.dumps(value).encode(), "application/json; charset=utf-8", headers)

    def send_payload(
        self, status: int, payload: bytes, content_type: str, headers: list[tuple[str, str]] | None = None
    ) -> None:
        """Answer with a short body that is at hand."""
        head = [("Content-Type", content_type), ("Content-Length", str(len(payload))), *(headers or [])]
        self.send_head(status, head)
        if self.command != "HEAD":
            outlet = Outlet(self, len(payload))
            outlet.write(payload)

    def _count_request(self) -> None:
        if self.service:
            self.server.ledger.request(self.service, self.seen.client, self.seen.path, self.status_sent)

    def _early_fault(self) -> bool:
        """Apply a fault that replaces the whole answer; say whether there was one."""
        fault = self.server.faults.take_early(self.seen) if self.service else None
        if fault is None:
            return False
        if fault.kind == "hang":
            self.server.stopping.wait(fault.seconds)
            raise ConnectionCutError(reset=True)
        for _piece in self.request_body() if self.body_unread else ():
            pass
        headers = []
        if fault.retry_after is not None:
            headers.append(("Retry-After", str(fault.retry_after)))
            if self.service == "hub" and fault.status == 429:
                headers.append(("RateLimit", f'"resolvers";r=0;t={fault.retry_after}'))
        self.send_json(fault.status or 500, self.error_body(f"injected fault {fault.id}"), headers)
        return True

    def error_body(self, message: str) -> object:
        """Return a body for an injected error, in the service's own shape."""
        return {"error": message}

    def _cut(self, reset: bool) -> None:
        """End the connection; before a reset, wait until what was sent has arrived."""
        self.close_connection = True
        if not reset:
            return
        deadline = time.monotonic() + _DRAIN_SECONDS
        with contextlib.suppress(OSError):  # it may be gone already
            while _unacknowledged(self.connection) and time.monotonic() < deadline:
                time.sleep(0.002)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def handle_one_request(self) -> None:
        """Read and answer one request; whoever left in between is no error."""
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def finish(self) -> None:
        """Close the connection's files, also after a cut."""
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Log what the base class has to say (requests that it could not parse)."""
        self.server.log(f"{self.client_address[0]} {format % args}")


class Outlet:
    """The body of one answer on its way out: counted, and cut, stalled, slowed or spoilt where a fault says so."""

    def __init__(
        self, handler: Handler, length: int | None, digest: str | None = None, name: str = "", size: int | None = None
    ) -> None:
        self._handler = handler
        self._digest = digest
        service = handler.service
        self._faults = handler.server.faults.take_body(handler.seen, length) if service else {}
        self._position = 0
        self._started = time.monotonic()
        if service and digest:
            handler.server.ledger.content(service, digest, name, size)

    def write(self, data: bytes, prefix: bytes = b"", suffix: bytes = b"") -> None:
        """Send bytes of the body; prefix and suffix are framing, and not counted."""
        view = memoryview(data)
        self._handler.wfile.write(prefix) if prefix else None
        while view:
            count, spoil = self._next(len(view))
            self._account(count)
            self._handler.wfile.write(bytes([view[0] ^ 0xFF]) if spoil else view[:count])
            self._position += count
            self._throttle()
            view = view[count:]
        self._handler.wfile.write(suffix) if suffix else None

    def write_file(self, file: BinaryIO, offset: int, length: int) -> None:
        """Send a part of a file, without copying it through this process."""
        end = offset + length
        while offset < end:
            count, spoil = self._next(end - offset)
            file.seek(offset)
            if spoil:
                self.write(file.read(1))
                offset += 1
                continue
            self._account(count)
            try:
                self._handler.connection.sendfile(file, offset, count)
            finally:  # also where the client left in the middle
                sent = file.tell() - offset
                self._account(sent - count)
            if sent == 0:
                raise ConnectionCutError(reset=True)  # the file is shorter than it was
            self._position += sent
            self._throttle()
            offset += sent

    def _next(self, wanted: int) -> tuple[int, bool]:
        """Return how many bytes may go now, and whether they (then it is one) must be spoilt; a cut ends it here."""
        count = min(wanted, _PIECE)
        end = self._faults.get("cut") or self._faults.get("hang")
        if end is not None:
            left = (end.after_bytes or 0) - self._position
            if left <= 0:
                if end.kind == "hang":
                    self._handler.server.stopping.wait(end.seconds)
                raise ConnectionCutError(reset=end.how != "fin")
            count = min(count, left)
        slow = self._faults.get("slow")
        if slow is not None and slow.bytes_per_second:
            count = min(count, max(slow.bytes_per_second // 20, 1))
        content = self._faults.get("content")
        if content is not None:
            distance = (content.at_byte or 0) - self._position
            if distance == 0:
                return 1, True
            if distance > 0:
                count = min(count, distance)
        return count, False

    def _account(self, count: int) -> None:
        """Enter bytes in the ledger before they are sent, so that who has them finds them there."""
        handler = self._handler
        if handler.service and count:
            seen = handler.seen
            handler.server.ledger.sent(handler.service, seen.client, seen.path, self._digest, count)

    def _throttle(self) -> None:
        slow = self._faults.get("slow")
        if slow is not None and slow.bytes_per_second:
            ahead = self._position / slow.bytes_per_second - (time.monotonic() - self._started)
            if ahead > 0:
                self._handler.server.stopping.wait(ahead)


def _unacknowledged(connection: socket.socket) -> int:
    """How many bytes the other side's kernel has not confirmed yet."""
    return struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]


def _spoilt(header: tuple[str, str], fault: Fault) -> tuple[str, str]:
    """Return the header, its tag replaced by the fault's or by a spoilt one."""
    name, value = header
    if name.lower() not in ("etag", "x-linked-etag", "docker-content-digest"):
        return header
    bare = value.strip('"')
    return name, value.replace(bare, fault.etag or spoil_hex(bare))
