# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a setting of an engine, in words that tell no secret. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

# names whose values nobody else may read; TOKEN at a word's end alone, since TOKENIZERS_PARALLELISM is none
_SECRET_NAME = re.compile(
    r"SECRET|PASSWO?R?D|PASSPHRASE|CREDENTIAL|(?:API|AUTH|ACCESS|PRIVATE|ENCRYPTION|SIGNING)_?KEY|(?<!TIK)TOKEN(?![A-Z])",
    re.IGNORECASE,
)
# and values that are secrets under any name: of Hugging Face, NGC, OpenAI and GitHub, and of whoever is in a URL
_SECRET_VALUE = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|nvapi-[\w-]{16,}|sk-[\w-]{16,}|gh[pousr]_[A-Za-z0-9]{16,})|://[^/\s:@]*:[^/\s@]+@"
)
_LONGEST = 60  # characters of a value in a sentence


class Finding(NamedTuple):
    """What is wrong with a setting, or may be. ``refused``: the engine would not start with it."""

    text: str
    refused: bool = True


def is_secret(name: str, value: Any = "") -> bool:
    """Whether something is a secret, by its name or by what it looks like.

    >>> is_secret("HF_TOKEN"), is_secret("OPENAI_API_KEY"), is_secret("TOKENIZERS_PARALLELISM"), is_secret("MAX_TOKENS")
    (True, True, False, False)
    >>> is_secret("PROXY", "http://me:hidden@proxy:3128")
    True
    """
    return bool(_SECRET_NAME.search(name) or _SECRET_VALUE.search(str(value)))


def shown(name: str, value: Any) -> str:
    """A value in a sentence: short, and without what is a secret.

    >>> shown("max_batch_size", "many"), shown("internal_request_auth_key", 7)
    ("'many'", 'what is not shown here')
    """
    text = repr(value)
    if is_secret(name, text) or "env_overrides" in name:
        return "what is not shown here"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
