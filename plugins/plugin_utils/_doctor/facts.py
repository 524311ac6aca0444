# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read of the Sparks, as judges ask for it: what could not be read is never taken for healthy.

This plugin util is private to the collection.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network
from typing import Any, Iterator, Mapping, NamedTuple


class NotLookedError(Exception):
    """What a check reads was not read: why, in words, and of which host."""

    def __init__(self, why: str, host: str = "") -> None:
        super().__init__(why)
        self.host = host


class Seen(NamedTuple):
    """One thing that a judge saw.

    :param words: what, with its values. :param hosts: of a check of all Sparks, whom it is about.
    :param data: what a mend needs. :param mend: in the place of the check's own words.
    """

    words: str
    hosts: tuple[str, ...] = ()
    data: tuple[Mapping[str, Any], ...] = ()
    mend: str = ""


class Facts:
    """What one host's module told.

    :param told: ``read``, ``unread`` and ``at``; where the host was not reached, ``why`` alone.
    :param members: the names of all Sparks, in rank order.
    """

    def __init__(self, name: str, told: Mapping[str, Any], members: tuple[str, ...] = ()) -> None:
        self.name, self.members = name, members or (name,)
        self.read: Mapping[str, Any] = told.get("read") or {}
        self.unread: Mapping[str, str] = told.get("unread") or {}
        self.at = float(told.get("at") or 0)
        self.lost = str(told.get("why") or "") if not told.get("read") else ""

    @property
    def several(self) -> bool:
        """Whether a fabric is wanted at all."""
        return len(self.members) > 1

    def get(self, path: str) -> Any:
        """What lies at a path such as ``memory.total_mib``. :raises NotLookedError: where that was not read."""
        part, *keys = path.split(".")
        if self.lost:
            raise NotLookedError("the Spark was not reached", self.name)
        if part not in self.read:
            raise NotLookedError(self.unread.get(part) or f"the module told nothing of {part}", self.name)
        value = self.read[part]
        for key in keys:
            value = value[key]
        return value

    # --- what several judges ask for ---------------------------------------------------------------------------------

    def links(self) -> list[Mapping[str, Any]]:
        """The links of the fabric."""
        return list(self.get("links"))

    def addressed(self) -> list[tuple[Mapping[str, Any], IPv4Interface]]:
        """Links with carrier, and each of their addresses."""
        return [
            (link, IPv4Interface(text)) for link in self.links() if link["carrier"] for text in link.get("ipv4") or []
        ]

    def networks(self) -> dict[IPv4Network, str]:
        """The networks of the fabric here, and the device of each."""
        return {address.network: str(link["netdev"]) for link, address in self.addressed()}

    def containers(self, whose: str = "", running: bool = False) -> Iterator[Mapping[str, Any]]:
        """Serving containers. :param whose: ``ours``, ``other``, or empty for both."""
        for one in self.get("containers"):
            if one["serves"] and (not whose or one["serves"] == whose) and (one["state"] == "running" or not running):
                yield one

    def servings(self) -> list[Mapping[str, Any]]:
        """What this collection configured to serve here."""
        return list(self.get("serving"))

    def kernel(self) -> list[str]:
        """The kernel's lines that a check reads."""
        return list(self.get("kernel_log"))
