#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_accuracy_check
short_description: Check what a served model answers to fixed questions
version_added: 0.1.0
description:
  - >-
    Sends twenty questions with known answers to an OpenAI-compatible server from its own host, one after the other,
    greedily and with a fixed seed, and judges the answers. Thoughts of a model that reasons do not count.
  - >-
    Fails where fewer answers are right than are wanted, with each question that was answered wrongly. Such a serving
    has lost accuracy, and says nothing of it.
  - >-
    Compares the answers with those of an earlier report, of one Spark for instance. That they differ is shown, and
    fails only where O(require_equal) asks for it.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.validation
  - sparkops.dgx_spark.validation.server
options:
  threshold:
    description: How many percent of the answers have to be right.
    type: float
    default: 80
  max_tokens:
    description: The most tokens of an answer, thoughts included.
    type: int
    default: 2048
  seconds:
    description: How long all may take.
    type: int
    default: 3600
  system_prompt:
    description: A system prompt, for a model whose chat template needs one. Without one, none is sent.
    type: str
    default: ""
  template_arguments:
    description: >-
      Arguments of the chat template (C(chat_template_kwargs)), such as V({"enable_thinking": false}).
    type: dict
    default: {}
  repo:
    description: The model's repository, for the comparison.
    type: str
    default: ""
  commit:
    description: The model's commit, for the comparison.
    type: str
    default: ""
  speculative:
    description: >-
      By what tokens are guessed, as RV(sparkops.dgx_spark.engine_report#module:speculative) tells it, for the
      comparison.
    type: dict
    default: {}
  compare:
    description: A report on the controller that M(sparkops.dgx_spark.engine_validation_report) wrote earlier.
    type: path
  require_equal:
    description: Whether an answer that differs from the earlier one is a failure.
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Ask the fixed questions
  sparkops.dgx_spark.engine_accuracy_check:
    image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
    address: 127.0.0.1:8355
    model: gpt-oss-120b
  become: true
"""

RETURN = r"""
answers:
  description: >-
    The answers, with C(id), C(question), C(expected), C(text), C(thoughts) that the server kept apart, C(finish),
    C(tokens), C(error) and C(right).
  returned: when the questions could be asked
  type: list
  elements: dict
score:
  description: How many percent of them are right.
  returned: when the questions could be asked
  type: float
  sample: 95.0
threshold:
  description: How many percent have to be.
  returned: when the questions could be asked
  type: float
  sample: 80.0
compared:
  description: The report that they were compared with.
  returned: when O(compare) is given
  type: str
differences:
  description: Where they differ from it, with C(id), C(what), C(before) and C(now).
  returned: when O(compare) is given
  type: list
  elements: dict
unlike:
  description: >-
    How tokens were guessed then and are now, where that differs, as with speculative decoding and without; empty where
    it does not.
  returned: when O(compare) is given
  type: str
  sample: without speculative decoding then, and with speculative decoding (MTP, 3 tokens at a time) now
at:
  description: When they were judged, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
