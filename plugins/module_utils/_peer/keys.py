# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ssh key of one copy, made on the Spark that receives.

This module util is private to the collection.
"""

from __future__ import annotations

import shutil
from typing import Any, Callable, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import make_private_directory
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer.access import CopyError, Place, check_key


def made(place: Place, address: str, run: Callable[[Sequence[str]], Any]) -> dict[str, Any]:
    """Create the pair; return who is to be authorized (``reader``), and the file that tells the ``progress``.

    :param address: this host's own, from which the other Spark is reached. :param run: runs a program, and fails where
        that does.
    :raises CopyError: when there is no ssh-keygen.
    """
    program = shutil.which("ssh-keygen")
    if program is None:
        raise CopyError("ssh-keygen is not there: install openssh-client")
    make_private_directory(place.top)
    make_private_directory(place.folder)
    draft = place.folder / "new"
    for path in (draft, draft.with_suffix(".pub")):
        path.unlink(missing_ok=True)
    run([program, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(draft)])
    # An interrupted run's key, or the key of a play that runs at the same time, whose connection stays.
    draft.with_suffix(".pub").replace(place.key.with_suffix(".pub"))
    draft.replace(place.key)
    public_key = check_key(place.key.with_suffix(".pub").read_text(encoding="utf-8"))
    return {"reader": {"address": address, "public_key": public_key}, "progress": str(place.progress)}
