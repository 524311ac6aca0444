# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AIPerf 0.13.0 exported of endpoints that answered well or badly, and how that is judged.

The fixtures are its own files: four requests of six tokens, two at once, and a warm-up of two, against an endpoint of
which each test's name says what it did wrong (40 ms to a token, 10 ms between tokens).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import aiperf, figures, judge, session
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.cells import Cell, Job
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.export import Export
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "aiperf"
CELL = Cell(input=32, output=6, depth=0, concurrency=2, rate=0, requests=4, warmup=2)
TARGET = aiperf.Target("http://127.0.0.1:8355", "tiny", "/tokenizer", False, {}, 600.0, True)


def export(name: str) -> tuple[Export, int]:
    """What was exported, and the exit status."""
    folder = FIXTURES / name
    summary = folder / aiperf.SUMMARY
    records = (folder / aiperf.RECORDS).read_text().splitlines()
    status = int((folder / "status").read_text())
    return aiperf.read(records, summary.read_text() if summary.exists() else None), status


def judged(name: str) -> tuple[int, list[str]]:
    found, status = export(name)
    good, problems = judge.of_run(found, CELL, status)
    return len(good), problems


def test_a_good_run_is_good() -> None:
    assert judged("good") == (4, [])
    found, _status = export("good")
    assert (len(found.requests), len(found.warmup), found.version) == (4, 2, "0.13.0")


def test_what_is_measured_is_near_the_truth() -> None:
    made = figures.of_run(export("good")[0].requests, figures.Slo(ttft_ms=1000))
    assert 38 < made["ttft_ms"]["p50"] < 60
    assert 9 < made["tpot_ms"]["mean"] < 11
    assert 9 < made["itl_ms"]["mean"] < 11
    assert made["output_tokens"] == 6
    assert made["output_token_throughput"] == pytest.approx(24 / made["duration_s"])
    assert made["goodput_share"] == 1


@pytest.mark.parametrize(
    ("name", "status", "good", "words"),
    [
        ("cut", 0, 2, f"2 of 4 requests: {judge.UNTOLD}"),
        ("error_event", 0, 2, f"2 of 4 requests: {judge.UNTOLD}"),
        ("cut_with_a_word", 0, 2, "2 of 4 requests: the answer ended after 3 of 6 tokens"),
        ("torn", 0, 2, "2 of 4 requests: ClientPayloadError"),
        ("busy_quarter", 0, 3, "1 of 4 requests: 503"),
        ("busy", 1, 0, "4 of 4 requests: 503"),
    ],
)
def test_what_went_wrong_is_a_failure_and_no_fast_answer(name: str, status: int, good: int, words: str) -> None:
    assert export(name)[1] == status, "AIPerf itself"
    came, problems = judged(name)
    assert came == good
    assert problems[0].startswith(words)
    assert judge.mend(problems)


def test_a_run_without_an_end_is_none() -> None:
    found, status = export("good")
    assert judge.of_run(found._replace(requests=found.requests[:3]), CELL, status)[1] == [
        "3 of 4 requests were measured"
    ]
    assert judge.of_run(found, CELL, 124)[1] == ["the client took too long, and was ended"]
    assert judge.of_run(found, CELL, None)[1] == ["the client did not begin"]
    assert judge.of_run(aiperf.read([], None), CELL, 1)[1][0] == "0 of 4 requests were measured"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_complete": False, "incomplete_reason": "a phase timed out"}, "not complete: a phase timed out"),
        ({"was_cancelled": True}, "the run was cancelled"),
        ({"schema_version": "2.0"}, "has the schema 2.0"),
        ({"schema_version": None}, "of no version"),
    ],
)
def test_the_run_as_a_whole_counts_too(change: dict[str, object], words: str) -> None:
    folder = FIXTURES / "good"
    summary = {**json.loads((folder / aiperf.SUMMARY).read_text()), **change}
    found = aiperf.read((folder / aiperf.RECORDS).read_text().splitlines(), json.dumps(summary))
    assert words in " ".join(judge.of_run(found, CELL, 0)[1])


def test_a_client_that_cannot_measure_says_why(tmp_path: Path) -> None:
    program = tmp_path / "client"
    program.write_text("#!/bin/sh\necho '12:00:01 ERROR    it has no socket'\n")
    program.chmod(0o755)
    job = Job(CELL, 1, 1)
    run = session.measured(job, TARGET, program, "", tmp_path / "kept", figures.Slo(), lambda *_count: None)
    assert run["problems"][-1] == "the client says: it has no socket"
    assert not run["good"]
    words = "Failed to load tokenizer '/a': KeyError: 'added_tokens'"
    assert judge.mend([f"the client says: {words}"]).endswith("(benchmark_tokenizer)")


def test_the_clients_sockets_have_short_paths_wherever_temporary_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    seen = tmp_path / "seen"
    program = tmp_path / "client"
    program.write_text(f"#!/bin/sh\necho $TMPDIR > {seen}\n")
    program.chmod(0o755)
    session.measured(Job(CELL, 1, 1), TARGET, program, "", tmp_path / "kept", figures.Slo(), lambda *_count: None)
    place = seen.read_text().strip()
    assert len(f"{place}/tmpabcdefgh/aiperf/event_bus_proxy_frontend.ipc") < 104
    assert not Path(place).exists()


def test_a_failed_warm_up_is_a_failure() -> None:
    found, status = export("good")
    broken = found._replace(warmup=[found.warmup[0]._replace(error="503: too busy"), found.warmup[1]])
    assert judge.of_run(broken, CELL, status)[1] == ["1 requests of the warm-up: 503: too busy"]


def test_the_configuration_sends_no_prompt_twice_and_asks_no_metrics() -> None:
    made = aiperf.configuration(Job(CELL, 1, 7), TARGET, "/out")
    assert made["datasets"][0]["entries"] == CELL.requests + CELL.warmup
    assert made["server_metrics"] == {"enabled": False}
    assert made["endpoint"]["use_server_token_count"] is True
    assert made["endpoint"]["extra"]["ignore_eos"] is True
    assert "api_key" not in made["endpoint"]
    assert json.loads(json.dumps(made)) == made


def test_a_key_is_in_no_file_and_in_no_command_line() -> None:
    told = json.dumps(aiperf.configuration(Job(CELL, 1, 7), TARGET._replace(key=True), "/out"))
    assert "${OPENAI_API_KEY}" in told
    assert aiperf.environment({"HF_HUB_OFFLINE": "1", "A": "b"}, "/tmp/x", "k")["OPENAI_API_KEY"] == "k"
    made = aiperf.environment({"HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "another", "A": "b"}, "/tmp/x", "")
    assert (made["A"], "OPENAI_API_KEY" in made, "HF_HUB_OFFLINE" in made) == ("b", False, False)


def test_a_depth_and_a_rate_are_told() -> None:
    cell = Cell(2048, 128, 4096, 2, 0.5, 6, 2)
    made = aiperf.configuration(Job(cell, 1, 7), TARGET, "/out")
    assert made["datasets"][0]["prefix_prompts"] == {"shared_system_length": 4096}
    assert (made["phases"][1]["type"], made["phases"][1]["rate"]) == ("constant", 0.5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON, st.sampled_from(["metadata", "metrics", "error"]))
def test_damaged_records_never_make_a_good_run(one: object, summary: object, place: str) -> None:
    line = json.loads((FIXTURES / "good" / aiperf.RECORDS).read_text().splitlines()[-1])
    damaged = json.dumps({**line, place: one})
    found = aiperf.read([damaged, json.dumps(one), "{"], json.dumps(summary))
    good, problems = judge.of_run(found, CELL, 0)
    assert problems
    figures.of_run(good, figures.Slo())
