#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_remove
short_description: Remove what was written into a Hugging Face cache for a model
version_added: 0.1.0
description:
  - Removes the notes about a model, and the refs that were written for the model and were not changed since.
  - Fails, with nothing removed, while a download or copy of such a model runs on this host.
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
    description:
      - The model's repository, C(organisation/name). Required for O(model_too=true).
      - Without a repository, what was written for every model is removed.
    type: str
  beside:
    description: Further repositories. Whatever is removed for O(repo) is removed for them too.
    type: list
    elements: str
    default: []
  model_too:
    description: Remove the model, with all its revisions.
    type: bool
    default: false
  others:
    description: Remove as well the notes and refs of every other model, and no other model.
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
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import (
    CACHE_OPTION,
    Cache,
    CacheError,
    noted,
    refuse_busy,
    remove,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import HubError, check_names
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cache_dir": CACHE_OPTION,
            "repo": {"type": "str"},
            "beside": {"type": "list", "elements": "str", "default": []},
            "model_too": {"type": "bool", "default": False},
            "others": {"type": "bool", "default": False},
        },
        required_if=[("model_too", True, ["repo"])],
        supports_check_mode=True,
    )
    asked, removed, freed = module.params, [], 0
    try:
        meant = list(dict.fromkeys([*([asked["repo"]] if asked["repo"] else []), *asked["beside"]]))
        for repo in meant:
            check_names(repo, "main")
        repos = [*meant]
        if asked["others"] or not repos:
            repos += [repo for repo in noted(asked["cache_dir"]) if repo not in repos]
        refuse_busy([Cache(asked["cache_dir"], repo) for repo in repos])
        for repo in repos:
            with_model = asked["model_too"] and repo in meant
            paths, size = remove(Cache(asked["cache_dir"], repo), with_model, module.check_mode)
            removed += paths
            freed += size
    except (HubError, CacheError, FileError, OSError) as exc:
        module.fail_json(msg=told(exc))
    module.exit_json(changed=bool(removed), removed=removed, freed_bytes=freed)


if __name__ == "__main__":
    main()
