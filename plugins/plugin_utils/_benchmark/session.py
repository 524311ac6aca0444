# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the client on the controller, and see how far it is.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Iterator, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import aiperf, cells, figures, judge
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.export import Export

LOG = "client.log"
KEPT = (aiperf.RECORDS, aiperf.SUMMARY, LOG)
PAUSE_S = 0.5
#: the client's sockets have paths, of which a system takes 104 letters, 82 of them the client's own
SHORT, LETTERS = Path("/", "tmp"), 22

Say = Callable[[int, int], None]


def measured(
    job: cells.Job, target: aiperf.Target, program: Path, key: str, folder: Path, slo: figures.Slo, say: Say
) -> dict[str, Any]:
    """Run one job, and judge it. Return what the document says of the run.

    :param program: the client. :param key: the endpoint's, empty for none. :param folder: where what the client exports
        is kept. :param say: is told how many requests have come, and of how many.
    """
    began = time.time()
    with _workshop() as work:
        status = _client(job, target, program, key, work, say)
        export = _export(work)
        says = "" if export.requests else aiperf.complaint(_text(work / LOG) or "")
        _keep(work, folder)
    return told(job, began, export, status, says, slo)


def told(
    job: cells.Job, began: float, export: Export, status: int | None, says: str, slo: figures.Slo
) -> dict[str, Any]:
    """What the document says of a run.

    :param began: seconds since the epoch. :param status: the client's exit status, None where it never began.
    :param says: why it did not measure, as it says itself; empty for nothing.
    """
    good, problems = judge.of_run(export, job.cell, status)
    problems += [f"the client says: {says}"] if says else []
    return {
        "run": job.run,
        "seed": job.seed,
        "at": began,
        "took_s": time.time() - began,
        "good": not problems,
        "problems": problems,
        "requests": len(export.requests),
        "good_requests": len(good),
        # Those of a run that is not good would be of its fast requests.
        "figures": figures.of_run(good, slo, export.duration_s) if not problems else None,
        "client": export.version,
    }


@contextmanager
def _workshop() -> Iterator[Path]:
    """A directory that nobody else reads, and that is gone afterwards: the client leaves files in the temporary one."""
    usual = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="dgx-spark-benchmark-", dir=usual if len(usual) <= LETTERS else SHORT))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _client(job: cells.Job, target: aiperf.Target, program: Path, key: str, work: Path, say: Say) -> int | None:
    """Run the client to its end. Return its exit status, None where it cannot be started."""
    config, out, temporary = work / "config.json", work / "out", work / "tmp"
    temporary.mkdir()
    config.write_text(json.dumps(aiperf.configuration(job, target, str(out))), encoding="utf-8")
    seconds = cells.seconds_at_most(job.cell, target.request_s)
    with (work / LOG).open("wb") as log:
        try:
            process = subprocess.Popen(
                aiperf.command(str(program), str(config), seconds),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=work,
                env=aiperf.environment(os.environ, str(temporary), key),
                start_new_session=True,  # all of its processes can be ended at once
            )
        except OSError as error:
            log.write(f"{program} cannot be started: {error}\n".encode())
            return None
        with _ended_with_us(process, work):
            count = _Count(out / aiperf.RECORDS)
            while process.poll() is None:
                say(count.now(), job.cell.requests)
                time.sleep(PAUSE_S)
    return process.returncode


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes], work: Path) -> Iterator[None]:
    """End the client with the block, and also where a signal ends this process of Ansible's without its finally."""

    def end(signum: int, frame: FrameType | None) -> None:
        _end(process)
        shutil.rmtree(work, ignore_errors=True)
        signal.signal(signum, before[signal.Signals(signum)])
        os.kill(os.getpid(), signum)

    before = {signum: signal.signal(signum, end) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the client's processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM if process.poll() is None else signal.SIGKILL)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Count:
    """How many measured requests a file has, read on from where it was left."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._count = path, 0, 0

    def now(self) -> int:
        with suppress(OSError), self._path.open("rb") as stream:
            stream.seek(self._at)
            piece = stream.read()
            whole = piece[: piece.rfind(b"\n") + 1]
            self._at += len(whole)
            self._count += sum(1 for _line in aiperf.done(whole.decode("utf-8", "replace").splitlines()))
        return self._count


def _export(work: Path) -> Export:
    out = work / "out"
    return aiperf.read((_text(out / aiperf.RECORDS) or "").splitlines(), _text(out / aiperf.SUMMARY))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _keep(work: Path, folder: Path) -> None:
    """Copy what tells why a run is as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        for place in (work / "out" / name, work / name):
            with suppress(OSError):
                shutil.copyfile(place, folder / name)


def program_of(environment: Path) -> Path:
    """The client in an environment of Python's."""
    return environment / "bin" / aiperf.NAME


def resumed(document: Mapping[str, Any]) -> set[tuple[str, int]]:
    """The runs of an earlier document that need not be measured again: cell and run."""
    return {(cell["key"], run["run"]) for cell in document.get("cells", []) for run in cell["runs"] if run["good"]}
