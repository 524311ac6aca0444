# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A status as lines for a terminal: what is wrong, then the Sparks, what they serve, the links. Pure functions.

A line carries the class that it is coloured by; the colours themselves are Ansible's, which the user configured.

This plugin util is private to the collection.
"""

from __future__ import annotations

import textwrap
import time
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import history
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status import judge

WIDTH = 140  #: where there is no terminal
LEAST = 40
GOOD = "good"  #: the class of what serves
UNTOLD = "-"


class Line(NamedTuple):
    """One line. :param severity: a class of the judge, ``good``, or empty."""

    text: str
    severity: str = ""


class Column(NamedTuple):
    """A column. :param keep: those with the lowest are left out first where it is narrow; 9 never is."""

    head: str
    keep: int
    of: Callable[[Mapping[str, Any]], str]
    right: bool = False


def lines(document: Mapping[str, Any], width: int = WIDTH) -> list[Line]:
    """All lines of a status, none wider than the terminal."""
    width = max(LEAST, width)
    found = [summary(document)]
    for one in _together(document["anomalies"]):
        found += _anomaly(one, width)
    worst = _worst(document["anomalies"], "host")
    found += [Line(""), *_table("SPARKS", HOSTS, document["hosts"], width, lambda one: worst.get(one["name"], ""))]
    for one in document["instances"]:
        found += [Line(""), *_instance(one, document["at"], width, _worst(document["anomalies"], "instance"))]
    for one in document["gateways"]:
        found += [Line(""), *_gateway(one, width, _worst(document["anomalies"], "instance"))]
    if document["swarm"] and document["swarm"]["nodes"]:
        nodes = document["swarm"]["nodes"]
        found += [Line(""), *_table("SWARM", NODES, nodes, width, lambda one: worst.get(one["hostname"], ""))]
    links = [{**link, "host": host["name"]} for host in document["hosts"] for link in host["links"]]
    if links:
        found += [Line(""), *_table("LINKS", LINKS, links, width, lambda _one: "")]
    return found


def summary(document: Mapping[str, Any]) -> Line:
    """One line that counts."""
    hosts, instances = document["hosts"], document["instances"]
    counts = {name: sum(one["class"] == name for one in document["anomalies"]) for name in judge.CLASSES}
    plural = {"serious": "serious", "warning": "warnings", "note": "notes"}
    said = ", ".join(f"{count} {plural[name] if count > 1 else name}" for name, count in counts.items() if count)
    serving, unknown = (sum(one["serves"] is kind for one in instances) for kind in (True, None))
    answered = sum(host["answered"] for host in hosts)
    text = f"STATUS {_when(document['at'])}: {answered} of {len(hosts)} Sparks answer, "
    more = f", of {unknown} nothing tells" if unknown else ""
    text += f"{serving} of {len(instances)} instances serve{more}: {said or 'all is well'}"
    return Line(text, document["class"] if document["class"] in ("serious", "warning") else GOOD)


def _anomaly(one: Mapping[str, str], width: int) -> list[Line]:
    where = " ".join(filter(None, (one["host"], one["instance"] and f"({one['instance']})")))
    head = f"{one['class'].upper():<8} {where}{': ' if where else ''}{one['value']}"
    first, *more = _wrapped(head, width, "", " " * 9)
    severity = one["class"] if one["class"] != judge.NOTE else ""
    found: list[Line] = [Line(first, severity), *(Line(line, severity) for line in more)]
    found += _plain(f"why  {one['cause']}", width, "  ", " " * 7)
    return found + _plain(f"do   {one['mend']}", width, "  ", " " * 7)


def _together(anomalies: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The same anomaly of several hosts as one."""
    hosts: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for one in anomalies:
        hosts.setdefault(tuple((key, value) for key, value in one.items() if key != "host"), []).append(one["host"])
    return [{**dict(key), "host": ", ".join(filter(None, names))} for key, names in hosts.items()]


def _worst(anomalies: Sequence[Mapping[str, str]], key: str) -> dict[str, str]:
    """The worst class of each host, or instance."""
    found: dict[str, str] = {}
    for one in anomalies:  # the worst first
        if one["class"] != judge.NOTE:
            found.setdefault(one[key], one["class"])
    return found


def _wrapped(text: str, width: int, first: str, rest: str | None = None) -> list[str]:
    rest = first if rest is None else rest
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _plain(text: str, width: int, first: str, rest: str | None = None) -> list[Line]:
    return [Line(line) for line in _wrapped(text, width, first, rest)]


def _table(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
    width: int,
    severity: Callable[[Mapping[str, Any]], str],
    indent: str = "",
) -> list[Line]:
    """A table in which the columns that matter least are left out until it fits; then the last is cut."""
    shown = [Column(title, 9, columns[0].of), *columns[1:]]
    cells = {column.head: [column.of(row) or UNTOLD for row in rows] for column in shown}
    told = [one for one in shown if one.keep == 9 or any(cell != UNTOLD for cell in cells[one.head])]
    widths = {one.head: max(map(len, [one.head, *cells[one.head]])) for one in told}
    while len(indent) + sum(widths[one.head] + 2 for one in told) - 2 > width and any(one.keep < 9 for one in told):
        told.remove(min(reversed(told), key=lambda one: one.keep))
    drawn = [[one.head for one in told], *zip(*(cells[one.head] for one in told))]
    found: list[Line] = []
    for row, about in zip(drawn, (None, *rows)):
        padded = [
            cell.rjust(widths[one.head]) if one.right else cell.ljust(widths[one.head]) for one, cell in zip(told, row)
        ]
        found.append(Line((indent + "  ".join(padded)).rstrip()[:width], severity(about) if about else ""))
    return found


# --- figures ---------------------------------------------------------------------------------------------------------


def _when(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at)) if at is not None and at < 2**40 else UNTOLD


def age(seconds: float | None) -> str:
    """A time in its two largest units.

    >>> age(42), age(3700), age(200000), age(None)
    ('42 s', '1 h 1 min', '2 d 7 h', '')
    """
    if seconds is None:
        return ""
    whole = int(seconds)
    for size, name, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // below} {small}"
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"


def rate(value: float | None) -> str:
    """Bytes a second as MB/s.

    >>> rate(1234567.0), rate(25e9), rate(0.0), rate(None)
    ('1.2 MB/s', '25000 MB/s', '0 MB/s', '')
    """
    if value is None:
        return ""
    return f"{value / 1e6:.0f} MB/s" if value >= 1e7 or not value else f"{value / 1e6:.1f} MB/s"


def _figure(value: float | None, unit: str, digits: int = 0) -> str:
    return "" if value is None else f"{value:.{digits}f} {unit}".rstrip()


def _gpu(one: Mapping[str, Any], name: str) -> Any:
    return one["gpus"][0][name] if one["gpus"] else None


def _memory(one: Mapping[str, Any]) -> str:
    free, total = one["memory"]["available_mib"], one["memory"]["total_mib"]
    return "" if free is None else f"{free / 1024:.0f}" + (f" of {total / 1024:.0f} GiB" if total else " GiB")


def _clock(one: Mapping[str, Any]) -> str:
    now, most = _gpu(one, "clock_mhz"), _gpu(one, "clock_max_mhz")
    return "" if now is None else f"{now:.0f}" + (f" of {most:.0f} MHz" if most else " MHz")


def _used(one: Mapping[str, Any]) -> str:
    used = _gpu(one, "used")
    return "" if used is None else f"{used:.0%}"


def _carried(host: Mapping[str, Any]) -> str:
    rates = [link[name] for link in host["links"] for name in ("sent_bytes_s", "received_bytes_s")]
    told = [one for one in rates if one is not None]
    return rate(sum(told)) if told else ""


def _link_state(one: Mapping[str, Any]) -> str:
    if one["admin_up"] is False:
        return "admin down"
    return {True: "with carrier", False: "no carrier", None: ""}[one["carrier"]]


def _links_up(host: Mapping[str, Any]) -> str:
    links = host["links"]
    return f"{sum(link['carrier'] is True for link in links)} of {len(links)}" if links else ""


def _restarts(rank: Mapping[str, Any]) -> str:
    count = rank["restarts"]
    return "" if count is None else f"{count}{'+' if rank['restarts_at_least'] else ''}"


def _answer(one: Mapping[str, Any]) -> str:
    return "answers" if one["answered"] else "unreachable" if one["unreachable"] else "not read"


HOSTS = (
    Column("SPARKS", 9, lambda one: one["name"]),
    Column("", 9, _answer),
    Column("UP", 3, lambda one: age(one["up_s"]), right=True),
    Column("MEMORY FREE", 8, _memory, right=True),
    Column("GPU TEMP", 7, lambda one: _figure(_gpu(one, "temperature_c"), "C"), right=True),
    Column("POWER", 8, lambda one: _figure(_gpu(one, "power_w"), "W", 1), right=True),
    Column("CLOCK", 7, _clock, right=True),
    Column("USED", 6, _used, right=True),
    Column("DRIVER", 2, lambda one: str(_gpu(one, "driver") or "")),
    Column("LINKS UP", 5, _links_up, right=True),
    Column("CARRIED", 6, _carried, right=True),
    Column("SWARM", 4, lambda one: "" if one["swarm"] == "inactive" else one["swarm"] or ""),
    Column("KERNEL", 1, lambda one: one["kernel"] or ""),
)
RANKS = (
    Column("RANK", 9, lambda one: str(one["rank"])),
    Column("SPARK", 9, lambda one: one["host"]),
    Column("CONTAINER", 9, lambda one: " ".join(filter(None, (one["state"], one["health"] and f"({one['health']})")))),
    Column("AGE", 8, lambda one: age(one["age_s"]), right=True),
    Column("RESTARTS", 7, _restarts, right=True),
    Column("UNIT", 4, lambda one: one["unit"]["active"] if one["unit"] else ""),
    Column("TRANSPORT", 6, lambda one: one["transport"] or ""),
    Column("OVER", 3, lambda one: one["devices"] or ""),
    Column("ADDRESS", 2, lambda one: one["address"] or ""),
)
NODES = (
    Column("SWARM", 9, lambda one: one["hostname"]),
    Column("STATE", 9, lambda one: one["state"]),
    Column("AVAILABILITY", 5, lambda one: one["availability"]),
    Column("MANAGER", 4, lambda one: "leader" if one["leader"] else ""),
    Column("RANK", 3, lambda one: "" if one["rank"] is None else str(one["rank"]), right=True),
)
LINKS = (
    Column("LINKS", 9, lambda one: one["host"]),
    Column("NETDEV", 9, lambda one: one["netdev"] or ""),
    Column("RDMA DEVICE", 5, lambda one: one["rdma_device"] or ""),
    Column("CAGE", 3, lambda one: "" if one["cage"] is None else str(one["cage"]), right=True),
    Column("STATE", 9, _link_state),
    Column("SPEED", 7, lambda one: _figure((one["speed_mbps"] or 0) / 1000 or None, "Gbit/s"), right=True),
    Column("MTU", 2, lambda one: "" if one["mtu"] is None else str(one["mtu"]), right=True),
    Column("SENT", 8, lambda one: rate(one["sent_bytes_s"]), right=True),
    Column("RECEIVED", 8, lambda one: rate(one["received_bytes_s"]), right=True),
)


CLIENTS = (
    Column("CLIENT", 9, lambda one: one["name"] or "(no key)"),
    Column("REQUESTS", 9, lambda one: _count(one["requests"]), right=True),
    Column("REFUSED", 8, lambda one: _count(one["refused"]), right=True),
    Column("FAILED", 7, lambda one: _count(one["failed"]), right=True),
    Column("CUT", 5, lambda one: _count(one["cut"]), right=True),
    Column("LEFT", 1, lambda one: _count(one["left"]), right=True),
    Column("TOKENS IN", 3, lambda one: _count(one["prompt_tokens"]), right=True),
    Column("TOKENS OUT", 6, lambda one: _count(one["tokens"]), right=True),
    Column("MEDIAN TTFT", 8, lambda one: _figure(one["ttft_ms"], "ms"), right=True),
    Column("SLOWEST", 2, lambda one: _figure(one["slowest_ttft_ms"], "ms"), right=True),
    Column("LAST", 4, lambda one: _when(one["last_at"])),
)


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


# --- gateways ---------------------------------------------------------------------------------------------------------


def _gateway(one: Mapping[str, Any], width: int, worst: Mapping[str, str]) -> list[Line]:
    """A gateway, and what its clients asked within the last hour."""
    colour = worst.get(one["name"], "") or (GOOD if one["state"] == "active" else "")
    called = one["instance"] or "without a name"
    where = f" on {one['listens']}" if one["listens"] else ""
    head = f"GATEWAY {called} ({one['name']} of {one['host']}): {one['state'] or '?'}{where}"
    found = [Line(line, colour) for line in _wrapped(head, width, "", "  ")]
    if one["clients"] is None:
        return found
    if not one["clients"]:
        return [*found, *_plain("nobody asked anything within the last hour", width, "  ")]
    if not one["all"]:
        found += _plain("of the last hour, the newest requests were counted", width, "  ")
    return found + _table("CLIENT", CLIENTS, one["clients"], width, lambda _one: "", "  ")


# --- instances -------------------------------------------------------------------------------------------------------


def _instance(one: Mapping[str, Any], now: float, width: int, worst: Mapping[str, str]) -> list[Line]:
    colour = worst.get(one["name"], "") or (GOOD if one["serves"] else "")
    model = one["model"]
    called = one["instance"] or "without a name"
    phase = one["phase"] or "not started"
    if one["phase"] == "serving" and one["serves"] is False:
        phase = f"was last {phase}, and a rank does not run"
    head = f"INSTANCE {called} ({one['name']}, {one['launcher'] or '?'}): {phase}"
    found: list[Line] = [Line(line, colour) for line in _wrapped(head, width, "", "  ")]
    image, draft = one["image"] or {}, one["draft"]
    figures = [
        ("KV cache", f"{one['kv_tokens']:,} tokens" if one["kv_tokens"] else ""),
        ("loaded in", _figure(one["load_s"], "s")),
        ("canary", _figure(one["canary_s"], "s", 2)),
        ("started", _when(one["began"]) if one["began"] else ""),
    ]
    facts = [
        ("endpoint", f"{one['endpoint'] or ''} on {one['leader']}" if one["endpoint"] else ""),
        ("model", _commit(model["repo"] or model["name"], model["commit"])),
        ("draft", _commit(draft["repo"], draft["commit"]) if draft else ""),
        ("image", _image(image) if image else ""),
        ("figures", ", ".join(f"{name} {value}" for name, value in figures if value)),
        ("receipt", _receipt(one["receipt"], one["last_receipt"])),
        ("reason", one["reason"] if one["reason"] else ""),
        ("last failure", _failure(one["last_failure"])),
        ("before", _before(one["previous"])),
        ("put back", _put_back(one["history"])),
    ]
    for name, value in facts:
        if value:
            found += _plain(f"{name:<13}{value}", width, "  ", " " * 15)
    return found + _table("RANK", RANKS, one["ranks"], width, _rank_colour, "  ")


def _rank_colour(rank: Mapping[str, Any]) -> str:
    return GOOD if rank["state"] == "running" else judge.SERIOUS if rank["state"] else ""


def _commit(name: str | None, commit: str | None) -> str:
    return f"{name or '?'}{f' @ {commit}' if commit else ''}" if name or commit else ""


def _image(image: Mapping[str, Any]) -> str:
    base = _commit(image["base"], image["base_digest"]) or "?"
    built = f"built as {image['name'] or '?'}, {(image['digest'] or image['id'] or '?')[:19]}"
    return f"{base}, {built}"


def _failure(failure: Mapping[str, Any] | None) -> str:
    if not failure:
        return ""
    return f"{_when(failure['at'])}: {failure['reason']}" if failure["at"] else str(failure["reason"])


def _before(entry: Mapping[str, Any] | None) -> str:
    """What ``spark_model=previous`` would serve."""
    return f"{_commit(entry['repo'], entry['commit'])}, started {_when(entry['at'])}" if entry else ""


def _put_back(known: Sequence[Mapping[str, Any]]) -> str:
    """The model that was tried last, where it did not serve."""
    if not known or known[-1]["outcome"] != history.PUT_BACK:
        return ""
    return f"{known[-1]['repo']} was tried {_when(known[-1]['at'])}, and did not serve: {known[-1]['why']}"


#: of a receipt, what each field is called; those of the second group are told where they differ from the start before
RECEIPT = {
    "port_s": "port",
    "health_s": "health",
    "first_token_s": "first token",
    "bytes_loaded": "loaded",
    "nccl": "NCCL",
    "transports": "transports",
    "kv_tokens": "KV cache",
}
RECEIPT_IF_OTHER = {"model": "model", "image": "image", "config": "configuration"}


def _receipt(receipt: Mapping[str, Any] | None, last: Mapping[str, Any] | None) -> str:
    """The figures of a start, each beside that of the start before where that was another."""
    told = []
    for name, called in {**RECEIPT, **RECEIPT_IF_OTHER}.items():
        value, before = (_receipt_figure(name, (one or {}).get(name)) for one in (receipt, last))
        other = bool(before) and before != value
        if value and (other or name in RECEIPT):
            told.append(f"{called} {value}{f' (before: {before})' if other else ''}")
    return ", ".join(told)


def _receipt_figure(name: str, value: Any) -> str:
    """A figure of a receipt with its unit; empty for what is not told."""
    if isinstance(value, Mapping):
        kinds = {str(one) for one in value.values()}
        return kinds.pop() if len(kinds) == 1 else " ".join(f"{node} {one}" for node, one in value.items())
    if not isinstance(value, float):
        return value if isinstance(value, str) else ""
    if name == "bytes_loaded":
        return f"{value / 1e9:,.1f} GB" if value >= 1e9 else f"{value / 1e6:,.0f} MB"
    if name == "kv_tokens":
        return f"{value:,.0f} tokens" if value else ""
    return f"{value:,.1f} s".replace(".0 s", " s")
