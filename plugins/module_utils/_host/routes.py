# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""The kernel's IPv4 routes, as ``/proc/net/route`` has them (proc(5)): addresses there are little-endian hex."""

from __future__ import annotations

import ipaddress
from typing import Tuple

Route = Tuple[ipaddress.IPv4Network, str]


def parse_routes(text: str) -> list[Route]:
    """Return network and interface of each route but the default route.

    :raises ValueError: for a line that cannot be read.
    """
    routes = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            address, mask = (ipaddress.IPv4Address(bytes.fromhex(fields[place])[::-1]) for place in (1, 7))
            network = ipaddress.IPv4Network(f"{address}/{mask}", strict=False)
        except (IndexError, ValueError) as error:
            raise ValueError(f"/proc/net/route has a line that cannot be read: {line!r} ({error})") from None
        if network.prefixlen:
            routes.append((network, fields[0]))
    return routes
