# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""swarm_gpu_info against simulated programs and a simulated engine: what the plan of a swarm is made of."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import dockerd
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.ibdev2netdev import Mapping
from ansible_collections.sparkops.dgx_spark.plugins.modules import swarm_gpu_info
from fake_docker import Engine, listening

UUID = "GPU-e793e0a4-fd41-dcd8-a833-3127370a6779"
ADDRESSES = [
    {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
    {
        "ifname": "enP7s7",
        "addr_info": [{"family": "inet", "local": "192.168.1.21", "prefixlen": 24, "scope": "global", "dynamic": True}],
    },
    {"ifname": "docker0", "addr_info": [{"family": "inet", "local": "172.17.0.1", "prefixlen": 16}]},
    {"ifname": "enp1s0f0np0", "addr_info": [{"family": "inet", "local": "192.168.100.10", "prefixlen": 24}]},
]
NODE = {
    "ID": "one",
    "Version": {"Index": 7},
    "Spec": {"Availability": "active", "Role": "manager", "Labels": {"dgx_spark.rank": "0"}},
    "Status": {"State": "ready", "Addr": "0.0.0.0"},
    "Description": {"Hostname": "spark1", "TLSInfo": {"TrustRoot": "…"}},
}


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, engine: Engine
) -> Iterator[Any]:
    """Run the module with what the role wants."""
    for name, prints in {
        "nvidia-smi": f"echo '0, {UUID}, NVIDIA GB10, 580.95.05, 12.1, [N/A]'",
        "nvidia-container-runtime": "exit 1",
        "nvidia-ctk": "[ $1 = config ] && echo 'swarm-resource = \"DOCKER_RESOURCE_GPU\"' || echo 'version 1.19.0'",
        "ldd": "true",
        "ip": f"echo '{json.dumps(ADDRESSES)}'",
        "ufw": "echo \"ufw allow 22/tcp comment 'x'\"",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{prints}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(swarm_gpu_info.AnsibleModule, "get_bin_path", lambda _self, name, **_more: str(tmp_path / name))
    monkeypatch.setattr(swarm_gpu_info, "read_daemon_json", lambda: {"path": "daemon.json", "text": "{}"})
    monkeypatch.setattr(swarm_gpu_info, "recorded", dict)
    monkeypatch.setattr(dockerd, "PROC", str(tmp_path / "proc"))
    monkeypatch.setattr(swarm_gpu_info, "CONF", str(tmp_path / "ufw.conf"))
    directory = Path(tempfile.mkdtemp())  # the path of a socket must be short

    def run(**wanted: Any) -> dict[str, Any]:
        wanted = {"advertise_address": "127.0.0.1", "address_later": True, **wanted}
        arguments = {"docker_socket": path, "wanted": wanted}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            swarm_gpu_info.main()
        return json.loads(capsys.readouterr().out)

    monkeypatch.setattr(swarm_gpu_info, "own_address", lambda text, later: text)
    with listening(engine, directory / "d") as path:
        yield run
    shutil.rmtree(directory)


def test_a_host_in_no_swarm(read, engine) -> None:
    found = read(kind="other")
    assert ([gpu["uuid"] for gpu in found["gpus"]], found["changed"]) == ([UUID], False)
    assert found["toolkit"] == {"version": "1.19.0", "mode": "auto", "swarm_resource": "DOCKER_RESOURCE_GPU"}
    assert (found["swarm"]["place"]["active"], found["swarm"]["nodes"]) == (False, [])
    assert (found["host"]["address"], found["image"]) == ("127.0.0.1", None)
    assert (found["wanted"]["kind"], found["wanted"]["firewall"]) == ("other", "auto")
    assert engine.told == []


def test_a_manager_knows_its_swarm(read, engine) -> None:
    place = {"LocalNodeState": "active", "ControlAvailable": True, "Cluster": {"ID": "ours"}, "NodeID": "one"}
    engine.info["Swarm"] = {**place, "NodeAddr": "10.0.0.1"}
    overlay = {"Scope": "swarm", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}]}}
    engine.answers |= {
        ("GET", "/nodes"): [NODE],
        ("GET", "/services"): [{"Spec": {"Name": "web"}}],
        ("GET", "/networks"): [overlay],
    }
    swarm = read()["swarm"]
    assert (swarm["place"]["cluster_id"], swarm["place"]["address"], swarm["problem"]) == ("ours", "10.0.0.1", "")
    assert (swarm["services"], swarm["networks"]) == (["web"], ["10.0.0.0/24"])
    assert swarm["nodes"] == [
        {
            "ID": "one",
            "Spec": NODE["Spec"],
            "Status": {"State": "ready", "Message": None, "Addr": "0.0.0.0"},
            "ManagerStatus": {"Addr": ""},
            "Description": {"Hostname": "spark1", "Resources": {"GenericResources": []}},
        }
    ]


def test_a_state_that_nothing_can_be_planned_on_is_a_problem_of_the_plan(read, engine) -> None:
    engine.info["Swarm"] = {"LocalNodeState": "error", "Error": "no route"}
    assert "in state 'error': no route" in read()["swarm"]["problem"]


def test_the_firewall_is_read_where_it_may_be_written(read, tmp_path) -> None:
    assert read()["ufw"] == {"installed": True, "enabled": False, "rules": ""}
    assert "allow 22/tcp" in read(firewall="ufw")["ufw"]["rules"]
    (tmp_path / "ufw.conf").write_text("ENABLED=yes\n")
    assert "allow 22/tcp" in read()["ufw"]["rules"]
    assert read(firewall="none")["ufw"]["rules"] == ""


@pytest.mark.parametrize(
    ("address", "netdev", "dynamic", "of"),
    [
        ("192.168.1.21", "enP7s7", True, ""),
        ("172.17.0.1", "docker0", False, "docker"),
        ("192.168.100.10", "enp1s0f0np0", False, "fabric"),
        ("192.168.100.99", None, False, ""),
    ],
)
def test_what_has_the_address_that_is_advertised(
    read, monkeypatch, address: str, netdev: str | None, dynamic: bool, of: str
) -> None:
    port = Mapping("rocep1s0f0", 1, "enp1s0f0np0", "up")
    monkeypatch.setattr(swarm_gpu_info, "read_sysfs", lambda _root: [port])
    found = read(advertise_address=address)["host"]["advertised"]
    assert found == {"netdev": netdev, "dynamic": dynamic, "of": of}
