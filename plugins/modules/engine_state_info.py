#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_state_info
short_description: Read what the supervisor of an engine says of its serving
version_added: 0.1.0
description:
  - Reads the state file that the leader's container keeps, and tells whether it serves and over which transport.
  - To be run on the leader.
  - >-
    Where a Swarm is to start the containers and cannot, for instance because no node has what they ask for or a
    directory to mount is not there, that counts as settled too, and RV(problems) has the Swarm's own words.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
author:
  - sparkops contributors (@sparkops)
options:
  path:
    description: The state file. One that is not there is a server that has not started.
    type: path
    required: true
  config_digest:
    description: >-
      The digest of the configuration and the image that the containers must have been started with, as
      M(sparkops.dgx_spark.engine_plan) returns it. Empty for whatever is configured.
    type: str
    required: true
  members:
    description: The names of the Sparks, in rank order.
    type: list
    elements: str
    required: true
  require_rdma:
    description: Whether a rank without RDMA is a problem.
    type: bool
    default: true
  stack:
    description: The Swarm's stack that the containers belong to. Empty where none starts them. Wants O(since).
    type: str
    default: ""
  since:
    description:
      - What the Swarm's tasks did before is of no interest. Seconds on this host's clock, as RV(now).
      - If it is left out, all of that.
    type: float
  ignore_started_at:
    description: C(began) of a supervisor that does not count any more, such as one that gave up. 0 for none.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Read whether the engine serves
  sparkops.dgx_spark.engine_state_info:
    path: /var/lib/dgx-spark/trtllm/state.json
    config_digest: "{{ engine_serve_plan.config_digest }}"
    members: [spark1, spark2]
  become: true
  register: serving

- name: Read whether the Swarm has refused to start the containers since then
  sparkops.dgx_spark.engine_state_info:
    path: /var/lib/dgx-spark/trtllm/state.json
    config_digest: "{{ engine_serve_plan.config_digest }}"
    members: [spark1, spark2]
    stack: dgx-spark-trtllm
    since: "{{ serving.now }}"
  become: true
"""

RETURN = r"""
settled:
  description: Whether it serves, or has given up.
  returned: success
  type: bool
problems:
  description: What is wrong, one sentence each; while it is not settled, what it waits for.
  returned: success
  type: list
  elements: str
now:
  description: This host's clock, in seconds.
  returned: success
  type: float
  sample: 1795282631.5
state:
  description: >-
    The state file, with C(phase), C(reason), C(starts), C(began), when this supervisor did, C(load_s) in seconds,
    C(kv_tokens), C(model), the name that requests have to give, C(path), where they are answered, and C(ranks) by host
    name.
  returned: success
  type: dict
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import tasks_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.host import state_in
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.state import problems_of, unstartable
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "config_digest": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str", "required": True},
            "require_rdma": {"type": "bool", "default": True},
            "stack": {"type": "str", "default": ""},
            "since": {"type": "float"},
            "ignore_started_at": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    asked, now = module.params, time.time()
    path = Path(asked["path"])
    try:
        state = state_in(path.parent)
    except OSError as error:
        module.fail_json(msg=f"{path} cannot be read: {told(error)}; is it the supervisor's state file?")
    if state.get("began") == asked["ignore_started_at"]:
        state = {}
    settled, problems = problems_of(state, asked["config_digest"], asked["members"], asked["require_rdma"])
    if not settled and module.params["stack"]:
        docker = Docker()
        try:
            listed = [docker.ask("GET", f"/{what}") for what in ("tasks", "services", "nodes")]
        except DockerError as exc:
            module.fail_json(msg=str(exc))
        since = now if module.params["since"] is None else module.params["since"]
        wrong = unstartable(tasks_of(module.params["stack"], *listed), since, now)
        settled, problems = bool(wrong), wrong or problems
    module.exit_json(changed=False, settled=settled, problems=problems, state=state, now=now)


if __name__ == "__main__":
    main()
