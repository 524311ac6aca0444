# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take secrets out of a text before it leaves a host, and once more before it is handed to others.

What looks like a secret is replaced, also where it may be none: a report can do without it.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Any, Sequence

GONE = "(redacted)"
NAMES = "secrets"  #: a list of names of variables that hold some, as the doctor tells of a container
#: words that name a secret, within a longer name or alone
_NAME = r"(?:token|secret|passwd|password|passphrase|api[-_]?key|apikey|access[-_]?key|private[-_]?key|credential|hmac)"
_VALUE = r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\[[^\]\r\n]*\]?|[^\s,;"'}\]&]+)"""
_WORD = r"""(?:"(?!-)(?:\\.|[^"\\])*"|'(?!-)(?:\\.|[^'\\])*')"""  # of a list, and no option
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, flags), into)
    for pattern, flags, into in (
        # a private key, whole or cut off, also with its line ends written out
        (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL, GONE),
        (r"\bb3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=\s\\n]*", 0, GONE),  # the same of OpenSSH without its head
        (r"\b(hf_)[A-Za-z0-9]{16,}", 0, rf"\1{GONE}"),
        (r"\b(api_org_)[A-Za-z0-9]{16,}", 0, rf"\1{GONE}"),
        (r"\b(nvapi-)[A-Za-z0-9_-]{16,}", 0, rf"\1{GONE}"),
        (r"\b(SWMTKN-1-)[A-Za-z0-9-]+", 0, rf"\1{GONE}"),
        (r"\b(SWMKEY-1-)[A-Za-z0-9+/=-]+", 0, rf"\1{GONE}"),
        (r"\b(gh[opsur]_|github_pat_|glpat-|xox[abprs]-|sk-|dckr_pat_)[A-Za-z0-9_-]{8,}", 0, rf"\1{GONE}"),
        (r"\b(AKIA|ASIA)[A-Z0-9]{12,}", 0, rf"\1{GONE}"),
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*", 0, GONE),  # a JSON web token
        (r"(https?://hooks\.slack\.com/services/)\S+", 0, rf"\1{GONE}"),
        (r"(https?://(?:ptb\.|canary\.)?discord(?:app)?\.com/api/webhooks/)\S+", 0, rf"\1{GONE}"),
        (r"""(\b(?:proxy-)?authorization\b["']?\s*[:=]\s*["']?)[^\r\n"']+""", re.IGNORECASE, rf"\1{GONE}"),
        (r"""(\b(?:set-)?cookie\b["']?\s*[:=]\s*["']?)[^\r\n"']+""", re.IGNORECASE, rf"\1{GONE}"),
        (r"""(\bx-(?:registry-auth|api-key|auth-token)\b["']?\s*[:=]\s*["']?)[^\s"',]+""", re.IGNORECASE, rf"\1{GONE}"),
        (r"\b(Bearer|Basic)(\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE, rf"\1\2{GONE}"),
        # user:password@ of an address, up to the last @, since a password may hold any sign; a port is none
        (r"(\b[a-z][a-z0-9+.-]*://)[^\s/\"'@:]*:(?!\d{1,5}(?:/|$))[^\s\"']*@", re.IGNORECASE, rf"\1{GONE}@"),
        (r"(\b[a-z][a-z0-9+.-]*://)[^\s/\"'@:]+@", re.IGNORECASE, rf"\1{GONE}@"),
        (rf"""((?:^|[^A-Za-z0-9])--?[\w-]*{_NAME}[\w-]*(?:=|\s+))(?!-){_VALUE}""", re.IGNORECASE, rf"\1{GONE}"),
        # the same as a list of words
        (rf"""(["']--?[\w-]*{_NAME}[\w-]*["']\s*,\s*){_WORD}(?:\s*,\s*{_WORD})*""", re.IGNORECASE, rf"\1{GONE}"),
        (rf"""(\b[\w-]*{_NAME}[\w-]*["']?\s*[:=]\s*){_VALUE}""", re.IGNORECASE, rf"\1{GONE}"),
        (r"""("auth"\s*:\s*)"[^"]*\"""", 0, rf'\1"{GONE}"'),
        (r"(\$(?:1|2[aby]|5|6|y|argon2id?)\$)[./A-Za-z0-9$=,+-]{8,}", 0, rf"\1{GONE}"),  # a password's hash
    )
)
_SECRET_KEY = re.compile(_NAME, re.IGNORECASE)
_OPTION = re.compile(r"--?[\w-]+")
#: names that count tokens of a model, or name a file, and hold no secret
_HARMLESS = re.compile(
    r"token_ids?$|tokens(?:_\w+)?$|\w*_tokens\w*|tokenizer\w*|token_s$|first_token\w*", re.IGNORECASE
)


def text(said: str) -> str:
    """The text without what looks like a secret.

    >>> text("HF_TOKEN=hf_abcdefgh python3 -m x http://me:pw@proxy:3128/")
    'HF_TOKEN=(redacted) python3 -m x http://(redacted)@proxy:3128/'
    >>> text("max_num_tokens=32768 and the first token after 3 s")
    'max_num_tokens=32768 and the first token after 3 s'
    """
    for pattern, into in _RULES:
        said = pattern.sub(lambda match, into=into: _replaced(match, into), said)  # type: ignore[misc]
    return said


def _replaced(match: re.Match[str], into: str) -> str:
    name = re.search(rf"[\w-]*{_NAME}[\w-]*", match[0], re.IGNORECASE)
    if name and _is_harmless(name[0]):
        head = match[1] if match.lastindex else match[0]
        return head + text(match[0][len(head) :])  # within a value may be what is none
    return match.expand(into)


def _is_harmless(name: str) -> bool:
    return bool(_HARMLESS.search(name)) and not re.search(r"secret|passw|key|hmac|credential", name, re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether a name is that of a secret.

    >>> is_secret("HF_TOKEN"), is_secret("MAX_NUM_TOKENS"), is_secret("TOKENIZERS_PARALLELISM")
    (True, False, False)
    """
    return bool(_SECRET_KEY.search(name)) and not _is_harmless(name)


def value(found: Any) -> Any:
    """The same of whatever JSON can hold: texts are cleaned, and what a secret's name names is replaced whole."""
    if isinstance(found, str):
        return text(found)
    if isinstance(found, dict):
        return {text(str(key)): _named(str(key), one) for key, one in found.items()}
    if isinstance(found, (list, tuple)):
        return _listed(found)
    return found


def _listed(found: Sequence[Any]) -> list[Any]:
    """A list cleaned. It may be a command, in which the words behind an option that names a secret are secrets."""
    cleaned, after = [], False
    for one in found:
        if isinstance(one, str) and one.startswith("-"):
            after = bool(_OPTION.fullmatch(one)) and is_secret(one)
        cleaned.append(GONE if after and isinstance(one, str) and not one.startswith("-") else value(one))
    return cleaned


def _named(name: str, one: Any) -> Any:
    if not is_secret(name):
        return value(one)
    if isinstance(one, (list, tuple)) and name != NAMES:
        return [_named(name, each) for each in one]
    return GONE if isinstance(one, str) and one else value(one)
