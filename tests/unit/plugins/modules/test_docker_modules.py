# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that ask or configure Docker, against a simulated engine and real files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.host_facts import read_daemon_json
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import ledger as originals
from ansible_collections.sparkops.dgx_spark.plugins.modules import (
    docker_daemon_check,
    docker_daemon_config,
    docker_gpu_check,
    docker_gpu_image,
    docker_restart,
    docker_swarm_gpu_check,
    docker_swarm_member,
    docker_swarm_nodes,
    docker_swarm_token_info,
    ledger_file,
    nvidia_toolkit_config,
)
from fake_docker import Engine, listening

CAPTURED = Path(__file__).parents[2] / "fixtures" / "nvidia_ctk" / "config"
TOKEN = "SWMTKN-1-secret"
#: most files of these tests set nothing but the default runtime
RUNTIME_FLAG = {"runtimes": ["nvidia=/usr/bin/nvidia-container-runtime"]}


@pytest.fixture(autouse=True)
def _own_originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(originals, "ROOT", str(tmp_path / "originals"))
    monkeypatch.setattr(docker_swarm_member, "RECORD", str(tmp_path / "notes" / "swarm.json"))
    monkeypatch.setattr(docker_daemon_config, "RECORD", str(tmp_path / "notes" / "daemon-json.json"))


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def socket(engine: Engine) -> Iterator[str]:
    # The path of a socket must be short.
    directory = Path(tempfile.mkdtemp())
    with listening(engine, directory / "d") as path:
        yield path
    shutil.rmtree(directory)


def run(
    capsys: pytest.CaptureFixture, module: ModuleType, *, check_mode: bool = False, **arguments: Any
) -> dict[str, Any]:
    """Run a module in this process."""
    arguments.update({"_ansible_check_mode": check_mode, "_ansible_diff": True})
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


class TestDaemonConfig:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "daemon.json"
        path.write_text('{"debug": true}')
        path.chmod(0o640)
        return path

    @pytest.fixture(autouse=True)
    def _registered_by_a_flag(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(docker_daemon_config, "running", lambda: {"flags": RUNTIME_FLAG, "replaced": False})

    @pytest.fixture
    def options(self, path: Path, socket: str, tmp_path: Path) -> dict[str, Any]:
        dockerd = program(tmp_path / "dockerd", "exit 0")
        return {
            "path": str(path),
            "docker_socket": socket,
            "dockerd": dockerd,
            "settings": {"default-runtime": "nvidia"},
        }

    def test_merges_once_and_goes_back(self, capsys, path, options, engine) -> None:
        foretold = run(capsys, docker_daemon_config, check_mode=True, **options)
        assert path.read_text() == '{"debug": true}'
        done = run(capsys, docker_daemon_config, **options)
        assert (foretold["changed"], foretold["diff"], foretold["config"]) == (True, done["diff"], done["config"])
        assert done["restart_due"]
        assert (path.read_text(), path.stat().st_mode & 0o777) == (
            '{"debug": true, "default-runtime": "nvidia"}',
            0o640,
        )
        again = run(capsys, docker_daemon_config, **options)
        assert (again["changed"], again["restart_due"]) == (False, True)  # the restart has not come yet
        engine.info["DefaultRuntime"] = "nvidia"
        assert run(capsys, docker_daemon_config, **options)["restart_due"] is False
        options = {**options, "state": "restored"}
        assert run(capsys, docker_daemon_config, check_mode=True, **options)["changed"]
        assert run(capsys, docker_daemon_config, **options)["restart_due"]
        assert (path.read_text(), path.stat().st_mode & 0o777) == ('{"debug": true}', 0o640)
        assert run(capsys, docker_daemon_config, **options)["changed"] is False

    def test_goes_back_to_what_the_engine_started_with(self, capsys, path, options) -> None:
        run(capsys, docker_daemon_config, **options)
        second = path.read_text()
        originals.Originals().settle(str(path))  # the engine has started with it
        run(capsys, docker_daemon_config, role="one", **{**options, "settings": {"log-level": "warn"}})
        run(capsys, docker_daemon_config, role="two", **{**options, "settings": {"log-level": "info"}})
        revert = {"path": str(path), "state": "reverted", "docker_socket": "/nowhere"}
        assert run(capsys, docker_daemon_config, check_mode=True, **revert)["changed"]
        assert run(capsys, docker_daemon_config, **revert)["changed"]
        assert (path.read_text(), path.stat().st_mode & 0o777) == (second, 0o640)
        assert "nothing to go back to" in run(capsys, docker_daemon_config, **revert)["msg"]
        assert run(capsys, docker_daemon_config, **{**options, "state": "restored"})["changed"]
        assert not Path(docker_daemon_config.RECORD).exists()  # what was reverted is not written again
        assert path.read_text() == '{"debug": true}'

    @pytest.mark.parametrize("order", [("toolkit", "swarm"), ("swarm", "toolkit")])
    @pytest.mark.parametrize("there", [True, False])
    def test_each_role_takes_back_its_own_part(self, capsys, path, options, order, there, tmp_path) -> None:
        if not there:
            path.unlink()
        parts = {
            "toolkit": {"settings": {"default-runtime": "nvidia"}},
            "swarm": {"settings": {}, "resource_kind": "gpu", "resource_values": ["GPU-1"]},
        }
        alone = {}
        for role, part in parts.items():
            run(capsys, docker_daemon_config, **{**options, **part, "role": role})
            alone[role] = path.read_text()
            run(capsys, docker_daemon_config, **{**options, "role": role, "state": "restored"})
        for role, part in parts.items():
            run(capsys, docker_daemon_config, **{**options, **part, "role": role})
        assert "nvidia" in path.read_text()
        assert "GPU-1" in path.read_text()
        restore = {**options, "state": "restored"}
        foretold = run(capsys, docker_daemon_config, check_mode=True, **{**restore, "role": order[0]})
        done = run(capsys, docker_daemon_config, **{**restore, "role": order[0]})
        assert (foretold["diff"], done["changed"]) == (done["diff"], True)
        assert path.read_text() == alone[order[1]]
        assert run(capsys, docker_daemon_config, **{**restore, "role": order[0]})["changed"] is False
        assert run(capsys, docker_daemon_config, **{**restore, "role": order[1]})["changed"]
        assert path.exists() is there
        assert not there or path.read_text() == '{"debug": true}'
        assert not (tmp_path / "notes").exists()
        assert not (tmp_path / "originals").exists()

    def test_a_role_that_wrote_nothing_takes_nothing_back(self, capsys, path, options) -> None:
        run(capsys, docker_daemon_config, role="toolkit", **options)
        before = path.read_text()
        restore = {**options, "state": "restored", "role": "swarm"}
        assert run(capsys, docker_daemon_config, **restore)["changed"] is False
        assert path.read_text() == before

    @pytest.mark.parametrize("there", [True, False])
    def test_what_others_have_changed_since_stays(self, capsys, path, options, there, tmp_path) -> None:
        if not there:
            path.unlink()
        parts = {
            "toolkit": {"settings": {"default-runtime": "nvidia"}},
            "swarm": {"settings": {}, "resource_kind": "gpu", "resource_values": ["GPU-1"]},
        }
        for role, part in parts.items():
            run(capsys, docker_daemon_config, **{**options, **part, "role": role})
        path.write_text(json.dumps({**json.loads(path.read_text()), "max-concurrent-uploads": 4}, indent=4))
        for role in parts:
            restore = {**options, "state": "restored", "role": role}
            foretold = run(capsys, docker_daemon_config, check_mode=True, **restore)
            done = run(capsys, docker_daemon_config, **restore)
            assert (foretold["changed"], foretold["diff"]) == (True, done["diff"])
        assert json.loads(path.read_text()) == {**({"debug": True} if there else {}), "max-concurrent-uploads": 4}
        assert not (tmp_path / "notes").exists()
        assert not (tmp_path / "originals").exists()
        assert run(capsys, docker_daemon_config, **restore)["changed"] is False

    def test_force_puts_the_original_back_whatever_others_changed(self, capsys, path, options) -> None:
        before = path.read_text()
        run(capsys, docker_daemon_config, **options)
        path.write_text('{"log-level": "warn"}')
        assert run(capsys, docker_daemon_config, force=True, **{**options, "state": "restored"})["changed"]
        assert path.read_text() == before

    def test_an_original_that_others_put_into_another_layout_is_put_back(self, capsys, path, options) -> None:
        before = path.read_text()
        run(capsys, docker_daemon_config, **options)
        path.write_text(json.dumps(json.loads(path.read_text()), indent=8))
        assert run(capsys, docker_daemon_config, **{**options, "state": "restored"})["changed"]
        assert path.read_text() == before

    # NVIDIA/nvidia-docker#761 (2018-06-09) and #1345 (2020-07-08): all that is wanted comes from dockerd's flags
    def test_what_flags_give_is_not_written_beside_them(self, capsys, path, options, engine, monkeypatch) -> None:
        uuid = "GPU-2dee1e25-b3b5-007e-2b55-79f2d0f2ebe5"
        engine.info |= {
            "DefaultRuntime": "nvidia",
            "Runtimes": {"runc": {}, "nvidia": {}},
            "GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": uuid}}],
        }
        engine.answers["GET", "/containers/json"] = [{"Id": "0" * 64, "Names": ["/web"], "Image": "nginx"}]
        flags = {**RUNTIME_FLAG, "default-runtime": ["nvidia"], "node-generic-resources": [f"gpu={uuid}"]}
        monkeypatch.setattr(docker_daemon_config, "running", lambda: {"flags": flags, "replaced": False})
        wish = {
            **options,
            "defaults": {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}},
            "resource_kind": "gpu",
            "resource_values": [uuid],
        }
        for check in (True, False):
            done = run(capsys, docker_daemon_config, check_mode=check, **wish)
            assert (done["changed"], done["restart_due"]) == (False, False)
        assert path.read_text() == '{"debug": true}'
        flags["default-runtime"] = ["runc"]
        said = run(capsys, docker_daemon_config, **wish)["msg"]
        assert f"{path}: dockerd has --default-runtime runc on its command line" in said
        flags["config-file"] = ["/etc/other.json"]
        assert "dockerd reads /etc/other.json instead" in run(capsys, docker_daemon_config, **wish)["msg"]
        originals.Originals().change(str(path), b'{"debug": true, "log-level": "warn"}')
        assert run(capsys, docker_daemon_config, **{**wish, "state": "restored", "allow_restart": True})["changed"]

    def test_what_is_left_beside_flags_goes_back(self, capsys, path, options, monkeypatch) -> None:
        flags = {**RUNTIME_FLAG, "default-runtime": ["nvidia"]}
        monkeypatch.setattr(docker_daemon_config, "running", lambda: {"flags": flags, "replaced": False})
        wish = {**options, "role": "one", "defaults": {"log-driver": "local", "runtimes": {"nvidia": {"path": "n"}}}}
        assert run(capsys, docker_daemon_config, **wish)["config"] == {"debug": True, "log-driver": "local"}
        other = {**options, "role": "two", "settings": {"log-level": "warn"}}
        assert run(capsys, docker_daemon_config, **other)["changed"]
        assert run(capsys, docker_daemon_config, **{**other, "state": "restored"})["changed"]
        assert json.loads(path.read_text()) == {"debug": True, "log-driver": "local"}
        assert run(capsys, docker_daemon_config, **{**wish, "state": "restored"})["changed"]
        assert path.read_text() == '{"debug": true}'

    @pytest.mark.parametrize(
        ("text", "swarm", "says"),
        [
            ('{"default-runtime": "other"}', "inactive", "the default runtime 'other' is not one of its runtimes"),
            ('{"live-restore": true}', "active", "live-restore is on, and Docker is in a swarm"),
            ('{"hosts": ["tcp://[::]:2375"], "x": 1}', "inactive", "'hosts' is in it and among dockerd's flags"),
        ],
    )
    def test_refuses_what_dockerd_validates_and_does_not_start_with(
        self, capsys, path, options, engine, monkeypatch, text: str, swarm: str, says: str
    ) -> None:
        flags = {**RUNTIME_FLAG, "hosts": ["fd://"]}
        monkeypatch.setattr(docker_daemon_config, "running", lambda: {"flags": flags, "replaced": False})
        path.write_text(text)
        engine.info["Swarm"] = {"LocalNodeState": swarm}
        wish = {**options, "settings": {"log-level": "warn"}}
        said = run(capsys, docker_daemon_config, **wish)["msg"]
        assert f"{path}: Docker would not start with it" in said
        assert says in said
        assert said.endswith("Nothing was changed")
        assert path.read_text() == text

    def test_an_original_that_docker_does_not_start_with_needs_force(self, capsys, path, options, monkeypatch) -> None:
        path.write_text('{"default-runtime": "other"}')
        wish = {**options, "defaults": {"runtimes": {"nvidia": {"path": "n"}}}}
        assert run(capsys, docker_daemon_config, **wish)["changed"]
        before = path.read_text()
        restore = {**options, "state": "restored"}
        assert "Docker would not start with it" in run(capsys, docker_daemon_config, **restore)["msg"]
        assert path.read_text() == before
        assert run(capsys, docker_daemon_config, force=True, **restore)["changed"]

    def test_a_gpu_that_is_named_twice_is_named_once(self, capsys, path, options) -> None:
        """dockerd advertises it twice, and Swarm gives only one of the two to a task."""
        path.write_text('{"node-generic-resources": ["gpu=GPU-1", "fpga=1", "gpu=GPU-1"]}')
        wish = {**options, "settings": {}, "resource_kind": "gpu", "resource_values": ["GPU-1", "GPU-1"]}
        done = run(capsys, docker_daemon_config, **wish)
        assert done["config"] == {"node-generic-resources": ["gpu=GPU-1", "fpga=1"]}

    def test_tasks_that_will_have_ended_do_not_count(self, capsys, options, engine) -> None:
        task = {"Id": "0" * 64, "Image": "x", "Labels": {"com.docker.swarm.task": ""}}
        engine.answers["GET", "/containers/json"] = [task]
        assert "000000000000 (x)" in run(capsys, docker_daemon_config, **options)["msg"]
        assert run(capsys, docker_daemon_config, but_tasks=True, **options)["changed"]

    def test_what_ends_before_the_restart_does_not_count(self, capsys, options, engine) -> None:
        mine = {"Id": "0" * 64, "Names": ["/dgx-spark-trtllm"], "Image": "x"}
        task = {"Id": "1" * 64, "Image": "x", "Labels": {"com.docker.stack.namespace": "dgx-spark-trtllm"}}
        web = {"Id": "2" * 64, "Names": ["/web"], "Image": "nginx", "Labels": {"com.docker.stack.namespace": "web"}}
        engine.answers["GET", "/containers/json"] = [mine, task, web]
        refused = run(capsys, docker_daemon_config, ending=["dgx-spark-trtllm"], **options)["msg"]
        assert "the running containers web (nginx). Nothing" in refused
        engine.answers["GET", "/containers/json"] = [mine, task]
        assert "dgx-spark-trtllm" in run(capsys, docker_daemon_config, **options)["msg"]
        assert run(capsys, docker_daemon_config, ending=["dgx-spark-trtllm"], **options)["changed"]

    def test_is_refused_under_a_container(self, capsys, path, options, engine) -> None:
        engine.answers["GET", "/containers/json"] = [{"Id": "0" * 64, "Names": ["/web"], "Image": "nginx"}]
        refused = run(capsys, docker_daemon_config, **options)
        assert "web (nginx)" in refused["msg"]
        assert path.read_text() == '{"debug": true}'
        assert run(capsys, docker_daemon_config, **{**options, "settings": {}})["containers"] == ["web (nginx)"]
        assert run(capsys, docker_daemon_config, allow_restart=True, **options)["changed"]

    def test_is_not_refused_where_containers_survive(self, capsys, options, engine) -> None:
        engine.answers["GET", "/containers/json"] = [{"Id": "0" * 64, "Names": ["/web"], "Image": "nginx"}]
        engine.info["LiveRestoreEnabled"] = True
        assert run(capsys, docker_daemon_config, **options)["changed"]

    def test_refuses_what_dockerd_refuses(self, capsys, path, options, tmp_path) -> None:
        program(tmp_path / "dockerd", 'echo "unable to configure: $3" >&2; exit 1')
        assert "dockerd refuses the result: unable to configure" in run(capsys, docker_daemon_config, **options)["msg"]
        assert path.read_text() == '{"debug": true}'
        program(tmp_path / "dockerd", "echo unknown flag: --validate >&2; exit 125")
        assert run(capsys, docker_daemon_config, **options)["changed"]

    def test_dockerd_is_asked_before_anything_is_written(self, capsys, tmp_path) -> None:
        refusing = program(tmp_path / "dockerd", 'echo "unable to configure: $3" >&2; exit 1')
        said = run(capsys, docker_daemon_check, content="{}", dockerd=refusing)["msg"]
        assert "daemon.json: dockerd refuses the result: unable to configure: the result" in said
        assert run(capsys, docker_daemon_check, content="{}", dockerd=str(tmp_path / "none"))["validated"] is False
        assert run(capsys, docker_daemon_check, content="{}", dockerd=program(tmp_path / "fine", "exit 0"))["validated"]

    def test_refuses_invalid_json_with_its_place(self, capsys, path, options) -> None:
        path.write_text("{\n  debug: true\n}")
        assert f"{path}: invalid JSON in line 2, column 3" in run(capsys, docker_daemon_config, **options)["msg"]
        assert path.read_text() == "{\n  debug: true\n}"

    def test_does_not_overwrite_somebody_elses_change(self, capsys, path, options) -> None:
        run(capsys, docker_daemon_config, **options)
        path.write_text("{}")
        assert run(capsys, docker_daemon_config, **{**options, "state": "restored"})["changed"] is False
        assert path.read_text() == "{}"

    def test_an_undo_of_nothing_needs_no_docker_and_no_valid_file(self, capsys, path, options, tmp_path) -> None:
        path.write_text("{ broken")
        options = {**options, "state": "restored", "docker_socket": str(tmp_path / "no.sock")}
        said = run(capsys, docker_daemon_config, **options)
        assert (said["changed"], said["restart_due"]) == (False, False)
        assert path.read_text() == "{ broken"

    def test_says_that_docker_does_not_answer(self, capsys, options, tmp_path) -> None:
        options["docker_socket"] = str(tmp_path / "nobody")
        assert "does not answer" in run(capsys, docker_daemon_config, **options)["msg"]


class TestSwarmMember:
    def become(self, engine: Engine, *, manager: bool) -> None:
        engine.info["Swarm"] = {
            "LocalNodeState": "active",
            "ControlAvailable": manager,
            "Cluster": {"ID": "mine"},
            "NodeID": "node",
            "NodeAddr": "10.0.0.1",
        }
        engine.answers["GET", "/networks"] = [{"Name": "docker_gwbridge"}]

    @pytest.fixture(autouse=True)
    def _at_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(docker_swarm_member, "own_address", lambda text, later: text)

    def test_makes_a_swarm_once_and_leaves_it(self, capsys, engine, socket) -> None:
        engine.on["POST", "/swarm/init"] = lambda _body: self.become(engine, manager=True)
        engine.on["POST", "/swarm/leave"] = lambda _body: engine.info.update(Swarm={"LocalNodeState": "inactive"})
        options = {"state": "leader", "advertise_address": "10.0.0.1", "docker_socket": socket}
        foretold = run(capsys, docker_swarm_member, check_mode=True, **options)
        assert (foretold["changed"], foretold["cluster_id"], engine.told) == (True, None, [])
        assert run(capsys, docker_swarm_member, **options)["cluster_id"] == "mine"
        assert engine.told[0][2]["AdvertiseAddr"] == "10.0.0.1"
        assert run(capsys, docker_swarm_member, **options)["changed"] is False
        assert len(engine.told) == 1
        leave = {"state": "left", "docker_socket": socket}
        engine.answers["GET", "/services"] = [{"Spec": {"Name": "trtllm"}}]
        assert "trtllm" in run(capsys, docker_swarm_member, check_mode=True, **leave)["msg"]
        stack = {"com.docker.stack.namespace": "dgx-spark-trtllm"}
        engine.answers["GET", "/services"] = [{"Spec": {"Name": "leader", "Labels": stack}}, {"Spec": {"Name": "web"}}]
        ends = {**leave, "ending": ["dgx-spark-trtllm"]}
        assert "in the swarm: web. Nothing" in run(capsys, docker_swarm_member, check_mode=True, **ends)["msg"]
        engine.answers["GET", "/services"] = [{"Spec": {"Name": "leader", "Labels": stack}}]
        assert run(capsys, docker_swarm_member, check_mode=True, **ends)["changed"]
        engine.answers["GET", "/services"] = []
        assert run(capsys, docker_swarm_member, **leave)["changed"]
        assert [told[1] for told in engine.told[1:]] == ["/swarm/leave?force=1", "/networks/docker_gwbridge"]
        assert run(capsys, docker_swarm_member, **leave)["changed"] is False

    def test_joins_and_does_not_tell_the_token(self, capsys, engine, socket) -> None:
        engine.on["POST", "/swarm/join"] = lambda _body: self.become(engine, manager=False)
        options = {
            "state": "worker",
            "advertise_address": "10.0.0.1",
            "leader_address": "10.0.0.9",
            "cluster_id": "mine",
            "join_token": TOKEN,
            "docker_socket": socket,
        }
        done = run(capsys, docker_swarm_member, **options)
        assert (done["changed"], done["node_id"]) == (True, "node")
        assert engine.told[0][2]["JoinToken"] == TOKEN
        assert TOKEN not in json.dumps(done)
        assert run(capsys, docker_swarm_member, **options)["changed"] is False
        assert "in another swarm" in run(capsys, docker_swarm_member, **{**options, "cluster_id": "theirs"})["msg"]

    def test_a_failed_join_is_taken_back(self, capsys, engine, socket) -> None:
        engine.answers["POST", "/swarm/join"] = (503, {"message": "Timeout was reached before node joined."})
        refused = run(
            capsys,
            docker_swarm_member,
            state="worker",
            advertise_address="10.0.0.1",
            leader_address="10.0.0.9",
            join_token=TOKEN,
            docker_socket=socket,
        )
        assert "cannot be reached at 10.0.0.9:2377" in refused["msg"]
        assert engine.told[-1][1] == "/swarm/leave?force=1"
        assert TOKEN not in json.dumps(refused)

    def test_finishes_what_an_interruption_left_half_done(self, capsys, engine, socket, tmp_path, monkeypatch) -> None:
        record = Path(docker_swarm_member.RECORD)
        record.parent.mkdir(exist_ok=True, parents=True)
        record.write_text('{"entering": true, "bridge_was_there": false}')
        engine.info["Swarm"] = {"LocalNodeState": "error", "Error": "no route"}
        engine.on["POST", "/swarm/leave"] = lambda _body: engine.info.update(Swarm={"LocalNodeState": "inactive"})
        engine.on["POST", "/swarm/join"] = lambda _body: self.become(engine, manager=False)
        done = run(capsys, docker_swarm_member, **self.worker(socket))
        assert [told[1] for told in engine.told] == ["/swarm/leave?force=1", "/swarm/join"]
        assert (done["step"], json.loads(record.read_text())) == (
            "enter",
            {"cluster_id": "mine", "node_id": "node", "bridge_was_there": False},
        )
        record.write_text('{"entering": true, "bridge_was_there": false}')  # it had joined, and nobody noted it
        assert run(capsys, docker_swarm_member, **self.worker(socket))["changed"] is False
        assert "entering" not in json.loads(record.read_text())
        assert run(capsys, docker_swarm_member, state="left", docker_socket=socket)["changed"]

    def worker(self, socket: str, **more: Any) -> dict[str, Any]:
        return {
            "state": "worker",
            "advertise_address": "10.0.0.1",
            "leader_address": "10.0.0.9",
            "cluster_id": "mine",
            "join_token": TOKEN,
            "docker_socket": socket,
            **more,
        }

    def test_leaves_another_swarm_only_if_told(self, capsys, engine, socket) -> None:
        self.become(engine, manager=True)
        engine.on["POST", "/swarm/leave"] = lambda _body: engine.info.update(Swarm={"LocalNodeState": "inactive"})
        engine.on["POST", "/swarm/join"] = lambda _body: self.become(engine, manager=False)
        wish = self.worker(socket, cluster_id="theirs", allow_rejoin=True)
        engine.answers["GET", "/services"] = [{"Spec": {"Name": "web"}}]
        assert "services still run in the swarm: web" in run(capsys, docker_swarm_member, **wish)["msg"]
        engine.answers["GET", "/services"] = []
        foretold = run(capsys, docker_swarm_member, check_mode=True, **wish)
        assert (foretold["step"], foretold["node_id"], engine.told) == ("rejoin", None, [])
        assert foretold["left"].startswith("swarm mine")

    def test_a_wrong_clock_is_refused_before_joining(self, capsys, engine, socket) -> None:
        wish = self.worker(socket, leader_clock=time.time() - 7200)
        assert "s ahead of its leader's" in run(capsys, docker_swarm_member, check_mode=True, **wish)["msg"]
        self.become(engine, manager=False)
        assert run(capsys, docker_swarm_member, check_mode=True, **wish)["changed"] is False  # it is in already

    def test_networks_that_meet_are_refused(self, capsys, engine, socket, tmp_path, monkeypatch) -> None:
        routes = tmp_path / "route"
        routes.write_text("head\nfabric 0000000A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n")
        monkeypatch.setattr(docker_swarm_member, "ROUTES", str(routes))
        wish = self.worker(socket, swarm_networks=["10.0.0.0/24"])
        assert "10.0.0.0/24 on fabric" in run(capsys, docker_swarm_member, check_mode=True, **wish)["msg"]
        leader = {"state": "leader", "advertise_address": "10.0.0.1", "docker_socket": socket}
        refused = run(capsys, docker_swarm_member, address_pool="10.0.0.0/16", **leader)
        assert ("10.0.0.0/16 of the swarm" in refused["msg"], engine.told) == (True, [])
        engine.on["POST", "/swarm/init"] = lambda _body: self.become(engine, manager=True)
        run(capsys, docker_swarm_member, **leader)
        assert engine.told[0][2]["DefaultAddrPool"] == ["10.255.0.0/16"]

    def test_leaves_a_swarm_of_somebody_else_alone(self, capsys, engine, socket) -> None:
        self.become(engine, manager=True)
        assert run(capsys, docker_swarm_member, state="left", docker_socket=socket)["changed"] is False
        assert engine.told == []

    def test_tidies_up_after_a_swarm_that_was_left_by_hand(self, capsys, engine, socket) -> None:
        engine.on["POST", "/swarm/init"] = lambda _body: self.become(engine, manager=True)
        run(capsys, docker_swarm_member, state="leader", advertise_address="10.0.0.1", docker_socket=socket)
        engine.info["Swarm"] = {}
        assert run(capsys, docker_swarm_member, state="left", docker_socket=socket)["changed"]
        assert [told[:2] for told in engine.told[1:]] == [("DELETE", "/networks/docker_gwbridge")]

    # coreos/fedora-coreos-tracker#573 (2020-07-16): by a flag, and daemon.json is empty
    @pytest.mark.parametrize(
        ("text", "flags", "says"),
        [
            ("{}", None, "'live-restore: true'"),
            ("{}", {"live-restore": ["true"]}, "dockerd has --live-restore on its command line"),
            ("{}", {"live-restore": ["true"]}, "systemctl cat docker"),
            ("{", {"live-restore": ["true"]}, "dockerd has --live-restore on its command line"),
            ('{"live-restore": true}', {}, 'daemon.json sets "live-restore": true'),
            (None, None, "systemctl cat docker"),
            (None, {}, "daemon.json cannot be read ("),
            ("{", {}, "daemon.json cannot be read (invalid JSON in line 1"),
            ("[]", None, "daemon.json cannot be read ("),
        ],
    )
    def test_names_live_restore(
        self, capsys, engine, socket, monkeypatch, tmp_path, text: str | None, flags: Any, says: str
    ) -> None:
        file = tmp_path / "daemon.json"
        file.mkdir() if text is None else file.write_text(text)
        monkeypatch.setattr(docker_swarm_member, "read_daemon_json", lambda: read_daemon_json(str(file)))
        monkeypatch.setattr(docker_swarm_member, "running", lambda: {"flags": flags, "replaced": False})
        engine.info["LiveRestoreEnabled"] = True
        options = {"state": "leader", "advertise_address": "10.0.0.1", "docker_socket": socket}
        for check in (True, False):
            said = run(capsys, docker_swarm_member, check_mode=check, **options)["msg"]
            assert says in said
            assert "Nothing was changed" in said
            assert ("does not set" in said) == (text == "{}" and flags is None)
        assert engine.told == []


class TestRestart:
    """SIMULATED systemctl, which does not start Docker with a file that says so, and journalctl."""

    @pytest.fixture
    def path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "docker").mkdir()
        path = tmp_path / "docker" / "daemon.json"
        path.write_text('{"debug": true}')
        (tmp_path / "since").write_text("0")
        program(
            tmp_path / "systemctl",
            f"[ $1 = show ] && exec cat {tmp_path}/since; echo $1 >> {tmp_path}/told; ! grep -q bad {path}",
        )
        program(tmp_path / "journalctl", "echo unable to start: bad")
        monkeypatch.setattr(docker_restart.AnsibleModule, "get_bin_path", lambda _s, name, **_m: str(tmp_path / name))
        monkeypatch.setattr(docker_restart, "running", lambda: {"flags": RUNTIME_FLAG, "replaced": False})
        return path

    def started(self, tmp_path: Path, seconds_ago: float) -> None:
        """The engine started at that time."""
        since = time.clock_gettime(time.CLOCK_MONOTONIC) - seconds_ago
        (tmp_path / "since").write_text(str(int(since * 1e6)))

    def test_restarts(self, capsys, path, tmp_path, socket) -> None:
        options = {"path": str(path), "docker_socket": socket}
        assert run(capsys, docker_restart, check_mode=True, **options)["changed"]
        assert not (tmp_path / "told").exists()
        self.started(tmp_path, seconds_ago=60)
        assert run(capsys, docker_restart, **options)["changed"]
        assert (tmp_path / "told").read_text().split() == ["reset-failed", "restart"]

    def test_restarts_only_what_is_older_than_its_configuration(self, capsys, path, tmp_path, socket, engine) -> None:
        options = {"path": str(path), "docker_socket": socket}
        for place in (path, path.parent):
            os.utime(place, (time.time() - 60,) * 2)
        self.started(tmp_path, seconds_ago=30)
        assert run(capsys, docker_restart, **options)["changed"] is False
        assert not (tmp_path / "told").exists()
        path.unlink()  # which only the directory tells
        assert run(capsys, docker_restart, **options)["changed"]
        path.write_text('{"default-runtime": "nvidia"}')  # and which the engine does not follow
        for place in (path, path.parent):
            os.utime(place, (time.time() - 60,) * 2)
        assert run(capsys, docker_restart, **options)["changed"]
        engine.info["DefaultRuntime"] = "nvidia"
        assert run(capsys, docker_restart, **options)["changed"] is False

    @pytest.mark.parametrize(
        ("text", "swarm", "says"),
        [
            ('{"default-runtime": "other"}', "inactive", "the default runtime 'other' is not one of its runtimes"),
            ('{"live-restore": true}', "active", "live-restore is on, and Docker is in a swarm"),
            ("{", "inactive", "invalid JSON in line 1"),
        ],
    )
    def test_docker_runs_on_where_it_would_not_start(
        self, capsys, path, tmp_path, socket, engine, text: str, swarm: str, says: str
    ) -> None:
        path.write_text(text)
        engine.info["Swarm"] = {"LocalNodeState": swarm}
        said = run(capsys, docker_restart, path=str(path), docker_socket=socket, allow_restart=True)["msg"]
        assert f"{path}: " in said
        assert says in said
        assert not (tmp_path / "told").exists()

    def test_what_a_reload_did_not_forget_is_restarted_for(self, capsys, path, tmp_path, socket, engine) -> None:
        """An undo took the keys out, and the owner had Docker read the file again, which takes nothing out (26.1.5)."""
        options = {"path": str(path), "docker_socket": socket}
        originals.Originals().change(str(path), b'{"debug": true, "default-runtime": "nvidia"}')
        originals.Originals().restore(str(path))
        engine.info["DefaultRuntime"] = "nvidia"
        self.started(tmp_path, seconds_ago=60)
        assert run(capsys, docker_restart, **options)["changed"]
        assert (tmp_path / "told").read_text().split() == ["reset-failed", "restart"]

    def test_is_refused_under_a_container(self, capsys, path, tmp_path, socket, engine) -> None:
        options = {"path": str(path), "docker_socket": socket}
        engine.answers["GET", "/containers/json"] = [{"Id": "0" * 64, "Names": ["/web"], "Image": "nginx"}]
        assert "web (nginx)" in run(capsys, docker_restart, **options)["msg"]
        assert not (tmp_path / "told").exists()
        assert run(capsys, docker_restart, allow_restart=True, **options)["changed"]
        engine.info["LiveRestoreEnabled"] = True
        assert run(capsys, docker_restart, **options)["changed"]

    def test_puts_back_what_it_ran_with(self, capsys, path, tmp_path) -> None:
        originals.Originals().change(str(path), b'{"half": 1}')
        originals.Originals().change(str(path), b'{"bad": 1}')  # two roles, one restart
        failed = run(capsys, docker_restart, path=str(path), docker_socket="/nowhere")
        assert (failed["failed"], failed["reverted"], path.read_text()) == (True, True, '{"debug": true}')
        assert "put back, and it runs again. Docker said: unable to start: bad" in failed["msg"]
        assert (tmp_path / "told").read_text().split() == ["reset-failed", "restart", "reset-failed", "start"]

    def test_a_restart_is_what_the_next_failure_goes_back_to(self, capsys, path, socket) -> None:
        originals.Originals().change(str(path), b'{"good": 1}')
        assert run(capsys, docker_restart, path=str(path), docker_socket=socket)["changed"]
        originals.Originals().change(str(path), b'{"bad": 1}')
        assert run(capsys, docker_restart, path=str(path), docker_socket=socket)["reverted"]
        assert path.read_text() == '{"good": 1}'

    def test_says_so_where_that_cannot_be(self, capsys, path) -> None:
        path.write_text('{"bad": 1}')
        failed = run(capsys, docker_restart, path=str(path), docker_socket="/nowhere")
        assert "could not be put back" in failed["msg"]
        assert "it does not run (systemctl status docker.service)" in failed["msg"]


def test_reads_the_token(capsys, engine, socket) -> None:
    engine.answers["GET", "/swarm"] = {"JoinTokens": {"Worker": TOKEN, "Manager": "x"}}
    assert run(capsys, docker_swarm_token_info, docker_socket=socket)["worker"] == TOKEN
    engine.answers["GET", "/swarm"] = (503, {"message": "This node is not a swarm manager."})
    assert run(capsys, docker_swarm_token_info, docker_socket=socket)["worker"] is None


class TestSwarmNodes:
    @pytest.fixture
    def options(self, engine: Engine, socket: str) -> dict[str, Any]:
        self.node = {
            "ID": "one",
            "Version": {"Index": 7},
            "Spec": {"Availability": "active", "Role": "manager", "Labels": {"x": "y"}},
            "Status": {"State": "ready"},
            "Description": {
                "Hostname": "spark1",
                "Resources": {"GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": "A"}}]},
            },
        }
        engine.info["Swarm"] = {"ControlAvailable": True}
        engine.answers["GET", "/nodes/one"] = self.node
        engine.answers["GET", "/nodes"] = [self.node]
        engine.on["POST", "/nodes/one/update"] = lambda body: self.node.update(Spec=body)
        return {"members": ["spark1"], "node_ids": {"spark1": "one"}, "timeout": 0, "docker_socket": socket}

    def test_labels_once_and_unlabels(self, capsys, engine, options) -> None:
        assert run(capsys, docker_swarm_nodes, check_mode=True, **options)["changed"]
        assert engine.told == []
        assert run(capsys, docker_swarm_nodes, **options)["nodes"][0]["labels"] == self.node["Spec"]["Labels"]
        assert self.node["Spec"]["Labels"] == {"x": "y", "dgx_spark.rank": "0", "dgx_spark.role": "leader"}
        assert engine.told[0][1].endswith("?version=7")
        assert run(capsys, docker_swarm_nodes, **options)["changed"] is False
        absent = {"state": "absent", "docker_socket": options["docker_socket"]}
        assert run(capsys, docker_swarm_nodes, **absent)["changed"]
        assert self.node["Spec"]["Labels"] == {"x": "y"}
        assert run(capsys, docker_swarm_nodes, **absent)["changed"] is False

    def test_removes_former_selves_and_drains_strangers(self, capsys, engine, options) -> None:
        spec = {"Availability": "active", "Labels": {"dgx_spark.rank": "2"}}
        common = {"Version": {"Index": 1}, "Spec": spec}
        old = {**common, "ID": "old", "Status": {"State": "down"}, "Description": {"Hostname": "spark1"}}
        extra = {**common, "ID": "extra", "Status": {"State": "ready"}, "Description": {"Hostname": "spark3"}}
        engine.answers["GET", "/nodes"] = [self.node, old, extra]
        engine.answers["GET", "/nodes/old"], engine.answers["GET", "/nodes/extra"] = old, extra
        foretold = run(capsys, docker_swarm_nodes, check_mode=True, **options)
        assert (foretold["removed"], foretold["drained"], engine.told) == (["old"], ["extra"], [])
        done = run(capsys, docker_swarm_nodes, **options)
        assert (done["removed"], done["drained"]) == (["old"], ["extra"])
        assert ("DELETE", "/nodes/old?force=1", None) in engine.told
        drained = next(body for _method, target, body in engine.told if target.startswith("/nodes/extra/update"))
        assert drained == {"Availability": "drain", "Labels": {}}

    def test_drains_and_removes_who_leaves(self, capsys, engine, options) -> None:
        base = {"members": ["spark1"], "node_ids": {"spark1": "one"}, "docker_socket": options["docker_socket"]}
        engine.answers["GET", "/tasks"] = [{"NodeID": "one", "Status": {"State": "running"}}]
        drain = {**base, "state": "drained", "timeout": 0}
        assert "tasks still run on spark1" in run(capsys, docker_swarm_nodes, **drain)["msg"]
        engine.answers["GET", "/tasks"] = []
        self.node["Spec"]["Availability"] = "active"
        assert run(capsys, docker_swarm_nodes, **drain)["drained"] == ["one"]
        assert self.node["Spec"]["Availability"] == "drain"
        assert run(capsys, docker_swarm_nodes, **drain)["changed"] is False
        remove = {**base, "state": "removed", "timeout": 0}
        assert "spark1 has not left" in run(capsys, docker_swarm_nodes, **remove)["msg"]
        self.node["Status"]["State"] = "down"
        assert run(capsys, docker_swarm_nodes, **remove)["removed"] == ["one"]
        engine.answers["GET", "/nodes"] = []
        assert run(capsys, docker_swarm_nodes, **remove)["changed"] is False

    def test_checks_each_node_and_changes_nothing(self, capsys, engine, options) -> None:
        self.node["Status"]["Addr"] = "10.0.0.1"
        wish = {**options, "kind": "gpu", "resources": {"spark1": ["A"]}, "addresses": {"spark1": "10.0.0.1"}}
        done = run(capsys, docker_swarm_gpu_check, **wish)
        assert (done["changed"], engine.told) == (False, [])
        assert done["nodes"] == {"spark1": {"node_id": "one", "address": "10.0.0.1", "rank": 0}}
        wish["addresses"] = {"spark1": "10.0.0.9"}
        assert "spark1 is at 10.0.0.1 instead of 10.0.0.9" in run(capsys, docker_swarm_gpu_check, **wish)["msg"]

    def test_names_the_host_that_is_not_ready(self, capsys, options) -> None:
        options |= {"kind": "gpu", "resources": {"spark1": ["B"]}}
        assert "spark1 offers gpu A instead of B" in run(capsys, docker_swarm_gpu_check, **options)["msg"]
        options["node_ids"] = {"spark1": None}
        assert "spark1 is in no swarm" in run(capsys, docker_swarm_gpu_check, **options)["msg"]

    def test_a_member_without_a_node(self, capsys, options) -> None:
        options["node_ids"] = {"spark1": None}
        assert run(capsys, docker_swarm_nodes, check_mode=True, **options)["changed"]
        assert "spark1 is in no swarm" in run(capsys, docker_swarm_nodes, **options)["msg"]


class TestToolkitConfig:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, Any]:
        path = tmp_path / "config.toml"
        shutil.copy(CAPTURED / "default.toml", path)
        # SIMULATED nvidia-ctk: config --config-file FILE [--in-place --set ...]
        tool = program(tmp_path / "nvidia-ctk", f'[ -z "$4" ] && exec cat "$3"; cp {CAPTURED}/after_set.toml "$3"')
        return {"path": str(path), "executable": tool, "swarm_resource": "DOCKER_RESOURCE_GPU"}

    def test_sets_it_once(self, capsys, options, tmp_path) -> None:
        path = Path(options["path"])
        before = path.read_bytes()
        foretold = run(capsys, nvidia_toolkit_config, check_mode=True, **options)
        assert (foretold["changed"], path.read_bytes()) == (True, before)
        done = run(capsys, nvidia_toolkit_config, **options)
        assert (done["changed"], done["diff"]) == (True, foretold["diff"])
        assert path.read_bytes() == (CAPTURED / "after_set.toml").read_bytes()
        assert run(capsys, nvidia_toolkit_config, **options)["changed"] is False
        assert run(capsys, ledger_file, path=[str(path)], state="restored")["changed"]
        assert path.read_bytes() == before

    def test_a_tool_that_fails_changes_nothing(self, capsys, options) -> None:
        options["swarm_resource"] = "DOCKER_RESOURCE_OTHER"
        before = Path(options["path"]).read_bytes()
        assert "cannot set swarm-resource" in run(capsys, nvidia_toolkit_config, **options)["msg"]
        program(Path(options["executable"]), "echo broken >&2; exit 1")
        assert "broken" in run(capsys, nvidia_toolkit_config, **options)["msg"]
        assert Path(options["path"]).read_bytes() == before


class TestSwarmProbe:
    @pytest.fixture
    def options(self, engine: Engine, socket: str) -> dict[str, Any]:
        self.services: list[dict[str, Any]] = []
        self.ends: dict[str, Any] = {"State": "complete"}
        offered = [{"NamedResourceSpec": {"Kind": "gpu", "Value": "GPU-A"}}]
        engine.answers["GET", "/nodes/one"] = {
            "ID": "one",
            "Spec": {"Availability": "active", "Role": "manager"},
            "Status": {"State": "ready", "Addr": "10.0.0.1"},
            "Description": {"Hostname": "spark1", "Resources": {"GenericResources": offered}},
        }
        engine.answers["GET", "/services"] = self.services
        engine.answers["GET", "/tasks"] = []
        engine.answers["POST", "/services/create"] = {"ID": "service"}
        engine.on["POST", "/services/create"] = lambda body: self.start(engine, body)
        engine.on["DELETE", "/services/service"] = lambda _body: self.services.clear()
        return {
            "members": ["spark1"],
            "node_ids": {"spark1": "one"},
            "images": {"spark1": "sha256:0"},
            "kind": "gpu",
            "resources": {"spark1": ["GPU-A"]},
            "timeout": 0,
            "docker_socket": socket,
        }

    def start(self, engine: Engine, body: dict[str, Any]) -> None:
        self.services.append({"ID": "service", "Spec": body})
        engine.answers["GET", "/tasks"] = [{"ServiceID": "service", "NodeID": "one", "Status": self.ends}]

    def test_looks_and_leaves_nothing(self, capsys, engine, options) -> None:
        looked = run(capsys, docker_swarm_gpu_check, check_mode=True, **options)
        assert (looked["nodes"]["spark1"]["rank"], looked["reserved"], engine.told) == (0, {}, [])
        self.services.append({"ID": "service", "Spec": {"Labels": {"sparkops.dgx_spark.probe": "service"}}})
        self.services.append({"ID": "web", "Spec": {"Name": "web"}})
        done = run(capsys, docker_swarm_gpu_check, **options)
        assert (done["changed"], done["reserved"], self.services) == (False, {"spark1": 1}, [])
        methods = [told[:2] for told in engine.told]
        assert methods == [
            ("DELETE", "/services/service"),  # of an interrupted run
            ("POST", "/services/create"),
            ("DELETE", "/services/service"),
        ]

    def test_a_model_keeps_its_gpu(self, capsys, engine, options) -> None:
        gpu = [{"NamedResourceSpec": {"Kind": "gpu", "Value": "GPU-A"}}]
        engine.answers["GET", "/tasks"] = [
            {"ServiceID": "x", "NodeID": "one", "DesiredState": "running", "GenericResources": gpu}
        ]
        assert run(capsys, docker_swarm_gpu_check, **options)["reserved"] == {"spark1": 0}

    @pytest.mark.parametrize(
        ("status", "says"),
        [
            ({"State": "failed", "ContainerStatus": {"ExitCode": 66}}, "on spark1 a task sees no /dev/infiniband"),
            ({"State": "rejected", "Err": "No such image: sha256:0"}, "on spark1 a task did not start"),
            ({"State": "pending", "Err": "no suitable node"}, "is pending after the time it had: no suitable node"),
        ],
    )
    def test_names_the_host_and_what_it_does_not_see(self, capsys, options, status, says) -> None:
        self.ends = status
        assert says in run(capsys, docker_swarm_gpu_check, **options)["msg"]
        assert self.services == []


class TestGpuCheck:
    """SIMULATED docker and nvidia-smi."""

    ROW = "0, GPU-e793e0a4-fd41-dcd8-a833-3127370a6779, NVIDIA GB10, 580.95.05, 12.1, [N/A]"
    UUID = "GPU-e793e0a4-fd41-dcd8-a833-3127370a6779"

    @pytest.fixture
    def options(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine, socket: str) -> dict[str, Any]:
        self.state = tmp_path
        program(tmp_path / "nvidia-smi", f"echo '{self.ROW}'")
        program(
            tmp_path / "docker",
            f"""echo "$*" >> {tmp_path}/told
case "$1 $2" in
  'import --change') cat > /dev/null; echo "$3" | cut -d= -f2 > {tmp_path}/label; echo sha256:1 ;;
  'image rm') [ "$3" = dgx-spark/gpu-probe:host ] && rm {tmp_path}/label ;;
  'run --rm') cat {tmp_path}/inside; exit $(cat {tmp_path}/status) ;;
  'ps --all') cat {tmp_path}/left ;;
  'rm --force') echo "$3 $4" > {tmp_path}/removed ;;
esac""",
        )
        (tmp_path / "inside").write_text(self.ROW + "\n")
        (tmp_path / "left").write_text("")
        (tmp_path / "status").write_text("0")
        real = docker_gpu_image.AnsibleModule.get_bin_path

        def get_bin_path(self: Any, name: str, *words: Any, **more: Any) -> Any:
            path = tmp_path / name
            return str(path) if path.exists() else real(self, name, *words, **more)

        monkeypatch.setattr(docker_gpu_image.AnsibleModule, "get_bin_path", get_bin_path)
        key = ("GET", "/images/dgx-spark/gpu-probe:host/json")
        engine.on[key] = lambda _body: engine.answers.update({key: self.image()})
        return {"docker_socket": socket}

    def image(self) -> Any:
        """What the engine knows of the image."""
        if not (self.state / "label").exists():
            return (404, {"message": "No such image"})
        labels = {"sparkops.dgx_spark.probe": (self.state / "label").read_text().strip()}
        return {"Id": "sha256:1", "Config": {"Labels": labels}}

    def test_makes_its_image_once_and_removes_it(self, capsys, options) -> None:
        assert run(capsys, docker_gpu_image, check_mode=True, **options)["changed"]
        assert not (self.state / "label").exists()
        first = run(capsys, docker_gpu_image, **options)
        assert (first["changed"], first["image"]) == (True, "sha256:1")
        assert run(capsys, docker_gpu_image, **options)["changed"] is False
        assert run(capsys, docker_gpu_image, check_mode=True, **options)["changed"] is False
        (self.state / "label").write_text("of-another-libc\n")
        assert run(capsys, docker_gpu_image, **options)["changed"]
        (self.state / "left").write_text("c1\nc2\n")
        assert run(capsys, docker_gpu_image, check_mode=True, state="absent", **options)["changed"]
        assert not (self.state / "removed").exists()
        assert run(capsys, docker_gpu_image, state="absent", **options)["changed"]
        assert (self.state / "removed").read_text() == "c1 c2\n"
        assert run(capsys, docker_gpu_image, state="absent", **options)["changed"] is False

    def test_compares_inside_and_outside(self, capsys, options) -> None:
        run(capsys, docker_gpu_image, **options)
        done = run(capsys, docker_gpu_check, **options)
        assert (done["changed"], done["gpus"], done["image"]) == (False, [self.UUID], "sha256:1")
        assert done["at"] > 0
        (self.state / "inside").write_text(self.ROW.replace("GPU-e7", "GPU-f7") + "\n")
        said = run(capsys, docker_gpu_check, **options)["msg"]
        assert f"sees the GPUs GPU-f793e0a4-fd41-dcd8-a833-3127370a6779, and the host has {self.UUID}" in said

    def test_takes_an_image_that_is_named(self, capsys, options, engine) -> None:
        engine.answers["GET", "/images/nvcr.io/x:1/json"] = {"Id": "sha256:9"}
        assert run(capsys, docker_gpu_check, image="nvcr.io/x:1", **options)["image"] == "sha256:9"
        assert "import" not in (self.state / "told").read_text()
        said = run(capsys, docker_gpu_check, image="nvcr.io/x:2", **options)["msg"]
        assert "the image nvcr.io/x:2 is not on the host" in said

    def test_a_damaged_inforom_is_a_warning_inside_and_outside(self, capsys, options, tmp_path, monkeypatch) -> None:
        run(capsys, docker_gpu_image, **options)
        warned: list[str] = []  # Ansible says each warning once a process, and tests share one
        monkeypatch.setattr(docker_gpu_check.AnsibleModule, "warn", lambda _self, text: warned.append(text))
        warning = "WARNING: infoROM is corrupted at gpu 000F:01:00.0"
        program(tmp_path / "nvidia-smi", f"echo '{self.ROW}'; echo '{warning}'; exit 14")
        (self.state / "inside").write_text(f"{self.ROW}\n{warning}\n")
        (self.state / "status").write_text("14")
        assert run(capsys, docker_gpu_check, **options)["gpus"] == [self.UUID]
        assert len(warned) == 1
        assert f"{warning}': the GPU can be used" in warned[0]

    def test_a_container_that_may_not_open_the_gpu_is_named(self, capsys, options) -> None:
        run(capsys, docker_gpu_image, **options)
        (self.state / "inside").write_text("Failed to initialize NVML: Unknown Error\n")
        (self.state / "status").write_text("255")
        said = run(capsys, docker_gpu_check, **options)["msg"]
        assert "device cgroup" in said
        assert "Docker said: Failed to initialize NVML: Unknown Error" in said

    def test_says_what_a_container_does_not_see(self, capsys, options) -> None:
        run(capsys, docker_gpu_image, **options)
        (self.state / "inside").write_text("")
        assert "named no GPU" in run(capsys, docker_gpu_check, **options)["msg"]
