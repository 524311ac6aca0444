#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_files_pull
short_description: Copy files that are named by their SHA-256 from another Spark
version_added: "0.1.0"
description:
  - As M(sparkops.dgx_spark.hf_cache_pull) does for a model, for any files; those of a Docker image, for instance.
  - Needs M(sparkops.dgx_spark.hf_copy_key) here and M(sparkops.dgx_spark.hf_copy_door) there.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.hf_cache.cache
  - sparkops.dgx_spark.hf_cache.peer
  - sparkops.dgx_spark.hf_cache.bring
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  name:
    description: What is copied, for the progress.
    type: str
    required: true
  directory:
    description: Where the files are to be.
    type: path
    required: true
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: What it is called in messages.
        type: str
        required: true
      size:
        description: Bytes.
        type: int
        required: true
      sha256:
        description: Its name on both Sparks.
        type: str
        required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Copy an image's files from the leader
  sparkops.dgx_spark.hf_files_pull:
    name: dgx-spark/trtllm-serve:1
    directory: ~/.cache/huggingface/.dgx-spark/image
    files: "{{ hostvars['spark1'].exported.files }}"
    address: 192.168.100.10
    user: "{{ door.user }}"
    host_keys: "{{ door.host_keys }}"
"""

RETURN = r"""
directory:
  description: The directory, absolute.
  returned: success
  type: str
  sample: /home/nvidia/.cache/huggingface/.dgx-spark/image
moved_bytes:
  description: Bytes that crossed the wire for them, without ssh's own.
  returned: when something was copied
  type: int
netdev:
  description: The interface by which O(address) is reached.
  returned: when something was copied
  type: str
  sample: enp1s0f0np0
carried_bytes:
  description: Bytes that each interface received meanwhile.
  returned: when something was copied
  type: dict
gb_per_second:
  description: GB a second.
  returned: when something was copied
  type: float
bound_by:
  description: What kept it from being faster.
  returned: when something was copied
  type: str
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import CACHE_OPTION, OWN_DIR, PARTIAL_DIR
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import RepoFile
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import progress as progress_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.copy import FILES_OPTION, CopyError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.pull import PullError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.transfer import (
    BRING_OPTIONS,
    PEER_OPTIONS,
    Transfer,
    netdev_towards,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "files": FILES_OPTION,
            "cache_dir": CACHE_OPTION,
            **PEER_OPTIONS,
            **BRING_OPTIONS,
        },
        supports_check_mode=True,
    )
    asked, own = module.params, Path(module.params["cache_dir"], OWN_DIR)
    folder = Path(asked["directory"])
    files = [RepoFile(file["path"], file["size"], file["sha256"]) for file in asked["files"]]

    def lacking() -> list[RepoFile]:  # a file gets its name when it is right
        return [file for file in files if not (folder / file.blob).exists()]

    reason, told = "", {}
    if not lacking() or module.check_mode:
        module.exit_json(changed=bool(lacking()), directory=str(folder))
    try:
        netdev = netdev_towards(module.run_command, asked["address"])
        transfer = Transfer(asked, own / "copy")
        with progress_file.written(
            own / "image.progress",
            f"{asked['name']} copied",
            lambda: sum(file.size for file in files),
            lambda: transfer.moved,
        ):
            for attempt in range(asked["attempts"]):
                time.sleep(min(2**attempt, 30) if attempt else 0)
                reason = transfer.pull(lacking(), folder, folder / PARTIAL_DIR, lambda _file, _path: None)
                if not reason:
                    break
        told = transfer.figures(netdev)
    except (CopyError, PullError, OSError) as exc:
        reason = str(exc)
    if reason:
        module.fail_json(msg=f"{asked['name']} could not be copied: {reason}")
    (folder / PARTIAL_DIR).rmdir()
    module.exit_json(changed=True, directory=str(folder), **told)


if __name__ == "__main__":
    main()
