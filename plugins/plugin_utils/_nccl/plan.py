# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a measurement of NCCL: the image, and on each Spark a container as a serving's. Pure functions.

The containers are those of a serving in all that matters to NCCL: the same environment, network, limits and devices,
the same sshd on the workers, the same mpirun on the leader, with a program of nccl-tests in the place of the engine.

This plugin util is private to the collection.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import cluster, contract, serving
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.environment import COMMON, as_text
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._nccl import layout

PULL, BUILD = "Pull the base image", "Build the image of nccl-tests"
LOAD = "Load the image from the leader"  # made by the role peer_copy
#: the operations of nccl-tests that need two ranks or more, and have no root
OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "alltoall", "sendrecv")
#: of Open MPI and NCCL, that the plan sets by what it knows of each node
OWNED = ("NCCL_IB_GID_INDEX", "NCCL_IB_HCA", "NCCL_SOCKET_IFNAME", "NCCL_NET", "UCX_NET_DEVICES", "NCCL_DEBUG")
NAME_OF_VARIABLE = re.compile(r"(?:NCCL|UCX|OMPI|PRTE|PMIX|CUDA)_[A-Z0-9_]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
START_S = 120  # for the workers to let the leader in
BEYOND_S = 120  # for MPI's own start and end, beside what the operations may take
RESERVE_MIB = 2048  # beside the buffers: CUDA's and NCCL's own
BUFFERS = 3  # of the largest size: what is sent, what is received, and what is expected


@dataclass(frozen=True)
class Asked:
    """What a person asks for."""

    members: Sequence[str]  # leader first
    fabric: Mapping[str, Any]  # by member, as cx7_network plans it
    base_image: str
    context: Mapping[str, str]  # the text of each file that the image is built from, by path
    found: Mapping[str, Mapping[str, Any]]  # by member, as nccl_tests_info returns it
    operations: Sequence[str] = ("all_reduce", "all_gather", "sendrecv")
    min_bytes: int = 8
    max_bytes: int = 4 << 30
    factor: int = 2
    iterations: int = 20
    warmup: int = 5
    limit_s: int = 600  # of an operation
    environment: Mapping[str, Any] = field(default_factory=dict)
    ssh_port: int = 2234
    memlock: int = -1
    repository: str = ""
    commit: str = ""
    beside_serving: bool = False
    base_id: str = ""  # of the base image, where it was pulled since the Sparks were read
    public_keys: Mapping[str, str] = field(default_factory=dict)


def image_name(asked: Asked) -> str:
    """Named by what is in it: the base, the files, and the commit of nccl-tests."""
    base_id = asked.base_id or (asked.found[asked.members[0]]["docker"].get("base") or {}).get("id", "")
    whole = cluster.digest(dict(asked.context), asked.base_image, asked.repository, asked.commit)
    return f"{layout.REPOSITORY}:{hashlib.sha256((whole + base_id).encode()).hexdigest()[:12]}"


def image_id(asked: Asked) -> str:
    """The ID of the image that is there already, empty where it is yet to be built.

    Where the base is not there any more, as after ``docker image prune``, what was built from it will do.
    """
    docker = asked.found[asked.members[0]]["docker"]
    labels = {layout.BASE_LABEL: asked.base_image, layout.CONTEXT_LABEL: context_digest(asked)}
    for one in docker.get("built", []):
        same = labels.items() <= (one.get("labels") or {}).items()
        if image_name(asked) in one.get("tags", []) or (same and not docker.get("base")):
            return str(one["id"])
    return ""


def context_digest(asked: Asked) -> str:
    """Of all that the image is made of, but its base."""
    return cluster.digest(dict(asked.context), asked.repository, asked.commit)


def build_options(asked: Asked) -> list[str]:
    """The options of ``docker build``, with the engine's own proxies, which its programs would go without."""
    values = {
        "BASE": asked.base_image,
        "BASE_NAME": asked.base_image,
        "CONTEXT": context_digest(asked),
        "REPOSITORY": asked.repository,
        "COMMIT": asked.commit,
        **asked.found[asked.members[0]]["docker"].get("build_proxies", {}),
    }
    arguments = [f"--build-arg={name}={value}" for name, value in values.items()]
    return ["--network=host", f"--tag={image_name(asked)}", *arguments]


def refuse(asked: Asked) -> None:
    """Refuse what cannot be measured. :raises ServeError: with the mend."""
    wrong = list(_wrong(asked))
    if wrong:
        raise ServeError("; ".join(wrong))


def _wrong(asked: Asked) -> list[str]:
    if len(asked.members) < 2:
        return [
            "NCCL is measured between Sparks, and there is one: give the inventory of all of them (nccl_tests_members)"
        ]
    return [*_wrong_sizes(asked), *_wrong_environment(asked.environment), *_wrong_hosts(asked)]


def _wrong_sizes(asked: Asked) -> list[str]:
    unknown = [name for name in asked.operations if name not in OPERATIONS]
    found = []
    if unknown or not asked.operations:
        found.append(f"nccl_tests_operations names {', '.join(unknown) or 'none'}: choose of {', '.join(OPERATIONS)}")
    if not 0 < asked.min_bytes <= asked.max_bytes:
        found.append(
            f"the sizes go from {asked.min_bytes} to {asked.max_bytes} bytes: give nccl_tests_min_bytes a value from 1 "
            "to nccl_tests_max_bytes"
        )
    if asked.factor < 2:
        found.append(f"nccl_tests_factor is {asked.factor}, by which sizes do not grow: give 2 or more")
    if asked.iterations < 1 or asked.warmup < 0:
        found.append("nccl_tests_iterations is at least 1, and nccl_tests_warmup at least 0")
    if not COMMIT.fullmatch(asked.commit):
        found.append(
            f"nccl_tests_commit is {asked.commit!r}: give the 40 hexadecimal digits of a commit, since a tag or a "
            "branch may be another tomorrow"
        )
    return found


def _wrong_environment(environment: Mapping[str, Any]) -> list[str]:
    found = []
    for name in environment:
        if str(name) in OWNED:
            found.append(f"nccl_tests_environment: {name} is set by the role, for each node its own: leave it out")
        elif not NAME_OF_VARIABLE.fullmatch(str(name)):
            found.append(f"nccl_tests_environment: {name} is none of NCCL's, UCX's, CUDA's or MPI's: leave it out")
    return found


def _wrong_hosts(asked: Asked) -> list[str]:
    need = (BUFFERS * asked.max_bytes >> 20) + RESERVE_MIB
    found = []
    for name in asked.members:
        one = asked.found[name]
        if one["docker"].get("problem"):
            found.append(f"Docker on {name} does not tell what it has: {one['docker']['problem']}")
        elif not one["docker"].get("runtime", True):
            found.append(f"Docker on {name} has no runtime of NVIDIA's: run the role container_toolkit there first")
        if one["serving"] and not asked.beside_serving:
            found.append(
                f"on {name} the container {', '.join(one['serving'])} serves, which would slow the measurement down "
                "and may lose its memory to it: stop it first (playbooks/stop.yml), or consent with "
                "nccl_tests_beside_serving: true"
            )
        free = one["memory_available_mib"]
        if 0 < free < need:
            most = max(0, free - RESERVE_MIB) // BUFFERS
            found.append(
                f"{name} has {free} MiB of memory available, and {need} are needed for sizes up to "
                f"{asked.max_bytes >> 20} MiB: end what takes the memory, or set nccl_tests_max_bytes to "
                f"{most << 20} at most"
            )
    return found


def serving_of(asked: Asked) -> serving.Serving:
    """A serving as far as NCCL is concerned, with an engine that never starts.

    RDMA is not required of the ranks, so that a fallback to TCP is measured and named, and ends no rank.

    :raises ServeError: when the fabric does not reach all members.
    """
    engine = {
        "name": "trtllm",
        "title": "nccl-tests",
        "settings": {"name": "trtllm"},  # whose ranks are MPI's, too
        "serve": [],
        "environment": {**COMMON, **as_text(asked.environment)},
    }
    limits = {
        "require_rdma": False,
        "memlock_bytes": asked.memlock,
        "memory_floor_mib": 0,
        "memory_load_floor_mib": 0,
        "grace_s": 10,
    }
    config, nodes = cluster.plan(
        cluster.Request(
            members=asked.members, engine=engine, fabric=asked.fabric, ssh_port=asked.ssh_port, limits=limits
        )
    )
    return serving.Serving(
        engine=engine,
        cluster=config,
        nodes=nodes,
        image_id=image_id(asked) or image_name(asked),
        repo_dirs=dict.fromkeys(asked.members, "/"),
    )


def limit_s(asked: Asked) -> int:
    """Seconds after which all containers end by themselves, whatever becomes of the play."""
    return START_S + BEYOND_S + asked.limit_s * len(asked.operations)


def run_argv(asked: Asked, one: serving.Serving, member: str) -> list[str]:
    """The arguments of ``docker run`` that start a member's container: the serving's, without a model."""
    options = serving.container(one, member)
    program = "/opt/dgx-spark/nccl_tests.py"
    leads = member == asked.members[0]
    words = [program] if leads else [contract.PROGRAM, "worker"]
    mounts = [mount for mount in options["mounts"] if mount["target"] != contract.MODEL_DIR]
    places = {contract.CONFIG_DIR: layout.CONFIG, contract.STATE_DIR: layout.STATE}
    return [
        "--detach",
        "--pull=never",
        f"--name={layout.NAME}",
        f"--label=dgx-spark.{layout.LABEL}={'leader' if leads else 'worker'}",
        f"--network={options['network_mode']}",
        f"--runtime={options['runtime']}",
        *[f"--ulimit={_ulimit(text)}" for text in options["ulimits"]],
        *[f"--cap-add={name}" for name in options["capabilities"]],
        *[
            f"--mount={_mount({**mount, 'source': places.get(mount['target'], mount.get('source', ''))})}"
            for mount in mounts
        ],
        *[f"--env={name}={value}" for name, value in sorted(options["env"].items())],
        "--log-driver=local",
        "--log-opt=max-size=20m",
        "--entrypoint=bash",  # since the image tells nobody else where TensorRT's libraries are
        options["image"],
        *("-c", 'exec "$@"', "--"),
        *("timeout", "--kill-after=10", str(limit_s(asked))),
        "python3",
        *words,
    ]


def _ulimit(text: str) -> str:
    name, soft, hard = text.split(":")
    return f"{name}={soft}:{hard}"


def _mount(mount: Mapping[str, Any]) -> str:
    words = [f"type={mount['type']}"]
    words += [f"source={mount['source']}"] if mount["type"] == "bind" else []
    return ",".join([*words, f"target={mount['target']}", *(["readonly"] if mount.get("read_only") else [])])


def files(asked: Asked, one: serving.Serving, member: str) -> list[dict[str, str]]:
    """The files of a member's measurement, as the module file_tree takes them."""
    leads = member == asked.members[0]
    found = [
        _file(f"{layout.CONFIG}/{contract.CLUSTER}", _json(one.cluster)),
        _file(f"{layout.CONFIG}/{contract.NODE}", _json(one.nodes[member])),
    ]
    trust = serving.trust(one, member, asked.public_keys)
    name = trust.path.rpartition("/")[2]
    found.append(_file(f"{layout.CONFIG}/ssh/{name}", trust.content, "0600"))
    if leads:
        found.append(_file(f"{layout.CONFIG}/{layout.ASKED}", _json(program(asked))))
    return found


def program(asked: Asked) -> dict[str, Any]:
    """What the leader's program is told."""
    return {
        "operations": list(asked.operations),
        "arguments": [
            *("-b", str(asked.min_bytes), "-e", str(asked.max_bytes), "-f", str(asked.factor)),
            *("-g", "1", "-c", "1", "-n", str(asked.iterations), "-w", str(asked.warmup)),
        ],
        "limit_s": asked.limit_s,
        "start_s": START_S,
    }


def _file(path: str, content: str, mode: str = "0644") -> dict[str, str]:
    return {"path": path, "content": content, "mode": mode}


def _json(value: Any) -> str:
    return json.dumps(value, indent=4, sort_keys=True) + "\n"


def key(asked: Asked, member: str) -> str:
    """Where a member's key is: the leader's own, by which it gets into the workers, and their host keys."""
    name = "id_ed25519" if member == asked.members[0] else "ssh_host_ed25519_key"
    return f"{layout.CONFIG}/ssh/{name}"


DIRECTORIES = tuple(
    {"path": path, "mode": mode}
    for path, mode in (
        (layout.FOLDER, "0755"),
        (layout.CONFIG, "0755"),
        (f"{layout.CONFIG}/ssh", "0700"),
        (layout.STATE, "0755"),
    )
)


def changes(asked: Asked) -> dict[str, list[dict[str, Any]]]:
    """By member what is to be done: the image, and nothing else that stays."""
    built, leader = image_id(asked), asked.members[0]
    docker = asked.found[leader]["docker"]
    own = []
    if not built:
        own += [] if docker.get("base") else [{"name": PULL, "diff": _line(asked.base_image)}]
        own.append({"name": BUILD, "diff": _line(image_name(asked))})
    lacking = {
        name: [{"name": LOAD, "diff": _line(image_name(asked))}]
        for name in asked.members[1:]
        if not built or built not in asked.found[name]["docker"]["images"]
    }
    return {leader: own, **{name: lacking.get(name, []) for name in asked.members[1:]}}


def _line(text: str) -> dict[str, str]:
    return {"before": "", "after": f"{text}\n"}


def links_of(asked: Asked) -> dict[str, list[dict[str, Any]]]:
    """By the short name of each member its planned links, with MTU and carrier as they were read."""
    return {
        contract.short(name): [
            {
                "netdev": netdev,
                "rdma_device": device,
                **{"mtu": 0, "carrier": True, **(asked.found[name].get("links") or {}).get(netdev, {})},
            }
            for netdev, device in dict.fromkeys(
                (link["netdev"], link["rdma_device"]) for link in asked.fabric.get(name, {}).get("links", [])
            )
        ]
        for name in asked.members
    }


def planned(asked: Asked) -> dict[str, Any]:
    """The plan. :raises ServeError: when it cannot be."""
    refuse(asked)
    one = serving_of(asked)
    return {
        "changes": changes(asked),
        "base_image": asked.base_image,
        "image": {
            "name": image_name(asked),
            "id": image_id(asked),
            "context": context_digest(asked),
            "build": build_options(asked),
            "files": [{"path": path, "content": text} for path, text in sorted(asked.context.items())],
        },
        "operations": list(asked.operations),
        "nodes": [contract.short(name) for name in asked.members],
        "links": links_of(asked),
        "limit_s": limit_s(asked),
        "virtual": any(asked.found[name].get("virtual") for name in asked.members),
        "hostfile_nodes": serving.hostfile_nodes(one),
        "hosts": {
            name: {
                "directories": [dict(each) for each in DIRECTORIES],
                "key": key(asked, name),
                "files": files(asked, one, name),
                "run": run_argv(asked, one, name),
            }
            for name in asked.members
        },
    }


__all__ = ["BUILD", "LOAD", "OPERATIONS", "PULL", "Asked", "ServeError", "planned"]
