# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a host part by part within a time: a part that fails, or hangs, is named with its why, and the others go on.

A wedged driver, a dead network disk or a name server that does not answer are what a sick host has, so that each part
runs in a thread of its own, and each program has its own limit.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Mapping, Sequence, Tuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import cause, is_ours
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import sentence

PATHS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
LIMIT_S = 15.0  #: of one program

#: what the parts told by name, and why the others did not
Found = Tuple["dict[str, Any]", "dict[str, str]"]


class UnreadError(Exception):
    """Why a part cannot be read, in words."""


class LateError(UnreadError, TimeoutError):
    """A program did not end in time."""


def tool(name: str) -> str | None:
    """The path of a program, also where PATH has no directory of administrators; None where it is missing."""
    return shutil.which(name, path=_path())


def _path() -> str:
    places = [*os.environ.get("PATH", "").split(os.pathsep), *PATHS]
    return os.pathsep.join(dict.fromkeys(filter(None, places)))


def run(argv: Sequence[str], seconds: float = LIMIT_S) -> tuple[int, str]:
    """The exit status of a program and all that it printed, on either output; else as :func:`run_apart`."""
    status, out, _none = _run(argv, seconds, subprocess.STDOUT)
    return status, out


def run_apart(argv: Sequence[str], seconds: float = LIMIT_S) -> tuple[int, str, str]:
    """The exit status of a program, and what it printed on either output; 127 where it is missing.

    :raises LateError: where it does not end in time. It is killed then, and not waited for: a process that hangs in the
        kernel does not even die. :raises UnreadError: where it cannot be started.
    """
    return _run(argv, seconds, subprocess.PIPE)


def _run(argv: Sequence[str], seconds: float, errors: int) -> tuple[int, str, str]:
    path = tool(argv[0])
    if path is None:
        return 127, "", ""
    environment = {**os.environ, "PATH": _path(), "LANG": "C", "LC_ALL": "C", "LANGUAGE": "C"}
    try:
        child = subprocess.Popen(
            [path, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise UnreadError(f"{path} cannot be started: {error.strerror or error}") from None
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, 9)
        raise LateError(f"{argv[0]} did not end within {seconds:g} s") from None
    return child.returncode, out.decode(errors="replace"), (err or b"").decode(errors="replace")


def every_part(parts: Mapping[str, Callable[[], Any]], seconds: float) -> Found:
    """What each part returns, and why the others have nothing. All run at the same time.

    :param seconds: after which nobody waits any more.

    >>> every_part({"one": lambda: 1, "two": lambda: int("x")}, 5)
    ({'one': 1}, {'two': "it has a form that is not known: invalid literal for int() with base 10: 'x'"})
    """
    read: dict[str, Any] = {}
    unread: dict[str, str] = {}
    lock = threading.Lock()

    def one(name: str, part: Callable[[], Any]) -> None:
        value: Any = None
        why = ""
        try:
            value = part()
        except UnreadError as error:
            why = str(error)
        except OSError as error:
            why = sentence(error)
        except Exception as error:  # of whatever kind: what is foreign may have any form, and the rest is to be told
            why = str(error) if is_ours(error) else f"it has a form that is not known: {cause(error)}"
        with lock:
            if name in unread:
                return  # it comes too late
            if why:
                unread[name] = why
            else:
                read[name] = value

    threads = {
        name: threading.Thread(target=one, args=(name, part), name=name, daemon=True) for name, part in parts.items()
    }
    deadline = time.monotonic() + seconds
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    with lock:
        for name in threads:
            if name not in read and name not in unread:
                unread[name] = f"it was not read within {seconds:g} s: something on this host hangs"
        return dict(read), dict(unread)
