# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a serving is on a host, and what its parts are called.

This module util is private to the collection.
"""

from __future__ import annotations

ROOTS = ("/etc/dgx-spark", "/var/lib/dgx-spark")
#: what Ansible's Docker modules need: to create containers and to remove images, and on the leader to deploy a stack
WORKER_PACKAGES = ("python3-requests",)
PACKAGES = ("python3-jsondiff", *WORKER_PACKAGES, "python3-yaml")
#: of the firewall's rules
COMMENT = "DGX Spark serving"
#: labels of built images, of services and of containers
BASE_LABEL, CONTEXT_LABEL, OPTIONS_LABEL = "dgx-spark.base", "dgx-spark.context", "dgx-spark.options"


def layout(engine: str) -> dict[str, str]:
    """Paths and names of the serving of an engine, such as ``trtllm``.

    >>> layout("trtllm")["config_dir"], layout("trtllm")["name"]
    ('/etc/dgx-spark/trtllm', 'dgx-spark-trtllm')
    """
    name, config_dir = f"dgx-spark-{engine}", f"{ROOTS[0]}/{engine}"
    return {
        "engine": engine,
        "name": name,  # of the container, its unit and the stack
        "config_dir": config_dir,
        "state_dir": f"{ROOTS[1]}/{engine}",
        "build_dir": f"{ROOTS[1]}/{engine}-image",
        "stack": f"{config_dir}/stack.yml",
        "unit": f"{name}.service",
        "unit_file": f"/etc/systemd/system/{name}.service",
        "unit_link": f"/etc/systemd/system/docker.service.wants/{name}.service",
        "label": f"dgx-spark={engine}-serve",  # of the images that were built
        "repository": f"dgx-spark/{engine}-serve",
    }
