#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_pull
short_description: Copy a model from another Spark's Hugging Face cache, and verify it
version_added: "0.1.0"
description:
  - Copies over several ssh streams what this cache does not hold of a model, or holds wrong, and nothing else.
  - >-
    Each file is hashed as it comes, and gets its name when its hash is right. What came before a connection broke is
    not copied again. Files that the other Spark is still downloading are waited for.
  - Files, links and refs stand as C(hf) itself puts them. The memory that the copied pages took is given back.
  - >-
    Needs the key that M(sparkops.dgx_spark.hf_copy_key) made here, and the door that
    M(sparkops.dgx_spark.hf_copy_door) opened for it to the model's C(blobs) there.
  - One runs at a time for a model and a cache; who comes second waits.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.hf_cache
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
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Copy the model from the leader
  sparkops.dgx_spark.hf_cache_pull:
    model: "{{ asked.model }}"
    address: 192.168.100.10
    user: "{{ door.user }}"
    host_keys: "{{ door.host_keys }}"
  async: 86400
  poll: 10
"""

RETURN = r"""
snapshot:
  description: The directory of the commit.
  returned: success
  type: str
  sample: /data/hf/hub/models--openai--gpt-oss-120b/snapshots/b5c939de8f754692c1647ca79fbf85e8c1e70f8a
done:
  description: What was done, or would be, a line each.
  returned: always
  type: list
  elements: str
copied_bytes:
  description: Bytes of the files that were copied, or would be.
  returned: success
  type: int
  sample: 65250000000
moved_bytes:
  description: Bytes that crossed the wire for them, without ssh's own.
  returned: when something was copied
  type: int
  sample: 65250000000
netdev:
  description: The interface by which O(address) is reached.
  returned: when something was copied
  type: str
  sample: enp1s0f0np0
carried_bytes:
  description: Bytes that each interface received meanwhile; only those that received at least a hundredth of the copy.
  returned: when something was copied
  type: dict
  sample: {"enp1s0f0np0": 65410000000}
gb_per_second:
  description: GB a second, from start to end, waiting and verification included.
  returned: when something was copied
  type: float
  sample: 1.87
bound_by:
  description:
    - What kept it from being faster.
    - >-
      V(link), V(processor) and V(disk) are this Spark's, V(hashing) its single threads; V(sender) is the other Spark,
      and the internet where it was still downloading.
  returned: when something was copied
  type: str
  sample: disk
attempts:
  description: How often the copy was started.
  returned: success
  type: int
  sample: 1
seconds:
  description: How long it took, verification included.
  returned: success
  type: float
  sample: 34.9
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import HubError, RepoFile, read_model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import progress as progress_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.copy import CopyError
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
            "model": hf_cache.MODEL_OPTION,
            "cache_dir": hf_cache.CACHE_OPTION,
            **PEER_OPTIONS,
            **BRING_OPTIONS,
        },
        supports_check_mode=True,
    )
    began, started = time.monotonic(), 0
    done: list[str] = []
    told: dict[str, Any] = {}
    try:
        model = read_model(module.params["model"])
        cache = hf_cache.Cache(module.params["cache_dir"], model.repo)
        notes = hf_cache.Notes(cache.notes)
        report = hf_cache.look(cache, model, notes)
        if report.to_do and not module.check_mode:
            netdev = netdev_towards(module.run_command, module.params["address"])
            transfer = Transfer(module.params, cache.copy)

            def fetch(files: list[RepoFile]) -> str:
                return transfer.pull(files, cache.blobs, cache.partial, notes.verify)

            with progress_file.written(
                cache.progress, f"{model.repo} copied", lambda: model.size, lambda: hf_cache.bytes_there(cache, model)
            ):
                started = hf_cache.bring(cache, model, notes, fetch, module.params["attempts"], done)
            told = transfer.figures(netdev) if transfer.moved else {}
    except (HubError, hf_cache.CacheError, CopyError, PullError, OSError) as exc:
        module.fail_json(msg=str(exc), done=done)
    module.exit_json(
        changed=report.to_do,
        snapshot=str(cache.snapshot(model.commit)),
        done=done or report.wrong(),
        copied_bytes=report.needed,
        attempts=started,
        seconds=round(time.monotonic() - began, 1),
        **told,
    )


if __name__ == "__main__":
    main()
