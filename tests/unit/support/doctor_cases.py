# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIMULATED: what two sound Sparks that serve together tell the doctor, and a way to damage that."""

from __future__ import annotations

import copy
from typing import Any, Mapping

MEMBERS = ("spark1", "spark2")
NOW = 1_800_000_000.0
HALVES = ("enp1s0f0np0", "enP2p1s0f0np0")
DEVICES = ("rocep1s0f0", "roceP2p1s0f0")
NCCL = {"path": "/usr/lib/libnccl.so.2", "bytes": 219_000_000, "sha256": "a" * 64, "version": "2.29.2"}


def link(rank: int, half: int, cage: int = 0) -> dict[str, Any]:
    """One half of a cage; cage 1 has no cable."""
    cabled = cage == 0
    return {
        "rdma_device": DEVICES[half].replace("f0", f"f{cage}"),
        "port": 1,
        "netdev": HALVES[half].replace("f0np0", f"f{cage}np{cage}"),
        "master": None,
        "state": "up" if cabled else "down",
        "admin_up": True,
        "carrier": cabled,
        "speed_mbps": 200000 if cabled else None,
        "mtu": 9000 if cabled else 1500,
        "mac": f"3c:6d:66:cc:b{rank}:{half}{cage}",
        "ipv4": [f"192.168.10{half}.{rank + 1}/24"] if cabled else [],
        "pci_address": f"000{half}:01:00.{cage}",
        "physical_port": cage,
        "half": "AB"[half],
        "errors": {},
        "carrier_changes": 2,
        "firmware": "28.45.4028",
    }


def container(name: str, image: str = "dgx-spark/trtllm-serve:1", serves: str = "ours", **more: Any) -> dict[str, Any]:
    """A serving container."""
    inside = {
        "network": "host",
        "ipc": "private",
        "privileged": False,
        "user": "",
        "memlock": -1,
        "infiniband": False,
        "variables": {"NVIDIA_MOFED": "enabled"},
        "secrets": [],
        "restarts": 0,
        "exit": 0,
        "oom_killed": False,
        "started_at": "2026-11-30T00:00:00Z",
        "command": ["/opt/nvidia/nvidia_entrypoint.sh"],
    }
    about = {"id": "c" * 64, "name": name, "image": image, "image_id": "sha256:" + "1" * 64, "state": "running"}
    return {**about, "status": "Up 2 hours", "serves": serves, "more": {**inside, **more}}


def process(rank: int | None, **more: Any) -> dict[str, Any]:
    """A process of a serving container."""
    about = {
        "name": "python3",
        "state": "S",
        "state_before": "S",
        "wchan": "",
        "rank": rank,
        "threads": 90,
        "pid": 4000,
    }
    return {**about, "container": "dgx-spark-trtllm", "cpu": 0.1, "read_mib": 0.0, "memory_mib": 9000, **more}


def gpu_now(use: float = 0.0, watts: float = 4.0, clock: float = 208.0, degrees: float = 40.0) -> dict[str, float]:
    """What a GPU does."""
    return {
        "utilization": use,
        "power_w": watts,
        "temperature_c": degrees,
        "clock_mhz": clock,
        "max_clock_mhz": 3003.0,
    }


def serving(rank: int) -> dict[str, Any]:
    """The instance without a name, as one of the two has it."""
    ranks = {name: {"transport": "IB", "devices": "[0]rocep1s0f0:1/RoCE", "why": ""} for name in MEMBERS}
    state = {"phase": "serving", "reason": "", "at": NOW - 60, "began": NOW - 7200, "starts": 0, "ranks": ranks}
    return {
        "name": "dgx-spark-trtllm",
        "engine": "trtllm",
        "instance": "",
        "leader": "spark1",
        "rank": rank,
        "launcher": "docker",
        "api_listen": "127.0.0.1:8355",
        "ssh_port": 2233,
        "share_mib": 30000,
        "budget_mib": 0,
        "phase": "listening" if rank else "serving",
        "state": {"phase": "listening", "reason": "", "at": NOW - 60} if rank else state,
        "nodes": list(MEMBERS),
        "require_rdma": True,
        "unit": {"load": "loaded", "active": "active", "sub": "running", "result": "success", "file": "enabled"},
    }


def host(rank: int) -> dict[str, Any]:
    """All that a sound Spark tells."""
    name = MEMBERS[rank]
    disk = {"path": "/", "device": 66306, "mount": "/", "free_bytes": 2 * 10**12, "total_bytes": 4 * 10**12}
    fabric = [link(rank, half, cage) for cage in (0, 1) for half in (0, 1)]
    own = [
        {
            "netdev": "enP7s7",
            "address": f"192.168.1.2{rank}",
            "prefix": 24,
            "dynamic": True,
            "inner": False,
            "carrier": True,
        }
    ]
    own += [
        {
            "netdev": one["netdev"],
            "address": one["ipv4"][0].partition("/")[0],
            "prefix": 24,
            "dynamic": False,
            "inner": False,
            "carrier": True,
        }
        for one in fabric
        if one["ipv4"]
    ]
    own += [
        {"netdev": "docker0", "address": "172.17.0.1", "prefix": 16, "dynamic": False, "inner": False, "carrier": True}
    ]
    port = 2233 if rank else 8355
    return {
        "host": {
            "hostname": name,
            "kernel": "6.11.0-1016-nvidia",
            "architecture": "aarch64",
            "command_line": "BOOT_IMAGE=/boot/vmlinuz root=/dev/nvme0n1p2",
            "machine_id": f"{rank}" * 32,
            "boot_id": f"b{rank}",
            "uptime_s": 90000.0,
            "release": {"DGX_OTA_VERSION": "7.3.1", "DGX_SWBUILD_VERSION": "7.2.3"},
            "product": "NVIDIA_DGX_Spark",
            "bios": "5.36",
            "user": "nvidia",
            "groups": ["sudo"],
            "root": True,
            "reboot_required": False,
            "linger": False,
        },
        "own_name": ["127.0.1.1"],
        "clock": {"synchronized": True, "ntp": True, "can_ntp": True},
        "ssh_keys": {"ssh_host_ed25519_key.pub": f"SHA256:{name}"},
        "remove_ipc": True,
        "memory": {
            "total_mib": 122572,
            "free_mib": 24000,
            "available_mib": 40000,
            "swap_total_mib": 16384,
            "swap_free_mib": 16384,
        },
        "gpu": {
            "problem": "",
            "gpus": [{"name": "NVIDIA GB10", "compute_capability": "12.1", "driver_version": "580.95.05", "index": 0}],
            "warnings": [],
            "live": gpu_now(),
            "programs": [{"pid": 4000, "name": "python3"}],
        },
        "driver": {
            "loaded": "580.95.05",
            "packages": {
                "docker-ce": "5:29.0",
                "nvidia-driver-580-open": "580.95.05-0ubuntu1",
                "nvidia-modprobe": "580.95.05-1",
            },
        },
        "dpkg": {"locked": False, "interrupted": False},
        "kernel_log": ["2026-11-30T00:00:00 spark kernel: mlx5_core 0000:01:00.0: Detected insufficient power (27W)"],
        "firewall": {"installed": True, "enabled": False, "rules": []},
        "addresses": own,
        "links": fabric,
        "netplan": [{"path": "/etc/netplan/40-cx7.yaml", "mode": "0600", "owner": 0}],
        "measured": {
            "tool": "ib_write_bw",
            "measured": [{"peer": "x", "gbps": 189.0, "links": {"a": 95.0}, "errors": {}}],
        },
        "rollback_pending": False,
        "cdi": [{"path": "/etc/cdi/nvidia.yaml", "lacking": []}],
        "docker_service": {
            "installed": True,
            "unit": {"active": "active", "sub": "running", "result": "success"},
            "rests": False,
            "problem": "",
        },
        "docker": {
            "version": "29.0.0",
            "root": "/var/lib/docker",
            "store": "containerd",
            "default_runtime": "nvidia",
            "runtimes": ["nvidia", "runc"],
            "live_restore": False,
            "resources": ["NVIDIA_GPU=GPU-1"],
            "swarm": {
                "state": "active",
                "error": "",
                "address": own[1]["address"],
                "manager": rank == 0,
                "managers": ["192.168.100.1:2377"],
            },
        },
        "containers": [container("dgx-spark-trtllm"), {**container("db", "postgres", ""), "more": {}}],
        "toolkit": {"installed": True, "swarm_resource": "DOCKER_RESOURCE_NVIDIA_GPU"},
        "serving": [serving(rank)],
        "gateways": [gateway()] if rank == 0 else [],
        "models": [
            {
                "repo": "lab/tiny",
                "repo_dir": "/home/nvidia/.cache/huggingface/hub/models--lab--tiny",
                "refs": {"main": "abc"},
                "commits": ["abc"],
                "partial_bytes": 0,
                "partial_age_s": 0,
                "broken": [],
                "foreign": [],
                "whose": "nvidia",
                "owner": {"uid": 1000, "gid": 1000},
                "pinned": False,
            }
        ],
        "reach": {"huggingface.co:443": ""},
        "card": {"marker": False, "enabled": False, "cable": True, "verbs": ""},
        "disks": {
            "root": {**disk, "free_inodes": 0.9},
            "docker": {**disk, "path": "/var/lib/docker", "free_inodes": 0.9},
        },
        "ports": [
            {
                "port": one,
                "addresses": ["127.0.0.1"],
                "holders": ["python3 (process 1)"],
                "containers": ["dgx-spark-trtllm"],
            }
            if one == port
            else {"port": one, "addresses": [], "holders": [], "containers": []}
            for one in (2233, 8355, 8356, 28028)
        ],
        "daemon_json": {"problems": [], "resources": ["NVIDIA_GPU=GPU-1"], "default_runtime": "nvidia"},
        "validation": {"there": False, "running": False},
        "ras": [],
        "logs": {"dgx-spark-trtllm": ["spark1:12:12 [0] NCCL INFO NET/IB : Using [0]rocep1s0f0:1/RoCE", "serving"]},
        "ranks": {"seconds": 2.0, "processes": [process(rank)], "gpu": [gpu_now(), gpu_now()]},
        "nccl": [dict(NCCL)],
        **({"swarm": swarm()} if rank == 0 else {}),
        **({"hub": {"lab/tiny": {"problem": "", "gated": False}}} if rank == 0 else {}),
    }


def gateway() -> dict[str, Any]:
    """A sound API gateway."""
    return {
        "name": "dgx-spark-gateway",
        "unit": {"load": "loaded", "active": "active", "sub": "running", "result": "success", "file": "enabled"},
        "enabled": True,
        "listens": "0.0.0.0:443",
        "holders": [],
        "as_written": True,
        "reads": True,
        "clients_problem": "",
        "readable": [],
        "ends_at": NOW + 300 * 86400,
    }


def swarm() -> dict[str, Any]:
    """What a manager tells."""
    nodes = [
        {
            "hostname": name,
            "state": "ready",
            "availability": "active",
            "address": f"192.168.100.{rank + 1}",
            "resources": ["NVIDIA_GPU=GPU-1"],
        }
        for rank, name in enumerate(MEMBERS)
    ]
    return {"nodes": nodes, "stuck": [], "reserved": ["NVIDIA_GPU"]}


def pair() -> dict[str, dict[str, Any]]:
    """What both tell."""
    return {name: {"read": host(rank), "unread": {}, "at": NOW + rank} for rank, name in enumerate(MEMBERS)}


def damaged(changes: Mapping[str, Any], told: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The same with other values at paths such as ``spark1.read.memory.free_mib``; a number is a place in a list.

    A value that can be called is given the old one.
    """
    found = copy.deepcopy(dict(told or pair()))
    for path, value in changes.items():
        *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        place: Any = found
        for key in keys:
            place = place[key]
        place[last] = value(place[last]) if callable(value) else value
    return found
