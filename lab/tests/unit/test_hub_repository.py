# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repositories on disk: git's ids, revisions, and making one from a seed."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path

import pytest
from virtual_internet.repository import Identity, Store, git_object, git_trees, is_lfs, lfs_pointer
from virtual_internet.seed import main, parse_size, seed_repo
from virtual_internet_support import write_repo, write_tokens


def test_ids_are_those_of_git() -> None:
    # from `git hash-object`, `git write-tree`: the names are ones that git sorts in its own way
    x, y, q = git_object("blob", b"x\n"), git_object("blob", b"y\n"), git_object("blob", b"q\n")
    assert x == "587be6b4c3f93f93c489c0111bba5596147a26cb"
    trees = git_trees({"a/b/c": x, "a.c/z": y, "a-b": q})
    assert trees == {
        "": "5c25209624bce5272b861465e8427fbece4f8156",
        "a": "3c936162cc685914e15b63e7a7fc2afcb19d1fa1",
        "a.c": "533d93e7f0076246366dd840eb9da8b6c845d961",
        "a/b": "bf12e76399ee3ddf8c60441aad29aed322e4dadb",
    }
    assert git_trees({}) == {"": "4b825dc642cb6eb9a060e54bf8d69288fbee4904"}


@pytest.mark.parametrize(
    ("path", "size", "lfs"),
    [("a.safetensors", 1, True), ("a.json", 9_999_999, False), ("a.json", 10_000_000, True), ("safetensors", 1, False)],
)
def test_what_is_lfs(path: str, size: int, lfs: bool) -> None:
    assert is_lfs(path, size) is lfs


def test_branches_tags_and_commits(tmp_path: Path) -> None:
    write_repo(tmp_path, "lab/tiny", {"config.json": b"1"})
    write_repo(tmp_path, "lab/tiny", {"config.json": b"2"}, branch="next", tags={"v1": "main", "lost": "gone"})
    write_repo(tmp_path, "lab/tiny", {"half.json": b"3"}, branch=".new-x")
    repo = Store(tmp_path).repo("lab/tiny")
    assert repo is not None
    assert list(repo.branches) == ["main", "next"]
    assert list(repo.tags) == ["v1"]
    main_commit = repo.branches["main"]
    assert repo.commit("v1") == repo.commit(main_commit.sha) == main_commit
    assert repo.commit("next") != main_commit
    assert repo.commit("gone") is None


def test_a_commit_follows_the_files_and_nothing_else(tmp_path: Path) -> None:
    write_repo(tmp_path, "lab/tiny", {"config.json": b"1", "sub/model.safetensors": b"weights"})
    store = Store(tmp_path)
    file = tmp_path / "hub/models/lab/tiny/main/config.json"

    def sha(repo_id: str = "lab/tiny") -> str:
        repo = store.repo(repo_id)
        assert repo is not None
        return repo.branches["main"].sha

    first = sha()
    os.utime(file, (1, 1))
    assert sha() == first
    write_repo(tmp_path, "lab/copy", {"config.json": b"1", "sub/model.safetensors": b"weights"})
    assert sha("lab/copy") == first
    file.write_bytes(b"2")
    assert sha() != first


def test_entries(tmp_path: Path) -> None:
    write_repo(tmp_path, "lab/tiny", {"config.json": b"{}", "model.safetensors": b"weights"})
    repo = Store(tmp_path).repo("lab/tiny")
    assert repo is not None
    files = repo.branches["main"].files
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert files["model.safetensors"].etag == sha256
    assert files["model.safetensors"].oid == git_object("blob", lfs_pointer(sha256, 7))
    assert files["config.json"].etag == files["config.json"].oid == git_object("blob", b"{}")
    assert repo.lfs_object(sha256) == files["model.safetensors"]
    assert repo.lfs_object(files["config.json"].oid) is None


@pytest.mark.parametrize(
    "repo_id", ["lab/none", "lab", "lab/", "/tiny", "../tiny", "lab/..", "lab/tiny/main", "lab/\0"]
)
def test_no_such_repository(tmp_path: Path, repo_id: str) -> None:
    write_repo(tmp_path, "lab/tiny", {"config.json": b"1"})
    assert Store(tmp_path).repo(repo_id) is None


@pytest.mark.parametrize(
    ("header", "who"),
    [
        (None, Identity()),
        ("", Identity()),
        ("Bearer hf_good", Identity("alice", frozenset({"lab/tiny"}))),
        ("bearer hf_other", Identity("bob")),
        ("Bearer hf_bad", Identity(bad_token=True)),
        ("Basic hf_good", Identity(bad_token=True)),
        ("hf_good", Identity(bad_token=True)),
    ],
)
def test_identities(tmp_path: Path, header: str | None, who: Identity) -> None:
    write_tokens(tmp_path, ["lab/tiny"])
    assert Store(tmp_path).identify(header) == who


@pytest.mark.parametrize(("text", "size"), [("123", 123), ("200M", 200_000_000), ("1.5 KB", 1500), ("2MiB", 2 << 20)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "M", "1X", "1e9"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_size(text)


def test_seed_is_deterministic_and_idempotent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = seed_repo(tmp_path / "a", "lab/tiny", 1_000_001, shards=3, gated="auto")
    again = seed_repo(tmp_path / "a", "lab/tiny", 1_000_001, shards=3, gated="auto")
    command = ["--root", str(tmp_path / "b"), "--repo", "lab/tiny", "--size", "1000001", "--shards", "3", "--tag", "v1"]
    assert main(command) == 0
    elsewhere = json.loads(capsys.readouterr().out)
    assert made["changed"]
    assert elsewhere["changed"]
    assert again == {**made, "changed": False}
    assert elsewhere == made
    weights = {path: about["size"] for path, about in made["files"].items() if about["lfs"]}
    assert weights == {f"model-0000{n}-of-00003.safetensors": 333_333 + 2 * (n == 3) for n in (1, 2, 3)}
    assert seed_repo(tmp_path / "a", "lab/tiny", 1_000_001, shards=3, seed="1")["commit"] != made["commit"]
    assert seed_repo(tmp_path / "a", "lab/tiny", 1_000_001, shards=3, seed="1", chat=False)["changed"]
    repo = Store(tmp_path / "a").repo("lab/tiny")
    assert repo is not None
    assert repo.gated is False  # as the last call said
    assert list(repo.branches) == ["main"]


def test_seed_mends_what_was_changed(tmp_path: Path) -> None:
    made = seed_repo(tmp_path, "lab/tiny", 5000)
    file = tmp_path / "hub/models/lab/tiny/main/model.safetensors"
    file.write_bytes(bytes(5000))
    repo = Store(tmp_path).repo("lab/tiny")
    assert repo is not None
    assert repo.branches["main"].sha != made["commit"]  # its remembered hash is for another time of change
    assert seed_repo(tmp_path, "lab/tiny", 5000) == made
    file.unlink()
    assert seed_repo(tmp_path, "lab/tiny", 5000) == made
    assert seed_repo(tmp_path, "lab/tiny", 5000, private=True)["changed"]
    assert not seed_repo(tmp_path, "lab/tiny", 5000, private=True)["changed"]


def test_remembered_hashes_are_believed(tmp_path: Path) -> None:
    write_repo(tmp_path, "lab/tiny", {"model.safetensors": b"weights"})
    stat = (tmp_path / "hub/models/lab/tiny/main/model.safetensors").stat()
    hashes = {"main/model.safetensors": [7, stat.st_mtime_ns, "0" * 64], "main/gone.safetensors": [7, 0, "1" * 64]}
    write_repo(tmp_path, "lab/tiny", {}, hashes=hashes)
    repo = Store(tmp_path).repo("lab/tiny")
    assert repo is not None
    assert [entry.sha256 for entry in repo.branches["main"].files.values()] == ["0" * 64]


def test_seeded_weights_are_safetensors(tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "config.json").write_text("{}")
    made = seed_repo(tmp_path, "lab/tiny", 5000, extra=extra, revision="v2")
    folder = tmp_path / "hub/models/lab/tiny/v2"
    content = (folder / "model.safetensors").read_bytes()
    head_size = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + head_size])
    assert head["model.layers.0.weight"]["data_offsets"] == [0, len(content) - 8 - head_size]
    assert len(content) == 5000
    assert (folder / "config.json").read_text() == "{}"
    assert "model.safetensors.index.json" not in made["files"]
    assert "SIMULATED" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    "arguments", [["lab", "1M"], ["../lab/x", "1M"], ["lab/x", "1M", "--revision", "../x"], ["lab/x", "9"]]
)
def test_seed_refuses(tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    repo, size, *rest = arguments
    with pytest.raises(SystemExit):
        main(["--root", str(tmp_path), "--repo", repo, "--size", size, *rest])
    assert "error:" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))
