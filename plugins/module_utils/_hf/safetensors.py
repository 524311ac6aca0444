# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a safetensors file, and a short list of what all files of a model hold.

A file begins with 8 bytes, the header's length in little-endian order. The header is a JSON object with a row for each
tensor, ``{"dtype", "shape", "data_offsets": [begin, end]}``, offsets counted from the header's end, and perhaps with
``__metadata__``. The tensors fill the rest of the file without gaps. https://github.com/huggingface/safetensors

This module util is private to the collection.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterable, NamedTuple

#: bytes before the header
START = 8
#: the format's own limit of a header
MOST_HEADER_BYTES = 100_000_000
#: rows of a summary; a model has one for each kind of tensor, not for each layer or expert
MOST_ROWS = 1000
_MOST_NAME, _MOST_DIMENSIONS = 500, 32

#: bits of an element, of the types that the format knows; others are kept as words
BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}
_METADATA = "__metadata__"
_NUMBER = re.compile(r"(?<![^.])[0-9]+(?![^.])")
_AGAIN = "bring the file again, or choose another revision of the model"


class HeaderError(ValueError):
    """A file is no safetensors file; the message names the file, the cause and the mend."""


class Tensor(NamedTuple):
    """One tensor. ``bytes`` are those of its place in the file."""

    name: str
    dtype: str
    bytes: int


def header_bytes(start: bytes, size: int, place: str) -> int:
    """Return the length of the header, without the bytes before it.

    :param start: the first bytes of the file, 8 or more. :param size: of the whole file.
    :param place: where the file is, for messages.

    >>> header_bytes(b"\\x10" + bytes(7), 100, "model.safetensors")
    16
    """
    length = int.from_bytes(start[:START], "little")
    if len(start) < START or length > min(size - START, MOST_HEADER_BYTES) or length < len("{}"):
        raise HeaderError(
            f"{place} is no safetensors file of {size} bytes, for its first 8 bytes tell a header of {length}: {_AGAIN}"
        )
    return length


def parse(header: bytes, size: int, place: str) -> list[Tensor]:
    """Return the tensors that a header tells of.

    :param header: the JSON, as long as :func:`header_bytes` tells. :param size: of the whole file.
    :raises HeaderError: where the header does not describe a file of this size.
    """
    try:
        rows = json.loads(header)
    except (ValueError, RecursionError) as exc:
        raise HeaderError(f"{place} has a header that is no JSON ({exc}): {_AGAIN}") from exc
    if not isinstance(rows, dict):
        raise HeaderError(f"{place} has a header that is no JSON object ({type(rows).__name__}): {_AGAIN}")
    rows.pop(_METADATA, None)
    found, spans = [], []
    for name, row in rows.items():
        try:
            dtype, (begin, end) = row["dtype"], row["data_offsets"]
            elements = 1
            for length in row["shape"][:_MOST_DIMENSIONS]:
                elements *= length
        except (TypeError, KeyError, ValueError) as exc:
            raise HeaderError(
                f"{place}: the header's row of {_short(name)!r} lacks a dtype, a shape or offsets: {_AGAIN}"
            ) from exc
        numbers = all(isinstance(one, int) and not isinstance(one, bool) for one in (begin, end, elements))
        if not isinstance(dtype, str) or not numbers:
            raise HeaderError(f"{place}: the header's row of {_short(name)!r} has values of another kind: {_AGAIN}")
        if len(name) > _MOST_NAME or len(dtype) > _MOST_NAME or len(row["shape"]) > _MOST_DIMENSIONS:
            raise HeaderError(f"{place}: the header's row of {name[:60]!r} … is larger than any model's: {_AGAIN}")
        if not 0 <= begin <= end <= size:
            raise HeaderError(
                f"{place}: {name!r} lies from byte {_short(begin)} to {_short(end)} of the data: {_AGAIN}"
            )
        bits = BITS.get(dtype)
        if bits is not None and elements * bits != 8 * (end - begin):
            raise HeaderError(
                f"{place}: {name!r} of shape {_short(row['shape'])} and type {dtype} has {end - begin} bytes: {_AGAIN}"
            )
        found.append(Tensor(name, dtype, end - begin))
        spans.append((begin, end))
    _check_spans(spans, size - START - len(header), place)
    return found


def _check_spans(spans: list[tuple[int, int]], room: int, place: str) -> None:
    """Refuse tensors that overlap, leave gaps, or do not end where the file does."""
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            how = "overlap" if begin < at else "leave a gap"
            raise HeaderError(f"{place}: its tensors {how} at byte {min(begin, at)} of the data: {_AGAIN}")
        at = end
    if at != room:
        raise HeaderError(f"{place}: its tensors end at byte {at} of the data, and the data has {room} bytes: {_AGAIN}")


def _short(shape: Any) -> str:
    text = str(shape)
    return text if len(text) <= 60 else text[:60] + " …"


def pattern(name: str) -> str:
    """Return a tensor's name with every component that is a number replaced by an asterisk.

    >>> pattern("model.layers.17.mlp.experts.3.down_proj.weight_scale_2")
    'model.layers.*.mlp.experts.*.down_proj.weight_scale_2'
    """
    return _NUMBER.sub("*", name)


def summarise(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Return the tensors of a model as a short list: those whose names differ in numbers alone make one row.

    >>> summarise([Tensor("h.0.w", "BF16", 8), Tensor("h.1.w", "BF16", 8)])
    [{'name': 'h.*.w', 'dtype': 'BF16', 'count': 2, 'bytes': 16}]
    """
    rows: dict[tuple[str, str], list[int]] = {}
    for name, dtype, size in tensors:
        row = rows.setdefault((_NUMBER.sub("*", name), dtype), [0, 0])
        row[0] += 1
        row[1] += size
    if len(rows) > MOST_ROWS:
        raise HeaderError(f"{len(rows)} kinds of tensors are more than the {MOST_ROWS} that a summary holds")
    return [
        {"name": name, "dtype": dtype, "count": count, "bytes": size}
        for (name, dtype), (count, size) in sorted(rows.items())
    ]
