# SIMULATED: what the container toolkit finds on a virtual Spark.
"""Reads the machine's state for the pure functions."""

from __future__ import annotations

from pathlib import Path

from nvidia_toolkit import config
from nvidia_toolkit.request import Host

ETC = Path("/etc/virtual-spark")


def gpus(etc: Path = ETC) -> tuple[str, ...]:
    try:
        lines = [line.strip() for line in (etc / "gpus").read_text().splitlines()]
    except FileNotFoundError:
        return ()
    return tuple(line for line in lines if line and not line.startswith("#"))


def find(etc: Path = ETC) -> Host:
    faults = etc / "faults"
    none = (faults / "gpu-none").exists()
    return Host(
        gpus=() if none else gpus(etc),
        version=config.version(),
        driver=not (faults / "gpu-driver-missing").exists(),
        lost=(faults / "gpu-fell-off").exists(),
    )
