# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure the bandwidth of the fabric, and explain figures that are too small.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Any, Mapping, Sequence, Tuple

PORT = 18515  # of the first link; both ends count on from it
STREAMS = 8  # one TCP stream is the processor's speed, not the link's
READY_SECONDS = 30  # that the other end may take to be ready
PCIE = (
    "Check both ends (LnkSta of 'sudo lspci -vv -d 15b3:' says 32GT/s, width x4). Where it says less, update the "
    "firmware ('sudo fwupdmgr refresh', 'sudo fwupdmgr update'), shut the Spark down, and take its power out for a "
    "minute"
)
TCP = "iperf3 measures TCP, which the processor can slow down: install perftest on all Sparks to measure RDMA"
# What the tools say, and its mend. The first that is found counts: a queue pair that fails is no connection either.
CAUSES = (
    (
        r"couldn't allocate MR|failed to create mr",
        "the limit of locked memory is too low at one of the ends: make it unlimited (see 'ulimit -l' there, and "
        "'memlock' in /etc/security/limits.d)",
    ),
    (
        r"failed to modify .*?QP.*? to RT[RS]",
        "the GID, address or MTU of the two ends do not fit together: compare 'ip addr show {netdev}' and 'show_gids' "
        "with those of the other end",
    ),
    (
        r"network is unreachable|cannot assign requested address",
        "an address of the fabric is not there: see 'ip addr show {netdev}' at both ends, and run again",
    ),
    (r"server is busy", "another measurement runs there: measure again when it has ended"),
    (
        r"(?:could ?n[o']t|unable to|cannot) connect to|connection refused|timed out",
        "check whether a firewall drops it",
    ),
)
_ROW = re.compile(r"^\s*\d+\s+\d+\s+[\d.]+\s+(\d+\.?\d*)\s+[\d.]+\s*$", re.MULTILINE)

Job = Tuple[str, str]  # who sends, who receives
Link = Mapping[str, Any]  # an entry of the plan's links


class BandwidthError(ValueError):
    """A tool did not measure. The message says why."""


def stages(plan: Mapping[str, Any]) -> list[list[Job]]:
    """Return the pairs that send at the same time, stage by stage, each pair in both directions.

    On a switch each host is measured with one other: all pairs at once would measure the switch.
    """
    names = list(plan["hosts"])
    if plan["topology"] == "switch":
        pairs = [list(zip(names[::2], names[1::2])), [(names[-1], names[0])] if len(names) % 2 else []]
    else:
        pairs = [[(one, other) for rank, one in enumerate(names) for other in names[rank + 1 :]]]
    return [[(a, b) if ahead else (b, a) for a, b in stage] for stage in pairs if stage for ahead in (True, False)]


def links_of(plan: Mapping[str, Any], sender: str, receiver: str) -> list[tuple[Link, Link, int]]:
    """Return each link of a pair, from the sender's and from the receiver's end, with its own port."""
    ends = {
        (link["netdev"], link["peer_netdev"]): link
        for link in plan["hosts"][receiver]["links"]
        if link["peer"] == sender
    }
    number = {
        netdev: index
        for index, netdev in enumerate(sorted({link["netdev"] for link in plan["hosts"][receiver]["links"]}))
    }
    rank = list(plan["hosts"]).index(sender)
    return [
        (link, ends[link["peer_netdev"], link["netdev"]], PORT + 8 * rank + number[link["peer_netdev"]])
        for link in plan["hosts"][sender]["links"]
        if link["peer"] == receiver
    ]


def command(tool: str, seconds: int, link: Link, port: int, sends: bool) -> list[str]:
    """Return the command for one end of a link."""
    own = link["address"].split("/")[0]
    if tool == "iperf3":
        ends = ["-c", link["peer_address"], "-P", str(STREAMS), "-t", str(seconds), "-J"] if sends else ["-s", "-1"]
        return ["iperf3", *ends, "-B", own, "-p", str(port)]
    device = ["-d", link["rdma_device"], "-i", str(link["port"]), "-p", str(port)]
    run = ["ib_write_bw", *device, "-F", "--report_gbits", "-D", str(seconds)]
    return [*run, link["peer_address"]] if sends else run


def parse(tool: str, output: str) -> float:
    """Return the Gb/s in the output of the sending end.

    :raises BandwidthError: where the output holds no result.
    """
    if tool == "iperf3":  # it exits with 0 on failure too
        try:
            result = json.loads(output)
            if result.get("error"):
                raise BandwidthError(f"iperf3 failed, and says: {result['error']}")
            return round(result["end"]["sum_received"]["bits_per_second"] / 1e9, 2)
        except BandwidthError:
            raise
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as exc:
            raise BandwidthError(f"iperf3 printed no result: {output[-200:]!r}") from exc
    rows = _ROW.findall(output)  # the average; the peak is 0 where it runs for a time
    if not rows:
        raise BandwidthError(f"ib_write_bw printed no result: {output[-200:]!r}")
    return float(rows[-1])


def measure(plan: Mapping[str, Any], host: str, tool: str, seconds: int) -> list[dict[str, Any]]:
    """Measure all stages from this host; returns the Gb/s to each peer over all links of the pair at once."""
    measured = []
    for stage in stages(plan):
        receiving = [
            subprocess.Popen(
                command(tool, seconds, there, port, False), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for sender, receiver in stage
            if receiver == host
            for _here, there, port in links_of(plan, sender, receiver)
        ]
        try:
            for peer in [receiver for sender, receiver in stage if sender == host]:
                measured.append({"peer": peer, **_send(plan, host, peer, tool, seconds)})
            end = time.monotonic() + READY_SECONDS + seconds
            while any(server.poll() is None for server in receiving) and time.monotonic() < end:
                time.sleep(0.1)
        finally:
            for server in receiving:
                server.kill()
                server.wait()
    return measured


def _send(plan: Mapping[str, Any], host: str, peer: str, tool: str, seconds: int) -> dict[str, Any]:
    waiting = {link["netdev"]: (link, port) for link, _there, port in links_of(plan, host, peer)}
    figures: dict[str, float] = {}
    errors: dict[str, str] = {}
    end = time.monotonic() + READY_SECONDS
    while waiting and time.monotonic() < end:
        running = {
            netdev: subprocess.Popen(
                command(tool, seconds, *one, True), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for netdev, one in waiting.items()
        }
        for netdev, client in running.items():
            try:
                output, _nothing = client.communicate(timeout=seconds + READY_SECONDS)
                figures[netdev] = parse(tool, output)
                del waiting[netdev]
            except (BandwidthError, subprocess.TimeoutExpired) as exc:  # the other end may not be ready yet
                errors[netdev] = str(exc)
                client.kill()
        time.sleep(0.5 if waiting else 0)
    return {
        "gbps": round(sum(figures.values()), 2),
        "links": figures,
        "errors": {netdev: errors[netdev] for netdev in waiting},
    }


def _once(tool: str, error: str) -> str:
    return error if error.startswith(tool) or f"'{tool}'" in error else f"{tool}: {error}"


def _cause(error: str, netdev: str) -> str:
    """Return what an error of a tool means and the mend, nothing where its own words are all that is known."""
    means = next((words for pattern, words in CAUSES if re.search(pattern, error, re.IGNORECASE)), "")
    return f": {means.replace('{netdev}', netdev)}" if means else ""


def bandwidth_problem(
    host: str, found: Mapping[str, Any], wanted: float, tool: str, hotplug: Sequence[str] = ()
) -> str | None:
    """Return what a figure that is too small means and the mend, None where it is enough.

    :param hotplug: the hosts whose DGX OS takes a ConnectX-7 without a live cable off the PCI bus.
    """
    if not found["errors"] and found["gbps"] >= wanted:
        return None
    peer, gbps, links = found["peer"], found["gbps"], found["links"]
    name = f"{host} sends {gbps} Gb/s to {peer} over all its links ({tool}), and {wanted:g} are wanted"
    if found["errors"]:
        netdev, error = next(iter(found["errors"].items()))
        return f"{host} cannot send to {peer} out of {netdev} ({_once(tool, error)}){_cause(error, netdev)}"
    weak = [netdev for netdev, part in links.items() if part < max(links.values()) / 5]
    if gbps <= 0.15 * wanted and hotplug:
        return (
            f"{name}: this is what a ConnectX-7 gives that was added to a running Spark, until a boot with the cable "
            f"in. Hot-plug is on at {', '.join(hotplug)}, so that a cable that is pulled, or a Spark that is rebooted "
            "at its other end, takes the card away and brings it back like this. Reboot all members at the same time "
            "with the cables in and leave them in, or have it done for good by cx7_network_hotplug: off, which "
            "switches hot-plug off and reboots them (the card draws its power without a cable, too, then)"
        )
    if gbps <= 0.15 * wanted:
        return (
            f"{name}: this is what a ConnectX-7 in its bad state gives on a sound link. Reboot both Sparks with the "
            "QSFP cable in; if that does not help, shut both down, take the power out of both for a minute, and start "
            "them again with the cable in"
        )
    if weak:
        return (
            f"{name}: {', '.join(weak)} carries next to nothing; see 'ethtool -S {weak[0]}' for errors, and reseat the "
            "cable"
        )
    first = f"{TCP}, and measure again before you look at the hardware. " if tool == "iperf3" else ""
    lag = [netdev for netdev, part in links.items() if part < 0.8 * max(links.values())]
    if lag:
        carry = "carries" if len(lag) == 1 else "carry"
        parts = ", ".join(f"{netdev} {part:g}" for netdev, part in links.items())
        return (
            f"{name}: {' and '.join(lag)} {carry} clearly less than the rest ({parts} Gb/s), as a half does whose "
            f"PCIe link is narrow or slow. {first}{PCIE}; else see 'ethtool -S {lag[0]}' for errors"
        )
    if gbps <= 0.65 * wanted and len(links) > 1:
        netdev = next(iter(links))
        return (
            f"{name}: all of its links give about half alike, as over a cable or a switch port of 100G (see Speed of "
            f"'ethtool {netdev}' at both ends), or where all PCIe links are narrow or slow. {first}{PCIE}"
        )
    if gbps <= 0.65 * wanted:
        return (
            f"{name}: this is what one half of the cable gives. Check that both halves have their address on both "
            "Sparks, and that both PCIe links are whole (LnkSta of 'sudo lspci -vv -d 15b3:' says 32GT/s, width x4)"
        )
    tcp = f"; {TCP}" if tool == "iperf3" else ""
    return (
        f"{name}: check that nothing else uses the fabric or the processor now{tcp}; or set cx7_network_min_gbps to "
        "what you accept"
    )
