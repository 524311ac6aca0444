#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_trial
short_description: Try a command in a container of an engine's image
version_added: 0.1.0
description:
  - >-
    Starts a container that runs one command, tells how far it is, and removes it. Nothing is pulled, no token is given
    to it, and it has no way to the Hugging Face hub (C(HF_HUB_OFFLINE)).
  - >-
    The container ends by itself when its time is over, and when nobody has looked after it for O(patience), as after
    Ctrl-C. What an earlier run left is removed when the next one starts.
  - >-
    A command that loads a model is refused where a serving runs, unless that was consented to, and where too little
    memory is available.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.docker
  - sparkops.dgx_spark.validation.model
attributes:
  check_mode:
    support: full
    details: In check mode it starts nothing.
  diff_mode:
    support: none
  idempotent:
    support: none
options:
  state:
    description: >-
      V(started) starts the container, V(watched) says how far it is and keeps it alive, V(absent) removes it.
    type: str
    choices: [started, watched, absent]
    required: true
  what:
    description: What is tried, in a word. It becomes the container's label.
    type: str
    default: trial
  image:
    description: The image, by name or ID. It has to be on the host. Wanted by V(started).
    type: str
    default: ""
  command:
    description: The command. C({model}) in it becomes the model's directory in the container.
    type: list
    elements: str
    default: []
  files:
    description: >-
      Files that the command finds in C(/run/dgx-spark-validate), by name, in Base64. The program that watches the
      command is one of them.
    type: dict
    default: {}
  secrets:
    description: Such files, in plain text, that hold secrets. The command has to remove them when it has read them.
    type: dict
    default: {}
  environment:
    description: Environment of the container. No secret belongs here.
    type: dict
    default: {}
  gpu:
    description: Whether the container gets the GPU.
    type: bool
    default: true
  model:
    description: The model, as V(organisation/name), that the command loads. Empty where it loads none.
    type: str
    default: ""
  hub:
    description: The directory of the host that holds models, such as C(~/.cache/huggingface/hub).
    type: path
  vocabularies:
    description: A directory of the host that may hold vocabularies (C(*.tiktoken)).
    type: path
  served_model:
    description: >-
      Whether the command reads the model that a container of the same O(image) serves on this host, and loads nothing.
      It has that model where the serving has it.
    type: bool
    default: false
  memory_mib:
    description: >-
      MiB of memory that the container may take, 0 for no limit. With one it is refused where not so much is available,
      and O(floor_mib) beside it.
    type: int
    default: 0
  floor_mib:
    description: MiB of memory that have to stay available, on a Spark of 128 GB; the same share of less.
    type: int
    default: 8192
  patience:
    description: Seconds after which the container ends by itself when nobody looks after it.
    type: int
    default: 60
  seconds:
    description: How long it may take.
    type: int
    default: 600
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Remove what an interrupted validation left
  sparkops.dgx_spark.engine_trial:
    state: absent
  become: true
"""

RETURN = r"""
running:
  description: Whether the command still runs.
  returned: when O(state) is V(watched)
  type: bool
status:
  description: The command's exit status.
  returned: when O(state) is V(watched) and it has ended
  type: int
why:
  description: >-
    Why it was ended, empty where it ended by itself. V(time) is over, the play has V(left), it was V(asked) to end, or
    there was no V(memory).
  returned: when O(state) is V(watched) and it has ended
  type: str
lines:
  description: The last lines of its output.
  returned: when O(state) is V(watched)
  type: list
  elements: str
result:
  description: What it wrote into C(result.json), empty where it wrote nothing.
  returned: when O(state) is V(watched)
  type: dict
"""

import base64
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
    id_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trial as trials
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.ask import RESULT
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.image_facts import Limits, memory_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trial import Cached, TrialError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.watch import ALIVE, ENDED
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

FOLDER = Path(trials.FOLDER)
LINES = 60
FRESH = 20  # seconds since somebody looked after a container, in which it is taken to be somebody else's work
MEMORY = "memory"


def ours(docker: Docker) -> list[dict[str, Any]]:
    """The containers that this module started; none where there is no Docker."""
    if not Path(docker.path).exists():
        return []
    listed = docker.ask("GET", "/containers/json?all=true")
    return [one for one in listed if trials.LABEL in (one.get("Labels") or {})]


def remove(module: AnsibleModule, docker: Docker) -> bool:
    """Remove containers and files. Returns whether there were any."""
    found, there = [one["Id"] for one in ours(docker)], FOLDER.exists()
    if module.check_mode:
        return bool(found) or there
    if found:
        module.run_command([module.get_bin_path("docker", required=True), "rm", "--force", "--volumes", *found])
    if left := [one["Id"] for one in ours(docker)]:
        raise TrialError(f"the containers {', '.join(one[:12] for one in left)} cannot be removed: try 'docker rm -f'")
    shutil.rmtree(FOLDER, ignore_errors=True)
    return bool(found) or there


def refuse_another(docker: Docker) -> None:
    """Refuse to take the container away from another run that is at work. :raises TrialError:"""
    running = [one for one in ours(docker) if one.get("State") == "running"]
    if running and (FOLDER / ALIVE).exists() and time.time() - (FOLDER / ALIVE).stat().st_mtime < FRESH:
        raise TrialError(
            "another validation or benchmark is at work on this host: wait for its end. Nothing was changed"
        )


def memory_mib(path: str) -> tuple[int, int]:
    """What of the host's memory is available, and all of it, in MiB."""
    found = dict(line.split(":", 1) for line in Path(path).read_text(encoding="utf-8").splitlines() if ":" in line)
    available, total = (int(found[name].split()[0]) >> 10 for name in ("MemAvailable", "MemTotal"))
    return available, total


def the_model(asked: dict[str, Any], docker: Docker) -> Cached | None:
    """The model that is to be loaded. :raises TrialError: where it is not there, or must not be loaded."""
    if not asked["model"]:
        return None
    if not asked["hub"]:
        raise TrialError(f"{asked['model']} is not tried: hub does not say where models are. Nothing was changed")
    model = trials.cached(Path(asked["hub"]), asked["model"])
    available, total = memory_mib(asked["meminfo"])
    memory = trials.memory_problem(model, available, total, asked["reserve_mib"])
    refused = trials.refusal(model, trials.serving_here(docker.running()), asked["beside_serving"], memory)
    if refused:
        raise TrialError(f"{asked['model']} is not tried: {refused}. Nothing was changed")
    return model


def check_memory(asked: dict[str, Any]) -> None:
    """Refuse a container for which there is too little memory. :raises TrialError:"""
    if not asked["memory_mib"]:
        return
    limits = Limits(memory_mib=asked["memory_mib"], floor_mib=asked["floor_mib"])
    if why := memory_problem(Path(asked["meminfo"]).read_text(encoding="utf-8"), limits):
        raise TrialError(f"{asked['what']} is not tried: {why}: end what takes the memory. Nothing was changed")


def start(module: AnsibleModule, docker: Docker) -> dict[str, Any]:
    """Start a container, after what an earlier run left was removed."""
    asked = module.params
    refuse_another(docker)
    image = docker.image(asked["image"])
    if image is None:
        raise TrialError(
            f"the image {asked['image']} is not on this host: build or pull it first, as serve.yml does. Nothing was "
            "changed"
        )
    model = the_model(asked, docker)
    served = trials.served_model(docker.running(), id_of(image)) if asked["served_model"] else ""
    if asked["served_model"] and not served:
        raise TrialError(f"no container of {asked['image']} serves a model on this host. Nothing was changed")
    check_memory(asked)
    remove(module, docker)
    FOLDER.mkdir(mode=0o700, parents=True)
    for name, content in {**asked["files"], ALIVE: ""}.items():
        (FOLDER / name).write_bytes(base64.b64decode(content))
    for name, text in asked["secrets"].items():
        (FOLDER / name).write_text(str(text), encoding="utf-8")
    inside = model.inside if model else ""
    words = asked["vocabularies"]
    trial = trials.Trial(
        what=asked["what"],
        image=id_of(image),
        command=[word.replace("{model}", inside) for word in asked["command"]],
        seconds=asked["seconds"],
        gpu=asked["gpu"],
        environment={name: str(value) for name, value in asked["environment"].items()},
        model=model,
        vocabularies=words if words and list(Path(words).glob("*.tiktoken")) else "",
        served=served,
        memory_mib=asked["memory_mib"],
        patience=asked["patience"],
    )
    rc, _out, err = module.run_command([module.get_bin_path("docker", required=True), *trials.run_argv(trial)])
    if rc != 0:
        remove(module, docker)
        raise TrialError(f"Docker cannot start a container of {asked['image']}: {err.strip()}")
    return {"changed": True}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def watch(docker: Docker) -> dict[str, Any]:
    """Tell how far the container is, and say that it is looked after."""
    found = ours(docker)
    if not found:
        raise TrialError("the container is gone: somebody removed it")
    os.utime(FOLDER / ALIVE)
    ident = found[0]["Id"]
    state = docker.ask("GET", f"/containers/{ident}/json")["State"]
    told_so_far = {
        "running": bool(state.get("Running")),
        "lines": docker.log(ident, LINES),
        "result": read_json(FOLDER / RESULT),
    }
    if told_so_far["running"]:
        return {"changed": False, **told_so_far}
    ended = read_json(FOLDER / ENDED)
    why = MEMORY if state.get("OOMKilled") else ended.get("why", "")
    return {"changed": False, **told_so_far, "status": ended.get("status", state.get("ExitCode")), "why": why}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "watched", "absent"], "required": True},
            "what": {"type": "str", "default": "trial"},
            "image": {"type": "str", "default": ""},
            "command": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "environment": {"type": "dict", "default": {}},
            "gpu": {"type": "bool", "default": True},
            "model": {"type": "str", "default": ""},
            "hub": {"type": "path"},
            "vocabularies": {"type": "path"},
            "served_model": {"type": "bool", "default": False},
            "memory_mib": {"type": "int", "default": 0},
            "floor_mib": {"type": "int", "default": 8192},
            "patience": {"type": "int", "default": 60},
            "seconds": {"type": "int", "default": 600},
            "beside_serving": {"type": "bool", "default": False},
            "reserve_mib": {"type": "int", "default": 24576},
            "meminfo": {"type": "path", "default": "/proc/meminfo"},
            **SOCKET_OPTION,
        },
        required_if=[("state", "started", ("image", "command"))],
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    docker, state = Docker(module.params["docker_socket"]), module.params["state"]
    if module.check_mode and state != "absent":
        module.exit_json(changed=False, running=False, lines=[], result={})
    try:
        if state == "absent":
            done: dict[str, Any] = {"changed": remove(module, docker)}
        else:
            done = start(module, docker) if state == "started" else watch(docker)
    except (DockerError, TrialError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or FOLDER} cannot be used: {told(error)}")
    module.exit_json(**done)


if __name__ == "__main__":
    main()
