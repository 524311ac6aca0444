# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program inside every serving container: leader, worker, rank wrapper and health check.

``leader`` waits for its workers, clears what an earlier run left on them, starts ``mpirun … trtllm-llmapi-launch
trtllm-serve …`` (on a node that is alone, trtllm-serve itself), judges by a generated token whether it serves, and ends
when it ends. It exits 1 to be started again, 143 when it was asked to end, so that it is started again unless whoever
asked meant it to stay down, and 0, with the reason in its state file, when it gives up. ``worker`` runs an sshd for
MPI, nothing else. ``rank`` gives a rank what differs from node to node, and watches its node's memory. ``memory`` says
how much of that is available. ``health`` reads the state file and asks nobody.

Only the standard library: whatever Python the image has.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any, NamedTuple

ETC = Path("/etc/dgx-spark/trtllm")  # cluster.json, node.json, ssh/: read-only
VAR = Path("/var/lib/dgx-spark/trtllm")  # state.json, lock: this node's
RUN = Path("/run/dgx-spark")
ENVIRONMENT = RUN / "environment.json"  # a worker's own, which its ranks do not get by ssh
SERVER_APPEARS = 60  # seconds from mpirun's start; one that is not there then has come and gone
QUIET = 2  # seconds without anything new after which a /metrics ends that follows what it tells
ENDED_BY_SIGTERM = 128 + signal.SIGTERM
PROGRAM = "/opt/dgx-spark/entrypoint.py"
MARK = "DGX_SPARK_RANK"  # in the environment of a rank and of all that it starts: its process number
SEARCHED = ("PATH", "LD_LIBRARY_PATH")
#: MPI starts the only rank's worker itself, and would bind it to one core
UNBOUND = {"OMPI_MCA_hwloc_base_binding_policy": "none", "OMPI_MCA_rmaps_base_inherit": "1"}
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
NO_TEMPLATE = re.compile(r"chat.?template", re.IGNORECASE)
CACHES = Path("/opt/dgx-spark/drop_caches")  # the kernel's switch, mounted where that was consented to
KEY = re.compile(r"(KEY=)[0-9a-f]{16,}")  # the launcher's own, which its trace would write into the log
NCCL = re.compile(r"^(?:\[[^\]]*\])?(?:<std(?:out|err)>:)?\s*(?P<host>\S+?):\d+:\d+ \[\d+\] NCCL INFO (?P<message>.*)$")
USING = re.compile(r"NET/(?P<transport>IB|Socket) : Using (?P<devices>.*)$")
NAMED = re.compile(r"dgx-spark: (?P<name>\S+) is (?P<hostname>\S+) to NCCL$")
WITHOUT = re.compile(r"dgx-spark: rank \d+ on (?P<host>\S+) is without RDMA: (?P<why>.*)$")
ERROR = re.compile(r"\[E\] (?P<told>.+)|(?:^|[\s>])(?P<raised>[\w.]*(?:Error|Exception): .+)")
LOADING = re.compile(r"(?P<what>[Ll]oading (?:\w+ )*weights(?: \w+)*):\s*(?P<share>\d+)%")
WARMING = re.compile(r"\b(warm-?up|autotuner|CUDA graph)", re.IGNORECASE)


# --- pure: what is decided, and how it is written down -------------------------------------------------------------


def short(name: str) -> str:
    """Open MPI 5 rejects long host names, and takes two addresses that begin alike for one node.

    >>> short("spark1.example.org"), short("192.168.1.21")
    ('spark1', '192-168-1-21')
    """
    return name.replace(".", "-") if name.replace(".", "").isdigit() else name.split(".")[0]


def mpirun(cluster: dict[str, Any], command: list[str], forward: dict[str, str]) -> list[str]:
    """One rank a node, over ssh; only options that Open MPI 4 and 5 both know.

    Nodes go by short names, which the ssh configuration maps to addresses. This one is localhost, since mpirun would
    call by ssh what is not its host's name.

    :param cluster: ``nodes`` (``name`` and ``address`` each, leader first) and ``subnets``, the CIDRs that MPI may use.
    :param forward: environment that is equal on all ranks; its values come from this process's environment.
    """
    hosts = ",".join(["localhost:1", *(f"{short(node['name'])}:1" for node in cluster["nodes"][1:])])
    argv = [
        "mpirun",
        "--allow-run-as-root",
        "-np",
        str(len(cluster["nodes"])),
        "--host",
        hosts,
        "--map-by",
        "ppr:1:node",
        "--bind-to",  # as few ranks as these would get a core each, of twenty
        "none",
    ]
    # Else its daemons would call each other at the management addresses, on ports that a firewall does not let in.
    for layer in ("btl", "oob") if cluster["subnets"] else ():
        argv += ["--mca", f"{layer}_tcp_if_include", ",".join(cluster["subnets"])]
    for name in sorted(forward):
        argv += ["-x", name]
    return [*argv, "python3", PROGRAM, "rank", "--", *command]


def ssh_config(cluster: dict[str, Any]) -> str:
    """For the leader's ssh: MPI's own key, pinned host keys, no questions."""
    port = cluster["ssh_port"]
    names = "".join(
        f"Host {short(node['name'])}\n  HostName {node['address']}\n  HostKeyAlias [{node['address']}]:{port}\n"
        for node in cluster["nodes"]
    )
    return (
        f"{names}Host *\n"
        f"  Port {port}\n"
        "  User root\n"
        f"  IdentityFile {ETC}/ssh/id_ed25519\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {ETC}/ssh/known_hosts\n"
        "  GlobalKnownHostsFile /dev/null\n"
        "  StrictHostKeyChecking yes\n"
        "  BatchMode yes\n"
        "  ConnectTimeout 10\n"
        "  ServerAliveInterval 15\n"
        "  ServerAliveCountMax 4\n"
    )


def sshd_config(cluster: dict[str, Any], node: dict[str, Any]) -> str:
    """For a worker's sshd: MPI's key alone, on the control address alone."""
    return (
        f"ListenAddress {node['address']}\n"
        f"Port {cluster['ssh_port']}\n"
        f"HostKey {ETC}/ssh/ssh_host_ed25519_key\n"
        f"AuthorizedKeysFile {ETC}/ssh/authorized_keys\n"
        "PermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "UsePAM no\n"
        "PrintMotd no\n"
        "ClientAliveInterval 15\n"
        "ClientAliveCountMax 4\n"
        "PidFile none\n"
    )


def completed(own: dict[str, str], container: dict[str, str]) -> dict[str, str]:
    """A rank's environment with what ssh left out of its container's; lists of directories are joined.

    >>> own = {"PATH": "/usr/bin:/opt/ompi", "HF_HOME": "/run"}
    >>> completed(own, {"PATH": "/cuda/bin:/usr/bin", "HF_HOME": "/root", "CUDA_HOME": "/cuda"})
    {'PATH': '/cuda/bin:/usr/bin:/opt/ompi', 'HF_HOME': '/run', 'CUDA_HOME': '/cuda'}
    """
    joined = {
        name: ":".join(dict.fromkeys(filter(None, f"{container[name]}:{own[name]}".split(":"))))
        for name in SEARCHED
        if name in own and name in container
    }
    return {**container, **own, **joined}


def transport_of(line: str) -> tuple[str, str, str] | None:
    """Host, transport (``IB`` or ``Socket``) and devices of NCCL's line that names them, else None."""
    said = NCCL.match(line)
    using = USING.search(said["message"]) if said else None
    return (said["host"], using["transport"], using["devices"]) if said and using else None


def obstacles(nodes: bool, devices: set[str], wanted: list[str], memlock: int, least: int) -> list[str]:
    """Why a rank cannot use RDMA, as far as its container shows, each with its mend; none where it can.

    :param nodes: whether /dev/infiniband is there. :param devices: the RoCE devices of the kernel.
    :param wanted: those that NCCL is told to use. :param memlock: bytes that may be locked, -1 for any number.
    :param least: bytes that it has to be, -1 for any number.

    >>> obstacles(True, {"rocep1s0f0"}, ["rocep1s0f0"], -1, -1)
    []
    >>> obstacles(True, {"rocep1s0f0"}, ["mlx5_0"], -1, -1)
    ['there is no RoCE device mlx5_0 (there is rocep1s0f0): plan the fabric anew, by running the play again']
    """
    found = []
    if not nodes:
        found.append(
            "its container has no /dev/infiniband: see that the host has it, "
            "and that NVIDIA's runtime is its Docker's default"
        )
    missing = [name for name in wanted if name not in devices]
    if missing:
        found.append(
            f"there is no RoCE device {' or '.join(missing)} (there is {', '.join(sorted(devices)) or 'none'}): "
            "plan the fabric anew, by running the play again"
        )
    if memlock != -1 and not 0 <= least <= memlock:
        found.append(f"it may lock {memlock} bytes of memory: see that nothing lowers its memlock (ulimits)")
    return found


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
    return (found["told"] or found["raised"]).strip()[:300] if found else ""


def verdict(alive: bool, served: bool, failures: int, waited: float, limits: dict[str, Any]) -> str:
    """What to do about an engine: ``wait``, ``serve`` on, or the reason to end it.

    :param alive: mpirun and the server run. :param served: it has generated a token before.
    :param failures: probes in a row without a token. :param waited: seconds since its start.
    """
    if not alive:
        return "the engine ended"
    if failures == 0:
        return "serve" if served else "wait"
    if served:
        return "wait" if failures < limits["failures"] else f"no token in {failures} probes"
    return "wait" if waited < limits["load_timeout_s"] else f"not loaded after {limits['load_timeout_s']} s"


def next_start(state: dict[str, Any], limits: dict[str, Any]) -> tuple[int, bool]:
    """The number of this start since the last good run, and whether it may be made."""
    number = int(state.get("starts", 0)) + 1
    return number, number <= limits["max_starts"]


def prompt(model: str, path: str) -> dict[str, Any]:
    """The canary: one token."""
    said = {"prompt": "Say ok."} if path == COMPLETION else {"messages": [{"role": "user", "content": "Say ok."}]}
    return {"model": model, **said, "max_tokens": 1, "temperature": 0}


def available_mib(meminfo: str) -> int:
    """``MemAvailable`` in MiB, from the text of ``/proc/meminfo``.

    >>> available_mib("MemTotal: 125829120 kB\\nMemAvailable:   2097152 kB\\n")
    2048
    """
    return int(re.search(r"^MemAvailable:\s*(\d+) kB$", meminfo, re.MULTILINE)[1]) // 1024


def short_of_memory(available: dict[str, int], need: int) -> str:
    """Which nodes have less than a rank needs, in words; empty where all have enough.

    :param available: MiB by node. :param need: MiB; 0 for no matter how much.
    """
    short_ones = [f"{name} has {mib} MiB available" for name, mib in sorted(available.items()) if mib < need]
    return f"{', '.join(short_ones)}, and a rank needs {need}: end what else uses it" if short_ones else ""


# --- the machine ---------------------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def say(text: str) -> None:
    print(f"dgx-spark: {text}", file=sys.stderr, flush=True)


class State:
    """What this node's supervisor does now, for whoever reads ``state.json``."""

    def __init__(self) -> None:
        self.path = VAR / "state.json"
        try:
            self.values: dict[str, Any] = read(self.path)
        except (OSError, ValueError):  # there is none yet, or a power cut left half of it
            self.values = {}

    def set(self, **values: Any) -> None:
        self.values.update(values, at=time.time())
        draft = self.path.with_suffix(".new")
        try:
            draft.write_text(json.dumps(self.values, indent=2, sort_keys=True) + "\n")
            draft.replace(self.path)
        except OSError as error:  # a full disk is no reason to end what serves
            say(f"{self.path} cannot be written: {error}")
        if "phase" in values:
            say(f"{values['phase']}{': ' + values['reason'] if values.get('reason') else ''}")


def own_address(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def await_address(address: str, state: State) -> None:
    """A cable that is out is no failed start: wait without limit, and say so."""
    while not own_address(address):
        state.set(phase="waiting", reason=f"this node has no address {address} yet")
        time.sleep(5)


def worker() -> int:
    cluster, node, state = read(ETC / "cluster.json"), read(ETC / "node.json"), State()
    end_by_sigterm()
    await_address(node["address"], state)
    await_port(f"{node['address']}:{cluster['ssh_port']}", state, reuse=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    ENVIRONMENT.write_text(json.dumps(dict(os.environ)))
    config = RUN / "sshd_config"
    config.write_text(sshd_config(cluster, node))
    state.set(phase="listening", reason="", address=node["address"])
    sshd = os.spawnv(os.P_NOWAIT, "/usr/sbin/sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)])
    while os.wait()[0] != sshd:  # a container's first process buries what its ranks leave behind
        pass
    return 1  # an sshd's own status at SIGTERM differs from version to version


def available(node: dict[str, Any]) -> int:
    return available_mib(Path(node["meminfo"]).read_text())


def memory() -> int:
    """The leader's question, by ssh."""
    print(available(read(ETC / "node.json")))
    return 0


def guard(node: dict[str, Any], floor: int) -> None:
    """A child of this process, that ends its whole group before its node has less memory than ``floor`` MiB.

    GPU and system share the memory, and a Spark that has none left answers nobody: it is to be taken down by hand.
    """
    watched = os.getpid()
    if not floor or os.fork():
        return
    while os.getppid() == watched:
        left = available(node)
        if left < floor:
            say(
                f"{node['name']} has {left} MiB available, less than {floor}: its rank is ended before the host freezes"
            )
            end_rank(watched)
            break
        time.sleep(0.5)
    os._exit(0)


def end_rank(watched: int) -> None:
    """Kill all that a rank started, wherever it is: MPI gives an only rank's worker a session of its own."""
    mark = f"{MARK}={watched}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue  # it ended by itself
    os.killpg(watched, signal.SIGKILL)


def rank(command: list[str]) -> int:
    """Give this rank its own node's environment and a guard, then become the command."""
    node, limits = read(ETC / "node.json"), read(ETC / "cluster.json")["limits"]
    if ENVIRONMENT.exists():
        os.environ.update(completed(dict(os.environ), read(ENVIRONMENT)))
    os.environ.update(node["environment"], **tuned(), **{MARK: str(os.getpid())})
    say(f"{short(node['name'])} is {short(socket.gethostname())} to NCCL")  # an inventory may name it otherwise
    wanted = node["environment"].get("NCCL_IB_HCA", "")
    if wanted:
        devices = {path.name for path in Path("/sys/class/infiniband").glob("*")}
        memlock = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        nodes = Path("/dev/infiniband").is_dir()
        found = obstacles(nodes, devices, wanted.split(","), memlock, limits["memlock_bytes"])
        for why in found:
            say(f"rank {node['rank']} on {short(node['name'])} is without RDMA: {why}")
        if found and limits["require_rdma"]:
            return 1  # now, and not after a load of minutes
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # what the launcher starts is ended with it
    guard(node, limits["memory_floor_mib"])
    os.execvp(command[0], command)
    return 1


def drop_caches() -> None:
    """Give back what the page cache holds of the shared memory: CUDA takes cached pages for used ones.

    Cached pages of the model itself are read again from the disk, so it is done where that was consented to.
    """
    if not CACHES.exists():
        return
    os.sync()
    try:
        CACHES.write_text("3\n")
    except OSError as error:
        say(f"the caches were not dropped: {error}")


def forget_jobs() -> None:
    """Remove what MPI's daemons left that were killed: it is named by process, and the next may get the same number."""
    for pattern in ("ompi.*", "prte*", "pmix*"):
        for path in Path(tempfile.gettempdir()).glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def reset() -> int:
    """On a worker, by the leader's ssh: end everything but sshd and this process's own line of parents."""
    kept, pid = {1}, os.getpid()
    while pid > 1:
        kept.add(pid)
        pid = int(re.search(r"^PPid:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in kept:
            try:
                command = (entry / "cmdline").read_bytes()
                if command and b"sshd" not in command.split(b"\0")[0]:
                    os.kill(int(entry.name), signal.SIGKILL)
            except (OSError, ValueError):
                continue  # it ended by itself
    forget_jobs()
    drop_caches()
    return 0


def health() -> int:
    """Docker's question: is this container what it should be? A starting one is; only a lost canary is not."""
    phase = State().values.get("phase")
    return 1 if phase in ("failed", "gave up") else 0


def processes() -> list[list[bytes]]:
    """The command lines of this container."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it ended by itself
            found.append([word.rsplit(b"/", 1)[-1] for word in words])
    return found


def await_port(address: str, state: State, reuse: bool = False) -> None:
    """Until an ``address:port`` is free; whoever holds it, and that may be a forerunner's last moments, is no failure.

    :param reuse: whether the server binds with SO_REUSEADDR, or what is left in TIME_WAIT must pass first.
    """
    host, port = address.rsplit(":", 1)
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            try:
                probe.bind((host, int(port)))
                probe.listen()  # with SO_REUSEADDR, this is what another listener forbids
                return
            except OSError as error:
                reason = f"{address} cannot be bound yet ({error.strerror}; ss -ltnp tells who has it)"
        if state.values.get("reason") != reason:
            state.set(phase="waiting", reason=reason)
        time.sleep(2)


def compile_caches() -> dict[str, str]:
    """Where kernels that were compiled or tuned are kept for the next start: on the node, for this image alone."""
    folder = VAR / "cache" / os.environ.get("DGX_SPARK_CONFIG", "").rpartition("-")[2]
    names = {
        "TRITON_CACHE_DIR": "triton",
        "TORCHINDUCTOR_CACHE_DIR": "inductor",
        "FLASHINFER_WORKSPACE_BASE": "flashinfer",
    }
    return {name: str(folder / place) for name, place in names.items()}


def tuned() -> dict[str, str]:
    """Where this node keeps what the autotuner found, for this image and configuration alone.

    A file that the autotuner cannot read or write ends the engine, so a broken one goes, and a full disk gets none.
    """
    config, _dash, image = os.environ.get("DGX_SPARK_CONFIG", "").rpartition("-")
    folder = VAR / "cache" / image / "autotuner"
    for path in folder.glob(f"{config}*.json"):  # up to TensorRT-LLM 1.2 with the rank in its name
        try:
            json.loads(path.read_text())
        except ValueError:
            path.unlink()
    room = shutil.disk_usage(VAR).free > 64 * 2**20
    return {"TLLM_AUTOTUNER_CACHE_PATH": str(folder / f"{config}.json")} if room else {}


class Engine:
    """mpirun and all its ranks, or the only one; its output is read for what NCCL says of its transport."""

    def __init__(self, cluster: dict[str, Any]) -> None:
        equal = {**cluster["environment"], **compile_caches()}
        if len(cluster["nodes"]) > 1:
            argv = mpirun(cluster, ["trtllm-llmapi-launch", *cluster["serve"]], equal)
        else:
            argv = ["python3", PROGRAM, "rank", "--", *cluster["serve"]]
            equal.update(UNBOUND)
        environment = {**os.environ, **equal}
        say(" ".join(argv))
        self._ranks = {short(node["name"]): number for number, node in enumerate(cluster["nodes"])}
        self.why = self.progress = ""
        self.error = ""  # the first since the last token: those that follow are mostly its consequences
        self.transports: dict[str, dict[str, str]] = {}
        self.names: dict[str, str] = {}  # of the nodes, by their host names
        self.without: dict[str, str] = {}  # RDMA, and why
        self._seen, self._began = False, time.monotonic()
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        self._process = subprocess.Popen(argv, env=environment, start_new_session=True, **pipe)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            print(KEY.sub(r"\1***", line), end="", flush=True)
            without, named = WITHOUT.search(line), NAMED.search(line.rstrip())
            if named:
                self.names[named["hostname"]] = named["name"]
            elif without:
                whys = [self.without.get(without["host"], ""), without["why"].strip()]
                self.without[without["host"]] = "; ".join(filter(None, whys))
            elif "dgx-spark: " in line:
                self.why = line.partition("dgx-spark: ")[2].strip()
            self.progress = progress_of(line) or self.progress
            self.error = self.error or error_of(line)
            found = transport_of(line.rstrip("\n"))
            if found:
                host, transport, devices = found
                host = self.names.get(host, host)
                self.transports[host] = {"transport": transport, "devices": devices, "why": self.without.get(host, "")}

    def alive(self) -> bool:
        """mpirun runs, and so does the server: the launcher of some versions goes on without it."""
        if self._process.poll() is not None:
            return False
        # As a program of its own, by its interpreter, or as a module; the launcher names it later in its line.
        serves = any(
            {b"trtllm-serve", b"tensorrt_llm.commands.serve"} & set(line[:3])
            for line in processes()
            if b"trtllm-llmapi-launch" not in line
        )
        self._seen = self._seen or serves or time.monotonic() - self._began > SERVER_APPEARS
        return serves or not self._seen

    def causes(self) -> str:
        """Why it does not serve, as far as it and this program's rank wrappers told; empty where they did not."""
        self._listener.join(2)  # what it wrote last may still be read
        without = [
            f"rank {self._ranks.get(host)} on {host} is without RDMA: {why}" for host, why in self.without.items()
        ]
        return "; ".join(filter(None, [self.why, *without, self.error]))

    def status(self) -> int | None:
        return self._process.poll()

    def end(self, grace: float) -> None:
        """SIGTERM reaches mpirun, which ends its ranks; what is left after ``grace`` seconds is killed."""
        for number, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, 10)):
            if self._process.poll() is not None:
                break
            os.killpg(self._process.pid, number)
            try:
                self._process.wait(wait)
            except subprocess.TimeoutExpired:
                continue


class RefusedError(OSError):
    """The server finds fault with the request, and not with itself."""


class Probe(NamedTuple):
    """What a probe found."""

    model: str  # the name that it goes by
    path: str  # where it is asked for a token
    problem: str | None  # in words, or None if the token came


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One request on a connection that stays open; the JSON of its answer, None where that is empty."""
    headers = {"Content-Type": "application/json"} if body else {}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    reply = connection.getresponse()
    text = reply.read()
    if reply.status != 200:
        kind, said = RefusedError if 400 <= reply.status < 500 else OSError, text.decode(errors="replace")[:300]
        raise kind(": ".join([f"{path} answers {reply.status} {reply.reason}", *filter(None, [said.strip()])]))
    return json.loads(text) if text.strip() else None


def token(address: str, timeout: float, path: str = "") -> Probe:
    """Ask for one token.

    The connection is closed from this end, so that what is left in TIME_WAIT does not hold the server's port.

    :param address: ``host:port`` of the API. :param timeout: seconds that each answer may take.
    :param path: where it was asked before. Unless that is known, a model that refuses to chat for want of a template,
        as a base model does, is asked to complete a text.
    """
    connection, model, asked = http.client.HTTPConnection(address, timeout=timeout), "", path or CHAT
    try:
        ask(connection, "GET", "/health")
        model = ask(connection, "GET", "/v1/models")["data"][0]["id"]
        try:
            answer = ask(connection, "POST", asked, prompt(model, asked))
        except RefusedError as error:
            if path or not NO_TEMPLATE.search(str(error)):
                raise
            asked = COMPLETION
            answer = ask(connection, "POST", asked, prompt(model, asked))
        return Probe(model, asked, None if answer["usage"]["completion_tokens"] >= 1 else "an answer without a token")
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError) as error:
        return Probe(model, asked, f"{type(error).__name__}: {error}")
    finally:
        connection.close()


def told(address: str, path: str, timeout: float) -> Any:
    """The JSON that one GET on a connection of its own answers."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        return ask(connection, "GET", path)
    finally:
        connection.close()


def tokens_flow(address: str, timeout: float, pause: float, follows: bool = False) -> bool:
    """Whether the engine makes tokens, although a canary waits in its queue in vain: a busy server is not a sick one.

    Needs ``enable_iter_perf_stats``. What is read is gone for others, so it is asked only when a canary failed; and
    twice, since the first answer may tell of what was long ago.

    :param follows: whether this version's ``/metrics`` does not end while there is something new to tell.
    """
    timeout = max(timeout, 2 * QUIET) if follows else timeout
    try:
        told(address, "/metrics", timeout)
        time.sleep(pause)
        return bool(told(address, "/metrics", timeout))
    except TimeoutError:
        return follows and serves_health(address, timeout)
    except (OSError, http.client.HTTPException, ValueError):
        return False


def serves_health(address: str, timeout: float) -> bool:
    """Whether the server itself answers."""
    try:
        told(address, "/health", timeout)
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return True


def await_workers(cluster: dict[str, Any], state: State) -> None:
    """Until every worker's own sshd lets MPI in; a worker that is late is no failed start, nor is a stranger there."""
    for node in cluster["nodes"][1:]:
        place = f"{node['name']} does not let MPI in at {node['address']}:{cluster['ssh_port']}"
        while problem := not_let_in(short(node["name"])):
            if state.values.get("reason") != f"{place} ({problem})":
                state.set(phase="waiting", reason=f"{place} ({problem})")
            time.sleep(2)


def not_let_in(name: str) -> str:
    """Why ssh does not get into a worker, in its own last words; empty where it does."""
    try:
        done = subprocess.run(["ssh", name, "true"], capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "no answer within 60 s"
    return last_words(done)


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Why a command failed, in its own last line; empty where it did not."""
    return (done.stderr.strip().splitlines() or [f"ssh ends with {done.returncode}"])[-1] if done.returncode else ""


def on_worker(node: dict[str, Any], word: str, timeout: float) -> str:
    """What this program prints on a worker, by ssh.

    :param word: ``reset`` or ``memory``. :raises RuntimeError: with the last words of one that failed.
    """
    argv = ["ssh", short(node["name"]), "python3", PROGRAM, word]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
    print(done.stderr, end="", file=sys.stderr, flush=True)
    if done.returncode:
        raise RuntimeError(f"{word} on {node['name']} failed: {last_words(done)}")
    return done.stdout


def clear_workers(cluster: dict[str, Any]) -> None:
    for node in cluster["nodes"][1:]:
        on_worker(node, "reset", 300)


def memories(cluster: dict[str, Any], own: dict[str, Any]) -> dict[str, int]:
    """MiB that each node has available."""
    found = {own["name"]: available(own)}
    for node in cluster["nodes"][1:]:
        found[node["name"]] = int(on_worker(node, "memory", 60))
    return found


def await_memory(cluster: dict[str, Any], own: dict[str, Any]) -> None:
    """What an engine that was just ended used comes back within seconds; what somebody else uses does not."""
    deadline = time.monotonic() + cluster["limits"]["memory_wait_s"]
    while problem := short_of_memory(memories(cluster, own), cluster["limits"]["memory_need_mib"]):
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(2)


def smoke(cluster: dict[str, Any]) -> list[str]:
    """Every rank says on which node it runs; all must differ. One that may not use RDMA says so here already."""
    probe = ["python3", "-c", "import json; print('node', json.load(open('/etc/dgx-spark/trtllm/node.json'))['name'])"]
    argv = mpirun(cluster, probe, {})
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    names = [line.split()[-1] for line in done.stdout.splitlines() if "node " in line]
    without = [line.partition("dgx-spark: ")[2].strip() for line in done.stderr.splitlines() if WITHOUT.search(line)]
    if without and done.returncode:
        raise RuntimeError("; ".join(without))
    if done.returncode or sorted(names) != sorted(node["name"] for node in cluster["nodes"]):
        said = done.stderr.replace("\0", "").strip()[-500:]
        raise RuntimeError(f"MPI does not reach every node: ranks on {names or 'none'}; {said}")
    return names


def end_by_sigterm() -> None:
    """A container's first process is not ended by SIGTERM unless it asks for that."""

    def end(*_arguments: object) -> None:
        sys.exit(ENDED_BY_SIGTERM)

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, end)


def alone() -> IO[str]:
    """Wait for this node's lock, so that two incarnations never meet; held as long as what is returned is open.

    Until then the state file is the other's.
    """
    lock = (VAR / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting: another run holds the lock")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def leader() -> int:
    end_by_sigterm()
    with alone():
        state = State()
        try:
            return lead(state)
        except SystemExit:
            state.set(phase="stopped", reason="asked to end", starts=0)
            raise


def lead(state: State) -> int:
    cluster, node = read(ETC / "cluster.json"), read(ETC / "node.json")
    limits, api, config = cluster["limits"], cluster["api_probe"], os.environ.get("DGX_SPARK_CONFIG", "")
    if state.values.get("config") != config:
        state.values["starts"] = 0  # what failed was something else
    state.set(phase="waiting", reason="", config=config, began=time.time())
    await_address(node["address"], state)
    number, allowed = next_start(state.values, limits)
    if not allowed:
        reason = f"{number - 1} starts failed; the last: {state.values.get('last_end', '?')}"
        state.set(phase="gave up", reason=reason, starts=0)  # nobody starts it again but on purpose
        return 0
    os.environ["PMIX_HOSTNAME"] = short(node["name"])  # Open MPI 5 may reject this host's, if it is long
    Path("/root/.ssh").mkdir(mode=0o700, exist_ok=True)
    Path("/root/.ssh/config").write_text(ssh_config(cluster))
    await_workers(cluster, state)
    await_port(cluster["api_listen"], state)
    state.set(phase="starting", reason="", starts=number, ranks={})
    try:
        forget_jobs()
        clear_workers(cluster)
        drop_caches()
        await_memory(cluster, node)
        if len(cluster["nodes"]) > 1:
            smoke(cluster)
    except (OSError, RuntimeError, TypeError, ValueError, subprocess.SubprocessError) as error:
        state.set(phase="failed", reason=str(error), last_end=str(error))
        return 1
    started, served_since, failures, due, path = time.monotonic(), 0.0, 0, 0.0, ""
    engine = Engine(cluster)
    try:
        while True:
            time.sleep(1)
            alive = engine.alive()
            if alive and time.monotonic() < due:
                continue
            probed = time.monotonic()
            second_look = limits["timeout_s"] / 10  # seconds of a probe's time, should it fail
            model, asked, problem = (
                token(api, limits["timeout_s"] - second_look, path) if alive else Probe("", "", "nobody to ask")
            )
            if problem is None:
                if not served_since:
                    served_since, path = time.monotonic(), asked
                    about = {"model": model, "path": path, "load_s": round(served_since - started, 1)}
                    state.set(phase="serving", reason="", ranks=engine.transports, **about)
                elif state.values["reason"]:
                    state.set(phase="serving", reason="")
                elif state.values["starts"] and time.monotonic() - served_since > limits["forget_s"]:
                    state.set(starts=0)  # a long good run wipes the slate
                failures, engine.error = 0, ""
            elif alive and served_since and tokens_flow(api, second_look, second_look / 2, limits["metrics_follow"]):
                failures = 0
                state.set(phase="serving", reason=f"busy: tokens flow, but none for the probe ({problem})")
            else:
                failures += 1
                # Who refuses a chat has loaded, and will not come to like it.
                reason = problem if problem.startswith(RefusedError.__name__) else engine.progress
                if not served_since and reason != state.values["reason"]:
                    state.set(phase="starting", reason=reason)
            decision = verdict(alive, bool(served_since), failures, time.monotonic() - started, limits)
            if decision not in ("wait", "serve"):
                reason = f"{engine.causes() or decision} (exit status {engine.status()}; {problem})"
                state.set(phase="failed", reason=reason, last_end=reason)
                return 1
            # A probe that took its whole time is followed by the next: three of them are three times its time.
            due = probed + limits["interval_s"] if served_since else 0.0
    finally:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_IGN)  # that it ends is under way
        engine.end(limits["grace_s"])


def main(arguments: list[str]) -> int:
    roles = {"leader": leader, "worker": worker, "reset": reset, "memory": memory, "health": health}
    if arguments[:2] == ["rank", "--"] and len(arguments) > 2:
        return rank(arguments[2:])
    if len(arguments) != 1 or arguments[0] not in roles:
        print(f"usage: entrypoint.py {'|'.join(roles)} or rank -- COMMAND", file=sys.stderr)
        return 2
    return roles[arguments[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
