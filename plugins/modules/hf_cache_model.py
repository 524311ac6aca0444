#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_model
short_description: Bring a model into a Hugging Face cache, and verify each file
version_added: 0.1.0
description:
  - Brings what the cache lacks of a model, or has wrong, and nothing else. Wrong files are removed first.
  - >-
    From the hub, C(hf download) fetches the files: by Xet where the hub offers that, and from the second attempt on by
    plain HTTP. The rest of a file of which a C(hf) that was ended has left a part is asked of the hub first. What came
    is verified by hash, which C(hf) does not do, and fetched again if it is wrong or the
    connection broke. While bytes come from the network C(hf) is not ended, even if none of them reaches the disk.
  - >-
    From a directory on this host, the files are hard linked, or copied where they cannot be linked. The directory
    itself is not changed. An edit of a file there changes the cached file too, which the next run finds.
  - >-
    From another Spark's cache, the files are copied over several ssh streams, each hashed as it comes. What came before
    a connection broke is not copied again. Files that the other Spark is still downloading are waited for, as long as
    its own module runs. Needs
    M(sparkops.dgx_spark.peer_copy_key) and M(sparkops.dgx_spark.peer_copy_connection) here, and
    M(sparkops.dgx_spark.peer_copy_access) to the model's C(blobs) there.
  - Files, links and refs stand as C(hf) itself puts them. The memory that the pages took is released.
  - One module runs at a time for a model and a cache; another one waits.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.hf_cache
  - sparkops.dgx_spark.hf_cache.cache
  - sparkops.dgx_spark.hf_cache.hub
  - sparkops.dgx_spark.hf_cache.known
  - sparkops.dgx_spark.peer_copy.attempts
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  source:
    description:
      - Where the files come from.
      - V(cache) brings nothing, and fails where content is missing; it links what the cache has.
    type: str
    choices: [hub, directory, peer, cache]
    required: true
  executable:
    description: The C(hf) program, for O(source=hub). Needed only if there is something to download.
    type: path
    default: hf
  proxy:
    description: An HTTP proxy for C(hf), such as V(http://proxy:3128). Empty for what the host itself has set.
    type: str
    default: ""
  directory:
    description: >-
      Where the model is, as M(sparkops.dgx_spark.hf_model_info) described it. Required for O(source=directory).
    type: path
  copy_dir:
    description: >-
      For O(source=peer), O(sparkops.dgx_spark.peer_copy_key#module:dir) of the copy that is named as the repository.
    type: path
    default: ~/.dgx-spark
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the model's description from the hub
  sparkops.dgx_spark.hf_model_info:
    repo: openai/gpt-oss-120b
  register: asked

- name: Download the model
  sparkops.dgx_spark.hf_cache_model:
    model: "{{ asked.model }}"
    source: hub
    executable: /opt/dgx-spark-hf/bin/hf
  async: 86400
  poll: 10

- name: Copy the model from the Spark that peer_copy_connection named
  sparkops.dgx_spark.hf_cache_model:
    model: "{{ asked.model }}"
    source: peer
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
brought_bytes:
  description: Bytes of the files that were brought, or would be.
  returned: success
  type: int
  sample: 65250000000
attempts:
  description: How often the transfer was started.
  returned: success
  type: int
  sample: 1
seconds:
  description: How long the transfer took, verification included.
  returned: success
  type: float
  sample: 1042.7
moved_bytes:
  description: Bytes that crossed the wire for the files, without ssh's own.
  returned: O(source=peer), when something was copied
  type: int
  sample: 65250000000
address:
  description: Where the other Spark was reached.
  returned: O(source=peer), when something was copied
  type: str
  sample: 192.168.100.10
netdev:
  description: The interface by which RV(address) is reached.
  returned: O(source=peer), when something was copied
  type: str
  sample: enp1s0f0np0
carried_bytes:
  description: Bytes that each interface received meanwhile, if at least a hundredth of the copy.
  returned: O(source=peer), when something was copied
  type: dict
  sample: {"enp1s0f0np0": 65410000000}
gb_per_second:
  description: GB a second, from start to end, waiting and verification included.
  returned: O(source=peer), when something was copied
  type: float
  sample: 1.87
bound_by:
  description:
    - What kept the copy from being faster.
    - >-
      V(link), V(processor) and V(disk) are this Spark's, V(hashing) its single threads; V(sender) is the other Spark,
      and the internet where that Spark was still downloading.
  returned: O(source=peer), when something was copied
  type: str
  sample: disk
"""

import itertools
import shutil
import time
from pathlib import Path
from typing import Any, Callable, List

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import resume
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.client import child_environment, failure, hf_argv
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.directory import take
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import HubError, Model, read_model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import progress as progress_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.child import run_while_moving
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, make_private_directory
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import DIR_OPTION, CopyError, Place
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.counters import netdev_towards
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.pull import PullError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.transfer import ATTEMPT_OPTIONS, Transfer

#: brings some files; returns why that failed, or an empty string
Fetch = Callable[[List[HashedFile]], str]
DONE_BY = {"hub": "downloaded", "directory": "taken", "peer": "copied", "cache": "linked"}


def download(
    module: AnsibleModule,
    cache: hf_cache.Cache,
    model: Model,
    notes: hf_cache.Notes,
    files: list[HashedFile],
    xet: bool,
) -> str:
    """Complete what an earlier hf has left, and start hf once for the rest.

    Return why that failed, or an empty string; fail where hf would fail again.
    """
    asked = module.params
    hub = resume.Source(asked["endpoint"], asked["token"].strip(), asked["proxy"], asked["stall_seconds"])
    files, broken = resume.complete(cache, model, files, hub, notes.verify)
    if broken or not files:
        return broken
    program = module.get_bin_path(asked["executable"])
    if program is None:
        module.fail_json(
            msg=f"{asked['executable']} is not there: install huggingface_hub, or name its hf (executable)", done=[]
        )
    home = make_private_directory(cache.hf_home)  # never the user's, who may have saved a token there
    try:
        rc, output = run_while_moving(
            hf_argv(program, cache.repo, model.commit, cache.hub, files),
            child_environment(home, asked["endpoint"], asked["token"].strip(), asked["proxy"], xet),
            lambda: hf_cache.bytes_there(cache, model),
            asked["stall_seconds"],
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if rc == 0:
        return ""
    if rc is None:
        return f"hf brought nothing for {asked['stall_seconds']} s{' by Xet' if xet else ''}"
    reason, final = failure(output)
    if final:
        module.fail_json(msg=f"hf could not download {cache.repo}: {reason}", rc=rc, done=[])
    return reason


def source_of(
    module: AnsibleModule, cache: hf_cache.Cache, model: Model, notes: hf_cache.Notes
) -> tuple[Fetch, Callable[[], dict[str, Any]]]:
    """Return what brings files, and what tells the figures of that afterwards."""
    asked = module.params
    if asked["source"] == "peer":
        transfer = Transfer(Place(asked["copy_dir"], model.repo), asked["stall_seconds"])
        return (
            lambda files: transfer.pull(files, cache.blobs, cache.partial, notes.verify),
            lambda: transfer.figures(netdev_towards(module.run_command, transfer.address)),
        )
    if asked["source"] == "directory":
        return lambda files: take(Path(asked["directory"]), cache, files), dict
    if asked["source"] == "cache":
        return lambda files: f"{cache.blobs} lacks {', '.join(file.path for file in files[:5])}", dict
    attempts = itertools.count()
    # What hangs in Xet would hang there again.
    return lambda files: download(module, cache, model, notes, files, xet=next(attempts) == 0), dict


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": hf_cache.MODEL_OPTION,
            "cache_dir": hf_cache.CACHE_OPTION,
            "source": {"type": "str", "choices": ["hub", "directory", "peer", "cache"], "required": True},
            "executable": {"type": "path", "default": "hf"},
            "endpoint": {"type": "str", "default": "https://huggingface.co"},
            "token": {"type": "str", "default": "", "no_log": True},
            "proxy": {"type": "str", "default": ""},
            "directory": {"type": "path"},
            "copy_dir": DIR_OPTION,
            **hf_cache.KNOWN_OPTIONS,
            **ATTEMPT_OPTIONS,
        },
        required_if=[("source", "directory", ["directory"])],
        supports_check_mode=True,
    )
    asked, began, started = module.params, time.monotonic(), 0
    done: list[str] = []
    figures: dict[str, Any] = {}
    attempts = asked["attempts"] if asked["source"] in ("hub", "peer") else 1  # what is on this disk does not change
    try:
        model = read_model(asked["model"])
        cache = hf_cache.Cache(asked["cache_dir"], model.repo)
        notes = hf_cache.Notes(cache.notes)
        notes.learn(model, asked["verified"], asked["reread"])
        report = hf_cache.look(cache, model, notes)
        if report.to_do and not module.check_mode:
            make_private_directory(cache.own)
            notes.save()  # the next process that brings files reads these notes
            fetch, tell = source_of(module, cache, model, notes)
            what = f"{model.repo} {DONE_BY[asked['source']]}"
            with progress_file.written(
                cache.progress, what, lambda: model.size, lambda: hf_cache.bytes_there(cache, model)
            ):
                started = hf_cache.bring(cache, model, notes, fetch, attempts, done)
            figures = tell()
            if started:  # for who asks how long another model will take
                seconds = round(time.monotonic() - began, 1)
                notes.rates[asked["source"]] = {"bytes": report.needed, "seconds": seconds, "at": round(time.time())}
                notes.save()
    except (HubError, hf_cache.CacheError, CopyError, PullError, FileError, OSError) as exc:
        module.fail_json(msg=told(exc), done=done)
    module.exit_json(
        changed=report.to_do,
        snapshot=str(cache.snapshot(model.commit)),
        done=done or report.problems(),
        brought_bytes=report.needed,
        attempts=started,
        seconds=round(time.monotonic() - began, 1),
        **figures,
    )


if __name__ == "__main__":
    main()
