# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SGLang: ``launch_server`` on every node, without MPI or Ray; all but the first answer no more than that they live."""

from __future__ import annotations

import re

from ..state import say
from .every_node import EveryNode, share_of

CACHES = {"SGLANG_CACHE_DIR": "sglang", "SGLANG_DG_CACHE_DIR": "deep_gemm", "TILELANG_CACHE_DIR": "tilelang"}
MOST = 0.9  # of a node's free memory that weights and KV cache may take, where nobody says

#: of a line of its own; the prefix names the rank, where there are several
SAID = re.compile(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: [\w ]+)?\] (?P<said>.*)")
STAGES = {
    "waiting for the other ranks": re.compile(r"Init parallel begin"),
    "loading weights": re.compile(r"Load weight begin"),
    "warming up": re.compile(r"Load weight end|Memory pool end|Capture \S.* begin|max_total_num_tokens="),
}
ERRORS = (
    re.compile(r"^\S+(?: serve)?: error: (?P<said>.+)"),  # argparse's own, whatever program it was started as
    re.compile(r"(?P<said>Subprocess \S+ \(pid=\d+\) crashed with exit code -?\d+)"),
    re.compile(r"(?P<said>\w*[Ww]atchdog timeout.*)"),
    re.compile(r"(?:^|[\s)\]])(?P<said>(?:[A-Za-z_][\w.]*)?(?:Error|Exception): .+)"),
)
#: that say no more than that there is a cause, which is in a line before or after
EMPTY = re.compile(
    r"Received sigquit from a child process|SIGQUIT received|Rank \d+ scheduler is dead|Initialization failed"
)
HARMLESS = re.compile(r"\b(?:Ignore import error|fallback|falling back)\b", re.IGNORECASE)
STORE_GONE = 'Failed to check the "should dump" flag on TCPStore'
KV_TOKENS = re.compile(r"\bmax_total_num_tokens=(?P<tokens>\d+), ")
COUNTER = re.compile(
    r"^sglang:(?:generation_tokens_total|prompt_tokens_total|realtime_tokens_total|cuda_graph_passes_total"
    r"|inter_token_latency_seconds_count)(?:\{[^}]*\})? \S+$",
    re.MULTILINE,
)


def progress_of(line: str) -> str:
    """How far a load is, if a line of the engine's log tells it.

    >>> progress_of("Multi-thread loading shards:  25% Completed | 4/16 [00:02<00:06,  1.9it/s]")
    'loading shards, 20 %'
    >>> progress_of("[2026-11-30 17:11:15 TP0] Load weight begin. avail mem=112.40 GB")
    'loading weights'
    >>> progress_of("[2026-11-30 17:11:15] The server is fired up and ready to roll!")
    ''
    """
    said = SAID.search(line)
    return next((stage for stage, begins in STAGES.items() if said and begins.match(said["said"])), share_of(line))


def error_of(line: str) -> str:
    """What went wrong, if a line of the engine's log tells it.

    >>> error_of("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.")
    'RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.'
    >>> error_of("sglang serve: error: unrecognized arguments: --no-such-flag")
    'unrecognized arguments: --no-such-flag'
    >>> error_of("[2026-11-30 17:11:15] Received sigquit from a child process. It usually means the child failed.")
    ''
    """
    if STORE_GONE in line:
        return "the first rank's store is gone: its processes have ended"
    if EMPTY.search(line) or HARMLESS.search(line):
        return ""
    found = next((match for one in ERRORS if (match := one.search(line))), None)
    return found["said"].strip()[:300] if found else ""


def kv_tokens_of(line: str) -> int:
    """How many tokens fit into the KV cache, if a line of the engine's log tells it; else 0.

    >>> kv_tokens_of("[2026-11-30 17:11:15 TP0] max_total_num_tokens=1796752, chunked_prefill_size=8192, …")
    1796752
    """
    found = KV_TOKENS.search(line)
    return int(found["tokens"]) if found else 0


class SGLang(EveryNode):
    """``python3 -m sglang.launch_server`` on every node."""

    head_ends_all = True  # a rank of another node does nothing at SIGTERM until the first has it end
    model_word = 4
    address = "SGLANG_HOST_IP"
    caches = CACHES
    counter = COUNTER
    first_port = 25000  # the head listens there; 1 to 6 more are taken beside it where attention is split by requests
    more_tokens = "raise mem_fraction_static in sglang_serve_arguments"

    def memory_words(self) -> list[str]:
        """The share of free memory that weights and KV cache may take on any node.

        SGLang's own default is a share of all memory, as if what is free were all there is; activations and CUDA graphs
        come out of what that share leaves.
        """
        if not self.room():
            return []
        share = self.share({name: one.available for name, one in self.memory.items()}, MOST)
        say(f"SGLang gets {share} of each node's free memory, so that a floor of memory is kept")
        return ["--mem-fraction-static", str(share)]

    def place(self, rank: int, port: int) -> list[str]:
        """What further ranks have on the API's port tells no more than that they live: on loopback."""
        nodes = self.cluster["nodes"]
        where = ["--nnodes", str(len(nodes)), "--dist-init-addr", f"{nodes[0]['address']}:{port}"]
        own = ["--host", "127.0.0.1", "--port", self.cluster["api_listen"].rpartition(":")[2]]
        return [*where, "--node-rank", str(rank), *(own if rank else self.listening())]

    def progress(self, line: str) -> str:
        """Weights and graphs in tenths, and the stages between."""
        return progress_of(line)

    def error(self, line: str) -> str:
        """Python's exceptions, what its parser says, and which of its processes has gone."""
        return error_of(line)

    def kv_tokens(self, line: str) -> int:
        """By its line about its limits, of the first rank."""
        return kv_tokens_of(line)


ENGINE = SGLang
