# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small images, as the graph driver and containerd keep them: an ID, and all blobs by name."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any, Sequence
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_source import (
    LABEL,
    Image,
    Layer,
    digest_of,
    equal_beginning,
    path_of,
)
from fake_docker import Engine
from hypothesis import strategies as st

NAMES = st.lists(st.sampled_from("abcd"), max_size=5)


def graph_image(layers: Sequence[bytes], machine: str = "arm64") -> tuple[str, dict[str, bytes]]:
    """An image whose layers are these bytes."""
    blobs: dict[str, bytes] = {digest_of(layer): layer for layer in layers}
    image = _add(
        blobs,
        {
            "architecture": machine,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        },
    )
    return image, blobs


def containerd_image(layers: Sequence[bytes], beside: bool = False) -> tuple[str, dict[str, bytes]]:
    """An image whose layers are packed; ``beside``: below an index, with an attestation and an absent platform."""
    blobs: dict[str, bytes] = {}
    image = _manifest(blobs, [b"packed " + layer for layer in layers], [digest_of(layer) for layer in layers], "arm64")
    if beside:
        attestation = _manifest(blobs, [b"attested"], [digest_of(b"attested")], "unknown")
        absent = {"digest": digest_of(b"of another platform"), "size": 7}
        entries = [absent, *({"digest": one, "size": len(blobs[one])} for one in (attestation, image))]
        image = _add(blobs, {"schemaVersion": 2, "manifests": entries})
    return image, blobs


def layer_names(image: Image) -> list[str]:
    """What its configuration names."""
    return list(image.config["rootfs"]["diff_ids"])


def _manifest(blobs: dict[str, bytes], packed: Sequence[bytes], diff_ids: Sequence[str], machine: str) -> str:
    for one in packed:
        blobs[digest_of(one)] = one
    config = _add(blobs, {"architecture": machine, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    layers = [{"digest": digest_of(one), "size": len(one)} for one in packed]
    return _add(
        blobs,
        {
            "schemaVersion": 2,
            "config": {"digest": config, "size": len(blobs[config])},
            "layers": layers,
        },
    )


def _add(blobs: dict[str, bytes], document: dict[str, Any]) -> str:
    content = json.dumps(document).encode()
    blobs[digest_of(content)] = content
    return digest_of(content)


class Loads:
    """SIMULATED: what an engine makes of the archives that it is given, with its graph driver or with containerd."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.blobs: dict[str, bytes] = {}
        self.images: dict[str, dict[str, Any]] = {}  # configurations by ID
        self.archives: list[list[bytes]] = []  # the layers of each
        engine.on["POST", "/images/load"] = self._load
        self.show()

    def _load(self, archive: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            found = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
        came = {digest_of(content): content for name, content in found.items() if name.startswith("blobs/")}
        assert {path_of(name) for name in came} == {name for name in found if name.startswith("blobs/")}
        self.archives.append([one for one in came.values() if not one.startswith(b"{")])
        if "index.json" in found:
            self.blobs.update(came)
            (entry,) = json.loads(found["index.json"])["manifests"]
            image, needed = entry["digest"], self._main(json.loads(self.blobs[entry["digest"]]))
            config = json.loads(self.blobs[needed["config"]["digest"]])
            lacking = [one["digest"] for one in needed["layers"] if one["digest"] not in self.blobs]
        else:
            (entry,) = json.loads(found["manifest.json"])
            image = f"sha256:{entry['Config'].rpartition('/')[2]}"
            config = json.loads(came[image])
            own = [Layer(one, one) for one in config["rootfs"]["diff_ids"]]
            there = equal_beginning(own, [one["rootfs"]["diff_ids"] for one in self.images.values()])
            lacking = [one.blob for one in own[there:] if one.blob not in came]
        said = {"error": f"no layer {lacking[0]}"} if lacking else {"stream": f"Loaded image ID: {image}"}
        self.engine.answers["POST", "/images/load"] = json.dumps(said).encode()
        if not lacking:
            self.images[image] = config
            self.show()

    def _main(self, root: dict[str, Any]) -> dict[str, Any]:
        """The manifest of the platform that has a configuration of its own."""
        if "layers" in root:
            return root
        return dict(json.loads(self.blobs[root["manifests"][-1]["digest"]]))

    def show(self) -> None:
        """Have the engine tell of its images."""
        parts = [one for one, config in self.images.items() if LABEL in (config.get("config") or {}).get("Labels", {})]
        self.engine.answers["GET", "/images/json"] = [{"Id": one} for one in self.images]
        chosen = quote(json.dumps({"label": [LABEL]}))
        self.engine.answers["GET", f"/images/json?filters={chosen}"] = [{"Id": one} for one in parts]
        for image, config in self.images.items():
            about = {"Id": image, "RootFS": {"Layers": config["rootfs"]["diff_ids"]}}
            self.engine.answers["GET", f"/images/{image}/json"] = about
            self.engine.on["DELETE", f"/images/{image}"] = lambda _body, image=image: self._remove(image)

    def _remove(self, image: str) -> None:
        del self.images[image], self.engine.answers["GET", f"/images/{image}/json"]
        self.show()
