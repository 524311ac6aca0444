# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The served model's tokenizer, by which the client makes prompts of the length that is asked for.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
from pathlib import Path

#: of a snapshot, what tokenizers are made of; each has some of these
FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"),
    *("vocab.json", "merges.txt", "tokenizer.model", "spiece.model", "tekken.json", "tiktoken.model", "vocab.txt"),
)
#: without one of these there is no tokenizer
ENOUGH = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "tekken.json",
    "tiktoken.model",
)
MOST_BYTES = 100_000_000


def snapshot(cache_dir: str, repo: str, commit: str) -> str:
    """Where a commit of a model lies in a Hugging Face cache.

    >>> snapshot("~/.cache/huggingface", "openai/gpt-oss-20b", "0123abc")
    '~/.cache/huggingface/hub/models--openai--gpt-oss-20b/snapshots/0123abc'
    """
    return f"{cache_dir.rstrip('/')}/hub/models--{repo.replace('/', '--')}/snapshots/{commit}"


def problem(folder: Path) -> str:
    """Why a directory has no tokenizer that a client could use, empty where it has."""
    if not folder.is_dir():
        return f"{folder} is no directory"
    if not any((folder / name).is_file() for name in ENOUGH):
        return f"{folder} has none of {', '.join(ENOUGH)}"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        try:
            told = json.loads((folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError):
            return f"{folder / name} is not JSON"
        if not isinstance(told, dict):
            return f"{folder / name} is no tokenizer"
    return ""
