# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's container: an sshd on the control address, by which the leader starts ranks and asks about the node."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Sequence

from . import contract, network, notice, paths, processes, rdma, ssh, state, verbs

LOOK = 1.0  # seconds between two looks at what has ended, and at the device nodes


def main() -> int:
    """Run sshd until it ends, or until the RoCE devices are others than those that this container was given."""
    cluster, node, own = state.cluster(), state.node(), state.State()
    wanted, port = rdma.needed(cluster, node), cluster["ssh_port"]
    processes.end_by_sigterm()
    network.await_address(node["address"], own, network.others(cluster, node))
    network.await_port(f"{node['address']}:{port}", own, reuse=True)
    if not rdma.await_devices(wanted, own, lambda words, seconds: notice.say(node["address"], port, words, seconds)):
        return contract.EXIT_FAILED
    Path("/run/sshd").mkdir(exist_ok=True)
    paths.environment().write_text(json.dumps(dict(os.environ)))
    config = paths.RUN / "sshd_config"
    ssh.write_server_config(config, cluster, node)
    own.set(phase=contract.LISTENING, reason=f"for {cluster['nodes'][0]['name']}, which leads", address=node["address"])
    sshd = os.spawnv(os.P_NOWAIT, ssh.SSHD, [ssh.SSHD, "-D", "-e", "-f", str(config)])
    return watch(sshd, wanted, own)


def watch(sshd: int, wanted: Sequence[str], own: state.State) -> int:
    """Look after an sshd. Returns the exit status: an sshd's own at SIGTERM differs from version to version."""
    while not has_ended(sshd):
        words = rdma.words_of(verbs.condition(wanted))
        if words:  # all that runs here ends with this process, the container's first
            rdma.end(own, words)
            break
        time.sleep(LOOK)
    return contract.EXIT_FAILED


def has_ended(child: int) -> bool:
    """Whether a process has ended; PID 1 reaps the orphaned processes of ranks on the way."""
    while True:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid in (0, child):
            return pid == child
