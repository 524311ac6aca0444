# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How hf is started, and what its failures mean."""

from __future__ import annotations

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import client as hf_client
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile


def test_the_token_is_in_the_environment_and_not_on_the_command_line() -> None:
    files = [HashedFile("a[1].json", 1, git_sha1="1" * 40), HashedFile("-b", 1, git_sha1="1" * 40)]
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
        ("OSError: [Errno 30] Read-only file system: '/x'", "the disk is mounted read-only (OSError", True),
        ("RuntimeError: Read-only file system (os error 30)", "the disk is mounted read-only (RuntimeError", True),
        ("OSError: [Errno 122] Disk quota exceeded", "the quota is used up (OSError", True),
        ("RuntimeError: Disk quota exceeded (os error 122)", "the quota is used up (RuntimeError", True),
        ("Error: Client error '451 Unavailable For Legal Reasons' for url 'http://x'", "the hub refuses it", True),
        ("HfHubHTTPError: 451 Client Error: Unavailable For Legal Reasons for url: x", "the hub refuses it", True),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "the cache may not be written to (Perm", True),
        ("RuntimeError: Permission denied (os error 13)", "the cache may not be written to (Runtime", True),
        # From the second attempt on hf takes plain HTTP, which may be given.
        ("xet: Permission denied to CAS (403)", "xet: Permission denied to CAS (403)", False),
        ("RuntimeError: CAS: Permission denied, HTTP status 403 Forbidden", "RuntimeError: CAS: Permission", False),
        ("ConnectError: [Errno 2803] odd", "ConnectError: [Errno 2803] odd", False),
        ("ConnectError: [Errno 133] odd", "ConnectError: [Errno 133] odd", False),
    ],
)
def test_what_hfs_failures_mean(output: str, says: str, final: bool) -> None:
    reason, is_final = hf_client.failure(output)
    assert says in reason
    assert is_final is final
