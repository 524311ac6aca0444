#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_soak_check
short_description: Check that tokens flow from a server for a long time
version_added: 0.1.0
description:
  - >-
    Keeps an OpenAI-compatible server under load from its own host, for some minutes and with several requests at the
    same time, each of a bounded length. It shows how far it is every ten seconds.
  - >-
    Fails at once where a request fails or a token takes too long, and at the end where tokens did not flow until then.
    After Ctrl-C the load ends by itself within a minute.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.validation
  - sparkops.dgx_spark.validation.server
options:
  minutes:
    description: How long.
    type: float
    required: true
  concurrency:
    description: How many requests at the same time.
    type: int
    default: 4
  max_tokens:
    description: The most tokens of an answer.
    type: int
    default: 256
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Keep the engine under load for an hour
  sparkops.dgx_spark.engine_soak_check:
    image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
    address: 127.0.0.1:8355
    model: gpt-oss-120b
    minutes: 60
  become: true
"""

RETURN = r"""
outcome:
  description: >-
    What came of it, with C(count) of answers, C(tokens), C(seconds), C(gap_s), the longest time without a token of one
    answer, C(gap_at_s), when that was, C(last_token_s), C(per_minute), the tokens of each minute, and C(errors).
  returned: when requests could be sent
  type: dict
minutes:
  description: How long it was to take.
  returned: when requests could be sent
  type: float
concurrency:
  description: How many requests at the same time.
  returned: when requests could be sent
  type: int
at:
  description: When it ended, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
