# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ssh server is told and says."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import sshd


@pytest.mark.parametrize("root", sshd.ROOT_VALUES)
def test_the_drop_in_sets_what_is_asked_of_the_server(root: str) -> None:
    lines = [line.split() for line in sshd.drop_in(root).splitlines() if not line.startswith("#")]
    assert {name.lower(): value for name, value in lines} == sshd.settings(root)


@pytest.mark.skipif(not shutil.which("sshd", path="/usr/sbin:/usr/bin:/bin"), reason="no ssh server here")
@pytest.mark.parametrize("root", sshd.ROOT_VALUES)
def test_the_real_server_goes_by_the_drop_in(root: str, tmp_path: Path) -> None:
    key, config = tmp_path / "key", tmp_path / "sshd_config"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    config.write_text(f"{sshd.drop_in(root)}HostKey {key}\nPasswordAuthentication yes\n")
    server = shutil.which("sshd", path="/usr/sbin:/usr/bin:/bin")
    told = subprocess.run(
        [str(server), "-T", "-f", str(config), "-C", "user=root,host=a,addr=192.0.2.1"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "privilege separation" in told.stderr.lower():
        pytest.skip("the ssh server was never started here")
    assert sshd.differing(sshd.effective(told.stdout), sshd.settings(root)) == []


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", 0),
        ("# ssh-ed25519 AAAAC3Nz me\n", 0),
        ("ssh-ed25519 AAAAC3Nz me\nssh-rsa AAAAB3Nz\n\n", 2),
        ('command="echo # a",from="192.0.2.0/24" ecdsa-sha2-nistp256 AAAAE2Vj x\n', 1),
        ("sk-ssh-ed25519@openssh.com AAAAGnNr x\n", 1),
        ("ssh-ed25519\n", 0),
    ],
)
def test_keys_are_counted(text: str, keys: int) -> None:
    assert sshd.count_keys(text) == keys


def test_the_keys_of_a_user_are_where_the_server_looks(tmp_path: Path) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    (tmp_path / user).write_text("ssh-ed25519 AAAAC3Nz me\n")
    assert sshd.authorized_keys(user, {"authorizedkeysfile": f"{tmp_path}/%u none /nowhere/%%"}) == 1
    assert sshd.authorized_keys("nobody-of-that-name", {}) == 0


@pytest.mark.parametrize(
    ("config", "first"),
    [
        ("Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n", True),
        ("# Port 1\n\n  include /a.conf /etc/ssh/sshd_config.d/*.conf\n", True),
        ("Include /etc/other.conf\nInclude /etc/ssh/sshd_config.d/*.conf\n", True),
        ("PasswordAuthentication yes\nInclude /etc/ssh/sshd_config.d/*.conf\n", False),
        ("#Include /etc/ssh/sshd_config.d/*.conf\n", False),
        ("", False),
    ],
)
def test_whether_the_drop_ins_count_first(config: str, first: bool) -> None:
    assert sshd.includes_first(config) is first


def test_the_rollback_restores_and_removes(tmp_path: Path) -> None:
    """With the real shell, and a systemctl that notes that it was asked."""
    drop_in, previous, asked = tmp_path / "drop-in", tmp_path / "previous", tmp_path / "asked"
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    (tmp_path / "systemctl").chmod(0o755)
    script = sshd.rollback_script(str(drop_in), str(previous))
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for before in ("old\n", None):
        drop_in.write_text("new\n")
        if before is None:
            previous.unlink()
        else:
            previous.write_text(before)
        subprocess.run(["/bin/sh", "-c", script], env=environment, check=True)
        assert (drop_in.read_text() if drop_in.exists() else None) == before
    assert asked.read_text() == "try-reload-or-restart ssh.service\n" * 2
