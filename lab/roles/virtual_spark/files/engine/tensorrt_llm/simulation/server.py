# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP server on rank 0's node: what of TensorRT-LLM's API people and programs use."""

from __future__ import annotations

import http
import json
import socket
import socketserver
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Callable, Iterator
from urllib.parse import urlsplit

from tensorrt_llm.simulation import answers, faults, log, pictures, requests
from tensorrt_llm.simulation.engine import Engine
from tensorrt_llm.simulation.proxy import GoneError

UNAVAILABLE = "LLM is unavailable. Please check the server logs for more details."


@dataclass(frozen=True)
class Settings:
    """What the command line and the YAML decide of the API."""

    model: str
    version: str
    era: str = "1.3.0rc"
    max_batch_size: int = 2048
    max_num_tokens: int = 8192
    max_seq_len: int | None = None
    enable_iter_perf_stats: bool = False
    return_perf_metrics: bool = False
    perf_metrics_max_requests: int = 0
    token_seconds: float = 0.005
    no_chat: str = ""  # why every chat is refused
    sees: bool = False  # whether the model takes pictures
    drafted: int = 0  # tokens that are guessed at a time


class EngineDeadError(RuntimeError):
    """No generation is to be had."""


class TooLongError(ValueError):
    """More prompt than the engine takes."""


@dataclass
class Generation:
    """One answer while it is made."""

    ident: str
    prompt_tokens: int
    nonce: str
    pieces: Iterator[str]
    pictures: list[str] = field(default_factory=list)  # the size of each that the prompt has
    made: int = 0
    finish: str = "stop"


class Api:
    """Everything but HTTP."""

    way = "by MPI"  #: in which the last rank's word comes

    def __init__(self, engine: Engine, ranks: list[dict[str, Any]], settings: Settings) -> None:
        self.engine, self.ranks, self.settings = engine, ranks, settings
        heeded = settings.return_perf_metrics and settings.era != "1.4"  # which keeps nothing for /perf_metrics
        kept = settings.perf_metrics_max_requests if heeded else 0
        self.statistics = answers.Statistics(
            settings.max_batch_size, settings.enable_iter_perf_stats, kept, settings.drafted
        )
        self._slots = threading.BoundedSemaphore(settings.max_batch_size)
        self._count = 0

    def healthy(self) -> bool:
        """What /health looks at; before 1.3 that was nothing at all."""
        return self.settings.era == "1.2.0rc1" or not (self.engine.gone or faults.active(faults.ENGINE_DEAD))

    def about(self, nonce: str, shown: list[str] | None = None) -> dict[str, Any]:
        """Not part of the real API: which ranks made this, for tests. Their incarnation is new with every start."""
        ranks = [{name: rank[name] for name in ("rank", "host", "incarnation", "transport")} for rank in self.ranks]
        found = {"note": "SIMULATED", "nonce": nonce, "nonce_rank": len(ranks) - 1, "ranks": ranks}
        return {**found, "pictures": shown} if shown else found

    def generate(self, ident: str, prompt: str, body: dict[str, Any]) -> Generation:
        """Queue a request, get its nonce from the last rank, and hand out its tokens one by one."""
        shown = pictures.sizes(body, self.settings.sees) if "messages" in body else []
        prompt_tokens = len(answers.tokens(prompt))
        longest = self.settings.max_seq_len
        if prompt_tokens > self.settings.max_num_tokens or (longest and prompt_tokens >= longest):
            raise TooLongError(
                f"The prompt length ({prompt_tokens}) should not exceed max_num_tokens "
                f"({self.settings.max_num_tokens}) and must be below max_seq_len ({longest})"
            )
        most = requests.limit(body)
        if longest:
            most = min(most or longest, longest - prompt_tokens)
        arrival = time.monotonic()
        with self.statistics.lock:
            self._count += 1
            number = self._count
            self.statistics.queued += 1
        self._slots.acquire()
        with self.statistics.lock:
            self.statistics.queued -= 1
            self.statistics.active += 1
        times = {"arrival": arrival, "scheduled": time.monotonic()}
        try:
            nonce = self._step(ident, True)
        except BaseException:
            self._leave()
            raise
        last = self.ranks[-1]
        text = answers.answer(nonce, last["rank"], len(self.ranks), last["host"], prompt, shown, self.way)
        generation = Generation(ident, prompt_tokens, nonce, iter(()), shown)
        generation.pieces = self._pieces(generation, text, most, body, times, number)
        next(generation.pieces)  # from here on, its end gives the slot back, whoever drops it and when
        return generation

    def _pieces(
        self,
        generation: Generation,
        text: str,
        most: int | None,
        body: dict[str, Any],
        times: dict[str, float],
        number: int,
    ) -> Iterator[str]:
        try:
            yield ""
            endless = bool(body.get("ignore_eos"))
            for piece in answers.stream(text, most, body.get("min_tokens") or 0, endless):
                if generation.made:
                    self._step(generation.ident, False)
                generation.made += 1
                if most is not None and generation.made >= most:
                    generation.finish = "length"
                times.setdefault("first", time.monotonic())
                yield piece
            times["last"] = time.monotonic()
            self.statistics.ended(number, generation.finish, {"first": times["last"], **times}, generation.made)
        finally:
            self._leave()

    def _leave(self) -> None:
        with self.statistics.lock:
            self.statistics.active -= 1
        self._slots.release()

    def _compute(self) -> None:
        """Take the time of a token."""
        slow = faults.number(faults.SLOW_TOKENS, 1)
        time.sleep(self.settings.token_seconds if slow is None else slow)

    def _step(self, ident: str, new: bool) -> str:
        if faults.active(faults.ENGINE_DEAD):
            raise EngineDeadError("the engine is dead (SIMULATED fault)")
        started = time.monotonic()
        self._compute()
        try:
            nonce = self.engine.step(ident, new)
        except GoneError as error:
            raise EngineDeadError(str(error)) from None
        self.statistics.iterated(time.monotonic() - started)
        return nonce


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "uvicorn", ""
    timeout = 5  # uvicorn's timeout_keep_alive
    server: Server

    def handle_one_request(self) -> None:
        self.server.idle(self.connection, True)
        super().handle_one_request()

    def do_GET(self) -> None:
        self._respond("GET")

    def do_POST(self) -> None:
        self._respond("POST")

    def log_message(self, format: str, *arguments: Any) -> None:
        return  # access lines are written by _log

    def _respond(self, method: str) -> None:
        self.server.idle(self.connection, False)
        self.connection.settimeout(None)
        length = int(self.headers.get("Content-Length") or 0)
        self._body = self.rfile.read(length) if length else b""
        faults.wait_out(faults.NO_ANSWER)
        path = urlsplit(self.path).path.rstrip("/") or "/"
        known = self.routes().get(path)
        if known is None:
            self._json(404, {"detail": "Not Found"})
        elif known[0] != method:
            self._json(405, {"detail": "Method Not Allowed"})
        else:
            self._guard(known[1])
        if self.server.stopping:
            self.close_connection = True
        self.connection.settimeout(self.timeout)

    def routes(self) -> dict[str, tuple[str, Callable[[Any], None]]]:
        """By path the method and what answers it."""
        hidden = [] if self.server.api.settings.return_perf_metrics else ["/prometheus/metrics"]
        return {path: route for path, route in _ROUTES.items() if path not in hidden}

    def _guard(self, route: Callable[[Any], None]) -> None:
        try:
            route(self)
        except requests.BadRequestError as error:
            self._json(400, {"error": str(error)})
        except (TooLongError, pictures.PictureError) as error:
            self._error(400, "BadRequestError", str(error))
        except EngineDeadError as error:
            self._error(500, "InternalServerError", str(error))
            self.server.fatal()
        except (BrokenPipeError, ConnectionResetError):
            log.say(f"{self.client_address} is disconnected, abort", "I")
            self.close_connection = True

    def checked(self, kind: str, body: Any) -> dict[str, Any]:
        """The body of a request, or a refusal."""
        return requests.check(kind, body)

    # --- routes ---------------------------------------------------------------------------------------------------

    def health(self) -> None:
        if self.server.api.healthy():
            self._send(200, b"", "")
        else:
            self._send(503, UNAVAILABLE.encode(), "text/plain; charset=utf-8")
            self.server.fatal()

    def health_generate(self) -> None:
        try:
            list(self.server.api.generate(f"chatcmpl-{uuid.uuid4().hex}", "user hi", {"max_tokens": 1}).pieces)
        except EngineDeadError as error:
            self._send(500, f"Generation health check failed: {error}".encode(), "text/plain; charset=utf-8")
        else:
            self._send(200, b"Generation health check OK", "text/plain; charset=utf-8")

    def version(self) -> None:
        self._json(200, {"version": self.server.api.settings.version})

    def models(self) -> None:
        model = {"id": self.server.api.settings.model, "object": "model", "created": int(time.time())}
        self._json(200, {"object": "list", "data": [{**model, "owned_by": "tensorrt_llm"}]})

    def metrics(self) -> None:
        """Before 1.3 it ended only when two seconds had brought nothing new: never, while tokens flow."""
        statistics, follows = self.server.api.statistics, self.server.api.settings.era == "1.2.0rc1"
        told, quiet_since = statistics.drain_iterations(), time.monotonic()
        while follows and time.monotonic() - quiet_since < 2:
            time.sleep(0.1)
            fresh = statistics.drain_iterations()
            if fresh:
                told, quiet_since = told + fresh, time.monotonic()
        self._json(200, told)

    def perf_metrics(self) -> None:
        self._json(200, self.server.api.statistics.drain_requests())

    def prometheus(self) -> None:
        text = self.server.api.statistics.prometheus()
        self._send(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")

    def chat(self) -> None:
        self._complete("chat")

    def completion(self) -> None:
        self._complete("completion")

    def _complete(self, kind: str) -> None:
        try:
            body = json.loads(self._body)
        except ValueError as error:
            text = {"type": "json_invalid", "loc": ("body", 0), "msg": "JSON decode error", "input": {}}
            raise requests.BadRequestError([{**text, "ctx": {"error": str(error)}}]) from None
        body = self.checked(kind, body)
        if kind == "chat" and self.server.api.settings.no_chat:
            log.say(self.server.api.settings.no_chat, "E")
            self._error(400, "BadRequestError", self.server.api.settings.no_chat)
            return
        prompts = requests.texts(kind, body)
        name = {"chat": "chatcmpl", "completion": "cmpl"}[kind]
        ident = f"{name}-{uuid.uuid4().hex}"
        common = {"id": ident, "created": int(time.time()), "model": body["model"]}
        if body.get("stream"):
            self._stream(kind, common, prompts, body)
            return
        choices, prompt_tokens, made, nonce = [], 0, 0, ""
        shown: list[str] = []
        for index, prompt in enumerate(prompts):
            generation = self.server.api.generate(ident, prompt, body)
            text = "".join(generation.pieces)
            said: dict[str, Any] = {"text": text}
            if kind == "chat":
                said = {"message": {"role": "assistant", "content": text, "reasoning_content": None, "tool_calls": []}}
            choices.append({"index": index, **said, "finish_reason": generation.finish, "stop_reason": None})
            prompt_tokens, made = prompt_tokens + generation.prompt_tokens, made + generation.made
            nonce, shown = generation.nonce, generation.pictures
        reply = {
            **common,
            "object": {"chat": "chat.completion", "completion": "text_completion"}[kind],
            "choices": choices,
            "usage": _usage(prompt_tokens, made),
            "virtual_spark": self.server.api.about(nonce, shown),
        }
        self._json(200, reply)

    def _stream(self, kind: str, common: dict[str, Any], prompts: list[str], body: dict[str, Any]) -> None:
        common = {**common, "object": {"chat": "chat.completion.chunk", "completion": "text_completion"}[kind]}
        first = self.server.api.generate(common["id"], prompts[0], body)  # what fails, fails before the head is sent
        self._log(200)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        prompt_tokens = made = 0
        try:
            for index, prompt in enumerate(prompts):
                generation = first if index == 0 else self.server.api.generate(common["id"], prompt, body)
                about = {"virtual_spark": self.server.api.about(generation.nonce, generation.pictures)}
                if kind == "chat":
                    self._event(common, index, {"delta": {"role": "assistant", "content": ""}}, more=about)
                for piece in generation.pieces:
                    self._event(common, index, {"delta": {"content": piece}} if kind == "chat" else {"text": piece})
                last: dict[str, Any] = {"delta": {"content": ""}} if kind == "chat" else {"text": ""}
                self._event(common, index, last, generation.finish, about)
                prompt_tokens, made = prompt_tokens + generation.prompt_tokens, made + generation.made
            if (body.get("stream_options") or {}).get("include_usage", bool(body.get("stream_options"))):
                self._chunk({**common, "choices": [], "usage": _usage(prompt_tokens, made)})
            self._write(b"data: [DONE]\n\n")
        except EngineDeadError as error:
            self.cut(error)
            return
        finally:
            first.pieces.close()  # type: ignore[attr-defined]
        self.wfile.write(b"0\r\n\r\n")

    def cut(self, error: EngineDeadError) -> None:
        """End a stream whose head is gone: the connection is closed, as by an exception in the real one."""
        log.say(f"a stream was cut: {error}", "E")
        self.close_connection = True
        self.server.fatal()

    def _event(
        self,
        common: dict[str, Any],
        index: int,
        said: dict[str, Any],
        finish: str | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        choice = {"index": index, **said, "finish_reason": finish, "stop_reason": None}
        self._chunk({**common, "choices": [choice], **(more or {})})

    def _chunk(self, value: dict[str, Any]) -> None:
        self._write(f"data: {json.dumps(value)}\n\n".encode())

    def _write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    # --- answers --------------------------------------------------------------------------------------------------

    def _error(self, status: int, kind: str, message: str) -> None:
        self._json(status, {"object": "error", "message": message, "type": kind, "param": None, "code": status})

    def _json(self, status: int, value: object) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self._log(status)
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _log(self, status: int) -> None:
        host, port = self.client_address[:2]
        said = f'{host}:{port} - "{self.command} {self.path} HTTP/1.1" {status} {http.HTTPStatus(status).phrase}'
        log.uvicorn(said)


def _usage(prompt_tokens: int, made: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens + made, "completion_tokens": made}


_ROUTES: dict[str, tuple[str, Callable[[Handler], None]]] = {
    "/health": ("GET", Handler.health),
    "/health_generate": ("GET", Handler.health_generate),
    "/metrics": ("GET", Handler.metrics),
    "/perf_metrics": ("GET", Handler.perf_metrics),
    "/prometheus/metrics": ("GET", Handler.prometheus),
    "/v1/chat/completions": ("POST", Handler.chat),
    "/v1/completions": ("POST", Handler.completion),
    "/v1/models": ("GET", Handler.models),
    "/version": ("GET", Handler.version),
}


def bind(host: str, port: int, reuse: bool = False) -> socket.socket:
    """Take the port, but do not listen. As in the real one without SO_REUSEADDR, so that the kernel refuses a port
    for up to a minute after a server that closed its connections itself. :param reuse: with it, as other engines."""
    family = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)[0][0]
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
    try:
        taken.bind((host, port))
    except OSError as error:
        raise RuntimeError(f"Failed to bind socket to {host}:{port}: {error}") from None
    return taken


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each connection; ends gracefully: nothing new is taken, what runs may finish."""

    daemon_threads = False
    request_queue_size = 2048

    def __init__(
        self,
        taken: socket.socket,
        api: Api,
        fatal: Callable[[], None] | None = None,
        handler: type[BaseHTTPRequestHandler] = Handler,
    ) -> None:
        super().__init__(taken.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = taken
        self.api, self.stopping = api, False
        self._fatal = fatal or (lambda: None)
        self._idle: set[socket.socket] = set()
        self._idle_lock = threading.Lock()
        self.server_activate()

    def fatal(self) -> None:
        """An engine that is really gone takes its server with it."""
        if self.api.engine.gone:
            self._fatal()

    def idle(self, connection: socket.socket, waits: bool) -> None:
        """Remember which connections only wait for another request: these are closed when the server ends."""
        with self._idle_lock:
            (self._idle.add if waits else self._idle.discard)(connection)
            if waits and self.stopping:
                _close_reading(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to tell, as with the real server."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.idle(request, False)
        super().shutdown_request(request)

    def end(self) -> None:
        """Stop ``serve_forever``; to be called from another thread."""
        with self._idle_lock:
            self.stopping = True
            for connection in self._idle:
                _close_reading(connection)
        self.shutdown()


def _close_reading(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        return  # its client closed it
