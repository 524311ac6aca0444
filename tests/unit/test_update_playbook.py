# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of playbooks/update.yml: what may fail without a change comes before what is stopped."""

from __future__ import annotations

import pytest
import yaml
from roles_support import ROOT, flat

PLAYBOOK = ROOT / "playbooks" / "update.yml"
TURN = ROOT / "playbooks" / "tasks" / "update_one.yml"


@pytest.mark.parametrize("variable", ["spark_update_gpus", "spark_update_links"])
def test_what_is_compared_after_an_update_is_read_before_anything_is_stopped(variable: str) -> None:
    """A GPU that does not answer already is no reason to end what serves, and then to fail."""
    (look,) = (play for play in yaml.safe_load(PLAYBOOK.read_text()) if play["name"] == "Look for updates")
    assert look["any_errors_fatal"]
    assert variable in [task.data.get("register") for task in flat(PLAYBOOK, look["tasks"])]
    assert variable not in [task.data.get("register") for task in flat(TURN, yaml.safe_load(TURN.read_text()))]
