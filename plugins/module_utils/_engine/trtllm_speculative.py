# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How TensorRT-LLM is told to guess tokens ahead, in the spelling of each image. Pure functions.

The spellings are transcribed from ``tensorrt_llm/llmapi/llm_args.py`` of 1.2.0rc and 1.3.0rc, from the schema of
1.4.0rc0, and from NVIDIA's page on speculative decoding for DGX Spark, which is for 1.3.0rc12.

This module util is private to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import parse_version

EAGLE3, DRAFT_TARGET, MTP = "Eagle3", "Draft_Target", "MTP"
KINDS = (EAGLE3, DRAFT_TARGET, MTP)
CONFIG = "speculative_config"

#: from here on the newer spelling is sure; the one beneath it goes on being taken for a while, so that it serves before
LATE = (1, 3, 0, 20)


@dataclass(frozen=True)
class Speculation:
    """By what, and how many tokens at a time, are guessed."""

    kind: str  # one of KINDS
    handle: str = ""  # of the model that guesses; MTP has none
    revision: str = ""
    tokens: int = 3


def render(
    asked: Speculation, version: str, place: str = "", takes: Callable[[str], bool] | None = None
) -> dict[str, Any]:
    """The ``speculative_config`` of a version.

    :param version: of TensorRT-LLM; where it tells none, a spelling that all versions but the oldest take.
    :param place: the draft's directory, inside the containers; MTP has none.
    :param takes: of the schema that the image has, whether there is such a key; None where it has none.

    >>> render(Speculation("Eagle3", "a/b", tokens=5), "1.3.0rc12", "/draft/x")
    {'decoding_type': 'Eagle', 'max_draft_len': 5, 'speculative_model_dir': '/draft/x'}
    >>> render(Speculation("MTP", tokens=2), "1.4.0rc0")
    {'decoding_type': 'MTP', 'max_draft_len': 2}
    """
    number = parse_version(version)
    late = takes is not None or (number is not None and number >= LATE)
    early = takes is None and number is not None and number[:2] < (1, 3)
    # Up to 1.2 there is no Eagle3, and Eagle stands for it, as it does in NVIDIA's recipe for 1.3.0rc12 and still may.
    # DraftTarget was spelt with an underscore from 1.3 on; NVIDIA's recipe has the older spelling, which that refuses.
    spelt = {
        EAGLE3: EAGLE3 if late else "Eagle",
        DRAFT_TARGET: "DraftTarget" if early else DRAFT_TARGET,
        MTP: MTP,
    }
    config: dict[str, Any] = {"decoding_type": spelt[asked.kind], "max_draft_len": asked.tokens}
    if asked.kind != MTP:
        # The older name is all that 1.2 has, and another name of the newer one since.
        new = takes(f"{CONFIG}.speculative_model") if takes else late
        config["speculative_model" if new else "speculative_model_dir"] = place
    elif not late:
        # One key said both how many layers there are and how many tokens are guessed, and won over max_draft_len, until
        # some candidate from May 2026 on, which reads the layers from the checkpoint whatever is said.
        config["num_nextn_predict_layers"] = asked.tokens
    return config


def beneath(asked: Speculation, version: str, has_schema: bool) -> dict[str, Any]:
    """What else has to be so unless somebody says otherwise.

    TensorRT-LLM's page on speculative decoding said of all kinds but MTP that the KV cache must not be reused, and
    NVIDIA's recipes for a Spark (1.3.0rc12) say so each time; with a draft target the overlap scheduler is off in them,
    too. What else is in those recipes (one sequence at a time, no autotuner, no chunked prefill) only bounds time and
    memory.

    >>> beneath(Speculation("Draft_Target", "a/b"), "1.3.0rc13", False)
    {'kv_cache_config': {'enable_block_reuse': False}, 'disable_overlap_scheduler': True}
    >>> beneath(Speculation("Draft_Target", "a/b"), "1.4.0rc0", True), beneath(Speculation("MTP"), "1.3.0rc13", False)
    ({}, {})
    """
    number = parse_version(version)
    if asked.kind == MTP or has_schema or (number is not None and number >= LATE):
        return {}
    found: dict[str, Any] = {"kv_cache_config": {"enable_block_reuse": False}}
    return {**found, "disable_overlap_scheduler": True} if asked.kind == DRAFT_TARGET else found
