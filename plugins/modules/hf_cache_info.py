#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_info
short_description: Tell what a Hugging Face cache has of a model, or which models it has
version_added: 0.1.0
description:
  - >-
    With O(model), compares what a cache has with what the hub tells of the model: every file there, its size, its
    SHA-256 or git's SHA-1, its link in the snapshot.
  - >-
    Tells as well what is in the way of a download or a copy, how much room there is, whether the hf client is there,
    and what an interrupted copy left.
  - Without O(model), lists the models that the cache has, with their sizes on disk.
  - With O(beside), tells the same of further models, such as the draft model of speculative decoding.
  - >-
    Changes nothing, and notes nothing: M(sparkops.dgx_spark.hf_cache_verify) notes what this module found right, so
    that the files need not be read again.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.hf_cache.cache
  - sparkops.dgx_spark.hf_cache.hints
  - sparkops.dgx_spark.hf_cache.optional
  - sparkops.dgx_spark.hf_cache.beside
options:
  read:
    description:
      - Which files are read. A file that was noted as right and has not been touched since need not be read.
      - V(none) reads no file; one that is not noted then counts as unread. V(new) reads these. V(all) reads every file.
    type: str
    choices: [none, new, all]
    default: new
  tool_dir:
    description: Where the hf client is to be installed. Without this option, RV(tool_version) is empty.
    type: path
  packages:
    description: Debian packages of which RV(missing_packages) tells which are not installed.
    type: list
    elements: str
    default: []
  copy_dir:
    description: O(sparkops.dgx_spark.peer_copy_key#module:dir) of copies of the model.
    type: path
    default: ~/.dgx-spark
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the model's description from the hub
  sparkops.dgx_spark.hf_model_info:
    repo: nvidia/Qwen3-235B-A22B-FP4
  register: asked

- name: Read what the cache has of the model
  sparkops.dgx_spark.hf_cache_info:
    model: "{{ asked.model }}"
  register: found

- name: List the cached models
  sparkops.dgx_spark.hf_cache_info:
  register: cached
"""

RETURN = r"""
models:
  description: The repositories in the cache, the largest first.
  returned: without O(model)
  type: list
  elements: dict
  contains:
    repo:
      description: The repository.
      type: str
      sample: openai/gpt-oss-120b
    repo_dir:
      description: Its directory.
      type: str
      sample: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-120b
    bytes:
      description: Bytes on disk, of all its revisions.
      type: int
      sample: 65250000000
    commits:
      description: The revisions that are there.
      type: list
      elements: str
    last_used:
      description: When a file was last read or written, in seconds since the epoch, as far as the file system notes it.
      type: float
    noted:
      description: Whether this collection brought or verified the model.
      type: bool
    busy:
      description: Whether a download or a copy of the model runs.
      type: bool
repo:
  description: The repository.
  returned: with O(model)
  type: str
  sample: nvidia/Qwen3-235B-A22B-FP4
commit:
  description: The commit.
  returned: with O(model)
  type: str
  sample: b6c1d4f3c1f2f7d1c3e0a3f9ab0d43f3f8f0c5d7
repo_dir:
  description: The repository's directory in the cache, there or not.
  returned: with O(model)
  type: str
  sample: /home/nvidia/.cache/huggingface/hub/models--nvidia--Qwen3-235B-A22B-FP4
snapshot:
  description: The directory of the commit, there or not.
  returned: with O(model)
  type: str
  sample: /data/hf/hub/models--nvidia--Qwen3-235B-A22B-FP4/snapshots/b6c1d4f3c1f2f7d1c3e0a3f9ab0d43f3f8f0c5d7
files:
  description: How many files the model has.
  returned: with O(model)
  type: int
  sample: 38
bytes:
  description: Bytes of all files.
  returned: with O(model)
  type: int
  sample: 134217728000
complete:
  description: Whether every file is there, right and linked.
  returned: with O(model)
  type: bool
  sample: true
to_do:
  description: Whether a download or a copy would change anything; not so if RV(complete), the
    revision is noted and RV(over_listed) is empty.
  returned: with O(model)
  type: bool
  sample: false
ref_missing:
  description: Whether the cache lacks the file that notes the revision's commit.
  returned: with O(model)
  type: bool
  sample: false
over_listed:
  description:
    - Files that C(hf) noted of the repository (C(trees/<commit>.json)), and that are neither wanted nor there.
    - While it does, huggingface_hub from 1.24 on refuses the snapshot offline. A download or a link removes the list.
  returned: with O(model)
  type: list
  elements: str
  sample: []
progress:
  description: The file that tells how far a download or a copy is; for M(sparkops.dgx_spark.async_follow).
  returned: with O(model)
  type: str
  sample: /home/nvidia/.cache/huggingface/.dgx-spark/models--openai--gpt-oss-120b.progress
missing:
  description: Files whose content is not there.
  returned: with O(model)
  type: list
  elements: str
corrupt:
  description: Files whose size or hash is wrong.
  returned: with O(model)
  type: list
  elements: str
unlinked:
  description: Files whose content is right, and not where it belongs.
  returned: with O(model)
  type: list
  elements: str
unread:
  description: Files that O(read=none) left unread.
  returned: with O(model)
  type: list
  elements: str
problems:
  description: What is wrong, a line for each file.
  returned: with O(model)
  type: list
  elements: str
  sample: ["config.json: is missing"]
index_problems:
  description: Where the index of the weights names files that the model does not have.
  returned: with O(model)
  type: list
  elements: str
needed_bytes:
  description: Bytes that a download or a copy would have to bring.
  returned: with O(model)
  type: int
  sample: 0
unread_bytes:
  description: Bytes of the files in RV(unread).
  returned: with O(model)
  type: int
  sample: 0
free_bytes:
  description: Bytes that this user can still write there, with the bytes that wrong files take now.
  returned: with O(model)
  type: int
  sample: 3400000000000
filesystem:
  description: >-
    The filesystem of the cache: C(device), by which two directories are known to share their room, C(mount), and
    C(free_bytes), without those that wrong files take now.
  returned: with O(model)
  type: dict
  sample: {"device": 66306, "mount": "/", "free_bytes": 3400000000000}
obstacles:
  description: What keeps this user from writing to the cache, with the mend; empty if nothing does.
  returned: with O(model)
  type: list
  elements: str
verified:
  description: What tells whether a file was touched, for each file that is right, by its hash.
  returned: with O(model)
  type: dict
noted:
  description: Whether all of RV(verified) is noted already; for M(sparkops.dgx_spark.hf_cache_verify).
  returned: with O(model)
  type: bool
  sample: true
tool_version:
  description: The version of huggingface_hub in O(tool_dir), empty if there is none.
  returned: with O(model)
  type: str
  sample: 2.4.0
missing_packages:
  description: Which of O(packages) are not installed.
  returned: with O(model)
  type: list
  elements: str
unavailable_packages:
  description: Which of RV(missing_packages) are in no package source that this host has lists of.
  returned: with O(model)
  type: list
  elements: str
left_behind:
  description: Whether an interrupted copy of the model left its C(key) or an C(authorized_key) on this host.
  returned: with O(model)
  type: dict
  sample: {"authorized_key": false, "key": false}
beside:
  description: >-
    Of each model of O(beside), in that order, what is returned of the model itself, from RV(repo) to RV(noted), and
    RV(left_behind).
  returned: with O(model)
  type: list
  elements: dict
"""

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import (
    HINTS_OPTION,
    HubError,
    explain,
    read_model,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import FORMAT, installed, unavailable
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import filesystem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import (
    DIR_OPTION,
    CopyError,
    left_behind,
)

_DIST_INFO = "lib/*/*/huggingface_hub-*.dist-info"


def tool_version(folder: Path | None) -> str:
    """Return the version of huggingface_hub in a Python environment that has an hf program."""
    if folder is None or not (folder / "bin" / "hf").exists():
        return ""
    found = [re.search(r"-([^-]+)\.dist-info$", str(path)) for path in folder.glob(_DIST_INFO)]
    return next((match[1] for match in found if match), "")


def missing_packages(module: AnsibleModule, packages: list[str]) -> list[str]:
    """Return the packages that dpkg does not have installed."""
    if not packages:
        return []
    show = ["dpkg-query", "-W", "-f", FORMAT, *packages]
    there = installed(module.run_command(show)[1])  # the exit status tells that some are unknown
    return [name for name in packages if name not in there]


def look(module: AnsibleModule) -> dict[str, Any]:
    """Return what the cache has of the model, and of those beside it."""
    asked = module.params
    missing = missing_packages(module, asked["packages"])
    return {
        **look_at(asked, asked["model"]),
        "tool_version": tool_version(asked["tool_dir"] and Path(asked["tool_dir"])),
        "missing_packages": missing,
        "unavailable_packages": unavailable(lambda argv: module.run_command(list(argv))[:2], missing),
        "beside": [look_at(asked, one) for one in asked["beside"]],
    }


def look_at(asked: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """Return what the cache has of one model."""
    model = read_model(about)
    cache = hf_cache.Cache(asked["cache_dir"], model.repo)
    notes = hf_cache.Notes(cache.notes)
    before = dict(notes.verified)
    report = hf_cache.look(cache, model, notes, asked["read"])
    return {
        **hf_cache.describe(cache, model, report),
        "problems": report.problems(),
        "index_problems": hf_cache.index_errors(cache, model),
        "free_bytes": hf_cache.free_bytes(cache) + report.reclaimable,
        "filesystem": filesystem(cache.repo_dir),
        "obstacles": hf_cache.obstacles(cache, asked["hints"].get("cache_dir", "cache_dir"), model),
        "verified": report.stamps,
        "noted": all(before.get(blob) == stamp for blob, stamp in report.stamps.items()),
        "left_behind": left_behind(asked["copy_dir"], model.repo),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": {**hf_cache.MODEL_OPTION, "required": False},
            "beside": hf_cache.BESIDE_OPTION,
            "cache_dir": hf_cache.CACHE_OPTION,
            "read": {"type": "str", "choices": ["none", "new", "all"], "default": "new"},
            "tool_dir": {"type": "path"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "copy_dir": DIR_OPTION,
            "hints": HINTS_OPTION,
        },
        supports_check_mode=True,
    )
    try:
        found = look(module) if module.params["model"] else {"models": hf_cache.list_models(module.params["cache_dir"])}
    except (HubError, hf_cache.CacheError, CopyError) as exc:
        module.fail_json(msg=explain(exc, module.params["hints"]))
    except OSError as exc:
        module.fail_json(msg=f"the cache {module.params['cache_dir']} cannot be read: {told(exc)}")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
