# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a model fits: the formulas by hand-made figures, the three answers, and what may never get easier."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import memory_need_mib, memory_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import scaled_mib
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import fit
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.fit import Demand, Draft, Reserve, Setting
from hypothesis import given
from hypothesis import strategies as st

SPARK = 122_880  # MiB, of 128 GB
LLAMA_70B = {
    "model_type": "llama",
    "num_hidden_layers": 80,
    "hidden_size": 8192,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
}
QWEN_235B = {**LLAMA_70B, "model_type": "qwen3_moe", "num_hidden_layers": 94, "hidden_size": 4096}
QWEN_235B.update(num_key_value_heads=4, head_dim=128, max_position_embeddings=40960)
MLA = {"model_type": "deepseek_v3", "num_hidden_layers": 61, "num_attention_heads": 128, "kv_lora_rank": 512}
MLA.update(qk_rope_head_dim=64, max_position_embeddings=163840)
DELTA = {
    "model_type": "qwen3_next",
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
    "max_position_embeddings": 262144,
}
MAMBA = {
    "model_type": "nemotron_h",
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "mamba_num_heads": 64,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
    "conv_kernel": 4,
    "hybrid_override_pattern": "ME*ME",
    "max_position_embeddings": 262144,
}
GPT_OSS = {"model_type": "gpt_oss", "num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8}
GPT_OSS.update(head_dim=64, sliding_window=128, max_position_embeddings=131072)


def demand(config: dict[str, Any], gb: float = 40, draft: Draft | None = None, **setting: Any) -> Demand:
    return fit.demand(config, [], int(gb * 10**9), Setting(**setting), draft)


def sparks(number: int, mib: int = SPARK) -> dict[str, int]:
    return {f"spark{one + 1}": mib for one in range(number)}


def per_token(config: dict[str, Any], **setting: Any) -> int:
    return int(demand(config, **setting).to_json()["kv_bytes_per_token"])


def per_sequence(config: dict[str, Any], **setting: Any) -> int:
    return int(demand(config, **setting).to_json()["state_bytes_per_sequence"])


# --- the formulas ----------------------------------------------------------------------------------------------------


def test_kv_heads_are_counted_and_not_the_heads_of_attention() -> None:
    """A guide for two Sparks takes 64 heads where Llama 3.3 70B has 8 KV heads, and is 8 times too high."""
    of_the_guide = 2 * 64 * 128 * 2 * 80
    assert per_token(LLAMA_70B) == 327_680 == of_the_guide // 8


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ({"tp": 2}, 2 * 80 * 4 * 128 * 2),
        ({"tp": 8}, 2 * 80 * 1 * 128 * 2),
        ({"tp": 16}, 2 * 80 * 1 * 128 * 2),  # a head cannot be divided: two ranks have the same one
        ({"tp": 3}, 2 * 80 * 3 * 128 * 2),  # of 8 heads three ranks have 3, 3 and 2
        ({"pp": 2}, 2 * 40 * 8 * 128 * 2),
        ({"pp": 3}, 2 * 27 * 8 * 128 * 2),  # 27, 27 and 26 layers
        ({"kv_dtype": "fp8"}, 80 * 2 * 8 * 128),
        ({"kv_dtype": "nvfp4"}, 80 * 1152),
    ],
)
def test_dense_attention_is_split_by_heads_and_by_layers(setting: dict[str, Any], wanted: int) -> None:
    assert per_token(LLAMA_70B, **setting) == wanted


@pytest.mark.parametrize("tp", [1, 2, 8])
def test_a_latent_attention_is_whole_on_every_rank(tp: int) -> None:
    assert per_token(MLA, tp=tp) == 61 * 576 * 2


def test_a_latent_attention_is_split_by_layers() -> None:
    assert per_token(MLA, pp=2) == 31 * 576 * 2


def test_a_sparse_attention_keeps_an_index_beside() -> None:
    assert per_token({**MLA, "model_type": "deepseek_v32", "index_head_dim": 128}) == 61 * (576 * 2 + 132)


@pytest.mark.parametrize(("tp", "part"), [(1, 1), (2, 2), (4, 4)])
def test_a_gated_delta_net_keeps_a_state_for_each_sequence(tp: int, part: int) -> None:
    conv = 3 * (2 * 16 * 128 + 32 * 128) * 2
    assert per_sequence(DELTA, tp=tp) * part == 36 * (conv + 32 * 128 * 128 * 4)
    assert per_token(DELTA) == 12 * 2 * 2 * 256 * 2


@pytest.mark.parametrize(("dtype", "size"), [("auto", 4), ("float32", 4), ("float16", 2)])
def test_mamba_2_keeps_a_state_for_each_sequence(dtype: str, size: int) -> None:
    conv = 3 * (64 * 64 + 2 * 8 * 128) * 2
    assert per_sequence(MAMBA, state_dtype=dtype) == 2 * (conv + 64 * 64 * 128 * size)
    assert per_token(MAMBA) == 1 * 2 * 2 * 128 * 2


def test_a_pattern_is_split_into_stages_as_it_is() -> None:
    """Of ME*ME the first stage has ME*: one Mamba-2 layer, and the only attention."""
    one = demand(MAMBA, pp=2).to_json()
    assert (one["kv_bytes_per_token"], one["state_bytes_per_sequence"]) == (1024, per_sequence(MAMBA) // 2)


def test_a_sliding_layer_keeps_no_more_than_its_window() -> None:
    share = demand(GPT_OSS).share
    layer = 2 * 8 * 64 * 2
    assert fit.kv_bytes(share, "bfloat16", 100) == 36 * layer * 100
    assert fit.kv_bytes(share, "bfloat16", 10_000) == 18 * layer * (10_000 + 128)
    assert fit.kv_bytes(share, "bfloat16", 10_000, windows=False) == 36 * layer * 10_000


def tensors(*rows: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "dtype": "BF16", "count": 1, "bytes": size} for name, size in rows]


ROWS = tensors(
    ("model.embed_tokens.weight", 1600),
    ("lm_head.weight", 1600),
    ("model.norm.weight", 8),
    ("model.layers.*.input_layernorm.weight", 80),
    ("model.layers.*.self_attn.q_proj.weight", 6400),
    ("model.layers.*.self_attn.k_proj.weight", 800),
    ("model.layers.*.mlp.gate.weight", 160),
    ("model.layers.*.mlp.gate_proj.weight", 3200),
    ("model.visual.layers.*.attn.qkv.weight", 400),
)


@pytest.mark.parametrize(
    ("setting", "sharded", "replicated"),
    [
        ({}, 13_600, 648),
        ({"tp": 2}, 6_800, 648),
        ({"tp": 16}, (1600 + 1600 + 6400 + 3200) // 16 + 800 // 8, 648),  # each of 8 KV heads is on two ranks
        ({"pp": 2}, 1600 + 1600 + (6400 + 800 + 3200) // 2, 8 + (80 + 160) // 2 + 400),
    ],
)
def test_what_every_rank_has_whole_is_counted_whole(setting: dict[str, Any], sharded: int, replicated: int) -> None:
    share = fit.demand(LLAMA_70B, ROWS, 0, Setting(**setting)).share
    assert (share.sharded_bytes, share.replicated_bytes) == (sharded, replicated)


def test_a_latent_attentions_down_projections_are_whole() -> None:
    rows = tensors(
        ("model.layers.*.self_attn.kv_a_proj_with_mqa.weight", 100), ("model.layers.*.mlp.up_proj.weight", 8)
    )
    share = fit.demand(MLA, rows, 0, Setting(tp=4)).share
    assert (share.sharded_bytes, share.replicated_bytes) == (2, 100)


def test_a_draft_counts_with_its_weights_and_its_cache() -> None:
    small = {**LLAMA_70B, "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32}
    with_draft = demand(LLAMA_70B, tp=2, draft=Draft(small, 6 * 10**9, "Draft_Target", 4))
    assert with_draft.share.weights_bytes == 23 * 10**9
    assert with_draft.to_json()["kv_bytes_per_token"] == 2 * (80 + 32) * 4 * 128 * 2
    assert with_draft.doubts == ()


EAGLE_ROWS = [
    {"name": "fc.weight", "dtype": "BF16", "count": 1, "bytes": 600},
    {"name": "midlayer.self_attn.q_proj.weight", "dtype": "BF16", "count": 1, "bytes": 1000},
    {"name": "midlayer.hidden_norm.weight", "dtype": "BF16", "count": 1, "bytes": 50},
    {"name": "lm_head.weight", "dtype": "BF16", "count": 1, "bytes": 400},
]
HEAD = {**LLAMA_70B, "num_hidden_layers": 1}


@pytest.mark.parametrize(
    ("draft", "tp", "wanted"),
    [
        (Draft(HEAD, 2050, "Eagle3"), 1, 2050),
        (Draft(HEAD, 2050, "Eagle3"), 2, 2050),  # nothing tells what is whole on every rank
        (Draft(HEAD, 2050, "Eagle"), 2, 2050),
        (Draft(HEAD, 2050, "Eagle3", tensors=tuple(EAGLE_ROWS)), 1, 2050),
        (Draft(HEAD, 2050, "Eagle3", tensors=tuple(EAGLE_ROWS)), 2, 600 + 50 + 700),
        (Draft(HEAD, 2051, "Draft_Target"), 2, 1026),
        (Draft(kind="MTP"), 2, 0),
    ],
)
def test_a_draft_is_split_as_its_target_is_but_for_what_joins_them(draft: Draft, tp: int, wanted: int) -> None:
    assert demand(LLAMA_70B, tp=tp, draft=draft).share.draft_bytes == wanted


def test_a_pipeline_has_the_draft_on_one_stage_whole() -> None:
    assert demand(LLAMA_70B, pp=2, draft=Draft(HEAD, 2050, "Draft_Target")).share.draft_bytes == 2050


def test_a_model_that_fits_alone_and_not_with_its_draft_is_refused_with_the_way_out() -> None:
    alone, draft = demand(LLAMA_70B, 60), Draft(HEAD, 50 * 10**9, "Eagle3")
    both = demand(LLAMA_70B, 60, draft)
    assert fit.judge(alone, sparks(1)).answer == fit.FITS
    said = fit.judge(both, sparks(1))
    assert said.answer == fit.DOES_NOT
    assert f"a rank needs {memory_need_mib(110 * 10**9, 1, 24576)} MiB" in said.reasons[0]
    assert said.largest[0] == "without speculative decoding: spark_speculative empty"
    assert fit.from_json(json.loads(json.dumps(both.to_json()))) == both
    small = fit.judge(demand(LLAMA_70B, 60, Draft(HEAD, 10**9, "Eagle3")), sparks(1))
    assert (small.answer, small.largest) == (fit.FITS, ())
    neither = fit.judge(demand(LLAMA_70B, 600, draft), sparks(1))
    assert not [one for one in neither.largest if "speculative" in one], "it does not fit without it either"


def test_a_draft_of_which_nothing_is_known_can_be_left_out() -> None:
    said = fit.judge(demand(LLAMA_70B, 40, Draft(kind="Eagle3")), sparks(1))
    assert (said.answer, said.largest[0]) == (
        fit.CANNOT_TELL,
        "without speculative decoding: spark_speculative empty",
    )


def test_mtp_has_no_weights_of_its_own_and_one_layer_more() -> None:
    assert per_token(LLAMA_70B, draft=Draft(kind="MTP")) == 327_680 * 81 // 80
    assert demand(LLAMA_70B, draft=Draft(kind="MTP")).doubts == ()


@pytest.mark.parametrize("draft", [Draft(), Draft({"model_type": "eagle9"}, 10**9), Draft(LLAMA_70B)])
def test_a_draft_of_which_nothing_is_known_is_a_doubt(draft: Draft) -> None:
    one = demand(LLAMA_70B, draft=draft)
    assert "draft" in " ".join(one.doubts)
    assert fit.judge(one, sparks(1)).answer == fit.CANNOT_TELL


# --- the three answers -----------------------------------------------------------------------------------------------


def test_what_fits_has_its_tokens_and_no_reasons() -> None:
    verdict = fit.judge(demand(LLAMA_70B, 42.7, graphs=3), sparks(1))
    assert (verdict.answer, verdict.reasons, verdict.largest) == (fit.FITS, (), ())
    assert (verdict.kv_tokens, verdict.context) == (162_960, 131_072)


@pytest.mark.parametrize(
    ("config", "gb", "number", "mib", "said"),
    [
        (QWEN_235B, 134, 1, SPARK, ["spark1: a rank needs 152369 MiB", "127793 for its share", "more Sparks: 2"]),
        (QWEN_235B, 134, 2, SPARK // 2, ["spark1 and spark2: a rank needs 76185 MiB", "more Sparks: 4", "tp_size 4"]),
        ({**LLAMA_70B, "num_attention_heads": 128}, 234.3, 2, SPARK, ["spark1 and spark2: a rank needs 136299 MiB"]),
    ],
)
def test_weights_that_are_too_large_are_refused_with_figures(
    config: dict[str, Any], gb: float, number: int, mib: int, said: list[str]
) -> None:
    verdict = fit.judge(demand(config, gb, tp=number), sparks(number, mib))
    assert verdict.answer == fit.DOES_NOT
    for part in said:
        assert part in fit.sentence(verdict)


@pytest.mark.parametrize(
    ("setting", "said", "larger"),
    [
        ({"max_seq_len": 2_000_000}, "max_seq_len asks for 2000000", "a shorter context: max_seq_len 131072 in"),
        ({"min_kv_tokens": 200_000}, "trtllm_serve_min_kv_tokens asks for 200000", "dtype fp8 below kv_cache_config"),
        ({"max_seq_len": 8192, "max_tokens": 4096}, "max_seq_len asks for 8192", "a shorter context: max_seq_len 4096"),
        ({"max_seq_len": 4096, "max_bytes": 2**30}, "1024 MiB of a rank, which is 3276 tokens", "dtype fp8"),
    ],
)
def test_a_cache_that_is_too_small_is_refused_with_what_would_fit(
    setting: dict[str, Any], said: str, larger: str
) -> None:
    verdict = fit.judge(demand(LLAMA_70B, 42.7, graphs=3, **setting), sparks(1))
    assert verdict.answer == fit.DOES_NOT
    assert said in verdict.reasons[0]
    assert larger in " ".join(verdict.largest)


def test_states_that_do_not_fit_name_the_batch() -> None:
    verdict = fit.judge(demand({**MAMBA, "hybrid_override_pattern": "M*" * 40}, 62, max_batch_size=2048), sparks(1))
    assert verdict.answer == fit.DOES_NOT
    assert "the states of 2048 sequences (max_batch_size)" in verdict.reasons[0]
    assert "fewer sequences at a time: max_batch_size 256" in " ".join(verdict.largest)


@pytest.mark.parametrize(
    ("changed", "memory", "said"),
    [
        ({"config": {}}, SPARK, "its config.json is not known"),
        (
            {"config": {"model_type": "rwkv9"}},
            SPARK,
            "nothing here knows what a token costs with the architecture rwkv9",
        ),
        ({"config": {**LLAMA_70B, "num_hidden_layers": "80"}}, SPARK, "num_hidden_layers of its config.json is '80'"),
        ({"gb": 0}, SPARK, "nothing tells how large its weights are"),
        ({}, 0, "nothing tells how much memory spark1 has"),
        ({"gb": 99}, SPARK, "a rank is not started unless 118990 MiB are available"),
        ({"kv_dtype": "fp8_ds_mla"}, SPARK, "as fp8_ds_mla"),
        ({"gb": 98}, SPARK, "which is 6892 tokens of one sequence, and one batch (max_num_tokens) has 8192"),
        ({"fraction": 0.9}, SPARK, "the supervisor ends a rank that leaves less than 16384 while it loads"),
        ({"config": GPT_OSS, "gb": 65.3, "max_seq_len": 600_000}, SPARK, "kv_cache_config.max_attention_window"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_one_cannot_tell_is_never_a_yes(changed: dict[str, Any], memory: int, said: str) -> None:
    asked = {"config": LLAMA_70B, "gb": 42.7, **changed}
    verdict = fit.judge(demand(asked.pop("config"), asked.pop("gb"), **asked), sparks(1, memory))
    assert verdict.answer == fit.CANNOT_TELL, verdict
    assert said in fit.sentence(verdict)


def test_a_whole_attention_on_every_rank_is_a_doubt() -> None:
    said = fit.judge(demand(LLAMA_70B, 42.7, tp=2, attention_dp=True), sparks(2))
    assert said.reasons == ("with enable_attention_dp every rank has the whole attention, which nothing here counts",)
    assert demand(LLAMA_70B, 42.7, attention_dp=True).doubts == ()


def test_weights_alone_refuse_an_architecture_that_nobody_knows() -> None:
    assert fit.judge(demand({"model_type": "rwkv9"}, 134), sparks(1)).answer == fit.DOES_NOT


def test_a_cache_that_leaves_the_floor_is_named() -> None:
    said = fit.judge(demand(LLAMA_70B, 6.4, graphs=3), sparks(1, 24_105))
    assert said.answer == fit.CANNOT_TELL
    assert "the supervisor ends a rank that leaves less than 3214 while it loads: give the KV cache less" in str(said)
    (named,) = (one for one in said.largest if "max_gpu_total_bytes" in one)
    limited = demand(LLAMA_70B, 6.4, graphs=3, max_bytes=int(named.split()[5]))
    assert fit.judge(limited, sparks(1, 24_105)).answer == fit.FITS


def test_windows_that_the_engine_is_told_count() -> None:
    one = demand(GPT_OSS, 65.3, max_seq_len=600_000, windows=True)
    assert fit.judge(one, sparks(1)).answer == fit.FITS


def test_a_model_for_two_sparks_is_refused_on_one() -> None:
    one = replace(demand(LLAMA_70B, 20), model="lab/pair", min_sparks=2)
    verdict = fit.judge(one, sparks(1))
    assert verdict.answer == fit.DOES_NOT
    assert verdict.reasons == ("lab/pair needs 2 Sparks, and 1 is to serve it",)
    assert verdict.largest == ("more Sparks: 2 such as these, with tp_size 2",)


def test_the_smallest_spark_counts() -> None:
    one = demand(LLAMA_70B, 42.7, tp=2)
    mixed = fit.judge(one, {"spark1": SPARK, "spark2": SPARK // 2})
    assert mixed.kv_tokens == fit.judge(one, sparks(2, SPARK // 2)).kv_tokens
    assert fit.judge(one, sparks(2)).kv_tokens > 2 * mixed.kv_tokens


def test_a_model_without_any_cache_is_as_long_as_its_context() -> None:
    config = {**LLAMA_70B, "model_type": "mistral", "sliding_window": 4096, "max_position_embeddings": 32768}
    verdict = fit.judge(demand(config, 14, max_batch_size=8), sparks(1))
    assert (verdict.answer, verdict.kv_tokens, verdict.context) == (fit.FITS, 8 * 32768, 32768)


def test_a_demand_travels_as_json() -> None:
    one = replace(demand(GPT_OSS, 65.3, tp=2, graphs=3), model="openai/gpt-oss-120b")
    assert fit.from_json(json.loads(json.dumps(one.to_json()))) == one


# --- what the supervisor would say -----------------------------------------------------------------------------------


@given(gb=st.integers(1, 400), number=st.sampled_from([1, 2, 4, 8]), mib=st.integers(40_000, 200_000))
def test_what_a_start_would_refuse_is_never_said_to_fit(gb: int, number: int, mib: int) -> None:
    """The supervisor goes by the bytes of the files; available is what the system leaves."""
    reserve = Reserve()
    verdict = fit.judge(demand(QWEN_235B, gb, tp=number), sparks(number, mib), reserve)
    need = memory_need_mib(gb * 10**9, number, reserve.reserve_mib)
    if verdict.answer == fit.FITS:
        available = mib - scaled_mib(fit.SYSTEM_MIB, mib)
        assert available >= need - reserve.reserve_mib + scaled_mib(reserve.reserve_mib, mib)
    if memory_problem(mib, need, reserve.reserve_mib):
        assert verdict.answer == fit.DOES_NOT


# --- what may never get easier ---------------------------------------------------------------------------------------

ORDER = {fit.FITS: 0, fit.CANNOT_TELL: 1, fit.DOES_NOT: 2}
CONFIGS = st.sampled_from([LLAMA_70B, QWEN_235B, MLA, DELTA, MAMBA, GPT_OSS])


def strictness(config: dict[str, Any], gb: float, mib: int, **setting: Any) -> int:
    one = demand(config, gb, **setting)
    return ORDER[fit.judge(one, sparks(one.setting.world, mib)).answer]


@given(
    config=CONFIGS,
    gb=st.integers(1, 300),
    mib=st.integers(30_000, 160_000),
    tp=st.sampled_from([1, 2, 4]),
    low=st.integers(1, 400_000),
    more=st.integers(0, 400_000),
)
def test_a_longer_context_never_fits_better(
    config: dict[str, Any], gb: int, mib: int, tp: int, low: int, more: int
) -> None:
    asked = {"config": config, "gb": gb, "mib": mib, "tp": tp}
    assert strictness(**asked, max_seq_len=low) <= strictness(**asked, max_seq_len=low + more)


@given(
    config=CONFIGS,
    gb=st.integers(1, 300),
    mib=st.integers(30_000, 160_000),
    batch=st.integers(1, 4096),
    more=st.integers(0, 4096),
    graphs=st.integers(0, 40),
)
def test_a_larger_batch_or_more_graphs_never_fit_better(
    config: dict[str, Any], gb: int, mib: int, batch: int, more: int, graphs: int
) -> None:
    asked = {"config": config, "gb": gb, "mib": mib}
    small = strictness(**asked, max_batch_size=batch, graphs=graphs)
    assert small <= strictness(**asked, max_batch_size=batch + more, graphs=graphs)
    assert small <= strictness(**asked, max_batch_size=batch, graphs=graphs + more % 40)


@given(config=CONFIGS, gb=st.integers(1, 300), more=st.integers(0, 300), mib=st.integers(30_000, 160_000))
def test_larger_weights_never_fit_better(config: dict[str, Any], gb: int, more: int, mib: int) -> None:
    assert strictness(config, gb, mib) <= strictness(config, gb + more, mib)


@given(
    config=CONFIGS,
    gb=st.integers(1, 300),
    mib=st.integers(30_000, 122_880),
    more=st.integers(0, 60_000),
    length=st.integers(0, 200_000),
)
def test_more_memory_never_fits_worse(config: dict[str, Any], gb: int, mib: int, more: int, length: int) -> None:
    small = fit.judge(demand(config, gb, max_seq_len=length), sparks(1, mib))
    large = fit.judge(demand(config, gb, max_seq_len=length), sparks(1, mib + more))
    assert ORDER[large.answer] <= ORDER[small.answer]
    assert large.kv_tokens >= small.kv_tokens


@given(config=CONFIGS, gb=st.integers(1, 300), tp=st.sampled_from([1, 2, 4]))
def test_more_ranks_never_need_more_of_each(config: dict[str, Any], gb: int, tp: int) -> None:
    few, many = demand(config, gb, tp=tp).to_json(), demand(config, gb, tp=2 * tp).to_json()
    for name in ("weights_bytes", "kv_bytes_per_token", "state_bytes_per_sequence"):
        assert many[name] <= few[name]
        assert 2 * many[name] >= few[name] - 1, "no rank has less than its part"


@given(config=CONFIGS, pp=st.integers(1, 6))
def test_the_stages_of_a_pipeline_have_all_layers(config: dict[str, Any], pp: int) -> None:
    whole = demand(config).to_json()
    part = demand(config, pp=pp).to_json()
    assert part["kv_bytes_per_token"] * pp >= whole["kv_bytes_per_token"] - pp
    assert part["kv_bytes_per_token"] <= whole["kv_bytes_per_token"]


@given(config=CONFIGS, gb=st.integers(1, 250), mib=st.integers(30_000, 160_000), length=st.integers(0, 400_000))
def test_the_context_that_is_named_would_fit(config: dict[str, Any], gb: int, mib: int, length: int) -> None:
    verdict = fit.judge(demand(config, gb, max_seq_len=length), sparks(1, mib))
    named = [int(one.split()[4]) for one in verdict.largest if one.startswith("a shorter context")]
    for one in named:
        assert 0 < one < length or not length
        assert fit.judge(demand(config, gb, max_seq_len=one), sparks(1, mib)).answer == fit.FITS
