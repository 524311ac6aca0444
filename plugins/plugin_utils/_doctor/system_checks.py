# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a Spark apart from its fabric and its containers. Pure functions of facts.

This plugin util is private to the collection.
"""

from __future__ import annotations

import re
from typing import Iterator

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.facts import Facts, NotLookedError, Seen
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._doctor.hang import SLOW_MHZ

FLOOR_MIB = 8192  #: what has to be available on a Spark of 128 GB, as the guard of a rank has it
CACHE_MIB = 16384  #: of files in memory, from which on a GPU misses it
SWAP_MIB = 2048
DISK_BYTES, INODES = 10 * 10**9, 0.02
HOT_C = 85.0
BUSY = 90.0  #: percent of use at which a clock is judged
CAPABILITY = "12.1"
PARTIAL_S = 3600  #: without a change, after which a partial file is no download that runs


def no_root(facts: Facts) -> Iterator[Seen]:
    if not facts.get("host.root"):
        parts = ", ".join(sorted(facts.unread)) or "nothing"
        yield Seen(f"the module ran as {facts.get('host.user')}, and could not read {parts}")


def gpu_silent(facts: Facts) -> Iterator[Seen]:
    if problem := facts.get("gpu.problem"):
        yield Seen(problem)


def gpu_not_gb10(facts: Facts) -> Iterator[Seen]:
    for gpu in facts.get("gpu.gpus"):
        if gpu["compute_capability"] not in (CAPABILITY, None):
            yield Seen(f"{gpu['name']} has compute capability {gpu['compute_capability']}")


def gpu_clock_low(facts: Facts) -> Iterator[Seen]:
    live = facts.get("gpu.live")
    clock, used = live.get("clock_mhz"), live.get("utilization")
    if facts.get("gpu.problem") or clock is None or used is None:
        raise NotLookedError("the GPU does not tell its clock and its use")
    if used >= BUSY and clock < SLOW_MHZ:
        most = live.get("max_clock_mhz")
        yield Seen(f"{clock:g} MHz{f' of {most:g}' if most else ''} at {used:g} % of use")


def gpu_hot(facts: Facts) -> Iterator[Seen]:
    degrees = facts.get("gpu.live").get("temperature_c")
    if degrees is not None and degrees >= HOT_C:
        yield Seen(f"the GPU has {degrees:g} degrees Celsius")


def gpu_xid(facts: Facts) -> Iterator[Seen]:
    yield from _last(facts, r"NVRM: Xid")


def gpu_in_use(facts: Facts) -> Iterator[Seen]:
    programs = facts.get("gpu.programs")
    if not programs:
        return
    ours = {one["name"] for one in facts.containers("ours")}
    known = {one["pid"] for one in facts.get("ranks.processes") if one["container"] in ours}
    others = [f"{one['name']} (process {one['pid']})" for one in programs if one["pid"] not in known]
    if others:
        yield Seen(f"{', '.join(others)} computes on the GPU, and is no part of a serving of this collection")


def driver_reboot(facts: Facts) -> Iterator[Seen]:
    loaded, packages = facts.get("driver.loaded"), facts.get("driver.packages")
    for name, version in sorted(packages.items()):
        if re.match(r"nvidia-driver-\d+", name) and loaded and _upstream(version) != loaded:
            yield Seen(f"{name} is installed as {_upstream(version)}, and {loaded} is loaded")


def driver_mixed(facts: Facts) -> Iterator[Seen]:
    loaded, packages = facts.get("driver.loaded"), facts.get("driver.packages")
    version = _upstream(packages.get("nvidia-modprobe", ""))
    if loaded and version and version.split(".")[0] != loaded.split(".")[0]:
        yield Seen(f"nvidia-modprobe {version} beside the driver {loaded}")


def _upstream(version: str) -> str:
    """A Debian version without epoch and revision."""
    return version.rpartition(":")[2].partition("-")[0]


def reboot_required(facts: Facts) -> Iterator[Seen]:
    if facts.get("host.reboot_required"):
        yield Seen("/run/reboot-required is there")


def kernel_kho(facts: Facts) -> Iterator[Seen]:
    major = re.match(r"\d+", facts.get("host.kernel"))
    if major and int(major[0]) >= 7 and "kho=off" not in facts.get("host.command_line").split():
        yield Seen(f"the kernel is {facts.get('host.kernel')}, started without kho=off")


def kernel_oom(facts: Facts) -> Iterator[Seen]:
    yield from _last(facts, r"Out of memory: Killed|oom-kill|NV_ERR_NO_MEMORY")


def kernel_pcie(facts: Facts) -> Iterator[Seen]:
    yield from _last(facts, r"AER: .*(?:[Ee]rror)|soft lockup")


def disk_errors(facts: Facts) -> Iterator[Seen]:
    yield from _last(facts, r"I/O error|EXT4-fs error|blocked for more than")


def _last(facts: Facts, pattern: str) -> Iterator[Seen]:
    lines = [line for line in facts.kernel() if re.search(pattern, line)]
    if lines:
        again = f" (the last of {len(lines)})" if len(lines) > 1 else ""
        yield Seen(f"{lines[-1][:240]}{again}")


def clock_unsynchronised(facts: Facts) -> Iterator[Seen]:
    clock = facts.get("clock")
    if clock["synchronized"]:
        return
    if clock["ntp"]:
        mend = (
            "`timedatectl timesync-status` or `chronyc sources` say which server does not answer: name one that does."
        )
        yield Seen("NTP is on, and the clock is not synchronised", mend=mend)
    elif clock["can_ntp"]:
        yield Seen("NTP is off, and the clock is not synchronised", data=({},))
    else:
        mend = "`sudo apt-get install systemd-timesyncd`, or another program that keeps the time."
        yield Seen("nothing that keeps the time is installed, and the clock is not synchronised", mend=mend)


def own_name_unresolved(facts: Facts) -> Iterator[Seen]:
    if not facts.get("own_name"):
        yield Seen(f"{facts.get('host.hostname')} means no address on the host itself")


def own_name_on_fabric(facts: Facts) -> Iterator[Seen]:
    if not facts.several:
        return
    fabric = {str(address.ip): str(link["netdev"]) for link, address in facts.addressed()}
    for address in facts.get("own_name"):
        if address in fabric:
            yield Seen(f"{facts.get('host.hostname')} means {address} on {fabric[address]}")


def ipc_removed(facts: Facts) -> Iterator[Seen]:
    if facts.get("host.linger"):
        return
    users = {
        one["name"]: one["more"]["user"]
        for one in facts.containers(running=True)
        if one["more"] and one["more"]["ipc"] == "host" and one["more"]["user"] not in ("", "0", "root", "0:0")
    }
    if users and facts.get("remove_ipc"):
        yield from (Seen(f"{name} runs as {user} with the host's shared memory") for name, user in users.items())


def earlyoom_installed(facts: Facts) -> Iterator[Seen]:
    yield from _installed(facts, "earlyoom")


def opensm_installed(facts: Facts) -> Iterator[Seen]:
    yield from _installed(facts, "opensm")


def _installed(facts: Facts, package: str) -> Iterator[Seen]:
    if version := facts.get("driver.packages").get(package):
        yield Seen(f"{package} {version} is installed")


def dpkg_locked(facts: Facts) -> Iterator[Seen]:
    if facts.get("dpkg.locked"):
        yield Seen("a program holds dpkg's lock")


def dpkg_interrupted(facts: Facts) -> Iterator[Seen]:
    if facts.get("dpkg.interrupted"):
        yield Seen("/var/lib/dpkg/updates is not empty")


def memory_low(facts: Facts) -> Iterator[Seen]:
    total, available = facts.get("memory.total_mib"), facts.get("memory.available_mib")
    floor = contract.scaled_mib(FLOOR_MIB, total)
    if available < floor:
        yield Seen(f"{available} MiB of {total} are available, and {floor} are the least")


def page_cache_full(facts: Facts) -> Iterator[Seen]:
    phases = {one["phase"] for one in facts.servings()}
    if phases & {contract.STARTING, contract.SERVING, contract.LISTENING}:
        return  # then it has what it needs, on a worker too, and a load refills the cache itself
    memory = facts.get("memory")
    total, free, available = memory["total_mib"], memory["free_mib"], memory["available_mib"]
    held = available - free
    if free < contract.scaled_mib(FLOOR_MIB, total) and held >= contract.scaled_mib(CACHE_MIB, total):
        yield Seen(f"{free} MiB are free, and {held} more hold files that could go", data=({},))


def swap_used(facts: Facts) -> Iterator[Seen]:
    used = facts.get("memory.swap_total_mib") - facts.get("memory.swap_free_mib")
    if used >= SWAP_MIB:
        yield Seen(f"{used} MiB are swapped out")


def disk_full(facts: Facts) -> Iterator[Seen]:
    by_device: dict[int, list[str]] = {}
    disks = facts.get("disks")
    for name, disk in disks.items():
        by_device.setdefault(disk["device"], []).append(name)
    for names in by_device.values():
        disk = disks[names[0]]
        if disk["free_bytes"] < DISK_BYTES:
            paths = ", ".join(sorted({disks[name]["path"] for name in names}))
            yield Seen(f"{disk['mount']} has {disk['free_bytes'] / 1e9:.1f} GB left, for {paths}")
        elif disk["free_inodes"] < INODES:
            yield Seen(f"{disk['mount']} has {disk['free_inodes']:.1%} of its inodes left")


def hub_unreachable(facts: Facts) -> Iterator[Seen]:
    if "reach" not in facts.read and "reach" not in facts.unread:
        raise NotLookedError("it was not asked for (doctor_reach)")
    failed = [f"{target} ({why})" for target, why in facts.get("reach").items() if why]
    if failed:
        yield Seen(f"no connection to {' and '.join(failed)}")


def model_ref_missing(facts: Facts) -> Iterator[Seen]:
    for model in facts.get("models"):
        if model["commits"] and not model["refs"] and not model["pinned"]:
            one = model["commits"] if len(model["commits"]) == 1 else []
            path = f"{model['repo_dir']}/refs/main"
            data = tuple({"path": path, "commit": commit, **model["owner"]} for commit in one)
            many = "" if one else f": it has {len(model['commits'])} commits, so that you say which"
            yield Seen(f"{model['repo']} in {model['repo_dir']} has no refs/main{many}", data=data)


def model_partial(facts: Facts) -> Iterator[Seen]:
    for model in facts.get("models"):
        if model["partial_bytes"] and model["partial_age_s"] > PARTIAL_S:
            size = model["partial_bytes"] / 1e9
            yield Seen(f"{model['repo']}: {size:.2f} GB of partial files in {model['repo_dir']}")


def model_broken(facts: Facts) -> Iterator[Seen]:
    for model in facts.get("models"):
        if model["broken"]:
            yield Seen(f"{model['repo']}: {', '.join(model['broken'])} lead to files that are not there")


def model_foreign(facts: Facts) -> Iterator[Seen]:
    for model in facts.get("models"):
        if model["foreign"]:
            yield Seen(f"{model['repo']}: {', '.join(model['foreign'])} are not those of {model['whose']}")


def model_refused(facts: Facts) -> Iterator[Seen]:
    """Of the leader alone, which asked the hub."""
    if facts.name != facts.members[0]:
        return
    if "hub" not in facts.read:
        raise NotLookedError(
            "the hub was not asked: no model was named (spark_model), or it comes from a directory (hf_cache_source), "
            "or doctor_offline is set"
        )
    for repo, about in facts.get("hub").items():
        if about.get("refused"):
            yield Seen(f"{repo}: {about['problem']}")
