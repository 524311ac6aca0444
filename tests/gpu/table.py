# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A result as Markdown."""

from __future__ import annotations

from typing import Any

HEAD = (
    *("fault", "stream", "plain request", "`/health`", "noticed", "old processes gone: leader, node 1", "back"),
    *("cause, as told", "vLLM alone"),
)


def seconds(value: float | None) -> str:
    """A time, or that there is none.

    >>> seconds(4.26), seconds(61.2), seconds(None)
    ('4.3 s', '61 s', '')
    """
    if value is None:
        return ""
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def ended(request: dict[str, Any] | None) -> str:
    """How a request ended, and when."""
    if not request:
        return "none"
    if request["end_s"] is None:
        return "runs on"
    what = request["end"].partition(":")[0]
    return f"{what}, {seconds(request['end_s'])}"


def checked(health: list[list[Any]]) -> str:
    """What ``/health`` answered, with the seconds of each change.

    >>> checked([[-0.1, "200"], [25.3, "503"], [29.0, "refused"], [70.2, "200"]])
    '200; 503 at 25 s; refused at 29 s; 200 at 70 s'
    """
    return "; ".join(f"{answer} at {seconds(at)}" if at > 0 else answer for at, answer in health)


def case(row: dict[str, Any]) -> str:
    """One fault's row."""
    gone = row["gone_s"]
    left = [seconds(gone.get(place)) or "goes on" for place in ("leader", "node 1")] if "noticed_s" in row else ["", ""]
    cause = row.get("gave_up") or row.get("last_end") or ""
    cells = [
        row["case"],
        ended(row.get("stream")),
        ended(row.get("plain")),
        checked(row["health"]),
        seconds(row.get("noticed_s")),
        f"{left[0]}, {left[1]}" if left[0] else "",
        seconds(row.get("back_s")) or row.get("outcome", "**not back**"),
        "; ".join(filter(None, [cause, *map("**{}**".format, row["problems"])])),
        row["alone"],
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def markdown(values: dict[str, Any]) -> str:
    """The whole result."""
    about = values["about"]
    lines = [
        f"{about['at']}; {', '.join(about['gpus']) or 'no GPU'}, {about['processors']} processors; "
        f"vLLM {about['vllm']}, torch {about['torch']}, Python {about['python']}; "
        f"{about['clusters_at_once']} clusters at once.",
        "",
        f"| {' | '.join(HEAD)} |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | --- | --- |",
        *(case(row) for row in values["cases"]),
        "",
        "| start | until it serves | until its first token, by the supervisor |",
        "| --- | ---: | ---: |",
        *(
            f"| {one['what']} | {seconds(one.get('served_s'))} | {seconds(one.get('load_s'))} |"
            for one in values["starts"]
        ),
    ]
    if values.get("figures"):
        lines += [
            "",
            "| prompt, answer, at once | served | TTFT p50, p95 | ITL p50, p95 | tokens a second |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(measured(one) for one in values["figures"]),
        ]
    lines += ["", f"GPU memory before and after, MiB: {values['gpu_mib_before']}, {values.get('gpu_mib_after')}."]
    lines += [f"* **{one}**" for one in values["wrong"]]
    lines += [f"* not run: {name}" for name in values.get("not_run", [])]
    return "\n".join(lines) + "\n"


def measured(one: dict[str, Any]) -> str:
    """A load's row."""
    load, first, between = one["load"], one["ttft_ms"], one["itl_ms"]
    return (
        f"| {load['prompt']}, {load['answer']}, {load['at_once']} | {one['served']} of {load['requests']} "
        f"| {first.get('p50')} ms, {first.get('p95')} ms | {between.get('p50')} ms, {between.get('p95')} ms "
        f"| {one['output_tokens_a_second']} |"
    )
