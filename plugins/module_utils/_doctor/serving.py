# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read of a host the servings of this collection, and what the ranks of any engine do at this moment.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any, Iterable, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.containers import unit
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.system import LIVE, is_root, live_of, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, host, instances
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import ROOTS, layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError, run, tool

RAS_PORT = 28028  #: where NCCL 2.24 and later tell how their ranks are (NCCL_RAS_ADDR)
RAS_S, RAS_BYTES = 6.0, 1 << 18
SAMPLE_S = 2.0  #: between two looks at what moves
MOST = 64  #: processes of a host that are looked at
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "RANK", "SLURM_PROCID")


def configured(etc: str = ROOTS[0], lib: str = ROOTS[1]) -> list[dict[str, Any]]:
    """The instances that this collection configured here, each with its ``state``, its ``unit`` and its ``nodes``."""
    found = []
    for about in host.others({"config_dir": ""}, Path(etc), Path(lib)):
        folder = about["name"][len("dgx-spark-") :]
        cluster = _object(Path(etc, folder, contract.CLUSTER))
        limits = cluster.get("limits")
        by_systemd = about["launcher"] == instances.SYSTEMD
        found.append(
            {
                **about,
                "state": redact.value(host.state_in(Path(lib, folder))),
                "nodes": [str(one.get("name")) for one in _list(cluster, "nodes") if isinstance(one, dict)],
                "require_rdma": isinstance(limits, dict) and bool(limits.get("require_rdma")),
                "unit": unit(layout(folder)["unit"]) if by_systemd else {},
            }
        )
    return found


def _list(where: dict[str, Any], name: str) -> list[Any]:
    found = where.get(name)
    return found if isinstance(found, list) else []


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text_of(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def ranks(pids: dict[str, list[int]], seconds: float = SAMPLE_S, proc: Path = Path("/proc")) -> dict[str, Any]:
    """What the processes of serving containers do, and the GPU beside: two looks, and what moved between them.

    :param pids: of each container.
    :raises UnreadError: where this user may not see that.
    """
    if not is_root():
        raise UnreadError("what the processes of containers do may be read by root alone: run this with become")
    first = {pid: about for some in pids.values() for pid in some[:MOST] for about in [process(proc, pid)] if about}
    before, began = _gpu_now(), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    after = _gpu_now()
    found = []
    for container, some in pids.items():
        for pid in some[:MOST]:
            one, now = first.get(pid), process(proc, pid)
            if one is None or now is None:
                continue
            ticks = os.sysconf("SC_CLK_TCK")
            found.append(
                {
                    **{name: now[name] for name in ("name", "state", "wchan", "rank", "threads")},
                    "pid": pid,
                    "state_before": one["state"],
                    "container": container,
                    "cpu": round((now["ticks"] - one["ticks"]) / ticks / took, 2),
                    "read_mib": round(max(now[way] - one[way] for way in ("read", "fetched")) / 2**20, 1),
                    "memory_mib": now["memory_mib"],
                }
            )
    return {"seconds": round(took, 1), "processes": found, "gpu": [before, after]}


def _gpu_now() -> dict[str, float | None]:
    code, said = run(["nvidia-smi", f"--query-gpu={LIVE}", "--format=csv,noheader,nounits"])
    return live_of(said) if code == 0 else live_of("")


def process(proc: Path, pid: int) -> dict[str, Any] | None:
    """What /proc tells of a process, None where it has gone. Its arguments and its environment are not told."""
    place = proc / str(pid)
    try:
        stat = (place / "stat").read_text(encoding="utf-8", errors="replace")
        name, fields = stat.partition("(")[2].rpartition(")")[0], stat.rpartition(")")[2].split()
        environment = (place / "environ").read_bytes().decode(errors="replace").split("\0")
        counts = dict(re.findall(r"^(\w+): (\d+)$", (place / "io").read_text(encoding="ascii"), re.MULTILINE))
        waits = text_of(place / "wchan")
    except (OSError, ValueError):
        return None
    variables = dict(one.partition("=")[::2] for one in environment)
    rank = next((variables[key] for key in RANK_VARIABLES if variables.get(key, "").isdigit()), "")
    return {
        "name": name,
        "state": fields[0],
        "ticks": int(fields[11]) + int(fields[12]),
        "threads": int(fields[17]),
        "memory_mib": int(fields[21]) * os.sysconf("SC_PAGE_SIZE") // 2**20,
        "wchan": "" if waits == "0" else waits,
        "read": int(counts.get("rchar", 0)),
        "fetched": int(counts.get("read_bytes", 0)),  # from a disk, also for a file that is mapped, which is not read
        "rank": int(rank) if rank else None,
    }


def ras(listening: Iterable[int], seconds: float = SAMPLE_S, port: int = RAS_PORT) -> list[str]:
    """What NCCL says of its ranks, asked twice, since ranks that work are never quite equal; empty where none listens.

    :param listening: TCP ports on which somebody listens here.
    """
    if port not in set(listening):
        return []
    first = _ask_ras(port)
    time.sleep(seconds)
    return [first, _ask_ras(port)]


def _ask_ras(port: int) -> str:
    """The answer to ``verbose status``, which changes nothing. :raises UnreadError: where there is none."""
    said = b""
    deadline = time.monotonic() + RAS_S
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=RAS_S) as connection:
            connection.sendall(b"timeout 4\nverbose status\n")
            while len(said) < RAS_BYTES and time.monotonic() < deadline:
                connection.settimeout(max(0.1, deadline - time.monotonic()))
                piece = connection.recv(65536)
                if not piece:
                    break
                said += piece
    except OSError as error:
        if not said:
            raise UnreadError(f"what listens on port {port} does not answer as NCCL's RAS does: {error}") from None
    text = said.decode(errors="replace")
    if "NCCL" not in text:
        raise UnreadError(f"what listens on port {port} is not NCCL's RAS")
    return redact.text(text)


def stacks(pids: Sequence[int], seconds: float = 10.0) -> dict[str, str]:
    """Where each Python process stands, by py-spy, which reads its memory and does not stop it.

    :raises UnreadError: where py-spy is missing, or this user may not.
    """
    if tool("py-spy") is None:
        raise UnreadError(
            "py-spy is not on this host: install it for the administrator (sudo pipx install --global py-spy), or "
            "leave doctor_py_spy out"
        )
    if not is_root():
        raise UnreadError("py-spy reads the memory of other users' processes as root alone: run this with become")
    found = {}
    for pid in pids[:8]:
        code, said = run(["py-spy", "dump", "--nonblocking", "--pid", str(pid)], seconds)
        failed = f"(py-spy ends with status {code}: {said.strip()[:200]})"
        # its first lines are the command, whose arguments may hold a secret
        found[str(pid)] = failed if code else redact.text(said.partition("\nPython ")[2] or said)[:20000]
    return found
