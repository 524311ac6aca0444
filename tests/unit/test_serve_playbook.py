# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What serve.yml takes from the roles' plans: whether anything changes, under each launcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

PLAYBOOK = Path(__file__).resolve().parents[2] / "playbooks" / "serve.yml"
PLANS = ("cx7_network", "container_toolkit", "swarm_gpu", "hf_cache", "engine_serve")
NOTHING: dict[str, Any] = {"changes": {"spark1": [], "spark2": []}}
SOMETHING: dict[str, Any] = {"changes": {"spark1": [], "spark2": [{"name": "Restart Docker"}]}}


def evaluated(name: str, launcher: str, changing: str = "") -> Any:
    (apply,) = (play for play in yaml.safe_load(PLAYBOOK.read_text()) if play["name"] == "Apply")
    own = {key: trust_as_template(value) for key, value in apply["vars"].items() if key.startswith("__")}
    plans = {f"{role}_plan": SOMETHING if role == changing else NOTHING for role in PLANS}
    if launcher != "swarm":
        del plans["swarm_gpu_plan"]  # which is not planned then
    variables = {**own, **plans, "__spark_launcher": launcher}
    return Templar(DataLoader(), variables=variables).template(trust_as_template(f"{{{{ {name} }}}}"))


@pytest.mark.parametrize(
    ("launcher", "changing"),
    [
        (launcher, changing)
        for launcher in ("swarm", "docker")
        for changing in ("", *PLANS)
        if launcher == "swarm" or changing != "swarm_gpu"
    ],
)
def test_whether_anything_changes(launcher: str, changing: str) -> None:
    assert evaluated("__spark_changes", launcher, changing) is bool(changing)
    of_containers = changing in ("container_toolkit", "swarm_gpu", "engine_serve")
    assert evaluated("__spark_containers_change", launcher, changing) is of_containers
