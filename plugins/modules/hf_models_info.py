#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_models_info
short_description: Read what the Hugging Face hub tells of several models, before any is downloaded
version_added: 0.1.0
description:
  - >-
    Of each model, reads the commit, the files' sizes, C(config.json), and the headers of the weights by HTTP ranges;
    what O(cache_dir) has of these is not asked for. Four models are asked about at a time.
  - >-
    Does not fail where the hub cannot be reached, or does not give a model. What O(cache_dir) has of that model is
    read then, and RV(models.problem) says what the hub said.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.hf_cache.cache
  - sparkops.dgx_spark.hf_cache.hub
options:
  models:
    description: The models.
    type: list
    elements: dict
    required: true
    suboptions:
      repo:
        description: The repository, C(organisation/name).
        type: str
        required: true
      revision:
        description: A branch, a tag or a commit.
        type: str
        default: main
      allow_patterns:
        description: Only files that match one of these, as C(hf download --include) takes them. Empty for all.
        type: list
        elements: str
        default: []
  ignore_patterns:
    description: No files that match one of these.
    type: list
    elements: str
    default: []
  offline:
    description: Whether only O(cache_dir) is read, and no hub asked.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for each answer of the hub.
    type: int
    default: 20
  seconds:
    description: Seconds after which no further model is asked about.
    type: int
    default: 120
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read what the hub tells of two models
  sparkops.dgx_spark.hf_models_info:
    models:
      - repo: openai/gpt-oss-20b
      - repo: nvidia/Qwen3-32B-FP4
        revision: main
    ignore_patterns: [original/, metal/]
  register: asked

- name: Show how large a model is
  ansible.builtin.debug:
    msg: "{{ asked.models['openai/gpt-oss-20b'].bytes }} bytes"
"""

RETURN = r"""
models:
  description: What is known of each model, by its repository.
  returned: success
  type: dict
  contains:
    origin:
      description: Where that comes from, V(hub) or V(cache); empty where nothing is known.
      type: str
      sample: hub
    problem:
      description: Why the hub did not tell; empty where it did.
      type: str
      sample: ""
    refused:
      description: >-
        Whether a hub answered, and will not give the model to this account, or has none of that name; not where it was
        only away or busy.
      type: bool
      sample: false
    commit:
      description: The commit.
      type: str
      sample: b6c1d4f3c1f2f7d1c3e0a3f9ab0d43f3f8f0c5d7
    gated:
      description: Whether the hub gives the files only to accounts with access; null where it did not tell.
      type: bool
      sample: false
    bytes:
      description: Bytes of the chosen files; with the V(cache) as RV(models.origin), of those that are there.
      type: int
      sample: 134217728000
    weights_bytes:
      description: Bytes of the safetensors files among them.
      type: int
      sample: 134200000000
    blobs:
      description: The size of each chosen file, by its hash.
      type: dict
    config:
      description: The parsed C(config.json), empty where there is none.
      type: dict
    tensors:
      description: What the weights consist of, RV(sparkops.dgx_spark.hf_model_info#module:tensors).
      type: list
      elements: dict
    tensors_problem:
      description: Why RV(models.tensors) could not be had; empty where it was.
      type: str
      sample: ""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import CACHE_OPTION
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import Hub, HubError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.models import Wanted, ask_all

TEXTS = {"type": "list", "elements": "str", "default": []}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "models": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "repo": {"type": "str", "required": True},
                    "revision": {"type": "str", "default": "main"},
                    "allow_patterns": TEXTS,
                },
            },
            "cache_dir": CACHE_OPTION,
            "endpoint": {"type": "str", "default": "https://huggingface.co"},
            "token": {"type": "str", "default": "", "no_log": True},
            "ignore_patterns": TEXTS,
            "offline": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 20},
            "seconds": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    asked = module.params
    ignore = asked["ignore_patterns"]
    wanted = [Wanted(one["repo"], one["revision"], one["allow_patterns"], ignore) for one in asked["models"]]
    try:
        hub = None if asked["offline"] else Hub(asked["endpoint"], asked["token"].strip(), asked["timeout"], attempts=2)
    except HubError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, models=ask_all(hub, asked["cache_dir"], wanted, asked["seconds"]))


if __name__ == "__main__":
    main()
