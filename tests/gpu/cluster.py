# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of two nodes on one machine: what the collection plans and writes, and its supervisor on both.

What Docker and systemd do on Sparks is done here by threads: a container that ends otherwise than with 0 is started
again after RESTART_S, as the units say.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import cluster as planner
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, serving, vllm

from . import model, namespaces

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "roles" / "engine_serve" / "files" / "image"
MEMBERS = ("spark1", "spark2")
NETDEV, PORT = "fabric0", 8355
RESTART_S = 5.0  # of the units
REPO = "tests/random"
PROGRAM_DIR, SSH_DIR = str(Path(contract.PROGRAM).parent), "/root/.ssh"
COMMIT = "snapshots/0000000000000000000000000000000000000000"
#: where containers have what; those that are not there are made for the mounts, and taken away at the end
TARGETS = (contract.CONFIG_DIR, contract.STATE_DIR, PROGRAM_DIR, contract.MODEL_DIR, SSH_DIR)
#: NVLink's multicast can put the GPUs of a host that others share out of service
SAFE = {
    "NCCL_NVLS_ENABLE": "0",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
    "NVSHMEM_DISABLE_NVLS": "1",
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",
}
#: of the supervisor, beside its defaults. The floors are for memory that GPU and system share, which is not so here.
LIMITS: dict[str, Any] = {
    "interval_s": 3,
    "timeout_s": 10,
    "failures": 2,
    "max_starts": 3,
    "forget_s": 5,
    "grace_s": 25,
    "stall_s": 300,
    "load_timeout_s": 600,
    "memory_wait_s": 60,
    "memory_floor_mib": 0,
    "memory_load_floor_mib": 0,
    "memlock_bytes": -1,
    "require_rdma": False,
    "drop_caches": False,
    "gpu_kind": "gpu",
}


class Setting(NamedTuple):
    """What all clusters of a run share."""

    python: str  # an interpreter that has vLLM
    paths: list[str]  # what else it imports from
    device: str  # cuda or cpu
    gpus: int
    work: Path
    arguments: dict[str, Any]  # of vLLM
    environment: dict[str, str]  # of the containers, as an image's
    size: tuple[int, int]  # layers, and hidden size
    until: float  # when all of it is over, on the clock of time.monotonic


class Process(NamedTuple):
    """A process, which no later one of the same number is taken for."""

    pid: int
    born: str  # in clock ticks

    @property
    def lives(self) -> bool:
        """Whether it runs, or is stopped."""
        state, _parent, _session, born = about(self.pid)
        return bool(state) and state not in "ZX" and born == self.born


def about(pid: int) -> tuple[str, int, int, str]:
    """State, parent, session and birth of a process; empty of one that is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0, 0, ""
    return words[0], int(words[1]), int(words[3]), words[19]


def title(pid: int) -> str:
    """The command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


@dataclass
class Container:
    """One node's container, started again as the launcher does."""

    name: str
    folder: Path
    holder: subprocess.Popen[str]
    told: dict[str, Any]
    ends: list[tuple[float, int]] = field(default_factory=list)  # when, and with which exit status
    wanted: bool = False
    _thread: threading.Thread | None = None
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Have it run until it gives up, or is stopped."""
        self.wanted = True
        (self.folder / "container.json").write_text(json.dumps(self.told))
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while self.wanted:
            argv = [sys.executable, "-m", "tests.gpu.container", "run", str(self.folder / "container.json")]
            with subprocess.Popen(argv, cwd=ROOT, start_new_session=True) as self._process:
                status = self._process.wait()
            self.ends.append((time.monotonic(), status))
            if status == contract.EXIT_GAVE_UP:
                return
            deadline = time.monotonic() + RESTART_S
            while self.wanted and time.monotonic() < deadline:
                time.sleep(0.1)

    @property
    def runs(self) -> bool:
        """Whether it does, or will again by itself."""
        return bool(self._thread and self._thread.is_alive())

    def signal(self, number: int) -> None:
        """A signal to its first process."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(Path(self.told["pid"]).read_text()), number)

    def stop(self, seconds: float = 40) -> None:
        """As ``docker stop``: SIGTERM, and SIGKILL after some time."""
        self.wanted = False
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10)):
            if self.runs and self._thread:
                self.signal(number)
                self._thread.join(patience)


class Cluster:
    """Two nodes that serve.

    :param number: of this cluster, which sets its network apart. :param arguments: of vLLM, beside the setting's.
    """

    def __init__(self, setting: Setting, number: int, arguments: Mapping[str, Any]) -> None:
        self.setting, self.number = setting, number
        self.folder = setting.work / f"cluster{number}"
        self.addresses = [f"10.77.{number}.{10 + rank}" for rank in range(len(MEMBERS))]
        self.snapshot = self.folder / "model" / COMMIT
        dtype = "bfloat16" if setting.device == "cuda" else "float32"
        config = model.write(self.snapshot, *setting.size, dtype)
        self.serving = self._plan({**setting.arguments, **arguments}, config)
        self.holders = [self._hold(rank) for rank in range(len(MEMBERS))]
        self.networks = [namespaces.network_of(holder.pid) for holder in self.holders]
        self._cable()
        self.containers = [self._container(rank) for rank in range(len(MEMBERS))]
        self._write()

    # --- how it is made ----------------------------------------------------------------------------------------------

    def _plan(self, arguments: Mapping[str, Any], config: Mapping[str, Any]) -> serving.Serving:
        repo_dir = str(self.folder / "model")
        engine = vllm.plan(
            vllm.Request(
                members=MEMBERS,
                snapshot=str(self.snapshot),
                repo_dir=repo_dir,
                repo=REPO,
                arguments={"tensor_parallel_size": 2, **arguments},
                config=config,
            )
        )
        control = {"control_netdev": NETDEV, "control_network": f"10.77.{self.number}.0/24", "links": []}
        fabric = {
            name: {"control_address": address, **control} for name, address in zip(MEMBERS, self.addresses, strict=True)
        }
        limits = {**LIMITS, **({} if self.setting.device == "cuda" else {"timeout_s": 20})}
        request = planner.Request(members=MEMBERS, engine=engine, fabric=fabric, api_port=PORT, limits=limits)
        config_of_all, nodes = planner.plan(request)
        image = f"sha256:{'0' * 12}"
        dirs = dict.fromkeys(MEMBERS, repo_dir)
        return serving.Serving(engine=engine, cluster=config_of_all, nodes=nodes, image_id=image, repo_dirs=dirs)

    def _hold(self, rank: int) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "tests.gpu.container", "hold", f"{MEMBERS[rank]}-{self.number}"]
        holder = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout
        assert holder.stdout.readline() == "ready\n", f"node {rank} of cluster {self.number} did not come up"
        return holder

    def _cable(self) -> None:
        one, other = (holder.pid for holder in self.holders)
        namespaces.cable(NETDEV, one, other)
        for holder, address in zip(self.holders, self.addresses, strict=True):
            namespaces.inside(holder.pid, _addressed(address))

    def _container(self, rank: int) -> Container:
        node = self.folder / MEMBERS[rank]
        for name in ("config/ssh", "state", "tmp"):
            (node / name).mkdir(parents=True)
        (node / "config" / "ssh").chmod(0o700)
        program = shutil.copytree(IMAGE, self.folder / f"program{rank}", ignore=shutil.ignore_patterns("__pycache__"))
        binds = [
            (node / "config", contract.CONFIG_DIR, True),
            (node / "state", contract.STATE_DIR, False),
            (program, PROGRAM_DIR, True),
            (self.folder / "model", contract.MODEL_DIR, True),
            (node / "tmp", "/tmp", False),
        ]
        told = {
            "node": self.holders[rank].pid,
            "binds": [[str(source), target, read_only] for source, target, read_only in binds],
            "tmpfs": ["/run", "/dev/shm", SSH_DIR],
            "environment": self._environment(rank),
            # as the image's entry point does
            "command": ["bash", "-c", f'exec python3 {contract.PROGRAM} "$@"', "--", "worker" if rank else "leader"],
            "log": str(node / "log"),
            "pid": str(node / "pid"),
        }
        return Container(MEMBERS[rank], node, self.holders[rank], told)

    def _environment(self, rank: int) -> dict[str, str]:
        gpu = {"CUDA_VISIBLE_DEVICES": str(rank % self.setting.gpus)} if self.setting.device == "cuda" else {}
        return {
            "HOME": "/root",
            "PATH": f"{self.setting.work}/bin:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(self.setting.paths),
            **{name: os.environ[name] for name in ("LD_LIBRARY_PATH", "CUDA_HOME") if name in os.environ},
            **SAFE,
            **gpu,
            **self.setting.environment,
            **serving.environment(self.serving),
        }

    def _write(self) -> None:
        """What the roles write on each Spark, with keys of its own."""
        keys = {}
        for rank, name in enumerate(MEMBERS):
            file = self.folder / name / "config" / "ssh" / ("ssh_host_ed25519_key" if rank else "id_ed25519")
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
            keys[name] = file.with_suffix(".pub").read_text()
        for name in MEMBERS:
            for one in serving.files(self.serving, name, keys):
                file = self.folder / name / "config" / Path(one.path).relative_to(self.serving.layout["config_dir"])
                file.write_text(one.content)
                file.chmod(int(one.mode, 8))

    # --- what is done with it ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start both containers."""
        for one in self.containers:
            one.start()

    def stop(self) -> None:
        """End both containers, the leader first, and the nodes."""
        for one in self.containers:
            one.stop()
        for holder in self.holders:
            holder.kill()
            holder.wait()

    def switch(self, up: bool) -> None:
        """Plug the second node's cable in, or out."""
        namespaces.inside(self.holders[1].pid, lambda: namespaces.switch(NETDEV, up))

    def reconfigure(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change ``cluster.json`` on both nodes."""
        for name in MEMBERS:
            file = self.folder / name / "config" / contract.CLUSTER
            told = json.loads(file.read_text())
            change(told)
            file.write_text(json.dumps(told))

    @property
    def leader(self) -> int:
        """A process in the leader's network."""
        return self.holders[0].pid

    @property
    def address(self) -> str:
        """Where the engine is asked, in the leader's network."""
        return str(self.serving.cluster["api_probe"])

    def state(self) -> dict[str, Any]:
        """The leader's ``state.json``; empty before it is there."""
        try:
            found: dict[str, Any] = json.loads((self.folder / MEMBERS[0] / "state" / contract.STATE).read_text())
        except (OSError, ValueError):
            return {}
        return found

    def log(self, rank: int = 0) -> str:
        """What a container has printed."""
        path = self.folder / MEMBERS[rank] / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def engine(self) -> dict[str, Process]:
        """The engine's processes by their part, on both nodes: ``leader main``, ``leader core``, ``node 1 worker`` …

        Titles tell an engine core and a worker; the parent of the leader's core, and of node 1's worker, is the main one.
        """
        return dict(self._parts())

    def _parts(self) -> Iterator[tuple[str, Process]]:
        for rank, place in ((0, "leader"), (1, "node 1")):
            for pid in namespaces.processes_in(self.networks[rank]):
                words, (_state, parent, _session, born) = title(pid), about(pid)
                if "VLLM::EngineCore" in words:
                    yield f"{place} core", Process(pid, born)
                elif "VLLM::Worker" in words:
                    yield f"{place} worker", Process(pid, born)
                else:
                    continue
                if rank or "VLLM::EngineCore" in words:
                    yield f"{place} main", Process(parent, about(parent)[3])

    def rest(self) -> list[Process]:
        """All processes of the engine's sessions on both nodes, helpers included."""
        sessions = {about(one.pid)[2] for one in self.engine().values()}
        pids = [pid for network in self.networks for pid in namespaces.processes_in(network)]
        return [Process(pid, about(pid)[3]) for pid in pids if about(pid)[2] in sessions]


def _addressed(address: str) -> Callable[[], None]:
    return lambda: namespaces.give_address(NETDEV, address, "255.255.255.0")


@contextlib.contextmanager
def places() -> Iterator[None]:
    """Directories to mount on, where there are none; they are taken away at the end."""
    made: list[Path] = []
    for target in map(Path, TARGETS):
        for path in (*reversed(target.parents), target):
            if not path.exists():
                path.mkdir()
                made.append(path)
    try:
        yield
    finally:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir()


def shim(setting: Setting) -> None:
    """A command ``vllm`` of the interpreter that has it."""
    folder = setting.work / "bin"
    folder.mkdir(parents=True)
    (folder / "vllm").write_text(f'#!/bin/sh\nexec {setting.python} -m vllm.entrypoints.cli.main "$@"\n')
    (folder / "vllm").chmod(0o755)
