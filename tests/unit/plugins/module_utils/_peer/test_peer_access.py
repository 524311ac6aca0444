# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorized keys, known hosts and command lines for a copy between Sparks."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import access, counters
from hypothesis import given
from hypothesis import strategies as st

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6WZb0P1Qf0m1bM4uJ0q3XbTq7C0m0r9cX0kq1Z8f3v"
SEND, BLOBS = Path("/c/send.py"), Path("/c/models--a--b/blobs")
LINES = [access.authorized_line(f"{KEY} somebody", "192.168.100.11", SEND, BLOBS, "a/b", 1e9)]


def test_an_authorized_key_can_do_one_thing() -> None:
    until = time.strftime("%Y%m%d%H%M%S", time.localtime(1e9))
    assert [
        f'restrict,expiry-time="{until}",from="192.168.100.11",command="/usr/bin/python3 -I /c/send.py '
        f'/c/models--a--b/blobs" {KEY} sparkops.dgx_spark.peer_copy:a/b\n'
    ] == LINES


def test_the_forced_command_quotes_its_directory() -> None:
    line = access.authorized_line(KEY, "::1", SEND, Path('/a "b"/c'), "a/b", 0)
    assert 'command="/usr/bin/python3 -I /c/send.py \'/a \\"b\\"/c\'"' in line


@pytest.mark.parametrize("key", ["", "ssh-ed25519", f"command=x {KEY}", f"{KEY}\n{KEY}", "ssh-dss AAAA"])
def test_refuses_what_is_no_key(key: str) -> None:
    with pytest.raises(access.CopyError, match="is no public key"):
        access.authorized_line(key, "192.168.100.11", SEND, BLOBS, "a/b", 0)


@pytest.mark.parametrize("address", ["*", "spark2", '1.2.3.4",command="sh', "10.0.0.0/8", "192.168.100.10/24", ""])
def test_refuses_what_is_no_address(address: str) -> None:
    with pytest.raises(access.CopyError, match="is no IP address"):
        access.authorized_line(KEY, address, SEND, BLOBS, "a/b", 0)


@pytest.mark.parametrize(
    "reason",
    [
        "ssh ended with 255 (kex_exchange_identification: read: Connection reset by peer)",  # OpenSSH 10.0 of Debian 13
        "ssh ended with 255 (Connection reset by 192.168.100.10 port 22)",
        "ssh ended with 255 (Connection closed by 192.168.100.10 port 22)",
        "ssh ended with 255 (Not allowed at this time)",
    ],
)
def test_an_sshd_that_turns_an_address_away_is_told_from_others(reason: str) -> None:
    assert "PerSourcePenalties" in access.turned_away(reason)
    assert access.final(reason, "192.168.100.10") == "", "it passes"
    assert access.turned_away("ssh ended with 255 (ssh: connect to host: Connection refused)") == ""


@given(st.text(alphabet="ab #\n\r"))
def test_without_our_lines_the_file_is_what_it_was(text: str) -> None:
    opened = access.with_lines(text, LINES, "a/b")
    assert opened == LINES[0] + text
    assert access.with_lines(opened, LINES, "a/b") == opened
    assert access.with_lines(opened, [], "a/bc") == opened
    assert access.with_lines(opened, [], "a/b") == text
    assert access.with_lines(LINES[0].replace("a/b", "image") + opened, [], None) == text, "all copies"


def test_ssh_takes_nothing_of_the_users() -> None:
    place = access.Place("/a b/%h", "a/b:1")
    how = access.Connection("fd00::1", 2222, "nvidia", 4, True)
    words = access.ssh_argv(place, how)
    key = "/a b/%%h/copy-a--b-1/id_ed25519"
    assert words[:10] == ["ssh", "-F", "none", "-T", "-i", key, "-p", "2222", "-l", "nvidia"]
    assert words[-2:] == ["--", "fd00::1"]
    options = dict(word.split("=", 1) for word in words[11:-2:2])
    assert options["UserKnownHostsFile"] == "/a b/%%h/copy-a--b-1/known_hosts"
    assert (options["StrictHostKeyChecking"], options["IdentityAgent"]) == ("yes", "none")
    assert options["Ciphers"].startswith("aes128-gcm@")
    assert access.known_hosts([KEY + " root@spark1"]) == f"{options['HostKeyAlias']} {KEY}\n"
    with pytest.raises(access.CopyError):
        access.ssh_argv(place, how._replace(user="-oProxyCommand=x"))


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("ssh ended with 255 (Host key verification failed.)", "1.1.1.1 is not the leader"),
        ("ssh ended with 255 (nvidia@1.1.1.1: Permission denied (publickey).)", "does not accept the key of this run"),
        ("ssh ended with 255 (Connection closed by 1.1.1.1 port 22)", ""),
        ("nothing came for 120 s", ""),
    ],
)
def test_what_another_attempt_would_meet_again(reason: str, says: str) -> None:
    told = access.final(reason, "1.1.1.1")
    assert says in told
    assert bool(told) is bool(says)


def test_what_interfaces_tell(tmp_path: Path) -> None:
    for name, received, speed in (("enp1s0f0np0", "123\n", "200000\n"), ("enP7s7", "9\n", "-1\n")):
        (tmp_path / name / "statistics").mkdir(parents=True)
        (tmp_path / name / "statistics" / "rx_bytes").write_text(received)
        (tmp_path / name / "speed").write_text(speed)
    assert counters.received(tmp_path) == {"enP7s7": 9, "enp1s0f0np0": 123}
    assert counters.link_speed("enp1s0f0np0", tmp_path) == 25e9
    assert counters.link_speed("enP7s7", tmp_path) is None
    assert counters.link_speed("wlan0", tmp_path) is None
    (tmp_path / "stat").write_text("cpu  10 1 5 100 20 1 2 0 0 0\ncpu0 1 1 1 1 1 1 1 1\n")
    assert counters.processor_time(tmp_path / "stat") == (19, 139)


def test_source_address() -> None:
    assert access.source_address("127.0.0.1", 22) == "127.0.0.1"
    with pytest.raises(access.CopyError, match=r"no way to nowhere\.invalid"):
        access.source_address("nowhere.invalid", 22)


@pytest.mark.parametrize("name", ["", "../x", "a/../b", "-x", "a b", "a\nb", "/etc"])
def test_refuses_a_name_that_leads_elsewhere(name: str) -> None:
    with pytest.raises(access.CopyError, match="names no copy"):
        access.Place("/top", name)


def test_how_the_leader_is_reached_is_noted_for_whatever_copies(tmp_path: Path) -> None:
    place, how = access.Place(tmp_path / "top", "a/b"), access.Connection("10.0.0.1", 22, "nvidia", 4, False)
    with pytest.raises(access.CopyError, match="there is no access to copy a/b"):
        place.connected()
    assert place.connect(how, [KEY], check_mode=True)
    assert not place.top.exists()
    assert place.connect(how, [KEY])
    assert not place.connect(how, [KEY])
    assert place.connected() == how
    assert place.known_hosts.read_text() == f"{access.ALIAS} {KEY}\n"
    assert place.folder.stat().st_mode & 0o777 == 0o700


def test_the_program_of_the_forced_command_needs_nothing_else(tmp_path: Path) -> None:
    sender, files = tmp_path / "send.py", tmp_path / "files"
    files.mkdir()
    (files / ("a" * 64)).write_bytes(b"content")
    sender.write_text(access.program())
    argv = [sys.executable, "-I", str(sender), str(files)]
    done = subprocess.run(argv, input=b"a" * 64 + b" 3\n", capture_output=True, check=True)
    assert done.stdout == b"7 0\ntent"
    assert "ansible" not in access.program().partition('"""')[2].partition('"""')[2], "the program stands alone"
