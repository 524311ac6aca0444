# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorRT-LLM: ``mpirun … trtllm-llmapi-launch trtllm-serve …``; on a single node trtllm-serve itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Sequence

from .. import caches, contract, mpi, paths, probe
from ..state import folder, say
from . import Engine

CACHES = {"TRTLLM_DG_CACHE_DIR": "deep_gemm"}
QUIET = 2  # seconds without anything new after which a /metrics ends that follows its counters
KEY = re.compile(r"(KEY=)[0-9a-f]{16,}")  # the launcher's own, which its trace would write into the log
ERROR = re.compile(r"\[E\] (?P<message>.+)|(?:^|[\s>])(?P<raised>[\w.]*(?:Error|Exception): .+)")
LOADING = re.compile(r"(?P<what>[Ll]oading (?:\w+ )*weights(?: \w+)*):\s*(?P<share>\d+)%")
KV_TOKENS = re.compile(r"Allocated [\d.]+ GiB for max tokens in paged KV cache \((?P<tokens>\d+)\)")
FRACTION = re.compile(r"(?<=free_gpu_memory_fraction: )[\d.]+")
KV_CACHE = re.compile(r"^kv_cache_config:\n(?P<indent> +)", re.MULTILINE)
KV_BYTES = "max_gpu_total_bytes"  # of the KV cache; where a fraction is given too, the smaller one counts
KV_BOUNDS = re.compile(rf"^ +(?:{KV_BYTES}|max_tokens): [1-9]", re.MULTILINE)  # with which a person has said its size
OPTIONS_FLAG = "--extra_llm_api_options"
WARMING = re.compile(r"\b(warm-?up|autotuner|CUDA graph)", re.IGNORECASE)


def progress_of(line: str) -> str:
    """How far a load is, in tenths, if a line of the engine's log tells it.

    >>> progress_of("Loading safetensors weights in parallel:  67%|######7   | 10/15 [00:02<00:00]")
    'Loading safetensors weights in parallel, 60 %'
    >>> progress_of("[TRT-LLM] [I] Run warmup for batch size=1"), progress_of("Application startup complete.")
    ('warming up', '')
    """
    loading = LOADING.search(line)
    if loading:
        return f"{loading['what']}, {int(loading['share']) // 10 * 10} %"
    return "warming up" if WARMING.search(line) else ""


def error_of(line: str) -> str:
    """What went wrong, if a line of the engine's log tells it.

    >>> error_of("[11/21/2026-22:11:20] [TRT-LLM] [RANK 1] [E] Failed to initialize executor on rank 1: no file")
    'Failed to initialize executor on rank 1: no file'
    >>> error_of("RuntimeError: CUDA out of memory"), error_of("INFO: 0 Errors: none")
    ('RuntimeError: CUDA out of memory', '')
    """
    found = ERROR.search(line)
    return (found["message"] or found["raised"]).strip()[:300] if found else ""


def kv_tokens_of(line: str) -> int:
    """How many tokens fit into the KV cache, if a line of the engine's log tells it; else 0.

    The engine says it twice: of a small cache by which it measures, then of the one that it serves with.

    >>> kv_tokens_of("[TensorRT-LLM][INFO] [MemUsageChange] Allocated 5 GiB for max tokens in paged KV cache (86720).")
    86720
    >>> kv_tokens_of("[TensorRT-LLM][INFO] Number of tokens per block: 32.")
    0
    """
    found = KV_TOKENS.search(line)
    return int(found["tokens"]) if found else 0


def makes_tokens(address: str, timeout: float, pause: float, follows: bool = False) -> bool:
    """Whether the engine makes tokens, although a canary waits in its queue in vain.

    Needs ``enable_iter_perf_stats``. What is read is gone for others, so it is asked only when a canary failed; and
    twice, since the first answer may tell of what was long ago.

    :param follows: whether this version's ``/metrics`` does not end while there is something new to tell.
    """
    timeout = max(timeout, 2 * QUIET) if follows else timeout
    try:
        probe.get(address, "/metrics", timeout)
        time.sleep(pause)
        return bool(probe.get(address, "/metrics", timeout))
    except TimeoutError:
        return follows and probe.is_healthy(address, timeout)
    except probe.ERRORS:
        return False


def autotuner_cache() -> dict[str, str]:
    """Where this node keeps what the autotuner found, for this image and configuration alone.

    A file that the autotuner cannot read or write ends the engine, so a broken one is removed, and a full disk gets
    none.
    """
    config, _dash, image = os.environ.get(contract.CONFIG_VARIABLE, "").rpartition("-")
    folder = paths.STATE / "cache" / image / "autotuner"
    for path in folder.glob(f"{config}*.json"):  # up to TensorRT-LLM 1.2 with the rank in its name
        try:
            json.loads(path.read_text())
        except ValueError:
            path.unlink()
    room = shutil.disk_usage(paths.STATE).free > 64 * 2**20
    return {"TLLM_AUTOTUNER_CACHE_PATH": str(folder / f"{config}.json")} if room else {}


class TensorRTLLM(Engine):
    """mpirun and all its ranks, or the only one."""

    more_tokens = "raise free_gpu_memory_fraction below kv_cache_config in trtllm_serve_options"

    @property
    def _alone(self) -> bool:
        return len(self.cluster["nodes"]) == 1

    def check_nodes(self) -> None:
        """MPI reaches every node, and every rank may use RDMA."""
        if not self._alone:
            mpi.check(self.cluster)

    def environment(self) -> dict[str, str]:
        """What the plan says, and where compiled kernels are kept."""
        return {**self.cluster["environment"], **caches.environment(CACHES), **(mpi.UNBOUND if self._alone else {})}

    def rank_environment(self) -> dict[str, str]:
        """Where this node keeps what the autotuner found."""
        return autotuner_cache()

    @property
    def _fraction(self) -> float:
        """How large a KV cache may be, of what the weights leave, so that the guards' floor is kept on every node.

        TensorRT-LLM takes a share of what is free then, and the share that suits one model is too much beside another.
        """
        limits = self.cluster["limits"]
        weights = limits["memory_need_mib"] - limits["memory_reserve_mib"]
        floor = limits["memory_load_floor_mib"] if limits["memory_floor_mib"] else 0
        return min(
            contract.fraction_of(one.available - weights, contract.scaled_mib(floor + contract.KEPT_MIB, one.total))
            for one in self.memory.values()
        )

    @property
    def _budget_mib(self) -> int:
        """MiB that a budget leaves to the KV cache, 0 where there is no budget."""
        limits = self.cluster["limits"]
        if not limits.get("memory_budget_mib"):
            return 0
        weights = limits["memory_need_mib"] - limits["memory_reserve_mib"]
        beside = max(contract.scaled_mib(contract.KEPT_MIB, one.total) for one in self.memory.values())
        return int(max(1, limits["memory_budget_mib"] - weights - beside))

    def _serve(self) -> list[str]:
        """The command line, with options that ask for no more KV cache than fits, unless somebody has said its size."""
        serve = list(self.cluster["serve"])
        if OPTIONS_FLAG in serve and folder() != paths.CONFIG:
            place = serve.index(OPTIONS_FLAG) + 1
            serve[place] = str(folder() / Path(serve[place]).name)
        budget = self._budget_mib if self.memory else 0
        fits = self.settings.get("fit_kv_cache") and self.memory
        if not fits and not budget:
            return serve
        place = serve.index(OPTIONS_FLAG) + 1
        name = Path(serve[place]).name
        written = options = (folder() / name).read_text()
        asked = FRACTION.search(options)
        if fits and asked and float(asked[0]) > self._fraction:
            fraction = self._fraction
            say(f"the KV cache gets {fraction} of what the weights leave, not {asked[0]}: a floor of memory is kept")
            options = FRACTION.sub(str(fraction), options)
        if budget and not KV_BOUNDS.search(options):
            say(f"the KV cache gets at most {budget} MiB, so that the memory budget is kept")
            options = KV_CACHE.sub(rf"kv_cache_config:\n\g<indent>{KV_BYTES}: {budget << 20}\n\g<indent>", options)
        if options != written:
            (paths.RUN / name).write_text(options)
            serve[place] = str(paths.RUN / name)
        return serve

    def commands(self) -> dict[str, list[str]]:
        """The leader's alone: mpirun starts the ranks of the other nodes."""
        leader, serve = self.cluster["nodes"][0]["name"], self._serve()
        if self._alone:
            return {leader: ["python3", contract.PROGRAM, "rank", "--", *serve]}
        return {leader: mpi.mpirun(self.cluster, ["trtllm-llmapi-launch", *serve], self.environment())}

    def is_server(self, command_line: Sequence[bytes]) -> bool:
        """As a program of its own, by its interpreter, or as a module; the launcher names it later in its line."""
        if b"trtllm-llmapi-launch" in command_line:
            return False
        return bool({b"trtllm-serve", b"tensorrt_llm.commands.serve"} & set(command_line[:3]))

    def progress(self, line: str) -> str:
        """Weights in tenths, then the warm-up."""
        return progress_of(line)

    def error(self, line: str) -> str:
        """Its own error lines, and Python's exceptions."""
        return error_of(line)

    def kv_tokens(self, line: str) -> int:
        """By its line about memory."""
        return kv_tokens_of(line)

    def redact(self, line: str) -> str:
        """Without the key that the launcher's trace shows."""
        return KEY.sub(r"\1***", line)

    def is_busy(self, address: str, timeout: float, pause: float) -> bool:
        """By its count of iterations."""
        return makes_tokens(address, timeout, pause, bool(self.settings.get("metrics_follow")))


ENGINE = TensorRTLLM
