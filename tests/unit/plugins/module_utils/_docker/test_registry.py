# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry tells of an image's size, over real TLS, and that nothing depends on its telling."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import registry
from hypothesis import given
from hypothesis import strategies as st

LOGIN = ("$oauthtoken", "nvapi-1")
INDEX = {
    "manifests": [
        {"digest": "sha256:amd", "platform": {"architecture": "amd64"}},
        {"digest": "sha256:arm", "platform": {"architecture": "arm64"}},
        {"digest": "sha256:att", "platform": {"architecture": "unknown"}},
    ]
}
MANIFEST = {"config": {"size": 7}, "layers": [{"size": 1000}, {"size": 234}]}


class Server:
    """SIMULATED: a registry that asks for a token, and tells who asked for what."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.scheme = "Bearer"
        self.answers: dict[str, Any] = {"/v2/a/b/manifests/1": INDEX, "/v2/a/b/manifests/sha256:arm": MANIFEST}


@contextmanager
def serving(one: Server, folder: Path) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization", "")
            one.asked.append(f"{self.path} {authorization}".strip())
            if self.path.startswith("/token"):
                self.reply(200, {"token": "t0"})
            elif one.scheme and authorization not in ("Bearer t0", basic()):
                realm = f'{one.scheme} realm="https://localhost:{self.server.server_port}/token",service="s",scope="p"'
                self.reply(401, {}, {"WWW-Authenticate": realm})
            else:
                self.reply(200 if self.path in one.answers else 404, one.answers.get(self.path, {}))

        def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(text)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_words: object) -> None:
            pass

    key, certificate = folder / "key.pem", folder / "ca.crt"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
    subprocess.run([*argv, "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("localhost", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    address = f"localhost:{server.server_port}"
    (folder / address).mkdir()
    (folder / address / "ca.crt").write_bytes(certificate.read_bytes())
    yield address
    server.shutdown()
    server.server_close()
    thread.join()


def basic() -> str:
    return f"Basic {base64.b64encode(':'.join(LOGIN).encode()).decode()}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, str]]:
    one = Server()
    with serving(one, tmp_path) as address:
        monkeypatch.setattr(registry.Registry.__init__, "__defaults__", ("", str(tmp_path)))
        yield one, address


@pytest.mark.parametrize(
    ("scheme", "login", "last"),
    [("Bearer", LOGIN, "Bearer t0"), ("Bearer", None, "Bearer t0"), ("Basic", LOGIN, basic()), ("", None, "")],
)
def test_the_size_for_this_processor(hub: tuple[Server, str], scheme: str, login: Any, last: str) -> None:
    one, address = hub
    one.scheme = scheme
    assert registry.image_bytes(f"{address}/a/b:1", "aarch64", login, {}) == 1234
    assert one.asked[-1] == f"/v2/a/b/manifests/sha256:arm {last}".strip()
    tokens = [each for each in one.asked if each.startswith("/token")]
    if scheme == "Bearer":
        assert tokens[0] == f"/token?service=s&scope=p {basic() if login else ''}".strip()
    else:
        assert not tokens


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: one.answers.clear(),
        lambda one: one.answers.update({"/v2/a/b/manifests/1": []}),
        lambda one: one.answers.update({"/v2/a/b/manifests/1": {"manifests": [{"digest": "x"}]}}),
        lambda one: one.answers.update({"/v2/a/b/manifests/sha256:arm": {"layers": [{"size": "many"}]}}),
        lambda one: one.answers.update({"/v2/a/b/manifests/sha256:arm": {"fsLayers": []}}),
        lambda one: setattr(one, "scheme", "Negotiate"),
    ],
    ids=["none of that name", "no manifest", "no image for it", "no number", "schema 1", "an unknown login"],
)
def test_a_registry_that_does_not_tell_is_no_failure(hub: tuple[Server, str], spoil: Any) -> None:
    one, address = hub
    spoil(one)
    assert registry.image_bytes(f"{address}/a/b:1", "aarch64", None, {}) == 0


def test_no_login_goes_to_a_realm_without_tls_and_none_to_a_stranger(
    hub: tuple[Server, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, address = hub
    monkeypatch.setattr(registry, "challenge", lambda _asks: ("bearer", {"realm": "http://elsewhere/token"}))
    assert registry.image_bytes(f"{address}/a/b:1", "aarch64", LOGIN, {}) == 0
    assert not [each for each in one.asked if "Basic" in each]
    (tmp_path / address / "ca.crt").unlink()
    one.asked.clear()
    assert registry.image_bytes(f"{address}/a/b:1", "aarch64", LOGIN, {}) == 0, "its certificate is not trusted"
    assert not one.asked


def test_a_registry_behind_an_engines_proxy(hub: tuple[Server, str]) -> None:
    one, address = hub
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(10)
        asked: list[bytes] = []

        def refuse() -> None:
            connection, _address = proxy.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        info = {"HttpsProxy": f"http://127.0.0.1:{proxy.getsockname()[1]}"}
        assert registry.image_bytes("registry.example:5000/a/b:1", "aarch64", None, info) == 0
        thread.join(10)
    assert asked[0].startswith(b"CONNECT registry.example:5000 ")
    info = {"HttpsProxy": "http://127.0.0.1:9"}
    assert registry.image_bytes("registry.example/a/b:1", "aarch64", None, info) == 0, "the proxy is not there"
    assert not one.asked
    assert registry.image_bytes(f"{address}/a/b:1", "aarch64", None, info) == 1234, "Docker asks none for localhost"
    assert registry.image_bytes(f"{address}/a/b:1", "aarch64", None, {**info, "NoProxy": "localhost"}) == 1234


# As golang.org/x/net/http/httpproxy has it, by which Docker chooses.
@pytest.mark.parametrize(
    ("server", "exempt", "beside"),
    [
        ("nvcr.io", "*", True),
        ("nvcr.io", "a.b, * ,c", True),
        ("nvcr.io", "", False),
        ("nvcr.io", " , ,", False),
        ("nvcr.io", "nvcr.io", True),
        ("NVCR.io", "nvcr.IO", True),
        ("nvcr.io", " NVCR.io ", True),
        ("nvcr.io", ".nvcr.io", False),
        ("nvcr.io", "*.nvcr.io", False),
        ("a.nvcr.io", "*.nvcr.io", True),
        ("a.nvcr.io", ".nvcr.io", True),
        ("a.nvcr.io", "nvcr.io", True),
        ("anvcr.io", "nvcr.io", False),
        ("nvcr.io", "*nvcr.io", False),
        ("nvcr.io", "nvcr.io:443", True),
        ("nvcr.io", "nvcr.io:5000", False),
        ("registry.home:5000", "registry.home:5000", True),
        ("registry.home:5000", "registry.home", True),
        ("registry.home:5000", "registry.home:443", False),
        ("registry.home:5000", ".home:5000", True),
        ("10.1.2.3:5000", "10.0.0.0/8", True),
        ("10.1.2.3:5000", "10.1.2.99/24", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("nvcr.io", "0.0.0.0/0", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:5000", "10.1.2.3:5000", True),
        ("10.1.2.3:5000", "10.1.2.3:5001", False),
        ("10.1.2.3", "1.2.3", True),
        ("10.1.2.3", "10.1.2.*", False),
        ("[fd00::1]:5000", "fd00::/8", True),
        ("[fd00::1]", "fd00::1", True),
        ("[fd00::1]", "[fd00::1]:443", True),
        ("[fd00::1]:5000", "fd00::1", True),
        ("[fd00::1]:5000", "[fd00::1]:5000", True),
        ("[fd00::1]:5000", "[fd00::1]:443", False),
        ("10.1.2.3", "fd00::/8", False),
        ("localhost:5000", "", True),
        ("127.0.0.1:5000", "", True),
        ("127.8.8.8:5000", "", True),
        ("[::1]:5000", "", True),
        ("localhost.example", "", False),
        ("nvcr.io", ":443", False),
        ("nvcr.io", "10.0.0.0/99,nvcr.io", True),
    ],
)
def test_what_is_exempt_from_the_proxy(server: str, exempt: str, beside: bool) -> None:
    info = {"HttpsProxy": "http://proxy:3128", "NoProxy": exempt}
    assert registry.proxy_for(server, info) == ("" if beside else "http://proxy:3128")


@given(
    st.text(max_size=30) | st.sampled_from(["[", "[::1", "a:b", "[fd00::1]:x", ":", "a:99999"]), st.text(max_size=30)
)
def test_whatever_is_exempt_no_size_is_a_failure(server: str, exempt: str) -> None:
    assert registry.proxy_for(server, {"HttpsProxy": "http://p", "NoProxy": exempt}) in ("", "http://p")
