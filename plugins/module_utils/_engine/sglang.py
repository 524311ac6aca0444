# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is SGLang's own in the plan of its configuration: its program, its defaults, its environment. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, Iterator

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.environment import COMMON, Owned
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.every_node import (
    EveryNode,
    Request,
    patience_s,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.flags import whole
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.sglang_options import OPTION, PARSER, PROGRAM

#: Equal on all ranks. Its /health would generate a token for everybody who asks, whom the supervisor's own question
#: would wait for; /health_generate still does. And it would end a start where one Spark has a tenth less memory than
#: another, as a leader has, which serves the gateway too: the supervisor has looked at each node's memory.
ENVIRONMENT = {
    **COMMON,
    "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",
    "SGLANG_ENABLE_TP_MEMORY_INBALANCE_CHECK": "0",
    "PYTHONUNBUFFERED": "1",  # else NCCL's lines are held back in a pipe, for as long as it serves
}

#: of a token of a chunk, of a sequence that runs, and of all else, in MiB: by which SGLang itself reckons what it takes
#: beside weights and KV cache
CHUNK_MIB, SEQUENCE_MIB, BASE_MIB = 1.5, 2, 512
CHUNK, SEQUENCES = 8192, 256  # where nobody says, on a GPU of this size
#: how tokens are guessed with a model of their own, by which name that is said
DRAFT = "speculative-draft-model-path"
WITH_DRAFT = ("EAGLE", "EAGLE3", "STANDALONE")
LENGTHS = ("speculative-num-steps", "speculative-eagle-topk", "speculative-num-draft-tokens")
#: names that are spelt as another engine has them
QUANTISATION = {"fp4": "modelopt_fp4", "nvfp4": "modelopt_fp4"}


class SGLang(EveryNode):
    """SGLang, by its module ``launch_server``, which every version has.

    >>> SGLang().version_of("lmsysorg/sglang:v0.5.23-cu130"), SGLang().version_of("lmsysorg/sglang:latest-cu130")
    ('0.5.23', '')
    >>> SGLang().world({"tp": 2, "pipeline_parallel_size": "2"})
    4
    """

    name = "sglang"
    title = "SGLang"
    parser = PARSER
    image = re.compile(r"(?:.*/)?sglang:v?(?P<version>\d+\.\d+\.\d+(?:\.?(?:post|rc)\d+)?)(?:-.*)?", re.ASCII)
    environment = ENVIRONMENT
    owned = Owned(
        {
            *ENVIRONMENT,
            *("SGLANG_HOST_IP", "SGLANG_LOCAL_IP_NIC", "HOST_IP", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME"),
            *("SGLANG_CACHE_DIR", "SGLANG_DG_CACHE_DIR", "TILELANG_CACHE_DIR", "SGLANG_BLOCK_NONZERO_RANK_CHILDREN"),
            *("MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "WORLD_SIZE"),
        }
    )
    sizes = ("tp-size", "pp-size")
    memory = ("mem-fraction-static",)
    limits = MappingProxyType(
        {
            "batch": ("max-running-requests", SEQUENCES),
            "context": ("context-length", 0),
            "chunk": ("chunked-prefill-size", CHUNK),
        }
    )

    def program(self, model: str) -> list[str]:
        """The module of Python's, whose fifth word is the model."""
        return [*PROGRAM, "--model-path", model]

    def beneath(self, asked: Request) -> dict[str, Any]:
        """A name, since requests would have to give the model's path; figures; and patience with other ranks."""
        found: dict[str, Any] = {"served-model-name": asked.repo} if asked.repo else {}
        if len(asked.members) > 1:
            found["dist-timeout"] = patience_s(asked)
        return found

    def command(self, asked: Request) -> list[str]:
        """With the figures that tell a busy engine from a dead one, which nobody else may say."""
        return [*super().command(asked), "--enable-metrics"]

    def overhead_mib(self, asked: Request) -> int:
        """Activations and CUDA graphs, for which its share of memory has no room: it leaves them what is free."""
        chunk = whole(self.parser.said(asked.arguments, "chunked-prefill-size"), CHUNK) or CHUNK
        sequences = whole(self.parser.said(asked.arguments, "max-running-requests"), SEQUENCES) or SEQUENCES
        return int(BASE_MIB + max(chunk, 2048) * CHUNK_MIB + sequences * SEQUENCE_MIB)

    def guesses(self, asked: Request) -> str:
        """By its algorithm."""
        algorithm = str(self.parser.said(asked.arguments, "speculative-algorithm") or "").upper()
        if algorithm in ("", "NGRAM"):
            return "none" if algorithm else ""
        return "MTP" if self.parser.said(asked.arguments, DRAFT) is None else "model"

    def more_problems(self, asked: Request) -> Iterator[str]:
        """What its own checks refuse once it has read the model, and what it would look for on the internet."""
        said = {name: self.parser.said(asked.arguments, name) for name in (*LENGTHS, DRAFT)}
        name = str(self.parser.said(asked.arguments, "served-model-name") or asked.repo)
        if ":" in name:
            yield f"served_model_name is {name}, and SGLang takes no name with a colon: say another in {OPTION}"
        kind = str(self.parser.said(asked.arguments, "quantization") or "")
        if kind.lower() in QUANTISATION:
            yield (
                f"quantization is {kind}, which SGLang does not know: leave it out, since a checkpoint says by itself "
                f"how it is quantised, or say {QUANTISATION[kind.lower()]}"
            )
        yield from self._speculation_problems(asked, said)

    def _speculation_problems(self, asked: Request, said: dict[str, Any]) -> Iterator[str]:
        algorithm = str(self.parser.said(asked.arguments, "speculative-algorithm") or "").upper()
        if not algorithm:
            unused = next((name for name, value in said.items() if value is not None), "")
            if unused:
                yield f"{unused.replace('-', '_')} is said without speculative_algorithm, and would do nothing"
            return
        if whole(self.parser.said(asked.arguments, "pp-size"), 1) > 1:
            yield (
                f"SGLang guesses no tokens over the stages of a pipeline (speculative_algorithm {algorithm}, pp_size): "
                "split by tp_size, or leave speculation out"
            )
        if algorithm in WITH_DRAFT and said[DRAFT] is None and not _has_own_draft(asked):
            yield (
                f"speculative_algorithm {algorithm} takes a model that guesses, and speculative_draft_model_path names "
                "none: say where it is inside the containers, or guess by NGRAM or by the model's own layers (NEXTN)"
            )
        draft = str(said[DRAFT] or "")
        if draft and not draft.startswith("/"):
            yield (
                f"speculative_draft_model_path is {draft}, which SGLang would look for on the internet, and it runs "
                "offline: say an absolute path inside the containers"
            )
        lengths = [name for name in LENGTHS if said[name] is not None]
        if algorithm in WITH_DRAFT and lengths and LENGTHS[0] not in lengths:
            names = " and ".join(name.replace("-", "_") for name in lengths)
            yield f"{names} is said without speculative_num_steps: say all three lengths, or none"

    def more_doubts(self, asked: Request) -> Iterator[str]:
        """What was reported of GB10 and is no error."""
        algorithm = str(self.parser.said(asked.arguments, "speculative-algorithm") or "").upper()
        draft = str(self.parser.said(asked.arguments, DRAFT) or "").lower()
        if algorithm == "EAGLE" and "eagle3" in draft:
            yield f"speculative_algorithm is EAGLE, and {draft} looks like a head of EAGLE-3: say EAGLE3 for such a one"


def _has_own_draft(asked: Request) -> bool:
    """Whether a model has layers of its own that guess, by its ``config.json``."""
    layers = asked.config.get("num_nextn_predict_layers") or asked.config.get("mtp_num_hidden_layers")
    return isinstance(layers, int) and layers > 0


ENGINE = SGLang()
