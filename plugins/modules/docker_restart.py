#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_restart
short_description: Restart Docker, and have it run in any case
version_added: "0.1.0"
description:
  - Restarts Docker's unit. systemd is not reloaded, since that takes the GPUs from running containers.
  - >-
    If Docker does not start, what the last write of M(sparkops.dgx_spark.docker_daemon_config) replaced is put back,
    Docker is started with that, and the module fails with what the journal says. All of it happens on the host, so that
    a lost connection does not leave Docker down.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
    details: It restarts Docker each time, so notify it as a handler.
options:
  path:
    description: The configuration file. A link is followed.
    type: path
    default: /etc/docker/daemon.json
  unit:
    description: Docker's unit.
    type: str
    default: docker.service
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Restart docker
  sparkops.dgx_spark.docker_restart:
"""

RETURN = r"""
reverted:
  description: Whether the configuration that Docker ran with before was put back.
  returned: failure
  type: bool
  sample: true
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import why_not_started
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import OriginalError, Originals


def systemctl(module: AnsibleModule, verb: str) -> bool:
    """Have systemd do something with the unit, however often it has just done so."""
    tool, unit = module.get_bin_path("systemctl", required=True), module.params["unit"]
    # A unit may start three times in a minute. One more is refused, which would leave Docker down.
    module.run_command([tool, "reset-failed", unit])
    return module.run_command([tool, verb, unit])[0] == 0


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "unit": {"type": "str", "default": "docker.service"},
        },
        supports_check_mode=True,
    )
    began = int(time.time())
    if module.check_mode or systemctl(module, "restart"):
        module.exit_json(changed=True)
    journal = module.get_bin_path("journalctl", required=True)
    unit = module.params["unit"]
    said = module.run_command([journal, f"--unit={unit}", f"--since=@{began}", "--output=cat", "--no-pager"])[1]
    try:
        Originals().revert(str(Path(module.params["path"]).resolve()))
        reverted, back = True, "The configuration that it ran with was put back"
    except OriginalError as exc:
        reverted, back = False, f"The configuration that it ran with could not be put back ({exc})"
    runs = "and it runs again" if systemctl(module, "start") else f"and it does not run (systemctl status {unit})"
    module.fail_json(
        msg=f"Docker did not start with its new configuration. {back}, {runs}. It had said: {why_not_started(said)}",
        reverted=reverted,
    )


if __name__ == "__main__":
    main()
