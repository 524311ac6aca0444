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
    run = lab.play("lab/playbooks/up.yml")
    assert run.status == "successful", run.said
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
    members = {"cx7_network_members": "{{ groups['spark'] }}"} if tasks_from != "undo" else {}
    return lab.play([play], check=check, **{**members, **variables})


def proof(lab: Lab, **variables: Any) -> Run:
    """Plan and prove, and change nothing."""
    names = {"name": "sparkops.dgx_spark.cx7_network"}
    tasks = [
        {"name": entry, "ansible.builtin.include_role": {**names, "tasks_from": entry}} for entry in ("plan", "prove")
    ]
    play = {"hosts": "spark", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}
    return lab.play([play], cx7_network_members="{{ groups['spark'] }}", **variables)


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
