# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask what to set up; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import answers, controller, search
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.terminal import Terminal
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

BY_HAND = (
    "Give the answers as variables, such as -e setup_hosts=192.168.1.21,192.168.1.22 -e setup_user=nvidia "
    "-e setup_model=openai/gpt-oss-20b; or write it by hand: copy inventory/two_spark.yml or "
    "inventory/single_spark.yml, and put your Sparks into the copy. Nothing was changed."
)


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "candidates": {"type": "list", "elements": "dict", "required": True},
        "others": {"type": "int", "default": 0},
        "notes": {"type": "list", "elements": "str", "default": []},
        "models": {"type": "dict", "default": {}},
        "hosts": {"type": "raw", "default": ""},
        "names": {"type": "raw", "default": ""},
        "user": {"type": "str", "default": ""},
        "model": {"type": "str", "default": ""},
        "path": {"type": "str", "default": ""},
        "ssh_config": {"type": "str", "default": ""},
    }
    ERRORS = (catalogue.CatalogueError,)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the Sparks in rank order, the account, the model, and what is to be written."""
        terminal = Terminal()
        found = [search.from_json(one) for one in asked["candidates"]]
        chosen = _hosts(terminal, asked, found)
        called = answers.default_names(chosen)
        if asked["names"] or not asked["hosts"]:
            called = terminal.settle(
                _text(asked["names"]),
                "Their names in the inventory, the leader first",
                lambda text: answers.names(text, len(chosen)),
                BY_HAND,
                " ".join(called),
            )
        known = next((one.user for one in chosen if one.user), "")
        user = terminal.settle(
            asked["user"], "Your account on the Sparks, which has sudo", answers.user, BY_HAND, known or "nvidia"
        )
        model = _model(terminal, asked, len(chosen))
        path = _path(terminal, asked)
        members = answers.sparks(chosen, called)
        away = next((one.name for one in members if not one.here), "")
        ssh_config = bool(away) and terminal.settle(
            asked["ssh_config"],
            f"Add entries to your configuration of ssh, so that 'ssh {away}' works? yes or no",
            lambda text: answers.yes(text, False),
            BY_HAND,
            "no",
        )
        if terminal.asked:  # what was typed is no longer on the screen
            terminal.show(["", *answers.summary(members, user, model, path), ""])
        return {
            "hosts": [one.to_json() for one in members],
            "user": user,
            "model": model,
            "path": path,
            "ssh_config": ssh_config,
        }


def _text(said: Any) -> str:
    """A list given as a variable, or as text with -e."""
    return " ".join(map(str, said)) if isinstance(said, (list, tuple)) else str(said)


def _hosts(terminal: Terminal, asked: dict[str, Any], found: list[search.Candidate]) -> list[search.Candidate]:
    given = _text(asked["hosts"])
    if not given:
        lines = ["Found on the local network:", *search.table(found)] if found else ["No Spark was found."]
        if asked["others"]:
            lines.append(f"Other neighbours that nothing says to be Sparks: {asked['others']}.")
        terminal.show(["", *lines, *(f"{note}." for note in asked["notes"]), ""])
    likely = [str(number) for number, one in enumerate(found, 1) if one.likely]
    return terminal.settle(
        given,
        "Which are the Sparks to serve on, the leader (rank 0, where the API listens) first? Numbers or addresses",
        lambda text: answers.hosts(text, found),
        BY_HAND,
        " ".join(likely),
    )


def _model(terminal: Terminal, asked: dict[str, Any], count: int) -> str:
    known = answers.models(catalogue.load(asked["models"]))
    if not asked["model"]:
        terminal.show(["", *answers.model_table(known), ""])
    best = "nvidia/Qwen3-235B-A22B-FP4" if count > 1 else "openai/gpt-oss-20b"
    return terminal.settle(
        asked["model"],
        "Which model? A number, or any handle of the Hugging Face hub",
        lambda text: answers.model(text, known, count),
        BY_HAND,
        best,
    )


def _path(terminal: Terminal, asked: dict[str, Any]) -> str:
    def checked(text: str) -> str:
        path = controller.folder_of(text)
        if path.suffix not in (".yml", ".yaml") or path.is_dir():
            raise answers.AnswerError(f"{text!r} is no name for an inventory: give a file such as my.yml")
        return text

    try:
        return terminal.settle(asked["path"], "Write the inventory to", checked, BY_HAND, "my.yml")
    except (OSError, RuntimeError) as error:  # a name that no file can have, or a home directory that is not there
        raise PlanError(f"{asked['path']!r} is no name for an inventory ({error}). Nothing was changed.") from error
