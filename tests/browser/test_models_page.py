# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""models.html in a headless Chromium: no word on the console, nothing wider than the screen, rows that sort.

By hand: `pytest tests/browser`, where a chromium is installed (Debian's package of that name). Screenshots are left in
the directory that SCREENSHOTS names, for people to look at.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import report
from models_cases import every_kind

from .chromium import PROGRAM, Browser

pytestmark = pytest.mark.skipif(not PROGRAM, reason="no chromium is installed: apt-get install chromium")

WIDTHS = (360, 768, 1280)
SCHEMES = ("light", "dark")
#: what stands out of the screen, beside what is for the ears alone
CUT = """root = document.documentElement, [...document.querySelectorAll("main *")].filter(one =>
  one.getClientRects().length && !one.closest(".models thead, caption")
  && one.getBoundingClientRect().right > root.clientWidth + 0.5).map(one => one.outerHTML.slice(0, 80))"""
WIDE = "[innerWidth, document.documentElement.scrollWidth]"
OPEN = 'document.querySelectorAll("details").forEach(one => { one.open = true; })'
ORDER = '[...document.querySelectorAll(".models tbody tr")].map(one => one.id)'
SIZE = '[...document.querySelectorAll(".models thead th")].find(one => one.textContent.startsWith("Size"))'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    one = Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def text() -> str:
    entries, facts, hosts = every_kind()
    asked = report.Asked()
    made = report.rows(entries, facts, hosts, asked)
    others = {"spark1": ["other/" + "model-of-a-long-name-" * 4]}
    return report.page(report.document(made, hosts, asked, 1.0, others), made, hosts, asked, "2026-11-29 12:00 UTC")


@pytest.fixture
def page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "models.html"
    path.write_text(text)
    return path


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_for_every_screen(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width, 800, scheme)
    folder = Path(os.environ.get("SCREENSHOTS") or page.parent)
    folder.mkdir(parents=True, exist_ok=True)
    for state in ("closed", "open"):
        assert browser.run(CUT) == []
        assert browser.run(WIDE) == [width, width]
        browser.shoot(folder / f"models-{width}-{scheme}-{state}.png")
        browser.run(OPEN)
    ground = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[scheme]
    assert browser.run("getComputedStyle(document.body).backgroundColor") == ground
    assert browser.said == []


def test_every_figure_of_a_phone_has_its_name(browser: Browser, page: Path) -> None:
    browser.open(page, 360, 800, "light")
    names = browser.run(
        '[...document.querySelectorAll("#model-1 td")].map(one => getComputedStyle(one, "::before").content)'
    )
    figures = [
        "Answer",
        "Type",
        "Size, GB",
        "Disk needed, GB",
        "KV tokens",
        "Tokens/s",
        "Download",
        "Copy",
        "Cached on",
    ]
    assert names[:9] == [f'"{name}"' for name in figures]


def test_rows_sort_by_a_heading(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800, "light")
    before = browser.run(ORDER)
    browser.run(f'{SIZE}.querySelector("button").click()')
    up = browser.run(ORDER)
    assert browser.run(f'{SIZE}.getAttribute("aria-sort")') == "ascending"
    browser.run(f'{SIZE}.querySelector("button").click()')
    down = browser.run(ORDER)
    assert browser.run(f'{SIZE}.getAttribute("aria-sort")') == "descending"
    assert sorted(before) == sorted(up) == sorted(down)
    assert down == up[::-1]
    sizes = browser.run('[...document.querySelectorAll(".models tbody tr")].map(one => +one.cells[3].dataset.value)')
    assert sizes == sorted(sizes, reverse=True)
    assert browser.said == []


def test_the_page_needs_no_script(browser: Browser, page: Path, text: str) -> None:
    page.write_text(text[: text.index("<script>")] + "</body></html>")
    browser.open(page, 360, 800, "light")
    assert browser.run(CUT) == []
    assert len(browser.run(ORDER)) == 6


@pytest.mark.parametrize("wrong", ["<script>nothing.there()</script>", '<img alt="" src="https://example.org/x.png">'])
def test_an_error_is_seen(browser: Browser, page: Path, text: str, wrong: str) -> None:
    page.write_text(text.replace("</main>", f"{wrong}</main>"))
    browser.open(page, 360, 800, "light")
    assert browser.said != []


def test_what_is_too_wide_is_seen(browser: Browser, page: Path, text: str) -> None:
    page.write_text(text.replace("</style>", ".models tr { min-width: 400px; }</style>"))
    browser.open(page, 360, 800, "light")
    assert browser.run(CUT) != []
    assert browser.run(WIDE) != [360, 360]
