#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_info
short_description: Verify a model in a Hugging Face cache, by hash
version_added: "0.1.0"
description:
  - >-
    Compares what a cache holds of a model with what the hub says of it: every file there, its size, its SHA-256 or
    git's SHA-1, its link in the snapshot.
  - Tells as well what is in the way of a download or a copy, and how much room there is for one.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.hf_cache
  - sparkops.dgx_spark.hf_cache.cache
attributes:
  check_mode:
    details: >-
      This module changes nothing in the cache. Outside of C(check_mode) it notes what it found right in C(.dgx-spark)
      below O(cache_dir), so that a file that was not touched since is not read again.
options:
  force:
    description: Read every file, whatever was noted before.
    type: bool
    default: false
  must_be_complete:
    description: Fail, and name the files, where any is missing or wrong.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Ask the hub
  sparkops.dgx_spark.hf_repo_info:
    repo: nvidia/Qwen3-235B-A22B-FP4
  register: asked

- name: Every file is there and right
  sparkops.dgx_spark.hf_cache_info:
    model: "{{ asked.model }}"
    must_be_complete: true
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
  description: The repository's directory in the cache, there or not.
  returned: success
  type: str
  sample: /home/nvidia/.cache/huggingface/hub/models--nvidia--Qwen3-235B-A22B-FP4
snapshot:
  description: The directory of the commit, there or not.
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
complete:
  description: Whether every file is there, right and linked.
  returned: success
  type: bool
  sample: true
to_do:
  description: Whether a download or a copy would change anything; not so if RV(complete) and the revision is noted.
  returned: success
  type: bool
  sample: false
interrupted:
  description: Whether a copy to this cache was interrupted, and has left its key.
  returned: success
  type: bool
  sample: false
progress:
  description: The file that says how far a download or a copy is, while one runs; for M(sparkops.dgx_spark.hf_follow).
  returned: success
  type: str
  sample: /home/nvidia/.cache/huggingface/.dgx-spark/models--openai--gpt-oss-120b.progress
missing:
  description: Files whose content is not there.
  returned: success
  type: list
  elements: str
corrupt:
  description: Files whose size or hash is wrong.
  returned: success
  type: list
  elements: str
unlinked:
  description: Files whose content is right, and not where it belongs.
  returned: success
  type: list
  elements: str
wrong:
  description: The same in words, a line for each file.
  returned: always
  type: list
  elements: str
  sample: ["config.json: is missing"]
needed_bytes:
  description: Bytes that a download or a copy would have to bring.
  returned: success
  type: int
  sample: 0
free_bytes:
  description: Bytes that this user can still write there, with those that wrong files take now.
  returned: success
  type: int
  sample: 3400000000000
obstacles:
  description: What keeps this user from writing to the cache, with the mend; empty if nothing does.
  returned: success
  type: list
  elements: str
"""

from contextlib import suppress
from socket import gethostname

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import (
    CACHE_OPTION,
    MODEL_OPTION,
    Cache,
    CacheError,
    Notes,
    describe,
    free_bytes,
    index_errors,
    look,
    obstacles,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import HubError, read_model


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": MODEL_OPTION,
            "cache_dir": CACHE_OPTION,
            "force": {"type": "bool", "default": False},
            "must_be_complete": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        model = read_model(module.params["model"])
        cache = Cache(module.params["cache_dir"], model.repo)
        notes = Notes(cache.notes)
        report = look(cache, model, notes, module.params["force"])
        told = {"obstacles": obstacles(cache), "free_bytes": free_bytes(cache) + report.reclaimable}
    except (HubError, CacheError, OSError) as exc:
        module.fail_json(msg=str(exc), wrong=[])
    if not module.check_mode:
        with suppress(OSError):  # a cache that may only be read is read again
            notes.save()
    wrong = report.wrong() + index_errors(cache, model)
    if wrong and module.params["must_be_complete"]:
        shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        module.fail_json(
            msg=f"{gethostname()}: {cache.repo_dir} has not all of {model.repo} at {model.commit} as the hub has it: "
            f"{shown}. "
            "Run the role hf_cache again: it brings what is missing or wrong",
            wrong=wrong,
        )
    module.exit_json(changed=False, needed_bytes=report.needed, wrong=wrong, **told, **describe(cache, model, report))


if __name__ == "__main__":
    main()
