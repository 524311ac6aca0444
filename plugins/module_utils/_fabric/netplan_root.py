# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask netplan's generator, over copies of its files in a directory that is removed again. Nothing on the host changes.

This module util is private to the collection.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Sequence

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

PLACES = ("/lib/netplan", "/etc/netplan", "/run/netplan")  # a file hides one of the same name in a place before it
# The program behind 'netplan generate', which itself would have systemd read all its units again. From netplan 1.2 on
# 'configure' writes for the renderers, and 'generate' for systemd alone.
GENERATORS = (
    "/usr/libexec/netplan/configure",
    "/usr/libexec/netplan/generate",
    "/usr/lib/netplan/generate",
    "/lib/netplan/generate",
)


class Answer(NamedTuple):
    """What the generator made of the files."""

    files: dict[str, str]  # by path, all that it wrote
    problem: str  # why it refused the files, empty where it did not
    rc: int
    out: str
    err: str


def ask(
    module: AnsibleModule,
    own: Path,
    content: str,
    places: Sequence[str] = PLACES,
    generators: Sequence[str] = GENERATORS,
) -> Answer:
    """Return what netplan makes of its files with this content of the fabric's own file.

    :raises FileNotFoundError: where there is no netplan.
    """
    netplan = module.get_bin_path("netplan")
    generator = next(([path] for path in generators if Path(path).exists()), [netplan or "", "generate"])
    if netplan is None:
        raise FileNotFoundError("netplan is not there: install netplan.io, which DGX OS has from the start")
    with tempfile.TemporaryDirectory(prefix="fabric-netplan-") as root:
        for place in map(Path, places):
            copy = Path(root, *place.parts[1:])
            copy.mkdir(parents=True, exist_ok=True)
            for source in place.glob("*.yaml"):
                if source.is_file():
                    shutil.copy2(source, copy / source.name)
        candidate = Path(root, *own.parts[1:])
        candidate.parent.mkdir(parents=True, exist_ok=True)
        candidate.write_text(content, encoding="utf-8")
        candidate.chmod(0o600)
        rc, out, err = module.run_command([*generator, "--root-dir", root])
        # Its warnings, about a file's mode for example, would hide the reason of the failure.
        said = [line for line in (err or out).replace(root, "").splitlines() if line.strip() and "WARNING" not in line]
        made = [path for suffix in ("network", "link", "nmconnection") for path in Path(root).rglob(f"*.{suffix}")]
        files = {str(path)[len(root) :]: path.read_text(encoding="utf-8", errors="replace") for path in made}
    return Answer(files, ("\n".join(said) or f"exit status {rc}") if rc else "", rc, out, err)
