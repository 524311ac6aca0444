# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image from one simulated engine to another, over the real sender; and from a registry."""

from __future__ import annotations

import base64
import json
import os
import pwd
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import image_load
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_source import LABEL, digest_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import access
from ansible_collections.sparkops.dgx_spark.plugins.modules import (
    docker_log_info,
    image_layers_load,
    image_layers_serve,
    image_pull_progress,
)
from fake_docker import Engine, listening
from image_cases import Loads, graph_image

LAYERS = [b"lower" * 1000, b"upper" * 1000]
ID, BLOBS = graph_image(LAYERS)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6WZb0P1Qf0m1bM4uJ0q3XbTq7C0m0r9cX0kq1Z8f3v"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    engine, leader, short = Engine(), Engine(), Path(tempfile.mkdtemp())
    leader.answers["GET", f"/images/{ID}/json"] = {"Id": ID}
    engine.info.update(DriverStatus=[["Backing Filesystem", "extfs"]], DockerRootDir=str(tmp_path))
    content = tmp_path / "containerd/daemon/io.containerd.content.v1.content/blobs/sha256"
    content.mkdir(parents=True)
    for name, blob in BLOBS.items():
        (content / name.partition(":")[2]).write_bytes(blob)
    # Its blobs are called as a graph driver calls them, so that no layers in Docker's own form are needed here.
    leader.info.update(
        DriverStatus=[["driver-type", "io.containerd.snapshotter.v1"]],
        DockerRootDir=str(tmp_path),
        Containerd={"Address": "/run/docker/containerd/x.sock"},
    )
    with listening(engine, short / "d") as socket, listening(leader, short / "l") as leaders:
        monkeypatch.setattr(image_layers_load, "SOCKET", socket)
        monkeypatch.setattr(image_layers_load, "Docker", lambda timeout: Docker(socket, timeout))
        monkeypatch.setattr(image_layers_serve, "Docker", lambda: Docker(leaders))
        monkeypatch.setattr(docker_log_info, "Docker", lambda: Docker(socket))
        monkeypatch.setattr(image_pull_progress, "Docker", lambda timeout: Docker(socket, timeout))
        monkeypatch.setattr(image_pull_progress.progress_file, "PULL", str(tmp_path / "progress"))
        yield SimpleNamespace(
            engine=engine, loads=Loads(engine), here=tmp_path, content=content, served=tmp_path / "served"
        )
    shutil.rmtree(short)


@pytest.fixture
def run(capsys: pytest.CaptureFixture):
    def run_module(module: ModuleType, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        with patch_module_args({**arguments, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run_module


@pytest.fixture
def served(place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """How the image is loaded from a leader that serves it, by the program of the copy's key in the place of ssh."""
    argv = [sys.executable, "-c", access.program(), str(place.served)]
    monkeypatch.setattr(access, "ssh_argv", lambda _place, _how: argv)
    store = image_layers_serve.store_for(image_layers_serve.Docker(), ID, place.here / "saved", "docker")
    server = image_layers_serve.Server(place.served, os.geteuid(), store.find)
    thread = threading.Thread(target=server.run, args=(60,))
    thread.start()
    (place.here / "keys" / "copy-image").mkdir(parents=True)
    how = {"address": "127.0.0.1", "user": "nvidia", "host_keys": [KEY], "dir": str(place.here / "keys"), "attempts": 1}
    yield {"id": ID, "tag": "dgx-spark/x:1", **how}
    (place.served / "served").unlink(missing_ok=True)
    thread.join()


def test_from_one_engine_to_another(run, place: SimpleNamespace, served: dict[str, Any]) -> None:
    foretold = run(image_layers_load, check_mode=True, id=ID)
    assert (foretold["changed"], foretold["lacking"], place.engine.told) == (True, True, [])
    told = run(image_layers_load, **served)
    assert (told["changed"], told["id"], told["moved_bytes"]) == (True, ID, sum(map(len, BLOBS.values())))
    assert list(place.loads.images) == [ID]
    assert ("POST", f"/images/{ID}/tag?repo=dgx-spark%2Fx&tag=1", None) in place.engine.told
    assert not (place.here / "keys").exists(), "the key of the copy"
    assert not (place.here / "progress").exists()
    again = run(image_layers_load, **served)
    assert (again["changed"], again["lacking"]) == (False, False)
    place.engine.answers["GET", f"/images/{ID}/json"] = {"Id": "sha256:2e"}
    assert run(image_layers_load, check_mode=True, id=ID)["lacking"], "another image is known by this name"


def test_a_key_is_created_where_the_image_is_lacking_and_nowhere_else(run, place: SimpleNamespace) -> None:
    asked = {"id": ID, "state": "lacking", "dir": str(place.here / "keys"), "peer": "127.0.0.1"}
    folder = place.here / "keys" / "copy-image"
    foretold = run(image_layers_load, check_mode=True, **asked)
    assert (foretold["changed"], foretold["lacking"], folder.exists()) == (True, True, False)
    leader = run(image_layers_load, **{**asked, "peer": ""})
    assert (leader["changed"], leader["lacking"], folder.exists()) == (False, True, False)
    told = run(image_layers_load, **asked)
    assert told["changed"]
    assert told["reader"]["address"] == "127.0.0.1"
    assert (folder / "id_ed25519.pub").read_text().startswith(told["reader"]["public_key"])
    assert (folder / "id_ed25519").stat().st_mode & 0o777 == 0o600
    assert told["progress"] == str(place.here / "keys" / "copy-image.progress")
    shutil.rmtree(folder)
    place.engine.answers["GET", f"/images/{ID}/json"] = {"Id": ID}
    again = run(image_layers_load, **asked)
    assert (again["changed"], again["lacking"], folder.exists()) == (False, False, False)


def test_an_interrupted_one_goes_on_and_leaves_no_parts(
    run, place: SimpleNamespace, served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_load, "PART", 1)
    upper = place.content / digest_of(LAYERS[1]).partition(":")[2]
    content = upper.read_bytes()
    upper.write_bytes(content[:-1] + b"?")
    told = run(image_layers_load, **served)
    assert told["failed"]
    assert f"{ID} could not be copied: {digest_of(LAYERS[1])} came wrong" in told["msg"]
    (part,) = place.loads.images
    assert run(image_layers_load, state="parts_absent", check_mode=True)["removed"] == [part]
    upper.write_bytes(content)
    (place.here / "keys" / "copy-image").mkdir(parents=True)
    told = run(image_layers_load, **served)
    assert told["moved_bytes"] < sum(map(len, LAYERS)), "the lower layer is there"
    assert list(place.loads.images) == [ID], "the part has been removed"
    assert not run(image_layers_load, state="parts_absent")["changed"]


def test_parts_are_removed_and_images_stay(run, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"rootfs": {"diff_ids": []}}
    place.loads.images.update({ID: config, "sha256:2e": {**config, "config": {"Labels": {LABEL: ID}}}})
    place.loads.show()
    assert run(image_layers_load, state="parts_absent")["removed"] == ["sha256:2e"]
    assert list(place.loads.images) == [ID]
    monkeypatch.setattr(image_layers_load, "SOCKET", "/nowhere")
    assert run(image_layers_load, state="parts_absent")["removed"] == [], "there is no Docker"


def test_what_a_step_leaves_in_the_page_cache_is_given_back(
    run, place: SimpleNamespace, served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Docker's own layers: to serve reads them, to load and to pull writes them; a dry run does neither."""
    released: list[str] = []
    for module in (image_layers_serve, image_layers_load, image_pull_progress):
        monkeypatch.setattr(module, "release_image", lambda image: released.append(image["Id"]))
    serving = {"id": ID, "user": pwd.getpwuid(os.geteuid()).pw_name, "directory": str(place.here / "another")}
    run(image_layers_serve, check_mode=True, **serving)
    run(image_layers_load, check_mode=True, **served)
    assert released == []
    assert run(image_layers_serve, idle_minutes=0, **serving)["problems"] == []
    assert released == [ID]
    run(image_layers_load, **served)
    assert released == [ID] * 2
    pull = registry(place, PULLED)
    run(image_pull_progress, check_mode=True, **pull)
    for _again in range(2):
        run(image_pull_progress, **pull)
    assert released == [ID] * 3


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"id": "sha256:2e"}, "sha256:2e cannot be copied: this host's Docker has no such image"),
        ({"id": ID}, "user is missing"),
        ({"id": ID, "user": "nobody-of-this-name"}, "nobody-of-this-name is no user of this host"),
    ],
)
def test_what_cannot_be_served_is_named(run, place: SimpleNamespace, asked: dict[str, str], says: str) -> None:
    told = run(image_layers_serve, **asked, directory=str(place.served))
    assert says in told["msg"]
    assert not place.served.exists()


def test_what_cannot_be_loaded_is_named(run, place: SimpleNamespace, served: dict[str, Any]) -> None:
    assert "address or user is missing" in run(image_layers_load, id=ID)["msg"]
    told = run(image_layers_load, **{**served, "id": f"sha256:{'0' * 64}"})["msg"]
    assert told == f"sha256:{'0' * 64} could not be copied: it is not there: sha256:{'0' * 64}"
    place.engine.on["POST", "/images/load"] = lambda _body: None
    place.engine.answers["POST", "/images/load"] = b'{"error":"unexpected EOF"}'
    assert run(image_layers_load, **served)["msg"] == f"{ID} could not be copied: unexpected EOF"
    place.engine.answers["POST", "/images/load"] = b'{"stream":"Loaded image ID: sha256:2e"}'
    assert run(image_layers_load, **served)["msg"] == f"{ID} could not be copied: Docker has loaded another image"


NAME = "nvcr.test:5000/nvidia/release:1.3"
PULLED = [
    {"status": "Pulling from nvidia/release", "id": "1.3"},
    {"status": "Downloading", "id": "aa", "progressDetail": {"current": 30, "total": 100}},
    {"status": "Downloading", "id": "bb", "progressDetail": {"current": 5, "total": 50}},
    {"status": "Download complete", "id": "aa", "progressDetail": {}},
    {"status": "Extracting", "id": "bb", "progressDetail": {"current": 7, "total": 50}},
]


@pytest.fixture(autouse=True)
def spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_pull_progress.os, "uname", lambda: SimpleNamespace(machine="aarch64"))


def registry(place: SimpleNamespace, messages: list[dict[str, Any]]) -> dict[str, str]:
    """Let a registry have the image, and the engine have it once it was pulled."""
    digests = ["other.test/x@sha256:0", "nvcr.test:5000/nvidia/release@sha256:2f"]
    place.engine.answers["POST", "/images/create"] = b"\n".join(json.dumps(one).encode() for one in messages)
    place.engine.on["POST", "/images/create"] = lambda _body: place.engine.answers.update(
        {("GET", f"/images/{NAME}/json"): {"Id": ID, "RepoDigests": digests}}
    )
    offered = {"Descriptor": {"digest": "sha256:2f"}, "Platforms": [{"architecture": "arm64", "os": "linux"}]}
    place.engine.answers["GET", f"/distribution/{NAME}/json"] = offered
    return {"name": NAME}


def test_pulls_once_and_pins_the_digest(run, place: SimpleNamespace, monkeypatch) -> None:
    asked, sized = registry(place, PULLED), []
    monkeypatch.setattr(image_pull_progress, "image_bytes", lambda *about: sized.append(about) or 9876)
    foretold = run(image_pull_progress, check_mode=True, **asked)
    assert (foretold["bytes"], foretold["content_there"]) == (9876, False)
    place.engine.answers["GET", "/images/json"] = [{"Id": ID, "RepoDigests": ["mirror.test/x@sha256:2f"]}]
    assert run(image_pull_progress, check_mode=True, **asked)["content_there"], "by another name"
    sized.pop()
    ((name, _machine, login, info),) = sized
    assert (name, login, info["DriverStatus"]) == (foretold["digest"], None, [["Backing Filesystem", "extfs"]])
    assert (foretold["changed"], foretold["id"], place.engine.told) == (True, "", [])
    assert foretold["digest"] == "nvcr.test:5000/nvidia/release@sha256:2f"
    pulled = run(image_pull_progress, **asked)
    assert pulled["changed"]
    assert (pulled["id"], pulled["pulled_bytes"]) == (ID, 150)
    assert pulled["digest"] == "nvcr.test:5000/nvidia/release@sha256:2f"
    assert place.engine.told == [
        ("POST", f"/images/create?fromImage={NAME.replace('/', '%2F').replace(':', '%3A')}", None)
    ]
    again = run(image_pull_progress, **asked)
    assert (again["changed"], again["id"], again["digest"]) == (False, ID, pulled["digest"])
    assert len(place.engine.told) == 1
    assert not (place.here / "progress").exists()


def test_a_pull_that_fails_on_the_way_says_why(run, place: SimpleNamespace) -> None:
    asked = registry(place, [PULLED[0], {"error": "toomanyrequests: slow down"}])
    place.engine.on.clear()
    assert "cannot be pulled: toomanyrequests: slow down" in run(image_pull_progress, **asked)["msg"]
    place.engine.answers["POST", "/images/create"] = (401, {"message": "unauthorized"})
    assert "cannot be pulled: unauthorized" in run(image_pull_progress, **asked)["msg"]


def test_a_dry_run_tells_of_an_image_that_cannot_be_had(run, place: SimpleNamespace, monkeypatch) -> None:
    asked = registry(place, PULLED)
    monkeypatch.setattr(image_pull_progress.os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    told = run(image_pull_progress, check_mode=True, **asked)["msg"]
    assert told == f"{NAME} is made for linux/arm64, and this host is x86_64"
    del place.engine.answers["GET", f"/distribution/{NAME}/json"]
    told = run(image_pull_progress, check_mode=True, **asked)["msg"]
    assert "cannot be pulled: no /distribution/" in told
    assert place.engine.told == []


def test_a_login_is_in_the_header_alone(run, place: SimpleNamespace) -> None:
    told = run(image_pull_progress, **registry(place, PULLED), password="nvapi-planted")
    assert "nvapi-planted" not in json.dumps(told)
    known = [json.loads(base64.urlsafe_b64decode(login)) for login in place.engine.logins if login]
    assert known == [{"username": "$oauthtoken", "password": "nvapi-planted", "serveraddress": "nvcr.test:5000"}]


def test_the_last_lines_of_a_container(run, place: SimpleNamespace) -> None:
    assert run(docker_log_info, name="dgx")["lines"] == []
    place.engine.answers["GET", "/containers/json"] = [{"Id": "c1", "Names": ["/dgx_leader.1.x"]}]
    place.engine.answers["GET", "/containers/c1/logs"] = b"\1\0\0\0\0\0\0\4one\n" + b"\2\0\0\0\0\0\0\4two\n"
    told = run(docker_log_info, name="dgx", lines=2)
    assert (told["container"], told["lines"]) == ("dgx_leader.1.x", ["one", "two"])
    place.engine.answers["GET", "/containers/c1/logs"] = (409, {"message": "it is dead"})
    assert run(docker_log_info, name="dgx")["msg"] == "it is dead"
