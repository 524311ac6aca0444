# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever hosts, hubs and people give to the serving, the models and the copies, what comes of it is a sentence.

What is fed is mostly right, with a part replaced: null where a mapping is expected, a list where a string is.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import cluster, contract, exposed, host, trtllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.hostfile import HostfileError, validate_nodes
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.state import problems_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import directory, hub
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.client import failure
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import access
from damaged import values
from hypothesis import given, settings
from hypothesis import strategies as st

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.none() | st.integers(0, 3) | st.text(max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none() | st.integers(0, 3), max_size=2),
)


SHA1, SHA256, COMMIT = "1" * 40, "2" * 64, "c" * 40
INFO = {
    "sha": COMMIT,
    "gated": False,
    "siblings": [
        {"rfilename": "config.json", "size": 3, "blobId": SHA1},
        {"rfilename": "a/w.safetensors", "size": 9, "blobId": "9" * 40, "lfs": {"sha256": SHA256, "size": 9}},
    ],
}


@given(
    values(INFO, wrong=JUNK).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=40)
    | st.just(b"[" * 100_000)
)
def test_whatever_a_hub_answers(body: bytes) -> None:
    with contextlib.suppress(hub.HubError):
        model, _gated = hub.parse_model_info(body, "lab/m", "main")
        assert all(isinstance(file.path, str) and isinstance(file.size, int) for file in model.files)
    with contextlib.suppress(hub.HubError):
        assert isinstance(hub.parse_config(body, HashedFile("config.json", len(body), git_sha1=""), "the place"), dict)


@given(st.text(max_size=40) | st.from_regex(r"https?://[a-z0-9.\[\]:@%/-]{0,12}", fullmatch=True))
def test_whatever_is_given_as_a_hub(endpoint: str) -> None:
    with contextlib.suppress(hub.HubError):
        assert hub.Hub(endpoint).endpoint.startswith("http")


CONFIG = {
    "model_type": "gpt_oss",
    "num_attention_heads": 64,
    "text_config": {"num_attention_heads": 64},
}
ASKED = {
    "options": {
        "kv_cache_config": {"dtype": "fp8", "free_gpu_memory_fraction": 0.8},
        "tensor_parallel_size": 2,
        "cuda_graph_config": {"batch_sizes": [1, 2]},
        "speculative_config": {"decoding_type": "MTP", "draft_len_schedule": {"1": 2}},
        "world_size": 2,
    },
    "arguments": {"tp_size": 2, "log_level": "info", "kv_cache_free_gpu_memory_fraction": 0.8, "backend": "pytorch"},
    "config": CONFIG,
    "version": "1.3.0rc5",
    "image": "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5",
    "api_host": "127.0.0.1",
}
REPO = "/hub/models--lab--m"
TEXTS = ("version", "image", "api_host")


@settings(max_examples=400)
@given(
    values(ASKED, whole=False, wrong=JUNK),
    st.sampled_from(["1.2.1", "1.3.0rc5", "1.3.0", "any", None]),
    st.sampled_from([None, "_autodeploy"]),
)
def test_whatever_is_asked_of_tensorrt_llm(asked: dict[str, Any], version: str | None, backend: str | None) -> None:
    for name, value in ASKED.items():  # what Ansible makes of options by their types
        given = asked.get(name, value)
        asked[name] = str(given) if name in TEXTS else given if isinstance(given, dict) else value
    asked["version"] = version or asked["version"]
    if backend:
        asked["arguments"]["backend"] = backend
    request = trtllm.Request(members=["a", "b"], snapshot=f"{REPO}/snapshots/c", repo_dir=REPO, **asked)
    with contextlib.suppress(ServeError):
        plan = trtllm.plan(request)
        assert plan["world"] == 2
        assert all(isinstance(word, str) for word in plan["serve"])


FABRIC = {
    f"spark{number}": {
        "control_address": f"192.168.100.{number}",
        "control_netdev": "enP7s7",
        "control_network": "10.0.0.0/8",
        "links": [
            {"netdev": "enp1s0f0np0", "rdma_device": "rocep1s0f0", "address": f"192.168.100.{number}/24"},
            {"netdev": "enP2p1s0f0np0", "rdma_device": "roceP2p1s0f0", "address": f"192.168.101.{number}/24"},
        ],
    }
    for number in (1, 2)
}
ENGINE = {"settings": {"name": "trtllm"}, "serve": ["trtllm-serve"], "environment": {"NCCL_DEBUG": "INFO"}}


@given(values(FABRIC, whole=False, wrong=JUNK))
def test_whatever_is_told_of_the_fabric(fabric: dict[str, Any]) -> None:
    with contextlib.suppress(ServeError):
        told_all, nodes = cluster.plan(cluster.Request(["spark1", "spark2"], ENGINE, fabric))
        assert json.dumps([told_all, nodes])
        assert all(isinstance(value, str) for one in nodes.values() for value in one["environment"].values())


@given(st.lists(values({"address": "192.168.100.10", "slots": 1}, whole=False, wrong=JUNK), max_size=3))
def test_whatever_stands_for_a_node_of_a_hostfile(nodes: list[dict[str, Any]]) -> None:
    nodes = [{"slots": one.get("slots", 1), "address": str(one.get("address"))} for one in nodes]
    with contextlib.suppress(HostfileError):
        validate_nodes(nodes)


STATE = {
    "at": 1.5,
    "phase": "serving",
    "reason": "",
    "config": "digest",
    "began": 1.0,
    "starts": 1,
    "ranks": {"spark1": {"transport": "IB", "devices": "rocep1s0f0", "why": ""}},
    "model": "m",
}


@given(values(STATE, wrong=JUNK).map(json.dumps) | st.text(max_size=20) | st.just("[" * 100_000))
def test_whatever_stands_in_the_state_file(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, contract.STATE).write_text(text, encoding="utf-8", errors="replace")
        state = host.state_in(Path(folder))
    assert isinstance(state, dict)
    settled, problems = problems_of(state, "digest", ["spark1"], require_rdma=True)
    assert isinstance(settled, bool)
    assert all(isinstance(problem, str) for problem in problems)


ADDRESSES = [{"ifname": "wlP9s9", "addr_info": [{"local": "10.0.0.7", "prefixlen": 24, "scope": "global"}]}, {}]


@given(values(ADDRESSES, wrong=JUNK).map(json.dumps) | st.text(max_size=20))
def test_whatever_ip_prints(text: str) -> None:
    assert all(isinstance(line, str) for line in exposed.addresses(text))


NOTES = {"verified": {SHA1: [1, 2, 3, 4]}, "refs": {"main": COMMIT}, "trees": {COMMIT: "{}"}}
TREE = {"format_version": 1, "files": {"config.json": {"size": 3, "blob_id": SHA1}, "x": {"size": 1, "blob_id": SHA1}}}
INDEX = {"weight_map": {"layer": "w.safetensors"}}
MODEL = hub.Model(
    "lab/m",
    COMMIT,
    "main",
    (HashedFile("config.json", 3, git_sha1=SHA1), HashedFile("model.safetensors.index.json", 9, git_sha1="3" * 40)),
)


@settings(deadline=None)
@given(
    values(NOTES, wrong=JUNK).map(json.dumps),
    values(TREE, wrong=JUNK).map(json.dumps),
    values(INDEX, wrong=JUNK).map(json.dumps),
)
def test_whatever_stands_in_the_files_of_a_cache(noted: str, tree: str, index: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = hf_cache.Cache(folder, "lab/m")
        for path, text in (
            (cache.notes, noted),
            (cache.tree(COMMIT), tree),
            (cache.blobs / ("3" * 40), index),
            (cache.source, noted),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        cache.snapshot(COMMIT).mkdir(parents=True)
        notes = hf_cache.Notes(cache.notes)
        report = hf_cache.look(cache, MODEL, notes, hf_cache.READ_NONE)
        assert json.dumps([report.problems(), hf_cache.describe(cache, MODEL, report)])
        hf_cache.index_errors(cache, MODEL)
        directory.recalled(cache)
        hf_cache.link(cache, MODEL, notes)
        notes.save()
        hf_cache.remove(cache, with_model=False, check_mode=False)


def as_directory(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "inner").write_text("x")


def as_dead_link(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/nowhere/at/all")


def as_loop(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.name)


def as_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff\x00")


def as_pipe(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Nothing waits for a pipe."""

    def late(_number: int, _frame: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


MAKERS = (as_directory, as_dead_link, as_loop, as_file, as_pipe)
ODD = pytest.mark.parametrize("make", MAKERS)
PARTS: dict[str, Callable[[hf_cache.Cache], Path]] = {
    "root": lambda cache: cache.root,
    "hub": lambda cache: cache.hub,
    "repo_dir": lambda cache: cache.repo_dir,
    "blobs": lambda cache: cache.blobs,
    "a blob": lambda cache: cache.blobs / SHA1,
    "a part": lambda cache: cache.partial / SHA1,
    "locks": lambda cache: cache.locks,
    "snapshots": lambda cache: cache.repo_dir / "snapshots",
    "a snapshot": lambda cache: cache.snapshot(COMMIT),
    "a file's link": lambda cache: cache.snapshot(COMMIT) / "config.json",
    "refs": lambda cache: cache.ref("x").parent,
    "a ref": lambda cache: cache.ref("main"),
    "trees": lambda cache: cache.tree(COMMIT).parent,
    "a tree": lambda cache: cache.tree(COMMIT),
    "our directory": lambda cache: cache.own,
    "our notes": lambda cache: cache.notes,
    "our lock": lambda cache: cache.lock,
}


WAITED_FOR = ("our lock", as_pipe)  # a pipe there is nobody's mistake


@pytest.mark.parametrize(("part", "make"), [pair for pair in itertools.product(PARTS, MAKERS) if pair != WAITED_FOR])
def test_whatever_lies_in_the_place_of_a_part_of_a_cache(
    tmp_path: Path, part: str, make: Callable[[Path], None]
) -> None:
    content = b"{} "
    file = HashedFile("config.json", len(content), git_sha1=SHA1)
    model = MODEL._replace(files=(file,))
    cache = hf_cache.Cache(tmp_path / "hf", "lab/m")
    place = PARTS[part](cache)
    place.parent.mkdir(parents=True, exist_ok=True)
    make(place)

    def fetch(files: list[HashedFile]) -> str:
        cache.blobs.mkdir(parents=True, exist_ok=True)
        return "nothing comes"

    said = []
    for step in (
        lambda: hf_cache.obstacles(cache),
        lambda: hf_cache.free_bytes(cache),
        lambda: hf_cache.look(cache, model, hf_cache.Notes(cache.notes)),
        lambda: hf_cache.bring(cache, model, hf_cache.Notes(cache.notes), fetch, 1, [], sleep=lambda _s: None),
        lambda: hf_cache.link(cache, model, hf_cache.Notes(cache.notes)),
        lambda: hf_cache.list_models(cache.root),
        lambda: hf_cache.remove(cache, with_model=True, check_mode=True),
        lambda: hf_cache.remove(cache, with_model=False, check_mode=False),
    ):
        try:
            step()
        except (hf_cache.CacheError, OSError) as error:
            said.append(told(error))
    assert not [line for line in said if line.startswith("[Errno")], said


@ODD
def test_whatever_lies_in_a_directory_that_is_taken_for_a_model(tmp_path: Path, make: Callable[[Path], None]) -> None:
    top = tmp_path / "model"
    top.mkdir()
    (top / "config.json").write_text("{}")
    make(top / "weights")
    with contextlib.suppress(hub.HubError):
        assert directory.describe(top, "lab/m", hf_cache.Cache(tmp_path / "hf", "lab/m")).model


@pytest.mark.parametrize("name", [b"\xff.safetensors", b"new\nline", b"tab\t"])
def test_a_file_whose_name_no_cache_can_hold_is_named(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "config.json").write_text("{}")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("x")
    with pytest.raises(hub.HubError, match="no cache can hold"):
        directory.describe(tmp_path, "lab/m", hf_cache.Cache(tmp_path / "hf", "lab/m"))


CONNECTION = {"address": "192.168.100.10", "port": 22, "user": "nvidia", "streams": 4, "encrypted": True}


@given(values(CONNECTION, wrong=JUNK).map(json.dumps) | st.text(max_size=20))
def test_whatever_tells_how_the_leader_is_reached(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = access.Place(folder, "lab/m")
        place.folder.mkdir()
        place.connection.write_text(text, encoding="utf-8", errors="replace")
        with contextlib.suppress(access.CopyError):
            assert access.ssh_argv(place, place.connected())


@given(st.binary(max_size=60))
def test_whatever_bytes_stand_in_authorized_keys(before: bytes) -> None:
    line = f"ssh-ed25519 AAAA {access.COMMENT}lab/m\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "authorized_keys")
        path.write_bytes(before)
        text = access.read_keys(path)
        opened = access.with_lines(text, [line], "lab/m")
        closed = access.with_lines(opened, [], "lab/m").encode(errors="surrogateescape")
    assert closed == before


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        ({"rsa": "ssh-rsa AAAA root@spark1", "dsa": "ssh-dss AAAA root@spark1"}, ["ssh-rsa AAAA"]),
        ({"rsa": "", "ed25519": "ssh-ed25519 AAAA root@spark1\n"}, ["ssh-ed25519 AAAA"]),
    ],
)
def test_host_keys_of_other_kinds_and_broken_ones_are_passed_over(texts: dict[str, str], kept: list[str]) -> None:
    assert access.host_keys_in(texts) == kept


def test_a_host_without_usable_host_keys_is_told_what_to_do() -> None:
    for texts in ({}, {"/etc/ssh/ssh_host_rsa_key.pub": ""}):
        with pytest.raises(access.CopyError, match=r"no ssh host keys .*ssh-keygen -A"):
            access.host_keys_in(texts)


@given(st.text(max_size=200))
def test_whatever_hf_prints(output: str) -> None:
    reason, final = failure(output)
    assert reason
    assert isinstance(final, bool)
