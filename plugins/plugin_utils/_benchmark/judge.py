# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a run is good: all requests, none with an error, and each answer as long as was asked. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

from collections import Counter
from typing import Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.cells import Cell
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.export import Export, Request

UNTOLD = "the stream ended without the number of its tokens: it was cut, or an error came in it"
KINDS = 5  #: of problems, so many are told


def of_request(one: Request, cell: Cell, timed: bool = True) -> str:
    """What is wrong with a request, empty where it is good.

    A figure that is not there is a failure as an error is: a stream that was cut is a fast one else.

    :param timed: whether the client tells when each request began.

    >>> good = Request(1, 2, 200.0, 1270.0, (), 128, 128, "")
    >>> cell = Cell(128, 128, 0, 1, 0, 10, 1)
    >>> of_request(good, cell), of_request(good._replace(output_tokens=64), cell)
    ('', 'the answer ended after 64 of 128 tokens')
    """
    if one.error:
        return one.error
    if timed and (one.began_ns is None or one.ended_ns is None or one.ended_ns < one.began_ns):
        return "the client tells no time of it"
    if one.output_tokens is None:
        return UNTOLD
    if one.output_tokens < cell.output:
        return f"the answer ended after {one.output_tokens} of {cell.output} tokens"
    if one.output_tokens > cell.output:
        return f"the answer has {one.output_tokens} tokens, and {cell.output} were asked for"
    if one.ttft_ms is None or one.latency_ms is None or one.latency_ms < one.ttft_ms:
        return "the client tells no first token of it"
    return ""


def of_run(export: Export, cell: Cell, status: int | None) -> tuple[list[Request], list[str]]:
    """The good requests, and what is wrong with the run, which is good where that is nothing.

    :param status: the client's exit status, None where it never began.
    """
    timed = export.duration_s is None
    said = Counter(filter(None, (of_request(one, cell, timed) for one in export.requests)))
    good = [one for one in export.requests if not of_request(one, cell, timed)]
    problems = [f"{count} of {cell.requests} requests: {words}" for words, count in said.most_common(KINDS)]
    rest = sum(said.values()) - sum(count for _words, count in said.most_common(KINDS))
    problems += [f"{rest} of {cell.requests} requests: other errors"] if rest else []
    came = len(export.requests)
    if came != cell.requests:
        problems.append(f"{came} of {cell.requests} requests were measured")
    warmup = Counter(filter(None, (of_request(one, cell, timed) for one in export.warmup)))
    problems += [f"{count} requests of the warm-up: {words}" for words, count in warmup.most_common(1)]
    problems += [export.problem] if export.problem else []
    problems += [ended] if (ended := exit_words(status)) else []
    return good, problems


def exit_words(status: int | None) -> str:
    """What an exit status of the client says, empty for 0.

    >>> exit_words(0), exit_words(124)
    ('', 'the client took too long, and was ended')
    """
    if status is None:
        return "the client did not begin"
    if status in (124, 137):
        return "the client took too long, and was ended"
    return f"the client ended with exit status {status}" if status else ""


def mend(problems: Sequence[str]) -> str:
    """What to do, by the first problem that tells."""
    whole = " ".join(problems)
    if "Failed to load tokenizer" in whole:
        return "give a directory on this controller that has the model's tokenizer (benchmark_tokenizer)"
    if "cannot open shared object file" in whole or "CUDA" in whole:
        return (
            "the client of this image does not begin without a GPU: let it see the GPU beside the engine "
            "(benchmark_client_gpu=true), or measure with benchmark_client=aiperf"
        )
    if "401" in whole or "403" in whole:
        return "give the endpoint's key (spark_api_key)"
    if "answer ended after" in whole or UNTOLD in whole:
        return (
            "see the engine's log for why answers end early (docs/faults.md); one that does not know ignore_eos, or "
            "has room for fewer tokens than input and output together (max_seq_len), ends early, too"
        )
    if "503" in whole or "429" in whole:
        return "the endpoint refuses requests: ask for fewer at once (benchmark_concurrency)"
    return "see the client's log, which is kept beside the result, and the engine's (docs/faults.md)"
