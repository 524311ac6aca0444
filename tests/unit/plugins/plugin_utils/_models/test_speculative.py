# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What spark_speculative asks for, and which model has to be there for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sparkops.dgx_spark.plugins.filter.speculative_models import speculative_models
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_speculative import KINDS, Speculation
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import catalogue, speculative
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models.speculative import SpeculativeError
from hypothesis import given
from hypothesis import strategies as st

OSS, EAGLE = "openai/gpt-oss-120b", "nvidia/gpt-oss-120b-Eagle3-long-context"
SUPER = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4"


@pytest.mark.parametrize("said", ["", None, {}])
def test_nothing_is_guessed_unless_asked_for(said: Any) -> None:
    assert speculative.asked(said, OSS) is None
    assert speculative_models(said, OSS) == []


@pytest.mark.parametrize(
    ("said", "repo", "wanted"),
    [
        ("catalogue", OSS, Speculation("Eagle3", EAGLE, "", 5)),
        ("catalogue", SUPER, Speculation("MTP", "", "", 3)),
        ({"kind": "MTP"}, "me/mine", Speculation("MTP", "", "", 3)),
        ({"kind": "eagle-3", "handle": "a/b", "tokens": "7"}, "me/mine", Speculation("Eagle3", "a/b", "", 7)),
        ({"kind": "DraftTarget", "handle": "a/b", "revision": "v1"}, OSS, Speculation("Draft_Target", "a/b", "v1", 3)),
        ('{"kind": "MTP", "tokens": 2}', OSS, Speculation("MTP", "", "", 2)),
    ],
)
def test_what_is_asked_for(said: Any, repo: str, wanted: Speculation) -> None:
    assert speculative.asked(said, repo) == wanted


def test_a_user_gives_the_catalogue_a_draft() -> None:
    mine = {"me/mine": {"draft": {"kind": "Eagle3", "handle": "me/head", "revision": "v2", "tokens": 4}}}
    assert speculative.asked("catalogue", "me/mine", mine) == Speculation("Eagle3", "me/head", "v2", 4)
    changed = {OSS: {"draft": {"tokens": 2}}}
    assert speculative.asked("catalogue", OSS, changed) == Speculation("Eagle3", EAGLE, "", 2)


def test_what_has_to_come_beside_a_model() -> None:
    (one,) = speculative_models("catalogue", OSS)
    assert one == {"repo": EAGLE, "revision": "main", "allow_patterns": []}
    assert speculative_models("catalogue", SUPER) == [], "MTP is a part of the model"
    own = {"me/head": {"allow_patterns": ["*.json"], "revision": "v1"}}
    said = {"kind": "Eagle3", "handle": "me/head"}
    assert speculative_models(said, OSS, own)[0]["allow_patterns"] == ["*.json"]
    assert speculative_models(said, OSS, own)[0]["revision"] == "v1"
    assert speculative_models({**said, "revision": "v2"}, OSS, own)[0]["revision"] == "v2"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("eagle", "spark_speculative is 'eagle': leave it empty for none, say catalogue"),
        (3, "spark_speculative is 3: leave it empty"),
        (["MTP"], "spark_speculative is ['MTP']: leave it empty"),
        ("{kind: MTP}", "is '{kind: MTP}', which is not JSON"),
        ({"kind": "MTP", "model": "a/b"}, "spark_speculative has model, and takes kind, handle, revision, tokens"),
        ({"handle": "a/b"}, "the kind of spark_speculative is missing: give one of Eagle3, Draft_Target, MTP"),
        ({"kind": "NGram"}, "the kind of spark_speculative is 'NGram': give one of"),
        ({"kind": ["MTP"]}, "the kind of spark_speculative is ['MTP']"),
        ({"kind": "Eagle3"}, "has the kind Eagle3, and its handle is missing: give one, as in {kind: Eagle3"),
        ({"kind": "Eagle3", "handle": "/opt/draft"}, "its handle is '/opt/draft', which is no handle of the hub"),
        ({"kind": "Eagle3", "handle": 7}, "its handle is 7, which is no handle"),
        ({"kind": "MTP", "handle": "a/b"}, "MTP guesses by layers of the model itself: leave the handle out"),
        ({"kind": "Draft_Target", "handle": "me/mine"}, "the handle me/mine, which is the model itself"),
        ({"kind": "MTP", "tokens": 0}, "the tokens of spark_speculative are 0: give how many"),
        ({"kind": "MTP", "tokens": 33}, "from 1 to 32"),
        ({"kind": "MTP", "tokens": "many"}, "are 'many'"),
        ({"kind": "MTP", "tokens": True}, "are True"),
        ({"kind": "Eagle3", "handle": "a/b", "revision": 1}, "the revision of spark_speculative is 1 and no text"),
        ("catalogue", "the catalogue has no draft for me/mine: give it one in spark_models, such as {me/mine: {draft"),
    ],
)
def test_what_is_wrong_is_said_with_variable_value_and_mend(said: Any, says: str) -> None:
    with pytest.raises(SpeculativeError) as error:
        speculative.asked(said, "me/mine")
    assert says in str(error.value)
    with pytest.raises(AnsibleFilterError, match="Nothing was changed"):
        speculative_models(said, "me/mine")


def test_what_is_wrong_in_the_catalogue_is_said_of_it() -> None:
    mine = {"me/mine": {"draft": {"kind": "NGram", "tokens": 2}}}
    with pytest.raises(SpeculativeError, match="the kind of the catalogue's draft for me/mine is 'NGram'"):
        speculative.asked("catalogue", "me/mine", mine)
    with pytest.raises(AnsibleFilterError, match=r"spark_models is 3 .*Nothing was changed"):
        speculative_models("catalogue", "me/mine", 3)


def test_every_draft_of_the_catalogue_can_be_asked_for() -> None:
    drafts = {handle: entry["draft"] for handle, entry in catalogue.load().items() if entry["draft"]}
    assert len(drafts) >= 4
    for handle, draft in drafts.items():
        found = speculative.asked("catalogue", handle)
        assert found is not None
        assert (found.kind, found.handle, found.tokens) == (draft["kind"], draft.get("handle", ""), draft["tokens"])


HANDLES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}/[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)


@given(st.sampled_from(KINDS), HANDLES, st.integers(1, 32), st.sampled_from(["", "main", "v1"]))
def test_a_whole_mapping_is_taken_as_it_is_and_as_text(kind: str, handle: str, tokens: int, revision: str) -> None:
    said = {"kind": kind, "tokens": tokens, "revision": revision}
    said = said if kind == "MTP" else {**said, "handle": handle}
    wanted = Speculation(kind, str(said.get("handle", "")), revision, tokens)
    assert speculative.asked(said, "me/mine") == wanted
    assert speculative.asked(json.dumps(said), "me/mine") == wanted
    assert [one["repo"] for one in speculative.models(said, "me/mine")] == ([handle] if kind != "MTP" else [])


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*speculative.FIELDS, "x"]), inner, max_size=4),
    ),
    max_leaves=6,
)


@given(ANYTHING)
def test_whatever_is_said_is_taken_or_refused_in_words(said: Any) -> None:
    try:
        found = speculative.asked(said, OSS)
    except SpeculativeError:
        return
    assert found is None or (found.kind in KINDS and 1 <= found.tokens <= 32)
