# SIMULATED: part of the lab's stand-in for the internet, not the Hugging Face hub.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's repositories, read from plain directories.

    ROOT/hub/tokens.json                        {"hf_token": {"name": "user", "granted": ["org/name"]}}
    ROOT/hub/models/<org>/<name>/.repo.json     optional: {"gated": false, "private": false, "tags": {"v1.0": "main"}},
                                                and "xet": true where LFS files are offered by Xet as well
    ROOT/hub/models/<org>/<name>/<branch>/...   the files of a branch; `main` is the default one

What is in the directories is what is served, at once. Commits, trees and blobs have the ids that git would give them
(one commit without parents a branch, with a fixed author and time), so that equal files have equal ids anywhere. An
old commit lives as long as a branch holds its files. Files of 10 MB or more, and weights of any size, are LFS objects.

Hashes are remembered by (path, size, time of change). Those that `seed.py` noted in `.repo.json` are believed on the
same terms, so that nothing large is hashed twice.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

LFS_THRESHOLD = 10_000_000
LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".onnx", ".pt", ".pth")
_AUTHOR = "virtual internet <lab@localhost> 1700000000 +0000"
TITLE = "Made by the lab"


@dataclass(frozen=True)
class Entry:
    """One file of one commit."""

    path: str
    file: Path
    size: int
    oid: str  # of the git blob: the file's own, or its LFS pointer's
    sha256: str | None = None  # of an LFS object
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        """What the hub calls this content."""
        return self.sha256 or self.oid

    @property
    def digest(self) -> str:
        """The same for the ledger."""
        return f"sha256:{self.sha256}" if self.sha256 else f"git-sha1:{self.oid}"


@dataclass(frozen=True)
class Commit:
    """The files of a branch as they are now."""

    sha: str
    modified: datetime
    files: dict[str, Entry]
    folders: dict[str, str]  # path: id of the git tree


@dataclass(frozen=True)
class Repo:
    """One model repository."""

    id: str
    gated: bool | str
    private: bool
    branches: dict[str, Commit]
    tags: dict[str, Commit]
    xet: bool = False  # whether its LFS files are offered by Xet as well

    def commit(self, revision: str) -> Commit | None:
        """Find a branch, a tag or a commit id."""
        by_sha = {commit.sha: commit for commit in self.branches.values()}
        return self.branches.get(revision) or self.tags.get(revision) or by_sha.get(revision)

    def lfs_object(self, sha256: str) -> Entry | None:
        """Find an LFS object of any branch."""
        entries = (entry for commit in self.branches.values() for entry in commit.files.values())
        return next((entry for entry in entries if entry.sha256 == sha256), None)


@dataclass(frozen=True)
class Identity:
    """Who asks. No name: nobody, or somebody with a token that does not exist."""

    name: str | None = None
    granted: frozenset[str] = frozenset()
    bad_token: bool = False


def git_object(kind: str, content: bytes) -> str:
    """Return the id that git gives to an object."""
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """Return the file that git keeps in the place of an LFS object."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_lfs(path: str, size: int) -> bool:
    """Whether the hub keeps this file outside of git."""
    return size >= LFS_THRESHOLD or path.endswith(LFS_SUFFIXES)


def git_trees(blobs: dict[str, str]) -> dict[str, str]:
    """Return the ids of all folders of a commit ("" is the top) from the ids of its files."""
    children: dict[str, dict[str, str]] = {"": {}}
    for path, oid in blobs.items():
        folder, _slash, name = path.rpartition("/")
        children.setdefault(folder, {})[name] = "100644 " + oid
        while folder:
            parent = folder.rpartition("/")[0]
            children.setdefault(parent, {})
            folder = parent
    trees: dict[str, str] = {}
    for folder in sorted(children, key=lambda path: -path.count("/") if path else 1):  # the deepest first, "" last
        rows = children[folder]
        # git sorts a folder as if its name ended with a slash
        names = sorted(rows, key=lambda name: name + "/" if rows[name].startswith("40000") else name)
        content = b""
        for name in names:
            mode, oid = rows[name].split()
            content += f"{mode} {name}\0".encode() + bytes.fromhex(oid)
        trees[folder] = git_object("tree", content)
        if folder:
            parent, _slash, name = folder.rpartition("/")
            children[parent][name] = "40000 " + trees[folder]
    return trees


@dataclass
class Store:
    """All repositories below one directory. Safe to use from several threads."""

    root: Path
    _hashes: dict[tuple[str, int, int], str] = field(default_factory=dict)
    _commits: dict[tuple[Any, ...], Commit] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    def identify(self, authorization: str | None) -> Identity:
        """Return who an Authorization header stands for."""
        if not authorization:
            return Identity()
        scheme, _space, token = authorization.partition(" ")
        file = self.root / "hub" / "tokens.json"
        tokens = json.loads(file.read_text()) if file.is_file() else {}
        known = tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if known is None:
            return Identity(bad_token=True)
        return Identity(known["name"], frozenset(known.get("granted", [])))

    def repo(self, repo_id: str) -> Repo | None:
        """Read one repository as it is now."""
        organisation, _slash, name = repo_id.partition("/")
        folder = self.root / "hub" / "models" / organisation / name
        if not _plain(organisation) or not _plain(name) or not folder.is_dir():
            return None
        settings_file = folder / ".repo.json"
        settings = json.loads(settings_file.read_text()) if settings_file.is_file() else {}
        for path, (size, changed, digest) in settings.get("hashes", {}).items():
            self._hashes.setdefault((str(folder / path), size, changed), digest)
        branches = {
            branch.name: self._commit(branch)
            for branch in sorted(folder.iterdir())
            if branch.is_dir() and not branch.name.startswith(".")
        }
        tags = {tag: branches[branch] for tag, branch in settings.get("tags", {}).items() if branch in branches}
        gated = settings.get("gated", False)
        kept = {"private": settings.get("private", False), "xet": settings.get("xet", False)}
        return Repo(repo_id, "auto" if gated is True else gated, branches=branches, tags=tags, **kept)

    def repo_ids(self) -> list[str]:
        """Name every repository."""
        folders = sorted((self.root / "hub" / "models").glob("*/*"))
        return [f"{folder.parent.name}/{folder.name}" for folder in folders if folder.is_dir()]

    def warm(self) -> None:
        """Hash everything that is there, so that no client has to wait for it."""
        for repo_id in self.repo_ids():
            self.repo(repo_id)

    def _commit(self, branch: Path) -> Commit:
        """Read a branch; what did not change is not read again."""
        files = []
        for path in sorted(branch.rglob("*")):
            if path.is_file():
                stat = path.stat()
                files.append((path.relative_to(branch).as_posix(), path, stat.st_size, stat.st_mtime_ns))
        key = (str(branch), *((name, size, changed) for name, _path, size, changed in files))
        # no two requests hash the same file side by side
        with self._locks.setdefault(str(branch), threading.Lock()):
            if key not in self._commits:
                entries = {name: self._entry(name, path, size, changed) for name, path, size, changed in files}
                folders = git_trees({name: entry.oid for name, entry in entries.items()})
                content = f"tree {folders['']}\nauthor {_AUTHOR}\ncommitter {_AUTHOR}\n\n{TITLE}\n"
                newest = max((changed for _name, _path, _size, changed in files), default=0) / 1e9
                modified = datetime.fromtimestamp(newest, timezone.utc)
                self._commits[key] = Commit(git_object("commit", content.encode()), modified, entries, folders)
            return self._commits[key]

    def _entry(self, name: str, path: Path, size: int, changed: int) -> Entry:
        key = (str(path), size, changed)
        lfs = is_lfs(name, size)
        if key not in self._hashes:
            self._hashes[key] = sha256_of(path) if lfs else git_object("blob", path.read_bytes())
        if not lfs:
            return Entry(name, path, size, self._hashes[key])
        pointer = lfs_pointer(self._hashes[key], size)
        return Entry(name, path, size, git_object("blob", pointer), self._hashes[key], len(pointer))


def _plain(name: str) -> bool:
    """Whether this is one path segment that leads to no other place."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
