# SIMULATED: what a container asks of NVIDIA's container toolkit in a virtual Spark.
"""Pure functions: which mode serves a container, which GPUs and which gated devices it is to get.

Followed: the source of toolkit 1.18.2, 1.19.0 and 1.20.0, and what NVIDIA's own runtime was seen to do on a
machine with two GPUs (the project's verified.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nvidia_toolkit import config

QUALIFIED = re.compile(r"^[A-Za-z][\w.-]*/[A-Za-z][\w.-]*=[\w.:-]+$")  # a CDI device: vendor/class=name
AUTOMATIC = "runtime.nvidia.com/gpu="
MODES = ("legacy", "csv", "jit-cdi", "cdi")
HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-toolkit")


class ToolkitError(Exception):
    """What the toolkit would refuse a container with."""


@dataclass(frozen=True)
class Host:
    """What the toolkit finds on the machine."""

    gpus: tuple[str, ...]
    version: str = config.VERSION
    driver: bool = True
    lost: bool = False  # the GPU fell off the bus

    @property
    def number(self) -> tuple[int, int]:
        return config.number(self.version)


@dataclass(frozen=True)
class Request:
    """What one container asks for. ``devices`` is empty for a container that is left alone."""

    mode: str
    devices: tuple[str, ...] = ()
    mofed: bool = False


def environment(spec: dict[str, Any]) -> dict[str, str]:
    """The process's environment; the last of several values counts."""
    pairs = (item.partition("=") for item in (spec.get("process") or {}).get("env") or [])
    return {name: value for name, _equals, value in pairs}


def is_privileged(spec: dict[str, Any]) -> bool:
    capabilities = (spec.get("process") or {}).get("capabilities") or {}
    return "CAP_SYS_ADMIN" in (capabilities.get("bounding") or [])


def swarm_variables(table: config.Table) -> list[str]:
    """swarm-resource: a comma-separated list of names of variables, at the top level of the file only."""
    value = config.get(table, "swarm-resource", "")
    return [name.strip() for name in str(value).split(",") if name.strip()]


def visible_devices(env: dict[str, str], preferred: list[str]) -> tuple[str, ...]:
    """The devices asked for: () to leave the container alone, ("",) for the driver without a GPU."""
    names = [name for name in preferred if name in env] or ["NVIDIA_VISIBLE_DEVICES"]
    asked = [part.strip() for name in names for part in env.get(name, "").split(",") if part.strip()]
    is_set = any(name in env for name in names)
    if not is_set and env.get("CUDA_VERSION") and not env.get("NVIDIA_REQUIRE_CUDA"):
        asked = ["all"]  # an image from before the variable
    if not asked or "void" in asked:
        return ()
    for one in asked:  # the first of these words decides
        if one == "all":
            return ("all",)
        if one == "none":
            return ("",)
    return tuple(dict.fromkeys(asked))


def resolve_mode(table: config.Table, devices: tuple[str, ...], version: tuple[int, int], hook: bool = False) -> str:
    """The mode of the configuration, or what ``auto`` means: jit-cdi since 1.18, legacy before and in the hook."""
    mode = config.get(table, "nvidia-container-runtime.mode", "auto")
    if mode != "auto":
        return str(mode)
    if devices and all(QUALIFIED.match(device) for device in devices):
        return "cdi"
    return "legacy" if hook or version < (1, 18) else "jit-cdi"


def mode_message(table: config.Table, mode: str) -> str:
    """What the hook says first."""
    configured = config.get(table, "nvidia-container-runtime.mode", "auto")
    return f"Auto-detected mode as '{mode}'" if configured == "auto" else f"Using requested mode '{mode}'"


def read(spec: dict[str, Any], table: config.Table, host: Host, hook: bool = False) -> Request:
    """What the container asks of the runtime (or of the hook that Docker put there)."""
    env = environment(spec)
    accepted = config.get(table, "accept-nvidia-visible-devices-envvar-when-unprivileged", True) or is_privileged(spec)
    # The hook always knew Swarm's variables; the runtime itself knows them since 1.19.
    preferred = swarm_variables(table) if hook or host.number >= (1, 19) else []
    devices = visible_devices(env, preferred) if accepted else ()
    mode = resolve_mode(table, devices, host.number, hook)
    if not hook and mode not in MODES:
        raise ToolkitError(f'invalid mode "{mode}"')
    return Request(mode, devices, env.get("NVIDIA_MOFED") == "enabled")


def select_gpus(devices: tuple[str, ...], host: Host, mode: str) -> tuple[int, ...]:
    """Indices of the GPUs asked for; the words are those of NVML in jit-cdi mode, of libnvidia-container else."""
    legacy = mode == "legacy"
    if not host.driver:
        if legacy:
            raise ToolkitError("nvidia-container-cli: initialization error: nvml error: driver not loaded")
        raise ToolkitError("failed to construct device spec generators: failed to initialize NVML: Driver Not Loaded")
    if host.lost:
        if legacy:
            raise ToolkitError("nvidia-container-cli: detection error: nvml error: gpu is lost")
        raise ToolkitError(
            "failed to construct device spec generators: failed to get full GPU device editors: "
            "error getting device handle for index '0': GPU is lost"
        )
    if "" in devices or "none" in devices:
        return ()
    if "all" in devices:
        return tuple(range(len(host.gpus)))
    return tuple(dict.fromkeys(_index(device, host, legacy) for device in devices))


def _index(device: str, host: Host, legacy: bool) -> int:
    if device in host.gpus:
        return host.gpus.index(device)
    if device.isdigit() and int(device) < len(host.gpus):
        return int(device)
    if legacy:
        raise ToolkitError(f"nvidia-container-cli: device error: {device}: unknown device")
    prefix = "failed to construct device spec generators: "
    if device.isdigit():
        raise ToolkitError(f"{prefix}failed to get device handle from index: Invalid Argument")
    if device.startswith(("GPU-", "MIG-")):
        raise ToolkitError(f"{prefix}failed to get device handle from UUID: Not Found")
    raise ToolkitError(f'{prefix}identifier is not a valid UUID or index: "{device}"')


def is_nvidia_hook(hook: dict[str, Any]) -> bool:
    return str(hook.get("path", "")).rsplit("/", 1)[-1] in HOOKS
