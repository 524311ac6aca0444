# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write an archive for a bug report on the controller; the module of this name documents it."""

from __future__ import annotations

import contextlib
import platform
import time
from pathlib import Path
from typing import Any, ClassVar, Mapping, Sequence

from ansible.release import __version__ as ansible_version
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import FORMS
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import bundle
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.told import told_by
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.written import write


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "register": {"type": "str", "required": True},
        "document": {"type": "dict", "required": True},
        "lines": {"type": "list", "elements": "str", "default": []},
        "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
        "out": {"type": "str", "default": "."},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return where the archive is, and the names of the files in it."""
        now = time.time()
        top = time.strftime("doctor-%Y%m%d-%H%M%S", time.localtime(now))
        hosts = told_by(task_vars["hostvars"], asked["members"], asked["register"])
        about = {"ansible_core": ansible_version, "python": platform.python_version(), "at": now}
        secrets = [*asked["secrets"], *given(task_vars["hostvars"], asked["members"])]
        secrets += [getattr(self._play_context, name, None) or "" for name in ("password", "become_pass")]  # asked for
        texts = bundle.cleaned(bundle.files(hosts, asked["document"], asked["lines"], about), secrets)
        path = Path.cwd() / Path(asked["out"]).expanduser() / f"{top}.tar.gz"
        if not self._task.check_mode:
            write(path, bundle.archive(texts, top, now), "doctor_bundle_dir", 0o600, names="directory")
        return {"path": str(path), "files": sorted(texts), "_ansible_verbose_override": True}


def given(hostvars: Mapping[str, Any], members: Sequence[str]) -> list[str]:
    """The secrets that the variables of the hosts hold; what cannot be templated never reached a host."""
    found = []
    for name in members:
        for variable in bundle.SECRETS:
            with contextlib.suppress(*FORMS):
                found.append(str(hostvars[name].get(variable) or ""))
    return found
