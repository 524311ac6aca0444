# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this container lets a rank use RDMA, and whether every rank of a start did."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from . import contract, notice, ssh, verbs
from .state import State, cluster, node

CLASS = Path("/sys/class/infiniband")
WORD = 4  # bytes, in which the port counters count
#: bytes in which no load could have passed its weights' sums between two ranks, and more than a probe of anything sends
LEAST = 1 << 20
PATIENCE = 10  # seconds: drivers bring counters up to date now and then
ANEW, AGAIN = 1.0, 8.0  # seconds until a container ends to be made anew: the first time, and if that did not help
ASKED, RECENT = 20.0, 120.0  # seconds in which a worker that ended is back, and for which it explains an engine's end

PLUG = (
    "plug its QSFP cable in, and switch on the Spark at its other end, since DGX OS may switch the card off without a "
    "live cable; if names changed, run the play again"
)
MADE_ANEW = (
    "it ends to be made anew; if that does not help, check that the host has the device, and that NVIDIA's runtime is "
    "its Docker's default"
)


def needed(told: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The RoCE devices that a rank here may not be without.

    :param told: ``cluster.json``. :param own: ``node.json``.
    """
    return list(own.get("rdma_devices", [])) if told["limits"].get("require_rdma") else []


# --- this container --------------------------------------------------------------------------------------------------


def words_of(found: verbs.Condition) -> str:
    """What is wrong with the devices, with its mend; empty where nothing is."""
    if found.stale:
        return f"in its container {found.words}: {MADE_ANEW}"
    return f"{found.words}: {PLUG}" if found.words else ""


def memlock_problem(memlock: int, least: int) -> str:
    """Why too little memory may be locked, or nothing. :param memlock: bytes. :param least: both -1 for any number.

    >>> memlock_problem(-1, -1), memlock_problem(65536, 65536)
    ('', '')
    """
    if memlock == -1 or 0 <= least <= memlock:
        return ""
    return f"it may lock {memlock} bytes of memory: check that nothing lowers its memlock (ulimits)"


def own_obstacles(wanted: Sequence[str], memlock_bytes: int) -> list[str]:
    """Why a rank cannot use RDMA, as far as its container shows, each with its mend; none where it can.

    :param wanted: the RoCE devices that are planned. :param memlock_bytes: that it has to be allowed to lock.
    """
    if not wanted:
        return []
    memlock = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return list(
        filter(None, [words_of(verbs.condition(wanted, open_too=True)), memlock_problem(memlock, memlock_bytes)])
    )


def await_devices(wanted: Sequence[str], state: State, pause: Callable[[str, float], None], prefix: str = "") -> bool:
    """Wait, without limit, until the kernel has these devices: a card may be off the bus. To wait is no failed start.

    :param pause: given the reason, waits for some seconds. :param prefix: of the reason, in the leader's state.
    :returns: whether this container may go on; where its device nodes are not the kernel's, it has to be made anew.
    """
    recently = time.time() - state.values.get("lost_at", 0) < RECENT
    before = state.values.get("lost_why") if recently else None
    while True:
        found = verbs.condition(wanted, open_too=True)
        if not found.words:
            return True
        words = prefix + words_of(found)
        if found.stale:
            end(state, words)
            pause(words, AGAIN if before == words else ANEW)
            return False
        if state.values.get("reason") != words or state.values.get("phase") != contract.WAITING:
            state.set(phase=contract.WAITING, reason=words)
        pause(words, 2)


def end(state: State, words: str) -> None:
    """Note that this container ends for its devices."""
    state.set(phase=contract.WAITING, reason=words, lost_at=time.time(), lost_why=words)


# --- all nodes -------------------------------------------------------------------------------------------------------


def carried(devices: Sequence[str]) -> int:
    """Bytes that RoCE devices have sent and received, on all their ports; none for one that is not there."""
    total = 0
    for device in devices:
        for path in CLASS.glob(f"{device}/ports/*/counters/port_*_data"):
            if path.name in ("port_xmit_data", "port_rcv_data"):
                try:
                    total += WORD * int(path.read_text())
                except (OSError, ValueError):
                    continue  # it goes off the bus just now
    return total


def main() -> int:
    """Answer the leader's question, by ssh: what is wrong with the devices here, and what they have carried."""
    told, own, kept = cluster(), node(), State().values
    lost_s = time.time() - kept["lost_at"] if "lost_at" in kept else None
    print(json.dumps({**about(told, own), "lost_s": lost_s, "lost_why": kept.get("lost_why", "")}))
    return 0


def about(told: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``problem``, in words, and ``carried``, in bytes, of this node."""
    problem = words_of(verbs.condition(needed(told, own)))
    return {"problem": problem, "carried": carried(own.get("rdma_devices", []))}


def of_all(told: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each node says of itself, by short name. :raises RuntimeError: when a worker does not say."""
    found = {contract.short(own["name"]): about(told, own)}
    for member in told["nodes"][1:]:
        found[contract.short(member["name"])] = json.loads(ssh.on_worker(member, "rdma", 60))
    return found


def lost(told: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Which node's devices are, or were just now, gone or others than its container's, in words; empty where none.

    Asked when an engine has ended. A worker's container that ended for that is given the time to be made anew.
    """
    if not needed(told, own):
        return ""
    if words := about(told, own)["problem"]:
        return f"{own['name']}: {words}"
    deadline = time.monotonic() + ASKED
    for member in told["nodes"][1:]:
        if words := _lost_by(member, told["ssh_port"], deadline):
            return f"{member['name']}: {words}"
    return ""


def _lost_by(member: Mapping[str, Any], port: int, deadline: float) -> str:
    while True:
        words = notice.read(member["address"], port)
        if words:
            return words
        if words is not None:
            try:
                said = json.loads(ssh.on_worker(dict(member), "rdma", 20))
            except (RuntimeError, OSError, ValueError, subprocess.SubprocessError):
                said = {}  # it went just now
            if said:
                recent = said["lost_s"] is not None and said["lost_s"] < RECENT
                return str(said["problem"] or (said["lost_why"] if recent else ""))
        if time.monotonic() > deadline:
            return ""  # a worker that is not there tells nothing of its devices
        time.sleep(1)


class Judge:
    """Whether every rank of a start uses RDMA: by NCCL's own line, and where none was seen, by what was carried."""

    def __init__(self, told: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        """Before the load. :raises RuntimeError: when a worker does not say what its devices have carried."""
        self._told, self._own = told, own
        self._asked = bool(told["limits"].get("require_rdma")) and len(told["nodes"]) > 1
        self._before = self._carried() if self._asked else {}

    def own_problem(self) -> str:
        """What is wrong with this node's devices while it runs; empty where nothing is."""
        words = words_of(verbs.condition(needed(self._told, self._own)))
        return f"{self._own['name']}: {words}" if words else ""

    def lost(self) -> str:
        """Which node's devices are gone or are others than its container's, in words; empty where none are."""
        return lost(self._told, self._own)

    def _carried(self) -> dict[str, int]:
        return {name: one["carried"] for name, one in of_all(self._told, self._own).items()}

    def ranks(self, seen: Mapping[str, contract.Transport]) -> tuple[dict[str, contract.Transport], str]:
        """After the first token: every rank's transport, and why the start has failed; empty where it has not.

        :param seen: what NCCL's lines told, by short name.
        :raises RuntimeError: when a worker does not answer. Others of ssh likewise.
        """
        if not self._asked:
            return dict(seen), ""
        names = [contract.short(member["name"]) for member in self._told["nodes"]]
        found = dict(seen)
        unseen, deadline = [name for name in names if name not in seen], time.monotonic() + PATIENCE
        while unseen:
            now = self._carried()
            moved = {name: max(0, now[name] - self._before[name]) for name in unseen}
            found.update({name: by_counters(count) for name, count in moved.items()})
            if min(moved.values()) >= LEAST or time.monotonic() > deadline:
                break
            time.sleep(1)
        problems = (
            contract.rank_problem(rank, member["name"], found.get(name))
            for rank, (name, member) in enumerate(zip(names, self._told["nodes"]))
        )
        return found, "; ".join(filter(None, problems))


def on_tcp(told: Mapping[str, Any], own: Mapping[str, Any], ranks: Mapping[str, contract.Transport]) -> str:
    """Which ranks talk otherwise than by RDMA although their Sparks are cabled, in words; empty where none does.

    :param ranks: by short name, as :meth:`Judge.ranks` returns them; one of which nothing is known does not count.
    """
    if len(told["nodes"]) < 2 or not own.get("rdma_devices"):
        return ""
    known = ((rank, one["name"], ranks.get(contract.short(one["name"]))) for rank, one in enumerate(told["nodes"]))
    return "; ".join(filter(None, (contract.rank_problem(*one) for one in known if one[2])))


def by_counters(count: int) -> contract.Transport:
    """The transport of a rank of which NCCL said nothing. :param count: bytes by RDMA since before the load.

    >>> by_counters(67108864)
    {'transport': 'IB', 'devices': 'by the RDMA counters: 64 MiB', 'why': ''}
    """
    if count >= LEAST:
        return {"transport": contract.RDMA, "devices": f"by the RDMA counters: {count >> 20} MiB", "why": ""}
    return {"transport": contract.UNKNOWN, "devices": f"by the RDMA counters: {count} bytes", "why": ""}
