# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the lab's "internet": starts, says where it listens, and ends cleanly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from virtual_internet.__main__ import main, parse
from virtual_internet_support import PACKAGE_PARENT, ask, write_repo

RANDOM_PORTS = ["--hub-port", "0", "--cdn-port", "0", "--control-port", "0", "--bind", "127.0.0.1"]


def test_starts_and_ends(tmp_path: Path) -> None:
    write_repo(tmp_path, "lab/tiny", {"config.json": b"{}"})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(5)
        process = subprocess.Popen(
            [sys.executable, "-m", "virtual_internet", "--root", str(tmp_path), *RANDOM_PORTS],
            cwd=PACKAGE_PARENT,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            ports = json.loads(process.stdout.readline())
            assert set(ports) == {"hub_port", "cdn_port", "control_port"}
            assert notified.recv(100) == b"READY=1"
            url = f"http://127.0.0.1:{ports['hub_port']}/api/models/lab/tiny?token=secret"
            assert ask(url, headers={"Authorization": "Bearer hf_secret"}).status == 401
            process.send_signal(signal.SIGTERM)
            _out, log = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "127.0.0.1 GET /api/models/lab/tiny 401" in log
    assert "secret" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--root"),
        (["--root", "/nonexistent"], "/nonexistent is not a directory"),
        (["--root", "/", "--registry-upstream", "5000"], "'5000' is not host:port"),
        (["--root", "/", "--registry-upstream", "127.0.0.1:5000"], "needs --tls-cert and --tls-key"),
    ],
)
def test_bad_command_lines(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ["--root", str(tmp_path), *RANDOM_PORTS, "--control-port", port]
        assert main(arguments) == 1
    assert "Address already in use" in capsys.readouterr().err


def test_every_file_says_that_it_is_simulated() -> None:
    for file in PACKAGE_PARENT.rglob("*.py"):
        assert file.read_text().startswith("# SIMULATED: ")
