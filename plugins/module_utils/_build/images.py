# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that were built from source, by their labels, and what such an image is checked for.

This module util is private to the collection.
"""

from __future__ import annotations

import json
from typing import Any, Mapping
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import architectures, layout, offers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, reads_answers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.images import names_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import image_facts, trtllm_image

#: says in an image that trtllm-build is there
BUILD_COMMAND = "commands/build.py"


@reads_answers
def built_images(docker: Docker) -> list[dict[str, Any]]:
    """All images with the label of a commit: ``id``, ``names``, ``commit``, ``archs``, ``bytes``.

    What was built on such an image has its labels too, and a name of its own: only ours is the image itself.
    """
    filters = json.dumps({"label": [layout.COMMIT_LABEL]})
    found = []
    for one in docker.ask("GET", f"/images/json?filters={quote(filters)}"):
        about = docker.image(str(one["Id"]))
        labels = ((about or {}).get("Config") or {}).get("Labels") or {}
        commit = str(labels.get(layout.COMMIT_LABEL) or "")
        if about is None or not layout.COMMIT.fullmatch(commit):
            continue
        found.append(
            {
                "id": str(about["Id"]),
                "names": [name for name in names_of(about) if name == layout.image_name(commit)],
                "commit": commit,
                "archs": str(labels.get(layout.ARCHS_LABEL) or ""),
                "bytes": int(about.get("Size") or 0),
            }
        )
    return found


@reads_answers
def facts(docker: Docker, name: str, limits: image_facts.Limits, meminfo: str) -> dict[str, Any]:
    """What an image says of itself, without a GPU: ``id``, ``version``, ``commit``, ``codes``, ``engines``; empty where it is not there.

    ``codes`` is by library for which GPUs it has code, None where that could not be listed, for ``no_codes_because``.
    :param meminfo: the text of that file.
    """
    about = docker.image(name)
    if about is None:
        return {}
    image: dict[str, Any] = {"id": str(about["Id"]), "environment": list((about.get("Config") or {}).get("Env") or [])}
    package = trtllm_image.package_facts(docker, image)
    told = offers.says({"config": {"Env": image["environment"]}})
    found = {"id": image["id"], "version": package["version"], "commit": told["commit"], "package": package["package"]}
    if not package["package"]:
        return {**found, "codes": None, "no_codes_because": "the image has no package tensorrt_llm", "engines": ""}
    program = image_facts.Program(
        ("/bin/bash", "-c", architectures.SCRIPT, package["package"]),
        ("NVIDIA_VISIBLE_DEVICES=void",),
        "cuobjdump",
    )
    codes, why = image_facts.heard(
        docker, image["id"], trtllm_image.PLACES, program, limits, meminfo, architectures.counted
    )
    with image_facts.Container(docker, image["id"], trtllm_image.PLACES) as container:
        has = container.file(f"{package['package']}/{BUILD_COMMAND}") is not None
    missing = offers.engines_problem(package["version"]) or f"{package['package']}/{BUILD_COMMAND} is not there"
    return {**found, "codes": codes, "no_codes_because": why, "engines": "" if has else missing}


@reads_answers
def engines_of(docker: Docker, name: str, convert: str) -> tuple[str, str]:
    """The version of an image, and why it builds no engines, empty where it does.

    :param convert: the program that converts a checkpoint, in the image.
    """
    about = docker.image(name)
    if about is None:
        return "", "it is not on this Spark: pull it first, or build it"
    image: dict[str, Any] = {"id": str(about["Id"]), "environment": list((about.get("Config") or {}).get("Env") or [])}
    package = trtllm_image.package_facts(docker, image)
    version = str(package["version"])
    with image_facts.Container(docker, image["id"], trtllm_image.PLACES) as container:
        for path in (f"{package['package']}/{BUILD_COMMAND}", convert):
            if container.file(path) is None:
                return version, offers.engines_problem(version) or f"{path} is not there"
    return version, ""


def problems(found: Mapping[str, Any], commit: str) -> list[str]:
    """What is wrong with an image that was to be built from a commit.

    >>> problems({"commit": "a", "version": "1.4.0rc1", "codes": {}}, "b")[0]
    'it says that it is of commit a'
    """
    wrong = []
    if found["commit"] and found["commit"] != commit:
        wrong.append(f"it says that it is of commit {found['commit']}")
    if not found["version"]:
        wrong.append("it has no package tensorrt_llm that tells its version")
    if found["codes"] is not None:
        wrong += [one for one in [architectures.problem(found["codes"])] if one]
    return wrong
