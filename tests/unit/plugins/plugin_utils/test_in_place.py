# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of several hosts in one row of a terminal, without a word of Ansible's being written over; else as lines."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
import yaml
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.in_place import WIPE, InPlace, row
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[4]


class Screen:
    """What Ansible's display was given."""

    columns = 79

    def __init__(self) -> None:
        self.given: list[tuple[str, dict[str, Any]]] = []

    def display(self, text: str, **how: Any) -> None:
        self.given.append((text, how))


IN_PLACE = {"screen_only": True, "newline": False}


def test_without_a_terminal_each_word_is_a_line_once(tmp_path: Path) -> None:
    screen = Screen()
    one = InPlace(screen, "spark1", terminal=False, folder=str(tmp_path))
    for text, moment in (("loads", " (0 s)"), ("loads", " (2 s)"), ("serves", " (4 s)")):
        one.say(text, moment)
    one.end()
    assert screen.given == [("spark1: loads (0 s)", {}), ("spark1: serves (4 s)", {})]


def test_in_a_terminal_all_hosts_share_a_row_that_goes_before_a_result(tmp_path: Path) -> None:
    screen = Screen()
    first, second = (InPlace(screen, name, terminal=True, folder=str(tmp_path)) for name in ("spark1", "spark2"))
    first.say("loads", " (0 s)")
    second.say("waits")
    first.say("loads", " (2 s)")
    first.end()
    second.say("waits still")
    second.end()
    assert screen.given == [
        (f"{WIPE}spark1: loads (0 s)\r", IN_PLACE),
        (f"{WIPE}spark1: loads (0 s) | spark2: waits\r", IN_PLACE),
        (f"{WIPE}spark1: loads (2 s) | spark2: waits\r", IN_PLACE),
        (WIPE, IN_PLACE),
        (f"{WIPE}spark2: waits still\r", IN_PLACE),
        (WIPE, IN_PLACE),
    ]
    assert list((tmp_path / "in-place").iterdir()) == []


@pytest.mark.parametrize("folder", ["none/there", "file"])
def test_where_nothing_can_be_noted_nothing_fails(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    screen = Screen()
    one = InPlace(screen, "spark1", terminal=True, folder=str(tmp_path / folder))
    one.say("loads")
    one.end()
    assert [text for text, _how in screen.given] == [f"{WIPE}\r", WIPE]


@given(st.dictionaries(st.sampled_from(["spark1", "spark2", "s3", "s4"]), st.text(), min_size=1), st.integers(40, 300))
def test_a_row_is_one_and_fits(texts: dict[str, str], columns: int) -> None:
    shown = row(texts, columns)
    assert shown.startswith(WIPE)
    assert shown.endswith("\r")
    inner = shown[len(WIPE) : -1]
    assert len(inner) <= columns
    assert not set("\r\n") & set(inner)


PROGRESS = {"what": "lab/tiny copied", "bytes": 4e9, "bytes_there": 3e9, "bytes_moved": 3e9, "began": 0}


#: ends when a file is there, and on one host with an error
STEP = """
import pathlib, sys, time
while not pathlib.Path("go").exists():
    time.sleep(0.2)
print("it broke")
sys.exit("spark2" in sys.argv)
"""


def play(folder: Path) -> None:
    """Write a play in which two hosts follow a step each."""
    (folder / "progress").write_text(json.dumps(PROGRESS))
    argv = [sys.executable, "-c", STEP, "{{ inventory_hostname }}"]
    start = {"ansible.builtin.command": {"argv": argv, "chdir": str(folder)}, "async": 600, "poll": 0}
    follow = {"started": "{{ started }}", "progress": [str(folder / "progress")], "interval": 1}
    tasks = [
        {"name": "Start", "register": "started", **start},
        {"name": "Follow", "sparkops.dgx_spark.async_follow": follow},
    ]
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    here["ansible_async_dir"] = str(folder / "async")  # HOME may be another place than the user's home directory
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"spark1": here, "spark2": here}}}))
    (folder / "ansible.cfg").touch()
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))


# The newest core comes without its scripts into a virtual Spark's image, where the end of either takes 90 s.
@pytest.mark.skipif(not shutil.which("ansible-playbook"), reason="Ansible is not installed with its scripts")
@pytest.mark.parametrize("terminal", [True, False])
def test_a_step_in_a_real_terminal_and_in_a_pipe(tmp_path: Path, terminal: bool) -> None:
    """The step of one host fails, and its words stand on a line of their own."""
    play(tmp_path)
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "TERM": "xterm",
    }
    words = ["ansible-playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml")]
    command = words if terminal else ["sh", "-c", f"{' '.join(words)} | cat"]
    options = {"env": environment, "dimensions": (40, 200), "timeout": 300, "encoding": "utf-8", "cwd": str(tmp_path)}
    child = pexpect.spawn(command[0], command[1:], **options)
    progress = r"lab/tiny copied, 3[.]00 of 4[.]00 GB[^\r\n|]*"
    between = r" \| " if terminal else r"\r\n"
    child.expect(f"spark1: {progress}{between}spark2: {progress}")
    said = f"{child.before}{child.after}"
    (tmp_path / "go").touch()
    child.expect(pexpect.EOF)
    said += str(child.before)
    assert (WIPE in said) is terminal
    lines = [line.rpartition(WIPE)[2].strip("\r") for line in said.split("\n")]
    assert "changed: [spark1]" in lines
    assert [line for line in lines if line.startswith("fatal: [spark2]: FAILED!")], said
