# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an image's layers, and the memory that holds these files' pages.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import reads_answers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import release_pages

_LARGE = 1 << 20  # bytes: of an image of 20 GB, all but a small part is in files that are larger
#: where containerd keeps the images of a Docker that leaves them to it: as they came, and unpacked
CONTAINERD = tuple(
    Path("/var/lib/containerd", name)
    for name in ("io.containerd.content.v1.content", "io.containerd.snapshotter.v1.overlayfs")
)


@reads_answers
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
