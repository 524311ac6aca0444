# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines of the local network may be Sparks, from what several programs say of it. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from dataclasses import dataclass, replace
from typing import Any, Iterable, Iterator, Mapping, Sequence

try:
    from netaddr import EUI, AddrFormatError, NotRegisteredError
except ImportError:
    NETADDR_MISSING = True  # then nobody knows who made a network device
else:
    NETADDR_MISSING = False

MDNS, SYNC, NEIGHBOUR, HERE = "mDNS", "NVIDIA Sync", "neighbour", "this machine"
#: sources in the order of what they tell
ORDER = (HERE, SYNC, MDNS, NEIGHBOUR)

HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}[a-z0-9_])?)*", re.I
)
USER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
#: how makers name a GB10 machine as it leaves the factory, such as spark-1b3b or gx10-49d1; a hint, and no more
LIKELY_NAME = re.compile(r"spark|dgx|gb10|gx10|gn100|zgx|pgx|edgexpert", re.I)
LIKELY_MAKER = re.compile(r"nvidia|mellanox", re.I)
#: network devices of a Spark's QSFP ports, as its kernel names them: addresses behind them are the fabric's
FABRIC_DEVICE = re.compile(r"enp1s0f\dnp\d|enP2p1s0f\dnp\d")
#: network devices that lead to containers or virtual machines of this machine
INNER_DEVICE = re.compile(r"lo|docker\d*|br-[0-9a-f]{12}|veth.*|virbr.*")
_ESCAPED = re.compile(r"\\(?:(\d{3})|(.))", re.DOTALL)
_GONE = {"FAILED", "INCOMPLETE", "NOARP"}


@dataclass(frozen=True)
class Sighting:
    """What one source says of one machine. Empty where it does not say."""

    source: str
    address: str  # an IP address, or a name that ssh can look up
    name: str = ""  # the first label of its host name
    port: int = 22
    device: str = ""  # of this machine, that the answer came in by
    user: str = ""
    mac: str = ""
    identity: str = ""  # a private key of this machine that the host lets in


@dataclass(frozen=True)
class Candidate:
    """A machine that may be a Spark."""

    address: str
    name: str = ""
    further: tuple[str, ...] = ()  # addresses
    port: int = 22
    user: str = ""
    identity: str = ""
    maker: str = ""  # of the network device
    sources: tuple[str, ...] = ()
    likely: bool = False
    here: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values, of which :func:`from_json` makes the same again."""
        return {**vars(self), "further": list(self.further), "sources": list(self.sources)}


def from_json(data: Mapping[str, Any]) -> Candidate:
    """Make a candidate of what :meth:`Candidate.to_json` returned."""
    return Candidate(**{**data, "further": tuple(data["further"]), "sources": tuple(data["sources"])})


# ---- what programs say


def of_avahi(text: str) -> list[Sighting]:
    """Read ``avahi-browse --parsable --resolve``. Lines of another form, and unresolved names, count for nothing.

    A semicolon in a name is escaped, and one in the TXT record, which comes last, is not.

    >>> found = of_avahi("=;eth0;IPv4;spark-1b3b;_ssh._tcp;local;spark-1b3b.local;192.168.1.21;22;")
    >>> [(one.name, one.address, one.port) for one in found]
    [('spark-1b3b', '192.168.1.21', 22)]
    """
    found = []
    for line in text.splitlines():
        fields = line.split(";")
        if len(fields) >= 9 and fields[0] == "=" and not INNER_DEVICE.fullmatch(fields[1]):
            sighting = mdns(unescaped(fields[6]), fields[7], fields[8], fields[1])
            found += [sighting] if sighting else []
    return found


def unescaped(text: str) -> str:
    r"""Undo avahi's escapes, a backslash before three decimal digits or one character.

    >>> unescaped(r"two\032words\.local")
    'two words.local'
    """
    raw = _ESCAPED.sub(lambda found: _byte(found[1]) if found[1] else found[2], text)
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")


def _byte(digits: str) -> str:
    return chr(int(digits) % 256)


def mdns(host: str, address: str, port: str | int, device: str = "") -> Sighting | None:
    """What an mDNS answer says, if it can be a machine that ssh reaches."""
    number = port_of(port)
    if not number or not _is_routable(address):
        return None
    return Sighting(MDNS, address, label(host), number, device)


def of_neighbours(text: str) -> list[Sighting]:
    """Read ``ip -j neigh``. IPv4 alone: the same machines have further addresses there.

    >>> found = of_neighbours('[{"dst":"192.168.1.21","dev":"eth0","lladdr":"48:b0:2d:00:00:01","state":["STALE"]}]')
    >>> [(one.address, one.mac) for one in found]
    [('192.168.1.21', '48:b0:2d:00:00:01')]
    """
    found = []
    for one in _objects(text):
        address, device, mac, state = (one.get(key) for key in ("dst", "dev", "lladdr", "state"))
        states = {part for part in state if isinstance(part, str)} if isinstance(state, list) else set()
        if (
            isinstance(address, str)
            and isinstance(device, str)
            and isinstance(mac, str)
            and not states & _GONE
            and not INNER_DEVICE.fullmatch(device)
            and _is_ipv4(address)
            and _is_routable(address)
        ):
            found.append(Sighting(NEIGHBOUR, address, device=device, mac=mac))
    return found


def of_own_addresses(text: str) -> dict[str, str]:
    """Read ``ip -j address``: the network device of each address of this machine.

    >>> of_own_addresses('[{"ifname":"eth0","addr_info":[{"local":"192.168.1.5"}]}]')
    {'192.168.1.5': 'eth0'}
    """
    found = {}
    for one in _objects(text):
        for address in one.get("addr_info") or [] if isinstance(one.get("addr_info"), list) else []:
            local = address.get("local") if isinstance(address, dict) else None
            if isinstance(local, str) and isinstance(one.get("ifname"), str):
                found[local] = one["ifname"]
    return found


def of_sync(text: str) -> list[Sighting]:
    """Read the configuration of ssh that NVIDIA Sync keeps: a Host block for each device that was added there.

    Its directory is ``~/.config/NVIDIA/Sync/config`` on Linux and ``~/Library/Application Support/NVIDIA/Sync/config``
    on macOS. Patterns, and what ssh would have to work out, count for nothing.

    >>> found = of_sync("Host spark-1b3b.local\\n  Hostname spark-1b3b.local\\n  User nvidia\\n  Port 22\\n")
    >>> [(one.name, one.address, one.user) for one in found]
    [('spark-1b3b', 'spark-1b3b.local', 'nvidia')]
    """
    found = []
    for aliases, said in _host_blocks(text):
        alias = next((one for one in aliases if HOST_NAME.fullmatch(one)), "")
        address = said.get("hostname", alias)
        port = port_of(said.get("port", "22"))
        if alias and port and (HOST_NAME.fullmatch(address) or _is_routable(address)):
            name = label(address if not _is_ip(address) else alias) or label(alias)
            user = said.get("user", "")
            known = user if USER_NAME.fullmatch(user) else ""
            key = said.get("identityfile", "")
            found.append(Sighting(SYNC, address, name, port, user=known, identity=key))
    return found


def _host_blocks(text: str) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The Host blocks of a configuration of ssh: their names, and what they say; the first value counts, as to ssh."""
    aliases: list[str] = []
    said: dict[str, str] = {}
    for line in text.splitlines():
        key, values = _words(line)
        if key in ("host", "match"):
            if aliases:
                yield aliases, said
            aliases, said = values if key == "host" else [], {}
        elif key and values:
            said.setdefault(key, values[0])
    if aliases:
        yield aliases, said


def _words(line: str) -> tuple[str, list[str]]:
    """A line's keyword in lower case, and its values."""
    key, values = (*re.split(r"\s*=\s*|\s+", line.strip(), maxsplit=1), "")[:2]
    if not key or key.startswith("#"):
        return "", []
    try:
        return key.lower(), shlex.split(values)
    except ValueError:  # a quote without an end
        return "", []


def _objects(text: str) -> list[dict[str, Any]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


# ---- values


def port_of(text: str | int) -> int:
    """A port number; 0 for what is none.

    >>> port_of("22"), port_of("022x"), port_of("70000")
    (22, 0, 0)
    """
    said = str(text)
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 6 else 0
    return number if number < 65536 else 0


def label(host: str) -> str:
    """The first label of a host name, in lower case; empty for an address and for what is no name.

    >>> label("Spark-1B3B.local"), label("192.168.1.21"), label("a b")
    ('spark-1b3b', '', '')
    """
    return "" if _is_ip(host) or not HOST_NAME.fullmatch(host) else host.partition(".")[0].lower()


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_ipv4(text: str) -> bool:
    return _is_ip(text) and ipaddress.ip_address(text).version == 4


def _is_routable(text: str) -> bool:
    """Whether it is an address that means the same machine later on, and to other machines."""
    if not _is_ip(text) or "%" in text:
        return False
    address = ipaddress.ip_address(text)
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)


def maker(mac: str) -> str:
    """Who made the network device of a hardware address, by IEEE's list; empty where nobody is registered.

    >>> maker("48:b0:2d:00:00:01"), maker("02:42:0a:00:00:01"), maker("?")
    ('NVIDIA Corporation', '', '')
    """
    if NETADDR_MISSING:
        return ""
    try:
        return str(EUI(mac).oui.registration()["org"])
    except (NotRegisteredError, AddrFormatError, ValueError, TypeError):
        return ""


# ---- all of it together


def candidates(
    sightings: Iterable[Sighting], own: Mapping[str, str] | None = None, here: str = ""
) -> tuple[list[Candidate], int]:
    """Merge what was seen of each machine. Return the machines, the likeliest first, and how many were left out.

    A neighbour that nothing else tells of, and whose network device is not of NVIDIA, is left out.

    :param own: the network device of each address of this machine. :param here: its host name, if it is a Spark.
    """
    mine = dict(own or {})
    groups: list[list[Sighting]] = [_of_this_machine(mine, here)] if here else []
    for one in sorted(sightings, key=lambda sighting: ORDER.index(sighting.source)):
        if one.address in mine:
            if here and not INNER_DEVICE.fullmatch(mine[one.address]):
                groups[0].append(replace(one, source=HERE))
            continue
        same = [group for group in groups if any(_same(one, other) for other in group)]
        merged = [sighting for group in same for sighting in group]
        groups = [group for group in groups if group not in same] + [[*merged, one]]
    found = [_candidate(group, mine) for group in groups if group]
    shown = [one for one in found if one.likely or one.sources != (NEIGHBOUR,)]
    return sorted(shown, key=_rank), len(found) - len(shown)


def _of_this_machine(own: Mapping[str, str], name: str) -> list[Sighting]:
    return [
        Sighting(HERE, address, label(name), device=device)
        for address, device in own.items()
        if _is_routable(address) and not INNER_DEVICE.fullmatch(device)
    ]


def _same(one: Sighting, other: Sighting) -> bool:
    return one.address.lower() == other.address.lower() or bool(one.name and one.name == other.name)


def _candidate(group: Sequence[Sighting], own: Mapping[str, str]) -> Candidate:
    best = sorted(group, key=_fitness)
    addresses = list(dict.fromkeys(one.address for one in best))
    names = [one.name for one in group if one.name]
    made_by = next(filter(None, (maker(one.mac) for one in group if one.mac)), "")
    sources = tuple(source for source in ORDER if any(one.source == source for one in group))
    name = names[0] if names else ""
    return Candidate(
        address=addresses[0],
        name=name,
        further=tuple(addresses[1:]),
        port=best[0].port,
        user=next((one.user for one in group if one.user), ""),
        identity=next((one.identity for one in group if one.identity), ""),
        maker=made_by,
        sources=sources,
        likely=bool({HERE, SYNC} & set(sources) or LIKELY_NAME.search(name) or LIKELY_MAKER.search(made_by)),
        here=HERE in sources,
    )


def _fitness(one: Sighting) -> tuple[bool, bool, bool, tuple[int, int, str]]:
    """How well a machine is managed by an address, the best first: not the fabric's, no name, and IPv4."""
    fabric = bool(FABRIC_DEVICE.fullmatch(one.device))
    return fabric, not _is_ip(one.address), not _is_ipv4(one.address), _number(one.address)


def _number(address: str) -> tuple[int, int, str]:
    if not _is_ip(address):
        return 0, 0, address
    one = ipaddress.ip_address(address)
    return one.version, int(one), ""


def _rank(one: Candidate) -> tuple[bool, int, str, tuple[int, int, str]]:
    return not one.likely, ORDER.index(one.sources[0]), one.name, _number(one.address)


def table(found: Sequence[Candidate]) -> list[str]:
    """Candidates as lines, numbered from 1."""
    rows = [
        (f"{number}", one.name or "?", one.address, ", ".join([*one.sources, *([one.maker] if one.maker else [])]))
        for number, one in enumerate(found, 1)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)] if rows else []
    return [
        "  ".join([row[0].rjust(widths[0]), row[1].ljust(widths[1]), row[2].ljust(widths[2]), row[3]]).rstrip()
        for row in rows
    ]
