# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With ufw on, what answers whom: knocked at from a host of the management network, and from the other Spark."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import Any, Iterator

import pytest

from .conftest import SPARKS, Pair, Run, stocked, taken_down

pytestmark = pytest.mark.matrix

OPEN = {"engine_serve_api_host": "0.0.0.0"}
SSH, MPI, API, MANAGERS, GOSSIP, OVERLAY = 22, 2233, 8355, 2377, 7946, 4789
OTHERS = {80, 111, 443, 2375, 2376, 5000, 8000, 8080, 9000}  # nobody listens there, or nobody should
KNOCK = """
import concurrent.futures, errno, json, socket, sys

def knock(port):
    with socket.socket() as probe:
        probe.settimeout(3)
        said = probe.connect_ex((sys.argv[1], port))
    return {0: "open", errno.ECONNREFUSED: "closed"}.get(said, "silent")

ports = json.loads(sys.argv[2])
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps(dict(zip(ports, pool.map(knock, ports)))))
"""
SEND = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', (sys.argv[1], int(sys.argv[2])))"


def inside(lab: Pair, host: str, *command: str) -> str:
    return subprocess.run(
        ["docker", "exec", f"{lab.name}-{host}", *command], check=True, capture_output=True, text=True
    ).stdout


def management(lab: Pair, name: str) -> str:
    return lab.hosts(name)["spark"]["hosts"][name]["ansible_host"]


def listening(lab: Pair, name: str) -> set[int]:
    """The TCP ports that something on the Spark listens on, at whatever address."""
    lines = inside(lab, name, "ss", "--no-header", "--numeric", "--tcp", "--listening").splitlines()
    return {int(line.split()[3].rsplit(":", 1)[1]) for line in lines}


def passed(lab: Pair, source: str, target: str, address: str) -> dict[int, str]:
    """What answers, open or closed, at an address of the Spark ``target``; the firewall lets through all of it."""
    ports = sorted({SSH, MPI, API, MANAGERS, GOSSIP, OVERLAY} | OTHERS | listening(lab, target))
    said = json.loads(inside(lab, source, "python3", "-c", KNOCK, address, json.dumps(ports)))
    return {int(port): word for port, word in said.items() if word != "silent"}


def let_in(lab: Pair, source: str, target: str, port: int) -> bool:
    """Whether the firewall of ``target`` counts a datagram to a port of it as let in."""

    def count() -> int:
        lines = inside(lab, target, "iptables", "-nvxL", "ufw-user-input").splitlines()
        return sum(int(line.split()[0]) for line in lines if f"udp dpt:{port}" in line)

    before = count()
    inside(lab, source, "python3", "-c", SEND, management(lab, target), str(port))
    return count() > before


def fabric(run: Run) -> dict[str, list[str]]:
    """The addresses on the cable, by Spark; the control address first."""
    hosts = run.registered("cx7_network_plan")["spark1"]["hosts"]
    return {name: [link["address"].split("/")[0] for link in host["links"]] for name, host in hosts.items()}


def route(lab: Pair, *words: str) -> None:
    """Change the routes of the host on the management network, which may not do so itself."""
    name = f"{lab.name}-internet"
    image = subprocess.check_output(["docker", "inspect", "--format", "{{.Config.Image}}", name], text=True).strip()
    run = ["docker", "run", "--rm", "--cap-add", "NET_ADMIN", "--network", f"container:{name}", "--entrypoint", "ip"]
    subprocess.run([*run, image, "route", *words], check=True)


@contextlib.contextmanager
def routed(lab: Pair, address: str, via: str) -> Iterator[None]:
    """Have the host on the management network send to an address by way of a Spark."""
    route(lab, "add", address, "via", via)
    try:
        yield
    finally:
        route(lab, "del", address)


def rules(lab: Pair) -> dict[str, str]:
    return {name: inside(lab, name, "sha256sum", "/etc/ufw/user.rules", "/etc/ufw/user6.rules") for name in SPARKS}


def undo(lab: Pair, role: str, **variables: Any) -> Run:
    include = {"name": f"sparkops.dgx_spark.{role}", "tasks_from": "undo"}
    tasks = [{"name": "Undo it", "ansible.builtin.include_role": include}]
    play = {"hosts": "spark", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}
    members = {f"{role}_members": "{{ groups['spark'] }}"}
    return lab.play([play], **(members if role != "cx7_network" else {}), **variables)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two blank Sparks whose owner has turned on ufw, with ssh let in."""
    lab = stocked(tmp_path_factory.mktemp("guarded"))
    for name in SPARKS:
        inside(lab, name, "ufw", "allow", "22/tcp")
        inside(lab, name, "ufw", "--force", "enable")
    yield lab
    taken_down(lab)


@pytest.fixture(scope="module")
def untouched(guarded: Pair) -> dict[str, str]:
    """The rules before anything of ours."""
    return rules(guarded)


@pytest.fixture(scope="module")
def served(guarded: Pair, untouched: dict[str, str]) -> Run:
    run = guarded.serve(**OPEN)
    assert run.status == "successful", run.said
    return run


def test_a_dry_run_refuses_nothing_and_changes_nothing(guarded: Pair, untouched: dict[str, str]) -> None:
    run = guarded.serve(check=True, **OPEN)
    assert run.status == "successful", run.said
    assert rules(guarded) == untouched


def test_from_the_management_network_ssh_and_the_api_answer(guarded: Pair, served: Run) -> None:
    assert passed(guarded, "internet", "spark1", management(guarded, "spark1")) == {SSH: "open", API: "open"}
    assert passed(guarded, "internet", "spark2", management(guarded, "spark2")) == {SSH: "open"}
    for name in SPARKS:
        assert [let_in(guarded, "internet", name, port) for port in (GOSSIP, OVERLAY)] == [False, False]


def test_from_the_management_network_the_fabric_does_not_answer(guarded: Pair, served: Run) -> None:
    for name, addresses in fabric(served).items():
        for address in addresses:
            with routed(guarded, address, management(guarded, name)):
                assert passed(guarded, "internet", name, address) == {}, address


def test_from_a_peer_the_swarm_answers_too(guarded: Pair, served: Run) -> None:
    swarm = {SSH: "open", MANAGERS: "open", GOSSIP: "open"}
    assert passed(guarded, "spark2", "spark1", management(guarded, "spark1")) == {**swarm, API: "open"}
    assert passed(guarded, "spark1", "spark2", management(guarded, "spark2")) == {**swarm, MANAGERS: "closed"}
    assert let_in(guarded, "spark2", "spark1", OVERLAY)
    assert let_in(guarded, "spark1", "spark2", OVERLAY)


def test_from_a_peer_mpi_s_sshd_answers_at_the_control_address(guarded: Pair, served: Run) -> None:
    control, *rest = fabric(served)["spark2"]
    assert passed(guarded, "spark1", "spark2", control)[MPI] == "open"
    assert [passed(guarded, "spark1", "spark2", address)[MPI] for address in rest] == ["closed"]
    assert MPI not in passed(guarded, "spark1", "spark2", management(guarded, "spark2"))


@pytest.mark.parametrize("check", [True, False], ids=["a dry run", "a run"])
def test_a_second_run_changes_nothing(guarded: Pair, served: Run, check: bool) -> None:
    again = guarded.serve(check=check, **OPEN)
    assert again.status == "successful", again.said
    assert again.changed == {}, again.made()


def test_other_sources_take_the_old_rule_away(guarded: Pair, served: Run) -> None:
    run = guarded.serve(engine_serve_api_sources=[guarded.internet], **OPEN)
    assert run.status == "successful", run.said
    assert run.changed == {"spark1": 1}
    shown = inside(guarded, "spark1", "ufw", "show", "added").splitlines()
    api = [line for line in shown if "DGX Spark serving" in line]
    assert api == [f"ufw allow from {guarded.internet} to any port {API} proto tcp comment 'DGX Spark serving'"]
    assert passed(guarded, "internet", "spark1", management(guarded, "spark1"))[API] == "open"
    assert API not in passed(guarded, "spark2", "spark1", management(guarded, "spark1"))


def test_who_leaves_the_swarm_is_not_let_in_any_more(guarded: Pair, served: Run) -> None:
    assert undo(guarded, "trtllm_serve").status == "successful"
    left = undo(guarded, "swarm_gpu", swarm_gpu_leaving=["spark2"])
    assert left.status == "successful", left.said
    assert passed(guarded, "spark2", "spark1", management(guarded, "spark1")) == {SSH: "open"}
    assert inside(guarded, "spark1", "docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "active"


def test_undo_restores_the_rules_byte_for_byte(guarded: Pair, untouched: dict[str, str], served: Run) -> None:
    assert rules(guarded) != untouched
    for role, ours in (("trtllm_serve", "serving"), ("swarm_gpu", "Swarm"), ("cx7_network", "fabric")):
        run = undo(guarded, role)
        assert run.status == "successful", run.said
        assert [name for name in SPARKS if f"DGX Spark {ours}" in inside(guarded, name, "ufw", "show", "added")] == []
    assert rules(guarded) == untouched
