# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the catalogue of models has for one model."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue

DOCUMENTATION = r"""
name: model_entry
short_description: What the catalogue of models has for one model
version_added: 0.1.0
description:
  - Returns the entry of a model with all its fields, as docs/models.md describes them.
  - A model that nobody has described gets an entry of defaults.
author:
  - sparkops contributors (@sparkops)
positional: handle
options:
  _input:
    description: What you add to the catalogue, or change in it, by handle, as in C(spark_models).
    type: dict
    required: true
  handle:
    description: The model's handle of the hub.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what is downloaded of a model
  ansible.builtin.debug:
    msg: "{{ ({} | sparkops.dgx_spark.model_entry('mistralai/Mixtral-8x7B-Instruct-v0.1')).allow_patterns }}"
"""

RETURN = r"""
_value:
  description: The entry.
  type: dict
  sample: {"title": "GPT-OSS-20B", "quantisation": "MXFP4", "min_sparks": 1, "allow_patterns": []}
"""


def model_entry(models: Any, handle: str) -> dict[str, Any]:
    """The entry of one model. :param models: what a user adds to the catalogue."""
    try:
        return catalogue.entry(handle, models)
    except catalogue.CatalogueError as error:
        raise AnsibleFilterError(f"{error}. Nothing was changed.") from error


class FilterModule:
    """Ansible's filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"model_entry": model_entry}
