# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image from one simulated engine to another, with a small program in the place of docker."""

from __future__ import annotations

import base64
import io
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.modules import (
    docker_log_info,
    image_layers_export,
    image_layers_import,
    image_layers_info,
    image_pull_progress,
)
from fake_docker import Engine, listening

ID, LAYERS = "sha256:1d", ["sha256:aa", "sha256:bb"]
DOCKER = """#!{python}
# SIMULATED: stands in for docker.
import pathlib, sys
saved = pathlib.Path({saved!r})
if sys.argv[1] == "save":
    sys.stdout.buffer.write(saved.read_bytes())
else:
    saved.with_suffix(".loaded").write_bytes(sys.stdin.buffer.read())
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    saved = io.BytesIO()
    with tarfile.open(fileobj=saved, mode="w") as tar:
        for name, content in (("blobs/sha256/aa", b"lower"), ("blobs/sha256/bb", b"upper"), ("manifest.json", b"[]")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (tmp_path / "image.tar").write_bytes(saved.getvalue())
    (tmp_path / "docker").write_text(DOCKER.format(python=sys.executable, saved=str(tmp_path / "image.tar")))
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    engine, short = Engine(), Path(tempfile.mkdtemp())
    engine.answers["GET", f"/images/{ID}/json"] = {"Id": ID, "RootFS": {"Layers": LAYERS}}
    engine.answers["GET", "/images/json"] = [{"Id": ID}]
    engine.info["DriverStatus"] = [["Backing Filesystem", "extfs"]]
    with listening(engine, short / "d") as socket:
        for module in (image_layers_export, image_layers_import, image_layers_info, docker_log_info):
            monkeypatch.setattr(module, "Docker", lambda: Docker(socket))
        monkeypatch.setattr(image_pull_progress, "Docker", lambda timeout: Docker(socket, timeout))
        monkeypatch.setattr(image_pull_progress.progress_file, "PULL", str(tmp_path / "progress"))
        yield SimpleNamespace(engine=engine, here=tmp_path, files=tmp_path / "files")
    shutil.rmtree(short)


@pytest.fixture
def run(capsys: pytest.CaptureFixture):
    def run_module(module: ModuleType, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        with patch_module_args({**arguments, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run_module


def test_images_that_containerd_keeps(run, place: SimpleNamespace) -> None:
    place.engine.info["DriverStatus"] = [["driver-type", "io.containerd.snapshotter.v1"]]
    assert run(image_layers_info)["store"] == "containerd"


def test_from_one_engine_to_another(run, place: SimpleNamespace) -> None:
    there = run(image_layers_info)
    assert (there["changed"], there["images"], there["store"]) == (False, {ID: LAYERS}, "graph driver")
    asked = {"image": ID, "directory": str(place.files), "receivers": [{"sha256:other": LAYERS[:1]}]}
    foretold = run(image_layers_export, check_mode=True, **asked)
    assert (foretold["changed"], foretold["left_out"], place.files.exists()) == (True, 1, False)
    exported = run(image_layers_export, **asked)
    assert (exported["id"], exported["left_out"], exported["bytes"]) == (ID, 1, 7)
    assert [file["path"] for file in exported["files"]] == ["blobs/sha256/bb", "manifest.json"]

    brought = {"id": ID, "directory": str(place.files), "files": exported["files"]}
    assert not run(image_layers_import, **brought)["changed"], "it is there already"
    place.engine.answers["GET", "/images/json"] = []
    assert run(image_layers_import, check_mode=True, **brought)["changed"]
    assert not (place.here / "image.loaded").exists()
    assert run(image_layers_import, **brought)["changed"]
    with tarfile.open(place.here / "image.loaded") as tar:
        assert tar.getnames() == ["blobs/sha256/bb", "manifest.json"]


def test_what_a_step_leaves_in_the_page_cache_is_given_back(run, place: SimpleNamespace, monkeypatch) -> None:
    """Of Docker's own layers: the export reads them, the import and the pull write them; a dry run does neither."""
    released: list[str] = []
    for module in (image_layers_export, image_layers_import, image_pull_progress):
        monkeypatch.setattr(module, "release_image", lambda image: released.append(image["Id"]))
    asked = {"image": ID, "directory": str(place.files), "receivers": [{}]}
    run(image_layers_export, check_mode=True, **asked)
    assert released == []
    exported = run(image_layers_export, **asked)
    assert released == [ID]
    place.engine.answers["GET", "/images/json"] = []
    brought = {"id": ID, "directory": str(place.files), "files": exported["files"]}
    run(image_layers_import, check_mode=True, **brought)
    run(image_layers_import, **brought)
    assert released == [ID] * 2
    pull = registry(place, PULLED)
    run(image_pull_progress, check_mode=True, **pull)
    for _again in range(2):
        run(image_pull_progress, **pull)
    assert released == [ID] * 3


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ("print('Error processing tar file: unexpected EOF', file=sys.stderr); sys.exit(1)", "unexpected EOF"),
        # The engine answers 200 with the error in the stream (Docker 20.10.24 and 26.1.5); its client ends with 1.
        ("sys.exit(0)", "No such image"),
    ],
)
def test_a_broken_archive_is_an_error_whatever_docker_ends_with(
    run, place: SimpleNamespace, ends: str, says: str
) -> None:
    exported = run(image_layers_export, image=ID, directory=str(place.files), receivers=[{}])
    place.engine.answers["GET", "/images/json"] = []
    place.engine.answers["GET", f"/images/{ID}/json"] = (404, {"message": f"No such image: {ID}"})
    (place.here / "docker").write_text(f"#!{sys.executable}\nimport sys\nsys.stdin.buffer.read()\n{ends}\n")
    told = run(image_layers_import, id=ID, directory=str(place.files), files=exported["files"])
    assert f"{ID} cannot be made of {place.files}: " in told["msg"]
    assert says in told["msg"]


def test_an_image_that_is_another_one_afterwards_is_an_error(run, place: SimpleNamespace) -> None:
    exported = run(image_layers_export, image=ID, directory=str(place.files), receivers=[{}])
    told = run(image_layers_import, id="sha256:2e", directory=str(place.files), files=exported["files"])
    assert "sha256:2e cannot be made of" in told["msg"]


def test_an_image_that_is_not_there_is_named(run, place: SimpleNamespace) -> None:
    told = run(image_layers_export, image="nobody", directory=str(place.files), receivers=[{}])
    assert "nobody cannot be exported: no /images/nobody/json" in told["msg"]


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


def test_the_files_of_an_image_that_were_swapped_are_not_loaded(run, place: SimpleNamespace) -> None:
    exported = run(image_layers_export, image=ID, directory=str(place.files), receivers=[{}])
    manifest = next(file for file in exported["files"] if file["path"] == "manifest.json")
    (place.files / manifest["sha256"]).write_bytes(b"{}")
    place.engine.answers["GET", "/images/json"] = []
    told = run(image_layers_import, id=ID, directory=str(place.files), files=exported["files"])
    assert told["failed"]
    assert "manifest.json is not what was exported" in told["msg"]


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
