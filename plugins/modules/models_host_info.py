#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: models_host_info
short_description: Read what decides which models a host can serve
version_added: 0.1.0
description:
  - >-
    Tells how much memory the host has, how much room its Hugging Face cache has, which files of which models are
    there, and how fast models came.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.hf_cache.cache
options:
  models:
    description: Repositories whose cached files are told.
    type: list
    elements: str
    default: []
  meminfo:
    description: The file that tells the memory.
    type: path
    default: /proc/meminfo
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read memory, disk and cache
  sparkops.dgx_spark.models_host_info:
    models: [openai/gpt-oss-20b]
  register: host
"""

RETURN = r"""
memory_mib:
  description: All memory of the host in MiB (MemTotal); 0 where O(meminfo) does not tell.
  returned: success
  type: int
  sample: 124610
filesystem:
  description: >-
    The filesystem of the cache: C(device), C(mount), and C(free_bytes), which anybody may write.
  returned: success
  type: dict
  sample: {"device": 66306, "mount": "/", "free_bytes": 3400000000000}
blobs:
  description: The size of each file that the cache has, by its hash, of each of O(models) that has any.
  returned: success
  type: dict
cached:
  description: All models of the cache, as RV(sparkops.dgx_spark.hf_cache_info#module:models).
  returned: success
  type: list
  elements: dict
rates:
  description: >-
    The figures of the largest model that came by each way (C(hub), C(peer), C(directory)): C(bytes), C(seconds), and
    C(at), in seconds since the epoch.
  returned: success
  type: dict
  sample: {"hub": {"bytes": 65250000000, "seconds": 610.2, "at": 1795953600}}
"""

import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import cache as hf_cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.models import held, rates
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import filesystem


def memory_mib(text: str) -> int:
    """Return MemTotal of a meminfo in MiB, 0 where there is none.

    >>> memory_mib("MemTotal:       125829120 kB\\nMemFree: 1 kB\\n"), memory_mib("")
    (122880, 0)
    """
    found = re.search(r"^MemTotal:\s+(\d{1,15}) kB$", text, re.MULTILINE | re.ASCII)
    return int(found[1]) // 1024 if found else 0


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cache_dir": hf_cache.CACHE_OPTION,
            "models": {"type": "list", "elements": "str", "default": []},
            "meminfo": {"type": "path", "default": "/proc/meminfo"},
        },
        supports_check_mode=True,
    )
    root = module.params["cache_dir"]
    try:
        memory = memory_mib(Path(module.params["meminfo"]).read_text(encoding="utf-8", errors="replace"))
        blobs = {repo: held(root, repo) for repo in module.params["models"]}
        found = {
            "memory_mib": memory,
            "filesystem": filesystem(hf_cache.Cache(root, "").hub),
            "blobs": {repo: some for repo, some in blobs.items() if some},
            "cached": hf_cache.list_models(root),
            "rates": rates(root),
        }
    except (hf_cache.CacheError, OSError) as exc:
        module.fail_json(msg=f"{told(exc)}. Nothing was changed.")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
