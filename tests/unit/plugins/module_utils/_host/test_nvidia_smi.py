# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Output captured on two H200 (``fixtures/nvidia_smi``), a GB10's row as owners publish it, failures, any text."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import (
    QUERY,
    NvidiaSmiError,
    driver_version,
    explain_failure,
    parse_gpus,
    read_answer,
)
from hypothesis import example, given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "nvidia_smi"

UUID = "GPU-e793e0a4-fd41-dcd8-a833-3127370a6779"
GB10 = f"0, {UUID}, NVIDIA GB10, 580.95.05, 12.1, [N/A]"
LOST = "Unable to determine the device handle for GPU0000:01:00.0: GPU is lost.  Reboot the system to recover this GPU"


def h200() -> str:
    """Return the captured table with the columns, and in the order, of our query."""
    table = [line.split(", ") for line in (FIXTURES / "h200_x2_query.csv").read_text().splitlines()]
    columns = [re.sub(r" \[.*", "", name) for name in table[0]]
    return "\n".join(", ".join(row[columns.index(field)] for field in QUERY.split(",")) for row in table)


@pytest.mark.parametrize("header", [True, False], ids=["header", "noheader"])
@pytest.mark.parametrize("unit", [" MiB", ""], ids=["units", "nounits"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "  \n\n"], ids=["LF", "CRLF", "blanks"])
def test_reads_captured_table(header: bool, unit: str, ends: str) -> None:
    lines = h200().replace(" MiB", unit).splitlines()
    gpus = parse_gpus(ends.join(lines[0 if header else 1 :]))
    assert gpus == [
        {
            "index": index,
            "uuid": uuid,
            "name": "NVIDIA H200",
            "driver_version": "580.159.04",
            "compute_capability": "9.0",
            "memory_total_mib": 143771,
        }
        for index, uuid in enumerate(re.findall(r"GPU-[0-9a-f-]{36}", (FIXTURES / "h200_x2_L.txt").read_text()))
    ]
    assert len(gpus) == 2


@pytest.mark.parametrize("memory", ["[N/A]", "N/A", "[Not Supported]", "Not Supported"])
def test_unified_memory_is_null(memory: str) -> None:
    assert parse_gpus(GB10.replace("[N/A]", memory)) == [
        {
            "index": 0,
            "uuid": UUID,
            "name": "NVIDIA GB10",
            "driver_version": "580.95.05",
            "compute_capability": "12.1",
            "memory_total_mib": None,
        }
    ]


@pytest.mark.parametrize("name", ["NVIDIA GB10, Rev. A", "A,B,C", "GRID A100X-4C (MIG 1g.5gb)", "NVIDIA (TM) 'x', 9.0"])
def test_a_name_may_hold_anything(name: str) -> None:
    assert parse_gpus(GB10.replace("NVIDIA GB10", name))[0]["name"] == name


@pytest.mark.parametrize("name", ["h200_x2_L.txt", "h200_x2_a_grep_uuid.txt"])
def test_refuses_other_listings(name: str) -> None:
    # `nvidia-smi -a | grep UUID` names a ClusterUUID with each GPU.
    for line in (FIXTURES / name).read_text().splitlines():
        with pytest.raises(NvidiaSmiError, match="line 1"):
            parse_gpus(line)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (GB10.replace(UUID, "00000000-0000-0000-0000-000000000000"), "uuid is '00000000-"),
        (GB10.replace(UUID, UUID.replace("GPU-", "MIG-")), r"uuid is 'MIG-.*a slice of a GPU \(MIG\)"),
        (GB10.replace(UUID, "MIG-GPU-e793e0a4/0/0"), r"a slice of a GPU \(MIG\)"),
        (GB10.replace(UUID, "[N/A]"), "uuid is"),
        (GB10.replace(UUID, UUID[:-1]), "uuid is"),
        (GB10.replace("[N/A]", "[Unknown Error]"), r"memory.total is '\[Unknown Error\]'.*does not answer"),
        (GB10.replace("NVIDIA GB10", "[Unknown Error]"), "name is .*does not answer"),
        (GB10.replace("NVIDIA GB10", "ERR!"), "name is 'ERR!'.*does not answer"),
        (GB10.replace("12.1", "[GPU requires reset]"), "compute_cap is .*does not answer"),
        (GB10.replace("[N/A]", "143.771"), r"memory.total is '143\.771'.*LC_ALL=C"),
        (GB10.replace("[N/A]", "143 771"), "memory.total is '143 771'"),
        (GB10.replace("[N/A]", "143\u202f771"), "memory.total is"),
        (GB10.replace("[N/A]", "143,771"), "driver_version is '12.1'|compute_cap is"),
        (GB10.replace("12.1", "12,1"), "driver_version is|compute_cap is '1'"),
        (GB10.replace("12.1, [N/A]", "12,1, 1.000,5"), "driver_version is|compute_cap is"),
        (GB10.replace("[N/A]", "1.000,5"), "driver_version is '12.1'|compute_cap is '1.000'"),
        (GB10.replace("[N/A]", "9.5,771"), "driver_version is '12.1'"),
        (GB10.replace("12.1", "12.100"), "compute_cap is '12.100'"),
        (GB10.replace("0,", "\u0660,", 1), "index is"),
        (GB10.replace("[N/A]", "140 GiB"), "memory.total is '140 GiB'"),
        (GB10.replace("[N/A]", "-1"), "memory.total is '-1'"),
        (GB10.replace("[N/A]", ""), "memory.total is ''"),
        (GB10.replace("580.95.05", "[N/A]"), "driver_version is"),
        (GB10[3:], "line 1"),
        ("GPU 0: NVIDIA GB10", "line 1 .*is not a row"),
        (f"{GB10}\n{GB10}", "line 2 .*index 0 a second time"),
        (f"{GB10}\n{GB10.replace('0,', '1,', 1)}", f"line 2 .*uuid '{UUID}' a second time"),
        (LOST, "off the bus: shut the host down"),
        (f"{GB10}\n{LOST}", "off the bus: shut the host down"),
        (f"{LOST}\nNo devices were found", "off the bus: shut the host down"),
        ("No devices were found", "finds no GPU"),
        ("", "named no GPU"),
        ("index, uuid, name, driver_version, compute_cap, memory.total [MiB]\n", "named no GPU"),
    ],
    ids=lambda value: re.sub(r"[^\w.,!-]+", " ", value)[-34:],
)
def test_refuses(row: str, message: str) -> None:
    with pytest.raises(NvidiaSmiError, match=message):
        parse_gpus(row)


@pytest.mark.parametrize(
    ("rc", "output", "message"),
    [
        (
            9,
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
            "NVIDIA driver is installed and running.",
            "not loaded.*modprobe nvidia",
        ),
        (9, "", "not loaded.*modprobe nvidia"),
        (6, "No devices were found", "finds no GPU"),
        (6, f"{LOST}\nNo devices were found", "off the bus"),
        (15, "", "off the bus"),
        (2, 'Field "compute_cap" is not a valid field to query.\n\n', "compute_cap.*nvidia-utils"),
        (18, "Failed to initialize NVML: Driver/library version mismatch", "reboot"),
        (12, "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", "libnvidia-compute"),
        (4, "Failed to initialize NVML: Insufficient Permissions", "become"),
        (139, "", "exit status 139.*by hand"),
        (8, "", "external power.*plug"),
        (10, "", "interrupt.*reboot"),
        (14, "WARNING: infoROM is corrupted", "exit status 14, it said 'WARNING: infoROM.*no GPU with it.*reboot"),
        (255, "Failed to initialize NVML: Unknown Error", "may not open /dev/nvidia.*dmesg"),
        (255, "Failed to initialize NVML: GPU access blocked by the operating system", "may not open /dev/nvidia"),
    ],
)
def test_explains_a_failure(rc: int, output: str, message: str) -> None:
    assert re.search(message, explain_failure(rc, output))


# NVIDIA/gpu-operator#20 (2019-12) and microsoft/pai#3756: the warning stands below good rows; pytorch/pytorch#87464
# (2022-10): the exit status is then 14. The addresses are a DGX Spark's and others'.
INFOROM = "WARNING: infoROM is corrupted at gpu 0000:01:00.0"


@pytest.mark.parametrize("rc", [0, 14])
@pytest.mark.parametrize(
    ("out", "err", "said"),
    [
        (f"{GB10}\n{INFOROM}\n", "", [INFOROM]),
        (f"{INFOROM}\n{GB10}\n", "", [INFOROM]),
        (f"{GB10}\n\n{INFOROM}\r\n", "", [INFOROM]),
        (f"{GB10}\n", f"{INFOROM}\n", [INFOROM]),
        (f"{GB10}\n{INFOROM}\n{INFOROM.replace('0000', '000F')}", "", [INFOROM, INFOROM.replace("0000", "000F")]),
        (f"index, uuid, name, x\n{GB10}\n  warning: infoROM is corrupted", "", ["warning: infoROM is corrupted"]),
        (f"{INFOROM}\nindex, uuid, name, x\n{GB10}", INFOROM, [INFOROM]),
    ],
)
def test_a_warning_beside_good_rows_is_passed_on(rc: int, out: str, err: str, said: list[str]) -> None:
    gpus, warnings = read_answer(rc, out, err)
    assert [gpu["uuid"] for gpu in gpus] == [UUID]
    assert all(any(line in warning for warning in warnings) for line in said)
    assert len(warnings) == len(said)
    assert all("the GPU can be used" in warning for warning in warnings)


def test_a_status_of_14_without_a_word_is_a_warning_too() -> None:
    gpus, warnings = read_answer(14, GB10, "")
    assert len(gpus) == len(warnings) == 1
    assert "status 14" in warnings[0]
    assert "infoROM" in warnings[0]


def test_another_warning_is_passed_on_as_it_is() -> None:
    assert read_answer(0, f"{GB10}\nWARNING: x\n", "")[1] == ["nvidia-smi said 'WARNING: x'"]


@pytest.mark.parametrize(
    ("rc", "out", "says"),
    [
        (14, INFOROM, "no GPU with it"),
        (0, INFOROM, "named no GPU"),
        (15, f"{GB10}\n{INFOROM}", "off the bus"),
        (14, f"{GB10}\n{INFOROM}\n{LOST}", "off the bus"),
        (14, f"{GB10}\n{INFOROM}\n{GB10}", "a second time"),
        (14, f"{GB10}\nnonsense", "is not a row"),
        (255, GB10, "by hand"),
    ],
)
def test_a_warning_hides_no_failure(rc: int, out: str, says: str) -> None:
    with pytest.raises(NvidiaSmiError, match=says):
        read_answer(rc, out, "")


@pytest.mark.parametrize(
    ("rc", "out", "version"),
    [
        (0, "580.95.05\n", "580.95.05"),
        (14, f"{INFOROM}\n580.95.05\n", "580.95.05"),
        (0, f"580.95.05\n{INFOROM}\n", "580.95.05"),
        (9, "NVIDIA-SMI has failed", ""),
        (0, "", ""),
        (14, INFOROM, ""),
    ],
)
def test_the_drivers_version_beside_a_warning(rc: int, out: str, version: str) -> None:
    assert driver_version(rc, out) == version


rows = st.lists(
    st.tuples(
        st.uuids(),
        st.from_regex(r"[A-Za-z][A-Za-z0-9 ,.()-]{0,20}[A-Za-z0-9]", fullmatch=True),
        st.none() | st.integers(0, 10**6),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row[0],
)


@given(rows)
def test_reads_back_what_nvidia_smi_prints(table: list) -> None:
    text = "".join(
        f"{index}, GPU-{uuid}, {name}, 580.95.05, 12.1, {'[N/A]' if memory is None else memory}\n"
        for index, (uuid, name, memory) in enumerate(table)
    )
    gpus = parse_gpus(text)
    assert [(gpu["uuid"], gpu["name"], gpu["memory_total_mib"]) for gpu in gpus] == [
        (f"GPU-{uuid}", name, memory) for uuid, name, memory in table
    ]
    assert [gpu["index"] for gpu in gpus] == list(range(len(table)))


fragments = st.sampled_from([*GB10.split(","), ",", "\n", " ", GB10, "index, uuid, name,", "9" * 5000, "²", "[]"])


@given(st.text() | st.lists(fragments, max_size=12).map("".join) | st.lists(fragments, max_size=12).map(",".join))
@example(GB10.replace("0,", "²,", 1))
@example(GB10.replace("[N/A]", "9" * 5000))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(NvidiaSmiError):
        parse_gpus(text)
    with contextlib.suppress(NvidiaSmiError):
        read_answer(14, text, text)
