# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image from one engine to another, by all ways on which it can come to harm."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import image_load
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError, Loading
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_source import (
    LABEL,
    ImageError,
    digest_of,
)
from fake_docker import Engine, listening
from image_cases import Loads, containerd_image, graph_image

LAYERS = [letter * 2_000_000 for letter in (b"a", b"b", b"c", b"d")]
KINDS = {"graph driver": graph_image, "containerd": containerd_image}


class Leader:
    """A connection to a Spark that has these blobs, which can break, or bring something else."""

    def __init__(self, blobs: dict[str, bytes], breaks_after: int = 1 << 40) -> None:
        self.blobs, self.left = blobs, breaks_after
        self.asked: list[str] = []
        self._coming = memoryview(b"")

    def ask(self, name: str, offset: int) -> tuple[int, int]:
        content = self.blobs.get(f"sha256:{name}")
        if content is None:
            return -1, 0
        if not offset:
            self.asked.append(f"sha256:{name}")
        self._coming = memoryview(content)[offset:]
        return len(content), 0

    def read_into(self, piece: memoryview) -> int:
        if self.left <= 0:
            raise ConnectionResetError("cut")
        count = min(len(piece), len(self._coming), 700_000, self.left)
        piece[:count] = self._coming[:count]
        self._coming = self._coming[count:]
        self.left -= count
        return count


@pytest.fixture(params=KINDS)
def spark(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Spark without an image, whose engine keeps images in one of the two ways."""
    monkeypatch.setattr(image_load, "PART", 1_000_000)
    engine, short = Engine(), Path(tempfile.mkdtemp())
    content = tmp_path / "io.containerd.content.v1.content/blobs/sha256"
    if request.param == "containerd":
        engine.info["DriverStatus"] = [["driver-type", "io.containerd.snapshotter.v1"]]
        engine.info.update(DockerRootDir=str(tmp_path), Containerd={"Address": "/run/docker/containerd/x.sock"})
        content = tmp_path / "containerd/daemon/io.containerd.content.v1.content/blobs/sha256"
    content.mkdir(parents=True)
    with listening(engine, short / "d") as socket:
        yield Spark(engine, socket, content, KINDS[request.param])
    shutil.rmtree(short)


class Spark:
    """What is done to it."""

    def __init__(self, engine: Engine, socket: str, content: Path, made: Any) -> None:
        self.engine, self.loads, self.made, self._content = engine, Loads(engine), made, content
        self._docker = Docker(socket)

    def take(self, image: str, leader: Leader) -> int:
        """Load an image; returns the bytes that came."""
        for name, blob in self.loads.blobs.items():
            (self._content / name.partition(":")[2]).write_bytes(blob)
        receiver = image_load.Receiver(self._docker, image, "aarch64")
        receiver.load(leader)
        assert receiver.moved == receiver.whole
        return receiver.moved

    def parts(self) -> list[str]:
        return image_load.image_ids(self._docker, parts_of_image=True)

    def clear(self) -> list[str]:
        return image_load.remove_parts(self._docker)


def test_an_image_comes_in_parts_and_is_one_image_in_the_end(spark: Spark) -> None:
    image, blobs = spark.made(LAYERS)
    moved = spark.take(image, Leader(blobs))
    assert moved == sum(map(len, blobs.values()))
    assert list(spark.loads.images)[-1] == image
    assert [len(layers) for layers in spark.loads.archives] == [1, 1, 1, 1]
    assert {spark.loads.images[one]["config"]["Labels"][LABEL] for one in spark.parts()} == {image}
    assert len(spark.clear()) == 3
    assert list(spark.loads.images) == [image]


def test_layers_that_are_there_stay_behind(spark: Spark) -> None:
    older, blobs = spark.made(LAYERS[:3])
    spark.take(older, Leader(blobs))
    spark.clear()
    image, blobs = spark.made(LAYERS)
    leader = Leader(blobs)
    spark.take(image, leader)
    assert [blobs[name][-1:] for name in leader.asked if not blobs[name].startswith(b"{")] == [b"d"]
    newer, blobs = spark.made([*LAYERS[:3], b"another"])
    spark.take(newer, Leader(blobs))
    assert list(spark.loads.images)[-1] == newer


@pytest.mark.parametrize(("breaks_after", "loaded"), [(10, 0), (1_900_000, 0), (2_500_000, 1), (7_999_000, 3)])
def test_an_interrupted_copy_goes_on_with_the_next_layer(spark: Spark, breaks_after: int, loaded: int) -> None:
    image, blobs = spark.made(LAYERS)
    with pytest.raises(ConnectionResetError):
        spark.take(image, Leader(blobs, breaks_after))
    assert image not in spark.loads.images, "nothing half-loaded is taken for whole"
    assert len(spark.parts()) == loaded
    leader = Leader(blobs)
    spark.take(image, leader)
    came = [name for name in leader.asked if not blobs[name].startswith(b"{")]
    assert len(came) == 4 - loaded, "what was loaded does not come again"
    assert image in spark.loads.images


def other(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("which", ["the first layer", "the last layer", "the ID's document"])
@pytest.mark.parametrize("change", [other, lambda one: one[:-1], lambda one: one + b"x", lambda _one: b""])
def test_what_was_tampered_with_is_never_loaded(
    spark: Spark, monkeypatch: pytest.MonkeyPatch, which: str, change: Any
) -> None:
    given, send = bytearray(), Loading.send
    monkeypatch.setattr(Loading, "send", lambda self, content: (given.extend(content), send(self, content)))
    image, blobs = spark.made(LAYERS)
    packed = [name for name, content in blobs.items() if not content.startswith(b"{")]
    name = {"the first layer": packed[0], "the last layer": packed[-1]}.get(which, image)
    with pytest.raises(ImageError, match="came wrong"):
        spark.take(image, Leader({**blobs, name: change(blobs[name])}))
    assert image not in spark.loads.images
    assert not change(blobs[name]) or change(blobs[name]) not in given, "its last bytes were kept back"
    came = [layer for archive in spark.loads.archives for layer in archive]
    assert all(digest_of(layer) in blobs for layer in came), "the engine has been given nothing that is wrong"
    spark.take(image, Leader(blobs))
    assert image in spark.loads.images


def test_a_layer_of_another_size_than_it_had_is_not_taken(spark: Spark) -> None:
    """The engine was told how long the archive is."""
    image, blobs = spark.made(LAYERS)
    leader = Leader(blobs)
    ask = leader.ask
    leader.ask = lambda name, offset: (ask(name, offset)[0] - 100 * bool(offset), 0)  # type: ignore[method-assign]
    with pytest.raises(ImageError, match=r"has 20000\d\d bytes instead of 19999\d\d"):
        spark.take(image, leader)
    assert spark.loads.images == {}


def test_a_document_larger_than_any_is_not_read(spark: Spark) -> None:
    image, blobs = spark.made([b"x"])
    with pytest.raises(ImageError, match="is no document of an image"):
        spark.take(image, Leader({**blobs, image: bytes(20 << 20)}))


def test_what_the_leader_lacks_is_named(spark: Spark) -> None:
    image, blobs = spark.made(LAYERS[:2])
    del blobs[next(name for name, content in blobs.items() if content.endswith(b"b"))]
    with pytest.raises(ImageError, match=r"not there to be copied|and whole"):
        spark.take(image, Leader(blobs))
    with pytest.raises(ImageError, match="it is not there"):
        spark.take(image, Leader({}))


def test_engines_that_keep_images_in_different_ways(spark: Spark) -> None:
    made = containerd_image if spark.made is graph_image else graph_image
    image, blobs = made([b"x"])
    with pytest.raises(ImageError, match="and the other Spark's does not"):
        spark.take(image, Leader(blobs))


def test_what_the_engine_says_is_told(spark: Spark) -> None:
    image, blobs = spark.made([b"x"])
    spark.engine.on["POST", "/images/load"] = lambda _body: None
    spark.engine.answers["POST", "/images/load"] = b'{"errorDetail":{"message":"x"},"error":"no space left on device"}'
    with pytest.raises(DockerError, match="no space left on device"):
        spark.take(image, Leader(blobs))
    spark.engine.answers["POST", "/images/load"] = (500, {"message": "it is ill"})
    with pytest.raises(DockerError, match="it is ill"):
        spark.take(image, Leader(blobs))
