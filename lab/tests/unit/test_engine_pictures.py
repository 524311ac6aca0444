# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model with a vision_config takes pictures, which are decoded; another one refuses them as the real server does."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import pytest
from engine_support import load, write_model

pictures, model, server = load("simulation.pictures"), load("simulation.model"), load("simulation.server")


def png(width: int = 8, height: int = 4, colour: int = 2, spoil: str = "") -> bytes:
    samples = {0: 1, 2: 3, 6: 4}[colour]
    data = zlib.compress((b"\0" + bytes(width * samples)) * (height - (spoil == "short")))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    whole = pictures.SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ (spoil == "sum"))
        for kind, body in parts
    )
    return whole[:-20] if spoil == "cut" else whole


def url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def chat(*urls: str) -> dict[str, Any]:
    shown = [{"type": "image_url", "image_url": {"url": one}} for one in urls]
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look."}, *shown]}]}


@pytest.mark.parametrize("colour", [0, 2, 6])
def test_how_large_a_picture_is(colour: int) -> None:
    assert pictures.sizes(chat(url(png(8, 4, colour)), url(png(5, 7, colour))), True) == ["8x4", "5x7"]
    assert pictures.sizes({"messages": [{"role": "user", "content": "no picture"}]}, False) == []


@pytest.mark.parametrize(
    ("body", "sees", "says"),
    [
        (chat(url(png())), False, "Unknown modality: image"),
        (chat("https://example.org/cat.png"), True, "fetches nothing"),
        (chat("data:image/png;base64,***"), True, "cannot identify image file"),
        (chat(url(b"GIF89a")), True, "cannot identify image file: no PNG"),
        (chat(url(png(spoil="sum"))), True, "is broken"),
        (chat(url(png(spoil="short"))), True, "not whole"),
        (chat(url(png(spoil="cut"))), True, "cannot identify image file"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, True, "Unknown part type: smell"),
    ],
)
def test_what_is_refused(body: dict[str, Any], sees: bool, says: str) -> None:
    with pytest.raises(pictures.PictureError, match=says):
        pictures.sizes(body, sees)


def test_which_model_sees(tmp_path: Any) -> None:
    assert model.sees(write_model(tmp_path / "a", vision_config={"depth": 2}))
    assert not model.sees(write_model(tmp_path / "b"))
    assert not model.sees(write_model(tmp_path / "c", vision_config=None))
