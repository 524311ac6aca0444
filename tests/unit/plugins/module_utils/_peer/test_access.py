# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Doors, keys and command lines for copying a model, and how hf is started."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import client as hf_client
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import RepoFile
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import copy as peer_copy
from hypothesis import given
from hypothesis import strategies as st

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6WZb0P1Qf0m1bM4uJ0q3XbTq7C0m0r9cX0kq1Z8f3v"
SEND, BLOBS = Path("/c/send.py"), Path("/c/models--a--b/blobs")
LINES = [peer_copy.door_line(f"{KEY} somebody", "192.168.100.11", SEND, BLOBS, "a/b", 1e9)]


def test_a_door_lets_one_key_do_one_thing() -> None:
    until = time.strftime("%Y%m%d%H%M%S", time.localtime(1e9))
    assert [
        f'restrict,expiry-time="{until}",from="192.168.100.11",command="/usr/bin/python3 -I /c/send.py '
        f'/c/models--a--b/blobs" {KEY} sparkops.dgx_spark.hf_cache:a/b\n'
    ] == LINES


def test_a_door_quotes_its_directory() -> None:
    line = peer_copy.door_line(KEY, "::1", SEND, Path('/a "b"/c'), "a/b", 0)
    assert 'command="/usr/bin/python3 -I /c/send.py \'/a \\"b\\"/c\'"' in line


@pytest.mark.parametrize("key", ["", "ssh-ed25519", f"command=x {KEY}", f"{KEY}\n{KEY}", "ssh-dss AAAA"])
def test_refuses_what_is_no_key(key: str) -> None:
    with pytest.raises(peer_copy.CopyError, match="is no public key"):
        peer_copy.door_line(key, "192.168.100.11", SEND, BLOBS, "a/b", 0)


@pytest.mark.parametrize("address", ["*", "spark2", '1.2.3.4",command="sh', "10.0.0.0/8", ""])
def test_refuses_what_is_no_address(address: str) -> None:
    with pytest.raises(peer_copy.CopyError, match="is no IP address"):
        peer_copy.door_line(KEY, address, SEND, BLOBS, "a/b", 0)


@given(st.text(alphabet="ab #\n\r"))
def test_closing_the_door_restores_the_file(text: str) -> None:
    opened = peer_copy.with_doors(text, LINES, "a/b")
    assert opened == LINES[0] + text
    assert peer_copy.with_doors(opened, LINES, "a/b") == opened
    assert peer_copy.with_doors(opened, [], "a/bc") == opened
    assert peer_copy.with_doors(opened, [], "a/b") == text


def test_ssh_takes_nothing_of_the_users() -> None:
    words = peer_copy.ssh_argv(Path("/a b/key"), Path("/a b/%h"), "nvidia", "fd00::1", 2222)
    assert words[:10] == ["ssh", "-F", "none", "-T", "-i", "/a b/key", "-p", "2222", "-l", "nvidia"]
    assert words[-2:] == ["--", "fd00::1"]
    options = dict(word.split("=", 1) for word in words[11:-2:2])
    assert options["UserKnownHostsFile"] == "/a b/%%h"
    assert (options["StrictHostKeyChecking"], options["IdentityAgent"]) == ("yes", "none")
    assert options["Ciphers"].startswith("aes128-gcm@")
    assert peer_copy.known_hosts([KEY + " root@spark1"]) == f"{options['HostKeyAlias']} {KEY}\n"
    with pytest.raises(peer_copy.CopyError):
        peer_copy.ssh_argv(Path("k"), Path("h"), "-oProxyCommand=x", "10.0.0.1", 22)


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("ssh ended with 255 (Host key verification failed.)", "1.1.1.1 is not the leader"),
        ("ssh ended with 255 (nvidia@1.1.1.1: Permission denied (publickey).)", "does not let the run's key in"),
        ("ssh ended with 255 (Connection closed by 1.1.1.1 port 22)", ""),
        ("nothing came for 120 s", ""),
    ],
)
def test_what_another_attempt_would_meet_again(reason: str, says: str) -> None:
    told = peer_copy.final(reason, "1.1.1.1")
    assert says in told
    assert bool(told) is bool(says)


def test_what_interfaces_tell(tmp_path: Path) -> None:
    for name, received, speed in (("enp1s0f0np0", "123\n", "200000\n"), ("enP7s7", "9\n", "-1\n")):
        (tmp_path / name / "statistics").mkdir(parents=True)
        (tmp_path / name / "statistics" / "rx_bytes").write_text(received)
        (tmp_path / name / "speed").write_text(speed)
    assert peer_copy.received(tmp_path) == {"enP7s7": 9, "enp1s0f0np0": 123}
    assert peer_copy.link_speed("enp1s0f0np0", tmp_path) == 25e9
    assert peer_copy.link_speed("enP7s7", tmp_path) is None
    assert peer_copy.link_speed("wlan0", tmp_path) is None
    (tmp_path / "stat").write_text("cpu  10 1 5 100 20 1 2 0 0 0\ncpu0 1 1 1 1 1 1 1 1\n")
    assert peer_copy.processor_time(tmp_path / "stat") == (19, 139)


def test_source_address() -> None:
    assert peer_copy.source_address("127.0.0.1", 22) == "127.0.0.1"
    with pytest.raises(peer_copy.CopyError, match=r"no way to nowhere\.invalid"):
        peer_copy.source_address("nowhere.invalid", 22)


def test_the_token_is_in_the_environment_and_not_on_the_command_line() -> None:
    files = [RepoFile("a[1].json", 1, git_sha1="1" * 40), RepoFile("-b", 1, git_sha1="1" * 40)]
    argv = hf_client.hf_argv("/opt/hf", "a/b", "c" * 40, "/hub", files)
    assert argv == [
        "/opt/hf",
        "download",
        "--revision=" + "c" * 40,
        "--cache-dir=/hub",
        "--",
        "a/b",
        "a[[]1].json",
        "-b",
    ]
    assert hf_client.hf_argv("hf", "a/b", "c" * 40, "/hub", files[:1])[-1] == "a[1].json"
    with_token = hf_client.child_environment("/home/x", "http://hub/", "hf_secret")
    without = hf_client.child_environment("/home/x", "http://hub/", "")
    assert (with_token["HF_TOKEN"], with_token["HF_HUB_DISABLE_IMPLICIT_TOKEN"]) == ("hf_secret", "0")
    assert (without["HF_TOKEN"], without["HF_HUB_DISABLE_IMPLICIT_TOKEN"]) == ("", "1")
    assert without["HF_ENDPOINT"] == "http://hub"


@pytest.mark.parametrize(
    ("output", "says", "final"),
    [
        ("", "hf said nothing", False),
        (
            'Traceback (most recent call last):\n  File "x"\nConnectionResetError: reset\n\n',
            "ConnectionResetError",
            False,
        ),
        (
            "\x1b[31mError: OSError: [Errno 28] No space left on device\x1b[0m\n",
            "the disk is full (Error: OSError",
            True,
        ),
        ("Error: Client error '403 Forbidden' for url 'http://x'\nHint: log in", "the hub refuses it", True),
        ("Error: Server error '500 Internal'", "Server error '500", False),
    ],
)
def test_what_hfs_failures_mean(output: str, says: str, final: bool) -> None:
    reason, is_final = hf_client.failure(output)
    assert says in reason
    assert is_final is final
