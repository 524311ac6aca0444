# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings are refused before the start exactly where the lab's stand-in would die of them."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm_cli as cli
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trtllm_options as settings
from hypothesis import given
from hypothesis import strategies as st

ENGINE = Path(__file__).parents[5] / "lab" / "roles" / "virtual_spark" / "files" / "engine"
FACTS = ENGINE / "tensorrt_llm" / "simulation" / "facts"
NAMES = {"1.2.0rc1": "A", "1.3.0rc": "B", "main": "C", "1.4": "D"}
SERVED = ["/models/x", "--host", "127.0.0.1", "--port", "8355", "--extra_llm_api_options", "/etc/llm.yml"]


def stand_in(name: str) -> Any:
    """A module of the engine's stand-in, which lives with the role that installs it."""
    if str(ENGINE) not in sys.path:
        sys.path.insert(0, str(ENGINE))
    return importlib.import_module(f"tensorrt_llm.simulation.{name}")


def image_of(era: str) -> settings.Image:
    return settings.Image(era, newer=len(era) == len(cli.ERAS))


def refused_options(options: dict[str, Any], era: str) -> list[str]:
    return [finding.text for finding in settings.options_findings(options, image_of(era)) if finding.refused]


def refused_arguments(arguments: dict[str, Any], options: dict[str, Any], era: str) -> list[str]:
    found = settings.arguments_findings(arguments, options, image_of(era))
    return [finding.text for finding in found if finding.refused]


def letters(eras: Any) -> str:
    return "".join(sorted(NAMES[era] for era in eras))


def test_the_tables_are_those_of_the_stand_in() -> None:
    flags: dict[str, cli.Flag] = {}
    for row in json.loads((FACTS / "serve_flags.json").read_text())["flags"]:
        spellings = {name for names in row["spellings"].values() for name in names}
        for name in spellings:
            eras = letters(era for era, names in row["spellings"].items() if name in names)
            new = tuple(row.get("choices_from_1.4", ()))
            flags[name[2:]] = cli.Flag(row["dest"], row["type"], eras, tuple(row["choices"] or ()), new)
    assert flags == cli.FLAGS
    facts = json.loads((FACTS / "llm_args.json").read_text())
    keys = {
        row["key"]: cli.Key(
            row["type"].replace('"', "'"),
            letters(row["eras"]),
            tuple(row["allowed"] or ()),
            tuple(row.get("allowed_before_1.3", ())),
            tuple(row.get("allowed_from_1.4", ())),
        )
        for row in facts["keys"]
    }
    assert keys == cli.KEYS
    assert facts["open_prefixes"] == cli.OPEN
    assert set(facts["nullable"]) == cli.NULLABLE
    limits = {key: (least, cli.INFINITY if most is None else most) for key, (least, most) in facts["ranges"].items()}
    assert limits == cli.RANGES


@pytest.mark.parametrize(
    ("options", "era", "says"),
    [
        ({"print_iter_logs": True}, "B", r"print_iter_logs is no key .* did you mean print_iter_log\?"),
        (
            {"kv_cache_config": {"free_gpu_memory_fractoin": 0.5}},
            "AB",
            "did you mean free_gpu_memory_fraction below kv_cache_config",
        ),
        ({"kv_cache_config": 0.5}, "B", "kv_cache_config must be a mapping, and is 0.5"),
        ({"max_batch_size": "many"}, "B", "max_batch_size must be a number, and is 'many'"),
        ({"max_batch_size": 2.5}, "B", "max_batch_size must be a whole number"),
        ({"print_iter_log": "perhaps"}, "B", "must be true or false"),
        ({"cuda_graph_config": {"batch_sizes": [1, "x"]}}, "B", "has an element that must be a number"),
        ({"cuda_graph_config": {"batch_sizes": 4}}, "B", "must be a list"),
        ({"speculative_config": {"decoding_type": "DraftTarget"}}, "B", "must be one of .*Draft_Target"),
        ({"attention_dp_config": {"enable_kv_cache_aware_routing": True}}, "A", "1.3 and later, and the image is 1.2"),
    ],
)
def test_a_key_that_would_end_the_start_is_named(options: dict[str, Any], era: str, says: str) -> None:
    (problem,) = refused_options(options, era)
    assert re.search(says, problem), problem


def test_a_misspelt_key_is_named_where_the_version_may_be_any() -> None:
    (finding,) = settings.options_findings(
        {"kv_cache_config": {"free_gpu_memory_fractoin": 0.5}}, settings.image_of("any")
    )
    assert "did you mean free_gpu_memory_fraction below kv_cache_config?" in finding.text
    assert not finding.refused


@pytest.mark.parametrize(
    ("tag", "era", "eras"),
    [
        ("1.2.0rc6.post3", "A", "AB"),  # SemiAnalysisAI/InferenceX#1488
        ("1.2.0rc6.post2", "A", "AB"),
        ("1.2.0rc1", "A", "A"),
        ("1.2.0rc1.post1", "A", "A"),
        ("1.2.0.dev20251001", "A", "A"),
        ("v1.2.1", "A", "AB"),
        ("1.2.1.post1", "A", "AB"),
        ("1.2", "A", "AB"),
        ("0.21.0", "A", "A"),
        ("1.3.0rc5.post1", "B", "BC"),
        ("1.3.0rc22.post1", "B", "BC"),
        ("1.3.0rc26.dev202609010000", "B", "BCD"),
        ("1.3.0rc13.post1.dev3", "B", "BC"),
        ("1.3.0.dev202601010000", "B", "BC"),
        ("1.3.0RC13", "B", "BC"),
        ("1.3.0-rc13", "B", "BC"),
        ("1.3.0rc13-arm64", "B", "BC"),
        ("1.3.0rc13+cu132", "B", "BC"),
        (" 1.3.0rc13\n", "B", "BC"),
        ("1.3.0", "C", "CD"),
        ("1.3.0.post1", "C", "CD"),
        ("1.3.1rc0", "C", "CD"),
        ("1.4.0rc0", "D", "D"),
        ("1.4.0rc1.dev20261101", "D", "D"),
        ("2.0.0", "D", "D"),
        ("any", "ABCD", "ABCD"),
        ("", "ABCD", "ABCD"),
        ("nightly", "ABCD", "ABCD"),
        ("spark-single-gpu-dev", "ABCD", "ABCD"),
        ("25.12-trtllm-python-py3", "ABCD", "ABCD"),
        ("25.08", "ABCD", "ABCD"),
        ("1.3-spark", "ABCD", "ABCD"),
        ("1.3.0rc", "ABCD", "ABCD"),
        ("1.3.0rc13post", "ABCD", "ABCD"),
    ],
)
def test_a_tag_tells_the_era(tag: str, era: str, eras: str) -> None:
    assert (settings.era_of(tag), settings.eras_of(tag)) == (era, eras)


@given(st.text(max_size=20) | st.from_regex(r"v?\d{1,3}\.\d+(\.\d+)?(rc\d+)?(\.post\d+)?(\.dev\d+)?", fullmatch=True))
def test_no_tag_breaks_the_reading_of_versions(tag: str) -> None:
    assert settings.era_of(tag) in ("A", "B", "C", "D", "ABCD")
    assert set(settings.era_of(tag)) <= set(settings.eras_of(tag))
    assert settings.metrics_follow(tag, f"a/b:{tag}") == (settings.era_of(tag) == "A")


@pytest.mark.parametrize(
    "options", [{}, {"cuda_graph_config": None}, {"kv_cache_config": {}}, {"peft_cache_config": {"anything": 1}}]
)
def test_known_options_pass(options: dict[str, Any]) -> None:
    assert refused_options(options, "ABCD") == []


@pytest.mark.parametrize(
    ("arguments", "options", "era", "says"),
    [
        ({"tp_sise": 2}, {}, "B", "tp_sise is no flag .* did you mean tp_size"),
        (
            {"tensor_parallel_size": 2},
            {},
            "A",
            "1.3.0rc and 1.3 and later, and the image is 1.2",
        ),
        ({"host": "0.0.0.0"}, {}, "B", "set engine_serve_api_host instead"),
        ({"config": "/x.yml"}, {}, "B", "set trtllm_serve_options instead"),
        ({"log_level": "loud"}, {}, "B", "log_level must be one of debug"),
        ({"max_batch_size": "4 "}, {}, "B", "must be a whole number"),
        ({"kv_cache_free_gpu_memory_fraction": False}, {}, "A", "must be a number, and is False"),
        ({"trust_remote_code": "maybe"}, {}, "B", "must be true or false"),
        ({"media_io_kwargs": '{"a": 1}'}, {}, "B", "splits what it starts at blanks"),
        ({"tokenizer": "$(id)"}, {}, "B", "expands what a shell would"),
        (
            {"max_batch_size": 4},
            {"max_batch_size": 8},
            "B",
            "4 in trtllm_serve_arguments, and max_batch_size is 8 in",
        ),
        (
            {"kv_cache_free_gpu_memory_fraction": 0.5},
            {"kv_cache_config": {"free_gpu_memory_fraction": 0.8}},
            "A",
            "0.5 in .* kv_cache_config.free_gpu_memory_fraction is 0.8 .* alone",
        ),
        ({"max_batch_size": 4}, {"max_batch_size": None}, "B", "max_batch_size is None in .* max_batch_size: null in"),
        (
            {"kv_cache_dtype": "fp8"},
            {"kv_cache_config": {"dtype": "auto"}},
            "C",
            "say it as dtype below kv_cache_config",
        ),
    ],
)
def test_a_flag_that_would_end_the_start_is_named(
    arguments: dict[str, Any], options: dict[str, Any], era: str, says: str
) -> None:
    (problem,) = refused_arguments(arguments, options, era)
    assert re.search(says, problem), problem


@pytest.mark.parametrize(
    ("arguments", "options", "ways"),
    [({"tp_size": 2}, {}, 2), ({"tensor_parallel_size": 2}, {}, 2), ({}, {"tensor_parallel_size": 4}, 4), ({}, {}, 1)],
)
def test_the_size_is_found_whichever_way_it_is_said(
    arguments: dict[str, Any], options: dict[str, Any], ways: int
) -> None:
    assert settings.size("tensor_parallel_size", arguments, options) == ways


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 99),
    st.floats(),
    st.sampled_from(["true", "auto", "7", "1.5", "x y", "fp8", "TensorRT", "$HOME", "NCCL", ""]),
    st.lists(st.integers(0, 9), max_size=2),
    st.dictionaries(st.sampled_from(["a", "enable_padding"]), st.integers(0, 9), max_size=1),
)


def values(kind: str, choices: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Mostly what fits, and now and then anything at all."""
    plain = {
        "int": st.integers(0, 10**6),
        "float": st.floats(0, 1),
        "bool": st.booleans(),
        "flag": st.booleans(),
        "str": st.sampled_from(["auto", "some.thing", "a/b"]),
    }.get(kind.partition("[")[0], ANYTHING)
    return st.one_of(st.sampled_from(choices), ANYTHING) if choices else st.one_of(plain, ANYTHING)


@given(era=st.sampled_from("ABCD"), data=st.data())
def test_flags_that_pass_are_taken_and_others_are_not(era: str, data: st.DataObject) -> None:
    free = [name for name, flag in cli.FLAGS.items() if flag.option not in settings.OWNED]
    names = data.draw(st.lists(st.sampled_from([*free, "no_such_flag"]), max_size=4, unique=True))
    arguments = {
        name: data.draw(values(cli.FLAGS[name].kind, cli.FLAGS[name].choices) if name in cli.FLAGS else ANYTHING)
        for name in names
    }
    if refused_arguments(arguments, {}, era):
        return
    real = {letter: name for name, letter in NAMES.items()}[era]
    served = stand_in("command_line").parse([SERVED[0], *settings.render(arguments), *SERVED[1:]], real)
    assert served.options["port"] == 8355


@given(era=st.sampled_from("ABCD"), data=st.data())
def test_keys_pass_exactly_where_the_stand_in_takes_them(era: str, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([*cli.KEYS, "no_such_key", "kv_cache_config.nothing"]), max_size=4))
    tree: dict[str, Any] = {}
    for name in names:
        *groups, leaf = name.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                return
        kind, _eras, choices, old, new = cli.KEYS.get(name, cli.Key("str", "ABC"))
        place[leaf] = data.draw(values(kind, choices + old + new))
    real = {letter: name for name, letter in NAMES.items()}[era]
    tree = settings.without_nulls(tree)  # as the plan does first
    found = stand_in("llm_args").Schema(real).check(tree)
    assert bool(refused_options(tree, era)) == bool(found), (tree, found)


def test_an_empty_group_is_a_key_that_an_image_may_not_have() -> None:
    assert [one for one in refused_options({"prometheus_metrics_config": {}}, "A") if "is a key of" in one]
    assert refused_options({"kv_cache_config": {}}, "A") == []
