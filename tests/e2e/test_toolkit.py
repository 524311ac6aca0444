# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated container toolkit under the real Docker Engine: what containers get of GPU and RDMA."""

from __future__ import annotations

import subprocess
from typing import Iterator

import pytest
from testinfra.host import Host

from .conftest import Lab

IMAGE = "sparkops/virtual-spark-base:trixie"


@pytest.fixture(scope="module")
def spark(lab: Lab) -> Iterator[Host]:
    """A Spark with an image to run and the NVIDIA runtime as default, put back afterwards."""
    host = lab.host("spark1")
    save = subprocess.Popen(["docker", "save", IMAGE], stdout=subprocess.PIPE)
    subprocess.run(["docker", "exec", "-i", f"{lab.name}-spark1", "docker", "load"], stdin=save.stdout, check=True)
    assert save.wait() == 0
    assert not host.file("/etc/docker/daemon.json").exists, "a stock Spark of the lab has no daemon.json"
    host.check_output("sudo nvidia-ctk runtime configure --runtime=docker --nvidia-set-as-default")
    host.check_output(
        "sudo nvidia-ctk config --in-place --config-file /etc/nvidia-container-runtime/config.toml"
        " --set swarm-resource=DOCKER_RESOURCE_GPU"
    )
    host.check_output("sudo systemctl restart docker")
    yield host
    host.check_output("sudo sed -i s/^swarm-resource/#swarm-resource/ /etc/nvidia-container-runtime/config.toml")
    host.check_output("sudo rm /etc/docker/daemon.json && sudo systemctl restart docker")
    host.check_output(f"sudo docker image rm {IMAGE}")


def in_container(spark: Host, options: str, command: str) -> str:
    return spark.check_output(f"sudo docker run --rm {options} {IMAGE} {command}")


def host_uuid(spark: Host) -> str:
    return spark.check_output("nvidia-smi --query-gpu=uuid --format=csv,noheader")


QUERY = "nvidia-smi --query-gpu=uuid --format=csv,noheader"


def test_a_container_sees_the_hosts_gpu(spark: Host) -> None:
    assert in_container(spark, "-e NVIDIA_VISIBLE_DEVICES=all", QUERY) == host_uuid(spark)
    assert in_container(spark, "--gpus all", QUERY) == host_uuid(spark)
    assert in_container(spark, f"-e DOCKER_RESOURCE_GPU={host_uuid(spark)}", QUERY) == host_uuid(spark)


def test_a_container_that_asks_for_none_gets_none(spark: Host) -> None:
    assert spark.run(f"sudo docker run --rm {IMAGE} nvidia-smi").rc == 127


def test_a_gpu_that_is_not_there_is_refused(spark: Host) -> None:
    nobody = "GPU-00000000-0000-0000-0000-000000000000"
    refused = spark.run(f"sudo docker run --rm -e NVIDIA_VISIBLE_DEVICES={nobody} {IMAGE} true")
    assert refused.rc != 0
    assert "failed to get device handle from UUID" in refused.stderr


def test_rdma_devices_come_with_mofed_and_only_then(spark: Host) -> None:
    listing = "sh -c 'ls /dev/infiniband 2>/dev/null || true'"
    devices = in_container(spark, "-e NVIDIA_VISIBLE_DEVICES=all -e NVIDIA_MOFED=enabled", listing).split()
    assert "rdma_cm" in devices
    assert "uverbs0" in devices
    assert in_container(spark, "-e NVIDIA_VISIBLE_DEVICES=all", listing) == ""


def test_unlimited_memlock_starts_even_where_the_kernel_refuses_it(spark: Host) -> None:
    assert in_container(spark, "--ulimit memlock=-1 -e NVIDIA_VISIBLE_DEVICES=all", "sh -c 'ulimit -l'")
