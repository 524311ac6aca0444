# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read from the leader all that its gateway is planned from. It changes nothing.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import exposed
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.host import (
    Run,
    entry,
    firewall,
    packages,
    unit,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import admin, certificate, clients, log
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import (
    ETC,
    PACKAGES,
    PREFIX,
    Layout,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import tcp_port, ufw
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import unavailable


def instances(etc: Path = Path(ETC)) -> list[str]:
    """The instances that have a gateway here, the empty name for the one without a name."""
    names = sorted(path.parent.name for path in etc.glob(f"{PREFIX}*/haproxy.cfg"))
    return [name[len(PREFIX) :].lstrip("-") for name in names if name == PREFIX or name.startswith(f"{PREFIX}-")]


def look(run: Run, places: Layout, listen: Mapping[str, Any], choice: str) -> dict[str, Any]:
    """All facts.

    :param listen: ``address`` and ``port``. :param choice: what is to be known of ufw, as :func:`firewall` takes it.
    """
    installed = packages(run, PACKAGES)
    known, problem = clients_here(places)
    return {
        "instances": instances(),
        "names": own_names(run),
        "packages": installed,
        "unavailable": unavailable(run, [name for name in PACKAGES if name not in installed]),
        "entries": entries(places),
        "unit": unit(run, places.unit)["active"],
        **running(places, known),
        "clients": {name: {**asdict(one), "models": list(one.models)} for name, one in known.items()},
        "clients_problem": problem,
        "certificate": certificate_here(run, places),
        "listen": listener(places, **listen) if listen else {},
        "firewall": firewall(run, choice),
        "ufw_enabled": ufw.is_enabled(Path(ufw.CONF)),
        "addresses": exposed.addresses(run(["ip", "-j", "address"])[1]),
    }


def entries(places: Layout) -> dict[str, dict[str, Any]]:
    """What lies at each path: with its content where that is no secret."""
    public = (places.config, places.program, places.unit_file)
    private = (
        places.clients,
        *map(places.map, clients.MAPS),
        places.certificate,
        places.authority,
        places.authority_key,
    )
    return {path: entry(path, path in public) for path in (*public, *private, places.unit_link, places.directory)}


def clients_here(places: Layout) -> tuple[dict[str, clients.Client], str]:
    """The clients, and why their file cannot be read, or nothing."""
    path = Path(places.clients)
    try:
        return clients.from_text(path.read_text(encoding="utf-8") if path.exists() else ""), ""
    except (clients.ClientError, UnicodeDecodeError) as error:
        return {}, f"{path} is damaged ({error}): restore it, or remove it and run the playbook, which makes new keys"


def running(places: Layout, known: Mapping[str, clients.Client]) -> dict[str, Any]:
    """What the HAProxy that runs has read: ``told``, of which configuration, ``shown``, the SHA-1 of which certificate.

    ``stale`` are the maps that it, or their files, have otherwise than the clients are.
    """
    wanted = clients.maps_of(known)
    stale = [name for name in clients.MAPS if text_of(places.map(name)) != clients.map_text(wanted[name])]
    try:
        ask = admin.asker(places.admin_socket)
        told, shown = admin.description(ask).rpartition(" ")[2], admin.certificate(ask, places.certificate)
        stale += [name for name in clients.MAPS if admin.entries(ask, places.map(name)) != wanted[name]]
    except admin.AdminError:
        told, shown = "", ""
    return {"told": told, "shown": shown, "stale": sorted(set(stale))}


def text_of(path: str) -> str:
    """The text of a file, nothing where there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""


def certificate_here(run: Run, places: Layout) -> dict[str, Any]:
    """Whom the certificate is for, and until when; ``digest`` is that of its file."""
    command = ["openssl", "x509", "-noout", "-enddate", "-fingerprint", "-sha1", "-ext", "subjectAltName"]
    there = Path(places.certificate).exists()
    about = certificate.read(run([*command, "-in", places.certificate])[1] if there else "")
    return {**about, "digest": entry(places.certificate, False).get("digest", "")}


def own_names(run: Run) -> list[str]:
    """The names of this host, as others may know it."""
    short = os.uname().nodename.partition(".")[0].lower()
    full = socket.getfqdn().lower()
    names = [short, f"{short}.local", *([full] if "." in full and not full.startswith("localhost") else [])]
    return [name for name in dict.fromkeys(names) if certificate.is_dns_name(name)]


def listener(places: Layout, address: str, port: int) -> dict[str, Any]:
    """Whether another program than this gateway listens where it is to, and which."""
    taken, holders = tcp_port.taken(address, port)
    others = [one for one in holders if not is_unit(one.pid, places.unit)]
    return {"taken": taken and (bool(others) or not holders), "holders": [str(one) for one in others]}


def is_unit(pid: int, unit_name: str, proc: Path = Path("/proc")) -> bool:
    """Whether a process is one of a unit's."""
    try:
        return f"/{unit_name}" in (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def journal_arguments(places: Layout) -> list[str]:
    """What journalctl is asked to print the newest lines of a gateway's log."""
    return ["--unit", places.unit, "--output", "cat", "--no-pager", "--quiet", "--lines", str(log.LINES)]
