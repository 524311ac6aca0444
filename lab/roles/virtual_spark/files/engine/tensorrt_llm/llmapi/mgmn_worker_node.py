# SIMULATED: stands in for TensorRT-LLM's mgmn_worker_node in a virtual Spark: a rank of MPI other than 0.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python3 -m tensorrt_llm.llmapi.mgmn_worker_node``, as the launcher calls it. It never sees the command line."""

from __future__ import annotations

import sys

from tensorrt_llm.simulation import faults, log
from tensorrt_llm.simulation.node import Node


def main() -> int:
    from tensorrt_llm.simulation.mpi import MpiLink

    faults.heed_sigterm()
    node = Node(MpiLink())
    node.follow()
    log.say(f"worker rank{node.rank} quited", "W", node.rank)
    return 0


if __name__ == "__main__":
    sys.exit(main())
