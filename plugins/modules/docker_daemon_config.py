#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon_config
short_description: Merge settings into Docker's daemon.json
version_added: "0.1.0"
description:
  - >-
    Makes C(daemon.json) say what is asked for, and leaves all else in it as it is: other keys, their order, the
    indentation, the newline at the end, mode and owner. Nothing is written where the file says so already.
  - Before its first change the original is kept, see M(sparkops.dgx_spark.ledger_file).
  - >-
    Refuses, before it writes, a file that is not valid JSON, a result that C(dockerd --validate) refuses, and, unless
    O(allow_restart=true), a change under running containers: Docker would have to be restarted to follow it.
  - It does not restart Docker. RV(restart_due) tells whether that is needed.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description: The configuration file. A link is followed.
    type: path
    default: /etc/docker/daemon.json
  state:
    description:
      - V(merged) makes the file say what is asked for.
      - V(restored) puts the original back, byte for byte, or removes the file if there was none.
      - >-
        V(reverted) puts back what the last write of this module replaced, for an engine that does not start with it.
        The engine is not asked.
    type: str
    choices: [merged, restored, reverted]
    default: merged
  settings:
    description: Keys that must have these values. Objects are merged key by key, all else is replaced.
    type: dict
    default: {}
  defaults:
    description: Keys that get these values where the file says nothing of them.
    type: dict
    default: {}
  resource_kind:
    description:
      - A kind of generic resource (C(node-generic-resources)) that this host advertises to Docker Swarm.
      - Resources of other kinds are left alone.
    type: str
  resource_values:
    description: The resources of O(resource_kind), all of them. Others of that kind are removed; their order is free.
    type: list
    elements: str
    default: []
  allow_restart:
    description: Whether a change is allowed under running containers. With C(live-restore), which they survive, it is.
    type: bool
    default: false
  but_tasks:
    description: Whether tasks of Docker Swarm do not count among the containers, since they will have ended by then.
    type: bool
    default: false
  force:
    description: With O(state=restored), put the original back even if somebody else has changed the file since.
    type: bool
    default: false
  docker_socket:
    description: Where the engine listens.
    type: path
    default: /var/run/docker.sock
  dockerd:
    description: The daemon, to validate the result with; an engine older than its C(--validate) is not asked.
    type: path
    default: dockerd
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Make the NVIDIA runtime the default
  sparkops.dgx_spark.docker_daemon_config:
    settings: {default-runtime: nvidia}
    defaults: {runtimes: {nvidia: {path: nvidia-container-runtime}}}
  register: daemon
  changed_when: daemon.changed or daemon.restart_due
  notify: Restart docker

- name: Advertise the GPU to Docker Swarm
  sparkops.dgx_spark.docker_daemon_config:
    resource_kind: gpu
    resource_values: [GPU-e793e0a4-fd41-dcd8-a833-3127370a6779]

- name: Put the original back
  sparkops.dgx_spark.docker_daemon_config:
    state: restored
"""

RETURN = r"""
path:
  description: Path of the file, links resolved.
  returned: success
  type: str
  sample: /etc/docker/daemon.json
before:
  description: What the file said, empty if there was none.
  returned: success, unless O(state=reverted)
  type: dict
  sample: {}
config:
  description: What the file says now, or would say after a run without check mode.
  returned: success, unless O(state=reverted)
  type: dict
  sample: {"default-runtime": nvidia}
restart_due:
  description: Whether the running engine does not follow the file yet in what was asked for.
  returned: success, unless O(state=reverted)
  type: bool
  sample: true
containers:
  description: The containers that run.
  returned: success, unless O(state=reverted)
  type: list
  elements: str
  sample: [web (nginx:1.29)]
"""

import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import (
    RESOURCES,
    DaemonJsonError,
    decode,
    edit,
    merge,
    not_in_effect,
    parse,
    refuse_restart,
    running_containers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import (
    OriginalError,
    Originals,
    read_file,
)


def validate(module: AnsibleModule, text: str) -> None:
    """Have the daemon look at the result."""
    dockerd = module.get_bin_path(module.params["dockerd"], opt_dirs=["/usr/sbin"])
    if dockerd is None:
        return
    with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, suffix=".json", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        rc, out, err = module.run_command([dockerd, "--validate", "--config-file", file.name])
        said = (err.strip() or out.strip()).replace(file.name, "the result")
    if rc != 0 and "unknown flag: --validate" not in said:
        raise DaemonJsonError(f"dockerd refuses the result: {said}; mend the settings or the file, which is unchanged")


def revert(module: AnsibleModule, originals: Originals, path: str) -> None:
    """Put back what our last write replaced, and say so; the engine is down, so it is not asked."""
    text = decode(read_file(Path(path)) or b"")[1]
    if not module.check_mode:
        originals.revert(path)
    after = text if module.check_mode else decode(read_file(Path(path)) or b"")[1]
    module.exit_json(changed=True, path=path, diff={"before": text, "after": after})


def restore(module: AnsibleModule, originals: Originals, path: str) -> tuple[str, bool]:
    """Return the original's text, and whether it is to be put back."""
    objection = None if module.params["force"] else originals.problem(path)
    if objection:
        raise OriginalError(objection)
    if originals.record(path) is None:
        return decode(read_file(Path(path)) or b"")[1], False
    return decode(originals.original_content(path) or b"")[1], not originals.is_restored(path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "state": {"type": "str", "choices": ["merged", "restored", "reverted"], "default": "merged"},
            "settings": {"type": "dict", "default": {}},
            "defaults": {"type": "dict", "default": {}},
            "resource_kind": {"type": "str"},
            "resource_values": {"type": "list", "elements": "str", "default": []},
            "allow_restart": {"type": "bool", "default": False},
            "but_tasks": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
            "dockerd": {"type": "path", "default": "dockerd"},
        },
        supports_check_mode=True,
    )
    wish: dict[str, Any] = module.params
    path, originals = str(Path(wish["path"]).resolve()), Originals()
    try:
        if wish["state"] == "reverted":
            revert(module, originals, path)
        content = read_file(Path(path))
        bom, text = decode(content or b"")
        before = parse(text)
        docker = Docker(wish["docker_socket"])
        info, containers = docker.info(), running_containers(docker.running(), but_tasks=wish["but_tasks"])
        if wish["state"] == "restored":
            after, changed = restore(module, originals, path)
            config, restart_due = parse(after), changed
        else:
            config = merge(before, wish["settings"], wish["defaults"], wish["resource_kind"], wish["resource_values"])
            after = edit(text, config)
            changed = after != text
            asked = merge({}, wish["settings"], wish["defaults"])
            if wish["resource_kind"] is not None:
                asked[RESOURCES] = config.get(RESOURCES, [])
            restart_due = changed or bool(not_in_effect(asked, info))
            if changed:
                validate(module, after)
        if restart_due and not wish["allow_restart"] and not info.get("LiveRestoreEnabled"):
            refuse_restart(containers)
        if not module.check_mode:
            if wish["state"] == "restored":
                originals.restore(path)
            elif changed:
                originals.change(path, bom + after.encode())
    except (DaemonJsonError, OriginalError, DockerError) as exc:
        module.fail_json(msg=f"{path}: {exc}" if isinstance(exc, DaemonJsonError) else str(exc))
    module.exit_json(
        changed=changed,
        path=path,
        before=before,
        config=config,
        restart_due=restart_due,
        containers=containers,
        diff={"before_header": path, "after_header": path, "before": text, "after": after},
    )


if __name__ == "__main__":
    main()
