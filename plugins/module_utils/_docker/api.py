# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker Engine API over its unix socket, with nothing but Python's standard library.

Modules of this collection speak to Docker through it, and not through community.docker, for two reasons. A plan has to
work on a host as it was delivered, and python3-requests, which community.docker needs there, may be installed only
later. And check mode has to be honest: it tells exactly what would change, and refuses what could not be done.

This module util is private to the collection.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Mapping
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import reads

SOCKET = "/var/run/docker.sock"
#: what images call a processor, by what the kernel calls it
ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}
#: what Docker labels the services and containers of a stack with
STACK_LABEL = "com.docker.stack.namespace"
#: the option of all modules that speak to an engine; the doc fragment ``docker`` describes it
SOCKET_OPTION = {"docker_socket": {"type": "path", "default": SOCKET}}


class DockerError(ValueError):
    """The engine does not answer, or refuses."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


COMPARE_VERSIONS = (
    "compare 'docker version' with what this collection needs (Docker 20.10 or later), and report it if that fits"
)
reads_answers = reads(DockerError, "Docker Engine's answer", COMPARE_VERSIONS)


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

    @contextmanager
    def _answer(
        self, method: str, target: str, payload: str | None, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        connection = _UnixConnection(self.path, self.timeout)
        try:
            connection.request(method, target, payload, headers)
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as exc:
            raise DockerError(
                f"Docker Engine does not answer at {self.path} ({exc or type(exc).__name__}): check that it is "
                "installed and runs (systemctl status docker), and that the task runs as root (become)"
            ) from None
        except UnicodeError:
            raise DockerError(f"Docker Engine has nothing of the name {target!r}: use letters of ASCII") from None
        finally:
            connection.close()

    def ask(self, method: str, target: str, body: Any = None) -> Any:
        """Return the engine's answer, as JSON if it is that."""
        payload = None if body is None else json.dumps(body)
        with self._answer(method, target, payload, {"Content-Type": "application/json"} if payload else {}) as answer:
            return _checked(answer.status, answer.read().decode(errors="replace"))

    def pull(self, name: str, login: tuple[str, str] | None, on_message: Callable[[dict[str, Any]], None]) -> None:
        """Have an image pulled.

        :param name: with its tag or digest. :param login: user and password at its registry.
        :param on_message: is called with each message of the engine, see :class:`Layers`.
        """
        target = f"/images/create?fromImage={quote(name, safe='')}"
        with self._answer("POST", target, None, _login(name, login)) as answer:
            if answer.status >= 400:
                _checked(answer.status, answer.read().decode(errors="replace"))
            for line in answer:
                message = _read(line.decode(errors="replace"))
                if isinstance(message, dict):
                    if "error" in message:
                        raise DockerError(str(message["error"]).strip())
                    on_message(message)

    def load(self, length: int) -> Loading:
        """Begin to load an archive of images. :param length: its bytes."""
        return Loading(self.path, self.timeout, length)

    def offered(self, name: str, login: tuple[str, str] | None) -> dict[str, Any]:
        """Return what its registry says of an image, of which nothing is pulled: ``Descriptor`` and ``Platforms``."""
        with self._answer("GET", f"/distribution/{quote(name, safe='/:@')}/json", None, _login(name, login)) as answer:
            return _checked(answer.status, answer.read().decode(errors="replace"))

    def log(self, container: str, lines: int, *, times: bool = False) -> list[str]:
        """Return a container's last lines of both its outputs, oldest first.

        :param times: whether each begins with its time, such as ``2026-11-30T22:10:11.123456789Z``.
        """
        target = f"/containers/{container}/logs?stdout=1&stderr=1&tail={lines}{'&timestamps=1' if times else ''}"
        with self._answer("GET", target, None, {}) as answer:
            raw = answer.read()
            if answer.status >= 400:
                _checked(answer.status, raw.decode(errors="replace"))
        return unframed(raw).decode(errors="replace").splitlines()

    def archive(self, container: str, path: str, most: int) -> bytes | None:
        """Return a path of a container's filesystem as a tar archive, None where nothing is there.

        :param container: need not run. :param most: bytes that the archive may have, so that no directory comes whole.
        """
        target = f"/containers/{container}/archive?path={quote(path, safe='/')}"
        with self._answer("GET", target, None, {}) as answer:
            raw = answer.read(most + 1)
            if answer.status == 404:
                return None
            if answer.status >= 400:
                _checked(answer.status, raw.decode(errors="replace"))
        return raw if len(raw) <= most else None

    def info(self) -> dict[str, Any]:
        """Return what the engine says of itself."""
        return _of_kind(self.ask("GET", "/info"), dict, "/info")

    def running(self) -> list[dict[str, Any]]:
        """Return the containers that run."""
        return _of_kind(self.ask("GET", "/containers/json"), list, "/containers/json")

    def image(self, name: str) -> dict[str, Any] | None:
        """Return what the engine knows of an image, None where it has none of this name or ID."""
        try:
            return _of_kind(self.ask("GET", f"/images/{quote(name, safe='/:@')}/json"), dict, f"the image {name}")
        except DockerError as error:
            if error.status != 404:
                raise
            return None


class Loading:
    """An archive on its way into an engine, as a stream.

    An engine that is left before the end of an archive loads nothing of it.
    """

    def __init__(self, path: str, timeout: float, length: int) -> None:
        self._connection = _UnixConnection(path, timeout)
        self._path, self._left, self._ended = path, length, False
        with self._told():
            self._connection.putrequest("POST", "/images/load?quiet=1")
            self._connection.putheader("Content-Type", "application/x-tar")
            self._connection.putheader("Content-Length", str(length))
            self._connection.endheaders()

    def send(self, content: bytes | memoryview) -> None:
        """Give the engine some of the archive.

        :raises DockerError: where the engine has refused it.
        """
        self._left -= len(content)
        try:
            self._connection.send(content)
        except (BrokenPipeError, ConnectionResetError):
            self.end()
            raise DockerError("Docker Engine has ended the loading of an image") from None

    def end(self) -> None:
        """Wait until the archive is loaded.

        :raises DockerError: where the engine refuses it: it answers with status 200, and with the error as the text.
        """
        if self._ended:
            return
        self._ended = True
        try:
            with self._told():
                answer = self._connection.getresponse()
                text = answer.read().decode(errors="replace")
        finally:
            self._connection.close()
        _checked(answer.status, text)
        for message in map(_read, text.splitlines()):
            if isinstance(message, dict) and "error" in message:
                raise DockerError(str(message["error"]).strip())

    def leave(self) -> None:
        """Break off: the engine loads nothing of this archive."""
        self._ended = True
        self._connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as exc:
            raise DockerError(
                f"Docker Engine does not answer at {self._path} ({exc or type(exc).__name__}): see 'systemctl status "
                "docker', and whether its disk is full"
            ) from None


@reads_answers
def store_of(info: Mapping[str, Any]) -> str:
    """Return how an engine keeps images, ``containerd`` or ``graph driver``. With each an image has another ID.

    :param info: as :meth:`Docker.info` returns it.

    >>> store_of({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}), store_of({"DriverStatus": None})
    ('containerd', 'graph driver')
    """
    by_containerd = ["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or [])
    return "containerd" if by_containerd else "graph driver"


@reads_answers
def id_of(image: Mapping[str, Any]) -> str:
    """Return the ID of an image, as :meth:`Docker.image` returns it."""
    return str(image["Id"])


class Layers:
    """How far a pull is, from the engine's messages.

    >>> layers = Layers()
    >>> for status, current in (("Downloading", 3), ("Extracting", 1)):
    ...     detail = {"current": current, "total": 10}
    ...     layers.add({"id": "4f4fb700ef54", "status": status, "progressDetail": detail})
    ...     layers.there, layers.whole
    (3, 10)
    (10, 10)
    """

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    @reads_answers
    def add(self, message: dict[str, Any]) -> None:
        """Take note of a message."""
        layer, status = message.get("id", ""), message.get("status")
        detail = message.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self._layers[layer] = (int(detail["current"]), int(detail["total"]))
        elif status in ("Download complete", "Extracting", "Pull complete") and layer in self._layers:
            self._layers[layer] = (self._layers[layer][1],) * 2

    @property
    def there(self) -> int:
        """Bytes that came."""
        return sum(there for there, _whole in self._layers.values())

    @property
    def whole(self) -> int:
        """Bytes of the layers that are known to come: more become known as it goes on."""
        return sum(whole for _there, whole in self._layers.values())


@reads_answers
def other_platforms(offered: dict[str, Any], architecture: str) -> str:
    """Return for what an image is made, where that is not this machine; else nothing.

    :param offered: what :meth:`Docker.offered` returned. :param architecture: the machine's, as the kernel names it.

    >>> other_platforms({"Platforms": [{"architecture": "amd64", "os": "linux"}]}, "aarch64")
    'linux/amd64'
    >>> other_platforms({"Platforms": [{"architecture": "arm64"}, {"architecture": "amd64"}]}, "aarch64")
    ''
    >>> other_platforms({}, "aarch64")
    ''
    """
    wanted = ARCHITECTURES.get(architecture, architecture)
    made_for = [one for one in offered.get("Platforms") or [] if one.get("architecture") not in (None, "", "unknown")]
    if any(one["architecture"] == wanted for one in made_for):
        return ""
    return ", ".join(f"{one.get('os', 'linux')}/{one['architecture']}" for one in made_for)


def unframed(raw: bytes) -> bytes:
    """Return the output of a container without a terminal: pieces, each behind a head of 8 bytes that tells its length.

    >>> unframed(b"\\1\\0\\0\\0\\0\\0\\0\\3abc" + b"\\2\\0\\0\\0\\0\\0\\0\\2d!")
    b'abcd!'
    """
    pieces = []
    while len(raw) >= 8:
        end = 8 + int.from_bytes(raw[4:8], "big")
        pieces.append(raw[8:end])
        raw = raw[end:]
    return b"".join(pieces)


def _login(name: str, login: tuple[str, str] | None) -> dict[str, str]:
    if not login:
        return {}
    known = {"username": login[0], "password": login[1], "serveraddress": name.split("/")[0]}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(known).encode()).decode()}


def _checked(status: int, text: str) -> Any:
    value = _read(text)
    if status >= 400:
        said = str(value.get("message", text) if isinstance(value, dict) else text).strip()
        if said == "page not found":
            said = "Docker Engine does not know what it is asked for: compare its version with Docker 20.10 or later"
        raise DockerError(said or f"HTTP status {status}", status)
    return value


def _of_kind(answer: Any, kind: type, what: str) -> Any:
    if not isinstance(answer, kind):
        raise DockerError(
            f"Docker Engine answers {str(answer)[:100]!r} about {what}: check that the socket is Docker's own "
            "(docker_socket), and 'systemctl status docker'"
        )
    return answer


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return text
