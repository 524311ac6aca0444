# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model that guesses tokens for the served one: mounted on every rank, counted, and nothing where there is none."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.action import engine_plan, trtllm_plan
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import changes as planning
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, serving
from test_engine_plan import BUILT, REPO, asked_for, blank, changes, made, refusal

PAIR = ["spark1", "spark2"]
HUB = "/home/nvidia/.cache/huggingface/hub"
GIB = 2**30
LLAMA = {"model_type": "llama", "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 8}
LLAMA.update(hidden_size=512, max_position_embeddings=4096)
DRAFT: dict[str, Any] = {
    "repo": "lab/head",
    "commit": "c0ffee",
    "repo_dir": f"{HUB}/models--lab--head",
    "snapshot": f"{HUB}/models--lab--head/snapshots/c0ffee",
    "bytes": 5 * GIB,
    "config": {**LLAMA, "num_hidden_layers": 1},
}
MODEL: dict[str, Any] = {
    "repo": "lab/tiny",
    "commit": "abc",
    "repo_dir": REPO,
    "snapshot": f"{REPO}/snapshots/abc",
    "bytes": 10 * GIB,
    "config": LLAMA,
    "beside": [{"repo": "lab/else", "repo_dir": f"{HUB}/models--lab--else"}, DRAFT],
}
EAGLE3 = {"kind": "Eagle3", "handle": "lab/head", "tokens": 3}


def told(members: list[str], model: dict[str, Any], speculative: Any = EAGLE3) -> dict[str, Any]:
    """What TensorRT-LLM is told, by its own planner."""
    asked = {
        "members": members,
        "model": model,
        "config": model["config"],
        "version": "1.3.0rc13",
        "arguments": {
            "tp_size" if len(members) < 3 else "pp_size": len(members),
            "max_batch_size": 4,
            "max_num_tokens": 1024,
        },
        "options": {"cuda_graph_config": {"enable_padding": True}},
        "speculative": speculative,
    }
    return trtllm_plan.ActionModule.__new__(trtllm_plan.ActionModule).plan(asked, {})["engine"]


def asked(members: list[str], launcher: str = "swarm", speculative: Any = EAGLE3, **model: Any) -> dict[str, Any]:
    whole = {**MODEL, **model}
    return {**asked_for(members, launcher), "model": whole, "engine": told(members, whole, speculative)}


def planned(one: dict[str, Any], **found: Any) -> dict[str, Any]:
    return engine_plan.planned({**one, "found": {name: {**blank(name), **found} for name in one["members"]}})


def drafts_of(plan: dict[str, Any], launcher: str, members: list[str]) -> list[Any]:
    """What each container has mounted for its draft."""
    if launcher == "swarm":
        services = yaml.safe_load(plan["stack"])["services"]
        mounts = [services[role]["volumes"] for role in ("leader", "worker")[: len(members)]]
    else:
        mounts = [plan["hosts"][name]["container"]["mounts"] for name in members]
    return [[one for one in some if one["target"] == contract.DRAFT_DIR] for some in mounts]


@pytest.mark.parametrize("members", [["spark1"], PAIR], ids=len)
@pytest.mark.parametrize("launcher", ["swarm", "docker"])
def test_every_rank_has_the_draft_read_only_where_the_engine_is_told(launcher: str, members: list[str]) -> None:
    one = asked(members, launcher)
    plan = planned(one)
    mount = {"type": "bind", "source": DRAFT["repo_dir"], "target": "/draft", "read_only": True}
    assert drafts_of(plan, launcher, members) == [[mount]] * len(members)
    for name in members:
        files = {each["path"]: each["content"] for each in plan["hosts"][name]["files"]}
        options = yaml.safe_load(files["/etc/dgx-spark/trtllm/llm.yml"])
        assert options["speculative_config"]["speculative_model_dir"] == "/draft/snapshots/c0ffee"
    assert plan["speculative"] == {"kind": "Eagle3", "repo": "lab/head", "commit": "c0ffee", "tokens": 3}
    found = {name: blank(name) for name in members}
    assert changes(one, made(one, found, {})) == {name: [] for name in members}, "a second run changes nothing"


@pytest.mark.parametrize("launcher", ["swarm", "docker"])
def test_to_begin_and_to_end_speculation_starts_the_engine_anew(launcher: str) -> None:
    with_draft, without = asked(PAIR, launcher), asked(PAIR, launcher, "")
    blank_pair = {name: blank(name) for name in PAIR}
    for before, after in ((with_draft, without), (without, with_draft)):
        names = changes(after, made(before, blank_pair, {}))["spark1"]
        assert planning.WRITE in names
        assert set(names) & planning.STARTS


def test_login_users_of_other_names_have_the_draft_from_their_own_caches() -> None:
    other = "/home/ubuntu/models--lab--head"
    draft = {**DRAFT, "repo_dirs": {"spark1": DRAFT["repo_dir"], "spark2": other}}
    for launcher in ("swarm", "docker"):
        plan = planned(asked(PAIR, launcher, beside=[draft]))
        assert [one["source"] for (one,) in drafts_of(plan, launcher, PAIR)] == [DRAFT["repo_dir"], other]
    three = [*PAIR, "spark3"]
    draft["repo_dirs"]["spark3"] = DRAFT["repo_dir"]
    one = asked(three, "swarm", {"kind": "MTP"}, beside=[draft])
    one["engine"] = {**one["engine"], "speculative": {"kind": "Eagle3", "repo": "lab/head", "tokens": 3}}
    said = refusal(one, {name: blank(name) for name in three})
    assert f"the workers have the model that guesses tokens at different paths (spark2: {other}, spark3:" in said


def test_the_draft_counts_in_what_a_rank_needs_and_may_take() -> None:
    plain, both = (planned(asked(PAIR, "docker", one))["cluster"]["limits"] for one in ("", EAGLE3))
    reserve = both["memory_reserve_mib"]
    assert (plain["memory_need_mib"] - reserve, both["memory_need_mib"] - reserve) == (5 * 1024, 10 * 1024)
    assert both["load_timeout_s"] - plain["load_timeout_s"] == 5 * GIB // (50 * 10**6)
    found = {"spark1": blank("spark1")}
    vlm = [
        engine_plan.serving_of({**asked(["spark1"], "docker", one), "instance": "vlm", "found": found}, BUILT).cluster[
            "limits"
        ]["memory_budget_mib"]
        for one in ("", EAGLE3)
    ]
    assert vlm[1] - vlm[0] == 5 * 1024
    warnings = [" ".join(planned(asked(["spark1"], "docker", one))["warnings"]) for one in ("", EAGLE3)]
    assert "up to 10 GiB less" in warnings[0]
    assert "up to 15 GiB less" in warnings[1], "the page cache keeps the draft's files too"


def test_a_pair_that_does_not_fit_together_is_refused_with_figures_and_the_way_out() -> None:
    huge = {**DRAFT, "bytes": 110 * GIB}
    one = asked(["spark1"], "docker", beside=[huge])
    said = refusal(one, {"spark1": blank("spark1")})
    assert f"a rank needs {120 * 1024 + 24400} MiB, {120 * 1024} for its share of the weights" in said
    assert "What would fit: without speculative decoding: spark_speculative empty" in said
    assert said.endswith("Nothing was changed.")
    assert planned({**one, "model_force": True})["warnings"]
    assert planned(asked(["spark1"], "docker", "", beside=[huge]))["fit"]["answer"] == "fits"


def test_a_draft_that_is_not_beside_is_refused() -> None:
    one = asked(PAIR)
    found = {name: blank(name) for name in PAIR}
    for beside in ([], [{"repo": "lab/else", "repo_dir": "/x"}], None):
        said = refusal({**one, "model": {**MODEL, "beside": beside}}, found)
        assert "lab/head is to guess tokens, and is not beside lab/tiny" in said
        assert said.endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        ({"repo": "x"}, "of the model, beside is {'repo': 'x'} and no list of models"),
        (["x"], "no list of models"),
        ([{"repo": "lab/head"}], "beside[0].repo_dir is None and no text"),
        ([DRAFT, {**DRAFT, "bytes": -1}], "beside[1].bytes is -1 and no number of bytes"),
    ],
)
def test_what_is_beside_has_the_shape_of_models(beside: Any, says: str) -> None:
    one = asked(PAIR)
    assert says in refusal({**one, "model": {**MODEL, "beside": beside}}, {name: blank(name) for name in PAIR})


# --- nothing where there is none -------------------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", ["swarm", "docker"])
def test_models_beside_change_nothing_unless_one_guesses(launcher: str) -> None:
    plain = planned(asked(PAIR, launcher, "", beside=[]))
    beside = planned(asked(PAIR, launcher, ""))
    unheard = copy.deepcopy(MODEL)
    del unheard["beside"]
    before = planned({**asked_for(PAIR, launcher), "model": unheard, "engine": told(PAIR, unheard, "")})
    assert plain == beside == before
    assert plain["speculative"] == {}
    assert "/draft" not in json.dumps([plain["hosts"], plain["stack"], plain["cluster"]])


@pytest.mark.parametrize("launcher", ["swarm", "docker"])
def test_without_a_draft_what_is_written_and_started_is_to_the_byte_what_it_was_before_there_were_drafts(
    launcher: str,
) -> None:
    """So that an update restarts no engine. Whoever changes containers on purpose changes the second figure."""
    one = serving.Serving(
        engine={"name": "trtllm", "title": "TensorRT-LLM", "files": {"llm.yml": "a: 1\n"}},
        cluster={
            "nodes": [{"name": "spark1", "address": "192.168.100.1"}, {"name": "spark2", "address": "192.168.100.2"}],
            "ssh_port": 2233,
            "serve": ["trtllm-serve"],
        },
        nodes={"spark1": {"rank": 0}, "spark2": {"rank": 1}},
        image_id="sha256:" + "a" * 64,
        repo_dirs={"spark1": "/hub/m", "spark2": "/hub/m"},
        launcher=launcher,
    )
    assert one.config_digest == "c62ada318ce2-aaaaaaaaaaaa"
    written = [serving.stack_file(one), [serving.container(one, name) for name in one.members], serving.unit(one)]
    assert hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:16] == "7a919bdf48f58436"
