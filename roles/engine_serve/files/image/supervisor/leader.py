# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The leader's container: start the engine, check by a generated token whether it serves, and end when it ends."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import Any

from . import alerts, contract, engines, memory, network, processes, progress, rdma, receipts, ssh, state
from . import turn as turns
from .probe import Probe, RefusedError, token
from .running import Running
from .state import State

FAREWELL_S, BRIEF_S = 10, 1  #: that messages on their way may take where it gives up, and where the next start goes on


def decide(alive: bool, served: bool, failures: int, waited: float, limits: dict[str, Any], still: float = 0) -> str:
    """What to do about an engine: ``wait``, ``serve`` on, or the reason to end it.

    :param alive: its programs and the server run. :param served: it has generated a token before.
    :param failures: probes in a row without a token. :param waited: seconds since its start.
    :param still: seconds for which its load has shown no progress.
    """
    if not alive:
        return "the engine ended"
    if failures == 0:
        return "serve" if served else "wait"
    if served:
        return "wait" if failures < limits["failures"] else f"no token in {failures} probes"
    if still >= limits["stall_s"]:
        return (
            f"its load stood still: for {limits['stall_s'] / 60:g} min the ranks wrote no line, read no file and "
            "took no memory"
        )
    return "wait" if waited < limits["load_timeout_s"] else f"not loaded after {limits['load_timeout_s']} s"


def next_start(values: dict[str, Any], limits: dict[str, Any]) -> tuple[int, bool]:
    """The number of this start since the last good run, and whether it may be made."""
    number = int(values.get("starts", 0)) + 1
    return number, number <= limits["max_starts"]


def main() -> int:
    """Hold this node's lock, and lead."""
    processes.end_by_sigterm()
    with state.lock():
        own = State()
        watcher = alerts.Watcher(own)
        with contextlib.suppress(RuntimeError):  # a thread too many: without alerts rather than not at all
            watcher.start()
        try:
            status = lead(own)
        except SystemExit:
            own.set(phase=contract.STOPPED, reason="asked to end", starts=0)
            raise
        watcher.close(FAREWELL_S if status == contract.EXIT_GAVE_UP else BRIEF_S)
        return status


def lead(own: State) -> int:
    """One start, from waiting for what it needs to the end of the engine. Returns the exit status."""
    cluster, node = state.cluster(), state.node()
    limits, config = cluster["limits"], os.environ.get(contract.CONFIG_VARIABLE, "")
    own.node = node["name"]
    if own.values.get("config") != config:
        own.values["starts"] = 0  # what failed was something else
    own.set(phase=contract.WAITING, reason="", config=config, began=time.time(), behind="")
    network.await_address(node["address"], own, network.others(cluster, node))
    wanted, prefix = rdma.needed(cluster, node), f"{node['name']}: "
    if not rdma.await_devices(wanted, own, lambda _words, seconds: time.sleep(seconds), prefix):
        return contract.EXIT_FAILED  # to be made anew, with the device nodes that are true now
    number, allowed = next_start(own.values, limits)
    if not allowed:
        return give_up(own, f"{number - 1} starts failed; the last: {own.values.get('last_end', '?')}")
    os.environ["PMIX_HOSTNAME"] = contract.short(node["name"])  # Open MPI 5 may reject this host's, if it is long
    ssh.write_client_config(cluster)
    engine = engines.of(cluster)
    turn = await_all(cluster, own, engine.reuses_port)
    own.set(phase=contract.STARTING, reason="", starts=number, ranks={})
    try:
        prepare(cluster, node, engine)
        judge = rdma.Judge(cluster, node)
    except (OSError, RuntimeError, TypeError, ValueError, subprocess.SubprocessError) as error:
        fail(own, str(error))
        lost = rdma.lost(cluster, node)
        return wait(own, lost) if lost else contract.EXIT_FAILED
    return watch(cluster, Running(engine), own, judge, turn)


def await_all(cluster: dict[str, Any], own: State, reuse: bool = False) -> turns.Turn:
    """Wait, without limit, for the workers, the port, and the turn to load on this node, which is had from here on.

    Who waits for a worker or a port holds nobody up, and who has waited for the turn looks at the others again.

    :param reuse: whether the engine's server binds with SO_REUSEADDR.
    """
    who = cluster["api_listen"]
    while True:
        ssh.await_workers(cluster, own)
        network.await_port(who, own, reuse)
        turn = turns.take(who)
        if turn:
            return turn
        turns.wait(who, own)


def give_up(own: State, reason: str) -> int:
    """End for good, with the reason: the container is not started again by itself."""
    own.set(phase=contract.GAVE_UP, reason=reason, starts=0)
    return contract.EXIT_GAVE_UP


def fail(own: State, reason: str) -> int:
    """End this start, with the reason, to be started again."""
    own.set(phase=contract.FAILED, reason=reason, last_end=reason, last_end_at=time.time())
    return contract.EXIT_FAILED


def wait(own: State, reason: str) -> int:
    """End this start, which does not count as a failed one, to be started again when what it waits for is there."""
    own.set(phase=contract.WAITING, reason=reason, starts=max(0, int(own.values["starts"]) - 1))
    return contract.EXIT_FAILED


def prepare(cluster: dict[str, Any], node: dict[str, Any], engine: engines.Engine) -> None:
    """End what an earlier run left on all nodes, and check that each has what a start needs.

    :raises RuntimeError: with the node and the cause; and other errors of programs and files.
    """
    processes.forget_jobs()
    ssh.reset_workers(cluster)
    memory.drop_caches()
    engine.memory = memory.await_enough(cluster, node)
    engine.check_nodes()


def watch(cluster: dict[str, Any], running: Running, own: State, judge: rdma.Judge, turn: turns.Turn) -> int:
    """Probe a started engine until it has to be ended, and end it. Returns the exit status."""
    canary = Canary(cluster, running, own, judge, turn)
    try:
        while True:
            time.sleep(1)
            reason = judge.own_problem() or canary.look()
            if reason:
                final = not running.engine.may_start_again(running.status())
                fail(own, reason)  # now, since the rest takes its time
                running.end(cluster["limits"]["grace_s"], bool(canary.served_since))
                if lost := judge.lost():
                    return wait(own, lost)
                return give_up(own, reason) if final else contract.EXIT_FAILED
    finally:
        processes.ignore_signals()
        running.end(cluster["limits"]["grace_s"], bool(canary.served_since))


class Canary:
    """Asks a started engine for a token now and then, and notes in the state what that says."""

    def __init__(
        self, cluster: dict[str, Any], running: Running, own: State, judge: rdma.Judge, turn: turns.Turn
    ) -> None:
        self.cluster, self.limits, self.address = cluster, cluster["limits"], cluster["api_probe"]
        self.running, self.own, self.judge, self.turn = running, own, judge, turn
        self.started, self.served_since = time.monotonic(), 0.0
        self.failures, self.due, self.path = 0, 0.0, ""
        self.reached: dict[str, float] = {}  # seconds from the start
        self.patience = progress.Patience(lambda: progress.of_all(cluster, state.node()), self.started)

    def look(self) -> str:
        """Probe, if that is due. Returns why the engine is to be ended, empty while it is not."""
        alive = self.running.alive()
        if alive and time.monotonic() < self.due:
            return ""
        probed = time.monotonic()
        second_look = self.limits["timeout_s"] / 10  # seconds of a probe's time, should it fail
        timeout = self.limits["timeout_s"] - second_look
        found = token(self.address, timeout, self.path, self._reach) if alive else Probe("", "", "the engine has ended")
        if found.problem is None:
            if reason := self._note_token(found, time.monotonic() - probed):
                return reason
        elif alive and self.served_since and self.running.engine.is_busy(self.address, second_look, second_look / 2):
            self.failures, self.own.failing = 0, ""
            reason = f"busy: tokens flow, but none for the probe ({found.problem})"
            self.own.set(phase=contract.SERVING, reason=reason)
        else:
            self._note_failure(found.problem)
        waited = time.monotonic() - self.started
        still = 0.0 if self.served_since or not alive else self.patience.still_s(self.running.heard)
        decision = decide(alive, bool(self.served_since), self.failures, waited, self.limits, still)
        # A probe that took its whole time is followed by the next: three of them are three times its time.
        self.due = probed + self.limits["interval_s"] if self.served_since else 0.0
        if decision in ("wait", "serve"):
            return ""
        status = self.running.status()
        return f"{self.running.causes() or decision} (exit status {status}; {found.problem})"

    def _reach(self, what: str) -> None:
        self.reached.setdefault(what, time.monotonic() - self.started)

    def _note_token(self, found: Probe, seconds: float) -> str:
        """Returns why an engine that generates tokens is to be ended all the same, empty where it is not.

        :param seconds: that the probe took.
        """
        probed = {"canary_s": round(seconds, 3), "canary_at": time.time()}
        if not self.served_since:
            if too_few := self.running.engine.too_few(self.running.kv_tokens):
                return too_few
            self.served_since, self.path = time.monotonic(), found.path
            try:
                ranks, problem = self.judge.ranks(self.running.transports.ranks)
            except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
                ranks, problem = self.running.transports.ranks, f"nothing tells what its ranks talk over: {error}"
            self.own.tcp = rdma.on_tcp(self.cluster, state.node(), ranks)
            if problem:  # a TCP that nobody allowed is never served over, whoever started it
                self.own.set(ranks=ranks)
                return problem
            read = progress.tell_loaded(self.cluster)
            about = {"model": found.model, "path": found.path, "load_s": round(self.served_since - self.started, 1)}
            about["kv_tokens"] = self.running.kv_tokens
            about["good"] = self.own.values.get("config", "")
            self._give_receipt({**self.own.values, **about}, read, ranks)
            self.own.set(phase=contract.SERVING, reason="", ranks=ranks, **about, **probed)
            self.turn.end()
        elif self.own.values["reason"]:
            self.own.set(phase=contract.SERVING, reason="", **probed)
        elif self.own.values["starts"] and time.monotonic() - self.served_since > self.limits["forget_s"]:
            self.own.set(starts=0, **probed)  # a run this long was a good one
        else:
            self.own.set(**probed)
        self.failures, self.running.error, self.own.failing = 0, "", ""
        return ""

    def _give_receipt(
        self, values: dict[str, Any], read: dict[str, int | None], ranks: dict[str, contract.Transport]
    ) -> None:
        build = self.running.transports.build
        receipt = receipts.of_start(values, time.time(), self.reached, read, build, ranks)
        self.own.values.update(receipt=receipt, last_receipt=receipts.keep(receipt))

    def _note_failure(self, problem: str) -> None:
        self.failures += 1
        self.own.failing = problem if self.served_since else ""
        # A server that refuses to chat has loaded, and will not change its mind.
        reason = problem if problem.startswith(RefusedError.__name__) else self.running.progress
        if not self.served_since and reason != self.own.values["reason"]:
            self.own.set(phase=contract.STARTING, reason=reason)
