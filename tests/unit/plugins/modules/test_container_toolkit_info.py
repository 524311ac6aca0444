# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""container_toolkit_info against simulated programs, and docker_group_member against a simulated group."""

from __future__ import annotations

import grp
import json
import pwd
import shutil
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import dockerd
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import DaemonJsonError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.host_facts import read_daemon_json
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import ledger
from ansible_collections.sparkops.dgx_spark.plugins.modules import (
    apt_install_check,
    container_toolkit_info,
    docker_group_member,
)
from fake_docker import Engine, listening


def run(
    capsys: pytest.CaptureFixture, module: ModuleType, *, check_mode: bool = False, **arguments: Any
) -> dict[str, Any]:
    """Run a module in this process."""
    with patch_module_args({**arguments, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


class TestToolkit:
    """SIMULATED dpkg, apt, nvidia-ctk, nvidia-smi and Docker Engine."""

    ROW = "0, GPU-e793e0a4-fd41-dcd8-a833-3127370a6779, NVIDIA GB10, 580.95.05, 12.1, [N/A]"

    @pytest.fixture
    def programs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(container_toolkit_info.AnsibleModule, "get_bin_path", self.find(tmp_path))
        monkeypatch.setattr(container_toolkit_info, "read_daemon_json", lambda: {"path": "daemon.json", "text": ""})
        monkeypatch.setattr(ledger, "ROOT", str(tmp_path / "originals"))
        monkeypatch.setattr(dockerd, "PROC", str(tmp_path / "proc"))
        monkeypatch.setattr(dockerd, "PID_FILE", str(tmp_path / "pid"))
        for name, prints in {
            "dpkg-query": r"printf 'docker-ce\tii \t28\nnvidia-container-toolkit\tii \t1.19.0-1\n'; exit 1",
            "nvidia-ctk": '[ $1 = config ] && printf "[nvidia-container-runtime]\\nmode = \\"auto\\"\\n" || '
            'printf "NVIDIA Container Toolkit CLI version 1.19.0\\ncommit: x\\n"',
            "nvidia-container-runtime": "exit 1",
            "nvidia-smi": f"echo '{self.ROW}'",
            "ldd": "true",
            "apt-cache": "printf '  Candidate: 1.20.0-1\\n     1.20.0-1 500\\n'",
            "apt-config": "echo 'APT::Periodic::Unattended-Upgrade \"1\";'",
            "apt-mark": "true",
            "apt-get": "echo Inst docker.io",
        }.items():
            self.program(tmp_path / name, prints)
        return tmp_path

    @pytest.fixture
    def socket(self) -> Iterator[str]:
        directory = Path(tempfile.mkdtemp())  # the path of a socket must be short
        with listening(Engine(), directory / "d") as path:
            yield path
        shutil.rmtree(directory)

    @staticmethod
    def find(directory: Path) -> Any:
        def get_bin_path(_self: Any, name: str, **_more: Any) -> str | None:
            return str(directory / name) if (directory / name).exists() else None

        return get_bin_path

    @staticmethod
    def program(path: Path, prints: str) -> None:
        path.write_text(f"#!/bin/sh\n{prints}\n")
        path.chmod(0o755)

    def read(self, capsys: pytest.CaptureFixture, socket: str, **wanted: Any) -> dict[str, Any]:
        return run(capsys, container_toolkit_info, docker_socket=socket, wanted=wanted)

    def test_reads_what_is_there_and_asks_apt_nothing(self, capsys, programs, socket, monkeypatch, tmp_path) -> None:
        warned: list[str] = []  # Ansible says each warning once a process, and tests share one
        monkeypatch.setattr(container_toolkit_info.AnsibleModule, "warn", lambda _self, text: warned.append(text))
        (programs / "apt-cache").unlink()
        (tmp_path / "pin").write_text("Pin: x\n")
        found = self.read(capsys, socket, apt_files={"pin": str(tmp_path / "pin"), "key": "/nowhere"})
        assert found["toolkit"] == {"version": "1.19.0", "mode": "auto", "swarm_resource": None}
        packages = found["packages"]
        assert (packages["installed"], packages["engine"], packages["offered"]) == (True, "docker-ce", [])
        assert packages["apt_files"] == {"pin": "Pin: x\n", "key": None}
        assert (found["gpus"][0]["uuid"], found["engine"]["info"]["DefaultRuntime"]) == (self.ROW[3:43], "runc")
        assert (found["image"], found["wanted"]["version"]) == (None, "")
        assert "'apt-mark hold docker-ce'" in " ".join(warned)

    def test_reads_what_docker_was_started_with(self, capsys, programs, socket) -> None:
        found = self.read(capsys, socket)
        assert (found["engine"]["flags"], found["engine"]["replaced"]) == (None, None)
        assert (found["packages"]["engine_version"], found["daemon"]["original"]) == ("28", None)
        (programs / "proc" / "7" / "ns").mkdir(parents=True)
        (programs / "proc" / "self" / "ns").mkdir(parents=True)
        for who in ("7", "self"):
            (programs / "proc" / who / "ns" / "pid").symlink_to("pid:[1]")
        (programs / "proc" / "7" / "exe").symlink_to("/usr/bin/dockerd (deleted)")
        (programs / "proc" / "7" / "cmdline").write_bytes(b"/usr/bin/dockerd\0--live-restore\0")
        engine = self.read(capsys, socket)["engine"]
        assert (engine["flags"], engine["replaced"]) == ({"live-restore": ["true"]}, True)

    def test_reads_whether_docker_is_rootless(self, capsys, programs, socket, monkeypatch) -> None:
        assert self.read(capsys, socket)["engine"]["info"]["SecurityOptions"] is None
        options = ["name=seccomp,profile=builtin", "name=rootless"]
        info = {"DefaultRuntime": "runc", "SecurityOptions": options}
        monkeypatch.setattr(container_toolkit_info.Docker, "info", lambda _self: info)
        assert self.read(capsys, socket)["engine"]["info"]["SecurityOptions"] == options

    def test_reads_the_text_before_the_first_change(self, capsys, programs, socket, monkeypatch) -> None:
        file = programs / "daemon.json"
        file.write_text('{"debug": true}')
        monkeypatch.setattr(container_toolkit_info, "read_daemon_json", lambda: {"path": str(file), "text": "{}"})
        ledger.Originals().change(str(file), b"{}")
        assert self.read(capsys, socket)["daemon"]["original"] == '{"debug": true}'
        Path(ledger.ROOT, f"{str(file).replace('/', '%2F')}.json").write_text("not JSON")
        assert "cannot be read" in self.read(capsys, socket)["msg"]

    def test_a_directory_where_the_file_is_expected_is_named(self, capsys, programs, socket, monkeypatch) -> None:
        (programs / "daemon.json").mkdir()
        monkeypatch.setattr(
            container_toolkit_info, "read_daemon_json", lambda: read_daemon_json(str(programs / "daemon.json"))
        )
        assert "is a directory" in self.read(capsys, socket)["msg"]

    def test_another_version_is_wanted(self, capsys, programs, socket) -> None:
        packages = self.read(capsys, socket, version="1.20.0-1")["packages"]
        assert (packages["installed"], packages["package_version"]) == (False, "1.19.0-1")
        assert packages["offered"] == ["1.20.0-1"]

    def test_an_installation_that_touches_docker_is_refused(self, capsys, programs, monkeypatch) -> None:
        wish = {"packages": ["nvidia-container-toolkit=1.20.0-1"]}
        said = run(capsys, apt_install_check, **wish)["msg"]
        assert "installing nvidia-container-toolkit=1.20.0-1 would touch docker.io" in said
        self.program(programs / "apt-get", "echo 'Inst nvidia-container-toolkit (1.20.0-1 x [arm64])'")
        assert run(capsys, apt_install_check, **wish)["new"] == ["nvidia-container-toolkit"]
        self.program(programs / "apt-get", "echo 'E: unmet dependencies' >&2; exit 100")
        monkeypatch.setattr(apt_install_check, "has_lists", lambda: True)
        assert run(capsys, apt_install_check, **wish)["msg"].startswith(
            "E: unmet dependencies. Update the package lists"
        )
        monkeypatch.setattr(apt_install_check, "has_lists", lambda: False)
        assert run(capsys, apt_install_check, **wish)["new"] == [], "the lists come before the installation"

    def test_there_is_none_and_no_way_to_one(self, capsys, programs, socket) -> None:
        for name in ("nvidia-container-runtime", "nvidia-ctk"):
            (programs / name).unlink()
        self.program(programs / "dpkg-query", "exit 1")
        self.program(programs / "apt-cache", "echo '  Candidate: (none)'")
        found = self.read(capsys, socket)
        assert found["toolkit"] == {"version": None, "mode": "auto", "swarm_resource": None}
        packages = found["packages"]
        assert (packages["installed"], packages["package_version"], packages["engine"]) == (False, None, None)
        assert packages["offered"] == []

    def test_a_host_without_a_driver_is_named(self, capsys, programs, socket) -> None:
        self.program(programs / "nvidia-smi", 'echo "couldn\'t communicate with the NVIDIA driver"; exit 9')
        assert "the NVIDIA driver is not loaded" in self.read(capsys, socket)["msg"]
        (programs / "nvidia-smi").unlink()
        assert "nvidia-smi is not installed, so this is no GPU host" in self.read(capsys, socket)["msg"]

    def test_a_stopped_docker_is_named(self, capsys, programs, tmp_path) -> None:
        assert "systemctl status docker" in self.read(capsys, str(tmp_path / "none"))["msg"]


class TestGroup:
    """SIMULATED group, gpasswd."""

    @pytest.fixture
    def members(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        members = ["owner"]
        monkeypatch.setattr(docker_group_member, "RECORD", str(tmp_path / "state" / "docker-group.json"))
        monkeypatch.setattr(grp, "getgrnam", lambda _name: SimpleNamespace(gr_mem=list(members)))
        monkeypatch.setattr(pwd, "getpwnam", lambda name: {"nvidia": 1, "owner": 1}[name])

        def gpasswd(_self: Any, argv: list[str], **_more: Any) -> tuple[int, str, str]:
            (members.append if argv[1] == "--add" else members.remove)(argv[2])
            return 0, "", ""

        monkeypatch.setattr(docker_group_member.AnsibleModule, "run_command", gpasswd)
        return members

    def test_adds_once_and_takes_out_only_whom_it_added(self, capsys, members, tmp_path) -> None:
        assert run(capsys, docker_group_member, check_mode=True, user="nvidia")["changed"]
        assert members == ["owner"]
        assert run(capsys, docker_group_member, user="nvidia")["members"] == ["owner", "nvidia"]
        assert run(capsys, docker_group_member, user="nvidia")["changed"] is False
        assert run(capsys, docker_group_member, user="owner")["changed"] is False
        assert run(capsys, docker_group_member, state="restored")["changed"]
        assert (members, (tmp_path / "state").exists()) == (["owner"], False)
        assert run(capsys, docker_group_member, state="restored")["changed"] is False

    def test_a_user_who_is_not_there_is_named(self, capsys, members) -> None:
        assert "nobody-here" in run(capsys, docker_group_member, user="nobody-here")["msg"]


def test_a_daemon_json_on_a_disk_that_is_not_mounted_is_named(tmp_path: Path) -> None:
    """Else its directory would be made where the disk belongs, and hidden once that is mounted."""
    file = tmp_path / "daemon.json"
    file.symlink_to(tmp_path / "disk" / "docker" / "daemon.json")
    with pytest.raises(DaemonJsonError, match=r"is a link to .*/disk/docker/daemon.json, whose directory is not there"):
        read_daemon_json(str(file))
    (tmp_path / "disk" / "docker").mkdir(parents=True)
    assert read_daemon_json(str(file))["text"] == ""
