# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker says to the leader at its sshd's port while it has no sshd: a line before any version of ssh."""

from __future__ import annotations

import contextlib
import socket
import time

MARK = "dgx-spark: "


def say(address: str, port: int, words: str, seconds: float) -> None:
    """Tell these words to each that connects, for some seconds; nobody hears them where the port cannot be had."""
    deadline = time.monotonic() + seconds
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((address, port))
            door.listen()
        except OSError:
            time.sleep(seconds)
            return
        while (left := deadline - time.monotonic()) > 0:
            door.settimeout(left)
            with contextlib.suppress(OSError):
                caller = door.accept()[0]
                with caller:
                    caller.sendall(f"{MARK}{words}\r\n".encode())
                    caller.shutdown(socket.SHUT_WR)
                    caller.settimeout(1)
                    caller.recv(1024)  # what ssh says first: without that, the end might overtake the words


def read(address: str, port: int, timeout: float = 3) -> str | None:
    """What a worker says there; empty where its sshd answers, None where nothing does."""
    try:
        with socket.create_connection((address, port), timeout=timeout) as call:
            said = b""
            while b"\n" not in said and len(said) < 4096:
                piece = call.recv(4096)
                if not piece:
                    break
                said += piece
    except OSError:
        return None
    line = said.decode(errors="replace").split("\n", 1)[0].strip()
    return line[len(MARK) :] if line.startswith(MARK) else ""
