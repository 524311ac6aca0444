# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures in a chat: whether a model takes them, and how large one is. They are decoded, and not looked at."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import Any

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by PNG's colour type


class PictureError(ValueError):
    """What the real server answers 400 for, in its words where they are known."""


def urls(body: dict[str, Any]) -> list[str]:
    """The pictures of a chat request, in their order; other parts than text are refused."""
    found = []
    for message in body["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            kind = part.get("type", "text") if isinstance(part, dict) else part
            if kind == "image_url":
                found.append(str((part.get("image_url") or {}).get("url", "")))
            elif kind != "text":
                raise PictureError(f"Unknown part type: {kind}")
    return found


def sizes(body: dict[str, Any], sees: bool) -> list[str]:
    """Of each picture of a chat, such as ``256x192``. :param sees: whether the model takes pictures at all."""
    found = urls(body)
    if found and not sees:
        raise PictureError("Unknown modality: image")
    return ["x".join(map(str, size_of(url))) for url in found]


def size_of(url: str) -> tuple[int, int]:
    """Width and height of the PNG in a data URL. The real server would fetch others; this one has no such client."""
    head, comma, text = url.partition(",")
    if not comma or not head.startswith("data:image/png") or not head.endswith(";base64"):
        raise PictureError(f"{url[:60]!r} is no PNG in a data URL, and a virtual Spark's engine fetches nothing")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise PictureError(f"cannot identify image file: {error}") from None
    return read(data)


def read(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG. :raises PictureError: where it is none, or not whole."""
    try:
        return decoded(data)
    except (struct.error, zlib.error, KeyError) as error:
        raise PictureError(f"cannot identify image file: {error}") from None


def decoded(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG whose every byte is there: checksums, and as many samples as its head promises."""
    if png[:8] != SIGNATURE:
        raise PictureError("cannot identify image file: no PNG")
    place, width, height, row, data, kind = 8, 0, 0, 0, b"", b""
    while kind != b"IEND":
        (length,), kind = struct.unpack(">I", png[place : place + 4]), png[place + 4 : place + 8]
        chunk = png[place + 8 : place + 8 + length]
        (check,) = struct.unpack(">I", png[place + 8 + length : place + 12 + length])
        if check != zlib.crc32(kind + chunk):
            raise PictureError(f"cannot identify image file: {kind!r} is broken")
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", chunk[:10])
            row = 1 + -(-width * depth * SAMPLES[colour] // 8)
        data += chunk if kind == b"IDAT" else b""
        place += 12 + length
    if not width or not height or len(zlib.decompress(data)) != row * height:
        raise PictureError("cannot identify image file: its data are not whole")
    return width, height
