# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular to an engine: one class each, in the module of its name.

Common to all engines, and therefore not here: the order of a start (wait for workers, reset them, drop caches, check
memory, start, probe), the counting of starts, the canary over the OpenAI API, the transports by NCCL's lines, RDMA's
obstacles, the guard of a rank's memory.
"""

from __future__ import annotations

import importlib
import signal
from abc import ABC, abstractmethod
from typing import Any, Mapping, Sequence

from ..memory import Reading
from ..state import say


class Engine(ABC):
    """One engine on all nodes of a cluster.

    :param cluster: ``cluster.json``, of the shape ``contract.Cluster``.
    """

    #: whether its main process may leave processes behind, and no MPI ends those of other nodes: keeper does both then
    leaves_children = False
    #: whether its server binds with SO_REUSEADDR, so that what is left in TIME_WAIT need not pass before a start
    reuses_port = False

    def __init__(self, cluster: dict[str, Any]) -> None:
        self.cluster = cluster
        self.settings: dict[str, Any] = cluster.get("engine", {})
        self.memory: Mapping[str, Reading] = {}  #: of each node, before the start

    # --- before a start ----------------------------------------------------------------------------------------------

    def identity(self) -> dict[str, str]:
        """What has to be equal on all nodes, as it is on this one; of what the engine itself compares, nothing."""
        return {}

    @abstractmethod
    def check_nodes(self) -> None:
        """Check what a start over several nodes needs beside ssh, and what the engine itself would not compare.

        :raises RuntimeError: with the node and the cause.
        """

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The environment that is equal on all ranks."""

    def rank_environment(self) -> dict[str, str]:
        """The environment that each rank works out on its own node."""
        return {}

    # --- a start -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def commands(self) -> dict[str, list[str]]:
        """The programs that make up the engine, by the name of the node where each is started, in this order.

        One that brings its ranks to the other nodes itself, as mpirun does, is the leader's alone. An engine without
        MPI has one command a node; those of other nodes are started by ssh, and all end when one of them has ended.
        Each command begins with this program's word ``rank`` on the node where the rank runs.
        """

    # --- while it runs -----------------------------------------------------------------------------------------------

    @abstractmethod
    def is_server(self, command_line: Sequence[bytes]) -> bool:
        """Whether a process of the leader is the API server, by its words without directories.

        An engine whose own exit always follows its server's may return True for the command itself.
        """

    @abstractmethod
    def progress(self, line: str) -> str:
        """How far a load is, if a line of the log tells that; else empty."""

    @abstractmethod
    def error(self, line: str) -> str:
        """What went wrong, if a line of the log tells that; else empty."""

    def kv_tokens(self, line: str) -> int:
        """How many tokens fit into the KV cache, if a line of the log tells that; else 0. The last line counts."""
        return 0

    #: how more tokens fit into the KV cache, beside what helps any engine
    more_tokens = ""

    def too_few(self, kv_tokens: int) -> str:
        """Why a start has failed whose KV cache takes so many tokens, with the mend; empty where they will do.

        Where the log did not tell how many it takes, nothing can be said.
        """
        least, option = self.settings.get("min_kv_tokens", 0), f"{self.settings.get('name')}_serve_min_kv_tokens"
        if least and not kv_tokens:
            say(f"the log does not tell how many tokens fit into the KV cache, and so not whether {least} do")
        if not kv_tokens or kv_tokens >= least:
            return ""
        return (
            f"{kv_tokens} tokens fit into the KV cache, fewer than {option}, which is {least}: the page cache may have "
            f"taken the memory (engine_serve_drop_caches: true), or other programs. Else {self.more_tokens}, lower "
            "engine_serve_memory_load_floor_mib, or ask for fewer tokens"
        )

    def redact(self, line: str) -> str:
        """A line of the log without secrets."""
        return line

    @abstractmethod
    def is_busy(self, address: str, timeout: float, pause: float) -> bool:
        """Whether tokens are made although a canary got none: a busy server is not a sick one.

        Asked only when a canary has failed. Read from the engine's own counters, since the health check of an HTTP
        server does not show that tokens are made; the counters must differ between two readings.
        """

    # --- its end -----------------------------------------------------------------------------------------------------

    def may_start_again(self, status: int | None) -> bool:
        """Whether another start makes sense after this exit status; 0 is a failure like any other, unless asked for."""
        return True

    def end_signals(self, served: bool, grace: float) -> list[tuple[signal.Signals, float]]:
        """Signals to the process group of each command, with seconds to wait after each.

        :param served: whether it has served: some engines ignore SIGTERM while they load. :param grace: seconds.
        """
        return [(signal.SIGTERM, grace), (signal.SIGKILL, 10)]


def of(cluster: dict[str, Any]) -> Engine:
    """The engine of a cluster. :raises ModuleNotFoundError: when this image has none of that name."""
    name = cluster["engine"]["name"]
    kind: type[Engine] = importlib.import_module(f".{name}", __package__).ENGINE
    return kind(cluster)
