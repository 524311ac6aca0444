#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_copy_files
short_description: Copy files that are named by their SHA-256 from another Spark
version_added: 0.1.0
description:
  - Copies over several ssh streams the files that are not there yet, and nothing else.
  - >-
    Each file is hashed as it comes, and gets its name when its hash is right. What came before a connection broke is
    not copied again. The memory that the copied pages took is released.
  - >-
    Needs M(sparkops.dgx_spark.peer_copy_key) and M(sparkops.dgx_spark.peer_copy_connection) here, and
    M(sparkops.dgx_spark.peer_copy_access) on the other Spark, all for the same O(name).
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.peer_copy
  - sparkops.dgx_spark.peer_copy.files
  - sparkops.dgx_spark.peer_copy.attempts
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Copy a checkpoint's files from the leader
  sparkops.dgx_spark.peer_copy_files:
    name: checkpoint
    directory: /data/checkpoint
    files: "{{ files }}"
"""

RETURN = r"""
directory:
  description: The directory, absolute.
  returned: success
  type: str
  sample: /data/checkpoint
moved_bytes:
  description: Bytes that crossed the wire for the files, without ssh's own.
  returned: when something was copied
  type: int
address:
  description: Where the other Spark was reached.
  returned: when something was copied
  type: str
  sample: 192.168.100.10
netdev:
  description: The interface by which RV(address) is reached.
  returned: when something was copied
  type: str
  sample: enp1s0f0np0
carried_bytes:
  description: Bytes that each interface received meanwhile, if at least a hundredth of the copy.
  returned: when something was copied
  type: dict
  sample: {"enp1s0f0np0": 65410000000}
gb_per_second:
  description: GB a second, from start to end, waiting and verification included.
  returned: when something was copied
  type: float
  sample: 1.87
bound_by:
  description:
    - What kept the copy from being faster.
    - >-
      V(link), V(processor) and V(disk) are this Spark's, V(hashing) its single threads; V(sender) is the other Spark.
  returned: when something was copied
  type: str
  sample: disk
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import progress as progress_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import FILES_OPTION
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import (
    DIR_OPTION,
    CopyError,
    Place,
    drop_if_empty,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.counters import netdev_towards
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.files import PARTIAL, from_rows, problems
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.pull import PullError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.transfer import ATTEMPT_OPTIONS, Transfer


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "dir": DIR_OPTION,
            "directory": {"type": "path", "required": True},
            "files": FILES_OPTION,
            **ATTEMPT_OPTIONS,
        },
        supports_check_mode=True,
    )
    asked, folder = module.params, Path(module.params["directory"])
    files = from_rows(asked["files"])
    try:
        wrong = problems(folder, files, read=False)
    except OSError as exc:
        module.fail_json(msg=told(exc))
    if not wrong or module.check_mode:
        module.exit_json(changed=bool(wrong), directory=str(folder))
    reason = ""
    found: dict[str, Any] = {}
    try:
        place = Place(asked["dir"], asked["name"])
        transfer = Transfer(place, asked["stall_seconds"])
        with progress_file.written(
            place.progress,
            f"{asked['name']} copied",
            lambda: sum(file.size for file in files if file.path in wrong),
            lambda: transfer.moved,
        ):
            for attempt in range(asked["attempts"]):
                time.sleep(min(2**attempt, 30) if attempt else 0)
                lacking = [file for file in files if file.path in problems(folder, files, read=False)]
                reason = transfer.pull(lacking, folder, folder / PARTIAL, lambda _file, _path: None)
                if not reason:
                    break
        found = transfer.figures(netdev_towards(module.run_command, transfer.address))
    except (CopyError, PullError, OSError) as exc:
        reason = told(exc)
    if reason:
        module.fail_json(msg=f"{asked['name']} could not be copied: {reason}")
    drop_if_empty(folder / PARTIAL)
    module.exit_json(changed=True, directory=str(folder), **found)


if __name__ == "__main__":
    main()
