# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small images, as the graph driver and containerd keep them: an ID, and all blobs by name."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_source import Image, digest_of
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
    """An image whose layers are packed; ``beside``: below an index, with an attestation and a platform that is absent."""
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

    def __init__(self, engine: Engine, machine: str = "arm64") -> None:
        self.engine, self.machine = engine, machine
        self.blobs: dict[str, bytes] = {}
        self.images: dict[str, list[str]] = {}  # diff IDs by ID
        self.archives: list[list[str]] = []
        engine.on["POST", "/images/load"] = self.load
        self.show()

    @property
    def containerd(self) -> bool:
        return bool(self.engine.info.get("DriverStatus") == [["driver-type", "io.containerd.snapshotter.v1"]])

    def load(self, archive: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            found = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
        self.archives.append([name for name, content in found.items() if name.startswith("blobs/")])
        self.blobs.update({digest_of(content): content for name, content in found.items() if name.startswith("blobs/")})
        if self.containerd:
            (entry,) = json.loads(found["index.json"])["manifests"]
            image = entry["digest"]
            root = json.loads(self.blobs[image])
            config = self._config(root)
            lacking = [one["digest"] for one in config["blobs"] if one["digest"] not in self.blobs]
        else:
            (entry,) = json.loads(found["manifest.json"])
            image = "sha256:" + entry["Config"].rpartition("/")[2]
            config = json.loads(self.blobs[image])
            there = max((self._beginning(config, one) for one in self.images.values()), default=0)
            lacking = [one for one in config["rootfs"]["diff_ids"][there:] if f"blobs/sha256/{one[7:]}" not in found]
        if lacking:
            self.engine.answers["POST", "/images/load"] = json.dumps({"error": f"no layer {lacking[0]}"}).encode()
            return
        self.engine.answers["POST", "/images/load"] = json.dumps({"stream": f"Loaded image ID: {image}"}).encode()
        self.images[image] = config["rootfs"]["diff_ids"]
        self.show((config.get("config") or {}).get("Labels"), image)

    def _config(self, root: dict[str, Any]) -> dict[str, Any]:
        manifests = [root] if "layers" in root else [json.loads(self.blobs[one["digest"]]) for one in root["manifests"][2:]]
        config = json.loads(self.blobs[manifests[0]["config"]["digest"]])
        return {**config, "blobs": manifests[0]["layers"]}

    @staticmethod
    def _beginning(config: dict[str, Any], other: list[str]) -> int:
        own = config["rootfs"]["diff_ids"]
        return next((n for n, (one, two) in enumerate(zip(own, other)) if one != two), min(len(own), len(other)))

    def show(self, labels: dict[str, str] | None = None, image: str = "") -> None:
        """Have the engine tell of its images."""
        self.engine.answers["GET", "/images/json"] = [{"Id": one} for one in self.images]
        if image:
            about = {"Id": image, "RootFS": {"Layers": self.images[image]}, "Config": {"Labels": labels}}
            self.engine.answers["GET", f"/images/{image}/json"] = about
            self.engine.on["DELETE", f"/images/{image}"] = lambda _body: self.remove(image)
