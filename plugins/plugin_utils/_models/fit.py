# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a model fits the Sparks that are to serve it, before a byte of it is downloaded. Pure functions.

What a rank needs is worked out from config.json, from the headers of the weights where they are known, and from the
engine's settings; what there is, from each node's own MemTotal and from what the supervisor keeps free. docs/models.md
has the formulas and their sources.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import memory_problem
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import architecture
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.architecture import Architecture, Layer

FITS, DOES_NOT, CANNOT_TELL = "fits", "does_not", "cannot_tell"

MIB = 2**20
MTP, OWN_DRAFT = "MTP", ("MTP", "none")  # kinds of drafts whose weights, if any, are the model's own
#: bits of an element, by the name that kv_cache_config.dtype gives it; NVFP4 has a scale for every 16 elements
BITS: dict[str, float] = {"float32": 32, "float16": 16, "bfloat16": 16, "fp8": 8, "nvfp4": 4.5}
GRAPH_MIB = 200  # that a CUDA graph may take, by TensorRT-LLM's own description of cuda_graph_config
HOST_MIB = 5734  # 5.6 GiB beside the GPU's part, as was seen on a Spark
SYSTEM_MIB = 4096  # that the system itself uses of a Spark of 128 GB, as an allowance
FRACTION = 0.8  # of what the weights leave, where nobody has said one
SPARKS = (1, 2, 4, 8)  # numbers that are looked at for what would fit
MOST = 2**31  # tokens, where nothing else limits a sequence
STEP = 1024  # contexts are named in multiples of this

#: how people say what a sentence names, by engine
WORDS = {
    "trtllm": {
        "batch": "max_batch_size",
        "context": "max_seq_len",
        "chunk": "max_num_tokens",
        "tp": "tp_size",
        "pp": "pp_size",
        "small": "dtype fp8 below kv_cache_config in trtllm_serve_options",
        "bytes": "max_gpu_total_bytes {} below kv_cache_config in trtllm_serve_options",
        "windows": "where kv_cache_config.max_attention_window says so",
    },
    "vllm": {
        "batch": "max_num_seqs",
        "context": "max_model_len",
        "chunk": "max_num_batched_tokens",
        "tp": "tensor_parallel_size",
        "pp": "pipeline_parallel_size",
        "small": "kv_cache_dtype fp8 in vllm_serve_arguments",
        "bytes": "kv_cache_memory_bytes {} in vllm_serve_arguments",
        "windows": "for models that it knows so",
    },
    "sglang": {
        "batch": "max_running_requests",
        "context": "context_length",
        "chunk": "chunked_prefill_size",
        "tp": "tp_size",
        "pp": "pp_size",
        "small": "kv_cache_dtype fp8_e4m3 in sglang_serve_arguments",
        "bytes": "",
        "windows": "for models that it knows so",
    },
}

# Tensors that every rank has whole: norms, routers and the down-projections of a latent attention; and towers for
# images and sound, whatever stage of a pipeline it is.
WHOLE = re.compile(r"norm|\.(?:gate|router|q_a_proj|kv_a_proj_with_mqa|indexer)\b")
TOWER = re.compile(
    r"(?:^|\.)(?:visual|vision\w*|audio\w*|sound\w*|multi_modal_projector|mm_projector|mlp1|image_newline|"
    r"embed_tokens_extend)\b"
)
KEY_VALUE = re.compile(r"\.(?:k_proj|v_proj)\.")
LAYER = re.compile(r"(?:^|\.)layers\.\*\.")
#: of an EAGLE-3 head each rank has what joins the target's hidden states whole (modeling_speculative.py)
JOINS = re.compile(r"^(?:\w+\.)?(?:fc|eh_proj)\.")


@dataclass(frozen=True)
class Setting:
    """What the engine is told, as far as memory goes. Zero or None where it is not said."""

    tp: int = 1
    pp: int = 1
    max_batch_size: int = 4
    max_seq_len: int = 0
    max_num_tokens: int = 8192
    kv_dtype: str = "auto"
    state_dtype: str = "auto"
    graphs: int = 0  # CUDA graphs, one a batch size
    fraction: float | None = None  # of what the weights leave, for the KV cache
    max_tokens: int = 0  # of the KV cache
    max_bytes: int = 0  # likewise
    min_kv_tokens: int = 0  # a start with fewer has failed
    attention_dp: bool = False  # whether each rank has the whole attention, for requests of its own
    windows: bool = False  # whether the engine is told to keep no more than the windows of sliding layers
    engine: str = "trtllm"  # by whose words people are told
    overhead_mib: int = 0  # that the engine takes beside weights and KV cache, where that is known to be more than most

    @property
    def world(self) -> int:
        """The number of ranks."""
        return self.tp * self.pp

    def word(self, what: str) -> str:
        """How people say it."""
        return WORDS[self.engine][what]


@dataclass(frozen=True)
class Draft:
    """A model that guesses tokens for another one. ``kind``: MTP is a layer of the model itself, none has no layers."""

    config: Mapping[str, Any] = field(default_factory=dict)
    total_bytes: int = 0
    kind: str = ""
    tokens: int = 0
    tensors: Sequence[Mapping[str, Any]] = ()  # as demand takes the model's


@dataclass(frozen=True)
class Group:
    """Layers of a rank that keep the same of a token."""

    layers: int
    elements: int  # of the KV cache, a token and layer
    fixed: int  # bytes beside them, whatever the KV cache's dtype is
    window: int  # tokens that are kept; 0 for all


@dataclass(frozen=True)
class Share:
    """What the heaviest rank of one split has."""

    sharded_bytes: int = 0  # its part of what is split
    replicated_bytes: int = 0  # what each rank has whole
    draft_bytes: int = 0
    file_bytes: int = 0  # its part of the files, by which the supervisor goes
    kv: tuple[Group, ...] = ()
    state_elements: int = 0  # of a sequence, in 32 bits or as the setting says
    conv_elements: int = 0  # of a sequence, in 16 bits

    @property
    def weights_bytes(self) -> int:
        """All that is loaded, and no less than the files: the supervisor asks for these before a start."""
        return max(self.sharded_bytes + self.replicated_bytes, self.file_bytes) + self.draft_bytes


@dataclass(frozen=True)
class Demand:
    """What a model needs; :meth:`to_json` is what travels in a plan."""

    setting: Setting
    shares: Mapping[str, Share]  # by "tp x pp"
    context: int = 0  # of the model
    kv_dtype: str = "bfloat16"  # that "auto" means for this checkpoint, or what was said
    kv_known: bool = True  # whether the architecture is
    weights_known: bool = True
    doubts: tuple[str, ...] = ()  # why one cannot tell
    notes: tuple[str, ...] = ()
    model: str = ""
    min_sparks: int = 1
    without: Demand | None = None  # the same without speculative decoding, where there is one

    @property
    def share(self) -> Share:
        """That of the split that was asked for."""
        return self.shares[_split(self.setting.tp, self.setting.pp)]

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the figures of the asked split for people."""
        share = self.share
        return {
            **asdict(self),
            "shares": {
                name: {**asdict(one), "kv": [asdict(its) for its in one.kv]} for name, one in self.shares.items()
            },
            "doubts": list(self.doubts),
            "notes": list(self.notes),
            "without": self.without.to_json() if self.without else None,
            "weights_bytes": share.weights_bytes,
            "kv_bytes_per_token": kv_bytes(share, self.kv_dtype, 1),
            "state_bytes_per_sequence": state_bytes(share, self.setting.state_dtype),
            "graphs_bytes": self.setting.graphs * GRAPH_MIB * MIB,
            "host_bytes": HOST_MIB * MIB,
        }


@dataclass(frozen=True)
class Reserve:
    """What the supervisor keeps free, in MiB of a Spark of 128 GB: the options ``engine_serve_memory_*``."""

    reserve_mib: int = 24576
    floor_mib: int = 8192
    load_floor_mib: int = 16384


@dataclass(frozen=True)
class Verdict:
    """One of three answers, its reasons in sentences, and what would fit."""

    answer: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    kv_tokens: int = 0  # at the asked batch, on the smallest node
    context: int = 0  # the longest that one sequence can be; 0 where that is not known
    largest: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: list(one) if isinstance(one, tuple) else one for name, one in asdict(self).items()}


def from_json(demand: Mapping[str, Any]) -> Demand:
    """The demand that :meth:`Demand.to_json` made."""
    shares = {
        name: Share(**{**one, "kv": tuple(Group(**group) for group in one["kv"])})
        for name, one in demand["shares"].items()
    }
    kept = {name: value for name, value in demand.items() if name in Demand.__dataclass_fields__}
    without = demand.get("without")
    kept.update(
        doubts=tuple(demand["doubts"]), notes=tuple(demand["notes"]), without=from_json(without) if without else None
    )
    return Demand(**{**kept, "setting": Setting(**demand["setting"]), "shares": shares})


def _split(tp: int, pp: int) -> str:
    return f"{tp}x{pp}"


def demand(
    config: Mapping[str, Any],
    tensors: Sequence[Mapping[str, Any]],
    total_bytes: int,
    setting: Setting,
    draft: Draft | None = None,
) -> Demand:
    """What each rank of a model needs.

    :param config: its config.json, empty where that is not known.
    :param tensors: of its weights, each ``name`` (every run of digits between dots is a ``*``), ``dtype``, ``count``
        and ``bytes`` of all that go by that name; empty where the headers are not known.
    :param total_bytes: of the files; 0 where that is not known.
    """
    doubts: list[str] = []
    notes: list[str] = []
    model: Architecture | None = None
    try:
        model = architecture.read(config) if config else None
        if model is None:
            doubts.append("its config.json is not known, so that nothing tells what a token costs")
    except architecture.ArchitectureError as error:
        doubts.append(str(error))
    if not tensors and not total_bytes:
        doubts.append("nothing tells how large its weights are")
    elif not tensors:
        notes.append("the weights are taken to be split evenly: what each rank has whole, their headers would tell")
    if setting.attention_dp and setting.tp > 1:
        doubts.append("with enable_attention_dp every rank has the whole attention, which nothing here counts")
    small: Architecture | None = None
    if draft and draft.config:
        try:
            small = architecture.read(draft.config)
        except architecture.ArchitectureError as error:
            doubts.append(f"of the draft model, {error}")
    elif draft and draft.kind not in OWN_DRAFT:
        doubts.append("the draft model's config.json is not known")
    if draft and not draft.total_bytes and draft.kind not in OWN_DRAFT:
        doubts.append("nothing tells how large the draft model is")
    shares = {
        _split(tp, pp): _share(model, tensors, total_bytes, tp, pp, draft, small) for tp, pp in _splits(setting, model)
    }
    kv_dtype = setting.kv_dtype
    if kv_dtype not in BITS:
        if kv_dtype not in ("auto", ""):
            doubts.append(f"nothing here knows how large an element of the KV cache is as {kv_dtype}")
        kv_dtype = "fp8" if model and model.kv_bits == 8 else "bfloat16"
    return Demand(
        setting=setting,
        shares=shares,
        context=model.context if model else 0,
        kv_dtype=kv_dtype,
        kv_known=model is not None,
        weights_known=bool(tensors or total_bytes),
        doubts=tuple(doubts),
        notes=tuple(notes),
        without=demand(config, tensors, total_bytes, setting) if draft else None,
    )


def _splits(setting: Setting, model: Architecture | None) -> list[tuple[int, int]]:
    """The asked split, and those of other numbers of Sparks: by heads where these can be divided, else by layers."""
    others = [(one, 1) if not model or model.heads % one == 0 else (1, one) for one in SPARKS]
    return list(dict.fromkeys([(setting.tp, setting.pp), *others]))


def _share(
    model: Architecture | None,
    tensors: Sequence[Mapping[str, Any]],
    total_bytes: int,
    tp: int,
    pp: int,
    draft: Draft | None,
    small: Architecture | None,
) -> Share:
    layers = model.layers if model else ()
    sharded, replicated = _weights(tensors, total_bytes, tp, pp, layers)
    stages = _stages(layers, pp)
    kept = max(stages, key=lambda stage: _most_of_a_token(stage, tp), default=())
    holding = max(stages, key=lambda stage: sum(map(sum, (_state(one, tp) for one in stage))), default=())
    extra: tuple[Layer, ...] = ()
    if small:
        extra = small.layers
    elif draft and draft.kind == MTP:
        extra = tuple(one for one in layers if one.heads or one.latent)[-1:]
    states = [_state(one, tp) for one in holding]
    return Share(
        sharded_bytes=sharded,
        replicated_bytes=replicated,
        draft_bytes=_draft_bytes(draft, small, tp) if draft else 0,
        file_bytes=-(-total_bytes // (tp * pp)),
        kv=_groups((*kept, *extra), tp),
        conv_elements=sum(conv for conv, _state in states),
        state_elements=sum(state for _conv, state in states),
    )


def _draft_bytes(draft: Draft, small: Architecture | None, tp: int) -> int:
    """Bytes of a draft that the heaviest rank has: a draft is split as its target is, and never into stages.

    TensorRT-LLM gives an EAGLE-3 head the target's mapping, but what joins the hidden states is whole on every rank.
    How much that is, the headers tell; without them such a head, which is small, counts whole.
    """
    if draft.tensors and small:
        joins = sum(one["bytes"] for one in draft.tensors if JOINS.search(one["name"]))
        others = [one for one in draft.tensors if not JOINS.search(one["name"])]
        return sum(_weights(others, 0, tp, 1, small.layers)) + joins
    whole = draft.kind.upper().startswith("EAGLE")
    return draft.total_bytes if whole else -(-draft.total_bytes // tp)


def _stages(layers: Sequence[Layer], pp: int) -> list[tuple[Layer, ...]]:
    """The layers of each stage of a pipeline, the first ones with one more where they cannot be equal."""
    each, more = divmod(len(layers), pp)
    starts = [place * each + min(place, more) for place in range(pp + 1)]
    return [tuple(layers[begin:end]) for begin, end in zip(starts, starts[1:])]


def _most_of_a_token(stage: Sequence[Layer], tp: int) -> tuple[int, int]:
    """By what a stage's cache is compared with another's: what grows with every token, then all of it.

    One stage may have the largest cache, and another the largest states: both are counted, as if one rank had them.
    """
    sizes = [(not one.window, 2 * _elements(one, tp) + one.indexer) for one in stage]
    return sum(size for grows, size in sizes if grows), sum(size for _grows, size in sizes)


def _elements(layer: Layer, tp: int) -> int:
    """Elements of the KV cache that a rank keeps of a token: a head that cannot be divided is on several ranks."""
    return -(-layer.heads // tp) * layer.width + layer.latent


def _state(layer: Layer, tp: int) -> tuple[int, int]:
    """Elements of a sequence that a rank keeps: of the convolution, and of the state."""
    heads, groups = -(-layer.state_heads // tp), -(-layer.groups // tp)
    channels = 2 * groups * layer.group_width + heads * layer.head_width
    return max(layer.kernel - 1, 0) * channels, heads * layer.head_width * layer.state_width


def _groups(layers: Sequence[Layer], tp: int) -> tuple[Group, ...]:
    counted: dict[tuple[int, int, int], int] = {}
    for one in layers:
        key = (_elements(one, tp), one.indexer, one.window)
        counted[key] = counted.get(key, 0) + 1
    return tuple(Group(count, *key) for key, count in counted.items() if key[0] or key[1])


def _weights(
    tensors: Sequence[Mapping[str, Any]], total_bytes: int, tp: int, pp: int, layers: Sequence[Layer]
) -> tuple[int, int]:
    """Bytes of the heaviest rank: its part of what is split, and what it has whole.

    Of a pipeline's stages the heaviest has the most layers, and beside them what belongs to no layer.
    """
    if not tensors:
        return -(-total_bytes // (tp * pp)), 0
    part = -(-len(layers) // pp) / len(layers) if layers else 1 / pp
    heads = {one.heads for one in layers if one.heads}
    sharded = replicated = 0.0
    for one in tensors:
        tower = TOWER.search(one["name"])
        size = one["bytes"] * (part if LAYER.search(one["name"]) and not tower else 1)
        copies = tp / min(heads) if heads and KEY_VALUE.search(one["name"]) and min(heads) < tp else 1
        if tower or WHOLE.search(one["name"]):
            replicated += size
        else:
            sharded += size * min(copies, tp) / tp
    return math.ceil(sharded), math.ceil(replicated)


def kv_bytes(share: Share, dtype: str, tokens: int, windows: bool = True) -> int:
    """Bytes that a rank keeps of a sequence of so many tokens.

    :param windows: whether layers that see no further than a window keep no more than it.
    """
    return sum(
        one.layers
        * (min(tokens, one.window) if one.window and windows else tokens)
        * (math.ceil(one.elements * BITS[dtype] / 8) + one.fixed)
        for one in share.kv
    )


def state_bytes(share: Share, dtype: str) -> int:
    """Bytes that a rank keeps of a sequence, however long it is."""
    return 2 * share.conv_elements + math.ceil(share.state_elements * BITS.get(dtype, 32) / 8)


def tokens_of(share: Share, dtype: str, budget: int, most: int = 0) -> int:
    """The longest sequence whose KV cache fits into so many bytes.

    :param most: tokens that a sequence may have: an answer where no layer keeps more than a window.
    """
    low, high = 0, MOST if any(not one.window for one in share.kv) else most or MOST
    while low < high:
        middle = (low + high + 1) // 2
        if kv_bytes(share, dtype, middle) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def fraction_of(setting: Setting, left: int, total: int, reserve: Reserve) -> float:
    """The share of what the weights leave that the KV cache gets: what was said, or what the supervisor works out."""
    if setting.fraction is not None:
        return setting.fraction
    floor = reserve.load_floor_mib if reserve.floor_mib else 0
    beside = max(contract.KEPT_MIB, setting.overhead_mib)
    return min(FRACTION, contract.fraction_of(left, contract.scaled_mib(floor + beside, total)))


@dataclass(frozen=True)
class _Room:
    """What one node has for the KV cache, in MiB."""

    name: str
    total: int
    need: int  # its rank's weights and the reserve, both as for a Spark of 128 GB
    reserve: int  # likewise
    left: int  # by the weights, if the system uses what is allowed it
    kv: int
    low: int  # what is left beside all, and what the supervisor keeps while it loads
    floor: int


def _room(need: Demand, share: Share, name: str, total: int, reserve: Reserve) -> _Room:
    setting = need.setting
    weights = -(-share.weights_bytes // MIB)
    left = total - contract.scaled_mib(SYSTEM_MIB, total) - weights
    beside = setting.graphs * GRAPH_MIB + HOST_MIB
    kv = max(0, int(fraction_of(setting, left, total, reserve) * (left - beside)))
    if setting.max_bytes:
        kv = min(kv, setting.max_bytes // MIB)
    floor = contract.scaled_mib(reserve.load_floor_mib, total) if reserve.floor_mib else 0
    return _Room(
        name=name,
        total=total,
        need=weights + reserve.reserve_mib,
        reserve=reserve.reserve_mib,
        left=left,
        kv=kv,
        low=left - beside - kv,
        floor=floor,
    )


def judge(need: Demand, memory_mib_by_node: Mapping[str, int], reserve: Reserve | None = None) -> Verdict:
    """Judge one demand by the memory of each node that is to serve.

    :param memory_mib_by_node: MemTotal in MiB by the node's name; 0 where it is not known.
    :param reserve: what the supervisor keeps free.
    """
    kept = reserve or Reserve()
    said = _judge(need, memory_mib_by_node, kept)
    if said.answer == FITS:
        return said
    return replace(said, largest=tuple(_largest(need, memory_mib_by_node, kept, said)))


def _judge(need: Demand, memory: Mapping[str, int], reserve: Reserve) -> Verdict:
    setting, share, arguments = need.setting, need.share, f"{need.setting.engine}_serve_arguments"
    refused = [_too_few_sparks(need, len(memory))] if len(memory) < need.min_sparks else []
    doubts = [*need.doubts]
    unknown = [name for name, total in memory.items() if total <= 0]
    if unknown:
        doubts.append(f"nothing tells how much memory {' and '.join(unknown)} has in all")
    rooms = [_room(need, share, name, total, reserve) for name, total in memory.items() if total > 0]
    for one in _alike(rooms):
        problem = memory_problem(one.total, one.need, one.reserve)
        if problem:
            refused.append(f"{one.name}: {problem}")
        elif need.weights_known and one.left < contract.scaled_mib(one.reserve, one.total):
            wanted_mib = one.need - one.reserve + contract.scaled_mib(one.reserve, one.total)
            doubts.append(
                f"{one.name}: a rank is not started unless {wanted_mib} MiB are available, and of the "
                f"{one.total} that this Spark has the system uses some"
            )
        if one.low < one.floor and need.weights_known and not problem:
            doubts.append(
                f"{one.name}: beside weights, KV cache, CUDA graphs and the host side, {max(one.low, 0)} MiB "
                f"would be left, and the supervisor ends a rank that leaves less than {one.floor} while it loads: give "
                "the KV cache less"
            )
    if refused or not rooms or not need.kv_known or not need.weights_known:
        return _verdict(refused, doubts, need.notes)
    budget = min(one.kv for one in rooms) * MIB
    states = state_bytes(share, setting.state_dtype) * setting.max_batch_size
    wanted = setting.max_seq_len or min(need.context or setting.max_num_tokens, setting.max_num_tokens)
    longest = _limited(tokens_of(share, need.kv_dtype, budget - states, need.context), setting)
    part = (budget - states) // max(setting.max_batch_size, 1)
    each = _limited(tokens_of(share, need.kv_dtype, part, need.context), setting)
    tokens = _limited(each * setting.max_batch_size, setting)
    if states > budget:
        refused.append(
            f"the states of {setting.max_batch_size} sequences ({setting.word('batch')}) take {-(-states // MIB)} MiB "
            f"of a rank, and {budget // MIB} are left for them and the KV cache"
        )
    elif longest < (setting.max_seq_len or 1):
        refused.append(
            f"the KV cache gets {budget // MIB} MiB of a rank, which is {longest} tokens of one sequence, and "
            f"{setting.word('context')} asks for {wanted}"
        )
    elif tokens < setting.min_kv_tokens:
        refused.append(
            f"the KV cache gets {budget // MIB} MiB of a rank, which is {tokens} tokens, and "
            f"{setting.engine}_serve_min_kv_tokens asks for {setting.min_kv_tokens}"
        )
    elif longest < wanted:
        doubts.append(
            f"the KV cache gets {budget // MIB} MiB of a rank, which is {longest} tokens of one sequence, and one "
            f"batch ({setting.word('chunk')}) has {wanted}: say {setting.word('context')} in {arguments}, how long one "
            "may be"
        )
    elif kv_bytes(share, need.kv_dtype, wanted, setting.windows) > budget - states:
        doubts.append(
            f"{wanted} tokens fit only if the engine keeps no more than the window of the layers that see no further, "
            f"which it does {setting.word('windows')}"
        )
    notes = [*need.notes]
    if need.context and not setting.max_seq_len and longest < need.context:
        notes.append(f"one sequence can have at most {longest} of the model's {need.context} tokens")
    verdict = _verdict(refused, doubts, notes)
    return replace(verdict, kv_tokens=tokens, context=min(longest, need.context or longest))


def _alike(rooms: Sequence[_Room]) -> list[_Room]:
    """Nodes with the same figures as one, by all their names."""
    names: dict[_Room, list[str]] = {}
    for one in rooms:
        names.setdefault(replace(one, name=""), []).append(one.name)
    return [replace(one, name=" and ".join(its)) for one, its in names.items()]


def _verdict(refused: Sequence[str], doubts: Sequence[str], notes: Sequence[str]) -> Verdict:
    answer = DOES_NOT if refused else CANNOT_TELL if doubts else FITS
    return Verdict(answer=answer, reasons=(*refused, *doubts), notes=tuple(notes))


def _limited(tokens: int, setting: Setting) -> int:
    return min(tokens, setting.max_tokens) if setting.max_tokens else tokens


def _too_few_sparks(need: Demand, sparks: int) -> str:
    there = f"{sparks} {'is' if sparks == 1 else 'are'}"
    return f"{need.model or 'this model'} needs {need.min_sparks} Sparks, and {there} to serve it"


def _largest(need: Demand, memory: Mapping[str, int], reserve: Reserve, said: Verdict) -> Iterator[str]:
    """What would fit, one setting changed at a time, as a person would write it."""
    setting, arguments = need.setting, f"{need.setting.engine}_serve_arguments"
    plain = need.without
    if plain:
        plain = replace(plain, setting=setting, model=need.model, min_sparks=need.min_sparks)
        if _judge(plain, memory, reserve).answer == FITS:
            yield "without speculative decoding: spark_speculative empty"

    def fits(nodes: Mapping[str, int] = memory, dtype: str = need.kv_dtype, **changed: Any) -> bool:
        variant = replace(need, setting=replace(setting, **changed), kv_dtype=dtype)
        return _judge(variant, nodes, reserve).answer == FITS

    context = said.context // STEP * STEP or said.context
    if context and fits(max_seq_len=context):
        yield f"a shorter context: {setting.word('context')} {context} in {arguments}"
    batch = setting.max_batch_size // 2
    while batch and not fits(max_batch_size=batch, graphs=min(setting.graphs, batch)):
        batch //= 2
    if batch:
        yield f"fewer sequences at a time: {setting.word('batch')} {batch} in {arguments}"
    if BITS[need.kv_dtype] > BITS["fp8"] and fits(dtype="fp8"):
        yield f"a smaller KV cache: {setting.word('small')}"
    if setting.fraction is not None and fits(fraction=None):
        yield "a KV cache that each start sizes: no free_gpu_memory_fraction"
    known = [total for total in memory.values() if total > 0]
    rooms = [_room(need, need.share, name, total, reserve) for name, total in memory.items() if total > 0]
    least = min((one.kv + one.low - one.floor for one in rooms), default=0) * MIB
    if least > 0 and setting.word("bytes") and fits(max_bytes=least):
        yield f"a smaller KV cache: {setting.word('bytes').format(least)}"
    for tp, pp in sorted((_split_of(name) for name in need.shares), key=math.prod):
        nodes = {f"Spark {place + 1}": min(known, default=0) for place in range(tp * pp)}
        if tp * pp > setting.world and fits(nodes, tp=tp, pp=pp):
            split = f"{setting.word('tp')} {tp}" if pp == 1 else f"{setting.word('pp')} {pp}"
            yield f"more Sparks: {tp * pp} such as these, with {split}"
            return


def _split_of(name: str) -> tuple[int, int]:
    tp, _x, pp = name.partition("x")
    return int(tp), int(pp)


def sentence(verdict: Verdict) -> str:
    """A verdict that is not "fits" in one sentence: the reasons, and what would fit."""
    said = ". ".join(verdict.reasons)
    return f"{said}. What would fit: {'; or '.join(verdict.largest)}" if verdict.largest else said
