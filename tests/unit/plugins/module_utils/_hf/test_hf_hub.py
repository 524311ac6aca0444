# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's answers, by the lab's stand-in for it and by hand."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import hub as hf_hub
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.client import failure
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import (
    Hub,
    HubError,
    explain,
    parse_config,
    parse_model_info,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMIT, SHA1, SHA256 = "c" * 40, "1" * 40, "2" * 64
TOKENS = {
    "hf_friend": {"name": "friend", "granted": ["lab/gated", "lab/private"]},
    "hf_stranger": {"name": "stranger", "granted": []},
}


def hub_info(**changes: object) -> dict[str, object]:
    small = {"rfilename": "config.json", "size": 3, "blobId": SHA1}
    large = {"rfilename": "a/w.safetensors", "size": 9, "blobId": "9" * 40, "lfs": {"sha256": SHA256, "size": 9}}
    return {"sha": COMMIT, "gated": False, "siblings": [small, large], **changes}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab's hub."""
    sys.path[:0] = [str(Path(__file__).parents[5] / "lab" / "roles" / "virtual_spark" / "files" / "internet")]
    from virtual_internet.internet import Settings, VirtualInternet
    from virtual_internet.seed import seed_repo

    root = tmp_path_factory.mktemp("internet")
    seed_repo(root, "lab/open", 3000, shards=2, tags=("v1.0",))
    seed_repo(root, "lab/gated", 1000, gated="manual")
    seed_repo(root, "lab/private", 1000, private=True)
    (root / "hub" / "tokens.json").write_text(json.dumps(TOKENS))
    internet = VirtualInternet(
        Settings(root, bind="127.0.0.1", hub_port=0, cdn_port=0, control_port=0, registry_port=0, quiet=True)
    )
    internet.start()
    yield f"http://127.0.0.1:{internet.ports['hub_port']}"
    internet.stop()


def test_resolves_a_branch_a_tag_and_a_commit(endpoint: str) -> None:
    hub = Hub(endpoint + "/")
    model, gated = hub.model("lab/open", "main")
    assert not gated
    assert model.repo == "lab/open"
    for revision in ("v1.0", model.commit):
        assert hub.model("lab/open", revision)[0]._replace(revision="main") == model
    kinds = {file.path: (bool(file.sha256), bool(file.git_sha1)) for file in model.files}
    assert kinds["model-00001-of-00002.safetensors"] == (True, False)
    assert kinds["config.json"] == (False, True)
    assert hf_hub.read_model(json.loads(json.dumps(model.as_dict()))) == model


@pytest.mark.parametrize(
    ("repo", "revision", "token", "says"),
    [
        ("lab/none", "main", "", "check the spelling at {endpoint}/lab/none, and give a token if it is private"),
        ("lab/none", "main", "hf_friend", "that the token's account may see it"),
        ("lab/private", "main", "", "give a token if it is private (hf_cache_token)"),
        ("lab/gated", "main", "", "accept its conditions at {endpoint}/lab/gated, and give that account's token"),
        ("lab/gated", "main", "hf_stranger", "has no access: ask for access at {endpoint}/lab/gated"),
        ("lab/open", "main", "hf_bad", "refuses the token: make one at {endpoint}/settings/tokens"),
        ("lab/open", "v9", "", "'v9': see {endpoint}/lab/open/tree/main for what it has (revision)"),
        ("lab", "main", "", "give it as organisation/name"),
        ("lab/../open", "main", "", "give it as organisation/name"),
        ("lab/open", "../main", "", "give a branch (main), a tag or a commit"),
        ("lab/open", "main", "hf two\nlines", "holds characters that no token has"),
    ],
)
def test_a_refusal_says_what_to_do(endpoint: str, repo: str, revision: str, token: str, says: str) -> None:
    hints = {"token": "hf_cache_token"}  # and what is not named keeps its own name
    with pytest.raises(HubError) as raised:
        Hub(endpoint, token).model(repo, revision)
    assert says.format(endpoint=endpoint) in explain(raised.value, hints)
    assert not token or token not in str(raised.value)


GATED = {"X-Error-Code": "GatedRepo"}
FINE_GRAINED = (  # huggingface/huggingface_hub#2844
    "Please enable access to public gated repositories in your fine-grained token settings to view this repository."
)
AWAITING = "Your request to access model lab/m is awaiting a review from the repo authors."
REJECTED = "Your request to access model lab/m has been rejected by the repo's authors."
DISABLED = "Access to this resource is disabled."
RESTRICTED = "Access to model lab/m is restricted and you are not in the authorized list."
INVALID = "Invalid credentials in Authorization header"


@pytest.mark.parametrize(
    ("status", "headers", "body", "token", "says", "option"),
    [
        (
            403,
            {"X-Error-Message": FINE_GRAINED},
            b"",
            True,
            "the token may not read lab/m, though its account may: edit the token at https://hub/settings/tokens, or "
            f"give another (the hub says: {FINE_GRAINED})",
            "token",
        ),
        (
            403,
            {**GATED, "X-Error-Message": AWAITING},
            b"",
            True,
            "the authors of lab/m have not answered the request of the token's account yet: wait for them, see "
            f"https://hub/lab/m (the hub says: {AWAITING})",
            "",
        ),
        (
            403,
            {**GATED, "X-Error-Message": REJECTED},
            b"",
            True,
            "the authors of lab/m have rejected the request of the token's account: see https://hub/lab/m, give "
            f"another account's token, or choose another model (the hub says: {REJECTED})",
            "token",
        ),
        (
            403,
            {"X-Error-Message": DISABLED},
            b"",
            False,
            "the hub has disabled lab/m, and no token opens it: see https://hub/lab/m for why, or choose another model "
            f"(the hub says: {DISABLED})",
            "",
        ),
        (
            403,
            {**GATED, "X-Error-Message": RESTRICTED},
            b"",
            True,
            "lab/m is gated, and the token's account has no access: ask for access at https://hub/lab/m (the hub says: "
            f"{RESTRICTED})",
            "",
        ),
        (
            403,
            GATED,
            b"",
            True,
            "lab/m is gated, and the token's account has no access: ask for access at https://hub/lab/m",
            "",
        ),
        (
            403,
            {},
            b'{"error": "Something\\nnew"}',
            True,
            "the hub gives no access to lab/m (HTTP 403): see https://hub/lab/m, and give a token that may read it "
            "(the hub says: Something new)",
            "token",
        ),
        (
            403,
            {},
            b"<html>a proxy's page</html>",
            False,
            "the hub gives no access to lab/m (HTTP 403): see https://hub/lab/m, and give a token that may read it",
            "token",
        ),
        (
            401,
            {"X-Error-Message": INVALID},
            b"",
            True,
            "the hub refuses the token: make one at https://hub/settings/tokens, and give it (the hub says: "
            f"{INVALID})",
            "token",
        ),
        (
            451,
            {"X-Error-Message": "Unavailable for legal reasons"},
            b"",
            True,
            "the hub may not give out lab/m (HTTP 451): see https://hub/lab/m, or choose another model (the hub says: "
            "Unavailable for legal reasons)",
            "",
        ),
        (
            429,
            {},
            b"We had to rate limit your IP",
            False,
            "the hub https://hub has had too many questions from this address (HTTP 429): wait some minutes, or give a "
            "token, which may ask more often (the hub says: We had to rate limit your IP)",
            "token",
        ),
        (429, {}, b"slow", True, "the hub https://hub answers HTTP 429 about lab/m (slow): try again later", ""),
        (503, {}, b"", False, "the hub https://hub answers HTTP 503 about lab/m (no message): try again later", ""),
    ],
)
def test_a_refusal_passes_on_the_hubs_own_reason(
    status: int, headers: dict[str, str], body: bytes, token: bool, says: str, option: str
) -> None:
    refused = hf_hub.refusal(hf_hub.Answer(status, headers, body), "https://hub", "lab/m", "main", token)
    assert (str(refused), refused.option) == (says, option)


@given(
    st.sampled_from([400, 401, 403, 404, 410, 418, 429, 451, 500, 503]),
    st.dictionaries(st.sampled_from(["X-Error-Code", "X-Error-Message"]), st.text(max_size=400)),
    st.binary(max_size=60)
    | st.sampled_from([b"null", b"[1]", b'{"error": null}', b'{"error": {"a": 1}}', b"[" * 3000]),
    st.booleans(),
)
def test_any_refusal_is_one_sentence(status: int, headers: dict[str, str], body: bytes, token: bool) -> None:
    refused = hf_hub.refusal(hf_hub.Answer(status, headers, body), "https://hub", "lab/m", "main", token)
    assert str(refused).isprintable()
    assert len(str(refused)) < 700


@pytest.mark.parametrize(
    "words",
    [
        "403 Forbidden: Please enable access to public gated repositories in your fine-grained token settings.",
        "Your request to access model lab/m is awaiting a review from the repo authors.",
        "Access to this resource is disabled.",
    ],
)
def test_what_hf_passes_on_of_a_refusal_is_final_and_told(words: str) -> None:
    output = f"Error: (Request ID: Root=1-6b)\n\n{words}\nMake sure your token has the correct permissions.\n"
    assert failure(output) == (f"the hub refuses it ({words})", True)


def test_a_granted_token_opens(endpoint: str) -> None:
    assert Hub(endpoint, "hf_friend").model("lab/gated", "main")[1]
    assert not Hub(endpoint, "hf_friend").model("lab/private", "main")[1]


def test_the_config_is_read_at_the_commit_and_hashed(endpoint: str) -> None:
    hub = Hub(endpoint)
    model, _gated = hub.model("lab/open", "main")
    config = hub.config(model)
    assert config["architectures"]
    assert hub.config(model._replace(revision="v1.0")) == config
    without = model._replace(files=tuple(file for file in model.files if file.path != "config.json"))
    assert hub.config(without) == {}
    (file,) = (file for file in model.files if file.path == "config.json")
    other = model._replace(files=(file._replace(git_sha1=SHA1),))
    with pytest.raises(HubError, match="is not the file that the model's commit names: its hash is"):
        hub.config(other)


def test_a_config_that_no_engine_could_read_is_refused() -> None:
    for content in (b"[1]", b"{", b"\xff"):
        sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        with pytest.raises(HubError, match="the place is no JSON object"):
            parse_config(content, HashedFile("config.json", len(content), git_sha1=sha1), "the place")


def test_a_granted_token_reads_the_config_of_a_gated_model(endpoint: str) -> None:
    hub = Hub(endpoint, "hf_friend")
    assert hub.config(hub.model("lab/gated", "main")[0])


def test_no_way_to_the_hub() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(
        HubError, match=r"cannot be reached \(.*\): give this host a way .* a hub that it reaches"
    ) as raised:
        Hub(address).model("lab/open", "main")
    assert raised.value.option == "endpoint"


@pytest.mark.parametrize("endpoint", ["huggingface.co", "ftp://hub", "http://", "http://user@hub", "http://hub?x=1"])
def test_refuses_what_is_no_address(endpoint: str) -> None:
    with pytest.raises(HubError, match="is no hub's address"):
        Hub(endpoint)


class _Scripted(BaseHTTPRequestHandler):
    """Answers as told, one after the other, and notes who asked with what."""

    answers: ClassVar[list[tuple[int, str, bytes]]] = []
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        status, location, body = self.answers.pop(0)
        if status == 0:
            return  # hangs up without a word
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[tuple[str, type[_Scripted]]]:
    handler = type("Handler", (_Scripted,), {"answers": [], "asked": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


GOOD = (200, "", json.dumps(hub_info()).encode())


@pytest.mark.parametrize("first", [[(429, "", b"")], [(503, "", b""), (500, "", b"")], [(0, "", b"")]])
def test_what_passes_is_asked_again(scripted: tuple[str, type[_Scripted]], first: list) -> None:
    endpoint, handler = scripted
    handler.answers[:] = [*first, GOOD]
    assert Hub(endpoint, pause=0).model("lab/open", "main")[0].commit == COMMIT
    assert len(handler.asked) == len(first) + 1


def test_what_does_not_pass_is_given_up(scripted: tuple[str, type[_Scripted]]) -> None:
    endpoint, handler = scripted
    handler.answers[:] = [(503, "", b"down for repairs")] * 4
    with pytest.raises(HubError, match=r"answers HTTP 503 about lab/open \(down for repairs\): try again later"):
        Hub(endpoint, pause=0).model("lab/open", "main")
    assert len(handler.asked) == 4


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_redirection_takes_the_token_to_the_same_origin_only(
    scripted: tuple[str, type[_Scripted]], host: str
) -> None:
    endpoint, handler = scripted
    handler.answers[:] = [(307, endpoint.replace("127.0.0.1", host) + "/renamed", b""), GOOD]
    Hub(endpoint, "hf_secret").model("lab/open", "main")
    assert handler.asked[0][1] == "Bearer hf_secret"
    assert handler.asked[1] == ("/renamed", "Bearer hf_secret" if host == "127.0.0.1" else None)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "is no JSON"),
        (b"[]", "cannot be read"),
        (json.dumps(hub_info(sha="main")).encode(), "is no commit"),
        (json.dumps(hub_info(siblings=[])).encode(), "has no files"),
        (
            json.dumps(hub_info(siblings=[{"rfilename": "../x", "size": 1, "blobId": SHA1}])).encode(),
            "no cache can hold",
        ),
        (json.dumps(hub_info(siblings=[{"rfilename": "/x", "size": 1, "blobId": SHA1}])).encode(), "no cache can hold"),
        (json.dumps(hub_info(siblings=[{"rfilename": "x", "size": 1, "blobId": "?"}])).encode(), "no size and hash"),
        (json.dumps(hub_info(siblings=[{"rfilename": "x", "size": None, "blobId": SHA1}])).encode(), "cannot be read"),
        (json.dumps(hub_info(siblings=[{"rfilename": "x", "blobId": SHA1}])).encode(), "cannot be read"),
    ],
)
def test_refuses_an_answer_that_makes_no_sense(body: bytes, says: str) -> None:
    with pytest.raises(HubError, match=says):
        parse_model_info(body, "lab/open", "main")


@pytest.mark.parametrize(
    ("allow", "ignore", "paths"),
    [
        ([], [], ["a.json", "a.pth", "original/a.pth", "original/b.json"]),
        ([], ["original/", "*.pth"], ["a.json"]),
        (["*.json"], [], ["a.json", "original/b.json"]),
        (["*.json"], ["original/*"], ["a.json"]),
    ],
)
def test_what_is_wanted_of_a_model(allow: list[str], ignore: list[str], paths: list[str]) -> None:
    names = ("a.json", "a.pth", "original/a.pth", "original/b.json")
    files = tuple(HashedFile(name, 1, git_sha1="1" * 40) for name in names)
    model = hf_hub.Model("a/b", "c" * 40, "main", files)
    assert [file.path for file in hf_hub.chosen(model, allow, ignore).files] == paths
    with pytest.raises(hf_hub.HubError, match="no file of a/b is wanted"):
        hf_hub.chosen(model, ["*.gguf"], [])
