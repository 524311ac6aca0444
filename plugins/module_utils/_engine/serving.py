# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is started and written on each Spark: the image, the stack, the unit, the container, the files. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import digest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.hostfile import Node
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.hostfile import render as render_hostfile
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import (
    BASE_LABEL,
    CONTEXT_LABEL,
    OPTIONS_LABEL,
    ROOTS,
    STACK_VERSION,
    layout,
)

UNKNOWN = "(known when the image is built)"
STOP_SECONDS = 40  # for a container, above limits.grace_s
MANAGED = "# Ansible managed\n"


@dataclass(frozen=True)
class Image:
    """What is built, and from what."""

    base: str  # NVIDIA's image, as it was asked for
    base_id: str  # empty where it is not on the leader
    context: Mapping[str, str] = field(default_factory=dict)  # the text of each file, by path
    id: str = ""  # empty where it is not built yet

    @property
    def context_digest(self) -> str:
        """12 hex digits over the files."""
        return digest(dict(self.context))

    def name(self, repository: str) -> str:
        """Named by what is in it."""
        return f"{repository}:{hashlib.sha256((self.context_digest + self.base_id).encode()).hexdigest()[:12]}"


def find_image(asked: Image, repository: str, built: Sequence[Mapping[str, Any]]) -> str:
    """The ID of the image that was built already, empty where there is none.

    Where the base is not there any more, as after ``docker image prune``, what was built from it will do.

    :param built: ``id``, ``tags`` and ``labels`` of each.
    """
    if asked.base_id:
        return next((one["id"] for one in built if asked.name(repository) in one["tags"]), "")
    wanted = {BASE_LABEL: asked.base, CONTEXT_LABEL: asked.context_digest}
    return next((one["id"] for one in built if wanted.items() <= (one.get("labels") or {}).items()), "")


@dataclass(frozen=True)
class Serving:
    """A planned serving, as far as it is equal on all Sparks."""

    engine: Mapping[str, Any]
    cluster: Mapping[str, Any]
    nodes: Mapping[str, Mapping[str, Any]]
    image_id: str  # UNKNOWN before the image is built
    repo_dirs: Mapping[str, str]  # by member, where the model is on its host
    gpu_kind: str = "gpu"
    launcher: str = "docker"
    meminfo_path: str = contract.MEMINFO
    drop_caches_path: str = ""  # empty where the caches must not be dropped
    instance: str = ""  # empty for the one without a name
    draft_dirs: Mapping[str, str] = field(default_factory=dict)  # as repo_dirs, of a model that guesses tokens

    @property
    def layout(self) -> dict[str, str]:
        """Paths and names."""
        return layout(self.engine["name"], self.instance)

    @property
    def members(self) -> list[str]:
        """The names, leader first."""
        return [node["name"] for node in self.cluster["nodes"]]

    @property
    def config_digest(self) -> str:
        """What a container of this configuration and this image says that it is."""
        if self.image_id == UNKNOWN:
            return UNKNOWN
        drafts = [dict(self.draft_dirs)] if self.draft_dirs else []
        parts = digest(self.cluster, self.nodes, self.engine.get("files", {}), dict(self.repo_dirs), *drafts)
        return f"{parts}-{self.image_id.rpartition(':')[2][:12]}"


def environment(serving: Serving) -> dict[str, str]:
    """The environment of every container. RDMA devices come by NVIDIA_MOFED, since Swarm ignores ``devices``."""
    return {
        contract.CONFIG_VARIABLE: serving.config_digest,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_MOFED": "enabled",
    }


def mounts(serving: Serving, member: str) -> list[dict[str, Any]]:
    """The mounts of a member's container; of the Hugging Face cache the directories of what it serves by alone.

    Where the caches differ, as with login users of other names, the source differs, and never the target.
    """
    places = serving.layout
    found: list[dict[str, Any]] = [
        {"type": "bind", "source": places["config_dir"], "target": contract.CONFIG_DIR, "read_only": True},
        {"type": "bind", "source": places["state_dir"], "target": contract.STATE_DIR},
        {"type": "bind", "source": serving.repo_dirs[member], "target": contract.MODEL_DIR, "read_only": True},
        {"type": "tmpfs", "target": contract.RUN_DIR},
        {"type": "tmpfs", "target": "/dev/shm"},
    ]
    if serving.draft_dirs:
        draft = {"type": "bind", "source": serving.draft_dirs[member], "target": contract.DRAFT_DIR, "read_only": True}
        found.insert(3, draft)
    if serving.meminfo_path != contract.MEMINFO:
        source = {"type": "bind", "source": serving.meminfo_path, "target": contract.MOUNTED_MEMINFO}
        found.append({**source, "read_only": True})
    if serving.drop_caches_path:  # below /proc itself it could be read only
        found.append({"type": "bind", "source": serving.drop_caches_path, "target": contract.DROP_CACHES})
    return found


HEALTHCHECK = {"test": ["CMD", "python3", contract.PROGRAM, "health"], "interval": "10s"}
LOG_OPTIONS = {"max-size": "50m", "max-file": "3"}
STACK_BYTES = 67108864  # ulimit


def _service(serving: Serving, role: str, member: str, deploy: Mapping[str, Any]) -> dict[str, Any]:
    gpu = {"discrete_resource_spec": {"kind": serving.gpu_kind, "value": 1}}
    return {
        "image": serving.image_id,
        "command": [role],
        "networks": ["host"],
        "environment": environment(serving),
        "ulimits": {"memlock": -1, "stack": STACK_BYTES},
        "cap_add": ["IPC_LOCK"],
        "stop_grace_period": f"{STOP_SECONDS}s",
        "volumes": mounts(serving, member),
        "healthcheck": HEALTHCHECK,
        "logging": {"driver": "local", "options": LOG_OPTIONS},
        "deploy": {**deploy, "resources": {"reservations": {"generic_resources": [gpu]}}},
    }


def stack(serving: Serving) -> dict[str, Any]:
    """The stack for Docker Swarm, as its file has it.

    A failed start shows in the leader's state, and must not leave an update half done: hence ``failure_action``.
    Each service carries a digest of the whole as a label, so that a stack that was not deployed as it is written, or
    only in part, can be recognised.
    """
    leader = {
        "replicas": 1,
        "placement": {"constraints": ["node.labels.dgx_spark.rank == 0"]},
        "restart_policy": {"condition": "on-failure", "delay": "5s"},
        "update_config": {"order": "stop-first", "failure_action": "continue"},
    }
    worker = {
        "replicas": len(serving.members) - 1,
        "placement": {"constraints": ["node.labels.dgx_spark.rank != 0"], "max_replicas_per_node": 1},
        "restart_policy": {"condition": "any", "delay": "2s"},
        "update_config": {"order": "stop-first", "parallelism": 0, "failure_action": "continue"},
    }
    services = {"leader": _service(serving, "leader", serving.members[0], leader)}
    if len(serving.members) > 1:
        services["worker"] = _service(serving, "worker", serving.members[1], worker)  # the others' path is the same
    whole = digest(services)
    for one in services.values():
        one["deploy"]["labels"] = {OPTIONS_LABEL: whole}
    return {"version": STACK_VERSION, "services": services, "networks": {"host": {"name": "host", "external": True}}}


def stack_file(serving: Serving) -> dict[str, Any]:
    """The stack in the words of its file, which are read twice: by Compose, to which ``$`` begins a variable, and what
    is in ``environment`` and ``volumes`` by Swarm, to which ``{{`` begins a template.
    """
    tree = stack(serving)
    for one in tree["services"].values():
        one["environment"] = _literal(one["environment"], ("{{", '{{"{{"}}'))
        one["volumes"] = _literal(one["volumes"], ("{{", '{{"{{"}}'))
    return dict(_literal(tree, ("$", "$$")))


def _literal(value: Any, escape: tuple[str, str]) -> Any:
    """The same with every string so that the string is left as it is."""
    if isinstance(value, dict):
        return {name: _literal(inner, escape) for name, inner in value.items()}
    if isinstance(value, list):
        return [_literal(inner, escape) for inner in value]
    return value.replace(*escape) if isinstance(value, str) else value


def stack_labels(serving: Serving) -> dict[str, str]:
    """The label of each service of the deployed stack, by the service's name."""
    name = serving.layout["name"]
    return {
        f"{name}_{service}": about["deploy"]["labels"][OPTIONS_LABEL]
        for service, about in stack(serving)["services"].items()
    }


def unit(serving: Serving) -> str:
    """The unit of systemd that keeps the container.

    It says nothing of the configuration, and so stays the same: for a unit that changed, systemd would have to read its
    units again, which takes the GPUs from running containers.
    """
    name = serving.layout["name"]
    return f"""{MANAGED}[Unit]
Description={serving.engine["title"]} in the container {name}
Requires=docker.service
After=docker.service network-online.target
Wants=network-online.target
# Only while it is enabled: from the last boot on, systemd knows a unit that was disabled since, or whose file undo has
# removed, and would start it with Docker.
ConditionPathExists={serving.layout["unit_link"]}
# The leader's program counts its starts too, and ends well when it gives up, so this is the last resort, and leaves \
a driver
# that is late at boot its time.
StartLimitIntervalSec=10min
StartLimitBurst=100

[Service]
ExecStart=/usr/bin/docker start --attach {name}
ExecStop=/usr/bin/docker stop {name}
# The container keeps its own log, rotated: docker logs {name}
StandardOutput=null
StandardError=null
Restart=on-failure
# 143 is an end that was asked for: by "systemctl stop", which is obeyed, or by "docker restart".
SuccessExitStatus=143
RestartForceExitStatus=143
RestartSec=5
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target docker.service
"""


def container(serving: Serving, member: str) -> dict[str, Any]:
    """The options of the container under systemd, for community.docker.docker_container."""
    options = {
        "name": serving.layout["name"],
        "image": serving.image_id,
        "command": ["leader" if member == serving.members[0] else "worker"],
        "runtime": "nvidia",
        "network_mode": "host",
        "env": environment(serving),
        "ulimits": ["memlock:-1:-1", f"stack:{STACK_BYTES}:{STACK_BYTES}"],
        "capabilities": ["IPC_LOCK"],
        "mounts": mounts(serving, member),
        "stop_timeout": STOP_SECONDS,
        "restart_policy": "no",  # systemd's unit does that
        "log_driver": "local",
        "log_options": LOG_OPTIONS,
        "healthcheck": HEALTHCHECK,
    }
    return {**options, "labels": {OPTIONS_LABEL: digest(options)}}


# --- the files of each host ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """A file as it is to be. :func:`as_option` makes it one of the module file_tree."""

    path: str
    content: str
    mode: str = "0644"


def as_option(file: File) -> dict[str, str]:
    """As the module file_tree takes it."""
    return {"path": file.path, "content": file.content, "mode": file.mode}


def directories(serving: Serving) -> list[dict[str, str]]:
    """The directories of a host, a parent before what is in it."""
    places = serving.layout
    paths = [ROOTS[0], places["config_dir"], ROOTS[1], places["state_dir"]]
    found = [{"path": path, "mode": "0755"} for path in paths]
    if len(serving.members) > 1:
        found.insert(2, {"path": f"{places['config_dir']}/ssh", "mode": "0700"})
    return found


def files(serving: Serving, member: str, public_keys: Mapping[str, str]) -> list[File]:
    """The configuration of a host: what is equal on all nodes, what differs on this node, and the trusted keys.

    :param public_keys: by member, empty for one that is yet to be created.
    """
    folder = serving.layout["config_dir"]
    found = [
        File(f"{folder}/{contract.CLUSTER}", _json(serving.cluster)),
        File(f"{folder}/{contract.NODE}", _json(serving.nodes[member])),
        *[File(f"{folder}/{name}", text) for name, text in serving.engine.get("files", {}).items()],
    ]
    if len(serving.members) > 1:
        found.append(trust(serving, member, public_keys))
    return found


def trust(serving: Serving, member: str, public_keys: Mapping[str, str]) -> File:
    """On the leader the pinned host keys of the workers; on a worker the leader's key, from its address alone."""
    folder, nodes = f"{serving.layout['config_dir']}/ssh", serving.cluster["nodes"]
    leader = nodes[0]
    if member == leader["name"]:
        port = serving.cluster["ssh_port"]
        lines = [f"[{node['address']}]:{port} {public_key(public_keys.get(node['name'], ''))}" for node in nodes[1:]]
        return File(f"{folder}/known_hosts", "".join(f"{line}\n" for line in lines), "0600")
    key = public_key(public_keys.get(leader["name"], ""))
    return File(f"{folder}/authorized_keys", f'restrict,from="{leader["address"]}" {key}\n', "0600")


def public_key(text: str) -> str:
    """A public key without its comment.

    >>> public_key("ssh-ed25519 AAAAC3 dgx-spark MPI spark1\\n"), public_key("")
    ('ssh-ed25519 AAAAC3', '(known when the key is created)')
    """
    return " ".join(text.split()[:2]) or "(known when the key is created)"


def key_path(serving: Serving, member: str) -> str:
    """The host key of a worker's sshd, or on the leader the key by which it gets into the workers."""
    name = "id_ed25519" if member == serving.members[0] else "ssh_host_ed25519_key"
    return f"{serving.layout['config_dir']}/ssh/{name}"


def hostfile_nodes(serving: Serving) -> list[dict[str, Any]]:
    """The nodes of the hostfile, by the short names that the leader's ssh knows."""
    return [{"address": contract.short(name), "slots": 1} for name in serving.members]


def hostfile(serving: Serving) -> str:
    """The hostfile as the module mpi_hostfile writes it on the leader."""
    nodes = [Node(one["address"], one["slots"]) for one in hostfile_nodes(serving)]
    return render_hostfile(nodes, first_is_here=True)


def _json(value: Any) -> str:
    return json.dumps(value, indent=4, sort_keys=True) + "\n"
