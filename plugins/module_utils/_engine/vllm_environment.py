# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of vLLM's ranks: what the role sets, and what a person may set beside it. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.environment import (
    COMMON,
    Owned,
    as_text,
    problems,
)

#: equal on all ranks; it reports its use to its makers unless a variable says otherwise. NCCL writes its lines by C's
#: standard output, which holds the first four KiB of them back in a pipe, for as long as it serves, unless Python is told
ENVIRONMENT = {**COMMON, "VLLM_NO_USAGE_STATS": "1", "PYTHONUNBUFFERED": "1"}

#: what else the plan or the supervisor sets
OWN = Owned(
    {
        *ENVIRONMENT,
        *("VLLM_HOST_IP", "VLLM_PORT", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "HOST_IP"),
        *("VLLM_CACHE_ROOT", "VLLM_ENGINE_READY_TIMEOUT_S", "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH"),
        *("MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "WORLD_SIZE"),
    }
)
OPTION = "vllm_serve_environment"


def environment_problems(said: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the variables that a person sets. No value is told, since it may be a secret.

    >>> list(environment_problems({"VLLM_HOST_IP": "10.0.0.1"}))
    ['vllm_serve_environment: VLLM_HOST_IP is set by the role, the supervisor or the image: leave it out']
    """
    return problems(OPTION, said, OWN)


def environment(said: Mapping[str, Any]) -> dict[str, str]:
    """The environment of all ranks; what is null is left out.

    >>> environment({"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": 120})["VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"]
    '120'
    """
    return {**ENVIRONMENT, **as_text(said)}
