# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image from source on a virtual Spark: what a registry offers, a build that is killed twice, and what came of it.

Real are git with its submodules and large files, make, Docker's BuildKit with its cache, systemd and the registry. The
repository is a stand-in that compiles nothing, slowly.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import tarfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, SERVED, Pair, Run, eventually

pytestmark = pytest.mark.matrix

STAND_IN = Path(__file__).parent / "build_source"
FOLDER, UNIT = "/var/lib/dgx-spark/build", "dgx-spark-build"
REPOSITORY = "nvcr.test/nvidia/tensorrt-llm/release"
LARGE = b"cubin" * 4000
INVENTED = ("1.3.0rc20", "1.4.0rc1", "1.4.0rc2.dev202611010000")
#: all Sparks of a lab share one disk and the machine's memory
ROOMS = {
    "image_build_docker_gb": 1,
    "image_build_source_gb": 0.1,
    "image_build_image_gb": 1,
    "image_build_job_mib": 64,
    "image_build_floor_mib": 256,
    "image_build_jobs": 3,
    "image_build_url": "file:///srv/trtllm.git",
}


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=lab", "-c", "user.email=lab@lab.test", "-c", "protocol.file.allow=always"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def repositories(folder: Path) -> str:
    """Make the repository and its submodule, as bare ones; return the commit of the tag v1.3.0rc14."""
    cutlass, source = folder / "cutlass", folder / "source"
    cutlass.mkdir()
    (cutlass / "README").write_text("SIMULATED\n")
    git(cutlass, "init", "--quiet", "--initial-branch=main")
    git(cutlass, "add", "--all")
    git(cutlass, "commit", "--quiet", "--message=One")
    subprocess.run(["cp", "-r", str(STAND_IN), str(source)], check=True)
    git(source, "init", "--quiet", "--initial-branch=main")
    digest = hashlib.sha256(LARGE).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(LARGE)}\n"
    (source / "cpp").mkdir(exist_ok=True)
    (source / "cpp" / "cubins.bin").write_text(pointer)
    (source / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    git(source, "submodule", "--quiet", "add", str(cutlass), "3rdparty/cutlass")
    git(source, "config", "--file", ".gitmodules", "submodule.3rdparty/cutlass.url", "file:///srv/cutlass.git")
    git(source, "-c", "filter.lfs.clean=cat", "-c", "filter.lfs.required=false", "add", "--all")
    git(source, "commit", "--quiet", "--message=One")
    git(source, "tag", "v1.3.0rc14")
    for name in ("cutlass", "source"):
        git(folder, "clone", "--quiet", "--bare", name, f"{name}.git")
    kept = folder / "source.git" / "lfs" / "objects" / digest[:2] / digest[2:4]
    kept.mkdir(parents=True)
    (kept / digest).write_bytes(LARGE)
    return git(source, "rev-parse", "HEAD")


def of_root(one: tarfile.TarInfo) -> tarfile.TarInfo:
    """Git takes no repository of somebody else's."""
    one.uid, one.gid, one.uname, one.gname = 0, 0, "root", "root"
    return one


@pytest.fixture(scope="module")
def commit(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The stand-in's repository on the leader, and what tries the image: Docker's runtime and a model."""
    folder = tmp_path_factory.mktemp("source")
    found = repositories(folder)
    archive = folder / "srv.tar"
    with tarfile.open(archive, "w") as tar:
        for name, target in (("source.git", "trtllm.git"), ("cutlass.git", "cutlass.git")):
            tar.add(folder / name, target, filter=of_root)
    container = f"{pair.name}-spark1"
    with archive.open("rb") as stream:
        subprocess.run(["docker", "exec", "-i", container, "tar", "-x", "-C", "/srv"], stdin=stream, check=True)
    # git lets nobody clone a submodule from a directory, since a stranger's repository could name any.
    told = '[protocol "file"]\n\tallow = always\n'
    subprocess.run(["docker", "exec", "-i", container, "tee", "/etc/gitconfig"], input=told.encode(), check=True)
    run = pair.serve(download_only=True)
    assert run.status == "successful", run.said
    return found


@pytest.fixture(scope="module")
def invented(pair: Pair) -> None:
    """Three tags that nobody ever released, in the lab's registry."""
    leader = pair.host("spark1")
    for tag in INVENTED:
        version = tag.partition(".dev")[0]
        text = (
            f"FROM scratch\nENV TRT_LLM_VERSION={version} CUDA_VERSION=13.2.1"
            f" TRT_LLM_GIT_COMMIT={hashlib.sha256(tag.encode()).hexdigest()[:40]}"
            "\nLABEL org.opencontainers.image.version=24.04\nCOPY one /\n"
        )
        leader.check_output(
            "mkdir -p ~/invented && cd ~/invented && echo %s > one && printf %s > Dockerfile"
            f" && sudo DOCKER_BUILDKIT=0 docker build --quiet --tag {REPOSITORY}:{tag} ."
            f" && sudo docker push --quiet {REPOSITORY}:{tag} && sudo docker image rm {REPOSITORY}:{tag}",
            tag,
            text.replace("\n", "\\n"),
        )


def chosen(run: Run) -> dict[str, dict[str, Any]]:
    found = run.results("Tell what to do for a newer TensorRT-LLM")["spark1"]
    return {one["what"]: one for one in found["choices"]}


def asked(pair: Pair, **options: Any) -> Run:
    return pair.play("build_image.yml", **{**SERVED, "spark_model": "", **ROOMS, **options})


def test_a_registry_tells_which_newer_images_it_has(pair: Pair, invented: None) -> None:
    run = asked(pair)
    assert run.status == "successful", run.said
    assert not run.changed
    newest = chosen(run)["newest image"]
    assert (newest["place"], newest["which"]) == (1, f"{REPOSITORY}:1.4.0rc1"), "a nightly one is newer, and not first"
    said = " ".join(newest["reasons"])
    assert "version 1.4.0rc1" in said
    assert "CUDA 13.2.1" in said
    assert "24.04" not in said, "a label of the image below"
    assert "last with the TensorRT backend" in said
    assert INVENTED[2] in said


def test_a_registry_that_hangs_is_told_and_stops_nobody(pair: Pair, invented: None) -> None:
    fault = {"service": "registry", "kind": "hang", "match": "tags/list", "seconds": 60, "times": 1}
    address = f"http://{pair.internet}:9000/faults"
    body = json.dumps(fault).encode()
    urllib.request.urlopen(urllib.request.Request(address, body, {"Content-Type": "application/json"}), timeout=30)
    try:
        run = asked(pair, build_image_timeout=3)
    finally:
        urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=30)
    assert run.status == "successful", run.said
    newest = chosen(run)["newest image"]
    assert newest["place"] == 0
    assert "nvcr.test does not tell the tags" in newest["reasons"][0]


@dataclass
class Builder:
    """The playbook as somebody runs it in a terminal, and what is seen of the build from outside."""

    pair: Pair
    options: dict[str, Any]
    log: Path

    def start(self) -> subprocess.Popen[bytes]:
        variables = {**SERVED, "spark_model": "", **ROOMS, **self.options}
        argv = ["ansible-playbook", "-i", str(self.pair.inventory), str(ROOT / "playbooks/build_image.yml")]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections"),
        }
        with self.log.open("wb") as stream:
            return subprocess.Popen(
                [*argv, "-e", json.dumps(variables)],
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def state(self) -> dict[str, Any]:
        text = self.pair.host("spark1").run(f"sudo cat {FOLDER}/state.json").stdout
        return json.loads(text) if text else {}

    def percent(self) -> int:
        state = self.state()
        return int(state.get("percent") or 0) if state.get("stage") == "build" else 0

    def is_active(self) -> bool:
        return self.pair.host("spark1").run(f"systemctl is-active {UNIT}").stdout.strip() == "active"


@pytest.fixture(scope="module")
def builder(pair: Pair, commit: str, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    options = {"image_build_commit": "v1.3.0rc14", "image_build_model": "lab/tiny-chat"}
    return Builder(pair, options, tmp_path_factory.mktemp("build") / "play.log")


@pytest.fixture(scope="module")
def built(builder: Builder) -> Run:
    """The image, after its play was killed, and then the build itself."""
    pair = builder.pair
    first = builder.start()
    try:
        eventually(lambda: builder.percent() >= 10 or first.poll() is not None, True, 240)
        assert first.poll() is None, builder.log.read_text()
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert builder.is_active(), "the build ended with its play"
    before = builder.percent()
    eventually(lambda: builder.percent() > before, True, 30)

    second = builder.start()
    try:
        eventually(lambda: "Build the image (stage" in builder.log.read_text() or second.poll() is not None, True, 90)
        eventually(lambda: builder.percent() >= 40 or second.poll() is not None, True, 120)
        assert builder.state()["starts"] == 1, "the second play has followed the first one's build"
        pair.host("spark1").check_output(f"sudo systemctl kill --signal=KILL {UNIT}")
        assert second.wait(120) != 0
    finally:
        if second.poll() is None:
            os.killpg(second.pid, signal.SIGKILL)
            second.wait()
    said = " ".join(builder.log.read_text().split())
    assert "was ended from outside in the stage 'Build the image'" in said
    assert "Build the image (stage" in said, "no progress was shown"

    run = pair.play("build_image.yml", **{**SERVED, "spark_model": "", **ROOMS, **builder.options})
    assert run.status == "successful", run.said
    return run


def test_a_build_outlives_its_play_and_goes_on_where_it_was_killed(builder: Builder, built: Run, commit: str) -> None:
    leader = builder.pair.host("spark1")
    state = builder.state()
    assert (state["phase"], state["starts"]) == ("done", 2)
    log = leader.check_output(f"sudo cat {FOLDER}/log")
    assert [log.count(f"== {stage}: ") for stage in ("fetch", "submodules", "large", "build")] == [1, 1, 1, 2]
    name = f"dgx-spark/tensorrt-llm/release:commit-{commit[:12]}"
    command = (
        f"sudo docker run --rm --entrypoint cat {name} /usr/lib/python3/dist-packages/tensorrt_llm/libs/ccache.txt"
    )
    hits = int(leader.check_output(command).split()[0])
    assert 60 <= hits < 200, "what was compiled before it was killed, and no more"


def test_the_image_is_checked_and_named_by_its_commit(builder: Builder, built: Run, commit: str) -> None:
    report = built.registered("image_build_report")
    assert {one["image"] for one in report.values()} == {f"dgx-spark/tensorrt-llm/release:commit-{commit[:12]}"}
    assert len({one["id"] for one in report.values()}) == 1, "the worker has another image"
    leader = report["spark1"]
    assert (leader["version"], leader["commit"], leader["engines"]) == ("1.3.0rc14", commit, "")
    assert leader["architectures"] == {"libtensorrt_llm.so": ["sm_120.cubin"], "libdeep_ep.so": ["sm_90a.cubin"]}
    assert leader["without"] == ["libdeep_ep.so"]
    assert leader["text"].strip()
    assert leader["not_checked"] == []


def test_again_changes_nothing_and_looks_nothing_up(builder: Builder, built: Run, commit: str) -> None:
    options = {**builder.options, "image_build_commit": commit}
    for check in (True, False):
        run = builder.pair.play("build_image.yml", check=check, **{**SERVED, "spark_model": "", **ROOMS, **options})
        assert run.status == "successful", run.said
        assert not run.changed
        assert not run.planned()


def test_engines_of_an_image_that_still_has_trtllm_build(builder: Builder, built: Run, commit: str) -> None:
    pair, leader = builder.pair, builder.pair.host("spark1")
    leader.check_output("mkdir -p ~/llama && echo {} > ~/llama/config.json")
    role = {"name": "sparkops.dgx_spark.image_build", "tasks_from": "engine"}
    play = [{"hosts": "spark", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}]
    options = {
        "image_build_engine_image": f"dgx-spark/tensorrt-llm/release:commit-{commit[:12]}",
        "image_build_engine_model": "/home/nvidia/llama",
        "image_build_engine_out": "/home/nvidia/engines",
        "image_build_engine_ranks": 2,
        "image_build_engine_arguments": ["--max_seq_len=4096"],
    }
    run = pair.play(play, **options)
    assert run.status == "successful", run.said
    made = leader.check_output("ls ~/engines/engine").split()
    assert made == ["config.json", "rank0.engine", "rank1.engine"]
    assert not pair.play(play, **options).changed
    run = pair.play(play, **{**options, "image_build_engine_image": SERVED["spark_image"]})
    assert run.status == "failed"
    assert "builds no engines" in run.words
    assert "commands/build.py is not there. Nothing was changed" in run.words


def test_what_was_built_serves_on_both_sparks(builder: Builder, built: Run, commit: str) -> None:
    pair = builder.pair
    run = pair.serve(spark_image=f"dgx-spark/tensorrt-llm/release:commit-{commit[:12]}")
    assert run.status == "successful", run.said
    assert pair.asked()["choices"]
    assert "Pull the base image" not in {name for names in run.made().values() for name in names}
    run = pair.play("undo.yml", **SERVED)
    assert run.status == "successful", run.said


def test_undo_removes_what_was_asked_for(builder: Builder, built: Run, commit: str) -> None:
    pair, leader = builder.pair, builder.pair.host("spark1")
    role = {"name": "sparkops.dgx_spark.image_build", "tasks_from": "undo"}
    play = [{"hosts": "spark", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}]
    options = {"image_build_undo_cache": True, "image_build_undo_image": True, "image_build_undo_packages": True}
    run = pair.play(play, **options)
    assert run.status == "successful", run.said
    assert not leader.file(FOLDER).exists
    for name in pair.names:
        assert not pair.host(name).check_output("sudo docker image ls --quiet dgx-spark/tensorrt-llm/release")
    left = leader.check_output("sudo docker system df --format '{{.Type}} {{.Size}}'")
    assert "Build Cache 0B" in left
    assert not leader.package("git-lfs").is_installed
    assert not pair.play(play, **options).changed
