# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image from Docker to Docker on virtual Sparks, with both stores of images: interrupted, in part there, tagged."""

from __future__ import annotations

import threading
from typing import Any, Iterator

import pytest

from .conftest import Lab, Run, eventually

IMAGE, BASE, LABEL = "lab.test/large:1", "lab.test/base:1", "dgx-spark.part-of"
LAYER_MIB = 257  # a part of its own
STORES = ("graph driver", pytest.param("containerd", marks=pytest.mark.matrix))
PARTS = f"sudo docker image ls --quiet --filter label={LABEL}"
LEFT = (
    "sudo sh -c 'ls -d /run/dgx-spark-* /home/*/.dgx-spark /root/.dgx-spark /var/lib/dgx-spark-image' 2>/dev/null;"
    " cat ~/.ssh/authorized_keys"
)


def containerd(lab: Lab, name: str) -> None:
    """As a Docker 29 that was newly installed; below a volume, since a virtual Spark's root is a layer itself."""
    lab.host(name).check_output(
        "sudo mkdir -p /etc/containerd /etc/docker"
        " && echo 'version = 2\nroot = \"/var/lib/docker/store\"' | sudo tee /etc/containerd/config.toml"
        ' && echo \'{"features": {"containerd-snapshotter": true}}\' | sudo tee /etc/docker/daemon.json'
        " && sudo systemctl restart containerd docker"
    )


@pytest.fixture(scope="module", params=STORES)
def on_leader(request: pytest.FixtureRequest, lab: Lab) -> Iterator[str]:
    """The ID of an image of three layers on the leader, whose lower two are an image as well."""
    if request.param == "containerd":
        for name in lab.names:
            containerd(lab, name)
    leader = lab.host("spark1")
    leader.check_output(
        "mkdir -p ~/image && cd ~/image && echo FROM scratch > Dockerfile"
        f" && for one in 1 2 3; do head -c {LAYER_MIB}M /dev/urandom > $one; echo COPY $one / >> Dockerfile; done"
        f" && sudo DOCKER_BUILDKIT=0 docker build --quiet --tag {IMAGE} ."
        f" && head -n 3 Dockerfile > base && sudo DOCKER_BUILDKIT=0 docker build --quiet --tag {BASE} --file base ."
        " && rm -r ~/image"
    )
    yield leader.check_output(f"sudo docker image inspect --format '{{{{.Id}}}}' {IMAGE}")
    for name in lab.names:
        lab.host(name).check_output("sudo docker image prune --all --force")
        lab.host(name).run("sudo rm -f /etc/docker/daemon.json /etc/containerd/config.toml")
        lab.host(name).check_output("sudo systemctl restart containerd docker")


@pytest.fixture
def image(lab: Lab, on_leader: str) -> str:
    """The same, of which the worker has nothing."""
    lab.host("spark2").check_output("sudo docker image prune --all --force")
    return on_leader


def copied(lab: Lab, image: str, name: str = IMAGE, **options: Any) -> Run:
    role = {"name": "sparkops.dgx_spark.peer_copy", "tasks_from": "image"}
    options = {"peer_copy_image": image, "peer_copy_image_name": name, **options}
    return lab.play(
        [{"hosts": "spark", "gather_facts": False, "vars": options, "tasks": [{"ansible.builtin.include_role": role}]}]
    )


def moved(run: Run) -> int:
    return int(run.results("image | Load the image from the leader")["spark2"]["moved_bytes"])


def test_an_image_goes_from_docker_to_docker(lab: Lab, image: str) -> None:
    worker = lab.host("spark2")
    before = {name: lab.host(name).run(LEFT).stdout for name in lab.names}

    run = copied(lab, image)
    assert run.status == "successful", run.said
    assert run.made() == {"spark2": {"Load the image from the leader"}}
    assert worker.check_output(f"sudo docker image inspect --format '{{{{.Id}}}}' {IMAGE}") == image
    assert moved(run) >= 3 * LAYER_MIB * 2**20
    assert worker.check_output(PARTS) == ""
    eventually(lambda: {name: lab.host(name).run(LEFT).stdout for name in lab.names}, before)
    assert copied(lab, image).changed == {}, "it is there"
    worker.check_output(f"sudo docker run --rm --network none --entrypoint /3 {IMAGE}; test $? -eq 126")


def test_layers_that_are_there_stay_behind(lab: Lab, image: str) -> None:
    worker = lab.host("spark2")
    base = lab.host("spark1").check_output(f"sudo docker image inspect --format '{{{{.Id}}}}' {BASE}")
    assert copied(lab, base, BASE, peer_copy_encrypted=False).status == "successful"
    run = copied(lab, image, peer_copy_encrypted=False)
    assert run.status == "successful", run.said
    assert LAYER_MIB * 2**20 <= moved(run) < 1.1 * LAYER_MIB * 2**20
    assert worker.check_output(f"sudo docker image inspect --format '{{{{.Id}}}}' {IMAGE}") == image


def test_an_interrupted_copy_goes_on(lab: Lab, image: str) -> None:
    """Killed on the worker when a part is there: the play says so, and the next one brings the rest alone."""
    worker, runs = lab.host("spark2"), []
    play = threading.Thread(target=lambda: runs.append(copied(lab, image)))
    play.start()
    eventually(lambda: bool(worker.check_output(PARTS)), True, seconds=300)
    # The wrapper, its module and ssh: as if the Spark had been switched off.
    worker.check_output("sudo pkill -KILL -f '[i]mage_layers_load|[a]sync_wrapper'")
    play.join()
    assert runs[0].status == "failed", runs[0].said
    assert worker.run(f"sudo docker image inspect {image}").failed, "nothing half-loaded is taken for whole"
    loaded = len(worker.check_output(PARTS).split())
    assert loaded >= 1

    run = copied(lab, image)
    assert run.status == "successful", run.said
    assert moved(run) < (3.1 - loaded) * LAYER_MIB * 2**20
    assert worker.check_output(f"sudo docker image inspect --format '{{{{.Id}}}}' {IMAGE}") == image
    assert worker.check_output(PARTS) == ""


def test_undo_removes_what_an_interrupted_copy_left(lab: Lab, image: str) -> None:
    worker = lab.host("spark2")
    before = {name: lab.host(name).run(LEFT).stdout for name in lab.names}
    play = threading.Thread(target=lambda: copied(lab, image))
    play.start()
    eventually(lambda: bool(worker.check_output(PARTS)), True, seconds=300)
    worker.check_output("sudo pkill -KILL -f '[i]mage_layers_load|[a]sync_wrapper'")
    play.join()
    role = {"name": "sparkops.dgx_spark.peer_copy", "tasks_from": "undo"}
    undo: Any = [{"hosts": "spark", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}]
    run = lab.play(undo)
    assert run.status == "successful", run.said
    assert worker.check_output(PARTS) == ""
    eventually(lambda: {name: lab.host(name).run(LEFT).stdout for name in lab.names}, before)
    assert lab.play(undo).changed == {}
