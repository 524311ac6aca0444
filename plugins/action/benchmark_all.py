# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure several models, one after the other; the module of this name documents it."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any, ClassVar, Mapping

from ansible import constants, context
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import history
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, replace_text
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told as told_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import (
    cells,
    children,
    clients,
    every,
    provenance,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import fit, report, switch
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.document import document as status_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.in_place import InPlace
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: of a result, what is read
KEYS = ("read", "unread", "at", "unreachable", "msg", "module_stderr")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
COLLECTION = Path(__file__).parents[2]
JOURNAL = "journal.json"


class ActionModule(Planner):
    """Runs on the controller, and runs plays there that reach the Sparks."""

    SPEC: ClassVar[dict[str, Any]] = {
        "named": {"type": "bool", "default": False},
        "entries": {"type": "dict", "required": True},
        "facts": {"type": "dict", "required": True},
        "hosts": {"type": "dict", "required": True},
        "history": {"type": "list", "elements": "dict", "default": []},
        "status": {"type": "str", "required": True},
        "instance": {"type": "str", "default": ""},
        "name": {"type": "str", "default": "all"},
        "directory": {"type": "path", "required": True},
        "retry": {"type": "bool", "default": False},
        "model": {"type": "str", "default": ""},
        "client": {"type": "str", "default": clients.AIPERF},
        "url": {"type": "str", "default": ""},
        "tokenizer": {"type": "str", "default": ""},
        "extra": {"type": "dict", "default": {}},
        "profile": {"type": "str", "default": "quick"},
        **{name: {"type": "raw"} for name in cells.OPTIONS},
        "runs": {"type": "int", "default": 3},
        "seed": {"type": "int", "default": 1},
        "reserve_gb": {"type": "float", "default": 20.0},
        "memory_reserve_mib": {"type": "int", "default": 24576},
        "memory_floor_mib": {"type": "int", "default": 8192},
        "memory_load_floor_mib": {"type": "int", "default": 16384},
    }
    ERRORS: ClassVar[tuple[type[Exception], ...]] = (cells.CellsError, children.ChildError, clients.ClientError)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Measure what is not measured yet. Return what became of each model."""
        if not NAME.fullmatch(asked["name"]):
            raise PlanError(
                f"benchmark_name is {asked['name']!r}: give letters, digits, dots, dashes and underscores. "
                "Nothing was measured."
            )
        if asked["model"]:
            raise PlanError(
                f"benchmark_model is {asked['model']!r}, and each model is asked by its own name: leave it out, and "
                "name models by benchmark_models. Nothing was measured."
            )
        children.arguments(context.CLIARGS)  # says now what it refuses
        campaign = _Campaign(asked, task_vars)
        if self._task.check_mode:
            items = campaign.items()
            self._say(every.lines(items, campaign.title))
            return _told(items, campaign)
        shown = InPlace(self._display, task_vars["inventory_hostname"])
        with children.alone(campaign.folder / "lock", shown.say) as lock:
            campaign.read()  # which an earlier call may have noted meanwhile
            items = campaign.items()
            shown.end()
            self._say(every.lines(items, campaign.title))
            campaign.measure(items, _Driver(self._secrets(), lock, shown))
            shown.end()
        items = campaign.items()
        self._say(every.lines(items, campaign.title))
        return _told(items, campaign)

    def _say(self, lines: list[str]) -> None:
        self._display.display("\n".join(lines))  # as it is: a result's long lines are folded or quoted

    def _secrets(self) -> children.Secrets:
        return children.Secrets(str(self._play_context.password or ""), str(self._play_context.become_pass or ""))


class _Driver:
    """Runs playbooks of this collection."""

    def __init__(self, secrets: children.Secrets, lock: int, shown: InPlace) -> None:
        self._secrets, self._lock, self._shown = secrets, lock, shown

    def run(self, name: str, variables: Mapping[str, Any], log: Path, words: str) -> str:
        """Return why it has failed, empty where it has not. :param words: what is said beside its task."""

        def say(task: str) -> None:
            self._shown.say(words, f": {task}" if task else "")

        why = children.run(
            COLLECTION / "playbooks" / name,
            children.arguments(context.CLIARGS),
            variables,
            children.environment(os.environ, COLLECTION.parents[2], vars(constants)["COLLECTIONS_PATHS"]),
            self._secrets,
            log,
            self._lock,
            say,
        )
        return f"{why} ({log} has all of it)" if why else ""


class _Campaign:
    """All models, what is known of them, and the journal."""

    def __init__(self, asked: dict[str, Any], task_vars: Mapping[str, Any]) -> None:
        self._asked = asked
        self.folder = Path.cwd() / Path(asked["directory"]).expanduser() / asked["name"]
        some = cells.cells(asked["profile"], {name: asked[name] for name in cells.OPTIONS})
        jobs = cells.jobs(some, asked["runs"], asked["seed"])
        clients.refuse(asked["client"], some, asked)
        self._seconds = sum(cells.seconds_of(job.cell) + clients.START_S[asked["client"]] for job in jobs)
        members = list(asked["hosts"])
        self._settings = {
            "loads": [cell.key for cell in some],
            "runs": asked["runs"],
            "seed": asked["seed"],
            "client": asked["client"],
            "Sparks": members,
        }
        self.title = f"{asked['profile']} on {provenance.shape(members)}"
        self._rows = self._candidates()
        self._instance = _instance(asked, task_vars)
        self.read()

    def _candidates(self) -> list[every.Candidate]:
        asked = self._asked
        hosts = [
            report.Host(name, one["memory_mib"], one["filesystem"]["free_bytes"], one["blobs"], one["rates"])
            for name, one in asked["hosts"].items()
        ]
        self._room = [host.free_bytes - asked["reserve_gb"] * 1e9 for host in hosts]
        reserve = fit.Reserve(asked["memory_reserve_mib"], asked["memory_floor_mib"], asked["memory_load_floor_mib"])
        rows = report.rows(
            asked["entries"], asked["facts"], hosts, report.Asked(reserve_gb=asked["reserve_gb"], reserve=reserve)
        )
        by_handle = {row.handle: row.to_json() for row in rows}
        in_order = [by_handle[handle] for handle in asked["entries"]]
        return every.candidates(in_order, asked["facts"], fit.FITS, fit.DOES_NOT)

    @property
    def _serves(self) -> str:
        """The model that serves, empty for none."""
        return str(self._instance["model"]["repo"] or "") if self._instance and self._instance["serves"] else ""

    @property
    def _before(self) -> dict[str, Any]:
        """What serves now, as the journal notes it: the model that served last, and whether it does."""
        entry = history.current(history.entries(self._asked["history"]))
        if self._serves and (entry is None or entry["repo"] != self._serves):
            commit = self._instance["model"]["commit"] if self._instance else ""
            return {"repo": self._serves, "commit": commit or "", "recorded": {}, "serves": True}
        if entry is None:
            return {"repo": "", "commit": "", "recorded": {}, "serves": False}
        recorded = switch.as_asked(entry)
        return {"repo": entry["repo"], "commit": entry["commit"], "recorded": recorded, "serves": bool(self._serves)}

    def read(self) -> None:
        """Read the journal. :raises PlanError: where it is of other settings, or none that can be gone on with."""
        path = self.folder / JOURNAL
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.journal = every.begun(self._asked["name"], self._settings, time.time())
            return
        except (OSError, ValueError, RecursionError) as error:
            raise PlanError(f"{path} on the controller cannot be read ({error}): {_OTHER}") from error
        if problem := every.problem(found):
            raise PlanError(f"{path} on the controller cannot be gone on with, {problem}: {_OTHER}")
        if other := every.mismatch(found, self._settings):
            raise PlanError(f"{path} on the controller is of a benchmark with {other}: {_OTHER}")
        self.journal = found

    def _note(self, **change: Any) -> None:
        self.journal = {**self.journal, **change}
        path = self.folder / JOURNAL
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, json.dumps(self.journal, indent=2) + "\n", mode=0o600)
        except (OSError, FileError) as error:
            raise PlanError(
                f"{told_of(error)}, or name another directory on this controller (benchmark_out)."
            ) from error

    def _note_model(self, handle: str, **entry: Any) -> None:
        self._note(models=every.noted(self.journal, handle, **entry)["models"])

    def items(self) -> list[every.Item]:
        """What becomes of each model."""
        return every.planned(
            self._rows,
            self._asked["named"],
            self._serves,
            self.journal["models"],
            self._room,
            self._seconds,
            self._asked["retry"] and not self._retried,
        )

    _retried = False

    def measure(self, items: list[every.Item], driver: _Driver) -> None:
        """Measure what is to be, and have serve again what served before."""
        todo = [one for one in items if one.state == every.MEASURE]
        for number, one in enumerate(todo, 1):
            self._measure(one, f"{number} of {len(todo)} models, {one.handle}", driver)
        self._retried = True
        self._back(driver)

    def _measure(self, one: every.Item, words: str, driver: _Driver) -> None:
        entry = self.journal["models"].get(one.handle) or {}
        attempt = every.attempt(entry, self._goes_on(entry, one.handle))
        name = every.result_name(self._asked["name"], one.handle, attempt)
        self._note_model(one.handle, state=every.STARTED, attempt=attempt, result=name, at=time.time(), why="")
        logs = self.folder / name
        why = self._switched(one, words, driver, logs / "switch.log")
        if not why:
            why = driver.run("benchmark.yml", {"benchmark_name": name}, logs / "benchmark.log", f"{words}, measured")
        self._note_model(one.handle, state=every.FAILED if why else every.MEASURED, why=why, ended=time.time())

    def _goes_on(self, entry: Mapping[str, Any], handle: str) -> bool:
        """Whether what an interrupted attempt has measured is of the engine that runs now, or there is nothing."""
        path = self.folder.parent / f"{entry.get('result')}.json"
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))["before"]["serving"]
        except FileNotFoundError:
            return True
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return False
        if self._instance is None or self._serves != handle:
            return False
        began = (earlier.get(self._instance["name"]) or {}).get("began")
        return began is not None and began == self._instance["began"]

    def _switched(self, one: every.Item, words: str, driver: _Driver, log: Path) -> str:
        """Have a model serve. Return why it does not. What serves already is measured as it serves."""
        before = self.journal["before"]
        if before is None and one.handle == self._serves:
            return ""
        if before is None:
            self._note(before=self._before)
        asked = {"spark_model": one.handle, "spark_model_revision": one.commit, "spark_speculative": ""}
        return driver.run("switch_model.yml", asked, log, f"{words}, switched in")

    def _back(self, driver: _Driver) -> None:
        """Have serve again what served before the first switch, in this call or in one that was interrupted."""
        before = self.journal["before"]
        if before is None:
            return
        why, recorded = "", before["recorded"]
        if before["repo"]:
            asked = {
                "spark_model": before["repo"],
                "spark_model_revision": before["commit"],
                "spark_speculative": recorded.get("speculative", ""),
                "trtllm_serve_recorded": recorded,
            }
            why = driver.run("switch_model.yml", asked, self.folder / "back.log", f"{before['repo']} is switched back")
        if not why and not before["serves"]:
            why = driver.run("stop.yml", {}, self.folder / "stop.log", "what did not serve before is stopped")
        if why:
            again = f"{before['repo']} serve again" if before["serves"] else "the serving stopped again"
            raise PlanError(
                f"All is measured and noted in {self.folder / JOURNAL}, but what was before could not be had back, "
                f"{again}: {why}. Mend that, and run this again: it measures nothing twice."
            )
        self._note(before=None)


_OTHER = "name another benchmark (benchmark_name). Nothing was measured."


def _instance(asked: Mapping[str, Any], task_vars: Mapping[str, Any]) -> Any:
    """What is served, None for nothing."""
    told = {}
    for host in asked["hosts"]:
        status = (task_vars["hostvars"].get(host) or {}).get(asked["status"]) or {}
        told[host] = {key: status[key] for key in KEYS if key in status}
    return provenance.chosen(status_of(told, time.time()), asked["instance"])[0]


def _told(items: list[every.Item], campaign: _Campaign) -> dict[str, Any]:
    models = campaign.journal["models"]
    return {
        "models": [
            {"model": one.handle, "state": one.state, "why": one.why, **_result(models.get(one.handle) or {})}
            for one in items
        ],
        "failed": [f"{one.handle}: {one.why}" for one in items if one.state == every.FAILED],
        "journal": str(campaign.folder / JOURNAL),
        "seconds": round(sum(one.seconds for one in items)),
        "_ansible_verbose_override": True,  # the table is shown already
    }


def _result(entry: Mapping[str, Any]) -> dict[str, str]:
    return {"result": str(entry.get("result") or "") if entry.get("state") == every.MEASURED else ""}
