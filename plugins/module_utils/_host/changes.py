# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of a plan's list of changes, and the diffs that they and modules show.

This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping


def text_of(lines: Iterable[str]) -> str:
    """Return lines as one text.

    >>> text_of(["a", "b"]), text_of([])
    ('a\\nb\\n', '')
    """
    return "".join(f"{line}\n" for line in lines)


def diff(before: str, after: str, header: str = "") -> dict[str, str]:
    """Return two texts as Ansible shows the difference between them.

    :param header: what the texts are of, such as a path; empty where the name of the change says enough.
    """
    headers = {"before_header": header, "after_header": header} if header else {}
    return {**headers, "before": before, "after": after}


def change(name: str, before: str | None = None, after: str = "", header: str = "") -> dict[str, Any]:
    """Return one change of a plan: ``name``, that of the task that makes it, and ``diff``, where a text changes.

    :param before: the text before; None for a change that is no text. :param header: as :func:`diff` takes it.

    >>> change("Restart Docker")
    {'name': 'Restart Docker'}
    """
    return {"name": name} if before is None else {"name": name, "diff": diff(before, after, header)}


def named(planned: Mapping[str, Any]) -> str:
    """Return the name of a change for people, with what it is of where the plan has several such.

    >>> named({"name": "Restart Docker"}), named({"name": "Download or copy the model", "of": "lab/draft"})
    ('Restart Docker', 'Download or copy the model: lab/draft')
    """
    return f"{planned['name']}: {planned['of']}" if "of" in planned else str(planned["name"])
