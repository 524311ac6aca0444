# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's proxy, before a small stand-in for docker-registry (the real one is tried in the lab itself)."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from virtual_internet_support import Answer, Lab, read, running

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOB = bytes(range(256)) * 2000  # 512,000 bytes
DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()
BLOB_PATH = f"/v2/lab/app/blobs/{DIGEST}"
MANIFEST = b'{"schemaVersion": 2}'
MANIFEST_DIGEST = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()


class Upstream(BaseHTTPRequestHandler):
    """Answers as a registry does, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: list[dict[str, Any]]

    def do_GET(self) -> None:
        self.note(b"")
        if self.path == BLOB_PATH:
            first = int(self.headers.get("Range", "bytes=0-")[6:-1])
            headers = {"Docker-Content-Digest": DIGEST, "Etag": f'"{DIGEST}"'}
            if first:
                headers["Content-Range"] = f"bytes {first}-{len(BLOB) - 1}/{len(BLOB)}"
            self.answer(206 if first else 200, BLOB[first:], headers)
        elif self.path == "/v2/lab/app/manifests/1":
            self.answer(200, MANIFEST, {"Docker-Content-Digest": MANIFEST_DIGEST})
        elif self.path == "/v2/_catalog?n=1":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        elif self.path == "/v2/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        else:
            self.answer(404, b"{}", {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.note(body)
        place = f"{self.headers['X-Forwarded-Proto']}://{self.headers['Host']}/v2/lab/app/blobs/uploads/1"
        self.answer(202, b"", {"Location": place})

    def do_PUT(self) -> None:
        self.do_POST()

    def do_PATCH(self) -> None:
        self.do_POST()

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def note(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked.append({"method": self.command, "path": self.path, "headers": headers, "body": body})

    def log_message(self, *_args: Any) -> None:
        pass


class Registry:
    """The proxy as a client sees it, over TLS, and what reached the registry behind it."""

    def __init__(self, lab: Lab, trust: ssl.SSLContext) -> None:
        self.lab, self._trust = lab, trust

    def connect(self) -> http.client.HTTPSConnection:
        port = self.lab.internet.ports["registry_port"]
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=self._trust)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            return read(connection)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def shared_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    cert, key = folder / "cert.pem", folder / "key.pem"
    make_cert = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make_cert += ["-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(make_cert, check=True, capture_output=True)
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, args=(0.05,), daemon=True).start()
    with running(folder, registry_upstream=upstream.server_address[:2], tls_cert=cert, tls_key=key) as lab:
        yield Registry(lab, ssl.create_default_context(cafile=str(cert)))
    upstream.shutdown()
    upstream.server_close()


@pytest.fixture
def registry(shared_registry: Registry) -> Registry:
    shared_registry.lab.reset()
    Upstream.asked = []
    return shared_registry


def test_a_blob_passes_unchanged_and_counted(registry: Registry) -> None:
    answer = registry.ask("GET", BLOB_PATH)
    assert (answer.status, answer.body, answer.headers["Docker-Content-Digest"]) == (200, BLOB, DIGEST)
    assert registry.ask("HEAD", BLOB_PATH).headers["Content-Length"] == str(len(BLOB))
    assert registry.ask("GET", BLOB_PATH, headers={"Range": "bytes=511900-"}).body == BLOB[511900:]
    stats = registry.lab.stats("registry")
    assert stats["digests"][DIGEST] == {
        "name": f"lab/app@{DIGEST}",
        "size": len(BLOB),
        "requests": 2,
        "bytes_sent": len(BLOB) + 100,
        "clients": {"127.0.0.1": len(BLOB) + 100},
    }
    assert stats["paths"][BLOB_PATH]["statuses"] == {"200": 2, "206": 1}
    assert registry.lab.stats("hub")["requests"] == 0


def test_a_manifest_by_tag_is_counted_by_its_digest(registry: Registry) -> None:
    registry.ask("GET", "/v2/lab/app/manifests/1")
    row = registry.lab.stats("registry")["digests"][MANIFEST_DIGEST]
    assert (row["name"], row["bytes_sent"]) == ("lab/app:1", len(MANIFEST))


def test_headers(registry: Registry) -> None:
    spoofed = {"Host": "registry.lab:5000", "X-Forwarded-Proto": "ftp", "Connection": "close, x", "Accept": "a/b"}
    answer = registry.ask("POST", "/v2/lab/app/blobs/uploads/?mount=x", headers=spoofed)
    assert answer.headers["Location"] == "https://registry.lab:5000/v2/lab/app/blobs/uploads/1"
    (asked,) = Upstream.asked
    assert asked["path"] == "/v2/lab/app/blobs/uploads/?mount=x"
    assert asked["headers"]["x-forwarded-proto"] == "https"
    assert asked["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert asked["headers"]["accept"] == "a/b"
    assert "connection" not in asked["headers"]


def test_uploads_of_both_framings(registry: Registry) -> None:
    pieces = [BLOB[:300_000], BLOB[300_000:]]
    assert registry.ask("PATCH", "/v2/lab/app/blobs/uploads/1", iter(pieces)).status == 202
    assert registry.ask("PUT", "/v2/lab/app/blobs/uploads/1", BLOB).status == 202
    assert [asked["body"] == BLOB for asked in Upstream.asked] == [True, True]
    assert registry.lab.stats("registry")["bytes_received"] == 2 * len(BLOB)


def test_answers_in_chunks_and_one_connection(registry: Registry) -> None:
    connection = registry.connect()
    connection.request("GET", "/v2/_catalog?n=1")
    assert read(connection).body == b"hello world"
    first = connection.sock
    for path, status in (("/v2/none", 404), ("/v2/lab/app/manifests/1", 200)):
        connection.request("GET", path)
        assert read(connection).status == status
    assert connection.sock is first
    connection.close()


def test_a_registry_that_breaks_off(registry: Registry) -> None:
    started = time.monotonic()
    answer = registry.ask("GET", "/v2/short")
    assert (answer.whole, answer.body) == (False, b"half")
    assert time.monotonic() - started < 4  # the connection ended, the client had not to give it up


def test_no_registry(tmp_path: Path) -> None:
    with running(tmp_path, registry_upstream=("127.0.0.1", 1)) as lab:
        connection = http.client.HTTPConnection("127.0.0.1", lab.internet.ports["registry_port"], timeout=5)
        connection.request("GET", "/v2/")
        answer = read(connection)
        assert (answer.status, answer.json["errors"][0]["code"]) == (502, "UNKNOWN")


def test_plain_http_on_the_tls_port_harms_nobody(registry: Registry) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", registry.lab.internet.ports["registry_port"], timeout=5)
    connection.request("GET", "/v2/")
    with pytest.raises((OSError, http.client.HTTPException)):
        connection.getresponse()
    connection.close()
    assert registry.ask("GET", "/v2/lab/app/manifests/1").status == 200


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_cut(registry: Registry, how: str) -> None:
    registry.lab.fault(service="registry", kind="cut", match="/blobs/", after_bytes=300_001, how=how)
    answer = registry.ask("GET", BLOB_PATH)
    assert (answer.whole, answer.body) == (False, BLOB[:300_001])
    assert registry.lab.stats("registry")["content_bytes"] == 300_001
    rest = registry.ask("GET", BLOB_PATH, headers={"Range": "bytes=300001-"})
    assert answer.body + rest.body == BLOB
    assert registry.lab.stats("registry")["digests"][DIGEST]["bytes_sent"] == len(BLOB)


def test_status_before_an_upload(registry: Registry) -> None:
    registry.lab.fault(service="registry", kind="status", status=503, method="PATCH")
    answer = registry.ask("PATCH", "/v2/lab/app/blobs/uploads/1", iter([BLOB]))
    assert (answer.status, answer.json["errors"][0]["code"]) == (503, "UNKNOWN")
    assert Upstream.asked == []


def test_wrong_digest_and_wrong_content(registry: Registry) -> None:
    registry.lab.fault(service="registry", kind="etag", match="/manifests/")
    registry.lab.fault(service="registry", kind="content", match="/blobs/", at_byte=300_000)
    wrong = registry.ask("GET", "/v2/lab/app/manifests/1").headers["Docker-Content-Digest"]
    assert wrong.startswith("sha256:")
    assert wrong != MANIFEST_DIGEST
    body = registry.ask("GET", BLOB_PATH).body
    assert [index for index in range(len(BLOB)) if body[index] != BLOB[index]] == [300_000]
    assert registry.lab.applied() == ["etag", "content"]
