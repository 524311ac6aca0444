# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the supervisors of this Spark have noted, and where their engines are asked for figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from .text import Metrics

ETC, STATES = Path("/etc/dgx-spark"), Path("/var/lib/dgx-spark")
MEMINFO = Path("/proc/meminfo")
#: of state.json
PHASES = ("waiting", "starting", "serving", "failed", "gave up", "stopped", "listening")
SERVING, RDMA = "serving", "IB"
#: where an engine tells its figures. TensorRT-LLM's /metrics is emptied by each reading, and the supervisor needs it.
PATHS = {"trtllm": "/prometheus/metrics", "vllm": "/metrics", "sglang": "/metrics"}
SPARK_MIB = 122880  #: MemTotal for which the supervisor's floor is meant; less memory has the same share of it
MIB = 1 << 20


class Serving(NamedTuple):
    """One engine or instance that is configured here."""

    name: str  # of its directory, such as trtllm or trtllm-vlm
    cluster: dict[str, Any]
    node: dict[str, Any]
    state: dict[str, Any]

    @property
    def engine(self) -> str:
        """Which engine it is."""
        return str(mapping(self.cluster.get("engine")).get("name") or "")

    @property
    def leads(self) -> bool:
        """Whether this Spark is its leader."""
        return self.node.get("rank") == 0

    @property
    def limits(self) -> dict[str, Any]:
        """What its supervisor goes by."""
        return mapping(self.cluster.get("limits"))


def mapping(value: object) -> dict[str, Any]:
    """An object of JSON, empty where something else stands in its place."""
    return value if isinstance(value, dict) else {}


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none, or half of one."""
    try:
        return mapping(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}


def servings(etc: Path = ETC, states: Path = STATES) -> list[Serving]:
    """All that are configured here, by name."""
    folders = sorted(path.parent for path in etc.glob("*/cluster.json"))
    return [
        Serving(
            folder.name,
            read(folder / "cluster.json"),
            read(folder / "node.json"),
            read(states / folder.name / "state.json"),
        )
        for folder in folders
    ]


def collect(found: Metrics, etc: Path = ETC, states: Path = STATES, memory: Path | None = None) -> None:
    """What each supervisor has noted, and the memory that its guard keeps free.

    :param memory: the file that the guard reads the host's memory from, if it is another one than usual.
    """
    total = meminfo(memory or MEMINFO).get("MemTotal", 0) // 1024
    for one in servings(etc, states):
        _floor(found, one, total)
        if one.leads:
            _phase(found, one)
            _times(found, one)
            _ranks(found, one)


def available(found: Metrics, memory: Path | None = None) -> None:
    """The memory that is left. :raises LookupError: where it cannot be read, so that nothing can be said of it."""
    path = memory or MEMINFO
    size = meminfo(path).get("MemAvailable")
    if size is None:
        raise LookupError(f"{path} cannot be read, or has no MemAvailable")
    found.gauge("dgx_spark_memory_available_bytes", "Available memory as the supervisor reads it.", size * 1024)


def _phase(found: Metrics, one: Serving) -> None:
    said = one.state.get("phase")
    for phase in PHASES:
        found.gauge(
            "dgx_spark_engine_phase",
            "1 for the phase of the supervisor, 0 for the others.",
            said == phase,
            serving=one.name,
            phase=phase,
        )
    found.gauge(
        "dgx_spark_engine_info",
        "Which engine serves which model.",
        1,
        serving=one.name,
        engine=one.engine,
        model=str(one.state.get("model") or ""),
    )


def _times(found: Metrics, one: Serving) -> None:
    state, limits = one.state, one.limits
    for name, about, value in (
        ("starts", "Starts since the last good run.", state.get("starts")),
        (
            "last_token_timestamp_seconds",
            "When the last token that was asked for came, since the epoch.",
            state.get("canary_at"),
        ),
        ("state_timestamp_seconds", "When the supervisor last noted anything, since the epoch.", state.get("at")),
        ("canary_seconds", "How long the last token that was asked for took.", state.get("canary_s")),
        ("canary_interval_seconds", "How often a token is asked for.", limits.get("interval_s")),
        ("canary_timeout_seconds", "How long a token may take.", limits.get("timeout_s")),
        ("load_seconds", "From the start to the first token.", state.get("load_s")),
        (
            "kv_tokens",
            "Tokens that fit into the KV cache; absent where the engine does not tell.",
            state.get("kv_tokens") or None,
        ),
    ):
        found.gauge(f"dgx_spark_engine_{name}", about, value, serving=one.name)


def _ranks(found: Metrics, one: Serving) -> None:
    for rank, told in mapping(one.state.get("ranks")).items():
        transport = str(mapping(told).get("transport") or "unknown")
        found.gauge(
            "dgx_spark_engine_rank_rdma",
            "Whether a rank talks over RDMA.",
            transport == RDMA,
            serving=one.name,
            rank=str(rank),
            transport=transport,
        )


def _floor(found: Metrics, one: Serving, total: int) -> None:
    """:param total: MiB of this Spark, 0 where that is not known."""
    floor = one.limits.get("memory_floor_mib")
    if isinstance(floor, int) and floor:
        scaled = floor * min(total or SPARK_MIB, SPARK_MIB) // SPARK_MIB
        found.gauge(
            "dgx_spark_engine_memory_floor_bytes",
            "Available memory below which a rank is ended.",
            scaled * MIB,
            serving=one.name,
        )


def meminfo(path: Path) -> dict[str, int]:
    """kB by name; empty where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return {}
    return {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d{1,15}) kB$", text, re.MULTILINE)}


def targets(etc: Path = ETC, states: Path = STATES) -> str:
    """Where Prometheus asks the engines that serve now, as its file_sd_configs take it."""
    return json.dumps(list(_targets(servings(etc, states))), indent=1, sort_keys=True) + "\n"


def _targets(found: list[Serving]) -> Iterator[dict[str, Any]]:
    for one in found:
        address, path = one.cluster.get("api_probe"), PATHS.get(one.engine)
        if one.leads and path and isinstance(address, str) and address and one.state.get("phase") == SERVING:
            yield {
                "targets": [address],
                "labels": {"serving": one.name, "engine": one.engine, "__metrics_path__": path},
            }
