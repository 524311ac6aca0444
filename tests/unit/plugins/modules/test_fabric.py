# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fabric's modules, over programs that stand for ip, netplan and ping."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import stat
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import DockerError
from ansible_collections.sparkops.dgx_spark.plugins.modules import fabric_member_info

MODULES = "ansible_collections.sparkops.dgx_spark.plugins.modules"
LINK = {
    "netdev": "lo",
    "physical_port": 0,
    "half": "A",
    "address": "192.168.100.10/24",
    "peer": "spark2",
    "peer_address": "192.168.100.11",
    "peer_physical_port": 0,
}


@pytest.fixture(autouse=True)
def bin_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that programs are found in first."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    return path


def program(directory: Path, name: str, body: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def run(capsys: pytest.CaptureFixture, which: str, **arguments: object) -> dict:
    module = importlib.import_module(f"{MODULES}.{which}")
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


def test_member_puts_together_what_is_known(
    tmp_path: Path, bin_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(
        bin_path,
        "ip",
        """[ "$4" = route ] || [ "$3" = addr ] || exec echo '[{"dst": "10.1.0.0/16", "dev": "eth0"}]'
echo '[{"ifname": "eth0", "addr_info": [{"family": "inet", "local": "10.1.2.3", "prefixlen": 16}]}]'""",
    )
    place = tmp_path / "netplan"
    place.mkdir()
    (place / "60-x.yaml").write_text("network: {ethernets: {lo: {dhcp4: true}}}")
    (place / "70-x.yaml").write_text("network: [")
    (place / "80-x.yaml").mkdir()
    (place / "90-x.yaml").symlink_to("nowhere")
    monkeypatch.setattr(f"{MODULES}.fabric_member_info.PLACES", [str(place)])
    # Stands for netplan's generator: what it makes of the file of others, in the directory that it is given.
    units = '"$2/run/systemd/network"'
    unit = f'printf "[Match]\\nName=lo\\n[Network]\\nDHCP=ipv4\\n" > {units}/10-netplan-lo.network'
    program(bin_path, "netplan", "exit 1")
    program(bin_path, "generate", f"mkdir -p {units}; {unit}")
    monkeypatch.setattr(f"{MODULES}.fabric_member_info.GENERATORS", [str(bin_path / "generate")])
    monkeypatch.setattr(f"{MODULES}.fabric_member_info.PROFILES", str(tmp_path / "profiles"))
    text = '{"key": "k", "tool": "iperf3", "measured": []}'
    (tmp_path / "stamp").write_text(text)
    (tmp_path / "stamp").chmod(0o640)
    links = [{"netdev": "lo", "mac": "00:00:00:00:00:00", "carrier": True, "physical_port": 0}]
    monkeypatch.setattr(f"{MODULES}.fabric_member_info.read_links", lambda _module: (links, "sysfs"))
    (tmp_path / "ufw.conf").write_text("ENABLED=yes")
    monkeypatch.setattr(f"{MODULES}.fabric_member_info.CONF", str(tmp_path / "ufw.conf"))
    monkeypatch.setattr(f"{MODULES}.fabric_member_info.TRANSIENT", str(tmp_path))
    program(bin_path, "ufw", "echo \"ufw allow 22/tcp comment 'me'\"")
    program(bin_path, "iperf3", "exit 0")
    options = {
        "name": "spark1",
        "host": "10.1.2.3",
        "files": [str(tmp_path / "stamp"), str(tmp_path / "none")],
        "program": str(tmp_path / "stamp"),
        "stamp": str(tmp_path / "stamp"),
    }
    off = {"marker": False, "enabled": False, "cable": True}
    monkeypatch.setattr(f"{MODULES}.fabric_member_info.read_hotplug", lambda: dict(off))
    member = run(capsys, "fabric_member_info", **options, firewall="auto")["member"]
    assert member["links"] == links
    assert member["networks"] == [{"network": "10.1.0.0/16", "netdev": "eth0"}]
    assert member["addresses"] == ["10.1.2.3"]
    assert member["management_address"] is None
    assert member["neighbors"] is None
    assert [(one["path"], one["sets"]) for one in member["netplan_conflicts"]] == [
        (str(place / "60-x.yaml"), ["dhcp4: true"])
    ]
    assert (member["netplan_renderers"], member["netplan_problem"]) == ({"lo": "networkd"}, "")
    state = {"content": text, "mode": "0640", "uid": os.geteuid(), "gid": os.getegid()}
    assert list(member["files"].values()) == [state, None]
    assert member["program"] == hashlib.sha256(text.encode()).hexdigest()
    assert member["bandwidth"] == {"key": "k", "tool": "iperf3", "measured": []}
    assert "iperf3" in member["tools"]
    assert member["firewall"] == {"installed": True, "enabled": True, "rules": [["allow 22/tcp", "me"]]}
    assert member["rollback_pending"] is False
    assert len(member["arp"]["lo"]) == 2
    assert member["ifindex"] == {"lo": 1}
    assert member["hotplug"] == {**off, "noted_boot": None, "containers": []}

    for unit in ("dgx-spark-fabric-rollback.timer", "dgx-spark-fabric-way-back.service"):
        (tmp_path / unit).touch()
        assert run(capsys, "fabric_member_info", **options)["member"]["rollback_pending"] is True
        (tmp_path / unit).unlink()
    program(
        bin_path,
        "generate",
        'echo "** WARNING **: too open" >&2; echo "$2/etc/netplan/70-x.yaml:1:1: Invalid" >&2; exit 1',
    )
    refused = run(capsys, "fabric_member_info", **options)["member"]
    assert refused["netplan_conflicts"] == []
    assert (
        "with /etc/netplan/40-cx7.yaml as it will be: /etc/netplan/70-x.yaml:1:1: Invalid; mend"
        in refused["netplan_problem"]
    )
    program(bin_path, "generate", "exit 0")
    assert "writes nothing for lo" in run(capsys, "fabric_member_info", **options)["member"]["netplan_problem"]
    # By name, since a machine that has netplan has it in a directory that get_bin_path adds to every PATH.
    found = AnsibleModule.get_bin_path
    monkeypatch.setattr(
        AnsibleModule,
        "get_bin_path",
        lambda self, arg, *rest, **named: None if arg == "netplan" else found(self, arg, *rest, **named),
    )
    assert "install netplan.io" in run(capsys, "fabric_member_info", **options)["member"]["netplan_problem"]
    (tmp_path / "stamp").write_text('{"key": "k"}')
    changed = run(capsys, "fabric_member_info", **options, firewall="none")["member"]
    assert (changed["bandwidth"], changed["firewall"]["rules"]) == (None, [])


class Engine:
    """Docker with one running container."""

    def running(self) -> list[dict]:
        return [{"Names": ["/web"], "Image": "nginx", "Id": "1"}]


class NoEngine:
    def running(self) -> list[dict]:
        raise DockerError("no")


@pytest.mark.parametrize(
    ("choice", "enabled", "engine", "containers"),
    [
        ("off", True, Engine, ["web (nginx)"]),
        ("off", True, NoEngine, []),
        ("off", False, Engine, []),
        ("leave", True, Engine, []),
    ],
)
def test_containers_are_named_where_a_reboot_would_end_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str, enabled: bool, engine: type, containers: list[str]
) -> None:
    module = importlib.import_module(f"{MODULES}.fabric_member_info")
    monkeypatch.setattr(module, "read_hotplug", lambda: {"marker": False, "enabled": enabled, "cable": True})
    monkeypatch.setattr(module, "Docker", engine)
    note = tmp_path / "hotplug.json"
    for text, boot in (("", None), ('{"boot_id": "b"}', "b"), ("[", None)):
        note.write_text(text)
        found = module.hotplug(choice, note)
        assert (found["containers"], found["noted_boot"]) == (containers, boot)


def test_member_refuses_garbage(bin_path: Path, capsys: pytest.CaptureFixture) -> None:
    program(bin_path, "ip", "echo Object")
    assert "not JSON" in run(capsys, "fabric_member_info", name="a", host="a")["msg"]


GENERATE = """[ "$1" = "--root-dir" ] && [ -f "$2{path}" ] && echo asked >> {log}"""


@pytest.fixture
def file(tmp_path: Path, bin_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "etc" / "40-cx7.yaml"
    path.parent.mkdir()
    program(bin_path, "netplan", "exit 1")
    program(bin_path, "generate", GENERATE.format(path=path, log=tmp_path / "log"))
    monkeypatch.setattr(f"{MODULES}.fabric_netplan.GENERATORS", [str(bin_path / "generate")])
    return path


CONTENT = "network:\n  version: 2\n"


def arguments(file: Path, **more: object) -> dict:
    return {"path": str(file), "content": CONTENT, **more}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives the file to root")
def test_the_path_of_a_netdev_is_the_one_that_udev_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULES}.fabric_member_info.UDEV", str(tmp_path))
    (tmp_path / "n1").write_text("I:1\nE:ID_NET_DRIVER=mlx5_core\nE:ID_PATH=pci-0002:01:00.0\nE:ID_PATH_TAG=x\n")
    assert fabric_member_info.noted("lo", "ID_PATH") == "pci-0002:01:00.0"
    assert fabric_member_info.noted("lo", "ID_SERIAL") is None
    assert fabric_member_info.driver("lo") == "mlx5_core"


@pytest.mark.parametrize(
    ("device", "path"),
    [
        ("/sys/devices/pci0002:00/0002:00:00.0/0002:01:00.1", "pci-0002:01:00.1"),
        ("/sys/devices/pci0000:00/0000:00:1f.6", "pci-0000:00:1f.6"),
        ("/sys/devices/platform/1c.pcie/pci0000:00/0000:00:00.0/0000:01:00.0", None),
        ("/sys/devices/pci0000:00/0000:00:03.0/virtio0", None),
        ("/sys/class/net/lo/device", None),
    ],
)
def test_where_udev_notes_nothing_the_path_is_that_on_the_pci_bus(device: str, path: str | None) -> None:
    assert fabric_member_info.pci_path(Path(device)) == path


def test_netplan_file_is_asked_for_then_written_once(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture) -> None:
    checked = run(capsys, "fabric_netplan", **arguments(file, _ansible_check_mode=True, _ansible_diff=True))
    assert checked["changed"]
    assert checked["diff"]["after"] == CONTENT
    assert not file.exists()
    written = run(capsys, "fabric_netplan", **arguments(file))
    assert written["changed"]
    assert file.read_text() == CONTENT
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not run(capsys, "fabric_netplan", **arguments(file))["changed"]
    assert (tmp_path / "log").read_text() == "asked\nasked\n"
    assert [path.name for path in file.parent.iterdir()] == ["40-cx7.yaml"]
    file.chmod(0o644)
    assert run(capsys, "fabric_netplan", **arguments(file))["changed"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_netplan_refuses_replaces_nothing(
    file: Path, bin_path: Path, capsys: pytest.CaptureFixture, check_mode: bool
) -> None:
    program(
        bin_path,
        "generate",
        'echo "** WARNING **: too open" >&2; echo >&2; echo "$2/etc/netplan/9.yaml:1:1: Invalid YAML" >&2; exit 78',
    )
    file.write_text("before")
    result = run(capsys, "fabric_netplan", **arguments(file, _ansible_check_mode=check_mode))
    assert result["failed"]
    assert "nothing was changed: /etc/netplan/9.yaml:1:1: Invalid YAML" in result["msg"]
    assert file.read_text() == "before"


PASSES = "echo 'rtt min/avg/max/mdev = 0.1/0.2/0.3/0.1 ms'"


def test_ping_waits_for_an_answer(
    tmp_path: Path, bin_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    program(bin_path, "ip", """echo '[{"lladdr": "3c:6d:66:00:00:02"}]'""")
    program(bin_path, "ping", f"[ -e {tmp_path}/again ] || {{ touch {tmp_path}/again; exit 1; }}; {PASSES}")
    result = run(capsys, "fabric_ping_check", host="spark1", links=[LINK])
    assert result["answers"] == [
        {
            "netdev": "lo",
            "peer": "spark2",
            "peer_address": "192.168.100.11",
            "mac": "3c:6d:66:00:00:02",
            "speed_mbps": None,
            "min_ms": 0.1,
            "avg_ms": 0.2,
            "max_ms": 0.3,
        }
    ]


@pytest.mark.parametrize(
    ("there", "says"),
    [
        (["uverbs0", "rdma_cm"], ""),
        (["rdma_cm"], "/dev/infiniband/uverbs0 is not there"),
        (["uverbs0"], "/dev/infiniband/rdma_cm is not there"),
        ([], "/dev/infiniband/uverbs0 is not there"),
    ],
)
def test_ping_looks_at_the_planned_devices_own_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], says: str
) -> None:
    """rdma_cm is there without any card. /dev/null stands for the device node."""
    module = importlib.import_module(f"{MODULES}.fabric_ping_check")
    place = tmp_path / "class/infiniband_verbs/uverbs0"
    place.mkdir(parents=True)
    (place / "ibdev").write_text("rocep1s0f0\n")
    (place / "dev").write_text("1:3\n")
    (tmp_path / "infiniband").mkdir()
    for name in there:
        (tmp_path / "infiniband" / name).symlink_to("/dev/null")
    monkeypatch.setattr(module.verbs, "SYS", tmp_path)
    monkeypatch.setattr(module.verbs, "DEV", tmp_path)
    found = module.why_unusable("rocep1s0f0")
    assert found.startswith(says) if says else found == ""


def test_ping_names_the_link_that_is_silent(bin_path: Path, capsys: pytest.CaptureFixture) -> None:
    program(bin_path, "ip", "echo '[]'")
    program(bin_path, "ping", f'case "$*" in *100.12*) exit 1;; esac; {PASSES}')
    other = {**LINK, "peer": "spark3", "peer_address": "192.168.100.12"}
    result = run(capsys, "fabric_ping_check", host="spark1", links=[LINK, other], timeout=0)
    assert result["failed"]
    assert "spark1 lo (cage 0, half A) to spark3 (192.168.100.12, cage 0): nothing answers" in result["msg"]
    assert [answer["peer"] for answer in result["answers"]] == ["spark2"]


def ends_of_a_cable() -> dict:
    """A plan of two hosts, both of them this machine."""
    link = {"port": 1, "rdma_device": "roce", "address": "127.0.0.1/8", "peer_address": "127.0.0.1"}
    return {
        "topology": "direct",
        "hosts": {
            "spark1": {"links": [{**link, "netdev": "a", "peer_netdev": "b", "peer": "spark2"}]},
            "spark2": {"links": [{**link, "netdev": "b", "peer_netdev": "a", "peer": "spark1"}]},
        },
    }


IPERF3 = """case "$*" in
*-c*) echo sent >> {log}; echo '{{"end": {{"sum_received": {{"bits_per_second": {bits}}}}}}}';;
*) exit 0;;
esac"""


def test_bandwidth_is_measured_once_for_a_key_and_judged_each_time(
    tmp_path: Path, bin_path: Path, capsys: pytest.CaptureFixture
) -> None:
    log, stamp = tmp_path / "log", tmp_path / "new" / "bandwidth.json"
    program(bin_path, "iperf3", IPERF3.format(log=log, bits=190e9))
    options = {"host": "spark1", "plan": ends_of_a_cable(), "tool": "iperf3", "stamp": str(stamp), "seconds": 1}
    dry = run(capsys, "fabric_bandwidth", **options, key="k", min_gbps=175, _ansible_check_mode=True)
    assert (dry["changed"], dry["measured"], stamp.exists()) == (True, [], False)
    first = run(capsys, "fabric_bandwidth", **options, key="k", min_gbps=175)
    assert first["tool"] == "iperf3"
    assert first["changed"]
    assert first["measured"] == [{"peer": "spark2", "gbps": 190.0, "links": {"a": 190.0}, "errors": {}}]
    again = run(capsys, "fabric_bandwidth", **options, key="k", min_gbps=175)
    assert (again["changed"], again["measured"]) == (False, first["measured"])
    assert log.read_text() == "sent\n"
    assert run(capsys, "fabric_bandwidth", **options, key="k", min_gbps=175, again=True)["changed"]
    assert run(capsys, "fabric_bandwidth", **options, key="other", min_gbps=175)["changed"]
    assert log.read_text() == "sent\n" * 3
    slow = run(capsys, "fabric_bandwidth", **options, key="other", min_gbps=2000)
    assert slow["failed"]
    assert "The fabric is too slow: spark1 sends 190.0 Gb/s to spark2" in slow["msg"]
    assert not stamp.exists(), "it is measured again by the next run"
