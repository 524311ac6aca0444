# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for Sparks on the local network; the module of this name documents it."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import controller, search
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

try:
    import zeroconf
except ImportError:  # a controller can do without it
    HAS_ZEROCONF = False
else:
    HAS_ZEROCONF = True

SERVICE = "_ssh._tcp"
SYNC = (
    "~/.config/NVIDIA/Sync/config/ssh_config",
    "~/Library/Application Support/NVIDIA/Sync/config/ssh_config",
)


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "seconds": {"type": "float", "default": 5.0},
        "sync_configs": {"type": "list", "elements": "str", "default": list(SYNC)},
        "release_file": {"type": "str", "default": "/etc/dgx-release"},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the candidates, and what could not be asked."""
        answers, notes = _mdns(asked["seconds"])
        neighbours = controller.run(["ip", "-j", "neigh", "show"], 10)
        if neighbours.status:
            notes.append("ip, which lists the neighbours of this machine on Linux, did not answer")
        configs = [controller.text_of(controller.folder_of(path)) for path in asked["sync_configs"]]
        own = search.of_own_addresses(controller.run(["ip", "-j", "address", "show"], 10).out)
        found, others = search.candidates(
            [
                *answers,
                *search.of_neighbours(neighbours.out),
                *(one for text in configs if text for one in search.of_sync(text)),
            ],
            own,
            platform.node() if Path(asked["release_file"]).exists() else "",
        )
        return {"candidates": [one.to_json() for one in found], "others": others, "notes": notes}


def _mdns(seconds: float) -> tuple[list[search.Sighting], list[str]]:
    """What answers by mDNS, by the first way that works; and why no way did."""
    if controller.has("avahi-browse"):
        command = ["avahi-browse", "--parsable", "--resolve", "--terminate", "--no-db-lookup", SERVICE]
        said = controller.run(command, 2 * seconds)
        if said.status in (0, 124):  # without an end, but with answers, where a machine does not let itself be resolved
            return search.of_avahi(said.out), []
        why = f"avahi-browse did not answer ({' '.join(said.error.split()) or said.status})"
    else:
        why = "avahi-browse is not installed (apt install avahi-utils)"
    if not HAS_ZEROCONF:
        return [], [f"No machine was asked by mDNS: {why}, and neither is zeroconf (pip install zeroconf)"]
    return _zeroconf(seconds)


def _zeroconf(seconds: float) -> tuple[list[search.Sighting], list[str]]:
    """The same by a library, for a controller without avahi, such as a Mac."""
    names: list[str] = []

    def heard(name: str, state_change: zeroconf.ServiceStateChange, **_rest: Any) -> None:
        """Called in a thread of the library."""
        if state_change is zeroconf.ServiceStateChange.Added:
            names.append(name)

    found = []
    try:
        with zeroconf.Zeroconf() as asker:
            zeroconf.ServiceBrowser(asker, f"{SERVICE}.local.", handlers=[heard])
            time.sleep(seconds)
            for name in list(names):
                info = asker.get_service_info(f"{SERVICE}.local.", name, timeout=round(500 * seconds))
                if info:
                    server, port = str(info.server).rstrip("."), info.port or 22
                    found += [search.mdns(server, address, port) for address in info.parsed_addresses()]
    except (OSError, zeroconf.Error) as error:
        return [], [f"No machine was asked by mDNS: zeroconf cannot ask ({error})"]
    return [one for one in found if one], []
