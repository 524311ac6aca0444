# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's checks as data: checks.yml beside this file, read and made sure of.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

from ansible.module_utils.common.yaml import yaml_load

FILE = Path(__file__).with_name("checks.yml")
HOST, CLUSTER = "host", "cluster"
#: what a finding asks for, and in words
CLASSES = {"mend": "can be mended here", "decide": "you decide", "hands": "needs hands"}
#: the worst first
SEVERITIES = ("serious", "warning", "note")
BLOCKED, SLOW, TOLD = "blocked", "slow", "told"
TRIED = ("lab", "hardware")
LOGS = ("logs",)
NEEDED = ("title", "scope", "class", "severity", "why", "mend", "source", "tried")
ALLOWED = frozenset([*NEEDED, "reads", "preflight", "in", "pattern"])


class CheckError(ValueError):
    """A check, or a name of one, that is not as it should be."""


class Check(NamedTuple):
    """One check. The file says what the fields mean."""

    name: str
    title: str
    scope: str
    kind: str  # a key of CLASSES
    severity: str
    reads: str
    why: str
    mend: str
    source: tuple[str, ...]
    tried: str
    preflight: str = ""  # BLOCKED, SLOW, TOLD or empty
    where: str = ""  # a log, for a check that is a pattern
    pattern: re.Pattern[str] | None = None

    @property
    def treatable(self) -> bool:
        """Whether doctor.yml can mend it."""
        return self.kind == "mend"


def check_of(name: str, entry: Mapping[str, Any]) -> Check:
    """The check of an entry. :raises CheckError: where a field is missing, unknown, or of another kind."""
    lacking = [field for field in NEEDED if not entry.get(field)]
    unknown = sorted(set(entry) - ALLOWED)
    if lacking or unknown or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise CheckError(f"the check {name} lacks {lacking or 'nothing'}, and has {unknown or 'nothing'} too much")
    wrong = {
        "scope": entry["scope"] not in (HOST, CLUSTER),
        "class": entry["class"] not in CLASSES,
        "severity": entry["severity"] not in SEVERITIES,
        "tried": entry["tried"] not in TRIED,
        "preflight": entry.get("preflight", "") not in ("", BLOCKED, SLOW, TOLD),
        "in": ("pattern" in entry) != (entry.get("in") in LOGS),
        "reads": ("pattern" in entry) == ("reads" in entry),
    }
    if any(wrong.values()):
        bad = ", ".join(key for key, is_wrong in wrong.items() if is_wrong)
        raise CheckError(f"the check {name} has another {bad} than it may")
    pattern = re.compile(entry["pattern"]) if "pattern" in entry else None
    return Check(
        name=name,
        title=entry["title"],
        scope=entry["scope"],
        kind=entry["class"],
        severity=entry["severity"],
        reads=entry.get("reads", "the logs of serving containers"),
        why=entry["why"].strip(),
        mend=entry["mend"].strip(),
        source=tuple(entry["source"]),
        tried=entry["tried"],
        preflight=entry.get("preflight", ""),
        where=entry.get("in", ""),
        pattern=pattern,
    )


@lru_cache(maxsize=1)
def load() -> dict[str, Check]:
    """All checks by name, in the order of the file."""
    entries = yaml_load(FILE.read_text(encoding="utf-8"))
    return {name: check_of(name, entry) for name, entry in entries.items()}


def treatable() -> list[str]:
    """The names of those that doctor.yml can mend."""
    return [check.name for check in load().values() if check.treatable]


def asked(names: Sequence[str]) -> list[str]:
    """The names of findings that are to be mended, each once.

    :raises CheckError: with those that there are not, or that cannot be mended here, before anything is changed.
    """
    known = load()
    unknown = [name for name in names if name not in known]
    left = [name for name in names if name in known and not known[name].treatable]
    if not unknown and not left:
        return list(dict.fromkeys(names))
    said = [f"doctor_treat names {', '.join(unknown)}, and there is no such check"] if unknown else []
    said += [
        f"{name} is not mended here ({CLASSES[known[name].kind]}): {known[name].mend.rstrip('.')}" for name in left
    ]
    raise CheckError(f"{'; '.join(said)}. What can be mended here is {', '.join(treatable())}. Nothing was changed.")
