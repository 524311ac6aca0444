# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the client of the engine's image on the leader, in a container of that image, and see how far it is.

The container has no GPU unless that is asked for, and none of the serving's limits. It ends where nobody looks after it
any more, and nothing of it is left on the host.

This plugin util is private to the collection.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import time
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, measure, watch
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trial import FOLDER
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import benchmark_serving, cells, figures
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.session import Say, told
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.told import mapping, whole
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.trial import (
    MODULE,
    WHY,
    TrialFailedError,
    source,
)

WHAT = "benchmark"
START_S = 300  #: that a call may take to import TensorRT-LLM, beside its load
PATIENCE_S = 30  #: after which the container ends by itself when nobody looks after it
MEMORY_MIB = 4096  #: that it may take, as the container that tells TensorRT-LLM's flags
LONGEST_PAUSE_S = 3.0
KEPT = (f"{benchmark_serving.MEASURED}.json.gz", f"{benchmark_serving.WARMUP}.json.gz", measure.LOG)

#: runs a module on the leader, by its name and arguments, and returns its result
Call = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


class Container(NamedTuple):
    """In which it runs."""

    host: str  # the leader's name
    image: str  # the ID of the image that serves there
    gpu: bool
    request_s: float
    options: Mapping[str, Any]  # of the module beside, such as meminfo


def tokenizer(commit: str) -> str:
    """Where the container has the tokenizer of the model that is served.

    >>> tokenizer("0123abc")
    '/models/snapshots/0123abc'
    """
    return f"{contract.MODEL_DIR}/snapshots/{commit}"


def measured(
    job: cells.Job,
    target: benchmark_serving.Target,
    container: Container,
    key: str,
    folder: Path,
    slo: figures.Slo,
    say: Say,
    call: Call,
) -> dict[str, Any]:
    """Run one job, and judge it. Return what the document says of the run.

    :param key: the endpoint's, empty for none. :param folder: where what the client writes is kept. :param say: is told
        how many requests have come, and of how many.
    :raises TrialFailedError: where the container cannot be started, or the host tells nothing of it any more.
    """
    began = time.time()
    with _removed_afterwards(call):
        _asked(call, container.host, **_start(job, target, container, key))
        seen = _watched(job, container.host, say, call)
        files = {name: _fetched(name, call) for name in KEPT}
    _keep(files, folder)
    log = (files[measure.LOG] or b"").decode("utf-8", "replace")
    result, warmup = (_unpacked(files[name]) for name in KEPT[:2])
    export = benchmark_serving.read(result, warmup, log)
    why = str(seen.get("why") or "")
    says = WHY.get(why, why).format(seconds=_seconds(job, container)) if why else ""
    return told(
        job, began, export, whole(seen.get("status")), says or benchmark_serving.complaint(log, export.requests), slo
    )


def _seconds(job: cells.Job, container: Container) -> int:
    """After how long a call is given up."""
    return START_S + round(cells.seconds_at_most(job.cell, container.request_s))


def _start(job: cells.Job, target: benchmark_serving.Target, container: Container, key: str) -> dict[str, Any]:
    """What the module is told to start the container."""
    seconds = _seconds(job, container)
    steps = ((benchmark_serving.WARMUP, job.cell.warmup), (benchmark_serving.MEASURED, job.cell.requests))
    order: measure.Order = {
        "calls": [
            {
                "name": step,
                "argv": benchmark_serving.command(job, target, step, FOLDER),
                "seconds": seconds,
                "requests": requests,
            }
            for step, requests in steps
        ]
    }
    files = {"measure.py": source(measure), "watch.py": source(watch), measure.ORDER: json.dumps(order).encode()}
    return {
        "state": "started",
        "what": WHAT,
        "image": container.image,
        "gpu": container.gpu,
        "command": ["python3", f"{FOLDER}/measure.py", FOLDER],
        "files": {name: base64.b64encode(data).decode() for name, data in files.items()},
        "secrets": {measure.KEY: key} if key else {},
        "served_model": True,
        "memory_mib": MEMORY_MIB,
        "patience": PATIENCE_S,
        "seconds": 2 * seconds,
        **container.options,
    }


def _watched(job: cells.Job, host: str, say: Say, call: Call) -> Mapping[str, Any]:
    """Wait for the container's end. Return what was said of it last."""
    pause, parent = 0.5, os.getppid()
    while True:
        if os.getppid() != parent:  # the play was killed, and nobody is left to tell
            raise SystemExit(1)
        seen = _asked(call, host, state="watched")
        progress = mapping(seen.get("result"))
        came = whole(progress.get("came")) if progress.get("name") == benchmark_serving.MEASURED else 0
        say(came or 0, job.cell.requests)
        if not seen.get("running"):
            return seen
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_S)


def _asked(call: Call, host: str, **options: Any) -> Mapping[str, Any]:
    done = call(MODULE, options)
    if done.get("failed") or done.get("unreachable"):
        raise TrialFailedError(f"{host}: {done.get('msg') or done}")
    return done


@contextmanager
def _removed_afterwards(call: Call) -> Iterator[None]:
    """Remove the container with the block, also where a signal ends this process of Ansible's without its finally. One
    that is killed leaves that to the container's own patience."""

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    before = {signum: signal.signal(signum, leave) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum in before:
            signal.signal(signum, signal.SIG_IGN)  # a second one would leave it there
        with suppress(Exception):  # what ended the block is what is to be told
            call(MODULE, {"state": "absent"})
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _fetched(name: str, call: Call) -> bytes | None:
    """A file that was written beside the client, None where it has none."""
    done = call("ansible.legacy.slurp", {"src": f"{FOLDER}/{name}"})
    if done.get("failed") or "content" not in done:
        return None
    return base64.b64decode(done["content"])


def _unpacked(data: bytes | None) -> str | None:
    """The text of a packed file, None where there is none. Half of one is no JSON, which is told."""
    if data is None:
        return None
    try:
        return gzip.decompress(data).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error):
        return ""


def _keep(files: Mapping[str, bytes | None], folder: Path) -> None:
    """Write down what tells why a run is as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        if data is not None:
            (folder / name).write_bytes(data)
