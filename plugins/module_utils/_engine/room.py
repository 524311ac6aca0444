# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The room that an image takes on its way to each Spark, from what is known before a byte of it has moved.

This module util is private to the collection.

Docker keeps images in one of two ways. The graph driver keeps unpacked layers, which travel unpacked, and ``docker
load`` unpacks each archive into a directory of its own before it looks at it (moby 28, image/tarexport/load.go).
containerd keeps each layer twice, as it was pulled and unpacked, sends it as it was pulled, and loads without a copy.
The leader's layers are read where they are; where Docker keeps images in yet another way, ``docker save`` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import Need

#: unpacked bytes for each byte of a layer as a registry has it; TensorRT-LLM's images of 20 GB are 40 GB and more
UNPACKED = 2.5
CONTAINERD = "containerd"
PULL, COPY = "pull", "copy"  # the steps, of which each leaves no temporary file behind


@dataclass(frozen=True)
class Image:
    """An image as it lies in Docker, or as a registry has it.

    :param packed: bytes of its layers, compressed. :param unpacked: bytes of the same layers, unpacked.
    """

    packed: int
    unpacked: int


def of_registry(compressed: int) -> Image:
    """Return the sizes of an image of which a registry's manifest tells the compressed bytes."""
    return Image(compressed, int(compressed * UNPACKED))


def of_docker(size: int, store: str) -> Image:
    """Return the sizes of an image that Docker has.

    :param size: as Docker tells it: unpacked with the graph driver, compressed with containerd.
    """
    return of_registry(size) if store == CONTAINERD else Image(int(size / UNPACKED), size)


def leader_needs(found: Mapping[str, Any], image: Image, pulled: bool, copied: bool) -> Iterator[Need]:
    """Yield what the image takes on the leader.

    :param found: ``store`` and ``room`` of its Docker. :param pulled: whether the image is yet to be pulled.
    :param copied: whether other Sparks get it from here.
    """
    room, containerd = found["room"], found["store"] == CONTAINERD
    if pulled:
        yield _need(room["images"], "the image's layers", image.unpacked)
        if containerd:
            yield _need(room["images"], "the image's layers as they were pulled", image.packed)
        else:
            yield _need(room["docker"], "the image's layers while they are pulled", image.packed, PULL)
    if copied and "saved" in room:
        yield _need(room["saved"], "the image as docker save writes it for the other Sparks", image.unpacked, COPY)


def worker_needs(found: Mapping[str, Any], copied: Image) -> Iterator[Need]:
    """Yield what the image takes on a Spark that gets it from the leader."""
    room = found["room"]
    if found["store"] == CONTAINERD:
        yield _need(room["images"], "the image's layers as they were copied", copied.packed)
    else:
        yield _need(room["docker"], "docker load's own copy, of the largest layers", copied.unpacked, COPY)
    yield _need(room["images"], "the image's layers", copied.unpacked)


def _need(place: Mapping[str, Any], what: str, count: int, step: str = "") -> Need:
    return Need(what, place["path"], {**place["filesystem"]}, count, step)


def moves(
    members: Sequence[str], found: Mapping[str, Mapping[str, Any]], image_id: str, base_bytes: int
) -> dict[str, dict[str, Any]]:
    """Return by member what of the image has to come to it: the ``bytes``, and the ``way``, ``pull`` or ``copy``.

    As :func:`needs` is asked, which tells what lies where in the meantime.
    """
    leader = found[members[0]]
    image, there = _image(leader, image_id, base_bytes)
    if image is None:
        return {}
    copies = _copies(members, found, image_id, image)
    sizes = {name: one.packed if leader["store"] == CONTAINERD else one.unpacked for name, one in copies.items()}
    pulled = {} if there else {members[0]: {"bytes": image.packed, "way": PULL}}
    return {**pulled, **{name: {"bytes": count, "way": COPY} for name, count in sizes.items()}}


def has_layers(base: Sequence[str], images: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether one of the images begins with all layers of the base, so that these need not travel.

    >>> has_layers(["a", "b"], [{"layers": ["a", "b", "c"]}]), has_layers(["a", "b"], [{"layers": ["a"]}])
    (True, False)
    >>> has_layers([], [])
    False
    """
    return bool(base) and any(list(one.get("layers", []))[: len(base)] == list(base) for one in images)


def needs(
    members: Sequence[str], found: Mapping[str, Mapping[str, Any]], image_id: str, base_bytes: int
) -> dict[str, list[Need]]:
    """Return by member what the image takes there.

    :param members: the leader first. :param found: by member the ``docker`` of engine_host_info, as it was before the
        first change. :param image_id: the engine's image, empty where it was not built by then.
    :param base_bytes: what a registry tells of the base image, negative where it was not asked.
    """
    leader = found[members[0]]
    image, there = _image(leader, image_id, base_bytes)
    if image is None:
        return {name: [] for name in members}
    copies = _copies(members, found, image_id, image)
    return {
        members[0]: list(leader_needs(leader, image, not there, bool(copies))) if leader.get("room") else [],
        **{name: [] for name in members[1:]},
        **{name: list(worker_needs(found[name], copied)) for name, copied in copies.items() if found[name].get("room")},
    }


def _image(leader: Mapping[str, Any], image_id: str, base_bytes: int) -> tuple[Image | None, bool]:
    """Return the sizes of the image, None where nobody knows of any, and whether it, or its base, is on the leader."""
    built: Mapping[str, Any] = {}
    if image_id:
        built = next((one for one in leader.get("built", []) if one["id"] == image_id), {})
    there = built or leader.get("base") or {}
    if there:
        return of_docker(there.get("bytes", 0), leader["store"]), True
    return (None if base_bytes < 0 else of_registry(base_bytes)), False


def _copies(
    members: Sequence[str], found: Mapping[str, Mapping[str, Any]], image_id: str, image: Image
) -> dict[str, Image]:
    """Return by worker what it lacks of the image, of those that lack any."""
    base, store = found[members[0]].get("base") or {}, found[members[0]]["store"]
    return {name: _travels(store, image, base, found[name]) for name in members[1:] if _lacks(found[name], image_id)}


def _lacks(found: Mapping[str, Any], image_id: str) -> bool:
    return not image_id or image_id not in found["images"]


def _travels(store: str, image: Image, base: Mapping[str, Any], receiver: Mapping[str, Any]) -> Image:
    """Return what of the image a Spark lacks. With containerd, all layers travel."""
    if store == CONTAINERD or not has_layers(base.get("layers", []), receiver.get("built", [])):
        return image
    known = of_docker(base.get("bytes", 0), store)
    return Image(max(0, image.packed - known.packed), max(0, image.unpacked - known.unpacked))
