# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image taken apart and put together: which layers stay behind, and what travels."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import image_layers as layers
from hypothesis import given
from hypothesis import strategies as st

MEMBERS = {"blobs/sha256/aa": b"lower", "blobs/sha256/bb": b"upper", "manifest.json": b"[]"}


@pytest.mark.parametrize(
    ("receivers", "stay"),
    [
        ([[]], ""),
        ([[["x"]]], ""),
        ([[["b", "c"]]], ""),  # a layer without those below it is no such layer
        ([[["a", "b", "x"], ["a"]]], "ab"),
        ([[["a", "b"]], [["a"]]], "a"),
        ([[["a", "b", "c"]], []], ""),
    ],
)
def test_which_layers_are_there(receivers: list[list[list[str]]], stay: str) -> None:
    assert layers.common_layers(["a", "b", "c"], receivers) == set(stay)


def test_an_empty_layer_that_comes_again_travels() -> None:
    assert layers.common_layers(["a", "e", "e"], [[["a", "e"]]]) == {"a"}


NAMES = st.lists(st.sampled_from("abcd"), max_size=5)


@given(NAMES, st.lists(st.lists(NAMES, max_size=3), min_size=1, max_size=3))
def test_what_stays_behind_is_at_every_receiver(image: list[str], receivers: list[list[list[str]]]) -> None:
    stay = layers.common_layers(image, receivers)
    assert all(any(stay <= set(one) for one in images) or not stay for images in receivers)


def tar_of(members: dict[str, bytes]) -> bytes:
    saved = io.BytesIO()
    with tarfile.open(fileobj=saved, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return saved.getvalue()


def test_there_and_back(tmp_path: Path) -> None:
    files = layers.unpack(io.BytesIO(tar_of(MEMBERS)), tmp_path, {"sha256:aa"})
    assert {file["path"] for file in files} == {"blobs/sha256/bb", "manifest.json"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(file["sha256"] for file in files)
    assert hashlib.sha256(b"upper").hexdigest() in {file["sha256"] for file in files}
    target = io.BytesIO()
    layers.pack(files, tmp_path, target)
    target.seek(0)
    with tarfile.open(fileobj=target) as tar:
        assert {one.name: tar.extractfile(one).read() for one in tar} == {
            name: content for name, content in MEMBERS.items() if not name.endswith("aa")
        }


def test_refuses_a_tar_without_manifest_and_a_name_that_leads_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(layers.ImageError, match=r"no manifest\.json"):
        layers.unpack(io.BytesIO(tar_of({"other": b""})), tmp_path, set())
    with pytest.raises(layers.ImageError, match="is no SHA-256"):
        layers.pack([{"path": "x", "size": 1, "sha256": "../../etc/passwd"}], tmp_path, io.BytesIO())


def test_root_follows_no_link_in_a_users_directory(tmp_path: Path) -> None:
    (tmp_path / ("a" * 64)).symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        layers.pack([{"path": "x", "size": 1, "sha256": "a" * 64}], tmp_path, io.BytesIO())


def test_what_docker_says_is_told(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no such image')\n")
    docker.chmod(0o755)
    with pytest.raises(layers.ImageError, match="no such image"):
        layers.save(str(docker), "x", tmp_path, set())
    with pytest.raises(layers.ImageError, match="no such image"):
        layers.load(str(docker), [], tmp_path)


def exported(folder: Path) -> list[dict[str, Any]]:
    """An image's files as a receiver has them in its user's directory."""
    return layers.unpack(io.BytesIO(tar_of({**MEMBERS, "blobs/sha256/cc": b"c" * 3_000_000})), folder, set())


def packed(files: list[dict[str, Any]], folder: Path) -> tuple[str, bytes]:
    """Why the files were refused, and what had been written by then."""
    written = folder.with_suffix(".tar")
    with written.open("wb") as target, pytest.raises((layers.ImageError, OSError)) as refused:
        layers.pack(files, folder, target)
    return str(refused.value), written.read_bytes()


def read_whole(archive: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r|") as tar:
        for one in tar:
            content = tar.extractfile(one)
            assert content is not None
            content.read()


@pytest.mark.parametrize("member", ["manifest.json", "blobs/sha256/cc"])
def test_what_was_swapped_after_the_copy_is_never_written_whole(tmp_path: Path, member: str) -> None:
    files = exported(tmp_path)
    file = next(one for one in files if one["path"] == member)
    (tmp_path / file["sha256"]).write_bytes(b"x" * file["size"])
    said, written = packed(files, tmp_path)
    assert f"{member} is not what was exported" in said
    assert file["sha256"] in said
    with pytest.raises(tarfile.ReadError):
        read_whole(written)  # what breaks off is this file: docker load refuses such a tar


@pytest.mark.parametrize("kind", ["link", "pipe", "shorter", "longer", "directory"])
def test_root_reads_a_file_of_the_wanted_size_and_nothing_else(tmp_path: Path, kind: str) -> None:
    files = exported(tmp_path)
    path = tmp_path / files[0]["sha256"]
    content = path.read_bytes()
    path.unlink()
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(content)  # even where the content is right
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(content[:-1] if kind == "shorter" else content + b"x")
    said, _written = packed(files, tmp_path)
    assert "is not what was exported" in said or "symbolic link" in said or "directory" in said


def test_root_enters_no_directory_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    files = exported(tmp_path / "real")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    said, written = packed(files, tmp_path / "linked")
    assert "linked" in said
    assert not written


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
