# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the log of the newest container of a name.

This module util is private to the collection.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    Docker,
    DockerError,
    reads_answers,
)


def pattern(name: str) -> str:
    """What a container's name is that is this one, or of a service of the stack of this name."""
    return f"^/{name}(_.*)?$"


@reads_answers
def newest(docker: Docker, name: str, count: int, *, times: bool = False) -> tuple[str, list[str]]:
    """Return the newest container of a name and its last lines, nothing where there is none.

    :param times: whether each line begins with its time.
    """
    named = quote(json.dumps({"name": [pattern(name)]}))
    found = docker.ask("GET", f"/containers/json?all=1&limit=1&filters={named}")
    if not found:
        return "", []
    try:
        return found[0]["Names"][0].lstrip("/"), docker.log(found[0]["Id"], count, times=times)
    except DockerError as error:
        if error.status != 404:  # else it was removed just now
            raise
        return "", []
