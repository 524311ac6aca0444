# SIMULATED: part of the lab's stand-in for the internet, not the Hugging Face hub.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's HTTP API, as far as `huggingface_hub` and `hf` use it to read models, and its content delivery.

As on the real hub: a small file is answered from `/api/resolve-cache/` (307), an LFS file from the content delivery
(302), which is another origin (here another port) with a signed address that expires, so that the client must not take
its token there. A repository that is kept in Xet (`"xet": true` in its `.repo.json`) has its LFS files offered by Xet
as well; of any other there are no Xet headers, and the client downloads over plain HTTP, with or without `hf-xet`.

Refusals, as the real hub words them:

    no token    no such repository, or a private one   401 RepoNotFound
    token       the same                               404 RepoNotFound
    no token    a gated one's files                    401 GatedRepo
    token       the same, not granted                  403 GatedRepo
    bad token   anything                               401, no code
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
import uuid
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from . import xet
from .http_server import Handler, Outlet, Server
from .ranges import UnsatisfiableRangeError, if_range_holds, parse_range
from .repository import TITLE, Commit, Entry, Identity, Repo, Store

PAGE, EXPANDED_PAGE = 1000, 50
WRONG_CREDENTIALS = "Invalid credentials in Authorization header"
NO_CREDENTIALS = "Invalid username or password."
_BODY_LIMIT = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


class RefusalError(Exception):
    """An answer that is an error, in the hub's own words."""

    def __init__(self, status: int, code: str | None, message: str, commit: Commit | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.commit = status, code, commit


def check_access(repo: Repo | None, repo_id: str, who: Identity, files: bool) -> Repo:
    """Return the repository if it may be seen (`files`: if its files may be read). Raises RefusalError."""
    if who.bad_token:
        raise RefusalError(401, None, WRONG_CREDENTIALS)
    granted = repo_id in who.granted
    if repo is None or (repo.private and not granted):
        if who.name is None:
            raise RefusalError(401, "RepoNotFound", NO_CREDENTIALS)
        raise RefusalError(404, "RepoNotFound", "Repository not found")
    if files and repo.gated and not granted:
        restricted = f"Access to model {repo_id} is restricted"
        if who.name is None:
            advice = "You must have access to it and be authenticated to access it. Please log in."
            raise RefusalError(401, "GatedRepo", f"{restricted}. {advice}")
        advice = f"Visit https://huggingface.co/{repo_id} to ask for access."
        raise RefusalError(403, "GatedRepo", f"{restricted} and you are not in the authorized list. {advice}")
    return repo


class HubServer(Server):
    """The hub's port. `cdn_base` is the content delivery's origin, {host} in it being the name the client used."""

    def __init__(self, *args: Any, store: Store, cdn_base: str, signing_key: bytes, url_ttl: int, **more: Any) -> None:
        self.store, self.cdn_base, self.signing_key, self.url_ttl = store, cdn_base, signing_key, url_ttl
        self.page, self.expanded_page = PAGE, EXPANDED_PAGE
        super().__init__(*args, **more)


class CdnServer(Server):
    """The content delivery's port."""

    def __init__(self, *args: Any, store: Store, signing_key: bytes, **more: Any) -> None:
        self.store, self.signing_key = store, signing_key
        super().__init__(*args, **more)


def new_signing_key() -> bytes:
    """Return a key for signed addresses; they do not outlive the process."""
    return secrets.token_bytes(32)


def sign(key: bytes, path: str, expires: int) -> str:
    """Return the signature of an address of the content delivery."""
    return hmac.new(key, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()


class _FileHandler(Handler):
    """What the hub and its content delivery share: sending a file, or a range of it."""

    service = "hub"

    def request_id(self) -> tuple[str, str]:
        """Return a header that names this answer, in the real hub's form."""
        trace = f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};{uuid.uuid4()}"
        return "X-Request-Id", trace

    def send_file(self, repo_id: str, entry: Entry, headers: list[tuple[str, str]]) -> None:
        """Send a file as the request's Range asks."""
        modified = self.date_time_string(entry.file.stat().st_mtime)
        head = [("Accept-Ranges", "bytes"), ("ETag", f'"{entry.etag}"'), ("Last-Modified", modified), *headers]
        wanted = self.headers.get("Range")
        try:
            held = if_range_holds(self.headers.get("If-Range"), entry.etag, modified)
            span = parse_range(wanted, entry.size) if held and self.command == "GET" else None
        except UnsatisfiableRangeError:
            self.send_head(416, [("Content-Range", f"bytes */{entry.size}"), ("Content-Length", "0"), *headers])
            return
        first, last = span or (0, entry.size - 1)
        head.append(("Content-Length", str(last - first + 1)))
        if span:
            head.append(("Content-Range", f"bytes {first}-{last}/{entry.size}"))
        with entry.file.open("rb") as file:
            self.send_head(206 if span else 200, head)
            if self.command != "HEAD":
                outlet = Outlet(self, last - first + 1, entry.digest, f"{repo_id}/{entry.path}", entry.size)
                outlet.write_file(file, first, last - first + 1)


class HubHandler(_FileHandler):
    """One connection to the hub."""

    server: HubServer

    def respond(self) -> None:
        """Answer, or refuse in the hub's words."""
        self.is_api = self.raw_path.startswith("/api/")
        try:
            self._route([unquote(part) for part in self.raw_path.split("/")[1:]])
        except RefusalError as refusal:
            headers = [self.request_id(), ("X-Error-Message", re.sub(r"[^\x20-\x7e]", "?", str(refusal)))]
            if refusal.code:
                headers.append(("X-Error-Code", refusal.code))
            if refusal.commit:
                headers.append(("X-Repo-Commit", refusal.commit.sha))
            if self.is_api:
                self.send_json(refusal.status, {"error": str(refusal)}, headers)
            else:
                self.send_payload(refusal.status, str(refusal).encode(), "text/plain; charset=utf-8", headers)

    def _route(self, parts: list[str]) -> None:
        reading = self.command in ("GET", "HEAD")
        if parts == ["api", "whoami-v2"] and reading:
            self._whoami()
        elif parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._model("/".join(parts[2:4]), parts[4:], reading)
        elif parts[:3] == ["api", "resolve-cache", "models"] and len(parts) >= 7 and reading:
            repo, commit, entry = self._file("/".join(parts[3:5]), parts[5], "/".join(parts[6:]))
            name = ("Content-Disposition", _disposition(entry.path))
            kind = ("Content-Type", "text/plain; charset=utf-8")
            self.send_file(repo.id, entry, [self.request_id(), ("X-Repo-Commit", commit.sha), kind, name])
        elif len(parts) >= 5 and parts[2] == "resolve" and reading:
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            raise RefusalError(404, None, "Sorry, we can't find the page you are looking for.")

    def _who(self) -> Identity:
        return self.server.store.identify(self.headers.get("Authorization"))

    def _repo(self, repo_id: str, files: bool) -> Repo:
        return check_access(self.server.store.repo(repo_id), repo_id, self._who(), files)

    def _file(self, repo_id: str, revision: str, path: str) -> tuple[Repo, Commit, Entry]:
        repo = self._repo(repo_id, files=True)
        commit = _commit(repo, revision)
        if path not in commit.files:
            raise RefusalError(404, "EntryNotFound", "Entry not found", commit)
        return repo, commit, commit.files[path]

    def _resolve(self, repo_id: str, revision: str, path: str) -> None:
        repo, commit, entry = self._file(repo_id, revision, path)
        headers = [self.request_id(), ("X-Repo-Commit", commit.sha), ("Accept-Ranges", "bytes")]
        if entry.sha256:
            address = self._signed(f"/cdn/{quote(repo.id)}/{entry.sha256}/{quote(path.rpartition('/')[2])}")
            headers += [("X-Linked-Size", str(entry.size)), ("X-Linked-ETag", f'"{entry.etag}"')]
            if repo.xet:
                refresh = f"http://{self.headers.get('Host', '')}/api/models/{repo.id}/xet-read-token/{commit.sha}"
                headers += [("X-Xet-Hash", entry.sha256), ("X-Xet-Refresh-Route", refresh)]
            self._redirect(302, "Found", address, headers)
        else:
            target = f"/api/resolve-cache/models/{quote(repo.id)}/{commit.sha}/{quote(path)}"
            self._redirect(307, "Temporary Redirect", f"{target}?{urlencode({'etag': entry.etag})}", headers)

    def _delivery(self) -> str:
        """Return the content delivery's origin, by the name that the client used."""
        host = urlsplit("//" + self.headers.get("Host", "")).hostname or self.connection.getsockname()[0]
        return self.server.cdn_base.replace("{host}", f"[{host}]" if ":" in host else host)

    def _signed(self, path: str) -> str:
        expires = int(time.time()) + self.server.url_ttl
        signature = sign(self.server.signing_key, unquote(path), expires)
        return f"{self._delivery()}{path}?{urlencode({'Expires': expires, 'Signature': signature})}"

    def _xet_token(self, repo: Repo) -> None:
        """Tell where a repository's Xet storage is, and what opens it."""
        path, expires = f"/xet/{repo.id}", int(time.time()) + self.server.url_ttl
        token = f"{expires}.{sign(self.server.signing_key, path, expires)}"
        told = {"casUrl": f"{self._delivery()}{path}", "accessToken": token, "exp": expires}
        names = {"X-Xet-Cas-Url": "casUrl", "X-Xet-Access-Token": "accessToken", "X-Xet-Token-Expiration": "exp"}
        headers = [(header, str(told[name])) for header, name in names.items()]
        self.send_json(200, told, [self.request_id(), *headers])

    def _redirect(self, status: int, reason: str, target: str, headers: list[tuple[str, str]]) -> None:
        body = f"{reason}. Redirecting to {target}".encode()
        self.send_payload(status, body, "text/plain; charset=utf-8", [("Location", target), *headers])

    def _whoami(self) -> None:
        who = self._who()
        if who.name is None:
            raise RefusalError(401, None, WRONG_CREDENTIALS if who.bad_token else NO_CREDENTIALS)
        answer = {
            "type": "user",
            "id": hashlib.sha256(who.name.encode()).hexdigest()[:24],
            "name": who.name,
            "fullname": who.name,
            "isPro": False,
            "orgs": [],
            "auth": {"type": "access_token", "accessToken": {"displayName": "lab", "role": "read"}},
        }
        self.send_json(200, answer, [self.request_id()])

    def _model(self, repo_id: str, rest: list[str], reading: bool) -> None:
        """Answer what is below /api/models/<org>/<name>."""
        verb = rest[0] if rest else ""
        repo = self._repo(repo_id, files=verb in ("auth-check", "xet-read-token"))
        headers = [self.request_id()]
        if verb == "auth-check" and len(rest) == 1 and reading:
            self.send_json(200, {}, headers)
        elif verb == "xet-read-token" and len(rest) == 2 and repo.xet and reading:
            self._xet_token(repo)
        elif verb == "refs" and len(rest) == 1 and reading:
            self.send_json(200, _refs(repo, "include_prs" in self.query), headers)
        elif (not rest or (verb == "revision" and len(rest) == 2)) and reading:
            commit = _commit(repo, rest[1] if rest else "main")
            info = model_info(repo, commit, _flag(self.query, "blobs"))
            expand = self.query.get("expand", []) + self.query.get("expand[]", [])
            if expand:
                info = {name: info[name] for name in ("_id", "id", *expand) if name in info}
            self.send_json(200, info, headers)
        elif verb == "tree" and len(rest) >= 2 and reading:
            self._tree(repo, _commit(repo, rest[1]), "/".join(rest[2:]).strip("/"))
        elif verb == "paths-info" and len(rest) == 2 and self.command == "POST":
            commit = _commit(repo, rest[1])
            asked = self._form()
            paths, expand = asked.get("paths", []), _flag(asked, "expand")
            self.send_json(
                200, [_listed(repo, commit, path, expand) for path in paths if _known(commit, path)], headers
            )
        else:
            raise RefusalError(404, None, "Sorry, we can't find the page you are looking for.")

    def _tree(self, repo: Repo, commit: Commit, folder: str) -> None:
        """List a folder, a page at a time."""
        if folder not in commit.folders:
            raise RefusalError(404, "EntryNotFound", f"{folder} does not exist on the revision", commit)
        expand = _flag(self.query, "expand")
        listing = tree(repo, commit, folder, _flag(self.query, "recursive"), expand)
        page = self.server.expanded_page if expand else self.server.page
        try:
            start = int(base64.urlsafe_b64decode(self.query.get("cursor", ["MA=="])[0]))
            page = max(1, min(page, int(self.query.get("limit", [str(page)])[0])))
        except ValueError as error:
            raise RefusalError(400, None, "Invalid cursor or limit") from error
        headers = [self.request_id(), ("X-Repo-Commit", commit.sha)]
        if start + page < len(listing):
            cursor = base64.urlsafe_b64encode(str(start + page).encode()).decode()
            query = urlencode({**{name: values[0] for name, values in self.query.items()}, "cursor": cursor})
            headers.append(("Link", f'<http://{self.headers.get("Host", "")}{self.raw_path}?{query}>; rel="next"'))
        self.send_json(200, listing[start : start + page], headers)

    def _form(self) -> dict[str, list[str]]:
        """Read a body of form fields or of JSON."""
        body = b""
        for piece in self.request_body():
            body += piece
            if len(body) > _BODY_LIMIT:
                self.close_connection = True
                raise RefusalError(413, None, "Payload too large")
        try:
            if "json" not in self.headers.get("Content-Type", ""):
                return parse_qs(body.decode())
            values = json.loads(body)
            return {name: item if isinstance(item, list) else [str(item)] for name, item in values.items()}
        except (ValueError, AttributeError) as error:
            raise RefusalError(400, None, "Invalid body") from error


class CdnHandler(_FileHandler):
    """One connection to the content delivery: signed addresses only and no token, but for what Xet keeps there."""

    server: CdnServer

    def respond(self) -> None:
        """Send an LFS object."""
        parts = [unquote(part) for part in self.raw_path.split("/")[1:]]
        expires = self.query.get("Expires", [""])[0]
        signature = self.query.get("Signature", [""])[0]
        path = unquote(self.raw_path)
        if parts[0] == "xet" and len(parts) >= 4:
            self._xet("/".join(parts[1:3]), parts[3:])
        elif self.headers.get("Authorization"):  # as S3 says where two ways to prove oneself meet
            self._refuse(400, "InvalidArgument", "Only one auth mechanism allowed")
        elif not expires.isascii() or not expires.isdigit():
            self._refuse(403, "AccessDenied", "Access denied")
        elif not hmac.compare_digest(sign(self.server.signing_key, path, int(expires)), signature):
            self._refuse(403, "SignatureDoesNotMatch", "The signature does not match")
        elif int(expires) < time.time():
            self._refuse(403, "AccessDenied", "Request has expired")
        elif len(parts) != 5 or self.command not in ("GET", "HEAD"):
            self._refuse(404, "NoSuchKey", "The specified key does not exist.")
        else:
            repo_id, name = "/".join(parts[1:3]), parts[4]
            repo = self.server.store.repo(repo_id)
            entry = repo.lfs_object(parts[3]) if repo and _SHA256.fullmatch(parts[3]) else None
            if entry is None:
                self._refuse(404, "NoSuchKey", "The specified key does not exist.")
                return
            headers = [("Content-Type", "application/octet-stream"), ("Content-Disposition", _disposition(name))]
            self.send_file(repo_id, entry, headers)

    def _xet(self, repo_id: str, rest: list[str]) -> None:
        """Answer what hf-xet asks: what a file consists of (with its token), and the parts (by address alone)."""
        repo = self.server.store.repo(repo_id)
        if repo is not None and repo.xet and len(rest) == 3:
            number = int(rest[2]) if rest[2].isascii() and rest[2].isdigit() else 0
            if rest[:2] == ["v1", "reconstructions"]:
                entry = repo.lfs_object(rest[2])
                if not self._xet_token_holds(repo_id):
                    self.send_json(401, {"error": "Unauthorized"})
                    return
                if entry is not None:
                    self._reconstruction(entry, f"/xet/{quote(repo_id)}/xorbs/{rest[2]}")
                    return
            elif rest[0] == "xorbs" and rest[2] == str(number):
                entry = repo.lfs_object(rest[1])
                if entry is not None and number * xet.XORB < entry.size:
                    self._xorb(repo_id, entry, number)
                    return
        self.send_json(404, {"error": "Not Found"})

    def _xet_token_holds(self, repo_id: str) -> bool:
        expires, _dot, signature = self.headers.get("Authorization", "").rpartition(" ")[2].partition(".")
        if not expires.isascii() or not expires.isdigit() or int(expires) < time.time():
            return False
        return hmac.compare_digest(sign(self.server.signing_key, f"/xet/{repo_id}", int(expires)), signature)

    def _reconstruction(self, entry: Entry, path: str) -> None:
        try:
            first, last = parse_range(self.headers.get("Range"), entry.size) or (0, entry.size - 1)
        except UnsatisfiableRangeError:  # how the client learns that there is no more
            self.send_json(416, {"error": "Range Not Satisfiable"})
            return
        base = f"http://{self.headers.get('Host', '')}{path}"
        self.send_json(200, xet.reconstruction(entry.etag, entry.size, first, last, base))

    def _xorb(self, repo_id: str, entry: Entry, number: int) -> None:
        content = xet.xorb(entry.file, entry.size, number)
        span = parse_range(self.headers.get("Range"), len(content))
        first, last = span or (0, len(content) - 1)
        head = [("Content-Type", "application/octet-stream"), ("Content-Length", str(last - first + 1))]
        if span:
            head.append(("Content-Range", f"bytes {first}-{last}/{len(content)}"))
        self.send_head(206 if span else 200, head)
        if self.command != "HEAD":
            outlet = Outlet(self, last - first + 1, entry.digest, f"{repo_id}/{entry.path}", entry.size)
            outlet.write(content[first : last + 1])

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
        self.send_payload(status, body.encode(), "application/xml")


# What the API shows, as pure functions.


def model_info(repo: Repo, commit: Commit, blobs: bool) -> dict[str, Any]:
    """Return what the hub tells about a model."""
    siblings: list[dict[str, Any]] = []
    for entry in commit.files.values():
        sibling: dict[str, Any] = {"rfilename": entry.path}
        if blobs:
            sibling.update(blobId=entry.oid, size=entry.size)
            if entry.sha256:
                sibling["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
        siblings.append(sibling)
    return {
        "_id": hashlib.sha256(repo.id.encode()).hexdigest()[:24],
        "id": repo.id,
        "modelId": repo.id,
        "author": repo.id.partition("/")[0],
        "sha": commit.sha,
        "lastModified": _iso(commit),
        "createdAt": _iso(commit),
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "usedStorage": sum(entry.size for entry in commit.files.values()),
        "siblings": siblings,
    }


def tree(repo: Repo, commit: Commit, folder: str, recursive: bool, expand: bool) -> list[dict[str, Any]]:
    """Return the listing of a folder: folders and files, by name."""
    start = folder + "/" if folder else ""
    below = [path for path in (*commit.folders, *commit.files) if path.startswith(start) and path != folder and path]
    paths = sorted(path for path in below if recursive or "/" not in path[len(start) :])
    return [_listed(repo, commit, path, expand) for path in paths]


def _listed(repo: Repo, commit: Commit, path: str, expand: bool) -> dict[str, Any]:
    entry = commit.files.get(path)
    if entry is None:
        row: dict[str, Any] = {"type": "directory", "oid": commit.folders[path], "size": 0, "path": path}
    else:
        row = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
        if entry.sha256:
            row["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
            if repo.xet:
                row["xetHash"] = entry.sha256
    if expand:
        row["lastCommit"] = {"id": commit.sha, "title": TITLE, "date": _iso(commit)}
        if entry is not None:
            row["securityFileStatus"] = {"status": "unscanned", "avScan": None, "pickleImportScan": None}
    return row


def _refs(repo: Repo, pull_requests: bool) -> dict[str, list[dict[str, str]]]:
    def rows(kind: str, commits: dict[str, Commit]) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit.sha} for name, commit in commits.items()
        ]

    refs = {"branches": rows("heads", repo.branches), "converts": [], "tags": rows("tags", repo.tags)}
    return {**refs, "pullRequests": []} if pull_requests else refs


def _commit(repo: Repo, revision: str) -> Commit:
    commit = repo.commit(revision)
    if commit is None:
        raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return commit


def _known(commit: Commit, path: str) -> bool:
    return path in commit.files or path in commit.folders


def _flag(query: dict[str, list[str]], name: str) -> bool:
    return query.get(name, ["false"])[0].lower() in ("true", "1", "yes")


def _iso(commit: Commit) -> str:
    return commit.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _disposition(path: str) -> str:
    name = path.rpartition("/")[2]
    plain = re.sub(r'[^\x20-\x7e]|["\\]', "_", name)
    return f"inline; filename*=UTF-8''{quote(name)}; filename=\"{plain}\";"
