# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts told, of the variables in which their results lie.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import FORMS, cause


def told_by(
    hostvars: Mapping[str, Any], members: Sequence[str], register: str, hub: str = ""
) -> dict[str, dict[str, Any]]:
    """By host what its module told (``read``, ``unread``, ``at``), or ``why`` it told nothing.

    :param register: the variable of each host's result. :param hub: that of the leader's question to the hub.
    """
    found = {name: _one(hostvars, name, register) for name in members}
    leader = found.get(members[0]) if members else None
    if hub and leader and leader.get("read"):
        asked = _variable(hostvars, members[0], hub)
        if isinstance(asked, Mapping) and isinstance(asked.get("models"), Mapping):
            leader["read"]["hub"] = dict(asked["models"])
        elif isinstance(asked, Mapping) and asked.get("failed"):
            leader["unread"]["hub"] = str(asked.get("msg") or "the question failed")
    return found


def _one(hostvars: Mapping[str, Any], name: str, register: str) -> dict[str, Any]:
    result = _variable(hostvars, name, register)
    if not isinstance(result, Mapping):
        return {"why": "it took no part in this run: see --limit, and what failed above"}
    if isinstance(result.get("read"), Mapping):
        return {
            "read": dict(result["read"]),
            "unread": {str(part): str(why) for part, why in (result.get("unread") or {}).items()},
            "at": float(result.get("at") or 0),
        }
    said = [str(result.get("msg") or "nothing was told"), str(result.get("module_stderr") or "")[:200]]
    return {"why": redact.text(" ".join(" ".join(filter(None, said)).split()))}


def _variable(hostvars: Mapping[str, Any], name: str, variable: str) -> Any:
    try:
        return hostvars[name].get(variable)
    except FORMS as error:
        return {"msg": f"its variables cannot be read: {cause(error)}"}
