# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has of the monitoring's containers, and how they go: asked of an engine that is a stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._monitoring import containers, host, layout
from fake_docker import Engine, listening

IMAGE = f"grafana/grafana@sha256:{'a' * 64}"
LISTED = [
    {"Id": "1" * 64, "Names": ["/dgx-spark-grafana"], "State": "running", "Labels": {layout.CONFIG_LABEL: "abc"}},
    {"Id": "2" * 64, "Names": ["/dgx-spark-dcgm-exporter"], "State": "exited", "Labels": None},
    {"Id": "3" * 64, "Names": ["/dgx-spark-trtllm"], "State": "running", "Labels": {}},
    {"Id": "4" * 64, "Names": None, "State": "created", "Labels": {}},
]


@pytest.fixture
def engine() -> Engine:
    one = Engine()
    one.answers["GET", "/containers/json"] = LISTED
    return one


@pytest.fixture
def docker(engine: Engine, tmp_path: Path) -> Iterator[Docker]:
    with listening(engine, tmp_path / "docker.sock") as path:
        yield Docker(path)


def test_the_containers_of_the_monitoring_are_told_and_no_others(docker: Docker) -> None:
    assert containers.containers(docker) == {
        "dgx-spark-grafana": {"id": "1" * 64, "running": True, "config": "abc"},
        "dgx-spark-dcgm-exporter": {"id": "2" * 64, "running": False, "config": ""},
    }


def test_images_that_are_not_there_are_told(engine: Engine, docker: Docker) -> None:
    found = containers.look({}, [IMAGE], docker)
    assert (found["lacking"], found["runtimes"]) == ([IMAGE], ["runc"])
    engine.answers["GET", f"/images/{IMAGE}/json"] = {"Id": "x"}
    assert containers.look({}, [IMAGE], docker)["lacking"] == []


def test_an_engine_that_does_not_answer_is_a_fact_and_no_failure(tmp_path: Path) -> None:
    found = containers.look({}, [IMAGE], Docker(str(tmp_path / "nothing.sock")))
    assert "Docker Engine does not answer" in found["problem"]
    assert (found["containers"], found["lacking"]) == ({}, [])


def test_the_password_is_compared_and_never_told(tmp_path: Path) -> None:
    file, following = tmp_path / "admin_password", tmp_path / "next"
    assert containers.password(str(file), str(following)) == {"salt": "", "digest": "", "pending": False}
    file.write_text("s3cret-s3cret\n")
    following.touch()
    first, second = (containers.password(str(file), str(following)) for _time in range(2))
    assert first["salt"] != second["salt"]
    assert first["digest"] == containers.digest_of("s3cret-s3cret", first["salt"])
    assert first["digest"] != containers.digest_of("another", first["salt"])
    assert first["pending"]
    assert "s3cret" not in str(first)


def test_nothing_of_the_password_is_among_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "GRAFANA_SECRETS", str(tmp_path / "secrets"))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "admin_password").write_text("s3cret")
    (tmp_path / "other").write_text("told")
    assert list(host.files([str(tmp_path)], [])) == [str(tmp_path / "other")]


@pytest.mark.parametrize("text", ["", "{}", "[7]", "[", "null"])
def test_a_damaged_note_of_images_names_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "images.json").write_text(text)
    assert containers.pulled(str(tmp_path / "images.json")) == []
    assert containers.pulled(str(tmp_path / "nothing")) == []


def test_the_limit_of_the_journal_is_read(tmp_path: Path) -> None:
    file = tmp_path / "conf.d" / "limit.conf"
    assert containers.journal(str(file), str(file.parent)) == {"content": "", "mtime": 0.0, "directory": False}
    file.parent.mkdir()
    file.write_text("[Journal]\n")
    found = containers.journal(str(file), str(file.parent))
    assert (found["content"], found["directory"]) == ("[Journal]\n", True)
    assert found["mtime"] == file.stat().st_mtime


@pytest.mark.parametrize("dry", [True, False])
def test_containers_go_and_the_images_that_the_role_pulled(engine: Engine, docker: Docker, dry: bool) -> None:
    engine.answers["GET", f"/images/{IMAGE}/json"] = {"Id": "x"}
    gone = containers.remove(docker, [IMAGE, "gone@sha256:1"], dry)
    assert gone == ["container dgx-spark-dcgm-exporter", "container dgx-spark-grafana", f"image {IMAGE}"]
    deleted = [target.partition("?")[0] for method, target, _body in engine.told if method == "DELETE"]
    wanted = ["/containers/dgx-spark-dcgm-exporter", "/containers/dgx-spark-grafana", f"/images/{IMAGE}"]
    assert deleted == ([] if dry else wanted)


def test_an_image_that_somebody_else_uses_stays(engine: Engine, docker: Docker) -> None:
    engine.answers["GET", f"/images/{IMAGE}/json"] = {"Id": "x"}
    engine.answers["DELETE", f"/images/{IMAGE}"] = (409, {"message": "conflict: image is being used"})
    containers.remove(docker, [IMAGE], False)
    engine.answers["DELETE", f"/images/{IMAGE}"] = (500, {"message": "it cannot be"})
    with pytest.raises(DockerError):
        containers.remove(docker, [IMAGE], False)


def test_docker_is_not_asked_where_the_role_has_given_it_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere: Any = [layout.Container("grafana", str(tmp_path / "nothing"), "", True)]
    monkeypatch.setattr(containers, "CONTAINERS", nowhere)
    assert containers.remove(Docker(str(tmp_path / "nothing.sock")), [], False) == []
