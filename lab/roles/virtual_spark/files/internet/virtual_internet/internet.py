# SIMULATED: part of the lab's stand-in for the internet.
# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All services together, as one object: for the command line and for tests."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

from .control import ControlHandler
from .faults import FaultBook
from .http_server import Server
from .hub import CdnHandler, CdnServer, HubHandler, HubServer, new_signing_key
from .ledger import Ledger
from .packages import PackagesHandler, PackagesServer
from .registry_proxy import RegistryHandler, RegistryServer
from .repository import Store


@dataclass(frozen=True)
class Settings:
    """What to serve, and where. Port 0 is a random one; no registry without `registry_upstream`, no packages without
    `apt_port`."""

    root: Path
    bind: str = ""  # all addresses: the lab's own network is all that reaches it
    control_bind: str | None = None  # None: as `bind`
    hub_port: int = 80
    cdn_port: int = 8080
    cdn_url: str | None = None  # None: the name that the client used for the hub, and cdn_port
    control_port: int = 9000
    apt_port: int | None = None
    url_ttl: int = 3600
    registry_port: int = 443
    registry_upstream: tuple[str, int] | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    quiet: bool = False


class VirtualInternet:
    """The hub, its content delivery, the registry's proxy, the packages and the control API, each on its port."""

    def __init__(self, settings: Settings) -> None:
        self.faults, self.ledger = FaultBook(), Ledger()
        self.store = Store(settings.root)
        key, bind, quiet = new_signing_key(), settings.bind, settings.quiet
        shared = (self.faults, self.ledger)
        self._servers: dict[str, Server] = {}
        try:
            cdn = CdnServer(
                (bind, settings.cdn_port), CdnHandler, *shared, store=self.store, signing_key=key, quiet=quiet
            )
            self._servers["cdn_port"] = cdn
            self.hub = HubServer(
                (bind, settings.hub_port),
                HubHandler,
                *shared,
                store=self.store,
                signing_key=key,
                cdn_base=settings.cdn_url or f"http://{{host}}:{cdn.port}",
                url_ttl=settings.url_ttl,
                quiet=quiet,
            )
            self._servers["hub_port"] = self.hub
            if settings.registry_upstream is not None:
                self._servers["registry_port"] = RegistryServer(
                    (bind, settings.registry_port),
                    RegistryHandler,
                    *shared,
                    upstream=settings.registry_upstream,
                    tls=_tls(settings.tls_cert, settings.tls_key),
                    quiet=quiet,
                )
            if settings.apt_port is not None:
                self._servers["apt_port"] = PackagesServer(
                    (bind, settings.apt_port), PackagesHandler, *shared, directory=settings.root / "apt", quiet=quiet
                )
            self._servers["control_port"] = Server(
                (settings.control_bind or bind, settings.control_port), ControlHandler, *shared, quiet=quiet
            )
        except BaseException:
            for server in self._servers.values():
                server.server_close()
            raise

    @property
    def ports(self) -> dict[str, int]:
        """The ports that it listens on, by name."""
        return {name: server.port for name, server in self._servers.items()}

    def start(self) -> None:
        """Serve, in threads."""
        for name, server in self._servers.items():
            threading.Thread(target=server.serve_forever, args=(0.1,), name=name, daemon=True).start()
        threading.Thread(target=self.store.warm, name="hashes", daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and wake whoever hangs on purpose."""
        stopping = [threading.Thread(target=server.stop) for server in self._servers.values()]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
