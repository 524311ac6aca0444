# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every alert fires by its cause, ends after it, and is silent on Sparks that are well: by Prometheus' own promtool."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import layout
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._monitoring import config
from dgx_spark_metrics import fabric
from dgx_spark_metrics.text import Metrics

ROOT = Path(__file__).parents[3]
RULES = sorted((ROOT / "roles" / "monitoring" / "files" / "rules").glob("*.yml"))
STEP_S = 15  # Prometheus looks every 5, and promtool takes three times as long for that
#: seconds at which the cause comes and goes, and at which it is looked
COMES, GOES, ENDS = 120, 720, 1560
AT_WORST, AT_END = 705, 1545
LABELS = 'spark="spark1"'


@dataclass(frozen=True)
class Cause:
    """What brings an alert: a series with its values while all is well, and while it is not."""

    alert: str
    series: str
    well: float | None  # None for a series that is not there then
    wrong: float | None
    step: float = 0.0  # by which a counter grows from look to look while it is wrong


ENGINE = 'spark="spark1",serving="trtllm"'
CAUSES = [
    Cause("EngineNotServing", f'dgx_spark_engine_phase{{{ENGINE},phase="starting"}}', 0, 1),
    Cause("EngineNotServing", f'dgx_spark_engine_phase{{{ENGINE},phase="failed"}}', 0, 1),
    Cause("EngineNotServing", f'dgx_spark_engine_phase{{{ENGINE},phase="waiting"}}', 0, 1),
    Cause("EngineGaveUp", f'dgx_spark_engine_phase{{{ENGINE},phase="gave up"}}', 0, 1),
    Cause("EngineStateOld", f"dgx_spark_engine_state_timestamp_seconds{{{ENGINE}}}", -1, 100),
    Cause("EngineCanarySlow", f"dgx_spark_engine_canary_seconds{{{ENGINE}}}", 0.2, 40),
    Cause("EngineRestarts", f"dgx_spark_engine_starts{{{ENGINE}}}", 1, 4),
    Cause("EngineOnTcp", f'dgx_spark_engine_rank_rdma{{{ENGINE},rank="spark2",transport="Socket"}}', None, 0),
    Cause("EngineImagesUnequal", 'dgx_spark_engine_image_info{spark="spark2",serving="trtllm",image="b"}', None, 1),
    Cause("EngineMemoryLow", f"dgx_spark_memory_available_bytes{{{LABELS}}}", 60e9, 7e9),
    Cause("TargetDown", f'up{{{LABELS},job="spark",instance="a:9100"}}', 1, 0),
    Cause("TargetDown", f'up{{{LABELS},job="engine",instance="a:8355"}}', 1, 0),
    Cause("SparkFiguresMissing", f"dgx_spark_metrics_timestamp_seconds{{{LABELS}}}", -1, 100),
    Cause("CollectorFailed", f'node_scrape_collector_success{{{LABELS},collector="infiniband"}}', 1, 0),
    Cause("CollectorFailed", f'node_scrape_collector_success{{{LABELS},collector="meminfo"}}', 1, 0),
    Cause("CollectorFailed", f'dgx_spark_collector_success{{{LABELS},collector="gpu"}}', 1, 0),
    Cause("GpuGone", f"dgx_spark_gpu_up{{{LABELS}}}", 1, 0),
    Cause("GpuHot", f'dgx_spark_gpu_temperature_celsius{{{LABELS},gpu="0"}}', 60, 88),
    Cause("GpuSlowed", f'dgx_spark_gpu_slowed{{{LABELS},gpu="0",reason="hardware_thermal"}}', 0, 1),
    Cause("GpuXid", f'dgx_spark_gpu_xid_timestamp_seconds{{{LABELS},xid="79"}}', None, 900),
    Cause("RdmaDeviceGone", f'dgx_spark_rdma_device_present{{{ENGINE},device="rocep1s0f0"}}', 1, 0),
    Cause(
        "RdmaRetransmits",
        f'dgx_spark_rdma_events_total{{{LABELS},device="d",port="1",event="out_of_sequence"}}',
        0,
        0,
        50,
    ),
    Cause("DiskFull", f'node_filesystem_avail_bytes{{{LABELS},mountpoint="/",fstype="ext4"}}', 50, 1),
    Cause("ClocksApart", f"node_time_seconds{{{LABELS}}}", -1, None),
    Cause("CertificateEnds", f'dgx_spark_certificate_end_timestamp_seconds{{{LABELS},gateway="gateway"}}', 9e6, 9e5),
    Cause("GatewayDown", f'dgx_spark_gateway_up{{{LABELS},gateway="gateway"}}', 1, 0),
]
#: what goes with these on two Sparks that are well; -1 stands for the time
BESIDE = {
    f'dgx_spark_engine_phase{{{ENGINE},phase="serving"}}': 1.0,
    f"dgx_spark_engine_canary_interval_seconds{{{ENGINE}}}": 30.0,
    f"dgx_spark_engine_canary_timeout_seconds{{{ENGINE}}}": 60.0,
    f"dgx_spark_engine_memory_floor_bytes{{{ENGINE}}}": 4e9,
    f'dgx_spark_engine_rank_rdma{{{ENGINE},rank="spark1",transport="IB"}}': 1.0,
    'dgx_spark_engine_image_info{spark="spark1",serving="trtllm",image="a"}': 1.0,
    f'node_filesystem_size_bytes{{{LABELS},mountpoint="/",fstype="ext4"}}': 100.0,
    f'node_filesystem_avail_bytes{{{LABELS},mountpoint="/run",fstype="tmpfs"}}': 0.0,
    f'node_filesystem_size_bytes{{{LABELS},mountpoint="/run",fstype="tmpfs"}}': 100.0,
    f"scrape_duration_seconds{{{LABELS}}}": 0.1,
    # Of a host without a fabric, which has nothing to tell of it.
    'node_scrape_collector_success{spark="alone",collector="infiniband"}': 0.0,
}


def promtool() -> Path:
    """Prometheus' own, of this machine or of the distribution's package, which is unpacked and not installed."""
    there = shutil.which("promtool")
    kept = ROOT / "build" / "promtool"
    if there or kept.exists():
        return Path(there or kept)
    work = kept.parent / f"promtool-{os.getpid()}"
    work.mkdir(parents=True)
    try:
        for command in (["apt-get", "download", "prometheus"], ["sh", "-c", "dpkg-deb -x prometheus_*.deb ."]):
            done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False, timeout=300)
            if done.returncode:
                pytest.skip(f"no promtool, so that NO RULE IS TESTED: {' '.join(command)}: {done.stderr.strip()}")
        (work / "usr/bin/promtool").replace(kept)
    except FileNotFoundError as error:
        pytest.skip(f"no promtool, so that NO RULE IS TESTED: {error}")
    finally:
        shutil.rmtree(work)
    return kept


def run(*arguments: object) -> str:
    done = subprocess.run([str(promtool()), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def samples(cause: Cause | None, series: str, value: float | None) -> str:
    """The values of a series, each 5 s, as promtool reads them. :param value: while all is well; -1 for the time."""

    def at(second: int) -> str:
        wrong = cause is not None and COMES <= second < GOES
        if wrong and cause and cause.step:
            return str(cause.step * (second - COMES) / STEP_S)
        if cause and cause.step and second >= GOES:
            return str(cause.step * (GOES - COMES) / STEP_S)
        if wrong and cause and cause.alert == "ClocksApart":
            return str(second + 30)
        one = cause.wrong if wrong and cause else value
        if cause and cause.alert == "GpuXid" and second >= GOES:
            one = cause.wrong  # the kernel's log does not forget
        return "_" if one is None else str(second if one == -1 else one)

    return " ".join(at(second) for second in range(0, ENDS + STEP_S, STEP_S))


def healthy() -> dict[str, float | None]:
    every: dict[str, float | None] = dict(BESIDE)
    every.update({cause.series: cause.well for cause in CAUSES})
    return every


def case(cause: Cause | None) -> dict[str, Any]:
    """A test of promtool: what fires in the end of the cause, and what afterwards."""
    wrong = [{"labels": f'{{alertname="{cause.alert}"}}', "value": 1}] if cause else []
    query = 'count by (alertname) (ALERTS{alertstate="firing"} > 0) > bool 0'
    return {
        "interval": f"{STEP_S}s",
        "name": cause.series if cause else "all is well",
        "input_series": [
            {"series": series, "values": samples(cause if cause and cause.series == series else None, series, value)}
            for series, value in healthy().items()
        ],
        "promql_expr_test": [
            {"expr": query, "eval_time": f"{COMES - STEP_S}s", "exp_samples": []},
            {"expr": query, "eval_time": f"{AT_WORST}s", "exp_samples": wrong},
            {"expr": query, "eval_time": f"{AT_END}s", "exp_samples": []},
        ],
    }


def try_out(tmp_path: Path, *cases: dict[str, Any]) -> str:
    path = tmp_path / "rules.test.yml"
    about = {"rule_files": list(map(str, RULES)), "evaluation_interval": f"{STEP_S}s", "tests": list(cases)}
    path.write_text(yaml.safe_dump(about, width=10**6))
    return run("test", "rules", path)


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def test_the_rules_are_well_formed() -> None:
    assert "SUCCESS" in run("check", "rules", *RULES)


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """As Debian 12's checks it; the rules and where the engines are found lie elsewhere on a Spark."""
    members = [config.Member("spark1", "192.168.1.21"), config.Member("spark2", "fd00::22")]
    settings = config.Settings(members, config.Ports(), True, 10, 5, config.Receivers())
    text = (
        config.prometheus(settings).replace(layout.RULES, str(RULES[0].parent)).replace(layout.FIGURES, str(tmp_path))
    )
    (tmp_path / "prometheus.yml").write_text(text)
    (tmp_path / "engines.json").write_text("[]")
    said = run("check", "config", tmp_path / "prometheus.yml")
    assert f"{len(RULES)} rule files found" in said


@pytest.mark.parametrize(
    "own", [lambda found: found.gauge("some_name", 'Is "it"?', 1, c='x"\n\\'), lambda _found: None]
)
def test_prometheus_reads_what_the_program_writes(own: Callable[[Metrics], None]) -> None:
    found = Metrics()
    found.gauge("dgx_spark_gpu_up", "Whether nvidia-smi finds a GPU that answers.", 1)
    own(found)
    done = subprocess.run(
        [str(promtool()), "check", "metrics"], input=found.text(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_fires_on_sparks_that_are_well(tmp_path: Path) -> None:
    try_out(tmp_path, case(None))


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: f"{cause.alert}-{cause.series.partition('{')[0]}")
def test_an_alert_fires_by_its_cause_and_ends_after_it(cause: Cause, tmp_path: Path) -> None:
    try_out(tmp_path, case(cause))


def test_every_alert_has_a_cause_here() -> None:
    assert {rule["alert"] for rule in rules() if "alert" in rule} == {cause.alert for cause in CAUSES}


def test_an_engine_that_was_stopped_on_purpose_is_no_alert(tmp_path: Path) -> None:
    own = case(None)
    for one in own["input_series"]:
        if one["series"].startswith("dgx_spark_engine_phase"):
            one["values"] = f"0+0x{ENDS // STEP_S}"
    own["input_series"].append(
        {"series": f'dgx_spark_engine_phase{{{ENGINE},phase="stopped"}}', "values": f"1+0x{ENDS // STEP_S}"}
    )
    try_out(tmp_path, own)


ENGINES = {
    "trtllm": (
        "trtllm_generation_tokens_total",
        "trtllm_time_to_first_token_seconds",
        "trtllm_time_per_output_token_seconds",
    ),
    "vllm": ("vllm:generation_tokens_total", "vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds"),
    "sglang": (
        "sglang:generation_tokens_total",
        "sglang:time_to_first_token_seconds",
        "sglang:inter_token_latency_seconds",
    ),
}


@pytest.mark.parametrize("engine", list(ENGINES))
def test_the_figures_of_each_engine_have_one_name(engine: str, tmp_path: Path) -> None:
    tokens, ttft, itl = ENGINES[engine]
    count = 120
    series = [{"series": f'{tokens}{{serving="s"}}', "values": f"0+{10 * STEP_S}x{count}"}]
    for name, bound in ((ttft, "0.2"), (itl, "0.02")):
        series += [
            {"series": f'{name}_bucket{{serving="s",le="{bound}"}}', "values": f"0+10x{count}"},
            {"series": f'{name}_bucket{{serving="s",le="+Inf"}}', "values": f"0+10x{count}"},
        ]
    expected = {
        "spark:engine_tokens:rate1m": 10,
        "spark:engine_ttft_seconds:p50": 0.1,
        "spark:engine_ttft_seconds:p95": 0.19,
        "spark:engine_itl_seconds:p50": 0.01,
        "spark:engine_itl_seconds:p95": 0.019,
    }
    try_out(
        tmp_path,
        {
            "interval": f"{STEP_S}s",
            "input_series": series,
            "promql_expr_test": [
                {
                    "expr": f"round({name}, 0.0001)",
                    "eval_time": "500s",
                    "exp_samples": [{"labels": '{serving="s"}', "value": value}],
                }
                for name, value in expected.items()
            ],
        },
    )


@pytest.mark.parametrize("rule", [rule for rule in rules() if "alert" in rule], ids=lambda rule: rule["alert"])
def test_an_alert_says_where_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule["annotations"]) == {"summary", "mend"}
    assert rule["labels"]["severity"] in ("serious", "warning")
    playbooks = re.findall(r"playbooks/(\w+)\.yml", rule["annotations"]["mend"])
    assert [name for name in playbooks if not (ROOT / "playbooks" / f"{name}.yml").exists()] == []


def test_congestion_is_no_retransmit() -> None:
    (rule,) = [rule for rule in rules() if rule.get("alert") == "RdmaRetransmits"]
    left_out = re.search(r'event!~"([^"]+)"', rule["expr"])
    assert left_out
    assert set(left_out[1].split("|")) <= set(fabric.EVENTS)
