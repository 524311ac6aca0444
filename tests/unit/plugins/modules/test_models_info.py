# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules tell of many models: from the lab's hub, from a cache, from neither."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import hub as hf_hub
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import models as hf_models
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import Cache, Notes
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import Hub
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.models import Wanted, ask_all, in_cache, rates
from ansible_collections.sparkops.dgx_spark.plugins.modules import hf_model_info, hf_models_info, models_host_info

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "hf_topsecret"
KEYS = {
    "origin",
    "problem",
    "refused",
    "commit",
    "gated",
    "bytes",
    "weights_bytes",
    "blobs",
    "config",
    "tensors",
    "tensors_problem",
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    sys.path[:0] = [str(Path(__file__).parents[4] / "lab" / "roles" / "virtual_spark" / "files" / "internet")]
    from virtual_internet.internet import Settings, VirtualInternet
    from virtual_internet.seed import seed_repo

    root = tmp_path_factory.mktemp("internet")
    seed_repo(root, "lab/open", 3000, shards=2)
    seed_repo(root, "lab/gated", 1000, gated="manual")
    seed_repo(root, "lab/draft", 900)
    (root / "hub" / "tokens.json").write_text(json.dumps({TOKEN: {"name": "friend", "granted": ["lab/gated"]}}))
    ports = {"hub_port": 0, "cdn_port": 0, "control_port": 0, "registry_port": 0}
    internet = VirtualInternet(Settings(root, bind="127.0.0.1", quiet=True, **ports))
    internet.start()
    yield f"http://127.0.0.1:{internet.ports['hub_port']}"
    internet.stop()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run_module(module: ModuleType, **arguments: object) -> dict[str, Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        out = capsys.readouterr().out
        assert TOKEN not in out
        found: dict[str, Any] = json.loads(out)
        return found

    return run_module


def downloaded(endpoint: str, root: Path, repo: str = "lab/open") -> Cache:
    """A cache as `hf` leaves it, without a file of the weights."""
    hub, cache = Hub(endpoint, TOKEN), Cache(root, repo)
    model, _gated = hub.model(repo, "main")
    snapshot = cache.snapshot(model.commit)
    (snapshot / "assets").mkdir(parents=True)
    cache.blobs.mkdir()
    for file in model.files:
        if "00002-of" in file.path:
            continue
        (cache.blobs / file.blob).write_bytes(hub.part(model, file, 0, file.size))
        (snapshot / file.path).symlink_to(os.path.relpath(cache.blobs / file.blob, (snapshot / file.path).parent))
    cache.ref("main").parent.mkdir()
    cache.ref("main").write_text(model.commit)
    return cache


def test_many_models_at_once(run: Any, endpoint: str, tmp_path: Path) -> None:
    asked = {"cache_dir": str(tmp_path / "hf"), "endpoint": endpoint, "ignore_patterns": ["assets/"]}
    models = [{"repo": "lab/open"}, {"repo": "lab/gated"}, {"repo": "lab/none"}, {"repo": "no name"}]
    told = run(hf_models_info, models=models, token=f" {TOKEN}\n", **asked)["models"]
    assert list(told) == ["lab/open", "lab/gated", "lab/none", "no name"]
    assert all(set(one) == {*KEYS, "tensors_problem"} for one in told.values())
    one = told["lab/open"]
    assert (one["origin"], one["problem"], one["gated"], one["config"]["model_type"]) == ("hub", "", False, "lab")
    assert one["tensors"] == [{"name": "model.layers.*.weight", "dtype": "U8", "count": 2, "bytes": 3000 - 2 * 264}]
    assert (one["weights_bytes"], one["tensors_problem"]) == (3000, "")
    assert one["bytes"] == sum(one["blobs"].values()) > 3000
    assert told["lab/gated"]["gated"] is True
    assert "lab/none is not on the hub" in told["lab/none"]["problem"]
    assert "'no name' is no model of the hub" in told["no name"]["problem"]
    assert {name: one["refused"] for name, one in told.items()} == {
        "lab/open": False,
        "lab/gated": False,
        "lab/none": True,
        "no name": False,
    }
    assert told["lab/none"]["origin"] == told["no name"]["origin"] == ""
    assert not (tmp_path / "hf").exists()
    without = run(hf_models_info, models=[{"repo": "lab/gated"}, {"repo": "lab/open", "revision": "v9"}], **asked)
    assert "is gated" in without["models"]["lab/gated"]["problem"]
    assert without["models"]["lab/gated"]["refused"] is True
    assert "no revision 'v9'" in without["models"]["lab/open"]["problem"]
    assert "is no hub's address" in run(hf_models_info, models=[], **{**asked, "endpoint": "hub"})["msg"]


def test_the_cache_serves_where_the_hub_does_not(run: Any, endpoint: str, tmp_path: Path) -> None:
    cache = downloaded(endpoint, tmp_path)
    asked = {"cache_dir": str(tmp_path), "models": [{"repo": "lab/open"}, {"repo": "lab/gated"}]}
    closed = {"endpoint": "http://127.0.0.1:1"}
    told = run(hf_models_info, **closed, **asked)["models"]
    one = told["lab/open"]
    assert (one["origin"], one["gated"], one["config"]["model_type"]) == ("cache", None, "lab")
    assert "http://127.0.0.1:1 cannot be reached" in one["problem"]
    assert one["weights_bytes"] == 1500, "of the file that is there"
    assert len(one["blobs"]) == len(list(cache.blobs.iterdir()))
    assert (told["lab/gated"]["origin"], told["lab/gated"]["problem"]) == ("", one["problem"]), "told of all"
    offline = run(hf_models_info, offline=True, **asked)["models"]
    assert (offline["lab/open"]["origin"], offline["lab/open"]["problem"]) == ("cache", "")


@pytest.mark.parametrize(("status", "refused"), [(401, True), (404, True), (451, True), (429, False), (503, False)])
def test_a_hub_that_is_busy_has_refused_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, refused: bool
) -> None:
    answer = hf_hub.Answer(status, {}, b"")
    monkeypatch.setattr(hf_hub, "fetch", lambda *_about: answer)
    wanted = [Wanted("org/tokenformer-1b", "main", [], [])]
    one = ask_all(Hub("http://hub", attempts=1), tmp_path, wanted, 60)["org/tokenformer-1b"]
    assert (one["refused"], bool(one["problem"])) == (refused, True)


def test_a_hub_that_is_away_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def away(*about: Any) -> Any:
        asked.append(about)
        raise OSError("No route to host")

    monkeypatch.setattr(hf_hub, "fetch", away)
    monkeypatch.setattr(hf_models, "AT_ONCE", 1)
    wanted = [Wanted(f"lab/m{number}", "main", [], []) for number in range(5)]
    told = ask_all(Hub("http://hub"), tmp_path, wanted, 60)
    assert len(asked) == 1
    assert not any(one["refused"] for one in told.values())
    assert {one["problem"][:41] for one in told.values()} == {"the hub http://hub cannot be reached (No "}


def test_a_slow_hub_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch, endpoint: str, tmp_path: Path) -> None:
    now = [0.0]
    monkeypatch.setattr(hf_models, "time", SimpleNamespace(monotonic=lambda: now.append(now[-1] + 40) or now[-1]))
    monkeypatch.setattr(hf_models, "AT_ONCE", 1)
    wanted = [Wanted("lab/open", "main", [], []), Wanted("lab/gated", "main", [], [])]
    told = ask_all(Hub(endpoint, TOKEN), tmp_path, wanted, 60)
    assert told["lab/open"]["origin"] == "hub"
    assert told["lab/gated"]["problem"] == f"the hub {endpoint} took more than 60 s for the models before this one"


def test_a_model_of_a_directory_is_found(endpoint: str, tmp_path: Path) -> None:
    cache = downloaded(endpoint, tmp_path)
    cache.ref("main").rename(cache.ref("local"))
    found = in_cache(cache, "lab/open", "main")
    assert found is not None
    assert (found.revision, found.commit) == ("local", cache.ref("local").read_text())
    assert in_cache(cache, "lab/open", "v2") is None


@pytest.mark.parametrize("ref", ["", "../../..", "c" * 40, "\xff"])
def test_a_damaged_cache_tells_of_no_model(endpoint: str, tmp_path: Path, ref: str) -> None:
    cache = downloaded(endpoint, tmp_path)
    assert in_cache(cache, "lab/open", "main") is not None
    assert in_cache(cache, "lab/open", "v1") is None
    commit = cache.ref("main").read_text()
    assert in_cache(cache, "lab/open", commit) is not None
    cache.ref("main").write_bytes(ref.encode("latin-1"))
    assert in_cache(cache, "lab/open", "main") is None
    for path in cache.blobs.iterdir():
        path.unlink()
    assert in_cache(cache, "lab/open", commit) is None


def test_what_a_host_has(run: Any, endpoint: str, tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       125829120 kB\nMemFree: 12 kB\n")
    asked = {"cache_dir": str(tmp_path / "hf"), "meminfo": str(meminfo), "models": ["lab/open", "lab/none"]}
    found = run(models_host_info, **asked)
    assert (found["memory_mib"], found["blobs"], found["cached"], found["rates"]) == (122880, {}, [], {})
    assert found["filesystem"]["free_bytes"] > 0
    cache = downloaded(endpoint, tmp_path / "hf")
    (cache.blobs / f"{'e' * 64}.incomplete").write_bytes(b"part")
    notes = Notes(cache.notes)
    notes.rates["hub"] = {"bytes": 9, "seconds": 3, "at": 1}
    cache.own.mkdir()
    notes.save()
    found = run(models_host_info, **asked)
    blobs = found["blobs"].pop("lab/open")
    assert found["blobs"] == {}
    assert sorted(blobs) == sorted(path.name for path in cache.blobs.iterdir() if "." not in path.name)
    assert [one["repo"] for one in found["cached"]] == ["lab/open"]
    assert found["rates"] == {"hub": {"at": 1, "bytes": 9, "seconds": 3}}
    meminfo.write_text("nothing")
    assert run(models_host_info, **asked)["memory_mib"] == 0
    meminfo.unlink()
    assert run(models_host_info, **asked)["msg"].endswith("Nothing was changed.")


@pytest.mark.parametrize(
    "row", [None, [], {}, {"bytes": 0, "seconds": 1, "at": 1}, {"bytes": 1, "seconds": "1", "at": 1}]
)
def test_damaged_rates_count_for_nothing(tmp_path: Path, row: Any) -> None:
    for name, told in (
        ("a", row),
        ("b", {"bytes": 5, "seconds": 1.5, "at": 7, "x": 1}),
        ("c", {"bytes": 4, "seconds": 1, "at": 8}),
    ):
        notes = Notes(Cache(tmp_path, f"lab/{name}").notes)
        notes.rates["peer"] = told
        notes.save()
    (tmp_path / ".dgx-spark/models--lab--d.json").write_text("{")
    (tmp_path / ".dgx-spark/models--lab--b.source.json").write_text("{}")
    assert rates(tmp_path) == {"peer": {"bytes": 5, "seconds": 1.5, "at": 7}}


HINTS = {"beside": "drafts", "token": "my_token", "revision": "my_revision"}
AWAY, INDEX = "http://127.0.0.1:1", "model.safetensors.index.json"


def described(run: Any, endpoint: str, root: Path, *beside: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What is told of a model and of those beside it."""
    asked = {"repo": "lab/open", "endpoint": endpoint, "cache_dir": str(root), "hints": HINTS, **more}
    found: dict[str, Any] = run(hf_model_info, beside=list(beside), **asked)
    return found


def paths(about: dict[str, Any]) -> list[str]:
    return [file["path"] for file in about["model"]["files"]]


def test_a_draft_is_described_as_a_model_is(run: Any, endpoint: str, tmp_path: Path) -> None:
    alone = described(run, endpoint, tmp_path)
    assert alone["beside"] == []
    both = described(run, endpoint, tmp_path, {"repo": "lab/draft"})
    assert {**both, "invocation": 0, "beside": []} == {**alone, "invocation": 0}
    (draft,) = both["beside"]
    assert {*alone} - {*draft} - {"invocation"} == {"beside", "changed"}  # which newer cores leave out
    itself = described(run, endpoint, tmp_path, repo="lab/draft")
    assert draft == {name: itself[name] for name in draft}
    assert (draft["config"]["model_type"], draft["model"]["revision"], draft["bytes"] > 900) == ("lab", "main", True)


def test_a_draft_has_patterns_of_its_own(run: Any, endpoint: str, tmp_path: Path) -> None:
    ignore = {"ignore_patterns": ["assets/", "*.md"]}
    for beside, wanted in (
        ({}, {"README.md": False, "config.json": True, "assets/about.txt": False}),
        ({"ignore_patterns": []}, {"README.md": True, "assets/about.txt": True}),
        ({"allow_patterns": ["*.json"]}, {"config.json": True, "model.safetensors": False}),
    ):
        told = described(run, endpoint, tmp_path, {"repo": "lab/draft", **beside}, **ignore)
        assert {path: path in paths(told["beside"][0]) for path in wanted} == wanted
        assert not {"README.md", "assets/about.txt"} & {*paths(told)}


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        (
            [{"repo": "lab/gated"}],
            "lab/gated is gated: accept its conditions at ENDPOINT/lab/gated, and give that account's token (the hub "
            "says: Access to model lab/gated is restricted. You must have access to it and be authenticated to access "
            "it. Please log in.) (my_token). lab/gated is to come beside lab/open (drafts).",
        ),
        (
            [{"repo": "lab/none"}],
            "lab/none is not on the hub ENDPOINT: check the spelling at ENDPOINT/lab/none, and give a token if it is "
            "private (my_token). lab/none is to come beside lab/open (drafts).",
        ),
        (
            [{"repo": "lab/draft", "revision": "v9"}],
            "lab/draft has no revision 'v9': see ENDPOINT/lab/draft/tree/main for what it has. lab/draft is to come "
            "beside lab/open (drafts).",
        ),
        (
            [{"repo": "lab/OPEN"}],
            "lab/OPEN cannot be brought beside lab/open, for it is the model itself: name other models, each once "
            "(drafts).",
        ),
        (
            [{"repo": "lab/draft"}, {"repo": "lab/gated"}, {"repo": "lab/Draft"}],
            "lab/Draft cannot be brought beside lab/open, for it stands there twice: name other models, each once "
            "(drafts).",
        ),
    ],
)
def test_a_draft_that_cannot_be_had_is_named_with_the_option(
    run: Any, endpoint: str, tmp_path: Path, beside: list[dict[str, Any]], says: str
) -> None:
    told = described(run, endpoint, tmp_path, *beside)
    assert told["msg"] == f"{says.replace('ENDPOINT', endpoint)} Nothing was changed."


@pytest.mark.parametrize(
    ("repo", "beside", "says"),
    [
        ("lab/Tiny", ["lab/tiny"], "is the model itself"),
        ("lab/tiny", ["lab/Tiny"], "is the model itself"),
        ("lab/tiny", ["lab/Draft", "lab/draft"], "stands there twice"),
        ("lab/tiny", ["lab/draft", "lab/Draft"], "stands there twice"),
    ],
)
def test_case_makes_no_other_model(run: Any, tmp_path: Path, repo: str, beside: list[str], says: str) -> None:
    told = described(run, AWAY, tmp_path, *({"repo": one} for one in beside), repo=repo)
    assert says in told["msg"], "before a hub is asked"


def test_what_names_no_draft_is_refused_before_a_hub_is_asked(run: Any, tmp_path: Path) -> None:
    for beside in ({"repo": "draft"}, {"repo": "lab/draft", "revision": "--"}):
        said = described(run, AWAY, tmp_path, beside)["msg"]
        assert "is no " in said
        assert "cannot be reached" not in said


def made(tmp_path: Path) -> dict[str, Any]:
    """A model in a directory, and what has it described."""
    top = tmp_path / "made"
    top.mkdir()
    (top / "config.json").write_text("{}")
    (top / "model.safetensors").write_text("w" * 50)
    return {"repo": "home/made", "source": "directory", "directory": str(top)}


def test_the_draft_of_a_directorys_model_comes_from_the_hub(run: Any, endpoint: str, tmp_path: Path) -> None:
    directory, root = made(tmp_path), tmp_path / "hf"
    told = described(run, endpoint, root, {"repo": "lab/draft"}, **directory)
    assert (told["model"]["revision"], told["beside"][0]["model"]["repo"]) == ("local", "lab/draft")
    unread = described(run, endpoint, root, {"repo": "lab/draft"}, read=False, **directory)
    assert (unread["model"], unread["beside"]) == ({}, told["beside"])
    assert described(run, AWAY, root, **directory)["beside"] == [], "without a draft no hub is asked"


def test_a_draft_that_the_cache_has_whole_serves_a_directorys_model_without_a_hub(
    run: Any, endpoint: str, tmp_path: Path
) -> None:
    root, directory = tmp_path / "hf", made(tmp_path)
    cache = downloaded(endpoint, root, "lab/draft")
    by_hub = described(run, endpoint, root, {"repo": "lab/draft"}, **directory)
    by_cache = described(run, AWAY, root, {"repo": "lab/draft"}, **directory)
    assert by_cache["beside"] == by_hub["beside"]
    blob = next(path for path in cache.blobs.iterdir() if path.stat().st_size == 900)
    blob.rename(blob.with_name("other"))
    said = described(run, AWAY, root, {"repo": "lab/draft"}, **directory)["msg"]
    assert "cannot be reached" in said
    assert said.endswith(" lab/draft is to come beside home/made (drafts). Nothing was changed.")
    downloaded(endpoint, root, "lab/gated")
    said = described(run, endpoint, root, {"repo": "lab/gated"}, **directory)["msg"]
    assert "lab/gated is gated" in said, "a hub that answers is what counts"


def test_the_draft_of_a_hubs_model_is_no_older_than_the_hub_has_it(
    run: Any, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded(endpoint, tmp_path, "lab/draft")
    real = hf_hub.fetch

    def away(url: str, *about: Any) -> Any:
        if "draft" in url:
            raise OSError("No route to host")
        return real(url, *about)

    monkeypatch.setattr(hf_hub, "fetch", away)
    assert "cannot be reached (No route to host)" in described(run, endpoint, tmp_path, {"repo": "lab/draft"})["msg"]


@pytest.mark.parametrize("lacks", ["nothing", "a link's file", "a shard", "the weights", "all"])
def test_whether_a_cache_has_a_model_whole_is_told_without_a_hub(endpoint: str, tmp_path: Path, lacks: str) -> None:
    """Of two shards, both of which the index names; that there is a README is known by nobody but the hub."""
    cache, hub = Cache(tmp_path, "lab/open"), Hub(endpoint)
    if lacks != "all":
        cache = downloaded(endpoint, tmp_path, "lab/open")
        model, _gated = hub.model("lab/open", "main")
        top = cache.snapshot(model.commit)
        shards = [file for file in model.files if "-of-" in file.path]
        (cache.blobs / shards[1].blob).write_bytes(hub.part(model, shards[1], 0, shards[1].size))
        (top / shards[1].path).symlink_to(os.path.relpath(cache.blobs / shards[1].blob, top))
        (top / "README.md").unlink()
        gone = {"a shard": [shards[1].path], "the weights": [*(one.path for one in shards), INDEX]}.get(lacks, [])
        for path in gone:
            (top / path).unlink()
        if lacks == "a link's file":
            (cache.blobs / next(one.blob for one in model.files if one.path == "tokenizer.json")).unlink()
    found = hf_models.whole_in_cache(cache, Wanted("lab/open", "main", [], []))
    assert (found is not None) is (lacks == "nothing")
