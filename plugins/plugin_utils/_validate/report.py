# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a validation: as JSON, to be compared with a later one, and as a short text. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate import exam, soak

FORMAT = 1  #: of the JSON
#: of what tasks return; the rest is Ansible's own
KEPT = (
    *("msg", "gpus", "version", "model", "command", "text"),
    *("answers", "score", "threshold", "compared", "differences"),
    *("outcome", "minutes", "concurrency"),
)


def report(facts: Mapping[str, Any], parts: Mapping[str, Any], at: str) -> dict[str, Any]:
    """The report.

    :param facts: ``model``, ``nodes``, ``image``, ``version``, ``ranks``, ``nccl``.
    :param parts: what each part returned, by its name; of a part that was left out nothing.
    """
    done = {name: one for name, one in parts.items() if one and not one.get("skipped")}
    return {
        "format": FORMAT,
        "at": at,
        **facts,
        "passed": bool(done) and not any(one.get("failed") for one in done.values()),
        **{name: _kept(one) for name, one in done.items()},
    }


def _kept(one: Mapping[str, Any]) -> dict[str, Any]:
    """What a task returned, without what is Ansible's own, and whether it passed."""
    return {**{name: value for name, value in one.items() if name in KEPT}, "passed": not one.get("failed")}


def text(found: Mapping[str, Any]) -> list[str]:
    """The report in some lines."""
    model = found.get("model") or {}
    count = len(found.get("nodes") or [])
    where = f"{count} Spark{'' if count == 1 else 's'}"
    lines = [f"{'passed' if found['passed'] else 'FAILED'}: {model.get('repo')} on {where}, {found.get('image')}"]
    for name in ("gpu", "import", "text", "vision", "lora", "accuracy", "soak"):
        one = found.get(name)
        if one:
            lines.append(f"{name}: {'passed' if one['passed'] else 'FAILED'}{_of_part(name, one)}")
    for host, libraries in sorted((found.get("nccl") or {}).items()):
        said = ", ".join(f"{one['version'] or '?'}, {one['bytes']} bytes, {one['sha256'][:12]}" for one in libraries)
        lines.append(f"NCCL on {host}: {said or 'none is loaded'}")
    for host, rank in sorted((found.get("ranks") or {}).items()):
        lines.append(f"transport of {host}: {rank['transport']} ({rank['devices']})")
    return lines


def _of_part(name: str, one: Mapping[str, Any]) -> str:
    if name == "accuracy" and one.get("answers"):
        right = sum(bool(each["right"]) for each in one["answers"])
        said = f", {right} of {len(one['answers'])} right ({exam.score(one['answers'])} %)"
        if one.get("compared"):
            same = len(one["answers"]) - len(one["differences"])
            said += f", {same} equal to {one['compared']}"
        return said
    if name == "soak" and one.get("outcome"):
        return f", {soak.words(one['outcome'])}"
    if name == "import" and one.get("version"):
        return f", TensorRT-LLM {one['version']}"
    if name in ("text", "vision", "lora") and one.get("text"):
        return f", {one['model']} wrote {one['text'][:80]!r}"
    return "" if one["passed"] else f": {one.get('msg', '')}"
