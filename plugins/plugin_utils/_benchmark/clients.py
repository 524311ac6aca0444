# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients that measure: which there are, what each cannot do, and what is to be said of it. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import aiperf, benchmark_serving
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark.cells import Cell

AIPERF, IMAGE = CHOICES = ("aiperf", "image")  #: as the variable benchmark_client has them
#: what a result calls them
NAMES = {AIPERF: aiperf.NAME, IMAGE: benchmark_serving.NAME}
#: as they are known before they have run; that of the image's tells its own when it begins
VERSIONS = {AIPERF: aiperf.VERSION, IMAGE: ""}

#: by the variable: seconds that a run takes longer than with AIPerf, to import TensorRT-LLM twice; not seen on a Spark
START_S = {AIPERF: 0.0, IMAGE: 60.0}

#: by what a result calls them: what stands beside the figures of each
NOTES = {
    aiperf.NAME: (
        "TTFT carries 2 to 20 ms of the client's own, the more the more requests run at once, so that one below 200 ms "
        "is not to be trusted to the millisecond."
    ),
    benchmark_serving.NAME: (
        "benchmark_serving ran on the leader, whose processors it shares with the engine. It does not tell whether a "
        "stream came to its end: an answer is judged by the number of its tokens, which is the server's where that "
        "told one, and else the client's own of the text, so that one which was cut within its last tokens can pass. "
        "Its throughput is over all that it waits for, and a piece without text counts as one."
    ),
}


class ClientError(ValueError):
    """What is asked for, the client cannot do. The message names the option, the cause and the mend."""


def known(client: str) -> None:
    """:raises ClientError: where there is no such client."""
    if client not in CHOICES:
        raise ClientError(f"benchmark_client is {client!r}: give {' or '.join(CHOICES)}. Nothing was measured.")


def refuse(client: str, cells: Iterable[Cell], asked: Mapping[str, Any]) -> None:
    """Refuse what a client cannot do. :param asked: ``url``, ``tokenizer`` and ``extra``.

    :raises ClientError: naming each option.
    """
    known(client)
    if client == AIPERF:
        return
    found = _obstacles(list(cells), asked)
    if found:
        raise ClientError(
            f"with benchmark_client=image {'; and '.join(found)}. Leave that out, or measure with "
            "benchmark_client=aiperf. Nothing was measured."
        )


def _obstacles(cells: Sequence[Cell], asked: Mapping[str, Any]) -> list[str]:
    found = []
    depths = sorted({cell.depth for cell in cells if cell.depth})
    if depths:
        words = ", ".join(map(str, depths))
        found.append(
            f"there is no benchmark_depth ({words}, as the profile community has some): its client makes the context "
            "anew with all else, so that no warm-up brings it into a cache"
        )
    if asked.get("url"):
        found.append("there is no benchmark_url: its client runs on the leader, and asks the serving there")
    if asked.get("tokenizer"):
        found.append("there is no benchmark_tokenizer: its client has the one of the model that is served")
    others = sorted(set(asked.get("extra") or {}) - set(benchmark_serving.SAMPLING))
    if others:
        found.append(
            f"benchmark_extra_inputs cannot have {', '.join(others)}: its client sends "
            f"{', '.join(benchmark_serving.SAMPLING)} alone"
        )
    return found


def name_of(result: Mapping[str, Any]) -> str:
    """What a result calls the client that it was measured by."""
    return str((result.get("client") or {}).get("name") or aiperf.NAME)


def notes(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is to be said beside the figures of results, of each client once.

    >>> [note.split()[0] for note in notes([{"client": {"name": "aiperf"}}, {"client": {"name": "benchmark_serving"}}])]
    ['TTFT', 'benchmark_serving']
    """
    return [NOTES[name] for name in dict.fromkeys(map(name_of, results)) if name in NOTES]
