# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the supervisor of a pair tells a webhook: one message for each change that lasts, whatever the receiver does."""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any, Iterator

import pytest

from .conftest import SERVED, SPARKS, Pair, Run, eventually
from .test_hf_cache import command_lines_with
from .test_serve_faults import INJECTED, back, inside, serves
from .test_two_spark_faults import incarnations, state

pytestmark = pytest.mark.matrix
ETC = "/etc/dgx-spark/trtllm"
PORT = 9099
#: a receiver on the leader: it appends what it gets to a file, and answers with the status in another, or hangs
RECEIVER = f"""
import http.server, pathlib, time
got, mode = pathlib.Path("/tmp/alerts.got"), pathlib.Path("/tmp/alerts.mode")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with got.open("ab") as file:
            file.write(body + b"\\n")
        said = mode.read_text().strip() if mode.exists() else "200"
        if said == "hang":
            time.sleep(600)
        self.send_response(int(said))
        self.end_headers()
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", {PORT}), Handler).serve_forever()
"""


@dataclass
class Alerted:
    """A pair that serves, and the receiver of its alerts."""

    pair: Pair
    secret: str
    first: Run

    @property
    def got(self) -> list[dict[str, Any]]:
        text = self.pair.host("spark1").check_output("cat /tmp/alerts.got 2>/dev/null || true")
        return [json.loads(line) for line in text.splitlines()]

    @property
    def events(self) -> list[str]:
        return [one["event"] for one in self.got]

    def forget(self) -> None:
        self.pair.host("spark1").check_output("sudo rm -f /tmp/alerts.got")

    def start(self, mode: str = "200") -> None:
        leader = self.pair.host("spark1")
        leader.check_output(f"echo {mode} | sudo tee /tmp/alerts.mode")
        leader.run("sudo systemctl stop alerts")
        leader.check_output("sudo systemd-run --quiet --collect --unit alerts python3 -c %s", RECEIVER)

    def stop(self) -> None:
        self.pair.host("spark1").check_output("sudo systemctl stop alerts")

    @property
    def kept(self) -> dict[str, Any]:
        """What the supervisor has told, and what it has yet to deliver."""
        return json.loads(self.pair.host("spark1").check_output("sudo cat /var/lib/dgx-spark/trtllm/alerts.json"))

    @property
    def memory(self) -> dict[str, Any]:
        return self.kept["memory"]

    def delivered(self, seconds: int = 120) -> None:
        """Wait until it is told that it serves, and all that was told has arrived."""
        eventually(lambda: (self.memory["told"], self.kept["waiting"]), ("up", []), seconds=seconds)

    def ready(self) -> set[str]:
        """Wait until all that an earlier test did is over and told, and forget that; returns the ranks."""
        ranks = serves(self.pair)
        self.delivered()
        self.forget()
        return ranks

    def settled(self, *events: str, seconds: int = 60) -> None:
        """Wait for these messages, and see that no other one follows."""
        eventually(lambda: self.events, list(events), seconds=seconds)
        time.sleep(13)  # for what is told at once, or of ten seconds
        assert self.events == list(events)


@pytest.fixture(scope="module")
def alerted(serving: Pair) -> Iterator[Alerted]:
    """One that is told of after ten seconds down and thirty up; the URL comes to engines that serve.

    More than one probe lies within ten seconds, and so many may fail that a test may have some fail on purpose.
    """
    before = dict(serving.variables)
    serving.variables.update(engine_serve_canary_failures="20")
    run = serving.serve()
    assert run.status == "successful", run.said
    patient = dict(serving.variables)
    ranks, secret = serves(serving), secrets.token_hex(16)
    one = Alerted(serving, secret, Run("", {}, [], ""))
    one.start()
    one.forget()
    serving.variables.update(
        spark_alert_url=f"http://127.0.0.1:{PORT}/hooks/{secret}",
        engine_serve_alert_after="10",
        engine_serve_alert_settle="30",
    )
    one.first = serving.serve()
    assert one.first.status == "successful", one.first.said
    assert incarnations(serving) == ranks, "nothing was started again"
    yield one
    serving.variables = patient
    ranks = serves(serving)
    run = serving.serve()
    assert run.status == "successful", run.said
    assert run.made() == {"spark1": {"Remove the settings of alerts"}}
    assert incarnations(serving) == ranks
    assert not serving.host("spark1").file(f"{ETC}/alert_url").exists
    one.stop()
    serving.variables = before
    run = serving.serve()
    assert run.status == "successful", run.said


def test_a_receiver_comes_without_a_restart_and_has_a_heartbeat(alerted: Alerted) -> None:
    assert alerted.first.changed == {"spark1": 1}
    assert alerted.first.made() == {}, "the result of the task with the URL is not shown"
    alerted.settled("heartbeat")
    (got,) = alerted.got
    assert (got["name"], got["host"], got["phase"]) == ("dgx-spark-trtllm", "spark1", "serving")
    again = alerted.pair.serve()
    assert again.status == "successful", again.said
    assert again.changed == {}, again.made()
    assert alerted.events == ["heartbeat"]


def test_the_url_is_in_one_file_alone(alerted: Alerted) -> None:
    """Not where a play, Docker, a process or a log could show it, also while messages are posted."""
    pair, shown, stop = alerted.pair, set(), threading.Event()
    ranks = serves(pair)
    sampler = threading.Thread(target=command_lines_with, args=(alerted.secret, shown, stop), daemon=True)
    sampler.start()
    try:
        dry = pair.play("two_spark.yml", check=True, **{**SERVED, "engine_serve_alert_after": "3"})
        assert dry.status == "successful", dry.said
        assert dry.planned() == {"spark1": {"Write the settings of alerts"}}
        pair.host("spark1").check_output("sudo pkill -KILL -f [m]gmn_leader_node")
        back(pair, ranks, 120)
    finally:
        stop.set()
        sampler.join()
    assert shown == set()
    for run in (alerted.first, dry):
        assert alerted.secret not in run.said
        assert alerted.secret not in str(run.events)
    leader = pair.host("spark1")
    url = leader.file(f"{ETC}/alert_url")
    assert (url.user, url.mode) == ("root", 0o600)
    for name in SPARKS:
        host = pair.host(name)
        # The pattern comes by standard input, not to be found on the command line that looks for it.
        look = "echo %s | sudo grep -rlF --devices=skip --file=- /etc /home /opt /root /run /srv /usr/local /var"
        looked = host.run(f"{look} --exclude-dir=overlay2 --exclude-dir=rootfs", alerted.secret)
        found = [path for path in looked.stdout.splitlines() if not path.startswith("/proc")]
        assert found == ([f"{ETC}/alert_url"] if name == "spark1" else []), found
        inspect = "sudo docker ps --all --quiet | xargs --no-run-if-empty sudo docker inspect"
        services = "sudo docker service ls --quiet 2>/dev/null | xargs --no-run-if-empty sudo docker service inspect"
        logs = "sudo docker ps --all --quiet | xargs --max-args 1 sudo docker logs 2>&1"
        said = host.check_output(f"{inspect}; {services}; {logs}; sudo journalctl --quiet --boot --unit 'dgx*'")
        assert alerted.secret not in said
    assert alerted.secret not in json.dumps(alerted.got)


def test_one_message_a_change_over_a_canary_that_flaps(alerted: Alerted) -> None:
    ranks, leader = alerted.ready(), alerted.pair.host("spark1")
    for _time in range(4):
        leader.check_output(inside(f"mkdir -p {INJECTED} && touch {INJECTED}/engine-dead"))
        try:
            eventually(lambda: (alerted.memory["told"], alerted.memory["since"]), ("down", 0.0), seconds=60)
        finally:
            leader.check_output(inside(f"rm -f {INJECTED}/engine-dead"))
        eventually(lambda: alerted.memory["since"] > 0, True, seconds=60)  # it serves, not for long yet
    alerted.settled("down", "recovered")
    assert incarnations(alerted.pair) == ranks, "nothing was ended for it"


def test_ranks_that_are_killed_are_one_fall_and_one_recovery(alerted: Alerted) -> None:
    ranks = alerted.ready()
    alerted.pair.host("spark2").check_output("sudo pkill -KILL -f [m]gmn_worker_node")
    back(alerted.pair, ranks, 120)
    alerted.settled("down", "recovered")
    assert "rank" in alerted.got[0]["text"] or alerted.got[0]["phase"] in ("waiting", "starting", "failed")
    values = state(alerted.pair)
    assert values["receipt"]["transports"] == {"spark1": "IB", "spark2": "IB"}
    assert values["last_receipt"]["at"] < values["receipt"]["at"]
    assert 0 < values["receipt"]["port_s"] <= values["receipt"]["health_s"] <= values["receipt"]["first_token_s"] + 1
    assert values["receipt"]["bytes_loaded"] > 0
    assert values["receipt"]["nccl"]
    assert values["canary_s"] > 0
    assert values["last_end_at"] > 0


@pytest.mark.parametrize("mode", ["dead", "hang", "500"])
def test_an_odd_receiver_holds_nothing_up(alerted: Alerted, mode: str) -> None:
    """The same fault as without alerts, within the same time; and the last message arrives when there is a receiver."""
    ranks = alerted.ready()
    alerted.stop()
    if mode != "dead":
        alerted.start(mode)
    try:
        alerted.pair.host("spark2").check_output("sudo pkill -KILL -f [m]gmn_worker_node")
        back(alerted.pair, ranks, 120)
        if mode == "hang":
            alerted.delivered()  # it takes what is told; to end it meanwhile would be an error to try again
    finally:
        alerted.start()
    alerted.delivered(seconds=300)
    got = alerted.got
    if mode != "500":
        assert len({one["id"] for one in got}) == len(got), "each arrived once"
    told = list(dict.fromkeys(one["event"] for one in got))  # with an error for an answer, more than once
    left_out = mode == "dead" and told == ["recovered"] and got[-1]["left_out"] == 1
    assert told == ["down", "recovered"] or left_out, got


def test_giving_up_is_told_and_so_is_a_start_on_purpose(alerted: Alerted) -> None:
    play = alerted.pair.serve(engine_serve_max_starts=2)
    assert play.status == "successful", play.said
    alerted.ready()
    worker, blobs = alerted.pair.host("spark2"), "~/.cache/huggingface/hub/models--lab--tiny-chat/blobs"
    blob = worker.check_output(f"ls -S {blobs}/* | head -1")
    try:
        worker.check_output(f"mv {blob} {blob}.away && sudo pkill -KILL -f [m]gmn_worker_node")
        eventually(lambda: state(alerted.pair)["phase"], "gave up", seconds=240)
        eventually(lambda: alerted.events[-1:], ["gave_up"], seconds=60)
        fall = alerted.events
        assert fall in (["down", "gave_up"], ["gave_up"]), "it may give up within ten seconds"
        alerted.settled(*fall)
        assert alerted.got[-1]["reason"].startswith("2 starts failed; the last: ")
    finally:
        worker.check_output(f"mv {blob}.away {blob}")
    play = alerted.pair.serve(engine_serve_max_starts=2)
    assert play.status == "successful", play.said
    alerted.settled(*fall, "heartbeat", "recovered")


def test_tcp_is_told_once_and_so_is_rdma(alerted: Alerted) -> None:
    play = alerted.pair.serve()
    assert play.status == "successful", play.said
    alerted.ready()
    play = alerted.pair.serve(engine_serve_require_rdma=False, trtllm_serve_environment={"NCCL_IB_DISABLE": "1"})
    assert play.status == "successful", play.said
    alerted.settled("heartbeat", "tcp")
    assert "rank 1 on spark2: NCCL uses Socket" in alerted.got[1]["text"]
    play = alerted.pair.serve()
    assert play.status == "successful", play.said
    alerted.settled("heartbeat", "tcp", "heartbeat", "rdma")
