# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a serving begins with what is kept of its image."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action.engine_look import ActionModule


@pytest.mark.parametrize("facts", [{}, {"image_id": "sha256:aa", "flags": {"tp_size": {"kind": "int", "choices": []}}}])
def test_what_is_kept_is_told(facts: dict[str, Any]) -> None:
    action = ActionModule.__new__(ActionModule)
    assert action.plan({"found": {"image_facts": facts, "docker": {}}}, {}) == {"image_facts": facts}
