# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the leader to its workers: a key of its own, pinned host keys, the control addresses alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import contract, notice, paths
from .state import State, config, folder

SSHD = "/usr/sbin/sshd"
KEPT = 30.0  # seconds for which a worker's words hold: its container is gone for some of them, to be made anew


def trust(name: str) -> str:
    """Where ssh or its server look for whom to trust: what is kept, which may go while they run, and what is there."""
    return " ".join(dict.fromkeys(f"{place}/ssh/{name}" for place in (folder(), paths.CONFIG)))


def client_config(cluster: dict[str, Any]) -> str:
    """For the leader's ssh: its own key, pinned host keys, no questions."""
    port = cluster["ssh_port"]
    names = "".join(
        f"Host {contract.short(node['name'])}\n  HostName {node['address']}\n"
        f"  HostKeyAlias [{node['address']}]:{port}\n"
        for node in cluster["nodes"]
    )
    return (
        f"{names}Host *\n"
        f"  Port {port}\n"
        "  User root\n"
        f"  IdentityFile {paths.CONFIG}/ssh/id_ed25519\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {trust('known_hosts')}\n"
        "  GlobalKnownHostsFile /dev/null\n"
        "  StrictHostKeyChecking yes\n"
        "  BatchMode yes\n"
        "  ConnectTimeout 10\n"
        "  ServerAliveInterval 15\n"
        "  ServerAliveCountMax 4\n"
    )


def server_config(cluster: dict[str, Any], node: dict[str, Any]) -> str:
    """For a worker's sshd: the leader's key alone, on the control address alone."""
    return (
        f"ListenAddress {node['address']}\n"
        f"Port {cluster['ssh_port']}\n"
        f"HostKey {paths.CONFIG}/ssh/ssh_host_ed25519_key\n"
        f"AuthorizedKeysFile {trust('authorized_keys')}\n"
        "PermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "UsePAM no\n"
        "PrintMotd no\n"
        "ClientAliveInterval 15\n"
        "ClientAliveCountMax 4\n"
        "PidFile none\n"
    )


def write_server_config(path: Path, cluster: dict[str, Any], node: dict[str, Any]) -> None:
    """Where a worker's sshd reads it, with the leader let in however often it asked in vain, where this sshd can.

    From OpenSSH 9.8 on, an sshd turns an address away for up to ten minutes that looked at its port or failed to log
    in again and again, as the leader does while keys are exchanged. An older one ends over an unknown setting.
    """
    plain = server_config(cluster, node)
    leader = cluster["nodes"][0]["address"]
    path.write_text(f"{plain}PerSourcePenaltyExemptList {leader}\n")
    try:
        knows = subprocess.run([SSHD, "-t", "-f", str(path)], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        knows = None
    if knows is None or knows.returncode:
        path.write_text(plain)


def write_client_config(cluster: dict[str, Any]) -> None:
    """Where the leader's ssh, and with it MPI's, reads it."""
    paths.SSH_HOME.mkdir(mode=0o700, exist_ok=True)
    (paths.SSH_HOME / "config").write_text(client_config(cluster))


def await_workers(cluster: dict[str, Any], state: State) -> None:
    """Wait until every worker's own sshd lets the leader in, with the leader's configuration.

    A late worker, a stranger there, or one of another configuration is no failed start.
    """
    for node in cluster["nodes"][1:]:
        place = f"{node['name']} does not let MPI in at {node['address']}:{cluster['ssh_port']}"
        told, told_at = "", 0.0  # by a worker that waits itself
        while problem := refusal(contract.short(node["name"])):
            words, now = notice.read(node["address"], cluster["ssh_port"]), time.monotonic()
            if words or now - told_at > KEPT:
                told, told_at = words or "", now
            reason = f"{node['name']}: {told}" if told else f"{place} ({problem})"
            if state.values.get("reason") != reason:
                state.set(phase=contract.WAITING, reason=reason)
            time.sleep(2)


def refusal(name: str) -> str:
    """Why a worker is not this leader's yet: ssh's own last words, or that it belongs to another configuration."""
    argv = ["ssh", name, "python3", contract.PROGRAM, "config"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "no answer within 60 s"
    own, theirs = config(), done.stdout.strip()
    if done.returncode or own == theirs:
        return last_words(done)
    return (
        f"its container was started with the configuration {theirs or 'of no name'}, and this one with {own}: a play "
        "is changing it, or was interrupted and is to be run again"
    )


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Why a command failed, in its own last line; empty where it did not."""
    return (done.stderr.strip().splitlines() or [f"ssh ends with {done.returncode}"])[-1] if done.returncode else ""


def on_worker(node: dict[str, Any], word: str, timeout: float) -> str:
    """What this program prints on a worker.

    :param word: ``reset``, ``memory``, ``rdma``, ``signs``, ``loaded`` or ``identity``.
    :raises RuntimeError: with the last words of one that failed.
    """
    argv = ["ssh", contract.short(node["name"]), "python3", contract.PROGRAM, word]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
    print(done.stderr, end="", file=sys.stderr, flush=True)
    if done.returncode:
        raise RuntimeError(f"{word} on {node['name']} failed: {last_words(done)}")
    return done.stdout


def reset_workers(cluster: dict[str, Any]) -> None:
    """End what an earlier run left on the workers. :raises RuntimeError: when one does not answer."""
    for node in cluster["nodes"][1:]:
        on_worker(node, "reset", 300)
