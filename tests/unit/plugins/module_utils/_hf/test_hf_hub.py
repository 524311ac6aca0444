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


@pytest.mark.parametrize(
    "name", ["rejection-sampler-8B", "fine-grained-8B", "disabled-bert", "Awaiting-7B", "rejected"]
)
@pytest.mark.parametrize("who", ["lab", "request-access-has-been"])
def test_a_name_is_not_taken_for_the_hubs_reason(name: str, who: str) -> None:
    repo = f"{who}/{name}"
    said = f"Access to model {repo} is restricted and you are not in the authorized list. Visit https://hub/{repo}."
    answer = hf_hub.Answer(403, {**GATED, "X-Error-Message": said}, b"")
    assert str(hf_hub.refusal(answer, "https://hub", repo, "main", True)).startswith(
        f"{repo} is gated, and the token's account has no access: ask for access at https://hub/{repo} (the hub says: "
    )
    asked = f"Your request to access model {repo.upper()} is awaiting a review from the repo authors."
    answer = answer._replace(headers={**GATED, "X-Error-Message": asked})
    assert str(hf_hub.refusal(answer, "https://hub", repo, "main", True)).startswith(
        f"the authors of {repo} have not answered the request of the token's account yet"
    )


@pytest.mark.parametrize(
    ("status", "said", "says"),
    [
        (403, "Your account has been disabled", "the hub has closed the token's account: see what it tells"),
        (403, "This account is suspended.", "the hub has closed the token's account: see what it tells"),
        (
            403,
            "Your token has been disabled by the organization's policy for fine-grained tokens.",
            "the hub takes the ",
        ),
        (
            403,
            "This authentication method has no permission. Fine-grained token lacks repo.content.read",
            "the token may",
        ),
        (403, "Access to this repository has been disabled.", "the hub has disabled lab/m, and no token opens it"),
        (403, "Access to model lab/m is disabled", "the hub has disabled lab/m, and no token opens it"),
        (403, "Your request has been rejected by the gateway", "the hub gives no access to lab/m (HTTP 403)"),
        (403, "Requests without await are rejected", "the hub gives no access to lab/m (HTTP 403)"),
        (401, 'User Access Token "disabled" is expired', "the hub refuses the token: make one at"),
    ],
)
def test_the_hubs_phrases_are_told_apart(status: int, said: str, says: str) -> None:
    refused = hf_hub.refusal(
        hf_hub.Answer(status, {"X-Error-Message": said}, b""), "https://hub", "lab/m", "main", True
    )
    assert str(refused).startswith(says)
    assert str(refused).endswith(f"(the hub says: {said})")


PAGE = b"<!DOCTYPE html><html><head><title>\n Blocked by\tpolicy </title></head>"


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
@pytest.mark.parametrize("body", [PAGE, b"\n  " + PAGE, b"\xef\xbb\xbf" + PAGE])
@pytest.mark.parametrize("token", [True, False])
def test_a_page_is_told_as_one_and_blames_no_token(status: int, body: bytes, token: bool) -> None:
    refused = hf_hub.refusal(hf_hub.Answer(status, {}, body), "https://hub", "lab/m", "main", token)
    assert str(refused) == (
        f"a web page answers about lab/m, and not the hub https://hub (HTTP {status}, 'Blocked by policy'): see "
        "https://hub/lab/m from this host, whether a proxy or a firewall stops it or the hub does not serve its "
        "country, and name a hub that answers"
    )
    assert refused.option == "endpoint"


def test_a_page_is_known_by_its_kind_too_and_the_hubs_own_is_the_hubs() -> None:
    page = hf_hub.Answer(403, {"Content-Type": "text/html; charset=utf-8"}, b"Forbidden")
    assert "not the hub https://hub (HTTP 403):" in str(hf_hub.refusal(page, "https://hub", "lab/m", "main", True))
    own = page._replace(headers={**GATED, "Content-Type": "text/html"}, body=b"<html>")
    assert str(hf_hub.refusal(own, "https://hub", "lab/m", "main", True)).startswith("lab/m is gated")
    busy = hf_hub.Answer(502, {}, b" <html>bad gateway</html>")
    assert str(hf_hub.refusal(busy, "https://hub", "lab/m", "main", True)).endswith("(no message): try again later")
    with pytest.raises(HubError, match="is no JSON but a web page, which a proxy or a firewall may have put") as raised:
        parse_model_info(b"\n<html>log in</html>", "lab/m", "main")
    assert raised.value.option == "endpoint"


@pytest.mark.parametrize("status", [301, 302, 307, 400, 405, 409, 410, 418])
def test_what_no_time_mends_is_not_to_be_tried_later(status: int) -> None:
    refused = hf_hub.refusal(hf_hub.Answer(status, {}, b'{"error":"Odd"}'), "https://hub", "lab/m", "main", True)
    assert str(refused) == (
        f"the hub https://hub answers HTTP {status} about lab/m (Odd): check that this is a hub's address, and that no "
        "proxy answers in its place"
    )
    assert refused.option == "endpoint"


@pytest.mark.parametrize("status", [407, 511])
@pytest.mark.parametrize("body", [b"", PAGE])
def test_a_proxy_that_wants_a_login_is_named(status: int, body: bytes) -> None:
    refused = hf_hub.refusal(hf_hub.Answer(status, {}, body), "https://hub", "lab/m", "main", True)
    assert str(refused) == (
        f"a proxy between this host and the hub https://hub asks for a login (HTTP {status}): give the proxy's address "
        "with a login in https_proxy, log in there, or name a hub that this host reaches without it"
    )
    assert refused.option == "endpoint"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": null}', ""),
        (b'{"error": null, "message": "nope"}', "nope"),
        (b'{"message": "nope"}', "nope"),
        (b'{"error": {"message": "nope", "code": 3}}', "nope"),
        (b'{"error": ["no", "pe"]}', "no, pe"),
        (b'{"errors": [{"detail": "nope"}]}', "nope"),
        (b'{"detail": "nope"}', "nope"),
        (b'\xef\xbb\xbf{"error": "nope"}', "nope"),
        (b' "nope"', "nope"),
        (b"{}", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"3", ""),
        (b'{"error": "nope", "more": "' + b"x" * 5000 + b'"}', "nope"),
        (b'{"error": "cut', ""),
        (b"Forbidden\n", "Forbidden"),
        (b" \n<html>", ""),
    ],
)
def test_a_body_is_told_in_its_words(body: bytes, said: str) -> None:
    assert hf_hub.said_by(hf_hub.Answer(403, {}, body)) == said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": None}, "lab/m tells no size and hash of its file 'x'"),
        ({"size": "1"}, "lab/m tells no size and hash of its file 'x'"),
        ({"blobId": None}, "lab/m tells no size and hash of its file 'x'"),
        ({"blobId": [1]}, "lab/m tells no size and hash of its file 'x'"),
        ({"lfs": "y"}, "lab/m tells no size and hash of its file 'x'"),
        ({"lfs": {"size": 1}}, "lab/m tells no size and hash of its file 'x'"),
        ({"lfs": {"sha256": 3}}, "lab/m tells no size and hash of its file 'x'"),
        ({"rfilename": None}, "lab/m lists a file without a name"),
    ],
)
def test_what_a_mirror_leaves_out_is_named(changes: dict[str, object], says: str) -> None:
    row = {"rfilename": "x", "size": 1, "blobId": SHA1, **changes}
    for one in (row, {name: value for name, value in row.items() if value is not None}):
        with pytest.raises(HubError) as raised:
            parse_model_info(json.dumps(hub_info(siblings=[one])).encode(), "lab/m", "main")
        assert str(raised.value).startswith(says)
    assert raised.value.option == "endpoint"


@pytest.mark.parametrize(
    "body",
    [
        *(b"null", b"[]", b'"x"', b"3", b"{}"),
        *(json.dumps(hub_info(siblings=one)).encode() for one in (None, [None], 3, {"a": 1}, ["x"])),
        *(json.dumps(hub_info(sha=one)).encode() for one in (None, [1], 5)),
    ],
)
def test_an_answer_of_another_shape_is_told_without_words_of_python(body: bytes) -> None:
    with pytest.raises(HubError) as raised:
        parse_model_info(body, "lab/m", "main")
    assert not any(word in str(raised.value) for word in ("Error", "None", "object", "attribute", "str"))
    assert raised.value.option == "endpoint"


@given(
    st.sampled_from([302, 400, 401, 403, 404, 407, 410, 418, 429, 451, 500, 503, 511]),
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
        (
            json.dumps(hub_info(siblings=[{"rfilename": "x", "size": None, "blobId": SHA1}])).encode(),
            "no size and hash",
        ),
        (json.dumps(hub_info(siblings=[{"rfilename": "x", "blobId": SHA1}])).encode(), "no size and hash"),
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
