#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_model_info
short_description: Read a model's commit, files and config.json from the Hugging Face hub or a directory
version_added: 0.1.0
description:
  - From the hub, resolves a branch or a tag to its commit, and lists the commit's files with their sizes and hashes.
  - >-
    From a directory, lists its files with sizes and hashes, as if a hub had the model. Hidden files and directories are
    left out. What M(sparkops.dgx_spark.hf_cache_verify) noted earlier, and was not touched since, is not read.
  - Reads the model's C(config.json), a few KB, from O(cache_dir) if the right one is there, else from the source.
  - >-
    Reads the headers of the C(*.safetensors) files, which tell the weights' types and bytes, from O(cache_dir) or
    O(directory) where the files are, else from the hub by HTTP ranges: some KB to some MB of each file.
  - >-
    Describes further models from the hub, O(beside), such as the draft model of speculative decoding. Where the model
    itself comes from a directory and no hub can be reached, one that the cache has whole is described from the cache.
  - >-
    Fails where the files may not be had, with the page to open or the option to set in its message, for instance for an
    unknown repository or revision, a gated model, a bad token, or a hub that does not answer.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.hf_cache.cache
  - sparkops.dgx_spark.hf_cache.hints
  - sparkops.dgx_spark.hf_cache.hub
  - sparkops.dgx_spark.hf_cache.patterns
options:
  repo:
    description: The model's repository, C(organisation/name); of a model in a directory, what the cache is to call it.
    type: str
    required: true
  source:
    description: Where the model comes from.
    type: str
    choices: [hub, directory]
    default: hub
  revision:
    description: A branch, a tag, or a commit of 40 hexadecimal digits on the hub.
    type: str
    default: main
  directory:
    description: The directory that holds the model, with a C(config.json). Required for O(source=directory).
    type: path
  read:
    description:
      - Whether files of O(directory) may be read that were not noted, which takes minutes for a large model.
      - With V(false), RV(model) is empty where there are such files.
    type: bool
    default: true
  beside:
    description:
      - Further models of the hub that are used with this one. Each repository stands here once, and is not O(repo).
      - O(endpoint) and O(token) are theirs too.
    type: list
    elements: dict
    default: []
    suboptions:
      repo:
        description: The repository, C(organisation/name).
        type: str
        required: true
      revision:
        description: A branch, a tag, or a commit of 40 hexadecimal digits.
        type: str
        default: main
      allow_patterns:
        description: As O(allow_patterns), for this model.
        type: list
        elements: str
        default: []
      ignore_patterns:
        description: As O(ignore_patterns), for this model. Without this option, these are meant.
        type: list
        elements: str
  timeout:
    description: Seconds to wait for each answer of the hub.
    type: int
    default: 20
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the model's description from the hub
  sparkops.dgx_spark.hf_model_info:
    repo: nvidia/Qwen3-235B-A22B-FP4
    token: "{{ spark_hf_token }}"
  register: asked

- name: Read what the hub tells of a model and of its draft model
  sparkops.dgx_spark.hf_model_info:
    repo: nvidia/Llama-3.3-70B-Instruct-FP4
    beside:
      - repo: nvidia/Llama-3.3-70B-Instruct-Eagle3
  register: pair

- name: Show the model's size
  ansible.builtin.debug:
    msg: "{{ asked.model.commit }}: {{ (asked.bytes / 1e9) | round(1) }} GB, {{ asked.config.architectures }}"

- name: Describe a checkpoint that was made on this host
  sparkops.dgx_spark.hf_model_info:
    repo: home/Qwen3-32B-NVFP4
    source: directory
    directory: /home/nvidia/quantized/Qwen3-32B-NVFP4
"""

RETURN = r"""
model:
  description:
    - The model at its commit; what other modules take as O(sparkops.dgx_spark.hf_cache_info#module:model).
    - The commit of a directory stands for all its paths and contents.
    - Empty where O(read=false) left files of the directory unread.
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
      description: The revision that was asked for, V(local) for a directory.
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
          description: SHA-256 of a file that the hub keeps outside of git (LFS), or that is in a directory, else null.
          type: str
        git_sha1:
          description: What git calls a file that the hub keeps in git, else null.
          type: str
config:
  description: The model's parsed C(config.json), empty where the model has none.
  returned: success
  type: dict
  sample: {"architectures": ["Qwen3MoeForCausalLM"], "num_attention_heads": 64}
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
linkable:
  description: Whether the cache is on the directory's file system, so that the cache needs no room for the files.
  returned: success
  type: bool
  sample: true
unread_bytes:
  description: Bytes of the directory's files that O(read=false) left unread.
  returned: success
  type: int
  sample: 0
hashes:
  description: The hashes of the directory's files, with what tells whether a file was touched, by path.
  returned: success
  type: dict
tensors:
  description:
    - What the weights consist of. Tensors whose names differ in numbers alone make one row.
    - Empty where RV(tensors_problem) is not.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name, with an asterisk for each component that is a number.
      type: str
      sample: model.layers.*.mlp.experts.*.down_proj.weight
    dtype:
      description: The type of the elements, as safetensors calls it.
      type: str
      sample: U8
    count:
      description: How many tensors these are.
      type: int
      sample: 12032
    bytes:
      description: Bytes of all of these tensors.
      type: int
      sample: 37849399296
tensors_problem:
  description: Why RV(tensors) could not be had; empty where RV(tensors) was.
  returned: success
  type: str
  sample: ""
noted:
  description: Whether RV(hashes) and RV(tensors) are noted already; for M(sparkops.dgx_spark.hf_cache_verify).
  returned: success
  type: bool
  sample: true
beside:
  description: Of each model of O(beside), in that order, what is returned of the model itself.
  returned: success
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import directory as hf_directory
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import CACHE_OPTION, Cache, config_in
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import (
    HINTS_OPTION,
    PATTERN_OPTIONS,
    Hub,
    HubError,
    Model,
    UnreachableError,
    check_names,
    chosen,
    explain,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.models import Wanted, whole_in_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.tensors import Weights, weights_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

BESIDE_OPTION = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "repo": {"type": "str", "required": True},
        "revision": {"type": "str", "default": "main"},
        "allow_patterns": {"type": "list", "elements": "str", "default": []},
        "ignore_patterns": {"type": "list", "elements": "str"},
    },
}


def refuse_twice(repo: str, beside: list[Wanted], option: str) -> None:
    """Refuse models beside the model that are the model itself, or stand there twice; case makes no other one."""
    seen = {repo.lower(): "is the model itself"}
    for one in beside:
        check_names(one.repo, one.revision)
        if one.repo.lower() in seen:
            raise HubError(
                f"{one.repo} cannot be brought beside {repo}, for it {seen[one.repo.lower()]}: name other models, each "
                f"once ({option}). Nothing was changed."
            )
        seen[one.repo.lower()] = "stands there twice"


def from_hub(hub: Hub, asked: dict[str, Any], one: Wanted) -> dict[str, Any]:
    """Return what a hub tells of a model."""
    model, gated = hub.model(one.repo, one.revision)
    model = chosen(model, one.allow, one.ignore)
    cache = Cache(asked["cache_dir"], model.repo)
    config = config_in(cache, model)
    return about(model, hub.config(model) if config is None else config, weights_of(model, cache, hub), gated)


def about(model: Model, config: dict[str, Any], weights: Weights, gated: bool) -> dict[str, Any]:
    """Return what is told of a model that is in no directory."""
    return {
        "model": model.as_dict(),
        "bytes": model.size,
        "config": config,
        "tensors": weights.tensors,
        "tensors_problem": weights.problem,
        "gated": gated,
        "linkable": False,
        "unread_bytes": 0,
        "hashes": {},
        "noted": weights.noted,
    }


def from_directory(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what a directory tells of the model."""
    top, cache = Path(asked["directory"]), Cache(asked["cache_dir"], asked["repo"])
    described = hf_directory.describe(top, asked["repo"], cache, asked["read"])
    weights = Weights([], "", True)
    whole: dict[str, Any] = {"model": {}, "bytes": 0, "config": {}}
    if described.model is not None:
        model = chosen(described.model, asked["allow_patterns"], asked["ignore_patterns"])
        whole = {"model": model.as_dict(), "bytes": model.size, "config": hf_directory.config_in(top, model)}
        weights = weights_of(model, cache, None, top)
    return {
        **whole,
        "tensors": weights.tensors,
        "tensors_problem": weights.problem,
        "gated": False,
        "linkable": hf_directory.linkable(top, cache),
        "unread_bytes": described.unread_bytes,
        "hashes": described.hashes,
        "noted": described.is_remembered and weights.noted,
    }


def from_cache(asked: dict[str, Any], one: Wanted) -> dict[str, Any] | None:
    """Return what the cache tells of a model that is whole there, None where it is not."""
    cache = Cache(asked["cache_dir"], one.repo)
    model = whole_in_cache(cache, one)
    if model is None:
        return None
    return about(model, config_in(cache, model) or {}, weights_of(model, cache, None), False)


def beside_it(asked: dict[str, Any], hub: Hub, one: Wanted) -> dict[str, Any]:
    """Return what is known of a model that is used with the other.

    :raises HubError: naming the model, and the option by which it is here.
    """
    option = asked["hints"].get("beside", "beside")
    try:
        try:
            return from_hub(hub, asked, one)
        except UnreachableError:
            there = from_cache(asked, one) if asked["source"] == "directory" else None
            if there is None:
                raise
            return there
    except (HubError, OSError) as exc:
        named = getattr(exc, "option", "") == "revision"  # a suboption of the one that is named anyway
        why = told(exc) if named else explain(exc, asked["hints"])
        raise HubError(f"{why}. {one.repo} is to come beside {asked['repo']} ({option}). Nothing was changed.") from exc


def describe(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of the model, and of those beside it."""
    beside = [
        Wanted(
            one["repo"],
            one["revision"],
            one["allow_patterns"],
            asked["ignore_patterns"] if one["ignore_patterns"] is None else one["ignore_patterns"],
        )
        for one in asked["beside"]
    ]
    refuse_twice(asked["repo"], beside, asked["hints"].get("beside", "beside"))
    if asked["source"] == "directory":
        found = from_directory(asked)
        hub = Hub(asked["endpoint"], asked["token"].strip(), asked["timeout"]) if beside else None
    else:
        hub = Hub(asked["endpoint"], asked["token"].strip(), asked["timeout"])
        wanted = Wanted(asked["repo"], asked["revision"], asked["allow_patterns"], asked["ignore_patterns"])
        found = from_hub(hub, asked, wanted)
    return {**found, "beside": [beside_it(asked, hub, one) for one in beside] if hub else []}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "repo": {"type": "str", "required": True},
            "source": {"type": "str", "choices": ["hub", "directory"], "default": "hub"},
            "revision": {"type": "str", "default": "main"},
            "directory": {"type": "path"},
            "read": {"type": "bool", "default": True},
            "cache_dir": CACHE_OPTION,
            "endpoint": {"type": "str", "default": "https://huggingface.co"},
            "token": {"type": "str", "default": "", "no_log": True},
            "timeout": {"type": "int", "default": 20},
            "hints": HINTS_OPTION,
            "beside": BESIDE_OPTION,
            **PATTERN_OPTIONS,
        },
        required_if=[("source", "directory", ["directory"])],
        supports_check_mode=True,
    )
    asked = module.params
    try:
        found = describe(asked)
    except (HubError, OSError) as exc:
        module.fail_json(msg=explain(exc, asked["hints"]))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
