# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines by trtllm-build: what is refused, and the commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import engines, images, offers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_facts, trtllm_image

WANTED = engines.Wanted("a:1", "/m", "/o", "/x/convert.py", ranks=2, arguments=["--max_seq_len=4096"])


def test_the_commands() -> None:
    convert, build = engines.request(WANTED)["stages"]
    assert convert["argv"][-9:] == [
        *("python3", "/x/convert.py", "--model_dir", "/model", "--output_dir", "/out/checkpoint"),
        *("--tp_size", "2", "--dtype"),
        "bfloat16",
    ][-9:]
    assert build["argv"][-6:] == [
        *("trtllm-build", "--checkpoint_dir", "/out/checkpoint", "--output_dir", "/out/engine", "--max_seq_len=4096")
    ]
    assert "--network=none" in build["argv"]
    assert "--mount=type=bind,source=/m,target=/model,readonly" in build["argv"]


@pytest.mark.parametrize("flag", ["--tp_size", "--use_fp8", "--use_fp4=enable", "--max_output_len", "--enable_chunked_context"])
def test_what_guides_say_and_no_version_takes_is_refused(flag: str) -> None:
    with pytest.raises(engines.EngineError, match="trtllm-build has no --"):
        engines.request(replace(WANTED, arguments=[flag, "2"]))


def test_one_build_has_one_id() -> None:
    assert engines.request(WANTED)["id"] == engines.request(replace(WANTED))["id"]
    for other in (replace(WANTED, ranks=1), replace(WANTED, image="a:2"), replace(WANTED, arguments=[])):
        assert engines.request(other)["id"] != engines.request(WANTED)["id"]


def test_an_engine_of_every_rank_is_wanted(tmp_path: Path) -> None:
    assert engines.lacking(str(tmp_path), 2) == ["config.json", "rank0.engine", "rank1.engine"]
    (tmp_path / "engine").mkdir()
    for name in ("config.json", "rank0.engine"):
        (tmp_path / "engine" / name).touch()
    assert engines.lacking(str(tmp_path), 2) == ["rank1.engine"]


@pytest.mark.parametrize(
    ("version", "files", "said"),
    [
        ("1.2.1", {"/p/commands/build.py", "/x/convert.py"}, ""),
        ("1.2.1", {"/x/convert.py"}, "/p/commands/build.py is not there"),
        ("1.2.1", {"/p/commands/build.py"}, "/x/convert.py is not there"),
        ("1.4.0rc1", set(), "1.4.0rc1 is newer than 1.3.0rc20, the last with the TensorRT backend"),
    ],
)
def test_an_image_without_the_programs_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, version: str, files: set[str], said: str
) -> None:
    class Container:
        def __init__(self, *_words: Any) -> None:
            pass

        def __enter__(self) -> Container:
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        def file(self, path: str) -> str | None:
            return "" if path in files else None

    class Docker:
        def image(self, name: str) -> dict[str, Any] | None:
            return {"Id": "sha256:1", "Config": {}} if name == "a:1" else None

    facts = {"version": version, "schema": None, "package": "/p"}
    monkeypatch.setattr(trtllm_image, "package_facts", lambda *_words: facts)
    monkeypatch.setattr(image_facts, "Container", Container)
    docker: Any = Docker()
    found, problem = images.engines_of(docker, "a:1", "/x/convert.py")
    assert found == version
    assert said in problem
    assert bool(said) == bool(problem)
    assert "pull it first" in images.engines_of(docker, "b:1", "/x/convert.py")[1]


@pytest.mark.parametrize("version", ["1.3.0rc20", "1.3.0rc20.post1", "1.2.1", "any", ""])
def test_images_that_may_have_it_are_looked_into(version: str) -> None:
    assert not offers.engines_problem(version)
