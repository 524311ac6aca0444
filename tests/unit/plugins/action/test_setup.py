# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of the set-up on the controller, with what programs say given."""

from __future__ import annotations

import base64
import stat
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Iterator

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsiblePromptNoninteractive
from ansible_collections.sparkops.dgx_spark.plugins.action import (
    setup_inventory,
    setup_known_hosts,
    setup_login,
    setup_next_steps,
    setup_questions,
    setup_search_info,
    setup_ssh_config,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import controller, known_hosts, terminal
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.controller import Said
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError

ONE = {"name": "spark1", "address": "192.0.2.21"}
TWO = {"name": "spark2", "address": "192.0.2.22"}
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOd/9dgq me@here"


def run(module: Any, asked: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
    plugin = module.ActionModule.__new__(module.ActionModule)
    plugin._task = SimpleNamespace(check_mode=check_mode)
    plugin._play_context = SimpleNamespace(copy=lambda: SimpleNamespace(password="of --ask-pass"))
    options = {name: one.get("default") for name, one in module.ActionModule.SPEC.items()}
    return plugin.plan({**options, **asked}, {})


def refusal(module: Any, asked: dict[str, Any]) -> str:
    with pytest.raises(PlanError) as refused:
        run(module, asked)
    return str(refused.value)


@pytest.fixture(autouse=True)
def person(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Answers of a person, in turn; where there are none left, there is no terminal."""
    one = SimpleNamespace(said=[], asked=[], shown=[])

    def read(question: str, private: bool = False) -> bytes:
        one.asked.append(question)
        if not one.said:
            raise AnsiblePromptNoninteractive("no terminal")
        return str(one.said.pop(0)).encode()

    monkeypatch.setattr(terminal, "Display", lambda: SimpleNamespace(prompt_until=read, display=one.shown.append))
    return one


def programs(monkeypatch: pytest.MonkeyPatch, say: Callable[[list[str]], Said]) -> list[list[str]]:
    """Have this say what programs say. Return the commands."""
    ran: list[list[str]] = []

    def answer(command: list[str], seconds: float) -> Said:
        ran.append(list(command))
        return say(list(command))

    monkeypatch.setattr(controller, "run", answer)
    return ran


# ---- the search

AVAHI = "=;eth0;IPv4;spark-1b31;_ssh._tcp;local;spark-1b31.local;192.0.2.21;22;\n"


def search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, avahi: Said | None, **asked: Any) -> dict[str, Any]:
    def say(command: list[str]) -> Said:
        if command[0] == "avahi-browse":
            return avahi or Said(127, "", "")
        return Said(0, "[]", "")

    programs(monkeypatch, say)
    monkeypatch.setattr(controller, "has", lambda program: avahi is not None)
    nowhere = {"sync_configs": [str(tmp_path / "none")], "release_file": str(tmp_path / "none")}
    return run(setup_search_info, {**nowhere, "seconds": 0.01, **asked})


def answers(*names: str, fails: Exception | None = None) -> Any:
    """What stands for the library zeroconf. :param fails: what it raises."""

    @contextmanager
    def asker() -> Iterator[Any]:
        if fails:
            raise fails
        yield SimpleNamespace(get_service_info=described)

    def browser(_asker: Any, kind: str, handlers: list[Any]) -> None:
        for name in names:
            for change in ("Added", "Updated"):
                handlers[0](zeroconf=None, service_type=kind, name=f"{name}.{kind}", state_change=change)

    def described(_kind: str, name: str, timeout: int) -> Any:
        host = name.partition(".")[0]
        if host == "silent":
            return None
        return SimpleNamespace(server=f"{host}.local.", port=22, parsed_addresses=lambda: ["192.0.2.22", "fe80::1"])

    change = SimpleNamespace(Added="Added", Updated="Updated")
    return SimpleNamespace(Error=RuntimeError, ServiceStateChange=change, Zeroconf=asker, ServiceBrowser=browser)


def test_avahi_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = search(monkeypatch, tmp_path, Said(0, AVAHI, ""))
    assert [one["address"] for one in found["candidates"]] == ["192.0.2.21"]
    assert found["notes"] == []


def test_an_avahi_that_waits_for_a_machine_that_is_gone_has_told_of_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = search(monkeypatch, tmp_path, Said(124, AVAHI, "avahi-browse has not ended in 10 s"))
    assert [one["address"] for one in found["candidates"]] == ["192.0.2.21"]


@pytest.mark.parametrize("avahi", [None, Said(1, "", "Failed to create client object: Daemon not running\n")])
def test_zeroconf_answers_where_avahi_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, avahi: Said | None
) -> None:
    monkeypatch.setattr(setup_search_info, "HAS_ZEROCONF", True)
    monkeypatch.setattr(setup_search_info, "zeroconf", answers("spark-1b32", "silent"), raising=False)
    found = search(monkeypatch, tmp_path, avahi)
    assert [(one["name"], one["address"]) for one in found["candidates"]] == [("spark-1b32", "192.0.2.22")]
    assert found["notes"] == []


@pytest.mark.parametrize(
    ("avahi", "library", "says"),
    [
        (None, None, "avahi-browse is not installed (apt install avahi-utils), and neither is zeroconf"),
        (Said(1, "", "Daemon not running\n"), None, "avahi-browse did not answer (Daemon not running)"),
        (None, answers(fails=OSError("no network")), "zeroconf cannot ask (no network)"),
        (None, answers(fails=RuntimeError("no way")), "zeroconf cannot ask (no way)"),
    ],
)
def test_says_why_nothing_was_asked_by_mdns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, avahi: Said | None, library: Any, says: str
) -> None:
    monkeypatch.setattr(setup_search_info, "HAS_ZEROCONF", library is not None)
    monkeypatch.setattr(setup_search_info, "zeroconf", library, raising=False)
    (note,) = search(monkeypatch, tmp_path, avahi)["notes"]
    assert says in note


def test_a_spark_names_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = '[{"ifname":"eth0","addr_info":[{"local":"192.0.2.21"}]}]'
    programs(monkeypatch, lambda command: Said(0, own if "address" in command else "[]", ""))
    monkeypatch.setattr(controller, "has", lambda program: True)
    monkeypatch.setattr(setup_search_info.platform, "node", lambda: "spark-1b31")
    (tmp_path / "dgx-release").touch()
    asked = {"release_file": str(tmp_path / "dgx-release"), "sync_configs": []}
    (one,) = run(setup_search_info, asked)["candidates"]
    assert (one["name"], one["address"], one["here"]) == ("spark-1b31", "192.0.2.21", True)


# ---- questions


def test_answers_by_variables_are_taken_as_they_are_given(person: SimpleNamespace) -> None:
    found = run(
        setup_questions,
        {
            "candidates": [],
            "hosts": ["192.0.2.21", "192.0.2.22:2222"],
            "names": ["left", "right"],
            "user": "nvidia",
            "model": "oss-20b",
            "path": "x.yml",
            "ssh_config": "False",
        },
    )
    assert [(one["name"], one["address"], one["port"]) for one in found["hosts"]] == [
        ("left", "192.0.2.21", 22),
        ("right", "192.0.2.22", 2222),
    ]
    assert (found["model"], found["path"], found["ssh_config"]) == ("openai/gpt-oss-20b", "x.yml", False)
    assert (person.asked, person.shown) == ([], [])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"hosts": "0"}, "there is no number 0"),
        ({"names": "a,b"}, "2 names are given for 1 Sparks"),
        ({"user": "-x"}, "'-x' is no name of an account"),
        ({"model": "405B"}, "needs 4 Sparks, and 1 is chosen"),
        ({"path": "x.txt"}, "'x.txt' is no name for an inventory"),
        ({"path": "/"}, "'/' is no name for an inventory"),
        ({"path": "~nobody-at-all/x.yml"}, "is no name for an inventory"),
        ({"ssh_config": "perhaps"}, "'perhaps' is neither yes nor no"),
        ({"models": {"a/b": {"min_sparks": 0}}}, "min_sparks"),
    ],
)
def test_a_variable_that_will_not_do_is_named(changed: dict[str, Any], says: str) -> None:
    right = {
        "candidates": [],
        "hosts": "192.0.2.21",
        "user": "nvidia",
        "model": "oss-20b",
        "path": "x.yml",
        "ssh_config": "no",
    }
    with pytest.raises(ValueError, match=r".") as refused:
        run(setup_questions, {**right, **changed})
    assert says in str(refused.value)


@pytest.mark.parametrize(("hosts", "asks"), [("1,2", "'ssh spark-1b32' works"), ("1", "")])
def test_this_machine_needs_no_entry_for_itself(person: SimpleNamespace, hosts: str, asks: str) -> None:
    shared = {"further": [], "port": 22, "sources": ["mDNS"]}
    one = {**shared, "name": "spark-1b31", "address": "192.0.2.21", "here": True}
    other = {**shared, "name": "spark-1b32", "address": "192.0.2.22"}
    person.said = ["yes"]
    asked = {"candidates": [one, other], "hosts": hosts, "user": "me", "model": "a/b", "path": "x.yml"}
    assert run(setup_questions, asked)["ssh_config"] is bool(asks)
    assert asks in " ".join(person.asked)
    assert len(person.asked) == bool(asks)


def test_no_model_is_asked_of_the_hub_and_none_is_shown_where_one_is_given(person: SimpleNamespace) -> None:
    person.said = ["192.0.2.21", "", "nvidia", "", "no"]
    found = run(setup_questions, {"candidates": [], "others": 3, "notes": ["A note"], "model": "a/b"})
    assert found["hosts"][0]["name"] == "spark1"
    assert person.shown == [
        "\nNo Spark was found.\nOther neighbours that nothing says to be Sparks: 3.\nA note.\n",
        "\nrank 0  spark1, 192.0.2.21\nuser nvidia, model a/b, inventory my.yml\n",
    ]


# ---- host keys


def blob(number: int) -> str:
    return base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([number]) * 32).decode()


def scanned(monkeypatch: pytest.MonkeyPatch, **keys: str) -> list[list[str]]:
    """Have hosts show keys, by the last byte of their address; ssh-keygen is the real one."""
    real = controller.run

    def say(command: list[str]) -> Said:
        if command[0] != "ssh-keyscan":
            return real(command, 10)
        line = keys.get(f"at{command[-1].rpartition('.')[2]}", "")
        return Said(0, f"{command[-1]} {line}\n" if line.split(" ")[0].split("-")[-1][:7] in command[6] else "", "")

    return programs(monkeypatch, say)


def test_a_new_host_key_is_shown_and_written_where_it_is_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, person: SimpleNamespace
) -> None:
    scanned(monkeypatch, at21=f"ssh-ed25519 {blob(1)}", at22=f"ssh-ed25519 {blob(2)}")
    person.said = ["yes"]
    asked = {"hosts": [ONE, TWO], "ssh_dir": str(tmp_path / "new")}
    found = run(setup_known_hosts, asked)
    file = tmp_path / "new" / "known_hosts"
    assert found["changed"]
    assert file.read_text() == f"192.0.2.21 ssh-ed25519 {blob(1)}\n192.0.2.22 ssh-ed25519 {blob(2)}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert known_hosts.fingerprint(blob(2)) in person.shown[0]
    assert found["diff"]["after"] == file.read_text()
    assert not run(setup_known_hosts, asked)["changed"]


@pytest.mark.parametrize("said", ["no", ""])
def test_a_host_key_that_is_not_accepted_is_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, person: SimpleNamespace, said: str
) -> None:
    scanned(monkeypatch, at21=f"ssh-ed25519 {blob(1)}")
    person.said = [said]
    assert "were not accepted" in refusal(setup_known_hosts, {"hosts": [ONE], "ssh_dir": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_fingerprints_are_accepted_one_by_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scanned(monkeypatch, at21=f"ssh-ed25519 {blob(1)}", at22=f"ssh-ed25519 {blob(2)}")
    first, second = (known_hosts.fingerprint(blob(number)) for number in (1, 2))
    asked = {"hosts": [ONE, TWO], "ssh_dir": str(tmp_path), "accept": [first]}
    said = refusal(setup_known_hosts, asked)
    assert f"spark2 192.0.2.22 ssh-ed25519 {second}" in " ".join(said.split())
    assert first not in said
    assert run(setup_known_hosts, {**asked, "accept": f"{first},{second}"})["changed"]


def test_check_mode_asks_nobody_and_writes_no_host_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, person: SimpleNamespace
) -> None:
    scanned(monkeypatch, at21=f"ssh-ed25519 {blob(1)}")
    found = run(setup_known_hosts, {"hosts": [ONE], "ssh_dir": str(tmp_path)}, check_mode=True)
    assert (found["changed"], list(found["fingerprints"]), person.asked) == (True, ["spark1"], [])
    assert list(tmp_path.iterdir()) == []


def test_a_hashed_line_of_known_hosts_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scanned(monkeypatch, at21=f"ssh-ed25519 {blob(1)}")
    file = tmp_path / "known_hosts"
    file.write_text(f"192.0.2.21 ssh-ed25519 {blob(1)}\n")
    assert controller.run(["ssh-keygen", "-H", "-f", str(file)], 10).status == 0
    assert "192.0.2.21" not in file.read_text()
    assert not run(setup_known_hosts, {"hosts": [ONE], "ssh_dir": str(tmp_path)})["changed"]


def test_a_host_is_asked_for_the_type_of_key_that_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = scanned(monkeypatch, at21=f"ssh-rsa {blob(1)}")
    (tmp_path / "known_hosts").write_text(f"192.0.2.21 ssh-rsa {blob(1)}\n")
    assert not run(setup_known_hosts, {"hosts": [ONE], "ssh_dir": str(tmp_path)})["changed"]
    assert [command[6] for command in ran if command[0] == "ssh-keyscan"] == ["rsa"]


def test_a_host_without_the_usual_type_is_asked_for_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = scanned(monkeypatch, at21=f"ssh-rsa {blob(1)}")
    assert run(setup_known_hosts, {"hosts": [ONE], "ssh_dir": str(tmp_path), "accept": "any"})["changed"]
    assert [command[6] for command in ran if command[0] == "ssh-keyscan"] == ["ed25519", "ecdsa,rsa"]


def test_nobody_asks_this_machine_for_its_host_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = scanned(monkeypatch)
    assert not run(setup_known_hosts, {"hosts": [{**ONE, "here": True}], "ssh_dir": str(tmp_path)})["changed"]
    assert ran == []


def test_says_that_ssh_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    programs(monkeypatch, lambda command: Said(127, "", f"{command[0]} is not installed"))
    assert "install OpenSSH's client" in refusal(setup_known_hosts, {"hosts": [ONE], "ssh_dir": str(tmp_path)})


# ---- the key


class Host:
    """What stands for Ansible's connection: says what ssh would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *said: tuple[int, str, str] | Exception) -> None:
        self.said = list(said)
        self.options: list[dict[str, Any]] = []
        self.scripts: list[tuple[str, bytes | None]] = []
        monkeypatch.setattr(setup_login.connection_loader, "get", self.get)
        programs(monkeypatch, lambda command: Said(2, "", "no agent"))

    def get(self, name: str, context: SimpleNamespace) -> Any:
        assert (name, context.password) == ("ansible.builtin.ssh", "")
        return self

    def set_options(self, direct: dict[str, Any]) -> None:
        self.options.append(direct)

    def exec_command(self, command: str, in_data: bytes | None, sudoable: bool) -> tuple[int, bytes, bytes]:
        assert not sudoable
        self.scripts.append((command, in_data))
        said = self.said.pop(0)
        if isinstance(said, Exception):
            raise said
        return said[0], said[1].encode(), said[2].encode()


LET_IN = (0, "", "")
ADDED = (0, "added\n", "")
DENIED = (255, "", "nvidia@192.0.2.21: Permission denied (publickey,password).\r\n")
CLOSED = (255, "", "kex_exchange_identification: Connection closed by remote host\r\n")


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    (tmp_path / "id_ed25519").write_text("private\n")
    (tmp_path / "id_ed25519.pub").write_text(f"{PUBLIC}\n")
    return tmp_path


def login(keys_dir: Path, **asked: Any) -> dict[str, Any]:
    return {"hosts": [ONE], "user": "nvidia", "ssh_dir": str(keys_dir), **asked}


def test_a_spark_that_lets_in_needs_nothing(monkeypatch: pytest.MonkeyPatch, keys_dir: Path) -> None:
    host = Host(monkeypatch, LET_IN)
    found = run(setup_login, login(keys_dir))
    assert (found["changed"], found["installed"], found["key"]) == (False, [], str(keys_dir / "id_ed25519"))
    (options,) = host.options
    assert "BatchMode=yes" in options["ssh_extra_args"]
    assert "UpdateHostKeys=no" in options["ssh_extra_args"], "known_hosts gets what was accepted"
    assert f"-i {keys_dir / 'id_ed25519'}" in options["ssh_extra_args"]
    assert (options["host"], options["port"], options["remote_user"]) == ("192.0.2.21", 22, "nvidia")
    assert options["password"] is None


def test_a_key_is_added_by_the_password_and_tried(
    monkeypatch: pytest.MonkeyPatch, keys_dir: Path, person: SimpleNamespace
) -> None:
    host = Host(monkeypatch, DENIED, ADDED, LET_IN)
    person.said = ["secret"]
    assert run(setup_login, login(keys_dir))["installed"] == ["spark1"]
    assert [options["password"] for options in host.options] == [None, "secret", None]
    assert "PubkeyAuthentication=no" in host.options[1]["ssh_extra_args"]
    assert host.scripts[1][1] == f"{PUBLIC}\n".encode()
    assert all("secret" not in command for command, _given in host.scripts)


def test_check_mode_asks_for_no_password(
    monkeypatch: pytest.MonkeyPatch, keys_dir: Path, person: SimpleNamespace
) -> None:
    host = Host(monkeypatch, DENIED)
    assert run(setup_login, login(keys_dir), check_mode=True)["installed"] == ["spark1"]
    unknown = run(setup_login, login(keys_dir, unknown=["spark1"]), check_mode=True)
    assert unknown["installed"] == ["spark1"]
    assert (len(host.scripts), person.asked) == (1, [])


def test_a_password_that_is_refused_is_asked_for_again_and_then_no_more(
    monkeypatch: pytest.MonkeyPatch, keys_dir: Path, person: SimpleNamespace
) -> None:
    Host(monkeypatch, DENIED, DENIED, DENIED, DENIED)
    person.said = ["a", "b", "c", "d"]
    said = refusal(setup_login, login(keys_dir))
    assert "spark1: nvidia could not log in with the password" in said
    assert "Permission denied (publickey,password)" in said
    assert person.said == ["d"]
    assert "In this step nothing was changed. Run setup again" in said


def test_a_connection_that_is_closed_at_once_may_be_a_penalty(
    monkeypatch: pytest.MonkeyPatch, keys_dir: Path, tmp_path: Path
) -> None:
    """As OpenSSH 10.0 does for some seconds after four keys that it refused."""
    Host(monkeypatch, CLOSED)
    said = refusal(setup_login, login(keys_dir))
    assert "ssh does not get to 192.0.2.21, port 22 (kex_exchange_identification: Connection closed" in said
    assert "try again then" in said
    programs(monkeypatch, lambda command: Said(1, "", "192.0.2.21: Connection closed by remote host\n"))
    said = refusal(setup_known_hosts, {"hosts": [ONE], "ssh_dir": str(tmp_path)})
    assert "Connection closed by remote host" in said
    assert "try again then. Nothing was changed." in said


def test_says_what_is_in_the_way_of_a_key_that_was_added(
    monkeypatch: pytest.MonkeyPatch, keys_dir: Path, person: SimpleNamespace
) -> None:
    Host(monkeypatch, DENIED, ADDED, DENIED)
    person.said = ["secret"]
    said = refusal(setup_login, login(keys_dir))
    assert f"ssh-add {keys_dir / 'id_ed25519'}" in said
    assert "PubkeyAuthentication" in said


def test_an_error_says_what_was_done_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, person: SimpleNamespace
) -> None:
    gone = (255, "", "ssh: connect to host 192.0.2.22 port 22: No route to host\r\n")
    host = Host(monkeypatch, DENIED, DENIED, ADDED, LET_IN, gone)

    def make(command: list[str]) -> Said:
        if command[0] == "ssh-keygen":
            Path(f"{command[-1]}.pub").write_text(f"{PUBLIC}\n")
        return Said(0 if command[0] == "ssh-keygen" else 1, "", "")

    programs(monkeypatch, make)
    person.said = ["yes", "secret"]
    said = refusal(setup_login, login(tmp_path, hosts=[ONE, TWO]))
    assert "spark2: ssh does not get to 192.0.2.22" in said
    assert f"So far {tmp_path / 'id_ed25519'} was made, and spark1 got the key. Run setup again" in said
    assert host.said == []


def test_says_that_authorized_keys_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, keys_dir: Path, person: SimpleNamespace
) -> None:
    Host(monkeypatch, DENIED, (1, "", "sh: cannot create .ssh/authorized_keys: Read-only file system\n"))
    person.said = ["secret"]
    assert "could not be written there (sh: cannot create" in refusal(setup_login, login(keys_dir))


def test_an_error_of_ansibles_connection_is_said_as_what_ssh_said(
    monkeypatch: pytest.MonkeyPatch, keys_dir: Path
) -> None:
    Host(monkeypatch, AnsibleConnectionFailure("Failed to connect to the host via ssh: no route"))
    assert "via ssh: no route" in refusal(setup_login, login(keys_dir))


def test_a_key_that_is_named_is_taken_by_either_of_its_files(
    monkeypatch: pytest.MonkeyPatch, keys_dir: Path, tmp_path: Path
) -> None:
    for name in ("id_ed25519", "id_ed25519.pub"):
        Host(monkeypatch, LET_IN)
        asked = {"hosts": [ONE], "user": "nvidia", "key": str(keys_dir / name)}
        assert run(setup_login, asked)["key"] == str(keys_dir / "id_ed25519")
    (keys_dir / "id_ed25519.pub").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert "id_ed25519.pub is no public key" in refusal(setup_login, asked)


def test_a_private_key_without_its_public_one_is_not_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Host(monkeypatch)
    (tmp_path / "id_rsa").write_text("private\n")
    assert f"ssh-keygen -y -f {tmp_path / 'id_rsa'}" in refusal(setup_login, login(tmp_path))


def test_no_key_is_made_where_the_answer_is_no(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, person: SimpleNamespace
) -> None:
    Host(monkeypatch, DENIED)
    person.said = ["no"]
    assert "Without a key the playbooks cannot log in" in refusal(setup_login, login(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_nobody_logs_in_to_this_machine(monkeypatch: pytest.MonkeyPatch, keys_dir: Path) -> None:
    host = Host(monkeypatch)
    assert not run(setup_login, login(keys_dir, hosts=[{**ONE, "here": True}]))["changed"]
    assert host.scripts == []


# ---- files


def test_a_link_of_a_persons_own_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "ssh_config"
    real.parent.mkdir()
    real.write_text("Host other\n")
    real.chmod(0o640)
    (tmp_path / "config").symlink_to(real)
    asked = {"hosts": [ONE], "user": "nvidia", "ssh_dir": str(tmp_path)}
    assert run(setup_ssh_config, asked)["changed"]
    assert (tmp_path / "config").is_symlink()
    assert "Host spark1" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert not run(setup_ssh_config, asked)["changed"]
    assert run(setup_ssh_config, {"state": "absent", "ssh_dir": str(tmp_path)})["changed"]
    assert real.read_text() == "Host other\n"


def test_bytes_that_are_no_text_stay(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_bytes(b"# caf\xe9\nHost other\r\n")
    asked = {"hosts": [ONE], "user": "nvidia", "ssh_dir": str(tmp_path)}
    run(setup_ssh_config, asked)
    run(setup_ssh_config, {"state": "absent", "ssh_dir": str(tmp_path)})
    assert file.read_bytes() == b"# caf\xe9\nHost other\r\n"


def test_a_file_that_was_made_is_removed_and_check_mode_does_neither(tmp_path: Path) -> None:
    asked = {"hosts": [ONE], "user": "nvidia", "ssh_dir": str(tmp_path)}
    absent = {"state": "absent", "ssh_dir": str(tmp_path)}
    assert run(setup_ssh_config, asked, check_mode=True)["changed"]
    assert list(tmp_path.iterdir()) == []
    run(setup_ssh_config, asked)
    assert stat.S_IMODE((tmp_path / "config").stat().st_mode) == 0o600
    assert run(setup_ssh_config, absent, check_mode=True)["changed"]
    assert (tmp_path / "config").exists()
    run(setup_ssh_config, absent)
    assert list(tmp_path.iterdir()) == []
    assert not run(setup_ssh_config, absent)["changed"]


def test_half_a_block_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("# END sparkops.dgx_spark setup\n")
    said = refusal(setup_ssh_config, {"state": "absent", "ssh_dir": str(tmp_path)})
    assert f"{tmp_path / 'config'}: it has only one of the lines" in said


def test_a_leader_that_is_this_machine_needs_no_entry(tmp_path: Path) -> None:
    asked = {"hosts": [{**ONE, "here": True}], "user": "nvidia", "ssh_dir": str(tmp_path)}
    assert not run(setup_ssh_config, asked)["changed"]


def test_an_inventory_is_written_once(tmp_path: Path, person: SimpleNamespace) -> None:
    asked = {"path": str(tmp_path / "my.yml"), "hosts": [ONE, TWO], "user": "nvidia", "model": "a/b"}
    assert run(setup_inventory, asked, check_mode=True)["changed"]
    assert list(tmp_path.iterdir()) == []
    assert run(setup_inventory, asked)["changed"]
    assert stat.S_IMODE((tmp_path / "my.yml").stat().st_mode) == 0o644
    assert not run(setup_inventory, asked)["changed"]
    assert person.asked == []
    other = {**asked, "model": "c/d"}
    assert "-e setup_overwrite=true" in refusal(setup_inventory, other)
    assert "is there already" in refusal(setup_inventory, {**other, "overwrite": "no"})
    assert "a/b" in (tmp_path / "my.yml").read_text()
    assert run(setup_inventory, {**other, "overwrite": "True"})["changed"]
    assert "c/d" in (tmp_path / "my.yml").read_text()


def test_says_what_is_in_the_way_of_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    asked = {"path": str(tmp_path / "file" / "my.yml"), "hosts": [ONE], "user": "nvidia", "model": "a/b"}
    assert str(tmp_path / "file") in refusal(setup_inventory, asked)


def test_shows_the_commands_and_the_names_that_lead_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, person: SimpleNamespace
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"path": "my.yml", "hosts": [ONE], "user": "nvidia", "ssh_config": True}
    assert run(setup_next_steps, asked)["commands"][2].startswith("ssh -N -L 8355:127.0.0.1:8355 spark1 ")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "serve.yml").touch()
    found = run(setup_next_steps, {**asked, "clashes": ["spark1"], "api_port": 8356})["commands"]
    assert "playbooks/single_spark.yml" in found[1]
    assert found[2].startswith("ssh -N -L 8356:127.0.0.1:8356 nvidia@192.0.2.21 ")
    assert "had entries for spark1 before" in person.shown[1]


# ---- programs


def test_a_program_that_is_not_there_and_one_that_does_not_end() -> None:
    assert controller.run(["no-such-program"], 1) == Said(127, "", "no-such-program is not installed")
    late = controller.run(["sh", "-c", "echo said; sleep 5"], 0.3)
    assert (late.status, late.out) == (124, "said\n")
    assert controller.run(["/"], 1).status == 126
