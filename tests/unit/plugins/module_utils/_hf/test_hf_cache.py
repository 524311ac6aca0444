# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cache on a real file system, spoilt in every way, and put right."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import (
    Cache,
    CacheError,
    Notes,
    bring,
    look,
    obstacles,
    remove,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import Model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile
from hypothesis import given, settings
from hypothesis import strategies as st

COMMIT = "c" * 40
CONTENTS = {
    "config.json": b"{}",
    "assets/about.txt": b"about",
    "empty.txt": b"",
    "model-1.safetensors": b"a" * 5000,
    "model-2.safetensors": b"b" * 6000,
    "original/model-2.safetensors": b"b" * 6000,  # the same content twice
}


def repo_file(path: str, content: bytes) -> HashedFile:
    if path.endswith(".safetensors"):
        return HashedFile(path, len(content), sha256=hashlib.sha256(content).hexdigest())
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return HashedFile(path, len(content), git_sha1=git.hexdigest())


MODEL = Model("lab/tiny", COMMIT, "main", tuple(sorted(repo_file(*one) for one in CONTENTS.items())))
BLOBS = {file.blob: CONTENTS[file.path] for file in MODEL.files}


class Source:
    """Where content comes from."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.fetched = cache, []

    def __call__(self, files: list[HashedFile]) -> str:
        self.cache.blobs.mkdir(parents=True, exist_ok=True)
        for file in files:
            (self.cache.blobs / file.blob).write_bytes(CONTENTS[file.path])
            self.fetched.append(file.path)
        return ""


def fill(cache: Cache, source: Callable[[list[HashedFile]], str] | None = None) -> list[str]:
    done: list[str] = []
    bring(cache, MODEL, Notes(cache.notes), source or Source(cache), 3, done, sleep=lambda _seconds: None)
    return done


def tree(top: Path) -> dict[str, object]:
    paths = (path for path in top.rglob("*") if ".dgx-spark" not in path.parts)
    return {
        str(path.relative_to(top)): os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in paths
    }


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "hf", "lab/tiny")


def test_an_empty_cache_is_filled_in_the_standard_layout(cache: Cache) -> None:
    report = look(cache, MODEL, Notes(cache.notes))
    assert (report.complete, report.ref_missing, report.reclaimable) == (False, True, 0)
    assert report.needed == sum(len(content) for content in BLOBS.values()), "the same content counts once"
    assert not cache.root.exists(), "looking makes nothing"
    fill(cache)
    wanted: dict[str, object] = {f"blobs/{blob}": content for blob, content in BLOBS.items()}
    for file in MODEL.files:
        up = "../../../" if "/" in file.path else "../../"
        wanted[f"snapshots/{COMMIT}/{file.path}"] = f"{up}blobs/{file.blob}"
    folders = ("blobs", "snapshots", f"snapshots/{COMMIT}", "refs")
    wanted.update(dict.fromkeys((*folders, f"snapshots/{COMMIT}/assets", f"snapshots/{COMMIT}/original"), False))
    wanted["refs/main"] = COMMIT.encode()
    assert tree(cache.repo_dir) == wanted
    assert cache.own.stat().st_mode & 0o777 == 0o700
    assert not look(cache, MODEL, Notes(cache.notes)).to_do
    assert fill(cache) == []


SPOIL = ("leave", "missing", "truncated", "longer", "flipped", "unlinked", "absolute link", "copied over link")


@settings(max_examples=25, deadline=None)
@given(st.fixed_dictionaries({path: st.sampled_from(SPOIL) for path in CONTENTS}))
def test_any_damage_is_found_and_only_that_is_fetched(damage: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(folder, "lab/tiny")
        fill(cache)
        right = tree(cache.repo_dir)
        hit, content_hit = set(), set()
        for file in MODEL.files:
            how, blob, link = damage[file.path], cache.blobs / file.blob, cache.snapshot(COMMIT) / file.path
            if file.blob in content_hit or (how in ("truncated", "flipped") and not blob.stat().st_size):
                continue
            if how == "missing":
                blob.unlink()
            elif how == "truncated":
                os.truncate(blob, blob.stat().st_size - 1)
            elif how == "longer":
                blob.write_bytes(blob.read_bytes() + b"x")
            elif how == "flipped":
                content = bytearray(blob.read_bytes())
                content[0] ^= 1
                blob.write_bytes(content)
            elif how == "unlinked":
                link.unlink()
            elif how == "absolute link":
                link.unlink()
                link.symlink_to(blob)
            elif how == "copied over link":
                link.unlink()
                shutil.copyfile(blob, link)
            if how in ("missing", "truncated", "longer", "flipped"):
                content_hit.add(file.blob)
            elif how != "leave":
                hit.add(file.path)
        # A copy of the content in the snapshot makes up for the blob.
        report = look(cache, MODEL, Notes(cache.notes))
        to_fetch = {file.blob for file in report.to_fetch()}
        assert to_fetch <= content_hit
        touched = {file.path for file in MODEL.files if file.blob in content_hit} | hit
        assert {one.file.path for one in report.found if one.state != "ok"} == touched
        source = Source(cache)
        fill(cache, source)
        assert {repo_file(path, CONTENTS[path]).blob for path in source.fetched} <= content_hit
        assert tree(cache.repo_dir) == right
        assert look(cache, MODEL, Notes(cache.notes), read=hf_cache.READ_ALL).complete


def test_what_was_verified_is_not_read_again(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    hash_file = hf_cache.hash_file
    monkeypatch.setattr(hf_cache, "hash_file", lambda path, file: read.append(path.name) or hash_file(path, file))
    fill(cache)
    assert sorted(read) == sorted(BLOBS), "each once, though there was more than one look"
    read.clear()
    assert look(cache, MODEL, Notes(cache.notes)).complete
    assert read == []
    changed = cache.blobs / MODEL.files[-1].blob
    time.sleep(0.02)
    os.utime(changed, ns=(1, changed.stat().st_mtime_ns))  # not even its content or mtime: its ctime
    assert look(cache, MODEL, Notes(cache.notes)).complete
    assert read == [changed.name]
    read.clear()
    look(cache, MODEL, Notes(cache.notes), read=hf_cache.READ_ALL)
    assert sorted(read) == sorted(BLOBS)


@pytest.mark.parametrize("read", [hf_cache.READ_NONE, hf_cache.READ_NEW])
def test_without_reading_only_what_is_noted_counts(cache: Cache, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cache)
    report = look(cache, MODEL, Notes(cache.notes), hf_cache.READ_NONE)
    assert (report.complete, report.unread) == (True, 0)
    assert report.stamps == Notes(cache.notes).verified
    touched = cache.blobs / MODEL.files[-1].blob
    time.sleep(0.02)
    touched.touch()
    cache.snapshot(COMMIT).joinpath("config.json").unlink()
    if read == hf_cache.READ_NONE:
        monkeypatch.setattr(hf_cache, "hash_file", None)  # called, it would fail
    notes = Notes(cache.notes)
    states = {one.file.path: one.state for one in look(cache, MODEL, notes, read).found}
    wanted = "unread" if read == hf_cache.READ_NONE else "ok"
    assert {states[path] for path in states if path.endswith("model-2.safetensors")} == {wanted}
    assert states["config.json"] == "unlinked"
    assert sorted(notes.verified) == sorted(BLOBS), "an unread file's note is kept until the file is read"


def test_repositories_with_something_of_ours_are_known_by_name(cache: Cache) -> None:
    assert hf_cache.noted(cache.root) == []
    for repo in ("lab/tiny", "org/Qwen2.5-7B.v1", "a/b"):
        other = Cache(cache.root, repo)
        other.own.mkdir(parents=True, exist_ok=True)
        (other.source if repo == "a/b" else other.notes).write_text("{}")
        other.progress.write_text("{}")
        if repo == "lab/tiny":
            other.lock.touch()
    assert hf_cache.noted(cache.root) == ["a/b", "lab/tiny", "org/Qwen2.5-7B.v1"]


def test_with_the_last_model_the_cache_goes_too(cache: Cache) -> None:
    fill(cache)
    (cache.hub / "CACHEDIR.TAG").write_text("made by hf")
    cache.locks.mkdir(parents=True)
    other = Cache(cache.root, "lab/tiny-2")
    fill(other)
    remove(cache, with_model=True, check_mode=False)
    assert (cache.hub / "CACHEDIR.TAG").exists()
    remove(other, with_model=True, check_mode=False)
    assert not cache.root.exists()


@pytest.mark.parametrize(("parent", "stays"), [(".cache", False), ("data", True)])
def test_an_empty_directory_for_caches_goes_with_the_last_model_and_no_other_directory(
    tmp_path: Path, parent: str, stays: bool
) -> None:
    cache = Cache(tmp_path / parent / "huggingface", MODEL.repo)
    for _time in range(2):
        fill(cache)
        (cache.root.parent / "thumbnails").mkdir()
        remove(cache, with_model=True, check_mode=False)
        assert not cache.root.exists()
        (cache.root.parent / "thumbnails").rmdir()
    fill(cache)
    remove(cache, with_model=True, check_mode=False)
    assert cache.root.parent.exists() is stays


@pytest.mark.parametrize("text", ["", "{", "[]", '{"verified": 3}', '{"verified": {}, "refs": null}'])
def test_notes_that_cannot_be_read_are_no_notes(cache: Cache, text: str) -> None:
    fill(cache)
    cache.notes.write_text(text)
    assert look(cache, MODEL, Notes(cache.notes)).complete


def test_a_wrong_name_and_a_shared_store_are_put_right_without_fetching(cache: Cache) -> None:
    fill(cache)
    right = tree(cache.repo_dir)
    first, second = (file for file in MODEL.files if file.path in ("config.json", "model-1.safetensors"))
    # A hub's wrong ETag.
    (cache.blobs / first.blob).rename(cache.blobs / "wrong")
    link = cache.snapshot(COMMIT) / first.path
    link.unlink()
    link.symlink_to("../../blobs/wrong")
    # hf's store that repositories share.
    store = cache.hub / "blobs" / "xx" / "hash"
    store.parent.mkdir(parents=True)
    (cache.blobs / second.blob).rename(store)
    (cache.blobs / second.blob).symlink_to("../../blobs/xx/hash")
    assert look(cache, MODEL, Notes(cache.notes)).needed == 0
    source = Source(cache)
    fill(cache, source)
    assert source.fetched == []
    assert tree(cache.repo_dir) == right
    assert store.stat().st_nlink == 2, "and the store keeps its own"


def test_fetching_what_is_wrong_again_and_again_is_given_up(cache: Cache) -> None:
    tries = []

    def bad(files: list[HashedFile]) -> str:
        Source(cache)(files)
        tries.append(len(files))
        (cache.blobs / MODEL.files[-1].blob).write_bytes(b"B" * 6000)
        return ""

    with pytest.raises(CacheError, match=r"did not come whole in 3 attempts: .*model-2.safetensors: its sha256 is"):
        fill(cache, bad)
    assert tries[1:] == [2, 2], "what came right is not fetched again"


def test_leftovers_go_unless_somebody_writes_to_them(cache: Cache) -> None:
    one, two = MODEL.files[0], MODEL.files[-1]
    cache.blobs.mkdir(parents=True)
    cache.locks.mkdir(parents=True)
    for file in (one, two):
        (cache.blobs / f"{file.blob}.0123abcd.incomplete").write_bytes(b"half")
        (cache.locks / f"{file.blob}.lock").touch()
    foreign = cache.blobs / f"{'d' * 64}.0123abcd.incomplete"
    foreign.write_bytes(b"of another revision")
    with (cache.locks / f"{two.blob}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert look(cache, MODEL, Notes(cache.notes)).reclaimable == 8
        fill(cache)
    left = [path.name for path in cache.blobs.glob("*.incomplete")]
    assert sorted(left) == sorted([foreign.name, f"{two.blob}.0123abcd.incomplete"])


def test_a_ref_is_written_where_there_is_none_and_kept_where_there_is(cache: Cache) -> None:
    cache.ref("main").parent.mkdir(parents=True)
    cache.ref("main").write_text("d" * 40)
    fill(cache)
    assert cache.ref("main").read_text() == "d" * 40
    by_commit = MODEL._replace(revision=COMMIT)
    assert not look(cache, by_commit, Notes(cache.notes)).to_do


def test_undo_takes_our_ref_and_leaves_the_rest(cache: Cache) -> None:
    fill(cache)
    other = Cache(cache.root, "lab/tiny-2")
    fill(other)
    before = tree(other.repo_dir)
    foretold = remove(cache, with_model=False, check_mode=True)
    assert cache.ref("main").exists()
    assert remove(cache, with_model=False, check_mode=False) == foretold
    assert not cache.ref("main").parent.exists()
    assert (cache.blobs / MODEL.files[0].blob).exists()
    paths, freed = remove(cache, with_model=True, check_mode=False)
    assert paths == [str(cache.repo_dir)]
    assert freed == sum(map(len, BLOBS.values()))
    assert tree(other.repo_dir) == before
    assert remove(cache, with_model=True, check_mode=False) == ([], 0)


def test_undo_leaves_a_ref_that_somebody_else_changed(cache: Cache) -> None:
    fill(cache)
    cache.ref("main").write_text("d" * 40)
    remove(cache, with_model=False, check_mode=False)
    assert cache.ref("main").read_text() == "d" * 40


def client_list(*more: str) -> str:
    """What huggingface_hub 2.4.0 writes as trees/<commit>.json: all files of a repository, whichever were asked for."""
    files = {path: {"size": 3, "blob_id": "0" * 40} for path in (*CONTENTS, *more)}
    return json.dumps({"format_version": 1, "files": files}, indent=1)


def is_whole_to_clients(cache: Cache) -> bool:
    """Whether snapshot_download(..., local_files_only=True) returns the snapshot, from huggingface_hub 1.24 on."""
    tree = cache.tree(COMMIT)
    names = json.loads(tree.read_text())["files"] if tree.exists() else []
    return all((cache.snapshot(COMMIT) / name).exists() for name in names)


def listing(cache: Cache, *more: str) -> Callable[[list[HashedFile]], str]:
    """Bring files as `hf download` does."""
    source = Source(cache)

    def fetch(files: list[HashedFile]) -> str:
        cache.tree(COMMIT).parent.mkdir(parents=True, exist_ok=True)
        cache.tree(COMMIT).write_text(client_list(*more))
        return source(files)

    return fetch


LEFT_OUT = ("original/consolidated.pth", "metal/model.bin")


def test_clients_find_the_snapshot_whole_whatever_hf_noted_of_files_that_were_left_out(cache: Cache) -> None:
    fill(cache, listing(cache, *LEFT_OUT))
    assert is_whole_to_clients(cache)
    assert not cache.tree(COMMIT).parent.exists()
    assert not look(cache, MODEL, Notes(cache.notes)).to_do
    remove(cache, with_model=False, check_mode=False)
    assert not cache.tree(COMMIT).exists(), "it was there for us alone"


def test_a_list_of_what_is_there_is_left_alone(cache: Cache) -> None:
    fill(cache, listing(cache))
    assert cache.tree(COMMIT).read_text() == client_list()
    assert not look(cache, MODEL, Notes(cache.notes)).to_do
    extra = cache.snapshot(COMMIT) / "mine.txt"
    extra.write_text("a file that somebody downloaded beside the wanted ones")
    cache.tree(COMMIT).write_text(client_list("mine.txt"))
    assert not look(cache, MODEL, Notes(cache.notes)).to_do


def test_a_list_that_a_later_download_left_is_drift_and_one_from_before_us_comes_back(cache: Cache) -> None:
    fill(cache)
    cache.tree(COMMIT).parent.mkdir()
    cache.tree(COMMIT).write_text(client_list(*LEFT_OUT))
    report = look(cache, MODEL, Notes(cache.notes))
    assert (report.complete, report.to_do, report.needed) == (True, True, 0)
    assert report.problems() == [
        "trees: lists metal/model.bin, original/consolidated.pth, not wanted here, so that clients would refuse the "
        "snapshot offline"
    ]
    cache.tree(COMMIT).write_text(client_list(*LEFT_OUT, "nul\0", "a" * 300))
    assert fill(cache) == [f"trees/{COMMIT}.json: removed"]
    remove(cache, with_model=False, check_mode=False)
    assert not cache.tree(COMMIT).exists(), "somebody's client makes it again"

    shutil.rmtree(cache.root)
    cache.tree(COMMIT).parent.mkdir(parents=True)
    before = client_list(*LEFT_OUT)
    cache.tree(COMMIT).write_text(before)
    for _run in range(2):  # the second after an interruption: what is there then is our own client's
        cache.tree(COMMIT).parent.mkdir(exist_ok=True)
        with pytest.raises(CacheError):
            bring(cache, MODEL, Notes(cache.notes), lambda _files: "broken off", 1, [], sleep=lambda _seconds: None)
        cache.tree(COMMIT).write_text(client_list("other"))
    fill(cache, listing(cache, *LEFT_OUT))
    assert is_whole_to_clients(cache)
    remove(cache, with_model=False, check_mode=True)
    assert not cache.tree(COMMIT).exists()
    remove(cache, with_model=False, check_mode=False)
    assert cache.tree(COMMIT).read_text() == before


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", '{"files": null}', '{"files": 3}', '{"format_version": 1}', "\x00"]
)
def test_a_list_that_clients_pass_over_is_left_alone(cache: Cache, text: str) -> None:
    fill(cache)
    cache.tree(COMMIT).parent.mkdir()
    cache.tree(COMMIT).write_text(text)
    assert not look(cache, MODEL, Notes(cache.notes)).to_do
    cache.tree(COMMIT).unlink()
    cache.tree(COMMIT).mkdir()
    assert not look(cache, MODEL, Notes(cache.notes)).to_do
    cache.tree(COMMIT).rmdir()
    cache.tree(COMMIT).symlink_to("nowhere")
    assert not look(cache, MODEL, Notes(cache.notes)).to_do


def test_obstacles(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert obstacles(cache) == []
    fill(cache)
    assert obstacles(cache) == []
    monkeypatch.setattr(hf_cache.os, "geteuid", lambda: 12345)
    monkeypatch.setattr(hf_cache, "_me", lambda: "nvidia")
    (told,) = obstacles(cache)
    assert f"not of nvidia: sudo chown -R nvidia: {cache.root}" in told
    monkeypatch.setattr(hf_cache.os, "access", lambda path, mode: False)
    assert "and nvidia may not write there: sudo chown -R nvidia:" in obstacles(cache)[0]
    shutil.rmtree(cache.root)
    (told,) = obstacles(cache)
    assert f"{cache.root.parent} belongs to root" in told or "belongs to" in told
    assert f"sudo install -d -o nvidia {cache.root}, or name another cache (cache_dir)" in told
    cache.root.parent.joinpath("hf").write_text("a file")
    assert "is no directory" in obstacles(cache)[0]


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")
ME, GROUP = 4242, 4243


@pytest.fixture
def shared_disk() -> Iterator[Path]:
    """A directory that other users reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def seen_by(cache: Cache, *groups: int, see: Callable[[Cache], list[str]] = obstacles) -> list[str]:
    """What a user of these groups is told, really: in a process of that user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(ME)
            os.setuid(ME)
            told = see(cache)
        except Exception as exc:
            told = [repr(exc)]
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        told = json.loads(pipe.read())
    os.waitpid(child, 0)
    return told


def give(top: Path, uid: int, gid: int, directories: int, files: int) -> None:
    for path in [top, *top.rglob("*")]:
        os.chown(path, uid, gid, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(directories if path.is_dir() else files)


@AS_ROOT
@pytest.mark.parametrize("place", [".", "hub", "hub/models--lab--tiny", "hub/models--lab--tiny/blobs"])
def test_the_mend_works_where_a_link_leads_to_another_disk(shared_disk: Path, place: str) -> None:
    # Layr-Labs/d-inference#260: ~/.cache/huggingface is a link; a container's root wrote
    cache = Cache(shared_disk / "home" / "hf", "lab/tiny")
    fill(cache)
    shutil.rmtree(cache.own)
    moved, link = shared_disk / "big disk", cache.root / place
    link.replace(moved)
    link.symlink_to(moved)
    give(shared_disk / "home", ME, ME, 0o755, 0o644)
    os.chown(link, ME, ME, follow_symlinks=False)
    give(moved, 0, 0, 0o755, 0o644)
    if place == ".":
        moved.chmod(0o1777)
    told = seen_by(cache)
    assert told
    for line in told:
        command = line[line.index("sudo ") :].partition(", or")[0]
        assert command.startswith("sudo chown -R 4242 ")
        assert f"'{moved}'" in command, "a link is not followed by chown -R"
        subprocess.run(shlex.split(command)[1:], check=True)
    if place == ".":
        moved.chmod(0o755)
    assert seen_by(cache) == []


@AS_ROOT
def test_a_cache_that_a_group_shares_is_nobodys_alone(shared_disk: Path) -> None:
    cache = Cache(shared_disk / "hf", "lab/tiny")
    fill(cache)
    shutil.rmtree(cache.own)
    give(cache.root, 0, GROUP, 0o2775, 0o664)
    assert seen_by(cache, GROUP) == []
    blob = next(path for path in cache.blobs.iterdir())
    blob.chmod(0o644)  # only read
    assert seen_by(cache, GROUP) == []
    outside = seen_by(cache)  # somebody who is not of the group
    assert outside
    assert all(": sudo chown -R 4242 " in line for line in outside)
    cache.ref("main").chmod(0o644)  # a container's root wrote it
    (told,) = seen_by(cache, GROUP)
    assert told.startswith(f"{cache.ref('main')}: of root, not of ")
    assert told.endswith(f": sudo chmod -R g+rwX {cache.root}")
    subprocess.run(shlex.split(told.partition(": sudo ")[2]), check=True)
    assert seen_by(cache, GROUP) == []
    cache.blobs.chmod(0o3775)  # sticky: nobody removes another's file
    (told,) = seen_by(cache, GROUP)
    assert told.startswith(f"{cache.blobs}: of root")
    assert told.endswith(f": sudo chmod -R -t,g+rwX {cache.root}")
    mend(told)
    assert seen_by(cache, GROUP) == []
    cache.blobs.chmod(0o3555)
    cache.ref("main").chmod(0o600)
    os.chown(cache.ref("main"), 0, 0)  # which no mode of a group opens
    for line in seen_by(cache, GROUP):
        mend(line)
    assert seen_by(cache, GROUP) == []


def looked(cache: Cache) -> list[str]:
    """What the other looks at a cache say, of which none fails in another way."""
    assert hf_cache.free_bytes(cache) > 0
    try:
        hf_cache.noted(cache.root)
        hf_cache.list_models(cache.root)
        return look(cache, MODEL, Notes(cache.notes)).problems()
    except CacheError as exc:
        return [str(exc)]


def mend(told: str) -> None:
    for command in told.partition(": sudo ")[2].split(" && "):
        subprocess.run(shlex.split(command.removeprefix("sudo ").partition(", or name")[0]), check=True)


@AS_ROOT
@pytest.mark.parametrize(
    ("place", "mode"),
    [
        ("hub/models--lab--tiny/blobs", 0o555),
        ("hub/models--lab--tiny/snapshots", 0o555),
        (f"hub/models--lab--tiny/snapshots/{COMMIT}", 0o600),
        ("hub/models--lab--tiny/refs/main", 0o400),
        ("hub/models--lab--tiny/refs", 0o500),
        (f"hub/models--lab--tiny/blobs/{MODEL.files[0].blob}", 0o000),
        ("hub/models--lab--tiny/blobs", 0o600),
        ("hub/models--lab--tiny", 0o600),
        ("hub", 0o600),
        ("hub", 0o000),
        (".", 0o000),
        (".", 0o555),
    ],
)
def test_the_users_own_modes_are_told_as_such(shared_disk: Path, place: str, mode: int) -> None:
    cache = Cache(shared_disk / "hf", "lab/tiny")
    fill(cache)
    shutil.rmtree(cache.own)
    give(cache.root, ME, GROUP, 0o755, 0o644)
    (cache.root / place).chmod(mode)
    told = seen_by(cache, GROUP)
    assert told
    assert seen_by(cache, GROUP, see=lambda one: obstacles(one, "cache_dir", MODEL)) == told
    for line in (*told, *(one for one in seen_by(cache, GROUP, see=looked) if "sudo" in one)):
        assert line.endswith(f": sudo chmod -R u+rwX {cache.root}")
    mend(told[0])
    assert seen_by(cache, GROUP) == []
    assert seen_by(cache, GROUP, see=looked) == []


@AS_ROOT
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o644])
@pytest.mark.parametrize("place", ["parent", "parent/hf", "parent/hf/hub", "parent/hf/hub/models--lab--tiny"])
@pytest.mark.parametrize("owner", [0, 4244])
def test_a_directory_that_may_not_be_entered_is_an_obstacle(
    shared_disk: Path, place: str, mode: int, owner: int
) -> None:
    cache = Cache(shared_disk / "parent" / "hf", "lab/tiny")
    fill(cache)
    shutil.rmtree(cache.own)
    give(shared_disk / "parent", owner, owner, 0o755, 0o644)
    closed = shared_disk / place
    closed.chmod(mode)
    name = "root" if owner == 0 else str(owner)
    (told,) = seen_by(cache)
    assert told.startswith(f"{closed} belongs to {name}, and {ME} may not enter it: sudo ")
    assert f"sudo chown -R {ME} {cache.root}" in told
    assert "become" not in told
    assert seen_by(cache, see=looked) == [told]
    mend(told)
    assert seen_by(cache) == []
    assert seen_by(cache, see=looked) == []
    assert (shared_disk / "parent").stat().st_uid == owner, "what is not the cache's stays whose it was"


@AS_ROOT
def test_a_cache_behind_a_link_into_a_closed_directory_is_an_obstacle(shared_disk: Path) -> None:
    moved = Cache(shared_disk / "private" / "hf", "lab/tiny")
    fill(moved)
    shutil.rmtree(moved.own)
    give(shared_disk / "private", 0, 0, 0o700, 0o600)
    cache = Cache(shared_disk / "link", "lab/tiny")
    cache.root.symlink_to(moved.root)
    (told,) = seen_by(cache)
    assert told.startswith(f"{shared_disk / 'private'} belongs to root, and {ME} may not enter it: sudo chmod a+x ")
    assert seen_by(cache, see=looked) == [told]
    mend(told)
    assert seen_by(cache) == []


@pytest.mark.parametrize("place", [".", "hub/models--lab--tiny/blobs", "hub/models--lab--tiny/snapshots"])
def test_a_disk_that_is_read_only_is_told_as_one(cache: Cache, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cache)
    statvfs, access, read_only = os.statvfs, os.access, cache.root / place

    class ReadOnly:
        f_flag = os.ST_RDONLY

    def is_below(path: str | os.PathLike[str]) -> bool:
        return read_only in (Path(path), *Path(path).parents)

    monkeypatch.setattr(hf_cache.os, "statvfs", lambda path: ReadOnly() if is_below(path) else statvfs(path))
    monkeypatch.setattr(hf_cache.os, "access", lambda path, mode: not is_below(path) and access(path, mode))
    for user in (0, 12345):
        monkeypatch.setattr(hf_cache.os, "geteuid", lambda user=user: user)
        told = obstacles(cache, "hf_cache_dir")
        assert told
        for line in told:
            assert line.startswith(str(read_only))
            assert " is on a disk that is mounted read-only: see dmesg for why, and mount it to be written" in line
            assert line.endswith(", or name another cache (hf_cache_dir)")


@pytest.mark.parametrize(
    "place",
    ["snapshots", "refs", f"snapshots/{COMMIT}", f"snapshots/{COMMIT}/assets"],
)
@pytest.mark.parametrize("kind", ["file", "dead link", "loop"])
def test_what_stands_where_links_and_refs_go_is_told_before_the_download(cache: Cache, place: str, kind: str) -> None:
    fill(cache)
    wrong = cache.repo_dir / place
    shutil.rmtree(wrong)
    if kind == "file":
        wrong.write_text("x")
    else:
        wrong.symlink_to("/nowhere" if kind == "dead link" else wrong)
    (told,) = obstacles(cache, "hf_cache_dir", MODEL)
    assert told.startswith(f"{wrong} is no directory: move" if kind == "file" else f"{wrong} is a link to ")
    if "/" not in place:
        assert obstacles(cache, "hf_cache_dir") == [told]


@AS_ROOT
@pytest.mark.parametrize("place", [".", "hub", "hub/models--lab--tiny", "hub/models--lab--tiny/refs"])
def test_a_dead_link_is_told_as_one_to_a_user_too(shared_disk: Path, place: str) -> None:
    cache = Cache(shared_disk / "hf", "lab/tiny")
    fill(cache)
    shutil.rmtree(cache.own)
    give(shared_disk, ME, ME, 0o755, 0o644)
    dead = cache.root / place
    shutil.rmtree(dead)
    dead.symlink_to(dead if place == "hub" else "/nowhere")
    (told,) = seen_by(cache)
    assert told.startswith(f"{dead} is a link to ")
    seen_by(cache, see=looked)


def test_a_directory_in_the_place_of_a_link_or_a_ref_is_told_before_the_download(cache: Cache) -> None:
    fill(cache)
    for wrong in (cache.snapshot(COMMIT) / "config.json", cache.ref("main")):
        wrong.unlink()
        wrong.mkdir()
        (told,) = obstacles(cache, "hf_cache_dir", MODEL)
        assert told == f"{wrong} is a directory where a file belongs: move it away"
        wrong.rmdir()


def test_a_dead_link_is_told_as_one(cache: Cache) -> None:
    cache.root.symlink_to("/nowhere/hf")
    (told,) = obstacles(cache, "hf_cache_dir")
    assert told == (
        f"{cache.root} is a link to /nowhere/hf, and there is no directory: mount the disk that holds it, remove the "
        "link, or name another cache (hf_cache_dir)"
    )


def test_models_are_listed_by_size(cache: Cache) -> None:
    assert hf_cache.list_models(cache.root) == []
    for name, size in (("models--a--small", 1), ("models--a--b--large", 9), ("datasets--a--b", 99)):
        (cache.hub / name / "blobs").mkdir(parents=True)
        (cache.hub / name / "blobs" / "x").write_bytes(b"x" * size)
    (cache.hub / "models--a--small" / "snapshots" / COMMIT).mkdir(parents=True)
    listed = hf_cache.list_models(cache.root)
    assert [(one["repo"], one["bytes"], one["commits"]) for one in listed] == [
        ("a/b--large", 9, []),
        ("a/small", 1, [COMMIT]),
    ]
