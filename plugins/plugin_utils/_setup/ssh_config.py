# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A marked block in a user's own configuration of ssh, which can be removed without a trace. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
import shlex
from typing import Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.answers import Spark

BEGIN = "# BEGIN sparkops.dgx_spark setup"
END = "# END sparkops.dgx_spark setup"
#: what the first line adds, so that removal restores the very bytes
JOINED, MADE = " (the line above had no end)", " (there was no file)"
_BLOCK = re.compile(
    rf"(?P<before>\n?)^{re.escape(BEGIN)}(?P<joined>{re.escape(JOINED)})?(?P<made>{re.escape(MADE)})?\n"
    rf"(?:(?!{re.escape(BEGIN)})[^\n]*\n)*?{re.escape(END)}(?:\n|\Z)",
    re.MULTILINE,
)


class SshConfigError(ValueError):
    """The file has half of a block."""


def quoted(value: str) -> str:
    """A value as a configuration of ssh takes it.

    >>> quoted("/home/a b/key"), quoted("/home/a/100%")
    ('"/home/a b/key"', '/home/a/100%%')
    """
    plain = value.replace("%", "%%")
    return f'"{plain}"' if re.search(r"\s", plain) else plain


def known_hosts_option(path: str) -> str:
    """What has ssh go by another file of known hosts, as it is typed into a shell.

    >>> print(known_hosts_option("/home/a b/known_hosts"))
    -o 'UserKnownHostsFile="/home/a b/known_hosts"'
    """
    return f"-o {shlex.quote(f'UserKnownHostsFile={quoted(path)}')}"


def entries(sparks: Sequence[Spark], user: str, key: str = "", known_hosts: str = "") -> list[str]:
    """The lines of the block: a Host of its own for each Spark, by its name alone, and never a pattern."""
    lines = []
    for one in sparks:
        lines += [f"Host {one.name}", f"  HostName {one.address}", f"  User {user}"]
        if one.port != 22:
            lines.append(f"  Port {one.port}")
        if key:
            lines.append(f"  IdentityFile {quoted(key)}")
        if known_hosts:
            lines.append(f"  UserKnownHostsFile {quoted(known_hosts)}")
    return lines


def without(text: str) -> tuple[str, bool]:
    """The text as it was before the block was added. Return also whether there is nothing left of a file that we made.

    :raises SshConfigError: where a mark of the block has no other.
    """
    found = _BLOCK.search(text)
    if not found:
        if re.search(rf"^(?:{re.escape(BEGIN)}|{re.escape(END)})", text, re.MULTILINE):
            raise SshConfigError(
                f"it has only one of the lines {BEGIN!r} and {END!r}: remove what is left of the block"
            )
        return text, False
    after = text[found.end() :]
    # Lines that came after the block would run on in a line without an end.
    before = text[: found.start()] + ("" if found["joined"] and not after else found["before"])
    left = before + after
    return left, bool(found["made"]) and not left


def with_block(text: str | None, lines: Sequence[str]) -> str:
    """The text with the block at its end, in the place of an older one.

    At its end, since a block at the top would take up the settings that a file begins with.

    :param text: None where there is no file. :raises SshConfigError: as :func:`without`.
    """
    made = text is None
    old, ours = without(text or "")
    joined = bool(old) and not old.endswith("\n")
    mark = f"{BEGIN}{JOINED if joined else ''}{MADE if made or ours else ''}"
    return old + ("\n" if joined else "") + "\n".join([mark, *lines, END]) + "\n"


def clashes(text: str, names: Sequence[str]) -> list[str]:
    """Of some names, those that the rest of the file has a Host for already, which ssh would go by."""
    taken = {
        name.lower()
        for words in re.findall(
            r"^[ \t]*host(?:[ \t]+|[ \t]*=[ \t]*)([^\n]*)$", without(text)[0], re.MULTILINE | re.IGNORECASE
        )
        for name in words.replace('"', " ").split()
    }
    return [name for name in names if name.lower() in taken]


def tunnel(user: str, leader: Spark, port: int, config: bool, key: str = "", known_hosts: str = "") -> str:
    """The command that brings the API of the leader's loopback to this machine's.

    :param config: whether the configuration of ssh knows the leader by its name.
    """
    options = ""
    if not config:
        options += f"-p {leader.port} " if leader.port != 22 else ""
        options += f"-i {shlex.quote(key)} " if key else ""
        options += f"{known_hosts_option(known_hosts)} " if known_hosts else ""
    return f"ssh -N -L {port}:127.0.0.1:{port} {options}{leader.name if config else f'{user}@{leader.address}'}"
