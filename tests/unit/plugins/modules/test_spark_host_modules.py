# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that change a host, on real files and with programs that note what they were asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import ledger
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import layout, sshd
from ansible_collections.sparkops.dgx_spark.plugins.modules import (
    spark_host_files,
    spark_host_logins,
    spark_host_name,
    spark_host_settings_info,
)

CONTENT = "PasswordAuthentication no\n"
SETTINGS = {"passwordauthentication": "no"}


class Host:
    """A directory in the place of a host's root, and programs that a test can have fail."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root, root / "bin"
        self.bin.mkdir()
        self.log = root / "log"
        self.log.touch()
        for name in ("systemctl", "systemd-run", "hostnamectl", "sshd"):
            self.program(name)
        self.program("systemctl", 'case "$*" in *SubState*) cat "$ROOT/timer" 2>/dev/null || true ;; esac')
        self.program("systemd-run", 'echo waiting > "$ROOT/timer"')
        self.program("sshd", 'case "$1" in -T) cat "$ROOT/says" ;; esac')
        self.says("passwordauthentication no\n")

    def program(self, name: str, does: str = "true") -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\nROOT={self.root}\necho "{name} $*" >> "$ROOT/log"\n{does}\n')
        path.chmod(0o755)

    def says(self, text: str) -> None:
        (self.root / "says").write_text(text)

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(ledger, "ROOT", str(tmp_path / "originals"))
    for module in (spark_host_files, spark_host_logins, spark_host_name):
        monkeypatch.setattr(
            module.AnsibleModule, "get_bin_path", lambda _self, name, *_one, **_more: str(made.bin / name)
        )
    drop_in = made.path(layout.SSHD)
    drop_in.parent.mkdir(parents=True)
    monkeypatch.setattr(spark_host_logins, "SSHD", str(drop_in))
    monkeypatch.setattr(sshd, "PREVIOUS", str(tmp_path / "run" / "previous"))
    monkeypatch.setattr(layout, "DIRECTORIES_NOTE", str(tmp_path / "notes" / "directories.json"))
    files = tuple(str(made.path(path)) for path in layout.FILES)
    monkeypatch.setattr(layout, "FILES", files)
    monkeypatch.setattr(
        layout,
        "PARTS",
        tuple(
            layout.Part(
                part.name,
                part.packages,
                tuple(str(made.path(path)) for path in part.files),
                part.unit,
                part.reload,
                part.ending,
                part.is_daemon,
            )
            for part in layout.PARTS
        ),
    )
    for path in (layout.HELD, layout.EARLYOOM, layout.CLOCK_FILE):
        made.path(path).parent.mkdir(parents=True, exist_ok=True)
    return made


def run(
    module: Any, capsys: pytest.CaptureFixture[str], *, check_mode: bool = False, **arguments: Any
) -> dict[str, Any]:
    with patch_module_args({**arguments, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


# ---- files


def test_files_are_written_with_their_directories_and_restored_without_a_trace(host: Host, capsys) -> None:
    earlyoom, logind = host.path(layout.EARLYOOM), host.path(layout.LOGIND)
    earlyoom.write_text("mine\n")
    wanted = [{"path": str(earlyoom), "content": "ours\n"}, {"path": str(logind), "content": "[Login]\n"}]
    assert run(spark_host_files, capsys, check_mode=True, files=wanted)["written"] == [str(earlyoom), str(logind)]
    assert (earlyoom.read_text(), logind.parent.exists()) == ("mine\n", False)
    done = run(spark_host_files, capsys, files=wanted)
    assert done["reload"] == [
        ["systemctl", "restart", "earlyoom.service"],
        ["systemctl", "kill", "--signal=HUP", "systemd-logind.service"],
    ]
    assert run(spark_host_files, capsys, files=wanted)["changed"] is False
    foretold = run(spark_host_files, capsys, check_mode=True, all_restored=True)
    assert foretold["restored"] == [str(earlyoom), str(logind)]
    assert run(spark_host_files, capsys, all_restored=True)["restored"] == foretold["restored"]
    assert (earlyoom.read_text(), logind.parent.exists()) == ("mine\n", False)
    assert not Path(layout.DIRECTORIES_NOTE).exists()
    assert run(spark_host_files, capsys, all_restored=True)["changed"] is False


def test_a_directory_that_others_use_by_then_stays(host: Host, capsys) -> None:
    logind = host.path(layout.LOGIND)
    run(spark_host_files, capsys, files=[{"path": str(logind), "content": "[Login]\n"}])
    (logind.parent / "theirs.conf").write_text("")
    run(spark_host_files, capsys, all_restored=True)
    assert [path.name for path in logind.parent.iterdir()] == ["theirs.conf"]


def test_a_file_that_others_have_changed_is_not_restored_unless_forced(host: Host, capsys) -> None:
    held, earlyoom = host.path(layout.HELD), host.path(layout.EARLYOOM)
    run(spark_host_files, capsys, files=[{"path": str(one), "content": "ours\n"} for one in (held, earlyoom)])
    held.write_text("theirs\n")
    refused = run(spark_host_files, capsys, all_restored=True)
    assert "was changed by another program or person" in refused["msg"]
    assert earlyoom.exists()
    run(spark_host_files, capsys, all_restored=True, force=True)
    assert not held.exists()
    assert not earlyoom.exists()


def test_a_unit_ends_before_its_file_goes(host: Host, capsys) -> None:
    unit = host.path(layout.CLOCK_FILE)
    run(spark_host_files, capsys, files=[{"path": str(unit), "content": "[Unit]\n"}])
    host.log.write_text("")
    done = run(spark_host_files, capsys, restored=[str(unit)])
    assert host.asked == [f"systemctl disable --no-reload {layout.CLOCK_UNIT}", f"systemctl stop {layout.CLOCK_UNIT}"]
    assert done["reload"] == []


def test_a_foreign_file_is_refused(host: Host, capsys) -> None:
    assert "cares for no such file" in run(spark_host_files, capsys, restored=["/etc/passwd"])["msg"]


# ---- logins


def tried(capsys, **more: Any) -> dict[str, Any]:
    return run(spark_host_logins, capsys, state="tried", content=CONTENT, settings=SETTINGS, **more)


def test_the_drop_in_is_tried_confirmed_and_restored(host: Host, capsys) -> None:
    drop_in = host.path(layout.SSHD)
    assert tried(capsys, check_mode=True)["changed"]
    assert not drop_in.exists()
    assert tried(capsys)["changed"]
    assert drop_in.read_text() == CONTENT
    steps = [line.split()[0] + " " + line.split()[1] for line in host.asked]
    assert (
        steps.index("systemd-run --on-active=60")
        < steps.index("sshd -T")
        < steps.index("systemctl try-reload-or-restart")
    ), "the timer runs before anything is changed, and the server is reloaded after it was asked"
    assert "msg" not in run(spark_host_logins, capsys, state="confirmed")
    assert not Path(sshd.PREVIOUS).parent.exists()
    assert run(spark_host_logins, capsys, state="restored")["changed"]
    assert not drop_in.exists()
    assert run(spark_host_logins, capsys, state="restored")["changed"] is False


@pytest.mark.parametrize("before", [None, "Port 22\n"])
def test_what_the_server_refuses_is_put_back_and_not_loaded(host: Host, capsys, before: str | None) -> None:
    drop_in = host.path(layout.SSHD)
    if before:
        drop_in.write_text(before)
    host.program("sshd", f'[ "$1" = -T ] || ! grep -q Password {drop_in} || {{ echo "line 1: bad" >&2; exit 255; }}')
    failed = tried(capsys)
    assert "sshd refuses it: line 1: bad" in failed["msg"]
    assert (drop_in.read_text() if drop_in.exists() else None) == before
    assert not any("try-reload-or-restart" in line.split("/bin/sh")[0] for line in host.asked)
    assert ledger.Originals().record(str(drop_in)) is None


def test_another_file_that_prevails_is_named_by_its_setting(host: Host, capsys) -> None:
    host.says("passwordauthentication yes\n")
    assert "prevails: passwordauthentication is yes, not no" in tried(capsys)["msg"]
    assert not host.path(layout.SSHD).exists()


def test_a_server_that_is_broken_already_is_left_alone(host: Host, capsys) -> None:
    host.program("sshd", "echo broken >&2; exit 255")
    assert "mend that first. Nothing was changed" in tried(capsys)["msg"]
    assert not any(line.startswith("systemd-run") for line in host.asked)


def test_a_login_that_comes_after_the_timer_is_too_late(host: Host, capsys) -> None:
    tried(capsys)
    (host.root / "timer").write_text("dead\n")
    host.path(layout.SSHD).unlink()  # by the timer
    assert "the new login came too late" in run(spark_host_logins, capsys, state="confirmed")["msg"]
    assert ledger.Originals().record(str(host.path(layout.SSHD))) is None


def test_a_drop_in_of_the_same_content_is_tried_without_a_change(host: Host, capsys) -> None:
    tried(capsys)
    run(spark_host_logins, capsys, state="confirmed")
    assert tried(capsys)["changed"] is False


def test_an_own_drop_in_that_comes_back_is_no_change_by_others(host: Host, capsys) -> None:
    """Of a second trial that failed: undo is not to be refused then."""
    drop_in = host.path(layout.SSHD)
    tried(capsys)
    run(spark_host_logins, capsys, state="confirmed")
    asked = {"state": "tried", "content": f"{CONTENT}PermitRootLogin no\n"}
    host.says("passwordauthentication yes\n")
    assert "prevails" in run(spark_host_logins, capsys, **asked, settings=SETTINGS)["msg"]
    assert drop_in.read_text() == CONTENT
    assert ledger.Originals().problem(str(drop_in)) is None
    host.says("passwordauthentication no\n")
    run(spark_host_logins, capsys, **asked, settings=SETTINGS)
    drop_in.write_text(CONTENT)  # by the timer
    assert ledger.Originals().problem(str(drop_in)) is None
    run(spark_host_logins, capsys, **asked, settings=SETTINGS)
    run(spark_host_logins, capsys, state="confirmed")
    assert run(spark_host_logins, capsys, state="restored")["changed"]
    assert not drop_in.exists()


def test_a_confirmed_drop_in_that_others_change_is_not_restored(host: Host, capsys) -> None:
    tried(capsys)
    run(spark_host_logins, capsys, state="confirmed")
    host.path(layout.SSHD).write_text("theirs\n")
    assert "was changed by another program or person" in run(spark_host_logins, capsys, state="restored")["msg"]


# ---- name


@pytest.fixture
def named(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    hostname, hosts = host.path("/etc/hostname"), host.path("/etc/hosts")
    hostname.write_text("old\n")
    hosts.write_text("127.0.0.1 localhost\n127.0.1.1 old")
    monkeypatch.setattr(spark_host_name, "HOSTNAME", str(hostname))
    monkeypatch.setattr(spark_host_name, "HOSTS", str(hosts))
    monkeypatch.setattr(spark_host_name, "NOTE", str(host.root / "notes" / "name.json"))
    host.program("hostnamectl", f'echo "$2" > {hostname}')
    real = spark_host_name.os.uname()

    def uname() -> Any:
        return type(real)((real.sysname, hostname.read_text().strip(), *real[2:]))

    monkeypatch.setattr(spark_host_name.os, "uname", uname)
    return host


def test_the_name_is_set_and_restored_byte_for_byte(named: Host, capsys) -> None:
    wanted = {"name": "spark1", "names": {"spark2": "192.168.1.22"}}
    assert run(spark_host_name, capsys, check_mode=True, **wanted)["changed"]
    assert run(spark_host_name, capsys, **wanted)["name"] == "spark1"
    assert "127.0.1.1 spark1\n" in named.path("/etc/hosts").read_text()
    assert run(spark_host_name, capsys, **wanted)["changed"] is False
    run(spark_host_name, capsys, name="spark3", names={})
    assert run(spark_host_name, capsys, check_mode=True, state="restored")["name"] == "old"
    assert run(spark_host_name, capsys, state="restored")["name"] == "old"
    assert named.path("/etc/hosts").read_text() == "127.0.0.1 localhost\n127.0.1.1 old"
    assert named.path("/etc/hostname").read_text() == "old\n"
    assert run(spark_host_name, capsys, state="restored")["changed"] is False
    assert not (named.root / "originals").exists()
    assert not (named.root / "notes").exists()


def test_names_of_others_in_the_hosts_file_stay(named: Host, capsys) -> None:
    hosts = named.path("/etc/hosts")
    run(spark_host_name, capsys, name="spark1", names={"spark2": "192.168.1.22"})
    hosts.write_text(hosts.read_text() + "192.168.100.10 spark1-fabric\n")
    run(spark_host_name, capsys, state="restored")
    assert hosts.read_text() == "127.0.0.1 localhost\n127.0.1.1 old\n192.168.100.10 spark1-fabric\n"


def test_a_name_that_the_owner_has_given_since_stays(named: Host, capsys) -> None:
    hostname = named.path("/etc/hostname")
    run(spark_host_name, capsys, name="spark1", names={})
    hostname.write_text("theirs\n")
    assert run(spark_host_name, capsys, state="restored")["name"] == "theirs"
    assert hostname.read_text() == "theirs\n"
    assert not (named.root / "originals").exists()


# ---- reading


def test_this_machine_can_be_read(capsys) -> None:
    """Whatever it is, and without anything being asked for."""
    found = run(spark_host_settings_info, capsys, wanted={}, docker_socket="/nowhere")
    assert found["wanted"]["sshd_root"] == "key"
    assert found["hostname"]
    assert found["memory_bytes"] > 0
    assert found["changed"] is False
