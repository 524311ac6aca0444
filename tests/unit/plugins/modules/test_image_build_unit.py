# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What undo takes of Docker's build cache: what came while the build ran, whatever order its records need."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from ansible_collections.sparkops.dgx_spark.plugins.modules import image_build_unit


class Docker:
    """SIMULATED: a build cache in which a record stays as long as another needs it."""

    def __init__(self, **records: tuple[str, str]) -> None:
        self.records = records  # the time and the parent of each

    def ask(self, method: str, target: str) -> Any:
        if method == "GET":
            return {"BuildCache": [{"ID": name, "CreatedAt": at} for name, (at, _parent) in self.records.items()]}
        (name,) = json.loads(unquote(target.partition("filters=")[2]))["id"]
        if all(parent != name for _at, parent in self.records.values()):
            del self.records[name]
        return {}


STATE = {"began": 1000.0, "at": 2000.0}
BEFORE, WITHIN, AFTER = (f"1970-01-01T00:{minute}:00Z" for minute in ("10", "20", "40"))


def test_the_records_of_a_build_go_and_no_others() -> None:
    docker: Any = Docker(
        old=(BEFORE, ""), base=(WITHIN, ""), step=(WITHIN, "base"), last=(WITHIN, "step"), new=(AFTER, "")
    )
    assert sorted(image_build_unit.cache_of(docker, STATE)) == ["base", "last", "step"]
    assert image_build_unit.prune(docker, STATE) == []
    assert sorted(docker.records) == ["new", "old"]


def test_what_others_need_stays() -> None:
    docker: Any = Docker(base=(WITHIN, ""), step=(WITHIN, "base"), new=(AFTER, "base"))
    assert image_build_unit.prune(docker, STATE) == ["base"]
    assert sorted(docker.records) == ["base", "new"]


def test_without_a_build_nothing_is_asked() -> None:
    assert image_build_unit.cache_of(Docker(base=(WITHIN, "")), {}) == []  # type: ignore[arg-type]
