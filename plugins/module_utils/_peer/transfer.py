# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One copy from the leader, with its connections, its figures, and the interface that carried the bytes.

This module util is private to the collection.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.hashed import HashedFile
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import access, counters
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.pull import Peer, Pull, PullError

#: of a module that takes something from elsewhere
ATTEMPT_OPTIONS = {"attempts": {"type": "int", "default": 5}, "stall_seconds": {"type": "int", "default": 120}}


class Transfer:
    """Everything that one module copies."""

    def __init__(self, place: access.Place, stall_seconds: float) -> None:
        """Prepare the copy.

        :raises CopyError: when no access was opened for the copy.
        """
        self._stall, how = stall_seconds, place.connected()
        self._argv, self.address, self._streams = access.ssh_argv(place, how), how.address, how.streams
        self._plain = "" if how.encrypted else access.source_address(how.address, how.port)
        self._began, self._before, self._busy = time.monotonic(), counters.received(), counters.processor_time()
        self._spent = {"receive": 0.0, "hash": 0.0, "write": 0.0}
        self.moved = 0

    def pull(
        self,
        files: Sequence[HashedFile],
        target: Path,
        partial: Path,
        on_whole: Callable[[HashedFile, Path], None],
    ) -> str:
        """Copy what can be had now. Return why that is not all, or an empty string.

        :raises PullError: when another attempt would fail too.
        """
        pull = Pull(self.connected, files, target, partial, on_whole, self._stall)
        try:
            reason = pull.run(self._streams)
        finally:
            self.moved += pull.moved
            for what, seconds in pull.seconds.items():
                self._spent[what] += seconds
        return self.reason(reason)

    def connected(self) -> Peer:
        """Return a connection to the leader."""
        return Peer(self._argv, self._stall, self._plain)

    def reason(self, said: str) -> str:
        """Return why a connection broke, with what that means.

        :raises PullError: when another attempt would fail too.
        """
        lasting = access.final(said, self.address)
        if lasting:
            raise PullError(lasting)
        return said + access.turned_away(said)

    def figures(self, netdev: str) -> dict[str, Any]:
        """Return what modules tell of a copy that is done; nothing where no byte was copied.

        :param netdev: the interface by which the leader is reached.
        """
        if not self.moved:
            return {}
        seconds = max(time.monotonic() - self._began, 0.001)
        busy, whole = (now - then for now, then in zip(counters.processor_time(), self._busy))
        rate = self.moved / seconds
        carried = {name: count - self._before.get(name, 0) for name, count in counters.received().items()}
        return {
            "moved_bytes": self.moved,
            "address": self.address,
            "netdev": netdev,
            "carried_bytes": {name: count for name, count in carried.items() if count > 0.01 * self.moved},
            "gb_per_second": round(rate / 1e9, 3),
            "bound_by": counters.bound_by(self._spent, busy / (whole or 1), rate, counters.link_speed(netdev)),
        }
