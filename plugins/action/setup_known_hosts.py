# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write host keys into known_hosts; the module of this name documents it."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup import answers, controller, keys, known_hosts
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.answers import Spark
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.known_hosts import HostKey
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._setup.terminal import Terminal
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

BY_HAND = (
    "Compare the fingerprints, and give those that are right with -e setup_host_keys=SHA256:…,SHA256:… Nothing was "
    "changed."
)


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "hosts": {"type": "list", "elements": "dict", "required": True},
        "accept": {"type": "raw", "default": ""},
        "ssh_dir": {"type": "str", "default": "~/.ssh"},
        "seconds": {"type": "int", "default": 5},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Read, ask, and write what is new."""
        path = controller.folder_of(asked["ssh_dir"]) / "known_hosts"
        members = [one for one in (Spark(**host) for host in asked["hosts"]) if not one.here]
        new: list[tuple[Spark, HostKey]] = []
        shown_by: dict[str, Spark] = {}
        for one in members:
            known = _known(one, str(path))
            shown = _shown(one, known, asked["seconds"])
            _check_twins(one, shown, shown_by)
            state = known_hosts.state(shown, known)
            if state == known_hosts.CHANGED:
                raise PlanError(_changed(one, shown, str(path)))
            new += [(one, key) for key in shown] if state == known_hosts.NEW else []
        before = controller.text_of(path) or ""
        after = known_hosts.with_lines(before, [known_hosts.line(one.address, one.port, key) for one, key in new])
        if new:
            _accept(asked["accept"], new, self._task.check_mode)
            if not self._task.check_mode:
                controller.write(path, after, 0o600)
        return {
            "changed": bool(new),
            "path": str(path),
            "fingerprints": {one.name: key.fingerprint for one, key in new},
            "diff": {"before": before, "after": after, "before_header": str(path), "after_header": str(path)},
        }


def _known(one: Spark, path: str) -> list[HostKey]:
    found = controller.run(["ssh-keygen", "-F", known_hosts.subject(one.address, one.port), "-f", path], 10)
    if found.status == 127:
        raise PlanError("ssh-keygen is not on this machine: install OpenSSH's client. Nothing was changed.")
    return known_hosts.keys(found.out)


def _shown(one: Spark, known: list[HostKey], seconds: int) -> list[HostKey]:
    """What the host shows of itself, of the types that are known of it; else of any type."""
    said = controller.Said(0, "", "")
    for kinds in dict.fromkeys([known_hosts.wanted(known), "ecdsa,rsa"]):
        command = ["ssh-keyscan", "-T", str(seconds), "-p", str(one.port), "-t", kinds, one.address]
        said = controller.run(command, 4 * seconds)
        found = known_hosts.keys(said.out)
        if found:
            return found
    why = " ".join(line for line in said.error.splitlines() if line and not line.startswith("#"))
    raise PlanError(
        f"{one.name}: no ssh server answers at {one.address}, port {one.port} ({why or 'ssh-keyscan got no key'}). See "
        f"that the Spark is on, and in this network, and its address right.{keys.waits(why)} Nothing was changed."
    )


def _check_twins(one: Spark, shown: list[HostKey], shown_by: dict[str, Spark]) -> None:
    for key in shown:
        other = shown_by.setdefault(key.blob, one)
        if other is not one:
            raise PlanError(
                f"{other.name} ({other.address}) and {one.name} ({one.address}) show the same host key "
                f"{key.fingerprint}: they are one machine with two addresses, which is to be named once; or one was "
                "copied from the other, and needs keys of its own (sudo rm /etc/ssh/ssh_host_*; sudo ssh-keygen -A). "
                "Nothing was changed."
            )


def _changed(one: Spark, shown: list[HostKey], path: str) -> str:
    subject = known_hosts.subject(one.address, one.port)
    return (
        f"{one.name}: {subject} shows the host key {shown[0].fingerprint}, and {path} has another one. If that Spark "
        f"was set up anew, or has got the address of another machine, remove the old key with: ssh-keygen -R "
        f"'{subject}' -f '{path}'. If not, somebody may stand between you and the Spark. Nothing was changed."
    )


def _accept(given: Any, new: list[tuple[Spark, HostKey]], check_mode: bool) -> None:
    """See that each key is one that was accepted. :raises PlanError:"""
    accepted = answers.words([str(one) for one in given] if isinstance(given, (list, tuple)) else str(given))
    terminal = Terminal()
    lines = [f"{one.name}  {one.address}  {key.kind}  {key.fingerprint}" for one, key in new]
    if accepted:
        unknown = (
            []
            if accepted == ["any"]
            else [line for line, (_one, key) in zip(lines, new) if key.fingerprint not in accepted]
        )
        if unknown:
            raise PlanError(f"setup_host_keys does not have the host key of: {'; '.join(unknown)}. {BY_HAND}")
        return
    if check_mode:
        return
    terminal.show(
        [
            "",
            "Nobody has told this machine yet how the Sparks identify themselves. They show these host keys:",
            *(f"  {line}" for line in lines),
            "To be sure, compare with what a Spark says at its own screen, or in a terminal of NVIDIA Sync:",
            "  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            "",
        ]
    )
    right = terminal.settle(
        "", "Are they right? yes or no", lambda text: answers.yes(text, False), f"{'; '.join(lines)}. {BY_HAND}", "no"
    )
    if not right:
        raise PlanError("The host keys were not accepted. Nothing was changed.")
