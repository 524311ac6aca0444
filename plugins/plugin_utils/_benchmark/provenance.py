# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured, on what, and in which state that was before and after. Pure functions.

What was not told is null, and never 0.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._doctor import redact
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._status.told import (
    mapping,
    mappings,
    number,
    text,
    texts,
)

GPU = ("temperature_c", "power_w", "clock_mhz", "clock_max_mhz", "pstate")
LINK = ("rdma_device", "netdev", "cage", "state", "speed_mbps", "mtu")
RANK = ("rank", "host", "transport", "devices", "transport_why")
YAML = "llm.yml"  #: the engine's own configuration


def is_virtual(facts: Mapping[str, object]) -> bool:
    """Whether a host is a container or a virtual machine, and so no DGX Spark. :param facts: as M(setup) tells.

    >>> is_virtual({"ansible_virtualization_role": "guest"}), is_virtual({"ansible_virtualization_role": "NA"})
    (True, False)
    """
    return text(facts.get("ansible_virtualization_role")) == "guest"


def cluster(status: Mapping[str, Any], engines: Mapping[str, object], machines: Mapping[str, object]) -> dict[str, Any]:
    """What does not change while a benchmark runs.

    :param status: the document of the status. :param engines: by host, what M(engine_host_info) returned.
    :param machines: by host, the facts of M(setup).
    """
    return {
        "sparks": [
            {
                "name": host["name"],
                "kernel": host["kernel"],
                "driver": next((gpu["driver"] for gpu in host["gpus"] if gpu["driver"]), None),
                "firmware": _firmware(engines.get(host["name"])),
                "gpu": next((gpu["name"] for gpu in host["gpus"] if gpu["name"]), None),
                "memory_mib": host["memory"]["total_mib"],
                "links": [{name: link[name] for name in LINK} for link in host["links"]],
                "docker": host["docker"],
                "virtual": is_virtual(mapping(machines.get(host["name"]))),
                "machine": text(mapping(machines.get(host["name"])).get("ansible_virtualization_type")) or None,
            }
            for host in status["hosts"]
        ],
        "shape": shape([host["name"] for host in status["hosts"]]),
    }


def _firmware(engine: object) -> str | None:
    return text(mapping(mapping(engine).get("platform")).get("firmware")) or None


def shape(names: Sequence[str]) -> str:
    """The inventory in a word.

    >>> shape(["spark1"]), shape(["spark1", "spark2"])
    ('1 Spark', '2 Sparks')
    """
    return f"{len(names)} Spark{'' if len(names) == 1 else 's'}"


def state(status: Mapping[str, Any]) -> dict[str, Any]:
    """What changes: temperatures, power, clocks, memory, and since when the engine runs."""
    return {
        "at": number(status.get("at")),
        "sparks": [
            {
                "name": host["name"],
                "answered": host["answered"],
                **{name: (host["gpus"] or [{}])[0].get(name) for name in GPU},
                "memory_available_mib": host["memory"]["available_mib"],
                "swap_used_mib": host["memory"]["swap_used_mib"],
            }
            for host in status["hosts"]
        ],
        "serving": {
            one["name"]: {
                "serves": one["serves"],
                "began": one["began"],
                "configs": sorted({rank["config"] for rank in one["ranks"]} - {None}),
            }
            for one in status["instances"]
        },
    }


def serving(instance: Mapping[str, Any], engine: object) -> dict[str, Any]:
    """The instance that is measured. :param engine: of its leader, what M(engine_host_info) returned."""
    files = mapping(mapping(engine).get("entries"))
    cluster_file, llm = _content(files, contract.CLUSTER), _content(files, YAML)
    receipt = mapping(instance.get("receipt"))
    return {
        "name": instance["name"],
        "engine": instance["engine"],
        "launcher": instance["launcher"],
        "leader": instance["leader"],
        "image": instance["image"],
        "flags": _flags(cluster_file),
        "yaml": redact.text(llm) if llm else None,
        "nccl": text(receipt.get("nccl")) or None,
        "kv_tokens": instance["kv_tokens"],
        "draft": instance["draft"],
        "ranks": [{name: rank[name] for name in RANK} for rank in instance["ranks"]],
    }


def _content(files: Mapping[str, Any], name: str) -> str:
    found = next((mapping(one) for path, one in files.items() if str(path).endswith(f"/{name}")), {})
    content = found.get("content")
    return content if isinstance(content, str) else ""


def _flags(cluster_file: str) -> list[str] | None:
    """The engine's command line. Its environment is left out, since it may hold secrets."""
    try:
        told = mapping(json.loads(cluster_file)) if cluster_file else {}
    except (ValueError, RecursionError):
        told = {}
    words = texts(told.get("serve"))
    return [redact.text(word) for word in words] or None


def changed(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> list[str]:
    """What happened to the serving meanwhile, so that its figures are none of one thing. :param name: the instance's.

    >>> one = {"serving": {"a": {"serves": True, "began": 1.0, "configs": ["x"]}}}
    >>> changed(one, {"serving": {"a": {"serves": True, "began": 9.0, "configs": ["x"]}}}, "a")
    ['the engine was started again while it was measured']
    >>> changed(one, one, "a"), changed({"serving": {}}, {"serving": {}}, "a")
    ([], [])
    """
    first, last = mapping(before["serving"].get(name)), mapping(after["serving"].get(name))
    if not first:
        return []
    if not last:
        return ["nothing tells of the engine after the benchmark"]
    made = []
    if first["began"] != last["began"]:
        made.append("the engine was started again while it was measured")
    if first["configs"] != last["configs"]:
        made.append("the engine was configured anew while it was measured")
    return made


def chosen(status: Mapping[str, Any], instance: str) -> tuple[Mapping[str, Any] | None, str]:
    """The instance to measure, and why there is none. :param instance: its name, empty for the one without.

    >>> chosen({"instances": []}, "")[1]
    'no Spark of this run serves anything'
    """
    some = mappings(status["instances"])
    found = [one for one in some if one["instance"] == instance]
    if len(found) == 1:
        return found[0], ""
    if not some:
        return None, "no Spark of this run serves anything"
    names = ", ".join(sorted(_named(one) for one in some))
    if found:
        return None, f"{names} are all of the name {instance or 'that is empty'}: narrow the run with --limit"
    return None, f"there is no instance {instance!r}; there is {names}"


def _named(one: Mapping[str, Any]) -> str:
    return f"{one['instance'] or 'one without a name'} on {one['leader']}"


def any_virtual(sparks: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a Spark is none: then no figure is one of a DGX Spark."""
    return any(one["virtual"] for one in sparks)
