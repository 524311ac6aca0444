# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that work on a Hugging Face cache, with small programs in the place of hf and ssh."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import stat
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import directory as hf_directory
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import hub as hf_hub
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import send as peer_send
from ansible_collections.sparkops.dgx_spark.plugins.modules import (
    hf_cache_info,
    hf_cache_pull,
    hf_cache_remove,
    hf_copy_door,
    hf_copy_key,
    hf_directory_info,
    hf_directory_take,
    hf_download,
    hf_files_pull,
    hf_repo_info,
)

TOKEN, COMMIT = "hf_topsecret", "c" * 40
CONTENTS = {"config.json": b"{}", "model.safetensors": b"weights" * 1000}
FILES = [
    {"path": "config.json", "size": 2, "git_sha1": "9e26dfeeb6e641a33dae4961196235bdb965b21b"},
    {"path": "model.safetensors", "size": 7000, "sha256": hashlib.sha256(b"weights" * 1000).hexdigest()},
]
MODEL = {"repo": "lab/tiny", "commit": COMMIT, "revision": "main", "files": FILES}
BLOBS = {file.get("sha256") or file["git_sha1"]: CONTENTS[file["path"]] for file in FILES}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6WZb0P1Qf0m1bM4uJ0q3XbTq7C0m0r9cX0kq1Z8f3v"

# What both stand-ins do: note how they were called, fail as often as a file says, take the blobs from a directory.
PROGRAM = """#!{python}
# SIMULATED: stands in for {name}.
import json, os, pathlib, shutil, sys
here = pathlib.Path({here!r})
with (here / "calls").open("a") as calls:
    settings = {{name: text for name, text in os.environ.items() if name.startswith("HF_")}}
    calls.write(json.dumps([sys.argv[1:], settings]) + "\\n")
fail = here / "fail"
if fail.exists() and fail.read_text():
    words = fail.read_text().splitlines()
    fail.write_text("\\n".join(words[1:]))
    sys.exit(words[0])
if {send!r}:
    os.execv(sys.executable, [sys.executable, "-I", {send!r}, str(here / "source")])
blobs = pathlib.Path({blobs!r})
blobs.mkdir(parents=True, exist_ok=True)
for blob in (here / "source").iterdir():
    if not (blobs / blob.name).exists():
        shutil.copyfile(blob, blobs / blob.name)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A cache that is not there yet, and programs that fill it."""
    cache = hf_cache.Cache(tmp_path / "hf", "lab/tiny")
    tools = tmp_path / "tools"
    (tools / "source").mkdir(parents=True)
    for blob, content in BLOBS.items():
        (tools / "source" / blob).write_bytes(content)
    for name, send in (("hf", ""), ("ssh", peer_send.__file__)):
        text = PROGRAM.format(python=sys.executable, name=name, here=str(tools), send=send, blobs=str(cache.blobs))
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(hf_cache.time, "sleep", lambda _seconds: None)
    for module in (hf_cache_pull, hf_files_pull):
        monkeypatch.setattr(module, "netdev_towards", lambda _run, _address: "lo")

    def calls() -> list[list]:
        log = tools / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return SimpleNamespace(cache=cache, tools=tools, calls=calls, options={"cache_dir": str(cache.root)})


@pytest.fixture
def run(capsys: pytest.CaptureFixture):
    def run_module(module: ModuleType, *, check_mode: bool = False, **arguments: object) -> dict:
        with patch_module_args({**arguments, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
            module.main()
        out = capsys.readouterr().out
        assert TOKEN not in out
        return json.loads(out)

    return run_module


def bring(run, place: SimpleNamespace, module: ModuleType, **more: object) -> dict:
    if module is hf_cache_pull:
        more = {"address": "10.0.0.1", "user": "nvidia", "host_keys": [KEY], "streams": 1, "stall_seconds": 5, **more}
    return run(module, model=MODEL, **place.options, **more)


BOTH = pytest.mark.parametrize("module", [hf_download, hf_cache_pull], ids=["download", "pull"])


@BOTH
def test_brings_once_and_only_what_lacks(run, place: SimpleNamespace, module: ModuleType) -> None:
    foretold = bring(run, place, module, check_mode=True)
    assert foretold["changed"]
    assert not place.cache.root.exists()
    first = bring(run, place, module)
    assert (first["changed"], first["attempts"], place.calls()[0][1].get("HF_TOKEN", "")) == (True, 1, "")
    assert first.get("downloaded_bytes", first.get("copied_bytes")) == 7002
    assert (Path(first["snapshot"]) / "model.safetensors").read_bytes() == CONTENTS["model.safetensors"]
    again = bring(run, place, module)
    assert (again["changed"], again["attempts"], again["done"]) == (False, 0, [])
    assert len(place.calls()) == 1
    blob = place.cache.blobs / FILES[1]["sha256"]
    blob.write_bytes(b"W" * 7000)
    assert bring(run, place, module)["changed"]
    argv, _environment = place.calls()[1]
    assert argv[-1] == ("model.safetensors" if module is hf_download else "10.0.0.1")
    assert blob.read_bytes() == CONTENTS["model.safetensors"]


@BOTH
def test_tries_again_what_may_pass(run, place: SimpleNamespace, module: ModuleType) -> None:
    (place.tools / "fail").write_text("ConnectionResetError: reset by peer\n")
    assert bring(run, place, module)["attempts"] == 2


def test_gives_up_on_a_full_disk(run, place: SimpleNamespace) -> None:
    (place.tools / "fail").write_text("OSError: No space left on device (28)\n")
    told = bring(run, place, hf_download)
    assert told["failed"]
    assert "lab/tiny" in told["msg"]
    assert "the disk is full" in told["msg"]
    assert len(place.calls()) == 1


@BOTH
def test_gives_up_on_a_file_that_stays_wrong(run, place: SimpleNamespace, module: ModuleType) -> None:
    (place.tools / "source" / FILES[1]["sha256"]).write_bytes(b"W" * 7000)
    told = bring(run, place, module, attempts=2)
    assert told["failed"]
    assert "did not come whole in 2 attempts: model.safetensors" in told["msg"]
    seen = run(hf_cache_info, model=MODEL, **place.options)
    wrong = {hf_download: "corrupt", hf_cache_pull: "missing"}[module]  # what is copied is hashed before it is named
    assert seen["complete"] is False
    assert seen[wrong] == ["model.safetensors"]


def test_the_token_is_for_hf_alone(run, place: SimpleNamespace) -> None:
    bring(run, place, hf_download, token=TOKEN, endpoint="http://hub")
    ((argv, environment),) = place.calls()
    assert TOKEN not in " ".join(argv)
    assert (environment["HF_TOKEN"], environment["HF_ENDPOINT"]) == (TOKEN, "http://hub")
    assert not any(TOKEN.encode() in path.read_bytes() for path in place.cache.root.rglob("*") if path.is_file())
    assert sorted(path.name for path in place.cache.own.iterdir()) == [
        "models--lab--tiny.json",
        "models--lab--tiny.lock",
    ]
    assert "HF_TOKEN" not in os.environ


def test_a_missing_hf_is_named(run, place: SimpleNamespace) -> None:
    told = bring(run, place, hf_download, executable="/opt/none/hf")
    assert "/opt/none/hf is not there" in told["msg"]


def test_info_verifies_and_says_what_is_wrong(run, place: SimpleNamespace) -> None:
    seen = run(hf_cache_info, model=MODEL, **place.options)
    assert (seen["complete"], seen["to_do"], seen["needed_bytes"]) == (False, True, 7002)
    assert seen["missing"] == ["config.json", "model.safetensors"]
    assert seen["obstacles"] == []
    told = run(hf_cache_info, model=MODEL, must_be_complete=True, **place.options)
    assert told["failed"]
    assert "config.json: is missing; model.safetensors: is missing. Run the role hf_cache again" in told["msg"]
    assert not place.cache.root.exists()
    bring(run, place, hf_download)
    place.cache.notes.unlink()
    seen = run(hf_cache_info, model=MODEL, check_mode=True, must_be_complete=True, **place.options)
    assert not place.cache.notes.exists()
    wanted = {"repo": "lab/tiny", "commit": COMMIT, "repo_dir": str(place.cache.repo_dir), "files": 2, "bytes": 7002}
    assert {name: seen[name] for name in wanted} == wanted
    assert seen["snapshot"] == str(place.cache.snapshot(COMMIT))
    run(hf_cache_info, model=MODEL, **place.options)
    assert sorted(json.loads(place.cache.notes.read_text())["verified"]) == sorted(BLOBS)


def test_refuses_a_model_that_leads_out_of_the_cache(run, place: SimpleNamespace) -> None:
    spoilt = {**MODEL, "files": [{**FILES[0], "path": "../../x"}]}
    assert "which no cache can hold" in run(hf_cache_info, model=spoilt, **place.options)["msg"]


def test_pulls_any_files(run, place: SimpleNamespace) -> None:
    peer = {"address": "10.0.0.1", "user": "nvidia", "host_keys": [KEY], "streams": 1, "stall_seconds": 5}
    target = place.tools / "target"
    files = [{name: FILES[1][name] for name in ("path", "size", "sha256")}]
    asked = {"name": "it", "directory": str(target), "files": files, **peer, **place.options}
    foretold = run(hf_files_pull, check_mode=True, **asked)
    assert (foretold["changed"], target.exists()) == (True, False)
    (place.tools / "fail").write_text("Connection reset\n")
    pulled = run(hf_files_pull, **asked)
    assert (pulled["changed"], pulled["moved_bytes"], pulled["netdev"]) == (True, 7000, "lo")
    assert [path.name for path in target.iterdir()] == [FILES[1]["sha256"]]
    assert not run(hf_files_pull, **asked)["changed"]


def test_names_a_shard_that_the_index_knows_and_the_model_does_not(run, place: SimpleNamespace) -> None:
    index = json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}).encode()
    sha256 = hashlib.sha256(index).hexdigest()
    (place.tools / "source" / sha256).write_bytes(index)
    file = {"path": "model.safetensors.index.json", "size": len(index), "sha256": sha256}
    model = {**MODEL, "files": [*FILES, file]}
    run(hf_download, model=model, **place.options)
    told = run(hf_cache_info, model=model, must_be_complete=True, **place.options)
    assert "model.safetensors.index.json: names model-2.safetensors, which is no file" in told["msg"]


def test_repo_info(run, monkeypatch: pytest.MonkeyPatch) -> None:
    siblings = [{"rfilename": "config.json", "size": 2, "blobId": FILES[0]["git_sha1"]}]
    body = json.dumps({"sha": COMMIT, "gated": False, "siblings": siblings}).encode()
    asked = []
    monkeypatch.setattr(
        hf_hub, "fetch", lambda url, token, timeout: asked.append((url, token)) or hf_hub.Answer(200, {}, body)
    )
    told = run(hf_repo_info, repo="lab/tiny", endpoint="http://hub/", token=f" {TOKEN}\n")
    assert (told["changed"], told["bytes"], told["model"]["commit"]) == (False, 2, COMMIT)
    assert asked == [("http://hub/api/models/lab/tiny/revision/main?blobs=true", TOKEN)]
    assert "organisation/name" in run(hf_repo_info, repo="tiny", token=TOKEN)["msg"]


def test_key(run, place: SimpleNamespace) -> None:
    folder = place.cache.own / "copy"
    foretold = run(hf_copy_key, check_mode=True, peer="127.0.0.1", **place.options)
    assert (foretold["changed"], "pass" in foretold, folder.exists()) == (True, False, False)
    made = run(hf_copy_key, peer="127.0.0.1", **place.options)
    assert made["pass"].startswith("127.0.0.1 ssh-ed25519 AAAA")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run(hf_cache_info, model=MODEL, **place.options)["interrupted"]
    assert stat.S_IMODE((folder / "id_ed25519").stat().st_mode) == 0o600
    assert run(hf_copy_key, peer="127.0.0.1", **place.options)["pass"] != made["pass"]
    assert run(hf_copy_key, state="absent", **place.options)["changed"]
    assert not folder.exists()
    assert not run(hf_copy_key, state="absent", **place.options)["changed"]


@pytest.mark.parametrize("before", [None, "ssh-rsa AAAA me\n", "ssh-rsa AAAA me"], ids=["none", "keys", "no newline"])
def test_door(run, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    home = place.tools / "home"
    keys = home / ".ssh" / "authorized_keys"
    home.mkdir()
    if before is not None:
        keys.parent.mkdir()
        keys.write_text(before)
        keys.chmod(0o640)
    me = pwd.struct_passwd(("nvidia", "x", os.geteuid(), 0, "", str(home), ""))
    monkeypatch.setattr(hf_copy_door.pwd, "getpwuid", lambda _uid: me)
    monkeypatch.setattr(hf_copy_door, "read_host_keys", lambda _module, _folder: [KEY])
    blobs = str(place.cache.blobs)
    options = {"name": "lab/tiny", "directory": blobs, "passes": [f"192.168.100.11 {KEY}"], **place.options}
    assert run(hf_copy_door, check_mode=True, **options)["changed"]
    assert keys.exists() is (before is not None)
    opened = run(hf_copy_door, **options)
    assert (opened["changed"], opened["user"], opened["host_keys"]) == (True, "nvidia", [KEY])
    sender = place.cache.own / "send.py"
    assert f'from="192.168.100.11",command="/usr/bin/python3 -I {sender} {blobs}" {KEY} ' in keys.read_text()
    assert "def send(" in sender.read_text()
    assert stat.S_IMODE(keys.stat().st_mode) == (0o600 if before is None else 0o640)
    assert run(hf_copy_door, name="lab/tiny", state="closed", **place.options)["changed"]
    assert (keys.read_text() if keys.exists() else None) == before
    assert not run(hf_copy_door, name="lab/tiny", state="closed", **place.options)["changed"]
    assert not sender.exists()
    assert "is no IP address" in run(hf_copy_door, **{**options, "passes": [f"* {KEY}"]})["msg"]


def test_remove(run, place: SimpleNamespace) -> None:
    bring(run, place, hf_download)
    foretold = run(hf_cache_remove, check_mode=True, repo="lab/tiny", model_too=True, **place.options)
    assert place.cache.repo_dir.exists()
    removed = run(hf_cache_remove, repo="lab/tiny", model_too=True, **place.options)
    assert {**foretold, "invocation": 0} == {**removed, "invocation": 0}
    assert removed["changed"]
    assert removed["freed_bytes"] > 7002
    assert not place.cache.repo_dir.exists()
    assert not run(hf_cache_remove, repo="lab/tiny", model_too=True, **place.options)["changed"]
    assert "organisation/name" in run(hf_cache_remove, repo="..", **place.options)["msg"]


def checkpoint(tmp_path: Path) -> Path:
    top = tmp_path / "checkpoint"
    (top / "tokenizer").mkdir(parents=True)
    (top / ".git").mkdir()
    for path, text in (
        ("config.json", "{}"),
        ("model.safetensors", "w" * 5000),
        ("tokenizer/vocab", "a b"),
        (".git/HEAD", "x"),
    ):
        (top / path).write_text(text)
    return top


def test_a_directory_counts_as_a_model(run, tmp_path: Path) -> None:
    top, options = checkpoint(tmp_path), {"cache_dir": str(tmp_path / "hf")}
    asked = {"repo": "home/made", "directory": str(top), **options}
    foretold = run(hf_directory_info, check_mode=True, **asked)
    assert not (tmp_path / "hf").exists()
    described = run(hf_directory_info, **asked)
    assert described == foretold
    assert [file["path"] for file in described["model"]["files"]] == [
        "config.json",
        "model.safetensors",
        "tokenizer/vocab",
    ]
    assert (described["bytes"], described["linkable"]) == (5005, True)

    model = described["model"]
    assert run(hf_directory_take, check_mode=True, model=model, directory=str(top), **options)["changed"]
    taken = run(hf_directory_take, model=model, directory=str(top), **options)
    assert taken["changed"]
    weights = Path(taken["snapshot"]) / "model.safetensors"
    assert weights.samefile(top / "model.safetensors")
    assert run(hf_cache_info, model=model, must_be_complete=True, **options)["complete"]
    assert not run(hf_directory_take, model=model, directory=str(top), **options)["changed"]
    assert run(hf_directory_info, **asked) == described


def test_what_was_hashed_is_not_read_again(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = checkpoint(tmp_path)
    asked = {"repo": "home/made", "directory": str(top), "cache_dir": str(tmp_path / "hf")}
    first = run(hf_directory_info, **asked)
    read: list[str] = []
    real = hf_directory.hash_file
    monkeypatch.setattr(hf_directory, "hash_file", lambda path, file: read.append(path.name) or real(path, file))
    assert run(hf_directory_info, **asked) == first
    assert read == []
    (top / "tokenizer" / "vocab").write_text("a b c")
    changed = run(hf_directory_info, **asked)
    assert read == ["vocab"]
    assert changed["model"]["commit"] != first["model"]["commit"]


def test_a_file_that_is_another_one_by_now_is_named(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top, options = checkpoint(tmp_path), {"cache_dir": str(tmp_path / "hf")}
    model = run(hf_directory_info, repo="home/made", directory=str(top), **options)["model"]
    (top / "model.safetensors").write_text("v" * 5000)
    told = run(hf_directory_take, model=model, directory=str(top), **options)
    assert "home/made did not come whole in 1 attempts: model.safetensors: its sha256 is" in told["msg"]


def test_what_is_no_model_is_refused(run, tmp_path: Path) -> None:
    for directory, says in ((tmp_path / "nowhere", "is no directory on this host"), (tmp_path, "holds no config.json")):
        told = run(hf_directory_info, repo="home/made", directory=str(directory), cache_dir=str(tmp_path / "hf"))
        assert says in told["msg"]
        assert "hf_cache_source" in told["msg"]
