# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a host what its monitoring has in Docker, and of the journal, and take it away.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Mapping, Sequence
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError, reads_answers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.tcp_port import taken
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.layout import (
    CONFIG_LABEL,
    CONTAINERS,
    GRAFANA,
    GRAFANA_NEXT,
    GRAFANA_PASSWORD,
    IMAGES,
    JOURNAL,
    JOURNAL_DIRECTORY,
)

#: of the password's digest, so that nobody finds a short password by it
ROUNDS = 200_000
EVERY_ADDRESS = str(ipaddress.IPv4Address(0))


def digest_of(password: str, salt: str) -> str:
    """By which two passwords are compared, in hexadecimal digits. :param salt: also in such digits."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(salt), ROUNDS).hex()


def password(path: str = GRAFANA_PASSWORD, following: str = GRAFANA_NEXT) -> dict[str, Any]:
    """The password of Grafana's admin: ``salt`` and ``digest``, empty where there is none; and whether another one is
    ``pending`` that Grafana has not taken yet.
    """
    pending = os.path.lexists(following)
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return {"salt": "", "digest": "", "pending": pending}
    salt = secrets.token_hex(16)
    return {"salt": salt, "digest": digest_of(text, salt), "pending": pending}


def pulled(path: str = IMAGES) -> list[str]:
    """The images that the role has pulled here, by the names that it gave them."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def journal(path: str = JOURNAL, folder: str = JOURNAL_DIRECTORY) -> dict[str, Any]:
    """What limits the journal: the ``content`` of the role's own file, its ``mtime``, and whether there is a
    ``directory`` for it.
    """
    about: dict[str, Any] = {"content": "", "mtime": 0.0, "directory": Path(folder).is_dir()}
    with suppress(FileNotFoundError):
        about.update(content=Path(path).read_text(encoding="utf-8", errors="replace"), mtime=Path(path).stat().st_mtime)
    return about


@reads_answers
def _named(docker: Docker) -> dict[str, dict[str, Any]]:
    wanted = {one.container for one in CONTAINERS}
    listed = docker.ask("GET", "/containers/json?all=1")
    return {
        name: one for one in listed for name in (str(each).lstrip("/") for each in one["Names"] or []) if name in wanted
    }


@reads_answers
def containers(docker: Docker) -> dict[str, dict[str, Any]]:
    """By name the containers of the monitoring: ``id``, whether each is ``running``, and its ``config``."""
    return {
        name: {
            "id": str(one["Id"]),
            "running": one["State"] == "running",
            "config": str((one.get("Labels") or {}).get(CONFIG_LABEL, "")),
        }
        for name, one in _named(docker).items()
    }


def look(ports: Mapping[str, int], images: Sequence[str], docker: Docker | None = None) -> dict[str, Any]:
    """All facts of the monitoring's containers.

    :param ports: by a container's name where it is to listen. :param images: those that are to be there.
    """
    engine = docker or Docker()
    found: dict[str, Any] = {"problem": "", "containers": {}, "lacking": [], "runtimes": []}
    try:
        found["containers"] = containers(engine)
        if images:
            found["lacking"] = [name for name in images if engine.image(name) is None]
            found["runtimes"] = sorted(engine.info().get("Runtimes") or {})
    except DockerError as error:
        found["problem"] = str(error)
    names = {str(one["id"]): name for name, one in found["containers"].items()}
    return {
        **found,
        "listen": {one.name: holders(one.container, ports[one.name], names) for one in CONTAINERS if one.name in ports},
        "password": password(),
        "data": Path(GRAFANA.data).is_dir(),
        "pulled": pulled(),
    }


def holders(container: str, port: int, names: Mapping[str, str]) -> list[str]:
    """The programs, other than those of a container, that listen on a port of any address."""
    busy, who = taken(EVERY_ADDRESS, port, container, names)
    return ([str(one) for one in who] or ["another program"]) if busy else []


def remove(docker: Docker, image_names: Sequence[str], dry: bool) -> list[str]:
    """Remove the containers, and those images of the role that nothing else uses. Returns what goes.

    Docker is not asked where the role has given it nothing.

    :raises DockerError: where the engine does not answer.
    """
    if not image_names and not any(Path(one.etc).exists() for one in CONTAINERS):
        return []
    there = sorted(containers(docker))
    if not dry:
        for name in there:
            _delete(docker, f"/containers/{name}?force=1&v=1")
    images = [name for name in image_names if docker.image(name) is not None]
    if not dry:
        for name in images:
            _delete(docker, f"/images/{quote(name, safe='/:@')}")
    return [f"container {name}" for name in there] + [f"image {name}" for name in images]


def _delete(docker: Docker, target: str) -> None:
    try:
        docker.ask("DELETE", target)
    except DockerError as error:
        if error.status not in (404, 409):  # it went meanwhile; somebody else's container uses the image
            raise
