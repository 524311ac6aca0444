# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to an engine: one that runs while something breaks, and a load whose times are measured.

Of a stream, a token's time is that of the piece of text that it came with; where one piece had several, the tokens of
``usage`` count. ``TTFT`` is from the request to the first piece with text, ``ITL`` what lies between the first and the
last, divided by the tokens less one.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import statistics
import string
import threading
import time
from typing import Any, NamedTuple

from . import namespaces

SERVED, OPEN = "served", "open"
GOOD = ("stop", "length", "tool_calls")  # of finish_reason; "abort" is none of them
CHAT = "/v1/chat/completions"


def judge(finish: str | None, error: str, status: int) -> str:
    """How a request ended: SERVED for a whole answer alone.

    Neither status 200 nor ``[DONE]`` tells: both come with an error in the midst of a stream.

    >>> judge("length", "", 200), judge("abort", "", 200), judge("stop", "it died", 200), judge(None, "", 200)
    ('served', 'abort', 'an error event: it died', 'cut')
    >>> judge(None, "EngineCore encountered an issue", 500)
    'HTTP 500: EngineCore encountered an issue'
    """
    if status != 200:
        return f"HTTP {status}: {error}" if status else f"no answer: {error}"
    if error:
        return f"an error event: {error}"
    return SERVED if finish in GOOD else finish or "cut"


def said(event: dict[str, Any]) -> str:
    """The error that an answer, or an event of a stream, has; else empty."""
    error = event.get("error")
    return str(error.get("message", error) if isinstance(error, dict) else error or "")[:160]


class Request(threading.Thread):
    """A request that runs in a network other than this program's.

    :param node: a process in that network. :param stream: whether tokens are to come one by one.
    """

    def __init__(self, node: int, address: str, body: dict[str, Any], stream: bool = True) -> None:
        super().__init__(daemon=True)
        self.node, self.address, self.stream = node, address, stream
        self.body = {**body, **({"stream": True, "stream_options": {"include_usage": True}} if stream else {})}
        self.began = self.ended = 0.0  # on the clock of time.monotonic; ended is 0 while it is open
        self.pieces: list[float] = []  # when each piece with text came
        self.tokens = 0  # as usage says
        self.end, self.finish, self.done = OPEN, "", False
        self._socket: socket.socket | None = None
        self._error, self._status = "", 0

    def run(self) -> None:
        """Send it, and read until it ends."""
        try:
            namespaces.enter(self.node, "net")
            self._ask()
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self._status != 200:
                self._error = self._error or f"{type(error).__name__}: {error}"
        self.ended = time.monotonic()
        self.end = judge(self.finish or None, self._error, self._status)

    def close(self) -> None:
        """Hang up, as a client that goes away."""
        if self._socket:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _ask(self) -> None:
        self.began = time.monotonic()
        connection = http.client.HTTPConnection(self.address)
        connection.connect()
        self._socket = connection.sock
        connection.request("POST", CHAT, json.dumps(self.body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        self._status = answer.status
        if answer.status != 200 or not self.stream:
            self._whole(answer)
            return
        for line in answer:
            text = line.decode(errors="replace").strip().removeprefix("data:").strip()
            if text == "[DONE]":
                self.done = True
            elif text:
                self._event(json.loads(text))

    def _whole(self, answer: http.client.HTTPResponse) -> None:
        text = answer.read().decode(errors="replace")
        try:
            event = json.loads(text)
        except ValueError:
            event = {"error": text[:160]} if answer.status != 200 else {}
        self._error = said(event)
        self._event(event)

    def _event(self, event: dict[str, Any]) -> None:
        self._error = self._error or said(event)
        for choice in event.get("choices", []):
            if (choice.get("delta") or {}).get("content"):
                self.pieces.append(time.monotonic())
            self.finish = choice.get("finish_reason") or self.finish
        self.tokens = (event.get("usage") or {}).get("completion_tokens") or self.tokens


def body(model: str, tokens: int, prompt: str = "Say something.") -> dict[str, Any]:
    """A request for so many tokens, and none fewer."""
    asked = {"max_tokens": tokens, "min_tokens": tokens, "ignore_eos": True, "temperature": 0.8, "seed": 1}
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **asked}


def health(address: str, timeout: float) -> str:
    """What ``/health`` answers: a status, or that nothing does."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("GET", "/health")
        return str(connection.getresponse().status)
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
    except (OSError, http.client.HTTPException):
        return "cut"
    finally:
        connection.close()


class Watch(threading.Thread):
    """Asks ``/health`` twice a second. ``seen`` holds each change: when, and what it answered."""

    def __init__(self, node: int, address: str) -> None:
        super().__init__(daemon=True)
        self.node, self.address = node, address
        self.seen: list[tuple[float, str]] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Until it is over."""
        namespaces.enter(self.node, "net")
        while not self.over.wait(0.5):
            answer = health(self.address, 2)
            if not self.seen or self.seen[-1][1] != answer:
                self.seen.append((time.monotonic(), answer))


class Load(NamedTuple):
    """What is asked for: tokens of a prompt, tokens of an answer, requests at once, and requests in all."""

    prompt: int
    answer: int
    at_once: int
    requests: int


def prompt_of(tokens: int, seed: int) -> str:
    """A prompt of about so many tokens, and of no other's beginning: each capital letter is a token."""
    return "".join(random.Random(seed).choices(string.ascii_uppercase, k=tokens))


def measure(node: int, address: str, model: str, load: Load, seed: int = 0) -> dict[str, Any]:
    """Send a load. Returns its figures: milliseconds, and tokens a second; what was not served is counted apart."""
    waiting = [body(model, load.answer, prompt_of(load.prompt, seed + number)) for number in range(load.requests)]
    finished: list[Request] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                one = Request(node, address, waiting.pop())
            one.run()
            with lock:
                finished.append(one)

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _number in range(load.at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return figures(finished, load, time.monotonic() - began)


def figures(finished: list[Request], load: Load, seconds: float) -> dict[str, Any]:
    """The figures of requests that have ended."""
    good = [one for one in finished if one.end == SERVED and one.tokens == load.answer and len(one.pieces) > 1]
    first = [1000 * (one.pieces[0] - one.began) for one in good]
    between = [1000 * (one.pieces[-1] - one.pieces[0]) / (one.tokens - 1) for one in good]
    return {
        "load": load._asdict(),
        "served": len(good),
        "not_served": len(finished) - len(good),
        "ttft_ms": _spread(first),
        "itl_ms": _spread(between),
        "output_tokens_a_second": round(sum(one.tokens for one in good) / seconds, 1),
        "seconds": round(seconds, 2),
    }


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    late = sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]
    return {"p50": round(statistics.median(values), 2), "p95": round(late, 2), "max": round(max(values), 2)}
