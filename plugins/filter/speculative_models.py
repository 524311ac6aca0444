# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models have to be in the cache beside one, so that tokens can be guessed for it."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue, speculative

DOCUMENTATION = r"""
name: speculative_models
short_description: Which models have to be in the cache beside one for its speculative decoding
version_added: 0.1.0
description:
  - Returns what the role hf_cache brings beside a model so that tokens can be guessed for it.
  - That is nothing where no speculative decoding is asked for, and with MTP, which is a part of the model itself.
author:
  - sparkops contributors (@sparkops)
positional: repo, models
options:
  _input:
    description: >-
      How tokens are guessed, as in C(spark_speculative). Empty for not at all, V(catalogue) for the draft that the
      catalogue has for the model, or a mapping with C(kind) (V(Eagle3), V(Draft_Target) or V(MTP)), C(handle),
      C(revision) and C(tokens).
    type: raw
    required: true
  repo:
    description: The handle of the model that is served.
    type: str
    required: true
  models:
    description: What you add to the catalogue, or change in it, by handle, as in C(spark_models).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show which model guesses tokens for another one
  ansible.builtin.debug:
    msg: "{{ 'catalogue' | sparkops.dgx_spark.speculative_models('nvidia/Qwen3-235B-A22B-FP4') }}"
"""

RETURN = r"""
_value:
  description: The models, each with C(repo), C(revision) and C(allow_patterns). One, or none.
  type: list
  elements: dict
  sample:
    - repo: nvidia/Qwen3-235B-A22B-Eagle3
      revision: main
      allow_patterns: []
"""


def speculative_models(said: Any, repo: str, models: Any = None) -> list[dict[str, Any]]:
    """The models beside one. :param said: spark_speculative. :param models: what a user adds to the catalogue."""
    try:
        return speculative.models(said, repo, models)
    except (speculative.SpeculativeError, catalogue.CatalogueError) as error:
        raise AnsibleFilterError(f"{error}. Nothing was changed.") from error


class FilterModule:
    """Ansible's filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"speculative_models": speculative_models}
