# SIMULATED: part of the lab's stand-in for the internet. The registry behind this proxy is a real one.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TLS proxy before a real container registry, that counts and fails on request, and otherwise changes nothing.

`Host` is kept and `X-Forwarded-Proto: https` is added, so that the registry's own Location headers are right.
"""

from __future__ import annotations

import http.client
import re
import ssl
from typing import TYPE_CHECKING, Any

from .http_server import ConnectionCutError, Handler, Outlet, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOP_BY_HOP = {
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_PIECE = 256 << 10
_UPSTREAM_SECONDS = 60
_OBJECT = re.compile(r"/v2/(?P<name>.+)/(?:blobs|manifests)/(?P<reference>[^/]+)")


class RegistryServer(Server):
    """The registry's public port. `upstream` is (host, port) of the registry itself."""

    def __init__(self, *args: Any, upstream: tuple[str, int], **more: Any) -> None:
        self.upstream = upstream
        super().__init__(*args, **more)


class RegistryHandler(Handler):
    """One connection of a registry client."""

    service = "registry"
    server: RegistryServer

    def respond(self) -> None:
        """Pass the request on, and its answer back."""
        upstream = http.client.HTTPConnection(*self.server.upstream, timeout=_UPSTREAM_SECONDS)
        try:
            try:
                answer = self._ask(upstream)
            except (OSError, http.client.HTTPException) as error:
                self.server.log(f"the registry does not answer: {error!r}")
                self.close_connection = True  # some of the request may not have been read
                self.body_unread = False
                self.send_json(502, self.error_body("the registry behind this proxy does not answer"))
                return
            self._answer(answer)
        finally:
            upstream.close()

    def error_body(self, message: str) -> object:
        """Return an error as registries word it."""
        return {"errors": [{"code": "UNKNOWN", "message": message, "detail": None}]}

    def _ask(self, upstream: http.client.HTTPConnection) -> http.client.HTTPResponse:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP and not name.lower().startswith("x-forwarded-"):
                upstream.putheader(name, value)
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        upstream.putheader("X-Forwarded-Proto", scheme)
        upstream.putheader("X-Forwarded-For", self.seen.client)
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        if chunked:
            upstream.putheader("Transfer-Encoding", "chunked")
        upstream.endheaders()
        if self.body_unread:
            for piece in self._client_body():
                upstream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                upstream.send(b"0\r\n\r\n")
        return upstream.getresponse()

    def _client_body(self) -> Iterator[bytes]:
        """Read the request's body; its end before time is the client's doing, not the registry's."""
        try:
            yield from self.request_body()
        except OSError as error:
            raise ConnectionCutError(reset=True) from error

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        empty = self.command == "HEAD" or answer.status in (204, 304)
        length = 0 if empty else answer.length
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
        chunked = length is None and self.request_version != "HTTP/1.0"
        if chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        elif length is None:
            self.close_connection = True
        self.send_head(answer.status, headers, answer.reason)
        if empty:
            return
        digest, name = self._object(answer)
        outlet = Outlet(self, length, digest, name, _full_size(answer) if digest else None)
        passed = 0
        try:
            while piece := answer.read1(_PIECE):
                passed += len(piece)
                if chunked:
                    outlet.write(piece, b"%x\r\n" % len(piece), b"\r\n")
                else:
                    outlet.write(piece)
        except http.client.HTTPException as error:
            raise ConnectionCutError(reset=True) from error
        if length is not None and passed < length:
            raise ConnectionCutError(reset=True)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _object(self, answer: http.client.HTTPResponse) -> tuple[str | None, str]:
        """Return the digest and the name of the blob or manifest in this answer, if it is one."""
        match = _OBJECT.fullmatch(self.seen.path)
        if match is None or self.command != "GET" or answer.status not in (200, 206):
            return None, ""
        reference = match["reference"]
        digest = answer.headers.get("Docker-Content-Digest") or (reference if ":" in reference else None)
        return digest, f"{match['name']}@{reference}" if ":" in reference else f"{match['name']}:{reference}"


def _full_size(answer: http.client.HTTPResponse) -> int | None:
    """Return the size of the whole object, of which this answer may be a part."""
    total = (answer.headers.get("Content-Range") or "").rpartition("/")[2]
    text = total or answer.headers.get("Content-Length") or ""
    return int(text) if text.isdigit() else None
