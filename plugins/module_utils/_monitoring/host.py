# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a host all that its monitoring is planned from. It changes nothing.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import exposed
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.host import Run, entry, firewall, packages
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.host import is_unit
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import tcp_port, ufw
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import unavailable
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.routes import management_address
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import containers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.layout import (
    CONTAINERS,
    DOCKER_PACKAGE,
    ETC,
    GRAFANA_SECRETS,
    JOURNAL,
    JOURNAL_UNIT,
    PARTS,
    PROGRAM,
    SECRETS,
    Part,
    packages_of,
)

PROPERTIES = ("Id", "ActiveState", "ActiveEnterTimestampMonotonic")
DISK = "/var/lib"
EVERY_ADDRESS = str(ipaddress.IPv4Address(0))


def look(run: Run, leader: bool, ports: Mapping[str, int], choice: str, images: Sequence[str] = ()) -> dict[str, Any]:
    """All facts.

    :param ports: by the name of a part the port that it is to listen on. :param choice: what is to be known of ufw, as
        :func:`firewall` takes it. :param images: of the containers that are asked for; Docker's package for Ansible is
        needed with them.
    """
    with_docker = [DOCKER_PACKAGE] if images else []
    installed = packages(run, [*packages_of(True), DOCKER_PACKAGE])
    needed = [name for name in (*packages_of(leader), *with_docker) if name not in installed]
    return {
        "there": any(os.path.lexists(path) for path in places()),
        "packages": installed,
        "unavailable": unavailable(run, needed),
        "files": files(),
        "links": [part.unit for part in PARTS if os.path.lexists(part.unit_link)],
        "units": units(run),
        "listen": {part.name: taken(part, ports[part.name]) for part in PARTS if part.name in ports},
        "firewall": firewall(run, choice),
        "ufw_enabled": ufw.is_enabled(Path(ufw.CONF)),
        "addresses": exposed.addresses(run(["ip", "-j", "address"])[1]),
        "management": management_address(
            run(["ip", "-j", "-4", "address"])[1], run(["ip", "-j", "-4", "route", "show", "table", "all"])[1]
        ),
        "free_bytes": shutil.disk_usage(DISK).free,
        "docker": containers.look(ports, images),
        "journal": containers.journal(),
    }


def places() -> list[str]:
    """All that the monitoring may leave on a host."""
    parts = [path for part in PARTS for path in (part.unit_file, part.unit_link, part.data) if path]
    return [ETC, PROGRAM, *parts, *(one.data for one in CONTAINERS if one.data), JOURNAL]


def files(roots: Iterable[str] = (ETC, PROGRAM), more: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """By path the files of the monitoring, each with ``mode``, ``digest``, ``mtime`` in seconds since the epoch, and
    ``content`` where that is no secret.
    """
    units_here = [part.unit_file for part in PARTS] if more is None else more
    paths = [str(path) for root in roots for path in sorted(Path(root).rglob("*")) if "__pycache__" not in path.parts]
    found = {}
    for path in (*paths, *units_here):
        if path.startswith(f"{GRAFANA_SECRETS}/"):
            continue  # not even a digest, by which a short password is found
        about = entry(path, not path.startswith(f"{SECRETS}/"))
        if about["kind"] == "file":
            found[path] = {**about, "mtime": Path(path).stat().st_mtime}
    return found


def units(run: Run) -> dict[str, dict[str, Any]]:
    """By unit its ``active`` state, and ``started``, when it became active, in seconds since the epoch."""
    names = [*(part.unit for part in PARTS), JOURNAL_UNIT]
    said = run(["systemctl", "show", f"--property={','.join(PROPERTIES)}", *names])[1]
    return read_units(said, time.time(), time.monotonic())


def read_units(said: str, now: float, up: float) -> dict[str, dict[str, Any]]:
    """Read what ``systemctl show`` prints. :param up: seconds on the clock that systemd counts by, at ``now``.

    >>> read_units("Id=a.service\\nActiveState=active\\nActiveEnterTimestampMonotonic=4000000\\n", 1000.0, 10.0)
    {'a.service': {'active': 'active', 'started': 994.0}}
    """
    found = {}
    for block in re.split(r"\n\s*\n", said.strip()):
        told = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        entered = told.get("ActiveEnterTimestampMonotonic", "")
        if told.get("Id"):
            started = now - (up - int(entered) / 1e6) if re.fullmatch(r"[0-9]{1,18}", entered) else 0.0
            found[told["Id"]] = {"active": told.get("ActiveState", ""), "started": started}
    return found


def taken(part: Part, port: int) -> list[str]:
    """The programs, other than the part itself, that listen on its port on any address."""
    busy, holders = tcp_port.taken(EVERY_ADDRESS, port)
    others = [str(one) for one in holders if not is_unit(one.pid, part.unit)]
    return others if holders else ["another program"] if busy else []
