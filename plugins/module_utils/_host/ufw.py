# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of the firewall ufw that are recognised by their comment.

A rule is here what ``ufw show added`` writes of it, without ``ufw`` and the comment: ``allow 22/tcp``.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from pathlib import Path
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import ROOT, is_text_list, read_note

_LINE = re.compile(r"ufw (?P<rule>.+?)(?: comment '(?P<comment>.*)')?")
_ENABLED = re.compile(
    r"""\s*(?:export\s+)?ENABLED=(?P<quote>["']?)(?P<value>\w*)(?P=quote)\s*(?:#.*)?$""", re.ASCII | re.IGNORECASE
)
CONF = "/etc/ufw/ufw.conf"  # says whether ufw is enabled
NOTE = f"{ROOT}/ufw.json"  # by comment, the rules that were written with it
LOST = " (lost)"  # behind the comment of a rule of ours that has it no more
_LOGS = ("log", "log-all")


class UfwError(ValueError):
    """The rules cannot be as they are wanted; the message names one and the mend."""


class Line(NamedTuple):
    """A rule that is there, and its comment, empty for none."""

    rule: str
    comment: str


class _Packets(NamedTuple):
    """What a rule is about; places are None for any, ports and the rest empty."""

    netdev: str
    source: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    source_ports: str
    target: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    ports: list[tuple[int, int]]
    proto: str


class Steps(NamedTuple):
    """What makes the rules that are there those that are wanted, in this order."""

    removed: list[str]
    added: list[str]
    marked: Sequence[str] = ()  # rules that get their comment back, in their place


def enabled(conf: str) -> bool:
    """Whether ``ufw.conf`` says that the firewall is on, read as ufw 0.36.2 reads it: the last line counts.

    Both its ``_get_defaults`` and the shell, which sources the file at boot, take the value in quotes as well.

    >>> enabled("# comment\\nENABLED=yes\\nLOGLEVEL=low\\n"), enabled("ENABLED='yes'"), enabled("ENABLED=no")
    (True, True, False)
    """
    said = [match["value"].lower() for match in map(_ENABLED.match, conf.splitlines()) if match]
    return said[-1:] == ["yes"]


def is_enabled(conf: Path = Path(CONF)) -> bool:
    """Whether the firewall of this host is on. :param conf: the path of ``ufw.conf``, which need not be there."""
    try:
        return enabled(conf.read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UfwError(
            f"{conf} cannot be read ({error.strerror}), so that it is not known whether ufw is on: correct it, or "
            "install ufw again"
        ) from None


def parse(shown: str) -> list[Line]:
    """Return the rules that ``ufw show added`` lists, in their order.

    >>> parse("Added user rules (see 'ufw status' for running firewall):\\nufw allow 22/tcp comment 'me'\\n")
    [Line(rule='allow 22/tcp', comment='me')]
    """
    found = (_LINE.fullmatch(line) for line in shown.splitlines())
    return [Line(match["rule"], match["comment"] or "") for match in found if match]


def recall(shown: str, note: str = NOTE) -> str:
    """Return what ``ufw show added`` printed, rules of ours that have lost their comment with it and ``LOST``.

    ufw 0.36.2 takes a rule's comment away where somebody types the rule again without it; the note tells it from a rule
    that somebody else had before.
    """
    try:
        noted = read_note(note, {}, is_text_list)
    except ValueError:
        noted = {}
    ours = {f"ufw {rule}": comment for comment, rules in noted.items() for rule in rules}
    return "".join(
        f"{line} comment '{ours[line]}{LOST}'\n" if line in ours else f"{line}\n" for line in shown.splitlines()
    )


def _known(there: Iterable[Line]) -> tuple[list[Line], set[str]]:
    """Return the rules with their comments, the lost ones too, and which have lost theirs."""
    lost = {line.rule for line in there if line.comment.endswith(LOST)}
    return [line._replace(comment=line.comment[: -len(LOST)]) if line.rule in lost else line for line in there], lost


def lost_rules(there: Iterable[Line]) -> set[str]:
    """Return the rules of ours that have lost their comment."""
    return _known(list(there))[1]


def place(text: str) -> str:
    """Return an address or a network as ufw writes it; ``any`` for all.

    >>> place("10.1.2.3/24"), place("10.1.2.3/32"), place("FD00::/8"), place("any")
    ('10.1.2.0/24', '10.1.2.3', 'fd00::/8', 'any')
    """
    if text == "any":
        return text
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise UfwError(f"{text!r} is no address and no network: write 192.168.1.21, 192.168.1.0/24 or any") from None
    if not network.prefixlen:
        raise UfwError(f"{text!r} means everything of one kind, which ufw lists as that of both: write any")
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def write(rule: str, netdev: str, source: str, target: str, port: int, proto: str) -> str:
    """Return a rule as ufw would list it: netdev and protocol may be empty, the port 0, and the places ``any``.

    >>> write("allow", "", "any", "any", 22, "tcp"), write("allow", "eth0", "10.0.0.2", "any", 0, "")
    ('allow 22/tcp', 'allow in on eth0 from 10.0.0.2')
    >>> write("allow", "", "10.0.0.2", "any", 22, "tcp"), write("deny", "", "any", "10.0.0.1", 0, "")
    ('allow from 10.0.0.2 to any port 22 proto tcp', 'deny to 10.0.0.1')
    """
    if source == target == "any" and port and not netdev:
        return f"{rule} {port}/{proto}" if proto else f"{rule} {port}"
    words = [rule]
    if netdev:
        words.append(f"in on {netdev}")
    if source != "any":
        words.append(f"from {source}")
    if target != "any" or port or len(words) == 1:
        words.append(f"to {target}")
    if port:
        words.append(f"port {port}")
    if proto:
        words.append(f"proto {proto}")
    return " ".join(words)


_WRITTEN = re.compile(
    r"(?P<rule>allow|deny)"
    r"(?: (?P<alone>\d+)(?:/(?P<proto_alone>\w+))?"
    r"|(?: in on (?P<netdev>\S+))?(?: from (?P<source>\S+))?(?: to (?P<target>\S+))?"
    r"(?: port (?P<port>\d+))?(?: proto (?P<proto>\w+))?)"
)


def told(text: str) -> dict[str, Any]:
    """Return a rule that :func:`write` has made in the words that :func:`spread` takes; empty for any other rule.

    >>> spread(told("allow from 10.0.0.2 to any port 22 proto tcp")), told("limit 22/tcp")
    (['allow from 10.0.0.2 to any port 22 proto tcp'], {})
    """
    found = _WRITTEN.fullmatch(text)
    if not found:
        return {}
    said = found.groupdict()
    port = said["port"] or said["alone"]
    return {
        "rule": said["rule"],
        **({"interface_in": said["netdev"]} if said["netdev"] else {}),
        "from_ip": [said["source"] or "any"],
        "to_ip": [said["target"] or "any"],
        **({"to_port": [int(port)]} if port else {}),
        **({"proto": said["proto"] or said["proto_alone"]} if said["proto"] or said["proto_alone"] else {}),
    }


def spread(wanted: Mapping[str, Any]) -> list[str]:
    """Return the rules for every pair of places and every port.

    :param wanted: ``rule``, ``interface_in`` and ``proto``, each or None; lists ``from_ip``, ``to_ip`` and ``to_port``.

    >>> spread({"rule": "allow", "from_ip": ["10.0.0.2"], "to_ip": ["any"], "to_port": [1, 2], "proto": "udp"})
    ['allow from 10.0.0.2 to any port 1 proto udp', 'allow from 10.0.0.2 to any port 2 proto udp']
    """
    return [
        write(
            wanted["rule"],
            wanted.get("interface_in") or "",
            place(source),
            place(target),
            port,
            wanted.get("proto") or "",
        )
        for source, target, port in itertools.product(wanted["from_ip"], wanted["to_ip"], wanted.get("to_port") or [0])
    ]


def steps(there: Sequence[Line], wanted: Iterable[str], comment: str, *, first: bool = False) -> Steps:
    """Return what to take away and what to add, so that exactly the wanted rules carry the comment.

    With ``first`` the rules come before all others, in their order, and are to be added from the last to the first,
    each to the front. A rule of another owner that does the same counts as wanted, and stays, whether it logs or not.

    :raises UfwError: where another owner's rule has to go before.

    >>> steps([Line("allow 1", "us"), Line("allow 2", "")], ["allow 2", "allow 3"], "us")
    Steps(removed=['allow 1'], added=['allow 3'], marked=[])
    """
    rules = list(dict.fromkeys(wanted))
    there, lost = _known(there)
    ours = [line.rule for line in there if line.comment == comment]
    theirs = {_subject(line.rule): line.rule for line in there if line.comment != comment}
    for rule in rules:
        other = theirs.get(_subject(rule))
        if other and (first or _action(other) != _action(rule)):
            where = " before all others" if first else ""
            raise UfwError(
                f"ufw has the rule '{other}' of another owner, and '{rule}' is needed{where}. Nothing was changed. "
                f"Delete that rule (ufw delete {other})"
            )
    if not first:
        _refuse_void(there, rules, comment)
    rules = [rule for rule in rules if _subject(rule) not in theirs]
    if first:
        if [line.rule for line in there[: len(rules)]] == rules and len(ours) == len(rules):
            return Steps([], [], [rule for rule in rules if rule in lost])
        kept = _tail(there, rules, comment)
        marked = [rule for rule in kept if rule in lost]
        return Steps([rule for rule in ours if rule not in kept], rules[: len(rules) - len(kept)], marked)
    marked = [rule for rule in rules if rule in lost]
    return Steps([rule for rule in ours if rule not in rules], [rule for rule in rules if rule not in ours], marked)


def absent(there: Iterable[Line], unwanted: Iterable[str], comment: str) -> Steps:
    """Return which of the unwanted rules there are with the comment."""
    rules, there = set(unwanted), _known(list(there))[0]
    return Steps([line.rule for line in there if line.comment == comment and line.rule in rules], [])


def after(there: Sequence[Line], todo: Steps, comment: str, *, first: bool = False) -> list[str]:
    """Return the rules with the comment, as they are once the steps are taken."""
    there = _known(there)[0]
    kept = [line.rule for line in there if line.comment == comment and line.rule not in todo.removed]
    return todo.added + kept if first else kept + todo.added


def difference(there: Sequence[Line], todo: Steps, comment: str, *, first: bool = False) -> tuple[str, str]:
    """Return the rules with the comment as texts, before the steps and after.

    >>> difference([Line("allow 1", "us")], Steps([], ["allow 2"]), "us")
    ('allow 1\\n', 'allow 1\\nallow 2\\n')
    """
    now = [line for line in there if not line.comment.endswith(LOST)]
    return text_of(after(now, Steps([], []), comment)), text_of(after(there, todo, comment, first=first))


def _tail(there: Sequence[Line], rules: Sequence[str], comment: str) -> list[str]:
    """Return the last of the rules, as many as stand in front already once the rest of ours is gone."""
    for count in range(len(rules), 0, -1):
        tail = list(rules[-count:])
        front = [line for line in there if line.comment != comment or line.rule in tail]
        if [line.rule for line in front[:count]] == tail:
            return tail
    return []


def _refuse_void(there: Sequence[Line], rules: Iterable[str], comment: str) -> None:
    """Refuse rules that let in what a rule in front of them keeps out: of all that fit a packet, ufw takes the first.

    :raises UfwError: naming that rule.
    """
    known = [(line, _packets(line.rule)) for line in there]
    for rule in rules:
        wanted = _packets(rule)
        if wanted is None or _action(rule) != "allow":
            continue
        for line, packets in known:
            if _subject(line.rule) == _subject(rule):
                break
            if line.comment == comment or packets is None or not _covers(packets, wanted):
                continue
            if _action(line.rule) in ("deny", "reject"):
                raise UfwError(
                    f"ufw has the rule '{line.rule}' of another owner before '{rule}', which has no effect then. "
                    f"Nothing was changed. Delete that rule (ufw delete {line.rule}), run this again, and then add it "
                    "again, so that it comes last, where it is meant for all others"
                )
            break


def _packets(rule: str) -> _Packets | None:
    """Return what comes in that a rule is about, None for another direction or a form that is not known."""
    words = _subject(rule).split()
    if rule.startswith("route ") or not words:
        return None
    if len(words) > 1 and words[0] == "in" and words[1] != "on":
        words.pop(0)
    if len(words) == 1:
        ports, _slash, proto = words[0].partition("/")
        found = {"to port": ports, "proto": proto}
    else:
        found = {}
        words = _words_of_pairs(words)
        if len(words) % 2:
            return None
        side = "to"
        for key, value in zip(words[::2], words[1::2]):
            side = key if key in ("from", "to") else side
            found[f"{side} port" if key == "port" else key] = value
    if not found.keys() <= {"in on", "from", "from port", "to", "to port", "proto"}:
        return None
    try:
        return _Packets(
            found.get("in on", ""),
            _network(found.get("from", "any")),
            found.get("from port", ""),
            _network(found.get("to", "any")),
            _ranges(found.get("to port", "")),
            found.get("proto", ""),
        )
    except ValueError:
        return None


def _words_of_pairs(words: Sequence[str]) -> list[str]:
    """Return words with ``in on`` and ``out on`` as one."""
    joined: list[str] = []
    for word in words:
        if word == "on" and joined[-1:] in (["in"], ["out"]):
            joined[-1] += " on"
        else:
            joined.append(word)
    return joined


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    return None if text == "any" else ipaddress.ip_network(text, strict=False)


def _ranges(text: str) -> list[tuple[int, int]]:
    """Return ports, in ufw's form, as ranges.

    >>> _ranges("22,6000:6007"), _ranges("")
    ([(22, 22), (6000, 6007)], [])
    """
    ends = [part.split(":") for part in text.split(",")] if text else []
    return [(int(first), int(last)) for first, last in ((part[0], part[-1]) for part in ends)]


def _covers(packets: _Packets, others: _Packets) -> bool:
    """Whether each of the other packets is one of these."""
    return (
        packets.netdev in ("", others.netdev)
        and packets.proto in ("", others.proto)
        and packets.source_ports in ("", others.source_ports)
        and _within(others.source, packets.source)
        and _within(others.target, packets.target)
        and (not packets.ports or bool(others.ports))
        and all(
            not packets.ports or any(first <= low and high <= last for first, last in packets.ports)
            for low, high in others.ports
        )
    )


def _within(inner: Any, outer: Any) -> bool:
    if outer is None:
        return True
    return inner is not None and inner.version == outer.version and inner.subnet_of(outer)


def _action(rule: str) -> str:
    return rule.split()[0]


def _subject(rule: str) -> str:
    """What a rule is about, whatever it does with that: ufw keeps one rule for each."""
    return " ".join(word for word in rule.split()[1:] if word not in _LOGS)
