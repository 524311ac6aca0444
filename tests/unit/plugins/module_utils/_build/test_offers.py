# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry offers: its pages of tags, its moved blobs, and what images say of themselves."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import offers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import registry
from hypothesis import given
from hypothesis import strategies as st

NAME = "nvcr.example/nvidia/tensorrt-llm/release:1.3.0rc13"
BASE = "https://nvcr.example/v2/nvidia/tensorrt-llm/release"
INDEX = {"manifests": [{"digest": f"sha256:{one}", "platform": {"architecture": one}} for one in ("amd64", "arm64")]}
MANIFEST = {"config": {"digest": "sha256:config"}, "layers": [{"size": 10}, {"size": 20}]}
CONFIG = {
    "architecture": "arm64",
    "created": "2026-11-02T03:04:05Z",
    "config": {
        "Env": ["TRT_LLM_VERSION=1.4.0rc1", "TRT_LLM_GIT_COMMIT=abc", "CUDA_VERSION=13.2.1", "EMPTY", "A=b=c"],
        "Labels": {"org.opencontainers.image.version": "24.04"},
    },
}


class Web:
    """SIMULATED: a registry's answers by URL: status, headers and JSON."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, tuple[int, dict[str, str], Any]] = {
            f"{BASE}/tags/list": (200, {"link": f'<{BASE}/tags/list?last=b>; rel="next"'}, {"tags": ["latest", "1.4.0rc1"]}),
            f"{BASE}/tags/list?last=b": (200, {}, {"tags": ["1.3.0rc13", "1.3.0rc20", "1.4.0rc2.dev202611"]}),
            f"{BASE}/manifests/1.4.0rc1": (200, {}, INDEX),
            f"{BASE}/manifests/1.3.0rc20": (200, {}, {"manifests": INDEX["manifests"][:1]}),
            f"{BASE}/manifests/sha256:arm64": (200, {}, MANIFEST),
            f"{BASE}/blobs/sha256:config": (307, {"location": "https://cdn.example/blob?signed=1"}, {}),
            "https://cdn.example/blob?signed=1": (200, {}, CONFIG),
            "https://nvcr.example/token?service=s&scope=p": (200, {}, {"token": "t0"}),
        }

    def once(self, _registry: registry.Registry, url: str, authorization: str) -> Any:
        self.asked.append((url, authorization))
        assert len(self.asked) < 200
        if url.startswith(BASE) and authorization != "Bearer t0":
            asks = 'Bearer realm="https://nvcr.example/token",service="s",scope="p"'
            return registry._Answer(401, {"www-authenticate": asks}, {})
        return registry._Answer(*self.answers.get(url, (404, {}, {})))


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    one = Web()
    monkeypatch.setattr(registry.Registry, "_once", lambda self, *words: one.once(self, *words))
    return one


def ask(most: int = 3) -> dict[str, Any]:
    return offers.ask(NAME, "1.3.0rc13", most, "aarch64", None, {}, 5)


def test_tags_come_page_by_page_and_the_newest_are_asked_for_more(web: Web) -> None:
    found = ask()
    assert (found["repository"], found["tags"]) == ("nvcr.example/nvidia/tensorrt-llm/release", 5)
    assert found["newer"] == ["1.4.0rc2.dev202611", "1.4.0rc1", "1.3.0rc20"]
    newest, other = found["offers"]
    assert (newest["tag"], newest["bytes"], newest["problem"]) == ("1.4.0rc1", 30, "")
    assert newest["architectures"] == ["amd64", "arm64"]
    assert newest["says"] == {
        **{"version": "1.4.0rc1", "commit": "abc", "cuda": "13.2.1", "pytorch": ""},
        **{"created": "2026-11-02", "architecture": "arm64"},
    }
    assert (other["tag"], other["problem"]) == ("1.3.0rc20", "no image is for arm64")


def test_one_token_serves_and_no_other_host_sees_it(web: Web) -> None:
    ask(1)
    assert sum("/token" in url for url, _shown in web.asked) == 1
    assert [shown for url, shown in web.asked if "cdn.example" in url] == [""]


@pytest.mark.parametrize(
    ("url", "answer", "said"),
    [
        (f"{BASE}/tags/list", (404, {}, {}), "HTTP status 404"),
        (f"{BASE}/tags/list", (200, {}, {"name": "a"}), "cannot be read ('tags' is missing)"),
        (f"{BASE}/tags/list", (200, {}, {"tags": "many"}), "no list of tags"),
        (f"{BASE}/tags/list", (200, {"link": '<https://evil.example/>; rel="next"'}, {"tags": []}), "goes on at https://evil"),
        (f"{BASE}/tags/list", (200, {"link": '</v2/nvidia/tensorrt-llm/release/tags/list>; rel="next"'}, {"tags": []}), "no end"),
        (f"{BASE}/tags/list", (302, {"location": "http://plain.example/"}, {}), "without TLS"),
        (f"{BASE}/tags/list", (302, {"location": f"{BASE}/tags/list"}, {}), "from place to place"),
    ],
)
def test_a_list_that_cannot_be_had_is_an_error_in_words(web: Web, url: str, answer: Any, said: str) -> None:
    web.answers[url] = answer
    with pytest.raises(registry.RegistryError, match=re.escape(said)):
        ask()


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        (f"{BASE}/manifests/1.4.0rc1", (200, {}, [])),
        (f"{BASE}/manifests/sha256:arm64", (200, {}, {"layers": []})),
        (f"{BASE}/blobs/sha256:config", (500, {}, {})),
        ("https://cdn.example/blob?signed=1", (200, {}, {"config": {"Env": 7}})),
        ("https://cdn.example/blob?signed=1", (200, {}, {"architecture": "amd64"})),
    ],
)
def test_a_tag_that_cannot_be_read_is_told_and_hinders_no_other(web: Web, url: str, answer: Any) -> None:
    web.answers[url] = answer
    newest = ask()["offers"][0]
    assert newest["tag"] == "1.4.0rc1"
    assert newest["problem"]


def test_a_nightly_one_is_taken_only_where_there_is_no_other(web: Web) -> None:
    web.answers[f"{BASE}/tags/list"] = (200, {}, {"tags": ["1.3.0rc13", "1.4.0rc2.dev202611"]})
    assert [one["tag"] for one in ask()["offers"]] == ["1.4.0rc2.dev202611"]


TAGS = st.from_regex(r"v?1\.[0-4]\.[0-3](rc[0-9]{1,2})?(\.post[0-9])?(\.dev2026[0-9]{2})?(-arm64)?", fullmatch=True)


@given(st.lists(TAGS | st.text(max_size=12)), TAGS)
def test_newer_ones_are_newer_and_in_order(tags: list[str], than: str) -> None:
    found = offers.newer(tags, than)
    keys = [offers.order(tag) for tag in found]
    assert None not in keys
    assert keys == sorted(keys, reverse=True)
    assert set(found) <= set(tags)
    assert than not in found
    least = offers.order(than)
    assert least is not None
    assert all(key is not None and key[:2] > least[:2] for key in keys)
