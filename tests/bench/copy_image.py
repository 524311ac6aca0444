# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to get an image onto a second virtual Spark, when it has nothing of it and when it has all layers but one.

Run by ``make bench-copy``, in the lab of its other table. The lab's registry is on the same machine: what pulling on
every Spark costs on a line to the internet is its bytes, which the table counts.
"""

from __future__ import annotations

import time
from typing import Any, Callable

from tests.e2e.conftest import Lab
from tests.e2e.test_internet import control

IMAGE, LAYERS, LAYER_MIB = "nvcr.test/lab/large:1", 4, 256


def measure(lab: Lab, ssh: str, address: str, options: dict[str, Any]) -> None:
    """Print the table.

    :param ssh: how the worker reaches the leader, which is at ``address``. :param options: variables of peer_copy.
    """
    leader, worker = lab.host("spark1"), lab.host("spark2")
    build = " && ".join(
        [
            "mkdir -p ~/image && cd ~/image && echo FROM scratch > Dockerfile",
            *(
                f"head -c {LAYER_MIB}M /dev/urandom > {one} && echo COPY {one} / >> Dockerfile"
                for one in range(1, LAYERS + 1)
            ),
            f"sudo DOCKER_BUILDKIT=0 docker build --quiet --tag {IMAGE} . && sudo docker push --quiet {IMAGE}",
            "printf 'FROM scratch\\nCOPY 1 /\\nCOPY 2 /\\nCOPY 3 /\\n' > Dockerfile",
            "sudo DOCKER_BUILDKIT=0 docker build --quiet --tag nvcr.test/lab/base:1 . && rm -r ~/image",
        ]
    )
    leader.check_output(build)
    leader.check_output("sudo docker push --quiet nvcr.test/lab/base:1")
    ident = leader.check_output(f"sudo docker image inspect --format '{{{{.Id}}}}' {IMAGE}")
    role = {"name": "sparkops.dgx_spark.peer_copy", "tasks_from": "image"}
    tasks = [{"name": "It", "ansible.builtin.include_role": role}]
    options = {**options, "peer_copy_image": ident, "peer_copy_image_name": IMAGE}

    def ours() -> float:
        """The time of the play's tasks, without what starting Ansible takes."""
        run = lab.play([{"hosts": "spark", "gather_facts": False, "vars": options, "tasks": tasks}])
        assert run.status == "successful", run.said
        slowest: dict[str, float] = {}
        for event in run.events:
            if event["event"] == "runner_on_ok":
                about = event["event_data"]
                slowest[about["task_uuid"]] = max(slowest.get(about["task_uuid"], 0), about["duration"])
        return sum(slowest.values())

    def shell(command: str) -> Callable[[], float]:
        def do() -> float:
            began = time.monotonic()
            worker.check_output(command)
            return time.monotonic() - began

        return do

    ways = {
        "peer_copy": ours,
        "docker save, ssh, docker load": shell(f"{ssh} {address} sudo docker save {IMAGE} | sudo docker load --quiet"),
        "docker pull on every Spark": shell(f"sudo docker pull --quiet {IMAGE}"),
    }
    size = LAYERS * LAYER_MIB * 2**20 / 1e9
    print(f"\nAn image of {size:.2f} GB in {LAYERS} layers, virtual Sparks on one machine\n")
    print(f"| {'way':29} | s, has nothing | s, has {LAYERS - 1} layers | GB from the registry, both Sparks |")
    print(f"| {'-' * 29} | -------------- | --------------- | -------------------------------- |")
    for name, way in ways.items():
        seconds = []
        for had in (False, True):
            worker.check_output("sudo docker image prune --all --force")
            if had:
                worker.check_output("sudo docker pull --quiet nvcr.test/lab/base:1")
            control(lab, "DELETE", "/stats")
            seconds.append(way())
            assert worker.check_output(f"sudo docker image inspect --format '{{{{.Id}}}}' {ident}") == ident
            served = control(lab, "GET", "/stats")["services"]["registry"]["content_bytes"] / 1e9
            if not had:
                pulled = size + served  # the leader's own pull, which every way needs
        print(f"| {name:29} | {seconds[0]:14.1f} | {seconds[1]:15.1f} | {pulled:32.2f} |", flush=True)
