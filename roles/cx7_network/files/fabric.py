# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change the network of the fabric on the host itself, so that nothing depends on a connection that may be cut.

``capture`` records the network as it is: the content of the role's files, all routes, and of every netdev its
addresses, MTU, ARP settings and whether it is up. ``activate`` has the host's renderer configure the netdevs of the
fabric, and no others. ``restore`` restores what was captured. A transient timer, the rollback, runs it unless
``confirm``, over a new connection, cancels the timer in time. Once the timer has fired, ``activate`` and ``confirm``
fail and change nothing.
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
# NetworkManager changes these with every connection, and leaves what the last one needed.
IPV6 = ("accept_ra", "disable_ipv6")
# The program behind 'netplan generate', which itself would have systemd read all its units again. From netplan 1.2 on
# 'configure' writes for the renderers, and 'generate' for systemd alone.
GENERATORS = (
    "/usr/libexec/netplan/configure",
    "/usr/libexec/netplan/generate",
    "/usr/lib/netplan/generate",
    "/lib/netplan/generate",
)
PROFILES = "etc/NetworkManager/system-connections"
FIRST, LAST = "first.json", "last.json"
ROLLBACK = "dgx-spark-fabric-rollback.timer"
OLD_ROLLBACK = "dgx-spark-fabric-way-back.timer"  # its name in the first commits of version 0.1
ROUNDS = 6  # of checking whether the restored state stays
MANAGEMENT_SECONDS = 20  # that the management network may take to come back by itself

State = Dict[str, Any]


def run(*command: str, must: bool = True) -> str:
    """Run a program; returns its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if must and done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip() or done.returncode}")
    return done.stdout


def ip(*words: str) -> list[dict[str, Any]]:
    return [entry for entry in json.loads(run("ip", "-j", *words) or "[]") if entry]


# ---- capturing


def file_state(path: Path) -> dict[str, Any] | None:
    """Return a file's content, mode and owner, None where there is none."""
    if not path.is_file():
        return None
    found = path.stat()
    content = base64.b64encode(path.read_bytes()).decode()
    return {"content": content, "mode": found.st_mode & 0o7777, "uid": found.st_uid, "gid": found.st_gid}


def netdev_states(addresses: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what can be restored, from ``ip -j addr``. IPv6 link-local addresses come and go by themselves."""
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
    """Return the routes as words, from ``ip -j -4 route``, without the metrics, which NetworkManager renumbers."""
    wanted = ("type", "dst", "gateway", "dev", "prefsrc")
    return sorted(" ".join(f"{name} {route[name]}" for name in wanted if name in route) for route in routes)


def arp_path(netdev: str, name: str) -> Path:
    return ROOT / "proc/sys/net/ipv4/conf" / netdev / name


def ipv6_settings(netdev: str) -> dict[str, str]:
    """Return a netdev's IPv6 settings; none where the kernel has no IPv6."""
    paths = {name: ROOT / "proc/sys/net/ipv6/conf" / netdev / name for name in IPV6}
    return {name: path.read_text().strip() for name, path in paths.items() if path.exists()}


def restore_ipv6(settings: dict[str, dict[str, str]]) -> None:
    for netdev, wanted in settings.items():
        for name, value in ipv6_settings(netdev).items():
            if wanted.get(name, value) != value:
                (ROOT / "proc/sys/net/ipv6/conf" / netdev / name).write_text(wanted[name])


def changed_profiles(netdevs: list[str]) -> list[str]:
    """Return the profiles that NetworkManager keeps of its own under the names that netplan's have.

    'nmcli connection modify' makes one of netplan's, which counts again once netplan's is not there any more.
    """
    names = [f"id=netplan-{netdev}" for netdev in netdevs]
    found = []
    for path in sorted((ROOT / PROFILES).glob("*.nmconnection")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        if any(name in lines for name in names):
            found.append(path.name)
    return found


def capture(netdevs: list[str], files: list[str]) -> State:
    return {
        "files": {path: file_state(ROOT / path.lstrip("/")) for path in files},
        "netdevs": netdev_states(ip("addr")),
        "routes": route_lines(ip("-4", "route")),
        "profiles": changed_profiles(netdevs),
        "fabric": netdevs,
        "arp": {netdev: {name: arp_path(netdev, name).read_text().strip() for name in ARP} for netdev in netdevs},
        "ipv6": {netdev: ipv6_settings(netdev) for netdev in netdevs},
    }


# ---- restoring


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


def restoring_commands(wanted: dict[str, Any], now: dict[str, Any], netdevs: list[str]) -> list[list[str]]:
    """Return the arguments of ``ip`` that restore netdevs, as far as no renderer does."""
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


def restore_netdevs(state: State, only: tuple[str, ...] = ()) -> int:
    """Restore the fabric's netdevs; returns how many commands that took."""
    steps = restoring_commands(state["netdevs"], netdev_states(ip("addr")), state["fabric"])
    steps = [step for step in steps if not only or tuple(step[: len(only)]) == only]
    for step in steps:
        run("ip", *step, must=False)
    return len(steps)


def restore(state: State, fabric_only: bool) -> None:
    restore_files(state.get("files", {}))
    fabric = state["fabric"]
    for name in changed_profiles(fabric):
        if name not in state.get("profiles", []):
            (ROOT / PROFILES / name).unlink()  # it would bring the fabric's addresses back
    # First of all: NetworkManager makes a profile of its own for a netdev that it is given with an address on it.
    restore_netdevs(state, only=("addr", "del"))
    activate(fabric)
    unchanged = 0
    for _round in range(ROUNDS):  # a renderer goes on for a moment after it has returned
        time.sleep(2)
        unchanged = 0 if restore_netdevs(state) else unchanged + 1
        if unchanged == 2:
            break
    for netdev, settings in state["arp"].items():
        for name, value in settings.items():
            if arp_path(netdev, name).exists():
                arp_path(netdev, name).write_text(value)
    restore_ipv6(state.get("ipv6", {}))
    if not fabric_only:
        restore_management(state)


def rollback_waits() -> bool:
    """Whether the timer is yet to fire. A timer stays active while the unit that it started runs."""
    return run("systemctl", "show", "--property=SubState", "--value", ROLLBACK, must=False).strip() == "waiting"


def confirm() -> None:
    """Cancel the rollback."""
    late = not rollback_waits()
    run("systemctl", "stop", ROLLBACK, must=False)
    service = run("systemctl", "is-active", ROLLBACK.replace(".timer", ".service"), must=False).strip()
    if late or service in ("activating", "active"):  # the timer may have fired just now
        raise OSError("the change was not confirmed in time: the host went back to its earlier network")


def forget_first(state: Path) -> None:
    """Forget the state before the first change where that change was rolled back, so that the next one captures it."""
    first = state.with_name(FIRST)
    if state.name != LAST or not first.exists():
        return
    last = json.loads(state.read_text())
    last.pop("files", None)  # the ledger keeps the original files
    if {**json.loads(first.read_text()), "files": None} == {**last, "files": None}:
        first.unlink()


def missing(state: State) -> list[str]:
    """Return the captured addresses and routes outside the fabric that are not there any more."""
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
    """Restore what was lost outside the fabric. This program takes nothing away there, but others may have."""
    now = netdev_states(ip("addr"))
    for name, before in state["netdevs"].items():
        if name in now and before["up"] and not now[name]["up"]:
            run("ip", "link", "set", name, "up", must=False)
    for _second in range(MANAGEMENT_SECONDS):
        if not missing(state):
            return
        time.sleep(1)
    print(f"still lost: {'; '.join(missing(state))}; applying all of netplan", file=sys.stderr, flush=True)
    run("netplan", "apply")


# ---- activating


def generate() -> None:
    program = next(([path] for path in GENERATORS if Path(path).exists()), ["netplan", "generate"])
    run(*program)


def activate(netdevs: list[str]) -> None:
    """Have the renderer configure these netdevs from netplan's files. All others keep addresses and connections.

    ``netplan apply`` would stop NetworkManager and remove the addresses of every netdev, the management one included.
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
    """Wait until each netdev is ready, for some seconds at most. A later check finds what is still missing."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(ready(netdev) for netdev in netdevs):
        time.sleep(0.5)


def inactive(unit: str) -> bool:
    return run("systemctl", "is-active", unit, must=False).strip() == "inactive"


def has_address(netdev: str) -> bool:
    return any(entry["addr_info"] for entry in ip("-4", "addr", "show", "dev", netdev))


def has_carrier(netdev: str) -> bool:
    return (ROOT / "sys/class/net" / netdev / "carrier").read_text().strip() == "1"


def renderer_of(netdev: str) -> str:
    """Return the renderer that netplan gave a netdev to, an empty string for none."""
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
    activating.add_argument("--unless-late", action="store_true", help="fail where the rollback timer has fired")
    activating.add_argument("--dynamic", action="append", default=[], help="a netdev that gets its address by itself")
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
def locked() -> Iterator[None]:
    """Make one change at a time, since the rollback timer may fire in the middle of another change."""
    with Path(__file__).open(encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def do(options: argparse.Namespace) -> int:
    """Run one command."""
    if options.command == "confirm":
        with locked():
            confirm()
    elif options.command == "activate":
        with locked():
            if options.unless_late and not rollback_waits():
                raise OSError("the rollback timer fired before the change was made: the run took too long until here")
            activate(options.netdev)
        wait_for(options.dynamic, has_address, 30)
    elif options.command == "raise":
        for netdev in options.netdev:
            run("ip", "link", "set", netdev, "up")
        wait_for(options.netdev, has_carrier, 5)  # a cage without a cable never has one
    elif options.command == "restore":
        # Where the rollback runs already, this restores once more, before or after it.
        for unit in (ROLLBACK, OLD_ROLLBACK):
            run("systemctl", "stop", unit, must=False)
        with locked():
            restore(json.loads(options.state.read_text()), options.fabric_only)
        forget_first(options.state)
    else:
        # A pending rollback would restore another state than the one that is captured here.
        wait_for([ROLLBACK, OLD_ROLLBACK], inactive, 180)
        state = capture(options.netdev, options.file)
        states = {LAST: state}
        if not (options.directory / FIRST).exists():
            states[FIRST] = {name: part for name, part in state.items() if name != "files"}  # the ledger keeps these
        for name, part in states.items():
            text = json.dumps(part, indent=2) + "\n"
            write(options.directory / name, text.encode(), 0o600, os.geteuid(), os.getegid())
    return 0


if __name__ == "__main__":
    sys.exit(main())
