# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program of the monitoring tells of files as a Spark has them, and of damaged ones."""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from damaged import values
from dgx_spark_metrics import __main__, engines, fabric, gateways, gpu, rare
from dgx_spark_metrics.text import Metrics
from hypothesis import given
from hypothesis import strategies as st

CLUSTER: dict[str, Any] = {
    "engine": {"name": "trtllm"},
    "api_probe": "127.0.0.1:8355",
    "limits": {"interval_s": 30, "timeout_s": 60, "memory_floor_mib": 4096},
}
NODE: dict[str, Any] = {"name": "spark1", "rank": 0, "rdma_devices": ["rocep1s0f0", "roceP2p1s0f0"]}
STATE: dict[str, Any] = {
    "phase": "serving",
    "at": 1_800_000_000.0,
    "starts": 1,
    "canary_s": 0.25,
    "canary_at": 1_799_999_990.0,
    "load_s": 81.5,
    "kv_tokens": 86720,
    "model": "tiny-chat",
    "ranks": {"spark1": {"transport": "IB", "devices": "", "why": ""}, "spark2": {"transport": "Socket"}},
}


def write(folder: Path, name: str = "trtllm", **changed: dict[str, Any]) -> tuple[Path, Path]:
    """The files of one serving. Returns the directories of the configurations and of the states."""
    etc, states = folder / "etc", folder / "var"
    for root in (etc, states):
        (root / name).mkdir(parents=True, exist_ok=True)
    (etc / name / "cluster.json").write_text(json.dumps({**CLUSTER, **changed.get("cluster", {})}))
    (etc / name / "node.json").write_text(json.dumps({**NODE, **changed.get("node", {})}))
    (states / name / "state.json").write_text(json.dumps({**STATE, **changed.get("state", {})}))
    return etc, states


def told(found: Metrics) -> dict[str, float]:
    """Samples by name and labels."""
    lines = (line.rpartition(" ") for line in found.text().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _blank, value in lines}


def of_engines(folder: Path, **changed: Any) -> dict[str, float]:
    found = Metrics()
    memory = changed.pop("memory", None)
    engines.collect(found, *write(folder, **changed), memory=memory)
    if memory:
        engines.available(found, memory)
    return told(found)


def test_the_leader_tells_what_its_supervisor_has_noted(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  61440000 kB\nMemAvailable: 1024 kB\n")
    found = of_engines(tmp_path, memory=meminfo)
    assert found['dgx_spark_engine_phase{phase="serving",serving="trtllm"}'] == 1
    assert found['dgx_spark_engine_phase{phase="gave up",serving="trtllm"}'] == 0
    assert found['dgx_spark_engine_last_token_timestamp_seconds{serving="trtllm"}'] == 1_799_999_990.0
    assert found['dgx_spark_engine_canary_seconds{serving="trtllm"}'] == 0.25
    assert found['dgx_spark_engine_canary_timeout_seconds{serving="trtllm"}'] == 60
    assert found['dgx_spark_engine_load_seconds{serving="trtllm"}'] == 81.5
    assert found['dgx_spark_engine_kv_tokens{serving="trtllm"}'] == 86720
    assert found['dgx_spark_engine_rank_rdma{rank="spark1",serving="trtllm",transport="IB"}'] == 1
    assert found['dgx_spark_engine_rank_rdma{rank="spark2",serving="trtllm",transport="Socket"}'] == 0
    assert found["dgx_spark_memory_available_bytes"] == 1024 * 1024
    share = 61440000 // 1024 / engines.SPARK_MIB
    floor = found['dgx_spark_engine_memory_floor_bytes{serving="trtllm"}']
    assert floor == pytest.approx(4096 * share * 2**20, rel=0.001), "the floor of a smaller Spark is smaller"


@pytest.mark.parametrize("text", [None, "", "MemTotal:  61440000 kB\n"])
def test_memory_that_cannot_be_read_is_told_as_a_part_that_failed(tmp_path: Path, text: str | None) -> None:
    """Else nobody would know that no alert can come of it."""
    meminfo = tmp_path / "meminfo"
    if text is not None:
        meminfo.write_text(text)
    with pytest.raises(LookupError, match="MemAvailable"):
        engines.available(Metrics(), meminfo)


def test_a_worker_tells_its_memory_and_leaves_the_engine_to_the_leader(tmp_path: Path) -> None:
    found = of_engines(tmp_path, node={"rank": 1}, state={"phase": "listening"})
    assert not [name for name in found if name.startswith("dgx_spark_engine_") and "memory_floor" not in name]


def test_what_is_not_known_is_absent_and_never_0(tmp_path: Path) -> None:
    names = {name.partition("{")[0] for name in of_engines(tmp_path, state={"kv_tokens": 0, "load_s": None})}
    assert not names & {"dgx_spark_engine_kv_tokens", "dgx_spark_engine_load_seconds"}


@pytest.mark.parametrize(
    ("engine", "path"), [("trtllm", "/prometheus/metrics"), ("vllm", "/metrics"), ("sglang", "/metrics")]
)
def test_an_engine_that_serves_is_asked_where_the_supervisor_does_not_read(
    tmp_path: Path, engine: str, path: str
) -> None:
    """TensorRT-LLM's /metrics is emptied by each reading, and the supervisor needs what it tells."""
    (target,) = json.loads(engines.targets(*write(tmp_path, engine, cluster={"engine": {"name": engine}})))
    assert target == {
        "targets": ["127.0.0.1:8355"],
        "labels": {"serving": engine, "engine": engine, "__metrics_path__": path},
    }


@pytest.mark.parametrize("phase", ["waiting", "starting", "failed", "gave up", "stopped", "listening"])
def test_an_engine_that_does_not_serve_is_not_asked(tmp_path: Path, phase: str) -> None:
    assert json.loads(engines.targets(*write(tmp_path, state={"phase": phase}))) == []


def test_a_worker_and_an_unknown_engine_are_no_target(tmp_path: Path) -> None:
    write(tmp_path, "trtllm", node={"rank": 1})
    etc, states = write(tmp_path, "other", cluster={"engine": {"name": "other"}})
    assert json.loads(engines.targets(etc, states)) == []


def smi(said: str, status: int = 0) -> dict[str, float]:
    found = Metrics()
    gpu.collect(found, lambda _argv: (status, said))
    return told(found)


def test_a_gpu_tells_what_it_does() -> None:
    found = smi("0, 36, 3.42, 208, 3003, 7, 0x0000000000000044\n")
    assert found['dgx_spark_gpu_temperature_celsius{gpu="0"}'] == 36
    assert found['dgx_spark_gpu_clock_hertz{gpu="0"}'] == 208e6
    assert found['dgx_spark_gpu_used_ratio{gpu="0"}'] == pytest.approx(0.07)
    assert found["dgx_spark_gpu_up"] == 1
    slowed = {reason: found[f'dgx_spark_gpu_slowed{{gpu="0",reason="{reason}"}}'] for reason in gpu.SLOWED}
    assert slowed == {"hardware": 0, "software_thermal": 0, "hardware_thermal": 1, "power_brake": 0}


def test_a_software_cap_of_the_power_is_no_slowdown() -> None:
    """It is on half of the time, with no load at all."""
    found = smi("0, 36, 3.42, 208, 3003, 0, 0x0000000000000004\n")
    assert not any(value for name, value in found.items() if name.startswith("dgx_spark_gpu_slowed"))


def test_a_sensor_that_reads_nothing_is_absent() -> None:
    found = smi("0, 0, [N/A], 208, 3003, [N/A], [N/A]\n")
    assert sorted(found) == [
        'dgx_spark_gpu_clock_hertz{gpu="0"}', 'dgx_spark_gpu_clock_max_hertz{gpu="0"}', "dgx_spark_gpu_up"
    ]  # fmt: skip


def test_an_older_driver_is_asked_again_without_the_reasons() -> None:
    asked = []

    def ask(argv: Any) -> tuple[int, str]:
        asked.append(argv[1])
        return (
            (2, f'Field "{gpu.REASONS}" is not a valid field to query.')
            if gpu.REASONS in argv[1]
            else (0, "0, 36, 1, 2, 3, 4")
        )

    found = Metrics()
    gpu.collect(found, ask)
    assert len(asked) == 2
    assert told(found)['dgx_spark_gpu_temperature_celsius{gpu="0"}'] == 36


@pytest.mark.parametrize(
    ("status", "said"), [(127, ""), (124, ""), (9, "NVIDIA-SMI has failed"), (0, ""), (6, "No devices were found")]
)
def test_a_gpu_that_does_not_answer_is_told(status: int, said: str) -> None:
    assert smi(said, status) == {"dgx_spark_gpu_up": 0}


def test_a_device_without_counters_hides_no_other(tmp_path: Path) -> None:
    """As it does in the node exporter, without a word."""
    sysfs = tmp_path / "infiniband"
    (sysfs / "broken" / "ports" / "1").mkdir(parents=True)
    for file, value in {
        "counters/port_xmit_data": 10,
        "counters/port_rcv_data": 3,
        "hw_counters/np_cnp_sent": 7,
    }.items():
        path = sysfs / "rocep1s0f0" / "ports" / "1" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    found = Metrics()
    fabric.collect(found, sysfs, *write(tmp_path))
    assert told(found) == {
        'dgx_spark_rdma_bytes_total{device="rocep1s0f0",direction="sent",port="1"}': 40,
        'dgx_spark_rdma_bytes_total{device="rocep1s0f0",direction="received",port="1"}': 12,
        'dgx_spark_rdma_events_total{device="rocep1s0f0",event="np_cnp_sent",port="1"}': 7,
        'dgx_spark_rdma_device_present{device="rocep1s0f0",serving="trtllm"}': 1,
        'dgx_spark_rdma_device_present{device="roceP2p1s0f0",serving="trtllm"}': 0,
    }


STAT = """# pxname,svname,scur,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,status,
api,FRONTEND,3,0,41,0,5,1,OPEN,
engine,engine,2,0,41,0,0,0,UP,
engine,BACKEND,2,0,41,0,0,0,UP,
clients,BACKEND,0,0,0,0,0,0,UP,
"""


def of_gateways(folder: Path) -> dict[str, float]:
    """Of two that are configured, of which the second does not run: systemd has taken its socket away."""
    for name in ("gateway", "gateway-vlm"):
        (folder / name).mkdir()
        (folder / name / "haproxy.cfg").touch()
    (folder / "monitoring").mkdir()

    def ask(path: Path, command: str) -> str:
        if path == folder / "run" / "dgx-spark-gateway" / "admin.sock":
            return STAT
        raise FileNotFoundError(command)

    found = Metrics()
    gateways.collect(found, folder, folder / "run", ask)
    return told(found)


def test_a_gateway_tells_what_it_answered(tmp_path: Path) -> None:
    said = of_gateways(tmp_path)
    assert said['dgx_spark_gateway_answers_total{code="2xx",gateway="gateway"}'] == 41
    assert said['dgx_spark_gateway_engine_up{gateway="gateway"}'] == 1
    assert said['dgx_spark_gateway_requests{gateway="gateway"}'] == 2
    assert said['dgx_spark_gateway_up{gateway="gateway"}'] == 1


def test_a_gateway_that_ended_is_told_though_its_socket_went_with_it(tmp_path: Path) -> None:
    said = of_gateways(tmp_path)
    assert {name: up for name, up in said.items() if "gateway-vlm" in name} == {
        'dgx_spark_gateway_up{gateway="gateway-vlm"}': 0
    }


def test_the_image_of_each_serving_is_told(tmp_path: Path) -> None:
    running = [
        {"Names": ["/dgx-spark-trtllm"], "ImageID": "sha256:0123456789abcdef"},
        {
            "Names": ["/dgx-spark-vllm_worker.1.x"],
            "Labels": {rare.STACK_LABEL: "dgx-spark-vllm"},
            "ImageID": "sha256:fe",
        },
        {"Names": ["/stranger"], "Labels": None, "ImageID": "sha256:aa"},
    ]
    write(tmp_path, "vllm")
    etc, states = write(tmp_path)
    found = Metrics()
    rare.images(found, lambda: running, etc, states)
    assert told(found) == {
        'dgx_spark_engine_image_info{image="0123456789ab",serving="trtllm"}': 1,
        'dgx_spark_engine_image_info{image="fe",serving="vllm"}': 1,
    }


def test_the_last_error_of_the_gpu_is_told_by_its_number() -> None:
    lines = [
        {
            "MESSAGE": "NVRM: Xid (PCI:000f:01:00): 79, GPU has fallen off the bus.",
            "__REALTIME_TIMESTAMP": "1800000000500000",
        },
        {"MESSAGE": "NVRM: Xid (PCI:000f:01:00): 79, again", "__REALTIME_TIMESTAMP": "1800000001000000"},
        {"MESSAGE": "a line about NVRM: Xid and no more", "__REALTIME_TIMESTAMP": "1"},
    ]
    found = Metrics()
    rare.xids(found, lambda _argv: (0, "\n".join(map(json.dumps, lines)) + "\nNVRM: Xid {"))
    assert told(found) == {'dgx_spark_gpu_xid_timestamp_seconds{xid="79"}': 1_800_000_001.0}


def test_a_round_writes_both_files_and_tells_which_part_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_found: Metrics) -> None:
        raise OSError("gone")

    monkeypatch.setattr(__main__, "FAST", {"gpu": fail, "fabric": lambda found: found.gauge("one", "One.", 1)})
    monkeypatch.setattr(__main__, "SLOW", {})
    pauses: list[float] = []
    assert __main__.main(str(tmp_path), pauses.append, rounds=2) == 0
    text = (tmp_path / "spark.prom").read_text()
    assert 'dgx_spark_collector_success{collector="gpu"} 0\n' in text
    assert 'dgx_spark_collector_success{collector="fabric"} 1\n' in text
    assert "\none 1\n" in text
    assert json.loads((tmp_path / "engines.json").read_text()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["spark.prom", "engines.json"] or len(
        list(tmp_path.iterdir())
    ) == 2
    assert len(pauses) == 2
    assert all(0 < pause <= __main__.EVERY_S for pause in pauses)
    stamp = re.search(r"^dgx_spark_metrics_timestamp_seconds (\S+)$", text, re.MULTILINE)
    assert stamp
    assert abs(float(stamp[1]) - time.time()) < 60


# --- damaged ----------------------------------------------------------------------------------------------------------

LINE = re.compile(r'[a-z_]+(\{([a-z_]+="(\\["\\n]|[^"\\\n])*",?)+\})? -?[0-9.e+-]+')


def well_formed(found: Metrics) -> bool:
    return all(line.startswith(("# HELP ", "# TYPE ")) or LINE.fullmatch(line) for line in found.text().splitlines())


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), st.text(), min_size=1), st.floats())
def test_any_label_is_told_in_one_line(labels: dict[str, str], value: float) -> None:
    found = Metrics()
    found.gauge("some_name", "About.", value, **{f"l_{name}": text.replace("\r", "") for name, text in labels.items()})
    assert len(found.text().split("\n")) in (1, 4)


@given(values(CLUSTER), values(NODE), values(STATE))
def test_damaged_files_of_a_supervisor_are_read_or_left_out(cluster: Any, node: Any, state: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        etc, states = write(Path(folder))
        for path, content in {
            etc / "trtllm" / "cluster.json": cluster,
            etc / "trtllm" / "node.json": node,
            states / "trtllm" / "state.json": state,
        }.items():
            path.write_text(json.dumps(content))
        found = Metrics()
        engines.collect(found, etc, states)
        fabric.collect(found, Path(folder, "infiniband"), etc, states)
        json.loads(engines.targets(etc, states))


@given(st.text(), st.integers(0, 255))
def test_whatever_a_program_prints_no_part_fails(said: str, status: int) -> None:
    found = Metrics()
    gpu.collect(found, lambda _argv: (status, said))
    gpu.collect(found, lambda _argv: (0, f"0, {said}"))
    rare.xids(found, lambda _argv: (status, f"NVRM: Xid {said}"))
    rare.end_of(said)
    assert all(value == value for value in told(found).values())
