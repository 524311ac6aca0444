# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab refuses before it makes anything, and what a lab that came and went leaves behind: nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from .conftest import LABS, ROOT, Lab, brought_up, eventually

pytestmark = pytest.mark.matrix
# What programs rewrite by themselves while a lab comes and goes.
PASSING = ("/var/lib/docker", "/var/lib/containerd", "/var/lib/apt", "/var/lib/systemd", "/var/lib/dhcp", "/etc/mtab")


@pytest.fixture(autouse=True)
def alone(lab: Lab) -> Iterator[None]:
    """No other lab comes or goes meanwhile, which would be taken for a trace of what is tested."""
    with LABS:
        yield
    time.sleep(0.3)  # whoever waits looks every 0.05 s, and has its turn before the next test


def output(*argv: str) -> list[str]:
    return sorted(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines())


def files(*roots: str) -> dict[str, str]:
    """Every path below ``roots``: its mode, owner, and link target or content's digest."""
    found = {}
    for root in roots:
        for directory, names, leaves in os.walk(root):
            names[:] = [name for name in names if not f"{directory}/{name}".startswith(PASSING)]
            for name in [*names, *leaves]:
                path = Path(directory) / name
                about = path.lstat()
                if path.is_symlink():
                    content = os.readlink(path)
                elif path.is_file():
                    content = hashlib.sha256(path.read_bytes()).hexdigest()
                else:
                    content = ""
                if not str(path).startswith(PASSING):
                    found[str(path)] = f"{about.st_mode:o} {about.st_uid}:{about.st_gid} {content}"
    return found


def docker_objects() -> dict[str, list[str]]:
    return {
        "containers": output("docker", "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}}"),
        "networks": output("docker", "network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}}"),
        "volumes": output("docker", "volume", "ls", "--format", "{{.Name}}"),
    }


def machine() -> dict[str, Any]:
    links = [line.split(":")[1].split("@")[0] for line in output("ip", "-o", "link")]
    return {
        **docker_objects(),
        "links": sorted(links),
        "routes": output("ip", "-4", "route"),
        **files("/etc", "/var/lib"),
    }


def is_still() -> bool:
    """Whether no netdev comes or goes: those of a lab that another process took down go in the kernel's own time."""
    links = machine()["links"]
    time.sleep(2)
    return machine()["links"] == links


def test_a_second_lab_comes_and_goes_without_a_trace(lab: Lab, tmp_path: Path) -> None:
    eventually(is_still, True, seconds=30)
    before = machine()
    second = brought_up(tmp_path, virtual_spark_count=1)
    assert second.host("spark1").check_output("hostname") == "spark1"
    assert lab.host("spark1").check_output("systemctl is-system-running") == "running"
    assert machine() != before
    down = second.play("lab/playbooks/down.yml")
    assert down.status == "successful", down.said
    eventually(
        lambda: machine()["links"], before["links"]
    )  # the kernel takes away a namespace's netdevs in its own time
    assert machine() == before
    assert not second.home.exists()


def test_a_lab_that_is_up_is_left_as_it_is(lab: Lab) -> None:
    for check in (True, False):
        run = lab.play("lab/playbooks/up.yml", check=check)
        assert run.status == "successful", run.said
        assert "changed" not in run.stats["localhost"], run.said


def test_check_mode_on_nothing_tells_and_makes_nothing(lab: Lab, tmp_path: Path) -> None:
    before = docker_objects()
    unbuilt = Lab(tmp_path)
    run = unbuilt.play("lab/playbooks/up.yml", check=True)
    assert run.status == "successful", run.said
    assert run.stats["localhost"]["changed"] == 3, "the directory, the network, the volume"
    assert docker_objects() == before
    assert not unbuilt.home.exists()


def test_a_lab_that_is_not_there_is_taken_down_all_the_same(tmp_path: Path) -> None:
    run = Lab(tmp_path).play("lab/playbooks/down.yml")
    assert run.status == "successful", run.said
    assert "changed" not in run.stats["localhost"]


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"virtual_spark_count": 0}, "virtual_spark_count is 0: a lab holds 1 to 8"),
        ({"virtual_spark_count": 9}, "virtual_spark_count is 9: a lab holds 1 to 8"),
        ({"virtual_spark_lab": "my lab"}, "no usable name"),
        ({"virtual_spark_cabling": "star"}, "value of virtual_spark_cabling must be one of"),
        ({"virtual_spark_count": 3, "virtual_spark_cabling": "direct"}, "joins exactly 2 Sparks, not 3"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(lab: Lab, variables: dict[str, Any], says: str) -> None:
    refused(Lab(lab.scratch), says, **variables)


def test_a_network_that_is_taken_is_refused(lab: Lab) -> None:
    taken = lab.internet.rsplit(".", 1)[0] + ".0/24"
    refused(Lab(lab.scratch), f"overlaps {taken}", virtual_spark_subnet=taken)


def refused(unbuilt: Lab, says: str, **variables: Any) -> None:
    before = docker_objects()
    run = unbuilt.play("lab/playbooks/up.yml", **variables)
    assert run.status == "failed"
    assert says in run.words
    assert docker_objects() == before
    assert not unbuilt.home.exists()


def play_alone(tmp_path: Path, argv: list[str], **environment: str) -> str:
    """Run the playbook up under a program that takes something away from it; returns what it said, in one line."""
    before = docker_objects()
    done = subprocess.run(
        [*argv, sys.executable, "-m", "ansible", "playbook", str(ROOT / "lab" / "playbooks" / "up.yml")],
        env={**os.environ, "HOME": str(tmp_path), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert docker_objects() == before
    return " ".join((done.stdout + done.stderr).split())


def test_without_root_and_sudo_it_is_refused(lab: Lab, tmp_path: Path) -> None:
    """In a user namespace of its own, where nobody is root, with a PATH that knows no sudo."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "ssh", "env", "id", "uname"):
        (programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    said = play_alone(tmp_path, [shutil.which("unshare") or "unshare", "--user"], PATH=str(programs))
    assert "it needs root, but the user is not root and there is no sudo" in said


def test_where_docker_cannot_be_had_it_says_so(lab: Lab, tmp_path: Path) -> None:
    """Behind an empty /run, where no Docker answers, and with an apt that knows no package."""
    for name in ("lists/partial", "cache/archives/partial"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "status").touch()
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::State::status "{tmp_path}/status"; Dir::State::lists "{tmp_path}/lists";\n'
        f'Dir::Cache "{tmp_path}/cache";\n'
        'Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "/dev/null";\n'
    )
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh"]
    said = play_alone(tmp_path, hide, APT_CONFIG=str(config))
    assert "No Docker Engine answers on localhost, and none could be installed and started" in said
    assert "engine | Install Docker from the distribution" in said
    assert "Nothing of lab lab was made" in said
