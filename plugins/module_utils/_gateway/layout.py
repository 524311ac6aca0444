# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a gateway is on a host, and what its parts are called.

This module util is private to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass

ETC, RUN, UNITS = "/etc/dgx-spark", "/run", "/etc/systemd/system"
#: directories that the collection shares, and that go with the last of its files
SHARED = (ETC, "/var/lib/dgx-spark")
PREFIX = "gateway"
#: what the gateway runs, what makes its certificates, both from the distribution
PACKAGES = ("haproxy", "openssl")
#: the service that comes with the package, and serves somebody else's configuration or none
PACKAGED_SERVICE = "haproxy.service"
#: of the firewall's rules, those of an instance with its name behind it
COMMENT = "DGX Spark gateway"


@dataclass(frozen=True)
class Layout:
    """Paths and names of the gateway of one instance; ``instance`` is empty for the one without a name.

    >>> Layout("").directory, Layout("vlm").unit, Layout("").admin_socket
    ('/etc/dgx-spark/gateway', 'dgx-spark-gateway-vlm.service', '/run/dgx-spark-gateway/admin.sock')
    """

    instance: str = ""

    @property
    def own(self) -> str:
        """The name of its directories."""
        return f"{PREFIX}-{self.instance}" if self.instance else PREFIX

    @property
    def name(self) -> str:
        """The name of its unit, without what units end with, and of its lines in the journal."""
        return f"dgx-spark-{self.own}"

    @property
    def unit(self) -> str:
        """Its unit of systemd."""
        return f"{self.name}.service"

    @property
    def unit_file(self) -> str:
        """Where that is described."""
        return f"{UNITS}/{self.unit}"

    @property
    def unit_link(self) -> str:
        """By which it is started at boot."""
        return f"{UNITS}/multi-user.target.wants/{self.unit}"

    @property
    def directory(self) -> str:
        """Where all of its files are."""
        return f"{ETC}/{self.own}"

    @property
    def config(self) -> str:
        """What HAProxy is told."""
        return f"{self.directory}/haproxy.cfg"

    @property
    def program(self) -> str:
        """What HAProxy runs to tell of tokens and of the engine."""
        return f"{self.directory}/gateway.lua"

    @property
    def clients(self) -> str:
        """The clients, with the digests of their keys."""
        return f"{self.directory}/clients.json"

    @property
    def certificate(self) -> str:
        """The certificate that clients are shown, with its key."""
        return f"{self.directory}/tls/server.pem"

    @property
    def authority(self) -> str:
        """The certificate of the authority that was made for this gateway."""
        return f"{self.directory}/tls/ca.crt"

    @property
    def authority_key(self) -> str:
        """The key of that authority."""
        return f"{self.directory}/tls/ca.key"

    @property
    def runtime(self) -> str:
        """The directory that systemd makes for it, as it names that."""
        return self.name

    @property
    def admin_socket(self) -> str:
        """Where root talks to the HAProxy that runs."""
        return f"{RUN}/{self.runtime}/admin.sock"

    @property
    def comment(self) -> str:
        """By which its rules of the firewall are recognized."""
        return f"{COMMENT} {self.instance}" if self.instance else COMMENT

    def map(self, name: str) -> str:
        """The file of one of the maps that HAProxy looks clients up in."""
        return f"{self.directory}/{name}.map"
