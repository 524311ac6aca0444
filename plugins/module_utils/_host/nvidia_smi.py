# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GPUs, as ``nvidia-smi --query-gpu`` prints them, and what its failures mean.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Any

# nvidia-smi quotes nothing, so a name may hold commas. It stands between fields of a strict form: a comma that a
# locale put into a number then shifts one of these and is refused, instead of being misread.
QUERY = "index,uuid,name,driver_version,compute_cap,memory.total"
_FORMS = {
    "index": r"\d{1,4}",
    "uuid": r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "name": r"(?!ERR!|N/A)[A-Za-z0-9].*",
    "driver_version": r"\d{3,4}(?:\.\d+)+",
    "compute_cap": r"\d{1,2}\.\d",
    "memory.total": r"(\d{1,9})(?: MiB)?",
}
_NOT_TOLD = ("n/a", "not supported")
#: a line that nvidia-smi prints above or below good rows, on either output
_WARNING = re.compile(r"\s*warning:", re.IGNORECASE)
#: the exit status where nvidia-smi has listed all that was asked for, and warns of a damaged infoROM
_INFOROM_STATUS = 14
_INFOROM = re.compile(r"inforom", re.IGNORECASE)

_NO_GPU = (
    "the driver is loaded but finds no GPU: read 'dmesg | grep NVRM'; if the GPU was there before, take the host off "
    "the mains for a minute"
)
# Sentences outrank exit statuses, and an earlier sentence a later one: a lost GPU may be followed by "No devices".
_FAILURES = (
    (
        r"is not a valid field to query",
        2,
        "this nvidia-smi does not know a field that drivers have had since R510: install the nvidia-utils package of "
        "the driver's own version, and check that no older nvidia-smi comes first on PATH",
    ),
    (
        r"unable to determine the device handle|gpu is lost|fallen off the bus",
        15,
        "a GPU has fallen off the bus: shut the host down, take it off the mains for a minute, start it again "
        "(a reboot alone may not bring it back)",
    ),
    (
        r"driver/library version mismatch",
        18,
        "the driver was updated while its old kernel module stayed loaded: reboot",
    ),
    (
        r"communicate with the nvidia driver",
        9,
        "the NVIDIA driver is not loaded: try 'modprobe nvidia' and read 'dmesg'; after a kernel update reboot or "
        "install the driver's modules for the running kernel",
    ),
    (
        r"no devices were found",
        6,
        _NO_GPU,
    ),
    (
        r"nvml shared library|libnvidia-ml",
        12,
        "the driver's library libnvidia-ml.so is missing: install libnvidia-compute of the driver's version",
    ),
    (
        r"insufficient permissions",
        4,
        "this user may not ask the GPU: run the task with become, or let the user open /dev/nvidia*",
    ),
    (
        r"initialize nvml: (?:unknown error|gpu access blocked)",
        0,
        "the driver is loaded, and this process may not open /dev/nvidia*, as in a container that lost its GPU: "
        "connect to the host itself; where nvidia-smi fails there too, read 'dmesg | grep NVRM' and reboot",
    ),
    (
        r"external power cables",
        8,
        "the GPU's external power is not attached: plug it in, and reboot",
    ),
    (
        r"interrupt issue",
        10,
        "the driver has trouble with an interrupt of the GPU: reboot, and update driver and firmware (fwupdmgr)",
    ),
    (
        r"(?!)",
        13,
        "the driver's library libnvidia-ml.so is older than nvidia-smi: install libnvidia-compute of the "
        "version of nvidia-smi",
    ),
    (
        r"(?!)",  # beside good rows it is no failure
        _INFOROM_STATUS,
        "status 14 warns of a damaged infoROM, which a GPU can work with, but nvidia-smi named no GPU with it: reboot, "
        "and read 'dmesg | grep NVRM'",
    ),
)


class NvidiaSmiError(ValueError):
    """nvidia-smi failed, or what it printed cannot be read; the message holds the mend."""


def explain_failure(rc: int, output: str) -> str:
    """Say what an exit status or a sentence of nvidia-smi means, and what to do."""
    meanings = [meaning for sentence, _rc, meaning in _FAILURES if re.search(sentence, output, re.IGNORECASE)]
    meanings += [meaning for _sentence, status, meaning in _FAILURES if status == rc and rc]
    meaning = meanings[0] if meanings else "run it by hand on the host to see more"
    said = " ".join(output.split())[:400]
    return f"nvidia-smi failed (exit status {rc}, it said {said!r}): {meaning}"


def read_answer(rc: int, out: str, err: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the GPUs, as :func:`parse_gpus` does, and what nvidia-smi warns of beside them, in words.

    :param rc: the exit status. Status 14 comes with all rows, and warns of a damaged infoROM.
    :raises NvidiaSmiError: where nvidia-smi failed, or knows no GPU.
    """
    said = f"{out}\n{err}"
    if not is_answer(rc, out):
        raise NvidiaSmiError(explain_failure(rc, said))
    gpus = parse_gpus(out)
    lines = list(dict.fromkeys(line.strip() for line in said.split("\n") if _WARNING.match(line)))
    if rc and not any(map(_INFOROM.search, lines)):
        lines.append("infoROM is corrupted, by its exit status 14")
    return gpus, [_warning(line) for line in lines]


def _warning(line: str) -> str:
    if not _INFOROM.search(line):
        return f"nvidia-smi said {line[:400]!r}"
    return (
        f"nvidia-smi said {line[:400]!r}: the GPU can be used, and the memory in which it keeps its own "
        "records is damaged. If that stays after a reboot, report it to the vendor"
    )


def _without_warnings(text: str) -> list[tuple[int, str]]:
    numbered = enumerate(text.split("\n"), start=1)
    return [(number, line) for number, line in numbered if line.strip() and not _WARNING.match(line)]


def is_answer(rc: int, out: str) -> bool:
    """Whether nvidia-smi listed what it was asked for: with status 0, or with status 14 and rows."""
    return rc == 0 or (rc == _INFOROM_STATUS and bool(_without_warnings(out)))


def driver_version(rc: int, out: str) -> str:
    """Return the version from ``nvidia-smi --query-gpu=driver_version --format=csv,noheader``, empty without one."""
    rows = _without_warnings(out) if is_answer(rc, out) else []
    return rows[0][1].strip() if rows else ""


def parse_gpus(text: str) -> list[dict[str, Any]]:
    """Read the answer to ``nvidia-smi --query-gpu=QUERY --format=csv,nounits``, with or without its header.

    Lines that begin with ``WARNING:`` are no rows, and are left out.
    """
    gpus: list[dict[str, Any]] = []
    for line in text.split("\n"):
        if any(re.search(sentence, line, re.IGNORECASE) for sentence, _rc, _meaning in _FAILURES):
            raise NvidiaSmiError(explain_failure(0, line))
    rows = _without_warnings(text)
    if rows and re.match(r"index,\s*uuid,\s*name,", rows[0][1]):
        rows.pop(0)
    for number, row in rows:
        gpu = _parse_row(number, row)
        for key in ("index", "uuid"):
            if any(gpu[key] == other[key] for other in gpus):
                raise NvidiaSmiError(f"line {number} of nvidia-smi's output names {key} {gpu[key]!r} a second time")
        gpus.append(gpu)
    if not gpus:
        raise NvidiaSmiError(f"nvidia-smi named no GPU: {_NO_GPU}")
    return gpus


def _parse_row(number: int, row: str) -> dict[str, Any]:
    left = row.split(",", 2)
    values = [value.strip() for value in left[:2] + left[-1].rsplit(",", 3)]
    if len(values) != len(_FORMS):
        raise NvidiaSmiError(f"line {number} of nvidia-smi's output is not a row of '{QUERY}': {row!r}")
    fields: dict[str, Any] = {}
    for (field, form), value in zip(_FORMS.items(), values):
        if field in ("compute_cap", "memory.total") and value.strip("[]").lower() in _NOT_TOLD:
            fields[field] = None
            continue
        match = re.fullmatch(form, value, re.ASCII)
        if match is None:
            raise NvidiaSmiError(
                f"line {number} of nvidia-smi's output: {field} is {value!r}, {_why_not(field, value)}: {row!r}"
            )
        fields[field] = match[match.lastindex or 0]
    memory = fields["memory.total"]
    return {
        "index": int(fields["index"]),
        "uuid": fields["uuid"],
        "name": fields["name"],
        "driver_version": fields["driver_version"],
        "compute_capability": fields["compute_cap"],
        "memory_total_mib": None if memory is None else int(memory),
    }


def _why_not(field: str, value: str) -> str:
    if value.startswith("MIG-"):
        return "a slice of a GPU (MIG), not a GPU; switch MIG off with 'nvidia-smi -mig 0'"
    if re.search(r"unknown error|err!|lost|reset", value, re.IGNORECASE):
        return (
            "so this GPU does not answer; reboot the host, and if that does not help take it off the mains for a minute"
        )
    return f"which has not the form of this field ({_FORMS[field]}); run nvidia-smi with LC_ALL=C"
