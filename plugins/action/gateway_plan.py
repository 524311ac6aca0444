# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the gateway of the leader, on the controller; the module of this name documents it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import instance_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import certificate, clients, config
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import plan as planning
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.plan import CHANGES, GatewayError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ufw import UfwError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

__all__ = ["CHANGES", "ActionModule"]

CLIENT: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "key": {"type": "str", "default": "", "no_log": True},
    "sha256": {"type": "str", "default": "", "no_log": False},
    "requests_per_minute": {"type": "int", "default": 0},
    "streams": {"type": "int", "default": 0},
    "models": {"type": "list", "elements": "str", "default": []},
}
NUMBERS = (
    *("context", "port", "requests_per_minute", "streams", "body_mb"),
    *("header_seconds", "body_seconds", "idle_seconds", "generation_seconds"),
)
TEXTS = ("engine", "state_file", "model", "alias", "address")


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "exposure": {"type": "str", "default": config.LOOPBACK},
        "instance": {"type": "str", "default": ""},
        "reach": {"type": "str", "default": ""},
        "found": {"type": "dict", "default": {}},
        "program": {"type": "path", "default": ""},
        "certificate": {"type": "str", "choices": list(config.CERTIFICATES), "default": config.CA},
        "owners_certificate": {"type": "str", "default": ""},
        "owners_key": {"type": "str", "default": "", "no_log": True},
        "names": {"type": "list", "elements": "str", "default": []},
        "clients": {"type": "list", "elements": "dict", "default": [], "options": CLIENT},
        "routes": {"type": "list", "elements": "str", "default": list(config.ROUTES)},
        "firewall": {"type": "str", "choices": ["auto", "ufw", "none"], "default": "auto"},
        "sources": {"type": "list", "elements": "str", "default": ["any"]},
        **{name: {"type": "str", "default": ""} for name in TEXTS},
        **{name: {"type": "int", "default": 0} for name in NUMBERS},
    }
    ERRORS = (GatewayError, UfwError, certificate.CertificateError)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of the leader, to every member."""
        members, exposure, found = asked["members"], asked["exposure"], asked["found"]
        nothing: dict[str, Any] = {name: [] for name in members}
        common = {"exposure": exposure, "leader": members[0], "instance": asked["instance"]}
        problem = instance_problem(asked["instance"])
        if problem:
            raise PlanError(f"{problem}. Nothing was changed.")
        if exposure == config.LOOPBACK:
            left = [planning.REMOVE] if asked["instance"] in found.get("instances", []) else []
            own = [change(name) for name in left]
            return {**common, "changes": {**nothing, members[0]: own}, "url": f"http://{asked['engine']}/v1"}
        settings = self._settings(asked)
        planning.refuse(exposure, settings, members[0])
        planned = planning.plan(
            planning.Request(
                host=members[0],
                settings=settings,
                program=Path(asked["program"]).read_text(encoding="utf-8"),
                found=found,
                declared=self._clients(asked),
                now=time.time(),
                names=asked["names"],
                owners=self._owners(asked),
                firewall=asked["firewall"],
                sources=asked["sources"],
                reach=asked["reach"],
            )
        )
        own, warnings = planned.pop("own_changes"), planned.pop("warnings")
        return {
            **common,
            **planned,
            "changes": {**nothing, members[0]: own},
            **({"warnings": warnings} if warnings and task_vars["inventory_hostname"] == members[0] else {}),
        }

    @staticmethod
    def _settings(asked: dict[str, Any]) -> config.Settings:
        given = {name: asked[name] for name in (*TEXTS, *NUMBERS, "certificate", "exposure")}
        return config.Settings(layout=Layout(asked["instance"]), routes=tuple(asked["routes"]), **given)

    @staticmethod
    def _clients(asked: dict[str, Any]) -> list[clients.Client]:
        try:
            return clients.asked_for(asked["clients"])
        except clients.ClientError as error:
            raise PlanError(f"{error} (api_gateway_clients). Nothing was changed.") from None

    @staticmethod
    def _owners(asked: dict[str, Any]) -> str:
        """The owner's certificate and key as one file, empty where it is another's. :raises PlanError:"""
        if asked["certificate"] != config.OWN:
            return ""
        problem = certificate.owners_problem(asked["owners_certificate"], asked["owners_key"])
        if problem:
            raise PlanError(f"{problem}. Nothing was changed.")
        return certificate.joined(asked["owners_certificate"], asked["owners_key"])
