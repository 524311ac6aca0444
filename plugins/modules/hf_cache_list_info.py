#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_list_info
short_description: List the models in a Hugging Face cache
version_added: "0.1.0"
description:
  - Lists what repositories of models a cache holds, with their sizes on disk.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.hf_cache.cache
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: See what is cached
  sparkops.dgx_spark.hf_cache_list_info:
  register: cached
"""

RETURN = r"""
models:
  description: The repositories, the largest first.
  returned: success
  type: list
  elements: dict
  contains:
    repo:
      description: The repository.
      type: str
      sample: openai/gpt-oss-120b
    repo_dir:
      description: Its directory.
      type: str
      sample: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-120b
    bytes:
      description: Bytes on disk, of all its revisions.
      type: int
      sample: 65250000000
    commits:
      description: The revisions that are there.
      type: list
      elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import CACHE_OPTION, list_models


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"cache_dir": CACHE_OPTION}, supports_check_mode=True)
    try:
        models = list_models(module.params["cache_dir"])
    except OSError as exc:
        module.fail_json(msg=f"the cache cannot be read: {exc}")
    module.exit_json(changed=False, models=models)


if __name__ == "__main__":
    main()
