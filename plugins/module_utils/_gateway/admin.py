# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talk to the HAProxy that runs, by its admin socket: no stream is cut, and no file is read again.

Source: HAProxy's management guide, 9.3, Unix socket commands.

This module util is private to the collection.
"""

from __future__ import annotations

import re
import socket
from contextlib import closing
from typing import Callable, Mapping, Sequence

TIMEOUT_S = 10
#: entries of a map that one command carries, so that it fits into one of HAProxy's buffers
AT_A_TIME = 60
_ADDED = re.compile(r"New version created: (\d+)")
#: sends one command and returns what is answered
Ask = Callable[[str], str]


class AdminError(ValueError):
    """HAProxy does not do what it was told, or none runs; the message says which."""


def _refused(path: str, said: str) -> AdminError:
    """The error where HAProxy does not what it was told of a map."""
    return AdminError(f"HAProxy does not know or change {path} ({said or 'it says nothing'})")


def asker(path: str) -> Ask:
    """Return how to ask the HAProxy whose socket is at a path."""

    def ask(command: str) -> str:
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(TIMEOUT_S)
            try:
                connection.connect(path)
                connection.sendall(f"{command}\n".encode())
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace").strip()
            except OSError as error:
                raise AdminError(f"{path} does not answer ({error.strerror or error})") from None

    return ask


def entries(ask: Ask, path: str) -> dict[str, str]:
    """The entries of a map as HAProxy has them now. :raises AdminError: where it has no such map."""
    said = ask(f"show map {path}")
    if said and not said.startswith("0x"):
        raise _refused(path, said)
    rows = (line.split(None, 2) for line in said.splitlines())
    return {row[1]: row[2] for row in rows if len(row) == 3}


def replace(ask: Ask, path: str, wanted: Mapping[str, str]) -> bool:
    """Have a map hold these entries and no others, all at the same moment. Returns whether that changes it.

    :raises AdminError: where HAProxy refuses; then the map is as it was.
    """
    if entries(ask, path) == dict(wanted):
        return False
    said = ask(f"prepare map {path}")
    match = _ADDED.search(said)
    if not match:
        raise _refused(path, said)
    version, rows = match[1], [f"{key} {value}" for key, value in sorted(wanted.items())]
    for some in _parts(rows):
        _silent(ask, "\n".join([f"add map @{version} {path} <<", *some, ""]), path)
    _silent(ask, f"commit map @{version} {path}", path)
    return True


def _parts(rows: Sequence[str]) -> list[Sequence[str]]:
    return [rows[start : start + AT_A_TIME] for start in range(0, len(rows), AT_A_TIME)]


def _silent(ask: Ask, command: str, path: str) -> None:
    said = ask(command)
    if said:
        raise _refused(path, said)


def description(ask: Ask) -> str:
    """The description of the HAProxy that runs, which is in its configuration; empty where it has none."""
    match = re.search(r"^description: (.*)$", ask("show info"), re.MULTILINE)
    return match[1].strip() if match else ""


def certificate(ask: Ask, path: str) -> str:
    """The SHA-1 of the certificate that the HAProxy that runs shows its clients, of those in the file of that path."""
    match = re.search(r"^SHA1 FingerPrint: ([0-9A-Fa-f]+)$", ask(f"show ssl cert {path}"), re.MULTILINE)
    return match[1].upper() if match else ""
