# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on models: its figures, its table, its page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import report
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.report import Asked, Host, Row
from damaged import values
from hypothesis import given, settings
from hypothesis import strategies as st
from models_cases import DENSE, GB, HOSTILE, ROUTED, entry, every_kind, host, known


def row(said: dict[str, Any], told: dict[str, Any] | None, *hosts: Host, asked: Asked | None = None) -> Row:
    facts = {} if told is None else {"lab/one": told}
    return report.rows({"lab/one": said}, facts, hosts or (host("spark1"),), asked or Asked())[0]


@pytest.mark.parametrize(
    ("active", "sparks", "efficiency", "tokens"),
    [(1e9, 1, 1.0, 273), (1e9, 2, 1.0, 546), (2.73e9, 1, 0.5, 50), (0, 2, 1.0, 0)],
)
def test_a_token_needs_its_weights_read(active: float, sparks: int, efficiency: float, tokens: float) -> None:
    assert report.decode_tokens_s(active, sparks, efficiency) == pytest.approx(tokens)


def tensor(name: str, count: int) -> dict[str, Any]:
    return {"name": name, "dtype": "U8", "count": 1, "bytes": count}


EXPERT = tensor("model.layers.*.mlp.experts.*.up_proj.weight", 1600)
SHARED = tensor("model.layers.*.mlp.shared_experts.up_proj.weight", 40)
EMBEDDING, HEAD = tensor("model.embed_tokens.weight", 500), tensor("lm_head.weight", 300)
LAYER, EYES = tensor("model.layers.*.q_proj.weight", 7), tensor("visual.blocks.*.weight", 9000)
BY_HEADERS = "the headers of the weights"


@pytest.mark.parametrize(
    ("config", "tensors", "weights", "said", "active"),
    [
        (DENSE, [LAYER, EMBEDDING, HEAD, EYES], 0, None, (307, BY_HEADERS)),
        (DENSE, [LAYER, EMBEDDING], 0, None, (507, BY_HEADERS)),  # tied: the embedding is the head
        (ROUTED, [LAYER, EXPERT, SHARED, HEAD], 0, None, (7 + 100 + 40 + 300, BY_HEADERS)),
        ({"text_config": {**ROUTED}}, [EXPERT], 0, None, (100, BY_HEADERS)),
        (DENSE, [LAYER, EXPERT], 0, None, (0, "")),  # experts, and nothing tells how many are chosen
        (DENSE, [LAYER, EXPERT], 0, 1.5, (1_500_000_000, "the catalogue")),
        (DENSE, [], 800, None, (800, "the size of the weights")),
        (DENSE, [], 800, 0.5, (500_000_000, "the catalogue")),
        (ROUTED, [], 800, None, (0, "")),
        ({"model_type": "gpt_oss"}, [], 800, None, (0, "")),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "ME*"}, [], 800, None, (0, "")),
        ({}, [], 800, None, (0, "")),
        ({**ROUTED, "num_experts": "many", "num_experts_per_tok": True}, [EXPERT], 0, None, (0, "")),
    ],
)
def test_what_a_token_reads(
    config: dict[str, Any], tensors: list[Any], weights: int, said: float | None, active: tuple[int, str]
) -> None:
    assert report.active_bytes(config, tensors, weights, said) == active


def test_three_sparks_take_turns() -> None:
    """Heads cannot be divided by three: each has a third of the layers, and one reads at a time."""
    one = row(entry(), known()).tokens_s
    assert row(entry(), known(), *(host(f"spark{number}") for number in (1, 2, 3))).tokens_s == one
    assert row(entry(), known(), host("spark1"), host("spark2")).tokens_s == pytest.approx(2 * one, abs=0.1)


def test_the_entry_is_beneath_what_trtllm_serve_says() -> None:
    said = entry(arguments={"max_batch_size": 64, "tp_size": 8}, options={"kv_cache_config": {"dtype": "fp8"}})
    setting = report.setting_for(said, 2, Asked(batch=3, context=5000))
    assert (setting.tp, setting.pp, setting.max_batch_size, setting.max_seq_len) == (2, 1, 3, 5000)
    assert (setting.kv_dtype, setting.max_num_tokens, setting.graphs) == ("fp8", 8192, 3)
    assert (report.setting_for(said, 3, Asked()).tp, report.setting_for(said, 3, Asked()).pp) == (1, 3)


def test_a_disk_that_is_too_small_is_named_once_for_all() -> None:
    small = [host(f"spark{number}", free_bytes=25 * GB) for number in (1, 2)]
    made = row(entry(), known(), *small)
    assert made.answer == "does_not"
    assert made.reasons == (
        "spark1 and spark2: the disk has 25.0 GB free, the model needs 9.0 more, and 20 are to stay free "
        "(spark_reserve_gb): make room",
    )
    assert row(entry(), known(), *small, asked=Asked(reserve_gb=16)).answer == "fits"
    there = {"lab/one": known()["blobs"]}
    assert row(entry(), known(), *(host(one.name, free_bytes=0, blobs=there) for one in small)).answer == "fits"


def test_what_nothing_tells_is_never_yes() -> None:
    for told in (None, known(origin="", bytes=0, weights_bytes=0, blobs={}, config={}), known(config={})):
        made = row(entry(), told)
        assert made.answer == "cannot_tell"
        assert made.reasons
    assert row(entry(), known(), host("spark1", memory_mib=0)).answer == "cannot_tell"


def test_the_draft_is_told_beside_the_answer() -> None:
    said = entry(draft={"handle": "lab/draft", "kind": "Eagle3"})
    facts = {"lab/one": known(), "lab/draft": known(weights_bytes=GB, bytes=GB)}
    made = report.rows({"lab/one": said}, facts, [host("spark1")], Asked())[0]
    assert made.answer == "fits"
    assert "With speculative decoding by lab/draft: fits" in made.notes
    del facts["lab/draft"]
    made = report.rows({"lab/one": said}, facts, [host("spark1")], Asked())[0]
    assert made.answer == "fits"
    assert any(note.startswith("With speculative decoding by lab/draft: cannot tell (") for note in made.notes)


@pytest.mark.parametrize(
    ("told", "there", "cached", "needed", "whole"),
    [
        (known(), {}, 0, 9 * GB, False),
        (known(), {"a" * 64: 8 * GB}, 8 * GB, GB, False),
        (known(), {"a" * 64: 8 * GB - 1}, 0, 9 * GB, False),  # cut short
        (known(), {"a" * 64: 8 * GB, "b" * 40: GB, "d" * 64: 5}, 9 * GB, 0, True),
        (known(origin="cache"), {"a" * 64: 8 * GB, "b" * 40: GB}, 9 * GB, 11 * GB, False),  # who knows what else
        (None, {"a" * 64: 3 * GB}, 3 * GB, 17 * GB, False),
    ],
)
def test_what_is_there_need_not_come(told: Any, there: Any, cached: int, needed: int, whole: bool) -> None:
    disk = row(entry(weights_gb=20), told, host("spark1", blobs={"lab/one": there})).disks[0]
    assert (disk.cached_bytes, disk.needed_bytes, disk.whole) == (cached, needed, whole)


RATES = {"hub": {"bytes": 2 * GB, "seconds": 10}, "peer": {"bytes": 9 * GB, "seconds": 10}}


@pytest.mark.parametrize(
    ("rates", "asked", "download", "copy"),
    [
        ({}, Asked(), (50e6, "assumed"), (1e9, "assumed")),
        (RATES, Asked(), (2e8, "measured"), (9e8, "measured")),
        (RATES, Asked(download_mb_s=7, copy_mb_s=8), (7e6, "given"), (8e6, "given")),
        ({"hub": {"bytes": 5, "seconds": 0}}, Asked(), (50e6, "assumed"), (1e9, "assumed")),
    ],
)
def test_rates_are_given_measured_or_assumed(rates: Any, asked: Asked, download: Any, copy: Any) -> None:
    hosts = [host("spark1", rates=rates), host("spark2", rates=rates), host("spark3")]
    found = report.rates(hosts, asked)
    assert ((found[0].bytes_s, found[0].basis), (found[1].bytes_s, found[1].basis)) == (download, copy)
    words = " ".join(report.basis(hosts, asked))
    assert {"given": "given (spark_models_download_mb_s)", "assumed": "assumed (spark_models_download_mb_s)"}.get(
        download[1], "as measured on the leader"
    ) in words


def test_times_follow_from_the_rates() -> None:
    made = row(entry(), known(), host("spark1"), host("spark2"), asked=Asked(download_mb_s=100, copy_mb_s=1000))
    assert (made.download_s, made.copy_s) == (90.0, 9.0)
    assert row(entry(), known()).copy_s is None
    assert row(entry(), None).download_s is None


def all_told(asked: Asked | None = None) -> tuple[list[Row], list[Host], Asked, dict[str, list[str]]]:
    entries, facts, hosts = every_kind()
    asked = asked or Asked()
    return report.rows(entries, facts, hosts, asked), hosts, asked, {"spark1": [HOSTILE], "spark2": []}


def test_the_table_is_ascii_and_narrow() -> None:
    lines = report.table(*all_told())
    assert all(re.fullmatch(r"[ -~]*", line) and len(line) <= 140 for line in lines)
    assert [line for line in lines if re.fullmatch(r"[A-Z ]+ \(\d\)", line)] == [
        "FITS (3)",
        "CANNOT TELL (2)",
        "DOES NOT FIT (1)",
    ]
    text = "\n".join(lines)
    assert re.search(r"^lab/whole +NVFP4 +9\.0 +0 +[\d,]+ +\d+ +- +- everywhere$", text, re.MULTILINE)
    assert re.search(r"^lab/part .* spark1 11%$", text, re.MULTILINE)
    assert re.search(r"^lab/offline +16\.0\* +16\.0 ", text, re.MULTILINE)
    assert re.search(r"^lab/nothing +\?\* +\? +\? +\? +\? +\? nowhere$", text, re.MULTILINE)
    assert "lab/large needs 4 Sparks, and 2 are to serve it" in text
    assert "* Figures by the catalogue or the leader's cache, since the hub did not tell of lab/offline" in text


@given(st.integers(1, 4), st.text(max_size=30), st.text(max_size=300), st.integers(0, 10**13))
@settings(max_examples=30)
def test_no_words_widen_the_table(count: int, quantisation: str, problem: str, size: int) -> None:
    hosts = [host(f"spark-{'long' * 5}{number}", blobs={"lab/one": {"a" * 64: 3}}) for number in range(count)]
    told = known(problem=problem, origin="cache", bytes=size, weights_bytes=size)
    made = report.rows({"lab/one": entry(quantisation=quantisation)}, {"lab/one": told}, hosts, Asked())
    lines = report.table(made, hosts, Asked(), {"spark1": [problem]})
    assert all(re.fullmatch(r"[ -~]*", line) and len(line) <= 140 for line in lines)


WITH_PARTS = {"text_config": ROUTED, "quantization_config": {"quant_algo": "FP8"}}


@given(values(ROUTED, whole=False) | values(WITH_PARTS, whole=False))
@settings(max_examples=60, deadline=None)
def test_any_config_gets_an_answer(config: Any) -> None:
    hosts, told = [host("spark1")], known(config=config, tensors=[EXPERT, HEAD])
    made = report.rows({"lab/one": entry()}, {"lab/one": told}, hosts, Asked())
    assert made[0].answer in report.ANSWERS
    assert report.table(made, hosts, Asked(), {})
    json.dumps(report.document(made, hosts, Asked(), 1.0, {}))


def test_an_empty_report_says_so() -> None:
    assert "No model was asked about." in report.table([], [host("spark1")], Asked(), {})


def test_the_document_is_plain() -> None:
    made, hosts, asked, others = all_told()
    told = report.document(made, hosts, asked, 1.0, others)
    assert json.loads(json.dumps(told)) == told
    assert {one["answer"] for one in told["models"]} == {"fits", "cannot_tell", "does_not"}
    assert told["assumed"]["download"] == {"bytes_s": 1e8, "basis": "measured"}
    assert told["others_cached"] == {"spark1": [HOSTILE]}


class Page(HTMLParser):
    """What a page is made of, and whether its elements are closed in order."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes another element"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    made, hosts, asked, others = all_told()
    told = report.document(made, hosts, asked, 1.0, others)
    return report.page(told, made, hosts, asked, HOSTILE)


def test_the_page_stands_alone(text: str) -> None:
    page = Page(text)
    assert page.open == []
    sources = [
        value
        for _tag, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "srcset", "poster", "xlink:href")
    ]
    assert sources == ["data:,"], "the empty icon, which a browser else asks for"
    styles = re.findall(r"<(style|script)>(.*?)</\1>", text, re.DOTALL)
    assert [name for name, _content in styles] == ["style", "script"]
    for _name, content in styles:
        assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch|XMLHttpRequest|import\(", content)
    policy = next(one for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")["content"]
    assert policy.startswith("default-src 'none';")


def test_whatever_was_given_is_text(text: str) -> None:
    page = Page(text)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert not [name for _tag, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.words.count("<script>alert('x')</script>") >= 5, "title, source, reason, problem, time, others"
    assert "{{ 7 * 7 }}" in page.words
    assert "49 é" not in page.words


def test_the_page_can_be_read_by_everybody(text: str) -> None:
    page = Page(text)
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert "@media (prefers-color-scheme: dark)" in text
    ids = [attributes["id"] for _tag, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    headings = [tag for tag, _attributes in page.elements if re.fullmatch(r"h\d", tag)]
    assert headings == ["h1", "h2", "h2", "h2"]
    for name in (attributes.get("aria-labelledby") for _tag, attributes in page.elements):
        assert name is None or name in ids
    assert all(one.get("scope") in ("col", "row") for one in page.all("th"))
    columns = [one for one in page.all("th") if one.get("role") == "columnheader"]
    cells = [one for one in page.all("td") if one.get("role") == "cell"]
    rows = [one for one in page.all("tr") if one.get("id", "").startswith("model-")]
    assert (len(rows), len(cells)) == (6, 6 * (len(columns) - 1))
    assert all(one["data-label"] and "data-value" in one for one in cells), "the label is what a narrow screen shows"


def test_one_spark_copies_nothing() -> None:
    made = report.rows({"lab/one": entry()}, {"lab/one": known()}, [host("spark1")], Asked())
    told = report.document(made, [host("spark1")], Asked(), 1.0, {})
    page = Page(report.page(told, made, [host("spark1")], Asked(), "now"))
    columns = [one for one in page.all("th") if one.get("role") == "columnheader"]
    cells = [one for one in page.all("td") if one.get("role") == "cell"]
    assert (len(columns), len(cells)) == (10, 9)
    assert "Copy:" not in page.words


def luminance(colour: str) -> float:
    digits = colour if len(colour) == 6 else "".join(2 * one for one in colour)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_stand_out(text: str, scheme: int) -> None:
    """At 4.5 to 1 at least, as WCAG 2 asks of text (1.4.3)."""
    colours = [
        dict(re.findall(r"--(\w+): #([0-9a-f]{3,6})", block)) for block in re.findall(r":root \{(.*?)\}", text, re.S)
    ]
    found = colours[scheme]
    assert set(found) == {"page", "text", "soft", "line", "card", "fits", "doubt", "not"}
    for name in ("text", "soft", "fits", "doubt", "not"):
        for ground in ("page", "card"):
            light, dark = sorted((luminance(found[name]), luminance(found[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{name} on {ground}"
