#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_bandwidth
short_description: Measure the bandwidth of a fabric
version_added: 0.1.0
description:
  - >-
    Measures one host's part of the planned fabric, over all links of two hosts at once, one direction after the other.
    All hosts must do so at the same time, so it needs at least as many forks as there are hosts.
  - >-
    The figures are written to a file together with O(key). A host whose file has that key already does not measure
    again, and these figures count.
  - A figure that is too small is a failure that says what it means, and the mend.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  host:
    description: The host's name in the plan.
    type: str
    required: true
  plan:
    description: C(topology) and C(hosts) as M(sparkops.dgx_spark.fabric_plan) returns them.
    type: dict
    required: true
  tool:
    description: >-
      V(ib_write_bw) (of perftest) measures RDMA, V(iperf3) TCP with several streams. The same on all hosts.
    type: str
    choices: [ib_write_bw, iperf3]
    required: true
  min_gbps:
    description: What each direction must reach, in Gbit/s.
    type: float
    required: true
  seconds:
    description: How long each direction is measured.
    type: int
    default: 5
  key:
    description: >-
      What the measurement holds for, the same on all hosts (RV(sparkops.dgx_spark.fabric_plan#module:key)).
    type: str
    required: true
  stamp:
    description: The file to write the figures to.
    type: path
    default: /var/lib/dgx-spark/fabric/bandwidth.json
  hotplug:
    description: >-
      The hosts whose DGX OS takes a ConnectX-7 without a live cable off the PCI bus, for the message
      (RV(sparkops.dgx_spark.fabric_plan#module:hotplug)).
    type: list
    elements: str
    default: []
  again:
    description: Measure whatever the file says. All hosts must, where one does.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Measure the bandwidth
  sparkops.dgx_spark.fabric_bandwidth:
    host: "{{ inventory_hostname }}"
    plan: "{{ fabric }}"
    key: "{{ fabric.key }}"
    tool: ib_write_bw
    min_gbps: 175
  become: true
"""

RETURN = r"""
measured:
  description: What this host sends to whom. Empty in check mode where it is yet to be measured.
  returned: success, or when it is not enough
  type: list
  elements: dict
  contains:
    peer:
      description: Name of the receiving host.
      type: str
      sample: spark2
    gbps:
      description: Gbit/s over all links to it at once.
      type: float
      sample: 189.85
    links:
      description: Gbit/s by network device.
      type: dict
      sample: {enp1s0f0np0: 92.57, enP2p1s0f0np0: 97.28}
    errors:
      description: What a tool said where it did not measure.
      type: dict
      sample: {}
tool:
  description: O(tool).
  returned: success, or when it is not enough
  type: str
  sample: ib_write_bw
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.bandwidth import bandwidth_problem, measure
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import (
    FileError,
    make_directories,
    write_atomically,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import FORMS


def earlier(stamp: Path, key: str) -> list[dict[str, Any]] | None:
    """Return the figures of an earlier measurement with this key, None if there are none."""
    try:
        found = json.loads(stamp.read_text(encoding="utf-8"))
        if found["key"] != key:
            return None
        for one in found["measured"]:  # an odd one is measured again
            bandwidth_problem("", one, 0, "")
        return list(found["measured"])
    except (OSError, *FORMS):
        return None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "plan": {"type": "dict", "required": True},
            "tool": {"type": "str", "choices": ["ib_write_bw", "iperf3"], "required": True},
            "min_gbps": {"type": "float", "required": True},
            "seconds": {"type": "int", "default": 5},
            "key": {"type": "str", "required": True, "no_log": False},
            "stamp": {"type": "path", "default": "/var/lib/dgx-spark/fabric/bandwidth.json"},
            "hotplug": {"type": "list", "elements": "str", "default": []},
            "again": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    host, tool, key = (module.params[name] for name in ("host", "tool", "key"))
    stamp = Path(module.params["stamp"])
    measured = None if module.params["again"] else earlier(stamp, key)
    changed = measured is None
    if measured is None and not module.check_mode:
        module.get_bin_path(tool, required=True)
        measured = measure(module.params["plan"], host, tool, module.params["seconds"])
    results = {"measured": measured or [], "tool": tool}
    wanted, hotplug = module.params["min_gbps"], module.params["hotplug"]
    problems = [bandwidth_problem(host, found, wanted, tool, hotplug) for found in measured or []]
    if any(problems):
        stamp.unlink(missing_ok=True)  # to be measured again by the next run, on all hosts
        module.fail_json(msg="The fabric is too slow: " + "; ".join(filter(None, problems)), **results)
    if changed and not module.check_mode:
        try:
            make_directories(stamp.parent, 0o700)
            write_atomically(stamp, (json.dumps({"key": key, **results}, indent=2) + "\n").encode(), 0o600)
        except FileError as error:
            module.fail_json(msg=str(error), **results)
    module.exit_json(changed=changed, **results)


if __name__ == "__main__":
    main()
