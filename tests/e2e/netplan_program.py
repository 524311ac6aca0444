# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run in a virtual Spark: what its netplan makes of sets of files, each in a directory that is removed again.

Reads a list of ``{files, links}`` as JSON, and prints for each ``rc``, ``err``, ``files`` (what the generator made, by
path) and ``means``: by netdev and ID what netplan's own library says, which reads the files without the generator.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

GENERATOR = "/usr/libexec/netplan/generate"


def means(root: str, links: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the library says of each ID that matches a link."""
    import netplan  # netplan.io brings it

    parser, state = netplan.Parser(), netplan.State()
    parser.load_yaml_hierarchy(root)
    state.import_parser_results(parser)
    found: dict[str, dict[str, Any]] = {}
    definitions = list(netplan.netdef.NetDefinitionIterator(state))
    for link in links:
        found[link["netdev"]] = {
            one.id: {
                "dhcp4": one.dhcp4,
                "dhcp6": one.dhcp6,
                "addresses": [str(address) for address in one.addresses],
                "routes": bool(list(one.routes)),
                "masters": sorted(one.links[kind].id for kind in ("bond", "bridge", "vrf") if kind in one.links),
                "uppers": sorted(other.id for other in definitions if other.links.get("vlan") == one),
                "name": one.set_name or "",
                "backend": one.backend,
            }
            for one in definitions
            if one.type == "ethernets" and one._match_interface(link["netdev"], link["driver"], link["mac"])
        }
    return found


def made(files: dict[str, str], links: list[dict[str, Any]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            copy = Path(root + path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text)
            copy.chmod(0o600)
        done = subprocess.run([GENERATOR, "--root-dir", root], capture_output=True, text=True, check=False)
        suffixes = ("network", "link", "nmconnection")
        written = {
            str(path)[len(root) :]: path.read_text() for end in suffixes for path in Path(root).rglob(f"*.{end}")
        }
        said = means(root, links) if links and not done.returncode else {}
        return {
            "rc": done.returncode,
            "err": done.stderr.replace(root, ""),
            "files": dict(sorted(written.items())),
            "means": said,
        }


if __name__ == "__main__":
    json.dump([made(**one) for one in json.load(sys.stdin)], sys.stdout)
