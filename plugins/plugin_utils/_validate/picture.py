# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of our own for models that see: no file of anybody's has to be downloaded or carried along.

This plugin util is private to the collection.
"""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.png import png as encoded

SIDE = 224  # pixels, as small as vision models take pictures
SKY, GRASS, SUN, WALL, ROOF = (120, 180, 240), (60, 150, 60), (250, 210, 40), (200, 60, 50), (90, 50, 40)


def _colour(x: int, y: int) -> tuple[int, int, int]:
    """The colour of a pixel: a red house with a brown roof on a green meadow, below a blue sky with a yellow sun."""
    if 60 <= x < 130 and 120 <= y < 180:
        return WALL
    if 80 <= y < 120 and abs(x - 95) <= (y - 80) * 45 // 40:
        return ROOF
    if (x - 180) ** 2 + (y - 45) ** 2 <= 25**2:
        return SUN
    return GRASS if y >= 160 else SKY


def png(side: int = SIDE) -> bytes:
    """The picture as a PNG file, the same each time."""
    return encoded(side, side, _colour)
