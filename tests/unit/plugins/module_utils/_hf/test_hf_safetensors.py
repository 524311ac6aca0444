# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of safetensors files: right ones, damaged ones, and what a summary makes of them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import safetensors
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.safetensors import (
    BITS,
    HeaderError,
    Tensor,
    header_bytes,
    parse,
    pattern,
    summarise,
)
from damaged import meant_for_people, values
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.from_regex(r"[a-z]{1,4}(\.([0-9]{1,3}|[a-z_0-9]{1,6})){0,4}", fullmatch=True)


def header_of(tensors: dict[str, tuple[str, list[int], int]]) -> tuple[bytes, int]:
    """Return a header of tensors by dtype, shape and bytes, and the size of the file."""
    rows: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, count) in tensors.items():
        rows[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + count]}
        at += count
    header = json.dumps(rows).encode()
    return header, 8 + len(header) + at


@st.composite
def models(draw: st.DrawFn) -> dict[str, tuple[str, list[int], int]]:
    tensors = {}
    for name in draw(st.lists(NAMES, unique=True, max_size=8)):
        dtype = draw(st.sampled_from([*BITS, "NEW_TYPE"]))
        shape = [8 * draw(st.integers(0, 4)), *draw(st.lists(st.integers(0, 5), max_size=2))]
        count = shape[0]
        for length in shape[1:]:
            count *= length
        tensors[name] = (dtype, shape, count * BITS.get(dtype, 12) // 8)
    return tensors


@given(models())
def test_a_header_is_read_as_it_was_written(tensors: dict[str, tuple[str, list[int], int]]) -> None:
    header, size = header_of(tensors)
    start = len(header).to_bytes(8, "little")
    assert header_bytes(start, size, "f") == len(header)
    found = parse(header, size, "f")
    assert found == [Tensor(name, dtype, count) for name, (dtype, _shape, count) in tensors.items()]
    rows = summarise(found)
    assert sum(row["bytes"] for row in rows) == size - 8 - len(header)
    assert sum(row["count"] for row in rows) == len(tensors)
    assert len({(row["name"], row["dtype"]) for row in rows}) == len(rows)
    assert not any(re.search(r"(^|\.)\d+(\.|$)", row["name"]) for row in rows)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("model.layers.0.mlp.experts.127.down_proj.weight", "model.layers.*.mlp.experts.*.down_proj.weight"),
        ("12.34.w", "*.*.w"),
        ("h.7", "h.*"),
        ("7", "*"),
        ("w2.layer1.conv_3", "w2.layer1.conv_3"),
        ("a..1.b", "a..*.b"),
        ("h.²", "h.²"),
    ],
)
def test_numbers_alone_become_asterisks(name: str, told: str) -> None:
    assert pattern(name) == told


ROW = {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("rows", "size", "says"),
    [
        ({"w": ROW}, 9, "end at byte 8 of the data, and the data has 9 bytes"),
        ({"w": ROW}, 7, "end at byte 8"),
        ({}, 1, "end at byte 0"),
        ({"w": {**ROW, "data_offsets": [2, 10]}}, 10, "leave a gap at byte 0"),
        ({"w": ROW, "v": {**ROW, "data_offsets": [7, 15]}}, 15, "overlap at byte 7"),
        ({"w": ROW, "v": {**ROW, "data_offsets": [0, 8]}}, 8, "overlap at byte 0"),
        ({"w": {**ROW, "data_offsets": [8, 0]}}, 8, "lies from byte 8 to 0"),
        ({"w": {**ROW, "data_offsets": [-8, 0]}}, 8, "lies from byte -8"),
        ({"w": {**ROW, "data_offsets": [0, 2**80]}}, 8, "lies from byte 0 to 1208925819614629174706176"),
        ({"w": {**ROW, "shape": [2, 3]}}, 8, "'w' of shape [2, 3] and type BF16 has 8 bytes"),
        ({"w": {**ROW, "shape": [1] * 40}}, 8, "larger than any model's"),
        ({"w" * 600: ROW}, 8, "larger than any model's"),
        ({"w": {**ROW, "shape": "ab"}}, 8, "lacks a dtype, a shape or offsets"),
        ({"w": {**ROW, "shape": [2.0, 2.0]}}, 8, "values of another kind"),
        ({"w": {**ROW, "dtype": None}}, 8, "values of another kind"),
        ({"w": {**ROW, "data_offsets": [0, 8.0]}}, 8, "values of another kind"),
        ({"w": {**ROW, "data_offsets": [0, 4, 8]}}, 8, "lacks a dtype, a shape or offsets"),
        ({"w": {"dtype": "BF16", "shape": []}}, 8, "lacks a dtype, a shape or offsets"),
        ({"w": [1]}, 8, "lacks a dtype, a shape or offsets"),
        ([], 0, "no JSON object (list)"),
    ],
)
def test_a_header_that_does_not_describe_its_file_is_refused(rows: Any, size: int, says: str) -> None:
    header = json.dumps(rows).encode()
    with pytest.raises(HeaderError) as refused:
        parse(header, 8 + len(header) + size, "/c/model.safetensors")
    assert says in str(refused.value)
    assert str(refused.value).startswith("/c/model.safetensors")
    assert str(refused.value).endswith("bring the file again, or choose another revision of the model")


@pytest.mark.parametrize(
    ("start", "size"),
    [
        (b"", 0),
        (b"\x02", 100),
        ((93).to_bytes(8, "little"), 100),
        ((2**63).to_bytes(8, "little"), 2**40),
        ((100_000_001).to_bytes(8, "little"), 2**40),
        (bytes(8), 8),
        (b"version ", 130),  # a pointer of git's large file storage
    ],
)
def test_an_absurd_length_is_refused(start: bytes, size: int) -> None:
    with pytest.raises(
        HeaderError, match=rf"^/c/m.safetensors is no safetensors file of {size} bytes, for its first 8"
    ):
        header_bytes(start, size, "/c/m.safetensors")


def test_a_type_that_nobody_knows_is_a_word() -> None:
    header, size = header_of({"w": ("Q9_SUPER", [3], 17)})
    assert summarise(parse(header, size, "f")) == [{"name": "w", "dtype": "Q9_SUPER", "count": 1, "bytes": 17}]


def test_a_summary_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors, "MOST_ROWS", 3)
    with pytest.raises(HeaderError, match="4 kinds of tensors are more than the 3"):
        summarise([Tensor(f"w{number}x", "BF16", 1) for number in range(4)])


def test_the_summary_of_a_large_model_is_short() -> None:
    """It is printed where Ansible prints results, with -v, and must not fill a log."""
    parts = ("weight", "weight_scale", "weight_scale_2", "input_scale")
    kinds = [f"mlp.experts.{{}}.{one}_proj.{part}" for one in ("gate", "up", "down") for part in parts]
    kinds += [f"self_attn.{one}_proj.{part}" for one in "qkvo" for part in (*parts, "k_scale")]
    kinds += ["input_layernorm.weight", "post_attention_layernorm.weight", "mlp.gate.weight"]
    tensors = [
        Tensor(f"model.layers.{layer}.{kind.format(expert)}", "U8", 1)
        for layer in range(94)
        for expert in range(8)
        for kind in kinds
    ]
    rows = summarise(tensors)
    assert len(rows) == len(kinds)
    assert len(json.dumps(rows)) < 6000


DAMAGED = values({"w": ROW, "v": {"dtype": "U8", "shape": [1], "data_offsets": [8, 9]}, "__metadata__": {"a": "b"}})


@given(
    DAMAGED.map(lambda rows: json.dumps(rows).encode()) | st.binary(max_size=60) | st.just(b"[" * 100_000),
    st.integers(0, 40),
)
def test_no_header_raises_anything_else(header: bytes, more: int) -> None:
    found = meant_for_people(parse, header, 8 + len(header) + more, "f")
    if isinstance(found, HeaderError):
        assert str(found).startswith("f")
        assert len(str(found)) < 1000
    else:
        assert sum(tensor.bytes for tensor in found) == more


@given(st.binary(max_size=12), st.integers(0, 2**64))
def test_no_beginning_raises_anything_else(start: bytes, size: int) -> None:
    try:
        length = header_bytes(start, size, "f")
    except HeaderError:
        return
    assert 2 <= length <= size - 8
