# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change on each Spark so that all of them have one model, and those that are used with it: a pure function
over what was found there.

This module util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.changes import change, named, text_of
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.packages import no_source
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._host.room import (
    Need,
    add_up,
    as_facts,
    gigabytes,
    lacking,
    line,
)

PACKAGES = "Install the packages that Python environments need"
CLIENT = "Install the hf client"
BRING = "Download or copy the model"
LINK = "Link the model's files"
KEY = "Remove the key of an interrupted copy"
ACCESS = "Remove the authorized keys of an interrupted copy"
#: the names of all changes, which are the names of the tasks that make them
CHANGES = (PACKAGES, CLIENT, BRING, LINK, KEY, ACCESS)

_SHOWN = 10  # files that a diff names
_ROOM = "make room, or name a cache on a larger disk (hf_cache_dir)"
#: what a report has of each model
_REPORTED = ("repo", "commit", "repo_dir", "snapshot", "files", "bytes")

Found = Mapping[str, Any]
Change = Dict[str, Any]


class ModelPlanError(ValueError):
    """The model cannot come to all Sparks; the message names host, value, cause and mend."""


class Asked(NamedTuple):
    """What is wanted, and where the model comes from.

    :param members: inventory names, the leader first.
    :param model: what hf_model_info returned as such.
    :param place: the hub's address, or the directory on the leader.
    :param linkable: whether the leader's cache needs no room for the directory's files.
    :param reserve_gb: what is to stay free on every disk.
    :param tool_version: of the hf client.
    :param beside: further models, from the hub at ``hub``; what a host has of each is in its ``beside``.
    """

    members: Sequence[str]
    model: Found
    source: str
    place: str
    linkable: bool
    reserve_gb: int
    tool_version: str
    beside: Sequence[Found] = ()
    hub: str = ""


#: one model as if it were the only one, and what each host has of it
Part = Tuple[Asked, Mapping[str, Found]]


def short(model: Found) -> str:
    """Return a model and the beginning of its commit.

    >>> short({"repo": "openai/gpt-oss-20b", "commit": "6cee5e81ee83917806bbde320786a8fb61efebee"})
    'openai/gpt-oss-20b@6cee5e8'
    """
    return f"{model['repo']}@{model['commit'][:7]}"


def plan(asked: Asked, found: Mapping[str, Found]) -> dict[str, list[Change]]:
    """Return the changes of each host, in the order in which they are made.

    :param found: what hf_cache_info returned, by host.
    :raises ModelPlanError: where a disk is too small, a cache may not be written to, or a model is not whole.
    """
    parts = _parts(asked, found)
    problems = [text for host in asked.members for text in _refusals(asked, host, found[host], parts)]
    if problems:
        raise ModelPlanError(f"{'. '.join(problems)}. Nothing was changed.")
    return {host: _changes(asked, host, found[host], parts) for host in asked.members}


def _parts(asked: Asked, found: Mapping[str, Found]) -> list[Part]:
    """Return the model and then those beside it, each as if it were the only one."""
    parts: list[Part] = [(asked._replace(beside=()), found)]
    for index, model in enumerate(asked.beside):
        alone = asked._replace(model=model, source="hub", place=asked.hub, linkable=False, beside=())
        parts.append((alone, {host: found[host]["beside"][index] for host in asked.members}))
    return parts


def receivers(asked: Asked, found: Mapping[str, Found]) -> list[str]:
    """Return the members that copy files from the leader, of whichever model."""
    copying = [host for _one, its in _parts(asked, found) for host in _copying(asked, its)]
    return [host for host in asked.members if host in copying]


def brings(asked: Asked, found: Mapping[str, Found]) -> list[dict[str, Any]]:
    """Return which models are brought: ``repo``, the ``hosts`` that lack files, which of them are ``receivers`` of the
    leader's, and the leader's ``directory`` of these.
    """
    rows = []
    for one, its in _parts(asked, found):
        hosts = [host for host in asked.members if _lacking(its[host])]
        if hosts:
            directory = f"{its[asked.members[0]]['repo_dir']}/blobs"
            copying = _copying(asked, its)
            rows.append({"repo": one.model["repo"], "hosts": hosts, "receivers": copying, "directory": directory})
    return rows


def _copying(asked: Asked, found: Mapping[str, Found]) -> list[str]:
    return [host for host in asked.members[1:] if _lacking(found[host])]


def room(asked: Asked, found: Mapping[str, Found]) -> dict[str, list[dict[str, Any]]]:
    """Return by host the room that the models will take, for the sum of all that will lie there at once."""
    parts = _parts(asked, found)
    return {host: [as_facts(need) for need in _needs(host, parts)] for host in asked.members}


def moves(asked: Asked, found: Mapping[str, Found]) -> dict[str, list[dict[str, Any]]]:
    """Return by host what has to come: ``what``, the ``bytes``, and the ``way``, ``download`` or ``copy``.

    Of a file that is wrong all bytes come again, whatever room it has.
    """
    parts = _parts(asked, found)
    return {host: [move for part in parts for move in _moves(host, *part)] for host in asked.members}


def _moves(host: str, asked: Asked, found: Mapping[str, Found]) -> Iterator[dict[str, Any]]:
    leads, count = host == asked.members[0], found[host]["needed_bytes"]
    if count and not (asked.linkable and leads):
        way = "download" if leads and asked.source == "hub" else "copy"
        yield {"what": asked.model["repo"], "bytes": count, "way": way}


def _needs(host: str, parts: Sequence[Part]) -> Iterator[Need]:
    for one, its in parts:
        found = its[host]
        if not (one.linkable and host == one.members[0]):
            reclaimed = found["free_bytes"] - found["filesystem"]["free_bytes"]  # what wrong files take, which go first
            count = max(0, found["needed_bytes"] - reclaimed)
            yield Need(one.model["repo"], found["repo_dir"], {**found["filesystem"]}, count)


def _refusals(asked: Asked, host: str, found: Found, parts: Sequence[Part]) -> list[str]:
    lines = [_closed_or_full(one, host, its[host]) for one, its in parts]
    if len(parts) > 1 and not any(lines):
        lines += [
            f"{line(each)}, and {asked.reserve_gb} GB are to stay free (hf_cache_reserve_gb): {_ROOM}"
            for each in lacking(add_up(_needs(host, parts)), asked.reserve_gb)
        ]
    if _installs(host, parts) and found.get("unavailable_packages"):
        lines.append(no_source(found["unavailable_packages"]))
    own = [its[host] for _one, its in parts]
    lines += ["; ".join(one["index_problems"]) for one in own if one["index_problems"] and not one["to_do"]]
    # What is wrong with the cache itself is so for every model.
    return [f"{host}: {text}" for text in dict.fromkeys(lines) if text]


def _closed_or_full(asked: Asked, host: str, found: Found) -> str:
    if found["to_do"] and found["obstacles"]:
        return "; ".join(found["obstacles"])
    if _is_full(asked, host, found):
        return (
            f"{asked.model['repo']} needs {gigabytes(found['needed_bytes'])} more in {found['repo_dir']} "
            f"and {asked.reserve_gb} GB are to stay free (hf_cache_reserve_gb), but "
            f"{gigabytes(found['free_bytes'])} are free: {_ROOM}"
        )
    return ""


def _is_full(asked: Asked, host: str, found: Found) -> bool:
    linked = asked.linkable and host == asked.members[0]
    wanted = found["needed_bytes"] + asked.reserve_gb * 1e9
    return bool(found["needed_bytes"]) and not linked and found["free_bytes"] < wanted


def _lacking(found: Found) -> list[str]:
    return [*found["missing"], *found["corrupt"]]


def _installs(host: str, parts: Sequence[Part]) -> bool:
    """Whether this host downloads, which takes the hf client."""
    return any(host == one.members[0] and one.source == "hub" and _lacking(its[host]) for one, its in parts)


def _changes(asked: Asked, host: str, found: Found, parts: Sequence[Part]) -> list[Change]:
    changes: list[Change] = []
    if _installs(host, parts):
        if found["missing_packages"]:
            changes.append(_change(PACKAGES, [], [" ".join(found["missing_packages"])]))
        if found["tool_version"] != asked.tool_version:
            there = [f"huggingface_hub {found['tool_version']}"] if found["tool_version"] else []
            changes.append(_change(CLIENT, there, [f"huggingface_hub {asked.tool_version}"]))
    for one, its in parts:
        of = {"of": one.model["repo"]} if asked.beside else {}
        changes += [{**each, **of} for each in _changes_of(one, host, its[host], bool(_copying(one, its)))]
    return sorted(changes, key=lambda each: CHANGES.index(each["name"]))


def _changes_of(asked: Asked, host: str, found: Found, copying: bool) -> list[Change]:
    """Return what one model changes."""
    is_leader, absent = host == asked.members[0], _lacking(found)
    changes: list[Change] = []
    if absent:
        verb = "Copy" if not is_leader else "Download" if asked.source == "hub" else "Take"
        origin = asked.place if is_leader else asked.members[0]
        figures = f"{_count(absent)}, {gigabytes(found['needed_bytes'])}"
        changes.append(_change(BRING, found["problems"], [f"{verb} {short(asked.model)} from {origin} ({figures})"]))
    elif found["to_do"]:
        done = [f"Link {_count(found['unlinked'])} of {short(asked.model)}"] if found["unlinked"] else []
        if found["ref_missing"]:
            done.append(f"Note the commit of the revision {asked.model['revision']}")
        if found.get("over_listed"):
            more = _count(found["over_listed"])
            done.append(f"Remove the list of all files of {short(asked.model)}, which names {more} that are not here")
        changes.append(_change(LINK, found["problems"], done))
    if not copying:  # a copy replaces what an interrupted one left, and removes everything at its end
        left = found["left_behind"]
        changes += [change(name) for name, there in ((KEY, left["key"]), (ACCESS, left["authorized_key"])) if there]
    return changes


def _count(files: Sequence[str]) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"


def _change(name: str, before: Sequence[str], after: Sequence[str]) -> Change:
    more = [f"and {len(before) - _SHOWN} more"] if len(before) > _SHOWN else []
    lines = [*before[:_SHOWN], *more]
    return change(name, text_of(lines), text_of(after))


def report(host: str, planned: Found, verified: Found | None, applied: bool) -> dict[str, Any]:
    """Return the verified facts of a host's model, and of those beside it.

    :param planned: the plan, with what its look at the cache found. :param verified: what hf_cache_verify returned,
        None where nothing was to be verified again. :param applied: whether the planned changes have been made.
    :raises ModelPlanError: where the host does not have a model as planned.
    """
    beside = planned.get("beside", [])
    changes = planned["changes"][host]
    if changes and not applied:
        names = ", ".join(named(each) for each in changes)
        problems = [*planned["problems"], *(f"{one['repo']}: {text}" for one in beside for text in one["problems"])]
        wrong = f" ({'; '.join(problems[:5])})" if problems else ""
        raise ModelPlanError(
            f"{host} is not as planned: {names}{wrong}. Run the playbook, or see it with --check --diff."
        )
    for one in [planned, *beside]:
        if verified is None and not one["complete"]:
            raise ModelPlanError(f"{host}: {one['repo']} was brought, and not verified: {one['problems'][:5]}")
    source = planned if verified is None else verified
    return {
        **{name: source[name] for name in _REPORTED},
        "beside": [{name: one[name] for name in _REPORTED} for one in source.get("beside", [])],
    }
