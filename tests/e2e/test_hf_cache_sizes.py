# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a model and an image cross the internet, for two, three and four Sparks: once.

The model has 4.4 GB, since each disconnect costs what hf has not written yet, up to 10 MiB.
"""

from __future__ import annotations

from typing import Any, Iterator

import pytest

from .conftest import SERVED, Run, stocked, taken_down
from .test_hf_cache import CacheLab
from .test_internet import control, in_internet

pytestmark = pytest.mark.matrix
MODEL, SIZE, SHARDS = "lab/large", 4_400_000_000, 8


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CacheLab]:
    """Four Sparks on a switch, whose fabric has addresses, a model and an image to be had."""
    plain = stocked(tmp_path_factory.mktemp("four"), virtual_spark_count=4)
    one = CacheLab(plain.scratch, plain.name, plain.variables)
    seed = ["python3", "-m", "virtual_internet.seed", "--root=/srv/virtual-internet", f"--repo={MODEL}"]
    in_internet(one, *seed, f"--size={SIZE}", f"--shards={SHARDS}")
    fabric = {"name": "sparkops.dgx_spark.cx7_network"}
    tasks = [{"name": "Fabric", "ansible.builtin.import_role": fabric, "vars": {"cx7_network_members": one.names}}]
    run = one.play([{"hosts": "spark", "gather_facts": False, "tasks": tasks}])
    assert run.status == "successful", run.said
    yield one
    taken_down(one)


def on(lab: CacheLab, names: list[str], tasks: list[dict[str, Any]], **options: Any) -> Run:
    """Run tasks with the role's variables, on these Sparks alone."""
    (play,) = lab.plays(hf_cache_repo=MODEL, hf_cache_token="", hf_cache_members=names, **options)
    run = lab.play([{**play, "tasks": tasks}], inventory=lab.hosts(*names))
    assert run.status == "successful", run.said
    return run


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_model_and_an_image_cross_the_internet_once(four: CacheLab, count: int) -> None:
    names = four.names[:count]
    four.forget(MODEL)
    for name in four.names:
        four.host(name).check_output("sudo docker image prune --all --force")
    role = {"name": "sparkops.dgx_spark.hf_cache"}
    for about in (
        {"match": "cdn.*00002-of", "after_bytes": 123_456_789},
        {"match": "cdn.*00007", "after_bytes": 7_654_321},
    ):
        four.fault(kind="cut", how="fin", times=1, **about)

    run = on(four, names, [{"name": "Have the model", "ansible.builtin.import_role": role}])
    size = run.registered("hf_cache_report")["spark1"]["bytes"]
    assert [fault["kind"] for fault in control(four, "GET", "/faults")["applied"]] == ["cut", "cut"]
    served = four.hub_bytes()
    print(f"{count} Sparks: {size} bytes of model, {served} served by the hub, {served / size - 1:.3%} more")
    assert size > SIZE
    assert size <= served <= 1.005 * size
    blobs = [four.blobs(name, MODEL) for name in names]
    assert all(one == blobs[0] for one in blobs)

    pull = {
        "name": "Pull it",
        "sparkops.dgx_spark.image_pull_progress": {"name": SERVED["spark_image"]},
        "become": True,
        "when": "inventory_hostname == hf_cache_members[0]",
        "register": "pulled",
    }
    copying = {"name": "sparkops.dgx_spark.peer_copy", "tasks_from": "image"}
    spread = {"name": "Spread it", "ansible.builtin.include_role": copying}
    image = {
        "peer_copy_members": "{{ hf_cache_members }}",
        "peer_copy_image": "{{ hostvars[hf_cache_members[0]].pulled.id }}",
        "peer_copy_image_name": SERVED["spark_image"],
    }
    run = on(four, names, [pull, {**spread, "vars": image}])
    registry = control(four, "GET", "/stats")["services"]["registry"]
    assert len(registry["clients"]) == 1, "the leader alone"
    layers = run.results("Pull it")["spark1"]["pulled_bytes"]
    print(f"{count} Sparks: {layers} bytes of layers, {registry['content_bytes']} served by the registry")
    assert layers <= registry["content_bytes"] <= 1.005 * layers + 100_000, "manifest and configuration are small"
    ids = {four.host(name).check_output("sudo docker image ls --no-trunc --quiet") for name in names}
    assert len(ids) == 1
