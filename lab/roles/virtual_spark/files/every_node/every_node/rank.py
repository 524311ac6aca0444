# SIMULATED: part of a virtual Spark's stand-in for SGLang and for vLLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rank of an engine without MPI: what it looks at before it loads, and the real bytes that it exchanges."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple

from tensorrt_llm.simulation import faults, model, nccl, transport
from tensorrt_llm.simulation.node import Alone, EngineError, Node, require_gpu, visible_gpus
from tensorrt_llm.simulation.proxy import Line

from every_node.links import LinkError, Mesh, Store

EXCHANGE = 16 << 20  # bytes that every rank sends to the next before it serves
KV_TOKENS = 65536
IDLE_S = 0.02  # between two words to the others that there is nothing to do


class Place(NamedTuple):
    """Where a rank is."""

    rank: int
    size: int
    host: str  # of the first, where all meet
    port: int
    wait: float  # seconds for the others


def joined(place: Place) -> tuple[Mesh | Alone, Store | None]:
    """This rank's link to the others, once all have come."""
    if place.size == 1:
        return Alone(), None
    store = Store(place.rank, place.size, (place.host, place.port), place.wait)
    return Mesh(store), store


class Rank(Node):
    """This rank."""

    way = "gloo"

    def __init__(
        self,
        link: Mesh | Alone,
        gpus: Callable[[], int] = visible_gpus,
        look: Callable[[], transport.Machine] = transport.look,
    ) -> None:
        super().__init__(link, gpus, look)
        self.since = 0.0  # when the step began that it works on, by time.monotonic; 0 while it has none
        self.stopped = False

    def connect(self, exchange: int = EXCHANGE) -> dict[str, Any]:
        """Choose a network as NCCL does, meet the neighbours on it, and pass bytes on. Returns this rank's report."""
        chosen = self._choose()
        about = {"rank": self.rank, "host": self.host, "incarnation": self.incarnation, "transport": chosen.kind}
        kinds = {one["transport"] for one in self.gather(about)}
        self._connect(self.size > 1 and kinds == {"IB"})
        nccl.load()
        self.exchange(exchange)
        return about

    def gather(self, mine: Any) -> list[Any]:
        """What every rank has said, by rank."""
        if self.rank:
            self.link.send(0, json.dumps(mine).encode())
            return json.loads(self.link.receive(0))
        said = [mine, *(json.loads(self.link.receive(peer)) for peer in range(1, self.size))]
        self._tell(said)
        return said

    def check_gpu(self) -> None:
        """There is one. :raises EngineError: where there is none."""
        require_gpu(self._gpus())

    @staticmethod
    def read(path: str, tp: int, seconds: float, said: Callable[[int], None]) -> dict[str, Any]:
        """Read the model on this node. :param said: is told how many percent have come. Returns its config.json."""
        faults.take_memory()
        about = model.check(Path(path), tp)
        faults.wait_out(faults.STAND_STILL)
        for percent in range(0, 101, 5):
            faults.die_at_load(percent)
            if percent % 25 == 0:
                said(percent)
            time.sleep(seconds / 20 if percent < 100 else 0)
        return about

    @staticmethod
    def kv_tokens() -> int:
        """How many fit."""
        return int(faults.number(faults.KV_TOKENS, 0) or KV_TOKENS)

    def compute(self) -> None:
        """Take the time of a token."""
        slow = faults.number(faults.SLOW_TOKENS, 1)
        time.sleep(float(os.environ.get("VIRTUAL_SPARK_ENGINE_TOKEN_SECONDS", "0.005")) if slow is None else slow)

    # --- rank 0 ---------------------------------------------------------------------------------------------------

    def step(self, new: list[str]) -> dict[str, str]:
        """One token of everything that runs; every request in ``new`` gets its nonce from the last rank."""
        self.since = time.monotonic()
        try:
            return super().step(new)
        finally:
            self.since = 0.0

    def lead(self, line: Line, idles: bool) -> None:
        """Do what the server asks, all steps that wait in one exchange, until it is told to stop.

        :param idles: whether the others are told while there is nothing to do, too.
        """
        inbox: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, args=[line, inbox], daemon=True).start()
        while True:
            taken = self._taken(inbox, idles)
            steps = [message for message in taken if message["do"] == "step"]
            if steps:
                nonces = self.step([message["request"] for message in steps if message["new"]])
                for message in steps:
                    line.send({"id": message["id"], "nonce": nonces.get(message["request"], "")})
            elif idles:
                self._tell({"do": "idle"})
            for message in taken:
                if message["do"] == "stop":
                    self.stop()
                    line.send({"id": message["id"]})
                    return

    @staticmethod
    def _listen(line: Line, inbox: queue.Queue[dict[str, Any]]) -> None:
        while message := line.receive():
            inbox.put(message)

    @staticmethod
    def _taken(inbox: queue.Queue[dict[str, Any]], idles: bool) -> list[dict[str, Any]]:
        taken = []
        try:
            taken.append(inbox.get(timeout=IDLE_S if idles else None))
            while True:
                taken.append(inbox.get_nowait())
        except queue.Empty:
            return taken

    # --- the others -----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Do what rank 0 says until it says stop."""
        while True:
            message = json.loads(self.link.receive(0))
            faults.wait_out(faults.NO_ANSWER)
            if message["do"] == "stop":
                self.stopped = True
                return
            if message["do"] == "step":
                self.since = time.monotonic()
                self._pass_on()
                if message["new"] and self.rank == self.size - 1:
                    self.link.send(0, json.dumps(self._nonces(message["new"])).encode())
                self.since = 0.0


#: what ends a rank
ERRORS = (EngineError, LinkError, model.ModelError, transport.NcclError, OSError, RuntimeError, ValueError)


def load_seconds() -> float:
    """How long weights take to come."""
    return float(os.environ.get("VIRTUAL_SPARK_ENGINE_LOAD_SECONDS", "2"))
