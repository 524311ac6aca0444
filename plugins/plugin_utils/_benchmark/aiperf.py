# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AIPerf, the client that measures: its configuration, its environment, and what it exports. Pure functions.

The exit status is no success: of a stream that ends early AIPerf says nothing, and counts it as a fast one. So each
request is read from the export (profile_export.jsonl), and judged by itself.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterable, Iterator, Mapping, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.cells import Job
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.export import Export, Request
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.told import mapping, number, text, whole

NAME = "aiperf"
VERSION = "0.13.0"
RECORDS, SUMMARY = "profile_export.jsonl", "profile_export_aiperf.json"
SCHEMA = "1."  #: its export's versions that are read here: no field is removed or renamed without another number
KEY_VARIABLE = "OPENAI_API_KEY"
MEASURED = "profiling"  #: of a record, that it is none of the warm-up
LETTERS = 300  #: of what it says
BOX = " │\t"  #: around what its log draws into boxes
_ERROR = re.compile(r"\bERROR\s+(.+)$")
#: with these set, a tokenizer in a directory is taken for one of the hub, and refused
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


class Target(NamedTuple):
    """Whom to ask."""

    url: str  # with its port, always: AIPerf takes 80 for none, also where the model's server has another
    model: str
    tokenizer: str  # a directory
    key: bool  # whether the endpoint wants one
    extra: Mapping[str, Any]  # that goes into every request
    request_s: float
    bust: bool  # whether each prompt gets a word of its own first, so that no cache of prefixes has it


def configuration(job: Job, target: Target, folder: str) -> dict[str, Any]:
    """What AIPerf is told, as its ``--config`` file has it. The key is not in it: it comes by the environment.

    :param folder: where its exports go.
    """
    cell = job.cell
    entries = cell.requests + cell.warmup  # with fewer it sends prompts again, which a cache then has
    prompts: dict[str, Any] = {"isl": {"mean": float(cell.input)}, "osl": {"mean": float(cell.output)}}
    if target.bust:
        prompts["cache_bust"] = {"target": "first_turn_prefix"}
    dataset: dict[str, Any] = {
        "name": "main",
        "type": "synthetic",
        "entries": entries,
        "random_seed": job.seed,
        "prompts": prompts,
    }
    if cell.depth:
        dataset["prefix_prompts"] = {"shared_system_length": cell.depth}
    load: dict[str, Any] = {"concurrency": cell.concurrency}
    kind: dict[str, Any] = {"type": "concurrency", **load}
    if cell.rate:
        kind = {"type": "constant", "rate": cell.rate, **load}
    endpoint: dict[str, Any] = {
        "urls": [target.url],
        "type": "chat",
        "timeout": target.request_s,
        "streaming": True,
        "use_server_token_count": True,  # a text that is tokenized again has another number of tokens
        "extra": {"ignore_eos": True, **target.extra},
        **({"api_key": f"${{{KEY_VARIABLE}}}"} if target.key else {}),
    }
    return {
        "models": {"items": [{"name": target.model}]},
        "endpoint": endpoint,
        "datasets": [dataset],
        "phases": [
            {
                "name": "warmup",
                "kind": "warmup",
                "type": "concurrency",
                "exclude_from_results": True,
                "requests": cell.warmup,
                "concurrency": cell.concurrency,
            },
            {"name": MEASURED, "kind": MEASURED, "requests": cell.requests, **kind},
        ],
        "artifacts": {"dir": folder, "auto_plot": False},
        "tokenizer": {"name": target.tokenizer},
        "gpu_telemetry": {"enabled": False},
        # One read of trtllm-serve's /metrics takes from others what it tells once.
        "server_metrics": {"enabled": False},
        "runtime": {"ui": "none"},
    }


def complaint(log: str) -> str:
    """Why the client did not measure, by its log; empty where that says nothing.

    >>> complaint("12:00:01.5 ERROR    Error running it: no socket (base.py:153)\\n12:00:02 ERROR    later")
    'Error running it: no socket (base.py:153)'
    >>> complaint("│ x.TokenizerError: Failed to load tokenizer    │\\n│ '/a/b': KeyError: 'added_tokens'  │\\n│ │")
    "Failed to load tokenizer '/a/b': KeyError: 'added_tokens'"
    """
    lines = [line.strip(BOX) for line in log.splitlines()]
    found = re.search(
        r"Failed to load tokenizer '[^']+': [^\n]+", "\n".join(lines).replace("tokenizer\n", "tokenizer ")
    )
    if found:
        return found.group(0)[:LETTERS]
    return next((match.group(1)[:LETTERS] for line in lines if (match := _ERROR.search(line))), "")


def command(program: str, config: str, seconds: float) -> list[str]:
    """The command line. Its own processes can stay behind after an interrupt, so that a time limit is a must."""
    return ["timeout", "--kill-after=10", f"{seconds:.0f}", program, "profile", "--config", config]


def environment(base: Mapping[str, str], temporary: str, key: str) -> dict[str, str]:
    """The environment of its processes. :param temporary: a directory, since it leaves some there. :param key: may be
    empty; else only the first process gets it, and takes it out of what its own processes get."""
    kept = {name: value for name, value in base.items() if name not in (*OFFLINE, KEY_VARIABLE)}
    made = {**kept, "TMPDIR": temporary, "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "NO_COLOR": "1"}
    return {**made, **({KEY_VARIABLE: key} if key else {})}


def read(records: Iterable[str], summary: str | None) -> Export:
    """Read an export.

    :param records: the lines of its RECORDS. :param summary: its SUMMARY, None where there is none.
    """
    measured, warmup, broken = [], [], 0
    for line in filter(str.strip, records):
        try:
            told = mapping(json.loads(line))
        except (ValueError, RecursionError):
            told = {}
        about = mapping(told.get("metadata"))
        phase = about.get("benchmark_phase")
        if not about or not isinstance(phase, str):
            broken += 1
        elif phase == MEASURED:
            measured.append(_request(told, about))
        else:
            warmup.append(_request(told, about))
    version, problem = _summary(summary)
    if broken:
        problem = problem or f"{broken} lines of {RECORDS} cannot be read"
    return Export(measured, warmup, problem, version)


def _request(told: Mapping[str, Any], about: Mapping[str, Any]) -> Request:
    metrics = mapping(told.get("metrics"))

    def value(name: str) -> Any:
        return mapping(metrics.get(name)).get("value")

    gaps = value("inter_chunk_latency")
    error = told.get("error")
    said = _error(error) if error else "it was cancelled" if about.get("was_cancelled") else ""
    return Request(
        began_ns=whole(about.get("request_start_ns")),
        ended_ns=whole(about.get("request_end_ns")),
        ttft_ms=number(value("time_to_first_token")),
        latency_ms=number(value("request_latency")),
        gaps_ms=tuple(filter(lambda one: one is not None, map(number, gaps))) if isinstance(gaps, list) else (),  # type: ignore[arg-type]
        input_tokens=_count(value("usage_prompt_tokens")),
        output_tokens=_count(value("usage_completion_tokens")),
        error=said,
    )


def _count(value: Any) -> int | None:
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def _error(error: Any) -> str:
    """What an error says, in one line.

    >>> _error({"code": 503, "type": "Service Unavailable", "message": "too busy"}), _error("broken")
    ('503 Service Unavailable: too busy', 'broken')
    """
    if not isinstance(error, Mapping):
        return text(error, 300) or "an error without words"
    code, kind, message = error.get("code"), text(error.get("type")), text(error.get("message"), 300)
    head = " ".join(filter(None, [str(code) if code else "", kind]))
    return ": ".join(filter(None, [head, message])) or "an error without words"


def _summary(summary: str | None) -> tuple[str, str]:
    """The client's version, and what is wrong with the run as a whole."""
    if summary is None:
        return "", f"{SUMMARY} is not there: the client did not come to its end"
    try:
        told = mapping(json.loads(summary))
    except (ValueError, RecursionError):
        return "", f"{SUMMARY} is not JSON"
    version, schema = text(told.get("aiperf_version")), text(told.get("schema_version"))
    if not schema.startswith(SCHEMA):
        return version, f"{SUMMARY} has the schema {schema or 'of no version'}, and {SCHEMA}x is read here"
    if told.get("was_cancelled") is not False:
        return version, "the run was cancelled"
    if told.get("is_complete") is not True:
        return version, f"the run is not complete: {text(told.get('incomplete_reason')) or 'no reason is told'}"
    return version, ""


def done(lines: Iterable[str]) -> Iterator[str]:
    """Of lines of RECORDS, those that are measured requests; cheap, for a count while the client runs."""
    return (line for line in lines if f'"benchmark_phase":"{MEASURED}"' in line)
