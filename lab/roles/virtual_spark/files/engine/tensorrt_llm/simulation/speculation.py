# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""speculative_config: what each kind of it takes and needs, era by era, beyond the names and types of its keys.

Nothing is guessed: greedy answers are the same with it and without it. The draft's files are looked at on every rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from tensorrt_llm.simulation import era as eras
from tensorrt_llm.simulation.llm_args import Problem, ValidationError

#: the kinds of the first era, one of which loads a draft by another name than later
_FIRST = ("MTP", "Medusa", "Eagle", "Lookahead", "NGram", "DraftTarget", "SaveState", "UserProvided", "AUTO")
_WITH_DRAFT = ("Eagle", "Eagle3", "DraftTarget", "Draft_Target", "PARD", "DFlash")
_EAGLES, _MTP = ("Eagle", "Eagle3", "SaveState"), ("MTP",)
#: whose keys these are; all others are of every kind
OF = {
    "eagle3_layers_to_capture": _EAGLES,
    "eagle3_model_arch": _EAGLES,
    "eagle3_one_model": _EAGLES,
    "eagle_choices": _EAGLES,
    "num_eagle_layers": _EAGLES,
    "num_nextn_predict_layers": _MTP,
    "mtp_eagle_one_model": _MTP,
    "use_mtp_vanilla": _MTP,
    "relaxed_delta": _MTP,
    "relaxed_topk": _MTP,
}
GONE = ("eagle3_one_model", "mtp_eagle_one_model")  # with 1.4


@dataclass(frozen=True)
class Speculation:
    """What is guessed: by what, and how many tokens."""

    kind: str
    tokens: int
    model: str = ""  # the draft's directory; empty where the model guesses by itself


def read(config: Any, era: str) -> Speculation | None:
    """What a ``speculative_config`` says, which has been checked for names and types.

    :raises ValueError: for what the real one refuses, in its words.
    """
    if config is None:
        return None
    kind = config.get("decoding_type")
    first = era == eras.ERAS[0]
    if first and kind not in _FIRST:
        raise ValueError(f"Invalid decoding type: {kind}")
    if kind is None:
        where = ("speculative_config",)
        raise ValidationError(
            [Problem(where, "Unable to extract tag using discriminator 'decoding_type'", "union_tag_not_found", config)]
        )
    refuse(config, kind, era)
    model = config.get("speculative_model") or config.get("speculative_model_dir") or ""
    tokens = int(config.get("max_draft_len") or 0)
    if kind == "MTP" and era in eras.ERAS[:2]:  # where this one says both, whatever max_draft_len says
        tokens = int(config.get("num_nextn_predict_layers") or 1)
    if kind in _WITH_DRAFT:
        name = kind if kind == "Draft_Target" else "Eagle"
        if tokens <= 0:
            raise ValueError(f"max_draft_len must be > 0 for {name.replace('_', '')}")
        if not model:
            raise ValueError("Draft model must be provided for EAGLE")
    return Speculation(str(kind), tokens or 1, model if kind in _WITH_DRAFT else "")


def takes(kind: str, name: str, era: str) -> bool:
    """Whether a kind has a key, of those that any has in an era."""
    return kind in OF.get(name, (kind,)) and not (name in GONE and era == eras.ERAS[3])


def refuse(config: Mapping[str, Any], kind: str, era: str) -> None:
    """:raises ValidationError: for the keys of other kinds, and for those of other eras."""
    wrong = [name for name in config if not takes(kind, name, era)]
    if era == eras.ERAS[0] and "speculative_model" in config:
        wrong.append("speculative_model")
    problems = [
        Problem(("speculative_config", kind, name), "Extra inputs are not permitted", "extra_forbidden", config[name])
        for name in wrong
    ]
    if problems:
        raise ValidationError(problems)
