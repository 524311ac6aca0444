# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of a measurement, with a stand-in for Docker's client, and the files that they leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Sequence

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._nccl import container, layout


class Docker:
    """As many of Docker's answers as are asked for."""

    def __init__(self, there: bool = False, running: int = 0, fails: str = "") -> None:
        self.there, self.running, self.fails = there, running, fails
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        word = argv[1]
        self.asked.append(word)
        if word == self.fails:
            return 1, "", "Error: it does not work\n"
        if word == "ps" and "--all" not in argv:
            self.running -= 1
            return 0, "abc\n" if self.running >= 0 else "", ""
        if word == "ps":
            return 0, "abc\n" if self.there else "", ""
        if word == "rm":
            self.there = False
        if word == "logs":
            return 0, "one\n", "two\n"
        return 0, "", ""


def test_a_container_takes_the_place_of_an_earlier_one() -> None:
    docker = Docker(there=True)
    container.start(docker, ["--detach", "image"])
    assert docker.asked == ["ps", "rm", "run"]
    docker = Docker()
    container.start(docker, ["--detach", "image"])
    assert docker.asked == ["ps", "run"]


@pytest.mark.parametrize(
    ("fails", "words"), [("run", "does not start"), ("ps", "does not tell"), ("rm", "cannot be removed")]
)
def test_what_docker_refuses_is_told_in_its_words(fails: str, words: str) -> None:
    with pytest.raises(container.ContainerError, match=f"{words}.*: Error: it does not work"):
        container.start(Docker(there=True, fails=fails), ["image"])


def test_its_end_is_waited_for_and_not_for_ever() -> None:
    pauses: list[float] = []
    assert container.await_end(Docker(running=3), 60, pauses.append)
    assert len(pauses) == 3
    assert not container.await_end(Docker(running=10**9), 0.01, lambda _seconds: None)


def test_what_it_left(tmp_path: Path) -> None:
    assert container.result(tmp_path) == {}
    assert container.outputs(["all_reduce"], tmp_path) == {}
    (tmp_path / layout.RESULT).write_text(json.dumps({"problem": ""}))
    (tmp_path / "all_reduce.log").write_bytes(b"# \xff\n")
    assert container.result(tmp_path) == {"problem": ""}
    assert container.outputs(["all_reduce", "sendrecv"], tmp_path) == {"all_reduce": "# \ufffd\n"}
    (tmp_path / layout.RESULT).write_text("[")  # half of it
    assert container.result(tmp_path) == {}


def test_of_a_long_log_beginning_and_end_are_kept(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(b"first\n" + b"." * (2 * layout.MOST_BYTES) + b"\nlast")
    (kept,) = container.outputs(["x"], tmp_path).values()
    assert len(kept) == layout.MOST_BYTES + 1
    assert (kept[:6], kept[-5:]) == ("first\n", "\nlast")


def test_the_last_lines_of_its_log() -> None:
    assert container.log(Docker()) == ["one", "two"]
    assert container.log(Docker(fails="logs")) == []
