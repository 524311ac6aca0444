# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and keep the key of a client on the controller; the module of this name documents it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import clients
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._gateway import keys
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: random bytes of a key
BYTES = 32


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "directory": {"type": "path", "required": True},
        "name": {"type": "str", "default": ""},
        "state": {"type": "str", "choices": ["present", "new", "absent"], "default": "present"},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return where the key is, and its digest."""
        name, every = asked["name"], asked["state"] == "absent" and not asked["name"]
        problem = "" if every else clients.name_problem(name)
        if problem:
            raise PlanError(f"{problem}. Nothing was changed.")
        directory = Path(asked["directory"])
        try:
            if asked["state"] == "absent":
                return self._remove(directory, name)
            return self._keep(directory / f"{name}{keys.SUFFIX}", anew=asked["state"] == "new")
        except (FileError, OSError, UnicodeDecodeError) as error:
            raise PlanError(f"the key of {name or 'a client'} cannot be kept: {told(error)}") from None

    def _keep(self, path: Path, anew: bool) -> dict[str, Any]:
        key = "" if anew or not path.is_file() else path.read_text(encoding="utf-8").strip()
        if key and not clients.KEY.fullmatch(key):
            raise FileError(f"{path} holds no key: remove the file, and a new key is made")
        changed = not key
        if changed:
            key = f"{clients.KEY_PREFIX}{secrets.token_urlsafe(BYTES)}"
            if not self._task.check_mode:
                keys.folder(path.parent)
                write_atomically(path, f"{key}\n".encode(), 0o600)
        return {"changed": changed, "path": str(path), "sha256": clients.digest(key)}

    def _remove(self, directory: Path, name: str) -> dict[str, Any]:
        gone = keys.kept(directory, name)
        if gone and not self._task.check_mode:
            for path in gone:
                path.unlink()
            for one in (directory, directory.parent):
                if not any(one.iterdir()):
                    one.rmdir()
        return {"changed": bool(gone), "path": str(directory), "sha256": ""}
