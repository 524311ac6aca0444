# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two Sparks that serve, and are watched: what a run changes, which alerts fire and end, and what an undo leaves.

Prometheus, Alertmanager, the node exporter and systemd are real; the engine and the GPU are the lab's.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Iterator

import pytest
import yaml

from .conftest import ROOT, SPARKS, Pair, eventually, stocked, taken_down
from .pace import Clock
from .state import BY_SERVING, Allowed, State, captured, differences

pytestmark = pytest.mark.matrix

PLAY = "monitoring.yml"
MEMINFO = "/var/tmp/meminfo"
API = "http://127.0.0.1:9090/api/v1"
UNITS = {
    "spark1": ("metrics", "node-exporter", "prometheus", "alertmanager"),
    "spark2": ("metrics", "node-exporter"),
}
#: what only hardware, another engine, a gateway or an error brings
NOT_HERE = re.compile(r"(vllm|sglang):.*|dgx_spark_gateway_.*|dgx_spark_certificate_.*|dgx_spark_gpu_xid_.*")
#: what a removed monitoring leaves until the next boot
REMEMBERED = (
    Allowed(
        "units",
        r"(dgx-spark-(metrics|node-exporter|prometheus|alertmanager)|prometheus(-alertmanager|-node-exporter)?)\.service",
        "systemd knows units until it reads them again, which takes the GPUs from running containers",
    ),
)
SETTINGS: dict[str, Any] = {"monitoring_retention_gb": 1}


@dataclass(frozen=True)
class Cause:
    """What is done to a Spark so that an alert fires, and what ends that."""

    alert: str
    spark: str
    command: str
    mend: str
    seconds: int = 240


def smi(row: str) -> str:
    """Another nvidia-smi, which prints a row as that of the figures."""
    program = f"#!/bin/sh\\necho '{row}'\\n"
    own, away = "/usr/bin/nvidia-smi", "/usr/bin/nvidia-smi.away"
    return f'sudo mv {own} {away} && printf "{program}" | sudo tee {own} && sudo chmod 755 {own}'


BACK = "sudo mv /usr/bin/nvidia-smi.away /usr/bin/nvidia-smi"
CAUSES = [
    Cause("TargetDown", "spark2", *(f"sudo systemctl {verb} dgx-spark-node-exporter" for verb in ("stop", "start"))),
    Cause("SparkFiguresMissing", "spark2", *(f"sudo systemctl {verb} dgx-spark-metrics" for verb in ("stop", "start"))),
    Cause("GpuGone", "spark2", "sudo mv /usr/bin/nvidia-smi /usr/bin/nvidia-smi.away", BACK),
    Cause("GpuHot", "spark2", smi("0, 91, 80.5, 2000, 3003, 99, 0x0000000000000000"), BACK),
    Cause("GpuSlowed", "spark1", smi("0, 70, 80.5, 600, 3003, 99, 0x0000000000000040"), BACK),
    Cause(
        "EngineMemoryLow",
        "spark2",
        f"sudo sed -i -E 's/^(MemAvailable:).*/\\1 5000000 kB/' {MEMINFO}",
        f"sudo cp /proc/meminfo {MEMINFO}",
    ),
    Cause(
        "EngineNotServing",
        "spark2",
        *(f"sudo systemctl {verb} dgx-spark-trtllm" for verb in ("stop", "start")),
        seconds=420,
    ),
]


class Hook:
    """Takes what Alertmanager posts."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def statuses(self) -> set[tuple[str, str]]:
        return {(one["labels"]["alertname"], one["status"]) for post in self.posted for one in post["alerts"]}


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    one = Hook()
    yield one
    one.server.shutdown()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[Pair]:
    one = stocked(tmp_path_factory.mktemp("monitoring"))
    gateway = one.hosts("spark1")["spark"]["hosts"]["spark1"]["ansible_host"].rsplit(".", 1)[0] + ".1"
    one.variables.update(
        spark_launcher="docker",
        engine_serve_meminfo_path=MEMINFO,
        engine_serve_canary_interval=5,
        engine_serve_canary_timeout=10,
        monitoring_alert_webhook_url=f"http://{gateway}:{hook.server.server_port}/s3cret",
        **SETTINGS,
    )
    for name in SPARKS:
        one.host(name).check_output(f"sudo cp /proc/meminfo {MEMINFO}")
    yield one
    taken_down(one)


@pytest.fixture(scope="module")
def before(lab: Pair) -> State:
    """What the Sparks have while they serve, and nobody watches."""
    run = lab.serve()
    assert run.status == "successful", run.said
    return captured(lab)


@pytest.fixture(scope="module")
def watched(lab: Pair, before: State) -> Pair:
    """The Sparks, watched as a dry run has foretold it."""
    foretold = lab.play(PLAY, check=True)
    assert foretold.status == "successful", foretold.said
    assert differences(before, captured(lab), BY_SERVING) == []
    run = lab.play(PLAY)
    assert run.status == "successful", run.said
    planned, made = foretold.planned(), run.made()
    for name in SPARKS:
        assert {"Write the monitoring's files", "Start the monitoring's units"} <= planned[name] <= made[name]
    assert "s3cret" not in run.said
    return lab


def asked(lab: Pair, path: str) -> Any:
    """The data that Prometheus answers on the leader."""
    return json.loads(lab.host("spark1").check_output(f"curl --silent --fail --max-time 20 {API}/{path}"))["data"]


def firing(lab: Pair) -> set[str]:
    return {one["labels"]["alertname"] for one in asked(lab, "alerts")["alerts"] if one["state"] == "firing"}


def test_a_second_run_changes_nothing(watched: Pair) -> None:
    again = watched.play(PLAY)
    assert (again.status, again.changed) == ("successful", {}), again.said
    foretold = watched.play(PLAY, check=True)
    assert (foretold.status, foretold.planned()) == ("successful", {}), foretold.said


def test_the_files_are_whose_they_should_be_and_no_secret_is_readable(watched: Pair) -> None:
    for name, parts in UNITS.items():
        spark = watched.host(name)
        for part in parts:
            assert spark.service(f"dgx-spark-{part}").is_running, part
        for package in ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter"):
            assert not spark.service(package).is_running, package
    leader = watched.host("spark1")
    assert (
        leader.check_output("sudo stat --format '%a %U' /etc/dgx-spark/monitoring/alertmanager/alertmanager.yml")
        == "600 root"
    )
    assert (
        leader.run("grep --recursive --files-with-matches s3cret /etc/dgx-spark/monitoring /run/credentials").stdout
        == ""
    )
    assert "s3cret" not in leader.check_output("ps -eo args")
    listening = leader.check_output("sudo ss --listening --tcp --numeric --no-header")
    beyond = [line.split()[3] for line in listening.splitlines() if re.search(r":(9090|9093|9100)$", line.split()[3])]
    assert sorted(beyond) == ["127.0.0.1:9090", "127.0.0.1:9093", "127.0.0.1:9100"]


def test_the_engine_is_read_where_the_supervisor_does_not(watched: Pair) -> None:
    """Every reading of /metrics takes away what the supervisor tells a busy engine from a dead one by."""
    assert watched.asked()
    up = 'query?query=up{job="engine"}'.replace("{", "%7B").replace("}", "%7D").replace('"', "%22")
    eventually(lambda: [one["value"][1] for one in asked(watched, up)["result"]], ["1"], seconds=60)
    logs = watched.host("spark1").check_output(
        "sudo docker logs $(sudo docker ps --quiet --filter name=dgx-spark-trtllm) 2>&1"
    )
    assert len(re.findall(r'"GET /prometheus/metrics HTTP', logs)) > 1
    assert re.findall(r'"GET /metrics HTTP', logs) == []


def test_every_metric_of_the_rules_is_told_here_or_is_known_not_to_be(watched: Pair) -> None:
    texts = [path.read_text() for path in (ROOT / "roles/monitoring/files/rules").glob("*.yml")]
    rules = [rule for text in texts for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    names = {
        name
        for rule in rules
        for name in re.findall(r"\b(?:dgx_spark|node|trtllm)_[a-z0-9_]+|\b(?:vllm|sglang):[a-z_]+", rule["expr"])
    }
    told = set(asked(watched, "label/__name__/values"))
    assert sorted(name for name in names - told if not NOT_HERE.fullmatch(name)) == []
    assert len(names & told) > 20


def test_what_it_costs(watched: Pair) -> None:
    """Printed, and bounded loosely: these are figures of a virtual Spark."""

    def read() -> dict[str, tuple[int, int]]:
        found = {}
        for name, parts in UNITS.items():
            for part in parts:
                said = watched.host(name).check_output(
                    f"systemctl show --property=CPUUsageNSec,MemoryCurrent --value dgx-spark-{part}"
                )
                cpu, memory = (int(word) if word.isdigit() else 0 for word in said.split())
                found[f"{part} of {name}"] = (cpu, memory)
        return found

    first, clock = read(), time.monotonic()
    time.sleep(60)
    second, passed = read(), time.monotonic() - clock
    for name, (cpu, memory) in second.items():
        print(f"{name}: {(cpu - first[name][0]) / passed / 1e7:.1f} % of a processor, {memory / 2**20:.0f} MiB")
    assert sum(memory for _cpu, memory in second.values()) < 2**30


@contextmanager
def injected(lab: Pair, cause: Cause) -> Iterator[Clock]:
    lab.host(cause.spark).check_output(cause.command)
    try:
        yield Clock()
    finally:
        lab.host(cause.spark).check_output(cause.mend)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.alert)
def test_an_alert_fires_by_its_cause_and_ends_after_the_mend(watched: Pair, hook: Hook, cause: Cause) -> None:
    eventually(lambda: firing(watched), set(), seconds=180)
    with injected(watched, cause) as clock:
        fired = eventually(lambda: cause.alert in firing(watched), True, cause.seconds, clock)
    cleared = eventually(lambda: cause.alert in firing(watched), False, cause.seconds)
    eventually(lambda: (cause.alert, "firing") in hook.statuses, True, seconds=120)
    print(f"| {cause.alert} | fired after {fired} | ended after {cleared} |")


def test_people_are_told_that_it_is_over(hook: Hook, watched: Pair) -> None:
    eventually(lambda: ("GpuHot", "resolved") in hook.statuses, True, seconds=180)


def test_nothing_fires_on_a_healthy_pair_under_load(watched: Pair) -> None:
    eventually(lambda: firing(watched), set(), seconds=180)
    until = time.monotonic() + 600
    while time.monotonic() < until:
        assert watched.asked()
        assert firing(watched) == set()
        time.sleep(5)


def test_an_undo_leaves_what_was_there(watched: Pair, before: State) -> None:
    for name in SPARKS:
        watched.host(name).check_output(f"sudo cp /proc/meminfo {MEMINFO}")
    undo = [
        {
            "name": "Undo",
            "ansible.builtin.import_role": {"name": "sparkops.dgx_spark.monitoring", "tasks_from": "undo"},
        }
    ]
    play = [{"hosts": "spark", "gather_facts": False, "tasks": undo}]
    run = watched.play(play, monitoring_undo_packages=True)
    assert run.status == "successful", run.said
    left = differences(before, captured(watched), BY_SERVING, REMEMBERED, PACKAGES)
    assert left == []
    again = watched.play(play, monitoring_undo_packages=True)
    assert (again.status, again.changed) == ("successful", {}), again.said


#: what the packages themselves leave where they are purged
PACKAGES = (
    Allowed("files", r"/var/lib/prometheus(/.*)?", "the package's own data"),
    Allowed("files", r"/etc/(passwd|group|shadow|gshadow)", "Debian keeps the user of a package that was purged"),
)
