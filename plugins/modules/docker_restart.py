#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_restart
short_description: Restart Docker where its configuration is newer than the running engine
version_added: 0.1.0
description:
  - >-
    Restarts Docker's unit where C(daemon.json) was written or removed since the engine started, where the engine does
    not follow the file, or where the engine does not run. So it may be asked twice and restarts once.
  - systemd is not reloaded, since that takes the GPUs from running containers.
  - Refuses to end running containers, unless O(allow_restart=true).
  - >-
    Refuses, while Docker runs, a file that it would not start with, although C(dockerd --validate) passes it: one with
    a default runtime that is not registered, or with C(live-restore) in a swarm.
  - >-
    If Docker does not start, the configuration that it last started with is put back, Docker is started with that, and
    the module fails with the reason from the journal. All of it happens on the host, so that a lost connection does not
    leave Docker down.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.docker
attributes:
  check_mode:
    support: full
    details: What makes a restart due is not written in check mode, so a restart is always announced.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  path:
    description: The configuration file. A link is followed.
    type: path
    default: /etc/docker/daemon.json
  unit:
    description: Docker's unit.
    type: str
    default: docker.service
  allow_restart:
    description: Whether running containers may be ended. With C(live-restore) they survive, and no consent is needed.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Restart Docker
  sparkops.dgx_spark.docker_restart:
"""

RETURN = r"""
reverted:
  description: Whether the configuration that Docker last started with was put back.
  returned: failure
  type: bool
  sample: true
"""

import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import (
    DaemonJsonError,
    decode,
    not_in_effect,
    parse,
    refuse_restart,
    running_containers,
    why_not_started,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.dockerd import refuse_start, running
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import (
    OriginalError,
    Originals,
    read_file,
)


def systemctl(module: AnsibleModule, verb: str) -> bool:
    """Have systemd do something with the unit, however often it has just done so."""
    tool, unit = module.get_bin_path("systemctl", required=True), module.params["unit"]
    # A unit may start three times in a minute. One more is refused, which would leave Docker down.
    module.run_command([tool, "reset-failed", unit])
    return module.run_command([tool, verb, unit])[0] == 0


def started_at(module: AnsibleModule) -> float:
    """Return when the unit became active, in seconds since the epoch; 0 where it is not active."""
    tool = module.get_bin_path("systemctl", required=True)
    argv = [tool, "show", "--value", "--property=ActiveEnterTimestampMonotonic", module.params["unit"]]
    said = module.run_command(argv)[1].strip()
    since_boot = int(said) / 1e6 if said.isdigit() else 0
    return since_boot and time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + since_boot


def written_at(path: Path) -> float:
    """Return when the file was last written, or removed from its directory."""
    newest = 0.0
    for place in (path, path.parent):  # the directory changes when a file is replaced in one step, or removed
        try:
            newest = max(newest, place.stat().st_mtime)
        except OSError:
            continue
    return newest


def is_due(module: AnsibleModule, path: Path, info: dict[str, Any]) -> bool:
    """Whether the engine runs with another configuration than the file's."""
    config = parse(decode(read_file(path) or b"")[1])
    return written_at(path) >= started_at(module) or bool(not_in_effect(config, info))


def may_restart(module: AnsibleModule, path: Path) -> bool:
    """Whether there is a restart to make.

    :raises DaemonJsonError: where the restart would end containers without consent, or Docker would not start again.
    """
    docker = Docker(module.params["docker_socket"])
    try:
        info, containers = docker.info(), running_containers(docker.running())
    except DockerError:
        return True  # it does not run, so there is nothing to end
    if not is_due(module, path, info):
        return False
    config, swarm = parse(decode(read_file(path) or b"")[1]), (info.get("Swarm") or {}).get("LocalNodeState")
    refuse_start(config, running()["flags"], swarm)
    if not module.params["allow_restart"] and not info.get("LiveRestoreEnabled"):
        refuse_restart(containers)
    return True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "unit": {"type": "str", "default": "docker.service"},
            "allow_restart": {"type": "bool", "default": False},
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    path, began = Path(os.path.realpath(module.params["path"])), int(time.time())
    try:
        due = may_restart(module, path)
    except (DaemonJsonError, OriginalError) as error:
        module.fail_json(msg=f"{path}: {error}" if isinstance(error, DaemonJsonError) else str(error))
    if not due or systemctl(module, "restart"):
        Originals().settle(str(path))
        module.exit_json(changed=due)
    fail(module, path, began)


def fail(module: AnsibleModule, path: Path, began: int) -> None:
    """Put the former configuration back, start Docker with it, and say why it did not start with the new one."""
    journal = module.get_bin_path("journalctl", required=True)
    unit = module.params["unit"]
    said = module.run_command([journal, f"--unit={unit}", f"--since=@{began}", "--output=cat", "--no-pager"])[1]
    try:
        Originals().revert(str(path))
        reverted, back = True, "The configuration that it ran with was put back"
    except OriginalError as error:
        reverted, back = False, f"The configuration that it ran with could not be put back ({error})"
    runs = "and it runs again" if systemctl(module, "start") else f"and it does not run (systemctl status {unit})"
    module.fail_json(
        msg=f"Docker did not start with its new configuration. {back}, {runs}. Docker said: {why_not_started(said)}",
        reverted=reverted,
    )


if __name__ == "__main__":
    main()
