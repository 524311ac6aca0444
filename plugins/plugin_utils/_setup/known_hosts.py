# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host keys: what ssh-keyscan shows, what known_hosts has, and which lines are to come. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Iterable, Sequence

#: what ssh-keyscan -t calls the keys of a type
KINDS = {
    "ssh-ed25519": "ed25519",
    "ecdsa-sha2-nistp256": "ecdsa",
    "ecdsa-sha2-nistp384": "ecdsa",
    "ecdsa-sha2-nistp521": "ecdsa",
    "ssh-rsa": "rsa",
}
NEW, KNOWN, CHANGED = "new", "known", "changed"


@dataclass(frozen=True)
class HostKey:
    """A host key. ``marker``: of known_hosts, such as @revoked."""

    kind: str
    blob: str  # in base64
    marker: str = ""

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` shows it."""
        return fingerprint(self.blob)


def fingerprint(blob: str) -> str:
    """The SHA-256 fingerprint of a key in base64; empty where that is none.

    >>> fingerprint("AAAAC3NzaC1lZDI1NTE5AAAAIA==")[:7]
    'SHA256:'
    """
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=") if raw else ""


def subject(address: str, port: int) -> str:
    """What known_hosts calls a host.

    >>> subject("192.168.1.21", 22), subject("spark1.local", 2222)
    ('192.168.1.21', '[spark1.local]:2222')
    """
    return address.lower() if port == 22 else f"[{address.lower()}]:{port}"


def keys(text: str) -> list[HostKey]:
    """Read lines of known_hosts, as ssh-keyscan and ssh-keygen -F print them. What is no key counts for nothing."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if len(fields) >= 3 and fields[1] in KINDS and fingerprint(fields[2]):
            found.append(HostKey(fields[1], fields[2], marker))
    return found


def wanted(known: Sequence[HostKey]) -> str:
    """The types that ssh-keyscan is to ask for: no more than needed, since a host may count the connections."""
    return ",".join(dict.fromkeys(KINDS[key.kind] for key in known if not key.marker)) or "ed25519"


def state(shown: Sequence[HostKey], known: Sequence[HostKey]) -> str:
    """Whether a host's keys are those of known_hosts.

    A host that shows one key that is there is known; ssh asks for that one. One that shows another key of a type that
    is there has changed, and so has one whose key was revoked.
    """
    there = {(key.kind, key.blob) for key in known if not key.marker}
    revoked = {key.blob for key in known if key.marker == "@revoked"}
    if any(key.blob in revoked for key in shown):
        return CHANGED
    if any((key.kind, key.blob) in there for key in shown):
        return KNOWN
    return CHANGED if {key.kind for key in shown} & {kind for kind, _blob in there} else NEW


def with_lines(text: str, lines: Iterable[str]) -> str:
    """The text of known_hosts with further lines at its end, and all that is there as it is."""
    end = "" if not text or text.endswith("\n") else "\n"
    return text + end + "".join(f"{line}\n" for line in lines)


def line(address: str, port: int, key: HostKey) -> str:
    """A host's line of known_hosts."""
    return f"{subject(address, port)} {key.kind} {key.blob}"
