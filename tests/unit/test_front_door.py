# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the repository says of itself in several files is the same in all of them."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text())
RUNTIME = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))


def requirements(name: str) -> dict[str, Requirement]:
    """Packages that a requirements file names, those that it includes left out."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("-r ")]
    return {requirement.name.lower(): requirement for requirement in found}


def test_the_action_group_holds_every_module() -> None:
    assert RUNTIME["action_groups"] == {"dgx_spark": [path.stem for path in MODULES]}, "list it in meta/runtime.yml"


def test_requirements_yml_names_the_collections_of_galaxy_yml() -> None:
    named = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    assert {one["name"]: one["version"] for one in named} == GALAXY["dependencies"]


def test_no_package_is_required_in_two_ways() -> None:
    files = ("requirements.txt", "requirements-dev.txt", "requirements-unit.txt", "meta/ee-requirements.txt")
    ways: dict[str, set[str]] = {}
    for file in files:
        for name, requirement in requirements(file).items():
            ways.setdefault(name, set()).add(str(requirement.specifier))
    assert {name: way for name, way in ways.items() if len(way) > 1} == {}


def test_what_plugins_need_is_in_every_list() -> None:
    """An execution environment has less than a checkout: netaddr, and no tools and no lab."""
    need = requirements("meta/ee-requirements.txt")
    assert set(need) <= set(requirements("requirements.txt"))
    assert set(need) <= set(requirements("requirements-unit.txt"))


def test_the_ansible_core_that_is_tested_is_one_that_is_supported() -> None:
    supported = SpecifierSet(RUNTIME["requires_ansible"])
    assert version("ansible-core") in supported
    oldest = RUNTIME["requires_ansible"].removeprefix(">=").removesuffix(".0")
    assert f"ansible-core ≥ {oldest}" in (ROOT / "README.md").read_text()
    for meta in ROOT.glob("roles/*/meta/main.yml"):
        assert yaml.safe_load(meta.read_text())["galaxy_info"]["min_ansible_version"] == oldest, meta


def test_the_version_is_the_same_everywhere() -> None:
    changes = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text())
    assert GALAXY["version"] in changes["releases"]
    assert f"version {GALAXY['version']}" in (ROOT / "README.md").read_text()


def test_the_execution_environment_names_files_that_are_there() -> None:
    meta = yaml.safe_load((ROOT / "meta" / "execution-environment.yml").read_text())
    for name in meta["dependencies"].values():
        assert (ROOT / name).is_file(), name


@pytest.mark.skipif(not shutil.which("git"), reason="only git tells what is of the repository")
def test_every_link_of_the_repository_leads_to_a_file_of_it() -> None:
    """A link to a place of one machine breaks what is there in every other checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    links = [path for path in map(ROOT.joinpath, filter(None, listed.split("\0"))) if path.is_symlink()]
    assert links
    assert [
        link for link in links if link.readlink().is_absolute() or ROOT not in (link.resolve(), *link.resolve().parents)
    ] == []
