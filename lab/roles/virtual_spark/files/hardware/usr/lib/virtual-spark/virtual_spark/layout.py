# SIMULATED: where a virtual Spark keeps its simulated hardware.
"""Names and places, in one spot so that tests can move them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# What a test may break, each by a file of that name below /etc/virtual-spark/faults.
NO_RDMA = "no-rdma"  # the RDMA driver is not loaded: no class directory, no device nodes
RDMA_CLASS_EMPTY = "rdma-class-empty"  # ib_core is loaded, no driver has a device
RDMA_DEVICES_MISSING = "rdma-devices-missing"  # sysfs is there, /dev/infiniband is not
RDMA_UVERBS_MISSING = "rdma-uverbs-missing"  # /dev/infiniband has rdma_cm alone, as without any card
RDMA_UVERBS_RENUMBERED = "rdma-uverbs-renumbered"  # every uverbs has another device number, as after a hot-add
RDMA_COUNTERS_STILL = "rdma-counters-still"  # the RDMA counters do not move, as where nothing goes by RDMA
GPU_DRIVER_MISSING = "gpu-driver-missing"


@dataclass(frozen=True)
class Card:
    """The ConnectX-7, all four functions of it."""

    present: bool = True
    added: int = 0


ON_THE_BUS = Card()


@dataclass(frozen=True)
class Layout:
    """The roots that the simulation reads and writes."""

    run: Path = Path("/run/virtual-spark")
    etc: Path = Path("/etc/virtual-spark")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    proc: Path = Path("/proc")
    nvidia: Path = Path("/etc/nvidia")

    @property
    def gpus(self) -> Path:
        return self.etc / "gpus"

    @property
    def classes(self) -> Path:
        """What is bind-mounted over /sys/class/infiniband and /sys/class/infiniband_verbs."""
        return self.run / "class"

    @property
    def devices(self) -> Path:
        """The PCI functions that are not in the real /sys/devices."""
        return self.run / "devices"

    def netdev(self, name: str) -> Path:
        """Files that are laid over the sysfs directory of a netdev."""
        return self.run / "net" / name

    def faults(self) -> frozenset[str]:
        folder = self.etc / "faults"
        return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()

    @property
    def hotplug_switch(self) -> Path:
        """Whether this Spark's DGX OS has the hot-plug driver; read at boot."""
        return self.etc / "hotplug"

    @property
    def hotplug_marker(self) -> Path:
        """What DGX OS arms the hot-plug driver by, at boot."""
        return self.nvidia / "cx7-hotplug-enabled"

    @property
    def hotplug(self) -> Path:
        """The driver's attributes, and what the keeper of the cables has done to the card."""
        return self.run / "hotplug"

    def card(self) -> Card:
        """Whether the ConnectX-7 is on the bus, and how often it was hot-added since the boot."""
        return Card(_number(self.hotplug / "present", 1) == 1, _number(self.hotplug / "added", 0))


def _number(path: Path, default: int) -> int:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return default
