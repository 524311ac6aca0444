# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image consists of, which layers stay behind, and in which parts the rest is loaded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import image_source as source
from hypothesis import given
from hypothesis import strategies as st
from image_cases import NAMES, containerd_image, graph_image, layer_names

KINDS = st.sampled_from(["graph driver", "containerd"])


def read(image: str, blobs: dict[str, bytes], machine: str = "arm64") -> source.Image:
    return source.described(image, blobs.get, lambda name: name in blobs, machine)


def test_an_image_of_the_graph_driver() -> None:
    image, blobs = graph_image([b"lower", b"upper"])
    found = read(image, blobs)
    assert [layer.blob for layer in found.layers] == [layer.diff_id for layer in found.layers] == layer_names(found)
    assert (list(found.documents), found.beside) == ([image], ())


@pytest.mark.parametrize("beside", [False, True], ids=["a manifest", "an index with an attestation"])
def test_an_image_of_containerd(beside: bool) -> None:
    image, blobs = containerd_image([b"lower", b"upper"], beside=beside)
    found = read(image, blobs)
    assert [blobs[layer.blob] for layer in found.layers] == [b"packed lower", b"packed upper"]
    assert found.config["rootfs"]["diff_ids"] == [layer.diff_id for layer in found.layers]
    assert len(found.documents) == (5 if beside else 2)
    assert [blobs[one] for one in found.beside] == ([b"attested"] if beside else [])


def test_of_several_platforms_that_of_this_host_is_taken() -> None:
    image, blobs = containerd_image([b"x"], beside=True)
    with pytest.raises(source.ImageError, match="no part of it is for riscv64 and whole"):
        read(image, blobs, "riscv64")
    packed = next(name for name, content in blobs.items() if content == b"packed x")
    del blobs[packed]
    with pytest.raises(source.ImageError, match="no part of it is for arm64 and whole"):
        read(image, blobs)


@pytest.mark.parametrize(
    "document",
    [b"{", b"[]", b"{}", b'{"rootfs": 7}', b'{"rootfs": {"diff_ids": [7]}}', b'{"layers": [7], "config": {}}'],
)
def test_documents_that_cannot_be_read_are_named(document: bytes) -> None:
    def described() -> None:
        found = source.described("sha256:aa", lambda _name: document, lambda _name: True, "arm64")
        source.parts_of(found, 0, [], {}, "graph driver")

    with pytest.raises(source.ImageError):
        described()


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(source.ImageError, match="it is not there: sha256:1d"):
        read("sha256:1d", {})
    for name in ("", "sha256:x", "sha256:../../../../etc/passwd", "a" * 64):
        with pytest.raises(source.ImageError, match="is no SHA-256"):
            source.sha256_of(name)


@pytest.mark.parametrize(
    ("images", "count"),
    [
        ([], 0),
        ([["x"]], 0),
        ([["b", "c"]], 0),  # a layer without those below it is no such layer
        ([["a", "b", "x"], ["a"]], 2),
        ([["a", "b", "c"], []], 3),
    ],
)
def test_how_many_layers_are_there(images: list[list[str]], count: int) -> None:
    assert source.equal_beginning([source.Layer(one, one) for one in "abc"], images) == count


@given(NAMES, st.lists(NAMES, max_size=3))
def test_what_is_there_is_the_beginning_of_one_image(image: list[str], images: list[list[str]]) -> None:
    count = source.equal_beginning([source.Layer(one, one) for one in image], images)
    assert any(one[:count] == image[:count] for one in images) or not count


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.integers(0, 6), st.integers(0, 100), KINDS)
def test_parts_bring_every_layer_and_end_with_the_image(
    layers: list[bytes], first: int, least: int, store: str
) -> None:
    image, blobs = containerd_image(layers) if store == "containerd" else graph_image(layers)
    found = read(image, blobs)
    first = min(first, len(layers))
    known = {layer.blob for layer in found.layers[:first]} if store == "containerd" else set()
    sizes = {name: len(content) for name, content in blobs.items()}
    parts = source.parts_of(found, first, known, sizes, store, least)
    assert (parts[-1].id, parts[-1].documents) == (image, found.documents)
    came: set[str] = set(known)
    before = first
    for part in parts:
        came |= set(part.blobs)
        config = _config(part, store)
        own = config["rootfs"]["diff_ids"]
        assert own == [layer.diff_id for layer in found.layers[: len(own)]], "the lowest layers, and no others"
        assert (config.get("config", {}).get("Labels") or {}).get(source.LABEL) == (
            None if part is parts[-1] else image
        )
        if store == "containerd":
            assert {layer.blob for layer in found.layers[: len(own)]} <= came
        else:
            assert {layer.blob for layer in found.layers[before : len(own)]} == set(part.blobs), "each where it is new"
        before = len(own)
        assert all(source.digest_of(content) == name for name, content in part.documents.items())
        assert part.id in part.documents
    assert before == len(layers)
    for part in parts[:-1]:
        assert sum(sizes[one] for one in part.blobs) >= least


def _config(part: source.Part, store: str) -> dict[str, Any]:
    """The configuration of the image that an archive says it holds."""
    if store == "containerd":
        (entry,) = json.loads(part.manifest["index.json"])["manifests"]
        assert (entry["digest"], entry["size"]) == (part.id, len(part.documents[part.id]))
        manifest = json.loads(part.documents[part.id])
        return dict(json.loads(part.documents[manifest["config"]["digest"]]))
    (entry,) = json.loads(part.manifest["manifest.json"])
    assert entry["Config"] == source.path_of(part.id)
    config = dict(json.loads(part.documents[part.id]))
    assert entry["Layers"] == [source.path_of(one) for one in config["rootfs"]["diff_ids"]]
    return config
