# SIMULATED: resource limits in a virtual Spark on a machine that may not raise them.
"""Clamp what this kernel would refuse. Not NVIDIA's work: it stands in for a machine with CAP_SYS_RESOURCE.

Without that capability "memlock: -1" keeps a container from starting at all. A real Spark has it. So a limit that
could not be set for lack of the capability becomes the highest that can, and the change is recorded.
"""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path
from typing import Any, Callable

LOG = Path("/var/log/virtual-spark/clamped.jsonl")
NR_OPEN = Path("/proc/sys/fs/nr_open")
INFINITY = 2**64 - 1

Limit = dict[str, Any]


def _for_python(value: int) -> int:
    return resource.RLIM_INFINITY if value >= INFINITY else value


def settable(name: str, soft: int, hard: int) -> bool:
    """Whether a process that we start could set this limit. Tried in a child, as raising back is not allowed."""
    number = getattr(resource, name, None)
    if number is None:
        return True
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(number, (_for_python(soft), _for_python(hard)))
            os._exit(0)
        except (OSError, ValueError):
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def ceiling(name: str) -> int:
    """The hard limit that we have ourselves."""
    hard = resource.getrlimit(getattr(resource, name))[1]
    return INFINITY if hard == resource.RLIM_INFINITY else hard


def clamp(
    spec: dict[str, Any],
    try_set: Callable[[str, int, int], bool] = settable,
    highest: Callable[[str], int] = ceiling,
    nr_open: int | None = None,
) -> list[Limit]:
    """Lower the limits in ``spec`` that could not be set. Returns what was changed."""
    changed = []
    for limit in (spec.get("process") or {}).get("rlimits") or []:
        name, soft, hard = limit["type"], limit["soft"], limit["hard"]
        if try_set(name, soft, hard):
            continue
        if name == "RLIMIT_NOFILE" and hard > _nr_open(nr_open):
            continue  # refused on every machine, capability or not: that failure is the true one
        top = highest(name)
        if hard <= top:
            continue  # refused for another reason, such as soft above hard
        limit["hard"], limit["soft"] = top, min(soft, top)
        changed.append({"type": name, "asked": {"soft": soft, "hard": hard},
                        "given": {"soft": limit["soft"], "hard": top}})  # fmt: skip
    return changed


def _nr_open(known: int | None) -> int:
    return known if known is not None else int(NR_OPEN.read_text())


def record(container: str, changed: list[Limit], log: Path = LOG) -> None:
    """One JSON line for each limit."""
    log.parent.mkdir(parents=True, exist_ok=True)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with log.open("a") as lines:
        for one in changed:
            lines.write(json.dumps({"time": now, "container": container, **one, "why": "no CAP_SYS_RESOURCE"}) + "\n")
