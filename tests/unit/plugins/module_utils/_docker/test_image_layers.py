# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory that holds pages of an image's layers."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import image_layers as layers


def test_the_pages_of_an_images_layers_are_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each large file in its own layers alone, once all is on the disk; links are not followed."""
    done: list[str] = []
    monkeypatch.setattr(layers.os, "sync", lambda: done.append("sync"))
    monkeypatch.setattr(
        layers.os, "posix_fadvise", lambda file, *_how: done.append(Path(f"/proc/self/fd/{file}").readlink().name)
    )
    upper, lower, other = (tmp_path / name / "diff" for name in ("2", "1", "other"))
    for folder, names in ((upper, ["a", "small"]), (lower / "usr" / "lib", ["b"]), (other, ["c"])):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(bytes(10 if name == "small" else 1 << 20))
    (upper / "link").symlink_to(other / "c")
    image = {"GraphDriver": {"Data": {"UpperDir": str(upper), "LowerDir": str(lower), "WorkDir": str(tmp_path)}}}
    assert layers.release_image(image) == 2
    assert done == ["sync", "a", "b"]
    assert layers.release_image(None) == layers.release_image({"GraphDriver": {"Data": {"UpperDir": "/gone"}}}) == 0
    monkeypatch.setattr(layers, "folders_of", lambda _image: [other])
    assert layers.release_image({"Id": "kept by containerd"}) == 1
