# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the lab's "internet" share: a running instance, and a plain HTTP client."""

from __future__ import annotations

import http.client
import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from virtual_internet.internet import Settings, VirtualInternet

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE_PARENT = Path(__file__).resolve().parents[2] / "roles" / "virtual_spark" / "files" / "internet"
GOOD, OTHER = "hf_good", "hf_other"


@dataclass
class Answer:
    """An HTTP answer, and whether it came whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    whole: bool = True

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, method: str = "GET", headers: dict[str, str] | None = None, body: Any = None) -> Answer:
    """Ask once, without following redirects."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request(method, url[len(f"{parts.scheme}://{parts.netloc}") :], body, headers or {})
        return read(connection)
    finally:
        connection.close()


def read(connection: http.client.HTTPConnection) -> Answer:
    """Read one answer, as much of it as comes."""
    answer = connection.getresponse()
    body = b""
    try:
        while piece := answer.read1(1 << 16):
            body += piece
    except OSError:
        return Answer(answer.status, answer.headers, body, whole=False)
    answer.close()  # the connection stays
    length = answer.headers.get("Content-Length")
    whole = answer._method == "HEAD" or length is None or len(body) == int(length)
    return Answer(answer.status, answer.headers, body, whole)


@dataclass
class Lab:
    """A running instance."""

    root: Path
    internet: VirtualInternet

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.internet.ports[service + '_port']}"

    def hub(self, path: str, method: str = "GET", token: str | None = None, **headers: str) -> Answer:
        """Ask the hub; keyword arguments are headers."""
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return ask(self.url("hub") + path, method, {name.replace("_", "-"): text for name, text in headers.items()})

    def file(self, path: str, **headers: str) -> Answer:
        """Ask the hub for a file, and follow its redirect as a client does: without the token on another origin."""
        target = self.hub(path).headers["Location"]
        url = target if target.startswith("http") else self.url("hub") + target
        return ask(url, headers={name.replace("_", "-"): text for name, text in headers.items()})

    def fault(self, **fault: Any) -> None:
        """Inject a fault, into the hub unless said otherwise."""
        answer = ask(self.url("control") + "/faults", "POST", body=json.dumps({"service": "hub", **fault}))
        assert answer.status == 201, answer.body

    def applied(self) -> list[str]:
        """Return the kinds of the faults that were applied."""
        return [row["kind"] for row in ask(self.url("control") + "/faults").json["applied"]]

    def stats(self, service: str = "hub") -> dict[str, Any]:
        return ask(self.url("control") + "/stats").json["services"][service]

    def reset(self) -> None:
        ask(self.url("control") + "/stats", "DELETE")
        ask(self.url("control") + "/faults", "DELETE")


@contextmanager
def running(root: Path, **settings: Any) -> Iterator[Lab]:
    """Run the internet on random ports of the loopback."""
    ports = dict.fromkeys(("hub_port", "cdn_port", "control_port", "registry_port"), 0)
    internet = VirtualInternet(Settings(root, bind="127.0.0.1", quiet=True, **{**ports, **settings}))
    internet.start()
    try:
        yield Lab(root, internet)
    finally:
        internet.stop()


def write_tokens(root: Path, granted: list[str]) -> None:
    """Make two tokens: one that was granted these repositories, one that was granted nothing."""
    tokens = {GOOD: {"name": "alice", "granted": granted}, OTHER: {"name": "bob", "granted": []}}
    (root / "hub").mkdir(parents=True, exist_ok=True)
    (root / "hub" / "tokens.json").write_text(json.dumps(tokens))


def write_repo(root: Path, repo_id: str, files: dict[str, bytes], branch: str = "main", **settings: Any) -> None:
    """Write a repository with these files."""
    folder = root / "hub" / "models" / repo_id
    for path, content in files.items():
        (folder / branch / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / branch / path).write_bytes(content)
    if settings:
        (folder / ".repo.json").write_text(json.dumps(settings))
