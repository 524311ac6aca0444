# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What any engine's plan takes from a model's ``config.json`` and its place, and from a catalogue's entry.

Pure functions. This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError

#: keys of ``config.json``: of a model that has one of them, the encoder of pictures
VISION = ("vision_config", "vision_tower", "mm_vision_tower", "vit_config", "vision_model")


def heads_problem(config: Mapping[str, Any], ways: int, option: str, instead: str) -> str:
    """Say why a model cannot be split into so many ways of tensor parallelism, or nothing.

    :param config: the model's ``config.json``. :param option: what asks for it, :param instead: and what for layers.

    >>> heads_problem({"text_config": {"num_attention_heads": 64}}, 3, "tp_size", "pp_size")
    'tp_size 3 does not divide the 64 attention heads of the model: use pp_size instead'
    >>> heads_problem({"num_attention_heads": 64}, 2, "tp_size", "pp_size")
    ''
    """
    # A model of several parts has its language model's figures in one of them, by whichever name.
    thinker = mapping(config.get("thinker_config"))
    inner = [
        thinker.get("text_config"),
        *(config.get(name) for name in ("text_config", "llm_config", "language_config")),
    ]
    said = [mapping(part).get("num_attention_heads") for part in (*inner, config)]
    heads = next((one for one in said if isinstance(one, int) and not isinstance(one, bool) and one > 0), 0)
    if heads % ways == 0:
        return ""
    return f"{option} {ways} does not divide the {heads} attention heads of the model: use {instead} instead"


def sees(config: Mapping[str, Any]) -> bool:
    """Whether a model takes pictures beside text, by its ``config.json``; False where that is not known.

    Most name their encoder's part ``vision_config``; Phi-4-multimodal has an embedding layer for pictures, and the
    first LLaVA the name of a tower. A class of several modalities that is none of these is not taken for one.

    >>> sees({"vision_config": {"depth": 32}}), sees({"vision_config": None}), sees({"model_type": "llama"})
    (True, False, False)
    """
    layer, thinker = mapping(config.get("embd_layer")), mapping(config.get("thinker_config"))
    parts = [config.get(name) for name in VISION] + [thinker.get("vision_config"), layer.get("image_embd_layer")]
    return any(isinstance(part, (Mapping, str)) and part for part in parts)


def inside(mounted: str, snapshot: str, repo_dir: str) -> str:
    """Where a snapshot is inside the containers. :raises ServeError: when it is not below its repository's directory.

    >>> inside("/models", "/cache/models--a--b/snapshots/abc", "/cache/models--a--b/")
    '/models/snapshots/abc'
    """
    repo_dir = repo_dir.rstrip("/")
    if not snapshot.startswith(f"{repo_dir}/"):
        raise ServeError(f"the snapshot {snapshot} is not below {repo_dir}")
    return mounted + snapshot[len(repo_dir) :]


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; what is in ``over`` wins.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}, "d": None})
    {'a': {'b': 1, 'c': 3}, 'd': None}
    """
    both = dict(under)
    for name, value in over.items():
        inner = both.get(name)
        nested = isinstance(value, Mapping) and isinstance(inner, Mapping)
        both[name] = merged(inner, value) if nested else value  # type: ignore[arg-type]
    return both


def mapping(value: Any) -> Mapping[str, Any]:
    """What stands where a mapping is expected; a null, as some models' ``config.json`` has, is an empty one."""
    return value if isinstance(value, Mapping) else {}
