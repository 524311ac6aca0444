# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another engine that serves under the same name, and gives way: it is ended, and removed once the new one serves.

Pure functions. This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import lifecycle
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.serving import Serving


def of(one: Serving, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The engine that gives way, empty where there is none.

    Of several, as where a switch was interrupted, the one that was not stopped on purpose.

    :param found: by member, as engine_host_info returns it.
    :returns: ``name``, ``engine``, ``layout``, ``launcher``, ``members``, ``on``, the Sparks of this run that have it,
        and ``model``; ``was_stopped``, on purpose; ``returns``, whether it has served, so that it can come back, with
        ``config``, ``require_rdma``, ``timeout`` and ``began`` to wait for that by.
    :raises ServeError: where it serves on other Sparks too, or is led from another, so that it cannot be ended here.
    """
    others = [
        (name, other) for name in one.members for other in found[name].get("others", []) if _gives_way(one, other)
    ]
    if not others:
        return {}
    others.sort(key=lambda each: bool(each[1]["was_stopped"]))
    name = others[0][1]["name"]
    on = {member: other for member, other in others if other["name"] == name}
    first = on.get(one.members[0]) or others[0][1]
    elsewhere = [member for member in first["members"] if member not in one.members]
    if first["leader"] != one.members[0] or elsewhere:
        raise ServeError(
            f"{name} serves on {', '.join(first['members'])}, and {', '.join(one.members)} are to serve by another "
            "engine instead: remove it with the inventory that it was served with (undo.yml), or give this serving a "
            "name of its own beside it (spark_instance)"
        )
    return {
        "name": name,
        "engine": first["engine"],
        "layout": layout(first["engine"], one.instance),
        "launcher": first["launcher"],
        "members": first["members"],
        "on": sorted(on, key=one.members.index),
        "model": first["model"],
        "was_stopped": first["was_stopped"],
        "returns": bool(first["good"]) and first["good"] == first["config"],
        "config": first["config"],
        "require_rdma": first["require_rdma"] and len(first["members"]) > 1,
        "timeout": first["load_timeout_s"] + lifecycle.BEYOND_A_LOAD_S,
        "began": first["began"],
    }


def without(found: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """What the Sparks have, without what gives way. :param name: its name."""
    return {
        member: {**one, "others": [other for other in one.get("others", []) if other["name"] != name]}
        for member, one in found.items()
    }


def _gives_way(one: Serving, other: Mapping[str, Any]) -> bool:
    return bool(other["instance"] == one.instance and other["engine"] != one.engine["name"])
