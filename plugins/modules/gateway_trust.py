#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_trust
short_description: Keep the certificate of a gateway's authority on the controller
version_added: 0.1.0
description:
  - >-
    Writes the certificate of the authority that was made for a gateway into a file on the controller, from which it is
    handed to clients, which are to trust it. It is no secret.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.gateway.keys
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  authority:
    description: The certificate, in PEM. Empty for none, and then nothing is written.
    type: str
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Keep the certificate of the authority
  sparkops.dgx_spark.gateway_trust:
    directory: ~/.config/dgx-spark/keys/spark1
    authority: "{{ certificate.authority }}"
"""

RETURN = r"""
path:
  description: The file. Empty where there is no authority.
  returned: success
  type: str
  sample: /home/me/.config/dgx-spark/keys/spark1/ca.crt
"""
