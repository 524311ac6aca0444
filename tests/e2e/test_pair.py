# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model that takes pictures on port 8356 beside one that does not on 8355: two instances on one Spark."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from typing import Any, Iterator

import pytest

from .conftest import SERVED, Pair, Run, eventually, stocked, taken_down
from .state import Allowed, State, captured
from .test_undo import MODEL_STAYS, STAYS, back, good, undone

pytestmark = pytest.mark.matrix
PLAYBOOK = "single_spark.yml"
FIRST, SECOND = "dgx-spark-trtllm", "dgx-spark-trtllm-vlm"
SEES = {
    "virtual_spark_model": "lab/tiny-sees",
    "virtual_spark_model_config": {
        **{"model_type": "lab_vl", "architectures": ["LabForConditionalGeneration"], "num_attention_heads": 8},
        **{"max_position_embeddings": 4096, "vision_config": {"model_type": "lab_vision", "patch_size": 14}},
    },
}
#: what a rank takes beside weights and KV cache, by the memory of this machine, and 3000 MiB for these
MIB = min(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20, 122880) // 20 + 3000
#: what a reboot between the first play and undo leaves
REMEMBERED = (
    Allowed(
        "units",
        r"dgx-spark-trtllm(-vlm)?\.service",
        "inactive: systemd knows the units of its last boot until it reads them again; the role's README says so",
    ),
)
BUDGET = {"spark_memory_budget_mib": MIB}
VLM = {"spark_model": "lab/tiny-sees", "spark_instance": "vlm", "spark_api_port": 8356}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One Spark, and two models on its hub."""
    one = stocked(tmp_path_factory.mktemp("beside"), virtual_spark_count=1)
    good(one.play("lab/playbooks/engine.yml", **SEES))
    yield one
    taken_down(one)


@pytest.fixture(scope="module")
def before(spark: Pair) -> State:
    """The Spark as it was before anything served, after a reboot as it will have one later."""
    reboot = {"hosts": "spark1", "become": True, "gather_facts": False, "tasks": [{"ansible.builtin.reboot": {}}]}
    good(spark.play([reboot]))
    spark.host("spark1").run("systemctl is-system-running --wait")
    return captured(spark)


@pytest.fixture(scope="module")
def both(spark: Pair, before: State) -> tuple[Run, Run]:
    """The runs of the playbook that made the two instances, the first of which was not touched by the second."""
    first = good(spark.serve(PLAYBOOK, **BUDGET))
    since = started(spark, FIRST)
    second = good(spark.serve(PLAYBOOK, **VLM, **BUDGET))
    assert started(spark, FIRST) == since, "the second's run restarted the first"
    return first, second


def started(spark: Pair, container: str) -> str:
    return spark.host("spark1").check_output("sudo docker inspect --format '{{.State.StartedAt}}' %s", container)


def chat(spark: Pair, port: int, content: Any = "Who are you?") -> dict[str, Any]:
    """The answer of an instance, or its error; empty where nothing answers."""
    body = json.dumps({"model": "any", "messages": [{"role": "user", "content": content}], "max_tokens": 64})
    command = "curl --silent --max-time 20 --json %s http://127.0.0.1:%s/v1/chat/completions"
    try:
        done = spark.host("spark1").run(command, body, str(port))
    except RuntimeError:  # ssh does not get there
        return {}
    return json.loads(done.stdout) if done.succeeded else {}


def serve_both(spark: Pair) -> list[bool]:
    return ["choices" in chat(spark, port) for port in (8355, 8356)]


def phase(spark: Pair, folder: str) -> str:
    return json.loads(spark.host("spark1").check_output(f"sudo cat /var/lib/dgx-spark/{folder}/state.json"))["phase"]


def test_each_answers_where_it_is_and_one_of_them_saw_a_picture(spark: Pair, both: tuple[Run, Run]) -> None:
    first, second = (run.registered("trtllm_serve_report")["spark1"] for run in both)
    assert (first["instance"], first["picture"]) == ("", "")
    assert (second["instance"], second["picture"]) == ("vlm", "256x192")
    assert second["endpoint"] == "http://127.0.0.1:8356/v1"
    answer = both[1].results("check | Send a question to the engine")["spark1"]["answer"]
    assert answer["virtual_spark"]["pictures"] == ["256x192"]
    assert first["kv_tokens"] < 65536, "its budget bounds the KV cache"
    assert serve_both(spark) == [True, True]
    shown = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    assert chat(spark, 8355, shown)["message"] == "Unknown modality: image"


def test_a_second_run_of_either_changes_nothing(spark: Pair, both: tuple[Run, Run]) -> None:
    for options in ({}, VLM):
        for check in (False, True):
            assert good(spark.serve(PLAYBOOK, check=check, **options, **BUDGET)).changed == {}
        assert good(spark.play("verify.yml", **{**SERVED, **options}, **BUDGET)).changed == {}


def test_what_the_first_has_is_refused_by_name_before_anything_changes(spark: Pair, both: tuple[Run, Run]) -> None:
    run = spark.serve(PLAYBOOK, **{**VLM, "spark_instance": "third", "spark_api_port": 8355}, **BUDGET)
    assert (run.status, run.changed) == ("failed", {})
    assert "port 8355 of 127.0.0.1 is the API's of the instance without a name (dgx-spark-trtllm)" in run.words
    assert "Nothing was changed." in run.words
    run = spark.serve(
        PLAYBOOK, **{**VLM, "spark_instance": "third", "spark_api_port": 8357}, spark_memory_budget_mib=10**6
    )
    assert (run.status, run.changed) == ("failed", {})
    assert f"{MIB} to the instance without a name (dgx-spark-trtllm), {MIB} to the instance vlm" in run.words


def loads(spark: Pair, container: str, since: str) -> list[tuple[datetime, datetime]]:
    """When each load of an engine began and ended, by its supervisor's lines since a time."""
    said = spark.host("spark1").check_output(f"sudo docker logs --timestamps --since {since} {container} 2>&1")
    found, began = [], None
    for line in said.splitlines():
        match = re.match(r"(\S{26})\S* dgx-spark: (starting|serving)\b", line)
        if match:
            at = datetime.fromisoformat(match[1])
            if match[2] == "starting" and began is None:
                began = at
            elif match[2] == "serving" and began:
                found.append((began, at))
                began = None
    return found


def test_after_a_reboot_both_come_back_and_load_one_after_the_other(spark: Pair, both: tuple[Run, Run]) -> None:
    host = spark.host("spark1")
    since, ends = host.check_output("date --utc +%Y-%m-%dT%H:%M:%SZ"), [started(spark, one) for one in (FIRST, SECOND)]
    host.run("sudo systemctl reboot; true")

    def again() -> bool:
        try:
            fresh = [started(spark, one) for one in (FIRST, SECOND)] != ends
        except (AssertionError, RuntimeError):
            return False
        return fresh and serve_both(spark) == [True, True]

    eventually(again, True, seconds=240)
    for folder in ("trtllm", "trtllm-vlm"):
        eventually(lambda folder=folder: phase(spark, folder), "serving", seconds=30)
    (one,), (other,) = (loads(spark, container, since) for container in (FIRST, SECOND))
    earlier, later = sorted([one, other])
    assert earlier[1] <= later[0], "two engines loaded at once"


def test_one_is_removed_with_its_model_and_the_other_serves_on(spark: Pair, both: tuple[Run, Run]) -> None:
    host = spark.host("spark1")
    since, image = started(spark, FIRST), "sudo docker image ls --quiet --filter label=dgx-spark=trtllm-serve"
    prune = {"name": "sparkops.dgx_spark.hf_cache", "tasks_from": "prune"}
    plays = [{"hosts": "spark", "gather_facts": False, "tasks": [{"ansible.builtin.import_role": prune}]}]
    run = spark.play(plays, hf_cache_prune_repo="lab/tiny-sees")
    assert (run.status, run.changed) == ("failed", {})
    assert f"lab/tiny-sees is being served by {SECOND}" in run.words

    built = host.check_output(image)
    options = {key: value for key, value in VLM.items() if key != "spark_api_port"}
    run = good(spark.play("undo.yml", **{**SERVED, **options}, spark_undo_model=True, spark_undo_packages=True))
    stays = " ".join(run.results("Report what stays, and why")["spark1"]["msg"])
    assert "dgx-spark-trtllm needs them" in stays
    assert started(spark, FIRST) == since
    assert (serve_both(spark), host.check_output(image)) == ([True, False], built)
    left = "find /etc /var/lib/dgx-spark /home -name '*trtllm-vlm*' -o -name 'models--lab--tiny-sees'"
    assert host.check_output("sudo sh -c %s", left) == ""
    assert good(spark.serve(PLAYBOOK, **BUDGET)).changed == {}


def test_all_are_removed_byte_for_byte(spark: Pair, both: tuple[Run, Run], before: State) -> None:
    good(spark.serve(PLAYBOOK, **VLM, **BUDGET))
    assert serve_both(spark) == [True, True]
    undone(spark, spark_undo_packages=True)
    back(spark, before, STAYS, MODEL_STAYS, REMEMBERED)
