# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a program here can use RoCE devices: the device nodes that it sees, compared with those of the kernel.

A device node keeps its number while the kernel gives a card that went and came another one, and ``rdma_cm`` is there
without any card; so what counts is each device's own ``uverbs``, as for libibverbs.

This one file is read by both: the image of the serving containers gets it as ``supervisor/verbs.py``, which is a link
to it. Standard library only. This module util is private to the collection.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple, Sequence

SYS, DEV = Path("/sys"), Path("/dev")


class Verbs(NamedTuple):
    """The character device of a RoCE device, as the kernel has it now."""

    name: str  # below /dev/infiniband
    number: str  # major:minor


class Condition(NamedTuple):
    """Whether the RoCE devices can be used: they can where ``words`` is empty."""

    words: str  # what is wrong
    stale: bool  # the kernel has the device, and only the nodes here are wrong


def of_kernel(sys: Path) -> dict[str, Verbs]:
    """The character devices by RoCE device. One that goes while it is looked at is left out."""
    found = {}
    for path in sorted(sys.glob("class/infiniband_verbs/uverbs*")):
        try:
            device, number = (path / "ibdev").read_text().strip(), (path / "dev").read_text().strip()
        except OSError:
            continue
        found[device] = Verbs(path.name, number)
    return found


def condition(devices: Sequence[str], open_too: bool = False) -> Condition:
    """Whether all these RoCE devices can be used.

    :param open_too: also open each node, as a program does that uses it.
    """
    known = of_kernel(SYS)
    gone = [device for device in devices if device not in known]
    if gone:
        there = sorted(path.name for path in SYS.glob("class/infiniband/*"))
        if set(gone) <= set(there):
            words = f"{' and '.join(gone)} cannot be used by programs: the kernel's module ib_uverbs is not loaded"
        else:
            words = f"there is no RoCE device {' or '.join(gone)} (there is {', '.join(there) or 'none'})"
        return Condition(words, stale=False)
    nodes = ((device, known[device], DEV / "infiniband" / known[device].name) for device in devices)
    wrong = [said for device, verbs, path in nodes if (said := _node_problem(device, verbs, path, open_too))]
    return Condition("; ".join(wrong), stale=bool(wrong))


def _node_problem(device: str, verbs: Verbs, path: Path, open_too: bool) -> str:
    shown = f"/dev/infiniband/{verbs.name}"
    try:
        about = path.stat()
    except OSError:
        missing = shown if path.parent.is_dir() else "/dev/infiniband"
        return f"{missing} is not there, of which {device} needs {verbs.name}"
    number = f"{os.major(about.st_rdev)}:{os.minor(about.st_rdev)}"
    if not stat.S_ISCHR(about.st_mode) or number != verbs.number:
        return f"{shown} has the device number {number}, and the kernel's {device} has {verbs.number} now"
    try:
        if open_too:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{shown} of {device} cannot be opened: {error.strerror}"
    return ""
