# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planning of Docker needs to know of a host: its GPUs, its engine, its toolkit. Nothing is changed.

This module util is private to the collection.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    Docker,
    reads_answers,
    store_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import DaemonJsonError, decode
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.dockerd import running
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.gpu_probe import (
    LABEL,
    SHELL,
    archive,
    fingerprint,
    interpreter,
    libraries,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.toolkit_config import string
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import read_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import (
    QUERY,
    NvidiaSmiError,
    read_answer,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

DAEMON_JSON = "/etc/docker/daemon.json"
RUNTIME = "nvidia-container-runtime"
ASK_GPUS = [f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]


def output(module: AnsibleModule, *argv: str) -> str:
    """Return what a program prints, nothing where it is missing."""
    tool = module.get_bin_path(argv[0], opt_dirs=["/usr/sbin", "/sbin"])
    return "" if tool is None else module.run_command([tool, *argv[1:]])[1]


def smi_path(module: AnsibleModule) -> str:
    """Return the path of nvidia-smi.

    :raises NvidiaSmiError: where it is missing.
    """
    tool = module.get_bin_path("nvidia-smi")
    if tool is None:
        raise NvidiaSmiError(
            "nvidia-smi is not installed, so this is no GPU host: install the NVIDIA driver with its utilities "
            "(nvidia-utils)"
        )
    return tool


def read_gpus(module: AnsibleModule) -> list[dict[str, Any]]:
    """Return the host's GPUs, as :func:`read_answer` does, and pass on what nvidia-smi warns of.

    :raises NvidiaSmiError: where nvidia-smi is missing, fails, or knows no GPU.
    """
    rc, out, err = module.run_command([smi_path(module), *ASK_GPUS])
    gpus, warnings = read_answer(rc, out, err)
    for warning in warnings:
        module.warn(f"{socket.gethostname()}: {warning}")
    return gpus


def read_daemon_json(path: str = DAEMON_JSON) -> dict[str, str]:
    """Return ``path`` of daemon.json, links resolved, and its ``text``, empty where there is no file.

    :raises DaemonJsonError: for text that is not UTF-8, and for a link to where no directory is.
    """
    real = Path(os.path.realpath(path))
    if Path(path).is_symlink() and not real.parent.is_dir():
        raise DaemonJsonError(
            f"{path} is a link to {real}, whose directory is not there: mount its disk, or remove the link"
        )
    try:
        return {"path": str(real), "text": decode(read_file(real) or b"")[1]}
    except DaemonJsonError as error:
        raise DaemonJsonError(f"{real}: {error}") from None


@reads_answers
def read_engine(docker: Docker, info: dict[str, Any]) -> dict[str, Any]:
    """Return what the engine runs with, and its running containers; those of Swarm's tasks are marked.

    Beside these stand dockerd's ``flags`` and whether its file was ``replaced``, as :func:`running` returns them.
    """
    keys = ("DefaultRuntime", "GenericResources", "LiveRestoreEnabled", "SecurityOptions", "ServerVersion")
    return {
        **running(),
        "info": {
            **{key: info.get(key) for key in keys},
            "Runtimes": {name: {} for name in info.get("Runtimes") or {}},
            "Swarm": {"LocalNodeState": (info.get("Swarm") or {}).get("LocalNodeState")},
            "store": store_of(info),
        },
        "containers": [{key: one.get(key) for key in ("Id", "Names", "Image", "Labels")} for one in docker.running()],
    }


def read_toolkit(module: AnsibleModule) -> dict[str, Any]:
    """Return the toolkit's ``version`` (None where it is missing), its ``mode`` and its ``swarm_resource``.

    :raises ToolkitConfigError: for a configuration that cannot be read.
    """
    if module.get_bin_path(RUNTIME) is None:
        return {"version": None, "mode": "auto", "swarm_resource": None}
    said = output(module, "nvidia-ctk", "--version")
    config = output(module, "nvidia-ctk", "config")
    return {
        "version": said.partition("version ")[2].split("\n")[0].strip() or None,
        "mode": string(config, "mode", RUNTIME) or "auto",
        "swarm_resource": string(config, "swarm-resource"),
    }


def root_archive(module: AnsibleModule) -> bytes:
    """Return a root file system with what nvidia-smi, and a shell, need of the host."""
    tool = smi_path(module)
    with Path(tool).open("rb") as stream:
        script = interpreter(stream.read(256))
    ldd = module.get_bin_path("ldd", required=True)
    # The NVIDIA runtime brings nvidia-smi itself.
    listed = [module.run_command([ldd, program], check_rc=True)[1] for program in (script or tool, SHELL)]
    return archive([*(path for out in listed for path in libraries(out)), *([script] if script else []), SHELL])


@reads_answers
def current_image(docker: Docker, name: str, root: bytes) -> str | None:
    """Return the ID of the image of this name if it was made of this root file system, else None."""
    found = docker.image(name) or {}
    labels = (found.get("Config") or {}).get("Labels") or {}
    return found["Id"] if labels.get(LABEL) == fingerprint(root) else None
