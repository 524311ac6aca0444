# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On a worker, by the leader's ssh: end what an earlier run left."""

from __future__ import annotations

from . import memory, processes


def main() -> int:
    """End every process but sshd and this one's own line of parents, and make room."""
    kept = processes.parents()
    for entry in processes.entries():
        if int(entry.name) not in kept:
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it ended by itself
            if command and b"sshd" not in command.split(b"\0")[0]:
                processes.kill(entry)
    processes.forget_jobs()
    memory.drop_caches()
    return 0
