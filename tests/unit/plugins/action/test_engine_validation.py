# Copyright (c) sparkops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions of a validation, over a host that says what it is told to say."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.sparkops.dgx_spark.plugins.action import (
    engine_accuracy_check,
    engine_import_check,
    engine_quickstart_check,
    engine_soak_check,
    engine_validation_report,
)
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate import trial
from ansible_collections.sparkops.dgx_spark.plugins.plugin_utils._validate.questions import QUESTIONS

ENDED = {"changed": False, "running": False, "status": 0, "why": "", "lines": [], "result": {}}
RIGHT = [
    {"id": one.id, "text": one.right[0], "thoughts": "", "finish": "stop", "tokens": 1, "error": ""}
    for one in QUESTIONS
]
SERVED = {"address": "127.0.0.1:8355", "model": "tiny", "path": "/v1/chat/completions", "image": "it"}


class Host:
    """Runs an action over a module that says these things, one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.calls: list[dict[str, Any]] = []
        self.shown: list[str] = []
        self.says: list[Any] = [ENDED]
        self.starts: dict[str, Any] = {"changed": True}
        self.check = False
        monkeypatch.setattr(trial.time, "sleep", lambda _seconds: None)

    def __call__(self, module: Any, **asked: Any) -> dict[str, Any]:
        plugin = module.ActionModule.__new__(module.ActionModule)
        plugin._task = SimpleNamespace(check_mode=self.check, async_val=0, diff=False, action=module.__name__)
        plugin._display = SimpleNamespace(display=self.shown.append)
        self.monkeypatch.setattr(trial.ActionBase, "run", lambda *_about: {})
        spec = module.ActionModule.SPEC
        assert set(asked) <= set(spec)
        given = {name: asked.get(name, about.get("default")) for name, about in spec.items()}
        self.monkeypatch.setattr(plugin, "validate_argument_spec", lambda **_spec: (None, given), raising=False)
        self.monkeypatch.setattr(plugin, "_execute_module", self._execute, raising=False)
        return dict(plugin.run(task_vars={"inventory_hostname": "spark1"}))

    def _execute(self, name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        assert name == "sparkops.dgx_spark.engine_trial"
        self.calls.append(module_args)
        if module_args["state"] == "started":
            return self.starts
        if module_args["state"] == "absent":
            return {"changed": True}
        said = self.says.pop(0)
        if isinstance(said, BaseException):
            raise said
        return dict(said)

    @property
    def states(self) -> list[str]:
        return [call["state"] for call in self.calls]

    def file(self, name: str) -> str:
        return base64.b64decode(self.calls[0]["files"][name]).decode()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


RUNNING = {**ENDED, "running": True, "lines": ["loading", "Loading weights: 40%"]}


# --- what all have in common -----------------------------------------------------------------------------------------


def test_a_container_is_watched_to_its_end_and_removed(host: Host) -> None:
    host.says = [RUNNING, RUNNING, {**ENDED, "lines": ["dgx-spark: 1.3.0rc13"]}]
    done = host(engine_import_check, image="it", version="1.3.0rc13")
    assert (done["changed"], done["version"]) == (False, "1.3.0rc13")
    assert host.states == ["started", "watched", "watched", "watched", "absent"]
    assert "def main" in host.file("watch.py")


def test_one_that_takes_longer_shows_how_far_it_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(trial.time, "monotonic", lambda: next(clock))
    host.says = [RUNNING] * 5 + [{**ENDED, "lines": ["dgx-spark: 1"]}]
    host(engine_import_check, image="it")
    assert host.shown == [f"spark1: import, {seconds} s: Loading weights: 40%" for seconds in (12, 24)]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the connection is lost")])
def test_it_is_removed_whatever_happens(host: Host, error: BaseException) -> None:
    host.says = [RUNNING, error]
    with pytest.raises(type(error)):
        host(engine_import_check, image="it")
    assert host.states[-1] == "absent"


def test_one_that_did_not_start_is_told_with_its_host(host: Host) -> None:
    host.starts = {"failed": True, "msg": "the image it is not on this host"}
    done = host(engine_import_check, image="it")
    assert (done["failed"], done["msg"]) == (True, "spark1: the image it is not on this host")
    assert host.states == ["started", "absent"]


@pytest.mark.parametrize(
    ("why", "says"),
    [
        ("time", "spark1: import: it was ended, since it took longer than 5 s. It said last: a / b"),
        ("left", "it ended itself, since nobody looked after it any more"),
        ("memory", "the kernel ended it for want of memory"),
    ],
)
def test_one_that_was_ended_says_why(host: Host, why: str, says: str) -> None:
    host.says = [{**ENDED, "why": why, "status": -9, "lines": ["a", "b"]}]
    done = host(engine_import_check, image="it", seconds=5)
    assert done["failed"]
    assert says in done["msg"]


def test_nothing_is_tried_in_check_mode(host: Host) -> None:
    host.check = True
    for module in (engine_import_check, engine_quickstart_check, engine_accuracy_check, engine_soak_check):
        assert host(module)["skipped"]
    assert host.calls == []


# --- import ----------------------------------------------------------------------------------------------------------


def test_another_version_than_planned_is_refused_with_the_mend(host: Host) -> None:
    host.says = [{**ENDED, "lines": ["[TensorRT-LLM] TensorRT LLM version: 1.2.1", "dgx-spark: 1.2.1"]}]
    done = host(engine_import_check, image="it", version="1.3.0rc13")
    assert done["failed"]
    assert done["version"] == "1.2.1"
    assert "has TensorRT-LLM 1.2.1, and the plan takes it for 1.3.0rc13" in done["msg"]
    assert "trtllm_serve_version=1.2.1" in done["msg"]


def test_an_import_that_fails_shows_why(host: Host) -> None:
    host.says = [{**ENDED, "status": 1, "lines": ["ImportError: libnvinfer.so.10"]}]
    done = host(engine_import_check, image="it")
    assert "cannot be imported in it (exit status 1). It said last: ImportError: libnvinfer.so.10" in done["msg"]


# --- NVIDIA's examples -----------------------------------------------------------------------------------------------

TEXT = "[0] Prompt: 'Paris is great because', Generated text: ' of its museums'"


def test_a_text_is_returned(host: Host) -> None:
    host.says = [{**ENDED, "lines": ["loading", TEXT]}]
    done = host(engine_quickstart_check, image="it", model="a/b", hub="/hub", beside_serving=True)
    assert (done["text"], done["model"]) == (" of its museums", "a/b")
    (call, *_rest) = host.calls
    assert (call["model"], call["hub"], call["beside_serving"]) == ("a/b", "/hub", True)
    assert set(call["files"]) == {"watch.py"}


@pytest.mark.parametrize("kind", ["vision", "lora"])
def test_a_model_that_sees_gets_the_picture(host: Host, kind: str) -> None:
    host.says = [{**ENDED, "lines": [TEXT]}]
    assert host(engine_quickstart_check, image="it", model="a/b", hub="/hub", kind=kind)["text"]
    assert base64.b64decode(host.calls[0]["files"]["picture.png"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (
            {"status": 1, "lines": ["RuntimeError: CUDA out of memory"]},
            "ended with status 1. It said last: RuntimeError",
        ),
        ({"lines": ["[0] Prompt: 'x', Generated text: ' \\n'"]}, "generated no text."),
        ({"lines": []}, "generated no text. It said nothing."),
    ],
)
def test_no_text_is_a_failure(host: Host, seen: dict[str, Any], says: str) -> None:
    host.says = [{**ENDED, **seen}]
    done = host(engine_quickstart_check, image="it", model="a/b", hub="/hub")
    assert done["failed"]
    assert done["msg"].startswith("spark1: examples/llm-api/quickstart_advanced.py with a/b ")
    assert says in done["msg"]


# --- accuracy --------------------------------------------------------------------------------------------------------


def asked(wrong: int = 0) -> dict[str, Any]:
    answers = [{**one, "text": "7" if number < wrong else one["text"]} for number, one in enumerate(RIGHT)]
    return {**ENDED, "result": {"answers": answers}}


@pytest.mark.parametrize(("wrong", "fails"), [(0, False), (4, False), (5, True), (20, True)])
def test_the_gate_goes_by_the_threshold(host: Host, wrong: int, fails: bool) -> None:
    host.says = [asked(wrong)]
    done = host(engine_accuracy_check, **SERVED)
    assert bool(done.get("failed")) is fails
    assert done["score"] == 100 - 5 * wrong
    if fails:
        assert f"answers {20 - wrong} of 20 questions rightly" in done["msg"]
        assert "What is 478 plus 356? Reply with the number alone, in digits. Expected 834, got '7'" in done["msg"]


def test_questions_are_asked_one_after_the_other_and_without_a_gpu(host: Host) -> None:
    host.says = [asked()]
    host(engine_accuracy_check, **SERVED, gap_seconds=9)
    order = json.loads(host.file("ask.json"))
    assert (order["concurrency"], order["seconds"], order["gap_s"], len(order["requests"])) == (1, 0, 9, 20)
    assert (order["address"], order["path"]) == (SERVED["address"], SERVED["path"])
    assert host.calls[0]["gpu"] is False


def test_a_client_that_says_nothing_is_a_failure(host: Host) -> None:
    host.says = [{**ENDED, "status": 1, "lines": ["Traceback"]}]
    assert "could not be asked. It said last: Traceback" in host(engine_accuracy_check, **SERVED)["msg"]


@pytest.fixture
def earlier(tmp_path: Path, host: Host) -> Path:
    """A report on the controller of a sound serving."""
    host.says = [asked()]
    accuracy = host(engine_accuracy_check, **SERVED, repo="a/b", commit="c0")
    path = tmp_path / "reports" / "one.json"
    facts = {"model": {"repo": "a/b", "commit": "c0"}, "nodes": ["spark1"], "image": "it"}
    done = host(
        engine_validation_report,
        path=str(path),
        facts=facts,
        asked=["accuracy"],
        parts={"accuracy": {"spark1": accuracy}},
    )
    assert done["text"] == ["passed: a/b on 1 Spark, it", "accuracy: passed, 20 of 20 right (100.0 %)"]
    assert path.with_suffix(".txt").read_text().splitlines() == done["text"]
    host.calls.clear()
    return path


@pytest.mark.parametrize(("wrong", "strict", "fails"), [(0, True, False), (2, False, False), (2, True, True)])
def test_answers_are_compared_and_a_difference_fails_only_where_asked(
    host: Host, earlier: Path, wrong: int, strict: bool, fails: bool
) -> None:
    host.says = [asked(wrong)]
    options = {"repo": "a/b", "commit": "c0", "compare": str(earlier), "require_equal": strict}
    done = host(engine_accuracy_check, **SERVED, **options)
    assert bool(done.get("failed")) is fails
    assert len(done["differences"]) == wrong == len(host.shown)
    assert not fails or "answers otherwise than in" in done["msg"]


EAGLE3 = {"kind": "Eagle3", "repo": "me/head", "commit": "c0ffee", "tokens": 3}


@pytest.mark.parametrize(
    ("then", "now", "unlike"),
    [
        ({}, {}, ""),
        (EAGLE3, EAGLE3, ""),
        ({}, EAGLE3, "without speculative decoding then, and with speculative decoding by me/head@c0ffee (Eagle3, 3 "),
        (EAGLE3, {}, "with speculative decoding by me/head@c0ffee (Eagle3, 3 tokens at a time) then, and without "),
        (EAGLE3, {**EAGLE3, "tokens": 1}, "1 token at a time) now"),
    ],
)
def test_how_tokens_were_guessed_is_told_where_it_differs(
    host: Host, earlier: Path, then: dict[str, Any], now: dict[str, Any], unlike: str
) -> None:
    report = json.loads(earlier.read_text())
    earlier.write_text(json.dumps({**report, "speculative": then}))
    host.says = [asked(1)]
    options = {"repo": "a/b", "commit": "c0", "compare": str(earlier), "speculative": now, "require_equal": True}
    done = host(engine_accuracy_check, **SERVED, **options)
    assert bool(done["unlike"]) == bool(unlike)
    assert unlike in done["unlike"]
    assert (f"({done['unlike']})" in done["msg"]) == bool(unlike), "a failure names it"
    assert len(host.shown) == 1 + bool(unlike)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read on the controller (No such file or directory)"),
        ("{", "is not JSON"),
        ("[]", "it is no report of a validation"),
        (
            '{"model": {"repo": "a/c", "commit": "c0"}, "accuracy": {"answers": []}}',
            "it is of a/c@c0, and a/b@c0 serves",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_asked(
    host: Host, tmp_path: Path, content: str | None, says: str
) -> None:
    path = tmp_path / "earlier.json"
    if content is not None:
        path.write_text(content)
    done = host(engine_accuracy_check, **SERVED, repo="a/b", commit="c0", compare=str(path))
    assert done["failed"]
    assert says in done["msg"]
    assert host.calls == []


# --- soak ------------------------------------------------------------------------------------------------------------

OUTCOME = {
    "answers": [],
    "count": 9,
    "tokens": 900,
    "seconds": 61.0,
    "gap_s": 1.5,
    "gap_at_s": 20.0,
    "last_token_s": 60.0,
    "per_minute": [900],
    "errors": [],
}


def test_a_soak_returns_what_came_of_it(host: Host) -> None:
    host.says = [{**ENDED, "result": OUTCOME}]
    done = host(engine_soak_check, **SERVED, minutes=1, concurrency=3)
    assert not done.get("failed"), done
    assert done["outcome"]["tokens"] == 900
    order = json.loads(host.file("ask.json"))
    assert (order["concurrency"], order["seconds"], host.calls[0]["seconds"]) == (3, 60, 206)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (
            {"result": {**OUTCOME, "errors": ["after 20 s, x: gone"]}},
            "for 1 min: requests failed: after 20 s, x: gone.",
        ),
        (
            {"result": {}, "status": 1, "lines": ["Traceback"]},
            "the load ended without a result. It said last: Traceback",
        ),
    ],
)
def test_a_soak_that_did_not_hold_fails(host: Host, seen: dict[str, Any], says: str) -> None:
    host.says = [{**ENDED, **seen}]
    done = host(engine_soak_check, **SERVED, minutes=1)
    assert done["failed"]
    assert says in done["msg"]


@pytest.mark.parametrize("name", ["minutes", "concurrency", "max_tokens", "gap_seconds"])
def test_a_soak_of_nothing_is_refused(host: Host, name: str) -> None:
    done = host(engine_soak_check, **{**SERVED, "minutes": 1, name: 0})
    assert done["msg"] == f"{name} of a soak must be more than 0. Nothing was changed."
    assert host.calls == []


def test_a_report_that_cannot_be_written_is_told(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = host(engine_validation_report, path=str(tmp_path / "file" / "x.json"), facts={}, asked=[], parts={})
    assert done["failed"]
    assert "name another place with -e validate_report=" in done["msg"]
