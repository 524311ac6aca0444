#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nccl_tests_info
short_description: Read what a measurement of NCCL is planned from
version_added: 0.1.0
description:
  - >-
    Reads which images Docker has, what serves on the host, how much memory is available, and the MTU and the carrier of
    the network devices that are named.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  base_image:
    description: The image that nccl-tests comes on. Empty where it is of no interest, as on a worker.
    type: str
    default: ""
  netdevs:
    description: The network devices of the planned links.
    type: list
    elements: str
    default: []
  meminfo_path:
    description: Where the memory is read from.
    type: path
    default: /proc/meminfo
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read what the measurement is planned from
  sparkops.dgx_spark.nccl_tests_info:
    base_image: nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13
    netdevs: [enp1s0f0np0, enP2p1s0f0np0]
  become: true
  register: found
"""

RETURN = r"""
docker:
  description: >-
    C(problem), why it does not answer, else empty; whether it has NVIDIA's C(runtime); C(base), the image of that name
    with C(id), C(bytes) and C(layers), empty where there is none; C(images), the IDs of all; C(built), those of earlier
    measurements with C(id), C(tags) and C(labels); and C(build_proxies).
  returned: success
  type: dict
serving:
  description: The containers that serve a model here.
  returned: success
  type: list
  elements: str
  sample: [dgx-spark-trtllm]
memory_available_mib:
  description: The memory that is free or can be freed, 0 where that is not told.
  returned: success
  type: int
links:
  description: Of each of O(netdevs) that is there, C(mtu) and C(carrier).
  returned: success
  type: dict
  sample: {enp1s0f0np0: {mtu: 9000, carrier: true}}
virtual:
  description: Whether the host is a container or a virtual machine, and so no DGX Spark.
  returned: success
  type: bool
  sample: false
left:
  description: Whether files or a container of an earlier measurement are there.
  returned: success
  type: bool
"""

import json
from pathlib import Path
from typing import Any, Sequence
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.host import (
    build_proxies,
    image_named,
    memory_available_mib,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trial import serving_here
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._nccl import container, layout

NET = Path("/sys/class/net")
RUNTIME = "nvidia"


def links_of(netdevs: Sequence[str], net: Path = NET) -> dict[str, dict[str, Any]]:
    """MTU and carrier of each network device that is there; one that is down has no carrier to be read."""
    found = {}
    for name in netdevs:
        try:
            mtu = int((net / name / "mtu").read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        try:
            carrier = (net / name / "carrier").read_text(encoding="ascii").strip() == "1"
        except OSError:
            carrier = False
        found[name] = {"mtu": mtu, "carrier": carrier}
    return found


def docker_of(docker: Docker, base_image: str) -> dict[str, Any]:
    """What Docker has of a measurement. :raises DockerError: where it does not answer."""
    info = docker.info()
    wanted = quote(json.dumps({"label": [f"dgx-spark={layout.LABEL}"]}))
    return {
        "runtime": RUNTIME in (info.get("Runtimes") or {}),
        "base": image_named(docker, base_image),
        "images": sorted(one["Id"] for one in docker.ask("GET", "/images/json")),
        "built": [
            {"id": one["Id"], "tags": one.get("RepoTags") or [], "labels": one.get("Labels") or {}}
            for one in docker.ask("GET", f"/images/json?filters={wanted}")
        ],
        "build_proxies": build_proxies(info, Path.home() / ".docker" / "config.json"),
    }


def is_virtual(module: AnsibleModule) -> bool:
    """Whether systemd knows the host for a container or a virtual machine."""
    tool = module.get_bin_path("systemd-detect-virt")
    return tool is not None and module.run_command([tool])[0] == 0


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **SOCKET_OPTION,
            "base_image": {"type": "str", "default": ""},
            "netdevs": {"type": "list", "elements": "str", "default": []},
            "meminfo_path": {"type": "path", "default": "/proc/meminfo"},
        },
        supports_check_mode=True,
    )
    docker = Docker(module.params["docker_socket"])
    found: dict[str, Any] = {"problem": "", "base": {}, "images": [], "built": [], "build_proxies": {}}
    serving: list[str] = []
    left = Path(layout.FOLDER).exists()
    try:
        found.update(docker_of(docker, module.params["base_image"]))
        serving = serving_here(docker.running())
        left = left or container.is_there(module.run_command)
    except (DockerError, KeyError, TypeError, ValueError, container.ContainerError) as error:
        found["problem"] = str(error)  # an undo has nothing to do with it then
    module.exit_json(
        changed=False,
        docker=found,
        serving=serving,
        memory_available_mib=memory_available_mib(module.params["meminfo_path"]),
        links=links_of(module.params["netdevs"]),
        virtual=is_virtual(module),
        left=left,
    )


if __name__ == "__main__":
    main()
