# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What mpirun is told."""

from __future__ import annotations

from supervisor import mpi
from supervisor_support import CLUSTER, ONE


def test_mpirun_places_one_rank_a_node_and_forwards_names_only() -> None:
    argv = mpi.mpirun(CLUSTER, ["serve"], {"HF_HUB_OFFLINE": "1", "SECRET": "hidden"})
    assert argv[argv.index("-np") + 1] == "2"
    assert argv[argv.index("--hostfile") + 1] == "/etc/dgx-spark/engine/hostfile"
    assert argv[argv.index("btl_tcp_if_include") + 1] == "192.168.100.0/24", "for the ranks"
    # openpmix/prrte#2170: for the daemons no subnet, which Open MPI 5 does not find; a cable in another cage each
    assert argv[argv.index("oob_tcp_if_include") + 1] == "enp1s0f0np0,enp1s0f1np1"
    assert [argv[i + 1] for i, word in enumerate(argv) if word == "-x"] == ["HF_HUB_OFFLINE", "SECRET"]
    assert "hidden" not in " ".join(argv), "values travel in the environment"
    assert argv[argv.index("--bind-to") + 1] == "none", "two ranks would get a core each"
    assert argv[-3:] == ["rank", "--", "serve"]
    assert not [word for word in argv if "orte" in word], "Open MPI 5 has none"


def test_mpirun_of_a_single_spark_needs_no_network() -> None:
    assert "--mca" not in mpi.mpirun(ONE, ["serve"], {})
