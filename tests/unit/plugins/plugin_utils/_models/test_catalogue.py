# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: every row of the lists that it is made from, the command of each, and how a user changes it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sparkops.dgx_spark.plugins.filter.model_entry import model_entry
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import image_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import architecture, catalogue, fit
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.catalogue import CatalogueError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.settings import setting_of
from hypothesis import given
from hypothesis import strategies as st

SPARK = 122_880  # MiB, of 128 GB
ENTRIES = catalogue.load()
NOBODYS = catalogue.entry("no/body")

#: NVIDIA's list for DGX Spark of October 2025, by handle; all but the last are for one Spark
NVIDIAS = [
    "openai/gpt-oss-20b",
    "openai/gpt-oss-120b",
    "nvidia/Llama-3.1-8B-Instruct-FP8",
    "nvidia/Llama-3.1-8B-Instruct-FP4",
    "nvidia/Llama-3.3-70B-Instruct-FP4",
    "nvidia/Qwen3-8B-FP8",
    "nvidia/Qwen3-8B-FP4",
    "nvidia/Qwen3-14B-FP8",
    "nvidia/Qwen3-14B-FP4",
    "nvidia/Qwen3-32B-FP4",
    "nvidia/Phi-4-multimodal-instruct-FP8",
    "nvidia/Phi-4-multimodal-instruct-FP4",
    "nvidia/Phi-4-reasoning-plus-FP8",
    "nvidia/Phi-4-reasoning-plus-FP4",
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1_5-FP8",
    "nvidia/Qwen3-30B-A3B-FP4",
    "nvidia/Qwen2.5-VL-7B-Instruct-FP8",
    "nvidia/Qwen2.5-VL-7B-Instruct-FP4",
    "nvidia/Llama-4-Scout-17B-16E-Instruct-FP4",
    "nvidia/Qwen3-235B-A22B-FP4",
]
#: what it has had beside these in 2026, for one Spark
NEWER = [
    "nvidia/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-BF16",
    "nvidia/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-FP8",
    "nvidia/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-NVFP4",
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4",
]
#: the presets of a community repository, all with tensor parallelism over two Sparks
PRESETS = [
    "nvidia/Qwen3-235B-A22B-FP4",
    "openai/gpt-oss-120b",
    "openai/gpt-oss-20b",
    "meta-llama/Llama-3.3-70B-Instruct",
    "Qwen/Qwen2.5-72B-Instruct",
    "Qwen/Qwen2.5-32B-Instruct",
    "mistralai/Mixtral-8x7B-Instruct-v0.1",
]
FOR_TWO = {"nvidia/Qwen3-235B-A22B-FP4", "meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen2.5-72B-Instruct"}
ROLE_ARGUMENTS = {"max_batch_size": 4, "max_num_tokens": 8192}
ROLE_OPTIONS = {"print_iter_log": False, "cuda_graph_config": {"enable_padding": True}}


def planned(handle: str, sparks: int, version: str = "", **changed: Any) -> dict[str, Any]:
    entry = ENTRIES[handle]
    asked: dict[str, Any] = {
        "members": [f"spark{one + 1}" for one in range(sparks)],
        "snapshot": "/cache/models--x/snapshots/abc",
        "repo_dir": "/cache/models--x",
        "version": version or entry["version"],
        "config": entry["config"],
        "arguments": {"tp_size": sparks, "pp_size": 1, **ROLE_ARGUMENTS},
        "options": ROLE_OPTIONS,
        "entry": entry,
        **changed,
    }
    return trtllm.plan(trtllm.Request(**asked))


def judged(handle: str, sparks: int, mib: int = SPARK) -> fit.Verdict:
    entry, said = ENTRIES[handle], planned(handle, sparks)["said"]
    need = fit.demand(
        entry["config"], [], int(entry["weights_gb"] * 10**9), setting_of(said["arguments"], said["options"])
    )
    need = fit.replace(need, model=handle, min_sparks=entry["min_sparks"])
    return fit.judge(need, {f"spark{one + 1}": mib for one in range(sparks)})


# --- the data --------------------------------------------------------------------------------------------------------


def test_every_row_of_the_lists_has_an_entry() -> None:
    assert len(NVIDIAS) == 20
    assert set(NVIDIAS) | set(NEWER) | set(PRESETS) <= set(ENTRIES)


@pytest.mark.parametrize("handle", ENTRIES)
def test_an_entry_passes_the_check_that_a_users_has_to(handle: str) -> None:
    own = catalogue._own()[handle]
    assert catalogue.load({f"copy/{handle.split('/')[1]}": copy.deepcopy(own)})
    assert own["title"]
    assert own["sources"], "a figure has a source"
    assert own["version"]
    assert image_of(own["version"]).version


@pytest.mark.parametrize("handle", ENTRIES)
def test_the_architecture_of_an_entry_is_known(handle: str) -> None:
    found = architecture.read(ENTRIES[handle]["config"])
    assert found.context > 0
    assert found.heads > 0
    assert any(layer.heads for layer in found.layers)


@pytest.mark.parametrize("version", ["", "1.3.0rc20", "1.4.0rc0", "any"])
@pytest.mark.parametrize("handle", ENTRIES)
def test_an_entry_makes_a_command_that_its_versions_tables_accept(handle: str, version: str) -> None:
    """And those of versions after it."""
    one = planned(handle, 4 if "405B" in handle else ENTRIES[handle]["min_sparks"], version)
    assert not [text for text in one["doubts"] if "known issue" not in text], "nothing of the entry was left out"
    for name, value in ENTRIES[handle]["arguments"].items():
        assert f"--{name}" in one["serve"]
        assert value is True or value in one["serve"]
    assert ENTRIES[handle]["environment"].items() <= one["environment"].items()


@pytest.mark.parametrize("handle", [*NVIDIAS, *NEWER])
def test_nvidias_rows_fit_the_sparks_that_it_says(handle: str) -> None:
    one, two = judged(handle, 1), judged(handle, 2)
    assert two.answer == fit.FITS
    if handle not in FOR_TWO:
        assert one.answer == fit.FITS
        assert one.kv_tokens > ROLE_ARGUMENTS["max_num_tokens"]
    else:
        assert one.answer == fit.DOES_NOT
        assert one.reasons[0] == f"{handle} needs 2 Sparks, and 1 is to serve it"
        assert "a rank needs 152369 MiB" in one.reasons[1]
        assert one.largest == ("more Sparks: 2 such as these, with tp_size 2",)


@pytest.mark.parametrize("handle", PRESETS)
def test_the_communitys_presets_fit_two(handle: str) -> None:
    assert judged(handle, 2).answer == fit.FITS
    assert judged(handle, 1).answer == (fit.DOES_NOT if handle in FOR_TWO else fit.FITS)


@pytest.mark.parametrize(("sparks", "rank"), [(1, 248_022), (2, 136_299)])
def test_llama_405b_is_refused_with_figures(sparks: int, rank: int) -> None:
    verdict = judged("nvidia/Llama-3.1-405B-Instruct-FP4", sparks)
    assert verdict.answer == fit.DOES_NOT
    assert f"a rank needs {rank} MiB, {rank - 24_576} for its share of the weights" in fit.sentence(verdict)
    assert verdict.largest == ("more Sparks: 4 such as these, with tp_size 4",)


def test_a_smaller_spark_fits_less() -> None:
    assert judged("openai/gpt-oss-120b", 1, SPARK // 2).answer == fit.DOES_NOT
    assert judged("openai/gpt-oss-20b", 1, SPARK // 2).answer == fit.FITS


# --- what is beneath what was said -----------------------------------------------------------------------------------


def test_what_was_said_wins_over_the_catalogue() -> None:
    handle = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4"
    said = {"reasoning_parser": None, "tool_parser": "auto", **ROLE_ARGUMENTS}
    one = planned(handle, 1, arguments=said, options={"kv_cache_config": {"dtype": "auto", "enable_block_reuse": None}})
    assert "--reasoning_parser" not in one["serve"], "a null leaves it out"
    assert one["serve"][one["serve"].index("--tool_parser") + 1] == "auto"
    assert one["options"]["kv_cache_config"] == {
        "dtype": "auto",
        "mamba_ssm_cache_dtype": "float16",
        "mamba_ssm_stochastic_rounding": True,
        "free_gpu_memory_fraction": 0.8,
    }
    assert one["settings"]["fit_kv_cache"], "the catalogue does not size the cache"


def test_another_spelling_of_a_flag_wins_too() -> None:
    entry = {"arguments": {"tp_size": 2, "max_batch_size": 1}}
    one = planned("openai/gpt-oss-20b", 1, entry=entry, arguments={"tensor_parallel_size": 1})
    assert one["serve"].count("--tp_size") == 0
    assert one["serve"].count("--max_batch_size") == 1


@pytest.mark.parametrize("version", ["1.1.0rc3", "1.2.1"])
def test_what_an_older_image_may_not_take_is_left_out_and_named(version: str) -> None:
    handle = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4"
    one = planned(handle, 1, version)
    assert "--tool_parser" not in one["serve"]
    assert "mamba_ssm_stochastic_rounding" not in one["options"]["kv_cache_config"]
    assert [text.split(",")[0] for text in one["doubts"]] == [
        "tool_parser",
        "mamba_ssm_stochastic_rounding below kv_cache_config",
    ]
    assert all("which the catalogue has for this model, is left out: " in text for text in one["doubts"])


def test_a_models_environment_is_checked_as_a_persons_is() -> None:
    entry = {"environment": {"TLLM_ALLOW_LONG_MAX_MODEL_LEN": 1}}
    environment = planned("openai/gpt-oss-20b", 1, entry=entry)["environment"]
    assert (environment["HF_HUB_OFFLINE"], environment["TLLM_ALLOW_LONG_MAX_MODEL_LEN"]) == ("1", "1")
    with pytest.raises(ServeError, match="HF_HUB_OFFLINE is set by the role"):
        planned("openai/gpt-oss-20b", 1, entry={"environment": {"HF_HUB_OFFLINE": "0"}})


# --- what a user adds ------------------------------------------------------------------------------------------------


def test_a_user_adds_and_changes_entries() -> None:
    said = {
        "openai/gpt-oss-20b": {"min_sparks": 2, "config": {"num_hidden_layers": 12, "sliding_window": None}},
        "me/mine": {"weights_gb": 7, "options": {"kv_cache_config": {"dtype": "fp8"}}},
    }
    found = catalogue.load(said)
    changed = found["openai/gpt-oss-20b"]
    assert (changed["min_sparks"], changed["config"]["num_hidden_layers"], changed["title"]) == (2, 12, "GPT-OSS-20B")
    assert "sliding_window" not in changed["config"]
    assert found["me/mine"] == {**NOBODYS, **said["me/mine"]}
    assert catalogue.load() == ENTRIES, "the collection's own is as it was"


def test_a_user_changes_a_draft_by_its_tokens_alone() -> None:
    handle = "openai/gpt-oss-120b"
    changed = catalogue.entry(handle, {handle: {"draft": {"tokens": 2, "revision": "v1"}}})["draft"]
    assert changed == {**ENTRIES[handle]["draft"], "tokens": 2, "revision": "v1"}
    with pytest.raises(CatalogueError, match="draft of me/mine has no kind"):
        catalogue.entry("me/mine", {"me/mine": {"draft": {"tokens": 2}}})


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([], "spark_models is [] and no mapping"),
        ({"gpt": {"title": "x"}}, "spark_models has 'gpt', which is no handle"),
        ({"me/mine": "x"}, "spark_models: me/mine is 'x' and no mapping"),
        ({"me/mine": {"size": 1}}, "spark_models: me/mine has the field size; there are title, quantisation"),
        ({"me/mine": {"min_sparks": "two"}}, "min_sparks of me/mine must be a number from 1 on, and is 'two'"),
        ({"me/mine": {"min_sparks": True}}, "min_sparks of me/mine must be a number from 1 on"),
        ({"me/mine": {"kind": "sound"}}, "kind of me/mine must be one of text, vision, multimodal, and is 'sound'"),
        ({"me/mine": {"gated": "no"}}, "gated of me/mine must be true or false"),
        ({"me/mine": {"weights_gb": 0}}, "weights_gb of me/mine must be a number above 0"),
        ({"me/mine": {"allow_patterns": "*.json"}}, "allow_patterns of me/mine must be a list of strings"),
        ({"me/mine": {"environment": {"A": []}}}, "environment of me/mine must be a mapping of names to strings"),
        ({"me/mine": {"arguments": {1: 2}}}, "arguments of me/mine must be a mapping"),
        ({"me/mine": {"draft": {"handle": "a/b"}}}, "draft of me/mine has no kind, such as Eagle3 or MTP"),
        (
            {"me/mine": {"draft": {"kind": "MTP", "n": 1}}},
            "draft of me/mine has n, and takes handle, kind, revision and tokens",
        ),
    ],
)
def test_what_is_wrong_is_named_by_handle_and_field(said: Any, message: str) -> None:
    with pytest.raises(CatalogueError) as error:
        catalogue.load(said)
    assert message in str(error.value)


WORDS = st.text("ab", min_size=1, max_size=2)
VALUES = {
    "title": WORDS,
    "min_sparks": st.integers(1, 8),
    "gated": st.sampled_from([True, False, None]),
    "allow_patterns": st.lists(WORDS, max_size=2),
    "arguments": st.dictionaries(WORDS, st.integers(), max_size=2),
    "options": st.dictionaries(WORDS, st.dictionaries(WORDS, st.integers(), max_size=2), max_size=2),
    "weights_gb": st.one_of(st.none(), st.floats(0.1, 1000)),
    "confirmed": st.booleans(),
}
HANDLES = st.sampled_from([*list(ENTRIES)[:4], "me/mine", "a.b/c-d_e"])
SAID = st.dictionaries(HANDLES, st.fixed_dictionaries({}, optional=VALUES))


@given(SAID)
def test_whatever_is_said_wins_and_nothing_else_changes(said: dict[str, dict[str, Any]]) -> None:
    found = catalogue.load(said)
    assert set(found) == {*ENTRIES, *said}
    for handle, entry in found.items():
        assert set(entry) == set(catalogue.FIELDS)
        before = ENTRIES.get(handle, NOBODYS)
        for name, value in entry.items():
            wanted = said.get(handle, {}).get(name)
            if wanted is None:
                assert value == (before[name] if name not in said.get(handle, {}) else catalogue.FIELDS[name].default)
            elif name not in catalogue.NESTED:
                assert value == wanted
            else:
                assert set(value) == {*before[name], *wanted}


@given(SAID)
def test_to_merge_again_changes_nothing(said: dict[str, dict[str, Any]]) -> None:
    once = catalogue.load(said)
    handles = set(said)
    again = catalogue.load({handle: once[handle] for handle in handles})
    assert {handle: again[handle] for handle in handles} == {handle: once[handle] for handle in handles}


def test_the_filter_gives_an_entry_and_says_what_is_wrong() -> None:
    assert model_entry({}, "mistralai/Mixtral-8x7B-Instruct-v0.1")["allow_patterns"]
    assert model_entry(None, "")["allow_patterns"] == []
    with pytest.raises(AnsibleFilterError, match=r"kind of me/mine .* Nothing was changed"):
        model_entry({"me/mine": {"kind": 1}}, "me/mine")
