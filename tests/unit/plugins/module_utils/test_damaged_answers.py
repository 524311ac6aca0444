# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a host, Docker or a tool answers: the functions about Docker, swarms, GPUs, hosts and the fabric read it, or
say in a sentence what is wrong. No other error comes out of one.

Each function is called with good answers of which one or two places are damaged: null where a mapping is expected, a
list where a string is, a key that is not there, a text that breaks off. 100 examples for each are tried; more with
``pytest --hypothesis-profile=fuzz``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker import (
    api,
    daemon_json,
    dockerd,
    gpu_probe,
    host_facts,
    image_layers,
    image_source,
    image_store,
    registry,
    swarm,
    swarm_host,
    toolkit_config,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric import (
    bandwidth,
    hotplug,
    ibdev2netdev,
    ping,
    probe,
    rdma_counters,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import (
    ledger,
    nvidia_smi,
    packages,
    routes,
    tcp_port,
    ufw,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.notes import read_note
from damaged import FILES, meant_for_people, texts, values
from hypothesis import given
from hypothesis import strategies as st

UUID = "GPU-2dee1e25-b3b5-007e-2b55-79f2d0f2ebe5"
DAEMON: dict[str, Any] = {
    "default-runtime": "nvidia",
    "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}},
    "node-generic-resources": [f"gpu={UUID}", "fpga=1"],
    "live-restore": False,
    "registry-mirrors": ["https://mirror.example"],
    "features": {"cdi": True},
}
SETTINGS = daemon_json.Settings(
    {"default-runtime": "nvidia"}, {"runtimes": {"nvidia": {"path": "n"}}}, "gpu", [UUID, "b"]
)
SWARM: dict[str, Any] = {
    "LocalNodeState": "active",
    "ControlAvailable": True,
    "Cluster": {"ID": "c"},
    "NodeID": "n",
    "NodeAddr": "10.0.0.1",
    "RemoteManagers": [{"Addr": "10.0.0.1:2377", "NodeID": "n"}],
    "Error": "",
}
INFO: dict[str, Any] = {
    "DefaultRuntime": "nvidia",
    "Runtimes": {"runc": {"path": "runc"}, "nvidia": {}},
    "GenericResources": [
        {"NamedResourceSpec": {"Kind": "gpu", "Value": UUID}},
        {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 3}},
    ],
    "LiveRestoreEnabled": False,
    "ServerVersion": "29.0.0",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "DockerRootDir": "/var/lib/docker",
    "HttpsProxy": "http://proxy:3128",
    "NoProxy": "localhost,.example",
    "Swarm": SWARM,
}
CONTAINERS: list[Any] = [
    {"Id": "0" * 64, "Names": ["/web"], "Image": "nginx", "Labels": {api.STACK_LABEL: "web"}, "Mounts": []}
]
NODES: list[Any] = [
    {
        "ID": "n",
        "Version": {"Index": 7},
        "Spec": {"Availability": "active", "Role": "manager", "Labels": {"dgx_spark.rank": "0"}},
        "Status": {"State": "ready", "Addr": "10.0.0.1", "Message": ""},
        "ManagerStatus": {"Addr": "10.0.0.1:2377"},
        "Description": {"Hostname": "spark1", "Resources": {"GenericResources": INFO["GenericResources"]}},
    }
]
SERVICES: list[Any] = [{"ID": "s", "Spec": {"Name": "x_leader", "Labels": {api.STACK_LABEL: "x"}}}]
TASKS: list[Any] = [
    {
        "ServiceID": "s",
        "NodeID": "n",
        "DesiredState": "running",
        "Status": {
            "State": "failed",
            "Timestamp": "2026-11-29T10:00:00.123Z",
            "Err": "x",
            "ContainerStatus": {"ExitCode": 65},
        },
        "GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": UUID}}],
    }
]
NETWORKS: list[Any] = [
    {"Name": "ingress", "Scope": "swarm", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}]}}
]
IMAGE: dict[str, Any] = {
    "Id": "sha256:1",
    "RootFS": {"Layers": ["sha256:aa"]},
    "GraphDriver": {"Data": {"UpperDir": "/o/2/diff", "LowerDir": "/o/1/diff:/o/0/diff"}},
    "Config": {"Labels": {gpu_probe.LABEL: "x"}},
}
MESSAGE = {"id": "aa", "status": "Downloading", "progressDetail": {"current": 3, "total": 10}}
OFFERED = {"Descriptor": {"size": 3}, "Platforms": [{"architecture": "arm64", "os": "linux"}]}
ADDRESSES: list[Any] = [
    {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
    {"ifname": "eth0", "addr_info": [{"family": "inet", "local": "10.0.0.1", "prefixlen": 24, "dynamic": True}]},
]
ROUTES: list[Any] = [
    {"dst": "default", "gateway": "10.0.0.254", "dev": "eth0", "metric": 100, "prefsrc": "10.0.0.1"},
    {"dst": "10.0.0.0/24", "dev": "eth0", "scope": "link", "table": "main"},
    {"type": "local", "dst": "10.0.0.1", "dev": "eth0", "table": "local"},
]
PROC_ROUTES = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\tFE00000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\neth0\t0000000A\t0\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
)
PROC_TCP = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31337 1 0 100 0\n"
)
TOML = (
    '#accept-nvidia-visible-devices = true\nswarm-resource = "DOCKER_RESOURCE_GPU"\n\n'
    "[nvidia-container-runtime]\nmode = \"auto\"\nlog-level = 'info'\n"
)
IPERF: dict[str, Any] = {"end": {"sum_received": {"bits_per_second": 1.1e11}}}
FRAME = probe.pack("aa:bb:cc:dd:ee:ff", ("aa:bb:cc:dd:ee:ff", 0), ["x"])[14:].rstrip(b"\0").decode()


def readable(text: str) -> str:
    """A text as it is read from a file: UTF-8."""
    return daemon_json.decode(text.encode(errors="replace"))[1]


TEXTS: dict[str, tuple[Callable[[str], Any], tuple[str, ...]]] = {
    "daemon.json": (daemon_json.parse, (json.dumps(DAEMON), "{}", "")),
    "daemon.json, merged": (
        lambda text: daemon_json.edit(readable(text), SETTINGS.merged(daemon_json.parse(readable(text)))).encode(),
        (json.dumps(DAEMON), json.dumps(DAEMON, indent=2), "{}"),
    ),
    "daemon.json, judged": (
        lambda text: dockerd.start_problems(daemon_json.parse(text), {"hosts": ["fd://"]}, "active"),
        (json.dumps(DAEMON),),
    ),
    "the journal of Docker": (daemon_json.why_not_started, ('level=error msg="unable to configure"\nx\n',)),
    "a command line": (
        lambda text: dockerd.parse_flags(text.split("\0")),
        ("dockerd\0-H\0fd://\0--add-runtime=nvidia=/n\0-D",),
    ),
    "nvidia-smi": (nvidia_smi.parse_gpus, (f"0, {UUID}, NVIDIA GB10, 580.95.05, 12.1, [N/A]\n",)),
    "nvidia-smi, in all": (
        lambda text: nvidia_smi.read_answer(14, text, text),
        (f"0, {UUID}, NVIDIA GB10, 580.95.05, 12.1, [N/A]\nWARNING: infoROM is corrupted at gpu 0000:01:00.0\n",),
    ),
    "nvidia-smi that fails": (
        lambda text: nvidia_smi.explain_failure(255, text),
        ("Failed to initialize NVML: Unknown Error",),
    ),
    "docker run": (lambda text: gpu_probe.explain(255, text), ("Failed to initialize NVML: Unknown Error",)),
    "ldd": (gpu_probe.libraries, ("\tlibc.so.6 => /lib/libc.so.6 (0x0000ffff9d380000)\n\t/lib/ld.so (0x1)\n",)),
    "a script": (
        lambda text: gpu_probe.interpreter(text.encode(errors="replace")),
        ("#!/bin/sh\n", "#! /usr/bin/env x"),
    ),
    "nvidia-ctk config": (
        lambda text: [
            toolkit_config.string(text, "swarm-resource"),
            toolkit_config.string(text, "mode", host_facts.RUNTIME),
        ],
        (TOML, TOML.replace("auto", "a\\u0041\\U00000041\\x41")),
    ),
    "swarm-resource": (lambda text: toolkit_config.with_resource(text, text), ("DOCKER_RESOURCE_GPU,X",)),
    "nvidia-ctk --version": (
        toolkit_config.version_of,
        ("NVIDIA Container Toolkit CLI version 1.19.0\n", "1:1.18.2-1"),
    ),
    "the toolkit's mode": (lambda text: toolkit_config.swarm_way("1.19.0", text, 1), ("auto", "legacy", "cdi")),
    "a version of the toolkit": (lambda text: toolkit_config.swarm_way(text, "auto", 2), ("1.18.2", "1.19.0-1")),
    "a node's certificate": (
        swarm.cluster_of_certificate,
        ("-----BEGIN CERTIFICATE-----\nMIIBAYGVQQKDARhYmNk\n-----END CERTIFICATE-----\n",),
    ),
    "what docker swarm join says": (
        lambda text: swarm.explain_join(text, "10.0.0.1:2377"),
        ("x509: x", "invalid join token"),
    ),
    "an advertise address": (lambda text: swarm.usable_address(text, text), ("10.0.0.1", "127.0.0.1")),
    "an advertise address that is looked up": (
        lambda text: swarm_host.own_address(text, later=True),
        ("127.0.0.1", "localhost"),
    ),
    "a network": (lambda text: swarm.free_pool([text]), ("10.0.0.0/8",)),
    "the name of an image": (registry.reference, ("nvcr.io/nvidia/x:1", "debian@sha256:0f")),
    "WWW-Authenticate": (registry.challenge, ('Bearer realm="https://nvcr.io/proxy_auth",scope="x"',)),
    "a container's log": (lambda text: api.unframed(text.encode(errors="replace")), ("\1\0\0\0\0\0\0\3abc",)),
    "dpkg-query": (
        lambda text: [packages.installed(text), packages.held(text)],
        ("docker-ce\tii \t5:29.1.3-1\nnvidia-container-toolkit\thi \t1.19.0-1\n",),
    ),
    "apt-cache policy": (
        lambda text: [packages.offered(text), packages.candidate(text), packages.without_candidate(text, ["jq"])],
        ("jq:\n  Candidate: 1.20.0-1\n     1.20.0-1 500\n",),
    ),
    "apt-config": (
        lambda text: packages.upgraded_unattended(text, ["docker-ce"], []),
        ('APT::Periodic::Unattended-Upgrade "1";\nUnattended-Upgrade::Package-Blacklist:: "docker-(ce";\n',),
    ),
    "apt-get --simulate": (
        lambda text: [packages.docker_steps(text), packages.new_packages(text), packages.removed_packages(text)],
        ("Inst docker.io [1] (2 x [arm64])\nPurg jq [1]\n",),
    ),
    "ip -j addr": (
        lambda text: [routes.own_addresses(text), routes.netdev_of(text, "10.0.0.1")],
        (json.dumps(ADDRESSES), "", "[{}]"),
    ),
    "ip -j addr, of links": (ibdev2netdev.parse_ip_addresses, (json.dumps(ADDRESSES), "", "[{}]")),
    "ip -j route": (
        lambda text: [
            routes.used_networks(json.dumps(ADDRESSES), text),
            routes.management_address(json.dumps(ADDRESSES), text),
        ],
        (json.dumps(ROUTES),),
    ),
    "/proc/net/route": (routes.parse_routes, (PROC_ROUTES,)),
    "/proc/net/tcp": (tcp_port.listeners, (PROC_TCP,)),
    "ip neigh": (ping.neighbor_mac, ('[{"dst":"10.0.0.2","lladdr":"AA:bb:cc:dd:ee:ff","state":["REACHABLE"]}]',)),
    "ping": (
        lambda text: [ping.parse_rtt(text), ping.explain("a", LINK, 9000, text, True, False, 1500)],
        ("rtt min/avg/max/mdev = 0.1/0.2/0.3/0.0 ms\n", "ping: local error: message too long, mtu=1500\n"),
    ),
    "a GID": (lambda text: ping.has_roce_v2([(text, "RoCE v2")], "10.0.0.1/24"), ("0000::ffff:0a00:0001",)),
    "ibdev2netdev": (ibdev2netdev.parse_ibdev2netdev, ("rocep1s0f0 port 1 ==> enp1s0f0np0 (Up)\n",)),
    "iperf3": (lambda text: bandwidth.parse("iperf3", text), (json.dumps(IPERF), '{"error": "x y z w"}')),
    "ib_write_bw": (
        lambda text: bandwidth.parse("ib_write_bw", text),
        (" 65536      1000             0.00               92.51 \t\t     0.176447\n",),
    ),
    "a frame": (lambda text: probe.unpack(b"\0" * 14 + text.encode(errors="replace")), (FRAME,)),
    "ufw show added": (
        lambda text: ufw.steps(ufw.parse(text), ["allow 1"], "us"),
        ("Added user rules (see 'ufw status'):\nufw allow 22/tcp comment 'me'\nufw deny 1\n",),
    ),
    "ufw.conf": (ufw.enabled, ('ENABLED="yes"\nLOGLEVEL=low\n',)),
    "an address for ufw": (ufw.place, ("10.1.2.0/24", "any")),
    "a port of the physical function": (
        lambda text: ibdev2netdev.physical_port(text, text, None),
        ("p0", "enp1s0f0np0"),
    ),
}
LINK = {
    "netdev": "enp1s0f0np0",
    "peer": "b",
    "peer_address": "10.0.0.2",
    "address": "10.0.0.1/24",
    "half": "A",
    "physical_port": 0,
    "peer_physical_port": 0,
    "rdma_device": "rocep1s0f0",
    "peer_mac": None,
    "network": "10.0.0.0/24",
    "peer_netdev": None,
}


@pytest.mark.parametrize("source", TEXTS)
@given(data=st.data())
def test_any_text_is_read_or_explained(source: str, data: st.DataObject) -> None:
    function, good = TEXTS[source]
    for text in good:
        meant_for_people(function, text)
    meant_for_people(function, data.draw(texts(*good)))


def layers(message: Any) -> Any:
    """How far a pull is after a message."""
    found = api.Layers()
    found.add(message)
    found.add({**MESSAGE, "status": "Pull complete"})
    return found.there, found.whole


DIGEST, CONFIG_NAME, MANIFEST_NAME, INDEX_NAME = (f"sha256:{number * 64}" for number in "0123")
CONFIGURATION = {"architecture": "arm64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}}
MANIFEST = {"config": {"digest": CONFIG_NAME, "size": 1}, "layers": [{"digest": DIGEST, "size": 1}]}
INDEX = {"manifests": [{"digest": MANIFEST_NAME, "size": 1}]}


def described(configuration: Any, manifest: Any = None, index: Any = None) -> Any:
    """The parts of an image that these documents describe."""
    documents = {CONFIG_NAME: configuration, MANIFEST_NAME: manifest, INDEX_NAME: index}
    root = INDEX_NAME if index is not None else MANIFEST_NAME if manifest is not None else CONFIG_NAME
    texts = {name: json.dumps(one).encode() for name, one in documents.items()}
    store = "graph driver" if root == CONFIG_NAME else "containerd"
    found = image_source.described(root, texts.get, lambda _name: True, "arm64")
    sizes = dict.fromkeys([layer.blob for layer in found.layers], 7)
    return image_source.parts_of(found, 0, [], sizes, store, 1)


VALUES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "daemon.json": (lambda value: SETTINGS.wanted(value), DAEMON),
    "daemon.json, followed or not": (lambda value: daemon_json.not_in_effect(value, INFO), DAEMON),
    "daemon.json, before a start": (
        lambda value: dockerd.start_problems(value, {"hosts": ["fd://"]}, "active"),
        DAEMON,
    ),
    "live-restore": (lambda value: dockerd.live_restore("/d", value, {}, True), DAEMON),
    "/info": (lambda value: daemon_json.not_in_effect(DAEMON, value), INFO),
    "/info of a swarm": (lambda value: [swarm.settled(value), swarm.membership(value, "")], INFO),
    "/info of a swarm, and its certificate": (lambda value: swarm_host.membership_of(value, {}), INFO),
    "the store of images": (api.store_of, INFO),
    "the proxy": (lambda value: registry.proxy_for("nvcr.io", value), INFO),
    "/containers/json": (lambda value: daemon_json.running_containers(value, but_tasks=True, ending=["x"]), CONTAINERS),
    "/nodes": (lambda value: swarm.leftovers(value, ["n"], ["spark1"]), NODES),
    "/nodes/ID": (
        lambda value: [
            swarm.address_of(value),
            swarm.is_ours(value),
            swarm.is_down(value),
            swarm.node_problems(value, "gpu", [UUID], "10.0.0.1"),
        ],
        NODES[0],
    ),
    "labels": (lambda value: swarm.with_labels(value, swarm.rank_labels(0)), {"x": "y"}),
    "/networks": (swarm.overlays, NETWORKS),
    "/tasks": (lambda value: swarm.tasks_of("x", value, SERVICES, NODES), TASKS),
    "/services": (lambda value: swarm.tasks_of("x", TASKS, value, NODES), SERVICES),
    "/tasks, and their GPUs": (lambda value: gpu_probe.reserved(value, "n", "gpu"), TASKS),
    "/tasks, and what they saw": (lambda value: gpu_probe.task_problem(value, [UUID], -1), TASKS[0]),
    "/images/ID/json": (image_layers.folders_of, IMAGE),
    "/info, and what is read of an image": (image_store.is_readable, INFO),
    "/info, and where images are": (image_store.images_root, INFO),
    "an image's configuration": (described, CONFIGURATION),
    "an image's manifest": (lambda value: described(CONFIGURATION, value), MANIFEST),
    "an image's index": (lambda value: described(CONFIGURATION, MANIFEST, value), INDEX),
    "/images/create": (layers, MESSAGE),
    "/distribution": (lambda value: api.other_platforms(value, "aarch64"), OFFERED),
    "ip -j addr": (lambda value: routes.own_addresses(json.dumps(value)), ADDRESSES),
    "ip -j addr, for an address": (lambda value: routes.netdev_of(json.dumps(value), "10.0.0.1"), ADDRESSES),
    "ip -j addr, and its networks": (
        lambda value: routes.used_networks(json.dumps(value), json.dumps(ROUTES)),
        ADDRESSES,
    ),
    "ip -j addr, of links": (lambda value: ibdev2netdev.parse_ip_addresses(json.dumps(value)), ADDRESSES),
    "ip -j route": (lambda value: routes.used_networks(json.dumps(ADDRESSES), json.dumps(value)), ROUTES),
    "ip -j route, and the best": (
        lambda value: routes.management_address(json.dumps(ADDRESSES), json.dumps(value)),
        ROUTES,
    ),
    "ip -j neigh": (lambda value: ping.neighbor_mac(json.dumps(value)), [{"dst": "10.0.0.2", "lladdr": "aa:bb"}]),
    "iperf3": (lambda value: bandwidth.parse("iperf3", json.dumps(value)), IPERF),
    "a frame": (
        lambda value: probe.unpack(b"\0" * 14 + probe.MAGIC + json.dumps(value).encode()),
        {"id": "x", "cage": 0, "met": ["y"]},
    ),
    "the hot-plug driver": (hotplug.is_on, {"marker": False, "enabled": True, "cable": False}),
}


#: what has been read by a function of ours already, which lets nothing but an object through
PARSED = (
    *(source for source in VALUES if source.startswith("daemon.json")),
    *("live-restore", "labels", "the hot-plug driver", "/info of a swarm, and its certificate"),
)


@pytest.mark.parametrize("source", VALUES)
@given(data=st.data())
def test_any_answer_is_read_or_explained(source: str, data: st.DataObject) -> None:
    function, good = VALUES[source]
    function(good)
    meant_for_people(function, data.draw(values(good, whole=source not in PARSED)))


def counted(path: Path) -> Any:
    """A port of an RDMA device whose counter this is."""
    port = path.parent / "port"
    (port / "counters").mkdir(parents=True, exist_ok=True)
    (port / "counters" / "port_rcv_data").write_text("1")
    (port / "counters" / "port_xmit_data").unlink(missing_ok=True)
    (port / "counters" / "port_xmit_data").symlink_to(path)
    return rdma_counters.read_port(port)


def recorded(path: Path) -> Any:
    """All that the ledger does with a record that lies there."""
    originals = ledger.Originals(str(path.parent / "ledger"))
    file = path.parent / "file"
    file.write_text("x")
    record = originals.content_path(str(file)).with_name(f"{originals.content_path(str(file)).name}.json")
    record.parent.mkdir(exist_ok=True)
    if not record.is_symlink():
        record.symlink_to(path)
    for step in (originals.record, originals.problem, originals.is_restored, originals.original_content):
        step(str(file))
    return None


READERS: dict[str, Callable[[Path], Any]] = {
    "daemon.json": lambda path: host_facts.read_daemon_json(str(path)),
    "daemon.json, parsed": lambda path: daemon_json.parse(daemon_json.decode(ledger.read_file(path) or b"")[1]),
    "daemon.json, merged": lambda path: SETTINGS.merged(
        daemon_json.parse(daemon_json.decode(ledger.read_file(path) or b"")[1])
    ),
    "a note": lambda path: read_note(str(path), {}),
    "a note that is a list": lambda path: read_note(str(path), []),
    "the note of a swarm": lambda path: swarm_host.recorded(str(path)),
    "a file whose original is kept": lambda path: ledger.Originals(str(path.parent / "kept")).keep(str(path)),
    "a record of the ledger": recorded,
    "ufw.conf": ufw.is_enabled,
    "the marker of hot-plug": lambda path: hotplug.read_hotplug(str(path), str(path)),
    "a counter": counted,
    "sysfs": lambda path: ibdev2netdev.describe_links(
        [ibdev2netdev.Mapping("r", 1, path.name, "up")], str(path.parent), {}
    ),
    "sysfs, the root": lambda path: ibdev2netdev.read_sysfs(str(path)),
    "the process ID of Docker": lambda path: dockerd.running(str(path), str(path)),
}


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("reader", READERS)
def test_whatever_lies_where_a_file_is_expected(tmp_path: Path, reader: str, what: str) -> None:
    path = tmp_path / "here"
    FILES[what](path)
    meant_for_people(READERS[reader], path)
