# SIMULATED: stands in for SGLang in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python3 -m sglang.launch_server …``: on the first node the server, on the others what answers that it lives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from every_node import children
from tensorrt_llm.simulation import log, model, server
from tensorrt_llm.simulation.proxy import Caller, Line

import sglang
from sglang import api, ranks
from sglang.srt import server_args

LOOK_S, DRAIN_S, SCHEDULERS_S = 1.0, 5.0, 30.0


class Node:
    """The main process of one node, and its children."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.children: list[subprocess.Popen[bytes]] = []
        self.api: api.Api | None = None
        self.http: server.Server | None = None
        signal.signal(signal.SIGQUIT, self._on_sigquit)

    def _on_sigquit(self, _number: int, _frame: object) -> None:
        words = "Received sigquit from a child process. It usually means the child failed."
        if self.api:
            words = "SIGQUIT received. signum=None, frame=None. It usually means one child failed."
        log.say(words)
        self.die()

    def die(self) -> None:
        """Kill all of this node; a signal's handler may not wait for what it interrupts."""
        children.kill_tree(self.children, wait=False)
        os.kill(os.getpid(), signal.SIGKILL)

    def launch(self) -> tuple[Caller | None, dict[str, Any]]:
        """Start the rank of this node, and wait until it has loaded. Returns how to ask it, and what it said."""
        mine, its = socket.socketpair()
        title = ranks.SCHEDULER + ranks.prefix(self.said).replace(" ", "_")
        rank = children.start(title, "sglang.ranks", self.said, [its])
        its.close()
        self.children.append(rank)
        if self.said["node_rank"] == 0:
            self.children.append(children.start(ranks.DETOKENIZER, "sglang.ranks", {}))
        line = Line(mine)
        ready = line.receive()
        if not ready:
            raise RuntimeError(
                f"Rank 0 scheduler died during initialization (exit code: {rank.wait()}). If exit code is -9 "
                "(SIGKILL), a common cause is the OS OOM killer."
            )
        return (Caller(line) if self.said["node_rank"] == 0 else None), ready

    def follow(self) -> int:
        """On another node: answer that it lives until the rank has ended. SIGTERM is for the first node alone."""
        signal.signal(signal.SIGTERM, self._ignore)
        beside = Beside((self.said["host"], self.said["port"]), Alive)
        threading.Thread(target=beside.serve_forever, daemon=True).start()
        rank = self.children[0]
        log.say(f"Scheduler or DataParallelController {rank.pid} terminated with {rank.wait()}")
        return 0

    def _ignore(self, _number: int, _frame: object) -> None:
        log.say(
            f"SIGTERM received on node_rank {self.said['node_rank']}; waiting for the rank-0 ShutdownReq broadcast to "
            "stop the schedulers."
        )

    def serve(self, caller: Caller, ready: dict[str, Any]) -> int:
        """On the first node: answer requests."""
        engine, folder = api.Engine(caller), Path(self.said["model_path"])
        settings = server.Settings(
            model=self.said["served_model_name"],
            version=sglang.__version__,
            max_batch_size=self.said["max_running_requests"],
            max_num_tokens=ready["context_len"],
            max_seq_len=ready["context_len"],
            no_chat="" if self.said["chat_template"] else model.no_chat(folder, os.environ),
            sees=model.sees(folder),
        )
        os.environ["VIRTUAL_SPARK_MODEL"] = self.said["model_path"]
        self.api = api.Api(engine, ready["ranks"], settings, ready["tokens"])
        taken = server.bind(self.said["host"], self.said["port"], reuse=True)
        self.http = server.Server(taken, self.api, handler=api.Handler)
        for child in self.children:
            threading.Thread(target=self._watch, args=[child], daemon=True).start()
        signal.signal(signal.SIGTERM, self._on_sigterm)
        threading.Thread(target=self._drain, args=[engine], daemon=True).start()
        threading.Thread(target=self._warm_up, daemon=True).start()
        host, port = self.http.socket.getsockname()[:2]
        log.say(f"INFO:     Uvicorn running on http://{host}:{port} (Press CTRL+C to quit)")
        self.http.serve_forever(poll_interval=0.1)
        children.kill_tree(self.children)
        return 0

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        status = child.wait()
        time.sleep(LOOK_S / 2)
        if status and self.api and not self.api.draining:
            name = "scheduler_0" if child is self.children[0] else "detokenizer"
            words = f"Subprocess {name} (pid={child.pid}) crashed with exit code {status}."
            log.say(f"{words} Triggering SIGQUIT for cleanup...")
            os.kill(os.getpid(), signal.SIGQUIT)

    def _warm_up(self) -> None:
        assert self.api
        list(self.api.generate("warmup", "user The capital city of France is", {"max_tokens": 8}).pieces)
        self.api.status = "Up"
        log.say("The server is fired up and ready to roll!")

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        log.say("SIGTERM received. signum=None frame=None. Draining requests and shutting down...")
        assert self.api
        self.api.draining = True

    def _drain(self, engine: api.Engine) -> None:
        """Look every five seconds whether it is to end, and then whether requests run."""
        assert self.api
        assert self.http
        while not self.api.draining:
            time.sleep(DRAIN_S)
        while left := self.api.busy():
            log.say(f"Gracefully exiting... Remaining number of requests {left}.")
            time.sleep(DRAIN_S)
        engine.stop()
        children.kill_tree(self.children)
        self.http.end()


class Alive(BaseHTTPRequestHandler):
    """What another node answers, whatever its rank does."""

    def do_GET(self) -> None:
        status = 200 if self.path in ("/ping", "/health", "/health_generate") else 404
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        return  # a warning and worse alone is written


class Beside(ThreadingHTTPServer):
    """Of another node."""

    allow_reuse_address = True
    daemon_threads = True


def main(words: list[str]) -> int:
    """Run one node."""
    said = server_args.prepare_server_args(words)
    ranks.write_as("")
    log.say(f"SIMULATED: a virtual Spark's stand-in for SGLang {sglang.__version__}")
    server_args.check(said)
    model.config(Path(said["model_path"]))
    log.say(f"server_args=ServerArgs(model_path={said['model_path']!r}, tp_size={said['tp_size']}, …)")
    node = Node(said)
    try:
        caller, ready = node.launch()
        return node.serve(caller, ready) if caller else node.follow()
    finally:
        children.kill_tree(node.children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
