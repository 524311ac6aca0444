# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Spark reads one directory of another over ssh, with a key of its own and a command that can do nothing else.

This module util is private to the collection. On disk, in the home directory of the user who copies:

~/.dgx-spark/copy-<name>/id_ed25519        the key of the run, on a Spark that receives
~/.dgx-spark/copy-<name>/known_hosts       the leader's host keys
~/.dgx-spark/copy-<name>/connection.json   how the leader is reached
~/.dgx-spark/send.py                       the program of the forced command, on the leader
"""

from __future__ import annotations

import inspect
import ipaddress
import json
import os
import pwd
import re
import shlex
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import make_private_directory, replace_text
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import release_pages
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import send as peer_send

# AES in hardware carries twice what ssh's default does; where a site forbids it, the rest are still safe.
CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com"
ALIAS = "dgx-spark-leader"  # what the leader's host keys are known by, whatever its address
COMMENT = "sparkops.dgx_spark.peer_copy:"  # begins the comment of every key that we authorize

#: of a module: where the keys of copies are, and which copy is meant
DIR_OPTION = {"type": "path", "default": "~/.dgx-spark"}

_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp\d+|ssh-rsa|sk-[\w.@-]+) [A-Za-z0-9+/]+={0,2}", re.ASCII)
_USER = re.compile(r"[A-Za-z_][\w.-]*\$?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][\w.:/-]*", re.ASCII)


class CopyError(ValueError):
    """No copy can be made like this; the message says why, and the mend."""


class Connection(NamedTuple):
    """How a receiver reaches the leader."""

    address: str
    port: int
    user: str
    streams: int
    encrypted: bool


class Place:
    """Where the parts of one copy are on this host."""

    def __init__(self, top: str | os.PathLike[str], name: str) -> None:
        self.top, self.name = Path(top), check_name(name)
        self.folder = self.top / f"copy-{self.name.replace('/', '--').replace(':', '-')}"
        self.key = self.folder / "id_ed25519"
        self.known_hosts = self.folder / "known_hosts"
        self.connection = self.folder / "connection.json"
        self.progress = self.top / f"{self.folder.name}.progress"

    def connect(self, how: Connection, host_keys: Iterable[str], check_mode: bool = False) -> bool:
        """Note how the leader is reached; return whether that is new. Nothing is written in check mode."""
        ssh_argv(self, how)  # refuses what cannot be
        hosts, text = known_hosts(host_keys), json.dumps(how._asdict()) + "\n"
        changed = False
        for path, content in ((self.known_hosts, hosts), (self.connection, text)):
            if not path.is_file() or path.read_text(encoding="utf-8") != content:
                changed = True
                if not check_mode:
                    make_private_directory(path.parent)
                    replace_text(path, content)
        return changed

    def connected(self) -> Connection:
        """Return how the leader is reached.

        :raises CopyError: when no access was opened.
        """
        try:
            how = Connection(**json.loads(self.connection.read_text(encoding="utf-8")))
            if [type(value) for value in how] != [str, int, str, int, bool]:
                raise TypeError(how)
            return how
        except (OSError, ValueError, TypeError, RecursionError) as exc:
            raise CopyError(f"there is no access to copy {self.name}: {self.connection} cannot be read") from exc


def places(top: str | os.PathLike[str]) -> list[Path]:
    """Return what copies have left in the directory of all copies."""
    return sorted(Path(top).glob("copy-*"))


def drop_if_empty(folder: Path) -> None:
    """Remove a directory if nothing is in there."""
    with suppress(OSError):
        folder.rmdir()


def check_name(name: str) -> str:
    """Return the name of a copy, which becomes part of paths and of a comment."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise CopyError(f"{name!r} names no copy: letters, digits and . _ : / - do")
    return name


def check_key(key: str) -> str:
    """Return a public key without its comment."""
    match = _KEY.match(key.strip())
    if not match or "\n" in key.strip():
        raise CopyError(f"{key[:80]!r} is no public key")
    return match.group(0)


def check_address(address: str) -> str:
    """Return an IP address."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as exc:
        raise CopyError(f"{address!r} is no IP address") from exc


def authorized_line(key: str, address: str, sender: Path, directory: Path, name: str, until: float) -> str:
    """Return the line of authorized_keys that lets one key read one directory, from one address, until a time.

    :param sender: the program of the forced command. :param until: seconds since the epoch.
    """
    command = shlex.join(["/usr/bin/python3", "-I", str(sender), str(directory)])
    command = command.replace("\\", "\\\\").replace('"', '\\"')
    # The time is the leader's own; it ends the access that an interrupted run leaves.
    expiry = time.strftime("%Y%m%d%H%M%S", time.localtime(until))
    options = f'restrict,expiry-time="{expiry}",from="{check_address(address)}",command="{command}"'
    return f"{options} {check_key(key)} {COMMENT}{check_name(name)}\n"


def with_lines(text: str, lines: Sequence[str], name: str | None) -> str:
    """Return authorized_keys with these lines for a copy, and no others for that copy; None is every copy.

    They stand first, so that what was there comes back byte for byte when they go.
    """
    kept = [line for line in text.splitlines(keepends=True) if not _is_of(line, name)]
    return "".join(lines) + "".join(kept)


def _is_of(line: str, name: str | None) -> bool:
    comment = line.rstrip().rpartition(" ")[2]
    return comment.startswith(COMMENT) if name is None else comment == COMMENT + name


def authorized_keys() -> Path:
    """Return this user's authorized_keys; where that is a link, the file that it leads to."""
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        raise CopyError(
            f"no user of this host has the number {os.geteuid()}, so that none can log in as this one: run as a user "
            "that the host knows"
        ) from None
    return Path(os.path.realpath(Path(home, ".ssh", "authorized_keys")))


def read_keys(path: Path) -> str:
    """Return the text of authorized_keys, empty where there is none; what is not UTF-8 in it comes back as it was.

    :raises OSError: when it cannot be read.
    """
    return path.read_bytes().decode(errors="surrogateescape") if path.exists() else ""


def left_behind(top: str | os.PathLike[str], name: str) -> dict[str, bool]:
    """Return what an interrupted copy has left on this host: its key, an authorized key."""
    try:
        text = read_keys(authorized_keys())
    except (OSError, CopyError):
        text = ""
    return {
        "key": Place(top, name).folder.exists(),
        "authorized_key": any(_is_of(line, name) for line in text.splitlines()),
    }


def program() -> str:
    """Return the program of the forced command."""
    return "\n\n".join(
        [inspect.getsource(peer_send), inspect.getsource(release_pages), "raise SystemExit(main(release_pages))\n"]
    )


def source_address(peer: str, port: int) -> str:
    """Return the address from which a peer is reached."""
    try:
        family, _kind, _protocol, _name, address = socket.getaddrinfo(peer, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # sends nothing
            return str(probe.getsockname()[0])
    except OSError as exc:
        raise CopyError(f"there is no way to {peer} ({exc.strerror or exc}): see the fabric's addresses") from exc


def host_keys_in(texts: Mapping[str, str]) -> list[str]:
    """Return the public host keys of the kinds that a copy pins; a key of another kind, such as DSA, is passed over.

    :param texts: by path.
    :raises CopyError: where none is left.
    """
    found = []
    for text in texts.values():
        with suppress(CopyError):
            found.append(check_key(text))
    if not found:
        named = f"none that can be read, of {', '.join(texts)}" if texts else "none"
        raise CopyError(
            f"this host has no ssh host keys ({named}): install openssh-server, or run ssh-keygen -A after removing "
            "the broken ones"
        )
    return found


def known_hosts(keys: Iterable[str]) -> str:
    """Return the known_hosts that pins a leader's host keys."""
    return "".join(f"{ALIAS} {check_key(key)}\n" for key in keys)


def ssh_argv(place: Place, how: Connection) -> list[str]:
    """Return the connecting command. Nothing of the user's own ssh settings, keys or agents has a part in it."""
    if not _USER.fullmatch(how.user):
        raise CopyError(f"{how.user!r} is no user's name")
    options = {
        "BatchMode": "yes",
        "Ciphers": CIPHERS,
        "Compression": "no",
        "ConnectTimeout": "20",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": ALIAS,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "LogLevel": "ERROR",
        "PreferredAuthentications": "publickey",
        "ServerAliveCountMax": "4",
        "ServerAliveInterval": "15",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(place.known_hosts).replace("%", "%%"),
    }
    identity = str(place.key).replace("%", "%%")
    words = ["ssh", "-F", "none", "-T", "-i", identity, "-p", str(how.port), "-l", how.user]
    words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return [*words, "--", how.address]


def turned_away(reason: str) -> str:
    """Return what a connection that its sshd closed at once may mean, else an empty string.

    From OpenSSH 9.8 on, an sshd turns an address away for a while that failed to log in (PerSourcePenalties).
    """
    if re.search(r"Connection (?:reset|closed) by|kex_exchange_identification|Not allowed at this time", reason):
        return (
            " (an sshd ends connections at once from an address whose logins failed a moment ago, for 15 s to 10 min, "
            "or where it has too many at a time: PerSourcePenalties and MaxStartups in sshd_config)"
        )
    return ""


def final(reason: str, address: str) -> str:
    """Return what is to be done about a failure that another attempt would meet again, else an empty string."""
    if "Host key verification failed" in reason or "REMOTE HOST IDENTIFICATION" in reason:
        return f"{address} is not the leader: its ssh host keys are not the ones that were read on the leader"
    if "Permission denied" in reason:
        return (
            f"{address} does not accept the key of this run ({reason}): its sshd must let this user log in, and read "
            "~/.ssh/authorized_keys"
        )
    return ""
