# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model keeps of the tokens that it has seen, layer by layer, by its ``config.json``. Pure functions.

An architecture that is not known here is refused by name: a figure made by another's formula is worse than none.

This plugin util is private to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

#: where a model of several parts has its language model's figures
PARTS = ("text_config", "llm_config", "language_config")

#: of the families below all layers attend alike, unless config.json has layer_types or a window
DENSE = {
    *("llama", "mistral", "mistral3", "mixtral", "ministral", "granite", "granitemoe", "olmo2", "olmo3", "smollm3"),
    *("qwen2", "qwen2_moe", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"),
    *("qwen3", "qwen3_moe", "qwen3_vl", "qwen3_vl_text", "qwen3_vl_moe", "qwen3_vl_moe_text"),
    *("phi3", "phi4mm", "phi4_multimodal", "glm4", "glm4_moe", "minimax_m2", "seed_oss", "exaone4", "ernie4_5_moe"),
    *("gpt_oss", "gemma2", "gemma3", "gemma3_text", "gemma4", "gemma4_text", "llama4", "llama4_text", "cohere2"),
}
#: full attention in some layers, a Gated DeltaNet in the others
GATED_DELTA = {"qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"}
#: one latent vector a token, that every rank has whole
LATENT = {"deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe_lite", "glm_moe_dsa"}
#: Mamba-2, attention and plain layers in the order of a pattern
NEMOTRON_H = {"nemotron_h"}
#: every layer's attention was chosen by a search, and may be none
SEARCHED = {"nemotron-nas", "deci"}
KNOWN = DENSE | GATED_DELTA | LATENT | NEMOTRON_H | SEARCHED

#: after how many sliding layers a full one comes, where config.json does not say
PATTERN = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gemma4": 6, "gemma4_text": 6, "llama4": 4, "llama4_text": 4}
PATTERN.update({"gpt_oss": 2, "cohere2": 4})

#: figures that config.json leaves out where they are what transformers takes for granted
DEFAULTS: dict[str, dict[str, int]] = {
    "gemma2": {"head_dim": 256, "sliding_window": 4096},
    "gemma3_text": {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096},
    "gemma4_text": {"head_dim": 256, "global_head_dim": 512},
    "llama4_text": {"num_key_value_heads": 8, "head_dim": 128, "attention_chunk_size": 8192},
}

MOST_LAYERS = 10_000

#: bytes that a sparse attention's indexer keeps of a token, beside one byte for each of its dimensions: a scale
INDEXER_SCALE = 4


class ArchitectureError(ValueError):
    """The config.json does not tell what a token costs; the message says why."""


@dataclass(frozen=True)
class Layer:
    """What one layer keeps. All zero of a layer that keeps nothing."""

    heads: int = 0  # KV heads of an attention
    width: int = 0  # elements that a head keeps of a token: key and value
    window: int = 0  # tokens of which it keeps them; 0 for all
    latent: int = 0  # elements of a token that every rank keeps whole
    indexer: int = 0  # bytes of a token that every rank keeps whole
    groups: int = 0  # of a layer with a state: groups, heads, and their widths
    group_width: int = 0
    state_heads: int = 0
    head_width: int = 0
    state_width: int = 0
    kernel: int = 0  # of its convolution


@dataclass(frozen=True)
class Architecture:
    """A language model, as far as memory goes."""

    name: str  # model_type
    layers: tuple[Layer, ...]
    context: int  # tokens; 0 where config.json does not say
    heads: int  # of attention; 0 where it does not say
    kv_bits: float  # of an element of the KV cache that the checkpoint asks for; 16 where it does not


def read(config: Mapping[str, Any]) -> Architecture:
    """Read a ``config.json``.

    :raises ArchitectureError: when the architecture is not known, or a figure is missing or is no number.
    """
    part = language_part(config)
    name = str(part.get("model_type") or config.get("model_type") or "")
    if name not in KNOWN:
        raise ArchitectureError(
            f"nothing here knows what a token costs with the architecture {name or 'that config.json does not name'}"
        )
    part = {**DEFAULTS.get(name, {}), **{key: value for key, value in part.items() if value is not None}}
    layers = _layers(name, part)
    return Architecture(
        name=name,
        layers=layers,
        context=_number(part, "max_position_embeddings", 0),
        heads=_number(part, "num_attention_heads", 0),
        kv_bits=_kv_bits(config),
    )


def language_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config.json that has the language model's figures; of most models that is the whole.

    >>> language_part({"model_type": "a", "text_config": {"num_hidden_layers": 2}})
    {'num_hidden_layers': 2}
    >>> language_part({"num_hidden_layers": 2, "text_config": None})
    {'num_hidden_layers': 2, 'text_config': None}
    """
    thinker = config.get("thinker_config")
    outer = thinker if isinstance(thinker, Mapping) else config
    inner = [part for name in PARTS if isinstance(part := outer.get(name), Mapping)]
    return next((part for part in inner if "num_hidden_layers" in part or "hybrid_override_pattern" in part), outer)


def _number(part: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = part.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ArchitectureError(f"{name} of its config.json is {value!r} and no number")
    return value


def _sequence(part: Mapping[str, Any], name: str) -> Sequence[Any]:
    """A list of a config.json; empty where it has none."""
    value = part.get(name)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else []


def _kv_bits(config: Mapping[str, Any]) -> float:
    """By what ModelOpt writes: ``kv_cache_scheme``, or ``kv_cache_quant_algo`` of an older file."""
    quantised = config.get("quantization_config")
    found = quantised if isinstance(quantised, Mapping) else {}
    scheme = found.get("kv_cache_scheme")
    bits = scheme.get("num_bits") if isinstance(scheme, Mapping) else None
    algorithm = str(found.get("kv_cache_quant_algo") or "").upper()
    return 8 if bits == 8 or algorithm == "FP8" else 16


def _layers(name: str, part: Mapping[str, Any]) -> tuple[Layer, ...]:
    if name in NEMOTRON_H:
        return _nemotron_h(part)
    count = _number(part, "num_hidden_layers")
    if count > MOST_LAYERS:
        raise ArchitectureError(f"num_hidden_layers of its config.json is {count}, and no model has so many")
    if name in SEARCHED:
        return _searched(part, count)
    if name in LATENT:
        return (_latent(part),) * count
    kinds = _kinds(name, part, count)
    window = _window(name, part)
    made = {
        "full_attention": _attention(name, part, full=True),
        "sliding_attention": _attention(name, part, window=window),
        "chunked_attention": _attention(name, part, window=window),
        "linear_attention": _gated_delta(part) if "linear_attention" in kinds else Layer(),
    }
    unknown = sorted(set(kinds) - set(made))
    if unknown:
        raise ArchitectureError(f"nothing here knows what a layer of the type {unknown[0]} keeps")
    shared = _number(part, "num_kv_shared_layers", 0)  # the last ones read what an earlier one keeps
    return tuple(made[kind] for kind in kinds[: count - shared]) + (Layer(),) * min(shared, count)


def _kinds(name: str, part: Mapping[str, Any], count: int) -> Sequence[str]:
    said = _sequence(part, "layer_types")
    if said:
        if len(said) != count:
            raise ArchitectureError(f"layer_types of its config.json names {len(said)} layers of {count}")
        return [str(one) for one in said]
    if name in GATED_DELTA:
        every = _number(part, "full_attention_interval", 4) or 4
        return ["linear_attention" if (place + 1) % every else "full_attention" for place in range(count)]
    if not _window(name, part):
        return ["full_attention"] * count
    if name.startswith("llama4"):
        roped = _sequence(part, "no_rope_layers") or [(place + 1) % 4 for place in range(count)]
        if len(roped) != count:
            raise ArchitectureError(f"no_rope_layers of its config.json names {len(roped)} layers of {count}")
        return ["chunked_attention" if one else "full_attention" for one in roped]
    if name.startswith("qwen"):
        first = _number(part, "max_window_layers", count)
        return ["full_attention" if place < first else "sliding_attention" for place in range(count)]
    every = _number(part, "sliding_window_pattern", PATTERN.get(name, 0))
    return ["full_attention" if every and not (place + 1) % every else "sliding_attention" for place in range(count)]


def _window(name: str, part: Mapping[str, Any]) -> int:
    if name.startswith("qwen") and not part.get("use_sliding_window"):
        return 0
    window = _number(part, "attention_chunk_size" if name.startswith("llama4") else "sliding_window", 0)
    return 0 if window >= _number(part, "max_position_embeddings", window + 1) else window  # then it hides nothing


def _attention(name: str, part: Mapping[str, Any], window: int = 0, full: bool = False) -> Layer:
    heads = _number(part, "num_attention_heads")
    kv_heads = _number(part, "num_key_value_heads", heads)
    width = _number(part, "head_dim", 0) or _number(part, "hidden_size") // max(heads, 1)
    if full and name.startswith("gemma4"):
        kv_heads = _number(part, "num_global_key_value_heads", kv_heads)
        width = _number(part, "global_head_dim", width)
    if not kv_heads or not width:
        raise ArchitectureError("its config.json tells no KV heads, or none of their width")
    return Layer(heads=kv_heads, width=2 * width, window=window)


def _latent(part: Mapping[str, Any]) -> Layer:
    dimensions = _number(part, "index_head_dim", 0)
    return Layer(
        latent=_number(part, "kv_lora_rank") + _number(part, "qk_rope_head_dim"),
        indexer=dimensions + INDEXER_SCALE if dimensions else 0,
    )


def _gated_delta(part: Mapping[str, Any]) -> Layer:
    keys = _number(part, "linear_key_head_dim")
    return Layer(
        groups=_number(part, "linear_num_key_heads"),
        group_width=keys,
        state_heads=_number(part, "linear_num_value_heads"),
        head_width=_number(part, "linear_value_head_dim"),
        state_width=keys,
        kernel=_number(part, "linear_conv_kernel_dim"),
    )


def _nemotron_h(part: Mapping[str, Any]) -> tuple[Layer, ...]:
    pattern = part.get("hybrid_override_pattern")
    said = _sequence(part, "layers_block_type") or list(pattern if isinstance(pattern, str) else "")
    if not said:
        raise ArchitectureError("its config.json has no hybrid_override_pattern, which tells which layer is what")
    mamba = Layer(
        groups=_number(part, "n_groups"),
        group_width=_number(part, "ssm_state_size"),
        state_heads=_number(part, "mamba_num_heads"),
        head_width=_number(part, "mamba_head_dim"),
        state_width=_number(part, "ssm_state_size"),
        kernel=_number(part, "conv_kernel"),
    )
    made = {
        **dict.fromkeys(("M", "mamba"), mamba),
        **dict.fromkeys(("*", "attention"), _attention("nemotron_h", part)),
        **dict.fromkeys(("-", "mlp", "E", "moe"), Layer()),
    }
    unknown = [one for one in map(str, said) if one not in made]
    if unknown:
        raise ArchitectureError(f"nothing here knows what a layer of the type {unknown[0]!r} keeps")
    return tuple(made[str(one)] for one in said)


def _searched(part: Mapping[str, Any], count: int) -> tuple[Layer, ...]:
    blocks = _sequence(part, "block_configs")
    if len(blocks) != count:
        raise ArchitectureError("its config.json has not one of block_configs for each layer")
    heads = _number(part, "num_attention_heads")
    width = _number(part, "head_dim", 0) or _number(part, "hidden_size") // max(heads, 1)
    layers = []
    for block in blocks:
        said = block.get("attention") if isinstance(block, Mapping) else None
        if not isinstance(said, Mapping):
            raise ArchitectureError("a block of its config.json does not tell its attention")
        none = said.get("no_op") or said.get("replace_with_linear")
        each = 0 if none else heads // max(_number(said, "n_heads_in_group"), 1)
        layers.append(Layer(heads=each, width=2 * width if each else 0, window=_number(said, "window_length", 0)))
    return tuple(layers)
