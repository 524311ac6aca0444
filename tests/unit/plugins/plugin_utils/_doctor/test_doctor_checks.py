# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check is seen to find what it is for, and to be silent on two sound Sparks that serve."""

from __future__ import annotations

import re
from typing import Any, Callable

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor import checks, judge
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.facts import Facts, NotLookedError
from damaged import values
from doctor_cases import MEMBERS, NOW, container, damaged, gpu_now, host, pair, process
from hypothesis import given, settings
from hypothesis import strategies as st

CHECKS = checks.load()
S1, S2 = "spark1.read", "spark2.read"
SERVES = f"{S1}.serving.0"
GATEWAY = f"{S1}.gateways.0"
MORE = f"{S1}.containers.0.more"


def with_more(**more: Any) -> Callable[[list[Any]], list[Any]]:
    """Put a serving container of others beside what is there."""
    return lambda old: [*old, container("vllm", "vllm/vllm-openai:v0.28.0", "other", **more)]


def of_state(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda old: {**old, **values}


def in_phase(phase: str, **state: Any) -> dict[str, Any]:
    return {f"{SERVES}.phase": phase, f"{SERVES}.state": of_state(phase=phase, **state)}


def said(line: str) -> dict[str, Any]:
    return {f"{S1}.logs": {"vllm": ["INFO begins", line, "INFO ends"]}}


def also(netdev: str, address: str, **more: Any) -> Callable[[list[Any]], list[Any]]:
    """Put an address beside those that are there."""
    one = {"netdev": netdev, "address": address, "prefix": 24, "dynamic": False, "inner": False, "carrier": True}
    return lambda old: [*old, {**one, **more}]


podman = also("podman0", "10.88.0.1", inner=True)
no_carrier = also("eth9", "192.168.7.1", carrier=False)
hotspot = also("wlP9s9", "10.42.0.1")


def kernel(line: str) -> dict[str, Any]:
    return {
        f"{S1}.kernel_log": ["2026-11-30T00:00:00 spark kernel: harmless", f"2026-11-30T01:00:00 spark kernel: {line}"]
    }


OVER_TWO = ["vllm", "serve", "m", "--nnodes", "2"]
HCA = {"NVIDIA_MOFED": "1", "NCCL_IB_HCA": "rocep1s0f0"}
#: by check: what is damaged, and what is then seen
RED: dict[str, list[tuple[dict[str, Any], str]]] = {
    "unreachable": [({"spark2": {"why": "Host key verification failed."}}, "Host key verification failed")],
    "no_root": [({f"{S1}.host.root": False, "spark1.unread": {"kernel_log": "no"}}, "could not read kernel_log")],
    "gpu_silent": [({f"{S1}.gpu.problem": "nvidia-smi failed (exit status 15)"}, "exit status 15")],
    "gpu_not_gb10": [({f"{S1}.gpu.gpus.0.compute_capability": "9.0"}, "compute capability 9.0")],
    "gpu_clock_low": [({f"{S1}.gpu.live": gpu_now(96, 30, 513)}, "513 MHz of 3003 at 96 % of use")],
    "gpu_hot": [({f"{S1}.gpu.live": gpu_now(96, 90, 2411, 88)}, "88 degrees")],
    "gpu_xid": [(kernel("NVRM: Xid (PCI:000f:01:00): 79, GPU has fallen off the bus."), "Xid .PCI")],
    "gpu_in_use": [({f"{S1}.gpu.programs": [{"pid": 7, "name": "ollama"}]}, r"ollama \(process 7\)")],
    "driver_reboot": [({f"{S1}.driver.loaded": "580.82.09"}, "580.95.05, and 580.82.09 is loaded")],
    "driver_mixed": [({f"{S1}.driver.packages.nvidia-modprobe": "610.3-1"}, "nvidia-modprobe 610.3 beside")],
    "reboot_required": [({f"{S1}.host.reboot_required": True}, "reboot-required")],
    "kernel_kho": [({f"{S1}.host.kernel": "7.0.0-nvidia"}, "7.0.0-nvidia, started without kho=off")],
    "kernel_oom": [
        (kernel("Out of memory: Killed process 1 (python3)"), "Killed process 1"),
        (kernel("NVRM: nvCheckOkFailedNoLog: NV_ERR_NO_MEMORY"), "NV_ERR_NO_MEMORY"),
    ],
    "kernel_pcie": [(kernel("pcieport 0000:00: AER: Corrected error message received"), "AER")],
    "disk_errors": [(kernel("nvme0n1: I/O error, dev nvme0n1, sector 8"), "I/O error")],
    "clock_unsynchronised": [
        ({f"{S1}.clock": {"synchronized": False, "ntp": False, "can_ntp": True}}, "NTP is off"),
        ({f"{S1}.clock": {"synchronized": False, "ntp": True, "can_ntp": True}}, "NTP is on"),
        ({f"{S1}.clock": {"synchronized": False, "ntp": False, "can_ntp": False}}, "nothing that keeps the time"),
    ],
    "own_name_unresolved": [({f"{S1}.own_name": []}, "spark1 means no address")],
    "own_name_on_fabric": [({f"{S1}.own_name": ["192.168.100.1"]}, "192.168.100.1 on enp1s0f0np0")],
    "ipc_removed": [({f"{MORE}.user": "1000", f"{MORE}.ipc": "host"}, "runs as 1000")],
    "earlyoom_installed": [({f"{S1}.driver.packages": {"earlyoom": "1.7-2"}}, "earlyoom 1.7-2")],
    "dpkg_locked": [({f"{S1}.dpkg.locked": True}, "dpkg's lock")],
    "dpkg_interrupted": [({f"{S1}.dpkg.interrupted": True}, "updates is not empty")],
    "memory_low": [({f"{S1}.memory.available_mib": 3000}, "3000 MiB of 122572 are available, and 8171 are the least")],
    "page_cache_full": [
        (
            {**in_phase("failed"), f"{S1}.memory.free_mib": 2770, f"{S1}.memory.available_mib": 52000},
            "2770 MiB are free",
        )
    ],
    "swap_used": [({f"{S1}.memory.swap_free_mib": 9000}, "7384 MiB")],
    "disk_full": [
        (
            {f"{S1}.disks.root.free_bytes": 10**9, f"{S1}.disks.docker.free_bytes": 10**9},
            "/ has 1.0 GB left, for /, /var/lib/docker",
        ),
        ({f"{S1}.disks.root.free_inodes": 0.001}, "0.1% of its inodes"),
    ],
    "fabric_no_card": [
        ({f"{S1}.links": []}, "no RoCE device"),
        (
            {f"{S1}.links": [], f"{S1}.card": {"marker": True, "enabled": True, "cable": False, "verbs": ""}},
            "sees no live cable",
        ),
    ],
    "fabric_no_carrier": [({f"{S1}.links.{n}.carrier": False for n in range(2)}, "enp1s0f0np0, .* no carrier")],
    "fabric_half_down": [
        ({f"{S1}.links.1.admin_up": False, f"{S1}.links.1.carrier": None}, "enP2p1s0f0np0 of cage 0 is admin down")
    ],
    "fabric_half_unaddressed": [({f"{S1}.links.1.ipv4": []}, "enP2p1s0f0np0 of cage 0 has no address")],
    "fabric_halves_one_subnet": [({f"{S1}.links.1.ipv4": ["192.168.100.9/24"]}, "are both in 192.168.100.0/24")],
    "fabric_link_local": [({f"{S1}.links.0.ipv4": ["169.254.3.4/16"]}, "enp1s0f0np0 has 169.254.3.4/16")],
    "fabric_by_dhcp": [({f"{S1}.addresses.1.dynamic": True}, "192.168.100.1/24 for a certain time")],
    "fabric_bonded": [({f"{S1}.links.0.master": "bond0"}, "part of bond0")],
    "fabric_mtu_small": [({f"{S1}.links.0.mtu": 1500}, "enp1s0f0np0 has an MTU of 1500")],
    "fabric_slow_cable": [({f"{S1}.links.0.speed_mbps": 100000}, "enp1s0f0np0 has 100 Gbit/s")],
    "fabric_slow_card": [({f"{S1}.measured.measured.0.gbps": 13.2}, "sends 13.2 Gb/s")],
    "fabric_hotplug": [({f"{S1}.card.marker": True}, "will be at the next boot")],
    "fabric_verbs": [({f"{S1}.card.verbs": "/dev/infiniband/uverbs0 is not there"}, "uverbs0 is not there")],
    "fabric_errors": [({f"{S1}.links.0.errors": {"symbol_error": 5000}}, "rocep1s0f0: symbol_error 5000")],
    "fabric_flaps": [({f"{S1}.links.0.carrier_changes": 44}, "44 times")],
    "fabric_rollback_pending": [({f"{S1}.rollback_pending": True}, "timer that restores")],
    "netplan_readable": [({f"{S1}.netplan.0.mode": "0644"}, "40-cx7.yaml has the mode 0644")],
    "netplan_sync": [({f"{S1}.netplan.0.path": "/etc/netplan/99-nvidia-sync-cluster.yaml"}, "99-nvidia-sync")],
    "opensm_installed": [({f"{S1}.driver.packages": {"opensm": "3.3"}}, "opensm 3.3")],
    "docker_missing": [({f"{S1}.docker_service": {"installed": False, "unit": {}, "problem": ""}}, "neither")],
    "docker_stopped": [
        ({f"{S1}.docker_service.unit": {"active": "inactive", "sub": "dead", "result": "x"}}, "inactive .dead.")
    ],
    "docker_failed": [
        (
            {f"{S1}.docker_service.unit": {"active": "failed", "sub": "failed", "result": "exit-code"}},
            "failed .exit-code.",
        ),
        (
            {
                f"{S1}.docker_service.unit": {
                    "active": "activating",
                    "sub": "auto-restart-queued",  # since systemd 254
                    "result": "exit-code",
                }
            },
            "activating .exit-code.",
        ),
    ],
    "docker_old": [({f"{S1}.docker.version": "19.03.8"}, "Docker 19.03.8")],
    "docker_config_wrong": [({f"{S1}.daemon_json.problems": ["invalid JSON"]}, "daemon.json: invalid JSON")],
    "docker_restart_pending": [
        ({f"{S1}.docker.resources": []}, "advertises NVIDIA_GPU=GPU-1, and Docker does not yet"),
        ({f"{S1}.docker.default_runtime": "runc"}, "default runtime nvidia, and Docker runs with runc"),
    ],
    "toolkit_missing": [
        ({f"{S1}.toolkit.installed": False}, "not installed"),
        ({f"{S1}.docker.runtimes": ["runc"]}, "runtimes are runc"),
    ],
    "cdi_stale": [({f"{S1}.cdi.0.lacking": ["/lib/libcuda.so.580.1", "/x"]}, "libcuda.so.580.1 and 1 more")],
    "containers_restarting": [
        ({f"{S1}.containers.1.state": "restarting"}, "db .postgres."),
        ({f"{S1}.containers.0.more.restarts": 3, f"{S1}.containers.0.status": "Up Less than a second"}, "dgx-spark"),
    ],
    "container_ended": [
        ({f"{S1}.containers": lambda old: [*old, {**with_more(exit=1)([])[0], "state": "exited"}]}, "status 1")
    ],
    "container_killed": [
        (
            {f"{S1}.containers": lambda old: [*old, {**with_more(exit=137)([])[0], "state": "exited"}]},
            "with status 137",
        ),
        (
            {f"{S1}.containers": lambda old: [*old, {**with_more(exit=1, oom_killed=True)([])[0], "state": "exited"}]},
            "by the kernel",
        ),
    ],
    "container_without_fabric": [
        ({f"{S1}.containers": with_more(variables={}, command=OVER_TWO)}, "vllm has no /dev/infiniband"),
        ({f"{S1}.containers": with_more(network="bridge", variables=HCA)}, "in the network bridge"),
        ({f"{S1}.containers": with_more(network="bridge", command=["mpirun", "-np", "2"])}, "in the network bridge"),
        ({f"{MORE}.network": "bridge"}, "dgx-spark-trtllm is in the network bridge"),
    ],
    "container_memlock": [
        ({f"{S1}.containers": with_more(memlock=None, command=OVER_TWO)}, "Docker's own limit"),
        ({f"{S1}.containers": with_more(memlock=65536, variables=HCA)}, "65536 bytes"),
    ],
    "container_gid_pinned": [
        ({f"{S1}.containers": with_more(variables={"NVIDIA_MOFED": "enabled", "NCCL_IB_GID_INDEX": ""})}, "GID_INDEX=$")
    ],
    "container_ib_off": [
        (
            {f"{MORE}.variables": {"NVIDIA_MOFED": "1", "NCCL_IB_DISABLE": "1", "NCCL_NET": "Socket"}},
            "DISABLE=1 and NCCL_NET",
        )
    ],
    "container_ifname": [
        ({f"{MORE}.variables": {"NVIDIA_MOFED": "1", "GLOO_SOCKET_IFNAME": "enp1s0f9np9"}}, "there is no enp1s0f9np9")
    ],
    "container_host_ip": [
        (
            {f"{S1}.containers": with_more(command=["vllm", "serve", "m", "--nnodes", "2", "--headless"])},
            "vllm runs over several hosts without VLLM_HOST_IP",
        ),
        ({f"{MORE}.command": ["python3", "-m", "sglang.launch_server", "--nnodes=2"]}, "without SGLANG_HOST_IP"),
    ],
    "container_secret": [({f"{MORE}.secrets": ["HF_TOKEN"]}, "dgx-spark-trtllm has HF_TOKEN")],
    "swarm_lost": [
        ({f"{S1}.docker.swarm.state": "pending", f"{S1}.docker.swarm.error": "no manager"}, "pending: no manager")
    ],
    "swarm_link_local": [({f"{S1}.docker.swarm.address": "169.254.1.2"}, "advertises 169.254.1.2")],
    "swarm_address_gone": [({f"{S1}.docker.swarm.address": "10.9.9.9"}, "advertises 10.9.9.9, and the host has")],
    "swarm_by_dhcp": [({f"{S1}.docker.swarm.address": "192.168.1.20"}, "which enP7s7 has for a certain time")],
    "swarm_node_down": [({f"{S1}.swarm.nodes.1.state": "down"}, "spark2 is down")],
    "swarm_node_drained": [({f"{S1}.swarm.nodes.1.availability": "drain"}, "availability drain")],
    "swarm_no_gpu": [
        ({f"{S1}.swarm.reserved": ["gpu"]}, "reserves gpu, and the nodes offer NVIDIA_GPU"),
        (
            {f"{S1}.swarm.stuck": ["x_worker is pending: no suitable node (insufficient resources on 2 nodes)"]},
            "no suitable",
        ),
    ],
    "swarm_bind_missing": [
        ({f"{S1}.swarm.stuck": ['invalid mount config for type "bind": bind source']}, "invalid mount")
    ],
    "swarm_task_fails": [
        ({f"{S1}.swarm.stuck": ["x_worker on spark2 has failed 5 times: task: non-zero exit (255)"]}, "exit .255.")
    ],
    "swarm_resource_mismatch": [
        ({f"{S1}.toolkit.swarm_resource": "DOCKER_RESOURCE_GPU"}, "has to name DOCKER_RESOURCE_NVIDIA_GPU"),
        ({f"{S1}.toolkit.swarm_resource": ""}, "is not set"),
    ],
    "port_taken": [
        (
            {
                f"{S1}.ports.1": {
                    "port": 8355,
                    "addresses": ["127.0.0.1"],
                    "holders": ["nc (process 9)"],
                    "containers": [],
                }
            },
            "nc .process 9. listens on port 8355",
        ),
    ],
    "sshd_everywhere": [({f"{S1}.ports.0.addresses": ["0.0.0.0"]}, "2233 of all addresses")],
    "api_everywhere": [({f"{S1}.ports.1.addresses": ["::"]}, "port 8355 answers on all")],
    "firewall_blocks": [
        (
            {
                f"{S1}.firewall": {
                    "installed": True,
                    "enabled": True,
                    "rules": [{"rule": "allow 22/tcp", "comment": ""}],
                }
            },
            "lets nothing in from 192.168.100.2",
        )
    ],
    "hub_unreachable": [({f"{S1}.reach": {"huggingface.co:443": "timed out"}}, "huggingface.co:443 .timed out.")],
    "model_ref_missing": [
        ({f"{S1}.models.0.refs": {}}, "has no refs/main$"),
        ({f"{S1}.models.0.refs": {}, f"{S1}.models.0.commits": ["a", "b"]}, "it has 2 commits"),
    ],
    "model_partial": [({f"{S1}.models.0.partial_bytes": 3 * 10**9, f"{S1}.models.0.partial_age_s": 9000}, "3.00 GB")],
    "model_broken": [({f"{S1}.models.0.broken": ["snapshots/abc/a.safetensors"]}, "a.safetensors lead to")],
    "model_foreign": [({f"{S1}.models.0.foreign": ["/x/blobs/1"]}, "are not those of nvidia")],
    "model_refused": [
        (
            {f"{S1}.hub": {"lab/gated": {"problem": "it is gated: ask for access", "refused": True}}},
            "lab/gated: it is gated",
        )
    ],
    "serving_gave_up": [(in_phase("gave up", reason="the KV cache holds too few"), "too few")],
    "serving_failing": [
        (in_phase("failed", reason="CUDA", starts=1, last_end="rank 1 died"), "start 1: rank 1 died"),
        (in_phase("starting", reason="loading", starts=3, last_end="rank 1 died"), "start 3: rank 1 died"),
    ],
    "serving_waiting": [
        (in_phase("waiting", reason="this node has no address", at=NOW - 600), "10 minutes: this node")
    ],
    "serving_stopped": [
        (
            {**in_phase("stopped", reason="asked to end"), f"{SERVES}.unit.active": "inactive"},
            "stopped .asked to end.",
        ),
        ({**in_phase("stopped"), f"{SERVES}.launcher": "swarm", f"{SERVES}.unit": {}}, "is stopped"),
        ({f"{SERVES}.unit.active": "inactive", f"{SERVES}.phase": ""}, "is not started"),
    ],
    "serving_kept_stopped": [
        (
            {**in_phase("stopped", reason="stopped by stop.yml"), f"{SERVES}.unit.active": "inactive"},
            "dgx-spark-trtllm is stopped by stop.yml",
        )
    ],
    "serving_without_container": [({f"{S1}.containers": []}, "is said to be serving, and no container")],
    "serving_over_tcp": [
        (
            {f"{SERVES}.state.ranks.spark2": {"transport": "Socket", "devices": "[0]enP7s7", "why": "no uverbs"}},
            "rank 1 on spark2: NCCL uses Socket .* no uverbs",
        ),
        ({f"{SERVES}.state.ranks": {}}, "NCCL named no transport"),
    ],
    "serving_image_missing": [
        (in_phase("waiting", reason="No such image: sha256:1", at=NOW), "No such image"),
        ({f"{SERVES}.unit.active": "failed", f"{S1}.containers": []}, "its unit has failed"),
    ],
    "validation_left": [({f"{S1}.validation.there": True}, "is left")],
    "engine_hangs": [
        (
            {
                f"{S1}.ranks.gpu": [gpu_now(96, 20, 2411), gpu_now(97, 21, 2411)],
                f"{S2}.ranks.gpu": [gpu_now(0, 5), gpu_now(1, 5)],
            },
            "spark1 waits for spark2",
        )
    ],
    "nccl_known": [({f"{S1}.nccl.0.version": "2.28.9+cuda13.0"}, "NCCL 2.28.9")],
    "gateway_down": [
        ({f"{GATEWAY}.unit": of_state(active="failed", result="exit-code")}, r"gateway.service is failed .exit-code"),
        ({f"{GATEWAY}.unit": of_state(active="inactive"), f"{GATEWAY}.reads": None}, "gateway.service is inactive"),
    ],
    "gateway_disabled": [({f"{GATEWAY}.enabled": False}, "gateway.service is not enabled")],
    "gateway_port_taken": [({f"{GATEWAY}.holders": ["nginx (process 7)"]}, "0.0.0.0:443, which nginx .process 7. has")],
    "gateway_certificate_ended": [
        ({f"{GATEWAY}.ends_at": NOW - 3 * 86400}, "ended 3 days ago"),
        ({f"{GATEWAY}.ends_at": 0}, "no certificate that openssl can read"),
    ],
    "gateway_certificate_ends": [({f"{GATEWAY}.ends_at": NOW + 29 * 86400}, "ends in 29 days")],
    "gateway_clients_damaged": [({f"{GATEWAY}.clients_problem": "clients.json is damaged"}, "is damaged")],
    "gateway_keys_readable": [({f"{GATEWAY}.readable": ["/x (mode 0644, user 0)"]}, "/x .mode 0644")],
    "gateway_changed": [
        ({f"{GATEWAY}.as_written": False}, "is not as the role has written it"),
        ({f"{GATEWAY}.reads": False}, "another configuration than its haproxy.cfg"),
    ],
    "same_hostname": [({f"{S2}.host.hostname": "spark1"}, "spark1 and spark2 have the host name spark1")],
    "same_machine_id": [({f"{S2}.host.machine_id": "0" * 32}, "have the machine ID 000")],
    "same_ssh_keys": [
        ({f"{S2}.ssh_keys": {"ssh_host_ed25519_key.pub": "SHA256:spark1"}}, "have the key SHA256:spark1")
    ],
    "same_address": [({f"{S2}.addresses.0.address": "192.168.1.20"}, "spark1 and spark2 have 192.168.1.20")],
    "clocks_apart": [({"spark2.at": NOW + 400}, "spark2 is 400 s ahead of spark1")],
    "memory_differs": [({f"{S2}.memory.total_mib": 61440}, "spark2 has 61440 MiB")],
    "drivers_differ": [({f"{S2}.gpu.gpus.0.driver_version": "580.126"}, "spark2 has 580.126")],
    "kernels_differ": [({f"{S2}.host.kernel": "6.17.0"}, "spark2 has 6.17.0")],
    "firmware_differs": [({f"{S2}.links.0.firmware": "28.40"}, "spark2 has 28.40, 28.45")],
    "releases_differ": [({f"{S2}.host.release.DGX_OTA_VERSION": "7.5.0"}, "spark2 has 7.5.0")],
    "docker_differs": [({f"{S2}.docker.store": "graph driver"}, "29.0.0 .graph driver.")],
    "users_differ": [({f"{S2}.host.user": "alice"}, "spark2 has alice")],
    "mtus_differ": [({f"{S2}.links.0.mtu": 1500}, "enp1s0f0np0 of spark2 has 1500")],
    "links_unmatched": [({f"{S2}.links.0.ipv4": ["10.1.1.2/24"]}, "enp1s0f0np0 of spark2 is in 10.1.1.0/24")],
    "cages_crossed": [
        (
            {f"{S2}.links.{n}.carrier": cabled for n, cabled in enumerate((False, False, True, True))},
            "spark1 has its cable in cage 0, spark2 has its cable in cage 1",
        )
    ],
    "images_differ": [({f"{S2}.containers.0.image_id": "sha256:" + "2" * 64}, "spark2 222222222222")],
    "nccl_differs": [({f"{S2}.nccl.0.sha256": "b" * 64}, "spark2 2.29.2 .bbbbbbbbbbbb.")],
    "swarms_differ": [({f"{S2}.docker.swarm.managers": ["10.0.0.9:2377"]}, "spark2 follows 10.0.0.9")],
    "log_cuda_oom": [
        (said("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"), "Tried to allocate"),
        (said("RuntimeError: Executor creation failed due to insufficient GPU memory."), "insufficient GPU memory"),
        (said("ValueError: Free memory on device (36.75/121.63 GiB) on startup is less than desired"), "36.75"),
    ],
    "log_over_tcp": [(said("spark1:1:1 [0] NCCL INFO NET/Socket : Using [0]enP7s7:192.168.1.20<0>"), "NET/Socket")],
    "log_ifname": [
        (said("NCCL WARN socketPollConnect: Socket operation on non-socket"), "non-socket"),
        (said("RuntimeError: [enforce] Unable to find address for: enp1s0f1np1"), "enp1s0f1np1"),
    ],
    "log_qp_gid": [(said("NCCL WARN Call to ibv_modify_qp failed with 61 No data available, on dev"), "61 No data")],
    "log_qp_timeout": [
        (said("NCCL WARN Call to ibv_modify_qp failed with 110 Connection timed out, on dev"), "110"),
        (said("NET/IB: Got completion from peer with status=IBV_WC_RETRY_EXC_ERR(12)"), "RETRY"),
    ],
    "log_nccl_timeout": [(said("[rank0]: Watchdog caught collective operation timeout: WorkNCCL"), "Watchdog")],
    "log_ptxas": [(said("ptxas fatal   : Value 'sm_121a' is not defined"), "sm_121a")],
    "log_illegal_instruction": [(said("CUDA error: an illegal instruction was encountered"), "illegal")],
    "log_mpi_key": [(said("root@10.0.0.2: Permission denied (publickey,password)."), "publickey")],
    "log_nccl_library": [
        (
            said("all_gather_perf: error while loading shared libraries: libnccl.so.2: cannot open shared object file"),
            "libnccl",
        )
    ],
    "log_import": [(said("ImportError: libcuda.so.1: cannot open shared object file"), "libcuda")],
    "log_gated": [(said("Cannot access gated repo for url https://huggingface.co/x"), "gated repo")],
    "log_offline": [(said("huggingface_hub.errors.LocalEntryNotFoundError: Cannot find"), "LocalEntry")],
    "log_no_space": [(said("OSError: [Errno 28] No space left on device"), "No space")],
    "log_port": [(said("OSError: [Errno 98] Address already in use"), "already in use")],
    "log_certificate": [(said("error while validating Root CA Certificate: x509: expired"), "Root CA")],
    "log_memory_fault": [(said("NVRM: NV_ERR_NO_MEMORY"), "NV_ERR_NO_MEMORY")],
    "log_few_gpus": [
        (
            said("ValueError: TP size (2) is larger than the number of available GPUs (1)"),
            "larger",
        )
    ],
}
CASES = [pytest.param(name, *case, id=f"{name}-{n}") for name, cases in RED.items() for n, case in enumerate(cases)]


def found(told: dict[str, Any], name: str = "") -> list[dict[str, Any]]:
    return [one for one in judge.judge(told, MEMBERS).findings if not name or one["check"] == name]


def test_every_check_has_a_case_and_a_judge() -> None:
    assert set(RED) == set(CHECKS)
    assert len(CHECKS) >= 40


def test_two_sound_sparks_have_nothing() -> None:
    report = judge.judge(pair(), MEMBERS)
    assert report.findings == []
    assert report.not_looked == []


def test_one_sound_spark_has_nothing() -> None:
    told = damaged(
        {
            f"{S1}.links": [],
            f"{S1}.serving.0.nodes": ["spark1"],
            f"{S1}.docker.swarm.state": "inactive",
            f"{S1}.docker.swarm.manager": False,
        }
    )
    report = judge.judge({"spark1": told["spark1"]}, ["spark1"])
    assert (report.findings, report.not_looked) == ([], [])


@pytest.mark.parametrize(("name", "changes", "words"), CASES)
def test_a_check_finds_what_it_is_for(name: str, changes: dict[str, Any], words: str) -> None:
    seen = found(damaged(changes), name)
    assert seen, f"{name} is silent"
    assert any(re.search(words, one["seen"]) for one in seen), seen
    assert all(one["hosts"] and one["mend"] for one in seen), "it says where, and what to do"


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_what_was_not_read_is_never_healthy(name: str) -> None:
    """A check of a host that told nothing says why it was not made."""
    told = {member: {"read": {"none": 1}, "unread": {}, "at": NOW} for member in MEMBERS}
    report = judge.judge(told, MEMBERS, [name])
    skipped = {check for one in report.not_looked for check in one.checks}
    quiet = {
        "unreachable",  # the hosts were reached
        "model_refused",  # asked of the leader alone, which has an answer of its own below
        "clocks_apart",  # goes by the time at which each was read
    }
    assert name in skipped or name in quiet
    assert [one for one in report.findings if one["check"] == name] == []
    assert all(one.why for one in report.not_looked)


@pytest.mark.parametrize("part", sorted({*host(0), *host(1)}))
def test_each_part_that_is_unread_is_told_with_its_why(part: str) -> None:
    told = pair()
    for one in told.values():
        one["read"].pop(part, None)
        one["unread"][part] = "the disk hangs"
    report = judge.judge(told, MEMBERS)
    whys = {one.why for one in report.not_looked}
    assert report.findings == [] or part == "x", report.findings
    if part not in ("ras", "swarm", "stacks", "remove_ipc", "hub", "memory"):  # asked for where something else wants it
        assert "the disk hangs" in whys


def test_a_host_that_was_not_reached_is_one_finding_and_one_line() -> None:
    report = judge.judge({**pair(), "spark2": {"why": "timed out"}}, MEMBERS)
    assert [(one["check"], one["hosts"]) for one in report.findings] == [("unreachable", ["spark2"])]
    lost = [one for one in report.not_looked if one.host == "spark2"]
    assert len(lost) == 1
    assert len(lost[0].checks) > 50


@settings(max_examples=60)
@given(st.data())
def test_damaged_facts_end_no_run(data: Any) -> None:
    """Whatever a host tells, each check finds something or says why not."""
    told = pair()
    part = data.draw(st.sampled_from(sorted(told["spark1"]["read"])))
    told["spark1"]["read"][part] = data.draw(values(told["spark1"]["read"][part]))
    report = judge.judge(told, MEMBERS)
    assert all(isinstance(one["seen"], str) for one in report.findings)


def test_what_the_leader_alone_asked_is_not_missed_on_the_others() -> None:
    told = pair()
    del told["spark1"]["read"]["hub"]
    skipped = [one for one in judge.judge(told, MEMBERS).not_looked if "model_refused" in one.checks]
    assert [(one.host, one.why) for one in skipped] == [
        (
            "spark1",
            "the hub was not asked: no model was named (spark_model), or it comes from a directory (hf_cache_source), "
            "or doctor_offline is set",
        )
    ]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        # a hub that is busy gives no answer, whatever words it has, and whatever a model is called
        ("model_refused", {f"{S1}.hub": {"org/tokenformer-1b": {"problem": "HTTP 503 about org/tokenformer-1b"}}}),
        ("model_refused", {f"{S1}.hub": {"a/b": {"problem": "or give a token, which may ask more", "refused": False}}}),
        # one Spark alone is asked by others as well
        ("container_without_fabric", {f"{S1}.containers": with_more(network="bridge", variables={})}),
        ("container_without_fabric", {f"{S1}.containers": with_more(network="bridge", command=["--nnodes", "1"])}),
        ("container_memlock", {f"{S1}.containers": with_more(memlock=None, variables={"NCCL_DEBUG": "INFO"})}),
        # a worker's phase, while its rank serves
        (
            "page_cache_full",
            {**in_phase("listening"), f"{S1}.memory.free_mib": 2770, f"{S1}.memory.available_mib": 52000},
        ),
        ("model_ref_missing", {f"{S1}.models.0.refs": {}, f"{S1}.models.0.pinned": True}),
        ("same_address", {f"{S1}.addresses": podman, f"{S2}.addresses": podman}),
        ("same_address", {f"{S1}.addresses": no_carrier, f"{S2}.addresses": no_carrier}),
        ("same_address", {f"{S1}.addresses": hotspot, f"{S2}.addresses": hotspot}),
        # nothing is configured that would want it: a plan says which port it wants
        ("port_taken", {f"{S1}.serving": [], f"{S1}.ports.0.addresses": ["10.0.0.1"], f"{S1}.ports.0.holders": ["x"]}),
    ],
)
def test_what_sound_sparks_may_have_is_no_finding(name: str, changes: dict[str, Any]) -> None:
    assert found(damaged(changes), name) == []


@pytest.mark.parametrize("name", ["fabric_verbs", "fabric_slow_cable"])
def test_one_spark_alone_needs_no_fabric(name: str) -> None:
    told = damaged({f"{S1}.card.verbs": "no uverbs", f"{S1}.links.0.speed_mbps": 100000})
    assert [one["check"] for one in judge.judge({"spark1": told["spark1"]}, ["spark1"], [name]).findings] == []


def test_whose_cache_it_is_says_the_finding() -> None:
    told = damaged({f"{S1}.models.0.foreign": ["/x"], f"{S1}.models.0.whose": "hf"})
    assert "/x are not those of hf" in found(told, "model_foreign")[0]["seen"]


def test_what_a_serving_has_waited_for_is_no_failure() -> None:
    waited = "dgx-spark: waiting: 127.0.0.1:8355 cannot be bound yet (Address already in use; ss -ltnp tells who)"
    assert found(damaged(said(waited)), "log_port") == []
    assert found(damaged(said("OSError: [Errno 98] Address already in use")), "log_port") != []


def test_of_a_log_the_last_line_is_told_and_the_others_are_counted() -> None:
    lines = [f"CUDA out of memory {n}" for n in range(3)]
    seen = found(damaged({f"{S1}.logs": {"x": lines}}), "log_cuda_oom")[0]["seen"]
    assert seen == "x: CUDA out of memory 2 (the last of 3 such lines)"


@pytest.mark.parametrize(
    "line",
    [
        "dgx-spark: mpirun -np 2 -x CPATH -x TRITON_PTXAS_PATH trtllm-serve serve /models/snapshots/0123",
        "TRITON_PTXAS_PATH=/usr/local/cuda/bin/ptxas",
    ],
)
def test_a_variable_that_is_passed_on_is_no_failure(line: str) -> None:
    assert found(damaged(said(line)), "log_ptxas") == []


@pytest.mark.parametrize(("restarts", "status"), [(3, "Up 2 hours"), (2, "Up 5 seconds")])
def test_a_container_that_was_started_again_once_is_silent(restarts: int, status: str) -> None:
    told = damaged({f"{S1}.containers.0.more.restarts": restarts, f"{S1}.containers.0.status": status})
    assert found(told, "containers_restarting") == []


def test_the_worst_comes_first() -> None:
    told = damaged({f"{S1}.card.marker": True, f"{S1}.netplan.0.mode": "0644", f"{S2}.memory.available_mib": 5})
    assert [one["severity"] for one in found(told)] == ["serious", "warning", "note"]


def test_a_unit_that_was_started_just_now_is_not_stopped() -> None:
    assert found(damaged(in_phase("stopped", reason="asked to end")), "serving_stopped") == []


@pytest.mark.parametrize("launcher", ["swarm", "docker"])
def test_what_stop_yml_has_stopped_needs_nobody(launcher: str) -> None:
    unit = {} if launcher == "swarm" else {"active": "inactive", "file": "disabled"}
    changes = {**in_phase("stopped", reason="stopped by stop.yml"), f"{SERVES}.launcher": launcher}
    told = damaged({**changes, f"{SERVES}.unit": unit, f"{S1}.containers": []})
    seen = [one for one in found(told) if one["check"].startswith("serving_")]
    assert [(one["check"], one["severity"], one["treatable"]) for one in seen] == [
        ("serving_kept_stopped", "note", False)
    ]


@pytest.mark.parametrize(
    ("changes", "offered"),
    [
        ({f"{S1}.models.0.refs": {}}, True),
        ({f"{S1}.models.0.refs": {}, f"{S1}.models.0.commits": ["a", "b"]}, False),
        ({f"{S1}.clock": {"synchronized": False, "ntp": False, "can_ntp": True}}, True),
        ({f"{S1}.clock": {"synchronized": False, "ntp": True, "can_ntp": True}}, False),
        ({**in_phase("stopped"), f"{SERVES}.launcher": "swarm", f"{SERVES}.unit": {}}, False),
        ({**in_phase("stopped"), f"{SERVES}.unit.active": "inactive"}, True),
        ({**in_phase("stopped"), f"{SERVES}.unit.active": "inactive", f"{SERVES}.unit.file": "disabled"}, False),
    ],
)
def test_only_what_can_be_mended_here_is_offered(changes: dict[str, Any], offered: bool) -> None:
    one = found(damaged(changes))[0]
    assert (one["treatable"], one["class"]) == (offered, "mend" if offered else "decide")
    named = judge.treatments(judge.judge(damaged(changes), MEMBERS), [one["check"]])
    assert bool(named) == offered


def test_what_a_mend_needs_is_told_by_host_and_check() -> None:
    told = damaged({f"{S1}.netplan.0.mode": "0644", f"{S2}.models.0.refs": {}, f"{S2}.netplan.0.mode": "0640"})
    named = judge.treatments(judge.judge(told, MEMBERS), ["netplan_readable", "model_ref_missing"])
    path = {"path": "/etc/netplan/40-cx7.yaml"}
    ref = {
        "path": "/home/nvidia/.cache/huggingface/hub/models--lab--tiny/refs/main",
        "commit": "abc",
        "uid": 1000,
        "gid": 1000,
    }
    assert named == {
        "spark1": {"netplan_readable": [path]},
        "spark2": {"netplan_readable": [path], "model_ref_missing": [ref]},
    }
    assert judge.treatments(judge.judge(told, MEMBERS), []) == {}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nonsense"], r"doctor_treat names nonsense, and there is no such check.*Nothing was changed\.$"),
        (["memory_low"], r"memory_low is not mended here \(you decide\): End what.*Nothing was changed\.$"),
        (["clock_unsynchronised", "x", "y"], "names x, y,"),
    ],
)
def test_an_unknown_or_untreatable_name_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(checks.CheckError, match=message):
        checks.asked(names)


def test_a_name_counts_once() -> None:
    assert checks.asked(["validation_left", "validation_left"]) == ["validation_left"]


GOOD = {
    "title": "T",
    "scope": "host",
    "class": "decide",
    "severity": "note",
    "reads": "x",
    "why": "W",
    "mend": "M",
    "source": ["s"],
    "tried": "lab",
}


@pytest.mark.parametrize(
    "change",
    [
        {"class": "other"},
        {"scope": "galaxy"},
        {"severity": "fatal"},
        {"preflight": "maybe"},
        {"tried": "never"},
        {"why": ""},
        {"more": 1},
        {"pattern": "x"},
        {"in": "logs"},
        {"reads": ""},
    ],
)
def test_an_entry_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    checks.check_of("good", GOOD)
    entry = {key: value for key, value in {**GOOD, **change}.items() if value != "" or key == "why"}
    with pytest.raises(checks.CheckError, match="good"):
        checks.check_of("good", entry)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_words_of_a_check_are_sentences(check: checks.Check) -> None:
    assert check.title[0].isupper()
    assert not check.title.endswith(".")
    assert check.why[0] in "*`" or check.why[0].isupper()
    assert check.why.endswith(".")
    assert check.mend.endswith((".", "`"))


def test_a_firewall_that_lets_the_others_in_is_silent() -> None:
    rules = [
        {"rule": f"allow in on {netdev} from 192.168.10{n}.0/24", "comment": ""}
        for n, netdev in enumerate(("enp1s0f0np0", "enP2p1s0f0np0"))
    ]
    told = damaged({f"{S1}.firewall": {"installed": True, "enabled": True, "rules": rules}})
    assert found(told) == []


def test_rules_that_may_not_be_read_are_not_taken_for_none() -> None:
    told = damaged({f"{S1}.firewall": {"installed": True, "enabled": True, "rules": None}})
    report = judge.judge(told, MEMBERS)
    assert report.findings == []
    assert [one.checks for one in report.not_looked] == [("firewall_blocks",)]


def test_a_port_whose_holder_only_root_sees_is_not_looked_at() -> None:
    told = damaged({f"{S1}.ports.1.containers": [], f"{S1}.ports.1.holders": [], f"{S1}.host.root": False})
    report = judge.judge(told, MEMBERS)
    assert [one["check"] for one in report.findings] == ["no_root"]
    assert any("port 8355" in one.why for one in report.not_looked)


def test_a_wrong_hash_of_one_spark_is_no_finding_of_the_other() -> None:
    facts = Facts("spark1", pair()["spark1"], MEMBERS)
    assert facts.get("memory.total_mib") == 122572
    with pytest.raises(NotLookedError, match="the module told nothing of x"):
        facts.get("x.y")


def test_failing_goes_by_severity() -> None:
    report = judge.judge(damaged({f"{S1}.netplan.0.mode": "0644", f"{S1}.card.marker": True}), MEMBERS)
    assert [len(judge.failing(report, at)) for at in judge.FAIL_AT] == [0, 1, 2, 0]


def test_a_program_of_a_serving_of_this_collection_is_no_strangers() -> None:
    told = damaged({f"{S1}.gpu.programs": [{"pid": 4000, "name": "python3"}, {"pid": 4001, "name": "x"}]})
    told["spark1"]["read"]["ranks"]["processes"].append(process(None, pid=4001))
    assert found(told) == []
