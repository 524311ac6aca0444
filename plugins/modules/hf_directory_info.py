#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_directory_info
short_description: Describe a model that lies in a directory, as if a hub had it
version_added: "0.1.0"
description:
  - Lists the files of a directory with their sizes and hashes. Hidden files and directories are left out.
  - >-
    What was hashed is noted in the cache, so that a file that was not touched since is not read again. Nothing is noted
    in check mode.
extends_documentation_fragment:
  - sparkops.dgx_spark.hf_cache.patterns
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.hf_cache.cache
options:
  repo:
    description: What the cache is to call it, C(organisation/name).
    type: str
    required: true
  directory:
    description: Where it lies. One of its files is C(config.json).
    type: path
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Describe the checkpoint that was made here
  sparkops.dgx_spark.hf_directory_info:
    repo: home/Qwen3-32B-NVFP4
    directory: /home/nvidia/quantized/Qwen3-32B-NVFP4
  register: asked
"""

RETURN = r"""
model:
  description: >-
    The model, as RV(sparkops.dgx_spark.hf_repo_info#module:model) describes one. Its commit stands for all paths and
    contents.
  returned: success
  type: dict
bytes:
  description: Bytes of these files.
  returned: success
  type: int
  sample: 19327352832
linkable:
  description: Whether the cache is on the same file system, so that it needs no room for them.
  returned: success
  type: bool
  sample: true
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import directory as hf_directory
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import CACHE_OPTION, Cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import PATTERN_OPTIONS, HubError, chosen


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "repo": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "cache_dir": CACHE_OPTION,
            **PATTERN_OPTIONS,
        },
        supports_check_mode=True,
    )
    asked = module.params
    top, cache = Path(asked["directory"]), Cache(asked["cache_dir"], asked["repo"])
    try:
        model = hf_directory.describe(top, asked["repo"], cache, write=not module.check_mode)
        model = chosen(model, asked["allow_patterns"], asked["ignore_patterns"])
    except (HubError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, model=model.as_dict(), bytes=model.size, linkable=hf_directory.linkable(top, cache))


if __name__ == "__main__":
    main()
