# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's apt repository serves what lies there, counts it, and fails on request. apt itself is met end to end."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from virtual_internet_support import running


def fetch(port: int, path: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data=data, timeout=10) as reply:
        return reply.read()


def test_serves_counts_and_fails(tmp_path: Path) -> None:
    (tmp_path / "apt" / "stable").mkdir(parents=True)
    (tmp_path / "apt" / "stable" / "x.deb").write_bytes(b"package")
    (tmp_path / "secret").write_text("no")
    with running(tmp_path, apt_port=0) as lab:
        ports = lab.internet.ports
        assert fetch(ports["apt_port"], "/stable/x.deb") == b"package"
        for path in ("/stable/y.deb", "/stable", "/../secret", "/%2e%2e/secret"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                fetch(ports["apt_port"], path)
        stats = json.loads(fetch(ports["control_port"], "/stats"))["services"]["apt"]
        assert stats["paths"]["/stable/x.deb"]["bytes_sent"] == 7
        fault = {"service": "apt", "kind": "content", "match": "x.deb"}
        fetch(ports["control_port"], "/faults", json.dumps(fault).encode())
        assert fetch(ports["apt_port"], "/stable/x.deb") != b"package"


def test_there_is_none_unless_it_is_asked_for(tmp_path: Path) -> None:
    with running(tmp_path) as lab:
        assert "apt_port" not in lab.internet.ports
