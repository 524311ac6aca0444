# SIMULATED: stands in for vLLM in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vllm serve MODEL …``: on the first node the server, on the others a rank that answers nobody."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from every_node import children
from tensorrt_llm.simulation import log, model, server
from tensorrt_llm.simulation.proxy import Caller, Line

import vllm
from vllm import api, ranks
from vllm.entrypoints.openai.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

LOOK_S = 5.0  # between two looks of the server at its engine
GRACE_S, LAST_S = 5.0, 4.0  # of a further node at SIGTERM
DEFAULTS = {
    "host": "localhost",
    "port": 8000,
    "nnodes": 1,
    "node_rank": 0,
    "master_addr": "127.0.0.1",
    "master_port": 29501,
    "tensor_parallel_size": 1,
    "pipeline_parallel_size": 1,
    "max_num_seqs": 256,
}


def prepared(words: list[str]) -> dict[str, Any]:
    """The arguments with the defaults that matter here. Words that are not known end this process, with status 2."""
    said = vars(make_arg_parser(FlexibleArgumentParser(prog="vllm serve")).parse_args(words))
    said |= {name: value for name, value in DEFAULTS.items() if said.get(name) is None}
    said["model_tag"] = said["model_tag"] or said.get("model") or ""
    return {name: value for name, value in said.items() if isinstance(value, (str, int, float, list, type(None)))}


def check(said: dict[str, Any]) -> None:
    """Refuse what the real one does not run. :raises ValueError: in words like its own."""
    world, nodes = said["tensor_parallel_size"] * said["pipeline_parallel_size"], said["nnodes"]
    if world % nodes or not 0 <= said["node_rank"] < nodes:
        raise ValueError(f"world_size {world} must be divisible by nnodes {nodes}, and node_rank be one of them")
    if world != nodes:
        raise ValueError(f"World size ({world}) is larger than the number of available GPUs (1) in this node.")
    longest = model.config(Path(said["model_tag"])).get("max_position_embeddings") or 4096
    if (said["max_model_len"] or 0) > longest:
        raise ValueError(
            f"User-specified max_model_len ({said['max_model_len']}) is greater than the derived max_model_len "
            f"(max_position_embeddings={longest} in model's config.json)."
        )


class Head:
    """The server of the first node."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.taken = server.bind(said["host"], said["port"], reuse=True)
        mine, its = socket.socketpair()
        self.core = children.start(ranks.CORE, "vllm.ranks", said, [its])
        its.close()
        self.line = Line(mine)

    def run(self) -> int:
        """Serve until it is asked to end, or its engine has died: with status 0 in either case."""
        ready = self.line.receive()
        if not ready:
            self.core.wait()
            raise RuntimeError("Engine core initialization failed. See root cause above. Failed core proc(s): {}")
        folder, names = Path(self.said["model_tag"]), self.said["served_model_name"] or [self.said["model_tag"]]
        settings = server.Settings(
            model=names[0],
            version=vllm.__version__,
            max_batch_size=self.said["max_num_seqs"],
            max_num_tokens=ready["longest"],
            max_seq_len=ready["longest"],
            no_chat="" if self.said["chat_template"] else model.no_chat(folder, os.environ),
            sees=model.sees(folder),
        )
        engine = api.Engine(Caller(self.line))
        http = server.Server(self.taken, api.Api(engine, ready, settings, names), handler=api.Handler)

        def on_sigterm(_number: int, _frame: object) -> None:
            engine.ending = True
            children.kill_tree([self.core], wait=False)
            threading.Thread(target=http.end).start()

        signal.signal(signal.SIGTERM, on_sigterm)
        threading.Thread(target=self._watch, args=[engine, http], daemon=True).start()
        log.say(f"Starting vLLM server on http://{self.said['host']}:{self.said['port']}")
        log.raw("INFO:     Application startup complete.")
        http.serve_forever(poll_interval=0.1)
        log.raw("INFO:     Waiting for connections to close. (CTRL+C to force quit)")
        http.server_close()
        children.kill_tree([self.core], wait=False)
        return 0

    @staticmethod
    def _watch(engine: api.Engine, http: server.Server) -> None:
        while not engine.gone:
            time.sleep(LOOK_S)
        http.end()


def follow(said: dict[str, Any]) -> int:
    """On another node: watch over its rank."""
    log.say(
        f"Launching vLLM (v{vllm.__version__}) headless multiproc executor, with head node address "
        f"{said['master_addr']}:{said['master_port']} for torch.distributed process group."
    )
    mine, its = socket.socketpair()
    worker: subprocess.Popen[bytes] = children.start(ranks.title(said), "vllm.ranks", said, [its])
    its.close()
    _kept = Line(mine)
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: asked.set())
    while worker.poll() is None and not asked.is_set():
        time.sleep(0.2)
    if asked.is_set():
        deadline = time.monotonic() + GRACE_S
        while worker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        worker.terminate()
        time.sleep(LAST_S if worker.poll() is None else 0)
    else:
        name = f"Worker proc VllmWorker-{said['node_rank']}"
        log.say(f"{name} died unexpectedly (exit code: None), shutting down executor.", "E")
        time.sleep(3)
    children.kill_tree([worker], wait=False)
    return 0


def main(words: list[str]) -> int:
    """Run one node."""
    if words[:1] == ["--version"]:
        print(vllm.__version__)
        return 0
    said = prepared(words[1:])
    ranks.write_as("APIServer")
    log.say(f"SIMULATED: a virtual Spark's stand-in for vLLM {vllm.__version__}")
    check(said)
    return follow(said) if said["headless"] else Head(said).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
