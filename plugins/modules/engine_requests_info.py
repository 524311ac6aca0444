#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_requests_info
short_description: Read how many requests the API of an engine works on
version_added: 0.1.0
description:
  - >-
    Reads what the kernel knows of the connections to the API's port on this host, by C(ss): a client that waits for its
    answer, or takes one, counts; one that is connected and asks for nothing does not.
  - The question for a token, which the supervisor asks now and then, does not count.
  - Needs root, to tell the supervisor from others.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  address:
    description: Where the API is asked on this host, as C(address:port).
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read how many requests run
  sparkops.dgx_spark.engine_requests_info:
    address: 127.0.0.1:8355
  become: true
  register: requests
"""

RETURN = r"""
running:
  description: How many requests run.
  returned: success
  type: int
  sample: 2
"""

from typing import Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.requests import RequestsError, look


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"address": {"type": "str", "required": True}}, supports_check_mode=True)
    module.run_command_environ_update = {"LANG": "C", "LC_ALL": "C"}

    def run(argv: Sequence[str]) -> tuple[int, str]:
        tool = module.get_bin_path(argv[0])
        if not tool:
            return 127, "there is no ss"
        code, out, err = module.run_command([tool, *argv[1:]])
        return code, err if code else out

    try:
        module.exit_json(changed=False, running=look(module.params["address"], run))
    except RequestsError as error:
        module.fail_json(msg=f"{error}. Nothing was changed.")


if __name__ == "__main__":
    main()
