# SIMULATED: the device nodes of a virtual Spark. No driver is behind them: opening one gives ENXIO, but for uverbs*,
# which have the numbers of /dev/null and its like, and so can be opened.
"""/dev/nvidia* and /dev/infiniband/*, as far as the faults allow."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path

from virtual_spark import layout
from virtual_spark.layout import ON_THE_BUS, Card, Layout
from virtual_spark.roce import FUNCTIONS, UVERBS_NODES, uverbs, verbs_number

NVIDIA, NVIDIA_CTL_MINOR = 195, 255
NVIDIA_UVM = (503, 0)  # the major is handed out at load time; 503 is what public captures show
RDMA_CM = (10, 58)


def read_gpus(path: Path) -> list[str]:
    """The UUIDs in a gpus file: one a line, blank lines and comments left out."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def seed_gpus(path: Path, wanted: str | None) -> None:
    """Give the Spark its one GPU at first power-on. Later ones leave the file as it is, for tests to edit."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{wanted or 'GPU-' + str(uuid.uuid4())}\n")


def wanted_nodes(gpus: int, faults: frozenset[str], card: Card = ON_THE_BUS) -> dict[str, tuple[int, int]]:
    """Name below /dev -> (major, minor)."""
    nodes: dict[str, tuple[int, int]] = {}
    if layout.GPU_DRIVER_MISSING not in faults:
        nodes = {f"nvidia{index}": (NVIDIA, index) for index in range(gpus)}
        nodes |= {"nvidiactl": (NVIDIA, NVIDIA_CTL_MINOR), "nvidia-uvm": NVIDIA_UVM}
        nodes["nvidia-uvm-tools"] = (NVIDIA_UVM[0], 1)
    if not faults & {layout.NO_RDMA, layout.RDMA_CLASS_EMPTY, layout.RDMA_DEVICES_MISSING}:
        nodes["infiniband/rdma_cm"] = RDMA_CM  # of a module, not of a card: it stays without one
        for function in FUNCTIONS if card.present and layout.RDMA_UVERBS_MISSING not in faults else ():
            number = uverbs(function, card.added)
            nodes[f"infiniband/uverbs{number}"] = verbs_number(number, layout.RDMA_UVERBS_RENUMBERED in faults)
    return nodes


def all_nodes() -> list[str]:
    """Every name that this module may ever have made."""
    return [*wanted_nodes(16, frozenset()), *(f"infiniband/uverbs{number}" for number in range(UVERBS_NODES))]


def reconcile(place: Layout) -> list[str]:
    """Make /dev match GPUs and faults. Returns what went wrong, in words."""
    wanted = wanted_nodes(len(read_gpus(place.gpus)), place.faults(), place.card())
    for name in all_nodes():
        path = place.dev / name
        if name not in wanted and path.is_char_device():
            path.unlink()
    infiniband = place.dev / "infiniband"
    if infiniband.is_dir() and not any(infiniband.iterdir()):
        infiniband.rmdir()
    problems = []
    for name, (major, minor) in wanted.items():
        path = place.dev / name
        if path.exists():
            there = path.stat()
            if not stat.S_ISCHR(there.st_mode) or there.st_rdev == os.makedev(major, minor):
                continue
            path.unlink()
        try:
            path.parent.mkdir(mode=0o755, exist_ok=True)
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            path.chmod(0o666)  # mknod obeys the umask
        except OSError as error:
            problems.append(f"cannot make {path} ({major}:{minor}): {error.strerror}; CAP_MKNOD is needed")
    return problems
