# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine's containers on a Spark are stopped so that they stay stopped, and started; nothing is done twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import fake_docker
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import swarm_update
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, layout
from ansible_collections.sparkops.dgx_spark.plugins.modules import engine_requests_info, engine_running

LEADER, WORKER = "dgx-spark-trtllm_leader", "dgx-spark-trtllm_worker"
API = "127.0.0.1:8355"
ASKED = '0 0 127.0.0.1:8355 10.0.0.9:5 users:(("x",pid=1,fd=3)) bytes_received:80 lastsnd:9000 lastrcv:9\n'


class Host:
    """SIMULATED: systemd, ss and Docker of a Spark."""

    def __init__(self, engine: fake_docker.Engine, folder: Path) -> None:
        self.engine, self.active, self.said = engine, "active", ""
        self.told: list[list[str]] = []
        self.refuses, self.ends = "", "inactive"
        self.places = {
            name: str(folder / value.lstrip("/")) if value.startswith("/") else value
            for name, value in layout.layout("trtllm").items()
        }
        self.link = Path(self.places["unit_link"])
        self.state = Path(self.places["state_dir"]) / contract.STATE
        for path in (self.link, self.state):
            path.parent.mkdir(parents=True)
        self.enable()
        self.write(phase="serving", reason="", starts=1, model="tiny")

    def write(self, **values: Any) -> None:
        self.state.write_text(json.dumps(values))

    def read(self) -> dict[str, Any]:
        return json.loads(self.state.read_text())

    def enable(self) -> None:
        self.link.symlink_to("/nowhere")

    def runs(self, *idents: str) -> None:
        self.engine.answers["GET", "/containers/json"] = [{"Id": one} for one in idents]

    def swarm(self, **replicas: int) -> None:
        """The services, and what an update does to them."""
        for name, count in replicas.items():
            service = {"Version": {"Index": 7}, "Spec": {"Name": name, "TaskTemplate": {}}}
            service["Spec"]["Mode"] = {"Replicated": {"Replicas": count}}
            self.engine.answers["GET", f"/services/{name}"] = service

            def update(body: dict[str, Any], service: dict[str, Any] = service) -> None:
                service["Spec"] = body
                self.runs()

            self.engine.on["POST", f"/services/{name}/update"] = update

    def run(self, argv: Sequence[str], **_options: Any) -> tuple[int, str, str]:
        tool, *words = argv
        if tool.endswith("ss"):
            return 0, self.said, ""
        if words[0] == "show":
            return 0, f"{self.active}\n", ""
        self.told.append(words[:-1])
        if words[0] == self.refuses:
            return 1, "", "Unit is masked."
        if words[0] == "disable":
            self.link.unlink()
        elif words[0] == "enable":
            self.enable()
        else:
            self.active = {"stop": self.ends, "start": "active", "reset-failed": "inactive"}[words[0]]
            self.runs(*["c"] * (words[0] == "start"))
        return 0, "", ""

    def scaled(self) -> list[tuple[str, int, int]]:
        return [
            (
                target.split("/")[2],
                body["Mode"]["Replicated"]["Replicas"],
                body["TaskTemplate"].get("ForceUpdate", 0),
            )
            for _method, target, body in self.engine.told
            if target.startswith("/services")
        ]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    engine = fake_docker.Engine()
    with fake_docker.listening(engine, tmp_path / "docker.sock") as path:
        one = Host(engine, tmp_path)
        one.socket = path
        one.runs("c")
        for module in (engine_running, engine_requests_info):
            monkeypatch.setattr(module.AnsibleModule, "get_bin_path", lambda _self, name, **_options: f"/bin/{name}")
            monkeypatch.setattr(module.AnsibleModule, "run_command", lambda _self, argv, **_options: one.run(argv))
        monkeypatch.setattr(engine_running, "EVERY", 0.01)
        monkeypatch.setattr(swarm_update.time, "sleep", lambda _seconds: None)
        yield one


@pytest.fixture
def have(host: Host, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def run(state: str, launcher: str = "docker", **options: Any) -> dict[str, Any]:
        asked = {"state": state, "launcher": launcher, "layout": host.places, "docker_socket": host.socket}
        asked.update({"members": ["spark1", "spark2"], "leader": True, "timeout": 1, **options})
        with patch_module_args(asked), pytest.raises(SystemExit):
            engine_running.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_a_unit_is_disabled_before_it_is_stopped_and_says_so(host: Host, have: Callable[..., Any]) -> None:
    found = have("stopped")
    assert found["changed"]
    assert host.told == [["disable", "--no-reload"], ["stop"]]
    assert not host.link.is_symlink()
    said = host.read()
    assert (said["phase"], said["reason"], said["starts"], said["model"]) == ("stopped", contract.BY_STOP, 0, "tiny")
    assert host.state.stat().st_mode & 0o777 == 0o644
    host.told.clear()
    again = have("stopped")
    assert (again["changed"], again["steps"], host.told) == (False, [], [])
    assert host.read() == said


def test_a_unit_is_enabled_before_it_is_started(host: Host, have: Callable[..., Any]) -> None:
    have("stopped")
    host.told.clear()
    assert have("started")["changed"]
    assert host.told == [["enable", "--no-reload"], ["start"]]
    assert not have("started")["changed"]


@pytest.mark.parametrize(
    ("active", "stops", "starts"),
    [
        ("failed", [["disable", "--no-reload"], ["reset-failed"]], [["reset-failed"], ["start"]]),
        ("inactive", [["disable", "--no-reload"]], [["start"]]),
        ("activating", [["disable", "--no-reload"], ["stop"]], []),
        ("deactivating", [["disable", "--no-reload"], ["stop"]], [["start"]]),
    ],
)
def test_units_in_other_states(
    host: Host, have: Callable[..., Any], active: str, stops: list[list[str]], starts: list[list[str]]
) -> None:
    host.runs()
    host.active = active
    have("started")
    assert host.told == starts
    host.told.clear()
    host.active = active
    have("stopped")
    assert host.told == stops


def test_a_unit_whose_container_had_to_be_killed_is_stopped_once(host: Host, have: Callable[..., Any]) -> None:
    host.ends = "failed"
    have("stopped")
    assert host.told == [["disable", "--no-reload"], ["stop"], ["reset-failed"]]
    assert not have("stopped")["changed"]


def test_a_container_that_runs_beside_its_unit_is_ended(host: Host, have: Callable[..., Any]) -> None:
    host.active = "inactive"
    host.engine.on["POST", "/containers/c/stop"] = lambda _body: host.runs()
    assert have("stopped")["changed"]
    assert ("POST", "/containers/c/stop", None) in host.engine.told


def test_a_container_that_does_not_end_fails_it(host: Host, have: Callable[..., Any]) -> None:
    host.active = "inactive"
    found = have("stopped", timeout=0)
    assert found["failed"]
    assert "the container c still runs after 0 s" in found["msg"]
    assert "What was done: systemctl disable dgx-spark-trtllm.service" in found["msg"]
    assert host.read()["phase"] == "serving", "it is not noted"


def test_what_systemd_refuses_is_said_with_the_mend(host: Host, have: Callable[..., Any]) -> None:
    host.refuses = "stop"
    found = have("stopped")
    assert found["failed"]
    assert "systemctl stop dgx-spark-trtllm.service ends with status 1 (Unit is masked.)" in found["msg"]
    host.refuses = "enable"
    assert have("started")["msg"].endswith("Nothing was changed.")


def test_a_swarm_scales_the_leader_first_and_back_the_worker_first(host: Host, have: Callable[..., Any]) -> None:
    host.swarm(**{LEADER: 1, WORKER: 2})
    members = ["spark1", "spark2", "spark3"]
    assert have("stopped", "swarm", members=members)["changed"]
    assert host.scaled() == [(LEADER, 0, 0), (WORKER, 0, 0)]
    assert host.read()["reason"] == contract.BY_STOP
    assert not have("stopped", "swarm", members=members)["changed"]
    host.engine.told.clear()
    assert have("started", "swarm", members=members)["changed"]
    assert host.scaled() == [(WORKER, 2, 0), (LEADER, 1, 0)]
    assert not have("started", "swarm", members=members)["changed"]
    assert host.told == []


def test_a_swarms_leader_alone(host: Host, have: Callable[..., Any]) -> None:
    host.swarm(**{LEADER: 1, WORKER: 1})
    have("stopped", "swarm", leader_only=True)
    assert host.scaled() == [(LEADER, 0, 0)]
    host.engine.told.clear()
    have("started", "swarm")
    assert host.scaled() == [(LEADER, 1, 0)]


def test_a_swarms_worker_waits_for_the_end_and_notes_it(host: Host, have: Callable[..., Any]) -> None:
    found = have("stopped", "swarm", leader=False, timeout=0)
    assert "still runs after 0 s" in found["msg"]
    host.runs()
    assert have("stopped", "swarm", leader=False)["changed"]
    assert host.read()["phase"] == "stopped"
    assert not have("stopped", "swarm", leader=False)["changed"]
    assert not have("started", "swarm", leader=False)["changed"]


def test_what_gave_up_in_a_swarm_is_started_anew_once(host: Host, have: Callable[..., Any]) -> None:
    host.swarm(**{LEADER: 1, WORKER: 1})
    host.write(phase="gave up", reason="5 starts failed")
    assert have("started", "swarm")["changed"]
    assert host.scaled() == [(WORKER, 1, 1), (LEADER, 1, 1)]
    host.write(phase="starting", reason="")
    assert not have("started", "swarm")["changed"]


def test_one_that_gave_up_for_its_worker_that_was_scaled_down_is_started_anew(
    host: Host, have: Callable[..., Any]
) -> None:
    host.swarm(**{LEADER: 1, WORKER: 0})
    host.write(phase="gave up", reason="5 starts failed")
    assert have("started", "swarm")["changed"]
    assert host.scaled() == [(WORKER, 1, 1), (LEADER, 1, 1)]


def test_a_swarm_without_the_stack(host: Host, have: Callable[..., Any]) -> None:
    host.runs()
    host.engine.answers["GET", f"/services/{LEADER}"] = (503, {"message": "This node is not a swarm manager."})
    host.engine.info["Swarm"] = {"LocalNodeState": "inactive"}
    assert have("stopped", "swarm")["steps"] == ["note in state.json that it was stopped"]
    found = have("started", "swarm")
    assert f"the Swarm has no service {LEADER} and {WORKER}: run the playbook that serves" in found["msg"]


@pytest.mark.parametrize("idents", [("c",), ()], ids=["a container runs", "none runs here"])
def test_a_node_that_does_not_manage_its_swarm_notes_nothing(
    host: Host, have: Callable[..., Any], idents: tuple[str, ...]
) -> None:
    host.runs(*idents)
    host.engine.answers["GET", f"/services/{LEADER}"] = (503, {"message": "This node is not a swarm manager."})
    host.engine.info["Swarm"] = {"LocalNodeState": "active"}
    found = have("stopped", "swarm")
    assert "This node is not a swarm manager" in found["msg"]
    assert found["msg"].endswith("Nothing was changed.")
    assert host.read()["phase"] == "serving"


def test_a_dry_run_does_nothing_and_says_what_it_would(host: Host, have: Callable[..., Any]) -> None:
    found = have("stopped", _ansible_check_mode=True)
    assert found["changed"]
    assert found["steps"][:2] == [
        "systemctl disable dgx-spark-trtllm.service",
        "systemctl stop dgx-spark-trtllm.service",
    ]
    assert (host.told, host.read()["phase"]) == ([], "serving")


@pytest.mark.parametrize(("address", "cut"), [(API, 1), ("", None)])
def test_what_runs_is_counted_when_it_ends(host: Host, have: Callable[..., Any], address: str, cut: int | None) -> None:
    host.said = ASKED
    assert have("stopped", address=address)["requests_cut"] == cut
    assert have("stopped", address=address)["requests_cut"] is None, "nothing was ended"


def test_the_requests_that_run_are_told(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.said = ASKED * 2
    with patch_module_args({"address": API}), pytest.raises(SystemExit):
        engine_requests_info.main()
    found = json.loads(capsys.readouterr().out)
    assert (found["changed"], found["running"]) == (False, 2)


# --- a Swarm's own writing in between ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("refusals", "fails"), [(4, False), (5, True)])
def test_an_update_out_of_sequence_is_tried_again(host: Host, refusals: int, fails: bool) -> None:
    host.swarm(**{LEADER: 1})
    target, tries = f"/services/{LEADER}/update?version=7", []

    def refuse(_body: Any) -> None:
        tries.append(1)
        if len(tries) > refusals:
            host.engine.answers.pop(("POST", target), None)

    host.engine.answers["POST", target] = (500, {"message": "rpc error: update out of sequence"})
    host.engine.on["POST", f"/services/{LEADER}/update"] = refuse
    if fails:
        with pytest.raises(DockerError, match="out of sequence"):
            swarm_update.scale(Docker(host.socket), LEADER, 0)
        assert len(tries) == swarm_update.TRIES
        return
    swarm_update.scale(Docker(host.socket), LEADER, 0)
    assert len(tries) == refusals + 1


def test_another_refusal_is_none_to_try_again(host: Host) -> None:
    host.swarm(**{LEADER: 1})
    host.engine.answers["POST", f"/services/{LEADER}/update?version=7"] = (400, {"message": "no such mode"})
    with pytest.raises(DockerError, match="no such mode"):
        swarm_update.scale(Docker(host.socket), LEADER, 0)
    assert len(host.engine.told) == 1
