# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container that looks at the GPUs: what has to be in its image, and what its failure means.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from pathlib import Path
from typing import Any, Iterable, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import reads

#: the images of the roles container_toolkit and swarm_gpu; they are only ever asked for by ID or on this host
NAME = "dgx-spark/gpu-probe:host"
SWARM_NAME = "dgx-spark/swarm-probe:host"
LABEL = "sparkops.dgx_spark.probe"
SHELL = "/bin/sh"

# The exit status is all that a task of Swarm says at its end. These bits of it tell what the task did not see.
_STATUS = 64
_CGROUP = (
    "the container's device cgroup, which does not let it open /dev/nvidia*. Set no-cgroups = false in "
    "/etc/nvidia-container-runtime/config.toml (nvidia-ctk config --in-place --set "
    "nvidia-container-cli.no-cgroups=false), and start the container again: where Docker uses the cgroup driver "
    "systemd, each 'systemctl daemon-reload' takes the GPUs from running containers"
)
_WRONG = {
    1: "other GPUs than {gpus}",
    2: "no /dev/infiniband",
    4: "a limit of locked memory below {memlock}",
}
# Where nvidia-smi fails in it, the exit status is that of nvidia-smi, four times, with the bits 2 and 4 from above
# halved. Statuses of 1 to 19 count as they are; of others these, and 0 for the rest.
_FAILED = 160
_SQUEEZED = {126: 20, 127: 21, 255: 22}
# Lines of nvidia-smi that do not begin with GPU- are warnings. Status 14 is one, of a damaged infoROM beside good rows.
# With status 255 it has several words to say.
PROGRAM = f"""
wrong={_STATUS} seen=0
said=$(nvidia-smi --query-gpu=uuid --format=csv,noheader 2>&1)
failed=$?
case $failed in
  0 | 14) failed= ;;
  [1-9] | 1[0-9]) ;;
  126) failed={_SQUEEZED[126]} ;;
  127) failed={_SQUEEZED[127]} ;;
  255)
    failed={_SQUEEZED[255]}
    case "$said" in *"device handle"* | *"GPU is lost"*) failed=15 ;; *mismatch*) failed=18 ;; esac
    ;;
  *) failed=0 ;;
esac
set -f
IFS='
'
for gpu in $said; do
  case "$gpu" in GPU-*) ;; *) continue ;; esac
  seen=$((seen + 1))
  case " $GPUS " in *" $gpu "*) ;; *) wrong=$((wrong | 1)) ;; esac
done
[ "$seen" = "$GPU_COUNT" ] || wrong=$((wrong | 1))
set +f
if [ "$RDMA" = yes ]; then
  for device in /dev/infiniband/rdma_cm /dev/infiniband/uverbs*; do [ -c "$device" ] || wrong=$((wrong | 2)); done
  limit=$(ulimit -l)
  [ "$limit" = unlimited ] || {{ [ "$MEMLOCK" != unlimited ] && [ "$limit" -ge "$MEMLOCK" ]; }} || wrong=$((wrong | 4))
fi
[ -z "$failed" ] || exit $(({_FAILED} + 4 * failed + (wrong & 6) / 2))
[ $wrong = {_STATUS} ] || exit $wrong
"""

_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$")

# How nvidia-smi, and how the runtime, begins to say why NVML did not start.
_NVML = r"(?:initialize nvml: |nvml error: )"
# How runc begins to say that a file of the host is missing, whether or not Docker made that file.
_MOUNTING = r'error mounting \\?"(?![^"]*/(?:resolv\.conf|hostname|hosts)\\?")/|failed to fulfil mount request'
_WRITE_CDI = (
    "Have it written anew with 'systemctl restart nvidia-cdi-refresh' where the toolkit has that service (it writes "
    "/var/run/cdi/nvidia.yaml), and with 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml' where it does not, "
    "or where that file is"
)
# What Docker or the runtime says, what it means, and what to do. The first one that is found counts.
_MEANINGS = (
    (
        r"invoking the NVIDIA Container Runtime Hook directly",
        "the toolkit is in mode 'cdi', which does not know --gpus: set nvidia-container-runtime.mode to 'auto' "
        "(nvidia-ctk config --in-place --set nvidia-container-runtime.mode=auto)",
    ),
    (
        rf"{_NVML}(?:unknown error|insufficient permissions|gpu access blocked)",
        f"it may not open the GPU's devices, although the driver is loaded. That is mostly {_CGROUP}. With SELinux, "
        "set its boolean container_use_devices",
    ),
    (
        rf"{_NVML}driver/library version mismatch",
        "the driver was updated while its old kernel module stayed loaded: reboot the host",
    ),
    (
        rf"(?:{_MOUNTING}|failed to stat CDI host device|error gathering device information).*no such file|"
        r'(?:nvidia-cdi-hook|nvidia-ctk)\\?"?: (?:executable file not found|no such file)',
        "a CDI specification in /etc/cdi or /var/run/cdi is out of date, as after an update of the driver: what it "
        f"names is not on the host. {_WRITE_CDI}. A device alone, such as /dev/nvidia-modeset, comes with "
        "'nvidia-modprobe -u -m'",
    ),
    (
        r"ERROR_LIBRARY_NOT_FOUND|libnvidia-ml",
        "the libraries of the driver are missing on the host, or a CDI specification in /etc/cdi still names those of "
        "another driver: install libnvidia-compute of the driver's version, and run 'nvidia-ctk cdi generate "
        "--output=/etc/cdi/nvidia.yaml' anew where that file is",
    ),
    (
        rf"{_NVML}driver not loaded|couldn't communicate with the NVIDIA driver",
        "the NVIDIA driver is not loaded: check that 'nvidia-smi' works on the host, and reboot if it was just updated",
    ),
    (r"GPU is lost|unable to determine the device handle", "the GPU fell off the bus: reboot the host"),
    (
        r"No devices were found|No supported GPUs were found",
        "the NVIDIA runtime gave it none: check that 'nvidia-smi' lists the GPU on the host, and that neither the "
        "image nor Docker's configuration sets NVIDIA_VISIBLE_DEVICES to void or none",
    ),
    (
        _NVML,
        "the library of the driver did not start in it: see whether 'nvidia-smi' works on the host. If it does not, "
        "reboot; if it does, start the container again, and compare the versions of driver and toolkit",
    ),
    (
        r"BPF_CGROUP_DEVICE|failed to add device rules",
        "this version of the NVIDIA Container Toolkit does not know the host's cgroups: upgrade "
        "nvidia-container-toolkit and libnvidia-container1",
    ),
    (
        r"unresolvable CDI devices",
        "the toolkit looks for the GPU in a CDI specification that does not have it: set nvidia-container-runtime.mode "
        "to 'auto', or write one (nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml)",
    ),
    (
        r"failed to discover GPU vendor from CDI|no known GPU vendor found",
        "Docker was asked for GPUs with --gpus, and knows neither the NVIDIA Container Toolkit nor a CDI specification "
        "of a GPU: check that nvidia-container-toolkit is installed, write the specification ('systemctl restart "
        "nvidia-cdi-refresh', or 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml'), and restart Docker",
    ),
    (
        r"could not select device driver [\\\"']*cdi",
        "CDI is switched off in Docker: set features.cdi to true in /etc/docker/daemon.json, and restart Docker",
    ),
    (
        r'"?nvidia-smi"?: executable file not found',
        "the container started without the NVIDIA runtime: check that 'docker info' names 'nvidia' as default runtime, "
        "and that nvidia-container-runtime.mode in config.toml is 'auto'",
    ),
    (
        r"unknown or invalid runtime name|could not select device driver|"
        r"nvidia-container-runtime\"?: executable file not found",
        "Docker does not know the NVIDIA runtime: restart Docker, and check that nvidia-container-toolkit is installed",
    ),
    (r"Unable to find image|No such image", "the image is not on the host: pull it, or name one that is"),
)
# What nvidia-smi, or NVML, says with an exit status, for where nothing but that is known.
_SENTENCES = {
    4: "Failed to initialize NVML: Insufficient Permissions",
    6: "No devices were found",
    9: "Failed to initialize NVML: Driver Not Loaded",
    12: "libnvidia-ml",
    15: "GPU is lost",
    17: "Failed to initialize NVML: GPU access blocked",
    18: "Failed to initialize NVML: Driver/library version mismatch",
    127: "nvidia-smi: executable file not found",
    255: "Failed to initialize NVML: Unknown Error",
}
_ANY_OTHER = "Failed to initialize NVML: "


class GpuProbeError(ValueError):
    """The GPUs could not be seen from inside a container."""


_reads_tasks = reads(
    GpuProbeError,
    "Docker Engine's answer about tasks",
    "compare 'docker version' with what this collection needs (Docker 20.10 or later), and report it if that fits",
)


def libraries(ldd: str) -> list[str]:
    """Return the files that a program loads, from what ``ldd`` prints."""
    if "=> not found" in ldd:
        raise GpuProbeError(f"a library is missing on the host: {ldd.strip()}")
    found = [match[1] for match in map(_LIBRARY.match, ldd.splitlines()) if match]
    return list(dict.fromkeys(found))


def interpreter(head: bytes) -> str | None:
    """Return the program that runs a script, None for anything but a script."""
    if not head.startswith(b"#!"):
        return None
    words = head[2:].split(b"\n", 1)[0].split()
    return words[0].decode(errors="replace") if words else None


def archive(paths: Iterable[str]) -> bytes:
    """Return a root file system (tar) with these files at these places, links resolved."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path in dict.fromkeys(paths):
            content = Path(path).read_bytes()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def explain(rc: int, said: str) -> str:
    """Say in words, with the mend, why a container did not show the GPUs."""
    said = said.strip() or "(no message)"
    meaning = _meaning(said)
    if meaning is not None:
        return f"a container cannot see the GPUs, because {meaning}. Docker said: {said}"
    return f"a container cannot see the GPUs (exit status {rc}): {said}"


def _meaning(said: str) -> str | None:
    return next((meaning for pattern, meaning in _MEANINGS if re.search(pattern, said, re.IGNORECASE)), None)


def fingerprint(root: bytes) -> str:
    """Return what tells one root file system from another."""
    return hashlib.sha256(root).hexdigest()[:16]


def probe_service(
    name: str, node_id: str, image: str, kind: str, gpus: Sequence[str], *, reserve: int, rdma: bool, memlock: int
) -> dict[str, Any]:
    """Return a service that starts once on this node and ends with a status that says what it saw.

    ``reserve`` GPUs are reserved, none where a model has them. ``memlock`` is in bytes, -1 for no limit.
    """
    environment = {
        "NVIDIA_VISIBLE_DEVICES": "all",  # swarm-resource outranks it where the toolkit knows that
        "NVIDIA_DRIVER_CAPABILITIES": "utility",
        "NVIDIA_MOFED": "enabled" if rdma else "",
        "GPUS": " ".join(gpus),
        "GPU_COUNT": str(len(gpus)),
        "RDMA": "yes" if rdma else "no",
        "MEMLOCK": "unlimited" if memlock < 0 else str(memlock // 1024),
    }
    container: dict[str, Any] = {
        "Image": image,
        "Command": [SHELL, "-c", PROGRAM],
        "Env": [f"{key}={value}" for key, value in environment.items() if value],
    }
    if rdma:
        container.update(Ulimits=[{"Name": "memlock", "Soft": -1, "Hard": -1}], CapabilityAdd=["CAP_IPC_LOCK"])
    template: dict[str, Any] = {
        "ContainerSpec": container,
        "RestartPolicy": {"Condition": "none"},
        "Placement": {"Constraints": [f"node.id=={node_id}"]},
        "Networks": [{"Target": "host"}],
    }
    if reserve:
        resource = {"DiscreteResourceSpec": {"Kind": kind, "Value": reserve}}
        template["Resources"] = {"Reservations": {"GenericResources": [resource]}}
    mode = {"Replicated": {"Replicas": 1}}
    return {"Name": name, "Labels": {LABEL: "service"}, "TaskTemplate": template, "Mode": mode}


@_reads_tasks
def reserved(tasks: Iterable[dict[str, Any]], node_id: str, kind: str) -> int:
    """Return how many of a node's GPUs tasks of Swarm have (the API's own reference names that key wrongly)."""
    of_kind = [
        one
        for task in tasks
        if task.get("NodeID") == node_id and task.get("DesiredState") == "running"
        for one in task.get("GenericResources") or []
        if "NamedResourceSpec" in one and one["NamedResourceSpec"]["Kind"] == kind
    ]
    return len(of_kind)


@_reads_tasks
def task_problem(task: dict[str, Any] | None, gpus: Sequence[str], memlock: int) -> str | None:
    """Return what a probe's task did not see, "" if it saw all, None as long as it is not done."""
    if task is None:
        return None
    status = task["Status"]
    state, code = status["State"], (status.get("ContainerStatus") or {}).get("ExitCode", 0)
    if state == "complete":
        return ""
    expected = {"gpus": ", ".join(gpus), "memlock": "unlimited" if memlock < 0 else f"{memlock} bytes"}
    if state == "failed" and _STATUS < code < _STATUS + 2 * max(_WRONG):
        return f"sees {_listed(code - _STATUS, expected)}"
    if state == "failed" and _FAILED <= code < _FAILED + 4 * (max(_SQUEEZED.values()) + 1):
        number, bits = divmod(code - _FAILED, 4)
        more = _listed(2 * bits, expected)
        return f"sees {more and more + ' and '}no GPU: {_failure(number)}"
    if state in ("failed", "rejected"):
        return f"did not start: {explain(code, status.get('Err', ''))}"
    return None


def _listed(bits: int, expected: dict[str, str]) -> str:
    return " and ".join(words.format(**expected) for bit, words in _WRONG.items() if bits & bit)


def _failure(number: int) -> str:
    """Say why nvidia-smi failed in a task."""
    status = {squeezed: given for given, squeezed in _SQUEEZED.items()}.get(number, number)
    ended = f"status {status}" if status else "a status of its own"
    return f"nvidia-smi ended with {ended} in it, because {_meaning(_SENTENCES.get(status, _ANY_OTHER))}"
