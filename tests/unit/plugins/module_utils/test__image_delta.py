# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image without its base's layers: which they are, and what stays in the tar."""

from __future__ import annotations

import io
import tarfile

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils import _image_delta as image_delta


@pytest.mark.parametrize(
    ("image", "base", "shared"),
    [
        (["sha256:a", "sha256:b", "sha256:c"], ["sha256:a", "sha256:b"], {"sha256:a", "sha256:b"}),
        (["sha256:a", "sha256:e", "sha256:e"], ["sha256:a", "sha256:e"], {"sha256:a"}),  # an empty layer, twice
    ],
)
def test_shared_layers(image: list[str], base: list[str], shared: set[str]) -> None:
    assert image_delta.shared_layers(image, base) == shared


@pytest.mark.parametrize("base", [[], ["sha256:x"], ["sha256:b"], ["sha256:a", "sha256:b", "sha256:c"]])
def test_an_image_on_another_base_is_refused(base: list[str]) -> None:
    with pytest.raises(image_delta.DeltaError, match="not built on the base"):
        image_delta.shared_layers(["sha256:a", "sha256:b"], base)


def test_strip_leaves_out_blobs_and_nothing_else() -> None:
    saved, delta = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=saved, mode="w") as tar:
        for name in ("blobs/sha256/aa", "blobs/sha256/bb", "manifest.json"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
    saved.seek(0)
    assert image_delta.strip(saved, delta, {"sha256:aa"}) == 1
    delta.seek(0)
    with tarfile.open(fileobj=delta) as tar:
        assert tar.getnames() == ["blobs/sha256/bb", "manifest.json"]
        assert tar.extractfile("manifest.json").read() == b"abc"
