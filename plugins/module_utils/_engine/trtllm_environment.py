# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of TensorRT-LLM's ranks: what the role sets, and what a person may set beside it. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Any, Iterator, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import is_secret

#: equal on all ranks
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": f"{contract.RUN_DIR}/huggingface",
    "HF_MODULES_CACHE": f"{contract.RUN_DIR}/huggingface/modules",
    "NCCL_DEBUG": "INFO",  # its lines tell whether a rank uses RDMA
    "CPATH": "/usr/local/cuda/include",
    "TRITON_PTXAS_PATH": "/usr/local/cuda/bin/ptxas",
    "TRTLLM_NO_USAGE_STATS": "1",  # it reports its use to NVIDIA unless one of these says otherwise
    "DO_NOT_TRACK": "1",
}

#: beside that, where gpt-oss keeps the vocabularies that it chats by: its repository has none, and openai-harmony would
#: download them at every start
HARMONY = {"TIKTOKEN_ENCODINGS_BASE": contract.STATE_DIR}

#: what the plan or the supervisor sets per node, and what the image needs as it has it
_OWNED = {
    *ENVIRONMENT,
    *HARMONY,
    *("BASH_ENV", "LD_LIBRARY_PATH", "PATH"),
    *("NCCL_IB_GID_INDEX", "NCCL_IB_HCA", "NCCL_IB_SUBNET_AWARE_ROUTING", "NCCL_NET", "NCCL_NET_PLUGIN"),
    *("NCCL_SOCKET_IFNAME", "UCX_NET_DEVICES"),
    *("CUDA_CACHE_PATH", "FLASHINFER_WORKSPACE_BASE", "TLLM_AUTOTUNER_CACHE_PATH", "TORCHINDUCTOR_CACHE_DIR"),
    *("TRITON_CACHE_DIR", "TRTLLM_DG_CACHE_DIR"),
}
_OWNED_BEGINNINGS = ("DGX_SPARK_", "NVIDIA_", "OMPI_", "PMIX_", "PRTE_", "TLLM_SPAWN_PROXY_", "tllm_mpi_")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
OPTION = "trtllm_serve_environment"


def environment_problems(said: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the variables that a person sets. No value is told, since it may be a secret.

    >>> list(environment_problems({"TLLM_ALLOW_LONG_MAX_MODEL_LEN": 1}))
    []
    """
    for name, value in said.items():
        problem = _name_problem(str(name)) or ("" if value is None else _value_problem(str(name), value))
        if problem:
            yield f"{OPTION}: {name} {problem}"


def _name_problem(name: str) -> str:
    if not _NAME.fullmatch(name):
        return "is no name of a variable: letters, digits and _ alone, and no digit first"
    if name in _OWNED or name.startswith(_OWNED_BEGINNINGS):
        return "is set by the role, the supervisor or the image: leave it out"
    return ""


def _value_problem(name: str, value: Any) -> str:
    if is_secret(name, value):
        return (
            "looks like a secret, which others could read in 'docker inspect' and in cluster.json: leave it out. The "
            "engine runs offline and needs no token"
        )
    if isinstance(value, bool):
        return "is true or false to YAML: write it as the program reads it, in quotes, such as '1'"
    if not isinstance(value, (str, int, float)):
        return "must be a string or a number"
    if any(ord(one) < 32 or ord(one) == 127 for one in str(value)):
        return "has a line break or another control character in it, which does not reach the other ranks"
    return ""


def environment(said: Mapping[str, Any], harmony: bool) -> dict[str, str]:
    """The environment of all ranks; what is null is left out.

    >>> environment({"TLLM_ALLOW_LONG_MAX_MODEL_LEN": 1, "X": None}, False)["TLLM_ALLOW_LONG_MAX_MODEL_LEN"]
    '1'
    """
    own = {name: str(value) for name, value in said.items() if value is not None}
    return {**ENVIRONMENT, **(HARMONY if harmony else {}), **own}
