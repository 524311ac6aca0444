# SIMULATED: what NVIDIA's container toolkit writes into an OCI specification in a virtual Spark.
"""The edits of a container's config.json. Every function takes the specification and changes it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvidia_toolkit import request
from nvidia_toolkit.request import Host, Request, ToolkitError

Spec = dict[str, Any]

READ_ONLY = ["ro", "nosuid", "nodev", "rbind", "rprivate"]
HOOK = "/usr/bin/nvidia-container-runtime-hook"
SMI = "/usr/bin/nvidia-smi"
GPUS = "/etc/virtual-spark/gpus"
FAULTS = "/etc/virtual-spark/faults"
RUN = "/run/virtual-spark"


@dataclass(frozen=True)
class Node:
    """A character device of the machine."""

    path: str
    major: int
    minor: int
    mode: int = 0o666


def find_nodes(dev: Path, patterns: list[str]) -> list[Node]:
    """The character devices below ``dev`` that match; a missing one is left out without a word, as by the real one."""
    found = []
    for pattern in patterns:
        for path in sorted(dev.glob(pattern)):
            about = path.stat()
            if stat.S_ISCHR(about.st_mode):
                numbers = os.major(about.st_rdev), os.minor(about.st_rdev)
                found.append(Node(f"/dev/{path.relative_to(dev)}", *numbers, stat.S_IMODE(about.st_mode)))
    return found


def set_env(spec: Spec, name: str, value: str) -> None:
    """Replace a variable, or add it."""
    env = spec.setdefault("process", {}).setdefault("env", [])
    env[:] = [item for item in env if item.partition("=")[0] != name] + [f"{name}={value}"]


def add_node(spec: Spec, node: Node) -> None:
    """A device node and the cgroup rule that lets it be opened."""
    linux = spec.setdefault("linux", {})
    devices = linux.setdefault("devices", [])
    user = spec.get("process", {}).get("user") or {}
    device: dict[str, Any] = {
        "path": node.path,
        "type": "c",
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode,
    }
    device.update({key: user[key] for key in ("uid", "gid") if user.get(key)})
    devices[:] = [one for one in devices if one.get("path") != node.path] + [device]
    rules = linux.setdefault("resources", {}).setdefault("devices", [])
    rules.append({"allow": True, "type": "c", "major": node.major, "minor": node.minor, "access": "rwm"})


def add_mount(spec: Spec, source: str, destination: str, options: list[str] | None = None, kind: str = "bind") -> None:
    mounts = spec.setdefault("mounts", [])
    mount = {"destination": destination, "type": kind, "source": source, "options": options or READ_ONLY}
    mounts[:] = [one for one in mounts if one.get("destination") != destination] + [mount]


def drop_nvidia_hooks(spec: Spec) -> None:
    hooks = spec.get("hooks") or {}
    if hooks.get("prestart"):
        hooks["prestart"] = [hook for hook in hooks["prestart"] if not request.is_nvidia_hook(hook)]


def add_gpus(spec: Spec, indices: tuple[int, ...], gpus_file: str, dev: Path = Path("/dev")) -> None:
    """nvidia-smi, the GPUs that it is to see, and their device nodes."""
    add_mount(spec, SMI, SMI)
    add_mount(spec, gpus_file, GPUS)
    if Path(FAULTS).is_dir():  # a GPU that fails on the host fails in the containers that run
        add_mount(spec, FAULTS, FAULTS)
    if indices:
        names = [f"nvidia{index}" for index in indices]
        for node in find_nodes(dev, [*names, "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"]):
            add_node(spec, node)


def add_rdma(spec: Spec, dev: Path = Path("/dev")) -> None:
    """NVIDIA_MOFED=enabled: the RDMA device nodes."""
    for node in find_nodes(dev, ["infiniband/uverbs*", "infiniband/rdma_cm"]):
        add_node(spec, node)


def is_about_rdma(spec: Spec) -> bool:
    """Whether the container gets RDMA device nodes (by the toolkit or ``docker run --device``), or asked for some."""
    devices = (spec.get("linux") or {}).get("devices") or []
    given = any(str(device.get("path", "")).startswith("/dev/infiniband/") for device in devices)
    return given or request.environment(spec).get("NVIDIA_MOFED") == "enabled"


def rdma_sysfs(root: str, run: str = RUN) -> list[tuple[str, str, str | None]]:
    """Mounts (source, place below ``root``, lower layers of an overlay) that show the RDMA class in a container.

    Not an edit of the real toolkit: on real hardware every container's /sys has the class by itself. Here a
    container's /sys is the kernel's, which knows of no RDMA device, so the class is laid over it as it was laid
    over the Spark's own. Done where a container gets or asked for RDMA device nodes; others have no use for it.
    """
    if not Path(f"{run}/skeleton").is_dir():  # no RDMA driver (a fault), or not a virtual Spark
        return []
    if not root.startswith("/") or any(mark in root for mark in ":,\\"):  # not to be had in an overlay's options
        return []
    names = ("infiniband", "infiniband_verbs")
    return [
        ("overlay", "/sys/class", f"{run}/skeleton:{root}/sys/class"),
        (f"{run}/devices", f"{run}/devices", None),
        *((f"/sys/class/{name}", f"/sys/class/{name}", None) for name in names),
    ]


def show_rdma_sysfs(spec: Spec) -> None:
    if is_about_rdma(spec):
        for source, place, layers in rdma_sysfs((spec.get("root") or {}).get("path", "")):
            if layers:
                add_mount(spec, source, place, ["ro", f"lowerdir={layers}"], "overlay")
            else:
                add_mount(spec, source, place)


def apply(spec: Spec, wanted: Request, host: Host, gpus_file: str, dev: Path = Path("/dev")) -> tuple[int, ...] | None:
    """All edits for one container. Returns the GPUs given, or None where none are given here."""
    if wanted.mode == "cdi":
        drop_nvidia_hooks(spec)
        return _apply_cdi(spec, wanted, host, gpus_file, dev)
    if wanted.mode == "csv":
        raise ToolkitError("mode csv is for Tegra: not simulated in a virtual Spark")
    if wanted.mode == "legacy":
        _apply_legacy(spec, wanted, host, dev)
        return None
    drop_nvidia_hooks(spec)
    if not wanted.devices:
        return None
    return _apply_automatic(spec, wanted, wanted.devices, host, gpus_file, dev)


def _apply_automatic(
    spec: Spec, wanted: Request, devices: tuple[str, ...], host: Host, gpus_file: str, dev: Path
) -> tuple[int, ...]:
    """A CDI specification made on the spot."""
    try:
        given = request.select_gpus(devices, host, "jit-cdi")
    except ToolkitError as error:
        text = f'failed to create the automatic CDI modifier: failed to generate CDI spec for mode "auto": {error}'
        raise ToolkitError(text) from None
    add_gpus(spec, given, gpus_file, dev)
    if not given:
        set_env(spec, "NVCT_EMPTY_DEVICE", "")
    set_env(spec, "NVIDIA_VISIBLE_DEVICES", "void")  # done: no second NVIDIA runtime below is to do it again
    if wanted.mofed:
        add_rdma(spec, dev)
    return given


def _apply_cdi(spec: Spec, wanted: Request, host: Host, gpus_file: str, dev: Path) -> tuple[int, ...] | None:
    """Named CDI devices. A virtual Spark has no specification files, so only automatic names are found."""
    names = [one if request.QUALIFIED.match(one) else f"nvidia.com/gpu={one or 'none'}" for one in wanted.devices]
    if not names:
        return None
    if all(name.startswith(request.AUTOMATIC) for name in names):
        ids = tuple(name[len(request.AUTOMATIC) :] for name in names)
        return _apply_automatic(spec, wanted, ids, host, gpus_file, dev)
    raise ToolkitError(f"failed to inject CDI devices: unresolvable CDI devices {', '.join(names)}")


def _apply_legacy(spec: Spec, wanted: Request, host: Host, dev: Path) -> None:
    """The prestart hook, which does the rest when runc starts it; gated devices are the runtime's own work."""
    if wanted.devices and wanted.mofed:
        add_rdma(spec, dev)
        if host.number >= (1, 19):
            # By the source of 1.19 and 1.20: gated devices come from a made-up CDI specification there, and each
            # of those sets this variable. The hook reads it afterwards and finds no GPU asked for, unless
            # swarm-resource names another variable. Not seen on hardware.
            set_env(spec, "NVIDIA_VISIBLE_DEVICES", "void")
    hooks = spec.get("hooks") or {}
    prestart = hooks.get("prestart") or []
    if not any(request.is_nvidia_hook(hook) for hook in prestart):
        hooks["prestart"] = [*prestart, {"path": HOOK, "args": [HOOK.rsplit("/", 1)[-1], "prestart"]}]
        spec["hooks"] = hooks
