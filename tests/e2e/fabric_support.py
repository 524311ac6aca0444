# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fabric's tests share: the role as a play, and a host's network as one comparable thing."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from .conftest import Lab, Run

NETDEVS = ("enp1s0f0np0", "enP2p1s0f0np0", "enp1s0f1np1", "enP2p1s0f1np1")


def fabric_lab(scratch: Path, **variables: Any) -> Lab:
    """Bring up a lab for the fabric."""
    lab = Lab(scratch, name=f"fab-{secrets.token_hex(3)}", variables=variables)
    lab.come()
    return lab


def role(lab: Lab, tasks_from: str = "main", check: bool = False, **variables: Any) -> Run:
    """Run the role on all Sparks of the lab."""
    include = {"name": "sparkops.dgx_spark.cx7_network", "tasks_from": tasks_from}
    play = {
        "hosts": "spark",
        "gather_facts": False,
        "any_errors_fatal": True,
        "tasks": [{"name": "Run the role", "ansible.builtin.include_role": include}],
    }
    return lab.play([play], check=check, **variables)


def _entries(*names: str) -> list[dict[str, Any]]:
    role_name = {"name": "sparkops.dgx_spark.cx7_network"}
    return [{"name": entry, "ansible.builtin.include_role": {**role_name, "tasks_from": entry}} for entry in names]


def verified(lab: Lab, **variables: Any) -> Run:
    """Plan and verify, and change nothing."""
    play = {"hosts": "spark", "gather_facts": False, "any_errors_fatal": True, "tasks": _entries("plan", "verify")}
    return lab.play([play], **variables)


def pinged(lab: Lab, **options: Any) -> Run:
    """Plan, and check the links by pings, whatever the plan would change."""
    ping = {
        "name": "Check the links",
        "sparkops.dgx_spark.fabric_ping_check": {
            "host": "{{ inventory_hostname }}",
            "links": "{{ cx7_network_plan.hosts[inventory_hostname].links }}",
            **options,
        },
    }
    play = {"hosts": "spark", "gather_facts": False, "tasks": [*_entries("plan"), ping]}
    return lab.play([play])


def planned_changes(run: Run) -> dict[str, set[str]]:
    """The names of the changes that a dry run shows, by host."""
    return {host: set(result["planned"]) for host, result in run.results("Show the planned changes").items()}


def made_changes(run: Run) -> dict[str, set[str]]:
    """The names of the tasks that changed something, by host, without their file's prefix."""
    made: dict[str, set[str]] = {host: set() for host in run.stats if host != "localhost"}
    for event in run.events:
        about = event.get("event_data", {})
        if event["event"] == "runner_on_ok" and about["res"].get("changed"):
            made[about["host"]].add(about["task"].rsplit(" | ", 1)[-1])
    return made


def remote_calls(run: Run) -> dict[str, int]:
    """How many tasks ran on each host itself: those that are not the controller's own, and were not skipped."""
    own = {"assert", "fail", "include_tasks", "include_role", "debug", "meta", "validate_argument_spec"}
    own |= {"spark_members_check", "fabric_plan", "fabric_report", "planned_changes"}
    calls: dict[str, int] = {}
    for event in run.events:
        about = event.get("event_data", {})
        if event["event"] == "runner_on_ok" and about["task_action"].rsplit(".", 1)[-1] not in own:
            calls[about["host"]] = calls.get(about["host"], 0) + 1
    return calls


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What of the hosts' networks is not the same."""
    return [
        f"{name} {key}: {before[name][key]} -> {after[name][key]}"
        for name in before
        for key in before[name]
        if before[name][key] != after[name][key]
    ]


def network(lab: Lab, name: str) -> dict[str, Any]:
    """Addresses, MTU, ARP settings, routes, NetworkManager's profiles, and every byte of the files a role may touch.

    IPv6 link-local addresses and the metrics of routes are left out: NetworkManager gives and takes them by itself.
    """
    arp = " ".join(
        f"/proc/sys/net/ipv4/conf/{netdev}/{key}" for netdev in NETDEVS for key in ("arp_ignore", "arp_announce")
    )
    files = "/etc/netplan /etc/sysctl.d /etc/hosts /etc/ufw"
    questions = {
        "addresses": "ip -j addr",
        "routes": "ip -4 route | sed -E 's/ metric [0-9]+//'",
        "arp": f"cat {arp}",
        "profiles": "nmcli -t -f NAME,UUID,FILENAME connection || true",
        "files": f"sudo find {files} -type f -exec stat -c '%n %a %U' {{}} + -exec sha256sum {{}} +",
        "units": "systemctl list-units --all --no-legend 'dgx-spark-fabric*'",
    }
    # One connection for all of them.
    told = lab.host(name).check_output("; echo ----; ".join(questions.values())).split("----")
    answers: dict[str, Any] = {key: sorted(text.strip().splitlines()) for key, text in zip(questions, told)}
    answers["netdevs"] = {
        entry["ifname"]: {
            "mtu": entry["mtu"],
            "up": "UP" in entry["flags"],
            "addresses": sorted(
                f"{info['local']}/{info['prefixlen']}"
                for info in entry["addr_info"]
                if not info["local"].startswith("fe80")
            ),
        }
        for entry in json.loads("".join(answers.pop("addresses")))
        if entry
    }
    return answers


def networks(lab: Lab, count: int) -> dict[str, Any]:
    return {f"spark{rank}": network(lab, f"spark{rank}") for rank in range(1, count + 1)}
