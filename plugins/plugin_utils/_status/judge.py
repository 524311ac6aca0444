# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a status is not as it should be: each anomaly with its host, value, cause and mend. Pure functions.

The kinds are data: what finds each, and its class. ``serious`` is what keeps a model from being served, or is about to;
``warning`` is what serves less well, or may end; ``note`` is worth knowing.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, Mapping, NamedTuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.instances import SWARM
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.told import number

SERIOUS, WARNING, NOTE = CLASSES = ("serious", "warning", "note")
#: with which classes a run fails, by what ``status_fail_at`` says
FAIL_AT: dict[str, tuple[str, ...]] = {"never": (), SERIOUS: (SERIOUS,), WARNING: (SERIOUS, WARNING)}

HOT_C = 85
#: a GPU that is used all the time and takes no more power waits in a loop: what computes takes more
SPINNING_USED, SPINNING_W = 0.9, 25
UNTOLD = "no reason is told"
RECENT_S = 3600  #: a rank that was started again longer ago is well
SLOWER, SLOWER_S = 1.5, 30  #: times, and seconds, that a start is to take longer than the one before
BARE_FLOOR_MIB = 1024  #: without any serving, less than this is too little for the system itself

Document = Mapping[str, Any]


class Found(NamedTuple):
    """What a check found."""

    host: str  # empty where it is of no single host
    instance: str  # the name of its container, empty where it is of none
    value: str
    cause: str
    mend: str


class Kind(NamedTuple):
    """A kind of anomaly."""

    severity: str
    find: Callable[[Document], Iterator[Found]]


def anomalies(document: Document) -> list[dict[str, str]]:
    """All anomalies of a document, the worst first, and within a class in the order of the kinds."""
    found = [
        {"kind": name, "class": kind.severity, **one._asdict()}
        for name, kind in KINDS.items()
        for one in kind.find(document)
    ]
    return sorted(found, key=lambda one: CLASSES.index(one["class"]))


def failing(found: list[dict[str, str]], fail_at: str) -> list[dict[str, str]]:
    """Those with which the run fails."""
    return [one for one in found if one["class"] in FAIL_AT[fail_at]]


# --- hosts -----------------------------------------------------------------------------------------------------------


def _unreachable(document: Document) -> Iterator[Found]:
    for host in document["hosts"]:
        if not host["answered"] and host["unreachable"]:
            mend = "check that it is on and has booted, that its cable is in, and that 'ssh' to it works"
            yield Found(host["name"], "", "it does not answer", host["why"], mend)


def _not_read(document: Document) -> Iterator[Found]:
    for host in document["hosts"]:
        if not host["answered"] and not host["unreachable"]:
            mend = "check that it is on, and has Python 3.8 or later; -vvv shows more"
            yield Found(host["name"], "", "it could not be read", host["why"], mend)


def _served_on(document: Document, host: str) -> list[Mapping[str, Any]]:
    """The instances that have a rank on a host."""
    ranks = ((one, rank) for one in document["instances"] for rank in one["ranks"])
    return [one for one, rank in ranks if rank["host"] == host and rank["configured"]]


def _docker_mend(why: str) -> str:
    if "permission" in why.lower():
        return "run this with --become --ask-become-pass, or add the user to the group docker and connect anew"
    if why.startswith("Docker is stopped"):
        return "start it there with 'sudo systemctl start docker', or see with 'systemctl status docker' why it ended"
    return "see 'systemctl status docker' and 'journalctl -u docker' there"


def _docker_silent(document: Document) -> Iterator[Found]:
    for host in document["hosts"]:
        why = host["unread"].get("docker")
        if why and _served_on(document, host["name"]) and "permission" not in why.lower():
            yield Found(host["name"], "", "Docker does not answer", why, _docker_mend(why))


def _part_not_read(document: Document) -> Iterator[Found]:
    for host in document["hosts"]:
        for part, why in host["unread"].items():
            told_elsewhere = part == "gpus" or (
                part == "docker" and _served_on(document, host["name"]) and "permission" not in why.lower()
            )
            if not told_elsewhere:
                refused = part == "docker" and "permission" in why.lower()
                cause = "this user may not ask Docker" if refused else why
                mend = _docker_mend(why) if part == "docker" else "run this again, or doctor.yml, which looks further"
                yield Found(host["name"], "", f"{part}: not read", cause, mend)


def _gpu_failed(document: Document) -> Iterator[Found]:
    for host in document["hosts"]:
        if why := host["unread"].get("gpus"):
            words, _colon, mend = why.rpartition(": ")
            yield Found(host["name"], "", "the GPU does not answer", words or why, mend)


def _gpu_hot(document: Document) -> Iterator[Found]:
    for host in document["hosts"]:
        for gpu in host["gpus"]:
            if (gpu["temperature_c"] or 0) >= HOT_C:
                cause = f"from {HOT_C} C on it soon clocks down"
                mend = "give it air: keep its vents free, and other Sparks off its top"
                yield Found(host["name"], "", f"the GPU has {gpu['temperature_c']:.0f} C", cause, mend)


def _gpu_spinning(document: Document) -> Iterator[Found]:
    for host in document["hosts"]:
        for gpu in host["gpus"]:
            used, power = gpu["used"], gpu["power_w"]
            if used is not None and power is not None and used >= SPINNING_USED and power < SPINNING_W:
                value = f"the GPU is used {used:.0%} of the time, with {power:.0f} W"
                cause = "a kernel waits in a loop, as where a rank waits for one that does not answer"
                yield Found(
                    host["name"],
                    "",
                    value,
                    cause,
                    "if no tokens come, run doctor.yml, which tells which rank waits for which",
                )


def _memory_low(document: Document) -> Iterator[Found]:
    for host in document["hosts"]:
        total, available = host["memory"]["total_mib"], host["memory"]["available_mib"]
        served = [one for one in _served_on(document, host["name"]) if not is_stopped(one)]
        floors = [contract.scaled_mib(one["memory_floor_mib"] or 0, total or 0) for one in served]
        floor = max(floors, default=0) or BARE_FLOOR_MIB
        if available is not None and available < floor:
            value = f"{available} MiB of memory are available, below {floor}"
            cause = "the supervisor ends a rank below its floor, before the kernel ends something else"
            mend = "see what takes the memory ('ps aux --sort -rss'), or give the engine a smaller KV cache or context"
            yield Found(host["name"], "", value, cause, mend)


def _drivers_differ(document: Document) -> Iterator[Found]:
    by_host = {host["name"]: host["gpus"][0]["driver"] for host in document["hosts"] if host["gpus"]}
    for one in document["instances"]:
        seen = {name: by_host[name] for name in _hosts_of(one) if by_host.get(name)}
        if len(set(seen.values())) > 1:
            mend = "update all Sparks to one version of DGX OS, and reboot"
            yield Found("", one["name"], f"drivers: {_each(seen)}", "ranks on unlike drivers may fail to start", mend)


def _hosts_of(instance: Mapping[str, Any]) -> list[str]:
    return [rank["host"] for rank in instance["ranks"]]


def _each(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


# --- ranks -----------------------------------------------------------------------------------------------------------


def _ranks(document: Document) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for one in document["instances"]:
        for rank in one["ranks"]:
            yield one, rank


def _called(rank: Mapping[str, Any]) -> str:
    return f"rank {rank['rank']}"


def _answered(document: Document, host: str) -> bool:
    return any(one["name"] == host and one["answered"] for one in document["hosts"])


def _rank_unconfigured(document: Document) -> Iterator[Found]:
    for one, rank in _ranks(document):
        if not rank["configured"] and _answered(document, rank["host"]):
            value = f"{_called(rank)} is not configured"
            cause = (
                f"{one['leader']} counts this Spark as {_called(rank)}, and it has no configuration of {one['name']}"
            )
            yield Found(rank["host"], one["name"], value, cause, "run the playbook that serves again")


def _rank_elsewhere(document: Document) -> Iterator[Found]:
    for one, rank in _ranks(document):
        if not rank["asked"]:
            value = f"{_called(rank)} was not asked"
            cause = "its Spark is not in this run, by the inventory or --limit"
            yield Found(rank["host"], one["name"], value, cause, "give the inventory that serves, without --limit")


def _config_unread(document: Document) -> Iterator[Found]:
    for one, rank in _ranks(document):
        if rank["problem"]:
            mend = "run this with --become --ask-become-pass"
            yield Found(rank["host"], one["name"], "its files are not read", rank["problem"], mend)


def is_stopped(instance: Mapping[str, Any]) -> bool:
    """Whether an instance was asked to end, and has ended."""
    return instance["phase"] == contract.STOPPED and not instance["ranks"][0]["runs"]


def _is_down(one: Mapping[str, Any], rank: Mapping[str, Any]) -> bool:
    """Whether the container of a rank does not run, which no phase explains."""
    down = rank["configured"] and rank["state"] not in (None, "running")
    explained = rank["rank"] == 0 and one["phase"] in contract.UNHEALTHY
    return down and not is_stopped(one) and not explained


def _rank_down(document: Document) -> Iterator[Found]:
    for one, rank in _ranks(document):
        if _is_down(one, rank):
            status = f" ({rank['exit_status']})" if rank["exit_status"] is not None else ""
            value = f"{_called(rank)} does not run: its container is {rank['state']}{status}"
            cause, mend = _why_ended(rank), _see(one, rank)
            if rank["unit"] and rank["unit"]["active"] == "failed":
                cause = f"{cause}, and its unit has failed ({rank['unit']['result']}), so that nothing starts it again"
                mend = f"there, see 'docker logs {one['name']}'; {_units_mend(one)}"
            yield Found(rank["host"], one["name"], value, cause, mend)


def _why_ended(rank: Mapping[str, Any]) -> str:
    if rank["oom_killed"]:
        return "the kernel ended it for want of memory"
    if rank["error"]:
        return str(rank["error"])
    known = {137: "it was killed (SIGKILL)", 143: "it was asked to end (SIGTERM)", 1: "its start failed"}
    if rank["state"] == "missing":
        return "there is no container of it"
    return known.get(rank["exit_status"], "its log says why")


def _see(one: Mapping[str, Any], rank: Mapping[str, Any]) -> str:
    if one["launcher"] == SWARM:
        service = f"{one['name']}_{'worker' if rank['rank'] else 'leader'}"
        return f"on {one['leader']}, see 'docker service ps --no-trunc {service}' and 'docker service logs {service}'"
    return f"there, see 'docker logs {one['name']}', then 'systemctl restart {one['name']}'"


def _rank_unhealthy(document: Document) -> Iterator[Found]:
    for one, rank in _ranks(document):
        if rank["health"] == "unhealthy" and rank["state"] == "running" and one["phase"] not in contract.UNHEALTHY:
            value = f"the container of {_called(rank)} is unhealthy"
            yield Found(rank["host"], one["name"], value, "its own check of health fails", _see(one, rank))


def _unit_failed(document: Document) -> Iterator[Found]:
    for one, rank in _ranks(document):
        unit = rank["unit"]
        gave_up = rank["rank"] == 0 and one["phase"] == contract.GAVE_UP
        if unit is not None and unit["active"] in ("failed", "") and not _is_down(one, rank) and not gave_up:
            missing = "is missing" if not unit["active"] else f"has failed ({unit['result']})"
            mend = "run the playbook that serves again" if not unit["active"] else f"there, {_units_mend(one)}"
            yield Found(rank["host"], one["name"], f"the unit {missing}", "nothing starts the rank again", mend)


def _units_mend(one: Mapping[str, Any]) -> str:
    return f"see 'systemctl status {one['name']}', then 'systemctl reset-failed {one['name']}' and start it"


def _unit_disabled(document: Document) -> Iterator[Found]:
    for one, rank in _ranks(document):
        unit = rank["unit"]
        if unit is not None and unit["active"] == "active" and unit["enabled"] in ("disabled", "masked"):
            value = f"the unit of {_called(rank)} is {unit['enabled']}"
            mend = f"there, 'systemctl enable {one['name']}', or run the playbook that serves again"
            yield Found(rank["host"], one["name"], value, "it does not start when the Spark does", mend)


def _restarted(document: Document) -> Iterator[Found]:
    for one, rank in _ranks(document):
        count, age = rank["restarts"], rank["age_s"]
        if count and rank["state"] == "running" and (age is None or age < RECENT_S):
            more = " or more" if rank["restarts_at_least"] else ""
            times = f"{count}{more} time{'s' if count > 1 or more else ''}"
            last = f", last {age / 60:.0f} min ago" if age is not None else ""
            failure = one["last_failure"]
            cause = failure["reason"] if failure else "its log says why"
            value = f"{_called(rank)} was started again {times}{last}"
            yield Found(rank["host"], one["name"], value, cause, _see(one, rank))


def _rank_without_rdma(document: Document) -> Iterator[Found]:
    yield from _on_tcp(document, required=True)


def _rank_on_tcp(document: Document) -> Iterator[Found]:
    yield from _on_tcp(document, required=False)


def _on_tcp(document: Document, *, required: bool) -> Iterator[Found]:
    for one, rank in _ranks(document):
        if len(one["ranks"]) < 2 or not one["serves"] or one["require_rdma"] != required:
            continue
        told = {"transport": rank["transport"], "devices": rank["devices"] or "?", "why": rank["transport_why"] or ""}
        if problem := contract.rank_problem(rank["rank"], rank["host"], told if rank["transport"] else None):
            value = f"{_called(rank)} talks over {rank['transport'] or 'nothing that is known'}, not RDMA"
            mend = "run verify.yml, which looks at the links, and 'ibdev2netdev' there"
            yield Found(rank["host"], one["name"], value, problem, mend)


def _device_missing(document: Document) -> Iterator[Found]:
    for one, rank, _device, link in _used_links(document):
        if link is None:
            value = f"there is no RDMA device {_device}"
            mend = (
                "see 'ibdev2netdev' and 'dmesg | grep mlx5'; a card that a dead cable put to sleep wakes with the cable"
            )
            yield Found(rank["host"], one["name"], value, "its card is asleep or its driver is not loaded", mend)


def _link_down(document: Document) -> Iterator[Found]:
    for one, rank, _device, link in _used_links(document):
        if link is not None and link["netdev"] is None:
            value, cause = (
                f"{link['rdma_device']} has no network device",
                "its card is asleep, or its driver has failed",
            )
            yield Found(rank["host"], one["name"], value, cause, "see 'ip link' and 'dmesg | grep mlx5'")
        elif link is not None and (link["carrier"] is False or link["admin_up"] is False):
            down = link["admin_up"] is False
            value = (
                f"{link['netdev'] or link['rdma_device']} {'is administratively down' if down else 'has no carrier'}"
            )
            cause = "somebody has set it down" if down else "its cable is out or broken, or the Spark at its end is off"
            plug = f"plug the cable of cage {link['cage']} in" if link["cage"] is not None else "plug its cable in"
            mend = f"'ip link set {link['netdev']} up'" if down else f"{plug} at both ends, and see that the peer is on"
            yield Found(rank["host"], one["name"], value, cause, mend)


def _used_links(
    document: Document,
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], str, Mapping[str, Any] | None]]:
    """The RDMA devices that ranks are to use, with the link of each, None where it is not there."""
    hosts = {host["name"]: host for host in document["hosts"]}
    for one, rank in _ranks(document):
        host = hosts.get(rank["host"])
        if len(one["ranks"]) < 2 or host is None or not host["answered"] or "links" in host["unread"]:
            continue
        links = {link["rdma_device"]: link for link in host["links"]}
        for device in rank["rdma_devices"]:
            yield one, rank, device, links.get(device)


def _links_unlike(document: Document) -> Iterator[Found]:
    for one in document["instances"]:
        used = [
            (rank["host"], link)
            for instance, rank, _device, link in _used_links(document)
            if instance is one and link is not None and link["carrier"] is not False
        ]
        for name, what in (("speed_mbps", "speed in Mbit/s"), ("mtu", "MTU")):
            seen = {f"{host} {link['netdev']}": link[name] for host, link in used if link[name] is not None}
            if len(set(seen.values())) > 1:
                mend = "run the playbook that serves again, which sets the MTU; for a speed, change the cable"
                cause = "the slowest link is the speed of all, and frames that are too large for one end are lost"
                yield Found("", one["name"], f"{what}: {_each(seen)}", cause, mend)


# --- instances -------------------------------------------------------------------------------------------------------


def _gave_up(document: Document) -> Iterator[Found]:
    for one in document["instances"]:
        if one["phase"] == contract.GAVE_UP:
            mend = "mend the cause, then run the playbook that serves again"
            yield Found(
                one["leader"], one["name"], "the supervisor gave up", one["reason"] or "no reason is told", mend
            )


def _start_failed(document: Document) -> Iterator[Found]:
    for one in document["instances"]:
        if one["phase"] == contract.FAILED:
            value = "the last start failed, and the next is made by itself"
            yield Found(
                one["leader"], one["name"], value, one["reason"] or "no reason is told", _see(one, one["ranks"][0])
            )


def _phase(document: Document, phase: str) -> Iterator[Mapping[str, Any]]:
    """The instances in a phase, as far as the leader runs."""
    for one in document["instances"]:
        if one["phase"] == phase and one["ranks"][0]["runs"] is not False:
            yield one


def _waiting(document: Document) -> Iterator[Found]:
    for one in _phase(document, contract.WAITING):
        mend = "it goes on by itself when what it waits for is there; a wait is no failed start"
        yield Found(one["leader"], one["name"], "it waits", one["reason"] or "for the next step of its start", mend)


def _starting(document: Document) -> Iterator[Found]:
    for one in _phase(document, contract.STARTING):
        count = f", start {one['starts']} since the last good run" if (one["starts"] or 0) > 1 else ""
        mend = "wait: a model of 100 GB takes some minutes to load"
        yield Found(one["leader"], one["name"], f"it starts{count}", one["reason"] or "the model loads", mend)


def _canary(document: Document) -> Iterator[Found]:
    for one in _phase(document, contract.SERVING):
        if one["reason"]:
            mend = "if it stays so, fewer requests at a time, or a look at the engine's log"
            yield Found(one["leader"], one["name"], "the canary has no token of its own", one["reason"], mend)


def _start_slower(document: Document) -> Iterator[Found]:
    for one in document["instances"]:
        now, before = one["receipt"] or {}, one["last_receipt"] or {}
        took, took_before = number(now.get("first_token_s")), number(before.get("first_token_s"))
        alike = all(now.get(name) == before.get(name) for name in ("image", "config"))
        if not one["serves"] or not alike or took is None or took_before is None:
            continue
        if took - took_before >= SLOWER_S and took >= SLOWER * took_before:
            value = f"its start took {took:.0f} s to the first token, and the one before {took_before:.0f} s"
            cause = "caches of compiled kernels were gone, the disk was slower, or other programs used the Spark"
            mend = "nothing, if the Spark has booted or was changed; else compare both receipts in the JSON"
            yield Found(one["leader"], one["name"], value, cause, mend)


def _stopped(document: Document) -> Iterator[Found]:
    for one in document["instances"]:
        if is_stopped(one):
            instance = f" -e spark_instance={one['instance']}" if one["instance"] else ""
            mend = f"nothing, or start.yml{instance}, to serve again"
            yield Found(one["leader"], one["name"], "it is stopped", one["reason"] or "it was asked to end", mend)


def _never_started(document: Document) -> Iterator[Found]:
    for one in document["instances"]:
        if one["phase"] is None and one["ranks"][0]["configured"] and not one["ranks"][0]["problem"]:
            value, cause = "it has not started", f"{one['leader']} has its configuration, and no state of it"
            yield Found(one["leader"], one["name"], value, cause, _see(one, one["ranks"][0]))


def _configs_differ(document: Document) -> Iterator[Found]:
    for one in document["instances"]:
        running = {r["host"]: r["config"][:12] for r in one["ranks"] if r["config"] and r["state"] == "running"}
        if len(one["clusters"]) > 1 or len(set(running.values())) > 1:
            value = "the ranks have unlike configurations" + (f" ({_each(running)})" if running else "")
            cause = "a run of the playbook did not come to its end on all Sparks"
            yield Found("", one["name"], value, cause, "run the playbook that serves again, on all of them")


def _nothing_served(document: Document) -> Iterator[Found]:
    if not document["instances"] and any(host["answered"] for host in document["hosts"]):
        mend = "serve a model with single_spark.yml, two_spark.yml or serve.yml"
        yield Found("", "", "no model is configured on any Spark", "nothing of this collection serves here", mend)


# --- gateways ---------------------------------------------------------------------------------------------------------


def _gateway_down(document: Document) -> Iterator[Found]:
    for one in document["gateways"]:
        if one["state"] not in (None, "active"):
            value = f"the API gateway does not run: its unit is {one['state']}"
            cause = f"nobody answers on {one['listens'] or 'its port'}, and no client gets to the model"
            mend = f"there, see 'journalctl --unit {one['name']}', then run the playbook that serves, which starts it"
            yield Found(one["host"], one["name"], value, cause, mend)


def _gateway_uncounted(document: Document) -> Iterator[Found]:
    for one in document["gateways"]:
        if one["problem"]:
            mend = "run this with --become --ask-become-pass, or add the user to the group systemd-journal"
            yield Found(one["host"], one["name"], "what its clients asked is not counted", one["problem"], mend)


# --- the Swarm -------------------------------------------------------------------------------------------------------


def _swarm_inactive(document: Document) -> Iterator[Found]:
    hosts = {host["name"]: host for host in document["hosts"]}
    for name, host in hosts.items():
        needs = any(one["launcher"] == SWARM for one in _served_on(document, name))
        if needs and host["swarm"] is not None and host["swarm"] != "active":
            cause = host["swarm_error"] or "its manager is not in sight, or it has left"
            mend = "see 'docker info' and 'journalctl -u docker' there; the playbook that serves joins it again"
            yield Found(name, "", f"its place in the Swarm is {host['swarm']}", cause, mend)


def _nodes(document: Document) -> Iterator[Mapping[str, Any]]:
    if document["swarm"] and any(one["launcher"] == SWARM for one in document["instances"]):
        yield from document["swarm"]["nodes"]


def _node_down(document: Document) -> Iterator[Found]:
    for node in _nodes(document):
        if node["state"] and node["state"] != "ready":
            mend = "check that it is on and its cable is in; see 'docker node ls' on the manager"
            cause = node["message"] or "the manager has lost sight of it"
            yield Found(node["hostname"], "", f"the Swarm's node is {node['state']}", cause, mend)


def _node_drained(document: Document) -> Iterator[Found]:
    for node in _nodes(document):
        if node["availability"] and node["availability"] != "active":
            mend = f"on the manager, 'docker node update --availability active {node['hostname']}'"
            value = f"the Swarm's node has availability {node['availability']}"
            yield Found(node["hostname"], "", value, "somebody has taken it out of use", mend)


def _swarm_refuses(document: Document) -> Iterator[Found]:
    refused = document["swarm"]["refused"] if document["swarm"] else {}
    for name, words in refused.items():
        if words:
            mend = "mend what it names; the Swarm then starts the container by itself"
            yield Found(
                document["swarm"]["manager"], name, "the Swarm cannot start a container", "; ".join(words), mend
            )


KINDS: dict[str, Kind] = {
    "host_unreachable": Kind(SERIOUS, _unreachable),
    "host_not_read": Kind(SERIOUS, _not_read),
    "gave_up": Kind(SERIOUS, _gave_up),
    "start_failed": Kind(SERIOUS, _start_failed),
    "rank_down": Kind(SERIOUS, _rank_down),
    "rank_unconfigured": Kind(SERIOUS, _rank_unconfigured),
    "never_started": Kind(SERIOUS, _never_started),
    "unit_failed": Kind(SERIOUS, _unit_failed),
    "swarm_inactive": Kind(SERIOUS, _swarm_inactive),
    "swarm_node_down": Kind(SERIOUS, _node_down),
    "swarm_refuses": Kind(SERIOUS, _swarm_refuses),
    "gateway_down": Kind(SERIOUS, _gateway_down),
    "docker_silent": Kind(SERIOUS, _docker_silent),
    "gpu_failed": Kind(SERIOUS, _gpu_failed),
    "link_down": Kind(SERIOUS, _link_down),
    "rdma_device_missing": Kind(SERIOUS, _device_missing),
    "rank_without_rdma": Kind(SERIOUS, _rank_without_rdma),
    "configs_differ": Kind(SERIOUS, _configs_differ),
    "memory_low": Kind(SERIOUS, _memory_low),
    "waiting": Kind(WARNING, _waiting),
    "rank_unhealthy": Kind(WARNING, _rank_unhealthy),
    "rank_on_tcp": Kind(WARNING, _rank_on_tcp),
    "restarted": Kind(WARNING, _restarted),
    "gpu_hot": Kind(WARNING, _gpu_hot),
    "gpu_spinning": Kind(WARNING, _gpu_spinning),
    "unit_disabled": Kind(WARNING, _unit_disabled),
    "swarm_node_drained": Kind(WARNING, _node_drained),
    "links_unlike": Kind(WARNING, _links_unlike),
    "drivers_differ": Kind(WARNING, _drivers_differ),
    "files_not_read": Kind(WARNING, _config_unread),
    "gateway_uncounted": Kind(WARNING, _gateway_uncounted),
    "part_not_read": Kind(WARNING, _part_not_read),
    "starting": Kind(NOTE, _starting),
    "canary_unsure": Kind(NOTE, _canary),
    "start_slower": Kind(NOTE, _start_slower),
    "stopped": Kind(NOTE, _stopped),
    "rank_elsewhere": Kind(NOTE, _rank_elsewhere),
    "nothing_served": Kind(NOTE, _nothing_served),
}
