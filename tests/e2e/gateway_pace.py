# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gateway costs in time, and how many streams it holds: measured on a virtual Spark that serves behind one.

The tests judge it, and ``make bench-gateway`` prints it. The engine is the lab's, and HAProxy is the distribution's.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Sequence

from .conftest import Lab

#: the way without the gateway, and the way through it, both asked on the Spark's own loopback
DIRECT, GATEWAY = "direct", "gateway"
CHAT = "/v1/chat/completions"

#: Runs on the Spark, where a key is in no argument. Each worker asks both ways in turn, each over a connection that it
#: keeps, and notes when what came: so nothing but the gateway differs.
PROGRAM = '''
import json, socket, ssl, threading, time

def connected(way):
    plain = socket.create_connection(("127.0.0.1", way["port"]), timeout=60)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not way["authority"]:
        return plain
    trust = ssl.create_default_context(cadata=way["authority"])
    return trust.wrap_socket(plain, server_hostname="127.0.0.1")

def ask(connection, sent):
    """Seconds from the request to the first token, and from each token to the next; the last event has none."""
    began, came, events = time.perf_counter(), [], b""
    connection.sendall(sent)
    while not events.endswith(b"0\\r\\n\\r\\n"):
        piece = connection.recv(65536)
        now = time.perf_counter()
        if not piece:
            raise SystemExit("a stream was cut")
        came += [now] * piece.count(b'"content":')
        events += piece
    if b"data: [DONE]" not in events or len(came) < 3:
        raise SystemExit("no whole stream: " + events[:300].decode())
    return {"first": came[0] - began, "gaps": [later - one for one, later in zip(came, came[1:])]}

def worker(number, asked, found):
    body = json.dumps(asked["body"])
    connections, sent = {}, {}
    for name, way in asked["ways"].items():
        head = ["POST /v1/chat/completions HTTP/1.1", "Host: spark", "Content-Length: %d" % len(body)]
        head += ["Authorization: Bearer " + way["key"]] if way["key"] else []
        sent[name] = ("\\r\\n".join(head) + "\\r\\n\\r\\n" + body).encode()
    names = list(asked["ways"])
    for name in names:
        connections[name] = connected(asked["ways"][name])
        ask(connections[name], sent[name])  # which does not count: caches are warm then
    for turn in range(asked["requests"]):
        for name in names if (turn + number) % 2 else names[::-1]:
            found[name].append(ask(connections[name], sent[name]))

found = {name: [] for name in ASKED["ways"]}
workers = [threading.Thread(target=worker, args=(number, ASKED, found)) for number in range(ASKED["at_once"])]
for one in workers:
    one.start()
for one in workers:
    one.join()
print(json.dumps(found))
'''


@dataclass(frozen=True)
class Pace:
    """How fast answers came one way, in milliseconds: of how many requests, and of these the median and the 95th of
    100 of: the first token; the mean between tokens of an answer; the longest time between two of an answer, which
    tells of tokens that are kept back and come together.
    """

    requests: int
    first: tuple[float, float]
    between: tuple[float, float]
    longest: tuple[float, float]


def pace(asked: Sequence[dict[str, Any]]) -> Pace:
    """Of what :data:`PROGRAM` prints for one way."""
    return Pace(
        requests=len(asked),
        first=_figures([one["first"] for one in asked]),
        between=_figures([statistics.fmean(one["gaps"]) for one in asked]),
        longest=_figures([max(one["gaps"]) for one in asked]),
    )


def _figures(seconds: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    return round(statistics.median(ordered) * 1e3, 2), round(ordered[len(ordered) * 95 // 100] * 1e3, 2)


def both_ways(lab: Lab, key: str, authority: str, requests: int = 200, tokens: int = 20) -> dict[str, Pace]:
    """Ask the engine and the gateway so often each, two requests at a time, on the first Spark itself.

    :param key: of a client of the gateway. :param authority: the certificate that is trusted, in PEM.
    """
    at_once = 2
    asked = {
        "requests": requests // at_once,
        "at_once": at_once,
        "body": {
            "model": "chat",
            "messages": [{"role": "user", "content": "Who are you?"}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
        },
        "ways": {
            DIRECT: {"port": 8355, "key": "", "authority": ""},
            GATEWAY: {"port": 443, "key": key, "authority": authority},
        },
    }
    said = on_spark(lab, f"ASKED = {asked!r}\n{PROGRAM}")
    return {name: pace(answers) for name, answers in json.loads(said).items()}


def on_spark(lab: Lab, program: str, seconds: float = 900) -> str:
    """What a program prints that runs on the first Spark."""
    ssh = ["ssh", "-F", str(lab.home / "ssh_config"), "spark1", "python3 -"]
    done = subprocess.run(ssh, input=program, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Held:
    """Streams that were held at the same time, by a client on another host than the gateway."""

    streams: int  # that came to their [DONE]
    cut: int
    at_once: int  # that had their first token and not yet their last, at one moment
    seconds: float  # that the shortest of them took
    gateway_cpu: float  # seconds of a processor that HAProxy used in a second, while they were held
    gateway_mib: float  # memory of HAProxy while they were held


async def _stream(address: str, port: int, trust: ssl.SSLContext, sent: bytes, found: list[dict[str, float]]) -> None:
    reader, writer = await asyncio.open_connection(address, port, ssl=trust, limit=2**20)
    try:
        writer.write(sent)
        one: dict[str, float] = {}
        while line := await reader.readline():
            if b'"content":' in line:
                one.setdefault("first", time.monotonic())
                one["last"] = time.monotonic()
            if b"data: [DONE]" in line:
                one["done"] = time.monotonic()
                break
        found.append(one)
    finally:
        writer.close()


def held(lab: Lab, address: str, port: int, trust: ssl.SSLContext, key: str, streams: int, tokens: int) -> Held:
    """Have so many streams at a time through the gateway, of so many tokens each."""
    body = json.dumps(
        {
            "model": "chat",
            "messages": [{"role": "user", "content": "Who are you?"}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
        }
    )
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: spark1\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    found: list[dict[str, float]] = []
    used: list[tuple[float, float, float]] = []

    async def every() -> None:
        sent = (head + body).encode()
        some = [asyncio.ensure_future(_stream(address, port, trust, sent, found)) for _ in range(streams)]
        watch = asyncio.ensure_future(_watch())
        await asyncio.gather(*some, return_exceptions=True)
        if watch.done():
            watch.result()  # it goes on until it fails, and says why
        watch.cancel()

    async def _watch() -> None:
        while True:
            await asyncio.sleep(5)
            used.append(await asyncio.to_thread(_haproxy, lab))

    asyncio.run(every())
    whole = [one for one in found if "done" in one]
    (before, cpu_before, _mib), (after, cpu_after, mib) = used[1], used[-2]
    return Held(
        streams=len(whole),
        cut=streams - len(whole),
        at_once=_at_once([(one["first"], one["last"]) for one in whole]),
        seconds=round(min((one["last"] - one["first"] for one in whole), default=0.0), 1),
        gateway_cpu=round((cpu_after - cpu_before) / (after - before), 3),
        gateway_mib=round(mib, 1),
    )


def _at_once(spans: Sequence[tuple[float, float]]) -> int:
    """How many spans of time there are at one moment, at most.

    >>> _at_once([(0, 2), (1, 3), (2.5, 4)])
    2
    """
    moments = sorted([(begin, 1) for begin, _end in spans] + [(end, -1) for _begin, end in spans])
    most = now = 0
    for _when, change in moments:
        now += change
        most = max(most, now)
    return most


def _haproxy(lab: Lab) -> tuple[float, float, float]:
    """When this was, the processor time of all HAProxy processes of the gateway, and their memory in MiB."""
    stats = lab.host("spark1").check_output("cat $(pgrep --exact haproxy | sed 's:.*:/proc/&/stat:')")
    processes = [line.rpartition(") ")[2].split() for line in stats.splitlines()]  # from the third field of proc(5) on
    ticks = sum(int(one[11]) + int(one[12]) for one in processes)
    pages = sum(int(one[21]) for one in processes)
    return time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def written(path: Path, figures: dict[str, Any]) -> None:
    """Keep figures as JSON."""
    plain = {name: asdict(one) if isinstance(one, (Pace, Held)) else one for name, one in figures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain, indent=2) + "\n")
