# SIMULATED: what the sysfs of two ConnectX-7 ports says, as text.
"""Pure functions: from what the kernel says of a netdev to the files of its RoCE device.

The shape is that of the trees in the project's fixtures, dressed as mlx5 dresses it. Whatever is not known
from a public source is zero or says that it is simulated.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

FIRMWARE = "28.45.4028"
DEVICE_ID = 0x1021  # 4129 in decimal: "MT4129"
VENDOR_ID = 0x15B3
DESCRIPTION = "SIMULATED ConnectX-7 (virtual Spark), 200GbE, dual-port QSFP112"
PART_NUMBER = "900-SIM-CX7"
GID_TABLE = 255
UVERBS_NODES = 64  # that the kernel can have
EMPTY_GID = ":".join(["0000"] * 8)
MEM, OPENED = 1, (3, 5, 7, 8, 9)  # the numbers of null, zero, full, random and urandom
SPEED = 200000  # Mb/s of a cage; each PCIe half reports the whole of it


@dataclass(frozen=True)
class Function:
    """One PCI function of the two ConnectX-7 halves: a netdev and its RoCE device."""

    netdev: str
    device: str
    pci: str
    uverbs: int


FUNCTIONS = (
    Function("enp1s0f0np0", "rocep1s0f0", "0000:01:00.0", 0),
    Function("enp1s0f1np1", "rocep1s0f1", "0000:01:00.1", 1),
    Function("enP2p1s0f0np0", "roceP2p1s0f0", "0002:01:00.0", 2),
    Function("enP2p1s0f1np1", "roceP2p1s0f1", "0002:01:00.1", 3),
)


@dataclass(frozen=True)
class Counters:
    """The part of a netdev's statistics that the RDMA counters follow."""

    rx_packets: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_errors: int = 0
    tx_dropped: int = 0
    multicast: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, name) + getattr(other, name) for name in Counters.__annotations__))


@dataclass(frozen=True)
class Link:
    """What the kernel says of a netdev. ``carrier`` means nothing unless it is ``up``."""

    index: int
    up: bool
    carrier: bool
    mac: str
    counters: Counters = Counters()


def pci_path(address: str) -> str:
    """Where a function sits below ``devices``: behind the root port of its own PCI domain."""
    domain = address.split(":", maxsplit=1)[0]
    return f"pci{domain}:00/{domain}:00:00.0/{address}"


def expand(address: str) -> str:
    """An IP address as sysfs prints a GID; IPv4 is mapped into IPv6."""
    packed = ipaddress.ip_address(address).packed
    words = (bytes(10) + b"\xff\xff" + packed if len(packed) == 4 else packed).hex()
    return ":".join(words[start : start + 4] for start in range(0, 32, 4))


def default_gid(mac: str) -> str:
    """The link-local GID that follows from the MAC address, whatever addresses the netdev has."""
    octets = [int(octet, 16) for octet in mac.split(":")]
    octets = [octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]]
    words = [f"{octets[i]:02x}{octets[i + 1]:02x}" for i in range(0, 8, 2)]
    return ":".join(["fe80", "0000", "0000", "0000", *words])


def guid(mac: str) -> str:
    """The node GUID that mlx5 firmware makes of a MAC address."""
    digits = mac.replace(":", "")
    return ":".join([digits[:4], digits[4:6] + "03", "00" + digits[6:8], digits[8:]])


def gid_table(mac: str, addresses: list[str]) -> list[tuple[str, str]]:
    """(GID, type) by index: each address twice, v1 and v2 in turn, the default first."""
    gids = list(dict.fromkeys([default_gid(mac), *map(expand, addresses)]))
    return [(gid, kind) for gid in gids for kind in ("IB/RoCE v1", "RoCE v2")][:GID_TABLE]


def port_files(function: Function, link: Link | None, addresses: list[str]) -> dict[str, str]:
    """The files below a RoCE device that change with its netdev."""
    active = bool(link and link.up and link.carrier)
    files = {
        "ports/1/state": "4: ACTIVE" if active else "1: DOWN",
        "ports/1/phys_state": "5: LinkUp" if active else "3: Disabled",
        "ports/1/rate": "200 Gb/sec (4X HDR)" if active else "40 Gb/sec (4X QDR)",
    }
    if link:
        for index, (gid, kind) in enumerate(gid_table(link.mac, addresses)):
            files[f"ports/1/gids/{index}"] = gid
            files[f"ports/1/gid_attrs/types/{index}"] = kind
            files[f"ports/1/gid_attrs/ndevs/{index}"] = function.netdev
    return files


def counter_files(total: Counters) -> dict[str, str]:
    """``counters/``: data is counted in words of four bytes."""
    values = {
        "port_xmit_data": total.tx_bytes // 4,
        "port_rcv_data": total.rx_bytes // 4,
        "port_xmit_packets": total.tx_packets,
        "port_rcv_packets": total.rx_packets,
        "unicast_xmit_packets": total.tx_packets,
        "unicast_rcv_packets": total.rx_packets - total.multicast,
        "multicast_rcv_packets": total.multicast,
        "port_rcv_errors": total.rx_errors,
        "port_xmit_discards": total.tx_dropped,
    }
    return {f"ports/1/counters/{name}": str(max(0, value)) for name, value in values.items()}


_ZERO_COUNTERS = [
    "VL15_dropped",
    "excessive_buffer_overrun_errors",
    "link_downed",
    "link_error_recovery",
    "local_link_integrity_errors",
    "multicast_xmit_packets",
    "port_rcv_constraint_errors",
    "port_rcv_remote_physical_errors",
    "port_rcv_switch_relay_errors",
    "port_xmit_constraint_errors",
    "port_xmit_wait",
    "symbol_error",
]
_ZERO_HW_COUNTERS = [
    "duplicate_request",
    "implied_nak_seq_err",
    "local_ack_timeout_err",
    "np_cnp_sent",
    "np_ecn_marked_roce_packets",
    "out_of_buffer",
    "out_of_sequence",
    "packet_seq_err",
    "req_cqe_error",
    "req_cqe_flush_error",
    "req_remote_access_errors",
    "req_remote_invalid_request",
    "resp_cqe_error",
    "resp_cqe_flush_error",
    "resp_local_length_error",
    "resp_remote_access_errors",
    "rnr_nak_retry_err",
    "roce_adp_retrans",
    "roce_adp_retrans_to",
    "roce_slow_restart",
    "roce_slow_restart_cnps",
    "roce_slow_restart_trans",
    "rp_cnp_handled",
    "rp_cnp_ignored",
    "rx_atomic_requests",
    "rx_icrc_encapsulated",
    "rx_read_requests",
    "rx_write_requests",
]


def static_files(function: Function) -> dict[str, str]:
    """The files below a RoCE device, as they are while its link is down."""
    port = {
        "cap_mask": "0x00010000",
        "lid": "0x0",
        "lid_mask_count": "0",
        "link_layer": "Ethernet",
        "sm_lid": "0x0",
        "sm_sl": "0",
        "pkeys/0": "0xffff",
        "hw_counters/lifespan": "10",
        **{f"counters/{name}": "0" for name in _ZERO_COUNTERS},
        **{f"hw_counters/{name}": "0" for name in _ZERO_HW_COUNTERS},
        **{f"gids/{index}": EMPTY_GID for index in range(GID_TABLE)},
    }
    return {
        "board_id": "NVD0000000000",
        "fw_ver": FIRMWARE,
        "hca_type": f"MT{DEVICE_ID}",
        "hw_rev": "0",
        "node_desc": f"MT{DEVICE_ID} ConnectX7 SIMULATED",
        "node_guid": ":".join(["0000"] * 4),
        "node_type": "1: CA",
        "sys_image_guid": ":".join(["0000"] * 4),
        "uevent": f"NAME={function.device}",
        **{f"ports/1/{name}": value for name, value in port.items()},
        **port_files(function, None, []),
        **counter_files(Counters()),
    }


def uverbs(function: Function, added: int = 0) -> int:
    """The number of a function's device node: a card that is hot-added gets new ones, while old ones are held open."""
    return (function.uverbs + len(FUNCTIONS) * added) % UVERBS_NODES


def verbs_number(uverbs: int, renumbered: bool = False) -> tuple[int, int]:
    """Major and minor of a uverbs.

    Of /dev/null and its like, since a program that looks whether it may use RDMA opens the node, and without a driver
    no other number can be opened. :param renumbered: other ones than before, as after a hot-add.
    """
    return MEM, OPENED[(uverbs + renumbered) % len(OPENED)]


def verbs_files(added: int = 0, renumbered: bool = False) -> dict[str, str]:
    """/sys/class/infiniband_verbs, of a card that was hot-added so many times."""
    files = {"abi_version": "6"}
    for function in FUNCTIONS:
        number = uverbs(function, added)
        files[f"uverbs{number}/ibdev"] = function.device
        files[f"uverbs{number}/abi_version"] = "1"
        major, minor = verbs_number(number, renumbered)
        files[f"uverbs{number}/dev"] = f"{major}:{minor}"
    return files


def speed_files(link: Link) -> dict[str, str]:
    """What a netdev's ``speed`` and ``duplex`` say; without carrier mlx5 knows neither."""
    return {"speed": str(SPEED), "duplex": "full"} if link.carrier else {"speed": "-1", "duplex": "unknown"}


def vpd() -> bytes:
    """PCI vital product data whose strings are, in order: description, part, revision, serial, vendor data."""

    def large(tag: int, body: bytes) -> bytes:
        return bytes([tag]) + len(body).to_bytes(2, "little") + body

    def field(name: bytes, value: str) -> bytes:
        return name + bytes([len(value)]) + value.encode()

    # ibdev2netdev takes the first word of the fourth printable string for the part number, wherever that comes
    # from; the blank keeps the value apart from the keyword that follows it.
    values = {b"PN": PART_NUMBER, b"EC": "SIM1", b"V2": PART_NUMBER, b"SN": "SIMULATED"}
    body = b"".join(field(name, f"{value} ") for name, value in values.items())
    return large(0x82, DESCRIPTION.encode()) + large(0x90, body) + b"\x78"


def pci_files(function: Function) -> dict[str, bytes]:
    """The attributes of the PCI function."""
    number = int(function.pci[:4], 16) * 2 + int(function.pci[-1])
    base = 0x5000000000 + number * 0x4000000  # every function its own, as ibdev2netdev matches by it
    bars = [(base, base + 0x1FFFFFF, 0x14220C), (base + 0x2000000, base + 0x27FFFFF, 0x14220C)]
    bars += [(0, 0, 0)] * 11
    text = {
        "vendor": f"{VENDOR_ID:#06x}",
        "device": f"{DEVICE_ID:#06x}",
        "subsystem_vendor": f"{VENDOR_ID:#06x}",
        "subsystem_device": "0x0000",
        "class": "0x020000",
        "revision": "0x00",
        "numa_node": "-1",
        "enable": "1",
        "current_link_speed": "32.0 GT/s PCIe",
        "current_link_width": "4",
        "max_link_speed": "32.0 GT/s PCIe",
        "max_link_width": "4",
        "resource": "\n".join(f"{start:#018x} {end:#018x} {flags:#018x}" for start, end, flags in bars),
        "uevent": f"DRIVER=mlx5_core\nPCI_CLASS=20000\nPCI_ID={VENDOR_ID:04X}:{DEVICE_ID:04X}\n"
        f"PCI_SLOT_NAME={function.pci}",
    }
    return {**{name: f"{value}\n".encode() for name, value in text.items()}, "vpd": vpd()}
