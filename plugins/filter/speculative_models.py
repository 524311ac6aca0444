# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The models that speculative decoding needs beside the one that is served."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: speculative_models
short_description: The models that speculative decoding needs beside the one that is served
version_added: 0.1.0
description:
  - >-
    Returns the draft model in a list, in the form of C(hf_cache_beside) of the role hf_cache; an empty list where none
    is needed.
author:
  - sparkops contributors (@sparkops)
positional: handle, models
options:
  _input:
    description: What is asked for, as in C(spark_speculative); empty for no speculative decoding.
    type: raw
    required: true
  handle:
    description: The handle of the model that is served.
    type: str
    required: true
  models:
    description: What you add to the catalogue of models, or change in it, by handle, as in C(spark_models).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show which models are brought beside the one that is served
  ansible.builtin.debug:
    msg: "{{ '' | sparkops.dgx_spark.speculative_models('openai/gpt-oss-20b') }}"
"""

RETURN = r"""
_value:
  description: The models.
  type: list
  elements: dict
  sample: []
"""


def speculative_models(speculative: Any, handle: str, models: Any = None) -> list[dict[str, Any]]:
    """The models beside the one that is served. :param speculative: empty for none."""
    if speculative:
        raise AnsibleFilterError(
            f"spark_speculative is {speculative!r} for {handle}, and no draft model can be found by it: name the draft "
            "in hf_cache_beside. Nothing was changed."
        )
    return []


class FilterModule:
    """Ansible's filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"speculative_models": speculative_models}
