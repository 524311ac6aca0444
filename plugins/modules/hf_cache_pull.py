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
  - Copies by rsync over ssh what this cache does not hold of a model, or holds wrong, and nothing else.
  - Verifies by hash what came. Wrong files are removed first. Files, links and refs stand as C(hf) itself puts them.
  - >-
    Needs the key that M(sparkops.dgx_spark.hf_copy_key) made here, and the door that
    M(sparkops.dgx_spark.hf_copy_door) opened for it there.
  - One runs at a time for a model and a cache; who comes second waits.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.hf_cache
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  address:
    description: Where the other Spark is reached, best an address on the fabric.
    type: str
    required: true
  port:
    description: Its ssh port.
    type: int
    default: 22
  user:
    description: The owner of the cache there.
    type: str
    required: true
  host_keys:
    description: The ssh host keys of the other Spark. No other is spoken to.
    type: list
    elements: str
    required: true
  attempts:
    description: How often rsync is started before it is given up.
    type: int
    default: 4
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
attempts:
  description: How often rsync was started.
  returned: success
  type: int
  sample: 1
seconds:
  description: How long it took, verification included.
  returned: success
  type: float
  sample: 182.4
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf_cache import (
    CACHE_OPTION,
    MODEL_OPTION,
    Cache,
    CacheError,
    Notes,
    bring,
    look,
    make_own,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf_copy import (
    CopyError,
    failure,
    known_hosts,
    rsync_argv,
    ssh_command,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf_hub import HubError, RepoFile, read_model


def copy(module: AnsibleModule, cache: Cache, files: list[RepoFile]) -> str:
    """Start rsync once. Returns why it failed, or nothing; fails where it would fail again."""
    asked, own = module.params, cache.copy
    program = module.get_bin_path("rsync")
    if program is None:
        module.fail_json(msg="rsync is not there: install it (sudo apt-get install rsync)")
    hosts = own / "known_hosts"
    make_own(own)
    hosts.write_text(known_hosts(asked["host_keys"]), encoding="utf-8")
    shell = ssh_command(own / "id_ed25519", hosts, asked["port"])
    names = "".join(f"blobs/{blob}\n" for blob in dict.fromkeys(file.blob for file in files))
    cache.blobs.mkdir(parents=True, exist_ok=True)
    argv = rsync_argv(program, shell, asked["user"], asked["address"], cache.repo_dir)
    rc, out, err = module.run_command(argv, data=names.encode(), binary_data=True, environ_update={"LC_ALL": "C"})
    if rc == 0:
        return ""
    reason, final = failure(rc, err + out, asked["address"])
    if final:
        module.fail_json(msg=f"{cache.repo} could not be copied: {reason}", rc=rc, done=[])
    return reason


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": MODEL_OPTION,
            "cache_dir": CACHE_OPTION,
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 22},
            "user": {"type": "str", "required": True},
            "host_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "attempts": {"type": "int", "default": 4},
        },
        supports_check_mode=True,
    )
    began, started, done = time.monotonic(), 0, []
    try:
        model = read_model(module.params["model"])
        cache = Cache(module.params["cache_dir"], model.repo)
        notes = Notes(cache.notes)
        report = look(cache, model, notes)
        if report.to_do and not module.check_mode:
            attempts = module.params["attempts"]
            started = bring(cache, model, notes, lambda files: copy(module, cache, files), attempts, done)
    except (HubError, CacheError, CopyError, OSError) as exc:
        module.fail_json(msg=str(exc), done=done)
    module.exit_json(
        changed=report.to_do,
        snapshot=str(cache.snapshot(model.commit)),
        done=done or report.wrong(),
        copied_bytes=report.needed,
        attempts=started,
        seconds=round(time.monotonic() - began, 1),
    )


if __name__ == "__main__":
    main()
