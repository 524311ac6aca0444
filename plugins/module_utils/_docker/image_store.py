# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of an image's documents and layers, read from where Docker keeps these, without a copy in between.

This module util is private to the collection.

containerd keeps every blob as a file. The graph driver overlay2 keeps a layer unpacked, and beside it a note of
tar-split: all of the layer's tar but the content of its files, from which the very same bytes are put together.
``docker save`` does that too, of all layers, into a directory of its own first; it serves where Docker keeps images in
yet another way.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Iterator, Mapping, NamedTuple, Protocol, Sequence, cast

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, reads_answers, store_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_source import (
    CONTAINERD,
    ImageError,
    reads_image,
    sha256_of,
)

_PIECE = 1 << 20
_SMALL = 128 << 10  # bytes of a file that is read with its neighbours
DOCKER_ROOT, CONTAINERD_ROOT, CONTAINERD_CONFIG = (
    "/var/lib/docker",
    "/var/lib/containerd",
    "/etc/containerd/config.toml",
)
#: what ``docker save`` writes while an image is served that cannot be read otherwise
SAVED = "/var/lib/dgx-spark-image"
_CONTENT = "io.containerd.content.v1.content/blobs/sha256"


class Content(Protocol):
    """Bytes that can be sent."""

    @property
    def size(self) -> int:
        """How many they are."""

    def send(self, target: int, offset: int) -> None:
        """Write the bytes from an offset on to a file descriptor."""


class FileContent(NamedTuple):
    """The content of a file."""

    path: Path
    size: int

    def send(self, target: int, offset: int) -> None:
        """Write the bytes from an offset on to a file descriptor."""
        with self.path.open("rb", buffering=0) as stream:
            _send_file(stream.fileno(), target, offset, self.size)


class Piece(NamedTuple):
    """A piece of a layer's tar: bytes as they are, or the content of a file of the layer, of a size."""

    content: bytes
    path: str
    size: int


class LayerContent:
    """The tar of a layer that a graph driver keeps unpacked."""

    def __init__(self, note: Path, folder: Path) -> None:
        """Read how large it is.

        :param note: tar-split's. :param folder: the layer's own, out of which no link leads.
        """
        self._note, self._folder = note, folder.resolve()
        self.size = sum(piece.size for piece in self._pieces())

    def _pieces(self) -> Iterator[Piece]:
        with gzip.open(self._note) as lines:
            yield from map(piece_of, lines)

    def send(self, target: int, offset: int) -> None:
        """Write the bytes to a file descriptor.

        :param offset: 0, or the size, with which nothing is written.
        """
        if offset >= self.size:
            return
        if offset:
            raise ImageError("a layer is sent from its beginning")
        waiting = bytearray()
        for piece in self._pieces():
            if not piece.path:
                waiting += piece.content
            elif piece.size:
                with _opened(self._folder, piece) as stream:
                    if piece.size <= _SMALL:
                        waiting += stream.read(piece.size)
                    else:
                        _write(target, waiting)
                        waiting.clear()
                        _send_file(stream.fileno(), target, 0, piece.size)
            if len(waiting) >= _PIECE:
                _write(target, waiting)
                waiting.clear()
        _write(target, waiting)


@reads_image
def piece_of(line: bytes) -> Piece:
    r"""Return what a line of tar-split's note stands for.

    >>> piece_of(b'{"type":2,"payload":"AAA="}'), piece_of(b'{"type":1,"name":"./etc/hosts","size":7}')
    (Piece(content=b'\x00\x00', path='', size=2), Piece(content=b'', path='etc/hosts', size=7))
    """
    entry = json.loads(line)
    if entry["type"] == 2:
        content = base64.b64decode(entry.get("payload") or "")
        return Piece(content, "", len(content))
    name = entry.get("name") or os.fsdecode(base64.b64decode(entry.get("name_raw") or ""))
    return Piece(b"", os.path.normpath(f"/{name}").lstrip("/"), int(entry.get("size") or 0))


def _opened(folder: Path, piece: Piece) -> IO[bytes]:
    file = os.open(folder / piece.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    stream = os.fdopen(file, "rb", buffering=0)
    if os.fstat(file).st_size == piece.size and Path(f"/proc/self/fd/{file}").readlink().is_relative_to(folder):
        return stream
    stream.close()
    raise ImageError(f"{folder / piece.path} has changed since Docker wrote it, or lies behind a link out of its layer")


def _write(target: int, content: bytes | bytearray) -> None:
    left = memoryview(content)
    while left:
        written = os.write(target, left)
        left = left[written:]
    left.release()


def _send_file(source: int, target: int, offset: int, size: int) -> None:
    while offset < size:
        count = os.sendfile(target, source, offset, min(_PIECE, size - offset))
        if not count:
            raise ImageError("a file of the image was cut while it was sent")
        offset += count


class Store(Protocol):
    """Where the parts of one image are."""

    def find(self, digits: str) -> Content | None:
        """Return a document or a layer by its SHA-256, None where it is not there."""

    def close(self) -> None:
        """Remove what was made to find them."""


class BlobStore:
    """Files of one directory, each called by its SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, digits: str) -> Content | None:
        """Return a blob."""
        path = self._folder / digits
        return FileContent(path, path.stat().st_size) if path.is_file() else None

    def close(self) -> None:
        """Remove nothing."""


class LayerStore:
    """One image in the graph driver overlay2."""

    @reads_image
    def __init__(self, root: Path, driver: str, image: str) -> None:
        """Read the image's configuration.

        :param root: of the engine. :param image: its ID.
        """
        self._root, self._driver = root, driver
        self._config = root / "image" / driver / "imagedb" / "content" / "sha256" / sha256_of(image)
        self._id = sha256_of(image)
        diff_ids = json.loads(self._config.read_bytes())["rootfs"]["diff_ids"] or []
        self._chains = {sha256_of(one): chain for one, chain in zip(diff_ids, chains(diff_ids))}

    def find(self, digits: str) -> Content | None:
        """Return the configuration, or a layer by its diff ID."""
        if digits == self._id:
            return FileContent(self._config, self._config.stat().st_size)
        if digits not in self._chains:
            return None
        about = self._root / "image" / self._driver / "layerdb" / "sha256" / sha256_of(self._chains[digits])
        folder = self._root / self._driver / (about / "cache-id").read_text(encoding="ascii").strip() / "diff"
        return LayerContent(about / "tar-split.json.gz", folder)

    def close(self) -> None:
        """Remove nothing."""


def chains(diff_ids: Sequence[str]) -> list[str]:
    """Return what Docker calls each layer on those below it (the chain ID of the OCI image specification).

    >>> chains(["sha256:a", "sha256:b"])[0]
    'sha256:a'
    """
    found: list[str] = []
    for one in diff_ids:
        text = f"{found[-1]} {one}" if found else one
        found.append(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if found else one)
    return found


class SavedStore:
    """What ``docker save`` wrote of an image, as files, as long as they are needed."""

    def __init__(self, docker: str, image: str, folder: Path) -> None:
        """Have nothing saved yet.

        :param docker: the program. :param folder: where the files come; what is there is removed.
        """
        self._docker, self._image, self._folder = docker, image, folder
        self._files: dict[str, Path] | None = None

    def find(self, digits: str) -> Content | None:
        """Return a document or a layer; before the first one, everything is saved."""
        if self._files is None:
            self._files = self._save()
        path = self._files.get(digits)
        return FileContent(path, path.stat().st_size) if path else None

    def _save(self) -> dict[str, Path]:
        self.close()
        self._folder.mkdir(parents=True, mode=0o700)
        command, found = [self._docker, "save", self._image], {}
        with tempfile.TemporaryFile() as errors:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as saving, suppress(tarfile.TarError):
                stream = cast(IO[bytes], saving.stdout)
                with tarfile.open(fileobj=stream, mode="r|") as tar:
                    found = dict(self._written(tar))
            if saving.returncode or not found:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()
                raise ImageError(said or "docker save wrote no image as Docker 25 and later do")
        return found

    def _written(self, tar: tarfile.TarFile) -> Iterator[tuple[str, Path]]:
        """Write the blobs of ``docker save``'s archive (Docker 25 and later), each called by its SHA-256 there."""
        for member in tar:
            content = tar.extractfile(member) if member.isfile() and "blobs/sha256/" in member.name else None
            if content:
                name = sha256_of(f"sha256:{Path(member.name).name}")
                with (self._folder / name).open("wb") as target:
                    shutil.copyfileobj(content, target, _PIECE)
                yield name, self._folder / name

    def close(self) -> None:
        """Remove the files."""
        if self._folder.exists():
            shutil.rmtree(self._folder)


@reads_answers
def is_readable(info: Mapping[str, Any]) -> bool:
    """Whether an engine keeps images so that they are read without ``docker save``.

    :param info: as :meth:`api.Docker.info` returns it.
    """
    native = ["Native Overlay Diff", "true"] in [list(one) for one in info.get("DriverStatus") or []]
    return store_of(info) == CONTAINERD or (info.get("Driver") == "overlay2" and native)


@reads_answers
def images_root(info: Mapping[str, Any], config: Path = Path(CONTAINERD_CONFIG)) -> str:
    """Return where an engine keeps its images: below its own root, or where its containerd does.

    :param info: as :meth:`api.Docker.info` returns it. :param config: of a containerd that the engine did not start.
    """
    root = str(info.get("DockerRootDir") or DOCKER_ROOT)
    if store_of(info) != CONTAINERD:
        return root
    if "/docker/containerd/" in str((info.get("Containerd") or {}).get("Address", "")):
        return f"{root}/containerd/daemon"  # the engine has started a containerd of its own
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    match = re.search(r"""^root\s*=\s*["']([^"']+)["']""", text.partition("\n[")[0], re.MULTILINE)
    return match[1] if match else CONTAINERD_ROOT


def blobs_of(info: Mapping[str, Any]) -> BlobStore:
    """Return where containerd keeps all blobs of an engine's images.

    :param info: as :meth:`api.Docker.info` returns it.
    """
    return BlobStore(Path(images_root(info), _CONTENT))


@reads_answers
def store_for(docker: Docker, image: str, saved: Path, program: str) -> Store:
    """Return where an image's bytes are.

    :param image: its ID. :param saved: a directory for what ``docker save`` writes, where there is no other way.
    :param program: docker.
    """
    info = docker.info()
    if store_of(info) == CONTAINERD:
        return blobs_of(info)
    if is_readable(info):
        return LayerStore(Path(images_root(info)), info["Driver"], image)
    return SavedStore(program, image, saved)
