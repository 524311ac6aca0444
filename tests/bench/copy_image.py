# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to get an image onto a second virtual Spark, when it has nothing of it and when it has all layers but one.

Run by ``make bench-copy``, in the lab of its other table, once for each way in which Docker keeps images. The lab's
registry is on the same machine: what pulling on every Spark costs on a line to the internet is its bytes, which the
table counts.
"""

from __future__ import annotations

import time
from typing import Any, Callable

from tests.e2e.conftest import Lab
from tests.e2e.test_internet import control

IMAGE, BASE, LAYERS = "nvcr.test/lab/large:1", "nvcr.test/lab/base:1", 4
BY_HAND = "docker save, ssh, docker load"
ID_OF = f"sudo docker image inspect --format '{{{{.Id}}}}' {IMAGE}"
#: containerd cannot stack its layers on a container's own, and a virtual Spark is one: its root is below a volume
TO_CONTAINERD = (
    "sudo mkdir -p /etc/containerd /etc/docker && "
    """echo 'version = 2\nroot = "/var/lib/docker/store"' | sudo tee /etc/containerd/config.toml && """
    """echo '{"features": {"containerd-snapshotter": true}}' | sudo tee /etc/docker/daemon.json && """
    "sudo systemctl restart containerd docker"
)


def measure(
    lab: Lab, ssh: str, address: str, options: dict[str, Any], processor_seconds: Callable[[], float], layer_mib: int
) -> None:
    """Print a table for each store of images.

    :param ssh: how the worker reaches the leader, which is at ``address``. :param options: variables of peer_copy.
    :param processor_seconds: returns what both Sparks have used. :param layer_mib: the size of each layer.
    """
    for store in ("graph driver", "containerd"):
        if store == "containerd":
            for name in ("spark1", "spark2"):
                lab.host(name).check_output("sudo docker image prune --all --force")
                lab.host(name).check_output(TO_CONTAINERD)
        _build(lab, layer_mib)
        ident = lab.host("spark1").check_output(ID_OF)
        rows = _rows(lab, ssh, address, {**options, "peer_copy_image": ident}, processor_seconds, layer_mib)
        _print(store, rows, layer_mib)


def _build(lab: Lab, layer_mib: int) -> None:
    """Build the image on the leader, and push what a Spark may have of it."""
    steps = [
        "mkdir -p ~/image && cd ~/image && echo FROM scratch > Dockerfile",
        *(
            f"(test -f {one} || head -c {layer_mib}M /dev/urandom > {one}) && echo COPY {one} / >> Dockerfile"
            for one in range(1, LAYERS + 1)
        ),
        f"sudo DOCKER_BUILDKIT=0 docker build --quiet --tag {IMAGE} . && sudo docker push --quiet {IMAGE}",
        f"head -n {LAYERS} Dockerfile > base && sudo DOCKER_BUILDKIT=0 docker build --quiet --tag {BASE} --file base .",
        f"sudo docker push --quiet {BASE}",
    ]
    lab.host("spark1").check_output(" && ".join(steps))


def _rows(
    lab: Lab, ssh: str, address: str, options: dict[str, Any], processor_seconds: Callable[[], float], layer_mib: int
) -> list[tuple[str, list[float], list[float], float]]:
    """For each way the seconds and the processor seconds, from nothing and from all layers but one, and GB pulled."""
    worker, ident = lab.host("spark2"), options["peer_copy_image"]
    role = {"name": "sparkops.dgx_spark.peer_copy", "tasks_from": "image"}
    play = {
        "hosts": "spark",
        "gather_facts": False,
        "vars": {**options, "peer_copy_image_name": IMAGE},
        "tasks": [{"name": "It", "ansible.builtin.include_role": role}],
    }

    def ours() -> float:
        """The time of the play's tasks, without what starting Ansible takes."""
        run = lab.play([play])
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
        BY_HAND: shell(f"{ssh} {address} sudo docker save {IMAGE} | sudo docker load --quiet"),
        "docker pull on every Spark": shell(f"sudo docker pull --quiet {IMAGE}"),
    }
    rows = []
    for name, way in ways.items():
        seconds, used = [], []
        for had in (False, True):
            worker.check_output("sudo docker image prune --all --force")
            if had:
                worker.check_output(f"sudo docker pull --quiet {BASE}")
            control(lab, "DELETE", "/stats")
            before = processor_seconds()
            seconds.append(way())
            used.append(processor_seconds() - before)
            assert worker.check_output(ID_OF) == ident
            served = control(lab, "GET", "/stats")["services"]["registry"]["content_bytes"] / 1e9
            if not had:
                pulled = LAYERS * layer_mib * 2**20 / 1e9 + served  # the leader's own pull, which every way needs
        rows.append((name, seconds, used, pulled))
    return rows


def _print(store: str, rows: list[tuple[str, list[float], list[float], float]], layer_mib: int) -> None:
    """Print one table."""
    by_hand = next(seconds for name, seconds, _used, _pulled in rows if name == BY_HAND)
    size = LAYERS * layer_mib * 2**20 / 1e9
    heads = ["s, has nothing", "by hand", "processor s", f"s, has {LAYERS - 1} layers", "by hand", "processor s"]
    heads.append("GB from the registry, both Sparks")
    print(f"\nAn image of {size:.2f} GB in {LAYERS} layers, Docker with its {store}, virtual Sparks on one machine\n")
    print(f"| {'way':29} | {' | '.join(heads)} |")
    print(f"| {'-' * 29} | {' | '.join('-' * len(one) for one in heads)} |")
    for name, seconds, used, pulled in rows:
        cells = [
            cell
            for number in range(2)
            for cell in (
                f"{seconds[number]:.1f}",
                f"{seconds[number] / by_hand[number]:.2f} x",
                f"{used[number]:.1f}",
            )
        ]
        row = [f"{cell:>{len(head)}}" for cell, head in zip([*cells, f"{pulled:.2f}"], heads)]
        print(f"| {name:29} | {' | '.join(row)} |", flush=True)
