# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import doctest

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import changes


def test_doctests() -> None:
    assert doctest.testmod(changes).failed == 0


def test_a_change_without_a_text_is_its_name() -> None:
    assert changes.change("Restart Docker") == {"name": "Restart Docker"}


def test_a_text_that_was_not_there_is_a_difference_too() -> None:
    assert changes.change("Write it", "", "new\n")["diff"] == {"before": "", "after": "new\n"}


def test_a_header_stands_over_both_texts() -> None:
    shown = changes.change("Write it", "old\n", "new\n", "/etc/file")["diff"]
    assert shown == {"before_header": "/etc/file", "after_header": "/etc/file", "before": "old\n", "after": "new\n"}
