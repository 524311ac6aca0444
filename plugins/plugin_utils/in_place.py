# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show how far long steps are: in place in a terminal, all hosts in one row; else as lines, each once.

A worker of Ansible cannot write to the terminal. It has the parent write, which may print results in between: the row
therefore never moves the cursor to another line, ends where it began, and is wiped before a result is printed, so that
no word of Ansible's is ever written over.

This plugin util is private to the collection.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Mapping

from ansible import constants

#: other callbacks, such as AWX's, may make records of lines
FOR_PEOPLE = ("default", "ansible.builtin.default")
#: Ansible loads an action before it starts the workers that run it, and only then standard output is the user's
TERMINAL = (
    sys.stdout.isatty()
    and os.environ.get("TERM", "dumb") != "dumb"
    and constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK") in FOR_PEOPLE
)
WIPE = "\r\x1b[K"
BETWEEN = " | "
LEAST = 20  #: columns of a host


class InPlace:
    """What one host's step says of itself.

    :param display: Ansible's. :param host: its name. :param terminal: whether there is one.
    :param folder: in which the steps of all hosts of this run note their words.
    """

    def __init__(self, display: Any, host: str, terminal: bool | None = None, folder: str = "") -> None:
        self._display, self._host = display, host
        self._terminal = TERMINAL if terminal is None else terminal
        self._folder = Path(folder or vars(constants)["DEFAULT_LOCAL_TMP"], "in-place")  # to ask for it makes another
        self._shown = ""

    def say(self, text: str, moment: str = "") -> None:
        """Show a text. :param moment: what changes all the time, so that it is no reason for a further line."""
        if self._terminal:
            self._note(text + moment)
            self._display.display(row(self._texts(), self._display.columns), screen_only=True, newline=False)
        elif text != self._shown:
            self._display.display(f"{self._host}: {text}{moment}")
        self._shown = text

    def end(self) -> None:
        """Wipe the row, so that a result has a line of its own. Other hosts show theirs anew."""
        if self._terminal:
            with suppress(OSError):
                (self._folder / self._host).unlink()
            self._display.display(WIPE, screen_only=True, newline=False)

    def _note(self, text: str) -> None:
        with suppress(OSError):  # then the others are not shown beside it
            self._folder.mkdir(exist_ok=True)
            (self._folder / self._host).write_text(text, encoding="utf-8")

    def _texts(self) -> dict[str, str]:
        found = {}
        with suppress(OSError):
            for path in sorted(self._folder.iterdir()):
                with suppress(OSError):
                    found[path.name] = path.read_text(encoding="utf-8")
        return {name: text for name, text in found.items() if text}


def row(texts: Mapping[str, str], columns: int) -> str:
    """All hosts in one row that is no wider than the terminal, after which the cursor is where it was.

    >>> row({"spark1": "3.00 of 4.00 GB", "spark2": "waits"}, 80)
    '\\r\\x1b[Kspark1: 3.00 of 4.00 GB | spark2: waits\\r'
    >>> row({"spark1": "a long word that does not fit"}, 24)
    '\\r\\x1b[Kspark1: a long word th…\\r'
    """
    parts = [f"{name}: {' '.join(text.split())}" for name, text in texts.items()]
    width = max(LEAST, (columns - len(BETWEEN) * (len(parts) - 1)) // max(1, len(parts)))
    whole = BETWEEN.join(parts)
    if len(whole) > columns:
        whole = BETWEEN.join(part if len(part) <= width else f"{part[: width - 1]}…" for part in parts)[:columns]
    return f"{WIPE}{whole}\r"
