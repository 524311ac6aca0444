# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks a port of the loopback for what: ``python3 - PORT SECONDS``, as root on a Spark, prints JSON.

It looks at the packets, so that no program that asks is missed, and none is disturbed.
"""

from __future__ import annotations

import collections
import json
import re
import socket
import struct
import sys
import time

ETH_P_ALL, ETHERNET, TCP = 3, 14, 6
REQUEST = re.compile(rb"(GET|POST) (\S+) HTTP/1\.[01]\r\n")
AGENT = re.compile(rb"\r\nUser-Agent: ([^\r\n/]*)", re.IGNORECASE)


def request(frame: bytes, port: int) -> tuple[str, str] | None:
    """Method with path, and the program that asks, of a frame with the head of a request to the port."""
    packet = frame[ETHERNET:]
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != TCP:
        return None
    segment = packet[(packet[0] & 15) * 4 :]
    if len(segment) < 20 or struct.unpack("!H", segment[2:4])[0] != port:
        return None
    payload = segment[(segment[12] >> 4) * 4 :]
    line, agent = REQUEST.match(payload), AGENT.search(payload)
    return (f"{line[1].decode()} {line[2].decode()}", agent[1].decode() if agent else "") if line else None


def main() -> None:
    port, until = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
    found: collections.Counter[str] = collections.Counter()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as ear:
        ear.bind(("lo", 0))
        ear.settimeout(0.5)
        while time.monotonic() < until:
            try:
                frame, (_netdev, _protocol, kind, *_rest) = ear.recvfrom(65536)
            except socket.timeout:
                continue
            asked = request(frame, port) if kind != socket.PACKET_OUTGOING else None
            if asked:
                found["\t".join(asked)] += 1
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
