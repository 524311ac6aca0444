# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A leader's download by the real `hf` and `hf-xet`, and a worker's copy beside it, from a hub that is slow or hangs.

Both are the product's module, in a process of its own, on this machine; the worker's ssh is replaced by a program that
starts the sender. The same on two virtual Sparks is part of the product's end-to-end tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf import hub as hf_hub
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._hf.cache import Cache
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._peer import access
from virtual_internet.seed import seed_repo
from virtual_internet_support import Lab, running

if TYPE_CHECKING:
    from collections.abc import Iterator

HF = Path(sys.executable).with_name("hf")
pytest.importorskip("hf_xet")
pytestmark = pytest.mark.skipif(not HF.exists(), reason="the hf command is not installed beside this Python")

ROOT = Path(__file__).parents[3]
REPO = "lab/xet"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6WZb0P1Qf0m1bM4uJ0q3XbTq7C0m0r9cX0kq1Z8f3v"
MODULE = """
import json, sys
import conftest  # finds the collection in this checkout
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.modules import hf_cache_model
hf_cache_model.netdev_towards = lambda _run, _address: "lo"
with patch_module_args(json.loads(sys.argv[1])):
    hf_cache_model.main()
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    root = tmp_path / "internet"
    root.mkdir()
    seed_repo(root, REPO, 9_500_000, shards=2, xet=True)
    with running(root) as made:
        yield made


def start(folder: Path, model: dict[str, Any], stall: int, **more: Any) -> subprocess.Popen[str]:
    """Start the module with a cache of its own."""
    asked = {"model": model, "cache_dir": str(folder / "hf"), "stall_seconds": stall, **more}
    return subprocess.Popen(
        [sys.executable, "-c", MODULE, json.dumps(asked)],
        env={
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": "127.0.0.1",
        },
        stdout=subprocess.PIPE,
        text=True,
    )


def brought(lab: Lab, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let a leader and a worker bring the model; returns what their modules say."""
    leader, worker = tmp_path / "leader", tmp_path / "worker"
    blobs = Cache(leader / "hf", REPO).blobs
    sender, ssh = worker / "send.py", worker / "ssh"
    worker.mkdir()
    sender.write_text(access.program())
    ssh.write_text(f"#!/bin/sh\n# SIMULATED: stands in for ssh.\nexec {sys.executable} -I {sender} {blobs}\n")
    ssh.chmod(0o755)
    access.Place(worker / "copies", REPO).connect(access.Connection("10.0.0.1", 22, "nvidia", 2, True), [KEY])
    model = hf_hub.Hub(lab.url("hub")).model(REPO, "main")[0].as_dict()
    copy = {"source": "peer", "copy_dir": str(worker / "copies")}
    both = [
        start(leader, model, 6, source="hub", executable=str(HF), endpoint=lab.url("hub")),
        start(worker, model, 6, **copy),
    ]
    try:
        first, second = (json.loads(one.communicate(timeout=300)[0]) for one in both)
    finally:
        for one in both:
            one.kill()
    for path in blobs.iterdir():
        if path.is_file() and not second.get("failed"):
            assert (Cache(worker / "hf", REPO).blobs / path.name).read_bytes() == path.read_bytes()
    return first, second


def test_bytes_that_xet_keeps_in_memory_end_neither_the_download_nor_the_copy(lab: Lab, tmp_path: Path) -> None:
    """The first part of each file is the last to come: nothing is on the disk for 15 s."""
    lab.fault(kind="slow", match="^/xet/.*/xorbs/.*/0$", bytes_per_second=70_000, times=None)
    lab.fault(kind="slow", match="^/xet/.*/xorbs/.*/[1-9]$", bytes_per_second=400_000, times=None)
    leader, worker = brought(lab, tmp_path)
    assert (leader.get("attempts"), worker.get("attempts")) == (1, 1), (leader, worker)
    assert not any(path.startswith("/cdn/") for path in lab.stats()["paths"])


def test_xet_that_hangs_is_left_for_plain_http_and_the_copy_waits(lab: Lab, tmp_path: Path) -> None:
    """After three parts of each file; those are not sent again."""
    lab.fault(kind="hang", match="^/xet/.*/xorbs/.*/[3-9]$", seconds=600, times=None)
    leader, worker = brought(lab, tmp_path)
    assert (leader.get("attempts"), worker.get("attempts")) == (2, 1), (leader, worker)
    paths = lab.stats()["paths"]
    by_http = sum(row["bytes_sent"] for path, row in paths.items() if path.startswith("/cdn/"))
    assert 0 < by_http < 4_000_000
