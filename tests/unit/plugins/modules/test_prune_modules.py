# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has and needs, as it is read for a plan of what goes; and an image that goes by exactly its names."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import images
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import needed
from ansible_collections.sparkops.dgx_spark.plugins.modules import docker_image_absent, prune_host_info
from damaged import values
from fake_docker import Engine, listening
from hypothesis import given
from hypothesis import strategies as st

ID, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
HUB = "/home/nvidia/.cache/huggingface/hub"
IMAGE = {
    "Id": ID,
    "RepoTags": ["a:1", "b:1", "<none>:<none>"],
    "RepoDigests": ["a@sha256:" + "3" * 64],
    "Size": 7,
    "RootFS": {"Layers": ["x"]},
    "Config": {"Labels": {"dgx-spark": "trtllm-serve"}},
    "Metadata": {"LastTagTime": "2026-11-30T05:00:00.5+01:00"},
}
MODELS = f"{HUB}/models--lab--tiny"
CONTAINER = {"Id": "c1", "Names": ["/dgx-spark-trtllm"], "ImageID": ID, "State": "exited", "Created": 5}
STATE = {"State": {"StartedAt": "2026-11-29T00:00:00Z", "FinishedAt": "2026-11-30T05:00:01Z"}}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """An engine with one image, and one container of it that does not run."""
    one = Engine()
    one.answers["GET", "/images/json"] = [{"Id": ID}, {"Id": OTHER}]  # the other one goes just now
    one.answers["GET", f"/images/{ID}/json"] = IMAGE
    one.answers["GET", "/containers/json"] = [
        {**CONTAINER, "Mounts": [{"Type": "bind", "Source": MODELS}, {"Type": "volume", "Source": "/v"}]},
        {**CONTAINER, "Id": "gone"},
    ]
    one.answers["GET", "/containers/c1/json"] = STATE
    with listening(one, tmp_path / "d") as socket:
        yield SimpleNamespace(engine=one, socket=str(socket), docker=Docker(str(socket)))


def run(module: ModuleType, capsys: pytest.CaptureFixture[str], check: bool = False, **options: Any) -> dict[str, Any]:
    with patch_module_args({**options, "_ansible_check_mode": check}), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


def test_containers_and_images_with_their_last_use(engine: SimpleNamespace) -> None:
    containers = images.containers_of(engine.docker)
    assert containers == [
        {
            "name": "dgx-spark-trtllm",
            "image": ID,
            "runs": False,
            "mounts": [MODELS],
            "at": images.seconds_of("2026-11-30T05:00:01Z"),
        }
    ]
    assert images.images(engine.docker, containers) == [
        {
            "id": ID,
            "names": ["a:1", "a@sha256:" + "3" * 64, "b:1"],
            "bytes": 7,
            "layers": ["x"],
            "labels": {"dgx-spark": "trtllm-serve"},
            "last_used": images.seconds_of("2026-11-30T05:00:01Z"),
        }
    ]
    assert images.images(engine.docker, [])[0]["last_used"] == images.seconds_of("2026-11-30T04:00:00Z")


def test_a_managers_services_are_users(engine: SimpleNamespace) -> None:
    spec = {"ContainerSpec": {"Image": ID, "Mounts": [{"Type": "bind", "Source": MODELS}]}}
    engine.engine.answers["GET", "/services"] = [{"Spec": {"Name": "x_worker", "TaskTemplate": spec}}]
    assert images.services_of(engine.docker) == []
    engine.engine.info["Swarm"] = {"ControlAvailable": True}
    (one,) = images.services_of(engine.docker)
    assert (one["name"], one["image"], one["mounts"], one["runs"]) == ("x_worker", ID, [MODELS], True)


def of(name: str, mount: str, runs: bool = True) -> dict[str, Any]:
    return {"name": name, "image": ID, "mounts": [mount], "runs": runs}


@pytest.mark.parametrize(
    ("user", "used"),
    [
        (of("x", MODELS), ["lab/tiny"]),
        (of("x", MODELS, runs=False), ["lab/tiny"]),
        (of("x", f"{MODELS}/snapshots/abc"), ["lab/tiny"]),
        (of("vllm", "/home/nvidia/.cache/huggingface"), ["lab/other", "lab/tiny"]),
        (of("vllm", HUB), ["lab/other", "lab/tiny"]),
        (of("vllm", "/home/nvidia/.cache/huggingface", runs=False), []),
        (of("vllm", "/home/nvidia/.cache/hugging"), []),
        (of("db", "/var/lib/postgres"), []),
        (of("odd", "relative"), []),
    ],
)
def test_whose_model_is_mounted(user: dict[str, Any], used: list[str]) -> None:
    assert sorted(needed.models_used([user], HUB, ["lab/tiny", "lab/other"])) == used


def test_one_directory_by_two_names(tmp_path: Path) -> None:
    """A cache on another disk is given to a container by a link, or without it."""
    real, link = tmp_path / "data" / "hf", tmp_path / "huggingface"
    (real / "hub" / "models--lab--tiny" / "blobs").mkdir(parents=True)
    link.symlink_to(real)
    repos = ["lab/tiny", "lab/other"]
    for hub, mount in ((link, real), (real, link), (link, real / "hub")):
        assert sorted(needed.models_used([of("x", str(mount))], f"{hub}/hub", repos)) == sorted(repos)
    (tmp_path / "tiny").symlink_to(real / "hub" / "models--lab--tiny")
    stopped = of("x", str(tmp_path / "tiny"), runs=False)
    assert list(needed.models_used([stopped], f"{link}/hub", repos)) == ["lab/tiny"]
    (real / "hub" / "models--lab--moved").symlink_to(tmp_path / "elsewhere")
    moved = of("x", str(tmp_path / "elsewhere" / "blobs"), runs=False)
    assert list(needed.models_used([moved], f"{link}/hub", ["lab/moved", *repos])) == ["lab/moved"]


@pytest.mark.parametrize(
    ("policy", "exit_status", "runs"),
    [
        ("always", 0, True),
        ("on-failure", 1, True),
        ("on-failure", 0, False),
        ("unless-stopped", 137, False),
        ("no", 1, False),
        ("", 1, False),
    ],
)
def test_a_container_that_docker_starts_again_counts_as_running(
    engine: SimpleNamespace, policy: str, exit_status: int, runs: bool
) -> None:
    engine.engine.answers["GET", "/containers/c1/json"] = {
        "State": {**STATE["State"], "ExitCode": exit_status},
        "HostConfig": {"RestartPolicy": {"Name": policy}},
    }
    assert [one["runs"] for one in images.containers_of(engine.docker)] == [runs]


def test_what_configuration_names_is_needed(tmp_path: Path) -> None:
    (tmp_path / "etc" / "trtllm" / "ssh").mkdir(parents=True)
    (tmp_path / "etc" / "trtllm" / "stack.yml").write_text(f"image: {ID}\n  source: {MODELS}\n  other: models--a--b.\n")
    (tmp_path / "etc" / "trtllm" / "large.json").write_bytes(b"models--lab--large " * 70000)
    kept = tmp_path / "etc" / "trtllm" / "kept" / "digest"
    kept.mkdir(parents=True)
    (kept / "stack.yml").write_text("source: /hf/hub/models--lab--last-good\n")
    (tmp_path / "etc" / "trtllm" / "ssh" / "x").write_text("models--lab--no-key\n")
    served = [{"repo": repo, "outcome": "served"} for repo in ("lab/oldest", "lab/previous", "lab/now", "lab/now")]
    tried = [*served, {"repo": "lab/broken", "outcome": "put back"}, 5]
    (tmp_path / "etc" / "trtllm" / "history.json").write_text(json.dumps(tried))
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "dgx-spark-x.service").write_text("models--lab--unit/")
    (tmp_path / "units" / "other.service").write_text("models--lab--foreign/")
    files = list(needed.texts([str(tmp_path / "etc")], str(tmp_path / "units")))
    models, found = needed.named_in(files)
    assert sorted(models) == ["a/b", "lab/last-good", "lab/previous", "lab/tiny", "lab/unit"]
    assert found == {ID: [str(tmp_path / "etc" / "trtllm" / "stack.yml")]}
    assert [needed.previous_in(text) for text in ("{", "[]", "5", "[[]]", json.dumps(served[:1]))] == [[]] * 5
    guessed = {"repo": "a/b", "outcome": "served", "asked": {"speculative": {"kind": "Eagle3", "handle": "a/draft"}}}
    assert needed.previous_in(json.dumps([guessed, *served[:1]])) == ["a/b", "a/draft"]
    assert needed.merged({"a": ["x"]}, {"a": ["x", "y"]}) == {"a": ["x", "y"]}


def test_a_host_is_read_in_one_go(engine: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blobs = tmp_path / "hf" / "hub" / "models--lab--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "x").write_bytes(b"12345")
    (tmp_path / "hf" / ".dgx-spark").mkdir()
    (tmp_path / "hf" / ".dgx-spark" / "models--lab--tiny.json").write_text("{}")
    options = {"docker_socket": engine.socket, "cache_dir": str(tmp_path / "hf")}
    found = run(prune_host_info, capsys, **options)
    (model,) = found["models"]
    assert (model["repo"], model["bytes"], model["noted"], model["busy"]) == ("lab/tiny", 5, True, False)
    assert abs(model["last_used"] - found["now"]) < 3600
    assert [one["id"] for one in found["images"]] == [ID]
    assert found["needed"]["models"] == {"lab/tiny": ["dgx-spark-trtllm"]}
    assert found["needed"]["images"] == {ID: ["dgx-spark-trtllm"]}
    assert sorted(found["filesystems"]) == ["cache", "images"]
    alone = run(prune_host_info, capsys, **{**options, "docker_socket": str(tmp_path / "none")})
    assert (alone["images"], sorted(alone["filesystems"])) == ([], ["cache"])
    failed = run(prune_host_info, capsys, **{**options, "cache_owner": "no-such-user", "cache_dir": "~/x"})
    assert "no-such-user" in failed["msg"]


def test_a_docker_that_is_stopped_is_not_woken(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Where its socket is there or not: what its containers need is known to it alone."""
    monkeypatch.setattr(prune_host_info.service, "run", lambda _argv: (0, "LoadState=loaded\nActiveState=inactive\n"))
    monkeypatch.setattr(prune_host_info, "Docker", None)
    failed = run(prune_host_info, capsys)
    assert "Docker is stopped (docker.service is inactive)" in failed["msg"]
    assert failed["msg"].endswith("Nothing was changed.")


def told(engine: SimpleNamespace) -> list[str]:
    return [target for method, target, _body in engine.engine.told if method == "DELETE"]


@pytest.mark.parametrize(
    ("names", "removed", "deleted"),
    [
        (["b:1"], ["b:1"], ["/images/b:1"]),
        (
            ["a:1", "never:1"],  # the last tag of a repository, with which its digests go
            ["a:1", "a@sha256:" + "3" * 64],
            ["/images/a:1", "/images/a@sha256:" + "3" * 64],
        ),
        (
            ["b:1", "a:1"],
            ["a:1", "a@sha256:" + "3" * 64, "b:1", ID],
            ["/images/a:1", "/images/a@sha256:" + "3" * 64, "/images/b:1", f"/images/{ID}"],
        ),
        ([], [], []),
        (
            ["b:1", "a:1", "a@sha256:" + "3" * 64],
            ["a:1", "a@sha256:" + "3" * 64, "b:1", ID],
            ["/images/a:1", "/images/a@sha256:" + "3" * 64, "/images/b:1", f"/images/{ID}"],
        ),
    ],
)
def test_an_image_goes_with_the_last_of_its_names_and_never_by_force(
    engine: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    removed: list[str],
    deleted: list[str],
) -> None:
    options = {"docker_socket": engine.socket, "id": ID, "names": names}
    dry = run(docker_image_absent, capsys, check=True, **options)
    assert (dry["removed"], dry["changed"], told(engine)) == (removed, bool(removed), [])
    assert run(docker_image_absent, capsys, **options)["removed"] == removed
    assert told(engine) == deleted


def test_what_docker_keeps_is_a_failure_and_what_is_gone_is_none(
    engine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.engine.answers["DELETE", "/images/a:1"] = (409, {"message": "container c1 is using it"})
    options = {"docker_socket": engine.socket, "id": ID}
    failed = run(docker_image_absent, capsys, **options, names=["a:1"])
    assert failed["msg"] == f"{ID} (a:1) stays: container c1 is using it"
    engine.engine.answers["DELETE", "/images/b:1"] = (404, {"message": "no such image"})
    assert run(docker_image_absent, capsys, **options, names=["b:1"])["removed"] == ["b:1"]
    assert run(docker_image_absent, capsys, docker_socket=engine.socket, id=OTHER)["changed"] is False


@pytest.mark.parametrize("wrong", ["a:1", ID[:19], ID + "0", ID.upper()])
def test_only_a_whole_id_names_an_image(capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    assert "Nothing was changed." in run(docker_image_absent, capsys, id=wrong)["msg"]


ASKED = {"/images/json": [{"Id": ID}], "/containers/json?all=1": [{**CONTAINER, "Mounts": [{"Type": "bind"}]}]}


@given(st.data())
def test_whatever_docker_answers_it_is_read_or_told(data: st.DataObject) -> None:
    """With good answers of which places are damaged."""
    answers = data.draw(values({**ASKED, f"/images/{ID}/json": IMAGE, "/containers/c1/json": STATE}))

    class Damaged(Docker):
        def ask(self, method: str, target: str, body: Any = None) -> Any:
            return answers.get(target) if isinstance(answers, dict) else answers

    with contextlib.suppress(DockerError):
        images.images(Damaged(), images.containers_of(Damaged()))
        docker_image_absent.remove(Damaged(), ID, ["a:1"], True)
