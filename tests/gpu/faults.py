# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break a real vLLM of two nodes on one machine, process by process, and time what the supervisor makes of it.

    PYTHONPATH=playbooks/collections python -m tests.gpu.faults --python PYTHON --out DIRECTORY

README.md says what it needs. It ends with 1 where something did not come back, was left, or counted as served.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tarfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Iterator

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract

from . import client, cluster, namespaces
from .cases import CASES, Case
from .cluster import Cluster, Process, Setting
from .table import markdown

LOADS = [client.Load(128, 128, 1, 12), client.Load(128, 128, 8, 48), client.Load(2048, 128, 8, 24)]
ANSWER = 20000  # tokens, so that a request runs until something ends it
STEADY_S = 15  # for which tokens flow after a fault, before nothing is expected of it any more
GONE_S, BACK_S = 150, 400
WAITS_S = 60  # for another node, before a first start has failed
TAKING = threading.Lock()


def main() -> int:
    """Run what is asked for, and write ``result.json``, ``result.md`` and ``logs.tar.gz``."""
    asked = arguments()
    began = time.monotonic()
    setting = setting_of(asked, began + asked.seconds)
    check_programs()
    out = Path(asked.out)
    out.mkdir(parents=True, exist_ok=True)
    gpus = Gpus(setting.device)
    report = Report(out / "result.json", about(setting, asked), gpus.used())
    with cluster.places():
        cluster.shim(setting)
        gpus.start()
        try:
            alone = measured(setting, report) if asked.figures else None
            queue = chosen(asked.cases)
            threads = [threading.Thread(target=with_graphs, args=[alone, report, gpus])] if alone else []
            threads += [
                threading.Thread(target=work, args=[setting, number, queue, report, gpus])
                for number in range(2, 2 + asked.clusters)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            report.set("not_run", [case.name for case in queue])
        finally:
            report.set("seconds", round(time.monotonic() - began))
            report.set("gpu_mib_after", gpus.settled(report.values["gpu_mib_before"]))
            keep_logs(setting.work, out / "logs.tar.gz")
            (out / "result.md").write_text(markdown(report.values))
    print(markdown(report.values))
    return 1 if report.problems() else 0


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has vLLM")
    parser.add_argument("--path", action="append", default=[], help="a directory that it is to import from, too")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--gpus", type=int, default=2, help="one will do: both ranks are on it then")
    parser.add_argument(
        "--work", default="/var/tmp/dgx-spark-gpu", help="a directory that is not there, and not in /tmp"
    )
    parser.add_argument("--out", required=True)
    parser.add_argument("--clusters", type=int, default=4, help="broken side by side; 0 for the figures alone")
    parser.add_argument("--cases", nargs="*", default=[], help="parts of names of the faults; else all")
    parser.add_argument(
        "--figures", action="store_true", help="also times of a cluster that is alone, with CUDA graphs"
    )
    parser.add_argument("--seconds", type=int, default=3600, help="after which it is over")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="in the containers' environment"
    )
    return parser.parse_args()


def check_programs() -> None:
    """Fail now, and not at a start that waits. :raises RuntimeError: with the program, and what it says."""
    for argv in (["/usr/sbin/sshd", "-?"], ["ssh", "-V"], ["ssh-keygen", "-?"]):
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stderr
        if "OpenSSH" not in said and "usage" not in said:
            raise RuntimeError(f"{argv[0]} does not run: {said.strip()}")


def setting_of(asked: argparse.Namespace, until: float) -> Setting:
    """What all clusters share. :param until: when all of it is over, on the clock of time.monotonic."""
    on_gpu = {"gpu_memory_utilization": 0.1, "kv_cache_memory_bytes": "2G"}
    given = {"load_format": "dummy", "max_num_seqs": 32, "max_num_batched_tokens": 8192, "max_model_len": 32768}
    environment = dict(one.split("=", 1) for one in asked.set)
    if asked.device == "cpu":
        environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_NUM_OF_RESERVED_CPU": "1", **environment}
    return Setting(
        python=asked.python,
        paths=asked.path,
        device=asked.device,
        gpus=asked.gpus,
        work=Path(asked.work),
        arguments={**given, **(on_gpu if asked.device == "cuda" else {})},
        environment=environment,
        size=(asked.layers, asked.hidden),
        until=until,
    )


def chosen(parts: list[str]) -> list[Case]:
    """The cases that a run is to have, the longest last, since they are taken from the end."""
    wanted = [case for case in CASES if not parts or any(part in case.name for part in parts)]
    return sorted(wanted, key=lambda case: case.about_s)


def taken(queue: list[Case], seconds: float) -> Case | None:
    """The longest case that can be had in so many seconds; it is no longer in the queue. None where none can."""
    with TAKING:
        fits = [case for case in queue if case.about_s < seconds]
        if not fits:
            return None
        queue.remove(fits[-1])
        return fits[-1]


def about(setting: Setting, asked: argparse.Namespace) -> dict[str, Any]:
    """What was run where, and with what."""
    ask = "import torch, vllm; print(vllm.__version__, torch.__version__, torch.version.cuda or '')"
    environ = {**os.environ, "PYTHONPATH": ":".join(setting.paths)}
    told = subprocess.run([setting.python, "-c", ask], capture_output=True, text=True, env=environ, check=True)
    vllm, torch, *cuda = told.stdout.splitlines()[-1].split()
    return {
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "vllm": vllm,
        "torch": torch,
        "cuda": "".join(cuda),
        "python": platform.python_version(),
        "device": setting.device,
        "gpus": names_of_gpus() if setting.device == "cuda" else [],
        "processors": os.cpu_count(),
        "clusters_at_once": asked.clusters,
        "limits": cluster.LIMITS,
        "arguments": setting.arguments,
        "environment": setting.environment,
        "layers": setting.size[0],
        "hidden": setting.size[1],
    }


class Report:
    """``result.json``, written whenever something is known."""

    def __init__(self, path: Path, given: dict[str, Any], mib: list[int]) -> None:
        self.path, self._lock = path, threading.Lock()
        self.values: dict[str, Any] = {"about": given, "gpu_mib_before": mib, "starts": [], "cases": [], "wrong": []}

    def set(self, name: str, value: Any) -> None:
        """Note a value."""
        with self._lock:
            self.values[name] = value
            self._write()

    def add(self, name: str, value: Any) -> None:
        """Note one more."""
        with self._lock:
            self.values[name].append(value)
            self._write()
        print(f"{name}: {json.dumps(value)}", flush=True)

    def _write(self) -> None:
        self.path.write_text(json.dumps(self.values, indent=1) + "\n")

    def problems(self) -> list[str]:
        """All that is not as it has to be."""
        found = [f"{row['case']}: {one}" for row in self.values["cases"] for one in row["problems"]]
        before, after = self.values["gpu_mib_before"], self.values.get("gpu_mib_after", [])
        left = [f"a GPU holds {now} MiB, and held {then}" for then, now in zip(before, after) if now > then + 64]
        return [*found, *left, *self.values["wrong"]]


@contextlib.contextmanager
def guarded(report: Report, what: str) -> Iterator[None]:
    """Note an error, and go on."""
    try:
        yield
    except Exception as error:
        report.add("wrong", f"{what}: {type(error).__name__}: {error}")
        traceback.print_exc()


# --- GPUs ------------------------------------------------------------------------------------------------------------


def smi(*words: str) -> list[list[str]]:
    """What nvidia-smi answers, in rows and columns."""
    argv = ["nvidia-smi", *words, "--format=csv,noheader,nounits"]
    told = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    return [[cell.strip() for cell in line.split(",")] for line in told.stdout.splitlines() if line.strip()]


def names_of_gpus() -> list[str]:
    """Each GPU, with its driver."""
    return [f"{name}, driver {driver}" for name, driver in smi("--query-gpu=name,driver_version")]


class Gpus(threading.Thread):
    """Which processes hold memory of a GPU, looked at about once a second."""

    def __init__(self, device: str) -> None:
        super().__init__(daemon=True)
        self.there = device == "cuda"
        self.seen: tuple[float, set[int]] = (0.0, set())  # when the look began

    def run(self) -> None:
        """Until the program ends."""
        while self.there:
            now = time.monotonic()
            with contextlib.suppress(subprocess.SubprocessError, ValueError):
                self.seen = now, {int(pid) for (pid,) in smi("--query-compute-apps=pid")}
            time.sleep(0.5)

    def used(self) -> list[int]:
        """MiB in use on each GPU."""
        return [int(mib) for (mib,) in smi("--query-gpu=memory.used")] if self.there else []

    def settled(self, before: list[int]) -> list[int]:
        """MiB in use on each GPU once nobody should hold any more; that is waited for a little."""
        deadline = time.monotonic() + 10
        while (now := self.used()) != before and time.monotonic() < deadline:
            time.sleep(1)
        return now


# --- a cluster -------------------------------------------------------------------------------------------------------


def until(holds: Callable[[], Any], seconds: float) -> float:
    """Seconds until something holds. :raises TimeoutError: where it does not in time."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.1)
    return time.monotonic() - began


def serves(one: Cluster, since: float = 0) -> bool:
    """Whether the supervisor says so, of a token that came after a time."""
    state = one.state()
    return state.get("phase") == contract.SERVING and not state.get("reason") and state.get("canary_at", 0) > since


def answers(one: Cluster) -> bool:
    """Whether a short request is served."""
    request = client.Request(one.leader, one.address, client.body(cluster.REPO, 8))
    request.start()
    request.join(30)
    return request.end == client.SERVED and request.tokens == 8


def first_start(one: Cluster, report: Report, what: str) -> None:
    """Start a cluster, and note what that took. :raises RuntimeError: where it does not serve."""
    began = time.monotonic()
    one.start()
    with contextlib.suppress(TimeoutError):
        until(lambda: failed_first(one, began) or (serves(one) and answers(one)), BACK_S)
    if not serves(one):
        print(one.log()[-6000:], one.log(1)[-2000:], flush=True)
        raise RuntimeError(f"cluster {one.number} does not serve: {one.state()}")
    state = one.state()
    row = {name: state.get(name) for name in ("load_s", "kv_tokens", "ranks", "receipt", "canary_s")}
    titles = {part: cluster.title(process.pid) for part, process in one.engine().items()}
    if one.setting.device == "cuda" and set(state.get("ranks", {})) != set(cluster.MEMBERS):
        report.add("wrong", f"cluster {one.number}: NCCL's lines named the transports of {state.get('ranks')}")
    report.add("starts", {"what": what, "served_s": round(time.monotonic() - began, 1), **row, "processes": titles})


def failed_first(one: Cluster, began: float) -> bool:
    """Whether a first start will not serve any more, or there is no time for it."""
    now, state = time.monotonic(), one.state()
    waits = now - began > WAITS_S and state.get("phase") == contract.WAITING
    return "last_end" in state or waits or now > one.setting.until


def work(setting: Setting, number: int, queue: list[Case], report: Report, gpus: Gpus) -> None:
    """Take faults from a queue, and try them on one cluster, until there are none or it is late."""
    with guarded(report, f"cluster {number}"):
        one = Cluster(setting, number, {"enforce_eager": True})
        try:
            first_start(one, report, f"cluster {number}, eager, beside others")
            while case := taken(queue, setting.until - time.monotonic()):
                report.add("cases", tried(one, case, gpus))
                if not serves(one):
                    raise RuntimeError(f"it does not serve any more: {one.state()}")
        finally:
            one.stop()


def measured(setting: Setting, report: Report) -> Cluster | None:
    """Measure a cluster that is alone, as vLLM is by default: with compiled graphs. Returns it, if it serves."""
    one = Cluster(setting, 1, {} if setting.device == "cuda" else {"enforce_eager": True})
    with guarded(report, "the figures"):
        first_start(one, report, "alone, as vLLM is by default, with empty caches")
        client.measure(one.leader, one.address, cluster.REPO, client.Load(128, 32, 4, 8), seed=10**6)  # warms it up
        found = []
        for number, load in enumerate(LOADS):
            found.append(client.measure(one.leader, one.address, cluster.REPO, load, seed=1000 * number))
            print(json.dumps(found[-1]), flush=True)
        report.set("figures", found)
        return one
    one.stop()
    return None


def with_graphs(one: Cluster, report: Report, gpus: Gpus) -> None:
    """Kill a worker of a cluster with CUDA graphs, and start it from caches that it has filled."""
    with guarded(report, "the cluster with CUDA graphs"):
        try:
            case = next(case for case in CASES if case.name == "SIGKILL to node 1 worker")
            row = tried(one, case, gpus)
            report.add("cases", {**row, "case": f"{row['case']}, with CUDA graphs"})
            what = "as vLLM is by default, with full caches, beside others"
            report.add("starts", {"what": what, "load_s": one.state().get("load_s")})
        finally:
            one.stop()


# --- a fault ---------------------------------------------------------------------------------------------------------


class Trial:
    """One fault of one cluster, and what is seen of it; seconds count from the fault."""

    def __init__(self, one: Cluster, case: Case, gpus: Gpus) -> None:
        self.one, self.case, self.gpus = one, case, gpus
        self.before, self.rest = one.engine(), one.rest()
        self.requests: dict[str, client.Request] = {}
        self.health = client.Watch(one.leader, one.address)
        self.began, self.began_at = 0.0, 0.0
        self.gone: dict[str, float] = {}
        self.phases: list[list[Any]] = []
        self.row: dict[str, Any] = {"case": case.name, "alone": case.alone, "cluster": one.number}
        self.problems: list[str] = []
        self._of = {process.pid: self._node(process.pid) for process in self.rest}

    def _node(self, pid: int) -> str:
        return "leader" if namespaces.network_of(pid) == self.one.networks[0] else "node 1"

    def now(self) -> float:
        """Seconds since the fault."""
        return round(time.monotonic() - self.began, 1)

    def send(self) -> None:
        """Have a stream and a plain request run. :raises TimeoutError: where no token comes."""
        if self.case.idle:
            return
        asked = client.body(cluster.REPO, ANSWER)
        for name, stream in (("stream", True), ("plain", False)):
            self.requests[name] = client.Request(self.one.leader, self.one.address, asked, stream)
            self.requests[name].start()
        until(lambda: len(self.requests["stream"].pieces) > 20, 60)

    def look(self) -> None:
        """Note what has changed."""
        state = self.one.state()
        seen = [state.get("phase", ""), state.get("reason", "")]
        if not self.phases or self.phases[-1][1:] != seen:
            self.phases.append([self.now(), *seen])
        for place in ("leader", "node 1"):
            left = [process for process in self.rest if self._of[process.pid] == place and process.lives]
            if not left:
                self.gone.setdefault(place, self.now())
            else:
                self.gone.pop(place, None)
        looked, pids = self.gpus.seen
        if len(self.gone) == 2 and looked > self.began and not pids & set(self._of):
            self.gone.setdefault("gpu", self.now())

    def noticed(self) -> bool:
        """Whether the supervisor has left what it did: serving, of the process that it had."""
        return any(phase != contract.SERVING for _at, phase, _reason in self.phases) or bool(
            self.one.containers[0].ends and self.one.containers[0].ends[-1][0] > self.began
        )

    def flows(self) -> bool:
        """Whether tokens come now."""
        if self.case.idle:
            return False
        pieces = self.requests["stream"].pieces
        return bool(pieces) and time.monotonic() - pieces[-1] < 1.5

    def is_steady(self) -> bool:
        """Whether tokens still come, so long after the fault that it has no consequence any more."""
        return self.now() >= STEADY_S + self.case.brief_s and self.flows()

    def is_back(self) -> bool:
        """Whether other processes serve, as the supervisor says and a request shows."""
        if not serves(self.one, self.began_at):
            return False
        parts = self.one.engine()
        new = not set(parts.values()) & set(self.before.values())
        return new and len(parts) == len(self.before) and answers(self.one)

    def wait(self, holds: Callable[[], Any], seconds: float, what: str) -> bool:
        """Look until something holds; whether it did in time."""
        deadline = min(time.monotonic() + seconds, self.one.setting.until)
        while True:
            self.look()
            if holds():
                return True
            if time.monotonic() > deadline:
                self.problems.append(f"{what}: not until {self.now():g} s, {self.one.state().get('reason')!r}")
                return False
            time.sleep(0.1)

    def open_requests(self) -> list[client.Request]:
        """Those that have not ended."""
        return [one for one in self.requests.values() if not one.ended]


def tried(one: Cluster, case: Case, gpus: Gpus) -> dict[str, Any]:
    """Do one thing to a cluster that serves, and wait until it serves again. Returns a row of the table."""
    until(lambda: serves(one, time.time() - 30), 60)
    trial = Trial(one, case, gpus)
    if len(trial.before) != 5:
        trial.problems.append(f"parts of the engine before: {sorted(trial.before)}")
    trial.health.start()
    undo = None
    try:
        trial.send()
        trial.began, trial.began_at = time.monotonic(), time.time()
        undo = done(trial)
        follow(trial, undo)
    except (TimeoutError, OSError, KeyError) as error:
        trial.problems.append(f"{type(error).__name__}: {error}")
    finally:
        if undo:
            undo()
        trial.health.over.set()
    return row_of(trial)


def done(trial: Trial) -> Callable[[], None] | None:
    """Break what is to be broken. Returns what mends it, None where the supervisor has to."""
    one, case = trial.one, trial.case
    if case.what in trial.before:
        process = trial.before[case.what]
        os.kill(process.pid, getattr(signal, f"SIG{case.how}"))
        return (lambda: resumed(process)) if case.how == "STOP" else None
    if case.what == "link":
        one.switch(False)
        return lambda: one.switch(True)
    if case.what in ("leader", "worker"):
        container = one.containers[case.what == "worker"]
        if case.how == "KILL":
            container.signal(signal.SIGKILL)
            return None
        container.stop()
        trial.row["stop_s"] = trial.now()
        return None
    if case.what == "model":
        config, aside = one.snapshot / "config.json", one.snapshot / "aside.json"
        config.rename(aside)
        os.kill(trial.before["leader main"].pid, signal.SIGKILL)
        return lambda: renamed(aside, config)
    assert case.what == "arguments"
    one.containers[0].stop()
    right = list(one.serving.cluster["serve"])
    one.reconfigure(lambda told: told.update(serve=[*right, "--no-such-flag"]))
    one.containers[0].start()
    return lambda: one.reconfigure(lambda told: told.update(serve=right))


def renamed(one: Path, other: Path) -> None:
    """Give a file its name back, unless it has it."""
    if one.exists():
        one.rename(other)


def resumed(process: Process) -> None:
    """Let a stopped process run, where it is still there."""
    if process.lives:
        os.kill(process.pid, signal.SIGCONT)


def follow(trial: Trial, undo: Callable[[], None] | None) -> None:
    """Watch a cluster after a fault until it serves."""
    one, case = trial.one, trial.case
    if case.brief_s and undo:
        trial.wait(lambda: trial.now() >= case.brief_s, case.brief_s + 1, "the fault's end")
        undo()
    bound = case.what in ("model", "arguments")
    if not trial.wait(lambda: trial.noticed() or trial.is_steady(), GONE_S, "nothing noticed it, and no token came"):
        return
    if not trial.noticed():
        trial.row["outcome"] = "goes on"
        if not answers(one):
            trial.problems.append("a further request was not served")
        return
    trial.row["noticed_s"] = next((at for at, phase, _why in trial.phases if phase != contract.SERVING), trial.now())
    trial.wait(lambda: {"leader", "node 1"} <= set(trial.gone), GONE_S, "processes of the old engine were left")
    if trial.gpus.there:
        trial.wait(lambda: "gpu" in trial.gone, 10, "a GPU was still held by the old engine")
    if case.what == "link" and undo:
        undo()
        trial.row["mended_s"] = trial.now()
    if bound and undo:
        trial.wait(lambda: gave_up(one), BACK_S, "it did not give up")
        trial.row["gave_up_s"], trial.row["gave_up"] = trial.now(), one.state().get("reason")
        undo()
        trial.row["mended_s"] = trial.now()
    if not one.containers[0].runs:
        one.containers[0].start()
    if trial.wait(trial.is_back, BACK_S, "it did not come back"):
        trial.row["outcome"] = "back"
        trial.row["back_s"] = trial.now()


def gave_up(one: Cluster) -> bool:
    """Whether the supervisor starts nothing any more, and its container has ended."""
    return one.state().get("phase") == contract.GAVE_UP and not one.containers[0].runs


def row_of(trial: Trial) -> dict[str, Any]:
    """All that was seen of a fault."""
    state, restarted = trial.one.state(), "noticed_s" in trial.row
    for name, request in trial.requests.items():
        ended = round(request.ended - trial.began, 2) if request.ended else None
        trial.row[name] = {"end": request.end, "end_s": ended, "pieces": len(request.pieces), "done": request.done}
        if restarted and request.end == client.SERVED:
            trial.problems.append(f"the {name} request counts as served")
        if restarted and not request.ended:
            trial.problems.append(f"the {name} request is still open")
        request.close()
    trial.row.update(
        gone_s=trial.gone,
        phases=trial.phases,
        health=[[round(at - trial.began, 1), answer] for at, answer in trial.health.seen],
        load_s=state.get("load_s") if restarted else None,
        last_end=state.get("last_end") if state.get("last_end_at", 0) > trial.began_at else None,
        ends=[[round(at - trial.began, 1), status] for at, status in trial.one.containers[0].ends if at > trial.began],
        problems=trial.problems,
    )
    return trial.row


def keep_logs(work_in: Path, target: Path) -> None:
    """All containers' logs, and what they were told."""
    with tarfile.open(target, "w:gz") as kept:
        for pattern in ("*/*/log", "*/*/container.json", "*/*/config/*.json", "*/*/state/*.json"):
            for path in sorted(work_in.glob(pattern)):
                kept.add(path, str(path.relative_to(work_in)))


if __name__ == "__main__":
    sys.exit(main())
