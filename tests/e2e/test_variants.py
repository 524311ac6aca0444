# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other ways to a chat answer: one Spark alone; spark1 as its own controller, with the older Open MPI."""

from __future__ import annotations

import subprocess
from typing import Iterator

import pytest
import yaml

from .conftest import ROOT, SERVED, Pair, stocked, taken_down

pytestmark = pytest.mark.matrix


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    one = stocked(tmp_path_factory.mktemp("alone"), virtual_spark_count=1)
    yield one
    taken_down(one)


@pytest.fixture
def elder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    one = stocked(tmp_path_factory.mktemp("elder"), virtual_spark_engine_openmpi="4.1")
    yield one
    taken_down(one)


@pytest.fixture
def unlike(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    one = stocked(tmp_path_factory.mktemp("unlike"))
    yield one
    taken_down(one)


def test_sparks_whose_login_users_differ_serve_from_each_ones_own_cache(unlike: Pair) -> None:
    make = (
        "sudo useradd --create-home --shell /bin/bash --groups docker ubuntu"
        " && sudo install --directory --owner ubuntu --mode 0700 /home/ubuntu/.ssh"
        " && sudo install --owner ubuntu --mode 0600 ~/.ssh/authorized_keys /home/ubuntu/.ssh/authorized_keys"
        " && echo 'ubuntu ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/ubuntu"
    )
    unlike.host("spark2").check_output(make)
    inventory = unlike.hosts("spark1", "spark2")
    inventory["spark"]["hosts"]["spark2"]["ansible_user"] = "ubuntu"
    for launcher in ("swarm", "docker"):
        run = unlike.serve(inventory=inventory, spark_launcher=launcher)
        assert run.status == "successful", run.said
        assert [rank["host"] for rank in unlike.asked()["virtual_spark"]["ranks"]] == ["spark1", "spark2"]
        mounted = "sudo docker inspect --format '{{json .Mounts}}' $(sudo docker ps --quiet --filter name=trtllm)"
        for name, home in (("spark1", "/home/nvidia"), ("spark2", "/home/ubuntu")):
            assert f'"Source":"{home}/.cache/huggingface/hub/models--' in unlike.host(name).check_output(mounted)
        again = unlike.serve(inventory=inventory, spark_launcher=launcher)
        assert (again.status, again.changed) == ("successful", {}), again.said


def test_one_spark_answers(alone: Pair) -> None:
    run = alone.serve("single_spark.yml")
    assert run.status == "successful", run.said
    answer = run.results("check | Send a question to the engine")["spark1"]["answer"]
    assert [rank["host"] for rank in answer["virtual_spark"]["ranks"]] == ["spark1"]
    for check in (False, True):
        again = alone.serve("single_spark.yml", check=check)
        assert again.status == "successful", again.said
        assert again.changed == {}, again.made()


def test_spark1_is_its_own_controller_with_open_mpi_4(elder: Pair) -> None:
    spark = elder.host("spark1")
    ssh = ["ssh", "-F", str(elder.home / "ssh_config"), "spark1"]
    packed = subprocess.run(
        ["sh", "-c", "git ls-files -z | tar --create --null --files-from -"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    subprocess.run([*ssh, "mkdir dgx_spark && tar --extract --directory dgx_spark"], input=packed, check=True)
    key = (elder.home / "id_ed25519").read_bytes()
    subprocess.run([*ssh, "umask 077 && cat > .ssh/id_ed25519"], input=key, check=True)
    known = (elder.home / "known_hosts").read_bytes()
    subprocess.run([*ssh, "cat > .ssh/known_hosts"], input=known, check=True)

    inventory = elder.hosts("spark1", "spark2")
    group = inventory["spark"]
    group["hosts"]["spark1"]["ansible_connection"] = "local"
    lab = {name: value for name, value in group["vars"].items() if not name.startswith("ansible_")}
    group["vars"] = {**lab, "ansible_user": "nvidia", "ansible_python_interpreter": "/usr/bin/python3", **SERVED}
    subprocess.run([*ssh, "cat > my.yml"], input=yaml.safe_dump(inventory).encode(), check=True)

    spark.check_output("sudo apt-get update && sudo apt-get install --yes --no-install-recommends python3-venv")
    spark.check_output("cd dgx_spark && python3 -m venv .venv && .venv/bin/pip install --quiet -r requirements.txt")
    play = "cd dgx_spark && .venv/bin/ansible-playbook -i ../my.yml playbooks/two_spark.yml"
    done = spark.run(play)
    assert done.succeeded, done.stdout
    assert [rank["host"] for rank in elder.asked()["virtual_spark"]["ranks"]] == ["spark1", "spark2"]
    recap = [line for line in spark.check_output(play).splitlines() if "changed=" in line]
    assert [line.split("changed=")[1].split()[0] for line in recap] == ["0", "0", "0"]
