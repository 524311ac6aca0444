# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into the image to look at the GPUs with, and what its failure means."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._gpu_probe import (
    GpuProbeError,
    archive,
    explain,
    interpreter,
    libraries,
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
        ("", r"exit status 125\): (no message)"),
    ],
)
def test_explains(said: str, message: str) -> None:
    assert message.replace("\\", "") in explain(125, said)
