#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build_unit
short_description: Start a long build in a transient unit of systemd's, or end it and remove what is there of it
version_added: 0.1.0
description:
  - >-
    Writes the build's program and its request, and has systemd run these in a unit that outlives the play. A build
    that runs already is left alone; one that was ended, by a signal or by a restart of the host, goes on with the
    stage that was not done.
  - >-
    Removes a build that was ended, its clone and, if asked to, the build cache that Docker made meanwhile and the
    images that were built.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.docker
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state:
    description: V(started) starts a build, V(absent) ends and removes it.
    type: str
    choices: [started, absent]
    default: started
  kind:
    description: V(build) is that of an image from source, V(engine-build) that of engines with C(trtllm-build).
    type: str
    choices: [build, engine-build]
    default: build
  dir:
    description: Where the build is, with its clone. C(/var/lib/dgx-spark/) and O(kind) by default.
    type: path
  request:
    description: What is built, as M(sparkops.dgx_spark.image_build_plan) returns it. Wanted by V(started).
    type: dict
    default: {}
  program:
    description: The text of the program that runs the stages. Wanted by V(started).
    type: str
    default: ""
  source:
    description: Whether V(absent) removes the clone.
    type: bool
    default: true
  cache:
    description: >-
      Whether V(absent) removes what Docker's build cache got while the build ran, what ccache kept among it.
    type: bool
    default: false
  image:
    description: >-
      Whether V(absent) removes the names of the images that were built from source, and each image with its last name.
      An image that a container was made of stays, and the module fails.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Start a build
  sparkops.dgx_spark.image_build_unit:
    request: "{{ planned.request }}"
    program: "{{ lookup('ansible.builtin.file', role_path ~ '/files/build.py') }}"
  become: true

- name: End a build, and remove all of it
  sparkops.dgx_spark.image_build_unit:
    state: absent
    cache: true
    image: true
  become: true
"""

RETURN = r"""
removed:
  description: The files, directories, records of the build cache and images that were removed, or would be.
  returned: with O(state=absent)
  type: list
  elements: str
"""

import json
from typing import Any, Sequence
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import layout, unit
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build.images import built_images
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
    reads_answers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.times import seconds_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


@reads_answers
def cache_of(docker: Docker, state: dict[str, Any]) -> list[str]:
    """Return the records of Docker's build cache that were made while a build ran."""
    if not state:
        return []
    began, ended = float(state["began"]), float(state["at"])
    records = docker.ask("GET", "/system/df?type=build-cache").get("BuildCache") or []
    times = {str(one["ID"]): seconds_of(one.get("CreatedAt")) or 0.0 for one in records if not one.get("InUse")}
    return [name for name, at in times.items() if began <= at <= ended]


def prune(docker: Docker, state: dict[str, Any]) -> list[str]:
    """Remove records of the build cache, the last ones of each row first; those that others need, Docker keeps."""
    records = cache_of(docker, state)
    before: list[str] = []
    while records and records != before:
        for name in records:
            filters = quote(json.dumps({"id": [name]}))
            docker.ask("POST", f"/build/prune?all=1&filters={filters}")
        before, records = records, cache_of(docker, state)
    return records


def runner(module: AnsibleModule) -> unit.Run:
    """Return what runs a program on this host."""

    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        rc, out, err = module.run_command(list(argv))
        return rc, out, err

    return run


def absent(module: AnsibleModule, folder: str) -> list[str]:
    """End and remove a build; return what went, or would go."""
    asked, dry = module.params, module.check_mode
    run = runner(module)
    docker, going = Docker(asked["docker_socket"], timeout=600), []
    state = unit.state_of(folder)
    if unit.is_active(run, layout.unit(asked["kind"])):
        going.append(layout.unit(asked["kind"]))
        if not dry:
            unit.end(run, asked["kind"])
    if asked["image"]:
        names = [name for image in built_images(docker) for name in image["names"]]
        for name in names:
            if not dry:
                docker.ask("DELETE", f"/images/{quote(name, safe='/:@')}")
        going += names
    records = cache_of(docker, state) if asked["cache"] else []
    left = records if dry or not records else prune(docker, state)
    going += [f"build cache {name}" for name in records if dry or name not in left]
    return going + (unit.leftovers(folder, asked["source"]) if dry else unit.remove(folder, asked["source"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "absent"], "default": "started"},
            "kind": {"type": "str", "choices": [layout.IMAGE, layout.ENGINE], "default": layout.IMAGE},
            "dir": {"type": "path"},
            "request": {"type": "dict", "default": {}},
            "program": {"type": "str", "default": ""},
            "source": {"type": "bool", "default": True},
            "cache": {"type": "bool", "default": False},
            "image": {"type": "bool", "default": False},
            **SOCKET_OPTION,
        },
        required_if=[("state", "started", ["request", "program"])],
        supports_check_mode=True,
    )
    asked = module.params
    folder = asked["dir"] or layout.folder(asked["kind"])
    try:
        if asked["state"] == "absent":
            removed = absent(module, folder)
            module.exit_json(changed=bool(removed), removed=removed)
        run = runner(module)
        if module.check_mode:
            module.exit_json(changed=not unit.is_active(run, layout.unit(asked["kind"])))
        changed = unit.start(run, asked["kind"], folder, asked["request"], asked["program"])
        module.exit_json(changed=changed)
    except (unit.UnitError, DockerError, FileError, OSError) as error:
        module.fail_json(msg=told(error))


if __name__ == "__main__":
    main()
