# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make both collections importable from a plain checkout, and be patient with a busy machine."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from hypothesis import settings

ROOT = Path(__file__).resolve().parent

# ansible-test installs its own finder: leave that one alone.
if AnsibleCollectionConfig.collection_finder is None:
    _AnsibleCollectionFinder(paths=[str(ROOT / "playbooks" / "collections"), *sys.path])._install()

# A slow example is the fault of a busy machine, not of what is tested; and one commit passes or fails each time alike.
settings.register_profile("patient", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=2000)
# In make test, and where the same examples were tried on another Python already.
settings.register_profile("brief", deadline=None, derandomize=True, max_examples=10)
settings.load_profile("patient")
