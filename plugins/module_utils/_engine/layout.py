# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a serving is on a host, and what its parts are called.

This module util is private to the collection.
"""

from __future__ import annotations

import re

ROOTS = ("/etc/dgx-spark", "/var/lib/dgx-spark")
#: what Ansible's Docker modules need: to create containers and to remove images, and on the leader to deploy a stack
WORKER_PACKAGES = ("python3-requests",)
PACKAGES = ("python3-jsondiff", *WORKER_PACKAGES, "python3-yaml")
#: of the firewall's rules, those of an instance with its name behind it
COMMENT = "DGX Spark serving"
#: labels of built images, of services and of containers
BASE_LABEL, CONTEXT_LABEL, OPTIONS_LABEL = "dgx-spark.base", "dgx-spark.context", "dgx-spark.options"
#: an instance's name: it becomes part of names in Docker, systemd and paths
INSTANCE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,14}[a-z0-9])?")
RESERVED = "image"  # the directory of a build ends with it
#: behind the name of a container of systemd's: the one that is made while another serves, and the one that served
NEXT_SUFFIX, KEPT_SUFFIX = ".next", ".kept"
#: of the format of stack files; files that are laid over one another have to share it
STACK_VERSION = "3.8"


def instance_problem(name: str) -> str:
    """Say why an instance cannot have this name, or nothing. The empty one is the instance without a name.

    >>> instance_problem("vlm"), instance_problem("")
    ('', '')
    >>> instance_problem("My VLM")
    "the instance's name is 'My VLM': give up to 16 lower-case letters, digits and dashes, such as vlm (spark_instance)"
    """
    wrong = name and (not INSTANCE.fullmatch(name) or name == RESERVED or name.endswith(f"-{RESERVED}"))
    mend = "give up to 16 lower-case letters, digits and dashes, such as vlm (spark_instance)"
    return f"the instance's name is {name!r}: {mend}" if wrong else ""


def layout(engine: str, instance: str = "") -> dict[str, str]:
    """Paths and names of a serving by an engine, such as ``trtllm``; of one of several, by the instance's name.

    The image is built for the engine: all its instances share that.

    >>> layout("trtllm")["config_dir"], layout("trtllm")["name"]
    ('/etc/dgx-spark/trtllm', 'dgx-spark-trtllm')
    >>> layout("trtllm", "vlm")["state_dir"], layout("trtllm", "vlm")["unit"]
    ('/var/lib/dgx-spark/trtllm-vlm', 'dgx-spark-trtllm-vlm.service')
    """
    own = f"{engine}-{instance}" if instance else engine
    name, config_dir = f"dgx-spark-{own}", f"{ROOTS[0]}/{own}"
    return {
        "engine": engine,
        "instance": instance,
        "name": name,  # of the container, its unit and the stack
        "config_dir": config_dir,
        "state_dir": f"{ROOTS[1]}/{own}",
        "build_dir": f"{ROOTS[1]}/{own}-image",
        "comment": f"{COMMENT} {instance}" if instance else COMMENT,
        "stack": f"{config_dir}/stack.yml",
        "unit": f"{name}.service",
        "unit_file": f"/etc/systemd/system/{name}.service",
        "unit_link": f"/etc/systemd/system/docker.service.wants/{name}.service",
        "label": f"dgx-spark={engine}-serve",  # of the images that were built
        "repository": f"dgx-spark/{engine}-serve",
    }
