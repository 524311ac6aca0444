# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change on each Spark so that a planned serving is there. Pure functions.

This module util is private to the collection.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Collection, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, lifecycle, neighbours, serving
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.alert import Alert, problem
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.cluster import (
    ServeError,
    control,
    rdma_devices,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.hostfile import HostfileError, validate_nodes
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import (
    OPTIONS_LABEL,
    PACKAGES,
    ROOTS,
    WORKER_PACKAGES,
    layout,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.serving import Image, Serving
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import ufw
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import no_source

#: the names of the tasks that make the changes, in their order
INSTALL = "Install the Python packages of Ansible's Docker modules"
PULL = "Pull the base image"
BUILD = "Build the engine's image"
LOAD = "Load the image from the leader"  # a task of the role peer_copy
DIRECTORIES = "Create the directories of the configuration"
KEY = "Create the SSH key"
WRITE = "Write the configuration"
HOSTFILE = "Write the hostfile"
ALERT = "Write the settings of alerts"
ALERT_URL = "Write the URL and the settings of alerts"
REMOVE_ALERT = "Remove the settings of alerts"
DOWNLOAD = "Download the engine's vocabularies"
END_FORMER = "End the engine that served before"
REMOVE_FORMER = "Remove the engine that served before"
STOP_UNIT = "Stop the unit"
REMOVE_CONTAINER = "Remove the container"
DISABLE_UNIT = "Disable the unit"
REMOVE_UNIT = "Remove the unit file"
REMOVE_STACK = "Remove the stack"
REMOVE_STACK_CONTAINERS = "Remove the containers of the stack"
REMOVE_STACK_FILE = "Remove the stack file"
WRITE_STACK = "Write the stack file"
DEPLOY = "Deploy the stack"
RESTART_SERVICES = "Restart the services"
WRITE_UNIT = "Write the unit file"
ENABLE_UNIT = "Enable the unit"
CREATE_CONTAINER = "Create the container"
RESET_UNIT = "Reset the failed unit"
START_UNIT = "Start the unit"
RESTART_UNIT = "Restart the unit"
START_ENGINE = lifecycle.START_ENGINE  # what stop.yml has stopped
FIREWALL = "Configure the firewall"
FORGET = "Forget what was kept to go back to"

NAMES = (
    *(INSTALL, PULL, BUILD, LOAD, DIRECTORIES, KEY, WRITE, HOSTFILE, DOWNLOAD, ALERT, ALERT_URL, REMOVE_ALERT),
    END_FORMER,
    *(STOP_UNIT, REMOVE_CONTAINER, DISABLE_UNIT, REMOVE_UNIT, REMOVE_STACK, REMOVE_STACK_CONTAINERS, REMOVE_STACK_FILE),
    *(WRITE_STACK, DEPLOY, RESTART_SERVICES),
    *(WRITE_UNIT, ENABLE_UNIT, CREATE_CONTAINER, RESET_UNIT, START_UNIT, RESTART_UNIT, START_ENGINE, FIREWALL, FORGET),
    REMOVE_FORMER,
)
#: what starts the engine
STARTS = {DEPLOY, RESTART_SERVICES, CREATE_CONTAINER, START_UNIT, RESTART_UNIT, START_ENGINE}
REMOVE_RULES = "Remove the firewall rules of the serving"
REMOVE_IMAGES = "Remove the engine's images"
REMOVE_FILES = "Remove the files of the serving"
UNDO_NAMES = (
    *(REMOVE_STACK, REMOVE_STACK_CONTAINERS, REMOVE_STACK_FILE),
    *(STOP_UNIT, REMOVE_CONTAINER, DISABLE_UNIT, REMOVE_UNIT, REMOVE_RULES, REMOVE_IMAGES, REMOVE_FILES),
)

PRIVATE = "0600"
SIZES_APART = 0.1  #: share of the memory by which Sparks of one size may differ


@dataclass(frozen=True)
class Request:
    """A planned serving, and what the hosts have."""

    serving: Serving
    found: Mapping[str, Mapping[str, Any]]  # by member, as engine_host_info returns it
    image: Image
    fabric: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    public_keys: Mapping[str, str] = field(default_factory=dict)  # by member
    stack_text: str = ""  # of the stack's file
    firewall: str = "auto"
    api_sources: Sequence[str] = ("any",)
    require_alike: bool = True
    alert: Alert = field(default_factory=Alert)
    former: Mapping[str, Any] = field(default_factory=dict)  # as former.of returns it


def refuse(asked: Request) -> None:
    """Refuse what would not serve. :raises ServeError: with host, value, cause and mend."""
    found = next((one for one in _problems(asked) if one), "")
    if found:
        raise ServeError(found)


def refuse_different_memory(asked: Request) -> None:
    """Refuse to start on Sparks of different sizes, unless that is waived. :raises ServeError: with the sizes."""
    problem = _different_memory(asked.serving.members, asked.found) if asked.require_alike else ""
    if problem:
        raise ServeError(problem)


def _problems(asked: Request) -> Iterator[str]:
    members, found = asked.serving.members, asked.found
    yield from (f"{name}: {found[name]['docker'].get('problem', '')}" for name in members if _no_docker(found[name]))
    yield _same_hostnames(members, found)
    yield _different_stores(members, found)
    yield _different_caches(asked.serving)
    yield _different_platforms(members, found) if asked.require_alike else ""
    yield from neighbours.problems(asked.serving, found)
    yield problem(asked.alert)
    for name in members:
        yield _no_source(asked, name)
        yield from (_taken(name, place) for place in found[name]["listen"] if place["taken"])
    if len(members) > 1:
        try:
            validate_nodes(serving.hostfile_nodes(asked.serving))
        except HostfileError as error:
            yield f"the inventory's names cannot stand in a hostfile: {error}"


def _no_docker(found: Mapping[str, Any]) -> bool:
    return bool(found["docker"].get("problem"))


def _same_hostnames(members: Sequence[str], found: Mapping[str, Any]) -> str:
    names = [found[name]["hostname"] for name in members]
    if len(set(names)) == len(names):
        return ""
    return (
        f"{', '.join(members)} have the host names {', '.join(names)}, up to the first dot, and NCCL tells its ranks "
        "apart by them: give each its own (hostnamectl set-hostname)"
    )


def _different_stores(members: Sequence[str], found: Mapping[str, Any]) -> str:
    stores = {name: found[name]["docker"]["store"] for name in members}
    if len(set(stores.values())) == 1:
        return ""
    return (
        f"the Sparks' Dockers keep images in different ways, {stores}, so that no image would be the same on all of "
        'them: set "features": {"containerd-snapshotter": true} or false alike in /etc/docker/daemon.json and restart '
        "Docker; images that were kept the other way are to be pulled again then"
    )


def _different_caches(one: Serving) -> str:
    """In a Swarm all workers are one service, whose mounts have one source on every node."""
    for what, dirs in (("the model", one.repo_dirs), ("the model that guesses tokens", one.draft_dirs)):
        workers = {name: dirs[name] for name in one.members[1:] if dirs}
        if one.launcher == "swarm" and len(set(workers.values())) > 1:
            return _at_different_paths(what, workers)
    return ""


def _at_different_paths(what: str, workers: Mapping[str, str]) -> str:
    places = ", ".join(f"{name}: {path}" for name, path in workers.items())
    return (
        f"the workers have {what} at different paths ({places}), and a Swarm mounts one path on all workers: name a "
        "cache that has the same path on every Spark (hf_cache_dir, such as /var/lib/huggingface), or have systemd "
        "start the containers (spark_launcher: docker)"
    )


def _different_platforms(members: Sequence[str], found: Mapping[str, Any]) -> str:
    platforms = {name: found[name]["platform"] for name in members}
    first = platforms[members[0]]
    unlike = [kind for kind in first if len({one[kind] for one in platforms.values()}) > 1]
    if not unlike:
        return ""
    return (
        f"{' and '.join(unlike)} differ, and ranks on such Sparks have been seen to hang: {platforms}. Update all "
        "alike and reboot, or waive it with engine_serve_require_alike: false"
    )


def _different_memory(members: Sequence[str], found: Mapping[str, Any]) -> str:
    """Firmware keeps a little of the memory, and not the same on each."""
    sizes = {name: found[name]["memory_mib"] for name in members}
    if min(sizes.values()) >= max(sizes.values()) * (1 - SIZES_APART):
        return ""
    told = ", ".join(f"{name} has {mib} MiB" for name, mib in sizes.items())
    return (
        f"the Sparks have different memory ({told}), and each rank gets an equal part of the model, so that the "
        "smallest decides and the rest lies idle: serve with Sparks of one size, or waive it with "
        "engine_serve_require_alike: false"
    )


def _taken(name: str, place: Mapping[str, Any]) -> str:
    who = " and ".join(place["holders"]) or "something that /proc does not name"
    return (
        f"{name}: port {place['port']} of {place['address']} is taken by {who}. Stop that program, or choose another "
        "port (engine_serve_api_port, engine_serve_ssh_port)"
    )


def lost_to_page_cache(asked: Request, model_bytes: int) -> str:
    """Say what a start loses where no caches are dropped while it loads; empty where that is not known, or little."""
    limits = asked.serving.cluster["limits"]
    share = limits["memory_need_mib"] - limits["memory_reserve_mib"]
    beside = min(asked.found[name]["memory_mib"] for name in asked.serving.members) - share
    lost = min(model_bytes // 2**20, beside) // 1024  # GiB
    if lost < 1:
        return ""
    return (
        f"The KV cache may get up to {lost} GiB less on each Spark: the model's files stay in the page cache as the "
        "engine reads them, CUDA takes cached pages for used ones, and the KV cache is sized by what is left. With "
        "engine_serve_drop_caches: true they are dropped before and while it loads (echo 3 > "
        "/proc/sys/vm/drop_caches); other programs of the Sparks then read from the disk again"
    )


def changes(asked: Request) -> dict[str, list[dict[str, Any]]]:
    """By member the changes that make the serving what it is planned to be, in the order in which they are made."""
    before = {
        name: [*_image(asked, name), *_configuration(asked, name), *_alerts(asked, name)]
        for name in asked.serving.members
    }
    drifted = any(one["name"] in (KEY, WRITE, HOSTFILE) for some in before.values() for one in some)
    return {
        name: [
            *some,
            *_former(asked, name),
            *_running(asked, name, drifted),
            *_firewall(asked, name),
            *_left(asked, name),
            *_former_left(asked, name),
        ]
        for name, some in before.items()
    }


def missing_packages(asked: Request, member: str) -> list[str]:
    """The packages that a member needs and lacks."""
    needed = PACKAGES if member == asked.serving.members[0] else WORKER_PACKAGES
    return sorted(set(needed) - set(asked.found[member]["packages"]))


def _no_source(asked: Request, member: str) -> str:
    packages = [one for one in missing_packages(asked, member) if one in asked.found[member].get("unavailable", [])]
    return f"{member}: {no_source(packages)}" if packages else ""


def _image(asked: Request, member: str) -> Iterator[dict[str, Any]]:
    found, known = asked.found[member], asked.image.id
    missing = missing_packages(asked, member)
    if missing:
        yield change(INSTALL, "", text_of(missing))
    if member == asked.serving.members[0]:
        if not known and not asked.image.base_id:
            yield change(PULL, "", f"{asked.image.base}\n")
        if not known:
            yield change(BUILD)
    elif known not in found["docker"]["images"]:
        yield change(LOAD, "", f"{known or serving.UNKNOWN}\n")


def _content(found: Mapping[str, Any], path: str) -> str:
    return str(found["entries"].get(path, {}).get("content", ""))


def _configuration(asked: Request, member: str) -> Iterator[dict[str, Any]]:
    found, one = asked.found[member], asked.serving
    entries = found["entries"]
    wrong = [each for each in serving.directories(one) if not _is_directory(entries, each)]
    if wrong:
        yield change(DIRECTORIES, "", text_of(f"{each['path']} (mode {each['mode']})" for each in wrong))
    if len(one.members) > 1 and not _has_key(entries, serving.key_path(one, member)):
        yield change(KEY)
    differing = [file for file in serving.files(one, member, asked.public_keys) if not _is_file(entries, file)]
    if differing:
        before = "".join(f"# {file.path}\n{_content(found, file.path)}" for file in differing)
        yield change(WRITE, before, "".join(f"# {file.path}\n{file.content}" for file in differing))
    if member != one.members[0]:
        return
    path = f"{one.layout['config_dir']}/{contract.HOSTFILE}"
    if len(one.members) > 1 and not _is_file(entries, serving.File(path, serving.hostfile(one))):
        yield change(HOSTFILE, _content(found, path), serving.hostfile(one), path)
    for item in one.engine.get("downloads", []):
        entry = entries.get(f"{one.layout['state_dir']}/{item['name']}", {})
        if entry.get("digest") != item["sha256"]:
            yield change(DOWNLOAD, "", text_of(each["url"] for each in one.engine["downloads"]))
            break


def alert_files(asked: Request, member: str) -> dict[str, Any]:
    """The file of settings of alerts, empty where there is none, and the paths of all files of alerts."""
    folder, name = asked.serving.layout["config_dir"], asked.serving.layout["name"]
    paths = [f"{folder}/{contract.ALERT}", f"{folder}/{contract.ALERT_URL}"]
    wanted = bool(asked.alert.url) and member == asked.serving.members[0]
    text = json.dumps(asked.alert.settings(name), indent=4, sort_keys=True) + "\n"
    return {"settings": [serving.File(paths[0], text)] if wanted else [], "paths": paths}


def _alerts(asked: Request, member: str) -> Iterator[dict[str, Any]]:
    """The supervisor reads these files when it needs them, so that nothing starts again for them.

    It looks every second, so that a URL comes together with its settings: no receiver gets the form of another.
    """
    found, files = asked.found[member], alert_files(asked, member)
    entries, (path, url_path) = found["entries"], files["paths"]
    if not files["settings"]:
        left = [one for one in files["paths"] if entries.get(one, {}).get("kind", "absent") != "absent"]
        if left:
            yield change(REMOVE_ALERT, text_of(left))
        return
    (settings,) = files["settings"]
    url = entries.get(url_path, {})
    if (url.get("digest"), url.get("mode")) != (asked.alert.url_digest, PRIVATE):
        yield change(ALERT_URL, _content(found, path), settings.content, path)
    elif not _is_file(entries, settings):
        yield change(ALERT, _content(found, path), settings.content, path)


def _former(asked: Request, member: str) -> Iterator[dict[str, Any]]:
    if member in asked.former.get("on", []) and not asked.former["was_stopped"]:
        yield change(END_FORMER, f"{asked.former['model']} ({asked.former['name']})\n", "")


def _former_left(asked: Request, member: str) -> Iterator[dict[str, Any]]:
    """Once what takes its place serves."""
    if member in asked.former.get("on", []):
        yield change(REMOVE_FORMER, f"{asked.former['name']}\n", "")


def _is_directory(entries: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    entry = entries.get(wanted["path"], {})
    return entry.get("kind") == "directory" and entry["mode"] == wanted["mode"]


def _is_file(entries: Mapping[str, Any], wanted: serving.File) -> bool:
    entry = entries.get(wanted.path, {})
    return (entry.get("content"), entry.get("mode")) == (wanted.content, wanted.mode)


def _has_key(entries: Mapping[str, Any], path: str) -> bool:
    private, public = entries.get(path, {}), entries.get(f"{path}.pub", {})
    return (private.get("kind"), private.get("mode"), public.get("kind")) == ("file", "0600", "file")


def _running(asked: Request, member: str, drifted: bool) -> Iterator[dict[str, Any]]:
    if asked.serving.launcher == "swarm":
        yield from remove_unit(asked.found[member], asked.serving.layout)
        yield from _swarm(asked, member, drifted)
    else:
        yield from remove_stack(asked.found, member, asked.serving.layout)
        yield from _systemd(asked, member, drifted)


def remove_unit(found: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What takes the unit and its container away."""
    entries = found["entries"]
    if entries[places["unit_file"]]["kind"] == "absent":
        return
    if found["unit"]["active"] not in ("inactive", "failed", ""):
        yield change(STOP_UNIT)
    if found["docker"].get("container") or found["docker"].get("beside"):
        yield change(REMOVE_CONTAINER)
    if entries[places["unit_link"]]["kind"] != "absent":
        yield change(DISABLE_UNIT)
    yield change(REMOVE_UNIT, _content(found, places["unit_file"]), "", places["unit_file"])


def remove_stack(
    all_found: Mapping[str, Mapping[str, Any]], member: str, places: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """What takes the stack away: a manager out of the Swarm, or its containers, where no Swarm knows of it any more."""
    found = all_found[member]
    manager = next((name for name, one in all_found.items() if one["docker"].get("services")), "")
    if member == manager:
        yield change(REMOVE_STACK)
    if not manager and found["docker"].get("stack_containers"):
        yield change(REMOVE_STACK_CONTAINERS)
    if found["entries"][places["stack"]]["kind"] != "absent":
        yield change(REMOVE_STACK_FILE, _content(found, places["stack"]), "", places["stack"])


def has_given_up(asked: Request) -> bool:
    """Whether the supervisor of exactly this configuration gave up: only a new start on purpose helps."""
    state = asked.found[asked.serving.members[0]]["state"]
    return state.get("config") == asked.serving.config_digest and state.get("phase") == contract.GAVE_UP


def _swarm(asked: Request, member: str, drifted: bool) -> Iterator[dict[str, Any]]:
    one, found = asked.serving, asked.found[member]
    if member != one.members[0]:
        return
    path = one.layout["stack"]
    written = _is_file(found["entries"], serving.File(path, asked.stack_text))
    if not written:
        yield change(WRITE_STACK, _content(found, path), asked.stack_text, path)
    labels = {name: about.get(OPTIONS_LABEL) for name, about in found["docker"]["services"].items()}
    deployed = written and labels == serving.stack_labels(one)
    if not deployed:
        yield change(DEPLOY)
    # To deploy a stack starts what was stopped, and no service again whose own part in it is what it was.
    wanted = lifecycle.services(one.layout["name"], len(one.members))
    stopped = lifecycle.scaled_down(wanted, found["docker"].get("replicas", {})) if deployed else []
    if (has_given_up(asked) and not stopped) or (deployed and drifted and len(stopped) < len(wanted)):
        yield change(RESTART_SERVICES)
    if stopped:
        yield change(START_ENGINE)


def _systemd(asked: Request, member: str, drifted: bool) -> Iterator[dict[str, Any]]:
    one, found = asked.serving, asked.found[member]
    places, text, active = one.layout, serving.unit(one), found["unit"]["active"]
    if not _is_file(found["entries"], serving.File(places["unit_file"], text)):
        yield change(WRITE_UNIT, _content(found, places["unit_file"]), text, places["unit_file"])
    disabled = found["entries"][places["unit_link"]]["kind"] == "absent"
    wanted = serving.container(one, member)
    labels = found["docker"]["container"].get("labels", {})
    create = labels.get(OPTIONS_LABEL) != wanted["labels"][OPTIONS_LABEL]
    if disabled and not create and active not in lifecycle.RUNS:
        yield change(START_ENGINE)
        return
    if disabled:
        yield change(ENABLE_UNIT)
    if create:
        yield change(CREATE_CONTAINER, json.dumps(labels), json.dumps(wanted, indent=2, sort_keys=True) + "\n")
    if active == "failed":  # systemd would not start it again for a while
        yield change(RESET_UNIT)
    if create or active not in lifecycle.RUNS:
        yield change(START_UNIT)
    elif drifted:
        yield change(RESTART_UNIT)


def firewall_rules(asked: Request, member: str) -> list[dict[str, Any]]:
    """The rules that let in who must get in, as the module ufw_rules takes them.

    Where ranks talk beside the fabric, as on a ring, the other Sparks; and on the leader the API's clients, where it
    listens beyond loopback.
    """
    one = asked.serving
    host, port = one.cluster["api_listen"].rsplit(":", 1)
    beyond = member == one.members[0] and not host.startswith("127.")
    others = [node["address"] for node in one.cluster["nodes"] if node["name"] != member]
    beside = len(one.members) > 1 and not control(asked.fabric[member])["on_fabric"]
    return [
        {"rule": "allow", "from_ip": others if beside else [], "to_ip": ["any"], "proto": "tcp"},
        {
            "rule": "allow",
            "from_ip": list(asked.api_sources) if beyond else [],
            "to_ip": ["any"],
            "to_port": [int(port)],
            "proto": "tcp",
        },
    ]


def _firewall(asked: Request, member: str) -> Iterator[dict[str, Any]]:
    state, rules = asked.found[member]["firewall"], firewall_rules(asked, member)
    wanted = [text for rule in rules for text in ufw.spread(rule)]
    if asked.firewall == "none" or (asked.firewall == "auto" and not state["enabled"]):
        return
    if not state["installed"]:
        if wanted:
            raise ServeError(f"{member} has no ufw, and engine_serve_firewall says ufw: install it, or say auto")
        return
    there = [ufw.Line(one["rule"], one["comment"]) for one in state["rules"]]
    comment = asked.serving.layout["comment"]
    todo = ufw.steps(there, wanted, comment)
    if any(todo):
        yield change(FIREWALL, *ufw.difference(there, todo, comment))


def _left(asked: Request, member: str) -> Iterator[dict[str, Any]]:
    """What an interrupted play has left; a play that ends forgets what it has kept by itself."""
    found = asked.found[member]
    left = [*found.get("kept", []), *found["docker"].get("beside", [])]
    if left:
        yield change(FORGET, text_of(left), "")


def last_good(asked: Request) -> str:
    """The configuration to go back to where the planned one does not serve; empty where none is known, or it is the
    same, or another engine served before, which comes back instead.
    """
    if asked.former:
        return ""
    good = str(asked.found[asked.serving.members[0]]["state"].get("good") or "")
    return "" if good == asked.serving.config_digest else good


def rules_before(asked: Request, member: str) -> list[dict[str, Any]]:
    """The rules of the firewall that the serving has now, as the module ufw_rules takes them."""
    comment = asked.serving.layout["comment"]
    rules = [ufw.told(one["rule"]) for one in asked.found[member]["firewall"]["rules"] if one["comment"] == comment]
    return [rule for rule in rules if rule]


def host_plan(asked: Request, member: str) -> dict[str, Any]:
    """What the tasks of one host need to make its changes, and to verify."""
    one, alerts = asked.serving, alert_files(asked, member)
    links = asked.fabric.get(member, {}).get("links", []) if len(one.members) > 1 else []
    return {
        "rank": one.members.index(member),
        "address": one.nodes[member]["address"],
        "rdma_devices": rdma_devices(links),
        "directories": serving.directories(one),
        "files": [serving.as_option(file) for file in serving.files(one, member, asked.public_keys)],
        "alert": {
            "files": [serving.as_option(file) for file in alerts["settings"]],
            "url_path": alerts["paths"][1],
            "paths": alerts["paths"],
        },
        "key": serving.key_path(one, member),
        "unit": serving.unit(one),
        "container": serving.container(one, member),
        "packages": missing_packages(asked, member),
        "firewall_rules": firewall_rules(asked, member),
        "firewall_before": rules_before(asked, member),
    }


def undo_changes(
    found: Mapping[str, Mapping[str, Any]], member: str, ending: Collection[str] = (), gives_way: bool = False
) -> Iterator[dict[str, Any]]:
    """What takes all away that a serving left on a host, whatever its launcher was.

    The images stay as long as another instance of the engine does, which was built from the same.

    :param found: by host, as engine_host_info returns it. :param ending: names of stacks and containers that earlier
        undos of the play have ended, and under check mode would have.
    :param gives_way: whether it has been ended, or would be under check mode, for another engine, which keeps the
        firewall's rules.
    """
    own = found[member]
    places, entries = own["layout"], own["entries"]
    yield from remove_stack(found, member, places)
    ended = (STOP_UNIT, DISABLE_UNIT) if gives_way else ()
    yield from (one for one in remove_unit(own, places) if one["name"] not in ended)
    ours = [one["rule"] for one in own["firewall"]["rules"] if one["comment"] == places["comment"]]
    if ours and not gives_way:
        yield change(REMOVE_RULES, text_of(ours))
    built = own["docker"].get("built", [])
    if built and not left_of(own, ending):
        yield change(REMOVE_IMAGES, text_of(one["id"] for one in built))
    left = [path for path in places_of(places) if entries[path]["kind"] != "absent"]
    left += [path for path in ROOTS if entries[path].get("empty")]
    if left:
        yield change(REMOVE_FILES, text_of(left))


def left_of(own: Mapping[str, Any], ending: Collection[str] = ()) -> list[str]:
    """The names of the engine's other instances on a host. :param ending: as :func:`undo_changes` takes it."""
    places = own["layout"]
    names = [layout(places["engine"], one)["name"] for one in own.get("instances", []) if one != places["instance"]]
    return [name for name in names if name not in ending]


def left_by_others(own: Mapping[str, Any], ending: Collection[str] = ()) -> list[str]:
    """The names of what other engines serve on a host. :param ending: as :func:`undo_changes` takes it."""
    others = [one for one in own.get("others", []) if one["engine"] != own["layout"]["engine"]]
    return [one["name"] for one in others if one["name"] not in ending]


def places_of(places: Mapping[str, str]) -> list[str]:
    """The directories that belong to a serving alone."""
    return [places["config_dir"], places["state_dir"], places["build_dir"]]
