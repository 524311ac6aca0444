# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that are ended when nothing moves any more, and programs that run at the same time.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from typing import Any, Callable, Iterable, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.received import Received

#: bytes a second, on average: fewer are no download, but a program that tries to connect again and again
LEAST_RECEIVED = 8 << 10


def run_while_moving(
    argv: Sequence[str],
    environment: Mapping[str, str],
    moved: Callable[[], Any],
    stall_seconds: float,
    every: float = 1,
) -> tuple[int | None, str]:
    """Run a program. Returns its exit status, or None if it was ended, and what it said.

    It is ended when for a while nothing moved on the disk **and** nothing to speak of came from the network. The disk
    alone does not tell: Xet writes a file in order and keeps in memory what came before its turn, gigabytes of it,
    all of which would be lost.

    :param environment: set for it beside this process's own, in which alone a secret belongs.
    :param moved: what changes as long as it gets on.
    """
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            argv, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        network = Received(child.pid)
        last, received, since, ended = moved(), network.count(), time.monotonic(), False
        while child.poll() is None:
            try:
                child.wait(every)
            except subprocess.TimeoutExpired:
                now, came = moved(), network.count()
                if now != last or came - received >= LEAST_RECEIVED * stall_seconds:
                    last, received, since = now, came, time.monotonic()
                elif time.monotonic() - since > stall_seconds:
                    child.kill()
                    ended = True
        said.seek(0)
        return None if ended else child.returncode, said.read().decode(errors="replace")


def run_together(commands: Iterable[Sequence[str]], environment: Mapping[str, str]) -> list[tuple[int, str]]:
    """Run programs at the same time, none of which needs input. Returns the exit status of each, and what it said.

    :param environment: set for them beside this process's own.

    >>> run_together([["sh", "-c", "echo $A; exit 3"], ["true"]], {"A": "1"})
    [(3, '1\\n'), (0, '')]
    """
    children = [
        subprocess.Popen(
            argv,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for argv in commands
    ]
    said = [child.communicate()[0].decode(errors="replace") for child in children]
    return [(child.returncode, text) for child, text in zip(children, said)]
