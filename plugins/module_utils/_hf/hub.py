# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Hugging Face hub tells of a model: its commit, its files with their sizes and hashes, its config.json.

This module util is private to the collection.
"""

from __future__ import annotations

import fnmatch
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile, new_hash
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told

_REPO = re.compile(r"(?=.{3,96}$)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w.+-]*(?:/[A-Za-z0-9][\w.+-]*)*", re.ASCII)
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: answers that another attempt may not meet again
PASSING = (408, 429, 500, 502, 503, 504)


_FINAL = (401, 403, 404, 451)
_SAID_CHARS = 300  # of a refusal that are told
#: where an answer's JSON has its words, the first one first
_SAID_KEYS = ("error", "message", "detail", "error_description", "errors")
_TITLE = re.compile(r"<title[^>]*>(.{1,100}?)</title>", re.IGNORECASE | re.DOTALL)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)
_LOGIN_STATUSES = (407, 511)  # of a proxy, or of a network such as a hotel's

# The hub's phrases, in lower case. Single words are not enough: other sentences have them too.
_CLOSED = re.compile(
    r"\b(?:your|this|the) (?:user )?(account|token)\b[^.]{0,40}\b(?:disabled|suspended|banned|blocked)\b"
)
_FINE_GRAINED = re.compile(r"\bfine[- ]grained (?:access )?tokens?\b")
_DISABLED = re.compile(r"\b(?:resource|repository|repo|model)\b[^.]{0,40}\b(?:is|was|has been|have been) disabled\b")
_AWAITED = re.compile(r"\brequest\b[^.]* access\b.*\b(?:awaiting|pending)\b")
_REJECTED = re.compile(r"\brequest\b[^.]* access\b.*\b(?:is|was|has been) (?:rejected|declined)\b")

#: the file that says what kind of model it is, and the largest that is read into a plan
CONFIG, CONFIG_BYTES = "config.json", 4 << 20


class HubError(ValueError):
    """The hub does not give what was asked for; the message says why, and what to do.

    ``option`` names the option that mends it, empty where none does; ``refused`` says that a hub answered, and will not
    give it to this account.
    """

    refused = False

    def __init__(self, message: str, option: str = "") -> None:
        super().__init__(message)
        self.option = option


class UnreachableError(HubError):
    """No hub answers at the address."""


def explain(error: Exception, hints: Mapping[str, str]) -> str:
    """Return an error's message, with the option that mends it as the caller calls it.

    >>> explain(HubError("give a token", "token"), {"token": "hf_cache_token"})
    'give a token (hf_cache_token)'
    """
    option = getattr(error, "option", "")
    return f"{told(error)} ({hints.get(option, option)})" if option else told(error)


#: of a module that calls ``explain``
HINTS_OPTION = {"type": "dict", "default": {}}


class Model(NamedTuple):
    """A model at one commit. ``revision`` is the name under which it was asked for."""

    repo: str
    commit: str
    revision: str
    files: tuple[HashedFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``read_model`` takes."""
        return {**self._asdict(), "files": [file._asdict() for file in self.files]}


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str] | Message
    body: bytes


#: of a module, for what :func:`chosen` takes
PATTERN_OPTIONS = {
    "allow_patterns": {"type": "list", "elements": "str", "default": []},
    "ignore_patterns": {"type": "list", "elements": "str", "default": []},
}


def chosen(model: Model, allow: Sequence[str], ignore: Sequence[str]) -> Model:
    """Return the model with the files that are wanted, by patterns as `hf` has them: an asterisk passes slashes."""

    def matches(file: HashedFile, patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(file.path, one + "*" if one.endswith("/") else one) for one in patterns)

    files = tuple(file for file in model.files if (not allow or matches(file, allow)) and not matches(file, ignore))
    if not files:
        raise HubError(
            f"no file of {model.repo} is wanted by allow_patterns {list(allow)} and ignore_patterns {list(ignore)}: "
            f"the model has {', '.join(file.path for file in model.files[:10])} …"
        )
    return model._replace(files=files)


def check_names(repo: str, revision: str) -> None:
    """Refuse what cannot be a repository and a revision, before a hub is asked."""
    if not _REPO.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith((".git", ".", "-")):
        raise HubError(
            f"{repo!r} is no model of the hub: give it as organisation/name, such as nvidia/Qwen3-235B-A22B-FP4"
        )
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise HubError(f"{revision!r} is no revision of {repo}: give a branch (main), a tag or a commit of 40 digits")


def read_model(about: Mapping[str, Any]) -> Model:
    """Return a model from the parts that ``Model.as_dict`` gives, or refuse them."""
    repo, commit, revision = about["repo"], about["commit"], about["revision"]
    check_names(repo, revision)
    if not isinstance(commit, str):
        raise HubError(f"no commit of {repo} is told: is endpoint a hub's?", "endpoint")
    if not _SHA1.fullmatch(commit):
        raise HubError(f"{commit!r} is no commit of {repo}: 40 hexadecimal digits are")
    files = []
    for row in about["files"]:
        file = HashedFile(row["path"], row["size"], row.get("sha256"), row.get("git_sha1"))
        if not isinstance(file.path, str):
            raise HubError(f"{repo} lists a file without a name: is endpoint a hub's?", "endpoint")
        parts = file.path.split("/")
        # The path becomes one below the cache: it must not lead out of it.
        if not all(parts) or {".", ".."} & set(parts) or not file.path.isprintable():
            raise HubError(f"{repo} names a file {file.path!r}, which no cache can hold")
        pattern = _SHA256 if file.sha256 else _SHA1
        hashed = isinstance(file.blob, str) and pattern.fullmatch(file.blob)
        if not hashed or not isinstance(file.size, int) or isinstance(file.size, bool) or file.size < 0:
            raise HubError(
                f"{repo} tells no size and hash of its file {file.path!r}: where endpoint is a mirror that leaves them "
                "out, name the hub itself, or a mirror that has them",
                "endpoint",
            )
        files.append(file)
    if not files:
        raise HubError(f"{repo} has no files at revision {revision}")
    return Model(repo, commit, revision, tuple(sorted(files)))


def parse_model_info(body: bytes, repo: str, revision: str) -> tuple[Model, bool]:
    """Return the model that the hub's answer describes, and whether it is gated."""
    try:
        info = json.loads(body)
    except (ValueError, RecursionError) as exc:
        what = "no JSON"
        if _is_page(body):
            what += " but a web page, which a proxy or a firewall may have put in its place"
        raise HubError(f"the hub's answer about {repo} is {what}: is endpoint a hub's?", "endpoint") from exc
    siblings = info.get("siblings") if isinstance(info, dict) else None
    if not isinstance(siblings, list) or not all(isinstance(row, dict) for row in siblings):
        raise HubError(
            f"the hub's answer about {repo} cannot be read, for it lists no files: is endpoint a hub's?", "endpoint"
        )
    rows = []
    for row in siblings:
        lfs = row.get("lfs") or {}
        # An LFS file's blobId is that of its pointer, which no cache holds.
        kind, its_hash = (
            ("sha256", lfs.get("sha256") if isinstance(lfs, dict) else None) if lfs else ("git_sha1", row.get("blobId"))
        )
        rows.append({"path": row.get("rfilename"), "size": row.get("size"), kind: its_hash})
    about = {"repo": repo, "commit": info.get("sha"), "revision": revision, "files": rows}
    return read_model(about), bool(info.get("gated"))


def config_file(model: Model) -> HashedFile | None:
    """Return the model's config.json, None where it has none of a size that a plan reads."""
    return next((file for file in model.files if file.path == CONFIG and file.size <= CONFIG_BYTES), None)


def parse_config(content: bytes, file: HashedFile, place: str) -> dict[str, Any]:
    """Return a model's parsed config.json.

    :param content: what was read at ``place``, which messages name. :param file: what the hub tells of the file.
    :raises HubError: when the content is not that file, or no JSON object.
    """
    digest = new_hash(file)
    digest.update(content)
    if digest.hexdigest() != file.blob:
        raise HubError(f"{place} is not the file that the model's commit names: its hash is {digest.hexdigest()}")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise HubError(f"{place} is no JSON object ({exc}): no engine could read this model") from exc
    if not isinstance(found, dict):
        raise HubError(f"{place} is no JSON object ({type(found).__name__}): no engine could read this model")
    return found


def said_by(answer: Answer) -> str:
    """Return the hub's own reason on one line, by its header or its body; empty where it gives none."""
    text = answer.headers.get("X-Error-Message") or ""
    if not text and not _is_page(answer.body):
        body = _text(answer.body)
        try:
            text = _words_of(json.loads(body))
        except (ValueError, RecursionError):
            text = "" if body[:1] in ("{", "[") else body
    words = "".join(letter if letter.isprintable() else " " for letter in text).split()
    return " ".join(words)[:_SAID_CHARS]


def _text(body: bytes) -> str:
    return body.decode("utf-8-sig", errors="replace").strip()


def _is_page(body: bytes) -> bool:
    """Whether this is HTML or XML, which the hub's API does not speak, and proxies and firewalls do."""
    return _text(body[:2000]).startswith("<")


def _words_of(told: Any) -> str:
    """Return the words in the JSON of a refusal, whose shape differs between hubs, mirrors and proxies."""
    if isinstance(told, str):
        return told
    if isinstance(told, list):
        return ", ".join(words for words in map(_words_of, told[:10]) if words)
    if isinstance(told, dict):
        return next((words for words in (_words_of(told.get(key)) for key in _SAID_KEYS) if words), "")
    return ""


def refusal(answer: Answer, endpoint: str, repo: str, revision: str, with_token: bool) -> HubError:
    """Return what a hub's refusal means, the mend, and the hub's own reason."""
    status, code = answer.status, answer.headers.get("X-Error-Code", "")
    page, said = f"{endpoint}/{repo}", said_by(answer)
    passing = status in PASSING or (status >= 500 and status not in _LOGIN_STATUSES)
    if not passing and not code and not answer.headers.get("X-Error-Message"):
        stranger = _stranger(answer, endpoint, repo)
        if stranger:
            return HubError(stranger, "endpoint")
    if code == "RevisionNotFound":
        return HubError(f"{repo} has no revision {revision!r}: see {page}/tree/main for what it has", "revision")
    # Without a token the hub does not tell a private repository from one that is not there.
    if code == "RepoNotFound" or status == 404:
        message = f"{repo} is not on the hub {endpoint}: check the spelling at {page}, and "
        if with_token:
            return HubError(f"{message}that the token's account may see it")
        return HubError(f"{message}give a token if it is private", "token")
    # The name of the repository may have the words that are looked for.
    reason = said.lower().replace(repo.lower(), "it")
    known = _denied(reason, endpoint, repo, with_token) if status in (401, 403) else None
    known = known or _refused(status, code, endpoint, repo, with_token)
    if known is None:
        answers = f"the hub {endpoint} answers HTTP {status} about {repo} ({said or 'no message'})"
        if passing:
            return HubError(f"{answers}: try again later")
        return HubError(
            f"{answers}: check that this is a hub's address, and that no proxy answers in its place", "endpoint"
        )
    return HubError(f"{known[0]} (the hub says: {said})" if said else known[0], known[1])


def _stranger(answer: Answer, endpoint: str, repo: str) -> str:
    """Return what it means that something else than the hub answers, with the mend; empty of the hub's own answer."""
    if answer.status in _LOGIN_STATUSES:
        return (
            f"a proxy between this host and the hub {endpoint} asks for a login (HTTP {answer.status}): give the "
            "proxy's address with a login in https_proxy, log in there, or name a hub that this host reaches without it"
        )
    kind = str(answer.headers.get("Content-Type") or "").lower()
    if not _is_page(answer.body) and not (kind.startswith("text/html") and answer.body):
        return ""
    found = _TITLE.search(_text(answer.body))
    title = " ".join("".join(one if one.isprintable() else " " for one in found[1]).split()) if found else ""
    titled = f", {title!r}" if title else ""
    return (
        f"a web page answers about {repo}, and not the hub {endpoint} (HTTP {answer.status}{titled}): "
        f"see {endpoint}/{repo} from this host, whether a proxy or a firewall stops it or the hub does not serve its "
        "country, and name a hub that answers"
    )


def _refused(status: int, code: str, endpoint: str, repo: str, with_token: bool) -> tuple[str, str] | None:
    """Return what a status means with the mend, and the option for it; None of what may pass."""
    page = f"{endpoint}/{repo}"
    if code == "GatedRepo" and with_token:
        return f"{repo} is gated, and the token's account has no access: ask for access at {page}", ""
    if code == "GatedRepo":
        return f"{repo} is gated: accept its conditions at {page}, and give that account's token", "token"
    if status == 401 and with_token:
        return f"the hub refuses the token: make one at {endpoint}/settings/tokens, and give it", "token"
    if status in (401, 403):
        return (
            f"the hub gives no access to {repo} (HTTP {status}): see {page}, and give a token that may read it",
            "token",
        )
    if status == 451:
        return f"the hub may not give out {repo} (HTTP 451): see {page}, or choose another model", ""
    if status == 429 and not with_token:
        return (
            f"the hub {endpoint} has had too many questions from this address (HTTP 429): wait some minutes, or give a "
            "token, which may ask more often",
            "token",
        )
    return None


def _denied(said: str, endpoint: str, repo: str, with_token: bool) -> tuple[str, str] | None:
    """Return what one of the hub's known reasons means with the mend, and the option for it; None of any other reason.

    :param said: in lower case, without the repository's name.
    """
    page, settings = f"{endpoint}/{repo}", f"{endpoint}/settings/tokens"
    closed = _CLOSED.search(said) if with_token else None
    if closed and closed[1] == "account":
        return (
            f"the hub has closed the token's account: see what it tells that account at {endpoint}, or give another "
            "account's token",
            "token",
        )
    if closed:
        return f"the hub takes the token no more: make another at {settings}, and give it", "token"
    if _FINE_GRAINED.search(said):
        return (
            f"the token may not read {repo}, though its account may: edit the token at {settings}, or give another",
            "token",
        )
    if _DISABLED.search(said):
        return f"the hub has disabled {repo}, and no token opens it: see {page} for why, or choose another model", ""
    if with_token and _AWAITED.search(said):
        who = "the request of the token's account"
        return f"the authors of {repo} have not answered {who} yet: wait for them, see {page}", ""
    if with_token and _REJECTED.search(said):
        return (
            f"the authors of {repo} have rejected the request of the token's account: see {page}, give another "
            "account's token, or choose another model",
            "token",
        )
    return None


class SameOrigin(urllib.request.HTTPRedirectHandler):
    """Takes the token along within one origin only."""

    def redirect_request(self, req: urllib.request.Request, *args: Any, **kwargs: Any) -> urllib.request.Request | None:
        """Return the request that follows a redirection."""
        new = super().redirect_request(req, *args, **kwargs)
        old = urllib.parse.urlsplit(req.full_url)
        if new is not None and urllib.parse.urlsplit(new.full_url)[:2] != old[:2]:
            new.remove_header("Authorization")
        return new


def fetch(url: str, token: str, timeout: float, span: tuple[int, int] | None = None) -> Answer:
    """Ask once.

    :param span: the first byte that is wanted, and the one after the last, of a file; None for all of an answer. Who
        sends the whole file instead is not listened to for longer.
    """
    headers = {"User-Agent": "sparkops.dgx_spark", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if span:
        headers.update({"Accept": "*/*", "Range": f"bytes={span[0]}-{span[1] - 1}"})
    opener = urllib.request.build_opener(SameOrigin())
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=timeout) as reply:
            return Answer(reply.status, reply.headers, reply.read(span[1]) if span else reply.read())
    except urllib.error.HTTPError as exc:
        with exc:
            return Answer(exc.code, exc.headers, exc.read())


def _address(model: Model, file: HashedFile) -> str:
    """Return the path of a file on a hub."""
    return f"/{model.repo}/resolve/{model.commit}/{urllib.parse.quote(file.path)}"


class Hub:
    """A hub at an address."""

    def __init__(
        self, endpoint: str, token: str = "", timeout: float = 20, attempts: int = 4, pause: float = 1
    ) -> None:
        try:
            parts = urllib.parse.urlsplit(endpoint)
            (parts.hostname or "").encode("idna")
            _port = parts.port
        except ValueError:
            raise HubError(f"{endpoint!r} is no hub's address: https://huggingface.co is one", "endpoint") from None
        if (
            not endpoint.isprintable()
            or " " in endpoint
            or parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.username
        ):
            raise HubError(f"{endpoint!r} is no hub's address: https://huggingface.co is one", "endpoint")
        # A header cannot hold more, and the error that says so would quote the token.
        if not token.isascii() or not token.isprintable() or " " in token:
            raise HubError("the token holds characters that no token has: give it as the hub shows it", "token")
        self.endpoint, self.token, self.timeout = endpoint.rstrip("/"), token, timeout
        self.attempts, self.pause = attempts, pause

    def model(self, repo: str, revision: str) -> tuple[Model, bool]:
        """Return the model at a revision, and whether it is gated; refuse one whose files may not be had."""
        check_names(repo, revision)
        about = f"/api/models/{repo}/revision/{urllib.parse.quote(revision, safe='')}?blobs=true"
        model, gated = parse_model_info(self._ask(about, repo, revision).body, repo, revision)
        if gated:  # its description is public, its files are not
            self._ask(f"/api/models/{repo}/auth-check", repo, revision)
        return model, gated

    def config(self, model: Model) -> dict[str, Any]:
        """Return the model's config.json, parsed; empty where the model has none.

        :raises HubError: when the hub sends another file than it describes, or one that is no JSON.
        """
        file = config_file(model)
        if file is None:
            return {}
        path = _address(model, file)
        return parse_config(self._ask(path, model.repo, model.revision).body, file, f"{self.endpoint}{path}")

    def part(self, model: Model, file: HashedFile, begin: int, end: int) -> bytes:
        """Return the bytes of a file from ``begin`` to before ``end``, by a range request.

        :raises HubError: when something else comes.
        """
        path = _address(model, file)
        answer, place = self._ask(path, model.repo, model.revision, (begin, end)), f"{self.endpoint}{path}"
        if answer.status == 200:  # the whole file, from its beginning
            content = answer.body[begin:end]
        else:
            told = answer.headers.get("Content-Range") or ""
            span = _CONTENT_RANGE.fullmatch(told)
            if not span or [int(number) for number in span.groups()] != [begin, end - 1, file.size]:
                raise HubError(
                    f"{place} answers with another part ({told[:80] or 'untold'}) than bytes {begin} to {end - 1} "
                    f"of {file.size}: see whether a proxy stands between, or name another hub",
                    "endpoint",
                )
            content = answer.body
        if len(content) != end - begin:
            raise HubError(f"{place} sends {len(content)} bytes instead of {end - begin}: try again later")
        return content

    def _ask(self, path: str, repo: str, revision: str, span: tuple[int, int] | None = None) -> Answer:
        for attempt in range(1, self.attempts + 1):
            last = attempt == self.attempts
            try:
                answer = fetch(self.endpoint + path, self.token, self.timeout, span)
            except (ConnectionResetError, http.client.HTTPException) as exc:
                if last:
                    raise self._unreachable(exc) from exc
            except OSError as exc:  # URLError is one
                raise self._unreachable(exc) from exc
            else:
                if answer.status == 200 or (span and answer.status == 206):
                    return answer
                if last or answer.status not in PASSING:
                    error = refusal(answer, self.endpoint, repo, revision, bool(self.token))
                    error.refused = answer.status in _FINAL and error.option != "endpoint"
                    raise error
            time.sleep(self.pause * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, exc: Exception) -> UnreachableError:
        reason = getattr(exc, "reason", None) or exc
        return UnreachableError(
            f"the hub {self.endpoint} cannot be reached ({reason}): give this host a way to it (network, DNS, "
            "https_proxy), or name a hub that it reaches",
            "endpoint",
        )
