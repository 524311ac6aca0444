# SIMULATED: part of a virtual Spark's stand-in for TensorRT-LLM.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rank: what it looks at before it loads, and the real bytes that it exchanges with the others.

Rank 0 leads and the others follow: it tells them what to do, and all of them do it at once. ``Link`` is MPI in a
container and queues in a test; everything here works on either.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import subprocess
import threading
import time
import zlib
from pathlib import Path
from typing import Any, Callable, Protocol

from tensorrt_llm.simulation import answers, faults, log, model, nccl, transport, wire

EXCHANGE = 64 << 20  # bytes that every rank sends to the next before it serves ...
PIECE = 4 << 20  # ... in pieces of this size
MEASURED_TOKENS, KV_TOKENS, KV_BYTES = 8224, 65536, 73728  # tokens, and the bytes of each, of a KV cache
STEP = 64 << 10  # bytes that every rank sends to the next for a token
NCCL_FILES = (Path.home() / ".nccl.conf", Path("/etc/nccl.conf"))
NCCL_VERSION = "NCCL version 2.28.3+cuda13.0 (SIMULATED)"


class Link(Protocol):
    """The other ranks."""

    rank: int
    size: int

    def send(self, peer: int, data: bytes) -> None:
        """Give one message to one rank."""

    def receive(self, peer: int) -> bytes:
        """Wait for the next message of one rank."""

    def shift(self, data: bytes) -> bytes:
        """Send to the next rank, and receive as much from the one before; every rank does so at once."""


class Alone:
    """The link of an engine with one rank."""

    rank, size = 0, 1

    def send(self, peer: int, data: bytes) -> None:
        raise RuntimeError(f"there is no rank {peer}")

    def receive(self, peer: int) -> bytes:
        raise RuntimeError(f"there is no rank {peer}")

    def shift(self, data: bytes) -> bytes:
        return data


class EngineError(RuntimeError):
    """What ends an engine."""


def visible_gpus() -> int:
    """The GPUs that this container was given."""
    try:
        said = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return -1
    return sum(line.startswith("GPU ") for line in said.stdout.splitlines()) if said.returncode == 0 else 0


def require_gpu(gpus: int) -> None:
    if gpus < 0:
        raise EngineError(
            "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver "
            "from http://www.nvidia.com/Download/index.aspx"
        )
    if gpus == 0:
        raise EngineError("CUDA error: no CUDA-capable device is detected")


class Node:
    """This rank."""

    way = "MPI"  #: in which bytes go where there is no RDMA

    def __init__(
        self,
        link: Link,
        gpus: Callable[[], int] = visible_gpus,
        look: Callable[[], transport.Machine] = transport.look,
    ) -> None:
        self.link, self._gpus, self._look = link, gpus, look
        self.rank, self.size = link.rank, link.size
        self.host = socket.gethostname()
        self.incarnation = secrets.token_hex(8)  # new whenever this rank's process is
        self._payload = os.urandom(STEP - 4)
        self._transport: transport.Transport | None = None
        self._wire: wire.Wire | None = None
        self._drafts = False

    # --- rank 0 ---------------------------------------------------------------------------------------------------

    def load(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Look at everything on all ranks, then load; an ``error`` in a rank's report is the end."""
        reports = self._together("check", job)
        if any(report["error"] for report in reports):
            return reports
        job = {**job, "rdma": self.size > 1 and all(report["transport"] == "IB" for report in reports)}
        return [{**before, **after} for before, after in zip(reports, self._together("load", job))]

    def step(self, new: list[str]) -> dict[str, str]:
        """One token of everything that runs; every request in ``new`` gets its nonce from the last rank."""
        self._tell({"do": "step", "new": new})
        self._pass_on()
        if not new:
            return {}
        if self.size == 1:
            return self._nonces(new)
        return json.loads(self.link.receive(self.size - 1))

    def stop(self) -> None:
        self._tell({"do": "stop"})

    def _tell(self, message: dict[str, Any]) -> None:
        for peer in range(1, self.size):
            self.link.send(peer, json.dumps(message).encode())

    def _together(self, what: str, job: dict[str, Any]) -> list[dict[str, Any]]:
        self._tell({"do": what, "job": job})
        mine = self._report(what, job)
        return [mine, *(json.loads(self.link.receive(peer)) for peer in range(1, self.size))]

    # --- the others -----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Do what rank 0 says until it says stop."""
        while True:
            message = json.loads(self.link.receive(0))
            faults.wait_out(faults.NO_ANSWER)
            if message["do"] == "stop":
                return
            if message["do"] == "step":
                self._pass_on()
                if message["new"] and self.rank == self.size - 1:
                    self.link.send(0, json.dumps(self._nonces(message["new"])).encode())
            else:
                self.link.send(0, json.dumps(self._report(message["do"], message["job"])).encode())

    # --- all ------------------------------------------------------------------------------------------------------

    def _report(self, what: str, job: dict[str, Any]) -> dict[str, Any]:
        report = {"rank": self.rank, "host": self.host, "incarnation": self.incarnation, "error": ""}
        try:
            report.update(self._check(job) if what == "check" else self._load(job))
        except (EngineError, model.ModelError, transport.NcclError, OSError) as error:
            report["error"] = str(error)
            log.say(f"Failed to initialize executor on rank {self.rank}: {error} (host {self.host})", "E", self.rank)
        return report

    def _check(self, job: dict[str, Any]) -> dict[str, Any]:
        require_gpu(self._gpus())
        path = model.find(job["model"], os.environ)
        about = model.check(path, job["tp"])
        self._drafts = bool(job.get("draft"))
        if self._drafts:
            model.check_draft(Path(job["draft"]))
            log.say(f"loading the speculative model of {job['draft']} (SIMULATED)", rank=self.rank)
        chosen = self._choose()
        longest = about.get("max_position_embeddings")
        return {"transport": chosen.kind, "devices": chosen.devices, "path": str(path), "max_seq_len": longest}

    def _choose(self) -> transport.Transport:
        """The network of this rank, with NCCL's lines about it."""
        env = transport.with_files(os.environ, NCCL_FILES)
        debug = env.get("NCCL_DEBUG", "").upper()
        if self.rank == 0 and debug in ("VERSION", "WARN", "INFO", "TRACE"):
            log.raw(NCCL_VERSION)
        try:
            chosen = transport.decide(env, self._look())
        except transport.NcclError as error:
            if debug in ("WARN", "INFO", "TRACE"):
                self._nccl("WARN", str(error).partition(": ")[2])
            raise
        self._transport = chosen
        if debug in ("INFO", "TRACE"):
            for line in chosen.lines:
                self._nccl("INFO", line)
        return chosen

    def _nccl(self, level: str, text: str) -> None:
        if faults.active(faults.NCCL_SILENT):
            return
        if faults.active(faults.NCCL_BEHIND):
            log.progress_bar("Loading weights:  45%|####5     | 9/20 [00:10<00:12,  1.13s/it]")
        log.raw(f"{self.host}:{os.getpid()}:{threading.get_native_id()} [0] NCCL {level} {text}")

    def _load(self, job: dict[str, Any]) -> dict[str, Any]:
        faults.take_memory()
        nccl.load()
        self._say_kv_cache(MEASURED_TOKENS)
        faults.wait_out(faults.STAND_STILL)
        self._connect(job["rdma"])
        exchanged = self.exchange(job.get("exchange", EXCHANGE))
        for percent in range(0, 101, 5):
            faults.die_at_load(percent)
            if percent % 25 == 0:
                log.say(f"Loading weights: {percent}% (SIMULATED)", rank=self.rank)
            time.sleep(job["seconds"] / 20 if percent < 100 else 0)
        self._autotune()
        fits = min(KV_TOKENS, job["kv_bytes"] // KV_BYTES) if job.get("kv_bytes") else KV_TOKENS
        self._say_kv_cache(int(faults.number(faults.KV_TOKENS, 0) or fits))
        return {"exchanged": exchanged}

    def _say_kv_cache(self, tokens: int) -> None:
        """As the real one does, first of the cache by which it measures, then of the one that it serves with."""
        log.raw(
            f"[TensorRT-LLM][INFO] [MemUsageChange] Allocated {tokens * KV_BYTES / 2**30:.2f} GiB for max tokens in "
            f"paged KV cache ({tokens}). (SIMULATED)"
        )

    def _autotune(self) -> None:
        """Write down what was tuned, as the real one does; a file without this rank, or none of JSON, is the end."""
        if "TLLM_AUTOTUNER_CACHE_PATH" not in os.environ:
            return
        path, mine = Path(os.environ["TLLM_AUTOTUNER_CACHE_PATH"]), f"rank_{self.rank}"
        if path.exists():
            try:
                tuned = json.loads(path.read_text())
            except ValueError as error:
                raise EngineError(f"[AutoTuner] Failed to load cache with JSON: {error}") from None
            if mine not in tuned:
                raise EngineError(f"Rank {self.rank} cache not found in {path}")
            log.say(f"[Autotuner] Loading cache from {path} (SIMULATED)", rank=self.rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"metadata": {"lib_version": "SIMULATED"}, mine: {}}))

    def _connect(self, rdma: bool) -> None:
        """Meet the neighbours over RDMA, where all ranks have it; otherwise MPI carries what sockets would."""
        if self._wire:
            self._wire.close()
            self._wire = None
        if rdma and self._transport:
            aware = transport.with_files(os.environ, NCCL_FILES).get("NCCL_IB_SUBNET_AWARE_ROUTING") == "1"
            self._wire = wire.Wire(self.link, self._transport.addresses, aware)

    def _shift(self, data: bytes) -> bytes:
        return (self._wire or self.link).shift(data)

    def exchange(self, total: int) -> int:
        """Send random bytes to the next rank, check those that come from the one before; return how many came."""
        if self.size == 1:
            return 0
        came, started, whole = 0, time.monotonic(), True
        while came < total:  # to the end in any case, as the other ranks go there too
            data = os.urandom(min(PIECE, total - came))
            got = self._shift(hashlib.sha256(data).digest() + data)
            whole = whole and hashlib.sha256(got[32:]).digest() == got[:32]
            came += len(got) - 32
        if not whole:
            raise EngineError(f"rank {self.rank}: what rank {(self.rank - 1) % self.size} sent arrived changed")
        seconds = time.monotonic() - started
        way = "RDMA" if self._wire else self.way
        log.say(f"{came >> 20} MiB came by {way} in {seconds:.2f} s, checked by SHA-256 (SIMULATED)", rank=self.rank)
        return came

    def _pass_on(self) -> None:
        if self.size > 1:
            got = self._shift(self._payload + zlib.crc32(self._payload).to_bytes(4, "big"))
            if zlib.crc32(got[:-4]) != int.from_bytes(got[-4:], "big"):
                raise EngineError(f"rank {self.rank}: what rank {(self.rank - 1) % self.size} sent arrived changed")

    def _nonces(self, requests: list[str]) -> dict[str, str]:
        spoils = faults.active(faults.SPOIL_ANSWERS) or (self._drafts and faults.active(faults.SPOIL_DRAFTS))
        spoilt = answers.SPOILT if spoils else ""
        nonces = {request: f"{self.incarnation}-{secrets.token_hex(8)}{spoilt}" for request in requests}
        for request, nonce in nonces.items():
            log.say(f"gave {request} the nonce {nonce} (SIMULATED)", rank=self.rank)
        return nonces
