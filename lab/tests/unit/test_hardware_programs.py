# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated programs of the hardware: ibdev2netdev and nvidia-smi, against what was captured of the real ones."""

from __future__ import annotations

import importlib
import locale
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

FILES = Path(__file__).parents[2] / "roles" / "virtual_spark" / "files"
HARDWARE = FILES / "hardware"
CAPTURED = Path(__file__).parents[3] / "tests" / "unit" / "fixtures" / "ibdev2netdev"
sys.path.insert(0, str(HARDWARE / "usr/lib/virtual-spark"))
boot, ibdev2netdev, layout, roce, tree = (
    importlib.import_module(f"virtual_spark.{name}") for name in ("boot", "ibdev2netdev", "layout", "roce", "tree")
)

UUID = "GPU-45cbf7b3-f919-7228-7a26-b06628ebefa1"
CABLED = ("enp1s0f0np0", "enP2p1s0f0np0")


# --- ibdev2netdev -----------------------------------------------------------------------------------------------------


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """/sys as it is in a Spark with one cable in port 0, and without a VPD."""
    monkeypatch.setattr(roce, "GID_TABLE", 4)  # a thousand files less for every test
    place = layout.Layout(*(tmp_path / name for name in ("run", "etc", "sys", "dev", "proc")))
    (place.sys / "class").mkdir(parents=True)
    boot.build(place)
    (place.sys / "class/infiniband").symlink_to(place.classes / "infiniband")
    for function in roce.FUNCTIONS:
        net = place.sys / "class/net" / function.netdev
        link = roce.Link(5, True, function.netdev in CABLED, "3c:6d:66:cc:b3:b7")
        tree.write_file(net / "dev_id", b"0x0\n")
        tree.write_file(net / "carrier", b"1\n" if link.carrier else b"0\n")
        (place.devices / roce.pci_path(function.pci) / "vpd").unlink()
        boot.rdma_trees(place)[function.device].update(roce.port_files(function, link, []))
    monkeypatch.setenv("LC_ALL", "C")
    before = locale.setlocale(locale.LC_COLLATE)
    yield place.sys
    locale.setlocale(locale.LC_COLLATE, before)


def run(arguments: list[str], sysfs: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = ibdev2netdev.main(arguments, sysfs)
    return code, capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "captured"), [([], "plain.txt"), (["-v"], "verbose_no_vpd.txt")])
def test_ibdev2netdev_prints_what_the_real_one_does(sysfs, capsys, arguments, captured) -> None:
    assert run(arguments, sysfs, capsys) == (0, (CAPTURED / captured).read_text())


def test_ibdev2netdev_reads_the_vpd(sysfs, capsys) -> None:
    values = {b"PN": b"900-SYNTH-CX7 ", b"EC": b"A123 ", b"V2": b"900-SYNTH-CX7 "}
    body = b"".join(name + bytes([len(value)]) + value for name, value in values.items())
    for path in sysfs.glob("class/infiniband/*/device"):
        description = b"Synthetic ConnectX-7 (CX7) adapter, 200GbE, dual-port QSFP112"
        (path / "vpd").write_bytes(b"\x82\x3e\x00" + description + b"\x90\x40\x00" + body)
    assert run(["-v"], sysfs, capsys) == (0, (CAPTURED / "verbose_root.txt").read_text())


def test_ibdev2netdev_leaves_blanks_where_the_vpd_may_not_be_read(sysfs, capsys, monkeypatch) -> None:
    for path in sysfs.glob("class/infiniband/*/device"):
        (path / "vpd").write_bytes(roce.vpd())

    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert ibdev2netdev.main(["-v"], sysfs) == 0
    said = capsys.readouterr()
    assert said.out == (CAPTURED / "verbose_not_root.txt").read_text()
    assert said.err.splitlines()[0] == f"cat: {sysfs}/class/infiniband/roceP2p1s0f0/device/vpd: Permission denied"


def test_ibdev2netdev_shows_the_simulated_vpd_on_a_spark(sysfs, capsys) -> None:
    for path in sysfs.glob("class/infiniband/*/device"):
        (path / "vpd").write_bytes(roce.vpd())
    line = run(["-v"], sysfs, capsys)[1].splitlines()[2]
    assert line.startswith(f"0000:01:00.0 rocep1s0f0 (MT4129 - {roce.PART_NUMBER}) {roce.DESCRIPTION} fw 28.45.4028")


@pytest.mark.parametrize("arguments", [["--verbose"], ["-v", "-v"], ["-x"], [""]])
def test_ibdev2netdev_refuses_other_arguments(sysfs, capsys, arguments) -> None:
    code, out = run(arguments, sysfs, capsys)
    assert (code, out.splitlines()[0]) == (255, "ibdev2netdev <options>")


def test_ibdev2netdev_helps(sysfs, capsys) -> None:
    assert run(["-h"], sysfs, capsys)[0] == 0


def test_ibdev2netdev_without_the_rdma_driver(sysfs, capsys) -> None:
    (sysfs / "class/infiniband").unlink()
    assert run([], sysfs, capsys) == (255, "")


def test_ibdev2netdev_without_a_mellanox_netdev(sysfs, capsys) -> None:
    for path in sysfs.glob("class/infiniband/*/device/vendor"):
        path.unlink()
    assert run([], sysfs, capsys) == (0, "")


def test_ibdev2netdev_calls_an_unreadable_carrier_down(sysfs, capsys) -> None:
    carrier = sysfs / "class/net/enp1s0f0np0/carrier"
    carrier.unlink()
    carrier.mkdir()  # not a file: NA, as the tool has it
    assert "enp1s0f0np0 (NA)" in run([], sysfs, capsys)[1]
    carrier.rmdir()
    tree.write_file(carrier, b"")
    assert "enp1s0f0np0 (Down)" in run([], sysfs, capsys)[1]


def test_ibdev2netdev_leaves_the_state_open_for_a_netdev_that_is_gone(sysfs, capsys) -> None:
    shutil.rmtree(sysfs / "class/net/enp1s0f0np0")
    assert "rocep1s0f0 port 1 ==> enp1s0f0np0 ()" in run([], sysfs, capsys)[1]


# --- nvidia-smi -------------------------------------------------------------------------------------------------------


@pytest.fixture
def spark(tmp_path: Path) -> Path:
    (tmp_path / "faults").mkdir()
    (tmp_path / "gpus").write_text(f"{UUID}\n")
    return tmp_path


def smi(etc: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        ["/bin/sh", str(HARDWARE / "usr/bin/nvidia-smi"), *arguments],
        env={"VIRTUAL_SPARK_ETC": str(etc), "VIRTUAL_SPARK_RUN": str(etc), "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_nvidia_smi_lists_the_gpu(spark: Path) -> None:
    assert smi(spark, "-L") == (0, f"GPU 0: NVIDIA GB10 (UUID: {UUID})\n")


def test_nvidia_smi_table_is_a_table(spark: Path) -> None:
    code, out = smi(spark)
    assert code == 0
    assert {len(line) for line in out.splitlines()[1:] if line} == {91}
    # As a DGX Spark prints it.
    assert "|   0  NVIDIA GB10                    On  |   0000000F:01:00.0 Off |                  N/A |" in out
    assert "| N/A   36C    P8              3W /  N/A  | Not Supported          |      0%      Default |" in out


def test_nvidia_smi_answers_queries_as_a_spark_does(spark: Path) -> None:
    fields = "memory.total,memory.used,memory.free,utilization.gpu,temperature.gpu"
    assert smi(spark, f"--query-gpu={fields}", "--format=csv") == (
        0,
        "memory.total [MiB], memory.used [MiB], memory.free [MiB], utilization.gpu [%], temperature.gpu\n"
        "[N/A], [N/A], [N/A], 0 %, 36\n",
    )


@pytest.mark.parametrize(
    ("fields", "form", "said"),
    [
        ("uuid", "csv,noheader", f"{UUID}\n"),
        ("compute_cap, name ,index", "csv,noheader,nounits", "12.1, NVIDIA GB10, 0\n"),
        ("power.draw", "noheader,csv", "3.42 W\n"),
        ("power.draw", "csv,nounits", "power.draw [W]\n3.42\n"),
        ("driver_version,pci.bus_id", "csv", "driver_version, pci.bus_id\n580.159.03, 0000000F:01:00.0\n"),
    ],
)
def test_nvidia_smi_formats(spark: Path, fields: str, form: str, said: str) -> None:
    assert smi(spark, f"--query-gpu={fields}", f"--format={form}") == (0, said)


def test_nvidia_smi_refuses_an_unknown_field(spark: Path) -> None:
    code, out = smi(spark, "--query-gpu=uuid,wattage", "--format=csv")
    assert (code, out.splitlines()[0]) == (2, 'Field "wattage" is not a valid field to query.')


@pytest.mark.parametrize("option", ["-q", "-a"])
def test_nvidia_smi_log_has_two_kinds_of_uuid(spark: Path, option: str) -> None:
    code, out = smi(spark, option)
    lines = [line for line in out.splitlines() if "UUID" in line]
    assert code == 0
    assert lines == [f"{'    GPU UUID':<55}: {UUID}", f"{'        ClusterUUID':<55}: N/A"]
    assert {line.index(": ") for line in out.splitlines() if ": " in line} == {55}  # as in the H200 capture


def test_nvidia_smi_chooses_among_gpus(spark: Path) -> None:
    (spark / "gpus").write_text("GPU-a\nGPU-b")
    assert smi(spark, "-i", "1", "-L") == (0, "GPU 1: NVIDIA GB10 (UUID: GPU-b)\n")
    assert smi(spark, "--id=GPU-a", "--query-gpu=index,count", "--format=csv,noheader") == (0, "0, 2\n")
    assert smi(spark, "-i", "2", "-L") == (6, "No devices were found\n")


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("gpu-driver-missing", 9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."),
        ("gpu-fell-off", 15, "Unable to determine the device handle for GPU0: 0000000F:01:00.0: GPU is lost.  Reboot"),
        ("gpu-none", 6, "No devices were found"),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("-L",), ("-q",), ("--query-gpu=uuid", "--format=csv,noheader")])
def test_nvidia_smi_faults(spark: Path, fault: str, code: int, said: str, arguments: tuple[str, ...]) -> None:
    (spark / "faults" / fault).touch()
    found, out = smi(spark, *arguments)
    assert (found, out.startswith(said)) == (code, True)


def clock(spark: Path) -> str:
    return smi(spark, "--query-gpu=clocks.gr", "--format=csv,noheader")[1]


def test_nvidia_smi_locks_the_clock_and_lets_it_go(spark: Path) -> None:
    code, said = smi(spark, "-lgc", "900,2000")
    assert (code, said.splitlines()[0]) == (
        0,
        'GPU clocks set to "(gpuClkMin 900, gpuClkMax 2000)" for GPU 0000000F:01:00.0',
    )
    assert clock(spark) == "900 MHz\n"
    assert smi(spark, "-rgc")[0] == 0
    assert clock(spark) == "208 MHz\n"
    assert smi(spark, "-lgc", "fast")[0] == 2


def test_nvidia_smi_says_in_words_alone_that_a_clock_cannot_be_locked(spark: Path) -> None:
    (spark / "faults" / "gpu-clock-unsupported").touch()
    code, said = smi(spark, "-lgc", "0,2000")
    assert (code, "gpuClkMax" in said, "not supported" in said) == (0, False, True)


def test_nvidia_smi_in_a_container_without_gpus(tmp_path: Path) -> None:
    assert smi(tmp_path, "-L") == (6, "No devices were found\n")


def test_nvidia_smi_versions_and_nonsense(spark: Path) -> None:
    assert "DRIVER version      : 580.159.03" in smi(spark, "--version")[1].splitlines()
    assert smi(spark, "--nonsense")[0] == 2


def test_nvidia_smi_runs_with_a_bare_shell(spark: Path) -> None:
    """It is mounted into images that may have nothing but a shell."""
    done = subprocess.run(
        ["/bin/sh", str(HARDWARE / "usr/bin/nvidia-smi"), "-q"],
        env={"VIRTUAL_SPARK_ETC": str(spark), "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, UUID in done.stdout) == (0, True)


# --- what every simulated file owes -----------------------------------------------------------------------------------

EXCEPT = {"control", "conffiles", "config.toml"}  # read by programs; what they are is in the package's description


@pytest.mark.parametrize("package", ["hardware", "toolkit", "perftest"])
def test_every_file_says_that_it_is_simulated(package: str) -> None:
    for path in (FILES / package).rglob("*"):
        if path.is_file() and path.name not in EXCEPT and "__pycache__" not in path.parts:
            lines = path.read_text().splitlines()
            first = lines[1] if lines[0].startswith("#!") else lines[0]
            assert first.startswith("# SIMULATED: "), path
    assert "Description: SIMULATED" in (FILES / package / "DEBIAN/control").read_text()


def test_a_spark_calls_itself_one() -> None:
    lines = (HARDWARE / "etc/dgx-release").read_text().splitlines()
    assert 'DGX_NAME="DGX Spark"' in lines
    assert 'DGX_PRETTY_NAME="NVIDIA DGX Spark"' in lines
