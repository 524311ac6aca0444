# SIMULATED: stands in for NVIDIA's container runtime hook in a virtual Spark.
"""The prestart hook of ``docker run --gpus`` under plain runc.

runc starts it when the container's mounts are made, before the container's root becomes its root. So it goes
into the container's mount namespace and puts there, below the container's root as the host sees it, what the
runtime would have written into the specification.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from nvidia_toolkit import config, edits, host, request

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND = 1, 2, 4, 32, 4096
NOT_SUPPORTED = (
    "invoking the NVIDIA Container Runtime Hook directly (e.g. specifying the docker --gpus flag) is not supported. "
    "Please use the NVIDIA Container Runtime (e.g. specify the --runtime=nvidia flag) instead."
)


def plan(spec: dict[str, Any], table: config.Table, here: request.Host) -> tuple[list[str], tuple[int, ...] | None]:
    """(what the hook prints, indices of the GPUs to give, None for a container that is left alone)."""
    wanted = request.read(spec, table, here, hook=True)
    if not wanted.devices:
        return [], None
    said = []
    if not config.get(table, "nvidia-container-runtime-hook.skip-mode-detection", False):
        said.append(request.mode_message(table, wanted.mode))
        if wanted.mode != "legacy":
            raise request.ToolkitError("\n".join([*said, NOT_SUPPORTED]))
    try:
        return said, request.select_gpus(wanted.devices, here, "legacy")
    except request.ToolkitError as error:
        raise request.ToolkitError("\n".join([*said, str(error)])) from None


def inside(root: Path, path: str) -> Path:
    """``path`` below ``root``, its symbolic links followed as the container would follow them."""
    done = root
    left = [part for part in path.split("/") if part]
    for _hop in range(255):
        if not left:
            return done
        part = left.pop(0)
        if part == "..":
            done = done.parent if done != root else root
            continue
        if part == ".":
            continue
        if (done / part).is_symlink():
            target = os.readlink(done / part)
            if target.startswith("/"):
                done = root
            left = [piece for piece in target.split("/") if piece] + left
            continue
        done = done / part
    raise OSError(f"too many symbolic links in {path}")


def devices_cgroup(pid: int) -> Path | None:
    """The directory of the container's device cgroup, on cgroup v1."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if "devices" in controllers.split(","):
            folder = Path("/sys/fs/cgroup/devices") / path.lstrip("/")
            return folder if folder.is_dir() else None
    return None


def put(
    pid: int,
    root: Path,
    gpus: list[str],
    nodes: list[edits.Node],
    sysfs: list[tuple[str, str, str | None]],
) -> None:
    """Enter the container's mount namespace and place everything. There is no way back, and none is needed."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: Path, kind: str | None, flags: int, data: str | None = None) -> None:
        raw = [None if text is None else os.fsencode(text) for text in (source, str(target), kind, data)]
        if libc.mount(*raw[:3], ctypes.c_ulong(flags), raw[3]):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(target))

    def bind(source: str, target: Path) -> None:
        mount(source, target, None, MS_BIND)
        mount(source, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)

    cgroup = devices_cgroup(pid)
    if cgroup:
        for node in nodes:
            (cgroup / "devices.allow").write_text(f"c {node.major}:{node.minor} rwm")
    with Path(f"/proc/{pid}/ns/mnt").open("rb") as namespace:
        os.setns(namespace.fileno(), CLONE_NEWNS)
    smi = inside(root, edits.SMI)
    smi.parent.mkdir(parents=True, exist_ok=True)
    smi.touch()
    bind(edits.SMI, smi)
    listed = inside(root, edits.GPUS)
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(f"{uuid}\n" for uuid in gpus))
    if Path(edits.FAULTS).is_dir():
        faults = inside(root, edits.FAULTS)
        faults.mkdir(parents=True, exist_ok=True)
        bind(edits.FAULTS, faults)
    for node in nodes:
        path = inside(root, node.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.mknod(path, stat.S_IFCHR | node.mode, os.makedev(node.major, node.minor))
        path.chmod(node.mode)
    for source, place, layers in sysfs:
        path = inside(root, place)
        if layers:
            mount(source, path, "overlay", MS_RDONLY, f"lowerdir={layers}")
        else:
            path.mkdir(parents=True, exist_ok=True)
            bind(source, path)


def prestart() -> int:
    try:
        state = json.load(sys.stdin)
        bundle = Path(state.get("bundle") or state.get("bundlePath") or "")
        spec = json.loads((bundle / "config.json").read_text())
        here = host.find()
        said, given = plan(spec, config.load(config.default_path()), here)
        for line in said:
            print(line, file=sys.stderr)
        if given is None:
            return 0
        names = [f"nvidia{index}" for index in given]
        patterns = [*names, "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"] if given else []
        nodes = edits.find_nodes(Path("/dev"), patterns)
        root = Path(bundle, spec["root"]["path"])  # an absolute path stays as it is
        # The runtime has laid the RDMA class already where it was asked; plain runc has not.
        laid = any(mount.get("destination") == "/sys/class" for mount in spec.get("mounts") or [])
        sysfs = edits.rdma_sysfs(str(root)) if edits.is_about_rdma(spec) and not laid else []
        put(int(state["pid"]), root, [here.gpus[index] for index in given], nodes, sysfs)
    except (OSError, ValueError, KeyError, request.ToolkitError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main(arguments: list[str]) -> int:
    words = [word for word in arguments if not word.startswith("-")]
    if any(word.lstrip("-") == "version" for word in arguments if word.startswith("-")):
        print(f"NVIDIA Container Runtime Hook version {config.version()}\ncommit: simulated")
        return 0
    if words[:1] == ["prestart"]:
        return prestart()
    if words[:1] in (["poststart"], ["poststop"]):
        return 0
    print("Usage of nvidia-container-runtime-hook:\n\nCommands:\n  prestart\n        run the prestart hook\n"
          "  poststart\n        no-op\n  poststop\n        no-op", file=sys.stderr)  # fmt: skip
    return 2
