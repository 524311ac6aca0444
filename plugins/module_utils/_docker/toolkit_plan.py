# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the NVIDIA Container Toolkit and Docker's runtimes on every Spark. Pure functions of what the hosts have.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.daemon_json import (
    DaemonJsonError,
    Settings,
    edit,
    not_in_effect,
    parse,
    refuse_restart,
    running_containers,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.dockerd import (
    beside_flags,
    refuse_other_file,
    refuse_start,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change

_USER_INFO = re.compile(r"://[^/@\s\"]+@")
NVIDIA = Settings({"default-runtime": "nvidia"}, {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}})
PACKAGES = "nvidia-container-toolkit nvidia-container-toolkit-base libnvidia-container-tools libnvidia-container1"

# The names of the tasks that make the changes.
KEY = "Download the key of the NVIDIA repository"
SOURCE = "Write the apt source of the NVIDIA repository"
PROXY = "Write the apt proxy for the NVIDIA repository"
PIN = "Write the apt pin of the NVIDIA Container Toolkit"
INSTALL = "Install the NVIDIA Container Toolkit"
IMAGE = "Create the image for the GPU check"
CONFIGURE = "Configure the NVIDIA runtime in Docker"
GROUP = "Add the user to the group docker"
RESTART = "Restart Docker"
#: the feature of daemon.json that has containerd keep the images
SNAPSHOTTER = "containerd-snapshotter"
CHANGES = (KEY, SOURCE, PROXY, PIN, INSTALL, IMAGE, CONFIGURE, GROUP, RESTART)


class DockerPlanError(ValueError):
    """The host cannot become what is asked for; the message names it, the cause and the mend."""


def refuse_rootless(host: str, found: Mapping[str, Any]) -> None:
    """Refuse an engine that a user runs without root: it reads another file, and another service restarts it."""
    options = found["engine"]["info"].get("SecurityOptions")
    named = [one.split(",")[0] for one in (options if isinstance(options, list) else []) if isinstance(one, str)]
    if "name=rootless" in named:
        raise DockerPlanError(
            f"Docker on {host} is rootless: it runs as a user and reads ~/.config/docker/daemon.json, and this "
            f"collection configures the system's Docker with {found['daemon']['path']}. Nothing was changed. Have the "
            "system's Docker answer at /var/run/docker.sock (sudo systemctl enable --now docker), or, where "
            "docker_socket names another socket, give it that one."
        )


def restart_refusal(host: str, engine: Mapping[str, Any], allowed: bool, option: str) -> None:
    """Refuse a restart of Docker that would end containers without consent."""
    if allowed or engine["info"].get("LiveRestoreEnabled"):
        return
    try:
        refuse_restart(running_containers(engine["containers"]), option)
    except DaemonJsonError as error:
        end = "" if "Nothing was changed" in str(error) else ". Nothing was changed."
        raise DockerPlanError(f"On {host}: {error}{end}") from None


def edited(host: str, daemon: Mapping[str, str], text: str, settings: Settings) -> str:
    """Return a daemon.json's text with settings merged into it; without settings it is only read."""
    with about_file(host, daemon):
        return edit(text, settings.merged(parse(text)))


@contextmanager
def about_file(host: str, daemon: Mapping[str, str]) -> Iterator[None]:
    """Have what is wrong with a daemon.json refuse the plan, with the names of the file and of the host."""
    try:
        yield
    except DaemonJsonError as error:
        said = str(error)
        end = "." if "Nothing was changed" in said else ". Nothing was changed."
        raise DockerPlanError(f"{daemon['path']} on {host}: {said}{end}") from None


def settings_beside_flags(host: str, found: Mapping[str, Any], settings: Settings) -> Settings:
    """Return what is left to write of some settings beside dockerd's flags.

    :raises DockerPlanError: where a flag is in the way, or dockerd reads another file.
    """
    daemon, flags = found["daemon"], found["engine"].get("flags")
    with about_file(host, daemon):
        refuse_other_file(daemon["path"], flags)
        return beside_flags(settings, flags)


def refuse_restart_of(host: str, found: Mapping[str, Any], text: str) -> None:
    """Refuse a restart of Docker with a file that it would not start with.

    :param text: what daemon.json will say.
    """
    engine = found["engine"]
    with about_file(host, found["daemon"]):
        refuse_start(parse(text), engine.get("flags"), (engine["info"].get("Swarm") or {}).get("LocalNodeState"))


def apt_files(wanted: Mapping[str, Any], *, add_repository: bool) -> dict[str, str]:
    """Return the files that apt is to read, as text by what they are for.

    :param wanted: the role's options. :param add_repository: whether NVIDIA's repository is to be added.
    """
    files: dict[str, str] = {}
    url, proxy, paths = wanted["repository_url"], wanted["proxy"], wanted["apt_files"]
    if add_repository:
        files["source"] = (
            f"# Ansible, role sparkops.dgx_spark.container_toolkit\nTypes: deb\nURIs: {url}/$(ARCH)\nSuites: /\n"
            f"Signed-By: {paths['key']}\n"
        )
        if proxy:
            host = url.split("://", 1)[-1].split("/")[0].rsplit("@", 1)[-1].split(":")[0]
            lines = "".join(f'Acquire::{scheme}::Proxy::{host} "{proxy}";\n' for scheme in ("http", "https"))
            files["proxy"] = f"// Ansible, role sparkops.dgx_spark.container_toolkit\n{lines}"
    if wanted["version"]:
        files["pin"] = (
            "# Ansible, role sparkops.dgx_spark.container_toolkit\n"
            "# A priority above 1000 lets apt go back to this version from a newer one.\n"
            f"Package: {PACKAGES}\nPin: version {wanted['version']}\nPin-Priority: 1001\n"
        )
    return files


def masked(text: str) -> str:
    """Return a text for a diff: without the user and the password of addresses in it, such as a proxy's.

    >>> masked('Proxy "http://me:secret@proxy:3128";'), masked('URIs: https://nvidia.github.io/deb')
    ('Proxy "http://***@proxy:3128";', 'URIs: https://nvidia.github.io/deb')
    """
    return _USER_INFO.sub("://***@", text)


def plan_packages(host: str, found: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the changes to apt and to the package, and the files that apt is to read."""
    wanted, packages = found["wanted"], found["packages"]
    version, offered = wanted["version"], packages["offered"]
    fits = packages["installed"]
    available = version in ("", *offered) if offered else bool(wanted["repository_url"])
    if not (fits or available):
        raise DockerPlanError(
            f"The NVIDIA Container Toolkit {version} is not installed on {host}, and its apt sources have "
            f"{', '.join(offered) or 'no nvidia-container-toolkit'}. Nothing was changed. Choose another "
            "container_toolkit_version, or set container_toolkit_repository_url."
        )
    add_repository = not fits and not offered
    files = apt_files(wanted, add_repository=add_repository)
    changes = []
    if add_repository and packages["apt_files"]["key"] is None:
        changes.append(change(KEY))
    for purpose, name in (("source", SOURCE), ("proxy", PROXY), ("pin", PIN)):
        before = packages["apt_files"][purpose] or ""
        if purpose in files and before != files[purpose]:
            changes.append(change(name, masked(before), masked(files[purpose]), wanted["apt_files"][purpose]))
    if not fits:
        present = packages["package_version"]
        after = version or (offered[0] if offered else "the newest")
        before = f"{present}\n" if present else ""
        changes.append(change(INSTALL, before, f"{after}\n", "package nvidia-container-toolkit"))
    return changes, files


def plan_daemon(host: str, found: Mapping[str, Any]) -> tuple[list[dict[str, Any]], bool, str]:
    """Return the change of daemon.json, whether Docker has to be restarted, and the text that it will have."""
    wanted, daemon = found["wanted"], found["daemon"]
    settings = settings_beside_flags(host, found, NVIDIA)
    text = edited(host, daemon, daemon["text"], settings)
    owners = parse(daemon["text"]).get("default-runtime", "nvidia")
    if owners != "nvidia" and not wanted["replace_default_runtime"]:
        raise DockerPlanError(
            f'{daemon["path"]} on {host} sets "default-runtime": "{owners}", and containers see no GPU unless it is '
            '"nvidia". Nothing was changed. If it may be replaced, set container_toolkit_replace_default_runtime: true.'
        )
    lost = lost_to_nvidia_ctk(found)
    changes = []
    if text != daemon["text"]:
        changes.append(change(CONFIGURE, daemon["text"], text, daemon["path"]))
    with about_file(host, daemon):
        due = bool(changes or not_in_effect(settings.wanted(parse(text)), found["engine"]["info"]))
    if due:
        if f"features.{SNAPSHOTTER}" in lost:
            raise DockerPlanError(f"{about_nvidia_ctk(host, daemon['path'], lost)} Nothing was changed.")
        refuse_restart_of(host, found, text)
        restart_refusal(host, found["engine"], wanted["allow_restart"], "container_toolkit_allow_restart")
    return changes, due, text


def lost_to_nvidia_ctk(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``nvidia-ctk runtime configure --cdi.enabled`` took out of daemon.json, by the names of the keys.

    Version 1.20.0 and older leave ``cdi`` as the only feature, and the nvidia runtime without its arguments. What was
    there is known from the file before this collection's first change, and from the engine, which runs with it still.
    """
    daemon, engine = found["daemon"], found["engine"]
    config = _as_object(daemon["text"])
    if config.get("features") != {"cdi": True}:
        return {}
    original = _as_object(daemon.get("original") or "")
    features = original.get("features")
    lost = {f"features.{key}": value for key, value in (features if isinstance(features, dict) else {}).items()}
    lost.pop("features.cdi", None)
    version = triple(engine["info"].get("ServerVersion"))
    # Docker 29 keeps images in containerd by itself, older versions only where this feature says so.
    by_flag = "features" in (engine.get("flags") or {})
    if engine["info"].get("store") == "containerd" and version and version < (29, 0, 0) and not by_flag:
        lost.setdefault(f"features.{SNAPSHOTTER}", True)
    arguments, now = _arguments(original), _arguments(config)
    if arguments and arguments != now:
        lost["runtimes.nvidia.runtimeArgs"] = arguments
    return lost


def _as_object(text: str) -> dict[str, Any]:
    try:
        return parse(text)
    except DaemonJsonError:
        return {}


def _arguments(config: Mapping[str, Any]) -> Any:
    runtimes = config.get("runtimes")
    nvidia = runtimes.get("nvidia") if isinstance(runtimes, dict) else None
    return nvidia.get("runtimeArgs") if isinstance(nvidia, dict) else None


def about_nvidia_ctk(host: str, path: str, lost: Mapping[str, Any]) -> str:
    """Return in words what was lost, and the mend."""
    named = ", ".join(f"{key}: {json.dumps(value)}" for key, value in lost.items())
    store = (
        f" {SNAPSHOTTER} says where Docker keeps its images: with another value it finds none of them after a restart."
        if f"features.{SNAPSHOTTER}" in lost
        else ""
    )
    return (
        f'{path} on {host} has "cdi" as its only feature, and lost {named}, as "nvidia-ctk runtime configure '
        f'--cdi.enabled" of version 1.20.0 and older leaves it.{store} Set that again in the file, to these values or '
        "to others that you want."
    )


def triple(version: Any) -> tuple[int, ...]:
    """Return the three numbers of a version of Docker or of its package, nothing where there are none.

    >>> triple("5:29.1.3-1~ubuntu.24.04~noble"), triple("26.1.5+dfsg1"), triple(None)
    ((29, 1, 3), (26, 1, 5), ())
    """
    match = re.search(r"(?:^|:)([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})", version if isinstance(version, str) else "")
    return tuple(map(int, match.groups())) if match else ()


def engine_warnings(host: str, found: Mapping[str, Any]) -> list[str]:
    """Return what is to be known of a host's engine and of its file, whether something changes or not."""
    engine, packages = found["engine"], found.get("packages") or {}
    lost = lost_to_nvidia_ctk(found)
    warnings = [about_nvidia_ctk(host, found["daemon"]["path"], lost)] if lost else []
    runs, there = engine["info"].get("ServerVersion"), packages.get("engine_version")
    differs = bool(triple(runs) and triple(there) and triple(runs) != triple(there))
    if engine.get("replaced") or (engine.get("replaced") is None and differs):
        of = f" {packages['engine']} is {there}, and" if there and differs else " Its file was replaced, and"
        warnings.append(
            f"Docker was upgraded on {host} while it ran:{of} dockerd still runs as version {runs or 'unknown'}. Its "
            "next start, after a reboot or a crash too, is that of another version. Restart it when no container runs "
            "that must not end (sudo systemctl restart docker)."
        )
    return warnings


def plan_group(host: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the change of the group docker."""
    user, group = found["wanted"]["docker_user"], found["group"]
    if not user or user in (group["members"] or []):
        return []
    if group["members"] is None:
        raise DockerPlanError(
            f"{host} has no group docker. Nothing was changed. Install Docker Engine, which brings the group."
        )
    if not group["user_exists"]:
        raise DockerPlanError(
            f"{host} has no user {user}. Nothing was changed. Name one of its users as container_toolkit_docker_user."
        )
    before = " ".join(group["members"])
    return [change(GROUP, f"{before}\n" if before else "", f"{before} {user}".strip() + "\n", "group docker")]


def plan_host(host: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``changes`` of one host, the apt ``files`` and the ``daemon_json`` that it will have."""
    refuse_rootless(host, found)
    packages, files = plan_packages(host, found)
    daemon, restart, text = plan_daemon(host, found)
    image = [] if found["image"] else [change(IMAGE)]
    group = plan_group(host, found)
    return {
        "changes": [*packages, *image, *daemon, *group, *([change(RESTART)] if restart else [])],
        "files": files,
        "daemon_json": text,
    }


def unread(members: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a plan without what a host has to say.

    :raises DockerPlanError: naming the hosts.
    """
    lost = [
        host
        for host, found in members.items()
        if not isinstance(found, Mapping) or found.get("failed") or not found.get("daemon")
    ]
    if lost:
        raise DockerPlanError(
            f"{', '.join(lost)} could not be read, and the plan needs every member. Nothing was changed. See the "
            "message of that host above."
        )


def plan(members: Mapping[str, Mapping[str, Any]], host: str) -> dict[str, Any]:
    """Return the plan of the role container_toolkit, as seen by one host.

    :param members: by host what M(sparkops.dgx_spark.container_toolkit_info) found. :param host: the host.
    :raises DockerPlanError: where a host cannot become what is asked for.
    """
    unread(members)
    planned = {name: plan_host(name, found) for name, found in members.items()}
    return {
        "changes": {name: one["changes"] for name, one in planned.items()},
        "gpus": uuids(members[host]),
        "files": planned[host]["files"],
        "warnings": engine_warnings(host, members[host]),
        "simulate": bool(members[host]["packages"]["offered"]) and INSTALL in names(planned[host]["changes"]),
        "hosts": {
            name: {
                "gpus": uuids(found),
                "daemon_json": planned[name]["daemon_json"],
                "version": found["toolkit"]["version"] if found["packages"]["installed"] else coming(found),
            }
            for name, found in members.items()
        },
    }


def coming(found: Mapping[str, Any]) -> str | None:
    """Return the version of the package that will be installed, None where it is not known yet."""
    offered: Sequence[str] = found["packages"]["offered"]
    return found["wanted"]["version"] or (offered[0] if offered else None)


def uuids(found: Mapping[str, Any]) -> list[str]:
    """Return the UUIDs of a host's GPUs."""
    return [gpu["uuid"] for gpu in found["gpus"]]


def names(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of changes."""
    return [one["name"] for one in changes]
