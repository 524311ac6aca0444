# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One message is posted once, whatever the receiver does, and nothing tells its URL."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from alert_support import SECRET, configure, odd, receiving
from supervisor import contract, paths, redact, webhook
from supervisor_support import program

MESSAGE = {"event": "down", "text": "[down] x on spark1: no token", "reason": "no token", "at": 7.5}
POST = "from supervisor import webhook; sys.exit(webhook.main())"


@pytest.mark.parametrize(
    ("status", "outcome", "words"),
    [
        (200, webhook.TAKEN, "it answers 200"),
        (204, webhook.TAKEN, "it answers 204"),
        (301, webhook.REFUSED, "it answers 301, and is not followed elsewhere"),
        (307, webhook.REFUSED, "it answers 307, and is not followed elsewhere"),
        (400, webhook.REFUSED, "it answers 400"),
        (404, webhook.REFUSED, "it answers 404"),
        (429, webhook.LATER, "it answers 429"),
        (500, webhook.LATER, "it answers 500"),
        (503, webhook.LATER, "it answers 503"),
    ],
)
def test_what_a_status_means(status: int, outcome: int, words: str) -> None:
    with receiving(status) as to:
        assert webhook.post(to.url, json.dumps(MESSAGE).encode(), 5) == (outcome, words)
        assert to.got == [MESSAGE]
        assert to.paths == [f"/hooks/{SECRET}?x=1"], "no redirection was followed"
        assert to.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("kind", "outcome", "words"),
    [
        ("hangs", webhook.TAKEN, "it took the message and did not answer"),
        ("slow", webhook.TAKEN, "it took the message and did not answer"),
        # By when the kernel tells of it: as the request is sent, or as the answer is read.
        (
            "closes",
            webhook.LATER,
            "RemoteDisconnected|ConnectionResetError, Connection reset by peer|BrokenPipeError, Broken pipe",
        ),
        ("refuses", webhook.LATER, "ConnectionRefusedError, Connection refused"),
    ],
)
def test_an_odd_receiver_costs_a_bounded_time(kind: str, outcome: int, words: str) -> None:
    with odd(kind) as url:
        began = time.monotonic()
        found, said = webhook.post(url, b"{}", 0.5)
        assert time.monotonic() - began < 20
    assert found == outcome
    assert re.fullmatch(words, said)
    assert SECRET not in said


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/%00 x/" + SECRET,
        f"http://[::1/{SECRET}",
        f"http://127.0.0.1:x/{SECRET}",
        SECRET,
        "http://\0/",
    ],
)
def test_no_error_tells_the_url(url: str) -> None:
    outcome, said = webhook.post(url, b"{}", 2)
    assert outcome == webhook.LATER
    assert SECRET not in said


def test_a_login_in_the_url_is_sent_as_such() -> None:
    with receiving() as to:
        webhook.post(to.url.replace("http://", "http://me:p%40w@"), json.dumps(MESSAGE).encode(), 5)
        assert to.headers[0]["Authorization"] == "Basic bWU6cEB3"
        assert "me:p" not in to.headers[0]["Host"]


@pytest.mark.parametrize("form", contract.ALERT_FORMATS)
def test_a_message_has_the_shape_of_its_receiver(form: str) -> None:
    text = "[down] <!everyone> & @everyone " + "x" * 5000
    made = webhook.body({**MESSAGE, "text": text}, form)
    if form == contract.SLACK:
        assert list(made) == ["text"]
        assert made["text"].startswith("[down] &lt;!everyone&gt; &amp; @everyone x")
        assert len(made["text"]) == 3000
    elif form == contract.DISCORD:
        assert made == {"content": text[:1900], "allowed_mentions": {"parse": []}}
    else:
        assert made == {**MESSAGE, "text": text}


def test_the_program_posts_what_comes_in_and_its_body_has_no_secret(tmp_path: Path) -> None:
    with receiving() as to:
        configure(tmp_path, to.url)
        reason = f"at {to.url} HF_TOKEN=hf_{'a' * 30} and Authorization: Bearer {'b' * 20}"
        child = program(tmp_path, POST, stdin=-1)
        out, err = child.communicate(json.dumps({**MESSAGE, "reason": reason, "text": reason}), timeout=20)
        assert (child.returncode, out, err) == (0, "it answers 200\n", "")
    (got,) = to.got
    assert (got["event"], got["at"]) == ("down", 7.5)
    for secret in (SECRET, "a" * 30, "b" * 20):
        assert secret not in json.dumps(got)
    assert redact.GONE in got["text"]


def test_the_url_is_in_no_argument_and_no_environment(tmp_path: Path) -> None:
    with odd("hangs") as url:
        configure(tmp_path, url)
        child = program(tmp_path, POST, stdin=-1)
        child.stdin.write(json.dumps(MESSAGE))
        child.stdin.close()
        time.sleep(0.5)
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in Path(f"/proc/{child.pid}/{name}").read_bytes()
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()


def test_without_both_files_there_is_no_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CONFIG", tmp_path)
    assert webhook.receiver() is None
    configure(tmp_path, "https://hooks.test/a", format="slack", after_s=5)
    found = webhook.receiver()
    assert (found.url, found.form, found.after_s, found.settle_s) == ("https://hooks.test/a", "slack", 5.0, 0.5)
    configure(tmp_path, "https://hooks.test/b", format="slack", after_s=5)
    assert webhook.receiver().digest != found.digest
    (tmp_path / "alert_url").unlink()
    assert webhook.receiver() is None
    (tmp_path / "alert_url").write_text("x")
    (tmp_path / "alert.json").write_text("{}")
    with pytest.raises(KeyError):
        webhook.receiver()
