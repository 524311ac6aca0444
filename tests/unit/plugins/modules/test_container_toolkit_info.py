# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""container_toolkit_info against simulated programs, and docker_group_member against a simulated group."""

from __future__ import annotations

import grp
import json
import pwd
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import container_toolkit_info, docker_group_member


def run(
    capsys: pytest.CaptureFixture, module: ModuleType, *, check_mode: bool = False, **arguments: Any
) -> dict[str, Any]:
    """Run a module in this process."""
    with patch_module_args({**arguments, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


class TestToolkit:
    """SIMULATED dpkg, apt and nvidia-ctk."""

    @pytest.fixture
    def programs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(container_toolkit_info.AnsibleModule, "get_bin_path", self.find(tmp_path))
        for name, prints in {
            "dpkg-query": r"printf 'docker-ce\tii \t28\nnvidia-container-toolkit\tii \t1.19.0-1\n'; exit 1",
            "nvidia-ctk": '[ $1 = config ] && printf "[nvidia-container-runtime]\\nmode = \\"auto\\"\\n" || '
            'printf "NVIDIA Container Toolkit CLI version 1.19.0\\ncommit: x\\n"',
            "nvidia-container-runtime": "exit 1",
            "apt-cache": "printf '  Candidate: 1.20.0-1\\n     1.20.0-1 500\\n'",
            "apt-config": "echo 'APT::Periodic::Unattended-Upgrade \"1\";'",
            "apt-mark": "true",
            "apt-get": "echo Inst docker.io",
        }.items():
            self.program(tmp_path / name, prints)
        return tmp_path

    @staticmethod
    def find(directory: Path) -> Any:
        def get_bin_path(_self: Any, name: str, **_more: Any) -> str | None:
            return str(directory / name) if (directory / name).exists() else None

        return get_bin_path

    @staticmethod
    def program(path: Path, prints: str) -> None:
        path.write_text(f"#!/bin/sh\n{prints}\n")
        path.chmod(0o755)

    def test_reads_what_is_there_and_asks_apt_nothing(self, capsys, programs, monkeypatch) -> None:
        warned: list[str] = []  # Ansible says each warning once a process, and tests share one
        monkeypatch.setattr(container_toolkit_info.AnsibleModule, "warn", lambda _self, text: warned.append(text))
        (programs / "apt-cache").unlink()
        found = run(capsys, container_toolkit_info)
        assert (found["installed"], found["version"], found["mode"]) == (True, "1.19.0", "auto")
        assert (found["engine"], found["offered"], found["docker_steps"]) == ("docker-ce", [], [])
        assert found["swarm"]["works"]
        assert "'apt-mark hold docker-ce'" in " ".join(warned)

    def test_another_version_is_wanted(self, capsys, programs) -> None:
        found = run(capsys, container_toolkit_info, version="1.20.0-1", simulate=True)
        assert (found["installed"], found["version"], found["offered"]) == (False, "1.20.0-1", ["1.20.0-1"])
        assert found["docker_steps"] == ["docker.io"]

    def test_there_is_none_and_no_way_to_one(self, capsys, programs) -> None:
        for name in ("nvidia-container-runtime", "nvidia-ctk"):
            (programs / name).unlink()
        self.program(programs / "dpkg-query", "exit 1")
        self.program(programs / "apt-cache", "echo '  Candidate: (none)'")
        found = run(capsys, container_toolkit_info)
        assert (found["installed"], found["version"], found["engine"], found["mode"]) == (False, None, None, "auto")
        assert found["swarm"]["works"], "what comes is not known yet"

    def test_says_that_swarm_would_not_work(self, capsys, programs) -> None:
        self.program(programs / "nvidia-ctk", "[ $1 = config ] || echo 'version 1.18.2'")
        assert run(capsys, container_toolkit_info, gpus=1)["swarm"]["works"]
        found = run(capsys, container_toolkit_info, gpus=2)["swarm"]
        assert (found["works"], "upgrade it to 1.19" in found["says"]) == (False, True)


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
        assert (members, list((tmp_path / "state").iterdir())) == (["owner"], [])
        assert run(capsys, docker_group_member, state="restored")["changed"] is False

    def test_a_user_who_is_not_there_is_named(self, capsys, members) -> None:
        assert "nobody-here" in run(capsys, docker_group_member, user="nobody-here")["msg"]
