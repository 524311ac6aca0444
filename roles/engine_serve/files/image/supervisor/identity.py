# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether all nodes are to serve the same: what an engine does not compare between its ranks by itself.

The arguments are equal, since the leader starts every rank, and so is the image, by the name of the configuration.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Mapping

from . import engines, ssh, state


def main() -> int:
    """Answer the leader's question, by ssh."""
    print(json.dumps(engines.of(state.cluster()).identity()))
    return 0


def check(cluster: Mapping[str, Any], own: Mapping[str, str]) -> None:
    """Compare every worker with the leader.

    :param own: the leader's own identity. :raises RuntimeError: naming the node and what differs, or that it is silent.
    """
    for member in cluster["nodes"][1:]:
        theirs = json.loads(ssh.on_worker(member, "identity", 60))
        for name, value in own.items():
            if theirs.get(name) != value:
                raise RuntimeError(
                    f"{member['name']} has another {name} than {cluster['nodes'][0]['name']}: "
                    f"{theirs.get(name) or 'none'} and {value or 'none'}; run the play again, which brings both to one"
                )


def of_folder(folder: Path) -> str:
    """12 hex digits over a model's files: their names and sizes, and of links into a cache what these name by hash.

    Empty where there is no such folder.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            target = path.readlink().name if path.is_symlink() else ""
            found.append([str(path.relative_to(folder)), path.stat().st_size, target])
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:12] if found else ""
