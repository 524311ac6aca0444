# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What last served on a host, kept while another serving is tried, and put back where that one does not serve.

The files of a configuration are kept beside those that a play writes, below a directory named by the configuration, and
a container of systemd's under another name. A supervisor that is started with that configuration goes by the kept ones
(``state.folder`` in the image), so that what served can start again at any moment of a play, also after its end.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine import contract, history
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.instances import SWARM
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import (
    KEPT_SUFFIX,
    NEXT_SUFFIX,
    STACK_VERSION,
)
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.files import write_atomically

#: runs a program and returns its exit status and what it printed
Run = Callable[[Sequence[str]], "tuple[int, str]"]
DRAFT = ".draft"
STACK = "stack.yml"
#: of ssh/, what depends on the configuration; the keys stay as they are
TRUST = ("ssh/known_hosts", "ssh/authorized_keys")
#: beside a configuration, and no part of it: alerts go where the last play said
NOT_OF_IT = (history.FILE, contract.ALERT, contract.ALERT_URL)
STOPPED = ".stopped"  #: in what is kept, where stop.yml had stopped it
LOG_LINES = 2000  # of a container that is taken away since it did not serve


class LastGoodError(Exception):
    """Why something cannot be kept or put back, in words."""


@dataclass(frozen=True)
class Serving:
    """A serving on this host, and the configuration that last served."""

    good: str  # as the supervisor's state has it
    config_dir: Path
    state_dir: Path
    name: str  # of the container, its unit and the stack
    unit: str
    unit_link: Path  # there while the unit is enabled
    launcher: str
    members: Sequence[str]
    leader: bool  # whether this host is

    @property
    def kept_root(self) -> Path:
        """The directory of all that is kept."""
        return self.config_dir / contract.KEPT

    @property
    def kept(self) -> Path:
        """The directory of what last served."""
        return self.kept_root / self.good

    @property
    def was_stopped(self) -> bool:
        """Whether stop.yml had stopped what is kept."""
        return (self.kept / STOPPED).is_file()


# --- files -----------------------------------------------------------------------------------------------------------


def belonging(folder: Path) -> list[str]:
    """The files of a configuration in a directory, by their paths in it."""
    own = [
        path.name
        for path in sorted(folder.iterdir())
        if stat.S_ISREG(path.lstat().st_mode) and path.name not in NOT_OF_IT and not path.name.startswith(".")
    ]
    return [*own, *(name for name in TRUST if (folder / name).is_file())]


def copy(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy some files, each in one step, with their modes."""
    for name in names:
        path = target / name
        if path.parent != target:
            path.parent.mkdir(mode=0o700, exist_ok=True)
        content, mode = (source / name).read_bytes(), stat.S_IMODE((source / name).stat().st_mode)
        if not path.is_file() or (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) != (content, mode):
            write_atomically(path, content, mode)


def keep_files(one: Serving) -> None:
    """Keep the files of what last served, unless an earlier play has: then others may lie in their place already."""
    if not one.kept.is_dir():
        draft = one.kept_root / DRAFT
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o755, parents=True)
        copy(one.config_dir, draft, belonging(one.config_dir))
        told = _json(one.state_dir / contract.STATE)
        if (told.get("phase"), told.get("reason")) == (contract.STOPPED, contract.BY_STOP):
            (draft / STOPPED).touch()
        draft.rename(one.kept)
    for other in one.kept_root.iterdir():
        if other != one.kept:
            shutil.rmtree(other)


def _json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def restore_files(one: Serving) -> None:
    """Put the kept files in their place, and take away what the other configuration had beside them."""
    names = belonging(one.kept)
    copy(one.kept, one.config_dir, names)
    for name in set(belonging(one.config_dir)) - set(names):
        (one.config_dir / name).unlink()


def problem_of(one: Serving, docker: Docker) -> str:
    """Why what last served could not be put back from here, empty where it could."""
    folder = one.kept if one.kept.is_dir() else one.config_dir
    try:
        names = [node["name"] for node in _json(folder / contract.CLUSTER)["nodes"]]
    except (KeyError, TypeError):
        return f"{folder / contract.CLUSTER} is not there, or is no configuration"
    if names != list(one.members):
        return f"it served on {', '.join(map(str, names))}"
    if one.launcher == SWARM:
        stack = folder / STACK
        if one.leader and not (stack.is_file() and one.good in stack.read_text(encoding="utf-8", errors="replace")):
            return f"{stack} does not start it"
        return ""
    if one.good not in (config_of(inspected(docker, f"{one.name}{suffix}")) for suffix in ("", KEPT_SUFFIX)):
        return "its container is not there"
    return ""


def limits_of(one: Serving) -> dict[str, Any]:
    """The limits of what is kept, by which its supervisor goes."""
    limits = _json(one.kept / contract.CLUSTER).get("limits")
    return dict(limits) if isinstance(limits, Mapping) else {}


# --- containers of systemd -------------------------------------------------------------------------------------------


def inspected(docker: Docker, name: str) -> dict[str, Any]:
    """A container, empty where there is none of that name."""
    try:
        found: dict[str, Any] = docker.ask("GET", f"/containers/{quote(name)}/json")
    except DockerError as error:
        if error.status != 404:
            raise
        return {}
    return found


def config_of(container: Mapping[str, Any]) -> str:
    """With which configuration a container was made; empty for none."""
    named = dict(text.partition("=")[::2] for text in (container.get("Config") or {}).get("Env") or [])
    return str(named.get(contract.CONFIG_VARIABLE, ""))


def remove(docker: Docker, name: str) -> bool:
    """Remove a container. Returns whether there was one."""
    if not inspected(docker, name):
        return False
    docker.ask("DELETE", f"/containers/{quote(name)}?force=1")
    return True


def rename(docker: Docker, old: str, new: str) -> None:
    """Give a container another name."""
    docker.ask("POST", f"/containers/{quote(old)}/rename?name={quote(new)}")


def tell(run: Run, *argv: str) -> None:
    """Have a program do something. :raises LastGoodError: with its words where it does not."""
    code, said = run(argv)
    if code:
        raise LastGoodError(f"{' '.join(argv)} failed: {' '.join(said.split())[:300]}")


def start(one: Serving, config: str, docker: Docker, run: Run) -> None:
    """Put the container that was made beside the running one into its place, and start the unit.

    Nothing but this ends what serves, and what is told to end and what is told to start is so in one go.

    :param config: the planned configuration. A container of another one was left by an interrupted play, and goes.
    """
    made = config_of(inspected(docker, f"{one.name}{NEXT_SUFFIX}"))
    if made and made != config:
        remove(docker, f"{one.name}{NEXT_SUFFIX}")
    elif made:
        tell(run, "systemctl", "stop", one.unit)
        served = inspected(docker, one.name)
        if served and one.good and config_of(served) == one.good:
            remove(docker, f"{one.name}{KEPT_SUFFIX}")
            halt(docker, one.name)  # it may have been started by hand
            rename(docker, one.name, f"{one.name}{KEPT_SUFFIX}")
        else:
            remove(docker, one.name)
        rename(docker, f"{one.name}{NEXT_SUFFIX}", one.name)
    tell(run, "systemctl", "start", one.unit)


def halt(docker: Docker, name: str) -> None:
    """Stop a container, which its own time to stop bounds."""
    docker.ask("POST", f"/containers/{quote(name)}/stop")


def restore_container(one: Serving, docker: Docker, run: Run, anew: bool) -> bool:
    """Put the container that last served into its place again, and start the unit. Returns whether one was started.

    What the other one wrote last is kept in a file. :param anew: start it again where it runs, since another Spark's
    was started again.
    """
    away = config_of(inspected(docker, one.name)) != one.good
    if away or anew or one.was_stopped:
        tell(run, "systemctl", "stop", one.unit)
    if away:
        keep_log(one, docker)
        remove(docker, one.name)
        rename(docker, f"{one.name}{KEPT_SUFFIX}", one.name)
    remove(docker, f"{one.name}{NEXT_SUFFIX}")
    run(["systemctl", "reset-failed", one.unit])  # it fails where nothing has
    if one.was_stopped:
        if one.unit_link.is_symlink():
            tell(run, "systemctl", "disable", "--no-reload", one.unit)
        return False
    if not one.unit_link.is_symlink():  # a unit that is not enabled does not start
        tell(run, "systemctl", "enable", "--no-reload", one.unit)
    runs = run(["systemctl", "is-active", "--quiet", one.unit])[0] == 0
    tell(run, "systemctl", "start", one.unit)
    return not runs


def keep_log(one: Serving, docker: Docker) -> None:
    """Keep the end of a container's log, which goes with the container."""
    if inspected(docker, one.name) and one.state_dir.is_dir():
        text = "".join(f"{line}\n" for line in docker.log(one.name, LOG_LINES))
        write_atomically(one.state_dir / contract.PUT_BACK_LOG, text.encode("utf-8", "replace"), 0o600)


# --- a stack ---------------------------------------------------------------------------------------------------------


def restore_stack(one: Serving, docker: Docker, run: Run) -> bool:
    """Deploy the stack that last served, on the leader. Returns whether that starts containers.

    One that stop.yml had stopped is deployed without containers: one that a busy Swarm starts late could come after
    what stops it again has looked, and would say last that it was not stopped on purpose.
    """
    starts = config_of(service(docker, f"{one.name}_leader")) != one.good and not one.was_stopped
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as none:
        files = ["--compose-file", str(one.config_dir / STACK)]
        if one.was_stopped:
            json.dump(without_containers(len(one.members)), none)
            none.flush()
            files += ["--compose-file", none.name]
        tell(run, "docker", "stack", "deploy", "--prune", "--resolve-image", "never", *files, one.name)
    return starts


def without_containers(members: int) -> dict[str, Any]:
    """What is laid over a stack of so many members so that it has none of its containers.

    >>> without_containers(1)
    {'version': '3.8', 'services': {'leader': {'deploy': {'replicas': 0}}}}
    """
    names = ["leader", "worker"][:members]
    return {"version": STACK_VERSION, "services": {name: {"deploy": {"replicas": 0}} for name in names}}


def service(docker: Docker, name: str) -> dict[str, Any]:
    """What a service's containers are made with, as that of a container is told; empty where there is none."""
    try:
        found = docker.ask("GET", f"/services/{quote(name)}")
    except DockerError as error:
        if error.status not in (404, 503):  # 503: there is no Swarm
            raise
        return {}
    return {"Config": found["Spec"]["TaskTemplate"]["ContainerSpec"]}


# --- all of it -------------------------------------------------------------------------------------------------------


def keep(one: Serving, docker: Docker) -> str:
    """Keep what last served. Returns why that cannot be, empty where it is."""
    problem = problem_of(one, docker)
    if not problem:
        keep_files(one)
    return problem


def restore(one: Serving, docker: Docker, run: Run, anew: bool = False) -> bool:
    """Put back what last served, and start it. Returns whether something was started.

    What stop.yml had stopped is not started, and is noted as stopped by engine_running, which the play asks next.

    :param anew: whether another Spark's container was started again, without which this one cannot go on.
    :raises LastGoodError: where it is not kept, or cannot be started.
    """
    problem = problem_of(one, docker) if one.kept.is_dir() else f"{one.kept} is not there"
    if problem:
        raise LastGoodError(f"what last served ({one.good}) cannot be put back: {problem}")
    restore_files(one)
    if one.launcher != SWARM:
        return restore_container(one, docker, run, anew)
    return one.leader and restore_stack(one, docker, run)


def forget(one: Serving, docker: Docker) -> list[str]:
    """Remove all that is kept or left of an interrupted play. Returns what there was."""
    found = [str(one.kept_root)] if one.kept_root.is_dir() else []
    if found:
        shutil.rmtree(one.kept_root)
    beside = [f"{one.name}{suffix}" for suffix in (KEPT_SUFFIX, NEXT_SUFFIX)]
    return [*found, *(name for name in beside if remove(docker, name))]


def left_in(config_dir: Path) -> list[str]:
    """The configurations that are kept in a serving's directory."""
    root = config_dir / contract.KEPT
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []
