#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_question
short_description: Send a question to an engine that serves
version_added: 0.1.0
description:
  - >-
    Has M(ansible.builtin.uri) send a short question from the host to an OpenAI-compatible server, in one remote call,
    and without a proxy. A model that chats is asked who it is, one that completes texts is given the beginning of one,
    and one that takes pictures is shown a small one in two colours.
  - Fails where no answer comes. M(sparkops.dgx_spark.engine_report) judges the answer.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  address:
    description: Where the server listens, seen from the host, as V(address:port).
    type: str
    required: true
  model:
    description: The name of the model in the request.
    type: str
    required: true
  path:
    description: >-
      Where the question is sent. V(/v1/chat/completions) is for a model that chats, V(/v1/completions) for one without
      a chat template.
    type: str
    choices: [/v1/chat/completions, /v1/completions]
    default: /v1/chat/completions
  picture:
    description: Whether the question shows a picture. Nothing shows one to a model that completes texts.
    type: bool
    default: false
  timeout:
    description: How many seconds the answer may take.
    type: int
    default: 300
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Send a question to the engine
  sparkops.dgx_spark.engine_question:
    address: 127.0.0.1:8355
    model: gpt-oss-120b
  register: question
"""

RETURN = r"""
answer:
  description: The JSON that the server answered.
  returned: success
  type: dict
  sample: {"choices": [{"message": {"content": "I am a language model."}}], "usage": {"completion_tokens": 6}}
picture:
  description: The size of the picture that was shown, empty where there was none.
  returned: success
  type: str
  sample: 256x192
"""
