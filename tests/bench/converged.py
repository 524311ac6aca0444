# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run over two converged Sparks costs, in remote calls and beside ``ansible -m ping``; and a first run's time.

Run by ``make bench``. Two builds of the collection, the checkout and another commit, run one after the other in the
same lab, each from blank virtual Sparks. docs/performance.md says how the figures come about.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

import yaml

from tests.e2e.conftest import ROOT, SERVED, Pair, stocked, taken_down

#: the build that others are compared with
BASE = "c469530"
#: before each converged run: a ping is short, so that what else the machine does shows more in it
PINGS = 3
#: ansible-playbook -vvv: one such line for each ssh, sftp or scp process that a connection starts, retries included
CALL = re.compile(r"<(?P<address>[^>]+)> SSH: EXEC ")
TASK = re.compile(r"(?:TASK|RUNNING HANDLER) \[(?P<task>.*)\] \*+$")
RECAP = re.compile(r"(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s")


@dataclass
class Calls:
    """The remote calls of one run: for each host, and for each task of the busiest host."""

    hosts: dict[str, int]
    tasks: dict[str, int]

    @property
    def most(self) -> int:
        """The calls to the host that was asked most."""
        return max(self.hosts.values(), default=0)


def calls_in(log: str, names: dict[str, str]) -> Calls:
    """Count the remote calls that the output of a run with ``-vvv`` tells of.

    :param names: hosts by the address that Ansible connects to.

    >>> log = '''TASK [apply | Restart Docker] *****
    ... <10.0.0.1> SSH: EXEC ssh -C 10.0.0.1 python3
    ... <10.0.0.1> (0, b'{}', b'')
    ... <10.0.0.2> SSH: EXEC ssh -C 10.0.0.2 python3
    ... <10.0.0.1> SSH: EXEC sftp -b - 10.0.0.1'''
    >>> calls_in(log, {'10.0.0.1': 'spark1', '10.0.0.2': 'spark2'})
    Calls(hosts={'spark1': 2, 'spark2': 1}, tasks={'apply | Restart Docker': 2})
    """
    task = "before the first task"
    hosts = Counter(dict.fromkeys(names.values(), 0))
    by_task: Counter[tuple[str, str]] = Counter()
    for line in log.splitlines():
        if header := TASK.match(line):
            task = header["task"]
        elif call := CALL.match(line):
            name = names.get(call["address"], call["address"])
            hosts[name] += 1
            by_task[name, task] += 1
    busiest = max(hosts, key=lambda name: hosts[name], default="")
    return Calls(dict(hosts), {task: count for (name, task), count in by_task.items() if name == busiest})


def changed_in(log: str) -> int:
    """The tasks that changed something, by the recap of a run.

    >>> changed_in('spark1  : ok=9    changed=2    unreachable=0    failed=0')
    2
    """
    return sum(int(host["changed"]) for host in RECAP.finditer(log))


@dataclass
class Figures:
    """Of one build: seconds of first runs, of converged runs and of pings between them; and remote calls."""

    build: str
    first_s: list[float] = field(default_factory=list)
    ping_s: list[float] = field(default_factory=list)
    run_s: list[float] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    calls_by_task: dict[str, int] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, float]:
        ping, run = statistics.median(self.ping_s), statistics.median(self.run_s)
        return {
            "first_s": round(statistics.median(self.first_s), 1),
            "ping_s": round(ping, 2),
            "run_s": round(run, 2),
            "run_by_ping": round(run / ping, 1),
            "calls_a_host": max(self.calls.values()),
            "tasks_with_calls": len(self.calls_by_task),
        }


class Build:
    """A checkout of the collection, and its playbook run from outside as its user would run it."""

    def __init__(self, checkout: Path, pair: Pair) -> None:
        self.checkout = checkout
        self.pair = pair
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_CONFIG": str(checkout / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(checkout / "playbooks" / "collections"),
        }

    def run(self, *argv: str | Path) -> tuple[float, str]:
        """Run a program of Ansible on the pair; returns its seconds and its output. One that fails ends the bench."""
        program = Path(sys.executable).parent / argv[0]
        command = [program, "-i", self.pair.inventory, *argv[1:]]
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=self.checkout, env=self.environment, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - began
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}")
        return seconds, done.stdout

    def ping(self) -> float:
        return self.run("ansible", "spark", "-m", "ansible.builtin.ping")[0]

    def serve(self, *options: str) -> tuple[float, str]:
        variables = json.dumps({**SERVED, **self.pair.variables})
        return self.run("ansible-playbook", "playbooks/two_spark.yml", "-e", variables, *options)

    def converged(self, *options: str) -> tuple[float, str]:
        """A run that must not change anything, or it would measure something else."""
        seconds, said = self.serve(*options)
        if changed := changed_in(said):
            sys.exit(f"{changed} tasks changed something in a run over what should be converged:\n{said[-6000:]}")
        return seconds, said


def measure(name: str, build: Build, repetitions: int) -> Figures:
    """Take the figures of a build, from blank Sparks on."""
    figures = Figures(name)
    figures.first_s.append(build.serve()[0])
    build.converged()  # what only a second run does, such as reading what the first one noted, is no part of it
    for _repetition in range(repetitions):
        figures.ping_s += [build.ping() for _ping in range(PINGS)]
        figures.run_s.append(build.converged()[0])
    inventory = yaml.safe_load(build.pair.inventory.read_text())["spark"]["hosts"]
    calls = calls_in(build.converged("-vvv")[1], {about["ansible_host"]: host for host, about in inventory.items()})
    figures.calls, figures.calls_by_task = calls.hosts, calls.tasks
    return figures


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The collection as it was at a commit, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / commit
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", path, commit], check=True)
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", path], check=True)


def table(all_figures: list[Figures]) -> str:
    """The figures as Markdown."""
    rows: list[tuple[str, Callable[[dict[str, float]], Any]]] = [
        ("remote calls to a host, converged", lambda one: one["calls_a_host"]),
        ("tasks that made these calls", lambda one: one["tasks_with_calls"]),
        ("a converged run, s (median)", lambda one: one["run_s"]),
        ("`ansible -m ping` between these runs, s (median)", lambda one: one["ping_s"]),
        ("a converged run by a ping", lambda one: f"{one['run_by_ping']} x"),
        ("a first run from blank Sparks, s (median)", lambda one: one["first_s"]),
    ]
    summaries = [figures.summary for figures in all_figures]
    lines = [f"| | {' | '.join(figures.build for figures in all_figures)} |", "| --- |" + " --- |" * len(all_figures)]
    lines += [f"| {title} | {' | '.join(str(get(one)) for one in summaries)} |" for title, get in rows]
    return "\n".join(lines)


def described(checkout: Path) -> str:
    """What is measured of a checkout: its commit, and whether files differ from that."""
    git = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default=BASE, help="commit to compare with; empty for none (default: %(default)s)")
    parser.add_argument(
        "--repetitions", type=int, default=5, help="converged runs of each build (default: %(default)s)"
    )
    parser.add_argument(
        "--first-runs", type=int, default=3, help="first runs of each build, in turns (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench" / "converged.json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        pair = stocked(Path(scratch) / "pair")
        try:
            with checked_out(asked.base) if asked.base else nullcontext() as checkout:
                builds = {described(ROOT): Build(ROOT, pair)}
                if checkout:
                    builds = {asked.base: Build(checkout, pair), **builds}
                all_figures = []
                for name, build in builds.items():
                    all_figures.append(measure(name, build, asked.repetitions))
                    pair.blank()
                # What the machine does beside it changes within minutes: more of the longest, in turns.
                for _round in range(1, asked.first_runs):
                    for figures, build in zip(all_figures, builds.values(), strict=True):
                        figures.first_s.append(build.serve()[0])
                        pair.blank()
        finally:
            taken_down(pair)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    result = [{**asdict(figures), **{"summary": figures.summary}} for figures in all_figures]
    asked.output.write_text(json.dumps(result, indent=2) + "\n")
    print(table(all_figures))
    print(f"\nAll of it: {asked.output}")


if __name__ == "__main__":
    main()
