# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the RDMA devices carry, and whether those that a rank is to use are on the bus.

The node exporter leaves out all devices where one of them has no directory of counters, and says nothing; this does
not. Sources: the kernel's Documentation/ABI/stable/sysfs-class-infiniband, and drivers/infiniband/hw/mlx5/counters.c
for the names below hw_counters.
"""

from __future__ import annotations

from pathlib import Path

from . import engines
from .text import Metrics

SYSFS = Path("/sys/class/infiniband")
WORD = 4  # bytes, in which data is counted
DATA = {"port_xmit_data": "sent", "port_rcv_data": "received"}
#: counters by which a fabric that loses or delays packets shows; absent where the driver has them not
EVENTS = (
    "out_of_sequence",
    "packet_seq_err",
    "local_ack_timeout_err",
    "implied_nak_seq_err",
    "rnr_nak_retry_err",
    "roce_adp_retrans",
    "rx_icrc_encapsulated",
    "np_cnp_sent",
    "rp_cnp_handled",
    "np_ecn_marked_roce_packets",
)


def count(path: Path) -> int | None:
    """A counter, None where there is none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def collect(found: Metrics, sysfs: Path = SYSFS, etc: Path = engines.ETC, states: Path = engines.STATES) -> None:
    """Bytes and events of each port, and for each device that a rank is to use whether it is there."""
    for port in sorted(sysfs.glob("*/ports/[0-9]*")):
        labels = {"device": port.parent.parent.name, "port": port.name}
        for file, direction in DATA.items():
            words = count(port / "counters" / file)
            found.counter(
                "dgx_spark_rdma_bytes_total",
                "Bytes that a port has carried by RDMA.",
                None if words is None else words * WORD,
                direction=direction,
                **labels,
            )
        for event in EVENTS:
            found.counter(
                "dgx_spark_rdma_events_total",
                "Events of a port, by the name of mlx5's counter.",
                count(port / "hw_counters" / event),
                event=event,
                **labels,
            )
    for one in engines.servings(etc, states):
        devices = one.node.get("rdma_devices")
        for device in devices if isinstance(devices, list) else []:
            found.gauge(
                "dgx_spark_rdma_device_present",
                "Whether an RDMA device that a rank is to use is there.",
                (sysfs / str(device)).exists(),
                serving=one.name,
                device=str(device),
            )
