# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""speculative_config of the engine's stand-in: what each era refuses, the draft's files on every rank, the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine_support import load, ranks, write_model

era, faults, llm_args, speculation = (
    load(f"simulation.{name}") for name in ("era", "faults", "llm_args", "speculation")
)
answers = load("simulation.answers")
OLD, MID, MAIN, NEW = era.ERAS
EAGLE = {"decoding_type": "Eagle", "max_draft_len": 3, "speculative_model_dir": "/draft/x"}


@pytest.mark.parametrize(
    ("config", "eras", "wanted"),
    [
        (None, era.ERAS, None),
        (EAGLE, era.ERAS, ("Eagle", 3, "/draft/x")),
        ({**EAGLE, "decoding_type": "Eagle3"}, (MID, MAIN, NEW), ("Eagle3", 3, "/draft/x")),
        ({**EAGLE, "decoding_type": "DraftTarget"}, (OLD,), ("DraftTarget", 3, "/draft/x")),
        (
            {"decoding_type": "Draft_Target", "max_draft_len": 3, "speculative_model": "/d"},
            (MID, NEW),
            ("Draft_Target", 3, "/d"),
        ),
        ({"decoding_type": "MTP", "max_draft_len": 3}, (MAIN, NEW), ("MTP", 3, "")),
        ({"decoding_type": "MTP", "max_draft_len": 3}, (OLD, MID), ("MTP", 1, "")),
        ({"decoding_type": "MTP", "num_nextn_predict_layers": 3}, (OLD, MID), ("MTP", 3, "")),
        ({"decoding_type": "NGram", "max_draft_len": 2}, era.ERAS, ("NGram", 2, "")),
    ],
)
def test_what_is_read(config: Any, eras: tuple[str, ...], wanted: Any) -> None:
    for one in eras:
        found = speculation.read(config, one)
        assert (found and (found.kind, found.tokens, found.model)) == wanted


@pytest.mark.parametrize(
    ("config", "eras", "says"),
    [
        ({**EAGLE, "decoding_type": "Eagle3"}, (OLD,), "Invalid decoding type: Eagle3"),
        ({**EAGLE, "decoding_type": "Draft_Target"}, (OLD,), "Invalid decoding type: Draft_Target"),
        ({"max_draft_len": 3}, (MID, MAIN, NEW), "union_tag_not_found"),
        ({**EAGLE, "max_draft_len": 0}, era.ERAS, "max_draft_len must be > 0 for Eagle"),
        ({**EAGLE, "speculative_model_dir": None}, era.ERAS, "Draft model must be provided for EAGLE"),
        ({**EAGLE, "speculative_model": "/d"}, (OLD,), "speculative_config.Eagle.speculative_model"),
        ({**EAGLE, "num_nextn_predict_layers": 1}, era.ERAS, "type=extra_forbidden"),
        ({"decoding_type": "MTP", "eagle3_model_arch": "llama3"}, era.ERAS, "speculative_config.MTP.eagle3_model_arch"),
        ({"decoding_type": "MTP", "mtp_eagle_one_model": True}, (NEW,), "type=extra_forbidden"),
    ],
)
def test_what_the_real_one_refuses(config: Any, eras: tuple[str, ...], says: str) -> None:
    for one in eras:
        with pytest.raises(ValueError, match=r".") as error:
            speculation.read(config, one)
        assert says in str(error.value)


@pytest.fixture(autouse=True)
def fault_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("VIRTUAL_SPARK_ENGINE_FAULTS", str(folder))
    return folder


def drafted(tmp_path: Path, draft: str = "") -> list[str]:
    """The errors of two ranks that load a model with a draft."""
    first, _others, threads = ranks(2)
    job = {"model": str(write_model(tmp_path / "model")), "tp": 2, "seconds": 0, "exchange": 0}
    reports = first.load({**job, "draft": draft or str(tmp_path / "draft")})
    first.stop()
    for thread in threads:
        thread.join(5)
    return [one["error"] for one in reports]


def test_every_rank_looks_at_the_drafts_files(tmp_path: Path) -> None:
    assert all("is no directory here" in error for error in drafted(tmp_path))
    draft = write_model(tmp_path / "draft")
    (draft / "tokenizer.json").unlink()
    assert drafted(tmp_path) == ["", ""], "many drafts have no tokenizer"
    config = (draft / "config.json").read_bytes()
    (draft / "config.json").unlink()
    assert all("config.json is missing" in error for error in drafted(tmp_path))
    (draft / "config.json").write_bytes(config)
    (draft / "model-00002-of-00002.safetensors").unlink()
    assert all("model-00002-of-00002.safetensors is missing" in error for error in drafted(tmp_path))


@pytest.mark.parametrize(
    ("fault", "draft", "spoilt"), [("", True, False), ("spoil-drafts", True, True), ("spoil-drafts", False, False)]
)
def test_answers_are_equal_unless_a_fault_spoils_what_a_draft_guessed(
    tmp_path: Path, fault_files: Path, fault: str, draft: bool, spoilt: bool
) -> None:
    if fault:
        (fault_files / fault).touch()
    first, _others, threads = ranks(2)
    job = {"model": str(write_model(tmp_path / "model")), "tp": 2, "seconds": 0, "exchange": 0}
    first.load({**job, "draft": str(write_model(tmp_path / "draft")) if draft else ""})
    nonce = first.step(["a"])["a"]
    assert nonce.endswith(answers.SPOILT) is spoilt
    first.stop()
    for thread in threads:
        thread.join(5)


def test_iterations_tell_of_guesses_only_where_there_are_some() -> None:
    for drafted_tokens, told in ((0, False), (4, True)):
        statistics = answers.Statistics(8, True, 0, drafted_tokens)
        statistics.active = 2
        statistics.iterated(0.01)
        (one,) = statistics.drain_iterations()
        assert ("specDecodingStats" in one) is told
    assert one["specDecodingStats"] == {
        "numDraftTokens": 8,
        "numAcceptedTokens": 6,
        "numRequestsWithDraftTokens": 2,
        "acceptanceLength": 4.0,
    }
    assert faults.SPOIL_DRAFTS == "spoil-drafts"
    assert llm_args.check({"speculative_config": EAGLE}, MID) is None
