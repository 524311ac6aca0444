#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_copy_check
short_description: Verify files that were copied between Sparks, by hash
version_added: 0.1.0
description:
  - Reads every file of a list, and fails with the names of the files that are missing or have another SHA-256.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.peer_copy.files
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Verify the files
  sparkops.dgx_spark.peer_copy_check:
    directory: /data/checkpoints
    files: "{{ files }}"
"""

RETURN = r"""
at:
  description: When the files were read, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
directory:
  description: The directory, absolute.
  returned: success
  type: str
  sample: /data/checkpoints
files:
  description: How many files were verified.
  returned: success
  type: int
  sample: 12
bytes:
  description: Bytes of these files.
  returned: success
  type: int
  sample: 65250000000
problems:
  description: What is wrong, by path, for each file that is not right.
  returned: failure
  type: dict
  sample: {"config.json": "is missing"}
"""

import time
from pathlib import Path
from socket import gethostname

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import FILES_OPTION
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.files import from_rows, problems


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"directory": {"type": "path", "required": True}, "files": FILES_OPTION},
        supports_check_mode=True,
    )
    folder, files = Path(module.params["directory"]), from_rows(module.params["files"])
    try:
        wrong = problems(folder, files, read=True)
    except OSError as exc:
        module.fail_json(msg=told(exc), problems={})
    if wrong:
        shown = "; ".join(f"{path}: {what}" for path, what in sorted(wrong.items())[:5])
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        module.fail_json(msg=f"{gethostname()}: {folder} is not a whole copy: {shown}{more}", problems=wrong)
    module.exit_json(
        changed=False, at=time.time(), directory=str(folder), files=len(files), bytes=sum(file.size for file in files)
    )


if __name__ == "__main__":
    main()
