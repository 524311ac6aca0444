#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nccl_tests_container
short_description: Start, await or remove the container of a measurement of NCCL
version_added: 0.1.0
description:
  - Starts the container by which a host takes part in a measurement of NCCL, in the place of an earlier one.
  - >-
    Waits for the end of the leader's container, and reads what the programs of nccl-tests printed. It judges nothing,
    which M(sparkops.dgx_spark.nccl_tests_report) does.
  - Removes the container. It ends by itself after the time that its own command gives it, whatever becomes of the play.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: What is started is started again, since an earlier measurement says nothing of now.
options:
  state:
    description: V(started), V(ended), which waits for it, or V(absent).
    type: str
    choices: [started, ended, absent]
    required: true
  argv:
    description: With O(state=started), the arguments of C(docker run).
    type: list
    elements: str
    default: []
  operations:
    description: With O(state=ended), the operations whose output is read.
    type: list
    elements: str
    default: []
  seconds:
    description: With O(state=ended), for how long it may run on.
    type: int
    default: 3600
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Remove the container of the measurement
  sparkops.dgx_spark.nccl_tests_container:
    state: absent
  become: true
"""

RETURN = r"""
result:
  description: >-
    What the leader's program noted, with C(problem), C(origin) of its programs, C(left_out), and in C(operations) by
    name C(status), C(timed_out), C(seconds) and C(argv). Empty where the program did not come to it.
  returned: with O(state=ended)
  type: dict
outputs:
  description: What each program printed, by its operation.
  returned: with O(state=ended)
  type: dict
ended:
  description: Whether the container has ended within the time.
  returned: with O(state=ended)
  type: bool
log:
  description: The last lines that the container wrote.
  returned: with O(state=ended)
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._nccl import container


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "ended", "absent"], "required": True},
            "argv": {"type": "list", "elements": "str", "default": []},
            "operations": {"type": "list", "elements": "str", "default": []},
            "seconds": {"type": "int", "default": 3600},
        },
        required_if=[("state", "started", ["argv"])],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**_done(module))
    except container.ContainerError as error:
        module.fail_json(msg=f"{error}. No file of this host was changed.")
    except OSError as error:
        module.fail_json(msg=f"what the measurement left cannot be read: {told(error)}")


def _done(module: AnsibleModule) -> dict[str, Any]:
    """Do what the state asks for, and return what the module returns."""
    asked = module.params
    if asked["state"] == "started":
        if not module.check_mode:
            container.start(module.run_command, asked["argv"])
        return {"changed": True}
    if asked["state"] == "absent":
        there = container.is_there(module.run_command)
        if there and not module.check_mode:
            container.remove(module.run_command)
        return {"changed": there}
    return {
        "changed": False,
        "ended": container.await_end(module.run_command, asked["seconds"]),
        "result": container.result(),
        "outputs": container.outputs(asked["operations"]),
        "log": container.log(module.run_command),
    }


if __name__ == "__main__":
    main()
