# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model whose tokens another one guesses, on two Sparks; and models of other shapes one after the other; in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import SPARKS, Pair, Run, eventually
from .test_two_spark_faults import INJECTED

pytestmark = pytest.mark.matrix
CONTAINER = "$(sudo docker ps --quiet --filter name=dgx-spark-trtllm)"
LLAMA = {
    **{"architectures": ["LabForCausalLM"], "model_type": "llama", "hidden_size": 512, "num_attention_heads": 8},
    **{"num_key_value_heads": 8, "num_hidden_layers": 1, "max_position_embeddings": 4096, "vocab_size": 32000},
}
#: what guesses, of one layer; without a chat template, as such heads are
DRAFT = {
    **{"virtual_spark_model": "lab/tiny-draft", "virtual_spark_model_size": "6M", "virtual_spark_model_shards": 1},
    **{"virtual_spark_model_chat": False, "virtual_spark_model_config": LLAMA},
}
#: a mixture of experts in four bits, where the lab's other model is dense and in sixteen
ROUTED = {
    **{"virtual_spark_model": "lab/tiny-moe", "virtual_spark_model_size": "12M", "virtual_spark_model_shards": 2},
    "virtual_spark_model_config": {
        **LLAMA,
        **{"model_type": "qwen3_moe", "num_hidden_layers": 2, "num_experts": 8, "num_experts_per_tok": 2},
        "quantization_config": {"quant_method": "mxfp4"},
    },
}
GUESSED = {
    "spark_models": {"lab/tiny-chat": {"draft": {"kind": "Eagle3", "handle": "lab/tiny-draft", "tokens": 3}}},
    "spark_speculative": "catalogue",
}
#: a KV cache that is too small for the context with a layer more, and not without it
TIGHT = {
    "trtllm_serve_arguments": {"tp_size": 2, "max_batch_size": 1, "max_num_tokens": 1024, "max_seq_len": 4096},
    "trtllm_serve_options": {"kv_cache_config": {"max_gpu_total_bytes": 14 * 2**20}},
}


def good(run: Run) -> Run:
    assert run.status == "successful", run.said
    return run


@pytest.fixture(scope="module")
def hub(pair: Pair) -> Pair:
    """The pair, with the models of this file on its hub."""
    for model in (DRAFT, ROUTED):
        good(pair.play("lab/playbooks/engine.yml", **model))
    return pair


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def guessing(hub: Pair) -> Run:
    """The run that serves with a draft."""
    return good(hub.serve(**GUESSED))


def told(run: Run) -> dict[str, Any]:
    return dict(run.results("Report what was built and verified")["spark1"]["msg"])


def mounted(pair: Pair, name: str) -> dict[str, tuple[str, bool]]:
    """Where the containers of the serving have models from, and whether these can be written to."""
    said = pair.host(name).check_output(f"sudo docker inspect --format '{{{{json .Mounts}}}}' {CONTAINER}")
    return {
        one["Destination"]: (one["Source"].rpartition("/")[2], one["RW"])
        for one in json.loads(said)
        if one["Destination"] in ("/models", "/draft")
    }


def test_a_pair_that_does_not_fit_together_is_refused_before_a_byte_of_it_moved(hub: Pair) -> None:
    assert good(hub.serve("plan.yml", **TIGHT)).changed == {}, "the model alone fits"
    before, served = hub.state(), hub.hub_bytes()
    run = hub.serve(**TIGHT, **GUESSED)
    assert (run.status, run.changed) == ("failed", {}), run.said
    assert "and max_seq_len asks for 4096" in run.words
    assert "What would fit: without speculative decoding: spark_speculative empty; or a shorter context" in run.words
    assert "Nothing was changed." in run.words
    assert hub.state() == before
    assert hub.hub_bytes() - served < 50_000 + 8 * 65_536, "config.json and headers, and no weights"
    for name in SPARKS:
        assert hub.host(name).run("find / -name 'models--lab--tiny-draft' 2>/dev/null").stdout == ""


def test_what_cannot_be_asked_for_is_refused_with_the_mend(hub: Pair) -> None:
    for said, words in (
        ("catalogue", "the catalogue has no draft for lab/tiny-chat: give it one in spark_models"),
        ({"kind": "NGram"}, "the kind of spark_speculative is 'NGram': give one of Eagle3, Draft_Target, MTP"),
    ):
        run = hub.serve("plan.yml", spark_speculative=said)
        assert (run.status, run.changed) == ("failed", {})
        assert words in run.words, run.said


def test_both_models_are_on_both_sparks_and_the_draft_is_loaded_by_both_ranks(hub: Pair, guessing: Run) -> None:
    report = told(guessing)
    commit = report["speculative"]["commit"]
    assert report["speculative"] == {"kind": "Eagle3", "repo": "lab/tiny-draft", "commit": commit, "tokens": 3}
    assert "Rank 1 of 2, on spark2, gave this request the nonce" in report["answer"]
    for name in SPARKS:
        assert mounted(hub, name) == {
            "/models": ("models--lab--tiny-chat", False),
            "/draft": ("models--lab--tiny-draft", False),
        }
        hub.host(name).check_output(f"sudo docker exec {CONTAINER} test -s /draft/snapshots/{commit}/config.json")
    log = hub.host("spark1").check_output(f"sudo docker logs {CONTAINER} 2>&1")
    assert log.count(f"loading the speculative model of /draft/snapshots/{commit}") >= 2, "rank 1's goes there too"


def test_a_second_run_changes_nothing_and_verify_says_what_guesses(hub: Pair, guessing: Run) -> None:
    for check in (False, True):
        assert good(hub.serve(check=check, **GUESSED)).changed == {}
    run = good(hub.serve("verify.yml", **GUESSED))
    assert run.changed == {}, run.made()
    said = run.results("Report what was verified")["spark1"]["msg"]["speculative"]
    assert (said["repo"], said["tokens"]) == ("lab/tiny-draft", 3)


def validated(pair: Pair, path: Path, **options: Any) -> tuple[Run, dict[str, Any]]:
    run = pair.serve("validate.yml", validate_report=str(path), validate_parts=["accuracy"], **options)
    return run, json.loads(path.read_text())


def test_answers_without_the_draft_are_those_with_it(hub: Pair, guessing: Run, reports: Path) -> None:
    run, found = validated(hub, reports / "with.json", **GUESSED)
    good(run)
    assert (found["speculative"]["repo"], found["accuracy"]["score"]) == ("lab/tiny-draft", 100)
    assert "served with speculative decoding by lab/tiny-draft@" in (reports / "with.txt").read_text()

    compare = {"validate_compare": str(reports / "with.json")}
    hub.host("spark2").check_output(
        f"sudo docker exec {CONTAINER} sh -c 'mkdir -p {INJECTED}; touch {INJECTED}/spoil-drafts'"
    )
    try:
        run, found = validated(hub, reports / "spoilt.json", **GUESSED, **compare, validate_threshold=0)
    finally:
        hub.host("spark2").check_output(f"sudo docker exec {CONTAINER} rm -rf {INJECTED}/spoil-drafts")
    good(run)
    assert (len(found["accuracy"]["differences"]), found["accuracy"]["unlike"]) == (20, "")

    plain = good(hub.serve(spark_speculative=""))
    assert "speculative" not in told(plain)
    for name in SPARKS:
        assert mounted(hub, name) == {"/models": ("models--lab--tiny-chat", False)}
    run, found = validated(hub, reports / "without.json", **compare, validate_require_equal=True)
    good(run)
    assert (found["speculative"], found["accuracy"]["differences"]) == ({}, [])
    text = (reports / "without.txt").read_text()
    assert "20 equal to" in text
    assert "with speculative decoding by lab/tiny-draft@" in text
    assert "(Eagle3, 3 tokens at a time) then, and without speculative decoding now" in text


def test_models_of_other_shapes_replace_each_other(hub: Pair) -> None:
    """A dense one, a mixture of experts, and the dense one again."""
    for model, other in (("lab/tiny-chat", ""), ("lab/tiny-moe", "lab/tiny-chat"), ("lab/tiny-chat", "lab/tiny-moe")):
        run = good(hub.serve(spark_model=model))
        report = told(run)
        assert report["model"].startswith(f"{model}@")
        assert report["name"] == report["model"].partition("@")[2], "its name to requests is its own commit"
        assert "Rank 1 of 2, on spark2" in report["answer"]
        assert not other or run.changed, f"{other} was replaced"
        eventually(lambda: len(hub.asked().get("choices", [])), 1)
        for name in SPARKS:
            assert mounted(hub, name) == {"/models": (f"models--{model.replace('/', '--')}", False)}
        assert good(hub.serve(spark_model=model)).changed == {}
