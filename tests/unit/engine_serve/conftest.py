# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervisor is a package of the image, and no part of the collection's Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "roles" / "engine_serve" / "files" / "image"))


@pytest.fixture(autouse=True)
def ssh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The supervisor is root in its container, and may be root here: its ssh files must not become this machine's."""
    from supervisor import paths

    home = tmp_path / "root-ssh"
    monkeypatch.setattr(paths, "SSH_HOME", home)
    return home
