# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the supervisor share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

IMAGE = Path(__file__).parents[3] / "roles" / "engine_serve" / "files" / "image"
CLUSTER: dict[str, Any] = {
    "engine": {"name": "trtllm", "metrics_follow": False},
    "nodes": [{"name": "spark1", "address": "192.168.100.1"}, {"name": "spark2", "address": "192.168.100.2"}],
    "subnets": ["192.168.100.0/24"],
    "netdevs": ["enp1s0f0np0", "enp1s0f1np1"],
    "ssh_port": 2233,
    "serve": ["trtllm-serve", "/models/snapshots/abc"],
    "environment": {"HF_HUB_OFFLINE": "1"},
}
ONE = {**CLUSTER, "nodes": CLUSTER["nodes"][:1], "subnets": [], "netdevs": []}
NODE = {**CLUSTER, "name": "spark1", "address": "192.168.100.1", "limits": {}, "api_probe": ""}  # both files in one
LIMITS = {"failures": 3, "load_timeout_s": 1800, "stall_s": 600, "max_starts": 3}


def program(folder: Path, statement: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The supervisor in a process of its own that knows this folder alone; it runs a statement."""
    load = f"import sys, pathlib; sys.path.insert(0, {str(IMAGE)!r}); "
    load += "from supervisor import leader, paths, processes, rank, state; "
    load += f"paths.CONFIG = paths.STATE = paths.RUN = paths.SSH_HOME = pathlib.Path({str(folder)!r}); "
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([sys.executable, "-c", load + statement, *arguments], **pipes)
