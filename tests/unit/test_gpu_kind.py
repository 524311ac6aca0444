# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One kind of GPU: what Docker advertises is what the serving asks for, whatever ``spark_gpu_kind`` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).parents[2] / "roles"


def kinds(**variables: Any) -> dict[str, str]:
    """By role variable the kind of resource that it is by default."""
    found: dict[str, str] = {}
    for path in ROLES.glob("*/defaults/main.yml"):
        for name, value in yaml.safe_load(path.read_text()).items():
            if name.endswith("gpu_kind"):
                templar = Templar(loader=DataLoader(), variables=variables)
                found[name] = templar.template(trust_as_template(value))
    return found


@pytest.mark.parametrize(("variables", "kind"), [({}, "gpu"), ({"spark_gpu_kind": "other"}, "other")])
def test_one_kind_is_advertised_and_asked_for(variables: dict[str, str], kind: str) -> None:
    found = kinds(**variables)
    assert len(found) >= 2
    assert set(found.values()) == {kind}
