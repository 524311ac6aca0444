#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_drain
short_description: Wait until an engine works on no request, up to a limit
version_added: 0.1.0
description:
  - >-
    Asks M(sparkops.dgx_spark.engine_requests_info) again and again, and shows how many requests run whenever that
    changes.
  - >-
    It ends with the first look at which none runs, and when O(limit) is over: new requests may come all the time, since
    nobody is turned away.
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
  address:
    description: As O(sparkops.dgx_spark.engine_requests_info#module:address).
    type: str
    required: true
  limit:
    description: Seconds to wait at most. 0 for not at all.
    type: int
    default: 120
  interval:
    description: Seconds between two looks.
    type: float
    default: 1
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Wait for the end of the requests that run
  sparkops.dgx_spark.engine_drain:
    address: 127.0.0.1:8355
    limit: 60
  become: true
  register: drained
"""

RETURN = r"""
running:
  description: How many requests ran in the end.
  returned: success
  type: int
  sample: 0
waited_s:
  description: For how many seconds.
  returned: success
  type: float
  sample: 12.3
"""
