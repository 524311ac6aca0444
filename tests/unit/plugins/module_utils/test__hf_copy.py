# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Doors, keys and command lines for copying a model, and how hf is started."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils import _hf_client, _hf_copy
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf_hub import RepoFile
from hypothesis import given
from hypothesis import strategies as st

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6WZb0P1Qf0m1bM4uJ0q3XbTq7C0m0r9cX0kq1Z8f3v"
LINES = [_hf_copy.door_line(f"{KEY} somebody", "192.168.100.11", "/usr/bin/rrsync", "/c/models--a--b", "a/b", 1e9)]


def test_a_door_lets_one_key_do_one_thing() -> None:
    until = time.strftime("%Y%m%d%H%M%S", time.localtime(1e9))
    assert [
        f'restrict,expiry-time="{until}",from="192.168.100.11",command="/usr/bin/rrsync -ro /c/models--a--b" '
        f"{KEY} sparkops.dgx_spark.hf_cache:a/b\n"
    ] == LINES


def test_a_door_quotes_its_directory() -> None:
    line = _hf_copy.door_line(KEY, "::1", "rrsync", '/a "b"/c', "a/b", 0)
    assert 'command="rrsync -ro \'/a \\"b\\"/c\'"' in line


@pytest.mark.parametrize("key", ["", "ssh-ed25519", f"command=x {KEY}", f"{KEY}\n{KEY}", "ssh-dss AAAA"])
def test_refuses_what_is_no_key(key: str) -> None:
    with pytest.raises(_hf_copy.CopyError, match="is no public key"):
        _hf_copy.door_line(key, "192.168.100.11", "rrsync", "/c", "a/b", 0)


@pytest.mark.parametrize("address", ["*", "spark2", '1.2.3.4",command="sh', "10.0.0.0/8", ""])
def test_refuses_what_is_no_address(address: str) -> None:
    with pytest.raises(_hf_copy.CopyError, match="is no IP address"):
        _hf_copy.door_line(KEY, address, "rrsync", "/c", "a/b", 0)


@given(st.text(alphabet="ab #\n\r"))
def test_closing_the_door_restores_the_file(text: str) -> None:
    opened = _hf_copy.with_doors(text, LINES, "a/b")
    assert opened == LINES[0] + text
    assert _hf_copy.with_doors(opened, LINES, "a/b") == opened
    assert _hf_copy.with_doors(opened, [], "a/bc") == opened
    assert _hf_copy.with_doors(opened, [], "a/b") == text


def test_ssh_takes_nothing_of_the_users() -> None:
    words = shlex.split(_hf_copy.ssh_command(Path("/a b/key"), Path("/a b/%h"), 2222))
    assert words[:7] == ["ssh", "-F", "none", "-i", "/a b/key", "-p", "2222"]
    options = dict(word.split("=", 1) for word in words[8::2])
    assert options["UserKnownHostsFile"] == "/a b/%%h"
    assert (options["StrictHostKeyChecking"], options["IdentityAgent"]) == ("yes", "none")
    assert _hf_copy.known_hosts([KEY + " root@spark1"]) == f"{options['HostKeyAlias']} {KEY}\n"


def test_rsync_is_given_names_on_its_input() -> None:
    argv = _hf_copy.rsync_argv("rsync", "ssh", "nvidia", "fd00::1", "/c/models--a--b")
    assert argv[-2:] == ["nvidia@[fd00::1]:.", "/c/models--a--b/"]
    assert "--files-from=-" in argv
    with pytest.raises(_hf_copy.CopyError):
        _hf_copy.rsync_argv("rsync", "ssh", "-oProxyCommand=x", "10.0.0.1", "/c")


@pytest.mark.parametrize(
    ("rc", "output", "says", "final"),
    [
        (11, "rsync: [receiver] write failed on x: No space left on device (28)\n", "the disk is full", True),
        (255, "Host key verification failed.\nrsync error: x", "is not the leader", True),
        (255, "nvidia@1.1.1.1: Permission denied (publickey).", "does not let the run's key in", True),
        (255, "Connection closed by 1.1.1.1 port 22", "ended with 255 (Connection closed", False),
        (30, "rsync error: timeout in data send/receive (code 30)", "ended with 30 (no message)", False),
        (1, "rsync: --x: unknown option", "ended with 1", True),
    ],
)
def test_what_rsyncs_failures_mean(rc: int, output: str, says: str, final: bool) -> None:
    reason, is_final = _hf_copy.failure(rc, output, "1.1.1.1")
    assert says in reason
    assert is_final is final


def test_source_address() -> None:
    assert _hf_copy.source_address("127.0.0.1", 22) == "127.0.0.1"
    with pytest.raises(_hf_copy.CopyError, match=r"no way to nowhere\.invalid"):
        _hf_copy.source_address("nowhere.invalid", 22)


def test_the_token_is_in_the_environment_and_not_on_the_command_line() -> None:
    files = [RepoFile("a[1].json", 1, git_sha1="1" * 40), RepoFile("-b", 1, git_sha1="1" * 40)]
    argv = _hf_client.hf_argv("/opt/hf", "a/b", "c" * 40, "/hub", files)
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
    assert _hf_client.hf_argv("hf", "a/b", "c" * 40, "/hub", files[:1])[-1] == "a[1].json"
    with_token = _hf_client.child_environment("/home/x", "http://hub/", "hf_secret")
    without = _hf_client.child_environment("/home/x", "http://hub/", "")
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
    reason, is_final = _hf_client.failure(output)
    assert says in reason
    assert is_final is final
