#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_wait
short_description: Wait until an engine serves, and say what it does meanwhile
version_added: 0.1.0
description:
  - >-
    Asks M(sparkops.dgx_spark.engine_state_info) again and again, and shows what it says whenever that changes: which
    Spark is waited for, how far the weights are, that it warms up.
  - >-
    It ends as soon as the server serves, has given up, or cannot start, and at the latest when O(timeout) is over, or
    O(waiting_timeout) where nothing loads.
  - In check mode it asks once.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  path:
    description: The state file, as O(sparkops.dgx_spark.engine_state_info#module:path).
    type: path
    required: true
  config_digest:
    description: As O(sparkops.dgx_spark.engine_state_info#module:config_digest).
    type: str
    required: true
  members:
    description: As O(sparkops.dgx_spark.engine_state_info#module:members).
    type: list
    elements: str
    required: true
  require_rdma:
    description: As O(sparkops.dgx_spark.engine_state_info#module:require_rdma).
    type: bool
    default: true
  stack:
    description: As O(sparkops.dgx_spark.engine_state_info#module:stack).
    type: str
    default: ""
  ignore_started_at:
    description: As O(sparkops.dgx_spark.engine_state_info#module:ignore_started_at).
    type: float
    default: 0
  timeout:
    description: >-
      Seconds to wait for one start. The time begins anew with each start that the supervisor makes, up to its
      last. A model of 130 GB takes a quarter of an hour when it is read for the first time.
    type: int
    default: 1800
  waiting_timeout:
    description: >-
      Seconds to wait while nothing loads, because the supervisor waits for a cable, a Spark or a port, or because
      its container has not started. The supervisor waits on when the play has ended.
    type: int
    default: 300
  interval:
    description: Seconds between two looks.
    type: int
    default: 2
  seen:
    description: >-
      What O(path) had when it was read since anything that the engine depends on was changed. Where it says that the
      engine serves, it is not read again. Empty to read it in any case.
    type: dict
    default: {}
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Wait for the first token
  sparkops.dgx_spark.engine_wait:
    path: /var/lib/dgx-spark/trtllm/state.json
    config_digest: "{{ engine_serve_plan.config_digest }}"
    members: [spark1, spark2]
    stack: dgx-spark-trtllm
  become: true
  register: serving
"""

RETURN = r"""
waited_s:
  description: >-
    For how many seconds. What M(sparkops.dgx_spark.engine_state_info) returns stands beside this, without C(now) where
    O(seen) was enough.
  returned: success
  type: float
  sample: 412.3
"""
