# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image says of itself: read out of its files, or printed by a container that runs once, and kept in a note.

This module util is private to the collection.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError, reads_answers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import scaled_mib
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import BASE_LABEL

#: how a note is laid out; another number makes it be read anew
NOTE_FORM = 1
_LARGEST = 16 * 2**20  # bytes of a file that is read
_LINES = 3000


@dataclass(frozen=True)
class Limits:
    """What the container that runs may take."""

    seconds: float = 180
    memory_mib: int = 4096
    floor_mib: int = 8192  # that a Spark of 128 GB must have left, as the supervisor of a serving asks for


class Program(NamedTuple):
    """What a container runs to say something of its image."""

    command: Sequence[str]
    environment: Sequence[str]
    title: str  # what it is called where it does not


# --- which image ------------------------------------------------------------------------------------------------------


def image_for(docker: Docker, name: str, places: Mapping[str, str]) -> dict[str, Any]:
    """``id`` and ``environment`` of an image; where it was removed, of what was built from it. Empty where neither is.

    :param name: of the image that an engine's image is built from. :param places: the engine's layout.
    """
    found = docker.image(name) if name else None
    if found is None:
        filters = json.dumps({"label": [places["label"], f"{BASE_LABEL}={name}"]})
        built = docker.ask("GET", f"/images/json?filters={quote(filters)}")
        newest = max(built, key=lambda one: one.get("Created", 0), default=None) if isinstance(built, list) else None
        found = docker.image(str(newest["Id"])) if newest else None
    if not found:
        return {}
    return {"id": str(found["Id"]), "environment": list((found.get("Config") or {}).get("Env") or [])}


# --- files of an image, without starting it ---------------------------------------------------------------------------


def file_in(archive: bytes) -> str | None:
    """The text of the one file in an archive of Docker's; None where it holds something else, such as a directory."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            member = next(iter(tar), None)
            stream = tar.extractfile(member) if member and member.isfile() and member.size <= _LARGEST else None
            return stream.read().decode(errors="replace") if stream else None
    except tarfile.TarError:
        return None


class Container:
    """A container of an image, created and removed again; it need not run.

    :param places: the engine's layout. :param host: what else Docker is told of it.
    """

    def __init__(
        self,
        docker: Docker,
        image: str,
        places: Mapping[str, str],
        program: Program | None = None,
        host: Mapping[str, Any] | None = None,
    ) -> None:
        self._docker = docker
        self._name = f"{places['name']}-facts"  # one name, so that nothing piles up where a run was killed
        self._body = {
            "Image": image,
            "Entrypoint": list(program.command) if program else ["/bin/true"],
            "Cmd": [],
            "Env": list(program.environment) if program else [],
            "Labels": {"dgx-spark": f"{places['engine']}-facts"},
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {"NetworkMode": "none", "Runtime": "runc", **(host or {})},
        }
        self.id = ""

    def __enter__(self) -> Container:
        target = f"/containers/create?name={self._name}"
        try:
            made = self._docker.ask("POST", target, self._body)
        except DockerError as error:
            if error.status != 409:
                raise
            self._remove(self._name)  # of a run that was killed
            made = self._docker.ask("POST", target, self._body)
        self.id = str(made["Id"])
        return self

    def __exit__(self, *_error: object) -> None:
        self._remove(self.id)

    def _remove(self, name: str) -> None:
        try:
            self._docker.ask("DELETE", f"/containers/{name}?force=1&v=1")
        except DockerError as error:
            if error.status not in (404, 409):  # gone, or on its way
                raise

    def file(self, path: str) -> str | None:
        """The text of a file; None where there is none."""
        archive = self._docker.archive(self.id, path, _LARGEST)
        return None if archive is None else file_in(archive)


# --- what a container prints that runs --------------------------------------------------------------------------------


def memory_problem(meminfo: str, limits: Limits) -> str:
    """Why no container is started, with the memory that the host has; empty where there is enough.

    >>> memory_problem("MemTotal: 125829120 kB\\nMemAvailable: 10485760 kB\\n", Limits())
    'only 10240 MiB of memory are available, and 12288 are needed'
    """
    found = {
        name: int(value) // 1024 for name, value in re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB", meminfo, re.M)
    }
    needed = limits.memory_mib + scaled_mib(limits.floor_mib, found.get("MemTotal", 0))
    available = found.get("MemAvailable", needed)
    return "" if available >= needed else f"only {available} MiB of memory are available, and {needed} are needed"


def heard(
    docker: Docker,
    image: str,
    places: Mapping[str, str],
    program: Program,
    limits: Limits,
    meminfo: str,
    read: Callable[[Sequence[str]], Any],
) -> tuple[Any, str]:
    """What ``read`` makes of the lines that a program prints in a container, None where that is nothing; and why not.

    :param places: the engine's layout. :param meminfo: the text of that file.
    """
    problem = memory_problem(meminfo, limits)
    if problem:
        return None, problem
    size = limits.memory_mib * 2**20
    host = {
        **{"Memory": size, "MemorySwap": size, "PidsLimit": 1024},
        **{"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"]},
    }
    patient = Docker(docker.path, limits.seconds)
    try:
        with Container(docker, image, places, program, host) as container:
            docker.ask("POST", f"/containers/{container.id}/start")
            try:
                ended = patient.ask("POST", f"/containers/{container.id}/wait")
            except DockerError:
                return None, f"{program.title} did not end within {limits.seconds:g} seconds"
            lines = docker.log(container.id, _LINES)
    except DockerError as error:
        return None, f"Docker cannot run {program.title} ({error})"
    found = read(lines)
    if ended.get("StatusCode") or not found:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no word")
        return None, f"{program.title} ended with status {ended.get('StatusCode')} and {last[:200]!r}"
    return found, ""


# --- notes ------------------------------------------------------------------------------------------------------------


def note_path(image_id: str, folder: str) -> str:
    """Where it is kept what an image says.

    >>> note_path("sha256:0123456789abcdef", "/var/lib/dgx-spark/trtllm")
    '/var/lib/dgx-spark/trtllm/image-0123456789ab.json'
    """
    return f"{folder}/image-{image_id.rpartition(':')[2][:12]}.json"


def note_text(name: str, facts: Mapping[str, Any]) -> str:
    """The note of an image."""
    return json.dumps({"form": NOTE_FORM, "name": name, "facts": facts}, sort_keys=True) + "\n"


def note_of(image_id: str, folder: str, text: str) -> dict[str, Any]:
    """What has to be written so that a note is kept, as the module file_tree takes it."""
    parents = [str(Path(folder).parent), folder]
    return {
        "directories": [{"path": one, "mode": "0755"} for one in parents],
        "files": [{"path": note_path(image_id, folder), "content": text, "mode": "0644"}],
    }


def noted(image_id: str, name: str, folder: str) -> dict[str, Any]:
    """What was kept of an image; where it is not there any more, of the image that last had its name. Empty else.

    A note that cannot be read is none: the next run writes it anew.
    """
    if image_id:
        found = _read_note(Path(note_path(image_id, folder)))
        return found["facts"] if found.get("facts", {}).get("image_id") == image_id else {}
    notes = sorted(Path(folder).glob("image-*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((one["facts"] for one in map(_read_note, notes) if one.get("name") == name), {})


def _read_note(path: Path) -> dict[str, Any]:
    """A note as it was written. Serving containers may write beside it, so that no link is followed."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            found = json.loads(stream.read(_LARGEST))
    except (OSError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("form") == NOTE_FORM and _fits(found.get("facts")) else {}


def _fits(facts: Any) -> bool:
    if not isinstance(facts, dict):
        return False
    flags = facts.get("flags")
    return (
        all(isinstance(facts.get(name), str) for name in ("image_id", "version", "package", "no_flags_because"))
        and (flags is None or (isinstance(flags, dict) and all(map(_is_flag, flags.values()))))
        and (facts.get("schema") is None or isinstance(facts["schema"], dict))
    )


def _is_flag(about: Any) -> bool:
    if (
        not isinstance(about, dict)
        or not isinstance(about.get("kind"), str)
        or not isinstance(about.get("choices"), list)
    ):
        return False
    return all(isinstance(one, str) for one in about["choices"])


# --- all of it --------------------------------------------------------------------------------------------------------


@reads_answers
def look(
    docker: Docker,
    name: str,
    folder: str,
    places: Mapping[str, str],
    facts_of: Callable[[Mapping[str, Any]], dict[str, Any]],
    keep: bool,
) -> dict[str, Any]:
    """``facts`` of an image, whether they are ``noted``, and as ``note`` what is to be noted.

    :param name: of the image. :param folder: of the notes. :param places: the engine's layout.
    :param facts_of: reads them out of an image, as :func:`image_for` returns that, where no note has them.
    :param keep: whether they are to be noted.
    """
    try:
        image = image_for(docker, name, places)
    except DockerError as error:
        if error.status is not None:
            raise
        image = {}  # no Docker yet: the plan of another role installs it
    facts = noted(image.get("id", ""), name, folder)
    if facts or not image:
        return {"facts": {**facts, "source": "note"} if facts else {}, "noted": bool(facts), "note": {}}
    facts = {"image_id": image["id"], **facts_of(image)}
    note = note_of(image["id"], folder, note_text(name, facts)) if keep else {}
    return {"facts": {**facts, "source": "image"}, "noted": bool(note), "note": note}
