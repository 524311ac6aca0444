# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a host: its files, programs and processes, below a directory that stands for it."""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import (
    containers,
    facts,
    models,
    network,
    serving,
    system,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError

UUID = "GPU-e793e0a4-fd41-dcd8-a833-3127370a6779"


def me() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- system ----------------------------------------------------------------------------------------------------------


def test_who_a_host_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "nvidia")
    write(tmp_path / "etc/group", "root:x:0:\nsudo:x:27:alice,nvidia\ndocker:x:999:alice\n")
    write(tmp_path / "etc/dgx-release", 'DGX_OTA_VERSION="7.3.1"\nDGX_SERIAL_NUMBER="12345"\nX="1"\n')
    write(tmp_path / "etc/machine-id", "0" * 32 + "\n")
    write(tmp_path / "proc/cmdline", "quiet kho=off password=hunter22\n")
    write(tmp_path / "proc/uptime", "12.5 30.0\n")
    write(tmp_path / "sys/class/dmi/id/product_name", "NVIDIA_DGX_Spark\n")
    found = system.identity(tmp_path / "etc", tmp_path / "sys", tmp_path / "proc")
    assert (found["user"], found["groups"], found["machine_id"]) == ("nvidia", ["sudo"], "0" * 32)
    assert found["release"] == {"DGX_OTA_VERSION": "7.3.1"}, "no serial number is read"
    assert (found["product"], found["uptime_s"]) == ("NVIDIA_DGX_Spark", 12.5)
    assert "hunter22" not in found["command_line"]


def test_a_host_that_is_no_spark_is_read_all_the_same(tmp_path: Path) -> None:
    found = system.identity(tmp_path, tmp_path, tmp_path)
    assert (found["release"], found["product"], found["machine_id"], found["uptime_s"]) == ({}, "", "", 0.0)


def says(monkeypatch: pytest.MonkeyPatch, module: Any, answers: dict[str, tuple[int, str]]) -> list[list[str]]:
    """Have programs answer by their name. Returns what is asked."""
    asked: list[list[str]] = []

    def run(argv: Any, seconds: float = 15) -> tuple[int, str]:
        asked.append(list(argv))
        return answers.get(argv[0], (127, ""))

    monkeypatch.setattr(module, "run", run)
    return asked


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ((0, "NTP=yes\nCanNTP=yes\nNTPSynchronized=yes\n"), (True, True, True)),
        ((0, "NTP=no\nCanNTP=no\nNTPSynchronized=no\n"), (False, False, False)),
    ],
)
def test_the_clock(monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], found: tuple[bool, ...]) -> None:
    says(monkeypatch, system, {"timedatectl": answer})
    assert tuple(system.clock().values()) == found


@pytest.mark.parametrize("answer", [(127, ""), (1, "Failed to connect to bus"), (0, "Timezone=UTC\n")])
def test_a_clock_that_nobody_tells_is_unread(monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str]) -> None:
    says(monkeypatch, system, {"timedatectl": answer})
    with pytest.raises(UnreadError, match="timedatectl does not tell"):
        system.clock()


def test_whether_shared_memory_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, system, {"busctl": (0, "b true\n")})
    assert system.remove_ipc()
    says(monkeypatch, system, {"busctl": (0, "b false\n")})
    assert not system.remove_ipc()
    says(monkeypatch, system, {"busctl": (1, "no bus")})
    with pytest.raises(UnreadError):
        system.remove_ipc()


def test_fingerprints_of_host_keys(tmp_path: Path) -> None:
    write(tmp_path / "ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA root@spark\n")
    write(tmp_path / "ssh_host_ed25519_key", "a private key, which is not opened")
    (one,) = system.ssh_keys(tmp_path).items()
    assert one[0] == "ssh_host_ed25519_key.pub"
    assert re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", one[1])


def test_memory(tmp_path: Path) -> None:
    text = "MemTotal: 2097152 kB\nMemFree: 1048576 kB\nMemAvailable: 1572864 kB\nHugePages_Total: 0\n"
    path = write(tmp_path / "meminfo", text)
    assert system.memory(str(path)) == {
        "total_mib": 2048,
        "free_mib": 1024,
        "available_mib": 1536,
        "swap_total_mib": 0,
        "swap_free_mib": 0,
    }
    with pytest.raises(UnreadError, match="does not tell the memory"):
        system.memory(str(tmp_path / "none"))


def test_a_gpu_that_works() -> None:
    rows = {
        "--query-gpu=index": (0, f"0, {UUID}, NVIDIA GB10, 580.95.05, 12.1, [N/A]\n"),
        "--query-gpu=utilization": (0, "96, 20.52, 61, 2411, 3003\n"),
        "--query-compute-apps": (0, "77, /usr/bin/python3 --token hf_x\n"),
    }

    def ask(argv: Any) -> tuple[int, str]:
        return next(answer for start, answer in rows.items() if argv[1].startswith(start))

    found = system.gpu(ask)
    assert (found["problem"], found["gpus"][0]["compute_capability"]) == ("", "12.1")
    assert (found["live"]["utilization"], found["live"]["power_w"]) == (96.0, 20.52)
    assert found["programs"] == [{"pid": 77, "name": "python3"}], "no arguments, which may hold secrets"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((127, ""), "nvidia-smi is not installed"),
        ((9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."), "driver is not loaded"),
        ((15, "Unable to determine the device handle for GPU0: GPU is lost."), "off the bus"),
        ((6, "No devices were found"), "finds no GPU"),
    ],
)
def test_a_gpu_that_does_not_answer(answer: tuple[int, str], problem: str) -> None:
    found = system.gpu(lambda _argv: answer)
    assert problem in found["problem"]
    assert (found["gpus"], found["live"], found["programs"]) == ([], {}, [])


def test_locks_and_leftovers_of_dpkg(tmp_path: Path) -> None:
    lock = write(tmp_path / "dpkg/lock-frontend", "")
    locks = write(tmp_path / "locks", f"1: POSIX  ADVISORY  WRITE 99 08:02:{lock.stat().st_ino} 0 EOF\n")
    (tmp_path / "dpkg/updates").mkdir()
    assert system.dpkg(tmp_path / "dpkg", locks) == {"locked": True, "interrupted": False}
    locks.write_text("1: POSIX  ADVISORY  WRITE 99 08:02:1 0 EOF\n")
    write(tmp_path / "dpkg/updates/0001", "")
    assert system.dpkg(tmp_path / "dpkg", locks) == {"locked": False, "interrupted": True}


def test_disks(tmp_path: Path) -> None:
    found = system.disks({"here": str(tmp_path), "later": str(tmp_path / "not/yet")})
    assert found["here"]["device"] == found["later"]["device"] == tmp_path.stat().st_dev
    assert 0 < found["here"]["free_bytes"] <= found["here"]["total_bytes"]
    assert 0 <= found["here"]["free_inodes"] <= 1


def test_who_listens() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        found = system.ports([port], {})
        assert found[0]["addresses"] == ["127.0.0.1"]
        assert f"(process {os.getpid()})" in found[0]["holders"][0]
    assert system.ports([port], {})[0] == {"port": port, "addresses": [], "holders": [], "containers": []}


def test_rules_that_only_root_reads_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.ufw, "is_enabled", lambda: True)
    monkeypatch.setattr(system, "is_root", lambda: False)
    assert system.firewall() == {"installed": True, "enabled": True, "rules": None}


def test_whether_a_place_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        there = f"127.0.0.1:{one.getsockname()[1]}"
        assert system.reach([there]) == {there: ""}
    found = system.reach([there, "nonsense", "x:y"], seconds=0.5)
    assert all(found[name] for name in (there, "nonsense", "x:y"))
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    with pytest.raises(UnreadError, match="proxy"):
        system.reach([there])


def test_of_the_kernels_log_what_a_check_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "is_root", lambda: True)
    monkeypatch.setattr(system, "tool", lambda _name: "/bin/journalctl")
    log = "usb 1-1: new device\nNVRM: Xid (PCI:000f:01:00): 79\nOut of memory: Killed process 7 hf_abcdefghijklmnopqr\n"
    says(monkeypatch, system, {"journalctl": (0, log)})
    found = system.kernel_log()
    assert len(found) == 2
    assert "hf_abcdefghijklmnopqr" not in "".join(found)


def test_the_kernels_log_is_unread_for_who_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else journalctl shows nothing, with status 0."""
    monkeypatch.setattr(system, "is_root", lambda: False)
    monkeypatch.setattr(system, "_own_groups", lambda: ["users"])
    with pytest.raises(UnreadError, match="group adm"):
        system.kernel_log()


def test_what_a_gpu_does_not_tell_is_none() -> None:
    assert system.live_of("[N/A], [Not Supported], 40, 208, 3003") == {
        "utilization": None,
        "power_w": None,
        "temperature_c": 40.0,
        "clock_mhz": 208.0,
        "max_clock_mhz": 3003.0,
    }
    assert set(system.live_of("").values()) == {None}


# --- network ---------------------------------------------------------------------------------------------------------

LOOPBACK = {"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}
LEASED = {"family": "inet", "local": "192.168.100.1", "prefixlen": 24, "scope": "global", "dynamic": True}
ADDRESSES = json.dumps(
    [{}, {"ifname": "lo", "addr_info": [LOOPBACK]}, {"ifname": "enp1s0f0np0", "addr_info": [LEASED]}]
)


def test_addresses_and_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, network, {"ip": (0, ADDRESSES)})
    about = {"netdev": "enp1s0f0np0", "address": "192.168.100.1", "prefix": 24, "dynamic": True}
    assert network.addresses() == [{**about, "inner": False, "carrier": True}]
    says(monkeypatch, network, {"ip": (1, "no")})
    with pytest.raises(UnreadError, match="status 1"):
        network.addresses()


def test_a_bridge_within_the_host_and_one_that_leads_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libvirt, LXD, Multipass and others make one on each host, by whatever name, with one address everywhere."""
    told = [
        {"ifname": name, "flags": flags, "addr_info": [LEASED]}
        for name, flags in (("mpqemubr0", ["UP", "LOWER_UP"]), ("br0", ["UP", "LOWER_UP"]), ("eth1", ["NO-CARRIER"]))
    ]
    says(monkeypatch, network, {"ip": (0, json.dumps(told))})
    net = tmp_path / "class/net"
    for bridge, member in (("mpqemubr0", "tap0"), ("br0", "enp9s0")):
        (net / bridge / "bridge").mkdir(parents=True)
        (net / bridge / "brif" / member).mkdir(parents=True)
    (net / "enp9s0" / "device").mkdir(parents=True)
    (net / "tap0").mkdir()
    found = {one["netdev"]: (one["inner"], one["carrier"]) for one in network.addresses(str(tmp_path))}
    assert found == {"mpqemubr0": (True, True), "br0": (False, True), "eth1": (False, False)}


def test_links_with_their_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, network, {"ip": (0, ADDRESSES)})
    device = tmp_path / "class/infiniband/rocep1s0f0"
    write(device / "ports/1/gid_attrs/ndevs/0", "enp1s0f0np0\n")
    write(device / "ports/1/counters/symbol_error", "7\n")
    write(device / "ports/1/hw_counters/out_of_sequence", "0\n")
    write(device / "fw_ver", "28.45.4028\n")
    net = tmp_path / "class/net/enp1s0f0np0"
    told = {"carrier": "1", "speed": "200000", "mtu": "9000", "flags": "0x1003", "carrier_changes": "5"}
    for name, value in told.items():
        write(net / name, f"{value}\n")
    found = network.links(str(tmp_path))
    assert [one["netdev"] for one in found] == ["enp1s0f0np0"]
    one = found[0]
    assert (one["carrier"], one["speed_mbps"], one["mtu"], one["ipv4"]) == (True, 200000, 9000, ["192.168.100.1/24"])
    assert (one["errors"], one["carrier_changes"], one["firmware"]) == ({"symbol_error": 7}, 5, "28.45.4028")


def test_a_host_without_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, network, {"ip": (0, "[]")})
    assert network.links(str(tmp_path)) == []
    assert network.card([])["verbs"] == ""


def test_netplan_by_names_and_modes_and_not_by_content(tmp_path: Path) -> None:
    write(tmp_path / "90-wifi.yaml", "password: hunter22").chmod(0o644)
    write(tmp_path / "x.conf", "")
    assert network.netplan(tmp_path) == [{"path": str(tmp_path / "90-wifi.yaml"), "mode": "0644", "owner": os.getuid()}]
    assert network.netplan(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"key": "k", "tool": "x", "measured": [{"gbps": 13}]}', {"tool": "x", "measured": [{"gbps": 13}]}),
        ('{"key": ', {}),
        ("[]", {}),
    ],
)
def test_what_was_measured(tmp_path: Path, text: str, found: dict[str, Any]) -> None:
    assert network.measured(str(write(tmp_path / "bandwidth.json", text))) == found
    assert network.measured(str(tmp_path / "none")) == {}


def test_a_pending_rollback(tmp_path: Path) -> None:
    assert not network.rollback_pending(str(tmp_path))
    write(tmp_path / "dgx-spark-fabric-rollback.timer", "")
    assert network.rollback_pending(str(tmp_path))


def test_a_cdi_specification_of_another_driver(tmp_path: Path) -> None:
    there = write(tmp_path / "lib/libcuda.so.1", "")
    spec = f"""containerEdits:
  mounts:
  - containerPath: /x
    hostPath: {there}
  - hostPath: "{tmp_path}/lib/libcuda.so.580.1"
"""
    write(tmp_path / "cdi/nvidia.yaml", spec)
    write(tmp_path / "cdi/other.yaml", "hostPath: /none")
    found = network.cdi([str(tmp_path / "cdi"), str(tmp_path / "none")])
    assert found == [{"path": str(tmp_path / "cdi/nvidia.yaml"), "lacking": [f"{tmp_path}/lib/libcuda.so.580.1"]}]


# --- models ----------------------------------------------------------------------------------------------------------


def test_what_a_cache_holds_and_what_is_wrong_there(tmp_path: Path) -> None:
    whole, poor = (tmp_path / f"hub/models--lab--{name}" for name in ("whole", "poor"))
    blob = write(whole / "blobs/1", "x")
    for place in (whole, poor):
        (place / "snapshots/abc").mkdir(parents=True)
    (whole / "snapshots/abc/a.safetensors").symlink_to(blob)
    write(whole / "refs/main", "abc\n")
    (poor / "snapshots/abc/a.safetensors").symlink_to(poor / "blobs/gone")
    partial = write(poor / "blobs/2.incomplete", "half")
    os.utime(partial, (time.time() - 9000,) * 2)
    found = {one["repo"]: one for one in models.cached(tmp_path, me())}
    whole_one = found["lab/whole"]
    assert (whole_one["refs"], whole_one["commits"], whole_one["broken"]) == ({"main": "abc"}, ["abc"], [])
    assert (found["lab/poor"]["refs"], found["lab/poor"]["broken"]) == ({}, ["snapshots/abc/a.safetensors"])
    assert (found["lab/poor"]["partial_bytes"], found["lab/poor"]["partial_age_s"] // 100) == (4, 90)
    assert models.cached(tmp_path, "nobody")[0]["foreign"], "whose files they are not"
    assert models.cached(tmp_path, "nobody")[0]["whose"] == "nobody"
    assert [one["foreign"] for one in found.values()] == [[], []]
    with pytest.raises(UnreadError, match="knows no user no-such-user"):
        models.cached(tmp_path, "no-such-user")


@pytest.mark.parametrize(
    ("notes", "pinned"),
    [
        (None, False),  # not ours
        ('{"verified": {}, "refs": {"main": "abc"}}', False),  # whose name somebody took away
        ('{"verified": {}, "refs": {}}', True),
    ],
)
def test_a_model_that_was_brought_by_its_commit(tmp_path: Path, notes: str | None, pinned: bool) -> None:
    (tmp_path / "hub/models--lab--m/snapshots/abc").mkdir(parents=True)
    if notes is not None:
        write(tmp_path / ".dgx-spark/models--lab--m.json", notes)
    assert models.cached(tmp_path, me())[0]["pinned"] is pinned


@pytest.mark.parametrize("owner", ["", "nobody"])
def test_whose_cache_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, owner: str) -> None:
    monkeypatch.setattr(facts.system, "home_of", lambda user: str(tmp_path / user))
    asked = facts.Asked(cache_dir="~/hf", cache_owner=owner)
    (tmp_path / (owner or system.login_user()) / "hf/hub/models--lab--m").mkdir(parents=True)
    (one,) = facts._models(asked)
    assert one["whose"] == owner or system.login_user()


def test_a_cache_too_large_to_look_through_is_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "hub/models--lab--m/blobs/1", "x")
    monkeypatch.setattr(models, "MOST", 2)
    with pytest.raises(OSError, match="more than can be looked through"):
        models.cached(tmp_path, "root")


# --- ranks -----------------------------------------------------------------------------------------------------------


def test_what_a_process_does_without_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "is_root", lambda: True)
    says(monkeypatch, serving, {"nvidia-smi": (0, "96, 20, 60, 2400, 3003\n")})
    found = serving.ranks({"trtllm": [os.getpid(), 2**22 + 1]}, seconds=0.05)
    assert found["gpu"][0]["power_w"] == 20.0
    (one,) = found["processes"]
    assert (one["pid"], one["container"], one["rank"]) == (os.getpid(), "trtllm", None)
    assert one["state"] in "RSD"
    assert one["memory_mib"] > 0
    assert "cmdline" not in one


def test_a_rank_is_known_by_what_mpi_tells_it(tmp_path: Path) -> None:
    place = tmp_path / "7"
    fields = ["S", "1", *["0"] * 9, "250", "50", *["0"] * 4, "90", "0", "100", "4096000", "500", "0"]
    write(place / "stat", f"7 (py (x) thon) {' '.join(fields)}\n")
    write(place / "environ", "HF_TOKEN=hf_abcdefghijklmnopqr\0OMPI_COMM_WORLD_RANK=1\0")
    write(place / "io", "rchar: 1048576\nwchar: 0\nread_bytes: 4096\n")
    write(place / "wchan", "nvidia_ioctl")
    found = serving.process(tmp_path, 7)
    assert found is not None
    assert (found["name"], found["state"], found["rank"], found["ticks"]) == ("py (x) thon", "S", 1, 300)
    assert (found["threads"], found["read"], found["wchan"]) == (90, 1048576, "nvidia_ioctl")
    assert found["fetched"] == 4096
    assert "hf_abcdefghijklmnopqr" not in str(found)
    assert serving.process(tmp_path, 8) is None


def test_a_file_that_is_mapped_is_read_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages come by faults, which only read_bytes counts."""
    about = {"name": "x", "state": "D", "wchan": "", "rank": 0, "threads": 1, "memory_mib": 1, "ticks": 0}
    looks = iter([{**about, "read": 9 << 30, "fetched": 0}, {**about, "read": 9 << 30, "fetched": 64 << 20}])
    monkeypatch.setattr(serving, "is_root", lambda: True)
    monkeypatch.setattr(serving, "process", lambda _proc, _pid: next(looks))
    says(monkeypatch, serving, {})
    assert serving.ranks({"c": [7]}, seconds=0.01)["processes"][0]["read_mib"] == 64.0


def test_without_root_nobody_looks_into_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "is_root", lambda: False)
    with pytest.raises(UnreadError, match="root alone"):
        serving.ranks({})


@pytest.fixture
def ras() -> Iterator[Any]:
    """SIMULATED: NCCL's RAS, which answers a question and closes."""
    answers: list[bytes] = []
    asked: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            connection, _address = server.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(answer)

    yield type("Ras", (), {"answers": answers, "asked": asked, "port": server.getsockname()[1], "serve": serve})
    server.close()


def test_nccl_is_asked_twice_and_changes_nothing(ras: Any) -> None:
    ras.answers += [b"OK\nNCCL version 2.29.2 one", b"OK\nNCCL version 2.29.2 two"]
    threading.Thread(target=ras.serve, daemon=True).start()
    assert serving.ras([ras.port], seconds=0, port=ras.port) == [one.decode() for one in ras.answers]
    assert ras.asked == [b"timeout 4\nverbose status\n"] * 2
    assert serving.ras([], port=ras.port) == [], "nobody listens there"


def test_another_program_on_that_port_is_not_nccl(ras: Any) -> None:
    ras.answers += [b"HTTP/1.1 400 Bad Request\r\n"]
    threading.Thread(target=ras.serve, daemon=True).start()
    with pytest.raises(UnreadError, match="is not NCCL's RAS"):
        serving.ras([ras.port], seconds=0, port=ras.port)


def test_py_spy_only_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "is_root", lambda: True)
    monkeypatch.setattr(serving, "tool", lambda _name: None)
    with pytest.raises(UnreadError, match="py-spy is not on this host"):
        serving.stacks([1])
    monkeypatch.setattr(serving, "tool", lambda _name: "/usr/bin/py-spy")
    dump = 'Process 7: python3 --secret-of-a-name\nPython v3.13\n\nThread 1 (idle): "MainThread"\n    recv (x.py:1)\n'
    asked = says(monkeypatch, serving, {"py-spy": (0, dump)})
    found = serving.stacks([7])["7"]
    assert "recv" in found
    assert "secret-of-a-name" not in found, "no arguments"
    assert asked == [["py-spy", "dump", "--nonblocking", "--pid", "7"]], "it does not stop the process"
    says(monkeypatch, serving, {"py-spy": (1, "No such process")})
    assert "status 1: No such process" in serving.stacks([7])["7"]
    monkeypatch.setattr(serving, "is_root", lambda: False)
    with pytest.raises(UnreadError, match="root alone"):
        serving.stacks([7])


def test_servings_that_are_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nUnitFileState=enabled\n"
    monkeypatch.setattr(containers, "run", lambda _argv: (0, said))
    write(
        tmp_path / "etc/trtllm-vlm/cluster.json",
        '{"engine": {"name": "trtllm"}, "nodes": [{"name": "spark1"}, {"name": "spark2"}],'
        ' "api_listen": "127.0.0.1:8356", "ssh_port": 2234,'
        ' "limits": {"require_rdma": true, "memory_need_mib": 5, "memory_reserve_mib": 2}}',
    )
    write(tmp_path / "etc/trtllm-vlm/node.json", '{"rank": 0}')
    write(
        tmp_path / "lib/trtllm-vlm/state.json",
        '{"phase": "gave up", "reason": "HF_TOKEN=hf_abcdefghijklmnopqr", "at": 5}',
    )
    (one,) = serving.configured(str(tmp_path / "etc"), str(tmp_path / "lib"))
    assert (one["name"], one["instance"], one["phase"], one["rank"]) == ("dgx-spark-trtllm-vlm", "vlm", "gave up", 0)
    assert (one["nodes"], one["require_rdma"], one["unit"]["active"]) == (["spark1", "spark2"], True, "inactive")
    assert "hf_abcdefghijklmnopqr" not in str(one)
    assert serving.configured(str(tmp_path / "none"), str(tmp_path / "none")) == []
