#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trtllm_state_info
short_description: Read what the supervisor of a TensorRT-LLM server says of it
version_added: 0.1.0
description:
  - Reads the state file that the leader's container keeps, and tells whether it serves and over which transport.
  - Run it on the leader.
  - >-
    Where a Swarm is to start the containers and cannot, for instance because no node has what they ask for or a
    directory to mount is not there, that counts as settled too, and is told in the Swarm's own words.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
author:
  - sparkops contributors (@sparkops)
options:
  path:
    description: The state file. One that is not there is a server that has not started.
    type: path
    default: /var/lib/dgx-spark/trtllm/state.json
  told:
    description: What the containers must have been told, such as the digest of M(sparkops.dgx_spark.trtllm_plan_info).
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
  past:
    description: C(began) of a supervisor that is not to count any more, such as one that gave up. 0 for none.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: See whether it serves
  sparkops.dgx_spark.trtllm_state_info:
    told: "{{ planned.digest }}"
    members: [spark1, spark2]
  become: true
  register: serving

- name: See whether the Swarm has refused to start it since then
  sparkops.dgx_spark.trtllm_state_info:
    told: "{{ planned.digest }}"
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
    C(model), the name that requests have to give, C(path), where they are answered, and C(ranks) by host name.
  returned: success
  type: dict
"""

import json
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import tasks_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm import judge, stuck


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/var/lib/dgx-spark/trtllm/state.json"},
            "told": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str", "required": True},
            "require_rdma": {"type": "bool", "default": True},
            "stack": {"type": "str", "default": ""},
            "since": {"type": "float"},
            "past": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    path, now = Path(module.params["path"]), time.time()
    try:
        state = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        state = {}  # a power cut left half of it; the next start writes it anew
    except OSError as error:
        module.fail_json(msg=f"{path} cannot be read: {error}; is it the supervisor's state file?")
    if state.get("began") == module.params["past"]:
        state = {}
    settled, problems = judge(state, module.params["told"], module.params["members"], module.params["require_rdma"])
    if not settled and module.params["stack"]:
        docker = Docker()
        try:
            listed = [docker.ask("GET", f"/{what}") for what in ("tasks", "services", "nodes")]
        except DockerError as exc:
            module.fail_json(msg=str(exc))
        since = now if module.params["since"] is None else module.params["since"]
        wrong = stuck(tasks_of(module.params["stack"], *listed), since, now)
        settled, problems = bool(wrong), wrong or problems
    module.exit_json(changed=False, settled=settled, problems=problems, state=state, now=now)


if __name__ == "__main__":
    main()
