# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two Sparks that serve, and are watched: what a run changes, which alerts fire and end, and what an undo leaves.

Prometheus, Alertmanager, the node exporter, HAProxy and systemd are real; the engine, the GPU and RDMA are the lab's.
"""

from __future__ import annotations

import http.server
import json
import re
import shlex
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from .conftest import ROOT, SPARKS, Pair, eventually, stocked, taken_down
from .pace import Clock
from .state import BY_SERVING, Allowed, State, captured, differences
from .test_serve_faults import CONTAINER, INJECTED, inside
from .test_two_spark_faults import incarnations

pytestmark = pytest.mark.matrix

PLAY = "monitoring.yml"
MEMINFO = "/srv/meminfo"
CHAT = "http://127.0.0.1:8355/v1/chat/completions"
API = "http://127.0.0.1:9090/api/v1"
HERE = Path(__file__).parent
RULES = ROOT / "roles/monitoring/files/rules"
UNITS = {
    "spark1": ("metrics", "node-exporter", "prometheus", "alertmanager"),
    "spark2": ("metrics", "node-exporter"),
}
#: what only another engine, or an error of a GPU, brings
NOT_HERE = re.compile(r"(vllm|sglang):.*|dgx_spark_gpu_xid_.*")
LOAD_S = 600
#: what the packages themselves leave where they are purged
PACKAGES = (
    Allowed("files", r"/var/lib/prometheus(/.*)?", "the package's own data"),
    Allowed("files", r"/etc/(passwd|group|shadow|gshadow)", "Debian keeps the user of a package that was purged"),
    Allowed("accounts", r"(user|group) prometheus", "Debian keeps the user of a package that was purged"),
)
#: what a removed monitoring leaves until the next boot
REMEMBERED = (
    Allowed(
        "units",
        r"(dgx-spark-(metrics|node-exporter|prometheus|alertmanager)|prometheus(-alertmanager|-node-exporter)?)\.service",
        "systemd knows units until it reads them again, which takes the GPUs from running containers",
    ),
)
#: what a supervisor notes of the starts that these tests bring
STARTED = (Allowed("files", r"/var/lib/dgx-spark/trtllm/receipts\.json", "what each start took"),)
SETTINGS: dict[str, Any] = {"monitoring_retention_gb": 1}


@dataclass(frozen=True)
class Cause:
    """What is done to a Spark so that alerts fire, and what ends that."""

    alerts: str  # by blanks
    spark: str
    command: str
    mend: str
    also: str = ""  # alerts that may fire with it
    seconds: int = 240  # in which all of them fire, and end
    play: str = ""  # the playbook that goes with the mend


def script(name: str, text: str) -> tuple[str, str]:
    """How a program comes before the real one of its name, and how it goes."""
    path = f"/usr/local/bin/{name}"
    return f"printf %s {shlex.quote(text)} | sudo tee {path} >/dev/null && sudo chmod 755 {path}", f"sudo rm {path}"


def unit(verbs: str, name: str) -> tuple[str, str]:
    """What is done to a unit of systemd, and then."""
    first, then = verbs.split()
    return f"sudo systemctl {first} {name}", f"sudo systemctl {then} {name}"


def away(path: str) -> tuple[str, str]:
    """How something goes, and comes back."""
    return f"sudo mv {path} {path}.away", f"sudo mv {path}.away {path}"


def device(used: bool) -> str:
    """The directory of the first RDMA device that the ranks use, or of the last that none of them uses."""
    program = (
        "import json, os; own = json.load(open('/etc/dgx-spark/trtllm/node.json'))['rdma_devices'];"
        f" print(own[0] if {used} else max(set(os.listdir('/sys/class/infiniband')) - set(own)))"
    )
    return f"/run/virtual-spark/class/infiniband/$(sudo python3 -c {shlex.quote(program)})"


#: a Spark that is hot, whose clock is lowered for that
HOT = script("nvidia-smi", "#!/bin/sh\necho '0, 91, 80.5, 600, 3003, 99, 0x0000000000000040'\n")
#: the kernel's log with an error of 9 minutes ago: there is one kernel for the whole lab
XID = script(
    "journalctl",
    """#!/bin/sh
/usr/bin/journalctl "$@"
at=$(($(date +%s) - 540))000000
echo '{"MESSAGE": "NVRM: Xid (PCI:000f:01:00): 79, GPU has fallen off", "__REALTIME_TIMESTAMP": "'$at'"}'
""",
)
FAULT = "/etc/virtual-spark/faults/gpu-fell-off"
#: memory falls to between the supervisor's floor and twice that, slowly: it ends a rank that takes much at once. It is
#: written in place, since containers have the file mounted.
LOWER = r"""
import re, sys, time
most, steps = 122880 * 1024, 300
text = open(sys.argv[1]).read()
total, first = (int(re.search(name + r": +(\d+)", text)[1]) for name in ("MemTotal", "MemAvailable"))
low = 3 * 8192 * 1024 // 2 * min(total, most) // most
for step in range(1, steps + 1):
    now = first - (first - low) * step // steps
    with open(sys.argv[1], "r+") as file:
        file.write(re.sub(r"(MemAvailable: +)(\d+)", lambda one: one[1] + str(now).rjust(len(one[2])), text))
    time.sleep(0.1)
"""
LOW = f"sudo systemd-run --quiet --collect --unit lower python3 -c {shlex.quote(LOWER)} {MEMINFO}"
ENOUGH = f"sudo systemctl stop lower; sudo cp /proc/meminfo {MEMINFO}"
RETRANSMITS = f"{device(True)}/ports/1/hw_counters/out_of_sequence"
GROW = f"n=0; file={RETRANSMITS}; while sleep 1; do n=$((n + 50)); echo $n >$file; done"
TLS = "/etc/dgx-spark/gateway/tls/server.pem"
SHORT = f"sudo openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -days 9 -keyout /dev/null -out {TLS} 2>/dev/null"
OTHER = (
    "tar --create --dereference /bin/sleep /lib/x86_64-linux-gnu/libc.so.6 /lib64/ld-linux-x86-64.so.2"
    " | sudo docker import - other >/dev/null && sudo docker run --detach --name other"
    " --label com.docker.stack.namespace=dgx-spark-trtllm other /bin/sleep 86400",
    "sudo docker rm --force other && sudo docker image rm other",
)
#: a file of the model that is gone on a worker: no start succeeds. A run of 20 s is a good one then, in place of 600 s.
BLOBS = "~/.cache/huggingface/hub/models--lab--tiny-chat/blobs"
LOST = (
    f"blob=$(ls -S {BLOBS}/* | head -1) && mv $blob $blob.away && sudo pkill -KILL -f [m]gmn_worker_node",
    f"for blob in {BLOBS}/*.away; do mv $blob ${{blob%.away}}; done",
)
#: all at once: none of them has a part in another
OF_SPARKS = [
    Cause("GpuGone", "spark2", f"sudo touch {FAULT}", f"sudo rm {FAULT}"),
    Cause("GpuHot GpuSlowed", "spark1", *HOT),
    Cause("GpuXid", "spark1", *XID),
    Cause("EngineMemoryLow", "spark2", LOW, ENOUGH),
    Cause(
        "RdmaDeviceGone",
        "spark2",
        f"sudo pkill -STOP -f [h]ardware.py && sudo mv {device(True)} /run/virtual-spark/away",
        f"sudo mv /run/virtual-spark/away {device(True)} && sudo pkill -CONT -f [h]ardware.py",
    ),
    Cause(
        "RdmaRetransmits",
        "spark1",
        f"sudo systemd-run --quiet --collect --expand-environment=no --unit retransmits sh -c {shlex.quote(GROW)}",
        "sudo systemctl stop retransmits",
    ),
    Cause("CollectorFailed", "spark1", *away(f"{device(False)}/ports/1/counters"), seconds=300),
    Cause("CertificateEnds", "spark1", f"sudo cp -p {TLS} {TLS}.away && {SHORT}", away(TLS)[1]),
    Cause("GatewayDown", "spark1", *unit("stop start", "dgx-spark-gateway")),
    Cause("EngineImagesUnequal", "spark2", *OTHER, seconds=420),
    Cause(
        "EngineCanarySlow",
        "spark1",
        inside(f"mkdir -p {INJECTED} && echo 6 > {INJECTED}/slow-tokens"),
        inside(f"rm -r {INJECTED}"),
    ),
]
#: what watches is broken itself
OF_WATCHING = [
    Cause("TargetDown", "spark2", *unit("stop start", "dgx-spark-node-exporter")),
    Cause("SparkFiguresMissing", "spark1", *unit("stop start", "dgx-spark-metrics")),
]
#: one after another
OF_ENGINES = [
    Cause(
        "EngineStateOld",
        "spark1",
        f"sudo docker pause {CONTAINER}",
        "sudo docker unpause $(sudo docker ps --quiet --filter status=paused)",
        also="TargetDown",
    ),
    Cause("EngineNotServing", "spark2", *unit("stop start", "dgx-spark-trtllm"), seconds=420),
    Cause("EngineRestarts", "spark2", *LOST, also="EngineNotServing EngineGaveUp", seconds=420),
    Cause("EngineGaveUp", "spark2", *LOST, also="EngineNotServing EngineRestarts", seconds=600, play="start.yml"),
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
    here = one.internet.rpartition(".")[0] + ".1"
    one.variables.update(
        spark_launcher="docker",
        spark_api_exposure="key",
        api_gateway_keys_dir=str(one.scratch / "keys"),
        engine_serve_meminfo_path=MEMINFO,
        engine_serve_canary_interval=5,
        engine_serve_canary_timeout=10,
        engine_serve_max_starts=12,
        monitoring_alert_webhook_url=f"http://{here}:{hook.server.server_port}/s3cret",
        **SETTINGS,
    )
    for name in SPARKS:
        one.host(name).check_output(f"sudo cp /proc/meminfo {MEMINFO}")
    yield one
    taken_down(one)


@pytest.fixture(scope="module")
def before(lab: Pair) -> State:
    """What the Sparks have while they serve behind a gateway, and nobody watches."""
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
    hidden = {"Write Alertmanager's configuration"}  # whether that changed is not shown, as nothing of it
    for name in SPARKS:
        assert {"Write the monitoring's files", "Start the monitoring's units"} <= made[name]
    assert made["spark1"] == planned["spark1"] - hidden
    assert planned["spark1"] >= hidden
    assert made["spark2"] == planned["spark2"]
    assert "s3cret" not in run.said
    return lab


def asked(lab: Pair, path: str) -> Any:
    """The data that Prometheus answers on the leader."""
    return json.loads(lab.host("spark1").check_output(f"curl --silent --fail --max-time 20 '{API}/{path}'"))["data"]


def firing(lab: Pair) -> set[str]:
    return {one["labels"]["alertname"] for one in asked(lab, "alerts")["alerts"] if one["state"] == "firing"}


def run_program(lab: Pair, spark: str, program: Path, *words: str) -> str:
    """What a program of these tests prints that runs as root on a Spark."""
    ssh = ["ssh", "-F", str(lab.home / "ssh_config"), spark, shlex.join(["sudo", "python3", "-", *words])]
    done = subprocess.run(ssh, input=program.read_text(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    config = "/etc/dgx-spark/monitoring/alertmanager/alertmanager.yml"
    assert leader.check_output(f"sudo stat --format '%a %U' {config}") == "600 root"
    readable = leader.run("grep --recursive --files-with-matches s3cret /etc/dgx-spark/monitoring /run/credentials")
    assert readable.stdout == ""
    assert "s3cret" not in leader.check_output("ps -eo args")
    listening = leader.check_output("sudo ss --listening --tcp --numeric --no-header")
    beyond = [line.split()[3] for line in listening.splitlines() if re.search(r":(9090|9093|9100)$", line.split()[3])]
    assert sorted(beyond) == ["127.0.0.1:9090", "127.0.0.1:9093", "127.0.0.1:9100"]


@contextmanager
def loaded(lab: Pair, streams: int) -> Iterator[None]:
    """So many clients ask one question after another, on the leader."""
    body = json.dumps({"model": "any", "messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 32})
    ask = f"curl --silent --max-time 60 --output /dev/null --json {shlex.quote(body)} {CHAT}"
    clients = f"for one in $(seq {streams}); do while true; do {ask} || sleep 1; done & done; wait"
    words = f"--collect --expand-environment=no --unit load --property=RuntimeMaxSec={2 * LOAD_S}"
    lab.host("spark1").check_output(f"sudo systemd-run --quiet {words} sh -c {shlex.quote(clients)}")
    try:
        yield
    finally:
        lab.host("spark1").check_output("sudo systemctl stop load")


def test_nobody_but_the_supervisor_reads_what_it_tells_a_busy_engine_by(watched: Pair) -> None:
    """Each reading of TensorRT-LLM's /metrics takes away what was told; seen in the packets, while the engine is busy.

    So many wait for so slow an engine that a canary comes late, and the supervisor has to read. It finds tokens, and
    leaves the engine alone.
    """
    leader, ranks = watched.host("spark1"), incarnations(watched)
    up = "query?query=up%7Bjob=%22engine%22%7D"
    eventually(lambda: [one["value"][1] for one in asked(watched, up)["result"]], ["1"], seconds=60)
    leader.check_output(inside(f"mkdir -p {INJECTED} && echo 0.5 > {INJECTED}/slow-tokens"))
    try:
        with loaded(watched, 12):
            found = json.loads(run_program(watched, "spark1", HERE / "readers_program.py", "8355", "90"))
    finally:
        leader.check_output(inside(f"rm -r {INJECTED}"))
    readers = {tuple(one.split("\t")): count for one, count in found.items()}
    of = {
        path: {agent: count for (asked_for, agent), count in readers.items() if asked_for == f"GET {path}"}
        for path in ("/metrics", "/prometheus/metrics")
    }
    print(f"readings in 90 s, by who reads: {of}")
    assert set(of["/prometheus/metrics"]) == {"Prometheus"}
    assert of["/prometheus/metrics"]["Prometheus"] >= 10
    assert set(of["/metrics"]) == {""}, "the supervisor, which gives no name"
    eventually(lambda: incarnations(watched), ranks, seconds=120)


def test_every_metric_of_the_rules_is_told_here_or_is_known_not_to_be(watched: Pair) -> None:
    eventually(lambda: bool(watched.asked()), True, seconds=120)
    names = {
        name
        for rule in rules()
        for name in re.findall(r"\b(?:dgx_spark|node|trtllm|scrape)_[a-z0-9_]+|\b(?:vllm|sglang):[a-z_]+", rule["expr"])
    }

    def lacking() -> list[str]:
        told = set(asked(watched, "label/__name__/values"))
        return sorted(name for name in names - told if not NOT_HERE.fullmatch(name))

    eventually(lacking, [], seconds=90)  # images and certificates are read once a minute
    records = {rule["record"] for rule in rules() if "record" in rule}
    print(f"{len(names)} metrics, of which the lab has not: {sorted(filter(NOT_HERE.fullmatch, names))}")
    eventually(lambda: sorted(records - set(asked(watched, "label/__name__/values"))), [], seconds=90)


def rules() -> list[dict[str, Any]]:
    texts = [path.read_text() for path in RULES.glob("*.yml")]
    return [rule for text in texts for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def followed(lab: Pair, clocks: dict[str, Clock], fires: bool, seconds: float) -> tuple[dict[str, str], set[str]]:
    """How long each alert took to fire, or to end; and all that fired meanwhile."""
    took: dict[str, str] = {}
    every: set[str] = set()
    while set(took) != set(clocks):
        now = firing(lab)
        every |= now
        for alert in set(clocks) - set(took):
            if (alert in now) == fires:
                took[alert] = str(clocks[alert])
        late = [alert for alert in set(clocks) - set(took) if clocks[alert].over(seconds)]
        assert late == [], f"{late}, of {took}"
        time.sleep(1)
    return took, every


@contextmanager
def mended(lab: Pair, causes: list[Cause]) -> Iterator[dict[str, Clock]]:
    """Mend all that was injected when this is over; what it yields has then a clock for each alert."""
    clocks: dict[str, Clock] = {}
    failed = []
    try:
        yield clocks
    finally:
        for cause in causes:
            done = lab.host(cause.spark).run(cause.mend)
            clocks.update({alert: Clock() for alert in cause.alerts.split()})
            failed += [] if done.succeeded else [f"{cause.alerts}: {done.stderr}"]
            run = lab.play(cause.play) if cause.play else None
            failed += [run.said] if run and run.status != "successful" else []
    assert failed == []


def tried(lab: Pair, hook: Hook, causes: list[Cause]) -> None:
    """Inject causes at once; see that their alerts fire, and no other; mend them, and see that all of them end."""
    eventually(lambda: firing(lab), set(), seconds=180)
    wanted = {alert for cause in causes for alert in cause.alerts.split()}
    allowed = wanted | {alert for cause in causes for alert in cause.also.split()}
    seconds = max(cause.seconds for cause in causes)
    begun: dict[str, Clock] = {}
    with mended(lab, causes) as over:
        for cause in causes:
            lab.host(cause.spark).check_output(cause.command)
            begun.update({alert: Clock() for alert in cause.alerts.split()})
        fired, others = followed(lab, begun, True, seconds)
        # Alertmanager waits some seconds for more, and tells nobody of what has ended by then.
        eventually(
            lambda: {alert for alert, status in hook.statuses if status == "firing"} >= wanted, True, seconds=120
        )
    ended, more = followed(lab, over, False, seconds)
    for alert in sorted(wanted):
        print(f"| `{alert}` | {fired[alert]} | {ended[alert]} |")
    assert others | more <= allowed


def test_what_is_wrong_with_sparks_fires_and_ends(watched: Pair, hook: Hook) -> None:
    tried(watched, hook, OF_SPARKS)


def test_what_is_wrong_with_the_watching_fires_and_ends(watched: Pair, hook: Hook) -> None:
    tried(watched, hook, OF_WATCHING)


def test_a_full_disk_and_another_clock_fire_and_end(watched: Pair, hook: Hook) -> None:
    """They are simulated: Prometheus is led to a relay that changes two figures of the node exporter."""
    copy = f"printf %s {shlex.quote((HERE / 'relay_program.py').read_text())} | sudo tee /run/relay.py >/dev/null"
    start = "sudo systemd-run --quiet --collect --unit relay python3 /run/relay.py 0.0.0.0:9101"
    rule = "iptables --table nat --{} PREROUTING --protocol tcp --dport 9100 --jump REDIRECT --to-port 9101"
    anew = "sudo systemctl restart dgx-spark-node-exporter"  # an open connection goes on as it began
    command = f"{copy}; {start} http://127.0.0.1:9100/metrics && sudo {rule.format('insert')} && {anew}"
    mend = f"sudo {rule.format('delete')}; sudo systemctl stop relay; sudo rm /run/relay.py"
    tried(watched, hook, [Cause("ClocksApart DiskFull", "spark2", command, mend)])


@pytest.mark.parametrize("cause", OF_ENGINES, ids=lambda cause: cause.alerts)
def test_what_is_wrong_with_an_engine_fires_and_ends(watched: Pair, hook: Hook, cause: Cause) -> None:
    if cause.command == LOST[0]:  # so that a run is a good one soon
        limit = """sudo sed -i -E 's/"forget_s": [0-9.]+/"forget_s": 20/' /etc/dgx-spark/trtllm/cluster.json"""
        watched.host("spark1").check_output(limit)
    tried(watched, hook, [cause])
    eventually(lambda: bool(watched.asked()), True, seconds=180)


def test_tcp_in_place_of_rdma_fires_and_ends(watched: Pair, hook: Hook) -> None:
    eventually(lambda: firing(watched), set(), seconds=180)
    run = watched.serve(engine_serve_require_rdma=False, trtllm_serve_environment={"NCCL_IB_DISABLE": "1"})
    clock = Clock()
    assert run.status == "successful", run.said
    fired, others = followed(watched, {"EngineOnTcp": clock}, True, 120)
    run = watched.serve()
    assert run.status == "successful", run.said
    ended, more = followed(watched, {"EngineOnTcp": Clock()}, False, 120)
    print(f"| `EngineOnTcp` | {fired['EngineOnTcp']} | {ended['EngineOnTcp']} |")
    assert others | more == {"EngineOnTcp"}


def test_every_alert_is_tried_here() -> None:
    tried_here = {alert for cause in (*OF_SPARKS, *OF_WATCHING, *OF_ENGINES) for alert in cause.alerts.split()}
    assert tried_here | {"ClocksApart", "DiskFull", "EngineOnTcp"} == {
        one["alert"] for one in rules() if "alert" in one
    }


def test_people_are_told_that_it_is_over(hook: Hook, watched: Pair) -> None:
    eventually(lambda: ("GpuHot", "resolved") in hook.statuses, True, seconds=180)


def spent(lab: Pair) -> dict[str, tuple[float, float]]:
    """By unit seconds of a processor since it was started, and MiB, of its processes and those that they have ended."""
    found = {}
    for name, parts in UNITS.items():
        units = " ".join(f"dgx-spark-{part}" for part in parts)
        pids = lab.host(name).check_output(f"systemctl show --property=MainPID --value {units}").split()
        for part, pid in zip(parts, pids):
            stat, rollup = (
                lab.host(name)
                .check_output(f"sudo sh -c 'cat /proc/{pid}/stat && grep ^Pss: /proc/{pid}/smaps_rollup'")
                .splitlines()
            )
            ticks = [int(word) for word in stat.rpartition(")")[2].split()[11:15]]
            found[f"{part} on {name}"] = (sum(ticks) / 100, int(rollup.split()[1]) / 1024)
    return found


def test_nothing_fires_on_a_healthy_pair_under_load(watched: Pair) -> None:
    """And what the watching costs meanwhile: figures of a virtual Spark, bounded loosely."""
    eventually(lambda: firing(watched), set(), seconds=180)
    first, began = spent(watched), time.monotonic()
    with loaded(watched, 4):
        while time.monotonic() < began + LOAD_S:
            assert watched.asked()
            assert firing(watched) == set()
            time.sleep(2)
    second, passed = spent(watched), time.monotonic() - began
    for name, (seconds, mib) in second.items():
        print(f"| {name} | {(seconds - first[name][0]) / passed:.1%} of a processor | {mib:.0f} MiB |")
    disk = "sudo du --summarize --bytes /var/lib/dgx-spark-prometheus"
    print(f"after {passed:.0f} s: {watched.host('spark1').check_output(disk)}")
    assert sum(mib for _seconds, mib in second.values()) < 1024


def test_an_undo_leaves_what_was_there(watched: Pair, before: State) -> None:
    undo = [
        {
            "name": "Undo",
            "ansible.builtin.import_role": {"name": "sparkops.dgx_spark.monitoring", "tasks_from": "undo"},
        }
    ]
    play = [{"hosts": "spark", "gather_facts": False, "tasks": undo}]
    run = watched.play(play, monitoring_undo_packages=True)
    assert run.status == "successful", run.said
    left = differences(before, captured(watched), BY_SERVING, STARTED, REMEMBERED, PACKAGES)
    assert left == []
    again = watched.play(play, monitoring_undo_packages=True)
    assert (again.status, again.changed) == ("successful", {}), again.said
