# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read out of an image of TensorRT-LLM what it says of itself: its version, the schema of its options, its flags.

Version and schema are files, which a container gives that was created and never started. The flags are what
``trtllm-serve serve --help`` prints, for which a container has to run: without a GPU, a network or much memory.

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
from typing import Any, Iterator, Mapping, Sequence
from urllib.parse import quote

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import Docker, DockerError, reads_answers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import scaled_mib
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.layout import BASE_LABEL, layout

PLACES = layout("trtllm")
PACKAGE = "tensorrt_llm"
SCHEMA = "schemas/trtllm-serve-config.schema.json"
VERSION = "version.py"
#: how a note is laid out; another number makes it be read anew
NOTE_FORM = 1

_PYTHONS = (12, 13, 10, 11, 14, 9)  # the likeliest first
_LARGEST = 16 * 2**20  # bytes of a file that is read
_HELP_LINES = 3000
_VERSION_LINE = re.compile(r"""^__version__\s*(?::\s*str\s*)?=\s*["']([^"'\n]{1,60})["']""", re.MULTILINE)
# The libraries are named to a bash alone, and those for a driver that is not there come last.
_HELP = (
    'export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/cuda/compat/lib.real:'
    '/usr/local/cuda/compat"; exec trtllm-serve serve --help'
)
_HELP_ENVIRONMENT = ("COLUMNS=200", "DO_NOT_TRACK=1", "NVIDIA_VISIBLE_DEVICES=void", "TRTLLM_NO_USAGE_STATS=1")
#: words of a schema that no judgement needs, and that are most of it
_WORDS = ("$comment", "default", "description", "examples", "telemetry", "title")
#: below these, keys are names
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "mapping")


@dataclass(frozen=True)
class Limits:
    """What the container that runs may take."""

    seconds: float = 180
    memory_mib: int = 4096
    floor_mib: int = 8192  # that a Spark of 128 GB must have left, as the supervisor of a serving asks for


# --- which image ------------------------------------------------------------------------------------------------------


def image_for(docker: Docker, name: str, places: Mapping[str, str] | None = None) -> dict[str, Any]:
    """``id`` and ``environment`` of an image; where it was removed, of what was built from it. Empty where neither is.

    :param name: of the image that an engine's image is built from. :param places: of an engine other than TensorRT-LLM,
        as its layout.
    """
    found = docker.image(name) if name else None
    if found is None:
        filters = json.dumps({"label": [(places or PLACES)["label"], f"{BASE_LABEL}={name}"]})
        built = docker.ask("GET", f"/images/json?filters={quote(filters)}")
        newest = max(built, key=lambda one: one.get("Created", 0), default=None) if isinstance(built, list) else None
        found = docker.image(str(newest["Id"])) if newest else None
    if not found:
        return {}
    return {"id": str(found["Id"]), "environment": list((found.get("Config") or {}).get("Env") or [])}


# --- files of an image, without starting it ---------------------------------------------------------------------------


def libraries(environment: Sequence[str]) -> list[str]:
    """Where an image may have Python's packages, the likeliest first.

    >>> libraries(["VIRTUAL_ENV=/opt/trt"])[0]
    '/opt/trt/lib/python3.12/site-packages'
    """
    named = dict(one.partition("=")[::2] for one in environment)
    roots = [named["VIRTUAL_ENV"].rstrip("/")] if named.get("VIRTUAL_ENV") else []
    found = [f"{root}/lib/python3.{minor}/site-packages" for root in roots for minor in _PYTHONS]
    found += [f"/usr/local/lib/python3.{minor}/dist-packages" for minor in _PYTHONS]
    found += ["/usr/lib/python3/dist-packages"]
    found += [f"/usr/local/lib/python3.{minor}/site-packages" for minor in _PYTHONS]
    found += [f"/opt/venv/lib/python3.{minor}/site-packages" for minor in _PYTHONS]
    return [*found, "/app/tensorrt_llm", "/code/tensorrt_llm"]


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

    :param host: what else Docker is told of it. :param places: of an engine other than TensorRT-LLM, as its layout.
    """

    def __init__(
        self,
        docker: Docker,
        image: str,
        command: Sequence[str] = (),
        host: Mapping[str, Any] | None = None,
        places: Mapping[str, str] | None = None,
        environment: Sequence[str] = _HELP_ENVIRONMENT,
    ) -> None:
        self._docker, places = docker, places or PLACES
        self._name = f"{places['name']}-facts"  # one name, so that nothing piles up where a run was killed
        self._body = {
            "Image": image,
            "Entrypoint": list(command) or ["/bin/true"],
            "Cmd": [],
            "Env": list(environment),
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


def package_facts(docker: Docker, image: Mapping[str, Any]) -> dict[str, Any]:
    """``version``, ``schema`` and ``package``, the directory of the package, of an image that is not started.

    :param image: as :func:`image_for` returns it.
    """
    with Container(docker, image["id"]) as container:
        for folder in libraries(image["environment"]):
            text = container.file(f"{folder}/{PACKAGE}/{VERSION}")
            if text is not None:
                schema = container.file(f"{folder}/{PACKAGE}/{SCHEMA}")
                return {"version": version_in(text), "schema": schema_in(schema), "package": f"{folder}/{PACKAGE}"}
    return {"version": "", "schema": None, "package": ""}


def version_in(text: str) -> str:
    """The version that ``version.py`` of the package tells.

    >>> version_in('# Copyright\\n__version__ = "1.3.0rc13"\\n'), version_in("")
    ('1.3.0rc13', '')
    """
    found = _VERSION_LINE.search(text)
    return found[1] if found else ""


def schema_in(text: str | None) -> dict[str, Any] | None:
    """The schema without what only people read; None where there is none."""
    try:
        found = json.loads(text) if text else None
        return dict(slim(found), title=str(found.get("title", ""))) if isinstance(found, dict) else None
    except (RecursionError, ValueError):
        return None


def slim(schema: Any, names: bool = False) -> Any:
    """A schema without descriptions and defaults, but for what is said of old keys.

    :param names: whether the keys of a mapping are names, and not words of a schema.

    >>> slim({"title": "A", "properties": {"title": {"type": "string", "description": "Of the page."}}})
    {'properties': {'title': {'type': 'string'}}}
    """
    if isinstance(schema, list):
        return [slim(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    is_old = not names and (schema.get("status") == "deprecated" or schema.get("deprecated") is True)
    return {
        name: value if name == "description" and not names else slim(value, not names and name in _NAMED)
        for name, value in schema.items()
        if names or name not in _WORDS or (is_old and name == "description")
    }


# --- flags, which a container tells that runs -------------------------------------------------------------------------


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


def flags_of(docker: Docker, image: str, limits: Limits, meminfo: Path = Path("/proc/meminfo")) -> tuple[Any, str]:
    """The flags of ``trtllm-serve`` as its help tells them, None where it does not; and why not."""
    problem = memory_problem(meminfo.read_text(encoding="utf-8"), limits)
    if problem:
        return None, problem
    size = limits.memory_mib * 2**20
    host = {
        **{"Memory": size, "MemorySwap": size, "PidsLimit": 1024},
        **{"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"]},
    }
    patient = Docker(docker.path, limits.seconds)
    try:
        with Container(docker, image, ["/bin/bash", "-c", _HELP], host) as container:
            docker.ask("POST", f"/containers/{container.id}/start")
            try:
                ended = patient.ask("POST", f"/containers/{container.id}/wait")
            except DockerError:
                return None, f"trtllm-serve serve --help did not end within {limits.seconds:g} seconds"
            lines = docker.log(container.id, _HELP_LINES)
    except DockerError as error:
        return None, f"Docker cannot run trtllm-serve serve --help ({error})"
    flags = parse_help(lines)
    if ended.get("StatusCode") or not flags:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no word")
        return None, f"trtllm-serve serve --help ended with status {ended.get('StatusCode')} and {last[:200]!r}"
    return flags, ""


_OPTION = re.compile(r"  (?P<first>-\S.*?)(?:\s{2,}.*)?")
_NAMES = re.compile(r"--([A-Za-z][\w-]*)(?=[,\s]|$)")
_KINDS = {"INTEGER": "int", "FLOAT": "float", "PATH": "path", "FILE": "path", "DIRECTORY": "path", "BOOLEAN": "bool"}


def parse_help(lines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The flags of a help as Click lays it out, by name without dashes: ``kind`` and ``choices``.

    >>> parse_help(["Options:", "  --port, --http_port INTEGER  Port.", "  --grpc", "        Not on --port."])["grpc"]
    {'kind': 'flag', 'choices': []}
    """
    return dict(_flags(lines))


def _flags(lines: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    inside = False
    for line in lines:
        if line and not line[0].isspace():
            inside = line.strip() == "Options:"
        found = _OPTION.fullmatch(line.rstrip()) if inside else None
        if not found:
            continue
        first = found["first"]
        names = list(_NAMES.finditer(first))
        if not names:
            continue
        taken = first[names[-1].end() :].strip()
        choices = taken[1:-1].split("|") if taken.startswith("[") and taken.endswith("]") else []
        word = taken.split(" ")[0]
        kind = "choice" if choices else _KINDS.get(word, "str") if word else "flag"
        for one in names:
            if one[1] != "help":
                yield one[1], {"kind": kind, "choices": choices}


# --- notes ------------------------------------------------------------------------------------------------------------


def note_path(image_id: str, folder: str = PLACES["state_dir"]) -> str:
    """Where it is kept what an image says.

    >>> note_path("sha256:0123456789abcdef")
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


def noted(image_id: str, name: str, folder: str = PLACES["state_dir"]) -> dict[str, Any]:
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


@reads_answers
def look(docker: Docker, name: str, folder: str, run_help: bool, limits: Limits) -> dict[str, Any]:
    """``facts`` of an image, whether they are ``noted``, and as ``note`` what is to be noted.

    :param name: of the image. :param folder: of the notes. :param run_help: whether a container may be started.
    """
    try:
        image = image_for(docker, name)
    except DockerError as error:
        if error.status is not None:
            raise
        image = {}  # no Docker yet: the plan of another role installs it
    facts = noted(image.get("id", ""), name, folder)
    if facts or not image:
        return {"facts": {**facts, "source": "note"} if facts else {}, "noted": bool(facts), "note": {}}
    found = package_facts(docker, image)
    flags, why = flags_of(docker, image["id"], limits) if run_help else (None, "no container was started")
    facts = {"image_id": image["id"], **found, "flags": flags, "no_flags_because": why}
    note = note_of(image["id"], folder, note_text(name, facts)) if run_help else {}
    return {"facts": {**facts, "source": "image"}, "noted": bool(note), "note": note}
