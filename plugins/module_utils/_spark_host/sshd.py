# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of the ssh server, and what it says of itself. Pure functions, and one that reads authorized keys.

This module util is private to the collection.
"""

from __future__ import annotations

import pwd
import re
from pathlib import Path
from typing import Mapping, Sequence

#: the name of the timer, and of the service that it starts, which take the drop-in back
ROLLBACK = "dgx-spark-sshd-rollback"
#: what lay in the drop-in's place before a trial; no such file where there was none
PREVIOUS = "/run/dgx-spark-sshd/previous"
ROOT_VALUES = {"key": "prohibit-password", "no": "no"}
_KEY = re.compile(
    r"(?:^|\s)(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-\S+|sk-\S+@openssh\.com)(?:-cert-v01@openssh\.com)? AAAA\S+"
)
_INCLUDE = re.compile(r"^\s*include\s+.*sshd_config\.d/\*\.conf", re.IGNORECASE)
_SETTING = re.compile(r"^\s*(?!include\b|#)[A-Za-z]", re.IGNORECASE)


def settings(root: str) -> dict[str, str]:
    """Return what the drop-in sets, by the names that ``sshd -T`` prints.

    Forwarding stays as it is: tunnels to the API need it. So does the number of tries: a client whose agent offers
    more keys than that would be turned away before its right one.

    :param root: ``key`` to let root in by a key, or ``no``.
    """
    return {
        "passwordauthentication": "no",
        "kbdinteractiveauthentication": "no",
        "pubkeyauthentication": "yes",
        "permitrootlogin": ROOT_VALUES[root],
        "x11forwarding": "no",
        "logingracetime": "30",
        "clientaliveinterval": "60",
        "clientalivecountmax": "10",
    }


_WRITTEN = {
    "passwordauthentication": "PasswordAuthentication",
    "kbdinteractiveauthentication": "KbdInteractiveAuthentication",
    "pubkeyauthentication": "PubkeyAuthentication",
    "permitrootlogin": "PermitRootLogin",
    "x11forwarding": "X11Forwarding",
    "logingracetime": "LoginGraceTime",
    "clientaliveinterval": "ClientAliveInterval",
    "clientalivecountmax": "ClientAliveCountMax",
}


def drop_in(root: str) -> str:
    """Return the drop-in's text. :param root: as :func:`settings` takes it.

    >>> drop_in("key").splitlines()[4]
    'PermitRootLogin prohibit-password'
    """
    lines = [f"{_WRITTEN[name]} {value}" for name, value in settings(root).items()]
    return "\n".join(["# Logins by key alone. sparkops.dgx_spark writes this file.", *lines, ""])


def effective(said: str) -> dict[str, str]:
    """Return the settings that ``sshd -T`` prints, the last of each name.

    >>> effective("port 22\\npermitrootlogin without-password\\n")["permitrootlogin"]
    'prohibit-password'
    """
    found = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    return {name: "prohibit-password" if value == "without-password" else value for name, value in found.items()}


def differing(said: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Return in words what the server would not go by.

    >>> differing({"passwordauthentication": "yes"}, {"passwordauthentication": "no"})
    ['passwordauthentication is yes, not no']
    """
    return [
        f"{name} is {said.get(name, 'unknown')}, not {value}"
        for name, value in wanted.items()
        if said.get(name) != value
    ]


def includes_first(config: str) -> bool:
    """Whether the server's file includes its drop-ins before it sets anything, for which the first value counts.

    >>> includes_first("# all\\nInclude /etc/ssh/sshd_config.d/*.conf\\nPort 22\\n"), includes_first("Port 22\\n")
    (True, False)
    """
    for line in config.splitlines():
        if _INCLUDE.match(line):
            return True
        if _SETTING.match(line):
            return False
    return False


def count_keys(text: str) -> int:
    """Return how many public keys a file of authorized keys has.

    >>> count_keys('# none\\nfrom="192.0.2.1" ssh-ed25519 AAAAC3Nz me\\nssh-rsa\\n')
    1
    """
    return sum(1 for line in text.splitlines() if not line.lstrip().startswith("#") and _KEY.search(line))


def key_files(patterns: Sequence[str], user: str, home: str, uid: int) -> list[Path]:
    """Return the files in which sshd looks for a user's keys, from AuthorizedKeysFile.

    >>> key_files([".ssh/authorized_keys", "/etc/keys/%u"], "nvidia", "/home/nvidia", 1000)[1]
    PosixPath('/etc/keys/nvidia')
    """
    marks = {"%%": "%", "%h": home, "%u": user, "%U": str(uid)}
    names = [re.sub("%[%huU]", lambda one: marks[one[0]], pattern) for pattern in patterns if pattern != "none"]
    return [Path(name) if name.startswith("/") else Path(home, name) for name in names]


def authorized_keys(user: str, said: Mapping[str, str]) -> int:
    """Return how many keys a user may log in with; 0 for a user whom the host does not know.

    :param said: as :func:`effective` returns it.
    """
    try:
        about = pwd.getpwnam(user)
    except KeyError:
        return 0
    patterns = said.get("authorizedkeysfile", ".ssh/authorized_keys .ssh/authorized_keys2").split()
    found = 0
    for path in key_files(patterns, user, about.pw_dir, about.pw_uid):
        try:
            found += count_keys(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return found


def rollback_script(path: str, previous: str = PREVIOUS) -> str:
    """Return what /bin/sh is to run when no new login has come about in time. Paths are the collection's own."""
    return (
        f"if [ -e {previous} ]; then cp -p {previous} {path}; else rm -f {path}; fi; "
        "systemctl try-reload-or-restart ssh.service"
    )
