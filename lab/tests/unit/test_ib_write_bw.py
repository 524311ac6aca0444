# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated ib_write_bw: both ends over a device of this machine, its output read by the product's parser."""

from __future__ import annotations

import importlib
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.bandwidth import command, parse

FILES = Path(__file__).parents[2] / "roles" / "virtual_spark" / "files"
PROGRAM = FILES / "perftest/usr/lib/virtual-spark-perftest"
sys.path[:0] = [str(FILES / "hardware/usr/lib/virtual-spark"), str(PROGRAM)]
ib_write_bw = importlib.import_module("ib_write_bw")
roce = importlib.import_module("virtual_spark.roce")

#: run as a program of its own, with the device's tree in the place of sysfs
RUN = (
    "import sys, pathlib, ib_write_bw as one; one.INFINIBAND, one.VERBS, one.PATIENCE = "
    "pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), 2; sys.exit(one.main(sys.argv[3:]))"
)


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The four RoCE devices of a Spark; the first one has this machine's loopback address, the last one no carrier."""
    monkeypatch.setattr(ib_write_bw, "INFINIBAND", tmp_path / "infiniband")
    monkeypatch.setattr(ib_write_bw, "VERBS", tmp_path / "dev")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "uverbs0").touch()
    for function in roce.FUNCTIONS:
        link = roce.Link(5, True, function is not roce.FUNCTIONS[-1], "3c:6d:66:cc:b3:b7")
        addresses = ["fe80::1", "127.0.0.1"] if function is roce.FUNCTIONS[0] else []
        for name, text in roce.port_files(function, link, addresses).items():
            path = tmp_path / "infiniband" / function.device / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
    return tmp_path


def start(devices: Path, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(devices / "infiniband"), str(devices / "dev"), *argv],
        env={"PYTHONPATH": str(PROGRAM)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def client(devices: Path, *argv: str, seconds: float = 10) -> tuple[int, str]:
    """Run the sending end until the other end is ready."""
    end = time.monotonic() + seconds
    while True:
        done = start(devices, *argv)
        output = done.communicate(timeout=30)[0]
        if "Couldn't connect" not in output or time.monotonic() > end:
            return done.returncode, output


def test_a_hot_added_card_is_slow(devices: Path, tmp_path: Path) -> None:
    """Some 13 Gb/s of the 175 that two Sparks must reach, scaled as a lab scales that."""
    (tmp_path / "hotplug").mkdir()
    (tmp_path / "hotplug" / "added").write_text("1\n")
    run = RUN.replace("one.PATIENCE = ", "one.PATIENCE, one.HOTPLUG = ").replace("sys.argv[3:]", "sys.argv[4:]")
    run = run.replace(", 2;", ", 2, pathlib.Path(sys.argv[3]);")
    port = free_port()
    link = {"address": "127.0.0.1/8", "peer_address": "127.0.0.1", "rdma_device": "rocep1s0f0", "port": 1}
    serving = start(devices, *command("ib_write_bw", 1, link, port, False)[1:])
    argv = command("ib_write_bw", 1, link, port, True)[1:]
    time.sleep(1)
    done = subprocess.run(
        [sys.executable, "-c", run, *(str(tmp_path / name) for name in ("infiniband", "dev", "hotplug")), *argv],
        env={"PYTHONPATH": str(PROGRAM)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, serving.wait(timeout=10)) == (0, 0), done.stderr
    assert parse("ib_write_bw", done.stdout) == 0.01


def test_what_it_measures_is_read_by_the_product(devices: Path) -> None:
    """The arguments are those that the product gives."""
    port = free_port()
    link = {"address": "127.0.0.1/8", "peer_address": "127.0.0.1", "rdma_device": "rocep1s0f0", "port": 1}
    serving = start(devices, *command("ib_write_bw", 1, link, port, False)[1:])
    code, output = client(devices, *command("ib_write_bw", 1, link, port, True)[1:])
    assert (code, serving.wait(timeout=10)) == (0, 0), output
    gbps = parse("ib_write_bw", output)
    assert gbps > 0.01
    row = re.search(r"^ 65536 +(\d+) +0\.00 +([\d.]+) +([\d.]+)$", output, re.MULTILINE)
    assert row, output
    iterations, average, rate = (float(column) for column in row.groups())
    assert average == gbps
    assert abs(rate * 1e6 * 65536 * 8 / 1e9 - gbps) < 0.02  # the columns are of one measurement
    assert iterations * 65536 * 8 / 1e9 <= gbps * 3  # and that took a second or so
    assert " #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]\n" in output
    assert " GID: 00:00:00:00:00:00:00:00:00:00:255:255:127:00:00:01\n" in output
    assert "SIMULATED" in output
    assert parse("ib_write_bw", serving.stdout.read()) == gbps


def test_iterations_have_a_peak_and_megabytes(devices: Path) -> None:
    port = free_port()
    arguments = ["-d", "rocep1s0f0", "-p", str(port), "-n", "50"]
    serving = start(devices, *arguments)
    code, output = client(devices, *arguments, "127.0.0.1")
    assert (code, serving.wait(timeout=10)) == (0, 0), output
    assert "BW average[MB/sec]" in output
    row = re.search(r"^ 65536 +50 +([\d.]+) +([\d.]+) +", output, re.MULTILINE)
    assert row, output
    assert row[1] == row[2] != "0.00"


def test_an_end_that_dies_leaves_a_header_and_no_row(devices: Path) -> None:
    port = free_port()
    serving = start(devices, "-d", "rocep1s0f0", "-p", str(port), "-D", "20")
    sending = start(devices, "-d", "rocep1s0f0", "-p", str(port), "-D", "20", "127.0.0.1")
    head = ""
    end = time.monotonic() + 15
    while "RDMA_Write BW Test" not in head and time.monotonic() < end:
        line = sending.stdout.readline()
        head += line
        if not line:  # the server was not ready yet
            sending = start(devices, "-d", "rocep1s0f0", "-p", str(port), "-D", "20", "127.0.0.1")
    time.sleep(0.5)
    serving.kill()
    rest = sending.communicate(timeout=20)[0]
    assert sending.returncode == 1
    assert "Failed to complete run_iter_bw" in rest
    assert "#bytes" not in head + rest


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-d", "rocep9"], "IB device rocep9 not found"),
        (["-d", roce.FUNCTIONS[-1].device], "Port number 1 state is Down"),
        (["-d", roce.FUNCTIONS[1].device], "Failed to find a RoCE v2 GID of an IPv4 address"),
        (["-d", "rocep1s0f0", "-p", "1", "127.0.0.1"], "Couldn't connect to 127.0.0.1:1\n"),
    ],
)
def test_what_cannot_be_measured_is_said(
    devices: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert ib_write_bw.main(arguments) == 1
    told = capsys.readouterr()
    assert says in told.err
    assert told.out == ""


def test_without_verbs_there_are_no_devices(devices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (devices / "dev" / "uverbs0").unlink()
    assert ib_write_bw.main(["-d", "rocep1s0f0"]) == 1
    assert "Did not detect devices" in capsys.readouterr().err


def test_an_argument_that_is_not_simulated_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ib_write_bw.main(["--run_infinitely"])
    assert ended.value.code == 1
    assert "--run_infinitely" in capsys.readouterr().err
