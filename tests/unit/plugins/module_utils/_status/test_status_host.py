# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a Spark: its files, containers, units, GPU and links, whatever any of them says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Sequence

import damaged
import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import bounded
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import NvidiaSmiError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._status import gpu, host
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GB10 = "0, 580.159.03, 36, 3.42, 208, 3003, 0, P8, NVIDIA GB10"
#: systemd 255's answer for a unit that runs, one that is not there, and one that was ended
UNITS = """\
NRestarts=2
Result=success
Id=a.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
ActiveEnterTimestampMonotonic=4000000

NRestarts=0
Result=success
Id=b.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
ActiveEnterTimestampMonotonic=0

NRestarts=5
Result=exit-code
Id=c.service
LoadState=loaded
ActiveState=failed
SubState=failed
UnitFileState=enabled
ActiveEnterTimestampMonotonic=4000000
"""


# --- the GPU ---------------------------------------------------------------------------------------------------------


def test_a_gb10_tells_temperature_power_and_clock() -> None:
    assert gpu.read_answer(0, f"{GB10}\n", "") == [
        {
            "name": "NVIDIA GB10",
            "driver": "580.159.03",
            "temperature_c": 36.0,
            "power_w": 3.42,
            "clock_mhz": 208.0,
            "clock_max_mhz": 3003.0,
            "used": 0.0,
            "pstate": "P8",
        }
    ]


@pytest.mark.parametrize(
    ("row", "field", "value"),
    [
        ("0, 580.1, [N/A], 3.42, 208, 3003, 0, P8, x", "temperature_c", None),
        ("0, 580.1, 0, 3.42, 208, 3003, 0, P8, x", "temperature_c", None),
        ("0, 580.1, 36, [Not Supported], 208, 3003, 0, P8, x", "power_w", None),
        ("0, 580.1, 36, 0.00, 208, 3003, 0, P8, x", "power_w", None),
        ("0, 580.1, 36, 3.42, [Unknown Error], 3003, 0, P8, x", "clock_mhz", None),
        ("0, 580.1, 36, 3.42, 208, 3003, [N/A], P8, x", "used", None),
        ("0, 580.1, 36, 3.42, 208, 3003, 101, P8, x", "used", None),
        ("0, 580.1, 36, 3.42, 208, 3003, 96, P0, x", "used", 0.96),
        ("0, 580.1, 36, 3.42, 208, 3003, 96, [N/A], x", "pstate", None),
        ("0, 580.1, 36, 3.42, 208, 3003, 96, P0, one, with commas", "name", "one, with commas"),
    ],
)
def test_what_a_gpu_does_not_tell_is_null_and_never_0(row: str, field: str, value: object) -> None:
    assert gpu.read_answer(0, row, "")[0][field] == value


@pytest.mark.parametrize(
    ("code", "out", "err", "says"),
    [
        (127, "", "", "install the NVIDIA driver"),
        (9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "", "modprobe nvidia"),
        (15, "Unable to determine the device handle for GPU0: GPU is lost.", "", "fallen off the bus"),
        (6, "No devices were found", "", "finds no GPU"),
        (0, "", "", "finds no GPU"),
        (0, "no row at all", "", "run it by hand"),
        (2, 'Field "clocks.sm" is not a valid field to query.', "", "R510"),
    ],
)
def test_a_gpu_that_fails_is_explained(code: int, out: str, err: str, says: str) -> None:
    with pytest.raises(NvidiaSmiError, match=says):
        gpu.read_answer(code, out, err)


def test_a_warning_above_the_rows_is_no_row() -> None:
    found = gpu.read_answer(14, f"WARNING: infoROM is corrupted at gpu 000F:01:00.0\n{GB10}\n", "")
    assert [one["name"] for one in found] == ["NVIDIA GB10"]


@given(st.integers(0, 20), st.one_of(st.text(), st.lists(st.text(), min_size=9, max_size=9).map(", ".join)))
def test_whatever_nvidia_smi_prints_is_read_or_explained(code: int, out: str) -> None:
    try:
        found = gpu.read_answer(code, out, "")
    except NvidiaSmiError:
        return
    assert json.dumps(found, allow_nan=False)


# --- memory, units, Docker -------------------------------------------------------------------------------------------


def test_memory_that_is_not_told_is_null() -> None:
    text = "MemTotal:       125514316 kB\nMemAvailable:   110000000 kB\nSwapTotal: 16777212 kB\nSwapFree: 16777212 kB\n"
    assert host.memory_of(text) == {"total_mib": 122572, "available_mib": 107421, "swap_used_mib": 0}
    assert host.memory_of("nothing") == {"total_mib": None, "available_mib": None, "swap_used_mib": None}


def test_units_tell_age_and_restarts_and_one_that_is_not_there_nothing() -> None:
    found = host.parse_units(UNITS, 10.0)
    assert sorted(found) == ["a.service", "c.service"]
    assert (found["a.service"]["age_s"], found["a.service"]["restarts"]) == (6.0, 2)
    assert (found["c.service"]["age_s"], found["c.service"]["active"]) == (None, "failed")
    assert found["c.service"]["result"] == "exit-code"


def test_systemd_is_asked_once_for_all_units_and_a_failure_is_named() -> None:
    asked: list[Sequence[str]] = []

    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        asked.append(argv)
        return 0, UNITS, ""

    assert sorted(host.units_of(run, ["a.service", "c.service"])) == ["a.service", "c.service"]
    assert [argv[-2:] for argv in asked] == [["a.service", "c.service"]]
    assert host.units_of(run, []) == {}
    with pytest.raises(OSError, match=r"exit status 1.*no bus"):
        host.units_of(lambda _argv: (1, "", "no bus"), ["a.service"])


@given(st.text())
def test_whatever_systemctl_prints_is_read(text: str) -> None:
    for unit in host.parse_units(f"Id=x\nLoadState=loaded\n{text}", 1.0).values():
        assert unit["restarts"] is None or unit["restarts"] >= 0


INSPECTED: dict[str, Any] = {
    "Id": "0123456789abcdef",
    "Name": "/dgx-spark-trtllm",
    "Image": "sha256:aa",
    "State": {
        "Status": "exited",
        "StartedAt": "2026-11-30T03:12:45.123456789Z",
        "FinishedAt": "2026-11-30T03:13:45.1Z",
        "ExitCode": 137,
        "OOMKilled": True,
        "Error": "",
        "Health": {"Status": "unhealthy"},
    },
    "Config": {
        "Env": ["DGX_SPARK_CONFIG=c0ffee-aa", "SECRET=hidden", "odd"],
        "Labels": {host.SERVICE_LABEL: "x_worker"},
    },
    "Mounts": [
        {"Destination": "/models", "Source": "/c/hub/models--openai--gpt-oss-20b"},
        {"Destination": "/draft", "Source": "/c/hub/models--nvidia--eagle"},
    ],
}


def test_a_container_tells_what_it_runs_and_how_it_ended_and_no_secret() -> None:
    found = host.container_of(INSPECTED)
    assert found == {
        "id": "0123456789ab",
        "name": "dgx-spark-trtllm",
        "service": "x_worker",
        "state": "exited",
        "health": "unhealthy",
        "started_at": 1796008365.0,
        "finished_at": 1796008425.0,
        "exit_status": 137,
        "oom_killed": True,
        "error": "",
        "image_id": "sha256:aa",
        "config": "c0ffee-aa",
        "repo": "openai/gpt-oss-20b",
        "draft_repo": "nvidia/eagle",
    }
    assert "hidden" not in json.dumps(found)


@given(st.text())
def test_whatever_docker_calls_a_time_is_a_time_or_none(text: str) -> None:
    found = host.seconds_of(text)
    assert found is None or found > 0


# --- the files of the instances --------------------------------------------------------------------------------------


def written(root: Path, name: str, cluster: Any, node: Any, state: Any, *, swarm: bool = False) -> None:
    etc, lib = root / "etc" / name, root / "lib" / name
    for folder in (etc, lib):
        folder.mkdir(parents=True)
    (etc / contract.CLUSTER).write_text(json.dumps(cluster))
    (etc / contract.NODE).write_text(json.dumps(node))
    (lib / contract.STATE).write_text(json.dumps(state))
    if swarm:
        (etc / "stack.yml").write_text("version: 3.8\n")


CLUSTER: dict[str, Any] = {
    "engine": {"name": "trtllm"},
    "nodes": [{"name": "spark1", "address": "192.168.100.1"}],
    "serve": ["trtllm-serve", "/models/snapshots/0123abc"],
    "environment": {"HF_TOKEN": "hidden"},
    "api_listen": "127.0.0.1:8355",
    "api_probe": "127.0.0.1:8355",
    "limits": {"memory_floor_mib": 8192},
}


def test_all_instances_are_found_without_a_name_and_no_environment_is_told(tmp_path: Path) -> None:
    written(tmp_path, "trtllm", CLUSTER, {"name": "spark1", "rank": 0}, {"phase": "serving"}, swarm=True)
    written(tmp_path, "trtllm-vlm", CLUSTER, {"name": "spark1", "rank": 0}, {"phase": "waiting"})
    (tmp_path / "etc" / "trtllm" / "llm.yml").write_text("speculative_model: /draft/snapshots/fed987\n")
    (tmp_path / "etc" / "other").mkdir()
    found = host.configured(tmp_path / "etc", tmp_path / "lib")
    told = [(one["name"], one["instance"], one["launcher"], one["commit"], one["draft_commit"]) for one in found]
    assert told == [
        ("dgx-spark-trtllm", "", "swarm", "0123abc", "fed987"),
        ("dgx-spark-trtllm-vlm", "vlm", "docker", "0123abc", None),
    ]
    assert [one["state"]["phase"] for one in found] == ["serving", "waiting"]
    assert "hidden" not in json.dumps(found)
    assert len(found[0]["cluster_digest"]) == 64


def test_a_host_without_anything_of_ours_has_no_instances(tmp_path: Path) -> None:
    assert host.configured(tmp_path / "etc", tmp_path / "lib") == []


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "trtllm", CLUSTER, {"name": "spark1", "rank": 0}, {"phase": "serving"})
    original = host.host.json_object

    def refuse(path: Path) -> dict[str, Any]:
        if path.name == contract.STATE:
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(host.host, "json_object", refuse)
    found = host.configured(tmp_path / "etc", tmp_path / "lib")[0]
    assert found["problem"].endswith("state.json cannot be read: Permission denied")
    assert found["commit"] == "0123abc"


@settings(suppress_health_check=list(HealthCheck))
@given(damaged.values({"cluster": CLUSTER, "node": {"name": "spark1"}, "state": {"phase": "serving"}}, whole=False))
def test_whatever_lies_in_the_files_is_an_instance(tmp_path_factory: pytest.TempPathFactory, told: Any) -> None:
    root = tmp_path_factory.mktemp("files")
    written(root, "trtllm", *(told.get(name) for name in ("cluster", "node", "state")))
    assert [one["name"] for one in host.configured(root / "etc", root / "lib")] == ["dgx-spark-trtllm"]


# --- the links -------------------------------------------------------------------------------------------------------


def card(root: Path, device: str, netdev: str, carrier: str = "1") -> Path:
    """A port of a ConnectX-7 in sysfs. Returns the directory of its counters."""
    counters = root / "class" / "infiniband" / device / "ports" / "1" / "counters"
    counters.mkdir(parents=True)
    (counters.parent / "state").write_text("4: ACTIVE\n")
    (counters.parent / "gid_attrs" / "ndevs").mkdir(parents=True)
    (counters.parent / "gid_attrs" / "ndevs" / "0").write_text(f"{netdev}\n")
    net = root / "class" / "net" / netdev
    net.mkdir(parents=True)
    for name, value in (("carrier", carrier), ("speed", "200000"), ("mtu", "9000"), ("flags", "0x1003")):
        (net / name).write_text(f"{value}\n")
    for name in ("port_xmit_data", "port_rcv_data"):
        (counters / name).write_text("1000\n")
    return counters


def test_the_rate_of_a_link_is_what_its_counters_gained(tmp_path: Path) -> None:
    counters = card(tmp_path, "rocep1s0f0", "enp1s0f0np0")
    card(tmp_path, "rocep1s0f1", "enp1s0f1np1", carrier="0")

    def pause(seconds: float) -> None:
        assert seconds == 0.05
        time.sleep(seconds)
        (counters / "port_xmit_data").write_text("6000\n")
        (counters / "port_rcv_data").write_text("500\n")  # its driver was loaded anew

    begun = time.monotonic()
    first, second = host.links_of(str(tmp_path), 0.05, pause)
    took = time.monotonic() - begun
    assert (first["netdev"], first["carrier"], first["speed_mbps"], first["mtu"]) == ("enp1s0f0np0", True, 200000, 9000)
    assert 20000 / took <= first["sent_bytes_s"] <= 20000 / 0.05
    assert first["received_bytes_s"] is None
    assert (second["carrier"], second["sent_bytes_s"]) == (False, 0.0)


def test_a_device_without_counters_has_no_rate_and_a_host_without_a_card_no_links(tmp_path: Path) -> None:
    counters = card(tmp_path, "rocep1s0f0", "enp1s0f0np0")
    (counters / "port_rcv_data").unlink()
    assert host.links_of(str(tmp_path), 0.0)[0]["sent_bytes_s"] is None
    assert host.links_of(str(tmp_path / "none"), 5.0) == []


# --- within a time ---------------------------------------------------------------------------------------------------


def test_a_part_that_hangs_is_named_and_the_others_are_told() -> None:
    began = time.monotonic()
    read, why = bounded.every_part({"good": lambda: 1, "dead": lambda: time.sleep(30)}, 0.3)
    assert time.monotonic() - began < 5
    assert (read, list(why)) == ({"good": 1}, ["dead"])
    assert "not read within 0.3 s" in why["dead"]


def test_a_program_that_hangs_or_is_missing_is_named() -> None:
    with pytest.raises(TimeoutError, match="sleep did not end within"):
        bounded.run_apart(["sleep", "30"], 0.2)
    assert bounded.run_apart(["there-is-no-such-program"]) == (127, "", "")
    assert bounded.run_apart(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\n", "err\n")
    read, why = bounded.every_part({"x": lambda: bounded.run_apart(["sleep", "30"], 0.2)}, 5)
    assert (read, why) == ({}, {"x": "sleep did not end within 0.2 s"})


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("2026-11-30T03:12:45.123456789Z", 1796008365.0),
        ("0001-01-01T00:00:00Z", None),
        ("soon", None),
        (None, None),
    ],
)
def test_a_time_that_docker_has_not_is_null(stamp: object, seconds: float | None) -> None:
    assert host.seconds_of(stamp) == seconds
