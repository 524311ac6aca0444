# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for TensorRT-LLM's benchmark client, measuring the stand-in for its server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

import pytest
from engine_support import load, write_model
from test_engine_server import Client

benchmark_serving = load("serve.scripts.benchmark_serving")
RANDOM = ["--dataset-name=random", "--random-ids", "--random-input-len=12", "--random-output-len=5", "--ignore-eos"]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    one = Client(write_model(tmp_path / "model"), token_seconds=0.01)
    yield one
    one.http.end()
    one.thread.join()
    one.http.server_close()


def measured(client: Client, folder: Path, *words: str) -> dict[str, Any]:
    """The result of four requests, two at once."""
    argv = ["--backend=openai", f"--port={client.port}", "--model=tiny", f"--tokenizer={folder / 'model'}", *RANDOM]
    argv += ["--num-prompts=4", "--max-concurrency=2", "--save-result", f"--result-dir={folder}"]
    benchmark_serving.main([*argv, "--result-filename=it.json", *words])
    return dict(json.loads((folder / "it.json").read_text()))


def test_it_measures_what_the_server_does(client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = measured(client, tmp_path, "--save-detailed", "--tokenize-on-client", "--no-test-input")
    assert (told["completed"], told["input_lens"], told["output_lens"]) == (4, [12] * 4, [5] * 4)
    assert (told["errors"], told["total_output_tokens"], told["request_rate"]) == ([""] * 4, 20, "inf")
    assert all(0.01 <= ttft <= end <= told["duration"] for ttft, end in zip(told["ttfts"], told["e2els"]))
    assert all(end >= 0.05 for end in told["e2els"])
    said = capsys.readouterr()
    assert "SIMULATED" in said.out
    assert "| 4/4 [" in said.err


def test_without_details_it_tells_no_requests(client: Client, tmp_path: Path) -> None:
    told = measured(client, tmp_path)
    assert told["completed"] == 4
    assert not set(benchmark_serving.DETAILS) & set(told)


def test_a_refused_request_has_no_error_that_tells_why(client: Client, tmp_path: Path) -> None:
    words = ("--save-detailed", "--no-test-input", "--random-input-len=9000")
    told = measured(client, tmp_path, *words)
    assert (told["completed"], told["output_lens"], told["errors"]) == (0, [0] * 4, ["Bad Request"] * 4)


@pytest.mark.parametrize("words", [["--dataset-name=sharegpt"], ["--random-range-ratio=1"]])
def test_what_the_real_one_refuses_is_refused(client: Client, tmp_path: Path, words: list[str]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        measured(client, tmp_path, *words)


def test_a_directory_without_a_tokenizer_is_refused(client: Client, tmp_path: Path) -> None:
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(OSError, match="Can't load tokenizer"):
        measured(client, tmp_path)
