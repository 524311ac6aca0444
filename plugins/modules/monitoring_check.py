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

import json
import os
import time
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import answers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.answers import NotWatchedError

TIMEOUT_S = 10
PAUSE_S = 1.0
#: an address of this host is asked, and no proxy of the environment
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def text(url: str) -> str:
    """What is answered. :raises NotWatchedError: where nothing is."""
    try:
        with OPENER.open(url, timeout=TIMEOUT_S) as reply:
            return str(reply.read().decode(errors="replace"))
    except (OSError, ValueError) as error:
        raise NotWatchedError(f"{url} does not answer ({error})") from None


def data(url: str) -> Any:
    """The data of an answer of Prometheus. :raises NotWatchedError:"""
    try:
        return json.loads(text(url))["data"]
    except (ValueError, KeyError, TypeError):
        raise NotWatchedError(f"{url} answers something else than Prometheus does") from None


def look(node_exporter: str, prometheus: str) -> tuple[list[str], list[str]]:
    """What was seen, and the alerts that fire. :raises NotWatchedError:"""
    checks, firing = [answers.figures(text(f"{node_exporter}/metrics"), time.time())], []
    if prometheus:
        checks.append(answers.targets(data(f"{prometheus}/api/v1/targets?state=active")))
        rules = data(f"{prometheus}/api/v1/rules")
        checks.append(answers.rules(rules))
        checks.append(answers.alertmanagers(data(f"{prometheus}/api/v1/alertmanagers")))
        firing = answers.firing(rules)
    return checks, firing


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node_exporter": {"type": "str", "required": True},
            "prometheus": {"type": "str", "default": ""},
            "seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    asked, until = module.params, time.monotonic() + module.params["seconds"]
    while True:
        try:
            checks, firing = look(asked["node_exporter"], asked["prometheus"])
            break
        except NotWatchedError as error:
            if time.monotonic() > until:
                module.fail_json(
                    msg=f"{os.uname().nodename}: {error}, after {asked['seconds']} s. sudo journalctl --unit "
                    "'dgx-spark-*' says more."
                )
        time.sleep(PAUSE_S)
    module.exit_json(changed=False, checks=checks, firing=firing)


if __name__ == "__main__":
    main()
