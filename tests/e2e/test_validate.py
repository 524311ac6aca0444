# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/validate.yml on a pair that serves: green, and red where rank 1 spoils what it works on; in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

import pytest

from .conftest import SPARKS, Pair
from .test_two_spark_faults import INJECTED

pytestmark = pytest.mark.matrix
CONTAINER = "$(sudo docker ps --quiet --filter name=dgx-spark-trtllm)"
#: a model that sees, of the model that is there: its weights, and a config.json that says so
SEES = (
    "cd {hub} && cp -a models--lab--tiny-chat models--lab--tiny-{name} && cd models--lab--tiny-{name}/snapshots/* && "
    """sed 's/"model_type": *"[^"]*"/"model_type": "{kind}"/' config.json > config.new && """
    "mv config.new config.json && mkdir -p vision-lora"
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def seeing(pair: Pair) -> Iterator[Pair]:
    """It serves, and beside the model that is served, two that see are in the leader's cache."""
    run = pair.serve()
    assert run.status == "successful", run.said
    hub = pair.host("spark1").check_output("ls -d ~/.cache/huggingface/hub")
    for name, kind in (("vision", "qwen2_5_vl"), ("lora", "phi4mm")):
        pair.host("spark1").check_output(SEES.format(hub=hub, name=name, kind=kind))
    yield pair
    pair.host("spark1").check_output(f"rm -rf {hub}/models--lab--tiny-vision {hub}/models--lab--tiny-lora")


def left(pair: Pair) -> dict[str, str]:
    """Containers and files that a validation left, by host."""
    ask = (
        "sudo docker ps --all --quiet --filter label=dgx-spark.validate; sudo ls -d /run/dgx-spark-validate 2>/dev/null"
    )
    return {name: pair.host(name).run(ask).stdout for name in SPARKS}


def report(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    assert path.with_suffix(".txt").read_text().startswith("passed" if found["passed"] else "FAILED")
    return dict(found)


def test_a_second_model_is_not_loaded_beside_the_serving_without_consent(seeing: Pair, reports: Path) -> None:
    path = reports / "refused.json"
    run = seeing.serve(
        "validate.yml", validate_report=str(path), validate_text_model="lab/tiny-chat", validate_parts=["text"]
    )
    assert run.status == "failed", run.said
    assert "lab/tiny-chat is not tried: the container" in run.words
    assert "validate_beside_serving=true. Nothing was changed" in run.words
    assert not report(path)["text"]["passed"]
    assert left(seeing) == dict.fromkeys(SPARKS, "")


def test_a_sound_serving_passes_all_parts_and_leaves_nothing(seeing: Pair, reports: Path) -> None:
    served = seeing.hub_bytes()
    path = reports / "sound.json"
    run = seeing.serve(
        "validate.yml",
        validate_report=str(path),
        validate_text_model="lab/tiny-chat",
        validate_vision_model="lab/tiny-vision",
        validate_lora_model="lab/tiny-lora",
        validate_beside_serving=True,
        validate_reserve_mib=1,
        validate_soak_minutes=0.3,
    )
    assert run.status == "successful", run.said
    assert run.changed == {}, run.made()
    found = report(path)
    assert found["passed"]
    assert [found[name]["passed"] for name in ("gpu", "import", "text", "vision", "lora", "accuracy", "soak")] == [
        True
    ] * 7
    assert found["import"]["version"] == "1.3.0rc13"
    assert "224 x 224 pixels" in found["vision"]["text"]
    assert found["accuracy"]["score"] == 100
    assert {name: rank["transport"] for name, rank in found["ranks"].items()} == dict.fromkeys(SPARKS, "IB")
    versions = {name: [one["version"] for one in libraries] for name, libraries in found["nccl"].items()}
    assert versions == {name: ["2.28.3+cuda13.0"] for name in SPARKS}
    outcome = found["soak"]["outcome"]
    assert (outcome["errors"], outcome["count"] > 4) == ([], True), outcome
    assert seeing.hub_bytes() - served < 20_000, "the plan reads config.json alone"
    assert left(seeing) == dict.fromkeys(SPARKS, "")


def test_answers_that_rank_1_spoils_fail_the_gate(seeing: Pair, reports: Path) -> None:
    path, accuracy = (
        reports / "spoilt.json",
        {"validate_parts": ["accuracy"], "validate_compare": str(reports / "sound.json")},
    )
    seeing.host("spark2").check_output(
        f"sudo docker exec {CONTAINER} sh -c 'mkdir -p {INJECTED}; touch {INJECTED}/spoil-answers'"
    )
    try:
        run = seeing.serve("validate.yml", validate_report=str(path), **accuracy)
    finally:
        seeing.host("spark2").check_output(f"sudo docker exec {CONTAINER} rm -rf {INJECTED}/spoil-answers")
    assert run.status == "failed", run.said
    assert "answers 0 of 20 questions rightly (0.0 %, and 80 are wanted, validate_threshold)" in run.words
    assert "What is 23 times 17? Reply with the number alone, in digits. Expected 391, got" in run.words
    found = report(path)
    assert (found["passed"], len(found["accuracy"]["differences"])) == (False, 20)

    again = seeing.serve(
        "validate.yml", validate_report=str(reports / "again.json"), validate_require_equal=True, **accuracy
    )
    assert again.status == "successful", again.said
    assert report(reports / "again.json")["accuracy"]["differences"] == []
    assert left(seeing) == dict.fromkeys(SPARKS, "")


def test_one_spark_answers_as_two_did(seeing: Pair, reports: Path) -> None:
    alone = seeing.hosts("spark1")
    run = seeing.serve("single_spark.yml", inventory=alone)
    assert run.status == "successful", run.said
    path = reports / "alone.json"
    options = {"validate_compare": str(reports / "sound.json"), "validate_require_equal": True}
    again = seeing.serve(
        "validate.yml", inventory=alone, validate_report=str(path), validate_parts=["accuracy"], **options
    )
    assert again.status == "successful", again.said
    found = report(path)
    assert (found["nodes"], found["accuracy"]["differences"]) == (["spark1"], [])
    assert "20 equal to" in path.with_suffix(".txt").read_text()
