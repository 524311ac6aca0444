# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a model's tokenizer to the controller; the module of this name documents it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import tokenizer
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

MEND = "give a directory on this controller that has the model's tokenizer (benchmark_tokenizer). Nothing was measured."


class ActionModule(Planner):
    """Runs on the controller, and reads the files from the host."""

    SPEC: ClassVar[dict[str, Any]] = {
        "directory": {"type": "str", "default": ""},
        "repo": {"type": "str", "default": ""},
        "commit": {"type": "str", "default": ""},
        "cache_dir": {"type": "str", "default": "~/.cache/huggingface"},
        "keep": {"type": "str", "required": True},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the directory. A commit's files are brought once."""
        host = task_vars["inventory_hostname"]
        if asked["directory"]:
            folder = Path.cwd() / Path(asked["directory"]).expanduser()
            if problem := tokenizer.problem(folder):
                raise PlanError(f"{problem}, and benchmark_tokenizer names it: {MEND}")
            return {"directory": str(folder), "files": []}
        if not asked["repo"] or not asked["commit"]:
            raise PlanError(f"{host} tells no commit of the model, and so of no tokenizer: {MEND}")
        kept = Path.cwd() / Path(asked["keep"]).expanduser() / asked["repo"].replace("/", "--") / asked["commit"]
        if not tokenizer.problem(kept) or self._task.check_mode:
            return {"directory": str(kept), "files": []}
        place = tokenizer.snapshot(asked["cache_dir"], asked["repo"], asked["commit"])
        came = self._brought(place, kept, host, task_vars)
        if problem := tokenizer.problem(kept):
            raise PlanError(f"{host}: of {place}, {problem}: {MEND}")
        return {"directory": str(kept), "files": came}

    def _brought(self, place: str, kept: Path, host: str, task_vars: dict[str, Any]) -> list[str]:
        """Copy what the host has of a tokenizer's files. Return their names."""
        options = {
            "paths": [self._remote_expand_user(place)],
            "patterns": list(tokenizer.FILES),
            "file_type": "any",  # the cache has links
        }
        found = self._execute_module("ansible.legacy.find", module_args=options, task_vars=task_vars)
        if found.get("failed") or not found.get("files"):
            raise PlanError(f"{host} has no tokenizer in {place} ({found.get('msg') or 'nothing is there'}): {MEND}")
        names = []
        try:
            kept.mkdir(parents=True, exist_ok=True)
            # What tells that all is there comes last.
            for one in sorted(found["files"], key=lambda one: str(one["path"]).endswith("tokenizer.json")):
                read = self._execute_module(
                    "ansible.legacy.slurp", module_args={"src": one["path"]}, task_vars=task_vars
                )
                if read.get("failed"):
                    raise PlanError(f"{host}: {one['path']} cannot be read ({read.get('msg')}): {MEND}")
                name = Path(str(one["path"])).name
                write_atomically(kept / name, base64.b64decode(read["content"])[: tokenizer.MOST_BYTES], 0o644)
                names.append(name)
        except (OSError, FileError) as error:
            raise PlanError(f"{told(error)}: the tokenizer has no place on this controller. {MEND}") from error
        return sorted(names)
