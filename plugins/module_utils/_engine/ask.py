# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that sends requests to an OpenAI-compatible server and takes its answers token by token.

    python3 ask.py DIRECTORY

``ask.json`` in DIRECTORY says what to ask (:class:`Order`), ``result.json`` there gets what came (:class:`Outcome`).
It writes a line every ten seconds that says how far it is. It runs beside the engine, in the engine's image, so it is
one file, of the standard library alone. This module util is private to the collection.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator, TypedDict

ORDER, RESULT = "ask.json", "result.json"
MOST_ERRORS = 5  # that are kept in words
EVERY = 10.0  # seconds between two lines


class Order(TypedDict):
    """What is to be asked."""

    address: str  # host:port
    path: str
    concurrency: int  # requests at the same time
    seconds: float  # to go on, over and over; 0: each request once
    gap_s: float  # the longest that a token may take
    requests: list[dict[str, Any]]  # id, and body


class Answer(TypedDict):
    """What came of one request."""

    id: str
    text: str
    thoughts: str  # that the server kept apart
    finish: str
    tokens: int
    gap_s: float  # the longest time without a token
    seconds: float
    error: str


class Outcome(TypedDict):
    """What came of all requests."""

    answers: list[Answer]  # in the order of the requests; of repeated ones none
    count: int  # of answers
    tokens: int
    seconds: float
    gap_s: float  # the longest time without a token of one answer
    gap_at_s: float  # when, since the beginning
    last_token_s: float  # when the last one came, since the beginning
    per_minute: list[int]  # tokens of each minute
    errors: list[str]


def events(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The events of a stream of server-sent events, up to its end, which it has to say.

    :raises ValueError: where it breaks off, or says something else than JSON.

    >>> list(events(iter([b'data: {"a": 1}\\n', b'\\n', b'data: [DONE]\\n'])))
    [{'a': 1}]
    """
    for line in lines:
        name, _colon, value = line.decode(errors="replace").strip().partition(":")
        if name == "data":
            if value.strip() == "[DONE]":
                return
            event = json.loads(value)
            if not isinstance(event, dict):
                raise ValueError(f"an event is no object: {value.strip()[:100]}")
            if event.get("error"):
                raise ValueError(str(event["error"])[:300])
            yield event
    raise ValueError("the answer broke off")


def piece(event: dict[str, Any]) -> tuple[str, str, str]:
    """What an event adds: to the text, to the thoughts, and why the answer ends.

    >>> piece({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]})
    ('a', '', 'stop')
    >>> piece({"choices": [{"text": "a"}]}), piece({"choices": []})
    (('a', '', ''), ('', '', ''))
    """
    choice: dict[str, Any] = next(iter(event.get("choices") or []), {})
    delta = choice.get("delta") or {}
    thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
    return delta.get("content") or choice.get("text") or "", thought, choice.get("finish_reason") or ""


class Asker:
    """Asks, with several threads."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.began = time.monotonic()
        self.lock = threading.Lock()
        self.next = 0
        self.answers: dict[int, Answer] = {}
        self.count = self.tokens = 0
        self.gap_s = self.gap_at_s = self.last_token_s = 0.0
        self.minutes: dict[int, int] = {}
        self.errors: list[str] = []

    def since(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def take(self) -> int | None:
        """The number of the next request; None where there is none any more."""
        with self.lock:
            over = self.since() >= self.order["seconds"] if self.order["seconds"] else self.next >= self.all
            if over or (self.order["seconds"] and self.errors):
                return None
            self.next += 1
            return self.next - 1

    @property
    def all(self) -> int:
        """How many requests there are."""
        return len(self.order["requests"])

    def work(self) -> None:
        """Send requests, one after the other, as long as there are some."""
        while True:
            number = self.take()
            if number is None:
                return
            answer = self.ask(self.order["requests"][number % self.all])
            with self.lock:
                self.count += not answer["error"]
                if answer["error"] and len(self.errors) < MOST_ERRORS:
                    self.errors.append(f"after {self.since():.0f} s, {answer['id']}: {answer['error']}")
                if not self.order["seconds"]:
                    self.answers[number] = answer

    def ask(self, request: dict[str, Any]) -> Answer:
        """Send one request, and take its answer. What goes wrong is part of what is returned."""
        answer = Answer(id=request["id"], text="", thoughts="", finish="", tokens=0, gap_s=0.0, seconds=0.0, error="")
        began = last = time.monotonic()
        connection = http.client.HTTPConnection(self.order["address"], timeout=self.order["gap_s"])
        try:
            headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
            connection.request("POST", self.order["path"], json.dumps(request["body"]), headers)
            reply = connection.getresponse()
            if reply.status != 200:
                said = reply.read(2000).decode(errors="replace").strip()
                answer["error"] = f"{self.order['path']} answers {reply.status} {reply.reason}: {said[:300]}"
                return answer
            for event in events(iter(reply.readline, b"")):
                text, thought, finish = piece(event)
                answer["text"] += text
                answer["thoughts"] += thought
                answer["finish"] = finish or answer["finish"]
                now = time.monotonic()
                if text or thought:
                    answer["tokens"] += 1
                    self.note(now - last)
                    answer["gap_s"], last = max(answer["gap_s"], now - last), now
                elif now - last > self.order["gap_s"]:  # events without a token in them are no tokens
                    raise socket.timeout
                if made := (event.get("usage") or {}).get("completion_tokens"):
                    answer["tokens"] = int(made)
            if not answer["tokens"]:
                answer["error"] = "an answer without a token"
        except socket.timeout:
            answer["error"] = f"no token for {self.order['gap_s']:g} s, after {answer['tokens']} tokens"
        except (OSError, http.client.HTTPException, ValueError, AttributeError, TypeError) as error:
            answer["error"] = f"{type(error).__name__}: {error}, after {answer['tokens']} tokens"
        finally:
            answer["seconds"] = round(time.monotonic() - began, 3)
            connection.close()
        return answer

    def note(self, gap: float) -> None:
        """Count a token that came after so many seconds."""
        with self.lock:
            now = self.since()
            self.tokens += 1
            self.last_token_s = now
            self.minutes[int(now // 60)] = self.minutes.get(int(now // 60), 0) + 1
            if gap > self.gap_s:
                self.gap_s, self.gap_at_s = gap, now

    def line(self) -> str:
        """How far it is."""
        with self.lock:
            done, whole = self.since(), self.order["seconds"]
            rate = f"{self.tokens} tokens, {self.tokens / max(done, 0.1):.1f} a second"
            if whole:
                how_far = f"{done / 60:.1f} of {whole / 60:g} min, {self.count} answers"
                return f"{how_far}, {rate}, longest gap {self.gap_s:.1f} s"
            return f"question {min(self.next, self.all)} of {self.all}, {rate}"

    def run(self) -> Outcome:
        """Ask all, and say now and then how far it is."""
        threads = [threading.Thread(target=self.work, daemon=True) for _number in range(self.order["concurrency"])]
        for thread in threads:
            thread.start()
        said = time.monotonic()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.1)
            if time.monotonic() - said >= EVERY:
                said = time.monotonic()
                sys.stdout.write(f"{self.line()}\n")
                sys.stdout.flush()
        seconds = self.since()
        return Outcome(
            answers=[self.answers[number] for number in sorted(self.answers)],
            count=self.count,
            tokens=self.tokens,
            seconds=round(seconds, 1),
            gap_s=round(self.gap_s, 3),
            gap_at_s=round(self.gap_at_s, 1),
            last_token_s=round(self.last_token_s, 1),
            per_minute=[self.minutes.get(number, 0) for number in range(int(seconds // 60) + 1)],
            errors=self.errors,
        )


def main(arguments: list[str]) -> int:
    """Ask what the directory says; 1 where an answer did not come."""
    folder = Path(arguments[0])
    order: Order = json.loads((folder / ORDER).read_text(encoding="utf-8"))
    outcome = Asker(order).run()
    (folder / RESULT).write_text(json.dumps(outcome), encoding="utf-8")
    return 1 if outcome["errors"] else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
