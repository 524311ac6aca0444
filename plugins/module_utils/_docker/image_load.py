# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image from another Spark into this host's engine, as a stream, hashed on its way.

This module util is private to the collection.

The engine unpacks what comes as ``docker load`` has it do, and no file is written beside. The last piece of a layer is
passed on once the layer's hash is right: an archive that breaks off in the middle of a file is one that the engine
refuses. Each part (see image_source) becomes an image of the engine before the next part ends.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterable, Mapping, Protocol
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    ARCHITECTURES,
    Docker,
    DockerError,
    Loading,
    reads_answers,
    store_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_source import (
    CONTAINERD,
    LABEL,
    PART,
    Image,
    ImageError,
    Part,
    described,
    equal_beginning,
    parts_of,
    path_of,
    sha256_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_store import (
    Store,
    blobs_of,
)

_PIECE = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
_DOCUMENT = 16 << 20  # bytes: more than any manifest or configuration has
END = 10**15 - 1  # an offset behind the end of whatever is asked for


class WrongError(ImageError):
    """What came is not what was asked for."""


class Source(Protocol):
    """Where an image comes from: a connection to another Spark."""

    def ask(self, name: str, offset: int) -> tuple[int, int]:
        """Return the size of what comes next, from an offset on; less than 0 where it is not there."""

    def read_into(self, piece: memoryview) -> int:
        """Read some of its bytes, at least one."""


class Receiver:
    """One image on its way into an engine."""

    def __init__(self, docker: Docker, image: str, machine: str) -> None:
        """Look at the engine.

        :param image: the ID. :param machine: the processor, as the kernel names it.
        """
        self._docker, self._id = docker, image
        self._machine = ARCHITECTURES.get(machine, machine)
        info = docker.info()
        self._store = store_of(info)
        self._blobs = blobs_of(info)
        self.moved, self.whole = 0, 0  # bytes

    def load(self, source: Source) -> None:
        """Load what the engine lacks.

        :raises ImageError: where what comes is wrong. :raises DockerError: where the engine refuses it.
        """
        sizes: dict[str, int] = {}

        def has(name: str) -> bool:
            if name not in sizes:
                sizes[name] = source.ask(sha256_of(name), END)[0]
            return sizes[name] >= 0

        image = described(self._id, lambda name: self._document(source, name), has, self._machine)
        if (self._store == CONTAINERD) == (not image.descriptors):
            raise ImageError(f"this host's Docker keeps images by {self._store}, and the other Spark's does not")
        first, known = self._there(image)
        lacking = [
            one for one in [layer.blob for layer in image.layers[first:]] + list(image.beside) if one not in known
        ]
        missing = [one for one in lacking if not has(one)]
        if missing:
            raise ImageError(f"a layer is not there to be copied: {missing[0]}")
        self.whole = self.moved + sum(sizes[one] for one in lacking)
        before: Loading | None = None
        try:
            for part in parts_of(image, first, known, sizes, self._store, PART):
                before = self._load(source, part, sizes, before)
        except BaseException:
            if before:
                with suppress(DockerError):
                    before.end()  # it has come whole, and the next run goes on from there
            raise
        if before:
            before.end()

    def _document(self, source: Source, name: str) -> bytes | None:
        size = source.ask(sha256_of(name), 0)[0]
        if size < 0:
            return None
        if size > _DOCUMENT:
            raise WrongError(f"{name} is no document of an image: it has {size} bytes")
        content = bytearray()
        self._take(source, name, size, content.extend)
        return bytes(content)

    def _there(self, image: Image) -> tuple[int, set[str]]:
        """Return how many of the lowest layers the engine has, and which blobs."""
        ids = image_ids(self._docker)
        if self._store != CONTAINERD:
            return equal_beginning(image.layers, layers_of(self._docker, ids)), set()
        known = set().union(*(whole_blobs(self._blobs, one, self._machine) for one in ids))
        first = next((number for number, one in enumerate(image.layers) if one.blob not in known), len(image.layers))
        return first, known

    def _load(self, source: Source, part: Part, sizes: Mapping[str, int], before: Loading | None) -> Loading:
        """Load one part, which ends only after the one before it has, on which it lies."""
        documents = {path_of(name): content for name, content in part.documents.items()}
        last = list(part.manifest.items())
        count = sum(padded(sizes[one]) for one in part.blobs)
        count += sum(padded(len(one)) for one in [*documents.values(), *part.manifest.values()])
        loading = self._docker.load(count + 2 * _BLOCK)
        try:
            for blob in part.blobs:
                size = source.ask(sha256_of(blob), 0)[0]
                if size != sizes[blob]:
                    raise WrongError(f"{blob} has {size} bytes instead of {sizes[blob]}")
                loading.send(head(path_of(blob), size))
                self._take(source, blob, size, loading.send)
                loading.send(bytes(-size % _BLOCK))
            for name, content in [*documents.items(), *last[:-1]]:
                loading.send(member(name, content))
            if before:
                before.end()
            loading.send(member(*last[-1]) + bytes(2 * _BLOCK))
        except BaseException:
            loading.leave()
            raise
        return loading

    def _take(self, source: Source, name: str, size: int, give: Callable[[memoryview], object]) -> None:
        """Pass the bytes of a blob on, the last of them only where the hash is right."""
        digest, left = hashlib.sha256(), size
        piece = memoryview(bytearray(_PIECE))
        while left:
            some = piece[: source.read_into(piece[:left])]
            digest.update(some)
            left -= len(some)
            self.moved += len(some)
            if left:
                give(some)
        if digest.hexdigest() != sha256_of(name):
            raise WrongError(f"{name} came wrong: its hash is sha256:{digest.hexdigest()}. Nothing of it was kept")
        if size:
            give(some)


def padded(size: int) -> int:
    """Return the bytes that a file takes in an archive."""
    return _BLOCK + size + -size % _BLOCK


def head(name: str, size: int) -> bytes:
    """Return what stands before a file in an archive."""
    about = tarfile.TarInfo(name)
    about.size = size
    return about.tobuf(tarfile.GNU_FORMAT)


def member(name: str, content: bytes) -> bytes:
    """Return a small file of an archive."""
    return head(name, len(content)) + content + bytes(-len(content) % _BLOCK)


@reads_answers
def image_ids(docker: Docker, parts_of_image: bool = False) -> list[str]:
    """Return the IDs of the engine's images, or of those alone that are parts of one."""
    chosen = f"?filters={quote(json.dumps({'label': [LABEL]}))}" if parts_of_image else ""
    return sorted({str(one["Id"]) for one in docker.ask("GET", f"/images/json{chosen}")})


@reads_answers
def layers_of(docker: Docker, ids: Iterable[str]) -> list[list[str]]:
    """Return the layers of each image, as diff IDs."""
    return [list((about.get("RootFS") or {}).get("Layers") or []) for one in ids if (about := docker.image(one))]


def whole_blobs(store: Store, image: str, machine: str) -> set[str]:
    """Return the blobs of an image that containerd keeps, as far as they are there; none where it cannot be read."""

    def get(name: str) -> bytes | None:
        path = Path(getattr(store.find(sha256_of(name)), "path", ""))
        return path.read_bytes() if path.is_file() else None

    with suppress(ImageError, OSError):
        found = described(image, get, lambda name: store.find(sha256_of(name)) is not None, machine)
        return {layer.blob for layer in found.layers} | set(found.beside)
    return set()


def remove_parts(docker: Docker) -> list[str]:
    """Remove images that are parts of one, and return their IDs. Layers that other images have stay."""
    going = image_ids(docker, parts_of_image=True)
    for one in going:
        with suppress(DockerError):  # it went just now
            docker.ask("DELETE", f"/images/{one}?force=1")
    return going
