# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself, over programs that stand for ibdev2netdev, small trees, and this machine's own sysfs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import ibdev2netdev_info

LINE = "rocep1s0f0 port 1 ==> enp1s0f0np0 (Down)"


def program(directory: Path, *, rc: int = 0, out: str = "", err: str = "") -> str:
    """Write an ibdev2netdev, to be run without arguments in the C locale."""
    path = directory / "ibdev2netdev"
    path.write_text(
        f"""#!/bin/sh
[ $# = 0 ] || exit 77
[ "$LC_ALL" = C ] || exit 78
printf '%s' '{out}'
printf '%s' '{err}' >&2
exit {rc}
"""
    )
    path.chmod(0o755)
    return str(path)


def sysfs(directory: Path, *, rdma: bool = True) -> str:
    """Make a sysfs of one RDMA device, whose network device has a carrier."""
    net = directory / "class/net/enp1s0f0np0"
    net.mkdir(parents=True)
    (net / "carrier").write_text("1\n")
    (net / "mtu").write_text("9000\n")
    if rdma:
        port = directory / "class/infiniband/rocep1s0f0/ports/1/gid_attrs/ndevs"
        port.mkdir(parents=True)
        (port / "0").write_text("enp1s0f0np0\n")
    return str(directory)


def run(capsys: pytest.CaptureFixture, **arguments: object) -> dict:
    """Run the module in this process."""
    with patch_module_args(arguments), pytest.raises(SystemExit):
        ibdev2netdev_info.main()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("source", ["auto", "tool"])
def test_takes_the_state_from_the_tool_and_the_rest_from_sysfs(
    tmp_path: Path, capsys: pytest.CaptureFixture, source: str
) -> None:
    result = run(capsys, source=source, executable=program(tmp_path, out=LINE), sysfs_root=sysfs(tmp_path))
    assert not result["changed"]
    assert result["source"] == "tool"
    (link,) = result["links"]
    assert (link["state"], link["carrier"], link["mtu"], link["ipv4"]) == ("down", True, 9000, [])
    assert result["ports"] == [
        {"physical_port": 0, "state": "down", "rdma_devices": ["rocep1s0f0"], "netdevs": ["enp1s0f0np0"]}
    ]


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("tool", [None, (0, ""), (0, "\n"), (255, "")], ids=["missing", "silent", "blank", "255"])
def test_auto_falls_back_to_sysfs(
    tmp_path: Path, capsys: pytest.CaptureFixture, tool: tuple | None, check_mode: bool
) -> None:
    executable = program(tmp_path, rc=tool[0], out=tool[1]) if tool else str(tmp_path / "ibdev2netdev")
    result = run(capsys, executable=executable, sysfs_root=sysfs(tmp_path), _ansible_check_mode=check_mode)
    assert (result["source"], result["links"][0]["state"]) == ("sysfs", "up")


def test_sysfs_does_not_run_the_tool(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    executable = program(tmp_path, rc=1, out=LINE)
    result = run(capsys, source="sysfs", executable=executable, sysfs_root=sysfs(tmp_path))
    assert (result["source"], result["links"][0]["state"]) == ("sysfs", "up")


@pytest.mark.parametrize("source", ["auto", "tool", "sysfs"])
@pytest.mark.parametrize("rc", [0, 255])
def test_a_host_without_rdma_has_no_links(tmp_path: Path, capsys: pytest.CaptureFixture, source: str, rc: int) -> None:
    executable = program(tmp_path, rc=rc)
    result = run(capsys, source=source, executable=executable, sysfs_root=sysfs(tmp_path, rdma=False))
    assert (result["links"], result["ports"]) == ([], [])


def test_a_tool_that_prints_nothing_found_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    result = run(capsys, source="tool", executable=program(tmp_path), sysfs_root=sysfs(tmp_path))
    assert (result["source"], result["links"]) == ("tool", [])


@pytest.mark.parametrize(
    ("source", "rc", "out", "err", "message"),
    [
        ("tool", 255, "", "usage", "exit status 255: usage; .*source: sysfs"),
        ("tool", 3, "", "no bash", "exit status 3: no bash"),
        ("auto", 3, "out", "", "exit status 3: out"),
        ("auto", 0, f"{LINE}\nWhat is this?", "", "line 2 .*What is this"),
    ],
)
def test_fails_with_the_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture, source: str, rc: int, out: str, err: str, message: str
) -> None:
    executable = program(tmp_path, rc=rc, out=out, err=err)
    result = run(capsys, source=source, executable=executable, sysfs_root=sysfs(tmp_path))
    assert result["failed"]
    assert re.search(message, result["msg"])


def test_a_tool_that_breaks_is_a_failure_without_rdma_too(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    executable = program(tmp_path, rc=127, err="no such file")
    result = run(capsys, source="tool", executable=executable, sysfs_root=sysfs(tmp_path, rdma=False))
    assert result["failed"]
    assert "exit status 127: no such file" in result["msg"]


def test_a_missing_tool_is_a_failure_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    executable = str(tmp_path / "ibdev2netdev")
    result = run(capsys, source="tool", executable=executable, sysfs_root=sysfs(tmp_path))
    assert result["failed"]
    assert executable in result["msg"]
    assert "source: sysfs" in result["msg"]


def test_a_wrong_root_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    result = run(capsys, source="sysfs", sysfs_root=str(tmp_path / "sis"))
    assert result["failed"]
    assert "sis" in result["msg"]


def test_reads_addresses_of_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    executable = program(tmp_path, out="rdma_lo port 1 ==> lo (Up)")
    (link,) = run(capsys, executable=executable)["links"]
    assert link["ipv4"][0] == "127.0.0.1/8"
    assert link["admin_up"] is True
    assert link["mtu"] == int(Path("/sys/class/net/lo/mtu").read_text())
    assert (link["speed_mbps"], link["pci_address"], link["physical_port"], link["half"]) == (None, None, None, None)


def test_runs_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", ibdev2netdev_info.__name__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"source": "sysfs", "sysfs_root": sysfs(tmp_path)}}),
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(ibdev2netdev_info.__file__).parents[5]), *sys.path]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["links"][0]["rdma_device"] == "rocep1s0f0"
