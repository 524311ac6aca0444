# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engines can serve a model, with what known trouble, and which to try first."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_cli import FLAGS as TRTLLM_FLAGS
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue, engines, fit
from hypothesis import given
from hypothesis import strategies as st
from models_cases import DENSE, GB, HOSTILE, ROUTED, known

ROOT = Path(__file__).parents[5]

NAMES = {"trtllm", "vllm", "sglang"}


def asked(**said: Any) -> engines.Asked:
    own: dict[str, Any] = {
        "repo": "lab/one",
        "entry": catalogue.entry("lab/one"),
        "known": known(config={**DENSE, "quantization_config": {"quant_algo": "NVFP4"}}),
        "memory_mib": {"spark1": 122880, "spark2": 122880},
        "images": {"trtllm": "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"},
    }
    return engines.Asked(**{**own, **said})


def by_name(one: engines.Asked) -> dict[str, engines.Choice]:
    return {choice.engine: choice for choice in engines.choose(one)}


def test_all_that_is_known_is_of_one_form() -> None:
    data = engines.data()
    assert set(data["engines"]) == NAMES
    for about in data["engines"].values():
        assert set(about) == {"title", "licence", "formats", "drafts", "troubles"}
        assert {answer for answer, _source in about["formats"].values()} <= {engines.YES, engines.NO}
        assert all(source for _answer, source in about["formats"].values())
        for trouble in about["troubles"]:
            assert {"what", "mend", "source", "weight"} <= set(trouble)
            assert set(trouble) <= {
                "what",
                "mend",
                "source",
                "weight",
                "sparks",
                "not_tensor",
                "formats",
                "families",
                "moe",
                "versions",
            }
            assert trouble["weight"] in (engines.MENDED, engines.COSTS, engines.ENDS)
            assert set(trouble.get("formats", ())) <= set(about["formats"])
    for purpose in data["purposes"].values():
        assert set(purpose["order"]) == NAMES
        assert len(purpose["order"]) == 3


def test_settings_for_a_purpose_are_what_the_engines_take() -> None:
    profiles = engines.data()["profiles"]
    assert set(profiles) == {"chatbot", "agent"} <= set(engines.data()["purposes"])
    for of in profiles.values():
        assert set(of) == NAMES
        assert [name for name in of["trtllm"] if name not in TRTLLM_FLAGS] == []
        for name, engine in engines.EVERY_NODE.items():
            assert [found.text for found in engine.parser.findings(of[name])] == []


def test_the_chunks_are_those_of_the_roles_defaults() -> None:
    for name, engine in engines.EVERY_NODE.items():
        text = (ROOT / "roles" / f"{name}_serve" / "defaults" / "main.yml").read_text()
        said = yaml.safe_load(text)[f"{name}_serve_arguments"]
        assert engine.parser.said(said, engine.limits["chunk"][0]) == engines.CHUNKS[name]


def test_the_page_has_every_purpose_and_its_order() -> None:
    page = (ROOT / "docs" / "engines.md").read_text()
    titles = {name: about["title"] for name, about in engines.data()["engines"].items()}
    for name, purpose in engines.data()["purposes"].items():
        order = ", ".join(titles[one] for one in purpose["order"])
        assert re.search(rf"^\| `{name}`(?: \(default\))? \| {order} \|", page, re.MULTILINE)


@pytest.mark.parametrize(
    ("config", "quantisation", "repo", "kind"),
    [
        ({"quantization_config": {"quant_algo": "NVFP4"}}, "FP8", "a/b-FP8", "NVFP4"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "", "a/b", "MXFP4"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "", "a/b", "COMPRESSED-TENSORS"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, "", "a/b", "FP8"),
        ({}, "NVFP4", "a/b", "NVFP4"),
        ({}, "", "nvidia/Qwen3-32B-FP4", "NVFP4"),
        ({}, "", "a/b-AWQ", "AWQ"),
        ({"torch_dtype": "bfloat16"}, "", "a/b", "BF16"),
        ({"quantization_config": None}, "", "a/b", ""),
    ],
)
def test_the_format_of_a_checkpoint(config: dict[str, Any], quantisation: str, repo: str, kind: str) -> None:
    entry = {**catalogue.entry("lab/one"), "quantisation": quantisation}
    told = known(config={"model_type": "llama", **config})
    assert engines.format_of(asked(repo=repo, entry=entry, known=told)) == kind


def test_all_three_fit_and_the_purpose_orders() -> None:
    found = engines.choose(asked())
    assert {one.answer for one in found} == {fit.FITS}
    assert [(one.engine, one.place) for one in found] == [("trtllm", 1), ("sglang", 2), ("vllm", 3)]
    assert found[0].why.startswith("NVIDIA's recipes")
    assert [one.why for one in found[1:]] == ["", ""]
    agent = engines.choose(asked(purpose="agent"))
    assert [one.engine for one in agent][:1] == ["sglang"]
    assert agent[0].arguments["tool_call_parser"] == "auto"


def test_what_ends_servings_comes_after_what_does_not_and_is_told() -> None:
    first, *_rest = engines.choose(asked(purpose="many_models"))
    assert first.engine == "sglang"
    assert first.why == "vLLM would suit this better, and was reported to end servings such as this one"
    alone = engines.choose(asked(purpose="many_models", memory_mib={"spark1": 122880}))
    assert alone[0].engine == "vllm"
    assert not [one for one in alone[0].troubles if one.weight == engines.ENDS]


def test_what_does_not_fit_is_no_choice_and_the_mend_is_in_its_own_words() -> None:
    found = by_name(asked(known=known(bytes=150 * GB, weights_bytes=150 * GB), memory_mib={"spark1": 122880}))
    assert {one.answer for one in found.values()} == {fit.DOES_NOT}
    assert {one.place for one in found.values()} == {0}
    assert found["vllm"].would_fit == ("more Sparks: 2 such as these, with tensor_parallel_size 2",)
    assert found["sglang"].would_fit == ("more Sparks: 2 such as these, with tp_size 2",)


def test_a_format_that_an_engine_does_not_take_is_refused_and_one_that_nobody_knows_is_a_doubt() -> None:
    gguf = by_name(asked(repo="lab/one-GGUF", known=known()))
    assert (gguf["trtllm"].answer, gguf["trtllm"].takes_format) == (fit.DOES_NOT, engines.NO)
    assert gguf["trtllm"].reasons[0].startswith("TensorRT-LLM takes no checkpoint in GGUF (https://")
    assert gguf["sglang"].answer == fit.FITS
    assert (gguf["vllm"].answer, gguf["vllm"].takes_format) == (fit.CANNOT_TELL, engines.UNKNOWN)
    untold = by_name(asked(known=known()))
    assert {one.answer for one in untold.values()} == {fit.CANNOT_TELL}
    assert "since nothing tells its format" in untold["vllm"].reasons[-1]


def test_trouble_shows_where_it_may_be_met() -> None:
    def whats(**said: Any) -> str:
        return " ".join(one.what for choice in engines.choose(asked(**said)) for one in choice.troubles)

    routed = known(config={**ROUTED, "quantization_config": {"quant_algo": "NVFP4"}})
    assert "NCCL 2.30.4" in whats(known=routed)
    assert "NCCL 2.30.4" not in whats()
    assert "very slow on two Sparks" in whats(known=routed)
    one = {"spark1": 122880}
    assert "two Sparks" not in whats(memory_mib=one)
    assert "a pipeline runs without" in whats(memory_mib={f"spark{number}": 122880 for number in (1, 2, 3)})
    images = {number: f"nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc{number}" for number in (13, 24)}
    assert "can lose accuracy severely" in whats(known=routed, images={"trtllm": images[24]})
    assert "can lose accuracy severely" not in whats(known=routed, images={"trtllm": images[13]})


def test_sglang_has_less_room_for_the_kv_cache_the_larger_its_chunks_are() -> None:
    setting = engines.setting_of("sglang", asked())
    assert (setting.tp, setting.pp, setting.max_num_tokens, setting.overhead_mib) == (2, 1, 4096, 512 + 6144 + 8)
    assert engines.setting_of("vllm", asked(memory_mib={str(n): 1 for n in range(3)})).pp == 3


def test_a_purpose_that_is_none_is_refused() -> None:
    with pytest.raises(engines.EnginesError, match="'agents': say one of any, chatbot, agent, many"):
        engines.choose(asked(purpose="agents"))


def test_the_table_says_it_all_in_lines_that_fit() -> None:
    wanted = asked(purpose="agent", images={"sglang": "lmsysorg/sglang:latest-cu130"})
    lines = engines.table(engines.choose(wanted), wanted)
    text = "\n".join(lines)
    assert lines[0] == "lab/one on spark1 and spark2, for agent"
    assert re.search(r"^1    SGLang +fits +NVFP4 .*lmsysorg/sglang:latest-cu130$", text, re.MULTILINE)
    assert "Try it: -e spark_engine=sglang -e spark_model=lab/one" in text
    assert "enable_cache_report: true" in text
    assert "Mended here: without SGLANG_HOST_IP" in text
    assert "https://github.com/sgl-project/sglang/issues/33289" in text.replace("\n    ", "")
    assert text.isascii()


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3))
def test_whatever_a_hub_tells_is_judged(name: str, words: dict[str, str]) -> None:
    told = known(config={"model_type": name, "quantization_config": words}, bytes=0, weights_bytes=0)
    wanted = asked(known=told, entry={**catalogue.entry("lab/one"), "quantisation": HOSTILE})
    found = engines.choose(wanted)
    assert json.dumps(engines.document(found, wanted, 0.0))
    assert engines.table(found, wanted)
