# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""benchmark.html in a headless Chromium: no word on the console, nothing wider than the screen, every point drawn.

By hand: `pytest tests/browser`, where a chromium is installed (Debian's package of that name). Screenshots are left in
the directory that SCREENSHOTS names, for people to look at.
"""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Iterator

import benchmark_cases as cases
import plotly
import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._benchmark import document, report

from .chromium import PROGRAM, Browser

pytestmark = pytest.mark.skipif(not PROGRAM, reason="no chromium is installed: apt-get install chromium")

WIDTHS = (360, 768, 1280)
SCHEMES = ("light", "dark")
#: what stands out of the screen, beside what is for the ears alone
CUT = """root = document.documentElement, [...document.querySelectorAll("main *")].filter(one =>
  one.getClientRects().length && !one.closest(".wide thead, caption, .plot")
  && one.getBoundingClientRect().right > root.clientWidth + 0.5).map(one => one.outerHTML.slice(0, 80))"""
WIDE = "[innerWidth, document.documentElement.scrollWidth]"
POINTS = '["throughput", "ttft"].map(id => document.querySelectorAll(`#${id} .points path.point`).length)'
TEXT = 'getComputedStyle(document.querySelector("#throughput .xtick text")).fill'
JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    one = Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sweep = [dataclasses.replace(cases.QUICK, concurrency=number, requests=8) for number in (1, 4, 8)]
    results = [
        cases.result(sweep, name="nvidia--Qwen3-32B-FP4-2-throughput-20261130T120000Z"),
        cases.result(sweep, name="other", label="another image", slower=1.2, seed=2),
    ]
    run = {**results[1]["cells"][0]["runs"][0], "good": False, "problems": ["1 of 8 requests: 503"], "figures": None}
    results[1] = document.with_run(results[1], sweep[0].key, run, 3)
    path = tmp_path_factory.mktemp("page") / "benchmark.html"
    path.write_text(report.page(results, results[0]["name"], "2026-11-30 12:00 UTC", JS.read_text()))
    return path


def shown(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width, 800, scheme)
    deadline = time.monotonic() + 60
    while browser.run('document.querySelectorAll(".plot .points path.point").length') == 0:
        assert time.monotonic() < deadline, browser.said
        time.sleep(0.1)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_for_every_screen(browser: Browser, page: Path, width: int, scheme: str) -> None:
    shown(browser, page, width, scheme)
    folder = Path(os.environ.get("SCREENSHOTS") or page.parent)
    folder.mkdir(parents=True, exist_ok=True)
    browser.shoot(folder / f"benchmark-{width}-{scheme}.png")
    assert browser.run(CUT) == []
    assert browser.run(WIDE) == [width, width]
    assert browser.run(POINTS) == [6, 24]
    ground = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[scheme]
    assert browser.run("getComputedStyle(document.body).backgroundColor") == ground
    assert browser.run(TEXT) == {"light": "rgb(26, 28, 30)", "dark": "rgb(233, 236, 239)"}[scheme]
    assert browser.said == []


def test_every_figure_of_a_phone_has_its_name(browser: Browser, page: Path) -> None:
    shown(browser, page, 360, "light")
    names = browser.run(
        '[...document.querySelectorAll(".wide tbody tr:first-child td")].slice(0, 8)'
        '.map(one => getComputedStyle(one, "::before").content)'
    )
    assert names == ['"Good runs"', *(f'"{head}"' for _name, head, _digits in report.COLUMNS)]


def test_the_tables_need_no_script(browser: Browser, page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    bare = tmp_path / "bare.html"
    bare.write_text(text[: text.index("<script")] + "</body></html>")
    browser.open(bare, 360, 800, "light")
    assert browser.run('document.querySelectorAll(".wide tbody tr").length') == 9
    assert browser.said == []


def test_an_error_is_seen(browser: Browser, page: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("draw();\n</script>", "draw(); nothing.there();\n</script>"))
    shown(browser, broken, 360, "light")
    assert browser.said != []
