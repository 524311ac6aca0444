# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvidia-ctk prints is read right, and other variables stay in swarm-resource."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_config import (
    ToolkitConfigError,
    string,
    swarm_way,
    version_of,
    with_resource,
)

CAPTURED = Path(__file__).parents[3] / "fixtures" / "nvidia_ctk" / "config"
KEY = "swarm-resource"


def test_reads_what_the_tool_printed() -> None:
    assert string((CAPTURED / "default.toml").read_text(), KEY) is None
    assert string((CAPTURED / "after_set.toml").read_text(), KEY) == "DOCKER_RESOURCE_GPU"


def test_reads_a_string_of_a_table() -> None:
    text = (
        'mode = "x"\n[nvidia-container-runtime] # mine\nmode = "auto"\n[nvidia-container-runtime.modes]\nmode = "y"\n'
    )
    assert string(text, "mode", "nvidia-container-runtime") == "auto"
    assert string(text, "mode") == "x"
    assert string(text, "mode", "nvidia-ctk") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ('# swarm-resource = "A"\n', None),
        ('[nvidia-ctk]\nswarm-resource = "A"\n', None),  # in a table, so another key
        ('swarm-resource-x = "A"\n', None),
        ('  swarm-resource="A,B" # mine\n[x]\n', "A,B"),
        ("swarm-resource = 'A'\n", "A"),
        ('swarm-resource = "a\\"b"\n', 'a"b'),
        ('swarm-resource = ""\n', ""),
    ],
)
def test_reads_a_string_before_the_first_table(text: str, value: str | None) -> None:
    assert string(text, KEY) == value


@pytest.mark.parametrize("line", ["swarm-resource = 1", 'swarm-resource = """A"""', 'swarm-resource = "A'])
def test_refuses_what_it_cannot_read(line: str) -> None:
    with pytest.raises(ToolkitConfigError, match="correct it by hand"):
        string(line, KEY)


@pytest.mark.parametrize(
    ("present", "wanted"),
    [(None, "X"), ("", "X"), ("X", "X"), ("A", "A,X"), ("A, X", "A, X"), ("A,,B", "A,B,X")],
)
def test_adds_a_variable_once(present: str | None, wanted: str) -> None:
    assert with_resource(present, "X") == wanted
    assert with_resource(wanted, "X") == wanted


@pytest.mark.parametrize("variable", ["", "A B", "A,B", "1", "A=B", "A\n"])
def test_refuses_a_name(variable: str) -> None:
    with pytest.raises(ToolkitConfigError, match="no name of an environment variable"):
        with_resource(None, variable)


@pytest.mark.parametrize(
    ("text", "version"),
    [("NVIDIA Container Toolkit CLI version 1.19.0\ncommit: x", (1, 19)), ("1.18.2-1", (1, 18)), ("1:2.0.1", (2, 0))],
)
def test_reads_a_version(text: str, version: tuple[int, int]) -> None:
    assert version_of(text) == version


def test_refuses_what_is_no_version() -> None:
    with pytest.raises(ToolkitConfigError, match="no version"):
        version_of("none")


@pytest.mark.parametrize(
    ("version", "mode", "gpus", "says"),
    [
        ("1.19.0", "auto", 1, "it reads DOCKER_RESOURCE_"),
        ("1.20.0-1", "jit-cdi", 2, "it reads DOCKER_RESOURCE_"),
        ("1.17.8", "auto", 2, "its hook reads"),
        ("1.18.2", "legacy", 2, "its hook reads"),
        ("1.18.2", "auto", 1, "NVIDIA_VISIBLE_DEVICES=all"),
    ],
)
def test_says_how_a_task_gets_its_gpu(version: str, mode: str, gpus: int, says: str) -> None:
    assert says in swarm_way(version, mode, gpus)


@pytest.mark.parametrize(
    ("version", "mode", "gpus", "mend"),
    [
        ("1.18.2", "auto", 2, "upgrade it to 1.19"),
        ("1.18.0", "jit-cdi", 4, "mode=legacy"),
        ("1.20.0", "cdi", 1, "mode=auto"),
        ("1.17.0", "csv", 1, "mode=auto"),
    ],
)
def test_names_the_mend_where_it_would_not(version: str, mode: str, gpus: int, mend: str) -> None:
    with pytest.raises(ToolkitConfigError, match=mend):
        swarm_way(version, mode, gpus)
