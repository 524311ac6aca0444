# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engines can serve a model on a cluster, with what known trouble, and which to try first. Pure functions.

What is known of the engines is data, in engines.yml beside this file, with its sources.

This plugin util is private to the collection.
"""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping, Sequence

import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import sglang, trtllm_issues, vllm
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.every_node import EveryNode, Request
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import version_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import fit, report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.fit import CANNOT_TELL, DOES_NOT, FITS

DATA = Path(__file__).with_name("engines.yml")
WIDTH = 120
EVERY_NODE: Mapping[str, EveryNode] = {"vllm": vllm.ENGINE, "sglang": sglang.ENGINE}
YES, NO, UNKNOWN = "yes", "no", "unknown"
ENDS, COSTS, MENDED = 2, 1, 0  #: weights of troubles
#: parts of what a config.json says of its format, and the format that they mean; the first that is found counts
FORMATS = {
    "nvfp4": "NVFP4",
    "mxfp4": "MXFP4",
    "mxfp8": "MXFP8",
    "compressed-tensors": "COMPRESSED-TENSORS",
    "bitsandbytes": "BITSANDBYTES",
    "awq": "AWQ",
    "gptq": "GPTQ",
    "gguf": "GGUF",
    "fp8": "FP8",
    "fp4": "NVFP4",
}


class EnginesError(ValueError):
    """What is asked for is none of what there is; the message names what is."""


@dataclass(frozen=True)
class Asked:
    """What is to be served, and where."""

    repo: str
    entry: Mapping[str, Any]  # of the catalogue
    known: Mapping[str, Any]  # what the hub or a cache tells, as hf_models_info returns it
    memory_mib: Mapping[str, int]  # MemTotal by Spark, the leader first; 0 where it is not known
    images: Mapping[str, str]  # by engine
    purpose: str = "any"
    batch: int = 4
    context: int = 0  # tokens of one sequence; 0 for those of one batch
    reserve: fit.Reserve = field(default_factory=fit.Reserve)

    @property
    def config(self) -> Mapping[str, Any]:
        """The model's config.json, as far as it is known."""
        found: Mapping[str, Any] = self.known.get("config") or self.entry["config"]
        return found


@dataclass(frozen=True)
class Trouble:
    """Known trouble that this serving may meet. ``weight``: 2 ends servings, 1 costs something, 0 is mended here."""

    what: str
    mend: str
    source: str
    weight: int = COSTS


@dataclass(frozen=True)
class Choice:
    """One engine for this cluster and model."""

    engine: str
    title: str
    licence: str
    image: str
    answer: str  # of the fit, or that the format is none of its
    reasons: tuple[str, ...]
    would_fit: tuple[str, ...]
    kv_tokens: int
    context: int
    format: str
    takes_format: str  # yes, no or unknown
    format_source: str
    draft: str  # how tokens can be guessed by the draft that the catalogue has; empty where there is none
    troubles: tuple[Trouble, ...]
    place: int = 0  # in the order to try; 0 for one that cannot serve
    why: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)  # that the purpose asks for, beside the role's defaults

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {**plain, "troubles": [asdict(one) for one in self.troubles]}


@lru_cache(maxsize=1)
def data() -> Mapping[str, Any]:
    """What is known: ``engines`` and ``purposes``."""
    found: Mapping[str, Any] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return found


def format_of(asked: Asked) -> str:
    """The format of a checkpoint, by its config.json, the catalogue or its name; empty where nothing tells."""
    said = asked.config.get("quantization_config")
    words = [str(value) for value in said.values()] if isinstance(said, Mapping) else []
    places = (" ".join(words), str(asked.entry["quantisation"]), asked.repo)
    for text in places:
        found = next((kind for word, kind in FORMATS.items() if word in text.lower().replace("_", "-")), "")
        if found:
            return found
    plain = str(asked.config.get("torch_dtype") or asked.config.get("dtype") or "").lower()
    return "BF16" if plain in ("bfloat16", "float16") else ""


def choose(asked: Asked) -> list[Choice]:
    """All engines, those to try first before the others, and last those that cannot serve.

    :raises EnginesError: where the purpose is none.
    """
    known = data()
    if asked.purpose not in known["purposes"]:
        raise EnginesError(
            f"spark_engines_for is {asked.purpose!r}: say one of {', '.join(known['purposes'])}. Nothing was changed."
        )
    purpose = known["purposes"][asked.purpose]
    found = [_choice(name, about, asked) for name, about in known["engines"].items()]

    def order(one: Choice) -> tuple[int, int, int]:
        ending = sum(trouble.weight == ENDS for trouble in one.troubles)
        return ((FITS, CANNOT_TELL, DOES_NOT).index(one.answer), ending, purpose["order"].index(one.engine))

    found.sort(key=order)
    able = sum(one.answer != DOES_NOT for one in found)
    wanted = purpose["order"][0]
    return [
        replace(one, place=place if place <= able else 0, why=_why(one, place, wanted, purpose["why"], found))
        for place, one in enumerate(found, 1)
    ]


def _why(one: Choice, place: int, wanted: str, why: str, found: Sequence[Choice]) -> str:
    """Why an engine is first, where it is; it may be first since the one that suits better cannot, or has trouble."""
    if place > 1 or one.answer == DOES_NOT:
        return ""
    if one.engine == wanted:
        return " ".join(why.split())
    other = next(each for each in found if each.engine == wanted)
    if other.answer != one.answer:
        return f"{other.title} would suit this better, and {_in_words(other.answer)} here"
    return f"{other.title} would suit this better, and was reported to end servings such as this one"


def _in_words(answer: str) -> str:
    return {FITS: "fits", CANNOT_TELL: "one cannot tell whether it can", DOES_NOT: "cannot serve"}[answer]


def _choice(name: str, about: Mapping[str, Any], asked: Asked) -> Choice:
    kind = format_of(asked)
    takes, source = about["formats"].get(kind, (UNKNOWN, ""))
    said = _fit(name, asked)
    reasons = list(said.reasons)
    answer = said.answer
    if takes == NO:
        answer, reasons = DOES_NOT, [f"{about['title']} takes no checkpoint in {kind} ({source})", *reasons]
    elif takes == UNKNOWN:
        format_words = f"takes {kind}" if kind else "takes it, since nothing tells its format"
        reasons.append(f"nothing here knows whether {about['title']} {format_words}")
        answer = CANNOT_TELL if answer == FITS else answer
    draft = asked.entry["draft"].get("kind", "")
    return Choice(
        engine=name,
        title=about["title"],
        licence=about["licence"],
        image=asked.images.get(name, ""),
        answer=answer,
        reasons=tuple(reasons),
        would_fit=said.largest if takes != NO else (),
        kv_tokens=said.kv_tokens,
        context=said.context,
        format=kind,
        takes_format=takes,
        format_source=source,
        draft=about["drafts"].get(draft, "") if draft else "",
        troubles=tuple(_troubles(name, about, asked, kind)),
        arguments=data()["profiles"].get(asked.purpose, {}).get(name, {}),
    )


def _fit(name: str, asked: Asked) -> fit.Verdict:
    entry, known = asked.entry, asked.known
    by_catalogue = round((entry["weights_gb"] or 0) * 1e9)
    total = known.get("bytes") or known.get("weights_bytes") or by_catalogue
    need = fit.demand(asked.config, known.get("tensors") or [], total, setting_of(name, asked))
    need = replace(need, min_sparks=entry["min_sparks"], model=asked.repo)
    return fit.judge(need, asked.memory_mib, asked.reserve)


def setting_of(name: str, asked: Asked) -> fit.Setting:
    """What an engine would be told on these Sparks, by its role's defaults."""
    sparks = len(asked.memory_mib)
    if name not in EVERY_NODE:
        return report.setting_for(asked.entry, sparks, report.Asked(batch=asked.batch, context=asked.context))
    engine = EVERY_NODE[name]
    tp, pp = (sparks, 1) if _by_tensor(sparks) else (1, sparks)
    batch, context, chunk = (engine.limits[what][0] for what in ("batch", "context", "chunk"))
    arguments = {
        **dict(zip(engine.sizes, (tp, pp))),
        batch: asked.batch,
        chunk: CHUNKS[name],
        **({context: asked.context} if asked.context else {}),
    }
    return fit.Setting(**engine.setting(Request(list(asked.memory_mib), "", "", arguments=arguments)))


#: tokens of a part of a prompt, as the roles' defaults have them
CHUNKS = {"vllm": 8192, "sglang": 4096}


def _by_tensor(sparks: int) -> bool:
    return sparks in fit.SPARKS


def _troubles(name: str, about: Mapping[str, Any], asked: Asked, kind: str) -> list[Trouble]:
    sparks = len(asked.memory_mib)
    directory = "models--" + asked.repo.replace("/", "--")
    serving = trtllm_issues.Serving(asked.config, directory, {}, {}, sparks)
    version = version_of(asked.images.get(name, ""))
    family = str(asked.config.get("model_type") or "")
    found = [
        Trouble(one["what"], one["mend"], one["source"], one["weight"])
        for one in about["troubles"]
        if sparks >= one.get("sparks", 1)
        and not (one.get("not_tensor") and _by_tensor(sparks))
        and (not one.get("formats") or kind in one["formats"])
        and (not one.get("families") or family.startswith(tuple(one["families"])))
        and (not one.get("moe") or trtllm_issues.is_moe(serving) or "moe" in family)
        and (not one.get("versions") or (name == "trtllm" and version.startswith(tuple(one["versions"]))))
    ]
    if name == "trtllm":
        found += [Trouble(*one) for one in trtllm_issues.known(version, serving)]
    return sorted(found, key=lambda one: -one.weight)


def document(choices: Sequence[Choice], asked: Asked, now: float) -> dict[str, Any]:
    """All that is told, as plain values. :param now: seconds since the epoch."""
    return {
        "at": now,
        "model": asked.repo,
        "purpose": asked.purpose,
        "sparks": dict(asked.memory_mib),
        "engines": [one.to_json() for one in choices],
    }


def table(choices: Sequence[Choice], asked: Asked) -> list[str]:
    """The choice as lines for a terminal."""
    sparks = " and ".join(asked.memory_mib)
    lines = [f"{asked.repo} on {sparks}, for {asked.purpose.replace('_', ' ')}", ""]
    lines.append(f"{'TRY':<5}{'ENGINE':<14}{'MEMORY':<14}{'FORMAT':<30}{'KV TOKENS':>12}{'CONTEXT':>10}  IMAGE")
    for one in choices:
        place = str(one.place) if one.place else "-"
        taken = {YES: one.format, NO: f"{one.format}: none of its", UNKNOWN: f"{one.format or 'not told'}: unknown"}
        figures = [f"{number:,}" if number else "?" for number in (one.kv_tokens, one.context)]
        lines.append(
            f"{place:<5}{one.title:<14}{report.ANSWERS[one.answer]:<14}{taken[one.takes_format]:<30}"
            f"{figures[0]:>12}{figures[1]:>10}  {one.image}"
        )
    for one in choices:
        lines += ["", *_about(one, asked)]
    return lines


def _about(one: Choice, asked: Asked) -> list[str]:
    said = [f"First, since {one.why}."] if one.why else []
    said += [f"{reason}." for reason in one.reasons]
    said += [f"What would fit: {'; or '.join(one.would_fit)}."] if one.would_fit else []
    if one.draft:
        said.append(f"Tokens can be guessed by the model's draft ({asked.entry['draft']['kind']}): {one.draft}.")
    marks = {ENDS: "Known to end servings", COSTS: "Known", MENDED: "Mended here"}
    said += [
        f"{marks[each.weight]}: {' '.join(each.what.split())}. {_mend(each)} ({each.source})" for each in one.troubles
    ]
    if one.arguments:
        words = ", ".join(f"{name}: {_yaml(value)}" for name, value in one.arguments.items())
        said.append(f"Settings for this purpose: {one.engine}_serve_arguments: {{{words}}}")
    if one.place:
        said.append(f"Try it: -e spark_engine={one.engine} -e spark_model={asked.repo}")
    body = [
        line
        for text in said
        for line in textwrap.wrap(
            text,
            WIDTH - 4,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
    return [one.title.upper(), *body]


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mend(trouble: Trouble) -> str:
    text = " ".join(trouble.mend.split())
    return f"{text[:1].upper()}{text[1:]}."
