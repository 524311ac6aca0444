# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Post one message to a receiver: in a process of its own, which cannot hold anything up and is ended if it takes long.

The receiver's URL is a secret: it is read from its file here, and is in no argument, environment, log or message.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import signal
import socket
import sys
from typing import Any, Callable, Mapping, NamedTuple
from urllib.parse import unquote, urlsplit

from . import contract, paths, redact

#: exit statuses: it was taken; it was refused, and would be again; it may be taken later
TAKEN, REFUSED, LATER = 0, 3, 4
LIMIT_S = 8  #: for all of it
UNANSWERED = "it took the message and did not answer"
_PLAIN = (ConnectionError, socket.gaierror)  #: errors whose words are the system's
LATER_STATUSES = (408, 425, 429)  #: and those from 500 on
SLACK_LENGTH, DISCORD_LENGTH = 3000, 1900  #: in characters


class Receiver(NamedTuple):
    """Where alerts go, and in which form."""

    url: str
    name: str  # this and the next three as contract.AlertSettings has them
    form: str
    after_s: float
    settle_s: float
    digest: str  # of where they go and in which form, so that other times make no other receiver


def receiver() -> Receiver | None:
    """As the plan wrote it; None where no alerts are wanted.

    :raises OSError: and ValueError, TypeError or KeyError, where it is not whole.
    """
    try:
        settings, url = (
            (paths.CONFIG / contract.ALERT).read_bytes(),
            (paths.CONFIG / contract.ALERT_URL).read_bytes(),
        )
    except FileNotFoundError:
        return None
    told = json.loads(settings)
    form = str(told["format"])
    return Receiver(
        url=url.decode().strip(),
        name=str(told["name"]),
        form=form,
        after_s=float(told["after_s"]),
        settle_s=float(told["settle_s"]),
        digest=hashlib.sha256(form.encode() + b" " + url).hexdigest(),
    )


def body(message: Mapping[str, Any], form: str) -> dict[str, Any]:
    """A message in the shape of its receiver. :param form: one of :data:`contract.ALERT_FORMATS`.

    >>> body({"text": "a <!channel> & b"}, "slack"), body({"text": "up"}, "generic")
    ({'text': 'a &lt;!channel&gt; &amp; b'}, {'text': 'up'})
    """
    text = str(message["text"])
    if form == contract.SLACK:
        for sign, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(sign, safe)
        return {"text": text[:SLACK_LENGTH]}
    if form == contract.DISCORD:
        return {"content": text[:DISCORD_LENGTH], "allowed_mentions": {"parse": []}}
    return dict(message)


def judged(status: int) -> tuple[int, str]:
    """What an HTTP status means for a message.

    >>> judged(204), judged(302), judged(503)
    ((0, 'it answers 204'), (3, 'it answers 302, and is not followed elsewhere'), (4, 'it answers 503'))
    """
    if 200 <= status < 300:
        return TAKEN, f"it answers {status}"
    if status >= 500 or status in LATER_STATUSES:
        return LATER, f"it answers {status}"
    return REFUSED, f"it answers {status}{', and is not followed elsewhere' if 300 <= status < 400 else ''}"


def _late(*_arguments: object) -> None:
    raise socket.timeout


def sent() -> str:
    """The ID of the message that was sent last and not refused; empty where there is none."""
    try:
        return (paths.STATE / contract.ALERT_SENT).read_text()
    except (OSError, ValueError):
        return ""


def note_sent(ident: str) -> None:
    """Have :func:`sent` tell of a message, or of none: its sender may be ended before it hears of it."""
    path = paths.STATE / contract.ALERT_SENT
    with contextlib.suppress(OSError):  # a full disk is no reason not to post it
        if ident:
            path.write_text(ident)
        else:
            path.unlink()


def post(url: str, content: bytes, limit_s: float, on_sent: Callable[[], object] = bool) -> tuple[int, str]:
    """Post it once, directly, and follow no redirection. Returns the exit status, and in words what became of it.

    One that was sent whole and not answered in time counts as taken: to post it again would tell twice what was told.

    :param on_sent: is called when it was sent whole.
    """
    is_sent = False
    connection: http.client.HTTPConnection | None = None
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, limit_s)  # a receiver may answer byte by byte
    try:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=limit_s)
        headers = {"Content-Type": "application/json", "User-Agent": "dgx-spark"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        connection.request("POST", path, content, headers)
        is_sent = True
        on_sent()
        return judged(connection.getresponse().status)
    except socket.timeout:
        return (TAKEN, UNANSWERED) if is_sent else (LATER, "it cannot be reached in time")
    except _PLAIN as error:
        return LATER, ", ".join(filter(None, [type(error).__name__, error.strerror]))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return LATER, type(error).__name__  # what it says may name the URL
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if connection:
            connection.close()


def main() -> int:
    """Post the message that comes by standard input; say on standard output what became of it."""
    message = json.loads(sys.stdin.read())
    to = receiver()
    if to is None:
        return REFUSED
    texts = {name: said.replace(to.url, redact.GONE) for name, said in message.items() if isinstance(said, str)}
    clean = redact.value({**message, **texts})
    content = json.dumps(body(clean, to.form)).encode()
    status, words = post(to.url, content, LIMIT_S, lambda: note_sent(message.get("id", "")))
    if status != TAKEN:
        note_sent("")
    print(words)
    return status
