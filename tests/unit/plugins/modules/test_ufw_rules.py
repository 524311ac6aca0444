# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, with a ufw that keeps its rules in a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import ufw_rules

UFW = """#!{python}
import sys
from pathlib import Path

kept, words = Path(__file__).with_name("rules"), sys.argv[1:]
rules = kept.read_text().splitlines()
front, delete = words[0] == "prepend", words[0] == "delete"
bare = "ufw " + " ".join(words[front or delete : words.index("comment") if "comment" in words else len(words)])
line = bare + " comment '%s'" % words[-1] if "comment" in words else bare
same = [rule for rule in rules if rule.partition(" comment ")[0] == bare]
if words == ["show", "added"]:
    print("\\n".join(["Added user rules:", *rules]))
elif delete:
    rules.remove(line)
elif same and front:
    print("Skipping inserting existing rule")
elif same:
    rules[rules.index(same[0])] = line
else:
    rules.insert(0 if front else len(rules), line)
kept.write_text("\\n".join(rules))
"""
WISH = {"comment": "us", "rules": [{"from_ip": ["10.0.0.2"], "to_port": [2377, 7946], "proto": "tcp"}]}
RULES = [f"allow from 10.0.0.2 to any port {port} proto tcp" for port in (2377, 7946)]
SSH = "ufw allow 22/tcp"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The rules of a ufw that is enabled."""
    tool, conf, rules = tmp_path / "ufw", tmp_path / "ufw.conf", tmp_path / "rules"
    tool.write_text(UFW.replace("{python}", sys.executable))
    tool.chmod(0o755)
    conf.write_text("ENABLED=yes\n")
    rules.write_text(SSH)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ufw_rules, "CONF", str(conf))
    monkeypatch.setattr(ufw_rules, "NOTE", str(tmp_path / "notes" / "ufw.json"))
    return rules


def run(capsys: pytest.CaptureFixture, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    arguments.update({"_ansible_check_mode": check_mode, "_ansible_diff": True})
    with patch_module_args(arguments), pytest.raises(SystemExit):
        ufw_rules.main()
    return json.loads(capsys.readouterr().out)


def test_adds_foretells_and_is_content(kept: Path, capsys: pytest.CaptureFixture) -> None:
    foretold = run(capsys, check_mode=True, **WISH)
    assert (foretold["changed"], foretold["added"], kept.read_text()) == (True, RULES, SSH)
    done = run(capsys, **WISH)
    assert (done["changed"], done["rules"], done["diff"]) == (True, RULES, foretold["diff"])
    assert kept.read_text().splitlines() == [SSH, *(f"ufw {rule} comment 'us'" for rule in RULES)]
    for check_mode in (True, False):
        again = run(capsys, check_mode=check_mode, **WISH)
        assert (again["changed"], again["added"], again["removed"], again["rules"]) == (False, [], [], RULES)


def test_in_front_of_all_others(kept: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(capsys, first=True, **WISH)["rules"] == RULES
    assert kept.read_text().splitlines() == [*(f"ufw {rule} comment 'us'" for rule in RULES), SSH]
    assert not run(capsys, first=True, **WISH)["changed"]


@pytest.mark.parametrize("first", [False, True])
def test_a_rule_that_lost_its_comment_gets_it_back(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture, first: bool
) -> None:
    """ufw 0.36.2 takes the comment away where somebody types the rule again without it."""
    run(capsys, first=first, **WISH)
    whole, note = kept.read_text(), tmp_path / "notes" / "ufw.json"
    kept.write_text(whole.replace(f"{RULES[1]} comment 'us'", RULES[1]))
    for check_mode in (True, False):
        again = run(capsys, check_mode=check_mode, first=first, **WISH)
        assert (again["changed"], again["added"], again["removed"]) == (True, [], [])
        assert "".join(again["diff"]["before"]) != "".join(again["diff"]["after"])
    assert kept.read_text() == whole
    assert not run(capsys, first=first, **WISH)["changed"]
    kept.write_text(whole.replace(" comment 'us'", ""))
    note.write_text(note.read_text())
    assert run(capsys, comment="us", rules=[], firewall="ufw")["removed"] == RULES, "undo finds them by the note"
    assert kept.read_text() == SSH
    assert not note.parent.exists()


@pytest.mark.parametrize("uninstalled", [False, True])
def test_no_note_is_left_of_rules_that_somebody_else_took_away(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture, uninstalled: bool
) -> None:
    run(capsys, **WISH)
    note = tmp_path / "notes" / "ufw.json"
    kept.write_text(SSH)
    if uninstalled:
        (tmp_path / "ufw").unlink()
        (tmp_path / "ufw.conf").unlink()
    for check_mode, left in ((True, True), (False, False)):
        assert not run(capsys, check_mode=check_mode, comment="us", rules=[], firewall="ufw")["changed"]
        assert note.exists() is left


def test_a_rule_that_somebody_else_had_before_is_not_ours(kept: Path, capsys: pytest.CaptureFixture) -> None:
    theirs = f"ufw {RULES[0]}"
    kept.write_text(theirs)
    assert run(capsys, **WISH)["added"] == RULES[1:]
    assert run(capsys, comment="us", rules=[], firewall="ufw")["removed"] == RULES[1:]
    assert kept.read_text() == theirs


def test_a_note_that_cannot_be_read_is_none(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(capsys, **WISH)
    (tmp_path / "notes" / "ufw.json").write_text("{")
    assert not run(capsys, **WISH)["changed"]
    assert run(capsys, comment="us", rules=[], firewall="ufw")["changed"]
    assert not (tmp_path / "notes").exists()


def test_takes_away_what_is_not_wanted_any_more(kept: Path, capsys: pytest.CaptureFixture) -> None:
    run(capsys, **WISH)
    less = [{"from_ip": ["10.0.0.2"], "to_port": [2377], "proto": "tcp"}]
    assert run(capsys, comment="us", rules=less, state="absent")["rules"] == RULES[1:]
    assert run(capsys, comment="us", rules=less)["removed"] == RULES[1:]
    assert run(capsys, comment="us", rules=[], firewall="ufw")["changed"]
    assert kept.read_text() == SSH


@pytest.mark.parametrize(("firewall", "conf"), [("none", "ENABLED=yes"), ("auto", "ENABLED=no"), ("auto", None)])
def test_leaves_a_firewall_alone(
    kept: Path, capsys: pytest.CaptureFixture, tmp_path: Path, firewall: str, conf: str | None
) -> None:
    (tmp_path / "ufw.conf").write_text(conf) if conf else (tmp_path / "ufw.conf").unlink()
    assert not run(capsys, firewall=firewall, **WISH)["changed"]
    assert kept.read_text() == SSH


def test_writes_for_a_firewall_that_is_off_if_so_asked(
    kept: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "ufw.conf").write_text("ENABLED=no\n")
    assert run(capsys, firewall="ufw", **WISH)["rules"] == RULES


def test_without_ufw_there_is_nothing_to_undo(
    capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ufw_rules.AnsibleModule, "get_bin_path", nowhere)
    assert not run(capsys, comment="us", rules=[], firewall="ufw")["changed"]
    assert not run(capsys, state="absent", firewall="ufw", **WISH)["changed"]
    assert "no ufw" in run(capsys, firewall="ufw", **WISH)["msg"]


def nowhere(module: Any, name: str, required: bool = False) -> None:
    if required:
        module.fail_json(msg=f"no {name}")


def test_refuses_before_it_changes(kept: Path, capsys: pytest.CaptureFixture) -> None:
    kept.write_text("ufw deny 2377/tcp")
    failed = run(capsys, comment="us", rules=[{"to_port": [7946]}, {"to_port": [2377], "proto": "tcp"}])
    assert "Delete that rule (ufw delete deny 2377/tcp)" in failed["msg"]
    assert kept.read_text() == "ufw deny 2377/tcp"


def test_says_so_where_ufw_did_not_do_it(
    kept: Path, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "ufw"
    tool.write_text(tool.read_text().replace("else:", "elif False:"))
    assert "did not take all of it" in run(capsys, **WISH)["msg"]
