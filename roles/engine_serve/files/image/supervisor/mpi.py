# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open MPI: how ranks are started on all nodes, and whether they could be."""

from __future__ import annotations

import subprocess
from typing import Any

from . import contract, nccl, state

#: of a single rank: MPI starts its worker itself, and would bind it to one core
UNBOUND = {"OMPI_MCA_hwloc_base_binding_policy": "none", "OMPI_MCA_rmaps_base_inherit": "1"}


def mpirun(cluster: dict[str, Any], command: list[str], forward: dict[str, str]) -> list[str]:
    """One rank a node, over ssh; only options that Open MPI 4 and 5 both know.

    The hostfile names nodes by their short names, which the ssh configuration maps to addresses, and this one as
    localhost, since mpirun would call by ssh what is not its host's name.

    :param cluster: ``nodes``; ``subnets``, the CIDRs that ranks may use; ``netdevs``, those that daemons may use.
    :param forward: environment that is equal on all ranks; its values come from this process's environment.
    """
    argv = [
        "mpirun",
        "--allow-run-as-root",
        "-np",
        str(len(cluster["nodes"])),
        "--hostfile",
        str(state.folder() / contract.HOSTFILE),
        "--map-by",
        "ppr:1:node",
        "--bind-to",  # as few ranks as these would get a core each, of twenty
        "none",
    ]
    # Else its daemons would call each other at the management addresses, on ports that a firewall does not let in. They
    # get names: Open MPI 5 looks a subnet up under a wrong index where a netdev before it has no address, does not find
    # it, and uses all that there are. A name that a node does not have is no harm.
    for layer, allowed in (("btl", cluster["subnets"]), ("oob", cluster["netdevs"])):
        if allowed:
            argv += ["--mca", f"{layer}_tcp_if_include", ",".join(allowed)]
    for name in sorted(forward):
        argv += ["-x", name]
    return [*argv, "python3", contract.PROGRAM, "rank", "--", *command]


def check(cluster: dict[str, Any]) -> list[str]:
    """Have every rank say on which node it runs; all must differ. A rank that may not use RDMA says so here already.

    :raises RuntimeError: naming the ranks that answered.
    """
    argv = mpirun(cluster, ["python3", contract.PROGRAM, "name"], {})
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    names = [line.split()[-1] for line in done.stdout.splitlines() if "node " in line]
    lines = done.stderr.splitlines()
    without = [line.partition("dgx-spark: ")[2].strip() for line in lines if nccl.WITHOUT.search(line)]
    if without and done.returncode:
        raise RuntimeError("; ".join(without))
    if done.returncode or sorted(names) != sorted(node["name"] for node in cluster["nodes"]):
        said = done.stderr.replace("\0", "").strip()[-500:]
        raise RuntimeError(f"MPI does not reach every node: ranks on {names or 'none'}; {said}")
    return names
