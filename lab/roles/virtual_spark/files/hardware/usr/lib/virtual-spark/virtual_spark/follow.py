# SIMULATED: keeps a virtual Spark's RoCE devices in step with its real links.
"""Hear of every change of a link or an address at once; look at the byte counters once a second."""

from __future__ import annotations

import errno
import select
import time

from virtual_spark import boot, devices, layout, mounts, netlink, roce, tree
from virtual_spark.layout import Layout
from virtual_spark.roce import Counters, Function, Link

PERIOD = 1.0  # s between looks at the counters
SETTLE = 0.02  # s: one `ip link` or cable is several messages


class Odometer:
    """Counters that go on when the netdev below them is made anew, as a real card's do."""

    def __init__(self) -> None:
        self._index = 0
        self._before = self._now = Counters()

    def total(self, link: Link | None) -> Counters:
        if link:
            if link.index != self._index:
                self._before += self._now
                self._index = link.index
            self._now = link.counters
        return self._before + self._now


class Netdev:
    """Lays ``speed`` and ``duplex`` over the sysfs of one netdev.

    Only over these two files: udev takes a netdev whose directory is covered for none at all, and NetworkManager
    then leaves it alone. That is why ``device``, a link, cannot be there.
    """

    def __init__(self, place: Layout, function: Function) -> None:
        self._folder = place.netdev(function.netdev)
        self._sysfs = place.sys / "class/net" / function.netdev

    def dress(self, link: Link) -> None:
        real = self._sysfs.resolve()
        for name, text in roce.speed_files(link).items():
            mine, shown = self._folder / name, real / name
            tree.rewrite_file(mine, f"{text}\n".encode())
            bound = mounts.is_bound(mine, shown)
            if link.up and not bound:
                mounts.bind(mine, shown, read_only=True)
            elif bound and not link.up:  # the real attribute says EINVAL then, as every NIC's does
                mounts.unmount(shown)


class Follower:
    """One pass brings all files in line with what the kernel says now."""

    def __init__(self, place: Layout) -> None:
        self._place = place
        self._trees = boot.rdma_trees(place)
        for one in self._trees.values():
            one.load()
        self._netdevs = {f.netdev: Netdev(place, f) for f in roce.FUNCTIONS}
        self._odometers = {f.netdev: Odometer() for f in roce.FUNCTIONS}
        self._macs: dict[str, str] = {}
        self._dressed: dict[str, tuple[int, bool, bool]] = {}
        self._addresses: dict[int, list[str]] = {}
        self._stamp: tuple[int, ...] = ()
        self._still = False  # by the fault of that name
        self._card = place.card()
        if not self._card.present:
            boot.take_away(place)

    def look(self, changed: bool) -> None:
        """``changed``: addresses may have changed too, not only counters."""
        found = netlink.links()
        links = {f.netdev: found[f.netdev] for f in roce.FUNCTIONS if f.netdev in found}
        if changed:
            self._addresses = netlink.addresses()
        self._follow_card()
        for function in roce.FUNCTIONS if self._card.present else ():
            link = links.get(function.netdev)
            self._trees[function.device].update(self.files(function, link))
            if link:
                self._dress(function, link)
            else:
                self._dressed.pop(function.netdev, None)
        self._devices()

    def _follow_card(self) -> None:
        """Take the card off the bus, or put it back with new device nodes, as the keeper of the cables has done."""
        card = self._place.card()
        if card == self._card:
            return
        boot.say(f"the ConnectX-7 is {'on' if card.present else 'off'} the bus")
        boot.take_away(self._place)
        if card.present:
            boot.build(self._place)
        self._trees = boot.rdma_trees(self._place)
        self._odometers = {f.netdev: Odometer() for f in roce.FUNCTIONS}
        self._dressed = {}
        self._card, self._stamp = card, ()

    def files(self, function: Function, link: Link | None) -> dict[str, str]:
        """All that changes of one RoCE device."""
        if link and link.mac:
            self._macs[function.netdev] = link.mac
        files = roce.port_files(function, link, self._addresses.get(link.index, []) if link else [])
        files.update(roce.counter_files(self._odometers[function.netdev].total(None if self._still else link)))
        if function.netdev in self._macs:
            files["node_guid"] = roce.guid(self._macs[function.netdev])
        if self._macs:  # one card, one image: the first function's
            first = min(self._macs, key=[f.netdev for f in roce.FUNCTIONS].index)
            files["sys_image_guid"] = roce.guid(self._macs[first])
        return files

    def _dress(self, function: Function, link: Link) -> None:
        now = (link.index, link.up, link.carrier)
        if self._dressed.get(function.netdev) == now:
            return
        boot.say(f"{function.netdev}: {'up' if link.up else 'down'}, {'carrier' if link.carrier else 'no carrier'}")
        try:
            self._netdevs[function.netdev].dress(link)
        except OSError as error:  # tried again at the next look
            if error.errno != errno.ENOENT:  # pulled while we looked: the next message says so
                boot.say(f"cannot dress {function.netdev}: {error}")
        else:
            self._dressed[function.netdev] = now

    def _devices(self) -> None:
        """GPUs and faults may be edited while the machine runs."""
        watched = (self._place.gpus, self._place.etc / "faults")
        stamp = tuple(path.stat().st_mtime_ns for path in watched if path.exists())
        if stamp != self._stamp:
            self._stamp = stamp
            self._still = layout.RDMA_COUNTERS_STILL in self._place.faults()
            boot.verbs(self._place)
            for problem in devices.reconcile(self._place):
                boot.say(problem)


def main() -> int:
    place = Layout()
    if not place.classes.is_dir():  # started by hand, or power-on went wrong
        boot.boot(place)
    follower = Follower(place)
    sock = netlink.listen()
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    follower.look(changed=True)
    while True:
        if poll.poll(PERIOD * 1000):
            time.sleep(SETTLE)
            follower.look(changed=netlink.drain(sock))
        else:
            follower.look(changed=False)
