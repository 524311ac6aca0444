# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model that lies in a directory, such as a checkpoint that was quantized at home, described as if a hub had it.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import Cache, stamp
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import (
    HubError,
    Model,
    check_names,
    config_file,
    parse_config,
    read_model,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import make_private_directory, replace_text
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile, hash_file

REVISION = "local"
_NO_HASH = "0" * 64  # has hash_file use SHA-256


def commit_of(files: Iterable[HashedFile]) -> str:
    """Return what stands for a commit: 40 digits over all paths and contents.

    >>> one = HashedFile("config.json", 2, sha256="44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
    >>> commit_of([one])
    '618e78a54d1cd92150df1af0dd7d6f54595ea134'
    """
    text = "".join(f"{file.sha256} {file.path}\n" for file in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def paths_in(top: Path) -> list[Path]:
    """Return the files of a directory, hidden ones left out. Links count as what they lead to."""
    if not top.is_dir():
        raise HubError(f"{top} is no directory on this host: name the one that holds the model", "directory")
    found = []
    for folder, folders, files in os.walk(top, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(files) if not name.startswith(".")]
    if not any(path.name == "config.json" for path in found):
        raise HubError(f"{top} holds no config.json, so no model: name the directory that does", "directory")
    odd = [path for path in found if not path.is_file() or not str(path).isprintable()]
    if odd:
        what = (
            f"a link to {os.readlink(odd[0])}, which is no file" if odd[0].is_symlink() else "no file that can be read"
        )
        raise HubError(
            f"{os.fsencode(odd[0]).decode(errors='backslashreplace')} is {what}, or has a name that no cache can hold: "
            "move it away",
            "directory",
        )
    return found


class Described(NamedTuple):
    """What a directory holds. ``model`` is None where files were left unread.

    ``hashes`` are size, mtime and inode of each file, and its hash, by path: what :func:`remember` takes.
    """

    model: Model | None
    hashes: dict[str, list[Any]]
    is_remembered: bool
    unread_bytes: int


def describe(top: Path, repo: str, cache: Cache, read: bool = True) -> Described:
    """Return the model that a directory holds. Nothing is written.

    What is remembered, and has not been touched since, is not read again.

    :param read: whether files may be read that are not remembered.
    :raises HubError: when the directory holds no model, or ``repo`` cannot be a model's name.
    """
    check_names(repo, REVISION)
    remembered = recalled(cache)

    def one(path: Path) -> tuple[str, Any, HashedFile]:
        now, name = stamp(path)[:3], str(path)  # not when the file was last linked to
        known = remembered.get(name)
        file = HashedFile(name, now[0], sha256=_NO_HASH)
        digest = known[1] if known and known[0] == now else _NO_HASH
        if digest == _NO_HASH and read:
            digest = hash_file(path, file)
        return name, [now, digest], HashedFile(str(path.relative_to(top)), now[0], sha256=digest)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(one, paths_in(top)))
    unread = sum(file.size for _name, _known, file in found if file.sha256 == _NO_HASH)
    if any(file.sha256 == _NO_HASH for _name, _known, file in found):
        return Described(None, {}, False, unread)
    hashes = {name: known for name, known, _file in found}
    files = [file for _name, _known, file in found]
    rows = [file._asdict() for file in files]
    model = read_model({"repo": repo, "commit": commit_of(files), "revision": REVISION, "files": rows})
    return Described(model, hashes, hashes == remembered, 0)


def recalled(cache: Cache) -> dict[str, Any]:
    """Return the hashes of the directory that the model was last taken from."""
    noted: Any = {}
    with suppress(OSError, ValueError, RecursionError):
        noted = json.loads(cache.source.read_text(encoding="utf-8"))
    noted = noted if isinstance(noted, dict) else {}
    return {path: known for path, known in noted.items() if isinstance(known, list) and len(known) == 2}


def remember(cache: Cache, hashes: Mapping[str, Any]) -> None:
    """Note the hashes of a directory's files, so that the next run need not read the files again."""
    if hashes and dict(hashes) != recalled(cache):
        make_private_directory(cache.own)
        replace_text(cache.source, json.dumps(hashes, indent=1, sort_keys=True) + "\n")


def config_in(top: Path, model: Model) -> dict[str, Any]:
    """Return the parsed config.json of a directory; empty where the model has none at its top.

    :raises HubError: when the file is not the one that was hashed, or no JSON object.
    """
    file = config_file(model)
    return {} if file is None else parse_config((top / file.path).read_bytes(), file, str(top / file.path))


def linkable(top: Path, cache: Cache) -> bool:
    """Whether the cache can have a directory's files without room for them: hard links, on one file system."""
    place = cache.blobs
    while not place.exists():
        place = place.parent
    return top.stat().st_dev == place.stat().st_dev


def take(top: Path, cache: Cache, files: Sequence[HashedFile]) -> str:
    """Bring a directory's files into the cache, by hard links where possible. Return why that failed, or nothing."""
    cache.blobs.mkdir(parents=True, exist_ok=True)
    for file in files:
        source, blob = Path(os.path.realpath(top / file.path)), cache.blobs / file.blob
        draft = blob.with_name(f".{blob.name}.taken")
        try:
            draft.unlink(missing_ok=True)
            try:
                os.link(source, draft)
            except OSError:  # another file system, or another owner's file
                shutil.copyfile(source, draft)
            draft.replace(blob)
        except OSError as exc:
            draft.unlink(missing_ok=True)
            return f"{file.path} cannot be taken from {top}: {exc.strerror or exc}"
    return ""
