# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stopped and started of what is configured, what is refused, and what a converging play makes of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.sparkops.dgx_spark.plugins.action import (
    engine_drain,
    engine_lifecycle_plan,
    engine_plan,
    engine_report,
    engine_stop_report,
    engine_undo_plan,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import changes as planning
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, lifecycle
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError
from hypothesis import given
from hypothesis import strategies as st
from test_engine_plan import BUILT, PLACES, SIZES, asked_for, blank, changes, file, made

Found = dict[str, dict[str, Any]]
PAIR = ["spark1", "spark2"]
ROLE = Path(__file__).parents[4] / "roles" / "engine_serve"
NODE = "/etc/dgx-spark/trtllm/node.json"
LAUNCHERS = st.sampled_from(["swarm", "docker"])
BOTH = pytest.mark.parametrize("launcher", ["swarm", "docker"])
STOP, START = lifecycle.STOP_ENGINE, lifecycle.START_ENGINE


def serving(members: list[str], launcher: str) -> Found:
    """Sparks that serve, as engine_host_info tells."""
    found = made(asked_for(members, launcher), {name: blank(name) for name in members}, {})
    for rank, name in enumerate(members):
        docker = found[name]["docker"]
        if launcher == "swarm":
            docker["stack_containers"] = [{"id": "c", "name": "x", "state": "running"}]
            docker["swarm"] = {"manager": not rank, "state": "active"}
        if rank:
            found[name]["state"] = {"phase": "listening", "reason": "for spark1"}
    if launcher == "swarm":
        found[members[0]]["docker"]["replicas"] = lifecycle.services(PLACES["name"], len(members))
    return found


def acted(found: Found, planned: dict[str, list[str]], launcher: str, alone: bool = False) -> Found:
    """SIMULATED: the hosts after the changes."""
    after = copy.deepcopy(found)
    leader = next(iter(after))
    for name, words in planned.items():
        one = after[name]
        for word in words:
            stops = word == STOP
            running = "exited" if stops else "running"
            if launcher == "docker":
                one["unit"] = {"active": "inactive" if stops else "active"}
                one["docker"]["container"]["state"] = running
                link = {"kind": "absent"} if stops else {"kind": "file", "mode": "0644"}
                one["entries"][PLACES["unit_link"]] = link
            elif name == leader:
                wanted = lifecycle.services(PLACES["name"], len(after))
                names = list(wanted)[:1] if alone else list(wanted)
                one["docker"]["replicas"].update({each: 0 if stops else wanted[each] for each in names})
            if stops:
                one["docker"]["stack_containers"] = []
                one["state"] = {**one["state"], "phase": contract.STOPPED, "reason": contract.BY_STOP}
            else:
                one["state"] = {**one["state"], "phase": "starting", "reason": ""}
    return after


def planned(found: Found, action: str, members: list[str] | None = None, local_only: bool = False) -> dict[str, Any]:
    asked = {"action": action, "members": members or list(found), "found": found, "local_only": local_only}
    plugin = engine_lifecycle_plan.ActionModule.__new__(engine_lifecycle_plan.ActionModule)
    return plugin.plan(asked, {"inventory_hostname": next(iter(found))})


def names(found: Found, action: str, **options: Any) -> dict[str, list[str]]:
    return {name: [one["name"] for one in some] for name, some in planned(found, action, **options)["changes"].items()}


def refusal(found: Found, action: str, **options: Any) -> str:
    with pytest.raises(PlanError) as refused:
        planned(found, action, **options)
    return str(refused.value)


@given(SIZES, LAUNCHERS)
def test_a_stop_stops_all_once_and_a_start_starts_all_once(members: list[str], launcher: str) -> None:
    found = serving(members, launcher)
    assert names(found, "start") == {name: [] for name in members}
    assert names(found, "stop") == {name: [STOP] for name in members}
    stopped = acted(found, names(found, "stop"), launcher)
    assert names(stopped, "stop") == {name: [] for name in members}
    back = names(stopped, "start")
    assert back == {name: [START] if launcher == "docker" or name == members[0] else [] for name in members}
    started = acted(stopped, back, launcher)
    assert names(started, "start") == {name: [] for name in members}


@pytest.mark.parametrize("options", [{}, {"local_only": True}], ids=["all", "the leader alone"])
def test_a_leader_that_does_not_manage_its_swarm_stops_nothing(options: dict[str, Any]) -> None:
    """The manager would start again what is ended here."""
    found = serving(PAIR, "swarm")
    found["spark1"]["docker"].update(swarm={"manager": False, "state": "active"}, services={}, replicas={})
    said = refusal(found, "stop", **options)
    assert "spark1 is no manager of the Swarm that it is in (active)" in said
    worker = "" if options else " dgx-spark-trtllm_worker=0"
    assert f"'docker service scale dgx-spark-trtllm_leader=0{worker}' on a manager" in said
    assert "docker node promote" in said
    assert said.endswith("Nothing was changed.")
    found["spark1"]["docker"].update(swarm={"manager": False, "state": "inactive"})
    assert names(found, "stop", **options)["spark1"] == [STOP], "it has left its Swarm"


@given(SIZES, LAUNCHERS)
def test_a_restart_is_a_stop_of_what_runs_and_a_start(members: list[str], launcher: str) -> None:
    found = serving(members, launcher)
    whole, rest = ([STOP, START], [STOP, START] if launcher == "docker" else [STOP])
    assert names(found, "restart") == {name: rest if rank else whole for rank, name in enumerate(members)}
    stopped = acted(found, names(found, "stop"), launcher)
    assert names(stopped, "restart") == names(stopped, "start")


@given(SIZES, LAUNCHERS)
def test_a_converging_play_plans_to_start_what_was_stopped_and_nothing_else(members: list[str], launcher: str) -> None:
    found = serving(members, launcher)
    asked = asked_for(members, launcher)
    assert changes(asked, found) == {name: [] for name in members}
    stopped = acted(found, names(found, "stop"), launcher)
    assert changes(asked, stopped) == names(stopped, "start")
    plan = engine_plan.planned({**asked, "found": stopped})
    assert plan["ignore_started_at"] == 17.5, "what the state says is of an earlier start"
    assert changes(asked, acted(stopped, names(stopped, "start"), launcher)) == {name: [] for name in members}


@BOTH
def test_a_changed_configuration_starts_what_was_stopped_by_its_own_changes(launcher: str) -> None:
    found = serving(PAIR, launcher)
    stopped = acted(found, names(found, "stop"), launcher)
    other = asked_for(PAIR, launcher, meminfo_path="/data/meminfo")
    for name, words in changes(other, stopped).items():
        assert START not in words, name
        if launcher == "docker":
            wanted = [planning.WRITE, planning.ENABLE_UNIT, planning.CREATE_CONTAINER, planning.START_UNIT]
            assert words == wanted
    if launcher == "swarm":
        assert planning.DEPLOY in changes(other, stopped)["spark1"]


def test_a_worker_that_runs_with_old_files_is_restarted_before_its_leader_is_started() -> None:
    found = serving(PAIR, "swarm")
    alone = acted(found, {"spark1": [STOP]}, "swarm", alone=True)
    alone["spark2"]["entries"][NODE] = file("{}")
    asked = asked_for(PAIR, "swarm")
    assert changes(asked, alone) == {
        "spark1": [planning.RESTART_SERVICES, planning.START_ENGINE],
        "spark2": [planning.WRITE],
    }
    both = acted(found, names(found, "stop"), "swarm")
    both["spark2"]["entries"][NODE] = file("{}")
    assert changes(asked, both) == {"spark1": [planning.START_ENGINE], "spark2": [planning.WRITE]}


@BOTH
def test_the_leader_alone_ends_it_everywhere_without_a_word_of_the_others(launcher: str) -> None:
    found = serving(PAIR, launcher)
    leader = {"spark1": found["spark1"]}
    assert names(leader, "stop", members=PAIR, local_only=True) == {"spark1": [STOP]}
    alone = acted(found, {"spark1": [STOP]}, launcher, alone=True)
    assert names({"spark1": alone["spark1"]}, "stop", members=PAIR, local_only=True) == {"spark1": []}
    assert names(alone, "start") == {"spark1": [START], "spark2": []}
    assert names(alone, "stop") == {"spark1": [STOP] if launcher == "swarm" else [], "spark2": [STOP]}
    assert changes(asked_for(PAIR, launcher), alone) == {"spark1": [START], "spark2": []}


@pytest.mark.parametrize(
    ("spoil", "stops", "starts"),
    [
        (lambda one: one["unit"].update(active="failed"), True, True),
        (lambda one: one["unit"].update(active="activating"), True, False),
        (lambda one: one["unit"].update(active="deactivating"), True, True),
        (lambda one: one["entries"].update({PLACES["unit_link"]: {"kind": "absent"}}), True, True),
    ],
    ids=["it has failed", "it is started again", "it ends", "it was disabled by hand"],
)
def test_units_in_other_states(spoil: Callable[[Any], None], stops: bool, starts: bool) -> None:
    found = serving(["spark1"], "docker")
    spoil(found["spark1"])
    assert names(found, "stop")["spark1"] == [STOP] * stops
    assert names(found, "start")["spark1"] == [START] * starts


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: one["unit"].update(active="active"),
        lambda one: one["docker"]["container"].update(state="running"),
        lambda one: one["entries"].update({PLACES["unit_link"]: {"kind": "file", "mode": "0644"}}),
        lambda one: one["state"].update(reason="asked to end"),
        lambda one: one["state"].update(phase="serving"),
    ],
    ids=["the unit runs", "the container runs", "it comes back at boot", "another end is noted", "a power cut"],
)
def test_what_is_not_wholly_stopped_is_stopped_by_systemd(spoil: Callable[[Any], None]) -> None:
    found = serving(["spark1"], "docker")
    stopped = acted(found, names(found, "stop"), "docker")
    spoil(stopped["spark1"])
    assert names(stopped, "stop") == {"spark1": [STOP]}


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("spark1", lambda one: one["docker"]["replicas"].update({"dgx-spark-trtllm_leader": 1})),
        ("spark1", lambda one: one["docker"]["replicas"].update({"dgx-spark-trtllm_worker": 1})),
        ("spark2", lambda one: one["docker"]["stack_containers"].append({"id": "c", "name": "x", "state": "running"})),
        ("spark2", lambda one: one["state"].update(phase="listening")),
    ],
    ids=["the leader's service", "the workers' service", "a container", "it is not noted"],
)
def test_what_is_not_wholly_stopped_is_stopped_in_a_swarm(name: str, spoil: Callable[[Any], None]) -> None:
    found = serving(PAIR, "swarm")
    stopped = acted(found, names(found, "stop"), "swarm")
    spoil(stopped[name])
    assert names(stopped, "stop") == {one: [STOP] if one == name else [] for one in PAIR}


@BOTH
def test_what_gave_up_is_started_anew(launcher: str) -> None:
    found = serving(PAIR, launcher)
    found["spark1"]["state"].update(phase="gave up")
    if launcher == "docker":
        found["spark1"]["unit"] = {"active": "inactive"}
    assert names(found, "start") == {"spark1": [START], "spark2": []}
    plan = planned(found, "start")
    assert plan["ignore_started_at"] == 17.5
    assert names(found, "restart")["spark1"] == [STOP, START]


def worker_ended(found: Found, launcher: str) -> None:
    if launcher == "docker":
        found["spark2"]["unit"] = {"active": "inactive"}
        found["spark2"]["entries"][PLACES["unit_link"]] = {"kind": "absent"}
    else:
        found["spark1"]["docker"]["replicas"]["dgx-spark-trtllm_worker"] = 0


@BOTH
@pytest.mark.parametrize("phase", ["waiting", "serving", "gave up"])
def test_a_leader_that_only_waited_for_its_worker_goes_on_by_the_same_supervisor(launcher: str, phase: str) -> None:
    """It is the same one that serves then, unless it gave up, and is started anew beside."""
    found = serving(PAIR, launcher)
    worker_ended(found, launcher)
    found["spark1"]["state"]["phase"] = phase
    if launcher == "docker" and phase == "gave up":
        found["spark1"]["unit"] = {"active": "inactive"}
    own = [START] if launcher == "swarm" or phase == "gave up" else []
    assert names(found, "start") == {"spark1": own, "spark2": [START] if launcher == "docker" else []}
    ignored = 17.5 if phase == "gave up" else 0
    assert planned(found, "start")["ignore_started_at"] == ignored
    assert engine_plan.planned({**asked_for(PAIR, launcher), "found": found})["ignore_started_at"] == ignored
    assert planned(found, "restart")["ignore_started_at"] == 17.5


def test_a_leader_that_is_enabled_again_while_it_runs_is_not_started() -> None:
    found = serving(["spark1"], "docker")
    found["spark1"]["entries"][PLACES["unit_link"]] = {"kind": "absent"}
    assert names(found, "start") == {"spark1": [START]}
    assert planned(found, "start")["ignore_started_at"] == 0


@pytest.mark.parametrize(
    ("launcher", "spoil", "action", "says"),
    [
        ("docker", lambda found: found["spark1"]["entries"].clear(), "stop", "spark1 has no configuration of the"),
        (
            "docker",
            lambda found: found["spark1"]["entries"].update({"/etc/dgx-spark/trtllm/cluster.json": file("[1")}),
            "stop",
            "spark1 has no configuration of the instance without a name: run the playbook that serves",
        ),
        ("docker", lambda found: found.pop("spark2"), "stop", "spark2 has a rank of what spark1 serves, and is not in"),
        ("docker", lambda found: found["spark2"].update(docker={"problem": "no Docker"}), "stop", "spark2: no Docker"),
        (
            "docker",
            lambda found: found["spark2"]["entries"].update({PLACES["unit_file"]: {"kind": "absent"}}),
            "start",
            "spark2 has no unit dgx-spark-trtllm.service: run the playbook",
        ),
        (
            "docker",
            lambda found: found["spark2"]["docker"].update(container={}),
            "start",
            "spark2 has no container dgx-spark-trtllm: run the playbook",
        ),
        (
            "swarm",
            lambda found: found["spark2"].update(kept=["aaaaaaaaaaaa-111111111111"]),
            "restart",
            "spark2 has files of two configurations, since a play was interrupted while it put",
        ),
        ("docker", lambda found: found["spark2"]["entries"].pop(NODE), "start", "spark2 has no node.json in /etc/dgx"),
        (
            "swarm",
            lambda found: found["spark1"]["docker"]["services"].pop("dgx-spark-trtllm_worker"),
            "start",
            "spark1 has no service dgx-spark-trtllm_worker: run the playbook",
        ),
        (
            "swarm",
            lambda found: found["spark1"]["docker"].update(services={}, swarm={"manager": False}),
            "restart",
            "spark1, which is no manager of a Swarm has no service dgx-spark-trtllm_leader and dgx-spark-trtllm_worker",
        ),
    ],
)
def test_what_is_not_whole_is_refused(launcher: str, spoil: Callable[[Any], Any], action: str, says: str) -> None:
    found = serving(PAIR, launcher)
    spoil(found)
    said = refusal(found, action, members=PAIR)
    assert says in said
    assert said.endswith("Nothing was changed.")


def test_another_leader_and_another_instance_are_named() -> None:
    found = serving(PAIR, "docker")
    assert "spark2 is the first Spark of this run, and spark1 leads" in refusal(found, "stop", members=PAIR[::-1])
    found["spark1"]["entries"].clear()
    found["spark1"]["others"] = [{"instance": "vlm", "name": "dgx-spark-trtllm-vlm", "phase": "serving"}]
    assert "name one that is there (spark_instance; the instance vlm), or run the playbook" in refusal(found, "stop")


@BOTH
def test_the_plan_tells_a_verification_what_it_goes_by(launcher: str) -> None:
    found = serving(PAIR, launcher)
    found["spark1"]["others"] = [
        {"name": f"dgx-spark-trtllm-{phase}", "phase": phase, "instance": phase} for phase in ("serving", "stopped")
    ]
    if launcher == "docker":
        found["spark1"]["docker"]["container"]["image"] = BUILT
    plan = planned(found, "start")
    assert plan["launcher"] == launcher
    assert (plan["require_rdma"], plan["config_digest"], plan["ignore_started_at"]) == (True, "", 0)
    assert plan["hosts"]["spark2"] == {"rdma_devices": ["rocep1s0f0"]}
    assert plan["image"]["id"] == BUILT
    assert plan["endpoint"] == "http://127.0.0.1:8355/v1"
    assert plan["load_timeout"] == plan["cluster"]["limits"]["load_timeout_s"] + 300
    assert plan["serves_beside"] == ["dgx-spark-trtllm-serving"]
    assert not planned(serving(["spark1"], launcher), "start")["require_rdma"]
    answer = {"usage": {"completion_tokens": 2}, "choices": [{"message": {"content": "Hello."}}]}
    asked = {"plan": plan, "state": {"model": "m", "load_s": 1.0}, "answer": answer, "picture": ""}
    report = engine_report.ActionModule.__new__(engine_report.ActionModule).plan(asked, {})
    assert "requests_cut" not in report
    asked["ended"] = {"requests_cut": 2}
    assert engine_report.ActionModule.__new__(engine_report.ActionModule).plan(asked, {})["requests_cut"] == 2


@BOTH
@pytest.mark.parametrize("action", ["start", "restart"])
def test_one_that_does_not_serve_then_says_why(launcher: str, action: str) -> None:
    """By the words of the tasks, with nothing but this plan."""
    own = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    fail = yaml.safe_load((ROLE / "tasks" / "problems.yml").read_text())[-1]
    facts = {"__engine_serve_log": {"lines": ["the last line"]}}
    variables = {
        **{name: trust_as_template(text) if isinstance(text, str) else text for name, text in own.items()},
        "engine_serve_plan": planned(serving(PAIR, launcher), action),
        "engine_serve_members": PAIR,
        "inventory_hostname": "spark1",
        "hostvars": dict.fromkeys(PAIR, facts),
        "__engine_serve_waited": {"problems": ["the supervisor gave up: 2 starts failed"]},
    }
    message = trust_as_template(fail["ansible.builtin.fail"]["msg"])
    said = Templar(loader=DataLoader(), variables=variables).template(message)
    assert "spark1 does not serve the model as it should: the supervisor gave up: 2 starts failed." in said
    assert "the last line" in said
    logs = "service logs dgx-spark-trtllm_leader" if launcher == "swarm" else "logs dgx-spark-trtllm"
    assert said.endswith(f"All of it: docker {logs}")


@given(SIZES, LAUNCHERS)
def test_an_undo_takes_away_what_was_stopped(members: list[str], launcher: str) -> None:
    found = serving(members, launcher)
    stopped = acted(found, names(found, "stop"), launcher)
    words = [one["name"] for one in planning.undo_changes(stopped, members[0])]
    gone = planning.REMOVE_STACK if launcher == "swarm" else planning.REMOVE_UNIT
    assert gone in words
    assert planning.REMOVE_FILES in words
    assert planning.STOP_UNIT not in words
    assert set(words) <= set(engine_undo_plan.CHANGES)


# --- the report -------------------------------------------------------------------------------------------------------


def report(plan: dict[str, Any], **more: Any) -> dict[str, Any]:
    plugin = engine_stop_report.ActionModule.__new__(engine_stop_report.ActionModule)
    return plugin.plan({"plan": plan, "drained": {}, "ended": {}, **more}, {})


def test_a_stop_reports_what_it_cut_off() -> None:
    plan = planned(serving(PAIR, "swarm"), "stop")
    told = report(plan, drained={"waited_s": 5.0, "running": 1}, ended={"requests_cut": 1})
    assert (told["sparks"], told["requests_cut"], told["waited_s"]) == (PAIR, 1, 5.0)
    assert told["words"] == (
        "dgx-spark-trtllm was stopped on spark1 and spark2; 1 request was cut off. start.yml starts it again"
    )
    assert "0 requests were cut off" in report(plan, ended={"requests_cut": 0})["words"]
    assert "cut off" not in report(plan, ended={"skipped": True})["words"]
    alone = report({**plan, "local_only": True}, ended={"requests_cut": 0})
    assert "on spark1 alone, which ends the engine everywhere" in alone["words"]


def test_a_second_stop_reports_that_it_was_stopped() -> None:
    found = serving(["spark1"], "docker")
    stopped = acted(found, names(found, "stop"), "docker")
    told = report(planned(stopped, "stop"), drained={"skipped": True}, ended={"skipped": True})
    assert (told["sparks"], told["requests_cut"], told["waited_s"]) == ([], None, 0.0)
    assert told["words"] == "dgx-spark-trtllm was stopped before, and stays so"


# --- the drain --------------------------------------------------------------------------------------------------------


@pytest.fixture
def drain(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the plugin with these counts from the host, one after the other, on a clock that sleeping moves."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(engine_drain.time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    monkeypatch.setattr(engine_drain.time, "monotonic", lambda: clock.now)

    def run(counts: list[int], limit: int, check_mode: bool = False) -> tuple[dict[str, Any], list[str]]:
        clock.now = 0.0
        said: list[str] = []
        plugin = engine_drain.ActionModule.__new__(engine_drain.ActionModule)
        plugin._task = SimpleNamespace(check_mode=check_mode, async_val=0, diff=False)
        plugin._display = SimpleNamespace(display=said.append)
        monkeypatch.setattr(engine_drain.ActionBase, "run", lambda *_about: {})
        asked = {"address": "127.0.0.1:8355", "limit": limit, "interval": 1.0}
        monkeypatch.setattr(plugin, "validate_argument_spec", lambda **_spec: (None, asked), raising=False)

        def answer(_name: str, module_args: dict[str, Any], **_options: Any) -> dict[str, Any]:
            assert json.dumps(module_args) == '{"address": "127.0.0.1:8355"}'
            count = counts.pop(0) if len(counts) > 1 else counts[0]
            return {"failed": True, "msg": "no"} if count < 0 else {"running": count}

        monkeypatch.setattr(plugin, "_execute_module", answer, raising=False)
        return plugin.run(task_vars={"inventory_hostname": "spark1"}), said

    return run


def test_a_drain_ends_with_the_last_request(drain: Callable[..., Any]) -> None:
    told, said = drain([2, 2, 1, 0, 5], limit=60)
    assert told == {"running": 0, "waited_s": 3.0}
    assert said == [
        "spark1: 2 requests are waited for, 60 s at most",
        "spark1: 1 request is waited for, 58 s at most",
    ]


@pytest.mark.parametrize(("limit", "waited"), [(0, 0.0), (3, 3.0)])
def test_a_limit_holds_whatever_comes(drain: Callable[..., Any], limit: int, waited: float) -> None:
    assert drain([1], limit) == ({"running": 1, "waited_s": waited}, drain([1], limit)[1])


def test_an_error_and_a_dry_run_end_a_drain_at_once(drain: Callable[..., Any]) -> None:
    assert drain([-1], 60)[0]["failed"]
    assert drain([3], 60, check_mode=True)[0] == {"running": 3, "waited_s": 0.0}
