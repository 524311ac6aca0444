# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub stand-in over HTTP: what it answers, what it refuses, what it counts, and how it fails on request."""

from __future__ import annotations

import hashlib
import http.client
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from virtual_internet_support import GOOD, OTHER, Answer, Lab, ask, read, running, write_repo, write_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHTS = bytes(range(256)) * 400  # 102,400 bytes
CONFIG = b'{"model_type": "lab"}'
FILES = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "sub/deep/notes.txt": b"notes", "empty.txt": b""}
PARTED = bytes(range(251)) * 9000  # three parts in Xet
WEIGHTS_PATH = "/lab/open/resolve/main/model.safetensors"


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root = tmp_path_factory.mktemp("internet")
    write_repo(root, "lab/open", FILES, tags={"v1.0": "main"})
    write_repo(root, "lab/open", {"config.json": b"{}"}, branch="next", tags={"v1.0": "main"})
    write_repo(root, "lab/gated", FILES, gated="manual")
    write_repo(root, "lab/private", FILES, private=True)
    write_repo(root, "lab/parts", {"model.safetensors": PARTED, "config.json": CONFIG}, xet=True, gated="manual")
    write_tokens(root, ["lab/gated", "lab/private", "lab/parts"])
    with running(root) as made:
        yield made


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    shared_lab.reset()
    return shared_lab


def sha(lab: Lab, revision: str = "main") -> str:
    return lab.hub(f"/api/models/lab/open/revision/{revision}").json["sha"]


# The API


def test_model_info(lab: Lab) -> None:
    answer = lab.hub("/api/models/lab/open")
    info = answer.json
    assert answer.headers["X-Request-Id"].startswith("Root=1-")
    assert (info["id"], info["author"], info["gated"], info["private"]) == ("lab/open", "lab", False, False)
    assert [sibling["rfilename"] for sibling in info["siblings"]] == sorted(FILES)
    assert info["siblings"][0] == {"rfilename": "config.json"}
    blobs = lab.hub("/api/models/lab/open?blobs=True").json["siblings"]
    assert blobs[0]["size"] == len(CONFIG)
    assert blobs[2]["lfs"]["size"] == len(WEIGHTS)
    expanded = lab.hub("/api/models/lab/open/revision/main?expand[]=sha&expand=gated").json
    assert set(expanded) == {"_id", "id", "sha", "gated"}


def test_revisions(lab: Lab) -> None:
    main, following = sha(lab), sha(lab, "next")
    assert main != following
    assert sha(lab, "v1.0") == sha(lab, main) == main
    refs = lab.hub("/api/models/lab/open/refs?include_prs=1").json
    assert [(ref["ref"], ref["targetCommit"]) for ref in refs["branches"] + refs["tags"]] == [
        ("refs/heads/main", main),
        ("refs/heads/next", following),
        ("refs/tags/v1.0", main),
    ]
    assert refs["pullRequests"] == refs["converts"] == []


def test_tree(lab: Lab) -> None:
    top = lab.hub("/api/models/lab/open/tree/main").json
    assert [(row["type"], row["path"]) for row in top] == [
        ("file", "config.json"),
        ("file", "empty.txt"),
        ("file", "model.safetensors"),
        ("directory", "sub"),
    ]
    assert top[2]["lfs"]["size"] == len(WEIGHTS)
    assert "lfs" not in top[0]
    everything = lab.hub("/api/models/lab/open/tree/main?recursive=true").json
    assert [row["path"] for row in everything][-3:] == ["sub", "sub/deep", "sub/deep/notes.txt"]
    for path in ("/sub", "/sub%2Fdeep"):
        assert lab.hub(f"/api/models/lab/open/tree/main{path}").status == 200
    expanded = lab.hub("/api/models/lab/open/tree/main?expand=true").json
    assert expanded[0]["lastCommit"]["id"] == sha(lab)
    assert expanded[0]["securityFileStatus"]["status"] == "unscanned"


def test_tree_in_pages(lab: Lab) -> None:
    found: list[str] = []
    url = lab.url("hub") + "/api/models/lab/open/tree/main?recursive=true&limit=2"
    for _page in range(3):
        answer = ask(url)
        found += [row["path"] for row in answer.json]
        url = answer.headers.get("Link", "<>").partition(">")[0][1:]
    assert url == ""
    assert found == ["config.json", "empty.txt", "model.safetensors", "sub", "sub/deep", "sub/deep/notes.txt"]
    assert lab.hub("/api/models/lab/open/tree/main?cursor=x").status == 400


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("paths=config.json&paths=sub&paths=none&expand=False", "application/x-www-form-urlencoded"),
        ('{"paths": ["config.json", "sub", "none"]}', "application/json"),
    ],
)
def test_paths_info(lab: Lab, body: str, kind: str) -> None:
    url = lab.url("hub") + "/api/models/lab/open/paths-info/main"
    answer = ask(url, "POST", {"Content-Type": kind}, body)
    assert [(row["type"], row["path"]) for row in answer.json] == [("file", "config.json"), ("directory", "sub")]
    assert ask(url, "POST", {"Content-Type": "application/json"}, "[").status == 400


def test_whoami(lab: Lab) -> None:
    assert lab.hub("/api/whoami-v2", token=GOOD).json["name"] == "alice"
    assert lab.hub("/api/whoami-v2").status == 401
    answer = lab.hub("/api/whoami-v2", token="hf_bad")
    assert (answer.status, answer.json["error"]) == (401, "Invalid credentials in Authorization header")


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/api/models/lab/none", None, 401, "RepoNotFound"),
        ("/api/models/lab/none", GOOD, 404, "RepoNotFound"),
        ("/api/models/lab/open", "hf_bad", 401, None),
        ("/api/models/lab/private", None, 401, "RepoNotFound"),
        ("/api/models/lab/private", OTHER, 404, "RepoNotFound"),
        ("/api/models/lab/private", GOOD, 200, None),
        ("/api/models/lab/gated", None, 200, None),
        ("/api/models/lab/gated/tree/main", None, 200, None),
        ("/api/models/lab/gated/auth-check", None, 401, "GatedRepo"),
        ("/api/models/lab/gated/auth-check", OTHER, 403, "GatedRepo"),
        ("/api/models/lab/gated/auth-check", GOOD, 200, None),
        ("/lab/gated/resolve/main/config.json", None, 401, "GatedRepo"),
        ("/lab/gated/resolve/main/config.json", OTHER, 403, "GatedRepo"),
        ("/lab/gated/resolve/main/config.json", "hf_bad", 401, None),
        ("/lab/gated/resolve/main/config.json", GOOD, 307, None),
        ("/lab/gated/resolve/main/model.safetensors", OTHER, 403, "GatedRepo"),
        ("/lab/gated/resolve/main/model.safetensors", GOOD, 302, None),
        ("/api/resolve-cache/models/lab/gated/main/config.json", OTHER, 403, "GatedRepo"),
        ("/lab/private/resolve/main/config.json", None, 401, "RepoNotFound"),
        ("/lab/open/resolve/none/config.json", None, 404, "RevisionNotFound"),
        ("/api/models/lab/open/revision/none", None, 404, "RevisionNotFound"),
        ("/api/models/lab/open/revision/a%0d%0aX-Evil:%20b", None, 404, "RevisionNotFound"),
        ("/lab/open/resolve/main/none.json", None, 404, "EntryNotFound"),
        ("/lab/open/resolve/main/../../../tokens.json", None, 404, "EntryNotFound"),
        ("/lab/open/resolve/main/sub", None, 404, "EntryNotFound"),
        ("/api/models/lab/open/tree/main/none", None, 404, "EntryNotFound"),
        ("/api/datasets/lab/open", None, 404, None),
        ("/", None, 404, None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_may_what(lab: Lab, method: str, path: str, token: str | None, status: int, code: str | None) -> None:
    answer = lab.hub(path, method, token)
    assert (answer.status, answer.headers["X-Error-Code"]) == (status, code)
    assert answer.headers["X-Evil"] is None
    if status >= 400:
        assert answer.headers["X-Error-Message"]
    if code == "EntryNotFound":
        assert answer.headers["X-Repo-Commit"] == sha(lab)


# Files


def test_a_small_file(lab: Lab) -> None:
    first = lab.hub("/lab/open/resolve/v1.0/config.json", "HEAD")
    assert (first.status, first.headers["X-Repo-Commit"]) == (307, sha(lab))
    assert first.headers["Location"].startswith("/api/resolve-cache/models/lab/open/")
    answer = lab.file("/lab/open/resolve/v1.0/config.json")
    assert (answer.status, answer.body) == (200, CONFIG)
    assert answer.headers["ETag"] == '"' + lab.hub("/api/models/lab/open/tree/main").json[0]["oid"] + '"'
    assert answer.headers["X-Repo-Commit"] == sha(lab)
    assert lab.file("/lab/open/resolve/main/empty.txt").body == b""
    assert lab.file("/lab/open/resolve/main/sub/deep/notes.txt").body == b"notes"


def test_a_large_file(lab: Lab) -> None:
    first = lab.hub(WEIGHTS_PATH, "HEAD")
    sha256 = lab.hub("/api/models/lab/open/tree/main").json[2]["lfs"]["oid"]
    assert first.status == 302
    assert first.headers["X-Linked-ETag"] == f'"{sha256}"'
    assert first.headers["X-Linked-Size"] == str(len(WEIGHTS))
    assert first.headers["Location"].startswith(lab.url("cdn") + "/cdn/lab/open/" + sha256)
    assert not [name for name in first.headers if name.lower().startswith("x-xet")]
    answer = lab.file(WEIGHTS_PATH)
    assert (answer.status, answer.body, answer.headers["ETag"]) == (200, WEIGHTS, f'"{sha256}"')


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=102390-", 206, WEIGHTS[102390:], "bytes 102390-102399/102400"),
        ("bytes=5-7", 206, WEIGHTS[5:8], "bytes 5-7/102400"),
        ("bytes=-3", 206, WEIGHTS[-3:], "bytes 102397-102399/102400"),
        ("bytes=0-1,5-6", 200, WEIGHTS, None),
        ("bytes=102400-", 416, b"", "bytes */102400"),
    ],
)
def test_ranges(lab: Lab, asked: str, status: int, body: bytes, content_range: str | None) -> None:
    answer = lab.file(WEIGHTS_PATH, Range=asked)
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (status, body, content_range)
    assert answer.headers["Content-Length"] == str(len(body))


def test_if_range(lab: Lab) -> None:
    etag = lab.file(WEIGHTS_PATH).headers["ETag"]
    assert lab.file(WEIGHTS_PATH, Range="bytes=5-7", If_Range=etag).status == 206
    assert lab.file(WEIGHTS_PATH, Range="bytes=5-7", If_Range='"other"').status == 200


def test_signed_addresses(lab: Lab) -> None:
    signed = lab.hub(WEIGHTS_PATH).headers["Location"]
    assert ask(signed, "HEAD").headers["Content-Length"] == str(len(WEIGHTS))
    assert ask(signed.partition("?")[0]).status == 403
    assert ask(signed[:-1] + ("0" if signed[-1] != "0" else "1")).status == 403
    assert ask(signed.replace("Expires=1", "Expires=2")).status == 403
    assert ask(signed.replace("/open/", "/gated/")).status == 403
    assert ask(signed, headers={"Authorization": f"Bearer {GOOD}"}).status == 400


def test_signed_addresses_expire(tmp_path: Path) -> None:
    write_repo(tmp_path, "lab/open", FILES)
    with running(tmp_path, url_ttl=-1, cdn_url="http://127.0.0.1:1") as lab:
        target = lab.hub(WEIGHTS_PATH).headers["Location"]
        assert target.startswith("http://127.0.0.1:1/cdn/")
        answer = ask(target.replace("http://127.0.0.1:1", lab.url("cdn")))
        assert (answer.status, b"expired" in answer.body) == (403, True)


def test_new_files_are_served_at_once(tmp_path: Path) -> None:
    write_repo(tmp_path, "lab/open", FILES)
    with running(tmp_path) as lab:
        before = sha(lab)
        write_repo(tmp_path, "lab/open", {"config.json": b"new"})
        assert sha(lab) != before
        assert lab.hub(f"/lab/open/resolve/{before}/config.json").headers["X-Error-Code"] == "RevisionNotFound"
        assert lab.file("/lab/open/resolve/main/config.json").body == b"new"
        (tmp_path / "hub/tokens.json").write_text("not JSON")
        assert lab.hub("/api/models/lab/open", token="x").status == 500
        assert lab.hub("/api/models/lab/open").status == 200


# Connections


def test_one_connection_for_many_requests(lab: Lab) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(lab.url("hub")).port, timeout=5)
    connection.request("GET", "/api/models/lab/open")
    assert read(connection).status == 200
    first = connection.sock
    for method, path, body, status in [
        ("HEAD", "/lab/open/resolve/main/config.json", None, 307),
        ("POST", "/api/models/lab/none/paths-info/main", b"paths=config.json", 401),  # refused with its body unread
        ("PUT", "/nowhere", iter([b"in ", b"chunks"]), 404),
        ("GET", "/lab/open/resolve/main/config.json", None, 307),
        ("GET", "/api/models/lab/open", None, 200),
    ]:
        connection.request(method, path, body)
        assert read(connection).status == status
        assert connection.sock is first
    connection.close()


@pytest.mark.parametrize(
    "request_text", ["GARBAGE\r\n\r\n", "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n"]
)
def test_bad_requests_end_the_connection(lab: Lab, request_text: str) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(lab.url("hub")).port), timeout=5) as connection:
        connection.sendall(request_text.encode())
        while connection.recv(1000):
            pass
    assert lab.hub("/api/models/lab/open").status == 200


# The ledger


def test_the_ledger_counts_each_byte_once(lab: Lab) -> None:
    lab.file(WEIGHTS_PATH)
    lab.file(WEIGHTS_PATH, Range="bytes=0-99")
    lab.file("/lab/open/resolve/main/config.json")
    lab.hub("/api/models/lab/none")
    stats = lab.stats()
    assert stats["content_bytes"] == len(WEIGHTS) + 100 + len(CONFIG)
    assert stats["bytes_sent"] > stats["content_bytes"]
    assert stats["requests"] == 7
    assert stats["clients"]["127.0.0.1"]["content_bytes"] == stats["content_bytes"]
    assert stats["paths"]["/api/models/lab/none"]["statuses"] == {"401": 1}
    rows = {row["name"]: row for row in stats["digests"].values()}
    assert rows["lab/open/model.safetensors"] == {
        "name": "lab/open/model.safetensors",
        "size": len(WEIGHTS),
        "requests": 2,
        "bytes_sent": len(WEIGHTS) + 100,
        "clients": {"127.0.0.1": len(WEIGHTS) + 100},
    }
    assert ask(lab.url("control") + "/stats", "DELETE").json["services"]["hub"] == stats
    assert lab.stats()["requests"] == 0
    assert lab.stats("registry")["requests"] == 0


# Faults


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("after", [0, 1, 70_000])
def test_cut(lab: Lab, how: str, after: int) -> None:
    lab.fault(kind="cut", match="^/cdn/", after_bytes=after, how=how)
    answer = lab.file(WEIGHTS_PATH)
    assert (answer.status, answer.whole, answer.body) == (200, False, WEIGHTS[:after])
    assert lab.stats()["content_bytes"] == after
    rest = lab.file(WEIGHTS_PATH, Range=f"bytes={after}-")
    assert (rest.whole, answer.body + rest.body) == (True, WEIGHTS)
    assert lab.stats()["content_bytes"] == len(WEIGHTS)
    assert lab.applied() == ["cut"]


def ask_and_wait(lab: Lab, path: str) -> socket.socket:
    """Ask for a large file, and read nothing yet, so that most of it waits in the server's socket."""
    target = urlsplit(lab.hub(path).headers["Location"])
    connection = socket.socket()
    connection.settimeout(5)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", target.port))
    connection.sendall(f"GET {target.path}?{target.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    time.sleep(0.1)
    return connection


def test_a_reset_comes_after_what_was_sent(lab: Lab) -> None:
    lab.fault(kind="cut", match="^/cdn/", after_bytes=90_000, how="rst")
    received, ended = b"", ""
    with ask_and_wait(lab, WEIGHTS_PATH) as connection:
        while not ended:
            try:
                piece = connection.recv(1 << 16)
            except ConnectionResetError:
                ended = "reset"
            else:
                received += piece
                ended = "" if piece else "fin"
    assert ended == "reset"
    assert received.partition(b"\r\n\r\n")[2] == WEIGHTS[:90_000]


def test_what_a_client_gave_up_is_not_counted(tmp_path: Path) -> None:
    size = 8_000_000
    write_repo(tmp_path, "lab/large", {"model.safetensors": bytes(size)})
    with running(tmp_path) as lab:
        ask_and_wait(lab, "/lab/large/resolve/main/model.safetensors").close()
        deadline = time.monotonic() + 60
        while lab.stats()["content_bytes"] == size and time.monotonic() < deadline:
            time.sleep(0.02)
        assert 0 < lab.stats()["content_bytes"] < size


@pytest.mark.parametrize(
    ("status", "headers"),
    [(429, {"Retry-After": "7", "RateLimit": '"resolvers";r=0;t=7'}), (500, {}), (503, {"Retry-After": "7"})],
)
def test_status(lab: Lab, status: int, headers: dict[str, str]) -> None:
    lab.fault(kind="status", status=status, match="config.json", **({"retry_after": 7} if headers else {}))
    answer = lab.hub("/lab/open/resolve/main/config.json")
    assert answer.status == status
    assert {name: answer.headers[name] for name in ("Retry-After", "RateLimit") if answer.headers[name]} == headers
    assert "injected fault" in answer.json["error"]
    assert lab.hub("/lab/open/resolve/main/config.json").status == 307
    assert lab.stats()["content_bytes"] == 0


def test_wrong_etag(lab: Lab) -> None:
    right = lab.hub(WEIGHTS_PATH, "HEAD").headers["X-Linked-ETag"]
    lab.fault(kind="etag", match="safetensors", method="HEAD")
    wrong = lab.hub(WEIGHTS_PATH, "HEAD").headers["X-Linked-ETag"]
    assert wrong != right
    assert len(wrong) == len(right)
    assert lab.hub(WEIGHTS_PATH, "HEAD").headers["X-Linked-ETag"] == right
    lab.fault(kind="etag", match="config.json", etag="abc")
    assert lab.file("/lab/open/resolve/main/config.json").headers["ETag"] == '"abc"'


@pytest.mark.parametrize("at", [0, 50_000, 102_399])
def test_wrong_content(lab: Lab, at: int) -> None:
    lab.fault(kind="content", match="^/cdn/", at_byte=at)
    body = lab.file(WEIGHTS_PATH).body
    assert [index for index in range(len(WEIGHTS)) if body[index] != WEIGHTS[index]] == [at]
    assert lab.file(WEIGHTS_PATH).body == WEIGHTS


def test_slow(lab: Lab) -> None:
    lab.fault(kind="slow", match="^/cdn/", bytes_per_second=4 * len(WEIGHTS))
    started = time.monotonic()
    assert lab.file(WEIGHTS_PATH).body == WEIGHTS
    assert time.monotonic() - started > 0.2


@pytest.mark.parametrize(("after", "status"), [(None, None), (500, 200)])
def test_hang(lab: Lab, after: int | None, status: int | None) -> None:
    lab.fault(kind="hang", match="^/cdn/", after_bytes=after, seconds=30)
    target = urlsplit(lab.hub(WEIGHTS_PATH).headers["Location"])
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=0.25)
    connection.request("GET", f"{target.path}?{target.query}")
    if status is None:
        with pytest.raises(TimeoutError):
            connection.getresponse()
    else:
        answer = read(connection)
        assert (answer.status, answer.whole, answer.body) == (status, False, WEIGHTS[:500])
    connection.close()
    assert lab.applied() == ["hang"]


def test_faults_for_one_client_only(lab: Lab) -> None:
    lab.fault(kind="status", status=500, client="192.0.2.1")
    assert lab.hub("/api/models/lab/open").status == 200
    lab.fault(kind="status", status=500, client="127.0.0.1")
    assert lab.hub("/api/models/lab/open").status == 500


# The control API


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("POST", "/faults", "{", 400, "this is not JSON"),
        ("POST", "/faults", "[1]", 400, "a fault is a JSON object"),
        ("POST", "/faults", '[{"service": "hub", "kind": "etag"}, {"service": "hub"}]', 400, "kind must be"),
        ("POST", "/faults", "[" * (1 << 20) + "[", 400, "too long"),
        ("DELETE", "/faults/x", None, 400, "not the number of a fault"),
        ("DELETE", "/faults/99999", None, 404, "there is no fault 99999"),
        ("PUT", "/faults", "{}", 405, "no such call"),
        ("GET", "/other", None, 404, "there are only"),
    ],
)
def test_control_refuses(lab: Lab, method: str, path: str, body: str | None, status: int, reason: str) -> None:
    answer = ask(lab.url("control") + path, method, body=body)
    assert (answer.status, reason in answer.json["error"]) == (status, True)
    assert ask(lab.url("control") + "/faults").json == {"active": [], "applied": []}


def test_control(lab: Lab) -> None:
    control = lab.url("control")
    assert ask(control + "/health").json == {"ok": True}
    two = '[{"service": "hub", "kind": "etag"}, {"service": "registry", "kind": "slow", "bytes_per_second": 9}]'
    active: list[dict[str, Any]] = ask(control + "/faults", "POST", body=two).json["active"]
    assert [fault["kind"] for fault in active] == ["etag", "slow"]
    left = ask(f"{control}/faults/{active[0]['id']}", "DELETE").json["active"]
    assert left == active[1:]
    assert ask(control + "/faults", "DELETE").json == {"active": [], "applied": []}


# Xet


def test_xet(lab: Lab) -> None:
    digest = hashlib.sha256(PARTED).hexdigest()
    found = lab.hub("/lab/parts/resolve/main/model.safetensors", token=GOOD).headers
    assert found["X-Xet-Hash"] == digest
    assert "X-Xet-Hash" not in lab.hub("/lab/parts/resolve/main/config.json", token=GOOD).headers
    assert "X-Xet-Hash" not in lab.hub(WEIGHTS_PATH).headers
    rows = lab.hub("/api/models/lab/parts/tree/main").json
    assert [row.get("xetHash") for row in rows] == [None, digest]
    refresh = found["X-Xet-Refresh-Route"].removeprefix(lab.url("hub"))
    assert lab.hub(refresh).status == 401
    assert lab.hub(refresh, token=OTHER).status == 403
    opened = lab.hub(refresh, token=GOOD)
    assert opened.headers["X-Xet-Cas-Url"] == opened.json["casUrl"]
    files = f"{opened.json['casUrl']}/v1/reconstructions"

    def told(hash_: str = digest, token: str = opened.json["accessToken"], **more: str) -> Answer:
        return ask(f"{files}/{hash_}", headers={"Authorization": f"Bearer {token}", **more})

    terms = told().json["terms"]
    assert [term["unpacked_length"] for term in terms] == [1 << 20, 1 << 20, len(PARTED) - (2 << 20)]
    content = b""
    for term in terms:
        (where,) = told().json["fetch_info"][term["hash"]]
        first, last = where["url_range"]["start"], where["url_range"]["end"]
        answer = ask(where["url"], headers={"Range": f"bytes={first}-{last}"})
        assert (answer.status, len(answer.body)) == (206, last + 1)
        stored = answer.body
        while stored:
            length = int.from_bytes(stored[1:4], "little")
            content, stored = content + stored[8 : 8 + length], stored[8 + length :]
    assert content == PARTED
    some = told(Range=f"bytes={(1 << 20) + 5}-{(1 << 20) + 6}").json
    assert (len(some["terms"]), some["offset_into_first_range"]) == (1, 5)
    assert told(Range=f"bytes={len(PARTED)}-").status == 416
    assert told("0" * 64).status == 404
    for token in ("", "1.x", "x.y", f"{int(time.time()) + 60}.{digest}"):
        assert told(token=token).status == 401
    assert ask(f"{opened.json['casUrl']}/xorbs/{digest}/3").status == 404
    assert ask(f"{opened.json['casUrl']}/xorbs/{digest}/-1").status == 404
    assert ask(f"{lab.url('cdn')}/xet/lab/open/xorbs/{hashlib.sha256(WEIGHTS).hexdigest()}/0").status == 404
