#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_report
short_description: Report to every member what clients of an API gateway need to know
version_added: 0.1.0
description:
  - Takes what M(sparkops.dgx_spark.gateway_check) found on the leader to every member.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  plan:
    description: What M(sparkops.dgx_spark.gateway_plan) returned.
    type: dict
    required: true
  checked:
    description: What M(sparkops.dgx_spark.gateway_check) returned, empty where nothing was checked.
    type: dict
    default: {}
  keys:
    description: The files on the controller that have keys which were made there.
    type: list
    elements: str
    default: []
  authority:
    description: The file on the controller that has the certificate of the authority, empty for none.
    type: str
    default: ""
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report the gateway
  sparkops.dgx_spark.gateway_report:
    plan: {exposure: loopback, url: "http://127.0.0.1:8355/v1", instance: ""}
"""

RETURN = r"""
exposure:
  description: Who may use the API.
  returned: success
  type: str
  sample: key
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
model:
  description: The name of the model that clients should use. Empty where there is no gateway.
  returned: success
  type: str
  sample: openai/gpt-oss-20b
clients:
  description: The names of the clients that have a key.
  returned: success
  type: list
  elements: str
  sample: [default]
keys:
  description: The files on the controller that have keys which were made there.
  returned: success
  type: list
  elements: str
authority:
  description: The file on the controller that has the certificate of the authority. Empty where there is none.
  returned: success
  type: str
exposed:
  description: Who reaches the gateway, where ufw is off.
  returned: success
  type: list
  elements: str
checks:
  description: What was asked of the gateway, and answered.
  returned: success
  type: list
  elements: str
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
