# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of layers, out of the places where an engine keeps these."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import image_store as store
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_source import ImageError

#: as Docker 26.1.5 wrote it about a layer of that diff ID, with the files that are made below
NOTE = Path(__file__).parents[3] / "fixtures" / "docker_26.1.5" / "tar-split.json.gz"
DIFF_ID = "5c613169adef65cf9e220a3192c778237e14db49902c8353c4ae1335a529afd4"
CONFIG = json.dumps({"rootfs": {"diff_ids": [f"sha256:{DIFF_ID}"]}}).encode()
IMAGE = hashlib.sha256(CONFIG).hexdigest()
FILES = {
    b"dir/one": b"hello\n",
    b"dir/hard": b"hello\n",
    b"dir/sub/" + b"n" * 130: b"long\n",
    b"large": b"x" * 200_000,
    b"caf\xe9": b"z",
    b"gone": b"gone\n",
    b"empty": b"",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory of Docker's, with one image of one layer."""
    layer = tmp_path / "image" / "overlay2" / "layerdb" / "sha256" / DIFF_ID
    layer.mkdir(parents=True)
    (layer / "cache-id").write_text("c1")
    (layer / "tar-split.json.gz").write_bytes(NOTE.read_bytes())
    configs = tmp_path / "image" / "overlay2" / "imagedb" / "content" / "sha256"
    configs.mkdir(parents=True)
    (configs / IMAGE).write_bytes(CONFIG)
    for name, content in FILES.items():
        path = tmp_path / "overlay2" / "c1" / "diff" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def sent(content: store.Content, offset: int = 0) -> bytes:
    """What comes out of a pipe that the content is sent into."""
    source, target = os.pipe()
    came: list[bytes] = []
    with os.fdopen(source, "rb") as stream:
        reader = threading.Thread(target=lambda: came.append(stream.read()))
        reader.start()
        try:
            content.send(target, offset)
        finally:
            os.close(target)
            reader.join()
    return came[0]


def test_a_layer_comes_as_docker_saves_it(root: Path) -> None:
    content = store.LayerStore(root, "overlay2", f"sha256:{IMAGE}").find(DIFF_ID)
    assert content is not None
    tar = sent(content)
    assert (len(tar), hashlib.sha256(tar).hexdigest()) == (content.size, DIFF_ID)
    assert sent(content, content.size) == b"", "who asks for the size alone gets nothing else"


def test_an_images_configuration_and_nothing_of_other_images(root: Path) -> None:
    one = store.LayerStore(root, "overlay2", f"sha256:{IMAGE}")
    content = one.find(IMAGE)
    assert content is not None
    assert sent(content) == CONFIG
    assert one.find("0" * 64) is None
    one.close()


@pytest.mark.parametrize("change", ["longer", "gone", "a link", "below a link"])
def test_a_file_that_is_not_what_docker_wrote_is_not_sent(root: Path, change: str) -> None:
    """A link leads to a file of the same size and name, which is none of the layer's."""
    content = store.LayerStore(root, "overlay2", f"sha256:{IMAGE}").find(DIFF_ID)
    assert content is not None
    path = root / "overlay2" / "c1" / "diff" / "dir" / "hard"
    outside = shutil.copytree(path.parent, root / "outside")
    (outside / "hard").write_bytes(b"other\n")
    path.unlink()
    if change == "longer":
        path.write_bytes(b"hello \n")
    elif change == "a link":
        path.symlink_to(outside / "hard")
    elif change == "below a link":
        shutil.rmtree(path.parent)
        path.parent.symlink_to(outside)
    with pytest.raises((ImageError, OSError)):
        sent(content)


def test_a_link_within_a_layer_is_followed_wherever_docker_keeps_it(root: Path) -> None:
    """An archive may name a directory by a link that it has brought itself; so may its owner name Docker's."""
    layer = root / "overlay2" / "c1" / "diff"
    (layer / "dir").rename(layer / "other")
    (layer / "dir").symlink_to("other")
    (root / "by another name").symlink_to(root)
    content = store.LayerStore(root / "by another name", "overlay2", f"sha256:{IMAGE}").find(DIFF_ID)
    assert content is not None
    assert hashlib.sha256(sent(content)).hexdigest() == DIFF_ID


def test_a_layer_that_is_put_together_is_sent_from_its_beginning(root: Path) -> None:
    content = store.LayerStore(root, "overlay2", f"sha256:{IMAGE}").find(DIFF_ID)
    assert content is not None
    with pytest.raises(ImageError, match="is sent from its beginning"):
        sent(content, 5)


@pytest.mark.parametrize("line", [b"{", b"{}", b'{"type":2,"payload":7}', b'{"type":1,"size":"x"}'])
def test_a_note_that_cannot_be_read_is_named(line: bytes) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        store.piece_of(line)


def test_no_name_leads_out_of_the_layer() -> None:
    line = json.dumps({"type": 1, "name": "../../../etc/shadow", "size": 1}).encode()
    assert store.piece_of(line).path == "etc/shadow"


def test_containerds_blobs(tmp_path: Path) -> None:
    (tmp_path / IMAGE).write_bytes(CONFIG)
    blobs = store.BlobStore(tmp_path)
    content = blobs.find(IMAGE)
    assert content is not None
    assert (sent(content), sent(content, 5)) == (CONFIG, CONFIG[5:])
    assert blobs.find("0" * 64) is None
    (tmp_path / IMAGE).write_bytes(CONFIG[:-1])
    with pytest.raises(ImageError, match="was cut while it was sent"):
        sent(content)


def saved(folder: Path, members: dict[str, bytes], status: int = 0) -> store.SavedStore:
    """An image that a program in the place of docker saves."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (folder / "image.tar").write_bytes(archive.getvalue())
    docker = folder / "docker"
    docker.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdout.buffer.write(open({str(folder / 'image.tar')!r}, 'rb').read())\n"
        f"sys.stdout.flush()\nsys.exit('no such image' if {status} else 0)\n"
    )
    docker.chmod(0o755)
    return store.SavedStore(str(docker), "sha256:1d", folder / "saved")


def test_what_docker_saves_is_there_until_it_is_closed(tmp_path: Path) -> None:
    one = saved(tmp_path, {f"blobs/sha256/{IMAGE}": CONFIG, "manifest.json": b"[]"})
    assert not (tmp_path / "saved").exists(), "nothing is saved before it is asked for"
    content = one.find(IMAGE)
    assert content is not None
    assert sent(content) == CONFIG
    assert one.find("0" * 64) is None
    one.close()
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("members", "status", "says"),
    [({}, 1, "no such image"), ({"blobs/sha256/../../x": b"x"}, 0, "is no SHA-256"), ({"x": b""}, 0, "wrote no image")],
)
def test_what_docker_does_not_save_is_told(tmp_path: Path, members: dict[str, bytes], status: int, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        saved(tmp_path, members, status).find(IMAGE)


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ({"Driver": "overlay2", "DriverStatus": [["Native Overlay Diff", "true"]]}, store.LayerStore),
        ({"Driver": "overlay2", "DriverStatus": [["Native Overlay Diff", "false"]]}, store.SavedStore),
        ({"Driver": "btrfs", "DriverStatus": None}, store.SavedStore),
        ({"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, store.BlobStore),
    ],
)
def test_where_an_engine_keeps_images(root: Path, info: dict[str, Any], kind: type) -> None:
    class Engine:
        def info(self) -> dict[str, Any]:
            return {"DockerRootDir": str(root), **info}

    found = store.store_for(Engine(), f"sha256:{IMAGE}", root / "saved", "docker")  # type: ignore[arg-type]
    assert isinstance(found, kind)
    assert store.is_readable(info) == (kind is not store.SavedStore)
