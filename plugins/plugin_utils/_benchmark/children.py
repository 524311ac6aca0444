# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a playbook of this collection as a child of the one that runs, with the same inventory and options.

A play ends for a host that fails, and with any_errors_fatal for all; so what must go on after a failure has a play of
its own.

This plugin util is private to the collection.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any, Callable, Iterator, Mapping, NamedTuple, Sequence

PAUSE_S = 0.5
GRACE_S = 60.0  #: that a play which is interrupted has to end its own processes
#: of ansible-playbook's options, those that a child gets as they were given, and how they are spelled
PASSED = {
    "remote_user": "--user",
    "private_key_file": "--private-key",
    "connection": "--connection",
    "timeout": "--timeout",
    "ssh_common_args": "--ssh-common-args",
    "sftp_extra_args": "--sftp-extra-args",
    "scp_extra_args": "--scp-extra-args",
    "ssh_extra_args": "--ssh-extra-args",
    "become_method": "--become-method",
    "become_user": "--become-user",
    "forks": "--forks",
    "subset": "--limit",
}
SEVERAL = {
    "inventory": "--inventory",
    "extra_vars": "--extra-vars",
    "vault_ids": "--vault-id",
    "vault_password_files": "--vault-password-file",
}
_TASK = re.compile(r"^TASK \[(.+)\] \**$")
_FATAL = re.compile(r"^(?:fatal|failed): \[([^\]]+)\].*?: (?:FAILED|UNREACHABLE)! => (\{.*\})$")
_ERROR = re.compile(r"^(?:\[ERROR\]|ERROR!):? (.+)$")


class ChildError(ValueError):
    """A child cannot be run as the play was. The message names the option, the cause and the mend."""


class Secrets(NamedTuple):
    """What the play asked its user for."""

    connection: str
    become: str


def arguments(given: Mapping[str, Any]) -> list[str]:
    """The options of ``ansible-playbook`` that a child gets. :param given: as they were given to the play.

    >>> arguments({"inventory": ["a.yml"], "extra_vars": ("a=1",), "become": True, "forks": 5, "remote_user": None})
    ['--forks=5', '--inventory=a.yml', '--extra-vars=a=1', '--become']

    :raises ChildError: where a vault's password was typed, which nobody is asked for again.
    """
    vaults = [str(one) for one in given.get("vault_ids") or ()]
    if given.get("ask_vault_pass") or any(
        one.rpartition("@")[2] in ("prompt", "prompt_ask_vault_pass") for one in vaults
    ):
        raise ChildError(
            "this runs plays of its own, which cannot ask for the vault's password again: give it by a file "
            "(--vault-password-file). Nothing was measured."
        )
    made = [f"{option}={given[name]}" for name, option in PASSED.items() if given.get(name) not in (None, "")]
    made += [f"{option}={one}" for name, option in SEVERAL.items() for one in given.get(name) or ()]
    return [*made, *(["--become"] if given.get("become") else [])]


def environment(base: Mapping[str, str], root: Path, paths: Sequence[str]) -> dict[str, str]:
    """A child's environment. :param root: the directory that this collection was loaded from. :param paths: where
    collections are looked for."""
    return {
        **base,
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(dict.fromkeys([str(root), *paths])),
        # A form that can be read back, whatever the user's own is.
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "PYTHONUNBUFFERED": "1",
    }


def run(
    playbook: Path,
    options: Sequence[str],
    variables: Mapping[str, Any],
    env: Mapping[str, str],
    secrets: Secrets,
    log: Path,
    lock: int,
    say: Callable[[str], None],
) -> str:
    """Run a playbook to its end. Return why it has failed, empty where it has not.

    :param options: as :func:`arguments` returns them. :param variables: that count above those. :param log: gets all
        that it says. :param lock: the file of :func:`alone`, which it holds as well. :param say: is told its task.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with _told(variables, secrets) as words, _private(log, "wb") as stream:
        command = [sys.executable, "-m", "ansible", "playbook", *options, *words, str(playbook)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=dict(env),
            pass_fds=[lock],
            start_new_session=True,  # so that what ends it is what ends this
        )
        with _ended_with_us(process):
            parent, read = os.getppid(), _Tasks(log)
            while process.poll() is None:
                say(read.now())
                time.sleep(PAUSE_S)
                if os.getppid() != parent:  # the play was killed, and nobody is left to tell
                    raise SystemExit(1)
    if process.returncode == 0:
        return ""
    return reason(log.read_text(encoding="utf-8", errors="replace").splitlines()) or (
        f"{playbook.name} ended with {process.returncode}"
    )


@contextmanager
def alone(path: Path, say: Callable[[str], None]) -> Iterator[int]:
    """Hold a file that one call at a time has, and its children until they have ended. Waits for an earlier call."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _private(path, "ab") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                say(f"wait for an earlier call, which has {path}")
                time.sleep(PAUSE_S)
        yield stream.fileno()


def _private(path: Path, mode: str) -> IO[bytes]:
    """Open a file that nobody else reads, where it is made anew."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if mode == "wb" else os.O_APPEND)
    return os.fdopen(os.open(path, flags, 0o600), mode)


@contextmanager
def _told(variables: Mapping[str, Any], secrets: Secrets) -> Iterator[list[str]]:
    """Options by which a child reads variables and passwords. The latter come by named pipes: they are in no command
    line and in no file, and ansible-playbook finds no pipe without a name."""
    with tempfile.TemporaryDirectory(prefix="dgx-spark-benchmark-") as folder:
        path = Path(folder) / "variables.json"
        path.write_text(json.dumps(dict(variables)), encoding="utf-8")
        words, pipes = [f"--extra-vars=@{path}"], []
        for option, value in (("connection", secrets.connection), ("become", secrets.become)):
            if value:
                pipe = Path(folder) / option
                os.mkfifo(pipe, 0o600)
                threading.Thread(target=_given, args=(pipe, value), daemon=True).start()
                pipes.append(pipe)
                words.append(f"--{option}-password-file={pipe}")
        try:
            yield words
        finally:
            for pipe in pipes:  # which a child that ended early has not read
                os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))


def _given(pipe: Path, value: str) -> None:
    with suppress(OSError), pipe.open("wb") as stream:
        stream.write(value.encode())


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the child with the block, and also where a signal ends this process of Ansible's without its finally."""

    def end(signum: int, frame: FrameType | None) -> None:
        _end(process)
        signal.signal(signum, before[signal.Signals(signum)])
        os.kill(os.getpid(), signum)

    before = {signum: signal.signal(signum, end) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a play as Ctrl-C does, and by force where that takes too long."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Tasks:
    """The task that a play is at, by its log, which is read on from where it was left."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._task = path, 0, ""

    def now(self) -> str:
        with suppress(OSError), self._path.open("rb") as stream:
            stream.seek(self._at)
            piece = stream.read()
            whole = piece[: piece.rfind(b"\n") + 1]
            self._at += len(whole)
            self._task = task(whole.decode("utf-8", "replace").splitlines()) or self._task
        return self._task


def task(said: Sequence[str]) -> str:
    """The task that a play has come to.

    >>> task(["TASK [Read] ****", "ok: [spark1]", "", "TASK [sparkops.dgx_spark.hf_cache : apply | Copy] *****", "x"])
    'apply | Copy'
    """
    found = (_TASK.match(line) for line in reversed(said))
    name = next((match.group(1) for match in found if match), "")
    return name.rpartition(" : ")[2]


def reason(said: Sequence[str]) -> str:
    """Why a play has failed: the last failure that it tells.

    >>> reason(['fatal: [spark1]: FAILED! => {"changed": false, "msg": "it is full"}', "PLAY RECAP ***"])
    'spark1: it is full'
    >>> reason(["[ERROR]: the playbook could not be found"]), reason([])
    ('the playbook could not be found', '')
    """
    for line in reversed(said):
        match = _FATAL.match(line)
        words = _message(match.group(2)) if match else ""
        if match and words:
            return words if words.startswith(match.group(1)) else f"{match.group(1)}: {words}"
    found = (_ERROR.match(line) for line in reversed(said))
    return next((match.group(1) for match in found if match), "")


def _message(result: str) -> str:
    try:
        told = json.loads(result)
    except (ValueError, RecursionError):
        return ""
    words = told.get("msg") if isinstance(told, dict) else None
    return " ".join(str(words).split()) if words else ""
