# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that tokens flow for a long time; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import ask
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate import soak
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.trial import (
    SERVER,
    TrialAction,
    TrialFailedError,
)


class ActionModule(TrialAction):
    """Runs on the controller."""

    WHAT = "soak"
    SPEC: ClassVar[dict[str, Any]] = {
        **SERVER,
        "minutes": {"type": "float", "required": True},
        "concurrency": {"type": "int", "default": 4},
        "max_tokens": {"type": "int", "default": 256},
    }

    def validate(self, asked: dict[str, Any], host: str) -> dict[str, Any]:
        """Return what came of it."""
        minutes, gap, tokens = asked["minutes"], asked["gap_seconds"], asked["max_tokens"]
        wrong = [name for name in ("minutes", "concurrency", "max_tokens", "gap_seconds") if asked[name] <= 0]
        if wrong:
            raise TrialFailedError(f"{' and '.join(wrong)} of a soak must be more than 0. Nothing was changed.")
        order: ask.Order = {
            "address": asked["address"],
            "path": asked["path"],
            "concurrency": asked["concurrency"],
            "seconds": minutes * 60,
            "gap_s": gap,
            "requests": soak.requests(asked["model"], asked["path"], tokens),
        }
        bounded = {**asked, "seconds": soak.seconds_at_most(minutes, gap, tokens)}
        outcome = self.asked_all(bounded, order, "the load ended without a result")
        del outcome["answers"]
        self.found.update(outcome=outcome, minutes=minutes, concurrency=asked["concurrency"])
        if problem := soak.problem(outcome, minutes, gap):
            raise TrialFailedError(
                f"{host}: {asked['model']} at {asked['address']} did not hold {asked['concurrency']} requests at a "
                f"time for {minutes:g} min: {problem}. Until then: {soak.words(outcome)}. The engine's log says more, "
                "see docs/faults.md."
            )
        return {}
