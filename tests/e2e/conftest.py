# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of two virtual Sparks with a name of its own, driven through ansible-runner and seen through testinfra."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

import ansible_runner
import pytest
import testinfra
import yaml
from filelock import FileLock
from testinfra.host import Host

from .pace import Clock

ROOT = Path(__file__).parents[2]
SPARKS = ("spark1", "spark2")


def _flat(tasks: list[dict[str, Any]] | None) -> Iterator[dict[str, Any]]:
    """Tasks, those in blocks too."""
    for task in tasks or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _flat(task.get(part))


@dataclass
class Run:
    """What a playbook did: its status and, host by host, its counts; and all that it said."""

    status: str
    stats: dict[str, dict[str, int]]
    events: list[dict[str, Any]]
    said: str

    @property
    def words(self) -> str:
        """What it said, without colours, and without the places where lines were folded."""
        return " ".join(re.sub("\x1b\\[[0-9;]*m", "", self.said).split()).replace("''", "'")

    def results(self, task: str) -> dict[str, dict[str, Any]]:
        """The results of the task whose name ends with ``task``, by host."""
        return {
            event["event_data"]["host"]: event["event_data"]["res"]
            for event in self.events
            if event["event"] in ("runner_on_ok", "runner_on_failed") and event["event_data"]["task"].endswith(task)
        }

    def registered(self, register: str) -> dict[str, dict[str, Any]]:
        """What a role registered last as ``hf_cache_report``, for one, by host, whatever its task is called."""
        names = [
            task["name"]
            for path in ROOT.glob("roles/*/tasks/*.yml")
            for task in _flat(yaml.safe_load(path.read_text()))
            if task.get("register") == register
        ]
        assert names, f"no role registers {register}"
        return {
            host: about["res"]
            for host, about in self._ok()
            if about["task"].rpartition(" : ")[2] in names and not about["res"].get("skipped")
        }

    def planned(self) -> dict[str, set[str]]:
        """The names of the changes that the roles' plans list, by host, without what each is of; of a dry run."""
        planned: dict[str, set[str]] = {}
        for host, result in self._ok():
            planned.setdefault(host, set()).update(name.partition(": ")[0] for name in result["res"].get("planned", ()))
        return {host: names for host, names in planned.items() if names}

    def made(self) -> dict[str, set[str]]:
        """The names of the tasks that changed something, without their files' prefixes, by host."""
        made: dict[str, set[str]] = {}
        for host, result in self._ok():
            if result["res"].get("changed"):
                _role, _colon, name = result["task"].rpartition(" : ")
                made.setdefault(host, set()).add(name.partition(" | ")[2] or name)
        return made

    def _ok(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for event in self.events:
            if event["event"] == "runner_on_ok":
                yield event["event_data"]["host"], event["event_data"]

    @property
    def changed(self) -> dict[str, int]:
        """How many tasks changed something, by host; hosts without any are left out."""
        return {host: counts["changed"] for host, counts in self.stats.items() if counts.get("changed")}


def eventually(get: Callable[[], Any], wanted: Any, seconds: float = 10, clock: Clock | None = None) -> str:
    """Assert that ``get`` returns ``wanted`` within some seconds of an idle machine. Returns the time that it took.

    :param clock: one that runs already; else it begins now.
    """
    clock = clock or Clock()
    while (got := get()) != wanted and not clock.over(seconds):
        time.sleep(0.3)
    assert got == wanted, f"after {clock}"
    return str(clock)


def at_task(monkeypatch: pytest.MonkeyPatch, task: str, command: str) -> None:
    """Have this happen when that task is about to start."""
    monkeypatch.setenv("ANSIBLE_CALLBACK_PLUGINS", str(Path(__file__).parent / "faults"))
    monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "at_task")
    monkeypatch.setenv("AT_TASK", task)
    monkeypatch.setenv("AT_TASK_RUN", command)


UP, ENGINE, DOWN = "lab/playbooks/up.yml", "lab/playbooks/engine.yml", "lab/playbooks/down.yml"
#: held while a lab comes, is stocked or goes or a part of it is paused; who compares the whole machine waits for that
LABS = FileLock(Path(tempfile.gettempdir()) / "sparkops-e2e-labs.lock")


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

    def play(
        self,
        playbook: Path | str | list[dict[str, Any]],
        check: bool = False,
        limit: str = "",
        inventory: dict[str, Any] | None = None,
        collections: Path | None = None,
        **variables: Any,
    ) -> Run:
        """Run a playbook: its name below playbooks/, its path in the checkout, or plays given as data.

        With ``collections``, a directory that collections are installed in, plays find them there, as in somebody's own
        repository: nothing of this checkout and of its ansible.cfg is used.
        """
        work = self.scratch / f"run-{secrets.token_hex(3)}"
        work.mkdir(parents=True)
        if isinstance(playbook, list):
            path = work / "play.yml"
            path.write_text(yaml.safe_dump(playbook))
        else:
            path = ROOT / playbook if "/" in str(playbook) else ROOT / "playbooks" / playbook
        config = ROOT / "ansible.cfg"
        if collections:
            config = work / "ansible.cfg"
            config.touch()
        hosts = self.inventory
        if inventory is not None:
            hosts = work / "hosts.yml"
            hosts.write_text(yaml.safe_dump(inventory))
        with LABS if playbook in (UP, ENGINE, DOWN) else nullcontext():
            done = ansible_runner.run(
                private_data_dir=str(work),
                playbook=str(path),
                inventory=str(hosts) if hosts.exists() else None,
                limit=limit or None,
                extravars={
                    "virtual_spark_lab": self.name,
                    "virtual_spark_home": str(self.home),
                    **self.variables,
                    **variables,
                },
                cmdline="--check --diff" if check else None,
                envvars={
                    "ANSIBLE_CONFIG": str(config),
                    "ANSIBLE_COLLECTIONS_PATH": str(collections or ROOT / "playbooks" / "collections"),
                },
                quiet=not os.environ.get("E2E_VERBOSE"),
            )
        stats: dict[str, dict[str, int]] = {}
        for count, hosts in (done.stats or {}).items():
            for host, value in hosts.items():
                stats.setdefault(host, {})[count] = value
        return Run(done.status, stats, list(done.events), done.stdout.read())

    def come(self) -> None:
        """Bring the Sparks up. A name stands for one of 256 networks: where another lab has it, take another name."""
        for _attempt in range(3):
            run = self.play(UP)
            if "which this machine already routes" not in run.words:
                break
            self.name = f"{self.name.rpartition('-')[0]}-{secrets.token_hex(3)}"
        assert run.status == "successful", run.said

    def module(self, name: str, hosts: str = "spark", **options: Any) -> dict[str, dict[str, Any]]:
        """Run one module over ssh; returns its result by host."""
        run = self.play([{"hosts": hosts, "gather_facts": False, "tasks": [{"name": "It", name: options}]}])
        assert run.status == "successful", run.said
        return run.results("It")

    def hosts(self, *names: str) -> dict[str, Any]:
        """The lab's inventory with these hosts alone."""
        inventory = yaml.safe_load(self.inventory.read_text())
        every = inventory["spark"]["hosts"]
        inventory["spark"]["hosts"] = {name: every[name] for name in names}
        return inventory

    def state(self) -> dict[str, dict[str, list[str]]]:
        """What a play could change on a Spark: files with mode and owner, packages, addresses, Docker's objects."""
        find = "find /etc /opt /usr/local /root /home /var/lib/dgx-spark -not -path '*/.ansible*' -type f"
        questions = {
            # What its supervisor noted last, an engine that serves changes with every canary.
            "files": f"{find} -printf '%p %m %u %g\\n' | sort;"
            f" {find} -not -path '/var/lib/dgx-spark/*/state.json' -exec sha256sum {{}} + | sort",
            "packages": "dpkg-query --show",
            "addresses": "ip -oneline address show | sed 's/valid_lft.*//' | sort",
            "netdevs": "ip -oneline link show | sort",
            "docker": "docker ps --all --quiet; docker image ls --quiet; "
            "docker network ls --format '{{.Name}} {{.ID}}'; docker volume ls --quiet;"
            " docker info --format '{{.Swarm.LocalNodeState}} {{.DefaultRuntime}}'",
        }
        return {
            name: {
                about: host.check_output("sudo sh -c %s", question).splitlines()
                for about, question in questions.items()
            }
            for name in self.names
            for host in [self.host(name)]
        }

    @property
    def names(self) -> list[str]:
        """The Sparks, in rank order."""
        return list(yaml.safe_load(self.inventory.read_text())["spark"]["hosts"])

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
    lab.come()
    return lab


def taken_down(lab: Lab) -> None:
    if not os.environ.get("E2E_KEEP"):
        run = lab.play(DOWN)
        assert run.status == "successful", run.said
        shutil.rmtree(lab.scratch)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two Sparks on one cable, for all tests that leave them as they were."""
    one = brought_up(tmp_path_factory.mktemp("lab"))
    yield one
    taken_down(one)


#: what the lab's registry and hub have
SERVED = {
    "spark_model": "lab/tiny-chat",
    "spark_hf_endpoint": "http://huggingface.test",
    "spark_image": "nvcr.test/nvidia/tensorrt-llm/release:1.3.0rc13",
    "spark_reserve_gb": 1,  # all Sparks of a lab share one disk
}


@dataclass
class Pair(Lab):
    """Sparks with an engine's image in their registry and a model on their hub."""

    def stock(self) -> None:
        """Bring the Sparks up, and put an image and a model where they fetch them."""
        self.come()
        run = self.play(ENGINE)
        assert run.status == "successful", run.said

    def blank(self) -> None:
        """Put new Sparks, as blank as the first ones, into the places of these."""
        run = self.play(DOWN)
        assert run.status == "successful", run.said
        self.stock()

    def serve(self, playbook: str = "two_spark.yml", **options: Any) -> Run:
        return self.play(playbook, **{**SERVED, **options})

    def hub_bytes(self) -> int:
        """Bytes of files that the hub has served."""
        with urllib.request.urlopen(f"http://{self.internet}:9000/stats", timeout=30) as reply:
            return json.load(reply)["services"].get("hub", {}).get("content_bytes", 0)

    def asked(self, question: str = "Who are you?") -> dict[str, Any]:
        """The answer to a chat request on the leader, from its loopback; empty where there is none."""
        body = json.dumps({"model": "any", "messages": [{"role": "user", "content": question}], "max_tokens": 8})
        command = "curl --silent --fail --max-time 20 --json %s http://127.0.0.1:8355/v1/chat/completions"
        try:
            done = self.host("spark1").run(command, body)
        except RuntimeError:  # ssh does not get there
            return {}
        return json.loads(done.stdout) if done.succeeded else {}

    @contextmanager
    def offline(self) -> Iterator[None]:
        """Nothing outside the lab answers: no hub, no registry, no name server."""
        with LABS:
            subprocess.run(["docker", "pause", f"{self.name}-internet"], check=True, stdout=subprocess.DEVNULL)
            try:
                yield
            finally:
                subprocess.run(["docker", "unpause", f"{self.name}-internet"], check=True, stdout=subprocess.DEVNULL)

    def last_words(self) -> str:
        """What the Sparks say of the serving, for whoever reads of a test that failed."""
        about = (
            "cat /var/lib/dgx-spark/*/state.json; docker ps --all; ss -ltnp;"
            " journalctl --no-pager --lines 20 --unit 'dgx-spark-*';"
            " for one in $(docker ps --all --quiet --filter name=dgx-spark-); do docker logs --tail 40 $one; done 2>&1"
        )
        command = ["timeout", "60", "docker", "exec"]
        said = {
            name: subprocess.run(
                [*command, f"{self.name}-{name}", "sh", "-c", about], capture_output=True, text=True, check=False
            ).stdout
            for name in self.names
        }
        return "\n".join(f"--- {name}\n{text}" for name, text in said.items())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    pairs = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Pair)]
    if report.when == "call" and report.failed and pairs:
        report.sections.append(("what the Sparks say", pairs[0].last_words()))
    return report


def stocked(scratch: Path, **variables: Any) -> Pair:
    one = Pair(scratch, variables=variables)
    one.stock()
    return one


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two Sparks to serve on, blank at first."""
    one = stocked(tmp_path_factory.mktemp("pair"))
    yield one
    taken_down(one)


@pytest.fixture(scope="session")
def first(pair: Pair) -> tuple[Run, int]:
    """The first run of two_spark.yml on the pair, and how many bytes the hub served for it."""
    before = pair.hub_bytes()
    run = pair.serve()
    assert run.status == "successful", run.said
    return run, pair.hub_bytes() - before


def started(pair: Pair, container: str) -> dict[str, str]:
    """When a container was started, by host."""
    command = "sudo docker inspect --format '{{.State.StartedAt}} {{.State.Running}}' %s"
    return {name: pair.host(name).check_output(command, container) for name in SPARKS}


@pytest.fixture
def stranger(pair: Pair) -> Iterator[str]:
    """A container of somebody else's on every Spark, of the little that sleep needs."""
    pack = "tar --create --dereference /bin/sleep /lib/x86_64-linux-gnu/libc.so.6 /lib64/ld-linux-x86-64.so.2"
    for name in SPARKS:
        pair.host(name).check_output(f"{pack} | sudo docker import - stranger")
        pair.host(name).check_output("sudo docker run --detach --name stranger stranger /bin/sleep 86400")
    yield "stranger"
    for name in SPARKS:
        pair.host(name).check_output("sudo docker rm --force stranger && sudo docker image rm stranger")


@pytest.fixture(scope="module", params=["swarm", "docker"])
def serving(request: pytest.FixtureRequest, pair: Pair, first: tuple[Run, int]) -> Iterator[Pair]:
    """A supervisor that looks often and forgives early, so that a table of many faults does not use up its patience."""
    before = dict(pair.variables)
    pair.variables.update(
        spark_launcher=request.param,
        engine_serve_canary_interval="5",  # text, as "-e name=value" gives it
        engine_serve_canary_timeout="10",
        engine_serve_max_starts="50",
        engine_serve_drop_caches="false",
    )
    run = pair.serve()
    assert run.status == "successful", run.said
    yield pair
    pair.variables = before
