# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of TensorRT-LLM's ranks: what the role sets, and what a person may set beside it. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.environment import (
    COMMON,
    Owned,
    as_text,
    problems,
)

#: equal on all ranks; it reports its use to NVIDIA unless a variable says otherwise
ENVIRONMENT = {**COMMON, "TRTLLM_NO_USAGE_STATS": "1"}

#: beside that, where gpt-oss keeps the vocabularies that it chats by: its repository has none, and openai-harmony would
#: download them at every start
HARMONY = {"TIKTOKEN_ENCODINGS_BASE": contract.STATE_DIR}

#: what else the plan or the supervisor sets
OWN = Owned(
    {*ENVIRONMENT, *HARMONY, "TLLM_AUTOTUNER_CACHE_PATH", "TRTLLM_DG_CACHE_DIR"}, ("TLLM_SPAWN_PROXY_", "tllm_mpi_")
)
OPTION = "trtllm_serve_environment"


def environment_problems(said: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the variables that a person sets. No value is told, since it may be a secret.

    >>> list(environment_problems({"TLLM_ALLOW_LONG_MAX_MODEL_LEN": 1}))
    []
    """
    return problems(OPTION, said, OWN)


def environment(said: Mapping[str, Any], harmony: bool) -> dict[str, str]:
    """The environment of all ranks; what is null is left out.

    >>> environment({"TLLM_ALLOW_LONG_MAX_MODEL_LEN": 1, "X": None}, False)["TLLM_ALLOW_LONG_MAX_MODEL_LEN"]
    '1'
    """
    return {**ENVIRONMENT, **(HARMONY if harmony else {}), **as_text(said)}
