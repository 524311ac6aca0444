# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accuracy gate: what is asked, the score, and where two servings of one model differ. Pure functions.

This plugin util is private to the collection.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.sparkops.dgx_spark.plugins.module_utils._engine.contract import COMPLETION
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate import judge
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.questions import (
    QUESTIONS,
    Question,
    completion_prompt,
)

SEED = 1
SHOWN = 120  # characters of an answer in a message


class CompareError(ValueError):
    """Why two reports cannot be compared."""


def body(question: Question, model: str, path: str, tokens: int, more: Mapping[str, Any]) -> dict[str, Any]:
    """The request of a question: greedy, and with a fixed seed for what of it is drawn by lot after all.

    There is no system prompt unless one is asked for: there are chat templates that have one of their own, and others
    that refuse one.

    :param more: ``system``, a prompt; ``template``, arguments of the chat template.
    """
    common = {
        "model": model,
        "max_tokens": tokens,
        "temperature": 0,
        "seed": SEED,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if path == COMPLETION:
        return {**common, "prompt": completion_prompt(question.text), "stop": ["\n"], "max_tokens": min(tokens, 64)}
    system = [{"role": "system", "content": more["system"]}] if more.get("system") else []
    template = {"chat_template_kwargs": dict(more["template"])} if more.get("template") else {}
    return {**common, **template, "messages": [*system, {"role": "user", "content": question.text}]}


def requests(model: str, path: str, tokens: int, more: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The requests of all questions."""
    return [{"id": one.id, "body": body(one, model, path, tokens, more)} for one in QUESTIONS]


def graded(answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each question with what was answered, and whether that is right.

    :param answers: of the shape :class:`ask.Answer`.
    """
    by_id = {one["id"]: one for one in answers}
    found = []
    for question in QUESTIONS:
        answer = by_id.get(question.id, {})
        text = answer.get("text", "")
        found.append(
            {
                "id": question.id,
                "question": question.text,
                "expected": " or ".join(question.right),
                "text": text,
                "thoughts": answer.get("thoughts", ""),
                "finish": answer.get("finish", ""),
                "tokens": answer.get("tokens", 0),
                "error": answer.get("error", ""),
                "right": judge.is_right(question, text),
            }
        )
    return found


def got(one: Mapping[str, Any]) -> str:
    """What was answered, in few words.

    >>> got({"text": "<think>Let me", "thoughts": "", "finish": "length", "error": ""})
    'nothing but thoughts, cut at the most tokens: raise validate_max_tokens'
    >>> got({"text": "It is 7.", "thoughts": "", "finish": "stop", "error": ""})
    "'It is 7.'"
    """
    if one["error"]:
        return str(one["error"])
    said = judge.spoken(one["text"])
    if not said and (one["thoughts"] or one["text"].strip()):
        cut = one["finish"] == "length"
        return "nothing but thoughts" + (", cut at the most tokens: raise validate_max_tokens" if cut else "")
    return repr(said if len(said) <= SHOWN else f"{said[:SHOWN]}…") if said else "nothing"


def wrong(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each wrong answer: question, expected, got."""
    return [f"{one['question']} Expected {one['expected']}, got {got(one)}" for one in answers if not one["right"]]


def score(answers: Sequence[Mapping[str, Any]]) -> float:
    """Percent of the questions that were answered rightly."""
    return round(100 * sum(bool(one["right"]) for one in answers) / len(answers), 1) if answers else 0.0


def differences(
    answers: Sequence[Mapping[str, Any]], model: Mapping[str, Any], earlier: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Where greedy answers differ from those of an earlier report, thoughts included.

    :param model: ``repo`` and ``commit``. :param earlier: a report, as :func:`report.report` makes it.
    :raises CompareError: where that is none, or of another model.
    """
    try:
        then, by_id = earlier["model"], {one["id"]: one for one in earlier["accuracy"]["answers"]}
        same = {name: then[name] for name in ("repo", "commit")}
    except (KeyError, TypeError):
        raise CompareError("it is no report of a validation with the part accuracy") from None
    now = {name: model.get(name) for name in ("repo", "commit")}
    if same != now:
        raise CompareError(f"it is of {same['repo']}@{same['commit']}, and {now['repo']}@{now['commit']} serves")
    found = []
    for one in answers:
        before = by_id.get(one["id"])
        if before is None or before.get("question") != one["question"]:
            found.append({"id": one["id"], "what": "it was not asked then", "before": "", "now": one["text"]})
        elif (before["thoughts"], before["text"]) != (one["thoughts"], one["text"]):
            where, verb = ("text", "differs") if before["text"] != one["text"] else ("thoughts", "differ")
            what = f"the {where} {verb} after {common(before[where], one[where])} characters"
            changed = " and so does whether it is right" if before["right"] != one["right"] else ""
            found.append({"id": one["id"], "what": what + changed, "before": before[where], "now": one[where]})
    return found


def speculation(said: Any) -> str:
    """By what tokens are guessed, in words. :param said: as a report has it; nothing where it has none.

    >>> speculation({"kind": "Eagle3", "repo": "a/b", "commit": "0123456789abcdef", "tokens": 3})
    'with speculative decoding by a/b@0123456789ab (Eagle3, 3 tokens at a time)'
    >>> speculation({"kind": "MTP", "repo": "", "commit": "", "tokens": 1}), speculation(None)
    ('with speculative decoding (MTP, 1 token at a time)', 'without speculative decoding')
    """
    if not isinstance(said, Mapping) or not said.get("kind"):
        return "without speculative decoding"
    commit = f"@{said['commit'][:12]}" if said.get("commit") else ""
    by, count = f" by {said['repo']}{commit}" if said.get("repo") else "", said.get("tokens")
    return f"with speculative decoding{by} ({said['kind']}, {count} token{'' if count == 1 else 's'} at a time)"


def unlike(now: Any, earlier: Mapping[str, Any]) -> str:
    """How this serving and that of an earlier report guess tokens, where that differs; empty where it does not.

    :param now: by what tokens are guessed, :func:`speculation`.

    >>> unlike({}, {"speculative": {"kind": "MTP", "repo": "", "commit": "", "tokens": 2}})
    'with speculative decoding (MTP, 2 tokens at a time) then, and without speculative decoding now'
    >>> unlike({}, {})
    ''
    """
    here, then = speculation(now), speculation(earlier.get("speculative"))
    return "" if here == then else f"{then} then, and {here} now"


def common(one: str, other: str) -> int:
    """How many characters two texts begin with alike.

    >>> common("abc", "abd"), common("ab", "ab"), common("", "a")
    (2, 2, 0)
    """
    return next((index for index, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
