# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret is in an archive, wherever on a Spark it stood; and what a bug report needs is."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import bundle, judge, words
from doctor_cases import MEMBERS, NOW, damaged

#: none of them is real
SECRETS = {
    "a token of Hugging Face": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
    "a key of NGC": "nvapi-" + "Zz09_-AbCdEfGhIjKlMnOpQrStUvWxYz",
    "a join token": "SWMTKN-1-" + "49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c",
    "an unlock key": "SWMKEY-1-" + "7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8",
    "a token of GitHub": "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "a web token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "a password": "correct-horse-battery",
    "a password with signs": "p@ss/w:rd!9",
    "a hash": "$6$rounds=5000$saltsalt$" + "Ab1./" * 16,
    "what Ansible knows": "zyxwvut98",
    "a key like any word": "Xq81mSecretValue77",
}
KEY_BODY = "c2gtZWQyNTUxOQ"
KEY = f"""\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz
{KEY_BODY}
-----END OPENSSH PRIVATE KEY-----"""
PLANTED = {
    "spark1.read.host.command_line": f"quiet token={SECRETS['a token of Hugging Face']}",
    "spark1.read.containers.0.more.command": [
        "python3",
        "--hf-token",
        SECRETS["a token of Hugging Face"],
        f"--api-key={SECRETS['a password']}",
        "--api-key",
        SECRETS["a key like any word"],
    ],
    "spark1.read.docker.swarm.error": f"join with {SECRETS['a join token']} failed, {SECRETS['an unlock key']}",
    "spark1.read.serving.0.state": lambda old: {
        **old,
        "reason": f"http://admin:{SECRETS['a password with signs']}@proxy:3128/ refused",
        "hmac_key": SECRETS["a password"],
        "password": SECRETS["a password with signs"],
    },
    "spark1.read.daemon_json.problems": [
        f'"auth": "{SECRETS["a password"]}"',
        json.dumps({"NGC_API_KEY": SECRETS["a key of NGC"]}),
    ],
    "spark1.read.kernel_log": [f"x: mlx5_core password {SECRETS['a hash']}"],
    "spark1.read.logs": {
        "vllm": [
            f"Authorization: Bearer {SECRETS['a web token']}",
            f"authorization: Basic {SECRETS['a password']}",
            f"'HF_TOKEN': '{SECRETS['a token of Hugging Face']}'",
            f"NGC_API_KEY={SECRETS['a key of NGC']}",
            f"git clone https://x:{SECRETS['a token of GitHub']}@github.com/x",
            f"https://{SECRETS['a token of GitHub']}@github.com/x",
            f"X-Api-Key: {SECRETS['a password']}",
            f"Set-Cookie: session={SECRETS['a password']}; Path=/",
            f'export DB_PASSWORD="{SECRETS["a password with signs"]}"',
            *KEY.splitlines(),
            KEY.replace("\n", "\\n"),
            f"non-default args: {{'api_key': ['{SECRETS['a key like any word']}'], 'port': 8000}}",
            f"argv: {['--api-key', SECRETS['a key like any word']]}",
            f"the value {SECRETS['what Ansible knows']} stands alone",
            "pulled https://nvcr.io:443/v2/nvidia/tensorrt-llm@sha256:0123",
            "max_num_tokens=32768, kv_cache_tokens: 90000, tokenizer: auto",
            "NCCL INFO NET/IB : Using [0]rocep1s0f0:1/RoCE",
        ]
    },
    "spark2": {"why": f"ssh://me:{SECRETS['a password']}@10.0.0.2 timed out"},
}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    told = damaged(PLANTED)
    report = judge.judge(told, MEMBERS)
    document = words.document(report, MEMBERS, NOW, [])
    lines = [line for block in words.blocks(report, MEMBERS) for line in block.lines]
    made = bundle.archive(
        bundle.cleaned(
            bundle.files(told, document, lines, {"ansible_core": "2.19"}), [SECRETS["what Ansible knows"], "", "abc"]
        ),
        "doctor-x",
        NOW,
    )
    with tarfile.open(fileobj=io.BytesIO(made), mode="r:gz") as tar:
        found = {one.name: tar.extractfile(one) for one in tar.getmembers()}
        return {name: stream.read().decode() for name, stream in found.items() if stream}


def raw() -> str:
    return json.dumps(damaged(PLANTED), default=str)


@pytest.mark.parametrize("what", SECRETS)
def test_no_secret_is_in_it(texts: dict[str, str], what: str) -> None:
    secret = SECRETS[what]
    assert json.dumps(secret)[1:-1] in raw(), "it was planted"
    assert [name for name, text in texts.items() if secret in text or json.dumps(secret)[1:-1] in text] == []


def test_no_private_key_is_in_it(texts: dict[str, str]) -> None:
    assert KEY_BODY in raw()
    assert [name for name, text in texts.items() if KEY_BODY in text or "PRIVATE KEY" in text] == []


def test_no_part_of_a_secret_is_left(texts: dict[str, str]) -> None:
    """Not its second half either, as where an expression ends too soon."""
    halves = [secret[len(secret) // 2 :] for secret in SECRETS.values()]
    assert [half for half in halves for text in texts.values() if half in text] == []


def test_what_names_a_machine_is_unknown_and_equal_where_it_was(texts: dict[str, str]) -> None:
    everything = "".join(texts.values())
    for name in ("3c:6d:66:cc", "0" * 32):
        assert name not in everything
    assert "(machine " in everything


def test_what_a_bug_report_needs_is_in_it(texts: dict[str, str]) -> None:
    assert sorted(texts) == [
        "doctor-x/README.txt",
        "doctor-x/report.json",
        "doctor-x/report.txt",
        "doctor-x/spark1/facts.json",
        "doctor-x/spark1/logs/kernel.log",
        "doctor-x/spark1/logs/vllm.log",
        "doctor-x/spark2/facts.json",
        "doctor-x/versions.json",
    ]
    log = texts["doctor-x/spark1/logs/vllm.log"]
    assert "NCCL INFO NET/IB : Using [0]rocep1s0f0:1/RoCE" in log
    assert "pulled https://nvcr.io:443/v2/nvidia/tensorrt-llm@sha256:0123" in log
    assert "max_num_tokens=32768, kv_cache_tokens: 90000, tokenizer: auto" in log
    facts = json.loads(texts["doctor-x/spark1/facts.json"])
    assert facts["read"]["memory"]["total_mib"] == 122572
    assert facts["read"]["docker"]["version"] == "29.0.0"
    assert json.loads(texts["doctor-x/report.json"])["schema"] == 1
    assert "unreachable" in texts["doctor-x/report.txt"]


def test_names_of_hosts_lead_nowhere_else() -> None:
    files = bundle.files({"../../etc/x": {"read": {"logs": {"../y": ["z"]}}}}, {}, [], {})
    assert not [name for name in files if ".." in name.split("/")]


def test_an_archive_is_the_same_for_the_same() -> None:
    assert bundle.archive({"a": "b"}, "t", NOW) == bundle.archive({"a": "b"}, "t", NOW)
