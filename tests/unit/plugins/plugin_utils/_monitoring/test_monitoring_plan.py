# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a monitoring would change: each change where it is due, none once it is made, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import layout
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring import config
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring import plan as planning
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring.plan import MonitoringError, Request

MEMBERS = ("spark1", "spark2")
START = 1_800_000_000.0


def blank(address: str) -> dict[str, Any]:
    """A Spark without a monitoring."""
    return {
        "there": False,
        "packages": [],
        "unavailable": [],
        "files": {},
        "links": [],
        "units": {part.unit: {"active": "inactive", "started": 0.0} for part in layout.PARTS},
        "listen": {},
        "firewall": {"installed": True, "enabled": False, "rules": []},
        "ufw_enabled": False,
        "addresses": [f"{address}/24 on enP7s7"],
        "management": address,
        "free_bytes": 10**12,
        "docker": {
            "problem": "",
            "containers": {},
            "lacking": [],
            "runtimes": ["nvidia", "runc"],
            "listen": {},
            "password": {"salt": "", "digest": "", "pending": False},
            "data": False,
            "pulled": [],
        },
        "journal": {"content": "", "mtime": 0.0, "directory": False},
    }


def request(found: dict[str, Any] | None = None, **changed: Any) -> Request:
    members = changed.pop("members", MEMBERS)
    sparks = found or {name: blank(f"192.168.1.2{rank}") for rank, name in enumerate(members, 1)}
    return Request(
        **{
            "members": members,
            "found": sparks,
            "reach": {name: f"192.168.1.2{rank}" for rank, name in enumerate(members, 1)},
            "program": {"dgx_spark_metrics/__main__.py": "print()\n"},
            "rules": {"spark.yml": "groups: []\n"},
            "secrets": {"webhook_url": "", "slack_url": "", "email_password": ""},
            **changed,
        }
    )


def made(asked: Request) -> dict[str, Any]:
    """The Sparks once the plan's changes are made."""
    settings, sparks = planning.settings_of(asked), {}
    for member in settings.members:
        leader = member == settings.leader
        parts = layout.parts_of(leader)
        files = {**planning.files_of(asked, settings, member), **{part.unit_file: config.unit(part) for part in parts}}
        there: dict[str, Any] = {
            path: {"mode": "0644", "content": text, "mtime": START - 1} for path, text in files.items()
        }
        if leader:
            text = config.with_secrets(planning.alerts_of(asked), asked.secrets)
            digest = hashlib.sha256(text.encode()).hexdigest()
            there[layout.ALERTMANAGER_CONFIG] = {"mode": "0600", "digest": digest, "mtime": START - 1}
        sparks[member.name] = {
            **copy.deepcopy(dict(asked.found[member.name])),
            "there": True,
            "packages": layout.packages_of(leader),
            "files": there,
            "links": [part.unit for part in parts],
            "units": {part.unit: {"active": "active", "started": START} for part in parts},
        }
    return sparks


def names(asked: Request) -> dict[str, list[str]]:
    planned = {name: [one["name"] for one in own] for name, own in planning.plan(asked)["changes"].items()}
    for own in planned.values():
        assert own == sorted(own, key=planning.CHANGES.index), "the order of the apply"
    return planned


def test_sparks_without_a_monitoring_get_all_of_it() -> None:
    common = [planning.WRITE_UNITS, planning.ENABLE, planning.START]
    assert names(request()) == {
        "spark1": [planning.INSTALL, planning.WRITE, planning.WRITE_ALERTS, *common],
        "spark2": [planning.INSTALL, planning.WRITE, *common],
    }


def test_a_second_run_changes_nothing() -> None:
    asked = request(
        receivers=config.Receivers(webhook=True), secrets={"webhook_url": "http://a"}, sources=["10.0.0.0/8"]
    )
    assert names(dataclasses.replace(asked, found=made(asked))) == {"spark1": [], "spark2": []}


@pytest.mark.parametrize(
    ("changed", "leader", "worker", "started"),
    [
        ({"retention_gb": 20}, [planning.WRITE, planning.START], [], ["prometheus"]),
        ({"rules": {"spark.yml": "groups: [1]\n"}}, [planning.WRITE, planning.START], [], ["prometheus"]),
        (
            {"rules": {"other.yml": "groups: []\n"}},
            [planning.WRITE, planning.REMOVE_FILES, planning.START],
            [],
            ["prometheus"],
        ),
        ({"secrets": {"webhook_url": "http://b"}}, [planning.WRITE_ALERTS, planning.START], [], ["alertmanager"]),
        (
            {"program": {"dgx_spark_metrics/__main__.py": "print(1)\n"}},
            *([[planning.WRITE, planning.START]] * 2),
            ["metrics"],
        ),
    ],
)
def test_a_change_starts_what_reads_it_and_nothing_else(
    changed: dict[str, Any], leader: list[str], worker: list[str], started: list[str]
) -> None:
    asked = request(receivers=config.Receivers(webhook=True), secrets={"webhook_url": "http://a"})
    again = dataclasses.replace(asked, found=made(asked), **changed)
    assert names(again) == {"spark1": leader, "spark2": worker}
    hosts = planning.plan(again)["hosts"]
    assert hosts["spark1"]["start"] == [f"dgx-spark-{name}.service" for name in started]


def test_a_run_that_was_interrupted_before_the_start_is_made_up_for() -> None:
    asked = request()
    found = made(asked)
    found["spark1"]["files"][f"{layout.ETC}/prometheus.yml"]["mtime"] = START + 5
    assert names(dataclasses.replace(asked, found=found))["spark1"] == [planning.START]


def test_no_secret_is_in_the_plan() -> None:
    secrets = {"webhook_url": "http://hook/s3cret", "slack_url": "https://slack/s3cret", "email_password": "s3cret"}
    email = {"to": "a@b", "from": "c@d", "smarthost": "m:25", "username": "u"}
    receivers = config.Receivers(webhook=True, slack=True, email=email, email_password=True)
    planned = planning.plan(request(receivers=receivers, secrets=secrets))
    assert "s3cret" not in json.dumps(planned)
    written = yaml.safe_load(config.with_secrets(planned["alertmanager"], secrets))
    (ways,) = written["receivers"]
    assert ways["webhook_configs"][0]["url"] == secrets["webhook_url"]
    assert ways["slack_configs"][0]["api_url"] == secrets["slack_url"]
    assert (ways["email_configs"][0]["auth_username"], ways["email_configs"][0]["auth_password"]) == ("u", "s3cret")
    assert planned["receivers"] == ["webhook", "slack", "email"]


def test_prometheus_listens_on_loopback_until_somebody_else_may_ask() -> None:
    planned = planning.plan(request())
    assert planned["prometheus"] == "http://127.0.0.1:9090"
    texts = {one["path"]: one["content"] for one in planned["hosts"]["spark1"]["files"]}
    assert "--web.listen-address=127.0.0.1:9090" in texts[f"{layout.ETC}/prometheus.env"]
    assert texts[f"{layout.ETC}/node-exporter.env"].count("--web.listen-address") == 1
    beyond = planning.plan(request(sources=["192.168.1.0/24"]))
    assert beyond["prometheus"] == "http://192.168.1.21:9090"
    assert not any("0.0.0.0" in one["content"] for one in beyond["hosts"]["spark1"]["files"])


def test_the_leader_asks_every_spark_and_each_once() -> None:
    settings = planning.settings_of(request())
    written = yaml.safe_load(config.prometheus(settings))
    jobs = {one["job_name"]: one for one in written["scrape_configs"]}
    asked = {one["labels"]["spark"]: one["targets"] for one in jobs["spark"]["static_configs"]}
    assert asked == {"spark1": ["127.0.0.1:9100"], "spark2": ["192.168.1.22:9100"]}
    assert written["global"]["scrape_interval"] == "5s"
    assert jobs["engine"]["file_sd_configs"][0]["files"] == ["/run/dgx-spark-metrics/engines.json"]


def test_names_of_the_inventory_are_written_as_any_text() -> None:
    """Ansible gives text of a kind of its own, which YAML's writer does not know."""

    class Tagged(str):
        __slots__ = ()

    asked = request(members=(Tagged("spark1"), Tagged("spark2")), reach={"spark1": Tagged("192.168.1.21")})
    assert yaml.safe_load(config.prometheus(planning.settings_of(asked)))["global"]["scrape_interval"] == "5s"


def test_no_job_reads_what_the_supervisor_reads() -> None:
    assert "metrics_path" not in config.prometheus(planning.settings_of(request()))


def test_a_worker_lets_the_leader_in_and_nobody_else() -> None:
    found = {name: blank(f"192.168.1.2{rank}") for rank, name in enumerate(MEMBERS, 1)}
    for one in found.values():
        one["firewall"]["enabled"] = one["ufw_enabled"] = True
    planned = planning.plan(request(found))
    assert [one["from_ip"] for one in planned["hosts"]["spark2"]["firewall_rules"]] == [["192.168.1.21"]]
    assert planned["hosts"]["spark1"]["firewall_rules"] == []
    assert planning.FIREWALL in [one["name"] for one in planned["changes"]["spark2"]]
    assert planned["exposed"] == []


def test_who_reaches_the_figures_is_said_where_ufw_is_off() -> None:
    assert [text.partition(":")[0] for text in planning.plan(request())["exposed"]] == ["ufw is off on spark2"]
    alone = planning.plan(request(members=("spark1",)))
    assert alone["exposed"] == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sources": ["spark9"]}, "monitoring_sources has 'spark9'"),
        ({"sources": ["10.0.0.1/8"]}, "monitoring_sources has '10.0.0.1/8'"),
        ({"retention_gb": 0}, "monitoring_retention_gb is 0"),
        ({"scrape_seconds": 0}, "monitoring_scrape_seconds is 0"),
        ({"ports": config.Ports(prometheus=0)}, "the port of prometheus is 0"),
        ({"ports": config.Ports(prometheus=9100)}, "two parts have the same port"),
        ({"receivers": config.Receivers(email={"to": "a@b"})}, "monitoring_alert_email has no from and no smarthost"),
    ],
)
def test_what_cannot_be_is_refused_by_what_was_asked_for(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(MonitoringError, match=r"Nothing was changed\.$") as caught:
        planning.plan(request(**changed))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("member", "fact", "value", "said"),
    [
        (
            "spark1",
            "listen",
            {"prometheus": ["cockpit (process 7)"]},
            "spark1: port 9090 is taken by cockpit (process 7)",
        ),
        ("spark2", "listen", {"node-exporter": ["x"]}, "give another monitoring_node_exporter_port"),
        (
            "spark2",
            "unavailable",
            ["prometheus-node-exporter"],
            "spark2: no package source has prometheus-node-exporter",
        ),
        ("spark1", "free_bytes", 5 * 10**9, "its disk has 5 GB left"),
    ],
)
def test_what_a_spark_does_not_allow_is_refused(member: str, fact: str, value: Any, said: str) -> None:
    found = {name: blank(f"192.168.1.2{rank}") for rank, name in enumerate(MEMBERS, 1)}
    found[member][fact] = value
    with pytest.raises(MonitoringError, match=r"Nothing was changed\.$") as caught:
        planning.plan(request(found))
    assert said in str(caught.value)


def test_a_spark_that_nobody_reaches_is_refused() -> None:
    found = {name: blank(f"192.168.1.2{rank}") for rank, name in enumerate(MEMBERS, 1)}
    found["spark2"].update(addresses=[], management=None)
    with pytest.raises(MonitoringError, match="spark2 has no address on a management network"):
        planning.plan(request(found))


def test_a_name_of_the_inventory_stands_for_the_address_of_the_default_route() -> None:
    assert planning.address_of(blank("192.168.1.21"), "spark1.local") == "192.168.1.21"
    two = {**blank("192.168.1.21"), "addresses": ["192.168.1.21/24 on a", "10.9.0.7/24 on b"]}
    assert planning.address_of(two, "10.9.0.7") == "10.9.0.7"


def test_a_unit_says_nothing_of_the_configuration() -> None:
    """Else systemd would have to read its units again, which takes the GPUs from running containers."""
    for part in layout.PARTS:
        text = config.unit(part)
        assert f"ConditionPathExists={part.unit_link}" in text
        assert not any(word in text for word in ("9090", "9100", "192.168", "retention"))
