#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_clients
short_description: Add, change and revoke the clients of an API gateway, while it runs
version_added: 0.1.0
description:
  - >-
    Writes which clients a gateway has, with the SHA-256 of their keys and what each of them may, and has the HAProxy
    that runs take that up through its admin socket, all at the same moment. Nothing is started or read again, so that
    no stream is cut; what a client asks after that is answered by the new state.
  - The files are root's alone. No key comes to the host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(declared) has the gateway know O(clients), and of the others those that did not come from the inventory.
      - V(present) adds O(clients), or changes those that are there, and leaves the others.
      - V(absent) revokes those of O(clients) that are there.
    type: str
    choices: [declared, present, absent]
    default: declared
  clients:
    description: The clients.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the client, which the log has.
        type: str
        required: true
      sha256:
        description: The SHA-256 of its key, in hexadecimal digits. Not needed to revoke a client.
        type: str
        default: ""
      requests_per_minute:
        description: How many requests it may make in a minute. V(0) for what all clients may.
        type: int
        default: 0
      streams:
        description: How many requests it may have at a time. V(0) for what all clients may.
        type: int
        default: 0
      models:
        description: The models that it may use, by repository or alias. Empty for whatever is served.
        type: list
        elements: str
        default: []
      origin:
        description: Who added it.
        type: str
        choices: [inventory, playbook, first run]
        default: inventory
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Revoke the key of a client
  sparkops.dgx_spark.gateway_clients:
    state: absent
    clients: [{name: alice}]
  become: true
"""

RETURN = r"""
clients:
  description: The names of the clients that the gateway has now, or would have.
  returned: success
  type: list
  elements: str
  sample: [alice, open-webui]
lines:
  description: A line for each, for people.
  returned: success
  type: list
  elements: str
  sample: ["alice, key 0123456789ab (playbook)"]
running:
  description: Whether a gateway runs, and has taken it up.
  returned: success
  type: bool
  sample: true
"""

import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import instance_problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import admin, clients, host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.clients import Client, ClientError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError, write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

PRIVATE = 0o600


def given(asked: dict[str, Any]) -> list[Client]:
    """The clients that were given. :raises ClientError: where one cannot be."""
    found = []
    for one in asked["clients"]:
        problem = clients.name_problem(one["name"])
        if problem:
            raise ClientError(problem)
        digest = "" if asked["state"] == "absent" else clients.key_digest(one["name"], "", one["sha256"])
        found.append(clients.limited(Client(one["name"], digest, origin=one["origin"]), one))
    return found


def wanted(state: str, there: dict[str, Client], asked: list[Client], now: float) -> dict[str, Client]:
    """The clients that there are to be."""
    if state == "declared":
        return clients.merged(there, asked, now)
    if state == "absent":
        gone = {one.name for one in asked}
        return {name: one for name, one in there.items() if name not in gone}
    kept = clients.merged({}, there.values(), now)
    return {**{name: there[name] for name in kept}, **clients.merged(there, asked, now)}


def write(places: Layout, after: dict[str, Client]) -> bool:
    """Write the files where they differ. Returns whether one did."""
    texts = {places.map(name): clients.map_text(entries) for name, entries in clients.maps_of(after).items()}
    changed = False
    for path, text in {**texts, places.clients: clients.to_text(after)}.items():
        there = Path(path)
        if there.is_file() and there.stat().st_mode & 0o777 == PRIVATE and host.text_of(path) == text:
            continue
        write_atomically(there, text.encode(), PRIVATE)
        changed = True
    return changed


def take_up(places: Layout, after: dict[str, Client]) -> tuple[bool, bool]:
    """Have the HAProxy that runs know the clients. Returns whether one runs, and whether that changed it."""
    if not Path(places.admin_socket).exists():
        return False, False
    ask = admin.asker(places.admin_socket)
    maps = clients.maps_of(after)
    # Limits come before a new key, and a revoked key goes first of all.
    gone = admin.entries(ask, places.map(clients.KEYS))
    revoked = {key: name for key, name in gone.items() if key in maps[clients.KEYS]}
    changed = admin.replace(ask, places.map(clients.KEYS), revoked)
    for name in (*(one for one in clients.MAPS if one != clients.KEYS), clients.KEYS):
        changed |= admin.replace(ask, places.map(name), maps[name])
    return True, changed


def main() -> None:
    """Run the module."""
    client = {
        "name": {"type": "str", "required": True},
        "sha256": {"type": "str", "default": "", "no_log": False},
        "requests_per_minute": {"type": "int", "default": 0},
        "streams": {"type": "int", "default": 0},
        "models": {"type": "list", "elements": "str", "default": []},
        "origin": {"type": "str", "choices": ["inventory", "playbook", "first run"], "default": "inventory"},
    }
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["declared", "present", "absent"], "default": "declared"},
            "clients": {"type": "list", "elements": "dict", "required": True, "options": client},
        },
        supports_check_mode=True,
    )
    asked = module.params
    places = Layout(asked["instance"])
    name, problem = os.uname().nodename, instance_problem(asked["instance"])
    try:
        if problem:
            raise ClientError(problem)
        if not Path(places.directory).is_dir():
            raise ClientError(
                f"there is no gateway ({places.directory} is not there): run serve.yml with spark_api_exposure: key"
            )
        there, damaged = host.clients_here(places)
        if damaged:
            raise ClientError(damaged)
        after = wanted(asked["state"], there, given(asked), time.time())
    except (ClientError, OSError) as error:
        module.fail_json(msg=f"{name}: {told(error)}. Nothing was changed.")
    lines = {when: text_of(map(clients.line, some.values())) for when, some in (("before", there), ("after", after))}
    changed, runs = bool(clients.differences(there, after)), Path(places.admin_socket).exists()
    try:
        if not module.check_mode:
            changed |= write(places, after)
            runs, taken = take_up(places, after)
            changed |= taken
    except (FileError, OSError, admin.AdminError) as error:
        module.fail_json(
            msg=f"{name}: {told(error)}. The files say what was asked for; to have the gateway read them: "
            f"sudo systemctl reload {places.unit}"
        )
    module.exit_json(
        changed=changed,
        clients=sorted(after),
        lines=[clients.line(one) for one in after.values()],
        running=runs,
        diff=diff(lines["before"], lines["after"], places.clients),
    )


if __name__ == "__main__":
    main()
