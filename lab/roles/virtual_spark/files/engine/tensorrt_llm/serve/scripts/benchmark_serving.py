# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for TensorRT-LLM's benchmark client of this name, not that program.

It takes the options that are used here, sends requests over HTTP as the real one does, really measures them, and
writes a result of the same shape. **Real:** every time that it tells, of the simulated engine. **Simulated:** the
tokenizer, of which it looks at the file alone: a token of a text is a word.

As the real one (seen in its source, 1.2 and 1.3) it ends with status 0 whatever became of requests; calls an answer
good that had status 200 and a first piece, also where the stream ended early or had an error event; counts the words of
a text where the server told no number of tokens; and has no error for a status without a reason.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, AsyncIterator, Sequence
from urllib.parse import urlsplit

from tensorrt_llm.simulation import answers

VOCABULARY = 32000  #: numbers of tokens that there are
PATHS = {"openai": "/v1/completions", "openai-chat": "/v1/chat/completions"}
SAMPLING = ("top_p", "top_k", "min_p", "temperature")
DETAILS = ("input_lens", "output_lens", "ttfts", "itls", "e2els", "generated_texts", "errors")


@dataclass
class Sample:
    """A request that is to be sent."""

    prompt: Any  # numbers of tokens, or a text
    prompt_len: int
    output_len: int


@dataclass
class Seen:
    """What came of it; times in seconds."""

    prompt_len: int
    text: str = ""
    success: bool = False
    latency: float = 0.0
    output_tokens: int = 0
    ttft: float = 0.0
    itl: list[float] = field(default_factory=list)
    error: str = ""


class Load:
    """How, and whom, it asks."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        base = asked.base_url or f"http://{asked.host}:{asked.port}"
        parts = urlsplit(base)
        self.host, self.port = str(parts.hostname), parts.port or 80
        self.path = PATHS["openai-chat"] if asked.backend == "openai-chat" else asked.endpoint
        sampling = {name: value for name in SAMPLING if (value := getattr(asked, name)) is not None}
        self.sampling = {"temperature": 0.0, **sampling}

    def body(self, sample: Sample) -> dict[str, Any]:
        chat = self.asked.backend == "openai-chat"
        made: dict[str, Any] = {"model": self.asked.served_model_name or self.asked.model, "stream": True}
        if chat and isinstance(sample.prompt, list):
            made.update(messages=[], prompt_token_ids=sample.prompt)
        elif chat:
            made["messages"] = [{"role": "user", "content": [{"type": "text", "text": sample.prompt}]}]
        else:
            made.update(prompt=sample.prompt, repetition_penalty=1.0, logprobs=None)
        made["max_completion_tokens" if chat else "max_tokens"] = sample.output_len
        made["stream_options"] = {"include_usage": True}
        return {**made, **({"ignore_eos": True} if self.asked.ignore_eos else {}), **self.sampling}

    async def ask(self, sample: Sample) -> Seen:
        """Send one request, and take its stream."""
        seen = Seen(sample.prompt_len)
        began = time.perf_counter()
        try:
            await self._asked(sample, seen, began)
        except Exception:
            seen.success, seen.error = False, traceback.format_exc()
        return seen

    async def _asked(self, sample: Sample, seen: Seen, began: float) -> None:
        data = json.dumps(self.body(sample)).encode()
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            head = (
                f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {os.environ.get('OPENAI_API_KEY')}\r\n"
                f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + data)
            await writer.drain()
            status, reason, headers = await _head(reader)
            if status != 200:
                print(f"HTTP Error {status}: <{reason}>", flush=True)
                seen.error = reason
                return
            last = began
            first = True
            async for line in _lines(_pieces(reader, headers)):
                told = line.removeprefix("data: ")
                if told == "[DONE]":
                    continue
                event = json.loads(told)
                choices = event.get("choices")
                if choices:
                    now = time.perf_counter()
                    if first:
                        first, seen.ttft = False, now - began
                    else:
                        seen.itl.append(now - last)
                    last = now
                    seen.text += choices[0].get("text") or (choices[0].get("delta") or {}).get("content") or ""
                elif event.get("usage"):
                    seen.output_tokens = event["usage"].get("completion_tokens")
            seen.latency = last - began
            seen.success = not first
            if first:
                seen.error = "Never received a valid chunk to calculate TTFT. (SIMULATED client)"
        finally:
            writer.close()


async def _head(reader: asyncio.StreamReader) -> tuple[int, str, dict[str, str]]:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = text.split("\r\n")
    _version, status, *reason = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _colon, value in (line.partition(":") for line in rest)}
    return int(status), reason[0] if reason else "", headers


async def _pieces(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """The body, by pieces. :raises IncompleteReadError: where the connection ends in it."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        while piece := await reader.read(1 << 16):
            yield piece
        return
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    left = b""
    async for piece in pieces:
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            if line.strip():
                yield line.strip().decode()
    if left.strip():
        yield left.strip().decode()


class Bar:
    """A progress bar as tqdm's, in place."""

    def __init__(self, whole: int, quiet: bool) -> None:
        self._whole, self._quiet, self._came, self._began = whole, quiet, 0, time.monotonic()

    def step(self, count: int = 1) -> None:
        self._came += count
        if self._quiet:
            return
        done, seconds = self._came / self._whole, time.monotonic() - self._began
        shown = "#" * round(done * 10)
        clock = f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"
        rate = self._came / seconds if seconds else 0
        sys.stderr.write(
            f"\rBenchmarking: {done:4.0%}|{shown:10}| {self._came}/{self._whole} [{clock}<?, {rate:.2f}it/s]"
        )
        sys.stderr.flush()


def samples(asked: argparse.Namespace) -> list[Sample]:
    """Random prompts: numbers of tokens in a row, from a place that chance decides."""
    if asked.dataset_name != "random" or not asked.random_ids:
        raise AssertionError(
            "Please provide a download path to sample from the ShareGPT dataset, or use `--random-ids` (SIMULATED)"
        )
    if not 0 <= asked.random_range_ratio < 1:
        raise ValueError("random_range_ratio must be < 1.0 to ensure a valid sampling range")
    chance = random.Random(asked.seed)
    prefix = [chance.randrange(VOCABULARY) for _one in range(asked.random_prefix_len)]

    def around(length: int) -> int:
        ratio = asked.random_range_ratio
        return chance.randint(int(length * (1 - ratio)), int(length * (1 + ratio)))

    made = []
    for number in range(asked.num_prompts):
        length, start = around(asked.random_input_len), chance.randrange(VOCABULARY)
        ids = prefix + [(start + number + place) % VOCABULARY for place in range(length)]
        prompt: Any = ids if asked.tokenize_on_client else " ".join(map(str, ids))
        made.append(Sample(prompt, len(ids), around(asked.random_output_len)))
    return made


async def measure(asked: argparse.Namespace, some: Sequence[Sample]) -> dict[str, Any]:
    """Send all, at most so many at once."""
    load, chance = Load(asked), random.Random(asked.seed)
    if not asked.no_test_input:
        print("Starting initial single prompt test run...", flush=True)
        tried = await load.ask(some[0])
        if not tried.success:
            raise ValueError(f"Initial test run failed - Error: {tried.error}")
    print(
        f"Traffic request rate: {asked.request_rate}\nMaximum request concurrency: {asked.max_concurrency}", flush=True
    )
    gate, shown = asyncio.Semaphore(asked.max_concurrency or len(some)), Bar(len(some), asked.disable_tqdm)

    async def one(sample: Sample) -> Seen:
        async with gate:
            seen = await load.ask(sample)
        shown.step()
        return seen

    began, tasks = time.perf_counter(), []
    for sample in some:
        tasks.append(asyncio.create_task(one(sample)))
        if asked.request_rate < float("inf"):
            shape = asked.burstiness
            await asyncio.sleep(chance.gammavariate(shape, 1 / (asked.request_rate * shape)))
    seen = await asyncio.gather(*tasks)
    sys.stderr.write("\n")
    return figures(seen, time.perf_counter() - began, asked)


def figures(seen: Sequence[Seen], duration: float, asked: argparse.Namespace) -> dict[str, Any]:
    """The result, of the real one's shape."""
    good = [one for one in seen if one.success]
    lengths = [(one.output_tokens or len(answers.tokens(one.text))) if one.success else 0 for one in seen]
    counted = [length for one, length in zip(seen, lengths) if one.success]
    given, made = sum(one.prompt_len for one in good), sum(lengths)
    tpots = [(one.latency - one.ttft) / (count - 1) for one, count in zip(good, counted) if count > 1]
    print(f"Total requests: {len(seen)}\nSuccessful requests: {len(good)}\nFailed requests: {len(seen) - len(good)}")
    result: dict[str, Any] = {
        "duration": duration,
        "completed": len(good),
        "total_input_tokens": given,
        "total_output_tokens": made,
        "request_throughput": len(good) / duration,
        "request_goodput:": None,  # with the colon, as in the real one
        "output_throughput": made / duration,
        "total_token_throughput": (given + made) / duration,
        "user_throughput": _mean([count / one.latency for one, count in zip(good, counted) if one.latency]),
        "input_lens": [one.prompt_len for one in seen],
        "output_lens": lengths,
        "ttfts": [one.ttft for one in seen],
        "itls": [one.itl for one in seen],
        "e2els": [one.latency for one in seen],
        "generated_texts": [one.text for one in seen],
        "errors": [one.error for one in seen],
    }
    times = {
        "ttft": [one.ttft for one in good],
        "tpot": tpots,
        "itl": [gap for one in good for gap in one.itl],
        "e2el": [one.latency for one in good],
    }
    for name in asked.percentile_metrics.split(","):
        values = sorted(1000 * value for value in times[name]) or [0.0]
        result[f"mean_{name}_ms"] = _mean(values)
        result[f"median_{name}_ms"] = statistics.median(values)
        result[f"std_{name}_ms"] = statistics.pstdev(values)
        for percent in map(float, asked.metric_percentiles.split(",")):
            result[f"p{percent:g}_{name}_ms"] = values[round((len(values) - 1) * percent / 100)]
        print(f"Mean {name.upper()} (ms): {result[f'mean_{name}_ms']:.2f}", flush=True)
    return result


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the real one's options those of random prompts."""
    parser = argparse.ArgumentParser(description="SIMULATED: Benchmark the online serving throughput.")
    parser.add_argument("--backend", choices=list(PATHS), default="openai")
    parser.add_argument("--base-url")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--endpoint", default=PATHS["openai"])
    parser.add_argument("--dataset-name", default="sharegpt")
    parser.add_argument("--max-concurrency", type=int)
    parser.add_argument("--model", required=True)
    parser.add_argument("--served-model-name")
    parser.add_argument("--tokenizer")
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--num-prompts", type=int, default=1000)
    parser.add_argument("--request-rate", type=float, default=float("inf"))
    parser.add_argument("--burstiness", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    for name in ("disable-tqdm", "save-result", "save-detailed", "ignore-eos", "no-test-input"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--result-dir")
    parser.add_argument("--result-filename")
    parser.add_argument("--percentile-metrics", default="ttft,tpot,itl")
    parser.add_argument("--metric-percentiles", default="99")
    parser.add_argument("--random-input-len", type=int, default=1024)
    parser.add_argument("--random-output-len", type=int, default=128)
    parser.add_argument("--random-prefix-len", type=int, default=0)
    parser.add_argument("--random-range-ratio", type=float, default=0.0)
    for name in ("random-ids", "tokenize-on-client"):
        parser.add_argument(f"--{name}", action="store_true")
    for name in SAMPLING:
        kind = int if name == "top_k" else float
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    asked = arguments(words)
    print(f"SIMULATED: a virtual Spark's stand-in for this client\n{asked}", flush=True)
    folder = Path(asked.tokenizer or asked.model)
    if not (folder / "tokenizer.json").exists():
        raise OSError(f"Can't load tokenizer for '{folder}'. (SIMULATED)")
    result = asyncio.run(measure(asked, samples(asked)))
    if not asked.save_result:
        return
    now = time.strftime("%Y%m%d-%H%M%S")
    about = {"date": now, "backend": asked.backend, "model_id": asked.model, "tokenizer_id": str(folder)}
    endless = asked.request_rate == float("inf")
    kept = {name: value for name, value in result.items() if asked.save_detailed or name not in DETAILS}
    whole = {
        **{**about, "num_prompts": asked.num_prompts, **kept},
        "request_rate": "inf" if endless else asked.request_rate,
        "burstiness": asked.burstiness,
        "max_concurrency": asked.max_concurrency,
    }
    name = asked.result_filename or f"{asked.backend}-{asked.request_rate}qps-{Path(asked.model).name}-{now}.json"
    Path(asked.result_dir or ".", name).write_text(json.dumps(whole))


if __name__ == "__main__":
    main()
