# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that runs a program at the moment when a certain task of a play is about to start, once."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: at_task
type: notification
short_description: Do something at a certain moment of a play
description: Injects a fault between two tasks. AT_TASK is the end of the task's name, AT_TASK_RUN a shell command.
"""


class CallbackModule(CallbackBase):
    """Ansible waits for it, so that the fault is there when the task starts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "at_task"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        wanted = os.environ.get("AT_TASK")
        if wanted and task.get_name().endswith(wanted):
            subprocess.run(["bash", "-c", os.environ["AT_TASK_RUN"]], check=True)
            del os.environ["AT_TASK"]
