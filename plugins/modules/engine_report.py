#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_report
short_description: Report what a serving is, once it was verified
version_added: 0.1.0
description:
  - Puts together what was planned, what the supervisor says and what was answered, and fails where the answer has no
    generated token.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  plan:
    description: What M(sparkops.dgx_spark.engine_plan) returned.
    type: dict
    required: true
  state:
    description: C(state) as M(sparkops.dgx_spark.engine_wait) returned it on the leader.
    type: dict
    required: true
  answer:
    description: The JSON that the engine answered to a chat or to a completion.
    type: dict
    required: true
  picture:
    description: The size of the picture that the question showed, empty where there was none.
    type: str
    default: ""
  ended:
    description: What M(sparkops.dgx_spark.engine_stop_report) returned, where it was stopped before.
    type: dict
    default: {}
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report what serves
  sparkops.dgx_spark.engine_report:
    plan: "{{ engine_serve_plan }}"
    state: "{{ waited.state }}"
    answer: "{{ question.answer }}"
  register: report
"""

RETURN = r"""
instance:
  description: The instance's name, empty for that without a name.
  returned: success
  type: str
  sample: vlm
endpoint:
  description: Where the OpenAI-compatible API is, on the leader.
  returned: success
  type: str
  sample: http://127.0.0.1:8355/v1
model:
  description: The name that requests have to give as C(model).
  returned: success
  type: str
  sample: gpt-oss-120b
image:
  description: The name of the engine's image.
  returned: success
  type: str
  sample: dgx-spark/trtllm-serve:0123456789ab
image_id:
  description: The ID of the engine's image, the same on all Sparks.
  returned: success
  type: str
  sample: sha256:60a6274621e7
base_image:
  description: The image that the engine's image was built from, by digest where its registry gave one.
  returned: success
  type: str
  sample: nvcr.io/nvidia/tensorrt-llm/release@sha256:2fb9f1b0
ranks:
  description: The transport of each rank, by short name.
  returned: success
  type: dict
  sample: {"spark1": {"transport": "IB", "devices": "[0]rocep1s0f0:1/RoCE", "why": ""}}
load_s:
  description: Seconds from the start of the engine to its first token.
  returned: success
  type: float
  sample: 312.4
kv_tokens:
  description: How many tokens fit into the KV cache, as the engine's log told; 0 where it did not.
  returned: success
  type: int
  sample: 86720
speculative:
  description: >-
    By what tokens are guessed (C(kind), C(repo), C(commit)) and how many at a time (C(tokens)); empty where none are.
  returned: success
  type: dict
  sample: {"kind": "Eagle3", "repo": "nvidia/Qwen3-235B-A22B-Eagle3", "commit": "0123456789abcdef", "tokens": 3}
answer:
  description: The text that was generated.
  returned: success
  type: str
  sample: I am a language model.
picture:
  description: The size of the picture that the question showed, empty where there was none.
  returned: success
  type: str
  sample: 256x192
exposed:
  description: By name what answers on which networks while the model is served, and how to close it, where ufw is off.
  returned: success
  type: dict
requests_cut:
  description: How many requests a restart has cut off; null where nothing had to be ended.
  returned: where O(ended) was given
  type: int
  sample: 0
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
