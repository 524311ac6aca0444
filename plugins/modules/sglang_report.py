#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sglang_report
short_description: Report what SGLang serves, once the serving was verified
version_added: 0.1.0
description:
  - Returns the facts of the serving's report, and the engine's version.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.engine_plan.report
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Report what SGLang serves
  sparkops.dgx_spark.sglang_report:
    plan: "{{ sglang_serve_plan }}"
    report: "{{ engine_serve_report }}"
  register: report
"""

RETURN = r"""
version:
  description: The version of SGLang, as far as it is known. Beside this stands all of O(report).
  returned: success
  type: str
  sample: 0.5.23
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
