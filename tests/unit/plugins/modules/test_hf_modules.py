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
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import access
from ansible_collections.sparkops.dgx_spark.plugins.modules import (
    hf_cache_info,
    hf_cache_model,
    hf_cache_remove,
    hf_cache_verify,
    hf_model_info,
    peer_copy_access,
    peer_copy_check,
    peer_copy_connection,
    peer_copy_files,
    peer_copy_info,
    peer_copy_key,
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
    sender = tools / "send.py"
    sender.write_text(access.program())
    for name, send in (("hf", ""), ("ssh", str(sender))):
        text = PROGRAM.format(python=sys.executable, name=name, here=str(tools), send=send, blobs=str(cache.blobs))
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(hf_cache.time, "sleep", lambda _seconds: None)
    for module in (hf_cache_model, peer_copy_files):
        monkeypatch.setattr(module, "netdev_towards", lambda _run, _address: "lo")

    def calls() -> list[list]:
        log = tools / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    copies = tmp_path / "copies"
    for name in ("lab/tiny", "files"):
        how = access.Connection("10.0.0.1", 22, "nvidia", 1, True)
        access.Place(copies, name).connect(how, [KEY])
    options = {"cache_dir": str(cache.root)}
    return SimpleNamespace(cache=cache, tools=tools, calls=calls, options=options, copies=copies)


@pytest.fixture
def run(capsys: pytest.CaptureFixture):
    def run_module(module: ModuleType, *, check_mode: bool = False, **arguments: object) -> dict:
        with patch_module_args({**arguments, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
            module.main()
        out = capsys.readouterr().out
        assert TOKEN not in out
        return json.loads(out)

    return run_module


def bring(run, place: SimpleNamespace, source: str = "hub", **more: object) -> dict:
    if source == "peer":
        more = {"copy_dir": str(place.copies), "stall_seconds": 60, **more}
    return run(hf_cache_model, model=MODEL, source=source, **place.options, **more)


BOTH = pytest.mark.parametrize("source", ["hub", "peer"])


@BOTH
def test_brings_once_and_only_what_lacks(run, place: SimpleNamespace, source: str) -> None:
    foretold = bring(run, place, source, check_mode=True)
    assert foretold["changed"]
    assert not place.cache.root.exists()
    first = bring(run, place, source)
    assert (first["changed"], first["attempts"], place.calls()[0][1].get("HF_TOKEN", "")) == (True, 1, "")
    assert first["brought_bytes"] == 7002
    assert first.get("netdev") == (None if source == "hub" else "lo")
    assert (Path(first["snapshot"]) / "model.safetensors").read_bytes() == CONTENTS["model.safetensors"]
    again = bring(run, place, source)
    assert (again["changed"], again["attempts"], again["done"]) == (False, 0, [])
    assert len(place.calls()) == 1
    blob = place.cache.blobs / FILES[1]["sha256"]
    blob.write_bytes(b"W" * 7000)
    assert bring(run, place, source)["changed"]
    argv, _environment = place.calls()[1]
    assert argv[-1] == ("model.safetensors" if source == "hub" else "10.0.0.1")
    assert blob.read_bytes() == CONTENTS["model.safetensors"]


@BOTH
def test_tries_again_what_may_pass(run, place: SimpleNamespace, source: str) -> None:
    (place.tools / "fail").write_text("ConnectionResetError: reset by peer\n")
    assert bring(run, place, source)["attempts"] == 2


def test_xet_is_for_the_first_attempt_alone(run, place: SimpleNamespace) -> None:
    (place.tools / "fail").write_text("RuntimeError: Task error: File reconstruction error\n" * 2)
    assert bring(run, place)["attempts"] == 3
    assert [environment["HF_HUB_DISABLE_XET"] for _argv, environment in place.calls()] == ["0", "1", "1"]


def test_gives_up_on_a_full_disk(run, place: SimpleNamespace) -> None:
    (place.tools / "fail").write_text("OSError: No space left on device (28)\n")
    told = bring(run, place, "hub")
    assert told["failed"]
    assert "lab/tiny" in told["msg"]
    assert "the disk is full" in told["msg"]
    assert len(place.calls()) == 1


@BOTH
def test_gives_up_on_a_file_that_stays_wrong(run, place: SimpleNamespace, source: str) -> None:
    (place.tools / "source" / FILES[1]["sha256"]).write_bytes(b"W" * 7000)
    told = bring(run, place, source, attempts=2)
    assert told["failed"]
    assert "did not come whole in 2 attempts: model.safetensors" in told["msg"]
    seen = run(hf_cache_info, model=MODEL, **place.options)
    wrong = {"hub": "corrupt", "peer": "missing"}[source]  # what is copied is hashed before it is named
    assert seen["complete"] is False
    assert seen[wrong] == ["model.safetensors"]


def test_the_token_is_for_hf_alone(run, place: SimpleNamespace) -> None:
    bring(run, place, "hub", token=TOKEN, endpoint="http://hub")
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
    told = bring(run, place, "hub", executable="/opt/none/hf")
    assert "/opt/none/hf is not there" in told["msg"]


def test_info_tells_what_is_there_and_verify_fails_on_the_rest(run, place: SimpleNamespace) -> None:
    seen = run(hf_cache_info, model=MODEL, **place.options)
    assert (seen["complete"], seen["to_do"], seen["needed_bytes"]) == (False, True, 7002)
    assert seen["missing"] == ["config.json", "model.safetensors"]
    assert seen["problems"] == ["config.json: is missing", "model.safetensors: is missing"]
    assert (seen["obstacles"], seen["tool_version"], seen["missing_packages"]) == ([], "", [])
    told = run(hf_cache_verify, model=MODEL, **place.options)
    assert told["failed"]
    assert "config.json: is missing; model.safetensors: is missing. Run the role hf_cache again" in told["msg"]
    bring(run, place)
    wanted = {"repo": "lab/tiny", "commit": COMMIT, "repo_dir": str(place.cache.repo_dir), "files": 2, "bytes": 7002}
    for module in (hf_cache_info, hf_cache_verify):
        seen = run(module, model=MODEL, **place.options)
        assert {name: seen[name] for name in wanted} == wanted
        assert seen["snapshot"] == str(place.cache.snapshot(COMMIT))


def test_info_notes_nothing_and_verify_does(run, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(run, place)
    place.cache.notes.unlink()
    unread = run(hf_cache_info, model=MODEL, read="none", **place.options)
    assert (unread["complete"], unread["unread_bytes"], unread["verified"]) == (False, 7002, {})
    assert unread["unread"] == ["config.json", "model.safetensors"]
    seen = run(hf_cache_info, model=MODEL, **place.options)
    assert (seen["complete"], seen["noted"], sorted(seen["verified"])) == (True, False, sorted(BLOBS))
    assert not place.cache.notes.exists()
    monkeypatch.setattr(hf_cache, "hash_file", None)  # called, it would fail
    found = {"model": MODEL, "verified": seen["verified"], **place.options}
    assert run(hf_cache_verify, check_mode=True, **found)["files"] == 2
    assert not place.cache.notes.exists()
    assert not run(hf_cache_verify, **found)["changed"]
    assert sorted(json.loads(place.cache.notes.read_text())["verified"]) == sorted(BLOBS)
    again = run(hf_cache_info, model=MODEL, read="none", **place.options)
    assert (again["complete"], again["noted"]) == (True, True)


def test_what_was_touched_since_it_was_found_right_is_read(run, place: SimpleNamespace) -> None:
    bring(run, place)
    seen = run(hf_cache_info, model=MODEL, **place.options)
    (place.cache.blobs / FILES[1]["sha256"]).write_bytes(b"W" * 7000)
    told = run(hf_cache_verify, model=MODEL, verified=seen["verified"], **place.options)
    assert "model.safetensors: its sha256 is" in told["msg"]


#: of a blob that the disk spoils without its size or times being any news
def rotten(place: SimpleNamespace) -> Path:
    blob = place.cache.blobs / FILES[1]["sha256"]
    blob.write_bytes(b"W" * 7000)
    noted = json.loads(place.cache.notes.read_text())
    noted["verified"][blob.name] = hf_cache.stamp(blob)
    place.cache.notes.write_text(json.dumps(noted))
    return blob


@BOTH
def test_what_rotted_is_brought_again_by_whoever_is_told(run, place: SimpleNamespace, source: str) -> None:
    bring(run, place)
    blob = rotten(place)
    assert run(hf_cache_info, model=MODEL, **place.options)["complete"], "nothing tells but the bytes themselves"
    seen = run(hf_cache_info, model=MODEL, read="all", **place.options)
    assert seen["corrupt"] == ["model.safetensors"]
    assert not bring(run, place, source)["changed"]
    assert bring(run, place, source, reread=seen["corrupt"], verified=seen["verified"])["changed"]
    assert blob.read_bytes() == CONTENTS["model.safetensors"]


def test_what_rotted_is_no_longer_noted_once_verify_was_told(run, place: SimpleNamespace) -> None:
    bring(run, place)
    rotten(place)
    told = run(hf_cache_verify, model=MODEL, reread=["model.safetensors"], **place.options)
    assert "model.safetensors: its sha256 is" in told["msg"]
    assert run(hf_cache_info, model=MODEL, **place.options)["corrupt"] == ["model.safetensors"]


def test_info_lists_models_where_none_is_named(run, place: SimpleNamespace) -> None:
    assert run(hf_cache_info, **place.options)["models"] == []
    bring(run, place)
    (listed,) = run(hf_cache_info, **place.options)["models"]
    assert (listed["repo"], listed["bytes"] > 7002, listed["commits"]) == ("lab/tiny", True, [COMMIT])


def test_info_tells_what_the_leader_has_to_install(run, place: SimpleNamespace) -> None:
    tool = place.tools / "venv"
    (tool / "bin").mkdir(parents=True)
    (tool / "lib" / "python3.12" / "site-packages" / "huggingface_hub-2.4.0.dist-info").mkdir(parents=True)
    asked = {"model": MODEL, "tool_dir": str(tool), "packages": ["bash", "no-such-package"], **place.options}
    dpkg = "#!/bin/sh\nprintf 'bash\\tii \\t5.2\\nno-such-package\\tun \\t\\n'; exit 1\n"
    (place.tools / "dpkg-query").write_text(dpkg)
    (place.tools / "dpkg-query").chmod(0o755)
    told = run(hf_cache_info, **asked)
    assert (told["tool_version"], told["missing_packages"]) == ("", ["no-such-package"]), "an environment without hf"
    (tool / "bin" / "hf").touch()
    assert run(hf_cache_info, **asked)["tool_version"] == "2.4.0"


def test_info_calls_an_option_what_its_caller_calls_it(run, place: SimpleNamespace) -> None:
    place.cache.root.write_text("a file")
    told = run(hf_cache_info, model=MODEL, hints={"cache_dir": "hf_cache_dir"}, **place.options)
    assert told["obstacles"][0].endswith("or name another cache (hf_cache_dir)")


def test_what_the_cache_has_is_linked_without_a_source(run, place: SimpleNamespace) -> None:
    bring(run, place)
    link = place.cache.snapshot(COMMIT) / "config.json"
    link.unlink()
    assert run(hf_cache_info, model=MODEL, **place.options)["unlinked"] == ["config.json"]
    assert bring(run, place, "cache")["changed"]
    assert link.is_symlink()
    (place.cache.blobs / FILES[0]["git_sha1"]).unlink()
    assert "lacks config.json" in bring(run, place, "cache")["msg"]
    assert len(place.calls()) == 1


def test_refuses_a_model_that_leads_out_of_the_cache(run, place: SimpleNamespace) -> None:
    spoilt = {**MODEL, "files": [{**FILES[0], "path": "../../x"}]}
    assert "which no cache can hold" in run(hf_cache_info, model=spoilt, **place.options)["msg"]


def test_copies_any_files(run, place: SimpleNamespace) -> None:
    target = place.tools / "target"
    files = [{name: FILES[1][name] for name in ("path", "size", "sha256")}]
    where = {"directory": str(target), "files": files}
    asked = {"name": "files", "dir": str(place.copies), "stall_seconds": 60, **where}
    looked = {"name": "files", "dir": str(place.copies), **where}
    assert run(peer_copy_info, **looked)["problems"] == {"model.safetensors": "is missing"}
    foretold = run(peer_copy_files, check_mode=True, **asked)
    assert (foretold["changed"], target.exists()) == (True, False)
    (place.tools / "fail").write_text("Connection reset\n")
    copied = run(peer_copy_files, **asked)
    assert (copied["changed"], copied["moved_bytes"], copied["netdev"]) == (True, 7000, "lo")
    assert [path.name for path in target.iterdir()] == [FILES[1]["sha256"]]
    assert not run(peer_copy_files, **asked)["changed"]
    found = run(peer_copy_info, **looked)
    assert (found["problems"], found["needed_bytes"]) == ({}, 0)
    told = run(peer_copy_check, **where)
    assert (told["files"], told["bytes"], told["directory"]) == (1, 7000, str(target))
    (target / FILES[1]["sha256"]).write_bytes(b"W" * 7000)
    assert run(peer_copy_info, **looked)["problems"] == {}, "what is not read looks right"
    assert "is not a whole copy: model.safetensors: its sha256 is" in run(peer_copy_check, **where)["msg"]
    (target / FILES[1]["sha256"]).write_bytes(b"W")
    assert run(peer_copy_info, **looked)["problems"] == {"model.safetensors": "has 1 bytes instead of 7000"}


def test_a_copy_without_access_says_so(run, place: SimpleNamespace) -> None:
    told = bring(run, place, "peer", copy_dir=str(place.tools / "nowhere"))
    assert "there is no access to copy lab/tiny" in told["msg"]


def test_names_a_shard_that_the_index_knows_and_the_model_does_not(run, place: SimpleNamespace) -> None:
    index = json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}).encode()
    sha256 = hashlib.sha256(index).hexdigest()
    (place.tools / "source" / sha256).write_bytes(index)
    file = {"path": "model.safetensors.index.json", "size": len(index), "sha256": sha256}
    model = {**MODEL, "files": [*FILES, file]}
    run(hf_cache_model, model=model, source="hub", **place.options)
    told = run(hf_cache_verify, model=model, **place.options)
    assert "model.safetensors.index.json: names model-2.safetensors, which is no file" in told["msg"]


def test_model_info(run, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    siblings = [{"rfilename": "config.json", "size": 2, "blobId": FILES[0]["git_sha1"]}]
    answers = [json.dumps({"sha": COMMIT, "gated": False, "siblings": siblings}).encode(), b"{}"]
    asked = []

    def answer(url: str, token: str, timeout: float, _span: object) -> hf_hub.Answer:
        asked.append((url, token))
        return hf_hub.Answer(200, {}, answers[len(asked) - 1])

    monkeypatch.setattr(hf_hub, "fetch", answer)
    options = {"repo": "lab/tiny", "endpoint": "http://hub/", "token": f" {TOKEN}\n", **place.options}
    told = run(hf_model_info, **options)
    assert (told["changed"], told["bytes"], told["model"]["commit"], told["config"]) == (False, 2, COMMIT, {})
    question = ("http://hub/api/models/lab/tiny/revision/main?blobs=true", TOKEN)
    assert asked == [question, (f"http://hub/lab/tiny/resolve/{COMMIT}/config.json", TOKEN)]
    assert not place.cache.root.exists()
    asked.clear()
    place.cache.blobs.mkdir(parents=True)
    (place.cache.blobs / FILES[0]["git_sha1"]).write_text("{}")
    run(hf_model_info, **options)
    assert asked == [question], "the config that the cache has is not asked for"
    (place.cache.blobs / FILES[0]["git_sha1"]).write_text("[]")
    asked.clear()
    run(hf_model_info, **options)
    assert len(asked) == 2, "nor is a wrong one believed"
    assert "organisation/name" in run(hf_model_info, repo="tiny", token=TOKEN)["msg"]
    told = run(hf_model_info, repo="lab/tiny", token="a b", hints={"token": "spark_hf_token"})
    assert told["msg"].endswith("(spark_hf_token)")


def test_key(run, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    top = place.tools / "run"
    folder = top / "copy-lab--tiny"
    asked = {"name": "lab/tiny", "peer": "127.0.0.1", "dir": str(top)}
    foretold = run(peer_copy_key, check_mode=True, **asked)
    assert (foretold["changed"], "reader" in foretold, top.exists()) == (True, False, False)
    made = run(peer_copy_key, **asked)
    assert made["reader"]["address"] == "127.0.0.1"
    assert made["reader"]["public_key"].startswith("ssh-ed25519 AAAA")
    assert made["progress"] == str(top / "copy-lab--tiny.progress")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    left = {"model": MODEL, "copy_dir": str(top), **place.options}
    assert run(hf_cache_info, **left)["left_behind"]["key"]
    assert stat.S_IMODE((folder / "id_ed25519").stat().st_mode) == 0o600
    (folder / "connection.json").write_text("{}")
    again = run(peer_copy_key, **asked)
    assert again["reader"] != made["reader"]
    assert (folder / "id_ed25519.pub").read_text().strip() == again["reader"]["public_key"]
    assert sorted(path.name for path in folder.iterdir()) == ["connection.json", "id_ed25519", "id_ed25519.pub"]
    gone = {"state": "absent", "dir": str(top)}
    assert run(peer_copy_key, check_mode=True, name="lab/tiny", **gone)["changed"]
    assert folder.exists()
    assert run(peer_copy_key, name="lab/tiny", **gone)["changed"]
    assert not top.exists()
    assert not run(hf_cache_info, **left)["left_behind"]["key"]
    assert not run(peer_copy_key, name="lab/tiny", **gone)["changed"]
    for name in ("image", "lab/tiny"):
        run(peer_copy_key, **{**asked, "name": name})
    assert run(peer_copy_key, name="image", **gone)["changed"]
    assert [path.name for path in top.iterdir()] == ["copy-lab--tiny"]
    assert run(peer_copy_key, **gone)["changed"], "what every copy left"
    assert not top.exists()


def test_connection(run, place: SimpleNamespace) -> None:
    top = place.tools / "run"
    asked = {"name": "image", "dir": str(top), "address": "10.0.0.1", "user": "nvidia", "host_keys": [KEY]}
    assert run(peer_copy_connection, check_mode=True, **asked)["changed"]
    assert not top.exists()
    assert run(peer_copy_connection, **asked)["changed"]
    assert not run(peer_copy_connection, **asked)["changed"]
    assert access.Place(top, "image").connected() == access.Connection("10.0.0.1", 22, "nvidia", 4, True)
    assert run(peer_copy_connection, **{**asked, "streams": 1})["changed"]
    assert "is no user's name" in run(peer_copy_connection, **{**asked, "user": "-o"})["msg"]


@pytest.mark.parametrize("before", [None, "ssh-rsa AAAA me\n", "ssh-rsa AAAA me"], ids=["none", "keys", "no newline"])
def test_access(run, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    home, top = place.tools / "home", place.tools / "run"
    keys = home / ".ssh" / "authorized_keys"
    home.mkdir()
    if before is not None:
        keys.parent.mkdir()
        keys.write_text(before)
        keys.chmod(0o640)
    me = pwd.struct_passwd(("nvidia", "x", os.geteuid(), 0, "", str(home), ""))
    monkeypatch.setattr(access.pwd, "getpwuid", lambda _uid: me)
    monkeypatch.setattr(peer_copy_access, "read_host_keys", lambda _module, _folder: [KEY])
    blobs, readers = str(place.cache.blobs), [{"address": "192.168.100.11", "public_key": KEY}]
    options = {"name": "lab/tiny", "directory": blobs, "readers": readers, "dir": str(top)}
    assert run(peer_copy_access, check_mode=True, **options)["changed"]
    assert keys.exists() is (before is not None)
    opened = run(peer_copy_access, **options)
    assert (opened["changed"], opened["user"], opened["host_keys"]) == (True, "nvidia", [KEY])
    sender = top / "send.py"
    assert f'from="192.168.100.11",command="/usr/bin/python3 -I {sender} {blobs}" {KEY} ' in keys.read_text()
    assert sender.read_text() == access.program()
    assert stat.S_IMODE(keys.stat().st_mode) == (0o600 if before is None else 0o640)
    left = {"model": MODEL, "copy_dir": str(top), **place.options}
    assert run(hf_cache_info, **left)["left_behind"]["authorized_key"]
    gone = {"state": "absent", "dir": str(top)}
    run(peer_copy_access, **{**options, "name": "image"})
    assert run(peer_copy_access, name="lab/tiny", **gone)["changed"]
    assert sender.exists(), "another copy needs the program"
    assert not run(peer_copy_access, name="lab/tiny", **gone)["changed"]
    assert run(peer_copy_access, **gone)["changed"], "of every copy"
    assert (keys.read_text() if keys.exists() else None) == before
    assert keys.parent.exists() is (before is not None), "no empty directory is left"
    assert not run(peer_copy_access, **gone)["changed"]
    assert not top.exists()
    wrong = [{"address": "*", "public_key": KEY}]
    assert "is no IP address" in run(peer_copy_access, **{**options, "readers": wrong})["msg"]
    assert not run(hf_cache_info, **left)["left_behind"]["authorized_key"]


@pytest.mark.parametrize("check_mode", [True, False])
def test_nothing_is_removed_under_a_download_that_runs(run, place: SimpleNamespace, check_mode: bool) -> None:
    bring(run, place, "hub")
    for repo, model_too in (("lab/tiny", True), (None, False)):
        with hf_cache.only_one(place.cache):
            asked = {"repo": repo, "model_too": model_too, "check_mode": check_mode, **place.options}
            said = run(hf_cache_remove, **asked)["msg"]
        assert "a download or copy of lab/tiny still runs here" in said
        assert "Nothing was removed from the cache" in said
        assert place.cache.notes.exists()
        assert place.cache.repo_dir.exists()


def test_remove(run, place: SimpleNamespace) -> None:
    bring(run, place, "hub")
    foretold = run(hf_cache_remove, check_mode=True, repo="lab/tiny", model_too=True, **place.options)
    assert place.cache.repo_dir.exists()
    removed = run(hf_cache_remove, repo="lab/tiny", model_too=True, **place.options)
    assert {**foretold, "invocation": 0} == {**removed, "invocation": 0}
    assert removed["changed"]
    assert removed["freed_bytes"] > 7002
    assert not place.cache.repo_dir.exists()
    assert not run(hf_cache_remove, repo="lab/tiny", model_too=True, **place.options)["changed"]
    assert not place.cache.root.exists(), "no empty directory is left"
    bring(run, place)
    other = hf_cache.Cache(place.cache.root, "lab/other")
    other.notes.write_text("{}")
    asked = {"repo": "lab/other", "model_too": True, "others": True, **place.options}
    foretold = run(hf_cache_remove, check_mode=True, **asked)
    noted = run(hf_cache_remove, **asked)
    assert noted["removed"] == foretold["removed"]
    assert (noted["changed"], place.cache.own.exists(), place.cache.blobs.exists()) == (True, False, True)
    assert not run(hf_cache_remove, **place.options)["changed"]
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
    asked = {"repo": "home/made", "source": "directory", "directory": str(top), **options}
    unread = run(hf_model_info, read=False, **asked)
    assert (unread["model"], unread["unread_bytes"]) == ({}, 5005)
    described = run(hf_model_info, **asked)
    assert not (tmp_path / "hf").exists(), "what only looks writes nothing"
    assert [file["path"] for file in described["model"]["files"]] == [
        "config.json",
        "model.safetensors",
        "tokenizer/vocab",
    ]
    assert (described["bytes"], described["linkable"], described["config"]) == (5005, True, {})

    model = described["model"]
    taking = {"model": model, "source": "directory", "directory": str(top), **options}
    assert run(hf_cache_model, check_mode=True, **taking)["changed"]
    taken = run(hf_cache_model, **taking)
    assert taken["changed"]
    weights = Path(taken["snapshot"]) / "model.safetensors"
    assert weights.samefile(top / "model.safetensors")
    assert run(hf_cache_verify, model=model, **options)["files"] == 3
    assert not run(hf_cache_model, **taking)["changed"]
    assert run(hf_model_info, **asked) == described


def test_what_was_hashed_is_not_read_again(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top, options = checkpoint(tmp_path), {"cache_dir": str(tmp_path / "hf")}
    asked = {"repo": "home/made", "source": "directory", "directory": str(top), **options}
    first = run(hf_model_info, **asked)
    run(hf_cache_model, model=first["model"], source="directory", directory=str(top), **options)
    assert not first["noted"]
    run(hf_cache_verify, model=first["model"], hashes=first["hashes"], **options)
    read: list[str] = []
    real = hf_directory.hash_file
    monkeypatch.setattr(hf_directory, "hash_file", lambda path, file: read.append(path.name) or real(path, file))
    again = run(hf_model_info, **{**asked, "read": False})
    assert (again["model"], again["noted"], read) == (first["model"], True, [])
    (top / "tokenizer" / "vocab").write_text("a b c")
    assert run(hf_model_info, **{**asked, "read": False})["model"] == {}
    changed = run(hf_model_info, **asked)
    assert read == ["vocab"]
    assert changed["model"]["commit"] != first["model"]["commit"]


def test_what_the_weights_consist_of_is_noted_once(run, tmp_path: Path) -> None:
    top, options = checkpoint(tmp_path), {"cache_dir": str(tmp_path / "hf")}
    header = json.dumps({"h.0.w": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}).encode()
    (top / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(9))
    asked = {"repo": "home/made", "source": "directory", "directory": str(top), **options}
    rows = [{"name": "h.*.w", "dtype": "U8", "count": 1, "bytes": 9}]
    first = run(hf_model_info, **asked)
    assert (first["tensors"], first["tensors_problem"], first["noted"]) == (rows, "", False)
    run(hf_cache_model, model=first["model"], source="directory", directory=str(top), **options)
    verify = {"model": first["model"], "hashes": first["hashes"], **options}
    run(hf_cache_verify, **verify)
    assert not run(hf_model_info, **asked)["noted"], "the hashes are noted, the tensors are not"
    run(hf_cache_verify, check_mode=True, tensors=rows, **verify)
    assert not run(hf_model_info, **asked)["noted"], "check mode notes nothing"
    run(hf_cache_verify, tensors=rows, **verify)
    assert run(hf_model_info, **asked) == {**first, "noted": True}
    noted = json.loads((tmp_path / "hf/.dgx-spark/models--home--made.json").read_text())
    assert list(noted["tensors"].values()) == [rows]
    assert noted["rates"]["directory"]["bytes"] == first["bytes"]
    run(hf_cache_remove, repo="home/made", **options)
    assert not (tmp_path / "hf/.dgx-spark").exists()


def test_a_file_that_is_another_one_by_now_is_named(run, tmp_path: Path) -> None:
    top, options = checkpoint(tmp_path), {"cache_dir": str(tmp_path / "hf")}
    asked = {"source": "directory", "directory": str(top), **options}
    model = run(hf_model_info, repo="home/made", **asked)["model"]
    (top / "model.safetensors").write_text("v" * 5000)
    told = run(hf_cache_model, model=model, **asked)
    assert "home/made did not come whole in 1 attempts: model.safetensors: its sha256 is" in told["msg"]


def test_what_is_no_model_is_refused(run, tmp_path: Path) -> None:
    for directory, says in ((tmp_path / "nowhere", "is no directory on this host"), (tmp_path, "holds no config.json")):
        options = {"directory": str(directory), "cache_dir": str(tmp_path / "hf"), "hints": {"directory": "here"}}
        told = run(hf_model_info, repo="home/made", source="directory", **options)
        assert says in told["msg"]
        assert told["msg"].endswith("(here)")


def test_authorized_keys_that_are_not_utf_8_come_back_as_they_were(
    run, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = place.tools / "home"
    keys = home / ".ssh" / "authorized_keys"
    keys.parent.mkdir(parents=True)
    before = "ssh-ed25519 AAAA Jürgens Schlüssel\n".encode("latin-1")
    keys.write_bytes(before)
    me = pwd.struct_passwd(("nvidia", "x", os.geteuid(), 0, "", str(home), ""))
    monkeypatch.setattr(access.pwd, "getpwuid", lambda _uid: me)
    monkeypatch.setattr(peer_copy_access, "read_host_keys", lambda _module, _folder: [KEY])
    readers = [{"address": "192.168.100.11", "public_key": KEY}]
    options = {"name": "lab/tiny", "dir": str(place.tools / "run")}
    opened = run(peer_copy_access, directory=str(place.cache.blobs), readers=readers, **options)
    assert opened["changed"]
    assert keys.read_bytes().endswith(before)
    left = run(hf_cache_info, model=MODEL, copy_dir=options["dir"], **place.options)["left_behind"]
    assert left["authorized_key"]
    assert run(peer_copy_access, state="absent", **options)["changed"]
    assert keys.read_bytes() == before


def test_a_user_that_the_host_does_not_know_is_told_so(
    run, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(access.pwd, "getpwuid", unknown)
    options = {"name": "lab/tiny", "dir": str(place.tools / "run"), "directory": "/blobs"}
    assert f"no user of this host has the number {os.geteuid()}" in run(peer_copy_access, **options)["msg"]


def as_file(path: Path) -> None:
    path.write_bytes(b"\xff")


def as_directory(path: Path) -> None:
    (path / "inner").mkdir(parents=True)


def as_dead_link(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def as_loop(path: Path) -> None:
    path.symlink_to(path.name)


FILE_ROWS = [{"path": "w", "size": 7000, "sha256": FILES[1]["sha256"]}]


@pytest.mark.parametrize("make", [as_file, as_directory, as_dead_link, as_loop])
def test_whatever_stands_in_the_place_of_a_directory_ends_in_a_sentence(
    run, place: SimpleNamespace, tmp_path: Path, make
) -> None:
    odd, copies = tmp_path / "odd", tmp_path / "odd copies"
    make(odd)
    make(copies)
    cache, named = {"cache_dir": str(odd)}, {"name": "x", "dir": str(copies)}
    how = {"address": "10.0.0.1", "user": "nvidia", "host_keys": [KEY]}
    results = [
        run(hf_cache_info, model=MODEL, **cache),
        run(hf_cache_info, **cache),
        run(hf_cache_model, model=MODEL, source="hub", executable=str(place.tools / "hf"), attempts=1, **cache),
        run(hf_cache_model, model=MODEL, source="peer", copy_dir=str(copies), attempts=1, **cache),
        run(hf_cache_model, model=MODEL, source="cache", **cache),
        run(hf_cache_verify, model=MODEL, **cache),
        run(hf_cache_remove, repo="lab/tiny", model_too=True, **cache),
        run(hf_cache_remove, **cache),
        run(hf_model_info, repo="lab/m", source="directory", directory=str(odd), **cache),
        run(peer_copy_info, directory=str(odd), files=FILE_ROWS, **named),
        run(peer_copy_check, directory=str(odd), files=FILE_ROWS),
        run(peer_copy_files, directory=str(odd), files=FILE_ROWS, attempts=1, **named),
        run(peer_copy_connection, **how, **named),
        run(peer_copy_key, peer="127.0.0.1", **named),
        run(peer_copy_key, state="absent", **named),
    ]
    for result in results:
        assert "Errno" not in result.get("msg", ""), result["msg"]
        assert "raceback" not in str(result)


DRAFT = {"repo": "lab/draft", "commit": "d" * 40, "revision": "v1", "files": FILES[1:]}


@pytest.fixture
def pair(run, place: SimpleNamespace) -> SimpleNamespace:
    """The model, and a draft model of one of its files, both in the cache."""
    bring(run, place)
    cache = hf_cache.Cache(place.cache.root, "lab/draft")
    cache.blobs.mkdir(parents=True)
    (cache.blobs / FILES[1]["sha256"]).write_bytes(CONTENTS["model.safetensors"])
    run(hf_cache_model, model=DRAFT, source="cache", **place.options)
    return SimpleNamespace(cache=cache, place=place, options=place.options)


def test_a_draft_is_looked_at_in_the_same_call(run, pair: SimpleNamespace) -> None:
    alone = run(hf_cache_info, model=MODEL, **pair.options)
    assert alone["beside"] == []
    both = run(hf_cache_info, model=MODEL, beside=[DRAFT], **pair.options)
    changing = ("beside", "invocation", "free_bytes", "filesystem")
    assert {name: both[name] for name in alone if name not in changing} == {
        name: told for name, told in alone.items() if name not in changing
    }, "what is told of the model is what was told of it alone"
    (draft,) = both["beside"]
    of_the_host = {"beside", "changed", "missing_packages", "tool_version", "unavailable_packages"}
    assert {*alone} - {*draft} - {"invocation"} == of_the_host  # which newer cores leave out
    of_draft = run(hf_cache_info, model=DRAFT, **pair.options)
    assert all(draft[name] == of_draft[name] for name in draft if name not in changing)
    assert (draft["complete"], draft["commit"], draft["files"], draft["bytes"]) == (True, "d" * 40, 1, 7000)
    copying = run(hf_cache_info, model=MODEL, beside=[DRAFT], copy_dir=str(pair.place.copies), **pair.options)
    assert [one["left_behind"]["key"] for one in (copying, copying["beside"][0])] == [True, False]
    (pair.cache.blobs / FILES[1]["sha256"]).write_bytes(b"W" * 7000)
    pair.cache.notes.unlink()
    unread = run(hf_cache_info, model=MODEL, beside=[DRAFT], read="none", **pair.options)
    assert (unread["complete"], unread["unread"], unread["beside"][0]["unread"]) == (True, [], ["model.safetensors"])
    spoilt = run(hf_cache_info, model=MODEL, beside=[DRAFT], **pair.options)
    assert (spoilt["complete"], spoilt["corrupt"], spoilt["beside"][0]["corrupt"]) == (True, [], ["model.safetensors"])


def test_a_draft_is_verified_and_noted_in_the_same_call(run, pair: SimpleNamespace) -> None:
    for cache in (pair.place.cache, pair.cache):
        cache.notes.unlink()
    seen = run(hf_cache_info, model=MODEL, beside=[DRAFT], **pair.options)
    rows = [{"name": "h.*.w", "dtype": "U8", "count": 1, "bytes": 9}]
    beside = [{**seen["beside"][0], "model": DRAFT, "tensors": rows, "config": {"x": 1}}]
    verify = {"model": MODEL, "verified": seen["verified"], "beside": beside, **pair.options}
    assert run(hf_cache_verify, check_mode=True, **verify)["beside"][0]["repo"] == "lab/draft"
    assert not pair.cache.notes.exists()
    told = run(hf_cache_verify, **verify)
    assert (told["repo"], told["files"], told["problems"]) == ("lab/tiny", 2, [])
    assert told["beside"] == [
        {
            "repo": "lab/draft",
            "commit": "d" * 40,
            "repo_dir": str(pair.cache.repo_dir),
            "snapshot": str(pair.cache.snapshot("d" * 40)),
            "files": 1,
            "bytes": 7000,
        }
    ]
    noted = json.loads(pair.cache.notes.read_text())
    assert (list(noted["verified"]), list(noted["tensors"].values())) == ([FILES[1]["sha256"]], [rows])
    again = run(hf_cache_info, model=MODEL, beside=[DRAFT], read="none", **pair.options)
    assert (again["noted"], again["beside"][0]["noted"], again["beside"][0]["unread"]) == (True, True, [])


def test_a_draft_that_was_found_right_is_not_read_again(
    run, pair: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.cache.notes.unlink()
    seen = run(hf_cache_info, model=MODEL, beside=[DRAFT], **pair.options)["beside"][0]
    monkeypatch.setattr(hf_cache, "hash_file", None)  # called, it would fail
    told = run(hf_cache_verify, model=MODEL, beside=[{**seen, "model": DRAFT}], **pair.options)
    assert told["beside"][0]["files"] == 1


def test_verify_names_the_model_that_is_not_whole(run, pair: SimpleNamespace) -> None:
    (pair.cache.snapshot("d" * 40) / "model.safetensors").unlink()
    told = run(hf_cache_verify, model=MODEL, beside=[{"model": DRAFT}], **pair.options)
    assert told["failed"]
    assert told["problems"] == ["lab/draft: model.safetensors: is there, and its link is not"]
    assert f"{pair.cache.repo_dir} has not all of lab/draft at {'d' * 40} as the hub has it: " in told["msg"]
    assert "lab/tiny" not in told["msg"]
    assert told["msg"].endswith("Run the role hf_cache again: it brings what is missing or wrong")
    (pair.place.cache.blobs / FILES[0]["git_sha1"]).unlink()
    told = run(hf_cache_verify, model=MODEL, beside=[{"model": DRAFT}], **pair.options)
    assert told["problems"][0] == "config.json: is missing"
    assert "lab/tiny" in told["msg"]
    assert "lab/draft" in told["msg"]


def test_what_rotted_of_a_draft_is_read_by_verify_when_it_is_told(run, pair: SimpleNamespace) -> None:
    rotten(SimpleNamespace(cache=pair.cache))
    assert not run(hf_cache_verify, model=MODEL, beside=[{"model": DRAFT}], **pair.options).get("failed")
    seen = run(hf_cache_info, model=MODEL, beside=[DRAFT], read="all", **pair.options)["beside"][0]
    assert seen["corrupt"] == ["model.safetensors"]
    told = run(hf_cache_verify, model=MODEL, beside=[{**seen, "model": DRAFT}], **pair.options)
    assert "lab/draft: model.safetensors: its sha256 is" in told["problems"][0]
    assert json.loads(pair.cache.notes.read_text())["verified"] == {}, "it is forgotten"


@pytest.mark.parametrize(
    "beside", [{}, {"model": "x"}, {"model": {"repo": "lab/draft"}}, {"model": DRAFT, "verified": [1]}]
)
def test_verify_refuses_a_draft_of_another_form(run, pair: SimpleNamespace, beside: dict) -> None:
    told = run(hf_cache_verify, model=MODEL, beside=[beside], **pair.options)
    assert told["msg"].startswith("beside holds no models as hf_model_info and hf_cache_info tell them: ")
    assert "raceback" not in str(told)


def test_a_draft_is_removed_with_the_model(run, pair: SimpleNamespace) -> None:
    asked = {"repo": "lab/tiny", "beside": ["lab/draft"], "model_too": True, "others": True, **pair.options}
    with hf_cache.only_one(pair.cache):
        assert "a download or copy of lab/draft still runs here" in run(hf_cache_remove, **asked)["msg"]
    assert pair.place.cache.repo_dir.exists(), "nothing was removed"
    foretold = run(hf_cache_remove, check_mode=True, **asked)
    assert pair.cache.repo_dir.exists()
    removed = run(hf_cache_remove, **asked)
    assert removed["removed"] == foretold["removed"]
    assert removed["freed_bytes"] > 14002
    assert not pair.cache.root.exists(), "no empty directory is left"
    assert not run(hf_cache_remove, **asked)["changed"]
    assert "organisation/name" in run(hf_cache_remove, **{**asked, "beside": [".."]})["msg"]


def test_a_draft_stays_where_the_model_alone_is_removed(run, pair: SimpleNamespace) -> None:
    assert run(hf_cache_remove, repo="lab/tiny", model_too=True, others=True, **pair.options)["changed"]
    assert (pair.place.cache.repo_dir.exists(), pair.cache.repo_dir.exists()) == (False, True)
    assert not pair.cache.own.exists(), "what was noted of it goes"
    assert not pair.cache.ref("v1").exists()
