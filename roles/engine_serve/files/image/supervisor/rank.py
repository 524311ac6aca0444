# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rank: its own node's environment, a guard of its memory, and then the command itself."""

from __future__ import annotations

import os
import signal
import socket

from . import contract, engines, keeper, memory, paths, processes, rdma, state

MARK = "DGX_SPARK_RANK"  # in the environment of a rank and of all that it starts: its process number
SEARCHED = ("PATH", "LD_LIBRARY_PATH")


def completed(own: dict[str, str], container: dict[str, str]) -> dict[str, str]:
    """A rank's environment with what ssh left out of its container's; lists of directories are joined.

    >>> own = {"PATH": "/usr/bin:/opt/ompi", "HF_HOME": "/run"}
    >>> completed(own, {"PATH": "/cuda/bin:/usr/bin", "HF_HOME": "/root", "CUDA_HOME": "/cuda"})
    {'PATH': '/cuda/bin:/usr/bin:/opt/ompi', 'HF_HOME': '/run', 'CUDA_HOME': '/cuda'}
    """
    joined = {
        name: ":".join(dict.fromkeys(filter(None, f"{container[name]}:{own[name]}".split(":"))))
        for name in SEARCHED
        if name in own and name in container
    }
    return {**container, **own, **joined}


def end_all(watched: int) -> None:
    """Kill all that a rank started, wherever it is: MPI gives a single rank's worker a session of its own."""
    mark = f"{MARK}={watched}".encode()
    for entry in processes.entries():
        try:
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended by itself
        if marked:
            processes.kill(entry)
    os.killpg(watched, signal.SIGKILL)


def end_session(watched: int) -> None:
    """Kill all that a rank started, of an engine whose processes write their titles over their environment."""
    processes.end_session(os.getsid(watched))


def print_name() -> int:
    """Answer the leader's question, by MPI."""
    print("node", state.node()["name"])
    return 0


def run(command: list[str]) -> int:
    """Prepare this rank, then become the command. Returns only where the rank may not start."""
    node, cluster = state.node(), state.cluster()
    limits, engine = cluster["limits"], engines.of(cluster)
    if paths.environment().exists():
        os.environ.update(completed(dict(os.environ), state.read(paths.environment())))
    os.environ.update(node["environment"], **engine.rank_environment(), **{MARK: str(os.getpid())})
    name = contract.short(node["name"])
    state.say(f"{name} is {contract.short(socket.gethostname())} to NCCL")  # an inventory may name it otherwise
    obstacles = rdma.own_obstacles(node.get("rdma_devices", []), limits["memlock_bytes"])
    for why in obstacles:
        state.say(f"rank {node['rank']} on {name} is without RDMA: {why}")
    if obstacles and limits["require_rdma"]:
        return contract.EXIT_FAILED  # now, and not after a load of minutes
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # what the launcher starts is ended with it
    if engine.leaves_children:
        keeper.keep()
    memory.guard(node, limits, end_session if engine.leaves_children else end_all, cluster.get("api_listen", ""))
    os.execvp(command[0], command)
    return contract.EXIT_FAILED
