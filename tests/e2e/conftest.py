# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of two virtual Sparks with a name of its own, driven through ansible-runner and seen through testinfra."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator

import ansible_runner
import pytest
import testinfra
import yaml
from testinfra.host import Host

ROOT = Path(__file__).parents[2]
# An hour's work: "make fabric", which "make test-all" does too.
collect_ignore_glob = [] if os.environ.get("FABRIC_MATRIX") else ["test_fabric*.py"]


@dataclass
class Run:
    """What a playbook did: its status and, host by host, its counts; and all that it said."""

    status: str
    stats: dict[str, dict[str, int]]
    events: list[dict[str, Any]]
    said: str

    def results(self, task: str) -> dict[str, dict[str, Any]]:
        """The results of the task whose name ends with ``task``, by host."""
        return {
            event["event_data"]["host"]: event["event_data"]["res"]
            for event in self.events
            if event["event"] in ("runner_on_ok", "runner_on_failed") and event["event_data"]["task"].endswith(task)
        }


@dataclass
class Lab:
    """A lab, and the ways to act on it from outside."""

    scratch: Path
    name: str = field(default_factory=lambda: f"e2e-{secrets.token_hex(3)}")
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.scratch / self.name

    @property
    def inventory(self) -> Path:
        return self.home / "inventory.yml"

    def play(self, playbook: Path | str | list[dict[str, Any]], check: bool = False, **variables: Any) -> Run:
        """Run a playbook: a path below playbooks/, or plays given as data."""
        work = self.scratch / f"run-{secrets.token_hex(3)}"
        work.mkdir(parents=True)
        if isinstance(playbook, list):
            path = work / "play.yml"
            path.write_text(yaml.safe_dump(playbook))
        else:
            path = ROOT / "playbooks" / playbook
        done = ansible_runner.run(
            private_data_dir=str(work),
            playbook=str(path),
            inventory=str(self.inventory) if self.inventory.exists() else None,
            extravars={
                "virtual_spark_lab": self.name,
                "virtual_spark_home": str(self.home),
                **self.variables,
                **variables,
            },
            cmdline="--check --diff" if check else None,
            envvars={
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
            },
            quiet=not os.environ.get("E2E_VERBOSE"),
        )
        stats: dict[str, dict[str, int]] = {}
        for count, hosts in (done.stats or {}).items():
            for host, value in hosts.items():
                stats.setdefault(host, {})[count] = value
        return Run(done.status, stats, list(done.events), done.stdout.read())

    def module(self, name: str, hosts: str = "spark", **options: Any) -> dict[str, dict[str, Any]]:
        """Run one module over ssh; returns its result by host."""
        run = self.play([{"hosts": hosts, "gather_facts": False, "tasks": [{"name": "It", name: options}]}])
        assert run.status == "successful", run.said
        return run.results("It")

    def host(self, name: str) -> Host:
        """A virtual Spark over ssh, as its owner."""
        return testinfra.get_host(f"ssh://{name}", ssh_config=str(self.home / "ssh_config"))

    @property
    def internet(self) -> str:
        """The address of the host that stands for the internet."""
        address = yaml.safe_load(self.inventory.read_text())["spark"]["hosts"]["spark1"]["ansible_host"]
        return address.rsplit(".", 1)[0] + ".2"


def brought_up(scratch: Path, **variables: Any) -> Lab:
    lab = Lab(scratch, variables=variables)
    run = lab.play("lab_up.yml")
    assert run.status == "successful", run.said
    return lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two Sparks on one cable, for all tests that leave them as they were."""
    one = brought_up(tmp_path_factory.mktemp("lab"))
    yield one
    if not os.environ.get("E2E_KEEP"):
        run = one.play("lab_down.yml")
        assert run.status == "successful", run.said
        shutil.rmtree(one.scratch)
