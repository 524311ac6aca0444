# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the unit tests on the newest ansible-core, which needs a newer Python than the oldest one that is supported.

A Python of this machine serves, or else that of a virtual Spark's image, which Molecule and ``make lab`` build. Where
there is neither, this says so, and nothing has failed; ``--wait=SECONDS``, for a run beside what builds the image, is
for how long it is waited for, and that there is none then is a failure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".cache" / "newest"
NEEDS = ("-r", str(ROOT / "requirements-unit.txt"))
OLDEST = (3, 12)  # that ansible-core 2.20 runs on
IMAGES = "sparkops/virtual-spark"
RUN = ["docker", "run", "--rm", "--init", "--entrypoint=python3"]
ASK = "import sys; print('%d.%d' % sys.version_info[:2])"
TELL = "import ansible.release as a, sys; print('ansible-core', a.__version__, 'on Python', sys.version.split()[0])"
TESTS = ("-m", "pytest", "-q", "-n", "4", "--dist", "worksteal", "-p", "no:cacheprovider", "--hypothesis-profile=brief")
SETTINGS = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PYTHONDONTWRITEBYTECODE": "1"}


def own_python() -> str | None:
    """Return the newest Python of this machine that is new enough and can make environments."""
    for minor in range(19, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # A name on PATH may be a shim that leads nowhere.
        if (
            found
            and subprocess.run([found, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0
        ):
            return found
    return None


def image() -> tuple[str, str] | None:
    """Return a virtual Spark's image and its Python's version."""
    if not shutil.which("docker"):
        return None
    found = subprocess.run(["docker", "image", "ls", "--quiet", IMAGES], capture_output=True, text=True, check=False)
    for name in found.stdout.split():
        asked = subprocess.run([*RUN, "--network=none", name, "-c", ASK], capture_output=True, text=True, check=False)
        version = asked.stdout.strip()
        if asked.returncode == 0 and tuple(map(int, version.split("."))) >= OLDEST:
            return name, version
    return None


def pip(python: str, *options: str) -> None:
    """Install what the unit tests need, and the newest ansible-core."""
    argv = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-conflicts", *options]
    subprocess.run([*argv, "ansible-core>=2.20", *NEEDS], check=True)


def by_own_python(python: str, tests: list[str]) -> int:
    """Run them in an environment of that Python."""
    subprocess.run([python, "-m", "venv", "--clear", PLACE], check=True)
    pip(str(PLACE / "bin" / "python"))
    own = {**os.environ, **SETTINGS, "PATH": f"{PLACE / 'bin'}:{os.environ['PATH']}"}
    subprocess.run([PLACE / "bin" / "python", "-c", TELL], check=True)
    return subprocess.run([PLACE / "bin" / "python", *TESTS, *tests], cwd=ROOT, env=own, check=False).returncode


def in_image(name: str, version: str, tests: list[str]) -> int:
    """Run them in a container, with packages that this machine's pip brought for the container's Python."""
    shutil.rmtree(PLACE, ignore_errors=True)
    # pip minds its own Python where it resolves, whatever it is told: the version is ours to see to.
    pip(
        sys.executable, "--target", str(PLACE), "--python-version", version, "--only-binary=:all:",
        "--ignore-requires-python",
    )  # fmt: skip
    inside = {**SETTINGS, "PYTHONPATH": str(PLACE), "HOME": "/tmp", "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis"}
    argv = [*RUN, f"--volume={ROOT}:{ROOT}:ro", f"--workdir={ROOT}"]
    argv += [f"--env={key}={value}" for key, value in inside.items()]
    subprocess.run([*argv, name, "-c", TELL], check=True)
    return subprocess.run([*argv, name, *TESTS, *tests], check=False).returncode


def main() -> int:
    """Run them one way or another; returns pytest's status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wait", type=int, default=0, metavar="SECONDS", help="for an image that is being built")
    parser.add_argument("tests", nargs="+")
    asked = parser.parse_args()
    python = own_python()
    if python:
        return by_own_python(python, asked.tests)
    until = time.monotonic() + asked.wait
    found = image()
    while not found and time.monotonic() < until:
        time.sleep(5)
        found = image()
    if found:
        return in_image(*found, asked.tests)
    outcome = "FAILED" if asked.wait else "SKIPPED"
    print(
        f"{outcome}: the newest ansible-core needs Python 3.12 or newer. This machine has none, "
        f"and no image {IMAGES}, which has one: make lab-up builds it."
    )
    return 1 if asked.wait else 0


if __name__ == "__main__":
    sys.exit(main())
