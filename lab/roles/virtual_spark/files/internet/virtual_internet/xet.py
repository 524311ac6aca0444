# SIMULATED: part of the lab's stand-in for the internet, not the Hugging Face hub.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Xet, as far as the real `hf-xet` needs it to read a file: what a file consists of, and the bytes of each part.

A file is a sequence of terms. Each term is one xorb here, of `XORB` bytes of the file; a xorb is a sequence of chunks,
each with a header of eight bytes. Nothing is compressed, shared between files or deduplicated, and the hashes are
names alone, which the client does not check against the content: a file's Xet hash is its SHA-256.

    GET /xet/<org>/<name>/v1/reconstructions/<hash>     the terms, of a range of the file where one is asked for
    GET /xet/<org>/<name>/xorbs/<hash>/<number>         one xorb
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

CHUNK = 64 << 10
XORB = 1 << 20
_HEADER = 8  # version, stored length, compression, length


def xorb_hash(file_hash: str, number: int) -> str:
    """Return the name of one xorb of a file."""
    return hashlib.sha256(f"{file_hash}/{number}".encode()).hexdigest()


def _length(size: int, number: int) -> int:
    """Return how many of a file's bytes are in one of its xorbs."""
    return min(XORB, size - number * XORB)


def _chunks(length: int) -> int:
    return -(-length // CHUNK)


def reconstruction(file_hash: str, size: int, first: int, last: int, base: str) -> dict[str, Any]:
    """Return the terms that hold bytes of a file, both ends included, as the first version of the API tells them.

    :param base: the address of the file's xorbs, without their numbers.
    """
    terms, fetch_info = [], {}
    for number in range(first // XORB, last // XORB + 1):
        length, name = _length(size, number), xorb_hash(file_hash, number)
        chunks = {"start": 0, "end": _chunks(length)}
        terms.append({"hash": name, "unpacked_length": length, "range": chunks})
        stored = {"start": 0, "end": length + _HEADER * _chunks(length) - 1}
        fetch_info[name] = [{"range": chunks, "url": f"{base}/{number}", "url_range": stored}]
    return {"offset_into_first_range": first % XORB, "terms": terms, "fetch_info": fetch_info}


def xorb(path: Path, size: int, number: int) -> bytes:
    """Return one xorb of a file."""
    with path.open("rb") as file:
        file.seek(number * XORB)
        content = file.read(_length(size, number))
    parts = []
    for start in range(0, len(content), CHUNK):
        chunk = content[start : start + CHUNK]
        length = len(chunk).to_bytes(3, "little")
        parts += [b"\0" + length + b"\0" + length, chunk]
    return b"".join(parts)
