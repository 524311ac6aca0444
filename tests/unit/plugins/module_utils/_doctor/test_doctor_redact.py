# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looks like a secret goes out of a text, and what a reader needs stays. All secrets here are made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact
from hypothesis import given
from hypothesis import strategies as st

GONE = redact.GONE


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("token hf_" + "a1B2" * 8, "token hf_(redacted)"),
        ("x api_org_" + "a1B2" * 8, "x api_org_(redacted)"),
        ("x nvapi-" + "a1_-" * 8 + " y", "x nvapi-(redacted) y"),
        (
            "docker swarm join SWMTKN-1-" + "4x9-" * 8 + "z 10.0.0.1:2377",
            "docker swarm join SWMTKN-1-(redacted) 10.0.0.1:2377",
        ),
        ("key SWMKEY-1-" + "4x/+" * 8, "key SWMKEY-1-(redacted)"),
        ("ghp_" + "a" * 36, "ghp_(redacted)"),
        ("github_pat_" + "a" * 22 + "_" + "b" * 10, "github_pat_(redacted)"),
        ("sk-" + "a" * 20, "sk-(redacted)"),
        ("xoxb-" + "1" * 12, "xoxb-(redacted)"),
        ("AKIA" + "A" * 16, "AKIA(redacted)"),
        ("eyJhbGciOiJI.eyJzdWIi.abc_-d", GONE),
        ("post to https://hooks.slack.com/services/T0/B0/x", "post to https://hooks.slack.com/services/(redacted)"),
        ("https://discord.com/api/webhooks/1/ab-c", "https://discord.com/api/webhooks/(redacted)"),
        ("Authorization: Bearer abcdefgh", "Authorization: (redacted)"),
        ("proxy-authorization: Basic dXNlcjpwYXNz", "proxy-authorization: (redacted)"),
        ("{'Authorization': 'Bearer abcdefgh'}", "{'Authorization': '(redacted)'}"),
        ("curl -H Bearer abcdefgh", "curl -H Bearer (redacted)"),
        ("Cookie: a=b; c=d", "Cookie: (redacted)"),
        ("X-Registry-Auth: eyJ1c2Vy", "X-Registry-Auth: (redacted)"),
        ("http://me:pw@proxy:3128/x", "http://(redacted)@proxy:3128/x"),
        ("http://me:p@w/d@proxy:3128/x", "http://(redacted)@proxy:3128/x"),
        ("https://ghtoken@github.com/x", "https://(redacted)@github.com/x"),
        ("HF_TOKEN=abc def", "HF_TOKEN=(redacted) def"),
        ('export NGC_API_KEY="a b c"', "export NGC_API_KEY=(redacted)"),
        ("password: hunter2, user: x", "password: (redacted), user: x"),
        ('{"client_secret": "a\\"b", "x": 1}', '{"client_secret": (redacted), "x": 1}'),
        ("run --hf-token abc --port 3", "run --hf-token (redacted) --port 3"),
        ("run --api-key=abc", "run --api-key=(redacted)"),
        ("run --hf_token abc --port 3", "run --hf_token (redacted) --port 3"),
        ("args: {'api_key': ['Xq81m', 'b'], 'port': 8000}", "args: {'api_key': (redacted), 'port': 8000}"),
        ("args: api_key=['Xq81m', 'cut", "args: api_key=(redacted)"),
        ("argv ['--api-key', 'Xq81m', 'b', '--port', '1']", "argv ['--api-key', (redacted), '--port', '1']"),
        ('["--hf-token", "Xq81m"]', '["--hf-token", (redacted)]'),
        ("tokens=['api_key=Xq81m']", "tokens=['api_key=(redacted)']"),
        ("hmac_key = 0011ff", "hmac_key = (redacted)"),
        ('"auth": "dXNlcjpwYXNz"', '"auth": "(redacted)"'),
        ("root:$6$salt$abcdefghijk:1", "root:$6$(redacted):1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nx", f"{GONE}\nx"),
        ("a -----BEGIN PRIVATE KEY-----\nabc", f"a {GONE}"),
        ("b3BlbnNzaC1rZXktdjEAAAA", GONE),
    ],
)
def test_a_secret_goes_and_what_is_around_it_stays(said: str, left: str) -> None:
    assert redact.text(said) == left


@pytest.mark.parametrize(
    "said",
    [
        "max_num_tokens=32768",
        "kv_cache_tokens: 90000",
        "tokenizer: auto, TOKENIZERS_PARALLELISM=false",
        "first_token_s: 0.4",
        "['--tokenizer', 'auto', '--max-num-tokens', '5'], stop_token_ids: [1, 2]",
        "https://huggingface.co/openai/gpt-oss-20b",
        "https://nvcr.io:443/v2/x@sha256:0123",
        "NCCL INFO NET/IB : Using [0]rocep1s0f0:1/RoCE [RO]; OOB enp1s0f0np0:192.168.100.1<0>",
        "ibv_modify_qp failed with 61 No data available",
        "-----BEGIN CERTIFICATE-----",
        "Failed to authenticate: the key of spark2 is another",
        "ssh root@192.168.100.2",
        "name another cache (hf_cache_endpoint), or hf_cache_reserve_gb",
    ],
)
def test_what_is_no_secret_stays(said: str) -> None:
    assert redact.text(said) == said


@pytest.mark.parametrize(
    ("found", "left"),
    [
        ({"HF_TOKEN": "abc", "tokens": 3, "kv_tokens": "9"}, {"HF_TOKEN": GONE, "tokens": 3, "kv_tokens": "9"}),
        ({"a": [{"password": "x"}, ("hf_abcdefghijklmnopqr",)]}, {"a": [{"password": GONE}, ["hf_(redacted)"]]}),
        ({"secret": None, "token": "", "token_file": True}, {"secret": None, "token": "", "token_file": True}),
        ({"hf_abcdefghijklmnopqr": 1}, {"hf_(redacted)": 1}),
        (3.5, 3.5),
        ({"api_key": ["Xq81m", "", 3]}, {"api_key": [GONE, "", 3]}),
        ({"secrets": ["HF_TOKEN"], "tokens": ["a"]}, {"secrets": ["HF_TOKEN"], "tokens": ["a"]}),
        (["vllm", "--api-key", "Xq81m", "b", "--port", "1"], ["vllm", "--api-key", GONE, GONE, "--port", "1"]),
        (["--tokenizer", "auto", "-token", "--x", "y"], ["--tokenizer", "auto", "-token", "--x", "y"]),
    ],
)
def test_values_by_their_names(found: Any, left: Any) -> None:
    assert redact.value(found) == left


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_whatever_comes_stays_json_and_once_is_enough(found: Any) -> None:
    once = redact.value(found)
    json.dumps(once)
    assert redact.value(once) == once


@given(
    st.text(max_size=20),
    st.text(max_size=20),
    st.from_regex(
        r"hf_[A-Za-z0-9]{20,40}|nvapi-[A-Za-z0-9_-]{20,64}|SWMTKN-1-[a-z0-9]{20}-[a-z0-9]{25}", fullmatch=True
    ),
)
def test_no_token_stays_wherever_it_stands(before: str, after: str, secret: str) -> None:
    said = redact.text(f"{before} {secret} {after}")
    assert secret not in said
