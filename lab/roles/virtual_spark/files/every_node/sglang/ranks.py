# SIMULATED: stands in for SGLang in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SGLang's processes beside the server: the scheduler, which is this node's rank, and the detokenizer."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from typing import Any, NoReturn

from every_node import children, rank
from every_node.links import Announced, LinkError
from tensorrt_llm.simulation import log, transport
from tensorrt_llm.simulation.proxy import Line

SCHEDULER, DETOKENIZER = "sglang::scheduler", "sglang::detokenizer"


def prefix(said: dict[str, Any]) -> str:
    """Which rank a line is of, where there are several."""
    pp, tp = divmod(said["node_rank"], said["tp_size"])
    return "".join([f" PP{pp}" if said["pp_size"] > 1 else "", f" TP{tp}" if said["tp_size"] > 1 else ""])


def write_as(named: str) -> None:
    """Have lines look as SGLang's do."""
    log.use(lambda text, _level, _rank: f"[{time.strftime('%Y-%m-%d %H:%M:%S')}{named}] {text}")


class Scheduler(rank.Rank):
    """This node's rank."""

    def _pass_on(self) -> None:
        self.compute()
        try:
            super()._pass_on()
        except (OSError, transport.NcclError) as error:
            self._stand_still(error)

    def _stand_still(self, error: Exception) -> NoReturn:
        """As on a GPU, whose kernels wait for a peer that has gone: NCCL warns, and nothing else happens."""
        self._nccl("WARN", f"socketProgress: Connection closed by remote peer {error}")
        while True:
            time.sleep(3600)

    def _say_kv_cache(self, tokens: int) -> None:
        log.say(f"Memory pool end. avail mem=24.10 GB, #tokens={tokens} (SIMULATED)")

    def watch(self, timeout: float) -> None:
        """Have this node end when a step takes longer than this."""
        threading.Thread(target=self._watch, args=[timeout], daemon=True).start()

    def _watch(self, timeout: float) -> None:
        while not self.since or time.monotonic() - self.since < timeout:
            time.sleep(min(1.0, timeout / 2))
        log.say(f"Scheduler watchdog timeout (self.watchdog_timeout={timeout:g}, self.soft=False)")
        time.sleep(5)
        os.kill(os.getppid(), signal.SIGQUIT)

    def start(self, said: dict[str, Any]) -> dict[str, Any]:
        """Load. Returns this rank's report."""
        started = time.monotonic()
        self.check_gpu()
        about = self.connect()
        log.say(f"Init parallel ends. elapsed={time.monotonic() - started:.2f} s")
        log.say("Load weight begin. avail mem=112.40 GB (SIMULATED)")
        bar = "Loading safetensors checkpoint shards: {:3d}% Completed | {}/20 [00:00<00:00, 4.1it/s]"
        began = time.monotonic()
        config = self.read(
            said["model_path"], said["tp_size"], rank.load_seconds(), lambda done: log.raw(bar.format(done, done // 5))
        )
        kind = (config.get("architectures") or ["Unknown"])[0]
        log.say(
            f"Load weight end. elapsed={time.monotonic() - began:.2f} s, type={kind}, avail mem=110.00 GB, "
            "mem usage=2.40 GB. (SIMULATED)"
        )
        longest = said["context_length"] or config.get("max_position_embeddings") or 4096
        self._say_kv_cache(self.kv_tokens())
        log.say("Capture target decode CUDA graph begin. backend=full, avail mem=24.10 GB (SIMULATED)")
        log.raw("Capturing batches (bs=1 avail_mem=23.90 GB): 100%|##########| 3/3 [00:00<00:00]")
        if self.rank == 0:
            log.say(
                f"max_total_num_tokens={self.kv_tokens()}, chunked_prefill_size={said['chunked_prefill_size']}, "
                f"max_prefill_tokens=16384, max_running_requests={said['max_running_requests']}, "
                f"context_len={longest}, available_gpu_mem=23.90 GB"
            )
        reports = self.gather(about)
        return {"status": "ready", "ranks": reports, "context_len": longest, "tokens": self.kv_tokens()}


def scheduler() -> int:
    """The process of this node's rank."""
    said, (inherited,) = children.begin()
    children.end_with_parent()
    write_as(prefix(said))
    line, parent = Line(inherited), os.getppid()
    try:
        log.say("Init parallel begin.")
        host, _colon, port = (said["dist_init_addr"] or "127.0.0.1:0").rpartition(":")
        wait = float(said["dist_timeout"] or 600)
        link, store = rank.joined(rank.Place(said["node_rank"], said["nnodes"], host, int(port), wait))
        _queue = Announced(store, "SGLANG_HOST_IP") if store else None
        one = Scheduler(link)
        line.send(one.start(said))
        one.watch(said["watchdog_timeout"])
        if one.rank == 0:
            one.lead(line, idles=one.size > 1)
        else:
            one.follow()
    except rank.ERRORS as error:
        words = f"RuntimeError: [gloo/transport/tcp/pair.cc:534] {error}" if isinstance(error, LinkError) else ""
        told = traceback.format_exc().rstrip()
        log.say(f"Scheduler hit an exception: {told}")
        if words:
            log.raw(words)
        os.kill(parent, signal.SIGQUIT)
    return 0


def detokenizer() -> int:
    """A process that the server needs, and that does nothing here."""
    children.begin()
    children.end_with_parent()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(detokenizer() if DETOKENIZER in sys.orig_argv[0] else scheduler())
