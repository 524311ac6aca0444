# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg and apt print of Docker and the toolkit is read right."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import (
    candidate,
    docker_steps,
    engine_of,
    installed,
    offered,
    unavailable,
    upgraded_unattended,
)
from hypothesis import given
from hypothesis import strategies as st

LISTING = "docker-ce\tii \t5:28.3.3-1\ndocker.io\trc \t26.1\ncontainerd.io\thi \t1.7\nrunc\tun \t\n"
# Printed by apt 3.0 in a virtual Spark, its own repository added.
POLICY = """nvidia-container-toolkit:
  Installed: 1.18.2-1
  Candidate: 1.20.0-1
  Version table:
     1.20.0-1 500
        500 http://apt.test:8090/libnvidia-container/stable/deb/amd64  Packages
     1.19.0-1 500
        500 http://apt.test:8090/libnvidia-container/stable/deb/amd64  Packages
 *** 1.18.2-1 100
        500 http://apt.test:8090/libnvidia-container/stable/deb/amd64  Packages
        100 /var/lib/dpkg/status
"""
NONE = "nvidia-container-toolkit:\n  Installed: 1.18.2-1\n  Candidate: (none)\n  Version table:\n"


def test_knows_what_is_installed() -> None:
    assert installed(LISTING) == {"docker-ce": "5:28.3.3-1", "containerd.io": "1.7"}
    assert engine_of(installed(LISTING)) == "docker-ce"
    assert engine_of(installed("")) is None


def test_knows_what_apt_could_install() -> None:
    assert (candidate(POLICY), offered(POLICY)) == ("1.20.0-1", ["1.20.0-1", "1.19.0-1", "1.18.2-1"])
    assert (candidate(NONE), candidate("")) == (None, None)


# Printed by apt 3.0 of a Debian 13, of a package that is known, one that no source has, and one that nobody knows.
SEVERAL = """python3-requests:
  Installed: (none)
  Candidate: 2.32.3+dfsg-5
  Version table:
     2.32.3+dfsg-5 500
        500 http://deb.debian.org/debian trixie/main amd64 Packages
python3-jsondiff:
  Installed: (none)
  Candidate: (none)
  Version table:
"""
NAMES = ["python3-requests", "python3-jsondiff", "nobody"]


def test_knows_what_no_source_has_where_there_are_lists(tmp_path: Path) -> None:
    def run(argv: Sequence[str]) -> tuple[int, str]:
        assert list(argv) == ["apt-cache", "policy", *NAMES]
        return 0, SEVERAL

    assert unavailable(run, NAMES, str(tmp_path)) == [], "an installation gets the lists first"
    (tmp_path / "deb.debian.org_debian_dists_trixie_main_binary-arm64_Packages.lz4").touch()
    assert unavailable(run, NAMES, str(tmp_path)) == ["python3-jsondiff", "nobody"]
    assert unavailable(run, [], str(tmp_path)) == []


ON = 'APT::Periodic::Unattended-Upgrade "1";\n'


@pytest.mark.parametrize(
    ("config", "held", "found"),
    [
        (ON, [], ["containerd.io", "docker-ce"]),
        (ON, ["docker-ce"], ["containerd.io"]),
        ('APT::Periodic::Unattended-Upgrade "0";\n', [], []),
        ("", [], []),
        (ON + 'Unattended-Upgrade::Package-Blacklist:: "docker";\n', [], ["containerd.io"]),
        (ON + 'Unattended-Upgrade::Package-Blacklist "";\n', [], ["containerd.io", "docker-ce"]),
        (ON + 'Unattended-Upgrade::Package-Blacklist:: "containerd\\.io$";\n', [], ["docker-ce"]),
        (ON + 'Unattended-Upgrade::Package-Blacklist:: "(";\n', [], ["containerd.io", "docker-ce"]),
    ],
)
def test_names_what_may_be_upgraded_unattended(config: str, held: list[str], found: list[str]) -> None:
    assert upgraded_unattended(config, ["docker-ce", "containerd.io", "nvidia-container-toolkit"], held) == found


def test_names_packages_of_docker_that_would_be_touched() -> None:
    steps = (
        "Remv docker-ce [5:28]\nInst docker.io (26.1 Debian)\nInst nvidia-container-toolkit (1.19)\nConf docker.io\n"
    )
    assert docker_steps(steps) == ["docker-ce", "docker.io"]
    assert docker_steps("Inst nvidia-container-toolkit (1.19)\n") == []


@given(st.text())
def test_reads_any_text(text: str) -> None:
    assert set(docker_steps(text)) >= set()
    assert isinstance(installed(text), dict)
    assert isinstance(offered(text), list)
    assert upgraded_unattended(text, ["docker-ce"], []) in ([], ["docker-ce"])
