# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person at a terminal, who runs playbooks/setup.yml and answers what it asks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any, Mapping, Sequence

import pexpect

ROOT = Path(__file__).parents[3]
PLAYBOOK = str(ROOT / "playbooks" / "setup.yml")
#: how Ansible begins to clear a line
TAKEN = "\x1b\\[\r"
#: what a controller has on PATH; ansible is also what gives ssh a password
PROGRAMS = {
    "ansible": "from ansible.cli.adhoc import main",
    "ansible-playbook": "from ansible.cli.playbook import main",
}


def install(folder: Path, programs: Mapping[str, str]) -> None:
    """Make Python programs of a directory."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in programs.items():
        (folder / name).write_text(f"#!{sys.executable}\n{text}\n")
        (folder / name).chmod(0o755)


def environment(folder: Path, home: Path, **more: str) -> dict[str, str]:
    """What programs run with, that find those of a directory first, and know no agent and no other home."""
    install(folder, {name: f"import sys\nsys.argv[0] = {name!r}\n{text}\nmain()" for name, text in PROGRAMS.items()})
    ours = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "HOME": str(home),
        "ANSIBLE_HOME": str(home / ".ansible"),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
        "ANSIBLE_NOCOLOR": "1",
        "TERM": "dumb",
        **more,
    }
    return {**{name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}, **ours}


class Dialogue:
    """One run of the playbook in a terminal."""

    def __init__(self, env: dict[str, str], cwd: Path, *options: str, timeout: float = 120) -> None:
        self.process = pexpect.spawn(
            "ansible-playbook",
            [PLAYBOOK, *options],
            env=env,
            cwd=str(cwd),
            encoding="utf-8",
            timeout=timeout,
            dimensions=(50, 200),
        )
        self._heard = ""

    def asked(self, question: str) -> str:
        """Wait for a question. Return what was said before."""
        self.process.expect(question)
        self._heard += str(self.process.before) + str(self.process.after)
        return str(self.process.before)

    def answer(self, question: str, text: str, end: str = "\r") -> str:
        """Wait for a question, and answer. Return what was said before."""
        before = self.asked(question)
        for _turn in range(6):
            self._wait_for_raw_mode()
            self.process.send(text + end)
            # Ansible throws away what was typed before it reads, and clears the line of an answer that it has taken.
            if self.process.expect([TAKEN, pexpect.TIMEOUT], timeout=10) == 0:
                break
        self._heard += str(self.process.before)
        return before

    def _wait_for_raw_mode(self) -> None:
        """Wait for the terminal to be one that is read by the key, as it is from a question to its answer."""
        for _turn in range(200):
            if not termios.tcgetattr(self.process.child_fd)[3] & termios.ICANON:
                return
            time.sleep(0.05)

    def ended(self) -> tuple[int, str]:
        """Wait for the end. Return the exit status, and all that was said, without colours and folded lines."""
        self.process.expect(pexpect.EOF)
        self._heard += str(self.process.before)
        self.process.close()
        return int(self.process.exitstatus or 0), plain(self._heard)


def plain(text: str) -> str:
    """What was said, without colours and without the places where lines were folded."""
    return " ".join(re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", text).split()).replace("''", "'")


def scripted(env: dict[str, str], cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the playbook where there is no terminal."""
    command: Sequence[Any] = ["ansible-playbook", PLAYBOOK, *options]
    return subprocess.run(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300
    )
