# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instances are on a host, and what a plan has to know of each. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import INSTANCE, RESERVED

SWARM, SYSTEMD = "swarm", "docker"  # launchers, as the option names them
#: of a module, as the doc fragment ``serving`` describes them
SERVING_OPTIONS = {
    "layout": {"type": "dict", "required": True},
    "launcher": {"type": "str", "choices": [SWARM, SYSTEMD], "required": True},
    "members": {"type": "list", "elements": "str", "required": True},
    "leader": {"type": "bool", "required": True},
}


def instances_in(engine: str, names: Iterable[str]) -> list[str]:
    """The names of an engine's instances by what lies on a host; the empty one is the instance without a name.

    :param names: of containers, stacks, units and directories, each without what comes before the engine's name.

    >>> instances_in("trtllm", ["trtllm", "trtllm-vlm_leader.1.x", "trtllm-b-image", "trtllm-c.service", "trtllmx"])
    ['', 'b', 'c', 'vlm']
    """
    found = set()
    for name in names:
        own = re.split(r"[_.]", name, maxsplit=1)[0]
        if own == engine or own == f"{engine}-{RESERVED}":
            found.add("")
        elif own.startswith(f"{engine}-"):
            instance = own[len(engine) + 1 :]
            instance = instance[: -len(RESERVED) - 1] if instance.endswith(f"-{RESERVED}") else instance
            found.update([instance] if INSTANCE.fullmatch(instance) else [])
    return sorted(found)


def facts_of(
    folder: str, cluster: Mapping[str, Any], node: Mapping[str, Any], state: Mapping[str, Any], launcher: str
) -> dict[str, Any]:
    """What a plan has to know of another instance, or engine, on a host.

    :param folder: the name of its directory. :param cluster: its ``cluster.json``, :param node: its ``node.json``,
        :param state: its ``state.json``: each empty, or of another shape, where the file was not whole.
    """
    limits, nodes = _mapping(cluster.get("limits")), cluster.get("nodes")
    first: Any = nodes[0] if isinstance(nodes, list) and nodes else {}
    engine, began = str(_mapping(cluster.get("engine")).get("name") or folder), state.get("began")
    need, reserve = _count(limits, "memory_need_mib"), _count(limits, "memory_reserve_mib")
    return {
        "name": f"dgx-spark-{folder}",
        "engine": engine,
        "instance": folder[len(engine) + 1 :] if folder.startswith(f"{engine}-") else "",
        "leader": str(_mapping(first).get("name") or ""),
        "members": [str(_mapping(one).get("name") or "") for one in nodes] if isinstance(nodes, list) else [],
        "rank": _count(node, "rank"),
        "launcher": launcher,
        "api_listen": str(cluster.get("api_listen") or ""),
        "ssh_port": _count(cluster, "ssh_port"),
        "share_mib": max(0, need - reserve),
        "budget_mib": _count(limits, "memory_budget_mib"),
        "require_rdma": limits.get("require_rdma") is True,
        "load_timeout_s": _count(limits, "load_timeout_s"),
        "was_stopped": (state.get("phase"), state.get("reason")) == (contract.STOPPED, contract.BY_STOP),
        **{name: str(state.get(name) or "") for name in ("phase", "config", "good", "model")},
        "began": began if isinstance(began, (int, float)) else 0,
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(where: Mapping[str, Any], name: str) -> int:
    value = where.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def called(instance: str) -> str:
    """An instance in words.

    >>> called("vlm"), called("")
    ('the instance vlm', 'the instance without a name')
    """
    return f"the instance {instance}" if instance else "the instance without a name"


def said(other: Mapping[str, Any]) -> str:
    """Another instance in words."""
    return f"{called(other['instance'])} ({other['name']})"
