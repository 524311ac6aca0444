# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine's stand-in refuses before it starts: command lines, YAML keys, worlds of the wrong size, models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine_support import load, write_model

command_line, era, llm_args, model = (
    load(f"simulation.{name}") for name in ("command_line", "era", "llm_args", "model")
)
serve = load("commands.serve")

# --- command line -----------------------------------------------------------------------------------------------------


def refusal(era_: str, *arguments: str) -> tuple[str, int]:
    with pytest.raises(command_line.RefusedError) as caught:
        command_line.parse(list(arguments), era_)
    return caught.value.text, caught.value.status


@pytest.mark.parametrize("era_", era.ERAS)
@pytest.mark.parametrize("start", [[], ["serve"]])
def test_what_every_era_takes(era_: str, start: list[str]) -> None:
    words = "/m --tp_size 2 --pp_size=1 --max_batch_size 4 --max_num_tokens 8192 --host 0.0.0.0 --port 8355"
    more = ["--trust_remote_code", "--extra_llm_api_options", "/etc/llm.yml"]
    served = command_line.parse([*start, *words.split(), *more], era_)
    assert served.model == "/m"
    assert {name: served.options[name] for name in ("tensor_parallel_size", "port", "host", "trust_remote_code")} == {
        "tensor_parallel_size": 2,
        "port": 8355,
        "host": "0.0.0.0",
        "trust_remote_code": True,
    }
    assert served.options["extra_llm_api_options"] == "/etc/llm.yml"
    assert served.options["max_beam_width"] == 1


@pytest.mark.parametrize(
    ("flag", "knowing"),
    [
        ("--config=x", {"1.3.0rc", "main", "1.4"}),
        ("--tensor_parallel_size=2", {"1.3.0rc", "main", "1.4"}),
        ("--free_gpu_memory_fraction=0.5", {"1.3.0rc", "main", "1.4"}),
        ("--kv_cache_free_gpu_memory_fraction=0.5", set(era.ERAS)),
        ("--served_model_name=x", {"main", "1.4"}),
        ("--no-telemetry", {"main", "1.4"}),
        ("--grpc-protocol=smg", {"1.4"}),
        ("--engine_dir=/engines", set()),
        ("--allreduce_strategy=RING", set()),
        ("--use_fp4", set()),
    ],
)
def test_every_era_takes_its_own_flags_and_no_other(flag: str, knowing: set[str]) -> None:
    for one in era.ERAS:
        if one in knowing:
            assert command_line.parse(["m", flag], one).model == "m"
        else:
            text, status = refusal(one, "m", flag)
            assert f"Error: No such option: {flag.partition('=')[0]}" in text
            assert status == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m", "--tp-size", "2"], "No such option: --tp-size (Possible options: --ep_size, --pp_size, --tp_size)"),
        (["m", "--max_batch", "4"], "No such option: --max_batch"),  # Click knows no abbreviations
        (["--tp_size", "2", "m"], "Usage: trtllm-serve [OPTIONS] COMMAND"),  # before the command, it is the group's
        (["m", "--tp_size", "two"], "'--tp_size': 'two' is not a valid integer."),
        (["m", "--log_level", "loud"], "'loud' is not one of 'debug', 'error'"),
        (["m", "--port"], "Option '--port' requires an argument."),
        (["m", "--trust_remote_code=yes"], "Option '--trust_remote_code' does not take a value."),
        (["serve", "--port", "1"], "Missing argument 'MODEL'."),
        (["m", "n"], "Got unexpected extra argument (n)"),
        (["m", "n", "o"], "Got unexpected extra arguments (n o)"),
        (["disaggregated"], "does not simulate 'disaggregated'"),
    ],
)
def test_refused_in_the_words_of_click(arguments: list[str], words: str) -> None:
    text, status = refusal("1.2.0rc1", *arguments)
    assert words in text
    assert "Try 'trtllm-serve" in text
    assert status == 2


def test_help_is_no_error() -> None:
    assert refusal("main", "serve", "--help")[1] == 0
    assert refusal("main", "--help")[1] == 0
    assert refusal("main")[1] == 2


# --- YAML -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era_", era.ERAS)
def test_keys_of_every_era(era_: str) -> None:
    llm_args.check(
        {
            "print_iter_log": True,
            "kv_cache_config": {"dtype": "auto", "free_gpu_memory_fraction": 0.4, "max_tokens": "4096"},
            "cuda_graph_config": None,
            "max_seq_len": None,
            "cp_config": {"cp_type": "helix"},
            "moe_config": {"backend": "CUTLASS"},
            "speculative_config": {"decoding_type": "Draft_Target", "speculative_model_dir": "/d", "max_draft_len": 4},
            "allreduce_strategy": "NCCL",
            "return_perf_metrics": "yes",
            "lora_config": {"anything": 1},  # a group of which no list is whole
        },
        era_,
    )


@pytest.mark.parametrize(
    ("tree", "eras_", "words"),
    [
        ({"kv_cache_config": {"free_gpu_memory_fractoin": 0.4}}, era.ERAS, "kv_cache_config.free_gpu_memory_fractoin"),
        (
            {"kv_cache": {}},
            era.ERAS,
            "Extra inputs are not permitted [type=extra_forbidden, input_value={}, input_type=dict]",
        ),
        ({"kv_cache_config": {"onboard_blocks": True}}, ("main",), "type=extra_forbidden"),
        ({"encode_only": True}, ("1.2.0rc1", "1.3.0rc"), "type=extra_forbidden"),
        ({"enable_sleep": True}, ("1.2.0rc1",), "type=extra_forbidden"),
        ({"kv_cache_config": {"mamba_ssm_stochastic_rounding": True}}, ("1.2.0rc1",), "type=extra_forbidden"),
        ({"speculative_config": {"decoding_type": "DraftTarget"}}, era.ERAS[1:], "type=literal_error"),
        ({"allreduce_strategy": "RING"}, era.ERAS, "Input should be 'AUTO', 'NCCL'"),
        ({"max_batch_size": "many"}, era.ERAS, "unable to parse string as an integer [type=int_parsing"),
        ({"max_batch_size": 1.5}, era.ERAS, "type=int_from_float"),
        ({"max_batch_size": [1]}, era.ERAS, "type=int_type"),
        ({"print_iter_log": "perhaps"}, era.ERAS, "type=bool_parsing"),
        ({"print_iter_log": []}, era.ERAS, "type=bool_type"),
        ({"kv_cache_config": 1}, era.ERAS, "instance of KvCacheConfig [type=model_type"),
        ({"kv_cache_config": {"free_gpu_memory_fraction": "most"}}, era.ERAS, "type=float_parsing"),
        ({"cuda_graph_config": {"batch_sizes": [1, "x"]}}, era.ERAS, "cuda_graph_config.batch_sizes.1"),
        ({"cuda_graph_config": {"batch_sizes": 1}}, era.ERAS, "type=list_type"),
        ({"env_overrides": 1}, ("1.3.0rc", "main"), "type=dict_type"),
        ({"tokenizer": 1}, era.ERAS, "type=string_type"),
        ({"kv_cache_config.free_gpu_memory_fraction": 0.4}, era.ERAS, "type=extra_forbidden"),
        ({"kv_cache_config": {"a.b": 0.4}}, era.ERAS, "type=extra_forbidden"),
        ({"kv_cache_config": None}, era.ERAS, "type=model_type"),
        ({"print_iter_log": None}, era.ERAS, "type=bool_type"),
        ({"tensor_parallel_size": None}, era.ERAS, "type=int_type"),
        ({"kv_cache_config": {"free_gpu_memory_fraction": 90}}, era.ERAS, "type=less_than_equal"),
        ({"kv_cache_config": {"free_gpu_memory_fraction": float("nan")}}, era.ERAS, "type=greater_than_equal"),
        ({"stream_interval": 0}, era.ERAS, "type=greater_than_equal"),
    ],
)
def test_refused_in_the_words_of_pydantic(tree: Any, eras_: tuple[str, ...], words: str) -> None:
    for one in eras_:
        with pytest.raises(llm_args.ValidationError, match=r"^1 validation error for TorchLlmArgs") as caught:
            llm_args.check(tree, one)
        assert words in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(llm_args.ValidationError, match=r"^2 validation errors for") as caught:
        llm_args.check({"a": 1, "b": 2}, "main")
    assert [problem.where for problem in caught.value.problems] == [("a",), ("b",)]


def test_the_file_wins_over_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_SPARK_ENGINE_ERA", "main")
    path = tmp_path / "llm.yml"
    path.write_text("max_batch_size: 3\n")
    served = command_line.parse(["m", "--max_batch_size=4", "--tp_size=2", f"--config={path}"], "main")
    settings = serve.settings_of(served)
    assert (settings["max_batch_size"], settings["tensor_parallel_size"]) == (3, 2)
    path.write_text("max_batch_siez: 3\n")
    with pytest.raises(llm_args.ValidationError):
        serve.settings_of(served)


def test_an_era_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_SPARK_ENGINE_ERA", "2.0")
    with pytest.raises(ValueError, match=r"1\.2\.0rc1, 1\.3\.0rc, main"):
        era.current()


# --- the world --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "ranks", "gpus", "world"),
    [
        ({}, 1, 1, 1),
        ({"TLLM_SPAWN_PROXY_PROCESS": "1", "tllm_mpi_size": "2"}, 2, 1, 2),
        ({"TLLM_SPAWN_PROXY_PROCESS": "1"}, 1, 1, 1),
    ],
)
def test_the_worlds_size(env: dict[str, str], ranks: int, gpus: int, world: int) -> None:
    assert serve.world_size(env, ranks, gpus) == world


def test_a_world_that_cannot_be() -> None:
    with pytest.raises(RuntimeError, match="Only 1 GPUs are available, but 2 are required"):
        serve.world_size({}, 2, 1)
    with pytest.raises(RuntimeError, match="trtllm-llmapi-launch"):
        serve.world_size({"OMPI_COMM_WORLD_SIZE": "2"}, 2, 1)
    with pytest.raises(ValueError, match=r"but got 2 != 1 \* 1 \* 1"):
        serve.check_world(2, 1, 1, 1)
    serve.check_world(4, 2, 2, 1)


# --- the model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 2])
def test_a_whole_model(tmp_path: Path, shards: int) -> None:
    assert model.check(write_model(tmp_path, shards), 8)["num_attention_heads"] == 8


def test_numbers_of_the_language_model_may_be_one_level_down(tmp_path: Path) -> None:
    write_model(tmp_path, num_attention_heads=None, text_config={"num_attention_heads": 6})
    assert model.check(tmp_path, 3)


def missing(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def cut(name: str, size: int) -> Any:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def written(name: str, text: str) -> Any:
    return lambda folder: (folder / name).write_text(text)


SECOND = "model-00002-of-00002.safetensors"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing(SECOND), f"{SECOND} is missing"),
        (cut(SECOND, -1), f"{SECOND}: .*MetadataIncompleteBuffer"),
        (cut(SECOND, 20), f"{SECOND}: .*HeaderTooLarge"),
        (cut(SECOND, 0), f"{SECOND}: .*HeaderTooLarge"),
        (written(SECOND, "\x02\0\0\0\0\0\0\0[]"), f"{SECOND}: .*InvalidHeader"),
        (missing("model.safetensors.index.json"), r"index\.json is missing, but model-00001"),
        (written("model.safetensors.index.json", "{}"), "has no weight_map"),
        (
            written("model.safetensors.index.json", f'{{"weight_map": {{"t9": "{SECOND}"}}}}'),
            f"{SECOND} lacks the tensor t9",
        ),
        (missing("config.json"), r"config\.json is missing"),
        (written("config.json", "{"), r"config\.json is not JSON"),
        (written("config.json", "[]"), r"config\.json is not a JSON object"),
        (written("config.json", "{}"), r"config\.json has no num_attention_heads"),
        (written("config.json", '{"num_attention_heads": 9}'), "num_attention_heads 9 is not divisible by tp_size 2"),
        (missing("tokenizer.json"), r"tokenizer\.json is missing"),
    ],
)
def test_a_spoilt_model_is_refused_by_file(tmp_path: Path, spoil: Any, words: str) -> None:
    spoil(write_model(tmp_path))
    with pytest.raises(model.ModelError, match=words):
        model.check(tmp_path, 2)


def test_no_weights_at_all(tmp_path: Path) -> None:
    (write_model(tmp_path, 1) / "model.safetensors").unlink()
    with pytest.raises(model.ModelError, match="No weight files found"):
        model.check(tmp_path, 1)


def test_a_name_is_looked_up_in_the_cache(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--lab--tiny"
    snapshot = write_model(repo / "snapshots" / "abc")
    env = {"HF_HOME": str(tmp_path)}
    with pytest.raises(model.ModelError, match="Cannot find an appropriate cached snapshot"):
        model.find("lab/tiny", env)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc\n")
    assert model.find("lab/tiny", env) == snapshot
    assert model.find("lab/tiny", {"HF_HUB_CACHE": str(tmp_path / "hub")}) == snapshot
    assert model.find(str(snapshot), {}) == snapshot
    with pytest.raises(model.ModelError, match="neither a directory"):
        model.find("/no/such", env)


def test_the_name_that_is_served(tmp_path: Path) -> None:
    snapshot = write_model(tmp_path / "0123abc")
    assert serve.name_of(str(snapshot), None) == "0123abc"
    assert serve.name_of(str(snapshot), "mine") == "mine"
    assert serve.name_of("lab/tiny", None) == "lab/tiny"
