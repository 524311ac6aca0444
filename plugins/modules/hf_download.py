#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_download
short_description: Download a model at its commit with hf, and verify it
version_added: "0.1.0"
description:
  - Has C(hf download) fetch what the cache does not hold of a model, or holds wrong, and nothing else.
  - >-
    Verifies by hash what came, which C(hf) does not, and has it fetched again if it is wrong or the connection broke.
    Wrong files are removed first.
  - Notes the revision's commit (C(refs/main)) where nothing is noted.
  - One runs at a time for a model and a cache; who comes second waits.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.hf_cache
  - sparkops.dgx_spark.hf_cache.cache
  - sparkops.dgx_spark.hf_cache.hub
  - sparkops.dgx_spark.hf_cache.bring
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  executable:
    description: The C(hf) program. Needed only if there is something to download.
    type: path
    default: hf
  proxy:
    description: An HTTP proxy for C(hf), such as V(http://proxy:3128). Empty for what the host itself has set.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Ask the hub
  sparkops.dgx_spark.hf_repo_info:
    repo: openai/gpt-oss-120b
  register: asked

- name: Download the model
  sparkops.dgx_spark.hf_download:
    model: "{{ asked.model }}"
    executable: /opt/dgx-spark-hf/bin/hf
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
downloaded_bytes:
  description: Bytes of the files that were downloaded, or would be.
  returned: success
  type: int
  sample: 65250000000
attempts:
  description: How often C(hf) was started.
  returned: success
  type: int
  sample: 1
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 1042.7
"""

import shutil
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.client import child_environment, failure, hf_argv
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import HubError, Model, RepoFile, read_model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import progress as progress_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.child import run_while_moving
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.transfer import BRING_OPTIONS


def download(module: AnsibleModule, cache: hf_cache.Cache, model: Model, files: list[RepoFile]) -> str:
    """Start hf once. Returns why it failed, or nothing; fails where it would fail again."""
    asked = module.params
    program = module.get_bin_path(asked["executable"])
    if program is None:
        module.fail_json(
            msg=f"{asked['executable']} is not there: install huggingface_hub, or name its hf (executable)"
        )
    home = hf_cache.make_own(
        cache.own / "hf"
    )  # what hf writes beside the cache: settings, logs; never the user's token
    try:
        rc, said = run_while_moving(
            hf_argv(program, cache.repo, model.commit, cache.hub, files),
            child_environment(home, asked["endpoint"], asked["token"].strip(), asked["proxy"]),
            lambda: hf_cache.bytes_there(cache, model),
            asked["stall_seconds"],
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if rc == 0:
        return ""
    if rc is None:
        return f"hf brought nothing for {asked['stall_seconds']} s"
    reason, final = failure(said)
    if final:
        module.fail_json(msg=f"hf could not download {cache.repo}: {reason}", rc=rc)
    return reason


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": hf_cache.MODEL_OPTION,
            "cache_dir": hf_cache.CACHE_OPTION,
            "executable": {"type": "path", "default": "hf"},
            "endpoint": {"type": "str", "default": "https://huggingface.co"},
            "token": {"type": "str", "default": "", "no_log": True},
            "proxy": {"type": "str", "default": ""},
            **BRING_OPTIONS,
        },
        supports_check_mode=True,
    )
    began, started = time.monotonic(), 0
    done: list[str] = []
    try:
        model = read_model(module.params["model"])
        cache = hf_cache.Cache(module.params["cache_dir"], model.repo)
        notes = hf_cache.Notes(cache.notes)
        report = hf_cache.look(cache, model, notes)
        if report.to_do and not module.check_mode:
            hf_cache.make_own(cache.own)
            with progress_file.written(
                cache.progress,
                f"{model.repo} downloaded",
                lambda: model.size,
                lambda: hf_cache.bytes_there(cache, model),
            ):
                started = hf_cache.bring(
                    cache,
                    model,
                    notes,
                    lambda files: download(module, cache, model, files),
                    module.params["attempts"],
                    done,
                )
    except (HubError, hf_cache.CacheError, OSError) as exc:
        module.fail_json(msg=str(exc), done=done)
    module.exit_json(
        changed=report.to_do,
        snapshot=str(cache.snapshot(model.commit)),
        done=done or report.wrong(),
        downloaded_bytes=report.needed,
        attempts=started,
        seconds=round(time.monotonic() - began, 1),
    )


if __name__ == "__main__":
    main()
