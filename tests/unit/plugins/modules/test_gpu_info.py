# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, over programs that stand for nvidia-smi."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import gpu_info

UUID = "GPU-e793e0a4-fd41-dcd8-a833-3127370a6779"
GB10 = f"0, {UUID}, NVIDIA GB10, 580.95.05, 12.1, [N/A]"


def program(directory: Path, *, rc: int = 0, out: str = "", err: str = "") -> Path:
    """Write an nvidia-smi that answers our one question, asked in the C locale."""
    path = directory / "nvidia-smi"
    path.write_text(
        f"""#!/bin/sh
[ "$1" = --query-gpu=index,uuid,name,driver_version,compute_cap,memory.total ] || exit 77
[ "$2 $#" = "--format=csv,noheader,nounits 2" ] || exit 77
[ "$LC_ALL" = C ] || exit 78
printf '%s' '{out}'
printf '%s' '{err}' >&2
exit {rc}
"""
    )
    path.chmod(0o755)
    return path


def run(capsys: pytest.CaptureFixture, **arguments: object) -> dict:
    """Run the module in this process."""
    with patch_module_args(arguments), pytest.raises(SystemExit):
        gpu_info.main()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("check_mode", [False, True])
def test_lists_a_gb10(tmp_path: Path, capsys: pytest.CaptureFixture, check_mode: bool) -> None:
    tool = program(tmp_path, out=f"{GB10}\n")
    result = run(capsys, executable=str(tool), _ansible_check_mode=check_mode)
    assert not result["changed"]
    assert result["unified_memory"] is True
    assert [(gpu["uuid"], gpu["memory_total_mib"]) for gpu in result["gpus"]] == [(UUID, None)]


def test_memory_is_not_unified_if_one_gpu_has_its_own(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = GB10.replace("0, GPU-e", "1, GPU-f").replace("[N/A]", "143771")
    result = run(capsys, executable=str(program(tmp_path, out=f"{GB10}\n{other}\n")))
    assert result["unified_memory"] is False


def test_finds_the_program_on_path(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, out=GB10)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(capsys)["gpus"][0]["name"] == "NVIDIA GB10"


@pytest.mark.parametrize(
    ("rc", "out", "err", "message"),
    [
        (9, "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.", "", "modprobe nvidia"),
        (6, "No devices were found", "", "finds no GPU"),
        (0, "No devices were found", "", "finds no GPU"),
        (0, "", "", "named no GPU"),
        (15, f"{GB10}\nUnable to determine the device handle for GPU1: GPU is lost.", "", "off the bus"),
        (0, f"{GB10}\nUnable to determine the device handle for GPU1: GPU is lost.", "", "off the bus"),
        (255, "", "Insufficient Permissions", "become"),
        (0, GB10.replace("GPU-", "MIG-"), "", "MIG"),
    ],
)
def test_fails_with_the_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture, rc: int, out: str, err: str, message: str
) -> None:
    result = run(capsys, executable=str(program(tmp_path, rc=rc, out=out, err=err)))
    assert result["failed"]
    assert message in result["msg"]
    assert (result["rc"], result["stdout"], result["stderr"]) == (rc, out, err)


@pytest.mark.parametrize(("rc", "said"), [(14, "infoROM is corrupted at gpu 0000:01:00.0"), (0, "the GPU can be used")])
def test_a_damaged_inforom_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, rc: int, said: str
) -> None:
    warned: list[str] = []  # Ansible says each warning once a process, and tests share one
    monkeypatch.setattr(gpu_info.AnsibleModule, "warn", lambda _self, text: warned.append(text))
    out = f"{GB10}\nWARNING: infoROM is corrupted at gpu 0000:01:00.0\n"
    result = run(capsys, executable=str(program(tmp_path, rc=rc, out=out)))
    assert [gpu["uuid"] for gpu in result["gpus"]] == [UUID]
    assert said in " ".join(warned)


def test_a_missing_program_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    result = run(capsys, executable=str(tmp_path / "nvidia-smi"))
    assert result["failed"]
    assert "no GPU host" in result["msg"]


def test_runs_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", gpu_info.__name__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"executable": str(program(tmp_path, out=GB10))}}),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(gpu_info.__file__).parents[5]), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["gpus"][0]["uuid"] == UUID
