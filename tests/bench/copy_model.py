# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of ways to get a model onto a second virtual Spark, over one lab's link, in one run: make bench-copy.

A second table is for images.

The figures are a lab's: both Sparks share this machine's processors and its disk. What carries over is their ratio, and
the processor time that each way takes on both Sparks together, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

from tests.bench import copy_image
from tests.bench.profile import Profile
from tests.e2e.conftest import Lab, brought_up, taken_down

REPO, LEADER, CACHE = "lab/bench", "192.168.100.10", "~/.cache/huggingface"
BLOBS = f"{CACHE}/hub/models--lab--bench/blobs"


def role(lab: Lab, members: list[str], **variables: Any) -> dict[str, dict[str, Any]]:
    """Run hf_cache; returns what its long step said by member, which is nothing where all is there."""
    options = {
        "hf_cache_repo": REPO,
        "hf_cache_endpoint": "http://huggingface.test",
        "hf_cache_members": members,
        "peer_copy_address": LEADER,
        "hf_cache_reserve_gb": 1,
        **variables,
    }
    tasks = [{"name": "It", "ansible.builtin.import_role": {"name": "sparkops.dgx_spark.hf_cache"}}]
    play = {"hosts": ",".join(members), "gather_facts": False, "vars": options, "tasks": tasks}
    run = lab.play([play])
    assert run.status == "successful", run.said
    return run.results("bring | Download or copy the model")


def processor_seconds(lab: Lab) -> float:
    """The processor time that both Sparks have used."""
    total = 0
    for name in ("spark1", "spark2"):
        found = subprocess.run(
            ["docker", "inspect", "--format", "{{.Id}}", f"{lab.name}-{name}"],
            check=True,
            capture_output=True,
            text=True,
        )
        of_v1 = Path("/sys/fs/cgroup/cpuacct/docker", found.stdout.strip(), "cpuacct.usage")
        of_v2 = Path("/sys/fs/cgroup/system.slice", f"docker-{found.stdout.strip()}.scope", "cpu.stat")
        if of_v1.exists():
            total += int(of_v1.read_text()) / 1e9
        elif of_v2.exists():
            total += int(of_v2.read_text().split()[1]) / 1e6
    return total


def pin(lab: Lab, processors: str) -> None:
    """Have both Sparks use these processors of the machine alone."""
    names = [f"{lab.name}-{name}" for name in ("spark1", "spark2")]
    subprocess.run(["docker", "update", "--cpuset-cpus", processors, *names], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="4GiB")
    parser.add_argument("--shards", default="8")
    parser.add_argument("--layer-mib", type=int, default=256, help="of an image of four (default: %(default)s)")
    parser.add_argument("--only", choices=("models", "images"), help="else both")
    asked = parser.parse_args()
    lab = brought_up(Path(tempfile.mkdtemp(prefix="bench-copy-")))
    try:
        prepare(lab)
        if asked.only != "images":
            measure(lab, asked.size, asked.shards)
        if asked.only != "models":
            options = {"peer_copy_members": ["spark1", "spark2"], "peer_copy_address": LEADER}
            copy_image.measure(lab, ssh(lab), LEADER, options, lambda: processor_seconds(lab), asked.layer_mib)
    finally:
        taken_down(lab)


def prepare(lab: Lab) -> None:
    """Give the Sparks their fabric, and the tool that measures it."""
    tasks = [
        {
            "name": "Fabric",
            "ansible.builtin.import_role": {"name": "sparkops.dgx_spark.cx7_network"},
            "vars": {"cx7_network_members": ["spark1", "spark2"]},
        },
        {"name": "Tools", "ansible.builtin.apt": {"name": "iperf3", "update_cache": True}, "become": True},
    ]
    run = lab.play([{"hosts": "spark", "gather_facts": False, "tasks": tasks}])
    assert run.status == "successful", run.said


def ssh(lab: Lab) -> str:
    """How the worker reaches the leader by hand."""
    key = lab.host("spark2").check_output(
        "test -e ~/.ssh/bench || ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/bench; cat ~/.ssh/bench.pub"
    )
    lab.host("spark1").check_output("echo %s >> ~/.ssh/authorized_keys", key)
    return "ssh -i ~/.ssh/bench -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"


def seed(lab: Lab, size: str, shards: str) -> None:
    """Put a model of random weights onto the lab's hub."""
    program = ["python3", "-m", "virtual_internet.seed", "--root=/srv/virtual-internet", f"--repo={REPO}"]
    subprocess.run(
        ["docker", "exec", f"{lab.name}-internet", *program, f"--size={size}", f"--shards={shards}"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def measure(lab: Lab, size: str, shards: str) -> None:
    """Bring the model onto the leader, and then every way onto the worker."""
    seed(lab, size, shards)
    role(lab, ["spark1"])
    leader, worker, by_hand = lab.host("spark1"), lab.host("spark2"), ssh(lab)
    whole = int(leader.check_output(f"cat {BLOBS}/* | wc -c")) / 1e9
    rows: list[tuple[str, float, float]] = []
    profiles: dict[str, Profile] = {}

    def timed(name: str, do: Callable[[], float | None]) -> None:
        """Note the rate, by the seconds that ``do`` returns or takes, and the processor time for each GB."""
        worker.check_output(f"rm -rf ~/copy {CACHE} && mkdir ~/copy && sync -f ~")
        used, began = processor_seconds(lab), time.monotonic()
        with Profile() as profiles[name]:
            seconds = do() or time.monotonic() - began
        rows.append((name, whole / seconds, (processor_seconds(lab) - used) / whole))

    def shell(command: str) -> Callable[[], None]:
        return lambda: worker.check_output(f"{command} && sync -f ~") and None

    timed("hf_cache, verified", lambda: role(lab, ["spark1", "spark2"])["spark2"]["seconds"])
    used = processor_seconds(lab)
    role(lab, ["spark1", "spark2"])
    own = (processor_seconds(lab) - used) / whole
    plain = {"peer_copy_encrypted": False}
    timed("hf_cache, not encrypted", lambda: role(lab, ["spark1", "spark2"], **plain)["spark2"]["seconds"])
    pin(lab, "0")
    timed("hf_cache, both on 1 core", lambda: role(lab, ["spark1", "spark2"])["spark2"]["seconds"])
    pin(lab, f"0-{(os.cpu_count() or 1) - 1}")
    timed("rsync -a over ssh", shell(f"rsync -a -e '{by_hand}' {LEADER}:{BLOBS}/ ~/copy/"))
    timed(
        "rsync -avP, AES-GCM", shell(f"rsync -avP -e '{by_hand} -c aes128-gcm@openssh.com' {LEADER}:{BLOBS}/ ~/copy/")
    )
    timed("download by every node", lambda: role(lab, ["spark2"])["spark2"]["seconds"])
    blocks = int(whole * 1e9) >> 22
    zeros = f"dd if=/dev/zero of=$HOME/copy/x bs=4M count={blocks} conv=fdatasync status=none"
    timed("limit: dd conv=fdatasync", shell(zeros))
    leader.check_output("iperf3 --server --daemon --one-off")
    link = json.loads(worker.check_output(f"iperf3 --client {LEADER} --reverse --time 5 --json"))
    rate = link["end"]["sum_received"]["bits_per_second"] / 8e9
    limit = min(rate, rows[-1][1])

    peers = {name: speed for name, speed, _used in rows}["rsync -a over ssh"]
    print(f"\n{whole:.2f} GB in {shards} shards, virtual Sparks on one machine\n")
    print(f"| {'way':26} | GB/s | of rsync | of the limit | processor s/GB |")
    print(f"| {'-' * 26} | ---- | -------- | ------------ | -------------- |")
    for name, speed, used in rows:
        print(f"| {name:26} | {speed:4.2f} | {speed / peers:8.2f} | {speed / limit:12.2f} | {used:14.2f} |")
    print(f"| {'limit: iperf3':26} | {rate:4.2f} | {rate / peers:8.2f} | {rate / limit:12.2f} | {'':14} |")
    print(f"\nOf the role's processor s/GB, {own:.2f} are what a run of it takes that has nothing to copy.")
    for name, profile in profiles.items():
        print(f"\nprocessor s/GB by program: {name}")
        for program, used in profile.rows(whole):
            print(f"  {used:6.2f} {program}")
    worker.check_output(f"rm -rf ~/copy {CACHE}")


if __name__ == "__main__":
    main()
