# SIMULATED: stands in for Mellanox's ibdev2netdev in a virtual Spark.
"""Own code with the tool's documented output, spacing, exit codes and order of lines."""

from __future__ import annotations

import contextlib
import functools
import locale
import re
import sys
from pathlib import Path

USAGE = """ibdev2netdev <options>
-h, --help                print help message
-v, --verbose             print more info"""
PCI = re.compile(r"^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")


def read(path: Path) -> str | None:
    """A sysfs attribute, or None if there is none or it does not answer."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def listing(folder: Path) -> list[str]:
    """As ``ls`` lists it: in the order of the locale."""
    return sorted((path.name for path in folder.iterdir()), key=functools.cmp_to_key(locale.strcoll))


def strings(data: bytes) -> list[str]:
    """As strings(1): runs of at least four printable characters."""
    return [run.decode() for run in re.findall(rb"[\t\x20-\x7e]{4,}", data)]


def link_state(net: Path) -> str:
    if not (net / "dev_id").is_file():
        return ""
    if not (net / "carrier").is_file():
        return "NA"
    return "Up" if read(net / "carrier") == "1" else "Down"


def product(device: Path) -> tuple[str, str]:
    """(part number, description) from the VPD; blanks where it may not be read."""
    vpd = device / "vpd"
    if not vpd.is_file():
        return "NA", ""
    try:
        found = strings(vpd.read_bytes())
    except OSError as error:
        print(f"cat: {vpd}: {error.strerror}", file=sys.stderr)
        found = []
    part = (found[:4] or [""])[-1].split()
    return f"{part[0] if part else '':<11}", f"{found[0] if found else '':<15}"


def pci_address(device: Path) -> str:
    """The function that the device sits on; empty, as the tool has it, where there is none."""
    parts = device.resolve().parts if device.exists() else ()
    return next((part for part in reversed(parts) if PCI.match(part)), "")


def verbose(rdma: Path, port: str) -> tuple[str, str]:
    """What -v puts before and into a line."""
    device = rdma / "device"
    number, firmware, state = read(device / "device"), read(rdma / "fw_ver"), read(rdma / "ports" / port / "state")
    kind = f"MT{int(number, 16)}" if number else "NA"
    part, description = product(device)
    words = (state or "").split()
    shown = "NA" if state is None else f"{words[1] if len(words) > 1 else '':<6}"
    firmware = "NA" if firmware is None else firmware
    return f"{pci_address(device)} {rdma.name} ({kind} - {part}) {description} fw {firmware}", f" ({shown})"


def netdev_of(rdma: Path, port: str, net: Path) -> str | None:
    """By the GID table; where that is silent, the netdev of the same PCI resources."""
    named = read(rdma / "ports" / port / "gid_attrs/ndevs/0")
    if named:
        return named
    return next((name for name in listing(rdma / "device/net") if (net / name).exists()), None)


def lines(sysfs: Path, detailed: bool) -> list[str]:
    net, rdma = sysfs / "class/net", sysfs / "class/infiniband"
    # The real tool asks every netdev for its vendor; here only the RDMA device has a PCI function to ask.
    if not any("0x15b3" in (read(path / "device/vendor") or "") for path in rdma.iterdir()):
        return []
    found = []
    for name in listing(rdma):
        for port in listing(rdma / name / "ports"):
            netdev = netdev_of(rdma / name, port, net)
            if netdev is None:
                continue
            head, state = verbose(rdma / name, port) if detailed else (name, "")
            found.append(f"{head} port {port}{state} ==> {netdev} ({link_state(net / netdev)})")
    return found


def main(arguments: list[str], sysfs: Path = Path("/sys")) -> int:
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if arguments not in ([], ["-v"]):  # --verbose is advertised and refused
        print(USAGE)
        return 255
    if not (sysfs / "class/infiniband").is_dir():
        return 255
    with contextlib.suppress(locale.Error):  # an unknown locale is C, as for ls
        locale.setlocale(locale.LC_COLLATE, "")
    for line in lines(sysfs, bool(arguments)):
        print(line)
    return 0
