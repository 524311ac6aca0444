# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of Sparks, captured from outside and compared: what a play changed, and what an undo left."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

from .conftest import Lab

PROGRAM = Path(__file__).parent / "state_program.py"
#: where a play may leave files; homes are in it since keys and caches lie there
ROOTS = ("/etc", "/var/lib", "/opt", "/usr/local", "/usr/lib/systemd/system", "/usr/share/keyrings", "/root", "/home")
#: directories that are looked at from outside only: Docker's and containerd's own stores are listed as Docker's objects
CLOSED = ("/var/lib/docker", "/var/lib/containerd")

#: by host, subject and key, such as ``state["spark1"]["files"]["/etc/hosts"]``
State = dict[str, dict[str, dict[str, str]]]


@dataclass(frozen=True)
class Allowed:
    """State that may differ, and why."""

    subject: str
    key: str  # a regular expression that matches the whole key
    reason: str

    def covers(self, subject: str, key: str) -> bool:
        return self.subject == subject and re.fullmatch(self.key, key) is not None


#: what a running system changes by itself
BY_ITSELF = (
    Allowed(
        "files",
        r"/var/lib/(apt/(lists|periodic|extended_states)|dpkg|ucf)(/.*|-old)?",
        "apt's and dpkg's own books: the packages themselves are compared",
    ),
    Allowed(
        "files",
        r"/var/lib/(systemd|private/systemd)(/(timers|timesync|random-seed|catalog|linger)(/.*)?)?",
        "systemd's clocks and stamps",
    ),
    Allowed("files", r"/var/lib/(NetworkManager|dhcp|dhcpcd|logrotate)/.*", "leases and time stamps"),
    Allowed(
        "files", r"/etc/(group|gshadow|passwd|shadow|subuid|subgid)-", "copies that usermod keeps of the last file"
    ),
    Allowed("files", r"/etc/ld\.so\.cache", "rewritten when a package with a library comes or goes"),
    Allowed("files", r"/(root|home/[^/]+)/\.ansible(_async)?(/.*)?", "Ansible's own working directories"),
    Allowed("units", r"(run-|session-|user[@-]|user-runtime-dir@).*", "logins and transient units"),
    Allowed("units", r".*\.(mount|device|scope|slice|swap)", "these follow what is mounted, plugged in and logged in"),
    Allowed(
        "units",
        r"(apt-|dpkg-|e2scrub|fstrim|logrotate|man-db|systemd-(tmpfiles|hostnamed|timedated|localed)|polkit"
        r"|NetworkManager-dispatcher).*",
        "run by a timer or on demand",
    ),
    Allowed(
        "sysctl",
        r"fs\.(dentry-state|file-nr|inode-.*|aio-nr|quota\.syncs)|kernel\.(random\..*|ns_last_pid|pty\.nr)|net\.netfilter\..*_count"
        r"|kernel\.sched_.*|debug\..*",
        "counters",
    ),
    Allowed("sysctl", r"net\.ipv[46]\.(conf|neigh)\.(veth|br-).*", "links of running containers"),
    Allowed("network", r"(link|address .* on|route .*) ?(veth|br-)\S*.*", "links of running containers"),
)

#: what a running engine changes by itself
BY_SERVING = (
    Allowed(
        "files",
        r"/var/lib/dgx-spark/trtllm(-[a-z]+)?/(state\..*|cache(/.*)?)",
        "what the supervisor notes and the engine tunes",
    ),
)


def captured(lab: Lab) -> State:
    """The state of all Sparks of a lab, asked in one connection to each."""
    words = shlex.join(["sudo", "python3", "-", json.dumps({"roots": ROOTS, "closed": CLOSED})])
    states: State = {}
    for name in lab.names:
        ssh = ["ssh", "-F", str(lab.home / "ssh_config"), name, words]
        done = subprocess.run(ssh, input=PROGRAM.read_text(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        states[name] = json.loads(done.stdout)
    return states


def differences(before: State, after: State, *allowed: Iterable[Allowed]) -> list[str]:
    """What is not the same, as sentences; without what a system changes by itself, and what else is allowed.

    >>> one, two = {"spark1": {"files": {"/etc/a": "file 0644"}}}, {"spark1": {"files": {"/etc/b": "file 0600"}}}
    >>> differences(one, two)
    ['spark1 files /etc/a: file 0644 -> none', 'spark1 files /etc/b: none -> file 0600']
    >>> differences(one, two, [Allowed("files", "/etc/.*", "it is only an example")])
    []
    """
    waived = [*BY_ITSELF, *(one for several in allowed for one in several)]
    found = []
    for host in sorted({*before, *after}):
        for subject in sorted({*before.get(host, {}), *after.get(host, {})}):
            was, now = before.get(host, {}).get(subject, {}), after.get(host, {}).get(subject, {})
            for key in sorted({*was, *now}):
                if was.get(key) != now.get(key) and not any(one.covers(subject, key) for one in waived):
                    found.append(f"{host} {subject} {key}: {was.get(key, 'none')} -> {now.get(key, 'none')}")
    return found


def unused(before: State, after: State, allowed: Iterable[Allowed]) -> list[Allowed]:
    """Of what is allowed, what no host needs: such an entry hides what it was not meant for."""
    keys = [
        (subject, key)
        for host, subjects in before.items()
        for subject, was in subjects.items()
        for key in {*was, *after[host][subject]}
        if was.get(key) != after[host][subject].get(key)
    ]
    return [one for one in allowed if not any(one.covers(subject, key) for subject, key in keys)]
