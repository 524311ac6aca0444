# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and paths: of an instance all are its own, and that without a name has those that it always had."""

from __future__ import annotations

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.instances import facts_of, instances_in
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import (
    INSTANCE,
    instance_problem,
    layout,
)
from hypothesis import given
from hypothesis import strategies as st

SHARED = ("engine", "label", "repository")
NAMES = st.one_of(st.just(""), st.from_regex(INSTANCE, fullmatch=True)).filter(lambda name: not instance_problem(name))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["limits", "nodes", "name"]), inner),
    max_leaves=8,
)


def test_the_one_without_a_name_is_called_as_ever() -> None:
    assert layout("trtllm") == {
        "engine": "trtllm",
        "instance": "",
        "name": "dgx-spark-trtllm",
        "config_dir": "/etc/dgx-spark/trtllm",
        "state_dir": "/var/lib/dgx-spark/trtllm",
        "build_dir": "/var/lib/dgx-spark/trtllm-image",
        "comment": "DGX Spark serving",
        "stack": "/etc/dgx-spark/trtllm/stack.yml",
        "unit": "dgx-spark-trtllm.service",
        "unit_file": "/etc/systemd/system/dgx-spark-trtllm.service",
        "unit_link": "/etc/systemd/system/docker.service.wants/dgx-spark-trtllm.service",
        "label": "dgx-spark=trtllm-serve",
        "repository": "dgx-spark/trtllm-serve",
    }


@given(NAMES, NAMES)
def test_two_instances_share_the_image_and_nothing_else(one: str, other: str) -> None:
    first, second = layout("trtllm", one), layout("trtllm", other)
    own = [{value for key, value in places.items() if key not in SHARED} for places in (first, second)]
    assert bool(own[0] & own[1]) is (one == other)
    assert all(first[key] == second[key] for key in SHARED)


@pytest.mark.parametrize(
    "name", ["image", "my-image", "VLM", "a_b", "a.b", "-a", "a-", "../etc", "a b", "a" * 17, "ä", "vlm\n", "a/b"]
)
def test_names_that_would_not_do(name: str) -> None:
    assert instance_problem(name).startswith(f"the instance's name is {name!r}: give up to 16")


@pytest.mark.parametrize("name", ["", "vlm", "v", "7b", "a-b", "a" * 16, "images"])
def test_names_that_do(name: str) -> None:
    assert instance_problem(name) == ""


@given(st.lists(NAMES, max_size=4))
def test_instances_are_found_by_what_lies_there(names: list[str]) -> None:
    places = [layout("trtllm", name) for name in names]
    lies = [place["config_dir"].rpartition("/")[2] for place in places]
    assert instances_in("trtllm", lies) == sorted(set(names))
    lies = [place["unit"].replace("dgx-spark-", "") for place in places]
    assert instances_in("trtllm", lies) == sorted(set(names))
    lies = [place["build_dir"].rpartition("/")[2] for place in places]
    assert instances_in("trtllm", lies) == sorted(set(names)), "an interrupted build"


@given(JSON, JSON, JSON)
def test_files_of_any_shape_are_no_reason_to_fail(cluster: object, node: object, state: object) -> None:
    shapes = [value if isinstance(value, dict) else {} for value in (cluster, node, state)]
    found = facts_of("trtllm-vlm", *shapes, "docker")
    assert found["name"] == "dgx-spark-trtllm-vlm"
    assert (found["budget_mib"], found["rank"]) >= (0, 0)


def test_what_a_plan_knows_of_another() -> None:
    limits = {"memory_need_mib": 34000, "memory_reserve_mib": 24000, "memory_budget_mib": 50000}
    cluster = {
        **{"engine": {"name": "trtllm"}, "limits": limits, "api_listen": "127.0.0.1:8356", "ssh_port": 2233},
        "nodes": [{"name": "spark1", "address": "127.0.0.1"}],
    }
    found = facts_of("trtllm-vlm", cluster, {"rank": 0}, {"phase": "serving"}, "docker")
    assert found == {
        **{"name": "dgx-spark-trtllm-vlm", "engine": "trtllm", "instance": "vlm", "leader": "spark1", "rank": 0},
        **{"launcher": "docker", "api_listen": "127.0.0.1:8356", "ssh_port": 2233, "share_mib": 10000},
        **{"budget_mib": 50000, "phase": "serving", "members": ["spark1"], "require_rdma": False, "load_timeout_s": 0},
        **{"was_stopped": False, "config": "", "good": "", "model": "", "began": 0},
    }
