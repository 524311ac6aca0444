#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_plan
short_description: Plan the API gateway of the leader
version_added: 0.1.0
description:
  - >-
    Compares what M(sparkops.dgx_spark.gateway_info) found on the leader with the gateway that is asked for, and lists
    the changes.
  - Fails, with nothing changed, where the gateway cannot be so.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.gateway
options:
  members:
    description: The members, the leader first.
    type: list
    elements: str
    required: true
  exposure:
    description:
      - Who may use the API. V(loopback) for programs of the leader alone, without a gateway.
      - V(key) for who has one of the keys, V(open) for whoever reaches the port.
    type: str
    default: loopback
  found:
    description: What M(sparkops.dgx_spark.gateway_info) found on the leader. Empty where it was not asked.
    type: dict
    default: {}
  reach:
    description: The name or the address by which the inventory reaches the leader.
    type: str
    default: ""
  program:
    description: The file that HAProxy is to run.
    type: path
    default: ""
  engine:
    description: Where the engine listens, as C(address:port).
    type: str
    default: ""
  state_file:
    description: The supervisor's state on the leader.
    type: str
    default: ""
  model:
    description: The repository of the model that is served.
    type: str
    default: ""
  alias:
    description: Another name for the model.
    type: str
    default: ""
  context:
    description: How many tokens a sequence can have. V(0) where that is not known.
    type: int
    default: 0
  address:
    description: Where the gateway is to listen.
    type: str
    default: ""
  port:
    description: The port that it is to listen on.
    type: int
    default: 0
  certificate:
    description: Whose certificate it shows. V(ca) for one of an authority that is made for it.
    type: str
    choices: [ca, own, none]
    default: ca
  owners_certificate:
    description: With O(certificate=own), the certificate and those that signed it, in PEM.
    type: str
    default: ""
  owners_key:
    description: With O(certificate=own), its key, in PEM.
    type: str
    default: ""
  names:
    description: Further names and addresses that the certificate is to be for.
    type: list
    elements: str
    default: []
  clients:
    description: The clients of the inventory.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the client.
        type: str
        required: true
      key:
        description: Its key.
        type: str
        default: ""
      sha256:
        description: The SHA-256 of its key, instead of the key.
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
        description: The models that it may use. Empty for whatever is served.
        type: list
        elements: str
        default: []
  routes:
    description: What clients may ask of the engine.
    type: list
    elements: str
    default: [/v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses]
  requests_per_minute:
    description: How many requests a client may make in a minute.
    type: int
    default: 0
  streams:
    description: How many requests a client may have at a time.
    type: int
    default: 0
  body_mb:
    description: How many MB the body of a request may have.
    type: int
    default: 0
  header_seconds:
    description: Within how many seconds the header of a request has to come.
    type: int
    default: 0
  body_seconds:
    description: Within how many seconds a body, or the first 16 KB of it, has to come.
    type: int
    default: 0
  idle_seconds:
    description: After how many seconds a client that sends, or takes, nothing is left.
    type: int
    default: 0
  generation_seconds:
    description: For how many seconds the engine may say nothing.
    type: int
    default: 0
  firewall:
    description: Whether rules of ufw are written.
    type: str
    choices: [auto, ufw, none]
    default: auto
  sources:
    description: The addresses and networks that ufw is to let in.
    type: list
    elements: str
    default: [any]
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Plan the gateway
  sparkops.dgx_spark.gateway_plan:
    members: [spark1]
    exposure: loopback
    engine: 127.0.0.1:8355
  register: planned
"""

RETURN = r"""
changes:
  description: By name the changes, each with C(name) and, where a text changes, C(diff), in the order of the apply.
  returned: success
  type: dict
  sample: {spark1: [{name: Reload the gateway}]}
exposure:
  description: Who may use the API.
  returned: success
  type: str
  sample: key
leader:
  description: The member that has the gateway.
  returned: success
  type: str
  sample: spark1
instance:
  description: The instance whose gateway it is.
  returned: success
  type: str
  sample: ""
url:
  description: Where clients find the API.
  returned: success
  type: str
  sample: https://192.168.1.21/v1
layout:
  description: Paths and names on the leader.
  returned: where there is to be a gateway
  type: dict
files:
  description: The files of the gateway that hold no secret, each with C(path), C(content) and C(mode).
  returned: where there is to be a gateway
  type: list
  elements: dict
unit:
  description: The text of its unit.
  returned: where there is to be a gateway
  type: str
told:
  description: By what the HAProxy that runs tells that it has read this configuration.
  returned: where there is to be a gateway
  type: str
  sample: 31e7b7131b989a50
certificate_names:
  description: What the certificate of its own authority is for.
  returned: where there is to be a gateway
  type: list
  elements: str
  sample: [192.168.1.21, spark1, spark1.local, localhost, 127.0.0.1]
declared:
  description: The clients of the inventory, with the SHA-256 of their keys.
  returned: where there is to be a gateway
  type: list
  elements: dict
clients:
  description: The names of the clients that there will be, but for one whose key is to be made.
  returned: where there is to be a gateway
  type: list
  elements: str
model:
  description: The name of the model that clients should use.
  returned: where there is to be a gateway
  type: str
  sample: openai/gpt-oss-20b
names:
  description: All names of the model.
  returned: where there is to be a gateway
  type: list
  elements: str
firewall_rules:
  description: The rules of ufw, as M(sparkops.dgx_spark.ufw_rules) takes them.
  returned: where there is to be a gateway
  type: list
  elements: dict
exposed:
  description: Who reaches the gateway, where ufw is off.
  returned: where there is to be a gateway
  type: list
  elements: str
at:
  description: When it was planned, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
