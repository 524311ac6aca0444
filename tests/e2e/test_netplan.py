# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other tools' netplan files are judged as the netplan of a virtual Spark reads them."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._fabric.netplan_claims import (
    find_conflicts,
    placeholder,
)

from .conftest import Lab
from .fabric_support import NETDEVS

FIXTURES = Path(__file__).parents[1] / "unit" / "fixtures" / "netplan"
PROGRAM = (Path(__file__).parent / "netplan_program.py").read_text()
OWN = "/etc/netplan/40-cx7.yaml"
LINKS = [
    {"netdev": netdev, "mac": f"3c:6d:66:00:00:1{number}", "driver": "mlx5_core"}
    for number, netdev in enumerate(NETDEVS)
]
EXAMPLES = 150  # half a minute's worth of files by hand, some four seconds
TRUE, FALSE = ("true", "yes", "on", "y", "Yes", "TRUE", "On"), ("false", "no", "off", "n", "No")
RIVAL = "other settings, which NetworkManager may take instead of the fabric's"
INSTEAD = "other settings, which networkd takes instead of the fabric's"


def asked(lab: Lab, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What netplan of the first Spark makes of sets of files."""
    command = ["docker", "exec", "-i", f"{lab.name}-spark1", "python3", "-c", PROGRAM]
    done = subprocess.run(command, input=json.dumps(jobs), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def base(renderer: str) -> dict[str, str]:
    return {
        "/etc/netplan/01-renderer.yaml": json.dumps({"network": {"version": 2, "renderer": renderer}}),
        OWN: json.dumps(placeholder(NETDEVS)),
    }


def test_the_fixtures_are_what_netplan_makes(lab: Lab) -> None:
    inputs = yaml.safe_load((FIXTURES / "inputs.yml").read_text())
    captured = json.loads((FIXTURES / "generated.json").read_text())
    jobs = {
        f"{name}, {renderer}": {"files": {**base(renderer), place(name): yaml.safe_dump(doc)}, "links": []}
        for name, doc in inputs.items()
        for renderer in ("networkd", "NetworkManager")
    }
    made = dict(zip(jobs, asked(lab, list(jobs.values()))))
    assert list(made) == list(captured)
    for name, answer in made.items():
        assert without_new_uuids(answer["files"]) == without_new_uuids(captured[name]["files"]), name
        assert answer["rc"] == captured[name]["rc"], name


def place(name: str) -> str:
    return f"/etc/netplan/{'30' if name.startswith('before ours') else '60'}-x.yaml"


def without_new_uuids(files: dict[str, str]) -> dict[str, str]:
    """The files, without the UUIDs that netplan makes up."""
    return {
        path: re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f-]{17}\b", "NEW", text)
        for path, text in files.items()
    }


def some_files(rng: random.Random) -> dict[str, str]:
    """Two files of other people's, valid in most cases, in any spelling."""
    renderer = rng.choice(["networkd", "NetworkManager"])
    parts: list[dict[str, Any]] = [{"ethernets": {}} for _file in range(2)]
    ids = []
    for number, link in enumerate(LINKS):
        if rng.random() < 0.4:
            continue
        name = rng.choice([link["netdev"], f"q{number}", f"a{number}"])
        entry: dict[str, Any] = {"optional": True}
        if name != link["netdev"]:
            mac = rng.choice([link["mac"], link["mac"].upper()])
            globs = [link["netdev"], link["netdev"][:-2] + "*", "en*", "enP[27]*", "e?p1s0f0np0"]
            matches: list[dict[str, Any]] = [{"name": rng.choice(globs)}, {"macaddress": mac}]
            matches += [{"driver": rng.choice(["mlx5_core", "mlx5*", ["r8127", "mlx5_core"], "r8127"])}, {}]
            entry["match"] = rng.choice(matches if renderer == "networkd" else matches[:2] * 4 + [{}])
        for family in ("dhcp4", "dhcp6"):
            if rng.random() < 0.3:
                said = rng.choice(TRUE + FALSE)
                entry[family] = said if rng.random() < 0.5 else f"@{said}"
        if rng.random() < 0.2:
            entry["addresses"] = [f"10.{number}.0.5/24", *rng.choice([[], [f"fd0{number}::5/64"]])]
            entry["routes"] = rng.choice([[], [{"to": "10.9.0.0/16", "via": f"10.{number}.0.1"}]])
        if entry.get("match", {}).get("macaddress") and rng.random() < 0.3:
            entry["set-name"] = rng.choice([f"fabric{number}", link["netdev"]])
        parts[rng.randrange(2)]["ethernets"][name] = entry
        if rng.random() < 0.3:  # netplan merges what several files say of one ID
            parts[1]["ethernets"].setdefault(name, {})["dhcp4"] = f"@{rng.choice(TRUE + FALSE)}"
        ids.append(name)
    free = [*ids, *(netdev for netdev in NETDEVS if netdev not in ids)]
    rng.shuffle(free)
    for kind, name, more in (("bonds", "bond0", {}), ("bridges", "br0", {}), ("vrfs", "vrf0", {"table": 7})):
        if free and rng.random() < 0.3:
            members = [free.pop() for _member in range(rng.randint(1, min(2, len(free))))]
            parts[1][kind] = {name: {**more, "interfaces": members}}
    if free and rng.random() < 0.3:
        parts[1]["vlans"] = {"storage": {"id": 100, "link": rng.choice(free)}}
    texts = [json.dumps({"network": {"version": 2, **part}}) for part in parts]
    for word in TRUE + FALSE:
        texts = [text.replace(f'"@{word}"', word) for text in texts]
    return {**base(renderer), "/etc/netplan/30-x.yaml": texts[0], "/etc/netplan/60-x.yaml": texts[1]}


def expected(means: dict[str, dict[str, Any]], netdev: str) -> set[str]:
    """What netplan's own library says of the IDs that match a netdev, in the words of the product."""
    words: set[str] = set()
    for name, one in means.items():
        own = {f"{family}: true" for family in ("dhcp4", "dhcp6") if one[family]}
        own |= {f"address {address}" for address in one["addresses"]} | ({"routes"} if one["routes"] else set())
        own |= {f"a part of {master}" for master in one["masters"]} | {
            f"the link of {upper}" for upper in one["uppers"]
        }
        own |= {f"the name {one['name']}"} if one["name"] not in ("", netdev) else set()
        if not own and one["backend"] == "networkd" and f"10-netplan-{name}." < f"10-netplan-{netdev}.":
            own = {INSTEAD}
        if not own and one["backend"] == "NetworkManager" and name != netdev:
            own = {RIVAL}
        words |= own
    return words


def test_any_files_are_judged_as_netplan_reads_them(lab: Lab) -> None:
    rng = random.Random(19)
    cases = [some_files(rng) for _example in range(EXAMPLES)]
    valid = 0
    for files, answer in zip(cases, asked(lab, [{"files": files, "links": LINKS} for files in cases])):
        if answer["rc"]:
            continue  # its own affair: the plan says so, in netplan's words
        valid += 1
        documents = {path: yaml.safe_load(text) for path, text in files.items()}
        judged = find_conflicts(answer["files"], documents, OWN, LINKS)
        found: dict[str, set[str]] = {netdev: set() for netdev in NETDEVS}
        for one in judged:
            found[one["netdev"]] |= set(one["sets"])
            assert one["path"] in ("/etc/netplan/30-x.yaml", "/etc/netplan/60-x.yaml")
        wanted = {netdev: expected(means, netdev) for netdev, means in answer["means"].items()}
        assert found == wanted, "\n".join(files.values())
    assert valid > EXAMPLES * 0.7, f"{valid} of {EXAMPLES} were valid"
