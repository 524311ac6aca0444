#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_swarm_member
short_description: Make an engine a member of one certain swarm
version_added: "0.1.0"
description:
  - Makes a swarm on the leader, joins a worker to it, or leaves it again, over the Docker Engine API.
  - >-
    Knows swarms by their ID, and refuses, with nothing changed, an engine that is in another swarm, or in the right one
    with another address.
  - >-
    Notes under C(/var/lib/dgx-spark/) that it made or joined a swarm. O(state=left) leaves a swarm that is so noted,
    and no other; it also removes C(docker_gwbridge) if that came with the swarm.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state:
    description: V(leader) makes a swarm and manages it, V(worker) joins that of the leader, V(left) leaves it.
    type: str
    choices: [leader, worker, left]
    required: true
  advertise_address:
    description:
      - The address at which the other members reach this one, an IPv4 address of this host or a name for it.
      - Required unless O(state=left).
    type: str
  leader_address:
    description: The address that the leader advertises. Required if O(state=worker).
    type: str
  cluster_id:
    description:
      - ID of the leader's swarm, as this module returns it there. Used with O(state=worker).
      - Empty where the leader is in none yet, as in check mode; an engine that is in one is then in another.
    type: str
  join_token:
    description: The token that lets a worker join, see M(sparkops.dgx_spark.docker_swarm_token_info).
    type: str
  docker_socket:
    description: Where the engine listens.
    type: path
    default: /var/run/docker.sock
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Make a swarm
  sparkops.dgx_spark.docker_swarm_member:
    state: leader
    advertise_address: 192.168.1.21

- name: Join it
  sparkops.dgx_spark.docker_swarm_member:
    state: worker
    advertise_address: 192.168.1.22
    leader_address: 192.168.1.21
    cluster_id: qo4yqvzdbq1rmyfaohwq1n1zz
    join_token: "{{ hostvars['spark1'].token.worker }}"
"""

RETURN = r"""
cluster_id:
  description: ID of the swarm, null if the engine is in none.
  returned: success
  type: str
  sample: qo4yqvzdbq1rmyfaohwq1n1zz
node_id:
  description: The engine's node in it, null if it is in none.
  returned: success
  type: str
  sample: v7zy1pzz7yxxzn5k3afs3i4s9
address:
  description: The address that it advertises, or would.
  returned: success
  type: str
  sample: 192.168.1.21
"""

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker_api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._originals import write_atomically
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._swarm import (
    PORT,
    Membership,
    SwarmError,
    explain_join,
    membership,
    must_initialise,
    must_join,
    settled,
    usable_address,
)

RECORD = "/var/lib/dgx-spark/swarm.json"
BRIDGE = "docker_gwbridge"


def look(docker: Docker) -> tuple[dict[str, Any], Membership]:
    """Return what the engine says of itself and of its place, once it knows it."""
    deadline = time.monotonic() + 30
    while not settled(info := docker.info()) and time.monotonic() < deadline:
        time.sleep(1)
    certificate = Path(info.get("DockerRootDir", "/var/lib/docker"), "swarm", "certificates", "swarm-node.crt")
    try:
        pem = certificate.read_text(encoding="ascii", errors="replace")
    except OSError:
        pem = ""
    return info, membership(info, pem)


def own_address(text: str) -> str:
    """Return the IPv4 address that a name means here, if it is one of this host."""
    try:
        found = socket.getaddrinfo(text, None, socket.AF_INET, socket.SOCK_DGRAM)[0][4][0]
    except OSError as exc:
        raise SwarmError(f"advertise address {text!r} means nothing here ({exc}): give an IPv4 address") from None
    address = usable_address(text, str(found))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            raise SwarmError(
                f"advertise address {address} is not an address of this host: give one that is, and that the other "
                "members reach (of the role: swarm_gpu_advertise_address)"
            ) from None
    return address


def has_bridge(docker: Docker) -> bool:
    """Whether the network is there that an engine makes for its first swarm."""
    return any(network["Name"] == BRIDGE for network in docker.ask("GET", "/networks"))


def recorded() -> dict[str, Any]:
    """Return what is noted of the swarm that this module entered."""
    try:
        return json.loads(Path(RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def enter(docker: Docker, wish: dict[str, Any], address: str) -> None:
    """Make the swarm or join it."""
    bridge = recorded().get("bridge_was_there", has_bridge(docker))
    body = {"ListenAddr": f"0.0.0.0:{PORT}", "AdvertiseAddr": address}
    if wish["state"] == "leader":
        docker.ask("POST", "/swarm/init", {**body, "Spec": {}})
    else:
        leader = f"{wish['leader_address']}:{PORT}"
        if not wish["join_token"]:
            raise SwarmError("there is no join_token to join the leader's swarm with")
        try:
            docker.ask("POST", "/swarm/join", {**body, "RemoteAddrs": [leader], "JoinToken": wish["join_token"]})
        except DockerError as exc:
            with contextlib.suppress(DockerError):  # it would go on trying in the background
                docker.ask("POST", "/swarm/leave?force=1")
            raise SwarmError(explain_join(str(exc), leader)) from None
    here = look(docker)[1]
    record = {"cluster_id": here.cluster_id, "node_id": here.node_id, "bridge_was_there": bridge}
    Path(RECORD).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_atomically(Path(RECORD), (json.dumps(record, indent=2) + "\n").encode(), 0o600)


def leave(docker: Docker, here: Membership, *, check: bool) -> bool:
    """Leave the swarm that was entered here, if the engine still is in it."""
    record = recorded()
    ours = here.active and here.node_id == record.get("node_id")
    if ours and here.manager:
        services = sorted(one["Spec"]["Name"] for one in docker.ask("GET", "/services"))
        if services:
            raise SwarmError(
                f"services still run in the swarm: {', '.join(services)}. Nothing was changed. Remove them first "
                "(docker service rm, docker stack rm)"
            )
    if not check and record:
        if ours:
            docker.ask("POST", "/swarm/leave?force=1")
        gone = ours or not here.active  # perhaps left by hand
        if gone and not record["bridge_was_there"] and has_bridge(docker):
            with contextlib.suppress(DockerError):  # somebody uses it by now
                docker.ask("DELETE", f"/networks/{BRIDGE}")
        Path(RECORD).unlink()
    return ours or bool(record)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["leader", "worker", "left"], "required": True},
            "advertise_address": {"type": "str"},
            "leader_address": {"type": "str"},
            "cluster_id": {"type": "str"},
            "join_token": {"type": "str", "no_log": True},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        required_if=[
            ("state", "leader", ["advertise_address"]),
            ("state", "worker", ["advertise_address", "leader_address"]),
        ],
        supports_check_mode=True,
    )
    wish = module.params
    docker = Docker(wish["docker_socket"])
    address = None
    try:
        info, here = look(docker)
        if wish["state"] == "left":
            changed = leave(docker, here, check=module.check_mode)
        else:
            address = own_address(wish["advertise_address"])
            if info.get("LiveRestoreEnabled"):
                raise SwarmError(
                    "'live-restore: true' is set in Docker's daemon.json, and Swarm does not work with it. Nothing was "
                    "changed. Take it out, restart Docker, and run this again"
                )
            if wish["state"] == "leader":
                changed = must_initialise(here, address)
            else:
                changed = must_join(here, wish["cluster_id"] or None, address, wish["leader_address"])
            if changed and not module.check_mode:
                enter(docker, wish, address)
        if changed and not module.check_mode:
            here = look(docker)[1]
            if wish["state"] == "worker":
                must_join(here, wish["cluster_id"], address, wish["leader_address"])
    except (SwarmError, DockerError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=changed, cluster_id=here.cluster_id, node_id=here.node_id, address=here.address or address)


if __name__ == "__main__":
    main()
