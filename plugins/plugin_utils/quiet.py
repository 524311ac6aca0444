# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of action plugins that run the module of their name, whose long result is not printed with -v.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class QuietModule(ActionBase):
    """Runs the module on the host. A failure is shown as any other."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run once for each host."""
        result = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        return {**result, "_ansible_verbose_override": True}
