# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run programs of nccl-tests over all nodes, by the serving's own mpirun, each with a limit of its time.

What each prints goes to a log of its own, and how each ended to ``result.json``, both in the state's directory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict

from supervisor import contract, mpi, paths, ssh, state

FOLDER = Path("/opt/dgx-spark/nccl-tests")
ASKED, RESULT = "nccl_tests.json", "result.json"
GRACE_S = 15.0  # for the ranks to end after SIGTERM

Result = Dict[str, Any]


def reach(cluster: dict[str, Any], seconds: float) -> None:
    """Wait until every worker lets the leader in, and have MPI reach every node.

    :raises RuntimeError: with the node and the cause, when that takes longer.
    """
    end = time.monotonic() + seconds
    for node in cluster["nodes"][1:]:
        while problem := ssh.refusal(contract.short(node["name"])):
            if time.monotonic() > end:
                raise RuntimeError(
                    f"{node['name']} does not let MPI in at {node['address']}:{cluster['ssh_port']} within "
                    f"{seconds:g} s ({problem}): check that it has that address, and that no firewall is "
                    "between, by verify of cx7_network"
                )
            time.sleep(1)
    try:
        mpi.check(cluster)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(
            f"MPI's ranks say nothing within {error.timeout:g} s: check that no firewall is between the Sparks, on any "
            "port of the fabric"
        ) from error


def run(cluster: dict[str, Any], operation: str, asked: dict[str, Any]) -> Result:
    """Run one program to its end or to its limit; its output is in its log."""
    command = [str(FOLDER / f"{operation}_perf"), *asked["arguments"]]
    argv = mpi.mpirun(cluster, command, cluster["environment"])
    began = time.monotonic()
    with (paths.STATE / f"{operation}.log").open("wb") as log, subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    ) as started:
        timed_out = False
        try:
            started.wait(asked["limit_s"])
        except subprocess.TimeoutExpired:
            timed_out = True
            end(started)
    return {
        "status": started.returncode,
        "timed_out": timed_out,
        "seconds": time.monotonic() - began,
        "argv": argv,
    }


def end(started: subprocess.Popen[bytes]) -> None:
    """End mpirun, which ends the ranks of all nodes; one that does not obey is killed."""
    os.killpg(started.pid, signal.SIGTERM)
    try:
        started.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def main() -> int:
    """Measure all that is asked for. Returns the exit status."""
    cluster, asked = state.cluster(), state.read(state.folder() / ASKED)
    result: Result = {"problem": "", "origin": "", "operations": {}, "left_out": list(asked["operations"])}
    try:
        result["origin"] = (FOLDER / "origin").read_text().strip()
        os.environ.update(cluster["environment"])
        ssh.write_client_config(cluster)
        state.say("waiting for the other ranks")
        reach(cluster, asked["start_s"])
        for operation in asked["operations"]:
            state.say(f"measuring {operation}")
            result["operations"][operation] = run(cluster, operation, asked)
            result["left_out"].remove(operation)
            state.replace(paths.STATE / RESULT, result)
            if result["operations"][operation]["timed_out"]:
                break  # what hangs once takes its limit each time
    except (RuntimeError, OSError, ValueError) as error:
        result["problem"] = str(error)
        state.say(result["problem"])
    state.replace(paths.STATE / RESULT, result)
    return contract.EXIT_FAILED if result["problem"] else 0


if __name__ == "__main__":
    sys.exit(main())
