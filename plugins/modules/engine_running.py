#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_running
short_description: Stop the engine's containers on a Spark so that they stay stopped, or start what was stopped
version_added: 0.1.0
description:
  - >-
    Under a Swarm the services of the stack get no replicas, or all that they are to have; the stack stays. This is done
    on the leader, which manages the Swarm; a worker waits until its containers have ended.
  - >-
    Under systemd the unit is disabled and stopped, or enabled and started. systemd is not reloaded, since that takes
    the GPUs from running containers.
  - What was stopped says so in its state file, and stays stopped over a reboot.
  - Files, images and the model stay as they are.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.docker
  - sparkops.dgx_spark.serving
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state:
    description: V(stopped), or V(started), which also starts anew what a supervisor has given up.
    type: str
    choices: [started, stopped]
    required: true
  leader_only:
    description: Whether under a Swarm the leader's service alone is stopped.
    type: bool
    default: false
  address:
    description: Where the API is asked on this host, to count the requests that are cut off. Empty for nowhere.
    type: str
    default: ""
  timeout:
    description: Seconds in which the containers have to end.
    type: int
    default: 120
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Stop the engine
  sparkops.dgx_spark.engine_running:
    state: stopped
    layout: "{{ engine_serve_plan.layout }}"
    launcher: docker
    members: [spark1]
    leader: true
    address: 127.0.0.1:8355
  become: true
"""

RETURN = r"""
steps:
  description: What was done, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: ["systemctl disable dgx-spark-trtllm.service", "systemctl stop dgx-spark-trtllm.service"]
requests_cut:
  description: How many requests ran when the engine was ended; null where they were not counted.
  returned: success
  type: int
  sample: 0
"""

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Callable, Sequence, Tuple
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    STACK_LABEL,
    Docker,
    DockerError,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm_update import replicas, scale
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, host, instances, lifecycle
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.requests import RequestsError, look
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

#: what is done, in words, and what does it
Step = Tuple[str, Callable[[], None]]
STARTED = "started"
EVERY = 0.5  # seconds between two looks at what has to end


class RunningError(ValueError):
    """It could not be stopped or started. The message names the value, the cause and the mend."""


class Spark:
    """What of a serving is on this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.asked = module, module.params
        self.places: dict[str, str] = module.params["layout"]
        self.docker = Docker(module.params["docker_socket"])
        self.folder = Path(self.places["state_dir"])
        self.state = host.state_in(self.folder)

    def run(self, argv: Sequence[str]) -> tuple[int, str]:
        """Run a program; its exit status and what it printed."""
        tool = self.module.get_bin_path(argv[0])
        if not tool:
            return 127, f"there is no {argv[0]}"
        code, out, err = self.module.run_command([tool, *argv[1:]])
        return code, err if code else out

    def systemctl(self, *words: str) -> None:
        """Have systemd do something with the unit. :raises RunningError: where it does not."""
        code, said = self.run(["systemctl", *words, self.places["unit"]])
        if code:
            raise RunningError(
                f"systemctl {' '.join(words)} {self.places['unit']} ends with status {code} "
                f"({' '.join(said.split())[:300]}): see 'systemctl status {self.places['unit']}'"
            )

    # --- steps -------------------------------------------------------------------------------------------------------

    def services(self) -> dict[str, int]:
        """The services to stop or to start, the leader's first, with how many containers each is to have."""
        wanted = lifecycle.services(self.places["name"], len(self.asked["members"])) if self.asked["leader"] else {}
        return dict(list(wanted.items())[:1]) if self.asked["leader_only"] else wanted

    def replicas(self) -> dict[str, int]:
        """How many containers each of these services is to have now; without those that the Swarm does not know."""
        found = {}
        for name in self.services():
            try:
                count = replicas(self.docker.ask("GET", f"/services/{quote(name, safe='')}")["Spec"])
            except DockerError as error:
                if error.status != 404 and not (error.status == 503 and self.is_in_no_swarm()):
                    raise
                continue
            found.update({} if count is None else {name: count})
        return found

    def is_in_no_swarm(self) -> bool:
        """Whether this node has left; one that is in a Swarm and does not manage it cannot keep that from a start."""
        return (self.docker.info().get("Swarm") or {}).get("LocalNodeState", "") in lifecycle.IN_NO_SWARM

    def running(self) -> list[str]:
        """The IDs of the containers that run here."""
        name, label = self.places["name"], f"{STACK_LABEL}={self.places['name']}"
        filters = {"label": [label]} if self.asked["launcher"] == instances.SWARM else {"name": [f"^/{name}$"]}
        listed = self.docker.ask("GET", f"/containers/json?filters={quote(json.dumps(filters))}")
        return [str(one["Id"]) for one in listed]

    def await_end(self) -> None:
        """Wait until no container of it runs here. :raises RunningError: when one still does."""
        deadline = time.monotonic() + self.asked["timeout"]
        while left := self.running():
            if time.monotonic() > deadline:
                raise RunningError(
                    f"{self.places['name']}: the container {left[0][:12]} still runs after {self.asked['timeout']} s: "
                    f"see 'docker inspect {left[0][:12]}', and end it by 'docker kill'"
                )
            time.sleep(EVERY)

    def scale(self, name: str, count: int, anew: bool = False) -> None:
        """Scale a service; the end of a leader is waited for, since it ends the ranks of the others."""
        scale(self.docker, name, count, anew)
        if not count:
            self.await_end()

    def stop_unit(self) -> None:
        """Stop the unit; one whose container had to be killed is no failure of its own."""
        self.systemctl("stop")
        if host.unit(self.run, self.places["unit"])["active"] == "failed":
            self.systemctl("reset-failed")

    def stop_container(self) -> None:
        """End a container that the unit does not know to run."""
        for ident in self.running():
            self.docker.ask("POST", f"/containers/{ident}/stop")

    def note(self) -> None:
        """Say in the state that it was stopped on purpose."""
        noted = {
            **host.state_in(self.folder),
            "phase": contract.STOPPED,
            "reason": contract.BY_STOP,
            "at": time.time(),
            "starts": 0,
        }
        text = json.dumps(noted, indent=2, sort_keys=True) + "\n"
        write_atomically(self.folder / contract.STATE, text.encode(), 0o644)

    def to_stop(self) -> list[Step]:
        """What ends it, in words, and does so."""
        found = self.ends_by_swarm() if self.asked["launcher"] == instances.SWARM else self.ends_by_systemd()
        noted = (self.state.get("phase"), self.state.get("reason")) == (contract.STOPPED, contract.BY_STOP)
        if (found or not noted) and self.folder.is_dir():
            found.append((f"note in {contract.STATE} that it was stopped", self.note))
        return found

    def ends_by_swarm(self) -> list[Step]:
        """By the manager no replicas; everywhere else the end of what runs."""
        found: list[Step] = [
            (f"docker service scale {name}=0", partial(self.scale, name, 0))
            for name, count in self.replicas().items()
            if count
        ]
        if not found and self.running():
            found.append(("wait for the end of the containers", self.await_end))
        return found

    def ends_by_systemd(self) -> list[Step]:
        """Disabled first, so that no restart of Docker brings it back meanwhile."""
        unit = self.places["unit"]
        active = host.unit(self.run, unit)["active"]
        found: list[Step] = []
        if Path(self.places["unit_link"]).is_symlink():
            found.append((f"systemctl disable {unit}", partial(self.systemctl, "disable", "--no-reload")))
        if active == "failed":
            found.append((f"systemctl reset-failed {unit}", partial(self.systemctl, "reset-failed")))
        elif active not in ("inactive", ""):
            found.append((f"systemctl stop {unit}", self.stop_unit))
        if self.running():
            found.append((f"docker stop {self.places['name']}, unless it has ended", self.stop_container))
            found.append(("wait for the end of the container", self.await_end))
        return found

    def to_start(self) -> list[Step]:
        """What starts it, in words, and does so; a worker before its leader, which would wait for it."""
        if self.asked["launcher"] != instances.SWARM:
            return self.starts_by_systemd()
        wanted, there = self.services(), self.replicas()
        missing = [name for name in wanted if name not in there]
        if missing:
            raise RunningError(f"the Swarm has no service {' and '.join(missing)}: {lifecycle.MEND}")
        due = lifecycle.scaled_down(wanted, there)
        gave_up = self.asked["leader"] and self.state.get("phase") == contract.GAVE_UP
        return [
            (f"docker service scale {name}={wanted[name]}", partial(self.scale, name, wanted[name], gave_up))
            for name in reversed(list(wanted) if gave_up else due)
        ]

    def starts_by_systemd(self) -> list[Step]:
        """Enabled first: a unit that is not enabled does not start."""
        unit = self.places["unit"]
        active = host.unit(self.run, unit)["active"]
        found: list[Step] = []
        if not Path(self.places["unit_link"]).is_symlink():
            found.append((f"systemctl enable {unit}", partial(self.systemctl, "enable", "--no-reload")))
        if active == "failed":
            found.append((f"systemctl reset-failed {unit}", partial(self.systemctl, "reset-failed")))
        if active not in lifecycle.RUNS:
            found.append((f"systemctl start {unit}", partial(self.systemctl, "start")))
        return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": [STARTED, contract.STOPPED], "required": True},
            "leader_only": {"type": "bool", "default": False},
            "address": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 120},
            **instances.SERVING_OPTIONS,
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANG": "C", "LC_ALL": "C"}
    done: list[str] = []
    cut = None
    try:
        spark = Spark(module)
        steps = spark.to_start() if module.params["state"] == STARTED else spark.to_stop()
        if steps and module.params["address"]:
            cut = look(module.params["address"], spark.run)
        for words, act in steps:
            if not module.check_mode:
                act()
            done.append(words)
    except (DockerError, FileError, RequestsError, RunningError, OSError) as error:
        said = told(error) if isinstance(error, OSError) else str(error)
        after = f"What was done: {', '.join(done)}" if done else "Nothing was changed"
        module.fail_json(msg=f"{os.uname().nodename}: {said}. {after}.", changed=bool(done))
    module.exit_json(changed=bool(done), steps=done, requests_cut=cut)


if __name__ == "__main__":
    main()
