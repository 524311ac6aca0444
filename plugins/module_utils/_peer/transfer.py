# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is private to the collection: it may change at any time.
"""One copy from another Spark, with its connections, its figures, and the interface that carried it."""

from __future__ import annotations

import json
import time
import typing as t
from pathlib import Path

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import make_own
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.hub import RepoFile
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import copy as peer_copy
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.pull import Peer, Pull, PullError, bound_by

PEER_OPTIONS = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 22},
    "user": {"type": "str", "required": True},
    "host_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "streams": {"type": "int", "default": 4},
    "encrypted": {"type": "bool", "default": True},
}
BRING_OPTIONS = {"attempts": {"type": "int", "default": 5}, "stall_seconds": {"type": "int", "default": 120}}


class Transfer:
    """Everything that is copied by one module."""

    def __init__(self, params: t.Mapping[str, t.Any], keys: Path) -> None:
        """Prepare it.

        :param params: a module's, with PEER_OPTIONS and BRING_OPTIONS.
        :param keys: where M(sparkops.dgx_spark.hf_copy_key) has put the key.
        """
        self._asked = params
        hosts = make_own(keys) / "known_hosts"
        hosts.write_text(peer_copy.known_hosts(params["host_keys"]), encoding="utf-8")
        self._argv = peer_copy.ssh_argv(keys / "id_ed25519", hosts, params["user"], params["address"], params["port"])
        self._plain = "" if params["encrypted"] else peer_copy.source_address(params["address"], params["port"])
        self._began, self._before, self._busy = time.monotonic(), peer_copy.received(), peer_copy.processor_time()
        self._spent = {"receive": 0.0, "hash": 0.0, "write": 0.0}
        self.moved = 0

    def pull(
        self, files: list[RepoFile], target: Path, partial: Path, on_whole: t.Callable[[RepoFile, Path], None]
    ) -> str:
        """Take what can be had now. Returns why it is not all, or nothing."""
        stall = self._asked["stall_seconds"]
        pull = Pull(lambda: Peer(self._argv, stall, self._plain), files, target, partial, on_whole, stall)
        try:
            reason = pull.run(self._asked["streams"])
        finally:
            self.moved += pull.moved
            for what, seconds in pull.seconds.items():
                self._spent[what] += seconds
        lasting = peer_copy.final(reason, self._asked["address"])
        if lasting:
            raise PullError(lasting)
        return reason

    def figures(self, netdev: str) -> dict[str, t.Any]:
        """Return what modules tell of a copy that is done. ``netdev``: by which the other Spark is reached."""
        seconds = max(time.monotonic() - self._began, 0.001)
        busy, whole = (now - then for now, then in zip(peer_copy.processor_time(), self._busy))
        rate = self.moved / seconds
        carried = {name: count - self._before.get(name, 0) for name, count in peer_copy.received().items()}
        return {
            "moved_bytes": self.moved,
            "netdev": netdev,
            "carried_bytes": {name: count for name, count in carried.items() if count > 0.01 * self.moved},
            "gb_per_second": round(rate / 1e9, 3),
            "bound_by": bound_by(self._spent, busy / (whole or 1), rate, peer_copy.link_speed(netdev)),
        }


def netdev_towards(run_command: t.Callable[..., tuple[int, str, str]], address: str) -> str:
    """Return the interface by which an address is reached, or nothing if nobody knows."""
    rc, out, _err = run_command(["ip", "-json", "route", "get", address])
    if rc:
        return ""
    return json.loads(out)[0].get("dev", "")
