# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read all that the doctor's checks need of a host, in one go and within a time.

This module util is private to the collection.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Mapping, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import service
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import (
    containers,
    gateways,
    models,
    network,
    serving,
    system,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import nccl_library
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import tcp_port
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import Found, UnreadError, every_part

#: where a model is served by default, and where its workers' sshd listens; the ports of NVIDIA's pages beside them
PORTS = (8355, 2233, 8356, serving.RAS_PORT)


class Asked(NamedTuple):
    """What is to be read, as the options of the module name it."""

    meminfo: str = "/proc/meminfo"
    cache_dir: str = "~/.cache/huggingface"
    reach: tuple[str, ...] = ()
    py_spy: bool = False
    seconds: float = 60.0
    cache_owner: str = ""


def read(asked: Asked) -> Found:
    """All parts that can be read, by name, and why the others cannot.

    Two rounds: what the second asks about, the first found.
    """
    docker = containers.engine()
    half = asked.seconds / 2
    first, unread = every_part(
        {
            "host": system.identity,
            "own_name": system.own_name,
            "clock": system.clock,
            "ssh_keys": system.ssh_keys,
            "remove_ipc": system.remove_ipc,
            "memory": lambda: system.memory(asked.meminfo),
            "gpu": system.gpu,
            "driver": system.driver,
            "dpkg": system.dpkg,
            "kernel_log": system.kernel_log,
            "firewall": system.firewall,
            "addresses": network.addresses,
            "links": network.links,
            "netplan": network.netplan,
            "measured": network.measured,
            "rollback_pending": network.rollback_pending,
            "cdi": network.cdi,
            "docker_service": containers.docker_service,
            "docker": lambda: containers.docker_info(service.awake(docker)),
            "containers": lambda: containers.containers(service.awake(docker)),
            "toolkit": containers.toolkit,
            "serving": serving.configured,
            "gateways": gateways.gateways,
            "models": lambda: _models(asked),
            **({"reach": lambda: system.reach(asked.reach)} if asked.reach else {}),
        },
        half,
    )
    parts = _second(asked, first, docker)
    second, further = every_part(parts, half)
    if "containers" in unread:  # then nobody asked for what goes by them
        further.update(dict.fromkeys(("logs", "nccl", "ranks", "validation"), unread["containers"]))
    return {**first, **second}, {**unread, **further}


def _second(asked: Asked, first: Mapping[str, Any], docker: Any) -> dict[str, Any]:
    info, listed = first.get("docker") or {}, first.get("containers") or []
    swarm_state = (info.get("swarm") or {}).get("state", "")
    serves = [one for one in listed if one["serves"]]
    running = [one for one in serves if one["state"] == "running"]
    paths = {"root": "/", "logs": "/var/log", "state": "/var/lib"}
    with suppress(UnreadError):  # which the models tell
        paths["cache"] = _cache(asked)
    if info.get("root"):
        paths["docker"] = info["root"]
    wanted = {*PORTS, *(port for one in first.get("serving") or [] for port in _ports(one))}
    names = {one["id"]: one["name"] for one in listed}
    parts: dict[str, Any] = {
        "card": lambda: network.card([link["rdma_device"] for link in first.get("links") or []]),
        "disks": lambda: system.disks(paths),
        "ports": lambda: system.ports(wanted, names),
        "daemon_json": lambda: containers.configuration(swarm_state),
        "ras": lambda: serving.ras(_listening()),
    }
    if "containers" in first:
        parts["validation"] = lambda: containers.trial_left(listed)
        parts["logs"] = lambda: containers.logs(docker, [one["name"] for one in serves])
        parts["ranks"] = lambda: _ranks(docker, running)
        parts["nccl"] = lambda: _nccl(docker, running)
        if asked.py_spy:
            parts["stacks"] = lambda: _stacks(docker, running)
    if (info.get("swarm") or {}).get("manager"):
        parts["swarm"] = lambda: containers.swarm(docker)
    return parts


def _ports(instance: Mapping[str, Any]) -> list[int]:
    port = str(instance["api_listen"]).rpartition(":")[2]
    return [int(one) for one in (port, instance["ssh_port"]) if str(one).isdigit() and int(one)]


def _listening() -> list[int]:
    tables = [Path("/proc/net", name) for name in ("tcp", "tcp6")]
    return [one.port for table in tables if table.exists() for one in tcp_port.listeners(system.text_of(table))]


def _whose(asked: Asked) -> str:
    """Whose cache it is: the named user's, or else that of who logged in, also where this runs as root."""
    return asked.cache_owner or system.login_user()


def _cache(asked: Asked) -> str:
    path = asked.cache_dir
    return system.home_of(_whose(asked)) + path[1:] if path.startswith("~/") else path


def _models(asked: Asked) -> list[dict[str, Any]]:
    root = Path(_cache(asked))
    return models.cached(root, _whose(asked)) if root.is_dir() else []


def _pids(docker: Any, running: list[dict[str, Any]]) -> dict[str, list[int]]:
    return {one["name"]: containers.processes_of(docker, one["id"]) for one in running}


def _ranks(docker: Any, running: list[dict[str, Any]]) -> dict[str, Any]:
    if not running:
        return {"seconds": 0.0, "processes": [], "gpu": []}
    return serving.ranks(_pids(docker, running))


def _nccl(docker: Any, running: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not running:
        return []
    containers.may_look_into_processes()
    pids = [pid for some in _pids(docker, running).values() for pid in some]
    return [dict(one) for one in nccl_library.of_processes(pids)]


def _stacks(docker: Any, running: list[dict[str, Any]]) -> dict[str, str]:
    if not running:
        return {}
    looked = serving.ranks(_pids(docker, running), seconds=0.1)["processes"]
    pids = [one["pid"] for one in looked if one["rank"] is not None or one["name"].startswith("python")]
    if not pids:
        raise UnreadError("no process of a serving container is a rank")
    return serving.stacks(pids)
