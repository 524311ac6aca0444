# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand in for the pip bootstrap script that ansible-test downloads, which a package mirror does not carry."""

from __future__ import annotations

import subprocess
import sys

wanted = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
# As a program, because ensurepip as a library switches the user's pip configuration off.
subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *wanted]))
