#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trtllm_plan
short_description: Plan the configuration of TensorRT-LLM to serve a model
version_added: 0.1.0
description:
  - >-
    Computes the command line, the YAML and the environment of TensorRT-LLM, and refuses what would only fail minutes
    into a start, such as a misspelt key of the YAML or a tensor parallel size that the Sparks cannot fill.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.engine_plan
options:
  model:
    description: >-
      C(snapshot), the path of the pinned commit in the Hugging Face cache, and C(repo_dir), the path of the model's own
      directory above; both are the same on every Spark. C(repo), C(bytes) and C(tensors) tell what it needs: its
      handle, the size of its files, and the headers of its weights, as far as they are known. C(beside) has further
      models with the same, and their C(config) and C(commit), such as the one that guesses tokens.
    type: dict
    required: true
  options:
    description: The YAML of C(--extra_llm_api_options), as a dictionary.
    type: dict
    default: {}
  arguments:
    description: Flags of C(trtllm-serve) by name, without dashes.
    type: dict
    default: {}
  api_port:
    description: The port that the API listens on.
    type: int
    default: 8355
  image:
    description:
      - The image, whose tag tells the version of TensorRT-LLM. Only that version's flags and keys are accepted then.
      - >-
        A tag that tells none, such as that of a nightly build, stands for any: what no version is known to take is a
        warning then. So is, for a release candidate, what came with a later one or with the release, and for a
        version that is newer than the tables, what none of them has, unless it looks misspelt.
      - The keys of AutoDeploy (C(backend) is C(_autodeploy)) are not checked.
    type: str
    default: ""
  version:
    description: The version, where the tag does not tell it; V(any) for any.
    type: str
    default: ""
  encodings:
    description: The vocabularies that gpt-oss chats by, SHA-256 by file name.
    type: dict
    default: {}
  encodings_url:
    description: Where they are.
    type: str
    default: ""
  facts:
    description: >-
      What the image says of itself, as M(sparkops.dgx_spark.trtllm_image_info) returns it. With a schema the options
      are judged by that alone, with flags the arguments. Empty where the image is not there: tables judge then, and a
      refusal says so.
    type: dict
    default: {}
  noted:
    description: Whether that is kept on the leader, as M(sparkops.dgx_spark.trtllm_image_info) tells.
    type: bool
    default: true
  image_changed:
    description: Whether the image was pulled since the first plan, for the end of a refusal.
    type: bool
    default: false
  catalogue:
    description:
      - >-
        What a user adds to the collection's catalogue of models, or changes in it, by handle. docs/models.md has the
        fields.
      - >-
        An entry's arguments, options and environment are beneath those that are given here; what this image's version
        is not known to take of them is left out, with a warning.
    type: dict
    default: {}
  speculative:
    description:
      - >-
        By what tokens are guessed: empty for nothing, V(catalogue) for the draft that the catalogue has for the model,
        or a mapping with C(kind) (V(Eagle3), V(Draft_Target) or V(MTP)), C(handle) of the model that guesses (MTP has
        none), its C(revision), and C(tokens), how many are guessed at a time.
      - >-
        It becomes C(speculative_config) in the image's own spelling. The model that guesses is looked for in C(beside)
        of O(model), and counts in what a Spark needs.
    type: raw
    default: ""
  vision:
    description: >-
      Whether the model is asked about a picture once it serves. With V(auto) where its config.json has an encoder of
      pictures, unless O(options) has C(disable_mm_encoder).
    type: str
    choices: [auto, always, never]
    default: auto
  planned_at:
    description: RV(at) of the first plan of the play, which this one keeps. 0 where this is the first.
    type: float
    default: 0
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan a single Spark
  sparkops.dgx_spark.trtllm_plan:
    members: [spark1]
    model:
      snapshot: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-20b/snapshots/0123456789abcdef
      repo_dir: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-20b
    options: {print_iter_log: false}
  register: planned
"""

RETURN = r"""
engine:
  description: >-
    What M(sparkops.dgx_spark.engine_plan) takes as O(sparkops.dgx_spark.engine_plan#module:engine). C(demand) in it is
    what the model needs of a Spark. Where tokens are guessed, C(speculative) has by what (C(kind), C(repo), C(commit)),
    how many at a time (C(tokens)), and the bytes of it that a rank has (C(rank_bytes)).
  returned: success
  type: dict
changes:
  description: >-
    For each member a list, empty but for the leader's where it is yet to be kept what the image says of itself: the
    other changes are those of M(sparkops.dgx_spark.engine_plan).
  returned: success
  type: dict
  sample: {"spark1": []}
judged:
  description: >-
    By what C(options) and C(arguments) were judged, V(schema) or V(help) of the image, V(tables), or V(nothing), as
    with AutoDeploy.
  returned: success
  type: dict
  sample: {"options": "schema", "arguments": "help"}
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
