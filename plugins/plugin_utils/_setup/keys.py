# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's public keys, and how one of them gets onto a host. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Sequence

#: the names by which ssh finds a private key by itself, in the order of our choice
NAMES = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")
_KINDS = r"ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
_LINE = re.compile(rf"(?P<kind>{_KINDS}) (?P<blob>[A-Za-z0-9+/]+={{0,3}})(?: (?P<comment>[^\n\r]*))?", re.ASCII)

#: What runs on the host, with the key on its standard input. As ssh-copy-id does, it adds a line to authorized_keys,
#: whose last line may have no end, and adds none that is there already.
INSTALL = (
    "umask 077; cd && mkdir -p .ssh && IFS= read -r key && file=.ssh/authorized_keys && "
    'if grep -qxF -e "$key" "$file" 2>/dev/null; then echo there; else '
    '{ [ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo >> "$file"; } && '
    'printf "%s\\n" "$key" >> "$file" && echo added; fi'
)


@dataclass(frozen=True)
class PublicKey:
    """A public key. ``path``: of its private key, empty for an agent's. ``usual``: ssh finds it by itself."""

    line: str
    path: str = ""
    usual: bool = False

    @property
    def said(self) -> str:
        """How it is called in a message."""
        found = _LINE.fullmatch(self.line)
        comment = found["comment"] if found and found["comment"] else ""
        return f"{self.path}.pub" if self.path else f"the agent's key {comment or self.line[:30]}"


def line_of(text: str) -> str:
    """The line of a public key's file; empty where that holds something else, such as a private key.

    >>> line_of("ssh-ed25519 AAAA me@here\\n"), line_of("-----BEGIN OPENSSH PRIVATE KEY-----")
    ('ssh-ed25519 AAAA me@here', '')
    """
    found = _LINE.fullmatch(text.strip())
    return found[0] if found else ""


def waits(error: str) -> str:
    """A sentence on an ssh server that closes a connection at once, as it does after failed logins from OpenSSH 9.8 on.

    >>> waits("kex_exchange_identification: Connection closed by remote host")
    ' A Spark does so for a minute at most after some logins that failed: try again then.'
    >>> waits("No route to host")
    ''
    """
    closed = re.search(r"Connection (?:reset|closed)|Not allowed at this time", error)
    return " A Spark does so for a minute at most after some logins that failed: try again then." if closed else ""


def choose(files: Mapping[str, str], folder: str, agent: Sequence[str]) -> PublicKey | None:
    """The key that ssh would offer by itself: one of the user's files, or else one of the agent's.

    :param files: the texts of the public keys of a directory, by the private keys' names. :param folder: their path.
    :param agent: the lines that ``ssh-add -L`` prints.
    """
    for name in NAMES:
        line = line_of(files.get(name, ""))
        if line:
            return PublicKey(line, f"{folder}/{name}", usual=True)
    lines = [line for line in map(line_of, agent) if line]
    return PublicKey(lines[0], usual=True) if lines else None
