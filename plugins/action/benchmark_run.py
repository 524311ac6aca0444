# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure an endpoint; the module of this name documents it."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, ClassVar, Iterator, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import (
    aiperf,
    benchmark_serving,
    cells,
    clients,
    document,
    figures,
    in_image,
    judge,
    session,
    tunnel,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.trial import TrialFailedError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.in_place import InPlace
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.written import write

SSH = ("ssh", "ansible.builtin.ssh")
LOCAL = ("local", "ansible.builtin.local")

#: runs a job, whose raw files go into a directory, and tells how far it is; returns what the document says of the run
Measure = Callable[[cells.Job, Path, session.Say], "dict[str, Any]"]


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "endpoint": {"type": "dict", "required": True},
        "model": {"type": "str", "required": True},
        "client": {"type": "str", "default": clients.AIPERF},
        "tokenizer": {"type": "path"},
        "environment": {"type": "path"},
        "serving": {"type": "dict", "default": {}},
        "client_gpu": {"type": "bool", "default": False},
        "meminfo": {"type": "path", "default": "/proc/meminfo"},
        "cells": {"type": "list", "elements": "dict", "required": True},
        "runs": {"type": "int", "default": 3},
        "seed": {"type": "int", "default": 1},
        "api_key": {"type": "str", "default": "", "no_log": True},
        "extra": {"type": "dict", "default": {}},
        "bust_cache": {"type": "bool", "default": True},
        "request_seconds": {"type": "int", "default": 600},
        "slo": {"type": "dict", "default": {}},
        "head": {"type": "dict", "default": {}},
        "out": {"type": "path", "required": True},
    }
    ERRORS: ClassVar[tuple[type[Exception], ...]] = (
        cells.CellsError,
        clients.ClientError,
        tunnel.TunnelError,
        TrialFailedError,
    )

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Measure every run that no earlier call has measured well. Return the document."""
        some = [cells.Cell(**one) for one in asked["cells"]]
        order = cells.jobs(some, asked["runs"], asked["seed"])
        clients.refuse(asked["client"], some, {"url": asked["endpoint"].get("url"), "extra": asked["extra"]})
        path = Path.cwd() / Path(asked["out"]).expanduser()
        if self._task.check_mode:
            return {"document": {}, "file": "", "measured": 0, "skipped": False}
        host = task_vars["inventory_hostname"]
        if asked["client"] == clients.IMAGE:
            return self._measured(asked, self._in_image(asked, host, task_vars), path, some, order, host)
        for name in ("tokenizer", "environment"):
            if not asked[name]:
                raise PlanError(f"{name} is not given, which AIPerf needs. Nothing was measured.")
        with self._way(asked["endpoint"], host) as url:
            return self._measured(asked, self._from_here(asked, url), path, some, order, host)

    @contextmanager
    def _way(self, endpoint: dict[str, Any], host: str) -> Iterator[str]:
        """The endpoint's URL as this controller reaches it; by a tunnel where it is one of the leader's loopback."""
        if endpoint["url"]:
            yield str(endpoint["url"])
            return
        address, port = str(endpoint["host"]), int(endpoint["port"])
        if self._connection.transport in LOCAL:
            yield f"http://{f'[{address}]' if ':' in address else address}:{port}"
            return
        if self._connection.transport not in SSH:
            raise PlanError(
                f"{host} is reached by {self._connection.transport}, which gives no tunnel: give an address that this "
                "controller reaches (benchmark_url). Nothing was measured."
            )
        options = {name: self._connection.get_option(name) for name in tunnel.OPTIONS}
        with tunnel.opened(options, address, port, host) as url:
            yield url

    def _from_here(self, asked: dict[str, Any], url: str) -> Measure:
        """AIPerf on this controller."""
        slo = figures.Slo(**asked["slo"])
        target = aiperf.Target(
            url=url,
            model=asked["model"],
            tokenizer=asked["tokenizer"],
            key=bool(asked["api_key"]),
            extra=asked["extra"],
            request_s=float(asked["request_seconds"]),
            bust=asked["bust_cache"],
        )
        program = session.program_of(Path(asked["environment"]))

        def measure(job: cells.Job, raw: Path, say: session.Say) -> dict[str, Any]:
            return session.measured(job, target, program, asked["api_key"], raw, slo, say)

        return measure

    def _in_image(self, asked: dict[str, Any], host: str, task_vars: dict[str, Any]) -> Measure:
        """The client of the image that serves, on the leader."""
        slo, serving = figures.Slo(**asked["slo"]), asked["serving"]
        target = benchmark_serving.Target(
            host=str(asked["endpoint"]["host"]),
            port=int(asked["endpoint"]["port"]),
            model=asked["model"],
            tokenizer=in_image.tokenizer(serving["commit"]),
            extra=asked["extra"],
            own_code=bool(serving["own_code"]),
        )
        container = in_image.Container(
            host=host,
            image=serving["image"],
            gpu=asked["client_gpu"],
            request_s=float(asked["request_seconds"]),
            options={"meminfo": asked["meminfo"]},
        )

        def call(module: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
            return dict(self._execute_module(module, module_args=dict(arguments), task_vars=task_vars))

        def measure(job: cells.Job, raw: Path, say: session.Say) -> dict[str, Any]:
            if asked["bust_cache"]:  # its prompts come of the seed alone
                job = job._replace(seed=cells.seed_of(asked["seed"], f"{job.cell.key}/{time.time_ns()}", job.run))
            return in_image.measured(job, target, container, asked["api_key"], raw, slo, say, call)

        return measure

    def _measured(
        self,
        asked: dict[str, Any],
        measure: Measure,
        path: Path,
        some: list[cells.Cell],
        order: list[cells.Job],
        host: str,
    ) -> dict[str, Any]:
        found = _earlier(path, some, clients.NAMES[asked["client"]]) or document.begun(
            {"at": time.time(), "runs": asked["runs"], "seed": asked["seed"], **asked["head"]}, some
        )
        there = session.resumed(found)
        todo = [job for job in order if (job.cell.key, job.run) not in there]
        shown = InPlace(self._display, host)
        for number, job in enumerate(todo, 1):
            words = f"{job.cell.key}, run {job.run} of {asked['runs']} ({number} of {len(todo)})"

            def say(came: int, of: int, words: str = words) -> None:
                shown.say(words, f": {came} of {of} requests")

            raw = path.with_suffix("") / f"{job.cell.key}-run{job.run}"
            run = measure(job, raw, say)
            found = document.with_client(document.with_run(found, job.cell.key, run, asked["runs"]), run["client"])
            # Each run at once, so that a later call goes on from there.
            text = json.dumps(found, indent=2) + "\n"
            write(path, text, "benchmark_out", 0o644, names="directory")
        shown.end()
        return self._told(found, path, len(todo))

    def _told(self, found: dict[str, Any], path: Path, measured: int) -> dict[str, Any]:
        lines = document.table(found)
        self._display.display("\n".join(lines))  # as it is: a result's long lines are folded or quoted
        problems = [
            f"{cell['key']}, run {run['run']}: {problem}"
            for cell in found["cells"]
            for run in cell["runs"]
            for problem in run["problems"]
        ]
        return {
            "document": found,
            "file": str(path),
            "measured": measured,
            "good": found["good"],
            "problems": problems,
            "mend": judge.mend(problems) if problems else "",
            "_ansible_verbose_override": True,  # the table is shown already
        }


def _earlier(path: Path, some: list[cells.Cell], client: str) -> dict[str, Any] | None:
    """What an earlier call has written there, None for nothing.

    :raises PlanError: where that is of other cells, or of another client.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PlanError(
            f"{path} is there on the controller, and is no result that can be gone on with ({error}): name another "
            "one (benchmark_name). Nothing was measured."
        ) from error
    if [cell.get("load") for cell in found.get("cells", [])] != [cell.to_json() for cell in some]:
        raise PlanError(
            f"{path} on the controller has other cells than are asked for now: name another result (benchmark_name). "
            "Nothing was measured."
        )
    if clients.name_of(found) != client:
        raise PlanError(
            f"{path} on the controller was measured by {clients.name_of(found)}, and {client} is asked for now: name "
            "another result (benchmark_name). Nothing was measured."
        )
    return dict(found)
