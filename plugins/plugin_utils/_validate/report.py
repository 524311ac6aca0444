# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a validation: as JSON, to be compared with a later one, and as a short text. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate import exam, soak

FORMAT = 1  #: of the JSON
NOT_REACHED = "it was not reached, since something before it failed"
PARTS = ("gpu", "import", "text", "vision", "lora", "accuracy", "soak")
#: of what tasks return; the rest is Ansible's own
KEPT = (
    *("msg", "gpus", "version", "model", "command", "text"),
    *("answers", "score", "threshold", "compared", "differences", "unlike"),
    *("outcome", "minutes", "concurrency"),
)


def report(facts: Mapping[str, Any], asked: Sequence[str], parts: Mapping[str, Any], at: str) -> dict[str, Any]:
    """The report.

    :param facts: ``model``, ``speculative``, ``nodes``, ``image``, ``version``, ``ranks``, ``nccl``.
    :param asked: the names of the parts that were to be done.
    :param parts: what each part's task registered, by the part's name and then by host; nothing where it did not run.
    """
    found = {name: _part(parts.get(name) or {}) for name in asked}
    passed = bool(found) and all(one["passed"] for one in found.values())
    return {"format": FORMAT, "at": at, **facts, "passed": passed, **found}


def _part(by_host: Mapping[str, Any]) -> dict[str, Any]:
    """What a part returned, without what is Ansible's own, and on which hosts it passed.

    Of several hosts that is what one returned where it failed, or else the first. One that did not run has not passed.
    """
    done = {host: one for host, one in by_host.items() if one and not one.get("skipped")}
    if not done:
        return {"passed": False, "msg": NOT_REACHED, "hosts": {}}
    failed = [one for one in done.values() if one.get("failed")]
    shown = (failed or list(done.values()))[0]
    kept = {name: value for name, value in shown.items() if name in KEPT}
    return {**kept, "passed": not failed, "hosts": {host: not one.get("failed") for host, one in done.items()}}


def text(found: Mapping[str, Any]) -> list[str]:
    """The report in some lines."""
    model = found.get("model") or {}
    count = len(found.get("nodes") or [])
    where = f"{count} Spark{'' if count == 1 else 's'}"
    lines = [f"{'passed' if found['passed'] else 'FAILED'}: {model.get('repo')} on {where}, {found.get('image')}"]
    for name in PARTS:
        one = found.get(name)
        if one:
            lines.append(f"{name}: {'passed' if one['passed'] else 'FAILED'}{_of_part(name, one)}")
    if found.get("speculative"):
        lines.append(f"served {exam.speculation(found['speculative'])}")
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
            said += f", {one['unlike']}" if one.get("unlike") else ""
            named = ", ".join(each["id"] for each in one["differences"])
            said += f"; these differ: {named}" if named else ""
        return said
    if name == "soak" and one.get("outcome"):
        return f", {soak.words(one['outcome'])}"
    if name == "import" and one.get("version"):
        return f", TensorRT-LLM {one['version']}"
    if name in ("text", "vision", "lora") and one.get("text"):
        return f", {one['model']} wrote {one['text'][:80]!r}"
    return "" if one["passed"] else f": {one.get('msg', '')}"
