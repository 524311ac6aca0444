# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the engine over HTTP: for a token, and for what it says of itself."""

from __future__ import annotations

import http.client
import json
import re
from typing import Any, Callable, NamedTuple

from .contract import CHAT, COMPLETION

NO_TEMPLATE = re.compile(r"chat.?template", re.IGNORECASE)
PORT, HEALTH = "port", "health"  #: what is reached before a token
#: what a server that is not well may lead to
ERRORS = (OSError, http.client.HTTPException, ValueError)


class RefusedError(OSError):
    """The server finds fault with the request, and not with itself."""


class Probe(NamedTuple):
    """What a probe found."""

    model: str  # the name that it goes by
    path: str  # where it is asked for a token
    problem: str | None  # in words, or None if the token came


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One request on a connection that stays open; the JSON of its answer, None where that is empty."""
    text = _answer(connection, method, path, body)
    return json.loads(text) if text.strip() else None


def _answer(
    connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any] | None = None
) -> bytes:
    headers = {"Content-Type": "application/json"} if body else {}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    reply = connection.getresponse()
    text = reply.read()
    if reply.status != 200:
        kind, said = RefusedError if 400 <= reply.status < 500 else OSError, text.decode(errors="replace")[:300]
        raise kind(": ".join([f"{path} answers {reply.status} {reply.reason}", *filter(None, [said.strip()])]))
    return text


def get(address: str, path: str, timeout: float) -> Any:
    """The JSON that one GET on a connection of its own answers."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        return ask(connection, "GET", path)
    finally:
        connection.close()


def text(address: str, path: str, timeout: float) -> str:
    """The text that one GET on a connection of its own answers."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        return _answer(connection, "GET", path).decode(errors="replace")
    finally:
        connection.close()


def prompt(model: str, path: str) -> dict[str, Any]:
    """A request for one token."""
    said = {"prompt": "Say ok."} if path == COMPLETION else {"messages": [{"role": "user", "content": "Say ok."}]}
    return {"model": model, **said, "max_tokens": 1, "temperature": 0}


def token(address: str, timeout: float, path: str = "", reached: Callable[[str], object] = str) -> Probe:
    """Ask for one token.

    The connection is closed from this end, so that what is left in TIME_WAIT does not hold the server's port.

    :param address: ``host:port`` of the API. :param timeout: seconds that each answer may take.
    :param path: where it was asked before. Unless that is known, a model that refuses to chat for want of a template,
        as a base model does, is asked to complete a text.
    :param reached: called with PORT when the port takes the connection, with HEALTH when the server says it is well.
    """
    connection, model, asked = http.client.HTTPConnection(address, timeout=timeout), "", path or CHAT
    try:
        connection.connect()
        reached(PORT)
        ask(connection, "GET", "/health")
        reached(HEALTH)
        model = ask(connection, "GET", "/v1/models")["data"][0]["id"]
        try:
            answer = ask(connection, "POST", asked, prompt(model, asked))
        except RefusedError as error:
            if path or not NO_TEMPLATE.search(str(error)):
                raise
            asked = COMPLETION
            answer = ask(connection, "POST", asked, prompt(model, asked))
        return Probe(model, asked, None if answer["usage"]["completion_tokens"] >= 1 else "an answer without a token")
    except (*ERRORS, KeyError, IndexError, TypeError) as error:
        return Probe(model, asked, f"{type(error).__name__}: {error}")
    finally:
        connection.close()


def is_healthy(address: str, timeout: float) -> bool:
    """Whether the server itself answers. It may do so without making tokens."""
    try:
        get(address, "/health", timeout)
    except ERRORS:
        return False
    return True
