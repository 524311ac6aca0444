# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the serving's image: what it is told, how its result is judged, and that nothing of it is left.

No result of the real one is at hand. Those here have its shape, which is known from its source; the stand-in of the
virtual Sparks writes the same, and really measures an endpoint that answers well or badly.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping

import benchmark_cases as cases
import pytest
import set_timing
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import measure
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import (
    benchmark_serving,
    clients,
    compare,
    document,
    figures,
    in_image,
    judge,
    report,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.cells import Cell, Job
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.trial import TrialFailedError
from hypothesis import given
from hypothesis import strategies as st

ENGINE = Path(__file__).parents[5] / "lab" / "roles" / "virtual_spark" / "files" / "engine"
CELL = Cell(input=32, output=6, depth=0, concurrency=2, rate=0, requests=4, warmup=2)
JOB = Job(CELL, 1, 7)
TARGET = benchmark_serving.Target("127.0.0.1", 8355, "tiny", "/models/snapshots/0123abc", {}, False)


def result(requests: int = 4, output: int = 6, **change: Any) -> dict[str, Any]:
    """What it writes of requests that were answered in full: 200 ms to a token, 10 ms between tokens."""
    gaps = [0.01] * (output - 1)
    return {
        "date": "20261130-120000",
        "duration": 0.5,
        "completed": requests,
        "input_lens": [32] * requests,
        "output_lens": [output] * requests,
        "ttfts": [0.2] * requests,
        "itls": [gaps] * requests,
        "e2els": [0.2 + sum(gaps)] * requests,
        "generated_texts": ["a"] * requests,
        "errors": [""] * requests,
        **change,
    }


def judged(measured: Any, warmup: Any = None, log: str = "", status: int | None = 0) -> tuple[int, list[str]]:
    before = json.dumps(result(2) if warmup is None else warmup)
    found = benchmark_serving.read(None if measured is None else json.dumps(measured), before, log)
    good, problems = judge.of_run(found, CELL, status)
    return len(good), problems


# What it is told


def test_prompts_are_numbers_of_tokens_and_none_comes_twice() -> None:
    warmup, measured = (benchmark_serving.command(JOB, TARGET, step, "/out") for step in ("warmup", "measured"))
    assert measured[:3] == ["python3", "-m", benchmark_serving.MODULE]
    assert {"--random-ids", "--tokenize-on-client", "--no-test-input", "--ignore-eos", "--save-detailed"} <= {*measured}
    told = dict(zip(measured, measured[1:]))
    assert (told["--num-prompts"], told["--max-concurrency"], told["--seed"]) == ("4", "2", "7")
    assert (told["--random-input-len"], told["--random-output-len"]) == ("32", "6")
    assert (told["--base-url"], told["--result-filename"]) == ("http://127.0.0.1:8355", "measured.json")
    before = dict(zip(warmup, warmup[1:]))
    assert (before["--num-prompts"], before["--result-filename"]) == ("2", "warmup.json")
    assert before["--seed"] != told["--seed"]
    assert not {"--request-rate", "--trust-remote-code", "--temperature"} & {*measured}


def test_a_rate_is_even_and_not_by_chance_and_the_warm_up_has_none() -> None:
    job = JOB._replace(cell=Cell(32, 6, 0, 2, 0.5, 4, 2))
    measured = benchmark_serving.command(job, TARGET, "measured", "/out")
    assert measured[measured.index("--request-rate") :][:4] == ["--request-rate", "0.5", "--burstiness", "10000"]
    assert "--request-rate" not in benchmark_serving.command(job, TARGET, "warmup", "/out")


def test_sampling_own_code_and_an_address_of_ipv6_are_told() -> None:
    target = TARGET._replace(host="::1", extra={"temperature": 0.5, "top_k": 3}, own_code=True)
    made = benchmark_serving.command(JOB, target, "measured", "/out")
    assert "http://[::1]:8355" in made
    assert made[made.index("--temperature") :][:4] == ["--temperature", "0.5", "--top-k", "3"]
    assert "--trust-remote-code" in made


@pytest.mark.parametrize(
    ("cell", "asked", "words"),
    [
        (Cell(8, 8, 4096, 1, 0, 1, 1), {}, "there is no benchmark_depth (4096, "),
        (CELL, {"url": "http://a:1"}, "there is no benchmark_url: its client runs on the leader"),
        (CELL, {"tokenizer": "/a"}, "there is no benchmark_tokenizer"),
        (CELL, {"extra": {"min_tokens": 3, "top_p": 1}}, "benchmark_extra_inputs cannot have min_tokens: "),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(cell: Cell, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(clients.ClientError) as told:
        clients.refuse("image", [CELL, cell], asked)
    assert words in str(told.value)
    assert str(told.value).endswith("measure with benchmark_client=aiperf. Nothing was measured.")
    clients.refuse("aiperf", [CELL, cell], asked)


def test_a_client_that_there_is_not_is_refused_and_what_it_can_do_is_not() -> None:
    with pytest.raises(clients.ClientError, match="benchmark_client is 'vllm': give aiperf or image"):
        clients.refuse("vllm", [], {})
    clients.refuse("image", [CELL, Cell(8, 8, 0, 1, 2.0, 1, 1)], {"extra": {"top_p": 0.9}, "url": "", "tokenizer": ""})


# What it writes


def test_a_good_run_is_good_and_its_figures_are_of_all_requests_together() -> None:
    assert judged(result()) == (4, [])
    found = benchmark_serving.read(
        json.dumps(result()), json.dumps(result(2)), "[TensorRT-LLM] TensorRT LLM version: 1.3.0rc13\n"
    )
    assert (len(found.requests), len(found.warmup), found.version) == (4, 2, "1.3.0rc13")
    made = figures.of_run(found.requests, figures.Slo(ttft_ms=100), found.duration_s)
    assert (made["ttft_ms"]["p50"], made["itl_ms"]["mean"], made["tpot_ms"]["mean"]) == pytest.approx((200, 10, 10))
    assert (made["request_throughput"], made["output_token_throughput"]) == pytest.approx((8, 48))
    assert (made["total_token_throughput"], made["goodput_share"]) == pytest.approx((304, 0))


def test_an_older_one_without_ends_tells_them_by_its_gaps() -> None:
    told = result()
    del told["e2els"]
    (one, *_rest) = benchmark_serving.read(json.dumps(told), None, "").requests
    assert one.latency_ms == pytest.approx(250)
    assert judged(told) == (4, [])


def test_an_answer_in_one_piece_may_end_before_its_first_token_by_the_clock() -> None:
    told = result(output=1, ttfts=[0.2] * 4, e2els=[0.1999] * 4)
    found = benchmark_serving.read(json.dumps(told), json.dumps(result(2, 1)), "")
    assert judge.of_run(found, Cell(32, 1, 0, 2, 0, 4, 2), 0)[1] == []


@pytest.mark.parametrize(
    ("change", "good", "words"),
    [
        ({"output_lens": [6, 3, 6, 6]}, 3, "1 of 4 requests: the answer ended after 3 of 6 tokens"),
        ({"output_lens": [6, 7, 6, 6]}, 3, "1 of 4 requests: the answer has 7 tokens, and 6 were asked for"),
        ({"output_lens": [6, 0, 0, 6]}, 2, f"2 of 4 requests: {benchmark_serving.SILENT}"),
        ({"errors": ["", "Service Unavailable", "", ""]}, 3, "1 of 4 requests: Service Unavailable"),
        (
            {"errors": ["Traceback\n  x\na.TornError: it broke\n", "", "", ""]},
            3,
            "1 of 4 requests: a.TornError: it broke",
        ),
        ({"ttfts": [0.0, 0.2, 0.2, 0.2]}, 3, "1 of 4 requests: the client tells no first token of it"),
        ({"itls": [[0.1, None], [], [], []]}, 3, "1 of 4 requests: the client tells no times of its pieces"),
        ({"duration": 0}, 4, "the client tells no time of the run"),
        ({"errors": None}, 0, "0 of 4 requests were measured"),
        ({"ttfts": [0.2]}, 0, "0 of 4 requests were measured"),
    ],
)
def test_what_it_counts_as_a_success_may_be_none(change: dict[str, Any], good: int, words: str) -> None:
    came, problems = judged(result(**change))
    assert came == good
    assert problems[0] == words
    assert judge.mend(problems)


def test_a_run_without_an_end_or_with_a_bad_warm_up_is_none() -> None:
    assert judged(None, status=1)[1][-2:] == [
        "the client wrote no result: it did not come to its end",
        "the client ended with exit status 1",
    ]
    assert judged(result(3))[1] == ["3 of 4 requests were measured"]
    short = result(2, output_lens=[6, 2])
    assert judged(result(), short)[1] == ["1 requests of the warm-up: the answer ended after 2 of 6 tokens"]
    assert judged(result(), [])[1] == [
        "of the warm-up the client's result has no output_lens, ttfts, itls, errors of the requests"
    ]
    assert judged(result(), status=124)[1] == ["the client took too long, and was ended"]


def test_the_log_tells_what_the_result_does_not() -> None:
    log = "HTTP Error 503: <x>\nHTTP Error 503: <x>\n"
    assert benchmark_serving.complaint(log, []) == "HTTP status 503 (2 times)"
    assert "ask for fewer at once" in judge.mend(["x", "the client says: HTTP status 503 (2 times)"])
    log = "Traceback (most recent call last):\nImportError: libcuda.so.1: cannot open shared object file: none\n"
    said = benchmark_serving.complaint(log, [])
    assert said == "ImportError: libcuda.so.1: cannot open shared object file: none"
    assert "benchmark_client_gpu=true" in judge.mend([said])
    assert benchmark_serving.complaint(log, [cases.request(200, 10, CELL)]) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["output_lens", "ttfts", "itls", "errors", "e2els", "input_lens", "duration"]), st.data())
def test_damaged_results_never_make_a_good_run_of_nothing(one: object, place: str, data: st.DataObject) -> None:
    told = result()
    if data.draw(st.booleans()) and isinstance(told[place], list):
        told[place] = [one, *told[place][1:]]
    else:
        told[place] = one
    text = json.dumps(told)
    found = benchmark_serving.read(text, json.dumps(result(2)), "")
    good, problems = judge.of_run(found, CELL, 0)
    if not problems:
        assert len(good) == CELL.requests
        assert all(each.output_tokens == CELL.output and each.ttft_ms and each.latency_ms for each in good)
    figures.of_run(good, figures.Slo(), found.duration_s)
    for cut in (text[: data.draw(st.integers(0, len(text) - 1))], json.dumps(one)):
        assert judge.of_run(benchmark_serving.read(cut, None, ""), CELL, 0)[1]


# Beside results of the other client


def test_results_of_two_clients_are_not_compared_and_each_is_marked() -> None:
    mine = cases.result(name="mine")
    its = cases.result(name="its", client={"name": "benchmark_serving", "version": "1.3.0"})
    with pytest.raises(compare.CompareError, match="mine was measured by aiperf, and its by benchmark_serving"):
        compare.differences(mine, its)
    text = report.markdown([mine, its], "mine", "now")
    assert "its (benchmark\\_serving)" in text or "its (benchmark_serving)" in text
    assert "Compare results of one client." in text
    assert "can pass" in text
    assert "can pass" not in report.markdown([mine], "mine", "now")
    assert "can pass" in document.table(its)[-1]
    assert "aiperf" in report.table([mine, its]).splitlines()[1]
    assert compare.differences(its, {**its, "name": "again"})


# On the leader


class Host:
    """A host that does what it is told, and writes these files."""

    def __init__(self, folder: Path, **seen: Any) -> None:
        self.folder, self.calls = folder, []
        self.seen = {"running": False, "status": 0, "why": "", "result": {"name": "measured", "came": 4}, **seen}
        self.interrupt = 0

    def __call__(self, module: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append((module.rpartition(".")[2], asked.get("state") or asked.get("src"), dict(asked)))
        if asked.get("state") == "watched":
            if self.interrupt:
                os.kill(os.getpid(), self.interrupt)
            return self.seen
        if "src" in asked:
            path = self.folder / Path(asked["src"]).name
            if not path.exists():
                return {"failed": True, "msg": "nothing is there"}
            return {"content": base64.b64encode(path.read_bytes()).decode()}
        return {"changed": True}

    def write(self, measured: Any, warmup: Any, log: str = "") -> None:
        for name, told in (("measured", measured), ("warmup", warmup)):
            (self.folder / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(told).encode()))
        (self.folder / "client.log").write_text(log)

    @property
    def states(self) -> list[str]:
        return [state for _module, state, _asked in self.calls]


def ran(host: Host, kept: Path, key: str = "") -> dict[str, Any]:
    container = in_image.Container("spark1", "sha256:0123", False, 600.0, {"meminfo": "/proc/meminfo"})
    said: list[tuple[int, int]] = []
    slo = figures.Slo()
    told = in_image.measured(JOB, TARGET, container, key, kept, slo, lambda came, of: said.append((came, of)), host)
    assert said == [(4, 4)]
    return told


@pytest.fixture
def host(tmp_path: Path) -> Host:
    folder = tmp_path / "host"
    folder.mkdir()
    return Host(folder)


def test_it_runs_without_a_gpu_its_key_is_in_no_command_and_nothing_is_left(host: Host, tmp_path: Path) -> None:
    host.write(result(), result(2), "[TensorRT-LLM] TensorRT LLM version: 1.3.0\n")
    told = ran(host, tmp_path / "kept", "planted")
    assert (told["good"], told["client"], told["seed"]) == (True, "1.3.0", 7)
    assert [host.states[0], host.states[1], host.states[-1]] == ["started", "watched", "absent"]
    start = host.calls[0][2]
    assert (start["gpu"], start["served_model"], start["image"]) == (False, True, "sha256:0123")
    assert start["secrets"] == {"key": "planted"}
    rest = {name: value for name, value in start.items() if name != "secrets"}
    assert "planted" not in json.dumps(rest) + str([base64.b64decode(one) for one in start["files"].values()])
    assert start["memory_mib"] == 4096
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "client.log",
        "measured.json.gz",
        "warmup.json.gz",
    ]


def test_one_that_was_ended_says_why_and_is_removed(host: Host, tmp_path: Path) -> None:
    host.seen.update(why="memory", status=137)
    told = ran(host, tmp_path / "kept")
    assert not told["good"]
    assert told["problems"][-1] == "the client says: the kernel ended it for want of memory"
    assert host.states[-1] == "absent"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_removes_it_there_too(host: Host, tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    host.interrupt = number
    with pytest.raises(SystemExit):
        ran(host, tmp_path / "kept")
    assert host.states == ["started", "watched", "absent"]
    assert signal.getsignal(number) == before


def test_a_host_that_refuses_is_told_and_nothing_is_fetched(tmp_path: Path) -> None:
    calls: list[str] = []

    def refuses(_module: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        calls.append(str(asked["state"]))
        return {"failed": True, "msg": "only 1 MiB is available. Nothing was changed"}

    with pytest.raises(TrialFailedError, match="spark1: only 1 MiB is available"):
        ran(refuses, tmp_path)  # type: ignore[arg-type]
    assert calls == ["started", "absent"]


# The stand-in, really measuring


def called(folder: Path, endpoint: set_timing.SetTiming, key: str = "") -> tuple[Any, int]:
    """Run the program that runs beside the engine, with the stand-in for the client."""
    port = int(endpoint.url.rpartition(":")[2])
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    target = TARGET._replace(port=port, model=endpoint.model, tokenizer=str(folder / "tokenizer"))
    calls = [
        {
            "name": step,
            "argv": [sys.executable, *benchmark_serving.command(JOB, target, step, str(folder))[1:]],
            "seconds": 60,
            "requests": requests,
        }
        for step, requests in ((benchmark_serving.WARMUP, 2), (benchmark_serving.MEASURED, 4))
    ]
    (folder / measure.ORDER).write_text(json.dumps({"calls": calls}))
    if key:
        (folder / measure.KEY).write_text(key)
    env = {**os.environ, "PYTHONPATH": str(ENGINE), "http_proxy": "http://127.0.0.1:1", "OPENAI_API_KEY": "another"}
    argv = [sys.executable, measure.__file__, str(folder)]
    status = subprocess.run(argv, env=env, check=False, timeout=120).returncode
    texts = [gzip.decompress((folder / f"{name}.json.gz").read_bytes()).decode() for name in ("measured", "warmup")]
    return benchmark_serving.read(*texts, (folder / "client.log").read_text()), status


@pytest.mark.parametrize(
    ("mode", "good", "words"),
    [
        (set_timing.OK, 4, ""),
        (set_timing.CUT, 2, "2 of 4 requests: the answer ended after 3 of 6 tokens"),
        (set_timing.TOLD_CUT, 2, "2 of 4 requests: the answer ended after 3 of 6 tokens"),
        (set_timing.ERROR, 2, "2 of 4 requests: the answer ended after 3 of 6 tokens"),
        (set_timing.TORN, 2, "2 of 4 requests: asyncio.exceptions.IncompleteReadError"),
        (set_timing.BUSY, 2, "2 of 4 requests: Told"),
    ],
)
def test_what_the_stand_in_measures_is_judged_as_of_the_other_client(
    tmp_path: Path, mode: str, good: int, words: str
) -> None:
    with set_timing.SetTiming(ttft_s=0.05, itl_s=0.01, mode=mode, every=2, spared=2) as endpoint:
        found, status = called(tmp_path, endpoint)
    assert status == 0, "it itself has no word of what went wrong"
    came, problems = judge.of_run(found, CELL, status)
    assert len(came) == good
    assert problems[0].startswith(words) if words else problems == []
    made = figures.of_run(came, figures.Slo(), found.duration_s)
    assert 50 <= made["ttft_ms"]["min"] < 2000
    assert 100 <= made["e2e_ms"]["min"] <= found.duration_s * 1000, "no token came before it was due"
    assert found.version
    assert endpoint.most_at_once == 2
    assert json.loads((tmp_path / measure.RESULT).read_text()) == {"name": "measured", "came": 4, "requests": 4}
    prompts = [tuple(one["prompt"]) for one in endpoint.requests]
    assert ({len(one) for one in prompts}, len(set(prompts))) == ({32}, 6)


def test_a_key_reaches_the_endpoint_and_its_file_is_gone(tmp_path: Path) -> None:
    with set_timing.SetTiming(ttft_s=0.01, itl_s=0.001, key="planted-0123") as endpoint:
        found, status = called(tmp_path, endpoint, "planted-0123")
    assert (judge.of_run(found, CELL, status)[1], (tmp_path / measure.KEY).exists()) == ([], False)
    assert not [path for path in tmp_path.iterdir() if path.is_file() and b"planted" in path.read_bytes()]


def test_a_client_that_ends_badly_ends_all(tmp_path: Path) -> None:
    order = {"calls": [{"name": "warmup", "argv": ["sh", "-c", "echo no; exit 3"], "seconds": 9, "requests": 1}] * 2}
    (tmp_path / measure.ORDER).write_text(json.dumps(order))
    assert measure.main([str(tmp_path)]) == 3
    assert (tmp_path / "client.log").read_text() == "no\n"


def test_a_client_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    order = {"calls": [{"name": "warmup", "argv": ["sleep", "60"], "seconds": 1, "requests": 1}]}
    (tmp_path / measure.ORDER).write_text(json.dumps(order))
    assert measure.main([str(tmp_path)]) == 124


def test_its_environment_has_no_proxy_and_no_other_key(tmp_path: Path) -> None:
    base = {"HTTP_PROXY": "http://a", "https_proxy": "http://b", "OPENAI_API_KEY": "another", "HOME": "/root"}
    assert measure.environment(tmp_path, base) == {"HOME": "/root", "PYTHONUNBUFFERED": "1"}
