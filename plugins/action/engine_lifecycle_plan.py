# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a stop, a start or a restart of what is configured, on the controller; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, exposed, lifecycle
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import BASE_LABEL
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: the names of all changes
CHANGES = (lifecycle.STOP_ENGINE, lifecycle.START_ENGINE)


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "action": {"type": "str", "choices": list(lifecycle.ACTIONS), "required": True},
        "members": {"type": "list", "elements": "str", "required": True},
        "found": {"type": "dict", "required": True},
        "local_only": {"type": "bool", "default": False},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of all hosts that were looked at."""
        found = {name: one for name, one in asked["found"].items() if one and "entries" in one}
        missing = {asked["members"][0], task_vars["inventory_hostname"]} - set(found)
        if missing:
            raise PlanError(f"nothing is known of {' and '.join(sorted(missing))}: read the serving there first")
        try:
            return planned(asked, found)
        except lifecycle.LifecycleError as error:
            raise PlanError(f"{str(error).rstrip('.')}. Nothing was changed.") from error


def planned(asked: dict[str, Any], found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The plan, in the form that the tasks which verify a serving take. :raises LifecycleError: when it cannot be."""
    alone = asked["local_only"]
    one = lifecycle.configured(found, asked["members"], alone)
    changes = lifecycle.changes(one, found, asked["action"], alone)
    own = found[one.members[0]]
    limits, names = one.cluster["limits"], {each["name"] for each in changes[one.members[0]]}
    starts = lifecycle.START_ENGINE in names and (
        lifecycle.STOP_ENGINE in names or lifecycle.starts_anew(one.launcher, one.wanted, own)
    )
    image = image_of(own)
    return {
        "changes": changes,
        "layout": own["layout"],
        "instance": own["layout"]["instance"],
        "launcher": one.launcher,
        "local_only": alone,
        "cluster": one.cluster,
        "endpoint": f"http://{one.cluster['api_probe']}/v1",
        "serves_beside": [other["name"] for other in own.get("others", []) if other["phase"] == contract.SERVING],
        # What a verification asks for.
        "config_digest": "",  # whatever is configured
        "model": {},
        "engine": {"name": own["layout"]["engine"]},
        "speculative": {},
        "image": {"id": image.get("id", ""), "name": next(iter(image.get("tags") or []), "")},
        "base_image": (image.get("labels") or {}).get(BASE_LABEL, ""),
        "base_digest": "",
        "last_good": "",
        "hosts": {
            name: {"rdma_devices": lifecycle.parsed(found[name], contract.NODE).get("rdma_devices") or []}
            for name in found
        },
        "exposed": {} if alone else exposed.sentences(one.cluster, one.launcher, found),
        "require_rdma": bool(limits.get("require_rdma")) and len(one.members) > 1,
        "load_timeout": int(limits["load_timeout_s"]) + lifecycle.BEYOND_A_LOAD_S,
        # What an earlier supervisor wrote does not count.
        "ignore_started_at": own["state"].get("began", 0) if starts else 0,
    }


def image_of(own: dict[str, Any]) -> dict[str, Any]:
    """The image of those built here that the container has, or that the stack names; empty where there is none."""
    docker, stack = own["docker"], own["entries"].get(own["layout"]["stack"], {}).get("content", "")
    used = docker["container"].get("image")
    return next((dict(one) for one in docker["built"] if one["id"] == used or one["id"] in stack), {})
