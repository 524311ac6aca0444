# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Hugging Face cache: what of a model is there, whether that is right, and the repair of what is not.

This module util is private to the collection.

CACHE/hub/models--org--name/blobs/<hash>                 the files
CACHE/hub/models--org--name/snapshots/<commit>/<path>    relative links to them
CACHE/hub/models--org--name/refs/<revision>              a commit
CACHE/hub/models--org--name/trees/<commit>.json          what `hf` noted of the repository: all of its files
CACHE/hub/.locks/models--org--name/<hash>.lock           held by `hf` while it downloads
CACHE/.dgx-spark/models--org--name.json                  what was verified, and which refs are ours
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import shlex
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Container, Iterator, List, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import (
    HubError,
    Model,
    config_file,
    parse_config,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import make_private_directory, replace_text
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile, hash_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import sentence

OWN_DIR = ".dgx-spark"
PARTIAL_DIR = ".dgx-spark-partial"
_THREADS = 8

OK, UNLINKED, MISSING, CORRUPT, UNREAD = "ok", "unlinked", "missing", "corrupt", "unread"

#: which files are read: none, the ones that are not noted as right, all
READ_NONE, READ_NEW, READ_ALL = "none", "new", "all"

Stamp = List[int]


class CacheError(ValueError):
    """The cache cannot be read or changed; the message names the path and the mend."""


class Cache:
    """Where the parts of one model's cache are."""

    def __init__(self, root: str | os.PathLike[str], repo: str) -> None:
        self.root, self.repo = Path(root), repo
        name = "models--" + repo.replace("/", "--")
        self.hub = self.root / "hub"
        self.repo_dir = self.hub / name
        self.blobs = self.repo_dir / "blobs"
        self.locks = self.hub / ".locks" / name
        self.own = self.root / OWN_DIR
        self.notes = self.own / f"{name}.json"
        self.source = self.own / f"{name}.source.json"  # the hashes of a directory that the model is taken from
        self.progress = self.own / f"{name}.progress"  # while something is brought
        self.hf_home = self.own / "hf"  # what hf writes beside the cache while it runs: settings, logs
        self.partial = self.blobs / PARTIAL_DIR
        self.lock = self.own / f"{name}.lock"

    def snapshot(self, commit: str) -> Path:
        """Return where the files of a commit are linked."""
        return self.repo_dir / "snapshots" / commit

    def ref(self, revision: str) -> Path:
        """Return where a revision's commit is noted."""
        return self.repo_dir / "refs" / revision

    def tree(self, commit: str) -> Path:
        """Return where `hf` notes all files of the repository at a commit."""
        return self.repo_dir / "trees" / f"{commit}.json"


class Notes:
    """Which blobs of a cache were read and found right, which refs the role wrote, and which trees it removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.verified: dict[str, Stamp] = {}
        self.refs: dict[str, str] = {}
        self.trees: dict[str, str] = {}  # by commit, the text of one that was there before us, empty if none was
        self.tensors: dict[str, Any] = {}  # by the files that hold them, what the weights consist of
        self.rates: dict[str, Any] = {}  # by the way it came, how much was brought last, and in how many seconds
        self.reload()

    def reload(self) -> None:
        """Read what is written, and keep what was found since."""
        found = self.verified
        try:
            noted = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
            self.verified, self.refs = dict(noted["verified"]), _texts(noted["refs"])
            self.trees = _texts(noted.get("trees", {}))
            self.tensors, self.rates = dict(noted.get("tensors", {})), dict(noted.get("rates", {}))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            # then everything is read again
            self.verified, self.refs, self.trees, self.tensors, self.rates = {}, {}, {}, {}, {}
        self._as_read = self._text()
        self.verified.update(found)

    def learn(self, model: Model, verified: Mapping[str, Stamp], reread: Container[str]) -> None:
        """Take over what another look found.

        :param verified: stamps of blobs that were right. :param reread: paths of files that are to be read again.
        """
        self.verified.update(verified)
        for file in model.files:
            if file.path in reread:
                self.verified.pop(file.blob, None)

    def verify(self, file: HashedFile, path: Path) -> None:
        """Note that a file was read and found right."""
        self.verified[file.blob] = stamp(path)

    def _text(self) -> str:
        noted: dict[str, Any] = {"verified": self.verified, "refs": self.refs, "trees": self.trees}
        noted.update({name: told for name, told in (("tensors", self.tensors), ("rates", self.rates)) if told})
        return json.dumps(noted, indent=1, sort_keys=True) + "\n"

    def save(self) -> None:
        """Write what is new, in one step."""
        text = self._text()
        if text == self._as_read:
            return
        make_private_directory(self.path.parent)
        replace_text(self.path, text)
        self._as_read = text


def _texts(noted: Mapping[str, Any]) -> dict[str, str]:
    """Texts by the name of a revision or commit, which becomes part of a path."""
    return {
        name: text for name, text in noted.items() if isinstance(text, str) and ".." not in name.split("/") and name
    }


class _BlobState(NamedTuple):
    """What there is of one blob. ``stamp``: of one that is right."""

    state: str
    detail: str = ""
    source: Path | None = None
    stamp: Stamp | None = None


class Found(NamedTuple):
    """What there is of one file. ``source``: its content under another name."""

    file: HashedFile
    state: str
    detail: str = ""
    source: Path | None = None


class Report(NamedTuple):
    """What there is of a model."""

    found: list[Found]
    ref_missing: bool
    needed: int
    reclaimable: int
    stamps: dict[str, Stamp]  # of the blobs that are right
    over_listed: list[str]  # files that are not wanted and not there, of which offline clients require that they are

    @property
    def complete(self) -> bool:
        """Whether every file is there, right, and where it belongs."""
        return all(one.state == OK for one in self.found)

    @property
    def to_do(self) -> bool:
        """Whether anything is to be fetched, linked, noted or removed."""
        return not self.complete or self.ref_missing or bool(self.over_listed)

    def to_fetch(self) -> list[HashedFile]:
        """Return the files whose content has to come from elsewhere."""
        return [one.file for one in self.found if one.state in (MISSING, CORRUPT)]

    @property
    def unread(self) -> int:
        """Bytes of the files that have to be read before their state is known."""
        return sum({one.file.blob: one.file.size for one in self.found if one.state == UNREAD}.values())

    def wrong(self, states: Container[str] = (UNLINKED, MISSING, CORRUPT, UNREAD)) -> list[str]:
        """Return what is wrong, a line for each file."""
        return [f"{one.file.path}: {one.detail}" for one in self.found if one.state in states]

    def problems(self) -> list[str]:
        """Return all that is wrong, a line each."""
        names = ", ".join(self.over_listed[:3]) + (" …" if len(self.over_listed) > 3 else "")
        lists = [f"trees: lists {names}, not wanted here, so that clients would refuse the snapshot offline"]
        return self.wrong() + (lists if self.over_listed else [])


def stamp(path: Path) -> Stamp:
    """Return what is another when a file was written to: size, mtime, inode and ctime, times in ns."""
    about = path.stat()
    return [about.st_size, about.st_mtime_ns, about.st_ino, about.st_ctime_ns]


def look(cache: Cache, model: Model, notes: Notes, read: str = READ_NEW) -> Report:
    """Return what of a model is there, and keep in ``notes`` which blobs are right.

    :param read: which files are read. What is noted, and has not been touched since, is right without being read;
        with READ_NONE all else is UNREAD.
    :raises CacheError: when a file may not be read.
    """
    try:
        return _look(cache, model, notes, read)
    except PermissionError as exc:
        raise CacheError(_unreadable(cache, exc, cache.repo_dir)) from exc


def _look(cache: Cache, model: Model, notes: Notes, read: str) -> Report:
    blobs = {file.blob: file for file in model.files}
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        states = dict(zip(blobs, pool.map(lambda file: _check_blob(cache, model, notes, file, read), blobs.values())))
    for blob, one in states.items():
        if one.stamp:
            notes.verified[blob] = one.stamp
        elif one.state != UNREAD:
            notes.verified.pop(blob, None)
    found = []
    for file in model.files:
        state, detail, source, _stamp = states[file.blob]
        if state == OK and not _is_linked(cache, model.commit, file):
            state, detail = UNLINKED, "is there, and its link is not"
        found.append(Found(file, state, detail, source))
    lacking = [blob for blob, one in states.items() if one.state in (MISSING, CORRUPT)]
    return Report(
        found=found,
        ref_missing=model.revision != model.commit and not cache.ref(model.revision).exists(),
        needed=sum(blobs[blob].size for blob in lacking),
        reclaimable=sum(
            path.lstat().st_size
            for blob in lacking
            for path in (*_remains(cache, blob), cache.partial / blob)
            if os.path.lexists(path)
        ),
        stamps={blob: one.stamp for blob, one in states.items() if one.stamp},
        over_listed=_over_listed(cache, model),
    )


def _over_listed(cache: Cache, model: Model) -> list[str]:
    """Return the files that `hf` noted of the repository, and that are neither wanted nor there.

    It notes all of them whichever it was asked for, and huggingface_hub refuses a snapshot offline that lacks one, from
    1.24 on. What it cannot read it passes over.
    """
    tree = cache.tree(model.commit)
    if not tree.is_file():
        return []
    try:
        noted = json.loads(tree.read_text(encoding="utf-8"))["files"]
        names = sorted(str(name) for name in noted)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
    wanted, top = {file.path for file in model.files}, cache.snapshot(model.commit)
    return [name for name in names if name not in wanted and not _exists(top / name)]


def _exists(path: Path) -> bool:
    """Whether there is such a file; a name that none can have is that of no file."""
    with suppress(OSError, ValueError):
        return path.exists()
    return False


def _check_blob(cache: Cache, model: Model, notes: Notes, file: HashedFile, read: str) -> _BlobState:
    path = cache.blobs / file.blob
    try:
        if path.is_file() and not path.is_symlink():
            # Taken before the file is read: a write in the meantime gives the file another stamp.
            now = stamp(path)
            if now[0] != file.size:
                return _BlobState(CORRUPT, f"has {now[0]} bytes instead of {file.size}")
            if read == READ_ALL or notes.verified.get(file.blob) != now:
                if read == READ_NONE:
                    return _BlobState(UNREAD, "has not been read yet")
                digest = hash_file(path, file)
                if digest != file.blob:
                    kind = "sha256" if file.sha256 else "git-sha1"
                    return _BlobState(CORRUPT, f"its {kind} is {digest} instead of {file.blob}")
            return _BlobState(OK, stamp=now)
        for other in _namesakes(cache, model, file):
            if other.is_file() and other.stat().st_size == file.size:
                if read == READ_NONE:
                    return _BlobState(UNREAD, f"may be there as {other}, which has not been read yet")
                if hash_file(other, file) == file.blob:
                    return _BlobState(UNLINKED, f"is there as {other}", other)
    except OSError as exc:
        raise CacheError(_unreadable(cache, exc, path)) from exc
    return _BlobState(MISSING, "is missing")


def _namesakes(cache: Cache, model: Model, file: HashedFile) -> list[Path]:
    """Return where the content of a blob that is not there might be instead.

    `hf` may keep it in a store that all repositories share, and link to it, which no container sees that is given this
    repository alone. Copying with links followed leaves it in the snapshot; a hub's wrong ETag leaves it under that.
    """
    paths = [cache.blobs / file.blob]
    paths += [cache.snapshot(model.commit) / other.path for other in model.files if other.blob == file.blob]
    return [Path(os.path.realpath(path)) for path in paths if path.exists()]


def _is_linked(cache: Cache, commit: str, file: HashedFile) -> bool:
    path, wanted = cache.snapshot(commit) / file.path, _link_text(cache, commit, file)
    is_ours = path.is_symlink() and os.readlink(path) == wanted
    return is_ours and os.path.realpath(path) == os.path.realpath(cache.blobs / file.blob)


def _link_text(cache: Cache, commit: str, file: HashedFile) -> str:
    # Relative, so that the repository's directory can stand anywhere.
    return os.path.relpath(cache.blobs / file.blob, (cache.snapshot(commit) / file.path).parent)


def _remains(cache: Cache, blob: str) -> list[Path]:
    """Return what is left of a blob that is not right: itself, and what killed downloads and copies left."""
    paths = [cache.blobs / blob, *cache.blobs.glob(f"{blob}*.incomplete"), *cache.blobs.glob(f".{blob}.*")]
    return [path for path in paths if os.path.lexists(path)]


def clear_wrong(cache: Cache, report: Report) -> list[str]:
    """Repair what needs no content from elsewhere, and make room for what does. Return what was done, a line each.

    The longest part of a file that killed downloads have left is put aside, to be completed.
    """
    done = []
    for one in report.found:
        blob = cache.blobs / one.file.blob
        if one.state == UNLINKED and one.source is not None:
            if blob.is_file() and not blob.is_symlink():
                continue  # done for another file of the same content
            blob.parent.mkdir(parents=True, exist_ok=True)
            if Path(os.path.realpath(cache.repo_dir)) in one.source.parents:
                one.source.replace(blob)
            else:
                _hard_link(one.source, blob)  # other repositories may use it where it is
            done.append(f"{one.file.path}: put in its place")
        elif one.state in (MISSING, CORRUPT):
            in_use = _in_use(cache.locks / f"{one.file.blob}.lock")
            if not in_use:
                _put_aside(cache, one.file)
            for path in _remains(cache, one.file.blob):
                # `hf` begins anew under another name: what an older run left is of use only to that run.
                if path == blob or not in_use:
                    _refuse_directory(path)
                    path.unlink()
                    done.append(f"{one.file.path}: removed {path.name}, {one.detail}")
    return done


def _refuse_directory(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        raise CacheError(f"{path} is a directory where a file belongs: move it away, and run this again")


def _put_aside(cache: Cache, file: HashedFile) -> None:
    """Keep the longest part of a file where copies keep theirs, and where no `hf` looks for it."""
    kept = cache.partial / file.blob
    for path in cache.blobs.glob(f"{file.blob}*.incomplete"):
        size = path.lstat().st_size
        there = kept.stat().st_size if kept.is_file() else 0
        if path.is_file() and not path.is_symlink() and there < size < file.size:
            cache.partial.mkdir(exist_ok=True)
            path.replace(kept)


def _hard_link(source: Path, blob: Path) -> None:
    blob.unlink(missing_ok=True)
    # Where the file system or its owner does not allow it, the file counts as missing.
    with suppress(OSError):
        os.link(source, blob)


def _in_use(lock: Path) -> bool:
    """Whether an `hf` holds this lock."""
    try:
        with lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def link(cache: Cache, model: Model, notes: Notes) -> list[str]:
    """Link every file whose content is right, and note the revision's commit where none is. Return what was done.

    A list of the repository's files that names more than there is goes, so that clients find the snapshot whole.
    """
    done = []
    for file in model.files:
        if file.blob not in notes.verified or _is_linked(cache, model.commit, file):
            continue
        path = cache.snapshot(model.commit) / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            _refuse_directory(path)
            path.unlink()
        path.symlink_to(_link_text(cache, model.commit, file))
        done.append(f"{file.path}: linked")
    ref = cache.ref(model.revision)
    if model.revision != model.commit and not ref.exists():
        ref.parent.mkdir(parents=True, exist_ok=True)
        replace_text(ref, model.commit, mode=0o644)
        notes.refs[model.revision] = model.commit
        done.append(f"refs/{model.revision}: written")
    if _over_listed(cache, model):
        tree = cache.tree(model.commit)
        tree.unlink()
        with suppress(OSError):
            tree.parent.rmdir()
        done.append(f"trees/{tree.name}: removed")
    return done


def keep_tree(cache: Cache, model: Model, notes: Notes) -> None:
    """Keep what somebody else's client noted of the repository, before ours runs for the first time, for undo."""
    text, tree = "", cache.tree(model.commit)
    with suppress(OSError, UnicodeDecodeError):
        text = tree.read_text(encoding="utf-8") if tree.is_file() else ""
    notes.trees.setdefault(model.commit, text)


def _bring_tree_back(cache: Cache, notes: Notes) -> None:
    for commit, text in notes.trees.items():
        tree = cache.tree(commit)
        if text and not tree.exists() and cache.snapshot(commit).is_dir():
            tree.parent.mkdir(exist_ok=True)
            replace_text(tree, text, mode=0o644)


def obstacles(cache: Cache, hint: str = "cache_dir", model: Model | None = None) -> list[str]:
    """Return why this user could not write to the cache, a line each; none if nothing is in the way.

    What others own is no obstacle where they let this user write, as in a cache that a group shares.

    :param hint: what the caller calls the option that names the cache.
    :param model: whose files' places are looked at too.
    """
    closed = _closed(cache)
    if closed:
        return [closed]
    for place in (cache.root, cache.hub, cache.repo_dir):
        if place.is_dir() and _is_read_only(place):
            return [_read_only(place, hint)]
    found, told, writable = [], set(), True
    written = (cache.blobs, cache.locks, cache.own)
    for top in _entered(cache):
        place = _nearest(top)
        if not place.is_dir():
            found.append(_no_directory(place, hint))
        elif _is_read_only(place):
            found.append(_read_only(place, hint))
            writable = False
        elif top in written and not os.access(place, os.W_OK | os.X_OK):
            about = place.stat()
            mend = _mend(cache, [about]) if place in (cache.root, *_below(cache, place)) else _make(cache, hint)
            found.append(f"{place} belongs to {_user(about.st_uid)}, and {_me()} may not write there: {mend}")
            told.add(place)
    found += _misplaced(cache, model, hint) if model else []
    if os.geteuid() and writable:
        found += _kept_out(cache, told)
    return list(dict.fromkeys(found))


def _kept_out(cache: Cache, told: Container[Path]) -> list[str]:
    """Return what files and directories keep `hf` from its work, of others and of this user, a line for each of both.

    Files that a container's root wrote are such: `hf` fails on them, in the middle.
    """
    lines, foreign, own = [], [], []
    for top in _tops(cache):
        for path in _tree(top):
            about = _in_the_way(cache, path)
            if about and about.st_uid != os.geteuid():
                foreign.append((path, about))
            elif about and path not in told:
                own.append((path, about))
    if foreign:
        (path, about), more = foreign[0], _and_more(foreign)
        mend = _mend(cache, [about for _path, about in foreign])
        lines.append(f"{path}{more}: of {_user(about.st_uid)}, not of {_me()}: {mend}")
    if own:
        (path, about), more = own[0], _and_more(own)
        mode = f"{stat.S_IMODE(about.st_mode):04o}"
        lines.append(f"{path}{more}: its mode {mode} keeps out {_me()}, whose it is: {_mend(cache, [about])}")
    return lines


def _and_more(found: Sequence[Any]) -> str:
    return f" and {len(found) - 1} more" if len(found) > 1 else ""


def _entered(cache: Cache) -> tuple[Path, ...]:
    """Return the directories in which something is written, by us or by `hf`."""
    return (cache.blobs, cache.locks, cache.own, cache.repo_dir / "snapshots", cache.repo_dir / "refs")


def _nearest(path: Path) -> Path:
    """Return the path, or the nearest one above it that is there."""
    while not os.path.lexists(path):
        path = path.parent
    return path


def _closed(cache: Cache, *more: Path) -> str:
    """Return that a directory on the way may not be entered, with the mend; empty where all may be.

    Nothing is known of what lies behind it, not even whether a name there is a link.
    """
    for top in (*more, *_entered(cache)):
        try:
            top.stat()
        except PermissionError as exc:
            real = Path(os.path.realpath(top))
            way = (place for place in (*reversed(real.parents), real) if not os.access(place, os.X_OK))
            place = next(way, None)
            return _enter(cache, place) if place else sentence(exc)
        except OSError:  # is not there, or not a directory
            continue
    return ""


def _enter(cache: Cache, place: Path) -> str:
    about, root = place.stat(), Path(os.path.realpath(cache.root))
    if root in (place, *place.parents):
        mend = _mend(cache, [about])
    else:  # what else is in there is not the cache's, and stays whose it is
        mend = f"sudo chmod {'u' if about.st_uid == os.geteuid() else 'a'}+x {shlex.quote(str(place))} && "
        if os.path.lexists(cache.root):
            mend += _chown([os.path.realpath(path) for path in (cache.root, cache.hub) if os.path.lexists(path)])
        else:
            # A link that chown would not follow may be there, or nothing.
            top = str(cache.root)
            mend += f"sudo install -d -o {_me()} {shlex.quote(top)} && {_chown([f'{top}/'])}"
    return f"{place} belongs to {_user(about.st_uid)}, and {_me()} may not enter it: {mend}"


def _is_read_only(place: Path) -> bool:
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def _read_only(place: Path, hint: str) -> str:
    error = OSError(errno.EROFS, os.strerror(errno.EROFS), str(place))
    return f"{sentence(error)}, or name another cache ({hint})"


def _misplaced(cache: Cache, model: Model, hint: str) -> list[str]:
    """Return what else stands where the model's files, their links and its ref go, which else fails at the end."""
    top, refs = cache.snapshot(model.commit), cache.repo_dir / "refs"
    places = [top / file.path for file in model.files]
    if model.revision != model.commit:
        places.append(cache.ref(model.revision))
    folders = {
        parent: None
        for place in places
        for parent in reversed(place.parents)
        if {top, refs} & {parent, *parent.parents}
    }
    found = []
    for folder in folders:
        with suppress(PermissionError):  # which is told of the directory that keeps this user out
            if folder != refs and os.path.lexists(folder) and not folder.is_dir():
                found.append(_no_directory(folder, hint))
    for place in (*places, *(cache.blobs / file.blob for file in model.files)):
        with suppress(PermissionError):
            if place.is_dir() and not place.is_symlink():
                found.append(sentence(IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))))
    return found


def _no_directory(place: Path, hint: str) -> str:
    if place.is_symlink():
        return (
            f"{place} is a link to {os.readlink(place)}, and there is no directory: mount the disk that holds it, "
            f"remove the link, or name another cache ({hint})"
        )
    return f"{place} is no directory: move it away, or name another cache ({hint})"


def _tops(cache: Cache) -> list[Path]:
    """Return the directories below which `hf` writes; a walk does not enter one that is a link to another disk."""
    tops = (cache.repo_dir, cache.locks, cache.blobs, cache.repo_dir / "snapshots", cache.repo_dir / "refs")
    return [top for top in tops if top in (cache.repo_dir, cache.locks) or top.is_symlink()]


def _in_the_way(cache: Cache, path: Path) -> os.stat_result | None:
    """Return what is known of a file or directory that keeps `hf` from its work; None of any other."""
    try:
        about = path.lstat()
    except PermissionError:  # its directory is in the way
        return None
    if stat.S_ISLNK(about.st_mode):  # a link is replaced in its directory
        return None
    if stat.S_ISDIR(about.st_mode):
        keeps = bool(about.st_mode & stat.S_ISVTX) and about.st_uid != os.geteuid()
        return about if keeps or not _may(path, about, os.R_OK | os.W_OK | os.X_OK) else None
    rewritten = cache.locks in path.parents or cache.repo_dir / "refs" in path.parents
    return None if _may(path, about, os.R_OK | os.W_OK if rewritten else os.R_OK) else about


def _may(path: Path, about: os.stat_result, wanted: int) -> bool:
    if os.getuid() == os.geteuid():
        return os.access(path, wanted)  # knows of access lists too
    shift = 6 if about.st_uid == os.geteuid() else 3 if about.st_gid in _groups() else 0
    return about.st_mode >> shift & wanted == wanted


def _groups() -> set[int]:
    return {os.getegid(), *os.getgroups()}


def _below(cache: Cache, place: Path) -> list[Path]:
    return [place] if cache.root in place.parents else []


def _tree(top: Path) -> Iterator[Path]:
    if top.is_dir():
        yield top
        for folder, folders, files in os.walk(top):
            yield from (Path(folder, name) for name in (*folders, *files))


def _mend(cache: Cache, abouts: Sequence[os.stat_result]) -> str:
    """Return the command that lets this user write. It names where links lead: chown and chmod do not follow them.

    :param abouts: what is known of the files and directories that are in the way.
    """
    places: list[str] = []
    for path in (cache.root, cache.hub, cache.repo_dir, cache.blobs):
        real = os.path.realpath(path)
        if os.path.lexists(path) and not any(real == one or real.startswith(f"{one}/") for one in places):
            places.append(real)
    places = places or [str(cache.root)]
    groups = _groups() - {0}
    if all(about.st_uid == os.geteuid() for about in abouts):
        return _sudo("chmod -R u+rwX", places)
    if all(about.st_gid in groups for about in abouts):
        # Where the sticky bit is set, only owners remove what is theirs.
        sticky = any(about.st_mode & stat.S_ISVTX for about in abouts)
        return _sudo(f"chmod -R {'-t,' if sticky else ''}g+rwX", places)
    # A mode that keeps others out may keep out its owner too.
    usable = all(_owners(about) & ~about.st_mode == 0 for about in abouts)
    return _chown(places) + ("" if usable else f" && {_sudo('chmod -R u+rwX', places)}")


def _owners(about: os.stat_result) -> int:
    """Return the bits that an owner needs."""
    return stat.S_IRWXU if stat.S_ISDIR(about.st_mode) else stat.S_IRUSR


def _chown(places: Sequence[str]) -> str:
    return _sudo(f"chown -R {_me()}{'' if _me().isdigit() else ':'}", places)


def _sudo(command: str, places: Sequence[str]) -> str:
    return f"sudo {command} {' '.join(shlex.quote(place) for place in places)}"


def _unreadable(cache: Cache, error: OSError, path: Path) -> str:
    """Return why something of the cache cannot be read, and the mend.

    :param path: which it is, where the error does not say.
    """
    if isinstance(error.filename, str):
        path = Path(error.filename)
    if not isinstance(error, PermissionError):
        return sentence(OSError(error.errno, error.strerror, str(path)))
    closed = _closed(cache, path)
    return closed or f"{path} cannot be read ({error.strerror}): {_mend(cache, [_nearest(path).lstat()])}"


@contextmanager
def _listing(root: str | os.PathLike[str]) -> Iterator[None]:
    """Tell of a cache that may not be read, of whatever model."""
    try:
        yield
    except PermissionError as exc:
        cache = Cache(root, "")
        raise CacheError(_unreadable(cache, exc, cache.root)) from exc


def _make(cache: Cache, hint: str) -> str:
    return f"sudo install -d -o {_me()} {shlex.quote(str(cache.root))}, or name another cache ({hint})"


def _me() -> str:
    return _user(os.geteuid())


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def bytes_there(cache: Cache, model: Model) -> int:
    """Return how many of a model's bytes are there, whole or on their way, right or not."""
    sizes = {file.blob: file.size for file in model.files}
    there = 0
    for folder in (cache.blobs, cache.partial):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.name.split(".")[0] in sizes:
                        there += entry.stat(follow_symlinks=False).st_size
    return min(there, sum(sizes.values()))


def index_errors(cache: Cache, model: Model) -> list[str]:
    """Return where the index of the weights and the files of the model do not agree, a line each."""
    paths, errors = {file.path for file in model.files}, []
    for file in model.files:
        if not file.path.endswith(".safetensors.index.json"):
            continue
        try:
            index = json.loads((cache.blobs / file.blob).read_text(encoding="utf-8"))
            shards = {str(name) for name in index["weight_map"].values()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
            continue  # a file that is missing or wrong is found by its hash
        folder = file.path.rpartition("/")[0]
        lacking = sorted(one for one in shards if (f"{folder}/{one}" if folder else one) not in paths)
        if lacking:
            errors.append(
                f"{file.path}: names {', '.join(lacking[:3])}, which is no file of this revision, or not wanted"
            )
    return errors


def free_bytes(cache: Cache) -> int:
    """Return what this user may still write where the cache is, or would be."""
    place = cache.repo_dir
    while not _exists(place):  # which may be above a directory that this user may not enter
        place = place.parent
    about = os.statvfs(place)
    return about.f_bavail * about.f_frsize


@contextmanager
def only_one(cache: Cache) -> Iterator[None]:
    """Let one process of ours at a time change a model's cache. A second one waits, and finds the work done."""
    make_private_directory(cache.own)
    with cache.lock.open("a", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def list_models(root: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the models that a cache holds, the largest first."""
    with _listing(root):
        return _list_models(root)


def _list_models(root: str | os.PathLike[str]) -> list[dict[str, Any]]:
    models = []
    for path in Path(root, "hub").glob("models--*--*"):
        organisation, _dashes, name = path.name[len("models--") :].partition("--")
        cache, snapshots = Cache(root, f"{organisation}/{name}"), path / "snapshots"
        files = [about for about in map(os.lstat, _tree(path)) if stat.S_ISREG(about.st_mode)]
        models.append(
            {
                "repo": cache.repo,
                "repo_dir": str(path),
                "bytes": sum(about.st_size for about in files),
                "commits": sorted(one.name for one in snapshots.iterdir()) if snapshots.is_dir() else [],
                "last_used": max((max(about.st_atime, about.st_mtime) for about in files), default=0.0),
                "noted": cache.notes.exists(),
                "busy": _in_use(cache.lock) or any(map(_in_use, cache.locks.glob("*.lock"))),
            }
        )
    return sorted(models, key=lambda model: (-model["bytes"], model["repo"]))


def noted(root: str | os.PathLike[str]) -> list[str]:
    """Return the repositories of which a cache holds something of ours: notes, or a lock."""
    with _listing(root):
        paths = list(Path(root, OWN_DIR).glob("models--*--*.*"))
    names = {path.name.split(".json")[0].split(".lock")[0] for path in paths}
    names = {name.rpartition(".source")[0] or name for name in names}
    return sorted(name[len("models--") :].replace("--", "/", 1) for name in names if not name.endswith(".progress"))


def refuse_busy(caches: Sequence[Cache]) -> None:
    """Refuse to remove anything that a process of ours still writes to: it would come back.

    :raises CacheError: with the lock that such a process holds.
    """
    for cache in caches:
        if _in_use(cache.lock):
            raise CacheError(
                f"a download or copy of {cache.repo} still runs here and holds {cache.lock}. Nothing was removed from "
                "the cache. Wait until the download or copy has ended, or end the process, and run this again"
            )


def remove(cache: Cache, with_model: bool, check_mode: bool) -> tuple[list[str], int]:
    """Take back what we wrote into a cache for one model. Return the paths that go, and the bytes that are freed."""
    notes = Notes(cache.notes)
    going: list[Path] = []
    if with_model:
        going += [path for path in (cache.repo_dir, cache.locks) if path.exists()]
    else:
        for revision, commit in notes.refs.items():
            path = cache.ref(revision)
            if path.is_file() and path.read_bytes() == commit.encode():  # still ours
                going.append(path)
    # The progress and hf's home are there only where a download was interrupted.
    own = (cache.notes, cache.source, cache.lock, cache.progress, cache.hf_home)
    going += [path for path in own if path.exists()]
    freed = 0
    for path in going:
        parts = [path, *(_tree(path) if path.is_dir() else [])]
        freed += sum(part.lstat().st_size for part in parts if stat.S_ISREG(part.lstat().st_mode))
        if check_mode:
            continue
        for part in sorted(set(parts), reverse=True):
            if part.is_dir() and not part.is_symlink():
                part.rmdir()
            else:
                part.unlink()
    if not check_mode:
        _bring_tree_back(cache, notes)
        for folder in (cache.own, cache.ref("x").parent):
            with suppress(OSError):
                folder.rmdir()
        if with_model:
            _drop_empty_cache(cache)
    return [str(path) for path in going], freed


def _drop_empty_cache(cache: Cache) -> None:
    """Remove what `hf` made around the models, if no model is left."""
    with suppress(OSError):
        cache.locks.parent.rmdir()
    with suppress(OSError):
        tag = cache.hub / "CACHEDIR.TAG"
        if [path for path in cache.hub.iterdir() if path != tag] == []:
            tag.unlink(missing_ok=True)
            cache.hub.rmdir()
            cache.root.rmdir()
            if cache.root.parent.name == ".cache":  # the user's, which came with the first model where it is empty now
                cache.root.parent.rmdir()


def bring(
    cache: Cache,
    model: Model,
    notes: Notes,
    fetch: Callable[[list[HashedFile]], str],
    attempts: int,
    done: list[str],
    sleep: Callable[[float], None] | None = None,
) -> int:
    """Fetch content until all of a model is there, right and linked. Return how often that was tried.

    :param fetch: brings the content of some files; returns why that failed, or an empty string.
    :param done: a list to which lines of what was done are added.
    :raises CacheError: when files are missing or wrong after so many attempts.
    """
    started, reason = 0, ""
    with only_one(cache):
        notes.reload()
        keep_tree(cache, model, notes)
        while True:
            report = look(cache, model, notes)
            if started and report.needed:
                reason = reason or "; ".join(report.wrong((MISSING, CORRUPT)))
                if started >= attempts:
                    raise CacheError(f"{model.repo} did not come whole in {started} attempts: {reason}")
                (sleep or time.sleep)(min(2**started, 30))
            while True:  # what is out of the way can show a right copy elsewhere
                cleared = clear_wrong(cache, report)
                if not cleared:
                    break
                done += cleared
                report = look(cache, model, notes)
            notes.save()
            wanted = report.to_fetch()
            if not wanted:
                break
            reason = fetch(wanted)
            started += 1
            done += [f"{file.path}: fetched" for file in wanted if not reason]
        if cache.partial.exists():
            shutil.rmtree(cache.partial)  # an older copy's, of another revision
        done += link(cache, model, notes)
        notes.save()
    return started


def describe(cache: Cache, model: Model, report: Report) -> dict[str, Any]:
    """Return what modules tell of a model in a cache."""
    states = {one.file.path: one.state for one in report.found}
    named = (MISSING, CORRUPT, UNLINKED, UNREAD)
    return {
        "repo": model.repo,
        "commit": model.commit,
        "repo_dir": str(cache.repo_dir),
        "snapshot": str(cache.snapshot(model.commit)),
        "files": len(model.files),
        "bytes": model.size,
        "complete": report.complete,
        "to_do": report.to_do,
        "ref_missing": report.ref_missing,
        "over_listed": report.over_listed,
        "progress": str(cache.progress),
        "needed_bytes": report.needed,
        "unread_bytes": report.unread,
        **{state: [path for path, its in states.items() if its == state] for state in named},
    }


def config_in(cache: Cache, model: Model) -> dict[str, Any] | None:
    """Return the model's parsed config.json if the cache has the right one, else None."""
    file = config_file(model)
    if file is None:
        return {}
    path = cache.blobs / file.blob
    with suppress(OSError, HubError):
        return parse_config(path.read_bytes(), file, str(path))
    return None


#: of a module: a model as ``Model.as_dict`` gives one
MODEL_OPTION = {
    "type": "dict",
    "required": True,
    "options": {
        "repo": {"type": "str", "required": True},
        "commit": {"type": "str", "required": True},
        "revision": {"type": "str", "required": True},
        "files": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "path": {"type": "str", "required": True},
                "size": {"type": "int", "required": True},
                "sha256": {"type": "str"},
                "git_sha1": {"type": "str"},
            },
        },
    },
}
#: of a module: models that are used with that one
BESIDE_OPTION = {"type": "list", "elements": "dict", "default": [], "options": MODEL_OPTION["options"]}
#: of a module: what hf_cache_info found before
KNOWN_OPTIONS = {
    "verified": {"type": "dict", "default": {}},
    "reread": {"type": "list", "elements": "str", "default": []},
}
CACHE_OPTION = {"type": "path", "default": "~/.cache/huggingface"}
