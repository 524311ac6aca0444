# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planners and the reports of all engines have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Who serves which model, and with what; what those without MPI take; and what a report is made of."""

    DOCUMENTATION = r"""
options:
  members:
    description: The names of the Sparks, leader first.
    type: list
    elements: str
    required: true
  config:
    description: The model's C(config.json), by which the split is checked. Empty where it is not known.
    type: dict
    default: {}
  api_host:
    description: The address that the API listens on.
    type: str
    default: 127.0.0.1
  environment:
    description: >-
      Further environment of all ranks. What the role, the supervisor or the image sets is refused, and what looks like
      a secret.
    type: dict
    default: {}
  min_kv_tokens:
    description: How many tokens must fit into the KV cache, so that a start has not failed. 0 for no limit.
    type: int
    default: 0
"""

    EVERY_NODE = r"""
options:
  model:
    description: >-
      C(snapshot), the path of the pinned commit in the Hugging Face cache, and C(repo_dir), the path of the model's own
      directory above; both are the same on every Spark. C(repo) is the name that requests give, unless O(arguments) has
      C(served_model_name). C(bytes), the size of its files, tells how long the ranks wait for one another.
    type: dict
    required: true
  image:
    description: The image, whose tag tells the version of the engine in its makers' own repository.
    type: str
    default: ""
  catalogue:
    description: >-
      What a user adds to the collection's catalogue of models, or changes in it, by handle. By an entry's
      C(min_sparks), and by its figures where nothing else tells them, the plan judges whether the model fits.
    type: dict
    default: {}
  speculative:
    description: What C(spark_speculative) says, which is refused, since O(arguments) say how tokens are guessed.
    type: raw
    default: ""
  vision:
    description: >-
      Whether the model is asked about a picture once it serves. With V(auto) where its config.json has an encoder of
      pictures.
    type: str
    choices: [auto, always, never]
    default: auto
  facts:
    description: >-
      What the image says of itself, as M(sparkops.dgx_spark.vllm_image_info) or its like for SGLang
      returns it. With flags they judge the arguments. Empty where the image is not there: a table of one version judges
      then, and a refusal says so.
    type: dict
    default: {}
  noted:
    description: Whether that is kept on the leader, as these modules tell.
    type: bool
    default: true
  image_changed:
    description: Whether the image was pulled since the first plan, for the end of a refusal.
    type: bool
    default: false
  planned_at:
    description: RV(at) of the first plan of the play, which this one keeps. 0 where this is the first.
    type: float
    default: 0
"""

    REPORT = r"""
options:
  plan:
    description: What the planner of the same engine returned.
    type: dict
    required: true
  report:
    description: What M(sparkops.dgx_spark.engine_report) returned.
    type: dict
    required: true
"""
