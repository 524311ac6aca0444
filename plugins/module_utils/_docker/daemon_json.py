# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merge settings into Docker's daemon.json, and leave every byte that belongs to others as it was.

This module util is private to the collection.
"""

from __future__ import annotations

import codecs
import copy
import json
import re
from dataclasses import dataclass, field
from typing import Any, Iterable, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import COMPARE_VERSIONS, STACK_LABEL
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.foreign import reads

RESOURCES = "node-generic-resources"
INDENT = " " * 4  # where there is nothing to take after: as nvidia-ctk writes it

_DEEPEST = 50

_BLANK = re.compile(r"[ \t\r\n]*")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_FAILURE = re.compile(r"level=(?:error|fatal)|unable to|failed to start daemon|panic:", re.IGNORECASE)
_DECODER = json.JSONDecoder()


class DaemonJsonError(ValueError):
    """A daemon.json, or settings, that cannot be merged; the message says where, and what to do."""


_reads_answers = reads(DaemonJsonError, "Docker Engine's answer about itself", COMPARE_VERSIONS)


@dataclass(frozen=True)
class Settings:
    """What one role wants daemon.json to say.

    ``values`` must hold, ``defaults`` count where the file says nothing. With a ``kind``, the generic resources of that
    kind become ``resources``, and those of other kinds stay.
    """

    values: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    kind: str | None = None
    resources: Sequence[str] = ()

    def merged(self, current: dict[str, Any]) -> dict[str, Any]:
        """Return the content that daemon.json is to have, given what it has."""
        return merge(current, self.values, self.defaults, self.kind, self.resources)

    def wanted(self, current: dict[str, Any]) -> dict[str, Any]:
        """Return the keys that these settings are about, with the values that they are to have."""
        merged = self.merged(current)
        keys = {**self.values, **self.defaults, **({} if self.kind is None else {RESOURCES: None})}
        found = {key: merged.get(key, []) for key in keys}
        if "runtimes" in found:  # those of others may have been registered by a flag or not at all
            found["runtimes"] = {name: found["runtimes"][name] for name in self.defaults.get("runtimes", {})}
        return found


def parse(text: str) -> dict[str, Any]:
    """Read daemon.json as dockerd would; an empty file is an empty object."""
    if not text.strip(" \t\r\n"):
        return {}
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        raise DaemonJsonError(f"invalid JSON in line {exc.lineno}, column {exc.colno}: {exc.msg}") from None
    except DaemonJsonError:
        raise
    except (RecursionError, ValueError) as exc:  # Python reads no number of more than 4300 digits
        words = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise DaemonJsonError(f"invalid JSON: {words}; correct it by hand") from None
    if not isinstance(value, dict):
        raise DaemonJsonError(f"the top is {_kind_of(value)}, and must be an object: {{...}}")
    if _too_deep(value):
        raise DaemonJsonError("invalid JSON: nested too deeply; correct it by hand")
    return value


def _too_deep(value: Any) -> bool:
    """Whether a value is nested deeper than any setting of Docker is, and than Python's functions call themselves."""
    left = [value]
    for _level in range(_DEEPEST):
        left = [one for item in left for one in (item.values() if isinstance(item, dict) else item)]
        left = [item for item in left if isinstance(item, (dict, list))]
        if not left:
            return False
    return True


def decode(content: bytes) -> tuple[bytes, str]:
    """Return the byte order mark, if there is one (dockerd takes it), and the text after it."""
    bom = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    try:
        return bom, content[len(bom) :].decode("utf-8")
    except UnicodeDecodeError as exc:
        raise DaemonJsonError(f"byte {exc.start + len(bom) + 1} is not UTF-8: save the file as UTF-8") from None


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: the order of keys is free, true is not 1, and 1 is not 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def merge(
    current: dict[str, Any],
    settings: dict[str, Any],
    defaults: dict[str, Any] | None = None,
    kind: str | None = None,
    values: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the content that daemon.json is to have; see :class:`Settings`."""
    merged = copy.deepcopy(current)
    _put(merged, settings, "", overwrite=True)
    _put(merged, defaults or {}, "", overwrite=False)
    if kind is not None:
        _put_resources(merged, kind, values)
    return merged


def edit(text: str, wanted: dict[str, Any]) -> str:
    """Change the text so that it says ``wanted``, and leave all else in it as it is."""
    current = parse(text)
    if same(current, wanted):
        return text
    start = _blank(text, 0)
    if start == len(text):
        return _json(wanted, INDENT) + "\n"
    members, end = _members(text, start)
    lead = text[start + 1 : members[0][1]] if members else "\n"
    unit = (_margin(lead) or INDENT) if "\n" in lead else None
    edited = text[:start] + _edit(text, start, current, wanted, unit, "") + text[end + 1 :]
    if not same(parse(edited), wanted):
        raise DaemonJsonError("the merged file would not say what it should: please report this with the file")
    return edited


def with_settings(original: str, roles: Iterable[Settings]) -> str:
    """Return the original text with the settings of these roles merged into it; of none, the original itself."""
    text = original
    for settings in roles:
        text = edit(text, settings.merged(parse(text)))
    return text


def without(current: dict[str, Any], original: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the content that daemon.json has without a role's settings, for one that others have changed since.

    Where it says what the role asked for, it is to say what the original did. All else stays as it is.
    """
    left = copy.deepcopy(current)
    for asked in (settings.values, settings.defaults):
        _take(left, original, asked)
    if settings.kind is not None:
        _take_resources(left, original, settings)
    return left


@_reads_answers
def not_in_effect(wanted: dict[str, Any], info: dict[str, Any]) -> list[str]:
    """Return the keys that the running engine (its ``/info``) does not follow yet."""
    missing = []
    if "default-runtime" in wanted and info.get("DefaultRuntime") != wanted["default-runtime"]:
        missing.append("default-runtime")
    runtimes = wanted.get("runtimes")  # of a file, which may say anything
    listed = runtimes if isinstance(runtimes, dict) else {}
    missing += [f"runtimes.{name}" for name in listed if name not in (info.get("Runtimes") or {})]
    resources = wanted.get(RESOURCES)
    if isinstance(resources, list) and sorted(map(str, resources)) != sorted(_advertised(info)):
        missing.append(RESOURCES)
    return missing


@_reads_answers
def running_containers(
    listing: Sequence[dict[str, Any]], *, but_tasks: bool = False, ending: Sequence[str] = ()
) -> list[str]:
    """Name the containers of ``/containers/json`` in words, those of Swarm's tasks or not.

    :param ending: names of containers and of stacks that do not count.
    """
    running = [((one.get("Names") or [one["Id"][:12]])[0].lstrip("/"), one) for one in listing]
    return sorted(
        f"{name} ({one.get('Image')})"
        for name, one in running
        for labels in [one.get("Labels") or {}]
        if not (but_tasks and "com.docker.swarm.task" in labels)
        if not {name, labels.get(STACK_LABEL)} & {*ending}
    )


def refuse_restart(containers: Sequence[str], option: str = "allow_restart") -> None:
    """Refuse to bring about a restart of Docker that would end running containers.

    :param option: what allows the restart, for the message.
    """
    if containers:
        raise DaemonJsonError(
            f"Docker has to be restarted to follow a change of its configuration, which ends the running containers "
            f"{', '.join(containers)}. Nothing was changed. Stop the containers, or allow the restart ({option}: true)"
        )


def why_not_started(journal: str) -> str:
    """Return what the engine said of its failure, of all that the journal has of it."""
    lines = list(dict.fromkeys(line.strip() for line in journal.splitlines() if line.strip()))
    return " / ".join([line for line in lines if _FAILURE.search(line)][-4:] or lines[-4:]) or "nothing"


def _advertised(info: dict[str, Any]) -> list[str]:
    named = [one["NamedResourceSpec"] for one in info.get("GenericResources") or [] if "NamedResourceSpec" in one]
    counted = [
        one["DiscreteResourceSpec"] for one in info.get("GenericResources") or [] if "DiscreteResourceSpec" in one
    ]
    return [f"{one['Kind']}={one['Value']}" for one in [*named, *counted]]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DaemonJsonError(f"key {key!r} is there twice: remove one of them")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise DaemonJsonError(f"invalid JSON: {name} is not a number")


def _kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _put(target: dict[str, Any], wanted: dict[str, Any], path: str, *, overwrite: bool) -> None:
    for key, value in wanted.items():
        place = f"{path}{key}"
        if key not in target:
            target[key] = copy.deepcopy(value)
        elif isinstance(value, dict) and isinstance(target[key], dict):
            _put(target[key], value, f"{place}.", overwrite=overwrite)
        elif isinstance(value, dict):
            raise DaemonJsonError(f"{place!r} is {_kind_of(target[key])}, and must be an object: correct it by hand")
        elif overwrite and not same(target[key], value):
            target[key] = copy.deepcopy(value)


def _put_resources(target: dict[str, Any], kind: str, values: Sequence[str]) -> None:
    if not _KIND.fullmatch(kind):
        raise DaemonJsonError(f"kind {kind!r} is no kind of resource: letters, digits, '-' and '_', a letter first")
    present = target.get(RESOURCES, [])
    if not isinstance(present, list) or not all(isinstance(entry, str) for entry in present):
        raise DaemonJsonError(f"{RESOURCES!r} must be a list of KIND=VALUE: correct it by hand")
    wanted = [f"{kind}={value}" for value in values]
    kept: list[str] = []
    for entry in present:
        foreign = entry.split("=")[0].strip() != kind
        if foreign or (entry in wanted and entry not in kept):
            kept.append(entry)
    entries = [*kept, *(entry for entry in dict.fromkeys(wanted) if entry not in kept)]
    if entries:
        target[RESOURCES] = entries
    elif present:
        del target[RESOURCES]  # nothing but ours was in it


def _take(target: dict[str, Any], original: dict[str, Any], asked: dict[str, Any]) -> None:
    for key, value in asked.items():
        if key not in target:
            continue
        if isinstance(value, dict) and isinstance(target[key], dict):
            was = original.get(key)
            _take(target[key], was if isinstance(was, dict) else {}, value)
            if not target[key] and key not in original:
                del target[key]
        elif same(target[key], value):
            if key in original:
                target[key] = copy.deepcopy(original[key])
            else:
                del target[key]


def _take_resources(target: dict[str, Any], original: dict[str, Any], settings: Settings) -> None:
    present, had = target.get(RESOURCES, []), original.get(RESOURCES, [])
    if not isinstance(present, list) or not isinstance(had, list):
        return
    ours = {f"{settings.kind}={value}" for value in settings.resources}
    left = [entry for entry in present if entry not in ours or entry in had]
    left += [entry for entry in had if str(entry).partition("=")[0].strip() == settings.kind and entry not in left]
    if left or RESOURCES in original:
        target[RESOURCES] = left
    else:
        target.pop(RESOURCES, None)


def _blank(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    return match.end() if match else place


def _margin(lead: str) -> str:
    return lead.rsplit("\n", 1)[-1]


def _members(text: str, start: int) -> tuple[list[tuple[str, int, int, int]], int]:
    """Return the members of the object at ``start`` as (key, its place, the value's place and end), and its end."""
    members = []
    place = _blank(text, start + 1)
    while text[place] != "}":
        begin = place
        key, place = _DECODER.raw_decode(text, begin)
        value_begin = _blank(text, _blank(text, place) + 1)  # after the colon
        value_end = _DECODER.raw_decode(text, value_begin)[1]
        members.append((key, begin, value_begin, value_end))
        place = _blank(text, value_end)
        if text[place] == ",":
            place = _blank(text, place + 1)
    return members, place


def _dump(value: Any, unit: str | None, margin: str, newline: str) -> str:
    # A newline inside a string is written \n, so that those in the text are all between values.
    return _json(value, unit).replace("\n", newline + margin)


def _json(value: Any, indent: str | None = None) -> str:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character, which JSON can hold as an escape alone
        return json.dumps(value, indent=indent)
    return text


def _edit(text: str, start: int, old: dict[str, Any], new: dict[str, Any], unit: str | None, margin: str) -> str:
    """Return the text of the object at ``start``, changed from ``old`` to ``new``."""
    newline = "\r\n" if "\r\n" in text else "\n"
    members, end = _members(text, start)
    if not new:
        return "{}"
    first = text[start + 1 : members[0][1]] if members else (newline + margin + unit if unit is not None else "")
    if "\n" not in first:
        unit = None
    inner = _margin(first) if unit is not None else ""
    parts: list[str] = []
    previous = start + 1
    for key, begin, value_begin, value_end in members:
        lead, previous = text[previous:begin], value_end
        if key not in new:
            continue
        if same(old[key], new[key]):
            value = text[value_begin:value_end]
        elif isinstance(old[key], dict) and isinstance(new[key], dict):
            value = _edit(text, value_begin, old[key], new[key], unit, inner)
        else:
            value = _dump(new[key], unit, inner, newline)
        parts.append((lead if parts else first) + text[begin:value_begin] + value)
    for key in new:
        if key not in old:
            lead = ("," + (" " if unit is None else newline + inner)) if parts else first
            parts.append(f"{lead}{_json(key)}: {_dump(new[key], unit, inner, newline)}")
    closing = newline + margin if unit is not None else ""
    tail = text[previous:end] if members else closing
    return "{" + "".join(parts) + tail + "}"
