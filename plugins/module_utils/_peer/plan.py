# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change on each Spark so that all of them have the leader's files: a pure function.

This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change, text_of

COPY = "Copy the files from the leader"
KEY = "Remove the key from the receivers"
ACCESS = "Remove the authorized keys from the leader"
#: the names of all changes, which are the names of the tasks that make them
CHANGES = (COPY, KEY, ACCESS)


class PeerPlanError(ValueError):
    """The files cannot come to all Sparks; the message names host, value, cause and mend."""


def plan(name: str, reserve_gb: int, found: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the changes of each host.

    :param name: what is copied. :param reserve_gb: what is to stay free on every disk.
    :param found: what peer_copy_info returned, by host, the leader first, who has the files.
    :raises PeerPlanError: where the leader lacks a file, or a disk is too small.
    """
    leader, refusals = next(iter(found)), []
    for host, one in found.items():
        if host == leader and one["problems"]:
            lines = "; ".join(f"{path}: {what}" for path, what in sorted(one["problems"].items())[:5])
            refusals.append(f"{host} has not all files of {name} in {one['directory']}: {lines}")
        elif one["problems"] and one["free_bytes"] < one["needed_bytes"] + reserve_gb * 1e9:
            refusals.append(
                f"{host}: {name} needs {one['needed_bytes'] / 1e9:.2f} GB more in {one['directory']} and {reserve_gb} "
                f"GB are to stay free (peer_copy_reserve_gb), but {one['free_bytes'] / 1e9:.2f} GB are free: make room"
            )
    if refusals:
        raise PeerPlanError(f"{'. '.join(refusals)}. Nothing was changed.")
    copying = any(one["problems"] for one in found.values())
    return {host: _changes(name, leader, one, copying) for host, one in found.items()}


def _changes(name: str, leader: str, found: Mapping[str, Any], copying: bool) -> list[Any]:
    if found["problems"]:
        before = text_of(f"{path}: {what}" for path, what in sorted(found["problems"].items())[:10])
        count = len(found["problems"])
        figures = f"{count} file{'' if count == 1 else 's'}, {found['needed_bytes'] / 1e9:.2f} GB"
        return [change(COPY, before, f"Copy {name} from {leader} ({figures})\n")]
    left = found["left_behind"]
    if copying:  # a copy replaces what an interrupted one left, and removes everything at its end
        return []
    return [change(what) for what, there in ((KEY, left["key"]), (ACCESS, left["authorized_key"])) if there]
