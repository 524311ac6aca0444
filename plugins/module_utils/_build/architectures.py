# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For which GPUs a library has code, by what cuobjdump lists, and which of that runs on a GB10.

This module util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Iterable, Mapping, Sequence

#: the compute capability of a GB10, and what TensorRT-LLM's build is asked for
GB10 = 121
WANTED = "120-real"
#: of the library that holds the most kernels; where it has none for a GPU, nothing runs there
MAIN = "libtensorrt_llm.so"

_ASKED = re.compile(r"(?P<number>\d{2,3})(?P<kind>[af]?)-real", re.ASCII)
_LISTED = re.compile(r"\.sm_(?P<arch>\d{2,3}[af]?)\.(?P<form>cubin|ptx)\s*$", re.ASCII)
_COUNTED = re.compile(r"\s*\d+ sm_(?P<arch>\d{2,3}[af]?)\.(?P<form>cubin|ptx)", re.ASCII)
_LIBRARY = "library "

# cuobjdump ends with 255 where a library has no device code. Its list names every cubin, tens of thousands of them in
# the largest library, so they are counted where they are listed.
SCRIPT = (
    'export PATH="$PATH:/usr/local/cuda/bin"; '
    "command -v cuobjdump >/dev/null || { echo 'no cuobjdump'; exit 0; }; "
    'for one in "$0"/libs/*.so "$0"/*.so; do '
    'if [ -f "$one" ]; then '
    'echo "library $(basename "$one")"; '
    'for list in --list-elf --list-ptx; do cuobjdump "$list" "$one" 2>/dev/null; done '
    "| grep --only-matching --extended-regexp 'sm_[0-9]+[af]?\\.(cubin|ptx)$' | sort | uniq --count; "
    "fi; done; echo end"
)


def runs_on(arch: str, form: str, capability: int = GB10) -> bool:
    """Whether code runs on a GPU of a compute capability.

    Machine code runs on what has the same first number and no smaller second one. With the suffix a it runs on that GPU
    alone, with f on its family, which is the same first number. PTX is compiled for every GPU that is not older, unless
    it has a suffix.

    :param arch: such as 90a. :param form: cubin or ptx.

    >>> [runs_on(one, "cubin") for one in ("120", "120f", "120a", "121a", "100f", "90a")]
    [True, True, False, True, False, False]
    >>> runs_on("90", "ptx"), runs_on("90a", "ptx"), runs_on("120f", "ptx"), runs_on("130", "ptx")
    (True, False, True, False)
    """
    suffix = arch[-1] if arch[-1] in "af" else ""
    number = int(arch[:-1] if suffix else arch)
    if suffix == "a":
        return number == capability
    family = number // 10 == capability // 10
    if suffix == "f" or form == "cubin":
        return family and number <= capability
    return number <= capability


def listed(lines: Iterable[str]) -> list[str]:
    """What cuobjdump lists of one library, as ``sm_120.cubin``, each once.

    Its list leaves the f of a family out, and keeps the a.

    >>> listed(["ELF file    1: liba.1.sm_90a.cubin", "PTX file    1: liba.1.sm_120.ptx"])
    ['sm_120.ptx', 'sm_90a.cubin']
    """
    found = [_LISTED.search(line) for line in lines]
    return sorted({f"sm_{one['arch']}.{one['form']}" for one in found if one})


def counted(lines: Sequence[str]) -> dict[str, list[str]] | None:
    """What the script printed, by library; None where it did not end, or the image has no cuobjdump.

    >>> counted(["library a.so", "     12 sm_120.cubin", "library b.so", "end"])
    {'a.so': ['sm_120.cubin'], 'b.so': []}
    """
    if "end" not in [line.strip() for line in lines]:
        return None
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        if line.startswith(_LIBRARY):
            name = line[len(_LIBRARY) :].strip()
            found[name] = []
        count = _COUNTED.fullmatch(line.rstrip())
        if count and name:
            found[name].append(f"sm_{count['arch']}.{count['form']}")
    return found


def without(found: Mapping[str, Sequence[str]], capability: int = GB10) -> list[str]:
    """The libraries that have code for GPUs, and none that runs on one of this compute capability.

    >>> without({"a.so": ["sm_90a.cubin"], "b.so": ["sm_120.cubin"], "c.so": []})
    ['a.so']
    """
    return [
        name for name, codes in found.items() if codes and not any(runs_on(*_split(code), capability) for code in codes)
    ]


def _split(code: str) -> tuple[str, str]:
    arch, _dot, form = code[len("sm_") :].partition(".")
    return arch, form


def problem(found: Mapping[str, Sequence[str]], capability: int = GB10) -> str:
    """Why an image with these libraries cannot serve on such a GPU, or nothing.

    >>> problem({MAIN: ["sm_120.cubin"], "libdeep_ep.so": ["sm_90a.cubin"]})
    ''
    >>> problem({MAIN: ["sm_100.cubin", "sm_90a.cubin"]})
    'libtensorrt_llm.so has code for sm_100 and sm_90a, and none that runs on sm_121'
    """
    lacking = without(found, capability)
    if MAIN in lacking:
        codes = sorted({code.partition(".")[0] for code in found[MAIN]})
        return f"{MAIN} has code for {' and '.join(codes)}, and none that runs on sm_{capability}"
    if not any(found.values()):
        return "none of its libraries has code for any GPU"
    return "" if len(lacking) < sum(bool(codes) for codes in found.values()) else "no library has code that runs here"


def asked_problem(wanted: str, capability: int = GB10) -> str:
    """Why a build for these architectures makes no sense on such a GPU, or nothing.

    :param wanted: as CMake has it, with semicolons between.

    >>> asked_problem("120-real"), asked_problem("90-real;120-real"), asked_problem("120")
    ('', '', "'120' is none of CMake's CUDA architectures: give such as 120-real, with semicolons between")
    """
    parts = wanted.split(";")
    for part in parts:
        if not _ASKED.fullmatch(part):
            return f"{part!r} is none of CMake's CUDA architectures: give such as 120-real, with semicolons between"
    if not any(runs_on(part[: -len("-real")], "cubin", capability) for part in parts):
        return f"none of {wanted} runs on sm_{capability}: give {WANTED}"
    return ""


def asked_warning(wanted: str) -> str:
    """What is to be known of these architectures, or nothing.

    TensorRT-LLM's build compiles 120 for the whole family (120f, with CUDA 12.9 and newer), which GB10 is of. It leaves
    out the kernels that EXCLUDE_SM_120 switches off where 120 itself is not asked for.

    >>> asked_warning("120-real"), asked_warning("121-real")[:38]
    ('', "CUDA_ARCHS has no 120: TensorRT-LLM's ")
    """
    if any(part.startswith("120") for part in wanted.split(";")):
        return ""
    return (
        f"CUDA_ARCHS has no 120: TensorRT-LLM's build then leaves out the kernels of SM 120, which a GB10 runs "
        f"(EXCLUDE_SM_120 in cpp/cmake/modules/cuda_configuration.cmake); {WANTED} is compiled for the whole family"
    )
