# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Save an image without the layers that its receiver has already.

``docker load`` asks for the content of a layer only where the layer is missing, so an image built on another one
travels as its own few layers and its configuration; its ID stays the same.

This module util is private to the collection.
"""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from typing import IO, Sequence


class DeltaError(ValueError):
    """The image does not stand on the base."""


def shared_layers(image: Sequence[str], base: Sequence[str]) -> set[str]:
    """The layers of ``base``, which must be the first ones of ``image``; both as diff IDs, lowest first."""
    if not base or list(image[: len(base)]) != list(base):
        raise DeltaError("the image is not built on the base: its first layers are others")
    return set(base) - set(image[len(base) :])


def strip(saved: IO[bytes], delta: IO[bytes], shared: set[str]) -> int:
    """Copy ``docker save``'s tar (the layout of Docker 25 and later) without the blobs of ``shared``.

    :returns: how many blobs were left out.
    """
    names = {f"blobs/sha256/{layer.split(':')[1]}" for layer in shared}
    left_out = 0
    with tarfile.open(fileobj=saved, mode="r|") as source, tarfile.open(fileobj=delta, mode="w") as target:
        for member in source:
            if member.name in names:
                left_out += 1
            elif member.isfile():
                target.addfile(member, source.extractfile(member))
            else:
                target.addfile(member)
    return left_out


def save(docker: str, image: str, path: Path, shared: set[str]) -> int:
    """Write the delta of ``image`` to ``path``; returns how many blobs were left out.

    As a stream, because the whole image may be larger than memory or disk.
    """
    with subprocess.Popen([docker, "save", image], stdout=subprocess.PIPE) as saving, path.open("wb") as delta:
        left_out = strip(saving.stdout, delta, shared)
    if saving.returncode:
        raise DeltaError(f"docker save ended with exit status {saving.returncode}")
    return left_out
