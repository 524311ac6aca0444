# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan what is written and started to serve, on the controller; the module of this name documents it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import yaml
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import changes as planning
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import (
    cluster,
    contract,
    exposed,
    former,
    lifecycle,
    neighbours,
    serving,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import room as image_room
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.alert import Alert
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import ServeError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import instance_problem, layout
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import room
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.ufw import UfwError
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._models import fit
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils.planner import PlanError, Planner

#: the names of all changes that tasks of the role engine_serve make; LOAD is made by the role peer_copy
CHANGES = tuple(name for name in planning.NAMES if name != planning.LOAD)
FORGET_S = 600  # a run this long sets the number of starts back
GRACE_S = 25  # for the ranks to end, within the time that a container has to stop
MEMORY_WAIT_S = 60


class ActionModule(Planner):
    """Runs on the controller."""

    SPEC: ClassVar[dict[str, Any]] = {
        "members": {"type": "list", "elements": "str", "required": True},
        "instance": {"type": "str", "default": ""},
        "engine": {"type": "dict", "required": True},
        "model": {"type": "dict", "required": True},
        "fabric": {"type": "dict", "default": {}},
        "launcher": {"type": "str", "choices": ["swarm", "docker"], "required": True},
        "base_image": {"type": "str", "required": True},
        "context": {"type": "path", "required": True},
        "found": {"type": "dict", "required": True},
        "base_bytes": {"type": "int", "default": -1},
        "base_content_there": {"type": "bool", "default": False},
        "image_gb": {"type": "int", "default": 20},
        "reserve_gb": {"type": "int", "default": 20},
        "base_id": {"type": "str", "default": ""},
        "image_id": {"type": "str", "default": ""},
        "public_keys": {"type": "dict", "default": {}},
        "api_host": {"type": "str", "default": "127.0.0.1"},
        "api_port": {"type": "int", "default": 8355},
        "api_sources": {"type": "list", "elements": "str", "default": ["any"]},
        "firewall": {"type": "str", "choices": ["auto", "ufw", "none"], "default": "auto"},
        "ssh_port": {"type": "int", "default": 2233},
        "gpu_kind": {"type": "str", "default": "gpu"},
        "load_timeout": {"type": "int", "default": 0},
        "stall_minutes": {"type": "int", "default": 40},
        "canary_interval": {"type": "int", "default": 15},
        "canary_timeout": {"type": "int", "default": 60},
        "canary_failures": {"type": "int", "default": 3},
        "max_starts": {"type": "int", "default": 5},
        "memory_reserve_mib": {"type": "int", "default": 24576},
        "memory_budget_mib": {"type": "int", "default": 0},
        "memory_floor_mib": {"type": "int", "default": 8192},
        "memory_load_floor_mib": {"type": "int", "default": 16384},
        "model_force": {"type": "bool", "default": False},
        "memlock": {"type": "int", "default": -1},
        "alert_url": {"type": "str", "default": "", "no_log": True},
        "alert_format": {"type": "str", "choices": list(contract.ALERT_FORMATS), "default": contract.GENERIC},
        "alert_after": {"type": "int", "default": 60},
        "alert_settle": {"type": "int", "default": 120},
        "drop_caches": {"type": "bool", "default": False},
        "require_alike": {"type": "bool", "default": True},
        "require_rdma": {"type": "bool", "default": True},
        "meminfo_path": {"type": "str", "default": contract.MEMINFO},
        "drop_caches_path": {"type": "str", "default": "/proc/sys/vm/drop_caches"},
    }

    def plan(self, asked: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of all members."""
        asked = json.loads(json.dumps(asked))  # plain values, as YAML wants to write
        missing = [name for name in asked["members"] if "entries" not in (asked["found"].get(name) or {})]
        if missing:
            raise PlanError(f"nothing is known of {', '.join(missing)}: read the serving there first")
        try:
            return planned(asked)
        except (ServeError, UfwError) as error:
            text = str(error).rstrip(".")
            said = text if "Nothing was changed" in text else f"{text}. Nothing was changed"
            raise PlanError(f"This model cannot be served as asked: {said}.") from error


def planned(asked: dict[str, Any]) -> dict[str, Any]:
    """The plan, from plain values. :raises ServeError: and UfwError, when it cannot be."""
    unnamed = instance_problem(asked["instance"])
    if unnamed:
        raise ServeError(unnamed)
    cluster.check_model(asked["model"])
    image = image_of(asked)
    one = serving_of(asked, image.id or serving.UNKNOWN)
    before = former.of(one, asked["found"])
    asked = {**asked, "found": former.without(asked["found"], before.get("name", ""))}
    stack = serving.MANAGED + deploy_note(one) + yaml.safe_dump(serving.stack_file(one), sort_keys=False, width=1000)
    request = planning.Request(
        serving=one,
        found=asked["found"],
        image=image,
        fabric=asked["fabric"],
        public_keys={name: public_key(asked, one, name) for name in one.members},
        stack_text=stack,
        former=before,
        alert=Alert(asked["alert_url"], asked["alert_format"], asked["alert_after"], asked["alert_settle"]),
        **{name: asked[name] for name in ("firewall", "api_sources", "require_alike")},
    )
    planning.refuse(request)
    sums, moves = sums_of(asked), moves_of(asked)
    refuse_full_disks(sums, asked["reserve_gb"])
    state = asked["found"][one.members[0]]["state"]
    changes = planning.changes(request)
    names = {change["name"] for some in changes.values() for change in some}
    said = judged(asked, one)
    read = (asked["model"].get("bytes") or 0) + (draft_of(asked).get("bytes") or 0)
    lost = "" if asked["drop_caches"] else planning.lost_to_page_cache(request, read)
    warnings = []
    if names & planning.STARTS:
        warnings = [
            *doubts_of(said, asked["model_force"]),
            *filter(None, [lost]),
            *neighbours.doubts(one, asked["found"]),
        ]
        planning.refuse_different_memory(request)  # that the model does not fit says more
    own = {change["name"] for change in changes[one.members[0]]}
    wanted = lifecycle.services(one.layout["name"], len(one.members))
    restarts = (
        planning.has_given_up(request)
        or planning.RESTART_SERVICES in own
        or planning.RESTART_UNIT in own
        or (
            planning.START_ENGINE in own and lifecycle.starts_anew(one.launcher, wanted, asked["found"][one.members[0]])
        )
    )
    return {
        "changes": changes,
        "room": {name: [room.line(each) for each in some] for name, some in sums.items()},
        "moves": moves,
        "layout": one.layout,
        "instance": asked["instance"],
        "engine": asked["engine"],
        "model": {name: asked["model"].get(name) for name in ("repo", "commit", "repo_dir", "bytes")},
        "speculative": {
            name: value for name, value in (asked["engine"].get("speculative") or {}).items() if name != "rank_bytes"
        },
        "fabric": asked["fabric"],
        "launcher": asked["launcher"],
        "base_image": asked["base_image"],
        "base_digest": asked["found"][one.members[0]]["docker"]["base"].get("digest", ""),
        "image": {
            "id": image.id,
            "name": image.name(one.layout["repository"]),
            "files": [] if image.id else [{"path": name, "content": text} for name, text in image.context.items()],
            "context": image.context_digest,
        },
        "config_digest": one.config_digest,
        "last_good": planning.last_good(request),
        "former": before,
        "entry": {
            **{name: asked["model"].get(name) or "" for name in ("repo", "commit")},
            "config": one.config_digest,
            "asked": asked["engine"].get("asked") or {},
        },
        "cluster": one.cluster,
        "endpoint": f"http://{one.cluster['api_probe']}/v1",
        "hostfile_nodes": serving.hostfile_nodes(one),
        "stack": stack,
        "hosts": {name: planning.host_plan(request, name) for name in one.members},
        "exposed": exposed.sentences(one.cluster, one.launcher, asked["found"]),
        "gateways": asked["found"][one.members[0]].get("gateways", []),
        "require_rdma": asked["require_rdma"] and len(one.members) > 1,
        "load_timeout": one.cluster["limits"]["load_timeout_s"] + lifecycle.BEYOND_A_LOAD_S,
        # A supervisor that gave up, or is to be started again, does not count.
        "ignore_started_at": state.get("began", 0) if restarts else 0,
        "fit": said.to_json(),
        **({"warnings": warnings} if warnings else {}),
    }


def judged(asked: dict[str, Any], one: serving.Serving) -> fit.Verdict:
    """Whether the model fits: by what the engine's planner says that it needs, or else by the bytes of its files."""
    memory = {name: asked["found"][name]["memory_mib"] for name in one.members}
    reserve = fit.Reserve(
        asked["memory_reserve_mib"], floor_mib=asked["memory_floor_mib"], load_floor_mib=asked["memory_load_floor_mib"]
    )
    demand = asked["engine"].get("demand")
    if demand:
        asks = fit.from_json(demand)
        budget = neighbours.kv_budget_mib(one, list(memory.values())) * fit.MIB
        if budget and not asks.setting.max_bytes:
            asks = replace(asks, setting=replace(asks.setting, max_bytes=budget))
        return fit.judge(asks, memory, reserve)
    need = one.cluster["limits"]["memory_need_mib"]
    problems = {name: cluster.memory_problem(total, need, reserve.reserve_mib) for name, total in memory.items()}
    reasons = tuple(f"{name}: {problem}" for name, problem in problems.items() if problem)
    return fit.Verdict(fit.DOES_NOT if reasons else fit.FITS, reasons)


def doubts_of(said: fit.Verdict, force: bool) -> list[str]:
    """What a plan that starts the engine warns of. :raises ServeError: when the model does not fit."""
    if said.answer == fit.FITS:
        return []
    text = fit.sentence(said)
    if said.answer == fit.CANNOT_TELL:
        return [
            f"One cannot tell whether the model fits: {text}. The plan goes on, since nothing says that it does not"
        ]
    if force:
        return [f"The model does not fit, and engine_serve_model_force is true: {text}"]
    raise ServeError(f"{text}. To try it all the same, set spark_model_force: true")


def sums_of(asked: dict[str, Any]) -> dict[str, list[room.Sum]]:
    """By member the most that will lie on each filesystem at once: the model and the image on their ways.

    It goes by what there was before the first change, whatever was pulled or built since.
    """
    image = image_room.needs(*_before(asked))
    model = asked["model"].get("room") or {}
    return {name: room.add_up([*map(room.from_facts, model.get(name, [])), *image[name]]) for name in asked["members"]}


def moves_of(asked: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By member what of the image comes to it, of those to which any does: ``what``, ``bytes`` and ``way``."""
    return {
        name: {"what": asked["base_image"] if move["way"] == image_room.PULL else "the engine's image", **move}
        for name, move in image_room.moves(*_before(asked)).items()
        if not (asked["base_content_there"] and move["way"] == image_room.PULL)
    }


def _before(asked: dict[str, Any]) -> tuple[list[str], dict[str, Any], str, int]:
    """What :func:`image_room.needs` asks for, as it was before the first change."""
    docker = {name: asked["found"][name]["docker"] for name in asked["members"]}
    compressed = asked["base_bytes"] or int(asked["image_gb"] * 1e9)  # 0: the registry does not tell
    return asked["members"], docker, image_of({**asked, "base_id": "", "image_id": ""}).id, compressed


def refuse_full_disks(sums: dict[str, list[room.Sum]], reserve_gb: int) -> None:
    """Refuse what does not fit. :raises ServeError: with host, filesystem, sum, free bytes and mend."""
    full = [
        f"{name}: what will lie on {each.filesystem['mount']} does not fit: {room.line(each)}, and {reserve_gb} GB are "
        "to stay free (engine_serve_reserve_gb). Make room there, or name a larger disk for the cache (hf_cache_dir) "
        'or for Docker ("data-root" in /etc/docker/daemon.json)'
        for name, some in sums.items()
        for each in room.lacking(some, reserve_gb)
    ]
    if full:
        raise ServeError(". ".join(full))


def deploy_note(one: serving.Serving) -> str:
    """How to deploy the stack by hand."""
    path, name = one.layout["stack"], one.layout["name"]
    return f"# Deployed by: docker stack deploy --resolve-image never --compose-file {path} {name}\n"


def image_of(asked: dict[str, Any]) -> serving.Image:
    """The image as it is on the leader, or as it was built since."""
    found = asked["found"][asked["members"][0]]["docker"]
    base_id = asked["base_id"] or (found.get("base") or {}).get("id", "")
    image = serving.Image(asked["base_image"], base_id, context_in(Path(asked["context"])))
    repository = layout(asked["engine"]["name"])["repository"]
    known = asked["image_id"] or serving.find_image(image, repository, found.get("built", []))
    return serving.Image(image.base, image.base_id, image.context, known)


def context_in(folder: Path) -> dict[str, str]:
    """The text of the files that the image is built from, by their path below the folder; links are followed.

    Only these, so that what tools leave beside them does not make another image.
    """
    paths = sorted([folder / "Dockerfile", *folder.rglob("*.py")])
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}


def serving_of(asked: dict[str, Any], image_id: str) -> serving.Serving:
    """What is equal on all Sparks."""
    limits = {
        "interval_s": asked["canary_interval"],
        "timeout_s": asked["canary_timeout"],
        "failures": asked["canary_failures"],
        "load_timeout_s": asked["load_timeout"],
        "stall_s": 60 * asked["stall_minutes"],
        "max_starts": asked["max_starts"],
        "memory_floor_mib": asked["memory_floor_mib"],
        "memory_load_floor_mib": asked["memory_load_floor_mib"],
        "require_rdma": asked["require_rdma"],
        "memlock_bytes": asked["memlock"],
        "memory_wait_s": MEMORY_WAIT_S,
        "drop_caches": asked["drop_caches"],
        "gpu_kind": asked["gpu_kind"],
        "forget_s": FORGET_S,
        "grace_s": GRACE_S,
    }
    model_bytes, reserve = asked["model"].get("bytes") or 0, asked["memory_reserve_mib"]
    draft = draft_of(asked)
    draft_bytes = (asked["engine"].get("speculative") or {}).get("rank_bytes") or 0
    own, members = asked["meminfo_path"] == contract.MEMINFO, asked["members"]
    config, nodes = cluster.plan(
        cluster.Request(
            limits=limits,
            model_bytes=model_bytes,
            draft_bytes=draft_bytes,
            memory_budget_mib=neighbours.default_budget_mib(
                asked["instance"],
                asked["memory_budget_mib"],
                cluster.memory_need_mib(model_bytes, len(members), reserve, draft_bytes),
                reserve,
                [asked["found"][name]["memory_mib"] for name in members],
            ),
            meminfo=contract.MEMINFO if own else contract.MOUNTED_MEMINFO,
            **{
                name: asked[name]
                for name in ("members", "engine", "fabric", "api_host", "api_port", "ssh_port", "memory_reserve_mib")
            },
        )
    )
    return serving.Serving(
        engine=asked["engine"],
        cluster=config,
        nodes=nodes,
        image_id=image_id,
        repo_dirs={
            name: (asked["model"].get("repo_dirs") or {}).get(name, asked["model"]["repo_dir"]) for name in members
        },
        draft_dirs={name: (draft.get("repo_dirs") or {}).get(name, draft["repo_dir"]) for name in members if draft},
        drop_caches_path=asked["drop_caches_path"] if asked["drop_caches"] else "",
        **{name: asked[name] for name in ("gpu_kind", "launcher", "meminfo_path", "instance")},
    )


def draft_of(asked: dict[str, Any]) -> dict[str, Any]:
    """The model by which the engine guesses tokens, of those beside the served one; empty where it has none.

    :raises ServeError: where it is not there.
    """
    repo = (asked["engine"].get("speculative") or {}).get("repo")
    found = next((one for one in asked["model"].get("beside") or [] if one.get("repo") == repo), None)
    if repo and found is None:
        raise ServeError(
            f"{repo} is to guess tokens, and is not beside {asked['model'].get('repo') or 'the model'}: give "
            "engine_serve_model as the role hf_cache plans it, with that model in beside"
        )
    return dict(found) if repo and found else {}


def public_key(asked: dict[str, Any], one: serving.Serving, member: str) -> str:
    """A member's public key: one that was created since it was looked for, or the one that was found."""
    path = f"{serving.key_path(one, member)}.pub"
    return asked["public_keys"].get(member) or asked["found"][member]["entries"].get(path, {}).get("content", "")
