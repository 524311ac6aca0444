# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known issues of TensorRT-LLM's releases, as data: which versions have one, what it needs to show, the way out.

They are of the release pages of NVIDIA/TensorRT-LLM. A page tells what its release has; unless it is known when a thing
was mended, the next page that does not name it ends the range. No page was read of 1.3.0rc25 and of what came after
1.3.0rc26.

What needs ranks that share a directory of compiled kernels is not listed: each Spark has its own.

This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import (
    Version,
    is_autodeploy,
    parse_version,
)


class Serving(NamedTuple):
    """What is to be served, as far as an issue may depend on it."""

    config: Mapping[str, Any]  # the model's config.json
    name: str  # of the model's directory, which mostly tells how it is quantised
    options: Mapping[str, Any]
    arguments: Mapping[str, Any]
    ranks: int


class Issue(NamedTuple):
    """A known issue. ``since`` has it, ``before`` no longer."""

    since: Version
    before: Version
    shows: Callable[[Serving], bool]
    what: str
    mend: str
    source: str


def _candidate(number: int) -> Version:
    return Version(1, 3, 0, number)


_END_OF_1_3 = Version(1, 4, 0, 0)
_PAGES = "https://github.com/NVIDIA/TensorRT-LLM"
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_LOW_PRECISION = ("fp4", "mxfp4", "nvfp4", "fp8", "w4a", "int4", "awq", "gptq")


def _parts(serving: Serving) -> list[Mapping[str, Any]]:
    """The model's configuration, and that of the language model in it."""
    inner = [serving.config.get(name) for name in ("text_config", "llm_config", "language_config")]
    return [serving.config, *(one for one in inner if isinstance(one, Mapping))]


def _type(serving: Serving) -> str:
    return " ".join(str(one.get("model_type") or "") for one in _parts(serving)).lower()


def is_moe(serving: Serving) -> bool:
    """Whether the model has experts."""
    said = [one.get(name) for one in _parts(serving) for name in _EXPERTS]
    return any(isinstance(one, int) and one > 1 for one in said)


def is_mla(serving: Serving) -> bool:
    """Whether the model has latent attention."""
    return any(one.get("kv_lora_rank") for one in _parts(serving))


def _quantisation(serving: Serving) -> str:
    """All that tells how a model is quantised, in small letters."""
    said = [one.get("quantization_config") for one in _parts(serving)]
    words = [str(value) for one in said if isinstance(one, Mapping) for value in one.values()]
    return " ".join([*words, serving.name]).lower()


def is_low_precision(serving: Serving) -> bool:
    """Whether the weights have eight bits or fewer."""
    return any(word in _quantisation(serving) for word in _LOW_PRECISION)


def _is_block_scaled(serving: Serving) -> bool:
    said = [one.get("quantization_config") for one in _parts(serving)]
    return any(isinstance(one, Mapping) and one.get("weight_block_size") for one in said)


def _group(serving: Serving, name: str) -> Mapping[str, Any]:
    found = serving.options.get(name)
    return found if isinstance(found, Mapping) else {}


def _needs_reduction(serving: Serving) -> bool:
    return serving.ranks > 1 and serving.options.get("allreduce_strategy", "NCCL") != "NCCL"


def _autotunes_qwen3(serving: Serving) -> bool:
    return "qwen3" in _type(serving) and str(serving.options.get("enable_autotuner", True)).lower() in ("true", "1")


def _has_lora(serving: Serving) -> bool:
    return bool(serving.options.get("enable_lora") or _group(serving, "lora_config"))


ISSUES = (
    Issue(
        Version(1, 2, 0, -1),
        _candidate(12),
        _needs_reduction,
        "its autotuner may choose NCCL_SYMMETRIC to add up what the ranks computed, which GB10 does not have",
        "set allreduce_strategy: NCCL in trtllm_serve_options, or take an image from 1.3.0rc12 on",
        f"{_PAGES}/pull/12902",
    ),
    Issue(
        _candidate(20),
        _candidate(21),
        _autotunes_qwen3,
        "its autotuner can crash with Qwen3 models, in grouped matrix products of CUTLASS",
        "set enable_autotuner: false in trtllm_serve_options, or take another image",
        f"{_PAGES}/releases/tag/v1.3.0rc20",
    ),
    Issue(
        _candidate(21),
        Version(9, 0, 0, 0),
        lambda serving: is_autodeploy(serving.arguments, serving.options),
        "AutoDeploy is deprecated in it",
        "leave backend out, so that the PyTorch backend serves",
        f"{_PAGES}/releases/tag/v1.3.0rc21",
    ),
    Issue(
        _candidate(24),
        _candidate(26),
        lambda serving: serving.ranks > 1 and is_moe(serving) and is_low_precision(serving),
        "models of experts in low precision can lose accuracy severely over several ranks, seen with Nemotron and "
        "gpt-oss",
        "serve on one Spark, take another image, or compare answers of one and of two Sparks before you trust them",
        f"{_PAGES}/releases/tag/v1.3.0rc24",
    ),
    Issue(
        _candidate(24),
        _candidate(26),
        lambda serving: is_mla(serving) and _group(serving, "speculative_config").get("decoding_type") == "MTP",
        "latent attention (MLA) with MTP can crash on GPUs of this kind",
        "leave speculative_config out, or take another image",
        f"{_PAGES}/releases/tag/v1.3.0rc24",
    ),
    Issue(
        _candidate(24),
        _candidate(26),
        lambda serving: "qwen3" in _type(serving) and is_moe(serving) and _is_block_scaled(serving),
        "Qwen3 models of experts in FP8 with block scales may not start on Blackwell",
        "choose the model in NVFP4, or take another image",
        f"{_PAGES}/releases/tag/v1.3.0rc24",
    ),
    Issue(
        _candidate(26),
        _END_OF_1_3,
        lambda serving: (
            str(_group(serving, "kv_cache_config").get("use_kv_cache_manager_v2", "")).lower()
            in ("true", "1", "auto", "yes", "on")
        ),
        "the second KV cache manager can refuse to start although memory is free",
        "lower max_batch_size, raise free_gpu_memory_fraction, or set use_kv_cache_manager_v2: false below "
        "kv_cache_config",
        f"{_PAGES}/releases/tag/v1.3.0rc26",
    ),
    Issue(
        _candidate(26),
        _END_OF_1_3,
        lambda serving: "flashinfer" in str(serving.options.get("attn_backend") or "").lower(),
        "attention by FlashInfer leaks memory on long runs",
        "leave attn_backend out, so that TensorRT-LLM's own serves",
        f"{_PAGES}/releases/tag/v1.3.0rc26",
    ),
    Issue(
        _candidate(26),
        _END_OF_1_3,
        lambda serving: _has_lora(serving) and "qwen3" in _type(serving) and is_moe(serving),
        "LoRA on the experts of Qwen3 models is ignored",
        "merge the adapter into the weights, or take another image",
        f"{_PAGES}/releases/tag/v1.3.0rc26",
    ),
)


def warnings(version: str, serving: Serving) -> list[str]:
    """One sentence for each known issue that a version has and that this serving would meet.

    :param version: of TensorRT-LLM; where it tells none, nothing is known.
    """
    return [
        f"TensorRT-LLM {version.strip()} has a known issue that this serving may meet: {what}. To avoid it, "
        f"{mend} ({source})"
        for what, mend, source in known(version, serving)
    ]


def known(version: str, serving: Serving) -> list[tuple[str, str, str]]:
    """What each issue of a version is that this serving would meet, its mend and its source."""
    number = parse_version(version)
    if number is None:
        return []
    found = (one for one in ISSUES if one.since <= number < one.before and one.shows(serving))
    return [(one.what, one.mend, one.source) for one in found]


def needs_nccl(version: str, ranks: int) -> bool:
    """Whether an image is older than the mend for GB10, after which several ranks add up by whatever is best."""
    number = parse_version(version)
    return number is not None and ranks > 1 and number < _candidate(12)
