# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the engine's stand-in share: its package, a model, and ranks without MPI."""

from __future__ import annotations

import importlib
import json
import queue
import sys
import threading
from pathlib import Path
from typing import Any, Sequence

ENGINE = Path(__file__).parents[2] / "roles" / "virtual_spark" / "files" / "engine"


def load(name: str) -> Any:
    """A module of the engine's package, which lives with the role that installs it."""
    if str(ENGINE) not in sys.path:
        sys.path.insert(0, str(ENGINE))
    return importlib.import_module(f"tensorrt_llm.{name}")


node, transport = load("simulation.node"), load("simulation.transport")


def write_model(folder: Path, shards: int = 2, **config: Any) -> Path:
    """A small model whose files are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": 8, **config}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    weight_map = {}
    for index in range(shards):
        name = f"model-{index + 1:05}-of-{shards:05}.safetensors" if shards > 1 else "model.safetensors"
        header = {"__metadata__": {}, f"t{index}": {"dtype": "U8", "shape": [10], "data_offsets": [0, 10]}}
        data = json.dumps(header).encode()
        (folder / name).write_bytes(len(data).to_bytes(8, "little") + data + bytes(10))
        weight_map[f"t{index}"] = name
    if shards > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


class QueueLink:
    """The link of ranks that are threads of one process."""

    def __init__(self, rank: int, size: int, wires: dict[tuple[str, int, int], queue.Queue[bytes]]) -> None:
        self.rank, self.size, self._wires = rank, size, wires
        self.shifted = 0

    def send(self, peer: int, data: bytes) -> None:
        self._wires["talk", self.rank, peer].put(data)

    def receive(self, peer: int) -> bytes:
        return self._wires["talk", peer, self.rank].get(timeout=5 if self.rank == 0 else None)

    def shift(self, data: bytes) -> bytes:
        self.shifted += len(data)
        self._wires["bulk", self.rank, (self.rank + 1) % self.size].put(data)
        return self._wires["bulk", (self.rank - 1) % self.size, self.rank].get(timeout=5)


def a_node(link: Any, gpus: int = 1, addresses: Sequence[str] = ()) -> Any:
    """A rank, with a RoCE device for each of the addresses."""
    hcas = tuple(transport.Hca(f"roce{index}", 1, True, True, address) for index, address in enumerate(addresses))
    machine = transport.Machine(hcas, interfaces={"eth0": "10.0.0.1"})
    return node.Node(link, gpus=lambda: gpus, look=lambda: machine)


def ranks(size: int, addresses: Sequence[Sequence[str]] = ()) -> tuple[Any, list[Any], list[threading.Thread]]:
    """Rank 0, the others, and the threads in which the others follow."""
    wires = {(kind, a, b): queue.Queue() for kind in ("talk", "bulk") for a in range(size) for b in range(size)}
    nodes = [
        a_node(QueueLink(rank, size, wires), addresses=addresses[rank] if addresses else ()) for rank in range(size)
    ]
    threads = [threading.Thread(target=one.follow, daemon=True) for one in nodes[1:]]
    for thread in threads:
        thread.start()
    return nodes[0], nodes[1:], threads
