# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to virtual Sparks for the doctor to find, and how it is taken back: data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

HUB = "~/.cache/huggingface/hub/models--lab--tiny-chat"
#: a container of others that says all of this and stays
SAYS = {
    "log_cuda_oom": "torch.OutOfMemoryError: CUDA out of memory.",
    "log_over_tcp": "spark1:1:1 [0] NCCL INFO NET/Socket : Using [0]enP7s7:10.0.0.1<0>",
    "log_ifname": "RuntimeError: Unable to find address for: enp1s0f1np1",
    "log_qp_gid": "NCCL WARN Call to ibv_modify_qp failed with 61 No data available",
    "log_qp_timeout": "NCCL WARN Call to ibv_modify_qp failed with 110 Connection timed out",
    "log_nccl_timeout": "Watchdog caught collective operation timeout",
    "log_ptxas": "ptxas fatal   : Value sm_121a is not defined",
    "log_illegal_instruction": "CUDA error: an illegal instruction was encountered",
    "log_mpi_key": "Permission denied (publickey).",
    "log_nccl_library": "libnccl.so.2: cannot open shared object file",
    "log_import": "ImportError: libcuda.so.1: cannot open shared object file",
    "log_gated": "Cannot access gated repo for url",
    "log_offline": "LocalEntryNotFoundError",
    "log_no_space": "No space left on device",
    "log_port": "Address already in use",
    "log_certificate": "error while validating Root CA Certificate",
    "log_memory_fault": "NV_ERR_NO_MEMORY",
    "log_few_gpus": "TP size (2) is larger than the number of available GPUs (1)",
}
IMAGE = "$(sudo docker images --quiet --filter label=dgx-spark | head -1)"
CONTAINER = f"sudo docker run --detach --name vllm --entrypoint sh {{options}} {IMAGE} -c {{command}}"
GONE = "sudo docker rm --force vllm"
#: an image of the little that sleep needs, which is none of ours
STRANGER = (
    "tar --create --dereference /bin/sleep /lib/x86_64-linux-gnu/libc.so.6 /lib64/ld-linux-x86-64.so.2"
    " | sudo docker import - stranger"
)
#: A unit that was enabled since the last boot is not brought along, as docs/faults.md says.
DOCKER_AGAIN = "sudo systemctl start docker; ! systemctl cat dgx-spark-trtllm || sudo systemctl start dgx-spark-trtllm"
STAY = "; sleep 86400'"
FAILED = "sudo docker service ps injected_ends --format '{{.CurrentState}}'"
KEEP = "ip -4 -o address show enP2p1s0f0np0 | awk '{print $4}' > /var/tmp/half"
#: what is found of a container that runs for moments, at such a moment
BETWEEN = ("container_ended", "container_memlock", "container_without_fabric")
WRONG = "HF_TOKEN=x NCCL_IB_GID_INDEX=3 NCCL_IB_DISABLE=1 NCCL_SOCKET_IFNAME=no0"


@dataclass(frozen=True)
class Fault:
    """What is done to a Spark, and how that is taken back; the checks that find it, and whether one of them mends it.

    :param elsewhere: checks that find it on the other Spark. :param also: checks that may find it as well.
    :param both: it is done to both Sparks, and found on both. :param options: of the doctor.
    """

    command: str
    undo: str
    finds: tuple[str, ...]
    treat: str = ""
    elsewhere: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    spark: str = "spark2"
    both: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def contained(options: str, command: str = "'sleep 86400'") -> str:
    return CONTAINER.format(options=options, command=command)


#: on two Sparks that serve, under either launcher
FAULTS = {
    "a netplan file for everybody": Fault(
        "sudo install -m 644 /dev/null /etc/netplan/95-injected.yaml",
        "sudo rm /etc/netplan/95-injected.yaml",
        ("netplan_readable",),
        "netplan_readable",
    ),
    "NVIDIA Sync's netplan file": Fault(
        "sudo install -m 600 /dev/null /etc/netplan/99-nvidia-sync-cluster.yaml",
        "sudo rm /etc/netplan/99-nvidia-sync-cluster.yaml",
        ("netplan_sync",),
    ),
    "a model without its name": Fault(
        f"sudo mv {HUB}/refs /var/tmp/refs",
        f"sudo rm -rf {HUB}/refs && sudo mv /var/tmp/refs {HUB}/refs",
        ("model_ref_missing",),
        "model_ref_missing",
    ),
    "a file of a model gone": Fault(
        f"mkdir -p {HUB}/snapshots/x && ln -s ../../blobs/none {HUB}/snapshots/x/a.safetensors",
        f"rm -r {HUB}/snapshots/x",
        ("model_broken",),
    ),
    "a model's files of root": Fault(
        f"sudo touch {HUB}/blobs/of-root", f"sudo rm {HUB}/blobs/of-root", ("model_foreign",)
    ),
    "an interrupted download": Fault(
        f"touch -d '3 hours ago' {HUB}/blobs/1.incomplete && truncate -s 9 {HUB}/blobs/1.incomplete"
        f" && touch -d '3 hours ago' {HUB}/blobs/1.incomplete",
        f"rm {HUB}/blobs/1.incomplete",
        ("model_partial",),
    ),
    "a validation that was interrupted": Fault(
        "sudo mkdir /run/dgx-spark-validate",
        "sudo rmdir /run/dgx-spark-validate || true",
        ("validation_left",),
        "validation_left",
    ),
    "a reboot to come": Fault("sudo touch /run/reboot-required", "sudo rm /run/reboot-required", ("reboot_required",)),
    "an interrupted installation": Fault(
        "sudo touch /var/lib/dpkg/updates/0001", "sudo rm /var/lib/dpkg/updates/0001", ("dpkg_interrupted",)
    ),
    "a small MTU": Fault(
        "sudo ip link set enp1s0f0np0 mtu 1500",
        "sudo ip link set enp1s0f0np0 mtu 9000",
        ("fabric_mtu_small", "mtus_differ"),
    ),
    "a half without an address": Fault(
        f"{KEEP} && sudo ip address flush dev enP2p1s0f0np0",
        "sudo ip address add $(cat /var/tmp/half) dev enP2p1s0f0np0",
        ("fabric_half_unaddressed",),
        elsewhere=("links_unmatched",),  # whose half still has an address
    ),
    "a half that is down": Fault(
        f"{KEEP} && sudo ip link set enP2p1s0f0np0 down",
        "sudo ip link set enP2p1s0f0np0 up; sudo ip address replace $(cat /var/tmp/half) dev enP2p1s0f0np0",
        ("fabric_half_down",),
        also=("links_unmatched",),
    ),
    "a link-local address": Fault(
        "sudo ip address add 169.254.7.7/16 dev enp1s0f0np0",
        "sudo ip address del 169.254.7.7/16 dev enp1s0f0np0",
        ("fabric_link_local",),
    ),
    "device nodes that are gone": Fault(
        "sudo mv /dev/infiniband /dev/infiniband.away",
        "sudo mv /dev/infiniband.away /dev/infiniband",
        ("fabric_verbs",),
    ),
    "a host name twice": Fault(
        "sudo hostname spark1",
        "sudo hostname spark2",
        ("same_hostname",),
        also=("own_name_unresolved", "own_name_on_fabric"),
    ),
    "a daemon.json that is none": Fault(
        "sudo cp --preserve /etc/docker/daemon.json /var/tmp/ && echo '{' | sudo tee /etc/docker/daemon.json",
        "sudo cp --preserve /var/tmp/daemon.json /etc/docker/daemon.json",
        ("docker_config_wrong",),
    ),
    "a GPU that Docker does not advertise yet": Fault(
        "sudo cp --preserve /etc/docker/daemon.json /var/tmp/ && sudo python3 -c '"
        'import json; path = "/etc/docker/daemon.json"; found = json.load(open(path)); '
        'found.setdefault("node-generic-resources", []).append("gpu=x"); json.dump(found, open(path, "w"))\'',
        "sudo cp --preserve /var/tmp/daemon.json /etc/docker/daemon.json",
        ("docker_restart_pending",),
    ),
    "a CDI specification of another driver": Fault(
        "sudo mkdir -p /etc/cdi && echo '- hostPath: /no/libcuda.so.1' | sudo tee /etc/cdi/nvidia.yaml",
        "sudo rm -r /etc/cdi",
        ("cdi_stale",),
    ),
    "a firewall without the others": Fault(
        "sudo ufw allow 22/tcp && sudo ufw --force enable",
        "sudo ufw --force disable && sudo ufw delete allow 22/tcp",
        ("firewall_blocks",),
    ),
    "another engine's container": Fault(
        contained("--network host " + " ".join(f"--env {one}" for one in WRONG.split())),
        GONE,
        (
            "container_secret",
            "container_gid_pinned",
            "container_ib_off",
            "container_ifname",
            "container_without_fabric",
            "container_memlock",
        ),
        also=("images_differ",),
    ),
    "vLLM over several Sparks without its address": Fault(
        contained("--network host --privileged", "'sleep 86400' vllm --nnodes 2"), GONE, ("container_host_ip",)
    ),
    "an engine that ended by an error": Fault(
        f"{STRANGER} && ! sudo docker run --name vllm stranger /bin/sleep nonsense",
        f"{GONE} && sudo docker image rm stranger",
        ("container_ended",),
    ),
    "another image on one Spark": Fault(
        f"sudo docker commit --change 'LABEL other=yes' $(sudo docker create {IMAGE}) other"
        " && sudo docker run --detach --privileged --network host --name dgx-spark-trtllm_x --entrypoint sh other"
        " -c 'sleep 86400'",
        "sudo docker rm --force dgx-spark-trtllm_x $(sudo docker ps --all --quiet --filter status=created)"
        " && sudo docker image rm other",
        ("images_differ",),
        elsewhere=("images_differ",),
    ),
    "a container that is started again and again": Fault(
        contained("--restart always", "'exit 1'"), GONE, ("containers_restarting",), also=BETWEEN
    ),
    "a container that was killed": Fault(f"{contained('')} && sudo docker kill vllm", GONE, ("container_killed",)),
    "what logs say": Fault(
        contained("--network host --privileged", "'" + "; ".join(f'echo "{line}"' for line in SAYS.values()) + STAY),
        GONE,
        tuple(SAYS),
    ),
    "GPUs that are gone": Fault(
        "sudo mkdir -p /etc/virtual-spark/faults && sudo touch /etc/virtual-spark/faults/gpu-fell-off",
        "sudo rm /etc/virtual-spark/faults/gpu-fell-off",
        ("gpu_silent",),
        also=("drivers_differ",),
    ),
    "Docker's service alone that was stopped": Fault(  # its socket would start it for whoever asks
        "sudo systemctl start docker.socket && sudo systemctl stop docker.service",
        DOCKER_AGAIN,
        ("docker_stopped",),
        also=("serving_stopped", "serving_failing", "serving_without_container", "swarm_node_down"),
    ),
    "Docker that was stopped": Fault(
        "sudo systemctl stop docker docker.socket",
        DOCKER_AGAIN,
        ("docker_stopped",),
        "docker_stopped",
        also=("serving_stopped", "serving_failing", "serving_without_container", "swarm_node_down"),
    ),
}


def package(name: str) -> str:
    """Install an empty Debian package of that name."""
    about = f"Package: {name}\\nVersion: 1.0-1\\nArchitecture: all\\nMaintainer: nobody\\nDescription: injected\\n"
    return (
        f"mkdir -p /var/tmp/{name}/DEBIAN && printf '{about}' > /var/tmp/{name}/DEBIAN/control"
        f" && dpkg-deb --build /var/tmp/{name} && sudo dpkg --install /var/tmp/{name}.deb"
    )


def listening(port: int) -> Fault:
    """A server of somebody else's on all addresses."""
    return Fault(
        f"sudo systemd-run --quiet --unit injected python3 -m http.server {port}; sleep 1",
        "sudo systemctl stop injected",
        ("sshd_everywhere" if port == 2233 else "api_everywhere",),
    )


def meminfo(edit: str, finds: str) -> Fault:
    """What another /proc/meminfo on both Sparks shows."""
    options = {"engine_serve_meminfo_path": MEMINFO}
    return Fault(f'sed -E "{edit}" /proc/meminfo > {MEMINFO}', f"rm {MEMINFO}", (finds,), both=True, options=options)


#: of a file that the kernel shows, and that a virtual Spark does not let anybody write
SHOWN = "echo {text} | sudo tee /var/tmp/shown && sudo mount --bind /var/tmp/shown {path}"
LOCK = (
    "import fcntl, time; file = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
    "time.sleep(86400)"
)
EMPTY = "tar --create --files-from /dev/null | sudo docker import - empty"
SWARM = "sudo docker swarm init --advertise-addr {address}"
LEFT = "sudo docker swarm leave --force"
NO_IMAGE = "sudo docker image rm empty"
#: in a network that no other Spark has an address in
OWN = "sudo ip address add 10.98.1.2/24 dev enp1s0f0np0"
NOT_OWN = "sudo ip address del 10.98.1.2/24 dev enp1s0f0np0"
LEASED = "valid_lft 9999 preferred_lft 9999"
MANAGEMENT = "$(ip -4 -oneline address show enP7s7 | sed 's/.*inet \\([0-9.]*\\).*/\\1/')"
KNOWN_AGAIN = "sudo sh -c 'cat /var/tmp/hosts > /etc/hosts' && rm /var/tmp/hosts"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMbDMZWHRLs/AJAv0+UHBF4voVLqgbD1P1YpnG+PDoKi injected"
MEMINFO = "/var/tmp/meminfo"

#: on two Sparks that no role has touched
BLANK = {
    "packages that do harm": Fault(
        f"{package('earlyoom')} && {package('opensm')}",
        "sudo dpkg --purge earlyoom opensm && rm -r /var/tmp/earlyoom* /var/tmp/opensm*",
        ("earlyoom_installed", "opensm_installed"),
    ),
    "a program that installs": Fault(
        f'sudo systemd-run --quiet --unit injected python3 -c "{LOCK}"; sleep 1',
        "sudo systemctl stop injected",
        ("dpkg_locked",),
    ),
    "a disk that is nearly full": Fault(
        "mkdir -p ~/.cache/huggingface && sudo mount -t tmpfs -o size=50m injected ~/.cache/huggingface",
        "sudo umount ~/.cache/huggingface && rmdir ~/.cache/huggingface",
        ("disk_full",),
    ),
    "files that fill the memory": meminfo(
        "s/^(MemFree:).*/\\1 9000 kB/; s/^(MemAvailable:).*/\\1 20000000 kB/", "page_cache_full"
    ),
    "memory that is used up": meminfo("s/^(MemAvailable:).*/\\1 9000 kB/", "memory_low"),
    "less memory than the other": meminfo(
        "s/^(MemTotal:).*/\\1 $([ $(hostname) = spark1 ] && echo 3 || echo 6)0000000 kB/", "memory_differs"
    ),
    "a card that is gone": Fault(
        "sudo mount -t tmpfs injected /sys/class/infiniband", "sudo umount /sys/class/infiniband", ("fabric_no_card",)
    ),
    "a cable of half the speed": Fault(
        SHOWN.format(text=100000, path="/sys/class/net/enp1s0f0np0/speed"),
        "sudo umount /sys/class/net/enp1s0f0np0/speed",
        ("fabric_slow_cable",),
    ),
    "another firmware of the card": Fault(
        SHOWN.format(text="28.99.1234", path="/sys/class/infiniband/rocep1s0f0/fw_ver"),
        "sudo umount /sys/class/infiniband/rocep1s0f0/fw_ver",
        ("firmware_differs",),
        elsewhere=("firmware_differs",),
    ),
    "both halves in one network, one by DHCP": Fault(
        f"{OWN} && sudo ip address add 10.98.1.3/24 dev enP2p1s0f0np0 {LEASED}",
        f"{NOT_OWN}; sudo ip address del 10.98.1.3/24 dev enP2p1s0f0np0",
        ("fabric_halves_one_subnet", "fabric_by_dhcp"),
        also=("links_unmatched", "fabric_mtu_small"),
    ),
    "a port in a bridge": Fault(
        "sudo ip link add br-injected type bridge && sudo ip link set enp1s0f1np1 master br-injected",
        "sudo ip link del br-injected",
        ("fabric_bonded",),
    ),
    "a hot-plug driver": Fault(
        "sudo mkdir -p /etc/nvidia && sudo touch /etc/nvidia/cx7-hotplug-enabled",
        "sudo rm /etc/nvidia/cx7-hotplug-enabled && sudo rmdir --ignore-fail-on-non-empty /etc/nvidia",
        ("fabric_hotplug",),
    ),
    "a change of the fabric that was interrupted": Fault(
        "sudo systemd-run --quiet --unit dgx-spark-fabric-rollback --on-active=1h true",
        "sudo systemctl stop dgx-spark-fabric-rollback.timer",
        ("fabric_rollback_pending",),
    ),
    "a Docker that does not start": Fault(
        "echo '{' | sudo tee /etc/docker/daemon.json; ! sudo systemctl restart docker",
        "sudo rm /etc/docker/daemon.json && sudo systemctl reset-failed docker docker.socket"
        " && sudo systemctl start docker",
        ("docker_failed", "docker_config_wrong"),
    ),
    "a Swarm by a link-local address": Fault(
        "sudo ip address add 169.254.9.9/16 dev enp1s0f0np0 && " + SWARM.format(address="169.254.9.9"),
        f"{LEFT}; sudo ip address del 169.254.9.9/16 dev enp1s0f0np0",
        ("swarm_link_local", "fabric_link_local"),
        also=("fabric_mtu_small", "fabric_half_unaddressed"),
    ),
    "a Swarm by an address of DHCP": Fault(
        f"{OWN} {LEASED} && " + SWARM.format(address="10.98.1.2"),
        f"{LEFT}; {NOT_OWN}",
        ("swarm_by_dhcp", "fabric_by_dhcp"),
        also=("links_unmatched", "fabric_mtu_small", "fabric_half_unaddressed"),
    ),
    "a Swarm whose address is gone": Fault(
        f"{OWN} && {SWARM.format(address='10.98.1.2')} && {NOT_OWN}", LEFT, ("swarm_address_gone",)
    ),
    "a Swarm that is locked": Fault(
        f"{SWARM.format(address=MANAGEMENT)} && sudo docker swarm update --autolock=true"
        " && sudo systemctl restart docker",
        LEFT,
        ("swarm_lost",),
    ),
    "a node of a Swarm that is drained": Fault(
        f"{SWARM.format(address=MANAGEMENT)} && sudo docker node update --availability drain spark2",
        LEFT,
        ("swarm_node_drained",),
    ),
    "services that no node can run": Fault(
        f"{EMPTY} && {SWARM.format(address=MANAGEMENT)}"
        " && sudo docker service create --detach --name injected_gpu --generic-resource gpu=1 empty true"
        " && sudo docker service create --detach --name injected_path"
        " --mount type=bind,source=/no/such,target=/x empty true"
        " && sleep 8",
        f"{LEFT}; {NO_IMAGE}",
        ("swarm_no_gpu", "swarm_bind_missing"),
        also=("swarm_task_fails",),
    ),
    "GPUs that the toolkit does not give to a Swarm": Fault(
        'echo \'{"node-generic-resources": ["gpu=x"]}\' | sudo tee /etc/docker/daemon.json'
        f" && sudo systemctl restart docker && {SWARM.format(address=MANAGEMENT)}",
        f"{LEFT}; sudo rm /etc/docker/daemon.json; sudo systemctl restart docker",
        ("swarm_resource_mismatch",),
    ),
    "a Swarm each": Fault(SWARM.format(address=MANAGEMENT), LEFT, ("swarms_differ",), both=True),
    "an sshd on all addresses": listening(2233),
    "an API on all addresses": listening(8355),
    "a hub that does not answer": Fault(
        "cp /etc/hosts /var/tmp/hosts && echo 127.0.0.1 huggingface.test | sudo tee --append /etc/hosts",
        KNOWN_AGAIN,
        ("hub_unreachable",),
    ),
    "a machine ID twice": Fault(
        "sudo cp /etc/machine-id /var/tmp/ && echo 0123456789abcdef0123456789abcdef | sudo tee /etc/machine-id",
        "sudo sh -c 'cat /var/tmp/machine-id > /etc/machine-id' && sudo rm /var/tmp/machine-id",
        ("same_machine_id",),
        both=True,
    ),
    "an ssh host key twice": Fault(
        f"echo {KEY} | sudo tee /etc/ssh/ssh_host_injected_key.pub",
        "sudo rm /etc/ssh/ssh_host_injected_key.pub",
        ("same_ssh_keys",),
        both=True,
    ),
    "an address twice": Fault(
        "sudo ip address add 10.99.0.5/24 dev enP7s7",
        "sudo ip address del 10.99.0.5/24 dev enP7s7",
        ("same_address",),
        both=True,
    ),
    "a name that it does not know itself": Fault(
        "sudo hostname nameless",
        "sudo hostname spark2",
        ("own_name_unresolved",),
    ),
    "a name that means the fabric": Fault(
        f"{OWN}; cp /etc/hosts /var/tmp/hosts && echo 10.98.1.2 spark2 | sudo tee --append /etc/hosts",
        f"{NOT_OWN}; {KNOWN_AGAIN}",
        ("own_name_on_fabric",),
        also=("links_unmatched", "fabric_mtu_small", "fabric_half_unaddressed"),
    ),
    "another release of DGX OS": Fault(
        "sudo cp /etc/dgx-release /var/tmp/ && echo 'DGX_OTA_VERSION=\"7.9.9\"' | sudo tee --append /etc/dgx-release",
        "sudo sh -c 'cat /var/tmp/dgx-release > /etc/dgx-release' && sudo rm /var/tmp/dgx-release",
        ("releases_differ",),
        elsewhere=("releases_differ",),
    ),
}

ETC_GATEWAY = "/etc/dgx-spark/gateway"
#: of a file of the gateway's, which keeps its mode and its owner
AWAY = f"sudo cp --preserve {ETC_GATEWAY}/{{path}} /var/tmp/injected"
BACK = f"sudo mv /var/tmp/injected {ETC_GATEWAY}/{{path}}"
PEM = "tls/server.pem"
CERTIFICATE = (
    f"{AWAY.format(path=PEM)} && sudo sh -c 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    f" -subj /CN=injected {{ends}} -keyout /var/tmp/key -out /var/tmp/crt && cat /var/tmp/crt /var/tmp/key"
    f" > {ETC_GATEWAY}/{PEM} && rm /var/tmp/crt /var/tmp/key'"
)
RUNS_AGAIN = "sudo systemctl start dgx-spark-gateway"

#: on a Spark that serves behind a gateway, in test_gateway.py
GATEWAY = {
    "a gateway that was stopped": Fault(
        "sudo systemctl stop dgx-spark-gateway", RUNS_AGAIN, ("gateway_down",), "gateway_down", spark="spark1"
    ),
    "a gateway that does not start at boot": Fault(
        "sudo rm /etc/systemd/system/multi-user.target.wants/dgx-spark-gateway.service",
        "sudo systemctl enable --no-reload dgx-spark-gateway",
        ("gateway_disabled",),
        spark="spark1",
    ),
    "a gateway whose port another program has": Fault(
        "sudo systemctl stop dgx-spark-gateway"
        " && sudo systemd-run --quiet --unit injected python3 -m http.server --bind 0.0.0.0 443; sleep 1",
        f"sudo systemctl stop injected; {RUNS_AGAIN}",
        ("gateway_port_taken", "gateway_down"),
        spark="spark1",
    ),
    "a certificate that ends": Fault(
        CERTIFICATE.format(ends="-days 10"), BACK.format(path=PEM), ("gateway_certificate_ends",), spark="spark1"
    ),
    "a certificate that has ended": Fault(
        CERTIFICATE.format(ends="-not_before 20250101000000Z -not_after 20250201000000Z"),
        BACK.format(path=PEM),
        ("gateway_certificate_ended",),
        spark="spark1",
    ),
    "a list of clients that is none": Fault(
        f"{AWAY.format(path='clients.json')} && echo '{{' | sudo tee {ETC_GATEWAY}/clients.json",
        BACK.format(path="clients.json"),
        ("gateway_clients_damaged",),
        spark="spark1",
    ),
    "a key that others may read": Fault(
        f"sudo chmod 644 {ETC_GATEWAY}/tls/ca.key",
        f"sudo chmod 600 {ETC_GATEWAY}/tls/ca.key",
        ("gateway_keys_readable",),
        spark="spark1",
    ),
    "a gateway that somebody has configured": Fault(
        f"{AWAY.format(path='haproxy.cfg')} && echo '# mine' | sudo tee --append {ETC_GATEWAY}/haproxy.cfg",
        BACK.format(path="haproxy.cfg"),
        ("gateway_changed",),
        spark="spark1",
    ),
}

#: injected by a test of its own
BY_ITSELF = {
    "unreachable": "test_a_spark_that_is_away_is_told_beside_the_other",
    "no_root": "test_blank_sparks_are_read_with_and_without_root_and_stay_as_they_are",
    "model_refused": "test_blank_sparks_are_read_with_and_without_root_and_stay_as_they_are",
    "toolkit_missing": "test_blank_sparks_are_read_with_and_without_root_and_stay_as_they_are",
    "swarm_task_fails": "test_tasks_of_a_swarm_that_end_again_and_again_are_found",
    "fabric_no_carrier": "test_a_cable_that_is_out_is_found",
    "cages_crossed": "test_a_cable_between_unlike_cages_is_found",
    "users_differ": "test_users_of_two_names_are_found",
    "engine_hangs": "test_an_engine_that_stands_still_is_found",
    "clock_unsynchronised": "test_blank_sparks_are_read_with_and_without_root_and_stay_as_they_are",
    "swarm_node_down": "test_a_node_of_a_swarm_that_is_down_is_found",
    "serving_gave_up": "test_an_engine_that_fails_again_and_again_is_found_and_one_that_gave_up",
    "serving_failing": "test_an_engine_that_fails_again_and_again_is_found_and_one_that_gave_up",
    "serving_waiting": "test_what_the_state_of_an_engine_tells_is_found",
    "serving_without_container": "test_what_the_state_of_an_engine_tells_is_found",
    "serving_stopped": "test_a_unit_that_was_stopped_is_found_and_started",
    "serving_over_tcp": "test_an_engine_over_tcp_is_found",
    "serving_kept_stopped": "test_a_port_that_is_taken_from_an_engine_that_was_stopped_is_found",
    "port_taken": "test_a_port_that_is_taken_from_an_engine_that_was_stopped_is_found",
    "serving_image_missing": "test_a_container_that_is_gone_is_found",
}
