# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of what goes wrong is made of the doctor's checks, and every symptom leads to a check or to an answer."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.checks import CLASSES, FILE, load
from roles_support import ROLES, ROOT, specs

from tests import troubleshooting

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
SYMPTOMS = yaml.safe_load(FILE.with_name("symptoms.yml").read_text())
ROWS = [pytest.param(row, id=f"{group['from']}: {row['symptom']}") for group in SYMPTOMS for row in group["rows"]]


def test_the_page_is_up_to_date() -> None:
    assert troubleshooting.page() == PAGE, "run make troubleshooting"


def test_the_page_has_every_check() -> None:
    assert re.findall(r"^\| `(\w+)`: ", PAGE, re.MULTILINE) == list(load())
    assert troubleshooting.CLASSES == CLASSES


@pytest.mark.parametrize("row", ROWS)
def test_a_symptom_leads_to_checks_or_to_an_answer(row: dict[str, Any]) -> None:
    assert bool(row.get("checks")) != bool(row.get("answer"))
    assert set(row) <= {"symptom", "checks", "answer"}
    assert [name for name in row.get("checks") or [] if name not in load()] == []


def test_variables_that_are_named_exist() -> None:
    names = "|".join(role.name for role in ROLES)
    said = "".join(path.read_text() for path in (FILE, FILE.with_name("symptoms.yml"), ROOT / "docs" / "doctor.md"))
    named = set(re.findall(rf"`((?:{names}|spark|doctor)_[a-z_]+)`", said))
    options = {name for role in ROLES for spec in specs(role).values() for name in spec.get("options") or {}}
    places = [*ROOT.glob("playbooks/**/doctor*.yml"), *ROOT.glob("roles/*/defaults/main.yml")]
    options |= set(re.findall(r"\b(?:spark|doctor)_[a-z_]+", "".join(path.read_text() for path in places)))
    assert {"spark_api_port", "doctor_treat"} <= named
    assert named - options == set()


def test_every_check_of_a_log_is_somebodys_symptom() -> None:
    named = {name for group in SYMPTOMS for row in group["rows"] for name in row.get("checks") or []}
    assert {name for name in load() if name.startswith("log_")} <= named
