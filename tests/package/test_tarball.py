# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tarball as a stranger gets it: it installs, documents itself, and passes Ansible's own checks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))


def run(argv: list[str | Path], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment as a stranger would: no ansible.cfg and no settings of the checkout's."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    own["PATH"] = f"{BIN}:{own['PATH']}"
    return subprocess.run(
        [BIN / argv[0], *argv[1:]], env={**own, **environment}, cwd=cwd, capture_output=True, text=True, check=False
    )


def program(*argv: str | Path, cwd: Path, **environment: str) -> str:
    """What a program prints; one that fails is a failed test."""
    done = run(list(argv), cwd, **environment)
    assert done.returncode == 0, f"{argv}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("built")
    program("ansible-galaxy", "collection", "build", ROOT, "--output-path", built, cwd=built)
    return next(built.glob("sparkops-dgx_spark-*.tar.gz"))


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("collections")
    program("ansible-galaxy", "collection", "install", tarball, "-p", path, "--no-deps", "--offline", cwd=path)
    return path


def test_it_holds_what_a_user_needs_and_no_more(installed: Path) -> None:
    collection = installed / "ansible_collections" / "sparkops" / "dgx_spark"
    names = {path.name for path in collection.iterdir()}
    assert {"LICENSE", "README.md", "meta", "playbooks", "plugins", "roles", "inventory", "docs"} <= names
    assert not names & {"tests", "molecule", "Makefile", "ansible.cfg", ".ci", ".venv"}
    assert not list(collection.rglob("__pycache__"))


@pytest.fixture(scope="module")
def documented(installed: Path) -> dict[str, Any]:
    names = [f"sparkops.dgx_spark.{module}" for module in MODULES]
    said = program("ansible-doc", "--json", *names, cwd=installed, ANSIBLE_COLLECTIONS_PATH=str(installed))
    return json.loads(said)


@pytest.mark.parametrize("module", MODULES)
def test_ansible_doc_shows_every_module(documented: dict[str, Any], module: str) -> None:
    shown = documented[f"sparkops.dgx_spark.{module}"]
    # docker_swarm_gpu_probe would start a service to look from: in check mode it skips itself.
    expected = "partial" if module == "docker_swarm_gpu_probe" else "full"
    assert shown["doc"]["attributes"]["check_mode"]["support"] == expected
    assert shown["examples"]
    assert shown["return"]


def test_modules_are_listed(installed: Path) -> None:
    said = program(
        "ansible-doc", "--json", "-l", "sparkops.dgx_spark", cwd=installed, ANSIBLE_COLLECTIONS_PATH=str(installed)
    )
    assert sorted(json.loads(said)) == [f"sparkops.dgx_spark.{module}" for module in MODULES]


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_playbooks_run_by_name_and_by_path(installed: Path, tmp_path: Path, playbook: str) -> None:
    program(
        "ansible-playbook", f"sparkops.dgx_spark.{playbook}", "--syntax-check",
        cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(installed),
    )  # fmt: skip
    program(
        "ansible-playbook", ROOT / "playbooks" / f"{playbook}.yml", "--syntax-check",
        cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(tmp_path),
    )  # fmt: skip


def test_an_installed_playbook_finds_its_role_and_module(installed: Path, tmp_path: Path) -> None:
    """It gets as far as the planner, which refuses; nothing is made."""
    argv = ["ansible-playbook", "sparkops.dgx_spark.lab_up", "-e", "virtual_spark_count=9"]
    done = run(argv, tmp_path, ANSIBLE_COLLECTIONS_PATH=str(installed))
    assert "virtual_spark_count is 9: a lab holds 1 to 8 virtual Sparks" in done.stdout, done.stdout + done.stderr


def test_galaxy_importer_takes_it(tarball: Path, tmp_path: Path) -> None:
    # Its own ansible-lint and ansible-test runs are those of make lint and of the test below.
    config = tmp_path / "importer.cfg"
    config.write_text("[galaxy-importer]\nRUN_ANSIBLE_TEST = False\nRUN_ANSIBLE_LINT = False\n")
    argv = ["python", "-m", "galaxy_importer.main", tarball]
    done = run(argv, tmp_path, GALAXY_IMPORTER_CONFIG=str(config))
    said = done.stdout + done.stderr
    assert "Importer processing completed successfully" in said, said
    assert "WARNING" not in said, said


def test_ansible_test_sanity(installed: Path, tmp_path: Path) -> None:
    """All of ansible-test's sanity tests that need no container, in a home of its own."""
    cache = tmp_path / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("get_pip.py"), cache / "get_pip_24_2.py")
    pip = Path.home() / ".config" / "pip"
    if pip.is_dir():  # ansible-test installs its linters from where the user's pip does
        shutil.copytree(pip, tmp_path / ".config" / "pip")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    collection = installed / "ansible_collections" / "sparkops" / "dgx_spark"
    done = run(["ansible-test", "sanity", "--local", "--python", version], collection, HOME=str(tmp_path))
    faults = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("ERROR", "FATAL"))]
    assert done.returncode == 0, "\n".join(faults) or done.stderr[-4000:]
