# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the configuration of vLLM for one model: command line and environment. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError, check_api_host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.of_model import heads_problem, inside, sees
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import (
    version_of as trtllm_version_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_cli import Flag
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_environment import (
    environment,
    environment_problems,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_options import (
    canonical,
    findings,
    render,
    said,
    whole,
)

NAME, TITLE = "vllm", "vLLM"
_IMAGE = re.compile(r"(?:.*/)?vllm-openai:v?(?P<version>\d+\.\d+\.\d+[\w.]*)", re.ASCII)
PATIENCE_S = 300  # for the other ranks, and for one that loads more slowly than they do
PATIENCE_BYTES = 200 * 10**6  # of a rank's share of the model, for a second more


@dataclass(frozen=True)
class Request:
    """What a person asks of vLLM."""

    members: Sequence[str]  # leader first
    snapshot: str  # path of the pinned commit below repo_dir, both on the hosts
    repo_dir: str
    repo: str = ""  # the model's handle, by which requests name it
    alias: str = ""  # another name for it, such as the gateway's
    model_bytes: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)  # flags of vllm serve without dashes
    environment: Mapping[str, Any] = field(default_factory=dict)  # of all ranks, beside what the role sets
    api_host: str = "127.0.0.1"
    config: Mapping[str, Any] = field(default_factory=dict)  # the model's config.json, empty where it is not known
    min_kv_tokens: int = 0  # that must fit into the KV cache
    image: str = ""  # whose tag tells the version
    told: Mapping[str, Flag] | None = None  # the flags that the image has by its own word
    told_version: str = ""  # which the image has by its own word
    vision: str = "auto"  # whether the model takes pictures: by its config.json, always or never


def plan(asked: Request) -> dict[str, Any]:
    """The engine's part of a serving's plan.

    :returns: ``doubts``, a sentence for each argument that only the engine can judge; ``name`` and ``title``;
        ``settings`` for ``cluster.json``; ``serve``, the command line of every rank but for its place; ``environment``
        of all ranks; ``downloads`` and ``files``, none; ``world``, the number of ranks; ``version``, as far as it is
        known; ``sees``, whether it is to be asked about a picture.
    :raises ServeError: when something is wrong that would only show minutes into a start.
    """
    if not asked.members:
        raise ServeError("there is no node to serve on: the group of Sparks is empty")
    check_api_host(asked.api_host)
    if is_trtllm(asked.image):
        raise ServeError(
            f"{asked.image} is an image of TensorRT-LLM, and vLLM is to serve: set vllm_serve_base_image or spark_image"
        )
    found = list(findings(asked.arguments, asked.told))
    problems = [one.text for one in found if one.refused]
    problems += [*environment_problems(asked.environment), *split_problems(asked)]
    if problems:
        raise ServeError("; ".join(problems))
    return {
        "doubts": [one.text for one in found if not one.refused],
        "name": NAME,
        "title": TITLE,
        "settings": {
            "name": NAME,
            "fit_kv_cache": said(asked.arguments, "gpu-memory-utilization") is None,
            "min_kv_tokens": asked.min_kv_tokens,
        },
        "serve": command(asked),
        "environment": environment(asked.environment),
        "files": {},
        "downloads": [],
        "world": world(asked.arguments),
        "version": asked.told_version or version_of(asked.image),
        "sees": {"auto": sees(asked.config), "always": True, "never": False}[asked.vision],
    }


def version_of(image: str) -> str:
    """The version that the tag of an image tells; empty where it has none, or is somebody else's version.

    >>> version_of("vllm/vllm-openai:v0.28.0"), version_of("nvcr.io/nvidia/vllm:26.05-py3"), version_of("")
    ('0.28.0', '', '')
    """
    found = _IMAGE.fullmatch(image.partition("@")[0])
    return found["version"] if found else ""


def is_trtllm(image: str) -> bool:
    """Whether an image is one of TensorRT-LLM, by its name.

    >>> is_trtllm("nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"), is_trtllm("vllm/vllm-openai:v0.28.0")
    (True, False)
    """
    return bool(trtllm_version_of(image))


def beneath(asked: Request) -> dict[str, Any]:
    """What nobody has said, and vLLM's own defaults would get wrong.

    A rank that waits for a peer, or for one that loads more slowly, is not to end earlier or later than that takes.
    """
    share = asked.model_bytes // max(len(asked.members), 1)
    found = {"distributed-timeout-seconds": PATIENCE_S + share // PATIENCE_BYTES} if len(asked.members) > 1 else {}
    return {name: value for name, value in found.items() if said(asked.arguments, name) is None}


def names(asked: Request) -> list[str]:
    """The names that the model goes by, the first of which the API tells: vLLM refuses any other."""
    own = said(asked.arguments, "served-model-name")
    listed = own if isinstance(own, list) else [own or asked.repo]
    return [str(name) for name in dict.fromkeys([*listed, asked.alias]) if name]


def command(asked: Request) -> list[str]:
    """The command line of ``vllm serve``, as it is equal on all nodes; the model is its third word.

    :raises ServeError: when the model is not where containers see it.
    """
    model = inside(contract.MODEL_DIR, asked.snapshot, asked.repo_dir)
    own = {
        name: value
        for name, value in asked.arguments.items()
        if value is not None and canonical(str(name)) != "served-model-name"
    }
    called = {"served-model-name": names(asked)} if names(asked) else {}
    return ["vllm", "serve", model, *render({**beneath(asked), **called, **own}, asked.told)]


def world(arguments: Mapping[str, Any]) -> int:
    """The number of ranks that the sizes make.

    >>> world({"tensor_parallel_size": 2, "pp": "2"}), world({})
    (4, 1)
    """
    sizes = ("tensor-parallel-size", "pipeline-parallel-size", "prefill-context-parallel-size")
    number = 1
    for name in sizes:
        number *= whole(said(arguments, name), 1)
    return number


def split_problems(asked: Request) -> list[str]:
    """Why a model cannot be split as asked, or over these Sparks."""
    ways = whole(said(asked.arguments, "tensor-parallel-size"), 1)
    option, instead = "tensor_parallel_size", "pipeline_parallel_size"
    heads = heads_problem(asked.config, ways, option, instead) if ways > 0 else ""
    ranks = world(asked.arguments)
    if heads or ranks == len(asked.members):
        return [heads] if heads else []
    return [
        f"{option} x {instead} is {ranks}, but there are {len(asked.members)} Sparks with one GPU each: make them equal"
    ]
