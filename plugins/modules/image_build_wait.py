#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build_wait
short_description: Wait for a long build that a transient unit runs, and read how far it is
version_added: 0.1.0
description:
  - >-
    Waits on the host for the end of a build that M(sparkops.dgx_spark.image_build_unit) started, for some seconds at
    most. M(sparkops.dgx_spark.image_build_follow) asks it again and again.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  kind:
    description: V(build) is that of an image from source, V(engine-build) that of engines with C(trtllm-build).
    type: str
    choices: [build, engine-build]
    default: build
  dir:
    description: Where the build is. C(/var/lib/dgx-spark/) and O(kind) by default.
    type: path
  wait:
    description: How many seconds to wait at most.
    type: float
    default: 0
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Wait a little for the build
  sparkops.dgx_spark.image_build_wait:
    wait: 5
  become: true
  register: job
"""

RETURN = r"""
outcome:
  description: V(running), V(done), V(failed), V(interrupted) where it was ended, or empty where there is none.
  returned: success
  type: str
  sample: running
state:
  description: >-
    What its program noted last, such as C(title), C(step), C(percent), C(stages), C(done) and C(seconds) of each stage.
  returned: success
  type: dict
line:
  description: How far it is, for people.
  returned: success
  type: str
  sample: Build the image (stage 10 of 10), wheel 9/9, 45 %, 1 h 30 min
log:
  description: The last lines of its log, where it did not end well.
  returned: success
  type: list
  elements: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import layout, unit


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kind": {"type": "str", "choices": [layout.IMAGE, layout.ENGINE], "default": layout.IMAGE},
            "dir": {"type": "path"},
            "wait": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    asked = module.params
    folder = asked["dir"] or layout.folder(asked["kind"])
    found = unit.waited(lambda argv: module.run_command(list(argv)), asked["kind"], folder, asked["wait"])
    module.exit_json(changed=False, line=layout.line(found["state"], time.time()), **found)


if __name__ == "__main__":
    main()
