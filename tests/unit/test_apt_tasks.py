# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every task that asks apt waits as long as unattended-upgrades may hold its lock after a boot."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import LOCK_TIMEOUT_S

ROLES = Path(__file__).parents[2] / "roles"
APT = "ansible.builtin.apt"


def tasks(some: Any) -> Iterator[dict[str, Any]]:
    for one in some or []:
        yield one
        for part in ("block", "rescue", "always"):
            yield from tasks(one.get(part))


FILES = [path for path in sorted(ROLES.glob("*/tasks/*.yml")) if APT in path.read_text(encoding="utf-8")]


def test_there_are_such_tasks() -> None:
    assert len(FILES) >= 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROLES)))
def test_apt_waits_for_the_lock(path: Path) -> None:
    asking = [one for one in tasks(yaml.safe_load(path.read_text(encoding="utf-8"))) if APT in one]
    assert asking
    for one in asking:
        assert one[APT].get("lock_timeout") == LOCK_TIMEOUT_S, one["name"]
        assert one.get("async", 10**6) > 2 * LOCK_TIMEOUT_S, f"{one['name']} ends while it waits"
