# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that the program is started with.

``leader``: wait for the workers, clear what an earlier run left on them, start the engine, check by a generated token
whether it serves, and end when it ends. ``worker``: run an sshd for the leader, nothing else. ``rank -- COMMAND``: give
a rank what differs from node to node, watch its node's memory, and become the command. ``reset``, ``memory``, ``rdma``,
``signs``, ``loaded``, ``name``, ``identity`` and ``config``: asked by the leader, on a worker. ``alert``: post one
message, for the leader. ``health``: read the state file, and nothing else.
"""

from __future__ import annotations

import importlib
import sys

from . import contract

#: module and function by word; a module is imported when its word is used, since Docker asks for health all the time
WORDS = {
    "leader": ("leader", "main"),
    "worker": ("worker", "main"),
    "reset": ("reset", "main"),
    "memory": ("memory", "main"),
    "rdma": ("rdma", "main"),
    "signs": ("progress", "main"),
    "loaded": ("progress", "loaded"),
    "name": ("rank", "print_name"),
    "identity": ("identity", "main"),
    "alert": ("webhook", "main"),
    "config": ("state", "print_config"),
    "health": ("state", "health"),
}


def main(arguments: list[str]) -> int:
    """Do what the word asks for; returns the exit status."""
    if arguments[:2] == ["rank", "--"] and len(arguments) > 2:
        from .rank import run

        return run(arguments[2:])
    if len(arguments) != 1 or arguments[0] not in WORDS:
        print(f"usage: entrypoint.py {'|'.join(WORDS)} or rank -- COMMAND", file=sys.stderr)
        return contract.EXIT_USAGE
    module, function = WORDS[arguments[0]]
    return int(getattr(importlib.import_module(f".{module}", __package__), function)())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
