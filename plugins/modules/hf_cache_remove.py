#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_remove
short_description: Take back what was written into a Hugging Face cache for one model
version_added: "0.1.0"
description:
  - Removes what was noted of a model, and the refs that were written for it and that nobody has changed since.
  - With O(model_too=true) removes the model as well, its own directory and no other.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.hf_cache.cache
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  repo:
    description: The model's repository, C(organisation/name).
    type: str
    required: true
  model_too:
    description: Remove the model, with all its revisions.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Remove a model from the cache
  sparkops.dgx_spark.hf_cache_remove:
    repo: openai/gpt-oss-120b
    model_too: true
"""

RETURN = r"""
removed:
  description: The files and directories that were removed, or would be.
  returned: success
  type: list
  elements: str
freed_bytes:
  description: Bytes that they held.
  returned: success
  type: int
  sample: 65250000000
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import CACHE_OPTION, Cache, remove
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import HubError, check_names


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cache_dir": CACHE_OPTION,
            "repo": {"type": "str", "required": True},
            "model_too": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        check_names(module.params["repo"], "main")
        cache = Cache(module.params["cache_dir"], module.params["repo"])
        removed, freed = remove(cache, module.params["model_too"], module.check_mode)
    except (HubError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=bool(removed), removed=removed, freed_bytes=freed)


if __name__ == "__main__":
    main()
