#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon_config
short_description: Merge settings into Docker's daemon.json
version_added: 0.1.0
description:
  - >-
    Makes C(daemon.json) say what is asked for, and leaves all else in it as it is: other keys, their order, the
    indentation, the newline at the end, mode and owner. Nothing is written where the file says so already.
  - >-
    Before its first change the original is kept, see M(sparkops.dgx_spark.ledger_file), and what each O(role) asked for
    is noted below C(/var/lib/dgx-spark). So several roles can configure one file and undo their own part in any order.
  - >-
    Refuses, before it writes, a file that is not valid JSON, a result that C(dockerd --validate) refuses, and, unless
    O(allow_restart=true), a change under running containers: Docker would have to be restarted to follow it.
  - >-
    What flags of dockerd give already is not written, since Docker does not start where a setting is among its flags
    and in the file. Refused are a flag that gives another value, C(--config-file), and a result that C(dockerd
    --validate) passes but that Docker does not start with, such as an undefined default runtime, or C(live-restore)
    in a swarm; O(force=true) takes the last.
  - It does not restart Docker. RV(restart_due) tells whether that is needed.
  - >-
    Where this collection has written nothing, V(restored) asks neither the engine nor the file, and returns both as
    empty.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.docker
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
      - >-
        V(restored) takes back what O(role) asked for. Once no other role's settings are left this puts the original
        back, byte for byte, or removes the file if there was none. Of a file that others have changed since, it takes
        the settings of O(role) out where they still stand, and leaves all else as it is.
      - >-
        V(reverted) puts back the configuration that the engine last started with, for an engine that does not start
        with the new one. The engine is not asked.
    type: str
    choices: [merged, restored, reverted]
    default: merged
  role:
    description: The name that O(settings), O(defaults) and the resources are noted under.
    type: str
    default: ""
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
    description: Whether tasks of Docker Swarm do not count among the containers, as they end before the restart.
    type: bool
    default: false
  ending:
    description: >-
      Names of containers and of stacks that do not count among the containers either, as they end before the restart.
    type: list
    elements: str
    default: []
  force:
    description: >-
      With O(state=restored), put the original back even if others have changed the file since, which loses their
      change.
    type: bool
    default: false
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

- name: Restart Docker
  sparkops.dgx_spark.docker_restart:
  when: daemon.restart_due

- name: Advertise the GPU to Docker Swarm
  sparkops.dgx_spark.docker_daemon_config:
    resource_kind: gpu
    resource_values: [GPU-e793e0a4-fd41-dcd8-a833-3127370a6779]

- name: Restore Docker's configuration
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
  description: The content before, empty if there was no file.
  returned: success, unless O(state=reverted)
  type: dict
  sample: {}
config:
  description: The content now, or after a run without check mode.
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

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import (
    DaemonJsonError,
    Settings,
    decode,
    edit,
    not_in_effect,
    parse,
    refuse_restart,
    running_containers,
    same,
    with_settings,
    without,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.dockerd import (
    beside_flags,
    refuse_other_file,
    refuse_start,
    running,
    validate,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import (
    OriginalError,
    Originals,
    read_file,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import (
    ROOT,
    read_note,
    remove_note,
    write_note,
)

#: by path and role the settings that were written, to take back one role's part alone
RECORD = str(Path(ROOT, "daemon-json.json"))


def noted(path: str) -> dict[str, Settings]:
    """Return the settings that roles have written to this file, in that order."""
    written = read_note(RECORD, {}, is_noted).get(path, {})
    return {role: Settings(**asked) for role, asked in written.items()}


def is_noted(roles: Any) -> bool:
    """Whether a value of the note holds the settings of roles."""
    return isinstance(roles, dict) and all(map(is_settings, roles.values()))


def is_settings(asked: Any) -> bool:
    """Whether a value has the form that settings are noted in."""
    kinds: dict[str, Any] = {"values": dict, "defaults": dict, "kind": (str, type(None)), "resources": (list, tuple)}
    return isinstance(asked, dict) and all(name in kinds and isinstance(asked[name], kinds[name]) for name in asked)


def note(path: str, roles: dict[str, Settings]) -> None:
    """Note the settings of roles; a file that none has written is forgotten."""
    notes = read_note(RECORD, {}, is_noted)
    notes[path] = {role: vars(settings) for role, settings in roles.items()}
    notes = {one: written for one, written in notes.items() if written}
    if notes:
        write_note(RECORD, notes)
    else:
        remove_note(RECORD)


def revert(module: AnsibleModule, originals: Originals, path: str) -> None:
    """Put back the configuration that the engine last started with; the engine is down, so it is not asked."""
    text = decode(read_file(Path(path)) or b"")[1]
    if not module.check_mode:
        originals.revert(path)
    after = text if module.check_mode else decode(read_file(Path(path)) or b"")[1]
    module.exit_json(changed=True, path=path, diff=diff(text, after))


def others_of(module: AnsibleModule, path: str) -> dict[str, Settings]:
    """Return what other roles have written to the file; settings that were reverted since do not count."""
    config = parse(decode(read_file(Path(path)) or b"")[1])
    return {
        role: settings
        for role, settings in noted(path).items()
        if role != module.params["role"] and same(settings.merged(config), config)
    }


def restored_text(module: AnsibleModule, originals: Originals, path: str, text: str) -> tuple[str, bool]:
    """Return the text without the role's part, and whether the file is to be restored.

    Of a file that others have changed since, the role's settings are taken out, and all else stays.
    """
    if originals.record(path) is None:
        return text, False
    others, original = others_of(module, path), decode(originals.original_content(path) or b"")[1]
    after = with_settings(original, others.values())
    if not module.params["force"] and originals.problem(path):
        config, mine = parse(text), noted(path).get(module.params["role"], Settings())
        left = without(config, parse(original), mine)
        if others or not same(left, parse(original)):
            after = edit(text, left)
            return after, after != text
    return after, after != text or (not others and not originals.is_restored(path))


def restore(module: AnsibleModule, originals: Originals, path: str, bom: bytes, after: str) -> None:
    """Undo the role's part; with the last part goes the ledger's entry."""
    others, original = others_of(module, path), originals.original_content(path)
    if others or after != decode(original or b"")[1]:
        if decode(read_file(Path(path)) or b"")[1] != after:
            originals.change(path, bom + after.encode())
        if not others:
            originals.forget(path)  # what is left is somebody else's
    else:
        originals.restore(path)
    note(path, others)


def merge_settings(module: AnsibleModule, originals: Originals, path: str, content: bytes, settings: Settings) -> None:
    """Write the merged text, and note which settings of the role are in it."""
    note(path, {**noted(path), module.params["role"]: settings})
    originals.change(path, content)


def asked_settings(module: AnsibleModule) -> Settings:
    """Return what this task asks for."""
    asked = module.params
    return Settings(asked["settings"], asked["defaults"], asked["resource_kind"], asked["resource_values"])


def unchanged(path: str) -> dict[str, Any]:
    """Return what the module returns where this collection has written nothing."""
    return {"changed": False, "path": path, "before": {}, "config": {}, "restart_due": False, "containers": []}


def run(module: AnsibleModule, originals: Originals, path: str) -> dict[str, Any]:
    """Merge or restore; return what the module returns."""
    asked, restoring = module.params, module.params["state"] == "restored"
    if restoring and originals.record(path) is None and asked["role"] not in noted(path):
        return unchanged(path)  # an undo of nothing needs no Docker, and no file that can be read
    bom, text = decode(read_file(Path(path)) or b"")
    before, docker = parse(text), Docker(asked["docker_socket"])
    info, flags = docker.info(), running()["flags"]
    settings = Settings()
    if not restoring:
        refuse_other_file(path, flags)
        settings = beside_flags(asked_settings(module), flags)
    containers = running_containers(docker.running(), but_tasks=asked["but_tasks"], ending=asked["ending"])
    if restoring:
        after, changed = restored_text(module, originals, path, text)
        restart_due = changed
    else:
        after = edit(text, settings.merged(before))
        changed = after != text
        restart_due = changed or bool(not_in_effect(settings.wanted(parse(after)), info))
        if changed:
            validate(module, after, asked["dockerd"])
    if restart_due and not asked["force"]:
        refuse_start(parse(after), flags, (info.get("Swarm") or {}).get("LocalNodeState"))
    if restart_due and not asked["allow_restart"] and not info.get("LiveRestoreEnabled"):
        refuse_restart(containers)
    if not module.check_mode and (changed or restoring):
        if restoring:
            restore(module, originals, path, bom, after)
        else:
            merge_settings(module, originals, path, bom + after.encode(), settings)
    config = parse(after)
    return {
        "changed": changed,
        "path": path,
        "before": before,
        "config": config,
        "restart_due": restart_due,
        "containers": containers,
        "diff": diff(text, after, path),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "state": {"type": "str", "choices": ["merged", "restored", "reverted"], "default": "merged"},
            "role": {"type": "str", "default": ""},
            "settings": {"type": "dict", "default": {}},
            "defaults": {"type": "dict", "default": {}},
            "resource_kind": {"type": "str"},
            "resource_values": {"type": "list", "elements": "str", "default": []},
            "allow_restart": {"type": "bool", "default": False},
            "but_tasks": {"type": "bool", "default": False},
            "ending": {"type": "list", "elements": "str", "default": []},
            "force": {"type": "bool", "default": False},
            "dockerd": {"type": "path", "default": "dockerd"},
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    path, originals = os.path.realpath(module.params["path"]), Originals()
    try:
        if module.params["state"] == "reverted":
            revert(module, originals, path)
        done = run(module, originals, path)
    except (DaemonJsonError, OriginalError, DockerError) as error:
        module.fail_json(msg=f"{path}: {error}" if isinstance(error, DaemonJsonError) else str(error))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
