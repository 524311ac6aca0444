#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_directory_take
short_description: Have a model from a directory in the Hugging Face cache
version_added: "0.1.0"
description:
  - Hard links the files that the cache lacks, or copies them where it cannot, and verifies them by hash.
  - The directory itself is not changed. Who edits a file there spoils the cache's, which the next run finds.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.hf_cache
  - sparkops.dgx_spark.hf_cache.cache
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  directory:
    description: Where the model lies, as M(sparkops.dgx_spark.hf_directory_info) described it.
    type: path
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Have the checkpoint in the cache
  sparkops.dgx_spark.hf_directory_take:
    model: "{{ asked.model }}"
    directory: /home/nvidia/quantized/Qwen3-32B-NVFP4
"""

RETURN = r"""
snapshot:
  description: The directory of the commit.
  returned: success
  type: str
  sample: /data/hf/hub/models--home--Qwen3-32B-NVFP4/snapshots/618e78a54d1cd92150df1af0dd7d6f54595ea134
done:
  description: What was done, or would be, a line each.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.directory import take
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import HubError, read_model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import progress as progress_file


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": hf_cache.MODEL_OPTION,
            "directory": {"type": "path", "required": True},
            "cache_dir": hf_cache.CACHE_OPTION,
        },
        supports_check_mode=True,
    )
    done: list[str] = []
    top = Path(module.params["directory"])
    try:
        model = read_model(module.params["model"])
        cache = hf_cache.Cache(module.params["cache_dir"], model.repo)
        notes = hf_cache.Notes(cache.notes)
        report = hf_cache.look(cache, model, notes)
        if report.to_do and not module.check_mode:
            hf_cache.make_own(cache.own)
            with progress_file.written(
                cache.progress, f"{model.repo} taken", lambda: model.size, lambda: hf_cache.bytes_there(cache, model)
            ):
                hf_cache.bring(cache, model, notes, lambda files: take(top, cache, files), 1, done)
    except (HubError, hf_cache.CacheError, OSError) as exc:
        module.fail_json(msg=str(exc), done=done)
    module.exit_json(changed=report.to_do, snapshot=str(cache.snapshot(model.commit)), done=done or report.wrong())


if __name__ == "__main__":
    main()
