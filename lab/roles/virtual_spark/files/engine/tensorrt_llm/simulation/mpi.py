# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The link between ranks by MPI. Only the main thread may use it."""

from __future__ import annotations

import time
from typing import Any, Callable

_TALK, _BULK = 1, 2


def _until(done: Callable[[], bool]) -> None:
    """Wait without the spinning of MPI's own waits, which would take a core from whoever shares the machine."""
    started = time.monotonic()
    while not done():
        waited = time.monotonic() - started
        time.sleep(0.00005 if waited < 0.05 else 0.001 if waited < 2 else 0.01)


class MpiLink:
    """All ranks of MPI_COMM_WORLD."""

    def __init__(self) -> None:
        import mpi4py

        mpi4py.rc.thread_level = "funneled"
        from mpi4py import MPI

        self._mpi: Any = MPI
        self._world: Any = MPI.COMM_WORLD
        self.rank: int = self._world.Get_rank()
        self.size: int = self._world.Get_size()

    def send(self, peer: int, data: bytes) -> None:
        _until(self._world.Isend([data, self._mpi.BYTE], dest=peer, tag=_TALK).Test)

    def receive(self, peer: int) -> bytes:
        status = self._mpi.Status()
        _until(lambda: self._world.Iprobe(source=peer, tag=_TALK, status=status))
        buffer = bytearray(status.Get_count(self._mpi.BYTE))
        self._world.Recv([buffer, self._mpi.BYTE], source=peer, tag=_TALK)
        return bytes(buffer)

    def shift(self, data: bytes) -> bytes:
        buffer = bytearray(len(data))
        before, after = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        coming = self._world.Irecv([buffer, self._mpi.BYTE], source=before, tag=_BULK)
        going = self._world.Isend([data, self._mpi.BYTE], dest=after, tag=_BULK)
        _until(coming.Test)
        _until(going.Test)
        return bytes(buffer)
