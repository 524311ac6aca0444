# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus' text format, and the writing of files in one step.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import math
from pathlib import Path

GAUGE, COUNTER = "gauge", "counter"


def escaped(value: str) -> str:
    r"""A label's value.

    >>> escaped('a "b"\n\\')
    'a \\"b\\"\\n\\\\'
    """
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def number(value: float) -> str:
    """A number as Prometheus reads it.

    >>> number(3), number(0.25), number(1795953600.5), number(True)
    ('3', '0.25', '1795953600.5', '1')
    """
    return str(int(value)) if float(value).is_integer() else repr(float(value))


class Metrics:
    """Samples by the name of their metric. What is not known is left out, and never 0."""

    def __init__(self) -> None:
        self.about: dict[str, tuple[str, str]] = {}  # type and help by name
        self.samples: dict[str, dict[str, str]] = {}  # values by labels, by name

    def gauge(self, name: str, about: str, value: object, **labels: str) -> None:
        """Add a value that goes up and down; one that is no finite number is left out."""
        self._add(GAUGE, name, about, value, labels)

    def counter(self, name: str, about: str, value: object, **labels: str) -> None:
        """Add a value that only grows until what counts starts anew."""
        self._add(COUNTER, name, about, value, labels)

    def _add(self, kind: str, name: str, about: str, value: object, labels: dict[str, str]) -> None:
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return
        said = ",".join(f'{label}="{escaped(text)}"' for label, text in sorted(labels.items()))
        self.about[name] = (kind, about)
        self.samples.setdefault(name, {})[f"{{{said}}}" if said else ""] = number(value)

    def join(self, other: Metrics) -> None:
        """Take the samples of others; of the same sample theirs counts."""
        self.about.update(other.about)
        for name, values in other.samples.items():
            self.samples.setdefault(name, {}).update(values)

    def text(self) -> str:
        """All of it, ordered by name."""
        lines = []
        for name in sorted(self.samples):
            kind, about = self.about[name]
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {value}" for labels, value in sorted(self.samples[name].items())]
        return "".join(f"{line}\n" for line in lines)


def replace(path: Path, text: str) -> None:
    """Replace a file in one step, so that nobody reads half of it. :raises OSError:"""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(path)
