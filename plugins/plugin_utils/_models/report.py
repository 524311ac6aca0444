# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models a cluster can serve, how fast, and what it takes to have them: rows, a table, a page. Pure functions.

Speeds and times are estimates, and each says what it rests on. docs/models_report.md explains the columns.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.of_model import merged
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import fit, settings
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.architecture import language_part
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.fit import CANNOT_TELL, DOES_NOT, FITS
from jinja2 import Environment, StrictUndefined

TEMPLATE = Path(__file__).with_name("report.html.j2")
WIDTH = 140

#: of a batch, as trtllm_serve_arguments has it
MAX_NUM_TOKENS = 8192
#: GB/s that a Spark's memory gives, https://docs.nvidia.com/dgx/dgx-spark/hardware.html
MEMORY_GB_S = 273.0
#: of these, what a decoding engine gets; docs/models_report.md has the points that were compared
EFFICIENCY = 0.6
#: MB/s of a download and of a copy, where no earlier one was measured
DOWNLOAD_MB_S, COPY_MB_S = 50.0, 1000.0

ANSWERS = {FITS: "fits", CANNOT_TELL: "cannot tell", DOES_NOT: "does not fit"}
#: of one, and of several
COUNTED = {
    FITS: ("fits", "fit"),
    CANNOT_TELL: ("of which nothing tells", "of which nothing tells"),
    DOES_NOT: ("does not fit", "do not fit"),
}
#: where the figures of a model come from
ORIGINS = {"hub": "the hub", "cache": "the leader's cache", "": "the catalogue"}

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
CHOSEN = ("num_experts_per_tok", "experts_per_token", "moe_topk", "moe_top_k", "num_experts_per_token")
_ROUTING_FAMILIES = re.compile(r"moe|mixtral|gpt_oss|llama4|deepseek|kimi|minimax|qwen3_next|glm4_moe|nemotron_h")
_ROUTED = re.compile(r"(?:^|\.)experts\.")
_LOOKED_UP = re.compile(r"(?:^|\.)(?:embed_tokens|wte|word_embeddings|embeddings?)\.weight$")
_HEAD = re.compile(r"(?:^|\.)(?:lm_head|output)\.")
_OTHER_SENSES = re.compile(
    r"(?:^|\.)(?:visual|vision\w*|audio\w*|sound\w*|multi_modal_projector|mm_projector|mlp1|mtp)\b"
)


@dataclass(frozen=True)
class Host:
    """A Spark, as models_host_info tells of it."""

    name: str
    memory_mib: int = 0
    free_bytes: int = 0
    blobs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by repository and hash, the size
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by way: bytes and seconds


@dataclass(frozen=True)
class Asked:
    """What the estimates are for, and what they rest on."""

    batch: int = 4
    context: int = 0  # tokens of one sequence; 0 for what the fit takes
    efficiency: float = EFFICIENCY
    download_mb_s: float = 0  # 0 for what was measured, or else assumed
    copy_mb_s: float = 0
    reserve_gb: float = 20  # that stay free on each disk
    reserve: fit.Reserve = field(default_factory=fit.Reserve)


@dataclass(frozen=True)
class Rate:
    """Bytes a second, and whether that was measured, given or assumed."""

    bytes_s: float
    basis: str


@dataclass(frozen=True)
class Disk:
    """What a model takes on one Spark."""

    host: str
    needed_bytes: int | None  # beside what is there; None where nothing tells the size
    free_bytes: int
    cached_bytes: int
    whole: bool


@dataclass(frozen=True)
class Row:
    """All that is told of one model."""

    handle: str
    title: str
    quantisation: str
    kind: str
    min_sparks: int
    gated: bool | None
    answer: str
    reasons: tuple[str, ...]
    would_fit: tuple[str, ...]
    notes: tuple[str, ...]
    origin: str
    problem: str
    commit: str
    bytes: int
    kv_tokens: int
    context: int
    active_bytes: int
    active_basis: str
    tokens_s: float
    disks: tuple[Disk, ...]
    download_s: float | None
    copy_s: float | None
    confirmed: bool
    sources: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            name: [asdict(disk) for disk in value]
            if name == "disks"
            else list(value)
            if isinstance(value, tuple)
            else value
            for name, value in vars(self).items()
        }


def decode_tokens_s(
    active_bytes: float, sparks: int, efficiency: float = EFFICIENCY, memory_gb_s: float = MEMORY_GB_S
) -> float:
    """Return the tokens a second of one sequence at most, by the memory's speed alone: a roofline.

    Every token has each rank read its share of the weights that take part. What the KV cache, the network between the
    ranks and the kernels cost is in ``efficiency``.

    :param active_bytes: of the weights that one token needs. :param sparks: that read at the same time, as tensor
        parallel ranks do; stages of a pipeline take turns, and count as one.

    >>> round(decode_tokens_s(3e9, 1, 0.6), 1), decode_tokens_s(0, 1)
    (54.6, 0.0)
    """
    return memory_gb_s * 1e9 * sparks * efficiency / active_bytes if active_bytes > 0 else 0.0


def active_bytes(
    config: Mapping[str, Any], tensors: Sequence[Mapping[str, Any]], weights_bytes: int, active_gb: float | None
) -> tuple[int, str]:
    """Return the bytes of the weights that one token needs, and where that is from; 0 where nothing tells.

    Of experts the chosen share counts, an embedding is looked up and not read, and what sees or hears is not used.
    """
    experts, chosen = _experts(config)
    if tensors:
        if any(_ROUTED.search(one["name"]) for one in tensors) and not experts:
            return (round(active_gb * 1e9), "the catalogue") if active_gb else (0, "")
        share = chosen / experts if experts else 1.0
        has_head = any(_HEAD.search(one["name"]) for one in tensors)
        read = 0.0
        for one in tensors:
            name = str(one["name"])
            if _OTHER_SENSES.search(name) or (has_head and _LOOKED_UP.search(name)):
                continue
            read += one["bytes"] * (share if _ROUTED.search(name) else 1)
        return round(read), "the headers of the weights"
    if active_gb:
        return round(active_gb * 1e9), "the catalogue"
    if config and not experts and weights_bytes and not _may_route(config):
        return weights_bytes, "the size of the weights"
    return 0, ""


def _experts(config: Mapping[str, Any]) -> tuple[int, int]:
    part = language_part(config)
    every = next((part[name] for name in EXPERTS if _is_count(part.get(name))), 0)
    chosen = next((part[name] for name in CHOSEN if _is_count(part.get(name))), 0)
    return (every, min(chosen, every)) if every and chosen else (0, 0)


def _may_route(config: Mapping[str, Any]) -> bool:
    """Whether a model may have experts, although its config.json names no number of them that is known here."""
    part = language_part(config)
    pattern = part.get("hybrid_override_pattern") or part.get("layers_block_type") or ""
    name = str(part.get("model_type") or config.get("model_type") or "")
    return "E" in pattern or "moe" in pattern or bool(_ROUTING_FAMILIES.search(name))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def setting_for(entry: Mapping[str, Any], sparks: int, asked: Asked) -> fit.Setting:
    """Return what the engine would be told on so many Sparks: trtllm_serve's defaults above what the entry says."""
    tp = sparks if sparks in (1, 2, 4, 8) else 1
    arguments = {
        **entry["arguments"],
        "tp_size": tp,
        "pp_size": 1 if tp == sparks else sparks,
        "max_batch_size": asked.batch,
        "max_num_tokens": MAX_NUM_TOKENS,
        **({"max_seq_len": asked.context} if asked.context else {}),
    }
    return settings.setting_of(arguments, merged(entry["options"], {"cuda_graph_config": {"enable_padding": True}}))


def rows(
    entries: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    hosts: Sequence[Host],
    asked: Asked,
) -> list[Row]:
    """Return a row for each model, those that fit first, the larger before the smaller.

    :param entries: of the catalogue, by handle. :param facts: of hf_models_info, by handle. :param hosts: the leader
        first.
    """
    made = [_row(handle, entry, facts, hosts, asked) for handle, entry in entries.items()]
    order = list(ANSWERS)
    return sorted(made, key=lambda row: (order.index(row.answer), -row.bytes, row.handle))


def _row(
    handle: str,
    entry: Mapping[str, Any],
    facts: Mapping[str, Mapping[str, Any]],
    hosts: Sequence[Host],
    asked: Asked,
) -> Row:
    known: Mapping[str, Any] = facts.get(handle) or {}
    config = known.get("config") or entry["config"]
    tensors = known.get("tensors") or []
    by_catalogue = round((entry["weights_gb"] or 0) * 1e9)
    told = known.get("bytes", 0) if known.get("origin") == "hub" else max(known.get("bytes", 0), by_catalogue)
    weights = sum(one["bytes"] for one in tensors) or known.get("weights_bytes", 0) or by_catalogue or told
    setting = setting_for(entry, len(hosts), asked)
    memory = {host.name: host.memory_mib for host in hosts}

    def judged(draft: fit.Draft | None) -> fit.Verdict:
        need = fit.demand(config, tensors, told or weights, setting, draft)
        need = replace(need, min_sparks=entry["min_sparks"], model=handle)
        return fit.judge(need, memory, asked.reserve)

    said = judged(settings.draft_of(entry["options"], {}))
    disks = tuple(_disk(handle, known, told, host) for host in hosts)
    lacking = _lacking(disks, asked.reserve_gb)
    active, basis = active_bytes(config, tensors, weights, entry["active_gb"])
    download, copy = rates(hosts, asked)
    return Row(
        handle=handle,
        title=entry["title"] or handle.rpartition("/")[2],
        quantisation=entry["quantisation"] or _quantisation(config),
        kind=entry["kind"],
        min_sparks=entry["min_sparks"],
        gated=entry["gated"] if known.get("gated") is None else known["gated"],
        answer=DOES_NOT if lacking else said.answer,
        reasons=(*said.reasons, *lacking),
        would_fit=said.largest,
        notes=(*said.notes, *_with_draft(entry["draft"], judged(_draft(entry, facts)))),
        origin=known.get("origin", ""),
        problem=known.get("problem", "") or known.get("tensors_problem", ""),
        commit=known.get("commit", ""),
        bytes=told,
        kv_tokens=said.kv_tokens,
        context=said.context,
        active_bytes=active,
        active_basis=basis,
        tokens_s=round(decode_tokens_s(active, setting.tp, asked.efficiency), 1),
        disks=disks,
        download_s=_seconds(disks[:1], download),
        copy_s=_seconds(disks[1:], copy),
        confirmed=entry["confirmed"],
        sources=tuple(entry["sources"]),
    )


def _with_draft(draft: Mapping[str, Any], said: fit.Verdict) -> list[str]:
    """Return what becomes of the answer where a draft model guesses tokens."""
    if not draft:
        return []
    which = draft.get("handle") or draft.get("kind")
    why = f" ({'; '.join(said.reasons)})" if said.reasons else ""
    return [f"With speculative decoding by {which}: {ANSWERS[said.answer]}{why}"]


def _draft(entry: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]]) -> fit.Draft | None:
    said = entry["draft"]
    if not said:
        return None
    known = facts.get(said.get("handle", "")) or {}
    return fit.Draft(
        config=known.get("config") or {},
        total_bytes=known.get("weights_bytes", 0) or known.get("bytes", 0),
        kind=str(said.get("kind", "")),
        tensors=tuple(known.get("tensors") or ()),
    )


def _quantisation(config: Mapping[str, Any]) -> str:
    said = config.get("quantization_config")
    found = said if isinstance(said, Mapping) else {}
    return str(found.get("quant_algo") or found.get("quant_method") or config.get("torch_dtype") or "")[:20].upper()


def _disk(handle: str, known: Mapping[str, Any], total: int, host: Host) -> Disk:
    there = host.blobs.get(handle) or {}
    blobs = known.get("blobs") or {}
    cached = sum(size for name, size in blobs.items() if there.get(name) == size) if blobs else sum(there.values())
    whole = (
        known.get("origin") == "hub" and bool(blobs) and all(there.get(name) == size for name, size in blobs.items())
    )
    needed = 0 if whole else max(total - cached, 0) if total else None
    return Disk(host.name, needed, host.free_bytes, cached, whole)


def _lacking(disks: Sequence[Disk], reserve_gb: float) -> list[str]:
    """Return which disks have no room for a model, a line for those that are alike."""
    full: dict[str, list[str]] = {}
    for disk in disks:
        if disk.needed_bytes and disk.needed_bytes + reserve_gb * 1e9 > disk.free_bytes:
            full.setdefault(_full(disk, reserve_gb), []).append(disk.host)
    return [f"{' and '.join(hosts)}: {line}" for line, hosts in full.items()]


def _full(disk: Disk, reserve_gb: float) -> str:
    return (
        f"the disk has {gigabytes(disk.free_bytes)} GB free, the model needs "
        f"{gigabytes(disk.needed_bytes)} more, and {reserve_gb:g} are to stay free (spark_reserve_gb): make room"
    )


def rates(hosts: Sequence[Host], asked: Asked) -> tuple[Rate, Rate]:
    """Return how fast models are downloaded and copied: as given, else as the last ones came, else as assumed."""
    peers = [rate for host in hosts[1:] if (rate := _measured(host, "peer"))]
    return (
        _rate(asked.download_mb_s, _measured(hosts[0], "hub") if hosts else 0, DOWNLOAD_MB_S),
        _rate(asked.copy_mb_s, min(peers, default=0), COPY_MB_S),
    )


def _measured(host: Host, way: str) -> float:
    row = host.rates.get(way) or {}
    seconds = row.get("seconds", 0)
    return row.get("bytes", 0) / seconds if seconds > 0 else 0.0


def _rate(given_mb_s: float, measured: float, assumed_mb_s: float) -> Rate:
    if given_mb_s > 0:
        return Rate(given_mb_s * 1e6, "given")
    return Rate(measured, "measured") if measured > 0 else Rate(assumed_mb_s * 1e6, "assumed")


def _seconds(disks: Sequence[Disk], rate: Rate) -> float | None:
    """Return how long the slowest one takes; None where nothing tells."""
    if not disks or any(disk.needed_bytes is None for disk in disks):
        return None
    return round(max(disk.needed_bytes or 0 for disk in disks) / rate.bytes_s, 1)


# For people


def gigabytes(count: float | None) -> str:
    """Return bytes as GB.

    >>> gigabytes(65250000000), gigabytes(40201419), gigabytes(0), gigabytes(None)
    ('65.3', '0.04', '0', '?')
    """
    if count is None:
        return "?"
    value = count / 1e9
    return "0" if not count else f"{value:.1f}" if value >= 1 else f"{value:.2f}" if value >= 0.01 else "<0.01"


def thousands(count: int) -> str:
    """Return a number with its thousands apart.

    >>> thousands(1234567)
    '1,234,567'
    """
    return f"{count:,}"


def duration(seconds: float | None) -> str:
    """Return a time in two units at most.

    >>> duration(None), duration(0), duration(41.6), duration(600), duration(3900), duration(200000)
    ('?', '-', '42 s', '10 min', '1 h 05 min', '2 d 7 h')
    """
    if seconds is None:
        return "?"
    if seconds <= 0:
        return "-"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def speed(row: Row) -> str:
    """Return the tokens a second of a row."""
    return f"{row.tokens_s:,.0f}" if row.tokens_s >= 10 else f"{row.tokens_s:.1f}" if row.tokens_s else "?"


def cached(row: Row) -> str:
    """Return where a model is, in a few words.

    A Spark that has a part of it is named with the share.
    """
    whole = [disk.host for disk in row.disks if disk.whole]
    if whole and len(whole) == len(row.disks):
        return "everywhere" if len(whole) > 1 else whole[0]
    parts = [f"{disk.host} {_share(disk, row.bytes)}" for disk in row.disks if disk.cached_bytes and not disk.whole]
    return ", ".join([*whole, *parts]) or "nowhere"


def _share(disk: Disk, total: int) -> str:
    return f"{100 * disk.cached_bytes // total}%" if total else f"{gigabytes(disk.cached_bytes)} GB"


def document(
    made: Sequence[Row], hosts: Sequence[Host], asked: Asked, at: float, others: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return all that is told, as JSON can hold it.

    :param at: when, in seconds since the epoch. :param others: by host, further models that its cache has.
    """
    download, copy = rates(hosts, asked)
    return {
        "at": round(at, 1),
        "sparks": [{"name": host.name, "memory_mib": host.memory_mib, "free_bytes": host.free_bytes} for host in hosts],
        "asked": {"batch": asked.batch, "context": asked.context, "reserve_gb": asked.reserve_gb},
        "assumed": {
            "memory_gb_s": MEMORY_GB_S,
            "efficiency": asked.efficiency,
            "download": asdict(download),
            "copy": asdict(copy),
        },
        "others_cached": {name: list(repos) for name, repos in others.items() if repos},
        "models": [row.to_json() for row in made],
    }


def basis(hosts: Sequence[Host], asked: Asked) -> list[str]:
    """Return what the figures rest on, a sentence each."""
    download, copy = rates(hosts, asked)
    sparks = {1: "one Spark", 2: "both Sparks"}.get(len(hosts), f"all {len(hosts)} Sparks")
    speeds = [
        f"Decode speed: at most, for one sequence on {sparks}, by the memory alone: {MEMORY_GB_S:g} GB/s a Spark x "
        f"{asked.efficiency:g} (spark_models_efficiency) / the bytes of the weights that a token needs.",
        f"Download: {_mb_s(download)}, {_told(download, 'spark_models_download_mb_s', 'on the leader')}.",
    ]
    if len(hosts) > 1:
        told = _told(copy, "spark_models_copy_mb_s", "between these Sparks")
        speeds.append(f"Copy: {_mb_s(copy)}, {told}; it runs while the download does.")
    each = f"of {thousands(asked.context)} tokens each" if asked.context else "each as long as one batch, or longer"
    return [
        f"Fit: on {sparks}, {asked.batch} sequences at a time (spark_models_batch), {each} (spark_models_context). "
        "KV tokens are those of all sequences together.",
        *speeds,
    ]


def _mb_s(rate: Rate) -> str:
    value = rate.bytes_s / 1e6
    return f"{value:.0f} MB/s" if value >= 10 else f"{value:.1f} MB/s"


def _told(rate: Rate, name: str, where: str) -> str:
    if rate.basis == "measured":
        return f"as measured {where} when the largest model came"
    return f"{rate.basis} ({name})"


COLUMNS = (
    ("MODEL", 52, str.ljust),
    ("TYPE", 6, str.ljust),
    ("SIZE GB", 9, str.rjust),
    ("NEEDS GB", 8, str.rjust),
    ("KV TOKENS", 11, str.rjust),
    ("TOK/S", 6, str.rjust),
    ("DOWNLOAD", 11, str.rjust),
    ("COPY", 10, str.rjust),
    ("CACHED ON", 18, str.ljust),
)


def table(made: Sequence[Row], hosts: Sequence[Host], asked: Asked, others: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the rows as lines of ASCII, 140 wide at most."""
    lines = [_line(cells) for cells in _sparks(hosts)]
    for answer, words in ANSWERS.items():
        some = [row for row in made if row.answer == answer]
        if not some:
            continue
        lines += ["", f"{words.upper()} ({len(some)})", _cells([name for name, _width, _side in COLUMNS])]
        for row in some:
            lines.append(_cells(_texts(row)))
            lines += _wrapped(_because(row))
    lines += [""] if made else ["", "No model was asked about."]
    lines += [line for text in _hub_problems(made) for line in _fold(text, "  ")]
    lines += [line for text in basis(hosts, asked) for line in _fold(text, "  ")]
    for name, repos in others.items():
        if repos:
            lines += _fold(f"Also in the cache of {name}: {', '.join(repos)}", "  ")
    return [_ascii(line).rstrip() for line in lines]


def _sparks(hosts: Sequence[Host]) -> Iterator[list[str]]:
    yield ["SPARK", "MEMORY GiB", "FREE GB"]
    for host in hosts:
        yield [host.name, f"{host.memory_mib / 1024:.1f}" if host.memory_mib else "?", gigabytes(host.free_bytes)]


def _line(cells: Sequence[str]) -> str:
    name, memory, free = cells
    return f"{name:46} {memory:>10} {free:>9}"


def _texts(row: Row) -> list[str]:
    needs = [disk.needed_bytes for disk in row.disks]
    needed = None if any(one is None for one in needs) else max((one or 0 for one in needs), default=0)
    return [
        row.handle,
        row.quantisation,
        gigabytes(row.bytes or None) + ("" if row.origin == "hub" else "*"),
        gigabytes(needed),
        thousands(row.kv_tokens) if row.kv_tokens else "?",
        speed(row),
        duration(row.download_s),
        duration(row.copy_s) if len(row.disks) > 1 else "-",
        cached(row),
    ]


def _cells(texts: Sequence[str]) -> str:
    made = []
    for text, (_name, width, side) in zip(texts, COLUMNS):
        made.append(side(text if len(text) <= width else f"{text[: width - 2]}..", width))
    return " ".join(made)


def _because(row: Row) -> list[str]:
    told = [*row.reasons]
    if row.would_fit:
        told.append(f"What would fit: {'; or '.join(row.would_fit)}")
    return told


def _short(row: Row) -> str:
    """Return the first reason in a few words."""
    return textwrap.shorten(row.reasons[0], 90, placeholder=" …") if row.reasons else "Details"


def _hub_problems(made: Sequence[Row]) -> list[str]:
    """Return what the hub did not tell and why, a sentence for all models of which it is the same."""
    starred: dict[str, list[Row]] = {}
    plain: dict[str, list[Row]] = {}
    for row in made:
        same = (starred if row.origin != "hub" else plain).setdefault(row.problem.replace(row.handle, ""), [])
        same.append(row)
    lines = []
    for rows_alike in starred.values():
        first, count = rows_alike[0], len(rows_alike)
        why = f": {first.problem}" if first.problem else ", which was not asked"
        whose = f"{count} models, {first.handle} for one" if count > 1 else first.handle
        lines.append(f"* Figures by the catalogue or the leader's cache, since the hub did not tell of {whose}{why}")
    lines += [f"{some[0].handle}: {some[0].problem}" for some in plain.values() if some[0].problem]
    return lines


def _wrapped(texts: Iterable[str]) -> list[str]:
    return [f"    {line}" for text in texts for line in _fold(text, "  ", 4)]


def _fold(text: str, more: str, margin: int = 0) -> list[str]:
    return textwrap.wrap(text, WIDTH - margin, subsequent_indent=more, break_on_hyphens=False) or [""]


def _ascii(text: str) -> str:
    """Return text that any terminal shows as it is, whatever was given as a title or came from a hub."""
    plain = text.replace("…", "...")
    return "".join(one if " " <= one <= "~" else "?" for one in plain)


def page(told: Mapping[str, Any], made: Sequence[Row], hosts: Sequence[Host], asked: Asked, when: str) -> str:
    """Return the rows as one page of HTML that needs nothing from elsewhere. Every value is escaped.

    :param told: what :func:`document` returned. :param when: the time, for people.
    """
    return _template().render(
        rows=[(number, row, dict(zip(_NAMES, _texts(row)))) for number, row in enumerate(made, 1)],
        counts=[
            f"{count} {words[count != 1]}"
            for answer, words in COUNTED.items()
            if (count := sum(row.answer == answer for row in made))
        ],
        answers=ANSWERS,
        origins=ORIGINS,
        because=_because,
        short=_short,
        gigabytes=gigabytes,
        problems=_hub_problems(made),
        sparks=list(_sparks(hosts))[1:],
        basis=basis(hosts, asked),
        others=told["others_cached"],
        several=len(hosts) > 1,
        when=when,
    )


_NAMES = ("handle", "type", "size", "needs", "kv", "speed", "download", "copy", "cached")


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
