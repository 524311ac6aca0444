# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A port that is taken is refused by name; one that is free, or our own, is not."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import tcp_port_info


def run(capsys: pytest.CaptureFixture, **arguments: object) -> dict:
    """Run the module in this process."""
    with patch_module_args(arguments), pytest.raises(SystemExit):
        tcp_port_info.main()
    return json.loads(capsys.readouterr().out)


def test_names_who_has_it_and_is_content_when_nobody_has(capsys: pytest.CaptureFixture) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        said = run(capsys, address="127.0.0.1", port=port)
        name = Path("/proc/self/comm").read_text().strip()
        assert said["failed"]
        assert f"port {port} of 127.0.0.1 is taken by {name} (process {os.getpid()}" in said["msg"]
    said = run(capsys, address="127.0.0.1", port=port)
    assert (said["changed"], said["holders"]) == (False, [])


def test_what_is_no_address_is_said(capsys: pytest.CaptureFixture) -> None:
    said = run(capsys, address="spark1.example.org", port=8355)
    assert said["failed"]
    assert "spark1.example.org" in said["msg"]
