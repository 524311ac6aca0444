# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the configuration of TensorRT-LLM for one model: command line, YAML and environment. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import (
    arguments_findings,
    autodeploy_findings,
    image_of,
    is_autodeploy,
    metrics_follow,
    options_findings,
    render,
    role_findings,
    size,
    version_of,
    whole,
    without_nulls,
)

NAME, TITLE = "trtllm", "TensorRT-LLM"
OPTIONS_FILE = "llm.yml"

#: environment that is equal on all ranks
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": f"{contract.RUN_DIR}/huggingface",
    "HF_MODULES_CACHE": f"{contract.RUN_DIR}/huggingface/modules",
    "NCCL_DEBUG": "INFO",  # its lines tell whether a rank uses RDMA
    "CPATH": "/usr/local/cuda/include",
    "TRITON_PTXAS_PATH": "/usr/local/cuda/bin/ptxas",
}

#: beside that, where gpt-oss keeps the vocabularies that it chats by: its repository has none, and openai-harmony would
#: download them at every start
HARMONY = {"TIKTOKEN_ENCODINGS_BASE": contract.STATE_DIR}

#: what the options leave open, and the engine's own defaults would get wrong: 0.9 of a memory that the system shares is
#: too much, and without the statistics the supervisor takes a busy engine for a dead one
DEFAULTS: dict[str, Any] = {"enable_iter_perf_stats": True, "kv_cache_config": {"free_gpu_memory_fraction": 0.8}}


#: keys of ``config.json``: of a model that has one of them, the encoder of pictures
VISION = ("vision_config", "vision_tower", "mm_vision_tower", "vit_config", "vision_model")


@dataclass(frozen=True)
class Request:
    """What a person asks of TensorRT-LLM."""

    members: Sequence[str]  # leader first
    snapshot: str  # path of the pinned commit below repo_dir, both on the hosts
    repo_dir: str
    options: Mapping[str, Any] = field(default_factory=dict)  # the YAML of --extra_llm_api_options
    arguments: Mapping[str, Any] = field(default_factory=dict)  # flags of trtllm-serve without dashes
    api_host: str = "127.0.0.1"
    api_port: int = 8355
    image: str = ""  # whose tag tells the version, unless version does
    version: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)  # the model's config.json, empty where it is not known
    encodings: Mapping[str, str] = field(default_factory=dict)  # SHA-256 by file name of gpt-oss's vocabularies
    encodings_url: str = ""
    min_kv_tokens: int = 0  # that must fit into the KV cache
    vision: str = "auto"  # whether the model takes pictures: by its config.json, always or never


def plan(asked: Request) -> dict[str, Any]:
    """The engine's part of a serving's plan.

    :returns: ``doubts``, a sentence for each setting that only the engine can judge; ``name`` and ``title``;
        ``settings`` for ``cluster.json``; ``serve``, the command line; ``environment`` of all ranks; ``options``, the
        YAML of :data:`OPTIONS_FILE`; ``downloads``, each ``name``, ``url`` and ``sha256``; ``world``, the number of
        ranks; ``version``, as far as it is known; ``sees``, whether it is to be asked about a picture.
    :raises ServeError: when something is wrong that would only show minutes into a start.
    """
    if not asked.members:
        raise ServeError("there is no node to serve on: the group of Sparks is empty")
    version = asked.version or version_of(asked.image)
    image, said = image_of(version), without_nulls(asked.options)
    options = merged(DEFAULTS, said)
    if is_autodeploy(asked.arguments, options):
        findings = [*autodeploy_findings(asked.arguments, options)]
    else:
        findings = [*options_findings(options, image)]
    findings += [*role_findings(options), *arguments_findings(asked.arguments, options, image)]
    problems = [one.text for one in findings if one.refused] or _split_problems(asked, options)
    if problems:
        raise ServeError("; ".join(problems))
    harmony = asked.config.get("model_type") == "gpt_oss"
    return {
        "doubts": [one.text for one in findings if not one.refused],
        "name": NAME,
        "title": TITLE,
        "settings": {
            "name": NAME,
            "metrics_follow": metrics_follow(asked.version, asked.image),
            "fit_kv_cache": "free_gpu_memory_fraction" not in _mapping(said.get("kv_cache_config")),
            "min_kv_tokens": asked.min_kv_tokens,
        },
        "serve": command(asked),
        "environment": {**ENVIRONMENT, **(HARMONY if harmony else {})},
        "options": options,
        "downloads": downloads(asked) if harmony else [],
        "world": world(asked.arguments, options),
        "version": version,
        "sees": {
            "auto": sees(asked.config) and options.get("disable_mm_encoder") is not True,
            "always": True,
            "never": False,
        }[asked.vision],
    }


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


def world(arguments: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """The number of ranks that the sizes make."""
    if is_autodeploy(arguments, options):
        return whole(1 if options.get("world_size") is None else options["world_size"])
    number = 1
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "context_parallel_size"):
        number *= size(name, arguments, options)
    return number


def _split_problems(asked: Request, options: Mapping[str, Any]) -> list[str]:
    ways = size("tensor_parallel_size", asked.arguments, options)
    heads = heads_problem(asked.config, ways) if ways > 0 else ""
    ranks = world(asked.arguments, options)
    if heads or ranks == len(asked.members):
        return [heads] if heads else []
    what = "world_size" if is_autodeploy(asked.arguments, options) else "tp_size x pp_size x cp_size"
    return [f"{what} is {ranks}, but there are {len(asked.members)} Sparks with one GPU each: make them equal"]


def heads_problem(config: Mapping[str, Any], ways: int) -> str:
    """Say why a model cannot be split into so many ways of tensor parallelism, or nothing.

    :param config: the model's ``config.json``.

    >>> heads_problem({"text_config": {"num_attention_heads": 64}}, 3)
    'tp_size 3 does not divide the 64 attention heads of the model: use pp_size instead'
    >>> heads_problem({"num_attention_heads": 64}, 2)
    ''
    """
    # A model of several parts has its language model's figures in one of them, by whichever name.
    thinker = _mapping(config.get("thinker_config"))
    inner = [
        thinker.get("text_config"),
        *(config.get(name) for name in ("text_config", "llm_config", "language_config")),
    ]
    said = [_mapping(part).get("num_attention_heads") for part in (*inner, config)]
    heads = next((one for one in said if isinstance(one, int) and not isinstance(one, bool) and one > 0), 0)
    if heads % ways == 0:
        return ""
    return f"tp_size {ways} does not divide the {heads} attention heads of the model: use pp_size instead"


def sees(config: Mapping[str, Any]) -> bool:
    """Whether a model takes pictures beside text, by its ``config.json``; False where that is not known.

    Most name their encoder's part ``vision_config``; Phi-4-multimodal has an embedding layer for pictures, and the
    first LLaVA the name of a tower. A class of several modalities that is none of these is not taken for one.

    >>> sees({"vision_config": {"depth": 32}}), sees({"vision_config": None}), sees({"model_type": "llama"})
    (True, False, False)
    """
    layer, thinker = _mapping(config.get("embd_layer")), _mapping(config.get("thinker_config"))
    parts = [config.get(name) for name in VISION] + [thinker.get("vision_config"), layer.get("image_embd_layer")]
    return any(isinstance(part, (Mapping, str)) and part for part in parts)


def _mapping(value: Any) -> Mapping[str, Any]:
    """What stands where a mapping is expected; a null, as some models' ``config.json`` has, is an empty one."""
    return value if isinstance(value, Mapping) else {}


def command(asked: Request) -> list[str]:
    """The command line of trtllm-serve.

    :raises ServeError: when the model is not where containers see it, or there is no such address.
    """
    repo_dir = asked.repo_dir.rstrip("/")
    if not asked.snapshot.startswith(f"{repo_dir}/"):
        raise ServeError(f"the snapshot {asked.snapshot} is not below {asked.repo_dir}")
    try:
        ipaddress.IPv4Address(asked.api_host)
    except ValueError:
        raise ServeError(
            f"the API cannot listen on {asked.api_host!r}: give an IPv4 address such as 127.0.0.1"
        ) from None
    return [
        "trtllm-serve",
        contract.MODEL_DIR + asked.snapshot[len(repo_dir) :],
        *render(asked.arguments),
        *("--host", asked.api_host, "--port", str(asked.api_port)),
        *("--extra_llm_api_options", f"{contract.CONFIG_DIR}/{OPTIONS_FILE}"),
    ]


def downloads(asked: Request) -> list[dict[str, str]]:
    """The vocabularies of gpt-oss, which its repository does not have."""
    return [
        {"name": name, "url": f"{asked.encodings_url}/{name}", "sha256": digest}
        for name, digest in asked.encodings.items()
    ]
