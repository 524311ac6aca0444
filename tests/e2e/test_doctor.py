# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor on virtual Sparks: what is injected is found where it is, mended where that is safe, and nothing else.

What a virtual Spark cannot have is listed in docs/troubleshooting.md as hardware, and is tried on facts alone, in
tests/unit.
"""

from __future__ import annotations

import json
import tarfile
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from .conftest import SPARKS, Lab, Pair, Run, brought_up, eventually, taken_down
from .doctor_faults import BLANK, FAILED, FAULTS, GONE, HUB, MANAGEMENT, SWARM, Fault, contained
from .state import BY_SERVING, captured, differences
from .test_serve_faults import INJECTED, inside
from .test_two_spark_faults import state as supervised

pytestmark = pytest.mark.matrix

#: what a virtual Spark has in any case: it may not set its machine's clock, and nothing there keeps the time; and a
#: virtual cable carries less than a real card in its bad state
ALWAYS = {"clock_unsynchronised", "fabric_slow_card"}
STATE = "/var/lib/dgx-spark/trtllm/state.json"
#: the lab's own hub and registry stand for the outside
QUIET = {"doctor_fail_at": "never", "doctor_reach": "huggingface.test:80"}
TOKEN = "hf_" + "PlantedPlantedPlantedPlanted000000"
KEY = "Xq81mSecretValue77"  # like any word, and no variable holds it


def looked(lab: Lab, **options: Any) -> Run:
    run = lab.play("doctor.yml", **{**QUIET, **options})
    assert run.status == "successful", run.said
    return run


def told(findings: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The hosts of each check that found something, but for what a virtual Spark always has."""
    every: dict[str, set[str]] = {}
    for one in findings:
        if one["check"] not in ALWAYS:
            every.setdefault(one["check"], set()).update(one["hosts"])
    return {check: sorted(hosts) for check, hosts in every.items()}


def found(run: Run) -> dict[str, list[str]]:
    return told(run.results("Show what was found")["localhost"]["findings"])


@pytest.fixture(scope="module")
def sound(serving: Pair) -> dict[str, list[str]]:
    """What the doctor finds on two Sparks that serve: nothing."""
    eventually(lambda: bool(serving.asked()), True, seconds=180)
    before = captured(serving)
    seen = found(looked(serving))
    assert differences(before, captured(serving), BY_SERVING) == [], "it changes nothing"
    return seen


def test_two_sparks_that_serve_have_nothing(sound: dict[str, list[str]]) -> None:
    assert sound == {}


def injected(lab: Lab, fault: Fault, sound: set[str]) -> Run:
    """Do it, look, take it back, and assert that it was found where it is, and nothing else.

    :param sound: what is found without it.
    """
    sparks = SPARKS if fault.both else (fault.spark,)
    done = []
    try:
        for name in sparks:
            done.append(name)
            lab.host(name).check_output(fault.command)
        run = looked(lab, **fault.options, **({"doctor_treat": fault.treat} if fault.treat else {}))
    finally:
        for name in done:
            lab.host(name).check_output(fault.undo)
    seen = found(run)
    must = {*fault.finds, *fault.elsewhere}
    assert must <= set(seen) <= {*must, *fault.also, *sound}
    assert all(name in seen[check] for check in fault.finds for name in sparks)
    assert not any(fault.spark in seen[check] for check in set(fault.elsewhere) - set(fault.finds))
    return run


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_is_injected_is_found_mended_where_safe_and_nothing_else(
    serving: Pair, sound: dict[str, Any], fault: Fault
) -> None:
    run = injected(serving, fault, set())
    if fault.treat:
        left = run.results("Show what is left")["localhost"]
        assert f"{fault.treat} on {fault.spark}" in left["mended"]
        assert fault.treat not in told(left["findings"])
    else:
        assert run.changed == {}, run.made()
    eventually(lambda: set(found(looked(serving))) - {"serving_waiting", "serving_failing"}, set(), seconds=300)


@pytest.fixture(scope="module")
def usual(lab: Lab) -> set[str]:
    """What the doctor finds on two Sparks that no role has touched."""
    return set(found(looked(lab)))


@pytest.mark.parametrize("fault", BLANK.values(), ids=BLANK)
def test_what_is_injected_into_blank_sparks_is_found_and_nothing_else(lab: Lab, usual: set[str], fault: Fault) -> None:
    assert injected(lab, fault, usual).changed == {}
    assert set(found(looked(lab))) == usual, "and it is over"


def test_tasks_of_a_swarm_that_end_again_and_again_are_found(serving: Pair) -> None:
    spark = serving.host("spark1")
    if spark.check_output("sudo docker info --format '{{.Swarm.ControlAvailable}}'").strip() != "true":
        pytest.skip("these Sparks serve without a Swarm")
    image = spark.check_output("sudo docker images --quiet --no-trunc --filter label=dgx-spark").split()[0]
    spark.check_output(
        "sudo docker service create --detach --no-resolve-image --name injected_ends --restart-delay 1s "
        f"--constraint node.hostname==spark1 --entrypoint sh {image} -c 'exit 255'"
    )
    try:
        eventually(lambda: spark.check_output(FAILED).count("Failed") >= 3, True, seconds=120)
        seen = found(looked(serving))
    finally:
        spark.check_output("sudo docker service rm injected_ends")
    assert seen["swarm_task_fails"] == ["spark1"]
    assert set(seen) <= {"swarm_task_fails", "container_ended"}


@pytest.fixture
def stopped(serving: Pair) -> Iterator[Pair]:
    """Two Sparks whose engine stop.yml has ended."""
    eventually(lambda: bool(serving.asked()), True, seconds=180)
    assert serving.play("stop.yml", spark_drain_seconds=0).status == "successful"
    yield serving
    assert serving.serve("start.yml").status == "successful"


def test_a_port_that_is_taken_from_an_engine_that_was_stopped_is_found(stopped: Pair) -> None:
    leader = stopped.host("spark1")
    leader.check_output(
        "sudo systemd-run --quiet --unit injected python3 -m http.server --bind 127.0.0.1 8355; sleep 1"
    )
    try:
        seen = found(looked(stopped))
    finally:
        leader.check_output("sudo systemctl stop injected")
    assert seen["port_taken"] == ["spark1"]
    assert "spark1" in seen["serving_kept_stopped"]
    assert set(seen) == {"port_taken", "serving_kept_stopped"}


@pytest.mark.parametrize(("phase", "finds"), [("serving", "serving_without_container"), ("waiting", "serving_waiting")])
def test_what_the_state_of_an_engine_tells_is_found(stopped: Pair, phase: str, finds: str) -> None:
    """What a supervisor told last, as a power cut leaves it; of one that waits, since an hour."""
    write = (
        f"import json; path = '{STATE}'; about = json.load(open(path)); "
        f"about.update(phase='{phase}', reason='injected', at=about['at'] - 3600); json.dump(about, open(path, 'w'))"
    )
    leader = stopped.host("spark1")
    leader.check_output(f"sudo cp --preserve {STATE} /var/tmp/state.json")
    leader.check_output("sudo python3 -c %s", write)
    try:
        seen = found(looked(stopped))
    finally:
        leader.check_output(f"sudo cp --preserve /var/tmp/state.json {STATE}")
    assert seen[finds] == ["spark1"]


def test_a_unit_that_was_stopped_is_found_and_started(serving: Pair) -> None:
    if serving.variables["spark_launcher"] != "docker":
        pytest.skip("no unit serves")
    eventually(lambda: bool(serving.asked()), True, seconds=180)
    serving.host("spark2").check_output("sudo systemctl stop dgx-spark-trtllm")
    run = looked(serving, doctor_treat="serving_stopped")
    assert found(run)["serving_stopped"] == ["spark2"]
    assert "serving_stopped on spark2" in run.results("Show what is left")["localhost"]["mended"]
    eventually(lambda: bool(serving.asked()), True, seconds=300)


def test_a_container_that_is_gone_is_found(serving: Pair) -> None:
    if serving.variables["spark_launcher"] != "docker":
        pytest.skip("a Swarm makes it anew")
    spark = serving.host("spark2")
    spark.check_output("sudo systemctl stop dgx-spark-trtllm && sudo docker rm dgx-spark-trtllm")
    try:
        spark.run("sudo systemctl start dgx-spark-trtllm")
        active = "sudo systemctl show --property ActiveState dgx-spark-trtllm"
        eventually(lambda: spark.check_output(active), "ActiveState=failed", seconds=120)
        seen = found(looked(serving))
    finally:
        run = serving.serve()
    assert seen["serving_image_missing"] == ["spark2"]
    assert run.status == "successful", run.said


def test_an_engine_that_fails_again_and_again_is_found_and_one_that_gave_up(serving: Pair) -> None:
    """A file of the model is gone from one Spark, which fails every start."""
    worker = serving.host("spark2")
    blob = worker.check_output(f"ls -S {HUB}/blobs/* | head -1")
    assert serving.serve(engine_serve_max_starts=4).status == "successful"
    try:
        worker.check_output(f"mv {blob} {blob}.away && sudo pkill -KILL -f [m]gmn_worker_node")
        eventually(lambda: supervised(serving)["phase"], "failed", seconds=120)
        failing = found(looked(serving))
        eventually(lambda: supervised(serving)["phase"], "gave up", seconds=300)
        gave_up = found(looked(serving))
    finally:
        worker.check_output(f"mv {blob}.away {blob}")
        run = serving.serve()
    assert run.status == "successful", run.said
    assert {"serving_failing", "serving_gave_up"} & set(failing)
    assert gave_up["serving_gave_up"] == ["spark1"]
    assert "model_broken" in gave_up


def test_an_engine_over_tcp_is_found(serving: Pair) -> None:
    over_tcp = {"engine_serve_require_rdma": False, "trtllm_serve_environment": {"NCCL_IB_DISABLE": "1"}}
    assert serving.serve(**over_tcp).status == "successful"
    try:
        seen = found(looked(serving))
    finally:
        run = serving.serve()
    assert run.status == "successful", run.said
    assert seen["serving_over_tcp"] == ["spark1"]
    assert set(seen) <= {"serving_over_tcp", "container_ib_off", "log_over_tcp"}


def test_an_engine_that_stands_still_is_found(serving: Pair) -> None:
    """Rank 1 loads no further, and says nothing for two minutes."""
    eventually(lambda: bool(serving.asked()), True, seconds=180)
    worker = serving.host("spark2")
    worker.check_output(inside(f"mkdir -p {INJECTED} && touch {INJECTED}/stand-still"))
    try:
        worker.check_output("sudo pkill -KILL -f [m]gmn_worker_node")
        eventually(lambda: supervised(serving)["phase"], "starting", seconds=120)
        time.sleep(135)  # two minutes are the least
        seen = found(looked(serving))
    finally:
        worker.check_output(inside(f"rm -rf {INJECTED}"))
    assert "engine_hangs" in seen
    eventually(lambda: bool(serving.asked()), True, seconds=300)


def test_a_cable_that_is_out_is_found(lab: Lab) -> None:
    lab.play("lab/playbooks/cable.yml", virtual_spark_cable_plugged=False)
    try:
        seen = found(looked(lab))
    finally:
        lab.play("lab/playbooks/cable.yml")
    assert seen["fabric_no_carrier"] == list(SPARKS)


def test_a_cable_between_unlike_cages_is_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    crossed = brought_up(tmp_path_factory.mktemp("crossed"), virtual_spark_cabling="crossed")
    try:
        seen = found(looked(crossed))
    finally:
        taken_down(crossed)
    assert seen["cages_crossed"] == list(SPARKS)


def test_users_of_two_names_are_found(lab: Lab) -> None:
    spark, inventory = lab.host("spark2"), lab.hosts(*SPARKS)
    spark.check_output(
        "sudo useradd --create-home --shell /bin/bash other && sudo cp -r ~/.ssh ~other/ && sudo chown -R other ~other"
        " && echo 'other ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/other"
    )
    inventory["spark"]["hosts"]["spark2"]["ansible_user"] = "other"
    try:
        run = lab.play("doctor.yml", inventory=inventory, **QUIET)
    finally:
        spark.check_output("sudo rm /etc/sudoers.d/other; sudo userdel --force --remove other")
    assert found(run)["users_differ"] == list(SPARKS)


def test_a_node_of_a_swarm_that_is_down_is_found(lab: Lab) -> None:
    leader, worker = map(lab.host, SPARKS)
    leader.check_output(SWARM.format(address=MANAGEMENT))
    try:
        token = leader.check_output("sudo docker swarm join-token --quiet worker")
        address = leader.check_output("sudo docker info --format '{{.Swarm.NodeAddr}}'")
        worker.check_output(f"sudo docker swarm join --token {token} {address}:2377")
        worker.check_output("sudo systemctl stop docker docker.socket")
        nodes = "sudo docker node ls --format '{{.Status}}'"
        eventually(lambda: sorted(leader.check_output(nodes).split()), ["Down", "Ready"], seconds=60)
        seen = found(looked(lab))
    finally:
        worker.check_output("sudo systemctl start docker")
        for spark in (worker, leader):
            spark.check_output("sudo docker swarm leave --force")
    assert seen["swarm_node_down"] == ["spark1"]
    assert seen["docker_stopped"] == ["spark2"]


@pytest.mark.parametrize("name", ["nonsense", "memory_low"])
def test_a_name_that_cannot_be_mended_changes_nothing(serving: Pair, name: str) -> None:
    eventually(lambda: bool(serving.asked()), True, seconds=180)  # one before may have ended the engine
    before = captured(serving)
    run = serving.play("doctor.yml", doctor_treat=name)
    assert run.status == "failed"
    assert "Nothing was changed." in run.words
    assert set(run.stats) & set(SPARKS) == set(), "no Spark was asked"
    assert differences(before, captured(serving), BY_SERVING) == []


def test_no_secret_is_in_an_archive(serving: Pair, tmp_path: Path) -> None:
    spark = serving.host("spark2")
    spark.check_output(
        contained(
            f"--env HF_TOKEN={TOKEN} --label token={TOKEN}", f"'echo Bearer {TOKEN}; sleep 86400' --api-key {KEY}"
        )
    )
    try:
        run = looked(serving, doctor_bundle=True, doctor_bundle_dir=str(tmp_path), spark_hf_token=TOKEN)
    finally:
        spark.check_output(GONE)
    (path,) = tmp_path.glob("doctor-*.tar.gz")
    with tarfile.open(path) as tar:
        streams = {one.name: tar.extractfile(one) for one in tar.getmembers()}
        texts = {name: stream.read().decode() for name, stream in streams.items() if stream}
    assert [name for name, text in texts.items() if TOKEN in text or KEY in text] == []
    assert any(name.endswith("spark2/logs/vllm.log") for name in texts)
    assert TOKEN not in run.said
    begin = "sudo grep -hrA1 'BEGIN OPENSSH PRIVATE KEY' /etc/dgx-spark/trtllm/ssh"
    keys = [host.check_output(begin) for host in map(serving.host, SPARKS)]
    assert [name for name, text in texts.items() for key in keys if key.splitlines()[1] in text] == []


def test_blank_sparks_are_read_with_and_without_root_and_stay_as_they_are(lab: Lab, tmp_path: Path) -> None:
    """No role has ever run there. Their toolkit is not configured yet, and the lab's hub has no model."""
    before = captured(lab)
    as_root = found(looked(lab, doctor_json=str(tmp_path / "doctor.json")))
    run = looked(lab, doctor_become=False)
    assert differences(before, captured(lab)) == []
    assert set(as_root) - {"toolkit_missing", "fabric_link_local"} == {"model_refused"}
    assert "no_root" in found(run)
    always = run.results("Show what was found")["localhost"]["findings"]
    assert "clock_unsynchronised" in {one["check"] for one in always}, "which nothing in a virtual Spark keeps"
    unread = {
        name for one in run.results("Show what was found")["localhost"]["not_looked_at"] for name in one["checks"]
    }
    assert {"kernel_oom", "docker_old"} <= unread
    assert json.loads((tmp_path / "doctor.json").read_text())["schema"] == 1


def test_a_spark_that_is_away_is_told_beside_the_other(lab: Lab) -> None:
    inventory = lab.hosts(*SPARKS)
    inventory["spark"]["hosts"]["spark2"]["ansible_host"] = "192.0.2.1"
    inventory["spark"]["hosts"]["spark2"]["ansible_ssh_common_args"] = "-o ConnectTimeout=3"
    run = lab.play("doctor.yml", inventory=inventory, doctor_reach="")
    assert run.status == "failed"
    assert found(run)["unreachable"] == ["spark2"]
    assert "unreachable on spark2" in run.words
