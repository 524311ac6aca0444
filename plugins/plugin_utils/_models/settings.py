# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What TensorRT-LLM's settings ask of the memory. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_cli import FLAGS
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import (
    is_autodeploy,
    size,
    whole,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.fit import Draft, Setting

#: what TensorRT-LLM takes where nobody says
MAX_BATCH_SIZE, MAX_NUM_TOKENS, MAX_GRAPH_BATCH_SIZE = 2048, 8192, 128
#: kinds of speculative decoding that have no model of their own to load
WITHOUT_MODEL = ("MTP", "NGRAM", "LOOKAHEAD", "USER_PROVIDED", "USERPROVIDED", "AUTO", "SA", "SUFFIX")


def setting_of(arguments: Mapping[str, Any], options: Mapping[str, Any], min_kv_tokens: int = 0) -> Setting:
    """The setting that flags and YAML make; the YAML wins. :param options: as they were said, without defaults."""
    cache = _mapping(options.get("kv_cache_config"))
    batch = _whole("max_batch_size", arguments, options) or MAX_BATCH_SIZE
    fraction = cache.get("free_gpu_memory_fraction")
    ways = size("tensor_parallel_size", arguments, options)
    if is_autodeploy(arguments, options):
        ways = whole(options.get("world_size") or 1)
    return Setting(
        tp=max(ways, 1),
        pp=max(size("pipeline_parallel_size", arguments, options), 1),
        max_batch_size=batch,
        max_seq_len=_whole("max_seq_len", arguments, options),
        max_num_tokens=_whole("max_num_tokens", arguments, options) or MAX_NUM_TOKENS,
        kv_dtype=str(cache.get("dtype") or _said("kv_cache_dtype", arguments, options) or "auto"),
        state_dtype=str(cache.get("mamba_ssm_cache_dtype") or "auto"),
        graphs=graphs_of(options, batch),
        fraction=_fraction(fraction),
        max_tokens=whole(cache.get("max_tokens")),
        max_bytes=whole(cache.get("max_gpu_total_bytes")),
        min_kv_tokens=min_kv_tokens,
        attention_dp=str(_said("enable_attention_dp", arguments, options)).lower() == "true",
        windows=bool(cache.get("max_attention_window")),
    )


def graphs_of(options: Mapping[str, Any], max_batch_size: int) -> int:
    """How many CUDA graphs are captured: one for each batch size up to the largest.

    By TensorRT-LLM's llm_args.py: with padding 1, 2, 4 and every eighth up to 128, without it each up to 32, 64 and
    128; beyond these powers of two.

    >>> graphs_of({"cuda_graph_config": {"enable_padding": True}}, 4), graphs_of({"cuda_graph_config": None}, 4)
    (3, 0)
    """
    said = options.get("cuda_graph_config", {})
    if said is None:
        return 0
    config = _mapping(said)
    sizes = config.get("batch_sizes")
    most = min(whole(config.get("max_batch_size")) or MAX_GRAPH_BATCH_SIZE, max_batch_size)
    if not isinstance(sizes, list):
        padded = config.get("enable_padding") in (True, "true")
        known = [1, 2, 4, *range(8, 129, 8)] if padded else [*range(1, 33), 64, 128]
        sizes = [*known, *(2**power for power in range(8, 16)), most]
    return len({size for one in sizes if 0 < (size := whole(one)) <= most})


def draft_of(options: Mapping[str, Any], draft: Mapping[str, Any]) -> Draft | None:
    """The model that guesses tokens, where there is one.

    :param draft: its ``config``, ``bytes`` and ``tensors``, as far as they are known.
    """
    said = _mapping(options.get("speculative_config"))
    if not said and not draft:
        return None
    kind = str(said.get("decoding_type") or draft.get("kind") or "")
    if kind.upper() in WITHOUT_MODEL and not draft.get("bytes"):
        return Draft(kind="MTP" if kind.upper() == "MTP" else "none")
    return Draft(
        config=_mapping(draft.get("config")),
        total_bytes=whole(draft.get("bytes")),
        kind=kind,
        tensors=tuple(draft.get("tensors") or ()),
    )


def _said(option: str, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    flags = [value for name, value in arguments.items() if name in FLAGS and FLAGS[name].option == option]
    return next((value for value in (options.get(option), *flags) if value is not None), None)


def _whole(option: str, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    return max(whole(_said(option, arguments, options)), 0)


def _fraction(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
