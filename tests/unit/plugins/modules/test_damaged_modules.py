# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever Docker answers, and whatever lies where a file is expected: a module about Docker, swarms, GPUs, hosts or
the fabric returns, or fails with a sentence. None ends with a traceback.

20 damaged answers are tried for each module; more with ``pytest --hypothesis-profile=fuzz``.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Callable, Iterator

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import dockerd
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.host_facts import read_daemon_json
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import ledger
from ansible_collections.sparkops.dgx_spark.plugins.modules import (
    apt_install_check,
    container_toolkit_info,
    docker_daemon_check,
    docker_daemon_config,
    docker_gpu_check,
    docker_gpu_image,
    docker_group_member,
    docker_log_info,
    docker_mounts_info,
    docker_restart,
    docker_swarm_gpu_check,
    docker_swarm_member,
    docker_swarm_nodes,
    docker_swarm_ports_check,
    docker_swarm_token_info,
    fabric_bandwidth,
    fabric_netplan,
    fabric_ping_check,
    ibdev2netdev_info,
    image_layers_load,
    image_layers_serve,
    ledger_file,
    ledger_packages,
    nvidia_toolkit_config,
    rdma_counters_check,
    rdma_counters_info,
    swarm_gpu_info,
    ufw_rules,
)
from damaged import FILES, values
from fake_docker import Engine, listening
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

UUID = "GPU-e793e0a4-fd41-dcd8-a833-3127370a6779"
NODE: dict[str, Any] = {
    "ID": "one",
    "Version": {"Index": 7},
    "Spec": {"Availability": "active", "Role": "manager", "Labels": {"dgx_spark.rank": "0"}},
    "Status": {"State": "ready", "Addr": "10.0.0.1"},
    "Description": {
        "Hostname": "spark1",
        "Resources": {"GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": UUID}}]},
    },
}
SERVICE: dict[str, Any] = {"ID": "s", "Spec": {"Name": "web", "Labels": {"sparkops.dgx_spark.probe": "service"}}}
TASK: dict[str, Any] = {"ServiceID": "s", "NodeID": "one", "DesiredState": "running", "Status": {"State": "complete"}}
ANSWERS: dict[tuple[str, str], Any] = {
    ("GET", "/info"): {
        "DefaultRuntime": "nvidia",
        "Runtimes": {"runc": {}, "nvidia": {}},
        "GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": UUID}}],
        "LiveRestoreEnabled": False,
        "ServerVersion": "29.0.0",
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        "Swarm": {
            "LocalNodeState": "active",
            "ControlAvailable": True,
            "Cluster": {"ID": "ours"},
            "NodeID": "one",
            "NodeAddr": "10.0.0.1",
            "RemoteManagers": [{"Addr": "10.0.0.1:2377"}],
        },
    },
    ("GET", "/containers/json"): [
        {"Id": "c" * 64, "Names": ["/web"], "Image": "x", "Labels": {}, "Mounts": [{"Type": "bind", "Source": "/x"}]}
    ],
    ("GET", f"/containers/{'c' * 64}/logs"): b"\1\0\0\0\0\0\0\3abc",
    ("GET", "/nodes"): [NODE],
    ("GET", "/nodes/one"): NODE,
    ("GET", "/services"): [SERVICE],
    ("GET", "/tasks"): [TASK],
    ("GET", "/networks"): [
        {"Name": "x", "Scope": "swarm", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}]}}
    ],
    ("GET", "/swarm"): {"JoinTokens": {"Worker": "SWMTKN-1-x", "Manager": "y"}},
    ("POST", "/services/create"): {"ID": "s"},
    ("GET", "/images/json"): [{"Id": "sha256:1"}],
    ("GET", "/images/sha256:1/json"): {"Id": "sha256:1", "RootFS": {"Layers": ["sha256:aa"]}, "GraphDriver": {}},
    ("GET", "/images/dgx-spark/gpu-probe:host/json"): {"Id": "sha256:1", "Config": {"Labels": {"x": "y"}}},
    ("GET", "/images/dgx-spark/swarm-probe:host/json"): {"Id": "sha256:1", "Config": {"Labels": {"x": "y"}}},
}
MEMBER = {"advertise_address": "10.0.0.1", "leader_address": "10.0.0.1", "cluster_id": "ours"}
NODES = {"members": ["spark1"], "node_ids": {"spark1": "one"}, "timeout": 0}
GPUS = {**NODES, "kind": "gpu", "resources": {"spark1": [UUID]}, "addresses": {"spark1": "10.0.0.1"}}
CONFIG = {"settings": {}, "resource_kind": "gpu", "resource_values": [UUID], "allow_restart": True}

#: what is run, with which options, and whether in check mode
CALLS: dict[str, tuple[ModuleType, dict[str, Any], bool]] = {
    "docker_daemon_config": (docker_daemon_config, CONFIG, True),
    "docker_restart": (docker_restart, {"allow_restart": True}, False),
    "docker_swarm_member, leader": (docker_swarm_member, {**MEMBER, "state": "leader"}, False),
    "docker_swarm_member, worker": (docker_swarm_member, {**MEMBER, "state": "worker"}, True),
    "docker_swarm_member, left": (docker_swarm_member, {"state": "left"}, False),
    "docker_swarm_nodes": (docker_swarm_nodes, NODES, False),
    "docker_swarm_nodes, absent": (docker_swarm_nodes, {"state": "absent"}, False),
    "docker_swarm_nodes, drained": (docker_swarm_nodes, {**NODES, "state": "drained"}, False),
    "docker_swarm_nodes, removed": (docker_swarm_nodes, {**NODES, "state": "removed"}, False),
    "docker_swarm_gpu_check": (docker_swarm_gpu_check, {**GPUS, "images": {"spark1": "sha256:1"}}, False),
    "docker_swarm_token_info": (docker_swarm_token_info, {}, False),
    "docker_mounts_info": (docker_mounts_info, {}, False),
    "docker_log_info": (docker_log_info, {"name": "web"}, False),
    "docker_gpu_check": (docker_gpu_check, {}, False),
    "docker_gpu_image": (docker_gpu_image, {}, True),
    "container_toolkit_info": (container_toolkit_info, {}, False),
    "swarm_gpu_info": (swarm_gpu_info, {"wanted": {"advertise_address": "127.0.0.1"}}, False),
    "image_layers_serve": (image_layers_serve, {"id": "sha256:1"}, True),
    "image_layers_load": (image_layers_load, {"id": "sha256:1"}, True),
    "image_layers_load, lacking": (image_layers_load, {"id": "sha256:1", "state": "lacking"}, True),
    "image_layers_load, parts": (image_layers_load, {"state": "parts_absent"}, True),
}
PROGRAMS = {
    "nvidia-smi": f"echo '0, {UUID}, NVIDIA GB10, 580.95.05, 12.1, [N/A]'",
    "nvidia-container-runtime": "exit 1",
    "nvidia-ctk": "echo 'version 1.19.0'",
    "ldd": "true",
    "ip": 'echo \'[{"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1"}]}]\'',
    "docker": f"echo '0, {UUID}, NVIDIA GB10, 580.95.05, 12.1, [N/A]'",
    "dockerd": "exit 0",
    "systemctl": "echo 0",
    "journalctl": "echo x",
    "dpkg-query": "true",
    "gpasswd": "true",
    "apt-get": "true",
    "ufw": "echo 'ufw allow 1'",
    "ping": "exit 1",
    "iperf3": "exit 1",
}


def outcome(module: ModuleType, arguments: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Run a module in this process; a failure says something."""
    out = io.StringIO()
    arguments = {**arguments, "_ansible_check_mode": check_mode, "_ansible_diff": True}
    with patch_module_args(arguments), contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        module.main()
    done = json.loads(out.getvalue())
    if done.get("failed"):
        assert len(done["msg"].split()) > 1, done["msg"]  # Docker's own words can be as few as these
        assert "Traceback" not in done["msg"]
    return done


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """SIMULATED programs, files of its own, and an engine."""
    for name, prints in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{prints}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "daemon.json").write_text("{}")
    routes = tmp_path / "routes"
    routes.write_text("head\neth0 0000000A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n")
    monkeypatch.setattr(
        AnsibleModule,
        "get_bin_path",
        lambda _self, name, *_a, **_m: str(tmp_path / name) if name in PROGRAMS else None,
    )
    monkeypatch.setattr(AnsibleModule, "warn", lambda _self, _text: None)
    monkeypatch.setattr(ledger, "ROOT", str(tmp_path / "originals"))
    monkeypatch.setattr(dockerd, "PROC", str(tmp_path / "proc"))
    monkeypatch.setattr(dockerd, "PID_FILE", str(tmp_path / "pid"))
    for module in (docker_daemon_config, docker_swarm_member, docker_group_member, ledger_packages):
        monkeypatch.setattr(module, "RECORD", str(tmp_path / "notes" / "record.json"))
    for module in (docker_swarm_member, swarm_gpu_info):
        monkeypatch.setattr(module, "settled_info", lambda docker: docker.info())  # which waits for a while
        monkeypatch.setattr(module, "own_address", lambda text, later: text)
        monkeypatch.setattr(module, "ROUTES", str(routes))
        monkeypatch.setattr(module, "resolves", lambda _name: True)
    for module in (container_toolkit_info, swarm_gpu_info, docker_swarm_member):
        monkeypatch.setattr(module, "read_daemon_json", lambda: read_daemon_json(str(tmp_path / "daemon.json")))
    monkeypatch.setattr(swarm_gpu_info, "recorded", dict)
    monkeypatch.setattr(ufw_rules, "CONF", str(tmp_path / "ufw.conf"))
    monkeypatch.setattr(ufw_rules, "NOTE", str(tmp_path / "ufw.json"))
    engine, short = Engine(), Path(tempfile.mkdtemp())
    with listening(engine, short / "d") as socket:
        monkeypatch.setattr(image_layers_load, "SOCKET", socket)
        for module in (docker_log_info, image_layers_load, image_layers_serve):
            monkeypatch.setattr(module, "Docker", lambda **_more: Docker(socket))
        yield SimpleNamespace(engine=engine, socket=socket, here=tmp_path)
    shutil.rmtree(short)


def options_for(call: str, host: SimpleNamespace) -> tuple[ModuleType, dict[str, Any], bool]:
    """A call with the places of this host."""
    module, options, check_mode = CALLS[call]
    if "docker_socket" in str(module.main.__code__.co_names) or hasattr(module, "SOCKET_OPTION"):
        options = {**options, "docker_socket": host.socket}
    if module in (docker_daemon_config, docker_restart):
        options = {**options, "path": str(host.here / "daemon.json")}
    return module, options, check_mode


def answer(host: SimpleNamespace, answers: dict[tuple[str, str], Any]) -> None:
    """Have the engine give these answers."""
    said = {key: one if isinstance(one, bytes) else json.dumps(one).encode() for key, one in answers.items()}
    host.engine.answers, host.engine.info = said, said["GET", "/info"]


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=settings.default.max_examples // 5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_docker_answers(host: SimpleNamespace, call: str, data: st.DataObject) -> None:
    module, options, check_mode = options_for(call, host)
    key = data.draw(st.sampled_from([key for key in ANSWERS if not isinstance(ANSWERS[key], bytes)]))
    answer(host, {**ANSWERS, key: data.draw(values(ANSWERS[key]))})
    outcome(module, options, check_mode=check_mode)


@pytest.mark.parametrize("call", CALLS)
def test_the_answers_are_good_where_none_is_damaged(host: SimpleNamespace, call: str) -> None:
    module, options, check_mode = options_for(call, host)
    answer(host, ANSWERS)
    done = outcome(module, options, check_mode=check_mode)
    assert not done.get("failed") or call in (
        *("docker_swarm_member, left", "docker_swarm_nodes, removed", "docker_swarm_nodes, drained"),
        *("docker_swarm_gpu_check",),
    ), done


#: by what is read: the module and its options
READERS: dict[str, Callable[[SimpleNamespace, Path], tuple[ModuleType, dict[str, Any]]]] = {
    "daemon.json to merge": lambda host, path: (
        docker_daemon_config,
        {**CONFIG, "path": str(path), "docker_socket": host.socket},
    ),
    "daemon.json to restore": lambda host, path: (
        docker_daemon_config,
        {"state": "restored", "path": str(path), "docker_socket": host.socket},
    ),
    "daemon.json to revert": lambda host, path: (docker_daemon_config, {"state": "reverted", "path": str(path)}),
    "daemon.json to restart with": lambda host, path: (
        docker_restart,
        {"path": str(path), "docker_socket": host.socket, "allow_restart": True},
    ),
    "daemon.json to plan with": lambda host, path: (container_toolkit_info, {"docker_socket": host.socket}),
    "daemon.json to plan a swarm with": lambda host, path: (
        swarm_gpu_info,
        {"docker_socket": host.socket, "wanted": {"advertise_address": "127.0.0.1"}},
    ),
    "the routes": lambda host, path: (
        swarm_gpu_info,
        {"docker_socket": host.socket, "wanted": {"advertise_address": "127.0.0.1"}},
    ),
    "the routes of a member": lambda host, path: (
        docker_swarm_member,
        {**MEMBER, "state": "leader", "docker_socket": host.socket},
    ),
    "the note of daemon.json": lambda host, path: (
        docker_daemon_config,
        {**CONFIG, "path": str(host.here / "daemon.json"), "docker_socket": host.socket},
    ),
    "the note of a swarm": lambda host, path: (docker_swarm_member, {"state": "left", "docker_socket": host.socket}),
    "the note of the group": lambda host, path: (docker_group_member, {"state": "restored", "group": "root"}),
    "the note of packages": lambda host, path: (ledger_packages, {"role": "x", "state": "removed"}),
    "the note of packages to be": lambda host, path: (ledger_packages, {"role": "x", "packages": ["y"]}),
    "a file to keep": lambda host, path: (ledger_file, {"path": [str(path)]}),
    "a file to restore": lambda host, path: (ledger_file, {"path": [str(path)], "state": "restored"}),
    "config.toml": lambda host, path: (
        nvidia_toolkit_config,
        {"path": str(path), "swarm_resource": "DOCKER_RESOURCE_GPU"},
    ),
    "ufw.conf": lambda host, path: (ufw_rules, {"comment": "x", "rules": []}),
    "the note of ufw": lambda host, path: (ufw_rules, {"comment": "x", "rules": [], "firewall": "ufw"}),
    "netplan's file": lambda host, path: (fabric_netplan, {"path": str(path), "content": "network: {}\n"}),
    "an earlier measurement": lambda host, path: (
        fabric_bandwidth,
        {
            "host": "a",
            "plan": {"topology": "pair", "hosts": {"a": {"links": []}}},
            "tool": "iperf3",
            "min_gbps": 1,
            "key": "x",
            "stamp": str(path),
        },
    ),
}
PLACES = {
    "daemon.json to plan with": "daemon.json",
    "daemon.json to plan a swarm with": "daemon.json",
    "the routes": "routes",
    "the routes of a member": "routes",
    "the note of daemon.json": "notes/record.json",
    "the note of a swarm": "notes/record.json",
    "the note of the group": "notes/record.json",
    "the note of packages": "notes/record.json",
    "the note of packages to be": "notes/record.json",
    "ufw.conf": "ufw.conf",
    "the note of ufw": "ufw.json",
}
NOTES: dict[str, Callable[[Path], Any]] = {
    "a measurement of nulls": lambda path: path.write_text('{"key": "x", "measured": [null]}'),
    "a measurement of lists": lambda path: path.write_text('{"key": "x", "measured": [{"gbps": [], "errors": null}]}'),
    "settings of nulls": lambda path: path.write_text('{"x": {"role": {"values": null}}}'),
    "settings of another version": lambda path: path.write_text('{"x": {"role": {"new": 1}}}'),
    "packages of nulls": lambda path: path.write_text('{"x": [null]}'),
    "a node of nulls": lambda path: path.write_text('{"node_id": null, "cluster_id": []}'),
}


@pytest.mark.parametrize("what", [*FILES, *NOTES])
@pytest.mark.parametrize("reader", READERS)
def test_whatever_lies_where_a_file_is_expected(host: SimpleNamespace, reader: str, what: str) -> None:
    path = host.here / PLACES.get(reader, "here")
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    {**FILES, **NOTES}[what](path)
    answer(host, ANSWERS)
    module, options = READERS[reader](host, path)
    outcome(module, options, check_mode=False)


LINK = {
    **{"netdev": "lo", "half": "A", "address": "127.0.0.1/8", "peer": "b", "peer_address": "127.0.0.1", "port": 1},
    **{"physical_port": 0, "peer_physical_port": 0, "rdma_device": "x", "peer_netdev": "lo", "peer_mac": None},
}
#: options that hold more than one value, for modules that read nothing else
ASKED: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "docker_swarm_ports_check": (docker_swarm_ports_check, {"peers": {"b": "127.0.0.1"}, "in_swarm": [], "timeout": 0}),
    "fabric_bandwidth": (
        fabric_bandwidth,
        {
            **{"host": "a", "tool": "iperf3", "min_gbps": 1, "seconds": 0, "key": "x", "hotplug": []},
            "plan": {"topology": "pair", "hosts": {"a": {"links": []}, "b": {"links": []}}},
        },
    ),
    "fabric_ping_check": (fabric_ping_check, {"host": "a", "links": [LINK], "mtu": 1500, "timeout": 0}),
    "ufw_rules": (ufw_rules, {"comment": "x", "rules": [{"from_ip": ["10.0.0.1"], "to_port": [1], "proto": "tcp"}]}),
    "rdma_counters_info": (rdma_counters_info, {"devices": ["x"], "sysfs_root": "/sys/class/infiniband"}),
    "rdma_counters_check": (rdma_counters_check, {"devices": ["x"], "since": 0, "timeout": 0}),
    "ibdev2netdev_info": (ibdev2netdev_info, {"source": "sysfs", "sysfs_root": "/sys"}),
    "ledger_packages": (ledger_packages, {"role": "x", "packages": ["y"]}),
    "apt_install_check": (apt_install_check, {"packages": ["y"]}),
    "docker_daemon_check": (docker_daemon_check, {"content": "{}"}),
}


@pytest.mark.parametrize("call", [*CALLS, *ASKED])
@settings(max_examples=settings.default.max_examples // 5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_asked_for(
    host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, call: str, data: st.DataObject
) -> None:
    monkeypatch.chdir(host.here)
    module, options = ASKED[call] if call in ASKED else options_for(call, host)[:2]
    answer(host, ANSWERS)
    keep = {key: value for key, value in options.items() if key in ("docker_socket", "path", "timeout", "seconds")}
    damaged = data.draw(values({key: value for key, value in options.items() if key not in keep}, whole=False))
    # ansible-core 2.19 itself ends with a traceback for half a character, and for null where suboptions are expected.
    text = json.dumps(damaged)
    assume(r"\ud800" not in text and r"\u0000" not in text and isinstance(damaged.get("wanted", {}), dict))
    outcome(module, {**damaged, **keep}, check_mode=True)
