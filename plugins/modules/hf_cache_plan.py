#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_cache_plan
short_description: Plan how a model comes to the Hugging Face cache of every Spark
version_added: 0.1.0
description:
  - Lists the changes of each Spark, in words and figures, from what the caches have.
  - Where O(model) and O(members) tell of models beside the model, plans for all of them together.
  - >-
    Fails, with the host and the mend, where a disk is too small, or a cache may not be written to or holds files of
    another user, so that nothing is changed anywhere.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  members:
    description: What M(sparkops.dgx_spark.hf_cache_info) returned, by host, the leader first.
    type: dict
    required: true
  read:
    description:
      - What M(sparkops.dgx_spark.hf_cache_info) returned when it was run again, by host, where it left files unread at
        first. What a skipped task registered does not count.
    type: dict
    default: {}
  model:
    description: What M(sparkops.dgx_spark.hf_model_info) returned on the leader.
    type: dict
    required: true
  source:
    description: Where the leader has the model from.
    type: str
    choices: [hub, directory]
    default: hub
  place:
    description: The hub's address, or the directory on the leader; for words.
    type: str
    required: true
  endpoint:
    description: The hub's address, from which models beside this one come; for words. Empty where O(place) is it.
    type: str
    default: ""
  reserve_gb:
    description: GB that are to stay free on every Spark.
    type: int
    default: 20
  tool_version:
    description: The version of huggingface_hub that downloads.
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the model
  sparkops.dgx_spark.hf_cache_plan:
    members: {"spark1": "{{ found }}"}
    model: "{{ asked }}"
    place: https://huggingface.co
    tool_version: 2.4.0
  register: model_plan
"""

RETURN = r"""
changes:
  description: >-
    By host a list of changes, each with C(name) and, where there are figures, C(diff). Where there are models beside
    the model, C(of) is the repository that a change is of.
  returned: success
  type: dict
  sample: {"spark1": [{"name": "Install the hf client"}], "spark2": []}
receivers:
  description: The members that copy files from the leader, of whichever model.
  returned: success
  type: list
  elements: str
  sample: [spark2]
brings:
  description: The models of which any member lacks files, the same on all hosts.
  returned: success
  type: list
  elements: dict
  contains:
    repo:
      description: The repository.
      type: str
      sample: nvidia/Qwen3-235B-A22B-FP4
    hosts:
      description: The members that lack files.
      type: list
      elements: str
      sample: [spark1, spark2]
    receivers:
      description: Which of them copy these files from the leader.
      type: list
      elements: str
      sample: [spark2]
    directory:
      description: Where the leader has them.
      type: str
      sample: /home/nvidia/.cache/huggingface/hub/models--nvidia--Qwen3-235B-A22B-FP4/blobs
room:
  description: >-
    By host what the models will take there: C(what), C(path), C(filesystem), C(bytes), for the sum of all that will lie
    there at once.
  returned: success
  type: dict
moves:
  description: >-
    By host what has to come: C(what), C(bytes), and the C(way), V(download) or V(copy). Nothing for files that are
    linked in their place.
  returned: success
  type: dict
repo_dirs:
  description: The repository's directory in the cache of each host, there or not.
  returned: success
  type: dict
  sample: {"spark1": "/data/hf/hub/models--openai--gpt-oss-20b"}
repo:
  description: The repository.
  returned: success
  type: str
  sample: nvidia/Qwen3-235B-A22B-FP4
commit:
  description: The commit that every Spark gets.
  returned: success
  type: str
  sample: b6c1d4f3c1f2f7d1c3e0a3f9ab0d43f3f8f0c5d7
revision:
  description: The revision that was asked for.
  returned: success
  type: str
  sample: main
config:
  description: The model's parsed C(config.json).
  returned: success
  type: dict
tensors:
  description: What the weights consist of, as RV(sparkops.dgx_spark.hf_model_info#module:tensors) tells it.
  returned: success
  type: list
  elements: dict
tensors_problem:
  description: Why RV(tensors) could not be had; empty where RV(tensors) was.
  returned: success
  type: str
  sample: ""
repo_dir:
  description: The repository's directory in this host's cache, there or not.
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
  description: Whether this host has every file, right and linked.
  returned: success
  type: bool
  sample: true
problems:
  description: What is wrong on this host, a line for each file.
  returned: success
  type: list
  elements: str
beside:
  description: >-
    The same facts, from RV(repo_dirs) to RV(problems), of each model beside this one, in the order in which O(model)
    has them.
  returned: success
  type: list
  elements: dict
at:
  description: When the plan was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
