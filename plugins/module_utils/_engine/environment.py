# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of an engine's ranks: what the roles set, and what a person may set beside it. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import AbstractSet, Any, Iterator, Mapping, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.findings import is_secret

#: equal on all ranks, of every engine
COMMON = {
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": f"{contract.RUN_DIR}/huggingface",
    "HF_MODULES_CACHE": f"{contract.RUN_DIR}/huggingface/modules",
    "NCCL_DEBUG": "INFO",  # its lines tell whether a rank uses RDMA
    "CPATH": "/usr/local/cuda/include",
    "TRITON_PTXAS_PATH": "/usr/local/cuda/bin/ptxas",
    "DO_NOT_TRACK": "1",  # an engine that reports its use elsewhere has a variable of its own beside it
}

#: what the plan or the supervisor sets per node, and what an image needs as it has it
OWNED = {
    *COMMON,
    *("BASH_ENV", "LD_LIBRARY_PATH", "PATH"),
    *("NCCL_IB_GID_INDEX", "NCCL_IB_HCA", "NCCL_IB_SUBNET_AWARE_ROUTING", "NCCL_NET", "NCCL_NET_PLUGIN"),
    *("NCCL_SOCKET_IFNAME", "UCX_NET_DEVICES"),
    *("CUDA_CACHE_PATH", "FLASHINFER_WORKSPACE_BASE", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
}
OWNED_BEGINNINGS = ("DGX_SPARK_", "NVIDIA_", "OMPI_", "PMIX_", "PRTE_")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Owned(NamedTuple):
    """Variables that nobody else may set: names, and beginnings of names, beside those of all engines."""

    names: AbstractSet[str] = frozenset()
    beginnings: tuple[str, ...] = ()


def problems(option: str, said: Mapping[str, Any], owned: Owned) -> Iterator[str]:
    """What is wrong with the variables that a person sets. No value is told, since it may be a secret.

    >>> list(problems("x_environment", {"PATH": "/bin", "MINE": 1}, Owned()))
    ['x_environment: PATH is set by the role, the supervisor or the image: leave it out']
    """
    for name, value in said.items():
        problem = _name_problem(str(name), owned) or ("" if value is None else _value_problem(str(name), value))
        if problem:
            yield f"{option}: {name} {problem}"


def _name_problem(name: str, owned: Owned) -> str:
    if not _NAME.fullmatch(name):
        return "is no name of a variable: letters, digits and _ alone, and no digit first"
    if name in OWNED or name in owned.names or name.startswith((*OWNED_BEGINNINGS, *owned.beginnings)):
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


def as_text(said: Mapping[str, Any]) -> dict[str, str]:
    """What a person sets as a process has it; what is null is left out.

    >>> as_text({"A": 1, "B": None})
    {'A': '1'}
    """
    return {name: str(value) for name, value in said.items() if value is not None}
