# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/benchmark.yml against an endpoint whose timing is set, and on a pair of virtual Sparks.

Those that measure need AIPerf, which the playbook installs (1.2 GB): BENCHMARK_CACHE names a directory that it is
kept in from one session to the next. BENCHMARK_TABLE names a file that the accuracy is written to, as a table.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator

import benchmark_cases as cases
import jsonschema
import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import document
from set_timing import BUSY, CUT, ERROR, TOLD_CUT, TORN, SetTiming

from .benchmark_client import installed
from .conftest import ROOT, SERVED, Lab, Pair, Run, eventually, stocked, taken_down
from .state import BY_SERVING, captured, differences

SCHEMA = json.loads((ROOT / "docs" / "benchmark.schema.json").read_text())
#: this machine as a Spark that serves nothing
ALONE = {
    "spark": {
        "hosts": {"spark1": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}},
        "vars": {"benchmark_become": False},
    }
}


@pytest.fixture(scope="session")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A way to run playbooks, without a lab."""
    return Lab(tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="session")
def client(nothing: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """AIPerf, and a tokenizer."""
    return installed(nothing, tmp_path_factory.mktemp("client"))


def benchmark(lab: Lab, out: Path, check: bool = False, **options: Any) -> tuple[dict[str, Any], Run]:
    """Run the playbook. Returns the result that it wrote, empty where it wrote none, and the run."""
    run = lab.play("benchmark.yml", check, inventory=ALONE, benchmark_out=str(out), benchmark_name="it", **options)
    path = out / "it.json"
    told = json.loads(path.read_text()) if path.exists() else {}
    if told:
        jsonschema.validate(told, SCHEMA)
        assert told["good"] == (run.status == "successful"), run.said
    return told, run


def at(endpoint: SetTiming, **options: Any) -> dict[str, Any]:
    return {"benchmark_url": endpoint.url, "benchmark_model": endpoint.model, **options}


# Without the client


def test_check_tells_what_would_run_and_how_long_and_does_nothing(nothing: Lab, tmp_path: Path) -> None:
    with SetTiming() as endpoint:
        asked = at(endpoint, benchmark_profile="short", benchmark_concurrency="1,8,32")
        where = {"benchmark_cache": str(tmp_path / "none"), "benchmark_tokenizer": str(tmp_path / "tokenizer")}
        _told, run = benchmark(nothing, tmp_path / "out", check=True, **asked, **where)
        assert "tokenizer is no directory, and benchmark_tokenizer names it" in run.words
        (tmp_path / "tokenizer").mkdir()
        (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
        told, run = benchmark(nothing, tmp_path / "out", check=True, **asked, **where)
        assert run.status == "successful", run.said
        assert "BENCHMARK short of set-timing at" in run.words
        assert "3 loads x 3 runs, about" in run.words
        assert "i256-o256-c32: 50 requests of 256 tokens, 256 tokens back, 32 at once" in run.words
        assert (told, endpoint.paths, [one.name for one in tmp_path.iterdir()]) == ({}, [], ["tokenizer"])


@pytest.mark.matrix
def test_the_report_says_no_difference_of_what_is_alike_and_names_what_is_slower(nothing: Lab, tmp_path: Path) -> None:
    for name, change in (("one", {}), ("same", {"seed": 2}), ("slower", {"seed": 3, "slower": 1.2})):
        (tmp_path / f"{name}.json").write_text(json.dumps(cases.result(name=name, **change)))
    where = {"benchmark_out": str(tmp_path), "benchmark_baseline": "one"}
    where |= {"benchmark_cache": os.environ.get("BENCHMARK_CACHE") or str(tmp_path / "cache")}
    run = nothing.play("benchmark_report.yml", inventory=ALONE, **where)
    assert run.status == "successful", run.said
    words = run.words
    alike, slower = words.index("same against one"), words.index("slower against one")
    assert words[alike:slower].strip() == "same against one no difference exceeds the spread"
    assert "ITL p50 10" in words[slower:] or "inter-token latency" in words[slower:], words[slower:]
    assert ": worse" in words[slower:]
    assert ": better" not in words[alike:]
    schema = json.loads((ROOT / "docs" / "benchmark_report.schema.json").read_text())
    jsonschema.validate(json.loads((tmp_path / "benchmark.json").read_text()), schema)
    assert all((tmp_path / f"benchmark.{kind}").stat().st_size for kind in ("html", "csv", "md"))
    (tmp_path / "virtual.json").write_text(json.dumps(cases.result(name="virtual", virtual=True)))
    run = nothing.play("benchmark_report.yml", inventory=ALONE, **where)
    assert run.status == "failed"
    assert "virtual: measured on virtual Sparks" in run.words


def test_what_cannot_be_measured_is_refused_before_anything_is_asked(nothing: Lab, tmp_path: Path) -> None:
    with SetTiming() as endpoint:
        _told, run = benchmark(nothing, tmp_path, **at(endpoint, benchmark_profile="fast"))
        assert "benchmark_profile is 'fast', and the profiles are quick, short" in run.words
        _told, run = benchmark(nothing, tmp_path)
        assert "no Spark of this run serves anything: serve a model first, or name the endpoint" in run.words
        assert endpoint.paths == []


# With the client


@pytest.mark.matrix
@pytest.mark.parametrize("mode", [CUT, TOLD_CUT, TORN, ERROR])
def test_a_stream_that_ends_early_is_a_failure_and_no_fast_answer(
    nothing: Lab, client: dict[str, str], tmp_path: Path, mode: str
) -> None:
    with SetTiming(mode=mode, every=5, spared=2) as endpoint:
        asked = at(endpoint, benchmark_concurrency=2, benchmark_output=20, benchmark_runs=1)
        told, run = benchmark(nothing, tmp_path, **asked, **client)
    assert run.status == "failed"
    (cell,) = told["cells"]
    (one,) = cell["runs"]
    assert (one["good"], one["figures"], one["good_requests"], cell["over_runs"]) == (False, None, 8, {})
    assert "2 of 10 requests: " in run.words
    assert "So no figure of these runs counts" in run.words


@pytest.mark.matrix
@pytest.mark.parametrize(("every", "failed"), [(4, 3), (1, 12)])
def test_a_busy_endpoint_is_a_failure(
    nothing: Lab, client: dict[str, str], tmp_path: Path, every: int, failed: int
) -> None:
    with SetTiming(mode=BUSY, every=every, spared=2) as endpoint:
        asked = at(endpoint, benchmark_concurrency=2, benchmark_output=20, benchmark_runs=1, benchmark_requests=12)
        told, run = benchmark(nothing, tmp_path, **asked, **client)
    assert run.status == "failed"
    assert told["cells"][0]["runs"][0]["good_requests"] == 12 - failed
    assert f"{failed} of 12 requests: 503" in run.words
    assert "ask for fewer at once (benchmark_concurrency)" in run.words


@pytest.mark.matrix
def test_a_key_reaches_the_endpoint_and_nothing_else(nothing: Lab, client: dict[str, str], tmp_path: Path) -> None:
    key = "planted-0123456789abcdef"
    with SetTiming(key=key) as endpoint:
        asked = at(endpoint, benchmark_output=8, benchmark_requests=2, benchmark_runs=1)
        told, run = benchmark(nothing, tmp_path / "out", spark_api_key=key, **asked, **client)
        assert run.status == "successful", run.said
        assert len(endpoint.requests) == 3
        prompts = [json.dumps(one["messages"]) for one in endpoint.requests]
        assert len(set(prompts)) == 3
        assert {path for path in endpoint.paths if "metrics" in path} == set()
        _told, refused = benchmark(nothing, tmp_path / "other", **asked, **client)
    assert "401" in refused.words
    assert "give the endpoint's key (spark_api_key)" in refused.words
    left = [
        path for path in (tmp_path / "out").rglob("*") if path.is_file() and key in path.read_text(errors="replace")
    ]
    assert (left, key in json.dumps(run.events)) == ([], False)
    assert told["virtual"] in (True, False)


@pytest.mark.matrix
def test_a_benchmark_goes_on_where_it_was_interrupted(nothing: Lab, client: dict[str, str], tmp_path: Path) -> None:
    with SetTiming(ttft_s=0.02, itl_s=0.002) as endpoint:
        asked = at(endpoint, benchmark_output=8, benchmark_requests=2, benchmark_runs=2)
        first, run = benchmark(nothing, tmp_path, **asked, **client)
        assert run.status == "successful", run.said
        count = len(endpoint.requests)
        path = tmp_path / "it.json"
        first["cells"][0]["runs"] = first["cells"][0]["runs"][:1]
        path.write_text(json.dumps(first))
        told, run = benchmark(nothing, tmp_path, **asked, **client)
        assert run.status == "successful", run.said
        assert len(endpoint.requests) == count * 3 // 2, "one run of two"
        assert told["cells"][0]["runs"][0] == first["cells"][0]["runs"][0]
        again, run = benchmark(nothing, tmp_path, **asked, **client)
        assert len(endpoint.requests) == count * 3 // 2, "nothing twice"
        assert again["cells"] == told["cells"]


@pytest.mark.matrix
def test_an_interrupt_leaves_no_client_behind(nothing: Lab, client: dict[str, str], tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(yaml.safe_dump(ALONE))
    scratch = Path(tempfile.mkdtemp(prefix="sp-"))  # a short name, since the client's sockets have paths
    with SetTiming(ttft_s=1, itl_s=0.1) as endpoint:
        asked = json.dumps({**at(endpoint, benchmark_out=str(tmp_path / "out"), benchmark_runs=1), **client})
        command = ["ansible-playbook", "-i", str(hosts), "playbooks/benchmark.yml", "-e", asked]
        environment = {**os.environ, "TMPDIR": str(scratch)}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 300
        while len(endpoint.requests) < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[0].decode()
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0].decode()
    assert "[ERROR]: User interrupted execution" in said or process.returncode == 99, said
    assert subprocess.run(["pgrep", "-f", str(scratch)], check=False, stdout=subprocess.DEVNULL).returncode == 1
    eventually(lambda: [one.name for one in scratch.iterdir() if "benchmark" in one.name], [])
    shutil.rmtree(scratch)


#: of what is measured, the part by which it may be off: TTFT carries 2 to 20 ms of the client's own, and more where the
#: machine is busy
ITL_SHARE, TTFT_SHARE = 0.05, 0.05


@pytest.mark.matrix
@pytest.mark.parametrize("ttft_ms", [200, 40])
def test_what_is_measured_is_the_truth(nothing: Lab, client: dict[str, str], tmp_path: Path, ttft_ms: int) -> None:
    with SetTiming(ttft_s=ttft_ms / 1000, itl_s=0.01) as endpoint:
        asked = at(endpoint, benchmark_profile="custom", benchmark_input=128, benchmark_output=100, benchmark_runs=1)
        told, run = benchmark(
            nothing, tmp_path, **asked, **client, benchmark_concurrency="1,8,32", benchmark_requests_each=4
        )
    assert run.status == "successful", run.said
    rows = []
    for cell in told["cells"]:
        at_once, (one,) = cell["load"]["concurrency"], cell["runs"]
        measured = one["figures"]
        ttft, itl, tpot = measured["ttft_ms"]["p50"], measured["itl_ms"]["mean"], measured["tpot_ms"]["mean"]
        rows.append(f"| {ttft_ms} / 10 | {at_once} | {ttft:.1f} ({ttft / ttft_ms - 1:+.1%}) | {itl:.2f} | {tpot:.2f} |")
        assert itl == pytest.approx(10, rel=ITL_SHARE), rows
        assert tpot == pytest.approx(10, rel=ITL_SHARE), rows
        assert measured["input_tokens"] > 0
        if ttft_ms == 200 and at_once in (1, 8):
            assert ttft == pytest.approx(ttft_ms, rel=TTFT_SHARE), rows
    print("\n".join(rows))
    if table := os.environ.get("BENCHMARK_TABLE"):
        with Path(table).open("a", encoding="utf-8") as stream:
            stream.write("\n".join(rows) + "\n")


# On virtual Sparks


@pytest.fixture(scope="module")
def serving(pair: Pair, first: tuple[Run, int]) -> Pair:
    """The pair after two_spark.yml."""
    eventually(lambda: bool(pair.asked()), True, seconds=240)
    return pair


@pytest.mark.matrix
def test_a_pair_is_measured_through_a_tunnel_and_recorded_with_all_that_it_is(
    serving: Pair, client: dict[str, str], tmp_path: Path
) -> None:
    before = captured(serving)
    asked = {"benchmark_output": 16, "benchmark_requests": 4, "benchmark_runs": 2, "benchmark_out": str(tmp_path)}
    noise = serving.play("benchmark.yml", **asked, benchmark_cache=client["benchmark_cache"])
    assert noise.status == "failed"
    assert "give a directory on this controller that has the model's tokenizer (benchmark_tokenizer)" in noise.words
    run = serving.play("benchmark.yml", **asked, **client, benchmark_name="it")
    assert run.status == "successful", run.said
    told = json.loads((tmp_path / "it.json").read_text())
    jsonschema.validate(told, SCHEMA)
    assert (told["good"], told["virtual"], told["meanwhile"]) == (True, True, [])
    assert (told["model"]["repo"], len(told["model"]["commit"])) == ("lab/tiny-chat", 40)
    assert told["endpoint"] == "http://127.0.0.1:8355/v1 on spark1"
    about = told["serving"]
    assert about["image"]["base_digest"].startswith("sha256:")
    assert about["flags"][0].endswith("trtllm-serve"), about["flags"]
    assert "kv_cache_config" in about["yaml"]
    assert [(rank["host"], rank["transport"]) for rank in about["ranks"]] == [("spark1", "IB"), ("spark2", "IB")]
    assert about["nccl"]
    assert told["cluster"]["shape"] == "2 Sparks"
    for spark in told["cluster"]["sparks"]:
        assert all(spark[name] for name in ("kernel", "driver", "firmware", "gpu", "docker", "virtual", "machine")), (
            spark
        )
        assert {link["mtu"] for link in spark["links"] if link["state"] == "up"} == {9000}, spark["links"]
    for moment in ("before", "after"):
        assert [one["temperature_c"] > 0 < one["memory_available_mib"] for one in told[moment]["sparks"]] == [True] * 2
    assert document.VIRTUAL in run.words
    assert subprocess.run(["pgrep", "-f", f"ssh .*{serving.name}.* -L "], check=False).returncode == 1, (
        "a tunnel is left"
    )
    assert differences(before, captured(serving), BY_SERVING) == []


# By the client of the serving's image

#: what the benchmark's container is known by, and where its files are
LEFT = "sudo docker ps --all --quiet --filter label=dgx-spark.validate; sudo ls -d /run/dgx-spark-validate 2>/dev/null"
KEY = "planted-0123456789abcdef"
LOAD = {"benchmark_input": 32, "benchmark_output": 16, "benchmark_requests": 6, "benchmark_runs": 2}


@pytest.fixture(scope="module")
def one_spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One Spark that serves."""
    made = stocked(tmp_path_factory.mktemp("image"), virtual_spark_count=1)
    run = made.serve("single_spark.yml")
    assert run.status == "successful", run.said
    eventually(lambda: bool(made.asked()), True, seconds=240)
    yield made
    taken_down(made)


def left(spark: Pair) -> str:
    return str(spark.host("spark1").run(LEFT).stdout).strip()


@pytest.mark.matrix
def test_what_the_image_s_client_cannot_do_is_refused_before_anything_runs(one_spark: Pair, tmp_path: Path) -> None:
    for option, value in (("depth", 4096), ("url", "http://127.0.0.1:1"), ("tokenizer", str(tmp_path))):
        asked = {"benchmark_client": "image", "benchmark_out": str(tmp_path / "out"), f"benchmark_{option}": value}
        run = one_spark.play("benchmark.yml", **asked)
        assert run.status == "failed"
        assert f"with benchmark_client=image there is no benchmark_{option}" in run.words
    assert (left(one_spark), (tmp_path / "out").exists()) == ("", False)


@pytest.mark.matrix
def test_both_clients_measure_one_serving_and_are_not_compared(
    one_spark: Pair, client: dict[str, str], tmp_path: Path
) -> None:
    before = captured(one_spark)
    asked = {**LOAD, "benchmark_concurrency": "1,2", "benchmark_out": str(tmp_path)}
    run = one_spark.play("benchmark.yml", check=True, **asked, benchmark_client="image", benchmark_cache=str(tmp_path))
    assert run.status == "successful", run.said
    assert "by benchmark_serving on the leader" in run.words
    assert (left(one_spark), list(tmp_path.iterdir())) == ("", [])

    image = {"benchmark_client": "image", "benchmark_name": "image", "spark_api_key": KEY}
    run = one_spark.play("benchmark.yml", **asked, **image, benchmark_cache=str(tmp_path / "none"))
    assert run.status == "successful", run.said
    assert "an answer is judged by the number of its tokens" in run.words
    events = json.dumps(run.events)
    assert (left(one_spark), (tmp_path / "none").exists()) == ("", False), "nothing was installed, and nothing is left"
    assert differences(before, captured(one_spark), BY_SERVING) == []
    run = one_spark.play("benchmark.yml", **asked, **client, benchmark_name="aiperf")
    assert run.status == "successful", run.said

    told = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("image", "aiperf")}
    for one in told.values():
        jsonschema.validate(one, SCHEMA)
        assert (one["good"], one["virtual"], one["meanwhile"]) == (True, True, [])
    assert told["image"]["client"] == {"name": "benchmark_serving", "version": "1.3.0rc13"}
    for name in ("model", "endpoint", "serving", "cluster", "profile", "slo"):
        assert told["image"][name] == told["aiperf"][name], name
    rows = []
    for mine, its in zip(told["image"]["cells"], told["aiperf"]["cells"]):
        assert mine["load"] == its["load"]
        assert [run["figures"]["input_tokens"] for run in mine["runs"]] == [32, 32], "as the server was asked"
        assert len({run["seed"] for run in mine["runs"]} - {run["seed"] for run in its["runs"]}) == 2
        for name in ("ttft_p50_ms", "tpot_mean_ms", "e2e_p50_ms", "output_token_throughput"):
            rows.append(
                f"{mine['key']} {name}: {mine['over_runs'][name]['mean']:.1f}, {its['over_runs'][name]['mean']:.1f}"
            )
    print("benchmark_serving, AIPerf:", *rows, sep="\n  ")
    found = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert (found, KEY in events) == ([], False)
    assert {path.name for path in (tmp_path / "image" / "i32-o16-c1-run1").iterdir()} == {
        "client.log",
        "measured.json.gz",
        "warmup.json.gz",
    }

    again = {path: path.read_bytes() for path in (tmp_path / "image").rglob("*.gz")}
    run = one_spark.play("benchmark.yml", **asked, **image)
    assert run.status == "successful", run.said
    assert {path: path.read_bytes() for path in again} == again, "nothing is measured twice"
    other = one_spark.play("benchmark.yml", **asked, **client, benchmark_name="image")
    assert "was measured by benchmark_serving, and aiperf is asked for now: name another result" in other.words

    cache = {
        "benchmark_cache": client["benchmark_cache"],
        "benchmark_out": str(tmp_path),
        "benchmark_baseline": "aiperf",
    }
    run = one_spark.play("benchmark_report.yml", **cache)
    assert run.status == "successful", run.said
    assert "aiperf was measured by aiperf, and image by benchmark_serving" in run.words
    assert "image (benchmark_serving)" in (tmp_path / "benchmark.md").read_text()


@pytest.mark.matrix
def test_an_interrupt_ends_the_image_s_client_on_the_spark_and_no_key_is_to_be_seen(
    one_spark: Pair, tmp_path: Path
) -> None:
    path = tmp_path / "options.yml"
    load = {**LOAD, "benchmark_output": 400, "benchmark_requests": 200, "benchmark_client": "image"}
    given = {**SERVED, **one_spark.variables, **load, "benchmark_out": str(tmp_path), "spark_api_key": KEY}
    path.write_text(yaml.safe_dump(given))
    argv = ["ansible-playbook", "-i", str(one_spark.inventory), "-e", f"@{path}", str(ROOT / "playbooks/benchmark.yml")]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    spark = one_spark.host("spark1")
    running = "sudo docker top dgx-spark-validate -o pid,args 2>/dev/null | grep -c '[b]enchmark_serving .*measured'"
    eventually(lambda: process.poll() is not None or int(spark.run(running).stdout or 0) > 0, True, seconds=300)
    assert process.poll() is None, process.communicate()[0].decode()
    seen = spark.check_output("sudo docker inspect dgx-spark-validate; ps -eo args; sudo ls /run/dgx-spark-validate")
    assert "measure.json" in seen
    assert KEY not in seen
    assert "key" not in seen.split()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[0].decode()
    assert KEY not in said
    eventually(lambda: left(one_spark), "", seconds=90)
    assert spark.run("pgrep -f '[b]enchmark_serving'").rc == 1
    assert one_spark.asked(), "what serves goes on"
