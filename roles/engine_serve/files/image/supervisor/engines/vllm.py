# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM: ``vllm serve …`` on every node, without MPI or Ray; all but the first have no API, and are ``--headless``."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import Sequence

from .. import caches, contract, identity, network, probe, state
from ..state import say
from . import Engine

RANK = ["python3", contract.PROGRAM, "rank", "--"]
MASTER_PORT = 29501  # or the next that is free; the head listens there on all its addresses
CACHES = {"VLLM_CACHE_ROOT": "vllm"}
MOST = 0.9  # of a node's memory that vLLM may take, where nobody says
WRONG_ARGUMENTS = 2  # exit status
TERM_S = 5.0  # it ends its engine at SIGTERM within a second, and then may wait for clients without end

SAID = re.compile(r"\[\w+\.py:\d+\] (?P<said>.*)")
HARMLESS = re.compile(r"\b(?:DEBUG|INFO|WARNING) \d\d-\d\d \d\d:")
SHARE = re.compile(r"(?P<what>[Ll]oading (?:[\w-]+ )*checkpoint shards|Capturing CUDA graphs)[^:]*:\s*(?P<share>\d+)%")
STAGES = {
    "waiting for the other ranks": re.compile(r"world_size=\d+ rank=\d+ .*distributed_init_method="),
    "loading weights": re.compile(r"(?:Starting to load|Loading) model\b"),
    "compiling": re.compile(r"Compiling a graph|Dynamo bytecode transform|torch\.compile took|Compile and warming up"),
    "warming up": re.compile(
        r"Available KV cache memory|\S+ KV cache size:|Graph capturing finished|Warming up\b|Kernel JIT"
    ),
}
ERRORS = (
    re.compile(r"^\S+(?: serve)?: error: (?P<said>.+)"),  # argparse's own
    re.compile(r"Value error, (?P<said>.+?)(?: \[type=.*)?$"),
    re.compile(r"(?P<said>Worker proc \S+ died unexpectedly.*)"),
    re.compile(r"(?:^|[\s)\]])(?P<said>(?:[A-Za-z_][\w.]*)?(?:Error|Exception): .+)"),
)
#: that say no more than that there is a cause, which is in a line before or after
EMPTY = re.compile(r"ValidationError: |validation errors? for |EngineDeadError|See root cause above|See stack trace")
STORE_GONE = 'Failed to check the "should dump" flag on TCPStore'
KV_TOKENS = re.compile(r"\bKV cache size: (?P<tokens>[\d,]+) tokens")
COUNTER = re.compile(
    r"^vllm:(?:generation_tokens_total|prompt_tokens_total|iteration_tokens_total_count)(?:\{[^}]*\})? (?P<count>\S+)$",
    re.MULTILINE,
)


def progress_of(line: str) -> str:
    """How far a load is, if a line of the engine's log tells it.

    >>> progress_of("Loading safetensors checkpoint shards:  67% Completed | 10/15 [00:02<00:00,  4.1it/s]")
    'Loading safetensors checkpoint shards, 60 %'
    >>> progress_of("(EngineCore pid=7) INFO 11-30 17:11:15 [kv_cache_utils.py:2327] GPU KV cache size: 8,192 tokens")
    'warming up'
    >>> progress_of("(APIServer pid=7) WARNING 11-30 17:10:40 [vllm.py:1] Enforce eager set, disabling torch.compile")
    ''
    """
    share = SHARE.search(line)
    if share:
        return f"{share['what']}, {int(share['share']) // 10 * 10} %"
    said = SAID.search(line)
    if not said:
        return ""
    return next((stage for stage, begins in STAGES.items() if begins.match(said["said"])), "")


def error_of(line: str) -> str:
    """What went wrong, if a line of the engine's log tells it.

    >>> error_of("(EngineCore pid=7) ERROR 11-30 17:11:15 [core.py:868] ValueError: Free memory is less than desired")
    'ValueError: Free memory is less than desired'
    >>> error_of("vllm serve: error: unrecognized arguments: --no-such-flag")
    'unrecognized arguments: --no-such-flag'
    >>> error_of("(Worker pid=7) WARNING 11-30 17:11:13 [utils.py:597] fallback. Exception: no primitive")
    ''
    """
    if STORE_GONE in line:
        return "the first rank's store is gone: its processes have ended"
    if HARMLESS.search(line):
        return ""
    found = next((match for one in ERRORS if (match := one.search(line))), None)
    return "" if found is None or EMPTY.search(line) else found["said"].strip()[:300]


def kv_tokens_of(line: str) -> int:
    """How many tokens fit into the KV cache, if a line of the engine's log tells it; else 0.

    >>> kv_tokens_of("INFO 11-30 17:11:15 [kv_cache_utils.py:2327] GPU KV cache size: 1,796,752 tokens, Maximum …")
    1796752
    """
    found = KV_TOKENS.search(line)
    return int(found["tokens"].replace(",", "")) if found else 0


def counted(metrics: str) -> list[float]:
    """The counters that grow while tokens are made or a prompt is read, from the text of ``/metrics``.

    >>> counted('vllm:generation_tokens_total{engine="0"} 12.0\\nvllm:num_requests_running{engine="0"} 1.0\\n')
    [12.0]
    """
    return [float(count) for count in COUNTER.findall(metrics)]


def makes_tokens(address: str, timeout: float, pause: float) -> bool:
    """Whether the engine makes tokens, although a canary waits in its queue in vain. Reading takes nothing away."""
    try:
        before = counted(probe.text(address, "/metrics", timeout))
        time.sleep(pause)
        return counted(probe.text(address, "/metrics", timeout)) != before
    except probe.ERRORS:
        return False


class VLLM(Engine):
    """One command on every node."""

    leaves_children = reuses_port = True
    more_tokens = "raise gpu_memory_utilization in vllm_serve_arguments"

    @property
    def _alone(self) -> bool:
        return len(self.cluster["nodes"]) == 1

    def identity(self) -> dict[str, str]:
        """The model's files, which vLLM does not compare: ranks of two models start, and stand still."""
        return {"model": identity.of_folder(Path(self.cluster["serve"][2]))}

    def check_nodes(self) -> None:
        """All nodes have the same model."""
        if not self._alone:
            identity.check(self.cluster, self.identity())

    def environment(self) -> dict[str, str]:
        """What the plan says, where compiled kernels are kept, and the time that a load may take."""
        patience = {"VLLM_ENGINE_READY_TIMEOUT_S": str(int(self.cluster["limits"]["load_timeout_s"]))}
        return {**self.cluster["environment"], **caches.environment(CACHES), **patience}

    def rank_environment(self) -> dict[str, str]:
        """Where the other ranks reach this one: without these, vLLM takes the address towards the internet."""
        own = state.node()
        netdev = own["environment"].get("NCCL_SOCKET_IFNAME") or network.netdev_of(own["address"])
        netdevs = {f"{library}_SOCKET_IFNAME": netdev for library in ("GLOO", "NCCL", "TP") if netdev}
        return {"VLLM_HOST_IP": own["address"], **netdevs}

    def _memory(self) -> list[str]:
        """The share of its memory that vLLM may take on any node, unless somebody has said it.

        Its own default is a share of all memory, whatever is free, and the system shares that memory.
        """
        known = [one for one in self.memory.values() if one.total]
        if not self.settings.get("fit_kv_cache") or not known:
            return []
        limits = self.cluster["limits"]
        floor = limits["memory_load_floor_mib"] if limits["memory_floor_mib"] else 0
        budget = limits.get("memory_budget_mib") or max(one.total for one in known)
        shares = [
            min(one.available - contract.scaled_mib(floor + contract.KEPT_MIB, one.total), budget) / one.total
            for one in known
        ]
        share = max(contract.LEAST_FRACTION, int(100 * min(MOST, *shares)) / 100)
        say(f"vLLM gets {share} of each node's memory, so that a floor of memory is kept")
        return ["--gpu-memory-utilization", str(share)]

    def commands(self) -> dict[str, list[str]]:
        """The same on every node but for its rank, and where it listens."""
        leader, *_workers = nodes = self.cluster["nodes"]
        serve = [*RANK, *self.cluster["serve"], *self._memory()]
        host, port = self.cluster["api_listen"].rsplit(":", 1)
        api = ["--host", host, "--port", port]
        if self._alone:
            return {leader["name"]: [*serve, *api]}
        place = ["--nnodes", str(len(nodes)), "--master-addr", leader["address"]]
        place += ["--master-port", str(network.free_port(MASTER_PORT))]
        return {
            node["name"]: [*serve, *place, "--node-rank", str(rank), *(["--headless"] if rank else api)]
            for rank, node in enumerate(nodes)
        }

    def is_server(self, command_line: Sequence[bytes]) -> bool:
        """The command itself, which ends within seconds of any of its processes."""
        return True

    def progress(self, line: str) -> str:
        """Weights and graphs in tenths, and the stages between."""
        return progress_of(line)

    def error(self, line: str) -> str:
        """Python's exceptions, and what its parser says."""
        return error_of(line)

    def kv_tokens(self, line: str) -> int:
        """By its line about the KV cache."""
        return kv_tokens_of(line)

    def is_busy(self, address: str, timeout: float, pause: float) -> bool:
        """By its counts of tokens and of steps."""
        return makes_tokens(address, timeout, pause)

    def may_start_again(self, status: int | None) -> bool:
        """Not with arguments that it refuses. That it ends with 0 says nothing: so it does when a peer has died."""
        return status != WRONG_ARGUMENTS

    def end_signals(self, served: bool, grace: float) -> list[tuple[signal.Signals, float]]:
        """While it loads it does nothing at SIGTERM, and there is nothing to lose.

        Nor is there later: without a time to drain, SIGTERM ends all requests, and their clients alone are left.
        """
        return super().end_signals(served, min(grace, TERM_S)) if served else [(signal.SIGKILL, 10)]


ENGINE = VLLM
