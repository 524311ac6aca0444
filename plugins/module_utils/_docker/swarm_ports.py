# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the ports of a swarm can be reached on another host, whether something listens there yet or not.

This module util is private to the collection.
"""

from __future__ import annotations

import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Sequence

TCP = (2377, 7946)
UDP = (7946, 4789)
_ANSWERS = 3  # how often a datagram is sent: a host tells of closed ports only so often


def tcp(address: str, port: int, timeout: float) -> str:
    """``open``, ``closed`` (the host says so, so it is reached) or what is in the way."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect((address, port))
        except ConnectionRefusedError:
            return "closed"
        except socket.timeout:
            return "silent"
        except (OSError, UnicodeError) as exc:  # also a name that means nothing, or that is none
            return getattr(exc, "strerror", None) or str(exc)
    return "open"


def udp(address: str, port: int, timeout: float) -> str:
    """``closed`` (the host says so, so it is reached), ``silent`` (open, or filtered) or what is in the way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(timeout / _ANSWERS)
        try:
            probe.connect((address, port))
        except (OSError, UnicodeError) as exc:
            return getattr(exc, "strerror", None) or str(exc)
        for _attempt in range(_ANSWERS):
            try:
                probe.send(b"")
                probe.recv(1)
            except socket.timeout:
                continue
            except ConnectionRefusedError:
                return "closed"
            except OSError as exc:
                return exc.strerror or errno.errorcode.get(exc.errno or 0, str(exc))
    return "silent"


def closed_ports(found: dict[str, str], *, in_swarm: bool) -> list[str]:
    """Return the ports that are not let through. Where a swarm listens, silence on UDP is no sign of anything."""
    fine = {"open", "closed"}
    return [
        f"{name} ({said})"
        for name, said in found.items()
        if said not in fine and not (in_swarm and name.startswith("UDP") and said == "silent")
    ]


def probe(address: str, timeout: float) -> dict[str, str]:
    """Return what each port of a swarm says on a host."""
    names = [f"TCP {port}" for port in TCP] + [f"UDP {port}" for port in UDP]
    asks = [(tcp, port) for port in TCP] + [(udp, port) for port in UDP]
    with ThreadPoolExecutor(len(asks)) as pool:
        return dict(zip(names, pool.map(lambda ask: ask[0](address, ask[1], timeout), asks)))


def problems(peers: dict[str, str], in_swarm: Sequence[str], timeout: float) -> list[str]:
    """Return, for each peer (name -> address) with ports that are not let through, which ones."""
    wrong = {name: closed_ports(probe(address, timeout), in_swarm=name in in_swarm) for name, address in peers.items()}
    return [f"{name} ({peers[name]}): {', '.join(ports)}" for name, ports in wrong.items() if ports]
