# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read from a Spark all that the serving is planned from. It changes nothing.

This module util is private to the collection.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import (
    STACK_LABEL,
    Docker,
    store_of,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.image_store import (
    DOCKER_ROOT,
    SAVED,
    images_root,
    is_readable,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.swarm_update import replicas
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, instances
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import KEPT_SUFFIX, NEXT_SUFFIX, ROOTS
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host import tcp_port, ufw
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.nvidia_smi import driver_version
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import FORMAT, installed
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import filesystem

#: runs a program and returns its exit status and what it printed
Run = Callable[[Sequence[str]], "tuple[int, str]"]
UNITS = Path("/etc/systemd/system")


def platform(run: Run, sysfs: Path = Path("/sys/class/infiniband")) -> dict[str, str]:
    """The versions of ``kernel``, NVIDIA ``driver`` and ConnectX-7 ``firmware``, each empty where the host has none."""
    code, said = run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    firmware = {path.read_text(encoding="utf-8").strip() for path in sysfs.glob("*/fw_ver")}
    return {
        "kernel": os.uname().release,
        "driver": driver_version(code, said),
        "firmware": ", ".join(sorted(firmware)),
    }


def memory_mib() -> int:
    """All the memory that this host has, in MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def memory_available_mib(path: str) -> int:
    """The memory that is free, or could be made free, in MiB; 0 where that is not told. :param path: of meminfo."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return 0
    match = re.search(r"^MemAvailable:\s*(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) // 1024 if match else 0


def entry(path: str, with_content: bool) -> dict[str, Any]:
    """What lies at a path: ``kind`` (file, directory, other or absent), ``mode``, ``digest``, ``content``.

    Links are followed. ``empty`` is of a directory, ``digest`` (SHA-256) of a file, ``content`` of a file that is to be
    read as text.
    """
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "absent"}
    about: dict[str, Any] = {"kind": "other", "mode": f"{stat.S_IMODE(found.st_mode):04o}"}
    if stat.S_ISDIR(found.st_mode):
        about.update(kind="directory", empty=not any(Path(path).iterdir()))
    elif stat.S_ISREG(found.st_mode):
        content = Path(path).read_bytes()
        about.update(kind="file", digest=hashlib.sha256(content).hexdigest())
        if with_content:
            about["content"] = content.decode(errors="replace")
    return about


def state_in(folder: Path) -> dict[str, Any]:
    """The supervisor's state, of the shape :class:`contract.State`; empty where there is none, or half of one.

    :raises OSError: when it is there and cannot be read.
    """
    return json_object(folder / contract.STATE)  # a power cut left half of it; the next start writes it anew


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none, or half of one. :raises OSError: when it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def others(places: Mapping[str, str], etc: Path = Path(ROOTS[0]), lib: Path = Path(ROOTS[1])) -> list[dict[str, Any]]:
    """The other instances, and other engines, that are configured here, as :func:`instances.facts_of` returns each.

    :param places: of the one that is none of them.
    """
    found = []
    for path in sorted(etc.glob(f"*/{contract.CLUSTER}")):
        folder = path.parent
        if str(folder) != places["config_dir"]:
            node = json_object(folder / contract.NODE)
            texts = (json_object(path), node, state_in(lib / folder.name))
            found.append(instances.facts_of(folder.name, *texts, launcher_in(folder, node)))
    return found


def launcher_in(folder: Path, node: Mapping[str, Any], units: Path = UNITS) -> str:
    """Who starts the container of the instance that is configured in a directory.

    The stack's file is on the leader alone, the unit's on every Spark. :param node: its ``node.json``.
    """
    worker = node.get("rank") not in (0, None)
    by_swarm = (folder / "stack.yml").exists() or (worker and not (units / f"dgx-spark-{folder.name}.service").exists())
    return instances.SWARM if by_swarm else instances.SYSTEMD


def instances_here(docker: Docker | None, engine: str, roots: Sequence[str] = ROOTS, units: Path = UNITS) -> list[str]:
    """The names of an engine's instances of which anything is left here, the empty one for that without a name.

    :param docker: None where none answers.
    """
    names = [path.name for root in roots for path in Path(root).glob(f"{engine}*")]
    prefix = "dgx-spark-"
    named = [path.name for path in units.glob(f"{prefix}{engine}*")]
    if docker:
        listed = _filtered(docker, "/containers/json?all=1", name=[f"^/{prefix}{engine}"])
        named += [one["Names"][0].lstrip("/") for one in listed]
    return instances.instances_in(engine, [*names, *(name[len(prefix) :] for name in named)])


def unit(run: Run, name: str) -> dict[str, str]:
    """The ``active`` state of a unit of systemd, as it names that."""
    return {"active": run(["systemctl", "show", "--property", "ActiveState", "--value", name])[1].strip()}


def packages(run: Run, names: Sequence[str]) -> list[str]:
    """Those of the Debian packages that are installed."""
    return sorted(set(names) & set(installed(run(["dpkg-query", "-W", "-f", FORMAT, *names])[1]))) if names else []


def firewall(run: Run, choice: str = "ufw", conf: Path = Path(ufw.CONF)) -> dict[str, Any]:
    """Whether ufw is ``installed`` and ``enabled``, and its ``rules``, each with ``rule`` and ``comment``.

    :param choice: ``ufw``; ``auto``, with which ufw is asked where it is enabled; or ``none``, with which it never is.
    """
    if choice == "none" or (choice == "auto" and not ufw.is_enabled(conf)):
        return {"installed": conf.is_file(), "enabled": False, "rules": []}
    code, said = run(["ufw", "show", "added"])
    rules = [] if code else [line._asdict() for line in ufw.parse(ufw.recall(said))]
    return {"installed": not code, "enabled": ufw.is_enabled(conf) and not code, "rules": rules}


def image_named(docker: Docker, name: str) -> dict[str, Any]:
    """``id``, ``digest``, ``bytes`` and ``layers`` of an image, empty where the engine has none of that name."""
    found = docker.image(name) if name else None
    if not found:
        return {}
    return {"id": found["Id"], "digest": next(iter(found.get("RepoDigests") or []), ""), **_size(found)}


def _size(image: Mapping[str, Any]) -> dict[str, Any]:
    return {"bytes": image.get("Size", 0), "layers": (image.get("RootFS") or {}).get("Layers") or []}


def _filtered(docker: Docker, target: str, **filters: Sequence[str]) -> list[dict[str, Any]]:
    mark = "&" if "?" in target else "?"
    return docker.ask("GET", f"{target}{mark}filters={quote(json.dumps(filters))}")


def docker_of(docker: Docker, base_image: str, places: Mapping[str, str]) -> dict[str, Any]:
    """What Docker has of the serving.

    :param base_image: an image to look up. :param places: as :func:`layout.layout` returns them.
    """
    name = places["name"]
    info = docker.info()
    swarm = info.get("Swarm") or {}
    manager = bool(swarm.get("ControlAvailable"))
    mine = [f"{STACK_LABEL}={name}"]
    beside = [f"{name}{suffix}" for suffix in (KEPT_SUFFIX, NEXT_SUFFIX)]
    pattern = rf"^/{name}(\{KEPT_SUFFIX}|\{NEXT_SUFFIX})?$"
    listed = _filtered(docker, "/containers/json?all=1", name=[pattern])
    named = {one["Names"][0].lstrip("/"): one for one in listed}
    own = named.get(name)
    specs = [one["Spec"] for one in (_filtered(docker, "/services", label=mine) if manager else [])]
    return {
        "store": store_of(info),
        "room": room_of(info),
        "build_proxies": build_proxies(info, Path.home() / ".docker" / "config.json"),
        "swarm": {"manager": manager, "state": swarm.get("LocalNodeState", "")},
        "base": image_named(docker, base_image),
        "images": sorted(one["Id"] for one in docker.ask("GET", "/images/json")),
        "built": [
            {
                **{"id": one["Id"], "tags": one.get("RepoTags") or [], "labels": one.get("Labels") or {}},
                **_size(docker.image(one["Id"]) or {}),
            }
            for one in _filtered(docker, "/images/json", label=[places["label"]])
        ],
        "container": {"image": own["ImageID"], "labels": own.get("Labels") or {}, "state": own["State"]} if own else {},
        "beside": [one for one in beside if one in named],
        "stack_containers": [
            {"id": one["Id"], "name": one["Names"][0].lstrip("/"), "state": one["State"]}
            for one in _filtered(docker, "/containers/json?all=1", label=mine)
        ],
        "services": {spec["Name"]: spec.get("Labels") or {} for spec in specs},
        "replicas": {spec["Name"]: count for spec in specs if (count := replicas(spec)) is not None},
    }


def room_of(info: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Where an image lies on its way: ``images``, ``docker`` (its temporary files), ``saved`` where it is saved first.

    :returns: of each the ``path``, and the ``filesystem`` as :func:`room.filesystem` returns it.
    """
    paths = {"images": images_root(info), "docker": info.get("DockerRootDir") or DOCKER_ROOT}
    paths.update({} if is_readable(info) else {"saved": SAVED})
    return {name: {"path": path, "filesystem": filesystem(path)} for name, path in paths.items()}


def build_proxies(info: Mapping[str, Any], config: Path) -> dict[str, str]:
    """The engine's own proxies as arguments of a build, whose programs would go without.

    None where the client's configuration names proxies, which it then gives to a build by itself, nor one with a
    password, which the engine does not tell.

    :param info: what the engine says of itself. :param config: of the Docker client.
    """
    try:
        named = bool(json.loads(config.read_text(encoding="utf-8")).get("proxies"))
    except (OSError, ValueError, AttributeError):
        named = False
    known = {"http_proxy": "HttpProxy", "https_proxy": "HttpsProxy", "no_proxy": "NoProxy"}
    found = {name: str(info.get(key) or "") for name, key in known.items()}
    hidden = any("xxxxx:xxxxx@" in value for value in found.values())
    if named or hidden or not (found["http_proxy"] or found["https_proxy"]):
        return {}
    return {one: value for name, value in found.items() if value for one in (name, name.upper())}


def copy_directory(path: str, owner: str, environment: Mapping[str, str]) -> str:
    """The directory of copies, of the user who copies: the named one, or the one who has become root for this.

    >>> copy_directory("~/.dgx-spark", "", {"SUDO_USER": "root"}), copy_directory("/data", "nobody", {})
    ('/root/.dgx-spark', '/data')
    """
    user = owner or environment.get("SUDO_USER") or environment.get("DOAS_USER") or ""
    try:
        return str(Path(f"~{user}{path[1:]}" if path.startswith("~/") else path).expanduser()) if path else ""
    except RuntimeError as error:
        raise ValueError(f"the directory {path} of {user} is not known: {error}") from error


def listeners(docker: Docker, wanted: Sequence[Mapping[str, Any]], own: Sequence[str]) -> list[dict[str, Any]]:
    """For each ``address`` and ``port`` whether it is ``taken`` by another program, and by which ``holders``.

    :param own: the names of the containers, or of the stacks, that may listen there.
    :raises OSError: and ValueError, when /proc does not tell.
    """
    names = {one["Id"]: one["Names"][0].lstrip("/") for one in docker.running()} if wanted else {}
    found = []
    for place in wanted:
        taken, holders = tcp_port.taken(place["address"], int(place["port"]), own, names)
        said = list(dict.fromkeys(str(one) for one in _first_of_each(holders)))
        found.append({**place, "taken": taken, "holders": said})
    return found


def _first_of_each(holders: Sequence[tcp_port.Holder]) -> list[tcp_port.Holder]:
    """Of a server and its children, the first."""
    return list({(one.name, one.container): one for one in reversed(holders)}.values())


def text_files(places: Mapping[str, str]) -> list[str]:
    """The files that are compared by their text. Secrets are none of them."""
    folder = places["config_dir"]
    names = [
        contract.CLUSTER,
        contract.NODE,
        contract.HOSTFILE,
        contract.ALERT,
        "llm.yml",
        *[f"ssh/{name}" for name in PUBLIC],
    ]
    return [*[f"{folder}/{name}" for name in names], places["stack"], places["unit_file"]]


PUBLIC = ("known_hosts", "authorized_keys", "id_ed25519.pub", "ssh_host_ed25519_key.pub")
PRIVATE = ("id_ed25519", "ssh_host_ed25519_key")


def other_paths(places: Mapping[str, str], downloads: Sequence[str]) -> list[str]:
    """What is looked at without its content."""
    folder = places["config_dir"]
    found = [*ROOTS, folder, f"{folder}/ssh", places["state_dir"], places["build_dir"], places["unit_link"]]
    found += [f"{folder}/{contract.ALERT_URL}", *[f"{folder}/ssh/{name}" for name in PRIVATE]]
    return [*found, *[f"{places['state_dir']}/{name}" for name in downloads]]


def entries(places: Mapping[str, str], downloads: Sequence[str]) -> dict[str, dict[str, Any]]:
    """All that lies where the serving has its files, by path."""
    texts = {path: entry(path, with_content=True) for path in text_files(places)}
    return {**texts, **{path: entry(path, with_content=False) for path in other_paths(places, downloads)}}
