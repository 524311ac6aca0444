# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What RDMA devices have carried is read in bytes, of all ports, and what cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric import rdma_counters as counters


def make(root: Path, device: str, port: int, sent: str, received: str) -> None:
    folder = root / device / "ports" / str(port) / "counters"
    folder.mkdir(parents=True)
    (folder / "port_xmit_data").write_text(f"{sent}\n")
    (folder / "port_rcv_data").write_text(f"{received}\n")


def test_words_are_bytes_and_ports_add_up(tmp_path: Path) -> None:
    make(tmp_path, "mlx5_0", 1, "10", "20")
    make(tmp_path, "mlx5_0", 2, "1", "2")
    make(tmp_path, "mlx5_1", 1, "18446744073709551615", "0")
    found = counters.read(tmp_path, ["mlx5_0", "mlx5_1"])
    assert found == {
        "mlx5_0": {"sent_bytes": 44, "received_bytes": 88},
        "mlx5_1": {"sent_bytes": 4 * (2**64 - 1), "received_bytes": 0},
    }
    assert counters.total(found, "received_bytes") == 88


def test_a_device_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    make(tmp_path, "mlx5_0", 1, "0", "0")
    with pytest.raises(counters.CountersError, match=r"no RDMA device mlx5_7 in .*, there is mlx5_0"):
        counters.read(tmp_path, ["mlx5_7"])
    with pytest.raises(counters.CountersError, match="there is none"):
        counters.read(tmp_path / "nothing", ["mlx5_7"])


def test_a_counter_that_is_no_number_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "mlx5_0", 1, "many", "0")
    with pytest.raises(counters.CountersError, match="ports/1 does not tell what it carried"):
        counters.read(tmp_path, ["mlx5_0"])
