# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the hot-plug driver, as its marker and its attributes tell it; and that nothing writes to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.hotplug import is_on, read_hotplug

ROOT = Path(__file__).parents[5]


def test_a_machine_without_the_driver(tmp_path: Path) -> None:
    found = read_hotplug(str(tmp_path / "marker"), str(tmp_path / "none"))
    assert found == {"marker": False, "enabled": None, "cable": None}
    assert not is_on(found)


@pytest.mark.parametrize(
    ("marker", "enabled", "cable", "on"),
    [(True, "1", "0", True), (True, "0", "1", True), (False, "1", "1", True), (False, "0", "0", False)],
)
def test_the_driver_is_on_now_or_after_the_next_boot(
    tmp_path: Path, marker: bool, enabled: str, cable: str, on: bool
) -> None:
    if marker:
        (tmp_path / "marker").touch()
    (tmp_path / "hotplug_enabled").write_text(f"{enabled}\n")
    (tmp_path / "debug_state").write_text(f"{cable}\n")
    found = read_hotplug(str(tmp_path / "marker"), str(tmp_path))
    assert found == {"marker": marker, "enabled": enabled == "1", "cable": cable == "1"}
    assert is_on(found) is on


def test_an_attribute_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "hotplug_enabled").write_text("maybe\n")
    assert read_hotplug(str(tmp_path / "marker"), str(tmp_path))["enabled"] is None


def test_no_command_on_the_pci_bus_is_made_or_advised() -> None:
    """Cards were lost by removing and rescanning them by hand."""
    places = [*ROOT.glob("plugins/**/*.py"), *ROOT.glob("roles/**/*.*"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    advice = re.compile(r"bus/pci/rescan|pci\S*/remove\b|> */sys/\S*(debug_state|hotplug_enabled)|setpci|mlxfwreset")
    assert [str(path) for path in places if path.is_file() and advice.search(path.read_text(errors="replace"))] == []
