# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tarballs as a stranger gets them: they install, document themselves, and pass Ansible's own checks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
#: the product, and its lab, which depends on the product; each by its root in the repository
COLLECTIONS = {"dgx_spark": ROOT, "virtual_spark": ROOT / "lab"}


def names(kind: str) -> list[tuple[str, str]]:
    """Collection and name of all modules (``plugins/modules/*.py``) or playbooks that there are."""
    return [(collection, path.stem) for collection, root in COLLECTIONS.items() for path in sorted(root.glob(kind))]


MODULES = names("plugins/modules/*.py")
PLAYBOOKS = names("playbooks/*.yml")


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
def tarballs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    built = tmp_path_factory.mktemp("built")
    for root in COLLECTIONS.values():
        program("ansible-galaxy", "collection", "build", root, "--output-path", built, cwd=built)
    return {collection: next(built.glob(f"sparkops-{collection}-*.tar.gz")) for collection in COLLECTIONS}


@pytest.fixture(scope="module")
def installed(tarballs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("collections")
    for tarball in tarballs.values():
        program("ansible-galaxy", "collection", "install", tarball, "-p", path, "--no-deps", "--offline", cwd=path)
    return path


@pytest.mark.parametrize(
    ("collection", "holds"),
    [
        ("dgx_spark", {"LICENSE", "README.md", "meta", "playbooks", "plugins", "roles", "inventory", "docs"}),
        ("virtual_spark", {"LICENSE", "README.md", "meta", "playbooks", "plugins", "roles", "inventory"}),
    ],
)
def test_it_holds_what_a_user_needs_and_no_more(installed: Path, collection: str, holds: set[str]) -> None:
    root = installed / "ansible_collections" / "sparkops" / collection
    found = {path.name for path in root.iterdir()}
    assert holds <= found
    assert not found & {"tests", "molecule", "Makefile", "ansible.cfg", "conftest.py", "lab", ".ci", ".venv"}
    assert not list(root.rglob("__pycache__"))
    assert not (root / "playbooks" / "collections").exists()
    assert (root / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_product_holds_nothing_of_the_lab(tarballs: dict[str, Path]) -> None:
    with tarfile.open(tarballs["dgx_spark"]) as tar:
        held = {member.name for member in tar}
    with tarfile.open(tarballs["virtual_spark"]) as tar:
        of_the_lab = {Path(member.name).name for member in tar if member.isfile()}
    assert "virtual_spark_info.py" in of_the_lab
    assert [name for name in held if "virtual" in name or name.startswith("lab")] == []
    assert not {Path(name).name for name in held} & {"virtual_spark_info.py", "_virtual_spark.py", "lab.yml"}


def test_no_line_of_the_product_knows_the_lab(installed: Path) -> None:
    root = installed / "ansible_collections" / "sparkops" / "dgx_spark"
    files = [path for part in ("plugins", "roles", "playbooks", "inventory") for path in (root / part).rglob("*")]
    knowing = re.compile(rb"SIMULATED|virtual_spark")
    assert [path for path in files if path.is_file() and knowing.search(path.read_bytes())] == []


@pytest.fixture(scope="module")
def documented(installed: Path) -> dict[str, Any]:
    full = [f"sparkops.{collection}.{module}" for collection, module in MODULES]
    said = program("ansible-doc", "--json", *full, cwd=installed, ANSIBLE_COLLECTIONS_PATH=str(installed))
    return json.loads(said)


@pytest.mark.parametrize(("collection", "module"), MODULES)
def test_ansible_doc_shows_every_module(documented: dict[str, Any], collection: str, module: str) -> None:
    shown = documented[f"sparkops.{collection}.{module}"]
    # docker_swarm_gpu_check would start services to look from: in check mode it checks the nodes alone.
    expected = "partial" if module == "docker_swarm_gpu_check" else "full"
    assert shown["doc"]["attributes"]["check_mode"]["support"] == expected
    assert shown["examples"]
    assert shown["return"]


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_modules_are_listed(installed: Path, collection: str) -> None:
    said = program(
        "ansible-doc", "--json", "-l", f"sparkops.{collection}",
        cwd=installed, ANSIBLE_COLLECTIONS_PATH=str(installed),
    )  # fmt: skip
    assert sorted(json.loads(said)) == [
        f"sparkops.{owner}.{module}" for owner, module in MODULES if owner == collection
    ]


@pytest.mark.parametrize(("collection", "playbook"), PLAYBOOKS)
def test_playbooks_run_by_name_and_by_path(installed: Path, tmp_path: Path, collection: str, playbook: str) -> None:
    program(
        "ansible-playbook", f"sparkops.{collection}.{playbook}", "--syntax-check",
        cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(installed),
    )  # fmt: skip
    program(
        "ansible-playbook", COLLECTIONS[collection] / "playbooks" / f"{playbook}.yml", "--syntax-check",
        cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(tmp_path),
    )  # fmt: skip


def test_an_installed_playbook_finds_its_role_and_module(installed: Path, tmp_path: Path) -> None:
    """It gets as far as the planner, which refuses; nothing is made."""
    argv = ["ansible-playbook", "sparkops.virtual_spark.up", "-e", "virtual_spark_count=9"]
    done = run(argv, tmp_path, ANSIBLE_COLLECTIONS_PATH=str(installed))
    assert "virtual_spark_count is 9: a lab holds 1 to 8 virtual Sparks" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_galaxy_importer_takes_it(tarballs: dict[str, Path], tmp_path: Path, collection: str) -> None:
    # Its own ansible-lint and ansible-test runs are those of make lint and of the test below.
    config = tmp_path / "importer.cfg"
    config.write_text("[galaxy-importer]\nRUN_ANSIBLE_TEST = False\nRUN_ANSIBLE_LINT = False\n")
    argv = ["python", "-m", "galaxy_importer.main", tarballs[collection]]
    done = run(argv, tmp_path, GALAXY_IMPORTER_CONFIG=str(config))
    said = done.stdout + done.stderr
    assert "Importer processing completed successfully" in said, said
    assert "WARNING" not in said, said


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of ansible-test's own, whose linters serve both collections."""
    home = tmp_path_factory.mktemp("home")
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("get_pip.py"), cache / "get_pip_24_2.py")
    pip = Path.home() / ".config" / "pip"
    if pip.is_dir():  # ansible-test installs its linters from where the user's pip does
        shutil.copytree(pip, home / ".config" / "pip")
    return home


@pytest.mark.parametrize("collection", ["dgx_spark", pytest.param("virtual_spark", marks=pytest.mark.matrix)])
def test_ansible_test_sanity(installed: Path, home: Path, collection: str) -> None:
    """All of ansible-test's sanity tests that need no container."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    root = installed / "ansible_collections" / "sparkops" / collection
    done = run(["ansible-test", "sanity", "--local", "--python", version], root, HOME=str(home))
    faults = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("ERROR", "FATAL"))]
    assert done.returncode == 0, "\n".join(faults) or done.stderr[-4000:]
