# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that runs: its programs, and what their lines tell."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import threading
import time
from typing import Any

from . import contract, keeper, nccl, processes
from .engines import Engine
from .state import say

SERVER_APPEARS = 60  # seconds from the start; a server that is not there then has come and gone


class Running:
    """All programs of one start of an engine. Their output goes into the log, and is read on the way."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.why = self.progress = ""
        self.error = ""  # the first since the last token: those that follow are mostly its consequences
        self.kv_tokens, self.heard = 0, time.monotonic()  # that fit into the KV cache; when the last line came
        nodes = engine.cluster["nodes"]
        self._ranks = {contract.short(node["name"]): number for number, node in enumerate(nodes)}
        self.transports = nccl.Transports(self._ranks)
        self._seen, self._began = False, time.monotonic()
        self._processes: list[subprocess.Popen[str]] = []
        self._listeners: list[threading.Thread] = []
        try:
            for name, command in engine.commands().items():
                is_here = name == nodes[0]["name"]
                self._start(command if is_here else self._remote(name, command), tethered=not is_here)
        except OSError:
            self.end(0, False)
            raise

    def _remote(self, name: str, command: list[str]) -> list[str]:
        """The command on another node, by ssh, which carries no environment. It ends with its standard input."""
        equal = [f"{key}={value}" for key, value in sorted({**self.engine.environment(), keeper.TETHER: "1"}.items())]
        return ["ssh", contract.short(name), shlex.join(["env", *equal, *command])]

    def _start(self, argv: list[str], tethered: bool) -> None:
        say(" ".join(argv))
        environment = {**os.environ, **self.engine.environment()}
        pipe: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        if tethered:
            pipe["stdin"] = subprocess.PIPE  # nothing is ever written there
        process = subprocess.Popen(argv, env=environment, start_new_session=True, text=True, errors="replace", **pipe)
        self._processes.append(process)
        listener = threading.Thread(target=self._listen, args=[process], daemon=True)
        self._listeners.append(listener)
        listener.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            print(self.engine.redact(line), end="", flush=True)
            noted, words = self.transports.read(line), line.partition("dgx-spark: ")[2].strip()
            if words and not noted and not keeper.is_of_keeper(words):
                self.why = words
            self.progress = self.engine.progress(line) or self.progress
            self.error = self.error or self.engine.error(line)
            self.kv_tokens, self.heard = self.engine.kv_tokens(line) or self.kv_tokens, time.monotonic()

    def alive(self) -> bool:
        """All its programs run, and so does the server: a launcher may go on without it."""
        if self.status() is not None:
            return False
        serves = any(self.engine.is_server(line) for line in processes.command_lines())
        self._seen = self._seen or serves or time.monotonic() - self._began > SERVER_APPEARS
        return serves or not self._seen

    def causes(self) -> str:
        """Why it does not serve, as far as the engine and this program's rank wrappers reported; else empty."""
        for listener in self._listeners:
            listener.join(2)  # what it wrote last may still be read
        without = [
            f"rank {self._ranks.get(host)} on {host} is without RDMA: {why}"
            for host, why in self.transports.without.items()
        ]
        return "; ".join(filter(None, [self.why, *without, self.error]))

    def status(self) -> int | None:
        """The exit status of the first of its programs that has ended, None while all run."""
        found = (process.poll() for process in self._processes)
        return next((status for status in found if status is not None), None)

    def end(self, grace: float, served: bool = True) -> None:
        """End all its programs by their process groups: a main process's children do not always follow it."""
        for number, seconds in self.engine.end_signals(served, grace):
            left = [process for process in self._processes if process.poll() is None]
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            deadline = time.monotonic() + seconds
            for process in left:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0, deadline - time.monotonic()))
