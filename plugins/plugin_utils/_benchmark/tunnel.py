# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A way from the controller to an endpoint that listens on the leader's loopback: ssh's port forwarding.

This plugin util is private to the collection.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import Any, Iterator, Mapping

SECONDS = 30.0  #: until it stands
#: of Ansible's connection, what says how a host is reached
OPTIONS = (
    *("host", "port", "remote_user", "private_key_file", "host_key_checking", "ssh_executable"),
    *("ssh_args", "ssh_common_args", "ssh_extra_args"),
)
OWN = (
    # a connection of its own, whose end is the tunnel's
    *("-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"),
    *("-o", "ServerAliveInterval=15", "-N", "-T"),
)


class TunnelError(ValueError):
    """There is no way to the endpoint. The message names the host, the cause and the mend."""


def command(options: Mapping[str, Any], port: int, host: str, remote_port: int) -> list[str]:
    """The command line. :param options: of Ansible's ssh connection. :param host: as the leader reaches the endpoint.

    >>> options = {"host": "10.0.0.1", "port": 22, "remote_user": "nvidia", "ssh_common_args": "-o A=b"}
    >>> " ".join(command(options, 40000, "127.0.0.1", 8355)[-9:])
    '-o A=b -L 127.0.0.1:40000:127.0.0.1:8355 -p 22 -l nvidia 10.0.0.1'
    """
    made = [str(options.get("ssh_executable") or "ssh"), *OWN]
    if options.get("host_key_checking") is False:
        made += ["-o", "StrictHostKeyChecking=no"]
    if options.get("private_key_file"):
        made += ["-i", str(options["private_key_file"])]
    for name in ("ssh_args", "ssh_common_args", "ssh_extra_args"):
        made += shlex.split(str(options.get(name) or ""))
    there = f"[{host}]" if ":" in host else host
    made += ["-L", f"127.0.0.1:{port}:{there}:{remote_port}"]
    made += ["-p", str(options["port"])] if options.get("port") else []
    made += ["-l", str(options["remote_user"])] if options.get("remote_user") else []
    return [*made, str(options["host"])]


def free_port() -> int:
    """A port of the loopback that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


@contextmanager
def opened(options: Mapping[str, Any], host: str, remote_port: int, name: str) -> Iterator[str]:
    """The endpoint's URL on this controller, while the tunnel stands. :param name: of the leader.

    :raises TunnelError: where ssh does not get there.
    """
    port = free_port()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command(options, port, host, remote_port),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )  # in this process's group, which Ansible ends as a whole where the play is interrupted
        try:
            _wait(process, port)
            if process.poll() is not None:
                said.seek(0)
                words = " ".join(said.read().decode("utf-8", "replace").split())[-300:]
                raise TunnelError(
                    f"{name}: ssh gives no tunnel to {host}:{remote_port} there ({words or 'it said nothing'}): log in "
                    "with a key, or give an address that this controller reaches (benchmark_url). Nothing was measured."
                )
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the port listens, or the process has ended, which it is made to after too long."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            return
        time.sleep(0.1)
