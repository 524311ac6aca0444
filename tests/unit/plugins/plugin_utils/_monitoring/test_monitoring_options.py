# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana, DCGM's exporter and the journal's limit: what they change, what they are told, and what is refused."""

from __future__ import annotations

import copy
import csv
import dataclasses
import json
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring.containers import digest_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring import config, options
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring import plan as planning
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring.options import Options
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring.plan import MonitoringError, Request
from test_monitoring_plan import START, blank, made, request

IMAGE = f"grafana/grafana@sha256:{'a' * 64}"
DCGM_IMAGE = f"nvcr.io/nvidia/k8s/dcgm-exporter@sha256:{'b' * 64}"
ALL = Options(
    grafana=True,
    grafana_image=IMAGE,
    dashboards={options.HOME: "{}\n"},
    dcgm=True,
    dcgm_image=DCGM_IMAGE,
    journal_max_gb=4,
)
SALT = "ab" * 16


def converged(asked: Request, word: str = "made-on-the-leader") -> Request:
    """The same request, once its changes are made."""
    sparks = made(asked)
    settings = planning.settings_of(asked)
    for member in settings.members:
        found, own = sparks[member.name], planning.member_of(settings, member)
        found["packages"] = [*found["packages"], *options.packages(asked.optional, own.leader)]
        found["docker"] = {
            **copy.deepcopy(found["docker"]),
            "containers": {
                one["name"]: {"id": "1", "running": True, "config": one["labels"][layout.CONFIG_LABEL]}
                for one in options.containers(asked.optional, own)
            },
            "password": {"salt": SALT, "digest": digest_of(word, SALT), "pending": False},
            "data": True,
        }
        text = options.journal_text(asked.optional.journal_max_gb, found["journal"])
        found["journal"] = {"content": text, "mtime": START - 1, "directory": True}
        found["units"][layout.JOURNAL_UNIT] = {"active": "active", "started": START}
    return dataclasses.replace(asked, found=sparks)


def own_names(asked: Request) -> dict[str, list[str]]:
    """The changes of the options alone."""
    changes = planning.plan(asked)["changes"]
    return {name: [one["name"] for one in own if one["name"] in options.CHANGES] for name, own in changes.items()}


def test_nothing_optional_is_there_by_itself() -> None:
    asked = request()
    assert own_names(asked) == {"spark1": [], "spark2": []}
    planned = planning.plan(asked)
    assert "python3-requests" not in planned["hosts"]["spark1"]["packages"]
    assert planned["grafana"] == ""
    assert "dcgm" not in config.prometheus(planning.settings_of(asked))


def test_all_of_it_is_planned_where_it_is_asked_for() -> None:
    found = request(optional=ALL).found
    found["spark1"]["docker"]["lacking"] = [IMAGE, DCGM_IMAGE]
    found["spark2"]["docker"]["lacking"] = [DCGM_IMAGE]
    asked = request(dict(found), optional=ALL)
    assert own_names(asked) == {
        "spark1": [options.JOURNAL, options.PULL, options.ADMIN, options.START],
        "spark2": [options.JOURNAL, options.PULL, options.START],
    }
    planned = planning.plan(asked)
    assert planned["grafana"] == "http://127.0.0.1:3000"
    leader, worker = (planned["hosts"][name]["options"] for name in ("spark1", "spark2"))
    assert [one["name"] for one in leader["containers"]] == ["dgx-spark-grafana", "dgx-spark-dcgm-exporter"]
    assert [one["name"] for one in worker["containers"]] == ["dgx-spark-dcgm-exporter"]
    assert json.loads(leader["pulled"]["content"]) == [IMAGE, DCGM_IMAGE]
    assert planned["hosts"]["spark1"]["packages"][-1] == "python3-requests"


def test_a_second_run_changes_nothing() -> None:
    assert own_names(converged(request(optional=ALL))) == {"spark1": [], "spark2": []}
    again = converged(request(optional=ALL))
    assert {name: own for name, own in planning.plan(again)["changes"].items() if own} == {}


@pytest.mark.parametrize(
    ("changed", "leader", "worker"),
    [
        ({"grafana_port": 3001}, [options.START], []),
        ({"grafana_image": f"grafana/grafana@sha256:{'c' * 64}"}, [options.START], []),
        ({"dashboards": {options.HOME: "{ }\n"}}, [], []),
        ({"dcgm_port": 9401}, [options.START], [options.START]),
        ({"journal_max_gb": 5}, [options.JOURNAL], [options.JOURNAL]),
        ({"journal_max_gb": 0}, [options.JOURNAL_FREE], [options.JOURNAL_FREE]),
        ({"grafana": False}, [options.STOP], []),
        ({"dcgm": False}, [options.STOP], [options.STOP]),
        ({"grafana_password": "another-one"}, [options.ADMIN], []),
        ({"grafana_password": "made-on-the-leader"}, [], []),
    ],
)
def test_a_change_of_what_is_asked_for_changes_that_alone(
    changed: dict[str, Any], leader: list[str], worker: list[str]
) -> None:
    again = converged(request(optional=ALL))
    again = dataclasses.replace(again, optional=dataclasses.replace(ALL, **changed))
    assert own_names(again) == {"spark1": leader, "spark2": worker}


@pytest.mark.parametrize(
    ("where", "value", "name"),
    [
        (("docker", "containers", "dgx-spark-grafana", "running"), False, options.START),
        (("docker", "password", "pending"), True, options.ADMIN),
        (("journal", "mtime"), START + 5, options.JOURNAL),
    ],
)
def test_a_run_that_was_interrupted_is_made_up_for(where: tuple[str, ...], value: Any, name: str) -> None:
    again = converged(request(optional=ALL))
    place: Any = again.found["spark1"]
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    assert own_names(again)["spark1"] == [name]


def test_the_password_is_in_no_plan_and_in_no_container() -> None:
    asked = request(optional=dataclasses.replace(ALL, grafana_password="s3cret-s3cret"))
    planned = planning.plan(asked)
    assert "s3cret" not in json.dumps(planned)
    (grafana,) = [one for one in planned["hosts"]["spark1"]["options"]["containers"] if "grafana" in one["name"]]
    named = {name for name in grafana["env"] if "PASSWORD" in name}
    assert named == {"GF_SECURITY_ADMIN_PASSWORD__FILE"}
    assert grafana["env"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == layout.GRAFANA_PASSWORD
    mounted = [one["target"] for one in grafana["mounts"]]
    assert any(layout.GRAFANA_PASSWORD.startswith(f"{one}/") for one in mounted)


def test_grafana_listens_on_loopback_whoever_may_read_the_rest() -> None:
    planned = planning.plan(request(optional=ALL, sources=["any"]))
    (grafana, dcgm) = planned["hosts"]["spark1"]["options"]["containers"]
    assert grafana["env"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert dcgm["env"]["DCGM_EXPORTER_LISTEN"] == "127.0.0.1:9400"
    assert planned["grafana"].startswith("http://127.0.0.1:")


def test_grafana_asks_prometheus_where_it_is_and_finds_its_dashboards() -> None:
    for sources, url in (([], "http://127.0.0.1:9090"), (["10.0.0.0/8"], "http://192.168.1.21:9090")):
        planned = planning.plan(request(optional=ALL, sources=sources))
        texts = {one["path"]: one["content"] for one in planned["hosts"]["spark1"]["files"]}
        own = f"{layout.GRAFANA.etc}/provisioning"
        (source,) = yaml.safe_load(texts[f"{own}/datasources/dgx-spark.yml"])["datasources"]
        assert (source["url"], source["uid"]) == (url, layout.DATASOURCE)
        (provider,) = yaml.safe_load(texts[f"{own}/dashboards/dgx-spark.yml"])["providers"]
        assert f"{provider['options']['path']}/{options.HOME}" in texts
    (grafana, _dcgm) = planned["hosts"]["spark1"]["options"]["containers"]
    assert grafana["env"]["GF_PATHS_PROVISIONING"] == own
    assert grafana["env"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in texts


def test_every_file_lies_in_a_directory_that_is_made() -> None:
    planned = planning.plan(request(optional=ALL))
    for host in planned["hosts"].values():
        made_here = [one["path"] for one in host["directories"]]
        assert [one["path"] for one in host["files"] if one["path"].rpartition("/")[0] not in made_here] == []
        for index, path in enumerate(made_here):
            parent = path.rpartition("/")[0]
            assert parent in made_here[:index] or parent in ("/etc", "/var/lib"), path


def test_dcgm_is_asked_for_what_a_gb10_tells_and_no_more() -> None:
    rows = [row for row in csv.reader(options.counters().splitlines()) if not row[0].startswith("#")]
    assert [row[0].strip() for row in rows] == list(options.DCGM_FIELDS)
    assert {row[1].strip() for row in rows} <= {"gauge", "counter"}
    assert all(len(row) == 3 or row[3:] for row in rows)
    text = options.counters()
    assert not any(word in text for word in ("MEMORY_TEMP", "MEM_COPY_UTIL", "FB_", "GR_ENGINE"))


def test_prometheus_asks_every_exporter_of_dcgm_and_only_the_leader_may() -> None:
    found = {name: blank(f"192.168.1.2{rank}") for rank, name in enumerate(("spark1", "spark2"), 1)}
    for one in found.values():
        one["firewall"]["enabled"] = one["ufw_enabled"] = True
    for sources, ports in (([], [9100, 9400]), (["any"], [9400])):
        asked = request(found, optional=ALL, sources=sources)
        jobs = {
            one["job_name"]: one
            for one in yaml.safe_load(config.prometheus(planning.settings_of(asked)))["scrape_configs"]
        }
        targets = {one["labels"]["spark"]: one["targets"] for one in jobs["dcgm"]["static_configs"]}
        assert targets == {"spark1": ["127.0.0.1:9400"], "spark2": ["192.168.1.22:9400"]}
        rules = planning.plan(asked)["hosts"]["spark2"]["firewall_rules"]
        assert [one["to_port"] for one in rules if one["from_ip"] == ["192.168.1.21"]] == [ports]


@pytest.mark.parametrize("directory", [True, False])
def test_the_limit_of_the_journal_tells_whether_its_directory_is_to_go_with_it(directory: bool) -> None:
    first = options.journal_text(4, {"directory": directory, "content": ""})
    assert (layout.OWN_DIRECTORY in first) == (not directory)
    assert "SystemMaxUse=4000000000\n" in first
    second = options.journal_text(5, {"directory": True, "content": first})
    assert (layout.OWN_DIRECTORY in second) == (not directory)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"grafana_image": "grafana/grafana:latest"},
            "monitoring_grafana_image is 'grafana/grafana:latest': name the image by",
        ),
        ({"dcgm_image": ""}, "monitoring_dcgm_image is ''"),
        ({"grafana_port": 0}, "monitoring_grafana_port is 0"),
        ({"grafana_port": 9090}, "monitoring_grafana_port is 9090, which another part"),
        ({"dcgm_port": 3000}, "monitoring_dcgm_port is 3000, which another part"),
        ({"grafana_password": "admin"}, "monitoring_grafana_password is no password"),
        ({"grafana_password": "short"}, "monitoring_grafana_password is no password"),
        ({"grafana_password": "two\nlines-of-it"}, "monitoring_grafana_password is no password"),
        ({"journal_max_gb": -1}, "monitoring_journal_max_gb is -1"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(MonitoringError, match=r"Nothing was changed\.$") as caught:
        planning.plan(request(optional=dataclasses.replace(ALL, **changed)))
    assert said in str(caught.value)
    assert "two\nlines" not in str(caught.value)


@pytest.mark.parametrize("path", ["~/x", "relative", "/with blank", '/with"quote', "/with$sign"])
def test_a_directory_of_downloads_is_a_path_that_a_unit_can_be_told(path: str) -> None:
    with pytest.raises(MonitoringError, match="monitoring_progress_dirs"):
        planning.plan(request(progress=[path]))


def test_the_program_is_told_where_else_downloads_are() -> None:
    asked = request(progress=["/data/hf/.dgx-spark"])
    (member, _other) = (settings := planning.settings_of(asked)).members
    assert config.arguments(settings, member)["metrics"][2:] == ["/data/hf/.dgx-spark"]


@pytest.mark.parametrize(
    ("fact", "value", "said"),
    [
        (
            "problem",
            "Docker Engine does not answer",
            "spark1: grafana and dcgm-exporter cannot run in Docker: Docker Engine",
        ),
        ("runtimes", ["runc"], "spark1: Docker has no runtime nvidia"),
        ("listen", {"grafana": ["node (process 7)"]}, "spark1: port 3000 is taken by node (process 7)"),
    ],
)
def test_what_a_spark_does_not_allow_is_refused(fact: str, value: Any, said: str) -> None:
    found = dict(request().found)
    found["spark1"]["docker"][fact] = value
    with pytest.raises(MonitoringError, match=r"Nothing was changed\.$") as caught:
        planning.plan(request(found, optional=ALL))
    assert said in str(caught.value)
    planning.plan(request(found))  # which needs no Docker
