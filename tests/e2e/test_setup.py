# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/setup.yml in a real terminal, against real ssh servers, and with real avahi in two virtual Sparks."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from setup_support import Dialogue, environment, install, plain, scripted

from .conftest import SERVED, SPARKS, Pair, stocked, taken_down

LABEL = "sparkops.setup-test"
PASSWORD = f"pass word-{secrets.token_hex(8)}'\""
SSHD = "ssh-keygen -A > /dev/null && mkdir -p /run/sshd && exec /usr/sbin/sshd -D"


def docker(*words: str, given: str = "") -> str:
    return subprocess.run(["docker", *words], input=given, check=True, capture_output=True, text=True).stdout.strip()


@dataclass
class Machines:
    """Containers with an ssh server, and a directory for a person's keys and inventory."""

    scratch: Path
    names: list[str]
    addresses: list[str]
    more: dict[str, str] = field(default_factory=dict)

    def env(self) -> dict[str, str]:
        """What setup runs with: ``avahi-browse`` tells of these machines alone."""
        lines = [
            f"=;eth0;IPv4;{name};_ssh._tcp;local;{name}.local;{address};22;"
            for name, address in zip(self.names, self.addresses)
        ]
        programs = {"avahi-browse": "\n".join(f"print({line!r})" for line in lines), "ip": "print('[]')"}
        install(self.scratch / "bin", programs)
        return environment(self.scratch / "bin", self.scratch, ANSIBLE_LOG_PATH=str(self.scratch / "log.txt"))

    @property
    def ssh(self) -> Path:
        return self.scratch / "ssh"

    def at(self, name: str, command: str) -> str:
        return docker("exec", self.more[name], "sh", "-c", command)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory for ssh's sockets, whose paths hold 107 letters at most; that of a test may be longer."""
    with tempfile.TemporaryDirectory(prefix="cp-") as folder:
        monkeypatch.setenv("ANSIBLE_SSH_CONTROL_PATH_DIR", folder)
        yield


@pytest.fixture
def machines(tmp_path: Path, short: None, request: pytest.FixtureRequest) -> Iterator[Machines]:
    images = ("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "sparkops/virtual-spark")
    if not docker(*images):
        request.getfixturevalue("lab")  # which has the image built
    image = docker(*images).splitlines()[0]
    mark = secrets.token_hex(3)
    made = Machines(tmp_path, [], [])
    docker("network", "create", "--label", LABEL, f"setup-{mark}")
    try:
        for name in ("spark-1b31", "spark-1b32"):
            start = ("run", "--detach", "--rm", "--init", "--label", LABEL, "--network", f"setup-{mark}")
            made.more[name] = docker(*start, "--hostname", name, "--entrypoint", "sh", image, "-c", SSHD)
            docker("exec", "--interactive", made.more[name], "chpasswd", given=f"nvidia:{PASSWORD}\n")
            address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
            made.names.append(name)
            made.addresses.append(docker("inspect", "--format", address, made.more[name]))
        yield made
    finally:
        for container in made.more.values():
            docker("rm", "--force", container)
        docker("network", "rm", f"setup-{mark}")


def command_lines_with(secret: str) -> list[str]:
    """Command lines and environments of processes of this machine that hold a secret."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                text = (path / name).read_bytes().decode("utf-8", "replace")
            except OSError:  # it has ended
                continue
            if secret in text:
                found.append(f"{name}: {text[:200]!r}")
    return found


def set_up(person: Dialogue, *, wrong: bool = False, model: str = "lab/tiny-chat") -> None:
    """Answer as somebody does who takes what is found."""
    person.answer(r"Numbers or addresses \[1 2\]:", "")
    person.answer("Their names in the inventory", "")
    person.answer(r"Your account .*\[nvidia\]:", "")
    person.answer("Which model", model)
    person.answer("Write the inventory to", "")
    person.answer("Add entries", "yes")
    person.answer("Are they right", "yes")
    person.answer("You have no ssh key", "yes")
    if wrong:
        person.answer("The password of nvidia on", "wrong")
    person.answer("The password of nvidia on", PASSWORD)


def test_real_ssh_servers_let_in_after_one_password(machines: Machines) -> None:
    env = machines.env()
    there = "install -d -m 0755 -o nvidia /home/nvidia/.ssh && printf '# mine' > /home/nvidia/.ssh/authorized_keys"
    machines.at("spark-1b32", f"{there} && chown nvidia /home/nvidia/.ssh/authorized_keys")
    options = ("-e", f"setup_ssh_dir={machines.ssh}", "-vvv")
    person = Dialogue(env, machines.scratch, *options)
    set_up(person, wrong=True)
    seen: list[str] = []
    while person.process.isalive() and not (machines.scratch / "my.yml").exists():
        seen += command_lines_with(PASSWORD)
        time.sleep(0.02)
    status, said = person.ended()
    assert status == 0, said
    assert seen == [], "the password is in no argument and in no environment"
    assert PASSWORD not in said + (machines.scratch / "log.txt").read_text()

    public = (machines.ssh / "id_ed25519.pub").read_text()
    keys = [machines.at(name, "cat /home/nvidia/.ssh/authorized_keys") for name in machines.names]
    assert keys == [public.strip(), f"# mine\n{public.strip()}"]
    private = (machines.ssh / "id_ed25519").read_text().splitlines()[2]
    for name in machines.names:
        assert machines.at(name, f"grep -rlF -e '{private}' /home /root /tmp /etc || true") == ""
    for line in (machines.ssh / "known_hosts").read_text().splitlines():
        address, *key = line.split()
        name = machines.names[machines.addresses.index(address)]
        assert machines.at(name, "cut -d' ' -f-2 /etc/ssh/ssh_host_ed25519_key.pub").split() == key

    assert_the_way_in_works(machines.scratch, env, machines.names)
    again = scripted(
        env,
        machines.scratch,
        *options[:2],
        "-esetup_hosts=1,2",
        "-esetup_user=nvidia",
        "-esetup_model=lab/tiny-chat",
        "-esetup_inventory=my.yml",
        "-esetup_ssh_config=yes",
    )
    assert again.returncode == 0, again.stdout
    assert "changed=0" in again.stdout
    undone = scripted(env, machines.scratch, *options[:2], "-esetup_undo=true")
    assert "changed=1" in undone.stdout
    assert not (machines.ssh / "config").exists()


def assert_the_way_in_works(scratch: Path, env: dict[str, str], names: list[str]) -> None:
    """By the inventory and by the configuration of ssh, without a password and without a question."""
    ping = ["ansible", "-i", "my.yml", "spark", "-m", "ansible.builtin.ping"]
    done = subprocess.run(ping, cwd=scratch, env=env, check=False, capture_output=True, text=True)
    assert [done.stdout.count(f"{name} | SUCCESS") for name in names] == [1] * len(names), done.stdout + done.stderr
    for name in names:
        command = ["ssh", "-F", scratch / "ssh" / "config", "-o", "BatchMode=yes", name, "hostname"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (done.stdout.strip(), done.returncode) == (name, 0), done.stderr


def test_a_key_that_a_spark_refuses_all_the_same_is_told_of(machines: Machines) -> None:
    """An account whose home others may write to: sshd goes by no key of it."""
    machines.at("spark-1b31", "chmod 0777 /home/nvidia")
    secret = machines.scratch / "secret.yml"
    secret.write_text(yaml.safe_dump({"setup_password": PASSWORD}))
    done = scripted(
        machines.env(),
        machines.scratch,
        f"-esetup_ssh_dir={machines.ssh}",
        f"-e@{secret}",
        "-esetup_hosts=1",
        "-esetup_user=nvidia",
        "-esetup_model=lab/tiny-chat",
        "-esetup_inventory=my.yml",
        "-esetup_ssh_config=no",
        "-esetup_host_keys=any",
        "-esetup_new_key=yes",
    )
    assert done.returncode == 2, done.stdout
    assert "is in ~/.ssh/authorized_keys of nvidia, and does not let in" in plain(done.stdout)
    assert not (machines.scratch / "my.yml").exists()


# ---- two virtual Sparks, and avahi


@pytest.fixture(scope="module")
def announced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two blank Sparks that announce their ssh servers as DGX OS does, and whose owner has a password."""
    pair = stocked(tmp_path_factory.mktemp("setup"))
    for name in SPARKS:
        spark = pair.host(name)
        spark.check_output(
            "sudo sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive"
            " apt-get install -qq -y --no-install-recommends avahi-daemon avahi-utils'"
        )
        spark.check_output("sudo cp /usr/share/doc/avahi-daemon/examples/ssh.service /etc/avahi/services/")
        spark.check_output("sudo systemctl restart avahi-daemon")
        subprocess.run(
            ["docker", "exec", "--interactive", f"{pair.name}-{name}", "chpasswd"],
            input=f"nvidia:{PASSWORD}\n",
            text=True,
            check=True,
        )
    yield pair
    taken_down(pair)


def lab_variables(pair: Pair) -> dict[str, Any]:
    """What is particular to a lab, and no part of what a person is asked for."""
    said = yaml.safe_load(pair.inventory.read_text())["spark"]["vars"]
    return {name: value for name, value in said.items() if not name.startswith("ansible_") and name != "spark_model"}


@pytest.mark.matrix
def test_an_inventory_that_was_asked_for_serves(announced: Pair, tmp_path: Path) -> None:
    # The first Spark's avahi-browse, which any machine of the network could have.
    inside = ["docker", "exec", f"{announced.name}-spark1", "avahi-browse"]
    asks = f"import os, sys\nos.execvp('docker', {inside!r} + sys.argv[1:])"
    install(tmp_path / "bin", {"avahi-browse": asks, "ip": "print('[]')"})
    env = environment(tmp_path / "bin", tmp_path)
    person = Dialogue(env, tmp_path, "-e", f"setup_ssh_dir={tmp_path / 'ssh'}")
    set_up(person, model=SERVED["spark_model"])
    status, said = person.ended()
    assert status == 0, said
    assert_the_way_in_works(tmp_path, env, list(SPARKS))
    inventory = yaml.safe_load((tmp_path / "my.yml").read_text())
    found = {name: one["ansible_host"] for name, one in inventory["spark"]["hosts"].items()}
    lab = yaml.safe_load(announced.inventory.read_text())["spark"]["hosts"]
    assert found == {name: lab[name]["ansible_host"] for name in SPARKS}
    run = announced.play("two_spark.yml", inventory=inventory, **lab_variables(announced))
    assert run.status == "successful", run.said
    assert announced.asked()


@pytest.mark.matrix
def test_zeroconf_finds_the_same_sparks(announced: Pair, tmp_path: Path) -> None:
    pytest.importorskip("zeroconf")
    install(tmp_path / "bin", {"avahi-browse": "raise SystemExit('Daemon not running')", "ip": "print('[]')"})
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [{"name": "Search", "sparkops.dgx_spark.setup_search_info": {"seconds": 3}, "register": "found"}],
        }
    ]
    path = os.environ["PATH"]
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("PATH", f"{tmp_path / 'bin'}:{path}")
        run = announced.play(play)
    assert run.status == "successful", run.said
    candidates = run.results("Search")["localhost"]["candidates"]
    found = {one["name"]: {one["address"], *one["further"]} for one in candidates if "mDNS" in one["sources"]}
    lab = yaml.safe_load(announced.inventory.read_text())["spark"]["hosts"]
    assert [name for name in SPARKS if lab[name]["ansible_host"] not in found.get(name, set())] == []
