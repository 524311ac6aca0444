# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real Hugging Face client against the lab's hub. The same with 200 MB is part of the lab's own tests."""

from __future__ import annotations

import contextlib
import filecmp
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import hub as hf_hub
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import resume
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.child import run_while_moving
from virtual_internet.seed import seed_repo
from virtual_internet_support import GOOD, OTHER, Lab, running, write_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

HF = Path(sys.executable).with_name("hf")
huggingface_hub = pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.skipif(not HF.exists(), reason="the hf command is not installed beside this Python")

SIZE = 36_000_000
CHUNK = 10 << 20  # the client writes in pieces of this size; what it has of the next one is lost with the connection


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root = tmp_path_factory.mktemp("internet")
    seed_repo(root, "lab/open", SIZE, shards=3, tags=("v1.0",))
    seed_repo(root, "lab/xet", 9_500_000, shards=2, xet=True)
    seed_repo(root, "lab/gated", 10_000, gated="auto")
    seed_repo(root, "lab/private", 10_000, private=True)
    write_tokens(root, ["lab/gated", "lab/private"])
    with running(root) as made:
        yield made


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    shared_lab.reset()
    return shared_lab


def settings(lab: Lab, home: Path) -> dict[str, str]:
    """Return what `hf` needs to be told here."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home),
        "HF_ENDPOINT": lab.url("hub"),
        "NO_PROXY": "127.0.0.1",
        **{f"HF_HUB_DISABLE_{name}": "1" for name in ("TELEMETRY", "UPDATE_CHECK", "PROGRESS_BARS")},
    }


def start_hf(lab: Lab, home: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `hf` with an environment of its own."""
    return subprocess.Popen(
        [HF, *arguments],
        env={**settings(lab, home), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for `hf`; return its status, output and errors."""
    try:
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, errors


def snapshot(home: Path, repo_id: str) -> Path:
    (folder,) = (home / "hub" / f"models--{repo_id.replace('/', '--')}" / "snapshots").iterdir()
    return folder


def assert_same(lab: Lab, home: Path, repo_id: str) -> None:
    """Every file is there, byte for byte."""
    source = lab.root / "hub" / "models" / repo_id / "main"
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    copy = snapshot(home, repo_id)
    assert sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()) == names
    assert filecmp.cmpfiles(source, copy, names, shallow=False) == (names, [], [])


def test_three_disconnects(lab: Lab, tmp_path: Path) -> None:
    """Two clients side by side, with Xet and without, each cut off in the middle of every large file."""
    for index in (1, 2, 3):
        lab.fault(kind="cut", match=f"^/cdn/.*0000{index}-of", after_bytes=CHUNK, times=2)
    homes = {tmp_path / "xet": {}, tmp_path / "plain": {"HF_HUB_DISABLE_XET": "1"}}
    processes = [start_hf(lab, home, "download", "lab/open", **environment) for home, environment in homes.items()]
    for process in processes:
        status, _out, errors = end(process)
        assert (status, errors.count("Trying to resume download")) == (0, 3), errors
    assert lab.applied() == ["cut"] * 6
    for home in homes:
        assert_same(lab, home, "lab/open")
    served = lab.stats()["digests"].values()
    assert [row["bytes_sent"] for row in served] == [2 * row["size"] for row in served]  # each byte once, to each

    lab.reset()
    home = tmp_path / "xet"
    again = start_hf(lab, home, "download", "lab/open")
    offline = start_hf(lab, home, "download", "lab/open", HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:1")
    assert end(again)[0] == 0
    status, out, errors = end(offline)
    assert (status, str(snapshot(home, "lab/open")) in out) == (0, True), errors
    assert lab.stats()["content_bytes"] == 0


def on_disk(home: Path) -> int:
    """Return the bytes of the large files that are there, whole or on their way."""
    there = 0
    for path in home.glob("hub/models--*/blobs/*"):
        with contextlib.suppress(OSError):
            size = path.stat().st_size
            there += size if size > 1_000_000 else 0
    return there


def xet_requests(lab: Lab) -> int:
    return sum(row["requests"] for path, row in lab.stats()["paths"].items() if path.startswith("/xet/"))


def test_xet(lab: Lab, tmp_path: Path) -> None:
    """The real hf-xet takes the weights from the stand-in, byte for byte; without it they come by plain HTTP."""
    assert end(start_hf(lab, tmp_path / "xet", "download", "lab/xet"))[0] == 0
    assert_same(lab, tmp_path / "xet", "lab/xet")
    assert xet_requests(lab) >= 10
    assert not any("/cdn/" in path for path in lab.stats()["paths"])
    lab.reset()
    assert end(start_hf(lab, tmp_path / "plain", "download", "lab/xet", HF_HUB_DISABLE_XET="1"))[0] == 0
    assert_same(lab, tmp_path / "plain", "lab/xet")
    assert xet_requests(lab) == 0


def slow_xet(lab: Lab) -> None:
    """The first part of each file comes last: all others wait for it in the client's memory."""
    lab.fault(kind="slow", match="^/xet/.*/xorbs/.*/0$", bytes_per_second=130_000, times=None)
    lab.fault(kind="slow", match="^/xet/.*/xorbs/.*/[1-9]$", bytes_per_second=400_000, times=None)


def test_what_xet_has_not_written_yet_is_not_thrown_away(lab: Lab, tmp_path: Path) -> None:
    """Nothing reaches the disk for longer than the stall, and the product leaves `hf` alone."""
    slow_xet(lab)
    began, first = time.monotonic(), []

    def moved() -> int:
        there = on_disk(tmp_path)
        if there and not first:
            first.append(time.monotonic() - began)
        return there

    rc, said = run_while_moving([str(HF), "download", "lab/xet"], settings(lab, tmp_path), moved, 4, every=0.3)
    assert rc == 0, said
    assert first[0] > 6, "the disk alone would have ended it"
    assert_same(lab, tmp_path, "lab/xet")


def test_xet_that_hangs_is_ended(lab: Lab, tmp_path: Path) -> None:
    lab.fault(kind="hang", match="^/xet/.*/xorbs/", seconds=600, times=None)
    argv, began = [str(HF), "download", "lab/xet"], time.monotonic()
    assert run_while_moving(argv, settings(lab, tmp_path), lambda: on_disk(tmp_path), 6, every=0.3)[0] is None
    assert time.monotonic() - began < 40


def test_what_an_ended_hf_has_left_is_completed(lab: Lab, tmp_path: Path) -> None:
    """Xet hangs in the middle of both files: the rest of them comes by plain HTTP, and no byte comes twice."""
    lab.fault(kind="hang", match="^/xet/.*/xorbs/.*/[3-9]$", seconds=600, times=None)
    argv, end = [str(HF), "download", "lab/xet"], time.monotonic() + 120

    def moved() -> float:
        """What is on the disk. Until something is, hf starts, which takes long on a busy machine."""
        return on_disk(tmp_path) or min(time.monotonic(), end)

    assert run_while_moving(argv, settings(lab, tmp_path), moved, 6, every=0.3)[0] is None
    there = on_disk(tmp_path)
    assert there > 4_000_000
    lab.reset()
    cache, model = hf_cache.Cache(tmp_path, "lab/xet"), hf_hub.Hub(lab.url("hub")).model("lab/xet", "main")[0]
    notes = hf_cache.Notes(cache.notes)
    report = hf_cache.look(cache, model, notes)
    hf_cache.clear_wrong(cache, report)
    hub = resume.Source(lab.url("hub"), "", "", 10)
    wanted = [file for file in report.to_fetch() if file.sha256]
    assert len(wanted) == 2
    lab.fault(kind="cut", match="^/cdn/.*00001-of", after_bytes=100_000, how="rst")
    left, broken = resume.complete(cache, model, wanted, hub, notes.verify)
    assert [file.path for file in left] == ["model-00001-of-00002.safetensors"]
    assert broken.startswith("model-00001-of-00002.safetensors: the rest of it did not come")
    assert resume.complete(cache, model, left, hub, notes.verify) == ([], "")
    assert lab.stats()["content_bytes"] == sum(file.size for file in wanted) - there
    assert [one.state for one in hf_cache.look(cache, model, notes).found if one.file in wanted] == ["unlinked"] * 2


def test_a_part_that_is_not_the_files_beginning_is_not_kept(lab: Lab, tmp_path: Path) -> None:
    cache, model = hf_cache.Cache(tmp_path, "lab/xet"), hf_hub.Hub(lab.url("hub")).model("lab/xet", "main")[0]
    file = next(file for file in model.files if file.sha256)
    cache.partial.mkdir(parents=True)
    part, hub = cache.partial / file.blob, resume.Source(lab.url("hub"), "", "", 10)
    for content in (b"other", bytes(file.size)):
        part.write_bytes(content)
        assert resume.complete(cache, model, [file], hub, lambda *_about: None) == ([file], "")
        assert not part.exists()


def test_tokens(lab: Lab, tmp_path: Path) -> None:
    restricted = "Access denied. Model 'lab/gated' requires approval."
    invalid = "Invalid credentials in Authorization header"
    cases = [
        ("lab/gated", "", restricted),
        ("lab/gated", OTHER, restricted),
        ("lab/open", "hf_bad", invalid),
        ("lab/gated", GOOD, None),
    ]
    homes = [tmp_path / str(index) for index in range(len(cases))]
    started = [
        start_hf(lab, home, "download", repo, "--include", "*.json", HF_TOKEN=token)
        for home, (repo, token, _words) in zip(homes, cases)
    ]
    for process, (repo, token, words) in zip(started, cases):
        status, _out, errors = end(process)
        assert (status == 0) is (words is None), (repo, token, errors)
        assert words is None or words in errors, (repo, token, errors)
    assert (snapshot(homes[-1], "lab/gated") / "config.json").is_file()


def test_who_am_i(lab: Lab) -> None:
    assert huggingface_hub.HfApi(lab.url("hub")).whoami(GOOD)["name"] == "alice"
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError, match="Invalid user token"):
        huggingface_hub.HfApi(lab.url("hub")).whoami("hf_bad")


@pytest.mark.parametrize(
    ("repo", "token", "error"),
    [
        ("lab/open", None, None),
        ("lab/gated", None, "GatedRepoError"),
        ("lab/gated", OTHER, "GatedRepoError"),
        ("lab/gated", GOOD, None),
        ("lab/private", None, "RepositoryNotFoundError"),
        ("lab/private", OTHER, "RepositoryNotFoundError"),
        ("lab/none", None, "RepositoryNotFoundError"),
        ("lab/none", GOOD, "RepositoryNotFoundError"),
        ("lab/open", "hf_bad", "HfHubHTTPError"),
    ],
)
def test_the_clients_own_errors(lab: Lab, repo: str, token: str | None, error: str | None) -> None:
    api = huggingface_hub.HfApi(lab.url("hub"), token=token or False)
    if error is None:
        api.auth_check(repo)
        return
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError) as caught:
        api.auth_check(repo)
    assert type(caught.value).__name__ == error


def test_the_api(lab: Lab) -> None:
    api = huggingface_hub.HfApi(lab.url("hub"), token=False)
    lab.internet.hub.page = 4  # so that the listing comes in pages
    try:
        tree = {row.path: row for row in api.list_repo_tree("lab/open", recursive=True, expand=True)}
    finally:
        lab.internet.hub.page = 1000
    info = api.model_info("lab/open", files_metadata=True)
    assert {sibling.rfilename for sibling in info.siblings} == {path for path in tree if path != "assets"}
    assert tree["assets"].tree_id
    weights = tree["model-00001-of-00003.safetensors"]
    assert (weights.size, weights.lfs.size, weights.xet_hash) == (SIZE // 3, SIZE // 3, None)
    assert [path.path for path in api.get_paths_info("lab/open", ["config.json", "none"])] == ["config.json"]
    refs = api.list_repo_refs("lab/open", include_pull_requests=True)
    assert [ref.target_commit for ref in refs.branches + refs.tags] == [info.sha, info.sha]
    with pytest.raises(huggingface_hub.errors.RevisionNotFoundError):
        api.model_info("lab/open", revision="none")
    with pytest.raises(huggingface_hub.errors.EntryNotFoundError):
        api.hf_hub_download("lab/open", "none.json")
