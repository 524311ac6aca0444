# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the Sparks let a user in by an ssh key; the module of this name documents it."""

from __future__ import annotations

import getpass
import platform
import shlex
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleAuthenticationFailure, AnsibleError
from ansible.plugins.loader import connection_loader
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import answers, controller, keys
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.answers import Spark
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.keys import PublicKey
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.ssh_config import known_hosts_option
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.terminal import Terminal
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

TRIES = 3
USUAL = "~/.ssh"


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "hosts": {"type": "list", "elements": "dict", "required": True},
        "user": {"type": "str", "required": True},
        "password": {"type": "str", "default": "", "no_log": True},
        "key": {"type": "str", "default": "", "no_log": False},
        "new_key": {"type": "str", "default": ""},
        "ssh_dir": {"type": "str", "default": USUAL},
        "unknown": {"type": "list", "elements": "str", "default": []},
        "seconds": {"type": "int", "default": 10},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Do the work, and say of an error what was done before."""
        self._asked = asked
        self._done: list[str] = []
        try:
            return self._let_in(asked)
        except PlanError as error:
            so_far = f"So far {', and '.join(self._done)}" if self._done else "In this step nothing was changed"
            raise PlanError(f"{error} {so_far}. Run setup again after that: it goes on from there.") from error

    def _let_in(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Try each Spark without a password, and install a key where that does not do."""
        self._folder = controller.folder_of(asked["ssh_dir"])
        self._own = self._folder == controller.folder_of(USUAL)
        members = [one for one in (Spark(**host) for host in asked["hosts"]) if not one.here]
        key = _given(asked["key"]) if asked["key"] else self._there()
        closed = {one.name: why for one in members for why in [self._refusal(one, key)] if why}
        result: dict[str, Any] = {"changed": bool(closed), "installed": list(closed), "made": False}
        if closed and not self._task.check_mode:
            if key is None:
                key = self._make()
                result["made"] = True
            self._install([one for one in members if one.name in closed], key)
        told = key.path if key and key.path and not (key.usual and self._own) else ""
        return {**result, "key": told, "public_key": key.line if key else ""}

    # ---- keys of this machine

    def _there(self) -> PublicKey | None:
        """A key that the user has. :raises PlanError: for a private key without its public one."""
        files = {name: controller.text_of(self._folder / f"{name}.pub") or "" for name in keys.NAMES}
        agent = controller.run(["ssh-add", "-L"], 10).out.splitlines() if self._own else []
        found = keys.choose(files, str(self._folder), agent)
        alone = next((name for name in keys.NAMES if (self._folder / name).exists() and not files[name]), "")
        if found is None and alone:
            path = self._folder / alone
            raise PlanError(
                f"{path} is there without its public key: write that with: ssh-keygen -y -f {path} > {path}.pub."
            )
        return found

    def _make(self) -> PublicKey:
        path = self._folder / "id_ed25519"
        wanted = Terminal().settle(
            self._asked["new_key"],
            f"You have no ssh key. Make one, {path}, without a passphrase? yes or no",
            lambda text: answers.yes(text, False),
            "Make one by hand with ssh-keygen, or give -e setup_new_key=true, and run setup again.",
            "no",
        )
        if not wanted:
            raise PlanError("Without a key the playbooks cannot log in: make one with ssh-keygen.")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise PlanError(f"{self._folder} cannot be made ({error.strerror}).") from error
        comment = f"{getpass.getuser()}@{platform.node()}"
        made = controller.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], 60)
        line = keys.line_of(controller.text_of(path.with_suffix(".pub")) or "")
        if made.status or not line:
            raise PlanError(f"ssh-keygen could not make {path} ({made.error.strip()}).")
        self._done.append(f"{path} was made")
        return PublicKey(line, str(path), usual=True)

    # ---- on the Sparks

    def _install(self, members: list[Spark], key: PublicKey) -> None:
        left = [one for one in members if not self._added_by_identity(one, key)]
        password = ""
        for one in members:
            if one in left:
                password = self._added_by_password(one, key, password, left)
            why = self._refusal(one, key)
            if why:
                raise PlanError(
                    f"{one.name}: {key.said} is in ~/.ssh/authorized_keys of {self._asked['user']}, and does not let "
                    f"in ({why}). A key with a passphrase must be in your agent: ssh-add {key.path}. Else see "
                    f"/etc/ssh/sshd_config on {one.name}: PubkeyAuthentication, AuthorizedKeysFile."
                )

    def _added_by_identity(self, one: Spark, key: PublicKey) -> bool:
        """Whether the key could be added by a login with another key, such as that of NVIDIA Sync."""
        if not one.identity or not Path(one.identity).expanduser().is_file():
            return False
        return not self._added(one, key, f"-i {shlex.quote(one.identity)} -o IdentitiesOnly=yes -o BatchMode=yes")

    def _added_by_password(self, one: Spark, key: PublicKey, password: str, left: list[Spark]) -> str:
        """Add the key. Return the password, which may do for the next Spark; it is asked for until it does."""
        password = self._asked["password"] or password or self._password(left, key)
        methods = "-o PreferredAuthentications=password,keyboard-interactive -o PubkeyAuthentication=no"
        for turn in range(TRIES):
            why = self._added(one, key, f"{methods} -o NumberOfPasswordPrompts=1", password)
            if not why:
                break
            if self._asked["password"] or turn == TRIES - 1:
                raise PlanError(
                    f"{one.name}: {self._asked['user']} could not log in with the password ({why}). See that account "
                    f"and password are right, by: ssh {self._asked['user']}@{one.address}."
                )
            Terminal().show(f"{one.name} does not take that password.")
            password = self._password([one], key)
        return password

    def _password(self, members: list[Spark], key: PublicKey) -> str:
        terminal = Terminal()
        where = ", ".join(one.name for one in members)
        user = self._asked["user"]
        terminal.show(f"{key.said} is to be let in as {user} on {where}.")
        return terminal.ask(
            f"The password of {user} on {where}, which is used once, and kept nowhere (it is not shown):",
            f"Install the key by hand, with: ssh-copy-id -i {key.path or 'KEY'}.pub {user}@{members[0].address}; or "
            f"give setup_password in a file that only you can read (-e @FILE).",
            private=True,
        )

    def _added(self, one: Spark, key: PublicKey, options: str, password: str = "") -> str:
        """Add the public key by another login. Return why that was refused; empty where it was not."""
        try:
            status, out, error = self._run(one, keys.INSTALL, f"{key.line}\n", options, password)
        except AnsibleAuthenticationFailure as refused:
            return _short(refused)
        if status:
            raise PlanError(
                f"{one.name}: {self._asked['user']} could log in, and ~/.ssh/authorized_keys could not be written "
                f"there ({error.strip() or status})."
            )
        if "added" in out:
            self._done.append(f"{one.name} got the key")
        return ""

    def _refusal(self, one: Spark, key: PublicKey | None) -> str:
        """Why a Spark does not let the user in without a password; empty where it does.

        :raises PlanError: where ssh does not get there at all.
        """
        identity = f"-i {shlex.quote(key.path)}" if key and key.path and not (key.usual and self._own) else ""
        if self._task.check_mode and one.name in self._asked["unknown"]:
            return "its host key is not in known_hosts yet"
        try:
            status, _out, error = self._run(one, "true", "", f"{identity} -o BatchMode=yes")
        except AnsibleAuthenticationFailure as refused:
            return _short(refused)
        return "" if not status else error.strip() or f"exit status {status}"

    def _run(self, one: Spark, script: str, given: str, options: str, password: str = "") -> tuple[int, str, str]:
        """Run a script on a Spark. Return its exit status and what it printed.

        :raises AnsibleAuthenticationFailure: where the login was refused. :raises PlanError: where ssh gets nowhere.
        """
        status, out, error = self._connected(one, script, given, options, password)
        if status == 255:
            if "Permission denied" in error:
                raise AnsibleAuthenticationFailure(error)
            where = f"{one.address}, port {one.port}"
            raise PlanError(f"{one.name}: ssh does not get to {where} ({_last(error)}).{keys.waits(error)}")
        return status, out, error

    def _connected(self, one: Spark, script: str, given: str, options: str, password: str) -> tuple[int, str, str]:
        """Run a script by Ansible's own connection, which has a way to give ssh a password without an argument."""
        place = "" if self._own else f"{known_hosts_option(str(self._folder / 'known_hosts'))} "
        context = self._play_context.copy()
        context.password = ""  # of --ask-pass, which ssh would be given too
        connection = connection_loader.get("ansible.builtin.ssh", context)
        connection.set_options(
            direct={
                "host": one.address,
                "port": one.port,
                "remote_user": self._asked["user"],
                "password": password or None,
                "ssh_args": "",
                "ssh_extra_args": f"{place}-o ControlPath=none -o UpdateHostKeys=no {options}",
                "reconnection_retries": 0,
                "timeout": self._asked["seconds"],
            }
        )
        command = f"/bin/sh -c {shlex.quote(script)}"
        try:
            status, out, error = connection.exec_command(command, in_data=given.encode() or None, sudoable=False)
        except AnsibleError as lost:  # what ssh said is in its text
            return 255, "", str(lost)
        return status, out.decode("utf-8", "replace"), error.decode("utf-8", "replace")


def _given(path: str) -> PublicKey:
    """A key that a variable names, by either of its files."""
    private = Path(str(controller.folder_of(path)).removesuffix(".pub"))
    line = keys.line_of(controller.text_of(private.with_name(f"{private.name}.pub")) or "")
    if not line:
        raise PlanError(f"setup_key names {path}, and {private}.pub is no public key.")
    return PublicKey(line, str(private))


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Warning: Permanently")]
    return lines[-1] if lines else "ssh gave no reason"


def _short(error: Exception) -> str:
    return _last(str(error))
