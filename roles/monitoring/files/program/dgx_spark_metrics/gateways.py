# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API gateways of this Spark answer, as the HAProxy that runs counts it.

Source: HAProxy's management guide, 9.1, CSV format, and 9.3, Unix socket commands.
"""

from __future__ import annotations

import csv
import socket
from pathlib import Path
from typing import Callable

from .engines import ETC
from .text import Metrics

RUN = Path("/run")
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
TIMEOUT_S = 2.0

Ask = Callable[[Path, str], str]


def ask(path: Path, command: str) -> str:
    """What HAProxy answers to a command at its admin socket. :raises OSError:"""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(path))
        connection.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")


def collect(found: Metrics, etc: Path = ETC, root: Path = RUN, asked: Ask = ask) -> None:
    """Each gateway that is configured here: systemd takes the socket away with the HAProxy that ends."""
    for config in sorted(etc.glob("gateway*/haproxy.cfg")):
        name = config.parent.name
        try:
            said = asked(root / f"dgx-spark-{name}" / "admin.sock", "show stat")
        except OSError:
            said = ""
        rows = list(csv.DictReader(said.lstrip("# ").splitlines()))
        found.gauge(
            "dgx_spark_gateway_up", "Whether the gateway answers at its admin socket.", bool(rows), gateway=name
        )
        for row in rows:
            _row(found, name, row)


def _row(found: Metrics, name: str, row: dict[str, str]) -> None:
    kind = (row.get("pxname"), row.get("svname"))
    if kind == ("api", "FRONTEND"):
        for code in CLASSES:
            found.counter(
                "dgx_spark_gateway_answers_total",
                "Answers of the gateway, by the class of their status.",
                whole(row.get(f"hrsp_{code}")),
                gateway=name,
                code=code,
            )
        found.gauge(
            "dgx_spark_gateway_connections",
            "Connections of clients that are open.",
            whole(row.get("scur")),
            gateway=name,
        )
    elif kind == ("engine", "engine"):
        found.gauge(
            "dgx_spark_gateway_engine_up",
            "Whether the gateway takes the engine for one that answers.",
            str(row.get("status")).startswith("UP"),
            gateway=name,
        )
        found.gauge(
            "dgx_spark_gateway_requests", "Requests that the engine works on.", whole(row.get("scur")), gateway=name
        )


def whole(text: str | None) -> int | None:
    """A whole number, None where there is none.

    >>> whole("7"), whole(""), whole(None)
    (7, None, None)
    """
    return int(text) if text and text.isascii() and text.isdecimal() else None
