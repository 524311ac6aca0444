#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_check
short_description: Check that a Spark is watched
version_added: 0.1.0
description:
  - >-
    Reads what the node exporter of this host tells, and fails where the figures of the collection's own program are not
    among it, or are old.
  - >-
    On the leader it also asks Prometheus whether all Sparks answer, whether each rule is evaluated, and whether
    Alertmanager takes alerts. What does not hold yet is waited for. No engine is asked.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  node_exporter:
    description: Where the node exporter of this host listens, as C(http://address:port).
    type: str
    required: true
  prometheus:
    description: Where Prometheus listens, on the leader. Empty on another member.
    type: str
    default: ""
  grafana:
    description: >-
      Where Grafana listens, on the leader. Empty where there is none. Its admin is to see all dashboards of the role,
      and Prometheus behind them; the password is read from its file, which needs root.
    type: str
    default: ""
  seconds:
    description: For how many seconds it is waited for.
    type: int
    default: 60
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check that the Spark is watched
  sparkops.dgx_spark.monitoring_check:
    node_exporter: http://127.0.0.1:9100
    prometheus: http://127.0.0.1:9090
    grafana: http://127.0.0.1:3000
  become: true
"""

RETURN = r"""
checks:
  description: What was seen, a line each.
  returned: success
  type: list
  elements: str
  sample: ["the node exporter tells 812 metrics, those of the engine, the GPU and the fabric among them"]
firing:
  description: The alerts that fire now, by name and Spark.
  returned: success
  type: list
  elements: str
  sample: [GpuHot on spark2]
"""

import base64
import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import answers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.answers import NotWatchedError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.layout import (
    DATASOURCE,
    GRAFANA,
    GRAFANA_PASSWORD,
)

TIMEOUT_S = 10
PAUSE_S = 1.0
#: an address of this host is asked, and no proxy of the environment
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RefusedError(NotWatchedError):
    """Grafana has its admin by another password than the file."""


def text(url: str, headers: Mapping[str, str] | None = None) -> str:
    """What is answered. :raises NotWatchedError: where nothing is."""
    try:
        with OPENER.open(urllib.request.Request(url, headers=dict(headers or {})), timeout=TIMEOUT_S) as reply:
            return str(reply.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        kind = RefusedError if error.code == 401 else NotWatchedError
        raise kind(f"{url} answers with status {error.code}") from None
    except (OSError, ValueError) as error:
        raise NotWatchedError(f"{url} does not answer ({error})") from None


def data(url: str) -> Any:
    """The data of an answer of Prometheus. :raises NotWatchedError:"""
    said = text(url)  # whose own error is a ValueError too
    try:
        return json.loads(said)["data"]
    except (ValueError, KeyError, TypeError):
        raise NotWatchedError(f"{url} answers something else than Prometheus does") from None


def of_grafana(url: str, headers: Mapping[str, str] | None = None) -> Any:
    """An answer of Grafana. :raises NotWatchedError:"""
    said = text(url, headers)
    try:
        return json.loads(said)
    except ValueError:
        raise NotWatchedError(f"{url} answers something else than Grafana does") from None


def look_at_grafana(url: str) -> str:
    """What Grafana shows its admin, in words. :raises NotWatchedError: where that is not all.

    Who has changed the password in Grafana itself is not to be kept from it: nothing more can be seen then.
    """
    said = [answers.grafana(of_grafana(f"{url}/api/health"))]
    login = base64.b64encode(f"admin:{Path(GRAFANA_PASSWORD).read_text(encoding='utf-8').strip()}".encode()).decode()
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(GRAFANA.etc, "dashboards").glob("*.json"))]
    own = {"Authorization": f"Basic {login}"}
    try:
        listed = of_grafana(f"{url}/api/search?type={answers.DASHBOARD}&limit=1000", own)
        said.append(answers.dashboards(listed, [json.loads(one)["uid"] for one in texts]))
        said.append(answers.datasource(of_grafana(f"{url}/api/datasources/uid/{DATASOURCE}/health", own)))
    except RefusedError:
        said.append("the password of its admin was changed in Grafana, so that its dashboards were not looked at")
    return "; ".join(said)


def look(node_exporter: str, prometheus: str, grafana: str = "") -> tuple[list[str], list[str]]:
    """What was seen, and the alerts that fire. :raises NotWatchedError:"""
    checks, firing = [answers.figures(text(f"{node_exporter}/metrics"), time.time())], []
    if prometheus:
        checks.append(answers.targets(data(f"{prometheus}/api/v1/targets?state=active")))
        rules = data(f"{prometheus}/api/v1/rules")
        checks.append(answers.rules(rules))
        checks.append(answers.alertmanagers(data(f"{prometheus}/api/v1/alertmanagers")))
        firing = answers.firing(rules)
    if grafana:
        checks.append(look_at_grafana(grafana))
    return checks, firing


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node_exporter": {"type": "str", "required": True},
            "prometheus": {"type": "str", "default": ""},
            "grafana": {"type": "str", "default": ""},
            "seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    asked, until = module.params, time.monotonic() + module.params["seconds"]
    while True:
        try:
            checks, firing = look(asked["node_exporter"], asked["prometheus"], asked["grafana"])
            break
        except NotWatchedError as error:
            if time.monotonic() > until:
                module.fail_json(
                    msg=f"{os.uname().nodename}: {error}, after {asked['seconds']} s. sudo journalctl --unit "
                    "'dgx-spark-*' says more."
                )
        except OSError as error:
            module.fail_json(msg=f"{os.uname().nodename}: what Grafana is told cannot be read: {told(error)}")
        time.sleep(PAUSE_S)
    module.exit_json(changed=False, checks=checks, firing=firing)


if __name__ == "__main__":
    main()
