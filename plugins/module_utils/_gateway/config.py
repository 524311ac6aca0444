# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HAProxy is told, and the unit that runs it. Pure functions.

Nothing in it is newer than HAProxy 2.6. The tests run Debian 13's 3.0; Debian 12's 2.6 was seen to take it, let in and
refuse, stream and tell of the engine. Ubuntu 24.04's 2.8 lies between the two, and has not been tried.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import clients
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout

MANAGED = "# Ansible managed\n"
LOOPBACK, KEY, OPEN = "loopback", "key", "open"
EXPOSURES = (LOOPBACK, KEY, OPEN)
#: whose certificate clients are shown: one of an authority made for this gateway, the owner's, or none
CA, OWN, NONE = "ca", "own", "none"
CERTIFICATES = (CA, OWN, NONE)
MODELS_ROUTE, HEALTH_ROUTE = "/v1/models", "/health"
#: what may be asked of an engine; the gateway answers the two above itself
ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
#: for how long the counts of a client are kept that asks nothing
FORGET = "2h"
MAX_CLIENTS = 10_000
#: connections in all; a request takes one to the client and one to the engine
MAX_CONNECTIONS = 4_000


@dataclass(frozen=True)
class Settings:
    """A planned gateway."""

    layout: Layout
    exposure: str
    address: str  # IPv4 or IPv6
    port: int
    certificate: str  # one of CERTIFICATES
    engine: str  # host:port, on loopback
    state_file: str  # of the supervisor
    model: str  # the repository of the model that is served
    alias: str = ""  # another name for it
    context: int = 0  # tokens that one sequence can have; 0 where that is not known
    routes: Sequence[str] = ROUTES
    requests_per_minute: int = 600
    streams: int = 256
    body_mb: int = 32
    header_seconds: int = 10
    body_seconds: int = 30
    idle_seconds: int = 60
    generation_seconds: int = 3600

    @property
    def names(self) -> list[str]:
        """The names of the model in requests, the one to be used first."""
        return [self.alias, self.model] if self.alias and self.alias != self.model else [self.model]


@dataclass(frozen=True)
class Refusal:
    """An answer of the gateway's own, as OpenAI's clients read it."""

    status: int
    code: str
    kind: str
    message: str  # may hold HAProxy's expressions
    retry_after: str = ""
    challenge: bool = False

    @property
    def arguments(self) -> str:
        """What follows ``http-request return`` or ``http-error``."""
        error = {"message": self.message, "type": self.kind, "param": None, "code": self.code}
        headers = f" hdr Retry-After {quoted(self.retry_after)}" if self.retry_after else ""
        headers += " hdr WWW-Authenticate Bearer" if self.challenge else ""
        text = json.dumps({"error": error}, separators=(",", ":"))
        return f"status {self.status} content-type application/json lf-string {quoted(text)}{headers}"


BAD = "invalid_request_error"
#: what HAProxy itself answers, before, beside or after its rules
OWN_ERRORS = (
    Refusal(400, "bad_request", BAD, "The request is no valid HTTP, or its header is too large."),
    Refusal(408, "request_timeout", BAD, "The request did not arrive in time."),
    Refusal(500, "gateway_error", "server_error", "The gateway could not work on the request."),
    Refusal(502, "engine_failed", "server_error", "The engine ended without an answer.", "5"),
    Refusal(504, "engine_timeout", "server_error", "The engine did not answer in time.", "30"),
)
UNKNOWN_ROUTE = Refusal(
    404, "unknown_url", BAD, "Unknown request URL: %[method,json(utf8s)] %[var(txn.path),json(utf8s)]."
)
WRONG_METHOD = Refusal(
    405, "method_not_allowed", BAD, "%[method,json(utf8s)] is not allowed for %[var(txn.path),json(utf8s)]."
)
NO_KEY = Refusal(
    401,
    "invalid_api_key",
    BAD,
    "No API key was given. Send it in the header Authorization, as Bearer and the key.",
    challenge=True,
)
WRONG_KEY = Refusal(
    401, "invalid_api_key", BAD, "The API key is not known here: it is mistyped, or was revoked.", challenge=True
)
TOO_MANY_STREAMS = Refusal(
    429,
    "rate_limit_exceeded",
    "requests",
    "This API key has %[var(txn.streams)] requests at a time, and all of them are running.",
    "5",
)
TOO_MANY_REQUESTS = Refusal(
    429,
    "rate_limit_exceeded",
    "requests",
    "This API key has %[var(txn.rate)] requests a minute, and they are used up.",
    "15",
)
NO_LENGTH = Refusal(411, "length_required", BAD, "The request has no Content-Length.")


def quoted(text: str) -> str:
    """A text as one word of HAProxy's configuration.

    >>> quoted("it's")
    "'it'\\\\''s'"
    """
    return "'" + text.replace("'", "'\\''") + "'"


def too_large(settings: Settings) -> Refusal:
    """The refusal of a body that is larger than allowed."""
    return Refusal(413, "request_too_large", BAD, f"The request is larger than {settings.body_mb} MB.")


def model_refused(settings: Settings) -> Refusal:
    """The refusal of a client that may use other models alone."""
    return Refusal(403, "model_not_allowed", BAD, f"This API key may not use {settings.names[0]}, which is served now.")


def unavailable(settings: Settings) -> Refusal:
    """What is said while the engine does not serve: to who has a key, with the supervisor's reason."""
    said = "engine_reason" if settings.exposure == KEY else "engine_phase"
    return Refusal(503, "engine_unavailable", "server_error", f"%[lua.{said}]", "%[lua.engine_retry_after]")


def model_list(settings: Settings) -> str:
    """What the gateway answers of the models, in JSON."""
    length = {"max_model_len": settings.context} if settings.context else {}
    every = [
        {"id": name, "object": "model", "created": 0, "owned_by": "dgx-spark", **length} for name in settings.names
    ]
    return json.dumps({"object": "list", "data": every})


#: a log line. What is not known is -1 or a dash, so that these values are in quotes. Nothing of a request's header or
#: body is in it.
LOG = {
    "at": "%Ts.%ms",
    "client": '"%[var(txn.client,-),json(utf8s)]"',
    "from": '"%ci"',
    "method": '"%[var(txn.method,-),json(utf8s)]"',
    "path": '"%[var(txn.path,-),json(utf8s)]"',
    "status": "%ST",
    "model": '"%[var(txn.model,-),json(utf8s)]"',
    "prompt_tokens": '"%[var(txn.prompt_tokens,-1)]"',
    "tokens": '"%[var(txn.tokens,-1)]"',
    "events": '"%[var(txn.events,-1)]"',
    "ttft_ms": '"%[var(txn.ttft_ms,-1)]"',
    "ms": "%Ta",
    "bytes": "%B",
    "end": '"%ts"',
}


def haproxy(settings: Settings, files_digest: str = "") -> str:
    """The text of ``haproxy.cfg``.

    :param files_digest: over the other files that HAProxy reads at its start, so that a change of them is one of this.
    """
    body = _haproxy(settings)
    return body.replace("@DIGEST@", digest_of(body, files_digest)[:16])


def is_as_written(text: str, program: str) -> bool:
    """Whether a ``haproxy.cfg``, with the program beside it, is as :func:`haproxy` wrote it.

    :param program: the text of ``gateway.lua``.
    """
    told = told_digest(text)
    body = text.replace(f" {told}\n", " @DIGEST@\n", 1) if told else text
    return bool(told) and digest_of(body, digest_of(program)).startswith(told)


def digest_of(*texts: str) -> str:
    """The SHA-256 of texts, one behind the other, in hexadecimal digits."""
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def told_digest(text: str) -> str:
    """By what a running HAProxy says which ``haproxy.cfg`` it has read, which is in it as its description.

    >>> told_digest("global\\n    description dgx-spark-gateway 0123456789abcdef\\n")
    '0123456789abcdef'
    """
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "description":
            return words[2]
    return ""


def _haproxy(settings: Settings) -> str:
    places = settings.layout
    bind = f"[{settings.address}]" if ":" in settings.address else settings.address
    tls = "" if settings.certificate == NONE else f" ssl crt {places.certificate} alpn h2,http/1.1"
    log = "{" + ",".join(f'"{name}":{value}' for name, value in LOG.items()) + "}"
    errors = [f"http-error {one.arguments}" for one in (*OWN_ERRORS, unavailable(settings))]
    rules = "\n    ".join([*errors, *_rules(settings)])
    return f"""{MANAGED}# The API gateway of {settings.model}. Clients and their keys: {places.clients}
global
    description {places.name} @DIGEST@
    log stdout format raw local0
    user haproxy
    group haproxy
    maxconn {MAX_CONNECTIONS}
    stats socket {places.admin_socket} mode 600 level admin
    setenv DGX_SPARK_STATE {settings.state_file}
    lua-load-per-thread {places.program}
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode http
    log global
    # Else HAProxy keeps tokens back to fill its packets, and does not tell the engine of a client that has left.
    option http-no-delay
    option abortonclose
    # What was sent to an engine once may have been worked on.
    retries 0
    timeout connect 5s
    timeout http-request {settings.header_seconds}s
    timeout client {settings.idle_seconds}s
    timeout client-fin 10s
    timeout http-keep-alive {settings.idle_seconds}s
    timeout queue 10s
    timeout server {settings.generation_seconds}s

frontend api
    bind {bind}:{settings.port}{tls}
    filter lua.dgx-spark-meter
    log-format {quoted(log)}
    {rules}
    default_backend engine

backend engine
    # An engine leaves a connection that is not used for some seconds: a request at that moment would get no answer.
    option http-server-close
    server engine {settings.engine} check inter 1s fall 2 rise 1

backend clients
    stick-table type string len 64 size {MAX_CLIENTS} expire {FORGET} store conn_cur,gpc(1),gpc_rate(1,60s)
"""


def _rules(settings: Settings) -> list[str]:
    """The rules for a request, in their order: a route, then a key, then limits; whatever fails is answered here."""
    return [
        *_route_rules(settings),
        *_key_rules(settings),
        *_limit_rules(settings),
        *_model_rules(settings),
        *_last_rules(settings),
    ]


def _route_rules(settings: Settings) -> list[str]:
    """Whole paths as they were typed are compared, so that no other spelling of a route is one."""
    healthy = quoted('{"status":"ok"}')
    return [
        "http-request set-var(txn.method) method",
        "http-request set-var(txn.path) path,bytes(0,200)",
        f"acl health path -m str {HEALTH_ROUTE}",
        f"acl models path -m str {MODELS_ROUTE}",
        f"acl generates path -m str {' '.join(settings.routes)}",
        "acl serves nbsrv(engine) gt 0",
        f"http-request return {UNKNOWN_ROUTE.arguments} unless health or models or generates",
        f"http-request return {WRONG_METHOD.arguments} if generates !METH_POST",
        f"http-request return {WRONG_METHOD.arguments} if !generates !{{ method GET }}",
        f"http-request return status 200 content-type application/json string {healthy} if health serves",
        f"http-request return {_unavailable_without_reason().arguments} if health",
    ]


def _unavailable_without_reason() -> Refusal:
    return Refusal(503, "engine_unavailable", "server_error", "%[lua.engine_phase]", "%[lua.engine_retry_after]")


def _key_rules(settings: Settings) -> list[str]:
    if settings.exposure == OPEN:  # limits are those of an address then
        return ["http-request set-var(txn.client) src"]
    keys = settings.layout.map(clients.KEYS)
    return [
        f"http-request set-var(txn.client) http_auth_bearer,sha2(256),hex,lower,map_str({keys})",
        "acl known var(txn.client) -m found",
        f"http-request return {NO_KEY.arguments} if !known !{{ req.hdr(authorization) -m found }}",
        f"http-request return {WRONG_KEY.arguments} if !known",
    ]


def _limit_rules(settings: Settings) -> list[str]:
    """What was refused is counted as no request, so that a client that tries again gets through in the end."""
    keys, rates, streams = (settings.layout.map(name) for name in (clients.MODELS, clients.RATES, clients.STREAMS))
    every_rate, every_streams = settings.requests_per_minute, settings.streams
    refused = model_refused(settings)
    served = " ".join(f",{name}," for name in settings.names)
    return [
        f"http-request set-var(txn.models) var(txn.client),map_str({keys})",
        "acl chosen var(txn.models) -m found",
        f"acl allowed var(txn.models) -m sub {served}",
        f"http-request return {refused.arguments} if chosen !allowed",
        f"http-request set-var(txn.rate) var(txn.client),map_str_int({rates},{every_rate})",
        f"http-request set-var(txn.streams) var(txn.client),map_str_int({streams},{every_streams})",
        "http-request track-sc0 var(txn.client) table clients",
        f"http-request return {TOO_MANY_STREAMS.arguments} if {{ sc_conn_cur(0),sub(txn.streams) gt 0 }}",
        f"http-request return {TOO_MANY_REQUESTS.arguments} if {{ sc_gpc_rate(0,0),sub(txn.rate) ge 0 }}",
        "http-request sc-inc-gpc(0,0)",
    ]


def _model_rules(settings: Settings) -> list[str]:
    listed = quoted(model_list(settings))
    return [
        f"http-request return {unavailable(settings).arguments} if !serves",
        f"http-request return status 200 content-type application/json string {listed} if models",
    ]


def _last_rules(settings: Settings) -> list[str]:
    """A body is waited for, or as much of it as a buffer holds, so that a slow one takes nothing of the engine."""
    most = settings.body_mb * 1_000_000
    return [
        f"http-request return {NO_LENGTH.arguments} unless {{ req.hdr(content-length) -m found }}",
        f"http-request return {too_large(settings).arguments} if {{ req.hdr_val(content-length) gt {most} }}",
        f"http-request wait-for-body time {settings.body_seconds}s",
        f"http-request set-var(txn.model) str({settings.model})",
        # What the engine is asked: one path, and nothing that only the gateway is to read.
        "http-request set-uri %[path]",
        f"http-request set-header host {settings.engine}",
        *(f"http-request del-header {name}" for name in ("authorization", "cookie", "forwarded", "upgrade", "expect")),
        "http-request del-header x-forwarded- -m beg",
    ]


def unit(places: Layout) -> str:
    """The unit of systemd. It says nothing of the configuration, and so stays the same: to read a changed one, systemd
    would have to read its units again, which takes the GPUs from running containers."""
    return f"""{MANAGED}[Unit]
Description=API gateway of the DGX Spark ({places.own})
After=network-online.target
Wants=network-online.target
# Only while it is enabled: from the last boot on, systemd knows a unit whose file undo has removed.
ConditionPathExists={places.unit_link}

[Service]
Type=notify
ExecStartPre=/usr/sbin/haproxy -q -c -f {places.config}
ExecStart=/usr/sbin/haproxy -Ws -f {places.config}
# What is being answered goes on to its end in the process that began it.
ExecReload=/usr/sbin/haproxy -q -c -f {places.config}
ExecReload=/bin/kill -USR2 $MAINPID
KillMode=mixed
Restart=always
RestartSec=2
SuccessExitStatus=143
LimitNOFILE=65536
LogRateLimitIntervalSec=0
SyslogIdentifier={places.name}
RuntimeDirectory={places.runtime}
RuntimeDirectoryMode=0700
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict

[Install]
WantedBy=multi-user.target
"""
