# SIMULATED: part of the lab's stand-in for the internet, not the Hugging Face hub.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a model repository of random, incompressible weights, the same ones for the same seed.

    python3 -m virtual_internet.seed --root /srv/virtual-internet --repo lab/model-200m --size 200M --shards 5

The weights are valid safetensors files of the asked size, to the byte. Prints JSON:
`{"changed", "repo", "revision", "commit", "size", "files": {path: {"size", "etag", "lfs"}}}`. A second run with the
same arguments changes nothing. A branch appears whole or not at all, also under a running server.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from .repository import Store, is_lfs, sha256_of

_PIECE = 1 << 20
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_NOTE = "SIMULATED: made by the lab's stand-in for the internet; no model, the weights are random bytes"


def parse_size(text: str) -> int:
    """Return the bytes in `200M`, `1.5G`, `64KiB` or `123`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip(), re.ASCII)
    unit = match.group(2).upper() if match else ""
    unit = unit[:-1] if unit.endswith("B") and unit not in _UNITS else unit
    if match is None or unit not in _UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 200M")
    return int(float(match.group(1)) * _UNITS[unit])


def write_noise(file: BinaryIO, count: int, seed: str) -> None:
    """Write random bytes that depend on the seed alone."""
    for index in range(0, count, _PIECE):
        file.write(hashlib.shake_128(f"{seed}/{index}".encode()).digest(min(_PIECE, count - index)))


def write_safetensors(path: Path, size: int, tensor: str, seed: str) -> None:
    """Write a safetensors file of exactly this size, with one tensor of bytes."""
    head_size = 256
    data_size = size - 8 - head_size
    if data_size < 0:
        raise ValueError(f"a safetensors file of {size} bytes is too small, at least {8 + head_size} are needed")
    about = {"dtype": "U8", "shape": [data_size], "data_offsets": [0, data_size]}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}, tensor: about}
    with path.open("wb") as file:
        file.write(head_size.to_bytes(8, "little") + json.dumps(header).encode().ljust(head_size))
        write_noise(file, data_size, seed)


def write_model(folder: Path, size: int, shards: int, seed: str, extra: Path | None = None, chat: bool = True) -> None:
    """Write the files of a model, with a chat template or none; those in `extra` take the place of generated ones."""
    folder.mkdir(parents=True)
    weight_map = {}
    for index in range(shards):
        name = f"model-{index + 1:05}-of-{shards:05}.safetensors" if shards > 1 else "model.safetensors"
        tensor = f"model.layers.{index}.weight"
        shard = size // shards + (size % shards if index == shards - 1 else 0)
        write_safetensors(folder / name, shard, tensor, f"{seed}/{name}")
        weight_map[tensor] = name
    config = {"_comment": _NOTE, "architectures": ["LabForCausalLM"], "model_type": "lab", "num_hidden_layers": shards}
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {"_comment": _NOTE, "eos_token_id": 0})
    template = "{% for message in messages %}{{ message['role'] }} {{ message['content'] }}\n{% endfor %}"
    tokenizer = {"_comment": _NOTE, "model_max_length": 4096}
    _write_json(folder / "tokenizer_config.json", {**tokenizer, **({"chat_template": template} if chat else {})})
    with (folder / "tokenizer.json").open("wb") as file:
        file.write(json.dumps({"_comment": _NOTE, "version": "1.0", "noise": ""}).encode()[:-2])
        file.write(hashlib.shake_128(seed.encode()).hexdigest(100_000).encode() + b'"}\n')
    if shards > 1:
        index_json = {"metadata": {"total_size": size}, "weight_map": weight_map}
        _write_json(folder / "model.safetensors.index.json", index_json)
    (folder / "README.md").write_text(f"# {_NOTE}\n")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
    (folder / "assets").mkdir()
    (folder / "assets" / "about.txt").write_text(f"{_NOTE}; this file is here because it is in a folder\n")
    if extra is not None:
        shutil.copytree(extra, folder, dirs_exist_ok=True)


def seed_repo(
    root: Path,
    repo_id: str,
    size: int,
    shards: int = 1,
    seed: str = "0",
    revision: str = "main",
    gated: str | bool = False,
    private: bool = False,
    tags: tuple[str, ...] = (),
    extra: Path | None = None,
    chat: bool = True,
    xet: bool = False,
) -> dict[str, Any]:
    """Make the repository, or a branch of it, if it is not there; return what it is now."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id, re.ASCII) or not re.fullmatch(r"\w[\w.-]*", revision, re.ASCII):
        raise ValueError(f"{repo_id}@{revision} is not an organisation, a name and a branch")
    folder = root / "hub" / "models" / repo_id
    folder.mkdir(parents=True, exist_ok=True)
    settings_file = folder / ".repo.json"
    before = json.loads(settings_file.read_text()) if settings_file.is_file() else {}
    extras = {path.relative_to(extra).as_posix(): sha256_of(path) for path in _files(extra)} if extra else {}
    recipe = {"size": size, "shards": shards, "seed": seed, "extra": extras, "chat": chat}
    hashes = before.get("hashes", {})
    after = {
        "gated": gated,
        "private": private,
        "xet": xet,
        "tags": {**before.get("tags", {}), **dict.fromkeys(tags, revision)},
        "seeded": {**before.get("seeded", {}), revision: recipe},
        "hashes": hashes,
    }
    branch = folder / revision
    as_recipe = before.get("seeded", {}).get(revision) == recipe
    if as_recipe and branch.is_dir() and _stamps(branch, hashes) == _recorded(revision, hashes):
        changed = after != before
        if changed:
            _replace_json(settings_file, after)
    else:
        changed = True
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as temporary:
            new, old = Path(temporary) / "new", Path(temporary) / "old"
            write_model(new, size, shards, f"{repo_id}/{seed}", extra, chat)
            others = {path: row for path, row in hashes.items() if not path.startswith(f"{revision}/")}
            after["hashes"] = {**others, **_hashes(new, revision)}
            _replace_json(settings_file, after)  # before the files appear: a gated branch is never seen open
            if branch.is_dir():
                branch.rename(old)
            new.rename(branch)
    repo = Store(root).repo(repo_id)
    commit = repo.commit(revision) if repo else None
    if commit is None:
        raise RuntimeError(f"{repo_id} was made and is not there")
    files = {
        path: {"size": entry.size, "etag": entry.etag, "lfs": bool(entry.sha256)}
        for path, entry in commit.files.items()
    }
    total = sum(entry.size for entry in commit.files.values())
    return {
        "changed": changed,
        "repo": repo_id,
        "revision": revision,
        "commit": commit.sha,
        "size": total,
        "files": files,
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def _replace_json(path: Path, value: object) -> None:
    replacement = path.with_name(path.name + ".new")
    _write_json(replacement, value)
    replacement.replace(path)


def _hashes(folder: Path, revision: str) -> dict[str, list[Any]]:
    """Return, for every LFS file below a folder, what `.repo.json` remembers of it."""
    rows: dict[str, list[Any]] = {}
    for path in _files(folder):
        name, stat = path.relative_to(folder).as_posix(), path.stat()
        if is_lfs(name, stat.st_size):
            rows[f"{revision}/{name}"] = [stat.st_size, stat.st_mtime_ns, sha256_of(path)]
    return rows


def _recorded(revision: str, hashes: dict[str, list[Any]]) -> dict[str, list[int]]:
    return {path: row[:2] for path, row in hashes.items() if path.startswith(f"{revision}/")}


def _stamps(branch: Path, hashes: dict[str, list[Any]]) -> dict[str, list[int]]:
    """Return size and time of change of those files that are remembered and there."""
    files = {path: branch.parent / path for path in _recorded(branch.name, hashes)}
    stats = {path: file.stat() for path, file in files.items() if file.is_file()}
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def main(arguments: list[str]) -> int:
    """Make a repository as the command line asks."""
    parser = argparse.ArgumentParser("virtual_internet.seed", description="SIMULATED: make a repository of noise")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--repo", required=True, help="organisation/name")
    parser.add_argument("--size", type=parse_size, required=True, help="of all weights together, such as 200M")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--revision", default="main", help="the branch")
    parser.add_argument("--tag", action="append", default=[], help="a tag on this branch; may be given again")
    parser.add_argument("--gated", choices=["auto", "manual"], default=False)
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--extra", type=Path, help="a directory of files to add, or to put in place of generated ones")
    parser.add_argument("--chat", action=argparse.BooleanOptionalAction, default=True, help="with a chat template")
    parser.add_argument("--xet", action="store_true", help="offer the weights by Xet too")
    options = parser.parse_args(arguments)
    if options.shards < 1:
        parser.error("--shards must be 1 or more")
    try:
        made = seed_repo(
            options.root,
            options.repo,
            options.size,
            options.shards,
            options.seed,
            options.revision,
            options.gated,
            options.private,
            tuple(options.tag),
            options.extra,
            options.chat,
            options.xet,
        )
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(json.dumps(made) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
