#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: models_asked
short_description: Choose the models of the catalogue that are reported on
version_added: 0.1.0
description:
  - >-
    Loads the catalogue of models, with what a user has added or changed, and chooses the entries that are asked for.
  - Runs on the controller and asks no host. What it returns is not printed with C(-v).
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  models:
    description: Entries beside or over those of the catalogue, by handle. Null takes a field back to its default.
    type: dict
    default: {}
  only:
    description:
      - Handles, or parts of handles in any case; of all models where it is empty.
      - A handle that no entry has, C(organisation/name), is a model all the same.
    type: list
    elements: str
    default: []
  also:
    description: Handles of models that count as if the catalogue had them. What is no handle is left out.
    type: list
    elements: str
    default: []
  revisions:
    description: Branches, tags or commits by handle, in the place of the catalogue's. Empty ones count for nothing.
    type: dict
    default: {}
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Choose all sizes of gpt-oss, and one model of the hub
  sparkops.dgx_spark.models_asked:
    only: [gpt-oss, Qwen/Qwen3-4B]
  register: chosen
"""

RETURN = r"""
entries:
  description: The chosen entries by handle, each with every field.
  returned: success
  type: dict
asked:
  description: >-
    What O(sparkops.dgx_spark.hf_models_info#module:models) is to be asked, for the chosen models and for those that
    draft for them.
  returned: success
  type: list
  elements: dict
repos:
  description: The repositories of RV(asked).
  returned: success
  type: list
  elements: str
  sample: [openai/gpt-oss-20b, openai/gpt-oss-120b, Qwen/Qwen3-4B]
at:
  description: When the models were chosen, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
