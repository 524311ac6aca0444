# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What running containers have mounted, but for those that end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import fake_docker
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import container_log
from ansible_collections.sparkops.dgx_spark.plugins.modules import docker_mounts_info

STACK = {"com.docker.stack.namespace": "dgx-spark-trtllm"}
RUNNING = [
    {"Names": ["/dgx-spark-trtllm-vlm"], "Mounts": [{"Type": "bind", "Source": "/hub/a"}], "Labels": None},
    {"Names": ["/dgx-spark-trtllm_leader.1.x"], "Mounts": [{"Type": "bind", "Source": "/hub/b"}], "Labels": STACK},
    {"Names": ["/web"], "Mounts": [{"Type": "bind", "Source": "/hub/a"}, {"Type": "volume", "Source": "/v"}]},
]


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        docker_mounts_info.main()
    return json.loads(capsys.readouterr().out)


def test_what_is_mounted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = fake_docker.Engine()
    engine.answers["GET", "/containers/json"] = RUNNING
    with fake_docker.listening(engine, tmp_path / "d") as socket:
        assert run(capsys, docker_socket=str(socket))["mounts"] == {
            "/hub/a": ["dgx-spark-trtllm-vlm", "web"],
            "/hub/b": ["dgx-spark-trtllm_leader.1.x"],
        }
        ending = ["dgx-spark-trtllm", "dgx-spark-trtllm-vlm"]
        assert run(capsys, docker_socket=str(socket), ending=ending)["mounts"] == {"/hub/a": ["web"]}


def test_where_there_is_no_docker_nothing_is_mounted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, docker_socket=str(tmp_path / "none"))["mounts"] == {}


@pytest.mark.parametrize(
    ("container", "own"),
    [("/trtllm", True), ("/trtllm_leader.1.x", True), ("/trtllm-vlm", False), ("/trtllm-vlm_leader.1.x", False)],
)
def test_the_log_of_an_instance_is_no_others(container: str, own: bool) -> None:
    assert bool(re.search(container_log.pattern("trtllm"), container)) is own
