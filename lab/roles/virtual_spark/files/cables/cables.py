# SIMULATED: the QSFP cables and the switch between virtual Sparks.
"""Hold the cables of one lab, in the network namespace of this container.

A QSFP cable is one Ethernet segment that joins both PCIe halves of both ends. Here every cage of every
Spark is a bridge with its two halves in it, and a cable is a link between two such bridges, or to the
switch's. The daemon follows Docker's events: a Spark that starts gets its four netdevs, one that ended by
``reboot`` is started again. Delay, loss and a wrong MTU are made by a relay in user space, because not
every kernel has netem; a sound cable is a veth pair and as fast as the kernel.

``cables.py serve`` is the daemon; ``cables.py status`` and ``cables.py set CABLE ...`` ask it, in JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import heapq
import http.client
import json
import os
import random
import select
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Iterable, Iterator

CONTROL = "/run/cables.sock"
DOCKER = "/var/run/docker.sock"
NETDEVS = Path("/sys/class/net")
SWITCH = "switch"
JUMBO = 9216
HOTPLUG = "run/virtual-spark/hotplug"  # of a Spark: the driver's attributes and the card's state
HOTPLUG_SWITCH = "etc/virtual-spark/hotplug"  # how many seconds after its boot a card without a cable leaves the bus
BOOT_SECONDS = 15.0  # of a real one
DARK_SECONDS = 1.0  # that a running Spark's card is left once its cable is dead
LIGHT_SECONDS = 3.0  # that a Spark gives no light after power-on, to its peers' drivers; a container boots too fast
EXIT_REBOOT = 129  # a PID namespace whose init calls reboot(2) ends by SIGHUP; poweroff is SIGINT, 130


@dataclass(frozen=True)
class Condition:
    """What a cable is like. ``mtu`` is the largest IP packet it carries, 0 for no limit."""

    plugged: bool = True
    delay_ms: float = 0.0
    loss_percent: float = 0.0
    mtu: int = 0

    @property
    def sound(self) -> bool:
        return not (self.delay_ms or self.loss_percent or self.mtu)


def port_name(spark: str, nic: int) -> str:
    """The near end of a Spark's netdev: ``s1n2`` is the second netdev of ``spark1``."""
    return f"s{spark[5:]}n{nic}"


def cage_name(end: str) -> str:
    """The bridge of a cable's end: ``spark1:0`` is ``s1c0``."""
    if end == SWITCH:
        return SWITCH
    spark, cage = end.split(":")
    return f"s{spark[5:]}c{cage}"


def link_kind(condition: Condition, powered: bool) -> str:
    """How two cages are joined: not at all, by a veth pair, or through the relay."""
    if not (condition.plugged and powered):
        return "none"
    return "veth" if condition.sound else "relay"


def fate(length: int, condition: Condition, chance: float) -> float | None:
    """Seconds that an Ethernet frame of ``length`` bytes is held back, or None if it is lost."""
    if condition.mtu and length > condition.mtu + 14:
        return None
    if chance < condition.loss_percent / 100:
        return None
    return condition.delay_ms / 1000


def change(before: Condition, wanted: dict[str, Any]) -> Condition:
    """``before`` with the named properties replaced; raises ValueError for one out of its bounds."""
    after = replace(before, **wanted)
    if not 0 <= after.delay_ms <= 10_000:
        raise ValueError(f"delay_ms is {after.delay_ms}: give 0 to 10000 milliseconds")
    if not 0 <= after.loss_percent <= 100:
        raise ValueError(f"loss_percent is {after.loss_percent}: give 0 to 100")
    if after.mtu and not 68 <= after.mtu <= JUMBO:
        raise ValueError(f"mtu is {after.mtu}: give 0 (no limit) or 68 to {JUMBO}")
    return after


@dataclass(frozen=True)
class Card:
    """The ConnectX-7 of a running Spark. ``pid``: of its init, since it boots with the card on the bus."""

    pid: int
    booted: float
    present: bool = True
    added: int = 0  # how often it was hot-added since the boot
    dark_since: float | None = None  # since when it has no live cable


def card_after(card: Card, armed: bool, live: bool, now: float, boot_seconds: float) -> Card:
    """What becomes of a card by ``now``. It leaves the bus where the driver is armed, and comes back at plug-in."""
    if live:
        return replace(card, present=True, added=card.added + (not card.present), dark_since=None)
    dark_since = now if card.dark_since is None else card.dark_since
    due = max(card.booted + boot_seconds, dark_since + DARK_SECONDS)
    return replace(card, present=card.present and not (armed and now >= due), dark_since=dark_since)


def missing(wanted: Iterable[str], there: Iterable[str]) -> list[str]:
    """The ports that have gone by themselves.

    >>> missing(["s1n1", "s1n2"], ["lo", "s1c0", "s1n1"])
    ['s1n2']
    """
    return sorted(set(wanted) - set(there))


def boot_seconds(text: str) -> float:
    """Seconds from the text of the switch; the real ones where it says nothing that can be read."""
    try:
        return float(text)
    except ValueError:
        return BOOT_SECONDS


def read(path: Path) -> str:
    """The text of a file, empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""


def ip(*words: str | int) -> str:
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


class Docker:
    """The three calls of the Docker API that are needed, over its socket."""

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(DOCKER)
        return connection

    def pid(self, container: str) -> int:
        """The host's PID of a running container, else 0."""
        connection = self._connect()
        connection.request("GET", f"/containers/{container}/json")
        reply = connection.getresponse()
        body = json.load(reply)
        return int(body["State"]["Pid"]) if reply.status == 200 and body["State"]["Running"] else 0

    def start(self, container: str) -> None:
        connection = self._connect()
        connection.request("POST", f"/containers/{container}/start")
        connection.getresponse().read()

    def events(self, label: str) -> Iterator[dict[str, Any]]:
        filters = json.dumps({"type": ["container"], "label": [label], "event": ["start", "die"]})
        connection = self._connect()
        connection.request("GET", "/events?filters=" + urllib.parse.quote(filters))
        reply = connection.getresponse()
        while line := reply.readline():
            if line.strip():
                yield json.loads(line)


class Relay(threading.Thread):
    """Carries frames between two TAP devices, late, thinned out or cut to an MTU."""

    def __init__(self, names: tuple[str, str], condition: Condition) -> None:
        super().__init__(daemon=True)
        self.condition = condition
        self._ends = [self._tap(name) for name in names]
        self._stop_read, self._stop_write = os.pipe()

    @staticmethod
    def _tap(name: str) -> int:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000)  # IFF_TAP | IFF_NO_PI
        fcntl.ioctl(fd, 0x400454CA, request)  # TUNSETIFF
        return fd

    def run(self) -> None:
        left, right = self._ends
        other = {left: right, right: left}
        held: list[tuple[float, int, int, bytes]] = []
        for number in range(2**63):
            now = time.monotonic()
            while held and held[0][0] <= now:
                fd, frame = heapq.heappop(held)[2:]
                with contextlib.suppress(OSError):  # the far side is down: the frame is lost, as on a wire
                    os.write(fd, frame)
            wait = max(0.0, held[0][0] - now) if held else None
            ready = select.select([left, right, self._stop_read], [], [], wait)[0]
            if self._stop_read in ready:
                break
            for fd in ready:
                with contextlib.suppress(OSError):
                    frame = os.read(fd, 65536)
                    late = fate(len(frame), self.condition, random.random())
                    if late is not None:
                        heapq.heappush(held, (time.monotonic() + late, number, other[fd], frame))
        for fd in (left, right, self._stop_read):
            os.close(fd)

    def stop(self) -> None:
        os.close(self._stop_write)
        self.join(5)


class Cabling:
    """Makes the kernel's links match the plan and each cable's condition."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.sparks = plan["sparks"]
        self.cables = {cable["name"]: cable["ends"] for cable in plan["cables"]}
        self.conditions = {name: Condition() for name in self.cables}
        self.docker = Docker()
        self._relays: dict[str, Relay] = {}
        self._pids: dict[str, int] = {}
        self._cards: dict[str, Card] = {}
        self._lock = threading.RLock()

    def status(self) -> list[dict[str, Any]]:
        return [{"name": name, "ends": self.cables[name], **asdict(self.conditions[name])} for name in self.cables]

    def set(self, name: str, wanted: dict[str, Any]) -> bool:
        """Give a cable a condition; returns whether that changed anything."""
        if name not in self.cables:
            raise ValueError(f"there is no {name!r} in this lab; it has {', '.join(self.cables) or 'no cables'}")
        with self._lock:
            before = self.conditions[name]
            self.conditions[name] = change(before, wanted)
            self.reconcile()
            return before != self.conditions[name]

    def reconcile(self) -> None:
        with self._lock:
            links = {link["ifname"]: link for link in json.loads(ip("-j", "link"))}
            pids = {spark["name"]: self.docker.pid(spark["container"]) for spark in self.sparks}
            self._pids = pids
            lit = self._lit()
            self._follow_cards(lit)
            self._bridges(links)
            self._netdevs(links, pids)
            for name, ends in self.cables.items():
                self._join(name, ends, self._kind(name), links)
            for spark in self.sparks:
                for nic, device in enumerate(spark["nics"], 1):
                    if pids[spark["name"]] and self._cards[spark["name"]].present:
                        state = "up" if f"{spark['name']}:{device['cage']}" in lit else "down"
                        ip("link", "set", port_name(spark["name"], nic), state)

    def tick(self) -> None:
        """Let time pass for the cards.

        The kernel takes the netdevs of a Spark that has ended away when it comes to that, on a busy machine after the
        Spark has started again: what looked as if it were there is made then.
        """
        with self._lock:
            if self._follow_cards(self._lit()) or missing(self._wanted(), (one.name for one in NETDEVS.iterdir())):
                self.reconcile()

    def _wanted(self) -> list[str]:
        """The near ends of the netdevs that running Sparks have."""
        return [
            port_name(spark["name"], nic)
            for spark in self.sparks
            if self._pids.get(spark["name"]) and self._cards[spark["name"]].present
            for nic, _device in enumerate(spark["nics"], 1)
        ]

    def _kind(self, cable: str) -> str:
        powered = all(end == SWITCH or self._pids.get(end.split(":")[0]) for end in self.cables[cable])
        return link_kind(self.conditions[cable], powered)

    def _lit(self) -> set[str]:
        """The ends of the cables that are in, and between Sparks that are on."""
        return {end for name, ends in self.cables.items() if self._kind(name) != "none" for end in ends}

    def _live(self, spark: str, lit: set[str], now: float) -> bool:
        """Whether a Spark's driver sees a live cable: one that is in, with a Spark at its other end that is up."""
        others = {
            end.split(":")[0]
            for ends in self.cables.values()
            for end in ends
            if lit.issuperset(ends) and spark in [one.split(":")[0] for one in ends]
        } - {spark}
        return any(other == SWITCH or self._cards[other].booted + LIGHT_SECONDS <= now for other in others)

    def _follow_cards(self, lit: set[str]) -> bool:
        """Bring all cards up to now. Returns whether one came or went."""
        moved = False
        now = time.monotonic()
        for spark in self.sparks:
            pid = self._pids.get(spark["name"], 0)
            if spark["name"] not in self._cards or self._cards[spark["name"]].pid != pid:
                self._cards[spark["name"]] = Card(pid, now)
        for spark in self.sparks:
            name = spark["name"]
            before = self._cards[name]
            pid = before.pid
            root = Path("/proc", str(pid), "root")
            switch = root / HOTPLUG_SWITCH
            if not pid or not switch.exists():
                self._cards[name] = Card(pid, before.booted)
                continue
            state = root / HOTPLUG
            armed = read(state / "hotplug_enabled").strip() == "1"
            live = self._live(name, lit, now)
            card = card_after(before, armed, live, now, boot_seconds(read(switch)))
            moved |= card.present != before.present
            self._cards[name] = card
            self._tell(state, card, live)
        return moved

    @staticmethod
    def _tell(state: Path, card: Card, live: bool) -> None:
        """Write what the Spark's hardware and the driver's attributes show; nothing while it is still booting."""
        for name, value in (("debug_state", live), ("added", card.added), ("present", card.present)):
            text = f"{value:d}\n"
            if read(state / name) not in ("", text):
                (state / name).write_text(text)  # in place: it is mounted elsewhere

    def _bridges(self, links: dict[str, Any]) -> None:
        ends = {f"{spark['name']}:{device['cage']}" for spark in self.sparks for device in spark["nics"]}
        if any(SWITCH in pair for pair in self.cables.values()):
            ends.add(SWITCH)
        for end in sorted(ends):
            bridge = cage_name(end)
            if bridge in links:
                continue
            # A wire passes LLDP on (a switch does not) and knows no spanning tree.
            mask = 0 if end == SWITCH else 0xFFF8
            ip(
                "link",
                "add",
                bridge,
                "mtu",
                JUMBO,
                "type",
                "bridge",
                "stp_state",
                0,
                "forward_delay",
                0,
                "mcast_snooping",
                0,
                "group_fwd_mask",
                mask,
            )
            ip("link", "set", bridge, "up")

    def _netdevs(self, links: dict[str, Any], pids: dict[str, int]) -> None:
        for spark in self.sparks:
            pid = pids[spark["name"]]
            for nic, device in enumerate(spark["nics"], 1):
                port = port_name(spark["name"], nic)
                if pid and not self._cards[spark["name"]].present:
                    if port in links:
                        ip("link", "del", port)
                    continue
                if not pid or port in links:
                    continue
                ip(
                    "link",
                    "add",
                    port,
                    "mtu",
                    JUMBO,
                    "type",
                    "veth",
                    "peer",
                    "name",
                    device["netdev"],
                    "address",
                    device["mac"],
                    "mtu",
                    1500,
                    "netns",
                    pid,
                )
                ip("link", "set", port, "master", cage_name(f"{spark['name']}:{device['cage']}"))

    def _join(self, name: str, ends: list[str], kind: str, links: dict[str, Any]) -> None:
        near, far = f"{name}.a", f"{name}.b"
        relay = self._relays.get(name)
        present = "relay" if relay else "veth" if near in links else "none"
        if relay and kind == "relay":
            relay.condition = self.conditions[name]
            return
        if present == kind:
            return
        if relay:
            self._relays.pop(name).stop()
        elif near in links:
            ip("link", "del", near)
        if kind == "veth":
            ip("link", "add", near, "mtu", JUMBO, "type", "veth", "peer", "name", far, "mtu", JUMBO)
        elif kind == "relay":
            self._relays[name] = Relay((near, far), self.conditions[name])
        if kind != "none":
            for device, end in ((near, ends[0]), (far, ends[1])):
                ip("link", "set", device, "mtu", JUMBO, "master", cage_name(end), "up")
        if kind == "relay":
            self._relays[name].start()


def watch(cabling: Cabling, label: str) -> None:
    """Follow Docker's events for ever; a Docker that restarts is waited for."""
    while True:
        try:
            cabling.reconcile()
            for event in cabling.docker.events(label):
                attributes = event["Actor"]["Attributes"]
                if event["Action"] == "die" and int(attributes.get("exitCode", 0)) == EXIT_REBOOT:
                    cabling.docker.start(attributes["name"])
                cabling.reconcile()
        except (OSError, ValueError, http.client.HTTPException) as error:
            print(f"cables: {error}; trying again", file=sys.stderr, flush=True)
        time.sleep(0.5)


def pass_time(cabling: Cabling) -> None:
    """Have the cards come and go by themselves, for ever."""
    while True:
        time.sleep(0.5)
        try:
            cabling.tick()
        except (OSError, ValueError, http.client.HTTPException) as error:
            print(f"cables: {error}; trying again", file=sys.stderr, flush=True)


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        cabling: Cabling = self.server.cabling  # type: ignore[attr-defined]
        try:
            changed = cabling.set(request["cable"], request["wanted"]) if request.get("cable") else False
            reply = {"changed": changed, "cables": cabling.status()}
        except (OSError, ValueError, TypeError) as error:
            reply = {"error": str(error)}
        self.wfile.write(json.dumps(reply).encode() + b"\n")


def serve() -> None:
    plan = json.loads(os.environ["VIRTUAL_SPARK_PLAN"])
    cabling = Cabling(plan)
    Path(CONTROL).unlink(missing_ok=True)
    server = socketserver.ThreadingUnixStreamServer(CONTROL, Handler)
    server.cabling = cabling  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=pass_time, args=(cabling,), daemon=True).start()
    watch(cabling, plan["label"])


def ask(request: dict[str, Any]) -> int:
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(CONTROL)
        control.sendall(json.dumps(request).encode() + b"\n")
        reply = json.loads(control.makefile().readline())
    if "error" in reply:
        print(reply["error"], file=sys.stderr)
        return 1
    print(json.dumps(reply))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="The cables of a lab of virtual Sparks (simulated).")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve")
    commands.add_parser("status")
    setting = commands.add_parser("set")
    setting.add_argument("cable")
    setting.add_argument("--plugged", choices=("yes", "no"))
    setting.add_argument("--delay-ms", type=float)
    setting.add_argument("--loss-percent", type=float)
    setting.add_argument("--mtu", type=int)
    options = parser.parse_args()
    if options.command == "serve":
        serve()
    if options.command == "status":
        return ask({})
    wanted = {key: getattr(options, key) for key in ("delay_ms", "loss_percent", "mtu")}
    wanted["plugged"] = None if options.plugged is None else options.plugged == "yes"
    return ask({"cable": options.cable, "wanted": {key: value for key, value in wanted.items() if value is not None}})


if __name__ == "__main__":
    sys.exit(main())
