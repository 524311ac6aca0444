# SIMULATED: stands in for SGLang in a virtual Spark; computes nothing.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of SGLang's API people, programs and the supervisor use."""

from __future__ import annotations

import os
import threading
import time
import uuid
from typing import Any, Callable, NoReturn

from every_node.counts import Counts
from tensorrt_llm.simulation import answers, requests, server
from tensorrt_llm.simulation.proxy import Caller, GoneError

#: names of histograms, by those of what was measured
SECONDS = {
    "e2e_request_latency_seconds": "sglang:e2e_request_latency_seconds",
    "request_queue_time_seconds": "sglang:queue_time_seconds",
    "time_to_first_token_seconds": "sglang:time_to_first_token_seconds",
    "time_per_output_token_seconds": "sglang:inter_token_latency_seconds",
}
HEALTH_S = float(os.environ.get("SGLANG_HEALTH_CHECK_TIMEOUT", "20"))


class Engine:
    """The ranks, by way of this node's scheduler."""

    gone = False

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def step(self, request: str, new: bool) -> str:
        """Make one token of a request; for a new one, return the nonce that the last rank gave it."""
        try:
            return str(self._caller.call({"do": "step", "request": request, "new": new})["nonce"])
        except GoneError:
            wait_for_ever()  # a request waits for its tokens until this process is ended for it

    def stop(self) -> None:
        """Have the schedulers of all nodes end."""
        self._caller.call({"do": "stop"})


def wait_for_ever() -> NoReturn:
    """Do nothing any more."""
    while True:
        threading.Event().wait(3600)


class Statistics(Counts):
    """What is counted, under SGLang's names."""

    def prometheus(self) -> str:
        """In Prometheus' text format."""
        rank = f'engine_type="unified",model_name="{self.model}",moe_ep_rank="0",pp_rank="0",tp_rank="0"'
        model = f'model_name="{self.model}"'
        with self.lock:
            gauges = {
                "num_running_reqs": self.active,
                "num_queue_reqs": self.queued,
                "token_usage": self.active / max(self.tokens, 1),
                "gen_throughput": self.active,
                "cache_hit_rate": 0,
                "max_total_num_tokens": self.tokens,
            }
            totals = {
                f'realtime_tokens_total{{{rank},mode="decode"}}': self.steps,
                f'prompt_tokens_total{{{model},is_streaming="false"}}': self.prompts,
                f'generation_tokens_total{{{model},is_streaming="false"}}': self.made,
                f"num_requests_total{{{model}}}": sum(self.finished.values()),
                f"num_aborted_requests_total{{{model}}}": self.finished.get("abort", 0),
            }
            lines = [
                *self.lines("gauge", {f"sglang:{name}{{{rank}}}": value for name, value in gauges.items()}),
                *self.lines("counter", {f"sglang:{name}": value for name, value in totals.items()}),
                *self.histograms(SECONDS, model),
            ]
        return "\n".join(lines) + "\n"


class Api(server.Api):
    """Everything but HTTP."""

    way = "over gloo"

    def __init__(self, engine: Engine, ranks: list[dict[str, Any]], settings: server.Settings, tokens: int) -> None:
        super().__init__(engine, ranks, settings)  # type: ignore[arg-type]
        self.statistics = Statistics(settings.max_batch_size, settings.model, tokens)
        self.status, self.draining, self.running = "Starting", False, 0

    def generate(self, ident: str, prompt: str, body: dict[str, Any]) -> server.Generation:
        """Queue a request; what is too long is refused in SGLang's words."""
        count, longest = len(answers.tokens(prompt)), self.settings.max_seq_len or 0
        if longest and count >= longest:
            raise server.TooLongError(
                f"The input ({count} tokens) is longer than the model's context length ({longest} tokens)."
            )
        found = super().generate(ident, prompt, body)
        self.statistics.prompts += count
        return found

    def _compute(self) -> None:
        """The time of a token is that of the ranks, who wait for one another meanwhile."""

    def busy(self) -> int:
        """How many requests it has."""
        with self.statistics.lock:
            return self.statistics.active + self.statistics.queued


class Handler(server.Handler):
    """One connection."""

    def routes(self) -> dict[str, tuple[str, Callable[[Any], None]]]:
        """By path the method and what answers it."""
        return ROUTES

    def checked(self, kind: str, body: Any) -> dict[str, Any]:
        """Fields that are not known are taken; a body that lacks one is not."""
        if isinstance(body, dict):
            known = {name: value for name, value in body.items() if name in requests.FIELDS[kind]}
            requests.check(kind, {"model": "default", **known})
            return {"model": self.server.api.settings.model, **body}
        return requests.check(kind, body)

    def health(self) -> None:
        """Whether it lives, or, unless that is switched off, whether a token comes."""
        api: Any = self.server.api
        if api.draining or api.status == "Starting":
            self._send(503, b"", "")
        elif os.environ.get("SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION", "1").lower() in ("0", "false"):
            self._send(200, b"", "")
        else:
            self.health_generate()

    def health_generate(self) -> None:
        """Whether a token comes."""
        api: Any = self.server.api
        if api.draining or api.status == "Starting":
            self._send(503, b"", "")
            return
        came = threading.Event()

        def ask() -> None:
            list(api.generate(f"HEALTH_CHECK_{uuid.uuid4().hex}", "user hi", {"max_tokens": 1}).pieces)
            came.set()

        threading.Thread(target=ask, daemon=True).start()
        api.status = "Up" if came.wait(HEALTH_S) else "UnHealthy"
        self._send(200 if api.status == "Up" else 503, b"", "")

    def ready(self) -> None:
        """Whether it takes requests."""
        api: Any = self.server.api
        self._send(200 if api.status == "Up" and not api.draining else 503, b"", "")

    def models(self) -> None:
        """Its one model."""
        settings = self.server.api.settings
        about = {"id": settings.model, "object": "model", "created": int(time.time()), "owned_by": "sglang"}
        more = {"root": settings.model, "parent": None, "max_model_len": settings.max_seq_len}
        self._json(200, {"object": "list", "data": [{**about, **more}]})

    def model_info(self) -> None:
        """What it says of its model."""
        settings = self.server.api.settings
        about = {"model_path": os.environ.get("VIRTUAL_SPARK_MODEL", ""), "served_model_name": settings.model}
        self._json(200, {**about, "is_generation": True, "has_image_understanding": settings.sees, "note": "SIMULATED"})

    def metrics(self) -> None:
        """Its figures."""
        self._send(200, self.server.api.statistics.prometheus().encode(), "text/plain; version=0.0.4; charset=utf-8")


ROUTES: dict[str, tuple[str, Callable[[Any], None]]] = {
    "/get_model_info": ("GET", Handler.model_info),
    "/health": ("GET", Handler.health),
    "/health_generate": ("GET", Handler.health_generate),
    "/metrics": ("GET", Handler.metrics),
    "/model_info": ("GET", Handler.model_info),
    "/ready": ("GET", Handler.ready),
    "/v1/chat/completions": ("POST", Handler.chat),
    "/v1/completions": ("POST", Handler.completion),
    "/v1/models": ("GET", Handler.models),
}
