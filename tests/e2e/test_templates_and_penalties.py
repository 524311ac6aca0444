# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What real tools do to a pair that serves: Swarm fills in templates, sshd turns away who failed to log in."""

from __future__ import annotations

import json
from typing import Iterator

import pytest
from testinfra.host import Host

from .conftest import SPARKS, Pair, stocked, taken_down
from .test_two_spark_faults import state

pytestmark = pytest.mark.matrix
#: begins a variable to Compose, and holds a template of Swarm's
CACHE = "/home/nvidia/models$x-{{.Node.Hostname}}"
GIVEN = "/home/nvidia/models$x-{{ '{{.Node.Hostname}}' }}"  # to Ansible, which fills in templates too
PORT = 2233
ROUNDS, AT_ONCE = 4, 5


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    lab = stocked(tmp_path_factory.mktemp("traps"))
    lab.variables["hf_cache_dir"] = GIVEN
    run = lab.serve(spark_launcher="swarm")
    assert run.status == "successful", run.said
    yield lab
    taken_down(lab)


def container(host: Host) -> str:
    return host.check_output("sudo docker ps --quiet --filter name=dgx-spark-trtllm")


def test_a_cache_whose_path_looks_like_a_template_is_mounted_as_it_is_called(served: Pair) -> None:
    for name in SPARKS:
        host = served.host(name)
        mounts = json.loads(host.check_output("sudo docker inspect --format '{{json .Mounts}}' %s", container(host)))
        source = next(mount["Source"] for mount in mounts if mount["Destination"] == "/models")
        assert source.startswith(f"{CACHE}/hub/models--")
    again = served.serve(spark_launcher="swarm")
    assert (again.status, again.changed) == ("successful", {}), again.said


def test_a_leader_that_failed_to_log_in_again_and_again_is_let_in(served: Pair) -> None:
    leader, worker = served.host("spark1"), served.host("spark2")
    version = worker.check_output("sudo docker exec %s sh -c 'ssh -V 2>&1'", container(worker))
    assert "OpenSSH_10" in version, "an older one turns nobody away"
    node = json.loads(leader.check_output("cat /etc/dgx-spark/trtllm/cluster.json"))["nodes"][1]
    # Several at once, since a penalty of five seconds each is forgotten as fast as a busy machine asks one by one, and
    # fewer than those that sshd (MaxStartups) turns away for their number.
    key = "rm -f /tmp/wrong /tmp/wrong.pub; ssh-keygen -q -t ed25519 -N '' -f /tmp/wrong"
    login = (
        "ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -i /tmp/wrong -o StrictHostKeyChecking=no"
        f" -o UserKnownHostsFile=/dev/null -p {PORT} root@{node['address']} true 2>&1"
    )
    at_once = f"for _one in $(seq {AT_ONCE}); do {login} & done; wait"
    in_vain = f"{key}; for _round in $(seq {ROUNDS}); do {at_once}; done"
    inside = container(leader)
    denied = leader.run("sudo docker exec %s sh -c %s", inside, in_vain).stdout
    assert denied.count("Permission denied") == ROUNDS * AT_ONCE, denied
    assert leader.run("sudo docker exec %s ssh %s true", inside, node["name"]).succeeded

    # The same from another address, which the worker's sshd has no reason to let in: what the leader is spared.
    turned_away = worker.run("sh -c %s", in_vain).stdout
    assert 0 < turned_away.count("Permission denied") < ROUNDS * AT_ONCE, turned_away
    assert state(served)["phase"] == "serving"
