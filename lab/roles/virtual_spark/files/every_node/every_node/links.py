# SIMULATED: part of a virtual Spark's stand-in for SGLang and for vLLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How ranks without MPI find and reach one another: a store on the first node, and a connection between any two.

The store is torch's: it listens on all addresses of the first node. The connections are gloo's: each rank listens on
the address of the network device that GLOO_SOCKET_IFNAME names. The bytes are real.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from typing import Any, Callable

from tensorrt_llm.simulation import transport

LENGTH = struct.Struct(">I")


class MeetingError(RuntimeError):
    """Not all ranks came."""


class LinkError(ConnectionError):
    """A peer has gone."""


def gloo_address() -> str:
    """Where the others reach this rank: the address of the device that is named, else one towards the internet."""
    found, named = transport.look().interfaces, os.environ.get("GLOO_SOCKET_IFNAME", "")
    if named:
        for name in named.split(","):
            if name in found:
                return found[name]
        raise MeetingError(f"Unable to find address for: {named}")
    return towards_the_internet()


def towards_the_internet() -> str:
    """The address that a packet to the internet would have, which on a Spark is seldom one of its fabric."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 80))  # nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


class Pipe:
    """One connection, message by message."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        try:
            self.peer = "{}:{}".format(*connection.getpeername()[:2])
        except OSError:
            self.peer = "unknown"

    def send(self, data: bytes) -> None:
        try:
            self._connection.sendall(LENGTH.pack(len(data)) + data)
        except OSError as error:
            raise LinkError(f"Connection closed by peer [{self.peer}]: {error}") from None

    def receive(self) -> bytes:
        return self._exactly(LENGTH.unpack(self._exactly(LENGTH.size))[0])

    def _exactly(self, count: int) -> bytes:
        came = bytearray()
        while len(came) < count:
            try:
                piece = self._connection.recv(min(count - len(came), 1 << 20))
            except OSError as error:
                raise LinkError(f"Connection closed by peer [{self.peer}]: {error}") from None
            if not piece:
                raise LinkError(f"Connection closed by peer [{self.peer}]")
            came += piece
        return bytes(came)


class Store:
    """Where all ranks meet, on the first node. It is there as long as its process is.

    :param wait: seconds for all to come.
    """

    def __init__(self, rank: int, size: int, where: tuple[str, int], wait: float) -> None:
        self.rank, self.size, self._wait = rank, size, wait
        self._pipes: dict[int, Pipe] = {}
        self._door: socket.socket | None = None
        if rank:
            self._pipes[0] = Pipe(self._called(where))
            return
        self._door = socket.create_server(("", where[1]))
        deadline = time.monotonic() + wait
        while len(self._pipes) < size - 1:
            self._door.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection, _peer = self._door.accept()
            except TimeoutError:
                raise MeetingError(
                    f"torch.distributed.DistStoreError: Timed out after {int(wait) + 1} seconds waiting for clients. "
                    f"{len(self._pipes) + 1}/{size} clients joined."
                ) from None
            pipe = Pipe(connection)
            self._pipes[int(pipe.receive())] = pipe

    def _called(self, where: tuple[str, int]) -> socket.socket:
        deadline = time.monotonic() + self._wait
        while True:
            try:
                found = socket.create_connection(where, timeout=5)
                found.sendall(LENGTH.pack(len(str(self.rank))) + str(self.rank).encode())
                return found
            except OSError:
                if time.monotonic() > deadline:
                    raise MeetingError(
                        f"torch.distributed.DistNetworkError: The client socket has timed out after "
                        f"{int(self._wait * 1000)}ms while trying to connect to ({where[0]}, {where[1]})."
                    ) from None
                time.sleep(0.5)

    def gather(self, mine: Any) -> list[Any]:
        """What every rank has said, by rank."""
        if self.rank:
            self._pipes[0].send(json.dumps(mine).encode())
            return json.loads(self._pipes[0].receive())
        said = [mine, *(json.loads(self._pipes[peer].receive()) for peer in range(1, self.size))]
        for peer in range(1, self.size):
            self._pipes[peer].send(json.dumps(said).encode())
        return said

    def on_end(self, call: Callable[[], None]) -> None:
        """Have this called, by another thread, when the store is gone. Nothing is gathered from here on."""
        if self.rank:
            threading.Thread(target=self._await_end, args=[call], daemon=True).start()

    def _await_end(self, call: Callable[[], None]) -> None:
        try:
            while True:
                self._pipes[0].receive()
        except LinkError:
            call()


class Announced:
    """A further connection of the first rank to each other one, at the address that its environment names.

    Where that is not named, it is the one towards the internet, and others who cannot get there wait without a word.

    :param variable: that names it.
    """

    def __init__(self, store: Store, variable: str) -> None:
        own = os.environ.get(variable) or towards_the_internet()
        if store.rank:
            self._kept = [self._called(tuple(store.gather("")[0]))]
            return
        with socket.create_server((own, 0)) as door:
            store.gather(door.getsockname()[:2])
            self._kept = [door.accept()[0] for _other in range(1, store.size)]

    @staticmethod
    def _called(where: tuple[str, int]) -> socket.socket:
        while True:
            try:
                return socket.create_connection(where, timeout=5)
            except OSError:
                time.sleep(1)


class Mesh:
    """The connections of a rank to all others; what ``tensorrt_llm.simulation.node.Link`` describes."""

    def __init__(self, store: Store) -> None:
        self.rank, self.size = store.rank, store.size
        self._pipes: dict[int, Pipe] = {}
        with socket.create_server((gloo_address(), 0)) as door:
            doors = store.gather(door.getsockname()[:2])
            for peer in range(self.rank):
                pipe = Pipe(socket.create_connection(tuple(doors[peer]), timeout=60))
                pipe.send(str(self.rank).encode())
                self._pipes[peer] = pipe
            for _later in range(self.rank + 1, self.size):
                connection, _peer = door.accept()
                pipe = Pipe(connection)
                self._pipes[int(pipe.receive())] = pipe

    def send(self, peer: int, data: bytes) -> None:
        """Give one message to one rank."""
        self._pipes[peer].send(data)

    def receive(self, peer: int) -> bytes:
        """Wait for the next message of one rank."""
        return self._pipes[peer].receive()

    def shift(self, data: bytes) -> bytes:
        """Send to the next rank, and receive as much from the one before; every rank does so at once."""
        failed: list[LinkError] = []

        def give() -> None:
            try:
                self.send((self.rank + 1) % self.size, data)
            except LinkError as error:
                failed.append(error)

        going = threading.Thread(target=give, daemon=True)
        going.start()
        came = self.receive((self.rank - 1) % self.size)
        going.join()
        if failed:
            raise failed[0]
        return came
