#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_toolkit_info
short_description: Read a host's GPUs, its NVIDIA Container Toolkit and Docker's configuration
version_added: 0.1.0
description:
  - Reads in one call all that the role C(container_toolkit) plans with.
  - Warns where unattended-upgrades may upgrade Docker, which restarts Docker and ends its containers.
  - Fails where the host has no GPU that answers, or no Docker Engine that does.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  wanted:
    description: >-
      What the role is asked for on this host. It is returned as it is, so that one plan knows the options of all hosts.
    type: dict
    default: {}
    suboptions:
      version:
        description: The version of the package that is wanted, such as V(1.19.0-1). Empty for any.
        type: str
        default: ""
      docker_user:
        description: The user who is to be in the group C(docker). Empty for none.
        type: str
        default: ""
      probe_image:
        description: The image that the GPUs are checked with. Empty for one made of the host's own files.
        type: str
        default: ""
      allow_restart:
        description: Whether Docker may be restarted under running containers.
        type: bool
        default: false
      replace_default_runtime:
        description: Whether a default runtime of the owner's may be replaced.
        type: bool
        default: false
      repository_url:
        description: The repository to add where no source of the host has the toolkit.
        type: str
        default: ""
      proxy:
        description: A proxy for that repository.
        type: str
        default: ""
      apt_files:
        description: The paths of the role's own files for apt, by what they are for.
        type: dict
        default: {}
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read the toolkit and Docker's configuration
  sparkops.dgx_spark.container_toolkit_info:
  become: true
  register: found

- name: Show the toolkit
  ansible.builtin.debug:
    msg: "{{ found.toolkit.version }} in mode {{ found.toolkit.mode }}"
"""

RETURN = r"""
gpus:
  description: The GPUs, as M(sparkops.dgx_spark.gpu_info) returns them.
  returned: success
  type: list
  elements: dict
  sample: [{uuid: GPU-e793e0a4-fd41-dcd8-a833-3127370a6779}]
toolkit:
  description: The toolkit's C(version), null where it is missing, its C(mode) and its C(swarm_resource).
  returned: success
  type: dict
  sample: {version: 1.19.0, mode: auto, swarm_resource: null}
packages:
  description: What dpkg and apt have.
  returned: success
  type: dict
  contains:
    installed:
      description: Whether the toolkit is there, in the wanted version if one is wanted.
      type: bool
      sample: true
    package_version:
      description: Version of its package, null if it is not installed or came without one.
      type: str
      sample: 1.19.0-1
    offered:
      description: The versions that apt could install, newest first. Empty where RV(packages.installed).
      type: list
      elements: str
      sample: []
    engine:
      description: The package that Docker Engine came with, null if there is none.
      type: str
      sample: docker-ce
    engine_version:
      description: Version of that package, null if there is none. Another may still run.
      type: str
      sample: 5:29.1.3-1~ubuntu.24.04~noble
    unattended:
      description: Packages of Docker that unattended-upgrades may upgrade. Which archives it uses is not read.
      type: list
      elements: str
      sample: [containerd.io, docker-ce]
    apt_files:
      description: The text of the files that O(wanted.apt_files) names, null where there is none.
      type: dict
      sample: {pin: null}
daemon:
  description: >-
    The C(path) of C(daemon.json), links resolved, its C(text), empty where there is no file, and its C(original) text,
    before the first change by this collection, null where that made none.
  returned: success
  type: dict
  sample: {path: /etc/docker/daemon.json, text: "", original: null}
engine:
  description: >-
    What the engine runs with (C(info)), and its running C(containers); the C(flags) of dockerd, by the keys of
    C(daemon.json), and whether its file was C(replaced) since it started, both null where no dockerd is seen.
  returned: success
  type: dict
  sample: {info: {DefaultRuntime: nvidia}, containers: []}
group:
  description: >-
    The C(members) of the group C(docker), null where there is no such group, and whether the wanted user exists
    (C(user_exists)).
  returned: success
  type: dict
  sample: {members: [nvidia], user_exists: true}
image:
  description: >-
    ID of the image for the GPU check, null where it is missing or made of files that have changed since; or
    O(wanted.probe_image).
  returned: success
  type: str
  sample: sha256:0d6f1b9c…
wanted:
  description: O(wanted), with its defaults.
  returned: success
  type: dict
  sample: {version: ""}
"""

import grp
import pwd
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import DaemonJsonError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.gpu_probe import NAME, GpuProbeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.host_facts import (
    current_image,
    output,
    read_daemon_json,
    read_engine,
    read_gpus,
    read_toolkit,
    root_archive,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_config import ToolkitConfigError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import (
    OriginalError,
    Originals,
    read_file,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import NvidiaSmiError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import (
    DOCKER,
    FORMAT,
    TOOLKIT,
    candidate,
    engine_of,
    held,
    installed,
    offered,
    upgraded_unattended,
)

MEANT_FOR_PEOPLE = (DaemonJsonError, DockerError, GpuProbeError, NvidiaSmiError, OriginalError, ToolkitConfigError)
WANTED = {
    "version": {"type": "str", "default": ""},
    "docker_user": {"type": "str", "default": ""},
    "probe_image": {"type": "str", "default": ""},
    "allow_restart": {"type": "bool", "default": False},
    "replace_default_runtime": {"type": "bool", "default": False},
    "repository_url": {"type": "str", "default": ""},
    "proxy": {"type": "str", "default": ""},
    "apt_files": {"type": "dict", "default": {}},
}


def read_packages(module: AnsibleModule, wanted: dict[str, Any], *, present: bool) -> dict[str, Any]:
    """Ask dpkg, and apt where the toolkit is to be installed.

    :param present: whether the toolkit is there, from a package or not.
    """
    listing = output(module, "dpkg-query", "-W", "-f", FORMAT, TOOLKIT, *DOCKER)
    packages = installed(listing)
    fits = present and wanted["version"] in ("", packages.get(TOOLKIT, ""))
    policy = "" if fits else output(module, "apt-cache", "policy", TOOLKIT)
    return {
        "installed": fits,
        "package_version": packages.get(TOOLKIT),
        "offered": offered(policy) if candidate(policy) else [],
        "engine": engine_of(packages),
        "engine_version": packages.get(engine_of(packages) or ""),
        "unattended": upgraded_unattended(output(module, "apt-config", "dump"), packages, held(listing)),
        "apt_files": {purpose: text_of(path) for purpose, path in wanted["apt_files"].items()},
    }


def text_of(path: str) -> str | None:
    """Return the text of a file, None where there is none."""
    content = read_file(Path(path))
    return None if content is None else content.decode(errors="replace")


def with_original(daemon: dict[str, str]) -> dict[str, Any]:
    """Return what was read of daemon.json, and the text that it had before the first change by this collection."""
    original = Originals().original_content(daemon["path"])
    return {**daemon, "original": None if original is None else original.decode(errors="replace")}


def read_group(user: str) -> dict[str, Any]:
    """Return the members of the group docker, and whether the user exists."""
    known = False
    if user:
        try:
            known = bool(pwd.getpwnam(user))
        except KeyError:
            known = False
    try:
        return {"members": grp.getgrnam("docker").gr_mem, "user_exists": known}
    except KeyError:
        return {"members": None, "user_exists": known}


def read(module: AnsibleModule) -> dict[str, Any]:
    """Read all of it."""
    wanted, docker = module.params["wanted"], Docker(module.params["docker_socket"])
    toolkit = read_toolkit(module)
    return {
        "gpus": read_gpus(module),
        "toolkit": toolkit,
        "packages": read_packages(module, wanted, present=toolkit["version"] is not None),
        "daemon": with_original(read_daemon_json()),
        "engine": read_engine(docker, docker.info()),
        "group": read_group(wanted["docker_user"]),
        "image": wanted["probe_image"] or current_image(docker, NAME, root_archive(module)),
        "wanted": wanted,
    }


def main() -> None:
    """Run the module."""
    wanted = {"type": "dict", "default": {}, "options": WANTED, "apply_defaults": True}
    module = AnsibleModule(argument_spec={"wanted": wanted, **SOCKET_OPTION}, supports_check_mode=True)
    module.run_command_environ_update = {"LANGUAGE": "C", "LC_ALL": "C"}
    try:
        found = read(module)
    except MEANT_FOR_PEOPLE as error:
        module.fail_json(msg=str(error))
    if found["packages"]["unattended"]:
        packages = " ".join(found["packages"]["unattended"])
        module.warn(
            f"unattended-upgrades may upgrade {packages}, which restarts Docker and ends its containers, a model's "
            f"too: 'apt-mark hold {packages}' lets you choose the time"
        )
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
