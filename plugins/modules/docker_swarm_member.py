#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_swarm_member
short_description: Make an engine a member of one certain swarm
version_added: 0.1.0
description:
  - Makes a swarm on the leader, joins a worker to it, or leaves it again, over the Docker Engine API.
  - >-
    Knows swarms by their ID, and refuses, with nothing changed, an engine that is in another swarm, or in the right one
    with another address, unless O(allow_rejoin=true). A swarm whose only manager was this very leader, which is in
    another by now, is left without asking: nothing of it is left.
  - >-
    Notes under C(/var/lib/dgx-spark/) that it makes or joins a swarm, before it does, so that what an interruption left
    half done is finished by the next run. O(state=left) leaves a swarm that is so noted, and no other; it also removes
    C(docker_gwbridge) if that came with the swarm.
  - >-
    Before an engine enters, its clock is compared with its leader's, its own name has to resolve, and the swarm's
    networks must not meet the host's.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
  - sparkops.dgx_spark.docker
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
  allow_rejoin:
    description: >-
      Whether an engine that is in another swarm, or in this one with another address, may leave it for this. A manager
      of a swarm with services may not.
    type: bool
    default: false
  address_later:
    description: >-
      In check mode, whether O(advertise_address) may be one that the host does not have yet, since another role of the
      same run gives it.
    type: bool
    default: false
  address_pool:
    description: >-
      With O(state=leader), the networks of the swarm's own are taken from this one. Empty for Docker's own choice, or,
      where that meets a network of this host or of O(avoid), for another.
    type: str
    default: ""
  avoid:
    description: With O(state=leader), networks of the other members that O(address_pool) is not to meet.
    type: list
    elements: str
    default: []
  swarm_networks:
    description: With O(state=worker), the swarm's own networks, as RV(swarm_networks) of the leader has them.
    type: list
    elements: str
    default: []
  leader_clock:
    description: With O(state=worker), RV(clock) of the leader. Without it clocks are not compared.
    type: float
  ending:
    description: With O(state=left), names of stacks whose services do not count, as they end before.
    type: list
    elements: str
    default: []
  join_token:
    description: The token that lets a worker join, see M(sparkops.dgx_spark.docker_swarm_token_info).
    type: str
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
step:
  description: What there was to do, V(stay), V(enter), V(rejoin), which is to leave another swarm first, or V(leave).
  returned: success
  type: str
  sample: enter
left:
  description: The swarm that it left for this, or would leave, in words. Null if there is none.
  returned: success
  type: str
  sample: "swarm dadft8njhucyzbb9bhznqo4ah (managers: 192.168.1.20:2377)"
hostname:
  description: Name of the host, by which Docker lists the node.
  returned: success
  type: str
  sample: spark1
networks:
  description: The IPv4 networks of the host, as its routes have them.
  returned: success
  type: list
  elements: str
  sample: [192.168.1.0/24]
swarm_networks:
  description: The IPv4 networks of the swarm's own, known to its managers alone.
  returned: success
  type: list
  elements: str
  sample: [10.0.0.0/24]
clock:
  description: The host's time, in seconds since 1970.
  returned: success
  type: float
  sample: 1795272000.0
"""

import contextlib
import socket
import time
from typing import Any, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    SOCKET_OPTION,
    STACK_LABEL,
    Docker,
    DockerError,
    reads_answers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import DaemonJsonError, parse
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.dockerd import live_restore, running
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.host_facts import DAEMON_JSON, read_daemon_json
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm import (
    PORT,
    Membership,
    SwarmError,
    clock_problem,
    collisions,
    explain_join,
    free_pool,
    leader_step,
    overlays,
    worker_step,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm_host import (
    RECORD,
    ROUTES,
    membership_of,
    own_address,
    recorded,
    resolves,
    settled_info,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import FileError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import remove_note, write_note
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.routes import (
    Route,
    RoutesError,
    read_routes,
)

BRIDGE = "docker_gwbridge"


def note() -> dict[str, Any]:
    """Return the note of how this host entered its swarm."""
    return recorded(RECORD)


@reads_answers
def state(info: dict[str, Any]) -> str:
    """Return the engine's own word for its place."""
    return info["Swarm"].get("LocalNodeState") or "inactive"


@reads_answers
def has_bridge(docker: Docker) -> bool:
    """Whether the network is there that an engine makes for its first swarm."""
    return any(network["Name"] == BRIDGE for network in docker.ask("GET", "/networks"))


def refuse_entry(asked: dict[str, Any], clock: float, routes: list[Route]) -> None:
    """Refuse a host that would be in trouble in the swarm."""
    problem = None if asked["leader_clock"] is None else clock_problem(clock, asked["leader_clock"])
    if problem:
        raise SwarmError(problem)
    if not resolves(socket.gethostname()):
        raise SwarmError(
            f"its own name, {socket.gethostname()!r}, does not resolve on it. Nothing was changed. Put it into "
            f"/etc/hosts (127.0.1.1 {socket.gethostname()})"
        )
    refuse_collisions([asked["address_pool"]] if asked["address_pool"] else [], routes)


@reads_answers
def refuse_leave(docker: Docker, here: Membership, ending: Sequence[str] = ()) -> None:
    """Refuse to take a manager from under its services.

    :param ending: names of stacks whose services do not count.
    """
    if not here.manager or here.pending:
        return
    specs = [one["Spec"] for one in docker.ask("GET", "/services")]
    services = sorted(one["Name"] for one in specs if (one.get("Labels") or {}).get(STACK_LABEL) not in ending)
    if services:
        raise SwarmError(
            f"services still run in the swarm: {', '.join(services)}. Nothing was changed. Remove them first "
            "(docker service rm, docker stack rm)"
        )


def pool_for(asked: dict[str, Any], networks: list[str]) -> dict[str, Any]:
    """Return the options for the swarm's own networks."""
    pool = asked["address_pool"] or free_pool([*networks, *asked["avoid"]])
    return {"DefaultAddrPool": [pool], "SubnetSize": 24} if pool else {}


def enter(docker: Docker, asked: dict[str, Any], address: str, networks: list[str]) -> None:
    """Make the swarm or join it."""
    bridge = note().get("bridge_was_there", has_bridge(docker))
    body: dict[str, Any] = {"ListenAddr": f"0.0.0.0:{PORT}", "AdvertiseAddr": address}
    if asked["state"] == "leader":
        body.update(pool_for(asked, networks), Spec={})
    elif not asked["join_token"]:
        raise SwarmError("there is no join_token to join the leader's swarm with")
    write_note(RECORD, {"entering": True, "bridge_was_there": bridge})
    if state(docker.info()) != "inactive":
        docker.ask("POST", "/swarm/leave?force=1")
    if asked["state"] == "leader":
        docker.ask("POST", "/swarm/init", body)
        return
    leader = f"{asked['leader_address']}:{PORT}"
    try:
        docker.ask("POST", "/swarm/join", {**body, "RemoteAddrs": [leader], "JoinToken": asked["join_token"]})
    except DockerError as exc:
        with contextlib.suppress(DockerError):  # it would go on trying in the background
            docker.ask("POST", "/swarm/leave?force=1")
        raise SwarmError(explain_join(str(exc), leader)) from None


def arrive(asked: dict[str, Any], here: Membership, address: str) -> None:
    """Check that the engine is where it should be, and complete the note of how it came there."""
    leader = asked["leader_address"]
    if asked["state"] == "worker" and worker_step(here, asked["cluster_id"], address, leader) != "stay":
        raise SwarmError(f"after joining it is in {here.in_words()}, and not in that of {leader}")
    noted = note()
    if noted.get("entering"):
        place = {"cluster_id": here.cluster_id, "node_id": here.node_id}
        write_note(RECORD, {**place, "bridge_was_there": noted["bridge_was_there"]})


def leave(docker: Docker, here: Membership, ending: Sequence[str], *, check: bool) -> bool:
    """Leave the swarm that was entered here, if the engine still is in it."""
    noted = note()
    ours = here.active and here.node_id == noted.get("node_id")
    half = bool(noted.get("entering"))
    if ours:
        refuse_leave(docker, here, ending)
    if not check and noted:
        if ours or (half and state(docker.info()) != "inactive"):
            docker.ask("POST", "/swarm/leave?force=1")
        gone = ours or half or not here.active  # perhaps left by hand
        if gone and not noted["bridge_was_there"] and has_bridge(docker):
            with contextlib.suppress(DockerError):  # something uses it by now
                docker.ask("DELETE", f"/networks/{BRIDGE}")
        remove_note(RECORD)
    return ours or bool(noted)


def refuse_live_restore(info: dict[str, Any]) -> None:
    """Refuse an engine that keeps containers alive without itself, and say where that is set."""
    if not info.get("LiveRestoreEnabled"):
        return
    path, config, unread = DAEMON_JSON, {}, ""
    try:
        daemon = read_daemon_json()
        path, config = daemon["path"], parse(daemon["text"])
    except (DaemonJsonError, FileError) as error:
        unread = str(error)
    where, mend = live_restore(path, config, running()["flags"], running_with=True, unread=unread)
    raise SwarmError(f"{where}, and Swarm does not work with it. Nothing was changed. {mend}")


def find_step(asked: dict[str, Any], info: dict[str, Any], here: Membership, address: str) -> str:
    """Return what there is to do on this host."""
    refuse_live_restore(info)
    if asked["state"] == "leader":
        return leader_step(here, address, allow_rejoin=asked["allow_rejoin"])
    return worker_step(
        here, asked["cluster_id"] or None, address, asked["leader_address"], allow_rejoin=asked["allow_rejoin"]
    )


def refuse_collisions(subnets: list[str], routes: list[Route]) -> None:
    """Refuse a swarm whose own networks meet those of the host."""
    met = collisions(subnets, routes)
    if met:
        raise SwarmError(
            f"networks of the swarm meet networks of this host: {'; '.join(met)}. Nothing was changed. Create the "
            "swarm anew with another pool (swarm_gpu_address_pool), or renumber the host's network"
        )


def result(step: str, here: Membership, address: str | None, networks: list[str], **more: Any) -> dict[str, Any]:
    """Return what the module returns."""
    return {
        "changed": step != "stay",
        "cluster_id": here.cluster_id,
        "node_id": here.node_id,
        "address": here.address or address,
        "step": step,
        "left": None,
        "hostname": socket.gethostname(),
        "networks": networks,
        "swarm_networks": [],
        "clock": time.time(),
        **more,
    }


def run_left(module: AnsibleModule, docker: Docker, networks: list[str]) -> dict[str, Any]:
    """Leave the swarm that this collection had the host enter."""
    here = membership_of(settled_info(docker), note())
    step = "leave" if leave(docker, here, module.params["ending"], check=module.check_mode) else "stay"
    if step != "stay" and not module.check_mode:
        here = membership_of(settled_info(docker), note())
    return result(step, here, None, networks)


def run_entry(module: AnsibleModule, docker: Docker, routes: list[Route], networks: list[str]) -> dict[str, Any]:
    """Make a swarm on the leader, or have a worker join."""
    asked, clock, check = module.params, time.time(), module.check_mode
    info = settled_info(docker)
    here = membership_of(info, note())
    address = own_address(asked["advertise_address"], later=asked["address_later"] and check)
    step, left, own = find_step(asked, info, here, address), None, []
    if step == "rejoin":
        left = here.in_words()
        refuse_leave(docker, here)
    if step != "stay":
        refuse_entry(asked, clock, routes)
    if asked["state"] == "leader" and here.manager and step == "stay":
        own = overlays(docker.ask("GET", "/networks"))
    refuse_collisions([*own, *asked["swarm_networks"]], routes)
    if check and step == "rejoin":
        return result(step, Membership(), address, networks, left=left, clock=clock)
    if not check:
        if step != "stay":
            enter(docker, asked, address, networks)
            here = membership_of(settled_info(docker), note())
        arrive(asked, here, address)
    return result(step, here, address, networks, left=left, swarm_networks=own, clock=clock)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["leader", "worker", "left"], "required": True},
            "advertise_address": {"type": "str"},
            "leader_address": {"type": "str"},
            "cluster_id": {"type": "str"},
            "allow_rejoin": {"type": "bool", "default": False},
            "address_later": {"type": "bool", "default": False},
            "address_pool": {"type": "str", "default": ""},
            "avoid": {"type": "list", "elements": "str", "default": []},
            "swarm_networks": {"type": "list", "elements": "str", "default": []},
            "leader_clock": {"type": "float"},
            "ending": {"type": "list", "elements": "str", "default": []},
            "join_token": {"type": "str", "no_log": True},
            **SOCKET_OPTION,
        },
        required_if=[
            ("state", "leader", ["advertise_address"]),
            ("state", "worker", ["advertise_address", "leader_address"]),
        ],
        supports_check_mode=True,
    )
    docker = Docker(module.params["docker_socket"])
    try:
        routes = read_routes(ROUTES)
        networks = list(dict.fromkeys(str(network) for network, _interface in routes))
        if module.params["state"] == "left":
            done = run_left(module, docker, networks)
        else:
            done = run_entry(module, docker, routes, networks)
    except (DockerError, FileError, RoutesError, SwarmError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
