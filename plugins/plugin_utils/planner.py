# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of action plugins that plan or check on the controller, without a remote call.

This plugin util is private to the collection.
"""

from __future__ import annotations

import time
import traceback
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import FORMS, cause


class PlanError(ValueError):
    """What was asked for cannot be. The message names host, value, cause and mend."""


class Planner(ActionBase):
    """Validates the arguments, calls :meth:`plan`, and turns its errors into the task's failure."""

    #: options, as an argument_spec
    SPEC: ClassVar[dict[str, Any]] = {}
    #: errors of pure functions whose messages are meant for people
    ERRORS: ClassVar[tuple[type[Exception], ...]] = ()

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what the task returns, beside ``changed`` and ``at``.

        :param asked: the validated options.
        :param task_vars: Ansible's variables, for what no option should have to repeat (``inventory_hostname``).
        :raises PlanError: or one of ``ERRORS``.
        """
        raise NotImplementedError

    def explain(self, error: Exception) -> str:
        """Say that what was given has another form than the host's module returns."""
        module = self._task.action
        return (
            f"{module} cannot make a plan of what it was given ({cause(error)}; ansible-playbook -vvv shows where). "
            "Nothing was changed. Give it what the info module of the same version of this collection returns, as the "
            "roles do; report it if that is so."
        )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run on the controller, once for each host."""
        super().run(tmp, task_vars)
        _validated, asked = self.validate_argument_spec(argument_spec=self.SPEC)
        meant_for_people: tuple[type[Exception], ...] = (PlanError, *self.ERRORS)
        try:
            found = self.plan(asked, task_vars or {})
        except meant_for_people as error:
            return {"changed": False, "failed": True, "msg": str(error)}
        except FORMS as error:
            return {"changed": False, "failed": True, "msg": self.explain(error), "exception": traceback.format_exc()}
        return {"changed": False, "at": time.time(), **found}
