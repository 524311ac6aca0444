# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a host which gateways it has, and what their clients asked within the last hour. It changes nothing.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import host, log
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import ETC, Layout

#: runs a program, and returns its exit status and both its outputs
Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
_BIND = re.compile(r"^\s*bind (\S+)", re.MULTILINE)
#: what journalctl says to who may not read the lines of other users
_DENIED = ("not seeing messages", "insufficient permissions", "Permission denied")


def listens(config: str) -> str:
    """Where a gateway listens, as its ``haproxy.cfg`` says; empty where that does not tell.

    >>> listens("frontend api\\n    bind 0.0.0.0:443 ssl crt /x\\n"), listens("")
    ('0.0.0.0:443', '')
    """
    match = _BIND.search(config)
    return match[1] if match else ""


def journal_arguments(places: Layout, now: float) -> list[str]:
    """How journalctl is asked for the last hour.

    Neither to be quiet nor to print the messages alone (``cat``), which makes systemd 257 quiet too: it would not tell
    then that it hides the lines of other users, and succeed.
    """
    since = f"@{int(now - log.RECENT_S)}"
    return [
        *("journalctl", "--unit", places.unit, "--output", "short-unix", "--no-pager"),
        *("--since", since, "--lines", str(log.LINES)),
    ]


def problem_of(status: int, errors: str) -> str:
    """Why a journal was not read, or nothing. :param errors: what journalctl printed on its second output.

    >>> problem_of(0, ""), problem_of(1, "Failed to open files: Bad message")
    ('', 'journalctl failed (exit status 1): Failed to open files: Bad message')
    """
    if any(words in errors for words in _DENIED):
        return "this user may not read the journal"
    if status == 127:
        return "there is no journalctl"
    return f"journalctl failed (exit status {status}): {' '.join(errors.split())[:200]}" if status else ""


def recent(run: Run, places: Layout, now: float) -> dict[str, Any]:
    """What the clients asked: ``clients`` as :func:`log.by_client` returns it, None where ``problem`` says why.

    ``all`` is whether all of the hour was counted: of more requests than a journal is read for, the newest are.
    """
    status, out, errors = run(journal_arguments(places, now))
    problem = problem_of(status, errors)
    if problem:
        return {"clients": None, "all": False, "problem": problem}
    lines = [line.partition("]: ")[2] for line in out.splitlines()]  # after the time, the host and the program
    every = log.by_client(log.parse(lines), now)
    asked = {name: one for name, one in every.items() if one["requests"]}
    return {"clients": asked, "all": len(lines) < log.LINES, "problem": ""}


def gateways(run: Run, now: float, etc: Path = Path(ETC)) -> list[dict[str, Any]]:
    """The gateways of this host, and of each what :func:`recent` returns. Nothing is run where there is none.

    :param now: this host's clock, in seconds since the epoch.
    """
    found = []
    for instance in host.instances(etc):
        places = Layout(instance)
        text = host.text_of(str(etc / places.own / "haproxy.cfg"))
        found.append({"name": places.name, "instance": instance, "listens": listens(text), **recent(run, places, now)})
    return found
