# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a serving sends its alerts: what is written for that on the leader, and whether the URL will do.

The URL is a secret: none of what these functions return has it, but its file's content and its digest.
This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract

MOST_S = 86400


@dataclass(frozen=True)
class Alert:
    """What is asked for."""

    url: str = field(default="", repr=False)  #: empty for no alerts
    format: str = contract.GENERIC
    after_s: int = 60
    settle_s: int = 120

    @property
    def url_digest(self) -> str:
        """SHA-256 of the file that has the URL."""
        return hashlib.sha256(f"{self.url}\n".encode()).hexdigest()

    def settings(self, name: str) -> dict[str, Any]:
        """``alert.json``, of the shape :class:`contract.AlertSettings`. :param name: of the serving."""
        return {"name": name, "format": self.format, "after_s": self.after_s, "settle_s": self.settle_s}


def problem(asked: Alert) -> str:
    """Why alerts cannot be sent as asked, with the mend and without the URL; empty where they can.

    >>> problem(Alert("https://hooks.example.org/a?b=c")), problem(Alert())
    ('', '')
    >>> problem(Alert("hooks.example.org")).partition(":")[0]
    'engine_serve_alert_url, which is a secret and not shown, is no URL to post to'
    """
    if asked.url and not _is_url(asked.url):
        return (
            "engine_serve_alert_url, which is a secret and not shown, is no URL to post to: give one that begins with "
            "https:// or http:// and names a host, in ASCII and without spaces, as your receiver shows it"
        )
    for name, value in (("after", asked.after_s), ("settle", asked.settle_s)):
        if not 0 <= value <= MOST_S:
            return f"engine_serve_alert_{name} is {value}: give seconds from 0 to {MOST_S}"
    return ""


def _is_url(text: str) -> bool:
    if not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port, or of the address in brackets
        return False
