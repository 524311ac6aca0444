# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gateway would change: each change where it is due, none once it is made, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import certificate, clients, config
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import plan as planning
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.clients import Client
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.config import Settings
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import Layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.plan import GatewayError, Request
from ansible_collections.sparkops.dgx_spark.plugins.modules import gateway_clients

PLACES = Layout()
SETTINGS = Settings(
    layout=PLACES,
    exposure=config.KEY,
    address="0.0.0.0",
    port=443,
    certificate=config.CA,
    engine="127.0.0.1:8355",
    state_file="/var/lib/dgx-spark/trtllm/state.json",
    model="openai/gpt-oss-20b",
)
PATHS = (
    *(PLACES.config, PLACES.program, PLACES.unit_file, PLACES.clients, *map(PLACES.map, clients.MAPS)),
    *(PLACES.certificate, PLACES.authority, PLACES.authority_key, PLACES.unit_link, PLACES.directory),
)
NOW = 1_800_000_000.0
ABSENT = {"kind": "absent"}


def blank() -> dict[str, Any]:
    """A leader without a gateway."""
    return {
        "instances": [],
        "names": ["spark1", "spark1.local"],
        "packages": ["openssl"],
        "unavailable": [],
        "entries": {path: dict(ABSENT) for path in PATHS},
        "unit": "inactive",
        "told": "",
        "shown": "",
        "stale": [],
        "clients": {},
        "clients_problem": "",
        "certificate": {"not_after": 0, "names": [], "sha1": "", "digest": ""},
        "listen": {"taken": False, "holders": []},
        "firewall": {"installed": True, "enabled": False, "rules": []},
        "ufw_enabled": False,
        "addresses": ["192.168.1.21/24 on enP7s7", "fd00::21/64 on enP7s7"],
    }


def request(found: dict[str, Any], **changed: Any) -> Request:
    own = {
        name: changed.pop(name) for name in list(changed) if name in {one.name for one in dataclasses.fields(Settings)}
    }
    settings = dataclasses.replace(SETTINGS, **own)
    return Request(
        **{
            "host": "spark1",
            "settings": settings,
            "program": "-- lua\n",
            "found": found,
            "now": NOW,
            "reach": "192.168.1.21",
            **changed,
        }
    )


def made(asked: Request, first_key: bool = True) -> dict[str, Any]:
    """The leader once the plan's changes are made."""
    found = {**blank(), "packages": ["haproxy", "openssl"], "unit": "active", "shown": "AB"}
    text = planning.text_of_config(asked)
    known = planning.wanted_clients(asked)
    if first_key and planning.needs_first_key(asked):
        known = {planning.FIRST: Client(planning.FIRST, "f" * 64, origin=clients.FIRST, created=NOW)}
    private = {"kind": "file", "mode": "0600"}
    found["entries"].update({path: dict(private) for path in PATHS})
    for path, content in {
        PLACES.config: text,
        PLACES.program: asked.program,
        PLACES.unit_file: config.unit(PLACES),
    }.items():
        found["entries"][path] = {"kind": "file", "mode": "0644", "content": content}
    found["told"] = config.told_digest(text)
    found["clients"] = {name: {**dataclasses.asdict(one), "models": list(one.models)} for name, one in known.items()}
    end = NOW + 300 * 86400
    names = planning.wanted_names(asked) if asked.settings.certificate == config.CA else []
    digest = hashlib.sha256(asked.owners.encode()).hexdigest()
    found["certificate"] = {"not_after": int(end), "names": names, "sha1": "AB", "digest": digest}
    if asked.settings.certificate == config.NONE:
        found["shown"], found["certificate"] = "", {**blank()["certificate"]}
    return found


def names(asked: Request) -> list[str]:
    planned = [change["name"] for change in planning.changes(asked)]
    assert set(planned) <= set(planning.CHANGES)
    assert planned == sorted(planned, key=planning.CHANGES.index), "the order of the apply"
    return planned


def test_a_leader_without_a_gateway_gets_all_of_it() -> None:
    assert names(request(blank())) == [
        *(planning.INSTALL, planning.WRITE, planning.CERTIFY, planning.FIRST_KEY, planning.WRITE_CLIENTS),
        *(planning.WRITE_UNIT, planning.ENABLE, planning.START),
    ]


@pytest.mark.parametrize("exposure", [config.KEY, config.OPEN])
@pytest.mark.parametrize("kind", config.CERTIFICATES)
def test_a_second_run_changes_nothing(exposure: str, kind: str) -> None:
    address = "127.0.0.1" if kind == config.NONE else "0.0.0.0"
    asked = request(blank(), exposure=exposure, certificate=kind, address=address, owners="pem")
    assert names(dataclasses.replace(asked, found=made(asked))) == []
    declared = dataclasses.replace(asked, declared=[Client("alice", "a" * 64)])
    assert names(dataclasses.replace(declared, found=made(declared))) == []


def changed(where: str, value: Any, **asked: Any) -> list[str]:
    """What changes on a leader that is as planned but for one thing."""
    first = request(blank())
    found = made(first)
    target: Any = found
    *steps, last = where.split(".") if "/" not in where else ["entries", where]
    for step in steps:
        target = target[step]
    target[last] = value
    return names(request(found, **asked))


@pytest.mark.parametrize(
    ("where", "value", "due"),
    [
        ("packages", ["haproxy"], [planning.INSTALL]),
        ("unit", "failed", [planning.START]),
        ("unit", "inactive", [planning.START]),
        ("told", "another", [planning.RELOAD]),
        ("shown", "CD", [planning.RELOAD]),
        ("stale", ["keys"], [planning.WRITE_CLIENTS]),
        ("certificate.not_after", int(NOW + 29 * 86400), [planning.CERTIFY, planning.RELOAD]),
        ("certificate.names", ["spark1"], [planning.CERTIFY, planning.RELOAD]),
        (PLACES.authority_key, ABSENT, [planning.CERTIFY, planning.RELOAD]),
        (PLACES.unit_link, ABSENT, [planning.ENABLE]),
        (PLACES.unit_file, {"kind": "file", "mode": "0644", "content": "x"}, [planning.WRITE_UNIT]),
        (PLACES.config, {"kind": "file", "mode": "0644", "content": "x"}, [planning.WRITE, planning.RELOAD]),
        (PLACES.program, ABSENT, [planning.WRITE, planning.RELOAD]),
        (PLACES.map("keys"), {"kind": "file", "mode": "0644"}, [planning.WRITE_CLIENTS]),
    ],
)
def test_each_drift_has_its_change(where: str, value: Any, due: list[str]) -> None:
    assert changed(where, value) == due


def test_nobody_who_was_revoked_comes_back_by_a_first_key() -> None:
    assert changed("clients", {}) == []


def test_another_model_is_a_reload_and_no_new_key() -> None:
    found = made(request(blank()))
    assert names(request(found, model="openai/gpt-oss-120b")) == [planning.WRITE, planning.RELOAD]


def test_a_client_of_the_inventory_is_written_while_it_runs() -> None:
    found = made(request(blank()))
    assert names(request(found, declared=[Client("alice", "a" * 64)])) == [planning.WRITE_CLIENTS]


def test_the_certificate_is_for_whatever_the_leader_is_called() -> None:
    asked = request(blank(), names=["ai.example.org", "10.9.9.9"])
    assert planning.wanted_names(asked) == [
        *("ai.example.org", "spark1", "spark1.local", "localhost", "192.168.1.21", "10.9.9.9", "127.0.0.1"),
    ]
    with pytest.raises(certificate.CertificateError, match="'a b' is no name"):
        planning.wanted_names(request(blank(), names=["a b"]))


@pytest.mark.parametrize(
    ("reach", "address", "url"),
    [
        ("192.168.1.21", "0.0.0.0", "https://192.168.1.21/v1"),
        ("spark1.example.org", "0.0.0.0", "https://spark1.example.org/v1"),
        ("127.0.0.1", "0.0.0.0", "https://spark1/v1"),
        ("localhost", "::", "https://spark1/v1"),
        ("192.168.1.21", "192.168.7.1", "https://192.168.7.1/v1"),
        ("fd00::21", "::", "https://[fd00::21]/v1"),
    ],
)
def test_clients_are_told_where_to_ask(reach: str, address: str, url: str) -> None:
    asked = request(blank(), reach=reach, address=address)
    assert planning.plan(asked)["url"] == url


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"address": "spark1"}, "api_gateway_address is 'spark1'"),
        ({"certificate": config.NONE}, "keys would pass in the clear"),
        ({"engine": "0.0.0.0:8355"}, "answers beside the gateway, without a key"),
        ({"engine": "192.168.1.21:8355"}, "engine_serve_api_host back to 127.0.0.1"),
        ({"port": 0}, "api_gateway_port is 0"),
        ({"port": 70000}, "api_gateway_port is 70000"),
        ({"port": 8355}, "the engine's own"),
        ({"streams": 0}, "api_gateway_streams is 0"),
        ({"routes": ("/metrics",)}, "api_gateway_routes has /metrics"),
        ({"alias": "a'b"}, "the model's name is \"a'b\""),
        ({"model": ""}, "the model's name is ''"),
    ],
)
def test_what_cannot_be_is_refused_by_what_was_asked(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(GatewayError) as refused:
        planning.refuse(config.KEY, dataclasses.replace(SETTINGS, **asked), "spark1")
    assert says in str(refused.value)
    assert str(refused.value).startswith("spark1: ")
    assert str(refused.value).endswith("Nothing was changed.")


def test_an_exposure_that_there_is_not_is_refused() -> None:
    with pytest.raises(GatewayError, match="spark_api_exposure is 'public': say loopback, key, open"):
        planning.refuse("public", SETTINGS, "spark1")


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        ("listen", {"taken": True, "holders": ["nginx (process 7)"]}, "port 443 is taken by nginx \\(process 7\\)"),
        ("unavailable", ["haproxy"], "no package source has haproxy"),
        ("clients_problem", "/etc/x is damaged", "/etc/x is damaged"),
    ],
)
def test_what_the_leader_does_not_allow_is_refused(where: str, value: Any, says: str) -> None:
    with pytest.raises(GatewayError, match=says):
        planning.plan(request({**blank(), where: value}))


RULE = "allow from 10.0.0.0/8 to any port 443 proto tcp"


def test_ufw_lets_in_whom_is_named_where_it_is_on() -> None:
    found = made(request(blank()))
    found["firewall"]["enabled"] = True
    asked = request(found, sources=["10.0.0.0/8"])
    (due,) = planning.changes(asked)
    assert (due["name"], due["diff"]["after"]) == (planning.FIREWALL, f"{RULE}\n")
    found["firewall"]["rules"] = [{"rule": RULE, "comment": PLACES.comment}]
    assert planning.changes(asked) == []
    assert planning.changes(dataclasses.replace(asked, firewall="none")) == []


def test_a_missing_ufw_that_was_asked_for_is_refused() -> None:
    found = made(request(blank()))
    found["firewall"]["installed"] = False
    with pytest.raises(GatewayError, match="spark1 has no ufw"):
        planning.changes(request(found, firewall="ufw"))


def test_an_open_gateway_is_warned_of_and_one_without_ufw_is_told() -> None:
    planned = planning.plan(request(blank(), exposure=config.OPEN))
    assert "The API of spark1 is open" in planned["warnings"][0]
    assert "without a key" in planned["exposed"][0]
    assert planned["clients"] == planned["declared"] == []
    asked = planning.plan(request({**blank(), "ufw_enabled": True}))
    assert (asked["warnings"], asked["exposed"]) == ([], [])


def test_clients_are_planned_as_the_module_that_writes_them_takes_them() -> None:
    options = yaml.safe_load(gateway_clients.DOCUMENTATION)["options"]["clients"]["suboptions"]
    (one,) = planning.plan(request(blank(), declared=[Client("alice", "a" * 64, models=("a/b",))]))["declared"]
    assert set(one) == set(options)
    assert (one["origin"], one["models"]) == (clients.INVENTORY, ["a/b"])


def test_a_plan_holds_no_key() -> None:
    key = "sk-spark-of-a-test-0123456789"
    declared = clients.asked_for([{"name": "alice", "key": key}])
    assert key not in repr(planning.plan(request(blank(), declared=declared)))
