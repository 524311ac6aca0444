#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_nccl_info
short_description: Read which build of NCCL the serving on a host has loaded
version_added: 0.1.0
description:
  - >-
    Looks into the processes of the containers that serve on this host, and reads the NCCL library that they have
    mapped: its version, its size and its hash. Two builds of one version are two different libraries, of which one may
    hang where the other does not.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the build of NCCL
  sparkops.dgx_spark.engine_nccl_info:
  become: true
  register: nccl
"""

RETURN = r"""
containers:
  description: The containers that serve on this host.
  returned: success
  type: list
  elements: str
  sample: [dgx-spark-trtllm]
libraries:
  description: >-
    The NCCL libraries of their processes, with C(path) in the container, C(version), C(bytes) and C(sha256). None
    where no process has one loaded.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    Docker,
    DockerError,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.nccl_library import of_processes
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trial import serving_here
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told


def processes(docker: Docker, container: str) -> list[int]:
    """The processes of a container, as the host numbers them."""
    top = docker.ask("GET", f"/containers/{container}/top")
    column = top["Titles"].index("PID")
    return [int(row[column]) for row in top["Processes"]]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=dict(SOCKET_OPTION), supports_check_mode=True)
    docker = Docker(module.params["docker_socket"])
    try:
        containers = serving_here(docker.running())
        libraries = of_processes(pid for one in containers for pid in processes(docker, one))
    except (DockerError, KeyError, TypeError, ValueError) as error:
        module.fail_json(msg=f"Docker does not tell what runs in the serving's container: {error}")
    except OSError as error:
        module.fail_json(msg=f"the NCCL library of the serving cannot be read: {told(error)}")
    module.exit_json(changed=False, containers=containers, libraries=libraries)


if __name__ == "__main__":
    main()
