# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written: the inventory, known_hosts, the configuration of ssh, and a key on a host."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import keys, known_hosts, ssh_config
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.answers import Spark
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.inventory import commands, inventory, scalar
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.known_hosts import CHANGED, KNOWN, NEW, HostKey
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.ssh_config import BEGIN, END, SshConfigError
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[5]
TWO = [Spark("spark1", "192.168.1.21"), Spark("spark2", "192.168.1.22")]

# ---- the inventory


@pytest.mark.parametrize("name", ["single_spark", "two_spark"])
def test_an_inventory_says_what_the_example_says(name: str) -> None:
    example = yaml.safe_load((ROOT / "inventory" / f"{name}.yml").read_text())
    members = [Spark(host, one["ansible_host"]) for host, one in example["spark"]["hosts"].items()]
    shared = example["spark"]["vars"]
    made = inventory(members, shared["ansible_user"], shared["spark_model"])
    assert yaml.safe_load(made) == example
    assert list(yaml.safe_load(made)["spark"]["hosts"]) == [one.name for one in members], "rank order"


def test_an_inventory_has_what_a_spark_needs_beside_its_address() -> None:
    members = [Spark("spark1", "192.168.1.21", here=True, port=2222), Spark("spark2", "fd00::2", 2222, identity="/x")]
    made = yaml.safe_load(inventory(members, "me", "a/b", "/home/a b/key", "/home/a b/known_hosts"))
    assert made["spark"]["hosts"] == {
        "spark1": {"ansible_host": "192.168.1.21", "ansible_connection": "local"},
        "spark2": {"ansible_host": "fd00::2", "ansible_port": 2222},
    }
    shared = made["spark"]["vars"]
    assert shared["ansible_ssh_private_key_file"] == "/home/a b/key"
    assert shlex.split(shared["ansible_ssh_common_args"]) == ["-o", 'UserKnownHostsFile="/home/a b/known_hosts"']


def test_an_inventory_looks_as_one_that_a_person_writes() -> None:
    assert inventory(TWO, "nvidia", "openai/gpt-oss-20b").splitlines()[-7:] == [
        "    # The first is the leader: rank 0, and where the API listens. ansible_host is the management address;",
        "    # addresses on the cable are planned, never typed.",
        "    spark1: {ansible_host: 192.168.1.21}",
        "    spark2: {ansible_host: 192.168.1.22}",
        "  vars:",
        "    ansible_user: nvidia",
        "    spark_model: openai/gpt-oss-20b",
    ]


@given(st.text())
def test_any_string_reads_back_from_yaml(text: str) -> None:
    assert yaml.safe_load(f"{{a: {scalar(text)}}}") == {"a": text}


@pytest.mark.parametrize("text", ["no", "null", "1e3", "0x1f", "12:30:00", "~", "y", "2024-01-01", "Off", "a: b", "#a"])
def test_words_that_yaml_takes_for_something_else_are_quoted(text: str) -> None:
    assert yaml.safe_load(f"{{{scalar(text)}: {scalar(text)}}}") == {text: text}


@pytest.mark.parametrize(
    ("members", "play"),
    [(TWO[:1], "single_spark"), (TWO, "two_spark"), ([*TWO, Spark("spark3", "192.168.1.23")], "serve")],
)
def test_says_what_to_type_next(members: list[Spark], play: str) -> None:
    plan, serve, tunnel = commands(members, "nvidia", "my.yml", 8355, checkout=True)
    assert plan.startswith("ansible-playbook -i my.yml playbooks/plan.yml --ask-become-pass --check --diff  # ")
    assert serve.startswith(f"ansible-playbook -i my.yml playbooks/{play}.yml --ask-become-pass  # ")
    assert (ROOT / "playbooks" / f"{play}.yml").is_file()
    assert tunnel.startswith("ssh -N -L 8355:127.0.0.1:8355 nvidia@192.168.1.21  # ")
    _plan, serve, tunnel = commands(members, "nvidia", "a b.yml", 1, checkout=False, named=True)
    assert serve.startswith(f"ansible-playbook -i 'a b.yml' sparkops.dgx_spark.{play} ")
    assert tunnel.startswith("ssh -N -L 1:127.0.0.1:1 spark1  # ")


def test_whoever_sits_at_the_leader_needs_no_tunnel() -> None:
    assert len(commands([Spark("spark1", "192.168.1.21", here=True)], "nvidia", "my.yml", 8355, checkout=True)) == 2


def test_a_tunnel_goes_by_the_same_key_and_port() -> None:
    said = ssh_config.tunnel("me", Spark("a", "10.0.0.1", 2222), 8355, False, "/a b/k", "/a b/h")
    assert shlex.split(said) == [
        *("ssh", "-N", "-L", "8355:127.0.0.1:8355", "-p", "2222", "-i", "/a b/k"),
        *("-o", 'UserKnownHostsFile="/a b/h"', "me@10.0.0.1"),
    ]


# ---- known_hosts

A, B = "AAAAC3NzaC1lZDI1NTE5AAAAIOd/9dgqkJc7i+8nSv1XN3L4sCYIRwCjhc44ZkKBtSU5", "AAAAC3NzaC1lZDI1NTE5AAAAIEVf"


def test_the_fingerprint_is_the_one_that_ssh_keygen_shows(tmp_path: Path) -> None:
    made = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made], check=True)
    shown = subprocess.run(["ssh-keygen", "-lf", f"{made}.pub"], check=True, capture_output=True, text=True).stdout
    assert known_hosts.fingerprint(made.with_suffix(".pub").read_text().split()[1]) == shown.split()[1]


def test_reads_keys_and_nothing_else() -> None:
    text = "\n".join(
        [
            "# a comment",
            f"a ssh-ed25519 {A} note",
            f"@revoked * ssh-rsa {B}",
            "|1|x|y ssh-dss AAAA",
            "x",
            "a ssh-rsa ???",
        ]
    )
    assert known_hosts.keys(text) == [HostKey("ssh-ed25519", A), HostKey("ssh-rsa", B, "@revoked")]


@given(st.text() | st.text(alphabet="ssh-rsa AAAA=@\n \t"))
def test_damaged_answers_of_ssh_keyscan_are_read_as_what_is_a_key_in_them(text: str) -> None:
    for key in known_hosts.keys(text):
        assert key.fingerprint.startswith("SHA256:")
        assert key.kind in known_hosts.KINDS


@pytest.mark.parametrize(
    ("shown", "known", "expected"),
    [
        ([HostKey("ssh-ed25519", A)], [], NEW),
        ([HostKey("ssh-ed25519", A)], [HostKey("ssh-ed25519", A)], KNOWN),
        ([HostKey("ssh-ed25519", B)], [HostKey("ssh-ed25519", A)], CHANGED),
        ([HostKey("ssh-ed25519", B), HostKey("ssh-rsa", A)], [HostKey("ssh-rsa", A)], KNOWN),
        ([HostKey("ssh-ed25519", A)], [HostKey("ssh-ed25519", A, "@revoked")], CHANGED),
        ([HostKey("ssh-ed25519", A)], [HostKey("ssh-rsa", B)], NEW),
    ],
)
def test_tells_new_known_and_changed_hosts(shown: list[HostKey], known: list[HostKey], expected: str) -> None:
    assert known_hosts.state(shown, known) == expected


def test_asks_for_the_types_that_are_known_since_a_host_counts_connections() -> None:
    assert known_hosts.wanted([]) == "ed25519"
    assert known_hosts.wanted([HostKey("ssh-rsa", A), HostKey("ecdsa-sha2-nistp256", A)]) == "rsa,ecdsa"
    assert known_hosts.wanted([HostKey("ssh-rsa", A, "@revoked")]) == "ed25519"


def test_ssh_keygen_finds_a_line_that_was_added(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    key = HostKey(*(tmp_path / "key.pub").read_text().split()[:2])
    file = tmp_path / "known_hosts"
    file.write_text(known_hosts.with_lines("other ssh-rsa AAAA", [known_hosts.line("Spark1.local", 2222, key)]))
    assert file.read_text().startswith("other ssh-rsa AAAA\n[spark1.local]:2222 ssh-ed25519 ")
    command = ["ssh-keygen", "-F", known_hosts.subject("spark1.local", 2222), "-f", file]
    assert known_hosts.keys(subprocess.run(command, check=True, capture_output=True, text=True).stdout) == [key]


@given(st.text(), st.lists(st.just("a ssh-rsa AAAA")))
def test_what_known_hosts_has_stays(text: str, lines: list[str]) -> None:
    after = known_hosts.with_lines(text, lines)
    assert after.startswith(text)
    assert [one for one in after[len(text) :].split("\n") if one] == lines


# ---- the configuration of ssh

LINES = ssh_config.entries(TWO, "nvidia")
OTHERS = st.text(alphabet="Host a*\n\r\t#=").filter(lambda text: BEGIN not in text)


@given(OTHERS)
def test_removing_the_block_restores_every_byte(text: str) -> None:
    added = ssh_config.with_block(text, LINES)
    assert added.startswith(text)
    assert ssh_config.without(added) == (text, False)
    assert ssh_config.with_block(added, LINES) == added, "again: nothing changes"


@given(OTHERS)
def test_another_block_takes_the_place_of_the_first(text: str) -> None:
    first = ssh_config.with_block(text, LINES)
    assert ssh_config.with_block(first, LINES[:3]) == ssh_config.with_block(text, LINES[:3])


def test_a_file_that_was_made_for_the_block_goes_with_it() -> None:
    made = ssh_config.with_block(None, LINES)
    assert ssh_config.without(made) == ("", True)
    assert ssh_config.without(ssh_config.with_block(made, LINES[:3])) == ("", True)
    assert ssh_config.without(made + "Host mine\n") == ("Host mine\n", False)
    assert ssh_config.without(ssh_config.with_block("", LINES)) == ("", False), "an empty file stays"


def test_lines_that_came_after_the_block_do_not_run_on_in_the_line_above() -> None:
    added = ssh_config.with_block("Host a", LINES)
    assert ssh_config.without(f"{added}Host b\n") == ("Host a\nHost b\n", False)


def test_the_block_is_at_the_end_so_that_it_takes_up_no_settings() -> None:
    text = "ForwardAgent no\nHost *\n  User me\n"
    assert ssh_config.with_block(text, LINES).partition(BEGIN)[0] == text


@pytest.mark.parametrize("text", [f"{BEGIN}\nHost a\n", f"Host a\n{END}\n", f"{END}\n{BEGIN}\n"])
def test_half_a_block_is_left_to_the_person_who_halved_it(text: str) -> None:
    with pytest.raises(SshConfigError, match="only one of the lines"):
        ssh_config.with_block(text, LINES)


def test_ssh_itself_goes_by_the_entries_and_nothing_else_does(tmp_path: Path) -> None:
    members = [Spark("spark1", "192.168.1.21", 2222), *TWO[1:]]
    file = tmp_path / "config"
    file.write_text(
        ssh_config.with_block("", ssh_config.entries(members, "me", str(tmp_path / "a key"), str(tmp_path / "hosts")))
    )
    assert not re.search(r"[*?!]", file.read_text())

    def told(host: str) -> dict[str, str]:
        done = subprocess.run(["ssh", "-F", file, "-G", host], check=True, capture_output=True, text=True)
        return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)

    one = told("spark1")
    assert (one["hostname"], one["port"], one["user"]) == ("192.168.1.21", "2222", "me")
    assert one["identityfile"] == str(tmp_path / "a key")
    assert one["userknownhostsfile"] == str(tmp_path / "hosts")
    other = told("elsewhere")
    assert other["hostname"] == "elsewhere"
    assert other["user"] != "me"


def test_names_entries_that_ssh_goes_by_before_ours() -> None:
    text = 'Host other "Spark2"\n  HostName x\nhost=third\nHost spark*\n'
    after = ssh_config.with_block(text, LINES)
    assert ssh_config.clashes(after, ["spark1", "spark2", "third"]) == ["spark2", "third"]


# ---- keys

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOd/9dgq me@here"
RSA = "ssh-rsa AAAAB3NzaC1yc2E me@here"


@pytest.mark.parametrize(
    ("files", "agent", "path"),
    [
        ({"id_rsa": RSA, "id_ed25519": KEY}, [], "/s/id_ed25519"),
        ({"id_rsa": f"{RSA}\n"}, [KEY], "/s/id_rsa"),
        ({"id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\n", "id_rsa": RSA}, [], "/s/id_rsa"),
        ({}, ["The agent has no identities.", KEY], ""),
    ],
)
def test_chooses_a_key_that_ssh_offers_by_itself(files: dict[str, str], agent: list[str], path: str) -> None:
    chosen = keys.choose(files, "/s", agent)
    assert chosen is not None
    assert chosen.path == path
    assert chosen.usual
    assert chosen.said == (f"{path}.pub" if path else "the agent's key me@here")


def test_chooses_none_where_there_is_none() -> None:
    assert keys.choose({}, "/s", ["The agent has no identities."]) is None


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", f"{KEY}\n{RSA}\n", f'command="x" {KEY}']
)
def test_only_one_public_key_is_taken_for_one(text: str) -> None:
    assert keys.line_of(text) == ""


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (None, f"{KEY}\n", "added"),
        ("", f"{KEY}\n", "added"),
        (f"{RSA}\n", f"{RSA}\n{KEY}\n", "added"),
        (RSA, f"{RSA}\n{KEY}\n", "added"),
        (f"{RSA}\n{KEY}", f"{RSA}\n{KEY}", "there"),
        (f"# {KEY}\n", f"# {KEY}\n{KEY}\n", "added"),
    ],
)
def test_adds_a_line_to_authorized_keys_as_ssh_copy_id_does(
    tmp_path: Path, before: str | None, after: str, says: str
) -> None:
    file = tmp_path / ".ssh" / "authorized_keys"
    if before is not None:
        file.parent.mkdir()
        file.write_text(before)
    done = subprocess.run(
        ["/bin/sh", "-c", keys.INSTALL],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        input=f"{KEY}\n",
        check=True,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (f"{says}\n", "")
    assert file.read_text() == after
    if before is None:
        assert [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)] == [0o700, 0o600]
