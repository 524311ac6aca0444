# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker image as files that are named by their hashes, without the layers that its receivers have already.

This module util is private to the collection.

``docker load`` asks for the content of a layer only where the layer is missing, and the image's ID stays the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any, Iterable, Iterator, Mapping, Sequence, cast

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import COMPARE_VERSIONS
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import reads
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import release_pages

_PIECE = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGE = 1 << 20  # bytes: of an image of 20 GB, all but a small part is in files that are larger
#: where containerd keeps the images of a Docker that leaves them to it: as they came, and unpacked
CONTAINERD = tuple(
    Path("/var/lib/containerd", name)
    for name in ("io.containerd.content.v1.content", "io.containerd.snapshotter.v1.overlayfs")
)


class ImageError(ValueError):
    """The image cannot be taken apart, or not be put together; the message says why."""


_reads_answers = reads(ImageError, "Docker Engine's answer about an image", COMPARE_VERSIONS)


def common_layers(image: Sequence[str], receivers: Iterable[Iterable[Sequence[str]]]) -> set[str]:
    """Return the layers of an image that need not travel.

    :param image: its layers, as diff IDs, lowest first.
    :param receivers: for each, the layers of every image that it has.

    A layer is there only together with all those below it, so what counts are equal beginnings.
    """
    shared = len(image)
    for images in receivers:
        shared = min(shared, max([_equal_beginning(image, one) for one in images], default=0))
    return set(image[:shared]) - set(image[shared:])


def _equal_beginning(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other):
        if left != right:
            break
        count += 1
    return count


def unpack(saved: IO[bytes], folder: Path, without: set[str]) -> list[dict[str, Any]]:
    """Write what is in ``docker save``'s tar (the layout of Docker 25 and later) to a directory, but for some layers.

    :returns: the files: ``path`` in the tar, ``size`` and ``sha256``, by which it is called in the directory.
    """
    left_out = {f"blobs/sha256/{layer.split(':')[1]}" for layer in without}
    files = []
    with tarfile.open(fileobj=saved, mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() and member.name not in left_out else None
            if content is None:
                continue
            digest, draft = hashlib.sha256(), folder / "draft"
            with draft.open("wb") as target:
                while True:
                    piece = content.read(_PIECE)
                    if not piece:
                        break
                    digest.update(piece)
                    target.write(piece)
            draft.chmod(0o644)  # not secret: it is sent by the login user
            draft.replace(folder / digest.hexdigest())
            files.append({"path": member.name, "size": member.size, "sha256": digest.hexdigest()})
    if "manifest.json" not in {file["path"] for file in files}:
        raise ImageError("docker save wrote no manifest.json")
    return files


def pack(files: Sequence[Mapping[str, Any]], folder: Path, target: IO[bytes]) -> None:
    """Write the tar for ``docker load``, from files that a user of this host may change at any time.

    What is hashed is what is written, so that no copy of root's own is needed. The last piece of a file is written only
    once the hash is right: a tar that breaks off in the middle of a file is one that ``docker load`` refuses.

    :raises ImageError: where a file is not what its name says. :raises OSError: where it cannot be read.
    """
    for file in files:
        if not _SHA256.fullmatch(file["sha256"]):
            raise ImageError(f"{file['sha256']!r} is no SHA-256")
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with tarfile.open(fileobj=target, mode="w|") as tar:
            for file in files:
                member = tarfile.TarInfo(file["path"])
                member.size = file["size"]
                with _opened(place, folder, file) as content:
                    tar.addfile(member, cast(IO[bytes], _Hashed(content, folder, file)))
    finally:
        os.close(place)


def _opened(place: int, folder: Path, file: Mapping[str, Any]) -> IO[bytes]:
    """Open a file of the directory that is a file, not a link, a pipe or a device, which root would wait for."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    content = os.fdopen(os.open(file["sha256"], flags, dir_fd=place), "rb")
    about = os.fstat(content.fileno())
    if not stat.S_ISREG(about.st_mode) or about.st_size != file["size"]:
        content.close()
        raise ImageError(_changed(folder, file))
    return content


def _changed(folder: Path, file: Mapping[str, Any]) -> str:
    return (
        f"{file['path']} is not what was exported: {folder / file['sha256']} was changed after it was copied. Nothing "
        "was loaded; find out which program of this user writes there, and run the playbook again"
    )


class _Hashed:
    """A file that is hashed while it is read, and whose last piece is given away only where the hash is right."""

    def __init__(self, content: IO[bytes], folder: Path, file: Mapping[str, Any]) -> None:
        self._content, self._folder, self._file = content, folder, file
        self._left, self._digest = int(file["size"]), hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._content.read(min(size, self._left))
        self._digest.update(piece)
        self._left -= len(piece)
        if not piece or (not self._left and self._digest.hexdigest() != self._file["sha256"]):
            raise ImageError(_changed(self._folder, self._file))
        return piece


@_reads_answers
def folders_of(image: Mapping[str, Any], containerd: Sequence[Path] = CONTAINERD) -> list[Path]:
    """Return the directories that hold an image's layers; with containerd, those of all images.

    :param image: as the engine describes it.

    >>> folders_of({"GraphDriver": {"Data": {"UpperDir": "/o/2/diff", "LowerDir": "/o/1/diff:/o/0/diff"}}})
    [PosixPath('/o/2/diff'), PosixPath('/o/1/diff'), PosixPath('/o/0/diff')]
    >>> folders_of({"GraphDriver": {"Name": "overlayfs", "Data": None}}, [Path("/c")])
    [PosixPath('/c')]
    """
    kept = (image.get("GraphDriver") or {}).get("Data") or {}
    layers = [kept.get("UpperDir", ""), *kept.get("LowerDir", "").split(":")]
    return [Path(layer) for layer in layers if layer] or list(containerd)


def _large_files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for place, _folders, names in os.walk(folder):
            for name in names:
                path = Path(place, name)
                try:
                    found = path.lstat()
                except OSError:
                    continue  # it was removed meanwhile
                if stat.S_ISREG(found.st_mode) and found.st_size >= _LARGE:
                    yield path


def release_image(image: Mapping[str, Any] | None) -> int:
    """Release the memory that holds the pages of an image's layers, which Docker has written or read.

    On a Spark that memory is the GPU's too, and an engine that starts next would have less for its KV cache.

    :param image: as the engine describes it. :returns: the number of files; 0 where nothing is known of the image.
    """
    files = list(_large_files(folders_of(image))) if image else []
    if files:
        os.sync()  # once, and not for each file
    for path in files:
        release_pages(path)
    return len(files)


def save(docker: str, image: str, folder: Path, without: set[str]) -> list[dict[str, Any]]:
    """Take an image of this host apart, as a stream: the whole may be larger than memory."""
    files: list[dict[str, Any]] = []
    broken = ""
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen([docker, "save", image], stdout=subprocess.PIPE, stderr=errors) as saving:
            stream = cast(IO[bytes], saving.stdout)
            try:
                files = unpack(stream, folder, without)
            except tarfile.TarError as exc:
                broken = str(exc)
            stream.close()
        if saving.returncode or not files:
            errors.seek(0)
            raise ImageError(errors.read().decode(errors="replace").strip() or broken)
    return files


def load(docker: str, files: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Put an image together on this host."""
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen([docker, "load", "--quiet"], stdin=subprocess.PIPE, stdout=said, stderr=said) as loading:
            stream = cast(IO[bytes], loading.stdin)
            try:
                pack(files, folder, stream)
                stream.close()
            except BrokenPipeError:
                pass  # docker has said why
        if loading.returncode:
            said.seek(0)
            raise ImageError(said.read().decode(errors="replace").strip())
