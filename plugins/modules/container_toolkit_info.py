#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_toolkit_info
short_description: Look at Docker's packages and at the NVIDIA Container Toolkit
version_added: "0.1.0"
description:
  - Tells the toolkit's version and mode, or what apt would install where it is missing, and what package Docker is of.
  - Tells, too, whether unattended-upgrades may upgrade Docker, which restarts it under what runs.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
options:
  version:
    description: The version of the package that is wanted, such as V(1.19.0-1). Empty for whatever there is.
    type: str
    default: ""
  gpus:
    description: How many GPUs the host has, for RV(swarm).
    type: int
    default: 1
  simulate:
    description: Whether to have apt simulate the installation, for RV(docker_steps).
    type: bool
    default: false
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Look at the toolkit
  sparkops.dgx_spark.container_toolkit_info:
  register: toolkit

- name: Say what there is
  ansible.builtin.debug:
    msg: "{{ toolkit.version }} in mode {{ toolkit.mode }}"
"""

RETURN = r"""
installed:
  description: Whether the toolkit is there, in the wanted version if one is wanted.
  returned: success
  type: bool
  sample: true
version:
  description: Its version; of one that is yet to be installed that of the package, null if no source has one.
  returned: success
  type: str
  sample: 1.19.0
package_version:
  description: Version of its package, null if it is not installed or came without one.
  returned: success
  type: str
  sample: 1.19.0-1
offered:
  description: The versions of its package that apt could install. Empty where RV(installed), as it is not asked then.
  returned: success
  type: list
  elements: str
  sample: []
mode:
  description: Mode of its runtime, by its configuration.
  returned: success
  type: str
  sample: auto
swarm:
  description: Whether this toolkit, in this mode, gives a task of Docker Swarm the GPU that Swarm chose, and how.
  returned: success
  type: dict
  contains:
    works:
      description: Whether it does.
      type: bool
      sample: true
    says:
      description: How it does, or what has to be changed.
      type: str
      sample: "NVIDIA Container Toolkit 1.19.0 in mode 'auto': it reads DOCKER_RESOURCE_<KIND>, …"
engine:
  description: The package that Docker Engine came with, null if it is not there or came without one.
  returned: success
  type: str
  sample: docker-ce
unattended:
  description: Packages of Docker that unattended-upgrades may upgrade. Which archives it uses is not looked at.
  returned: success
  type: list
  elements: str
  sample: [containerd.io, docker-ce]
docker_steps:
  description: Packages of Docker that the toolkit's installation would touch; none, unless something is wrong.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_config import (
    ToolkitConfigError,
    string,
    swarm_way,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import (
    DOCKER,
    TOOLKIT,
    candidate,
    docker_steps,
    engine_of,
    installed,
    offered,
    upgraded_unattended,
)

RUNTIME = "nvidia-container-runtime"


def tell(module: AnsibleModule, *argv: str) -> str:
    """Return what a program prints, nothing where it fails or is not there."""
    tool = module.get_bin_path(argv[0], opt_dirs=["/usr/sbin", "/sbin"])
    if tool is None:
        return ""
    return module.run_command([tool, *argv[1:]])[1]


def by_swarm(version: str | None, mode: str, gpus: int) -> dict[str, Any]:
    """Return whether a task of Swarm gets its GPU, and how."""
    if version is None:  # of a repository that is yet to be added
        says = "the NVIDIA Container Toolkit is not there yet, and what version comes is not known"
        return {"works": True, "says": says}
    try:
        return {"works": True, "says": swarm_way(version, mode, gpus)}
    except ToolkitConfigError as exc:
        return {"works": False, "says": str(exc)}


def look(module: AnsibleModule) -> dict[str, Any]:
    """Ask dpkg, apt and the toolkit itself."""
    wanted = module.params["version"]
    listing = tell(
        module, "dpkg-query", "-W", "-f", "${Package}\t${db:Status-Abbrev}\t${Version}\n", TOOLKIT, *DOCKER
    )  # it fails where one is missing, and lists the others
    packages = installed(listing)
    there = module.get_bin_path(RUNTIME) is not None
    fits = there and wanted in ("", packages.get(TOOLKIT, ""))
    policy = "" if fits else tell(module, "apt-cache", "policy", TOOLKIT)
    runs = tell(module, "nvidia-ctk", "--version").partition("version ")[2].split("\n")[0].strip() if there else ""
    config = tell(module, "nvidia-ctk", "config") if there else ""
    package = f"{TOOLKIT}={wanted}" if wanted else TOOLKIT
    simulation = tell(module, "apt-get", "--simulate", "install", package) if module.params["simulate"] else ""
    version = (runs if fits else wanted or candidate(policy)) or None
    mode = string(config, "mode", RUNTIME) or "auto"
    held = tell(module, "apt-mark", "showhold").split()
    return {
        "installed": fits,
        "version": version,
        "package_version": packages.get(TOOLKIT),
        "offered": offered(policy) if candidate(policy) else [],
        "mode": mode,
        "swarm": by_swarm(version, mode, module.params["gpus"]),
        "engine": engine_of(packages),
        "unattended": upgraded_unattended(tell(module, "apt-config", "dump"), packages, held),
        "docker_steps": docker_steps(simulation),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "default": ""},
            "gpus": {"type": "int", "default": 1},
            "simulate": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    try:
        found = look(module)
    except ToolkitConfigError as exc:
        module.fail_json(msg=str(exc))
    if found["unattended"]:
        names = " ".join(found["unattended"])
        module.warn(
            f"unattended-upgrades may upgrade {names}, which restarts Docker and ends what runs in it, a model too: "
            f"'apt-mark hold {names}' keeps that for a time of your choosing"
        )
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
