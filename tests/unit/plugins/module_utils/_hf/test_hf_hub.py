# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's answers, by the lab's stand-in for it and by hand."""

from __future__ import annotations

import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import hub as hf_hub
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import Hub, HubError, parse_model_info

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
        ("lab/gated", "main", "hf_stranger", "has not been granted access: ask for it at {endpoint}/lab/gated"),
        ("lab/open", "main", "hf_bad", "refuses the token: make one at {endpoint}/settings/tokens"),
        ("lab/open", "v9", "", "has no revision 'v9': see {endpoint}/lab/open/tree/main"),
        ("lab", "main", "", "give it as organisation/name"),
        ("lab/../open", "main", "", "give it as organisation/name"),
        ("lab/open", "../main", "", "give a branch (main), a tag or a commit"),
        ("lab/open", "main", "hf two\nlines", "holds characters that no token has"),
    ],
)
def test_a_refusal_says_what_to_do(endpoint: str, repo: str, revision: str, token: str, says: str) -> None:
    with pytest.raises(HubError) as told:
        Hub(endpoint, token).model(repo, revision)
    assert says.format(endpoint=endpoint) in str(told.value)
    assert not token or token not in str(told.value)


def test_a_granted_token_opens(endpoint: str) -> None:
    assert Hub(endpoint, "hf_friend").model("lab/gated", "main")[1]
    assert not Hub(endpoint, "hf_friend").model("lab/private", "main")[1]


def test_no_way_to_the_hub() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(HubError, match=r"cannot be reached \(.*\): give this host a way .* \(hf_cache_endpoint\)"):
        Hub(address).model("lab/open", "main")


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
    files = tuple(hf_hub.RepoFile(name, 1, git_sha1="1" * 40) for name in names)
    model = hf_hub.Model("a/b", "c" * 40, "main", files)
    assert [file.path for file in hf_hub.chosen(model, allow, ignore).files] == paths
    with pytest.raises(hf_hub.HubError, match="no file of a/b is wanted"):
        hf_hub.chosen(model, ["*.gguf"], [])
