# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's name in /etc/hosts, and the names of the other Sparks there. Pure functions of the file's text.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Iterator, Mapping

OWN = str(ipaddress.IPv4Address("127.0.1.1"))  # Debian's and Ubuntu's line of the host's own name
LOOPBACK = str(ipaddress.IPv4Address("127.0.0.1"))
BEGIN, END = "# BEGIN DGX Spark management names", "# END DGX Spark management names"
_BLOCK = re.compile(rf"^{re.escape(BEGIN)}\n(?:.*\n)*?{re.escape(END)}(?:\n|\Z)", re.MULTILINE)


class HostsError(ValueError):
    """The file gives a name another address; the message names the line."""


def _entries(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """The lines with an address: the line's number from 1, the address and its names."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if len(words) > 1:
            yield number, words[0], words[1:]


def without_block(text: str) -> str:
    """Return the text without the block of names.

    >>> without_block(f"a\\n{BEGIN}\\n192.0.2.1 b\\n{END}\\n")
    'a\\n'
    """
    return _BLOCK.sub("", text)


def renamed(text: str, old: str, new: str) -> str:
    """Return the text in which the line of the host's own name has the new name in place of the old one.

    Where no line has the new name on a loopback address then, one is added. Each other byte stays.

    >>> renamed("127.0.0.1 localhost\\n127.0.1.1\\tspark-1b3b.lan spark-1b3b # own\\n", "spark-1b3b", "spark1")
    '127.0.0.1 localhost\\n127.0.1.1\\tspark1.lan spark1 # own\\n'
    >>> renamed("127.0.0.1 localhost\\n", "a", "spark1")
    '127.0.0.1 localhost\\n127.0.1.1 spark1\\n'
    """
    lines = text.splitlines(keepends=True)
    name = re.compile(rf"(?<=\s){re.escape(old)}(?=[.\s]|\Z)")
    for index, line in enumerate(lines):
        before, mark, comment = line.partition("#")
        if before.split()[:1] == [OWN]:
            lines[index] = name.sub(new, before) + mark + comment
    text = "".join(lines)
    if any(_is_loopback(address) and new in names for _number, address, names in _entries(text)):
        return text
    place = next((number for number, address, _names in _entries(text) if address == LOOPBACK), 0)
    lines = text.splitlines(keepends=True)
    if place and not lines[place - 1].endswith("\n"):
        lines[place - 1] += "\n"
    return "".join([*lines[:place], f"{OWN} {new}\n", *lines[place:]])


def with_names(text: str, names: Mapping[str, str]) -> str:
    """Return the text with a block of names at its end; of no names, without one.

    :param names: by name the address. :raises HostsError: where another line gives one of the names another address.
    """
    rest = without_block(text)
    for number, address, found in _entries(rest):
        for name in found:
            if name in names and address != names[name]:
                raise HostsError(
                    f"line {number} of /etc/hosts gives {name} the address {address}, and its management address is "
                    f"{names[name]}: ssh, Docker and all else would take that way. Remove the line (the fabric has "
                    f"names of its own, such as {name}-fabric)"
                )
    if not names:
        return rest
    joined = "" if not rest or rest.endswith("\n") else "\n"
    return (
        rest + joined + "".join(f"{line}\n" for line in [BEGIN, *(f"{ip} {name}" for name, ip in names.items()), END])
    )


def planned(text: str, old: str, new: str, names: Mapping[str, str]) -> str:
    """Return what /etc/hosts is to say. :param new: empty to leave the host's own name as it is.

    :raises HostsError: as :func:`with_names`.
    """
    return with_names(renamed(text, old, new) if new and new != old else text, names)


def undone(text: str, old: str, new: str) -> str:
    """Return the text without what :func:`planned` has added, what others have added left as it is.

    :param old: the name that the host had before. :param new: the one that it was given; empty for none.
    """
    rest = without_block(text)
    if not new or old == new:
        return rest
    name = re.compile(rf"(?<=\s){re.escape(new)}(?=[.\s]|\Z)")
    lines = rest.splitlines(keepends=True)
    for index, line in enumerate(lines):
        before, mark, comment = line.partition("#")
        if before.split()[:1] == [OWN]:
            lines[index] = name.sub(old, before) + mark + comment
    return "".join(lines)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
