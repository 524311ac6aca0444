# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One, two and three Sparks, Open MPI 5 and 4, both launchers: served, run again, changed and undone."""

from __future__ import annotations

from typing import Any, Iterator

import pytest

from .conftest import Pair, Run, eventually, stocked, taken_down
from .test_two_spark_faults import INJECTED, INSIDE, incarnations, left_alone_while_busy, state

pytestmark = pytest.mark.matrix
PLAYBOOKS = {1: "single_spark.yml", 2: "two_spark.yml", 3: "serve.yml"}
SIZES = {
    "one": (1, "5.0", "auto"),
    "two-mpi5": (2, "5.0", "auto"),
    "two-mpi4": (2, "4.1", "auto"),
    "ring-mpi5": (3, "5.0", "ring"),
    "ring-mpi4": (3, "4.1", "ring"),
    "switch-mpi5": (3, "5.0", "switch"),
    "switch-mpi4": (3, "4.1", "switch"),
}


@pytest.fixture(scope="module", params=SIZES.values(), ids=SIZES)
def sparks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    count, mpi, cabling = request.param
    variables = {
        "virtual_spark_count": count,
        "virtual_spark_engine_openmpi": mpi,
        "virtual_spark_cabling": cabling,
    }
    one = stocked(tmp_path_factory.mktemp("matrix"), **variables)
    if count > 2:  # MPI takes the management network on a ring, past the owner's firewall
        for name in one.names:
            one.host(name).check_output("sudo ufw allow 22/tcp && sudo ufw --force enable")
    yield one
    taken_down(one)


def serve(lab: Pair, launcher: str, **options: Any) -> Run:
    run = lab.serve(PLAYBOOKS[len(lab.names)], spark_launcher=launcher, **options)
    assert run.status == "successful", run.said
    return run


def undo(sparks: Pair) -> None:
    role = {"name": "sparkops.dgx_spark.trtllm_serve", "tasks_from": "undo"}
    tasks = [{"name": "Undo", "ansible.builtin.include_role": role}]
    run = sparks.play([{"hosts": "spark", "gather_facts": False, "tasks": tasks}])
    assert run.status == "successful", run.said


def left(lab: Pair, name: str) -> str:
    """What there is of the serving on a Spark."""
    about = (
        "docker ps --all --quiet; docker volume ls --quiet; docker network ls --format '{{.Name}}' | grep trtllm;"
        " docker image ls --quiet --filter label=dgx-spark=trtllm-serve;"
        " ls -d /etc/dgx-spark/trtllm /var/lib/dgx-spark/trtllm* 2>/dev/null; find /etc/systemd -name '*trtllm*';"
        " ufw show added | grep 'DGX Spark serving'"
    )
    return lab.host(name).run("sudo sh -c %s", about).stdout


@pytest.mark.parametrize("launcher", ["swarm", "docker"])
def test_served_run_again_changed_and_undone(sparks: Pair, launcher: str) -> None:
    first = serve(sparks, launcher)
    answer = first.results("check | Send a question to the engine")["spark1"]["answer"]
    assert [rank["host"] for rank in answer["virtual_spark"]["ranks"]] == sparks.names
    if len(sparks.names) > 1:
        assert {name: about["transport"] for name, about in state(sparks)["ranks"].items()} == dict.fromkeys(
            sparks.names, "IB"
        )
    for name in sparks.names:
        tuned = sparks.host(name).check_output("sudo sh -c 'ls /var/lib/dgx-spark/trtllm/cache/*/autotuner'")
        assert tuned.endswith(".json"), "kept for the next start"
    for check in (False, True):
        assert serve(sparks, launcher, check=check).changed == {}

    ranks = incarnations(sparks)
    shape = {"tp_size": 1, "pp_size": 3} if len(sparks.names) == 3 else {"tp_size": len(sparks.names)}
    options = {"trtllm_serve_arguments": {**shape, "max_batch_size": 2, "max_num_tokens": 4096}}
    assert serve(sparks, launcher, **options).changed
    changed = incarnations(sparks)
    assert len(changed - ranks) == len(sparks.names)
    assert serve(sparks, launcher, **options).changed == {}
    assert incarnations(sparks) == changed, "it was rolled out once"

    undo(sparks)
    assert {name: left(sparks, name) for name in sparks.names} == dict.fromkeys(sparks.names, "")


@pytest.mark.parametrize("sparks", [SIZES["two-mpi5"]], indirect=True)
def test_sparks_that_the_inventory_names_otherwise(sparks: Pair) -> None:
    inventory = sparks.hosts(*sparks.names)
    hosts = inventory["spark"]["hosts"]
    inventory["spark"]["hosts"] = {"left": hosts["spark1"], "right.example.org": hosts["spark2"]}
    inventory["spark"]["vars"]["trtllm_serve_launcher"] = "docker"
    run = sparks.serve(inventory=inventory)
    assert run.status == "successful", run.said
    assert {name: about["transport"] for name, about in state(sparks)["ranks"].items()} == {"left": "IB", "right": "IB"}
    assert sparks.host("spark1").check_output("sudo docker ps --format '{{.Names}}'") == "dgx-spark-trtllm"
    again = sparks.serve(inventory=inventory)
    assert again.status == "successful", again.said
    assert again.changed == {}, again.made()


@pytest.mark.parametrize("sparks", [SIZES["two-mpi5"]], indirect=True)
def test_sparks_of_one_host_name_are_refused(sparks: Pair) -> None:
    spark = sparks.host("spark2")
    own = spark.check_output("hostname")
    spark.check_output("sudo hostname spark1.example.org")
    try:
        run = sparks.serve(spark_launcher="docker")
    finally:
        spark.check_output(f"sudo hostname {own}")
    assert run.status == "failed"
    assert run.changed == {}, run.made()
    assert "spark1, spark2 have the host names spark1, spark1, up to the first dot" in run.words


@pytest.mark.parametrize("sparks", [SIZES["two-mpi5"]], indirect=True)
def test_caches_are_dropped_before_every_load_where_that_was_consented_to(sparks: Pair) -> None:
    """Into a file here: this machine's caches are not a virtual Spark's own."""
    switch = "/var/tmp/drop_caches"

    def empty() -> None:
        for name in sparks.names:
            sparks.host(name).check_output(f"sudo truncate --size 0 {switch}")

    def dropped() -> list[str]:
        return [sparks.host(name).check_output(f"cat {switch}") for name in sparks.names]

    empty()
    serve(sparks, "swarm", engine_serve_drop_caches=True, engine_serve_drop_caches_path=switch)
    assert dropped() == ["3", "3"]
    empty()
    ranks = incarnations(sparks)
    sparks.host("spark2").check_output("sudo pkill -KILL -f [m]gmn_worker_node")
    eventually(lambda: len(incarnations(sparks) - ranks), 2, seconds=150)
    assert dropped() == ["3", "3"], "also when nobody is there"


@pytest.mark.parametrize("sparks", [SIZES["two-mpi5"]], indirect=True)
def test_docker_that_keeps_images_with_containerd(sparks: Pair) -> None:
    """As a Docker 29 that was newly installed does; an image goes by another ID there."""
    serve(sparks, "docker")
    undo(sparks)
    # Below a volume: containerd cannot stack its layers on a container's own.
    config = 'version = 2\nroot = "/var/lib/docker/store"'
    feature = '1s/{/{"features": {"containerd-snapshotter": true},/'
    for name in ("spark2", "spark1"):
        spark = sparks.host(name)
        spark.check_output("sudo mkdir -p /etc/containerd; echo %s | sudo tee /etc/containerd/config.toml", config)
        spark.check_output(
            "sudo sed -i %s /etc/docker/daemon.json && sudo systemctl restart containerd docker", feature
        )
        if name == "spark2":
            run = sparks.serve(spark_launcher="docker")
            assert run.status == "failed"
            assert run.changed == {}, run.made()
            assert "'spark1': 'graph driver', 'spark2': 'containerd'" in run.words
    for launcher in ("docker", "swarm"):
        serve(sparks, launcher)
        assert serve(sparks, launcher).changed == {}
    undo(sparks)
    assert {name: left(sparks, name) for name in sparks.names} == dict.fromkeys(sparks.names, "")


@pytest.mark.parametrize("sparks", [SIZES["one"]], indirect=True)
def test_a_base_model_that_does_not_chat_is_served_and_asked_all_the_same(sparks: Pair) -> None:
    base = {"virtual_spark_model": "lab/tiny-base", "virtual_spark_model_chat": False}
    assert sparks.play("lab/playbooks/engine.yml", **base).status == "successful"
    run = serve(sparks, "docker", spark_model="lab/tiny-base")
    assert "choices" in run.results("check | Send a question to the engine")["spark1"]["answer"]
    assert state(sparks)["path"] == "/v1/completions"
    assert sparks.asked() == {}
    assert serve(sparks, "docker", spark_model="lab/tiny-base").changed == {}


@pytest.mark.parametrize("sparks", [SIZES["one"]], indirect=True)
def test_gpt_oss_chats_by_vocabularies_that_were_brought_once(sparks: Pair) -> None:
    config = {"model_type": "gpt_oss", "num_attention_heads": 8, "max_position_embeddings": 4096}
    oss = {"virtual_spark_model": "lab/tiny-oss", "virtual_spark_model_config": config}
    assert sparks.play("lab/playbooks/engine.yml", **oss).status == "successful"
    spark, names = sparks.host("spark1"), ("o200k_base.tiktoken", "cl100k_base.tiktoken")
    for name in names:
        spark.check_output(f"mkdir -p /tmp/encodings && echo 'SIMULATED {name}' > /tmp/encodings/{name}")
    spark.check_output(
        "sudo systemd-run --unit encodings --working-directory /tmp/encodings python3 -m http.server 8998"
    )
    options = {
        "spark_model": "lab/tiny-oss",
        "trtllm_serve_encodings_url": "http://127.0.0.1:8998",
        "trtllm_serve_encodings": {name: spark.file(f"/tmp/encodings/{name}").sha256sum for name in names},
    }
    before = sparks.state()
    nowhere = {**options, "trtllm_serve_encodings_url": "http://127.0.0.1:8997"}
    run = sparks.serve(PLAYBOOKS[1], spark_launcher="docker", **nowhere)
    assert run.status == "failed", run.said
    assert "cannot download http://127.0.0.1:8997/o200k_base.tiktoken" in run.words
    assert (run.changed, sparks.state()) == ({}, before)

    serve(sparks, "docker", **options)
    assert state(sparks)["path"] == "/v1/chat/completions"
    spark.check_output("sudo systemctl stop encodings")
    assert serve(sparks, "docker", **options).changed == {}

    ranks = incarnations(sparks)
    with sparks.offline():
        spark.check_output("sudo systemctl restart dgx-spark-trtllm")
        eventually(lambda: bool(incarnations(sparks) - ranks), True, seconds=120)

    spark.check_output(
        "sudo rm /var/lib/dgx-spark/trtllm/o200k_base.tiktoken && sudo systemctl restart dgx-spark-trtllm"
    )
    eventually(lambda: "load vocab file" in state(sparks)["reason"], True, seconds=120)
    assert state(sparks)["phase"] == "starting", "it does not serve by a completion instead"


@pytest.fixture
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    one = stocked(tmp_path_factory.mktemp("crossed"), virtual_spark_cabling="crossed")
    yield one
    taken_down(one)


def test_every_rank_uses_the_devices_of_its_own_cable(crossed: Pair) -> None:
    run = crossed.serve()
    assert run.status == "successful", run.said
    used = {name: about["devices"] for name, about in state(crossed)["ranks"].items()}
    assert "rocep1s0f0" in used["spark1"]
    assert "rocep1s0f1" in used["spark2"]
    assert "f1" not in used["spark1"].partition(";")[0]
    assert "f0:" not in used["spark2"].partition(";")[0]


@pytest.fixture
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    one = stocked(tmp_path_factory.mktemp("earlier"), virtual_spark_count=1, virtual_spark_engine_version="1.2.0")
    yield one
    taken_down(one)


def test_an_engine_before_1_3_that_is_busy_is_left_alone_and_a_dead_one_is_not(earlier: Pair) -> None:
    """Its /metrics does not end while tokens flow, and its /health says 200 whatever happens."""
    image = {"spark_image": "nvcr.test/nvidia/tensorrt-llm/release:1.2.0"}
    serve(earlier, "docker", **image, engine_serve_canary_timeout=10, engine_serve_canary_interval=2)
    ranks, spark = left_alone_while_busy(earlier, 90), earlier.host("spark1")
    spark.check_output(INSIDE, f"touch {INJECTED}/engine-dead")
    eventually(lambda: "the engine is dead" in state(earlier).get("last_end", ""), True, seconds=60)
    eventually(lambda: spark.run(INSIDE, f"rm {INJECTED}/engine-dead").succeeded, True, seconds=30)
    eventually(lambda: bool(incarnations(earlier) - ranks), True, seconds=120)


@pytest.fixture
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    one = stocked(tmp_path_factory.mktemp("newer"), virtual_spark_count=1, virtual_spark_engine_version="1.4.0rc0")
    yield one
    taken_down(one)


def test_an_image_that_carries_a_schema_judges_what_it_is_told(newer: Pair) -> None:
    """Tables doubt what they do not know; the image, once it is there, refuses it before anything serves."""
    image = {"spark_image": "nvcr.test/nvidia/tensorrt-llm/release:1.4.0rc0"}
    spark, notes = newer.host("spark1"), "sudo find /var/lib/dgx-spark/trtllm -name 'image-*.json' -perm 644"
    told = newer.serve(PLAYBOOKS[1], **image, trtllm_serve_options={"dream_mode": True})
    assert told.status == "failed", told.said
    assert "dream_mode is no key of TensorRT-LLM 1.4.0rc0. Nothing but the image was changed." in told.words
    assert "dream_mode is no key that is known of any TensorRT-LLM" in told.words, "as the plan said before"
    assert spark.check_output("sudo docker ps --all --quiet") == ""
    (note,) = spark.check_output(notes).splitlines()
    known = {"kv_cache_config": {"disk_cache_path": "/var/tmp"}, "enable_tokenization_cache": True}
    serve(newer, "docker", **image, trtllm_serve_options=known)
    again = serve(newer, "docker", **image, trtllm_serve_options=known)
    assert again.changed == {}, again.made()
    assert again.registered("trtllm_serve_plan")["spark1"]["judged"] == {"options": "schema", "arguments": "help"}
    flags = newer.serve(PLAYBOOKS[1], **image, trtllm_serve_arguments={"tp_size": 1, "max_batchsize": 4})
    assert flags.status == "failed"
    assert "max_batchsize is no flag of the image's trtllm-serve, as its --help says; did you mean" in flags.words
    assert flags.words.count("Nothing was changed.")
    assert "usage reports are off: TRTLLM_NO_USAGE_STATS" in spark.check_output(
        "sudo docker logs dgx-spark-trtllm 2>&1"
    )
    assert "trtllm_request_success_total" in spark.check_output("curl --silent 127.0.0.1:8355/prometheus/metrics")
    spark.check_output(f"sudo rm {note}")  # as after an upgrade of a version that kept nothing
    assert newer.serve(PLAYBOOKS[1], check=True, **image, trtllm_serve_options=known).planned() == {
        "spark1": {"Keep what the image says of its flags and keys"}
    }
    kept = serve(newer, "docker", **image, trtllm_serve_options=known)
    assert kept.made() == {"spark1": {"Keep what the image says of its flags and keys"}}
    undo(newer)
    assert spark.check_output("ls /var/lib/dgx-spark/trtllm /etc/dgx-spark/trtllm 2>/dev/null || true") == ""
