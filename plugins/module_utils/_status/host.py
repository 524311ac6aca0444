# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read from a Spark what is told of it: its instances, containers, units, memory, GPU and links. It changes nothing.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import STACK_LABEL, Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import tasks_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.times import seconds_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, history, host, instances
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import BASE_LABEL, ROOTS
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.state import unstartable
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric import rdma_counters
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ibdev2netdev import describe_links, read_sysfs

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
SERVICE_LABEL = "com.docker.swarm.service.name"
UNIT_PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "UnitFileState"),
    "ActiveEnterTimestampMonotonic",
)
#: of a link, what is told of it
LINK = ("netdev", "rdma_device", "physical_port", "state", "admin_up", "carrier", "speed_mbps", "mtu")
HISTORY = ("at", "repo", "commit", "outcome", "why")  #: of an entry; the options may be long, and nobody asks for them
TASKS_SINCE_S = 600.0  #: what a Swarm refused longer ago is over


# --- the machine -----------------------------------------------------------------------------------------------------


def memory_of(meminfo: str) -> dict[str, int | None]:
    """MiB of a meminfo: ``total_mib``, ``available_mib``, ``swap_used_mib``; None for what it does not tell.

    >>> memory_of("MemTotal: 4096 kB\\nMemAvailable:  2048 kB\\n")
    {'total_mib': 4, 'available_mib': 2, 'swap_used_mib': None}
    """
    lines = re.findall(r"^(\w+):\s+(\d{1,15}) kB$", meminfo, re.MULTILINE | re.ASCII)
    mib = {name: int(kib) // 1024 for name, kib in lines}
    swap = mib["SwapTotal"] - mib["SwapFree"] if {"SwapTotal", "SwapFree"} <= set(mib) else None
    return {"total_mib": mib.get("MemTotal"), "available_mib": mib.get("MemAvailable"), "swap_used_mib": swap}


def machine(meminfo: str) -> dict[str, Any]:
    """The host's name, how long it is up, its kernel and its memory. :param meminfo: the file that tells the memory."""
    up = Path("/proc/uptime").read_text(encoding="utf-8").split()[0]
    text = Path(meminfo).read_text(encoding="utf-8", errors="replace")
    about = os.uname()
    return {"hostname": about.nodename, "kernel": about.release, "up_s": float(up), "memory": memory_of(text)}


# --- the links of the fabric -----------------------------------------------------------------------------------------


def rate(before: int, after: int, seconds: float) -> float | None:
    """Bytes a second, None where a counter has begun anew. :param seconds: between the two.

    >>> rate(100, 300, 0.5), rate(300, 100, 0.5), rate(1, 1, 0)
    (400.0, None, None)
    """
    return (after - before) / seconds if seconds > 0 and after >= before else None


def links_of(sysfs: str, interval: float, pause: Callable[[float], None] = time.sleep) -> list[dict[str, Any]]:
    """The links of all RDMA devices, with what each port carries: two looks at its counters, an interval apart."""
    described = describe_links(read_sysfs(sysfs), sysfs, {})
    root = Path(sysfs, "class", "infiniband")
    ports = [root / link["rdma_device"] / "ports" / str(link["port"]) for link in described]
    first = [(time.monotonic(), _counters(port)) for port in ports]
    if ports:
        pause(interval)
    found = []
    for link, port, (then, before) in zip(described, ports, first):
        after, passed = _counters(port), time.monotonic() - then
        rates = {
            name: rate(before[f"{name}_bytes"], after[f"{name}_bytes"], passed) if before and after else None
            for name in ("sent", "received")
        }
        found.append(
            {
                **{name: link[name] for name in LINK},
                "sent_bytes_s": rates["sent"],
                "received_bytes_s": rates["received"],
            }
        )
    return found


def _counters(port: Path) -> dict[str, int]:
    try:
        return rdma_counters.read_port(port)
    except rdma_counters.CountersError:
        return {}


# --- the files of the instances --------------------------------------------------------------------------------------


def configured(etc: Path = Path(ROOTS[0]), lib: Path = Path(ROOTS[1])) -> list[dict[str, Any]]:
    """The instances that are configured here: of each what :func:`instances.facts_of` returns, and ``cluster``,
    ``node``, ``state``, ``cluster_digest``, ``commit``, ``draft_commit`` and ``problem``.

    :param etc: of configurations. :param lib: of states.
    """
    return [_instance(path.parent, lib / path.parent.name) for path in sorted(etc.glob(f"*/{contract.CLUSTER}"))]


def _entry(one: history.Entry) -> dict[str, Any]:
    return {name: one[name] for name in HISTORY}  # type: ignore[literal-required]


def _instance(folder: Path, state_dir: Path) -> dict[str, Any]:
    problem, texts = "", []
    for path in (folder / contract.CLUSTER, folder / contract.NODE, state_dir / contract.STATE):
        try:
            texts.append(host.json_object(path))
        except OSError as error:
            problem = f"{path} cannot be read: {error.strerror}"
            texts.append({})
    try:
        known = history.read(folder)
    except OSError as error:
        problem, known = problem or f"{folder / history.FILE} cannot be read: {error.strerror}", []
    cluster, node, state = texts
    before = history.previous(known)
    commands = [str(word) for word in cluster.get("serve", [])] if isinstance(cluster.get("serve"), list) else []
    return {
        **instances.facts_of(folder.name, cluster, node, state, host.launcher_in(folder, node)),
        # The environment may hold secrets, and nobody asks for it here.
        "cluster": {name: cluster.get(name) for name in ("nodes", "netdevs", "api_probe", "limits")},
        "node": {name: node.get(name) for name in ("name", "rank", "address", "rdma_devices")},
        "state": state,
        "history": [_entry(one) for one in known],
        "previous": _entry(before) if before else None,
        "cluster_digest": _digest(folder / contract.CLUSTER),
        "commit": commit_in(commands, contract.MODEL_DIR),
        "draft_commit": commit_in(_lines(folder / "llm.yml"), contract.DRAFT_DIR),
        "problem": problem,
    }


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def commit_in(words: Iterable[str], place: str) -> str | None:
    """The commit of the snapshot below a directory that one of the words names.

    >>> commit_in(["serve", "/models/snapshots/0123abc", "--port"], "/models"), commit_in(["serve"], "/models")
    ('0123abc', None)
    """
    for word in words:
        match = re.search(rf"{re.escape(place)}/snapshots/([0-9A-Za-z]+)", word)
        if match:
            return match[1]
    return None


# --- systemd ---------------------------------------------------------------------------------------------------------


def units_of(run: Run, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What systemd says of units, by name; those that it does not know are left out."""
    if not names:
        return {}
    code, out, err = run(["systemctl", "show", f"--property={','.join(UNIT_PROPERTIES)}", *names])
    if code:
        raise OSError(f"systemctl failed (exit status {code}): {' '.join(err.split())[:200] or 'it said nothing'}")
    return parse_units(out, time.monotonic())


def parse_units(text: str, now: float) -> dict[str, dict[str, Any]]:
    """Read ``systemctl show`` of several units. :param now: seconds on the clock that systemd counts by.

    >>> parse_units("Id=a.service\\nLoadState=loaded\\nNRestarts=2\\n", 9.0)["a.service"]["restarts"]
    2
    """
    found: dict[str, dict[str, Any]] = {}
    for block in re.split(r"\n\s*\n", text.strip()):
        said = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if not said.get("Id") or said.get("LoadState") != "loaded":
            continue
        entered, restarts = _whole(said.get("ActiveEnterTimestampMonotonic")), _whole(said.get("NRestarts"))
        active = said.get("ActiveState", "")
        found[said["Id"]] = {
            "active": active,
            "sub": said.get("SubState", ""),
            "result": said.get("Result", ""),
            "enabled": said.get("UnitFileState", ""),
            "restarts": restarts,
            "age_s": max(0.0, now - entered / 1e6) if entered and active == "active" else None,
        }
    return found


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text) else None


# --- Docker ----------------------------------------------------------------------------------------------------------


def container_of(one: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a container. :param one: as Docker inspects it."""
    state, config = one["State"], one.get("Config") or {}
    named = dict(text.partition("=")[::2] for text in config.get("Env") or [])
    mounts = {mount.get("Destination"): mount.get("Source") for mount in one.get("Mounts") or []}
    return {
        "id": str(one["Id"])[:12],
        "name": str(one.get("Name", "")).lstrip("/"),
        "service": (config.get("Labels") or {}).get(SERVICE_LABEL, ""),
        "state": state.get("Status", ""),
        "health": (state.get("Health") or {}).get("Status", ""),
        "started_at": seconds_of(state.get("StartedAt")),
        "finished_at": seconds_of(state.get("FinishedAt")),
        "exit_status": state.get("ExitCode"),
        "oom_killed": bool(state.get("OOMKilled")),
        "error": state.get("Error", ""),
        "image_id": one.get("Image", ""),
        "config": named.get(contract.CONFIG_VARIABLE, ""),
        "repo": repo_of(mounts.get(contract.MODEL_DIR)),
        "draft_repo": repo_of(mounts.get(contract.DRAFT_DIR)),
    }


def repo_of(path: object) -> str | None:
    """The repository that a directory of the Hugging Face cache is of.

    >>> repo_of("/root/.cache/huggingface/hub/models--openai--gpt-oss-20b"), repo_of("/data"), repo_of(None)
    ('openai/gpt-oss-20b', None, None)
    """
    match = re.fullmatch(r"models--(.+?)--(.+)", Path(path).name) if isinstance(path, str) else None
    return f"{match[1]}/{match[2]}" if match else None


def docker_of(docker: Docker, names: Sequence[str], now: float) -> dict[str, Any]:
    """What Docker has: ``version``, the ``swarm``, ``images`` by ID, and by instance the ``containers``, newest first.

    :param names: of the instances' containers, which are those of their stacks too. :param now: in seconds.
    """
    info = docker.info()
    swarm = info.get("Swarm") or {}
    listed = docker.ask("GET", "/containers/json?all=1") if names else []
    containers: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for one in listed:
        label = (one.get("Labels") or {}).get(STACK_LABEL)
        name = next((name for name in names if f"/{name}" in one["Names"] or label == name), None)
        if name:
            inspected = _or_gone(docker, f"/containers/{one['Id']}/json")
            containers[name] += [container_of(inspected)] if inspected else []
    for some in containers.values():
        some.sort(key=lambda one: (one["state"] == "running", one["started_at"] or 0), reverse=True)
    used = {one["image_id"] for some in containers.values() for one in some[:1]}
    manager = bool(swarm.get("ControlAvailable"))
    return {
        "version": info.get("ServerVersion", ""),
        "containers": containers,
        "images": {image: image_of(docker, image) for image in sorted(used)},
        "swarm": {
            "state": swarm.get("LocalNodeState", ""),
            "error": swarm.get("Error", ""),
            "manager": manager,
            "nodes": [node_of(node) for node in docker.ask("GET", "/nodes")] if manager else [],
            "refused": _refused(docker, names, now) if manager and names else {},
        },
    }


def _or_gone(docker: Docker, target: str) -> dict[str, Any] | None:
    try:
        return docker.ask("GET", target)
    except DockerError as error:
        if error.status != 404:
            raise
        return None  # it ended and was removed just now


def image_of(docker: Docker, image: str) -> dict[str, Any]:
    """An image with the one that it was built from: ``name``, ``id``, ``digest``, ``base`` and ``base_digest``."""
    found = docker.image(image) if image else None
    if not found:
        return {"name": "", "id": image, "digest": "", "base": "", "base_digest": ""}
    base = str(((found.get("Config") or {}).get("Labels") or {}).get(BASE_LABEL, ""))
    return {
        "name": next(iter(found.get("RepoTags") or []), ""),
        "id": str(found["Id"]),
        "digest": _digest_of(found),
        "base": base,
        "base_digest": _digest_of(docker.image(base) or {}) if base else "",
    }


def _digest_of(image: Mapping[str, Any]) -> str:
    return str(next(iter(image.get("RepoDigests") or []), "")).rpartition("@")[2]


def node_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node as the Swarm's manager sees it."""
    status, spec = node.get("Status") or {}, node.get("Spec") or {}
    rank = str((spec.get("Labels") or {}).get("dgx_spark.rank", ""))
    return {
        "hostname": (node.get("Description") or {}).get("Hostname", ""),
        "state": status.get("State", ""),
        "message": status.get("Message", ""),
        "availability": spec.get("Availability", ""),
        "leader": bool((node.get("ManagerStatus") or {}).get("Leader")),
        "rank": int(rank) if rank.isdecimal() and len(rank) < 6 else None,
    }


def _refused(docker: Docker, names: Sequence[str], now: float) -> dict[str, list[str]]:
    """What the Swarm cannot start, by instance, in its words."""
    listed = [docker.ask("GET", f"/{what}") for what in ("tasks", "services", "nodes")]
    return {name: unstartable(tasks_of(name, *listed), now - TASKS_SINCE_S, now) for name in names}
