# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's container: an sshd on the control address, by which the leader starts ranks and asks about the node."""

from __future__ import annotations

import json
import os
from pathlib import Path

from . import contract, network, paths, processes, ssh, state


def main() -> int:
    """Run sshd until it ends."""
    cluster, node, own = state.cluster(), state.node(), state.State()
    processes.end_by_sigterm()
    network.await_address(node["address"], own)
    network.await_port(f"{node['address']}:{cluster['ssh_port']}", own, reuse=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    paths.environment().write_text(json.dumps(dict(os.environ)))
    config = paths.RUN / "sshd_config"
    config.write_text(ssh.server_config(cluster, node))
    own.set(phase=contract.LISTENING, reason="", address=node["address"])
    sshd = os.spawnv(os.P_NOWAIT, "/usr/sbin/sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)])
    while os.wait()[0] != sshd:  # PID 1 reaps orphaned processes of ranks
        pass
    return contract.EXIT_FAILED  # an sshd's own status at SIGTERM differs from version to version
