# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dockerd was started with, and what keeps it from starting although ``dockerd --validate`` passes it.

The problems were seen with Docker 26.1.5 of Debian 13: each of these files passes --validate, and does not start.
"""

from __future__ import annotations

import doctest
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import dockerd
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import DaemonJsonError, Settings
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.dockerd import (
    beside_flags,
    live_restore,
    parse_flags,
    refuse_other_file,
    refuse_start,
    running,
    start_problems,
)

UUID = "GPU-2dee1e25-b3b5-007e-2b55-79f2d0f2ebe5"
NVIDIA = Settings({"default-runtime": "nvidia"}, {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}})


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("", {}),
        # Debian's and Docker's own units
        ("-H fd:// --containerd=/run/containerd/containerd.sock", {"hosts": ["fd://"], "containerd": [...]}),
        # NVIDIA/nvidia-docker#761 (2018-06-09) and #1345 (2020-07-08): a drop-in of the unit
        (
            "-H fd:// --default-runtime=nvidia --add-runtime=nvidia=/usr/bin/nvidia-container-runtime",
            {
                "hosts": ["fd://"],
                "default-runtime": ["nvidia"],
                "runtimes": ["nvidia=/usr/bin/nvidia-container-runtime"],
            },
        ),
        (
            "--default-runtime nvidia --add-runtime nvidia=/x",
            {"default-runtime": ["nvidia"], "runtimes": ["nvidia=/x"]},
        ),
        (f"--node-generic-resource gpu={UUID}", {"node-generic-resources": [f"gpu={UUID}"]}),
        (
            "--node-generic-resource=gpu=a --node-generic-resource=gpu=b",
            {"node-generic-resources": ["gpu=a", "gpu=b"]},
        ),
        # coreos/fedora-coreos-tracker#573 (2020-07-16): live-restore from OPTIONS of the unit
        (
            "--selinux-enabled --live-restore --log-driver=journald",
            {"live-restore": ["true"], "log-driver": ["journald"]},
        ),
        ("--live-restore=false", {"live-restore": ["false"]}),
        ("-D -l warn -Gdocker -s=overlay2", {"debug": ["true"], "log-level": ["warn"], "group": ["docker"]}),
        (
            "--config-file /var/snap/docker/1/config/daemon.json",
            {"config-file": ["/var/snap/docker/1/config/daemon.json"]},
        ),
        ("-- - x --", {}),
    ],
)
def test_reads_flags(words: str, flags: dict[str, Any]) -> None:
    found = parse_flags(["/usr/bin/dockerd", *words.split()])
    assert {key: found.get(key) if value != [...] else [...] for key, value in flags.items()} == flags
    assert flags or not found


class TestRunning:
    """A /proc of one's own, with the links that root may read."""

    @pytest.fixture
    def proc(self, tmp_path: Path) -> Path:
        proc = tmp_path / "proc"
        (proc / "self" / "ns").mkdir(parents=True)
        (proc / "self" / "ns" / "pid").symlink_to("pid:[1]")
        return proc

    def add(self, proc: Path, pid: int, *argv: str, namespace: str = "pid:[1]", exe: str = "/usr/bin/dockerd") -> None:
        (proc / str(pid) / "ns").mkdir(parents=True)
        (proc / str(pid) / "ns" / "pid").symlink_to(namespace)
        (proc / str(pid) / "exe").symlink_to(exe)
        (proc / str(pid) / "cmdline").write_bytes("".join(f"{word}\0" for word in argv).encode())

    def look(self, proc: Path) -> dict[str, Any]:
        return running(str(proc), str(proc.parent / "docker.pid"))

    def test_the_daemon_of_this_host(self, proc: Path) -> None:
        self.add(proc, 1, "/sbin/init")
        self.add(proc, 2)
        self.add(proc, 700, "containerd")
        self.add(proc, 800, "/usr/bin/dockerd", "--live-restore", namespace="pid:[2]")  # one in a container
        self.add(proc, 900, "/usr/bin/dockerd", "-H", "fd://", "--default-runtime=nvidia")
        assert self.look(proc) == {"flags": {"hosts": ["fd://"], "default-runtime": ["nvidia"]}, "replaced": False}

    def test_the_one_that_wrote_its_id_down_comes_first(self, proc: Path) -> None:
        self.add(proc, 10, "dockerd", "--debug")
        self.add(proc, 20, "dockerd", "--live-restore")
        assert self.look(proc)["flags"] == {"debug": ["true"]}
        (proc.parent / "docker.pid").write_text("20\n")
        assert self.look(proc)["flags"] == {"live-restore": ["true"]}
        for stale in ("30", "10x", "", "\xff"):
            (proc.parent / "docker.pid").write_text(stale)
            assert self.look(proc)["flags"] == {"debug": ["true"]}

    def test_a_program_that_was_replaced(self, proc: Path) -> None:
        self.add(proc, 5, "/usr/sbin/dockerd", exe="/usr/sbin/dockerd (deleted)")
        assert self.look(proc) == {"flags": {}, "replaced": True}

    def test_there_is_none(self, proc: Path, tmp_path: Path) -> None:
        nothing = {"flags": None, "replaced": None}
        assert self.look(proc) == nothing
        (tmp_path / "docker.pid").mkdir()
        (proc / "7").mkdir()
        assert self.look(proc) == nothing
        assert running(str(tmp_path / "nowhere"), "/nowhere") == nothing

    def test_a_real_proc(self, tmp_path: Path) -> None:
        program = tmp_path / "dockerd"
        program.write_bytes(Path("/bin/sleep").read_bytes())
        program.chmod(0o755)
        with subprocess.Popen(["dockerd", "60"], executable=str(program)) as child:
            for _attempt in range(1000):  # the kernel has the command line a moment after the program has begun
                if Path(f"/proc/{child.pid}/cmdline").read_bytes():
                    break
                time.sleep(0.01)
            (tmp_path / "pid").write_text(str(child.pid))
            program.unlink()  # as dpkg does it
            found = running(None, str(tmp_path / "pid"))
            child.kill()
        assert found == {"flags": {}, "replaced": True}


@pytest.mark.parametrize(
    ("flags", "settings", "left"),
    [
        (None, NVIDIA, NVIDIA),
        ({}, NVIDIA, NVIDIA),
        ({"hosts": ["fd://"]}, NVIDIA, NVIDIA),
        (parse_flags(["dockerd", "--default-runtime=nvidia", "--add-runtime=nvidia=/usr/bin/n"]), NVIDIA, Settings()),
        ({"default-runtime": ["nvidia"]}, NVIDIA, Settings({}, NVIDIA.defaults)),
        ({"default-runtime": ["runc", "nvidia"]}, NVIDIA, Settings({}, NVIDIA.defaults)),
        ({"runtimes": ["nvidia=/n"]}, NVIDIA, Settings(NVIDIA.values)),
        ({"runtimes": ["other=/n"]}, NVIDIA, NVIDIA),  # dockerd takes runtimes from both places
        (
            {"node-generic-resources": [f"gpu={UUID}"]},
            Settings(kind="gpu", resources=[UUID]),
            Settings(),
        ),
        ({"node-generic-resources": ["gpu=b", "x=1", "gpu=a"]}, Settings(kind="gpu", resources=["a", "b"]), Settings()),
        ({"x": ["1"]}, Settings({}, {"x": 1}), Settings()),
    ],
)
def test_what_flags_give_is_taken_as_done(flags: Any, settings: Settings, left: Settings) -> None:
    assert beside_flags(settings, flags) == left


@pytest.mark.parametrize(
    ("flags", "settings", "says"),
    [
        ({"default-runtime": ["runc"]}, NVIDIA, "--default-runtime runc on its command line, and nvidia is wanted"),
        ({"default-runtime": ["nvidia", "runc"]}, NVIDIA, "--default-runtime runc"),
        ({"live-restore": ["true"]}, Settings({"live-restore": False}), "--live-restore true"),
        (
            {"node-generic-resources": ["gpu=other"]},
            Settings(kind="gpu", resources=["a"]),
            "--node-generic-resource gpu=other on its command line, and gpu=a is wanted",
        ),
        # NVIDIA's own recipes name the kind otherwise: the file cannot have ours then
        (
            {"node-generic-resources": ["NVIDIA-GPU=a"]},
            Settings(kind="gpu", resources=["a"]),
            "--node-generic-resource NVIDIA-GPU=a",
        ),
    ],
)
def test_a_flag_that_says_otherwise_is_refused(flags: Any, settings: Settings, says: str) -> None:
    with pytest.raises(DaemonJsonError, match="systemctl cat docker") as refusal:
        beside_flags(settings, flags)
    assert says in str(refusal.value)
    assert "Nothing was changed" in str(refusal.value)


GPU = Settings(kind="gpu", resources=["a"])
TWO = Settings(kind="gpu", resources=["a", "b"])


@pytest.mark.parametrize(
    ("given", "settings", "says", "silent"),
    [
        (["fpga=1"], GPU, "Add --node-generic-resource gpu=a beside it", "Remove"),
        (["fpga=1", "nic=x"], GPU, "Add --node-generic-resource gpu=a beside it", "Remove"),
        (["fpga=1"], TWO, "Add --node-generic-resource gpu=a --node-generic-resource gpu=b beside it", "Remove"),
        (["gpu=a", "fpga=1"], TWO, "Add --node-generic-resource gpu=b beside it", "Remove"),
        # one that is wrong has to change, and removing it alone would leave the other among the flags
        (["fpga=1", "gpu=old"], GPU, "Change --node-generic-resource gpu=old to gpu=a", "Remove"),
        (["fpga=1", "gpu=1"], TWO, "Change --node-generic-resource gpu=1 to gpu=a and gpu=b", "Remove"),
        # the same GPU under another kind: two tasks could get it
        (["fpga=1", "NVIDIA-GPU=a"], GPU, "Change --node-generic-resource NVIDIA-GPU=a to gpu=a", "beside it"),
        (["NVIDIA-GPU=a"], GPU, "Remove the flag, or give it that value", "beside it"),
        (["gpu=old"], GPU, "Remove the flag, or give it that value", "beside it"),
        (["gpu=a", "gpu=old"], GPU, "Remove --node-generic-resource gpu=old", "Change"),
        (["gpu=a", "gpu=old"], TWO, "Change --node-generic-resource gpu=old to gpu=b", "Remove"),
        (["gpu=a", "fpga=1", "gpu=old"], GPU, "Remove --node-generic-resource gpu=old", "Change"),
    ],
)
def test_a_resource_among_the_flags_gets_ours_beside_it(
    given: list[str], settings: Settings, says: str, silent: str
) -> None:
    with pytest.raises(DaemonJsonError, match=r"Nothing was changed.*systemctl cat docker") as refusal:
        beside_flags(settings, {"node-generic-resources": given})
    assert f"--node-generic-resource {' --node-generic-resource '.join(sorted(given))} on" in str(refusal.value)
    assert says in str(refusal.value)
    assert silent not in str(refusal.value)


# canonical/docker-snap: how the snap's wrapper starts its dockerd
SNAP = parse_flags(
    [
        "dockerd",
        "--group",
        "docker",
        "--exec-root=/run/snap.docker",
        "--data-root=/var/snap/docker/common/var-lib-docker",
        "--pidfile=/run/snap.docker/docker.pid",
        "--config-file=/var/snap/docker/3265/config/daemon.json",
    ]
)


@pytest.mark.parametrize(
    "flags", [SNAP, {"config-file": ["/var/snap/docker/current/config/daemon.json"], "live-restore": ["true"]}]
)
def test_a_snap_has_a_unit_of_its_own(flags: dict[str, Any]) -> None:
    with pytest.raises(DaemonJsonError, match="Nothing was changed") as refusal:
        refuse_other_file("/etc/docker/daemon.json", flags)
    assert "systemctl cat snap.docker.dockerd" in str(refusal.value)
    assert "snap remove docker" in str(refusal.value)
    assert "systemctl cat docker'" not in str(refusal.value)
    _where, mend = live_restore("/etc/docker/daemon.json", {}, {**flags, "live-restore": ["true"]}, running_with=True)
    assert "systemctl cat snap.docker.dockerd" in mend
    with pytest.raises(DaemonJsonError, match=r"systemctl cat snap\.docker\.dockerd"):
        beside_flags(GPU, {**flags, "node-generic-resources": ["fpga=1"]})


def test_another_file_that_is_no_snap_s_is_looked_for_in_docker_s_unit() -> None:
    for path in ("/opt/daemon.json", "/home/me/snap/daemon.json", "/etc/snapshot/daemon.json"):
        with pytest.raises(DaemonJsonError, match="systemctl cat docker'") as refusal:
            refuse_other_file("/etc/docker/daemon.json", {"config-file": [path]})
        assert "remove the flag" in str(refusal.value)


def test_a_file_that_cannot_be_read_is_not_said_to_be_silent() -> None:
    where, mend = live_restore("/d.json", {}, {}, running_with=True, unread="invalid JSON in line 1")
    assert "does not set" not in where
    assert "/d.json cannot be read (invalid JSON in line 1)" in where
    assert "Correct the file" in mend
    where, mend = live_restore("/d.json", {}, {"live-restore": ["1"]}, running_with=True, unread="invalid JSON")
    assert "dockerd has --live-restore on its command line" in where


def test_a_daemon_that_reads_another_file_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "daemon.json")
    (tmp_path / "link.json").symlink_to("daemon.json")
    for flags in (None, {}, {"config-file": [path]}, {"config-file": [str(tmp_path / "link.json")]}):
        refuse_other_file(path, flags)
    with pytest.raises(DaemonJsonError, match=r"dockerd reads /var/snap/docker/1/daemon.json instead"):
        refuse_other_file(path, {"config-file": ["/var/snap/docker/1/daemon.json"]})


RUNTIMES = {"nvidia": {"path": "nvidia-container-runtime"}}


@pytest.mark.parametrize(
    ("config", "flags", "swarm", "says"),
    [
        ({"default-runtime": "nvidia"}, None, "", "default runtime 'nvidia' is not one of its runtimes (none)"),
        ({"default-runtime": "nvidia", "runtimes": None}, {}, "", "not one of its runtimes (none)"),
        ({"default-runtime": "NVIDIA", "runtimes": RUNTIMES}, {}, "", "not one of its runtimes (nvidia)"),
        ({"default-runtime": "/usr/bin/nvidia-container-runtime"}, {}, "", "is not one of its runtimes"),
        ({}, {"default-runtime": ["nvidia"]}, "", "default runtime 'nvidia' is not one of its runtimes (none)"),
        ({"runtimes": {"nvidia": {}}}, {}, "", "the runtime 'nvidia' has neither a path nor a runtimeType"),
        ({"runtimes": {"runc": {"path": "/x"}}}, {}, "", "'runc', which is reserved"),
        ({"registry-mirrors": ["mirror.example"]}, {}, "", "'mirror.example' does not begin with https://"),
        ({"hosts": ["tcp://0.0.0.0:2375"]}, {"hosts": ["fd://"]}, "", "'hosts' is in it and among dockerd's flags"),
        ({"default-runtime": "runc"}, {"default-runtime": ["runc"]}, "", "'default-runtime' is in it and among"),
        ({"live-restore": True}, {}, "active", "live-restore is on, and Docker is in a swarm"),
        ({"live-restore": True}, {}, "pending", "live-restore is on, and Docker is in a swarm"),
        ({}, {"live-restore": ["true"]}, "active", "live-restore is on, and Docker is in a swarm"),
    ],
)
def test_names_what_dockerd_does_not_start_with(config: dict[str, Any], flags: Any, swarm: str, says: str) -> None:
    (problem,) = start_problems(config, flags, swarm)
    assert says in problem
    with pytest.raises(DaemonJsonError, match=r"Docker would not start with it: .*Nothing was changed"):
        refuse_start(config, flags, swarm)


@pytest.mark.parametrize(
    ("config", "flags", "swarm"),
    [
        ({}, None, None),
        ({"default-runtime": "nvidia", "runtimes": RUNTIMES}, {"hosts": ["fd://"]}, "active"),
        ({"default-runtime": "nvidia"}, {"runtimes": ["nvidia=/usr/bin/n"]}, ""),
        ({"runtimes": RUNTIMES}, {"runtimes": ["nvidia=/usr/bin/n"]}, ""),
        ({"default-runtime": ""}, {}, ""),
        ({"default-runtime": "runc"}, {}, ""),
        ({"default-runtime": "io.containerd.runc.v2"}, {}, ""),
        ({"default-runtime": "io.containerd.runsc.v1"}, {}, ""),
        ({"runtimes": {"x": {"runtimeType": "io.containerd.runsc.v1"}}}, {}, ""),
        ({"live-restore": True}, {}, "inactive"),
        ({"live-restore": True}, {}, None),
        ({"live-restore": False}, {}, "active"),
        ({"registry-mirrors": ["https://mirror.example/x"]}, {}, ""),
        # dockerd --validate refuses these by itself
        ({"default-runtime": 3, "runtimes": [], "registry-mirrors": "x", "live-restore": "true"}, {}, "active"),
        ({"runtimes": {"nvidia": None}, "registry-mirrors": [None]}, {}, ""),
    ],
)
def test_lets_pass_what_dockerd_starts_with(config: dict[str, Any], flags: Any, swarm: str | None) -> None:
    assert start_problems(config, flags, swarm) == []


@pytest.mark.parametrize(
    ("config", "flags", "running_with", "where", "mend"),
    [
        ({}, {}, False, "", ""),
        ({}, None, None, "", ""),
        ({"live-restore": True}, {}, False, '/d.json on s2 sets "live-restore": true', "Remove it, restart Docker"),
        ({"live-restore": True}, {}, True, '/d.json on s2 sets "live-restore": true', "Remove it, restart Docker"),
        (
            {},
            {"live-restore": ["true"]},
            True,
            "dockerd on s2 has --live-restore on its command",
            "systemctl cat docker",
        ),
        ({}, {"live-restore": ["1"]}, True, "dockerd on s2 has --live-restore on its command", "systemctl cat docker"),
        ({}, {"live-restore": ["false"]}, True, "which /d.json does not set", "systemctl cat docker"),
        ({"live-restore": True}, {"live-restore": ["true"]}, True, "and dockerd on s2 has", "Remove both"),
        ({}, None, True, "it has the flag --live-restore, or the file said", "systemctl cat docker"),
        ({"live-restore": False}, {}, True, "when Docker last started", "restart Docker"),
        ({"live-restore": "true"}, {}, False, "", ""),
    ],
)
def test_says_where_live_restore_comes_from(
    config: dict[str, Any], flags: Any, running_with: Any, where: str, mend: str
) -> None:
    found = live_restore("/d.json", config, flags, running_with, "s2")
    assert where in found[0]
    assert mend in found[1]
    assert bool(where) is bool(found[0])


def test_doctests() -> None:
    assert doctest.testmod(dockerd).failed == 0
