# SIMULATED: stands in for vLLM in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM's processes beside the server: the engine's core of the first node, and the worker that is a node's rank."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from typing import Any, NoReturn

from every_node import children, rank
from every_node.links import LinkError
from tensorrt_llm.simulation import log
from tensorrt_llm.simulation.proxy import Line

CORE, WORKER = "VLLM::EngineCore", "VLLM::Worker"
ORPHAN_S = 3.0  # after which a worker ends whose parent has gone


def write_as(name: str) -> None:
    """Have lines look as vLLM's do."""
    levels = {"I": "INFO", "W": "WARNING", "E": "ERROR"}

    def form(text: str, level: str, _rank: int | None) -> str:
        when = time.strftime("%m-%d %H:%M:%S")
        return f"({name} pid={os.getpid()}) {levels[level]} {when} [simulated.py:1] {text}"

    log.use(form)


def title(said: dict[str, Any]) -> str:
    """What a worker is called."""
    pp, tp = divmod(said["node_rank"], said["tensor_parallel_size"])
    return WORKER + (f"_PP{pp}" if said["pipeline_parallel_size"] > 1 else "") + f"_TP{tp}"


class Worker(rank.Rank):
    """This node's rank."""

    def _pass_on(self) -> None:
        self.compute()
        super()._pass_on()

    def _say_kv_cache(self, tokens: int) -> None:
        log.say(f"GPU KV cache size: {tokens:,} tokens (SIMULATED)")

    def start(self, said: dict[str, Any]) -> dict[str, Any]:
        """Load. Returns what is known of all ranks."""
        self.check_gpu()
        about = self.connect()
        log.say(f"rank {self.rank} in world size {self.size} is assigned as DP rank 0, PP rank 0, TP rank {self.rank}")
        log.say("Loading model from scratch...")
        began = time.monotonic()
        bar = "Loading safetensors checkpoint shards: {:3d}% Completed | {}/20 [00:00<00:00, 4.1it/s]"
        config = self.read(
            said["model_tag"],
            said["tensor_parallel_size"],
            rank.load_seconds(),
            lambda done: log.raw(bar.format(done, done // 5)),
        )
        log.say(f"Model loading took 0.31 GiB and {time.monotonic() - began:.2f} seconds (SIMULATED)")
        if self.rank == 0:
            self._say_kv_cache(self.kv_tokens())
        log.say("Kernel JIT monitor activated (SIMULATED)")
        asked = said["max_model_len"] or -1
        longest = asked if asked > 0 else config.get("max_position_embeddings") or 4096
        return {"ranks": self.gather(about), "longest": longest, "tokens": self.kv_tokens()}

    def follow(self) -> None:
        """Do what rank 0 says. When that has gone, nothing ends this."""
        try:
            super().follow()
        except (LinkError, OSError):
            rest()


def rest() -> NoReturn:
    """Do nothing any more."""
    while True:
        time.sleep(3600)


def mourn(number: int) -> NoReturn:
    """Write once a second, for ever, that the store has gone."""
    while True:
        begin = f"[rank{number}]:[W{time.strftime('%m%d %H:%M:%S')}"
        log.raw(f"{begin} TCPStore.cpp:125] [c10d] recvValue failed: Did the remote server shutdown or crash?")
        group = f"{begin} ProcessGroupNCCL.cpp:1826] [PG ID 0 PG GUID 0 Rank {number}]"
        log.raw(f'{group} Failed to check the "should dump" flag on TCPStore, (maybe it has shut down too early)')
        time.sleep(1)


def end_as_orphan(parent: int) -> None:
    """Have this process end some seconds after its parent has."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        time.sleep(ORPHAN_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=look, daemon=True).start()


def worker() -> int:
    """The process of this node's rank."""
    said, (inherited,) = children.begin()
    end_as_orphan(os.getppid())
    write_as(title(said).partition("::")[2])
    line, number, size = Line(inherited), said["node_rank"], said["nnodes"]
    try:
        host, port = said["master_addr"], said["master_port"]
        where = f"tcp://{host}:{port}" if size > 1 else "tcp://127.0.0.1:0"
        log.say(f"world_size={size} rank={number} local_rank=0 distributed_init_method={where} backend=nccl")
        wait = float(said["distributed_timeout_seconds"] or 600)
        link, store = rank.joined(rank.Place(number, size, host, port, wait))
        if store:
            store.on_end(lambda: mourn(number))
        one = Worker(link)
        line.send(one.start(said))
        if number:
            one.follow()
        else:
            one.lead(line, idles=False)
    except rank.ERRORS as error:
        for words in traceback.format_exc().rstrip().splitlines():
            log.say(words, "E")
        line.send({"error": str(error)})
        time.sleep(0.5)
        return 1
    return 0


def core() -> int:
    """The process between the server and the first node's worker: it passes words on, and ends when one is wrong."""
    said, (inherited,) = children.begin()
    write_as("EngineCore")
    server = Line(inherited)
    mine, its = socket.socketpair()
    child = children.start(title(said), "vllm.ranks", said, [its])
    its.close()
    line = Line(mine)
    ready = line.receive()
    if "ranks" not in ready:
        log.say("WorkerProc initialization failed due to an exception in a background process.", "E")
        log.say("Engine core initialization failed. See root cause above.", "E")
        children.kill_tree([child])
        return 1
    server.send(ready)
    patience, waiting = float(os.environ.get("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "300")), Waiting()
    threading.Thread(target=_pass_down, args=[server, line, waiting], daemon=True).start()
    threading.Thread(target=_time_out, args=[waiting, patience, child], daemon=True).start()
    while (reply := line.receive()) and "error" not in reply:
        waiting.since = 0.0
        server.send(reply)
    why = reply.get("error") or f"Worker proc VllmWorker-0 died unexpectedly (exit code: {child.poll()})"
    log.say(f"RuntimeError: {why}", "E")
    log.say("EngineCore encountered a fatal error. See stack trace above", "E")
    children.kill_tree([child])
    return 1


class Waiting:
    """When the worker was asked for what it has not answered, by time.monotonic; 0 where nothing is."""

    since = 0.0


def _pass_down(server: Line, line: Line, waiting: Waiting) -> None:
    while message := server.receive():
        waiting.since = waiting.since or time.monotonic()
        line.send(message)
    rest()  # a server that was killed: the core and its worker stay for ever, and hold what they have


def _time_out(waiting: Waiting, patience: float, child: subprocess.Popen[bytes]) -> None:
    while not waiting.since or time.monotonic() - waiting.since < patience:
        time.sleep(min(1.0, patience / 4))
    log.say("TimeoutError: RPC call to sample_tokens timed out.", "E")
    children.kill_tree([child], wait=False)


if __name__ == "__main__":
    sys.exit(core() if CORE in sys.orig_argv[0] else worker())
