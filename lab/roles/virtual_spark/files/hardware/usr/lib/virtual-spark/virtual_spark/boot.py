# SIMULATED: what happens in a virtual Spark before its systemd starts.
"""Power-on: a fresh boot id, the names of the network devices, and the simulated hardware."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, Callable

from virtual_spark import devices, layout, mounts, roce, tree
from virtual_spark.layout import Layout

HOTPLUG_ATTRIBUTES = ("hotplug_enabled", "debug_state")
DOCKER_NAME, SPARK_NAME = "eth0", "enP7s7"  # the management NIC: what Docker calls it, what a Spark calls it


def say(text: str) -> None:
    print(f"virtual-spark: {text}", file=sys.stderr, flush=True)


def rdma_trees(place: Layout) -> dict[str, tree.Tree]:
    """The RoCE devices by name."""
    root = place.classes / "infiniband"
    return {f.device: tree.Tree(root / f.device, roce.static_files(f)) for f in roce.FUNCTIONS}


def verbs(place: Layout) -> None:
    """Write /sys/class/infiniband_verbs, with the device numbers that are true now."""
    card = place.card()
    renumbered = layout.RDMA_UVERBS_RENUMBERED in place.faults()
    for name, text in roce.verbs_files(card.added, renumbered).items() if card.present else ():
        tree.write_file(place.classes / "infiniband_verbs" / name, f"{text}\n".encode())


def build(place: Layout) -> None:
    """Write all simulated sysfs, with every link down. Mounts nothing."""
    added = place.card().added
    for one in rdma_trees(place).values():
        one.create()
    verbs(place)
    driver = place.run / "bus/pci/drivers/mlx5_core"
    driver.mkdir(parents=True, exist_ok=True)
    for function in roce.FUNCTIONS:
        pci = place.devices / roce.pci_path(function.pci)
        for name, content in roce.pci_files(function).items():
            tree.write_file(pci / name, content, 0o400 if name == "vpd" else 0o444)
        tree.link(pci / "infiniband" / function.device, place.sys / "class/infiniband" / function.device)
        tree.link(pci / "net" / function.netdev, place.sys / "class/net" / function.netdev)
        tree.link(pci / "driver", driver)
        tree.link(pci / "subsystem", place.sys / "bus/pci")
        tree.link(place.classes / "infiniband" / function.device / "device", pci)
        tree.link(place.classes / "infiniband_verbs" / f"uverbs{roce.uverbs(function, added)}" / "device", pci)
        place.netdev(function.netdev).mkdir(parents=True, exist_ok=True)


def take_away(place: Layout) -> None:
    """Remove all four functions from the simulated sysfs, as the hot-plug driver takes the card off the bus."""
    for function in roce.FUNCTIONS:
        shutil.rmtree(place.classes / "infiniband" / function.device, ignore_errors=True)
        shutil.rmtree(place.devices / roce.pci_path(function.pci), ignore_errors=True)
    for one in (place.classes / "infiniband_verbs").glob("uverbs*"):
        shutil.rmtree(one)


def arm_hotplug(place: Layout) -> None:
    """Put the hot-plug driver's attributes into sysfs, where this Spark's DGX OS has it. The marker arms it."""
    if not place.hotplug_switch.exists():
        return
    armed = place.hotplug_marker.exists()
    for name, text in (("hotplug_enabled", f"{armed:d}"), ("debug_state", "1"), ("present", "1"), ("added", "0")):
        tree.write_file(place.hotplug / name, f"{text}\n".encode(), 0o644)
    attributes = "MTKP0001:00/pcie_hotplug"
    skeleton = place.run / "platform"
    for name in HOTPLUG_ATTRIBUTES:
        (skeleton / attributes).mkdir(parents=True, exist_ok=True)
        (skeleton / attributes / name).touch()
    platform = place.sys / "devices/platform"
    mounts.overlay([skeleton, platform], platform)
    for name in HOTPLUG_ATTRIBUTES:
        mounts.bind(place.hotplug / name, platform / attributes / name)
    say(f"the hot-plug driver of the ConnectX-7 is {'on' if armed else 'off'}")


def lay_over_sys(place: Layout) -> None:
    """Make /sys/class/infiniband and /sys/class/infiniband_verbs appear, as the faults allow."""
    faults = place.faults()
    if layout.NO_RDMA in faults:
        say("fault no-rdma: there is no /sys/class/infiniband")
        return
    names = ("infiniband", "infiniband_verbs")
    skeleton = place.run / "skeleton"
    for name in names:
        (skeleton / name).mkdir(parents=True, exist_ok=True)
    # The overlay only makes the two mount points. net is bound back from the real sysfs, because netdevs
    # come and go there, which an overlay does not notice.
    real_net = place.run / "real-net"
    real_net.mkdir(exist_ok=True)
    mounts.bind(place.sys / "class/net", real_net)
    mounts.overlay([skeleton, place.sys / "class"], place.sys / "class")
    mounts.bind(real_net, place.sys / "class/net")
    mounts.unmount(real_net)
    real_net.rmdir()
    if layout.RDMA_CLASS_EMPTY in faults:
        say("fault rdma-class-empty: /sys/class/infiniband is there and empty")
        return
    for name in names:
        mounts.bind(place.classes / name, place.sys / "class" / name, read_only=True)


def fresh_boot_id(place: Layout) -> None:
    """A container shares the kernel's boot id, so a reboot would not show in it."""
    mine = place.run / "boot_id"
    tree.write_file(mine, f"{uuid.uuid4()}\n".encode())
    mounts.bind(mine, place.proc / "sys/kernel/random/boot_id", read_only=True)


def writable_kernel_files(place: Layout) -> None:
    """Docker mounts these read-only; udev, netplan, sysctl and the engine inside want to write there."""
    mounts.remount_writable(place.sys)
    with (place.proc / "mounts").open() as lines:
        if any(line.split()[1] == "/proc/sys" for line in lines):  # only where Docker covered it
            mounts.remount_writable(place.proc / "sys", bound=True)


def rename_plan(
    addresses: list[dict[str, Any]], routes: list[dict[str, Any]], old: str = DOCKER_NAME, new: str = SPARK_NAME
) -> list[list[str]]:
    """The ``ip`` commands that rename a device and give back what going down takes from it."""
    plan = [["link", "set", old, "down"], ["link", "set", old, "name", new], ["link", "set", new, "up"]]
    for one in addresses:
        for info in one.get("addr_info", []):
            # IPv4 addresses stay over a down; global IPv6 ones do not.
            if info["family"] == "inet6" and info["scope"] == "global":
                plan.append(["address", "replace", f"{info['local']}/{info['prefixlen']}", "dev", new, "nodad"])
    # Gateways must be reachable when they are named: device routes first.
    for route in sorted(routes, key=lambda route: "gateway" in route):
        if route.get("protocol") == "kernel":
            continue
        words = ["route", "replace", route["dst"]]
        words += ["via", route["gateway"]] if "gateway" in route else []
        words += ["dev", new]
        words += ["metric", str(route["metric"])] if "metric" in route else []
        plan.append(words)
    return plan


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def rename_management(place: Layout) -> None:
    net = place.sys / "class/net"
    if not (net / DOCKER_NAME).exists() or (net / SPARK_NAME).exists():
        return
    addresses = json.loads(_ip("-j", "address", "show", "dev", DOCKER_NAME))
    routes = [
        route
        for family in ("-4", "-6")
        for route in json.loads(_ip(family, "-j", "route", "show", "dev", DOCKER_NAME) or "[]")
    ]
    for words in rename_plan(addresses, routes):
        _ip(*words)


def device_nodes(place: Layout) -> None:
    devices.seed_gpus(place.gpus, os.environ.get("VIRTUAL_SPARK_GPU_UUID"))
    for problem in devices.reconcile(place):
        say(problem)


def _attempt(steps: list[Callable[[Layout], None]], place: Layout) -> int:
    """Each step on its own: a machine with half its hardware still boots, and its log says which half."""
    failed = 0
    for step in steps:
        try:
            step(place)
        except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
            failed = 1
            say(f"{step.__name__.replace('_', ' ')} failed: {type(error).__name__}: {error}")
    return failed


def boot(place: Layout | None = None) -> int:
    """Put the simulated hardware in place. Needs root, and is done once a boot."""
    place = place or Layout()
    place.run.mkdir(parents=True, exist_ok=True)
    return _attempt([arm_hotplug, build, lay_over_sys, device_nodes], place)


def power_on(place: Layout | None = None) -> int:
    """All of it, as PID 1, before systemd."""
    place = place or Layout()
    place.run.mkdir(parents=True, exist_ok=True)

    def share_root(_place: Layout) -> None:
        mounts.share(Path("/"))  # as on a real host, where systemd does it: later mounts reach every service

    # A boot id that fails leaves ansible.builtin.reboot waiting; the other steps do not depend on each other either.
    early = _attempt([share_root, writable_kernel_files, fresh_boot_id, rename_management], place)
    return boot(place) or early
