# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is dear to read, or changes seldom: images, errors of the GPU in the kernel's log, certificates."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

from . import engines, gpu
from .text import Metrics

DOCKER = "/var/run/docker.sock"
TIMEOUT_S = 10.0
STACK_LABEL = "com.docker.stack.namespace"
XID = re.compile(r"NVRM: Xid \([^)]*\): (\d{1,4})\b")


class _Local(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(DOCKER)


def containers() -> list[dict[str, Any]]:
    """The containers that run. :raises OSError: and others, where Docker does not answer."""
    connection = _Local("localhost")
    try:
        connection.request("GET", "/containers/json")
        listed = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def images(
    found: Metrics,
    listed: Callable[[], list[dict[str, Any]]] = containers,
    etc: Path = engines.ETC,
    states: Path = engines.STATES,
) -> None:
    """From which image each serving runs here: all Sparks are to have the same."""
    names = {f"dgx-spark-{one.name}": one.name for one in engines.servings(etc, states)}
    for one in listed() if names else []:
        label = engines.mapping(one.get("Labels")).get(STACK_LABEL)
        for own in [label, *(str(name).lstrip("/") for name in one.get("Names") or [])]:
            if own in names:
                found.gauge(
                    "dgx_spark_engine_image_info",
                    "The image that a serving runs from on this Spark.",
                    1,
                    serving=names[own],
                    image=str(one.get("ImageID", "")).rpartition(":")[2][:12],
                )
                break


def xids(found: Metrics, ask: gpu.Run = gpu.run) -> None:
    """When the driver last reported an error of the GPU since the boot, by its number."""
    command = ["journalctl", "--dmesg", "--boot", "--no-pager", "--quiet", "--output=json", "--lines=2000"]
    _status, said = ask([*command, "--output-fields=MESSAGE"])
    last: dict[str, float] = {}
    for line in said.splitlines():
        if "NVRM: Xid" in line:
            entry = _entry(line)
            match = XID.search(str(entry.get("MESSAGE")))
            at = str(entry.get("__REALTIME_TIMESTAMP"))
            if match and at.isdecimal():
                last[match[1]] = max(last.get(match[1], 0.0), int(at) / 1e6)
    for number, when in last.items():
        found.gauge(
            "dgx_spark_gpu_xid_timestamp_seconds",
            "When the driver last reported an error of the GPU, since the epoch.",
            when,
            xid=number,
        )


def _entry(line: str) -> dict[str, Any]:
    try:
        return engines.mapping(json.loads(line))
    except ValueError:
        return {}


def certificates(found: Metrics, etc: Path = engines.ETC, ask: gpu.Run = gpu.run) -> None:
    """When the certificate of each gateway ends."""
    for path in sorted(etc.glob("gateway*/tls/server.pem")):
        _status, said = ask(["openssl", "x509", "-noout", "-enddate", "-in", str(path)])
        found.gauge(
            "dgx_spark_certificate_end_timestamp_seconds",
            "When a certificate ends, since the epoch.",
            end_of(said),
            gateway=path.parent.parent.name,
        )


def end_of(said: str) -> float | None:
    """Seconds since the epoch of what ``openssl x509 -enddate`` prints, None where that is no date.

    >>> end_of("notAfter=Jan  1 00:00:00 2027 GMT"), end_of("")
    (1798761600.0, None)
    """
    match = re.search(r"^notAfter=(.+) GMT$", said.strip(), re.MULTILINE)
    if not match:
        return None
    try:
        when = time.strptime(match[1], "%b %d %H:%M:%S %Y")
    except ValueError:
        return None
    return datetime(*when[:6], tzinfo=timezone.utc).timestamp()
