# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into the image to look at the GPUs with, and what its failure means."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.gpu_probe import (
    PROGRAM,
    GpuProbeError,
    archive,
    explain,
    fingerprint,
    interpreter,
    libraries,
    probe_service,
    reserved,
    task_problem,
)

LDD = """\
\tlinux-vdso.so.1 (0x0000ffff9d5c0000)
\tlibpthread.so.0 => /lib/aarch64-linux-gnu/libpthread.so.0 (0x0000ffff9d540000)
\tlibc.so.6 => /lib/aarch64-linux-gnu/libc.so.6 (0x0000ffff9d380000)
\t/lib/ld-linux-aarch64.so.1 (0x0000ffff9d583000)
"""


def test_lists_what_a_program_loads() -> None:
    places = [
        "/lib/aarch64-linux-gnu/libpthread.so.0",
        "/lib/aarch64-linux-gnu/libc.so.6",
        "/lib/ld-linux-aarch64.so.1",
    ]
    assert libraries(LDD) == places
    assert libraries("\tstatically linked\n") == []
    with pytest.raises(GpuProbeError, match=r"libx\.so"):
        libraries("\tlibx.so => not found\n")


@pytest.mark.parametrize(
    ("head", "program"),
    [(b"#!/bin/sh\n# x", "/bin/sh"), (b"#! /usr/bin/env sh\n", "/usr/bin/env"), (b"\x7fELF", None), (b"#!", None)],
)
def test_finds_what_runs_a_script(head: bytes, program: str | None) -> None:
    assert interpreter(head) == program


def test_packs_files_at_their_places(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    link = str(tmp_path / "link")
    with tarfile.open(fileobj=io.BytesIO(archive([link, link]))) as tar:
        assert [(one.name, one.isfile(), one.mode) for one in tar] == [(link.lstrip("/"), True, 0o755)]
        assert tar.extractfile(link.lstrip("/")).read() == b"x"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "failed to construct device spec generators: failed to initialize NVML: Driver Not Loaded",
            "driver is not loaded",
        ),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded", "driver is not loaded"),
        ("invoking the NVIDIA Container Runtime Hook directly (e.g. specifying the docker --gpus flag)", "mode 'cdi'"),
        ('exec: "nvidia-smi": executable file not found in $PATH', "without the NVIDIA runtime"),
        ("docker: Error response from daemon: unknown or invalid runtime name: nvidia", "restart Docker"),
        ("docker: Error response from daemon: No such image: x:y", "pull it"),
        ("error getting device handle for index '0': GPU is lost", "reboot the host"),
        # NVIDIA/nvidia-container-toolkit#381 (2024-03) and #115 (2023-09-30): the device cgroup of the container
        ("Failed to initialize NVML: Unknown Error", "device cgroup"),
        ("Failed to initialize NVML: Unknown Error\n", "systemctl daemon-reload"),
        ("nvidia-container-cli: initialization error: nvml error: unknown error", "device cgroup"),
        # ublue-os/bluefin#3883 (2025-12-21)
        ("Failed to initialize NVML: Insufficient Permissions", "device cgroup"),
        ("nvidia-container-cli: initialization error: nvml error: insufficient permissions", "no-cgroups = false"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "driver is not loaded"),
        ("Failed to initialize NVML: Driver/library version mismatch", "kernel module stayed loaded: reboot"),
        ("nvidia-container-cli: initialization error: nvml error: driver/library version mismatch", ": reboot"),
        ("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", "libraries of the driver"),
        ("failed to initialize NVML: ERROR_LIBRARY_NOT_FOUND", "libraries of the driver"),
        ("initialization error: load library failed: libnvidia-ml.so.1: cannot open shared", "libraries of the driver"),
        ("Unable to determine the device handle for GPU0000:01:00.0: Unknown Error", "reboot the host"),
        ("No devices were found", "NVIDIA_VISIBLE_DEVICES"),
        ("Failed to initialize NVML: No supported GPUs were found", "NVIDIA_VISIBLE_DEVICES"),
        ("Failed to initialize NVML: GPU is lost", "fell off the bus"),
        ("Failed to initialize NVML: GPU requires reset", "the library of the driver did not start in it"),
        ("Failed to initialize NVML: Function Not Found", "the library of the driver did not start in it"),
        ("nvidia-container-cli: initialization error: nvml error: timeout", "the library of the driver did not start"),
        ("bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not permitted", "upgrade nvidia-container-toolkit"),
        ('could not select device driver "" with capabilities: [[gpu]]', "restart Docker"),
        ("unresolvable CDI devices nvidia.com/gpu=all", "nvidia-ctk cdi generate"),
        # A CDI specification of the driver before an update: whatever it names may be gone.
        (
            'error mounting "/usr/lib/aarch64-linux-gnu/libcuda.so.580.95.05" to rootfs at '
            '"/usr/lib/aarch64-linux-gnu/libcuda.so.580.95.05": no such file or directory',
            "out of date",
        ),
        (
            "failed to fulfil mount request: open /usr/lib/x86_64-linux-gnu/libEGL_nvidia.so.580.95.05: no such file "
            "or directory: unknown",
            "out of date",
        ),
        ('failed to stat CDI host device "/dev/nvidia-modeset": no such file or directory', "out of date"),
        (
            'error mounting "/lib/firmware/nvidia/580.95.05/gsp_ga10x.bin" to rootfs at "/lib/firmware/nvidia/'
            '580.95.05/gsp_ga10x.bin": stat /lib/firmware/nvidia/580.95.05/gsp_ga10x.bin: no such file or directory',
            "out of date",
        ),
        (
            'error mounting "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.580.95.05" to rootfs at "/usr/lib/aarch64-linux'
            '-gnu/libnvidia-ml.so.580.95.05": no such file or directory',
            "out of date",
        ),
        ('error mounting "/usr/bin/nvidia-smi" to rootfs at "/usr/bin/nvidia-smi": no such file', "out of date"),
        ('error mounting "/run/nvidia-persistenced/socket" to rootfs at "/run/x": no such file', "out of date"),
        ('error gathering device information while adding custom device "/dev/dri/card1": no such file', "out of date"),
        (
            "error running createContainer hook #0: fork/exec /usr/bin/nvidia-cdi-hook: no such file or directory",
            "out of date",
        ),
        # ShaneIsrael/fireshare#689 (2026-08-17)
        ("failed to discover GPU vendor from CDI: no known GPU vendor found", "--gpus"),
        ('could not select device driver "cdi" with capabilities: [[gpu]]', "features.cdi"),
        ("could not select device driver 'cdi' with capabilities: []", "features.cdi"),
        ("", r"exit status 125\): (no message)"),
    ],
)
def test_explains(said: str, message: str) -> None:
    assert message.replace("\\", "") in explain(125, said)


def test_a_device_cgroup_is_not_called_a_missing_driver() -> None:
    for said in ("Unknown Error", "Insufficient Permissions", "Function Not Found", "GPU requires reset"):
        assert "not loaded" not in explain(255, f"Failed to initialize NVML: {said}")


def test_the_image_is_told_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "libc.so.6"
    file.write_bytes(b"one")
    first = fingerprint(archive([str(file)]))
    os.utime(file, (0, 0))
    assert fingerprint(archive([str(file)])) == first
    file.write_bytes(b"two")
    assert fingerprint(archive([str(file)])) != first


def status(tmp_path: Path, prints: str = "echo GPU-A; echo GPU-B", **environment: str) -> int:
    """The exit status of a probe that sees the GPUs A and B."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{prints}\n")
    tool.chmod(0o755)
    base = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RDMA": "no", "MEMLOCK": "unlimited"}
    return subprocess.run(["/bin/sh", "-c", PROGRAM], env={**base, **environment}, check=False).returncode


@pytest.mark.parametrize(
    ("gpus", "count", "code"),
    [("GPU-B GPU-A", 2, 0), ("GPU-A", 1, 65), ("GPU-A GPU-B GPU-C", 3, 65), ("GPU-A GPU-C", 2, 65)],
)
def test_a_task_says_whether_it_sees_its_gpus(tmp_path: Path, gpus: str, count: int, code: int) -> None:
    assert status(tmp_path, GPUS=gpus, GPU_COUNT=str(count)) == code


@pytest.mark.parametrize(
    ("prints", "code"),
    [
        ("echo GPU-A; echo GPU-B; echo 'WARNING: infoROM is corrupted at gpu 0000:01:00.0'; exit 14", 0),
        ("echo 'WARNING: infoROM is corrupted at gpu GPU-B'; echo GPU-A; echo GPU-B", 0),
        ("echo GPU-A; echo 'WARNING: infoROM is corrupted at gpu 0000:01:00.0'; exit 14", 65),
        ("echo GPU-A; echo MIG-B", 65),
    ],
)
def test_a_task_takes_a_warning_for_what_it_is(tmp_path: Path, prints: str, code: int) -> None:
    assert status(tmp_path, prints, GPUS="GPU-A GPU-B", GPU_COUNT="2") == code


# What nvidia-smi prints, its exit status, and what the task's end is to say. The statuses are those of its manual page,
# and NVML's where that has none.
FAILURES = [
    ("echo 'Failed to initialize NVML: Unknown Error'; exit 255", "status 255", "device cgroup"),
    ("echo 'Failed to initialize NVML: Insufficient Permissions'; exit 4", "status 4", "device cgroup"),
    ("echo 'Failed to initialize NVML: GPU access blocked by the operating system'; exit 17", "status 17", "cgroup"),
    ("exit 9", "status 9", "driver is not loaded"),
    ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "status 18", "reboot the host"),
    ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 255", "status 18", "reboot the host"),
    ("echo 'No devices were found'; exit 6", "status 6", "NVIDIA runtime gave it none"),
    ("exit 12", "status 12", "libraries of the driver are missing"),
    ("echo GPU-A; echo GPU-B; exit 15", "status 15", "fell off the bus"),
    ("echo 'Unable to determine the device handle for GPU0: Unknown Error'; exit 255", "status 15", "off the bus"),
    ("echo 'Unable to determine the device handle for GPU0: Unknown Error' >&2; exit 255", "status 15", "off the bus"),
    ("exit 13", "status 13", "library of the driver did not start"),
    ("exit 10", "status 10", "see whether 'nvidia-smi' works on the host"),
    ("exit 126", "status 126", "see whether 'nvidia-smi' works on the host"),
    ("exit 127", "status 127", "without the NVIDIA runtime"),
    ("exit 99", "a status of its own", "see whether 'nvidia-smi' works on the host"),
    ("kill -SEGV $$", "a status of its own", "see whether 'nvidia-smi' works on the host"),
]


@pytest.mark.parametrize(("prints", "ends", "because"), FAILURES)
def test_a_task_says_why_nvidia_smi_failed_in_it(tmp_path: Path, prints: str, ends: str, because: str) -> None:
    code = status(tmp_path, prints, GPUS="GPU-A GPU-B", GPU_COUNT="2")
    said = task_problem(ended("failed", code, Err=f"task: non-zero exit ({code})"), ["GPU-A", "GPU-B"], -1) or ""
    assert said.startswith("sees no GPU")
    assert ends in said
    assert because in said
    assert ("device cgroup" in said) == ("cgroup" in because)


@pytest.mark.skipif(bool(shutil.which("nvidia-smi")), reason="this machine has a driver")
def test_a_task_without_the_nvidia_runtime_has_no_nvidia_smi() -> None:
    environment = {"PATH": os.environ["PATH"], "RDMA": "no", "MEMLOCK": "unlimited", "GPUS": "GPU-A", "GPU_COUNT": "1"}
    code = subprocess.run(["/bin/sh", "-c", PROGRAM], env=environment, check=False).returncode
    assert "without the NVIDIA runtime" in (task_problem(ended("failed", code), ["GPU-A"], -1) or "")


@pytest.mark.skipif(Path("/dev/infiniband").exists(), reason="this machine has RDMA devices")
def test_a_task_says_all_that_is_wrong(tmp_path: Path) -> None:
    mine = {"GPUS": "GPU-A", "GPU_COUNT": "1", "RDMA": "yes", "MEMLOCK": "0"}
    code = status(tmp_path, "exit 9", **mine)
    said = task_problem(ended("failed", code), ["GPU-A"], 0) or ""
    assert said.startswith("sees no /dev/infiniband and no GPU")
    assert "driver is not loaded" in said


@pytest.mark.skipif(Path("/dev/infiniband").exists(), reason="this machine has RDMA devices")
def test_a_task_says_that_it_sees_no_rdma_devices_and_too_low_a_limit(tmp_path: Path) -> None:
    mine = {"GPUS": "GPU-A GPU-B", "GPU_COUNT": "2", "RDMA": "yes"}
    assert status(tmp_path, MEMLOCK="0", **mine) == 64 + 2
    limited = f"ulimit -l 64; {PROGRAM}"
    tool = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MEMLOCK": "unlimited", **mine}
    assert subprocess.run(["/bin/sh", "-c", limited], env=tool, check=False).returncode == 64 + 2 + 4


def test_a_service_reserves_and_asks_on_one_node() -> None:
    one = probe_service("x", "node1", "sha256:0", "gpu", ["GPU-A"], reserve=1, rdma=True, memlock=-1)
    template = one["TaskTemplate"]
    assert template["Placement"] == {"Constraints": ["node.id==node1"]}
    assert template["Resources"]["Reservations"]["GenericResources"] == [
        {"DiscreteResourceSpec": {"Kind": "gpu", "Value": 1}}
    ]
    assert {"NVIDIA_MOFED=enabled", "GPUS=GPU-A", "RDMA=yes", "MEMLOCK=unlimited"} <= set(
        template["ContainerSpec"]["Env"]
    )
    assert template["ContainerSpec"]["Ulimits"] == [{"Name": "memlock", "Soft": -1, "Hard": -1}]
    bare = probe_service("x", "node1", "sha256:0", "gpu", ["GPU-A"], reserve=0, rdma=False, memlock=65536)
    assert "Resources" not in bare["TaskTemplate"]
    assert "MEMLOCK=64" in bare["TaskTemplate"]["ContainerSpec"]["Env"]
    assert not any("MOFED" in one for one in bare["TaskTemplate"]["ContainerSpec"]["Env"])


def test_counts_gpus_that_have_work() -> None:
    gpu = [{"NamedResourceSpec": {"Kind": "gpu", "Value": "GPU-A"}}]
    tasks = [
        {"NodeID": "a", "DesiredState": "running", "GenericResources": gpu},
        {"NodeID": "a", "DesiredState": "shutdown", "GenericResources": gpu},
        {"NodeID": "b", "DesiredState": "running", "GenericResources": gpu},
        {"NodeID": "a", "DesiredState": "running"},
    ]
    assert (reserved(tasks, "a", "gpu"), reserved(tasks, "a", "fpga")) == (1, 0)


def ended(state: str, code: int = 0, **more: Any) -> dict[str, Any]:
    return {"Status": {"State": state, "ContainerStatus": {"ExitCode": code}, **more}}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (None, None),
        (ended("preparing"), None),
        (ended("complete"), ""),
        (ended("failed", 65), "sees other GPUs than GPU-A"),
        (ended("failed", 70), "sees no /dev/infiniband and a limit of locked memory below unlimited"),
        (ended("failed", 137, Err="task: non-zero exit (137)"), "did not start: a container cannot see the GPUs (exit"),
        (ended("failed", 255), "did not start: a container cannot see the GPUs (exit status 255)"),
        (ended("failed", 127, Err="task: non-zero exit (127)"), "did not start: a container cannot see the GPUs"),
        (ended("rejected", Err="No such image: sha256:0"), "did not start: a container cannot see the GPUs, because"),
    ],
)
def test_reads_what_a_task_said(task: dict[str, Any] | None, said: str | None) -> None:
    found = task_problem(task, ["GPU-A"], -1)
    assert found == said if not said else (found or "").startswith(said)
