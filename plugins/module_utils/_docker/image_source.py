# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image consists of, what of it an engine lacks, and in which parts it is loaded: pure functions.

This module util is private to the collection.

An image is a few documents and its layers, each called by the SHA-256 of its bytes. The engine's graph driver has one
document, the configuration, and calls a layer by its unpacked bytes (its diff ID). containerd has a manifest beside the
configuration, for several processors an index above it, and calls a layer by its bytes as they were pulled. Since all
names are hashes, nothing that another Spark says of an image needs to be believed: its ID covers everything.

A large image is loaded in parts. Each part is an image too, of the lowest layers alone: what is loaded stays when the
rest does not come, and while the engine unpacks one part the next is on its way.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import COMPARE_VERSIONS
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import reads

#: marks a part; its value is the ID of the whole image
LABEL = "dgx-spark.part-of"
#: bytes from which layers make a part
PART = 256 << 20
CONTAINERD = "containerd"  # as api.store_of() names it

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_OCI = "application/vnd.oci.image"


class ImageError(ValueError):
    """The image cannot be read, or not be put together; the message says why."""


reads_image = reads(ImageError, "what describes the image", COMPARE_VERSIONS)


class Layer(NamedTuple):
    """One layer: the ``blob`` that travels, and the ``diff_id``, the hash of its unpacked bytes."""

    blob: str
    diff_id: str


class Image(NamedTuple):
    """An image.

    :param documents: by name, all that is no layer. :param config: of the platform that this host is for.
    :param layers: lowest first. :param beside: blobs that belong to it beside those of its layers.
    """

    id: str
    documents: Mapping[str, bytes]
    config: Mapping[str, Any]
    layers: Sequence[Layer]
    descriptors: Sequence[Mapping[str, Any]] = ()
    beside: Sequence[str] = ()


class Part(NamedTuple):
    """What is loaded at once.

    :param id: of the image that it makes. :param documents: by name. :param blobs: names of those that come with it.
    :param manifest: by path, the files of the archive that say which image is in it.
    """

    id: str
    documents: Mapping[str, bytes]
    blobs: Sequence[str]
    manifest: Mapping[str, bytes]


def sha256_of(name: str) -> str:
    """Return the 64 digits of a name.

    :raises ImageError: where it is none.
    """
    match = _DIGEST.fullmatch(str(name))
    if not match:
        raise ImageError(f"{name!r} is no SHA-256")
    return match[1]


def _name(name: Any) -> str:
    """Return a name that a document has."""
    sha256_of(name)
    return str(name)


def path_of(name: str) -> str:
    """Return where a blob lies in an archive."""
    return f"blobs/sha256/{sha256_of(name)}"


def digest_of(content: bytes) -> str:
    """Return the name of a blob."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@reads_image
def described(image: str, get: Callable[[str], bytes | None], has: Callable[[str], bool], machine: str) -> Image:
    """Return what an image consists of.

    :param image: its ID. :param get: returns a document by name, None where it is not there; it has checked the hash.
    :param has: tells of a blob whether it is there. :param machine: the processor, as images call it: arm64.
    :raises ImageError: where a part of it is not there, or it is not for this processor.
    """
    documents: dict[str, bytes] = {}

    def read(name: str) -> dict[str, Any] | None:
        content = get(name)
        if content is None:
            return None
        documents[name] = content
        return dict(json.loads(content))

    root = read(image)
    if root is None:
        raise ImageError(f"it is not there: {image}")
    if "rootfs" in root:
        return Image(image, documents, root, [Layer(one, one) for one in map(_name, root["rootfs"]["diff_ids"] or [])])
    manifests = [root] if "layers" in root else [read(_name(one["digest"])) for one in root["manifests"]]
    whole: list[tuple[dict[str, Any], dict[str, Any]]] = []
    beside: list[str] = []
    for manifest in manifests:
        config = read(_name(manifest["config"]["digest"])) if manifest and "config" in manifest else None
        if not manifest or config is None:
            continue  # of another processor, for which nothing was pulled
        blobs = [_name(one["digest"]) for one in manifest["layers"]]
        diff_ids = [_name(one) for one in (config.get("rootfs") or {}).get("diff_ids") or []]
        if len(diff_ids) == len(blobs) and config.get("architecture") == machine and all(map(has, blobs)):
            whole.append((manifest, config))
        beside += [one for one in blobs if has(one)]
    if not whole:
        raise ImageError(f"no part of it is for {machine} and whole")
    manifest, config = whole[0]
    layers = [Layer(one["digest"], diff) for one, diff in zip(manifest["layers"], config["rootfs"]["diff_ids"])]
    own = {layer.blob for layer in layers}
    return Image(image, documents, config, layers, manifest["layers"], [one for one in beside if one not in own])


def equal_beginning(image: Sequence[Layer], others: Iterable[Sequence[str]]) -> int:
    """Return how many of the image's lowest layers an engine has: a layer is there with all those below it.

    :param others: the diff IDs of each image that the engine has.
    """
    own = [layer.diff_id for layer in image]
    return max((_equal(own, one) for one in others), default=0)


def _equal(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other):
        if left != right:
            break
        count += 1
    return count


def parts_of(
    image: Image, first: int, known: Iterable[str], sizes: Mapping[str, int], store: str, least: int = PART
) -> list[Part]:
    """Return the parts in which an image is loaded, in their order; the last one is the image itself.

    :param first: how many of its lowest layers the engine has. :param known: blobs that need not travel.
    :param sizes: bytes of all other blobs. :param store: how the engine keeps images, see :func:`api.store_of`.
    :param least: bytes from which a further part begins.
    """
    there = set(known)
    found: list[Part] = []
    blobs: dict[str, None] = {}
    for number, layer in enumerate(image.layers[first:], first + 1):
        if layer.blob not in there:
            blobs[layer.blob] = None
        if number < len(image.layers) and sum(sizes[one] for one in blobs) >= least:
            found.append(_lowest(image, number, list(blobs), store))
            # With the graph driver a layer that comes again, on other ones, is another layer.
            there |= set(blobs) if store == CONTAINERD else set()
            blobs = {}
    blobs.update(dict.fromkeys(one for one in image.beside if one not in there))
    return [*found, Part(image.id, image.documents, list(blobs), _index(image, image.id, image.documents, store))]


def _lowest(image: Image, count: int, blobs: Sequence[str], store: str) -> Part:
    """Return the part that has the lowest layers of an image."""
    layers = image.layers[:count]
    config = {
        **{key: image.config[key] for key in ("architecture", "os", "variant") if image.config.get(key)},
        "config": {"Labels": {LABEL: image.id}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    content = _json(config)
    name = digest_of(content)
    documents = {name: content}
    if store == CONTAINERD:
        described_by = {"mediaType": f"{_OCI}.config.v1+json", "digest": name, "size": len(content)}
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": f"{_OCI}.manifest.v1+json",
                "config": described_by,
                "layers": list(image.descriptors[:count]),
            }
        )
        name = digest_of(manifest)
        documents[name] = manifest
    return Part(name, documents, blobs, _index(image._replace(layers=layers), name, documents, store))


def _index(image: Image, name: str, documents: Mapping[str, bytes], store: str) -> dict[str, bytes]:
    """Return the files of an archive that say which image is in it, the one without which it is none at the end."""
    if store != CONTAINERD:
        layers = [path_of(layer.blob) for layer in image.layers]
        return {"manifest.json": _json([{"Config": path_of(name), "RepoTags": None, "Layers": layers}])}
    root = json.loads(documents[name])
    kind = f"{_OCI}.index.v1+json" if "manifests" in root else f"{_OCI}.manifest.v1+json"
    entry = {"mediaType": root.get("mediaType", kind), "digest": name, "size": len(documents[name])}
    return {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
