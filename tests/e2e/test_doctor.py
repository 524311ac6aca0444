# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor on virtual Sparks: what is injected is found where it is, mended where that is safe, and nothing else.

What a virtual Spark cannot have is listed in docs/troubleshooting.md as hardware; what it can have and is not injected
here is tried on facts alone, in tests/unit.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import SPARKS, Lab, Pair, Run, eventually
from .state import BY_SERVING, captured, differences

pytestmark = pytest.mark.matrix

#: what a virtual Spark has in any case: it may not set its machine's clock, and nothing there keeps the time; and a
#: virtual cable carries less than a real card in its bad state
ALWAYS = {"clock_unsynchronised", "fabric_slow_card"}
#: the lab's own hub and registry stand for the outside
QUIET = {"doctor_fail_at": "never", "doctor_reach": "huggingface.test:80"}
TOKEN = "hf_" + "PlantedPlantedPlantedPlanted000000"
KEY = "Xq81mSecretValue77"  # like any word, and no variable holds it
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
STAY = "; sleep 86400'"
FAILED = "sudo docker service ps injected_ends --format '{{.CurrentState}}'"
KEEP = "ip -4 -o address show enP2p1s0f0np0 | awk '{print $4}' > /var/tmp/half"
WRONG = "HF_TOKEN=x NCCL_IB_GID_INDEX=3 NCCL_IB_DISABLE=1 NCCL_SOCKET_IFNAME=no0"


@dataclass(frozen=True)
class Fault:
    """What is done to a Spark, and how that is taken back; the checks that find it, and whether one of them mends it.

    :param elsewhere: checks that find it on the other Spark. :param also: checks that may find it as well.
    """

    command: str
    undo: str
    finds: tuple[str, ...]
    treat: str = ""
    elsewhere: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    spark: str = "spark2"


def contained(options: str, command: str = "'sleep 86400'") -> str:
    return CONTAINER.format(options=options, command=command)


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
    "a container that is started again and again": Fault(
        contained("--restart always", "'exit 1'"), GONE, ("containers_restarting",), also=("container_ended",)
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
        "sudo systemctl start docker",
        ("docker_stopped",),
        also=("serving_stopped", "serving_failing", "serving_without_container", "swarm_node_down"),
    ),
    "Docker that was stopped": Fault(
        "sudo systemctl stop docker docker.socket",
        "sudo systemctl start docker",
        ("docker_stopped",),
        "docker_stopped",
        also=("serving_stopped", "serving_failing", "serving_without_container", "swarm_node_down"),
    ),
}


def looked(lab: Lab, **options: Any) -> Run:
    run = lab.play("doctor.yml", **{**QUIET, **options})
    assert run.status == "successful", run.said
    return run


def told(findings: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The hosts of each check that found something, but for what a virtual Spark always has."""
    return {one["check"]: one["hosts"] for one in findings if one["check"] not in ALWAYS}


def found(run: Run) -> dict[str, list[str]]:
    return told(run.results("Show what was found")["localhost"]["findings"])


@pytest.fixture(scope="module")
def sound(serving: Pair) -> dict[str, list[str]]:
    """What the doctor finds on two Sparks that serve: nothing."""
    eventually(lambda: bool(serving.asked()), True, seconds=180)
    before = captured(serving)
    seen = found(looked(serving))
    assert differences(before, captured(serving), BY_SERVING) == [], "it changes nothing"
    return seen


def test_two_sparks_that_serve_have_nothing(sound: dict[str, list[str]]) -> None:
    assert sound == {}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_is_injected_is_found_mended_where_safe_and_nothing_else(
    serving: Pair, sound: dict[str, Any], fault: Fault
) -> None:
    spark = serving.host(fault.spark)
    spark.check_output(fault.command)
    try:
        run = looked(serving, **({"doctor_treat": fault.treat} if fault.treat else {}))
    finally:
        spark.check_output(fault.undo)
    seen = found(run)
    must = {*fault.finds, *fault.elsewhere}
    assert must <= set(seen) <= {*must, *fault.also}
    assert all(fault.spark in seen[name] for name in fault.finds)
    assert not any(fault.spark in seen[name] for name in fault.elsewhere)
    if fault.treat:
        left = run.results("Show what is left")["localhost"]
        assert f"{fault.treat} on {fault.spark}" in left["mended"]
        assert fault.treat not in told(left["findings"])
    else:
        assert run.changed == {}, run.made()
    eventually(lambda: set(found(looked(serving))) - {"serving_waiting", "serving_failing"}, set(), seconds=300)


def test_tasks_of_a_swarm_that_end_again_and_again_are_found(serving: Pair) -> None:
    spark = serving.host("spark1")
    if spark.check_output("sudo docker info --format '{{.Swarm.ControlAvailable}}'").strip() != "true":
        pytest.skip("these Sparks serve without a Swarm")
    image = spark.check_output("sudo docker images --quiet --no-trunc --filter label=dgx-spark").split()[0]
    spark.check_output(
        "sudo docker service create --detach --no-resolve-image --name injected_ends --restart-delay 1s "
        f"--constraint node.hostname==spark1 --entrypoint sh {image} -c 'exit 255'"
    )
    try:
        eventually(lambda: spark.check_output(FAILED).count("Failed") >= 3, True, seconds=120)
        seen = found(looked(serving))
    finally:
        spark.check_output("sudo docker service rm injected_ends")
    assert seen["swarm_task_fails"] == ["spark1"]
    assert set(seen) <= {"swarm_task_fails", "container_ended"}


@pytest.mark.parametrize("name", ["nonsense", "memory_low"])
def test_a_name_that_cannot_be_mended_changes_nothing(serving: Pair, name: str) -> None:
    eventually(lambda: bool(serving.asked()), True, seconds=180)  # one before may have ended the engine
    before = captured(serving)
    run = serving.play("doctor.yml", doctor_treat=name)
    assert run.status == "failed"
    assert "Nothing was changed." in run.words
    assert set(run.stats) & set(SPARKS) == set(), "no Spark was asked"
    assert differences(before, captured(serving), BY_SERVING) == []


def test_no_secret_is_in_an_archive(serving: Pair, tmp_path: Path) -> None:
    spark = serving.host("spark2")
    spark.check_output(
        contained(
            f"--env HF_TOKEN={TOKEN} --label token={TOKEN}", f"'echo Bearer {TOKEN}; sleep 86400' --api-key {KEY}"
        )
    )
    try:
        run = looked(serving, doctor_bundle=True, doctor_bundle_dir=str(tmp_path), spark_hf_token=TOKEN)
    finally:
        spark.check_output(GONE)
    (path,) = tmp_path.glob("doctor-*.tar.gz")
    with tarfile.open(path) as tar:
        streams = {one.name: tar.extractfile(one) for one in tar.getmembers()}
        texts = {name: stream.read().decode() for name, stream in streams.items() if stream}
    assert [name for name, text in texts.items() if TOKEN in text or KEY in text] == []
    assert any(name.endswith("spark2/logs/vllm.log") for name in texts)
    assert TOKEN not in run.said
    begin = "sudo grep -hrA1 'BEGIN OPENSSH PRIVATE KEY' /etc/dgx-spark/trtllm/ssh"
    keys = [host.check_output(begin) for host in map(serving.host, SPARKS)]
    assert [name for name, text in texts.items() for key in keys if key.splitlines()[1] in text] == []


def test_blank_sparks_are_read_with_and_without_root_and_stay_as_they_are(lab: Lab, tmp_path: Path) -> None:
    """No role has ever run there. Their toolkit is not configured yet, and the lab's hub has no model."""
    before = captured(lab)
    as_root = found(looked(lab, doctor_json=str(tmp_path / "doctor.json")))
    run = looked(lab, doctor_become=False)
    assert differences(before, captured(lab)) == []
    assert set(as_root) - {"toolkit_missing", "fabric_link_local"} == {"model_refused"}
    assert "no_root" in found(run)
    unread = {
        name for one in run.results("Show what was found")["localhost"]["not_looked_at"] for name in one["checks"]
    }
    assert {"kernel_oom", "docker_old"} <= unread
    assert json.loads((tmp_path / "doctor.json").read_text())["schema"] == 1


def test_a_spark_that_is_away_is_told_beside_the_other(lab: Lab) -> None:
    inventory = lab.hosts(*SPARKS)
    inventory["spark"]["hosts"]["spark2"]["ansible_host"] = "192.0.2.1"
    inventory["spark"]["hosts"]["spark2"]["ansible_ssh_common_args"] = "-o ConnectTimeout=3"
    run = lab.play("doctor.yml", inventory=inventory, doctor_reach="")
    assert run.status == "failed"
    assert found(run)["unreachable"] == ["spark2"]
    assert "unreachable on spark2" in run.words
