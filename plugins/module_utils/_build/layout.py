# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a long build is on a host, and what its parts are called.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Any, Mapping

#: two kinds of builds, one at a time of each: an image from source, and engines with trtllm-build
IMAGE, ENGINE = "build", "engine-build"
COMMIT_LABEL, ARCHS_LABEL, URL_LABEL = "dgx-spark.commit", "dgx-spark.archs", "dgx-spark.source"
#: as TensorRT-LLM's own Makefile names images, so that its version is looked for in them
REPOSITORY = "dgx-spark/tensorrt-llm/release"
PROGRAM, REQUEST, STATE, LOG, SOURCE = "build.py", "request.json", "state.json", "log", "source"
COMMIT = re.compile(r"[0-9a-f]{40}")
#: in the clone of a build whose other files are gone
OWN_CLONE = ".git/dgx-spark-build"
_WITH_LOGIN = re.compile(r"(?!ssh://[^:/@]*@)[a-z][a-z0-9+.-]*://[^/@]*@", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z0-9/.~][A-Za-z0-9._~:/@%+,=-]*")
RUNNING, FAILED, DONE = "running", "failed", "done"


def unit(kind: str) -> str:
    """The transient unit of a build.

    >>> unit(IMAGE)
    'dgx-spark-build.service'
    """
    return f"dgx-spark-{kind}.service"


def folder(kind: str) -> str:
    """Where the program, its request, the state and the log are.

    >>> folder(IMAGE)
    '/var/lib/dgx-spark/build'
    """
    return f"/var/lib/dgx-spark/{kind}"


def image_name(commit: str) -> str:
    """What an image that was built from a commit is called.

    >>> image_name("0123456789abcdef0123456789abcdef01234567")
    'dgx-spark/tensorrt-llm/release:commit-0123456789ab'
    """
    return f"{REPOSITORY}:commit-{commit[:12]}"


def url_problem(url: str) -> str:
    """Return why a repository is not built from, empty where it may be. A secret is not repeated.

    >>> url_problem("https://git.example/a.git"), url_problem("ssh://git@git.example/a.git")
    ('', '')
    """
    if _WITH_LOGIN.match(url):
        return (
            "image_build_url has a user or a password, which would be in the image's labels, in logs and on command "
            "lines: leave it out, and have root's git on the leader know it (git help credentials)"
        )
    if not _URL.fullmatch(url):
        return "image_build_url has characters that a shell reads otherwise, or is empty: give a plain URL"
    return ""


def outcome(state: Mapping[str, Any], active: bool) -> str:
    """How a build stands: running, interrupted, failed, done, or empty where there was none.

    :param state: what its program noted last. :param active: whether its unit runs.

    >>> outcome({"phase": "running"}, True), outcome({"phase": "running"}, False), outcome({}, False)
    ('running', 'interrupted', '')
    """
    if active:
        return RUNNING
    phase = str(state.get("phase") or "")
    return "interrupted" if phase == RUNNING else phase


def line(state: Mapping[str, Any], now: float) -> str:
    """How far a build is, as one line.

    >>> line({"title": "Compile", "stages": ["a", "b"], "done": ["a"], "percent": 45, "step": "wheel 9/9",
    ...       "stage_began": 0.0}, 5400.0)
    'Compile (stage 2 of 2), wheel 9/9, 45 %, 1 h 30 min'
    """
    stages, done = state.get("stages") or [], state.get("done") or []
    words = [f"{state.get('title') or 'begins'} (stage {min(len(done) + 1, len(stages))} of {len(stages)})"]
    if state.get("step"):
        words.append(str(state["step"]))
    if state.get("percent") is not None:
        words.append(f"{state['percent']} %")
    words.append(duration(now - float(state.get("stage_began", now))))
    return ", ".join(words)


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(42), duration(600), duration(7500)
    ('42 s', '10 min', '2 h 05 min')
    """
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
