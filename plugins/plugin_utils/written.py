# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what a person asked for on the controller, or say in a sentence why not.

This plugin util is private to the collection.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError


def write(path: str | Path, content: str | bytes, variable: str, mode: int, names: str = "file") -> str:
    """Replace a file, with its directories. Return where it is.

    :param path: relative to the directory that Ansible was started in, or below a home as ``~`` says.
    :param variable: the variable of a playbook by which a person says where, for the message.
    :param mode: of the file. :param names: what that variable names, ``file`` or ``directory``.
    :raises PlanError: where the file cannot be written.
    """
    target = Path.cwd() / Path(path).expanduser()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content if isinstance(content, bytes) else content.encode(), mode)
    except (OSError, FileError) as error:
        raise PlanError(
            f"{told(error)}, or name another {names} on this controller ({variable}). No Spark was changed."
        ) from error
    return str(target)
