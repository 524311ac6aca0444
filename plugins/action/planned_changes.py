# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what a plan would change on this host; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import named
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "role": {"type": "str", "default": ""},
        "entry_point": {"type": "str", "default": "apply"},
        "changes": {"type": "dict", "default": {}},
        "plans": {"type": "list", "elements": "dict", "default": []},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the names of this host's changes, and their diffs."""
        host = task_vars["inventory_hostname"]
        every = [asked["changes"], *(plan["changes"] for plan in asked["plans"])]
        if asked["role"]:
            every.append(self._changes_of(asked["role"], asked["entry_point"], task_vars))
        known = list(dict.fromkeys(name for changes in every for name in changes))
        if host not in known:
            raise PlanError(
                f"{host} is in no plan, which is for {', '.join(known) or 'no host'}: run the entry point plan on it"
            )
        own = [change for changes in every for change in changes.get(host, [])]
        return {
            "changed": bool(own) and self._task.check_mode,
            "planned": [named(change) for change in own],
            # What makes a change shows its diff.
            "diff": [self._diff(change) for change in own] if self._task.check_mode or not asked["role"] else [],
            "_ansible_verbose_always": bool(own),
        }

    def _changes_of(self, role: str, entry_point: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The changes of a role's plan in this play."""
        name = f"{role}_plan"
        if name not in task_vars:
            raise PlanError(
                f"Run the entry point plan of the role {role} before {entry_point}, in the same play. "
                "Nothing was changed."
            )
        plan: dict[str, Any] = self._templar.template(task_vars[name])
        return plan["changes"]

    @staticmethod
    def _diff(change: dict[str, Any]) -> dict[str, Any]:
        """One change as Ansible shows diffs; one without a text of its own is a line."""
        if "diff" in change:
            return {"before_header": named(change), "after_header": named(change), **change["diff"]}
        return {"prepared": f"{named(change)}\n"}
