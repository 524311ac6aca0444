# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollback program: what is captured, and how it is restored."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "roles" / "cx7_network" / "files" / "fabric.py"


@pytest.fixture
def fabric(tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fabric", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT = tmp_path
    return module


def state(mtu: int = 1500, up: bool = True, addresses: tuple = ()) -> dict:
    return {"mtu": mtu, "up": up, "addresses": list(addresses)}


def test_what_is_captured_of_netdevs(fabric: ModuleType) -> None:
    seen = fabric.netdev_states(
        [
            {
                "ifname": "enp1s0f0np0",
                "flags": ["BROADCAST", "UP"],
                "mtu": 9000,
                "addr_info": [
                    {"family": "inet", "local": "10.0.0.1", "prefixlen": 24, "scope": "global"},
                    {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"},
                    {"family": "inet", "local": "169.254.1.1", "prefixlen": 16, "scope": "link"},
                ],
            }
        ]
    )
    assert seen == {"enp1s0f0np0": state(9000, True, ("10.0.0.1/24", "169.254.1.1/16"))}


def test_steps_back_are_what_differs(fabric: ModuleType) -> None:
    before = {"a": state(1500, True, ("10.0.0.1/24",)), "b": state(up=False), "c": state(), "gone": state()}
    after = {"a": state(9000, True, ("192.168.100.10/24",)), "b": state(), "c": state(), "new": state()}
    assert [" ".join(step) for step in fabric.restoring_commands(before, after, ["a", "b", "c", "gone", "new"])] == [
        "link set a mtu 1500",
        "addr del 192.168.100.10/24 dev a",
        "addr add 10.0.0.1/24 dev a",
        "link set b down",
    ]
    assert fabric.restoring_commands(before, before, list(before)) == []


def test_files_come_back_byte_for_byte_and_new_ones_go(fabric: ModuleType, tmp_path: Path) -> None:
    kept, new = tmp_path / "kept", tmp_path / "new"
    kept.write_bytes(b"\\xff before\\n")
    kept.chmod(0o640)
    files = {f"/{path.name}": fabric.file_state(path) for path in (kept, new)}
    kept.write_text("after")
    kept.chmod(0o600)
    new.write_text("after")
    fabric.restore_files(files)
    assert kept.read_bytes() == b"\\xff before\\n"
    assert kept.stat().st_mode & 0o777 == 0o640
    assert not new.exists()
    fabric.restore_files(files)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_copies_of_our_profiles_go_and_those_of_others_stay(
    fabric: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """'nmcli connection modify netplan-a' leaves one with an address, which comes up once netplan's is gone."""
    profiles = tmp_path / "etc/NetworkManager/system-connections"
    assert fabric.changed_profiles(["a", "b"]) == []
    (profiles / "directory.nmconnection").mkdir(parents=True)
    for name, said in (("netplan-a", "netplan-a"), ("netplan-b", "netplan-b"), ("c", "Wired"), ("d", "netplan-enP7s7")):
        (profiles / f"{name}.nmconnection").write_text(f"[connection]\nid={said}\n\n[ipv4]\naddress1=10.0.0.1/24\n")
    assert fabric.changed_profiles(["a", "b"]) == ["netplan-a.nmconnection", "netplan-b.nmconnection"]
    for name in ("restore_netdevs", "restore_ipv6"):
        monkeypatch.setattr(fabric, name, lambda *_state, **_only: 0)
    monkeypatch.setattr(fabric, "activate", lambda _netdevs: None)
    monkeypatch.setattr(fabric.time, "sleep", lambda _seconds: None)
    before = {"fabric": ["a", "b"], "arp": {}, "profiles": ["netplan-b.nmconnection"]}
    for _time in range(2):
        fabric.restore(before, True)
        left = [path.name for path in sorted(profiles.iterdir()) if path.is_file()]
        assert left == ["c.nmconnection", "d.nmconnection", "netplan-b.nmconnection"]
    fabric.restore({"fabric": ["a", "b"], "arp": {}}, True)  # as an older version of the program captured it
    assert not (profiles / "netplan-b.nmconnection").exists()


def test_an_mtu_that_no_file_sets_any_more_is_set_back(fabric: ModuleType) -> None:
    """netplan 1.1.2 and NetworkManager 1.52 leave it at 9000: what counts is what is, not what a file says."""
    before, now = {"a": state(1500)}, {"a": state(9000)}
    assert fabric.restoring_commands(before, now, ["a"]) == [["link", "set", "a", "mtu", "1500"]]


def test_only_what_is_lost_outside_the_fabric_counts(fabric: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {
        "fabric": ["a"],
        "netdevs": {"a": state(addresses=("10.0.0.1/24",)), "m": state(addresses=("10.1.0.1/24",))},
        "routes": ["dst 10.0.0.0/24 dev a", "dst default gateway 10.1.0.254 dev m"],
    }
    routes = [{"dst": "default", "gateway": "10.1.0.254", "dev": "m"}]
    info = {"family": "inet", "local": "10.1.0.1", "prefixlen": 24, "scope": "global"}
    netdevs = [{"ifname": "m", "flags": ["UP"], "mtu": 1500, "addr_info": [info]}]
    monkeypatch.setattr(fabric, "ip", lambda *words: routes if "route" in words else netdevs)
    assert fabric.missing(before) == []
    netdevs[0]["addr_info"], routes = [], []
    assert fabric.missing(before) == ["10.1.0.1/24 on m", "dst default gateway 10.1.0.254 dev m"]


def test_the_renderer_is_who_netplan_told(fabric: ModuleType, tmp_path: Path) -> None:
    assert fabric.renderer_of("a") == ""
    network = tmp_path / "run/systemd/network/10-netplan-a.network"
    network.parent.mkdir(parents=True)
    network.touch()
    assert fabric.renderer_of("a") == "networkd"
    profile = tmp_path / "run/NetworkManager/system-connections/netplan-b.nmconnection"
    profile.parent.mkdir(parents=True)
    profile.touch()
    assert fabric.renderer_of("b") == "NetworkManager"


def test_a_first_change_that_was_taken_back_was_none(fabric: ModuleType, tmp_path: Path) -> None:
    first, last = tmp_path / "first.json", tmp_path / "last.json"
    first.write_text('{"routes": []}')
    last.write_text('{"routes": ["default"], "files": {}}')
    fabric.forget_first(last)
    fabric.forget_first(first)
    assert first.exists()
    last.write_text('{"routes": [], "files": {"/etc/x": null}}')
    fabric.forget_first(last)
    assert not first.exists()


def test_the_first_state_is_captured_once_and_without_the_files(
    fabric: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger keeps the original files; a rollback needs those of before the last change."""
    states = iter([{"routes": ["a"], "files": {"/x": None}}, {"routes": ["b"], "files": {"/x": {"content": ""}}}])
    monkeypatch.setattr(fabric, "capture", lambda _netdevs, _files: next(states))
    waited: list[list[str]] = []
    monkeypatch.setattr(fabric, "wait_for", lambda units, _ready, _seconds: waited.append(units))
    for routes in ("a", "b"):
        fabric.do(argparse.Namespace(command="capture", directory=tmp_path, netdev=[], file=[]))
        assert json.loads((tmp_path / "first.json").read_text()) == {"routes": ["a"]}
        last = json.loads((tmp_path / "last.json").read_text())
        assert (last["routes"], list(last["files"])) == ([routes], ["/x"])
    assert waited[0] == ["dgx-spark-fabric-rollback.timer", "dgx-spark-fabric-way-back.timer"]


def test_ipv6_settings_come_back_as_they_were_captured(fabric: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "proc/sys/net/ipv6/conf/enp1"
    folder.mkdir(parents=True)
    for name in ("accept_ra", "disable_ipv6"):
        (folder / name).write_text("0\n")
    captured = {netdev: fabric.ipv6_settings(netdev) for netdev in ("enp1", "gone")}
    assert captured == {"enp1": {"accept_ra": "0", "disable_ipv6": "0"}, "gone": {}}
    (folder / "disable_ipv6").write_text("1\n")
    fabric.restore_ipv6({**captured, "gone": captured["enp1"]})
    assert fabric.ipv6_settings("enp1") == captured["enp1"]
    assert not (folder.parent / "gone").exists()


def test_a_late_confirmation_is_refused(fabric: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"show": "waiting\n", "is-active": "inactive\n"}
    monkeypatch.setattr(fabric, "run", lambda *words, must=True: answers.get(words[1], ""))
    fabric.confirm()
    answers["show"] = "running\n"
    with pytest.raises(OSError, match="was not confirmed in time"):
        fabric.confirm()
    answers.update({"show": "waiting\n", "is-active": "activating\n"})
    with pytest.raises(OSError, match="was not confirmed in time"):
        fabric.confirm()


def test_a_rollback_stops_both_timers_and_needs_no_files(
    fabric: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(fabric, "run", lambda *words, must=True: ran.append(words) or "")
    restored: list[tuple[object, bool]] = []
    monkeypatch.setattr(fabric, "restore", lambda state, fabric_only: restored.append((state, fabric_only)))
    state = tmp_path / "first.json"
    state.write_text('{"routes": []}')
    fabric.do(argparse.Namespace(command="restore", state=state, fabric_only=True))
    assert restored == [({"routes": []}, True)]
    assert [words[-1] for words in ran] == ["dgx-spark-fabric-rollback.timer", "dgx-spark-fabric-way-back.timer"]
