# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema that the engine's stand-in carries is of the real one's form; its help is of Click's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

import pytest
from engine_support import load
from jsonschema import Draft202012Validator

command_line, era, schema = (load(f"simulation.{name}") for name in ("command_line", "era", "schema"))


def inside(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(one)


@pytest.mark.parametrize("era_", era.ERAS[2:])
def test_the_schema_is_one_and_takes_no_other_keys(era_: str) -> None:
    document = schema.schema(era_, "1.4.0rc0")
    Draft202012Validator.check_schema(document)
    assert document["title"] == "TensorRT-LLM 1.4.0rc0 trtllm-serve --config"
    groups = [
        one for one in inside(document) if isinstance(one.get("properties"), dict) and one.get("type") == "object"
    ]
    assert len(groups) > 20
    open_ones = {one.get("title") for one in groups if one["additionalProperties"] is not False}
    assert open_ones <= {"SparseAttentionConfig", "KvCacheCompressionConfig", "PeftCacheConfig", "LoraConfig"} | {
        "RayPlacementConfig",
        "MultimodalConfig",
    }


def test_the_schema_of_1_4_has_what_1_3_has_not() -> None:
    old, new = (schema.schema(one, "x")["properties"] for one in era.ERAS[2:])
    assert set(old) < set(new)
    assert {"hf_revision", "sleep_config", "enable_tokenization_cache"} <= set(new) - set(old)
    assert new["perf_metrics_max_requests"]["status"] == "deprecated"


@pytest.mark.parametrize(("version", "there"), [("1.3.0rc13", False), ("1.3.0rc29", True), ("1.4.0rc0", True)])
def test_images_from_the_end_of_1_3_on_carry_it(
    version: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "simulation").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "version").write_text(version)
    monkeypatch.setenv("VIRTUAL_SPARK_ENGINE_ETC", str(tmp_path / "etc"))
    monkeypatch.setattr(schema, "__file__", str(tmp_path / "simulation" / "schema.py"))
    schema.main()
    path = tmp_path / "schemas" / "trtllm-serve-config.schema.json"
    assert path.exists() == there
    if there:
        assert json.loads(path.read_text())["title"].startswith(f"TensorRT-LLM {version}")


def test_the_help_is_laid_out_as_click_lays_it_out() -> None:
    lines = command_line.help_text("1.4").splitlines()
    assert lines[0] == "Usage: trtllm-serve serve [OPTIONS] MODEL"
    assert "  --port INTEGER                  [beta] SIMULATED: port." in lines
    assert "  --telemetry / --no-telemetry" in "\n".join(lines)
    assert any(line.startswith("  --grpc-protocol [smg|openengine]") for line in lines)
    assert lines[-1] == "  --help                          Show this message and exit."


@pytest.mark.parametrize(
    ("env", "options", "words"),
    [
        ({}, {}, "would be sent"),
        ({"TRTLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}, {}, "off: TRTLLM_NO_USAGE_STATS, DO_NOT_TRACK"),
        ({"DO_NOT_TRACK": "0"}, {"telemetry": True}, "would be sent"),
        ({}, {"telemetry": False}, "off: --no-telemetry"),
        ({}, {"telemetry_config": {"disabled": True}}, "off: telemetry_config"),
    ],
)
def test_it_says_whether_it_would_report_its_use(env: dict[str, str], options: dict[str, Any], words: str) -> None:
    assert load("commands.serve").usage_words(env, options).endswith(words)
