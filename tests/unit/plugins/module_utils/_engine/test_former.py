# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another engine of the same name gives way, and comes back where what takes its place does not serve."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import former, going_back, instances
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError

PAIR = ["spark1", "spark2"]
ONE: Any = SimpleNamespace(members=PAIR, instance="", engine={"name": "vllm"})


def other(engine: str = "trtllm", instance: str = "", members: Any = PAIR, **state: Any) -> dict[str, Any]:
    cluster = {
        "engine": {"name": engine},
        "nodes": [{"name": name} for name in members],
        "api_listen": "127.0.0.1:8355",
        "limits": {"require_rdma": True, "load_timeout_s": 3600},
    }
    told = {"phase": "serving", "config": "c-1", "good": "c-1", "model": "lab/tiny", "began": 5.0, **state}
    folder = f"{engine}-{instance}" if instance else engine
    return instances.facts_of(folder, cluster, {"rank": 0}, told, "swarm")


def found(*others: dict[str, Any], worker: Any = None) -> dict[str, Any]:
    return {"spark1": {"others": list(others)}, "spark2": {"others": list(others if worker is None else worker)}}


def test_the_other_engine_of_the_same_name_gives_way() -> None:
    said = former.of(ONE, found(other(), other(instance="vlm"), other("vllm", "vlm")))
    assert (said["name"], said["engine"], said["on"]) == ("dgx-spark-trtllm", "trtllm", PAIR)
    assert said["layout"]["state_dir"] == "/var/lib/dgx-spark/trtllm"
    assert (said["returns"], said["was_stopped"], said["require_rdma"]) == (True, False, True)
    assert (said["config"], said["timeout"], said["began"]) == ("c-1", 3900, 5.0)


def test_what_has_another_name_stays() -> None:
    assert former.of(ONE, found(other(instance="vlm"))) == {}
    assert former.of(SimpleNamespace(**{**vars(ONE), "instance": "vlm"}), found(other())) == {}
    assert former.of(ONE, {"spark1": {}, "spark2": {}}) == {}


def test_only_what_gives_way_is_left_out_for_the_neighbours() -> None:
    both = found(other(), other(instance="vlm"))
    kept = former.without(both, "dgx-spark-trtllm")
    assert [one["name"] for one in kept["spark1"]["others"]] == ["dgx-spark-trtllm-vlm"]
    assert former.without(both, "") == both


@pytest.mark.parametrize("members", [["spark1", "spark2", "spark3"], ["spark2", "spark1"], ["spark9"]])
def test_one_that_cannot_be_ended_from_here_is_refused(members: list[str]) -> None:
    with pytest.raises(ServeError, match=r"dgx-spark-trtllm serves on .*, and spark1, spark2 are to serve"):
        former.of(ONE, found(other(members=members)))


def test_one_of_the_leader_alone_gives_way_to_two() -> None:
    said = former.of(ONE, found(other(members=["spark1"]), worker=[]))
    assert (said["on"], said["members"], said["require_rdma"]) == (["spark1"], ["spark1"], False)


def test_of_two_the_one_that_was_not_stopped_gives_way() -> None:
    stopped = other(phase="stopped", reason="stopped by stop.yml")
    assert former.of(ONE, found(stopped, other("sglang")))["engine"] == "sglang"
    assert former.of(ONE, found(stopped))["was_stopped"] is True


def test_one_that_had_not_served_as_it_is_does_not_come_back() -> None:
    assert former.of(ONE, found(other(good="")))["returns"] is False
    assert former.of(ONE, found(other(good="c-0")))["returns"] is False


def planned(unreached: str = "", **about: Any) -> dict[str, Any]:
    told = {name: going_back.Told(answers=name != unreached, failed={"msg": "no token"}) for name in PAIR}
    return going_back.plan(told, "swarm", "", False, {**former.of(ONE, found(other())), **about})


def test_what_is_said_of_the_engine_that_comes_back() -> None:
    back = planned()
    assert (back["to_former"], back["can_go_back"]) == (True, False)
    said = going_back.sentence(back, PAIR, [])
    assert said.startswith("lab/tiny (dgx-spark-trtllm) serves again on spark1, spark2, as before")
    assert "does not serve either: gave up" in going_back.sentence(back, PAIR, ["gave up"])
    assert "is stopped on spark1, spark2, as before" in going_back.sentence(planned(was_stopped=True), PAIR, [])


def test_nothing_comes_back_where_a_spark_is_silent_or_nothing_had_served() -> None:
    silent = planned(unreached="spark2")
    assert silent["to_former"] is False
    assert "Nothing was put back: spark2 cannot be reached" in going_back.sentence(silent, PAIR, [])
    never = planned(returns=False)
    assert "Nothing was put back: dgx-spark-trtllm had not served." in going_back.sentence(never, PAIR, [])
