#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_info
short_description: Read what a Spark has of the monitoring
version_added: 0.1.0
description:
  - >-
    Reads the files and units of the monitoring, the packages that it needs, its addresses, the firewall and who listens
    on the ports. Needs root.
  - Of Alertmanager's configuration, which has secrets, the digest is returned and no content.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  leader:
    description: Whether this host is the leader, which has Prometheus and Alertmanager too.
    type: bool
    default: false
  ports:
    description: By the name of a part the port that it is to listen on. Parts without one are not looked at.
    type: dict
    default: {}
  firewall:
    description: >-
      What is asked of ufw. With V(auto) it is asked where it is enabled, with V(ufw) wherever it is installed, and with
      V(none) not at all.
    type: str
    choices: [auto, ufw, none]
    default: ufw
  images:
    description: >-
      The images of the containers that are asked for. With one, C(python3-requests) is looked for too, which Ansible's
      modules for Docker need.
    type: list
    elements: str
    default: []
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read what the Spark has of the monitoring
  sparkops.dgx_spark.monitoring_info:
    leader: true
    ports: {prometheus: 9090, alertmanager: 9093, node-exporter: 9100}
  become: true
  register: monitoring
"""

RETURN = r"""
there:
  description: Whether anything of the monitoring is here.
  returned: success
  type: bool
  sample: true
packages:
  description: Which of the packages that a leader needs are installed.
  returned: success
  type: list
  elements: str
  sample: [prometheus, prometheus-node-exporter]
unavailable:
  description: Which of those that this host lacks are in no package source that it has lists of.
  returned: success
  type: list
  elements: str
  sample: []
files:
  description: By path the files, with C(mode), C(digest), C(mtime) and, where that is no secret, C(content).
  returned: success
  type: dict
links:
  description: The units that are started at boot.
  returned: success
  type: list
  elements: str
  sample: [dgx-spark-metrics.service]
units:
  description: By unit its C(active) state, and when it was C(started), in seconds since the epoch.
  returned: success
  type: dict
listen:
  description: By part the other programs that listen on its port.
  returned: success
  type: dict
  sample: {prometheus: []}
firewall:
  description: Whether ufw is C(installed) and C(enabled), and its C(rules).
  returned: success
  type: dict
ufw_enabled:
  description: Whether ufw is enabled.
  returned: success
  type: bool
  sample: false
addresses:
  description: The global addresses of this host with their netdevs.
  returned: success
  type: list
  elements: str
  sample: [192.168.1.21/24 on enP7s7]
management:
  description: The address of the default route, null where there is none.
  returned: success
  type: str
  sample: 192.168.1.21
free_bytes:
  description: What is left on the disk of C(/var/lib).
  returned: success
  type: int
  sample: 812000000000
docker:
  description: >-
    What the monitoring has in Docker: C(problem) says why Docker does not answer; C(containers) by name, each with
    C(id), C(running) and C(config); C(lacking), those of O(images) that are not there, and C(runtimes), where there are
    O(images); C(listen), by container the other programs that listen on its port; C(password) of Grafana's admin,
    C(salt), C(digest) and C(pending); whether Grafana has C(data); and C(pulled), the images that the role has pulled.
  returned: success
  type: dict
journal:
  description: >-
    The C(content) and C(mtime) of the monitoring's limit of the journal, and whether there is a C(directory) for it.
  returned: success
  type: dict
"""

import os
from typing import Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import host


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "leader": {"type": "bool", "default": False},
            "ports": {"type": "dict", "default": {}},
            "firewall": {"type": "str", "choices": ["auto", "ufw", "none"], "default": "ufw"},
            "images": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    asked = module.params
    module.run_command_environ_update = {"LANG": "C", "LC_ALL": "C"}

    def run(argv: Sequence[str]) -> tuple[int, str]:
        tool = module.get_bin_path(argv[0])
        if not tool:
            return 127, ""
        code, out, _err = module.run_command([tool, *argv[1:]])
        return code, out

    try:
        ports = {name: int(port) for name, port in asked["ports"].items()}
        found = host.look(run, asked["leader"], ports, asked["firewall"], asked["images"])
    except (OSError, TypeError, ValueError) as error:
        module.fail_json(msg=f"{os.uname().nodename} cannot be read: {told(error)}. Nothing was changed.")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
