# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/setup.yml from end to end, in a real terminal, against stand-ins for avahi-browse, ip and ssh."""

from __future__ import annotations

import base64
import json
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from setup_support import Dialogue, environment, install, plain, scripted
from test_documented_examples import assert_an_inventory_is_right

PASSWORD = "right horse 'battery\" $(staple)"
AVAHI = """\
=;eth0;IPv4;spark-1b32;_ssh._tcp;local;spark-1b32.local;192.0.2.22;22;
=;eth0;IPv4;spark-1b31;_ssh._tcp;local;spark-1b31.local;192.0.2.21;22;
=;eth0;IPv4;printer;_ssh._tcp;local;printer.local;192.0.2.9;22;"""
NEIGHBOURS = json.dumps([{"dst": "192.0.2.1", "dev": "eth0", "lladdr": "b8:27:eb:00:00:01", "state": ["REACHABLE"]}])
#: what stands for programs, below a directory that each of them gets by SETUP_WORLD
STAND_INS = {
    "avahi-browse": f"print({AVAHI!r})",
    "ip": f"import sys\nprint({NEIGHBOURS!r} if 'neigh' in sys.argv else '[]')",
    "ssh-add": "raise SystemExit(1)",
    "ssh-keyscan": """
import os, pathlib, sys
path = pathlib.Path(os.environ["SETUP_WORLD"], sys.argv[-1], "host_key")
if path.exists() and "ed25519" in sys.argv:
    print(f"{sys.argv[-1]} {path.read_text()}")
""",
    # A host is a directory with a home in it; its account has one password.
    "ssh": """
import json, os, pathlib, subprocess, sys
world = pathlib.Path(os.environ["SETUP_WORLD"])
with (world / "ssh.jsonl").open("a") as log:
    log.write(json.dumps({"argv": sys.argv, "environ": dict(os.environ)}) + "\\n")
words, options, keys, user, rest = sys.argv[1:], [], [], "", []
while words:
    word = words.pop(0)
    if word == "-o":
        options.append(words.pop(0))
    elif word == "-i":
        keys.append(words.pop(0))
    elif word in ("-p", "-l", "-F"):
        words.pop(0)
    elif word.startswith("-"):
        continue
    else:
        rest = [word, *words]
        break
said = {name.lower(): value.strip('"') for name, _is, value in (one.partition("=") for one in options)}
host = world / rest[0]
home = host / "home"
if not host.is_dir():
    sys.exit(print(f"ssh: connect to host {rest[0]} port 22: No route to host", file=sys.stderr) or 255)
known = pathlib.Path(os.environ["HOME"], ".ssh", "known_hosts")
if rest[0] not in (known.read_text() if known.exists() else ""):
    sys.exit(print("Host key verification failed.", file=sys.stderr) or 255)
if said.get("pubkeyauthentication") != "no":
    usual = pathlib.Path(os.environ["HOME"], ".ssh", "id_ed25519")
    offered = [pathlib.Path(f"{one}.pub") for one in [*keys, usual]]
    there = home / ".ssh" / "authorized_keys"
    lines = there.read_text().splitlines() if there.exists() else []
    let_in = any(one.exists() and one.read_text().strip() in lines for one in offered)
else:
    let_in = False
if not let_in and os.environ.get("SSH_ASKPASS_REQUIRE") == "force" and said.get("batchmode") != "yes":
    asked = subprocess.run([os.environ["SSH_ASKPASS"], "user's password: "], stdout=subprocess.PIPE, text=True)
    let_in = asked.stdout == (host / "password").read_text()
if not let_in:
    sys.exit(print(f"{said.get('user')}@{rest[0]}: Permission denied (publickey,password).", file=sys.stderr) or 255)
sys.exit(subprocess.run(["/bin/sh", "-c", rest[1]], env={**os.environ, "HOME": str(home)}, cwd=home).returncode)
""",
}


@dataclass
class World:
    """A controller, and hosts that it can reach."""

    base: Path
    env: dict[str, str]

    @property
    def ssh(self) -> Path:
        return self.base / "home" / ".ssh"

    @property
    def work(self) -> Path:
        return self.base / "work"

    def host(self, address: str, number: int) -> Path:
        folder = self.base / "world" / address
        (folder / "home").mkdir(parents=True)
        self.show_key(address, number)
        (folder / "password").write_text(PASSWORD)
        return folder

    def show_key(self, address: str, number: int) -> None:
        blob = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([number]) * 32).decode()
        (self.base / "world" / address / "host_key").write_text(f"ssh-ed25519 {blob}")

    def authorized(self, address: str) -> str:
        path = self.base / "world" / address / "home" / ".ssh" / "authorized_keys"
        return path.read_text() if path.exists() else ""

    def logins(self) -> list[dict[str, object]]:
        path = self.base / "world" / "ssh.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def files(self) -> dict[str, bytes]:
        """All that a person keeps: the home, but for Ansible's own, and where the inventory is written."""
        return {
            str(path): path.read_bytes()
            for top in (self.base / "home", self.work)
            for path in sorted(top.rglob("*"))
            if path.is_file() and ".ansible" not in path.parts
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    folder = tmp_path / "bin"
    install(folder, STAND_INS)
    for name in ("home", "work", "world"):
        (tmp_path / name).mkdir()
    env = environment(folder, tmp_path / "home", SETUP_WORLD=str(tmp_path / "world"))
    made = World(tmp_path, {**env, "ANSIBLE_LOG_PATH": str(tmp_path / "log.txt")})
    made.host("192.0.2.21", 1)
    made.host("192.0.2.22", 2)
    return made


ANSWERS = (
    "-esetup_hosts=spark-1b31,spark-1b32",
    "-esetup_user=nvidia",
    "-esetup_model=openai/gpt-oss-20b",
    "-esetup_inventory=my.yml",
    "-esetup_ssh_config=yes",
    "-esetup_host_keys=any",
    "-esetup_new_key=yes",
)


def test_a_person_comes_from_nothing_to_an_inventory(world: World) -> None:
    config = b"Host other\n  HostName 192.0.2.99"  # whose last line has no end
    world.ssh.mkdir(mode=0o700)
    (world.ssh / "config").write_bytes(config)

    person = Dialogue(world.env, world.work, "-vvv")
    table = plain(person.answer(r"Numbers or addresses \[1 2\]:", "9"))
    assert "1 spark-1b31 192.0.2.21 mDNS 2 spark-1b32 192.0.2.22 mDNS 3 printer 192.0.2.9 mDNS" in table
    assert "nothing says to be Sparks: 1." in table
    assert "there is no number 9" in plain(person.answer(r"Numbers or addresses \[1 2\]:", "2 1"))
    person.answer(r"Their names .*\[spark-1b32 spark-1b31\]:", "left right")
    person.answer(r"Your account .*\[nvidia\]:", "owner")
    models = plain(person.answer(r"Which model\?.*\[nvidia/Qwen3-235B-A22B-FP4\]:", "405B"))
    assert "model GB Sparks 1 nvidia/Llama-3.1-8B-Instruct-FP4 6 1" in models
    assert "Llama-3.1-405B-Instruct-FP4 needs 4 Sparks, and 2 are" in plain(person.answer("Which model", "gpt-oss-20b"))
    person.answer(r"Write the inventory to \[my.yml\]:", "")
    person.answer(r"'ssh left' works\? yes or no \[no\]:", "yes")
    keys = plain(person.answer(r"Are they right\? yes or no \[no\]:", "yes"))
    assert "rank 0 left, 192.0.2.22 rank 1 right, 192.0.2.21 user owner, model openai/gpt-oss-20b" in keys
    assert "left 192.0.2.22 ssh-ed25519 SHA256:" in keys
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in keys
    person.answer(r"You have no ssh key. Make one.*\[no\]:", "yes")
    person.answer("The password of owner on left, right", "wrong")
    assert "left does not take that password" in plain(person.answer("The password of owner on left,", PASSWORD))
    status, said = person.ended()
    assert status == 0, said

    found = yaml.safe_load((world.work / "my.yml").read_text())
    assert found == {
        "spark": {
            "hosts": {"left": {"ansible_host": "192.0.2.22"}, "right": {"ansible_host": "192.0.2.21"}},
            "vars": {"ansible_user": "owner", "spark_model": "openai/gpt-oss-20b"},
        }
    }
    assert list(found["spark"]["hosts"]) == ["left", "right"], "the leader first"
    assert_an_inventory_is_right(found)
    assert "ssh -N -L 8355:127.0.0.1:8355 left" in said
    assert "sparkops.dgx_spark.two_spark --ask-become-pass" in said

    public = (world.ssh / "id_ed25519.pub").read_text()
    assert world.authorized("192.0.2.21") == world.authorized("192.0.2.22") == public
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in world.ssh.iterdir()}
    assert {modes[name] for name in ("id_ed25519", "known_hosts")} == {0o600}
    assert (world.ssh / "config").read_bytes().startswith(config)

    where = {"what was said": said, "a log": (world.base / "log.txt").read_text()}
    where |= {f"the start of ssh {at}": json.dumps(one) for at, one in enumerate(world.logins())}
    where |= {name: content.decode() for name, content in world.files().items()}
    assert [name for name, text in where.items() if "battery" in text] == [], "the password is nowhere"
    private = (world.ssh / "id_ed25519").read_text().splitlines()[2]
    copies = [path for path in (world.base / "world").rglob("*") if path.is_file() and private in path.read_text()]
    assert copies == [], "the private key is on no Spark"

    undone = scripted(world.env, world.work, "-esetup_undo=true")
    assert undone.returncode == 0, undone.stdout
    assert (world.ssh / "config").read_bytes() == config
    again = scripted(world.env, world.work, "-esetup_undo=true")
    assert "changed=0" in again.stdout


def test_a_script_gives_all_answers_and_changes_nothing_again(world: World) -> None:
    secret = world.base / "secret.yml"
    secret.write_text(yaml.safe_dump({"setup_password": PASSWORD}))
    before = world.files()
    dry = scripted(world.env, world.work, *ANSWERS, f"-e@{secret}", "--check", "--diff")
    assert dry.returncode == 0, dry.stdout
    assert "+    spark-1b31: {ansible_host: 192.0.2.21}" in dry.stdout
    assert "+Host spark-1b31" in dry.stdout
    assert world.files() == before, "check mode writes nothing"
    assert world.authorized("192.0.2.21") == ""
    first = scripted(world.env, world.work, *ANSWERS, f"-e@{secret}", "-vvvv")
    assert first.returncode == 0, first.stdout
    assert "changed=4" in first.stdout
    assert "battery" not in first.stdout + first.stderr + json.dumps(world.logins())
    after = world.files()
    second = scripted(world.env, world.work, *ANSWERS)
    assert second.returncode == 0, second.stdout
    assert "changed=0" in second.stdout
    assert world.files() == after
    assert world.authorized("192.0.2.21").count("\n") == 1


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ((), "There is no terminal to ask in: Which are the Sparks"),
        (ANSWERS[:5], "setup_host_keys=SHA256:"),
        (ANSWERS, "There is no terminal to ask in: The password of nvidia on spark-1b31, spark-1b32"),
        ((*ANSWERS, "-esetup_password=wrong"), "nvidia could not log in with the password"),
        (("-esetup_hosts=192.0.2.77", *ANSWERS[1:]), "no ssh server answers at 192.0.2.77, port 22"),
    ],
)
def test_says_what_to_give_or_to_do_by_hand_where_there_is_no_terminal(
    world: World, answers: tuple[str, ...], says: str
) -> None:
    done = scripted(world.env, world.work, *answers)
    assert done.returncode == 2, done.stdout
    assert says in plain(done.stdout)
    assert not (world.work / "my.yml").exists()
    assert not (world.ssh / "config").exists()
    assert not world.authorized("192.0.2.21")


def test_an_interrupted_question_ends_without_a_change(world: World) -> None:
    before = world.files()
    person = Dialogue(world.env, world.work)
    person.answer("Numbers or addresses", "1")
    person.answer("Their names", "\x03", end="")
    status, said = person.ended()
    assert status == 2
    assert "Interrupted at the question: Their names" in said
    assert "Nothing was changed." in said
    assert world.files() == before


def test_another_inventory_is_written_over_only_where_a_person_says_so(world: World) -> None:
    file = world.work / "my.yml"
    file.write_text("mine: {}\n")
    secret = world.base / "secret.yml"
    secret.write_text(yaml.safe_dump({"setup_password": PASSWORD}))
    person = Dialogue(world.env, world.work, *ANSWERS, f"-e@{secret}")
    assert "spark-1b31: {ansible_host: 192.0.2.21}" in plain(person.answer("Write over it", ""))
    status, said = person.ended()
    assert status == 2
    assert "is there already, with something else in it" in said
    assert file.read_text() == "mine: {}\n"
    person = Dialogue(world.env, world.work, *ANSWERS)
    person.answer("Write over it", "yes")
    status, said = person.ended()
    assert status == 0, said
    assert list(yaml.safe_load(file.read_text())["spark"]["hosts"]) == ["spark-1b31", "spark-1b32"]


def test_a_spark_with_another_host_key_than_before_is_refused(world: World) -> None:
    secret = world.base / "secret.yml"
    secret.write_text(yaml.safe_dump({"setup_password": PASSWORD}))
    assert scripted(world.env, world.work, *ANSWERS, f"-e@{secret}").returncode == 0
    before = world.files()
    world.show_key("192.0.2.22", 7)
    done = scripted(world.env, world.work, *ANSWERS)
    assert done.returncode == 2
    assert "spark-1b32: 192.0.2.22 shows the host key SHA256:" in plain(done.stdout)
    assert "ssh-keygen -R '192.0.2.22'" in plain(done.stdout)
    world.show_key("192.0.2.22", 1)
    done = scripted(world.env, world.work, *ANSWERS)
    assert "show the same host key" in plain(done.stdout)
    assert world.files() == before


def test_the_key_of_nvidia_sync_spares_the_password(world: World) -> None:
    sync = world.base / "home" / ".config" / "NVIDIA" / "Sync" / "config"
    sync.mkdir(parents=True)
    (sync / "nvsync.key").write_text("private\n")
    (sync / "nvsync.key.pub").write_text("ssh-ed25519 AAAAsync sync\n")
    (sync / "ssh_config").write_text(
        f"Host spark-1b31.local\n  Hostname 192.0.2.21\n  User owner\n  IdentityFile {sync / 'nvsync.key'}\n"
    )
    there = world.base / "world" / "192.0.2.21" / "home" / ".ssh"
    there.mkdir()
    (there / "authorized_keys").write_text("ssh-ed25519 AAAAsync sync\n")
    person = Dialogue(world.env, world.work, "-esetup_hosts=spark-1b31", "-esetup_host_keys=any", "-esetup_new_key=yes")
    person.answer(r"Your account .*\[owner\]:", "")
    person.answer(r"Which model\?.*\[openai/gpt-oss-20b\]:", "")
    person.answer("Write the inventory to", "")
    person.answer("Add entries", "")
    status, said = person.ended()
    assert status == 0, said
    assert world.authorized("192.0.2.21").splitlines()[1:] == [(world.ssh / "id_ed25519.pub").read_text().strip()]
    assert yaml.safe_load((world.work / "my.yml").read_text())["spark"]["vars"]["ansible_user"] == "owner"
    assert "sparkops.dgx_spark.single_spark" in said
