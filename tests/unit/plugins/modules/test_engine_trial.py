# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers in which something is tried: what they get, when one is refused, and that none is left."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import trial as trials
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import watch
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trial import Cached, Trial, TrialError
from ansible_collections.sparkops.dgx_spark.plugins.modules import engine_nccl_info, engine_trial
from fake_docker import Engine, listening

IMAGE = "sha256:1234"
MODEL = Cached("/home/nvidia/.cache/huggingface/hub/models--a--b", "c0ffee", 6 << 30)
OURS = {"Id": "f00", "Names": ["/dgx-spark-validate"], "Labels": {trials.LABEL: "import"}, "State": "running"}
SERVES = {"Id": "bar1", "Names": ["/dgx-spark-trtllm"], "Labels": {"dgx-spark.base": "nvcr"}, "State": "running"}


# --- the container ---------------------------------------------------------------------------------------------------


def test_a_model_is_mounted_read_only_and_nothing_is_pulled_or_told_a_token() -> None:
    argv = trials.run_argv(Trial("text", IMAGE, ["python3", "x.py"], 60, model=MODEL, environment={"A": "1"}))
    assert "--pull=never" in argv
    assert f"--mount=type=bind,source={MODEL.repo_dir},target=/models,readonly" in argv
    assert {"--env=HF_HUB_OFFLINE=1", "--env=A=1", "--env=NVIDIA_VISIBLE_DEVICES=all", "--runtime=nvidia"} <= set(argv)
    assert not [one for one in argv if "TOKEN" in one]
    assert argv[argv.index(IMAGE) :] == [
        *(IMAGE, "-c", 'exec "$@"', "--", "python3", "/run/dgx-spark-validate/watch.py", "/run/dgx-spark-validate"),
        *("60", "60", "python3", "x.py"),
    ]


def test_a_container_that_only_asks_gets_no_gpu() -> None:
    argv = trials.run_argv(Trial("soak", IMAGE, ["python3"], 60, gpu=False))
    assert "--env=NVIDIA_VISIBLE_DEVICES=void" in argv
    assert "--runtime=nvidia" not in argv


def test_vocabularies_are_where_the_environment_says() -> None:
    argv = trials.run_argv(Trial("text", IMAGE, ["python3"], 60, vocabularies="/var/lib/dgx-spark/trtllm"))
    assert "--mount=type=bind,source=/var/lib/dgx-spark/trtllm,target=/encodings,readonly" in argv
    assert "--env=TIKTOKEN_ENCODINGS_BASE=/encodings" in argv


@pytest.mark.parametrize(
    ("serving", "consent", "memory", "says"),
    [
        ([], False, "", ""),
        (["dgx-spark-trtllm"], False, "", "the container dgx-spark-trtllm serves here"),
        (["dgx-spark-trtllm"], True, "", ""),
        (["dgx-spark-trtllm"], True, "too little", "too little"),
        ([], False, "too little", "too little"),
    ],
)
def test_a_model_is_refused_beside_a_serving_and_without_memory(
    serving: list[str], consent: bool, memory: str, says: str
) -> None:
    said = trials.refusal(MODEL, serving, consent, memory)
    assert said.startswith(says)
    assert bool(said) == bool(says)


@pytest.mark.parametrize(
    ("available", "total", "fits"), [(30720, 122880, True), (30719, 122880, False), (18432, 61440, True)]
)
def test_weights_and_a_share_of_the_memory_have_to_be_available(available: int, total: int, fits: bool) -> None:
    assert (trials.memory_problem(MODEL, available, total, 24576) == "") is fits


def test_limits_and_a_served_model_are_told() -> None:
    argv = trials.run_argv(Trial("benchmark", IMAGE, ["python3"], 60, served="/m", memory_mib=4096, patience=30))
    assert {"--memory=4096m", "--memory-swap=4096m", "--mount=type=bind,source=/m,target=/models,readonly"} <= set(argv)
    assert argv[argv.index("python3") :] == [
        *("python3", "/run/dgx-spark-validate/watch.py", "/run/dgx-spark-validate", "60", "30", "python3"),
    ]
    assert not [one for one in trials.run_argv(Trial("text", IMAGE, ["x"], 60)) if "memory" in one]


# --- a model in the cache --------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    repo = tmp_path / "hub" / "models--a--b"
    for folder in ("refs", "blobs", "snapshots/c0ffee"):
        (repo / folder).mkdir(parents=True)
    (repo / "refs" / "main").write_text("c0ffee")
    for name, data in (("config.json", b"{}"), ("model.safetensors", b"x" * 5000)):
        (repo / "blobs" / name).write_bytes(data)
        (repo / "snapshots" / "c0ffee" / name).symlink_to(repo / "blobs" / name)
    return tmp_path / "hub"


def test_a_model_is_found_where_hf_puts_it(hub: Path) -> None:
    found = trials.cached(hub, "a/b")
    assert (found.repo_dir, found.commit, found.bytes) == (str(hub / "models--a--b"), "c0ffee", 5002)
    assert found.inside == "/models/snapshots/c0ffee"


@pytest.mark.parametrize("repo", ["a/c", "x"])
def test_a_model_that_is_not_there_is_named_with_the_mend(hub: Path, repo: str) -> None:
    with pytest.raises(TrialError, match=f"{repo} is not in .*hub: bring it there first.*hf download {repo}"):
        trials.cached(hub, repo)


def test_half_a_model_is_none(hub: Path) -> None:
    (hub / "models--a--b" / "blobs" / "config.json").unlink()
    with pytest.raises(TrialError, match="is not in"):
        trials.cached(hub, "a/b")


# --- the module ------------------------------------------------------------------------------------------------------


class Place:
    """A host with Docker, whose containers are what the engine says."""

    def __init__(self, folder: Path, engine: Engine, socket: str) -> None:
        self.folder, self.engine, self.socket = folder, engine, socket
        self.run = folder / "run"
        self.called = folder / "called"
        meminfo = folder / "meminfo"
        meminfo.write_text("MemTotal: 125829120 kB\nMemAvailable: 104857600 kB\n")
        self.options: dict[str, Any] = {"docker_socket": socket, "meminfo": str(meminfo)}
        self.containers()

    def containers(self, *some: dict[str, Any]) -> None:
        self.engine.answers["GET", "/containers/json"] = list(some)

    def calls(self) -> list[list[str]]:
        return [line.split("\x1f") for line in self.called.read_text().splitlines()] if self.called.exists() else []

    def __call__(self, capsys: pytest.CaptureFixture[str], check: bool = False, **options: Any) -> dict[str, Any]:
        asked = {**self.options, **options, "_ansible_check_mode": check}
        with patch_module_args(asked), pytest.raises(SystemExit):
            engine_trial.main()
        return dict(json.loads(capsys.readouterr().out))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    short = Path(tempfile.mkdtemp())
    engine = Engine()
    engine.answers["GET", f"/images/{IMAGE}/json"] = {"Id": IMAGE}
    tool = short / "docker"
    tool.write_text(
        f'#!/bin/sh\n{{ for one in "$@"; do printf "%s\\037" "$one"; done; echo; }} >> {tmp_path}/called\n'
        f"cat {tmp_path}/fails >&2 2>/dev/null && exit 1\nexit 0\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{short}:{os.environ['PATH']}")
    monkeypatch.setattr(trials, "FOLDER", str(tmp_path / "run"))
    monkeypatch.setattr(engine_trial, "FOLDER", tmp_path / "run")
    with listening(engine, short / "d") as socket:
        yield Place(tmp_path, engine, socket)
    shutil.rmtree(short)


def start(place: Place, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    files = {"x.py": base64.b64encode(b"print(1)").decode()}
    given = {"state": "started", "image": IMAGE, "command": ["python3", "{model}"], "files": files, **options}
    return place(capsys, **given)


def test_a_start_writes_its_files_and_runs_the_container(
    place: Place, capsys: pytest.CaptureFixture[str], hub: Path
) -> None:
    done = start(place, capsys, model="a/b", hub=str(hub))
    assert done["changed"]
    assert {path.name for path in place.run.iterdir()} == {"x.py", watch.ALIVE}
    assert place.run.stat().st_mode & 0o777 == 0o700
    (call,) = place.calls()
    assert call[0] == "run"
    assert "/models/snapshots/c0ffee" in call


def test_what_an_earlier_run_left_is_removed_first(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.run.mkdir()
    (place.run / "old").touch()
    place.containers(OURS)
    place.engine.on["GET", "/containers/json"] = lambda _body: place.containers(*([] if place.calls() else [OURS]))
    assert start(place, capsys)["changed"]
    assert place.calls()[0][:4] == ["rm", "--force", "--volumes", "f00"]
    assert not (place.run / "old").exists()


def test_the_container_of_a_run_that_is_at_work_is_left_alone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.containers(OURS)
    place.run.mkdir()
    (place.run / watch.ALIVE).touch()
    done = start(place, capsys)
    assert (
        done["msg"] == "another validation or benchmark is at work on this host: wait for its end. Nothing was changed"
    )
    assert place.calls() == []
    os.utime(place.run / watch.ALIVE, (time.time() - 30,) * 2)
    place.engine.on["GET", "/containers/json"] = lambda _body: place.containers(*([] if place.calls() else [OURS]))
    assert start(place, capsys)["changed"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image": "none"}, "the image none is not on this host: build or pull it first"),
        ({"model": "a/c"}, "a/c is not in"),
        ({"model": "a/b", "hub": None}, "a/b is not tried: hub does not say where models are"),
        ({"model": "a/b", "serves": True}, "a/b is not tried: the container dgx-spark-trtllm serves here"),
        ({"model": "a/b", "reserve_mib": 110000}, "a/b is not tried: the model needs 110000 MiB"),
    ],
)
def test_what_cannot_be_tried_is_refused_and_nothing_is_started(
    place: Place, capsys: pytest.CaptureFixture[str], hub: Path, options: dict[str, Any], says: str
) -> None:
    if options.pop("serves", False):
        place.containers(SERVES)
    done = start(place, capsys, **{"hub": str(hub), **options})
    assert done["failed"]
    assert done["msg"].startswith(says)
    assert (place.calls(), place.run.exists()) == ([], False)


SERVING = {
    **SERVES,
    "ImageID": IMAGE,
    "Mounts": [
        {"Type": "bind", "Source": "/etc/dgx-spark/trtllm", "Destination": "/etc/dgx-spark/engine"},
        {"Type": "bind", "Source": "/cache/models--a--b", "Destination": "/models"},
    ],
}


def test_what_is_served_is_read_beside_it_and_a_secret_is_in_no_argument(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.containers(SERVING)
    done = start(place, capsys, served_model=True, gpu=False, memory_mib=4096, secrets={"key": "planted"})
    assert done["changed"], done
    (call,) = place.calls()
    assert "--mount=type=bind,source=/cache/models--a--b,target=/models,readonly" in call
    assert (place.run / "key").read_text() == "planted"
    assert "planted" not in json.dumps([call, done["changed"]])


@pytest.mark.parametrize(
    ("serves", "options", "says"),
    [
        ({**SERVING, "ImageID": "sha256:other"}, {}, f"no container of {IMAGE} serves a model on this host"),
        (SERVING, {"memory_mib": 95000}, "trial is not tried: only 102400 MiB of memory are available, and 103192 are"),
    ],
)
def test_what_cannot_run_beside_the_serving_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str], serves: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    place.containers(serves)
    done = start(place, capsys, served_model=True, **options)
    assert done["msg"].startswith(says)
    assert (place.calls(), place.run.exists()) == ([], False)


def test_a_container_that_docker_does_not_start_leaves_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.folder / "fails").write_text("unknown runtime nvidia")
    done = start(place, capsys)
    assert done["msg"] == f"Docker cannot start a container of {IMAGE}: unknown runtime nvidia"
    assert not place.run.exists()


LOG = b"\1\0\0\0\0\0\0\6hello\n"


@pytest.mark.parametrize(
    ("state", "ended", "status", "why"),
    [
        ({"Running": False, "ExitCode": 3}, {"status": 3, "why": ""}, 3, ""),
        ({"Running": False, "ExitCode": 1}, {"status": -9, "why": "time"}, -9, "time"),
        ({"Running": False, "ExitCode": 137, "OOMKilled": True}, None, 137, "memory"),
        ({"Running": False, "ExitCode": 137}, None, 137, ""),
    ],
)
def test_how_it_ended_is_told(
    place: Place, capsys: pytest.CaptureFixture[str], state: dict[str, Any], ended: Any, status: int, why: str
) -> None:
    place.containers(OURS)
    place.engine.answers["GET", "/containers/f00/json"] = {"State": state}
    place.engine.answers["GET", "/containers/f00/logs"] = LOG
    place.run.mkdir()
    (place.run / watch.ALIVE).touch()
    (place.run / "result.json").write_text('{"count": 1}')
    if ended:
        (place.run / watch.ENDED).write_text(json.dumps(ended))
    os.utime(place.run / watch.ALIVE, (0, 0))
    done = place(capsys, state="watched")
    assert (done["running"], done["status"], done["why"]) == (False, status, why)
    assert (done["lines"], done["result"]) == (["hello"], {"count": 1})
    assert time.time() - (place.run / watch.ALIVE).stat().st_mtime < 60, "it was looked after"


def test_one_that_is_gone_is_told(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place(capsys, state="watched")["msg"] == "the container is gone: somebody removed it"


def test_absent_removes_container_and_files_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.run.mkdir()
    place.containers(OURS, SERVES)
    place.engine.on["GET", "/containers/json"] = lambda _body: place.containers(
        SERVES, *([] if place.calls() else [OURS])
    )
    assert place(capsys, check=True, state="absent")["changed"]
    assert (place.calls(), place.run.exists()) == ([], True)
    assert place(capsys, state="absent")["changed"]
    assert [call[:-1] for call in place.calls()] == [["rm", "--force", "--volumes", "f00"]]
    assert not place(capsys, state="absent")["changed"]


def test_without_a_docker_there_is_nothing_to_remove(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.options["docker_socket"] = "/none"
    assert not place(capsys, state="absent")["changed"]


def test_one_that_docker_does_not_remove_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.containers(OURS)
    assert "the containers f00 cannot be removed" in place(capsys, state="absent")["msg"]


# --- which NCCL ------------------------------------------------------------------------------------------------------


def test_the_nccl_of_the_serving_s_processes_is_read(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import mmap

    library = tmp_path / "libnccl.so.2.28.9"
    library.write_bytes(b"x" * 5000 + b"\0NCCL version 2.28.9+cuda13.0\0" + b"y" * 100)
    (tmp_path / "libnccl-net.so").write_bytes(b"plugin")
    with library.open("rb") as one, (tmp_path / "libnccl-net.so").open("rb") as other:
        kept = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for file in (one, other)]
    place.containers(SERVES, OURS)
    rows = [["root", str(os.getpid()), "python3"], ["root", "999999999", "gone"]]
    place.engine.answers["GET", "/containers/dgx-spark-trtllm/top"] = {
        "Titles": ["UID", "PID", "CMD"],
        "Processes": rows,
    }
    with patch_module_args({"docker_socket": place.socket}), pytest.raises(SystemExit):
        engine_nccl_info.main()
    found = json.loads(capsys.readouterr().out)
    assert found["containers"] == ["dgx-spark-trtllm"]
    (one_library,) = [each for each in found["libraries"] if str(tmp_path) in each["path"]]
    assert (one_library["version"], one_library["bytes"]) == ("2.28.9+cuda13.0", 5130)
    assert len(one_library["sha256"]) == 64
    for each in kept:
        each.close()


def test_a_docker_that_does_not_tell_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.containers(SERVES)
    place.engine.answers["GET", "/containers/dgx-spark-trtllm/top"] = {"Titles": ["UID"], "Processes": []}
    with patch_module_args({"docker_socket": place.socket}), pytest.raises(SystemExit):
        engine_nccl_info.main()
    assert "Docker does not tell what runs in the serving's container" in json.loads(capsys.readouterr().out)["msg"]
