# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each client of an API gateway asks, as the HAProxy that runs counts it, by the client's name.

Source: HAProxy's management guide, 9.3, show table. It was seen in HAProxy 2.6 and is read the same from later ones.
"""

from __future__ import annotations

import re
from pathlib import Path

from .gateways import RUN, Ask, ask
from .text import Metrics

#: of a gateway without keys a client is an address: no more of them become series of their own, the busiest first
MOST = 100
_FIELD = re.compile(r"([a-z0-9_()]+)=(\S*)")


def rows(said: str) -> list[tuple[str, int, int]]:
    """The clients with their requests and the requests that run now, the busiest first.

    :param said: what ``show table clients`` answers.

    >>> rows("# table: clients\\n0x5: key=alice use=0 exp=7 conn_cur=1 gpc0=41 gpc0_rate(60000)=2\\n")
    [('alice', 41, 1)]
    """
    found = []
    for line in said.splitlines():
        told = dict(_FIELD.findall(line)) if line.startswith("0x") else {}
        requests, running = told.get("gpc0", ""), told.get("conn_cur", "")
        if told.get("key") and requests.isdecimal() and running.isdecimal():
            found.append((told["key"], int(requests), int(running)))
    return sorted(found, key=lambda one: (-one[1], one[0]))


def collect(found: Metrics, root: Path = RUN, asked: Ask = ask) -> None:
    """The clients of each gateway that runs. One that has asked nothing for two hours is forgotten."""
    for path in sorted(root.glob("dgx-spark-gateway*/admin.sock")):
        name = path.parent.name[len("dgx-spark-") :]
        try:
            said = asked(path, "show table clients")
        except OSError:
            continue  # which the gateway's own figures tell
        for client, requests, running in rows(said)[:MOST]:
            found.counter(
                "dgx_spark_gateway_client_requests_total",
                "Requests of a client that the gateway let through.",
                requests,
                gateway=name,
                client=client,
            )
            found.gauge(
                "dgx_spark_gateway_client_streams",
                "Requests of a client that run now.",
                running,
                gateway=name,
                client=client,
            )
