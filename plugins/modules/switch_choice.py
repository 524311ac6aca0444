#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: switch_choice
short_description: Choose the model that is served next
version_added: 0.1.0
description:
  - >-
    Takes the model that is named, or what served before the one that serves, or asks in the terminal, with the models
    of the catalogue and whether they fit on these Sparks.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  model:
    description: >-
      A repository of the Hugging Face hub; V(previous) for what served before, with its options; V(ask) or empty to be
      asked.
    type: str
    default: ""
  revision:
    description: Its branch, tag or commit. Empty for the catalogue's, else C(main).
    type: str
    default: ""
  speculative:
    description: By what tokens are guessed, as C(spark_speculative) says it.
    type: raw
    default: ""
  models:
    description: Entries beside or over those of the catalogue, by handle.
    type: dict
    default: {}
  history:
    description: As RV(sparkops.dgx_spark.engine_history_info#module:history).
    type: list
    elements: dict
    default: []
  members:
    description: >-
      By member, the leader first, what M(sparkops.dgx_spark.models_host_info) returned; read only to ask in the
      terminal.
    type: dict
    default: {}
  reserve_gb:
    description: GB that are to stay free on each disk.
    type: float
    default: 20.0
  memory_reserve_mib:
    description: MiB that a Spark must have available beside its share of a model, for a Spark of 128 GB.
    type: int
    default: 24576
  memory_floor_mib:
    description: MiB that the supervisor keeps available while it serves.
    type: int
    default: 8192
  memory_load_floor_mib:
    description: MiB that the supervisor keeps available while it loads.
    type: int
    default: 16384
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Choose what served before
  sparkops.dgx_spark.switch_choice:
    model: previous
    history: "{{ served.history }}"
  register: choice
"""

RETURN = r"""
repo:
  description: The repository.
  returned: success
  type: str
  sample: openai/gpt-oss-20b
revision:
  description: Its branch, tag or commit; of what served before the commit that served.
  returned: success
  type: str
  sample: main
speculative:
  description: By what tokens are guessed.
  returned: success
  type: raw
recorded:
  description: With what it served before; empty for a model that was named or chosen.
  returned: success
  type: dict
left:
  description: What a person has to do when it serves.
  returned: success
  type: str
"""
