# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What outside tools do to those who ask them in the wrong way, and that nothing here does.

Each was seen with the version that is named: the tests keep it away, since none of these tools complains.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any, Iterator

import jinja2
import pytest
import yaml
from jinja2 import nodes

ROOT = Path(__file__).parents[2]
FOLDERS = ("plugins", "roles", "playbooks", "inventory", "molecule", "lab")


def files(*kinds: str) -> list[Path]:
    """The files of both collections, without the links that lead back to them, and without tests."""
    found = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kinds and path.is_file()
        if not {"collections", "tests", "__pycache__"} & {*path.relative_to(ROOT).parts}
    ]
    assert found
    return sorted(found)


@functools.cache
def documents(path: Path) -> list[Any]:
    """All that is in a YAML file."""
    return list(yaml.load_all(path.read_text(), AnyTag))


class AnyTag(yaml.SafeLoader):
    """Reads what Ansible's own tags are put to as if they were not there."""


AnyTag.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_object(AnyTag.untagged(node)))


def _untagged(node: yaml.Node) -> yaml.Node:
    kind = {yaml.ScalarNode: "str", yaml.SequenceNode: "seq", yaml.MappingNode: "map"}[type(node)]
    return type(node)(f"tag:yaml.org,2002:{kind}", node.value)


AnyTag.untagged = staticmethod(_untagged)  # type: ignore[attr-defined]


def strings(value: Any) -> Iterator[str]:
    """All strings in a value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from strings(key)
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


def sequences(value: Any) -> Iterator[list[Any]]:
    """All lists in a value, and each string as its words."""
    if isinstance(value, str):
        yield value.split()
    elif isinstance(value, dict):
        for one in value.values():
            yield from sequences(one)
    elif isinstance(value, list):
        yield value
        for one in value:
            yield from sequences(one)


@functools.cache
def commands(path: Path) -> list[list[str]]:
    """What may be a command line in a file: lists and calls of Python, lists and strings of YAML, lines of a shell."""
    if path.suffix == ".py":
        lists = [
            getattr(node, "elts", None) or getattr(node, "args", None) for node in ast.walk(ast.parse(path.read_text()))
        ]
        constants = [[getattr(one, "value", None) for one in words] for words in lists if isinstance(words, list)]
        return [[word for word in words if isinstance(word, str)] for words in constants]
    if path.suffix == ".yml":
        return [[str(word) for word in words] for words in sequences(documents(path))]
    return [line.split() for line in path.read_text().splitlines()]


def calls(*wanted: str) -> list[str]:
    """The files with a command line that has these words one after another."""
    found = []
    for path in files(".py", ".yml", ".sh"):
        for words in commands(path):
            if any(tuple(words[place : place + len(wanted)]) == wanted for place in range(len(words))):
                found.append(str(path.relative_to(ROOT)))
    return found


def test_a_call_is_found() -> None:
    assert "roles/engine_serve/tasks/docker.yml" in calls("systemctl", "enable")
    assert "plugins/modules/docker_gpu_image.py" in calls("ps", "--all")


def test_nvidia_ctk_does_not_configure_docker() -> None:
    """nvidia-ctk 1.20.0: ``runtime configure --cdi.enabled`` drops all other features and the runtime's arguments."""
    assert [path for path in calls("runtime", "configure") if not path.startswith("lab/")] == []


def test_docker_is_not_reloaded() -> None:
    """Docker 26.1.5: a reload forgets no key that was taken out, and its status is 0 for a file that it refused."""
    for verb in ("reload", "try-reload-or-restart", "reload-or-restart"):
        for unit in ("docker", "docker.service", "{{ unit }}"):
            assert calls("systemctl", verb, unit) == calls(verb, unit) == []
    tasks = [words for path in files(".yml") for words in strings(documents(path))]
    assert "reloaded" not in tasks
    assert "SIGHUP" not in " ".join(path.read_text() for path in (ROOT / "plugins").rglob("docker*.py"))


def test_labels_of_nodes_are_written_as_a_whole() -> None:
    """Docker 26.1.5: ``node update --label-rm k --label-add k=v`` leaves no label k, with status 0."""
    assert calls("node", "update") == []
    assert calls("docker", "node", "update") == []


def test_images_are_loaded_by_dockers_own_client_or_in_one_place() -> None:
    """Docker Engine answers ``/images/load`` with 200 for a broken archive: that place reads the text of the answer."""
    found = [str(path.relative_to(ROOT)) for path in files(".py") if "/images/load" in path.read_text()]
    assert found == ["plugins/module_utils/_docker/api.py"]


def test_nothing_reads_what_loop_results_have_no_more() -> None:
    """ansible-core 2.21: results of a loop have no ``invocation``."""
    found = [path for path in files(".py", ".yml", ".j2") if re.search(r"\binvocation\b", path.read_text())]
    assert [str(path.relative_to(ROOT)) for path in found] == []


def outputs(body: list[nodes.Node]) -> bool:
    """Whether a template prints something whichever way its conditions go; for ansible-core 2.19 it is null else."""
    for node in body:
        if isinstance(node, nodes.Output) and node.nodes:
            return True
        if isinstance(node, nodes.If):
            ways = [node.body, *(branch.body for branch in node.elif_), node.else_]
            if all(outputs(way) for way in ways):
                return True
        if isinstance(node, (nodes.With, nodes.Scope, nodes.FilterBlock)) and outputs(node.body):
            return True
    return False


def is_null(template: str) -> bool:
    """Whether ansible-core from 2.19 on can make null of a template."""
    if "{%" not in template:
        return False
    return not outputs(jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=True).parse(template).body)


@pytest.mark.parametrize(
    ("template", "null"),
    [
        ("{% if x %}--fast{% endif %}", True),
        ("{% if x %}a{% elif y %}b{% endif %}", True),
        ("{% if x %}a{% elif y %}{% else %}c{% endif %}", True),
        ("{% if x %}a{% elif y %}b{% else %}c{% endif %}", False),
        ("{% for x in y %}a{% endfor %}", True),
        ("{% set x = 1 %}", True),
        ("{% set x = 1 %}{{ x }}", False),
        ("a{% if x %}b{% endif %}", False),
        ("{{ x }}", False),
        ("", False),
    ],
)
def test_a_template_without_output_is_told(template: str, null: bool) -> None:
    assert is_null(template) is null


@pytest.mark.parametrize("path", files(".yml"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_variable_is_a_block_without_output(path: Path) -> None:
    """ansible-core 2.19.14, 2.20.10 and 2.21.5: ``"{% if x %}y{% endif %}"`` is null, and ``~`` writes "None"."""
    found = [text for text in strings(documents(path)) if is_null(text)]
    assert found == []


def test_no_template_file_is_without_output() -> None:
    found = [str(path.relative_to(ROOT)) for path in files(".j2") if is_null(path.read_text())]
    assert found == ["lab/roles/virtual_spark/templates/known_hosts.j2"]  # a line a Spark, and no lab is without one


@pytest.mark.parametrize("file", ["galaxy.yml", "lab/galaxy.yml", "requirements.yml"])
def test_community_docker_knows_docker_29(file: str) -> None:
    """community.docker: 4.8.3 and 5.0.2 mend docker_stack and others for Docker 29.0, 5.0.6 pulls for 29.2."""
    data = yaml.safe_load((ROOT / file).read_text())
    listed = {one["name"]: one["version"] for one in data.get("collections", [])}
    wanted = {**data.get("dependencies", {}), **listed}["community.docker"]
    assert wanted == ">=4.8.3,!=5.0.0,!=5.0.1"
