# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what a served model answers to fixed questions; the module of this name documents it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import ask
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate import exam
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.trial import (
    SERVER,
    TrialAction,
    TrialFailedError,
)


class ActionModule(TrialAction):
    """Runs on the controller."""

    WHAT = "accuracy"
    SPEC: ClassVar[dict[str, Any]] = {
        **SERVER,
        "threshold": {"type": "float", "default": 80},
        "max_tokens": {"type": "int", "default": 2048},
        "seconds": {"type": "int", "default": 3600},
        "system_prompt": {"type": "str", "default": ""},
        "template_arguments": {"type": "dict", "default": {}},
        "repo": {"type": "str", "default": ""},
        "commit": {"type": "str", "default": ""},
        "speculative": {"type": "dict", "default": {}},
        "compare": {"type": "path"},
        "require_equal": {"type": "bool", "default": False},
    }

    def validate(self, asked: dict[str, Any], host: str) -> dict[str, Any]:
        """Return the answers, their score, and where they differ from earlier ones."""
        earlier = read(asked["compare"], host) if asked["compare"] else None
        served = {"repo": asked["repo"], "commit": asked["commit"]}
        if earlier is not None:
            compared([], served, earlier, asked["compare"], host)  # refused before it takes long
        more = {"system": asked["system_prompt"], "template": asked["template_arguments"]}
        order: ask.Order = {
            "address": asked["address"],
            "path": asked["path"],
            "concurrency": 1,  # alone, since an answer may depend on what else is in its batch
            "seconds": 0,
            "gap_s": asked["gap_seconds"],
            "requests": exam.requests(asked["model"], asked["path"], asked["max_tokens"], more),
        }
        answers = exam.graded(self.asked_all(asked, order, "the questions could not be asked")["answers"])
        score = exam.score(answers)
        self.found.update(answers=answers, score=score, threshold=asked["threshold"])
        if earlier is not None:
            differences = compared(answers, served, earlier, asked["compare"], host)
            unlike = exam.unlike(asked["speculative"], earlier)
            self.found.update(compared=asked["compare"], differences=differences, unlike=unlike)
            if unlike:
                self._display.display(f"{host}: {asked['compare']}: {unlike}")
            for one in differences:
                self._display.display(f"{host}: {one['id']}: {one['what']}")
        self._refuse(asked, host)
        return {}

    def _refuse(self, asked: dict[str, Any], host: str) -> None:
        """:raises TrialFailedError: with each wrong answer, or with each that is not equal."""
        found = self.found
        if found["score"] < asked["threshold"]:
            lines = exam.wrong(found["answers"])
            raise TrialFailedError(
                f"{asked['model']} at {asked['address']} on {host} answers {len(found['answers']) - len(lines)} of "
                f"{len(found['answers'])} questions rightly ({found['score']} %, and {asked['threshold']:g} are "
                f"wanted, validate_threshold). {' '.join(lines)} Compare with one Spark, or with another image: a "
                "serving over several ranks can lose accuracy without an error."
            )
        if asked["require_equal"] and found.get("differences"):
            said = "; ".join(f"{one['id']}: {one['what']}" for one in found["differences"])
            unlike = f" ({found['unlike']})" if found["unlike"] else ""
            raise TrialFailedError(
                f"{asked['model']} at {asked['address']} on {host} answers otherwise than in "
                f"{asked['compare']}{unlike}: {said}."
            )


def read(path: str, host: str) -> Any:
    """An earlier report, on the controller. :raises TrialFailedError: where there is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TrialFailedError(
            f"{host} is not compared: {path} cannot be read on the controller ({error.strerror}): name the JSON that "
            "an earlier validation wrote (validate_compare). Nothing was asked."
        ) from error
    except ValueError as error:
        raise TrialFailedError(f"{host} is not compared: {path} is not JSON: {error}. Nothing was asked.") from error


def compared(
    answers: list[dict[str, Any]], served: dict[str, Any], earlier: Any, path: str, host: str
) -> list[dict[str, Any]]:
    """Where answers differ. :raises TrialFailedError: where an earlier report is none, or of another model."""
    try:
        return exam.differences(answers, served, earlier)
    except exam.CompareError as error:
        raise TrialFailedError(f"{host} is not compared with {path}: {error}. Leave validate_compare out.") from error
