# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role hf_cache with the real hf client: one model on two Sparks, everything that can go wrong on the way, and a
draft model beside it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from .conftest import ROOT, Lab, Run, brought_up, eventually, taken_down
from .test_internet import control, in_internet

pytestmark = pytest.mark.matrix
GATED, TOKEN = "lab/gated-200m", "hf_lab_topsecret"
SIZE = 200_000_000
DRAFT, DRAFT_SIZE = "lab/draft-30m", 30_000_000
#: the plan of a model that is not there yet reads config.json from the hub, and the beginnings of its five files
PLAN_READS = 20_000 + 5 * 65_536
#: of a download: the whole file, or the rest; the plan asks for beginnings
DOWNLOADS = r"^(bytes=\d+-)?$"
FABRIC, HUB = "enp1s0f0np0", "/home/nvidia/.cache/huggingface/hub"
BROUGHT = "bring | Download or copy the model"


class CacheLab(Lab):
    """Sparks with a fabric, and a hub that counts."""

    def cache(self, check: bool = False, **variables: Any) -> Run:
        """Run the role."""
        return self.play(self.plays(**variables), check=check)

    def verify(self, **variables: Any) -> Run:
        """Run the entry points that change nothing."""
        return self.play(self.plays("plan", "verify", **variables))

    def plays(self, *entry_points: str, **variables: Any) -> list[dict[str, Any]]:
        role = {"name": "sparkops.dgx_spark.hf_cache"}
        options = {
            "hf_cache_repo": GATED,
            "hf_cache_endpoint": "http://huggingface.test",
            "hf_cache_token": TOKEN,
            "hf_cache_members": self.names,
            "peer_copy_address": "192.168.100.10",
            "hf_cache_reserve_gb": 1,
            "hf_cache_stall_seconds": 30,
            **variables,
        }
        tasks = [
            {"name": f"Run {one}", "ansible.builtin.import_role": {**role, "tasks_from": one}}
            for one in entry_points or ["main"]
        ]
        return [{"hosts": "spark", "gather_facts": False, "any_errors_fatal": True, "vars": options, "tasks": tasks}]

    def begun(self, **variables: Any) -> subprocess.Popen[str]:
        """Start the role in a terminal's own session, so that it can be interrupted as by Ctrl-C."""
        path = self.scratch / f"play-{secrets.token_hex(3)}.yml"
        path.write_text(yaml.safe_dump(self.plays(**variables)))
        settings = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
        }
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(self.inventory), str(path)],
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def forget(self, *repos: str) -> None:
        """Take models from all Sparks, this file's own where none is named, and what the hub counted."""
        folders = " ".join(f"{HUB}/models--{repo.replace('/', '--')}" for repo in repos or (GATED, DRAFT))
        for name in self.names:
            self.host(name).check_output(f"rm -rf {folders} {HUB}/.locks ~/.cache/huggingface/.dgx-spark")
        control(self, "DELETE", "/faults")
        control(self, "DELETE", "/stats")

    def fault(self, **about: Any) -> None:
        where = {} if "/xet/" in about.get("match", "") else {"range": DOWNLOADS}
        control(self, "POST", "/faults", {"service": "hub", "match": "cdn.*safetensors", **where, **about})

    def hub_bytes(self) -> int:
        return control(self, "GET", "/stats")["services"].get("hub", {}).get("content_bytes", 0)

    def blobs(self, name: str, repo: str = GATED) -> set[str]:
        """The blobs of a Spark, each proven to be what its name says; nothing else may be beside them."""
        folder = f"~/.cache/huggingface/hub/models--{repo.replace('/', '--')}/blobs"
        lines = self.host(name).check_output(f"cd {folder} && sha256sum $(ls -A | grep -E '^.{{64}}$')").splitlines()
        assert all(line.split()[0] == line.split()[1] for line in lines), lines
        return set(self.host(name).check_output(f"ls -A {folder}").split())

    def copied(self, name: str) -> int:
        """The bytes of a model that are on a worker, or on their way to it."""
        return int(self.host(name).check_output("du -sb ~/.cache/huggingface/hub 2>/dev/null | cut -f1") or 0)

    def nothing_left(self, *repos: str) -> None:
        """No key, no authorized key, no program of a copy."""
        folders = [f"models--{repo.replace('/', '--')}" for repo in repos or [GATED]]
        for name in self.names:
            host = self.host(name)
            assert "sparkops.dgx_spark" not in host.check_output("cat ~/.ssh/authorized_keys")
            assert not host.file("/home/nvidia/.dgx-spark").exists
            assert set(host.check_output("ls ~/.cache/huggingface/.dgx-spark").split()) == {
                f"{folder}.{kind}" for folder in folders for kind in ("json", "lock")
            }

    def undo(self, **variables: Any) -> Run:
        """Run the entry point that takes back what the role made."""
        return self.play(self.plays("undo", **variables))

    @contextmanager
    def mounted(self, name: str, repo: str) -> Iterator[None]:
        """Have a container run on a Spark that has a model mounted."""
        sleep = "tar --create --dereference /bin/sleep /lib/x86_64-linux-gnu/libc.so.6 /lib64/ld-linux-x86-64.so.2"
        spark, folder = self.host(name), f"{HUB}/models--{repo.replace('/', '--')}"
        spark.check_output(f"{sleep} | sudo docker import - sleeper")
        spark.check_output(f"sudo docker run --detach --name sleeper -v {folder}:/model:ro sleeper /bin/sleep 600")
        try:
            yield
        finally:
            spark.check_output("sudo docker rm --force sleeper && sudo docker image rm sleeper")


@pytest.fixture(scope="module")
def sparks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CacheLab]:
    """Two Sparks whose fabric has addresses, and a gated model of 200 MB in five shards on the hub."""
    plain = brought_up(tmp_path_factory.mktemp("cache"), virtual_spark_count=2)
    one = CacheLab(plain.scratch, plain.name, plain.variables)
    seed = ["python3", "-m", "virtual_internet.seed", "--root=/srv/virtual-internet", f"--repo={GATED}"]
    in_internet(one, *seed, "--size=200M", "--shards=5", "--gated=manual")
    tokens = {TOKEN: {"name": "friend", "granted": [GATED]}}
    program = f"open('/srv/virtual-internet/hub/tokens.json', 'w').write({json.dumps(tokens)!r})"
    in_internet(one, "python3", "-c", program)
    fabric = {"name": "sparkops.dgx_spark.cx7_network"}
    tasks = [{"name": "Fabric", "ansible.builtin.import_role": fabric, "vars": {"cx7_network_members": one.names}}]
    run = one.play([{"hosts": "spark", "gather_facts": False, "tasks": tasks}])
    assert run.status == "successful", run.said
    yield one
    taken_down(one)


@pytest.fixture
def blank(sparks: CacheLab) -> CacheLab:
    """The Sparks without the model, the hub without faults."""
    sparks.forget()
    return sparks


@pytest.fixture
def had(sparks: CacheLab) -> CacheLab:
    """The Sparks with the model, the hub without faults."""
    control(sparks, "DELETE", "/faults")
    run = sparks.cache()
    assert run.status == "successful", run.said
    control(sparks, "DELETE", "/stats")
    return sparks


def command_lines_with(secret: str, seen: set[str], stop: threading.Event) -> None:
    """Note every command line of this machine, on which its virtual Sparks run too, that shows a secret."""
    while not stop.wait(0.05):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes()
            except OSError:
                continue
            if secret.encode() in line:
                seen.add(line.decode(errors="replace"))


def test_crosses_the_internet_once_and_then_the_fabric_in_spite_of_two_disconnects(blank: CacheLab) -> None:
    foretold = blank.cache(check=True)
    assert foretold.status == "successful", foretold.said
    shown = foretold.results("apply | Show the planned changes")
    assert {name: one["planned"][-1] for name, one in shown.items()} == dict.fromkeys(
        ("spark1", "spark2"), "Download or copy the model"
    )
    assert re.search(r"Copy lab/gated-200m@\w{7} from spark1 \(\d+ files, 0\.20 GB\)", foretold.words)
    assert foretold.results("plan | Read what every cache has of the model")["spark2"]["needed_bytes"] // 10**6 == 200
    blank.fault(kind="cut", after_bytes=10_000_000, how="fin", times=2)
    shown: set[str] = set()
    stop = threading.Event()
    sampler = threading.Thread(target=command_lines_with, args=(TOKEN, shown, stop))
    sampler.start()
    run = blank.cache()
    stop.set()
    sampler.join()
    assert run.status == "successful", run.said
    assert shown == set(), "the token is on a command line"
    assert TOKEN not in run.said
    size = run.registered("hf_cache_report")["spark1"]["bytes"]
    # hf goes on where it was, but for the piece of 10 MiB that it had not written yet.
    assert size <= blank.hub_bytes() <= size + 2 * 10_485_760 + PLAN_READS
    assert [fault["kind"] for fault in control(blank, "GET", "/faults")["applied"]] == ["cut", "cut"]
    copy = run.results(BROUGHT)["spark2"]
    assert copy["moved_bytes"] == size
    assert copy["netdev"] == FABRIC
    assert size <= copy["carried_bytes"][FABRIC] < 1.05 * size
    assert set(copy["carried_bytes"]) == {FABRIC}
    assert copy["bound_by"] in {"link", "processor", "disk", "hashing", "sender"}
    assert "copied, " in run.said, "progress is shown"
    assert blank.blobs("spark1") == blank.blobs("spark2")
    blank.nothing_left()
    # The client itself takes what was copied, without a network.
    offline = "HF_HUB_OFFLINE=1 /opt/dgx-spark-hf/bin/hf download lab/gated-200m --quiet"
    assert "/snapshots/" in blank.host("spark1").check_output(offline)


def test_further_runs_move_nothing(had: CacheLab) -> None:
    for check in (False, True):
        again = had.cache(check=check)
        assert again.status == "successful", again.said
        assert again.changed == {}, again.made()
    assert had.hub_bytes() == 0
    assert had.cache(hf_cache_verify="full").changed == {}


def test_a_flipped_bit_is_found_and_mended_from_the_leader(had: CacheLab) -> None:
    blob = "~/.cache/huggingface/hub/models--lab--gated-200m/snapshots/*/model-00002-of-00005.safetensors"
    flip = f"f=$(readlink -f {blob}); printf X | dd of=$f bs=1 seek=77777 conv=notrunc status=none"
    had.host("spark2").check_output(flip)
    run = had.cache()
    assert run.status == "successful", run.said
    assert set(run.changed) == {"spark2"}, "the leader's access is opened and closed, which is no change"
    assert run.results(BROUGHT)["spark2"]["moved_bytes"] == SIZE // 5
    assert had.hub_bytes() == 0
    assert had.blobs("spark1") == had.blobs("spark2")
    had.nothing_left()


#: changes a byte without the file's size or times being any news, as a disk does that forgets
ROT = """python3 -c '
import json, os, pathlib
home = pathlib.Path.home() / ".cache/huggingface"
blob = next((home / "hub/models--lab--gated-200m").glob("snapshots/*/model-00002-of-00005.safetensors")).resolve()
with blob.open("r+b") as file:
    file.seek(77777)
    was = file.read(1)
    file.seek(77777)
    file.write(bytes([was[0] ^ 1]))
about = blob.stat()
for notes in (home / ".dgx-spark").glob("*.json"):
    noted = json.loads(notes.read_text())
    if blob.name in noted["verified"]:
        noted["verified"][blob.name] = [about.st_size, about.st_mtime_ns, about.st_ino, about.st_ctime_ns]
        notes.write_text(json.dumps(noted))
'"""


def test_what_rotted_on_the_disk_is_found_where_everything_is_read_again(had: CacheLab) -> None:
    had.host("spark2").check_output(ROT)
    assert had.verify().status == "successful", "nothing tells but the bytes themselves"
    full = had.verify(hf_cache_verify="full")
    assert full.status == "failed"
    assert "model-00002-of-00005.safetensors" in full.said
    assert set(had.cache().changed) == {"spark2"}
    assert had.verify(hf_cache_verify="full").status == "successful"


FAULTS = {
    "429": [{"kind": "status", "status": 429, "retry_after": 1, "times": 2}],
    "500": [{"kind": "status", "status": 500, "times": 3}],
    "a flipped byte": [{"kind": "content", "at_byte": 1_000_000}],
    "cut short": [{"kind": "cut", "after_bytes": 5_000_000, "how": "fin", "times": 4}],
    "a wrong etag": [{"kind": "etag", "match": "safetensors"}],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_what_the_hub_does_wrong_is_survived(blank: CacheLab, faults: list[dict[str, Any]]) -> None:
    for fault in faults:
        blank.fault(**fault)
    run = blank.cache()
    assert run.status == "successful", run.said
    assert {fault["kind"] for fault in control(blank, "GET", "/faults")["applied"]} == {faults[0]["kind"]}
    assert blank.blobs("spark2") <= blank.blobs("spark1")
    # One file at most is fetched again.
    assert blank.hub_bytes() <= 1.21 * SIZE
    blank.nothing_left()


XET = "lab/xet-10m"
#: the first part of each file is the last to come, and hf-xet has the others in its memory for that long: 23 s
XET_IN_MEMORY = [
    {"match": "^/xet/.*/xorbs/.*/0$", "kind": "slow", "bytes_per_second": 45_000, "times": None},
    {"match": "^/xet/.*/xorbs/.*/[1-9]", "kind": "slow", "bytes_per_second": 400_000, "times": None},
]
XET_HANGS = [{"match": "^/xet/.*/xorbs/", "kind": "hang", "seconds": 600, "times": None}]


def by_xet(lab: CacheLab, faults: list[dict[str, Any]]) -> tuple[int, set[str]]:
    """Bring a model that the hub offers by Xet; returns how often that was tried, and by which ways it came."""
    seed = ["python3", "-m", "virtual_internet.seed", "--root=/srv/virtual-internet", f"--repo={XET}", "--xet"]
    in_internet(lab, *seed, "--size=10M", "--shards=2")
    lab.forget(XET)
    for fault in faults:
        lab.fault(**fault)
    run = lab.cache(hf_cache_repo=XET, hf_cache_token="", hf_cache_stall_seconds=12)
    assert run.status == "successful", run.said
    assert lab.blobs("spark1", XET) == lab.blobs("spark2", XET)
    assert run.results(BROUGHT)["spark2"]["attempts"] == 1, "the worker waits, whatever the leader meets"
    paths = control(lab, "GET", "/stats")["services"]["hub"]["paths"]
    served = {path.split("/")[1] for path, row in paths.items() if row["bytes_sent"] > 500_000}
    lab.forget(XET)
    return run.results(BROUGHT)["spark1"]["attempts"], served


def test_bytes_that_xet_keeps_in_memory_end_neither_the_download_nor_the_copy(blank: CacheLab) -> None:
    assert by_xet(blank, XET_IN_MEMORY) == (1, {"xet"})


def test_xet_that_hangs_is_left_for_plain_http(blank: CacheLab) -> None:
    assert by_xet(blank, XET_HANGS) == (2, {"cdn"})


#: the worker has two of five files when the leader still waits for the others
LAST_ONES_SLOW = {"match": "cdn.*0000[345]-of", "kind": "slow", "bytes_per_second": 1_000_000, "times": None}


def test_an_interrupted_play_is_taken_up_again(blank: CacheLab) -> None:
    blank.fault(kind="slow", bytes_per_second=6_000_000, times=None)
    play = blank.begun()
    try:
        eventually(lambda: blank.copied("spark2") > 10_000_000, True, seconds=90)
    finally:
        os.killpg(play.pid, signal.SIGINT)
    assert play.wait(60) != 0
    run = blank.cache()
    assert run.status == "successful", run.said
    assert blank.hub_bytes() < SIZE + SIZE / 5, "less than one file is sent again"
    assert blank.blobs("spark1") == blank.blobs("spark2")
    blank.nothing_left()


def test_two_plays_at_once_fetch_it_once(blank: CacheLab) -> None:
    blank.fault(kind="slow", bytes_per_second=10_000_000, times=None)
    plays = [blank.begun(), blank.begun()]
    said = [play.communicate(timeout=300)[0] for play in plays]
    assert [play.returncode for play in plays] == [0, 0], said
    assert blank.hub_bytes() <= 1.005 * SIZE + 1_000_000
    assert blank.blobs("spark1") == blank.blobs("spark2")
    blank.nothing_left()


def test_a_worker_that_reboots_in_the_middle_goes_on_where_it_was(blank: CacheLab) -> None:
    blank.fault(**LAST_ONES_SLOW)
    play = blank.begun()
    eventually(lambda: blank.copied("spark2") > 50_000_000, True, seconds=120)
    blank.host("spark2").run("sudo reboot")
    said = play.communicate(timeout=300)[0]
    assert play.returncode != 0, said
    control(blank, "DELETE", "/faults")
    eventually(lambda: blank.host("spark2").run("systemctl is-active ssh").succeeded, True, seconds=60)
    before = blank.copied("spark2")
    run = blank.cache()
    assert run.status == "successful", run.said
    assert run.results(BROUGHT)["spark2"]["moved_bytes"] <= SIZE * 1.21 - before
    assert blank.hub_bytes() < SIZE + SIZE / 5
    assert blank.blobs("spark1") == blank.blobs("spark2")
    blank.nothing_left()


def test_a_disk_that_fills_in_the_middle_is_told_and_nothing_is_lost(blank: CacheLab) -> None:
    host = blank.host("spark2")
    host.check_output("sudo mkdir -p /small && sudo mount -t tmpfs -o size=1300m,mode=0777 none /small")
    try:
        blank.host("spark1").check_output("sudo mkdir -p /small && sudo chmod 0777 /small")
        blank.fault(**LAST_ONES_SLOW)
        play = blank.begun(hf_cache_dir="/small")
        eventually(
            lambda: (
                "safetensors" in host.run("ls /small/hub/*/snapshots/*").stdout
                or int(host.run("du -sb /small | cut -f1").stdout or 0) > 40_000_000
            ),
            True,
            seconds=120,
        )
        host.run("head -c 1300M /dev/zero > /small/filler")
        said = " ".join(play.communicate(timeout=300)[0].split())
        assert play.returncode != 0
        assert "the disk is full" in said
        host.check_output("rm /small/filler")
        control(blank, "DELETE", "/faults")
        run = blank.cache(hf_cache_dir="/small")
        assert run.status == "successful", run.said
        assert blank.hub_bytes() < SIZE + SIZE / 5
    finally:
        host.run("sudo umount -l /small")
        blank.host("spark1").run("sudo rm -rf /small")


def test_an_older_unfinished_download_is_in_nobodys_way(blank: CacheLab) -> None:
    folder = "~/.cache/huggingface/hub/models--lab--gated-200m/blobs"
    for name in blank.names:
        old = f"{folder}/{'0' * 64}.abc.incomplete"
        blank.host(name).check_output(f"mkdir -p {folder} && head -c 1M /dev/urandom > {old}")
    run = blank.cache()
    assert run.status == "successful", run.said
    assert blank.hub_bytes() <= 1.005 * SIZE + 1_000_000


def test_pruning_takes_one_model_exactly_and_none_that_is_served(had: CacheLab) -> None:
    for name in had.names:
        had.host(name).check_output(f"mkdir -p {HUB}/models--lab--gated-200m-too/blobs")
    role = {"name": "sparkops.dgx_spark.hf_cache", "tasks_from": "prune"}
    tasks = [{"name": "Prune", "ansible.builtin.include_role": role, "vars": {"hf_cache_prune_repo": GATED}}]
    play = [{"hosts": "spark", "gather_facts": False, "tasks": tasks}]
    with had.mounted("spark2", GATED):
        refused = had.play(play)
        assert refused.status == "failed"
        assert f"spark2: {GATED} is being served by sleeper" in refused.words
        assert refused.changed == {}, refused.made()
    run = had.play(play)
    assert run.status == "successful", run.said
    assert run.results("prune | Remove the model's directory")["spark1"]["freed_bytes"] > SIZE
    for name in had.names:
        left = had.host(name).check_output(f"ls -d {HUB}/models--*")  # hf puts a CACHEDIR.TAG beside them
        assert left == f"{HUB}/models--lab--gated-200m-too"
        had.host(name).check_output(f"rm -r {HUB}/models--lab--gated-200m-too")


def test_a_copy_that_is_not_encrypted(blank: CacheLab) -> None:
    run = blank.cache(peer_copy_encrypted=False)
    assert run.status == "successful", run.said
    copy = run.results(BROUGHT)["spark2"]
    assert copy["moved_bytes"] == run.registered("hf_cache_report")["spark1"]["bytes"]
    assert set(copy["carried_bytes"]) == {FABRIC}
    assert blank.blobs("spark1") == blank.blobs("spark2")
    blank.nothing_left()


def test_a_checkpoint_that_was_made_on_the_leader(blank: CacheLab) -> None:
    repo, leader = "home/made", blank.host("spark1")
    mine = {"hf_cache_repo": repo, "hf_cache_source": "/home/nvidia/made", "hf_cache_token": ""}
    leader.check_output("mkdir -p ~/made && echo '{}' > ~/made/config.json")
    leader.check_output("head -c 20000000 /dev/urandom > ~/made/model.safetensors")
    blank.forget(repo)
    try:
        foretold = blank.cache(check=True, **mine)
        assert foretold.status == "successful", foretold.said
        first = blank.cache(**mine)
        assert first.status == "successful", first.said
        assert blank.hub_bytes() == 0
        folder = f"~/.cache/huggingface/hub/models--{repo.replace('/', '--')}/blobs"
        assert blank.host("spark2").check_output(f"cat {folder}/* | wc -c") == "20000003"
        linked = leader.check_output("stat -c %h ~/made/model.safetensors")
        assert linked == "2", "the leader's cache took no room for it"
        for check in (False, True):
            assert blank.cache(check=check, **mine).changed == {}
        leader.check_output("echo '{\"x\": 1}' > ~/made/config.json")
        second = blank.cache(**mine)
        assert set(second.changed) == {"spark1", "spark2"}
        commits = [run.registered("hf_cache_report")["spark2"]["commit"] for run in (first, second)]
        assert commits[0] != commits[1]
        assert second.results(BROUGHT)["spark2"]["moved_bytes"] == 9
    finally:
        leader.check_output("rm -r ~/made")
        blank.forget(repo)


#: a model, and the one that guesses tokens for it
PAIR = {"hf_cache_beside": [{"repo": DRAFT}]}
SEED_DRAFT = ("python3", "-m", "virtual_internet.seed", "--root=/srv/virtual-internet", f"--repo={DRAFT}", "--size=30M")
SLOW = {"kind": "slow", "bytes_per_second": 2_000_000, "times": None}


@pytest.fixture
def drafted(sparks: CacheLab) -> CacheLab:
    """The Sparks with a model and its draft model, the hub without faults."""
    in_internet(sparks, *SEED_DRAFT)
    control(sparks, "DELETE", "/faults")
    run = sparks.cache(**PAIR)
    assert run.status == "successful", run.said
    control(sparks, "DELETE", "/stats")
    return sparks


def brought(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """What was downloaded or copied, in that order; a task that brings several models has several results."""
    tasks = [event["event_data"] for event in run.events if event["event"] == "runner_on_ok"]
    return [(one["host"], one["res"]) for one in tasks if one["task"].endswith(BROUGHT)]


def test_a_draft_model_crosses_the_internet_once_too_and_then_the_fabric(blank: CacheLab) -> None:
    in_internet(blank, *SEED_DRAFT)
    foretold = blank.cache(check=True, **PAIR)
    assert foretold.status == "successful", foretold.said
    shown = foretold.results("apply | Show the planned changes")["spark2"]["planned"]
    assert shown == [f"Download or copy the model: {repo}" for repo in (GATED, DRAFT)]
    assert re.search(rf"Copy {DRAFT}@\w{{7}} from spark1 \(\d+ files, 0\.03 GB\)", foretold.words)
    assert blank.hub_bytes() <= PLAN_READS + 20_000 + 65_536, "no weights"
    control(blank, "DELETE", "/stats")
    run = blank.cache(**PAIR)
    assert run.status == "successful", run.said
    report = run.registered("hf_cache_report")
    for name in blank.names:
        (draft,) = report[name]["beside"]
        assert (report[name]["repo"], draft["repo"]) == (GATED, DRAFT)
        assert draft["commit"] == report["spark1"]["beside"][0]["commit"]
    size, of_draft = report["spark1"]["bytes"], report["spark1"]["beside"][0]["bytes"]
    assert of_draft > DRAFT_SIZE
    assert size + of_draft <= blank.hub_bytes() <= size + of_draft + PLAN_READS + 20_000 + 65_536
    copies = [result for name, result in brought(run) if name == "spark2"]
    assert [copy["moved_bytes"] for copy in copies] == [size, of_draft]
    for copy in copies:
        # What Ansible sends to look at the copy can be more than 1 % of a model as small as this one.
        beside = sum(copy["carried_bytes"].values()) - copy["carried_bytes"][FABRIC]
        assert copy["carried_bytes"][FABRIC] >= copy["moved_bytes"] > 10 * beside
    for repo in (GATED, DRAFT):
        assert blank.blobs("spark1", repo) == blank.blobs("spark2", repo)
    blank.nothing_left(GATED, DRAFT)
    for check in (False, True):
        control(blank, "DELETE", "/stats")
        again = blank.cache(check=check, **PAIR)
        assert again.status == "successful", again.said
        assert again.changed == {}, again.made()
        assert blank.hub_bytes() == 0
    verified = blank.verify(**PAIR)
    assert verified.status == "successful", verified.said
    assert verified.registered("hf_cache_report")["spark2"]["beside"][0]["repo"] == DRAFT


def test_what_is_lost_of_a_draft_model_is_found_and_comes_from_the_leader(drafted: CacheLab) -> None:
    link = f"$(readlink -f {HUB}/models--{DRAFT.replace('/', '--')}/snapshots/*/model.safetensors)"
    drafted.host("spark2").check_output(f"truncate -s 1000 {link}")
    found = drafted.verify(**PAIR)
    assert found.status == "failed"
    assert f"spark2 is not as planned: Download or copy the model: {DRAFT} ({DRAFT}: model.safetensors" in found.words
    run = drafted.cache(**PAIR)
    assert run.status == "successful", run.said
    assert set(run.changed) == {"spark2"}
    assert [(name, result["moved_bytes"]) for name, result in brought(run)] == [("spark2", DRAFT_SIZE)]
    assert drafted.hub_bytes() == 0
    drafted.nothing_left(GATED, DRAFT)


def test_an_interrupted_draft_model_is_taken_up_again(drafted: CacheLab) -> None:
    folder = f"models--{DRAFT.replace('/', '--')}"
    for name in drafted.names:
        drafted.host(name).check_output(f"rm -rf {HUB}/{folder} {HUB}/../.dgx-spark/{folder}*")
    control(drafted, "POST", "/faults", {"service": "hub", "match": "cdn.*safetensors", "range": DOWNLOADS, **SLOW})
    play = drafted.begun(**PAIR)
    part = f"du -sb {HUB}/{folder} | cut -f1"
    try:
        eventually(lambda: int(drafted.host("spark1").run(part).stdout or 0) > 5_000_000, True, seconds=90)
    finally:
        os.killpg(play.pid, signal.SIGINT)
    assert play.wait(60) != 0
    run = drafted.cache(**PAIR)
    assert run.status == "successful", run.said
    assert drafted.hub_bytes() < DRAFT_SIZE + PLAN_READS + 10_485_760, "it went on by itself"
    assert drafted.blobs("spark1", DRAFT) == drafted.blobs("spark2", DRAFT)
    drafted.nothing_left(GATED, DRAFT)


def test_undo_removes_a_draft_model_with_the_model_and_not_while_it_is_served(drafted: CacheLab) -> None:
    removal = {**PAIR, "hf_cache_undo_remove_model": True}
    with drafted.mounted("spark2", DRAFT):
        refused = drafted.undo(**removal)
        assert refused.status == "failed"
        assert f"spark2: {DRAFT} is being served by sleeper: stop that first. Nothing was changed." in refused.words
        assert refused.changed == {}, refused.made()
    run = drafted.undo(**removal)
    assert run.status == "successful", run.said
    for name in drafted.names:
        host = drafted.host(name)
        assert host.run("find /home/nvidia/.cache/huggingface").stdout == "", "not even an empty directory is left"
        assert not host.file("/home/nvidia/.dgx-spark").exists
