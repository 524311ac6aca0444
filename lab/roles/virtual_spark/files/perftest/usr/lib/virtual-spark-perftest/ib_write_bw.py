# SIMULATED: perftest's ib_write_bw for RoCE devices that carry nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure one RoCE link as ``ib_write_bw`` does, by TCP between the addresses that its two devices would pair.

Both ends meet at the TCP port, as with the real one. There they exchange the addresses of their devices (the RoCE v2
entry in the GID table), and the client sends from one to the other over a few TCP streams, so that the figure follows
the link: its delay, its loss, its MTU and its carrier. What the server received is what counts, but for a card that was
hot-added: then both ends print no more than the cap.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

INFINIBAND = Path("/sys/class/infiniband")
VERBS = Path("/dev/infiniband")
HOTPLUG = Path("/run/virtual-spark/hotplug")
CAPPED = 0.01  # Gb/s a link: to the 0.2 that a lab wants of two Sparks what some 13 are to 175
STREAMS = 4  # one TCP stream is the processor's speed, not the link's
PATIENCE = 10  # s without a byte, after which the link is taken for dead
LINE = "-" * 87


class MeasurementError(Exception):
    """The test cannot be run; the message is what ib_write_bw prints."""


class Arguments(argparse.ArgumentParser):
    """The real one ends with 1 for arguments that it does not know."""

    def error(self, message: str) -> NoReturn:
        print(f" {message}", file=sys.stderr)
        raise SystemExit(1)


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the arguments of ib_write_bw that the stand-in knows; any other one is refused."""
    parser = Arguments(prog="ib_write_bw", description="SIMULATED ib_write_bw of a virtual Spark")
    parser.add_argument("server", nargs="?")
    parser.add_argument("-d", "--ib-dev", default="")
    parser.add_argument("-i", "--ib-port", type=int, default=1)
    parser.add_argument("-p", "--port", type=int, default=18515)
    parser.add_argument("-F", "--CPU-freq", action="store_true")
    parser.add_argument("--report_gbits", action="store_true")
    parser.add_argument("-D", "--duration", type=int, default=0)
    parser.add_argument("-n", "--iters", type=int, default=5000)
    parser.add_argument("-s", "--size", type=int, default=65536)
    return parser.parse_args(argv)


def read(path: Path) -> str:
    """Return a file of sysfs, empty where there is none."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def device_address(device: str, port: int) -> tuple[str, int, str]:
    """Return the device's name, and index and IPv4 address of the last RoCE v2 entry in its GID table.

    :raises MeasurementError: no such device, a port that is not active, or no entry for an IPv4 address.
    """
    names = sorted(path.name for path in INFINIBAND.iterdir()) if INFINIBAND.is_dir() else []
    if not names or not any(VERBS.glob("uverbs*")):
        raise MeasurementError(" Did not detect devices \n If device exists, check if driver is up\n")
    if device and device not in names:
        raise MeasurementError(f" IB device {device} not found\n Unable to find the Infiniband/RoCE device\n")
    device = device or names[0]
    place = INFINIBAND / device / "ports" / str(port)
    state = read(place / "state")
    if not state.endswith("ACTIVE"):
        raise MeasurementError(
            f" Port number {port} state is {state.partition(': ')[2].capitalize() or 'unknown'}\n"
            " Couldn't set the link layer\n Couldn't get context for the device\n"
        )
    kinds = sorted((place / "gid_attrs" / "types").iterdir(), key=lambda path: int(path.name))
    for kind in reversed(kinds):
        gid = read(place / "gids" / kind.name)
        mapped = ipaddress.IPv6Address(gid).ipv4_mapped if gid else None
        if mapped and read(kind) == "RoCE v2":
            return device, int(kind.name), str(mapped)
    raise MeasurementError(" Failed to find a RoCE v2 GID of an IPv4 address\n Couldn't get context for the device\n")


def hot_added() -> bool:
    """Whether this Spark's card came back while it ran: it is slow then, until a boot with the cable in."""
    return read(HOTPLUG / "added") not in ("", "0")


def gid_text(address: str) -> str:
    """Return a GID as perftest prints it, each byte in decimal.

    >>> gid_text("192.168.100.10")
    '00:00:00:00:00:00:00:00:00:00:255:255:192:168:100:10'
    """
    octets = [0] * 10 + [255, 255] + list(ipaddress.IPv4Address(address).packed)
    return ":".join(f"{octet:02d}" for octet in octets)


def header(device: str, index: int, own: str, peer: str, server: bool) -> str:
    """Return all that is printed before the figures."""
    pairs = [
        ("SIMULATED", "virtual Spark", "", ""),
        ("Dual-port", "OFF", "Device", device),
        ("Number of qps", "1", "Transport type", "IB"),
        ("Connection type", "RC", "Using SRQ", "OFF"),
        ("PCIe relax order", "ON", "Lock-free", "OFF"),
        ("ibv_wr* API", "ON", "Using DDP", "OFF"),
        *([] if server else [("TX depth", "128", "", "")]),
        ("CQ Moderation", "1", "", ""),
        ("Mtu", "4096[B]", "", ""),
        ("Link type", "Ethernet", "", ""),
        ("GID index", str(index), "", ""),
        ("Max inline data", "0[B]", "", ""),
        ("rdma_cm QPs", "OFF", "", ""),
        ("Data ex. method", "Ethernet", "", ""),
    ]
    lines = [f" {a:<16}: {b}" + (f"\t\t{c:<15}: {d}" if c else "") for a, b, c, d in pairs]
    ends = [
        f" {side} address: LID 0000 QPN 0x0127 PSN 0x5f5c5c RKey 0x1ffdbe VAddr 0x00{0x76F6BB3E6000:x}\n"
        f" GID: {gid_text(address)}"
        for side, address in (("local", own), ("remote", peer))
    ]
    return "\n".join([LINE, "                    RDMA_Write BW Test", *lines, LINE, *ends, LINE])


def figures(asked: argparse.Namespace, size: int, received: int, seconds: float) -> str:
    """Return the table; where it runs for a time the real one has no peak, and says 0."""
    unit, scale = ("Gb/sec", 8 / 1e9) if asked.report_gbits else ("MB/sec", 1 / 2**20)
    average = received * scale / seconds
    peak = 0.0 if asked.duration else average
    iterations = received // size
    rate = iterations / seconds / 1e6
    return "\n".join(
        [
            f" #bytes     #iterations    BW peak[{unit}]    BW average[{unit}]   MsgRate[Mpps]",
            f" {size:<10} {iterations:<15}{peak:<19.2f}{average:<21.2f}{rate:.6f}",
            LINE,
        ]
    )


class Peer:
    """The connection over which both ends agree, one JSON document a line."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.lines = connection.makefile("r", encoding="ascii")

    def say(self, **words: Any) -> None:
        self.connection.sendall(json.dumps(words).encode() + b"\n")

    def hear(self) -> dict[str, Any]:
        line = self.lines.readline()
        if not line:
            raise OSError("the other end is gone")
        return json.loads(line)


def serve(asked: argparse.Namespace, device: str, index: int, own: str) -> None:
    """Wait for one client, and count what it sends."""
    with socket.create_server(("", asked.port)) as listener:
        print(f"\n{'*' * 36}\n* Waiting for client to connect... *\n{'*' * 36}", flush=True)
        connection, _address = listener.accept()
        connection.settimeout(PATIENCE + asked.duration)
        peer = Peer(connection)
        said = peer.hear()
        with socket.create_server((own, 0)) as data:
            data.settimeout(PATIENCE)
            peer.say(address=own, port=data.getsockname()[1])
            print(header(device, index, own, said["address"], True), flush=True)
            streams = [data.accept()[0] for _one in range(STREAMS)]
        counts = [0] * STREAMS
        failed: list[OSError] = []

        def receive(number: int) -> None:
            buffer = bytearray(2**20)
            try:
                streams[number].settimeout(PATIENCE)
                while count := streams[number].recv_into(buffer):
                    counts[number] += count
            except OSError as exc:
                failed.append(exc)

        began = time.monotonic()
        together(receive)
        if failed:
            raise failed[0]
        received, seconds = sum(counts), time.monotonic() - began
        if said.get("capped") or hot_added():
            received = min(received, int(CAPPED * 1e9 / 8 * seconds))
        peer.say(received=received, seconds=seconds)
        print(figures(asked, said["size"], received, seconds))


def send(asked: argparse.Namespace, device: str, index: int, own: str) -> None:
    """Connect to the server, send for as long as asked, and print what arrived."""
    try:
        connection = socket.create_connection((asked.server, asked.port), timeout=PATIENCE + asked.duration)
    except OSError as exc:
        raise MeasurementError(
            f"Couldn't connect to {asked.server}:{asked.port}\n"
            " Unable to open file descriptor for socket connection Unable to init the socket connection\n"
        ) from exc
    peer = Peer(connection)
    peer.say(address=own, size=asked.size, capped=hot_added())
    there = peer.hear()
    print(header(device, index, own, there["address"], False), flush=True)
    streams = [
        socket.create_connection((there["address"], there["port"]), PATIENCE, source_address=(own, 0))
        for _one in range(STREAMS)
    ]
    message = bytes(asked.size)
    end = time.monotonic() + asked.duration
    failed: list[OSError] = []

    def push(number: int) -> None:
        left = asked.iters // STREAMS + (number < asked.iters % STREAMS)
        try:
            while time.monotonic() < end if asked.duration else left > 0:
                streams[number].sendall(message)
                left -= 1
            streams[number].shutdown(socket.SHUT_WR)
        except OSError as exc:
            failed.append(exc)

    together(push)
    if failed:
        raise failed[0]
    told = peer.hear()
    print(figures(asked, asked.size, told["received"], told["seconds"]))


def together(work: Any) -> None:
    """Run ``work`` once for each stream, all at the same time."""
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(argv: list[str]) -> int:
    """Run one end of a test; returns the exit status, 1 for any failure as the real one."""
    asked = parse(argv)
    try:
        device, index, own = device_address(asked.ib_dev, asked.ib_port)
        (send if asked.server else serve)(asked, device, index, own)
    except MeasurementError as error:
        sys.stderr.write(str(error))
        return 1
    except (OSError, ValueError) as exc:  # the link went away: the real one prints no row either
        sys.stderr.write(f" Failed to complete run_iter_bw function successfully ({exc})\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
