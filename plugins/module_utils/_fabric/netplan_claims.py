# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others configure on the fabric's netdevs, read from the files that netplan's generator makes of theirs.

netplan merges its files by ID, resolves ``match``, takes booleans in many spellings, and hands NetworkManager settings
through that it does not know itself. Its generator knows all of that; what it writes for networkd and NetworkManager is
read here. Profiles that NetworkManager keeps outside netplan are read alike.

This module util is private to the collection.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Any, Iterable, Mapping, NamedTuple, Sequence, Tuple
from urllib.parse import unquote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan import NETPLAN

PROFILES = "/etc/NetworkManager/system-connections"  # those of NetworkManager's own
MASTERS = {"Bond", "Bridge", "VRF", "BatmanAdvanced"}
UPPERS = {"VLAN", "VXLAN", "MACVLAN", "MACVTAP", "IPVLAN", "IPVTAP", "IPoIB", "Tunnel", "MACsec"}
ALIASES = {"802-3-ethernet": "ethernet"}  # sections of NetworkManager's that have two names
OVERS = {"vlan", "vxlan", "macvlan", "ipvlan", "macsec", "ip-tunnel", "6lowpan"}  # sections of NetworkManager's
RIVAL = "other settings, which NetworkManager may take instead of the fabric's"
_NETWORKD = re.compile(r"(?:.*/)?10-netplan-(?P<id>.+)\.(?P<kind>network|link)")
_PROFILE = re.compile(r"(?:.*/)?(?:netplan-)?(?P<id>.+)\.nmconnection")
_KEYS = {"dhcp4:": "dhcp4", "dhcp6:": "dhcp6", "routes": "routes", "MTU": "mtu", "link-local": "link-local"}
_NUMBERED = re.compile(r"(?P<what>address|addresses|route)\d*")

Setting = Tuple[str, str, str]  # section, key, value


class Unit(NamedTuple):
    """One generated file, or a profile of NetworkManager's own."""

    path: str
    id: str  # netplan's
    kind: str  # network, link or profile
    settings: list[Setting]

    def all(self, section: str, *keys: str) -> list[str]:
        """Return the values of these keys in a section, in their order."""
        return [value for where, key, value in self.settings if where == section and key in keys]

    def one(self, section: str, *keys: str) -> str:
        """Return the last value of these keys in a section, empty for none."""
        return (self.all(section, *keys) or [""])[-1]


class Claim(NamedTuple):
    """One thing that is configured on a netdev."""

    words: str
    about: tuple[str, ...]  # the IDs that say so; the file that has one of them is meant, the first of them first
    address: str = ""
    mtu: int | None = None
    yields: bool = False  # whether the fabric's own file has the last word where it comes after that file
    every_port: str = ""  # the name of a profile that matches each port there is
    renderer: str = "networkd"  # which reads it
    wide: bool = False  # whether it may be for other ports too


def find_conflicts(
    generated: Mapping[str, str],
    documents: Mapping[str, Any],
    own: str,
    links: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return what files other than ``own`` configure on the links' netdevs.

    :param generated: by path, the files that netplan's generator made of all its files, ``own`` replaced by
        :func:`placeholder`; and the profiles of NetworkManager's own. :param documents: by path, the YAML of netplan's
        files, which says whose ID is whose. :param links: ``netdev``, ``mac``, and ``driver`` and ``path`` (as udev
        calls its place), null where unknown.
    :returns: ``path``, ``netdev``, ``sets`` (in words), ``addresses``, ``mtu``, ``every_port``, ``renderer`` and
        ``shared`` (whether the file configures, or may configure, other ports too) of each conflict.
    """
    units = [unit for path, text in sorted(generated.items()) for unit in [read_unit(path, text)] if unit]
    places = _places(documents, own)
    conflicts: dict[tuple[str, str], list[Claim]] = {}
    for link in links:
        for claim in claims(units, link):
            for path in _paths(claim, places, link["netdev"]):
                if not (claim.yields and claim.about[0] == link["netdev"] and _name(path) <= _name(own)):
                    conflicts.setdefault((path, link["netdev"]), []).append(claim)
    order = {link["netdev"]: number for number, link in enumerate(links)}
    known: dict[str, set[str]] = {}
    for (path, _netdev), found in conflicts.items():
        known.setdefault(path, set()).update(one for claim in found for one in claim.about)
    return [
        {
            "path": path,
            "netdev": netdev,
            "sets": list(dict.fromkeys(claim.words for claim in found)),
            "addresses": list(dict.fromkeys(claim.address for claim in found if claim.address)),
            "mtu": next((claim.mtu for claim in found if claim.mtu), None),
            "every_port": next((claim.every_port for claim in found if claim.every_port), None),
            "renderer": next((claim.renderer for claim in found if claim.every_port), found[0].renderer),
            "shared": any(claim.wide for claim in found) or _has_more(documents.get(path), known[path] | set(order)),
        }
        for (path, netdev), found in sorted(conflicts.items(), key=lambda item: (item[0][0], order[item[0][1]]))
    ]


def renderers(generated: Mapping[str, str], netdevs: Iterable[str]) -> dict[str, str]:
    """Return which renderer netplan gives each netdev to, ``networkd`` or ``NetworkManager``, by its placeholder."""
    names = {_name(path) for path in generated if not path.startswith(PROFILES)}
    return {netdev: "NetworkManager" if f"netplan-{netdev}.nmconnection" in names else "networkd" for netdev in netdevs}


def read_unit(path: str, text: str) -> Unit | None:
    """Read one file; None where it configures no netdev (udev's rules, drop-ins)."""
    networkd, profile = _NETWORKD.fullmatch(path), _PROFILE.fullmatch(path)
    if networkd:
        return Unit(path, networkd["id"], networkd["kind"], _settings(text))
    return Unit(path, unquote(profile["id"]), "profile", _settings(text)) if profile else None


def _settings(text: str) -> list[Setting]:
    found, section = [], ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = ALIASES.get(line[1:-1], line[1:-1])
        elif "=" in line and not line.startswith(("#", ";")):
            key, _equals, value = line.partition("=")
            found.append((section, key.strip(), value.strip()))
    return found


# ---- which netdevs a unit is for


def matches(unit: Unit, link: Mapping[str, Any], name: str) -> bool | None:
    """Tell whether a unit is for a netdev that will be called ``name``; None where its driver, unknown, would tell."""
    if unit.kind == "profile":
        return _profile_matches(unit, link, name)
    about = {"Name": name, "OriginalName": link["netdev"], "Driver": link.get("driver"), "Type": "ether"}
    parts = [_listed(value, text) for key, text in about.items() for value in unit.all("Match", key)]
    parts += [False for _value in unit.all("Match", "WLANInterfaceType", "SSID")]
    parts += [
        str(link["mac"]).lower() in value.lower().split()
        for value in unit.all("Match", "MACAddress", "PermanentMACAddress")
    ]
    return _every(parts)


def _profile_matches(unit: Unit, link: Mapping[str, Any], name: str) -> bool | None:
    if unit.one("connection", "type") not in ("ethernet", "802-3-ethernet"):
        return False
    parts: list[bool | None] = [wanted == name for wanted in unit.all("connection", "interface-name")]
    parts += [_globs(_list(value), link["netdev"]) for value in unit.all("match", "interface-name")]
    parts += [_globs(_list(value), link.get("driver")) for value in unit.all("match", "driver")]
    parts += [_globs(_list(value), link.get("path")) for value in unit.all("match", "path")]
    denied = unit.all("ethernet", "mac-address-denylist", "mac-address-blacklist")
    parts += [str(link["mac"]).lower() not in map(str.strip, value.lower().split(";")) for value in denied]
    parts += [mac.lower() == str(link["mac"]).lower() for mac in unit.all("ethernet", "mac-address") if mac]
    return _every(parts)


def _every(parts: Sequence[bool | None]) -> bool | None:
    return False if False in parts else None if None in parts else True


def _listed(value: str, text: str | None) -> bool | None:
    """Tell whether one of networkd's patterns matches, or none of a list that begins with an exclamation mark."""
    found = _globs(value.lstrip("!").split(), text)
    return not found if value.startswith("!") and found is not None else found


def _globs(patterns: Sequence[str], text: str | None) -> bool | None:
    """Tell whether one of the patterns matches, and none of those that begin with an exclamation mark."""
    wanted = [one for one in patterns if not one.startswith("!")]
    unwanted = [one[1:] for one in patterns if one.startswith("!")]
    if text is None:
        return None if patterns else True
    hit = not wanted or any(fnmatch.fnmatchcase(text, one) for one in wanted)
    return hit and not any(fnmatch.fnmatchcase(text, one) for one in unwanted)


def _list(value: str) -> list[str]:
    return [one.lstrip("|&") for one in value.split(";") if one]


def _selects(unit: Unit) -> bool:
    """Tell whether a unit says for which ports it is."""
    if unit.kind == "profile":
        names = unit.all("connection", "interface-name") + unit.all("match", "interface-name", "driver", "path")
        return any(names + unit.all("ethernet", "mac-address"))
    return bool(set(unit.all("Match", "Name", "OriginalName", "MACAddress", "PermanentMACAddress", "Driver")) - {"*"})


# ---- what it says of them


def claims(units: Sequence[Unit], link: Mapping[str, Any]) -> list[Claim]:
    """Return all that the units configure on a netdev, beyond what the placeholder alone makes of it."""
    netdev, found = link["netdev"], []
    by_networkmanager = any(unit.kind == "profile" and _is_own(unit, netdev) for unit in units)
    renaming = [unit for unit in units if unit.kind == "link" and matches(unit, link, netdev)]
    names = {unit.id: unit.one("Link", "Name") for unit in renaming}
    for unit in units:
        mine = _is_own(unit, netdev)
        hit = matches(unit, link, names.get(unit.id) or netdev)
        if mine and unit.kind != "link" and not (hit and _is_for_it_alone(unit, netdev)):
            found.append(Claim(f"another match for {netdev}", (netdev,)))
        if hit is False or _is_copy(unit, netdev) or (unit.kind == "profile" and not mine and _never_started(unit)):
            continue
        if unit.path.startswith(PROFILES) and not by_networkmanager:
            continue  # netplan has its rules for udev tell NetworkManager to leave the port alone
        said = _profile(unit, units) if unit.kind == "profile" else _networkd(unit)
        first = unit.kind == "network" and _name(unit.path) < f"10-netplan-{netdev}.network"
        said = [claim for claim in said if claim.words != f"the name {netdev}"]
        if first and not mine and not said and names.get(unit.id) in (None, "", netdev):
            said = [Claim("other settings, which networkd takes instead of the fabric's", (unit.id,))]
        elif by_networkmanager and not mine and not said and names.get(unit.id) in (None, "", netdev):
            said = [Claim(RIVAL, (unit.id,))] if _may_go_before(unit, units, netdev) else []
        if said and hit is None:
            kinds = " ".join(unit.all("Match", "Driver") + unit.all("match", "driver", "path"))
            said.append(Claim(f"if its driver or path is {kinds}, which this host does not tell", (unit.id,)))
        if said and not mine and not _selects(unit):
            said = [claim._replace(every_port=unit.one("connection", "id") or unit.id) for claim in said]
        wide = not mine and not _is_for_it_alone(unit, netdev)
        said = [claim._replace(renderer=_renderer(unit), wide=wide) for claim in said]
        found += [claim._replace(about=(unit.path,)) if unit.path.startswith(PROFILES) else claim for claim in said]
    bases = [unit for unit in units if unit.kind == "profile" and matches(unit, link, netdev) is not False]
    return found + _uppers(units, bases, link)


def _is_for_it_alone(unit: Unit, netdev: str) -> bool:
    """Tell whether a unit that matches a netdev matches no other."""
    names = unit.all("Match", "Name", "OriginalName") + unit.all("connection", "interface-name")
    names += [name for value in unit.all("match", "interface-name") for name in _list(value)]
    macs = unit.all("Match", "MACAddress", "PermanentMACAddress") + unit.all("ethernet", "mac-address")
    return netdev in names or any(macs)


def _renderer(unit: Unit) -> str:
    return "NetworkManager" if unit.kind == "profile" else "networkd"


def _is_own(unit: Unit, netdev: str) -> bool:
    """Tell whether netplan made this of the ID that the fabric's own file has, too."""
    return unit.id == netdev and not unit.path.startswith(PROFILES)


def _never_started(unit: Unit) -> bool:
    """Tell whether NetworkManager starts a profile by hand alone. That of a bond's port the bond may start."""
    by_hand = unit.one("connection", "autoconnect") in ("false", "0")
    return by_hand and not unit.one("connection", "master", "controller")


def _may_go_before(unit: Unit, units: Sequence[Unit], netdev: str) -> bool:
    """Tell whether NetworkManager may start a profile in place of the fabric's: of two alike, the one it started last.

    A profile for what is over the netdev is told by that.
    """
    if unit.kind != "profile" or any(_parent(upper) == _uuid(unit) != "" for upper in units):
        return False
    own = max((_priority(one) for one in units if one.kind == "profile" and _is_own(one, netdev)), default=0)
    return _priority(unit) >= own


def _priority(unit: Unit) -> int:
    try:
        return int(unit.one("connection", "autoconnect-priority"))
    except ValueError:
        return 0


def _is_copy(unit: Unit, netdev: str) -> bool:
    """Tell whether this is a copy that NetworkManager made of a profile of netplan's, which netplan's goes before."""
    return unit.path.startswith(PROFILES) and unit.one("connection", "id") == f"netplan-{netdev}"


def _networkd(unit: Unit) -> list[Claim]:
    about = (unit.id,)
    addresses = unit.all("Network", "Address") + unit.all("Address", "Address")
    found = [Claim(f"address {address}", about, address=address) for address in addresses]
    dhcp = unit.one("Network", "DHCP").lower()
    found += [Claim("dhcp4: true", about)] if dhcp in ("yes", "true", "ipv4", "both") else []
    found += [Claim("dhcp6: true", about)] if dhcp in ("yes", "true", "ipv6", "both") else []
    if unit.all("Network", "Gateway") or any(section == "Route" for section, _key, _value in unit.settings):
        found.append(Claim("routes", about))
    for section, key, value in unit.settings:
        if section == "Network" and key in MASTERS:
            found.append(Claim(f"a part of {value}", (value, unit.id)))
        elif section == "Network" and key in UPPERS:
            found.append(Claim(f"the link of {value}", (value, unit.id)))
        elif (section, key) == ("Link", "Name"):
            found.append(Claim(f"the name {value}", about))
        elif (section, key) == ("Link", "MTUBytes") and value.isdecimal():
            found.append(Claim(f"MTU {value}", about, mtu=int(value), yields=True))
        elif (section, key) == ("Link", "ActivationPolicy"):
            found.append(Claim(f"activation {value}", about))
        elif (section, key) == ("Network", "LinkLocalAddressing") and value.lower() in ("ipv4", "yes", "true"):
            found.append(Claim("link-local addresses", about, yields=True))
    return found


def _profile(unit: Unit, units: Sequence[Unit]) -> list[Claim]:
    about, found = (unit.id,), []
    master = unit.one("connection", "master", "controller")
    if master:
        name = next((one.one("connection", "interface-name") for one in units if _uuid(one) == master), "") or master
        found.append(Claim(f"a part of {name}", (name, unit.id)))
    for family, dhcp in (("ipv4", "dhcp4: true"), ("ipv6", "dhcp6: true")):
        method = unit.one(family, "method")
        if method == "auto":
            found.append(Claim(dhcp, about))
        elif method in ("shared", "dhcp"):
            found.append(Claim(f"{family}.method {method}", about))
        for section, key, value in unit.settings:
            numbered = _NUMBERED.fullmatch(key) if section == family else None
            if numbered and numbered["what"] == "route":
                found.append(Claim("routes", about))
            elif numbered:
                given = [one.split(",")[0].strip() for one in value.split(";") if one.strip()]
                found += [Claim(f"address {address}", about, address=address) for address in given]
        found += [Claim("routes", about)] if unit.one(family, "gateway") else []
    mtu = unit.one("ethernet", "mtu")
    if mtu.isdecimal() and int(mtu):
        found.append(Claim(f"MTU {mtu}", about, mtu=int(mtu), yields=True))
    if unit.one("connection", "autoconnect") == "false":
        found.append(Claim("activation manual", about))
    return found


def _uuid(unit: Unit) -> str:
    return unit.one("connection", "uuid")


def _uppers(units: Sequence[Unit], bases: Sequence[Unit], link: Mapping[str, Any]) -> list[Claim]:
    """Return the VLANs and the like over a netdev, which to NetworkManager are profiles of their own.

    They name the netdev, or one of ``bases``, the profiles for it. NetworkManager makes them over a netdev of
    networkd's, too.
    """
    found = []
    for upper in (unit for unit in units if unit.kind == "profile" and not _never_started(unit)):
        parent = _parent(upper)
        below = [unit.id for unit in bases if parent and parent == _uuid(unit)]
        by_mac = not parent and upper.one("connection", "type") == "vlan" and _has_mac(upper, link)
        if parent == link["netdev"] or below or by_mac:
            about = (upper.path,) if upper.path.startswith(PROFILES) else (upper.id, *below)
            name = upper.one("connection", "interface-name") or upper.id
            found.append(Claim(f"the link of {name}", about, renderer=_renderer(upper)))
    return found


def _parent(unit: Unit) -> str:
    return next((value for section, key, value in unit.settings if section in OVERS and key == "parent"), "")


def _has_mac(unit: Unit, link: Mapping[str, Any]) -> bool:
    return str(link["mac"]).lower() in map(str.lower, unit.all("ethernet", "mac-address"))


# ---- whose it is


def placeholder(netdevs: Iterable[str]) -> dict[str, Any]:
    """Return a document that stands for the fabric's own file: its IDs, which other files may name, and no settings.

    Like the real one it asks for no DHCP, because netplan merges by ID: a file that comes before it, such as an
    installer's that names all ports, has no say in that any more.
    """
    off = {"dhcp4": False, "dhcp6": False}
    return {"network": {"version": 2, "ethernets": {netdev: dict(off) for netdev in netdevs}}}


def _has_more(document: Any, known: Iterable[str]) -> bool:
    """Tell whether a file of netplan's configures more than what is known: other IDs, or the renderer of all."""
    network = document.get("network") if isinstance(document, dict) else None
    entries = network.values() if isinstance(network, dict) else []
    ids = {str(name) for entry in entries if isinstance(entry, dict) for name in entry}
    return bool(ids - set(known)) or (isinstance(network, dict) and "renderer" in network)


def _places(documents: Mapping[str, Any], own: str) -> dict[str, dict[str, Any]]:
    """Return, by ID, what each file says of it."""
    places: dict[str, dict[str, Any]] = {}
    for path, document in sorted(documents.items()):
        network = document.get("network") if isinstance(document, dict) else None
        for entries in network.values() if isinstance(network, dict) and path != own else []:
            for name, entry in entries.items() if isinstance(entries, dict) else []:
                places.setdefault(str(name), {})[path] = entry
    return places


def _paths(claim: Claim, places: Mapping[str, Mapping[str, Any]], netdev: str) -> list[str]:
    """Return the files of a claim. One that is in no document, which may be unreadable, is netplan's as a whole."""
    if claim.about[0].startswith(PROFILES):
        return [claim.about[0]]
    files = next((places[one] for one in (*claim.about, netdev) if one in places), {NETPLAN: None})
    # Several files may define one ID: those are meant that have the setting.
    word = claim.address or _KEYS.get(claim.words.split()[0], "")
    return [path for path, entry in files.items() if word and word in str(entry)] or list(files)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
