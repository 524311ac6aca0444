# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that go by another name now.

This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping

#: what is the same for all engines carries the name of the role engine_serve
GENERAL = (
    *("fabric", "api_host", "api_port", "api_sources", "firewall", "ssh_port", "gpu_kind", "load_timeout"),
    *("canary_interval", "canary_timeout", "canary_failures", "max_starts", "memory_reserve_mib", "memory_floor_mib"),
    *("drop_caches", "require_alike", "require_rdma", "memlock", "registry_user", "registry_password"),
)
RENAMED = {f"trtllm_serve_{name}": f"engine_serve_{name}" for name in GENERAL}


def renamed_variables(variables: Mapping[str, Any]) -> str:
    """Name the variables that are set and would be ignored, with their new names; empty where there are none.

    >>> renamed_variables({"trtllm_serve_api_host": "0.0.0.0", "trtllm_serve_options": {}})
    'trtllm_serve_api_host is engine_serve_api_host now: rename the variable'
    """
    old = [name for name in RENAMED if name in variables]
    if not old:
        return ""
    words = ", ".join(f"{name} is {RENAMED[name]} now" for name in old)
    return f"{words}: rename the variable{'s' if len(old) > 1 else ''}"
