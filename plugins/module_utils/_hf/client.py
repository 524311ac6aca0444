# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How `hf` is started, and what its failures mean.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Iterable

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = re.compile(
    r"\s*(?:$|Hint:|Traceback|File \"|\^+|The above exception|During handling|warnings?\.)", re.IGNORECASE
)
# What the next attempt would meet again.
_FINAL = (
    (r"No space left on device|Errno 28\b|not enough (?:free )?disk", "the disk is full"),
    (r"Disk quota exceeded|Errno 122\b", "the quota is used up"),
    (r"Read-only file system|Errno 30\b", "the disk is mounted read-only"),
    # Xet's server denies in the same words as the file system, and hf does without Xet from the second attempt on.
    (r"Errno 13\b|^(?!.*\b(?:CAS|HTTP|403)\b).*Permission denied", "the cache may not be written to"),
    (
        r"\b(?:40[134]|451) Client Error|Client error '(?:40[134]|451)"
        r"|Invalid (?:credentials|username|(?:user )?token)",
        "the hub refuses it",
    ),
    (r"GatedRepo|requires approval", "the hub refuses it"),
    # The hub's own words, as huggingface_hub passes them on.
    (r"\b403 Forbidden: |awaiting a review|been rejected|resource is disabled", "the hub refuses it"),
    (r"No such option|No such command|unexpected extra argument", "this hf does not know its options"),
)


def hf_argv(
    program: str, repo: str, commit: str, hub: str | os.PathLike[str], files: Iterable[HashedFile]
) -> list[str]:
    """Return the command line. It holds no secret, since every user can read it."""
    names = [file.path for file in files]
    if len(names) > 1:  # then each is taken for a pattern, in which a bracket does not stand for itself
        names = [name.replace("[", "[[]") for name in names]
    return [program, "download", f"--revision={commit}", f"--cache-dir={hub}", "--", repo, *names]


def child_environment(
    home: str | os.PathLike[str], endpoint: str, token: str, proxy: str = "", xet: bool = True
) -> dict[str, str]:
    """Return what is set for `hf`, so that nothing of the user's own settings or tokens is.

    :param xet: whether `hf` may take files by Xet, where the hub offers that; else plain HTTP.
    """
    environment = {
        "HF_HOME": str(home),
        "HF_TOKEN_PATH": str(Path(home, "token")),
        "HF_XET_CACHE": str(Path(home, "xet")),
        "HF_ENDPOINT": endpoint.rstrip("/"),
        "HF_TOKEN": token,
        "HUGGING_FACE_HUB_TOKEN": token,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0" if token else "1",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # Files in a store that repositories share are links out of this repository's directory.
        "HF_HUB_DISABLE_SHARED_BLOBS": "1",
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "30",
        "NO_COLOR": "1",
    }
    if proxy:
        environment.update({"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "http_proxy": proxy, "https_proxy": proxy})
    # hf brings authorities of its own, and would not know those that were added to this host.
    if AUTHORITIES.exists() and "SSL_CERT_FILE" not in os.environ:
        environment["SSL_CERT_FILE"] = str(AUTHORITIES)
    return environment


def failure(output: str) -> tuple[str, bool]:
    """Return why `hf` failed, and whether it would fail again."""
    lines = [line.strip() for line in _COLOUR.sub("", output).splitlines()]
    said = [line for line in lines if not _NOISE.match(line)]
    last = said[-1][:500] if said else "hf said nothing"
    for pattern, meaning in _FINAL:
        hits = [line for line in lines if re.search(pattern, line, re.IGNORECASE)]
        if hits:
            return f"{meaning} ({hits[-1][:500]})", True
    return last, False
