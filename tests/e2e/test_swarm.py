# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles container_toolkit and swarm_gpu on three virtual Sparks: all that can be in their way, and their undo.

It takes long: run by `make test-all`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from typing import Any, Iterator

import pytest
import yaml

from .conftest import Lab, Run, at_task, eventually

pytestmark = pytest.mark.matrix

TOOLKIT, ROLE = "sparkops.dgx_spark.container_toolkit", "sparkops.dgx_spark.swarm_gpu"
# The order in which Docker is restarted once for both roles.
TOGETHER = [(TOOLKIT, "plan"), (ROLE, "plan"), (TOOLKIT, "configure"), (ROLE, "apply"), (TOOLKIT, "verify")]
AS_PLANNED = "not ansible_check_mode or container_toolkit_plan.changes.values() | flatten | length == 0"
PAIR, TRIO = ["spark1", "spark2"], ["spark1", "spark2", "spark3"]
# Files that programs of the host rewrite by themselves.
OWN_BUSINESS = ("/etc/group-", "/etc/gshadow-", "/etc/ld.so.cache", "/etc/resolv.conf", "/etc/mtab")


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three blank Sparks."""
    name = f"swm-{secrets.token_hex(3)}"
    one = Lab(tmp_path_factory.mktemp("swarm"), name=name, variables={"virtual_spark_count": 3})
    one.come()
    yield one
    if not os.environ.get("E2E_KEEP"):
        down = one.play("lab/playbooks/down.yml")
        assert down.status == "successful", down.said
        shutil.rmtree(one.scratch)


def root(lab: Lab, spark: str, script: str) -> str:
    """What a script prints that runs as root in a Spark, from outside."""
    return subprocess.run(
        ["docker", "exec", f"{lab.name}-{spark}", "bash", "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


def play(lab: Lab, members: list[str], check: bool = False, hosts: list[str] | None = None, **variables: Any) -> Run:
    """Run both roles."""
    tasks = [{"import_role": {"name": role, "tasks_from": entry}} for role, entry in TOGETHER]
    tasks[-1]["when"] = AS_PLANNED
    where = {"hosts": ",".join(hosts or members), "gather_facts": False, "any_errors_fatal": True}
    return lab.play([{**where, "vars": {"spark_members": members}, "tasks": tasks}], check=check, **variables)


def undo(lab: Lab, members: list[str], check: bool = False, **variables: Any) -> Run:
    """Undo both roles, on the members that leave."""
    leaving = "inventory_hostname in (swarm_gpu_leaving | default(spark_members))"
    tasks: list[dict[str, Any]] = [
        {"import_role": {"name": ROLE, "tasks_from": "undo"}},
        {"import_role": {"name": TOOLKIT, "tasks_from": "undo"}, "when": leaving},
    ]
    where = {"hosts": ",".join(members), "gather_facts": False, "any_errors_fatal": True}
    return lab.play([{**where, "vars": {"spark_members": members}, "tasks": tasks}], check=check, **variables)


def planned(run: Run) -> dict[str, set[str]]:
    """What a dry run has shown, by host."""
    shown = [event["event_data"] for event in run.events if event["event"] == "runner_on_ok"]
    found: dict[str, set[str]] = {}
    for data in shown:
        if data["task"].endswith("| Show the planned changes"):
            found.setdefault(data["host"], set()).update(data["res"]["planned"])
    return found


def made(run: Run) -> dict[str, set[str]]:
    """Which tasks have changed something, by host."""
    found: dict[str, set[str]] = {}
    for event in run.events:
        data = event["event_data"]
        if event["event"] == "runner_on_ok" and data["res"].get("changed"):
            found.setdefault(data["host"], set()).add(data["task"].partition(" | ")[2])
    return found


def changes(run: Run) -> dict[str, int]:
    return {host: counts["changed"] for host, counts in run.stats.items() if counts.get("changed")}


def good(run: Run) -> Run:
    assert run.status == "successful", run.said
    return run


def refused(run: Run, *says: str) -> None:
    """It failed with these words, and changed nothing."""
    assert run.status == "failed", run.said
    said = run.words
    for words in says:
        assert words in said, run.said
    assert changes(run) == {}


def nodes(lab: Lab) -> list[dict[str, Any]]:
    ids = root(lab, "spark1", "docker node ls -q").split()
    return json.loads(root(lab, "spark1", f"docker node inspect {' '.join(ids)}"))


def listed(lab: Lab) -> list[tuple[str, str, str, str | None]]:
    """Host name, state, availability and rank of each node."""
    return sorted(
        (
            node["Description"]["Hostname"],
            node["Status"]["State"],
            node["Spec"]["Availability"],
            node["Spec"]["Labels"].get("dgx_spark.rank"),
        )
        for node in nodes(lab)
    )


def in_order(*members: str) -> list[tuple[str, str, str, str]]:
    return [(member, "ready", "active", str(rank)) for rank, member in enumerate(members)]


def etc(lab: Lab, spark: str) -> str:
    """All of /etc, by content, mode and owner."""
    find = "find /etc " + " ".join(f"! -path {path}" for path in OWN_BUSINESS)
    return root(lab, spark, f"({find} -printf '%p %m %u %g %l\\n'; {find} -type f -exec sha256sum {{}} +) | sort")


def started(lab: Lab, spark: str, container: str = "stranger") -> str:
    return root(lab, spark, f"docker inspect --format '{{{{.State.StartedAt}}}}' {container}")


def start_stranger(lab: Lab, spark: str) -> None:
    """A container that is none of ours, of an image that is none of ours."""
    root(
        lab,
        spark,
        "cd / && tar c --dereference bin/sleep $(ldd /bin/sleep | grep -o '/[^ ]*') 2>/dev/null"
        " | docker import - stranger && docker run -d --name stranger --runtime runc stranger /bin/sleep infinity",
    )


def end_stranger(lab: Lab, spark: str) -> None:
    root(lab, spark, "docker rm -f stranger && docker image rm stranger")


@pytest.fixture(scope="module")
def stock(trio: Lab) -> dict[str, str]:
    """What /etc was before anything."""
    return {spark: etc(trio, spark) for spark in TRIO}


def test_running_containers_stop_the_play_and_are_listed(trio: Lab, stock: dict[str, str]) -> None:
    assert stock
    start_stranger(trio, "spark2")
    before = started(trio, "spark2")
    refused(
        play(trio, PAIR), "ends the running containers stranger (stranger)", "container_toolkit_allow_restart: true"
    )
    assert started(trio, "spark2") == before
    end_stranger(trio, "spark2")


@pytest.mark.parametrize(
    ("version", "mode", "says"),
    [
        ("1.18.2", "auto", "does not read which of the 2 GPUs Swarm chose"),
        ("1.20.0", "cdi", "set its mode to auto"),
    ],
)
def test_a_toolkit_that_cannot_is_refused(trio: Lab, version: str, mode: str, says: str) -> None:
    ctk = "nvidia-ctk config --in-place --config-file /etc/nvidia-container-runtime/config.toml --set"
    config = "/etc/nvidia-container-runtime/config.toml"
    root(trio, "spark2", f"cp -a {config} /root/kept; echo {version} > /etc/virtual-spark/toolkit-version")
    root(trio, "spark2", f"{ctk} nvidia-container-runtime.mode={mode}")
    root(trio, "spark2", "cp -a /etc/virtual-spark/gpus /root/gpus")
    root(trio, "spark2", "echo GPU-11111111-2222-3333-4444-555555555555 >> /etc/virtual-spark/gpus")
    try:
        refused(play(trio, PAIR), "On spark2: NVIDIA Container Toolkit", says)
    finally:
        root(trio, "spark2", f"mv /root/kept {config}; mv /root/gpus /etc/virtual-spark/gpus")
        root(trio, "spark2", "rm /etc/virtual-spark/toolkit-version")


def test_live_restore_is_named(trio: Lab) -> None:
    root(trio, "spark2", """mkdir -p /etc/docker && echo '{"live-restore": true}' > /etc/docker/daemon.json""")
    try:
        refused(play(trio, PAIR), '"live-restore": true, and Swarm does not work with it')
    finally:
        root(trio, "spark2", "rm /etc/docker/daemon.json")


def test_a_closed_firewall_is_named(trio: Lab) -> None:
    """A firewall that is not ufw, so that nobody but its owner can open it."""
    drops = ("INPUT -p tcp --dport 2377 -j DROP", "INPUT -p udp --dport 4789 -j DROP")
    root(trio, "spark2", " && ".join(f"iptables -I {drop}" for drop in drops))
    try:
        refused(play(trio, PAIR), "spark2 (", "TCP 2377 (silent)", "UDP 4789 (silent)")
    finally:
        root(trio, "spark2", " && ".join(f"iptables -D {drop}" for drop in drops))


def test_a_firewall_before_ufw_is_named_once_ufw_is_open(trio: Lab) -> None:
    drop = "INPUT -p tcp --dport 2377 -j DROP"
    root(trio, "spark2", f"cp -a /etc/ufw /root/ufw && ufw allow 22/tcp && ufw --force enable && iptables -I {drop}")
    try:
        run = play(trio, PAIR)
        assert run.status == "failed", run.said
        said = run.words
        assert "TCP 2377 (silent). No swarm was changed" in said, run.said
        assert root(trio, "spark1", "docker info --format '{{.Swarm.LocalNodeState}}'").strip() == "inactive"
    finally:
        root(trio, "spark2", f"iptables -D {drop}; ufw --force disable && rm -r /etc/ufw && mv /root/ufw /etc/ufw")
        good(undo(trio, PAIR))


def test_a_wrong_clock_is_named(trio: Lab) -> None:
    """SIMULATED by a Python that is two hours late: Sparks of a lab share the machine's clock."""
    late = "import time as t\\nreal = t.time\\nt.time = lambda: real() - 7200\\n"
    root(trio, "spark2", f"mkdir -p /opt/late && printf '{late}' > /opt/late/sitecustomize.py")
    wrapper = '#!/bin/sh\\nPYTHONPATH=/opt/late exec /usr/bin/python3 "$@"\\n'
    root(trio, "spark2", f"printf '{wrapper}' > /opt/late/python3 && chmod +x /opt/late/python3")
    before = trio.inventory.read_text()
    data = yaml.safe_load(before)
    data["spark"]["hosts"]["spark2"]["ansible_python_interpreter"] = "/opt/late/python3"
    trio.inventory.write_text(yaml.safe_dump(data))
    try:
        refused(play(trio, PAIR), "s behind its leader's", "timedatectl set-ntp true")
    finally:
        trio.inventory.write_text(before)
        root(trio, "spark2", "rm -r /opt/late")


def test_a_stopped_docker_is_named(trio: Lab) -> None:
    root(trio, "spark1", "systemctl stop docker.socket docker")
    try:
        refused(play(trio, PAIR), "Docker Engine does not answer at /var/run/docker.sock", "systemctl status docker")
    finally:
        root(trio, "spark1", "systemctl start docker.socket docker")


def test_an_option_by_a_flag_is_named_before_anything_changes(trio: Lab) -> None:
    drop_in = "/etc/systemd/system/docker.service.d"
    flags = "[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd -H fd:// --default-runtime=runc\\n"
    root(trio, "spark2", f"mkdir {drop_in} && printf '{flags}' > {drop_in}/x.conf && systemctl daemon-reload")
    root(trio, "spark2", "systemctl restart docker")
    try:
        refused(play(trio, PAIR), "daemon.json on spark2: dockerd has --default-runtime runc on its command line")
        root(trio, "spark2", f"sed -i s/default-runtime=runc/live-restore/ {drop_in}/x.conf")
        root(trio, "spark2", "systemctl daemon-reload && systemctl reset-failed docker && systemctl restart docker")
        refused(play(trio, PAIR), "dockerd on spark2 has --live-restore on its command line, and Swarm does not work")
    finally:
        root(trio, "spark2", f"rm -r {drop_in} && systemctl daemon-reload")
        root(trio, "spark2", "systemctl reset-failed docker && systemctl restart docker")


def test_docker_that_does_not_start_gets_its_configuration_back(trio: Lab, stock: dict[str, str]) -> None:
    drop_in = "/etc/systemd/system/docker.service.d"
    flags = "[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd -H fd:// --default-runtime=runc\\n"
    # The daemon that runs does not have the flag yet.
    root(trio, "spark2", f"mkdir {drop_in} && printf '{flags}' > {drop_in}/x.conf && systemctl daemon-reload")
    run = play(trio, PAIR)
    said = run.words
    assert run.status == "failed"
    assert "The configuration that it ran with was put back, and it runs again" in said
    assert "specified both as a flag and in the configuration file: default-runtime" in said
    assert root(trio, "spark2", "systemctl is-active docker; cat /etc/docker/daemon.json 2>&- || true") == "active"
    root(trio, "spark2", f"rm -r {drop_in} && systemctl daemon-reload && systemctl restart docker")
    good(undo(trio, PAIR))
    assert {spark: etc(trio, spark) for spark in PAIR} == {spark: stock[spark] for spark in PAIR}


def test_two_make_a_swarm(trio: Lab) -> None:
    foretold = good(play(trio, PAIR, check=True))
    began = {spark: root(trio, spark, "systemctl show --value --property=ExecMainPID docker") for spark in PAIR}
    done = good(play(trio, PAIR))
    assert planned(foretold) == made(done)
    assert made(done).keys() == set(PAIR)
    assert {spark: root(trio, spark, "systemctl show --value --property=ExecMainPID docker") for spark in PAIR} != began
    plan = done.registered("swarm_gpu_plan")["spark1"]
    assert "it reads DOCKER_RESOURCE_<KIND>" in plan["gpu_selection"]["spark1"]
    assert listed(trio) == in_order(*PAIR)
    report = done.registered("swarm_gpu_report")["spark2"]["nodes"]
    assert [(node["rank"], node["address"]) for node in report.values()] == list(enumerate(plan["addresses"].values()))
    assert done.results("Check every node's GPUs and what a task of Swarm gets there")["spark1"]["reserved"] == {
        "spark1": 1,
        "spark2": 1,
    }
    for spark in PAIR:
        last = json.loads(root(trio, spark, "tail -1 /var/log/virtual-spark/clamped.jsonl"))
        assert (last["type"], last["asked"]["hard"]) == ("RLIMIT_MEMLOCK", 2**64 - 1), "unlimited was asked for"
    assert root(trio, "spark1", "docker service ls -q") == ""


def test_no_token_in_any_log_or_process(trio: Lab) -> None:
    token = root(trio, "spark1", "docker swarm join-token -q worker")
    assert token not in root(trio, "spark2", "journalctl --no-pager; cat /root/.ansible/tmp/*/* 2>/dev/null || true")


def test_a_second_time_changes_nothing(trio: Lab) -> None:
    for check in (False, True):
        assert changes(good(play(trio, PAIR, check=check))) == {}


def test_a_strangers_container_lives_through_two_plays(trio: Lab) -> None:
    for spark in PAIR:
        start_stranger(trio, spark)
    before = {spark: started(trio, spark) for spark in PAIR}
    changed = good(play(trio, PAIR, container_toolkit_docker_user="nvidia"))
    assert changes(changed) == {"spark1": 1, "spark2": 1}
    assert changes(good(play(trio, PAIR, container_toolkit_docker_user="nvidia"))) == {}
    assert {spark: started(trio, spark) for spark in PAIR} == before
    # What a restart would be due for is refused as long as they run.
    refused(
        play(trio, PAIR, swarm_gpu_kind="other"),
        "ends the running containers stranger (stranger)",
        "swarm_gpu_allow_restart: true",
    )
    for spark in PAIR:
        end_stranger(trio, spark)


def test_the_docker_group_counts_at_once(trio: Lab) -> None:
    root(trio, "spark1", "gpasswd --delete nvidia docker")
    tasks = [
        {"import_role": {"name": "sparkops.dgx_spark.container_toolkit"}},
        {"command": {"argv": ["docker", "info"]}, "changed_when": False},
    ]
    variables = {"container_toolkit_docker_user": "nvidia"}
    good(trio.play([{"hosts": "spark1", "gather_facts": False, "tasks": tasks, "vars": variables}]))


def test_missing_rdma_devices_are_named_with_their_node(trio: Lab) -> None:
    root(trio, "spark2", "mv /dev/infiniband /dev/kept")
    try:
        run = play(trio, PAIR)
        assert run.status == "failed"
        assert "on spark2 a task sees no /dev/infiniband" in run.words
    finally:
        root(trio, "spark2", "mv /dev/kept /dev/infiniband")


def test_a_limit_of_locked_memory_that_is_too_low_is_named(trio: Lab) -> None:
    said = play(trio, PAIR, swarm_gpu_memlock=-1).words
    assert "on spark1 a task sees a limit of locked memory below unlimited" in said


def test_a_model_keeps_its_gpu_while_it_is_looked_at(trio: Lab) -> None:
    image = root(trio, "spark2", "docker images -q --no-trunc dgx-spark/gpu-probe")
    options = "--generic-resource gpu=1 --network host --restart-condition none --no-resolve-image --tty"
    where = "--constraint node.hostname==spark2"
    root(trio, "spark1", f"docker service create -d --name model {options} {where} {image} /bin/sh -c 'read forever'")
    try:
        eventually(lambda: root(trio, "spark1", "docker service ps model --format '{{.CurrentState}}'")[:7], "Running")
        run = good(play(trio, PAIR))
        seen = run.results("Check every node's GPUs and what a task of Swarm gets there")["spark1"]
        assert seen["reserved"] == {"spark1": 1, "spark2": 0}
        assert changes(run) == {}
        refused(undo(trio, PAIR), "services still run in the swarm: model")
    finally:
        root(trio, "spark1", "docker service rm model")


def test_a_third_is_added_though_the_token_is_rotated(trio: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {node["ID"] for node in nodes(trio)}
    rotate = f"docker exec {trio.name}-spark1 docker swarm join-token --rotate -q worker"
    at_task(monkeypatch, "Join the swarm", rotate)
    run = good(play(trio, TRIO))
    assert run.stats["spark3"]["rescued"] == 1
    assert set(changes(run)) == {"spark1", "spark3"}
    assert listed(trio) == in_order(*TRIO)
    assert before < {node["ID"] for node in nodes(trio)}


def test_a_re_imaged_worker_is_taken_up_and_its_former_self_removed(trio: Lab) -> None:
    root(
        trio,
        "spark2",
        "systemctl stop docker.socket docker && rm -r /var/lib/docker/swarm /var/lib/dgx-spark/swarm.json",
    )
    root(trio, "spark2", "systemctl start docker.socket docker")
    old = next(node["ID"] for node in nodes(trio) if node["Description"]["Hostname"] == "spark2")
    run = good(play(trio, TRIO))
    assert run.results("Label the nodes and remove former members")["spark1"]["removed"] == [old]
    assert listed(trio) == in_order(*TRIO)


def test_one_is_taken_out_drained(trio: Lab, stock: dict[str, str]) -> None:
    good(undo(trio, TRIO, swarm_gpu_leaving=["spark3"]))
    assert listed(trio) == in_order(*PAIR)
    assert etc(trio, "spark3") == stock["spark3"]
    assert changes(good(play(trio, PAIR))) == {}


def test_a_worker_rebooted_in_the_middle_of_joining_joins_the_next_time(
    trio: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = f"docker exec {trio.name}-spark1 iptables -I INPUT -i enP7s7 -p tcp --dport 2377 -j DROP"
    reboot = f"(sleep 6; docker exec {trio.name}-spark3 systemctl reboot) >/dev/null 2>&1 &"
    at_task(monkeypatch, "Join the swarm", f"{deaf}; {reboot}")
    run = play(trio, TRIO)
    assert run.status == "failed"
    assert run.stats["spark3"].get("dark") or run.stats["spark3"].get("failures"), run.stats
    root(trio, "spark1", "iptables -D INPUT -i enP7s7 -p tcp --dport 2377 -j DROP")
    eventually(lambda: trio.host("spark3").run("systemctl is-active docker").stdout.strip(), "active", seconds=60)
    monkeypatch.delenv("AT_TASK")
    good(play(trio, TRIO))
    assert listed(trio) == in_order(*TRIO)


def test_one_that_is_no_member_any_more_is_drained_and_then_removed(trio: Lab) -> None:
    run = good(play(trio, PAIR))
    assert len(run.results("Label the nodes and remove former members")["spark1"]["drained"]) == 1
    assert listed(trio) == [*in_order(*PAIR), ("spark3", "ready", "drain", None)]
    assert changes(good(play(trio, PAIR))) == {}
    root(trio, "spark3", "docker swarm leave")
    root(trio, "spark1", "docker node rm --force spark3")


def test_another_swarm_is_refused_by_its_id_and_left_if_told(trio: Lab) -> None:
    root(trio, "spark3", "docker swarm init --advertise-addr enP7s7 --default-addr-pool 10.99.0.0/16")
    other = root(trio, "spark3", "docker info --format '{{.Swarm.Cluster.ID}}'")
    ours = root(trio, "spark1", "docker info --format '{{.Swarm.Cluster.ID}}'")
    refused(play(trio, TRIO), f"it is in swarm {other}", f"is in swarm {ours}", "swarm_gpu_allow_rejoin: true")
    good(play(trio, TRIO, swarm_gpu_allow_rejoin=True))
    assert listed(trio) == in_order(*TRIO)


def test_an_old_address_is_refused_and_left_if_told(trio: Lab) -> None:
    address = yaml.safe_load(trio.inventory.read_text())["spark"]["hosts"]["spark3"]["ansible_host"]
    new = address.rsplit(".", 1)[0] + ".113"
    root(trio, "spark3", f"ip address add {new}/24 dev enP7s7")
    wish = {"swarm_gpu_advertise_address": f"{{{{ '{new}' if inventory_hostname == 'spark3' else ansible_host }}}}"}
    refused(play(trio, TRIO, **wish), f"with the address {address}, but {new} was asked for")
    root(trio, "spark3", f"ip address del {new}/24 dev enP7s7")
    refused(play(trio, TRIO, **wish), f"{new} is not an address of this host")


def test_a_swarm_in_the_way_of_a_members_network_is_named(trio: Lab) -> None:
    subnet = root(trio, "spark1", "docker network inspect ingress --format '{{(index .IPAM.Config 0).Subnet}}'")
    assert subnet == "10.255.0.0/24", "10.0.0.0/8, Docker's own choice, meets the lab's 10.203.0.0/16"
    root(
        trio,
        "spark2",
        "ip route add 10.255.0.0/25 dev enp1s0f0np0 2>/dev/null || ip route add 10.255.0.0/25 dev enP7s7",
    )
    try:
        refused(play(trio, TRIO), "10.255.0.0/24 of the swarm and 10.255.0.0/25 on en")
    finally:
        root(trio, "spark2", "ip route del 10.255.0.0/25")


def test_a_re_imaged_leader_gets_its_workers_back(trio: Lab) -> None:
    root(
        trio,
        "spark1",
        "systemctl stop docker.socket docker && rm -r /var/lib/docker/swarm /var/lib/dgx-spark/swarm.json",
    )
    root(trio, "spark1", "systemctl start docker.socket docker")
    good(play(trio, TRIO))
    assert listed(trio) == in_order(*TRIO)
    assert changes(good(play(trio, TRIO))) == {}


def test_either_role_is_undone_alone(trio: Lab) -> None:
    """What is left of daemon.json is the other role's part."""
    task = {"import_role": {"name": TOOLKIT, "tasks_from": "undo"}}
    where = {"hosts": ",".join(TRIO), "gather_facts": False, "any_errors_fatal": True}
    good(trio.play([{**where, "tasks": [task]}]))
    left = json.loads(root(trio, "spark2", "cat /etc/docker/daemon.json"))
    assert list(left) == ["node-generic-resources"]
    alone = [{**where, "vars": {"spark_members": TRIO}, "roles": [ROLE]}]
    refused(
        trio.play(alone), "does not have nvidia as its default runtime", "List sparkops.dgx_spark.container_toolkit"
    )
    good(play(trio, TRIO))
    good(trio.play(alone))  # it is configured by now


def test_everything_goes_back(trio: Lab, stock: dict[str, str]) -> None:
    foretold = good(undo(trio, TRIO, check=True))
    done = good(undo(trio, TRIO))
    assert made(foretold) == made(done)
    assert {spark: etc(trio, spark) for spark in TRIO} == stock
    for spark in TRIO:
        assert root(trio, spark, "docker images -q; ls -d /var/lib/dgx-spark 2>/dev/null || true") == ""
        assert root(trio, spark, "docker info --format '{{.Swarm.LocalNodeState}}'") == "inactive"
    # On spark1 and spark2 a re-imaging took away the note of whose docker_gwbridge it was.
    assert "docker_gwbridge" not in root(trio, "spark3", "docker network ls --format '{{.Name}}'")
    assert changes(good(undo(trio, TRIO))) == {}
