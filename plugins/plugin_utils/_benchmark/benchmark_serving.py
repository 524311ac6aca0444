# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorRT-LLM's own client, benchmark_serving of its image: its command line, and what it writes. Pure functions.

Its exit status is 0 whatever becomes of requests. It calls each answer with HTTP status 200 and a first piece a
success, also where the stream was cut or had an error event; and of a refused one it may tell neither an answer nor an
error. So each request is read from the detailed result, and judged by itself. Source: ``serve/scripts`` of
NVIDIA/TensorRT-LLM, 1.2 and 1.3.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.cells import Job
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.export import Export, Request
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.told import mapping, number, text, whole

NAME = "benchmark_serving"
MODULE = "tensorrt_llm.serve.scripts.benchmark_serving"
WARMUP, MEASURED = "warmup", "measured"  #: its two calls of a run, and what their results are called
#: of what requests can have, what it sends
SAMPLING = ("temperature", "top_p", "top_k", "min_p")
#: at a rate: the shape of the gamma distribution of the times between requests. With 1, its own default, they come by
#: chance, as a Poisson process has them; with this they are even to a hundredth, as AIPerf sends them.
EVEN = 10000
SILENT = "the client tells neither an answer nor an error of it: the endpoint refused it, or the connection ended"
LETTERS = 300  #: of what it says
CLOCK_S = 0.001  #: of an answer in one piece, it looks at the clock for the first token after it did so for the end
_VERSION = re.compile(r"TensorRT[- ]LLM version: (\S+)")
_HTTP = re.compile(r"^HTTP Error (\d{3})\b", re.MULTILINE)
_RAISED = re.compile(r"^(?:[\w.]+(?:Error|Exception)|KeyError|error|[\w.]+\.py: error)\b.*$", re.MULTILINE)


class Target(NamedTuple):
    """Whom to ask, as the leader sees it."""

    host: str
    port: int
    model: str
    tokenizer: str  # a directory in the container
    extra: Mapping[str, Any]  # of SAMPLING
    own_code: bool  # whether the tokenizer may be code of the model's own


def command(job: Job, target: Target, step: str, folder: str) -> list[str]:
    """The command line of one of its calls. The key is not in it: it comes by the environment.

    Prompts go as numbers of tokens, so that they are as long as is asked for, whatever the tokenizer makes of them. Its
    own warm-up is left out, since it has the first prompt that is measured: a cache of prefixes has that then.

    :param step: WARMUP or MEASURED. :param folder: where its result goes.

    :raises KeyError: for another step.
    """
    cell = job.cell
    host = f"[{target.host}]" if ":" in target.host else target.host
    requests, seed = {
        WARMUP: (cell.warmup, zlib.crc32(f"warm-up/{job.seed}".encode()) & 0x7FFFFFFF),
        MEASURED: (cell.requests, job.seed),
    }[step]
    rate = cell.rate if step == MEASURED else 0
    return [
        *("python3", "-m", MODULE, "--backend", "openai", "--base-url", f"http://{host}:{target.port}"),
        *("--model", target.model, "--tokenizer", target.tokenizer),
        *(["--trust-remote-code"] if target.own_code else []),
        *("--dataset-name", "random", "--random-ids", "--tokenize-on-client", "--random-range-ratio", "0"),
        *("--random-input-len", str(cell.input), "--random-output-len", str(cell.output), "--ignore-eos"),
        *("--num-prompts", str(requests), "--max-concurrency", str(cell.concurrency), "--seed", str(seed)),
        *(["--request-rate", f"{rate:g}", "--burstiness", str(EVEN)] if rate else []),
        *(word for name in SAMPLING if name in target.extra for word in (_option(name), str(target.extra[name]))),
        *("--no-test-input", "--percentile-metrics", "ttft,tpot,itl,e2el"),
        *("--save-result", "--save-detailed", "--result-dir", folder, "--result-filename", f"{step}.json"),
    ]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def read(measured: str | None, warmup: str | None, log: str) -> Export:
    """Read what its two calls of a run have written.

    :param measured: the result of the second, None where there is none. :param log: what it said.
    """
    requests, problem, duration_s = _result(measured)
    before, failed, _duration = _result(warmup)
    found = _VERSION.search(log)
    return Export(
        requests=requests,
        warmup=before,
        problem=problem or (f"of the warm-up {failed}" if failed else ""),
        version=text(found[1], 60) if found else "",
        duration_s=duration_s,
    )


#: of a result, what has an entry for each request, and that must be there
EACH = ("output_lens", "ttfts", "itls", "errors")


def _result(written: str | None) -> tuple[list[Request], str, float]:
    """The requests, what is wrong with all of them together, and the seconds that they took."""
    if written is None:
        return [], "the client wrote no result: it did not come to its end", 0.0
    try:
        told = mapping(json.loads(written))
    except (ValueError, RecursionError):
        return [], "the client's result is not JSON", 0.0
    lists = {name: told.get(name) for name in (*EACH, "e2els", "input_lens") if name in told or name in EACH}
    if any(not isinstance(one, list) for one in lists.values()):
        lacking = ", ".join(name for name, one in lists.items() if not isinstance(one, list))
        return [], f"the client's result has no {lacking} of the requests", 0.0
    if len({len(one) for one in lists.values()}) != 1:  # type: ignore[arg-type]
        return [], "the client's result has not the same number of requests everywhere", 0.0
    count = len(lists["errors"])  # type: ignore[arg-type]
    rows = [{name: one[place] for name, one in lists.items()} for place in range(count)]  # type: ignore[index]
    duration_s = number(told.get("duration")) or 0.0
    return [_request(row) for row in rows], "" if duration_s else "the client tells no time of the run", duration_s


def _request(row: Mapping[str, Any]) -> Request:
    output = whole(row["output_lens"])
    error = _error(row["errors"])
    if not error and output == 0:
        error = SILENT
    ttft = number(row["ttfts"])
    gaps = [number(one) for one in row["itls"]] if isinstance(row["itls"], list) else [None]
    known = [one * 1000 for one in gaps if one is not None]
    whole_answer = number(row["e2els"]) if "e2els" in row else None
    if "e2els" not in row and ttft is not None:  # older ones do not write it: it is their sum, by how they are measured
        whole_answer = ttft + sum(known) / 1000
    if ttft is not None and whole_answer is not None and 0 < ttft - whole_answer < CLOCK_S:
        whole_answer = ttft
    if not error and len(known) != len(gaps):
        error = "the client tells no times of its pieces"
    return Request(
        began_ns=None,
        ended_ns=None,
        ttft_ms=ttft * 1000 if ttft else None,
        latency_ms=whole_answer * 1000 if whole_answer is not None else None,
        gaps_ms=tuple(known),
        input_tokens=whole(row.get("input_lens")),
        output_tokens=output,
        error=error,
    )


def _error(error: object) -> str:
    """What an error says, in one line: the last one of a traceback.

    >>> _error("Traceback (most recent call last):\\n  File x\\naiohttp.ClientPayloadError: torn\\n"), _error("")
    ('aiohttp.ClientPayloadError: torn', '')
    """
    if not isinstance(error, str):
        return "the client's error cannot be read"
    lines = [line for line in error.splitlines() if line.strip()]
    return text(lines[-1], LETTERS) if lines else ""


def complaint(log: str, requests: Sequence[Request]) -> str:
    """What its log says of what went wrong, empty where it says nothing: of refused requests their HTTP status, which
    its result does not have; of a client that did not begin its exception.

    >>> complaint("HTTP Error 503: <ClientResponse(http://x)>\\nHTTP Error 503: <x>\\n", [])
    'HTTP status 503 (2 times)'
    >>> complaint("Traceback (most recent call last):\\n  File x\\nImportError: libcuda.so.1: cannot open\\n", [])
    'ImportError: libcuda.so.1: cannot open'
    """
    refused = Counter(_HTTP.findall(log))
    if refused:
        return ", ".join(f"HTTP status {status} ({count} times)" for status, count in sorted(refused.items()))
    raised = [] if requests else _RAISED.findall(log)
    return text(raised[-1], LETTERS) if raised else ""
