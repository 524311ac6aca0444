# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change what a Swarm is asked for: a node, or a service.

This module util is private to the collection.
"""

from __future__ import annotations

import copy
import time
from typing import Any, Callable, Mapping
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError, reads_answers

TRIES = 5


def update(docker: Docker, target: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the specification of what lies at a target, such as ``/nodes/x``. :raises DockerError: when refused."""
    for attempt in range(TRIES):
        found = docker.ask("GET", target)
        try:
            docker.ask("POST", f"{target}/update?version={found['Version']['Index']}", change(found["Spec"]))
            return
        except DockerError as error:
            # One that has just come is still being written by the swarm itself.
            if "update out of sequence" not in str(error) or attempt == TRIES - 1:
                raise
            time.sleep(0.5)


@reads_answers
def replicas(spec: Mapping[str, Any]) -> int | None:
    """How many containers a service is to have, None for one with a container on each node.

    :param spec: of the service.

    >>> replicas({"Mode": {"Replicated": {"Replicas": 2}}}), replicas({"Mode": {"Global": {}}})
    (2, None)
    """
    replicated = (spec.get("Mode") or {}).get("Replicated")
    return None if replicated is None else int(replicated.get("Replicas") or 0)


@reads_answers
def scaled(spec: Mapping[str, Any], count: int, anew: bool = False) -> dict[str, Any]:
    """The specification of a service with so many containers.

    :param anew: whether those that run, or have ended, are to be started anew, too.

    >>> scaled({"Mode": {"Replicated": {"Replicas": 2}}, "TaskTemplate": {"ForceUpdate": 1}}, 1, anew=True)
    {'Mode': {'Replicated': {'Replicas': 1}}, 'TaskTemplate': {'ForceUpdate': 2}}
    """
    found = copy.deepcopy(dict(spec))
    found["Mode"]["Replicated"]["Replicas"] = count
    if anew:
        found["TaskTemplate"]["ForceUpdate"] = int(found["TaskTemplate"].get("ForceUpdate") or 0) + 1
    return found


def scale(docker: Docker, name: str, count: int, anew: bool = False) -> None:
    """Have a service have so many containers. :raises DockerError: when there is none, or the Swarm refuses."""
    update(docker, f"/services/{quote(name, safe='')}", lambda spec: scaled(spec, count, anew))
