#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_tokenizer
short_description: Bring a model's tokenizer to the controller
version_added: 0.1.0
description:
  - >-
    Copies the few files that a tokenizer is made of from the host's Hugging Face cache to the controller, where the
    client of a benchmark makes prompts by them. A commit's files are copied once.
  - >-
    Runs on the controller and reads from the host; nothing of the host is changed. In C(check_mode) nothing is copied.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  directory:
    description: A directory on the controller that has the tokenizer. With that nothing is copied.
    type: str
    default: ""
  repo:
    description: The model's repository, C(organisation/name).
    type: str
    default: ""
  commit:
    description: The commit that is served.
    type: str
    default: ""
  cache_dir:
    description: The host's Hugging Face cache.
    type: str
    default: ~/.cache/huggingface
  keep:
    description: The directory on the controller that tokenizers are kept in.
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Bring the tokenizer
  sparkops.dgx_spark.benchmark_tokenizer:
    repo: openai/gpt-oss-20b
    commit: 6cee5e81ee83917806bbde320786a8fb61efebee
    keep: ~/.cache/dgx-spark/tokenizers
  register: tokenizer
"""

RETURN = r"""
directory:
  description: The directory on the controller that has the tokenizer.
  returned: success
  type: str
  sample: /home/me/.cache/dgx-spark/tokenizers/openai--gpt-oss-20b/6cee5e81ee83917806bbde320786a8fb61efebee
files:
  description: The files that were copied just now.
  returned: success
  type: list
  elements: str
  sample: [tokenizer.json, tokenizer_config.json]
at:
  description: When that was, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
