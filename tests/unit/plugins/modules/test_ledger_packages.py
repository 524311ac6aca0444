# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ledger_packages against a SIMULATED apt that knows what needs what."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import ledger_packages

NEEDS = {"iperf3": ["libiperf0"], "libiperf0": [], "jq": [], "own-tool": ["libiperf0"], "chrony": [], "timesyncd": []}
PROGRAM = """#!{python}
import json, pathlib, sys
state, needs, lists = pathlib.Path({state!r}), {needs!r}, pathlib.Path({lists!r})
if sys.argv[-1] == "update":
    broken = lists.with_name("broken")
    if broken.exists():
        message = broken.read_text()
        if "lock" in message:
            broken.unlink()  # the other apt ends
        sys.exit(message)
    (lists / "deb.example_Packages").write_text("")
    lists.with_name("updates").open("a").write("u")
    sys.exit()
there = json.loads(state.read_text())
words = [word for word in sys.argv[1:] if not word.startswith("-") and "Lock::Timeout" not in word]
if sys.argv[0].endswith("dpkg-query"):
    named = sys.argv[sys.argv.index("-f") + 2:]
    for one in named:
        print(f"{{one}}\\tii \\t1" if one in there else f"{{one}}\\trc \\t1")
    sys.exit(any(one not in there for one in named))
verb, named = words[0], [word.split("=")[0] for word in words[1:] if not word.endswith("+")]
back = [word[:-1] for word in words if word.endswith("+")]
if verb == "install":
    for one in [*named, *(other for one in named for other in needs[one])]:
        print(f"Inst {{one}} (1 Debian:13 [arm64])" if one not in there else f"Inst {{one}} [0] (1 Debian:13 [arm64])")
    if "chrony" in named and "timesyncd" in there:
        print("Remv timesyncd [1]")
    if "--simulate" not in sys.argv:
        state.write_text(json.dumps([*(one for one in there if one != "timesyncd"), *named]))
else:
    going = set(named) | {{one for one in there if set(needs[one]) & set(named)}}
    for one in sorted(going):
        print(f"Purg {{one}} [1]")
    if "--simulate" not in sys.argv:
        state.write_text(json.dumps([one for one in [*there, *back] if one not in going]))
"""


class Host:
    """Its packages, in a file that the simulated programs read and write."""

    def __init__(self, directory: Path) -> None:
        self.state, self.record = directory / "state.json", directory / "notes" / "packages.json"
        self.lists, self.broken = directory / "lists", directory / "broken"
        self.lists.mkdir()
        for name in ("apt-get", "dpkg-query"):
            (directory / name).write_text(
                PROGRAM.format(python=sys.executable, state=str(self.state), needs=NEEDS, lists=str(self.lists))
            )
            (directory / name).chmod(0o755)

    @property
    def packages(self) -> list[str]:
        return json.loads(self.state.read_text())

    @property
    def updates(self) -> int:
        """How often the package lists were updated."""
        log = self.lists.with_name("updates")
        return len(log.read_text()) if log.exists() else 0

    @packages.setter
    def packages(self, names: list[str]) -> None:
        self.state.write_text(json.dumps(names))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    made.packages = ["jq"]
    monkeypatch.setattr(ledger_packages, "RECORD", str(made.record))
    monkeypatch.setattr(ledger_packages, "LISTS", str(made.lists))
    monkeypatch.setattr(ledger_packages, "UPDATED", str(tmp_path / "stamp"))
    monkeypatch.setattr(ledger_packages.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(ledger_packages, "REPLACED", str(made.record.with_name("packages_replaced.json")))
    monkeypatch.setattr(
        ledger_packages.AnsibleModule, "get_bin_path", lambda _self, name, **_more: str(tmp_path / name)
    )
    return made


def run(capsys: pytest.CaptureFixture, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    arguments = {"role": "cx7_network", **arguments, "_ansible_check_mode": check_mode}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        ledger_packages.main()
    return json.loads(capsys.readouterr().out)


def test_new_packages_are_recorded_with_what_comes_with_them(capsys, host: Host) -> None:
    wish = {"packages": ["iperf3=1", "jq"]}
    assert run(capsys, check_mode=True, **wish)["changed"]
    assert not host.record.exists()
    assert run(capsys, **wish)["packages"] == ["iperf3", "libiperf0"]  # and not jq, which was there
    assert host.record.stat().st_mode & 0o777 == 0o600
    assert run(capsys, **wish)["changed"] is False
    host.packages = ["jq", "iperf3", "libiperf0"]
    assert run(capsys, **wish)["packages"] == ["iperf3", "libiperf0"]  # the installation does not make them foreign


def test_exactly_the_recorded_packages_go(capsys, host: Host) -> None:
    run(capsys, packages=["iperf3"])
    run(capsys, role="hf_cache", packages=[])
    host.packages = ["jq", "iperf3", "libiperf0"]
    foretold = run(capsys, state="removed", check_mode=True)
    assert host.packages == ["jq", "iperf3", "libiperf0"]
    assert host.record.exists()
    done = run(capsys, state="removed")
    assert foretold["packages"] == done["packages"] == ["iperf3", "libiperf0"]
    assert host.packages == ["jq"]
    assert not host.record.parent.exists()  # nor a directory without a note
    assert run(capsys, state="removed")["changed"] is False


def test_roles_have_records_of_their_own(capsys, host: Host) -> None:
    run(capsys, packages=["iperf3"])
    host.packages = ["iperf3", "libiperf0"]
    run(capsys, role="hf_cache", packages=["jq"])
    host.packages = ["jq", "iperf3", "libiperf0"]
    assert run(capsys, role="hf_cache", state="removed")["packages"] == ["jq"]
    assert host.packages == ["iperf3", "libiperf0"]
    assert list(json.loads(host.record.read_text())) == ["cx7_network"]


def test_what_the_owner_needs_by_now_stays(capsys, host: Host, monkeypatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(ledger_packages.AnsibleModule, "warn", lambda _self, text: warned.append(text))
    run(capsys, packages=["iperf3"])
    host.packages = ["jq", "iperf3", "libiperf0", "own-tool"]
    done = run(capsys, state="removed")
    assert (done["packages"], done["kept"]) == (["iperf3"], {"libiperf0": ["own-tool"]})
    assert host.packages == ["jq", "libiperf0", "own-tool"]
    assert "libiperf0, which the role cx7_network installed, stays, as own-tool needs it" in warned[0]


def test_an_installation_that_failed_leaves_nothing_to_remove(capsys, host: Host) -> None:
    run(capsys, packages=["iperf3"])
    assert run(capsys, state="removed")["changed"] is False
    assert not host.record.exists()


def test_package_lists_are_updated_where_there_are_none_or_old_ones(capsys, host: Host) -> None:
    wish = {"packages": ["iperf3"], "cache_valid_time": 3600}
    run(capsys, check_mode=True, **wish)
    assert host.updates == 0
    run(capsys, **wish)  # the directory is new and empty
    assert host.updates == 1
    run(capsys, **wish)
    assert host.updates == 1
    os.utime(host.lists, (1, 1))
    run(capsys, packages=["iperf3"])  # not asked for
    assert host.updates == 1
    run(capsys, **wish)
    assert host.updates == 2
    os.utime(host.lists, (1, 1))
    host.lists.with_name("stamp").touch()  # no list was new at an update since
    run(capsys, **wish)
    assert host.updates == 2


def test_an_update_waits_for_another(capsys, host: Host) -> None:
    host.broken.write_text(f"E: Could not get lock {host.lists}/lock. It is held by process 1 (apt-get)")
    assert run(capsys, packages=["iperf3"], cache_valid_time=3600)["packages"] == ["iperf3", "libiperf0"]
    assert host.updates == 1


def test_an_update_that_fails_ends_the_play_before_anything_is_recorded(capsys, host: Host) -> None:
    host.broken.write_text("E: Failed to fetch http://deb.example/InRelease")
    told = run(capsys, packages=["iperf3"], cache_valid_time=3600)["msg"]
    assert told == "the package lists cannot be updated: E: Failed to fetch http://deb.example/InRelease"
    assert not host.record.exists()


def test_what_an_installation_replaces_comes_back_with_the_removal(capsys, host: Host) -> None:
    host.packages = ["jq", "timesyncd"]
    recorded = run(capsys, packages=["chrony"])
    assert (recorded["packages"], recorded["replaced"]) == (["chrony"], ["timesyncd"])
    host.packages = ["jq", "chrony"]
    assert run(capsys, packages=["chrony"])["replaced"] == ["timesyncd"]
    assert run(capsys, check_mode=True, state="removed")["replaced"] == ["timesyncd"]
    gone = run(capsys, state="removed")
    assert (gone["packages"], gone["replaced"], host.packages) == (["chrony"], ["timesyncd"], ["jq", "timesyncd"])
    assert not host.record.with_name("packages_replaced.json").exists()


def test_what_was_replaced_stays_away_where_the_owner_has_removed_the_replacement(capsys, host: Host) -> None:
    host.packages = ["timesyncd"]
    run(capsys, packages=["chrony"])
    host.packages = ["jq"]
    gone = run(capsys, state="removed")
    assert (gone["changed"], gone["replaced"], host.packages) == (False, [], ["jq"])
