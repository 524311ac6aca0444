# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the supervisor share."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Iterator

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


@contextlib.contextmanager
def metrics(answers: list[str], status: int = 200) -> Iterator[str]:
    """SIMULATED: an engine's /metrics, one answer after the other, the last one for ever."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write((answers.pop(0) if len(answers) > 1 else answers[0]).encode())

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
