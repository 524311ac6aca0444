# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HAProxy is told: no other route, no other spelling, and the order in which a request is looked at."""

from __future__ import annotations

import dataclasses
import doctest
import json
import re
import shlex

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import admin, certificate, config, layout, log
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.config import Settings
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from hypothesis import given
from hypothesis import strategies as st

SETTINGS = Settings(
    layout=Layout(),
    exposure=config.KEY,
    address="0.0.0.0",
    port=443,
    certificate=config.CA,
    engine="127.0.0.1:8355",
    state_file="/var/lib/dgx-spark/trtllm/state.json",
    model="openai/gpt-oss-20b",
)


def lines(**changed: object) -> list[str]:
    return [line.strip() for line in config.haproxy(dataclasses.replace(SETTINGS, **changed)).splitlines()]  # type: ignore[arg-type]


def returned(line: str) -> tuple[int, dict[str, object]]:
    """The status and the JSON of a line that answers."""
    words = shlex.split(line)
    kind = "lf-string" if "lf-string" in words else "string"
    return int(words[words.index("status") + 1]), json.loads(words[words.index(kind) + 1])


@pytest.mark.parametrize("module", [admin, certificate, config, layout, log])
def test_examples(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_tokens_are_passed_on_at_once_and_a_client_that_leaves_is_told_of() -> None:
    assert {"option http-no-delay", "option abortonclose", "retries 0"} <= set(lines())


def test_a_request_goes_over_no_connection_that_an_engine_is_about_to_leave() -> None:
    """HAProxy 2.6 was seen to leave a client without an answer where an engine did so at the same moment."""
    text = lines()
    assert text.index("option http-server-close") > text.index("backend engine")


def test_whole_paths_are_compared_and_nothing_else_gets_on() -> None:
    acls = [line for line in lines() if line.startswith("acl") and " path " in line]
    assert [line.split(" -m ")[1].split()[0] for line in acls] == ["str", "str", "str"]
    (unknown,) = (line for line in lines() if "unknown_url" in line)
    assert unknown.endswith("unless health or models or generates")
    order = [line for line in lines() if line.startswith("http-request")]
    assert order.index(unknown) < next(index for index, line in enumerate(order) if "http_auth_bearer" in line)


def test_a_key_comes_before_what_costs_or_tells_something() -> None:
    rules = [line for line in lines() if line.startswith("http-request")]
    key = max(index for index, line in enumerate(rules) if "invalid_api_key" in line)
    for what in ("engine_reason", "max_model_len", "wait-for-body", "track-sc0", '"object": "list"'):
        assert all(index > key for index, line in enumerate(rules) if what in line), what


def test_an_open_gateway_knows_no_key_and_tells_no_reason() -> None:
    text = "\n".join(lines(exposure=config.OPEN))
    assert "http_auth_bearer" not in text
    assert "engine_reason" not in text
    assert "track-sc0" in text


def test_every_refusal_is_json_that_openais_clients_read() -> None:
    answers = [returned(line) for line in lines() if "lf-string" in line]
    assert {status for status, _said in answers} == {400, 401, 403, 404, 405, 408, 411, 413, 429, 500, 502, 503, 504}
    for status, said in answers:
        error = said["error"]
        assert isinstance(error, dict)
        assert set(error) == {"message", "type", "param", "code"}, status
        assert all(isinstance(error[name], str) and error[name] for name in ("message", "code", "type")), status


def test_who_is_to_come_again_is_told_when() -> None:
    for line in lines():
        if "lf-string" in line and returned(line)[0] in (429, 502, 503, 504):
            assert "hdr Retry-After" in line


def test_the_engine_gets_neither_key_nor_cookie_nor_query() -> None:
    text = lines()
    for name in ("authorization", "cookie", "upgrade"):
        assert f"http-request del-header {name}" in text
    assert "http-request set-uri %[path]" in text


def test_the_log_has_nothing_of_headers_and_bodies() -> None:
    (line,) = (line for line in lines() if line.startswith("log-format"))
    assert not re.search(r"req\.|res\.|hdr|body|capture|%hr|%HU|%r\b|query", line)
    # What a line looks like when HAProxy knows nothing of a request.
    words = shlex.split(line)[1]
    told = re.sub(r"%\[[^]]*\]|%[A-Za-z]+", "0", words)
    assert set(json.loads(told)) == set(config.LOG)


def test_without_tls_no_certificate_is_named_and_ipv6_is_in_brackets() -> None:
    (bind,) = (line for line in lines(certificate=config.NONE, address="::1") if line.startswith("bind"))
    assert bind == "bind [::1]:443"
    (bind,) = (line for line in lines() if line.startswith("bind"))
    assert bind == "bind 0.0.0.0:443 ssl crt /etc/dgx-spark/gateway/tls/server.pem alpn h2,http/1.1"


def test_models_are_listed_by_the_alias_first_and_with_their_context() -> None:
    listed = json.loads(config.model_list(dataclasses.replace(SETTINGS, alias="chat", context=4096)))
    assert [(one["id"], one["max_model_len"]) for one in listed["data"]] == [("chat", 4096), (SETTINGS.model, 4096)]
    assert "max_model_len" not in config.model_list(SETTINGS)
    assert dataclasses.replace(SETTINGS, alias=SETTINGS.model).names == [SETTINGS.model]


def test_a_client_may_use_a_model_by_any_of_its_names() -> None:
    (acl,) = (line for line in lines(alias="chat") if line.startswith("acl allowed"))
    assert acl == "acl allowed var(txn.models) -m sub ,chat, ,openai/gpt-oss-20b,"


def test_what_is_read_by_the_running_one_is_told_by_its_description() -> None:
    one, other = config.haproxy(SETTINGS), config.haproxy(SETTINGS, "another program")
    assert config.told_digest(one) != config.told_digest(other)
    assert one.replace(config.told_digest(one), "") == other.replace(config.told_digest(other), "")
    assert config.told_digest("global\n") == ""


def test_the_unit_says_nothing_of_the_configuration() -> None:
    assert config.unit(Layout("vlm")).count("gateway-vlm") >= 4
    assert "/etc/haproxy" not in config.unit(Layout())


@given(st.text(alphabet=st.characters(exclude_characters="\n\0", codec="ascii")))
def test_a_quoted_text_is_one_word(text: str) -> None:
    assert shlex.split(config.quoted(text)) == [text]


LINE = {
    **{"at": 100.5, "client": "alice", "from": "10.0.0.9", "method": "POST", "path": "/v1/completions", "status": 200},
    **{"model": "a/b", "prompt_tokens": "7", "tokens": "30", "events": "31", "ttft_ms": "12", "ms": 900, "bytes": 5000},
    "end": "--",
}


def logged(**changed: object) -> str:
    return json.dumps({**LINE, **changed})


def test_use_is_told_by_client_for_the_last_hour_and_when_last() -> None:
    entries = log.parse(
        [
            "[NOTICE] (1) : Loading success.",
            logged(at=1.0),
            logged(at=5000.0, ttft_ms="20"),
            logged(at=5001.0, tokens="-1", ttft_ms="40"),
            logged(at=5002.0, status=429, tokens="-1", events="-1", ttft_ms="-1", end="LR"),
            logged(at=5003.0, status=503, tokens="-1", events="-1", ttft_ms="-1", end="LR"),
            logged(at=5004.0, end="SD", tokens="-1", events="3"),
            logged(at=5004.5, end="CD", tokens="-1", events="4"),
            logged(at=10.0, client="bob"),
            logged(client="-", status=400, tokens="-", at=5005.0),
            logged()[:-5],
        ]
    )
    told = log.by_client(entries, now=5100.0)
    assert set(told) == {"-", "alice", "bob"}
    unknown = dict.fromkeys(("prompt_tokens", "tokens", "ttft_ms", "slowest_ttft_ms"))
    assert told["bob"] == {**dict.fromkeys(told["bob"], 0), "last_at": 10.0, **unknown}
    assert told["alice"] == {
        **{"last_at": 5004.5, "requests": 6, "refused": 1, "failed": 1, "cut": 1, "left": 1},
        **{"prompt_tokens": 42, "tokens": 30 + 31 + 3 + 4, "ttft_ms": 20, "slowest_ttft_ms": 40},
    }


def test_tokens_that_nobody_counted_are_none_and_not_0() -> None:
    entries = log.parse([logged(at=90.0, tokens="-1", events="0", prompt_tokens="-1")])
    told = log.by_client(entries, now=100.0)["alice"]
    assert (told["requests"], told["tokens"], told["prompt_tokens"]) == (1, None, None)


@given(
    st.lists(
        st.text() | st.dictionaries(st.sampled_from(sorted(LINE)), st.none() | st.floats() | st.text()).map(json.dumps)
    )
)
def test_whatever_is_in_the_journal_is_left_out_or_counted(some: list[str]) -> None:
    log.by_client(log.parse(some), 100.0)


class Haproxy:
    """Answers as the admin socket of HAProxy 3.0.11 does."""

    def __init__(self, maps: dict[str, dict[str, str]]) -> None:
        self.maps, self.drafts, self.asked = maps, {}, []  # type: ignore[var-annotated]

    def __call__(self, command: str) -> str:
        self.asked.append(command)
        head, *rows = command.splitlines()
        words = head.split()
        path = words[-2] if words[-1] == "<<" else words[-1]
        if path not in self.maps:
            return "Unknown map identifier. Please use #<id> or <file>."
        if words[0] == "show":
            return "\n".join(f"0x7f76fb7395f0 {key} {value}" for key, value in self.maps[path].items())
        if words[0] == "prepare":
            self.drafts[path] = {}
            return "New version created: 3"
        assert words[2] == "@3"
        if words[0] == "add":
            self.drafts[path].update(dict(row.split(" ", 1) for row in rows if row))
        else:
            self.maps[path] = self.drafts.pop(path)
        return ""


@given(*[st.dictionaries(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), st.just("x"), max_size=130)] * 2)
def test_a_map_is_replaced_at_one_moment_or_left_alone(before: dict[str, str], after: dict[str, str]) -> None:
    haproxy = Haproxy({"/m": before})
    assert admin.replace(haproxy, "/m", after) == (before != after)
    assert haproxy.maps == {"/m": after}
    commits = [command for command in haproxy.asked if command.startswith("commit")]
    assert len(commits) == (before != after)
    assert all(len(command) < 16_000 for command in haproxy.asked)


def test_a_map_that_haproxy_does_not_have_is_told() -> None:
    with pytest.raises(admin.AdminError, match=r"/n .Unknown map identifier"):
        admin.replace(Haproxy({"/m": {}}), "/n", {"a": "b"})


def test_no_haproxy_is_told(tmp_path: object) -> None:
    with pytest.raises(admin.AdminError, match="does not answer"):
        admin.asker(f"{tmp_path}/admin.sock")("show info")
