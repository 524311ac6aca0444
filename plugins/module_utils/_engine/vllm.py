# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is vLLM's own in the plan of its configuration: its program, its defaults, its environment. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.environment import COMMON, Owned
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.every_node import (
    EveryNode,
    Request,
    patience_s,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.vllm_options import PARSER

#: equal on all ranks; it reports its use to its makers unless a variable says otherwise. NCCL writes its lines by C's
#: standard output, which holds the first four KiB back in a pipe, for as long as it serves, unless Python is told
ENVIRONMENT = {**COMMON, "VLLM_NO_USAGE_STATS": "1", "PYTHONUNBUFFERED": "1"}


class VLLM(EveryNode):
    """vLLM, by ``vllm serve``.

    >>> VLLM().version_of("vllm/vllm-openai:v0.28.0"), VLLM().version_of("nvcr.io/nvidia/vllm:26.05-py3")
    ('0.28.0', '')
    >>> VLLM().world({"tensor_parallel_size": 2, "pp": "2"}), VLLM().world({})
    (4, 1)
    """

    name = "vllm"
    title = "vLLM"
    parser = PARSER
    image = re.compile(r"(?:.*/)?vllm-openai:v?(?P<version>\d+\.\d+\.\d+[\w.]*)", re.ASCII)
    environment = ENVIRONMENT
    owned = Owned(
        {
            *ENVIRONMENT,
            *("VLLM_HOST_IP", "VLLM_PORT", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "HOST_IP"),
            *("VLLM_CACHE_ROOT", "VLLM_ENGINE_READY_TIMEOUT_S", "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH"),
            *("MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "WORLD_SIZE"),
        }
    )
    sizes = ("tensor-parallel-size", "pipeline-parallel-size", "prefill-context-parallel-size")
    memory = ("gpu-memory-utilization",)
    limits = MappingProxyType(
        {"batch": ("max-num-seqs", 256), "context": ("max-model-len", 0), "chunk": ("max-num-batched-tokens", 2048)}
    )

    def program(self, model: str) -> list[str]:
        """``vllm serve``, whose third word is the model."""
        return ["vllm", "serve", model]

    def beneath(self, asked: Request) -> dict[str, Any]:
        """A name, since requests would have to give the model's path; and patience with other ranks."""
        found: dict[str, Any] = {"served-model-name": asked.repo} if asked.repo else {}
        if len(asked.members) > 1:
            found["distributed-timeout-seconds"] = patience_s(asked)
        return found

    def completed(self, said: dict[str, Any], asked: Request) -> dict[str, Any]:
        """With the alias behind the name that the API tells: vLLM refuses any other."""
        if not asked.alias:
            return said
        name, own = "served-model-name", self.parser.said(said, "served-model-name")
        others = {one: value for one, value in said.items() if self.parser.canonical(str(one)) != name}
        listed = own if isinstance(own, list) else [own]
        return {**others, name: [str(one) for one in dict.fromkeys([*listed, asked.alias]) if one]}

    def guesses(self, asked: Request) -> str:
        """By the method of its configuration."""
        said = self.parser.said(asked.arguments, "speculative-config")
        method = str(said.get("method") or "model").lower() if isinstance(said, Mapping) else "model" if said else ""
        return (
            "MTP" if method.endswith("mtp") else "none" if method in ("ngram", "suffix") else "model" if method else ""
        )


ENGINE = VLLM()
