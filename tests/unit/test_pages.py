# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages lead where they say, can be read beside the code, and keep to the glossary."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from roles_support import ROOT

PATTERNS = ("*.md", "docs/*.md", "roles/*/README.md", "lab/README.md", "lab/roles/*/README.md")
PAGES = sorted(page for pattern in PATTERNS for page in ROOT.glob(pattern) if page.name != "CHANGELOG.md")
GLOSSARY = re.compile(r"\b(proves?|proven|proved|proof|verdicts?|way back)\b", re.IGNORECASE)
WIDTH = 145  # of prose; a table's row or a drawing is as long as it has to be
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """What a link to a heading ends with: lower case, without signs, hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def prose(page: Path) -> list[str]:
    """The lines of a page that are in no drawing, example or table."""
    parts = page.read_text().split("```")[::2]
    return [line for part in parts for line in part.splitlines() if not line.startswith("|")]


@every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    lost = []
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        name, _hash, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (heading and heading not in anchors(target)):
            lost.append(link)
    assert lost == []


@every_page
def test_lines_are_wrapped(page: Path) -> None:
    assert [line for line in prose(page) if len(line) > WIDTH] == []


@every_page
def test_words_are_those_of_the_glossary(page: Path) -> None:
    text = page.read_text()
    if page.name == "CONTRIBUTING.md":
        text = re.sub(r"^\| .*\|$", "", text, flags=re.MULTILINE)  # the glossary names what it replaces
    assert [line for line in text.splitlines() if GLOSSARY.search(line)] == []
