#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_clients_info
short_description: Read which clients an API gateway has, and when each asked last
version_added: 0.1.0
description:
  - Reads the clients, and the gateway's log in the journal. Needs root.
  - The log has no prompts, no answers and no keys, so that nothing of these is returned.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.gateway
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read which clients there are
  sparkops.dgx_spark.gateway_clients_info:
  become: true
  register: gateway
"""

RETURN = r"""
clients:
  description: >-
    By name C(fingerprint) of the key, C(origin), C(created) in seconds since the epoch, the limits, and C(used), what
    the log has of it, null where it has nothing.
  returned: success
  type: dict
lines:
  description: A line for each, for people.
  returned: success
  type: list
  elements: str
  sample: ["alice, key 0123456789ab (playbook): the log has nothing of it"]
without_key:
  description: What the log has of requests without a key that is known, null where it has nothing.
  returned: success
  type: dict
authority:
  description: The certificate of the gateway's authority, in PEM. Empty where it has none.
  returned: success
  type: str
"""

import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import instance_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import clients, host, log
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


def line(client: clients.Client, used: dict[str, Any] | None) -> str:
    """One client and its use, for people."""
    if used is None:
        return f"{clients.line(client)}: the log has nothing of it"
    last = datetime.fromtimestamp(used["last_at"], timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    tokens = f" and {used['tokens']} tokens" if used["tokens"] is not None else ""
    counted = f"{used['requests']} requests{tokens} within the hour"
    return f"{clients.line(client)}: {counted}, last at {last}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"instance": {"type": "str", "default": ""}}, supports_check_mode=True)
    places, name = Layout(module.params["instance"]), os.uname().nodename
    module.run_command_environ_update = {"LANG": "C", "LC_ALL": "C"}
    problem = instance_problem(module.params["instance"])
    try:
        known, damaged = host.clients_here(places)
    except OSError as error:
        known, damaged = {}, told(error)
    if not (problem or damaged or Path(places.directory).is_dir()):
        problem = f"there is no gateway ({places.directory} is not there): run serve.yml with spark_api_exposure: key"
    if problem or damaged:
        module.fail_json(msg=f"{name}: {problem or damaged}. Nothing was changed.")
    command = [module.get_bin_path("journalctl", required=True), *host.journal_arguments(places)]
    used = log.by_client(log.parse(module.run_command(command)[1].splitlines()), time.time())
    module.exit_json(
        changed=False,
        clients={
            one.name: {
                "fingerprint": one.fingerprint,
                "origin": one.origin,
                "created": one.created,
                "requests_per_minute": one.requests_per_minute,
                "streams": one.streams,
                "models": list(one.models),
                "used": used.get(one.name),
            }
            for one in known.values()
        },
        lines=[line(one, used.get(one.name)) for one in known.values()],
        without_key=used.get("-"),
        authority=host.text_of(places.authority),
    )


if __name__ == "__main__":
    main()
