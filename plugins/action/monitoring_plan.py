# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the monitoring of all members, on the controller; the module of this name documents it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ufw import UfwError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring import config, options
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring import plan as planning
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring.plan import CHANGES, MonitoringError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import Planner

__all__ = ["CHANGES", "ActionModule"]

SECRETS = ("webhook_url", "slack_url", "email_password")
OPTIONS = (
    *("grafana", "grafana_image", "grafana_port", "grafana_password", "dcgm", "dcgm_image", "dcgm_port"),
    "journal_max_gb",
)


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "enabled": {"type": "bool", "default": False},
        "register": {"type": "str", "required": True},
        "files": {"type": "path", "required": True},
        "prometheus_port": {"type": "int", "default": 9090},
        "alertmanager_port": {"type": "int", "default": 9093},
        "node_exporter_port": {"type": "int", "default": 9100},
        "sources": {"type": "list", "elements": "str", "default": []},
        "retention_gb": {"type": "int", "default": 10},
        "scrape_seconds": {"type": "int", "default": 5},
        "meminfo": {"type": "path", "default": "/proc/meminfo"},
        "webhook_url": {"type": "str", "default": "", "no_log": True},
        "slack_url": {"type": "str", "default": "", "no_log": True},
        "slack_channel": {"type": "str", "default": ""},
        "email": {"type": "dict", "default": {}},
        "email_password": {"type": "str", "default": "", "no_log": True},
        "progress_dirs": {"type": "list", "elements": "str", "default": []},
        "grafana": {"type": "bool", "default": False},
        "grafana_image": {"type": "str", "default": ""},
        "grafana_port": {"type": "int", "default": 3000},
        "grafana_password": {"type": "str", "default": "", "no_log": True},
        "dcgm": {"type": "bool", "default": False},
        "dcgm_image": {"type": "str", "default": ""},
        "dcgm_port": {"type": "int", "default": 9400},
        "journal_max_gb": {"type": "int", "default": 0},
        "firewall": {"type": "str", "choices": ["auto", "ufw", "none"], "default": "auto"},
    }
    ERRORS = (MonitoringError, UfwError)

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of all members, to every member."""
        members, hosts = asked["members"], task_vars["hostvars"]
        found = {name: hosts[name][asked["register"]] for name in members}
        common = {"enabled": asked["enabled"], "leader": members[0]}
        if not asked["enabled"]:
            left = {name: [change(planning.REMOVE)] if found[name]["there"] else [] for name in members}
            return {**common, "changes": left}
        program = Path(asked["files"], "program")
        planned = planning.plan(
            planning.Request(
                members=members,
                found=found,
                reach={name: str(hosts[name].get("ansible_host", name)) for name in members},
                program=_texts(program, "**/*.py"),
                rules=_texts(Path(asked["files"], "rules"), "*.yml"),
                ports=config.Ports(
                    *(asked[f"{name}_port"] for name in ("prometheus", "alertmanager", "node_exporter"))
                ),
                sources=asked["sources"],
                retention_gb=asked["retention_gb"],
                scrape_seconds=asked["scrape_seconds"],
                receivers=config.Receivers(
                    webhook=bool(asked["webhook_url"]),
                    slack=bool(asked["slack_url"]),
                    slack_channel=asked["slack_channel"],
                    email=asked["email"],
                    email_password=bool(asked["email_password"]),
                ),
                secrets={name: asked[name] for name in SECRETS},
                firewall=asked["firewall"],
                meminfo=asked["meminfo"],
                progress=asked["progress_dirs"],
                optional=options.Options(
                    dashboards=_texts(Path(asked["files"], "dashboards"), "*.json") if asked["grafana"] else {},
                    **{name: asked[name] for name in OPTIONS},
                ),
            )
        )
        return {**common, **planned}


def _texts(folder: Path, pattern: str) -> dict[str, str]:
    """The texts of files by their paths below a directory."""
    paths = sorted(folder.glob(pattern))
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}
