# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM: ``vllm serve …`` on every node, without MPI or Ray; all but the first have no API, and are ``--headless``."""

from __future__ import annotations

import re
import signal

from ..state import say
from .every_node import EveryNode, share_of

CACHES = {"VLLM_CACHE_ROOT": "vllm"}
MOST = 0.9  # of a node's memory that vLLM may take, where nobody says
TERM_S = 5.0  # it ends its engine at SIGTERM within a second, and then may wait for clients without end

SAID = re.compile(r"\[\w+\.py:\d+\] (?P<said>.*)")
HARMLESS = re.compile(r"\b(?:DEBUG|INFO|WARNING) \d\d-\d\d \d\d:")
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
    said = SAID.search(line)
    if not said:
        return share_of(line)
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


class VLLM(EveryNode):
    """``vllm serve`` on every node."""

    model_word = 2
    address = "VLLM_HOST_IP"
    caches = CACHES
    counter = COUNTER
    first_port = 29501  # the head listens there on all its addresses
    more_tokens = "raise gpu_memory_utilization in vllm_serve_arguments"

    def environment(self) -> dict[str, str]:
        """And the time that a load may take."""
        patience = {"VLLM_ENGINE_READY_TIMEOUT_S": str(int(self.cluster["limits"]["load_timeout_s"]))}
        return {**super().environment(), **patience}

    def memory_words(self) -> list[str]:
        """The share of all memory that vLLM may take on any node; its own default is one of 0.92, whatever is free."""
        if not self.room():
            return []
        share = self.share({name: one.total for name, one in self.memory.items()}, MOST)
        say(f"vLLM gets {share} of each node's memory, so that a floor of memory is kept")
        return ["--gpu-memory-utilization", str(share)]

    def place(self, rank: int, port: int) -> list[str]:
        """All but the first have no API."""
        nodes = self.cluster["nodes"]
        where = ["--nnodes", str(len(nodes)), "--master-addr", nodes[0]["address"], "--master-port", str(port)]
        return [*where, "--node-rank", str(rank), *(["--headless"] if rank else self.listening())]

    def progress(self, line: str) -> str:
        """Weights and graphs in tenths, and the stages between."""
        return progress_of(line)

    def error(self, line: str) -> str:
        """Python's exceptions, and what its parser says."""
        return error_of(line)

    def kv_tokens(self, line: str) -> int:
        """By its line about the KV cache."""
        return kv_tokens_of(line)

    def end_signals(self, served: bool, grace: float) -> list[tuple[signal.Signals, float]]:
        """Without a time to drain, SIGTERM ends all requests, and their clients alone are left."""
        return super().end_signals(served, min(grace, TERM_S))


ENGINE = VLLM
