# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell a receiver, by webhook, of changes of the serving that last.

A thread looks at the supervisor's state once a second, and a process of its own posts one message at a time: whatever
the receiver does, nothing that serves waits for it. What was told, and what is yet to be delivered, is in a file, since
a supervisor ends with each failed start.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Sequence

from . import contract, edges, paths, state, webhook

TICK_S = 1.0
MOST = 16  #: messages that wait for delivery; of more, the oldest is left out
LATER_S = (5.0, 30.0, 120.0)  #: from a try to the next; after the last of them a message is left out
WHOLE_S = 10.0  #: after which a try is killed that does not end by itself
STALE_S = 3600.0  #: after which a message is no news
JUMP_S = 5.0  #: by which a clock has to be set, to be followed
OF_SERVING = (contract.DOWN, contract.RECOVERED, contract.ABANDONED)  #: events of which the last one holds
REASON_LENGTH = 600  #: in characters


@dataclass
class Kept:
    """``alerts.json``: what outlives a supervisor."""

    receiver: str = ""  #: which one has had a heartbeat
    memory: edges.Memory = field(default_factory=edges.Memory)
    waiting: list[dict[str, Any]] = field(default_factory=list)  #: each with ``message``, ``tries`` and ``due``
    left_out: int = 0  #: messages since the last one that was delivered


def kept_in(path: Path) -> Kept:
    """What an earlier supervisor kept; nothing where there is no such file, or half of one."""
    try:
        found = state.read(path)
        memory = edges.Memory(**found.pop("memory"))
        kept = Kept(memory=memory, **found)
        return kept if all({"message", "tries", "due"} <= set(one) for one in kept.waiting) else Kept()
    except (OSError, ValueError, TypeError, KeyError):
        return Kept()


def sentence(event: str, seen: edges.Seen, reason: str, tcp: str, waited_s: float) -> str:
    """What a message says.

    >>> sentence("down", edges.Seen("waiting"), "no cable", "", 60.0)
    'it has not served for 60 s: waiting: no cable'
    """
    now = f"{seen.phase or 'not started'}{f': {reason}' if reason else ''}"
    return {
        contract.HEARTBEAT: f"alerts arrive here; {now}",
        contract.DOWN: f"it has not served for {waited_s:.0f} s: {now}",
        contract.RECOVERED: f"it serves again, for {waited_s:.0f} s by now",
        contract.ABANDONED: f"the supervisor gave up, and only a person or a play starts it again: {reason}",
        contract.ON_TCP: f"TCP instead of RDMA: {tcp}",
        contract.ON_RDMA: "all ranks use RDMA again",
    }[event]


class Watcher(threading.Thread):
    """The thread. It ends with the supervisor, and nothing waits for it but :meth:`close`."""

    #: posts what comes in by standard input
    command: Sequence[str] = (sys.executable, contract.PROGRAM, "alert")

    def __init__(self, own: state.State) -> None:
        super().__init__(name="alerts", daemon=True)
        self._own, self._path = own, paths.STATE / contract.ALERTS
        self._last_phase = str(own.values.get("phase") or "")
        self._same_config = own.values.get("config") == os.environ.get(contract.CONFIG_VARIABLE, "")
        self._begins, self._closing, self._until = True, threading.Event(), 0.0
        self._kept = kept_in(self._path)
        self._saved = asdict(self._kept)
        self._child: subprocess.Popen[str] | None = None
        self._ends, self._complaint = 0.0, ""
        self._offset: float | None = None  # of the clock from one that nobody sets

    def run(self) -> None:
        """Look once a second; when it is closed once more, and then until all is delivered or the time is over."""
        while True:
            closing = self._closing.wait(TICK_S)
            self.follow(time.time(), time.monotonic())
            self.look(time.time())
            if closing:
                if not self._goes_on():
                    return
                time.sleep(0.1)

    def close(self, seconds: float) -> None:
        """Look a last time, and give deliveries some seconds; the next supervisor goes on with what is left."""
        self._until = time.monotonic() + seconds
        self._closing.set()
        with contextlib.suppress(RuntimeError):  # it was never started
            self.join(seconds + 1)

    def _goes_on(self) -> bool:
        """Whether something is on its way, or will be, in the time that is left."""
        left = self._until - time.monotonic()
        waiting = self._kept.waiting
        return left > 0 and bool(self._child or (waiting and waiting[0]["due"] - time.time() < left))

    def follow(self, now: float, steady: float) -> None:
        """Where the clock was set since the last look, shift the times that are remembered.

        :param now: seconds since the epoch. :param steady: seconds on a clock that nobody sets.
        """
        before, self._offset = self._offset, now - steady
        jump = self._offset - before if before is not None else 0.0
        if abs(jump) <= JUMP_S:
            return
        edges.shift(self._kept.memory, jump)
        for one in self._kept.waiting:
            one["due"] += jump
            one["message"]["at"] += jump

    def look(self, now: float) -> None:
        """Note what is to be told, and go on with what is to be delivered. :param now: seconds since the epoch."""
        try:
            to = webhook.receiver()
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._complain(f"{contract.ALERT} or {contract.ALERT_URL} cannot be read: {type(error).__name__}")
            return
        if to is None:
            self._kept, self._begins = Kept(), False
            self._end_child()
        else:
            self._note(to, now)
            self._save()  # before it is posted, so that no later supervisor tells it again
            self._deliver(now)
        self._save()

    # --- what is to be told ------------------------------------------------------------------------------------------

    def _note(self, to: webhook.Receiver, now: float) -> None:
        kept, values = self._kept, self._own.values
        tcp = None if self._own.tcp is None else bool(self._own.tcp)
        seen = edges.Seen(
            str(values.get("phase") or ""), bool(self._own.failing), tcp, behind=bool(values.get("behind"))
        )
        events = []
        if self._begins:
            still = [one for one in kept.waiting if not self._is_sent(one)]
            if len(still) < len(kept.waiting):  # an earlier supervisor did not hear that it was
                kept.waiting, kept.left_out = still, 0
            events = edges.started(kept.memory, self._last_phase, self._same_config)
            self._begins = False
        if kept.receiver != to.digest:
            self._end_child()  # what waits was for another
            kept.receiver, kept.waiting, kept.left_out, events = to.digest, [], 0, [contract.HEARTBEAT]
        since = kept.memory.since or now
        events += edges.step(kept.memory, seen, now, edges.Patience(to.after_s, to.settle_s))
        for event in events:
            self._add(event, seen, to.name, now, since)

    def _add(self, event: str, seen: edges.Seen, name: str, now: float, since: float) -> None:
        values, node = self._own.values, self._own.node
        reason = " ".join(self._reason(since).split())[:REASON_LENGTH]
        said = sentence(event, seen, reason, (self._own.tcp or "")[:REASON_LENGTH], now - since)
        message = {
            "id": f"{now:.3f}-{event}",
            "event": event,
            "text": f"[{event.replace('_', ' ')}] {name} on {node}: {said}",
            "name": name,
            "host": node,
            "model": str(values.get("model") or ""),
            "phase": seen.phase,
            "reason": reason,
            "at": now,
        }
        self._kept.waiting.append({"message": message, "tries": 0, "due": now})
        while len(self._kept.waiting) > MOST:
            self._kept.waiting.pop(1 if self._child else 0)  # not the one that is on its way
            self._kept.left_out += 1

    def _reason(self, since: float) -> str:
        """Why it does not serve: what it waits for, why its canary fails, or why the last start did since then."""
        values = self._own.values
        failed_at, last_end = values.get("last_end_at") or 0, values.get("last_end") or ""
        if reason := values.get("reason") or self._own.failing:
            return str(reason)
        return f"the last start failed: {last_end}" if last_end and failed_at > since - 2 * TICK_S else ""

    # --- its delivery ------------------------------------------------------------------------------------------------

    def _deliver(self, now: float) -> None:
        if self._child:
            status = self._child.poll()
            if status is None and time.monotonic() < self._ends:
                return
            self._settle(status, now)
        self._put_the_last_word_first()
        waiting = self._kept.waiting
        for one in waiting:  # where the clock was set back while no supervisor ran
            one["due"] = min(one["due"], now + LATER_S[-1])
        while waiting and now - waiting[0]["message"]["at"] > STALE_S:
            waiting.pop(0)
            self._kept.left_out += 1
        if waiting and waiting[0]["due"] <= now:
            self._start(waiting[0])

    def _put_the_last_word_first(self) -> None:
        """Let no other try come before the word that it was given up: no supervisor may come for long after this one.

        What that word makes old is left out.
        """
        waiting = self._kept.waiting
        places = [place for place, one in enumerate(waiting) if one["message"]["event"] == contract.ABANDONED]
        if not places or not places[-1] or not waiting[0]["tries"]:
            return
        word, before = waiting[places[-1]], waiting[: places[-1]]
        still = [one for one in before if one["message"]["event"] not in OF_SERVING]
        self._kept.left_out += len(before) - len(still)
        waiting[: places[-1] + 1] = [word, *still]

    @staticmethod
    def _is_sent(one: dict[str, Any]) -> bool:
        return bool(one["message"]["id"] == webhook.sent())

    def _start(self, one: dict[str, Any]) -> None:
        one["tries"] += 1
        self._ends = time.monotonic() + WHOLE_S
        left_out = {"left_out": self._kept.left_out} if self._kept.left_out else {}
        # A traceback might show what is secret.
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with contextlib.suppress(OSError):  # then it is tried again
            self._child = subprocess.Popen(self.command, text=True, **pipes)
            assert self._child.stdin
            with self._child.stdin as stream:
                stream.write(json.dumps({**one["message"], **left_out}))
            return
        self._settle(None, time.time())

    def _settle(self, status: int | None, now: float) -> None:
        """Note how a try has ended. :param status: None for one that did not end, or could not begin."""
        words = "it was ended after some seconds" if self._child else "no process for it could be started"
        if self._child and status is not None and self._child.stdout:
            words = self._child.stdout.read(300).strip() or f"exit status {status}"
        self._end_child()
        waiting = self._kept.waiting
        one = waiting[0]
        if status is None and self._is_sent(one):
            status, words = webhook.TAKEN, webhook.UNANSWERED
        event, tries = one["message"]["event"], one["tries"]
        if status == webhook.TAKEN:
            waiting.pop(0)
            self._kept.left_out = 0
            state.say(f"alert {event} was sent: {words}")
        elif status != webhook.REFUSED and tries <= len(LATER_S):
            one["due"] = now + LATER_S[tries - 1]
            state.say(f"alert {event} was not sent, and is tried again in {LATER_S[tries - 1]:.0f} s: {words}")
        else:
            waiting.pop(0)
            self._kept.left_out += 1
            state.say(f"alert {event} was not sent, and is left out: {words}")

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                if stream:
                    with contextlib.suppress(OSError):
                        stream.close()

    # --- what outlives the supervisor --------------------------------------------------------------------------------

    def _save(self) -> None:
        now = asdict(self._kept)
        if now == self._saved:
            return
        try:
            state.replace(self._path, now)
            self._saved = now
        except OSError as error:
            self._complain(f"{self._path} cannot be written: {error.strerror}")

    def _complain(self, words: str) -> None:
        """Say it, but not every second."""
        if words != self._complaint:
            self._complaint = words
            state.say(words)
