# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparks that an engine serves on which is one command on every node, and what is seen of it from outside."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .conftest import ENGINE, ROOT, SERVED, Pair, Run, eventually
from .pace import Clock

URL = "http://127.0.0.1:8355"
CABLE = "ansible-playbook lab/playbooks/cable.yml -e virtual_spark_lab='\"{lab}\"' -e virtual_spark_home={home}"
#: a supervisor that looks often and forgives early, so that a table of many faults does not use up its patience
PATIENCE = {
    "engine_serve_canary_interval": 5,
    "engine_serve_canary_timeout": 15,
    "engine_serve_max_starts": 50,
}


@dataclass(frozen=True)
class Served:
    """An engine in the lab.

    :param name: as ``lab/playbooks/engine.yml`` and its variables have it. :param engine: as ``spark_engine`` says it.
    :param head: its processes on the first node, by a part of their titles; brackets, so that a search for them does
        not find itself. :param other: those on each other node.
    """

    name: str
    engine: str
    head: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def options(self) -> dict[str, Any]:
        """What ``make lab`` serves with."""
        return yaml.safe_load((ROOT / "lab" / "playbooks" / "vars" / f"{self.name}.yml").read_text())


@dataclass
class EveryNode(Pair):
    """Sparks with such an engine in their registry, and a model on their hub."""

    served: Served = field(kw_only=True)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.options = {**self.served.options, **self.options}

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.options["spark_model"])

    def stock(self) -> None:
        """Bring the Sparks up, and put the engine's image and a model where they fetch them."""
        self.come()
        self.put(self.served.name)

    def put(self, engine: str) -> None:
        """Put an engine's image and a model where they fetch them."""
        run = self.play(ENGINE, virtual_spark_engine_name=engine)
        assert run.status == "successful", run.said

    def serve(self, playbook: str = "", **options: Any) -> Run:
        name = playbook or ("two_spark.yml" if len(self.names) > 1 else "single_spark.yml")
        return self.play(name, **{**SERVED, **self.options, **options})

    def posted(self, path: str, **body: Any) -> tuple[int, str]:
        """The status and the text that the API on the leader answers; 0 where it does not."""
        ask = "curl --silent --max-time 60 --write-out '\\n%%{http_code}' --json %s " + URL + path
        said = self.host("spark1").run(ask, json.dumps(body)).stdout
        text, _line, code = said.rpartition("\n")
        return int(code or 0), text

    def chat(self, model: str = "", tokens: int = 8, **more: Any) -> tuple[int, dict[str, Any]]:
        messages = [{"role": "user", "content": "Who are you?"}]
        code, text = self.posted(
            "/v1/chat/completions", model=model or self.model, messages=messages, max_tokens=tokens, **more
        )
        return code, json.loads(text) if text.startswith("{") else {}

    def processes(self) -> dict[str, dict[str, set[str]]]:
        """By Spark and kind of process the numbers of those that run."""
        found: dict[str, dict[str, set[str]]] = {}
        for name in self.names:
            for pattern in self.served.head:
                said = self.host(name).run("pgrep --full %s", pattern).stdout.split()
                found.setdefault(name, {})[pattern] = set(said)
        return found

    def told(self, spark: str = "spark1") -> dict[str, Any]:
        """What the supervisor noted last; empty where it has noted nothing."""
        said = self.host(spark).run(f"sudo cat /var/lib/dgx-spark/{self.served.engine}/state.json").stdout
        return json.loads(said) if said.startswith("{") else {}

    def whole(self) -> bool:
        """Whether every Spark has the processes of one engine, and no other."""
        leader, *workers = self.names
        found = self.processes()
        expected = {leader: self.served.head, **dict.fromkeys(workers, self.served.other)}
        return all(
            {kind for kind, pids in found[name].items() if pids} == set(kinds)
            and all(len(pids) < 2 for pids in found[name].values())
            for name, kinds in expected.items()
        )

    def pids(self) -> set[tuple[str, str]]:
        """All processes of the engine, each with its Spark."""
        return {(name, pid) for name, kinds in self.processes().items() for pids in kinds.values() for pid in pids}

    def back(self, before: set[tuple[str, str]], seconds: int, clock: Clock | None = None) -> str:
        """Wait until another engine serves, whole, and no process of the former is left. Returns how long it took."""
        took = eventually(lambda: (self.told().get("phase"), self.chat()[0]), ("serving", 200), seconds, clock)
        eventually(self.whole, True, seconds=30)
        assert before & self.pids() == set(), "processes of the former engine are left"
        return took

    def cabled(self, plugged: bool) -> None:
        """Plug the cable in, or take it out."""
        words = shlex.split(CABLE.format(lab=self.name, home=self.home))
        more = [] if plugged else ["-e", "virtual_spark_cable_plugged=false"]
        subprocess.run([*words, *more], check=True, stdout=subprocess.DEVNULL)

    def container(self) -> str:
        """Words of a shell for the engine's container on a Spark."""
        return f"$(sudo docker ps --quiet --filter name=dgx-spark-{self.served.engine})"

    def serves(self, seconds: int) -> set[tuple[str, str]]:
        """Wait until what an earlier test did is over; returns the engine's processes."""
        eventually(lambda: (self.told().get("phase"), self.whole()), ("serving", True), seconds=seconds)
        return self.pids()


def kill(pattern: str, number: str = "KILL") -> str:
    """A command that sends a signal to processes of such a title."""
    return f"sudo pkill -{number} --full '{pattern}'"


def stocked(scratch: Path, served: Served, **variables: Any) -> EveryNode:
    """New Sparks, which nothing has touched."""
    one = EveryNode(scratch, variables=variables, served=served)
    one.stock()
    return one
