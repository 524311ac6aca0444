# SIMULATED: part of the lab's stand-in for the internet.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line: `python3 -m virtual_internet`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from .internet import Settings, VirtualInternet


def _address(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not host:port")
    return host, int(port)


def parse(arguments: list[str]) -> Settings:
    """Return the settings that a command line asks for."""
    parser = argparse.ArgumentParser("virtual_internet", description="SIMULATED: the lab's stand-in for the internet")
    parser.add_argument("--root", type=Path, required=True, help="directory with hub/models/ and hub/tokens.json")
    parser.add_argument("--bind", default=Settings.bind, help="address to listen on (default: all)")
    parser.add_argument("--control-bind", help="address of the control API (default: as --bind)")
    parser.add_argument("--hub-port", type=int, default=Settings.hub_port, help="0: a random one; so for every port")
    parser.add_argument("--cdn-port", type=int, default=Settings.cdn_port, help="the hub's content delivery")
    parser.add_argument("--cdn-url", help="its origin as clients see it (default: the hub's name and --cdn-port)")
    parser.add_argument("--url-ttl", type=int, default=Settings.url_ttl, help="seconds that a signed address lives")
    parser.add_argument("--control-port", type=int, default=Settings.control_port)
    parser.add_argument("--apt-port", type=int, help="an apt repository, of what lies in apt/ (default: none)")
    parser.add_argument("--registry-tls-port", type=int, default=Settings.registry_port)
    parser.add_argument("--registry-upstream", type=_address, help="host:port of the registry; without it, no proxy")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--quiet", action="store_true", help="no access log")
    options = parser.parse_args(arguments)
    if options.registry_upstream and not (options.tls_cert and options.tls_key):
        parser.error("--registry-upstream needs --tls-cert and --tls-key")
    if not options.root.is_dir():
        parser.error(f"{options.root} is not a directory")
    return Settings(
        root=options.root,
        bind=options.bind,
        control_bind=options.control_bind,
        hub_port=options.hub_port,
        cdn_port=options.cdn_port,
        cdn_url=options.cdn_url,
        control_port=options.control_port,
        apt_port=options.apt_port,
        url_ttl=options.url_ttl,
        registry_port=options.registry_tls_port,
        registry_upstream=options.registry_upstream,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        quiet=options.quiet,
    )


def notify_systemd() -> None:
    """Tell a `Type=notify` unit that all ports are open."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = parse(arguments)
    try:
        internet = VirtualInternet(settings)
    except OSError as error:
        sys.stderr.write(f"virtual_internet: {error}\n")
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    internet.start()
    sys.stdout.write(json.dumps(internet.ports) + "\n")
    sys.stdout.flush()
    notify_systemd()
    stop.wait()
    internet.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
