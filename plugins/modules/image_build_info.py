#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build_info
short_description: Read what a Spark has for a build of TensorRT-LLM's image from source, and how an earlier one stands
version_added: 0.1.0
description:
  - >-
    Reads the images that were built from source, by their labels; on the Spark that builds also the tools, memory,
    disks, Docker's build program and the state of a build.
  - A tag or branch is looked up at the repository, with C(git ls-remote), where git is there.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.attributes.info
  - sparkops.dgx_spark.docker
options:
  builds:
    description: Whether this Spark is the one that builds.
    type: bool
    default: false
  dir:
    description: Where the build and its clone are, or are to be.
    type: path
    default: /var/lib/dgx-spark/build
  url:
    description: The repository.
    type: str
    default: ""
  ref:
    description: A tag or branch of the repository of which the commit is looked up. A commit is taken as it is.
    type: str
    default: ""
  packages:
    description: Debian packages of which RV(missing_packages) tells which are not installed.
    type: list
    elements: str
    default: []
  meminfo:
    description: The file that tells the memory.
    type: path
    default: /proc/meminfo
  model:
    description: A model that the image is to be tried with. Empty for none.
    type: str
    default: ""
  hub:
    description: The directory of the host that holds models.
    type: path
    default: /root/.cache/huggingface/hub
  timeout:
    description: Seconds that the repository may take to answer.
    type: int
    default: 30
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Read what a build would find
  sparkops.dgx_spark.image_build_info:
    builds: true
    url: https://github.com/NVIDIA/TensorRT-LLM.git
    ref: v1.4.0rc1
    packages: [git, git-lfs, make]
  become: true
  register: found
"""

RETURN = r"""
images:
  description: The images that were built from source, each with C(id), C(names), C(commit), C(archs), C(bytes).
  returned: success
  type: list
  elements: dict
rooms:
  description: By C(docker) and C(source) the C(path) and the C(filesystem) that it is on.
  returned: success
  type: dict
memory:
  description: C(total_mib) and C(available_mib).
  returned: success
  type: dict
cores:
  description: How many processors there are.
  returned: success
  type: int
  sample: 20
state:
  description: What the program of a build noted last, empty without one.
  returned: success
  type: dict
active:
  description: Whether a build runs.
  returned: success
  type: bool
commit:
  description: The commit that O(ref) is, empty where that is not known.
  returned: success
  type: str
commit_problem:
  description: Why RV(commit) is not known, empty else.
  returned: success
  type: str
missing_packages:
  description: Which of O(packages), and of Docker's build program, are not installed.
  returned: success
  type: list
  elements: str
unavailable_packages:
  description: Which of RV(missing_packages) are in no package source that this host has lists of.
  returned: success
  type: list
  elements: str
foreign:
  description: What is in O(dir) by the names that a build takes, where no build has made it.
  returned: success
  type: list
  elements: str
docker_problem:
  description: Why Docker cannot be asked, empty where it can.
  returned: success
  type: str
model_problem:
  description: Why the model of O(model) cannot be tried, empty else.
  returned: success
  type: str
"""

import os
import re
from pathlib import Path
from typing import Any, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import layout, unit
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build.images import built_images
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET_OPTION, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trial
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import (
    FORMAT,
    engine_of,
    installed,
    unavailable,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import filesystem

DOCKER_ROOT = "/var/lib/docker"
#: who brings Docker's build program, by whose Docker Engine it is
BUILDX = {"docker-ce": "docker-buildx-plugin", "docker.io": "docker-buildx", "moby-engine": "moby-buildx"}


def memory_in(text: str) -> dict[str, int]:
    """Return the MiB that a host has in all, and available.

    >>> memory_in("MemTotal:  4096 kB\\nMemAvailable:  1024 kB\\n")
    {'total_mib': 4, 'available_mib': 1}
    """
    found = {name: int(kib) // 1024 for name, kib in re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB", text, re.M)}
    return {"total_mib": found.get("MemTotal", 0), "available_mib": found.get("MemAvailable", 0)}


def commit_in(listing: str, ref: str) -> str:
    """Return the commit of a tag or branch in what C(git ls-remote) lists; of a tag that has a text, what it is of.

    >>> commit_in("a\\trefs/tags/v1\\nb\\trefs/tags/v1^{}\\nc\\trefs/tags/v10\\n", "v1")
    'b'
    """
    rows = [line.split("\t") for line in listing.splitlines() if line.count("\t") == 1]
    by_name = {name: commit for commit, name in rows}
    names = [f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", ref]
    return next((by_name[name] for name in names if name in by_name), "")


def packages_of(module: AnsibleModule, wanted: Sequence[str]) -> dict[str, list[str]]:
    """Return which packages are missing, with that of Docker's build program, and which of them no source has."""
    show = ["dpkg-query", "-W", "-f", FORMAT, *wanted, *BUILDX]
    there = installed(module.run_command(show)[1])
    missing = [name for name in wanted if name not in there]
    if module.run_command(["docker", "buildx", "version"])[0]:
        missing.append(BUILDX[engine_of(there) or "docker.io"])
    return {
        "missing_packages": missing,
        "unavailable_packages": unavailable(lambda argv: module.run_command(list(argv))[:2], missing),
    }


def commit_of(module: AnsibleModule, url: str, ref: str, timeout: int) -> dict[str, str]:
    """Return the commit of a tag or branch, or why it is not known."""
    if not ref or layout.COMMIT.fullmatch(ref):
        return {"commit": ref, "commit_problem": ""}
    problem = layout.url_problem(url)
    if problem:
        return {"commit": "", "commit_problem": problem}
    program = module.get_bin_path("git")
    if program is None:
        return {"commit": "", "commit_problem": "git is not installed there yet"}
    argv = ["timeout", str(timeout), program, "ls-remote", "--", url, ref, f"{ref}^{{}}"]
    environment = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    rc, out, err = module.run_command(argv, environ_update=environment)
    commit = commit_in(out, ref)
    said = err.strip().splitlines()[-1:] or [f"no answer within {timeout} seconds" if rc == 124 else "there is none"]
    return {"commit": commit, "commit_problem": "" if commit else said[0]}


def model_problem(hub: str, model: str) -> str:
    """Return why a model cannot be tried, empty where it can."""
    try:
        if model:
            trial.cached(Path(hub), model)
    except (OSError, trial.TrialError) as error:
        return str(error)
    return ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "builds": {"type": "bool", "default": False},
            "dir": {"type": "path", "default": layout.folder(layout.IMAGE)},
            "url": {"type": "str", "default": ""},
            "ref": {"type": "str", "default": ""},
            "packages": {"type": "list", "elements": "str", "default": []},
            "meminfo": {"type": "path", "default": "/proc/meminfo"},
            "model": {"type": "str", "default": ""},
            "hub": {"type": "path", "default": "/root/.cache/huggingface/hub"},
            "timeout": {"type": "int", "default": 30},
            **SOCKET_OPTION,
        },
        supports_check_mode=True,
    )
    asked: dict[str, Any] = module.params
    root, images, problem = DOCKER_ROOT, [], ""
    try:
        docker = Docker(asked["docker_socket"])
        root = str(docker.info().get("DockerRootDir") or DOCKER_ROOT)
        images = built_images(docker)
    except DockerError as error:
        problem = str(error)
    found: dict[str, Any] = {"missing_packages": [], "unavailable_packages": [], "commit": "", "commit_problem": ""}
    if asked["builds"]:
        found = {
            **packages_of(module, asked["packages"]),
            **commit_of(module, asked["url"], asked["ref"], asked["timeout"]),
        }
    module.exit_json(
        changed=False,
        images=images,
        rooms={
            name: {"path": path, "filesystem": filesystem(path)}
            for name, path in (("docker", root), ("source", asked["dir"]))
        },
        memory=memory_in(Path(asked["meminfo"]).read_text(encoding="utf-8")),
        cores=os.cpu_count() or 1,
        state=unit.state_of(asked["dir"]),
        active=unit.is_active(lambda argv: module.run_command(list(argv)), layout.unit(layout.IMAGE)),
        foreign=unit.foreign(asked["dir"]),
        docker_problem=problem,
        model_problem=model_problem(asked["hub"], asked["model"]),
        **found,
    )


if __name__ == "__main__":
    main()
