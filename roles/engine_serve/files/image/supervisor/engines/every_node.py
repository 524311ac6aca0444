# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What engines have in common that are one command on every node, without MPI or Ray."""

from __future__ import annotations

import re
import signal
import time
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Mapping, Sequence

from .. import caches, contract, identity, network, probe, state
from . import Engine

RANK = ["python3", contract.PROGRAM, "rank", "--"]
WRONG_ARGUMENTS = 2  # exit status
#: a bar of progress, of loaders that both have
SHARE = re.compile(
    r"(?P<what>[Ll]oading (?:[\w-]+ )*shards|Capturing (?:CUDA graphs|batches|prefill shape))[^:]*:\s*(?P<share>\d+)%"
)


def share_of(line: str) -> str:
    """How far a bar of progress is, in tenths; empty where a line has none.

    >>> share_of("Loading safetensors checkpoint shards:  67% Completed | 10/15 [00:02<00:00,  4.1it/s]")
    'Loading safetensors checkpoint shards, 60 %'
    >>> share_of("Capturing batches (bs=32 avail_mem=41.12 GB):  43%|####3     | 9/21")
    'Capturing batches, 40 %'
    """
    share = SHARE.search(line)
    return f"{share['what']}, {int(share['share']) // 10 * 10} %" if share else ""


def makes_tokens(address: str, counter: re.Pattern[str], timeout: float, pause: float) -> bool:
    """Whether the engine makes tokens, although a canary waits in its queue in vain. Reading takes nothing away.

    :param counter: finds counters that grow while tokens are made or a prompt is read, in the text of ``/metrics``.
    """
    try:
        before = counter.findall(probe.text(address, "/metrics", timeout))
        time.sleep(pause)
        return counter.findall(probe.text(address, "/metrics", timeout)) != before
    except probe.ERRORS:
        return False


class EveryNode(Engine):
    """One command on every node; those of other nodes are started by ssh, and all end when one has ended."""

    leaves_children = reuses_port = True
    #: the word of the command line that is the model's directory
    model_word: ClassVar[int]
    #: the variable that says where the other ranks reach this one; unset, it would be the address towards the internet
    address: ClassVar[str]
    #: directories of its own for what is compiled, by the variables that name them
    caches: ClassVar[Mapping[str, str]]
    #: counters that grow while tokens are made or a prompt is read
    counter: ClassVar[re.Pattern[str]]
    first_port: ClassVar[int]  # or the next that is free, where the ranks meet on the leader

    @property
    def alone(self) -> bool:
        """Whether there is one node."""
        return len(self.cluster["nodes"]) == 1

    def identity(self) -> dict[str, str]:
        """The model's files, which no such engine compares: ranks of two models start, and stand still."""
        return {"model": identity.of_folder(Path(self.cluster["serve"][self.model_word]))}

    def check_nodes(self) -> None:
        """All nodes have the same model."""
        if not self.alone:
            identity.check(self.cluster, self.identity())

    def environment(self) -> dict[str, str]:
        """What the plan says, and where compiled kernels are kept."""
        return {**self.cluster["environment"], **caches.environment(self.caches)}

    def rank_environment(self) -> dict[str, str]:
        """Where the other ranks reach this one."""
        own = state.node()
        netdev = own["environment"].get("NCCL_SOCKET_IFNAME") or network.netdev_of(own["address"])
        netdevs = {f"{library}_SOCKET_IFNAME": netdev for library in ("GLOO", "NCCL", "TP") if netdev}
        return {self.address: own["address"], **netdevs}

    def room(self) -> Mapping[str, float]:
        """MiB that the engine may take on each node so that floor and budget are kept; empty where somebody said it."""
        known = {name: one for name, one in self.memory.items() if one.total}
        if not self.settings.get("fit_kv_cache") or not known:
            return {}
        limits = self.cluster["limits"]
        floor = limits["memory_load_floor_mib"] if limits["memory_floor_mib"] else 0
        beside = max(contract.KEPT_MIB, self.settings.get("overhead_mib", 0))
        budget = limits.get("memory_budget_mib") or max(one.total for one in known.values())
        return {
            name: min(one.available - contract.scaled_mib(floor + beside, one.total), budget)
            for name, one in known.items()
        }

    def share(self, wholes: Mapping[str, float], most: float) -> float:
        """The share that gives every node its room and no more. :param wholes: MiB by node, of which it is a share."""
        shares = [mib / max(wholes[name], 1) for name, mib in self.room().items()]
        return max(contract.LEAST_FRACTION, int(100 * min(most, *shares)) / 100)

    @abstractmethod
    def memory_words(self) -> list[str]:
        """The flag by which the room is kept, with its value; empty where somebody has said it."""

    @abstractmethod
    def place(self, rank: int, port: int) -> list[str]:
        """The flags that tell a rank where it is. :param port: of the leader, where the ranks meet."""

    def commands(self) -> dict[str, list[str]]:
        """The same on every node but for its place, the leader's first."""
        nodes = self.cluster["nodes"]
        serve = [*RANK, *self.cluster["serve"], *self.memory_words()]
        if self.alone:
            return {nodes[0]["name"]: [*serve, *self.listening()]}
        port = network.free_port(self.first_port)
        return {node["name"]: [*serve, *self.place(rank, port)] for rank, node in enumerate(nodes)}

    def listening(self) -> list[str]:
        """The flags by which the API listens."""
        host, port = self.cluster["api_listen"].rsplit(":", 1)
        return ["--host", host, "--port", port]

    def is_server(self, command_line: Sequence[bytes]) -> bool:
        """The command itself, which ends within seconds of any of its processes."""
        return True

    def is_busy(self, address: str, timeout: float, pause: float) -> bool:
        """By its counters of tokens and of steps."""
        return makes_tokens(address, self.counter, timeout, pause)

    def may_start_again(self, status: int | None) -> bool:
        """Not with arguments that it refuses. That it ends with 0 says nothing: so it may when a peer has died."""
        return status != WRONG_ARGUMENTS

    def end_signals(self, served: bool, grace: float) -> list[tuple[signal.Signals, float]]:
        """While it loads it does nothing at SIGTERM, or leaves processes behind, and there is nothing to lose."""
        return super().end_signals(served, grace) if served else [(signal.SIGKILL, 10)]
