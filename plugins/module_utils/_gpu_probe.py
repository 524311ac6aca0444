# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""A container that looks at the GPUs: what has to be in its image, and what its failure means."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Iterable

_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$")

# What Docker or the runtime says, what it means, and what to do.
_MEANINGS = (
    (
        r"invoking the NVIDIA Container Runtime Hook directly",
        "the toolkit is in mode 'cdi', which does not know --gpus: set nvidia-container-runtime.mode to 'auto' "
        "(nvidia-ctk config --in-place --set nvidia-container-runtime.mode=auto)",
    ),
    (
        r"initialize NVML|nvml error: driver not loaded|couldn't communicate with the NVIDIA driver",
        "the NVIDIA driver is not loaded: see that 'nvidia-smi' works on the host, and reboot if it was just updated",
    ),
    (r"GPU is lost|gpu is lost", "the GPU fell off the bus: reboot the host"),
    (
        r'"?nvidia-smi"?: executable file not found',
        "the container started without the NVIDIA runtime: see that 'docker info' names 'nvidia' as default runtime, "
        "and that nvidia-container-runtime.mode in config.toml is 'auto'",
    ),
    (
        r"unknown or invalid runtime name|nvidia-container-runtime\"?: executable file not found",
        "Docker does not know the NVIDIA runtime: restart Docker, and see that nvidia-container-toolkit is installed",
    ),
    (r"Unable to find image|No such image", "the image is not on the host: pull it, or name one that is"),
)


class GpuProbeError(ValueError):
    """The GPUs could not be seen from inside a container."""


def libraries(ldd: str) -> list[str]:
    """Return the files that a program loads, from what ``ldd`` prints."""
    if "=> not found" in ldd:
        raise GpuProbeError(f"a library is missing on the host: {ldd.strip()}")
    found = [match[1] for match in map(_LIBRARY.match, ldd.splitlines()) if match]
    return list(dict.fromkeys(found))


def interpreter(head: bytes) -> str | None:
    """Return the program that runs a script, None for anything but a script."""
    if not head.startswith(b"#!"):
        return None
    words = head[2:].split(b"\n", 1)[0].split()
    return words[0].decode(errors="replace") if words else None


def archive(paths: Iterable[str]) -> bytes:
    """Return a root file system (tar) with these files at these places, links resolved."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path in dict.fromkeys(paths):
            content = Path(path).read_bytes()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def explain(rc: int, said: str) -> str:
    """Say in words, with the mend, why a container did not show the GPUs."""
    said = said.strip() or "(no message)"
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, said):
            return f"a container cannot see the GPUs, because {meaning}. Docker said: {said}"
    return f"a container cannot see the GPUs (exit status {rc}): {said}"
