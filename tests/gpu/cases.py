# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a cluster that serves, and what vLLM does then by itself, where that was measured."""

from __future__ import annotations

from typing import NamedTuple

PARTS = ("leader main", "leader core", "leader worker", "node 1 main", "node 1 worker")
ONCE = "not measured"


class Case(NamedTuple):
    """One fault."""

    name: str
    what: str  # a part of the engine, "link", "leader", "worker" (the containers), "model" or "arguments"
    how: str  # KILL, TERM or STOP; of a link "out"; else what the name says
    alone: str  # vLLM 0.26.0 without a supervisor, with VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS=25
    brief_s: float = 0  # after which it is undone; 0 for not by itself
    idle: bool = False  # whether no request runs meanwhile
    about_s: float = 70  # that it takes, by which the longest come first


_ALONE = {
    (
        "KILL",
        "leader main",
    ): "the stream is cut at once; core and worker stay, hold the GPU, compute on; node 1 stays",
    ("KILL", "leader core"): "error in the stream after 0.05 s; the leader ends with 0 after 4.7 s; node 1 stays",
    ("KILL", "leader worker"): "error in the stream after 0.3 s; the leader ends with 0 after 4.4 s; node 1 stays",
    ("KILL", "node 1 worker"): "the stream hangs 25.1 s; the leader ends with 0 after 29.8 s",
    (
        "TERM",
        "leader main",
    ): "the stream ends with abort, a plain one with 200 and half a text; 0.6 s; node 1 stays",
    ("TERM", "node 1 main"): "serves on for 9 s, then hangs 25 s; the leader ends with 0 after 35.3 s",
    ("STOP", "node 1 worker"): "the stream hangs 25.1 s; the leader ends with 0 after 29.8 s; node 1 stays",
}
_ABOUT = {"KILL": 65, "TERM": 75, "STOP": 90}

CASES = [
    *(
        Case(f"SIG{how} to {part}", part, how, _ALONE.get((how, part), ONCE), about_s=_ABOUT[how])
        for how in ("STOP", "TERM", "KILL")
        for part in PARTS
    ),
    Case(
        "cable out until both nodes have ended", "link", "out", "hangs 25 s; the leader ends; node 1 stays", about_s=150
    ),
    Case("cable out for 6 s", "link", "out", "goes on (8.6 s out)", brief_s=6, about_s=30),
    Case("node 1 worker stopped for 6 s", "node 1 worker", "STOP", "goes on (10 s stopped)", brief_s=6, about_s=30),
    Case("SIGKILL to node 1 worker, idle", "node 1 worker", "KILL", "/health is 200 until the next request", idle=True),
    Case("the leader's container is killed", "leader", "KILL", "node 1 stays (the leader's processes killed)"),
    Case("the worker's container is killed", "worker", "KILL", "error after 0.05 s; the leader ends with 0 after 4 s"),
    Case("the leader's container is stopped, and started again", "leader", "stop", ONCE),
    Case("the model's config.json is gone: each start fails", "model", "gone", ONCE, about_s=120),
    Case("an unknown argument", "arguments", "wrong", "ends with 2 after 17 s", about_s=80),
]
