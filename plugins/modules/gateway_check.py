#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_check
short_description: Check that an API gateway lets in whom it should, and nobody else
version_added: 0.1.0
description:
  - >-
    Asks the gateway of this host as clients do, on its own address and by its own certificate, and fails where an
    answer is wrong.
  - >-
    To ask as a client that has a key, it makes one that only the HAProxy that runs knows, and no file, and takes it
    away again. Needs root.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.gateway
options:
  address:
    description: Where the gateway listens.
    type: str
    required: true
  port:
    description: The port that it listens on.
    type: int
    required: true
  exposure:
    description: Whom it lets in.
    type: str
    choices: [key, open]
    default: key
  certificate:
    description: Whose certificate it shows. That of its own authority, V(ca), is checked by that authority.
    type: str
    choices: [ca, own, none]
    default: ca
  state_file:
    description: The supervisor's state, which tells whether the model takes chats. Without one it is asked for a chat.
    type: path
  told:
    description: By what the HAProxy that runs is to tell which configuration it has read; it is waited for.
    type: str
    required: true
  seconds:
    description: For how many seconds it is waited for.
    type: int
    default: 30
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Check that the gateway asks for a key
  sparkops.dgx_spark.gateway_check:
    address: 0.0.0.0
    port: 443
    told: "{{ api_gateway_plan.told }}"
  become: true
"""

RETURN = r"""
checks:
  description: What was seen, a line each.
  returned: success
  type: list
  elements: str
  sample: ["GET /v1/models without a key: 401"]
clients:
  description: The names of the clients that have a key.
  returned: success
  type: list
  elements: str
  sample: [alice, open-webui]
authority:
  description: The certificate of the gateway's authority, in PEM. Empty where it has none.
  returned: success
  type: str
"""

import http.client
import ipaddress
import json
import os
import secrets
import ssl
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.host import json_object
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import admin, clients, config, host
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

#: seconds that one answer may take
PATIENCE_S = 60
CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
#: what an engine has beside what clients may ask, of which no spelling gets through
CLOSED = ("/metrics", "/server_info", "/v1/models/", "//v1/models", "/v1/%6dodels", "/v1/../release_memory")


class CheckError(ValueError):
    """The gateway does not do what it should; the message says what was asked and answered."""


class Gateway:
    """Asks as a client does."""

    def __init__(self, places: Layout, address: str, port: int, certificate: str) -> None:
        own = ipaddress.ip_address(address)
        every = "::1" if own.version == 6 else "127.0.0.1"
        self.address, self.port = every if own.is_unspecified else address, port
        self.checks: list[str] = []
        self.tls: ssl.SSLContext | None = None
        if certificate != config.NONE:
            self.tls = ssl.create_default_context(cafile=places.authority if certificate == config.CA else None)
            self.tls.check_hostname = False
            if certificate == config.OWN:  # who signed that is the owner's to know
                self.tls.verify_mode = ssl.CERT_NONE

    def ask(self, method: str, path: str, key: str = "", body: dict[str, Any] | None = None) -> tuple[int, str]:
        """Ask, and return the status and the answer."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=PATIENCE_S)
        if self.tls is not None:
            connection = http.client.HTTPSConnection(self.address, self.port, timeout=PATIENCE_S, context=self.tls)
        text = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        try:
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise CheckError(f"{method} {path} on {self.address} port {self.port}: {error}") from None
        finally:
            connection.close()

    def expect(self, wanted: int, what: str, method: str, path: str, **more: Any) -> str:
        """Ask, and require a status. Returns the answer. :raises CheckError:"""
        status, said = self.ask(method, path, **more)
        asked = f"{method} {path} {what}".strip()
        if status != wanted:
            raise CheckError(f"{asked} was answered by {status} instead of {wanted}: {said[:300]}")
        self.checks.append(f"{asked}: {status}")
        return said


def wait_for(ask: admin.Ask, wanted: str, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the HAProxy that runs has read the configuration. :raises CheckError:"""
    until = time.monotonic() + seconds
    said = ""
    while True:
        try:
            said = admin.description(ask).rpartition(" ")[2]
        except admin.AdminError as error:
            said = str(error)
        if said == wanted:
            return
        if time.monotonic() > until:
            raise CheckError(f"the gateway has not read its configuration within {seconds} s (it says {said!r})")
        sleep(0.2)


@contextmanager
def own_key(ask: admin.Ask, places: Layout) -> Iterator[str]:
    """A key that only the HAProxy that runs knows, for as long as this lasts."""
    key = f"{clients.KEY_PREFIX}{secrets.token_urlsafe(32)}"
    path, digest = places.map(clients.KEYS), clients.digest(key)
    said = ask(f"add map {path} {digest} {clients.RESERVED[0]}")
    if said:
        raise CheckError(f"{path}: {said}")
    try:
        yield key
    finally:
        ask(f"del map {path} {digest}")


def check(gateway: Gateway, key: str, state: dict[str, Any]) -> None:
    """Ask whatever the gateway has to answer. :param key: empty where it asks for none. :raises CheckError:"""
    gateway.expect(200, "", "GET", config.HEALTH_ROUTE)
    for path in CLOSED:
        gateway.expect(404, "", "GET", path, key=key)
    gateway.expect(405, "", "DELETE", config.MODELS_ROUTE, key=key)
    if key:
        gateway.expect(401, "without a key", "GET", config.MODELS_ROUTE)
        gateway.expect(401, "with another key", "GET", config.MODELS_ROUTE, key=f"{key[:-4]}AAAA")
    name = json.loads(gateway.expect(200, "", "GET", config.MODELS_ROUTE, key=key))["data"][0]["id"]
    body: dict[str, Any] = {"model": name, "max_tokens": 4, "stream": True}
    chats = state.get("path") != COMPLETION  # as the supervisor found out what this model takes
    body.update({"messages": [{"role": "user", "content": "Hi"}]} if chats else {"prompt": "Hi"})
    said = gateway.expect(200, "", "POST", CHAT if chats else COMPLETION, key=key, body=body)
    if "data: [DONE]" not in said:
        raise CheckError(f"an answer through the gateway did not come to its end: {said[-200:]}")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": ""},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "exposure": {"type": "str", "choices": [config.KEY, config.OPEN], "default": config.KEY},
            "certificate": {"type": "str", "choices": list(config.CERTIFICATES), "default": config.CA},
            "state_file": {"type": "path"},
            "told": {"type": "str", "required": True},
            "seconds": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    asked, name = module.params, os.uname().nodename
    places = Layout(asked["instance"])
    logs = f"sudo journalctl --unit {places.unit} says more"
    try:
        ask = admin.asker(places.admin_socket)
        wait_for(ask, asked["told"], asked["seconds"])
        gateway = Gateway(places, asked["address"], asked["port"], asked["certificate"])
        known, damaged = host.clients_here(places)
        if damaged:
            raise CheckError(damaged)
        state = json_object(Path(asked["state_file"])) if asked["state_file"] else {}
        if asked["exposure"] == config.OPEN:
            check(gateway, "", state)
        else:
            with own_key(ask, places) as key:
                check(gateway, key, state)
    except (CheckError, admin.AdminError, OSError, ValueError, LookupError) as error:
        module.fail_json(msg=f"{name}: {told(error)}. {logs}.")
    authority = host.text_of(places.authority) if asked["certificate"] == config.CA else ""
    module.exit_json(changed=False, checks=gateway.checks, clients=sorted(known), authority=authority)


if __name__ == "__main__":
    main()
