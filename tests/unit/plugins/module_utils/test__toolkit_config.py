# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvidia-ctk prints is read right, and other variables stay in swarm-resource."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._toolkit_config import (
    ToolkitConfigError,
    string,
    with_resource,
)

CAPTURED = Path(__file__).parents[2] / "fixtures" / "nvidia_ctk" / "config"
KEY = "swarm-resource"


def test_reads_what_the_tool_printed() -> None:
    assert string((CAPTURED / "default.toml").read_text(), KEY) is None
    assert string((CAPTURED / "after_set.toml").read_text(), KEY) == "DOCKER_RESOURCE_GPU"


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
    with pytest.raises(ToolkitConfigError, match="mend it by hand"):
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
