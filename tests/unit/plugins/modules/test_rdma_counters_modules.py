# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters are read by one module and judged by another: those that do not move fail it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import rdma_counters_check, rdma_counters_info


def run(module: Any, capsys: pytest.CaptureFixture[str], root: Path, **options: Any) -> dict[str, Any]:
    with patch_module_args({"devices": ["rocep1s0f0"], "sysfs_root": str(root), **options}), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    counters = tmp_path / "rocep1s0f0" / "ports" / "1" / "counters"
    counters.mkdir(parents=True)
    (counters / "port_xmit_data").write_text("100\n")
    (counters / "port_rcv_data").write_text("50\n")
    return tmp_path


def test_what_was_carried(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(rdma_counters_info, capsys, root)
    assert (found["changed"], found["sent_bytes"], found["received_bytes"]) == (False, 400, 200)
    assert "no RDMA device mlx5_0" in run(rdma_counters_info, capsys, root, devices=["mlx5_0"])["msg"]


def test_what_did_not_move_went_another_way(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(rdma_counters_check, capsys, root, since=396)["sent_bytes"] == 400
    said = run(rdma_counters_check, capsys, root, since=400, timeout=0)
    assert said["failed"]
    assert "rocep1s0f0 sent nothing since" in said["msg"]
