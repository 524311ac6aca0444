# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Docker runs, told without a word to it: systemd starts a stopped Docker for whoever connects to its socket.

This module util is private to the collection.
"""

from __future__ import annotations

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import SOCKET, Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.bounded import UnreadError, run

UNIT = "docker.service"
RESTS = ("inactive", "failed", "deactivating")  # states of the unit in which a question would start it


def rests(path: str = SOCKET) -> str:
    """Why an engine is not to be asked, in words; empty where it runs, is starting, or is not one of systemd's.

    :param path: of its socket; of another one than the usual systemd knows nothing.
    """
    if path != SOCKET:
        return ""
    try:
        code, said = run(["systemctl", "show", UNIT, "--property=LoadState", "--property=ActiveState"])
    except UnreadError:
        return ""
    shown = dict(line.partition("=")[::2] for line in said.splitlines() if "=" in line) if not code else {}
    if shown.get("LoadState") == "loaded" and shown.get("ActiveState") in RESTS:
        return f"Docker is stopped ({UNIT} is {shown['ActiveState']}), and a question would start it"
    return ""


def awake(docker: Docker) -> Docker:
    """The same engine. :raises UnreadError: where it is stopped, so that a look leaves it as it is."""
    if why := rests(docker.path):
        raise UnreadError(why)
    return docker
