# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether to take the newest image, to build one from source, or to take another engine: a table with reasons.

This plugin util is private to the collection.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._build import layout, offers
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._docker.api import ARCHITECTURES
from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.trtllm_options import version_of
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._build.plan import CCACHE_GB, DOCKER_GB

NEWEST, STAY, BUILD, ENGINE = "newest image", "this image", "build from source", "other engine"
WIDTH = 118
#: hours that a build took by the plan of an owner; none was measured here
HOURS = "2 to 4 hours"


@dataclass(frozen=True)
class Asked:
    """What the choice depends on."""

    image: str  # that is served now, or would be
    offered: Mapping[str, Any]  # as the module image_offers_info returns it
    commit: str = ""  # commit, tag or branch that somebody wants
    engines: Sequence[Mapping[str, Any]] = ()  # as the module engines_report returns them, for a model
    model: str = ""
    engine: str = "trtllm"
    machine: str = "aarch64"


@dataclass
class Row:
    """One thing that can be done. :param place: the order to try them in, 0 for what cannot be done."""

    what: str
    place: int
    which: str
    costs: str
    reasons: list[str] = field(default_factory=list)
    command: str = ""


def version_wanted(commit: str) -> str:
    """The version that a tag of the source tells; empty for a commit or a branch.

    >>> version_wanted("v1.4.0rc1"), version_wanted("main"), version_wanted("0123456789abcdef0123456789abcdef01234567")
    ('1.4.0rc1', '', '')
    """
    name = commit[1:] if commit.startswith("v") else commit
    return name if not layout.COMMIT.fullmatch(commit) and offers.order(name) else ""


def choose(asked: Asked) -> list[Row]:
    """What can be done, what to try first before the others."""
    newest, build, stay, other = _newest(asked), _build(asked), _stay(asked), _other(asked)
    wanted = version_wanted(asked.commit)
    has_wanted = bool(wanted) and newest.place > 0 and not offers.newer([wanted], _tag(newest))
    first = [newest, stay, build] if has_wanted or not asked.commit else [build, newest, stay]
    if has_wanted:
        build.reasons.insert(0, f"what was asked for, {asked.commit}, is in {_tag(newest)}: no build is needed for that")
    mine = next((one for one in asked.engines if one["engine"] == asked.engine), None)
    rows = [other, *first] if mine is not None and not mine["place"] and other.place else [*first, other]
    possible = [row for row in rows if row.place]
    for place, row in enumerate(possible, 1):
        row.place = place
    return [*possible, *(row for row in rows if not row.place)]


def _tag(row: Row) -> str:
    return row.which.rpartition(":")[2]


def _newest(asked: Asked) -> Row:
    found = asked.offered
    repository = found["repository"]
    good = [one for one in found["offers"] if not one["problem"]]
    if found["problem"]:
        return Row(NEWEST, 0, repository, "", [f"cannot tell: {found['problem']}"])
    unread = [f"{one['tag']}: {one['problem']}" for one in found["offers"] if one["problem"]]
    if not good:
        none = "none of its newer tags can be taken" if unread else "it has nothing newer"
        return Row(NEWEST, 0, repository, "", [f"{none}, of {found['tags']} tags", *unread])
    best = good[0]
    name = f"{repository}:{best['tag']}"
    told = best["says"]
    says = [f"version {told['version']}"] if told["version"] else []
    says += [f"commit {told['commit'][:12]}"] if told["commit"] else []
    says += [f"CUDA {told['cuda']}"] if told["cuda"] else []
    says += [f"made on {told['created']}"] if told["created"] else []
    reasons = [
        f"it says of itself: {', '.join(says) or 'nothing'}",
        "NVIDIA built and tried it; for which GPUs its libraries have code is seen once it is pulled",
        *(["it was made on the way to a version, and is no release candidate"] if best["nightly"] else []),
        *([f"others that are newer than {version_of(asked.image) or asked.image}: {', '.join(_others(found, best))}"]
          if _others(found, best) else []),
        *[f"it has no trtllm-build: {problem}" for problem in [offers.engines_problem(best["tag"])] if problem],
        *unread,
    ]
    size = f"{best['bytes'] / 1e9:.1f} GB to download" if best["bytes"] else "a download"
    return Row(NEWEST, 1, name, size, reasons, f"playbooks/serve.yml -e spark_image={name}")


def _others(found: Mapping[str, Any], best: Mapping[str, Any]) -> list[str]:
    return [tag for tag in found["newer"] if tag != best["tag"]][:5]


def _stay(asked: Asked) -> Row:
    newer = asked.offered["newer"]
    known = not asked.offered["problem"]
    say = "nothing newer is offered" if known and not newer else "what serves well needs no other image"
    reasons = [say, "a new image is worth it for a model or a repair that this one lacks, and is to be tried first"]
    return Row(STAY, 1, asked.image, "nothing", reasons)


def _build(asked: Asked) -> Row:
    commit = asked.commit or "a commit of yours"
    reasons = [
        "it brings what is merged and in no image yet; nobody but you has tried that commit",
        f"{HOURS} are what an owner's plan says, and {DOCKER_GB} GB NVIDIA's page; neither was measured here",
        "images for GB10's processor are offered, and NVIDIA builds those for 120-real as well: a missing architecture is "
        "no reason any more",
        "ranks of one serving need one image: the other Sparks get it from the leader",
    ]
    wanted = version_wanted(asked.commit)
    engines = offers.engines_problem(wanted) if wanted else ""
    reasons += [f"it will have no trtllm-build: {engines}"] if engines else []
    command = f"playbooks/build_image.yml -e image_build_commit={asked.commit or 'v…'}"
    costs = f"{HOURS}, {DOCKER_GB + CCACHE_GB} GB and the source"
    return Row(BUILD, 1, commit, costs, reasons, command)


def _other(asked: Asked) -> Row:
    if not asked.model:
        return Row(ENGINE, 1, "vLLM or SGLang", "another image", ["name a model, and this says which of them can serve it"],
                   "playbooks/engines.yml -e spark_model=…")
    can = [one for one in asked.engines if one["place"] and one["engine"] != asked.engine]
    if not can:
        return Row(ENGINE, 0, "none", "", [f"no other engine is known to serve {asked.model} here"])
    best = can[0]
    reasons = [f"{asked.model}: {best['engine']} {'is the one to try first' if best['place'] == 1 else 'can serve it'}"]
    mine = next((one for one in asked.engines if one["engine"] == asked.engine), None)
    if mine is not None and not mine["place"]:
        reasons.append(f"{asked.engine} cannot: {'; '.join(str(one) for one in mine['reasons']) or 'see engines.yml'}")
    command = f"playbooks/serve.yml -e spark_engine={best['engine']} -e spark_model={asked.model}"
    return Row(ENGINE, 1, str(best["image"]), "another image", reasons, command)


def table(rows: Sequence[Row], asked: Asked) -> list[str]:
    """The choice as lines for a terminal."""
    wide = max(28, *(len(row.which) for row in rows)) + 2
    processor = ARCHITECTURES.get(asked.machine, asked.machine)
    lines = [f"TensorRT-LLM for {processor}: what to do beside {asked.image}", ""]
    lines.append(f"{'TRY':<5}{'WHAT':<20}{'WHICH':<{wide}}COSTS")
    for row in rows:
        lines.append(f"{row.place or '-'!s:<5}{row.what:<20}{row.which:<{wide}}{row.costs or '-'}")
    for row in rows:
        lines += ["", row.what.upper()]
        said = [f"{reason}." for reason in row.reasons] + ([f"Do it: {row.command}"] if row.command else [])
        for text in said:
            whole = f"{text[0].upper()}{text[1:]}"
            lines += textwrap.wrap(
                whole,
                WIDTH - 4,
                initial_indent="  ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines
