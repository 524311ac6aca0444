# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparks that the real vLLM serves on, built for processors, and what is seen of it from outside."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .conftest import ENGINE, ROOT, SERVED, Pair, Run, eventually
from .pace import Clock

OPTIONS: dict[str, Any] = yaml.safe_load((ROOT / "lab" / "playbooks" / "vars" / "vllm.yml").read_text())
MODEL = OPTIONS["spark_model"]
#: the processes of one rank by a part of their titles; brackets, so that a search for them does not find itself
MAIN, CORE, RANK = "bin/[v]llm serve", "[V]LLM::EngineCore", "[V]LLM::Worker"
URL = "http://127.0.0.1:8355"


@dataclass
class Real(Pair):
    """Sparks with the real vLLM in their registry, and a model on their hub that it loads."""

    options: dict[str, Any] = field(default_factory=lambda: dict(OPTIONS))

    def stock(self) -> None:
        """Bring the Sparks up, and put vLLM's image and its model where they fetch them."""
        self.come()
        run = self.play(ENGINE, virtual_spark_engine_name="vllm")
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

    def chat(self, model: str = MODEL, tokens: int = 8, **more: Any) -> tuple[int, dict[str, Any]]:
        messages = [{"role": "user", "content": "Who are you?"}]
        code, text = self.posted("/v1/chat/completions", model=model, messages=messages, max_tokens=tokens, **more)
        return code, json.loads(text) if text.startswith("{") else {}

    def processes(self) -> dict[str, dict[str, set[str]]]:
        """By Spark and kind of process the numbers of those that run."""
        found: dict[str, dict[str, set[str]]] = {}
        for name in self.names:
            for pattern in (MAIN, CORE, RANK):
                said = self.host(name).run("pgrep --full %s", pattern).stdout.split()
                found.setdefault(name, {})[pattern] = set(said)
        return found

    def told(self, spark: str = "spark1") -> dict[str, Any]:
        """What the supervisor noted last; empty where it has noted nothing."""
        said = self.host(spark).run("sudo cat /var/lib/dgx-spark/vllm/state.json").stdout
        return json.loads(said) if said.startswith("{") else {}

    def whole(self) -> bool:
        """Whether every Spark has the processes of one engine, and no other."""
        leader, *workers = self.names
        found = self.processes()
        one = {MAIN: 1, CORE: 1, RANK: 1}
        return {kind: len(pids) for kind, pids in found[leader].items()} == one and all(
            {kind: len(pids) for kind, pids in found[name].items()} == {**one, CORE: 0} for name in workers
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


def real(scratch: Path, **variables: Any) -> Real:
    """New Sparks, which nothing has touched."""
    one = Real(scratch, variables=variables)
    one.stock()
    return one
