#!/usr/bin/python
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: spark_host_logins
short_description: Restrict logins by ssh to keys on trial, until a new login has come about
version_added: 0.1.0
description:
  - >-
    V(tried) starts a timer that takes the change back, writes a drop-in for the ssh server, has the server check its
    whole configuration, requires that it goes by the drop-in, and reloads it. Connections that are open stay so.
  - >-
    V(confirmed) stops the timer. Run it over a connection that is made after V(tried). If none can be made, the timer
    restores what was there before.
  - V(restored) restores what was there before the first change, byte for byte, and reloads the server.
extends_documentation_fragment:
  - sparkops.dgx_spark.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  content:
    description: What the drop-in says. Required if O(state=tried).
    type: str
  settings:
    description: What the server is to go by then, by the names that C(sshd -T) prints.
    type: dict
    default: {}
  seconds:
    description: After how many seconds without V(confirmed) the change is taken back.
    type: int
    default: 60
  force:
    description: Whether V(restored) loses what others have written into the drop-in since.
    type: bool
    default: false
  state:
    description: What is to be done.
    type: str
    choices: [tried, confirmed, restored]
    required: true
author:
  - sparkops contributors (@sparkops)
"""

EXAMPLES = r"""
- name: Restrict logins to keys
  sparkops.dgx_spark.spark_host_logins:
    state: tried
    content: |
      PasswordAuthentication no
    settings: {passwordauthentication: "no"}
  become: true

- name: Close the connection from before the change
  ansible.builtin.meta: reset_connection

- name: Keep the change
  sparkops.dgx_spark.spark_host_logins:
    state: confirmed
  become: true
"""

RETURN = r"""
path:
  description: The drop-in.
  returned: success
  type: str
  sample: /etc/ssh/sshd_config.d/00-dgx-spark.conf
"""

import shutil
from pathlib import Path
from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor.system import login_user
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import diff
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import (
    FileError,
    make_directories,
    write_atomically,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ledger import Originals, digest_of, read_file
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.os_errors import told
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host import sshd
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._spark_host.layout import SSHD

MODE = 0o644


class Server:
    """The ssh server of this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.originals = Originals()
        self.previous = Path(sshd.PREVIOUS)

    def run(self, name: str, *words: str) -> tuple[int, str]:
        """Run a program; returns its status and what it said."""
        tool = self.module.get_bin_path(name, required=True, opt_dirs=["/usr/sbin", "/sbin"])
        code, out, err = self.module.run_command([tool, *words])
        return code, (out if code == 0 else err or out).strip()

    def must(self, name: str, *words: str) -> str:
        """Run a program that must not fail. :raises FileError: with what it said."""
        code, said = self.run(name, *words)
        if code:
            raise FileError(f"{' '.join((name, *words))}: {said[-300:]}")
        return said

    def problem(self, wanted: dict[str, str]) -> str:
        """Why the server would not work as wanted with its files as they are, empty where it would."""
        code, said = self.run("sshd", "-t")
        if code:
            return f"sshd refuses it: {said[-300:]}"
        code, said = self.run("sshd", "-T", "-C", f"user={login_user()},host=localhost,addr=127.0.0.1")
        if code:
            return f"sshd does not tell what it would go by: {said[-300:]}"
        unlike = sshd.differing(sshd.effective(said), wanted)
        return f"another file of the server prevails: {', '.join(unlike)}" if unlike else ""

    def reload(self) -> None:
        """Have the server read its files. Where a socket starts it, it may not run, and reads the files later."""
        self.must("systemctl", "try-reload-or-restart", "ssh.service")

    def keep_previous(self) -> bytes | None:
        """Keep what the drop-in says now for the timer, and return it."""
        before = read_file(Path(SSHD))
        make_directories(self.previous.parent, 0o700)
        if before is None:
            self.previous.unlink(missing_ok=True)
        else:
            write_atomically(self.previous, before, MODE)
        return before

    def put_back(self, before: bytes | None) -> None:
        """Have the drop-in say what it said."""
        if before is None:
            Path(SSHD).unlink(missing_ok=True)
        else:
            write_atomically(Path(SSHD), before, MODE)

    def timer_waits(self) -> bool:
        """Whether the timer is yet to fire."""
        state = self.run("systemctl", "show", "--property=SubState", "--value", f"{sshd.ROLLBACK}.timer")[1]
        return state == "waiting"

    def stop_timer(self) -> None:
        """Stop the timer, and forget what it would have restored."""
        self.run("systemctl", "stop", f"{sshd.ROLLBACK}.timer")
        if self.previous.parent.is_dir():
            shutil.rmtree(self.previous.parent)

    def forget(self) -> None:
        """Forget the original where the file is what it was."""
        if self.originals.is_restored(SSHD):
            self.originals.restore(SSHD)


def tried(server: Server) -> bool:
    """Write the drop-in on trial. Returns whether that changes anything."""
    given = server.module.params
    content, wanted = given["content"].encode(), given["settings"]
    before = read_file(Path(SSHD))
    if server.module.check_mode:
        return bool(before != content)
    code, said = server.run("sshd", "-t")
    if code:
        raise FileError(
            f"sshd refuses its configuration as it is ({said[-300:]}): mend that first. Nothing was changed"
        )
    server.run("systemctl", "stop", f"{sshd.ROLLBACK}.timer")
    server.keep_previous()
    server.must(
        "systemd-run",
        f"--on-active={given['seconds']}",
        "--timer-property=AccuracySec=1s",
        f"--unit={sshd.ROLLBACK}",
        "--property=Type=oneshot",
        "--collect",
        "--description=Restore the logins by ssh before they were restricted",
        "/bin/sh",
        "-c",
        sshd.rollback_script(SSHD),
    )
    try:
        server.originals.keep(SSHD)
        write_atomically(Path(SSHD), content, MODE)  # noted once it is confirmed, since the timer notes nothing
        problem = server.problem(wanted)
    except BaseException:
        server.put_back(before)
        server.stop_timer()
        raise
    if problem:
        server.put_back(before)
        server.stop_timer()
        server.forget()
        raise FileError(f"{problem}. {SSHD} is what it was before, and the server was not reloaded")
    server.reload()
    return bool(before != content)


def confirmed(server: Server) -> bool:
    """Keep what was tried."""
    if server.module.check_mode:
        return False
    in_time = server.timer_waits()
    last = digest_of(read_file(server.previous))
    server.stop_timer()
    if not in_time or read_file(Path(SSHD)) is None:
        server.forget()
        raise FileError(
            "the new login came too late: logins are again what they were before. Give "
            "spark_host_sshd_rollback_seconds more seconds"
        )
    server.originals.note_written(SSHD, last)
    return False


def restored(server: Server) -> bool:
    """Restore what was there before the first change."""
    originals = server.originals
    if originals.record(SSHD) is None:
        return False
    problem = originals.problem(SSHD)
    if problem and not server.module.params["force"]:
        raise FileError(f"{problem} (spark_host_undo_force). Nothing was changed")
    changes = not originals.is_restored(SSHD)
    if not server.module.check_mode:
        server.stop_timer()
        originals.restore(SSHD)
        if changes:
            server.must("sshd", "-t")
            server.reload()
    return changes


def fail(module: AnsibleModule, error: Exception) -> NoReturn:
    """Fail with an error's message."""
    module.fail_json(msg=f"{told(error)}.")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "content": {"type": "str"},
            "settings": {"type": "dict", "default": {}},
            "seconds": {"type": "int", "default": 60},
            "force": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["tried", "confirmed", "restored"], "required": True},
        },
        required_if=[("state", "tried", ["content"])],
        supports_check_mode=True,
    )
    server = Server(module)
    try:
        before = (read_file(Path(SSHD)) or b"").decode(errors="replace")
        later = module.params["content"] or ""
        if module.params["state"] == "restored":
            later = (server.originals.original_content(SSHD) or b"").decode(errors="replace")
        changed = {"tried": tried, "confirmed": confirmed, "restored": restored}[module.params["state"]](server)
    except (FileError, OSError) as error:
        fail(module, error)
    module.exit_json(changed=changed, path=SSHD, diff=[diff(before, later, SSHD)] if changed else [])


if __name__ == "__main__":
    main()
