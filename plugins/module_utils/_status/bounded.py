# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the parts of a host's status at the same time and within a time: a part that hangs is named, and the rest told.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import FORMS, cause
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import sentence

PROGRAM_S = 8.0  #: that a program gets
PATHS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def run(argv: Sequence[str], seconds: float = PROGRAM_S) -> tuple[int, str, str]:
    """The exit status of a program, and what it printed on either output; 127 where it is missing.

    :raises TimeoutError: where it does not end in time.
    """
    path = os.pathsep.join([*filter(None, os.environ.get("PATH", "").split(os.pathsep)), *PATHS])
    environment = {**os.environ, "PATH": path, "LC_ALL": "C", "LANGUAGE": "C"}
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            env=environment,
        )
    except FileNotFoundError:
        return 127, "", ""
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{argv[0]} did not end within {seconds:g} s") from None
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def together(parts: Mapping[str, Callable[[], Any]], seconds: float) -> tuple[dict[str, Any], dict[str, str]]:
    """What each part returns, and of those that have nothing why.

    :param seconds: after which none is waited for any more: a read of a dead device never ends.

    >>> together({"one": lambda: 1, "two": lambda: {}["x"]}, 5)
    ({'one': 1}, {'two': "it has a form that is not known ('x' is missing)"})
    """
    found: dict[str, Any] = {}
    why: dict[str, str] = {}

    def one(name: str, part: Callable[[], Any]) -> None:
        try:
            found[name] = part()
        except OSError as error:
            why[name] = sentence(error)
        except FORMS as error:
            ours = "ansible_collections" in type(error).__module__
            why[name] = str(error) if ours else f"it has a form that is not known ({cause(error)})"

    threads = {
        name: threading.Thread(target=one, args=(name, part), name=name, daemon=True) for name, part in parts.items()
    }
    deadline = time.monotonic() + seconds
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    read = {name: found[name] for name in parts if name in found}
    late = f"it was not read within {seconds:g} s: something on this host hangs"
    return read, {name: why.get(name, late) for name in parts if name not in read}
