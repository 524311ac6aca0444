# SIMULATED: the host that stands for the internet in a lab of virtual Sparks.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start what this host offers, and end when any of it ends, so that Docker starts it again.

``docker-registry`` is the real one, behind the proxy that counts and fails; its certificate is the lab's own,
and is put where the Docker Engine of every virtual Spark looks for it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from virtual_internet import packages

REGISTRY = "nvcr.test"
ROOT = Path("/srv/virtual-internet")
TRUST = Path("/srv/trust")
PACKAGES = Path("/usr/share/virtual-spark/packages")
REGISTRY_CONFIG = """\
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: /srv/virtual-internet/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:5000", relativeurls: true}
"""


def certificate() -> tuple[Path, Path]:
    """Certificate and key for the registry, made once and kept with the lab."""
    cert, key = ROOT / "tls.crt", ROOT / "tls.key"
    if not cert.exists():
        os.umask(0o077)
        subprocess.run(
            ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-days", "3650", "-subj", f"/CN={REGISTRY} of a lab of virtual Sparks",
             "-addext", f"subjectAltName=DNS:{REGISTRY}",
             "-keyout", key, "-out", cert],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    os.umask(0o022)
    trusted = TRUST / REGISTRY / "ca.crt"
    trusted.parent.mkdir(exist_ok=True)
    shutil.copyfile(cert, trusted)
    return cert, key


def main() -> int:
    for directory in ("hub/models", "registry"):
        (ROOT / directory).mkdir(parents=True, exist_ok=True)
    cert, key = certificate()
    packages.publish(PACKAGES, ROOT / "apt", ROOT / "gnupg")
    config = ROOT / "registry.yml"
    config.write_text(REGISTRY_CONFIG)
    parts = [
        ["docker-registry", "serve", config],
        [sys.executable, "-m", "virtual_internet", "--root", ROOT, "--hub-port", "80", "--apt-port", "8090",
         "--control-port", "9000", "--registry-tls-port", "443", "--registry-upstream", "127.0.0.1:5000",
         "--tls-cert", cert, "--tls-key", key],
    ]  # fmt: skip
    children = [subprocess.Popen(part) for part in parts]

    def end(_signal: int, _frame: object) -> None:
        for child in children:
            child.terminate()

    signal.signal(signal.SIGTERM, end)
    ended, _status = os.wait()
    print(f"process {ended} ended: stopping the rest", file=sys.stderr, flush=True)
    end(0, None)
    return 1


if __name__ == "__main__":
    sys.exit(main())
