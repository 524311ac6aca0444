# SIMULATED: part of the lab's stand-in for the internet. The repository's format and signature are real.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An apt repository, flat as NVIDIA's own for its container toolkit, with packages of the lab's own making.

libnvidia-container/gpgkey                      the key that signs it, made anew for each lab
libnvidia-container/stable/deb/<architecture>/  Packages, InRelease and the packages themselves
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from .http_server import Handler, Server

KEY_NAME = "SIMULATED packages of a lab of virtual Sparks"


class PackagesServer(Server):
    """The repository's port. `directory` is what it serves."""

    def __init__(self, *args: Any, directory: Path, **more: Any) -> None:
        self.directory = directory.resolve()
        super().__init__(*args, **more)


class PackagesHandler(Handler):
    """One connection of apt."""

    service = "apt"
    server: PackagesServer

    def respond(self) -> None:
        """Send a file; they are small."""
        path = (self.server.directory / self.seen.path.lstrip("/")).resolve()
        if self.command not in ("GET", "HEAD") or self.server.directory not in path.parents or not path.is_file():
            self.send_payload(404, b"not found\n", "text/plain; charset=utf-8")
            return
        self.send_payload(200, path.read_bytes(), "application/octet-stream")


def publish(packages: Path, directory: Path, keys: Path) -> None:
    """Make a signed repository below ``directory`` of the packages in a directory, unless it is there."""
    key = directory / "libnvidia-container" / "gpgkey"
    if key.exists():
        return
    gpg = ["gpg", "--batch", "--quiet", "--homedir", str(keys)]
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run([*gpg, "--passphrase", "", "--quick-generate-key", KEY_NAME, "default", "sign", "0"], check=True)
    architecture = _output(["dpkg", "--print-architecture"]).decode().strip()
    place = key.parent / "stable" / "deb" / architecture
    place.mkdir(parents=True, exist_ok=True)
    for package in sorted(packages.glob("*.deb")):
        shutil.copyfile(package, place / package.name)
    (place / "Packages").write_bytes(_output(["apt-ftparchive", "packages", "."], place))
    release = _output(["apt-ftparchive", "release", "."], place)
    (place / "InRelease").write_bytes(_output([*gpg, "--clearsign"], given=release))
    key.write_bytes(_output([*gpg, "--armor", "--export"]))  # last: what is there is whole


def _output(argv: list[str], cwd: Path | None = None, given: bytes | None = None) -> bytes:
    return subprocess.run(argv, cwd=cwd, input=given, stdout=subprocess.PIPE, check=True).stdout
