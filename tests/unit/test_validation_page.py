# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the validation has each variable that its playbook takes, with the default of the module that gets it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.action import (
    engine_accuracy_check,
    engine_quickstart_check,
    engine_soak_check,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.report import PARTS
from roles_support import ROOT

PLAYBOOK = (ROOT / "playbooks" / "validate.yml").read_text()
PAGE = (ROOT / "docs" / "validation.md").read_text()
ROWS = re.findall(r"^\| (`validate_.*?) \| (.*?) \|", PAGE, re.MULTILINE)
DEFAULTS = {name: default.strip("`") for names, default in ROWS for name in re.findall(r"`(validate_\w+)`", names)}


def test_the_page_has_the_variables_of_the_playbook() -> None:
    read = set(re.findall(r"(?<!_)\bvalidate_[a-z_]+", re.sub(r"(?m)^\s*#.*$", "", PLAYBOOK)))
    assert read == set(DEFAULTS)


@pytest.mark.parametrize(
    ("name", "module", "option"),
    [
        ("validate_reserve_mib", engine_quickstart_check, "reserve_mib"),
        ("validate_quickstart_seconds", engine_quickstart_check, "seconds"),
        ("validate_threshold", engine_accuracy_check, "threshold"),
        ("validate_max_tokens", engine_accuracy_check, "max_tokens"),
        ("validate_accuracy_seconds", engine_accuracy_check, "seconds"),
        ("validate_gap_seconds", engine_accuracy_check, "gap_seconds"),
        ("validate_gap_seconds", engine_soak_check, "gap_seconds"),
        ("validate_soak_concurrency", engine_soak_check, "concurrency"),
        ("validate_soak_tokens", engine_soak_check, "max_tokens"),
    ],
)
def test_a_default_on_the_page_is_the_modules(name: str, module: Any, option: str) -> None:
    assert DEFAULTS[name] == str(module.ActionModule.SPEC[option]["default"])


def test_the_page_has_the_parts_of_the_playbook() -> None:
    play = yaml.safe_load(PLAYBOOK)[1]
    assert tuple(play["vars"]["__validate_all"]) == PARTS
    assert tuple(re.findall(r"^\| `(\w+)` \| (?:each|likewise|leader)", PAGE, re.MULTILINE)) == PARTS
