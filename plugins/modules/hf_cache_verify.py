#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_verify
short_description: Verify a model in a Hugging Face cache by hash, and note what is right
version_added: 0.1.0
description:
  - Fails, and names the files, unless every file of the model is there, has the hub's size and hash, and is linked.
  - >-
    Notes what is right in C(.dgx-spark) below O(cache_dir), so that a file that is not touched is not read again. What
    is noted is no change.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.hf_cache
  - sparkops.dgx_spark.hf_cache.cache
  - sparkops.dgx_spark.hf_cache.known
attributes:
  check_mode:
    support: full
    details: In C(check_mode) nothing is noted.
  diff_mode:
    support: N/A
    details: The model is not changed.
  idempotent:
    support: full
options:
  hashes:
    description: >-
      Hashes of the directory that the model comes from, RV(sparkops.dgx_spark.hf_model_info#module:hashes), to note.
    type: dict
    default: {}
  tensors:
    description: What the model's weights consist of, RV(sparkops.dgx_spark.hf_model_info#module:tensors), to note.
    type: list
    elements: dict
    default: []
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the model's description from the hub
  sparkops.dgx_spark.hf_model_info:
    repo: nvidia/Qwen3-235B-A22B-FP4
  register: asked

- name: Verify the model
  sparkops.dgx_spark.hf_cache_verify:
    model: "{{ asked.model }}"
"""

RETURN = r"""
repo:
  description: The repository.
  returned: success
  type: str
  sample: nvidia/Qwen3-235B-A22B-FP4
commit:
  description: The commit.
  returned: success
  type: str
  sample: b6c1d4f3c1f2f7d1c3e0a3f9ab0d43f3f8f0c5d7
repo_dir:
  description: The repository's directory in the cache.
  returned: success
  type: str
  sample: /home/nvidia/.cache/huggingface/hub/models--nvidia--Qwen3-235B-A22B-FP4
snapshot:
  description: The directory of the commit.
  returned: success
  type: str
  sample: /data/hf/hub/models--nvidia--Qwen3-235B-A22B-FP4/snapshots/b6c1d4f3c1f2f7d1c3e0a3f9ab0d43f3f8f0c5d7
files:
  description: How many files the model has.
  returned: success
  type: int
  sample: 38
bytes:
  description: Bytes of all files.
  returned: success
  type: int
  sample: 134217728000
problems:
  description: What is wrong, a line for each file.
  returned: always
  type: list
  elements: str
  sample: []
"""

from contextlib import suppress
from socket import gethostname

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.directory import remember
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import HubError, read_model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.tensors import remember as remember_weights
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

NAMED = ("repo", "commit", "repo_dir", "snapshot", "files", "bytes")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": hf_cache.MODEL_OPTION,
            "cache_dir": hf_cache.CACHE_OPTION,
            **hf_cache.KNOWN_OPTIONS,
            "hashes": {"type": "dict", "default": {}},
            "tensors": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        model = read_model(module.params["model"])
        cache = hf_cache.Cache(module.params["cache_dir"], model.repo)
        notes = hf_cache.Notes(cache.notes)
        notes.learn(model, module.params["verified"], module.params["reread"])
        remember_weights(notes, model, module.params["tensors"])
        report = hf_cache.look(cache, model, notes)
        problems = report.problems() + hf_cache.index_errors(cache, model)
    except (HubError, hf_cache.CacheError, OSError) as exc:
        module.fail_json(msg=told(exc), problems=[])
    if not module.check_mode:
        with suppress(OSError):  # a cache that may only be read is read again
            notes.save()
            remember(cache, module.params["hashes"])
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        module.fail_json(
            msg=f"{gethostname()}: {cache.repo_dir} has not all of {model.repo} at {model.commit} as the hub has it: "
            f"{shown}. Run the role hf_cache again: it brings what is missing or wrong",
            problems=problems,
        )
    found = hf_cache.describe(cache, model, report)
    module.exit_json(changed=False, problems=[], **{name: found[name] for name in NAMED})


if __name__ == "__main__":
    main()
