# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own part in changing its fabric, so that nothing depends on a connection that may be cut.

``capture`` notes what the network is: the content of the role's files, and of every netdev its addresses, MTU,
ARP settings and whether it is up, and all routes. ``activate`` lets the host's renderer configure the fabric's netdevs,
and those alone. ``restore`` puts back what was captured; a transient unit runs it unless ``confirm``, over a new
connection, cancels that in time. Who comes after that time finds that out, and changes nothing any more.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator

ROOT = Path("/")
ARP = ("arp_ignore", "arp_announce")
# The program behind 'netplan generate', which itself would have systemd read all its units again.
GENERATORS = ("/usr/libexec/netplan/generate", "/usr/lib/netplan/generate", "/lib/netplan/generate")
FIRST, LAST = "first.json", "last.json"
WAY_BACK = "dgx-spark-fabric-way-back.timer"
ROUNDS = 6  # of looking whether it stays as it was
PATIENCE = 20  # s that the management network may take to come back by itself

State = Dict[str, Any]


def run(*command: str, must: bool = True) -> str:
    """Run a program; returns what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if must and done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip() or done.returncode}")
    return done.stdout


def ip(*words: str) -> list[dict[str, Any]]:
    return [entry for entry in json.loads(run("ip", "-j", *words) or "[]") if entry]


# ---- what the network is


def file_state(path: Path) -> dict[str, Any] | None:
    """A file's content and who may read it, None where there is none."""
    if not path.is_file():
        return None
    found = path.stat()
    content = base64.b64encode(path.read_bytes()).decode()
    return {"content": content, "mode": found.st_mode & 0o7777, "uid": found.st_uid, "gid": found.st_gid}


def netdev_states(addresses: list[dict[str, Any]]) -> dict[str, Any]:
    """From ``ip -j addr``: what can be put back. IPv6 link-local addresses come and go by themselves."""
    return {
        entry["ifname"]: {
            "up": "UP" in entry["flags"],
            "mtu": entry["mtu"],
            "addresses": sorted(
                f"{info['local']}/{info['prefixlen']}"
                for info in entry["addr_info"]
                if not (info["family"] == "inet6" and info["scope"] == "link")
            ),
        }
        for entry in addresses
    }


def route_lines(routes: list[dict[str, Any]]) -> list[str]:
    """From ``ip -j -4 route``: the routes, each as words. NetworkManager counts their metrics anew each time."""
    wanted = ("type", "dst", "gateway", "dev", "prefsrc")
    return sorted(" ".join(f"{name} {route[name]}" for name in wanted if name in route) for route in routes)


def arp_path(netdev: str, name: str) -> Path:
    return ROOT / "proc/sys/net/ipv4/conf" / netdev / name


def capture(netdevs: list[str], files: list[str]) -> State:
    return {
        "files": {path: file_state(ROOT / path.lstrip("/")) for path in files},
        "netdevs": netdev_states(ip("addr")),
        "routes": route_lines(ip("-4", "route")),
        "fabric": netdevs,
        "arp": {netdev: {name: arp_path(netdev, name).read_text().strip() for name in ARP} for netdev in netdevs},
    }


# ---- putting it back


def write(path: Path, content: bytes, mode: int, uid: int, gid: int) -> None:
    """Replace a file in one step."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        os.fchown(stream.fileno(), uid, gid)
        os.fchmod(stream.fileno(), mode)
    Path(temporary).replace(path)


def restore_files(files: dict[str, Any]) -> None:
    for name, kept in files.items():
        path = ROOT / name.lstrip("/")
        if kept is None:
            path.unlink(missing_ok=True)
        elif file_state(path) != kept:
            write(path, base64.b64decode(kept["content"]), kept["mode"], kept["uid"], kept["gid"])


def steps_back(wanted: dict[str, Any], now: dict[str, Any], netdevs: list[str]) -> list[list[str]]:
    """The commands that make netdevs what they were, as far as no renderer does."""
    steps: list[list[str]] = []
    for name in netdevs:
        if name not in wanted or name not in now:
            continue
        before, after = wanted[name], now[name]
        if before["mtu"] != after["mtu"]:
            steps.append(["link", "set", name, "mtu", str(before["mtu"])])
        steps += [["addr", "del", one, "dev", name] for one in after["addresses"] if one not in before["addresses"]]
        steps += [["addr", "add", one, "dev", name] for one in before["addresses"] if one not in after["addresses"]]
        if before["up"] != after["up"]:
            steps.append(["link", "set", name, "up" if before["up"] else "down"])
    return steps


def step_back(state: State, only: tuple[str, ...] = ()) -> int:
    """Take the fabric's netdevs back to what they were; returns how many steps that took."""
    steps = steps_back(state["netdevs"], netdev_states(ip("addr")), state["fabric"])
    steps = [step for step in steps if not only or tuple(step[: len(only)]) == only]
    for step in steps:
        run("ip", *step, must=False)
    return len(steps)


def restore(state: State, fabric_only: bool) -> None:
    restore_files(state["files"])
    fabric = state["fabric"]
    # First of all: NetworkManager makes a profile of its own for a netdev that it is given with an address on it.
    step_back(state, only=("addr", "del"))
    activate(fabric)
    quiet = 0
    for _round in range(ROUNDS):  # a renderer goes on for a moment after it has said that it is done
        time.sleep(2)
        quiet = 0 if step_back(state) else quiet + 1
        if quiet == 2:
            break
    for netdev, settings in state["arp"].items():
        for name, value in settings.items():
            if arp_path(netdev, name).exists():
                arp_path(netdev, name).write_text(value)
    if not fabric_only:
        restore_management(state)


def way_back_waits() -> bool:
    """Whether its time is yet to come: a timer stays active while what it started runs."""
    return run("systemctl", "show", "--property=SubState", "--value", WAY_BACK, must=False).strip() == "waiting"


def confirm() -> None:
    """Stay with the change."""
    late = not way_back_waits()
    run("systemctl", "stop", WAY_BACK, must=False)
    service = run("systemctl", "is-active", WAY_BACK.replace(".timer", ".service"), must=False).strip()
    if late or service in ("activating", "active"):  # its time may have come just now
        raise OSError("nobody confirmed the change in time: the host went back to what it was before")


def forget_first(state: Path) -> None:
    """Where the first change was taken back there was none: what the network is then is captured by the next one."""
    first = state.with_name(FIRST)
    if state.name == LAST and first.exists() and first.read_bytes() == state.read_bytes():
        first.unlink()


def missing(state: State) -> list[str]:
    """The addresses and routes outside the fabric that were there, and are not."""
    now, fabric = netdev_states(ip("addr")), set(state["fabric"])
    lost = [
        f"{address} on {name}"
        for name, before in state["netdevs"].items()
        if name not in fabric and name in now
        for address in before["addresses"]
        if address not in now[name]["addresses"]
    ]
    routes = route_lines(ip("-4", "route"))
    words = [f"dev {name}" for name in fabric]
    return lost + [one for one in state["routes"] if one not in routes and not any(word in one for word in words)]


def restore_management(state: State) -> None:
    """Bring back what was lost outside the fabric; nothing here takes it away, but somebody may have."""
    now = netdev_states(ip("addr"))
    for name, before in state["netdevs"].items():
        if name in now and before["up"] and not now[name]["up"]:
            run("ip", "link", "set", name, "up", must=False)
    for _second in range(PATIENCE):
        if not missing(state):
            return
        time.sleep(1)
    print(f"still lost: {'; '.join(missing(state))}; applying all of netplan", file=sys.stderr, flush=True)
    run("netplan", "apply")


# ---- letting the renderer do it


def generate() -> None:
    program = next(([path] for path in GENERATORS if Path(path).exists()), ["netplan", "generate"])
    run(*program)


def activate(netdevs: list[str]) -> None:
    """Have netplan's files configure these netdevs; all others keep what they have, connections included.

    ``netplan apply`` would stop NetworkManager and take the addresses off every netdev, the management one's too.
    """
    before = {netdev: renderer_of(netdev) for netdev in netdevs}
    generate()
    after = {netdev: renderer_of(netdev) for netdev in netdevs}
    run("udevadm", "control", "--reload", must=False)
    both = [*before.values(), *after.values()]
    networkmanager = run("systemctl", "is-active", "NetworkManager", must=False).strip() == "active"
    if networkmanager:  # it reads netplan's rules for udev when it starts, and not again
        for netdev in (name for name in netdevs if after[name] == "networkd"):
            run("nmcli", "device", "set", netdev, "managed", "no", must=False)
        released = [name for name in netdevs if before[name] == "networkd" and after[name] != "networkd"]
        if released:
            run("networkctl", "reload")
        for netdev in released:
            # With an address on it, were it IPv6's own, NetworkManager would make a profile for that.
            run("ip", "link", "set", netdev, "down", must=False)
            run("nmcli", "device", "set", netdev, "managed", "yes", must=False)
        run("nmcli", "general", "reload", "conf", must=False)
        run("nmcli", "connection", "reload")
    if "networkd" in both:
        run("networkctl", "reload")
        for netdev in netdevs:
            run("networkctl", "reconfigure", netdev, must=False)
    if networkmanager:
        for netdev in (name for name, renderer in after.items() if renderer == "NetworkManager"):
            # One without a signal cannot be activated, and waits for it.
            run("nmcli", "--wait", "15", "connection", "up", f"netplan-{netdev}", "ifname", netdev, must=False)
    for netdev in (name for name, renderer in after.items() if renderer and (ROOT / "sys/class/net" / name).exists()):
        run("ip", "link", "set", netdev, "up", must=False)


def wait_for(netdevs: list[str], ready: Any, seconds: float) -> None:
    """Wait until ``ready`` says so of each netdev, for some time at most: what is missing is found out later."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(ready(netdev) for netdev in netdevs):
        time.sleep(0.5)


def addressed(netdev: str) -> bool:
    return any(entry["addr_info"] for entry in ip("-4", "addr", "show", "dev", netdev))


def lit(netdev: str) -> bool:
    return (ROOT / "sys/class/net" / netdev / "carrier").read_text().strip() == "1"


def renderer_of(netdev: str) -> str:
    """Who was told by netplan to configure a netdev, nothing if nobody."""
    if (ROOT / f"run/NetworkManager/system-connections/netplan-{netdev}.nmconnection").exists():
        return "NetworkManager"
    return "networkd" if (ROOT / f"run/systemd/network/10-netplan-{netdev}.network").exists() else ""


def main() -> int:
    parser = argparse.ArgumentParser(description="Capture, activate or restore the network of a DGX Spark's fabric.")
    commands = parser.add_subparsers(dest="command", required=True)
    capturing = commands.add_parser("capture")
    capturing.add_argument("directory", type=Path, help=f"for {LAST}, and {FIRST} unless that is there")
    capturing.add_argument("--netdev", action="append", default=[])
    capturing.add_argument("--file", action="append", default=[])
    activating = commands.add_parser("activate")
    activating.add_argument("--netdev", action="append", default=[])
    activating.add_argument("--unless-late", action="store_true", help="refuse when the way back was taken meanwhile")
    activating.add_argument("--asks", action="append", default=[], help="a netdev that is to get its address by itself")
    commands.add_parser("confirm")
    commands.add_parser("raise").add_argument("--netdev", action="append", default=[])
    restoring = commands.add_parser("restore")
    restoring.add_argument("state", type=Path)
    restoring.add_argument("--fabric-only", action="store_true", help="leave the rest of the network as it is now")
    options = parser.parse_args()
    try:
        return do(options)
    except OSError as exc:
        print(exc, file=sys.stderr)
        return 1


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Change one thing at a time: the time of the way back may come in the middle of something else."""
    with Path(__file__).open(encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def do(options: argparse.Namespace) -> int:
    """Do what was asked for."""
    if options.command == "confirm":
        with alone():
            confirm()
    elif options.command == "activate":
        with alone():
            if options.unless_late and not way_back_waits():
                raise OSError("the way back was taken before the change: it took too long to come to it")
            activate(options.netdev)
        wait_for(options.asks, addressed, 30)
    elif options.command == "raise":
        for netdev in options.netdev:
            run("ip", "link", "set", netdev, "up")
        wait_for(options.netdev, lit, 5)  # a cage without a cable never will be
    elif options.command == "restore":
        run("systemctl", "stop", WAY_BACK, must=False)  # where it runs already, it comes first or last, and once more
        with alone():
            restore(json.loads(options.state.read_text()), options.fabric_only)
        forget_first(options.state)
    else:
        # A change that nobody confirmed may be on its way back: what it left is not what the network is.
        wait_for([WAY_BACK], lambda unit: run("systemctl", "is-active", unit, must=False).strip() == "inactive", 180)
        text = json.dumps(capture(options.netdev, options.file), indent=2) + "\n"
        for name in (LAST, *([] if (options.directory / FIRST).exists() else [FIRST])):
            write(options.directory / name, text.encode(), 0o600, os.geteuid(), os.getegid())
    return 0


if __name__ == "__main__":
    sys.exit(main())
