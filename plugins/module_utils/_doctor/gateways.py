# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a host how its API gateways are. Nothing is asked of them but what they have read.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Iterable

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.containers import unit
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.system import is_root
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import (
    admin,
    certificate,
    clients,
    config,
    host,
    use,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import ETC, Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError, run


def gateways(etc: Path = Path(ETC)) -> list[dict[str, Any]]:
    """All gateways of this host. :raises UnreadError: where there is one, and this user may not read its files."""
    found = host.instances(etc)
    if found and not is_root():
        raise UnreadError("clients and certificates of a gateway may be read by root alone: run this with become")
    return [gateway(Layout(instance)) for instance in found]


def gateway(places: Layout) -> dict[str, Any]:
    """How one is: ``unit``, ``enabled``, ``listens`` and ``holders``, who else has its port; ``as_written``, whether
    its configuration is; ``reads``, whether the HAProxy that runs has read that, None where none answers;
    ``clients_problem``; ``readable``, private files that others may read; ``ends_at`` of its certificate, in seconds
    since the epoch, None where it has none, 0 where that cannot be read.
    """
    text, program = host.text_of(places.config), host.text_of(places.program)
    listens = use.listens(text)
    return {
        "name": places.name,
        "unit": unit(places.unit),
        "enabled": os.path.lexists(places.unit_link),
        "listens": listens,
        "holders": holders(places, listens),
        "as_written": config.is_as_written(text, program),
        "reads": reads(places, config.told_digest(text)),
        "clients_problem": host.clients_here(places)[1],
        "readable": readable_by_others(private(places)),
        "ends_at": ends_at(places) if " ssl crt " in text else None,
    }


def holders(places: Layout, listens: str) -> list[str]:
    """Other programs that have the port of a gateway. :param listens: as :func:`use.listens` returns it."""
    address, _colon, port = listens.rpartition(":")
    if not port.isdigit():
        return []
    return list(host.listener(places, address.strip("[]"), int(port))["holders"])


def reads(places: Layout, told: str) -> bool | None:
    """Whether the HAProxy that runs has read the configuration with this digest, None where none answers."""
    try:
        return admin.description(admin.asker(places.admin_socket)).rpartition(" ")[2] == told
    except admin.AdminError:
        return None


def private(places: Layout) -> list[str]:
    """The files of a gateway that are nobody's but root's."""
    maps = map(places.map, clients.MAPS)
    return [places.clients, *maps, places.certificate, places.authority_key]


def readable_by_others(paths: Iterable[str]) -> list[str]:
    """Those that others than root may read or write, each with its mode."""
    found = []
    for path in paths:
        try:
            about = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if about.st_uid or stat.S_IMODE(about.st_mode) & 0o077:
            found.append(f"{path} (mode {stat.S_IMODE(about.st_mode):04o}, user {about.st_uid})")
    return found


def ends_at(places: Layout) -> int:
    """When the certificate ends, in seconds since the epoch; 0 where that cannot be read."""
    code, said = run(["openssl", "x509", "-noout", "-enddate", "-in", places.certificate])
    end = certificate.read(said)["not_after"] if code == 0 else 0
    return end if isinstance(end, int) else 0
