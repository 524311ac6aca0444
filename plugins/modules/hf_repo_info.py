#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_repo_info
short_description: Ask the Hugging Face hub for a model's commit and files
version_added: "0.1.0"
description:
  - Resolves a branch or a tag to its commit, and lists the files of that commit with their sizes and hashes.
  - >-
    Fails where the files may not be had, with the page to open or the option to set in its message: unknown repository
    or revision, gated and not granted, no token, bad token, no way to the hub.
extends_documentation_fragment:
  - sparkops.dgx_spark.hf_cache.patterns
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.hf_cache.hub
options:
  repo:
    description: The model's repository, C(organisation/name).
    type: str
    required: true
  revision:
    description: A branch, a tag, or a commit of 40 hexadecimal digits.
    type: str
    default: main
  timeout:
    description: Seconds to wait for each answer.
    type: int
    default: 20
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Ask the hub
  sparkops.dgx_spark.hf_repo_info:
    repo: nvidia/Qwen3-235B-A22B-FP4
    token: "{{ spark_hf_token }}"
  register: asked

- name: Say how large it is
  ansible.builtin.debug:
    msg: "{{ asked.model.commit }}: {{ (asked.bytes / 1e9) | round(1) }} GB"
"""

RETURN = r"""
model:
  description: The model at its commit; what other modules take as O(sparkops.dgx_spark.hf_cache_info#module:model).
  returned: success
  type: dict
  contains:
    repo:
      description: The repository.
      type: str
      sample: nvidia/Qwen3-235B-A22B-FP4
    commit:
      description: The commit.
      type: str
      sample: b6c1d4f3c1f2f7d1c3e0a3f9ab0d43f3f8f0c5d7
    revision:
      description: The revision that was asked for.
      type: str
      sample: main
    files:
      description: The files, by path.
      type: list
      elements: dict
      contains:
        path:
          description: Path within the repository.
          type: str
          sample: config.json
        size:
          description: Bytes.
          type: int
          sample: 1234
        sha256:
          description: SHA-256 of a file that the hub keeps outside of git (LFS), else null.
          type: str
        git_sha1:
          description: What git calls a file that the hub keeps in git, else null.
          type: str
bytes:
  description: Bytes of these files.
  returned: success
  type: int
  sample: 134217728000
gated:
  description: Whether the hub gives the files only to accounts that were granted access. This one was.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import PATTERN_OPTIONS, Hub, HubError, chosen


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "repo": {"type": "str", "required": True},
            "revision": {"type": "str", "default": "main"},
            "endpoint": {"type": "str", "default": "https://huggingface.co"},
            "token": {"type": "str", "default": "", "no_log": True},
            **PATTERN_OPTIONS,
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    asked = module.params
    try:
        hub = Hub(asked["endpoint"], asked["token"].strip(), asked["timeout"])
        model, gated = hub.model(asked["repo"], asked["revision"])
        model = chosen(model, asked["allow_patterns"], asked["ignore_patterns"])
    except HubError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, model=model.as_dict(), bytes=model.size, gated=gated)


if __name__ == "__main__":
    main()
