# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endpoint whose timing is set: what a benchmark measures of it can be compared with the truth.

Each token is due at a moment that is counted from the request's arrival, so that a token that is late makes no later
one late. In its failing modes every n-th request to be measured goes wrong, and the others are answered well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

OK = "good"
CUT = "cut"  # the stream ends as HTTP wants it, with neither a finish_reason nor [DONE]
TOLD_CUT = "cut with a word"  # it ends early, and says so: finish_reason "stop", usage, [DONE]
TORN = "torn"  # the connection ends in the middle of the stream
ERROR = "error"  # an error event instead of the rest
BUSY = "busy"  # HTTP 503
STALLED = "stalled"  # no further token, and no end
MODES = (OK, CUT, TOLD_CUT, TORN, ERROR, BUSY, STALLED)


@dataclass
class SetTiming:
    """The endpoint, in a thread of its own. ``with SetTiming(ttft_s=0.2) as endpoint: … endpoint.url``.

    :param ttft_s: seconds from a request's arrival to its first token. :param itl_s: from a token to the next one.
    :param mode: what goes wrong. :param every: of how many requests one does. :param spared: so many come first, as the
        warm-up does, and are answered well. :param key: that a request has to give.
    """

    ttft_s: float = 0.2
    itl_s: float = 0.01
    mode: str = OK
    every: int = 1
    spared: int = 0
    key: str = ""
    model: str = "set-timing"
    requests: list[dict[str, Any]] = field(default_factory=list)  # the bodies that came, in their order
    paths: list[str] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""

    def __enter__(self) -> SetTiming:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._now = 0

        async def begin() -> None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
            ready.set()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(begin())
            self._loop.run_forever()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rest = head.split("\r\n")
                headers = {name.lower(): value.strip() for name, _colon, value in (one.partition(":") for one in rest)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path = line.split()[:2]
                self.paths.append(f"{method} {path}")
                if not await self._answer(path, headers, body, writer):
                    break
        writer.close()

    async def _answer(self, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one request. Return whether the connection goes on."""
        began = self._loop.time()
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            return await _plain(writer, 401, {"error": {"message": "no such key"}})
        if path == "/v1/models":
            return await _plain(writer, 200, {"object": "list", "data": [{"id": self.model, "object": "model"}]})
        if path not in ("/v1/chat/completions", "/v1/completions"):
            return await _plain(writer, 404, {"error": {"message": "there is nothing"}})
        asked = json.loads(body)
        self.requests.append(asked)
        measured = len(self.requests) - self.spared
        mode = self.mode if measured > 0 and measured % self.every == 0 else OK
        if mode == BUSY:
            return await _plain(writer, 503, {"error": {"message": "too busy"}})
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self._stream(asked, mode, began, writer)
        finally:
            self._now -= 1

    async def _stream(self, asked: dict[str, Any], mode: str, began: float, writer: asyncio.StreamWriter) -> bool:
        tokens = asked.get("max_completion_tokens") or asked.get("max_tokens") or 16
        good = tokens if mode == OK else max(1, tokens // 2)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        chat = "messages" in asked
        for number in range(good):
            due = began + self.ttft_s + number * self.itl_s
            if (wait := due - self._loop.time()) > 0:
                await asyncio.sleep(wait)
            said = {"delta": {"content": "word "}} if chat else {"text": "word "}
            await _event(writer, self._chunk(chat, [{"index": 0, **said, "finish_reason": None}]))
        if mode == STALLED:
            await asyncio.sleep(3600)
        if mode == TORN:
            writer.transport.abort()
            return False
        if mode == ERROR:
            await _event(writer, {"error": {"message": "the engine died", "code": 500}})
        if mode in (OK, TOLD_CUT):
            end = {"delta": {}} if chat else {"text": ""}
            why = "length" if mode == OK else "stop"
            await _event(writer, self._chunk(chat, [{"index": 0, **end, "finish_reason": why}]))
            if (asked.get("stream_options") or {}).get("include_usage"):
                count = len(json.dumps(asked)) // 6
                usage = {"prompt_tokens": count, "completion_tokens": good, "total_tokens": count + good}
                await _event(writer, {**self._chunk(chat, []), "usage": usage})
            await _chunked(writer, b"data: [DONE]\n\n")
        await _chunked(writer, b"")
        return True

    def _chunk(self, chat: bool, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if chat else "text_completion"
        return {"id": "a", "object": kind, "created": 1, "model": self.model, "choices": choices}


async def _plain(writer: asyncio.StreamWriter, status: int, told: dict[str, Any]) -> bool:
    body = json.dumps(told).encode()
    head = f"HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return True


async def _event(writer: asyncio.StreamWriter, told: dict[str, Any]) -> None:
    await _chunked(writer, f"data: {json.dumps(told)}\n\n".encode())


async def _chunked(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()
