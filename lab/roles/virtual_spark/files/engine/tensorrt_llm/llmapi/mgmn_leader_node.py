# SIMULATED: stands in for TensorRT-LLM's mgmn_leader_node in a virtual Spark: rank 0 of MPI.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python3 -m tensorrt_llm.llmapi.mgmn_leader_node [--action start|stop]``, as the launcher calls it."""

from __future__ import annotations

import argparse
import os
import sys

from tensorrt_llm.simulation import faults, log, proxy
from tensorrt_llm.simulation.engine import lead
from tensorrt_llm.simulation.node import Node


def start() -> int:
    from tensorrt_llm.simulation.mpi import MpiLink

    faults.heed_sigterm()
    server = proxy.ProxyServer(*proxy.place(os.environ))
    node = Node(MpiLink())
    log.say(f"Starting MPI Comm Server with {node.size} workers (SIMULATED)", rank=node.rank)
    lead(node, server)
    log.say("MPI Comm Server stopped (SIMULATED)", rank=node.rank)
    return 0


def stop() -> int:
    try:
        proxy.ProxyClient(*proxy.place(os.environ), patience=5).call({"do": "stop"})
    except proxy.GoneError as error:
        log.say(f"the leader could not be told to stop: {error}", "W")
        return 1
    return 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("mgmn_leader_node", description="SIMULATED: rank 0 of MPI")
    parser.add_argument("--action", choices=["start", "stop"], default="start")
    return {"start": start, "stop": stop}[parser.parse_args(arguments).action]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
