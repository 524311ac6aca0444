# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a gateway: what is written, made and started on the leader. Pure functions of what the leader has.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway import certificate, clients, config
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.config import KEY, NONE, OPEN, OWN
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gateway.layout import PACKAGES
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import ufw
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import no_source

# The names of the tasks that make the changes.
INSTALL = "Install HAProxy"
CERTIFY = "Create the gateway's certificate"
WRITE_CERTIFICATE = "Write the owner's certificate"
FIRST_KEY = "Create the first API key"
WRITE_CLIENTS = "Write the clients and the digests of their keys"
WRITE = "Write the gateway's configuration"
WRITE_UNIT = "Write the gateway's unit file"
ENABLE = "Enable the gateway's unit"
START = "Start the gateway"
RELOAD = "Reload the gateway"
FIREWALL = "Configure the gateway's firewall rules"
REMOVE = "Remove the gateway"
CHANGES = (
    *(INSTALL, WRITE, CERTIFY, WRITE_CERTIFICATE, FIRST_KEY, WRITE_CLIENTS, WRITE_UNIT, ENABLE, START, RELOAD),
    *(FIREWALL, REMOVE),
)
#: the client that the first run makes a key for
FIRST = "default"


class GatewayError(ValueError):
    """The gateway cannot be as it was asked for; the message names host, value, cause and mend."""


@dataclass(frozen=True)
class Request:
    """A gateway as it was asked for, and what its host has."""

    host: str
    settings: config.Settings
    program: str  # the text of gateway.lua
    found: Mapping[str, Any]  # as gateway_info returns it
    declared: Sequence[clients.Client] = ()
    now: float = 0.0  # seconds since the epoch
    names: Sequence[str] = ()  # that the certificate is to be for, beside the host's own
    owners: str = ""  # certificate and key of the owner, as one PEM file
    firewall: str = "auto"
    sources: Sequence[str] = ("any",)
    reach: str = ""  # by what the inventory reaches the leader


def refuse(exposure: str, settings: config.Settings, host: str) -> None:
    """Refuse what cannot be, by what was asked for alone. :raises GatewayError:"""
    problems = [*_address_problems(settings), *_range_problems(settings)]
    for name in settings.names:
        if not clients.MODEL.fullmatch(name):
            problems.append(f"the model's name is {name!r}: give letters, digits, dots, dashes, slashes and colons")
    if exposure not in config.EXPOSURES:
        problems.append(f"spark_api_exposure is {exposure!r}: say {', '.join(config.EXPOSURES)}")
    if problems:
        raise GatewayError(f"{host}: {'; '.join(problems)}. Nothing was changed.")


def _address_problems(settings: config.Settings) -> Iterator[str]:
    try:
        own = ipaddress.ip_address(settings.address)
    except ValueError:
        yield f"api_gateway_address is {settings.address!r}: give an IP address of the leader, or 0.0.0.0 for all"
        return
    if settings.certificate == NONE and not own.is_loopback:
        yield (
            f"api_gateway_tls is none, and the gateway is to listen on {settings.address}, where keys would pass in "
            "the clear: say ca, or own with a certificate of yours, or set api_gateway_address to 127.0.0.1"
        )
    engine = settings.engine.rpartition(":")[0].strip("[]")
    try:
        beside = not ipaddress.ip_address(engine).is_loopback
    except ValueError:
        beside = True
    if beside:
        yield (
            f"the engine listens on {settings.engine}, where it answers beside the gateway, without a key: set "
            "engine_serve_api_host back to 127.0.0.1"
        )


def _range_problems(settings: config.Settings) -> Iterator[str]:
    least = {"port": 1, "requests_per_minute": 1, "streams": 1, "body_mb": 1}
    least.update(header_seconds=1, body_seconds=1, idle_seconds=1, generation_seconds=1)
    for name, low in least.items():
        if getattr(settings, name) < low:
            yield f"api_gateway_{name} is {getattr(settings, name)}: give {low} or more"
    if settings.port > 65535:
        yield f"api_gateway_port is {settings.port}: give a port up to 65535"
    engine_port = settings.engine.rpartition(":")[2]
    if str(settings.port) == engine_port:
        yield f"api_gateway_port is {settings.port}, which is the engine's own: give another, such as 443"
    wrong = [route for route in settings.routes if route not in config.ROUTES]
    if wrong:
        yield f"api_gateway_routes has {wrong[0]}: give some of {', '.join(config.ROUTES)}"


def refuse_found(asked: Request) -> None:
    """Refuse what the host does not allow. :raises GatewayError:"""
    found, host, settings = asked.found, asked.host, asked.settings
    problems = []
    if found["clients_problem"]:
        problems.append(found["clients_problem"])
    if found["unavailable"]:
        problems.append(no_source(found["unavailable"]))
    if found["listen"].get("taken"):
        who = " and ".join(found["listen"]["holders"]) or "another program"
        problems.append(f"port {settings.port} is taken by {who}: end that, or give another api_gateway_port")
    if problems:
        raise GatewayError(f"{host}: {'; '.join(problems)}. Nothing was changed.")


def wanted_names(asked: Request) -> list[str]:
    """Whom the certificate is for: the host's own names and IPv4 addresses, and those that were asked for.

    Its IPv6 addresses change by themselves, and are not among them. :raises CertificateError: for no name.
    """
    own = (one.partition("/")[0] for one in asked.found["addresses"])
    addresses = [one for one in own if ":" not in one]
    every = [reached_by(asked), *asked.names, *asked.found["names"], "localhost"]
    hosts, others = certificate.split(name for name in every if name)
    return list(dict.fromkeys([*hosts, *others, *addresses, "127.0.0.1"]))


def wanted_clients(asked: Request) -> dict[str, clients.Client]:
    """The clients that there are to be, but for one whose key is to be made."""
    return clients.merged(there(asked), asked.declared, asked.now)


def there(asked: Request) -> dict[str, clients.Client]:
    """The clients that there are."""
    return {
        name: clients.Client(**{**one, "models": tuple(one["models"])}) for name, one in asked.found["clients"].items()
    }


def needs_first_key(asked: Request) -> bool:
    """Whether nobody has a key, and nobody ever had one."""
    known = asked.found["entries"][asked.settings.layout.clients]["kind"] == "file"
    return asked.settings.exposure == KEY and not asked.declared and not known


def text_of_config(asked: Request) -> str:
    """The text of ``haproxy.cfg``, which changes with the program that HAProxy runs."""
    return config.haproxy(asked.settings, config.digest_of(asked.program))


def changes(asked: Request) -> list[dict[str, Any]]:
    """The changes on the leader, in the order of the apply."""
    return list(_changes(asked))


def _changes(asked: Request) -> Iterator[dict[str, Any]]:
    found, places = asked.found, asked.settings.layout
    missing = [name for name in PACKAGES if name not in found["packages"]]
    if missing:
        yield change(INSTALL, "", text_of(missing), "packages")
    text = text_of_config(asked)
    files = {places.config: text, places.program: asked.program}
    written = [path for path, wanted in files.items() if not _is_file(found, path, wanted, "0644")]
    if written:
        before = "".join(_content(found, path) for path in written)
        yield change(WRITE, before, "".join(files[path] for path in written), written[0])
    certified = list(_certificate(asked))
    yield from certified
    yield from _clients(asked)
    unit = config.unit(places)
    if not _is_file(found, places.unit_file, unit, "0644"):
        yield change(WRITE_UNIT, _content(found, places.unit_file), unit, places.unit_file)
    if found["entries"][places.unit_link]["kind"] == "absent":
        yield change(ENABLE)
    old = asked.settings.certificate != NONE and found["shown"] != found["certificate"]["sha1"]
    if found["unit"] != "active":
        yield change(START)
    elif written or certified or old or found["told"] != config.told_digest(text):
        yield change(RELOAD)
    yield from _firewall(asked)


def _certificate(asked: Request) -> Iterator[dict[str, Any]]:
    found, places = asked.found, asked.settings.layout
    if asked.settings.certificate == NONE:
        return
    if asked.settings.certificate == OWN:
        wanted = hashlib.sha256(asked.owners.encode()).hexdigest()
        if found["certificate"]["digest"] != wanted:
            yield change(WRITE_CERTIFICATE)
        return
    why = certificate.why_new(found["certificate"], wanted_names(asked), asked.now)
    lacks_authority = [
        path for path in (places.authority, places.authority_key) if found["entries"][path]["kind"] != "file"
    ]
    if why or lacks_authority:
        before = text_of(found["certificate"]["names"])
        yield change(CERTIFY, before, text_of(wanted_names(asked)), "the names of the certificate")


def _clients(asked: Request) -> Iterator[dict[str, Any]]:
    """In the order of the apply, in which the first key is made before the clients are written."""
    if asked.settings.exposure != KEY:
        if _missing_maps(asked):
            yield change(WRITE_CLIENTS)
        return
    if needs_first_key(asked):
        yield change(FIRST_KEY)
    before, after = there(asked), wanted_clients(asked)
    lines = clients.differences(before, after)
    if lines or needs_first_key(asked):
        yield change(
            WRITE_CLIENTS, text_of(map(clients.line, before.values())), text_of(map(clients.line, after.values()))
        )
    elif asked.found["stale"] or _missing_maps(asked):
        yield change(WRITE_CLIENTS)


def _missing_maps(asked: Request) -> list[str]:
    places, entries = asked.settings.layout, asked.found["entries"]
    private = (places.clients, *map(places.map, clients.MAPS))
    return [path for path in private if (entries[path]["kind"], entries[path].get("mode")) != ("file", "0600")]


def _is_file(found: Mapping[str, Any], path: str, text: str, mode: str) -> bool:
    entry = found["entries"][path]
    return (entry.get("content"), entry.get("mode")) == (text, mode)


def _content(found: Mapping[str, Any], path: str) -> str:
    return str(found["entries"][path].get("content", ""))


def firewall_rules(asked: Request) -> list[dict[str, Any]]:
    """The rules that let clients in, as the module ufw_rules takes them; none of a gateway on loopback."""
    beyond = not ipaddress.ip_address(asked.settings.address).is_loopback
    sources = list(asked.sources) if beyond else []
    return [{"rule": "allow", "from_ip": sources, "to_ip": ["any"], "to_port": [asked.settings.port], "proto": "tcp"}]


def _firewall(asked: Request) -> Iterator[dict[str, Any]]:
    state = asked.found["firewall"]
    wanted = [text for rule in firewall_rules(asked) for text in ufw.spread(rule)]
    if asked.firewall == "none" or (asked.firewall == "auto" and not state["enabled"]):
        return
    if not state["installed"]:
        if wanted:
            raise GatewayError(
                f"{asked.host} has no ufw, and api_gateway_firewall says ufw: install it, or say auto. Nothing was "
                "changed."
            )
        return
    there_now = [ufw.Line(one["rule"], one["comment"]) for one in state["rules"]]
    comment = asked.settings.layout.comment
    todo = ufw.steps(there_now, wanted, comment)
    if any(todo):
        yield change(FIREWALL, *ufw.difference(there_now, todo, comment))


def reached_by(asked: Request) -> str:
    """By what name or address clients reach the leader: as the inventory does, but for that of the leader itself."""
    own = ipaddress.ip_address(asked.settings.address)
    if not own.is_unspecified:
        return str(own)
    try:
        inside = asked.reach == "localhost" or ipaddress.ip_address(asked.reach).is_loopback
    except ValueError:
        inside = not asked.reach
    return next(iter(asked.found["names"]), asked.host) if inside else asked.reach


def url(settings: config.Settings, host: str) -> str:
    """Where clients find the API. :param host: by what name or address they reach the leader."""
    scheme, usual = ("http", 80) if settings.certificate == NONE else ("https", 443)
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}{'' if settings.port == usual else f':{settings.port}'}/v1"


def warnings(asked: Request) -> list[str]:
    """What is to be known of the gateway, whether something changes or not."""
    said = []
    if asked.settings.exposure == OPEN:
        said.append(
            f"The API of {asked.host} is open: whoever reaches port {asked.settings.port} may use the model, without a "
            "key. spark_api_exposure: key asks for one"
        )
    return said


def exposed(asked: Request) -> list[str]:
    """Who reaches the gateway, where no ufw stands before it."""
    if asked.found["ufw_enabled"] or ipaddress.ip_address(asked.settings.address).is_loopback:
        return []
    key = "without a key" if asked.settings.exposure == OPEN else "for who has a key"
    networks = ", ".join(asked.found["addresses"]) or "its networks"
    return [f"ufw is off on {asked.host}: the API gateway ({asked.settings.port}) answers {key} on {networks}"]


def plan(asked: Request) -> dict[str, Any]:
    """The plan of the leader. :raises GatewayError: and what else cannot be."""
    refuse_found(asked)
    settings = asked.settings
    own = changes(asked)
    text = text_of_config(asked)
    return {
        "own_changes": own,
        "layout": {
            name: getattr(settings.layout, name)
            for name in ("name", "unit", "unit_file", "unit_link", "directory", "certificate", "clients", "comment")
        },
        "files": [
            {"path": settings.layout.config, "content": text, "mode": "0644"},
            {"path": settings.layout.program, "content": asked.program, "mode": "0644"},
        ],
        "unit": config.unit(settings.layout),
        "certificate_names": wanted_names(asked) if settings.certificate == config.CA else [],
        "declared": list(map(clients.as_asked, asked.declared)) if settings.exposure == KEY else [],
        "clients": list(wanted_clients(asked)) if settings.exposure == KEY else [],
        "told": config.told_digest(text),
        "firewall_rules": firewall_rules(asked),
        "exposed": exposed(asked),
        "url": url(settings, reached_by(asked)),
        "model": settings.names[0],
        "names": settings.names,
        "warnings": warnings(asked),
    }
