# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the leader's ssh and the workers' sshd are told, and what is said of a worker that fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from supervisor import memory, paths, ssh
from supervisor_support import CLUSTER


def test_ssh_trusts_only_what_is_pinned() -> None:
    config = ssh.client_config(CLUSTER)
    assert "StrictHostKeyChecking yes" in config
    assert "Host spark2\n  HostName 192.168.100.2\n  HostKeyAlias [192.168.100.2]:2233\n" in config
    assert "Port 2233" in config
    server = ssh.server_config(CLUSTER, CLUSTER["nodes"][1])
    assert "ListenAddress 192.168.100.2\n" in server
    assert "PasswordAuthentication no" in server


def test_what_is_kept_is_trusted_as_well_and_may_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a play tries another configuration, the ports and keys in its place may be others."""
    monkeypatch.setattr(paths, "CONFIG", tmp_path)
    monkeypatch.setenv("DGX_SPARK_CONFIG", "aaaa-1111")
    assert f"UserKnownHostsFile {tmp_path}/ssh/known_hosts\n" in ssh.client_config(CLUSTER)
    (tmp_path / "kept" / "aaaa-1111").mkdir(parents=True)
    both = f"{tmp_path}/kept/aaaa-1111/ssh/{{0}} {tmp_path}/ssh/{{0}}\n"
    assert f"UserKnownHostsFile {both.format('known_hosts')}" in ssh.client_config(CLUSTER)
    server = ssh.server_config(CLUSTER, CLUSTER["nodes"][1])
    assert f"AuthorizedKeysFile {both.format('authorized_keys')}" in server


@pytest.mark.parametrize(
    ("program", "exempt"),
    [
        ('grep -q PerSourcePenaltyExemptList "$3"', True),  # OpenSSH 9.8 and later
        ('! grep -q PerSourcePenaltyExemptList "$3"', False),  # 9.6, in images of Ubuntu 24.04
        ("exit 255", False),
        (None, False),
    ],
)
def test_the_leader_is_let_in_however_often_it_asked_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, exempt: bool
) -> None:
    """Debian 13's sshd resets the leader's connections for minutes after some failed keys or looks at the port."""
    sshd, config = tmp_path / "sshd", tmp_path / "sshd_config"
    if program is not None:
        sshd.write_text(f"#!/bin/sh\n{program}\n")
        sshd.chmod(0o755)
    monkeypatch.setattr(ssh, "SSHD", str(sshd))
    ssh.write_server_config(config, CLUSTER, CLUSTER["nodes"][1])
    plain = ssh.server_config(CLUSTER, CLUSTER["nodes"][1])
    assert config.read_text() == (f"{plain}PerSourcePenaltyExemptList 192.168.100.1\n" if exempt else plain)


def test_a_worker_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\necho $1 is ill >&2; exit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(RuntimeError, match="memory on spark2 failed: spark2 is ill"):
        memory.of_all(CLUSTER, {"name": "spark1", "meminfo": "/proc/meminfo"})


@pytest.mark.parametrize(
    ("says", "refused"),
    [
        ("echo aaaa-1111", ""),
        (
            "echo bbbb-2222",
            "started with the configuration bbbb-2222, and this one with aaaa-1111: a play is changing it",
        ),
        ("true", "started with the configuration of no name"),
        ("echo usage: entrypoint.py >&2; exit 2", "usage: entrypoint.py"),  # of an image before this word
        ("echo Connection refused >&2; exit 255", "Connection refused"),
    ],
)
def test_a_worker_of_another_configuration_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, refused: str
) -> None:
    (tmp_path / "ssh").write_text(
        f'#!/bin/sh\n[ "$*" = "spark2 python3 /opt/dgx-spark/entrypoint.py config" ] && {says}\n'
    )
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("DGX_SPARK_CONFIG", "aaaa-1111")
    found = ssh.refusal("spark2")
    assert refused in found
    assert bool(found) == bool(refused)
