#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: async_job_info
short_description: Wait for a step that runs in the background, and read how far it is
version_added: 0.1.0
description:
  - >-
    Waits on the host for the end of a task that was started with C(async) and C(poll=0), for some seconds at most, and
    returns its result or how far it is.
  - >-
    Unlike M(ansible.builtin.async_status) it answers as soon as the step ends, in one remote call with the progress.
    M(sparkops.dgx_spark.async_follow) asks it again and again.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
author:
  - sparkops contributors (@sparkops)
options:
  jid:
    description: The C(ansible_job_id) that the task registered.
    type: str
    required: true
  dir:
    description: Where Ansible keeps the results of such tasks on the host, its C(async_dir).
    type: path
    default: ~/.ansible_async
  wait:
    description: How many seconds to wait at most.
    type: float
    default: 0
  progress:
    description: The files that tell how far the step is.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Wait a little for the download
  sparkops.dgx_spark.async_job_info:
    jid: "{{ downloading.ansible_job_id }}"
    wait: 5
    progress: ["{{ found.progress }}"]
  register: job
"""

RETURN = r"""
there:
  description: Whether the host knows of the step.
  returned: success
  type: bool
  sample: true
result:
  description:
    - What the step returned, empty while it runs.
    - Of a step that no process runs any more, as after a restart of the host, it says so and has V(true) as C(failed).
  returned: success
  type: dict
  sample: {"changed": true}
progress:
  description: What the files of O(progress) that are there hold, in their order.
  returned: success
  type: list
  elements: dict
  sample: [{"what": "lab/tiny copied", "bytes": 4000000000, "bytes_there": 1000000000}]
"""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

PROC = Path("/proc")
ENDED = (
    "the step has ended without a result, as where the host was restarted or the step was killed: see 'journalctl "
    "--dmesg' for a lack of memory, and run the playbook again"
)


def read(path: Path) -> dict[str, Any]:
    """Return the object in a file, empty while there is none, or half of one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def result_of(path: Path) -> dict[str, Any]:
    """Return what a step returned, empty while it runs."""
    found = read(path)
    return {} if not found or ("started" in found and not found.get("finished")) else found


def runs(jid: str, proc: Path) -> bool:
    """Whether a process of Ansible still runs a step: its command line has the first half of the step's ID."""
    wanted = jid.partition(".")[0].encode()
    for path in proc.glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended just now
            if wanted in path.read_bytes().split(b"\0"):
                return True
    return False


def state_of(path: Path, jid: str, until: float, proc: Path) -> dict[str, Any]:
    """Return what a step returned, as soon as it ends, empty where it runs at a time."""
    alive = runs(jid, proc)
    while True:
        result = result_of(path)
        if result or not path.exists():
            return result
        if not alive:
            return {"failed": True, "msg": ENDED}
        if time.monotonic() >= until:
            return {}
        time.sleep(0.1)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "jid": {"type": "str", "required": True},
            "dir": {"type": "path", "default": "~/.ansible_async"},
            "wait": {"type": "float", "default": 0},
            "progress": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    asked, until = module.params, time.monotonic() + module.params["wait"]
    path = Path(asked["dir"], Path(asked["jid"]).name)
    result = state_of(path, asked["jid"], until, PROC)
    progress = [about for about in map(read, map(Path, asked["progress"])) if about]
    module.exit_json(changed=False, there=path.exists(), result=result, progress=progress)


if __name__ == "__main__":
    main()
