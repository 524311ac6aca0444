# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model's weights consist of: the headers of its safetensors files, from a disk or, by ranges, from the hub.

To parse the headers of a large model takes a second, so what they tell is noted by whoever may write to the cache.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import Cache, Notes
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import Hub, HubError, Model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.safetensors import (
    START,
    HeaderError,
    Tensor,
    header_bytes,
    parse,
    summarise,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

#: the first request asks for so many bytes of a file, or for more where the index of the weights has many names
LEAST_ASKED, MOST_ASKED = 64 << 10, 1 << 20
#: what all headers of a model together may have; those of the largest known ones have some 20 MB
MOST_BYTES = 192 << 20
_STREAMS = 6
_SUFFIX, _INDEX = ".safetensors", ".safetensors.index.json"

#: a row of a summary: ``name``, ``dtype``, ``count``, ``bytes``
Row = Dict[str, Any]


class Weights(NamedTuple):
    """What is known of a model's weights.

    ``problem`` says why nothing is; ``noted`` is false where the cache's notes lack it.
    """

    tensors: list[Row]
    problem: str
    noted: bool


def weight_files(model: Model) -> list[HashedFile]:
    """Return the safetensors files that an engine loads.

    Those of the top directory, and others where it has none; and where the same weights are there a second time in one
    file, ``consolidated.safetensors`` as its author calls it, the parts. TensorRT-LLM's weight loader chooses so.
    """
    files = [file for file in model.files if file.path.endswith(_SUFFIX)]
    files = [file for file in files if "/" not in file.path] or files
    return [file for file in files if "consolidated" not in file.path.rpartition("/")[2]] or files


def key_of(model: Model) -> str:
    """Return the name under which a model's summary is noted: another one where any file of its weights differs."""
    text = "".join(f"{file.blob} {file.path}\n" for file in weight_files(model))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def recalled(notes: Notes, model: Model) -> list[Row]:
    """Return the summary that is noted of this model, empty where none is."""
    rows = notes.tensors.get(key_of(model))
    return rows if isinstance(rows, list) and all(_is_row(row) for row in rows) else []


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or set(row) != {"name", "dtype", "count", "bytes"}:
        return False
    return all(isinstance(row[name], str) for name in ("name", "dtype")) and all(
        isinstance(row[name], int) and not isinstance(row[name], bool) and row[name] >= 0 for name in ("count", "bytes")
    )


def remember(notes: Notes, model: Model, rows: list[Row]) -> None:
    """Note a model's summary, in the place of those of its earlier commits."""
    if rows:
        notes.tensors = {key_of(model): rows}


def weights_of(model: Model, cache: Cache, hub: Hub | None, top: Path | None = None) -> Weights:
    """Return what the model's weights consist of: from notes, else from the disk, else from the hub. Never fails.

    :param hub: None where no hub is to be asked. :param top: the directory that the model is taken from.
    """
    rows = recalled(Notes(cache.notes), model)
    if rows:
        return Weights(rows, "", True)
    try:
        rows = read(model, lambda file: _on_disk(cache, file, top), hub)
    except (HeaderError, HubError, OSError) as exc:
        return Weights([], told(exc), True)
    return Weights(rows, "", False)


def _on_disk(cache: Cache, file: HashedFile, top: Path | None) -> Path | None:
    path = cache.blobs / file.blob if top is None else top / file.path
    try:
        return path if path.is_file() and path.stat().st_size == file.size else None
    except OSError:
        return None


def read(model: Model, on_disk: Callable[[HashedFile], Path | None], hub: Hub | None) -> list[Row]:
    """Return the summary of a model's headers.

    :param on_disk: where a file is, None where it is not.
    :raises HeaderError: where a header is damaged or cannot be had. :raises HubError: what the hub says.
    """
    files = weight_files(model)
    if not files:
        raise HeaderError(f"{model.repo} has no safetensors files among the chosen ones")
    index = sum(file.size for file in model.files if file.path.endswith(_INDEX))
    first = min(max(2 * index // len(files), LEAST_ASKED), MOST_ASKED)
    budget, broken = _Budget(MOST_BYTES, model.repo), threading.Event()

    def one(file: HashedFile) -> list[Tensor]:
        if broken.is_set():  # a part of the weights is of no use
            return []
        try:
            path = on_disk(file)
            if path is not None:
                return _from_disk(path, file, budget)
            if hub is None:
                raise HeaderError(f"{file.path} of {model.repo} is not on this disk, and no hub was asked")
            return _from_hub(hub, model, file, first, budget)
        except BaseException:
            broken.set()
            raise

    with ThreadPoolExecutor(min(_STREAMS, len(files))) as pool:
        return summarise(tensor for tensors in pool.map(one, files) for tensor in tensors)


class _Budget:
    """How many bytes of headers may still be read."""

    def __init__(self, most: int, repo: str) -> None:
        self.left, self.repo, self.lock = most, repo, threading.Lock()

    def take(self, count: int) -> None:
        with self.lock:
            self.left -= count
            if self.left < 0:
                raise HeaderError(
                    f"the headers of {self.repo} have more than {MOST_BYTES >> 20} MiB, which no model needs"
                )


def _from_disk(path: Path, file: HashedFile, budget: _Budget) -> list[Tensor]:
    with path.open("rb") as stream:
        length = header_bytes(stream.read(START), file.size, str(path))
        budget.take(length)
        return parse(stream.read(length), file.size, str(path))


def _from_hub(hub: Hub, model: Model, file: HashedFile, first: int, budget: _Budget) -> list[Tensor]:
    place = f"{file.path} of {model.repo} on {hub.endpoint}"
    if file.size < START:
        header_bytes(b"", file.size, place)
    asked = min(first, file.size)
    budget.take(asked)
    content = hub.part(model, file, 0, asked)
    end = START + header_bytes(content, file.size, place)
    if end > asked:
        budget.take(end - asked)
        content += hub.part(model, file, asked, end)
    return parse(content[START:end], file.size, place)
