# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rest of a file of which an `hf` that ended has left a part: asked of the hub by plain HTTP, from where it broke.

`hf` itself has no use for such a part: it begins under a new name each time, and removes its own where it can. Xet and
plain HTTP both write a file in order, so a part is the file's beginning; where it is not, the hash of the whole tells.

This module util is private to the collection.
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import Cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import PASSING, Model, SameOrigin
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile, new_hash, release_pages

_PIECE = 1 << 20
_STREAMS = 4
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)", re.ASCII)


class Source(NamedTuple):
    """Where files come from. ``proxy`` is empty for what the host itself has set."""

    endpoint: str
    token: str
    proxy: str
    stall_seconds: float


def complete(
    cache: Cache,
    model: Model,
    files: Sequence[HashedFile],
    source: Source,
    on_whole: Callable[[HashedFile, Path], None],
) -> tuple[list[HashedFile], str]:
    """Complete the files of which there is a part. Return those that are to come anew, and why one broke off, if any.

    What came before it broke off is kept for the next attempt.

    :param on_whole: called for each file that is whole now and has the right hash.
    """
    begun = [file for file in files if (cache.partial / file.blob).is_file()]
    with ThreadPoolExecutor(_STREAMS) as pool:
        ends = list(pool.map(lambda file: _one(cache, model, file, source), begun))
    broken = [f"{file.path}: {end}" for file, end in zip(begun, ends) if end]
    for file in begun:
        whole = cache.blobs / file.blob
        if whole.is_file():
            on_whole(file, whole)
    left = [file for file in files if not (cache.blobs / file.blob).is_file()]
    return left, "; ".join(broken[:1])


def _one(cache: Cache, model: Model, file: HashedFile, source: Source) -> str:
    """Complete a file, or remove a part that is of no use. Return why it broke off, empty where it did not."""
    part = cache.partial / file.blob
    try:
        with part.open("rb+", buffering=0) as stream:
            digest, piece, there = new_hash(file), memoryview(bytearray(_PIECE)), 0
            while count := stream.readinto(piece) or 0:
                digest.update(piece[:count])
                there += count
            if there < file.size:
                _receive(_open(model, file, source, there), stream, digest, there, file.size)
    except _UselessError:
        part.unlink()
        return ""
    except urllib.error.HTTPError as exc:
        with exc:
            return f"the rest of it did not come (HTTP {exc.code})" if exc.code in PASSING else ""  # hf is told why
    except (OSError, http.client.HTTPException) as exc:
        return f"the rest of it did not come ({getattr(exc, 'reason', None) or exc})"
    if digest.hexdigest() == file.blob:
        release_pages(part.replace(cache.blobs / file.blob))
    else:
        part.unlink()
    return ""


class _UselessError(Exception):
    """The hub does not send the rest of this file alone."""


def _open(model: Model, file: HashedFile, source: Source, offset: int) -> Any:
    path = f"/{model.repo}/resolve/{model.commit}/{urllib.parse.quote(file.path)}"
    headers = {"User-Agent": "sparkops.dgx_spark", "Range": f"bytes={offset}-"}
    if source.token:
        headers["Authorization"] = f"Bearer {source.token}"
    handlers: list[urllib.request.BaseHandler] = [SameOrigin()]
    if source.proxy:
        handlers.append(urllib.request.ProxyHandler({"http": source.proxy, "https": source.proxy}))
    request = urllib.request.Request(source.endpoint.rstrip("/") + path, headers=headers)
    try:
        return urllib.request.build_opener(*handlers).open(request, timeout=source.stall_seconds)
    except urllib.error.HTTPError as exc:
        if exc.code == 416:
            raise _UselessError from exc
        raise


def _receive(reply: Any, stream: Any, digest: Any, offset: int, size: int) -> None:
    with reply:
        span = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
        if reply.status != 206 or not span or [int(number) for number in span.groups()] != [offset, size]:
            raise _UselessError
        while offset < size:
            piece = memoryview(reply.read1(min(_PIECE, size - offset)))  # what is there, before a reset takes it
            if not piece:
                raise OSError("the connection ended")
            digest.update(piece)
            offset += len(piece)
            while piece:
                piece = piece[stream.write(piece) :]
