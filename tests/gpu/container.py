# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node, and a container on it, without Docker: ``python -m tests.gpu.container hold NAME | run FILE``.

``hold`` keeps a network, a host's name and an IPC namespace until its standard input ends. ``run`` starts a command in
these as process 1 of a process namespace, with mounts of its own, and ends with its exit status. Both end with whoever
started them, and all that they started does with them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from . import namespaces


def hold(name: str) -> int:
    """Keep a node, which is ready once a line was printed."""
    namespaces.die_with_parent(signal.SIGKILL)
    namespaces.unshare(namespaces.NEWNET | namespaces.NEWUTS | namespaces.NEWIPC)
    socket.sethostname(name)
    namespaces.switch("lo", True)
    print("ready", flush=True)
    sys.stdin.read()
    return 0


def run(told: dict[str, Any]) -> int:
    """Run a container.

    :param told: ``node``, the process that holds the node; ``binds``, each source, target and whether it is read-only;
        ``tmpfs``, targets; ``environment``; ``command``; ``log``; ``pid``, the file for the number of its process 1.
    """
    namespaces.die_with_parent(signal.SIGKILL)
    namespaces.enter(told["node"], "net", "uts", "ipc")
    namespaces.unshare(namespaces.NEWNS | namespaces.NEWPID)
    child = os.fork()
    if not child:
        try:
            become(told)
        except OSError as error:
            print(f"the container did not start: {error}", file=sys.stderr, flush=True)
        os._exit(125)
    Path(told["pid"]).write_text(str(child))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: os.kill(child, number))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF


def become(told: dict[str, Any]) -> None:
    """Be the container's first process."""
    namespaces.die_with_parent(signal.SIGKILL)
    os.setsid()
    log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    namespaces.mount("", "/", flags=namespaces.MS_REC | namespaces.MS_PRIVATE)
    for source, target, read_only in told["binds"]:
        namespaces.bind(source, target, read_only)
    for target in told["tmpfs"]:
        namespaces.mount("tmpfs", target, "tmpfs", options="mode=1777" if target == "/dev/shm" else "mode=755")
    namespaces.mount("proc", "/proc", "proc")
    for folder in ("/run/dgx-spark", "/run/lock"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir("/")
    os.execvpe(told["command"][0], told["command"], told["environment"])


def main(arguments: list[str]) -> int:
    """Do what the word asks for; returns the exit status."""
    word, argument = arguments
    return hold(argument) if word == "hold" else run(json.loads(Path(argument).read_text()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
