# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Sparks told becomes a document of the published shape, in which every kind of anomaly is found, and no other."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Callable

import damaged
import jsonschema
import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status import document, judge, table
from hypothesis import HealthCheck, given, settings
from status_cases import (
    CASES,
    GATEWAY,
    LLM,
    NOW,
    VLM,
    by_swarm,
    container,
    gone,
    instance,
    pair,
    put,
    spark,
    stopped,
)

SCHEMA = json.loads((Path(__file__).parents[5] / "docs" / "status.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def judged(members: dict[str, Any]) -> dict[str, Any]:
    """The document, which is of the published shape, also once it was written and read."""
    made = document.judged(members, NOW)
    VALIDATOR.validate(made)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    return made


def kinds(made: dict[str, Any]) -> set[str]:
    return {one["kind"] for one in made["anomalies"]}


def test_the_schema_is_one_and_allows_nothing_else() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    made = judged(pair())
    for path in ((), ("hosts", 0), ("instances", 0), ("instances", 0, "ranks", 0), ("gateways", 0)):
        wrong = json.loads(json.dumps(made))
        place = wrong
        for step in path:
            place = place[step]
        place["another"] = 1
        with pytest.raises(jsonschema.ValidationError, match="another"):
            VALIDATOR.validate(wrong)


@pytest.mark.parametrize("members", [pair, by_swarm], ids=["systemd", "swarm"])
def test_sound_sparks_have_no_anomaly(members: Any) -> None:
    made = judged(members())
    assert (made["class"], made["anomalies"]) == ("good", [])
    assert all(one["serves"] for one in made["instances"])


def test_every_kind_has_a_case() -> None:
    assert list(CASES) == list(judge.KINDS)


@pytest.mark.parametrize("kind", CASES)
def test_an_anomaly_is_told_with_host_value_cause_and_mend(kind: str) -> None:
    make, host, word = CASES[kind]
    made = judged(make())
    found = [one for one in made["anomalies"] if one["kind"] == kind]
    assert len(found) == 1, made["anomalies"]
    assert found[0]["class"] == judge.KINDS[kind].severity
    assert found[0]["host"] == host
    assert word in f"{found[0]['value']}: {found[0]['cause']}"
    assert all(found[0][name] for name in ("value", "cause", "mend"))


@pytest.mark.parametrize("kind", CASES)
def test_an_anomaly_brings_no_other(kind: str) -> None:
    made = judged(CASES[kind][0]())
    assert kinds(made) == {kind}
    assert made["class"] == judge.KINDS[kind].severity


def test_the_worst_come_first() -> None:
    members = put("spark1", "read", "gpus", 0, temperature_c=90.0, start=CASES["rank_down"][0])()
    made = judged(members)
    assert [one["class"] for one in made["anomalies"]] == ["serious", "warning"]
    assert made["class"] == "serious"


def test_all_instances_are_told_side_by_side() -> None:
    made = judged(pair())
    assert [(one["name"], one["instance"], len(one["ranks"])) for one in made["instances"]] == [
        (LLM, "", 2),
        (VLM, "vlm", 1),
    ]
    llm = made["instances"][0]
    assert llm["model"] == {"name": "qwen3", "repo": "nvidia/Qwen3-32B-FP4", "commit": "0123abc"}
    assert llm["image"]["base_digest"] == "sha256:bb"
    assert (llm["kv_tokens"], llm["load_s"], llm["endpoint"]) == (646272, 95.2, "http://127.0.0.1:8355/v1")
    assert [(rank["host"], rank["age_s"], rank["restarts"], rank["transport"]) for rank in llm["ranks"]] == [
        ("spark1", 7200.0, 0, "IB"),
        ("spark2", 7200.0, 0, "IB"),
    ]


def test_a_gateways_clients_are_told_with_the_last_hour_of_each() -> None:
    made = judged(pair())
    (gateway,) = made["gateways"]
    assert (gateway["host"], gateway["name"], gateway["state"]) == ("spark1", GATEWAY, "active")
    assert [(one["name"], one["requests"], one["tokens"]) for one in gateway["clients"]] == [
        ("", 3, None),
        ("alice", 12, 12345),
        ("batch", 12, None),
    ]
    text = [line.text for line in table.lines(made)]
    head = text.index(f"GATEWAY without a name ({GATEWAY} of spark1): active on 0.0.0.0:443")
    shown = {line.split()[0]: line for line in text[head + 1 : head + 5]}
    assert list(shown) == ["CLIENT", "(no", "alice", "batch"]
    assert shown["alice"].split()[1:12] == ["12", "1", "0", "0", "1", "700", "12,345", "180", "ms", "950", "ms"]
    assert "-" in shown["batch"].split()


def test_a_gateway_that_nobody_asked_or_that_was_not_counted_whole_is_told_so() -> None:
    for changed, words in {
        "nobody asked anything": {"clients": {}},
        "the newest requests were counted": {"all": False},
    }.items():
        text = "\n".join(line.text for line in table.lines(judged(put("spark1", "read", "gateways", 0, **words)())))
        assert changed in text
    untold = judged(gone("spark1", "read", "units")())
    assert untold["gateways"][0]["state"] is None


def test_a_host_without_gateways_has_no_line_of_one() -> None:
    members = pair()
    members["spark1"]["read"]["gateways"] = []
    made = judged(members)
    assert made["gateways"] == []
    assert "GATEWAY" not in "\n".join(line.text for line in table.lines(made))


def test_sparks_of_their_own_with_one_instance_each_are_two_instances() -> None:

    members = {name: spark(name, [instance(LLM, 0, (name,))]) for name in ("spark1", "spark2")}
    made = judged(members)
    assert [[rank["host"] for rank in one["ranks"]] for one in made["instances"]] == [["spark1"], ["spark2"]]
    assert made["anomalies"] == []


def test_a_leader_that_does_not_run_does_not_serve_whatever_its_file_says() -> None:
    members = put("spark1", "read", "docker", "containers", LLM, 0, state="exited", exit_status=1)()
    made = judged(members)
    assert not made["instances"][0]["serves"]
    assert kinds(made) == {"rank_down"}
    text = "\n".join(line.text for line in table.lines(made))
    assert "was last serving, and a rank does not run" in text


def test_a_leader_that_is_not_in_sight_is_told_of_nothing() -> None:
    made = judged({**pair(), "spark1": {"unreachable": True, "msg": "gone"}})
    llm = made["instances"][0]
    assert (llm["phase"], llm["serves"], llm["leader"], llm["ranks"][0]["configured"]) == (None, None, "spark1", False)
    assert kinds(made) == {"host_unreachable"}


def test_ended_containers_of_a_swarm_are_restarts_and_perhaps_there_were_more() -> None:
    members = by_swarm()
    some = members["spark2"]["read"]["docker"]["containers"]
    some[LLM] = [container(LLM, started=NOW - 30), *[container(LLM, state="exited") for _ in range(4)]]
    rank = judged(members)["instances"][0]["ranks"][1]
    assert (rank["restarts"], rank["restarts_at_least"], rank["age_s"]) == (4, True, 30.0)
    some[LLM] = some[LLM][:2]
    rank = judged(members)["instances"][0]["ranks"][1]
    assert (rank["restarts"], rank["restarts_at_least"]) == (1, False)


def test_a_restart_of_long_ago_is_no_anomaly() -> None:
    members = put("spark2", "read", "units", f"{LLM}.service", restarts=3)()
    made = judged(members)
    assert made["instances"][0]["ranks"][1]["restarts"] == 3
    assert made["anomalies"] == []


@pytest.mark.parametrize(
    ("total", "available", "low"), [(122880, 8191, True), (122880, 8192, False), (61440, 4096, False)]
)
def test_the_floor_of_memory_is_the_supervisors_own(total: int, available: int, low: bool) -> None:
    members = put("spark2", "read", "machine", "memory", total_mib=total, available_mib=available)()
    assert ("memory_low" in kinds(judged(members))) == low


def test_what_the_supervisor_may_tell_later_is_shown_where_it_is_there() -> None:
    receipt = {"port_s": 12.5, "first_token_s": 95.0, "nccl": "2.28.3", "transports": {"spark1": "IB"}}
    members = put("spark1", "read", "instances", 0, "state", canary_s=0.213, receipt=receipt)()
    members["spark1"]["read"]["instances"][0]["state"]["last_receipt"] = {"port_s": 11.0}
    made = judged(members)
    assert (made["instances"][0]["canary_s"], made["instances"][0]["receipt"]) == (0.213, receipt)
    text = "\n".join(line.text for line in table.lines(made))
    assert "canary 0.21 s" in text
    assert "port 12.5 s (before: 11 s), first token 95 s, NCCL 2.28.3, transports IB" in text
    assert judged(pair())["instances"][0]["receipt"] is None


RECEIPT = {
    "at": NOW - 7000,
    "config": "0123456789ab",
    "image": "fedcba987654",
    "model": "qwen3",
    "port_s": 80.0,
    "health_s": 90.3,
    "first_token_s": 95.2,
    "bytes_loaded": 19_700_000_000,
    "nccl": "2.28.3+cuda13.0",
    "transports": {"spark1": "IB", "spark2": "IB"},
    "kv_tokens": 646272,
}


@pytest.mark.parametrize(
    ("before", "shown"),
    [
        (None, "first token 95.2 s, loaded 19.7 GB, NCCL 2.28.3+cuda13.0, transports IB, KV cache 646,272 tokens"),
        (RECEIPT, "port 80 s, health 90.3 s, first token 95.2 s, loaded 19.7 GB, NCCL"),
        ({**RECEIPT, "bytes_loaded": 5_000_000}, "first token 95.2 s, loaded 19.7 GB (before: 5 MB), NCCL"),
        ({**RECEIPT, "nccl": "2.27.7"}, "NCCL 2.28.3+cuda13.0 (before: 2.27.7)"),
        (
            {**RECEIPT, "transports": {"spark1": "IB", "spark2": "Socket"}},
            "transports IB (before: spark1 IB spark2 Socket)",
        ),
        ({**RECEIPT, "image": "0ther"}, "KV cache 646,272 tokens, image fedcba987654 (before: 0ther)"),
        ({**RECEIPT, "config": "0ther"}, "KV cache 646,272 tokens, configuration 0123456789ab (before: 0ther)"),
        ({**RECEIPT, "kv_tokens": 0, "port_s": None, "nccl": 7}, "port 80 s, health 90.3 s"),
    ],
)
def test_a_receipt_is_shown_beside_that_of_the_start_before(before: dict[str, Any] | None, shown: str) -> None:
    told = {"receipt": RECEIPT, "last_receipt": before}
    made = judged(put("spark1", "read", "instances", 0, "state", **told)())
    assert made["anomalies"] == []
    text = " ".join(" ".join(line.text for line in table.lines(made)).split())
    assert shown in text
    assert before != RECEIPT or "before:" not in text


def test_the_document_knows_every_field_of_a_receipt() -> None:
    fields = set(contract.Receipt.__annotations__)
    assert {*document.RECEIPT_NUMBERS, *document.RECEIPT_TEXTS, "transports"} == fields == set(RECEIPT)
    assert set(SCHEMA["$defs"]["receipt"]["anyOf"][1]["properties"]) == fields
    assert {*table.RECEIPT, *table.RECEIPT_IF_OTHER, "at"} == fields


@pytest.mark.parametrize(
    ("now", "before", "slower"),
    [
        ({}, {}, False),
        ({"first_token_s": 143.0}, {}, True),
        ({"first_token_s": 142.7}, {}, False),  # less than half as long again
        ({"first_token_s": 59.0}, {"first_token_s": 30.0}, False),  # half a minute is nothing
        ({"first_token_s": 143.0}, {"image": "0ther"}, False),
        ({"first_token_s": 143.0}, {"config": "0ther"}, False),
        ({"first_token_s": 143.0}, {"first_token_s": None}, False),
    ],
)
def test_a_start_that_took_much_longer_is_told(now: dict[str, Any], before: dict[str, Any], slower: bool) -> None:
    told = {"receipt": {**RECEIPT, **now}, "last_receipt": {**RECEIPT, **before}}
    made = judged(put("spark1", "read", "instances", 0, "state", **told)())
    assert kinds(made) == ({"start_slower"} if slower else set())


def test_the_last_failure_is_told_while_it_serves() -> None:
    members = put("spark1", "read", "instances", 0, "state", last_end="rank 1 was killed")()
    made = judged(members)
    assert made["instances"][0]["last_failure"] == {"reason": "rank 1 was killed", "at": None}
    assert made["anomalies"] == []
    lost = put("spark1", "read", "instances", 0, "state", lost_why="no RoCE device", lost_at=NOW - 100)()
    assert judged(lost)["instances"][0]["last_failure"] == {"reason": "no RoCE device", "at": NOW - 100}


def test_what_was_not_told_is_null_and_shown_as_a_dash() -> None:
    members = put("spark2", "read", "gpus", 0, power_w=None, temperature_c=None, used=None)()
    made = judged(members)
    assert made["hosts"][1]["gpus"][0]["power_w"] is None
    row = next(line.text for line in table.lines(made) if line.text.startswith("spark2"))
    assert " 0 C" not in row
    assert " 0.0 W" not in row
    assert row.split("GiB")[1].split()[:2] == ["-", "-"]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
@pytest.mark.parametrize("kind", [*CASES, "sound", "swarm"])
def test_no_line_is_wider_than_the_terminal(kind: str, width: int) -> None:
    members = {"sound": pair, "swarm": by_swarm}.get(kind) or CASES[kind][0]
    made = judged(members())
    shown = table.lines(made, width)
    assert max(len(line.text) for line in shown[1:]) <= width
    text = "\n".join(line.text for line in shown)
    assert all(name in text for name in members())
    assert all(line.text.isprintable() for line in shown)


def test_anomalies_stand_above_the_tables_and_have_their_colour() -> None:
    made = judged(CASES["rank_down"][0]())
    shown = table.lines(made)
    assert shown[0].text.startswith(
        "STATUS 2026-11-30 03:12 UTC: 2 of 2 Sparks answer, 1 of 2 instances serve: 1 serious"
    )
    assert shown[1].text.startswith("SERIOUS  spark2 (dgx-spark-trtllm): rank 1 does not run")
    assert [line.severity for line in shown[:2]] == ["serious", "serious"]
    assert next(line for line in shown if line.text.startswith("spark2")).severity == "serious"
    assert next(line for line in shown if "INSTANCE vlm" in line.text).severity == "good"
    sound = table.lines(judged(pair()))
    assert (sound[0].severity, sound[0].text.rpartition(": ")[2]) == ("good", "all is well")


def test_one_anomaly_of_two_hosts_is_shown_once() -> None:
    members = pair()
    for one in members.values():
        one["unread"]["links"] = "it hangs"
    shown = [line.text for line in table.lines(judged(members))]
    assert [line for line in shown if "links: not read" in line] == ["WARNING  spark1, spark2: links: not read"]


def test_a_narrow_table_keeps_what_matters_most() -> None:
    made = judged(pair())
    wide = next(line.text for line in table.lines(made, 200) if line.text.startswith("SPARKS"))
    narrow = next(line.text for line in table.lines(made, 60) if line.text.startswith("SPARKS"))
    assert "KERNEL" in wide
    assert "DRIVER" in wide
    assert "KERNEL" not in narrow
    assert "MEMORY FREE" in narrow
    heads = {column.head for column in table.HOSTS}
    for width in range(60, 120, 7):
        row = next(line.text for line in table.lines(made, width) if line.text.startswith("SPARKS"))
        assert row.split("  ")[-1].strip() in heads, "a column is cut, instead of left out"


def test_what_is_stopped_is_a_note_and_fails_no_run() -> None:
    made = judged(stopped())
    assert judge.failing(made["anomalies"], "warning") == []
    assert judge.failing(judged(CASES["gpu_hot"][0]())["anomalies"], "serious") == []
    assert len(judge.failing(judged(CASES["gpu_hot"][0]())["anomalies"], "warning")) == 1
    assert len(judge.failing(judged(CASES["gave_up"][0]())["anomalies"], "serious")) == 1
    assert judge.failing(judged(CASES["gave_up"][0]())["anomalies"], "never") == []


@pytest.mark.parametrize("start", [pair, by_swarm], ids=["systemd", "swarm"])
def test_what_stop_yml_has_stopped_is_a_note_that_names_start_yml(start: Callable[[], dict[str, Any]]) -> None:
    members = copy.deepcopy(start())
    for one in members.values():
        read = one["read"]
        read["instances"][0]["state"].update(phase="stopped", reason="stopped by stop.yml")
        read["docker"]["containers"][LLM] = [container(LLM, state="exited", exit_status=143)] if read["units"] else []
        if read["units"]:
            read["units"][f"{LLM}.service"].update(active="inactive", enabled="disabled", age_s=None)
    made = judged(members)
    (told,) = (one for one in made["anomalies"] if one["instance"] == LLM)
    assert (told["kind"], told["class"], told["cause"]) == ("stopped", "note", "stopped by stop.yml")
    assert told["mend"] == "nothing, or start.yml, to serve again"
    assert next(one for one in made["instances"] if one["name"] == LLM)["serves"] is False


def test_a_stopped_instance_is_started_by_its_name() -> None:
    members = pair()
    members["spark1"]["read"]["instances"][1]["state"].update(phase="stopped", reason="stopped by stop.yml")
    members["spark1"]["read"]["docker"]["containers"][VLM] = []
    (told,) = (one for one in judged(members)["anomalies"] if one["kind"] == "stopped")
    assert told["mend"] == "nothing, or start.yml -e spark_instance=vlm, to serve again"


def test_what_a_host_tells_moves_no_cursor() -> None:
    members = put("spark1", "read", "instances", 0, "state", reason="a\x1b[2Jb\nc", phase="failed")()
    made = judged(members)
    assert made["instances"][0]["reason"] == "a?[2Jb c"


@pytest.mark.parametrize("members", [pair, by_swarm], ids=["systemd", "swarm"])
def test_whatever_damaged_hosts_tell_the_document_keeps_its_shape(members: Any) -> None:
    @settings(suppress_health_check=list(HealthCheck))
    @given(damaged.values(members()))
    def check(told: Any) -> None:
        made = judged(told if isinstance(told, dict) else {})
        for line in table.lines(made, 80):
            line.text.encode()

    check()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"netdev": None, "carrier": None, "admin_up": None}, "rocep1s0f0 has no network device"),
        ({"admin_up": False, "carrier": None}, "enp1s0f0np0 is administratively down"),
        ({"carrier": False}, "enp1s0f0np0 has no carrier"),
        ({"carrier": None}, ""),
    ],
)
def test_a_link_that_a_rank_uses_is_down_in_several_ways(values: dict[str, Any], says: str) -> None:
    found = judged(put("spark2", "read", "links", 0, **values)())["anomalies"]
    assert [one["value"] for one in found] == ([says] if says else [])


def test_a_link_that_no_rank_uses_may_be_down() -> None:
    assert judged(put("spark2", "read", "links", 1, carrier=False, admin_up=False)())["anomalies"] == []


def test_one_spark_alone_needs_no_link() -> None:
    alone = instance(LLM, 0, ("spark1",))
    alone["node"]["rdma_devices"] = ["rocep1s0f0"]
    members = {"spark1": spark("spark1", [alone], links=[])}
    assert judged(members)["anomalies"] == []


def test_a_unit_that_has_failed_with_its_container_is_one_anomaly() -> None:
    members = put("spark2", "read", "units", f"{LLM}.service", active="failed", result="exit-code")()
    members["spark2"]["read"]["docker"]["containers"][LLM][0].update(state="exited", exit_status=1, health="")
    found = judged(members)["anomalies"]
    assert [one["kind"] for one in found] == ["rank_down"]
    assert "its unit has failed (exit-code)" in found[0]["cause"]
    assert "reset-failed" in found[0]["mend"]


def test_a_supervisor_that_gave_up_is_one_anomaly() -> None:
    members = CASES["gave_up"][0]()
    members["spark1"]["read"]["docker"]["containers"][LLM][0].update(state="exited", exit_status=0, health="")
    members["spark1"]["read"]["units"][f"{LLM}.service"].update(active="inactive")
    assert kinds(judged(members)) == {"gave_up"}


@pytest.mark.parametrize(
    ("active", "serves", "says"),
    [("active", True, "2 of 2 instances serve: "), ("failed", False, "0 of 2 instances serve: ")],
)
def test_where_docker_does_not_tell_the_unit_does(active: str, serves: bool, says: str) -> None:
    members = pair()
    read = members["spark1"]["read"]
    del read["docker"]
    members["spark1"]["unread"]["docker"] = "[Errno 13] Permission denied"
    for unit in read["units"].values():
        unit["active"] = active
    made = judged(members)
    assert [one["serves"] for one in made["instances"]] == [serves, serves]
    assert says in table.lines(made)[0].text


def test_where_neither_tells_nothing_is_claimed() -> None:
    members = by_swarm()
    del members["spark1"]["read"]["docker"]
    members["spark1"]["unread"]["docker"] = "[Errno 13] Permission denied"
    made = judged(members)
    assert made["instances"][0]["serves"] is None
    assert "0 of 1 instances serve, of 1 nothing tells" in table.lines(made)[0].text
    assert [(one["class"], one["cause"]) for one in made["anomalies"]] == [("warning", "this user may not ask Docker")]


def test_the_page_shows_what_is_shown() -> None:
    page = (Path(__file__).parents[5] / "docs" / "status.md").read_text()
    shown = page.split("```\nSTATUS", 1)[1].partition("```")[0]
    lines = "\n".join(line.text for line in table.lines(judged(CASES["rank_down"][0]())))
    assert f"STATUS{shown}".rstrip() in lines


@pytest.mark.parametrize(("used", "power", "spins"), [(0.0, 3.4, False), (0.96, 24.9, True), (0.96, 25.0, False)])
def test_a_gpu_that_rests_does_not_spin(used: float, power: float, spins: bool) -> None:
    made = judged(put("spark2", "read", "gpus", 0, used=used, power_w=power)())
    assert ("gpu_spinning" in kinds(made)) == spins


def test_a_rank_that_ended_for_want_of_memory_says_so_and_one_that_runs_again_does_not() -> None:
    ended = put("spark2", "read", "docker", "containers", LLM, 0, state="exited", exit_status=137, oom_killed=True)()
    (one,) = judged(ended)["anomalies"]
    assert one["cause"] == "the kernel ended it for want of memory"
    again = judged(put("spark2", "read", "docker", "containers", LLM, 0, oom_killed=True)())
    assert (again["anomalies"], again["instances"][0]["ranks"][1]["oom_killed"]) == ([], False)


def test_a_name_that_is_longer_than_the_terminal_is_cut() -> None:
    members = {"s" * 70: spark("x", [])}
    assert max(len(line.text) for line in table.lines(judged(members), 40)[1:]) <= 40


@pytest.mark.parametrize("figure", [10**400, 2**70, float("inf"), -1, True, "1", None])
def test_a_figure_that_is_none_is_null(figure: object) -> None:
    made = judged(put("spark1", "read", "instances", 0, "state", load_s=figure)())
    assert made["instances"][0]["load_s"] is None


def test_a_docker_that_is_stopped_is_to_be_started() -> None:
    members = by_swarm()
    del members["spark1"]["read"]["docker"]
    members["spark1"]["unread"]["docker"] = (
        "Docker is stopped (docker.service is inactive), and a question would start it"
    )
    said = [str(one) for one in judged(members)["anomalies"]]
    assert [one for one in said if "sudo systemctl start docker" in one], said
