#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trtllm_plan_info
short_description: Plan how TensorRT-LLM serves a model on one or more Sparks
version_added: 0.1.0
description:
  - Computes what the serving containers are told, and refuses what would only fail minutes into a start,
    such as a misspelt key of TensorRT-LLM's YAML, a tensor parallel size that the Sparks cannot fill, or a model that
    is too big for them.
  - Nothing is written. The role P(sparkops.dgx_spark.trtllm_serve#role) writes and starts what this module returns.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
notes:
  - Reads C(config.json) of O(snapshot), where that is there, to see that the model can be split as asked.
author:
  - sparkops contributors (@sparkops)
options:
  members:
    description: The names of the Sparks, leader first.
    type: list
    elements: str
    required: true
  fabric:
    description:
      - By name, the C(control_address) that MPI uses, and the data C(links), each with C(netdev), C(rdma_device) and
        C(address) in CIDR notation.
      - Where none of the links has that address, as on a ring, its C(control_netdev) and C(control_network) too.
      - A Spark that is alone needs none.
    type: dict
    default: {}
  snapshot:
    description: Path of the pinned commit in the Hugging Face cache, the same on every node.
    type: str
    required: true
  repo_dir:
    description: Path of the model's own directory in that cache, above O(snapshot).
    type: str
    required: true
  options:
    description: The YAML of C(--extra_llm_api_options), as a dictionary.
    type: dict
    default: {}
  arguments:
    description: Flags of C(trtllm-serve) by name, without dashes.
    type: dict
    default: {}
  api_host:
    description: The address that the API listens on.
    type: str
    default: 127.0.0.1
  api_port:
    description: The port that the API listens on.
    type: int
    default: 8355
  ssh_port:
    description: The port of the workers' sshd, for MPI.
    type: int
    default: 2233
  limits:
    description: >-
      What the supervisor goes by. Seconds: C(interval_s), C(timeout_s) of its probes, C(load_timeout_s), C(grace_s)
      for an end, C(forget_s) after which a run wipes the slate, C(memory_wait_s). Counts: C(failures) of probes,
      C(max_starts). Of a rank: C(memory_floor_mib), C(memlock_bytes) and C(require_rdma).
    type: dict
    required: true
  image:
    description:
      - The image, whose tag tells the version of TensorRT-LLM. Only that version's flags and keys are accepted then.
      - A tag that tells none, such as that of a nightly build, stands for any.
    type: str
    default: ""
  version:
    description: The version, where the tag does not tell it.
    type: str
    default: ""
  model_bytes:
    description: Size of the model's files, of which each rank loads its share.
    type: int
    default: 0
  memory_reserve_mib:
    description: MiB that a Spark must have available beside its share of the model before its rank starts.
    type: int
    default: 0
  meminfo:
    description: What to read of a Spark's memory, from inside its container.
    type: path
    default: /proc/meminfo
"""

EXAMPLES = r"""
- name: Plan a single Spark
  sparkops.dgx_spark.trtllm_plan_info:
    members: [spark1]
    snapshot: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-20b/snapshots/0123456789abcdef
    repo_dir: /home/nvidia/.cache/huggingface/hub/models--openai--gpt-oss-20b
    options: {print_iter_log: false}
    limits:
      interval_s: 15
      timeout_s: 60
      load_timeout_s: 900
      grace_s: 9
      forget_s: 600
      memory_wait_s: 60
      failures: 3
      max_starts: 3
      memory_floor_mib: 2048
      memlock_bytes: -1
      require_rdma: true
"""

RETURN = r"""
cluster:
  description: What all nodes are told.
  returned: success
  type: dict
nodes:
  description: What each node is told, by name.
  returned: success
  type: dict
hostname:
  description: What NCCL calls this host in its lines, which is its host name up to the first dot.
  returned: success
  type: str
  sample: spark-1a2b
platform:
  description: What runs on this host, each empty where it does not tell.
  returned: success
  type: dict
  contains:
    kernel:
      description: The kernel's release.
      type: str
      sample: 6.11.0-1016-nvidia
    driver:
      description: The version of the NVIDIA driver.
      type: str
      sample: 580.95.05
    firmware:
      description: The firmware of the ConnectX-7, each version once.
      type: str
      sample: 28.45.4028
model_known:
  description: Whether the model's C(config.json) was there to be looked at. Where it was not, plan again when it is.
  returned: success
  type: bool
fabric:
  description: What of O(fabric) it was planned for. Where that is another by now, plan again.
  returned: success
  type: dict
digest:
  description: 12 hex digits that change when any of it changes.
  returned: success
  type: str
"""

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm import ServeError, digest, plan, short


def config_in(snapshot: Path) -> dict[str, Any] | None:
    """Return the model's own description, or nothing where it is not there yet."""
    try:
        return dict(json.loads((snapshot / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def memory_mib() -> int:
    """Return all the memory that this host has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def platform(module: AnsibleModule) -> dict[str, str]:
    """Return what runs here."""
    smi, driver = module.get_bin_path("nvidia-smi"), ""
    if smi:
        rc, said, _err = module.run_command([smi, "--query-gpu=driver_version", "--format=csv,noheader"])
        driver = "" if rc else said.split("\n")[0].strip()
    firmware = {path.read_text().strip() for path in Path("/sys/class/infiniband").glob("*/fw_ver")}
    return {
        "kernel": os.uname().release,
        "driver": driver,
        "firmware": ", ".join(sorted(firmware)),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "list", "elements": "str", "required": True},
            "fabric": {"type": "dict", "default": {}},
            "snapshot": {"type": "str", "required": True},
            "repo_dir": {"type": "str", "required": True},
            "options": {"type": "dict", "default": {}},
            "arguments": {"type": "dict", "default": {}},
            "api_host": {"type": "str", "default": "127.0.0.1"},
            "api_port": {"type": "int", "default": 8355},
            "ssh_port": {"type": "int", "default": 2233},
            "limits": {"type": "dict", "required": True},
            "image": {"type": "str", "default": ""},
            "version": {"type": "str", "default": ""},
            "model_bytes": {"type": "int", "default": 0},
            "memory_reserve_mib": {"type": "int", "default": 0},
            "meminfo": {"type": "path", "default": "/proc/meminfo"},
        },
        supports_check_mode=True,
    )
    config = config_in(Path(module.params["snapshot"]))
    try:
        cluster, nodes = plan(**module.params, config=config, memory_mib=memory_mib())
    except ServeError as error:
        module.fail_json(msg=f"This model cannot be served as asked: {error}")
    told = digest(cluster, nodes, module.params["options"], module.params["repo_dir"])
    module.exit_json(
        changed=False,
        cluster=cluster,
        nodes=nodes,
        fabric=module.params["fabric"],
        digest=told,
        model_known=config is not None,
        hostname=short(os.uname().nodename),
        platform=platform(module),
    )


if __name__ == "__main__":
    main()
