# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a picture as PNG, so that no file of anybody's has to be downloaded or carried along. Source: PNG by the W3C.

This plugin util is private to the collection.
"""

from __future__ import annotations

import struct
import zlib
from typing import Callable, Sequence


def png(width: int, height: int, colour: Callable[[int, int], Sequence[int]]) -> bytes:
    """The file, the same each time.

    :param colour: red, green and blue, of 255 each, of the pixel at ``x`` from the left and ``y`` from the top.

    >>> png(1, 1, lambda _x, _y: (0, 0, 0))[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    rows = b"".join(b"\0" + b"".join(bytes(colour(x, y)) for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits a colour, three colours
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
