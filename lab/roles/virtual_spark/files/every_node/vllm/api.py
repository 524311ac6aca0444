# SIMULATED: stands in for vLLM in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of vLLM's API people, programs and the supervisor use."""

from __future__ import annotations

import time
from typing import Any, Callable

from every_node.counts import Counts
from tensorrt_llm.simulation import answers, log, requests, server
from tensorrt_llm.simulation.proxy import Caller

DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
#: names of histograms, by those of what was measured
SECONDS = {
    "e2e_request_latency_seconds": "vllm:e2e_request_latency_seconds",
    "request_queue_time_seconds": "vllm:request_queue_time_seconds",
    "time_to_first_token_seconds": "vllm:time_to_first_token_seconds",
    "time_per_output_token_seconds": "vllm:inter_token_latency_seconds",
}


class UnknownModelError(ValueError):
    """A name that the server does not answer to."""


class Engine:
    """The ranks, by way of the engine's core."""

    def __init__(self, caller: Caller) -> None:
        self._caller, self.ending = caller, False

    @property
    def gone(self) -> bool:
        """Whether it will never answer again."""
        return self._caller.gone

    def step(self, request: str, new: bool) -> str:
        """Make one token of a request; for a new one, return the nonce that the last rank gave it."""
        try:
            return str(self._caller.call({"do": "step", "request": request, "new": new})["nonce"])
        finally:
            while self.ending:  # nobody tells a request that it ends with the server: it hangs open
                time.sleep(3600)


class Statistics(Counts):
    """What is counted, under vLLM's names."""

    def prometheus(self) -> str:
        """In Prometheus' text format."""
        labels = f'engine="0",model_name="{self.model}"'
        with self.lock:
            gauges = {
                "num_requests_running": self.active,
                "num_requests_waiting": self.queued,
                "kv_cache_usage_perc": self.active / max(self.tokens, 1),
                "engine_sleep_state": 0,
            }
            totals = {
                f"num_preemptions_total{{{labels}}}": 0,
                f"prompt_tokens_total{{{labels}}}": self.prompts,
                f"generation_tokens_total{{{labels}}}": self.steps,
                f"iteration_tokens_total_count{{{labels}}}": self.steps,
                **{
                    f'request_success_total{{{labels},finished_reason="{reason}"}}': count
                    for reason, count in sorted(self.finished.items())
                },
            }
            lines = [
                *self.lines("gauge", {f"vllm:{name}{{{labels}}}": value for name, value in gauges.items()}),
                *self.lines("counter", {f"vllm:{name}": value for name, value in totals.items()}),
                *self.histograms(SECONDS, labels),
            ]
        return "\n".join(lines) + "\n"


class Api(server.Api):
    """Everything but HTTP."""

    way = "over gloo"

    def __init__(self, engine: Engine, said: dict[str, Any], settings: server.Settings, names: list[str]) -> None:
        super().__init__(engine, said["ranks"], settings)  # type: ignore[arg-type]
        self.names = names
        self.statistics = Statistics(settings.max_batch_size, names[0], said["tokens"])

    def generate(self, ident: str, prompt: str, body: dict[str, Any]) -> server.Generation:
        """Queue a request; what is too long is refused in vLLM's words."""
        count, longest = len(answers.tokens(prompt)), self.settings.max_seq_len or 0
        most = requests.limit(body) or 0
        if longest and count + most > longest:
            raise server.TooLongError(
                f"'max_tokens' or 'max_completion_tokens' is too large: {most}. This model's maximum context length is "
                f"{longest} tokens and your request has {count} input tokens."
            )
        found = super().generate(ident, prompt, body)
        self.statistics.prompts += count  # type: ignore[attr-defined]
        return found

    def _compute(self) -> None:
        """The time of a token is that of the ranks."""


class Handler(server.Handler):
    """One connection."""

    def routes(self) -> dict[str, tuple[str, Callable[[Any], None]]]:
        """By path the method and what answers it."""
        return ROUTES

    def checked(self, kind: str, body: Any) -> dict[str, Any]:
        """Fields that are not known are taken; a model that is not known is not."""
        api: Any = self.server.api
        if not isinstance(body, dict):
            return requests.check(kind, body)
        known = {name: value for name, value in body.items() if name in requests.FIELDS[kind]}
        requests.check(kind, {"model": api.names[0], **known})
        if body.get("model", api.names[0]) not in api.names:
            raise UnknownModelError(f"The model `{body['model']}` does not exist.")
        return {"model": api.names[0], **body}

    def _guard(self, route: Callable[[Any], None]) -> None:
        try:
            super()._guard(route)
        except UnknownModelError as error:
            self._error(404, "NotFoundError", str(error))

    def _error(self, status: int, kind: str, message: str) -> None:
        if status == 500:
            message = DEAD
        self._json(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})

    def cut(self, error: server.EngineDeadError) -> None:
        """A stream whose engine has died ends with an error, and then as if all were well."""
        log.say(f"{error}", "E")
        said = {"error": {"message": DEAD, "type": "InternalServerError", "param": None, "code": 500}}
        self._chunk(said)
        self._write(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")
        self.server.fatal()

    def ping(self) -> None:
        """It lives."""
        self._send(200, b"", "")

    def load(self) -> None:
        """How many requests it has."""
        self._json(200, {"server_load": self.server.api.statistics.active})

    def models(self) -> None:
        """The names that it answers to."""
        api: Any = self.server.api
        about = {"object": "model", "created": int(time.time()), "owned_by": "vllm", "root": "/SIMULATED"}
        about |= {"parent": None, "max_model_len": api.settings.max_seq_len}
        self._json(200, {"object": "list", "data": [{"id": name, **about} for name in api.names]})

    def metrics(self) -> None:
        """Its figures."""
        self._send(200, self.server.api.statistics.prometheus().encode(), "text/plain; version=0.0.4; charset=utf-8")


ROUTES: dict[str, tuple[str, Callable[[Any], None]]] = {
    "/health": ("GET", Handler.health),
    "/load": ("GET", Handler.load),
    "/metrics": ("GET", Handler.metrics),
    "/ping": ("GET", Handler.ping),
    "/v1/chat/completions": ("POST", Handler.chat),
    "/v1/completions": ("POST", Handler.completion),
    "/v1/models": ("GET", Handler.models),
    "/version": ("GET", Handler.version),
}
