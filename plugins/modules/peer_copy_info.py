#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_copy_info
short_description: Tell which files of a copy between Sparks are there
version_added: 0.1.0
description:
  - Compares a directory with a list of files that are named by their SHA-256, by name and size. No content is read.
  - M(sparkops.dgx_spark.peer_copy_check) reads the content.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.peer_copy
  - sparkops.dgx_spark.peer_copy.files
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read which files are there
  sparkops.dgx_spark.peer_copy_info:
    name: checkpoints
    directory: /data/checkpoints
    files: "{{ files }}"
  register: found
"""

RETURN = r"""
directory:
  description: The directory, absolute.
  returned: success
  type: str
  sample: /data/checkpoints
problems:
  description: What is wrong, by path, for each file that is not there with the right size.
  returned: success
  type: dict
  sample: {"config.json": "is missing"}
needed_bytes:
  description: Bytes of these files.
  returned: success
  type: int
  sample: 0
free_bytes:
  description: Bytes that this user can still write to the directory.
  returned: success
  type: int
  sample: 3400000000000
left_behind:
  description: Whether an interrupted copy of this O(name) left its C(key) or an C(authorized_key) on this host.
  returned: success
  type: dict
  sample: {"authorized_key": false, "key": false}
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import FILES_OPTION
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import (
    DIR_OPTION,
    CopyError,
    left_behind,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.files import from_rows, problems


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "dir": DIR_OPTION,
            "directory": {"type": "path", "required": True},
            "files": FILES_OPTION,
        },
        supports_check_mode=True,
    )
    asked, folder = module.params, Path(module.params["directory"])
    files = from_rows(asked["files"])
    try:
        wrong = problems(folder, files, read=False)
        place = folder
        while not place.exists():
            place = place.parent
        about = os.statvfs(place)
        left = left_behind(asked["dir"], asked["name"])
    except (CopyError, OSError) as exc:
        module.fail_json(msg=told(exc))
    module.exit_json(
        changed=False,
        directory=str(folder),
        problems=wrong,
        needed_bytes=sum(file.size for file in files if file.path in wrong),
        free_bytes=about.f_bavail * about.f_frsize,
        left_behind=left,
    )


if __name__ == "__main__":
    main()
