#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_report
short_description: Report what vLLM serves, once the serving was verified
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
- name: Report what vLLM serves
  sparkops.dgx_spark.vllm_report:
    plan: "{{ vllm_serve_plan }}"
    report: "{{ engine_serve_report }}"
  register: report
"""

RETURN = r"""
version:
  description: The version of vLLM, as far as it is known. Beside this stands all of O(report).
  returned: success
  type: str
  sample: 0.28.0
at:
  description: When the report was made, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795953600.0
"""
