# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the certificate of a gateway's authority on the controller; the module of this name documents it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._gateway.keys import AUTHORITY, folder
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "directory": {"type": "path", "required": True},
        "authority": {"type": "str", "required": True},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return where the certificate is."""
        path, text = Path(asked["directory"], AUTHORITY), asked["authority"]
        if not text:
            return {"path": ""}
        try:
            changed = not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text
            if changed and not self._task.check_mode:
                folder(path.parent)
                write_atomically(path, text.encode(), 0o644)
        except (FileError, OSError) as error:
            raise PlanError(f"{path} cannot be written: {told(error)}") from None
        return {"changed": changed, "path": str(path)}
