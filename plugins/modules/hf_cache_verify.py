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
  - >-
    Fails, and names the files, unless every file of the model, and of those in O(beside), is there, has the hub's size
    and hash, and is linked.
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
  beside:
    description:
      - Further models. Of each, a dictionary of what M(sparkops.dgx_spark.hf_model_info) and
        M(sparkops.dgx_spark.hf_cache_info) told of it, one over the other.
      - >-
        Of that C(model) is required, C(verified) and C(tensors) count as O(verified) and O(tensors) do, and C(corrupt)
        as O(reread). The rest is passed over.
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

- name: Verify a model and its draft model
  sparkops.dgx_spark.hf_cache_verify:
    model: "{{ pair.model }}"
    beside: "{{ pair.beside }}"
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
  description: What is wrong, a line for each file; of a model of O(beside), with its repository.
  returned: always
  type: list
  elements: str
  sample: []
beside:
  description: >-
    Of each model of O(beside), in that order, what is returned of the model itself, from RV(repo) to RV(bytes).
  returned: success
  type: list
  elements: dict
"""

from contextlib import suppress
from socket import gethostname
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.directory import remember
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import HubError, Model, read_model
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.tensors import remember as remember_weights
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

NAMED = ("repo", "commit", "repo_dir", "snapshot", "files", "bytes")
#: what is read of each model beside the other
KNOWN = {
    "model": hf_cache.MODEL_OPTION,
    "verified": hf_cache.KNOWN_OPTIONS["verified"],
    "corrupt": hf_cache.KNOWN_OPTIONS["reread"],
    "tensors": {"type": "list", "elements": "dict", "default": []},
}


class Seen(NamedTuple):
    """What a look at one model has found."""

    model: Model
    cache: hf_cache.Cache
    notes: hf_cache.Notes
    facts: dict[str, Any]
    problems: list[str]


def known(about: dict[str, Any]) -> dict[str, Any]:
    """Return what is read of a model beside the other.

    :raises HubError: where it is of another form.
    """
    checked = ArgumentSpecValidator(KNOWN).validate({name: about[name] for name in KNOWN if name in about})
    if checked.error_messages:
        raise HubError(
            f"beside holds no models as hf_model_info and hf_cache_info tell them: {'; '.join(checked.error_messages)}"
        )
    return dict(checked.validated_parameters)


def look(root: str, about: dict[str, Any], verified: Any, reread: Any, tensors: Any) -> Seen:
    """Read what is not known to be right of one model."""
    model = read_model(about)
    cache = hf_cache.Cache(root, model.repo)
    notes = hf_cache.Notes(cache.notes)
    notes.learn(model, verified, reread)
    remember_weights(notes, model, tensors)
    report = hf_cache.look(cache, model, notes)
    found = hf_cache.describe(cache, model, report)
    problems = report.problems() + hf_cache.index_errors(cache, model)
    return Seen(model, cache, notes, {name: found[name] for name in NAMED}, problems)


def wrong(seen: Seen) -> str:
    """Return what is wrong with one model."""
    lines = seen.problems
    shown = "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
    return f"{seen.cache.repo_dir} has not all of {seen.model.repo} at {seen.model.commit} as the hub has it: {shown}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": hf_cache.MODEL_OPTION,
            "cache_dir": hf_cache.CACHE_OPTION,
            **hf_cache.KNOWN_OPTIONS,
            "hashes": {"type": "dict", "default": {}},
            "tensors": {"type": "list", "elements": "dict", "default": []},
            "beside": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    asked = module.params
    try:
        beside = [known(one) for one in asked["beside"]]
        first = look(asked["cache_dir"], asked["model"], asked["verified"], asked["reread"], asked["tensors"])
        others = [
            look(asked["cache_dir"], one["model"], one["verified"], one["corrupt"], one["tensors"]) for one in beside
        ]
    except (HubError, hf_cache.CacheError, OSError) as exc:
        module.fail_json(msg=told(exc), problems=[])
    every = [first, *others]
    if not module.check_mode:
        with suppress(OSError):  # a cache that may only be read is read again
            for seen in every:
                seen.notes.save()
            remember(first.cache, asked["hashes"])
    problems = first.problems + [f"{seen.model.repo}: {line}" for seen in others for line in seen.problems]
    if problems:
        said = ". ".join(wrong(seen) for seen in every if seen.problems)
        module.fail_json(
            msg=f"{gethostname()}: {said}. Run the role hf_cache again: it brings what is missing or wrong",
            problems=problems,
        )
    module.exit_json(changed=False, problems=[], **first.facts, beside=[seen.facts for seen in others])


if __name__ == "__main__":
    main()
