#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_last_good
short_description: Keep on a host what last served, put that back, or forget it
version_added: 0.1.0
description:
  - >-
    With O(state=kept) the files of what last served are copied beside those that a play is about to write. A supervisor
    that was started with that configuration goes by them from then on, so that what serves can start again at any time.
    What served on other Sparks than O(members) is not kept.
  - >-
    With O(state=started), under systemd, the container that was made beside the running one takes its place. The one
    that last served keeps another name, and the unit starts the new one. All of that is one call.
  - >-
    With O(state=restored) files, container or stack of what last served are put back, and started. What C(stop.yml) had
    stopped is not started by systemd; where a stack is deployed it is to be stopped again.
  - >-
    With O(state=forgotten) all that was kept is removed, and O(entry) is added to the history of the serving, of which
    the leader keeps the last 20 entries.
  - Needs root.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.docker
  - sparkops.dgx_spark.serving
attributes:
  check_mode:
    support: full
    details: It looks, and changes nothing.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state:
    description: What is to be.
    type: str
    choices: [kept, started, restored, forgotten]
    required: true
  good:
    description: >-
      The configuration that last served, as the supervisor's state has it (C(good)). Empty where none is known.
    type: str
    default: ""
  config:
    description: With O(state=started) the planned configuration. A container of another one beside it is removed.
    type: str
    default: ""
  anew:
    description: >-
      With O(state=restored) under systemd, whether to start the container again, also one that runs. A leader's is
      where a worker's was started again.
    type: bool
    default: false
  entry:
    description: >-
      What is added to the history, with C(repo), C(commit), C(config), C(outcome), C(why) and C(asked). Empty for
      nothing.
    type: dict
    default: {}
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Keep what serves while another model is tried
  sparkops.dgx_spark.engine_last_good:
    state: kept
    good: "{{ engine_serve_plan.last_good }}"
    layout: "{{ engine_serve_plan.layout }}"
    launcher: swarm
    members: [spark1, spark2]
    leader: "{{ inventory_hostname == 'spark1' }}"
  become: true
"""

RETURN = r"""
kept:
  description: Whether what last served is kept.
  returned: with O(state=kept)
  type: bool
why:
  description: Why it is not; empty where it is.
  returned: with O(state=kept)
  type: str
repo:
  description: The model that last served, as the history of the leader has it; empty where that does not tell.
  returned: with O(state=kept)
  type: str
  sample: openai/gpt-oss-20b
was_stopped:
  description: Whether C(stop.yml) had stopped it.
  returned: with O(state=kept)
  type: bool
load_timeout:
  description: Seconds in which one start of it ends, well or not, by what its supervisor gives a load.
  returned: with O(state=kept)
  type: int
  sample: 3900
require_rdma:
  description: Whether each of its ranks has to be on RDMA.
  returned: with O(state=kept)
  type: bool
started:
  description: Whether a container was started.
  returned: with O(state=restored)
  type: bool
began:
  description: >-
    When the supervisor began, in seconds since the epoch, of which the state told before anything was put back. 0 where
    there is none.
  returned: with O(state=restored)
  type: float
forgotten:
  description: What was kept, and is no more.
  returned: with O(state=forgotten)
  type: list
  elements: str
  sample: [/etc/dgx-spark/trtllm/kept]
"""

import signal
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import (
    history,
    host,
    instances,
    last_good,
    lifecycle,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.last_good import LastGoodError, Serving
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

STOP_S = 120  # for Docker's answer to a stop, which a container's own time to stop bounds


def kept(module: AnsibleModule, one: Serving, docker: Docker) -> dict[str, Any]:
    """Keep what last served."""
    before = one.kept.is_dir()
    why = last_good.problem_of(one, docker) if module.check_mode else last_good.keep(one, docker)
    limits = last_good.limits_of(one)
    timeout = limits.get("load_timeout_s")
    last = next((each for each in reversed(history.read(one.config_dir)) if each["config"] == one.good), None)
    return {
        "changed": not why and not before,
        "kept": not why,
        "why": why,
        "repo": last["repo"] if last else "",
        "was_stopped": one.was_stopped,
        "load_timeout": (timeout if isinstance(timeout, int) else 0) + lifecycle.BEYOND_A_LOAD_S,
        "require_rdma": bool(limits.get("require_rdma")) and len(one.members) > 1,
    }


def forgotten(module: AnsibleModule, one: Serving, docker: Docker) -> dict[str, Any]:
    """Forget what is kept, and note what serves."""
    note(module, one)
    if module.check_mode:
        return {"changed": bool(last_good.left_in(one.config_dir)), "forgotten": []}
    found = last_good.forget(one, docker)
    return {"changed": bool(found), "forgotten": found}


def restored(module: AnsibleModule, one: Serving, docker: Docker, run: last_good.Run) -> dict[str, Any]:
    """Put back what last served."""
    began = host.state_in(one.state_dir).get("began")
    started = last_good.restore(one, docker, run, module.params["anew"])
    return {"changed": True, "started": started, "began": began if isinstance(began, (int, float)) else 0}


def note(module: AnsibleModule, one: Serving) -> None:
    """Add the entry to the history."""
    new = history.entries([{**module.params["entry"], "at": time.time()}])
    if new and not module.check_mode:
        text = history.text(history.added(history.read(one.config_dir), new[0]))
        write_atomically(one.config_dir / history.FILE, text.encode(), 0o644)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["kept", "started", "restored", "forgotten"], "required": True},
            "good": {"type": "str", "default": ""},
            "config": {"type": "str", "default": ""},
            "anew": {"type": "bool", "default": False},
            "entry": {"type": "dict", "default": {}},
            **instances.SERVING_OPTIONS,
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    asked = module.params
    one = Serving(
        good=asked["good"],
        config_dir=Path(asked["layout"]["config_dir"]),
        state_dir=Path(asked["layout"]["state_dir"]),
        name=asked["layout"]["name"],
        unit=asked["layout"]["unit"],
        unit_link=Path(asked["layout"]["unit_link"]),
        launcher=asked["launcher"],
        members=asked["members"],
        leader=asked["leader"],
    )
    docker = Docker(asked["docker_socket"], timeout=STOP_S)
    # A play that is killed takes its terminal away. What was begun here is brought to its end all the same.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def run(argv: Any) -> tuple[int, str]:
        code, out, err = module.run_command(list(argv))
        return code, err or out

    result: dict[str, Any] = {"changed": True}
    try:
        if asked["state"] == "kept":
            result = kept(module, one, docker)
        elif asked["state"] == "forgotten":
            result = forgotten(module, one, docker)
        elif module.check_mode:
            pass
        elif asked["state"] == "started":
            last_good.start(one, asked["config"], docker, run)
        else:
            result = restored(module, one, docker, run)
            note(module, one)
    except (DockerError, FileError, LastGoodError, OSError) as error:
        module.fail_json(msg=told(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
