# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a host its Docker: the engine, its Swarm, and the containers in which models are served, ours and others'.

Of a container's environment only the names are told, and the values of the few variables in :data:`VALUES`.

This module util is private to the collection.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import (
    daemon_json,
    dockerd,
    service,
    toolkit_config,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET,
    Docker,
    DockerError,
    store_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import address_of, tasks_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.system import is_root, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import BASE_LABEL
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.state import failing, unstartable
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trial import LABEL as TRIAL_LABEL
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trial import NAME as TRIAL_NAME
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError, run, tool

DAEMON_JSON = "/etc/docker/daemon.json"
TOOLKIT_CONFIG = "/etc/nvidia-container-runtime/config.toml"
ANSWER_S = 10.0
LOG_LINES = 600
RECENT_S = 600  #: in which a task that was refused counts
MOST = 8  #: containers that are looked into
#: an image or a name that says that models are served
ENGINES = re.compile(r"tensorrt[-_]?llm|trtllm|vllm|sglang|llama[._-]?cpp|ollama|\bnim\b", re.IGNORECASE)
#: what only talks to one, though its name may have one's
CLIENTS = re.compile(r"open-?webui", re.IGNORECASE)
#: variables of a container whose values are told: none of them is a secret
VALUES = frozenset(
    {
        "GLOO_SOCKET_IFNAME",
        "HF_HUB_OFFLINE",
        "NCCL_DEBUG",
        "NCCL_IB_DISABLE",
        "NCCL_IB_GID_INDEX",
        "NCCL_IB_HCA",
        "NCCL_NET",
        "NCCL_SOCKET_IFNAME",
        "NVIDIA_MOFED",
        "SGLANG_HOST_IP",
        "TP_SOCKET_IFNAME",
        "UCX_NET_DEVICES",
        "VLLM_HOST_IP",
    }
)


UNIT = {"load": "LoadState", "active": "ActiveState", "sub": "SubState", "result": "Result", "file": "UnitFileState"}


def unit(name: str) -> dict[str, str]:
    """What systemd says of a unit: ``load``, ``active``, ``sub``, ``result`` and ``file``."""
    code, said = run(["systemctl", "show", name, *[f"--property={key}" for key in UNIT.values()]])
    if code:
        said = " ".join(said.split())[:100] or f"exit status {code}"
        raise UnreadError(f"systemctl does not tell of {name} ({said})")
    shown = dict(line.partition("=")[::2] for line in said.splitlines() if "=" in line)
    return {name: shown.get(key, "") for name, key in UNIT.items()}


def engine(path: str = SOCKET) -> Docker:
    """The Docker to ask, with little patience."""
    return Docker(path, timeout=ANSWER_S)


def asked(docker: Docker, target: str) -> Any:
    """An answer. :raises UnreadError: where there is none, with the mend where this user may not ask."""
    try:
        return docker.ask("GET", target)
    except DockerError as error:
        denied = "ermission denied" in str(error)
        hint = ": run this with become, or as a member of the group docker" if denied else ""
        raise UnreadError(f"Docker does not tell ({str(error)[:150]}){hint}" if hint else str(error)) from None


def docker_service() -> dict[str, Any]:
    """Whether Docker is ``installed``, its ``unit`` and whether it ``rests``, or why that is not told (``problem``)."""
    if tool("dockerd") is None and tool("docker") is None:
        return {"installed": False, "unit": {}, "rests": False, "problem": ""}
    try:
        found = unit(service.UNIT)
    except UnreadError as error:
        return {"installed": True, "unit": {}, "rests": False, "problem": str(error)}
    return {"installed": True, "unit": found, "rests": found["active"] in service.RESTS, "problem": ""}


def docker_info(docker: Docker) -> dict[str, Any]:
    """What the engine says of itself, as far as a check reads it."""
    info = asked(docker, "/info")
    swarm = info.get("Swarm") or {}
    return {
        "version": str(info.get("ServerVersion") or ""),
        "root": str(info.get("DockerRootDir") or "/var/lib/docker"),
        "store": store_of(info),
        "default_runtime": str(info.get("DefaultRuntime") or ""),
        "runtimes": sorted(info.get("Runtimes") or {}),
        "live_restore": bool(info.get("LiveRestoreEnabled")),
        "resources": resources_of(info.get("GenericResources")),
        "swarm": {
            "state": swarm.get("LocalNodeState") or "inactive",
            "error": str(swarm.get("Error") or ""),
            "address": str(swarm.get("NodeAddr") or ""),
            "manager": bool(swarm.get("ControlAvailable")),
            "managers": sorted(str(one.get("Addr")) for one in swarm.get("RemoteManagers") or []),
        },
    }


def resources_of(listed: Any) -> list[str]:
    """Generic resources as ``kind=value``.

    >>> resources_of([{"NamedResourceSpec": {"Kind": "gpu", "Value": "GPU-1"}}]), resources_of(None)
    (['gpu=GPU-1'], [])
    """
    named = [one.get("NamedResourceSpec") or one.get("DiscreteResourceSpec") or {} for one in listed or []]
    return sorted(f"{one['Kind']}={one['Value']}" for one in named if "Kind" in one)


def configuration(swarm_state: str = "", path: str = DAEMON_JSON) -> dict[str, Any]:
    """What daemon.json says of what a check reads, and what is wrong with it.

    :param swarm_state: the engine's own word, empty where it does not answer.
    """
    text = text_of(path)
    try:
        config = daemon_json.parse(text) if text else {}
    except daemon_json.DaemonJsonError as error:
        return {"problems": [redact.text(str(error))], "resources": [], "default_runtime": ""}
    resources = config.get(daemon_json.RESOURCES)
    return {
        "problems": [
            redact.text(one) for one in dockerd.start_problems(config, dockerd.running()["flags"], swarm_state)
        ],
        "resources": sorted(map(str, resources)) if isinstance(resources, list) else [],
        "default_runtime": str(config.get("default-runtime") or ""),
    }


def toolkit(path: str = TOOLKIT_CONFIG) -> dict[str, Any]:
    """Whether the NVIDIA Container Toolkit is ``installed``, and its ``swarm_resource``."""
    try:
        resource = toolkit_config.string(text_of(path), "swarm-resource")
    except toolkit_config.ToolkitConfigError as error:
        raise UnreadError(f"{path}: {error}") from None
    return {"installed": tool("nvidia-container-runtime") is not None, "swarm_resource": resource or ""}


def serves(listed: Mapping[str, Any]) -> str:
    """Whose engine a container of ``/containers/json`` is: ``ours``, ``other``, or empty for none.

    >>> serves({"Labels": {"dgx-spark.base": "x"}, "Image": "a"}), serves({"Image": "vllm/vllm-openai:v0.28.0"})
    ('ours', 'other')
    >>> serves({"Image": "postgres", "Names": ["/db"], "Labels": None})
    ''
    """
    labels = listed.get("Labels") or {}
    if TRIAL_LABEL in labels:
        return ""
    if BASE_LABEL in labels:
        return "ours"
    names = [str(listed.get("Image") or ""), *(listed.get("Names") or [])]
    return "other" if any(map(ENGINES.search, names)) and not any(map(CLIENTS.search, names)) else ""


def containers(docker: Docker) -> list[dict[str, Any]]:
    """All containers, and of those that serve what keeps a rank from its fabric."""
    found, looked = [], 0
    for one in asked(docker, "/containers/json?all=1"):
        whose = serves(one)
        about = {
            "id": one["Id"],
            "name": (one.get("Names") or [one["Id"][:12]])[0].lstrip("/"),
            "image": str(one.get("Image") or ""),
            "image_id": str(one.get("ImageID") or ""),
            "state": str(one.get("State") or ""),
            "status": str(one.get("Status") or ""),
            "serves": whose,
            "more": {},
        }
        if whose and looked < MOST:
            looked += 1
            about["more"] = inside(asked(docker, f"/containers/{one['Id']}/json"))
        found.append(about)
    return found


def inside(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a container was started with, of ``/containers/ID/json``."""
    host, config, state = told.get("HostConfig") or {}, told.get("Config") or {}, told.get("State") or {}
    words = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    pairs = [str(one).partition("=")[::2] for one in config.get("Env") or []]
    limits = {one.get("Name"): one.get("Soft") for one in host.get("Ulimits") or []}
    places = [str(one.get("PathOnHost")) for one in host.get("Devices") or []]
    places += [str(one.get("Source")) for one in told.get("Mounts") or []]
    return {
        "network": str(host.get("NetworkMode") or ""),
        "ipc": str(host.get("IpcMode") or ""),
        "privileged": bool(host.get("Privileged")),
        "user": str(config.get("User") or ""),
        "memlock": limits.get("memlock"),
        "infiniband": any(place.startswith("/dev/infiniband") for place in places),
        "variables": {name: value[:200] for name, value in pairs if name in VALUES},
        "secrets": sorted(name for name, value in pairs if value and redact.is_secret(name)),
        "restarts": int(told.get("RestartCount") or 0),
        "exit": int(state.get("ExitCode") or 0),
        "oom_killed": bool(state.get("OOMKilled")),
        "started_at": str(state.get("StartedAt") or ""),
        "command": [word[:200] for word in redact.value([str(word) for word in words])],
    }


def logs(docker: Docker, names: Sequence[str]) -> dict[str, list[str]]:
    """The last lines of each container, without secrets.

    :param names: names or IDs.
    """
    found = {}
    for name in names[:MOST]:
        try:
            lines = docker.log(name, LOG_LINES)
        except DockerError as error:
            raise UnreadError(f"the log of {name} cannot be read: {error}") from None
        found[name] = redact.text("\n".join(line[:1000] for line in lines)).splitlines()
    return found


def swarm(docker: Docker, now: float | None = None) -> dict[str, Any]:
    """On a manager the ``nodes`` of the swarm, the tasks that cannot start or do not stay up (``stuck``), and what
    services reserve.
    """
    nodes, tasks, services = (asked(docker, f"/{what}") for what in ("nodes", "tasks", "services"))
    moment = time.time() if now is None else now
    names = {str((one.get("Spec") or {}).get("Name") or "") for one in services}
    stacks = sorted({name.rpartition("_")[0] for name in names if "_" in name})
    by_stack = [tasks_of(stack, tasks, services, nodes) for stack in stacks]
    stuck = [words for some in by_stack for words in unstartable(some, moment - RECENT_S, moment)]
    stuck += [words for some in by_stack for words in failing(some, moment - RECENT_S)]
    reserved = ("Spec", "TaskTemplate", "Resources", "Reservations", "GenericResources")
    kinds = {one.partition("=")[0] for service in services for one in resources_of(_within(service, *reserved))}
    return {
        "nodes": [
            {
                "hostname": str((one.get("Description") or {}).get("Hostname") or ""),
                "state": str(one["Status"].get("State") or ""),
                "availability": str(one["Spec"].get("Availability") or ""),
                "address": str(address_of(one) or ""),
                "resources": resources_of(_within(one, "Description", "Resources", "GenericResources")),
            }
            for one in nodes
        ],
        "stuck": [redact.text(words) for words in stuck],
        "reserved": sorted(kinds),
    }


def _within(told: Any, *keys: str) -> Any:
    """What lies at a path of keys, None where a part of it is not there."""
    for key in keys:
        told = (told or {}).get(key)
    return told


def trial_left(listed: Sequence[Mapping[str, Any]], folder: Path = Path("/run/dgx-spark-validate")) -> dict[str, bool]:
    """Whether the container or the directory of an interrupted validation is left, and whether it runs still."""
    here = [one for one in listed if one["name"] == TRIAL_NAME]
    running = any(one["state"] == "running" for one in here)
    return {"there": bool(here) or folder.exists(), "running": running}


def processes_of(docker: Docker, container: str) -> list[int]:
    """The processes of a container, as the host numbers them."""
    top = asked(docker, f"/containers/{container}/top")
    column = top["Titles"].index("PID")
    return [int(row[column]) for row in top["Processes"] or []]


def may_look_into_processes() -> None:
    """:raises UnreadError: where this user may not see what processes of others do."""
    if not is_root():
        raise UnreadError("what the processes of containers do may be read by root alone: run this with become")
