# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a serving is planned from is read in one call, and nothing that is secret."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, Callable
from urllib.parse import quote

import fake_docker
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_store import images_root
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import host, image_facts, layout
from ansible_collections.sparkops.dgx_spark.plugins.modules import engine_host_info

BUILT = {"Id": "sha256:aa", "RepoTags": ["dgx-spark/trtllm-serve:0123"], "Labels": {"dgx-spark": "trtllm-serve"}}
SIZES = {"Size": 45, "RootFS": {"Layers": ["a", "b", "c"]}}

C8D = [["driver-type", "io.containerd.snapshotter.v1"]]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """SIMULATED: a Docker that has the serving's image and container, and is a Swarm's manager."""
    one = fake_docker.Engine()
    one.info.update(DriverStatus=[], Swarm={"ControlAvailable": True, "LocalNodeState": "active"})
    one.answers.update(
        {
            ("GET", "/images/json"): [BUILT],
            ("GET", "/images/base/json"): {"Id": "sha256:bb", "RepoDigests": ["base@sha256:cc"], "Size": 44},
            ("GET", "/images/sha256:aa/json"): {**BUILT, **SIZES},
            ("GET", "/containers/json"): [
                {"Id": "c", "ImageID": "sha256:aa", "Labels": {"a": "b"}, "State": "running", "Names": ["/x_leader.1"]}
            ],
            ("GET", "/services"): [{"Spec": {"Name": "dgx-spark-trtllm_leader", "Labels": {"c": "d"}}}],
        }
    )
    with fake_docker.listening(one, tmp_path / "docker.sock") as path:
        monkeypatch.setattr(engine_host_info, "Docker", lambda: Docker(path))
        yield one


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the module over a host whose directories are below this one."""
    places = {
        name: str(tmp_path / value.lstrip("/")) if value.startswith("/") else value
        for name, value in layout.layout("trtllm").items()
    }
    monkeypatch.setattr(engine_host_info, "layout", lambda _engine, _instance: places)

    def run(**options: Any) -> dict[str, Any]:
        with patch_module_args({"engine": "trtllm", **options}), pytest.raises(SystemExit):
            engine_host_info.main()
        return json.loads(capsys.readouterr().out)

    run.places = places
    return run


def test_what_docker_has(engine: Any, look: Any) -> None:
    named = {"ImageID": "sha256:aa", "Labels": {"a": "b"}, "State": "running"}
    filters = quote(json.dumps({"name": [r"^/dgx-spark-trtllm(\.kept|\.next)?$"]}))
    engine.answers["GET", f"/containers/json?all=1&filters={filters}"] = [
        {**named, "Names": ["/dgx-spark-trtllm"]},
        {**named, "Names": ["/dgx-spark-trtllm.kept"]},
    ]
    docker = look(base_image="base")["docker"]
    assert (docker["store"], docker["swarm"]) == ("graph driver", {"manager": True, "state": "active"})
    assert docker["base"] == {"id": "sha256:bb", "digest": "base@sha256:cc", "bytes": 44, "layers": []}
    assert docker["images"] == ["sha256:aa"]
    sizes = {"bytes": 45, "layers": ["a", "b", "c"]}
    assert docker["built"] == [{"id": "sha256:aa", "tags": BUILT["RepoTags"], "labels": BUILT["Labels"], **sizes}]
    assert docker["container"] == {"image": "sha256:aa", "labels": {"a": "b"}, "state": "running"}
    assert docker["beside"] == ["dgx-spark-trtllm.kept"]
    assert docker["stack_containers"] == [{"id": "c", "name": "x_leader.1", "state": "running"}]
    assert docker["services"] == {"dgx-spark-trtllm_leader": {"c": "d"}}


def test_what_was_kept_of_the_base_image_is_told(engine: Any, look: Any) -> None:
    facts = {"image_id": "sha256:bb", "version": "1.3.0", "package": "/opt", "no_flags_because": "", "flags": {}}
    assert look(base_image="base")["image_facts"] == {}
    note = Path(image_facts.note_path("sha256:bb", look.places["state_dir"]))
    note.parent.mkdir(parents=True)
    note.write_text(image_facts.note_text("base", facts))
    assert look(base_image="base")["image_facts"] == {**facts, "source": "note"}
    assert look()["image_facts"] == {}  # on a worker, which is asked for no image
    engine.answers["GET", "/images/base/json"] = {"Id": "sha256:dd"}  # the tag has another image by now
    assert look(base_image="base")["image_facts"] == {}


def test_where_an_image_lies_on_its_way(engine: Any, look: Any) -> None:
    engine.info["DockerRootDir"] = "/dev/shm/docker"
    room = look()["docker"]["room"]
    shared = Path("/dev/shm").stat().st_dev
    assert {name: place["filesystem"]["device"] for name, place in room.items()} == {
        **{"images": shared, "docker": shared},
        "saved": Path("/var/lib").stat().st_dev,
    }
    assert room["images"]["path"] == "/dev/shm/docker"
    assert room["images"]["filesystem"]["mount"] == "/dev/shm"
    engine.info.update(Driver="overlay2", DriverStatus=[["Native Overlay Diff", "true"]])
    assert "saved" not in look()["docker"]["room"], "its layers are read where they are"


@pytest.mark.parametrize(
    ("info", "config", "root"),
    [
        ({}, "", "/docker"),
        ({"DriverStatus": C8D}, "", "/var/lib/containerd"),
        (
            {"DriverStatus": C8D},
            "version = 2\nroot = '/data/containerd'\n[plugins]\n  root = '/no'\n",
            "/data/containerd",
        ),
        ({"DriverStatus": C8D}, "version = 2\n[plugins]\nroot = '/no'\n", "/var/lib/containerd"),
        (
            {"DriverStatus": C8D, "Containerd": {"Address": "/run/containerd/containerd.sock"}},
            "",
            "/var/lib/containerd",
        ),
        (
            {"DriverStatus": C8D, "Containerd": {"Address": "/var/run/docker/containerd/containerd.sock"}},
            "root = '/data'",
            "/docker/containerd/daemon",
        ),
    ],
)
def test_where_images_are_kept(tmp_path: Path, info: dict[str, Any], config: str, root: str) -> None:
    (tmp_path / "config.toml").write_text(config)
    assert images_root({"DockerRootDir": "/docker", **info}, tmp_path / "config.toml") == root


PROXY = {"HttpProxy": "http://proxy:3128", "HttpsProxy": "", "NoProxy": "localhost"}


@pytest.mark.parametrize(
    ("info", "config", "arguments"),
    [
        (PROXY, "", ["http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"]),
        (PROXY, '{"auths": {}}', ["http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"]),
        (PROXY, '{"proxies": {"default": {"httpProxy": "http://other:1"}}}', []),
        ({**PROXY, "HttpProxy": "http://xxxxx:xxxxx@proxy:3128"}, "", []),
        ({"NoProxy": "localhost"}, "", []),
        ({}, "", []),
    ],
)
def test_a_build_goes_by_dockers_own_proxy(
    tmp_path: Path, info: dict[str, str], config: str, arguments: list[str]
) -> None:
    if config:
        (tmp_path / "config.json").write_text(config)
    found = host.build_proxies(info, tmp_path / "config.json")
    assert list(found) == arguments
    assert not arguments or found["http_proxy"] == found["HTTP_PROXY"] == "http://proxy:3128"


def test_the_directory_of_copies_is_the_login_users() -> None:
    assert host.copy_directory("~/.dgx-spark", "", {"SUDO_USER": "daemon"}) == "/usr/sbin/.dgx-spark"
    assert host.copy_directory("~/.dgx-spark", "root", {"SUDO_USER": "daemon"}) == "/root/.dgx-spark"


def test_a_worker_is_asked_for_no_services_and_a_missing_image_is_none(engine: Any, look: Any) -> None:
    engine.info["Swarm"] = {"ControlAvailable": False, "LocalNodeState": "active"}
    docker = look(base_image="unknown")["docker"]
    assert (docker["base"], docker["services"]) == ({}, {})


def test_a_docker_that_does_not_answer_is_told_and_fails_nothing(tmp_path: Path, monkeypatch: Any, look: Any) -> None:
    monkeypatch.setattr(engine_host_info, "Docker", lambda: Docker(str(tmp_path / "none.sock")))
    found = look(listen=[{"address": "127.0.0.1", "port": 8355}])
    assert "Docker Engine does not answer" in found["docker"]["problem"]
    assert found["listen"] == []


def test_files_are_read_and_private_keys_are_not(engine: Any, look: Any) -> None:
    folder = Path(look.places["config_dir"])
    (folder / "ssh").mkdir(parents=True)
    (folder / "ssh").chmod(0o700)
    for name, text in (("cluster.json", "{}"), ("ssh/id_ed25519", "secret"), ("ssh/id_ed25519.pub", "ssh-ed25519 A")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    found = look(downloads=["vocabulary"])
    entries = found["entries"]
    assert entries[f"{folder}/cluster.json"]["content"] == "{}"
    assert entries[f"{folder}/ssh"] == {"kind": "directory", "mode": "0700", "empty": False}
    assert entries[f"{folder}/ssh/id_ed25519.pub"]["content"] == "ssh-ed25519 A"
    assert entries[f"{folder}/ssh/id_ed25519"]["mode"] == "0600"
    assert "secret" not in json.dumps(found)
    assert entries[f"{look.places['state_dir']}/vocabulary"] == {"kind": "absent"}


@pytest.mark.parametrize(("text", "state"), [('{"phase": "serving"}', {"phase": "serving"}), ('{"phase": "se', {})])
def test_a_state_that_a_power_cut_halved_is_none(engine: Any, look: Any, text: str, state: dict[str, str]) -> None:
    folder = Path(look.places["state_dir"])
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(text)
    assert look()["state"] == state


def test_who_has_a_port_is_named_and_a_free_port_is_free(engine: Any, look: Any) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        name = Path("/proc/self/comm").read_text().strip()
        (found,) = look(listen=[{"address": "127.0.0.1", "port": port}])["listen"]
        assert found["taken"]
        assert found["holders"] == [f"{name} (process {os.getpid()})"]
    (found,) = look(listen=[{"address": "127.0.0.1", "port": port}])["listen"]
    assert (found["taken"], found["holders"]) == (False, [])


def test_what_is_no_address_is_said(engine: Any, look: Any) -> None:
    said = look(listen=[{"address": "spark1.example.org", "port": 8355}])
    assert said["failed"]
    assert "spark1.example.org" in said["msg"]
    assert said["msg"].endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("code", "conf", "firewall"),
    [
        (0, "ENABLED=yes", {"installed": True, "enabled": True, "rules": [{"rule": "allow 22/tcp", "comment": "me"}]}),
        (0, "ENABLED=no", {"installed": True, "enabled": False, "rules": [{"rule": "allow 22/tcp", "comment": "me"}]}),
        (127, "", {"installed": False, "enabled": False, "rules": []}),
    ],
)
def test_the_firewall(tmp_path: Path, code: int, conf: str, firewall: dict[str, Any]) -> None:
    (tmp_path / "ufw.conf").write_text(conf)
    shown = "Added user rules (see 'ufw status' for running firewall):\nufw allow 22/tcp comment 'me'\n"
    assert host.firewall(lambda _argv: (code, shown), conf=tmp_path / "ufw.conf") == firewall


def test_what_is_read_of_networks_and_packages(engine: Any, look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_host_info, "unavailable", lambda _run, names: names)
    found = look(firewall="none")
    assert found["ufw_enabled"] is False
    assert not [one for one in found["addresses"] if one.endswith((" on lo", " on docker0"))]
    assert sorted([*found["packages"], *found["unavailable"]]) == sorted(layout.PACKAGES)


@pytest.mark.parametrize(
    ("choice", "conf", "asked"),
    [("none", "yes", False), ("auto", "no", False), ("auto", "yes", True), ("ufw", "no", True)],
)
def test_ufw_is_asked_only_where_its_rules_matter(tmp_path: Path, choice: str, conf: str, asked: bool) -> None:
    (tmp_path / "ufw.conf").write_text(f"ENABLED={conf}\n")
    commands: list[Any] = []
    host.firewall(lambda argv: commands.append(argv) or (0, ""), choice, tmp_path / "ufw.conf")
    assert bool(commands) is asked


def test_what_rdma_devices_have_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = tmp_path / "rocep1s0f0" / "ports" / "1" / "counters"
    counters.mkdir(parents=True)
    (counters / "port_xmit_data").write_text("100\n")
    (counters / "port_rcv_data").write_text("50\n")
    monkeypatch.setattr(engine_host_info, "SYSFS_ROOT", str(tmp_path))
    assert engine_host_info.rdma_sent_bytes(["rocep1s0f0"]) == 400
    assert engine_host_info.rdma_sent_bytes(["rocep1s0f0", "roceP2p1s0f0"]) is None
    assert engine_host_info.rdma_sent_bytes([]) is None


def test_the_platform_and_the_packages(tmp_path: Path) -> None:
    for name in ("rocep1s0f0", "roceP2p1s0f0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fw_ver").write_text("28.45.4028\n")
    found = host.platform(lambda _argv: (0, "580.95.05\n"), tmp_path)
    assert (found["driver"], found["firmware"]) == ("580.95.05", "28.45.4028")
    assert host.platform(lambda _argv: (127, ""), tmp_path / "none")["driver"] == ""
    listing = "python3-requests\tii \t2.32\npython3-yaml\tun \t\n"
    assert host.packages(lambda _argv: (1, listing), layout.PACKAGES) == ["python3-requests"]


def test_the_other_instances_of_a_host(tmp_path: Path) -> None:
    etc, lib, units = tmp_path / "etc", tmp_path / "lib", tmp_path / "units"
    limits = {"memory_need_mib": 30, "memory_reserve_mib": 20}
    for folder in ("trtllm", "trtllm-vlm", "trtllm-half"):
        (etc / folder).mkdir(parents=True)
        (lib / folder).mkdir(parents=True)
        cluster = {"engine": {"name": "trtllm"}, "limits": limits, "api_listen": f"127.0.0.1:{len(folder)}"}
        (etc / folder / "cluster.json").write_text(json.dumps(cluster))
    (etc / "trtllm-half" / "cluster.json").write_text("{")  # a power cut
    (etc / "trtllm-vlm" / "stack.yml").touch()
    (lib / "trtllm" / "state.json").write_text('{"phase": "serving"}')
    (lib / "trtllm-image").mkdir()
    (lib / "originals").mkdir()
    units.mkdir()
    (units / "dgx-spark-trtllm-gone.service").touch()
    own = {"config_dir": str(etc / "trtllm-vlm")}
    found = {one["name"]: one for one in host.others(own, etc, lib)}
    assert sorted(found) == ["dgx-spark-trtllm", "dgx-spark-trtllm-half"]
    assert found["dgx-spark-trtllm"]["phase"] == "serving"
    assert found["dgx-spark-trtllm"]["share_mib"] == 10
    own = {"config_dir": str(etc / "trtllm")}
    launchers = {one["name"]: one["launcher"] for one in host.others(own, etc, lib)}
    assert launchers == {"dgx-spark-trtllm-half": "docker", "dgx-spark-trtllm-vlm": "swarm"}
    here = host.instances_here(None, "trtllm", [str(etc), str(lib)], units)
    assert here == ["", "gone", "half", "vlm"]


@pytest.mark.parametrize(
    ("node", "stack", "unit", "launcher"),
    [
        ({"rank": 0}, True, False, "swarm"),
        ({"rank": 0}, False, True, "docker"),
        ({"rank": 0}, False, False, "docker"),
        ({"rank": 1}, False, True, "docker"),
        ({"rank": 1}, False, False, "swarm"),  # the stack's file is the leader's alone
        ({}, False, False, "docker"),
    ],
)
def test_who_starts_the_container_of_an_instance(
    tmp_path: Path, node: dict[str, Any], stack: bool, unit: bool, launcher: str
) -> None:
    folder, units = tmp_path / "trtllm", tmp_path / "units"
    for directory in (folder, units):
        directory.mkdir()
    if stack:
        (folder / "stack.yml").touch()
    if unit:
        (units / "dgx-spark-trtllm.service").touch()
    assert host.launcher_in(folder, node, units) == launcher


def test_instances_that_only_docker_knows(engine: Any, look: Any) -> None:
    engine.answers["GET", "/containers/json"] = [
        {"Id": "c", "ImageID": "", "State": "exited", "Names": [f"/dgx-spark-{name}"]}
        for name in ("trtllm-a", "trtllm-b_leader.1.x", "vllm-c", "probe")
    ]
    assert [name for name in look()["instances"] if name in ("a", "b", "c")] == ["a", "b"]


def test_an_instance_of_no_such_name_is_refused_before_anything_is_read(look: Any) -> None:
    said = look(instance="../../etc")
    assert said["failed"]
    assert said["msg"].startswith("the instance's name is '../../etc': give up to 16")
    assert said["msg"].endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("text", "mib"), [("MemTotal: 9 kB\nMemAvailable:  2097152 kB\n", 2048), ("MemFree: 1 kB\n", 0), (None, 0)]
)
def test_how_much_memory_is_left(tmp_path: Path, text: str | None, mib: int) -> None:
    if text:
        (tmp_path / "meminfo").write_text(text)
    assert host.memory_available_mib(str(tmp_path / "meminfo")) == mib
