# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model's weights consist of: from the lab's hub by ranges, from a cache, from notes."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import hub as hf_hub
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import tensors as hf_tensors
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import Cache, Notes
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import Hub, HubError, Model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.tensors import (
    LEAST_ASKED,
    Weights,
    key_of,
    recalled,
    remember,
    weights_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "hf_friend"


def weights_file(path: Path, count: int, *, first: int = 0) -> int:
    """Write a file of small tensors, and return how long its header is."""
    rows = {
        f"model.layers.{first + number}.mlp.up_proj.weight": {
            "dtype": "BF16",
            "shape": [1],
            "data_offsets": [2 * number, 2 * number + 2],
        }
        for number in range(count)
    }
    header = json.dumps(rows).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2 * count))
    return len(header)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The lab's hub with a gated model of three files, the second of which has a long header."""
    sys.path[:0] = [str(Path(__file__).parents[5] / "lab" / "roles" / "virtual_spark" / "files" / "internet")]
    from virtual_internet.internet import Settings, VirtualInternet

    root = tmp_path_factory.mktemp("internet")
    for name in ("open", "gated", "damaged"):
        folder = root / "hub" / "models" / "lab" / name / "main"
        folder.mkdir(parents=True)
        weights_file(folder / "model-00001-of-00003.safetensors", 10)
        assert weights_file(folder / "model-00002-of-00003.safetensors", 2000, first=10) > LEAST_ASKED
        weights_file(folder / "model-00003-of-00003.safetensors", 5, first=2010)
        (folder / "config.json").write_text('{"model_type": "lab"}')
    (root / "hub/models/lab/gated/.repo.json").write_text(json.dumps({"gated": "manual"}))
    (root / "hub/models/lab/damaged/main/model-00003-of-00003.safetensors").write_bytes(b"version https://git-lfs" * 9)
    (root / "hub" / "tokens.json").write_text(json.dumps({TOKEN: {"name": "friend", "granted": ["lab/gated"]}}))
    ports = {"hub_port": 0, "cdn_port": 0, "control_port": 0, "registry_port": 0}
    internet = VirtualInternet(Settings(root, bind="127.0.0.1", quiet=True, **ports))
    internet.start()
    control = f"http://127.0.0.1:{internet.ports['control_port']}"

    def ask(method: str, path: str, data: Any = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        with urllib.request.urlopen(urllib.request.Request(control + path, body, method=method), timeout=10) as reply:
            return json.loads(reply.read() or b"null")

    yield SimpleNamespace(root=root, ask=ask, endpoint=f"http://127.0.0.1:{internet.ports['hub_port']}")
    internet.stop()


@pytest.fixture
def hub(lab: SimpleNamespace) -> Hub:
    lab.ask("DELETE", "/faults")
    lab.ask("DELETE", "/stats")
    return Hub(lab.endpoint, TOKEN, timeout=5, attempts=2, pause=0)


WHOLE = [{"name": "model.layers.*.mlp.up_proj.weight", "dtype": "BF16", "count": 2015, "bytes": 4030}]


@pytest.mark.parametrize("repo", ["lab/open", "lab/gated"])
def test_the_hub_is_asked_for_the_beginnings_alone(lab: SimpleNamespace, hub: Hub, tmp_path: Path, repo: str) -> None:
    model, _gated = hub.model(repo, "main")
    lab.ask("DELETE", "/stats")
    assert weights_of(model, Cache(tmp_path, repo), hub) == Weights(WHOLE, "", False)
    paths = lab.ask("GET", "/stats")["services"]["hub"]["paths"]
    requests = {path.rpartition("/")[2]: row["requests"] for path, row in paths.items() if "/resolve/" in path}
    assert requests == {"model-00001-of-00003.safetensors": 1, "model-00002-of-00003.safetensors": 2} | {
        "model-00003-of-00003.safetensors": 1
    }
    sent = sum(row["bytes_sent"] for path, row in paths.items() if path.startswith("/cdn/"))
    headers = sum(min(file.size, LEAST_ASKED) for file in hf_tensors.weight_files(model))
    assert headers <= sent < headers + 200_000, "not the data behind a long header"
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_the_token_does_not_go_to_the_content_delivery(lab: SimpleNamespace, hub: Hub, tmp_path: Path) -> None:
    """The lab's delivery is another origin; a stranger's token would be refused by the hub itself."""
    model, _gated = hub.model("lab/gated", "main")
    seen = []

    class Seen(hf_hub.SameOrigin):
        def redirect_request(self, req: Any, *args: Any, **kwargs: Any) -> Any:
            new = super().redirect_request(req, *args, **kwargs)
            seen.append((req.has_header("Authorization"), new.has_header("Authorization"), new.get_header("Range")))
            return new

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hf_hub, "SameOrigin", Seen)
        assert weights_of(model, Cache(tmp_path, "lab/gated"), hub).tensors == WHOLE
    assert len(seen) == 4
    assert {(had, has) for had, has, _range in seen} == {(True, False)}
    assert all(span.startswith("bytes=") for _had, _has, span in seen)


def test_the_index_tells_how_long_headers_are(lab: SimpleNamespace, hub: Hub, tmp_path: Path) -> None:
    model, _gated = hub.model("lab/open", "main")
    index = HashedFile("model.safetensors.index.json", 600_000, git_sha1="3" * 40)
    lab.ask("DELETE", "/stats")
    assert weights_of(model._replace(files=(*model.files, index)), Cache(tmp_path, "lab/open"), hub).tensors == WHOLE
    paths = lab.ask("GET", "/stats")["services"]["hub"]["paths"]
    assert {row["requests"] for path, row in paths.items() if "/resolve/" in path} == {1}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"kind": "status", "status": 503}, "answers HTTP 503"),
        ({"kind": "cut", "after_bytes": 20}, "instead of"),
        ({"kind": "hang", "seconds": 20}, "cannot be reached"),
        ({"kind": "content", "at_byte": 3}, "is no safetensors file"),
        ({"kind": "content", "at_byte": 9}, "header"),
        ({"kind": "status", "status": 404}, "is not on the hub"),
    ],
    ids=["503", "cut", "hang", "a wrong length", "wrong JSON", "404"],
)
def test_what_the_hub_does_wrong_is_told(
    lab: SimpleNamespace, hub: Hub, tmp_path: Path, fault: dict[str, Any], says: str
) -> None:
    model, _gated = hub.model("lab/open", "main")
    lab.ask("POST", "/faults", {"service": "hub", "match": "cdn.*0000[13]-of", "times": None, **fault})
    hub.timeout = 1
    found = weights_of(model, Cache(tmp_path, "lab/open"), hub)
    assert (found.tensors, found.noted) == ([], True)
    assert says in found.problem
    assert len(found.problem.split()) > 5


def test_a_passing_fault_is_passed(lab: SimpleNamespace, hub: Hub, tmp_path: Path) -> None:
    model, _gated = hub.model("lab/open", "main")
    lab.ask("POST", "/faults", {"service": "hub", "match": "cdn.*00001-of", "kind": "status", "status": 500})
    assert weights_of(model, Cache(tmp_path, "lab/open"), hub).tensors == WHOLE


def test_a_damaged_file_on_the_hub_is_told(hub: Hub, tmp_path: Path) -> None:
    model, _gated = hub.model("lab/damaged", "main")
    found = weights_of(model, Cache(tmp_path, "lab/damaged"), hub)
    assert found.tensors == []
    assert found.problem.startswith(
        f"model-00003-of-00003.safetensors of lab/damaged on {hub.endpoint} is no safetensors"
    )


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (hf_hub.Answer(206, {"Content-Range": "bytes 8-15/100"}, bytes(8)), "another part (bytes 8-15/100)"),
        (hf_hub.Answer(206, {"Content-Range": "bytes 0-7/99"}, bytes(8)), "another part"),
        (hf_hub.Answer(206, {"Content-Range": "bytes 0-7/" + "9" * 5000}, bytes(8)), "another part"),
        (hf_hub.Answer(206, {}, bytes(8)), "another part (untold)"),
        (hf_hub.Answer(206, {"Content-Range": "bytes 0-7/100"}, bytes(7)), "sends 7 bytes instead of 8"),
        (hf_hub.Answer(206, {"Content-Range": "bytes 0-7/100"}, bytes(9)), "sends 9 bytes instead of 8"),
        (hf_hub.Answer(200, {}, bytes(5)), "sends 5 bytes instead of 8"),
        (hf_hub.Answer(416, {}, b""), "HTTP 416"),
    ],
)
def test_another_part_than_asked_is_refused(monkeypatch: pytest.MonkeyPatch, answer: hf_hub.Answer, says: str) -> None:
    monkeypatch.setattr(hf_hub, "fetch", lambda *_asked: answer)
    file = HashedFile("m.safetensors", 100, sha256="2" * 64)
    with pytest.raises(HubError) as refused:
        Hub("http://hub", attempts=1).part(Model("lab/m", "c" * 40, "main", (file,)), file, 0, 8)
    assert says in str(refused.value)


def test_a_hub_that_knows_no_ranges_sends_the_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_hub, "fetch", lambda *_asked: hf_hub.Answer(200, {}, bytes(range(16))))
    file = HashedFile("m.safetensors", 100, sha256="2" * 64)
    part = Hub("http://hub").part(Model("lab/m", "c" * 40, "main", (file,)), file, 8, 16)
    assert part == bytes(range(8, 16))


def in_cache(lab: SimpleNamespace, cache: Cache, model: Model, *names: str) -> None:
    """Put some of a model's files into a cache."""
    cache.blobs.mkdir(parents=True, exist_ok=True)
    for file in model.files:
        if any(name in file.path for name in names):
            (cache.blobs / file.blob).write_bytes(
                (lab.root / "hub/models" / model.repo / "main" / file.path).read_bytes()
            )


def test_files_on_the_disk_are_not_asked_for(lab: SimpleNamespace, hub: Hub, tmp_path: Path) -> None:
    model, _gated = hub.model("lab/open", "main")
    cache = Cache(tmp_path, "lab/open")
    in_cache(lab, cache, model, "00001", "00002")
    lab.ask("DELETE", "/stats")
    assert weights_of(model, cache, hub).tensors == WHOLE
    paths = lab.ask("GET", "/stats")["services"]["hub"]["paths"]
    assert [path.rpartition("/")[2] for path in paths if "/resolve/" in path] == ["model-00003-of-00003.safetensors"]
    found = weights_of(model, cache, None)
    assert (found.tensors, found.problem) == (
        [],
        "model-00003-of-00003.safetensors of lab/open is not on this disk, and no hub was asked",
    )
    in_cache(lab, cache, model, "00003")
    assert weights_of(model, cache, None) == Weights(WHOLE, "", False)
    last = cache.blobs / model.files[-1].blob
    last.write_bytes(last.read_bytes()[:-1])
    assert weights_of(model, cache, None).tensors == [], "cut short, though its header is whole"


def test_what_is_noted_is_not_read_again(lab: SimpleNamespace, hub: Hub, tmp_path: Path) -> None:
    model, _gated = hub.model("lab/open", "main")
    cache = Cache(tmp_path, "lab/open")
    notes = Notes(cache.notes)
    remember(notes, model, WHOLE)
    notes.save()
    assert weights_of(model, cache, None) == Weights(WHOLE, "", True)
    other = model._replace(files=model.files[:-1])
    assert key_of(other) != key_of(model)
    assert recalled(Notes(cache.notes), other) == [], "weights of other files"
    assert recalled(Notes(cache.notes), model._replace(commit="d" * 40)) == WHOLE, "the same files in another commit"


@pytest.mark.parametrize("damage", [None, [], {}, [None], [{**WHOLE[0], "bytes": -1}], [{**WHOLE[0], "name": 1}], [{}]])
def test_damaged_notes_count_for_nothing(hub: Hub, tmp_path: Path, damage: Any) -> None:
    model, _gated = hub.model("lab/open", "main")
    cache = Cache(tmp_path, "lab/open")
    cache.own.mkdir()
    cache.notes.write_text(json.dumps({"verified": {}, "refs": {}, "tensors": {key_of(model): damage}}))
    assert weights_of(model, cache, hub) == Weights(WHOLE, "", False)
    cache.notes.write_text(json.dumps({"verified": {}, "refs": {}, "tensors": damage}))
    assert recalled(Notes(cache.notes), model) == []


@pytest.mark.parametrize(
    ("paths", "loaded"),
    [
        (["model.safetensors", "vision-lora/adapter_model.safetensors", "w.bin"], ["model.safetensors"]),
        (["consolidated.safetensors", "m-1.safetensors", "m-2.safetensors"], ["m-1.safetensors", "m-2.safetensors"]),
        (["consolidated.safetensors"], ["consolidated.safetensors"]),
        (["fp8/a.safetensors", "fp8/b.safetensors"], ["fp8/a.safetensors", "fp8/b.safetensors"]),
        (["model.safetensors.index.json"], []),
    ],
)
def test_weights_that_are_there_twice_count_once(paths: list[str], loaded: list[str]) -> None:
    files = tuple(HashedFile(path, 100, sha256="2" * 64) for path in paths)
    assert [file.path for file in hf_tensors.weight_files(Model("lab/m", "c" * 40, "main", files))] == loaded


def test_a_model_without_safetensors_says_so(tmp_path: Path) -> None:
    model = Model("lab/m", "c" * 40, "main", (HashedFile("m.gguf", 100, sha256="2" * 64),))
    found = weights_of(model, Cache(tmp_path, "lab/m"), None)
    assert found.problem == "lab/m has no safetensors files among the chosen ones"


def test_headers_without_end_are_refused(monkeypatch: pytest.MonkeyPatch, hub: Hub, tmp_path: Path) -> None:
    monkeypatch.setattr(hf_tensors, "MOST_BYTES", 100_000)
    model, _gated = hub.model("lab/open", "main")
    assert "which no model needs" in weights_of(model, Cache(tmp_path, "lab/open"), hub).problem
