# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the serving containers' supervisor and the collection agree on: phases, exit statuses, files and their shapes.

This one file is read by both: the image gets it as ``supervisor/contract.py``, which is a link to it. Standard library
only. This module util is private to the collection.
"""

from __future__ import annotations

from typing import Mapping, TypedDict

# --- where things are inside a container -----------------------------------------------------------------------------

CONFIG_DIR = "/etc/dgx-spark/engine"  #: cluster.json, node.json, ssh/ and what the engine is given, read-only
STATE_DIR = "/var/lib/dgx-spark/engine"  #: state.json, the lock and the caches of this node
RUN_DIR = "/run/dgx-spark"  #: a tmpfs
PROGRAM = "/opt/dgx-spark/entrypoint.py"
MODEL_DIR = "/models"  #: the model's own directory of the Hugging Face cache
DRAFT_DIR = "/draft"  #: likewise that of the model which guesses tokens for it, where there is one
MEMINFO = "/proc/meminfo"
MOUNTED_MEMINFO = "/opt/dgx-spark/meminfo"  #: mounted where something else is to be read than /proc/meminfo
DROP_CACHES = "/opt/dgx-spark/drop_caches"  #: the kernel's switch, mounted where its use was consented to

CLUSTER, NODE, STATE, HOSTFILE = "cluster.json", "node.json", "state.json", "hostfile"
ALERT = "alert.json"  #: on the leader, how alerts are sent; without it none are
ALERT_URL = "alert_url"  #: beside it, where to: a secret, since whoever has it may post there
ALERTS = "alerts.json"  #: beside the state, what was told, and what is yet to be delivered
ALERT_SENT = "alert_sent"  #: beside it, the ID of the message that was sent last and not refused
RECEIPTS = "receipts.json"  #: beside the state, the receipts of the last starts
#: in CONFIG_DIR, in a directory named by its configuration: the files of what last served, while a play tries another
KEPT = "kept"
PUT_BACK_LOG = "put_back.log"  #: beside the state, the log of a container that did not serve and was taken away

# --- in the environment of a container -------------------------------------------------------------------------------

CONFIG_VARIABLE = "DGX_SPARK_CONFIG"  #: the digest of the configuration, a dash, and 12 digits of the image's ID

# --- phases ----------------------------------------------------------------------------------------------------------

WAITING = "waiting"  #: for an address, a port or a worker; never counts as a failed start
STARTING = "starting"
SERVING = "serving"
FAILED = "failed"  #: this start; systemd or Swarm starts the container again
GAVE_UP = "gave up"  #: too many starts in a row have failed; only a person or a play starts it again
STOPPED = "stopped"  #: it was asked to end
BY_STOP = "stopped by stop.yml"  #: the reason of this phase that stop.yml writes: what was stopped so stays so
LISTENING = "listening"  #: a worker's sshd

#: in these a container is not healthy
UNHEALTHY = (FAILED, GAVE_UP)

# --- exit statuses of a container ------------------------------------------------------------------------------------

EXIT_GAVE_UP = 0  #: must not be started again by itself
EXIT_FAILED = 1  #: to be started again
EXIT_USAGE = 2
EXIT_TERMINATED = 143  #: by SIGTERM: started again unless it was stopped by systemctl stop or Swarm

# --- where a model that chats is asked for a token, and where one that completes texts is ----------------------------

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"

# --- transports, as a rank's entry in the state names them -----------------------------------------------------------

RDMA, TCP = "IB", "Socket"
UNKNOWN = "unknown"  #: NCCL named none, and by RDMA nothing was carried

# --- alerts ----------------------------------------------------------------------------------------------------------

GENERIC, SLACK, DISCORD = ALERT_FORMATS = ("generic", "slack", "discord")  #: whose shape a message has

HEARTBEAT = "heartbeat"  #: the supervisor was started, or has another receiver
DOWN, RECOVERED = "down", "recovered"  #: the engine does not serve; it serves again
ABANDONED = "gave_up"  #: the supervisor does not start it again by itself
ON_TCP, ON_RDMA = "tcp", "rdma"  #: a rank is not on RDMA; all are again

# --- the files -------------------------------------------------------------------------------------------------------


class Member(TypedDict):
    """One node, as all nodes know it."""

    name: str  # of the inventory
    address: str  # where the other nodes reach it


class Limits(TypedDict, total=False):
    """What the supervisor goes by; seconds where a name ends with ``_s``, MiB where it ends with ``_mib``."""

    interval_s: float  # between two probes for a token
    timeout_s: float  # of a probe
    failures: int  # of probes in a row, before the engine is ended
    load_timeout_s: float  # until the first token, whatever moves
    stall_s: float  # without a line of the log, a byte read or memory taken, before a load is ended
    max_starts: int  # that fail in a row, before it gives up
    forget_s: float  # a run this long sets the number of starts back to 0
    grace_s: float  # for the ranks to end after SIGTERM
    memory_wait_s: float  # for the memory of an engine that has ended to be free again
    memory_need_mib: int  # that a node must have available before its rank starts, its reserve included
    memory_reserve_mib: int  # the part of it beside the weights; this and the next two are scaled_mib on a smaller node
    memory_budget_mib: int  # that a rank may take in all, as it is; left out where it may take what is free
    memory_floor_mib: int  # below which a rank is ended; 0 for never
    memory_load_floor_mib: int  # the same while it loads
    memlock_bytes: int  # that a rank must be allowed to lock; -1 for without limit
    require_rdma: bool
    drop_caches: bool  # only here so that the digest depends on it
    gpu_kind: str  # likewise


class EngineSettings(TypedDict, total=False):
    """Which engine it is, and what only its own class reads."""

    name: str  # of a module in supervisor/engines
    metrics_follow: bool  # TensorRT-LLM up to 1.2: /metrics does not end while there is something new to tell
    fit_kv_cache: bool  # nobody has said how large the KV cache is to be, so that the memory decides
    min_kv_tokens: int  # a start whose KV cache holds fewer has failed


class Cluster(TypedDict):
    """``cluster.json``, equal on all nodes."""

    engine: EngineSettings
    nodes: list[Member]  # in rank order, the leader first
    subnets: list[str]  # CIDRs in which the ranks reach each other; empty for a single node
    netdevs: list[str]  # that have the nodes' addresses, each name once; empty for a single node
    ssh_port: int  # of the workers
    serve: list[str]  # the engine's own command line
    environment: dict[str, str]  # of all ranks
    api_listen: str  # host:port where the engine listens
    api_probe: str  # host:port where it is asked
    limits: Limits


class NodeConfig(TypedDict):
    """``node.json``, one for each node."""

    name: str
    rank: int
    address: str
    environment: dict[str, str]  # of this node's rank alone
    rdma_devices: list[str]  # RoCE devices that its rank is to use; empty without a fabric
    meminfo: str  # the file to read the node's memory from


class Transport(TypedDict):
    """Over what one rank talks."""

    transport: str  # RDMA, TCP or UNKNOWN
    devices: str  # as NCCL names them, or what tells without NCCL's line
    why: str  # why it is not RDMA, where the rank said so


class Receipt(TypedDict):
    """What a start took that served; seconds count from the start of the engine."""

    at: float  # seconds since the epoch, when it had generated a token
    config: str  # the digest of the configuration
    image: str  # 12 digits of its ID
    model: str  # the name that requests have to give
    port_s: float | None  # until the API's port took a connection; None where that was not seen
    health_s: float | None  # until /health answered, likewise
    first_token_s: float
    bytes_loaded: int | None  # that the processes of all ranks had read by then; None where a rank did not say
    nccl: str  # its build, as it says itself; empty where it did not
    transports: dict[str, str]  # by short name
    kv_tokens: int  # that fit into the KV cache; 0 where the log does not tell


class AlertSettings(TypedDict):
    """``alert.json``."""

    name: str  # of the serving
    format: str  # one of ALERT_FORMATS
    after_s: float  # for which it does not serve, before it is down
    settle_s: float  # for which it serves again, before it has recovered


class State(TypedDict, total=False):
    """``state.json``, written by the supervisor of each node; all but ``at`` and ``phase`` on the leader."""

    at: float  # seconds since the epoch
    phase: str
    reason: str
    config: str  # the value of CONFIG_VARIABLE
    good: str  # the value with which an engine last generated a token
    behind: str  # where the engines listen that it lets load first; empty while it waits for none
    began: float  # when this supervisor did
    starts: int  # since the last good run
    last_end: str  # why the last start failed
    last_end_at: float  # seconds since the epoch, when it did
    ranks: dict[str, Transport]  # by short name
    model: str  # the name that requests have to give
    path: str  # where requests are answered, CHAT or COMPLETION
    load_s: float  # from the start to the first token
    kv_tokens: int  # that fit into the KV cache, as the engine's log says; 0 where it does not
    canary_s: float  # that the last token which a probe asked for took
    canary_at: float  # seconds since the epoch, when it came
    receipt: Receipt  # of the last start that served
    last_receipt: Receipt  # of the one before
    address: str  # of a worker
    lost_at: float  # seconds since the epoch, when a container of this node last ended for its RoCE devices
    lost_why: str  # likewise


KEPT_MIB = 6144  #: that a KV cache leaves beside a floor or within a budget: what else a rank takes, and a fast fall
SPARK_MIB = 122880  #: MemTotal of a Spark of 128 GB, for which the MiB of the options are meant


def scaled_mib(mib: int, total_mib: int) -> int:
    """What MiB that are meant for a Spark of 128 GB are on a node with less memory: the same share of it.

    :param total_mib: all that the node has, 0 where that is unknown.

    >>> scaled_mib(16384, 122880), scaled_mib(16384, 61440), scaled_mib(16384, 0), scaled_mib(8192, 500000)
    (16384, 8192, 16384, 8192)
    """
    return mib * min(total_mib or SPARK_MIB, SPARK_MIB) // SPARK_MIB


LEAST_FRACTION = 0.1


def fraction_of(left: int, kept: int) -> float:
    """The share of the memory that the weights leave that a KV cache may take, so that so much is kept.

    :param left: MiB beside the weights. :param kept: MiB.

    >>> fraction_of(53248, 22528), fraction_of(20000, 22528)
    (0.57, 0.1)
    """
    return max(LEAST_FRACTION, int(100 * (1 - kept / max(left, 1))) / 100)


def short(name: str) -> str:
    """The name that a node has among the ranks.

    Open MPI 5 rejects long host names, and takes two addresses that begin alike for one node.

    >>> short("spark1.example.org"), short("192.168.1.21"), short("dgx_1")
    ('spark1', '192-168-1-21', 'dgx-1')
    """
    own = name.replace(".", "-") if name.replace(".", "").isdigit() else name.split(".")[0]
    return own.replace("_", "-")  # which no host's name has, and many an inventory


def rank_problem(rank: int, name: str, transport: Mapping[str, object] | None) -> str:
    """Why a rank is not on RDMA, in words; empty where it is. :param transport: of the shape :class:`Transport`."""
    if transport is None:
        return f"rank {rank} on {name}: NCCL named no transport"
    if transport["transport"] == RDMA:
        return ""
    if transport["transport"] == UNKNOWN:
        return (
            f"rank {rank} on {name}: NCCL named no transport, and its RDMA devices carried next to nothing while it "
            f"loaded ({transport['devices']}): check what it says of it in its log, and that NCCL_DEBUG is INFO"
        )
    why = transport.get("why") or "check what it says of it in its log, and that no firewall is between them"
    return f"rank {rank} on {name}: NCCL uses {transport['transport']} ({transport['devices']}) and not RDMA; {why}"
