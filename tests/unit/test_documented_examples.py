# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation shows can be copied: examples of modules, inventories, plays and commands."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator

import pytest
import yaml
from ansible.module_utils.basic import FILE_COMMON_ARGUMENTS
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.quiet import QuietModule
from roles_support import KEYWORDS, PLAYBOOKS, ROLES_AND_LAB, ROOT, Task, flat, specs, tasks_in, tasks_of

NAMESPACES = {"sparkops.dgx_spark": ROOT, "sparkops.virtual_spark": ROOT / "lab"}
MODULES = sorted(
    (name, path)
    for name, root in NAMESPACES.items()
    for path in (root / "plugins" / "modules").glob("*.py")
    if path.stem != "__init__"
)
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "roles/*/README.md", "lab/**/*.md")
    for path in ROOT.glob(pattern)
    if "collections" not in path.parts and "CHANGELOG" not in path.name
)
SNIPPET = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
#: options whose examples are templates, by type: something that has the type
STAND_INS: dict[str, Any] = {
    "bool": True,
    "dict": {},
    "float": 1.0,
    "int": 1,
    "list": [],
    "path": "/nowhere",
    "raw": "",
    "str": "text",
}


class _StopError(Exception):
    """Raised in the place of a module's work."""


def documented_options(path: Path) -> dict[str, Any]:
    """The options in a module's DOCUMENTATION, as an argument_spec."""
    text = path.read_text().partition('DOCUMENTATION = r"""')[2].partition('"""')[0]
    kept = ("type", "elements", "choices", "required")
    return {
        name: {key: value for key, value in option.items() if key in kept}
        for name, option in yaml.safe_load(text).get("options", {}).items()
    }


def arguments_of(collection: str, path: Path) -> dict[str, Any]:
    """What a module, or the action plugin that does its work, lets through: an argument_spec and its further rules."""
    plugins = f"ansible_collections.{collection}.plugins"
    action = path.parents[1] / "action" / path.name
    plugin = importlib.import_module(f"{plugins}.action.{path.stem}").ActionModule if action.is_file() else QuietModule
    if not issubclass(plugin, QuietModule):  # that has the module do all of it
        return {"argument_spec": getattr(plugin, "SPEC", None) or documented_options(path)}
    module: ModuleType = importlib.import_module(f"{plugins}.modules.{path.stem}")
    found: dict[str, Any] = {}

    def stop(argument_spec: dict[str, Any], *_further: Any, **given: Any) -> None:
        files = FILE_COMMON_ARGUMENTS if given.get("add_file_common_args") else {}
        found.update(given, argument_spec={**files, **argument_spec})
        raise _StopError

    original = module.AnsibleModule
    module.AnsibleModule = stop
    try:
        with pytest.raises(_StopError):
            module.main()
    finally:
        module.AnsibleModule = original
    rules = (
        "argument_spec",
        "mutually_exclusive",
        "required_together",
        "required_one_of",
        "required_if",
        "required_by",
    )
    return {rule: found[rule] for rule in rules if found.get(rule) is not None}


def stood_in(value: Any, option: dict[str, Any]) -> Any:
    """A value in which templates are replaced by what has the option's type, so that the rest can be validated."""
    if isinstance(value, str) and "{{" in value:
        kind = option.get("type", "str")
        inner = option.get("options", {}) if kind == "dict" else {}
        needed = {key: stood_in("{{ }}", one) for key, one in inner.items() if one.get("required")}
        return (option.get("choices") or [needed or STAND_INS[kind]])[0]
    inner = option.get("options") or {}
    if isinstance(value, dict) and inner:
        return {key: stood_in(one, inner.get(key, {"type": "raw"})) for key, one in value.items()}
    if isinstance(value, list):
        element = {"type": option.get("elements", "raw"), "options": inner}
        return [stood_in(one, element) for one in value]
    return value


@pytest.mark.parametrize(("collection", "path"), MODULES, ids=lambda value: getattr(value, "stem", None))
def test_examples_of_a_module_are_what_it_takes(collection: str, path: Path) -> None:
    text = path.read_text()
    shown = yaml.safe_load(text.partition('EXAMPLES = r"""')[2].partition('"""')[0])
    full = f"{collection}.{path.stem}"
    own = [task for task in flat(path, shown) if task.module == full]
    assert own, "no example runs the module"
    assert [str(task) for task in flat(path, shown) if not task.name] == [], "a task without a name"
    rules = arguments_of(collection, path)
    spec = rules.pop("argument_spec")
    validator = ArgumentSpecValidator(spec, **rules)
    for task in own:
        given = {key: stood_in(value, spec.get(key, {"type": "raw"})) for key, value in (task.arguments or {}).items()}
        assert validator.validate(given).error_messages == [], task.name


def own_tasks() -> list[Any]:
    """The tasks of roles and playbooks that run a module of this repository with options that are written there."""
    modules = {f"{collection}.{path.stem}": (collection, path) for collection, path in MODULES}
    tasks = [task for role in ROLES_AND_LAB for task in tasks_of(role)]
    tasks += [task for playbook in PLAYBOOKS for task in tasks_in(playbook)]
    return [
        pytest.param(task, *modules[task.module], id=str(task))
        for task in tasks
        if task.module in modules and not isinstance(task.arguments, str)
    ]


@pytest.mark.parametrize(("task", "collection", "path"), own_tasks())
def test_a_task_gives_a_module_what_it_takes(task: Task, collection: str, path: Path) -> None:
    rules = arguments_of(collection, path)
    spec = rules.pop("argument_spec")
    arguments = task.arguments or {}
    given = {key: stood_in(value, spec.get(key, {"type": "raw"})) for key, value in arguments.items()}
    assert ArgumentSpecValidator(spec, **rules).validate(given).error_messages == []


def snippets(language: str) -> list[Any]:
    return [
        pytest.param(
            path, match["text"], id=f"{path.relative_to(ROOT)}:{path.read_text()[: match.start()].count(chr(10)) + 1}"
        )
        for path in PAGES
        for match in SNIPPET.finditer(path.read_text())
        if match["language"] == language
    ]


def known_variables() -> set[str]:
    """Options of roles, and what playbooks and defaults call spark_…, and after themselves: validate_…, prune_…"""
    names: set[str] = set()
    for role in ROLES_AND_LAB:
        names |= {name for spec in specs(role).values() for name in spec.get("options") or {}}
    readers = [
        *ROOT.glob("playbooks/*.yml"),
        *ROOT.glob("playbooks/tasks/*.yml"),
        *ROOT.glob("roles/*/defaults/main.yml"),
        *ROOT.glob("roles/*/tasks/*.yml"),
    ]
    for path in readers:
        names |= set(
            re.findall(
                r"\b(?:spark|validate|doctor|setup|status|preflight|prune|download|benchmark|api_key|access)_[a-z_]+",
                path.read_text(),
            )
        )
    return names


def unknown(names: set[str]) -> list[str]:
    """Of variables, those that nothing in this repository reads."""
    return sorted(name for name in names - known_variables() if not name.startswith(("ansible_", "_")))


def variables_in_inventory(group: dict[str, Any]) -> Iterator[str]:
    for host in (group.get("hosts") or {}).values():
        yield from host or {}
    yield from group.get("vars") or {}
    for child in (group.get("children") or {}).values():
        yield from variables_in_inventory(child or {})


def assert_an_inventory_is_right(groups: dict[str, Any]) -> None:
    for group in groups.values():
        assert set(group) <= {"hosts", "vars", "children"}, group
        assert unknown(set(variables_in_inventory(group))) == []


def exists(name: str) -> bool:
    """Whether this repository has the role, the playbook or the module of this name."""
    collection, _dot, short = name.rpartition(".")
    root = NAMESPACES[collection]
    places = (f"roles/{short}", f"playbooks/{short}.yml", f"plugins/modules/{short}.py", f"plugins/filter/{short}.py")
    return any((root / place).exists() for place in places)


def names_of_ours(text: str) -> set[str]:
    return set(re.findall(r"\bsparkops\.(?:dgx_spark|virtual_spark)\.[a-z_0-9]+", text))


def assert_plays_are_right(path: Path, plays: list[dict[str, Any]]) -> None:
    for play in plays:
        assert unknown(set(play.get("vars") or {})) == []
        roles = [role if isinstance(role, dict) else {"role": role} for role in play.get("roles") or []]
        for one in [*roles, *(task.data for task in flat(path, play.get("tasks")))]:
            assert unknown(set(one.get("vars") or {})) == []


@pytest.mark.parametrize(("path", "text"), snippets("yaml"))
def test_yaml_of_a_page_is_what_the_code_takes(path: Path, text: str) -> None:
    data = yaml.safe_load(text)
    assert [name for name in sorted(names_of_ours(text)) if not exists(name)] == []
    if isinstance(data, dict) and all(isinstance(group, dict) and "hosts" in group for group in data.values()):
        assert_an_inventory_is_right(data)
    elif isinstance(data, dict):
        assert unknown({name for name in data if not exists_as_key(name)}) == []
    elif all("hosts" in play for play in data):
        assert_plays_are_right(path, data)
    else:
        tasks = [Task(path, task) for task in data]
        assert [str(task) for task in tasks if not task.module and not set(task.data) & KEYWORDS] == []


def exists_as_key(name: str) -> bool:
    """Keys of other tools' files, such as requirements.yml, and LiteLLM's configuration."""
    return name in ("collections", "roles", "dependencies", "model_list")


#: not **, which would find those of an environment in the checkout
INVENTORIES = sorted(path for top in (ROOT, ROOT / "lab") for path in top.glob("inventory/*.yml"))


@pytest.mark.parametrize("path", INVENTORIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_inventories_name_variables_that_exist(path: Path) -> None:
    if "collections" not in path.parts:
        assert_an_inventory_is_right(yaml.safe_load(path.read_text()))


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a snippet in words; a line that ends with a backslash goes on."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


@pytest.mark.parametrize(("path", "text"), snippets("sh"))
def test_commands_of_a_page_can_be_typed(path: Path, text: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert [name for name in sorted(names_of_ours(text)) if not exists(name)] == []
    for words in commands(text):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets
        files = [
            word for word in words if re.match(r"(playbooks|inventory|lab|docs|tests|roles|findings)/\S+\.\w+$", word)
        ]
        assert [name for name in files if not (ROOT / name).is_file()] == []
        extra = [words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-e", "--extra-vars")]
        assert unknown({word.partition("=")[0] for word in extra if "=" in word}) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []
